//! Keeping leases: when each is renewed, what a reply is worth, when a read confirms it (S2, DESIGN §4).
//! A plain state machine fed with replies and time; `renewer` owns the stream and the calls it asks for.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::due::Due;
use super::held::{Held, Place};
use crate::clock::BootTime;
use crate::error::Reason;
use crate::options::{RENEWALS_PER_TTL, Validity};
use crate::protocol::KeyValue;
use crate::term::{LeaseShared, TermShared, TermState};

/// A follower forwards so many renewals in a millisecond; etcd's leader answers ten times as many.
const FOLLOWER_PER_MS: u128 = 4;
/// Renewals outstanding on the stream at most, whatever the TTL.
const MAX_IN_FLIGHT: usize = 2048;
/// A full stream is filled again when this part of it is left: one by one each would cost a wake-up and a write.
const LOW_WATER: usize = 8;
/// A stream that leaves a renewal unanswered for less is not called stalled, whatever the TTL.
const MIN_BOUND: Duration = Duration::from_millis(50);
/// … and for a TTL above 600 ms, this part of it.
const BOUNDS_PER_TTL: u32 = 12;
/// Confirming reads are begun at most this often per TTL, but at once when a deadline is near.
const READS_PER_TTL: u32 = 25;
/// Own keys in one confirming read: at least so many of the longest unseen (a read costs as much as 30 renewals,
/// a further key little) …
const KEYS_AT_LEAST: usize = 16;
/// … and at most (etcd's limit of operations in a transaction is 128).
const KEYS_AT_MOST: usize = 126;
/// Confirming reads under way at once: one may hang until its bound.
const MAX_READS: usize = 4;
/// Leases due within this part of their interval go out together: one wake-up, one write.
const COALESCE: u32 = 20;

/// What the machine wants done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Open a stream; the previous one, if any, is dropped. `advance`: on the next endpoint.
    Open { generation: u64, advance: bool },
    /// Renew a lease on the open stream.
    Send { lease: i64 },
    /// A linearizable read of these keys, or of any if there are none. `advance`: on the next endpoint.
    Read { read: u64, keys: Vec<Vec<u8>>, bound: Duration, advance: bool },
    /// This term was lost: announce it.
    Lost(Arc<TermShared>),
}

/// A reply that may extend a lease once a read confirms it.
#[derive(Debug, Clone, Copy)]
struct Extension {
    sent: BootTime,
    received: BootTime,
    /// 0: the lease is gone, if the reply is confirmed.
    ttl: Duration,
    raft_term: u64,
}

struct Entry {
    lease: Arc<LeaseShared>,
    /// The lease's TTL and what is known of its deadline, beside the rest: looking there costs a cache miss or two. The
    /// true deadline may be later, and it may have ended.
    ttl: Duration,
    until: BootTime,
    renewing: bool,
    /// When it is due.
    next: Option<BootTime>,
    /// Outstanding on the stream since.
    sent: Option<BootTime>,
    extension: Option<Extension>,
    /// Waits in `unconfirmed`.
    waiting: bool,
    terms: Vec<u64>,
}

struct TermEntry {
    term: Arc<TermShared>,
    /// When the last read that showed the key as ours was sent: no extension goes beyond that + TTL (S15).
    shown: BootTime,
    /// When an extension was last confirmed.
    extended: BootTime,
    look: BootTime,
}

struct Read {
    begun: BootTime,
    terms: Vec<u64>,
}

/// What a confirming read answered.
pub(crate) struct ReadReply {
    pub(crate) raft_term: u64,
    pub(crate) revision: i64,
    /// One for each key asked for.
    pub(crate) keys: Vec<Option<KeyValue>>,
}

/// A linearizable proof: when its request was begun, and at which raft term it was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof {
    pub(crate) begun: BootTime,
    pub(crate) raft_term: u64,
}

