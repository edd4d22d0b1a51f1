//! Owns a stranger's hand on the store: what is there, and what happens to it behind every client's back.
//! Leaves what befalls calls and streams to `faults`.

use std::ffi::c_char;

use server::KeyValue;

use crate::error::{bytes, fallible, leadership_testkit_error, object, output, text};
use crate::process::leadership_testkit_server;

/// A key as it was in the store. Immutable: any thread, until it is freed.
pub struct leadership_testkit_kv {
    kv: KeyValue,
}

/// What a call needs: the server and a key.
///
/// # Safety
/// As the exported functions' arguments of these names.
unsafe fn place<'a>(
    server: *const leadership_testkit_server,
    key: *const c_char,
) -> Result<(&'a leadership_testkit_server, &'a str), String> {
    // SAFETY: as the caller promises.
    let (server, key) = unsafe { (object(server, "server")?, text(key, "key")?) };
    if key.is_empty() {
        return Err("key: is empty".to_owned());
    }
    Ok((server, key))
}

/// Reads a key, whoever wrote it: `kv` is NULL when it is absent, else the caller's, for `leadership_testkit_kv_free`.
///
/// # Safety
/// `server` is NULL or alive, `key` is NULL or NUL-terminated, `kv` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_get(
    server: *const leadership_testkit_server,
    key: *const c_char,
    kv: *mut *mut leadership_testkit_kv,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let ((server, key), out) = unsafe { (place(server, key)?, output(kv, "kv")?) };
        let found = server.cluster.get(key).map(|kv| Box::into_raw(Box::new(leadership_testkit_kv { kv })));
        *out = found.unwrap_or(std::ptr::null_mut());
        Ok(())
    })
}

/// Its value: `*len` bytes that live as long as `kv`. `len` may be NULL. NULL for NULL.
///
/// # Safety
/// `kv` is NULL or not freed yet; `len` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_kv_value(kv: *const leadership_testkit_kv, len: *mut usize) -> *const u8 {
    // SAFETY: as the caller promises.
    let (Some(kv), len) = (unsafe { (kv.as_ref(), len.as_mut()) }) else {
        return std::ptr::null();
    };
    if let Some(len) = len {
        *len = kv.kv.value.len();
    }
    kv.kv.value.as_ptr()
}

/// The revision at which it came into being; 0 for NULL.
///
/// # Safety
/// `kv` is NULL or not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_kv_create_revision(kv: *const leadership_testkit_kv) -> i64 {
    // SAFETY: as the caller promises.
    unsafe { kv.as_ref() }.map_or(0, |kv| kv.kv.create_revision)
}

/// The revision of its last put; 0 for NULL.
///
/// # Safety
/// `kv` is NULL or not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_kv_mod_revision(kv: *const leadership_testkit_kv) -> i64 {
    // SAFETY: as the caller promises.
    unsafe { kv.as_ref() }.map_or(0, |kv| kv.kv.mod_revision)
}

/// The lease it hangs on, 0 for none and for NULL.
///
/// # Safety
/// `kv` is NULL or not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_kv_lease(kv: *const leadership_testkit_kv) -> i64 {
    // SAFETY: as the caller promises.
    unsafe { kv.as_ref() }.map_or(0, |kv| kv.kv.lease)
}

/// Frees it. NULL: nothing.
///
/// # Safety
/// `kv` is NULL or not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_kv_free(kv: *mut leadership_testkit_kv) {
    if !kv.is_null() {
        // SAFETY: made by `Box::into_raw` above, and not freed yet as the caller promises.
        drop(unsafe { Box::from_raw(kv) });
    }
}

/// A stranger's put. `lease` is taken as it is, 0 for none. `revision` (may be NULL) gets the put's.
///
/// # Safety
/// `server` is NULL or alive, `key` is NULL or NUL-terminated, `value` is NULL or has `value_len` bytes, `revision` is
/// NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_put(
    server: *const leadership_testkit_server,
    key: *const c_char,
    value: *const u8,
    value_len: usize,
    lease: i64,
    revision: *mut i64,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let ((server, key), value) = unsafe { (place(server, key)?, bytes(value, value_len, "value")?) };
        let put = server.cluster.put(key, value, lease);
        // SAFETY: as the caller promises.
        if let Some(revision) = unsafe { revision.as_mut() } {
            *revision = put;
        }
        Ok(())
    })
}

/// A stranger's delete of one key. `deleted` (may be NULL): whether it was there.
///
/// # Safety
/// `server` is NULL or alive, `key` is NULL or NUL-terminated, `deleted` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_delete(
    server: *const leadership_testkit_server,
    key: *const c_char,
    deleted: *mut bool,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let (server, key) = unsafe { place(server, key) }?;
        let was_there = server.cluster.delete(key);
        // SAFETY: as the caller promises.
        if let Some(deleted) = unsafe { deleted.as_mut() } {
            *deleted = was_there;
        }
        Ok(())
    })
}

/// Ends the lease that this key hangs on, as its clock would. An error if the key is absent or hangs on none.
///
/// # Safety
/// `server` is NULL or alive, `key` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_expire_key(
    server: *const leadership_testkit_server,
    key: *const c_char,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let (server, key) = unsafe { place(server, key) }?;
        server.cluster.expire_key(key).then_some(()).ok_or_else(|| format!("key: {key} hangs on no lease"))
    })
}

/// Revokes a lease behind its holder's back. An error if there is no such lease.
///
/// # Safety
/// `server` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_revoke(
    server: *const leadership_testkit_server,
    lease: i64,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let server = unsafe { object(server, "server") }?;
        server.cluster.revoke(lease).then_some(()).ok_or_else(|| format!("lease: {lease:x} does not exist"))
    })
}

/// How many leases there are: a campaign that failed leaves none behind.
///
/// # Safety
/// `server` is NULL or alive, `count` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_leases(
    server: *const leadership_testkit_server,
    count: *mut usize,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let (server, count) = unsafe { (object(server, "server")?, output(count, "count")?) };
        *count = server.cluster.leases().len();
        Ok(())
    })
}

/// Compacts everything up to now. `revision` (may be NULL) gets the revision compacted.
///
/// # Safety
/// `server` is NULL or alive, `revision` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_compact(
    server: *const leadership_testkit_server,
    revision: *mut i64,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let server = unsafe { object(server, "server") }?;
        let compacted = server.cluster.compact_now();
        // SAFETY: as the caller promises.
        if let Some(revision) = unsafe { revision.as_mut() } {
            *revision = compacted;
        }
        Ok(())
    })
}
