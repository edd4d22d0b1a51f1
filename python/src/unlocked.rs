//! Dropping a core object without holding the interpreter up: the last drop of a client may wait 500 ms for etcd.
//! Owns that drop, and that a forked child drops nothing; what dropping means is the core's.

use pyo3::prelude::*;

/// A core object inside a Python object.
#[derive(Debug)]
pub(crate) struct Unlocked<T: Send>(Option<T>);

impl<T: Send> Unlocked<T> {
    pub(crate) fn new(inner: T) -> Self {
        Unlocked(Some(inner))
    }

    /// `None` only while it is being dropped: nobody sees that.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: Send> Drop for Unlocked<T> {
    fn drop(&mut self) {
        let inner = self.0.take();
        // At the interpreter's end nobody can be attached any more, and nobody is held up either.
        let mut inner = Some(inner);
        let _ = Python::try_attach(|py| {
            let inner = inner.take();
            py.detach(|| drop(inner));
        });
        drop(inner);
    }
}
