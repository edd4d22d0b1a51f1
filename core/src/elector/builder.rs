//! What an elector is made with, checked when it starts.
//! Owns the options and their defaults; the rules that margins must fit are `options`'.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::shared::{Order, Shared};
use super::{Elector, Term, drive, health};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::leadership::Leadership;
use crate::options::{CampaignOptions, DEFAULT_TTL, LeadershipOptions, step_down_margin, ttl_secs};
use crate::protocol;
use crate::queue;
use crate::shared_lease::{Claim, SharedLease};

/// How long a drain may take.
const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

/// A health check of the user's: an error says what is wrong.
pub(super) type Check = Arc<dyn Fn() -> std::result::Result<(), String> + Send + Sync>;

/// The kind of election. Both are compatible on the wire with what others deploy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// The leader key itself, as the PD election package has it. Candidates have priorities, a leader can hand over to
    /// one of them.
    #[default]
    SingleKey,
    /// The key is a prefix, and candidates wait in line under it, as etcd's own clients do: first come, first served.
    Queue,
}

/// The options of an [`Elector`].
#[must_use]
pub struct ElectorBuilder {
    client: Client,
    key: Vec<u8>,
    pub(super) options: ElectorOptions,
    leadership: LeadershipOptions,
    mode: Mode,
    lease: Option<SharedLease>,
}

pub(super) struct ElectorOptions {
    pub(super) campaign: CampaignOptions,
    pub(super) ttl: Duration,
    pub(super) drain: Duration,
    pub(super) cool_down: Option<Duration>,
    pub(super) limit: usize,
    pub(super) priority: i64,
    pub(super) warm: bool,
    pub(super) take_back: bool,
    pub(super) health: Option<Check>,
    pub(super) health_age: Option<Duration>,
    /// Ends with its first term.
    pub(super) once: bool,
    /// Campaigns with this lease, which is not its own.
    pub(super) lease: Option<Claim>,
}

impl ElectorBuilder {
    pub(super) fn new(client: &Client, key: Vec<u8>) -> ElectorBuilder {
        ElectorBuilder {
            client: client.clone(),
            key,
            options: ElectorOptions {
                campaign: CampaignOptions::new(""),
                ttl: DEFAULT_TTL,
                drain: DEFAULT_DRAIN,
                cool_down: None,
                limit: 3,
                priority: 0,
                warm: true,
                take_back: false,
                health: None,
                health_age: None,
                once: false,
                lease: None,
            },
            leadership: LeadershipOptions::default(),
            mode: Mode::default(),
            lease: None,
        }
    }

