//! Cases 22–26: writing as the leader. Owns the guard, lost replies of writes, deletes by the deposed, and tokens.
//! Whether somebody leads at all is `campaign`'s and `keeping`'s.

use std::time::Duration;

use leadership_core::{Compare, CompareOp, Error, Lease, Op, Reason};
use leadership_testkit::{Lost, Method, Target};
use leadership_tests::both_worlds;
use leadership_tests::etcd::Version;
use leadership_tests::world::{World, live};

use crate::steps::{options, until_reached};

/// The same value in two terms: a transaction of the first, sent while it led, fails in the second; its else too.
async fn the_guard_compares_the_term_not_the_value(world: &World) {
    // The key of another term, of another lease, and of the same lease but created anew.
    for round in 0..3 {
        let (a, b) = (world.peer(2 * round), world.peer(2 * round + 1));
        let (first, second) = (a.leadership("k"), b.leadership("k"));
        let term = first.campaign(options("same")).await.unwrap();
        let held = a.faults.hold(Target::txn_putting("data"), 1);
        let txn = term.txn().when([Compare::value("none", CompareOp::Equal, "x")]);
        let txn = txn.then([Op::put("data", "then")]).or_else([Op::put("data", "else")]);
        let mut commit = Box::pin(txn.commit());
        until_reached(&held, &mut commit).await;
        a.faults.silence_streams(Method::Watch); // or it would hear of it, and let its lease go
        let spare = Lease::grant(&b.client, Duration::from_secs(30), "spare").await.unwrap();
        match round {
            0 => {
                world.revoke(term.lease_id()).await;
                assert!(second.campaign(options("same")).await.unwrap().token() > term.token());
            }
            1 => drop(world.put("k", "same", spare.id()).await),
            _ => {
                world.delete("k").await;
                world.put("k", "same", term.lease_id()).await;
            }
        }
        held.release();
        match commit.await {
            Err(Error::NotLeader { key, reason: Some(_) }) => assert_eq!(key, "k"),
            other => panic!("round {round}: {other:?}"),
        }
        assert_eq!(world.get("data").await, None, "round {round}: nothing of it is applied");
        assert!(!term.is_valid());
        drop((first, second, spare));
        world.delete("k").await;
        world.until("all is gone", async || world.leases().await.is_empty()).await;
    }
}

both_worlds!(
    the_guard_compares_the_term_not_the_value,
    case_22_the_guard_compares_the_term_not_the_value,
    case_22_live on V3_7
);

/// An empty value is a value like any other, and passes nobody's guard.
async fn an_empty_value_passes_nobodys_guard(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second, never) = (a.leadership("k"), b.leadership("k"), b.leadership("k"));
    let old = first.campaign(options("")).await.unwrap();
    old.txn().then([Op::put("data", "1")]).commit().await.unwrap();
    first.reset().await.unwrap();
    let term = second.campaign(options("")).await.unwrap();
    assert!(matches!(first.txn(), Err(Error::NotLeader { reason: Some(Reason::Resigned), .. })));
    assert!(matches!(never.txn(), Err(Error::NotLeader { reason: None, .. })));
    let refused = old.txn().then([Op::put("data", "2")]).commit().await;
    assert!(matches!(refused, Err(Error::NotLeader { .. })), "{refused:?}");
    assert_eq!(world.get("data").await.unwrap().value, b"1");
    term.txn().then([Op::put("data", "3")]).commit().await.unwrap();
    assert_eq!(world.get("data").await.unwrap().value, b"3");
    // One that was sent while its term led, and arrives when another with the same empty value does: etcd refuses it.
    let held = b.faults.hold(Target::txn_putting("data"), 1);
    let mut commit = Box::pin(term.txn().then([Op::put("data", "4")]).commit());
    until_reached(&held, &mut commit).await;
    b.faults.silence_streams(Method::Watch); // or it would hear of the end, and say so without asking etcd
    world.revoke(term.lease_id()).await;
    let next = first.campaign(options("")).await.unwrap();
    held.release();
    let refused = commit.await;
    assert!(matches!(refused, Err(Error::NotLeader { .. })), "{refused:?}");
    assert_eq!(world.get("data").await.unwrap().value, b"3");
    assert!(next.is_valid());
}

both_worlds!(an_empty_value_passes_nobodys_guard, case_23_an_empty_value_passes_nobodys_guard, case_23_live on V3_4);

