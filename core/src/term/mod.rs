//! A term: one uninterrupted reign, checked in nanoseconds and lost once and for all.
//! Owns what a term is and says of itself; extending it is the renewals', ending it with the key the leadership's.

mod cell;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{BootTime, Clock};
use crate::error::{Error, Reason, Result, show};
use crate::lease::LeaseShared;
use crate::pages::Slot;
use crate::protocol::Guard;

impl cell::Word for Slot {
    #[inline]
    fn load(&self) -> u64 {
        AtomicU64::load(self, Ordering::Acquire)
    }

    #[inline]
    fn replace(&self, current: u64, new: u64) -> std::result::Result<(), u64> {
        self.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }
}

/// What a term says of itself, as the last announcement left it. Ask [`TermHandle::is_valid`] before an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TermState {
    /// Renewals are confirmed in time.
    Leading,
    /// No renewal was confirmed for two renewal intervals, but the deadline has not come.
    Jeopardy,
    /// The term was lost. Final.
    Lost(Reason),
}

/// A deadline in a page that a fork wipes, with the clock it is read against.
pub(crate) struct Deadline {
    word: Slot,
    clock: Clock,
    margin: u64,
    /// The machine's suspended time when the deadline was last set: tells a suspend from missed renewals.
    suspended: AtomicU64,
}

impl Deadline {
    pub(crate) fn start(word: Slot, clock: Clock, margin: Duration, at: BootTime) -> Deadline {
        word.store(cell::start(at.0), Ordering::Release);
        Deadline {
            suspended: AtomicU64::new(clock.suspended()),
            word,
            clock,
            margin: u64::try_from(margin.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    #[inline]
    pub(crate) fn valid(&self) -> bool {
        cell::valid(&self.word, || self.clock.now().0, |deadline| self.why_passed(deadline))
    }

    #[inline]
    pub(crate) fn lost(&self) -> Option<Reason> {
        let reason = cell::lost(&self.word, self.margin, || self.clock.now().0, |deadline| self.why_passed(deadline))?;
        // A word that a fork wiped has no reason.
        Some(Reason::from_number(reason).unwrap_or(Reason::Forked))
    }

    /// The deadline, zero once ended.
    pub(crate) fn at(&self) -> BootTime {
        BootTime(cell::view(cell::Word::load(&self.word)).deadline)
    }

    /// When `lost` will be latched if nothing extends it.
    pub(crate) fn lost_at(&self) -> BootTime {
        BootTime(self.at().0.saturating_sub(self.margin))
    }

    pub(crate) fn set(&self, at: BootTime) -> bool {
        // Before the deadline moves, so that a reader who finds it passed compares with the right one.
        let before = self.suspended.swap(self.clock.suspended(), Ordering::AcqRel);
        let done = cell::set_deadline(&self.word, at.0, self.margin, || self.clock.now().0);
        if !done {
            self.suspended.store(before, Ordering::Release);
        }
        done
    }

    pub(crate) fn end(&self, reason: Reason) -> bool {
        cell::end(&self.word, reason as u8)
    }

    pub(crate) fn forked(&self) -> bool {
        self.word.forked()
    }

    pub(crate) fn remaining(&self) -> Duration {
        self.at().since(self.clock.now())
    }

    /// Passed by a suspend, if it would not have passed without the time that the machine slept since it was set.
    fn why_passed(&self, deadline: u64) -> u8 {
        let slept = self.clock.suspended().saturating_sub(self.suspended.load(Ordering::Acquire));
        // Below a millisecond it is the two clocks not being read at once.
        let suspended = slept > 1_000_000
            && self.clock.now().0.saturating_sub(slept) < deadline.saturating_sub(self.margin);
        let reason = if suspended { Reason::Suspended } else { Reason::Expired };
        reason as u8
    }
}

/// What the I/O thread and every handle of a term share.
pub(crate) struct TermShared {
    pub(crate) id: u64,
    pub(crate) guard: Guard,
    pub(crate) value: Vec<u8>,
    pub(crate) token: i64,
    pub(crate) lease: Arc<LeaseShared>,
    /// The lease was handed in by the caller, and is never revoked with the term.
    pub(crate) lease_is_callers: bool,
    /// May the mark be written? (A role with the key alone may not.)
    pub(crate) may_mark: bool,
    pub(crate) deadline: Deadline,
    /// MOD(key) after the holder's last own write: older events and reads say nothing (S6).
    pub(crate) modified: AtomicI64,
    pub(crate) state: watch::Sender<TermState>,
    pub(crate) released: watch::Sender<Released>,
}

/// How far the release of a lost term's key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Released {
    No,
    Yes,
    /// etcd never confirmed it: the key goes with its lease, which ends by itself.
    LeftToLease,
}

impl TermShared {
    /// Is a state of the key, seen at `revision`, the end of this term? (S6)
    pub(crate) fn judge(&self, kv: Option<&crate::KeyValue>, revision: i64) -> Option<Reason> {
        if revision < self.modified.load(Ordering::Acquire) || self.guard.holds(kv) {
            return None;
        }
        Some(match kv {
            // The key lives on in other hands; created anew it was deleted in between.
            Some(kv) if kv.create_revision == self.guard.create => Reason::Overwritten,
            _ => Reason::KeyDeleted,
        })
    }
}

impl fmt::Debug for TermShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term")
            .field("key", &show(&self.guard.key))
            .field("token", &self.token)
            .field("lease", &format_args!("{:x}", self.guard.lease))
            .field("lost", &self.deadline.lost())
            .finish()
    }
}

