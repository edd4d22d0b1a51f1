//! A lease as C holds it. Owns its accessors and its end; what it does is the core's.

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use leadership_core::Lease;

use crate::args::{c_text, give, millis, object, out, text};
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free, leadership_client};
use crate::error::leadership_error;
use crate::panic::{call, value};
use crate::wait::{Bounds, given, leadership_done, start_giving, start_plain};

/// A lease of etcd's. Freeing the last handle of it, leaderships' own included, queues its revoke. Any thread.
pub struct leadership_lease {
    pub(crate) lease: Lease,
    purpose: CString,
    pub(crate) shared: Arc<Shared>,
}

impl leadership_lease {
    pub(crate) fn of(lease: Lease, shared: &Arc<Shared>) -> leadership_lease {
        leadership_lease {
            purpose: c_text(lease.purpose()),
            lease,
            shared: shared.clone(),
        }
    }
}

/// Grants a lease. It is not renewed until leadership_lease_keep_alive. If the call fails, no lease is left behind.
///
/// ttl_ms: rounded up to whole seconds; etcd may raise it. purpose: what it is for, in logs and errors.
/// lease: to be freed with leadership_lease_free.
/// Errors: INVALID_ARGUMENT (ttl), UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_grant(
    client: *const leadership_client,
    ttl_ms: u64,
    purpose: *const c_char,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    lease: *mut *mut leadership_lease,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, purpose, bounds, made) = unsafe {
            (
                object(client, "client")?,
                text(purpose, "purpose")?,
                Bounds::new(timeout_ms, cancel),
                out(lease, "lease")?,
            )
        };
        let lease = bounds.wait("grant of a lease", Lease::grant(&client.0.client, millis(ttl_ms), purpose))?;
        made.set(give(leadership_lease::of(lease, &client.0)));
        Ok(())
    })
}

/// Completion of leadership_lease_grant_start. Exactly one of error and lease is not NULL, and it is the callback's to
/// free.
pub type leadership_lease_done =
    Option<unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, lease: *mut leadership_lease)>;

/// leadership_lease_grant without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_grant_start(
    client: *const leadership_client,
    ttl_ms: u64,
    purpose: *const c_char,
    cancel: *const leadership_cancel,
    done: leadership_lease_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, purpose) = unsafe { (object(client, "client")?, text(purpose, "purpose")?.to_owned()) };
        client.0.client.ensure_usable()?;
        let (core, shared) = (client.0.client.clone(), client.0.clone());
        let grant = async move { Lease::grant(&core, millis(ttl_ms), purpose).await };
        let user = UserData::new(user_data, drop);
        let granted = move |lease| Ok(give(leadership_lease::of(lease, &shared)));
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&client.0.calls, "grant of a lease", cancel, done, user, grant, granted) }
    })
}

/// Renews the lease in the background until it is closed or expires. Idempotent, never blocks.
///
/// Errors: NOT_LEADER if it has ended (it is never revived), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_keep_alive(lease: *const leadership_lease) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        unsafe { object(lease, "lease") }?.lease.keep_alive()
    })
}

/// Revokes the lease: it is expired at once, whatever this returns, and every key on it goes. Idempotent; success if it
/// is gone already.
///
/// Errors: UNAVAILABLE, TIMEOUT, CANCELLED when etcd's answer was not waited for to the end: the revoke is repeated in
/// the background.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_close(
    lease: *const leadership_lease,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (lease, bounds) = unsafe { (object(lease, "lease")?, Bounds::new(timeout_ms, cancel)) };
        lease.shared.ensure_not_forked()?;
        bounds.wait("close of a lease", lease.lease.close())
    })
}

/// leadership_lease_close without waiting: expired when this returns success, and `done` is called once, when the lease
/// is gone or that was not confirmed in time. A cancel ends the wait, not the revoke.
///
/// Errors: INVALID_ARGUMENT (NULL); all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_close_start(
    lease: *const leadership_lease,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let lease = unsafe { object(lease, "lease") }?;
        given(done)?; // before the lease ends
        lease.shared.ensure_not_forked()?;
        let close = lease.lease.close();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&lease.shared.calls, "close of a lease", cancel, done, user, close) }
    })
}

/// True when the lease has ended, or may have; never false again. A local read of tens of nanoseconds. True for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_is_expired(lease: *const leadership_lease) -> bool {
    // SAFETY: NULL or valid, as C promises.
    unsafe { lease.as_ref() }.is_none_or(|lease| lease.lease.is_expired())
}

/// The lease's id in etcd: another one when its keys have moved to a fresh lease, after an etcd leader change. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_id(lease: *const leadership_lease) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { lease.as_ref() }.map_or(0, |lease| lease.lease.id())
}

/// The TTL that etcd granted, which may be longer than what was asked for. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_ttl_ms(lease: *const leadership_lease) -> u64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { lease.as_ref() }.map_or(0, |lease| u64::try_from(lease.lease.ttl().as_millis()).unwrap_or(u64::MAX))
}

/// How long it surely lives without a further renewal, in nanoseconds; 0 once ended, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_remaining_ns(lease: *const leadership_lease) -> u64 {
    // SAFETY: NULL or valid, as C promises.
    let lease = unsafe { lease.as_ref() };
    value(0, || lease.map_or(0, |lease| u64::try_from(lease.lease.remaining().as_nanos()).unwrap_or(u64::MAX)))
}

/// What it is for; borrowed. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_purpose(lease: *const leadership_lease) -> *const c_char {
    // SAFETY: NULL or valid, as C promises.
    unsafe { lease.as_ref() }.map_or(ptr::null(), |lease| lease.purpose.as_ptr())
}

/// Frees the handle. If it was the last one of a lease that was not closed, the revoke is queued. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_lease_free(lease: *mut leadership_lease) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(lease, |lease| &lease.shared) };
}