/// A lost reply is an unknown outcome, applied or not, and it is not sent twice; a call that was never sent is not.
async fn a_lost_reply_is_an_unknown_outcome(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let term = lead.campaign(options("a")).await.unwrap();
    lead.keep().unwrap();
    let write = |value: &str| term.txn().then([Op::put("data", value)]).commit();
    for (lost, value) in [(Lost::Error, "1"), (Lost::Never, "2")] {
        peer.faults.drop_reply(Target::txn_putting("data"), 1, lost);
        let unknown = write(value).await;
        assert!(matches!(unknown, Err(Error::OutcomeUnknown { .. })), "{unknown:?}");
        assert_eq!(world.get("data").await.unwrap().value, value.as_bytes(), "it was applied");
    }
    assert_eq!(world.get("data").await.unwrap().version, 2, "each once");
    let held = peer.faults.hold(Target::txn_putting("data"), 1);
    let unknown = write("3").await;
    assert!(matches!(unknown, Err(Error::OutcomeUnknown { .. })), "{unknown:?}");
    assert_eq!(world.get("data").await.unwrap().value, b"2", "it was not");
    held.release();
    held.delivered().await;
    assert_eq!(world.get("data").await.unwrap().value, b"3", "but later");
    peer.faults.refuse(Target::txn_putting("data"), 1);
    write("4").await.unwrap();
    assert!(lead.check(), "{:?}", term.lost_reason());
}

both_worlds!(a_lost_reply_is_an_unknown_outcome, case_24_a_lost_reply_is_an_unknown_outcome, case_24_live on V3_7);

/// A deposed leader that has not heard of it cannot delete its successor's key; by revision only the one it names.
async fn the_deposed_cannot_delete(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership("k"), b.leadership("k"));
    assert!(matches!(first.delete_leader_key().await, Err(Error::NotLeader { reason: None, .. })));
    first.delete_leader_key_at(7).await.unwrap(); // absent is success
    let term = first.campaign(options("same")).await.unwrap();
    a.faults.silence_streams(Method::Watch);
    world.revoke(term.lease_id()).await;
    let other = second.campaign(options("same")).await.unwrap();
    let _ = first.delete_leader_key().await;
    assert!(!first.check());
    assert_eq!(world.get("k").await.unwrap().lease, other.lease_id());
    // Reference: delete by revision does not delete a leader that has changed.
    match first.delete_leader_key_at(term.token()).await {
        Err(Error::NotElected { holder: Some(leader), .. }) => assert_eq!(leader.lease, other.lease_id()),
        conflict => panic!("{conflict:?}"),
    }
    assert!(second.check());
    first.delete_leader_key_at(other.token()).await.unwrap();
    assert_eq!(world.get("k").await, None);
    assert_eq!(other.lost().await, Reason::KeyDeleted);
}

both_worlds!(the_deposed_cannot_delete, case_25_the_deposed_cannot_delete, case_25_live on V3_7);

/// Tokens strictly increase over campaign, resign, expiry, a stranger's delete and etcd's restart, and everybody
/// derives the holder's.
async fn tokens_strictly_increase(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let leads = [a.leadership("k"), b.leadership("k")];
    let mut last = 0;
    for round in 0..6 {
        let lead = &leads[round % 2];
        let term = lead.campaign(options("same")).await.unwrap();
        assert!(term.token() > last, "round {round}");
        last = term.token();
        for peer in [&a, &b] {
            assert_eq!(peer.client.get_leader("k").await.unwrap().unwrap().token, Some(last), "round {round}");
        }
        match round {
            0 | 3 => lead.reset().await.unwrap(),
            1 => drop(term.lost().await), // not kept
            2 => drop(world.delete("k").await),
            4 => world.revoke(term.lease_id()).await,
            _ => {
                lead.keep().unwrap();
                if let Some(etcd) = &world.etcd {
                    etcd.restart_all().await.unwrap();
                    assert_eq!(b.client.get_leader("k").await.unwrap().unwrap().token, Some(last));
                }
                lead.reset().await.unwrap();
            }
        }
        world.until("the key is gone", async || world.get("k").await.is_none()).await;
    }
    assert!(leads[0].campaign(options("same")).await.unwrap().token() > last);
}

both_worlds!(tokens_strictly_increase, case_26_tokens_strictly_increase, case_26_live on V3_7);

/// The same on the oldest etcd, where a restart ends streams in another way.
#[test]
fn case_26_live_3_4() {
    live(Version::V3_4, |world| Box::pin(tokens_strictly_increase(world)));
}
