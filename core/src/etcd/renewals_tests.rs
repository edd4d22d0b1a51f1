//! The renewals machine fed by hand: no stream, no network, no task.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use super::*;
use crate::clock::{Clock, VirtualClock};
use crate::pages::Pages;
use crate::protocol::{Guard, KeyValue};
use crate::term::{Announced, Deadline, Holding, Release, TermState};

const TTL: Duration = Duration::from_secs(5);
const VALIDITY: Validity = Validity { drift_ppm: 10_000 };
/// `TTL·(1−drift) − margin`, in milliseconds.
pub(super) const LIVES: u64 = 4_850;
/// What a follower answers in half of TTL/12: 208 ms × 4.
const CAP: usize = 832;

pub(super) struct Bench {
    pub(super) machine: Renewals,
    clock: Arc<VirtualClock>,
    pages: Arc<Pages>,
    out: Vec<Action>,
    /// The streams opened so far, with their members.
    pub(super) opened: Vec<(u64, usize)>,
}

impl Bench {
    fn new() -> Bench {
        Bench::of(3)
    }

    /// A client of so many members.
    pub(super) fn of(members: usize) -> Bench {
        Bench {
            opened: Vec::new(),
            machine: Renewals::new(VALIDITY, members),
            clock: VirtualClock::new(BootTime(1_000_000_000), 0),
            pages: Pages::new().unwrap(),
            out: Vec::new(),
        }
    }

    fn clock(&self) -> Clock {
        Clock::from_virtual(self.clock.clone())
    }

    pub(super) fn now(&self) -> BootTime {
        self.clock().now()
    }

    pub(super) fn pass(&self, ms: u64) {
        self.clock.jump(Duration::from_millis(ms));
    }

    fn deadline(&self, margin: Duration, at: BootTime) -> Deadline {
        Deadline::start(self.pages.slot().unwrap(), self.clock(), margin, at)
    }

    /// A lease granted just now at raft term 1, renewed in the background.
    pub(super) fn lease(&mut self, id: i64) -> Arc<LeaseShared> {
        let now = self.now();
        let deadline = self.deadline(Duration::ZERO, now.after(VALIDITY.of(TTL)));
        let lease = Arc::new(LeaseShared::granted(id, TTL, "".into(), 1, deadline));
        self.machine.add(lease.clone(), now, 1, now);
        self.machine.set_renewing(id, true);
        lease
    }

    pub(super) fn term(&mut self, id: u64, lease: &Arc<LeaseShared>) -> Arc<TermShared> {
        let now = self.now();
        let term = Arc::new(TermShared {
            queued: false,
            id,
            holding: Arc::new(Holding::new(Guard {
                key: format!("k{id}").into_bytes().into(),
                create: 10,
                lease: lease.id(),
            })),
            value: Vec::new(),
            proclaimed: Default::default(),
            token: 10,
            lease: lease.clone(),
            lease_is_callers: false,
            may_mark: true,
            deadline: self.deadline(Duration::from_millis(500), lease.deadline.at()),
            state: Announced::leading(),
            released: Release::default(),
        });
        self.machine.add_term(term.clone(), now, now);
        term
    }

    /// What the machine asks for now.
    pub(super) fn step(&mut self) -> Vec<Action> {
        let now = self.now();
        self.machine.step(now, &mut self.out);
        let actions = std::mem::take(&mut self.out);
        for action in &actions {
            if let Action::Stream(Step::Open { stream, member }) = action {
                self.opened.push((*stream, *member));
            }
        }
        actions
    }

    /// A reply on the stream opened last.
    pub(super) fn reply(&mut self, lease: i64, ttl: i64, raft_term: u64) {
        self.reply_on(self.opened.len() - 1, lease, ttl, raft_term);
    }

    /// A reply on the stream that was opened as number `opened`, from 0.
    pub(super) fn reply_on(&mut self, opened: usize, lease: i64, ttl: i64, raft_term: u64) -> bool {
        let now = self.now();
        self.machine.reply(self.opened[opened].0, lease, ttl, raft_term, now)
    }

