//! What operators do to an election from outside, as Python sees it. Owns nothing but the conversion.

use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::client::{Client, Leader};
use crate::convert::show;
use crate::error::{checked, in_time};
use crate::participant::{Participant, successor};
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// An operator's hand on one single-key election; made by `client.operator`. Usable from any thread. Nothing needs the
/// leader's consent; everything is guarded by the term that was seen when the call began.
///
/// Without `wait` the operator vouches that the deposed leader stops in time: it hears of it within milliseconds if it is
/// well, and stops by its own deadline if not; a successor may lead before that. With `wait` the key is held back for as
/// long as the old lease was granted for: no two terms overlap, and nobody leads meanwhile.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Operator {
    inner: Unlocked<core::Operator>,
}

impl Operator {
    pub(crate) fn new(client: &Bound<'_, Client>, key: Vec<u8>) -> PyResult<Operator> {
        let operator = core::Operator::new(client.get().core()?, key);
        Ok(Operator { inner: Unlocked::new(checked(client.py(), operator)?) })
    }

    fn core(&self) -> PyResult<&core::Operator> {
        self.inner.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the operator is being dropped"))
    }
}

#[pymethods]
impl Operator {
    /// Who leads, with its token; None if nobody.
    fn leader(&self, py: Python<'_>) -> PyResult<Option<Leader>> {
        let leader = crate::wait::wait(py, self.core()?.leader(), None)?;
        Ok(in_time(py, leader, || "leader".to_owned())?.map(Leader::from))
    }

    /// Everybody who takes part: the leader first, then who is registered, in the order of their turns.
    fn participants(&self, py: Python<'_>) -> PyResult<Vec<Participant>> {
        let participants = wait(py, self.core()?.participants(), None)?;
        let participants = in_time(py, participants, || "participants".to_owned())?;
        Ok(participants.into_iter().map(Participant::from).collect())
    }

    /// Gives the key to a candidate: a value, or a member of `leadership.Successor` (None: the highest). Who holds it now;
    /// if that is who held it before (it was named, or nobody else stands), nothing was done.
    #[pyo3(signature = (to=None, *, wait=false))]
    fn transfer(&self, py: Python<'_>, to: Option<&Bound<'_, PyAny>>, wait: bool) -> PyResult<Participant> {
        let handed = crate::wait::wait(py, self.core()?.transfer(successor(to)?, wait), None)?;
        Ok(in_time(py, handed, || "transfer".to_owned())?.into())
    }

    /// Takes the key from whoever holds it: who that was; None if nobody did. A key without a lease goes, too.
    #[pyo3(signature = (*, wait=false))]
    fn depose(&self, py: Python<'_>, wait: bool) -> PyResult<Option<Leader>> {
        let deposed = crate::wait::wait(py, self.core()?.depose(wait), None)?;
        Ok(in_time(py, deposed, || "depose".to_owned())?.map(Leader::from))
    }

    /// Pauses the election: an elector that leads drains and resigns, nobody campaigns. Idempotent.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        let paused = wait(py, self.core()?.pause(), None)?;
        in_time(py, paused, || "pause".to_owned())
    }

    /// Lets a paused election go on. Idempotent.
    fn unpause(&self, py: Python<'_>) -> PyResult<()> {
        let unpaused = wait(py, self.core()?.unpause(), None)?;
        in_time(py, unpaused, || "unpause".to_owned())
    }

    /// Is the election paused? Read linearizably.
    fn is_paused(&self, py: Python<'_>) -> PyResult<bool> {
        let paused = wait(py, self.core()?.is_paused(), None)?;
        in_time(py, paused, || "is_paused".to_owned())
    }

    /// The key of the election.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.core()?.key()))
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<leadership.Operator {}>", show(self.core()?.key())))
    }
}
