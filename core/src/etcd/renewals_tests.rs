//! The renewals machine fed by hand: no stream, no network, no task.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

use super::*;
use crate::clock::{Clock, VirtualClock};
use crate::pages::Pages;
use crate::protocol::Guard;
use crate::term::{Announced, Deadline, Release};

const TTL: Duration = Duration::from_secs(5);
const VALIDITY: Validity = Validity { drift_ppm: 10_000 };
/// `TTL·(1−drift) − margin`, in milliseconds.
const LIVES: u64 = 4_850;
/// What a follower answers in half of TTL/12: 208 ms × 4.
const CAP: usize = 832;

struct Bench {
    machine: Renewals,
    clock: Arc<VirtualClock>,
    pages: Arc<Pages>,
    out: Vec<Action>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            machine: Renewals::new(VALIDITY),
            clock: VirtualClock::new(BootTime(1_000_000_000), 0),
            pages: Pages::new().unwrap(),
            out: Vec::new(),
        }
    }

    fn clock(&self) -> Clock {
        Clock::from_virtual(self.clock.clone())
    }

    fn now(&self) -> BootTime {
        self.clock().now()
    }

    fn pass(&self, ms: u64) {
        self.clock.jump(Duration::from_millis(ms));
    }

    fn deadline(&self, margin: Duration, at: BootTime) -> Deadline {
        Deadline::start(self.pages.slot().unwrap(), self.clock(), margin, at)
    }

    /// A lease granted just now at raft term 1, renewed in the background.
    fn lease(&mut self, id: i64) -> Arc<LeaseShared> {
        let now = self.now();
        let lease = Arc::new(LeaseShared {
            id,
            ttl: TTL,
            purpose: "".into(),
            deadline: self.deadline(Duration::ZERO, now.after(VALIDITY.of(TTL))),
            confirmed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            tainted: AtomicBool::new(false),
        });
        self.machine.add(lease.clone(), now, 1, now);
        self.machine.set_renewing(id, true);
        lease
    }

    fn term(&mut self, id: u64, lease: &Arc<LeaseShared>) -> Arc<TermShared> {
        let now = self.now();
        let term = Arc::new(TermShared {
            id,
            guard: Guard {
                key: format!("k{id}").into_bytes().into(),
                create: 10,
                lease: lease.id,
            },
            value: Vec::new(),
            token: 10,
            lease: lease.clone(),
            lease_is_callers: false,
            may_mark: true,
            deadline: self.deadline(Duration::from_millis(500), lease.deadline.at()),
            modified: AtomicI64::new(10),
            state: Announced::leading(),
            released: Release::default(),
        });
        self.machine.add_term(term.clone(), now, now);
        term
    }

    /// What the machine asks for now.
    fn step(&mut self) -> Vec<Action> {
        let now = self.now();
        self.machine.step(now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn reply(&mut self, lease: i64, ttl: i64, raft_term: u64) {
        let now = self.now();
        let generation = self.machine.generation;
        self.machine.reply(generation, lease, ttl, raft_term, now);
    }

    /// Answers a read at `raft_term`, showing `kv` for every key it asked for.
    fn answer(&mut self, read: u64, raft_term: u64, kv: impl Fn(u64) -> Option<KeyValue>) -> Vec<Action> {
        let now = self.now();
        let terms = self.machine.reads[&read].terms.clone();
        let reply = ReadReply {
            raft_term,
            revision: 50,
            keys: terms.into_iter().map(kv).collect(),
        };
        self.machine.read_done(read, Some(reply), now, &mut self.out);
        std::mem::take(&mut self.out)
    }
}

fn ours(lease: i64) -> Option<KeyValue> {
    Some(KeyValue {
        create_revision: 10,
        mod_revision: 10,
        lease,
        ..KeyValue::default()
    })
}

fn sends(actions: &[Action]) -> Vec<i64> {
    actions.iter().filter_map(|action| if let Action::Send { lease } = action { Some(*lease) } else { None }).collect()
}

fn reads(actions: &[Action]) -> Vec<u64> {
    actions.iter().filter_map(|action| if let Action::Read { read, .. } = action { Some(*read) } else { None }).collect()
}

fn opens(actions: &[Action]) -> Vec<bool> {
    let advance = |action: &Action| if let Action::Open { advance, .. } = action { Some(*advance) } else { None };
    actions.iter().filter_map(advance).collect()
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
async fn s2_case_19_a_read_below_the_highest_raft_term_confirms_nothing_even_if_the_reply_agrees() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    let granted = lease.deadline.at();
    bench.machine.note_raft_term(3); // some other call has seen a newer etcd leader
    bench.pass(1_000);
    bench.step();
    bench.reply(1, 5, 2);
    let read = reads(&bench.step())[0];
    bench.answer(read, 2, |_| None);
    assert_eq!(lease.deadline.at(), granted);
    bench.pass(200);
    let next = bench.step();
    let advance = next.iter().any(|action| matches!(action, Action::Read { advance: true, .. }));
    assert!(advance, "the next read goes to another member: {next:?}");
}

#[tokio::test(start_paused = true)]
async fn case_16_a_second_old_term_moves_the_stream_to_the_next_member() {
    let mut bench = Bench::new();
    bench.lease(1);
    bench.pass(1_000);
    assert_eq!(opens(&bench.step()), [false]);
    for round in 0..2 {
        bench.reply(1, 5, 1);
        bench.pass(200);
        let read = reads(&bench.step())[0];
        bench.answer(read, 2, |_| None);
        let next = bench.step();
        assert_eq!(opens(&next), if round == 0 { vec![] } else { vec![true] });
        assert_eq!(sends(&next), [1]);
    }
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
        let entry = bench.machine.leases.get(1).unwrap().extension.unwrap();
        let place = bench.machine.leases.place(1).unwrap();
        bench.machine.extend(place, entry, now);
    }
    assert!(lease.deadline.at() > shown.after(Duration::from_millis(LIVES)));
    assert_eq!(term.deadline.at(), BootTime(shown.after(Duration::from_millis(LIVES)).0 & !63));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_leaves_a_renewal_unanswered_is_given_up_and_the_lease_goes_out_on_a_new_one() {
    let mut bench = Bench::new();
    let lease = bench.lease(1);
    bench.pass(1_000);
    assert_eq!(opens(&bench.step()), [false]);
    let stalled = bench.machine.generation;
    bench.pass(416); // TTL/12
    assert_eq!(opens(&bench.step()), [] as [bool; 0], "not before the bound");
    bench.pass(1);
    let again = bench.step();
    assert_eq!((opens(&again), sends(&again)), (vec![true], vec![1]), "on the next endpoint, at once");
    // What the stalled stream still says is not read: its send is not the one that is outstanding now.
    let now = bench.now();
    bench.machine.reply(stalled, 1, 5, 1, now);
    assert!(reads(&bench.step()).is_empty());
    let before = lease.deadline.at();
    bench.reply(1, 5, 1);
    let read = reads(&bench.step())[0];
    bench.answer(read, 1, |_| None);
    assert!(lease.deadline.at() > before);
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
    let (now, generation) = (bench.now(), bench.machine.generation);
    let mut wake = bench.machine.step(now, &mut bench.out);
    for id in 2..2 + CAP as i64 {
        if bench.machine.reply(generation, id, 5, 1, now) {
            wake = bench.machine.step(now, &mut bench.out);
        }
    }
    assert!(wake.is_some_and(|at| at <= due), "{wake:?} is after {due:?}");
}
