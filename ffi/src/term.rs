//! A term as C sees it: a view that checks, proves and waits for the loss; it never resigns.
//! Owns the accessors; the term itself is its handle's.

use std::ffi::c_void;
use std::sync::Arc;

use leadership_core::{Result, TermHandle};

use crate::args::{give, invalid, lend, object, out};
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free};
use crate::error::{LEADERSHIP_REASON_NONE, leadership_error};
use crate::panic::{call, value};
use crate::wait::{Bounds, start};

/// A view of one term: one uninterrupted reign. Freeing it resigns nothing: the term is its leadership_handle's, and
/// outlives or not any view of it. Any thread.
pub struct leadership_term {
    pub(crate) term: TermHandle,
    pub(crate) shared: Arc<Shared>,
}

impl leadership_term {
    pub(crate) fn give(term: TermHandle, shared: &Arc<Shared>) -> *mut leadership_term {
        give(leadership_term {
            term,
            shared: shared.clone(),
        })
    }
}

/// Authority, until the deadline: ask it before an act. A local read of tens of nanoseconds, without lock, allocation
/// or I/O. What it cannot promise: that it still holds when a packet sent now arrives elsewhere; that is what the token
/// and the guarded transaction are for. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_valid(term: *const leadership_term) -> bool {
    // Nothing below panics (an atomic and the clock), so nothing is caught: that is the speed of it.
    // SAFETY: NULL or valid, as C promises.
    match unsafe { term.as_ref() } {
        Some(term) => term.term.is_valid(),
        None => false,
    }
}

/// Must the work stop? True from the step-down margin before the deadline on, and at once on anything voluntary or a
/// lost key; never false again. Loops read this. As cheap as leadership_term_valid. True for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_lost(term: *const leadership_term) -> bool {
    // SAFETY: NULL or valid, as C promises.
    match unsafe { term.as_ref() } {
        Some(term) => term.term.is_lost(),
        None => true,
    }
}

/// Why the term was lost, LEADERSHIP_REASON_*; LEADERSHIP_REASON_NONE while the work may go on, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_lost_reason(term: *const leadership_term) -> u32 {
    // SAFETY: NULL or valid, as C promises.
    let term = unsafe { term.as_ref() };
    term.and_then(|term| term.term.lost_reason()).map_or(LEADERSHIP_REASON_NONE, |reason| reason as u32)
}

/// The fencing token: strictly larger in every later term of the election. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_token(term: *const leadership_term) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { term.as_ref() }.map_or(0, |term| term.term.token())
}

/// How long the term is valid without a further renewal, in nanoseconds; 0 once ended, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_remaining_ns(term: *const leadership_term) -> u64 {
    // SAFETY: NULL or valid, as C promises.
    let term = unsafe { term.as_ref() };
    value(0, || term.map_or(0, |term| u64::try_from(term.term.remaining().as_nanos()).unwrap_or(u64::MAX)))
}

/// The lease the key hangs on: another one after an etcd leader change, in the same term. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_lease_id(term: *const leadership_term) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { term.as_ref() }.map_or(0, |term| term.term.lease_id())
}

/// The TTL that etcd granted. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_ttl_ms(term: *const leadership_term) -> u64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { term.as_ref() }.map_or(0, |term| u64::try_from(term.term.ttl().as_millis()).unwrap_or(u64::MAX))
}

/// The key of the election, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_key(term: *const leadership_term, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(term.as_ref().map(|term| term.term.key()), len) }
}

/// The value the term was won with, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_value(term: *const leadership_term, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(term.as_ref().map(|term| term.term.value()), len) }
}

/// Waits until the term is lost.
///
/// reason: why, LEADERSHIP_REASON_*. Errors: TIMEOUT, CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_wait_lost(
    term: *const leadership_term,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    reason: *mut u32,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (term, bounds, told) =
            unsafe { (object(term, "term")?, Bounds::new(timeout_ms, cancel), out(reason, "reason")?) };
        term.shared.ensure_not_forked()?;
        told.set(bounds.wait("loss of a term", async { Ok(term.term.lost().await) })? as u32);
        Ok(())
    })
}

/// Completion of leadership_term_wait_lost_start: error is NULL or the callback's to free; reason as there.
pub type leadership_lost_done =
    Option<unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, reason: u32)>;

/// leadership_term_wait_lost without waiting: `done` is called once. The term may be freed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_wait_lost_start(
    term: *const leadership_term,
    cancel: *const leadership_cancel,
    done: leadership_lost_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let term = unsafe { object(term, "term") }?;
        let done = done.ok_or_else(|| invalid("done", "is NULL"))?;
        term.shared.ensure_not_forked()?;
        let view = term.term.clone();
        let lost = async move { Ok(view.lost().await as u32) };
        let tell = move |user: *mut c_void, answer: Result<u32>| {
            let (error, reason) = match answer {
                Ok(reason) => (std::ptr::null_mut(), reason),
                Err(error) => (leadership_error::give(&error), LEADERSHIP_REASON_NONE),
            };
            // SAFETY: the user's function with the user's data.
            unsafe { done(user, error, reason) };
        };
        // SAFETY: NULL or valid, as C promises.
        unsafe { start(&term.shared.calls, "loss of a term", cancel, UserData::new(user_data, drop), lost, tell) }
    })
}

/// Another view of the same term, e.g. of the one that an event lends. Free it with leadership_term_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_clone(
    term: *const leadership_term,
    view: *mut *mut leadership_term,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (term, made) = unsafe { (object(term, "term")?, out(view, "view")?) };
        term.shared.ensure_not_forked()?;
        made.set(leadership_term::give(term.term.clone(), &term.shared));
        Ok(())
    })
}

/// Frees the view. The term goes on. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_free(term: *mut leadership_term) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(term, |term| &term.shared) };
}
