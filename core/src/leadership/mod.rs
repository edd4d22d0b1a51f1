//! Full control of one single-key election, step by step, as the TiKV PD election package gives it.
//! Owns the handle and its local state; standing is `candidate`'s, winning `campaign`'s, writing `guarded`'s, leaving `release`'s outside.

mod campaign;
mod candidate;
mod events;
mod giving_up;
mod guarded;
mod handle;
mod history;
mod proclaim;
mod watch;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::client::Client;
use crate::error::{Error, Reason, Result, show};
use crate::io::Io;
use crate::lease::Lease;
use crate::options::{CampaignOptions, LeadershipOptions};
use crate::protocol;
use crate::resets::{Resets, Since};
use crate::release;
use crate::term::{Released, TermShared};

pub(crate) use candidate::{Candidate, Source, Stand};
pub use events::{TermEvent, TermEvents};
pub use guarded::GuardedTxn;
pub use handle::TermHandle;
pub(crate) use proclaim::proclaim;
pub(crate) use giving_up::Alone;
use history::History;
pub use watch::WatchEnd;

/// One contender of the single-key election of one key. Every step is in the caller's hands: campaign, keep, check,
/// write, watch, reset. Usable from any thread; share it by `Arc`. Dropping it ends its term and queues the release
/// of what it holds.
#[must_use = "dropping a leadership gives its term up"]
pub struct Leadership {
    pub(crate) shared: Arc<LeadershipShared>,
}

/// What the handle and its tasks on the I/O thread share.
pub(crate) struct LeadershipShared {
    pub(crate) id: u64,
    pub(crate) client: Client,
    pub(crate) key: protocol::Key,
    pub(crate) options: Manner,
    /// The last term, ended or not. Read without a lock: `check` is a hot path.
    pub(crate) term: ArcSwapOption<TermShared>,
    /// The same for those who wait for terms; made when the first one asks.
    terms: OnceLock<tokio::sync::watch::Sender<Option<Arc<TermShared>>>>,
    primary: AtomicBool,
    /// Whether a campaign is under way: [`IDLE`], [`WANTED`] or [`GIVEN_UP`].
    campaigning: AtomicU8,
    state: Mutex<State>,
    /// Bumped by everything that ends what is under way.
    pub(crate) resets: Arc<Resets>,
}

/// What of the options is asked for again and again: there is one for each leadership.
pub(crate) struct Manner {
    pub(crate) purpose: Arc<str>,
    pub(crate) takeover_delay: Duration,
    pub(crate) step_down_margin: Option<Duration>,
}

/// What only the callers' threads touch, and never for long.
pub(crate) struct State {
    value: Vec<u8>,
    /// The own lease of the last term: it lives as long as that term, whatever the caller sets for the next.
    lease: Option<Lease>,
    /// Handed in by the caller for the next campaigns, and never revoked here.
    set: Option<Lease>,
    pub(crate) history: History,
}

impl LeadershipShared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the campaign or the watch under way, if any.
    pub(crate) fn cancel_campaign(&self) {
        self.give_campaign_up();
        self.resets.reset();
    }

    /// The campaign under way will not be waited for: the next one may wait for its end.
    fn give_campaign_up(&self) {
        let _ = self.campaigning.compare_exchange(WANTED, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
    }

    /// One campaign at a time. One that is being given up is waited for, as long as a call may take.
    pub(crate) async fn campaigning(self: &Arc<Self>, io: &Io) -> Result<Campaigning> {
        let until = tokio::time::Instant::now() + io.etcd.timeout;
        loop {
            match self.campaigning.compare_exchange(IDLE, WANTED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Campaigning(self.clone())),
                Err(GIVEN_UP) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(GIVEN_UP) => {
                    let key = show(&self.key);
                    return Err(Error::unavailable(format!("the last campaign for {key} is still being given up")));
                }
                Err(_) => {
                    let key = show(&self.key);
                    let message = format!("another campaign of this leadership for {key} is under way");
                    return Err(Error::unavailable(message));
                }
            }
        }
    }

    /// False, and nothing has begun, if the campaign was ended meanwhile: under the lock, so that either this sees
    /// the reset or the reset sees the term.
    fn begin(&self, term: &Arc<TermShared>, resets: &Since) -> bool {
        let state = self.state();
        if resets.happened() {
            return false;
        }
        self.term.store(Some(term.clone()));
        drop(state);
        if let Some(terms) = self.terms.get() {
            terms.send_replace(Some(term.clone()));
        }
        true
    }

    fn handle(&self, shared: Arc<TermShared>) -> TermHandle {
        TermHandle {
            shared,
            client: self.client.clone(),
        }
    }
}

