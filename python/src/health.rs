//! Health checks written in Python, called on the core's threads. Owns what counts as a failure, and that none runs when
//! the interpreter goes: a thread in the middle of one would be torn down there.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBool;
use tokio::sync::watch;

/// The checks of one client's electors: how many run, and whether any more may begin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks(Arc<watch::Sender<Running>>);

#[derive(Debug, Default)]
struct Running {
    checks: usize,
    ending: bool,
}

/// A check that runs, until it is dropped.
struct Check<'a>(&'a Checks);

impl Drop for Check<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|running| running.checks -= 1);
    }
}

impl Checks {
    fn begin(&self) -> Option<Check<'_>> {
        let begun = self.0.send_if_modified(|running| {
            running.checks += usize::from(!running.ending);
            !running.ending
        });
        begun.then_some(Check(self))
    }

    /// The core's health check for a Python callable: an exception fails, and so does False.
    pub(crate) fn check(&self, callable: Py<PyAny>) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let checks = self.clone();
        let ended = || Err("the interpreter ends".to_owned());
        move || {
            let Some(_running) = checks.begin() else { return ended() };
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

    /// Resolves when none runs; none begins any more.
    pub(crate) async fn quiet(&self) {
        let mut running = self.0.subscribe();
        self.0.send_modify(|running| running.ending = true);
        let _ = running.wait_for(|running| running.checks == 0).await;
    }
}
