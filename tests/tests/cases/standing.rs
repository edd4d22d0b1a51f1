//! Cases 05, 06 and 42 for electors, and DESIGN §5: the candidate that an elector holds ready while another leads.
//! Owns standing, taking the key from there, and being handed it; the loop around it is `electing`'s.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Txn, TxnOp};
use leadership_core::{Elector, ElectorBuilder, ElectorEvent, ElectorState, Reason, Term};
use leadership_testkit::{Method, Target};
use leadership_tests::both_worlds;
use leadership_tests::world::{Peer, World, simulated};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::steps::{DELAY, nothing_left};

pub(crate) const TTL: Duration = Duration::from_secs(5);
const BOUND: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(1);

fn builder(peer: &Peer, value: &str) -> ElectorBuilder {
    Elector::builder(&peer.client, "k").value(value).ttl(TTL).campaign_limit(1000)
}

pub(crate) fn elector(peer: &Peer, value: &str) -> Rc<Elector> {
    Rc::new(builder(peer, value).start().unwrap())
}

pub(crate) async fn next(elector: &Elector) -> Term {
    tokio::time::timeout(BOUND, elector.next_term()).await.expect("a term within the bound").unwrap().expect("not closed")
}

/// Somebody waits for the term, from now on.
pub(crate) fn waits(elector: &Rc<Elector>) -> JoinHandle<Term> {
    let elector = elector.clone();
    tokio::task::spawn_local(async move {
        match elector.next_term().await.unwrap() {
            Some(term) => term,
            None => std::future::pending().await, // closed: the case is over
        }
    })
}

async fn value_of(world: &World) -> Option<Vec<u8>> {
    world.get("k").await.map(|kv| kv.value)
}

pub(crate) async fn standing(world: &World) -> Vec<String> {
    world.keys("k.candidates/").await
}

pub(crate) async fn stand(world: &World, candidates: usize) {
    world.until("they stand", async || standing(world).await.len() == candidates).await;
}

/// The lease of the one candidate that stands.
pub(crate) async fn lease_of_candidate(world: &World) -> i64 {
    stand(world, 1).await;
    let name = standing(world).await.remove(0);
    i64::from_str_radix(name.rsplit('/').next().unwrap(), 16).unwrap()
}

/// S7, DESIGN §5: what a candidate needs it has before the key goes: it leads one round trip after that.
async fn a_warm_candidate_is_one_round_trip_away(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    let term = next(&first).await;
    assert_eq!(standing(world).await, [""; 0], "who leads does not stand");
    let successor = waits(&second);
    lease_of_candidate(world).await;
    world.pass(SOON).await;
    let grants = two.faults.calls(Method::LeaseGrant);
    let trip = Duration::from_millis(40);
    two.faults.delay(Method::Any, trip);
    let began = Instant::now();
    drop(term);
    let successor = successor.await.unwrap();
    assert!(began.elapsed() < 2 * trip, "{:?}", began.elapsed());
    assert!(successor.is_valid() && successor.value() == b"two");
    assert_eq!(two.faults.calls(Method::LeaseGrant), grants);
    assert_eq!(standing(world).await, [""; 0], "the first cools down, the second leads");
}

#[test]
fn s7_a_warm_candidate_is_one_round_trip_away() {
    simulated(|world| Box::pin(a_warm_candidate_is_one_round_trip_away(world)));
}

