//! Callbacks for what happens to terms. Owns handing events to Python, one after another on one thread, and that
//! `close` returns after the last; order and content are the core's.

use leadership_core as core;
use pyo3::prelude::*;

use crate::convert;
use crate::term::Term;

/// The callbacks of one client.
#[derive(Debug, Default)]
pub(crate) struct Callbacks(core::Dispatcher);

impl Callbacks {
    /// Calls `callback` with every event from now on, until the leadership is gone or the client is closed.
    pub(crate) fn deliver(&self, py: Python<'_>, mut events: core::TermEvents, callback: Py<PyAny>) -> PyResult<()> {
        let process = std::process::id();
        let task = async move {
            while let Some(event) = events.next().await {
                // Nobody can be called any more once the interpreter ends.
                if Python::try_attach(|py| call(py, &callback, event)).is_none() {
                    break;
                }
                if process != std::process::id() {
                    std::future::pending::<()>().await; // it forked: what comes next is told to the parent
                }
            }
            let mut callback = Some(callback);
            let _ = Python::try_attach(|_| drop(callback.take()));
            std::mem::forget(callback);
        };
        crate::error::checked(py, self.0.spawn(task))
    }

    /// Closing from a callback would wait for itself: an error, not a deadlock (S14).
    pub(crate) fn ensure_not_in_one(&self, py: Python<'_>) -> PyResult<()> {
        if core::Dispatcher::is_current() {
            return Err(convert::invalid(py, "close", "called from a callback, whose end it would wait for"));
        }
        Ok(())
    }

    /// Resolves after the last callback, once the client is closed.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.ended()
    }
}

fn call(py: Python<'_>, callback: &Py<PyAny>, event: core::TermEvent) {
    let called = Event::new(py, event).and_then(|event| callback.call1(py, (event,)).map(drop));
    if let Err(error) = called {
        error.write_unraisable(py, Some(callback.bind(py)));
    }
}

/// Something happened to a term.
#[pyclass(frozen, get_all, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Event {
    /// A member of `leadership.EventKind`: elected, jeopardy, secured or lost.
    kind: Py<PyAny>,
    /// The term that began; None for other kinds.
    term: Option<Py<Term>>,
    /// For how many seconds the term stays valid without a renewal; jeopardy only.
    remaining: Option<f64>,
    /// Why it was lost; lost only.
    reason: Option<Py<PyAny>>,
}

impl Event {
    fn new(py: Python<'_>, event: core::TermEvent) -> PyResult<Event> {
        let (name, term, remaining, reason) = match event {
            core::TermEvent::Elected(term) => ("elected", Some(Py::new(py, Term::new(term))?), None, None),
            core::TermEvent::Jeopardy { remaining } => ("jeopardy", None, Some(remaining.as_secs_f64()), None),
            core::TermEvent::Secured => ("secured", None, None, None),
            core::TermEvent::Lost(reason) => ("lost", None, None, Some(reason)),
            _ => {
                return Err(pyo3::exceptions::PyNotImplementedError::new_err("an event this binding does not know"));
            }
        };
        Ok(Event {
            kind: convert::member(py, "EventKind", name)?,
            term,
            remaining,
            reason: convert::reason(py, reason)?,
        })
    }
}

#[pymethods]
impl Event {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = format!("<leadership.Event {}", self.kind.bind(py).str()?);
        if let Some(reason) = &self.reason {
            text.push_str(&format!(": {}", reason.bind(py).str()?));
        }
        Ok(text + ">")
    }
}
