//! Cases 10–13, 16, 19, 37, 46 and 49: keeping the term, and what ends it while etcd answers.
//! Owns renewals, confirmations and the own key; deadlines and clocks are in `deadlines.rs`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leadership_core::{BootTime, CampaignOptions, Error, Lease, Leadership, Reason, TermHandle, TermState};
use leadership_testkit::{Cluster, Lost, Method, Target};
use leadership_tests::etcd::{Etcd, Version};
use leadership_tests::world::{Peer, World, live, live_with, record, simulated, simulated_with};
use tonic::{Code, Status};

pub(crate) const TTL: Duration = Duration::from_secs(5);
/// A leader's lease is renewed this often.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// One renewal cycle: the interval, the renewal, the bound of the confirming read.
const CYCLE: Duration = Duration::from_millis(1500);

/// Wins `key` and keeps it.
pub(crate) async fn lead(peer: &Peer, key: &str, value: &str) -> (Leadership, TermHandle) {
    let lead = peer.leadership(key);
    let term = lead.campaign(CampaignOptions::new(value).ttl(TTL)).await.unwrap();
    lead.keep().unwrap();
    (lead, term)
}

/// Waits until a renewal was confirmed; the new deadline.
pub(crate) async fn extended(world: &World, term: &TermHandle) -> BootTime {
    let before = term.deadline();
    world.until("a confirmed renewal", async || term.deadline() > before).await;
    term.deadline()
}

/// A span in which a live etcd may be slower than one in memory.
fn within(world: &World, simulated: Duration, live: Duration) -> Duration {
    if world.cluster.is_some() { simulated } else { live }
}

/// The number of renewals that have reached the test server; 0 in the live world.
fn renewals(world: &World) -> u64 {
    world.cluster.as_ref().map_or(0, |cluster| cluster.stats().keepalives)
}

/// Ends with a renewal's reply under way: sent, answered by etcd, held on its way back.
async fn hold_a_reply(world: &World, peer: &Peer, term: &TermHandle) {
    extended(world, term).await;
    peer.faults.hold_keepalive_replies();
    // The next is sent one interval after the last; the stream is given up TTL/12 after that.
    world.pass(INTERVAL + Duration::from_millis(100)).await;
}

async fn case_10_a_reply_after_reset_revives_nothing(world: &World) {
    let peer = world.peer(1);
    // On a lease of the caller's, which lives on, so that the reply finds somebody at home.
    let lease = Lease::grant(&peer.client, TTL, "shared").await.unwrap();
    let lead = peer.leadership("k");
    lead.set_lease(Some(lease.clone())).unwrap();
    let term = lead.campaign(CampaignOptions::new("a")).await.unwrap();
    lead.keep().unwrap();
    hold_a_reply(world, &peer, &term).await;
    let reset = lead.reset();
    let before = lease.remaining();
    assert!(!lead.check() && !term.is_valid() && term.is_lost(), "not leader when reset is called");
    peer.faults.heal();
    reset.await.unwrap();
    world.until("the reply still extends the shared lease", async || lease.remaining() > before).await;
    assert!(!lead.check() && !term.is_valid(), "S5: the term does not come back with it");
    assert_eq!(term.remaining(), Duration::ZERO);
    assert_eq!(world.get("k").await, None);

    // The same with a lease of the term's own, which is revoked.
    lead.set_lease(None).unwrap();
    let own = lead.campaign(CampaignOptions::new("a").ttl(TTL)).await.unwrap();
    lead.keep().unwrap();
    assert!(own.is_valid() && own.token() > term.token());
    assert!(!term.is_valid(), "S5: a new term does not revive the old one's handle");
    hold_a_reply(world, &peer, &own).await;
    let reset = lead.reset();
    peer.faults.heal();
    reset.await.unwrap();
    world.pass(INTERVAL * 2).await;
    assert!(!lead.check() && !own.is_valid() && !term.is_valid());
    lease.close().await.unwrap();
    world.until("no lease is left", async || world.leases().await.is_empty()).await;
}

#[test]
fn case_10_s05_a_reply_after_reset_revives_nothing_() {
    simulated(|world| Box::pin(case_10_a_reply_after_reset_revives_nothing(world)));
}

#[test]
fn case_10_s05_a_reply_after_reset_revives_nothing_live() {
    live(Version::V3_7, |world| Box::pin(case_10_a_reply_after_reset_revives_nothing(world)));
}

