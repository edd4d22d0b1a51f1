//! The everyday case: one object that runs the whole loop (campaign, keep, watch, lose, back off, again) and hands out
//! terms. Owns the handle and its calls; the loop itself is `drive`'s, what callers and loop share is `shared`'s.

mod builder;
mod calling;
mod drive;
mod events;
mod handing;
mod health;
mod pausing;
mod queued;
mod rank;
mod shared;
mod standing;
mod take_back;
mod term;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::leadership::TermHandle;
use crate::protocol::Leader;

pub use builder::{ElectorBuilder, Mode};
pub use calling::Calling;
pub use events::{ElectorEvent, ElectorEvents};
pub use shared::ElectorState;
pub use term::Term;

use shared::{Order, Shared};

/// Runs one election for one process: campaigns while somebody wants a term, keeps it, drains before it lets go, backs
/// off, campaigns again. Usable from any thread and any executor; share it by reference or `Arc`.
///
/// Nothing campaigns before the first [`next_term`](Self::next_term) or [`run`](Self::run). Dropping it closes it
/// without waiting: authority ends at once, the release is queued.
#[must_use = "dropping an elector gives its term up"]
pub struct Elector {
    shared: Arc<Shared>,
}

impl fmt::Debug for Elector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elector")
            .field("key", &crate::error::show(self.key()))
            .field("state", &self.state())
            .finish()
    }
}

impl Elector {
    /// An elector for the election of `key` (in a queue: its prefix), to be started with [`ElectorBuilder::start`].
    pub fn builder(client: &Client, key: impl Into<Vec<u8>>) -> ElectorBuilder {
        ElectorBuilder::new(client, key.into())
    }

    /// Waits for the next term of this process. `None`: the elector (or its client) was closed in order. There is one
    /// term at a time: while one is held and not lost, this waits for its end.
    ///
    /// Cancel-safe, so a runtime's own timeout around it is the timeout: a term that came for nobody stays with the
    /// elector for one TTL, for the next caller, and is then resigned, and logged. Several callers share one term after the other; each term goes to one of them.
    ///
    /// # Errors
    /// The elector stopped for good, and why: `PermissionDenied`, `InvalidArgument` (margins that do not fit the
    /// granted TTL), `Forked`. What may pass (etcd away, another leads) is not an error here: it goes on.
    pub fn next_term(&self) -> impl Future<Output = Result<Option<Term>>> + Send + use<> {
        next_term(self.shared.clone())
    }

    /// Runs `body` once for each term, with a view of it, until the elector is closed or the body has had enough: when
    /// the term is lost the body's future is dropped, and after it the next term waited for. A body that returns while
    /// its term is still held ends the loop: the term is resigned, and its value returned.
    ///
    /// Returns `None` if the elector was closed before a body returned. Work that must not be cut off by the loss
    /// belongs in a task of its own that watches [`TermHandle::lost`]; the drain waits until the body has gone.
    ///
    /// # Errors
    /// As [`next_term`](Self::next_term).
    pub async fn run<T, F>(&self, mut body: impl FnMut(TermHandle) -> F) -> Result<Option<T>>
    where
        F: Future<Output = T>,
    {
        while let Some(term) = self.next_term().await? {
            let view = term.handle();
            let work = std::pin::pin!(body(view.clone()));
            let lost = std::pin::pin!(view.lost());
            match futures_util::future::select(work, lost).await {
                futures_util::future::Either::Left((value, _)) => {
                    let held = !view.is_lost();
                    term.resign().await.or_else(|error| if held { Err(error) } else { Ok(()) })?;
                    if held {
                        return Ok(Some(value));
                    }
                }
                futures_util::future::Either::Right(_) => drop(term),
            }
        }
        Ok(None)
    }

    /// A view of the term that is led now, whoever holds it; `None` while this process does not lead.
    #[must_use]
    pub fn current(&self) -> Option<TermHandle> {
        let term = self.shared.level()?.term.clone()?;
        term.deadline.valid().then(|| TermHandle::of(term, self.shared.client().clone()))
    }

