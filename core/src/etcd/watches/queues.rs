//! The first of a queue (of all keys `PREFIX/…` the oldest leads): a level for each queue that is looked at (S11).
//! Owns what of a queue is watched and when it is read; the stream and its ids are the parent's.
//!
//! Only the first key is watched, and when it ends one read says who follows; the whole range only while it is empty, for
//! the one event that ends that. A watch of the range all along would tell every client of every join and leave (with a
//! thousand waiters that look on, a thousand messages for each), and to know who follows, a client would have to hold and
//! periodically read the whole queue. That read makes etcd walk the queue, so those who look on read spread.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::rereads::spread;
use super::watched::nameless;
use super::{Action, Event, Level, Message, Phase, Reader, Reply, Watches, Writer};
use crate::clock::BootTime;
use crate::error::{Error, show};
use crate::protocol::{Key, KeyValue};

/// When the first ends, whoever is next in line reads at once, to lead; who merely looks on lets that go first.
const YIELD: Duration = Duration::from_millis(2);
/// A read that failed is made again after this.
const AGAIN: Duration = Duration::from_millis(50);
/// A read of a long queue waits for up to so much for each pair in it: as many may look on as wait, and each read costs
/// as many steps. A thousand spread over a second, ten over nothing.
const SPREAD_PER_PAIR: Duration = Duration::from_micros(1);
/// … but not for less than this, which is not worth a timer …
const LEAST_SPREAD: Duration = Duration::from_millis(1);
/// … and for no longer than this.
const LONGEST_SPREAD: Duration = Duration::from_secs(3);

/// What a read of a queue showed.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) first: Option<KeyValue>,
    /// How many stand in it.
    pub(crate) length: u64,
}

struct Queue {
    /// What all its keys begin with.
    range: Key,
    /// Its id on the stream of now; an id is never used twice.
    id: i64,
    phase: Phase,
    /// The key that is watched; `None`: the whole range, which is empty as far as is known.
    first: Option<Vec<u8>>,
    /// Events up to here are known already; 0: what is known does not reach to the present.
    floor: i64,
    /// The newest event since a read became necessary: one that is older does not count.
    heard: i64,
    length: u64,
    level: Writer<Level>,
    users: usize,
    /// When it is read because it must be.
    read_at: Option<BootTime>,
    /// What it is read for has only now happened.
    yields: bool,
    /// A read is under way.
    reading: bool,
    /// When it is read again although nothing happened …
    reread_at: Option<BootTime>,
    /// … which is now.
    reread: bool,
}

#[derive(Default)]
pub(super) struct Queues {
    queues: BTreeMap<Key, Box<Queue>>,
    ids: HashMap<i64, Key>,
    reads: HashMap<u64, Key>,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn any_key(&self) -> Option<&Key> {
        self.queues.keys().next()
    }

    pub(super) fn want_a_watch(&self) -> bool {
        self.queues.values().any(|queue| queue.phase == Phase::New)
    }

    pub(super) fn has(&self, id: i64) -> bool {
        self.ids.contains_key(&id)
    }

    fn of(&mut self, id: i64) -> Option<&mut Queue> {
        Some(self.queues.get_mut(self.ids.get(&id)?)?)
    }

    /// Another cluster answers.
    pub(super) fn forget_cluster(&mut self) {
        self.reads.clear();
        for queue in self.queues.values_mut() {
            queue.phase = Phase::New;
            queue.unknown();
            (queue.first, queue.heard, queue.length, queue.reading) = (None, 0, 0, false);
            queue.level.replace(Level::default());
        }
    }

    pub(super) fn break_stream(&mut self) {
        self.ids.clear();
        for queue in self.queues.values_mut().filter(|queue| queue.phase != Phase::Denied) {
            queue.phase = Phase::New;
        }
    }

    /// True if `id` is a queue's: its watch is there, or was refused.
    pub(super) fn created(&mut self, id: i64, message: &Message) -> bool {
        let Some(queue) = self.of(id) else { return false };
        if message.cancelled && !message.compacted {
            queue.phase = Phase::New;
            if message.denied {
                queue.denied("watch", &message.reason);
                queue.phase = Phase::Denied;
                queue.unknown(); // when it is allowed again it begins anew, with a read
            }
            self.ids.remove(&id);
        } else if queue.phase == Phase::Creating(true) {
            queue.phase = Phase::Reading;
        } else {
            queue.phase = Phase::Live;
        }
        true
    }

    /// True if `id` is a queue's: its watch was ended by the server, or cannot begin where it should.
    pub(super) fn cancelled(&mut self, id: i64) -> bool {
        let Some(queue) = self.of(id) else { return false };
        queue.phase = Phase::New;
        queue.unknown();
        self.ids.remove(&id);
        true
    }

