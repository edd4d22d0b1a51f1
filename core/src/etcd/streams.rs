//! The keepalive streams of a client: which member each leads to, what is outstanding on each, which one is taken next.
//! Owns routes, stalls and the members' health; leases and what replies are worth are `renewals`', the I/O `renewer`'s.
//!
//! New renewals take the *route*: the stream of the raft leader's member (home) as long as that one is well, else the next
//! member's round the list. A stream left behind stays open, and its late replies count; nothing new goes out on it while
//! it is stalled, so that no lease is ever outstanding twice on one stream (S2).

use std::collections::VecDeque;
use std::time::Duration;

use super::held::Place;
use crate::clock::BootTime;

/// A follower forwards so many renewals in a millisecond; etcd's leader answers ten times as many.
const FOLLOWER_PER_MS: u128 = 4;
/// Renewals outstanding on a stream at most, whatever the TTL.
const MAX_OUTSTANDING: usize = 2048;
/// A full stream is filled again when this part of it is left: one by one each would cost a wake-up and a write.
const LOW_WATER: usize = 8;
/// A stream that answers, but its oldest renewal not within so many bounds, is too slow: as good as stalled.
const SLOW: u32 = 3;
/// Streams to one member at most: stalled ones are kept for their late replies, on a slow way the only ones.
const STREAMS_PER_MEMBER: usize = 3;
/// Streams at most: each has a bit in a lease's set of streams.
const MAX_STREAMS: usize = 32;
/// Who leads etcd is asked at most so seldom while we are not there.
const ASK_AT_LEAST: Duration = Duration::from_secs(5);

/// What the streams want done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Open a stream to a member.
    Open { stream: u64, member: usize },
    /// Drop a stream; what it may still answer is not read.
    Close { stream: u64 },
    /// Ask every member whether it leads etcd.
    Ask,
}

struct Stream {
    id: u64,
    member: usize,
    bit: u32,
    /// In the order of the sends, which is that of the replies.
    outstanding: VecDeque<(Place, BootTime)>,
    /// The last reply.
    heard: BootTime,
    stalled: bool,
    /// When a reply of an old raft term was first noticed, with none since that could be confirmed.
    old: Option<BootTime>,
}

impl Stream {
    /// When it counts as stalled if nothing more comes: measured against its progress, so that a long burst is none.
    fn stalls_at(&self, bound: Duration) -> Option<BootTime> {
        let (_, sent) = self.outstanding.front()?;
        Some((*sent).max(self.heard).after(bound).min(sent.after(bound * SLOW)))
    }
}

#[derive(Default)]
struct Member {
    /// In a row: streams broken, or left for an old raft term.
    failures: u32,
    /// No new stream before.
    not_before: BootTime,
    /// It did not say who leads when last asked.
    silent: bool,
    /// No longer an endpoint.
    gone: bool,
}

/// The stream that renewals take now.
pub(crate) struct Route {
    index: usize,
    pub(crate) stream: u64,
    /// In a lease's set of streams.
    pub(crate) bit: u32,
    pub(crate) room: usize,
}

/// A reply found its renewal.
pub(crate) struct Answered {
    pub(crate) place: Place,
    pub(crate) sent: BootTime,
    pub(crate) bit: u32,
    /// What is left outstanding on its stream, if renewals take that one.
    pub(crate) left: Option<usize>,
}

/// Renewals that must go out again: what a stream that is no longer counted on has outstanding. With the streams that
/// still are: who is outstanding there as well need not.
pub(crate) struct Orphans {
    pub(crate) places: Vec<Place>,
    /// The bit to take off: of a stream that is gone. 0: it is only stalled.
    pub(crate) gone: u32,
    pub(crate) well: u32,
}

pub(crate) struct Streams {
    open: Vec<Stream>,
    members: Vec<Member>,
    route: Option<u64>,
    /// Where the search for the next route begins.
    from: usize,
    /// The raft leader's member, as far as known.
    home: Option<usize>,
    asking: bool,
    ask_at: Option<BootTime>,
    /// Asked in vain since something changed.
    asked: u32,
    next_id: u64,
    /// How long a renewal may be without an answer.
    bound: Duration,
    /// Longest pause before a member is tried again.
    longest_pause: Duration,
}

impl Streams {
    pub(crate) fn new(members: usize) -> Streams {
        Streams {
            open: Vec::new(),
            members: std::iter::repeat_with(Member::default).take(members.max(1)).collect(),
            route: None,
            from: 0,
            home: None,
            asking: false,
            ask_at: None,
            asked: 0,
            next_id: 1,
            bound: Duration::from_secs(1),
            longest_pause: Duration::from_millis(500),
        }
    }

