//! The test server for C: a server on a thread of its own, a stranger's hand on its store, and its faults.
//! Owns the boundary to C; what the server does is `leadership-testkit`'s. Never for production.
#![allow(unsafe_code)] // exported names and the callers' pointers: a C boundary (DESIGN §6)
#![allow(non_camel_case_types)] // the types bear their C names: one word per idea everywhere

pub mod error;
pub mod faults;
pub mod process;
pub mod store;

#[cfg(test)]
mod tests {
    /// The header beside the sources is the one that the sources make.
    #[test]
    fn the_committed_header_is_the_generated_one() {
        let generated = include_str!(concat!(env!("OUT_DIR"), "/leadership_testkit.h"));
        let committed = include_str!("../../../include/leadership_testkit.h");
        assert_eq!(generated, committed, "run `make header` and commit include/leadership_testkit.h");
    }
}
