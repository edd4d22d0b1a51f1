//! The referee: what etcd really held, and when that was known, by `boot_ns`, on a way that no fault touches.
//! Owns watching every member and reading linearizably beside it; comparing that with what holders said is `verdict`'s.
//!
//! It watches through all members at once, since any of them may be stopped: an event has come when the first brings it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::WatchOptions;
use etcd_client::proto::{PbEvent, PbRangeRequest};
use leadership_core::Clock;
use leadership_testkit::wire_from_channel;
use leadership_tests::raw::Raw;
use serde_json::{Value, json};

/// Between two linearizable reads through one member.
const READ_EVERY: Duration = Duration::from_millis(150);
/// A member that has not answered by then is asked no longer.
const READ_WITHIN: Duration = Duration::from_millis(700);
/// To connect to a member.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Before a broken watch is made again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// `EventType::DELETE` on the wire.
const DELETE: i32 = 1;

/// What became of a key at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created then.
    Created,
    /// It was written again, still the key that was created at this revision.
    Written(i64),
    /// It was deleted.
    Deleted,
}

/// How long a key was held under one creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// The revision of its creation: the token of its term.
    pub create: i64,
    /// When its creation was known.
    pub known: u64,
    /// When its end was first known, from any member, and nobody could rightly claim it any more; `None` while it holds.
    pub gone: Option<u64>,
    /// When every member that told of its end had told of it: a follower may apply it a heartbeat (100 ms) later.
    pub gone_everywhere: Option<u64>,
    /// How often it was written again: moves to a fresh lease among them.
    pub writes: u32,
    /// It was certainly held then: the last linearizable read that showed it began no earlier. 0 if none has.
    pub shown: u64,
}

/// Everything the referee has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By key and revision: what, and when each member told of it.
    changes: BTreeMap<(String, i64), (Change, BTreeMap<usize, u64>)>,
    /// By key: reads that did not show it as created then, by revision, and when they had ended.
    absences: BTreeMap<(String, i64), u64>,
    /// When linearizable reads were answered, by any member, in order: etcd had a quorum then.
    answered: Vec<u64>,
    /// The revision of the newest of them.
    newest: i64,
    /// The creation of each key that it showed.
    present: BTreeMap<String, i64>,
    /// By key and creation: when the last read that showed it began.
    shown: BTreeMap<(String, i64), u64>,
}

impl Seen {
    pub(crate) fn tell(&mut self, member: usize, key: &str, revision: i64, change: Change, at: u64) {
        let told = &mut self.changes.entry((key.to_owned(), revision)).or_insert((change, BTreeMap::new())).1;
        told.entry(member).or_insert(at);
    }

    /// A linearizable read at `revision`, begun then and over by `at`, showed these keys, with their creations.
    pub(crate) fn read(&mut self, revision: i64, present: BTreeMap<String, i64>, began: u64, at: u64) {
        self.answered.push(at);
        // An old etcd may answer from the past after its process was stopped (etcd #20418).
        if revision < self.newest {
            return;
        }
        self.newest = revision;
        for (key, create) in &present {
            let shown = self.shown.entry((key.clone(), *create)).or_default();
            *shown = began.max(*shown);
        }
        // Whatever was there before and is not now had gone by the end of the read, whoever tells of it later. A read
        // from before its creation says nothing, so the revision is kept.
        let gone: Vec<_> = self.present.iter().filter(|(key, create)| present.get(*key) != Some(create)).collect();
        for (key, create) in gone {
            if *create <= revision {
                self.absences.entry((key.clone(), *create)).or_insert(at);
            }
        }
        self.present = present;
    }

