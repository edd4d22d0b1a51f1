//! The renewals machine when members are sick: hedged round the members, never twice on one stream, and home again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use std::collections::VecDeque;

use super::tests::*;
use super::*;

/// TTL/12, and a millisecond.
const BOUND: u64 = 417;

/// A bench whose lease 1 has gone out at 1 s on a stream to member 0, which says nothing.
fn stalled(members: usize) -> (Bench, Arc<LeaseShared>) {
    let mut bench = Bench::of(members);
    let lease = bench.lease(1);
    bench.pass(1_000);
    assert_eq!(opens(&bench.step()), [0]);
    (bench, lease)
}

/// Confirms what waits.
fn confirm(bench: &mut Bench, raft_term: u64) {
    bench.pass(200);
    for read in reads(&bench.step()) {
        bench.answer(read, raft_term, |_| None);
    }
}

#[tokio::test(start_paused = true)]
async fn case_14_a_renewal_without_an_answer_goes_round_the_members() {
    let (mut bench, lease) = stalled(3);
    bench.pass(BOUND - 1);
    assert!(sends(&bench.step()).is_empty(), "not before the bound");
    for member in [1, 2, 0, 1, 2] {
        bench.pass(1);
        let next = bench.step();
        assert_eq!((opens(&next), sends(&next)), (vec![member], vec![1]), "on a new stream, at once");
        assert_eq!(streams(&next), [bench.opened.last().unwrap().0]);
        bench.pass(BOUND - 1);
        assert!(sends(&bench.step()).is_empty());
    }
    let granted = lease.deadline.at();
    bench.reply(1, 5, 1);
    confirm(&mut bench, 1);
    assert!(lease.deadline.at() > granted);
}

#[tokio::test(start_paused = true)]
async fn s2_a_late_reply_counts_from_its_own_send() {
    let (mut bench, lease) = stalled(3);
    let sent = bench.now();
    bench.pass(BOUND);
    assert_eq!(opens(&bench.step()), [1]);
    bench.pass(100);
    bench.reply_on(0, 1, 5, 1); // of the first stream, which stayed open
    confirm(&mut bench, 1);
    assert_eq!(lease.deadline.at(), BootTime(sent.after(Duration::from_millis(LIVES)).0 & !63));
    bench.reply_on(1, 1, 5, 1);
    confirm(&mut bench, 1);
    let hedged = sent.after(Duration::from_millis(BOUND + LIVES));
    assert_eq!(lease.deadline.at(), BootTime(hedged.0 & !63), "and the hedged one's from its own, later one");
    bench.reply_on(0, 1, 5, 1); // nothing of it is outstanding there any more
    assert!(reads(&bench.step()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn s2_an_earlier_send_that_answers_last_changes_nothing() {
    let (mut bench, lease) = stalled(3);
    bench.pass(BOUND);
    bench.step();
    bench.reply_on(1, 1, 5, 1);
    confirm(&mut bench, 1);
    let deadline = lease.deadline.at();
    bench.reply_on(0, 1, 5, 1);
    confirm(&mut bench, 1);
    assert_eq!(lease.deadline.at(), deadline);
    bench.reply_on(0, 1, 0, 1);
    confirm(&mut bench, 1);
    assert!(lease.deadline.valid(), "and a reply to nothing ends nothing");
}

#[tokio::test(start_paused = true)]
async fn s2_a_lease_is_never_outstanding_twice_on_one_stream() {
    let mut bench = Bench::of(2);
    for id in 1..=3 {
        bench.lease(id);
    }
    bench.pass(1_000);
    assert_eq!(sends(&bench.step()), [1, 2, 3]);
    // Whatever asks for it meanwhile.
    let now = bench.now();
    bench.machine.renew_now(2, now);
    bench.machine.set_renewing(3, false);
    bench.machine.set_renewing(3, true);
    assert!(sends(&bench.step()).is_empty());
    bench.reply(1, 5, 1);
    bench.pass(BOUND);
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next)), (vec![1], vec![2, 3]), "who was answered need not");
    // The first goes on, with 3 outstanding there still, and becomes the route again: the second has stalled.
    bench.pass(BOUND - 1);
    bench.reply_on(0, 2, 5, 1);
    bench.pass(1);
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next)), (vec![], vec![2]), "{next:?}");
    assert!(streams(&next).iter().all(|stream| *stream == bench.opened[0].0));
    // Answered there at last, 3 is renewed as ever.
    bench.reply_on(0, 3, 5, 1);
    bench.pass(1_000);
    assert!(sends(&bench.step()).contains(&3));
}