/// Case 05: a candidate whose lease or registration goes stands again with fresh ones, and takes the key when it goes.
async fn a_candidate_that_lost_what_it_stands_with(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    let term = next(&first).await;
    let successor = waits(&second);
    let anew = async |old: i64, within: Duration| {
        let other = async || {
            let names = standing(world).await;
            names.len() == 1 && !names[0].ends_with(&format!("/{old:x}"))
        };
        world.until_within(within, "it stands with a fresh lease", other).await;
    };
    let lease = lease_of_candidate(world).await;
    world.revoke(lease).await;
    anew(lease, TTL).await;

    let lease = lease_of_candidate(world).await;
    world.delete(&format!("k.candidates/{lease:x}")).await;
    anew(lease, Duration::from_secs(20)).await; // found by the periodic read
    world.until("the lease without a registration is given up", async || !world.leases().await.contains(&lease)).await;

    let lease = lease_of_candidate(world).await;
    two.faults.hang(Method::Any);
    two.faults.silence_streams(Method::LeaseKeepAlive);
    world.until_within(3 * TTL, "expired", async || !world.leases().await.contains(&lease)).await;
    two.faults.heal();
    anew(lease, BOUND).await;

    drop(term);
    let successor = tokio::time::timeout(BOUND, successor).await.unwrap().unwrap();
    assert!(successor.is_valid());
    assert_eq!(value_of(world).await, Some(b"two".to_vec()));
}

#[test]
fn case_05_a_candidate_that_lost_what_it_stands_with() {
    simulated(|world| Box::pin(a_candidate_that_lost_what_it_stands_with(world)));
}

/// The key goes while nobody has noticed yet that the candidate is dead: its campaign fails, and it stands again.
async fn a_dead_candidate_campaigns_in_vain(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    let term = next(&first).await;
    let successor = waits(&second);
    for dies in [true, false] {
        let lease = lease_of_candidate(world).await;
        if dies {
            world.revoke(lease).await;
        } else {
            world.delete(&format!("k.candidates/{lease:x}")).await;
        }
        if dies {
            stand(world, 1).await;
        }
    }
    drop(term);
    let successor = tokio::time::timeout(Duration::from_secs(4), successor).await.unwrap().unwrap();
    assert!(successor.is_valid());
}

both_worlds!(a_dead_candidate_campaigns_in_vain, case_05_a_dead_candidate_campaigns_in_vain, case_05_elector_live on V3_7);

/// Case 06 and S8: closed at each step of a candidate's way, with each of its calls or replies held up, nothing is left.
async fn closed_at_each_step(world: &World) {
    for vacant in [false, true] {
        for reply in [false, true] {
            for nth in 1.. {
                let (one, two) = (world.peer(10 + nth), world.peer(50 + nth));
                let leader = elector(&one, "leader");
                let term = if vacant { None } else { Some(next(&leader).await) };
                let held = if reply { two.faults.hold_reply(Method::Any, nth) } else { two.faults.hold(Method::Any, nth) };
                let candidate = elector(&two, "candidate");
                let waiting = {
                    let candidate = candidate.clone();
                    tokio::task::spawn_local(async move { candidate.next_term().await })
                };
                let reached = tokio::time::timeout(SOON, held.reached()).await.is_ok();
                let ((), closed) = tokio::join!(
                    async {
                        world.pass(Duration::from_millis(30)).await;
                        held.release();
                    },
                    candidate.close()
                );
                closed.unwrap();
                drop(waiting.await);
                assert_eq!(candidate.state(), ElectorState::Stopped);
                let lease: Vec<_> = term.iter().map(|term| term.lease_id()).collect();
                let left = async || world.leases().await == lease && standing(world).await.is_empty();
                world.until("nothing of the candidate is left", left).await;
                drop(term);
                leader.close().await.unwrap();
                nothing_left(world, "k", &[], TTL).await;
                if !reached {
                    assert!(nth > 3, "lease, registration, key: only {nth} calls seen");
                    break;
                }
            }
        }
    }
}

#[test]
fn case_06_s8_closed_at_each_step() {
    simulated(|world| Box::pin(closed_at_each_step(world)));
}

/// A winner shows that it waits the takeover delay; closed in it, it never led, and its key goes without a mark.
async fn closed_while_delayed(world: &World) {
    let peer = world.peer(1);
    let elector = Rc::new(builder(&peer, "one").takeover_delay(DELAY).start().unwrap());
    let mut events = elector.events();
    let waiting = {
        let elector = elector.clone();
        tokio::task::spawn_local(async move { elector.next_term().await })
    };
    world.until("the winner waits", async || elector.state() == ElectorState::Delayed).await;
    assert_eq!(value_of(world).await, Some(b"one".to_vec()));
    elector.close().await.unwrap();
    assert!(waiting.await.unwrap().unwrap().is_none());
    assert_eq!(world.keys("k").await, [""; 0], "no mark of a term that never was");
    assert_eq!(world.leases().await, [0; 0]);
    while let Some(event) = events.next().await {
        assert!(!matches!(event, ElectorEvent::Elected(_) | ElectorEvent::Lost(_)), "{event:?}");
    }
}