    /// True if `id` is a queue's.
    pub(super) fn events(&mut self, id: i64, events: &mut Vec<Event>, out: &mut Vec<Action>) -> bool {
        let Some(queue) = self.of(id) else { return false };
        for event in events.drain(..) {
            queue.event(event);
            if queue.phase == Phase::New {
                // It watches something else from here on, and hears of the rest there.
                self.ids.remove(&id);
                out.push(Action::Cancel { id });
                break;
            }
        }
        true
    }

    /// Asks for the watches that are wanted.
    pub(super) fn create(&mut self, mut next_id: impl FnMut() -> i64, out: &mut Vec<Action>) {
        for queue in self.queues.values_mut().filter(|queue| queue.phase == Phase::New) {
            queue.id = next_id();
            self.ids.insert(queue.id, queue.range.clone());
            let start = if queue.floor > 0 { queue.floor + 1 } else { 0 };
            queue.phase = Phase::Creating(start == 0);
            let id = queue.id;
            out.push(match &queue.first {
                Some(key) => Action::Create {
                    id,
                    key: key.as_slice().into(),
                    start,
                },
                None => Action::CreateRange {
                    id,
                    prefix: queue.range.clone(),
                    start,
                },
            });
        }
    }

    /// Notes which are to be read again although nothing happened, each once in an interval.
    pub(super) fn reread(&mut self, now: BootTime, jitter: u64, interval: Duration) {
        for queue in self.queues.values_mut() {
            let at = *queue.reread_at.get_or_insert_with(|| spread(now, interval, jitter));
            if at > now {
                continue;
            }
            queue.reread_at = Some(spread(now, interval, jitter));
            match queue.phase {
                Phase::Live => queue.reread = true,
                Phase::Denied => queue.phase = Phase::New,
                Phase::New | Phase::Creating(_) | Phase::Reading => {}
            }
        }
    }

    /// Begins the reads that are due; when to come back at the latest.
    pub(super) fn read(
        &mut self,
        now: BootTime,
        jitter: u64,
        mut next_read: impl FnMut() -> u64,
        out: &mut Vec<Action>,
    ) -> Option<BootTime> {
        let mut next: Option<BootTime> = None;
        for queue in self.queues.values_mut() {
            if !queue.reading && queue.due(now, jitter) {
                queue.reading = true;
                let read = next_read();
                self.reads.insert(read, queue.range.clone());
                out.push(Action::ReadFirst {
                    read,
                    prefix: queue.range.clone(),
                });
            }
            next = [next, queue.reread_at, queue.read_at.filter(|_| !queue.reading)].into_iter().flatten().min();
        }
        next
    }
}

impl Watches {
    /// Another user of the level of a queue's first key; `range` is what all its keys begin with.
    pub(crate) fn subscribe_queue(&mut self, range: &Key) -> Reader<Level> {
        let queue = self.queues.queues.entry(range.clone()).or_insert_with(|| {
            Box::new(Queue {
                range: range.clone(),
                id: 0,
                phase: Phase::New,
                first: None,
                floor: 0,
                heard: 0,
                length: 0,
                level: Writer::new(Level::default()),
                users: 0,
                read_at: None,
                yields: false,
                reading: false,
                reread_at: None,
                reread: false,
            })
        });
        queue.users += 1;
        queue.level.subscribe()
    }

    /// One user less; the last one's leaving ends the watch.
    pub(crate) fn unsubscribe_queue(&mut self, range: &Key, out: &mut Vec<Action>) {
        let Some(queue) = self.queues.queues.get_mut(range) else { return };
        queue.users = queue.users.saturating_sub(1);
        if queue.users == 0
            && let Some(queue) = self.queues.queues.remove(range)
        {
            self.queues.ids.remove(&queue.id);
            if self.open && matches!(queue.phase, Phase::Creating(_) | Phase::Reading | Phase::Live) {
                out.push(Action::Cancel { id: queue.id });
            }
        }
    }

    /// Does this watch tell of a queue?
    pub(crate) fn is_queue(&self, id: i64) -> bool {
        self.queues.has(id)
    }

    /// A read of a queue has answered, or failed.
    pub(crate) fn look_done(&mut self, read: u64, reply: Reply<Look>, now: BootTime, out: &mut Vec<Action>) {
        let Some(range) = self.queues.reads.remove(&read) else { return };
        let Some(queue) = self.queues.queues.get_mut(&range) else { return };
        queue.reading = false;
        match reply {
            Reply::Found(revision, look) => {
                let watched = matches!(queue.phase, Phase::Creating(_) | Phase::Reading | Phase::Live);
                queue.looked(revision, look);
                if watched && queue.phase == Phase::New {
                    self.queues.ids.remove(&queue.id);
                    if self.open {
                        out.push(Action::Cancel { id: queue.id });
                    }
                }
            }
            Reply::Denied(reason) => {
                if queue.phase == Phase::Reading {
                    queue.phase = Phase::Live; // the watch is there, and may tell of the key yet
                }
                queue.denied("read", &reason);
            }
            Reply::Failed => queue.read_at = (queue.phase == Phase::Reading).then(|| now.after(AGAIN)),
        }
    }
}