#[tokio::test(start_paused = true)]
async fn a_long_burst_is_no_stall_as_long_as_it_makes_progress() {
    let mut bench = Bench::of(3);
    for id in 1..=100 {
        bench.lease(id);
    }
    bench.pass(1_000);
    assert_eq!(sends(&bench.step()).len(), 100);
    // 10 ms each: the last is answered after a second, more than two bounds.
    for id in 1..=100 {
        bench.pass(10);
        assert!(opens(&bench.step()).is_empty(), "at {id}");
        bench.reply(id, 5, 1);
    }
    let (mut bench, _) = stalled(3);
    for id in 2..=100 {
        bench.lease(id);
    }
    bench.reply(1, 5, 1);
    bench.pass(1_000);
    bench.step();
    // 30 ms each: three bounds are over before the turn of most, and they go out on another member's stream.
    let mut moved = Vec::new();
    for id in 1..=50 {
        bench.pass(30);
        moved.extend(opens(&bench.step()));
        bench.reply_on(0, if id == 1 { 1 } else { id }, 5, 1);
    }
    assert_eq!(moved, [1], "too slow is as good as stalled");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_is_replaced_at_once_and_then_not_over_and_over() {
    let (mut bench, _) = stalled(1);
    let mut opened = 1;
    for _ in 0..400 {
        let now = bench.now();
        let stream = bench.opened.last().unwrap().0;
        bench.machine.broken(stream, false, now);
        opened += opens(&bench.step()).len();
        bench.pass(5);
        opened += opens(&bench.step()).len();
    }
    assert!((4..20).contains(&opened), "{opened} streams in 2 s");
    assert_eq!(bench.opened[1].1, 0);
}

#[tokio::test(start_paused = true)]
async fn case_09_a_stream_whose_token_ended_is_opened_again_on_the_same_member() {
    let (mut bench, _) = stalled(3);
    let (now, stream) = (bench.now(), bench.opened[0].0);
    bench.machine.broken(stream, true, now);
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next)), (vec![0], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn renewals_go_to_the_raft_leaders_member_and_come_back_when_it_is_well() {
    let mut bench = Bench::of(3);
    bench.lease(1);
    assert_eq!(asks(&bench.step()), 1, "with the first lease");
    for (member, leads) in [(0, false), (2, true), (1, false)] {
        let now = bench.now();
        bench.machine.told(member, Some((leads, 1)), now);
    }
    bench.machine.asked(bench.now());
    bench.pass(1_000);
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next), asks(&next)), (vec![2], vec![1], 0));
    bench.reply(1, 5, 1);
    confirm(&mut bench, 1);
    // It stalls: on with the next, and who leads is asked until it is home.
    bench.pass(1_000);
    bench.step();
    bench.pass(BOUND);
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next), asks(&next)), (vec![0], vec![1], 1));
    bench.reply(1, 5, 1);
    let now = bench.now();
    bench.machine.told(2, None, now);
    bench.machine.asked(now);
    confirm(&mut bench, 1);
    bench.pass(BOUND / 2);
    assert_eq!(asks(&bench.step()), 1, "again after half a bound");
    bench.machine.told(2, Some((true, 1)), bench.now());
    bench.machine.asked(bench.now());
    bench.pass(1_000);
    let next = bench.step();
    assert_eq!((streams(&next).len(), asks(&next)), (1, 0));
    assert_eq!(bench.opened.last().unwrap().1, 2, "home, on a new stream: the old one has not answered");
}

