//! Who leads, as a read found it. Owns the accessors.

use leadership_core::Leader;

use crate::args::{lend, take};
use crate::panic::value;

/// Who led an election when it was read. Any thread.
#[derive(Debug)]
pub struct leadership_leader(pub(crate) Leader);

/// The leader's value, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_leader_value(leader: *const leadership_leader, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(leader.as_ref().map(|leader| leader.0.value.as_slice()), len) }
}

/// The revision at which the key was created. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_leader_create_revision(leader: *const leadership_leader) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { leader.as_ref() }.map_or(0, |leader| leader.0.create_revision)
}

/// The revision at which the key was last written: what leadership_watch and leadership_delete_leader_key_at take.
/// 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_leader_mod_revision(leader: *const leadership_leader) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { leader.as_ref() }.map_or(0, |leader| leader.0.mod_revision)
}

/// The lease the key hangs on; 0 for none, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_leader_lease_id(leader: *const leadership_leader) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { leader.as_ref() }.map_or(0, |leader| leader.0.lease)
}

/// The term's fencing token, the one that the holder itself uses; 0 if it cannot be known, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_leader_token(leader: *const leadership_leader) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { leader.as_ref() }.and_then(|leader| leader.0.token).unwrap_or(0)
}

/// Frees a leader.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_leader_free(leader: *mut leadership_leader) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(leader) }));
}
