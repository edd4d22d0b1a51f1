//! Cases 45 and 54: after an etcd leader change the keys move to fresh leases, and what can happen on the way.
//! Owns re-lease; renewing through the change itself is in `keeping.rs` and `hedging.rs`.

use std::time::Duration;

use etcd_client::proto::PbTxnOpRequest;
use leadership_core::{Error, Lease, Leadership, Op, Reason, TermHandle, TermState, WatchEnd};
use leadership_testkit::{Access, Cluster, Held, Lost, Method, Target, Waking};
use leadership_tests::etcd::{Etcd, Version};
use leadership_tests::world::{Peer, World, live_with, record, simulated_with};
use tonic::{Code, Status};

use crate::keeping::{TTL, extended, lead};
use crate::steps::{delayed, delaying, nothing_left, options, timed, until_reached};

/// Members of the test cluster.
const THREE: usize = 3;

/// Wins and keeps so many keys, each on a lease of its own.
async fn lead_many(peer: &Peer, count: usize) -> Vec<(Leadership, TermHandle)> {
    let mut kept = Vec::new();
    for number in 0..count {
        kept.push(lead(peer, &format!("k{number}"), "a").await);
    }
    kept
}

fn still_lead(kept: &[(Leadership, TermHandle)]) {
    for (number, (lead, term)) in kept.iter().enumerate() {
        assert!(lead.check() && term.is_valid(), "leadership {number}: {term:?}");
    }
}

fn leases(kept: &[(Leadership, TermHandle)]) -> Vec<i64> {
    kept.iter().map(|(_, term)| term.lease_id()).collect()
}

/// Another member leads etcd: within a second or two each key hangs on a fresh lease, in the same term with the same
/// token, and the ex-leader's revokes meet nothing.
async fn keys_move_to_fresh_leases(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let (peer, observer) = (world.peer(1), world.peer(2));
    let kept = lead_many(&peer, 40).await;
    let said: Vec<_> = kept.iter().map(|(_, term)| record(term)).collect();
    let old = leases(&kept);
    let tokens: Vec<i64> = kept.iter().map(|(_, term)| term.token()).collect();
    for round in 1..3 {
        let before = leases(&kept);
        cluster.change_leader(round);
        let moved = async || leases(&kept).iter().all(|lease| !before.contains(lease));
        world.until_within(SOON, "every key moved", moved).await;
    }
    for lease in &old {
        cluster.revoke(*lease);
    }
    world.pass(TTL * 3).await;
    still_lead(&kept);
    for (number, (_, term)) in kept.iter().enumerate() {
        let key = world.get(&format!("k{number}")).await.unwrap();
        assert_eq!((key.create_revision, key.lease, key.version), (term.token(), term.lease_id(), 3), "moved twice");
        assert_eq!(key.value, b"a");
        assert_eq!(term.token(), tokens[number], "S10: the same term, the same token");
        let seen = observer.client.get_leader(format!("k{number}")).await.unwrap().unwrap();
        assert_eq!((seen.token, seen.lease), (Some(term.token()), term.lease_id()));
        assert_eq!(*said[number].borrow(), [TermState::Leading], "nothing was announced");
    }
    assert_eq!(world.leases().await.len(), 40, "the old ones are let go");
    kept[0].0.reset().await.unwrap();
    assert_eq!(world.get("k0").await, None);
    assert_eq!(world.get("k0.resigned").await.unwrap().value, tokens[0].to_string().into_bytes());
    peer.client.close().await.unwrap();
    assert!(world.leases().await.is_empty());
}

#[test]
fn case_45_s10_keys_move_to_fresh_leases_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(keys_move_to_fresh_leases(world)));
}

