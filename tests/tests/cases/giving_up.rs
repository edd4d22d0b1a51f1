//! Cases 47 and 58, and S7 and S8: a campaign that is cancelled, dropped or never answered leaves no key and no lease.
//! Owns everything about giving a campaign up; what a win needs is `campaign`'s and `takeover`'s.

use std::time::Duration;

use leadership_core::{Error, Lease, LeadershipOptions};
use leadership_testkit::{Held, Method, Target};
use leadership_tests::both_worlds;
use leadership_tests::etcd::{Etcd, Version};
use leadership_tests::world::{Peer, World, live, live_with, simulated};
use tokio::time::Instant;

use crate::steps::{follow, nothing_left, options, until_reached};

/// Longer than a lease of 5 s lives on in etcd, whatever befell its revoke.
const A_LEASE: Duration = Duration::from_secs(12);
const SOON: Duration = Duration::from_secs(1);

/// A lease for many elections, kept alive.
async fn shared_lease(peer: &Peer) -> Lease {
    let lease = Lease::grant(&peer.client, Duration::from_secs(60), "shared").await.unwrap();
    lease.keep_alive().unwrap();
    lease
}

/// How a campaign is given up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// Its future is dropped.
    Dropped,
    /// The leadership is reset, and the answer heard.
    Reset,
}

/// Gives campaigns up after 0, 1, 2, … ms of a campaign whose every call takes `per_call`, until one gets through.
async fn given_up_at_every_moment(world: &World, shared: bool, end: End) {
    let peer = world.peer(1);
    let lease = if shared { Some(shared_lease(&peer).await) } else { None };
    let leases: Vec<_> = lease.iter().map(Lease::id).collect();
    peer.faults.delay(Method::Any, Duration::from_millis(5));
    let options_of = LeadershipOptions::default().takeover_delay(Duration::from_millis(12));
    let mut won = 0;
    let mut moment = Duration::ZERO;
    while won < 5 {
        assert!(moment < Duration::from_millis(400), "no campaign got through");
        let lead = peer.leadership_with("k", options_of.clone());
        lead.set_lease(lease.clone()).unwrap();
        let mut campaign = Box::pin(lead.campaign(options("a")));
        let outcome = tokio::time::timeout(moment, &mut campaign).await;
        match (outcome, end) {
            (Ok(won_it), _) => {
                won_it.unwrap();
                won += 1;
                lead.reset().await.unwrap();
            }
            (Err(_), End::Dropped) => drop(campaign),
            (Err(_), End::Reset) => {
                let reset = lead.reset();
                assert!(!lead.check(), "after {moment:?}");
                let (reset, outcome) = tokio::join!(reset, campaign);
                reset.unwrap();
                match outcome {
                    Err(Error::Cancelled { .. }) => {}
                    // It was through just before: then the reset ended the term.
                    Ok(term) => assert!(term.is_lost() && !term.is_valid(), "after {moment:?}: leads after a reset"),
                    other => panic!("after {moment:?}: {other:?}"),
                }
                assert!(!lead.check(), "after {moment:?}: leads after a reset");
            }
        }
        nothing_left(world, "k", &leases, SOON).await;
        moment += Duration::from_millis(1);
    }
}

#[test]
fn s8_dropped_at_every_moment_nothing_is_left() {
    simulated(|world| Box::pin(given_up_at_every_moment(world, false, End::Dropped)));
}

#[test]
fn s7_s8_dropped_at_every_moment_with_a_shared_lease_nothing_is_left() {
    simulated(|world| Box::pin(given_up_at_every_moment(world, true, End::Dropped)));
}

#[test]
fn s8_reset_at_every_moment_nothing_is_left() {
    simulated(|world| Box::pin(given_up_at_every_moment(world, false, End::Reset)));
}

#[test]
fn s7_s8_reset_at_every_moment_with_a_shared_lease_nothing_is_left() {
    simulated(|world| Box::pin(given_up_at_every_moment(world, true, End::Reset)));
}