pub(crate) struct Renewals {
    validity: Validity,
    leases: Held<Entry>,
    due: Due,
    /// The smallest TTL among the leases, by count.
    ttls: std::collections::BTreeMap<Duration, usize>,
    generation: u64,
    open: bool,
    in_flight: VecDeque<(Place, BootTime)>,
    /// Streams given up in a row without a reply between: the bound doubles with each.
    stalls: u32,
    reopen_at: Option<BootTime>,
    unconfirmed: Vec<Place>,
    urgent: bool,
    reads: HashMap<u64, Read>,
    last_read: Option<BootTime>,
    next_read: u64,
    highest_raft_term: u64,
    /// How long the machine has slept: read once for many leases.
    slept: u64,
    /// Replies in a row whose raft term was below the confirming read's.
    old_terms: u32,
    stale_read: bool,
    terms: HashMap<u64, TermEntry>,
    looks: BTreeSet<(BootTime, u64)>,
    unseen: BTreeSet<(BootTime, u64)>,
}

impl Renewals {
    pub(crate) fn new(validity: Validity) -> Renewals {
        Renewals {
            validity,
            leases: Held::new(),
            due: Due::default(),
            ttls: std::collections::BTreeMap::new(),
            generation: 0,
            open: false,
            in_flight: VecDeque::new(),
            stalls: 0,
            reopen_at: None,
            unconfirmed: Vec::new(),
            urgent: false,
            reads: HashMap::new(),
            last_read: None,
            next_read: 0,
            highest_raft_term: 0,
            slept: 0,
            old_terms: 0,
            stale_read: false,
            terms: HashMap::new(),
            looks: BTreeSet::new(),
            unseen: BTreeSet::new(),
        }
    }

    fn min_ttl(&self) -> Duration {
        self.ttls.keys().next().copied().unwrap_or(Duration::from_secs(5))
    }

    fn bound(&self) -> Duration {
        let base = (self.min_ttl() / BOUNDS_PER_TTL).max(MIN_BOUND);
        (base * 2u32.pow(self.stalls.min(5))).min(self.min_ttl() / 2).max(MIN_BOUND)
    }

    /// Renewals outstanding at most: what even a follower answers in half the bound, so that a long burst does not look
    /// like a stall.
    fn cap(&self) -> usize {
        let answered = (self.bound() / 2).as_millis() * FOLLOWER_PER_MS;
        usize::try_from(answered).unwrap_or(MAX_IN_FLIGHT).min(MAX_IN_FLIGHT)
    }

    /// A lease just granted: `sent` before the request, answered at `raft_term`.
    pub(crate) fn add(&mut self, lease: Arc<LeaseShared>, sent: BootTime, raft_term: u64, now: BootTime) {
        *self.ttls.entry(lease.ttl).or_insert(0) += 1;
        let entry = Entry {
            renewing: false,
            next: None,
            sent: None,
            extension: Some(Extension {
                sent,
                received: now,
                ttl: lease.ttl,
                raft_term,
            }),
            waiting: false,
            terms: Vec::new(),
            ttl: lease.ttl,
            until: lease.deadline.at(),
            lease,
        };
        self.note_raft_term(raft_term);
        self.leases.insert(entry.lease.id, entry);
    }

    /// Forgets a lease: a reply that still comes changes nothing (case 10).
    pub(crate) fn remove(&mut self, lease: i64) {
        if let Some((place, entry)) = self.leases.remove(lease) {
            // A reply that still comes finds nothing; one that does not come is no stall.
            self.in_flight.retain(|(other, _)| *other != place);
            if let Some(count) = self.ttls.get_mut(&entry.lease.ttl) {
                *count -= 1;
                if *count == 0 {
                    self.ttls.remove(&entry.lease.ttl);
                }
            }
        }
    }

    /// Starts or stops renewing in the background. Idempotent.
    pub(crate) fn set_renewing(&mut self, lease: i64, renewing: bool) {
        let Some(place) = self.leases.place(lease) else { return };
        let Some(entry) = self.leases.at_mut(place) else { return };
        if entry.renewing == renewing {
            return;
        }
        entry.renewing = renewing;
        if renewing {
            // Its terms were looked at as ones that nobody renews, which are never in jeopardy: look again.
            for id in &entry.terms {
                if let Some(term) = self.terms.get_mut(id) {
                    self.looks.remove(&(term.look, *id));
                    term.look = term.extended;
                    self.looks.insert((term.look, *id));
                }
            }
            if entry.sent.is_none() {
                let sent = entry.extension.map_or(BootTime::default(), |extension| extension.sent);
                let next = sent.after(entry.ttl / RENEWALS_PER_TTL);
                self.schedule(place, next);
            }
        } else {
            entry.next = None;
        }
    }