async fn case_10_a_reply_after_close_revives_nothing(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    let said = record(&term);
    hold_a_reply(world, &peer, &term).await;
    let (closed, ()) = tokio::join!(peer.client.close(), async { peer.faults.heal() });
    closed.unwrap();
    assert!(!lead.check() && !term.is_valid());
    assert_eq!(term.lost_reason(), Some(Reason::Closed));
    world.pass(INTERVAL * 2).await;
    assert!(!lead.check() && !term.is_valid());
    assert_eq!(*said.borrow(), [TermState::Leading, TermState::Lost(Reason::Closed)]);
    assert!(world.get("k").await.is_none() && world.leases().await.is_empty());
    assert!(matches!(lead.campaign(CampaignOptions::new("a")).await, Err(Error::Closed)));
    assert!(matches!(lead.keep(), Err(Error::Closed)));
}

#[test]
fn case_10_a_reply_after_close_revives_nothing_() {
    simulated(|world| Box::pin(case_10_a_reply_after_close_revives_nothing(world)));
}

#[test]
fn case_10_a_reply_after_close_revives_nothing_live() {
    live(Version::V3_4, |world| Box::pin(case_10_a_reply_after_close_revives_nothing(world)));
}

/// The reply is good; what fails is the read that was to confirm it. The next read does, and no renewal is wasted.
async fn case_11_a_good_reply_survives_a_failed_read(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    extended(world, &term).await;
    let (at, sent) = (term.deadline(), renewals(world));
    peer.faults.drop_replies(Target::txn_reading(), 2, Lost::Never);
    let deadline = extended(world, &term).await;
    let step = deadline.since(at);
    let slack = within(world, Duration::from_millis(60), Duration::from_millis(400));
    assert!(step >= INTERVAL - slack && step <= INTERVAL + slack, "the renewal's own extension, {step:?} on");
    if world.cluster.is_some() {
        assert_eq!(renewals(world), sent + 1, "and not one more renewal for it");
    }
    assert!(lead.check());
}

#[test]
fn case_11_a_good_reply_survives_a_failed_read_() {
    simulated(|world| Box::pin(case_11_a_good_reply_survives_a_failed_read(world)));
}

#[test]
fn case_11_a_good_reply_survives_a_failed_read_live() {
    live(Version::V3_7, |world| Box::pin(case_11_a_good_reply_survives_a_failed_read(world)));
}

async fn case_12_a_lease_revoked_behind_the_back(world: &World) {
    // With the watch, and with its stream silent and no new one to be had: then the renewal tells, a cycle later.
    for watched in [true, false] {
        let peer = world.peer(1);
        let (lead, term) = lead(&peer, "k", "a").await;
        let said = record(&term);
        extended(world, &term).await;
        if !watched {
            peer.faults.hang(Method::Watch);
            peer.faults.silence_streams(Method::Watch);
        }
        world.revoke(term.lease_id()).await;
        let bound = if watched { Duration::from_millis(50) } else { CYCLE };
        let bound = within(world, bound, bound + Duration::from_secs(1));
        world.until_within(bound, "the term has ended", async || !lead.check()).await;
        assert!(matches!(term.lost_reason(), Some(Reason::KeyDeleted | Reason::Revoked)), "{term:?}");
        world.until("the loss is announced", async || said.borrow().len() == 2).await;
        assert_eq!(said.borrow().last(), Some(&TermState::Lost(term.lost_reason().unwrap())));
        peer.client.close().await.unwrap();
    }
}

#[test]
fn case_12_a_lease_revoked_behind_the_back_() {
    simulated(|world| Box::pin(case_12_a_lease_revoked_behind_the_back(world)));
}

#[test]
fn case_12_a_lease_revoked_behind_the_back_live() {
    live(Version::V3_7, |world| Box::pin(case_12_a_lease_revoked_behind_the_back(world)));
}