both_worlds!(closed_while_delayed, s15_closed_while_delayed, s15_delayed_live on V3_4);

/// Who will not campaign now does not stand: cooling down, not wanted; and stands again when that has passed.
async fn who_will_not_campaign_does_not_stand(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let first = elector(&one, "one");
    let second = Rc::new(builder(&two, "two").cool_down(Duration::from_secs(3)).start().unwrap());
    let term = next(&second).await;
    let other = waits(&first);
    stand(world, 1).await;
    drop(term);
    let waiting = {
        let second = second.clone();
        tokio::task::spawn_local(async move { second.next_term().await })
    };
    let other = other.await.unwrap();
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(standing(world).await, [""; 0], "it cools down");
    stand(world, 1).await;
    // Nobody wants a term any more: it stands for a TTL.
    waiting.abort();
    world.pass(TTL / 2).await;
    assert_eq!(standing(world).await.len(), 1);
    world.until_within(TTL, "not wanted", async || standing(world).await.is_empty()).await;
    world.until("no lease either", async || world.leases().await == [other.lease_id()]).await;
}

#[test]
fn s8_who_will_not_campaign_does_not_stand() {
    simulated(|world| Box::pin(who_will_not_campaign_does_not_stand(world)));
}

/// Without a warm lease nothing is held while another leads.
async fn a_cold_follower_holds_nothing(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let first = elector(&one, "one");
    let second = Rc::new(builder(&two, "two").warm(false).start().unwrap());
    let term = next(&first).await;
    let successor = waits(&second);
    world.pass(2 * TTL).await;
    assert_eq!((standing(world).await.len(), world.leases().await), (0, vec![term.lease_id()]));
    drop(term);
    assert!(successor.await.unwrap().is_valid());
}

#[test]
fn s8_a_cold_follower_holds_nothing() {
    simulated(|world| Box::pin(a_cold_follower_holds_nothing(world)));
}

/// Puts the key under the candidate's lease as a hand-over does: in one transaction with the mark, and with the end of the
/// registration unless `keeps` it. The revision.
pub(crate) async fn hand_over(world: &World, lease: i64, mark: &str, keeps: bool) -> i64 {
    let put = etcd_client::PutOptions::new().with_lease(lease);
    let mut ops = vec![TxnOp::put("k", "two", Some(put)), TxnOp::put("k.resigned", mark, None)];
    if !keeps {
        ops.push(TxnOp::delete(format!("k.candidates/{lease:x}"), None));
    }
    let done = world.stranger().txn(Txn::new().and_then(ops).into()).await.unwrap();
    done.header.unwrap().revision
}