    /// The reigns of a key, in order.
    #[must_use]
    pub fn reigns(&self, key: &str) -> Vec<Reign> {
        let mut reigns: Vec<Reign> = Vec::new();
        for ((_, revision), (change, told)) in self.changes.range((key.to_owned(), i64::MIN)..=(key.to_owned(), i64::MAX)) {
            let last = reigns.last_mut();
            let (at, latest) = (told.values().min().copied().unwrap_or(0), told.values().max().copied());
            match (change, last) {
                (Change::Created, last) => {
                    // The delete before it was not told (compacted away): its end was known by now at the latest.
                    if let Some(last) = last.filter(|last| last.gone.is_none()) {
                        last.gone = Some(at);
                    }
                    reigns.push(Reign {
                        create: *revision,
                        known: at,
                        gone: None,
                        gone_everywhere: None,
                        writes: 0,
                        shown: self.shown.get(&(key.to_owned(), *revision)).copied().unwrap_or(0),
                    });
                }
                (Change::Written(create), Some(last)) if last.create == *create => last.writes += 1,
                (Change::Deleted, Some(last)) if last.gone.is_none() => {
                    (last.gone, last.gone_everywhere) = (Some(at), latest);
                }
                (Change::Written(_) | Change::Deleted, _) => {}
            }
        }
        for reign in &mut reigns {
            if let Some(absent) = self.absences.get(&(key.to_owned(), reign.create)) {
                reign.gone = Some(reign.gone.map_or(*absent, |gone| gone.min(*absent)));
            }
        }
        reigns
    }
}

impl Seen {
    /// Every key under `prefix` that was ever there.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> BTreeSet<String> {
        self.changes.keys().map(|(key, _)| key).filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// The longest time from `from` to `to` without an answer to a linearizable read, from any member, in ns: for so
    /// long nobody could renew anything.
    #[must_use]
    pub fn longest_silence(&self, from: u64, to: u64) -> u64 {
        let within = self.answered.iter().copied().filter(|at| (from..=to).contains(at));
        let ends = within.clone().chain([to]);
        [from].into_iter().chain(within).zip(ends).map(|(begin, end)| end - begin).max().unwrap_or(0)
    }

    /// What the referee was told from `from` on, as raw lines.
    #[must_use]
    pub fn lines(&self, from: u64) -> Vec<Value> {
        let recent = self.changes.iter().filter(|(_, (_, told))| told.values().any(|at| *at >= from));
        recent
            .map(|((key, revision), (change, told))| {
                let (what, create) = match change {
                    Change::Created => ("created", *revision),
                    Change::Written(create) => ("written", *create),
                    Change::Deleted => ("deleted", 0),
                };
                let told: Vec<_> = told.iter().map(|(member, at)| json!([member, at])).collect();
                json!({"is": "etcd", "key": key, "revision": revision, "what": what, "create": create, "told": told})
            })
            .collect()
    }
}

/// The referee at work, on a thread of its own. Dropping it ends it.
pub struct Referee {
    seen: Arc<Mutex<Seen>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Referee {
    /// Watches and reads everything under `prefix`, straight at these members.
    pub fn start(endpoints: &[String], prefix: &str) -> Result<Referee, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("referee").enable_all().build();
        let runtime = runtime.map_err(|e| format!("no runtime for the referee: {e}"))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut members = Vec::new();
        for endpoint in endpoints {
            let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{endpoint}")).map_err(|e| e.to_string())?;
            let _inside = runtime.enter();
            let channel = endpoint.connect_timeout(CONNECT_WITHIN).tcp_nodelay(true).connect_lazy();
            members.push(Raw::new(wire_from_channel(channel)));
        }
        for (place, member) in members.iter().enumerate() {
            runtime.spawn(watch(place, member.clone(), prefix.to_owned(), seen.clone()));
            runtime.spawn(read(member.clone(), prefix.to_owned(), seen.clone()));
        }
        Ok(Referee {
            seen,
            runtime: Some(runtime),
        })
    }

    /// What it has seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl Drop for Referee {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key of an election, not one that the library keeps beside it.
fn is_election(key: &str) -> bool {
    ![".candidates/", ".resigned", ".paused"].iter().any(|other| key.contains(other))
}

fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    end.push(0xff);
    end
}

