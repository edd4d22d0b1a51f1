//! Owns the revisions: keys with their history, the log of events that watches replay, compaction.
//! Leaves transactions to `txn`, which leases exist to `lease`, who may read to `auth`.

mod range;
pub(crate) use range::check as check_range;
#[cfg(test)]
mod tests;
pub(crate) mod txn;

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::proto::{
    PbDeleteRequest, PbDeleteResponse, PbEvent, PbKeyValue, PbPutRequest, PbPutResponse,
    PbResponseHeader,
};
use tonic::Status;

use crate::refusal;

/// `PbEvent`'s type numbers: its enum is not public in the client crate.
pub(crate) const EVENT_PUT: i32 = 0;
pub(crate) const EVENT_DELETE: i32 = 1;

/// One version of a key: `None` is a tombstone.
#[derive(Clone, Debug)]
struct Recorded {
    revision: i64,
    kv: Option<PbKeyValue>,
}

/// The keys of a cluster at every revision that is not compacted.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    revision: i64,
    compacted: i64,
    keys: BTreeMap<Vec<u8>, Vec<Recorded>>,
    /// Events of each revision in the order they were made, each with the value before it.
    log: BTreeMap<i64, Vec<PbEvent>>,
    attached: BTreeMap<i64, BTreeSet<Vec<u8>>>,
}

/// What etcd calls an interval: one key, all keys from one on, or half open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interval {
    One(Vec<u8>),
    From(Vec<u8>),
    Between(Vec<u8>, Vec<u8>),
}

impl Interval {
    pub(crate) fn new(key: &[u8], range_end: &[u8]) -> Self {
        match range_end {
            [] => Interval::One(key.to_vec()),
            [0] => Interval::From(key.to_vec()),
            end => Interval::Between(key.to_vec(), end.to_vec()),
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Interval::One(one) => one == key,
            Interval::From(start) => key >= start.as_slice(),
            Interval::Between(start, end) => key >= start.as_slice() && key < end.as_slice(),
        }
    }
}

/// What one write transaction did: its revision and events. Empty if it changed nothing.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) revision: i64,
    pub(crate) events: Vec<PbEvent>,
}

impl Store {
    /// An empty store: etcd starts at revision 1.
    pub(crate) fn new() -> Self {
        Store {
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            log: BTreeMap::new(),
            attached: BTreeMap::new(),
        }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The key's value at a revision, if it existed then.
    fn at(&self, key: &[u8], revision: i64) -> Option<&PbKeyValue> {
        self.keys
            .get(key)?
            .iter()
            .rev()
            .find(|recorded| recorded.revision <= revision)?
            .kv
            .as_ref()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&PbKeyValue> {
        self.at(key, i64::MAX)
    }

    /// The live keys, in order.
    pub(crate) fn live(&self) -> impl Iterator<Item = &PbKeyValue> {
        self.keys
            .values()
            .filter_map(|recorded| recorded.last()?.kv.as_ref())
    }

    /// The keys a lease holds, in order.
    pub(crate) fn keys_of(&self, lease: i64) -> Vec<Vec<u8>> {
        self.attached
            .get(&lease)
            .map(|keys| keys.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Events of the interval from `start` on, grouped by revision; prev values only where etcd still has them.
    pub(crate) fn history(&self, interval: &Interval, start: i64) -> Vec<PbEvent> {
        let mut found = Vec::new();
        for (revision, events) in self.log.range(start..) {
            for event in events {
                let key = event
                    .kv
                    .as_ref()
                    .map(|kv| kv.key.as_slice())
                    .unwrap_or_default();
                if interval.contains(key) {
                    let mut event = event.clone();
                    if *revision <= self.compacted {
                        event.prev_kv = None;
                    }
                    found.push(event);
                }
            }
        }
        found
    }

    /// Forgets what was superseded at or before `revision`.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Status> {
        if revision <= self.compacted {
            return Err(refusal::compacted());
        }
        if revision > self.revision {
            return Err(refusal::future_revision());
        }
        self.compacted = revision;
        // The event *at* the compacted revision can still be watched, everything before cannot.
        self.log.retain(|at, _| *at >= revision);
        self.keys.retain(|_, history| {
            let newest = history
                .iter()
                .rposition(|recorded| recorded.revision <= revision)
                .unwrap_or(0);
            history.drain(..newest);
            !matches!(history.as_slice(), [Recorded { kv: None, .. }])
        });
        Ok(())
    }

    /// Begins a write transaction: everything done through it gets one revision.
    pub(crate) fn write(&mut self) -> Writing<'_> {
        let revision = self.revision + 1;
        Writing {
            store: self,
            revision,
            events: Vec::new(),
        }
    }
}

/// A write transaction. What it does is visible to its own reads at once; it must be ended by `commit`.
pub(crate) struct Writing<'a> {
    store: &'a mut Store,
    revision: i64,
    events: Vec<PbEvent>,
}

impl Writing<'_> {
    /// The revision its reads are at: the next one as soon as something changed.
    fn reading_at(&self) -> i64 {
        if self.events.is_empty() {
            self.revision - 1
        } else {
            self.revision
        }
    }