/// S10, S15: a candidate that finds the key under its lease was handed it, if its registration was used up: at once by
/// the holder's mark, after the delay by an operator's. Its token is the revision of the hand-over.
async fn a_candidate_that_is_handed_the_key(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    for (mark, at_once) in [("5", true), ("5 operator", false), ("", false)] {
        let (first, second) = (elector(&one, "one"), Rc::new(builder(&two, "two").takeover_delay(DELAY).start().unwrap()));
        let term = next(&first).await;
        let successor = waits(&second);
        let lease = lease_of_candidate(world).await;
        let before = world.get("k").await.unwrap();
        let began = Instant::now();
        let revision = hand_over(world, lease, mark, false).await;
        let successor = tokio::time::timeout(BOUND, successor).await.unwrap().unwrap();
        let took = began.elapsed();
        assert!(if at_once { took < DELAY / 2 } else { took >= DELAY * 99 / 100 }, "{mark:?}: {took:?}");
        assert_eq!((successor.token(), successor.lease_id()), (revision, lease), "{mark:?}");
        assert_eq!(term.lost().await, Reason::Overwritten);
        assert!(!term.is_valid());
        let now = world.get("k").await.unwrap();
        assert_eq!((now.create_revision, now.lease), (before.create_revision, lease), "a hand-over keeps its creation");
        let leader = two.client.get_leader("k").await.unwrap().unwrap();
        assert_eq!(leader.token, Some(revision), "everybody derives the same one");
        // It is kept, guards its writes, and ends with a mark of its own token.
        world.pass(2 * TTL).await;
        assert!(successor.is_valid());
        successor.txn().then([leadership_core::Op::put("written", "")]).commit().await.unwrap();
        successor.resign().await.unwrap();
        assert_eq!(world.get("k.resigned").await.unwrap().value, revision.to_string().into_bytes());
        drop(term);
        first.close().await.unwrap();
        second.close().await.unwrap();
        world.delete("k.resigned").await;
    }
}

both_worlds!(a_candidate_that_is_handed_the_key, s10_s15_a_candidate_that_is_handed_the_key, s10_s15_handed_live on V3_7);

/// A key put under a candidate's lease by a stranger is no win: its registration is there still. The key goes, and the
/// candidate comes back with a fresh lease.
async fn a_strangers_put_is_no_hand_over(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    let term = next(&first).await;
    let successor = waits(&second);
    let lease = lease_of_candidate(world).await;
    let revision = hand_over(world, lease, "5", true).await;
    let successor = tokio::time::timeout(BOUND, successor).await.unwrap().unwrap();
    assert!(successor.token() > revision && successor.lease_id() != lease);
    assert!(!world.leases().await.contains(&lease));
    drop(term);
}

#[test]
fn s10_a_strangers_put_is_no_hand_over() {
    simulated(|world| Box::pin(a_strangers_put_is_no_hand_over(world)));
}

/// S10: a successor that hears of it past its own deadline does not lead; its key goes.
async fn handed_over_too_late(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    let term = next(&first).await;
    let successor = waits(&second);
    let lease = lease_of_candidate(world).await;
    // It can look at nothing, and hears of no renewal; etcd has had them all.
    two.faults.hang(Method::Txn);
    two.faults.hold_keepalive_replies();
    let revision = hand_over(world, lease, "5", false).await;
    world.pass(Duration::from_millis(5200)).await;
    assert_eq!(world.get("k").await.map(|kv| kv.lease), Some(lease), "its key is there still");
    two.faults.heal();
    let successor = tokio::time::timeout(BOUND, successor).await.unwrap().unwrap();
    assert!(successor.token() > revision && successor.lease_id() != lease);
    drop(term);
}

#[test]
fn s10_handed_over_too_late() {
    simulated(|world| Box::pin(handed_over_too_late(world)));
}

/// A campaign whose reply is lost, and that is resolved only when it has been given up, leads or leaves nothing.
async fn a_campaign_without_a_reply(world: &World) {
    for applied in [true, false] {
        let (one, two) = (world.peer(1), world.peer(2));
        let (first, second) = (elector(&one, "one"), elector(&two, "two"));
        let term = next(&first).await;
        let successor = waits(&second);
        stand(world, 1).await;
        let held = if applied {
            two.faults.hold_reply(Target::txn_putting("k"), 1)
        } else {
            two.faults.hold(Target::txn_putting("k"), 1)
        };
        drop(term);
        held.reached().await;
        let successor = tokio::time::timeout(BOUND, successor).await.unwrap().unwrap();
        let token = successor.token();
        held.release();
        world.pass(SOON).await;
        assert!(successor.is_valid() && world.get("k").await.unwrap().lease == successor.lease_id(), "applied: {applied}");
        assert_eq!(world.get("k").await.unwrap().create_revision, token);
        drop(successor);
        first.close().await.unwrap();
        second.close().await.unwrap();
        nothing_left(world, "k", &[], TTL).await;
    }
}