    pub(crate) fn is_renewing(&self, lease: i64) -> bool {
        self.leases.get(lease).is_some_and(|entry| entry.renewing)
    }

    /// Renews once, now, whether or not it is renewed in the background.
    pub(crate) fn renew_now(&mut self, lease: i64, now: BootTime) {
        if let Some(place) = self.leases.place(lease)
            && self.leases.at(place).is_some_and(|entry| entry.sent.is_none())
        {
            self.schedule(place, now);
        }
    }

    fn schedule(&mut self, place: Place, at: BootTime) {
        let Some(entry) = self.leases.at_mut(place) else { return };
        entry.next = Some(at); // where it stood before it is passed over
        self.due.push(at, place);
    }

    /// Confirms a lease's last renewal by a proof of the caller's own (S4). `None`: the proof does not confirm it;
    /// renew once more. A deadline otherwise.
    pub(crate) fn confirm_by(&mut self, lease: i64, proof: Proof) -> Option<BootTime> {
        self.note_raft_term(proof.raft_term);
        let extension = self.leases.get(lease)?.extension?;
        let confirmed = extension.received <= proof.begun
            && extension.raft_term == proof.raft_term
            && proof.raft_term >= self.highest_raft_term
            && !extension.ttl.is_zero();
        confirmed.then(|| extension.sent.after(self.validity.of(extension.ttl)))
    }

    /// When the reply came that last could extend this lease.
    pub(crate) fn answered(&self, lease: i64) -> Option<BootTime> {
        Some(self.leases.get(lease)?.extension?.received)
    }

    /// A term begins: its lease's renewals extend it, and its key takes part in the confirming reads.
    pub(crate) fn add_term(&mut self, term: Arc<TermShared>, shown: BootTime, now: BootTime) {
        let id = term.id;
        if let Some(entry) = self.leases.get_mut(term.guard.lease) {
            if entry.terms.is_empty() {
                entry.terms.reserve_exact(1); // nearly always the only one
            }
            entry.terms.push(id);
        }
        self.unseen.insert((shown, id));
        self.terms.insert(
            id,
            TermEntry {
                shown,
                extended: now,
                look: now,
                term,
            },
        );
        self.looks.insert((now, id));
    }

    /// The term is over; nothing extends or announces it any more.
    pub(crate) fn remove_term(&mut self, id: u64) {
        if let Some(entry) = self.terms.remove(&id) {
            self.looks.remove(&(entry.look, id));
            self.unseen.remove(&(entry.shown, id));
            if let Some(lease) = self.leases.get_mut(entry.term.guard.lease) {
                lease.terms.retain(|other| *other != id);
            }
        }
    }

    /// Every term that is still running: for the end of the client or the cluster.
    pub(crate) fn running(&self) -> Vec<Arc<TermShared>> {
        let mut terms: Vec<_> = self.terms.values().map(|entry| entry.term.clone()).collect();
        terms.sort_by_key(|term| term.id);
        terms
    }

    /// The machine's suspended time as of now.
    pub(crate) fn note_slept(&mut self, slept: u64) {
        self.slept = slept;
    }

    pub(crate) fn note_raft_term(&mut self, raft_term: u64) {
        self.highest_raft_term = self.highest_raft_term.max(raft_term);
    }

    /// Another cluster answers: what was learnt of the old one is worth nothing, and its leases are gone.
    pub(crate) fn forget_cluster(&mut self) {
        self.highest_raft_term = 0;
        for entry in self.leases.values_mut() {
            entry.extension = None;
            entry.renewing = false;
            entry.next = None;
            entry.lease.deadline.end(Reason::ClusterChanged);
        }
        self.due.clear();
    }

    /// The leases held, closed or not: for the end of the client.
    pub(crate) fn leases(&mut self) -> Vec<Arc<LeaseShared>> {
        self.leases.values_mut().map(|entry| entry.lease.clone()).collect()
    }

