//! Bytes that the library made and C owns. Owns nothing else.

use crate::args::{lend, take};
use crate::panic::value;

/// Bytes, e.g. a value. Any thread.
#[derive(Debug)]
pub struct leadership_bytes(pub(crate) Vec<u8>);

/// The bytes, borrowed; their number goes to *len (may be NULL). NULL and 0 for NULL; with length 0 the pointer must
/// not be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_bytes_data(bytes: *const leadership_bytes, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(bytes.as_ref().map(|bytes| bytes.0.as_slice()), len) }
}

/// Frees bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_bytes_free(bytes: *mut leadership_bytes) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(bytes) }));
}
