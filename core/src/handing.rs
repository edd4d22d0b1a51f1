//! Handing the key over: to whom, and what is known of the outcome (DESIGN §5 "Atomic transfer", S10).
//! Owns the choice and one hand-over by its holder; the elector drains before it, and operators have their own way.

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result, show};
use crate::etcd::Failure;
use crate::io::Io;
use crate::protocol::{self, HandedOver, Leader, Mark, Registered, Roster};
use crate::release;
use crate::term::{Released, TermShared};

/// Between two sendings of a hand-over without an answer, in milliseconds.
const RETRY_MS: u64 = 100;
/// Candidates named in an error.
const NAMED: usize = 10;

/// Who shall lead next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Successor {
    /// The candidate with this value; of several with the same, the first in the order of turns.
    Named(Vec<u8>),
    /// Any candidate.
    Random,
    /// The candidate of the highest priority; of equal ones, who registered first.
    Highest,
}

/// Whom a [`Successor`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One who stands.
    Candidate(Registered),
    /// Who leads already: there is nothing to do.
    Leader,
}

impl Successor {
    /// Chooses among those who stand. Whoever holds the key with `leader`'s lease is the leader, whatever its value.
    pub(crate) fn choose(&self, roster: &Roster, leader: &Leader, random: impl FnOnce(u64) -> u64) -> Result<Choice> {
        let others: Vec<_> = roster.candidates.iter().filter(|candidate| candidate.lease != leader.lease).collect();
        let chosen = match self {
            Successor::Highest => others.first(),
            Successor::Random => {
                let index = if others.is_empty() { 0 } else { random(others.len() as u64) };
                others.get(usize::try_from(index).unwrap_or(0))
            }
            Successor::Named(value) => {
                let named = others.iter().find(|candidate| candidate.value == *value);
                if named.is_none() && leader.value != *value {
                    let mut message = format!("no candidate has the value {:?}; there are:", show(value));
                    if others.is_empty() {
                        message.push_str(" none");
                    }
                    for candidate in others.iter().take(NAMED) {
                        let _ = write!(message, " {:?}", show(&candidate.value));
                    }
                    return Err(Error::invalid("to", message));
                }
                named
            }
        };
        Ok(chosen.map_or(Choice::Leader, |candidate| Choice::Candidate((*candidate).clone())))
    }
}

/// Who leads and who stands.
pub(crate) async fn roster(io: &Io, key: &[u8]) -> Result<Roster> {
    let got = io.etcd.read("read of the candidates", key, &protocol::roster(key)).await.map_err(Failure::into_error)?;
    Ok(protocol::roster_reply(&got.body))
}

/// What became of a hand-over.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// The candidate is gone, and the key still the holder's: not handed over, now or ever.
    CandidateGone,
    /// etcd refused it.
    Refused(Error),
    /// The key is another's or gone, or was being released.
    Lost,
    /// No answer in time: it may have been done, or may still be.
    Unknown(String),
}

/// Ends a term for a hand-over by whoever has begun its release: [`give`] follows, and [`given`] or [`keep_none`].
pub(crate) fn end_for_hand_over(io: &Rc<Io>, term: &Arc<TermShared>) {
    term.deadline.end(crate::Reason::HandedOver);
    release::announce(term);
    release::unhook(io, term);
}

/// Gives the key of an ended term to a candidate. Sent again until its outcome is known, for one TTL (the transfer
/// timeout): of all sendings one is applied at most.
pub(crate) async fn give(io: &Rc<Io>, term: &TermShared, to: &Registered) -> Outcome {
    let until = tokio::time::Instant::now() + term.lease.ttl;
    let (holding, mark) = (&term.holding, Mark::holder(term.token));
    loop {
        let (guard, modified) = (holding.guard(), holding.modified());
        let txn = protocol::hand_over(&guard, modified, to, mark.clone());
        let message = match io.etcd.txn(io.etcd.repeatable("hand-over", &guard.key), &txn).await {
            Ok(got) => {
                let holds = |kv: &_| holding.holds(Some(kv));
                match protocol::hand_over_reply((&guard, modified), to, &mark, holds, &got.body) {
                    HandedOver::Yes => return Outcome::Done,
                    HandedOver::CandidateGone(kv) => {
                        holding.adopt(&kv);
                        return Outcome::CandidateGone;
                    }
                    HandedOver::Rewritten(kv) => {
                        holding.adopt(&kv); // moved to a fresh lease, or proclaimed, just before
                        continue;
                    }
                    HandedOver::Lost(_) => return Outcome::Lost,
                }
            }
            // The successor's lease has ended in this instant.
            Err(Failure::NotApplied(Error::NotLeader { .. })) => return Outcome::CandidateGone,
            Err(Failure::NotApplied(error)) if !error.is_retriable() => return Outcome::Refused(error),
            Err(failure) => failure.into_error().to_string(),
        };
        if tokio::time::Instant::now() >= until {
            return Outcome::Unknown(message);
        }
        log::debug!("{}: {message}", show(&guard.key));
        tokio::time::sleep(Duration::from_millis(RETRY_MS + io.etcd.random(RETRY_MS))).await;
    }
}

/// The key was given away: its lease carries no key again (S10), and one of the term's own is let go.
pub(crate) fn given(io: &Rc<Io>, term: &Arc<TermShared>) {
    term.taint_lease();
    release::let_lease_go(io, term);
    term.released.set(Released::Anothers);
}

/// It was not, or nobody knows: the key is released as after a resign, if it is still there.
pub(crate) fn keep_none(io: &Rc<Io>, term: &Arc<TermShared>) {
    release::release_in_background(io, term);
}
