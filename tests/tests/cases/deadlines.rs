//! Case 18, S2's arithmetic, S3 and S9: deadlines, the clock, and what is announced before they come.
//! Owns time; what ends a term while etcd answers is in `keeping.rs`.

use std::time::Duration;

use leadership_core::{CampaignOptions, Clock, LeadershipOptions, Lease, Reason, TermState};
use leadership_testkit::{Cluster, Method, Target};
use leadership_tests::etcd::Version;
use leadership_tests::world::{Peer, World, live, record, simulated, simulated_with};

use crate::keeping::{INTERVAL, TTL, extended, lead};

/// 5 s less 1 % less 100 ms.
const VALIDITY: Duration = Duration::from_millis(4850);
/// TTL/10.
const STEP_DOWN: Duration = Duration::from_millis(500);
/// A deadline is kept in steps of so much, rounded down.
const GRAIN: Duration = Duration::from_nanos(64);

fn clock(peer: &Peer) -> Clock {
    Clock::from_virtual(peer.clock.clone())
}

/// etcd answers nothing to this peer any more, and does not say so.
fn hang(world: &World, peer: &Peer) {
    match &world.etcd {
        Some(etcd) => etcd.member(0).stop_signal().unwrap(),
        None => {
            peer.faults.hang(Method::Any);
            peer.faults.silence_streams(Method::Any);
        }
    }
}

fn go_on(world: &World, peer: &Peer) {
    match &world.etcd {
        Some(etcd) => etcd.member(0).cont().unwrap(),
        None => peer.faults.heal(),
    }
}

async fn s02_deadlines_to_the_nanosecond(world: &World) {
    // (parts per million, requested seconds, milliseconds of validity)
    for (number, (drift, ttl, validity)) in (1..).zip([(10_000, 5, 4850), (0, 5, 4900), (50_000, 10, 9400), (100_000, 30, 26_900)]) {
        let peer = world.peer_with(number, |options| options.drift_ppm(drift));
        let sent = clock(&peer).now();
        let lease = Lease::grant(&peer.client, Duration::from_secs(ttl), "exact").await.unwrap();
        assert_eq!(clock(&peer).now(), sent, "no virtual time passes in a grant");
        let validity = Duration::from_millis(validity);
        let exact = |left: Duration| left <= validity && left + GRAIN > validity;
        assert!(exact(lease.remaining()), "{drift} ppm of {ttl} s: {:?}", lease.remaining());
        let lead = peer.leadership("k");
        let term = lead.campaign(CampaignOptions::new("a").ttl(Duration::from_secs(ttl))).await.unwrap();
        // The campaign took the takeover delay, and the deadline still counts from the grant's sending.
        assert!(clock(&peer).now().since(sent) >= Duration::from_millis(100));
        assert!(exact(term.deadline().since(sent)), "{drift} ppm of {ttl} s: {:?}", term.deadline().since(sent));
        peer.client.close().await.unwrap();
    }
}

#[test]
fn s02_deadlines_to_the_nanosecond_() {
    simulated(|world| Box::pin(s02_deadlines_to_the_nanosecond(world)));
}

/// The reply comes 300 ms after the renewal was sent: those 300 ms are etcd's, not ours.
async fn s02_the_stamp_is_the_sending(world: &World) {
    let peer = world.peer(1);
    let (_lead, term) = lead(&peer, "k", "a").await;
    let last = extended(world, &term).await;
    let lasted = clock(&peer).now();
    peer.faults.hold_keepalive_replies();
    world.pass(INTERVAL + Duration::from_millis(300)).await;
    assert_eq!(term.deadline(), last, "nothing is extended without a reply");
    peer.faults.heal();
    let next = extended(world, &term).await;
    let received = clock(&peer).now();
    let step = next.since(last);
    let slack = if world.cluster.is_some() { Duration::from_millis(60) } else { Duration::from_millis(200) };
    assert!(step <= INTERVAL + slack, "one interval after the sending before it, not {step:?}");
    assert!(received.since(lasted) >= INTERVAL + Duration::from_millis(300));
    assert!(next.since(received) <= VALIDITY - Duration::from_millis(300) + slack, "{:?}", next.since(received));
}