    /// Answers a read at `raft_term`, showing `kv` for every key it asked for.
    pub(super) fn answer(&mut self, read: u64, raft_term: u64, kv: impl Fn(u64) -> Option<KeyValue>) -> Vec<Action> {
        let now = self.now();
        let terms = self.machine.reads.terms_of(read);
        let reply = ReadReply {
            raft_term,
            revision: 50,
            keys: terms.into_iter().map(kv).collect(),
        };
        self.machine.read_done(read, Some(reply), now, &mut self.out);
        std::mem::take(&mut self.out)
    }
}

pub(super) fn ours(lease: i64) -> Option<KeyValue> {
    Some(KeyValue {
        create_revision: 10,
        mod_revision: 10,
        lease,
        ..KeyValue::default()
    })
}

pub(super) fn sends(actions: &[Action]) -> Vec<i64> {
    let lease = |action: &Action| if let Action::Send { lease, .. } = action { Some(*lease) } else { None };
    actions.iter().filter_map(lease).collect()
}

/// The streams that renewals went out on.
pub(super) fn streams(actions: &[Action]) -> Vec<u64> {
    let stream = |action: &Action| if let Action::Send { stream, .. } = action { Some(*stream) } else { None };
    actions.iter().filter_map(stream).collect()
}

/// The members that were read from.
pub(super) fn read_members(actions: &[Action]) -> Vec<usize> {
    let member = |action: &Action| if let Action::Read { member, .. } = action { Some(*member) } else { None };
    actions.iter().filter_map(member).collect()
}

pub(super) fn asks(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Stream(Step::Ask))).count()
}

pub(super) fn reads(actions: &[Action]) -> Vec<u64> {
    actions.iter().filter_map(|action| if let Action::Read { read, .. } = action { Some(*read) } else { None }).collect()
}

/// The members that streams were opened to.
pub(super) fn opens(actions: &[Action]) -> Vec<usize> {
    let member = |action: &Action| match action {
        Action::Stream(Step::Open { member, .. }) => Some(*member),
        _ => None,
    };
    actions.iter().filter_map(member).collect()
}

#[tokio::test(start_paused = true)]
async fn s2_the_deadline_is_counted_from_the_send_and_only_once_a_later_read_confirms_it() {
    let mut bench = Bench::new();
    let lease = bench.lease(7);
    let granted = lease.deadline.at();
    bench.pass(1_000);
    let sent = bench.now();
    assert_eq!(sends(&bench.step()), [7]);
    bench.pass(30);
    assert_eq!(sends(&bench.step()), [] as [i64; 0], "at most one outstanding per lease");
    bench.reply(7, 5, 1);
    assert_eq!(lease.deadline.at(), granted, "a reply alone extends nothing");
    let read = reads(&bench.step());
    assert_eq!(read.len(), 1);
    bench.pass(5);
    bench.answer(read[0], 1, |_| None);
    let expected = BootTime(sent.after(Duration::from_millis(LIVES)).0 & !63);
    assert_eq!(lease.deadline.at(), expected, "from the send, not from the receipt or the confirmation");
}

#[tokio::test(start_paused = true)]
async fn s2_a_read_begun_before_the_reply_confirms_nothing() {
    let mut bench = Bench::new();
    let (one, two) = (bench.lease(1), bench.lease(2));
    let granted = two.deadline.at();
    bench.pass(1_000);
    assert_eq!(sends(&bench.step()), [1, 2]);
    bench.reply(1, 5, 1);
    let first = reads(&bench.step())[0];
    bench.pass(1);
    bench.reply(2, 5, 1);
    bench.answer(first, 1, |_| None);
    assert!(one.deadline.at() > granted);
    assert_eq!(two.deadline.at(), granted, "its reply came after the read had begun");
    bench.pass(200); // TTL/25 after the last read
    let second = reads(&bench.step())[0];
    bench.answer(second, 1, |_| None);
    assert!(two.deadline.at() > granted);
}

#[tokio::test(start_paused = true)]
async fn s2_case_46_unequal_raft_terms_extend_nothing_and_renew_once_more() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let granted = lease.deadline.at();
    bench.pass(1_000);
    bench.step();
    bench.reply(1, 5, 1); // answered at term 1, by a leader that is one no more
    let read = reads(&bench.step())[0];
    bench.answer(read, 2, |_| None);
    assert_eq!(lease.deadline.at(), granted);
    assert_eq!(sends(&bench.step()), [1], "an old term is no error: renewed once more, at once");
    bench.reply(1, 5, 2);
    bench.pass(200);
    let read = reads(&bench.step())[0];
    bench.answer(read, 2, |_| None);
    assert!(lease.deadline.at() > granted);
}