/// The etcd leader is stopped for 7 s and wakes with its old table of leases: it revokes those it knows as ended.
async fn a_waking_ex_leader_revokes_only_old_leases(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    cluster.set_waking(Waking { revokes: true, ..Waking::default() });
    let peer = world.peer(1);
    let kept = lead_many(&peer, 40).await;
    let before: Vec<i64> = kept.iter().map(|(_, term)| term.lease_id()).collect();
    world.pass(Duration::from_secs(3)).await;
    let leader = cluster.leader().unwrap();
    cluster.member(leader).stop();
    world.pass(Duration::from_secs(7)).await;
    still_lead(&kept);
    let after: Vec<i64> = kept.iter().map(|(_, term)| term.lease_id()).collect();
    assert!(before.iter().all(|old| !after.contains(old)), "each hangs on a fresh lease");
    cluster.member(leader).cont();
    world.pass(Duration::from_secs(20)).await;
    still_lead(&kept);
    for (number, (_, term)) in kept.iter().enumerate() {
        let key = world.get(&format!("k{number}")).await.unwrap();
        assert_eq!((key.create_revision, key.lease), (term.token(), term.lease_id()));
        assert_eq!(key.value, b"a");
    }
    assert_eq!(world.leases().await.len(), 40, "the old ones are gone");
    peer.client.close().await.unwrap();
    assert!(world.leases().await.is_empty());
}

#[test]
fn case_45_a_waking_ex_leader_revokes_only_old_leases_() {
    simulated_with(Cluster::builder().members(THREE), |world| {
        Box::pin(a_waking_ex_leader_revokes_only_old_leases(world))
    });
}

/// The same on real etcd, three members, the leader under SIGSTOP for 7 s; 48 terms.
async fn a_real_ex_leader_wakes(world: &World) {
    let etcd = world.etcd.as_ref().unwrap();
    let peer = world.peer(1);
    let kept = futures_util::future::join_all((0..48).map(|number| {
        let peer = &peer;
        async move { lead(peer, &format!("k{number}"), "a").await }
    }))
    .await;
    let before = leases(&kept);
    world.pass(Duration::from_secs(2)).await;
    let leader = etcd.leader().await.unwrap();
    etcd.member(leader).stop_signal().unwrap();
    world.pass(Duration::from_secs(7)).await;
    let moved = leases(&kept).iter().filter(|lease| !before.contains(lease)).count();
    etcd.member(leader).cont().unwrap();
    let mut lost = std::collections::BTreeMap::new();
    for _ in 0..100 {
        world.pass(Duration::from_millis(200)).await;
        for (number, (_, term)) in kept.iter().enumerate() {
            if let Some(reason) = term.lost_reason() {
                lost.entry(number).or_insert(reason);
            }
        }
    }
    assert!(lost.is_empty(), "{} lost: {lost:?}; {moved} had moved", lost.len());
    assert_eq!(moved, 48, "moved before it woke");
    still_lead(&kept);
    for (number, (_, term)) in kept.iter().enumerate() {
        let key = world.get(&format!("k{number}")).await.unwrap();
        assert_eq!((key.create_revision, key.lease), (term.token(), term.lease_id()));
    }
    world.until("the old leases are gone", async || world.leases().await.len() == 48).await;
    peer.client.close().await.unwrap();
}

#[test]
fn case_45_a_real_ex_leader_wakes_live() {
    live_with(Etcd::options(Version::V3_7).members(THREE), |world| Box::pin(a_real_ex_leader_wakes(world)));
}

#[test]
fn case_45_live_3_4() {
    live_with(Etcd::options(Version::V3_4).members(THREE), |world| Box::pin(a_real_ex_leader_wakes(world)));
}

/// Another member leads etcd, whichever.
async fn change(world: &World) {
    if let Some(cluster) = &world.cluster {
        return cluster.change_leader((cluster.leader().unwrap() + 1) % THREE);
    }
    let etcd = world.etcd.as_ref().unwrap();
    let (from, names) = (etcd.leader().await.unwrap(), etcd.endpoints());
    let to = (from + 1) % THREE;
    let target = etcd.status(to).await.unwrap().header().unwrap().member_id();
    let mut client = etcd_client::Client::connect([&names[from]], None).await.unwrap();
    client.move_leader(target).await.unwrap();
}

/// How soon a key moves: the next confirmed renewal hears of the new leader.
const SOON: Duration = Duration::from_secs(3);

/// Runs a case on three members: of the test server, and of real etcd.
macro_rules! three_members {
    ($case:ident, $simulated:ident, $live:ident on $version:ident) => {
        #[test]
        fn $simulated() {
            simulated_with(Cluster::builder().members(THREE), |world| Box::pin($case(world)));
        }

        #[test]
        fn $live() {
            live_with(Etcd::options(Version::$version).members(THREE), |world| Box::pin($case(world)));
        }
    };
}

