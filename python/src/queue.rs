//! Elections of the queue kind as Python sees them. Owns the conversion; the queue is the core's.

use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::client::{Client, Leader};
use crate::convert::{self, show};
use crate::error::{checked, in_time};
use crate::observer::Observer;
use crate::participant::Participant;
use crate::term::OwnedTerm;
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// One election of the queue kind, `PREFIX/<lease>`; made by `client.election`. Usable from any thread. On the wire it is
/// etcd's own: it contends with `concurrency.Election` of etcd's Go client, `etcdctl elect` and `etcdctl lock`.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Election {
    inner: Unlocked<core::Election>,
    client: Py<Client>,
}

impl Election {
    pub(crate) fn new(client: &Bound<'_, Client>, prefix: Vec<u8>, options: core::LeadershipOptions) -> PyResult<Self> {
        let election = core::Election::with_options(client.get().core()?, prefix, options);
        Ok(Election { inner: Unlocked::new(checked(client.py(), election)?), client: client.clone().unbind() })
    }

    fn core(&self) -> PyResult<&core::Election> {
        self.inner.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the election is being dropped"))
    }
}

#[pymethods]
impl Election {
    /// Joins the queue and waits for its turn, at most `timeout` seconds (then `Timeout`, and it has left the queue): the
    /// term. `NotElected` at once if the own place was lost.
    #[pyo3(signature = (value=None, *, ttl=None, timeout=None))]
    fn campaign(
        &self,
        py: Python<'_>,
        value: Option<Bound<'_, PyAny>>,
        ttl: Option<Bound<'_, PyAny>>,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<OwnedTerm>> {
        let value = value.map_or(Ok(Vec::new()), |value| convert::bytes("value", &value))?;
        let mut options = core::CampaignOptions::new(value);
        if let Some(ttl) = ttl {
            options = options.ttl(convert::duration("ttl", &ttl)?);
        }
        let election = self.core()?;
        let term = wait(py, election.campaign(options), convert::timeout(timeout.as_ref())?)?;
        let term = in_time(py, term, || format!("campaign in the queue of {}", show(election.prefix())))?;
        OwnedTerm::alone(py, term)
    }

    /// Who leads, read linearizably; None if the queue is empty.
    fn leader(&self, py: Python<'_>) -> PyResult<Option<Leader>> {
        let leader = wait(py, self.core()?.leader(), None)?;
        Ok(in_time(py, leader, || "leader".to_owned())?.map(Leader::from))
    }

    /// All candidates in the order of their turns, the leader first.
    fn participants(&self, py: Python<'_>) -> PyResult<Vec<Participant>> {
        let participants = wait(py, self.core()?.participants(), None)?;
        let participants = in_time(py, participants, || "participants".to_owned())?;
        Ok(participants.into_iter().map(Participant::from).collect())
    }

    /// Observes the queue from now on: who leads, vacancies, the end. Nothing is waited for.
    fn observe(&self, py: Python<'_>) -> PyResult<Observer> {
        Ok(Observer::of(checked(py, self.core()?.observe())?, self.client.clone_ref(py)))
    }

    /// Gives the key of the term that this election won last another value: the same term, the same token.
    fn proclaim(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let proclaimed = wait(py, self.core()?.proclaim(convert::bytes("value", value)?), None)?;
        in_time(py, proclaimed, || "proclaim".to_owned())
    }

    /// Gives up the term that this election won last; nothing without one.
    fn resign(&self, py: Python<'_>) -> PyResult<()> {
        let resigned = wait(py, self.core()?.resign(), None)?;
        in_time(py, resigned, || "resign".to_owned())
    }

    /// What the candidates' keys start with, without the slash.
    #[getter]
    fn prefix<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.core()?.prefix()))
    }

    /// The client.
    #[getter]
    fn client(&self, py: Python<'_>) -> Py<Client> {
        self.client.clone_ref(py)
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<leadership.Election {}>", show(self.core()?.prefix())))
    }
}
