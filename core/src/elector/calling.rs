//! The loop for code that is called rather than asks: it campaigns, tells each event, and holds the terms meanwhile.
//! Owns when such a term is let go of; events are `events`', the loop itself `drive`'s.

use std::future::Future;
use std::sync::Arc;

use super::events::{ElectorEvent, ElectorEvents};
use super::shared::Shared;
use super::{Elector, Term, next_term};
use crate::leadership::TermHandle;

/// An elector whose events are to be told to a function: see [`Elector::calling`].
#[must_use = "nothing campaigns before `each` is awaited"]
pub struct Calling {
    shared: Arc<Shared>,
    events: ElectorEvents,
}

impl std::fmt::Debug for Calling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calling").field("events", &self.events).finish()
    }
}

impl Elector {
    /// For code that is called: [`Calling::each`] runs this elector and tells a function what happens. It does not keep
    /// the elector alive.
    pub fn calling(&self) -> Calling {
        Calling {
            shared: self.shared.clone(),
            events: self.events(),
        }
    }
}

impl Calling {
    /// Campaigns from now on and tells `each` what happens, in order, until the elector has ended. The term in
    /// [`ElectorEvent::Elected`] is a view: the term is held here, and let go of when `each` has returned from its
    /// [`ElectorEvent::Lost`], which is what a drain waits for.
    ///
    /// Dropping the future lets go of the term and stops campaigning. Any executor. In a child that `each` forked, it is
    /// not called again.
    pub fn each<F: FnMut(ElectorEvent) + Send>(self, mut each: F) -> impl Future<Output = ()> + Send + use<F> {
        let Calling { shared, mut events } = self;
        async move {
            let _wanting = shared.want();
            let mut held: Option<Term> = None;
            // The token of the term that was told of last, until its loss was.
            let mut told = None;
            let mut over = false;
            loop {
                let untold = held.as_ref().filter(|term| told != Some(term.token())).map(Term::handle);
                tokio::select! {
                    biased;
                    event = events.next() => {
                        let Some(event) = event else { return };
                        let lost = matches!(event, ElectorEvent::Lost(_));
                        if let ElectorEvent::Elected(term) = &event {
                            told = Some(term.token());
                        }
                        each(event);
                        if shared.client().forked() {
                            std::future::pending::<()>().await;
                        }
                        if lost {
                            held = held.filter(|term| told != Some(term.token()));
                            told = None;
                        }
                    }
                    term = next_term(shared.clone()), if held.is_none() && !over => match term {
                        Ok(Some(term)) => held = Some(term),
                        Ok(None) | Err(_) => over = true, // the last event says how
                    },
                    // Lost before anybody was told of it, and nobody will be.
                    () = lost(untold.as_ref()), if untold.is_some() => held = None,
                }
            }
        }
    }
}

async fn lost(term: Option<&TermHandle>) {
    if let Some(term) = term {
        term.lost().await;
    }
}