/// No campaign is under way.
const IDLE: u8 = 0;
/// One is, and its caller waits for it.
const WANTED: u8 = 1;
/// One is, and nobody waits for it any more: it is being undone.
const GIVEN_UP: u8 = 2;

static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// A number for who watches a key, never used twice in a process.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("key", &show(self.key()))
            .field("purpose", &self.purpose())
            .field("term", &self.shared.term.load_full())
            .finish()
    }
}

impl Leadership {
    /// A contender for `key`. Nothing is sent.
    ///
    /// # Errors
    /// `InvalidArgument` (`key`: empty or reserved), `Closed`, `Forked`.
    pub fn new(client: &Client, key: impl Into<Vec<u8>>, purpose: impl Into<String>) -> Result<Leadership> {
        Leadership::with_options(client, key, LeadershipOptions::default().purpose(purpose))
    }

    /// [`new`](Self::new) with every option.
    ///
    /// # Errors
    /// `InvalidArgument` names the option; `Closed`, `Forked`.
    pub fn with_options(client: &Client, key: impl Into<Vec<u8>>, options: LeadershipOptions) -> Result<Leadership> {
        let key = key.into();
        protocol::check_election_key(&key)?;
        options.validate()?;
        client.ensure_usable()?;
        let any = key.clone();
        client.send(move |io| *io.etcd.any_key.borrow_mut() = any);
        Ok(Leadership {
            shared: Arc::new(LeadershipShared {
                id: next_id(),
                client: client.clone(),
                key: key.into(),
                primary: AtomicBool::new(options.primary_watch),
                state: Mutex::new(State {
                    value: Vec::new(),
                    lease: None,
                    set: None,
                    history: History::new(options.campaign_window),
                }),
                options: Manner {
                    purpose: options.purpose,
                    takeover_delay: options.takeover_delay,
                    step_down_margin: options.step_down_margin,
                },
                term: ArcSwapOption::empty(),
                terms: OnceLock::new(),
                campaigning: AtomicU8::new(IDLE),
                resets: Arc::default(),
            }),
        })
    }

    /// Tries to take the key, once, and returns the term if this contender leads. Grants a lease (or uses the one of
    /// [`set_lease`](Self::set_lease)), registers, and takes the absent key in one transaction together with the
    /// caller's compares. The term starts only after the takeover delay (S15) and on a fresh proof (S4); it lives
    /// until the lease's deadline, and longer once [`keep`](Self::keep) is called.
    ///
    /// After a failed campaign the next one waits for a jittered back-off (50 ms → 2 s).
    ///
    /// Cancel-safe: a dropped future leaves no key and no lease behind (S8), at the latest one TTL after etcd can be
    /// reached again.
    ///
    /// # Errors
    /// `NotElected` (who holds the key), `CompareFailed` (one of the caller's compares), `InvalidArgument`,
    /// `Unavailable` (also while another campaign of this leadership is under way; one that is being given up is waited
    /// for, as long as a request may take), `Timeout`,
    /// `PermissionDenied`, `Cancelled` (by a reset), `ClusterChanged`, `Closed`, `Forked`.
    pub async fn campaign(&self, options: CampaignOptions) -> Result<TermHandle> {
        self.shared.client.ensure_usable()?;
        options.validate()?;
        let set = self.set_lease_of_caller();
        let ttl = set.as_ref().map_or(options.ttl, Lease::ttl);
        crate::options::step_down_margin(self.shared.options.step_down_margin, ttl, self.shared.client.validity())?;
        let lead = self.shared.clone();
        // From the call on: a reset may come before the I/O thread has looked at this.
        let resets = lead.resets.since();
        let waiting = Waiting(&self.shared);
        let won = self
            .shared
            .client
            .run(move |io, cancel| async move {
                // Until it has ended, whether or not anybody waits for it.
                let _running = lead.campaigning(&io).await?;
                campaign::campaign(io, lead, options, set, resets, cancel).await
            })
            .await;
        std::mem::forget(waiting);
        let won = won?;
        let term = won.take().ok_or_else(|| Error::internal("a campaign was won without a term"))?;
        Ok(self.shared.handle(term))
    }

