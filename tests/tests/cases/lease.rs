//! Leases by themselves: the reference's grant, close, expiry and keepalive with equal, larger and zero TTLs.
//! Owns what a lease says of itself; leading on one is in `keeping.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use leadership_core::{Error, Lease, Reason};
use leadership_testkit::Method;
use leadership_tests::etcd::Version;
use leadership_tests::world::{World, live, simulated};

use crate::keeping::TTL;

async fn grant_close_and_expiry(world: &World) {
    let peer = world.peer(1);
    match Lease::grant(&peer.client, Duration::ZERO, "zero").await {
        Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, "ttl"),
        other => panic!("{other:?}"),
    }
    assert!(world.leases().await.is_empty(), "S13: nothing was made");
    let first = Lease::grant(&peer.client, TTL, "first").await.unwrap();
    let second = Lease::grant(&peer.client, Duration::from_secs(2), "second").await.unwrap();
    assert!(first.id() != second.id() && first.purpose() == "first");
    assert!(!first.is_expired() && !second.is_expired());
    let (left, granted) = peer.client.lease_time_left(first.id()).await.unwrap().unwrap();
    assert_eq!(granted, first.ttl());
    assert!(left <= granted && first.remaining() < granted, "we believe in less than etcd does");
    // Closed: expired here at once, gone in etcd when it returns; again is success, and so is one that etcd forgot.
    let closing = first.close();
    tokio::pin!(closing);
    closing.await.unwrap();
    assert!(first.is_expired() && first.remaining() == Duration::ZERO);
    assert!(!world.leases().await.contains(&first.id()));
    assert_eq!(peer.client.lease_time_left(first.id()).await.unwrap(), None);
    first.close().await.unwrap();
    assert!(matches!(first.keep_alive(), Err(Error::NotLeader { reason: Some(Reason::Closed), .. })), "never revived");
    // Not kept: expired here before etcd thinks so.
    let id = second.id();
    world.until("it expires", async || second.is_expired()).await;
    assert!(world.leases().await.contains(&id), "expired here while etcd still has it");
    assert!(second.keep_alive().is_err());
    world.until("it expires in etcd too", async || !world.leases().await.contains(&id)).await;
    assert!(second.is_expired());
    second.close().await.unwrap();
    // Dropped: revoked.
    drop(Lease::grant(&peer.client, TTL, "dropped").await.unwrap());
    world.until("the dropped one is revoked", async || world.leases().await.is_empty()).await;
}

#[test]
fn reference_lease_grant_close_and_expiry() {
    simulated(|world| Box::pin(grant_close_and_expiry(world)));
}

#[test]
fn reference_lease_grant_close_and_expiry_live() {
    live(Version::V3_4, |world| Box::pin(grant_close_and_expiry(world)));
}

/// What a keepalive answers counts: an equal TTL extends as before, a larger one further, zero ends the lease.
async fn keepalive_with_equal_larger_and_zero_ttl(world: &World) {
    let peer = world.peer(1);
    let lease = Lease::grant(&peer.client, TTL, "kept").await.unwrap();
    let answered = Arc::new(AtomicI64::new(5));
    let ttl = answered.clone();
    peer.faults.map_keepalive(move |reply| reply.ttl = ttl.load(Ordering::Relaxed));
    lease.keep_alive().unwrap();
    lease.keep_alive().unwrap(); // idempotent
    world.pass(TTL * 2).await;
    assert!(!lease.is_expired() && lease.remaining() <= TTL && lease.remaining() > Duration::from_secs(3));
    answered.store(20, Ordering::Relaxed);
    world.until("the larger TTL counts", async || lease.remaining() > TTL * 3).await;
    // 20 s less 1 % less 100 ms.
    assert!(lease.remaining() <= Duration::from_millis(19_700), "{:?}", lease.remaining());
    answered.store(5, Ordering::Relaxed);
    world.until("and so does the smaller one after it", async || lease.remaining() <= TTL).await;
    answered.store(0, Ordering::Relaxed);
    world.until_within(Duration::from_millis(2500), "zero ends it", async || lease.is_expired()).await;
    assert!(lease.remaining() == Duration::ZERO && lease.keep_alive().is_err());
    answered.store(5, Ordering::Relaxed);
    world.pass(Duration::from_secs(2)).await;
    assert!(lease.is_expired(), "for good");
}

#[test]
fn reference_keepalive_with_equal_larger_and_zero_ttl() {
    simulated(|world| Box::pin(keepalive_with_equal_larger_and_zero_ttl(world)));
}

#[test]
fn reference_keepalive_with_equal_larger_and_zero_ttl_live() {
    live(Version::V3_7, |world| Box::pin(keepalive_with_equal_larger_and_zero_ttl(world)));
}

/// A lease that was revoked behind the back is noticed by its next renewal, and is not renewed over and over.
#[test]
fn case_12_a_plain_lease_revoked_behind_the_back() {
    simulated(|world| {
        Box::pin(async move {
            let peer = world.peer(1);
            let lease = Lease::grant(&peer.client, TTL, "plain").await.unwrap();
            lease.keep_alive().unwrap();
            world.pass(TTL).await;
            world.revoke(lease.id()).await;
            world.until_within(Duration::from_millis(1300), "it is noticed", async || lease.is_expired()).await;
            let sent = world.cluster.as_ref().unwrap().stats().keepalives;
            world.pass(TTL * 2).await;
            assert_eq!(world.cluster.as_ref().unwrap().stats().keepalives, sent, "a dead lease is not renewed");
            assert_eq!(peer.faults.calls(Method::LeaseKeepAlive), 1);
        })
    });
}
