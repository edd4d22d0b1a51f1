//! The elector as Python sees it: an iterator of terms, a context manager that closes. Owns the conversion and when a
//! thread's own term is ended for it; the loop is the core's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::client::{Client, Leader};
use crate::convert::{self, show};
use crate::error::{checked, in_time};
use crate::events::{Events, Last};
use crate::participant::{Participant, successor};
use crate::term::{OwnedTerm, Term};
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// Runs one election for this process: campaigns while somebody wants a term, keeps it, drains before it lets go, backs
/// off, campaigns again. Made by `client.elector`. Usable from any thread.
///
/// An iterator of terms: `for term in elector`. As a context manager it is closed at the end. Asking for the next term,
/// resigning and closing first end the term that the same thread took of it (or entered) before; one that another thread
/// holds is drained.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Elector {
    inner: Unlocked<core::Elector>,
    client: Py<Client>,
    /// By which its terms are known.
    number: u64,
    /// The ends of its callbacks.
    callbacks: Mutex<Vec<Last>>,
}

impl Elector {
    pub(crate) fn new(client: &Bound<'_, Client>, builder: core::ElectorBuilder) -> PyResult<Elector> {
        let inner = Unlocked::new(checked(client.py(), builder.start())?);
        Ok(Elector { inner, client: client.clone().unbind(), number: number(), callbacks: Mutex::default() })
    }

    fn core(&self) -> PyResult<&core::Elector> {
        self.inner.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the elector is being dropped"))
    }

    /// For what has no error of the core's to say so, and for what this binding would lock (S12).
    fn unforked(&self, py: Python<'_>) -> PyResult<&core::Elector> {
        crate::error::unforked(py, self.client.get().core()?)?;
        self.core()
    }

