//! Owns the watch streams: their watchers, which events each gets, and the answers etcd gives to a create, cancel
//! or progress request. Leaves the wire to `service/watch`, the events to `store`.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::proto::{PbEvent, PbResponseHeader, PbWatchResponse};
use tokio::sync::mpsc::UnboundedSender;
use tonic::Status;

use crate::store::{Committed, EVENT_DELETE, EVENT_PUT, Interval, Store};
use crate::version::Version;

/// etcd looks after watchers that lag behind ten times a second.
pub(crate) const SYNC_EVERY: Duration = Duration::from_millis(100);

/// The watch id of answers that concern no watcher.
pub(crate) const NO_WATCH: i64 = -1;

/// What a create request asks for; the client crate's own type cannot be named.
pub(crate) struct Create {
    pub(crate) id: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) range_end: Vec<u8>,
    pub(crate) start_revision: i64,
    pub(crate) filters: Vec<i32>,
    pub(crate) prev_kv: bool,
}

/// Where a watcher is: up to date, waiting for the next look at the laggards, or cut off by a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Synced,
    Lagging {
        due: Duration,
    },
    /// Told so; the id stays taken until the client cancels it.
    Compacted,
}

#[derive(Debug)]
struct Watcher {
    interval: Interval,
    start: i64,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    phase: Phase,
}