#[tokio::test(start_paused = true)]
async fn s2_case_19_below_the_highest_raft_term_neither_reply_nor_read_counts() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let granted = lease.deadline.at();
    bench.machine.note_raft_term(3, bench.now()); // some other call has seen a newer etcd leader
    bench.pass(1_000);
    bench.step();
    bench.reply(1, 5, 2);
    let next = bench.step();
    assert_eq!((sends(&next), reads(&next).len()), (vec![1], 0), "renewed once more, and no read is wasted on it");
    bench.reply(1, 5, 3);
    let next = bench.step();
    assert_eq!(read_members(&next), [0]);
    bench.answer(reads(&next)[0], 2, |_| None);
    assert_eq!(lease.deadline.at(), granted, "a member that has not heard of the newest leader confirms nothing");
    let next = bench.step();
    assert_eq!(read_members(&next), [1], "the next read goes to another member, at once");
    bench.answer(reads(&next)[0], 3, |_| None);
    assert!(lease.deadline.at() > granted);
}

#[tokio::test(start_paused = true)]
async fn case_48_a_second_old_term_moves_the_renewals_to_the_next_member() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let granted = lease.deadline.at();
    bench.pass(1_000);
    assert_eq!(opens(&bench.step()), [0]);
    bench.reply(1, 5, 1);
    let read = reads(&bench.step())[0];
    bench.answer(read, 2, |_| None);
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next)), (vec![], vec![1]), "an old term is no error: once more");
    bench.pass(1);
    bench.reply(1, 5, 1);
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next)), (vec![1], vec![1]), "a second one is a missed bound");
    bench.reply(1, 5, 2);
    bench.pass(200);
    let read = reads(&bench.step())[0];
    bench.answer(read, 2, |_| None);
    assert!(lease.deadline.at() > granted);
    bench.pass(1_000);
    let next = bench.step();
    assert_eq!((opens(&next), streams(&next)), (vec![], vec![bench.opened[1].0]), "and there they stay");
}

#[tokio::test(start_paused = true)]
async fn case_12_a_lease_that_is_gone_ends_its_terms_once_that_is_confirmed() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let term = bench.term(1, &lease);
    bench.pass(1_000);
    bench.step();
    bench.reply(1, 0, 1);
    assert!(term.deadline.valid(), "case 50: TTL 0 counts only from a reply that could have extended it");
    let read = reads(&bench.step())[0];
    let actions = bench.answer(read, 1, |_| ours(1));
    assert!(matches!(&actions[..], [Action::Lost(lost)] if lost.id == 1), "{actions:?}");
    assert_eq!(term.deadline.lost(), Some(Reason::Revoked));
    assert!(!term.deadline.valid() && !lease.deadline.valid());
}

#[tokio::test(start_paused = true)]
async fn case_50_ttl_zero_from_an_old_raft_term_ends_nothing() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let term = bench.term(1, &lease);
    bench.pass(1_000);
    bench.step();
    bench.reply(1, 0, 1);
    let read = reads(&bench.step())[0];
    bench.answer(read, 2, |_| ours(1));
    assert!(term.deadline.lost().is_none());
    assert_eq!(sends(&bench.step()), [1]);
}

#[tokio::test(start_paused = true)]
async fn case_10_a_reply_after_the_lease_was_given_up_changes_nothing() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let granted = lease.deadline.at();
    bench.pass(1_000);
    bench.step();
    bench.machine.remove(1);
    lease.deadline.end(Reason::Closed);
    bench.reply(1, 5, 1);
    for read in reads(&bench.step()) {
        bench.answer(read, 1, |_| None);
    }
    assert!(!lease.deadline.valid() && lease.deadline.at() < granted);
}

