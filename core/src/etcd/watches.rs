//! Watching keys: a level for each, made without a gap and kept true by events and reads (S11, S6).
//! A plain state machine fed with messages and time; `watcher` owns the stream and the reads it asks for.

mod queues;
mod rereads;
mod watched;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::level::{Reader, Writer};
use crate::clock::BootTime;
use crate::error::Error;
use crate::protocol::{Key, KeyValue};
use crate::term::TermShared;

pub(crate) use queues::Look;
use queues::Queues;

/// Silence after which the stream is probed: an idle one is not told from a dead one otherwise (progress requests go
/// unanswered on an idle store).
const SILENCE: Duration = Duration::from_secs(10);
/// How long a stream has to answer something it must answer.
const ANSWER_BOUND: Duration = Duration::from_secs(2);
/// Rebuilding again and again slows down to this.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Between two moves after the renewals' member; it doubles with each that comes soon after another …
const MOVE_GAP: Duration = Duration::from_secs(1);
/// … up to this.
const MAX_MOVE_GAP: Duration = Duration::from_secs(30);
/// Keys read in one transaction at most.
pub(crate) const BATCH: usize = 126;

/// What is known of a watched key. A level: a slow reader sees the latest, and state is the truth (S11).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Level {
    /// False until a first read; true for good after it.
    pub(crate) synced: bool,
    /// The revision this is known for: of the event, or of the store at the read.
    pub(crate) revision: i64,
    /// The key, without its name; `None` = absent.
    pub(crate) kv: Option<Arc<KeyValue>>,
    /// Key present: the revision of the delete event that came directly before the event of its creation.
    /// Key absent: the revision of the delete event seen. `None` after a read, or with a gap.
    pub(crate) deleted: Option<i64>,
    /// Nothing comes for now, and why: the key may not be read. It is asked for again with the periodic reads.
    pub(crate) error: Option<Error>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Open a stream; the previous one is dropped.
    Open { generation: u64, to: To },
    /// Ask for a watch of `key` under `id`, from revision `start` (0 = from now).
    Create { id: i64, key: Key, start: i64 },
    /// The same for all keys that begin with `prefix`.
    CreateRange { id: i64, prefix: Key, start: i64 },
    /// Give a watch up.
    Cancel { id: i64 },
    /// Read these keys linearizably, in one transaction.
    Read { read: u64, keys: Vec<Key> },
    /// Read the oldest of the keys that begin with `prefix`, linearizably.
    ReadFirst { read: u64, prefix: Key },
}

/// The member that a stream is opened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// Where the last one was.
    Same,
    /// The next one round the list: the last one failed.
    Next,
    Member(usize),
}

/// A message of the stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) created: bool,
    pub(crate) cancelled: bool,
    pub(crate) compacted: bool,
    /// A refusal for want of permission, as opposed to anything that another try may mend.
    pub(crate) denied: bool,
    pub(crate) reason: String,
    pub(crate) events: Vec<Event>,
}

/// What became of a read.
#[derive(Debug)]
pub(crate) enum Reply<T = Vec<Option<KeyValue>>> {
    /// The store's revision, and the keys in the order asked.
    Found(i64, T),
    /// One of the keys at least may not be read; etcd does not say which.
    Denied(String),
    Failed,
}

/// Put, with the key as it is now, or delete at a revision.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Put(KeyValue),
    Delete { revision: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Wants a watch on the next occasion.
    New,
    /// Asked for; `true`: to be read when it is there.
    Creating(bool),
    Reading,
    Live,
    /// Refused: asked for again with the periodic reads.
    Denied,
}

struct Watched {
    key: Key,
    /// Its id on the stream of now; an id is never used twice.
    id: i64,
    phase: Phase,
    /// Events up to here are known already.
    floor: i64,
    level: Writer<Level>,
    terms: Vec<Arc<TermShared>>,
    users: usize,
}

/// A term whose key was seen to be another's, or gone.
pub(crate) struct Lost(pub(crate) Arc<TermShared>);

pub(crate) struct Watches {
    /// Boxed: a map's nodes are half empty, so what is large costs twice inside them.
    keys: BTreeMap<Key, Box<Watched>>,
    queues: Queues,
    ids: HashMap<i64, Key>,
    next_id: i64,
    generation: u64,
    open: bool,
    /// Ids asked for on this stream and not answered, in order: a refusal does not say which it refuses.
    creating: VecDeque<(i64, BootTime)>,
    heard: BootTime,
    probe: Option<i64>,
    failures: u32,
    reopen_at: Option<BootTime>,
    reads: HashMap<u64, Vec<Key>>,
    next_read: u64,
    to_read: Vec<Key>,
    reread: Duration,
    reread_at: Option<BootTime>,
    /// The last key read again: the next batch begins after it.
    reread_last: Option<Key>,
    /// In so many batches all keys were to be read again when `reread_at` was planned.
    reread_batches: u32,
    /// The member that the open stream leads to.
    member: Option<usize>,
    /// Where the renewals have moved since, unless the stream is there already.
    follow: Option<usize>,
    moved: Option<BootTime>,
    move_gap: Duration,
}

