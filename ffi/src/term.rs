//! A term as C sees it: checks, proves, waits for the loss; the one that an elector or a queue handed out is resigned when
//! it is freed. Owns the accessors and that difference; the term itself is the core's.

use std::ffi::c_void;
use std::sync::Arc;

use leadership_core::{Result, Term, TermHandle};

use crate::args::{give, invalid, lend, object, out};
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free};
use crate::error::{LEADERSHIP_REASON_NONE, leadership_error};
use crate::panic::{call, value};
use crate::wait::{Bounds, given, leadership_done, start, start_plain};

/// One term: one uninterrupted reign. The one that leadership_elector_next_term, leadership_election_campaign or
/// leadership_client_lead gives is the caller's own: freeing it resigns, and it may outlive its elector. Every other is a
/// view of it: freeing that resigns nothing. Any thread.
pub struct leadership_term {
    pub(crate) term: TermHandle,
    /// `None`: a view.
    owned: Option<Term>,
    pub(crate) shared: Arc<Shared>,
}

impl leadership_term {
    pub(crate) fn view(term: TermHandle, shared: &Arc<Shared>) -> leadership_term {
        leadership_term {
            term,
            owned: None,
            shared: shared.clone(),
        }
    }

    /// A view that is C's from now on.
    pub(crate) fn give(term: TermHandle, shared: &Arc<Shared>) -> *mut leadership_term {
        give(leadership_term::view(term, shared))
    }

    /// A term that is C's from now on.
    pub(crate) fn give_owned(term: Term, shared: &Arc<Shared>) -> *mut leadership_term {
        give(leadership_term {
            term: term.handle(),
            owned: Some(term),
            shared: shared.clone(),
        })
    }

    fn owned(&self) -> Result<&Term> {
        self.owned.as_ref().ok_or_else(|| invalid("term", "is a view: it belongs to whoever it was handed to"))
    }
}

/// Completion of what gives a term: error is NULL or the callback's to free, and so is term.
pub type leadership_term_done =
    Option<unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, term: *mut leadership_term)>;

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

/// Gives up a term of the caller's own, which stays to be freed: lost and not valid at once, whatever this returns; then
/// the key is deleted, in a way that lets the successor lead without its takeover delay. Freeing it does the same without
/// saying how it went.
///
/// Errors: INVALID_ARGUMENT (a view; nothing is given up), TIMEOUT, UNAVAILABLE, CANCELLED when etcd's answer was not waited
/// for to the end: it goes on in the background, and calling this again waits again. CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_resign(
    term: *const leadership_term,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (term, bounds) = unsafe { (object(term, "term")?, Bounds::new(timeout_ms, cancel)) };
        term.shared.ensure_not_forked()?;
        bounds.wait("resign", term.owned()?.let_go())
    })
}

/// leadership_term_resign without waiting: not leader when this returns success, and `done` is called once, when the key is
/// gone or that was not confirmed in time. A cancel ends the wait, not the release. The term may be freed meanwhile.
///
/// Errors: INVALID_ARGUMENT (NULL, or a view); all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_resign_start(
    term: *const leadership_term,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let term = unsafe { object(term, "term") }?;
        given(done)?; // before the term ends
        term.shared.ensure_not_forked()?;
        let resigned = term.owned()?.let_go();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&term.shared.calls, "resign", cancel, done, user, resigned) }
    })
}

/// Frees a term. One of the caller's own is resigned with it, in the background, if it is still held; a view resigns
/// nothing. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_free(term: *mut leadership_term) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(term, |term| &term.shared) };
}