both_worlds!(a_campaign_without_a_reply, case_58_a_candidates_campaign_without_a_reply, case_58_elector_live on V3_4);

/// An idle follower costs at most 0.7 requests a second at a TTL of 5 s: renewals, and what is read again now and then.
async fn an_idle_follower_is_cheap(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    let _term = next(&first).await;
    let renewals = Arc::new(AtomicU64::new(0));
    let counted = renewals.clone();
    two.faults.map_keepalive(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
    let _waits = waits(&second);
    stand(world, 1).await;
    world.pass(SOON).await;
    let requests = || two.faults.calls(Method::Any) + renewals.load(Ordering::Relaxed);
    let before = requests();
    world.pass(Duration::from_secs(600)).await;
    let per_second = (requests() - before) as f64 / 600.0;
    assert!((0.3..=0.7).contains(&per_second), "{per_second} requests a second");
    eprintln!("an idle follower: {per_second} requests a second");
}

#[test]
fn figures_an_idle_follower_is_cheap() {
    simulated(|world| Box::pin(an_idle_follower_is_cheap(world)));
}

/// Candidates wait in the order of their priority, then of their registration, and who is first goes at once.
async fn who_is_preferred_goes_first(world: &World) {
    let leader = elector(&world.peer(1), "leader");
    let term = next(&leader).await;
    let mut peers = Vec::new();
    for (number, priority) in [(2, 0), (3, -5), (4, 7)] {
        let peer = world.peer(number);
        let elector = Rc::new(builder(&peer, &format!("priority {priority}")).priority(priority).start().unwrap());
        let waiting = waits(&elector);
        stand(world, peers.len() + 1).await;
        peers.push((peer, elector, waiting));
    }
    world.pass(Duration::from_secs(20)).await; // every one has read who stands
    drop(term);
    leader.close().await.unwrap();
    for (index, expected) in [(2, 7), (0, 0), (1, -5)] {
        let waiting = &mut peers[index].2;
        let term = tokio::time::timeout(SOON, waiting).await.expect("in its turn, and soon").unwrap();
        assert_eq!(term.value(), format!("priority {expected}").as_bytes());
        drop(term);
        peers[index].1.close().await.unwrap();
    }
}

#[test]
fn s7_who_is_preferred_goes_first() {
    simulated(|world| Box::pin(who_is_preferred_goes_first(world)));
}

/// A leader with `take_back` hands over to a candidate of higher priority, not to others; without it, to nobody.
async fn a_leader_yields_to_its_betters(world: &World) {
    for (yields, priority, expected) in [(true, 1, true), (true, 0, false), (false, 1, false)] {
        let (one, two) = (world.peer(1), world.peer(2));
        let first = Rc::new(builder(&one, "one").take_back(yields).start().unwrap());
        let second = Rc::new(builder(&two, "two").priority(priority).start().unwrap());
        let term = next(&first).await;
        let successor = waits(&second);
        stand(world, 1).await;
        let lost = tokio::time::timeout(Duration::from_secs(40), term.lost()).await;
        assert_eq!(lost.ok(), expected.then_some(Reason::HandedOver), "{yields} {priority}");
        drop(term);
        assert!(successor.await.unwrap().is_valid());
        first.close().await.unwrap();
        second.close().await.unwrap();
    }
}

#[test]
fn s10_a_leader_yields_to_its_betters() {
    simulated(|world| Box::pin(a_leader_yields_to_its_betters(world)));
}

/// The first candidates are dead though they are registered still: the next takes the key after its delay, not never.
async fn a_dead_first_candidate_holds_nobody_up(world: &World) {
    let leader = elector(&world.peer(1), "leader");
    let term = next(&leader).await;
    let (dead, alive) = (world.peer(2), world.peer(3));
    let (first, second) = (elector(&dead, "dead"), elector(&alive, "alive"));
    let _never = waits(&first);
    stand(world, 1).await;
    let successor = waits(&second);
    stand(world, 2).await;
    world.pass(SOON).await;
    dead.faults.hang(Method::Any);
    let began = Instant::now();
    drop(term);
    let successor = tokio::time::timeout(SOON, successor).await.unwrap().unwrap();
    assert!(successor.value() == b"alive" && began.elapsed() >= Duration::from_millis(19), "{:?}", began.elapsed());
}

#[test]
fn s7_a_dead_first_candidate_holds_nobody_up() {
    simulated(|world| Box::pin(a_dead_first_candidate_holds_nobody_up(world)));
}

/// Requests of one hand-over, from the leader's word to the next one's term, with so many candidates.
async fn requests_of_a_hand_over(world: &World, candidates: u64) -> Vec<u64> {
    let mut peers = Vec::new();
    for number in 0..candidates {
        let peer = world.peer(100 + number);
        let elector = Rc::new(builder(&peer, "one of many").cool_down(Duration::from_secs(600)).start().unwrap());
        peers.push((peer, elector));
    }
    let mut term = next(&peers[0].1).await;
    let mut waiting = Vec::new();
    for (index, (_, elector)) in peers.iter().enumerate().skip(1) {
        waiting.push(waits(elector));
        stand(world, index).await;
    }
    world.pass(SOON).await;
    let calls = || peers.iter().map(|(peer, _)| peer.faults.calls(Method::Any)).sum::<u64>();
    let mut all = Vec::new();
    for _ in 1..candidates.min(6) {
        let before = calls();
        drop(term);
        let (won, _, rest) = futures_util::future::select_all(waiting).await;
        (term, waiting) = (won.unwrap(), rest);
        all.push(calls() - before);
    }
    drop(term);
    for (_, elector) in &peers {
        elector.close().await.unwrap();
    }
    nothing_left(world, "k", &[], TTL).await;
    all
}

/// No herd: the requests of a hand-over do not grow with the candidates.
async fn a_hand_over_costs_the_same_with_many(world: &World) {
    if [2, 3].contains(&world.seed) {
        return; // once is enough of so many
    }
    let few = requests_of_a_hand_over(world, 2).await;
    let many = requests_of_a_hand_over(world, 100).await;
    eprintln!("requests of a hand-over: {few:?} with 2 candidates, {many:?} with 100");
    assert!(many.iter().all(|count| *count <= few[0] + 2), "{few:?} {many:?}");
}

#[test]
fn no_herd_a_hand_over_costs_the_same_with_many() {
    simulated(|world| Box::pin(a_hand_over_costs_the_same_with_many(world)));
}

/// Case 42: a thousand candidates on one key, in one process and in many; the key goes from one to the next.
async fn a_thousand_candidates_on_one_key(world: &World) {
    if [2, 3].contains(&world.seed) {
        return; // once is enough of so many
    }
    const CANDIDATES: usize = 1000;
    const PEERS: usize = 20;
    let peers: Vec<_> = (0..PEERS).map(|number| world.peer(1000 + number as u64)).collect();
    let leader = elector(&peers[0], "leader");
    let term = next(&leader).await;
    let electors: Vec<_> = (0..CANDIDATES).map(|number| elector(&peers[number % PEERS], "one of many")).collect();
    let mut waiting: Vec<_> = electors.iter().map(waits).collect();
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(standing(world).await.len(), CANDIDATES);
    leader.close().await.unwrap();
    drop(term);
    let mut token = 0;
    for round in 0..3 {
        let began = Instant::now();
        let (won, _, rest) = futures_util::future::select_all(waiting).await;
        let won = won.unwrap();
        assert!(won.is_valid() && won.token() > token, "round {round}");
        assert!(began.elapsed() < SOON, "round {round}: {:?}", began.elapsed());
        token = won.token();
        waiting = rest;
        world.pass(2 * TTL).await;
        assert!(won.is_valid(), "round {round}: it is kept beside all the others");
        drop(won);
    }
    for peer in &peers {
        peer.client.close().await.unwrap();
    }
    assert_eq!(world.leases().await, [0; 0]);
}

#[test]
fn case_42_a_thousand_candidates_on_one_key() {
    simulated(|world| Box::pin(a_thousand_candidates_on_one_key(world)));
}
