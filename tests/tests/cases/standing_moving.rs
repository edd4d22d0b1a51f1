//! Case 45 for candidates: after an etcd leader change they stand with fresh leases, and what can happen on the way (S7, S10).
//! Owns re-lease of who waits; of who leads, `moving`.

use std::rc::Rc;
use std::time::Duration;

use leadership_core::{Elector, Successor};
use leadership_testkit::{Cluster, Target};
use leadership_tests::world::{Peer, World, simulated_with};

use crate::standing::{TTL, elector, hand_over, lease_of_candidate, next, stand, standing, waits};

/// Members of the test cluster.
const THREE: usize = 3;
/// A follower hears of a new etcd leader with its next renewal, after TTL/2.5 at the latest.
const SOON: Duration = Duration::from_secs(4);

fn change_leader(world: &World) -> usize {
    let cluster = world.cluster.as_ref().unwrap();
    let to = (cluster.leader().unwrap() + 1) % THREE;
    cluster.change_leader(to);
    to
}

/// A leader and one who stands, each a process of its own.
async fn two(world: &World) -> ((Peer, Rc<Elector>), (Peer, Rc<Elector>)) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    ((one, first), (two, second))
}

/// Each candidate has a fresh lease and registration soon, the old ones are gone, and it takes the key from there.
async fn candidates_move_to_fresh_leases(world: &World) {
    let leader = elector(&world.peer(1), "leader");
    let term = next(&leader).await;
    let mut candidates = Vec::new();
    for number in 0..20 {
        let peer = world.peer(10 + number);
        let candidate = elector(&peer, "candidate");
        let waiting = waits(&candidate);
        candidates.push((peer, candidate, waiting));
    }
    stand(world, 20).await;
    for _ in 0..2 {
        world.pass(Duration::from_secs(1)).await;
        let before = standing(world).await;
        let leases = world.leases().await;
        change_leader(world);
        let moved = async || {
            let now = standing(world).await;
            now.len() == 20 && now.iter().all(|name| !before.contains(name))
        };
        world.until_within(SOON, "every candidate moved", moved).await;
        let gone = async || {
            let now = world.leases().await;
            now.len() == 21 && now.iter().all(|lease| !leases.contains(lease))
        };
        world.until_within(SOON, "the old leases are let go", gone).await;
    }
    world.pass(3 * TTL).await;
    assert_eq!((standing(world).await.len(), world.leases().await.len()), (20, 21), "and are kept");
    let began = tokio::time::Instant::now();
    drop(term);
    let (won, ..) = futures_util::future::select_all(candidates.iter_mut().map(|(_, _, waiting)| waiting)).await;
    assert!(won.unwrap().is_valid() && began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[test]
fn case_45_candidates_move_to_fresh_leases() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(candidates_move_to_fresh_leases(world)));
}

/// The move's reply is lost, applied or not; the campaign that comes meanwhile waits for its end, and wins.
async fn a_move_without_a_reply(world: &World) {
    for applied in [true, false] {
        let ((_one, first), (peer, second)) = two(world).await;
        let term = next(&first).await;
        let successor = waits(&second);
        let old = lease_of_candidate(world).await;
        let target = Target::txn_deleting(format!("k.candidates/{old:x}"));
        let held = if applied { peer.faults.hold_reply(target, 1) } else { peer.faults.hold(target, 1) };
        change_leader(world);
        held.reached().await;
        drop(term);
        let successor = tokio::time::timeout(TTL, successor).await.unwrap().unwrap();
        assert_ne!(successor.lease_id(), old, "applied: {applied}");
        held.release();
        world.pass(SOON).await;
        assert!(successor.is_valid() && standing(world).await.is_empty());
        assert_eq!(world.get("k").await.unwrap().lease, successor.lease_id());
        drop(successor);
        first.close().await.unwrap();
        second.close().await.unwrap();
        world.until("nothing is left", async || world.leases().await.is_empty()).await;
    }
}

#[test]
fn case_45_s7_a_candidates_move_without_a_reply() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(a_move_without_a_reply(world)));
}

