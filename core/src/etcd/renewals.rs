//! Keeping leases: which are held, when each is renewed, on which stream it is outstanding (DESIGN §4). A plain state machine
//! fed with replies and time; what replies prove is `proving`'s, which stream is taken `streams`', the I/O `renewer`'s.

mod moves;
mod proving;
mod standing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::due::Due;
use super::extended::Terms;
use super::held::{Held, Place};
use super::reads::Reads;
use super::streams::{Orphans, Step, Streams};
use crate::clock::BootTime;
use crate::error::Reason;
use crate::options::{RENEWALS_PER_TTL, Validity};
use crate::term::{LeaseShared, TermShared};

use proving::Extension;
pub(crate) use proving::{Proof, ReadReply};

/// A renewal or a read without an answer for less is not tried elsewhere, whatever the TTL.
const MIN_BOUND: Duration = Duration::from_millis(50);
/// … and for a TTL above 600 ms, for this part of it.
const BOUNDS_PER_TTL: u32 = 12;
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
    /// Renewals go to another member now.
    Moved { member: usize },
    /// This term was lost: announce it.
    Lost(Arc<TermShared>),
}

struct Entry {
    lease: Arc<LeaseShared>,
    /// The lease's TTL and what is known of its deadline, beside the rest: looking there costs a cache miss or two. The
    /// true deadline may be later, and it may have ended.
    ttl: Duration,
    until: BootTime,
    renewing: bool,
    /// For a candidate that waits (`standing`).
    standing: bool,
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
    /// The lease its keys are moving to, or from.
    twin: Option<i64>,
    /// etcd has said, confirmed, that it is gone, while it had a twin.
    gone: bool,
    terms: Vec<u64>,
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
    /// Where renewals went when it was last told.
    member: Option<usize>,
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
            member: None,
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
            standing: false,
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
            twin: None,
            gone: false,
            terms: Vec::new(),
            ttl: lease.ttl,
            until: lease.deadline.at(),
            lease,
        };
        self.note_raft_term(raft_term, now);
        self.leases.insert(entry.lease.id(), entry);
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
        let well = self.streams.well();
        let Some(entry) = self.leases.at_mut(place) else { return };
        if entry.renewing == renewing {
            return;
        }
        entry.renewing = renewing;
        let twin = entry.twin;
        if renewing {
            for id in &entry.terms {
                self.terms.look_again(*id);
            }
            // Outstanding: its answer plans the next, or the stream's stall does.
            if entry.on & well == 0 {
                let next = entry.sent.after(entry.interval());
                self.schedule(place, next);
            }
        } else {
            entry.next = None;
        }
        if let Some(twin) = twin {
            self.set_renewing(twin, renewing);
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

    /// A term begins: its lease's renewals extend it, and its key takes part in the confirming reads.
    pub(crate) fn add_term(&mut self, term: Arc<TermShared>, shown: BootTime, now: BootTime) {
        term.lease.ids().for_each(|lease| self.leads(lease));
        for lease in term.lease.ids() {
            if let Some(entry) = self.leases.get_mut(lease) {
                if entry.terms.is_empty() {
                    entry.terms.reserve_exact(1); // nearly always the only one
                }
                entry.terms.push(term.id);
            }
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
        for lease in term.lease.ids() {
            if let Some(lease) = self.leases.get_mut(lease) {
                lease.terms.retain(|other| *other != term.id);
            }
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
        for orphans in self.streams.set_members(known, now, &mut self.steps) {
            self.resend(Some(orphans), now);
        }
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
        if let Some(member) = self.streams.well_member()
            && self.member != Some(member)
        {
            self.member = Some(member);
            out.push(Action::Moved { member });
        }
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

    fn next_wake(&self) -> Option<BootTime> {
        let streams = self.streams.next_wake(self.due.first());
        let rested = self.reads.rested_at(self.read_gap());
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
