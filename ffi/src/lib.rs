//! The C ABI: opaque handles over the core, and the header that cbindgen makes of them.
//! Owns the boundary to C and nothing else; each type is a file, what all share is `args`, `panic`, `wait`, `callback`.
//!
//! What C promises, for every function (the header's conventions): a pointer is NULL or valid for its type, bytes are
//! readable for their length, text is NUL-terminated, nothing is used while or after it is freed. Every `unsafe` block
//! of this crate rests on that, and on nothing else.
#![allow(unsafe_code)] // the C boundary is the third of the places that may (DESIGN §6)
#![allow(non_camel_case_types)] // the names are C's
#![allow(clippy::missing_safety_doc)] // the contract is the header's conventions, said once

mod args;
mod bytes;
mod callback;
mod campaign;
mod cancel;
mod client;
mod client_options;
mod compare;
mod error;
mod election;
mod elector;
mod elector_events;
mod elector_options;
mod event;
mod exit;
mod handle;
mod leader;
mod lease;
mod log;
mod observer;
mod operator;
mod panic;
mod participant;
mod reply;
mod shared_lease;
mod signals;
mod term;
mod term_write;
mod transfer;
mod txn;
mod unread;
mod wait;
mod watch;

use std::ffi::c_char;

pub use bytes::*;
pub use callback::*;
pub use campaign::*;
pub use cancel::*;
pub use client::*;
pub use client_options::*;
pub use compare::*;
pub use error::*;
pub use election::*;
pub use elector::*;
pub use elector_events::*;
pub use elector_options::*;
pub use event::*;
pub use handle::*;
pub use leader::*;
pub use lease::*;
pub use self::log::*;
pub use observer::*;
pub use operator::*;
pub use participant::*;
pub use reply::*;
pub use shared_lease::*;
pub use term::*;
pub use term_write::*;
pub use transfer::*;
pub use txn::*;
pub use wait::{LEADERSHIP_FOREVER, leadership_done};
pub use watch::*;

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