/// Where the renewals go is told once for each change, and only of a member that is well.
#[tokio::test(start_paused = true)]
async fn case_28_29_it_is_told_when_the_renewals_move() {
    let moved = |actions: &[Action]| -> Vec<usize> {
        actions.iter().filter_map(|action| if let Action::Moved { member } = action { Some(*member) } else { None }).collect()
    };
    let mut bench = Bench::of(3);
    bench.lease(1);
    bench.step();
    bench.pass(1_000);
    assert_eq!(moved(&bench.step()), [0]);
    assert_eq!(moved(&bench.step()), [0; 0]);
    bench.pass(BOUND);
    assert_eq!(moved(&bench.step()), [1], "the first has stalled");
    bench.machine.told(2, Some((true, 2)), bench.now());
    assert_eq!(moved(&bench.step()), [2], "raft's leader");
    bench.reply(1, 5, 2);
    bench.pass(1_000);
    assert_eq!(moved(&bench.step()), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_new_raft_leader_gets_what_waits_at_once() {
    let (mut bench, _) = stalled(3);
    bench.pass(BOUND);
    assert_eq!(opens(&bench.step()), [1]);
    bench.pass(50);
    bench.machine.told(2, Some((true, 2)), bench.now());
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next)), (vec![2], vec![1]), "not after the bound of the second");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_says_nothing_is_tried_last() {
    let (mut bench, _) = stalled(3);
    for (member, said) in [(0, Some((false, 1))), (1, None), (2, Some((false, 1)))] {
        let now = bench.now();
        bench.machine.told(member, said, now);
    }
    for member in [2, 0, 2] {
        bench.pass(BOUND);
        assert_eq!(opens(&bench.step()), [member]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ex_leader_that_was_cut_off_is_not_taken_for_the_leader() {
    let mut bench = Bench::of(3);
    bench.lease(1);
    bench.machine.note_raft_term(5, bench.now());
    bench.machine.told(1, Some((true, 4)), bench.now());
    bench.machine.told(2, Some((true, 5)), bench.now());
    bench.machine.told(0, Some((true, 4)), bench.now());
    bench.pass(1_000);
    assert_eq!(opens(&bench.step()), [2]);
}

#[tokio::test(start_paused = true)]
async fn the_confirming_read_is_hedged_on_another_member_and_the_first_to_answer_counts() {
    let (mut bench, lease) = stalled(3);
    let granted = lease.deadline.at();
    bench.reply(1, 5, 1);
    let first = bench.step();
    assert_eq!(read_members(&first), [0]);
    bench.pass(BOUND - 1);
    assert!(reads(&bench.step()).is_empty());
    bench.pass(1);
    let second = bench.step();
    assert_eq!(read_members(&second), [1]);
    bench.pass(BOUND);
    let third = bench.step();
    assert_eq!(read_members(&third), [2]);
    bench.answer(reads(&second)[0], 1, |_| None);
    assert!(lease.deadline.at() > granted);
    // The others still may answer; they tell nothing new.
    let deadline = lease.deadline.at();
    bench.answer(reads(&first)[0], 1, |_| None);
    assert_eq!(lease.deadline.at(), deadline);
}

#[tokio::test(start_paused = true)]
async fn a_slow_way_on_which_every_answer_misses_its_bound_is_a_way() {
    let mut bench = Bench::of(1);
    let lease = bench.lease(1);
    // Renewals and reads take 600 ms each, at one member.
    let mut replies: VecDeque<(BootTime, u64)> = VecDeque::new();
    let mut answers: VecDeque<(BootTime, u64)> = VecDeque::new();
    for _ in 0..2_000 {
        bench.pass(10);
        let now = bench.now();
        while replies.front().is_some_and(|(at, _)| *at <= now) {
            let (_, stream) = replies.pop_front().unwrap();
            bench.machine.reply(stream, 1, 5, 1, now);
        }
        while answers.front().is_some_and(|(at, _)| *at <= now) {
            let (_, read) = answers.pop_front().unwrap();
            bench.answer(read, 1, |_| None);
        }
        let next = bench.step();
        let at = now.after(Duration::from_millis(600));
        replies.extend(streams(&next).into_iter().map(|stream| (at, stream)));
        answers.extend(reads(&next).into_iter().map(|read| (at, read)));
        assert!(lease.deadline.valid(), "{:?}", bench.now());
    }
}

#[tokio::test(start_paused = true)]
async fn case_15_a_member_given_up_is_not_tried_and_one_that_came_is() {
    let (mut bench, _lease) = stalled(2);
    let now = bench.now();
    bench.machine.set_members(&[true, false, true], now);
    for member in [2, 0, 2] {
        bench.pass(BOUND);
        assert_eq!(opens(&bench.step()), [member]);
    }
    let now = bench.now();
    bench.machine.told(2, Some((true, 1)), now);
    bench.machine.set_members(&[true, false, false], now);
    let next = bench.step();
    assert_eq!((opens(&next), sends(&next)), (vec![0], vec![1]), "what was outstanding there goes out at once");
    let closed = next.iter().filter(|action| matches!(action, Action::Stream(Step::Close { .. }))).count();
    assert!(closed >= 2, "both streams to it: {next:?}");
    bench.machine.told(2, Some((true, 1)), now);
    assert!(opens(&bench.step()).is_empty(), "a late word of it means nothing");
}

/// Members that answer, are silent, break and change at random. Whatever comes: a lease that is renewed is planned or
/// outstanding where an answer is expected, never twice on a stream, and lives as long as one member in three is well.
#[tokio::test(start_paused = true)]
async fn s2_nothing_is_forgotten_and_nothing_sent_twice_whatever_happens() {
    const LEASES: i64 = 5;
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bench = Bench::of(3);
        let leases: Vec<_> = (1..=LEASES).map(|id| bench.lease(id)).collect();
        let mut queues: Vec<(u64, usize, VecDeque<i64>)> = Vec::new();
        let mut running: Vec<u64> = Vec::new();
        let mut sick = [false; 3];
        for turn in 0..600 {
            bench.pass(rng.u64(1..60));
            let now = bench.now();
            for action in bench.step() {
                match action {
                    Action::Stream(Step::Open { stream, member }) => queues.push((stream, member, VecDeque::new())),
                    Action::Stream(Step::Close { stream }) => queues.retain(|(id, ..)| *id != stream),
                    Action::Send { stream, lease } => {
                        let (_, _, queue) = queues.iter_mut().find(|(id, ..)| *id == stream).unwrap();
                        assert!(!queue.contains(&lease), "seed {seed}, turn {turn}: twice");
                        queue.push_back(lease);
                    }
                    Action::Read { read, .. } => running.push(read),
                    _ => {}
                }
            }
            let look = bench.machine.streams.look();
            let well = look.iter().filter(|(_, stalled, _)| !stalled).fold(0, |bits, (bit, ..)| bits | bit);
            for id in 1..=LEASES {
                let place = bench.machine.leases.place(id).unwrap();
                let entry = bench.machine.leases.at(place).unwrap();
                let on = look.iter().filter(|(_, _, places)| places.contains(&place)).fold(0, |bits, (bit, ..)| bits | bit);
                assert_eq!(entry.on, on, "seed {seed}, turn {turn}");
                assert!(entry.next.is_some() || entry.on & well != 0, "seed {seed}, turn {turn}: lease {id} is forgotten");
                assert!(leases[id as usize - 1].deadline.valid(), "seed {seed}, turn {turn}: lease {id} is lost");
            }
            // One member is well at any time; it changes seldom enough for everybody to get there.
            if turn % 100 == 0 {
                sick = [true; 3].map(|_| rng.bool());
                sick[rng.usize(0..3)] = false;
            }
            match rng.u8(0..12) {
                0 if !queues.is_empty() && sick.contains(&true) => {
                    let at = rng.usize(0..queues.len());
                    if sick[queues[at].1] {
                        let (stream, ..) = queues.remove(at);
                        bench.machine.broken(stream, rng.bool(), now);
                    }
                }
                1 => {
                    let member = rng.usize(0..3);
                    let said = (!sick[member] || rng.bool()).then(|| (rng.bool(), 1));
                    bench.machine.told(member, said, now);
                }
                2 => bench.machine.asked(now),
                3 => bench.machine.renew_now(rng.i64(1..=LEASES), now),
                _ => {}
            }
            for (stream, member, queue) in &mut queues {
                // A sick one may answer late, but what it says counts from its send.
                while !queue.is_empty() && (!sick[*member] || rng.u8(0..40) == 0) {
                    let lease = queue.pop_front().unwrap();
                    bench.machine.reply(*stream, lease, 5, 1, now);
                }
            }
            for read in std::mem::take(&mut running) {
                match rng.u8(0..4) {
                    0 => running.push(read),
                    1 => bench.machine.read_done(read, None, now, &mut Vec::new()),
                    _ => drop(bench.answer(read, 1, |_| None)),
                }
            }
        }
    }
}
