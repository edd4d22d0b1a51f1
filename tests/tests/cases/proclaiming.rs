//! Case 54, S7 and S10: another value for the key in the same term, whatever meets it on the way.
//! Owns proclaim; moves by themselves are in `moving.rs`.

use std::time::Duration;

use leadership_core::{Elector, Error, Observed, Observer, Op, Reason, TermState};
use leadership_testkit::{Cluster, Held, Lost, Method, Target};
use leadership_tests::both_worlds;
use leadership_tests::world::{Peer, World, record, simulated, simulated_with};

use crate::keeping::{INTERVAL, TTL, extended, lead};
use crate::steps::{nothing_left, options, until_reached};

async fn value_of(world: &World) -> Vec<u8> {
    world.get("k").await.unwrap().value
}

/// The value changes in place: CREATE, lease, token and term stay, nobody sees a vacancy, and the guard holds on.
async fn a_value_in_place(world: &World) {
    let (peer, other) = (world.peer(1), world.peer(2));
    let (lead, term) = lead(&peer, "k", "a").await;
    let said = record(&term);
    let mut observer = Observer::new(&other.client, "k").unwrap();
    let first = observer.next().await.unwrap();
    assert_eq!(first.leader().unwrap().value, b"a");
    term.proclaim("b").await.unwrap();
    let Some(Observed::Leader { leader, .. }) = observer.next().await else { panic!("no vacancy") };
    assert_eq!((leader.value.as_slice(), leader.token), (&b"b"[..], Some(term.token())), "S10");
    assert_eq!((term.value(), term.latest_value()), (&b"a"[..], b"b".to_vec()));
    let key = world.get("k").await.unwrap();
    assert_eq!((key.create_revision, key.lease, key.version), (term.token(), term.lease_id(), 2));
    term.txn().then([Op::put("data", "1")]).commit().await.unwrap();
    // Of many at once the last to begin is the last to be written.
    let values: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let all = futures_util::future::join_all(values.iter().map(|value| term.proclaim(value.clone()))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!((value_of(world).await, term.latest_value()), (b"19".to_vec(), b"19".to_vec()));
    world.pass(TTL + INTERVAL).await;
    assert!(term.is_valid(), "its own writes end no term: {:?}", said.borrow());
    lead.proclaim("c").await.unwrap();
    assert_eq!(lead.value(), b"c");
    lead.reset().await.unwrap();
    assert!(matches!(term.proclaim("d").await, Err(Error::NotLeader { reason: Some(Reason::Resigned), .. })));
    nothing_left(world, "k", &[], TTL).await;
}

both_worlds!(a_value_in_place, s10_a_value_in_place, s10_proclaim_live on V3_4);

/// The reply is lost, applied or not, once or as long as the caller waits: what is unknown is said, and the next
/// proclaim settles it; a put that arrives late changes nothing.
async fn a_proclaim_without_a_reply(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    for lost in [Lost::Error, Lost::Never] {
        peer.faults.drop_replies(Target::txn_putting("k"), 1, lost);
        match (lost, term.proclaim("b").await) {
            (Lost::Error, Ok(())) | (Lost::Never, Err(Error::OutcomeUnknown { .. })) => {}
            other => panic!("{other:?}"), // one member has all of the time there is
        }
        assert_eq!(value_of(world).await, b"b");
        peer.faults.refuse(Target::txn_putting("k"), 2);
        term.proclaim("c").await.unwrap();
        assert_eq!(value_of(world).await, b"c");
    }
    // One that is slow: the next waits for it.
    let slow = peer.faults.hold(Target::txn_putting("k"), 1);
    let mut first = Box::pin(term.proclaim("first"));
    until_reached(&slow, &mut first).await;
    let second = term.proclaim("second");
    world.pass(Duration::from_millis(100)).await;
    slow.release();
    assert_eq!((first.await, second.await), (Ok(()), Ok(())));
    assert_eq!(value_of(world).await, b"second", "the last to be called");
    let before = world.get("k").await.unwrap().version;
    peer.faults.drop_replies(Target::txn_putting("k"), 1000, Lost::Error);
    assert!(matches!(term.proclaim("d").await, Err(Error::OutcomeUnknown { .. })));
    assert_eq!(world.get("k").await.unwrap().version, before + 1, "S7: applied once, however often it was sent");
    peer.faults.heal();
    term.proclaim("e").await.unwrap();
    // One that is still on its way when the next is made.
    let late = peer.faults.hold(Target::txn_putting("k"), 1);
    let mut outcome = Box::pin(term.proclaim("late"));
    until_reached(&late, &mut outcome).await;
    peer.faults.refuse(Target::txn_putting("k"), 1000);
    assert!(matches!(outcome.await, Err(Error::OutcomeUnknown { .. })));
    peer.faults.heal();
    term.proclaim("f").await.unwrap();
    late.release();
    late.delivered().await;
    assert_eq!(value_of(world).await, b"f", "S7: fenced by MOD");
    assert!(term.is_valid());
    lead.reset().await.unwrap();
    nothing_left(world, "k", &[], TTL).await;
}

#[test]
fn s7_a_proclaim_without_a_reply() {
    simulated(|world| Box::pin(a_proclaim_without_a_reply(world)));
}

fn held_before(peer: &Peer) -> Held {
    peer.faults.hold(Target::txn_putting("k"), 1)
}

fn held_after(peer: &Peer) -> Held {
    peer.faults.hold_reply(Target::txn_putting("k"), 1)
}

/// Another member of the test cluster leads etcd.
fn change(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    cluster.change_leader((cluster.leader().unwrap() + 1) % cluster.size());
}

/// A proclaim while the key moves to a fresh lease, and a move while a proclaim is under way, applied or not yet: both
/// come through, in one term.
async fn a_proclaim_meets_a_move(world: &World) {
    for befalls in [held_before as fn(&Peer) -> Held, held_after] {
        for move_first in [true, false] {
            let peer = world.peer(1);
            let (lead, term) = lead(&peer, "k", "a").await;
            extended(world, &term).await;
            let (said, old) = (record(&term), term.lease_id());
            let held = befalls(&peer);
            if move_first {
                change(world);
                held.reached().await;
                term.proclaim("b").await.unwrap();
                held.release();
                world.until_within(TTL, "it moved", async || term.lease_id() != old).await;
            } else {
                let mut proclaim = Box::pin(term.proclaim("b"));
                until_reached(&held, &mut proclaim).await;
                change(world);
                peer.client.get_leader("other").await.unwrap(); // hears of the new leader
                world.until_within(TTL, "it moved", async || world.get("k").await.unwrap().lease != old).await;
                held.release();
                proclaim.await.unwrap();
            }
            world.until_within(TTL, "one lease is left", async || world.leases().await == [term.lease_id()]).await;
            let key = world.get("k").await.unwrap();
            assert_eq!((key.value.as_slice(), key.lease, key.create_revision), (&b"b"[..], term.lease_id(), term.token()));
            world.pass(2 * TTL).await;
            assert!(term.is_valid() && *said.borrow() == [TermState::Leading]);
            lead.reset().await.unwrap();
            nothing_left(world, "k", &[], TTL).await;
            world.delete("k.resigned").await;
            peer.client.close().await.unwrap();
        }
    }
}

#[test]
fn case_54_a_proclaim_meets_a_move() {
    simulated_with(Cluster::builder().members(3), |world| Box::pin(a_proclaim_meets_a_move(world)));
}

/// A proclaim on its way when the term ends: the key goes with its mark, and what arrives late takes nobody's place.
async fn a_proclaim_meets_the_end(world: &World) {
    for befalls in [held_before as fn(&Peer) -> Held, held_after] {
        let peer = world.peer(1);
        let (lead, term) = lead(&peer, "k", "a").await;
        let held = befalls(&peer);
        let mut proclaim = Box::pin(term.proclaim("b"));
        until_reached(&held, &mut proclaim).await;
        lead.reset().await.unwrap();
        assert_eq!(world.get("k").await, None);
        assert_eq!(world.get("k.resigned").await.unwrap().value, term.token().to_string().into_bytes());
        let next = lead.campaign(options("next")).await.unwrap();
        held.release();
        held.delivered().await;
        let outcome = proclaim.await;
        assert!(matches!(outcome, Ok(()) | Err(Error::NotLeader { .. } | Error::OutcomeUnknown { .. })), "{outcome:?}");
        assert_eq!(value_of(world).await, b"next", "case 25");
        assert!(next.is_valid());
        lead.reset().await.unwrap();
        nothing_left(world, "k", &[], TTL).await;
        world.delete("k.resigned").await;
        peer.client.close().await.unwrap();
    }
    // The key is lost, and the watch has not said so: the proclaim finds out.
    let peer = world.peer(2);
    let (_lead, term) = lead(&peer, "k", "a").await;
    peer.faults.silence_streams(Method::Watch);
    world.delete("k").await;
    world.put("k", "stranger", 0).await;
    assert!(matches!(term.proclaim("b").await, Err(Error::NotLeader { reason: Some(Reason::KeyDeleted), .. })));
    assert!(!term.is_valid());
    assert_eq!(value_of(world).await, b"stranger");
}

#[test]
fn case_54_s7_a_proclaim_meets_the_end() {
    simulated(|world| Box::pin(a_proclaim_meets_the_end(world)));
}

/// Bad input: a value that etcd would not take is refused by name, and nothing is lost by it.
async fn a_value_over_etcds_limit(world: &World) {
    let peer = world.peer(1);
    let elector = Elector::builder(&peer.client, "k").value("a").ttl(TTL).start().unwrap();
    let term = elector.next_term().await.unwrap().unwrap();
    let refused = |outcome| match outcome {
        Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, "value"),
        other => panic!("{other:?}"),
    };
    refused(term.proclaim(vec![b'x'; 3 << 19]).await);
    refused(elector.proclaim(vec![b'x'; 3 << 19]).await);
    assert!(term.is_valid());
    assert_eq!(value_of(world).await, b"a");
    elector.proclaim(vec![b'x'; 1_500_000]).await.unwrap();
    assert_eq!(value_of(world).await.len(), 1_500_000);
    elector.close().await.unwrap();
    assert!(matches!(elector.proclaim("b").await, Err(Error::Closed)));
}

