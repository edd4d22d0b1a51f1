//! What comes in from C and goes out to it: pointers, text, bytes, checked, each error naming its argument (S13).
//! Owns those checks; what the values mean is checked by the core.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use leadership_core::{Error, Result};

/// No key or value is as long: etcd takes 1.5 MiB by default. A larger size is a mistake of the caller's (a negative
/// number, memory that was never written), better refused than read.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// An argument that cannot be used.
pub(crate) fn invalid(argument: &str, why: impl Into<String>) -> Error {
    Error::InvalidArgument {
        argument: argument.to_owned(),
        why: why.into(),
    }
}

/// An object of ours, shared.
///
/// # Safety
/// NULL or valid for `'a`.
pub(crate) unsafe fn object<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: the caller's.
    unsafe { pointer.as_ref() }.ok_or_else(|| invalid(name, "is NULL"))
}

/// An object of ours, for this call alone.
///
/// # Safety
/// NULL or valid for `'a`, and nobody else uses it meanwhile.
pub(crate) unsafe fn exclusive<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    // SAFETY: the caller's.
    unsafe { pointer.as_mut() }.ok_or_else(|| invalid(name, "is NULL"))
}

/// Text: UTF-8 up to its NUL.
///
/// # Safety
/// NULL or NUL-terminated, and unchanged for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(invalid(name, "is NULL"));
    }
    // SAFETY: not NULL; the rest is the caller's.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|error| invalid(name, format!("is not UTF-8 after {} bytes", error.valid_up_to())))
}

/// [`text`], or none.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    // SAFETY: the caller's.
    (!pointer.is_null()).then(|| unsafe { text(pointer, name) }).transpose()
}

/// Bytes, copied; none may be NULL.
///
/// # Safety
/// `pointer` is NULL or readable for `len` bytes.
pub(crate) unsafe fn bytes(pointer: *const u8, len: usize, name: &str) -> Result<Vec<u8>> {
    if len == 0 {
        return Ok(Vec::new());
    }
    if len > MAX_BYTES {
        return Err(invalid(name, format!("{len} bytes are more than {MAX_BYTES}")));
    }
    if pointer.is_null() {
        return Err(invalid(name, format!("is NULL, with a length of {len}")));
    }
    // SAFETY: not NULL, below isize::MAX; the rest is the caller's.
    Ok(unsafe { slice::from_raw_parts(pointer, len) }.to_vec())
}

/// A span in milliseconds; the core says which ones it takes.
pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Where an output goes, written at most once and only on success.
pub(crate) struct Out<T>(NonNull<T>);

/// An output.
///
/// # Safety
/// `pointer` is NULL or writable for a `T` until the call returns.
pub(crate) unsafe fn out<T>(pointer: *mut T, name: &str) -> Result<Out<T>> {
    NonNull::new(pointer).map(Out).ok_or_else(|| invalid(name, "is NULL"))
}

impl<T> Out<T> {
    pub(crate) fn set(self, value: T) {
        // SAFETY: `out` was given a pointer that may be written. What was there is C's: not dropped.
        unsafe { self.0.write(value) };
    }
}

/// A length beside borrowed bytes: 0 and NULL for none.
///
/// # Safety
/// `len` is NULL or writable.
pub(crate) unsafe fn lend(bytes: Option<&[u8]>, len: *mut usize) -> *const u8 {
    // SAFETY: the caller's.
    if let Some(len) = unsafe { len.as_mut() } {
        *len = bytes.map_or(0, <[u8]>::len);
    }
    bytes.map_or(std::ptr::null(), <[u8]>::as_ptr)
}

/// An object that is C's from now on.
pub(crate) fn give<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// An object that C gives back.
///
/// # Safety
/// NULL or made by [`give`], and not used again.
pub(crate) unsafe fn take<T>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: the caller's.
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}

/// Text for C; a NUL inside would cut it short, so it is shown.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\\0")).unwrap_or_default()
}
