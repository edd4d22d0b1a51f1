//! What replies prove: a renewal's reply with a linearizable read begun after it (S2), and nothing less.
//! Owns extensions and the confirming reads' beginnings; when a lease is renewed is the parent's, on what stream `streams`'.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Action, Renewals};
use crate::clock::BootTime;
use crate::error::Reason;
use crate::etcd::extended::{Shows, Terms};
use crate::etcd::held::Place;
use crate::protocol::KeyValue;

/// Confirming reads are begun at most this often per TTL, but at once when a deadline is near.
const READS_PER_TTL: u32 = 25;
/// A read is given up after this part of the TTL: until then it may still prove something.
const GIVE_UP_READ: u32 = 2;

/// A reply that may extend a lease once a read confirms it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extension {
    pub(super) sent: BootTime,
    pub(super) received: BootTime,
    /// 0: the lease is gone, if the reply is confirmed.
    pub(super) ttl: Duration,
    pub(super) raft_term: u64,
    pub(super) stream: u64,
}

impl Extension {
    /// Worth more than `other`: of a newer raft term, or sent later.
    pub(super) fn beats(&self, other: &Extension) -> bool {
        (self.raft_term, self.sent) > (other.raft_term, other.sent)
    }
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

impl Renewals {
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
        let deadline = confirmed.sent.after(self.validity.of(confirmed.ttl));
        (!confirmed.ttl.is_zero()).then(|| self.with_twin(entry.twin, deadline))
    }

    /// When the reply came that last could extend this lease.
    pub(crate) fn answered(&self, lease: i64) -> Option<BootTime> {
        let entry = self.leases.get(lease)?;
        Some(entry.better.as_ref().map_or(entry.extension?.received, |better| better.received))
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
        // The reply to the last send plans the next; a late one to an earlier send only if no other is to be expected.
        let last = answered.sent >= entry.sent || entry.next.is_none() && entry.on & self.streams.well() == 0;
        if entry.renewing && last {
            let next = answered.sent.after(entry.interval()).max(now);
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
        if entry.standing && ttl > 0 && entry.knows(raft_term) {
            self.stood(place, extension, now);
            return refill;
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

    /// A confirming read has answered, or failed (`None`).
    pub(crate) fn read_done(&mut self, read: u64, reply: Option<ReadReply>, now: BootTime, out: &mut Vec<Action>) {
        let Some(read) = self.reads.end(read) else { return };
        let Some(reply) = reply else {
            self.terms.aside_still(&read.terms, now);
            self.reads.failed(&read, self.streams.members());
            return;
        };
        for (id, kv) in read.terms.iter().zip(&reply.keys) {
            self.terms.take_back(*id);
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

    /// A confirming read was denied: a key that may not be read costs the others no confirmation.
    pub(crate) fn read_denied(&mut self, read: u64, now: BootTime) {
        let Some(read) = self.reads.end(read) else { return };
        if !read.terms.is_empty() {
            self.terms.set_aside(read.terms, now);
            self.reads.at_once();
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

    pub(super) fn extend(&mut self, place: Place, extension: Extension, now: BootTime) {
        if let Some(entry) = self.leases.at(place) {
            entry.lease.confirmed.fetch_add(1, Ordering::Relaxed);
        }
        let validity = self.validity.of(extension.ttl);
        self.reach(place, extension.sent.after(validity), validity, now);
    }

    /// The lease surely lives until `alone`, and its terms with it.
    pub(super) fn reach(&mut self, place: Place, alone: BootTime, validity: Duration, now: BootTime) {
        let twin = self.leases.at(place).and_then(|entry| entry.twin);
        let deadline = self.with_twin(twin, alone);
        let Some(entry) = self.leases.at_mut(place) else { return };
        if entry.lease.deadline.set(deadline, now, self.slept) {
            entry.until = alone;
        }
        for id in &entry.terms {
            self.terms.extend(*id, deadline, validity, now, self.slept);
        }
    }

    /// etcd says, confirmed, that the lease is gone.
    fn gone(&mut self, place: Place, out: &mut Vec<Action>) {
        let Some(entry) = self.leases.at_mut(place) else { return };
        entry.renewing = false;
        entry.next = None;
        if entry.twin.is_some() {
            entry.gone = true;
            return; // its keys may hang on the other lease by now: the move finds out before the deadline, which stands
        }
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

    /// Some reply came after the last read began, or that one is late.
    pub(super) fn wants_read(&self) -> bool {
        !self.unconfirmed.is_empty() && !self.reads.will_cover(self.newest)
    }

    /// Between two reads that nobody is in a hurry for.
    pub(super) fn read_gap(&self) -> Duration {
        self.min_ttl() / READS_PER_TTL
    }

    pub(super) fn begin_reads(&mut self, now: BootTime, out: &mut Vec<Action>) {
        let (gap, bound) = (self.read_gap(), self.bound());
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
        // Not before the others: what these are after is a denial, most likely.
        while !self.reads.full() && let Some(Shows { terms, keys, .. }) = self.terms.shows_aside(now) {
            let (read, member) = self.reads.begin(terms, now);
            let bound = (self.min_ttl() / GIVE_UP_READ).max(bound);
            out.push(Action::Read { read, member, keys, bound });
        }
    }
}