/// Leads `k`, and then another member leads etcd: returns when the move has come to the fault that `befalls` it.
async fn moving(world: &World, peer: &Peer, befalls: impl FnOnce(&Peer) -> Held) -> (Leadership, TermHandle, Held) {
    let (lead, term) = lead(peer, "k", "a").await;
    extended(world, &term).await;
    let held = befalls(peer);
    change(world).await;
    held.reached().await;
    (lead, term, held)
}

fn held_before(peer: &Peer) -> Held {
    peer.faults.hold(Target::txn_putting("k"), 1)
}

fn held_after(peer: &Peer) -> Held {
    peer.faults.hold_reply(Target::txn_putting("k"), 1)
}

/// The term is valid, and etcd keeps the lease that its key hangs on for longer than the term says of itself.
fn etcd_keeps_it(world: &World, term: &TermHandle) {
    assert!(term.is_valid(), "{term:?}");
    let Some(cluster) = &world.cluster else { return };
    let key = cluster.get("k").unwrap();
    let lease = cluster.leases().into_iter().find(|lease| lease.id == key.lease).unwrap();
    assert!(term.remaining() <= lease.remaining, "{:?} of {:?}", term.remaining(), lease.remaining);
}

/// The connection is cut right after the move, or its reply never comes, once or again and again: found out by the next
/// sending; the term goes on, and never longer than etcd keeps its key.
async fn a_move_without_a_reply(world: &World) {
    for (lost, times) in [(Lost::Error, 1), (Lost::Never, 1), (Lost::Error, 20), (Lost::Never, 4)] {
        let peer = world.peer(1);
        let (lead, term) = lead(&peer, "k", "a").await;
        let said = record(&term);
        let old = term.lease_id();
        extended(world, &term).await;
        peer.faults.drop_replies(Target::txn_putting("k"), times, lost);
        change(world).await;
        world
            .until_within(TTL, "it is known where the key is", async || {
                etcd_keeps_it(world, &term);
                term.lease_id() != old && world.leases().await.len() == 1
            })
            .await;
        assert_eq!(world.get("k").await.unwrap().version, 2, "moved once");
        for _ in 0..300 {
            world.pass(TTL / 100).await;
            etcd_keeps_it(world, &term);
        }
        assert_eq!(*said.borrow(), [TermState::Leading]);
        lead.reset().await.unwrap();
        nothing_left(world, "k", &[], TTL).await;
        peer.client.close().await.unwrap();
    }
}

#[test]
fn case_54_a_move_without_a_reply_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(a_move_without_a_reply(world)));
}

/// The watch shows the move before its reply comes: mine. So does a guarded transaction's own look at the key.
async fn the_event_comes_before_the_reply(world: &World) {
    let peer = world.peer(1);
    let (lead, term, reply) = moving(world, &peer, held_after).await;
    let said = record(&term);
    assert_ne!(world.get("k").await.unwrap().lease, term.lease_id(), "it moved, and nobody knows");
    term.txn().then([Op::put("data", "1")]).commit().await.unwrap();
    // The confirming reads see it too, as long as the reply is out.
    for _ in 0..40 {
        world.pass(Duration::from_millis(10)).await;
        etcd_keeps_it(world, &term);
    }
    reply.release();
    let known = async || world.get("k").await.unwrap().lease == term.lease_id() && world.leases().await.len() == 1;
    world.until("it is known", known).await;
    term.txn().then([Op::put("data", "2")]).commit().await.unwrap();
    world.pass(TTL * 2).await;
    etcd_keeps_it(world, &term);
    assert_eq!(*said.borrow(), [TermState::Leading]);
    drop(lead);
    nothing_left(world, "k", &[], TTL).await;
}

three_members!(
    the_event_comes_before_the_reply,
    case_54_s6_the_event_comes_before_the_reply_,
    case_54_event_live on V3_7
);

