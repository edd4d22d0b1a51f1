//! Conditions of campaigns and transactions, as C makes them. Owns the operators' numbers; what a condition means is
//! the core's.

use leadership_core::{Compare, CompareOp, Result};

use crate::args::{bytes, give, invalid, out, take};
use crate::error::leadership_error;
use crate::panic::{call, value};

/// ==
pub const LEADERSHIP_COMPARE_EQUAL: u32 = 1;
/// !=
pub const LEADERSHIP_COMPARE_NOT_EQUAL: u32 = 2;
/// >
pub const LEADERSHIP_COMPARE_GREATER: u32 = 3;
/// <
pub const LEADERSHIP_COMPARE_LESS: u32 = 4;

/// One condition on one key; copied wherever it is added. An absent key has revisions, version and lease 0, and a
/// condition on its value does not hold. Any thread.
#[derive(Debug)]
pub struct leadership_compare(pub(crate) Compare);

fn op(number: u32) -> Result<CompareOp> {
    Ok(match number {
        LEADERSHIP_COMPARE_EQUAL => CompareOp::Equal,
        LEADERSHIP_COMPARE_NOT_EQUAL => CompareOp::NotEqual,
        LEADERSHIP_COMPARE_GREATER => CompareOp::Greater,
        LEADERSHIP_COMPARE_LESS => CompareOp::Less,
        _ => return Err(invalid("op", format!("{number} is no LEADERSHIP_COMPARE_*"))),
    })
}

/// # Safety
/// As C promises.
unsafe fn number(
    key: *const u8,
    key_len: usize,
    operator: u32,
    compare: *mut *mut leadership_compare,
    make: impl FnOnce(Vec<u8>, CompareOp) -> Compare,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: the caller's.
        let (key, made) = unsafe { (bytes(key, key_len, "key")?, out(compare, "compare")?) };
        made.set(give(leadership_compare(make(key, op(operator)?))));
        Ok(())
    })
}

/// Compares the revision at which the key was created (0 = absent). op: LEADERSHIP_COMPARE_*. compare: to be freed with
/// leadership_compare_free. Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_compare_create_revision(
    key: *const u8,
    key_len: usize,
    op: u32,
    revision: i64,
    compare: *mut *mut leadership_compare,
) -> *mut leadership_error {
    // SAFETY: as C promises.
    unsafe { number(key, key_len, op, compare, |key, op| Compare::create_revision(key, op, revision)) }
}

/// Compares the revision at which the key was last written; the rest as leadership_compare_create_revision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_compare_mod_revision(
    key: *const u8,
    key_len: usize,
    op: u32,
    revision: i64,
    compare: *mut *mut leadership_compare,
) -> *mut leadership_error {
    // SAFETY: as C promises.
    unsafe { number(key, key_len, op, compare, |key, op| Compare::mod_revision(key, op, revision)) }
}

/// Compares how often the key was written since it was created; the rest as leadership_compare_create_revision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_compare_version(
    key: *const u8,
    key_len: usize,
    op: u32,
    version: i64,
    compare: *mut *mut leadership_compare,
) -> *mut leadership_error {
    // SAFETY: as C promises.
    unsafe { number(key, key_len, op, compare, |key, op| Compare::version(key, op, version)) }
}

/// Compares the id of the lease the key hangs on (0 = none); the rest as leadership_compare_create_revision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_compare_lease(
    key: *const u8,
    key_len: usize,
    op: u32,
    lease_id: i64,
    compare: *mut *mut leadership_compare,
) -> *mut leadership_error {
    // SAFETY: as C promises.
    unsafe { number(key, key_len, op, compare, |key, op| Compare::lease(key, op, lease_id)) }
}

/// Compares the value, byte by byte; the rest as leadership_compare_create_revision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_compare_value(
    key: *const u8,
    key_len: usize,
    op: u32,
    value: *const u8,
    value_len: usize,
    compare: *mut *mut leadership_compare,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (key, value, made) = unsafe {
            (bytes(key, key_len, "key")?, bytes(value, value_len, "value")?, out(compare, "compare")?)
        };
        made.set(give(leadership_compare(Compare::value(key, self::op(op)?, value))));
        Ok(())
    })
}

/// Frees a compare; where it was added it stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_compare_free(compare: *mut leadership_compare) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(compare) }));
}