    /// A reply on the stream. True if [`step`](Self::step) has something to do before it would look again.
    pub(crate) fn reply(&mut self, generation: u64, lease: i64, ttl: i64, raft_term: u64, now: BootTime) -> bool {
        if generation != self.generation {
            return false;
        }
        self.stalls = 0;
        // Replies come in the order of the requests; in doubt the oldest send of this lease (S2).
        let sent = match self.in_flight.front() {
            Some((front, _)) if front.id == lease => self.in_flight.pop_front(),
            _ => {
                let index = self.in_flight.iter().position(|(other, _)| other.id == lease);
                index.and_then(|index| self.in_flight.remove(index))
            }
        };
        self.note_raft_term(raft_term);
        let Some((place, sent)) = sent else { return false };
        // Whatever is due by now: a full stream has no time of its own to come back at.
        let (left, low) = (self.in_flight.len(), self.cap() / LOW_WATER);
        let refill = left == low || (left < low && self.due.first().is_some_and(|at| at <= now));
        let Some(entry) = self.leases.at_mut(place) else { return refill };
        entry.sent = None;
        entry.extension = Some(Extension {
            sent,
            received: now,
            ttl: Duration::from_secs(u64::try_from(ttl).unwrap_or(0)),
            raft_term,
        });
        self.urgent |= ttl <= 0 || entry.until.since(now) < entry.ttl / 4;
        let renewing = entry.renewing;
        let first = self.unconfirmed.is_empty();
        if !std::mem::replace(&mut entry.waiting, true) {
            self.unconfirmed.push(place);
        }
        if renewing {
            let interval = entry.ttl / RENEWALS_PER_TTL;
            self.schedule(place, sent.after(interval).max(now));
        }
        refill || first || self.urgent
    }

    /// The stream ended, or could not be opened.
    pub(crate) fn broken(&mut self, generation: u64, now: BootTime) {
        if generation == self.generation && self.open {
            self.give_up_stream(now);
        }
    }

    /// Everything outstanding goes out again on a new stream, never twice on one; replies of the old one are not read.
    fn give_up_stream(&mut self, now: BootTime) {
        self.open = false;
        self.generation += 1;
        self.stalls += 1;
        // The first new stream at once; then not over and over.
        let pause = match self.stalls {
            0 | 1 => Duration::ZERO,
            more => Duration::from_millis(10 * 2u64.pow(more.min(6))),
        };
        self.reopen_at = Some(now.after(pause.min(self.min_ttl() / 10)));
        for (place, _) in std::mem::take(&mut self.in_flight) {
            if let Some(entry) = self.leases.at_mut(place) {
                entry.sent = None;
                self.schedule(place, now);
            }
        }
    }

    /// A confirming read has answered, or failed (`None`).
    pub(crate) fn read_done(&mut self, read: u64, reply: Option<ReadReply>, now: BootTime, out: &mut Vec<Action>) {
        let Some(read) = self.reads.remove(&read) else { return };
        let Some(reply) = reply else {
            self.stale_read = true; // another endpoint next time
            return;
        };
        for (id, kv) in read.terms.iter().zip(&reply.keys) {
            self.shown(*id, kv.as_ref(), reply.revision, (read.begun, now), out);
        }
        if reply.raft_term < self.highest_raft_term {
            self.stale_read = true; // a member that has not heard of the newest etcd leader confirms nothing
            return;
        }
        self.highest_raft_term = reply.raft_term;
        let (mut old, mut good) = (false, false);
        // At once, and at once at the next member; if that is behind too, not over and over (case 19).
        let pause = match self.old_terms {
            0 | 1 => Duration::ZERO,
            more => (MIN_BOUND * 2u32.pow((more - 2).min(8))).min(self.min_ttl() / 10),
        };
        let again = now.after(pause);
        for place in std::mem::take(&mut self.unconfirmed) {
            let Some(entry) = self.leases.at_mut(place) else { continue };
            let Some(extension) = entry.extension else {
                entry.waiting = false;
                continue;
            };
            if extension.received > read.begun {
                self.unconfirmed.push(place); // the read began before it came: the next one
                continue;
            }
            entry.waiting = false;
            if extension.raft_term != reply.raft_term {
                // An old term is no error: renew once more (S2).
                old = true;
                if entry.sent.is_none() {
                    self.schedule(place, again);
                }
            } else if extension.ttl.is_zero() {
                self.gone(place, out);
            } else {
                good = true;
                self.extend(place, extension, now);
            }
        }
        if good {
            self.old_terms = 0;
        } else if old {
            self.old_terms = self.old_terms.saturating_add(1);
        }
        if old && self.old_terms >= 2 && self.old_terms.is_multiple_of(2) && self.open {
            self.give_up_stream(now); // a second one is a missed bound: the next member
        }
    }