/// A guarded transaction on its way while the key moves: its guard names the old lease, and it is applied all the same,
/// once. One whose key is lost is not.
async fn a_guarded_transaction_meets_a_move(world: &World) {
    let peer = world.peer_with(1, |options| options.request_timeout(TTL * 3)); // so long may the transaction be held
    let (lead, term) = lead(&peer, "k", "a").await;
    extended(world, &term).await;
    let held = peer.faults.hold(Target::txn_putting("data"), 1);
    let mut commit = Box::pin(term.txn().then([Op::put("data", "1")]).commit());
    until_reached(&held, &mut commit).await;
    let old = term.lease_id();
    change(world).await;
    world.until_within(SOON, "the key moved", async || term.lease_id() != old).await;
    held.release();
    commit.await.unwrap();
    assert_eq!(world.get("data").await.unwrap().version, 1);
    // A move of which the sender knows nothing, and a loss at once.
    let held = peer.faults.hold(Target::txn_putting("data"), 1);
    let mut commit = Box::pin(term.txn().then([Op::put("data", "2")]).commit());
    until_reached(&held, &mut commit).await;
    peer.faults.silence_streams(Method::Watch);
    world.delete("k").await;
    held.release();
    let refused = commit.await;
    assert!(matches!(refused, Err(Error::NotLeader { .. })), "{refused:?}");
    assert_eq!(term.lost_reason(), Some(Reason::GuardFailed));
    assert_eq!(world.get("data").await.unwrap().value, b"1");
    drop(lead);
    nothing_left(world, "k", &[], TTL).await;
}

three_members!(
    a_guarded_transaction_meets_a_move,
    case_54_a_guarded_transaction_meets_a_move_,
    case_54_guarded_live on V3_4
);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaving {
    Reset,
    Delete,
    Drop,
    Close,
}

/// Leaving while the move is under way, applied or not yet: the key goes, with the mark, both leases go, and what still
/// arrives changes nothing.
async fn leaving_meets_a_move(world: &World) {
    let all = [Leaving::Reset, Leaving::Close, Leaving::Delete, Leaving::Drop];
    for leaving in if world.cluster.is_some() { &all[..] } else { &all[..2] } {
        for befalls in [held_before as fn(&Peer) -> Held, held_after] {
            let peer = world.peer(1);
            let (lead, term, held) = moving(world, &peer, befalls).await;
            let token = term.token().to_string().into_bytes();
            match *leaving {
                Leaving::Reset => lead.reset().await.unwrap(),
                Leaving::Delete => lead.delete_leader_key().await.unwrap(),
                Leaving::Drop => drop(lead),
                Leaving::Close => peer.client.close().await.unwrap(),
            }
            assert!(!term.is_valid());
            let gone = async || world.get("k").await.is_none();
            world.until_within(SOON, &format!("{leaving:?}: the key is gone"), gone).await;
            assert_eq!(world.get("k.resigned").await.unwrap().value, token, "{leaving:?}");
            held.release();
            nothing_left(world, "k", &[], TTL * 2).await;
            world.pass(TTL).await;
            nothing_left(world, "k", &[], TTL).await;
            world.delete("k.resigned").await;
            peer.client.close().await.unwrap();
        }
    }
}

three_members!(leaving_meets_a_move, case_54_leaving_meets_a_move_, case_54_leaving_live on V3_7);

