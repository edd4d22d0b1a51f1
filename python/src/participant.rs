//! Who takes part in an election, and who shall lead next, as Python sees it. Owns nothing but the conversion.

use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::{self, show};

/// One that takes part in an election: the leader, or who waits.
#[pyclass(frozen, eq, module = "leadership")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Participant {
    inner: core::Participant,
}

impl From<core::Participant> for Participant {
    fn from(inner: core::Participant) -> Self {
        Participant { inner }
    }
}

#[pymethods]
impl Participant {
    /// What it campaigns with.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.value)
    }

    /// Higher is preferred; 0 unless it chose another, and always in a queue.
    #[getter]
    fn priority(&self) -> i64 {
        self.inner.priority
    }

    /// The lease that its registration, or its key, hangs on; 0 for a key without one.
    #[getter]
    fn lease_id(&self) -> i64 {
        self.inner.lease
    }

    /// The revision at which it registered, or at which its key was created.
    #[getter]
    fn revision(&self) -> i64 {
        self.inner.revision
    }

    /// True for the one that holds the election now.
    #[getter]
    fn leads(&self) -> bool {
        self.inner.leads
    }

    fn __repr__(&self) -> String {
        let leads = if self.inner.leads { " leads" } else { "" };
        let priority = self.inner.priority;
        format!("<leadership.Participant {}{leads} priority={priority} lease={:x}>", show(&self.inner.value), self.inner.lease)
    }
}

/// A value, or a member of `leadership.Successor`; the highest if nothing is said.
pub(crate) fn successor(to: Option<&Bound<'_, PyAny>>) -> PyResult<core::Successor> {
    let Some(to) = to else { return Ok(core::Successor::Highest) };
    let kind = to.py().import("leadership._types")?.getattr("Successor")?;
    if !to.is_instance(&kind)? {
        return Ok(core::Successor::Named(convert::bytes("to", to)?));
    }
    match to.getattr("name")?.extract::<&str>()? {
        "RANDOM" => Ok(core::Successor::Random),
        _ => Ok(core::Successor::Highest),
    }
}
