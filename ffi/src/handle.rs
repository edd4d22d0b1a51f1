//! Full control of one election, step by step, as C holds it. Owns the handle's steps; campaigning is `campaign`'s,
//! waiting for a leader to go `watch`'s, what they do the core's.

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use leadership_core::{Leadership, LeadershipOptions};

use crate::args::{bytes, c_text, give, lend, object, out};
use crate::bytes::leadership_bytes;
use crate::callback::{UserData, leadership_drop};
use crate::campaign::leadership_options;
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free, leadership_client};
use crate::error::leadership_error;
use crate::lease::leadership_lease;
use crate::panic::{call, value};
use crate::term::leadership_term;
use crate::wait::{Bounds, given, leadership_done, start_plain};

/// One contender of the single-key election of one key; every step is in the caller's hands. Any thread.
pub struct leadership_handle {
    pub(crate) lead: Arc<Leadership>,
    purpose: CString,
    pub(crate) shared: Arc<Shared>,
}

/// A contender. Nothing is sent.
///
/// options: or NULL for the defaults; copied. handle: to be freed with leadership_free.
/// Errors: INVALID_ARGUMENT (key: empty or reserved; or names the option), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_new(
    client: *const leadership_client,
    key: *const u8,
    key_len: usize,
    options: *const leadership_options,
    handle: *mut *mut leadership_handle,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, key, options, made) = unsafe {
            (object(client, "client")?, bytes(key, key_len, "key")?, options.as_ref(), out(handle, "handle")?)
        };
        let options = options.map_or_else(LeadershipOptions::default, |options| options.0.clone());
        let lead = Leadership::with_options(&client.0.client, key, options)?;
        made.set(give(leadership_handle {
            purpose: c_text(lead.purpose()),
            lead: Arc::new(lead),
            shared: client.0.clone(),
        }));
        Ok(())
    })
}

/// Renews the term's lease in the background until a reset, a loss or the client's end. Idempotent, never blocks.
///
/// Errors: NOT_LEADER without a valid term, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_keep(handle: *const leadership_handle) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        unsafe { object(handle, "handle") }?.lead.keep()
    })
}

/// True only between a proven win and the deadline. A local read of tens of nanoseconds: no lock, no I/O. False for
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_check(handle: *const leadership_handle) -> bool {
    // SAFETY: NULL or valid, as C promises.
    match unsafe { handle.as_ref() } {
        Some(handle) => handle.lead.check(),
        None => false,
    }
}

/// The current term, or the last one when it has ended.
///
/// term: NULL before the first; else a view, to be freed with leadership_term_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_get_term(
    handle: *const leadership_handle,
    term: *mut *mut leadership_term,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, found) = unsafe { (object(handle, "handle")?, out(term, "term")?) };
        handle.shared.ensure_not_forked()?;
        let term = handle.lead.term();
        found.set(term.map_or(ptr::null_mut(), |term| leadership_term::give(term, &handle.shared)));
        Ok(())
    })
}

/// Not leader at once, whatever this returns; also ends a campaign or a watch under way. Then deletes the key, in a way
/// that lets the successor lead without its takeover delay, and revokes the lease. The handle may campaign again.
///
/// Errors: TIMEOUT, UNAVAILABLE, CANCELLED when etcd's answer was not waited for to the end: it goes on in the
/// background, and calling this again waits for it again. CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_reset(
    handle: *const leadership_handle,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, bounds) = unsafe { (object(handle, "handle")?, Bounds::new(timeout_ms, cancel)) };
        bounds.wait("reset", handle.lead.reset())
    })
}

/// leadership_reset without waiting: not leader when this returns success, and `done` is called once, when the key is
/// gone or that was not confirmed in time. A cancel ends the wait, not the release.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_reset_start(
    handle: *const leadership_handle,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let handle = unsafe { object(handle, "handle") }?;
        given(done)?; // before the term ends
        handle.shared.client.ensure_usable()?;
        let reset = handle.lead.reset();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&handle.shared.calls, "reset", cancel, done, user, reset) }
    })
}

/// As leadership_term_proclaim, for the handle's current term.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_proclaim(
    handle: *const leadership_handle,
    value: *const u8,
    value_len: usize,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (handle, value, bounds) =
            unsafe { (object(handle, "handle")?, bytes(value, value_len, "value")?, Bounds::new(timeout_ms, cancel)) };
        handle.shared.ensure_not_forked()?;
        bounds.wait("proclaim", handle.lead.proclaim(value))
    })
}

/// leadership_proclaim without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_proclaim_start(
    handle: *const leadership_handle,
    value: *const u8,
    value_len: usize,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (handle, value) = unsafe { (object(handle, "handle")?, bytes(value, value_len, "value")?) };
        given(done)?; // before it is sent
        handle.shared.client.ensure_usable()?;
        let proclaimed = handle.lead.proclaim(value);
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&handle.shared.calls, "proclaim", cancel, done, user, proclaimed) }
    })
}

/// Deletes the leader key of the own term, which ends with it. As leadership_reset, but the lease of
/// leadership_set_lease stays. A key that is gone already is success.
///
/// Errors: NOT_LEADER if there never was a term, or the key is another's by now; else as leadership_reset.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_delete_leader_key(
    handle: *const leadership_handle,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, bounds) = unsafe { (object(handle, "handle")?, Bounds::new(timeout_ms, cancel)) };
        bounds.wait("delete of the leader key", handle.lead.delete_leader_key())
    })
}

/// leadership_delete_leader_key without waiting: not leader when this returns success, and `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_delete_leader_key_start(
    handle: *const leadership_handle,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let handle = unsafe { object(handle, "handle") }?;
        given(done)?; // before the term ends
        handle.shared.client.ensure_usable()?;
        let delete = handle.lead.delete_leader_key();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&handle.shared.calls, "delete of the leader key", cancel, done, user, delete) }
    })
}