/// The ex-leader wakes while the move is under way. Applied already: the term goes on. Not yet: the term ends at once,
/// and the put that comes after it takes nothing.
async fn a_move_races_the_revoke(world: &World) {
    let peer = world.peer(1);
    let (lead, term, reply) = moving(world, &peer, held_after).await;
    world.revoke(term.lease_id()).await;
    for _ in 0..30 {
        world.pass(Duration::from_millis(10)).await;
        etcd_keeps_it(world, &term);
    }
    reply.release();
    world.pass(TTL * 3).await;
    etcd_keeps_it(world, &term);
    drop(lead);
    nothing_left(world, "k", &[], TTL).await;
    world.delete("k.resigned").await;

    for watched in [true, false] {
        let peer = world.peer(2);
        let (lead, term, put) = moving(world, &peer, held_before).await;
        if !watched {
            peer.faults.hang(Method::Watch);
            peer.faults.silence_streams(Method::Watch);
        }
        world.revoke(term.lease_id()).await;
        world.until_within(SOON, "the term has ended", async || !lead.check()).await;
        assert!(matches!(term.lost_reason(), Some(Reason::KeyDeleted | Reason::Revoked)), "{term:?}");
        put.release();
        put.delivered().await;
        assert_eq!(world.get("k").await, None);
        nothing_left(world, "k", &[], TTL).await;
        peer.client.close().await.unwrap();
    }

    // The fresh lease goes first: the key stays where it is, and the next try moves it.
    let peer = world.peer(3);
    let (lead, term, put) = moving(world, &peer, held_before).await;
    let old = term.lease_id();
    for lease in world.leases().await.into_iter().filter(|lease| *lease != old) {
        world.revoke(lease).await;
    }
    put.release();
    world.until_within(TTL, "moved after all", async || term.lease_id() != old).await;
    world.pass(TTL * 2).await;
    etcd_keeps_it(world, &term);
    assert_eq!(world.leases().await, [term.lease_id()]);
    lead.reset().await.unwrap();
}

three_members!(a_move_races_the_revoke, case_54_a_move_races_the_revoke_, case_54_revoke_live on V3_4);

/// All keys of a lease move, and the caller's handle follows; a lease that carries a stranger's key is kept.
async fn a_shared_lease_moves_as_a_whole(world: &World) {
    let peer = world.peer(1);
    let lease = Lease::grant(&peer.client, TTL, "shared").await.unwrap();
    lease.keep_alive().unwrap();
    let mut kept = Vec::new();
    for number in 0..40 {
        let lead = peer.leadership(&format!("k{number}"));
        lead.set_lease(Some(lease.clone())).unwrap();
        let term = lead.campaign(options("a")).await.unwrap();
        kept.push((lead, term));
    }
    let old = lease.id();
    change(world).await;
    world.until_within(SOON, "it moved", async || lease.id() != old).await;
    world.until("the old one is let go", async || world.leases().await == [lease.id()]).await;
    assert!(leases(&kept).iter().all(|id| *id == lease.id()));
    world.pass(TTL * 2).await;
    still_lead(&kept);
    // A term more, and one less, on the lease as it is now.
    kept[7].0.reset().await.unwrap();
    let again = kept[7].0.campaign(options("a")).await.unwrap();
    assert!(again.lease_id() == lease.id() && again.token() > kept[7].1.token());

    world.put("stranger", "", lease.id()).await;
    let old = lease.id();
    change(world).await;
    world.pass(TTL * 2).await;
    assert_eq!((lease.id(), world.leases().await), (old, vec![old]), "kept");
    assert!(world.get("stranger").await.is_some() && kept[0].0.check());
    // The next change finds it free again.
    world.delete("stranger").await;
    change(world).await;
    world.until_within(SOON, "it moved", async || lease.id() != old).await;
    lease.close().await.unwrap();
    assert!(kept.iter().all(|(lead, _)| !lead.check()));
    world.until("nothing is left", async || world.leases().await.is_empty()).await;
}

three_members!(
    a_shared_lease_moves_as_a_whole,
    case_54_a_shared_lease_moves_as_a_whole_,
    case_54_shared_live on V3_7
);

/// etcd's leader changes within a winner's takeover delay, and wakes within it: the winner leads when it is over.
async fn a_win_within_its_delay_moves_too(world: &World) {
    for shared in [false, true] {
        let peer = world.peer(1);
        let lead = peer.leadership_with("k", delaying());
        let lease = Lease::grant(&peer.client, TTL, "shared").await.unwrap();
        if shared {
            lead.set_lease(Some(lease.clone())).unwrap();
        }
        let mut campaign = Box::pin(timed(&lead, "a"));
        let taken = world.until("the key is taken", async || world.get("k").await.is_some());
        tokio::select! {
            early = &mut campaign => panic!("{early:?}"),
            () = taken => {}
        }
        let old = world.get("k").await.unwrap().lease;
        change(world).await;
        // Nobody asks etcd anything in the delay but the renewals: they must hear of it.
        peer.client.get_leader("other").await.unwrap();
        let moved = world.until("it moved", async || world.get("k").await.unwrap().lease != old);
        tokio::select! {
            early = &mut campaign => panic!("{early:?}"),
            () = moved => {}
        }
        if world.leases().await.contains(&old) {
            world.revoke(old).await;
        }
        let term = delayed(campaign.await);
        lead.keep().unwrap();
        world.pass(TTL * 2).await;
        etcd_keeps_it(world, &term);
        lead.reset().await.unwrap();
        lease.close().await.unwrap();
        nothing_left(world, "k", &[], TTL).await;
        world.delete("k.resigned").await;
        peer.client.close().await.unwrap();
    }
}