async fn case_13_s06_the_key_goes_while_the_lease_lives(world: &World) {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Stranger {
        Deletes,
        Overwrites,
        Replaces,
    }
    for stranger in [Stranger::Deletes, Stranger::Overwrites, Stranger::Replaces] {
        for watched in [true, false] {
            let peer = world.peer(1);
            let (lead, term) = lead(&peer, "k", "a").await;
            let said = record(&term);
            extended(world, &term).await;
            if !watched {
                peer.faults.hang(Method::Watch);
                peer.faults.silence_streams(Method::Watch);
            }
            let started = tokio::time::Instant::now();
            if stranger != Stranger::Overwrites {
                world.delete("k").await;
            }
            if stranger != Stranger::Deletes {
                world.put("k", "stranger", 0).await;
            }
            let bound = if watched { Duration::from_millis(50) } else { CYCLE };
            let bound = within(world, bound, bound + Duration::from_secs(1));
            world.until_within(bound, "the term has ended", async || !lead.check()).await;
            let reason = if stranger == Stranger::Overwrites { Reason::Overwritten } else { Reason::KeyDeleted };
            assert_eq!(term.lost_reason(), Some(reason), "{stranger:?} watched {watched} {:?}", started.elapsed());
            assert_eq!(term.lost().await, reason);
            peer.client.close().await.unwrap();
            assert_eq!(*said.borrow(), [TermState::Leading, TermState::Lost(reason)], "announced once");
            assert!(world.leases().await.is_empty(), "the lease goes with the term");
            let kept = world.get("k").await;
            assert_eq!(kept.is_some(), stranger != Stranger::Deletes, "a stranger's key is not ours to delete");
            world.delete("k").await;
        }
    }
}

#[test]
fn case_13_s06_the_key_goes_while_the_lease_lives_() {
    simulated(|world| Box::pin(case_13_s06_the_key_goes_while_the_lease_lives(world)));
}

#[test]
fn case_13_s06_the_key_goes_while_the_lease_lives_live() {
    live(Version::V3_4, |world| Box::pin(case_13_s06_the_key_goes_while_the_lease_lives(world)));
}

async fn case_16_one_dead_lease_stalls_no_other(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let peer = world.peer(1);
    let mut kept = Vec::new();
    for number in 0..50 {
        kept.push(lead(&peer, &format!("k{number}"), "a").await);
    }
    world.pass(TTL).await;
    let stats = cluster.stats();
    assert_eq!((stats.keepalive_streams, stats.watch_streams, stats.watchers), (1, 1, 50), "one stream of each");
    let opened = peer.faults.calls(Method::LeaseKeepAlive);
    let reads = peer.faults.calls(Method::Txn);
    // One is revoked behind the back, and one whose loss nobody notices goes on being renewed as a dead lease.
    cluster.revoke(kept[7].1.lease_id());
    let plain = Lease::grant(&peer.client, TTL, "plain").await.unwrap();
    plain.keep_alive().unwrap();
    cluster.revoke(plain.id());
    world.pass(TTL * 3).await;
    assert!(plain.is_expired());
    for (number, (lead, term)) in kept.iter().enumerate() {
        assert_eq!(lead.check(), number != 7, "leadership {number}: {term:?}");
    }
    assert_eq!(peer.faults.calls(Method::LeaseKeepAlive), opened, "no stream was given up for it");
    let reads = peer.faults.calls(Method::Txn) - reads;
    // At most every TTL/25 for all leases together: 75 in 15 s, and a few for the re-reads and the release.
    assert!(reads <= 85, "{reads} transactions in 15 s: the confirming reads are not shared");
    peer.client.close().await.unwrap();
    assert!(cluster.leases().is_empty());
    let stats = cluster.stats();
    assert_eq!((stats.keepalive_streams, stats.watch_streams), (0, 0), "closing closes the streams");
}

#[test]
fn case_16_one_dead_lease_stalls_no_other_() {
    simulated(|world| Box::pin(case_16_one_dead_lease_stalls_no_other(world)));
}

/// Every reply says the raft term before the newest: not one counts, and the term ends at its first deadline.
async fn case_19_replies_of_an_old_raft_term(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    let replies = Rc::new(Cell::new(0));
    let seen = Arc::new(AtomicU64::new(0));
    let counted = seen.clone();
    let at = extended(world, &term).await;
    peer.faults.map_keepalive(move |reply| {
        counted.fetch_add(1, Ordering::Relaxed);
        if let Some(header) = &mut reply.header {
            header.raft_term -= 1;
        }
    });
    world
        .until("the term is lost", async || {
            replies.set(seen.load(Ordering::Relaxed));
            assert!(term.deadline() == at || !term.is_valid(), "an old reply extended the term");
            term.is_lost()
        })
        .await;
    assert_eq!(term.lost_reason(), Some(Reason::Expired));
    let replies = replies.get();
    assert!((3..200).contains(&replies), "{replies} old replies: renewed again, but not over and over");
    peer.faults.heal();
    world.until("the term has ended and its key is gone", async || !lead.check() && world.get("k").await.is_none()).await;
    let next = lead.campaign(CampaignOptions::new("a")).await.unwrap();
    assert!(next.is_valid() && next.token() > term.token() && !term.is_valid());
}

