//! Owns everything a cluster knows, behind one lock: members, who leads them, the clock's events, who is let through.
//! Leaves waiting to `gate`, requests to `service`, the test's own hand to `cluster`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use etcd_client::proto::PbResponseHeader;
use tonic::Status;

use crate::auth::Auth;
use crate::lease::Lessor;
use crate::refusal;
use crate::store::{Committed, Store};
use crate::version::Version;
use crate::watch::WatchStream;

/// How long etcd lets a request wait for a leader or a quorum.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
/// After how long without a leader a stream that asked for one is ended.
pub(crate) const STREAM_WITHOUT_LEADER: Duration = Duration::from_millis(3500);
/// What a new raft leader adds to every lease (etcd: one election timeout).
pub(crate) const PROMOTE_EXTENDS: Duration = Duration::from_secs(1);
/// The raft term of a new cluster.
pub(crate) const FIRST_TERM: u64 = 2;

/// What a test chooses about a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) version: Version,
    pub(crate) min_ttl: i64,
    pub(crate) seed: u64,
    pub(crate) token_ttl: Duration,
    pub(crate) election_timeout: Duration,
    pub(crate) forward_latency: Duration,
    pub(crate) max_request_bytes: usize,
}

/// How a member is: at work, stopped as by SIGSTOP, or gone as by SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Running,
    Stopped,
    Down,
}

/// What a member that was cut off still believes.
#[derive(Clone, Debug)]
pub(crate) struct Isolation {
    pub(crate) store: Store,
    pub(crate) lessor: Lessor,
    pub(crate) term: u64,
    since: Duration,
}

#[derive(Debug)]
pub(crate) struct MemberState {
    pub(crate) id: u64,
    pub(crate) run: Run,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) reported_term: Option<u64>,
    /// The leases as this member knew them when it was stopped as the leader, and its term.
    pub(crate) led_until_stopped: Option<(u64, Lessor)>,
    pub(crate) address: Option<String>,
}

/// What a former leader does when it wakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waking {
    /// Revokes the leases that have ended by its own old table, although they were renewed elsewhere (etcd #15247).
    pub revokes: bool,
    /// Answers held renewals with TTL 0 although the leases live (seen on 3.4.23, `case_50`).
    pub answers_zero: bool,
}

/// Counters a test can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that reached a member, by rpc name ("Range", "Txn", "LeaseKeepAlive" …); a stream counts once.
    pub calls: BTreeMap<&'static str, u64>,
    /// Renewals received on all keepalive streams.
    pub keepalives: u64,
    /// Keepalive streams that are open now.
    pub keepalive_streams: usize,
    /// Watch streams that are open now.
    pub watch_streams: usize,
    /// Watchers on all open streams.
    pub watchers: usize,
    /// Watch creates received on all streams.
    pub watch_creates: u64,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// This member alone.
    Local,
    /// A read that a quorum stands behind.
    Read,
    /// A proposal.
    Write,
    /// A renewal, which goes to the leader past raft.
    Renew,
}

/// A request at a member's door.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) member: usize,
    pub(crate) need: Need,
    pub(crate) hasleader: bool,
    since: Option<Duration>,
    /// The term when it came, to notice that the leader changed while it waited.
    term: u64,
    /// It was forwarded to this leader, in this term, and that one is stopped.
    stuck: Option<(usize, u64)>,
    /// It was held by this very member, which led in this term.
    held_by_leader: Option<u64>,
    /// Its caller has been told that it timed out; it may still be done.
    answered: bool,
}

impl Waiting {
    pub(crate) fn new(member: usize, need: Need, hasleader: bool) -> Self {
        Waiting {
            member,
            need,
            hasleader,
            since: None,
            term: 0,
            stuck: None,
            held_by_leader: None,
            answered: false,
        }
    }
}

/// Whether a request may go on.
#[derive(Debug)]
pub(crate) enum Admission {
    Go,
    /// Answered by a member (the index) that has not noticed that it is out of office: with its old term.
    Stale {
        member: usize,
        term: u64,
    },
    Refuse(Status),
    /// Tell the caller it timed out, and go on waiting: what lies at a stopped leader may be done when it wakes.
    TimedOut(Status),
    Wait(Option<Duration>),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) cluster_id: u64,
    pub(crate) term: u64,
    pub(crate) leader: Option<usize>,
    pub(crate) members: Vec<MemberState>,
    pub(crate) store: Store,
    pub(crate) lessor: Lessor,
    pub(crate) auth: Auth,
    pub(crate) streams: BTreeMap<u64, WatchStream>,
    pub(crate) next_stream: u64,
    pub(crate) keepalive_streams: usize,
    pub(crate) stats: Stats,
    pub(crate) waking: Waking,
    leaderless_since: Option<Duration>,
    election_at: Option<Duration>,
}

