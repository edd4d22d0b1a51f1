//! Owns the tests of the faults, over a served store.