#[tokio::test(start_paused = true)]
async fn s6_the_confirming_read_notices_a_lost_key_without_any_watch() {
    for (kv, reason) in [
        (None, Reason::KeyDeleted),
        (ours(2), Reason::Overwritten),
        (
            Some(KeyValue {
                create_revision: 20,
                mod_revision: 20,
                lease: 1,
                ..KeyValue::default()
            }),
            Reason::KeyDeleted,
        ),
    ] {
        let mut bench = Bench::new();
        let lease = bench.lease(1);
        let term = bench.term(1, &lease);
        bench.pass(1_000);
        bench.step();
        bench.reply(1, 5, 1);
        let read = reads(&bench.step())[0];
        let kv = kv.clone();
        bench.answer(read, 1, move |_| kv.clone());
        assert_eq!(term.deadline.lost(), Some(reason));
    }
}

#[tokio::test(start_paused = true)]
async fn s15_no_extension_goes_beyond_the_ttl_after_the_key_was_last_shown_as_ours() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let term = bench.term(1, &lease);
    let shown = bench.now();
    // Renewals are confirmed by a proof that did not look at the key.
    for _ in 0..3 {
        bench.pass(1_000);
        bench.step();
        bench.reply(1, 5, 1);
        let now = bench.now();
        let entry = bench.machine.leases.get(1).unwrap();
        let entry = entry.better.as_deref().copied().or(entry.extension).unwrap();
        let place = bench.machine.leases.place(1).unwrap();
        bench.machine.extend(place, entry, now);
    }
    assert!(lease.deadline.at() > shown.after(Duration::from_millis(LIVES)));
    assert_eq!(term.deadline.at(), BootTime(shown.after(Duration::from_millis(LIVES)).0 & !63));
}

/// All renewals of a client that won a hundred keys at once fall together, and so do the reads: one a second. What the
/// machine lives on when etcd stalls is what the deadlines have left then (case 44).
#[tokio::test(start_paused = true)]
async fn case_44_s15_many_terms_at_once_lose_no_validity_to_keys_that_were_not_shown() {
    let mut bench = Bench::new();
    let terms: Vec<_> = (1..=100)
        .map(|id| {
            let lease = bench.lease(id);
            bench.term(id as u64, &lease)
        })
        .collect();
    for round in 1..=5 {
        bench.pass(1_000);
        let sent = bench.now();
        for lease in sends(&bench.step()) {
            bench.reply(lease, 5, 1);
        }
        for read in reads(&bench.step()) {
            bench.answer(read, 1, |term| ours(term as i64));
        }
        let least = terms.iter().map(|term| term.deadline.at()).min().unwrap();
        assert!(least >= BootTime(sent.after(Duration::from_millis(LIVES)).0 & !63), "round {round}: {least:?}");
    }
}

/// One of a hundred keys may not be read any more: only its own term ends, at the deadline that S15 sets it.
#[tokio::test(start_paused = true)]
async fn s2_s15_case_09_a_key_that_may_not_be_read_stops_no_other_confirmation() {
    const DENIED: u64 = 42;
    let mut bench = Bench::new();
    let terms: Vec<_> = (1..=100)
        .map(|id| {
            let lease = bench.lease(id);
            bench.term(id as u64, &lease)
        })
        .collect();
    let shown = bench.now();
    let mut read = 0;
    for _ in 0..1_200 {
        bench.pass(10);
        let mut actions = bench.step();
        while !actions.is_empty() {
            for lease in sends(&actions) {
                bench.reply(lease, 5, 1);
            }
            for id in reads(&actions) {
                read += 1;
                if bench.machine.reads.terms_of(id).contains(&DENIED) {
                    let now = bench.now();
                    bench.machine.read_denied(id, now);
                } else {
                    bench.answer(id, 1, |term| ours(term as i64));
                }
            }
            actions = bench.step();
        }
        for term in terms.iter().filter(|term| term.id != DENIED) {
            assert!(term.deadline.at().since(bench.now()) > Duration::from_millis(3_000), "{} at {:?}", term.id, bench.now());
        }
    }
    let denied = &terms[DENIED as usize - 1].deadline;
    assert!(denied.at() <= shown.after(Duration::from_millis(LIVES)) && denied.lost().is_some());
    assert!(read < 100, "{read} reads in 12 s");
}

