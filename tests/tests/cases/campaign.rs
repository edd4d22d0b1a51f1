//! Cases 01–04, 07 and 08: campaigning. Owns what may go wrong between the wish to lead and the term.
//! Giving a campaign up is `giving_up`'s, the takeover delay `takeover`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leadership_core::{Compare, CompareOp, Error, LeadershipOptions, Reason};
use leadership_testkit::{Cluster, Lost, Target};
use leadership_tests::both_worlds;
use leadership_tests::etcd::Version;
use leadership_tests::world::{World, live, simulated, simulated_with};
use tokio::time::Instant;

use crate::steps::{DELAY, delaying, held_by, nothing_left, options, until_reached};

async fn two_contenders_win_lose_and_reset(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership("k"), b.leadership("k"));
    let term = first.campaign(options("a")).await.unwrap();
    first.keep().unwrap();
    assert!(first.check() && term.is_valid() && !term.is_lost());
    match second.campaign(options("b")).await {
        Err(Error::NotElected { holder: Some(leader), .. }) => assert_eq!(leader.value, b"a"),
        other => panic!("{other:?}"),
    }
    assert!(!second.check());
    world.pass(Duration::from_secs(12)).await;
    assert!(first.check(), "kept for more than two TTLs: {:?}", term.lost_reason());
    let reset = first.reset();
    assert!(!first.check(), "at once, before the reset is awaited");
    reset.await.unwrap();
    assert_eq!(term.lost_reason(), Some(Reason::Resigned));
    assert_eq!(world.get("k").await, None);
    let term = second.campaign(options("b")).await.unwrap();
    assert!(second.check() && term.token() > 0);
    assert!(!first.check());
}

#[test]
fn reference_two_contenders_win_lose_and_reset() {
    simulated(|world| Box::pin(two_contenders_win_lose_and_reset(world)));
}

#[test]
fn reference_two_contenders_win_lose_and_reset_live() {
    live(Version::V3_4, |world| Box::pin(two_contenders_win_lose_and_reset(world)));
}

/// Nothing says "leader" before the win is proven: not with the lease granted, not with the key put, not in the delay.
async fn no_check_before_the_term(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership_with("k", delaying());
    let request = peer.faults.hold(Target::txn_putting("k"), 1);
    let reply = peer.faults.hold_reply(Target::txn_putting("k"), 1);
    let mut campaign = Box::pin(lead.campaign(options("a")));
    let not_leader = || {
        assert!(!lead.check() && lead.term().is_none() && lead.lease().is_none());
        assert!(matches!(lead.keep(), Err(Error::NotLeader { reason: None, .. })));
        assert!(matches!(lead.txn(), Err(Error::NotLeader { reason: None, .. })));
    };
    until_reached(&request, &mut campaign).await;
    assert_eq!(world.leases().await.len(), 1, "granted");
    not_leader();
    request.release();
    until_reached(&reply, &mut campaign).await;
    assert!(world.get("k").await.is_some(), "put");
    not_leader();
    reply.release();
    tokio::select! {
        biased;
        early = &mut campaign => panic!("within the takeover delay: {early:?}"),
        () = world.pass(DELAY * 8 / 10) => not_leader(),
    }
    let term = campaign.await.unwrap();
    assert!(lead.check() && term.is_valid() && lead.lease().is_some());
}

both_worlds!(no_check_before_the_term, case_01_no_check_before_the_term, case_01_live on V3_7);

/// A lost campaign: not leader, and its lease, registration and key are gone when the caller hears of it.
async fn a_lost_campaign_leaves_nothing(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership("k"), b.leadership("k"));
    let term = first.campaign(options("a")).await.unwrap();
    first.keep().unwrap();
    for _ in 0..3 {
        held_by(second.campaign(options("b")).await, "a");
        assert!(!second.check() && second.term().is_none() && second.lease().is_none());
        assert_eq!(world.keys("k").await, ["k"]);
        assert_eq!(world.leases().await, [term.lease_id()]);
    }
    assert!(first.check());
    // One that fails because etcd is away leaves nothing either.
    first.reset().await.unwrap();
    b.faults.refuse(Target::txn_putting("k"), u64::MAX);
    let failed = second.campaign(options("b")).await.unwrap_err();
    assert!(failed.is_retriable(), "{failed:?}");
    assert!(!second.check());
    nothing_left(world, "k", &[], Duration::from_millis(500)).await;
}

both_worlds!(a_lost_campaign_leaves_nothing, case_02_a_lost_campaign_leaves_nothing, case_02_live on V3_4);

