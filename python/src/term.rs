//! A term as Python sees it: check, prove, wait for the loss, and resign it if it is one's own. Owns nothing but the
//! conversion; which thread holds which term is `holders`'.

use std::sync::Arc;

use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::{self, show};
use crate::error::in_time;
use crate::holders::Holders;
use crate::txn::Txn;
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// One uninterrupted reign: a view that never resigns. Usable from any thread.
#[pyclass(frozen, subclass, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Term {
    inner: Unlocked<core::TermHandle>,
}

impl Term {
    pub(crate) fn new(inner: core::TermHandle) -> Self {
        Term { inner: Unlocked::new(inner) }
    }

    pub(crate) fn core(&self) -> PyResult<&core::TermHandle> {
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

    /// The value of the key: the last that was proclaimed, or the one the term was won with.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.core()?.latest_value()))
    }

    /// A transaction that etcd applies only while this very term holds the key.
    fn txn(&self, py: Python<'_>) -> PyResult<Txn> {
        let term = self.core()?;
        if term.lost_reason() == Some(core::Reason::Forked) {
            return Err(crate::error::raise(py, core::Error::Forked));
        }
        Ok(Txn::new(term.txn()))
    }

    /// Writes another key if this very term still holds the election's: `txn()` in one line.
    fn put(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let (key, value) = (convert::bytes("key", key)?, convert::bytes("value", value)?);
        let put = wait(py, self.core()?.put(key, value), None)?;
        in_time(py, put, || "put".to_owned())
    }

    /// Deletes another key if this very term still holds the election's: whether it was there.
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let deleted = wait(py, self.core()?.delete(convert::bytes("key", key)?), None)?;
        in_time(py, deleted, || "delete".to_owned())
    }

    /// Gives the election's key another value: the same term, the same token, and no vacancy between.
    fn proclaim(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let proclaimed = wait(py, self.core()?.proclaim(convert::bytes("value", value)?), None)?;
        in_time(py, proclaimed, || "proclaim".to_owned())
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

/// A term that is its holder's to end: from an elector, from `client.lead`, from an election of the queue kind. Usable
/// from any thread.
///
/// Letting go of it resigns: `resign()`, the end of a `with` block (which waits for it), or dropping it (which does not).
/// It is the thread's that took it of an elector, or that entered its block last.
#[pyclass(frozen, extends = Term, module = "leadership")]
#[derive(Debug)]
pub(crate) struct OwnedTerm {
    term: Unlocked<Arc<core::Term>>,
    holders: Option<(Holders, u64)>,
}

impl OwnedTerm {
    /// Of no elector.
    pub(crate) fn alone(py: Python<'_>, term: core::Term) -> PyResult<Py<OwnedTerm>> {
        OwnedTerm::new(py, term, None)
    }

    /// Of the elector with this number: the calling thread has taken it.
    pub(crate) fn taken(py: Python<'_>, term: core::Term, holders: &Holders, elector: u64) -> PyResult<Py<OwnedTerm>> {
        let owned = OwnedTerm::new(py, term, Some((holders.clone(), elector)))?;
        owned.get().take();
        Ok(owned)
    }

    fn new(py: Python<'_>, term: core::Term, holders: Option<(Holders, u64)>) -> PyResult<Py<OwnedTerm>> {
        let view = Term::new(term.handle());
        let owned = OwnedTerm { term: Unlocked::new(Arc::new(term)), holders };
        Py::new(py, PyClassInitializer::from(view).add_subclass(owned))
    }

    /// From now on it is the calling thread's.
    fn take(&self) {
        if let (Some(term), Some((holders, elector))) = (self.term.get(), &self.holders) {
            holders.took(*elector, term);
        }
    }

    fn core(&self) -> PyResult<&core::Term> {
        let term = self.term.get().map(Arc::as_ref);
        term.ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the term is being dropped"))
    }
}

#[pymethods]
impl OwnedTerm {
    /// Lets go of the term: not leader at once, then the key is deleted, and waits for that. Idempotent.
    pub(crate) fn resign(&self, py: Python<'_>) -> PyResult<()> {
        let resigned = wait(py, self.core()?.let_go(), None)?;
        in_time(py, resigned, || "resign".to_owned())
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        if slf.core()?.lost_reason() != Some(core::Reason::Forked) {
            slf.take();
        }
        Ok(slf)
    }

    #[pyo3(signature = (exception=None, *_more))]
    fn __exit__(&self, py: Python<'_>, exception: Option<Bound<'_, PyAny>>, _more: &Bound<'_, PyAny>) -> PyResult<()> {
        let term = self.core()?;
        if term.lost_reason() == Some(core::Reason::Forked) {
            return Ok(()); // a child leaves the parent's block: the parent's to resign
        }
        let resigned = match wait(py, term.let_go(), None) {
            Ok(Some(Err(core::Error::Closed))) => Ok(()), // its client's end has released it
            Ok(resigned) => in_time(py, resigned, || "resign".to_owned()),
            Err(interrupted) => Err(interrupted),
        };
        crate::lead::unless_raising(resigned, exception)
    }
}
