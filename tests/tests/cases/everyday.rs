//! The everyday calls beside the loop: one shot, guarded one-liners (cases 22, 25, 34, S8, S13).
//! Owns what they promise; the loop itself is `electing`'s, guarded transactions in full `writing`'s.

use std::time::Duration;

use leadership_core::{CampaignOptions, Compare, CompareOp, Elector, Error, Reason};
use leadership_tests::both_worlds;
use leadership_tests::world::{World, simulated};

const TTL: Duration = Duration::from_secs(3);

fn options(value: &str) -> CampaignOptions {
    CampaignOptions::new(value).ttl(TTL)
}

fn argument<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::InvalidArgument { argument, .. }) => argument,
        other => panic!("{other:?}"),
    }
}

async fn nothing_is_left(world: &World) {
    world.until("nothing is left", async || world.get("k").await.is_none() && world.leases().await.is_empty()).await;
}

/// One term and no second one, whatever ends it; a future that is dropped leaves nothing.
async fn one_shot(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let term = one.client.lead("k", options("one")).await.unwrap();
    assert!(term.is_valid());
    let second = tokio::time::timeout(3 * TTL, two.client.lead("k", options("two"))).await;
    assert!(second.is_err() && term.is_valid(), "kept, and waited for");
    let (second, ()) = tokio::join!(two.client.lead("k", options("two")), async {
        world.pass(Duration::from_secs(1)).await;
        drop(term);
    });
    let second = second.unwrap();
    assert_eq!(world.get("k").await.unwrap().value, b"two");
    world.delete("k").await;
    assert_eq!(second.lost().await, Reason::KeyDeleted);
    world.pass(2 * TTL).await;
    nothing_is_left(world).await; // not campaigned for again, though its holder has not let go of it
    if let Some(cluster) = &world.cluster {
        assert_eq!(cluster.stats().watchers, 1, "nor followed: the loop, which watches the pause too, has ended");
    }
    drop(second);

    let third = two.client.lead("k", options("three")).await.unwrap();
    third.resign().await.unwrap();
    nothing_is_left(world).await;
    let last = two.client.lead("k", options("last")).await.unwrap();
    let (closed, ()) = tokio::join!(two.client.close(), async {
        assert_eq!(last.lost().await, Reason::Closed);
        assert!(last.is_valid(), "drained");
        drop(last);
    });
    closed.unwrap();
    nothing_is_left(world).await;
    assert!(matches!(two.client.lead("k", options("too late")).await, Err(Error::Closed)));
}

both_worlds!(one_shot, s8_one_shot, s8_one_shot_live on V3_7);

#[test]
fn s13_one_shot_refuses_by_name() {
    simulated(|world| {
        Box::pin(async move {
            let client = world.peer(1).client;
            let compare = Compare::mod_revision("other", CompareOp::Equal, 0);
            assert_eq!(argument(client.lead("k", options("").compare(compare)).await), "compares");
            assert_eq!(argument(client.lead("", options("")).await), "key");
            assert_eq!(argument(client.lead("k", options("").ttl(Duration::ZERO)).await), "ttl");
            assert_eq!(argument(client.lead("k", options(&"x".repeat(2 << 20))).await), "value");
            let tight = Elector::builder(&client, "k").ttl(TTL).step_down_margin(TTL).lead().await;
            assert_eq!(argument(tight), "step_down_margin");
            assert_eq!(world.leases().await, [0; 0]);
        })
    });
}

/// Written while this very term holds the key, and never after; own keys and oversize are refused by name.
async fn guarded_one_liners(world: &World) {
    let peer = world.peer(1);
    let term = peer.client.lead("k", options("one")).await.unwrap();
    term.put("state", "1").await.unwrap();
    assert_eq!(world.get("state").await.unwrap().value, b"1");
    assert!(term.delete("state").await.unwrap());
    assert!(!term.handle().delete("state").await.unwrap(), "there was none");
    for own in ["k", "k.resigned", "k.candidates/1", "k.paused"] {
        assert_eq!(argument(term.put(own, "").await), "key");
        assert_eq!(argument(term.delete(own).await), "key");
    }
    assert_eq!(argument(term.put("", "").await), "key");
    assert_eq!(argument(term.put("state", vec![0; 2 << 20]).await), "value");
    // The key goes and another takes it, unseen by us: the guard fails, and the term ends with it.
    peer.faults.silence_streams(leadership_testkit::Method::Watch);
    world.delete("k").await;
    world.put("k", "one", 0).await;
    assert!(matches!(term.put("state", "2").await, Err(Error::NotLeader { .. })));
    assert!(term.is_lost() && !term.is_valid());
    assert!(matches!(term.delete("other").await, Err(Error::NotLeader { reason: Some(_), .. })));
    assert!(world.get("state").await.is_none());
}

both_worlds!(guarded_one_liners, case_22_guarded_one_liners, case_22_one_liners_live on V3_4);
