//! The loop of an elector, on the I/O thread: follow, campaign, lead, drain, again.
//! Owns the order of things; coming to a term is `standing`'s, releasing is `release`'s.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::health::Health;
use super::pausing::Pausing;
use super::shared::{ElectorState, Order, Orders, Shared, Wanted};
use super::standing::Standing;
use super::take_back::TakeBack;
use crate::clock::BootTime;
use crate::error::{Reason, Result, show};
use crate::etcd::{Level, Reader};
use crate::io::Io;
use crate::protocol::{self, KeyValue, Leader};
use crate::release;
use crate::resets::Since;
use crate::term::{Released, TermShared, TermState};

/// Longest sleep without a look at the clock, which may have jumped.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn drive(io: Rc<Io>, el: Arc<Shared>, orders: Orders) {
    let resets = el.lead.shared.resets.since();
    let lead = &el.lead.shared;
    let level = match &el.queue {
        Some(queue) => io.keep_queue(lead.id, &queue.prefix, &lead.resets),
        None => io.keep_watch(lead.id, &lead.key, &lead.resets),
    };
    let mut drive = Drive {
        io,
        el: el.clone(),
        orders,
        level,
        closed: resets,
        wanted: el.wanted.subscribe(),
        health: el.health.subscribe(),
        not_before: BootTime::default(),
        standing: Standing::default(),
        place: Rc::default(),
        closing: Vec::new(),
        released: Ok(()),
    };
    let pausing = Pausing::watch(&drive.io, &el);
    let ended = drive.run().await;
    drop(pausing);
    Box::pin(drive.stand_down()).await;
    drive.io.loops.borrow_mut().remove(&el.lead.shared.id);
    el.client().end_loop();
    if let Err(error) = &ended {
        log::error!("{}: the elector stopped: {error}", show(el.lead.key()));
    }
    el.withdraw();
    el.level.send_modify(|level| {
        level.state = ElectorState::Stopped;
        level.ended = Some(ended);
    });
    Box::pin(drive.tell_closed()).await;
}

/// What the loop does next.
pub(super) enum Next {
    /// Another term, if somebody wants one.
    Again,
    /// This one.
    Term(Arc<TermShared>),
    /// Closed in order.
    Stop,
}

pub(super) struct Drive {
    pub(super) io: Rc<Io>,
    pub(super) el: Arc<Shared>,
    pub(super) orders: Orders,
    /// The key, or the first of the queue.
    pub(super) level: Reader<Level>,
    /// The client's end.
    pub(super) closed: Since,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) health: watch::Receiver<Health>,
    /// Holds back until then: cool-down, limit.
    pub(super) not_before: BootTime,
    pub(super) standing: Standing,
    /// In a queue: the lease that the own key names; 0 = none.
    pub(super) place: Rc<Cell<i64>>,
    closing: Vec<oneshot::Sender<Result<()>>>,
    /// How the last release went, for who closes.
    pub(super) released: Result<()>,
}

impl Drive {
    /// Whoever closes hears how the last release went, also of a term that its holder let go of just before.
    async fn tell_closed(mut self) {
        let last = self.el.level.borrow().term.clone();
        if let Some(term) = last.filter(|term| term.released.get() == Released::No)
            && !self.closing.is_empty()
        {
            self.released = release::released(&self.io, Some(term)).await;
        }
        for told in self.closing {
            let _ = told.send(self.released.clone());
        }
    }

    async fn run(&mut self) -> Result<()> {
        let mut next = self.win().await?;
        while let Some(term) = next {
            // Boxed: most electors follow, and a leader has room for it.
            next = match Box::pin(self.reign(&term)).await {
                Next::Term(term) => Some(term),
                Next::Again if !self.el.options.once => self.win().await?,
                _ => break,
            };
        }
        Ok(())
    }

    /// The next term; `None`: it is to stop.
    async fn win(&mut self) -> Result<Option<Arc<TermShared>>> {
        if self.is_closing() {
            return Ok(None);
        }
        match self.el.queue.clone() {
            Some(queue) => Box::pin(self.win_place(&queue)).await, // as large as a campaign
            None => self.win_key().await,
        }
    }

    pub(super) fn now(&self) -> BootTime {
        self.io.etcd.clock.now()
    }

    pub(super) fn state(&self, state: ElectorState) {
        self.el.level.send_if_modified(|level| {
            let changed = level.state != state;
            level.state = state;
            changed
        });
    }