/// The caller's compares hold in the very transaction that takes the key; conflict and failure are different errors.
async fn compares_are_in_the_campaigns_transaction(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership("k"), b.leadership("k"));
    world.put("priority", "1", 0).await;
    let when = |value: &str| options("a").compare(Compare::value("priority", CompareOp::Equal, value));
    // It still holds when the campaign is sent, and no longer when it arrives.
    let held = a.faults.hold(Target::txn_putting("k"), 1);
    let mut campaign = Box::pin(first.campaign(when("1")));
    until_reached(&held, &mut campaign).await;
    world.put("priority", "2", 0).await;
    held.release();
    assert!(matches!(campaign.await, Err(Error::CompareFailed { key }) if key == "k"));
    nothing_left(world, "k", &[], Duration::from_millis(500)).await;
    first.campaign(when("2")).await.unwrap();
    assert!(first.check());
    // Held by another: a conflict, whatever the compares say.
    held_by(second.campaign(options("b").compare(Compare::value("priority", CompareOp::Equal, "3"))).await, "a");
    held_by(second.campaign(options("b").compare(Compare::value("priority", CompareOp::Equal, "2"))).await, "a");
    // Every kind of compare gets there.
    first.reset().await.unwrap();
    let priority = world.get("priority").await.unwrap();
    let every = || {
        let equal = CompareOp::Equal;
        [
            Compare::mod_revision("priority", equal, priority.mod_revision),
            Compare::create_revision("priority", equal, priority.create_revision),
            Compare::version("priority", equal, priority.version),
            Compare::lease("priority", equal, 0),
            Compare::create_revision("absent", equal, 0),
            Compare::mod_revision("priority", CompareOp::Less, priority.mod_revision + 1),
            Compare::mod_revision("priority", CompareOp::Greater, priority.mod_revision - 1),
            Compare::value("priority", CompareOp::NotEqual, "1"),
        ]
    };
    let all = every().into_iter().fold(options("a"), leadership_core::CampaignOptions::compare);
    first.campaign(all).await.unwrap();
    first.reset().await.unwrap();
    let with_a_false_one = options("a").compare(Compare::version("priority", CompareOp::Less, priority.version));
    assert!(matches!(first.campaign(with_a_false_one).await, Err(Error::CompareFailed { .. })));
}

both_worlds!(
    compares_are_in_the_campaigns_transaction,
    case_03_compares_are_in_the_campaigns_transaction,
    case_03_live on V3_7
);

/// The reply is lost after the transaction was applied: the winner finds out that it won.
async fn a_winner_without_a_reply_finds_out(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let second = b.leadership("k");
    // At once with an error, twice in a row, or never: then only reading tells.
    for (lost, replies) in [(Lost::Error, 1), (Lost::Error, 2), (Lost::Never, 1)] {
        let first = a.leadership("k");
        a.faults.drop_replies(Target::txn_putting("k"), replies, lost);
        let term = first.campaign(options("a")).await.unwrap();
        assert!(first.check());
        let kv = world.get("k").await.unwrap();
        assert_eq!((kv.create_revision, kv.lease), (term.token(), term.lease_id()), "{lost:?}");
        assert_eq!(world.leases().await, [term.lease_id()]);
        held_by(second.campaign(options("b")).await, "a");
        term.txn().then([leadership_core::Op::put("data", "a")]).commit().await.unwrap();
        first.reset().await.unwrap();
        a.faults.heal();
    }
    // Never applied: it finds that out too, and the key is free.
    let first = a.leadership("k");
    let held = a.faults.hold(Target::txn_putting("k"), 1);
    let failed = first.campaign(options("a")).await.unwrap_err();
    assert!(held.is_reached() && failed.is_retriable(), "{failed:?}");
    nothing_left(world, "k", &[], Duration::from_millis(500)).await;
    // Applied, unheard, and by the time of asking another's: no win.
    let first = a.leadership("k");
    let reply = a.faults.hold_reply(Target::txn_putting("k"), 1);
    let mut campaign = Box::pin(first.campaign(options("a")));
    until_reached(&reply, &mut campaign).await;
    world.revoke(world.get("k").await.unwrap().lease).await;
    let other = second.campaign(options("b")).await.unwrap();
    let failed = campaign.await.unwrap_err();
    assert!(!first.check() && !matches!(failed, Error::Internal { .. }), "{failed:?}");
    assert!(second.check());
    assert_eq!(world.get("k").await.unwrap().lease, other.lease_id(), "the other's key is left alone");
}

both_worlds!(
    a_winner_without_a_reply_finds_out,
    case_04_a_winner_without_a_reply_finds_out,
    case_04_live on V3_7
);