#[tokio::test(start_paused = true)]
async fn s15_case_09_a_key_that_may_be_read_again_extends_its_term_again() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let term = bench.term(1, &lease);
    for ms in 0..8_000 {
        bench.pass(1);
        let actions = bench.step();
        for lease in sends(&actions) {
            bench.reply(lease, 5, 1);
        }
        for id in reads(&actions) {
            if ms < 3_500 && !bench.machine.reads.terms_of(id).is_empty() {
                let now = bench.now();
                bench.machine.read_denied(id, now);
            } else {
                bench.answer(id, 1, |term| ours(term as i64));
            }
        }
    }
    assert!(term.deadline.at().since(bench.now()) > Duration::from_millis(3_000), "{:?}", term.deadline.at());
}

#[tokio::test(start_paused = true)]
async fn a_lease_past_its_deadline_is_never_sent() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    bench.pass(LIVES + 1);
    assert!(!lease.deadline.valid());
    assert!(sends(&bench.step()).is_empty());
    assert!(!bench.machine.is_renewing(1));
}

#[tokio::test(start_paused = true)]
async fn reads_are_paced_but_not_when_a_deadline_is_near() {
    let mut bench = Bench::new();
    bench.lease(1);
    bench.pass(700);
    bench.lease(2);
    bench.pass(300);
    bench.step();
    bench.reply(1, 5, 1);
    let read = reads(&bench.step())[0];
    bench.answer(read, 1, |_| None);
    bench.machine.renew_now(2, bench.clock().now());
    bench.step();
    bench.reply(2, 5, 1);
    assert!(reads(&bench.step()).is_empty(), "not within TTL/25 of the last one");
    bench.pass(200);
    let read = reads(&bench.step())[0];
    bench.machine.read_done(read, None, bench.clock().now(), &mut Vec::new());
    // Lease 2 alone goes on without confirmation until its deadline is near.
    bench.machine.remove(1);
    bench.pass(3_500);
    bench.step();
    bench.pass(1);
    bench.reply(2, 5, 1);
    assert_eq!(reads(&bench.step()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn s9_a_loss_is_announced_the_step_down_margin_before_the_deadline_and_once() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let term = bench.term(1, &lease);
    let mut announced = Vec::new();
    for _ in 0..LIVES {
        bench.pass(1);
        for action in bench.step() {
            if let Action::Lost(lost) = action {
                announced.push((lost.deadline.at().since(bench.now()), lost.deadline.lost()));
            }
        }
    }
    let [(left, reason)] = &announced[..] else { panic!("{announced:?}") };
    assert!(*left <= Duration::from_millis(500) && *left > Duration::from_millis(495), "{left:?}");
    assert!(reason.is_some());
    assert_eq!(term.state.get(), TermState::Jeopardy, "and jeopardy was shown before");
}

#[tokio::test(start_paused = true)]
async fn jeopardy_is_shown_also_before_the_first_renewal_of_a_term_that_is_kept_later() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    bench.machine.set_renewing(1, false); // a campaign's lease, until `keep`
    let term = bench.term(1, &lease);
    bench.step();
    bench.machine.set_renewing(1, true);
    bench.step();
    assert_eq!(term.state.get(), TermState::Leading);
    bench.pass(2_100); // two renewal intervals and a bit, without an answer
    bench.step();
    assert_eq!(term.state.get(), TermState::Jeopardy);
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_is_filled_again_when_it_has_emptied_though_nothing_was_due_while_it_was_full() {
    let mut bench = Bench::new();
    // A reply that waits for its read: the replies below are not the first that do, which would wake by itself.
    bench.lease(1);
    bench.pass(100);
    for id in 2..2 + CAP as i64 {
        bench.lease(id);
    }
    bench.pass(60);
    bench.lease(1000);
    bench.pass(840); // lease 1 is due
    assert_eq!(sends(&bench.step()), [1]);
    bench.reply(1, 5, 1);
    bench.step();
    bench.pass(100); // as many as fit are due, lease 1000 in 60 ms
    assert_eq!(sends(&bench.step()).len(), CAP);
    let due = bench.now().after(Duration::from_millis(60));
    let now = bench.now();
    let mut wake = bench.machine.step(now, &mut bench.out);
    for id in 2..2 + CAP as i64 {
        if bench.reply_on(0, id, 5, 1) {
            wake = bench.machine.step(now, &mut bench.out);
        }
    }
    assert!(wake.is_some_and(|at| at <= due), "{wake:?} is after {due:?}");
}