    /// Renews the term's lease in the background until a reset, a loss or the client's end. Idempotent; returns at
    /// once.
    ///
    /// # Errors
    /// `NotLeader` without a valid term, `Closed`, `Forked`.
    pub fn keep(&self) -> Result<()> {
        let term = self.valid_term()?;
        let lease = term.shared.lease.clone();
        self.shared.client.send(move |io| io.keep_alive(&lease));
        Ok(())
    }

    /// True only between a proven win and the deadline. A local read of tens of nanoseconds: no lock, no I/O.
    #[inline]
    #[must_use]
    pub fn check(&self) -> bool {
        self.shared.term.load().as_ref().is_some_and(|term| term.deadline.valid())
    }

    /// The current term, or the last one when it has ended; `None` before the first.
    #[must_use]
    pub fn term(&self) -> Option<TermHandle> {
        Some(self.shared.handle(self.shared.term.load_full()?))
    }

    /// What happens to the terms from now on: elected (also for a term that runs already), jeopardy, secured, lost.
    #[must_use]
    pub fn events(&self) -> TermEvents {
        TermEvents::new(&self.shared)
    }

    /// A transaction guarded by the current term; see [`GuardedTxn`].
    ///
    /// # Errors
    /// `NotLeader` without a valid term, `Closed`, `Forked`.
    pub fn txn(&self) -> Result<GuardedTxn> {
        Ok(self.valid_term()?.txn())
    }

    /// The current term, which is valid.
    ///
    /// # Errors
    /// `NotLeader` without a valid term, `Closed`, `Forked`.
    pub fn valid_term(&self) -> Result<TermHandle> {
        self.shared.client.ensure_usable()?;
        let term = self.term().ok_or_else(|| Error::not_leader(self.key(), None))?;
        term.ensure_valid()?;
        Ok(term)
    }

    /// Not leader at once, when this is called and not when it is awaited; also ends a campaign or watch under way.
    /// Then deletes the key with the mark that saves the successor the takeover delay, and revokes the lease. Awaiting
    /// the answer waits for the key; dropping it stops nothing.
    ///
    /// # Errors
    /// `Timeout`, `Unavailable` when etcd did not confirm within the request timeout: it goes on in the background,
    /// and calling this again waits for it again. `Closed`, `Forked`.
    pub fn reset(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.leave(Reason::Resigned)
    }

    fn leave(&self, reason: Reason) -> impl Future<Output = Result<()>> + Send + use<> {
        let usable = self.shared.client.ensure_usable();
        let term = {
            // See `begin`; in a forked child nobody may ever unlock it.
            let _state = usable.is_ok().then(|| self.shared.state());
            if usable.is_ok() {
                self.shared.cancel_campaign();
            }
            self.shared.term.load_full()
        };
        if let Some(term) = &term {
            term.deadline.end(reason);
        }
        let client = self.shared.client.clone();
        let released = client.run(move |io, _| async move { release::released(&io, term).await });
        async move {
            usable?;
            released.await
        }
    }

    /// Deletes the leader key of the own term, which ends with it (as [`reset`](Self::reset), but the lease of
    /// [`set_lease`](Self::set_lease) stays). A key that is gone already is success. The term ends when this is called,
    /// not when it is awaited.
    ///
    /// # Errors
    /// `NotLeader` if there never was a term, or the key is another's by now; else as [`reset`](Self::reset).
    pub fn delete_leader_key(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let led = self.shared.client.ensure_usable().and_then(|()| {
            let term = self.shared.term.load_full();
            term.ok_or_else(|| Error::not_leader(self.key(), None))
        });
        let left = led.is_ok().then(|| self.leave(Reason::Resigned));
        let lead = self.shared.clone();
        async move {
            let term = led?;
            if let Some(left) = left {
                left.await?;
            }
            match term.released.get() {
                Released::Anothers => Err(Error::not_leader(&lead.key, term.deadline.lost())),
                _ => Ok(()),
            }
        }
    }

    /// Deletes the leader key if nobody has written it since `revision` (its MOD revision). Absent is success.
    ///
    /// # Errors
    /// `NotElected` if the key was written since (who holds it now), `InvalidArgument` (`revision` ≤ 0),
    /// `OutcomeUnknown`, `Unavailable`, `PermissionDenied`, `Closed`, `Forked`.
    pub async fn delete_leader_key_at(&self, revision: i64) -> Result<()> {
        if revision <= 0 {
            return Err(Error::invalid("revision", format!("{revision} is not above 0")));
        }
        let key = self.shared.key.clone();
        self.shared
            .client
            .run(move |io, _| async move { release::delete_at(&io, &key, revision).await })
            .await
    }

