//! A lease as Python sees it, and one that electors share. Owns nothing but the conversion; what a lease is, the core says.

use leadership_core as core;
use pyo3::prelude::*;

use crate::error::{checked, in_time};
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// A lease of etcd's; made by `client.lease`. Usable from any thread. As a context manager it is closed at the end.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Lease {
    inner: Unlocked<core::Lease>,
}

impl Lease {
    pub(crate) fn new(inner: core::Lease) -> Self {
        Lease { inner: Unlocked::new(inner) }
    }

    pub(crate) fn core(&self) -> PyResult<&core::Lease> {
        self.inner.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the lease is being dropped"))
    }
}

#[pymethods]
impl Lease {
    /// Renews in the background, every TTL/5, until the lease is closed or expires.
    fn keep_alive(&self, py: Python<'_>) -> PyResult<()> {
        checked(py, self.core()?.keep_alive())
    }

    /// Revokes the lease, and every key on it goes. Idempotent.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closed = wait(py, self.core()?.close(), None)?;
        in_time(py, closed, || "close of a lease".to_owned())
    }

    /// True when the lease has ended, or may have. A local read; never false again.
    #[getter]
    fn is_expired(&self) -> PyResult<bool> {
        Ok(self.core()?.is_expired())
    }

    /// The lease's id in etcd: another one when its keys have moved to a fresh lease, after an etcd leader change.
    #[getter]
    fn id(&self) -> PyResult<i64> {
        Ok(self.core()?.id())
    }

    /// What it is for.
    #[getter]
    fn purpose(&self) -> PyResult<&str> {
        Ok(self.core()?.purpose())
    }

    /// The TTL that etcd granted, in seconds; it may be longer than what was asked for.
    #[getter]
    fn ttl(&self) -> PyResult<f64> {
        Ok(self.core()?.ttl().as_secs_f64())
    }

    /// For how many seconds it surely lives without a further renewal; 0 once ended.
    #[getter]
    fn remaining(&self) -> PyResult<f64> {
        Ok(self.core()?.remaining().as_secs_f64())
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (exception=None, *_more))]
    fn __exit__(&self, py: Python<'_>, exception: Option<Bound<'_, PyAny>>, _more: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.core()?.forked() {
            return Ok(()); // the parent's to close
        }
        crate::lead::unless_raising(self.close(py), exception)
    }

    fn __repr__(&self) -> PyResult<String> {
        let lease = self.core()?;
        let left = lease.remaining();
        let state = if lease.is_expired() { "expired".to_owned() } else { format!("{:.1} s left", left.as_secs_f64()) };
        Ok(format!("<leadership.Lease {:x} {state}>", lease.id()))
    }
}

/// A lease for several electors of one client (`lease=`): renewed once for all of them, and one fate; granted when it is
/// first needed, and anew when it is of no more use. Made by `client.shared_lease`. Usable from any thread.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct SharedLease {
    inner: Unlocked<core::SharedLease>,
}

impl SharedLease {
    pub(crate) fn new(inner: core::SharedLease) -> Self {
        SharedLease { inner: Unlocked::new(inner) }
    }

    pub(crate) fn core(&self) -> PyResult<&core::SharedLease> {
        self.inner.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the lease is being dropped"))
    }
}

#[pymethods]
impl SharedLease {
    /// The id of the lease of now; None before the first campaign, and once it is of no more use.
    #[getter]
    fn id(&self) -> PyResult<Option<i64>> {
        Ok(self.core()?.id())
    }

    /// The TTL that is asked for, in seconds; etcd may raise it.
    #[getter]
    fn ttl(&self) -> PyResult<f64> {
        Ok(self.core()?.ttl().as_secs_f64())
    }

    fn __repr__(&self) -> PyResult<String> {
        let lease = self.core()?;
        let id = lease.id().map_or_else(|| "not granted".to_owned(), |id| format!("{id:x}"));
        Ok(format!("<leadership.SharedLease {id} ttl={}>", lease.ttl().as_secs()))
    }
}