    fn extend(&mut self, place: Place, extension: Extension, now: BootTime) {
        let Some(entry) = self.leases.at_mut(place) else { return };
        let validity = self.validity.of(extension.ttl);
        let deadline = extension.sent.after(validity);
        if entry.lease.deadline.set(deadline, now, self.slept) {
            entry.until = deadline;
        }
        entry.lease.confirmed.fetch_add(1, Ordering::Relaxed);
        for id in &entry.terms {
            if let Some(entry) = self.terms.get_mut(id)
                && entry.term.deadline.set(deadline.min(entry.shown.after(validity)), now, self.slept)
            {
                entry.extended = now;
                entry.term.state.change(|state| (state == TermState::Jeopardy).then_some(TermState::Leading));
            }
        }
    }

    /// etcd says, confirmed, that the lease is gone.
    fn gone(&mut self, place: Place, out: &mut Vec<Action>) {
        let Some(entry) = self.leases.at_mut(place) else { return };
        entry.renewing = false;
        entry.next = None;
        entry.lease.deadline.end(Reason::Revoked);
        for id in entry.terms.clone() {
            self.end_term(id, Reason::Revoked, out);
        }
    }

    fn end_term(&mut self, id: u64, reason: Reason, out: &mut Vec<Action>) {
        if let Some(entry) = self.terms.get(&id) {
            let term = entry.term.clone();
            term.deadline.end(reason);
            self.remove_term(id);
            out.push(Action::Lost(term));
        }
    }

    /// A read begun at `begun` showed the key of a term.
    fn shown(
        &mut self,
        id: u64,
        kv: Option<&KeyValue>,
        revision: i64,
        (begun, now): (BootTime, BootTime),
        out: &mut Vec<Action>,
    ) {
        let Some(entry) = self.terms.get_mut(&id) else { return };
        if let Some(reason) = entry.term.judge(kv, revision) {
            self.end_term(id, reason, out);
        } else if entry.term.guard.holds(kv) && begun > entry.shown {
            self.unseen.remove(&(entry.shown, id));
            entry.shown = begun;
            self.unseen.insert((begun, id));
            // What was confirmed already, and was held back because the key had not been shown for long.
            let lease = &entry.term.lease;
            let until = lease.deadline.at().min(begun.after(self.validity.of(lease.ttl)));
            if until > entry.term.deadline.at() {
                entry.term.deadline.set(until, now, self.slept);
            }
        }
    }

    /// Does what is due now. Returns when to come back at the latest.
    pub(crate) fn step(&mut self, now: BootTime, out: &mut Vec<Action>) -> Option<BootTime> {
        self.look_at_terms(now, out);
        if self.in_flight.front().is_some_and(|(_, sent)| now.since(*sent) >= self.bound()) {
            self.give_up_stream(now);
        }
        self.send_due(now, out);
        self.begin_reads(now, out);
        self.next_wake(now)
    }

    fn look_at_terms(&mut self, now: BootTime, out: &mut Vec<Action>) {
        while let Some(&(at, id)) = self.looks.first()
            && at <= now
        {
            self.looks.remove(&(at, id));
            let Some(entry) = self.terms.get_mut(&id) else { continue };
            if entry.term.deadline.lost().is_some() {
                let term = entry.term.clone();
                self.remove_term(id);
                out.push(Action::Lost(term));
                continue;
            }
            let lease = &entry.term.lease;
            let renewing = self.leases.get(lease.id).is_some_and(|lease| lease.renewing);
            let jeopardy_at = entry.extended.after(2 * (lease.ttl / RENEWALS_PER_TTL));
            if renewing && jeopardy_at <= now {
                entry.term.state.change(|state| (state == TermState::Leading).then_some(TermState::Jeopardy));
            }
            let lost_at = entry.term.deadline.lost_at();
            let next = if renewing && jeopardy_at > now { lost_at.min(jeopardy_at) } else { lost_at };
            entry.look = next.max(now.after(Duration::from_nanos(1)));
            self.looks.insert((entry.look, id));
        }
    }

