//! Cases 09, 14, 15, 44, 46, 48 and 50 as far as renewals go: a sick member costs no term while a quorum is well.
//! Owns three members and what befalls one of them; a single sick stream is `keeping.rs`'s.

use std::time::Duration;

use leadership_core::{CampaignOptions, Leadership, TermHandle, TermState};
use leadership_testkit::{Builder, Cluster, Method, Waking};
use leadership_tests::etcd::{Etcd, Version};
use leadership_tests::world::{Peer, World, live_with, record, simulated_with};

use crate::keeping::{INTERVAL, TTL, lead};

/// As many leaderships as are looked at in each case.
const LEADERSHIPS: usize = 20;
/// So long a member is sick: longer than a follower waits for its leader, longer than the TTL.
const SICK: Duration = Duration::from_secs(7);
/// How far a peer's clock and the server's may run apart in a TTL, with a ms for the server's rounding.
const APART: Duration = Duration::from_millis(51);

fn three() -> Builder {
    Cluster::builder().members(3)
}

/// Leaderships of one client, each renewed and confirmed at least once.
async fn leaderships(world: &World, peer: &Peer) -> Vec<(Leadership, TermHandle)> {
    let mut all = Vec::new();
    for number in 0..LEADERSHIPS {
        all.push(lead(peer, &format!("k{number}"), "a").await);
    }
    renewed(world, &all).await;
    all
}

/// Waits until every term was renewed once more.
async fn renewed(world: &World, all: &[(Leadership, TermHandle)]) {
    let before: Vec<_> = all.iter().map(|(_, term)| term.deadline()).collect();
    world
        .until("every term is renewed", async || {
            all.iter().zip(&before).all(|((_, term), before)| term.deadline() > *before)
        })
        .await;
}

/// Looks at every term for `span`, again and again: none is lost, and none says more of itself than etcd will keep (S2).
async fn none_is_lost(world: &World, all: &[(Leadership, TermHandle)], span: Duration) {
    let started = tokio::time::Instant::now();
    while started.elapsed() < span {
        for (number, (lead, term)) in all.iter().enumerate() {
            let at = started.elapsed();
            assert!(lead.check() && !term.is_lost(), "leadership {number} was lost after {at:?}: {term:?}");
        }
        if let Some(cluster) = &world.cluster {
            let leases = cluster.leases();
            for (_, term) in all {
                let kept = leases.iter().find(|lease| lease.id == term.lease_id());
                let kept = kept.map_or(Duration::ZERO, |lease| lease.remaining);
                assert!(term.remaining() <= kept + APART, "says {:?}, etcd keeps {kept:?}", term.remaining());
            }
        }
        world.pass(Duration::from_millis(if world.cluster.is_some() { 20 } else { 5 })).await;
    }
}

/// The leader of three is stopped for 7 s. The quorum is well again after an election; the followers sit on renewals
/// that they had handed to the stopped leader before it.
async fn case_14_44_the_etcd_leader_is_stopped(world: &World) {
    let peer = world.peer(1);
    stop_the_leader(world, &peer).await;
}

async fn stop_the_leader(world: &World, peer: &Peer) {
    let all = leaderships(world, peer).await;
    // Wherever in the renewals' round it happens.
    world.pass(Duration::from_millis(world.seed * 331 % 1000)).await;
    match (&world.cluster, &world.etcd) {
        (Some(cluster), _) => {
            let stopped = cluster.member(cluster.leader().unwrap());
            stopped.stop();
            none_is_lost(world, &all, SICK).await;
            stopped.cont();
            none_is_lost(world, &all, SICK).await;
        }
        (_, Some(etcd)) => {
            let stopped = etcd.member(etcd.leader().await.unwrap());
            stopped.stop_signal().unwrap();
            none_is_lost(world, &all, SICK).await;
            stopped.cont().unwrap();
        }
        _ => panic!("a world of neither kind"),
    }
}

#[test]
fn case_14_44_the_etcd_leader_is_stopped_() {
    simulated_with(three(), |world| Box::pin(case_14_44_the_etcd_leader_is_stopped(world)));
}

#[test]
fn case_14_44_the_etcd_leader_is_stopped_live_3_7() {
    live_with(Etcd::options(Version::V3_7).members(3), |world| Box::pin(case_14_44_the_etcd_leader_is_stopped(world)));
}

#[test]
fn case_14_44_the_etcd_leader_is_stopped_live_3_4() {
    live_with(Etcd::options(Version::V3_4).members(3), |world| Box::pin(case_14_44_the_etcd_leader_is_stopped(world)));
}