impl Watcher {
    fn wants(&self, event: &PbEvent) -> bool {
        let filtered = (self.no_put && event.r#type == EVENT_PUT)
            || (self.no_delete && event.r#type == EVENT_DELETE);
        !filtered
            && event
                .kv
                .as_ref()
                .is_some_and(|kv| self.interval.contains(&kv.key))
    }

    fn pick(&self, events: &[PbEvent]) -> Vec<PbEvent> {
        let mut picked: Vec<PbEvent> = events
            .iter()
            .filter(|event| self.wants(event))
            .cloned()
            .collect();
        if !self.prev_kv {
            picked.iter_mut().for_each(|event| event.prev_kv = None);
        }
        picked
    }
}

/// One watch stream of a client.
#[derive(Debug)]
pub(crate) struct WatchStream {
    pub(crate) member: usize,
    answers: UnboundedSender<Result<PbWatchResponse, Status>>,
    watchers: BTreeMap<i64, Watcher>,
    /// How many of them lag behind: mostly none, and then nobody looks for them.
    lagging: usize,
    next_id: i64,
    /// What a stopped or cut off member has not delivered yet.
    held: Vec<PbWatchResponse>,
}

impl WatchStream {
    pub(crate) fn new(
        member: usize,
        answers: UnboundedSender<Result<PbWatchResponse, Status>>,
    ) -> Self {
        WatchStream {
            member,
            answers,
            watchers: BTreeMap::new(),
            lagging: 0,
            next_id: 0,
            held: Vec::new(),
        }
    }

    pub(crate) fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// When the next lagging watcher is looked after.
    pub(crate) fn due(&self) -> Option<Duration> {
        if self.lagging == 0 {
            return None;
        }
        self.watchers
            .values()
            .filter_map(|watcher| {
                if let Phase::Lagging { due } = watcher.phase {
                    Some(due)
                } else {
                    None
                }
            })
            .min()
    }

    fn send(&mut self, answer: PbWatchResponse, held: bool) {
        if held {
            self.held.push(answer);
        } else {
            // A client that went away is noticed by the stream's own task.
            let _ = self.answers.send(Ok(answer));
        }
    }

    /// Delivers what was held back.
    pub(crate) fn flush(&mut self) {
        for answer in std::mem::take(&mut self.held) {
            self.send(answer, false);
        }
    }

    /// Ends the stream with a status.
    pub(crate) fn end(&self, status: Status) {
        let _ = self.answers.send(Err(status));
    }

    /// Answers a create that was refused: with no watcher's id, so that only the order tells which one it was.
    pub(crate) fn refuse(&mut self, header: PbResponseHeader, reason: String) {
        let answer = PbWatchResponse {
            header: Some(header),
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: reason,
            ..Default::default()
        };
        self.send(answer, false);
    }

    /// Creates a watcher and answers; the header is at the store's revision.
    pub(crate) fn create(
        &mut self,
        mut create: Create,
        header: PbResponseHeader,
        store: &Store,
        now: Duration,
    ) {
        if create.key.is_empty() {
            create.key = vec![0];
        }
        let interval = Interval::new(&create.key, &create.range_end);
        if matches!(&interval, Interval::Between(start, end) if start >= end) {
            return self.refuse(header, "mvcc: watcher range is empty".to_owned());
        }
        let id = if create.id == 0 {
            while self.watchers.contains_key(&self.next_id) {
                self.next_id += 1;
            }
            self.next_id += 1;
            self.next_id - 1
        } else if self.watchers.contains_key(&create.id) {
            return self.refuse(
                header,
                "mvcc: duplicate watch ID provided on the WatchStream".to_owned(),
            );
        } else {
            create.id
        };
        let lags = create.start_revision > 0 && create.start_revision <= store.revision();
        let watcher = Watcher {
            interval,
            start: create.start_revision,
            no_put: create.filters.contains(&0),
            no_delete: create.filters.contains(&1),
            prev_kv: create.prev_kv,
            phase: if lags {
                Phase::Lagging {
                    due: now + SYNC_EVERY,
                }
            } else {
                Phase::Synced
            },
        };
        self.lagging += usize::from(lags);
        self.watchers.insert(id, watcher);
        self.send(
            PbWatchResponse {
                header: Some(header),
                watch_id: id,
                created: true,
                ..Default::default()
            },
            false,
        );
    }

    /// Cancels a watcher; an unknown id gets no answer.
    pub(crate) fn cancel(&mut self, id: i64, header: PbResponseHeader) {
        if let Some(watcher) = self.watchers.remove(&id) {
            self.lagging -= usize::from(matches!(watcher.phase, Phase::Lagging { .. }));
            self.send(
                PbWatchResponse {
                    header: Some(header),
                    watch_id: id,
                    canceled: true,
                    ..Default::default()
                },
                false,
            );
        }
    }

    /// Answers a progress request, or loses it: from 3.5 on etcd answers only if every watcher has caught up and
    /// starts at or below the store's revision, and there is one.
    pub(crate) fn progress(&mut self, header: PbResponseHeader, version: Version) {
        let caught_up =
            |watcher: &Watcher| watcher.phase == Phase::Synced && watcher.start <= header.revision;
        let answers = version.progress_always()
            || (!self.watchers.is_empty() && self.watchers.values().all(caught_up));
        if answers {
            self.send(
                PbWatchResponse {
                    header: Some(header),
                    watch_id: NO_WATCH,
                    ..Default::default()
                },
                false,
            );
        }
    }

    /// Hands the events of one revision to the watchers that are up to date.
    pub(crate) fn publish(&mut self, committed: &Committed, header: PbResponseHeader, held: bool) {
        let mut answers = Vec::new();
        for (id, watcher) in &self.watchers {
            if watcher.phase != Phase::Synced || watcher.start > committed.revision {
                continue;
            }
            let events = watcher.pick(&committed.events);
            if !events.is_empty() {
                answers.push(PbWatchResponse {
                    header: Some(header),
                    watch_id: *id,
                    events,
                    ..Default::default()
                });
            }
        }
        for answer in answers {
            self.send(answer, held);
        }
    }

    /// Looks after the laggards that are due: replays what they missed, or tells them that it is compacted.
    pub(crate) fn sync(
        &mut self,
        header: PbResponseHeader,
        store: &Store,
        now: Duration,
        held: bool,
    ) {
        if self.lagging == 0 {
            return;
        }
        let mut answers = Vec::new();
        for (id, watcher) in &mut self.watchers {
            if !matches!(watcher.phase, Phase::Lagging { due } if due <= now) {
                continue;
            }
            self.lagging -= 1;
            if watcher.start < store.compacted() {
                watcher.phase = Phase::Compacted;
                // etcd leaves the revision of this header at 0.
                let header = Some(PbResponseHeader {
                    revision: 0,
                    ..header
                });
                let compact_revision = store.compacted();
                answers.push(PbWatchResponse {
                    header,
                    watch_id: *id,
                    canceled: true,
                    compact_revision,
                    ..Default::default()
                });
                continue;
            }
            watcher.phase = Phase::Synced;
            let events = watcher.pick(&store.history(&watcher.interval, watcher.start));
            if !events.is_empty() {
                answers.push(PbWatchResponse {
                    header: Some(header),
                    watch_id: *id,
                    events,
                    ..Default::default()
                });
            }
        }
        for answer in answers {
            self.send(answer, held);
        }
    }
}