/// Drops campaigns while their first, second, … call is on its way there (or its reply on its way back), delivers it
/// only then, and goes on until a campaign has no such call.
async fn dropped_at_every_held_call(world: &World, shared: bool, hold: fn(&Peer, u64) -> Held) {
    for nth in 1.. {
        let peer = world.peer(nth);
        let lease = if shared { Some(shared_lease(&peer).await) } else { None };
        let leases: Vec<_> = lease.iter().map(Lease::id).collect();
        let lead = peer.leadership("k");
        lead.set_lease(lease.clone()).unwrap();
        let held = hold(&peer, nth);
        let mut campaign = Box::pin(lead.campaign(options("a")));
        let through = tokio::select! {
            biased;
            () = held.reached() => None,
            outcome = &mut campaign => Some(outcome.unwrap()),
        };
        drop(campaign);
        if through.is_some() {
            assert!(nth > 3, "a lease, a registration and the key are asked for one by one: only {nth} calls seen");
            peer.faults.heal(); // the call that is still to be held
            lead.reset().await.unwrap();
            nothing_left(world, "k", &leases, SOON).await;
            return;
        }
        // What can be cleaned up around it is; then it arrives.
        world.pass(Duration::from_millis(20)).await;
        held.release();
        nothing_left(world, "k", &leases, A_LEASE).await;
        assert!(!lead.check());
        if let Some(lease) = lease {
            lease.close().await.unwrap();
        }
    }
}

async fn dropped_while_a_call_is_under_way(world: &World) {
    dropped_at_every_held_call(world, false, |peer, nth| peer.faults.hold(Method::Any, nth)).await;
}

async fn dropped_while_a_reply_is_under_way(world: &World) {
    dropped_at_every_held_call(world, false, |peer, nth| peer.faults.hold_reply(Method::Any, nth)).await;
}

async fn dropped_with_a_shared_lease(world: &World) {
    dropped_at_every_held_call(world, true, |peer, nth| peer.faults.hold(Method::Txn, nth)).await;
    dropped_at_every_held_call(world, true, |peer, nth| peer.faults.hold_reply(Method::Txn, nth)).await;
}

both_worlds!(dropped_while_a_call_is_under_way, s8_dropped_while_a_call_is_under_way, s8_call_live on V3_7);
both_worlds!(dropped_while_a_reply_is_under_way, s8_dropped_while_a_reply_is_under_way, s8_reply_live on V3_7);
both_worlds!(dropped_with_a_shared_lease, s7_s8_dropped_with_a_shared_lease, s7_s8_shared_lease_live on V3_4);

/// A future that nobody polled to its end, though the win is there, is a dropped campaign too.
async fn a_win_that_nobody_took_is_given_up(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let mut campaign = Box::pin(lead.campaign(options("a")));
    assert!(tokio::time::timeout(Duration::ZERO, &mut campaign).await.is_err());
    world.until("the win is there", async || lead.check()).await;
    drop(campaign);
    world.until_within(SOON, "given up", async || !lead.check()).await;
    nothing_left(world, "k", &[], SOON).await;
}

both_worlds!(a_win_that_nobody_took_is_given_up, s8_a_win_that_nobody_took_is_given_up, s8_untaken_live on V3_7);

/// Given up while its transaction is under way, the key read as absent, the transaction applied after all: no key.
async fn a_put_that_arrives_late_takes_nothing(world: &World) {
    for shared in [false, true] {
        let peer = world.peer(1);
        let lease = if shared { Some(shared_lease(&peer).await) } else { None };
        let leases: Vec<_> = lease.iter().map(Lease::id).collect();
        let lead = peer.leadership("k");
        lead.set_lease(lease.clone()).unwrap();
        let held = peer.faults.hold(Target::txn_putting("k"), 1);
        let mut campaign = Box::pin(lead.campaign(options("a")));
        until_reached(&held, &mut campaign).await;
        drop(campaign);
        nothing_left(world, "k", &leases, SOON).await;
        held.release();
        held.delivered().await;
        nothing_left(world, "k", &leases, Duration::from_millis(1)).await;
        assert!(!lead.check());
        // The lease may carry the election again.
        if shared {
            lead.campaign(options("a")).await.unwrap();
            lead.reset().await.unwrap();
            nothing_left(world, "k", &leases, SOON).await;
        }
        drop(lead);
        drop(lease);
        nothing_left(world, "k", &[], SOON).await;
    }
}

