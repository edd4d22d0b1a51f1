//! Full control of one election, as Python sees it. Owns the conversion and the context manager's end; every step is
//! the core's.

use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::client::Client;
use crate::convert::{self, show};
use crate::error::{checked, in_time};
use crate::lease::Lease;
use crate::term::Term;
use crate::txn::{Compare, Txn};
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// One contender for one key; made by `client.leadership`. Usable from any thread.
///
/// As a context manager it gives its term up at the end. Dropping it does the same without waiting.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Leadership {
    inner: Unlocked<core::Leadership>,
    client: Py<Client>,
}

impl Leadership {
    pub(crate) fn new(client: &Bound<'_, Client>, key: Vec<u8>, options: core::LeadershipOptions) -> PyResult<Self> {
        let lead = core::Leadership::with_options(client.get().core()?, key, options);
        Ok(Leadership { inner: Unlocked::new(checked(client.py(), lead)?), client: client.clone().unbind() })
    }

    fn core(&self) -> PyResult<&core::Leadership> {
        self.inner.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the leadership is being dropped"))
    }

    /// For what has no error of the core's to say so (S12).
    fn unforked(&self, py: Python<'_>) -> PyResult<&core::Leadership> {
        let lead = self.core()?;
        crate::error::unforked(py, lead.client())?;
        Ok(lead)
    }
}

/// The error of an exit, unless the body raised one of its own: that one must not be hidden.
pub(crate) fn unless_raising(ended: PyResult<()>, exception: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    if exception.is_some() { Ok(()) } else { ended }
}

