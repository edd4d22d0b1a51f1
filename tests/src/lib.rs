//! What the tests that cross the parts share. Owns the helpers; the tests themselves are in `tests/tests/`.
//! What only one crate's tests need stays with that crate.

pub mod etcd;
pub mod raw;
pub mod world;
