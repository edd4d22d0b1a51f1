//! One lease for many electors (S8, S10, cases 12, 42), and several electors of one process on one key.
//! Owns what is shared and what is not; the loop of each is `electing`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leadership_core::{Elector, Error, Mode, Reason, SharedLease, Term};
use leadership_testkit::{Method, Target};
use leadership_tests::both_worlds;
use leadership_tests::world::{Peer, World, simulated};

const TTL: Duration = Duration::from_secs(3);
const BOUND: Duration = Duration::from_secs(30);

/// `key` in a queue if it begins with `q`.
fn elector(peer: &Peer, key: &str, lease: &SharedLease) -> Elector {
    let mode = if key.starts_with('q') { Mode::Queue } else { Mode::SingleKey };
    Elector::builder(&peer.client, key).mode(mode).value(key).cool_down(Duration::ZERO).lease(lease).start().unwrap()
}

async fn next(elector: &Elector) -> Term {
    tokio::time::timeout(BOUND, elector.next_term()).await.expect("a term within the bound").unwrap().expect("not closed")
}

async fn all(electors: &[Elector]) -> Vec<Term> {
    futures_util::future::join_all(electors.iter().map(next)).await
}

/// One lease and one renewal for all; one elector's end is its own; the last handle's end is the lease's.
async fn one_renewal_for_all(world: &World) {
    let peer = world.peer(1);
    let renewed = Arc::new(AtomicU64::new(0));
    let count = renewed.clone();
    peer.faults.map_keepalive(move |_| {
        count.fetch_add(1, Ordering::AcqRel);
    });
    let lease = peer.client.shared_lease(TTL).unwrap();
    assert_eq!((lease.id(), lease.ttl()), (None, TTL), "granted when it is needed");
    let electors: Vec<_> = ["k0", "k1", "k2", "q0", "q1", "q2"].map(|key| elector(&peer, key, &lease)).into();
    let mut terms = all(&electors).await;
    let id = lease.id().unwrap();
    assert_eq!(world.leases().await, [id]);
    assert!(terms.iter().all(|term| term.lease_id() == id));
    renewed.store(0, Ordering::Release);
    world.pass(2 * TTL).await;
    let renewals = renewed.load(Ordering::Acquire);
    assert!((8..=16).contains(&renewals), "{renewals} renewals in 2 TTL");
    // An end in order of a single key and of a queue, a drop, a resign: the others do not notice.
    drop(terms.pop().unwrap().let_go()); // q2
    electors[5].close().await.unwrap();
    drop(terms.remove(0)); // k0
    let again = next(&electors[0]).await;
    terms.remove(0).resign().await.unwrap(); // k1
    let (token, rejoined) = {
        let gone = terms.remove(1); // q0
        let token = gone.token();
        gone.resign().await.unwrap();
        (token, next(&electors[3]).await)
    };
    assert!(rejoined.token() > token, "the same key, and another creation");
    world.pass(2 * TTL).await;
    assert!(terms.iter().all(|term| term.is_valid()) && again.is_valid() && rejoined.is_valid());
    assert_eq!((terms.len(), lease.id()), (2, Some(id)));
    assert!(again.lease_id() == id && rejoined.lease_id() == id);
    drop((terms, again, rejoined, electors));
    world.until("no key is left", async || world.keys("k").await.iter().all(|key| key.ends_with(".resigned"))).await;
    drop(lease);
    world.until("nor the lease", async || world.leases().await.is_empty()).await;
}

both_worlds!(one_renewal_for_all, case_42_one_renewal_for_all, case_42_shared_lease_live on V3_7);