    pub(crate) fn set_bound(&mut self, bound: Duration, longest_pause: Duration) {
        self.bound = bound;
        self.longest_pause = longest_pause;
    }

    /// Which members there are, by slot: the list has changed. Streams to those that are gone are dropped.
    pub(crate) fn set_members(&mut self, known: &[bool], now: BootTime, out: &mut Vec<Step>) -> Vec<Orphans> {
        self.members.resize_with(known.len().max(self.members.len()), Member::default);
        for (member, known) in self.members.iter_mut().zip(known) {
            if member.gone && *known {
                *member = Member::default(); // another one in the same slot
            }
            member.gone = !known;
        }
        let mut dropped = Vec::new();
        while let Some(index) = self.open.iter().position(|stream| self.members.get(stream.member).is_none_or(|one| one.gone)) {
            let stream = self.open.remove(index);
            out.push(Step::Close { stream: stream.id });
            if self.route == Some(stream.id) {
                self.route = None;
            }
            dropped.push(self.orphans(&stream));
        }
        self.ask_soon(now);
        dropped
    }

    /// What even a follower answers in half the bound.
    fn cap(&self) -> usize {
        let answered = (self.bound / 2).as_millis() * FOLLOWER_PER_MS;
        usize::try_from(answered).unwrap_or(MAX_OUTSTANDING).min(MAX_OUTSTANDING)
    }

    /// So few are left that the stream is filled again.
    pub(crate) fn low_water(&self) -> usize {
        self.cap() / LOW_WATER
    }

    fn index(&self, stream: u64) -> Option<usize> {
        self.open.iter().position(|open| open.id == stream)
    }

    fn current(&self) -> Option<&Stream> {
        let route = self.route?;
        self.open.iter().find(|open| open.id == route)
    }

    /// The member that renewals go to now, or would: where reads are best sent too.
    pub(crate) fn member(&self) -> usize {
        self.current().map_or(self.from % self.members.len().max(1), |stream| stream.member)
    }