#[test]
fn case_45_a_win_within_its_delay_moves_too_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(a_win_within_its_delay_moves_too(world)));
}

/// Without an etcd leader change nothing moves; a term that nobody renews is left alone until somebody does.
async fn nothing_moves_without_cause(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    world.pass(TTL * 6).await;
    assert_eq!(world.get("k").await.unwrap().version, 1);
    lead.reset().await.unwrap();
    let unkept = lead.campaign(options("a")).await.unwrap();
    assert!(unkept.token() > term.token());
    change(world).await;
    peer.client.get_leader("other").await.unwrap();
    world.pass(TTL / 5).await;
    assert_eq!(world.get("k").await.unwrap().version, 1);
    lead.keep().unwrap();
    let old = unkept.lease_id();
    world.until_within(SOON, "it moved", async || unkept.lease_id() != old).await;
    lead.reset().await.unwrap();
}

#[test]
fn case_45_nothing_moves_without_cause_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(nothing_moves_without_cause(world)));
}

/// The put is refused, again and again: the key stays where it is, and so does its lease, until it can be moved. Of a
/// shared lease's keys one is refused for a while: the others wait for it on both leases.
async fn a_move_that_is_refused(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    let old = term.lease_id();
    extended(world, &term).await;
    peer.faults.refuse(Target::txn_putting("k"), 100);
    change(world).await;
    world
        .until_within(TTL * 3, "it moved", async || {
            etcd_keeps_it(world, &term);
            term.lease_id() != old
        })
        .await;
    world.until_within(SOON, "one lease is left", async || world.leases().await == [term.lease_id()]).await;
    assert_eq!(world.get("k").await.unwrap().version, 2);
    lead.reset().await.unwrap();

    let lease = Lease::grant(&peer.client, TTL, "shared").await.unwrap();
    lease.keep_alive().unwrap();
    let mut kept = Vec::new();
    for key in ["k", "k1", "k2"] {
        let lead = peer.leadership(key);
        lead.set_lease(Some(lease.clone())).unwrap();
        let term = lead.campaign(options("a")).await.unwrap();
        kept.push((lead, term));
    }
    let old = lease.id();
    let denied = || Status::new(Code::PermissionDenied, "etcdserver: permission denied");
    peer.faults.answer(Target::txn_putting("k1"), 20, denied());
    change(world).await;
    world.until_within(SOON, "two have moved", async || leases(&kept).iter().filter(|id| **id != old).count() == 2).await;
    assert_eq!((world.leases().await.len(), lease.id()), (2, old), "both live");
    world
        .until_within(TTL * 2, "all have", async || {
            still_lead(&kept);
            leases(&kept).iter().all(|id| *id != old)
        })
        .await;
    world.until_within(SOON, "one lease is left", async || world.leases().await == [lease.id()]).await;
    world.pass(TTL * 2).await;
    still_lead(&kept);
    lease.close().await.unwrap();
}

#[test]
fn case_54_a_move_that_is_refused_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(a_move_that_is_refused(world)));
}

/// The move is applied, and from then on etcd answers nothing: the term ends by itself before etcd lets the key go, on
/// whichever lease it hangs.
async fn a_move_and_then_silence(world: &World) {
    for befalls in [held_before as fn(&Peer) -> Held, held_after] {
        let peer = world.peer(1);
        let (lead, term, held) = moving(world, &peer, befalls).await;
        peer.faults.hang(Method::Any);
        peer.faults.silence_streams(Method::Any);
        while term.is_valid() {
            etcd_keeps_it(world, &term);
            world.pass(Duration::from_millis(20)).await;
        }
        assert_eq!(term.lost_reason(), Some(Reason::Expired));
        peer.faults.heal();
        held.release();
        nothing_left(world, "k", &[], TTL * 4).await;
        assert!(!lead.check());
        world.delete("k.resigned").await;
        peer.client.close().await.unwrap();
    }
}