/// Case 12: a lease that dies takes all its terms, and each elector comes back on a fresh one.
async fn a_lease_that_dies(world: &World) {
    let peer = world.peer(1);
    let lease = peer.client.shared_lease(TTL).unwrap();
    let electors: Vec<_> = ["k0", "k1", "q0", "q1"].map(|key| elector(&peer, key, &lease)).into();
    let terms = all(&electors).await;
    let id = lease.id().unwrap();
    world.revoke(id).await;
    for term in &terms {
        let reason = tokio::time::timeout(TTL, term.lost()).await.expect("at once");
        assert!(matches!(reason, Reason::KeyDeleted | Reason::Revoked), "{reason}");
    }
    let tokens: Vec<_> = terms.iter().map(|term| term.token()).collect();
    drop(terms);
    let terms = all(&electors).await;
    assert!(terms.iter().zip(tokens).all(|(term, token)| term.token() > token));
    let fresh = lease.id().unwrap();
    assert_ne!(fresh, id);
    assert_eq!(world.leases().await, [fresh], "one for all again");
}

both_worlds!(a_lease_that_dies, case_12_a_shared_lease_that_dies, case_12_shared_lease_live on V3_4);

/// S10: who did not see its key deleted comes back on another lease; the terms on the old one go on until each ends.
#[test]
fn s10_a_lease_whose_key_was_not_seen_deleted_is_not_used_again() {
    simulated(|world| {
        Box::pin(async move {
            for (one, other) in [("k1", "k2"), ("q1", "q2")] {
                let peer = world.peer(1);
                let lease = peer.client.shared_lease(TTL).unwrap();
                let electors = [one, other].map(|key| elector(&peer, key, &lease));
                let mut terms = all(&electors).await;
                let id = lease.id().unwrap();
                let key = String::from_utf8(terms[0].key().to_vec()).unwrap();
                world.put(&key, "a stranger's", 0).await; // CREATE stays, LEASE does not
                assert_eq!(terms[0].lost().await, Reason::Overwritten);
                drop(terms.remove(0));
                world.until("it is of no more use", async || lease.id().is_none()).await;
                world.delete(&key).await;
                let again = next(&electors[0]).await;
                let fresh = lease.id().unwrap();
                assert_ne!(fresh, id);
                world.pass(2 * TTL).await;
                assert!(again.is_valid() && again.lease_id() == fresh);
                assert!(terms[0].is_valid() && terms[0].lease_id() == id, "not its fault");
                terms.remove(0).resign().await.unwrap();
                let joined = next(&electors[1]).await;
                assert_eq!(joined.lease_id(), fresh);
                world.until("nobody holds the old one", async || world.leases().await == [fresh]).await;
                drop((again, joined, electors, lease));
                world.until("nothing is left", async || world.leases().await.is_empty()).await;
            }
        })
    });
}

/// A key that etcd would not delete for longer than a lease of its own would live is deleted all the same: the shared
/// lease lives on, and with it the key would block the election.
#[test]
fn s6_the_release_on_a_living_lease_is_not_given_up() {
    simulated(|world| {
        Box::pin(async move {
            let peer = world.peer(1);
            let lease = peer.client.shared_lease(TTL).unwrap();
            let electors = ["k1", "q1"].map(|key| elector(&peer, key, &lease));
            let terms = all(&electors).await;
            let id = lease.id().unwrap();
            for term in &terms {
                let refused = tonic::Status::unavailable("etcdserver: request timed out");
                peer.faults.answer(Target::txn_deleting(term.key()), u64::MAX, refused);
            }
            drop(terms);
            world.pass(4 * TTL).await;
            peer.faults.heal();
            let terms = all(&electors).await;
            assert!(terms.iter().all(|term| term.lease_id() == id), "seen deleted: the lease is as good as before");
        })
    });
}