#[pymethods]
impl Leadership {
    /// Tries to take the key, once: the term, if this contender leads. `timeout` gives up earlier than the requests
    /// do; nothing is left behind then.
    #[pyo3(signature = (value=None, *, ttl=None, compares=Vec::new(), timeout=None),
           text_signature = "($self, value=None, *, ttl=None, compares=(), timeout=None)")]
    fn campaign(
        &self,
        py: Python<'_>,
        value: Option<Bound<'_, PyAny>>,
        ttl: Option<Bound<'_, PyAny>>,
        compares: Vec<Bound<'_, Compare>>,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Term> {
        let value = value.map_or(Ok(Vec::new()), |value| convert::bytes("value", &value))?;
        let mut options = core::CampaignOptions::new(value);
        if let Some(ttl) = ttl {
            options = options.ttl(convert::duration("ttl", &ttl)?);
        }
        for compare in compares {
            options = options.compare(compare.get().inner.clone());
        }
        let term = wait(py, self.core()?.campaign(options), convert::timeout(timeout.as_ref())?)?;
        let term = in_time(py, term, || {
            self.core().map_or_else(|_| String::new(), |lead| format!("campaign for {}", show(lead.key())))
        })?;
        Ok(Term::new(term))
    }

    /// Renews in the background until a reset, a loss or the client's end. Idempotent; returns at once.
    fn keep(&self, py: Python<'_>) -> PyResult<()> {
        checked(py, self.core()?.keep())
    }

    /// True only between a proven win and the deadline. A local read.
    fn check(&self) -> bool {
        self.inner.get().is_some_and(core::Leadership::check)
    }

    /// The current term, or the last one when it has ended; None before the first.
    #[getter]
    fn term(&self, py: Python<'_>) -> PyResult<Option<Term>> {
        Ok(self.unforked(py)?.term().map(Term::new))
    }

    /// A transaction guarded by the current term.
    fn txn(&self, py: Python<'_>) -> PyResult<Txn> {
        Ok(Txn::new(checked(py, self.core()?.txn())?))
    }

    /// Gives the key another value in the current term, which goes on with the same token.
    fn proclaim(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let proclaimed = wait(py, self.core()?.proclaim(convert::bytes("value", value)?), None)?;
        in_time(py, proclaimed, || "proclaim".to_owned())
    }

    /// Not leader at once; then deletes the key and revokes the lease, and waits for that.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        let reset = wait(py, self.core()?.reset(), None)?;
        in_time(py, reset, || "reset".to_owned())
    }

    /// Deletes the leader key of the own term, which ends with it.
    fn delete_leader_key(&self, py: Python<'_>) -> PyResult<()> {
        let deleted = wait(py, self.core()?.delete_leader_key(), None)?;
        in_time(py, deleted, || "delete_leader_key".to_owned())
    }

    /// Deletes the leader key if nobody has written it since `revision` (its MOD revision). Absent is success.
    fn delete_leader_key_at(&self, py: Python<'_>, revision: i64) -> PyResult<()> {
        let deleted = wait(py, self.core()?.delete_leader_key_at(revision), None)?;
        in_time(py, deleted, || "delete_leader_key_at".to_owned())
    }

    /// Waits, at most `timeout` seconds, until the leader seen at `revision` (0 = whoever holds the key now) is gone.
    #[pyo3(signature = (revision=0, *, timeout=None))]
    fn watch(&self, py: Python<'_>, revision: i64, timeout: Option<Bound<'_, PyAny>>) -> PyResult<WatchEnd> {
        let end = wait(py, self.core()?.watch(revision), convert::timeout(timeout.as_ref())?)?;
        let end = in_time(py, end, || {
            self.core().map_or_else(|_| String::new(), |lead| format!("watch of {}", show(lead.key())))
        })?;
        Ok(WatchEnd { inner: end })
    }

    /// Calls `callback(event)` for what happens to the terms from now on, on a thread of the library, in order.
    /// An exception in it is reported by `sys.unraisablehook` and stops nothing.
    fn on_event(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        checked(py, self.core()?.client().ensure_usable())?;
        let events = self.core()?.events();
        self.client.get().callbacks().deliver(py, events, callback).map(drop)
    }

    /// Campaigns with this lease from now on; None grants a fresh one each time again.
    fn set_lease(&self, py: Python<'_>, lease: Option<Bound<'_, Lease>>) -> PyResult<()> {
        let lease = lease.map(|lease| lease.get().core().cloned()).transpose()?;
        checked(py, self.core()?.set_lease(lease))
    }

    /// The lease of the current term, or the one that was set.
    #[getter]
    fn lease(&self, py: Python<'_>) -> PyResult<Option<Lease>> {
        Ok(self.unforked(py)?.lease().map(Lease::new))
    }

    /// The client.
    #[getter]
    fn client(&self, py: Python<'_>) -> Py<Client> {
        self.client.clone_ref(py)
    }

    /// The key.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.core()?.key()))
    }

    /// The value of the last campaign.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.unforked(py)?.value()))
    }

    /// What it is for.
    #[getter]
    fn purpose(&self) -> PyResult<&str> {
        Ok(self.core()?.purpose())
    }

    /// Counts a campaign in the history. The caller says when.
    fn add_campaign_times(&self, py: Python<'_>) -> PyResult<()> {
        self.unforked(py)?.add_campaign_times();
        Ok(())
    }

    /// How many campaigns were counted within the window (default 5 min).
    #[getter]
    fn campaign_times_num(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.unforked(py)?.campaign_times_num())
    }

    /// Forgets the campaigns counted.
    fn reset_campaign_times(&self, py: Python<'_>) -> PyResult<()> {
        self.unforked(py)?.reset_campaign_times();
        Ok(())
    }

    /// A primary watch also ends on an overwrite.
    fn set_primary_watch(&self, py: Python<'_>, primary: bool) -> PyResult<()> {
        self.unforked(py)?.set_primary_watch(primary);
        Ok(())
    }

    /// See set_primary_watch.
    #[getter]
    fn is_primary(&self) -> PyResult<bool> {
        Ok(self.core()?.is_primary())
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (exception=None, *_more))]
    fn __exit__(&self, py: Python<'_>, exception: Option<Bound<'_, PyAny>>, _more: &Bound<'_, PyAny>) -> PyResult<()> {
        let lead = self.core()?;
        if lead.client().is_closed() || lead.client().forked() {
            return Ok(()); // closing has released it; or it is the parent's to release
        }
        unless_raising(self.reset(py), exception)
    }

    fn __repr__(&self) -> PyResult<String> {
        let lead = self.core()?;
        let state = if lead.check() { "leading" } else { "not leading" };
        Ok(format!("<leadership.Leadership {} {state}>", show(lead.key())))
    }
}

/// Why a watch of the leader ended.
#[pyclass(frozen, eq, module = "leadership")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WatchEnd {
    inner: core::WatchEnd,
}

impl WatchEnd {
    fn name(&self) -> PyResult<&'static str> {
        Ok(match self.inner {
            core::WatchEnd::Deleted { .. } => "deleted",
            core::WatchEnd::Overwritten { .. } => "overwritten",
            core::WatchEnd::Cancelled => "cancelled",
            core::WatchEnd::Closed => "closed",
            _ => {
                return Err(pyo3::exceptions::PyNotImplementedError::new_err("an end this binding does not know"));
            }
        })
    }
}

#[pymethods]
impl WatchEnd {
    /// A member of `leadership.WatchEnded`.
    #[getter]
    fn why(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        convert::member(py, "WatchEnded", self.name()?)
    }

    /// The revision at which that was so; None when it ended on this side.
    #[getter]
    fn revision(&self) -> Option<i64> {
        match self.inner {
            core::WatchEnd::Deleted { revision } | core::WatchEnd::Overwritten { revision } => Some(revision),
            _ => None,
        }
    }

    fn __repr__(&self) -> PyResult<String> {
        let at = self.revision().map_or_else(String::new, |revision| format!(" at revision {revision}"));
        Ok(format!("<leadership.WatchEnd {}{at}>", self.name()?))
    }
}
