//! Keeping leases: when each is renewed, what a reply is worth, when a read confirms it (S2, DESIGN §4).
//! A plain state machine fed with replies and time; which stream a renewal takes is `streams`', the I/O `renewer`'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::due::Due;
use super::extended::{Shows, Terms};
use super::held::{Held, Place};
use super::reads::Reads;
use super::streams::{Orphans, Step, Streams};
use crate::clock::BootTime;
use crate::error::Reason;
use crate::options::{RENEWALS_PER_TTL, Validity};
use crate::protocol::KeyValue;
use crate::term::{LeaseShared, TermShared};

/// A renewal or a read without an answer for less is not tried elsewhere, whatever the TTL.
const MIN_BOUND: Duration = Duration::from_millis(50);
/// … and for a TTL above 600 ms, for this part of it.
const BOUNDS_PER_TTL: u32 = 12;
/// Confirming reads are begun at most this often per TTL, but at once when a deadline is near.
const READS_PER_TTL: u32 = 25;
/// A read is given up after this part of the TTL: until then it may still prove something.
const GIVE_UP_READ: u32 = 2;
/// A member that fails is tried again after this part of the TTL at the latest.
const PAUSES_PER_TTL: u32 = 10;
/// Leases due within this part of their interval go out together: one wake-up, one write.
const COALESCE: u32 = 20;

/// What the machine wants done.
#[derive(Debug)]
pub(crate) enum Action {
    /// About the streams.
    Stream(Step),
    /// Renew a lease on an open stream.
    Send { stream: u64, lease: i64 },
    /// A linearizable read of these keys, or of any if there are none, by way of this member.
    Read { read: u64, member: usize, keys: Vec<Vec<u8>>, bound: Duration },
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
    stream: u64,
}

impl Extension {
    /// Worth more than `other`: of a newer raft term, or sent later.
    fn beats(&self, other: &Extension) -> bool {
        (self.raft_term, self.sent) > (other.raft_term, other.sent)
    }
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
    /// The streams it is outstanding on, a bit each.
    on: u32,
    /// When it was last sent, on whichever.
    sent: BootTime,
    extension: Option<Extension>,
    /// A better one that came while a read was under way that may confirm the first: on a slow way the better one
    /// would be replaced again and again before any read confirmed it.
    better: Option<Box<Extension>>,
    /// Waits in `unconfirmed`.
    waiting: bool,
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
    ttls: BTreeMap<Duration, usize>,
    streams: Streams,
    steps: Vec<Step>,
    unconfirmed: Vec<Place>,
    /// When the last of them was received.
    newest: BootTime,
    reads: Reads,
    highest_raft_term: u64,
    /// How long the machine has slept: read once for many leases.
    slept: u64,
    terms: Terms,
}

impl Renewals {
    pub(crate) fn new(validity: Validity, members: usize) -> Renewals {
        Renewals {
            validity,
            leases: Held::new(),
            due: Due::default(),
            ttls: BTreeMap::new(),
            streams: Streams::new(members),
            steps: Vec::new(),
            unconfirmed: Vec::new(),
            newest: BootTime::default(),
            reads: Reads::default(),
            highest_raft_term: 0,
            slept: 0,
            terms: Terms::default(),
        }
    }

    fn min_ttl(&self) -> Duration {
        self.ttls.keys().next().copied().unwrap_or(Duration::from_secs(5))
    }

    /// How long an attempt may be without an answer before it is made elsewhere too.
    fn bound(&self) -> Duration {
        (self.min_ttl() / BOUNDS_PER_TTL).max(MIN_BOUND)
    }

    fn ttls_changed(&mut self) {
        let longest_pause = self.min_ttl() / PAUSES_PER_TTL;
        self.streams.set_bound(self.bound(), longest_pause);
    }

    /// A lease just granted: `sent` before the request, answered at `raft_term`.
    pub(crate) fn add(&mut self, lease: Arc<LeaseShared>, sent: BootTime, raft_term: u64, now: BootTime) {
        *self.ttls.entry(lease.ttl).or_insert(0) += 1;
        self.ttls_changed();
        let entry = Entry {
            renewing: false,
            next: None,
            on: 0,
            sent,
            extension: Some(Extension {
                sent,
                received: now,
                ttl: lease.ttl,
                raft_term,
                stream: 0,
            }),
            better: None,
            waiting: false,
            terms: Vec::new(),
            ttl: lease.ttl,
            until: lease.deadline.at(),
            lease,
        };
        self.note_raft_term(raft_term, now);
        self.leases.insert(entry.lease.id, entry);
    }