/// Case 06 on a lease that goes on: a place that is given up while its key is being put leaves none, whichever of the
/// two comes first, and with a reply that is lost.
#[test]
fn case_06_a_place_on_a_shared_lease_that_is_given_up_leaves_no_key() {
    simulated(|world| {
        Box::pin(async move {
            let peer = world.peer(1);
            let lease = peer.client.shared_lease(TTL).unwrap();
            let first = elector(&peer, "k", &lease);
            let _term = next(&first).await;
            let id = lease.id().unwrap();
            let own = format!("q/{id:x}");
            for round in ["before it is put", "after it was put", "with a lost reply"] {
                let queued = elector(&peer, "q", &lease);
                let putting = Target::txn_putting(own.as_str());
                let held = match round {
                    "before it is put" => Some(peer.faults.hold(putting, 1)),
                    "after it was put" => Some(peer.faults.hold_reply(putting, 1)),
                    _ => {
                        peer.faults.drop_replies(putting, 100, leadership_testkit::Lost::Never);
                        None
                    }
                };
                let waiting = tokio::task::spawn_local(queued.next_term());
                match &held {
                    Some(held) => held.reached().await,
                    None => world.until("it is put", async || world.get(&own).await.is_some()).await,
                }
                waiting.abort();
                drop(queued);
                world.pass(Duration::from_millis(500)).await;
                held.inspect(|held| held.release());
                peer.faults.heal();
                world.until_within(BOUND, round, async || world.get(&own).await.is_none()).await;
                world.pass(2 * TTL).await;
                assert!(world.keys("q/").await.is_empty(), "{round}: it came after all");
            }
            // After an unknown outcome the lease is not joined with again; what hangs on it goes on.
            let queued = elector(&peer, "q", &lease);
            let term = next(&queued).await;
            assert!(term.is_valid() && _term.is_valid());
        })
    });
}

/// On one key: with leases of their own each is a candidate; with one lease the second is refused by name.
async fn two_of_one_process_on_one_key(world: &World) {
    let peer = world.peer(1);
    for mode in [Mode::SingleKey, Mode::Queue] {
        let builder = |value: &str| Elector::builder(&peer.client, "k").mode(mode).value(value).ttl(TTL);
        let (one, two) = (builder("one").start().unwrap(), builder("two").start().unwrap());
        let term = next(&one).await;
        let early = tokio::time::timeout(2 * TTL, two.next_term()).await;
        assert!(early.is_err() && term.is_valid());
        let (second, ()) = tokio::join!(next(&two), async { term.resign().await.unwrap() });
        assert!(one.current().is_none() && two.is_leader());
        assert_eq!(second.value(), b"two");
        one.close().await.unwrap();
        assert!(second.is_valid(), "one's end is its own");
        drop((second, two));
        world.until("let go", async || world.leases().await.is_empty()).await;

        let lease = peer.client.shared_lease(TTL).unwrap();
        let first = builder("first").lease(&lease).start().unwrap();
        match builder("second").lease(&lease).start() {
            Err(Error::InvalidArgument { argument, why }) => assert!(argument == "lease" && why.contains('k'), "{why}"),
            other => panic!("{other:?}"),
        }
        let term = next(&first).await;
        drop(term);
        first.close().await.unwrap();
        drop(first);
        let mut again = None;
        world.until("it is free for another", async || {
            again = builder("again").lease(&lease).start().ok();
            again.is_some()
        })
        .await;
        drop(next(&again.unwrap()).await);
        let stranger = Elector::builder(&world.peer(2).client, "k").lease(&lease).start();
        assert!(matches!(stranger, Err(Error::InvalidArgument { argument, .. }) if argument == "lease"));
    }
    assert!(matches!(peer.client.shared_lease(Duration::ZERO), Err(Error::InvalidArgument { argument, .. }) if argument == "ttl"));
    let lease = peer.client.shared_lease(Duration::from_secs(1)).unwrap();
    let tight = Elector::builder(&peer.client, "k").lease(&lease).step_down_margin(Duration::from_millis(600)).start();
    assert!(matches!(tight, Err(Error::InvalidArgument { argument, .. }) if argument == "step_down_margin"));
    peer.client.close().await.unwrap();
    assert!(matches!(peer.client.shared_lease(TTL), Err(Error::Closed)));
    assert_eq!(peer.faults.calls(Method::Watch), 1, "one stream for all of it");
}

both_worlds!(two_of_one_process_on_one_key, s13_two_of_one_process_on_one_key, s13_two_of_one_process_live on V3_7);
