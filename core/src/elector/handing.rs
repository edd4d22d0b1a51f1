//! What changes a term, or who holds it, without a vacancy: another value, another leader.
//! Owns the elector's calls for it and its part of a hand-over; the rest is `crate::handing`'s, the transactions `protocol`'s.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Elector;
use super::drive::{Drive, Next};
use super::queued;
use super::shared::{Order, Shared};
use crate::error::{Error, Reason, Result, show};
use crate::handing::{self, Choice, Outcome, Successor};
use crate::io::Io;
use crate::leadership::{Candidate, Source, Stand, proclaim};
use crate::participant::Participant;
use crate::protocol::{self, Registered};
use crate::term::TermShared;

/// Candidates that are tried, of those that go away in the middle.
const TRIES: usize = 3;

/// The key is to be handed over.
pub(super) struct HandOver {
    /// The id of the term that does.
    pub(super) term: u64,
    /// As it was asked for, …
    successor: Successor,
    /// … and who that is; `None`: the next in line.
    to: Option<Registered>,
    told: oneshot::Sender<Result<Participant>>,
}

impl HandOver {
    /// The term is over, or ending.
    pub(super) fn too_late(self) {
        let _ = self.told.send(Err(Error::unavailable("the term that was to be handed over is ending already")));
    }
}

/// Why nobody was given the key.
enum Failed {
    /// The candidate with this value went away.
    CandidateGone(Vec<u8>),
    Otherwise(Error),
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Failed::CandidateGone(value) => Error::unavailable(format!("candidate {:?} went away", show(&value))),
            Failed::Otherwise(error) => error,
        }
    }
}

/// Hands the term that is led to a candidate.
pub(super) async fn transfer(io: Rc<Io>, el: Arc<Shared>, to: Successor) -> Result<Participant> {
    let key = el.lead.key();
    let term = el.level.borrow().term.clone();
    let lost = term.as_ref().and_then(|term| term.deadline.lost());
    let Some(term) = term.filter(|_| lost.is_none()) else {
        return Err(Error::not_leader(key, lost));
    };
    let (told, done) = oneshot::channel();
    let mut order = HandOver {
        term: term.id,
        successor: to,
        to: None,
        told,
    };
    if let Some(queue) = &el.queue {
        if let Some(leader) = queued::has_no_successor(&io, queue, &term, &order.successor).await? {
            return Ok(leader);
        }
        el.send(Order::HandOver(order))?;
        return done.await.unwrap_or(Err(Error::Closed));
    }
    let roster = handing::roster(&io, key).await?;
    let Some(leader) = roster.leader.clone().filter(|leader| {
        leader.create_revision == term.holding.create && leader.token == Some(term.token)
    }) else {
        return Err(Error::not_leader(key, term.deadline.lost()));
    };
    let Choice::Candidate(candidate) = order.successor.choose(&roster, &leader, |below| io.etcd.random(below))? else {
        return Ok(leader.participant());
    };
    order.to = Some(candidate);
    el.send(Order::HandOver(order))?;
    done.await.unwrap_or(Err(Error::Closed))
}

impl Elector {
    /// Gives the election another value of this process: the term that is led, in place (see
    /// [`TermHandle::proclaim`](crate::TermHandle::proclaim)), and every later campaign. Without a term, and when it ends
    /// meanwhile, that is all there is to do.
    ///
    /// Begins when it is called; a dropped future stops nothing.
    ///
    /// # Errors
    /// `InvalidArgument` (`value`: over etcd's size limit; nothing has changed); `OutcomeUnknown`, `Unavailable`,
    /// `PermissionDenied`: later campaigns have the new value, the term may not. `Closed`, `Forked`.
    pub fn proclaim<V: Into<Vec<u8>>>(&self, value: V) -> impl Future<Output = Result<()>> + Send + use<V> {
        let value = value.into();
        let el = self.shared.clone();
        // All of it on the I/O thread: of two calls the same one is the last for the term and for the campaigns.
        let begun = protocol::check_size("value", value.len()).map(|()| {
            self.shared.client().run(move |io, _| async move {
                if el.ended().is_some() {
                    return Err(Error::Closed);
                }
                el.value.send_replace(value.clone());
                el.send(Order::Proclaimed)?;
                let term = el.level.borrow().term.clone().filter(|term| term.deadline.valid());
                let Some(term) = term else { return Ok(()) };
                match proclaim(&io, &term, value).await {
                    Err(Error::NotLeader { .. }) => Ok(()),
                    done => done,
                }
            })
        });
        async move { begun?.await }
    }

    /// Hands the term over: it is lost at once (reason `handed_over`), drained, and then the candidate gets the key in the
    /// transaction that takes it from this process: there is no instant without a leader. Returns who holds it now. If
    /// that is this process (it was named itself, or nobody else stands), nothing was done and the term goes on.
    ///
    /// A candidate that goes away in the middle costs the term all the same: another is tried, or, if it was named, this
    /// process leads on in a new term (with another token) or lets the key go. Begins when it is called; a dropped future
    /// stops nothing.
    ///
    /// # Errors
    /// `NotLeader` without a term; `InvalidArgument` (`to`: no such candidate, or in a queue another than the next in line;
    /// says who there is; the term goes on);
    /// `Unavailable` (the candidate went away, etcd is away; says what became of the key), `PermissionDenied`, `Closed`,
    /// `Forked`.
    pub fn transfer(&self, to: Successor) -> impl Future<Output = Result<Participant>> + Send + use<> {
        let el = self.shared.clone();
        self.shared.client().run(move |io, _| transfer(io, el, to))
    }