#[test]
fn case_19_replies_of_an_old_raft_term_() {
    simulated(|world| Box::pin(case_19_replies_of_an_old_raft_term(world)));
}

#[test]
fn case_19_replies_of_an_old_raft_term_live() {
    live(Version::V3_7, |world| Box::pin(case_19_replies_of_an_old_raft_term(world)));
}

/// One reply carries an old term, as is common after an etcd leader change: one more round, and the term is kept.
async fn case_46_one_old_header_costs_one_more_round(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    let at = extended(world, &term).await;
    let sent = renewals(world);
    let seen = Arc::new(AtomicU64::new(0));
    let counted = seen.clone();
    peer.faults.map_keepalive(move |reply| {
        if counted.fetch_add(1, Ordering::Relaxed) == 0
            && let Some(header) = &mut reply.header
        {
            header.raft_term -= 1;
        }
    });
    let next = extended(world, &term).await;
    assert_eq!(seen.load(Ordering::Relaxed), 2, "the old one, and one more");
    let step = next.since(at);
    let most = within(world, INTERVAL + Duration::from_millis(300), INTERVAL * 2);
    assert!(step > INTERVAL - Duration::from_millis(100) && step < most, "{step:?}: at once, not an interval later");
    if world.cluster.is_some() {
        assert_eq!(renewals(world), sent + 2);
    }
    assert!(lead.check());
}

#[test]
fn case_46_one_old_header_costs_one_more_round_() {
    simulated(|world| Box::pin(case_46_one_old_header_costs_one_more_round(world)));
}

#[test]
fn case_46_one_old_header_costs_one_more_round_live() {
    live(Version::V3_4, |world| Box::pin(case_46_one_old_header_costs_one_more_round(world)));
}

/// The renewal is answered at raft term N, the read that was to confirm it at N + 1.
async fn case_46_s02_the_read_sees_the_next_raft_term(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    hold_a_reply(world, &peer, &term).await;
    let (sent, at) = (renewals(world), term.deadline());
    cluster.bump_raft_term();
    peer.faults.heal();
    let now = peer.clock.clone();
    let now = leadership_core::Clock::from_virtual(now);
    let released = now.now();
    let next = extended(world, &term).await;
    assert_eq!(renewals(world), sent + 1, "renewed once more");
    // The extension is the second renewal's, sent after the release: the first would give 100 ms less.
    assert!(next.after(Duration::from_nanos(64)) >= released.after(Duration::from_millis(4850)), "{next:?} {released:?} {at:?}");
    assert!(lead.check());
}

#[test]
fn case_46_s02_the_read_sees_the_next_raft_term_() {
    simulated(|world| Box::pin(case_46_s02_the_read_sees_the_next_raft_term(world)));
}

/// The only member this client knows leads etcd, is stopped, replaced, and wakes to answer what it held: renewals
/// with its old term and the full TTL that it did not grant. Nothing is extended by them.
async fn case_46_s02_a_stale_leader_answers(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let peer = world.peer_at(1, 0);
    let (lead, term) = lead(&peer, "k", "a").await;
    let at = extended(world, &term).await;
    cluster.member(0).stop();
    // Long enough for the election, and for renewals to be waiting at the stopped member.
    world.pass(Duration::from_millis(2500)).await;
    assert_eq!(term.deadline(), at);
    assert_ne!(cluster.leader(), Some(0), "the others have elected another");
    let sent = renewals(world);
    cluster.member(0).isolate(); // it wakes, answers its clients, and hears nothing of the others
    cluster.member(0).cont();
    world
        .until("the term is lost", async || {
            assert!(term.deadline() == at || !term.is_valid(), "a stale leader's reply extended the term");
            term.is_lost()
        })
        .await;
    assert!(renewals(world) > sent, "it did answer renewals");
    assert_eq!(term.lost_reason(), Some(Reason::Expired));
    world.until("the authority has ended", async || !lead.check()).await;
}

#[test]
fn case_46_s02_a_stale_leader_answers_() {
    simulated_with(Cluster::builder().members(3), |world| Box::pin(case_46_s02_a_stale_leader_answers(world)));
}