    /// What the others see of the leader, any bytes: its address, say. Default: nothing.
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.options.campaign.value = value.into();
        self
    }

    /// The TTL to ask for (default 5 s); rounded up to whole seconds, and etcd may raise it.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }

    /// The kind of election (default: the single key).
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Campaigns with a lease that other electors of this client use too, instead of one of its own: one renewal for all.
    /// Its TTL is the elector's, [`ttl`](Self::ttl) counts for nothing. With a failing health check this elector gives
    /// up its term, and the lease goes on.
    pub fn lease(mut self, lease: &SharedLease) -> Self {
        self.lease = Some(lease.clone());
        self
    }

    /// What the election is for; appears in logs and errors.
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.leadership = self.leadership.purpose(purpose);
        self
    }

    /// How long a winner waits when the key went without its holder's word (default 100 ms; S15).
    pub fn takeover_delay(mut self, delay: Duration) -> Self {
        self.leadership = self.leadership.takeover_delay(delay);
        self
    }

    /// How long before the deadline a term is lost (default TTL/10, at least 100 ms; S9).
    pub fn step_down_margin(mut self, margin: Duration) -> Self {
        self.leadership = self.leadership.step_down_margin(margin);
        self
    }

    /// How long a term that was given up in order is renewed on for its holder to finish (default 10 s; S9).
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain = timeout;
        self
    }

    /// How long not to campaign after a term was given up while it was valid, so that others win (default TTL/5).
    pub fn cool_down(mut self, pause: Duration) -> Self {
        self.options.cool_down = Some(pause);
        self
    }

    /// How many terms may be lost against this process's will within the campaign window before it holds back for a
    /// TTL each time (default 3; the window is 5 min).
    pub fn campaign_limit(mut self, terms: usize) -> Self {
        self.options.limit = terms;
        self
    }

    /// Candidates of higher priority take a vacant key first (default 0). A lower one yields by a short delay, never more
    /// than a quarter of the TTL: it does not wait for who is not there.
    pub fn priority(mut self, priority: i64) -> Self {
        self.options.priority = priority;
        self
    }

    /// Whether to hand over, as a leader, to a candidate of higher priority that stands (default: no). Looked for every 15 s
    /// or so; the term drains as in any hand-over. Without it a preferred process waits until the leader goes.
    pub fn take_back(mut self, yields: bool) -> Self {
        self.options.take_back = yields;
        self
    }

    /// Whether to hold a granted, registered lease while another leads (default: yes). So a vacant key is taken in one
    /// transaction, and the leader can hand over to this candidate; it costs a renewal every TTL/2.5.
    pub fn warm(mut self, warm: bool) -> Self {
        self.options.warm = warm;
        self
    }

    /// A check that must have succeeded recently for this process to campaign and for its lease to be renewed: a
    /// leader whose disk hangs must not stay leader because a healthy thread renews for it. It runs on a thread of its
    /// own, several times a TTL, and may block: that counts as not succeeding.
    pub fn health_check(mut self, check: impl Fn() -> std::result::Result<(), String> + Send + Sync + 'static) -> Self {
        self.options.health = Some(Arc::new(check));
        self
    }

    /// How old the last success of the health check may be (default, and at most, TTL/2).
    pub fn health_age(mut self, age: Duration) -> Self {
        self.options.health_age = Some(age);
        self
    }

    /// One shot: campaigns, as long as it takes, until this process leads. The term ends the elector behind it, and
    /// the loss of the term does: there is no second one.
    ///
    /// Cancel-safe: a dropped future leaves nothing behind (S8).
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`next_term`](Elector::next_term); `Closed`.
    pub async fn lead(mut self) -> Result<Term> {
        self.options.once = true;
        let elector = self.start()?;
        let term = elector.next_term().await?.ok_or(Error::Closed)?;
        Ok(term.keeping(elector))
    }

    /// Checks the options and starts the loop. No I/O, and nothing campaigns before somebody wants a term.
    ///
    /// # Errors
    /// `InvalidArgument` names the option (`lease`: of another client, or another elector contends for this key with it);
    /// `Closed`, `Forked`; `Internal` if the health check's thread cannot start.
    pub fn start(self) -> Result<Elector> {
        let ElectorBuilder { client, key, mut options, leadership, mode, lease } = self;
        if let Some(lease) = &lease {
            if !lease.client().is_same(&client) {
                return Err(Error::invalid("lease", "belongs to another client"));
            }
            options.ttl = lease.ttl();
        }
        options.campaign = options.campaign.ttl(options.ttl);
        options.campaign.validate()?;
        // As granted later, unless etcd raises it.
        let ttl = Duration::from_secs(u64::try_from(ttl_secs(options.ttl)?).unwrap_or(0));
        options.ttl = ttl;
        step_down_margin(leadership.step_down_margin, ttl, client.validity())?;
        let limit = Duration::from_secs(86_400);
        for (name, value) in [("drain_timeout", Some(options.drain)), ("cool_down", options.cool_down)] {
            if value.is_some_and(|value| value > limit) {
                return Err(Error::invalid(name, format!("{value:?} is above {limit:?}")));
            }
        }
        let age = options.health_age.unwrap_or(ttl / 2);
        if age > ttl / 2 || age < Duration::from_millis(10) {
            return Err(Error::invalid("health_age", format!("{age:?} is not between 10 ms and half the TTL of {ttl:?}")));
        }
        let queue = match mode {
            Mode::SingleKey => None,
            Mode::Queue => {
                protocol::check_queue_prefix("key", &key)?;
                if options.priority != 0 {
                    return Err(Error::invalid("priority", "a queue knows none: first come, first served"));
                }
                if options.take_back {
                    return Err(Error::invalid("take_back", "a queue knows no priorities"));
                }
                Some(Arc::new(queue::Shared::new(&client, key.as_slice().into(), leadership.clone())))
            }
        };
        // In a queue it never campaigns: it lends its name, its history and its end.
        let lead = Leadership::with_options(&client, key, leadership)?;
        options.lease = lease.map(|lease| lease.claim(lead.key())).transpose()?;
        let (shared, orders) = Shared::new(lead, queue, options);
        if let Some(check) = shared.options.health.clone() {
            health::start(&shared, check, age)?;
        }
        let driven = shared.clone();
        client.begin_loop();
        client.send(move |io| {
            let elector = Arc::downgrade(&driven);
            let end = move || {
                let (told, ended) = oneshot::channel();
                elector.upgrade()?.send(Order::Close(told)).ok()?;
                Some(ended)
            };
            io.loops.borrow_mut().insert(driven.lead.shared.id, Box::new(end));
            tokio::task::spawn_local(drive::drive(io.clone(), driven, orders));
        });
        Ok(Elector { shared })
    }
}
