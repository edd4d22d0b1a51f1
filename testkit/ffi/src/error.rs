//! Owns the boundary itself: errors out, panics caught, pointers in checked for NULL, text for UTF-8.
//! Leaves what the calls do to the other files.

use std::any::Any;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Why a call of the test server failed. NULL is success. Immutable: any thread, until it is freed.
pub struct leadership_testkit_error {
    message: CString,
}

/// What went wrong, for people: NUL-terminated UTF-8 that lives as long as the error. For NULL: an empty text.
///
/// # Safety
/// `error` is NULL or an error that is not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_error_message(error: *const leadership_testkit_error) -> *const c_char {
    // SAFETY: NULL, or alive as the caller promises.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Frees an error. NULL: nothing.
///
/// # Safety
/// `error` is NULL or an error that is not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_error_free(error: *mut leadership_testkit_error) {
    if !error.is_null() {
        // SAFETY: made by `Box::into_raw` below, and not freed yet as the caller promises.
        drop(unsafe { Box::from_raw(error) });
    }
}

/// Runs a call: NULL for success, else its error. No panic gets past it.
pub(crate) fn fallible(call: impl FnOnce() -> Result<(), String>) -> *mut leadership_testkit_error {
    let message = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return ptr::null_mut(),
        Ok(Err(message)) => message,
        Err(panic) => format!("a bug in the test server: {}", panic_message(&*panic)),
    };
    let message = CString::new(message.replace('\0', "\u{fffd}")).unwrap_or_default();
    Box::into_raw(Box::new(leadership_testkit_error { message }))
}

/// Runs a call that has no way to fail; a panic ends in nothing done.
pub(crate) fn quiet(call: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The object behind a pointer; an error that names the argument when it is NULL.
///
/// # Safety
/// `pointer` is NULL or points to a `T` that lives for `'a`.
pub(crate) unsafe fn object<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, String> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.ok_or_else(|| format!("{name}: is NULL"))
}

/// Where an output goes; an error that names the argument when it is NULL.
///
/// # Safety
/// `pointer` is NULL or may be written as a `T` for `'a`.
pub(crate) unsafe fn output<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T, String> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_mut() }.ok_or_else(|| format!("{name}: is NULL"))
}

/// Text in.
///
/// # Safety
/// `text` is NULL or NUL-terminated, and lives for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, String> {
    if text.is_null() {
        return Err(format!("{name}: is NULL"));
    }
    // SAFETY: not NULL, and NUL-terminated as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| format!("{name}: is not UTF-8"))
}

/// A value in: any bytes. NULL with length 0 is the empty value.
///
/// # Safety
/// `bytes` is NULL or points to `len` bytes that live for `'a`.
pub(crate) unsafe fn bytes<'a>(bytes: *const u8, len: usize, name: &str) -> Result<&'a [u8], String> {
    if len == 0 {
        return Ok(&[]);
    }
    if bytes.is_null() {
        return Err(format!("{name}: is NULL"));
    }
    if isize::try_from(len).is_err() {
        return Err(format!("{name}: {len} bytes are more than memory can hold"));
    }
    // SAFETY: not NULL, of a size that exists, and alive as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(bytes, len) })
}