impl State {
    pub(crate) fn new(config: Config, members: usize) -> Self {
        // Ids that look like etcd's, the same for the same seed: Knuth's multiplier spreads small seeds.
        let spread = |n: u64| {
            (config.seed.wrapping_add(n).wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
        };
        State {
            cluster_id: spread(1000),
            term: FIRST_TERM,
            leader: Some(0),
            members: (0u64..)
                .take(members)
                .map(|n| MemberState {
                    id: spread(n),
                    run: Run::Running,
                    isolation: None,
                    reported_term: None,
                    led_until_stopped: None,
                    address: None,
                })
                .collect(),
            store: Store::new(),
            lessor: Lessor::new(config.min_ttl, config.seed),
            auth: Auth::new(config.token_ttl, config.version),
            streams: BTreeMap::new(),
            next_stream: 0,
            keepalive_streams: 0,
            stats: Stats::default(),
            waking: Waking::default(),
            leaderless_since: None,
            election_at: None,
            config,
        }
    }

    pub(crate) fn member(&self, index: usize) -> Option<&MemberState> {
        self.members.get(index)
    }

    fn works(&self, index: usize) -> bool {
        self.member(index)
            .is_some_and(|member| member.run == Run::Running && member.isolation.is_none())
    }

    fn quorum(&self) -> bool {
        (0..self.members.len())
            .filter(|index| self.works(*index))
            .count()
            * 2
            > self.members.len()
    }

    /// The raft leader, if it works and a quorum follows it.
    pub(crate) fn leading(&self) -> Option<usize> {
        // A single member that was "isolated" still has nobody else to lose its office to, but it serves nothing.
        self.leader
            .filter(|index| self.works(*index) && self.quorum())
    }

    /// The header of an answer by this member.
    pub(crate) fn header(&self, index: usize) -> PbResponseHeader {
        let Some(member) = self.member(index) else {
            return PbResponseHeader::default();
        };
        let (revision, term) = match &member.isolation {
            Some(isolation) => (isolation.store.revision(), isolation.term),
            None => (self.store.revision(), self.term),
        };
        PbResponseHeader {
            cluster_id: self.cluster_id,
            member_id: member.id,
            revision,
            raft_term: member.reported_term.unwrap_or(term),
        }
    }

    /// The store as this member sees it.
    pub(crate) fn store_of(&self, index: usize) -> &Store {
        self.member(index)
            .and_then(|member| member.isolation.as_ref())
            .map_or(&self.store, |isolation| &isolation.store)
    }

    pub(crate) fn store_of_mut(&mut self, index: usize) -> &mut Store {
        match self.members.get_mut(index).and_then(|member| member.isolation.as_mut()) {
            Some(isolation) => &mut isolation.store,
            None => &mut self.store,
        }
    }

    fn holds_back(&self, index: usize) -> bool {
        !self.works(index)
    }

    /// Hands a committed revision to every watch stream.
    pub(crate) fn publish(&mut self, committed: &Committed) {
        if committed.events.is_empty() {
            return;
        }
        let mut streams = std::mem::take(&mut self.streams);
        for stream in streams.values_mut() {
            let header = PbResponseHeader {
                revision: committed.revision,
                ..self.header(stream.member)
            };
            stream.publish(committed, header, self.holds_back(stream.member));
        }
        self.streams = streams;
    }

    /// Ends a lease with its keys, in one revision; false if there is none.
    pub(crate) fn revoke(&mut self, lease: i64) -> bool {
        if !self.lessor.remove(lease) {
            return false;
        }
        let mut writing = self.store.write();
        writing.delete_lease(lease);
        let committed = writing.commit();
        self.publish(&committed);
        true
    }

    /// Does what the clock has brought: leases that ended, elections, laggards among the watchers.
    pub(crate) fn tick(&mut self, now: Duration) {
        loop {
            let expiry = self.next_expiry();
            match (self.election_at, expiry) {
                (Some(at), _) if at <= now => self.elect(at),
                (_, Some((at, lease))) if at <= now => {
                    self.revoke(lease);
                }
                _ => break,
            }
        }
        let mut streams = std::mem::take(&mut self.streams);
        for stream in streams.values_mut() {
            let header = self.header(stream.member);
            stream.sync(
                header,
                self.store_of(stream.member),
                now,
                self.holds_back(stream.member),
            );
        }
        self.streams = streams;
    }

    fn next_expiry(&self) -> Option<(Duration, i64)> {
        self.leading().and_then(|_| self.lessor.next_expiry())
    }

    /// When the clock brings something next.
    pub(crate) fn next_event(&self, now: Duration) -> Option<Duration> {
        let due = self.streams.values().filter_map(WatchStream::due).min();
        let no_leader = self
            .leaderless_since
            .map(|since| since + STREAM_WITHOUT_LEADER);
        [
            self.election_at,
            self.next_expiry().map(|(at, _)| at),
            due,
            no_leader,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
    }

    /// Notes that members came, went or were cut off: is there a leader, must one be elected?
    pub(crate) fn reconsider(&mut self, now: Duration) {
        if self.leading().is_some() {
            self.leaderless_since = None;
            self.election_at = None;
            return;
        }
        self.leaderless_since.get_or_insert(now);
        if self.quorum() {
            self.election_at
                .get_or_insert(now + self.config.election_timeout);
        } else {
            self.election_at = None;
        }
    }

    fn elect(&mut self, now: Duration) {
        self.election_at = None;
        if let Some(winner) = (0..self.members.len()).find(|index| self.works(*index)) {
            self.lead(winner, now);
        }
    }

    /// Makes a member the leader of the next term.
    pub(crate) fn lead(&mut self, winner: usize, now: Duration) {
        self.term += 1;
        self.leader = Some(winner);
        self.lessor.promote(now, PROMOTE_EXTENDS);
        self.reconsider(now);
    }

    /// Whether a stream of this member that asked for a leader is to be ended now.
    pub(crate) fn stream_ends(&self, index: usize, now: Duration) -> bool {
        let Some(member) = self.member(index) else {
            return false;
        };
        if member.run != Run::Running {
            return false;
        }
        let since = member
            .isolation
            .as_ref()
            .map(|isolation| isolation.since)
            .or(self.leaderless_since);
        since.is_some_and(|since| since + STREAM_WITHOUT_LEADER <= now)
    }

    /// Whether this member has noticed that it has no leader.
    fn misses_leader(&self, index: usize, now: Duration) -> bool {
        let isolated = self
            .member(index)
            .and_then(|member| member.isolation.as_ref())
            .map(|isolation| isolation.since);
        isolated
            .or(self.leaderless_since)
            .is_some_and(|since| since + self.config.election_timeout <= now)
    }

    /// Cuts a member off: it goes on with what it knows.
    pub(crate) fn isolate(&mut self, index: usize, now: Duration) {
        let (store, lessor, term) = (self.store.clone(), self.lessor.clone(), self.term);
        if let Some(member) = self.members.get_mut(index)
            && member.isolation.is_none()
        {
            member.isolation = Some(Isolation {
                store,
                lessor,
                term,
                since: now,
            });
        }
        self.reconsider(now);
    }

    /// Joins a member to the others again.
    pub(crate) fn heal(&mut self, index: usize, now: Duration) {
        if let Some(member) = self.members.get_mut(index) {
            member.isolation = None;
        }
        // Alone, nobody was elected meanwhile: renewals that were only pretended are lost, the office is not.
        self.reconsider(now);
        self.flush(index);
    }

    /// Stops a member, or takes it away.
    pub(crate) fn halt(&mut self, index: usize, run: Run, now: Duration) {
        let leads = self.leader == Some(index) && self.works(index);
        let known = (self.term, self.lessor.clone());
        if let Some(member) = self.members.get_mut(index) {
            member.run = run;
            member.led_until_stopped = (leads && run == Run::Stopped).then_some(known);
        }
        self.reconsider(now);
    }

    /// Lets a member go on.
    pub(crate) fn resume(&mut self, index: usize, now: Duration) {
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        member.run = Run::Running;
        let woken = member.led_until_stopped.clone();
        self.reconsider(now);
        if let Some((term, lessor)) = woken
            && term < self.term
            && self.waking.revokes
        {
            for lease in lessor.ended(now) {
                self.revoke(lease);
            }
        }
        self.flush(index);
    }

    fn flush(&mut self, index: usize) {
        if self.works(index) {
            self.streams
                .values_mut()
                .filter(|stream| stream.member == index)
                .for_each(WatchStream::flush);
        }
    }

    /// Whether a request has been read by its member; if so, the old term of one that led until it was stopped.
    pub(crate) fn arrive(&self, waiting: &mut Waiting) -> ControlFlow<Option<u64>> {
        let Some(member) = self.member(waiting.member) else {
            return ControlFlow::Break(None);
        };
        if member.run != Run::Running {
            waiting.held_by_leader = member.led_until_stopped.as_ref().map(|(term, _)| *term);
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(waiting.held_by_leader.filter(|term| *term < self.term))
    }

    /// Whether a request may go on, and if not, until when it waits.
    pub(crate) fn admit(&self, waiting: &mut Waiting, now: Duration) -> Admission {
        let since = *waiting.since.get_or_insert(now);
        if waiting.term == 0 {
            waiting.term = self.term;
        }
        let Some(member) = self.member(waiting.member) else {
            return Admission::Refuse(refusal::member_not_found());
        };
        if member.run != Run::Running {
            waiting.held_by_leader = member.led_until_stopped.as_ref().map(|(term, _)| *term);
            return Admission::Wait(None);
        }
        if let Some(term) = waiting.held_by_leader.filter(|term| *term < self.term) {
            match waiting.need {
                Need::Renew => {
                    return Admission::Stale {
                        member: waiting.member,
                        term,
                    };
                }
                Need::Read => return Admission::Refuse(refusal::leader_changed()),
                Need::Local | Need::Write => {}
            }
        }
        let timeout = since + REQUEST_TIMEOUT;
        if let Some(isolation) = &member.isolation {
            return match waiting.need {
                Need::Local => Admission::Go,
                Need::Renew => Admission::Stale {
                    member: waiting.member,
                    term: isolation.term,
                },
                _ if waiting.hasleader && self.misses_leader(waiting.member, now) => {
                    Admission::Refuse(refusal::no_leader())
                }
                _ if timeout <= now => Admission::Refuse(self.waited_in_vain(waiting, since)),
                _ => Admission::Wait(Some(timeout)),
            };
        }
        if let Some((leader, term)) = waiting.stuck {
            if self
                .member(leader)
                .is_some_and(|leader| leader.run == Run::Stopped)
            {
                return match waiting.need {
                    Need::Write if waiting.answered => Admission::Wait(None),
                    Need::Write if timeout <= now => {
                        waiting.answered = true;
                        Admission::TimedOut(refusal::timed_out())
                    }
                    _ if timeout <= now => Admission::Refuse(refusal::timed_out()),
                    _ => Admission::Wait(Some(timeout)),
                };
            }
            if waiting.need == Need::Renew && term < self.term {
                return Admission::Stale {
                    member: leader,
                    term,
                };
            }
        }
        if self.leading().is_some() {
            return if waiting.need == Need::Read && waiting.term < self.term {
                Admission::Refuse(refusal::leader_changed())
            } else {
                Admission::Go
            };
        }
        if waiting.hasleader && self.misses_leader(waiting.member, now) {
            return Admission::Refuse(refusal::no_leader());
        }
        if waiting.need == Need::Local {
            return Admission::Go;
        }
        if timeout <= now {
            return Admission::Refuse(self.waited_in_vain(waiting, since));
        }
        // A member that has noticed that there is no leader hands nothing to the one it had.
        if matches!(waiting.need, Need::Write | Need::Renew)
            && !self.misses_leader(waiting.member, now)
            && let Some(leader) = self.leader
            && self
                .member(leader)
                .is_some_and(|leader| leader.run == Run::Stopped)
        {
            waiting.stuck = Some((leader, self.term));
        }
        let noticed = self
            .leaderless_since
            .filter(|_| waiting.hasleader)
            .map(|since| since + self.config.election_timeout);
        Admission::Wait(Some(
            noticed
                .filter(|at| *at > now)
                .map_or(timeout, |at| at.min(timeout)),
        ))
    }

    /// What a request is told that came at `since` and found no leader in time.
    fn waited_in_vain(&self, waiting: &Waiting, since: Duration) -> Status {
        if waiting.need == Need::Write && self.misses_leader(waiting.member, since) {
            self.config.version.never_proposed()
        } else {
            refusal::timed_out()
        }
    }

    /// The TTL with which a member that is out of office answers a renewal.
    pub(crate) fn stale_ttl(&self, index: usize, lease: i64) -> i64 {
        let Some(member) = self.member(index) else {
            return 0;
        };
        if member.isolation.is_none() && self.waking.answers_zero {
            return 0;
        }
        let table = match (&member.isolation, &member.led_until_stopped) {
            (Some(isolation), _) => &isolation.lessor,
            (None, Some((_, lessor))) => lessor,
            (None, None) => &self.lessor,
        };
        table.ttl(lease).unwrap_or(0)
    }
}