impl Watches {
    /// `reread`: how often all keys are read again (S11).
    pub(crate) fn new(reread: Duration) -> Watches {
        Watches {
            keys: BTreeMap::new(),
            queues: Queues::default(),
            ids: HashMap::new(),
            next_id: 1, // 0 lets etcd choose
            generation: 0,
            open: false,
            creating: VecDeque::new(),
            heard: BootTime::default(),
            probe: None,
            failures: 0,
            reopen_at: None,
            reads: HashMap::new(),
            next_read: 0,
            to_read: Vec::new(),
            reread,
            reread_at: None,
            reread_last: None,
            reread_batches: 0,
            member: None,
            follow: None,
            moved: None,
            move_gap: MOVE_GAP,
        }
    }

    /// Renewals go to another member now: they have found the last one stalled or behind, or raft's leader elsewhere. The
    /// stream goes along: silence would show much later, and a follower learns what happens a heartbeat later than the
    /// leader, which is the whole takeover delay.
    pub(crate) fn follow(&mut self, member: usize) {
        self.follow = Some(member);
    }

    /// The stream opened last leads to this member.
    pub(crate) fn opened(&mut self, member: usize) {
        self.member = Some(member);
    }

    /// From when on the stream may be moved again.
    fn may_move_at(&self) -> BootTime {
        self.moved.map_or(BootTime::default(), |moved| moved.after(self.move_gap))
    }

    fn move_stream(&mut self, now: BootTime) {
        if self.follow == self.member {
            self.follow = None;
        }
        if self.follow.is_none() || !self.open || now < self.may_move_at() {
            return;
        }
        let calm = self.moved.is_none_or(|moved| now.since(moved) >= 4 * self.move_gap);
        self.move_gap = if calm { MOVE_GAP } else { (self.move_gap * 2).min(MAX_MOVE_GAP) };
        self.moved = Some(now);
        self.break_stream(now, Duration::ZERO);
    }

    /// Another user of a key's level.
    pub(crate) fn subscribe(&mut self, key: &Key) -> Reader<Level> {
        let watched = self.keys.entry(key.clone()).or_insert_with(|| {
            Box::new(Watched {
                key: key.clone(),
                id: 0,
                phase: Phase::New,
                floor: 0,
                level: Writer::new(Level::default()),
                terms: Vec::new(),
                users: 0,
        })
        });
        watched.users += 1;
        watched.level.subscribe()
    }

    /// One user less; the last one's leaving ends the watch.
    pub(crate) fn unsubscribe(&mut self, key: &[u8], out: &mut Vec<Action>) {
        let Some(watched) = self.keys.get_mut(key) else { return };
        watched.users = watched.users.saturating_sub(1);
        if watched.users == 0
            && let Some(watched) = self.keys.remove(key)
        {
            self.ids.remove(&watched.id);
            if self.open && matches!(watched.phase, Phase::Creating(_) | Phase::Reading | Phase::Live) {
                out.push(Action::Cancel { id: watched.id });
            }
        }
    }

    /// A term that this key's events and reads may end. The caller is subscribed to the key.
    pub(crate) fn bind(&mut self, term: Arc<TermShared>) -> Option<Lost> {
        let watched = self.keys.get_mut(&*term.holding.key)?;
        let level = watched.level.borrow().clone();
        if level.synced
            && let Some(reason) = term.judge(level.kv.as_deref(), level.revision)
        {
            term.deadline.end(reason);
            return Some(Lost(term));
        }
        if watched.terms.is_empty() {
            watched.terms.reserve_exact(1); // nearly always the only one
        }
        watched.terms.push(term);
        None
    }

    pub(crate) fn unbind(&mut self, term: &TermShared) {
        if let Some(watched) = self.keys.get_mut(&*term.holding.key) {
            watched.terms.retain(|other| other.id != term.id);
        }
    }

