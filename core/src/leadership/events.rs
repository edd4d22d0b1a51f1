//! What happens to a leadership's terms, in order: elected, jeopardy, secured, lost. Owns turning levels into events.
//! A slow reader gets the latest, and never a loss of a term it was not told of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{LeadershipShared, TermHandle};
use crate::error::Reason;
use crate::term::{TermShared, TermState};

/// Something happened to a term.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TermEvent {
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
}

/// The events of one leadership, from [`Leadership::events`](crate::Leadership::events) on.
#[derive(Debug)]
pub struct TermEvents {
    client: crate::Client,
    terms: watch::Receiver<Option<Arc<TermShared>>>,
    /// Closed when the client has ended.
    ended: watch::Receiver<()>,
    told: Option<(Arc<TermShared>, watch::Receiver<TermState>, TermState)>,
}

impl TermEvents {
    pub(super) fn new(lead: &LeadershipShared) -> TermEvents {
        if lead.client.forked() {
            return TermEvents {
                client: lead.client.clone(),
                terms: watch::Sender::new(None).subscribe(),
                ended: watch::Sender::new(()).subscribe(),
                told: None,
            };
        }
        let sender = lead.terms.get_or_init(|| watch::Sender::new(None));
        let terms = sender.subscribe();
        // A term that began while the channel was made.
        sender.send_if_modified(|term| {
            *term = lead.term.load_full();
            true
        });
        TermEvents {
            client: lead.client.clone(),
            terms,
            ended: lead.client.terms_ended(),
            told: None,
        }
    }

    /// The next event; `None` when the leadership is gone or its client has ended, and everything was told. In a forked
    /// child the loss of the term that was told of last, then `None`. Cancel-safe.
    pub async fn next(&mut self) -> Option<TermEvent> {
        if self.client.forked() {
            let told = self.told.take();
            let lost = told.as_ref().map(|_| TermEvent::Lost(Reason::Forked));
            std::mem::forget(told); // its end is a lock that the parent may have held
            return lost;
        }
        loop {
            // Before the levels are looked at: what came before the end is told.
            let over = self.ended.has_changed().is_err();
            let Some((term, state, shown)) = &mut self.told else {
                let term = self.terms.borrow_and_update().clone();
                // A term that was over before it could be told of is not told of (case 37).
                if let Some(term) = term.filter(|term| term.deadline.lost().is_none()) {
                    let state = term.state.subscribe();
                    self.told = Some((term.clone(), state, TermState::Leading));
                    return Some(TermEvent::Elected(TermHandle {
                        shared: term,
                        client: self.client.clone(),
                    }));
                }
                if over {
                    return None;
                }
                tokio::select! {
                    changed = self.terms.changed() => changed.ok()?,
                    _ = self.ended.changed() => {}
                }
                continue;
            };
            let now = *state.borrow_and_update();
            if now != *shown {
                *shown = now;
                return Some(match now {
                    TermState::Leading => TermEvent::Secured,
                    TermState::Jeopardy => TermEvent::Jeopardy {
                        remaining: term.deadline.remaining(),
                    },
                    TermState::Lost(reason) => {
                        self.told = None;
                        TermEvent::Lost(reason)
                    }
                });
            }
            if over {
                // The I/O thread ended without announcing it: nobody renews any more.
                let reason = term.ended_with_its_client();
                self.told = None;
                return Some(TermEvent::Lost(reason));
            }
            tokio::select! {
                _ = state.changed() => {}
                _ = self.ended.changed() => {}
            }
        }
    }
}

impl Drop for TermEvents {
    fn drop(&mut self) {
        if self.client.forked() {
            // As `next`: nothing that the parent shares is locked here.
            std::mem::forget(std::mem::replace(&mut self.terms, watch::Sender::new(None).subscribe()));
            std::mem::forget(std::mem::replace(&mut self.ended, watch::Sender::new(()).subscribe()));
            std::mem::forget(self.told.take());
        }
    }
}