    fn next(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<Py<OwnedTerm>>> {
        let elector = self.unforked(py)?;
        drop(self.client.get().holders().let_go(Some(self.number)));
        let term = wait(py, elector.next_term(), timeout)?;
        let term = in_time(py, term, || format!("next term of {}", show(elector.key())))?;
        let Some(term) = term else { return Ok(None) };
        OwnedTerm::taken(py, term, self.client.get().holders(), self.number).map(Some)
    }
}

/// A number by which the terms of one elector are known.
pub(crate) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The first that failed.
fn first_error(all: Vec<core::Result<()>>) -> core::Result<()> {
    all.into_iter().collect()
}

#[pymethods]
impl Elector {
    /// Waits for the next term of this process, at most `timeout` seconds (then `Timeout`); None once closed. What may
    /// pass (etcd away, another leads) is no error here. A term that comes when nobody waits any more stays with the
    /// elector for one TTL, for the next caller.
    #[pyo3(signature = (timeout=None))]
    fn next_term(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<Option<Py<OwnedTerm>>> {
        self.next(py, convert::timeout(timeout.as_ref())?)
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<OwnedTerm>>> {
        self.next(py, None)
    }

    /// Calls `body(term)` for each term, on the calling thread. It is to read `term.lost`, and return then: the next term
    /// is waited for. If it returns while the term is still held, the term is resigned and what it returned is returned;
    /// if it raises, the term is resigned and the exception goes on up, but for a `NotLeader` after a loss. None once
    /// closed.
    fn run(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        if !body.is_callable() {
            return Err(pyo3::exceptions::PyTypeError::new_err("body: a callable expected"));
        }
        let not_leader = py.import("leadership._errors")?.getattr("NotLeader")?;
        while let Some(term) = self.next(py, None)? {
            let view = term.bind(py).as_super().get().core()?.clone();
            let done = body.call1((Term::new(view.clone()),));
            let lost = view.is_lost();
            let resigned = term.get().resign(py);
            match done {
                Ok(_) if lost => {}
                Ok(value) => return resigned.map(|()| Some(value.unbind())),
                Err(error) if lost && error.is_instance(py, &not_leader) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A view of the term that is led now, whoever holds it; None while this process does not lead. Local.
    fn current(&self) -> PyResult<Option<Term>> {
        Ok(self.core()?.current().map(Term::new))
    }

    /// Does this process lead now? A local read.
    #[getter]
    fn is_leader(&self) -> bool {
        self.inner.get().is_some_and(core::Elector::is_leader)
    }

    /// Who leads, as this elector saw it last, for routing; None if nobody did, or nothing was heard yet. Local.
    fn leader(&self, py: Python<'_>) -> PyResult<Option<Leader>> {
        Ok(self.unforked(py)?.leader().map(Leader::from))
    }

    /// Where the loop stands: a member of `leadership.ElectorState`.
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        convert::member(py, "ElectorState", self.core()?.state().name())
    }

    /// For probes: raises what is wrong (`Unavailable`: leads without confirmed renewals, or the health check fails;
    /// `Closed`; or the error it stopped with). Local.
    fn health(&self, py: Python<'_>) -> PyResult<()> {
        checked(py, self.core()?.health())
    }

    /// Gives the term up: lost at once, drained, then released, which is waited for. Goes on campaigning after its
    /// cool-down if somebody wants a term. Nothing without a term.
    fn resign(&self, py: Python<'_>) -> PyResult<()> {
        let elector = self.unforked(py)?;
        let own = self.client.get().holders().let_go(Some(self.number));
        let all = async {
            if own.is_empty() { elector.resign().await } else { first_error(join_all(own).await) }
        };
        let resigned = wait(py, all, None)?;
        in_time(py, resigned, || "resign".to_owned())
    }

    /// Gives the election's key another value: in the current term, which goes on, and for later campaigns.
    fn proclaim(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let proclaimed = wait(py, self.core()?.proclaim(convert::bytes("value", value)?), None)?;
        in_time(py, proclaimed, || "proclaim".to_owned())
    }

    /// Hands the term to a candidate: a value, or a member of `leadership.Successor` (None: the highest). Lost at once
    /// (`handed_over`), drained, and then the key is the candidate's, in one transaction. Who holds it now is returned: if
    /// that is this process (it was named itself, or nobody else stands), the term goes on. `InvalidArgument` (`to`) if
    /// there is no such candidate: the term goes on, too.
    #[pyo3(signature = (to=None))]
    fn transfer(&self, py: Python<'_>, to: Option<&Bound<'_, PyAny>>) -> PyResult<Participant> {
        let elector = self.unforked(py)?;
        let (own, current) = (self.client.get().holders().own(Some(self.number)), elector.current());
        let mut handed = Box::pin(elector.transfer(successor(to)?));
        let all = async {
            if let Some(term) = current.filter(|_| !own.is_empty()) {
                // Lost, and nobody but this thread, which waits here, could let go of it.
                if let Either::Left((handed, _)) = select(&mut handed, std::pin::pin!(term.lost())).await {
                    return handed;
                }
                own.iter().for_each(|term| drop(term.let_go()));
            }
            handed.await
        };
        let handed = wait(py, all, None)?;
        Ok(in_time(py, handed, || "transfer".to_owned())?.into())
    }

    /// Everybody who takes part, read linearizably: the leader first, then who is registered, in the order of their turns.
    fn participants(&self, py: Python<'_>) -> PyResult<Vec<Participant>> {
        let participants = wait(py, self.core()?.participants(), None)?;
        let participants = in_time(py, participants, || "participants".to_owned())?;
        Ok(participants.into_iter().map(Participant::from).collect())
    }

    /// Stops campaigning, drains and releases the term, ends the loop: who waits for a term gets None. Returns after the
    /// last callback. Idempotent. With `wait=False`, for signal handlers and callbacks, it is begun only, and a term of
    /// the calling thread is drained too.
    #[pyo3(signature = (*, wait=true))]
    fn close(&self, py: Python<'_>, wait: bool) -> PyResult<()> {
        let elector = self.unforked(py)?;
        if !wait {
            drop(elector.close()); // begun by the call
            return Ok(());
        }
        self.client.get().callbacks().ensure_not_in_one(py)?;
        let own = self.client.get().holders().let_go(Some(self.number));
        let last = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = async {
            let resigned = first_error(join_all(own).await);
            let closed = elector.close().await;
            join_all(last.into_iter().map(Last::wait)).await;
            resigned.and(closed)
        };
        let closed = crate::wait::wait(py, all, None)?;
        in_time(py, closed, || "close".to_owned())
    }

    /// Calls `callback(event)` for what happens from now on, on a thread of the library, in order; for a term that runs
    /// already it begins with its election. An exception in it is reported by `sys.unraisablehook` and stops nothing.
    fn on_event(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let events = self.unforked(py)?.events();
        let last = self.client.get().callbacks().deliver(py, events, callback)?;
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).push(last);
        Ok(())
    }

    /// What happens from now on, pulled: an iterator of events.
    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        Ok(Events::new(self.unforked(py)?.events(), self.client.clone_ref(py)))
    }

    /// The key of the election.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.core()?.key()))
    }

    /// The client.
    #[getter]
    fn client(&self, py: Python<'_>) -> Py<Client> {
        self.client.clone_ref(py)
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (exception=None, *_more))]
    fn __exit__(&self, py: Python<'_>, exception: Option<Bound<'_, PyAny>>, _more: &Bound<'_, PyAny>) -> PyResult<()> {
        let client = self.client.get().core()?;
        if client.is_closed() || client.forked() {
            return Ok(()); // closing has released it; or it is the parent's to release
        }
        crate::lead::unless_raising(self.close(py, true), exception)
    }

    fn __repr__(&self) -> PyResult<String> {
        let elector = self.core()?;
        Ok(format!("<leadership.Elector {} {}>", show(elector.key()), elector.state().name()))
    }
}
