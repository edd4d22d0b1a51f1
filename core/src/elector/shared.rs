//! What an elector's loop and its callers share: where it stands, the term on offer, who wants one, and orders.
//! Owns handing a term to exactly one caller; deciding anything is `drive`'s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch::{self, Ref};
use tokio::sync::{mpsc, oneshot};

use super::builder::ElectorOptions;
use super::handing::HandOver;
use super::health::Health;
use crate::client::Client;
use crate::clock::BootTime;
use crate::error::{Error, Reason, Result};
use crate::leadership::Leadership;
use crate::options::CampaignOptions;
use crate::protocol::Leader;
use crate::queue;
use crate::term::TermShared;

/// Where an elector's loop stands. Numbers are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum ElectorState {
    /// Does not campaign: another leads, nobody wants a term, or it holds back.
    Follower = 1,
    /// A campaign is under way.
    Campaigning = 2,
    /// Holds the key, and waits the takeover delay (S15).
    Delayed = 3,
    /// Leads.
    Leading = 4,
    /// Leads, but renewals are not confirmed.
    Jeopardy = 5,
    /// The term is lost by its own word, and renewed until its holder lets go of it (S9).
    Draining = 6,
    /// The election is paused.
    Paused = 7,
    /// Ended for good.
    Stopped = 8,
}

impl ElectorState {
    /// Every state, in the order of the numbers.
    pub const ALL: [ElectorState; 8] = [
        ElectorState::Follower,
        ElectorState::Campaigning,
        ElectorState::Delayed,
        ElectorState::Leading,
        ElectorState::Jeopardy,
        ElectorState::Draining,
        ElectorState::Paused,
        ElectorState::Stopped,
    ];

    /// The name used in `--json` and in every language.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ElectorState::Follower => "follower",
            ElectorState::Campaigning => "campaigning",
            ElectorState::Delayed => "delayed",
            ElectorState::Leading => "leading",
            ElectorState::Jeopardy => "jeopardy",
            ElectorState::Draining => "draining",
            ElectorState::Paused => "paused",
            ElectorState::Stopped => "stopped",
        }
    }
}

/// The level of the loop, for everybody who reads or waits.
#[derive(Clone)]
pub(super) struct Level {
    pub(super) state: ElectorState,
    /// The term that is led, or was last.
    pub(super) term: Option<Arc<TermShared>>,
    /// Who leads, by the watched key; the outer `None`: nothing was heard yet.
    pub(super) heard: bool,
    pub(super) leader: Option<Leader>,
    /// Why the health check does not hold.
    pub(super) unhealthy: Option<String>,
    pub(super) ended: Option<Result<()>>,
}

impl Level {
    /// Before anything has happened.
    pub(super) fn new() -> Level {
        Level {
            state: ElectorState::Follower,
            term: None,
            heard: false,
            leader: None,
            unhealthy: None,
            ended: None,
        }
    }
}

/// What a caller wants of the loop.
pub(super) enum Order {
    Resign(oneshot::Sender<Result<()>>),
    /// The value has changed.
    Proclaimed,
    /// Hand the key of the term that is led to a candidate.
    HandOver(HandOver),
    Close(oneshot::Sender<Result<()>>),
    /// The elector is gone: as closing, and nobody waits.
    Dropped,
    /// The holder of a term let go of it.
    Returned,
}

/// The loop's end of the orders. Boxed one by one: a channel makes room for 32 at once, and hardly any elector gets two.
pub(super) struct Orders(mpsc::UnboundedReceiver<Box<Order>>);

impl Orders {
    /// The next one; `None`: nobody is left to give one. Cancel-safe.
    pub(super) async fn recv(&mut self) -> Option<Order> {
        self.0.recv().await.map(|order| *order)
    }
}

/// Whose a won term is.
#[derive(Default)]
struct Slot {
    /// Won, and nobody's yet.
    offered: Option<Arc<TermShared>>,
    /// Handed out, and not let go of yet.
    held: Option<Arc<TermShared>>,
}

pub(super) struct Shared {
    pub(super) lead: Leadership,
    /// In a queue, whose prefix is the key.
    pub(super) queue: Option<Arc<queue::Shared>>,
    pub(super) options: ElectorOptions,
    pub(super) level: watch::Sender<Level>,
    orders: mpsc::UnboundedSender<Box<Order>>,
    slot: Mutex<Slot>,
    /// How many wait for a term, and when the last one that gave up waiting did.
    pub(super) wanted: watch::Sender<Wanted>,
    /// The value of the next campaigns, and of the term that is led once it is proclaimed there.
    pub(super) value: watch::Sender<Vec<u8>>,
    /// What the health check said last; without one, always well.
    pub(super) health: watch::Sender<Health>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) callers: usize,
    pub(super) last: BootTime,
    /// An operator has paused the election: whoever wants a term, none is to be had.
    pub(super) paused: bool,
}

