//! The core's errors as Python's exceptions. Owns which attributes an exception carries; the classes, with their
//! bases, are `leadership/_errors.py`'s, codes and messages the core's.

use leadership_core::{Error, Result};
use pyo3::prelude::*;

use crate::client::Leader;
use crate::convert;

/// The exception for an error of the core.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    build(py, &error).unwrap_or_else(|failure| failure)
}

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let class = py.import("leadership._errors")?.getattr(error.name())?;
    let exception = class.call1((error.to_string(),))?;
    exception.setattr("code", error.code())?;
    exception.setattr("is_retriable", error.is_retriable())?;
    match error {
        Error::InvalidArgument { argument, .. } => exception.setattr("argument", argument)?,
        Error::NotElected { key, holder } => {
            exception.setattr("key", key)?;
            exception.setattr("holder", holder.as_ref().map(|holder| Leader::from((**holder).clone())))?;
        }
        Error::CompareFailed { key } => exception.setattr("key", key)?,
        Error::NotLeader { key, reason } => {
            exception.setattr("key", key)?;
            exception.setattr("reason", convert::reason(py, *reason)?)?;
        }
        Error::OutcomeUnknown { read, .. } => exception.setattr("read", read)?,
        Error::ClusterChanged { member, .. } => exception.setattr("member", member)?,
        _ => {}
    }
    Ok(PyErr::from_value(exception))
}

/// A result of the core as Python sees it.
pub(crate) fn checked<T>(py: Python<'_>, result: Result<T>) -> PyResult<T> {
    result.map_err(|error| raise(py, error))
}

/// `Forked` in a child of the process that connected: for what the core answers without an error, or would lock.
pub(crate) fn unforked(py: Python<'_>, client: &leadership_core::Client) -> PyResult<()> {
    if client.forked() { Err(raise(py, Error::Forked)) } else { Ok(()) }
}

/// What a wait answered: `None` is a `Timeout` that says what was waited for.
pub(crate) fn in_time<T>(py: Python<'_>, answer: Option<Result<T>>, what: impl FnOnce() -> String) -> PyResult<T> {
    checked(py, answer.unwrap_or_else(|| Err(Error::Timeout { message: what() })))
}
