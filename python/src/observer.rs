//! An election seen from outside, as Python sees it: an iterator of who leads. Owns the conversion; what is news, the
//! core says.

use std::future::Future;
use std::time::Duration;

use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::client::{Client, Leader};
use crate::convert::{self, show};
use crate::error::{checked, unforked};
use crate::pulled::{Pulled, Source};
use crate::unlocked::Unlocked;

impl Source for core::Observer {
    type Item = core::Observed;

    fn next(&mut self) -> impl Future<Output = Option<core::Observed>> + Send {
        core::Observer::next(self)
    }
}

/// A view of one election from outside; made by `client.observer`. Usable from any thread.
///
/// An iterator: each change of leader (or of its value) and each vacancy, the latest only for a slow reader; it ends when
/// it, or the client, is closed, and raises what else ended it.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Observer {
    look: Unlocked<core::Observer>,
    news: Pulled<core::Observer>,
    client: Py<Client>,
}

impl Observer {
    pub(crate) fn new(client: &Bound<'_, Client>, key: Vec<u8>) -> PyResult<Observer> {
        let observer = checked(client.py(), core::Observer::new(client.get().core()?, key))?;
        Ok(Observer::of(observer, client.clone().unbind()))
    }

    pub(crate) fn of(observer: core::Observer, client: Py<Client>) -> Observer {
        Observer { look: Unlocked::new(observer.clone()), news: Pulled::new(observer), client }
    }

    fn look(&self) -> PyResult<&core::Observer> {
        self.look.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the observer is being dropped"))
    }

    fn pull(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<Observed>> {
        let client = self.client.get();
        match self.news.next(py, client.core()?, timeout, "news of an election")? {
            Some(core::Observed::Stopped(Some(error))) => checked(py, Err(error)),
            Some(news) => Ok(Observed::of(news)),
            None => Ok(None),
        }
    }
}

#[pymethods]
impl Observer {
    /// The next news, waited for at most `timeout` seconds (then `Timeout`); None at the end.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<Option<Observed>> {
        self.pull(py, convert::timeout(timeout.as_ref())?)
    }

    /// What is known now; None while nothing is, or nothing more will be. Local; does not count as told.
    fn latest(&self, py: Python<'_>) -> PyResult<Option<Observed>> {
        unforked(py, self.client.get().core()?)?;
        Ok(Observed::of(self.look()?.latest()))
    }

    /// The key.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.look()?.key()))
    }

    /// Ends it: a reader that waits gets the end.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.news.close(py, self.client.get().core()?)
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Observed>> {
        self.pull(py, None)
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.client.get().core()?.forked() {
            return Ok(()); // a child leaves the parent's block
        }
        self.close(py)
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<leadership.Observer {}>", show(self.look()?.key())))
    }
}

/// What an observer saw: a leader, or that nobody leads.
#[pyclass(frozen, get_all, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Observed {
    /// Who leads; None: nobody.
    leader: Option<Leader>,
    /// When this observer saw the term begin, in seconds of this machine's boot clock (`time.CLOCK_BOOTTIME`); None for
    /// one that was there when it came, and for a vacancy.
    since: Option<f64>,
    /// A revision of the store at which nobody led; None while somebody leads.
    revision: Option<i64>,
}

impl Observed {
    fn of(observed: core::Observed) -> Option<Observed> {
        match observed {
            core::Observed::Leader { leader, since } => {
                let since = since.map(|since| Duration::from_nanos(since.0).as_secs_f64());
                Some(Observed { leader: Some(leader.into()), since, revision: None })
            }
            core::Observed::Vacant { revision } => Some(Observed { leader: None, since: None, revision: Some(revision) }),
            _ => None,
        }
    }
}

#[pymethods]
impl Observed {
    fn __repr__(&self) -> String {
        match &self.leader {
            Some(leader) => format!("<leadership.Observed leader {}>", leader.shown()),
            None => "<leadership.Observed vacant>".to_owned(),
        }
    }
}