    fn header(revision: i64) -> Option<PbResponseHeader> {
        Some(PbResponseHeader {
            revision,
            ..Default::default()
        })
    }

    /// Puts a key. The caller has checked that the lease exists, and the key if its value or lease is to be kept.
    pub(crate) fn put(&mut self, request: &PbPutRequest) -> PbPutResponse {
        let before = self.store.get(&request.key).cloned();
        let old_lease = before.as_ref().map_or(0, |kv| kv.lease);
        let lease = if request.ignore_lease {
            old_lease
        } else {
            request.lease
        };
        let value = match &before {
            Some(kv) if request.ignore_value => kv.value.clone(),
            _ => request.value.clone(),
        };
        let kv = PbKeyValue {
            key: request.key.clone(),
            create_revision: before
                .as_ref()
                .map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: before.as_ref().map_or(0, |kv| kv.version) + 1,
            value,
            lease,
        };
        self.detach(old_lease, &request.key);
        if lease != 0 {
            self.store
                .attached
                .entry(lease)
                .or_default()
                .insert(request.key.clone());
        }
        self.record(&request.key, Some(kv.clone()));
        self.events.push(PbEvent {
            r#type: EVENT_PUT,
            kv: Some(kv),
            prev_kv: before.clone(),
        });
        PbPutResponse {
            header: Self::header(self.revision),
            prev_kv: before.filter(|_| request.prev_kv),
        }
    }

    /// Deletes an interval, in the order of the keys.
    pub(crate) fn delete(&mut self, request: &PbDeleteRequest) -> PbDeleteResponse {
        let interval = Interval::new(&request.key, &request.range_end);
        let gone: Vec<PbKeyValue> = self
            .store
            .select(&interval, i64::MAX)
            .into_iter()
            .cloned()
            .collect();
        for kv in &gone {
            self.delete_one(kv.clone());
        }
        PbDeleteResponse {
            header: Self::header(self.reading_at()),
            deleted: i64::try_from(gone.len()).unwrap_or(i64::MAX),
            prev_kvs: if request.prev_kv { gone } else { Vec::new() },
        }
    }

    fn delete_one(&mut self, before: PbKeyValue) {
        self.detach(before.lease, &before.key);
        self.record(&before.key, None);
        let kv = PbKeyValue {
            key: before.key.clone(),
            mod_revision: self.revision,
            ..Default::default()
        };
        self.events.push(PbEvent {
            r#type: EVENT_DELETE,
            kv: Some(kv),
            prev_kv: Some(before),
        });
    }

    /// Deletes all keys of a lease that ends.
    pub(crate) fn delete_lease(&mut self, lease: i64) {
        for key in self.store.keys_of(lease) {
            if let Some(before) = self.store.get(&key).cloned() {
                self.delete_one(before);
            }
        }
        self.store.attached.remove(&lease);
    }

    fn detach(&mut self, lease: i64, key: &[u8]) {
        if let Some(keys) = self.store.attached.get_mut(&lease) {
            keys.remove(key);
            if keys.is_empty() {
                self.store.attached.remove(&lease);
            }
        }
    }

    fn record(&mut self, key: &[u8], kv: Option<PbKeyValue>) {
        self.store
            .keys
            .entry(key.to_vec())
            .or_default()
            .push(Recorded {
                revision: self.revision,
                kv,
            });
    }

    /// Ends the transaction; the store's revision grows by one if anything changed.
    pub(crate) fn commit(self) -> Committed {
        if !self.events.is_empty() {
            self.store.revision = self.revision;
            self.store.log.insert(self.revision, self.events.clone());
        }
        Committed {
            revision: self.store.revision,
            events: self.events,
        }
    }
}
