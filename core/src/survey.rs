//! The elections under a prefix, for tables and dashboards: who leads each, how many stand, which are paused.
//! Owns telling elections from other keys by their form; nothing that leads depends on it.

use std::collections::BTreeMap;

use crate::Mode;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::etcd::Failure;
use crate::protocol::{self, KeyValue, Leader};

/// Keys read at once.
const PAGE: i64 = 1000;

/// One election that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Surveyed {
    /// Its key, or a queue's prefix.
    pub key: Vec<u8>,
    /// Its kind.
    pub mode: Mode,
    /// Who leads; `None` if nobody does.
    pub leader: Option<Leader>,
    /// How many stand beside the leader.
    pub candidates: usize,
    /// Did an operator pause it?
    pub paused: bool,
}

impl Client {
    /// The elections whose keys begin with `prefix` (empty: all), in the order of their keys. What is an election is told
    /// by its keys: one that hangs on a lease, or has a mark, candidates or a pause beside it. Read page by page
    /// (1,000 keys), each linearizable, together not one moment.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `PermissionDenied`, `Closed`, `Forked`.
    pub async fn elections(&self, prefix: impl AsRef<[u8]>) -> Result<Vec<Surveyed>> {
        let prefix = prefix.as_ref().to_vec();
        let kvs = self
            .run(move |io, cancel| async move {
                let (mut kvs, mut from) = (Vec::<KeyValue>::new(), prefix.clone());
                loop {
                    let page = protocol::page(&from, &prefix, PAGE);
                    let got = tokio::select! {
                        got = io.etcd.read("read of elections", &prefix, &page) => got.map_err(Failure::into_error)?,
                        () = cancel.wait() => return Err(Error::cancelled("read of elections", &prefix)),
                    };
                    let read = got.body.kvs(0);
                    kvs.extend_from_slice(read);
                    match read.last() {
                        Some(last) if i64::try_from(read.len()).is_ok_and(|count| count >= PAGE) => {
                            from = [last.key.as_slice(), &[0]].concat();
                        }
                        _ => return Ok(kvs),
                    }
                }
            })
            .await?;
        Ok(surveyed(&kvs))
    }
}

/// What is found of one election.
#[derive(Default)]
struct Found {
    holder: Option<KeyValue>,
    /// MOD of the mark.
    mark: i64,
    candidates: usize,
    paused: bool,
    /// Places in a queue.
    places: Vec<KeyValue>,
}

/// The queue whose place this key may be: `PREFIX/<its own lease>`.
fn queue_of(kv: &KeyValue) -> Option<&[u8]> {
    let prefix = protocol::queue_of(&kv.key);
    (kv.lease != 0 && !prefix.is_empty() && protocol::queue_key(prefix, kv.lease) == kv.key).then_some(prefix)
}

fn surveyed(kvs: &[KeyValue]) -> Vec<Surveyed> {
    let mut found: BTreeMap<&[u8], Found> = BTreeMap::new();
    let mut plain = Vec::new();
    for kv in kvs {
        let key = kv.key.as_slice();
        if let Some(election) = protocol::candidate_of(key) {
            found.entry(election).or_default().candidates += 1;
        } else if let Some(prefix) = key.strip_suffix(b".queue-resigned") {
            found.entry(prefix).or_default();
        } else if let Some(election) = key.strip_suffix(b".resigned") {
            found.entry(election).or_default().mark = kv.mod_revision;
        } else if let Some(election) = key.strip_suffix(b".paused") {
            found.entry(election).or_default().paused = true;
        } else if let Some(prefix) = queue_of(kv) {
            found.entry(prefix).or_default().places.push(kv.clone());
        } else if kv.lease != 0 {
            found.entry(key).or_default().holder = Some(kv.clone());
        } else {
            plain.push(kv);
        }
    }
    for kv in plain {
        // Somebody put it by hand where an election is: it holds that until it is removed.
        if let Some(found) = found.get_mut(kv.key.as_slice()) {
            found.holder = Some(kv.clone());
        }
    }
    found.into_iter().map(|(key, found)| found.surveyed(key)).collect()
}

impl Found {
    fn surveyed(self, key: &[u8]) -> Surveyed {
        let first = self.places.iter().min_by_key(|place| place.create_revision);
        let (mode, leader, candidates) = match (&self.holder, first) {
            (None, Some(first)) => (Mode::Queue, Some(protocol::queue_leader(first)), self.places.len() - 1),
            (holder, _) => {
                let leader = holder.as_ref().map(|kv| Leader {
                    token: Some(kv.create_revision.max(self.mark)),
                    ..Leader::from_key(kv)
                });
                (Mode::SingleKey, leader, self.candidates)
            }
        };
        Surveyed {
            key: key.to_vec(),
            mode,
            leader,
            candidates,
            paused: self.paused,
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)] // a test's way to fail
mod tests {
    use super::*;

    fn kv(key: &str, lease: i64, create: i64) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: key.into(),
            lease,
            create_revision: create,
            mod_revision: create,
            version: 1,
        }
    }

    #[test]
    fn elections_are_told_by_their_keys() {
        let kvs = [
            kv("a", 7, 10),
            kv("a.candidates/1f", 0x1f, 11),
            kv("a.candidates/2f", 0x2f, 12),
            kv("a.resigned", 0, 15),
            kv("b", 0, 3),
            kv("b.paused", 0, 20),
            kv("config", 0, 1),
            kv("gone.resigned", 0, 4),
            kv("q.queue-resigned", 0, 2),
            kv("q/a1", 0xa1, 9),
            kv("q/b2", 0xb2, 8),
            kv("svc/leader", 0xc3, 30),
        ];
        let found = surveyed(&kvs);
        let shown: Vec<_> = found
            .iter()
            .map(|one| {
                let leader = one.leader.as_ref().map(|leader| (leader.lease, leader.token));
                (std::str::from_utf8(&one.key).unwrap_or(""), one.mode, leader, one.candidates, one.paused)
            })
            .collect();
        let expected = [
            ("a", Mode::SingleKey, Some((7, Some(15))), 2, false),
            ("b", Mode::SingleKey, Some((0, Some(3))), 0, true),
            ("gone", Mode::SingleKey, None, 0, false),
            ("q", Mode::Queue, Some((0xb2, Some(8))), 1, false),
            ("svc/leader", Mode::SingleKey, Some((0xc3, Some(30))), 0, false),
        ];
        assert_eq!(shown, expected);
    }
}
