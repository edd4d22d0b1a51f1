//! The Python extension's crate. Empty until the binding is built; the core does not know it.