/// etcd grants more than was asked for: renewals, deadline and watchdog go by what was granted.
async fn the_granted_ttl_counts(world: &World) {
    let peer = world.peer(1);
    let renewals = Arc::new(AtomicU64::new(0));
    let count = renewals.clone();
    peer.faults.map_keepalive(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let lead = peer.leadership("k");
    let term = lead.campaign(options("a").ttl(Duration::from_secs(1))).await.unwrap();
    let two = Duration::from_secs(2);
    assert_eq!(term.ttl(), two, "raised by etcd");
    // 2 s less 1 % and 100 ms; a deadline of the TTL asked for would be 890 ms.
    assert!(term.remaining() > Duration::from_millis(1000), "{:?}", term.remaining());
    assert!(term.remaining() <= Duration::from_millis(1881), "{:?}", term.remaining());
    lead.keep().unwrap();
    world.pass(Duration::from_secs(8)).await;
    assert!(lead.check(), "{:?}", term.lost_reason());
    // One each 400 ms is 20; by the TTL asked for it would be 40.
    let renewed = renewals.load(Ordering::Relaxed);
    assert!((15..=30).contains(&renewed), "{renewed} renewals");
    // The TTL of each reply counts: members clamp by their own flags.
    peer.faults.map_keepalive(|reply| reply.ttl = 1);
    world.until("the deadline goes by the last reply", async || {
        assert!(lead.check(), "{:?}", term.lost_reason());
        term.remaining() < Duration::from_millis(891) && {
            world.pass(Duration::from_millis(450)).await;
            term.remaining() > Duration::from_millis(300) && term.remaining() < Duration::from_millis(891)
        }
    })
    .await;
}

#[test]
fn case_07_the_granted_ttl_counts() {
    simulated_with(Cluster::builder().min_ttl(2), |world| Box::pin(the_granted_ttl_counts(world)));
}

/// Not asked for (‡), but real members do raise it.
#[test]
fn case_07_live() {
    live(Version::V3_7, |world| Box::pin(the_granted_ttl_counts(world)));
}

/// A failed campaign backs off by itself, so that a loop around it does not spin.
async fn a_failed_campaign_backs_off(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership("k"), b.leadership("k"));
    first.campaign(options("a")).await.unwrap();
    first.keep().unwrap();
    let spin = async |lead: &leadership_core::Leadership, span: Duration| {
        let started = Instant::now();
        let mut tries = 0;
        // Without any pause no virtual time would pass.
        while started.elapsed() < span && tries < 100 {
            held_by(lead.campaign(options("b")).await, "a");
            tries += 1;
        }
        tries
    };
    // Pauses of 25, 50, 100, 200, 400, 800, 1000, … ms on average: some 10 tries in 5 s.
    let tries = spin(&second, Duration::from_secs(5)).await;
    assert!((3..=30).contains(&tries), "{tries} campaigns in 5 s");
    // A win forgets it: the next failure starts at the first pause again.
    first.reset().await.unwrap();
    second.campaign(options("b")).await.unwrap();
    second.reset().await.unwrap();
    first.campaign(options("a")).await.unwrap();
    let started = Instant::now();
    held_by(second.campaign(options("b")).await, "a");
    held_by(second.campaign(options("b")).await, "a");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

both_worlds!(a_failed_campaign_backs_off, case_08_a_failed_campaign_backs_off, case_08_live on V3_4);

/// The frequency limiter through the public API: within its window, pruned on read, from many threads at once.
async fn the_campaign_history_counts_within_its_window(world: &World) {
    let peer = world.peer(1);
    let window = Duration::from_secs(2);
    let lead = peer.leadership_with("k", LeadershipOptions::default().campaign_window(window));
    assert_eq!(lead.campaign_times_num(), 0);
    lead.add_campaign_times();
    world.pass(Duration::from_millis(1200)).await;
    lead.add_campaign_times();
    lead.add_campaign_times();
    assert_eq!(lead.campaign_times_num(), 3);
    world.pass(Duration::from_millis(1200)).await;
    assert_eq!(lead.campaign_times_num(), 2, "the first is out of the window, though nobody added any since");
    world.pass(Duration::from_millis(1200)).await;
    assert_eq!(lead.campaign_times_num(), 0);
    // A suspend counts as time.
    lead.add_campaign_times();
    peer.clock.jump(window * 2);
    assert_eq!(lead.campaign_times_num(), 0);
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let _entered = runtime.enter(); // whose time it is
                for _ in 0..250 {
                    lead.add_campaign_times();
                    assert!(lead.campaign_times_num() >= 1);
                }
            });
        }
    });
    assert_eq!(lead.campaign_times_num(), 2000);
    lead.reset_campaign_times();
    assert_eq!(lead.campaign_times_num(), 0);
    // The default window is five minutes.
    let lead = peer.leadership("k");
    lead.add_campaign_times();
    peer.clock.jump(Duration::from_secs(298));
    assert_eq!(lead.campaign_times_num(), 1);
    peer.clock.jump(Duration::from_secs(3));
    assert_eq!(lead.campaign_times_num(), 0);
}

both_worlds!(
    the_campaign_history_counts_within_its_window,
    case_08_reference_the_campaign_history_counts_within_its_window,
    case_08_reference_the_campaign_history_live on V3_7
);
