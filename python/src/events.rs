//! Callbacks for what happens to terms. Owns handing events to Python, one after another on one thread, and that
//! `close` returns after the last; order and content are the core's.

use std::sync::{Mutex, PoisonError};

use leadership_core as core;
use pyo3::prelude::*;
use tokio::sync::{mpsc, watch};

use crate::convert;
use crate::term::Term;
use crate::wait::wait;

/// The callbacks of one client: a thread of their own, and who still runs there.
pub(crate) struct Callbacks {
    dispatcher: core::Dispatcher,
    closing: watch::Sender<bool>,
    /// Held by every task; the receiver hears when the last one has ended.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    ended: Mutex<Option<mpsc::Receiver<()>>>,
    process: u32,
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

impl Default for Callbacks {
    fn default() -> Self {
        let (alive, ended) = mpsc::channel(1);
        Callbacks {
            dispatcher: core::Dispatcher::new(),
            closing: watch::Sender::new(false),
            alive: Mutex::new(Some(alive)),
            ended: Mutex::new(Some(ended)),
            process: std::process::id(),
        }
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // A forked child: the thread that these would wake, and the locks it held, are the parent's (S12).
            std::mem::forget(std::mem::take(&mut self.dispatcher));
            std::mem::forget(std::mem::replace(&mut self.closing, watch::Sender::new(true)));
            std::mem::forget(std::mem::replace(&mut self.alive, Mutex::new(None)));
            std::mem::forget(std::mem::replace(&mut self.ended, Mutex::new(None)));
            return;
        }
        self.closing.send_replace(true);
    }
}

impl Callbacks {
    /// Calls `callback` with every event from now on, until the leadership is gone or the client is closed.
    pub(crate) fn deliver(&self, py: Python<'_>, mut events: core::TermEvents, callback: Py<PyAny>) -> PyResult<()> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(alive) = alive else {
            return Err(crate::error::raise(py, core::Error::Closed));
        };
        let mut closing = self.closing.subscribe();
        let process = self.process;
        let task = async move {
            loop {
                let event = tokio::select! {
                    // Closing ends every term first: what that announces is told before the end.
                    biased;
                    event = events.next() => event,
                    _ = closing.wait_for(|closing| *closing) => None,
                };
                let Some(event) = event else { break };
                // Nobody can be called any more once the interpreter ends.
                if Python::try_attach(|py| call(py, &callback, event)).is_none() {
                    std::mem::forget(callback);
                    return;
                }
                if process != std::process::id() {
                    std::future::pending::<()>().await; // it forked: what comes next is told to the parent
                }
            }
            if Python::try_attach(|_| drop(callback)).is_some() {
                drop(alive);
            }
        };
        crate::error::checked(py, self.dispatcher.spawn(task))
    }

    /// Closing from a callback would wait for itself: an error, not a deadlock (S14).
    pub(crate) fn ensure_not_in_one(&self, py: Python<'_>) -> PyResult<()> {
        if core::Dispatcher::is_current() {
            return Err(convert::invalid(py, "close", "called from a callback, whose end it would wait for"));
        }
        Ok(())
    }

    /// Returns after the last callback. The client is closed by now.
    pub(crate) fn finish(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.ended(), None)?;
        Ok(())
    }

    /// [`finish`](Self::finish), for who waits otherwise.
    pub(crate) async fn ended(&self) {
        if self.process != std::process::id() {
            return;
        }
        self.closing.send_replace(true);
        drop(self.alive.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut ended) = ended {
            ended.recv().await;
        }
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
