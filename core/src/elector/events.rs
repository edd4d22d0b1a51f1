//! What happens to an elector, in order, made of its levels. Owns turning levels into events.
//! A slow reader gets the latest, and never a loss of a term it was not told of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::shared::{ElectorState, Level, Shared};
use crate::Reason;
use crate::error::Error;
use crate::leadership::TermHandle;
use crate::protocol::Leader;
use crate::term::{TermShared, TermState};

/// Something happened to an elector.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ElectorEvent {
    /// A campaign began.
    Campaigning,
    /// A term began.
    Elected(TermHandle),
    /// No renewal was confirmed for two renewal intervals; so long the term stays valid without one.
    Jeopardy {
        /// What is left.
        remaining: Duration,
    },
    /// Renewals are confirmed again.
    Secured,
    /// The term that was told of last was lost. Exactly one for each elected.
    Lost(Reason),
    /// Another leads now.
    Leader(Leader),
    /// Nobody leads.
    Vacant,
    /// The election was paused.
    Paused,
    /// The elector ended for good; the error, or none when it was closed. The last event.
    Stopped(Option<Error>),
}

/// The events of one elector. A level behind: nothing is queued for a slow reader. A clone goes on from the same event,
/// on its own.
#[derive(Clone)]
pub struct ElectorEvents {
    client: crate::Client,
    level: watch::Receiver<Level>,
    term: Option<(Arc<TermShared>, watch::Receiver<TermState>, TermState)>,
    /// The number of the last term told of: it is not told of again.
    last_term: u64,
    /// Its token: the own key is no news, however late it is seen.
    last_token: Option<i64>,
    state: ElectorState,
    heard: bool,
    leader: Option<Leader>,
    stopped: bool,
}

impl std::fmt::Debug for ElectorEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ElectorEvents").field("state", &self.state).finish()
    }
}

impl ElectorEvents {
    pub(super) fn new(shared: &Shared) -> ElectorEvents {
        let client = shared.client().clone();
        ElectorEvents {
            // In a forked child the level's lock may be held for ever.
            level: if client.forked() { watch::Sender::new(Level::new()).subscribe() } else { shared.level.subscribe() },
            client,
            term: None,
            last_term: 0,
            last_token: None,
            state: ElectorState::Follower,
            heard: false,
            leader: None,
            stopped: false,
        }
    }

    /// The next event; `None` after [`ElectorEvent::Stopped`]. In a forked child the loss of the term that was told of
    /// last, and that it stopped. Cancel-safe; any executor.
    pub async fn next(&mut self) -> Option<ElectorEvent> {
        loop {
            if self.stopped {
                return None;
            }
            if self.client.forked() {
                if let Some(told) = self.term.take() {
                    std::mem::forget(told); // its end is a lock that the parent may have held (S12)
                    return Some(ElectorEvent::Lost(Reason::Forked));
                }
                self.stopped = true;
                return Some(ElectorEvent::Stopped(Some(Error::Forked)));
            }
            if let Some(event) = self.look() {
                return Some(event);
            }
            let changed = match &mut self.term {
                Some((_, state, _)) => {
                    let (level, state) = (std::pin::pin!(self.level.changed()), std::pin::pin!(state.changed()));
                    match futures_util::future::select(level, state).await {
                        futures_util::future::Either::Left((changed, _)) => changed.is_ok(),
                        // A term's own channel lives as long as the term.
                        futures_util::future::Either::Right(_) => true,
                    }
                }
                None => self.level.changed().await.is_ok(),
            };
            if !changed {
                // The I/O thread ended without a word: the client's end is the elector's.
                self.stopped = true;
                if let Some((term, ..)) = self.term.take() {
                    self.stopped = false;
                    return Some(ElectorEvent::Lost(term.deadline.lost().unwrap_or(Reason::Closed)));
                }
                return Some(ElectorEvent::Stopped(None));
            }
        }
    }

    /// The first thing that is not told yet.
    fn look(&mut self) -> Option<ElectorEvent> {
        let level = self.level.borrow_and_update().clone();
        if let Some((term, state, shown)) = &mut self.term {
            let now = *state.borrow_and_update();
            if now == *shown {
                // Nothing else is told between a term's election and its loss, but that it is over.
                return None;
            }
            *shown = now;
            return Some(match now {
                TermState::Leading => ElectorEvent::Secured,
                TermState::Jeopardy => ElectorEvent::Jeopardy {
                    remaining: term.deadline.remaining(),
                },
                TermState::Lost(reason) => {
                    self.term = None;
                    ElectorEvent::Lost(reason)
                }
            });
        }
        if let Some(term) = level.term.filter(|term| term.id != self.last_term && term.deadline.lost().is_none()) {
            self.last_term = term.id;
            self.last_token = Some(term.token);
            self.state = ElectorState::Leading;
            self.leader = level.leader;
            self.heard = level.heard;
            let state = term.state.subscribe();
            self.term = Some((term.clone(), state, TermState::Leading));
            return Some(ElectorEvent::Elected(TermHandle::of(term, self.client.clone())));
        }
        if level.heard && (!self.heard || identity(self.leader.as_ref()) != identity(level.leader.as_ref())) {
            self.heard = true;
            self.leader.clone_from(&level.leader);
            match level.leader {
                Some(leader) if self.last_token.is_some() && leader.token == self.last_token => {}
                Some(leader) => return Some(ElectorEvent::Leader(leader)),
                None => return Some(ElectorEvent::Vacant),
            }
        }
        if level.state != self.state {
            self.state = level.state;
            match level.state {
                ElectorState::Campaigning => return Some(ElectorEvent::Campaigning),
                ElectorState::Paused => return Some(ElectorEvent::Paused),
                _ => {}
            }
        }
        let ended = level.ended?;
        self.stopped = true;
        Some(ElectorEvent::Stopped(ended.err()))
    }
}

impl Drop for ElectorEvents {
    fn drop(&mut self) {
        if self.client.forked() {
            std::mem::forget((std::mem::replace(&mut self.level, watch::Sender::new(Level::new()).subscribe()), self.term.take()));
        }
    }
}

/// What makes a leader another one.
fn identity(leader: Option<&Leader>) -> Option<(i64, Option<i64>, &[u8])> {
    leader.map(|leader| (leader.create_revision, leader.token, leader.value.as_slice()))
}