    /// Tells what the key shows.
    pub(super) fn look(&mut self) -> Result<Level> {
        let now = self.level.look().clone();
        if let Some(error) = now.error {
            return Err(error);
        }
        if now.synced {
            self.el.level.send_if_modified(|level| {
                // The own key before its term has begun: nobody leads. In a queue it is first in line; the other kind may have
                // been handed the key.
                let own = |kv: &KeyValue| level.term.as_ref().is_some_and(|term| term.holding.holds(Some(kv)));
                let not_yet = |kv: &KeyValue| {
                    kv.lease != 0 && (kv.lease == self.place.get() || self.standing.stands_with(kv.lease)) && !own(kv)
                };
                let led = now.kv.as_deref().filter(|kv| !not_yet(kv));
                let leader = led.map(|kv| {
                    if self.el.queue.is_some() {
                        return protocol::queue_leader(kv);
                    }
                    let mut leader = Leader::from_key(kv);
                    let own = level.term.as_ref().filter(|term| term.holding.holds(Some(kv)));
                    // A hand-over keeps CREATE, and never LEASE; a move keeps the token.
                    let before = level.leader.as_ref().filter(|before| {
                        (before.create_revision, before.lease) == (leader.create_revision, leader.lease)
                    });
                    leader.token = own.map(|term| term.token).or(leader.token).or_else(|| before?.token);
                    leader
                });
                let changed = !level.heard || level.leader != leader;
                level.heard = true;
                level.leader = leader;
                changed
            });
        }
        Ok(now)
    }

    pub(super) fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Does somebody want a term, and does nothing speak against campaigning? And when to ask again, if nothing changes.
    pub(super) fn may_stand(&mut self) -> (bool, Option<BootTime>) {
        let now = self.now();
        let wanted_until = self.wanted.borrow_and_update().until(self.el.options.ttl);
        let (well_until, wrong) = {
            let health = self.health.borrow_and_update();
            (health.until(), health.wrong(now))
        };
        self.unhealthy(wrong);
        let may = now < wanted_until && now < well_until && now >= self.not_before;
        let next = [self.not_before, wanted_until, well_until].into_iter().filter(|at| *at > now).min();
        // Nobody wants anything of it: no timer either.
        (may, next.filter(|at| now < wanted_until && *at < BootTime(u64::MAX)))
    }

    /// The state of an elector that does not campaign.
    pub(super) fn resting(&self) -> ElectorState {
        if self.el.wanted.borrow().paused { ElectorState::Paused } else { ElectorState::Follower }
    }

    fn unhealthy(&self, why: Option<String>) {
        self.el.level.send_if_modified(|level| {
            let changed = level.unhealthy != why;
            level.unhealthy = why;
            changed
        });
    }

    /// True: it is to stop.
    pub(super) fn obey_without_a_term(&mut self, order: Option<Order>) -> bool {
        match order {
            Some(Order::Resign(told)) => {
                let _ = told.send(Ok(()));
                false
            }
            Some(Order::HandOver(order)) => {
                order.too_late();
                false
            }
            Some(Order::Returned | Order::Proclaimed) => false,
            Some(Order::Close(told)) => {
                self.closing.push(told);
                true
            }
            Some(Order::Dropped) | None => true,
        }
    }

    /// A cool-down, so that others win.
    pub(super) fn cool_down(&mut self) {
        let pause = self.el.options.cool_down.unwrap_or(self.el.options.ttl / 5);
        self.not_before = self.now().after(pause);
    }