    /// Does this process lead now? A local read, without I/O.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.current().is_some()
    }

    /// Who leads, as this elector saw it last, for routing; `None` if nobody did, or nothing was heard yet. Local.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        self.shared.level()?.leader.clone()
    }

    /// Where the loop stands; stopped in a forked child.
    #[must_use]
    pub fn state(&self) -> ElectorState {
        self.shared.level().map_or(ElectorState::Stopped, |level| level.state)
    }

    /// For probes: an error if this elector stopped for good, leads without confirmed renewals, or its health check
    /// fails. Local.
    ///
    /// # Errors
    /// `Unavailable` says what is wrong; or the error it stopped with; `Closed`, `Forked`.
    pub fn health(&self) -> Result<()> {
        let level = self.shared.level().ok_or(Error::Forked)?;
        match (&level.ended, level.state) {
            (Some(Ok(())), _) => Err(Error::Closed),
            (Some(Err(error)), _) => Err(error.clone()),
            (None, ElectorState::Jeopardy) => {
                let remaining = level.term.as_ref().map(|term| term.deadline.remaining()).unwrap_or_default();
                Err(Error::unavailable(format!("leading without confirmed renewals, {remaining:?} remain")))
            }
            (None, _) => match &level.unhealthy {
                Some(why) => Err(Error::unavailable(format!("the health check fails: {why}"))),
                None => Ok(()),
            },
        }
    }

    /// What happens from now on, in order; for a term that runs already it begins with its election.
    #[must_use]
    pub fn events(&self) -> ElectorEvents {
        ElectorEvents::new(&self.shared)
    }

    /// The key of the election, or a queue's prefix.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.shared.lead.key()
    }

    /// Gives the term up, in order: it is lost at once, drained (renewed until its holder lets go of it, at most the
    /// drain timeout), then released. Goes on campaigning after a cool-down (TTL/5 by default) if somebody wants a
    /// term. Without a term nothing happens. Begins when it is called, not when it is awaited.
    ///
    /// # Errors
    /// `Timeout`, `Unavailable` when etcd did not confirm the release: it goes on in the background. `Closed`,
    /// `Forked`.
    pub fn resign(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.order(Order::Resign)
    }

    /// Stops campaigning, drains and releases the term, and ends the loop: waiting callers get `None`. Idempotent.
    /// Begins when it is called, not when it is awaited; dropping the future does not stop the closing.
    ///
    /// # Errors
    /// As [`resign`](Self::resign).
    pub fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let closed = self.order(Order::Close);
        async move {
            match closed.await {
                Err(Error::Closed) => Ok(()),
                other => other,
            }
        }
    }

    fn order(
        &self,
        order: fn(oneshot::Sender<Result<()>>) -> Order,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (told, done) = oneshot::channel();
        let sent = self.shared.client().ensure_not_forked().and_then(|()| self.shared.send(order(told)));
        async move {
            sent?;
            done.await.unwrap_or(Err(Error::Closed))
        }
    }
}

impl Drop for Elector {
    fn drop(&mut self) {
        if self.shared.client().forked() {
            std::mem::forget(self.shared.clone()); // its end is locks that the parent may have held (S12)
            return;
        }
        if let Some(term) = self.shared.take_offer() {
            term.deadline.end(crate::Reason::Closed);
        }
        let _ = self.shared.send(Order::Dropped);
    }
}

/// Not the elector itself: a waiter does not keep it from being dropped, which ends the wait.
async fn next_term(shared: Arc<Shared>) -> Result<Option<Term>> {
    shared.client().ensure_not_forked()?;
    let wanting = shared.want();
    let mut level = shared.level.subscribe();
    loop {
        level.borrow_and_update();
        if let Some(term) = shared.take_offer() {
            wanting.served();
            return Ok(Some(Term::new(term, shared.clone())));
        }
        if let Some(ended) = shared.ended() {
            return ended.map(|()| None);
        }
        if level.changed().await.is_err() {
            return Ok(None);
        }
    }
}