/// The client knows one member only, which follows the one that is stopped: it sits on what it has handed on, and a new
/// stream to it finds the new leader.
async fn case_14_connected_to_a_follower(world: &World) {
    let follower = match (&world.cluster, &world.etcd) {
        (_, Some(etcd)) => (etcd.leader().await.unwrap() + 1) % 3,
        _ => 1,
    };
    stop_the_leader(world, &world.peer_at(1, follower)).await;
}

#[test]
fn case_14_connected_to_a_follower_() {
    simulated_with(three(), |world| Box::pin(case_14_connected_to_a_follower(world)));
}

#[test]
fn case_14_connected_to_a_follower_live_3_7() {
    live_with(Etcd::options(Version::V3_7).members(3), |world| Box::pin(case_14_connected_to_a_follower(world)));
}

#[test]
fn case_14_connected_to_a_follower_live_3_4() {
    live_with(Etcd::options(Version::V3_4).members(3), |world| Box::pin(case_14_connected_to_a_follower(world)));
}

#[derive(Debug, Clone, Copy)]
enum Befalls {
    Killed,
    /// It accepts, and never answers.
    Stopped,
    /// From the other members, not from us: it answers from its own.
    CutOff,
    Restarted,
}

/// Whatever befalls a member, the raft leader (where the renewals go) or another: no term is lost, not when it is back
/// either.
async fn case_15_a_member_is_gone_and_comes_back(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let peer = world.peer(1);
    let all = leaderships(world, &peer).await;
    for befalls in [Befalls::Killed, Befalls::Stopped, Befalls::CutOff, Befalls::Restarted] {
        for leader in [true, false] {
            eprintln!("{befalls:?}, {}", if leader { "the leader" } else { "a follower" });
            let led = cluster.leader().unwrap();
            let member = cluster.member(if leader { led } else { (led + 1) % 3 });
            match befalls {
                Befalls::Killed | Befalls::Restarted => member.kill(),
                Befalls::Stopped => member.stop(),
                Befalls::CutOff => member.isolate(),
            }
            let gone = if matches!(befalls, Befalls::Restarted) { Duration::from_millis(300) } else { SICK };
            none_is_lost(world, &all, gone).await;
            match befalls {
                Befalls::Killed | Befalls::Restarted => member.restart(),
                Befalls::Stopped => member.cont(),
                Befalls::CutOff => member.heal(),
            }
            none_is_lost(world, &all, SICK).await;
        }
    }
}

#[test]
fn case_15_a_member_is_gone_and_comes_back_() {
    simulated_with(three(), |world| Box::pin(case_15_a_member_is_gone_and_comes_back(world)));
}

/// The same with processes: the member that renewals go to is killed and started again, and stopped as a machine that
/// hangs. (What happens after a stopped leader wakes is the re-lease's.)
async fn case_15_the_connected_member_is_gone(world: &World) {
    let etcd = world.etcd.as_ref().unwrap();
    let peer = world.peer(1);
    let all = leaderships(world, &peer).await;
    let led = etcd.leader().await.unwrap();
    etcd.member(led).kill().await.unwrap();
    none_is_lost(world, &all, SICK).await;
    let (restarted, ()) = tokio::join!(etcd.restart(led), none_is_lost(world, &all, Duration::from_secs(3)));
    restarted.unwrap();
    renewed(world, &all).await;
    // A follower that hangs costs nothing, when it wakes either.
    let hangs = etcd.member((etcd.leader().await.unwrap() + 1) % 3);
    hangs.stop_signal().unwrap();
    none_is_lost(world, &all, SICK).await;
    hangs.cont().unwrap();
    none_is_lost(world, &all, Duration::from_secs(2)).await;
}

#[test]
fn case_15_the_connected_member_is_gone_live_3_7() {
    live_with(Etcd::options(Version::V3_7).members(3), |world| Box::pin(case_15_the_connected_member_is_gone(world)));
}

#[test]
fn case_15_the_connected_member_is_gone_live_3_4() {
    live_with(Etcd::options(Version::V3_4).members(3), |world| Box::pin(case_15_the_connected_member_is_gone(world)));
}

/// A leader that was cut off goes on answering renewals with the full TTL and its raft term, and renews nothing. Nothing
/// is extended by it; the other members keep the terms.
async fn case_46_s2_a_leader_that_was_cut_off_goes_on_answering(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let peer = world.peer(1);
    let all = leaderships(world, &peer).await;
    cluster.member(0).isolate();
    none_is_lost(world, &all, Duration::from_secs(14)).await;
    assert_ne!(cluster.leader(), Some(0));
    cluster.member(0).heal();
    none_is_lost(world, &all, SICK).await;
}

#[test]
fn case_46_s2_a_leader_that_was_cut_off_goes_on_answering_() {
    simulated_with(three(), |world| Box::pin(case_46_s2_a_leader_that_was_cut_off_goes_on_answering(world)));
}

