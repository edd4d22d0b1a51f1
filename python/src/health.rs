//! Health checks written in Python, called on the core's threads. Owns what counts as a failure; when one is called, and
//! what follows, is the core's.

use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::ending;

/// The core's health check for a Python callable: an exception fails, and so does False.
pub(crate) fn check(callable: Py<PyAny>) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
    let ended = || Err("the interpreter ends".to_owned());
    move || {
        let Some(_inside) = ending::enter() else { return ended() };
        let checked = Python::try_attach(|py| match callable.call0(py) {
            Ok(answer) if answer.bind(py).cast::<PyBool>().is_ok_and(|answer| !answer.is_true()) => {
                Err("the check returned False".to_owned())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        });
        checked.unwrap_or_else(ended)
    }
}
