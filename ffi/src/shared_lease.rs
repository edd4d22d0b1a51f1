//! One lease for many electors, as C holds it. Owns the handle; when it is granted, and granted anew, is the core's.

use std::sync::Arc;

use leadership_core::SharedLease;

use crate::args::{give, millis, object, out};
use crate::client::{Shared, free, leadership_client};
use crate::error::leadership_error;
use crate::panic::{call, value};

/// A lease that several electors of one client share, by leadership_elector_options_set_lease: one renewal for all of them,
/// and one fate. When it dies, every term on it ends, and the next campaigns are under a fresh one. One elector's end does
/// not touch the others. Any thread.
pub struct leadership_shared_lease {
    pub(crate) lease: SharedLease,
    pub(crate) shared: Arc<Shared>,
}

/// A lease to be shared, granted when it is first needed. Nothing is sent.
///
/// ttl_ms: rounded up to whole seconds; etcd may raise it. lease: to be freed with leadership_shared_lease_free.
/// Errors: INVALID_ARGUMENT (ttl), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_shared_lease(
    client: *const leadership_client,
    ttl_ms: u64,
    lease: *mut *mut leadership_shared_lease,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, made) = unsafe { (object(client, "client")?, out(lease, "lease")?) };
        made.set(give(leadership_shared_lease {
            lease: client.0.client.shared_lease(millis(ttl_ms))?,
            shared: client.0.clone(),
        }));
        Ok(())
    })
}

/// The id of the lease of now; 0 before the first campaign, once it is of no more use, in a forked child, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_shared_lease_id(lease: *const leadership_shared_lease) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    let lease = unsafe { lease.as_ref() };
    value(0, || lease.and_then(|lease| lease.lease.id()).unwrap_or(0))
}

/// The TTL that is asked for. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_shared_lease_ttl_ms(lease: *const leadership_shared_lease) -> u64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { lease.as_ref() }.map_or(0, |lease| u64::try_from(lease.lease.ttl().as_millis()).unwrap_or(u64::MAX))
}

/// Frees the handle. The lease is revoked, in the background, once no elector and no options have it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_shared_lease_free(lease: *mut leadership_shared_lease) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(lease, |lease| &lease.shared) };
}