    fn send_due(&mut self, now: BootTime, out: &mut Vec<Action>) {
        if self.due.first().is_none_or(|at| at > now) {
            return;
        }
        if !self.open {
            if self.reopen_at.is_some_and(|at| at > now) {
                return;
            }
            self.open = true;
            out.push(Action::Open {
                generation: self.generation,
                advance: self.stalls > 0,
            });
        }
        let slack = self.min_ttl() / RENEWALS_PER_TTL / COALESCE;
        let cap = self.cap();
        while self.in_flight.len() < cap
            && self.due.first().is_some_and(|at| at <= now.after(slack))
            && let Some((at, place)) = self.due.pop()
        {
            let Some(entry) = self.leases.at_mut(place).filter(|entry| entry.next == Some(at)) else { continue };
            entry.next = None;
            // Renewing a dead lease stalls its whole stream in etcd; and it could not be kept.
            if entry.until <= now && !entry.lease.deadline.valid() {
                entry.renewing = false;
                continue;
            }
            entry.sent = Some(now);
            self.in_flight.push_back((place, now));
            out.push(Action::Send { lease: place.id });
        }
    }

    fn begin_reads(&mut self, now: BootTime, out: &mut Vec<Action>) {
        let gap = self.min_ttl() / READS_PER_TTL;
        let rested = self.last_read.is_none_or(|last| now.since(last) >= gap);
        let overdue = |seen: BootTime, ttl: Duration| now.since(seen) >= ttl * 2 / 5;
        let mut rotation_due = self
            .unseen
            .first()
            .and_then(|(seen, id)| self.terms.get(id).map(|entry| overdue(*seen, entry.term.lease.ttl)))
            .unwrap_or(false);
        let mut wanted = !self.unconfirmed.is_empty() && (rested || std::mem::take(&mut self.urgent));
        rotation_due &= rested;
        while (wanted || rotation_due) && self.reads.len() < MAX_READS {
            wanted = false;
            rotation_due = false;
            let mut terms = Vec::new();
            let mut keys = Vec::new();
            for (seen, id) in &self.unseen {
                let Some(entry) = self.terms.get(id) else { continue };
                let due = overdue(*seen, entry.term.lease.ttl);
                if keys.len() >= KEYS_AT_LEAST && !due {
                    break;
                }
                if keys.len() >= KEYS_AT_MOST {
                    rotation_due = due; // the rest goes in a read of its own
                    break;
                }
                // In a read just begun: that one tells. One that hangs does not keep the key from the next, or nothing
                // would be begun of what `next_wake` says is due.
                if !self.reads.values().any(|read| now.since(read.begun) < gap && read.terms.contains(id)) {
                    terms.push(*id);
                    keys.push(entry.term.guard.key.to_vec());
                }
            }
            if keys.is_empty() && self.unconfirmed.is_empty() {
                break;
            }
            self.next_read += 1;
            self.last_read = Some(now);
            self.reads.insert(self.next_read, Read { begun: now, terms });
            out.push(Action::Read {
                read: self.next_read,
                keys,
                bound: (self.min_ttl() / BOUNDS_PER_TTL).max(MIN_BOUND),
                advance: std::mem::take(&mut self.stale_read),
            });
        }
    }

    fn next_wake(&self, now: BootTime) -> Option<BootTime> {
        let send = self.due.first().filter(|_| self.in_flight.len() < self.cap());
        let send = match (send, self.reopen_at) {
            (Some(at), Some(reopen)) if !self.open => Some(at.max(reopen)),
            (send, _) => send,
        };
        let stall = self.in_flight.front().map(|(_, sent)| sent.after(self.bound()));
        let look = self.looks.first().map(|(at, _)| *at);
        let gap = self.last_read.map_or(now, |last| last.after(self.min_ttl() / READS_PER_TTL));
        let read = (!self.unconfirmed.is_empty() && self.reads.len() < MAX_READS).then_some(gap);
        let rotation = self.unseen.first().and_then(|(seen, id)| {
            let ttl = self.terms.get(id)?.term.lease.ttl;
            (self.reads.len() < MAX_READS).then_some(seen.after(ttl * 2 / 5).max(gap))
        });
        [send, stall, look, read, rotation].into_iter().flatten().min()
    }
}

#[cfg(test)]
#[path = "renewals_tests.rs"]
mod tests;