    /// Another cluster answers: floors of the old one would hide its events.
    pub(crate) fn forget_cluster(&mut self, now: BootTime) {
        for watched in self.keys.values_mut() {
            watched.floor = 0;
            watched.phase = Phase::New;
            watched.level.modify(|level| {
                *level = Level::default();
            });
        }
        self.queues.forget_cluster();
        self.break_stream(now, Duration::ZERO);
    }

    /// The stream ended, or could not be opened.
    pub(crate) fn broken(&mut self, generation: u64, now: BootTime) {
        if generation == self.generation && self.open {
            self.fail(now);
        }
    }

    fn fail(&mut self, now: BootTime) {
        self.failures += 1;
        // The first rebuilding at once; then not over and over (case 30).
        let pause = match self.failures {
            1 => Duration::ZERO,
            more => (Duration::from_millis(25) * 2u32.pow(more.min(10))).min(MAX_PAUSE),
        };
        self.break_stream(now, pause);
    }

    fn break_stream(&mut self, now: BootTime, pause: Duration) {
        self.open = false;
        self.member = None;
        self.generation += 1;
        self.creating.clear();
        self.ids.clear();
        self.probe = None;
        self.reopen_at = Some(now.after(pause));
        for watched in self.keys.values_mut() {
            if watched.phase != Phase::Denied {
                watched.phase = Phase::New;
            }
        }
        self.queues.break_stream();
    }

    /// A message of the stream.
    pub(crate) fn message(
        &mut self,
        generation: u64,
        mut message: Message,
        now: BootTime,
        out: &mut Vec<Action>,
        lost: &mut Vec<Lost>,
    ) {
        if generation != self.generation {
            return;
        }
        self.heard = now;
        if message.created {
            self.failures = 0;
            // Answers to creates come in order; a refused one says -1, not which (ETCD-CLIENT "Watch stream").
            let Some((id, _)) = self.creating.pop_front() else { return };
            self.created(id, &message, out);
            if !message.compacted {
                return;
            }
        }
        if message.cancelled {
            self.cancelled(message.id);
            return;
        }
        if self.queues.events(message.id, &mut message.events, out) {
            return;
        }
        let Some(watched) = self.ids.get(&message.id).and_then(|key| self.keys.get_mut(key)) else { return };
        for event in message.events {
            watched.event(event, lost);
        }
    }

    fn created(&mut self, id: i64, message: &Message, out: &mut Vec<Action>) {
        if self.probe == Some(id) {
            self.probe = None;
            if !message.cancelled {
                out.push(Action::Cancel { id });
            }
            return;
        }
        if self.queues.created(id, message) {
            return;
        }
        let Some(watched) = self.ids.get(&id).and_then(|key| self.keys.get_mut(key)) else { return };
        if message.cancelled && !message.compacted {
            self.ids.remove(&id);
            if message.denied {
                watched.denied("watch", &message.reason);
                watched.phase = Phase::Denied;
                watched.floor = 0; // when it is allowed again it begins anew, with a read
            } else {
                watched.phase = Phase::New;
            }
        } else if watched.phase == Phase::Creating(true) {
            watched.phase = Phase::Reading;
            self.to_read.push(watched.key.clone());
        } else {
            watched.phase = Phase::Live;
        }
    }

    /// Compacted, or ended by the server: a new watch, with a read, under a new id.
    fn cancelled(&mut self, id: i64) {
        if self.queues.cancelled(id) {
            return;
        }
        if let Some(key) = self.ids.remove(&id)
            && let Some(watched) = self.keys.get_mut(&key)
        {
            watched.phase = Phase::New;
            watched.floor = 0;
            // A gap: the delete seen before it need not be the one directly before the next create (S15).
            watched.level.modify_if(|level| level.kv.is_none() && level.deleted.take().is_some());
        }
    }

    /// A read has answered, or failed.
    pub(crate) fn read_done(&mut self, read: u64, reply: Reply, now: BootTime, out: &mut Vec<Action>, lost: &mut Vec<Lost>) {
        let Some(keys) = self.reads.remove(&read) else { return };
        let (revision, kvs) = match reply {
            Reply::Found(revision, kvs) => (revision, kvs),
            Reply::Denied(reason) => return self.read_denied(keys, &reason, out),
            Reply::Failed => {
                // What waits for a read waits on; the periodic ones come again by themselves.
                let waiting = keys.into_iter().filter(|key| {
                    self.keys.get(key).is_some_and(|watched| watched.phase == Phase::Reading)
                });
                self.to_read.extend(waiting);
                self.reopen_at = Some(now.after(Duration::from_millis(50)));
                return;
            }
        };
        for (key, kv) in keys.iter().zip(kvs) {
            if let Some(watched) = self.keys.get_mut(key) {
                if watched.phase == Phase::Reading {
                    watched.phase = Phase::Live;
                }
                watched.read(revision, kv, lost);
            }
        }
    }

