//! A term: one uninterrupted reign, and the lease it hangs on, as every part of the core shares them.
//! Owns what they are; extending them is the renewals', ending a term with its key the leadership's.

mod announced;
mod cell;
mod deadline;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Reason, show};
use crate::protocol::Guard;

pub(crate) use announced::Announced;
pub(crate) use deadline::Deadline;

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

/// What the I/O thread and every handle of a lease share.
pub(crate) struct LeaseShared {
    pub(crate) id: i64,
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
    now: AtomicU8,
    changed: Notify,
}

impl Release {
    pub(crate) fn set(&self, released: Released) {
        self.now.store(released as u8, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn get(&self) -> Released {
        let now = self.now.load(Ordering::Acquire);
        let all = [Released::Yes, Released::Anothers, Released::LeftToLease];
        all.into_iter().find(|released| *released as u8 == now).unwrap_or(Released::No)
    }

    /// Resolves when it is no longer [`Released::No`].
    pub(crate) async fn wait(&self) -> Released {
        loop {
            let changed = self.changed.notified();
            match self.get() {
                Released::No => changed.await,
                released => return released,
            }
        }
    }
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
