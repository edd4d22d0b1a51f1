//! What happens to terms and electors: told to callbacks, one after another on one thread, or pulled. Owns handing
//! events to Python, and that `close` returns after the last callback; order and content are the core's.

use std::future::Future;
use std::time::Duration;

use leadership_core as core;
use pyo3::prelude::*;
use tokio::sync::watch;

use crate::client::{Client, Leader};
use crate::convert;
use crate::ending;
use crate::error::{checked, raise};
use crate::pulled::{Pulled, Source};
use crate::term::Term;

/// The callbacks of one client.
#[derive(Debug, Default)]
pub(crate) struct Callbacks(core::Dispatcher);

impl Callbacks {
    /// Calls `callback` with every event from now on, until there are no more. What is returned is closed after the last.
    pub(crate) fn deliver<S: Source>(&self, py: Python<'_>, mut events: S, callback: Py<PyAny>) -> PyResult<Last>
    where
        Happened: From<S::Item>,
    {
        if !callback.bind(py).is_callable() {
            return Err(pyo3::exceptions::PyTypeError::new_err("callback: a callable expected"));
        }
        let process = std::process::id();
        let (telling, last) = watch::channel(());
        let task = async move {
            while let Some(event) = events.next().await {
                // Nobody can be called any more once the interpreter ends.
                let Some(inside) = ending::enter() else { break };
                if Python::try_attach(|py| call(py, &callback, event.into())).is_none() {
                    break;
                }
                drop(inside);
                if process != std::process::id() {
                    std::future::pending::<()>().await; // it forked: what comes next is told to the parent
                }
            }
            let mut callback = Some(callback);
            let inside = ending::enter();
            let _ = inside.as_ref().and_then(|_| Python::try_attach(|_| drop(callback.take())));
            std::mem::forget(callback);
            drop(inside);
            drop(telling);
        };
        checked(py, self.0.spawn(task))?;
        Ok(Last(last))
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

/// Knows when the last callback has returned.
#[derive(Debug, Clone)]
pub(crate) struct Last(watch::Receiver<()>);

impl Last {
    /// Resolves then.
    pub(crate) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

fn call(py: Python<'_>, callback: &Py<PyAny>, event: Happened) {
    let called = Event::new(py, event).and_then(|event| callback.call1(py, (event,)).map(drop));
    if let Err(error) = called {
        error.write_unraisable(py, Some(callback.bind(py)));
    }
}

impl Source for core::TermEvents {
    type Item = core::TermEvent;

    fn next(&mut self) -> impl Future<Output = Option<core::TermEvent>> + Send {
        core::TermEvents::next(self)
    }
}

impl Source for core::ElectorEvents {
    type Item = core::ElectorEvent;

    fn next(&mut self) -> impl Future<Output = Option<core::ElectorEvent>> + Send {
        core::ElectorEvents::next(self)
    }
}

/// Something happened, of whichever list of the core's.
pub(crate) enum Happened {
    Term(core::TermEvent),
    Elector(core::ElectorEvent),
}

impl From<core::TermEvent> for Happened {
    fn from(event: core::TermEvent) -> Self {
        Happened::Term(event)
    }
}

impl From<core::ElectorEvent> for Happened {
    fn from(event: core::ElectorEvent) -> Self {
        Happened::Elector(event)
    }
}

/// Something happened to a term or an elector.
#[pyclass(frozen, get_all, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Event {
    /// A member of `leadership.EventKind`.
    kind: Py<PyAny>,
    /// The term that began, a view; None for other kinds.
    term: Option<Py<Term>>,
    /// For how many seconds the term stays valid without a renewal; jeopardy only.
    remaining: Option<f64>,
    /// Why it was lost; lost only.
    reason: Option<Py<PyAny>>,
    /// Who leads now; leader only.
    leader: Option<Leader>,
    /// The exception an elector stopped with; stopped only, and None when it was closed.
    error: Option<Py<PyAny>>,
}

impl Event {
    fn of(py: Python<'_>, kind: &str) -> PyResult<Event> {
        let kind = convert::member(py, "EventKind", kind)?;
        Ok(Event { kind, term: None, remaining: None, reason: None, leader: None, error: None })
    }

    fn new(py: Python<'_>, event: Happened) -> PyResult<Event> {
        use core::{ElectorEvent, TermEvent};
        let term = |term| Ok::<_, PyErr>(Some(Py::new(py, Term::new(term))?));
        Ok(match event {
            Happened::Term(TermEvent::Elected(began)) | Happened::Elector(ElectorEvent::Elected(began)) => {
                Event { term: term(began)?, ..Event::of(py, "elected")? }
            }
            Happened::Term(TermEvent::Jeopardy { remaining })
            | Happened::Elector(ElectorEvent::Jeopardy { remaining }) => {
                Event { remaining: Some(remaining.as_secs_f64()), ..Event::of(py, "jeopardy")? }
            }
            Happened::Term(TermEvent::Secured) | Happened::Elector(ElectorEvent::Secured) => Event::of(py, "secured")?,
            Happened::Term(TermEvent::Lost(reason)) | Happened::Elector(ElectorEvent::Lost(reason)) => {
                Event { reason: convert::reason(py, Some(reason))?, ..Event::of(py, "lost")? }
            }
            Happened::Elector(ElectorEvent::Campaigning) => Event::of(py, "campaigning")?,
            Happened::Elector(ElectorEvent::Leader(leader)) => {
                Event { leader: Some(leader.into()), ..Event::of(py, "leader")? }
            }
            Happened::Elector(ElectorEvent::Vacant) => Event::of(py, "vacant")?,
            Happened::Elector(ElectorEvent::Paused) => Event::of(py, "paused")?,
            Happened::Elector(ElectorEvent::Stopped(error)) => {
                let error = error.map(|error| raise(py, error).into_value(py).into_any());
                Event { error, ..Event::of(py, "stopped")? }
            }
            Happened::Term(_) | Happened::Elector(_) => {
                return Err(pyo3::exceptions::PyNotImplementedError::new_err("an event this binding does not know"));
            }
        })
    }
}

#[pymethods]
impl Event {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = format!("<leadership.Event {}", self.kind.bind(py).str()?);
        if let Some(reason) = self.reason.as_ref().or(self.error.as_ref()) {
            text.push_str(&format!(": {}", reason.bind(py).str()?));
        }
        if let Some(leader) = &self.leader {
            text.push_str(&format!(": {}", leader.shown()));
        }
        Ok(text + ">")
    }
}

/// The events of an elector from `elector.events()` on, in order, pulled: an iterator that ends after `stopped`. A slow
/// reader gets the latest state, and never the loss of a term it was not told of. Usable from any thread.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Events {
    events: Pulled<core::ElectorEvents>,
    client: Py<Client>,
}

impl Events {
    pub(crate) fn new(events: core::ElectorEvents, client: Py<Client>) -> Events {
        Events { events: Pulled::new(events), client }
    }

    fn pull(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<Event>> {
        let event = self.events.next(py, self.client.get().core()?, timeout, "event")?;
        event.map(|event| Event::new(py, event.into())).transpose()
    }
}

#[pymethods]
impl Events {
    /// The next event, waited for at most `timeout` seconds (then `Timeout`); None after the last.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<Option<Event>> {
        self.pull(py, convert::timeout(timeout.as_ref())?)
    }

    /// Ends it: a reader that waits gets the end.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.events.close(py, self.client.get().core()?)
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Event>> {
        self.pull(py, None)
    }

    fn __repr__(&self) -> &'static str {
        "<leadership.Events>"
    }
}