#[test]
fn s02_the_stamp_is_the_sending_() {
    simulated(|world| Box::pin(s02_the_stamp_is_the_sending(world)));
}

#[test]
fn s02_the_stamp_is_the_sending_live() {
    live(Version::V3_7, |world| Box::pin(s02_the_stamp_is_the_sending(world)));
}

/// Renewals are answered, the reads that must confirm them hang: the term ends at its first deadline.
async fn s02_no_extension_without_a_confirming_read(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let term = lead.campaign(CampaignOptions::new("a").ttl(TTL)).await.unwrap();
    let (lease, at) = (term.lease_id(), term.deadline());
    peer.faults.hang(Target::txn_reading());
    lead.keep().unwrap();
    let clock = clock(&peer);
    world
        .until("the authority has ended", async || {
            assert!(term.deadline() == at || !lead.check(), "extended without a confirming read");
            assert!(clock.now() < at || !lead.check());
            !lead.check()
        })
        .await;
    assert_eq!(term.lost_reason(), Some(Reason::Expired));
    // The key goes by a guarded delete; until then etcd's lease had been renewed all the time.
    world.until("the key and the lease are released", async || !world.leases().await.contains(&lease)).await;
    assert_eq!(world.get("k").await, None);
}

#[test]
fn s02_no_extension_without_a_confirming_read_() {
    simulated(|world| Box::pin(s02_no_extension_without_a_confirming_read(world)));
}

#[test]
fn s02_no_extension_without_a_confirming_read_live() {
    live(Version::V3_4, |world| Box::pin(s02_no_extension_without_a_confirming_read(world)));
}

/// The machine was suspended for longer than the TTL: the very first look says no, before any timer has run.
async fn case_18_s03_the_clock_jumps(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    let said = record(&term);
    extended(world, &term).await;
    peer.clock.jump(Duration::from_secs(3));
    assert!(lead.check() && !term.is_lost(), "a jump within the deadline loses nothing");
    extended(world, &term).await;
    assert!(term.remaining() > Duration::from_secs(4), "and the next renewal makes good for it");
    peer.clock.jump(VALIDITY);
    assert!(!lead.check(), "the first look, with no await since the jump");
    assert!(!term.is_valid() && term.is_lost());
    assert_eq!(term.lost_reason(), Some(Reason::Suspended));
    let lost = "the announcement";
    let told = world.until_within(Duration::from_secs(1), lost, async || said.borrow().last() == Some(&TermState::Lost(Reason::Suspended))).await;
    assert!(told < Duration::from_millis(100), "case 55: at the wake, not by the runtime's timers: {told:?}");
    let losses = said.borrow().iter().filter(|state| matches!(state, TermState::Lost(_))).count();
    assert_eq!(losses, 1, "{said:?}");
    // etcd still has the lease, and answers its renewals: nothing of that revives the term.
    world.pass(INTERVAL * 2).await;
    assert!(!lead.check() && !term.is_valid());
    world.until("the key is released", async || world.get("k").await.is_none()).await;
}

#[test]
fn case_18_s03_the_clock_jumps_() {
    simulated(|world| Box::pin(case_18_s03_the_clock_jumps(world)));
}

#[test]
fn case_18_s03_the_clock_jumps_live() {
    live(Version::V3_7, |world| Box::pin(case_18_s03_the_clock_jumps(world)));
}