/// The candidate is handed the key while its move is on the way: the move finds the registration used up, and the key
/// comes along to the fresh lease; its token is the hand-over's.
async fn handed_over_in_the_middle_of_a_move(world: &World) {
    let ((_one, first), (peer, second)) = two(world).await;
    let term = next(&first).await;
    let successor = waits(&second);
    let old = lease_of_candidate(world).await;
    let held = peer.faults.hold(Target::txn_deleting(format!("k.candidates/{old:x}")), 1);
    change_leader(world);
    held.reached().await;
    let revision = hand_over(world, old, &term.token().to_string(), false).await;
    held.release();
    let successor = tokio::time::timeout(TTL, successor).await.unwrap().unwrap();
    assert_eq!(successor.token(), revision);
    world.pass(2 * TTL).await;
    assert!(successor.is_valid() && successor.lease_id() != old);
    assert_eq!(world.leases().await, [successor.lease_id()]);
    assert_eq!(world.get("k").await.unwrap().lease, successor.lease_id());
}

#[test]
fn case_54_s10_handed_over_in_the_middle_of_a_move() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(handed_over_in_the_middle_of_a_move(world)));
}

/// A shared lease carries a term of one election and a candidate of another: both move, neither is lost; the candidate's
/// end leaves the term alone.
async fn a_shared_lease_moves_with_all_that_is_on_it(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let leader = elector(&one, "leader");
    let term = next(&leader).await;
    let shared = two.client.shared_lease(TTL).unwrap();
    let on = |key: &str| Rc::new(Elector::builder(&two.client, key).value("two").lease(&shared).start().unwrap());
    let (other, candidate) = (on("j"), on("k"));
    let led = next(&other).await;
    let successor = waits(&candidate);
    for _ in 0..2 {
        let old = lease_of_candidate(world).await;
        assert_eq!(led.lease_id(), old, "one lease for both");
        change_leader(world);
        let moved = async || {
            led.lease_id() != old && standing(world).await.iter().all(|name| !name.ends_with(&format!("/{old:x}")))
        };
        world.until_within(SOON, "both moved", moved).await;
        world.until_within(SOON, "the old one is let go", async || !world.leases().await.contains(&old)).await;
    }
    stand(world, 1).await;
    drop(term);
    let successor = tokio::time::timeout(SOON, successor).await.unwrap().unwrap();
    assert!(successor.is_valid() && led.is_valid() && successor.lease_id() == led.lease_id());
    leader.close().await.unwrap();
    successor.resign().await.unwrap();
    let again = waits(&candidate);
    world.until("it leads again", async || candidate.is_leader()).await;
    candidate.close().await.unwrap();
    drop(again);
    world.pass(2 * TTL).await;
    assert!(led.is_valid() && world.get("k").await.is_none());
    assert_eq!((standing(world).await.len(), world.leases().await), (0, vec![led.lease_id()]));
}

#[test]
fn case_45_s10_a_shared_lease_moves_with_all_that_is_on_it() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(a_shared_lease_moves_with_all_that_is_on_it(world)));
}

/// A standing candidate's value is changed in place: it keeps its turn, and is found by its new name.
async fn a_standing_candidate_is_renamed(world: &World) {
    let ((_one, first), (_two, second)) = two(world).await;
    let term = next(&first).await;
    let successor = waits(&second);
    let lease = lease_of_candidate(world).await;
    let before = world.get(&format!("k.candidates/{lease:x}")).await.unwrap();
    second.proclaim("renamed").await.unwrap();
    let registration = async || world.get(&format!("k.candidates/{lease:x}")).await.unwrap();
    world.until("it stands with the new value", async || registration().await.value == b"0 renamed").await;
    let now = registration().await;
    assert_eq!((now.create_revision, now.lease), (before.create_revision, lease));
    let (handed, ()) = tokio::join!(first.transfer(Successor::Named(b"renamed".to_vec())), async {
        term.lost().await;
        drop(term);
    });
    assert_eq!(handed.unwrap().value, b"renamed");
    let successor = successor.await.unwrap();
    assert_eq!((successor.value(), successor.lease_id()), (&b"renamed"[..], lease));
}

#[test]
fn s7_a_standing_candidate_is_renamed() {
    simulated_with(Cluster::builder(), |world| Box::pin(a_standing_candidate_is_renamed(world)));
}