both_worlds!(a_value_over_etcds_limit, s13_a_value_over_etcds_limit, s13_proclaim_live on V3_7);

/// An elector's value: of the term that it leads, of the campaign that is under way, and of the later ones.
async fn an_electors_value(world: &World) {
    let peer = world.peer(1);
    let elector = Elector::builder(&peer.client, "k").value("a").ttl(TTL).start().unwrap();
    elector.proclaim("b").await.unwrap();
    let term = elector.next_term().await.unwrap().unwrap();
    assert_eq!((term.value(), value_of(world).await), (&b"b"[..], b"b".to_vec()));
    elector.proclaim("c").await.unwrap();
    assert_eq!((term.latest_value(), value_of(world).await), (b"c".to_vec(), b"c".to_vec()));
    term.resign().await.unwrap();
    let held = peer.faults.hold(Target::txn_putting("k"), 1);
    let (term, ()) = tokio::join!(elector.next_term(), async {
        held.reached().await;
        elector.proclaim("d").await.unwrap();
        held.release();
    });
    let term = term.unwrap().unwrap();
    world.until("the campaign's value is not the last word", async || value_of(world).await == b"d").await;
    assert!(term.is_valid());
    // A term that ends meanwhile is no error: the next one has the value.
    world.delete("k").await;
    elector.proclaim("e").await.unwrap();
    drop(term);
    let term = elector.next_term().await.unwrap().unwrap();
    world.until("the next", async || value_of(world).await == b"e").await;
    drop(term);
    elector.close().await.unwrap();
}

#[test]
fn s10_an_electors_value() {
    simulated(|world| Box::pin(an_electors_value(world)));
}
