//! Owns which leases exist and until when, as the raft leader keeps them: grant, renew, expire, promote.
//! Leaves their keys to `store`, the clock to `cluster` (times are given, as durations since the server began).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tonic::Status;

use crate::refusal;

/// etcd's largest TTL, seconds.
const MAX_TTL: i64 = 9_000_000_000;

/// One lease, with the clock's reading at which it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    ttl: i64,
    expires: Duration,
}

/// The leases of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Lessor {
    leases: BTreeMap<i64, Entry>,
    /// The same in the order in which they end: with thousands nobody looks at each for every request.
    ends: BTreeSet<(Duration, i64)>,
    min_ttl: i64,
    next_id: i64,
}

/// What is known about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) ttl: i64,
    pub(crate) remaining: Duration,
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

impl Lessor {
    pub(crate) fn new(min_ttl: i64, seed: u64) -> Self {
        // Ids look like etcd's: large and positive. The seed keeps those of two clusters apart.
        let next_id =
            0x7000_0000_0000_0000 | i64::try_from((seed & 0xffff_ffff) << 20).unwrap_or(0);
        Lessor {
            leases: BTreeMap::new(),
            ends: BTreeSet::new(),
            min_ttl,
            next_id,
        }
    }

    /// Grants a lease; id 0 lets the server choose. Answers its id and TTL, which may be above the wanted one.
    pub(crate) fn grant(&mut self, id: i64, ttl: i64, now: Duration) -> Result<(i64, i64), Status> {
        if ttl > MAX_TTL {
            return Err(refusal::lease_too_large());
        }
        let id = if id == 0 { self.fresh_id() } else { id };
        if self.leases.contains_key(&id) {
            return Err(refusal::lease_exists());
        }
        let ttl = ttl.max(self.min_ttl);
        self.ends.insert((now + seconds(ttl), id));
        self.leases.insert(
            id,
            Entry {
                ttl,
                expires: now + seconds(ttl),
            },
        );
        Ok((id, ttl))
    }

    fn fresh_id(&mut self) -> i64 {
        loop {
            self.next_id += 1;
            if !self.leases.contains_key(&self.next_id) {
                return self.next_id;
            }
        }
    }

    /// Renews from now on; answers the TTL, or nothing if there is no such lease.
    pub(crate) fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        let entry = self.leases.get_mut(&id)?;
        self.ends.remove(&(entry.expires, id));
        entry.expires = now + seconds(entry.ttl);
        self.ends.insert((entry.expires, id));
        Some(entry.ttl)
    }

    /// The granted TTL, seconds.
    pub(crate) fn ttl(&self, id: i64) -> Option<i64> {
        self.leases.get(&id).map(|entry| entry.ttl)
    }

    pub(crate) fn exists(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    pub(crate) fn known(&self, id: i64, now: Duration) -> Option<Known> {
        let entry = self.leases.get(&id)?;
        Some(Known {
            id,
            ttl: entry.ttl,
            remaining: entry.expires.saturating_sub(now),
        })
    }

    /// All leases, the next to expire first.
    pub(crate) fn all(&self, now: Duration) -> Vec<Known> {
        let mut all: Vec<Known> = self
            .leases
            .keys()
            .filter_map(|id| self.known(*id, now))
            .collect();
        all.sort_by_key(|known| (known.remaining, known.id));
        all
    }

    /// Forgets a lease; false if there was none.
    pub(crate) fn remove(&mut self, id: i64) -> bool {
        let Some(entry) = self.leases.remove(&id) else { return false };
        self.ends.remove(&(entry.expires, id))
    }

    /// The lease that ends first, and when.
    pub(crate) fn next_expiry(&self) -> Option<(Duration, i64)> {
        self.ends.first().copied()
    }

    /// A new raft leader knows nothing of earlier renewals: every lease starts anew, plus `extend`.
    pub(crate) fn promote(&mut self, now: Duration, extend: Duration) {
        for entry in self.leases.values_mut() {
            entry.expires = now + seconds(entry.ttl) + extend;
        }
        self.ends = self.leases.iter().map(|(id, entry)| (entry.expires, *id)).collect();
    }

    /// The leases that had ended at `now` by this (old) table: what a waking ex-leader would revoke.
    pub(crate) fn ended(&self, now: Duration) -> Vec<i64> {
        self.leases
            .iter()
            .filter(|(_, entry)| entry.expires <= now)
            .map(|(id, _)| *id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_small_ttl_is_raised_and_an_id_is_kept() {
        let mut lessor = Lessor::new(2, 0);
        assert_eq!(lessor.grant(7, 1, SECOND).ok(), Some((7, 2)));
        assert!(lessor.grant(7, 5, SECOND).is_err());
        assert!(lessor.grant(8, MAX_TTL + 1, SECOND).is_err());
        assert!(
            lessor
                .grant(0, 5, SECOND)
                .is_ok_and(|(id, ttl)| id > 0 && ttl == 5)
        );
    }

    #[test]
    fn a_renewal_counts_from_when_it_is_done() {
        let mut lessor = Lessor::new(1, 0);
        assert!(lessor.grant(7, 5, SECOND).is_ok());
        assert_eq!(lessor.next_expiry(), Some((6 * SECOND, 7)));
        assert_eq!(lessor.renew(7, 3 * SECOND), Some(5));
        assert_eq!(lessor.next_expiry(), Some((8 * SECOND, 7)));
        assert_eq!(lessor.renew(9, SECOND), None);
        lessor.promote(4 * SECOND, SECOND);
        assert_eq!(lessor.next_expiry(), Some((10 * SECOND, 7)));
        assert_eq!(lessor.ended(10 * SECOND), vec![7]);
    }
}