    /// Does what is due now. `jitter` in 0..1000 spreads the periodic reads. Returns when to come back at the latest.
    pub(crate) fn step(&mut self, now: BootTime, jitter: u64, out: &mut Vec<Action>) -> Option<BootTime> {
        if self.keys.is_empty() && self.queues.is_empty() && self.creating.is_empty() {
            self.reread_at = None;
            return None;
        }
        self.check_stream(now);
        self.move_stream(now);
        self.reread(now, jitter, out);
        self.queues.reread(now, jitter, self.reread);
        let paused = self.reopen_at.is_some_and(|at| at > now);
        let mut look = None;
        if !paused {
            self.reopen_at = None;
            self.open_and_create(now, out);
            self.begin_reads(out);
            let next_read = || {
                self.next_read += 1;
                self.next_read
            };
            look = self.queues.read(now, jitter, next_read, out);
        }
        self.probe_silence(now, out);
        [self.next_wake(now), look].into_iter().flatten().min()
    }

    fn check_stream(&mut self, now: BootTime) {
        let overdue = self.creating.front().is_some_and(|(_, asked)| now.since(*asked) >= ANSWER_BOUND);
        if overdue && now.since(self.heard) >= ANSWER_BOUND {
            self.fail(now);
        }
    }

    fn open_and_create(&mut self, now: BootTime, out: &mut Vec<Action>) {
        if !self.keys.values().any(|watched| watched.phase == Phase::New) && !self.queues.want_a_watch() {
            return;
        }
        if !self.open {
            self.open = true;
            self.heard = now;
            let to = match self.follow.take() {
                Some(member) => To::Member(member),
                None if self.failures > 0 => To::Next,
                None => To::Same,
            };
            out.push(Action::Open {
                generation: self.generation,
                to,
            });
        }
        for watched in self.keys.values_mut().filter(|watched| watched.phase == Phase::New) {
            watched.id = self.next_id;
            self.next_id += 1;
            self.ids.insert(watched.id, watched.key.clone());
            self.creating.push_back((watched.id, now));
            // After a break: from the next revision. Else from now, and read when it is there (S11).
            let start = if watched.floor > 0 { watched.floor + 1 } else { 0 };
            watched.phase = Phase::Creating(start == 0);
            out.push(Action::Create {
                id: watched.id,
                key: watched.key.clone(),
                start,
            });
        }
        let next_id = || {
            let id = self.next_id;
            self.next_id += 1;
            self.creating.push_back((id, now));
            id
        };
        self.queues.create(next_id, out);
    }

    fn begin_reads(&mut self, out: &mut Vec<Action>) {
        let mut keys = std::mem::take(&mut self.to_read);
        keys.retain(|key| self.keys.get(key).is_some_and(|watched| watched.phase == Phase::Reading));
        for batch in keys.chunks(BATCH) {
            self.read(batch.to_vec(), out);
        }
    }

    fn read(&mut self, keys: Vec<Key>, out: &mut Vec<Action>) {
        self.next_read += 1;
        self.reads.insert(self.next_read, keys.clone());
        out.push(Action::Read {
            read: self.next_read,
            keys,
        });
    }

    fn probe_silence(&mut self, now: BootTime, out: &mut Vec<Action>) {
        if !self.open || self.probe.is_some() || !self.creating.is_empty() || now.since(self.heard) < SILENCE {
            return;
        }
        if let Some(key) = self.keys.keys().next().or(self.queues.any_key()) {
            let id = self.next_id;
            self.next_id += 1;
            self.probe = Some(id);
            self.creating.push_back((id, now));
            out.push(Action::Create {
                id,
                key: key.clone(),
                start: 0,
            });
        }
    }

    fn next_wake(&self, now: BootTime) -> Option<BootTime> {
        let answer = self.creating.front().map(|(_, asked)| asked.after(ANSWER_BOUND).max(self.heard.after(ANSWER_BOUND)));
        let silence = (self.open && self.creating.is_empty()).then(|| self.heard.after(SILENCE));
        let pending = self.reopen_at.or((!self.to_read.is_empty()).then_some(now));
        let following = (self.open && self.follow.is_some()).then(|| self.may_move_at());
        [answer, silence, pending, following, self.reread_at].into_iter().flatten().min()
    }
}

#[cfg(test)]
#[path = "watches_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "queues_tests.rs"]
mod queues_tests;