async fn watch(place: usize, member: Raw, prefix: String, seen: Arc<Mutex<Seen>>) {
    let clock = Clock::boot();
    // From the first revision on: the cluster is the referee's own, and what was before it is compared, too.
    let mut next = 1;
    loop {
        if let Ok(mut stream) = member.watch() {
            let options = WatchOptions::new().with_key(prefix.clone()).with_range(end_of(&prefix)).with_start_revision(next);
            stream.send(options);
            while let Ok(reply) = stream.next().await {
                let at = clock.now().0;
                if reply.compact_revision > 0 {
                    next = next.max(reply.compact_revision);
                }
                if reply.canceled {
                    break;
                }
                let mut seen = lock(&seen);
                for event in &reply.events {
                    next = next.max(note(&mut seen, place, event, at) + 1);
                }
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Notes an event; its revision.
fn note(seen: &mut Seen, member: usize, event: &PbEvent, at: u64) -> i64 {
    let Some(kv) = &event.kv else { return 0 };
    let key = String::from_utf8_lossy(&kv.key);
    if is_election(&key) {
        let change = if event.r#type == DELETE {
            Change::Deleted
        } else if kv.create_revision == kv.mod_revision {
            Change::Created
        } else {
            Change::Written(kv.create_revision)
        };
        seen.tell(member, &key, kv.mod_revision, change, at);
    }
    kv.mod_revision
}

async fn read(member: Raw, prefix: String, seen: Arc<Mutex<Seen>>) {
    let clock = Clock::boot();
    loop {
        let began = clock.now().0;
        let request = PbRangeRequest {
            key: prefix.clone().into(),
            range_end: end_of(&prefix),
            keys_only: true,
            ..PbRangeRequest::default()
        };
        if let Ok(Ok(reply)) = tokio::time::timeout(READ_WITHIN, member.range(request)).await {
            let keys = reply.kvs.iter().map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.create_revision));
            let keys = keys.filter(|(key, _)| is_election(key)).collect();
            let mut seen = lock(&seen);
            // Under the lock, so that the times stand in order.
            seen.read(reply.header.map_or(0, |header| header.revision), keys, began, clock.now().0);
        }
        tokio::time::sleep(READ_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reign_lasts_from_a_creation_to_its_end_whatever_is_written_between() {
        let mut seen = Seen::default();
        seen.tell(0, "k", 5, Change::Created, 100);
        seen.tell(0, "k", 7, Change::Written(5), 110);
        seen.tell(0, "k", 9, Change::Deleted, 130);
        seen.tell(1, "k", 9, Change::Deleted, 120); // another member told earlier
        seen.tell(2, "k", 9, Change::Deleted, 140);
        seen.tell(2, "k", 9, Change::Deleted, 170); // the same again, on a new watch
        seen.tell(0, "k", 10, Change::Created, 150);
        seen.tell(0, "l", 6, Change::Created, 105);
        let reign = |create, known, gone, gone_everywhere, writes| Reign { create, known, gone, gone_everywhere, writes, shown: 0 };
        assert_eq!(seen.reigns("k"), [reign(5, 100, Some(120), Some(140), 1), reign(10, 150, None, None, 0)]);
    }

    #[test]
    fn a_read_that_misses_a_key_is_its_end_before_any_event_comes() {
        let mut seen = Seen::default();
        seen.tell(0, "k", 5, Change::Created, 100);
        let shown = |create| BTreeMap::from([("k".to_owned(), create)]);
        seen.read(6, shown(5), 105, 110);
        seen.read(8, shown(8), 140, 150); // deleted, and another's by now
        seen.tell(0, "k", 7, Change::Deleted, 180);
        seen.tell(0, "k", 8, Change::Created, 181);
        assert_eq!(seen.reigns("k").first().and_then(|reign| reign.gone), Some(150));
        assert_eq!(seen.reigns("k").last().and_then(|reign| reign.gone), None);
        // From the past: neither an end nor a beginning.
        seen.read(6, shown(5), 190, 200);
        seen.read(9, shown(8), 205, 210);
        assert_eq!(seen.reigns("k").last().and_then(|reign| reign.gone), None);
        assert_eq!(seen.reigns("k").iter().map(|reign| reign.shown).collect::<Vec<_>>(), [105, 205], "not from the past");
        assert_eq!(seen.longest_silence(100, 260), 50);
        assert_eq!(seen.longest_silence(120, 205), 50);
        assert_eq!(seen.longest_silence(300, 400), 100);
    }
}