    /// Everybody who takes part, read linearizably: the leader first (its priority reads 0: its registration is used up),
    /// then who is registered, in the order of their turns.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `PermissionDenied`, `Closed`, `Forked`.
    pub fn participants(&self) -> impl Future<Output = Result<Vec<Participant>>> + Send + use<> {
        let (key, queue) = (self.shared.lead.shared.key.clone(), self.shared.queue.clone());
        self.shared.client().run(move |io, _| async move {
            match queue {
                Some(queue) => Ok(protocol::queue_participants(&queue.line(&io, 0).await?)),
                None => Ok(handing::roster(&io, &key).await?.participants()),
            }
        })
    }
}

impl Drive {
    /// Drains the term, ends it, and gives its key to the candidate.
    pub(super) async fn hand_over(&mut self, term: &Arc<TermShared>, order: HandOver) -> Option<Next> {
        let HandOver { successor, to, told, .. } = order;
        let key = show(self.el.lead.key());
        let Some(to) = to else {
            let _ = told.send(self.pass_on(term).await);
            return None;
        };
        // From now on: a term that its holder has let go of is this hand-over's, and nobody else's to release.
        if !term.released.begin() {
            let _ = told.send(Err(Error::not_leader(self.el.lead.key(), term.deadline.lost())));
            return None;
        }
        let _releasing = self.io.releasing();
        self.finish(term, Reason::HandedOver).await;
        handing::end_for_hand_over(&self.io, term);
        let outcome = self.give(term, &successor, to).await;
        let failed = match outcome {
            Ok(to) => {
                handing::given(&self.io, term);
                log::info!("{key}: handed to {:?}", show(&to.value));
                let _ = told.send(Ok(to.participant(true)));
                return None;
            }
            Err(failed) => failed,
        };
        // The candidate is gone, and the key certainly still this process's.
        let gone = matches!(failed, Failed::CandidateGone(_));
        let failed = failed.into_error();
        if gone && let Some(own) = self.lead_on(term).await {
            log::info!("{key}: {failed}; leads on in a new term");
            let _ = told.send(Err(failed));
            return Some(Next::Term(own));
        }
        log::info!("{key}: not handed over, and let go of: {failed}");
        handing::keep_none(&self.io, term);
        let _ = told.send(Err(failed));
        None
    }

    /// Gives the key of an ended term to a fresh candidate of this process's own, which leads on: a new term, with a token
    /// and a lease of its own (S10).
    async fn lead_on(&mut self, term: &Arc<TermShared>) -> Option<Arc<TermShared>> {
        let wrong = self.el.health.borrow().wrong(self.now());
        if self.is_closing() || self.el.options.once || self.el.wanted.borrow().paused || wrong.is_some() {
            return None;
        }
        let options = &self.el.options;
        let stand = Stand {
            value: self.el.value.borrow().clone(),
            priority: options.priority,
            lease: Source::Own(options.campaign.ttl),
        };
        let lead = &self.el.lead.shared;
        let mut candidate = Candidate::new(&self.io, lead, stand, lead.resets.since());
        let led = async {
            candidate.prepare().await?;
            let own = candidate.as_registered().ok_or_else(|| Error::internal("a candidate that is not registered"))?;
            match handing::give(&self.io, term, &own).await {
                Outcome::Done => handing::given(&self.io, term),
                other => return Err(Error::unavailable(format!("not taken again: {other:?}"))),
            }
            candidate.go_handed().await
        };
        match led.await {
            Ok(own) => Some(own),
            Err(error) => {
                log::info!("{}: {error}", show(self.el.lead.key()));
                let _ = candidate.withdraw().await;
                None
            }
        }
    }

    /// To this candidate, or, if it is gone, to another that is meant as well.
    async fn give(&self, term: &TermShared, successor: &Successor, mut to: Registered) -> std::result::Result<Registered, Failed> {
        for _ in 0..TRIES {
            match handing::give(&self.io, term, &to).await {
                Outcome::Done => return Ok(to),
                Outcome::CandidateGone => {} // perhaps it stands anew, with another lease
                Outcome::Refused(error) => return Err(Failed::Otherwise(error)),
                Outcome::Lost => return Err(Failed::Otherwise(Error::not_leader(&term.holding.key, Some(Reason::HandedOver)))),
                Outcome::Unknown(message) => return Err(Failed::Otherwise(Error::unavailable(message))),
            }
            let Ok(roster) = handing::roster(&self.io, &term.holding.key).await else { break };
            let Some(leader) = &roster.leader else { break };
            match successor.choose(&roster, leader, |below| self.io.etcd.random(below)) {
                Ok(Choice::Candidate(other)) => to = other,
                Ok(Choice::Leader) | Err(_) => break,
            }
        }
        Err(Failed::CandidateGone(to.value))
    }

    /// A term that was won with a value that is not the elector's any more. The caller has told of the term already:
    /// who proclaims from now on finds it.
    pub(super) fn proclaim_late(&self, term: &Arc<TermShared>) {
        let value = self.el.value.borrow().clone();
        if value == term.latest_value() {
            return;
        }
        let (io, term) = (self.io.clone(), term.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = proclaim(&io, &term, value).await {
                log::info!("{}: won with a value of before, and could not change it: {error}", show(&term.holding.key));
            }
        });
    }
}
