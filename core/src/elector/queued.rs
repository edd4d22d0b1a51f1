//! An elector in a queue: a place in line is kept while somebody wants a term and nothing speaks against it.
//! Owns when the queue is joined and left; the place itself is `queue`'s, the term that comes of it `drive`'s.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::drive::{Drive, LOOK_AGAIN};
use super::shared::{ElectorState, Order};
use crate::clock::BootTime;
use crate::error::{Error, Reason, Result, show};
use crate::handing::Successor;
use crate::io::{Cancel, Io};
use crate::participant::Participant;
use crate::protocol;
use crate::queue::{self, Stand};
use crate::term::TermShared;

/// Can the term be passed on as asked? The leader itself, if it was meant, or nobody else stands.
///
/// # Errors
/// `InvalidArgument` (`to`) for anybody but the next in line, `NotLeader`.
pub(super) async fn has_no_successor(
    io: &Rc<Io>,
    queue: &queue::Shared,
    term: &TermShared,
    to: &Successor,
) -> Result<Option<Participant>> {
    let line = queue.line(io, 2).await?;
    let Some(first) = line.first().filter(|first| term.holding.holds(Some(first))) else {
        return Err(Error::not_leader(&queue.prefix, term.deadline.lost()));
    };
    let leader = || Ok(protocol::queue_participants(std::slice::from_ref(first)).into_iter().next());
    let next = line.get(1);
    match (to, next) {
        (Successor::Highest, Some(_)) => Ok(None),
        (Successor::Named(value), Some(next)) if next.value == *value => Ok(None),
        (Successor::Named(value), _) if first.value != *value => {
            let next = next.map_or_else(|| "nobody".to_owned(), |next| format!("{:?}", show(&next.value)));
            Err(Error::invalid("to", format!("in a queue the next in line follows, which is {next}, not {:?}", show(value))))
        }
        (Successor::Random, _) => Err(Error::invalid("to", "in a queue the next in line follows, not a random candidate")),
        _ => leader(),
    }
}

impl Drive {
    /// The next term; `None`: it is to stop.
    pub(super) async fn win_place(&mut self, queue: &Arc<queue::Shared>) -> Result<Option<Arc<TermShared>>> {
        loop {
            if !self.until_it_may_stand().await? {
                return Ok(None);
            }
            match self.stand_in_line(queue.clone()).await {
                Ok(Some(term)) => return Ok(Some(term)),
                Ok(None) => {}
                Err(Error::Closed) => return Ok(None),
                // The own place was lost, or etcd is away: that passes.
                Err(error @ (Error::NotElected { .. } | Error::Cancelled { .. })) => log::debug!("{error}"),
                Err(error) if error.is_retriable() || matches!(error, Error::ClusterChanged { .. }) => {
                    log::info!("{}: {error}", show(self.el.lead.key()));
                }
                Err(error) => return Err(error),
            }
            if self.is_closing() {
                return Ok(None);
            }
        }
    }

    /// False: it is to stop.
    async fn until_it_may_stand(&mut self) -> Result<bool> {
        loop {
            self.state(self.resting());
            self.look()?;
            let (may, next) = self.may_stand();
            if may {
                return Ok(true);
            }
            let nap = self.nap(next);
            tokio::select! {
                changed = self.level.changed() => if changed.is_err() {
                    return Ok(false);
                },
                _ = self.wanted.changed() => {}
                _ = self.health.changed() => {}
                order = self.orders.recv() => if self.obey_without_a_term(order) {
                    return Ok(false);
                },
                () = self.closed.wait() => return Ok(false),
                () = tokio::time::sleep(nap.unwrap_or_default()), if nap.is_some() => {}
            }
        }
    }

    /// One place in line, from joining to the term; `None`: it was left, for want of somebody who wants a term, or because
    /// something speaks against one.
    async fn stand_in_line(&mut self, queue: Arc<queue::Shared>) -> Result<Option<Arc<TermShared>>> {
        self.state(ElectorState::Campaigning);
        let (cancel, el) = (Cancel::default(), self.el.clone());
        let stand = Stand {
            options: self.el.campaign_options(),
            lease: self.el.options.lease.as_ref().map(|claim| claim.lease.clone()),
            own: self.place.clone(),
            delayed: Box::new(move || el.level.send_modify(|level| level.state = ElectorState::Delayed)),
        };
        let work = queue::campaign(self.io.clone(), queue, stand, cancel.clone());
        tokio::pin!(work);
        // A place is given up for good: who may stand again by the time it is left joins at the end.
        let (mut left, mut closed) = (false, false);
        loop {
            if let Err(error) = self.look() {
                log::debug!("{}: {error}", show(self.el.lead.key())); // the place has a view of its own
            }
            let (may, next) = self.may_stand();
            if !may && !left {
                left = true;
                cancel.trigger();
            }
            let nap = self.nap(next);
            let stop = tokio::select! {
                won = &mut work => {
                    self.note_campaign(won.is_ok(), left);
                    return match won {
                        _ if closed => Err(Error::Closed),
                        // Also one that came too late: given up by being dropped.
                        _ if left => Ok(None),
                        won => Ok(won?.take()),
                    };
                }
                changed = self.level.changed(), if !closed => changed.is_err(),
                _ = self.wanted.changed() => false,
                _ = self.health.changed() => false,
                order = self.orders.recv(), if !closed => match order {
                    // Not a leader yet, and it shall not become one from this place.
                    Some(Order::Resign(told)) => {
                        self.cool_down();
                        let _ = told.send(Ok(()));
                        false
                    }
                    order => self.obey_without_a_term(order),
                },
                () = self.closed.wait(), if !closed => true,
                () = tokio::time::sleep(nap.unwrap_or_default()), if nap.is_some() => false,
            };
            if stop {
                (left, closed) = (true, true);
                cancel.trigger();
            }
        }
    }

    /// The term ends, drained, and whoever is next in line leads; who that is.
    pub(super) async fn pass_on(&mut self, term: &Arc<TermShared>) -> Result<Participant> {
        self.drain(term, Reason::HandedOver).await;
        self.released.clone()?;
        let Some(queue) = self.el.queue.clone() else { return Err(Error::internal("a line of no queue")) };
        let line = protocol::queue_participants(&queue.line(&self.io, 1).await?);
        let gone = || Error::unavailable(format!("who was next in line for {} has gone: nobody leads", show(&queue.prefix)));
        line.into_iter().next().ok_or_else(gone)
    }

    /// How long to sleep with nothing to wait for but that time; `None`: for ever.
    fn nap(&self, until: Option<BootTime>) -> Option<Duration> {
        let now = self.now();
        until.map(|at| at.since(now).min(LOOK_AGAIN))
    }

    /// The place was lost, not left: the next is joined after a back-off.
    fn note_campaign(&mut self, won: bool, left: bool) {
        if left {
            return;
        }
        let (now, io) = (self.now(), &self.io);
        let mut state = self.el.lead.shared.state();
        state.history.ended(won, now, |below| io.etcd.random(below));
        self.not_before = self.not_before.max(state.history.not_before());
    }
}
