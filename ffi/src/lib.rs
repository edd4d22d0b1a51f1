//! The C ABI: opaque handles over the core, and the header that cbindgen makes of them.
//! Owns the boundary to C and nothing else; so far the version, the handles follow.
#![allow(unsafe_code)] // exported names: the C boundary is the third of the places that may (DESIGN §6)

use std::ffi::c_char;

/// The library's version as text, e.g. "0.1.0". Static: valid for ever, never freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn leadership_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    /// The header beside the sources is the one that the sources make.
    #[test]
    fn the_committed_header_is_the_generated_one() {
        let generated = include_str!(concat!(env!("OUT_DIR"), "/leadership.h"));
        let committed = include_str!("../../include/leadership.h");
        assert_eq!(generated, committed, "run `make header` and commit include/leadership.h");
    }

    #[test]
    fn the_version_is_the_packages() {
        // SAFETY: a static, NUL-terminated string.
        let version = unsafe { CStr::from_ptr(super::leadership_version()) };
        assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
}