impl Wanted {
    /// Who polls for a term with a short timeout still wants one between two polls.
    pub(super) fn until(self, ttl: Duration) -> BootTime {
        match self {
            Wanted { paused: true, .. } => BootTime::default(),
            Wanted { callers: 0, last, .. } => last.after(ttl),
            _ => BootTime(u64::MAX),
        }
    }
}

impl Shared {
    pub(super) fn new(
        lead: Leadership,
        queue: Option<Arc<queue::Shared>>,
        options: ElectorOptions,
    ) -> (Arc<Shared>, Orders) {
        let (orders, inbox) = mpsc::unbounded_channel();
        let health = if options.health.is_some() { Health::Unknown } else { Health::WellUntil(BootTime(u64::MAX)) };
        let shared = Shared {
            value: watch::Sender::new(options.campaign.value.clone()),
            lead,
            queue,
            options,
            level: watch::Sender::new(Level::new()),
            orders,
            slot: Mutex::default(),
            wanted: watch::Sender::new(Wanted::default()),
            health: watch::Sender::new(health),
        };
        (Arc::new(shared), Orders(inbox))
    }

    pub(super) fn client(&self) -> &Client {
        self.lead.client()
    }

    /// The level, for whoever only looks; none in a forked child, where it may be locked for ever (S12).
    pub(super) fn level(&self) -> Option<Ref<'_, Level>> {
        (!self.client().forked()).then(|| self.level.borrow())
    }

    /// What the next campaign is made with.
    pub(super) fn campaign_options(&self) -> CampaignOptions {
        let value = self.value.borrow().clone();
        CampaignOptions {
            value,
            ..self.options.campaign.clone()
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An order for the loop.
    pub(super) fn send(&self, order: Order) -> Result<()> {
        self.orders.send(Box::new(order)).map_err(|_| Error::Closed)
    }

    /// Counts as a caller that waits for a term until it is dropped.
    pub(super) fn want(self: &Arc<Self>) -> Wanting {
        self.wanted.send_modify(|wanted| wanted.callers += 1);
        Wanting { el: self.clone(), served: false }
    }

    pub(super) fn offer(&self, term: &Arc<TermShared>) {
        self.slot().offered = Some(term.clone());
    }

    /// The term on offer, if it is still worth having; from now on it is held.
    pub(super) fn take_offer(&self) -> Option<Arc<TermShared>> {
        let mut slot = self.slot();
        let term = slot.offered.take()?;
        if term.deadline.lost().is_some() {
            return None;
        }
        slot.held = Some(term.clone());
        Some(term)
    }

    /// Is the term still on offer? Then nobody has to be waited for.
    pub(super) fn withdraw(&self) -> bool {
        self.slot().offered.take().is_some()
    }

    pub(super) fn is_offered(&self, term: &TermShared) -> bool {
        self.slot().offered.as_ref().is_some_and(|offered| offered.id == term.id)
    }

    pub(super) fn is_held(&self, term: &TermShared) -> bool {
        self.slot().held.as_ref().is_some_and(|held| held.id == term.id)
    }

    /// Its holder lets go of a term: authority ends at once, the loop does the rest.
    pub(super) fn give_back(&self, term: &Arc<TermShared>) {
        {
            let mut slot = self.slot();
            if slot.held.as_ref().is_some_and(|held| held.id == term.id) {
                slot.held = None;
            }
        }
        term.deadline.end(Reason::Resigned);
        let _ = self.send(Order::Returned);
    }

    pub(super) fn ended(&self) -> Option<Result<()>> {
        self.level.borrow().ended.clone()
    }
}

/// A caller that waits for a term.
pub(super) struct Wanting {
    el: Arc<Shared>,
    /// It got one.
    served: bool,
}

impl Wanting {
    /// It got its term: nothing is wanted any more.
    pub(super) fn served(mut self) {
        self.served = true;
    }
}

impl Drop for Wanting {
    fn drop(&mut self) {
        if self.el.client().forked() {
            return; // who waited did so in the parent
        }
        let now = self.el.client().clock().now();
        self.el.wanted.send_modify(|wanted| {
            wanted.callers -= 1;
            if !self.served {
                wanted.last = now;
            }
        });
    }
}
