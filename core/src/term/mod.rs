//! A term: one uninterrupted reign, and the lease it hangs on, as every part of the core shares them.
//! Owns what they are; extending them is the renewals', ending a term with its key the leadership's.

mod announced;
mod cell;
mod deadline;
mod holding;
mod proclaimed;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Reason, show};

pub(crate) use announced::Announced;
pub(crate) use deadline::Deadline;
pub(crate) use holding::Holding;
pub(crate) use proclaimed::Proclaimed;

/// What a term says of itself, as the last announcement left it. Ask [`TermHandle::is_valid`](crate::TermHandle::is_valid) before an act.
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

/// What the I/O thread and every handle of a lease share. It outlives a move of its keys to a fresh lease of etcd's
/// (`moving`): then it has another id.
pub(crate) struct LeaseShared {
    id: AtomicI64,
    /// The lease that its keys are moving to; 0 = none.
    pending: AtomicI64,
    /// A raft term of etcd's at which it was granted or later, or for which it is settled that it stays: at a newer one
    /// its keys move.
    pub(crate) settled: AtomicU64,
    /// As granted: etcd raises small ones.
    pub(crate) ttl: Duration,
    pub(crate) purpose: Arc<str>,
    pub(crate) deadline: Deadline,
    /// How many renewals were confirmed.
    pub(crate) confirmed: AtomicU64,
    /// Closing has begun; the revoke is under way or done.
    pub(crate) closed: AtomicBool,
    /// A key on it was not seen deleted: it carries no key again (S10).
    pub(crate) tainted: AtomicBool,
}

/// What the I/O thread and every handle of a term share.
pub(crate) struct TermShared {
    pub(crate) id: u64,
    pub(crate) holding: Arc<Holding>,
    /// The key is a place in a queue.
    pub(crate) queued: bool,
    /// As the term was won with it.
    pub(crate) value: Vec<u8>,
    pub(crate) proclaimed: Proclaimed,
    pub(crate) token: i64,
    pub(crate) lease: Arc<LeaseShared>,
    /// The lease was handed in by the caller, and is never revoked with the term.
    pub(crate) lease_is_callers: bool,
    /// May the mark be written? (A role with the key alone may not.)
    pub(crate) may_mark: bool,
    pub(crate) deadline: Deadline,
    pub(crate) state: Announced,
    pub(crate) released: Release,
}

/// How far the release of a lost term's key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Released {
    No,
    Yes,
    /// The key was another's when it was looked at: left alone.
    Anothers,
    /// etcd never confirmed it: the key goes with its lease, which ends by itself.
    LeftToLease,
}

/// [`Released`] as it is now, for those who wait. A byte and a list of waiters: there is one for each term.
#[derive(Debug, Default)]
pub(crate) struct Release {
    begun: AtomicBool,
    now: AtomicU8,
    /// Made for the first who waits.
    changed: OnceLock<Box<Notify>>,
}

impl Release {
    /// True for the one who is to release.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn set(&self, released: Released) {
        self.now.store(released as u8, Ordering::Release);
        // With the one in `wait`: either we see who waits, or it sees what has just been written.
        fence(Ordering::SeqCst);
        if let Some(changed) = self.changed.get() {
            changed.notify_waiters();
        }
    }

    pub(crate) fn get(&self) -> Released {
        let now = self.now.load(Ordering::Acquire);
        let all = [Released::Yes, Released::Anothers, Released::LeftToLease];
        all.into_iter().find(|released| *released as u8 == now).unwrap_or(Released::No)
    }

    /// Resolves when it is no longer [`Released::No`].
    pub(crate) async fn wait(&self) -> Released {
        let waiting = self.changed.get_or_init(Box::default);
        loop {
            let changed = waiting.notified();
            fence(Ordering::SeqCst);
            match self.get() {
                Released::No => changed.await,
                released => return released,
            }
        }
    }
}

impl LeaseShared {
    /// A lease just granted, at raft term `settled` or later.
    pub(crate) fn granted(id: i64, ttl: Duration, purpose: Arc<str>, settled: u64, deadline: Deadline) -> LeaseShared {
        LeaseShared {
            id: AtomicI64::new(id),
            pending: AtomicI64::new(0),
            settled: AtomicU64::new(settled),
            ttl,
            purpose,
            deadline,
            confirmed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            tainted: AtomicBool::new(false),
        }
    }

    /// etcd's id of it. Another after a move: not to be kept over an await, except while a campaign keeps it from moving.
    pub(crate) fn id(&self) -> i64 {
        self.id.load(Ordering::Acquire)
    }

    /// Every id that a key of it may hang on now.
    pub(crate) fn ids(&self) -> impl Iterator<Item = i64> + use<> {
        [self.id(), self.pending.load(Ordering::Acquire)].into_iter().filter(|id| *id != 0)
    }

    /// Its keys begin to move to lease `fresh` …
    pub(crate) fn moving(&self, fresh: i64) {
        self.pending.store(fresh, Ordering::Release);
    }

    /// … and stay all the same, …
    pub(crate) fn stays(&self) {
        self.pending.store(0, Ordering::Release);
    }

    /// … or all hang there now.
    pub(crate) fn moved(&self, settled: u64) {
        self.id.store(self.pending.load(Ordering::Acquire), Ordering::Release);
        self.stays();
        self.settled.store(settled, Ordering::Release);
    }
}

impl TermShared {
    /// The value of the key, as far as is known.
    pub(crate) fn latest_value(&self) -> Vec<u8> {
        self.proclaimed.latest().map_or_else(|| self.value.clone(), |latest| latest.to_vec())
    }

    /// Is a state of the key, seen at `revision`, the end of this term? (S6)
    pub(crate) fn judge(&self, kv: Option<&crate::KeyValue>, revision: i64) -> Option<Reason> {
        let reason = self.holding.judge(kv, revision)?;
        if reason == Reason::Overwritten {
            // Before anybody hears of the loss: the next campaign must not stand on this lease.
            self.taint_lease();
        }
        Some(reason)
    }

    /// The key was not seen deleted. Whoever holds it now may hand it back with the same CREATE, and on the same lease the
    /// guard of this term would pass again: the lease carries no key again (S10, case 59).
    pub(crate) fn taint_lease(&self) {
        self.lease.tainted.store(true, Ordering::Release);
    }
}

impl TermShared {
    /// For when the I/O thread is gone without having announced the end: nobody renews the term any more.
    pub(crate) fn ended_with_its_client(&self) -> Reason {
        self.deadline.end(Reason::Closed);
        self.deadline.lost().unwrap_or(Reason::Closed)
    }
}

impl fmt::Debug for TermShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term")
            .field("key", &show(&self.holding.key))
            .field("token", &self.token)
            .field("lease", &format_args!("{:x}", self.holding.lease()))
            .field("lost", &self.deadline.lost())
            .finish()
    }
}