    /// Waits until the leader that was seen at `revision` (its MOD revision; 0 = whoever holds the key now) no longer
    /// holds the key, and says why it ended. A delete that was missed or compacted away is found by reading (S11).
    /// Cancel-safe.
    ///
    /// # Errors
    /// `InvalidArgument` (`revision` < 0), `PermissionDenied`, `Closed` if the client was closed before, `Forked`.
    pub async fn watch(&self, revision: i64) -> Result<WatchEnd> {
        if revision < 0 {
            return Err(Error::invalid("revision", format!("{revision} is below 0")));
        }
        let lead = self.shared.clone();
        // From the call on: a reset may come before the I/O thread has looked at this.
        let resets = lead.resets.since();
        self.shared
            .client
            .run(move |io, cancel| watch::watch(io, lead, revision, resets, cancel))
            .await
    }

    /// Campaigns with this lease from now on (one lease may carry many elections); `None` grants a fresh one each time
    /// again. It is never revoked here. A lease whose key was not seen deleted at the end of a term is not campaigned
    /// with again (S10).
    ///
    /// # Errors
    /// `InvalidArgument` (`lease`) if it belongs to another client; `Forked`.
    pub fn set_lease(&self, lease: Option<Lease>) -> Result<()> {
        if self.shared.client.forked() {
            return Err(Error::Forked);
        }
        if lease.as_ref().is_some_and(|lease| !lease.client().is_same(&self.shared.client)) {
            return Err(Error::invalid("lease", "belongs to another client"));
        }
        let previous = std::mem::replace(&mut self.shared.state().set, lease);
        drop(previous); // may queue its revoke
        Ok(())
    }

    fn set_lease_of_caller(&self) -> Option<Lease> {
        self.shared.state().set.clone()
    }

    /// The lease of the current term, or the one that was set; `None` in a forked child.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        let state = self.unforked_state()?;
        let current = state.lease.as_ref().filter(|lease| !lease.is_expired());
        current.or(state.set.as_ref()).or(state.lease.as_ref()).cloned()
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.shared.key
    }

    /// The value of the last campaign; empty before the first, and in a forked child.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        self.unforked_state().map(|state| state.value.clone()).unwrap_or_default()
    }

    /// `None` in a forked child: there nobody may ever unlock it (S12).
    fn unforked_state(&self) -> Option<MutexGuard<'_, State>> {
        (!self.shared.client.forked()).then(|| self.shared.state())
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.shared.options.purpose
    }

    /// Counts a campaign in the history. The caller says when (the reference's frequency limiter).
    pub fn add_campaign_times(&self) {
        let now = self.shared.client.clock().now();
        if let Some(mut state) = self.unforked_state() {
            state.history.add(now);
        }
    }

    /// How many campaigns were counted within the window (default 5 min); 0 in a forked child.
    #[must_use]
    pub fn campaign_times_num(&self) -> usize {
        let now = self.shared.client.clock().now();
        self.unforked_state().map_or(0, |mut state| state.history.count(now))
    }

    /// Forgets the campaigns counted.
    pub fn reset_campaign_times(&self) {
        if let Some(mut state) = self.unforked_state() {
            state.history.reset();
        }
    }

    /// A primary watch also ends on an overwrite.
    pub fn set_primary_watch(&self, primary: bool) {
        self.shared.primary.store(primary, Ordering::Release);
    }

    /// See [`set_primary_watch`](Self::set_primary_watch).
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.shared.primary.load(Ordering::Acquire)
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        if self.shared.client.forked() {
            // A lock inside may have been held by a thread that does not exist in the child: nothing of it is dropped.
            std::mem::forget(self.shared.clone());
            return;
        }
        drop(self.leave(Reason::Resigned));
        let id = self.shared.id;
        self.shared.client.send(move |io| io.forget(id));
    }
}

/// A campaign under way, until dropped.
pub(crate) struct Campaigning(Arc<LeadershipShared>);

impl Drop for Campaigning {
    fn drop(&mut self) {
        self.0.campaigning.store(IDLE, Ordering::Release);
    }
}

/// A caller that waits for its campaign. Dropped, it does not any more.
struct Waiting<'a>(&'a LeadershipShared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.give_campaign_up();
    }
}