    /// Forgets a lease: a reply that still comes changes nothing (case 10).
    pub(crate) fn remove(&mut self, lease: i64) {
        if let Some((place, entry)) = self.leases.remove(lease) {
            if entry.on != 0 {
                self.streams.forget(place);
            }
            if let Some(count) = self.ttls.get_mut(&entry.lease.ttl) {
                *count -= 1;
                if *count == 0 {
                    self.ttls.remove(&entry.lease.ttl);
                    self.ttls_changed();
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
            for id in &entry.terms {
                self.terms.look_again(*id);
            }
            let next = entry.sent.after(entry.ttl / RENEWALS_PER_TTL);
            self.schedule(place, next);
        } else {
            entry.next = None;
        }
    }

    pub(crate) fn is_renewing(&self, lease: i64) -> bool {
        self.leases.get(lease).is_some_and(|entry| entry.renewing)
    }

    /// Renews once, now, whether or not it is renewed in the background.
    pub(crate) fn renew_now(&mut self, lease: i64, now: BootTime) {
        if let Some(place) = self.leases.place(lease) {
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
    pub(crate) fn confirm_by(&mut self, lease: i64, proof: Proof, now: BootTime) -> Option<BootTime> {
        self.note_raft_term(proof.raft_term, now);
        let entry = self.leases.get(lease)?;
        let known = entry.better.iter().map(|better| **better).chain(entry.extension);
        let confirmed = known.into_iter().find(|extension| {
            extension.received <= proof.begun
                && extension.raft_term == proof.raft_term
                && proof.raft_term >= self.highest_raft_term
        })?;
        (!confirmed.ttl.is_zero()).then(|| confirmed.sent.after(self.validity.of(confirmed.ttl)))
    }

    /// When the reply came that last could extend this lease.
    pub(crate) fn answered(&self, lease: i64) -> Option<BootTime> {
        let entry = self.leases.get(lease)?;
        Some(entry.better.as_ref().map_or(entry.extension?.received, |better| better.received))
    }

    /// A term begins: its lease's renewals extend it, and its key takes part in the confirming reads.
    pub(crate) fn add_term(&mut self, term: Arc<TermShared>, shown: BootTime, now: BootTime) {
        if let Some(entry) = self.leases.get_mut(term.guard.lease) {
            if entry.terms.is_empty() {
                entry.terms.reserve_exact(1); // nearly always the only one
            }
            entry.terms.push(term.id);
        }
        self.terms.add(term, shown, now);
    }

    /// The term is over; nothing extends or announces it any more.
    pub(crate) fn remove_term(&mut self, id: u64) {
        if let Some(term) = self.terms.remove(id) {
            self.unhang(&term);
        }
    }

    fn unhang(&mut self, term: &TermShared) {
        if let Some(lease) = self.leases.get_mut(term.guard.lease) {
            lease.terms.retain(|other| *other != term.id);
        }
    }

    /// Every term that is still running: for the end of the client or the cluster.
    pub(crate) fn running(&self) -> Vec<Arc<TermShared>> {
        self.terms.all()
    }

    /// The machine's suspended time as of now.
    pub(crate) fn note_slept(&mut self, slept: u64) {
        self.slept = slept;
    }

    pub(crate) fn note_raft_term(&mut self, raft_term: u64, now: BootTime) {
        if raft_term > self.highest_raft_term {
            self.highest_raft_term = raft_term;
            self.streams.ask_soon(now); // another member may lead etcd
        }
    }

    /// Another cluster answers: what was learnt of the old one is worth nothing, and its leases are gone.
    pub(crate) fn forget_cluster(&mut self) {
        self.highest_raft_term = 0;
        for entry in self.leases.values_mut() {
            entry.extension = None;
            entry.better = None;
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

    /// A reply on a stream. True if [`step`](Self::step) has something to do before it would look again.
    pub(crate) fn reply(&mut self, stream: u64, lease: i64, ttl: i64, raft_term: u64, now: BootTime) -> bool {
        let Some(answered) = self.streams.reply(stream, lease, now) else { return false };
        self.note_raft_term(raft_term, now);
        let highest = self.highest_raft_term;
        // Whatever is due by now: a full stream has no time of its own to come back at.
        let low = self.streams.low_water();
        let refill = answered
            .left
            .is_some_and(|left| left == low || (left < low && self.due.first().is_some_and(|at| at <= now)));
        let place = answered.place;
        let Some(entry) = self.leases.at_mut(place) else { return refill };
        entry.on &= !answered.bit;
        let extension = Extension {
            sent: answered.sent,
            received: now,
            ttl: Duration::from_secs(u64::try_from(ttl).unwrap_or(0)),
            raft_term,
            stream,
        };
        // The reply to the last send plans the next; a late one to an earlier send changes nothing of the plan.
        if entry.renewing && answered.sent >= entry.sent {
            let next = answered.sent.after(entry.ttl / RENEWALS_PER_TTL).max(now);
            entry.next = Some(next);
            self.due.push(next, place);
        }
        if raft_term < highest {
            let newer = entry.extension.is_some_and(|known| known.raft_term == highest && known.sent >= extension.sent);
            if !newer {
                self.old(place, extension, now);
            }
            return true;
        }
        let hurry = ttl <= 0 || entry.until.since(now) < entry.ttl / 4;
        match &mut entry.extension {
            Some(known) if !extension.beats(known) => return refill,
            Some(known) if entry.waiting && known.raft_term == raft_term && self.reads.covers(known.received) => {
                if entry.better.as_ref().is_none_or(|better| extension.beats(better)) {
                    entry.better = Some(Box::new(extension));
                }
            }
            known => {
                *known = Some(extension);
                entry.better = None;
            }
        }
        self.newest = now;
        let first = self.unconfirmed.is_empty();
        if !std::mem::replace(&mut entry.waiting, true) {
            self.unconfirmed.push(place);
        }
        if hurry {
            self.reads.at_once();
        }
        refill || first || hurry
    }

    /// A reply of an old raft term extends nothing, and is no error: renew once more (S2).
    fn old(&mut self, place: Place, extension: Extension, now: BootTime) {
        let orphans = self.streams.old_term(extension.stream, extension.sent, now);
        self.schedule(place, now);
        self.resend(orphans, now);
    }

    /// The stream ended, or could not be opened. `again`: a new one to the same member may do better.
    pub(crate) fn broken(&mut self, stream: u64, again: bool, now: BootTime) {
        let orphans = self.streams.broken(stream, again, now);
        self.resend(orphans, now);
    }

    /// What is outstanding on a stream that is no longer counted on goes out on another.
    fn resend(&mut self, orphans: Option<Orphans>, now: BootTime) {
        let Some(orphans) = orphans else { return };
        for place in orphans.places {
            let Some(entry) = self.leases.at_mut(place) else { continue };
            entry.on &= !orphans.gone;
            // Unless planned already, or outstanding where an answer is still expected.
            if entry.next.is_none() && entry.on & orphans.well == 0 {
                self.schedule(place, now);
            }
        }
    }

    /// The list of members has changed: which slots are in use.
    pub(crate) fn set_members(&mut self, known: &[bool], now: BootTime) {
        self.streams.set_members(known, now);
    }

    /// What a member said when asked whether it leads etcd, and its raft term; `None`: nothing, in time.
    pub(crate) fn told(&mut self, member: usize, said: Option<(bool, u64)>, now: BootTime) {
        // An ex-leader that was cut off goes on saying so for a while.
        let leads = said.map(|(leads, raft_term)| leads && raft_term >= self.highest_raft_term);
        let orphans = self.streams.told(member, leads, now, &mut self.steps);
        self.resend(orphans, now);
        if leads == Some(true) {
            self.reads.follow(self.streams.member());
        }
    }

    /// Every member was asked who leads etcd.
    pub(crate) fn asked(&mut self, now: BootTime) {
        self.streams.asked(now);
    }

    /// A confirming read has answered, or failed (`None`).
    pub(crate) fn read_done(&mut self, read: u64, reply: Option<ReadReply>, now: BootTime, out: &mut Vec<Action>) {
        let Some(read) = self.reads.end(read) else { return };
        let Some(reply) = reply else {
            self.reads.failed(&read, self.streams.members());
            return;
        };
        for (id, kv) in read.terms.iter().zip(&reply.keys) {
            let times = (now, self.slept);
            if let Some(reason) = self.terms.shown(*id, kv.as_ref(), reply.revision, read.begun, self.validity, times) {
                self.end_term(*id, reason, out);
            }
        }
        if reply.raft_term < self.highest_raft_term {
            // A member that has not heard of the newest etcd leader confirms nothing.
            self.reads.failed(&read, self.streams.members());
            return;
        }
        self.reads.succeeded();
        self.note_raft_term(reply.raft_term, now);
        let mut good = Vec::new();
        for place in std::mem::take(&mut self.unconfirmed) {
            self.settle(place, read.begun, reply.raft_term, now, &mut good, out);
        }
        for stream in good {
            self.streams.confirmed(stream);
        }
    }

    /// What a read begun at `begun` and answered at `raft_term` says of a lease's last replies.
    fn settle(
        &mut self,
        place: Place,
        begun: BootTime,
        raft_term: u64,
        now: BootTime,
        good: &mut Vec<u64>,
        out: &mut Vec<Action>,
    ) {
        let Some(entry) = self.leases.at_mut(place) else { return };
        let Some(mut extension) = entry.extension else {
            entry.waiting = false;
            return;
        };
        if extension.received > begun {
            self.unconfirmed.push(place); // the read began before it came: the next one
            return;
        }
        let mut later = false;
        if let Some(better) = entry.better.take() {
            // Both may be covered; what is not waits for the next read.
            let first = std::mem::replace(&mut extension, *better);
            entry.extension = Some(extension);
            if extension.received > begun {
                later = true;
                extension = first;
            }
        }
        entry.waiting = later;
        if later {
            self.unconfirmed.push(place);
        }
        if extension.raft_term != raft_term {
            self.old(place, extension, now);
        } else {
            if !good.contains(&extension.stream) {
                good.push(extension.stream);
            }
            if extension.ttl.is_zero() {
                self.gone(place, out);
            } else {
                self.extend(place, extension, now);
            }
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
            self.terms.extend(*id, deadline, validity, now, self.slept);
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
        if let Some(term) = self.terms.remove(id) {
            term.deadline.end(reason);
            self.unhang(&term);
            out.push(Action::Lost(term));
        }
    }

    /// Does what is due now. Returns when to come back at the latest.
    pub(crate) fn step(&mut self, now: BootTime, out: &mut Vec<Action>) -> Option<BootTime> {
        for term in self.terms.look(now, |lease| self.leases.get(lease).is_some_and(|lease| lease.renewing)) {
            self.unhang(&term);
            out.push(Action::Lost(term));
        }
        let orphans = self.streams.stalls(now);
        self.resend(orphans, now);
        self.send_due(now, out);
        self.begin_reads(now, out);
        self.streams.ask_due(now, &mut self.steps);
        out.extend(self.steps.drain(..).map(Action::Stream));
        self.next_wake()
    }

    fn send_due(&mut self, now: BootTime, out: &mut Vec<Action>) {
        if self.due.first().is_none_or(|at| at > now) {
            return;
        }
        let before = self.streams.member();
        let (route, dropped) = self.streams.route(now, &mut self.steps);
        self.resend(dropped, now);
        // Opened before anything is sent on it.
        out.extend(self.steps.drain(..).map(Action::Stream));
        let Some(mut route) = route else { return };
        if self.streams.member() != before {
            self.reads.follow(self.streams.member());
        }
        let slack = self.min_ttl() / RENEWALS_PER_TTL / COALESCE;
        while route.room > 0
            && self.due.first().is_some_and(|at| at <= now.after(slack))
            && let Some((at, place)) = self.due.pop()
        {
            let Some(entry) = self.leases.at_mut(place).filter(|entry| entry.next == Some(at)) else { continue };
            entry.next = None;
            // Never twice on one stream: its answer is expected, or its stall noticed.
            if entry.on & route.bit != 0 {
                continue;
            }
            // Renewing a dead lease stalls its whole stream in etcd; and it could not be kept.
            if entry.until <= now && !entry.lease.deadline.valid() {
                entry.renewing = false;
                continue;
            }
            entry.on |= route.bit;
            entry.sent = now;
            route.room -= 1;
            self.streams.sent(&route, place, now);
            out.push(Action::Send {
                stream: route.stream,
                lease: place.id,
            });
        }
    }

    /// Some reply came after the last read began, or that one is late.
    fn wants_read(&self) -> bool {
        !self.unconfirmed.is_empty() && !self.reads.will_cover(self.newest)
    }

    fn begin_reads(&mut self, now: BootTime, out: &mut Vec<Action>) {
        let (gap, bound) = (self.min_ttl() / READS_PER_TTL, self.bound());
        self.reads.note_late(now, bound, self.streams.members());
        let due = |terms: &Terms| terms.next_show().is_some_and(|at| at <= now);
        let mut wanted = self.wants_read() || due(&self.terms);
        if !wanted || self.reads.full() || !(self.reads.rested_at(gap) <= now || self.reads.take_hurry()) {
            return;
        }
        while wanted && !self.reads.full() {
            // In a read just begun: that one tells. One that hangs does not keep the key from the next, or nothing
            // would be begun of what `next_wake` says is due.
            let Shows { terms, keys, more } = self.terms.shows(now, |id| self.reads.shows(id, now.before(gap)));
            if keys.is_empty() && self.unconfirmed.is_empty() {
                break;
            }
            let (read, member) = self.reads.begin(terms, now);
            let bound = (self.min_ttl() / GIVE_UP_READ).max(bound);
            out.push(Action::Read { read, member, keys, bound });
            wanted = more;
        }
    }

    fn next_wake(&self) -> Option<BootTime> {
        let streams = self.streams.next_wake(self.due.first());
        let rested = self.reads.rested_at(self.min_ttl() / READS_PER_TTL);
        let (read, show) = if self.reads.full() {
            (None, None)
        } else {
            let read = self.wants_read().then_some(rested);
            (read, self.terms.next_show().map(|at| at.max(rested)))
        };
        let late = self.reads.next_late(self.bound());
        [streams, self.terms.next_look(), read, show, late].into_iter().flatten().min()
    }
}

#[cfg(test)]
#[path = "renewals_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "hedging_tests.rs"]
mod hedging_tests;