    /// The member that renewals go to and that is well, as far as known.
    pub(crate) fn well_member(&self) -> Option<usize> {
        self.current().filter(|stream| !stream.stalled).map(|stream| stream.member)
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// The streams that are counted on.
    pub(crate) fn well(&self) -> u32 {
        self.open.iter().filter(|stream| !stream.stalled).fold(0, |bits, stream| bits | stream.bit)
    }

    /// The stream to send on now, opened if need be; `None` while no member may be tried.
    pub(crate) fn route(&mut self, now: BootTime, out: &mut Vec<Step>) -> (Option<Route>, Option<Orphans>) {
        let mut dropped = None;
        let usable = self.current().is_some_and(|stream| !stream.stalled);
        if !usable {
            self.route = None;
            let Some(member) = self.next_member(now) else { return (None, None) };
            dropped = self.take(member, now, out);
        }
        let route = self.route.and_then(|route| self.index(route)).and_then(|index| {
            let stream = self.open.get(index)?;
            Some(Route {
                index,
                stream: stream.id,
                bit: stream.bit,
                room: self.cap().saturating_sub(stream.outstanding.len()),
            })
        });
        (route, dropped)
    }

    /// The next member round the list that may be tried; one that said nothing when asked only if none did.
    fn next_member(&self, now: BootTime) -> Option<usize> {
        let count = self.members.len();
        let round = || (0..count).map(|step| (self.from + step) % count);
        let may = |member: &usize, silent: bool| {
            self.members.get(*member).is_some_and(|one| !one.gone && one.not_before <= now && (silent || !one.silent))
        };
        round().find(|member| may(member, false)).or_else(|| round().find(|member| may(member, true)))
    }

    /// Makes a member's stream the route: the one that is open and well, else a new one.
    fn take(&mut self, member: usize, now: BootTime, out: &mut Vec<Step>) -> Option<Orphans> {
        self.from = (member + 1) % self.members.len().max(1);
        if let Some(stream) = self.open.iter().find(|stream| stream.member == member && !stream.stalled) {
            self.route = Some(stream.id);
            return None;
        }
        let of_member = self.open.iter().filter(|stream| stream.member == member).count();
        let dropped = if of_member >= STREAMS_PER_MEMBER {
            self.open.iter().position(|stream| stream.member == member)
        } else if self.open.len() >= MAX_STREAMS {
            self.open.iter().position(|stream| stream.stalled).or(Some(0))
        } else {
            None
        };
        let dropped = dropped.map(|index| {
            let stream = self.open.remove(index);
            out.push(Step::Close { stream: stream.id });
            self.orphans(&stream)
        });
        let taken = self.open.iter().fold(0u32, |bits, stream| bits | stream.bit);
        let id = self.next_id;
        self.next_id += 1;
        self.open.push(Stream {
            id,
            member,
            bit: 1 << (!taken).trailing_zeros().min(31),
            outstanding: VecDeque::new(),
            heard: now,
            stalled: false,
            old: None,
        });
        self.route = Some(id);
        out.push(Step::Open { stream: id, member });
        dropped
    }

    fn orphans(&self, gone: &Stream) -> Orphans {
        Orphans {
            places: gone.outstanding.iter().map(|(place, _)| *place).collect(),
            gone: gone.bit,
            well: self.well(),
        }
    }

    /// A renewal went out on the route.
    pub(crate) fn sent(&mut self, route: &Route, place: Place, now: BootTime) {
        if let Some(stream) = self.open.get_mut(route.index) {
            stream.outstanding.push_back((place, now));
        }
    }

    /// A reply. Replies come in the order of the requests, and at most one is outstanding per lease and stream: the send
    /// that caused it is known. `None`: the lease or the stream was given up meanwhile.
    pub(crate) fn reply(&mut self, stream: u64, lease: i64, now: BootTime) -> Option<Answered> {
        let route = self.route;
        let bound = self.bound;
        let stream = self.open.iter_mut().find(|open| open.id == stream)?;
        stream.heard = now;
        let (place, sent) = match stream.outstanding.front() {
            Some((front, _)) if front.id == lease => stream.outstanding.pop_front()?,
            _ => {
                let index = stream.outstanding.iter().position(|(other, _)| other.id == lease)?;
                stream.outstanding.remove(index)?
            }
        };
        if stream.stalled {
            stream.stalled = stream.stalls_at(bound).is_some_and(|at| at <= now);
        }
        if let Some(member) = self.members.get_mut(stream.member) {
            member.silent = false;
        }
        Some(Answered {
            place,
            sent,
            bit: stream.bit,
            left: (route == Some(stream.id)).then_some(stream.outstanding.len()),
        })
    }

    /// A lease was given up: a reply that does not come for it is no stall.
    pub(crate) fn forget(&mut self, place: Place) {
        for stream in &mut self.open {
            stream.outstanding.retain(|(other, _)| *other != place);
        }
    }

    /// Streams that have newly stalled, and what must go out on another.
    pub(crate) fn stalls(&mut self, now: BootTime) -> Option<Orphans> {
        let bound = self.bound;
        let mut places = Vec::new();
        let mut left_route = false;
        for stream in &mut self.open {
            if !stream.stalled && stream.stalls_at(bound).is_some_and(|at| at <= now) {
                stream.stalled = true;
                left_route |= self.route == Some(stream.id);
                places.extend(stream.outstanding.iter().map(|(place, _)| *place));
            }
        }
        if left_route {
            self.ask_soon(now);
        }
        (!places.is_empty()).then(|| Orphans {
            places,
            gone: 0,
            well: self.well(),
        })
    }

    /// A stream ended, or could not be opened. `again`: for a reason that a new stream to the same member does not share.
    pub(crate) fn broken(&mut self, stream: u64, again: bool, now: BootTime) -> Option<Orphans> {
        let index = self.index(stream)?;
        let stream = self.open.remove(index);
        self.fail(stream.member, now);
        if self.route == Some(stream.id) {
            self.route = None;
            self.from = if again { stream.member } else { (stream.member + 1) % self.members.len().max(1) };
            self.ask_soon(now);
        }
        Some(self.orphans(&stream))
    }

    /// A reply on this stream, to a renewal of `sent`, was of an old raft term. An old term is no error; a second one is
    /// a missed bound: on with the next member (S2, case 48).
    pub(crate) fn old_term(&mut self, stream: u64, sent: BootTime, now: BootTime) -> Option<Orphans> {
        let index = self.index(stream)?;
        let found = self.open.get_mut(index)?;
        match found.old {
            Some(first) if sent >= first => {}
            Some(_) => return None,
            None => {
                found.old = Some(now);
                return None;
            }
        }
        found.old = None;
        found.stalled = true;
        let (id, member) = (found.id, found.member);
        let places = found.outstanding.iter().map(|(place, _)| *place).collect();
        self.fail(member, now);
        if self.route == Some(id) {
            self.route = None;
            self.ask_soon(now);
        }
        Some(Orphans {
            places,
            gone: 0,
            well: self.well(),
        })
    }

    /// A renewal of this stream's was confirmed.
    pub(crate) fn confirmed(&mut self, stream: u64) {
        if let Some(found) = self.open.iter_mut().find(|open| open.id == stream) {
            found.old = None;
            if let Some(member) = self.members.get_mut(found.member) {
                member.failures = 0;
            }
        }
    }

    /// The first new stream at once; then not over and over.
    fn fail(&mut self, member: usize, now: BootTime) {
        let longest = self.longest_pause;
        if let Some(member) = self.members.get_mut(member) {
            member.failures = member.failures.saturating_add(1);
            let pause = match member.failures {
                0 | 1 => Duration::ZERO,
                more => Duration::from_millis(10 * 2u64.pow(more.min(6))),
            };
            member.not_before = now.after(pause.min(longest));
        }
    }

    /// Something changed: who leads etcd is asked anew.
    pub(crate) fn ask_soon(&mut self, now: BootTime) {
        if self.members.len() > 1 {
            self.asked = 0;
            self.ask_at = Some(now);
        }
    }

    /// What a member said when asked: whether it leads etcd. `None`: nothing, in time.
    pub(crate) fn told(&mut self, member: usize, leads: Option<bool>, now: BootTime, out: &mut Vec<Step>) -> Option<Orphans> {
        let found = self.members.get_mut(member)?;
        found.silent = leads.is_none();
        if leads != Some(true) || found.gone {
            return None;
        }
        self.home = Some(member);
        if found.not_before > now || self.current().is_some_and(|stream| stream.member == member && !stream.stalled) {
            return None;
        }
        // Whoever waits on a route that may be as sick as what it was taken for does not wait for its bound too.
        let sick = self.open.iter().any(|stream| stream.stalled);
        let waiting = self.current().filter(|_| sick).map(|stream| stream.outstanding.iter().map(|(place, _)| *place).collect());
        let dropped = self.take(member, now, out);
        let gone = dropped.as_ref().map_or(0, |orphans| orphans.gone);
        let mut places: Vec<Place> = waiting.unwrap_or_default();
        places.extend(dropped.into_iter().flat_map(|orphans| orphans.places));
        let well = self.current().map_or(0, |stream| stream.bit);
        Some(Orphans { places, gone, well })
    }

    /// Every member was asked.
    pub(crate) fn asked(&mut self, now: BootTime) {
        self.asking = false;
        if self.ask_at.is_none() && self.away() {
            let pause = (self.bound / 2) * 2u32.pow(self.asked.min(8));
            self.asked = self.asked.saturating_add(1);
            self.ask_at = Some(now.after(pause.min(ASK_AT_LEAST)));
        }
    }

    /// Renewals do not go to etcd's leader, as far as we know.
    fn away(&self) -> bool {
        self.members.len() > 1 && (self.home.is_none() || self.home != self.current().map(|stream| stream.member))
    }

    pub(crate) fn ask_due(&mut self, now: BootTime, out: &mut Vec<Step>) {
        if !self.asking && self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = None;
            self.asking = true;
            out.push(Step::Ask);
        }
    }

    /// When something is to be done, with renewals due from `due` on.
    pub(crate) fn next_wake(&self, due: Option<BootTime>) -> Option<BootTime> {
        let send = match self.current() {
            Some(stream) if !stream.stalled => due.filter(|_| stream.outstanding.len() < self.cap()),
            _ => {
                let known = self.members.iter().filter(|member| !member.gone);
                let may = known.map(|member| member.not_before).min();
                due.and_then(|due| Some(due.max(may?)))
            }
        };
        let stall = self.open.iter().filter(|stream| !stream.stalled).filter_map(|stream| stream.stalls_at(self.bound)).min();
        let ask = self.ask_at.filter(|_| !self.asking);
        [send, stall, ask].into_iter().flatten().min()
    }

    /// Each stream: its bit, whether it is stalled, what is outstanding on it.
    #[cfg(test)]
    pub(crate) fn look(&self) -> Vec<(u32, bool, Vec<Place>)> {
        let places = |stream: &Stream| stream.outstanding.iter().map(|(place, _)| *place).collect();
        self.open.iter().map(|stream| (stream.bit, stream.stalled, places(stream))).collect()
    }
}