/// The member that renewals go to reports an old raft term for 14 s: the client moves on, and comes back afterwards.
async fn case_48_a_member_reports_an_old_raft_term(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    for _ in 0..3 {
        cluster.bump_raft_term();
    }
    let peer = world.peer(1);
    let all = leaderships(world, &peer).await;
    cluster.member(0).report_old_term(1);
    let elsewhere = cluster.member(1).faults().calls(Method::LeaseKeepAlive);
    none_is_lost(world, &all, Duration::from_secs(14)).await;
    assert!(cluster.member(1).faults().calls(Method::LeaseKeepAlive) > elsewhere, "renewed through another");
    cluster.member(0).report_true_term();
    let home = cluster.member(0).faults().calls(Method::LeaseKeepAlive);
    none_is_lost(world, &all, SICK).await;
    // Home again, on whichever stream: when the others are gone nothing is missed.
    assert!(cluster.member(0).faults().calls(Method::LeaseKeepAlive) - home <= 1);
    let said = record(&all[0].1);
    cluster.member(1).stop();
    none_is_lost(world, &all, TTL).await;
    cluster.member(1).cont();
    cluster.member(2).stop();
    none_is_lost(world, &all, TTL).await;
    assert_eq!(*said.borrow(), [TermState::Leading]);
}

#[test]
fn case_48_a_member_reports_an_old_raft_term_() {
    simulated_with(three(), |world| Box::pin(case_48_a_member_reports_an_old_raft_term(world)));
}

/// A waking ex-leader answers what it held with TTL 0, although the leases live: no term ends. The client knows no other
/// member, so it hears every one of these answers.
async fn case_50_a_waking_ex_leader_says_ttl_zero(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    cluster.set_waking(Waking { answers_zero: true, ..Waking::default() });
    let peer = world.peer_at(1, 0);
    let all = leaderships(world, &peer).await;
    cluster.member(0).stop();
    world.pass(Duration::from_millis(2200)).await;
    assert_ne!(cluster.leader(), Some(0));
    cluster.member(0).cont();
    none_is_lost(world, &all, SICK).await;
}

#[test]
fn case_50_a_waking_ex_leader_says_ttl_zero_() {
    simulated_with(three(), |world| Box::pin(case_50_a_waking_ex_leader_says_ttl_zero(world)));
}

/// The quorum is lost: jeopardy is told before the term is lost, with what remains; and that it is over, when it comes
/// back in time.
async fn jeopardy_is_told_and_that_it_is_over(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let peer = world.peer(1);
    let (_lead, term) = lead(&peer, "k", "a").await;
    let said = record(&term);
    let sick = Duration::from_millis(2_500);
    for member in 1..3 {
        cluster.member(member).stop();
    }
    world.until("jeopardy", async || said.borrow().last() == Some(&TermState::Jeopardy)).await;
    assert!(term.is_valid() && !term.is_lost());
    assert!(term.remaining() > TTL - sick - INTERVAL && term.remaining() < TTL - INTERVAL, "{:?}", term.remaining());
    for member in 1..3 {
        cluster.member(member).cont();
    }
    world.until("secured", async || said.borrow().last() == Some(&TermState::Leading)).await;
    assert_eq!(*said.borrow(), [TermState::Leading, TermState::Jeopardy, TermState::Leading]);
    assert!(term.remaining() > TTL - INTERVAL);
}

#[test]
fn jeopardy_is_told_and_that_it_is_over_() {
    simulated_with(three(), |world| Box::pin(jeopardy_is_told_and_that_it_is_over(world)));
}

/// A token's end ends the keepalive stream (3.5 and newer): it is opened again with a new token, on the same member.
async fn case_09_a_keepalive_stream_survives_its_token(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    cluster.enable_auth("secret");
    let peer = world.peer_with(1, |options| options.credentials("root", "secret"));
    let lead = peer.leadership("k");
    let term = lead.campaign(CampaignOptions::new("a").ttl(TTL)).await.unwrap();
    lead.keep().unwrap();
    let all = [(lead, term)];
    renewed(world, &all).await;
    for round in 1..4 {
        let others = [1, 2].map(|member| cluster.member(member).faults().calls(Method::LeaseKeepAlive));
        let home = cluster.member(0).faults().calls(Method::LeaseKeepAlive);
        cluster.expire_tokens();
        none_is_lost(world, &all, TTL).await;
        renewed(world, &all).await;
        assert_eq!(cluster.member(0).faults().calls(Method::LeaseKeepAlive), home + 1, "round {round}");
        assert_eq!([1, 2].map(|member| cluster.member(member).faults().calls(Method::LeaseKeepAlive)), others);
    }
}

#[test]
fn case_09_a_keepalive_stream_survives_its_token_() {
    simulated_with(three(), |world| Box::pin(case_09_a_keepalive_stream_survives_its_token(world)));
}
