//! Cases 33 and 38: leaving. Owns what a resign does to key, lease and state, and that an old term's end is its own.
//! What a successor makes of it is `takeover`'s.

use std::time::Duration;

use leadership_core::{Error, Op, Reason};
use leadership_testkit::Target;
use leadership_tests::both_worlds;
use leadership_tests::world::World;
use tonic::Status;

use crate::steps::{nothing_left, options, until_reached};

/// A resign deletes the key at once, not with the lease; one that meets errors keeps its state and can be asked again.
async fn a_resign_survives_errors(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let term = lead.campaign(options("a")).await.unwrap();
    lead.keep().unwrap();
    // No revoke is needed for it.
    peer.faults.hang(leadership_testkit::Method::LeaseRevoke);
    let started = tokio::time::Instant::now();
    lead.reset().await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(world.get("k").await, None);
    assert_eq!(world.get("k.resigned").await.unwrap().value, term.token().to_string().into_bytes());
    peer.faults.heal();
    lead.reset().await.unwrap(); // again: nothing to do

    let term = lead.campaign(options("a")).await.unwrap();
    lead.keep().unwrap();
    peer.faults.answer(Target::txn_deleting("k"), u64::MAX, Status::unavailable("etcdserver: request timed out"));
    let failed = lead.reset().await.unwrap_err();
    assert!(failed.is_retriable(), "{failed:?}");
    assert!(!lead.check() && !term.is_valid());
    assert_eq!(term.lost_reason(), Some(Reason::Resigned), "its state is kept");
    assert!(world.get("k").await.is_some());
    peer.faults.heal();
    lead.reset().await.unwrap();
    assert_eq!(world.get("k").await, None);
    assert_eq!(world.get("k.resigned").await.unwrap().value, term.token().to_string().into_bytes());
    nothing_left(world, "k", &[], Duration::from_secs(12)).await;
}

both_worlds!(a_resign_survives_errors, case_33_a_resign_survives_errors, case_33_live on V3_7);

/// What an old term hears late ends nothing of the new one.
async fn an_old_terms_failure_is_its_own(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let old = lead.campaign(options("a")).await.unwrap();
    lead.keep().unwrap();
    peer.faults.hold_keepalive_replies();
    let held = peer.faults.hold(Target::txn_putting("data"), 1);
    let mut commit = Box::pin(old.txn().then([Op::put("data", "old")]).commit());
    until_reached(&held, &mut commit).await;
    lead.reset().await.unwrap();
    let new = lead.campaign(options("a")).await.unwrap();
    lead.keep().unwrap();
    held.release();
    let failed = commit.await;
    assert!(matches!(failed, Err(Error::NotLeader { reason: Some(Reason::Resigned), .. })), "{failed:?}");
    peer.faults.release_keepalive_replies();
    world.pass(Duration::from_secs(6)).await;
    assert!(new.is_valid() && lead.check(), "{:?}", new.lost_reason());
    assert!(!old.is_valid());
    assert_eq!(old.lost_reason(), Some(Reason::Resigned));
    assert_eq!(world.get("data").await, None);
    new.txn().then([Op::put("data", "new")]).commit().await.unwrap();
}

both_worlds!(an_old_terms_failure_is_its_own, case_38_an_old_terms_failure_is_its_own, case_38_live on V3_4);