/// Deletes the leader key, whoever holds it, if nobody has written it since `revision` (its mod revision). Absent is
/// success.
///
/// Errors: NOT_ELECTED if the key was written since, INVALID_ARGUMENT (revision not above 0), OUTCOME_UNKNOWN,
/// UNAVAILABLE, TIMEOUT and CANCELLED (it may be applied all the same), PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_delete_leader_key_at(
    handle: *const leadership_handle,
    revision: i64,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, bounds) = unsafe { (object(handle, "handle")?, Bounds::new(timeout_ms, cancel)) };
        bounds.wait("delete of the leader key", handle.lead.delete_leader_key_at(revision))
    })
}

/// leadership_delete_leader_key_at without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_delete_leader_key_at_start(
    handle: *const leadership_handle,
    revision: i64,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let handle = unsafe { object(handle, "handle") }?;
        handle.shared.client.ensure_usable()?;
        let lead = handle.lead.clone();
        let delete = async move { lead.delete_leader_key_at(revision).await };
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&handle.shared.calls, "delete of the leader key", cancel, done, user, delete) }
    })
}

/// Campaigns with this lease from now on; NULL grants a fresh one each time again. One lease may carry many elections.
/// The handle keeps a hold of it, and never revokes it while the caller has one too.
///
/// Errors: INVALID_ARGUMENT (lease) if it belongs to another client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_set_lease(
    handle: *const leadership_handle,
    lease: *const leadership_lease,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, lease) = unsafe { (object(handle, "handle")?, lease.as_ref()) };
        handle.shared.ensure_not_forked()?;
        handle.lead.set_lease(lease.map(|lease| lease.lease.clone()))
    })
}

/// The lease of the current term, or the one that was set.
///
/// lease: NULL for none; else to be freed with leadership_lease_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_get_lease(
    handle: *const leadership_handle,
    lease: *mut *mut leadership_lease,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, found) = unsafe { (object(handle, "handle")?, out(lease, "lease")?) };
        handle.shared.ensure_not_forked()?;
        let lease = handle.lead.lease();
        found.set(lease.map_or(ptr::null_mut(), |lease| give(leadership_lease::of(lease, &handle.shared))));
        Ok(())
    })
}

/// A further handle of the client that this one was made with. client: to be freed with leadership_client_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_get_client(
    handle: *const leadership_handle,
    client: *mut *mut leadership_client,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, found) = unsafe { (object(handle, "handle")?, out(client, "client")?) };
        handle.shared.ensure_not_forked()?;
        found.set(give(leadership_client(handle.shared.clone())));
        Ok(())
    })
}

/// The key, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_key(handle: *const leadership_handle, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(handle.as_ref().map(|handle| handle.lead.key()), len) }
}

/// The value of the last campaign. bytes: to be freed with leadership_bytes_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_value(
    handle: *const leadership_handle,
    bytes: *mut *mut leadership_bytes,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, found) = unsafe { (object(handle, "handle")?, out(bytes, "bytes")?) };
        handle.shared.ensure_not_forked()?;
        found.set(give(leadership_bytes(handle.lead.value())));
        Ok(())
    })
}

/// What it is for; borrowed. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_purpose(handle: *const leadership_handle) -> *const c_char {
    // SAFETY: NULL or valid, as C promises.
    unsafe { handle.as_ref() }.map_or(ptr::null(), |handle| handle.purpose.as_ptr())
}

/// Counts a campaign. The caller says when: nothing is counted by itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_add_campaign_times(handle: *const leadership_handle) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let handle = unsafe { object(handle, "handle") }?;
        handle.shared.ensure_not_forked()?;
        handle.lead.add_campaign_times();
        Ok(())
    })
}

/// How many campaigns were counted within the window (default 5 min).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_get_campaign_times_num(
    handle: *const leadership_handle,
    times: *mut u64,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, counted) = unsafe { (object(handle, "handle")?, out(times, "times")?) };
        handle.shared.ensure_not_forked()?;
        counted.set(u64::try_from(handle.lead.campaign_times_num()).unwrap_or(u64::MAX));
        Ok(())
    })
}

/// Forgets the campaigns counted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_reset_campaign_times(handle: *const leadership_handle) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let handle = unsafe { object(handle, "handle") }?;
        handle.shared.ensure_not_forked()?;
        handle.lead.reset_campaign_times();
        Ok(())
    })
}

/// A primary watch also ends on an overwrite. Watches under way follow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_set_primary_watch(
    handle: *const leadership_handle,
    primary: bool,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let handle = unsafe { object(handle, "handle") }?;
        handle.shared.ensure_not_forked()?;
        handle.lead.set_primary_watch(primary);
        Ok(())
    })
}

/// See leadership_set_primary_watch. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_is_primary(handle: *const leadership_handle) -> bool {
    // SAFETY: NULL or valid, as C promises.
    unsafe { handle.as_ref() }.is_some_and(|handle| handle.lead.is_primary())
}

/// Frees the handle: its term ends at once (LEADERSHIP_REASON_RESIGNED), what it holds is released in the background,
/// a campaign or watch begun by a _start form ends. Callbacks of leadership_on_event may still tell of the loss. Never
/// blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_free(handle: *mut leadership_handle) {
    // SAFETY: NULL or valid, as C promises.
    if let Some(handle) = unsafe { handle.as_ref() }
        && !handle.shared.client.forked()
    {
        // A _start form may hold the leadership a while longer: what it would end when it is dropped ends here.
        value((), || drop(handle.lead.reset()));
    }
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(handle, |handle| &handle.shared) };
}