/// A view of a term: clonable, from any thread, and it never resigns. The term itself belongs to its
/// [`Leadership`](crate::Leadership).
#[derive(Clone)]
pub struct TermHandle {
    pub(crate) shared: Arc<TermShared>,
    pub(crate) client: crate::Client,
}

impl fmt::Debug for TermHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl TermHandle {
    /// Authority, until the deadline: not ended, and before it. A local read of tens of nanoseconds, without lock,
    /// allocation or I/O. What it cannot promise: that it still holds when a packet sent now arrives elsewhere. That
    /// is what [`token`](Self::token) and [`txn`](Self::txn) are for.
    #[inline]
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.shared.deadline.valid()
    }

    /// Must the work stop? Latched `step_down_margin` before the deadline, and at once on anything voluntary or a lost
    /// key. Loops read this. As cheap as [`is_valid`](Self::is_valid).
    #[inline]
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.deadline.lost().is_some()
    }

    /// Why the term was lost; `None` while the work may go on.
    #[must_use]
    pub fn lost_reason(&self) -> Option<Reason> {
        self.shared.deadline.lost()
    }

    /// Resolves when the term is lost, with the reason. Cancel-safe; any executor.
    pub async fn lost(&self) -> Reason {
        let mut state = self.shared.state.subscribe();
        loop {
            if let TermState::Lost(reason) = *state.borrow_and_update() {
                return reason;
            }
            if state.changed().await.is_err() {
                return self.lost_reason().unwrap_or(Reason::Closed);
            }
        }
    }

    /// The level of this term and its changes: leading, jeopardy, lost. A slow reader sees the latest.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<TermState> {
        self.shared.state.subscribe()
    }

    /// The fencing token: strictly larger in every later term of the election (S10).
    #[must_use]
    pub fn token(&self) -> i64 {
        self.shared.token
    }

    /// The key of the election.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.shared.guard.key
    }

    /// The value the term was won with.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.shared.value
    }

    /// The lease the key hangs on.
    #[must_use]
    pub fn lease_id(&self) -> i64 {
        self.shared.guard.lease
    }

    /// The TTL that etcd granted.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.shared.lease.ttl
    }

    /// How long the term is valid without a further renewal; zero once ended.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.shared.deadline.remaining()
    }

    /// The deadline on this machine's boot clock; zero once ended.
    #[must_use]
    pub fn deadline(&self) -> BootTime {
        self.shared.deadline.at()
    }

    /// An error unless the term is valid.
    pub(crate) fn ensure_valid(&self) -> Result<()> {
        if self.shared.deadline.forked() {
            return Err(Error::Forked);
        }
        if self.is_valid() {
            return Ok(());
        }
        Err(Error::not_leader(self.key(), self.lost_reason()))
    }
}