both_worlds!(a_put_that_arrives_late_takes_nothing, case_47_a_put_that_arrives_late_takes_nothing, case_47_live on V3_4);

/// The next campaign of a leadership waits until the one that was given up has ended; beside one that somebody waits
/// for, it is refused.
async fn the_next_campaign_waits_for_one_given_up(world: &World) {
    for end in [End::Dropped, End::Reset] {
        let peer = world.peer(1);
        let lead = peer.leadership("k");
        let held = peer.faults.hold(Method::LeaseGrant, 1);
        let mut first = Box::pin(lead.campaign(options("a")));
        until_reached(&held, &mut first).await;
        match lead.campaign(options("b")).await {
            Err(Error::Unavailable { message }) => assert!(message.contains("is under way"), "{message}"),
            other => panic!("two campaigns at once: {other:?}"),
        }
        match end {
            End::Dropped => drop(first),
            End::Reset => {
                drop(lead.reset());
                drop(first);
            }
        }
        let (term, ()) = tokio::join!(lead.campaign(options("c")), async {
            world.pass(Duration::from_millis(50)).await;
            held.release();
        });
        assert!(term.unwrap().is_valid(), "{end:?}");
        assert_eq!(world.get("k").await.map(|kv| kv.value), Some(b"c".to_vec()));
        lead.reset().await.unwrap();
        nothing_left(world, "k", &[], A_LEASE).await;
    }
}

both_worlds!(the_next_campaign_waits_for_one_given_up, s7_the_next_campaign_waits, s7_the_next_waits_live on V3_7);

/// The same as it was seen: the campaign lies in the socket of the stopped etcd leader, is given up through the other
/// members, and the leader wakes. Whether etcd then applies it is etcd's; here three times in a row.
async fn a_stopped_etcd_leader_wakes_with_the_put(world: &World) {
    let etcd = world.etcd.as_ref().unwrap();
    for round in 0..3 {
        let peer = world.peer(10 + round);
        let leader = etcd.leader().await.unwrap();
        // Calls stick to the first endpoint until it fails: send them to the leader.
        for _ in 0..leader {
            peer.faults.refuse(Method::Any, 1);
            let _ = peer.client.get_leader("other").await;
        }
        for shared in [true, false] {
            let lease = if shared { Some(shared_lease(&peer).await) } else { None };
            let leases: Vec<_> = lease.iter().map(Lease::id).collect();
            let lead = peer.leadership("k");
            lead.set_lease(lease.clone()).unwrap();
            let held = peer.faults.hold(Target::txn_putting("k"), 1);
            let mut campaign = Box::pin(lead.campaign(options("a")));
            until_reached(&held, &mut campaign).await;
            let leader = etcd.leader().await.unwrap();
            etcd.member(leader).stop_signal().unwrap();
            held.release();
            world.pass(Duration::from_millis(100)).await;
            drop(campaign);
            world.pass(Duration::from_millis(2500)).await;
            etcd.member(leader).cont().unwrap();
            etcd.ready().await.unwrap();
            if let Some(lease) = &lease {
                assert!(!lease.is_expired(), "kept through the stop");
            }
            nothing_left(world, "k", &leases, A_LEASE).await;
            world.pass(Duration::from_millis(500)).await;
            nothing_left(world, "k", &leases, SOON).await;
            assert!(!lead.check());
            drop(lead);
            drop(lease);
            nothing_left(world, "k", &[], A_LEASE).await;
        }
    }
}

#[test]
fn case_47_a_stopped_etcd_leader_wakes_with_the_put_live() {
    live_with(Etcd::options(Version::V3_7).members(3), |world| Box::pin(a_stopped_etcd_leader_wakes_with_the_put(world)));
}