/// The same on real etcd: both followers are stopped, and the leader answers renewals that no quorum stands behind.
async fn case_46_s02_a_leader_without_followers_answers(world: &World) {
    let etcd = world.etcd.as_ref().unwrap();
    let leader = etcd.leader().await.unwrap();
    let peer = world.peer_at(1, leader);
    let (lead, term) = lead(&peer, "k", "a").await;
    extended(world, &term).await;
    let answered = Arc::new(AtomicU64::new(0));
    let counted = answered.clone();
    peer.faults.map_keepalive(move |reply| {
        if reply.ttl > 0 {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    for follower in (0..3).filter(|member| *member != leader) {
        etcd.member(follower).stop_signal().unwrap();
    }
    // What was confirmed just before they stopped has arrived by now, and no renewal is due before that.
    world.pass(INTERVAL / 4).await;
    let (at, before) = (term.deadline(), answered.load(Ordering::Relaxed));
    world
        .until("the term is lost", async || {
            assert!(term.deadline() == at || !term.is_valid(), "a leader without a quorum extended the term");
            term.is_lost()
        })
        .await;
    assert!(answered.load(Ordering::Relaxed) > before, "it did answer renewals");
    assert_eq!(term.lost_reason(), Some(Reason::Expired));
    world.until("the authority has ended", async || !lead.check()).await;
}

/// With this election timeout a leader that hears of nobody stays in office for 3 s at least.
fn slow_elections(version: Version) -> leadership_tests::etcd::Options {
    Etcd::options(version).members(3).timing(Duration::from_millis(100), Duration::from_secs(3))
}

#[test]
fn case_46_s02_a_leader_without_followers_answers_live() {
    live_with(slow_elections(Version::V3_7), |world| Box::pin(case_46_s02_a_leader_without_followers_answers(world)));
}

#[test]
fn case_46_s02_a_leader_without_followers_answers_live_3_4() {
    live_with(slow_elections(Version::V3_4), |world| Box::pin(case_46_s02_a_leader_without_followers_answers(world)));
}

/// However many things end a term at once, it is lost once, for the first of them; who never led is never told.
async fn case_37_lost_once_for_each_term(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, term) = lead(&a, "k", "a").await;
    let said = record(&term);
    let second = b.leadership("k");
    assert!(second.campaign(CampaignOptions::new("b")).await.is_err());
    assert!(second.term().is_none(), "a candidate has no term to lose");
    world.delete("k").await;
    world.until("the loss", async || term.is_lost()).await;
    a.clock.jump(TTL * 2);
    first.reset().await.unwrap();
    world.pass(TTL).await;
    a.client.close().await.unwrap();
    assert_eq!(*said.borrow(), [TermState::Leading, TermState::Lost(Reason::KeyDeleted)]);
    assert_eq!(term.lost_reason(), Some(Reason::KeyDeleted), "the first reason stays");
    assert_eq!(term.lost().await, Reason::KeyDeleted);
}

#[test]
fn case_37_lost_once_for_each_term_() {
    simulated(|world| Box::pin(case_37_lost_once_for_each_term(world)));
}

/// Closing: a term, a campaign and a watch under way.
async fn closing_releases_everything(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (_held, term) = lead(&a, "k1", "a").await;
    let (_other, _) = lead(&b, "k2", "b").await;
    let (waiting, watching) = (a.leadership("k3"), a.leadership("k2"));
    let plain = Lease::grant(&a.client, TTL, "plain").await.unwrap();
    plain.keep_alive().unwrap();
    a.faults.hang(Target::txn_putting("k3"));
    let hung = async { waiting.campaign(CampaignOptions::new("a")).await };
    let watch = async { watching.watch(0).await };
    let close = async {
        world.pass(Duration::from_millis(300)).await;
        a.client.close().await
    };
    let (hung, watch, closed) = tokio::join!(hung, watch, close);
    closed.unwrap();
    assert!(matches!(hung, Err(Error::Cancelled { .. } | Error::Closed)), "{hung:?}");
    assert!(matches!(watch, Ok(leadership_core::WatchEnd::Closed)), "{watch:?}");
    assert_eq!(term.lost_reason(), Some(Reason::Closed));
    assert!(plain.is_expired());
    let mine = world.get("k2").await.unwrap().lease;
    assert_eq!(world.leases().await, [mine], "of all leases only the other client's is left");
    assert_eq!(world.keys("k1").await, ["k1.resigned"]);
    assert!(world.keys("k3").await.is_empty());
    a.client.close().await.unwrap();
}

#[test]
fn closing_releases_everything_() {
    simulated(|world| Box::pin(closing_releases_everything(world)));
}

#[test]
fn closing_releases_everything_live() {
    live(Version::V3_7, |world| Box::pin(closing_releases_everything(world)));
}

/// etcd comes back empty: same cluster id, everything lower. Every term ends at once, and the client needs no restart.
async fn case_49_the_cluster_was_wiped(world: &World) {
    let peer = world.peer(1);
    let (first, one) = lead(&peer, "k1", "a").await;
    let (second, two) = lead(&peer, "k2", "a").await;
    for number in 0..40 {
        world.put("filler", &number.to_string(), 0).await; // so that the new one's revision is below for a while
    }
    extended(world, &one).await;
    match (&world.cluster, &world.etcd) {
        (Some(cluster), _) => cluster.wipe(),
        (_, Some(etcd)) => etcd.wipe().await.unwrap(),
        _ => panic!("a world of neither kind"),
    }
    let bound = within(world, CYCLE, TTL);
    world.until_within(bound, "both terms have ended", async || !first.check() && !second.check()).await;
    for term in [&one, &two] {
        assert_eq!(term.lost().await, Reason::ClusterChanged);
    }
    let next = async || first.campaign(CampaignOptions::new("again").ttl(TTL)).await;
    let term = next().await.unwrap();
    first.keep().unwrap();
    world.pass(TTL * 2).await;
    assert!(first.check() && term.is_valid() && !one.is_valid(), "the new cluster's renewals count: {term:?}");
    assert_eq!(world.get("k1").await.unwrap().value, b"again");
}

#[test]
fn case_49_the_cluster_was_wiped_() {
    simulated(|world| Box::pin(case_49_the_cluster_was_wiped(world)));
}

#[test]
fn case_49_the_cluster_was_wiped_live() {
    live(Version::V3_7, |world| Box::pin(case_49_the_cluster_was_wiped(world)));
}

/// It comes back with a lower raft term, and its revision has overtaken the old one before the client looks: the terms
/// end, and the writes of the next campaign show that it is another cluster.
async fn case_49_the_wiped_cluster_has_overtaken(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    let raised = |world: &World| world.cluster.as_ref().map_or(0, |cluster| cluster.raft_term());
    match (&world.cluster, &world.etcd) {
        (Some(cluster), _) => (0..3).for_each(|_| cluster.bump_raft_term()),
        (_, Some(etcd)) => etcd.restart_all().await.unwrap(), // elects itself at the next raft term
        _ => panic!("a world of neither kind"),
    }
    let old = raised(world);
    extended(world, &term).await;
    peer.faults.hang(Method::Any);
    peer.faults.break_streams(Method::Any);
    match (&world.cluster, &world.etcd) {
        (Some(cluster), _) => cluster.wipe(),
        (_, Some(etcd)) => etcd.wipe().await.unwrap(),
        _ => panic!("a world of neither kind"),
    }
    for number in 0..60 {
        world.put("filler", &number.to_string(), 0).await;
    }
    assert!(world.etcd.is_some() || raised(world) < old, "lower than before");
    peer.faults.heal();
    world.until_within(TTL, "the term has ended", async || !lead.check()).await;
    let campaign = async || lead.campaign(CampaignOptions::new("again").ttl(TTL)).await;
    let noticed = campaign().await;
    assert!(matches!(&noticed, Err(Error::ClusterChanged { message, .. }) if message.contains("raft term")), "{noticed:?}");
    let next = campaign().await.unwrap();
    lead.keep().unwrap();
    world.pass(TTL * 2).await;
    assert!(next.is_valid() && !term.is_valid(), "the new cluster's renewals count: {next:?}");
}

#[test]
fn case_49_the_wiped_cluster_has_overtaken_() {
    simulated(|world| Box::pin(case_49_the_wiped_cluster_has_overtaken(world)));
}

#[test]
fn case_49_the_wiped_cluster_has_overtaken_live() {
    live(Version::V3_7, |world| Box::pin(case_49_the_wiped_cluster_has_overtaken(world)));
}

/// An unavailable member under the renewals only: what the reads learn is not lost either.
async fn a_refused_stream_is_opened_again(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    extended(world, &term).await;
    peer.faults.answer(Method::LeaseKeepAlive, 3, Status::new(Code::Unavailable, "etcdserver: no leader"));
    peer.faults.break_streams(Method::LeaseKeepAlive);
    world.pass(TTL * 2).await;
    assert!(lead.check(), "{term:?}");
}

#[test]
fn case_16_a_refused_stream_is_opened_again() {
    simulated(|world| Box::pin(a_refused_stream_is_opened_again(world)));
}
