//! A term as Python sees it: check, prove, wait for the loss. Owns nothing but the conversion.

use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::{self, show};
use crate::txn::Txn;
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// One uninterrupted reign: a view that never resigns. Usable from any thread.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Term {
    inner: Unlocked<core::TermHandle>,
}

impl Term {
    pub(crate) fn new(inner: core::TermHandle) -> Self {
        Term { inner: Unlocked::new(inner) }
    }

    fn core(&self) -> PyResult<&core::TermHandle> {
        self.inner.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the term is being dropped"))
    }
}

#[pymethods]
impl Term {
    /// Authority, until the deadline: a local read without I/O. Ask before an act.
    #[getter]
    fn valid(&self) -> bool {
        self.inner.get().is_some_and(core::TermHandle::is_valid)
    }

    /// None, or the reason why the work must stop: latched before the deadline. Loops read this.
    #[getter]
    fn lost(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        convert::reason(py, self.core()?.lost_reason())
    }

    /// Waits, at most `timeout` seconds, until the term is lost: the reason, or None when the time was up.
    #[pyo3(signature = (timeout=None))]
    fn wait_lost(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<Option<Py<PyAny>>> {
        let term = self.core()?;
        // In a forked child nobody would ever wake the waiter; the level is known without one.
        if let Some(reason) = term.lost_reason() {
            return convert::reason(py, Some(reason));
        }
        let lost = wait(py, term.lost(), convert::timeout(timeout.as_ref())?)?;
        convert::reason(py, lost)
    }

    /// The fencing token: strictly larger in every later term of the election.
    #[getter]
    fn token(&self) -> PyResult<i64> {
        Ok(self.core()?.token())
    }

    /// For how many seconds the term is valid without a further renewal; 0 once ended.
    #[getter]
    fn remaining(&self) -> PyResult<f64> {
        Ok(self.core()?.remaining().as_secs_f64())
    }

    /// The lease the key hangs on: another one after an etcd leader change, in the same term.
    #[getter]
    fn lease_id(&self) -> PyResult<i64> {
        Ok(self.core()?.lease_id())
    }

    /// The TTL that etcd granted, in seconds.
    #[getter]
    fn ttl(&self) -> PyResult<f64> {
        Ok(self.core()?.ttl().as_secs_f64())
    }

    /// The key of the election.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.core()?.key()))
    }

    /// The value the term was won with.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.core()?.value()))
    }

    /// A transaction that etcd applies only while this very term holds the key.
    fn txn(&self, py: Python<'_>) -> PyResult<Txn> {
        let term = self.core()?;
        if term.lost_reason() == Some(core::Reason::Forked) {
            return Err(crate::error::raise(py, core::Error::Forked));
        }
        Ok(Txn::new(term.txn()))
    }

    fn __repr__(&self) -> PyResult<String> {
        let term = self.core()?;
        let state = match term.lost_reason() {
            Some(reason) => format!("lost: {reason}"),
            None => format!("{:.1} s left", term.remaining().as_secs_f64()),
        };
        Ok(format!("<leadership.Term {} token={} {state}>", show(term.key()), term.token()))
    }
}