    /// From the win to the end of the term.
    async fn reign(&mut self, term: &Arc<TermShared>) -> Next {
        let (io, el) = (self.io.clone(), self.el.clone());
        io.renewer.with(|machine, _| machine.set_renewing(term.lease.id(), true));
        let mut state = term.state.subscribe();
        el.offer(term);
        el.level.send_modify(|level| {
            level.state = ElectorState::Leading;
            level.term = Some(term.clone());
        });
        self.proclaim_late(term);
        let _yields = TakeBack::watch(&io, &el, term);
        let mut health = el.health.subscribe();
        let mut wanted = el.wanted.subscribe();
        let keep_until = self.now().after(el.options.ttl);
        let next = loop {
            let _ = self.look();
            let now = self.now();
            match *state.borrow_and_update() {
                TermState::Leading => self.state(ElectorState::Leading),
                TermState::Jeopardy => self.state(ElectorState::Jeopardy),
                TermState::Lost(_) => break None,
            }
            let wrong = health.borrow_and_update().wrong(now);
            let well_until = health.borrow().until();
            self.unhealthy(wrong.clone());
            if wrong.is_some() {
                // Not renewed any more: what is left of the term is for the holder to finish.
                if !term.lease_is_callers {
                    io.renewer.with(|machine, _| machine.set_renewing(term.lease.id(), false));
                }
                self.drain(term, Reason::Unhealthy).await;
                break None;
            }
            if wanted.borrow_and_update().paused {
                self.drain(term, Reason::Paused).await;
                break None;
            }
            let mut wake = well_until;
            if el.is_offered(term) {
                if now >= keep_until {
                    log::warn!("{}: won a term that nobody took, and resigned it", show(el.lead.key()));
                    el.withdraw();
                    term.deadline.end(Reason::Resigned);
                    break None;
                }
                wake = wake.min(keep_until);
            }
            tokio::select! {
                changed = state.changed() => if changed.is_err() {
                    break None;
                },
                changed = self.level.changed() => if changed.is_err() {
                    break Some(Next::Stop);
                },
                _ = health.changed() => {}
                _ = wanted.changed() => {}
                order = self.orders.recv() => match order {
                    Some(Order::Returned) if !el.is_held(term) && !el.is_offered(term) => break None,
                    Some(Order::Returned | Order::Proclaimed) => {} // of a term before this one; in the term already
                    Some(Order::Resign(told)) => {
                        self.drain(term, Reason::Resigned).await;
                        let _ = told.send(self.released.clone());
                        break None;
                    }
                    Some(Order::HandOver(order)) if order.term == term.id => break self.hand_over(term, order).await,
                    Some(Order::HandOver(order)) => order.too_late(),
                    Some(Order::Close(told)) => {
                        self.closing.push(told);
                        self.drain(term, Reason::Closed).await;
                        break Some(Next::Stop);
                    }
                    Some(Order::Dropped) | None => {
                        el.withdraw();
                        if el.is_held(term) {
                            // The elector is gone, its term is not: it ends with its holder.
                            self.until_returned(term).await;
                        }
                        term.deadline.end(Reason::Closed);
                        break Some(Next::Stop);
                    }
                },
                () = self.closed.wait() => break Some(Next::Stop),
                () = tokio::time::sleep(wake.since(now).min(LOOK_AGAIN)), if wake < BootTime(u64::MAX) => {}
            }
        };
        let reason = term.deadline.lost();
        release::lost(&io, term);
        el.withdraw();
        self.after(reason);
        match next {
            Some(next) => next,
            None if self.closing.is_empty() => Next::Again,
            None => Next::Stop,
        }
    }

    /// A term has ended: may the next campaign begin at once?
    fn after(&mut self, reason: Option<Reason>) {
        match reason {
            Some(Reason::Resigned | Reason::HandedOver | Reason::Paused | Reason::Closed) | None => self.cool_down(),
            // Not of its own will, and perhaps by its own fault: who loses again and again lets others try.
            Some(_) => {
                let now = self.now();
                let mut state = self.el.lead.shared.state();
                state.history.add(now);
                if state.history.count(now) >= self.el.options.limit.max(1) {
                    self.not_before = now.after(self.el.options.ttl);
                }
            }
        }
    }

    /// S9: lost at once, renewed on until its holder lets go of it or the time is up, then ended and released.
    pub(super) async fn drain(&mut self, term: &Arc<TermShared>, reason: Reason) {
        self.finish(term, reason).await;
        term.deadline.end(reason);
        self.released = release::released(&self.io, Some(term.clone())).await;
    }

    /// The part of a drain that is the holder's.
    pub(super) async fn finish(&mut self, term: &Arc<TermShared>, reason: Reason) {
        if !self.el.withdraw() && self.el.is_held(term) && term.deadline.drain(reason) {
            release::announce(term);
            self.state(ElectorState::Draining);
            let mut until = self.now().after(self.el.options.drain);
            if reason == Reason::Unhealthy {
                until = until.min(term.deadline.at()); // a lease that others share is renewed all the same
            }
            while self.el.is_held(term) && term.deadline.valid() && self.now() < until {
                let left = until.min(term.deadline.at()).since(self.now());
                tokio::select! {
                    order = self.orders.recv() => match order {
                        Some(Order::Resign(told)) => {
                            let _ = told.send(Ok(()));
                        }
                        Some(Order::HandOver(order)) => order.too_late(),
                        Some(Order::Close(told)) => self.closing.push(told),
                        Some(Order::Returned | Order::Proclaimed) => {}
                        Some(Order::Dropped) | None => break,
                    },
                    _ = self.level.changed() => {} // the key may be gone: looked at by `valid`
                    () = self.closed.wait() => break,
                    () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
                }
            }
            if self.el.is_held(term) && term.deadline.valid() {
                log::warn!("{}: the term was not let go of within the drain timeout", show(self.el.lead.key()));
            }
        }
    }

    /// Until the holder of a term lets go of it, or it is lost.
    async fn until_returned(&mut self, term: &Arc<TermShared>) {
        let mut state = term.state.subscribe();
        while self.el.is_held(term) && !matches!(*state.borrow_and_update(), TermState::Lost(_)) {
            tokio::select! {
                changed = state.changed() => if changed.is_err() {
                    return;
                },
                order = self.orders.recv() => match order {
                    // The client closes.
                    Some(Order::Close(told)) => {
                        self.closing.push(told);
                        return self.drain(term, Reason::Closed).await;
                    }
                    Some(_) => {}
                    None => return,
                },
                () = self.closed.wait() => return,
            }
        }
    }
}