/// A campaign without a reply, read as absent; the next one of the same lease wins and resigns; only then the first
/// arrives: its registration is used up.
async fn a_registration_wins_once(world: &World) {
    let peer = world.peer(1);
    let lease = shared_lease(&peer).await;
    let lead = peer.leadership("k");
    lead.set_lease(Some(lease.clone())).unwrap();
    let held = peer.faults.hold(Target::txn_putting("k"), 1);
    let failed = lead.campaign(options("a")).await.unwrap_err();
    assert!(held.is_reached() && failed.is_retriable(), "{failed:?}");
    assert_eq!(world.get("k").await, None);
    let term = lead.campaign(options("a")).await.unwrap();
    assert_eq!(term.lease_id(), lease.id());
    lead.reset().await.unwrap();
    assert_eq!(world.get("k").await, None);
    // Also while a third stands in the way between registration and win.
    held.release();
    held.delivered().await;
    assert_eq!(world.get("k").await, None, "refused: one registration, one win");
    assert!(!lead.check());
    let later = lead.campaign(options("a")).await.unwrap();
    assert!(later.token() > term.token());
}

both_worlds!(a_registration_wins_once, case_58_a_registration_wins_once, case_58_live on V3_7);

/// Two leaderships of one process with one lease and one key: at most one leads, and the other's failure does not cost
/// the first its key.
async fn a_lease_carries_a_key_once(world: &World) {
    let peer = world.peer(1);
    let lease = shared_lease(&peer).await;
    let (first, second) = (peer.leadership("k"), peer.leadership("k"));
    first.set_lease(Some(lease.clone())).unwrap();
    second.set_lease(Some(lease.clone())).unwrap();
    let term = first.campaign(options("a")).await.unwrap();
    let refused = second.campaign(options("b")).await.unwrap_err();
    assert!(matches!(refused, Error::NotElected { .. }), "{refused:?}");
    world.pass(Duration::from_millis(300)).await;
    assert!(first.check() && !second.check(), "{:?}", term.lost_reason());
    assert_eq!(world.get("k").await.unwrap().create_revision, term.token());
    first.reset().await.unwrap();
    // Both at once.
    for _ in 0..5 {
        let (one, other) = tokio::join!(first.campaign(options("a")), second.campaign(options("b")));
        assert!(!(first.check() && second.check()), "two terms are valid: {one:?} {other:?}");
        first.reset().await.unwrap();
        second.reset().await.unwrap();
        nothing_left(world, "k", &[lease.id()], SOON).await;
    }
}

both_worlds!(a_lease_carries_a_key_once, s1_s10_a_lease_carries_a_key_once, s1_s10_live on V3_7);

/// A drop while etcd is away: the key goes with its lease at the latest.
async fn dropped_while_etcd_is_away(world: &World) {
    let peer = world.peer(1);
    let other = world.peer(2);
    let lead = peer.leadership("k");
    let reply = peer.faults.hold_reply(Target::txn_putting("k"), 1);
    let mut campaign = Box::pin(lead.campaign(options("a")));
    until_reached(&reply, &mut campaign).await;
    assert!(world.get("k").await.is_some());
    peer.faults.refuse(Method::Any, u64::MAX);
    peer.faults.break_streams(Method::Any);
    let dropped = Instant::now();
    drop(campaign);
    let observer = other.leadership("k");
    follow(&observer).await;
    nothing_left(world, "k", &[], A_LEASE).await;
    // Not renewed by anybody: within the TTL and etcd's own second or two.
    assert!(dropped.elapsed() < Duration::from_secs(8), "{:?}", dropped.elapsed());
    assert!(!lead.check());
}

both_worlds!(dropped_while_etcd_is_away, s8_dropped_while_etcd_is_away, s8_away_live on V3_4);

/// Real time has no exact moments; the same at 0, 4, 8, … ms, from before the grant to after the win.
#[test]
fn s8_dropped_at_some_moments_live() {
    live(Version::V3_7, |world| {
        Box::pin(async move {
            let peer = world.peer(1);
            for moment in 0..40 {
                let lead = peer.leadership("k");
                if let Ok(won) = tokio::time::timeout(Duration::from_millis(4 * moment), lead.campaign(options("a"))).await {
                    won.unwrap();
                    lead.reset().await.unwrap();
                }
                nothing_left(world, "k", &[], SOON).await;
            }
        })
    });
}
