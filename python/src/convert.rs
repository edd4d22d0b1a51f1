//! Python's values to the core's and back: text and bytes, seconds, the members of our enumerations.
//! Owns what is accepted in their place and the words that refuse the rest.

use std::time::Duration;

use leadership_core::{CompareOp, Error, Reason};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};

use crate::error::raise;

pub(crate) fn invalid(py: Python<'_>, argument: &str, why: impl Into<String>) -> PyErr {
    raise(py, Error::InvalidArgument { argument: argument.to_owned(), why: why.into() })
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "this type".to_owned(), |name| name.to_string())
}

/// `str` (as UTF-8), `bytes` or `bytearray`.
pub(crate) fn bytes(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(text) = value.cast::<PyString>() {
        return match text.extract::<String>() {
            Ok(text) => Ok(text.into_bytes()),
            Err(_) => Err(invalid(value.py(), argument, "is no valid Unicode text (a lone surrogate)")),
        };
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        return Ok(bytes.to_vec());
    }
    Err(pyo3::exceptions::PyTypeError::new_err(format!("{argument}: str or bytes expected, not {}", type_name(value))))
}

/// PEM: bytes are the text itself, a path (text or path-like) is a file that is read again for new connections.
pub(crate) fn pem(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<leadership_core::Pem> {
    if let Ok(text) = value.cast::<PyBytes>() {
        return Ok(text.as_bytes().to_vec().into());
    }
    let path: std::path::PathBuf = value.extract().map_err(|_| {
        pyo3::exceptions::PyTypeError::new_err(format!("{argument}: a path or bytes expected, not {}", type_name(value)))
    })?;
    Ok(path.into())
}

/// Seconds as a number, or a `timedelta`.
pub(crate) fn duration(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let seconds = if let Ok(seconds) = value.extract::<f64>() {
        seconds
    } else if let Ok(seconds) = value.call_method0("total_seconds") {
        seconds.extract::<f64>()?
    } else {
        return Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "{argument}: seconds or a timedelta expected, not {}",
            type_name(value)
        )));
    };
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| invalid(value.py(), argument, format!("{seconds} is not a number of seconds from 0 on")))
}

/// A time to wait at most; `None` is for ever.
pub(crate) fn timeout(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    value.map(|value| duration("timeout", value)).transpose()
}

pub(crate) fn compare_op(py: Python<'_>, op: &str) -> PyResult<CompareOp> {
    match op {
        "==" => Ok(CompareOp::Equal),
        "!=" => Ok(CompareOp::NotEqual),
        ">" => Ok(CompareOp::Greater),
        "<" => Ok(CompareOp::Less),
        _ => Err(invalid(py, "op", format!("{op:?} is none of ==, !=, >, <"))),
    }
}

/// A member of one of the enumerations in `leadership._types`, by its value.
pub(crate) fn member(py: Python<'_>, enumeration: &str, value: &str) -> PyResult<Py<PyAny>> {
    Ok(py.import("leadership._types")?.getattr(enumeration)?.call1((value,))?.unbind())
}

pub(crate) fn reason(py: Python<'_>, reason: Option<Reason>) -> PyResult<Option<Py<PyAny>>> {
    reason.map(|reason| member(py, "Reason", reason.name())).transpose()
}

/// Bytes as Python shows them, for a repr.
pub(crate) fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("b\"{}\"", bytes.escape_ascii()),
    }
}
