//! Writes under a term in one call each, and the key's own new value. Owns their two forms of waiting; the guard is the
//! core's, whole transactions are `txn`'s.

use std::ffi::c_void;
use std::ptr;

use leadership_core::Result;

use crate::args::{bytes, give, object, out};
use crate::bytes::leadership_bytes;
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::error::leadership_error;
use crate::panic::call;
use crate::term::leadership_term;
use crate::wait::{Bounds, given, leadership_done, start, start_plain};

/// Writes a key, other than the election's own, while this very term still holds that one: a leadership_txn in one call.
///
/// Errors: NOT_LEADER (nothing was written), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED (it may be written all the same),
/// INVALID_ARGUMENT (key, value), UNAVAILABLE, PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_put(
    term: *const leadership_term,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (term, key, value, bounds) = unsafe {
            (
                object(term, "term")?,
                bytes(key, key_len, "key")?,
                bytes(value, value_len, "value")?,
                Bounds::new(timeout_ms, cancel),
            )
        };
        bounds.wait("guarded put", term.term.put(key, value))
    })
}

/// leadership_term_put without waiting: `done` is called once. The term may be freed meanwhile.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_put_start(
    term: *const leadership_term,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (term, key, value) =
            unsafe { (object(term, "term")?, bytes(key, key_len, "key")?, bytes(value, value_len, "value")?) };
        term.shared.client.ensure_usable()?;
        let view = term.term.clone();
        let put = async move { view.put(key, value).await };
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&term.shared.calls, "guarded put", cancel, done, user, put) }
    })
}

/// Deletes a key, other than the election's own, while this very term still holds that one.
///
/// deleted: false if it was not there. Errors: as leadership_term_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_delete(
    term: *const leadership_term,
    key: *const u8,
    key_len: usize,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    deleted: *mut bool,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (term, key, bounds, was_there) = unsafe {
            (
                object(term, "term")?,
                bytes(key, key_len, "key")?,
                Bounds::new(timeout_ms, cancel),
                out(deleted, "deleted")?,
            )
        };
        was_there.set(bounds.wait("guarded delete", term.term.delete(key))?);
        Ok(())
    })
}

/// Completion of what answers yes or no: error is NULL or the callback's to free, and then `yes` is false.
pub type leadership_bool_done =
    Option<unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, yes: bool)>;

/// leadership_term_delete without waiting: `done` is called once, with whether it was there. The term may be freed
/// meanwhile.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_delete_start(
    term: *const leadership_term,
    key: *const u8,
    key_len: usize,
    cancel: *const leadership_cancel,
    done: leadership_bool_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (term, key) = unsafe { (object(term, "term")?, bytes(key, key_len, "key")?) };
        let done = given(done)?;
        term.shared.client.ensure_usable()?;
        let view = term.term.clone();
        let delete = async move { view.delete(key).await };
        let tell = move |user: *mut c_void, answer: Result<bool>| {
            let (error, deleted) = match answer {
                Ok(deleted) => (ptr::null_mut(), deleted),
                Err(error) => (leadership_error::give(&error), false),
            };
            // SAFETY: the user's function with the user's data.
            unsafe { done(user, error, deleted) };
        };
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start(&term.shared.calls, "guarded delete", cancel, user, delete, tell) }
    })
}

/// Changes the value of the leader key in place: the same term, with the same token. Later terms have the elector's value, or
/// the campaign's.
///
/// Errors: NOT_LEADER (nothing was written), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED (it may be written all the same),
/// INVALID_ARGUMENT (value: above etcd's limit), UNAVAILABLE, PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_proclaim(
    term: *const leadership_term,
    value: *const u8,
    value_len: usize,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (term, value, bounds) =
            unsafe { (object(term, "term")?, bytes(value, value_len, "value")?, Bounds::new(timeout_ms, cancel)) };
        bounds.wait("proclaim", term.term.proclaim(value))
    })
}

/// leadership_term_proclaim without waiting: `done` is called once. The term may be freed meanwhile.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_proclaim_start(
    term: *const leadership_term,
    value: *const u8,
    value_len: usize,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (term, value) = unsafe { (object(term, "term")?, bytes(value, value_len, "value")?) };
        given(done)?; // before it is sent
        term.shared.client.ensure_usable()?;
        let proclaimed = term.term.proclaim(value);
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&term.shared.calls, "proclaim", cancel, done, user, proclaimed) }
    })
}

/// The value that was proclaimed last in this term, or the one it was won with, which leadership_term_value lends.
///
/// value: to be freed with leadership_bytes_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_term_latest_value(
    term: *const leadership_term,
    value: *mut *mut leadership_bytes,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (term, latest) = unsafe { (object(term, "term")?, out(value, "value")?) };
        term.shared.ensure_not_forked()?;
        latest.set(give(leadership_bytes(term.term.latest_value())));
        Ok(())
    })
}