#[test]
fn case_54_a_move_and_then_silence_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(a_move_and_then_silence(world)));
}

/// Many leases do not move at once: 16 at most.
async fn moves_are_paced(world: &World) {
    let peer = world.peer(1);
    let kept = futures_util::future::join_all((0..60).map(|number| {
        let peer = &peer;
        async move { lead(peer, &format!("k{number}"), "a").await }
    }))
    .await;
    world.pass(TTL).await;
    let before = leases(&kept);
    let moves = Target::txn(|txn| {
        let puts = |op: &PbTxnOpRequest| matches!(op, PbTxnOpRequest::RequestPut(put) if put.ignore_value);
        txn.success.iter().filter_map(|op| op.request.as_ref()).any(puts)
    });
    peer.faults.delay(moves, Duration::from_millis(20));
    change(world).await;
    let mut most = 0;
    world
        .until_within(SOON, "all moved", async || {
            most = most.max(world.leases().await.len());
            leases(&kept).iter().all(|lease| !before.contains(lease))
        })
        .await;
    assert!((61..=76).contains(&most), "{most} leases at once");
    still_lead(&kept);
    peer.client.close().await.unwrap();
}

#[test]
fn case_45_moves_are_paced_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(moves_are_paced(world)));
}

/// Who waits for the leader to go is not told that it did; a primary watch is told that the key was written.
async fn a_watch_outlives_a_move(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (_lead, term) = lead(&a, "k", "a").await;
    let (plain, primary) = (b.leadership("k"), b.leadership("k"));
    primary.set_primary_watch(true);
    let mut waiting = Box::pin(plain.watch(term.token()));
    let mut watching = Box::pin(primary.watch(term.token()));
    let told = async {
        tokio::select! {
            end = &mut waiting => panic!("{end:?}"),
            end = &mut watching => end,
        }
    };
    let (told, ()) = tokio::join!(told, change(world));
    assert!(matches!(told, Ok(WatchEnd::Overwritten { .. })), "{told:?}");
    assert_eq!(b.client.get_leader("k").await.unwrap().unwrap().token, Some(term.token()));
    tokio::select! {
        end = &mut waiting => panic!("{end:?}"),
        () = world.pass(TTL) => {}
    }
    world.delete("k").await;
    assert!(matches!(waiting.await, Ok(WatchEnd::Deleted { .. })));
}

#[test]
fn case_32_a_watch_outlives_a_move_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(a_watch_outlives_a_move(world)));
}

/// A role that covers the key alone: its term moves too. On a lease with a key that it may not read it stays.
async fn a_role_with_the_key_alone_moves(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    cluster.enable_auth("secret");
    cluster.set_user("keyholder", "secret");
    cluster.allow("keyholder", Access::ReadWrite, "k", "");
    // Written but not read: etcd renews the lease that carries it, and does not say what it carries.
    cluster.allow("keyholder", Access::Write, "secret/stranger", "");
    let peer = world.peer_with(1, |options| options.credentials("keyholder", "secret"));
    let (lead, term) = lead(&peer, "k", "a").await;
    let old = term.lease_id();
    change(world).await;
    world.until_within(SOON, "it moved", async || term.lease_id() != old).await;
    let seen = peer.client.get_leader("k").await.unwrap().unwrap();
    assert_eq!((seen.token, seen.lease), (None, term.lease_id()), "S10: unknown to who may not read the mark");
    let old = term.lease_id();
    cluster.put("secret/stranger", "", old);
    change(world).await;
    world.pass(TTL * 2).await;
    assert_eq!(term.lease_id(), old);
    assert!(lead.check(), "{term:?}");
    assert!(cluster.get("secret/stranger").is_some());
    lead.reset().await.unwrap();
}

#[test]
fn case_45_a_role_with_the_key_alone_moves_() {
    simulated_with(Cluster::builder().members(THREE), |world| Box::pin(a_role_with_the_key_alone_moves(world)));
}