impl Queue {
    /// What is known may have been overtaken: the next watch begins with a read.
    fn unknown(&mut self) {
        self.floor = 0;
        self.read_at = None;
    }

    /// Is a read due?
    fn due(&mut self, now: BootTime, jitter: u64) -> bool {
        let mut due = std::mem::take(&mut self.reread) && self.phase == Phase::Live;
        if self.phase == Phase::Reading {
            let yields = if std::mem::take(&mut self.yields) { YIELD } else { Duration::ZERO };
            let read_at = self.read_at.unwrap_or_else(|| now.after(yields + self.spread(jitter)));
            self.read_at = Some(read_at);
            if read_at <= now {
                self.read_at = None;
                due = true;
            }
        }
        due
    }

    /// How long this one waits with a read that all who look on make.
    fn spread(&self, jitter: u64) -> Duration {
        let pairs = u32::try_from(self.length.saturating_mul(self.length)).unwrap_or(u32::MAX);
        let most = SPREAD_PER_PAIR.saturating_mul(pairs).min(LONGEST_SPREAD);
        if most < LEAST_SPREAD {
            return Duration::ZERO;
        }
        most * u32::try_from(jitter % 1000).unwrap_or(0) / 1000
    }

    fn event(&mut self, event: Event) {
        let revision = match &event {
            Event::Put(kv) => kv.mod_revision,
            Event::Delete { revision } => *revision,
        };
        if revision <= self.floor {
            return; // known from a read, or delivered before the break
        }
        if self.phase != Phase::Live {
            self.heard = self.heard.max(revision);
            return;
        }
        let led = self.level.borrow().kv.as_ref().map(|kv| kv.create_revision);
        match (event, led) {
            // The first to join an empty queue.
            (Event::Put(kv), None) if self.first.is_none() => self.show(revision, Some(kv), 1),
            // Its own later write.
            (Event::Put(kv), Some(created)) if kv.create_revision == created => {
                let length = self.length;
                self.show(revision, Some(kv), length);
            }
            // An absent key was deleted: nothing new.
            (Event::Delete { .. }, None) => {}
            _ => {
                self.phase = Phase::Reading;
                self.heard = revision;
                self.yields = true;
                self.unknown();
            }
        }
    }

    fn looked(&mut self, revision: i64, look: Look) {
        let old = match self.phase {
            Phase::Reading => revision < self.heard,
            Phase::Live => revision < self.floor,
            _ => revision < self.level.borrow().revision,
        };
        if old {
            return; // it is asked again where it must be
        }
        let awaited = self.phase == Phase::Reading;
        self.show(revision, look.first, look.length);
        if awaited && self.phase == Phase::Reading {
            self.phase = Phase::Live;
        }
    }

    /// The queue is so at `revision`. Where another key is the first now, that one is watched from there on.
    fn show(&mut self, revision: i64, first: Option<KeyValue>, length: u64) {
        let key = first.as_ref().map(|kv| kv.key.clone());
        let begins = matches!(self.phase, Phase::Creating(true)); // its own read comes yet
        if key != self.first {
            self.first = key;
            if self.phase != Phase::Denied {
                self.phase = Phase::New;
            }
            self.floor = revision;
        } else if !begins {
            self.floor = self.floor.max(revision);
        }
        if self.phase == Phase::Denied {
            self.unknown();
        }
        self.length = length;
        let level = Level {
            synced: true,
            revision,
            kv: first.map(nameless),
            deleted: None,
            error: None,
        };
        self.level.modify_if(|now| {
            let same = |now: &Option<Arc<KeyValue>>| {
                now.as_ref().map(|kv| kv.mod_revision) == level.kv.as_ref().map(|kv| kv.mod_revision)
            };
            let news = !now.synced || now.error.is_some() || !same(&now.kv);
            if news || now.kv.is_none() {
                *now = level;
            }
            news
        });
    }

    /// The queue may not be read: whoever waits for it is told, once.
    fn denied(&mut self, what: &str, reason: &str) {
        let range = &self.range;
        self.level.modify_if(|level| {
            let new = level.error.is_none();
            level.error.get_or_insert_with(|| Error::PermissionDenied {
                message: format!("{what} of {}: {reason}", show(range)),
            });
            new
        });
    }
}