/// etcd hangs. Jeopardy after two intervals without an extension, lost by the step-down margin before the deadline,
/// still valid until the deadline, and all of it said once.
async fn s09_lost_is_announced_before_the_deadline(world: &World) {
    let peer = world.peer(1);
    let clock = clock(&peer);
    let (lead, term) = lead(&peer, "k", "a").await;
    let said = record(&term);
    let at = extended(world, &term).await;
    hang(world, &peer);
    world.until("jeopardy", async || said.borrow().len() == 2).await;
    assert_eq!(said.borrow()[1], TermState::Jeopardy);
    assert!(!term.is_lost() && lead.check());
    let left = at.since(clock.now());
    assert!(left > Duration::from_secs(2) && left < VALIDITY - INTERVAL, "two intervals without one: {left:?} left");
    world.until("the loss", async || said.borrow().len() == 3).await;
    let now = clock.now();
    assert_eq!(said.borrow()[2], TermState::Lost(Reason::Expired));
    assert_eq!(term.deadline(), at, "the deadline is frozen");
    let late = now.since(at.before(STEP_DOWN));
    let most = if world.cluster.is_some() { Duration::from_millis(10) } else { Duration::from_millis(200) };
    assert!(now >= at.before(STEP_DOWN) && late < most, "announced {late:?} after deadline − margin");
    assert!(term.is_lost() && lead.check() && term.is_valid(), "authority until the deadline itself");
    // A renewal that comes now is too late.
    go_on(world, &peer);
    world.until("the authority has ended", async || !lead.check()).await;
    assert!(clock.now() >= at && clock.now().since(at) < most);
    world.until("the key is released", async || world.get("k").await.is_none()).await;
    assert_eq!(said.borrow().len(), 3, "once");
}

#[test]
fn s09_lost_is_announced_before_the_deadline_() {
    simulated(|world| Box::pin(s09_lost_is_announced_before_the_deadline(world)));
}

#[test]
fn s09_lost_is_announced_before_the_deadline_live() {
    live(Version::V3_7, |world| Box::pin(s09_lost_is_announced_before_the_deadline(world)));
}

async fn s09_jeopardy_then_secured(world: &World) {
    let peer = world.peer(1);
    let (lead, term) = lead(&peer, "k", "a").await;
    let said = record(&term);
    extended(world, &term).await;
    hang(world, &peer);
    world.until("jeopardy", async || said.borrow().len() == 2).await;
    go_on(world, &peer);
    world.until("secured", async || said.borrow().len() == 3).await;
    assert_eq!(*said.borrow(), [TermState::Leading, TermState::Jeopardy, TermState::Leading]);
    world.pass(TTL).await;
    assert!(lead.check() && said.borrow().len() == 3, "and it stays so");
}

#[test]
fn s09_jeopardy_then_secured_() {
    simulated(|world| Box::pin(s09_jeopardy_then_secured(world)));
}

#[test]
fn s09_jeopardy_then_secured_live() {
    live(Version::V3_4, |world| Box::pin(s09_jeopardy_then_secured(world)));
}

/// etcd hangs from the very win on: there is jeopardy all the same, not a loss out of the blue.
async fn s09_jeopardy_in_the_first_ttl(world: &World) {
    let peer = world.peer(1);
    let (_lead, term) = lead(&peer, "k", "a").await;
    let said = record(&term);
    hang(world, &peer);
    world.until("the loss", async || term.is_lost() && matches!(said.borrow().last(), Some(TermState::Lost(_)))).await;
    assert_eq!(*said.borrow(), [TermState::Leading, TermState::Jeopardy, TermState::Lost(Reason::Expired)]);
}

#[test]
fn s09_jeopardy_in_the_first_ttl_() {
    simulated(|world| Box::pin(s09_jeopardy_in_the_first_ttl(world)));
}

/// Without `keep` there is one lease's worth of term, no jeopardy, and a margin of the caller's.
async fn s09_a_margin_of_the_callers(world: &World) {
    let peer = world.peer(1);
    let clock = clock(&peer);
    let margin = Duration::from_millis(1300);
    let lead = peer.leadership_with("k", LeadershipOptions::default().step_down_margin(margin));
    let term = lead.campaign(CampaignOptions::new("a").ttl(TTL)).await.unwrap();
    let said = record(&term);
    let at = term.deadline();
    assert_eq!(term.lost().await, Reason::Expired);
    let now = clock.now();
    assert!(now >= at.before(margin) && now.since(at.before(margin)) < Duration::from_millis(10));
    assert!(term.is_valid() && term.deadline() == at);
    world.until("the authority has ended", async || !lead.check()).await;
    assert!(clock.now() >= at);
    assert_eq!(*said.borrow(), [TermState::Leading, TermState::Lost(Reason::Expired)]);
}

#[test]
fn s09_a_margin_of_the_callers_() {
    simulated_with(Cluster::builder(), |world| Box::pin(s09_a_margin_of_the_callers(world)));
}
