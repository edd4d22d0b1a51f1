//! S13: bad input to the public surface gets an error that names the argument, and creates nothing in etcd.
//! Owns what needs a world; the checks themselves are tested beside them, in core.

use std::time::Duration;

use leadership_core::{CampaignOptions, Client, ClientOptions, Compare, CompareOp, Error, Leadership, LeadershipOptions, Lease, Op, Result};
use leadership_testkit::Method;
use leadership_tests::both_worlds;
use leadership_tests::world::World;

use crate::steps::options;

#[track_caller]
fn names<T: std::fmt::Debug>(argument: &str, outcome: Result<T>) {
    match outcome {
        Err(error @ Error::InvalidArgument { .. }) => {
            assert!(!error.is_retriable());
            assert!(error.to_string().starts_with(&format!("{argument}: ")), "{error}");
        }
        other => panic!("{argument}: {other:?}"),
    }
}

async fn bad_input_creates_nothing(world: &World) {
    let peer = world.peer(1);
    let client = &peer.client;
    let day = Duration::from_secs(86_400);
    for key in ["", "k.candidates", "k.resigned", "k.queue-resigned", "k.paused", "k.candidates/1f"] {
        names("key", Leadership::new(client, key, "case"));
        names("key", client.get_leader(key).await);
    }
    let with = |options| Leadership::with_options(client, "k", options);
    names("takeover_delay", with(LeadershipOptions::default().takeover_delay(day * 2)));
    names("step_down_margin", with(LeadershipOptions::default().step_down_margin(day * 2)));
    names("campaign_window", with(LeadershipOptions::default().campaign_window(Duration::ZERO)));
    names("endpoints", Client::connect(["no port"]));
    names("request_timeout", Client::with_options(ClientOptions::new(["127.0.0.1:1"]).request_timeout(Duration::ZERO)));

    let lead = peer.leadership("k");
    for ttl in [Duration::ZERO, Duration::from_secs(9_000_000_001), Duration::MAX] {
        names("ttl", lead.campaign(options("a").ttl(ttl)).await);
        names("ttl", Lease::grant(client, ttl, "case").await);
    }
    let tight = peer.leadership_with("k", LeadershipOptions::default().step_down_margin(Duration::from_secs(3)));
    names("step_down_margin", tight.campaign(options("a")).await);
    let on = |key: &str| Compare::version(key, CompareOp::Equal, 0);
    names("compares", lead.campaign(options("a").compare(on(""))).await);
    let many = (0..127).fold(options("a"), |options: CampaignOptions, _| options.compare(on("x")));
    names("compares", lead.campaign(many).await);
    names("revision", lead.watch(-1).await);
    for revision in [0, -1, i64::MIN] {
        names("revision", lead.delete_leader_key_at(revision).await);
    }
    let foreign = world.peer(2);
    let lease = Lease::grant(&foreign.client, Duration::from_secs(5), "foreign").await.unwrap();
    names("lease", lead.set_lease(Some(lease.clone())));
    lease.close().await.unwrap();
    assert_eq!(lead.term().map(|term| term.token()), None);
    assert!(world.keys("k").await.is_empty() && world.leases().await.is_empty());

    let term = lead.campaign(options("a")).await.unwrap();
    lead.keep().unwrap();
    let touching = [
        Op::put("k", "x"),
        Op::delete("k"),
        Op::delete("k.resigned"),
        Op::put("k.paused", ""),
        Op::put("k.queue-resigned", ""),
        Op::put("k.candidates/1f", ""),
        Op::delete_prefix("k"),
        Op::delete_prefix(""),
        Op::put("", "x"),
    ];
    for op in touching {
        names("then", term.txn().then([Op::put("data", "1"), op.clone()]).commit().await);
        names("or_else", term.txn().or_else([op]).commit().await);
    }
    names("then", term.txn().then(vec![Op::get("data"); 127]).commit().await);
    names("or_else", term.txn().or_else(vec![Op::get("data"); 127]).commit().await);
    names("when", term.txn().when(vec![on("data"); 127]).commit().await);
    names("when", term.txn().when([on("")]).commit().await);
    names("then", term.txn().then([Op::put_with_lease("data", "1", 4711)]).commit().await);
    names("request", term.txn().then([Op::put("data", "1"), Op::put("data", "2")]).commit().await);
    assert_eq!(world.get("data").await, None);
    // The most that fits, fits; and nothing of this has cost the term.
    term.txn().when(vec![on("data"); 126]).then(vec![Op::get("data"); 126]).commit().await.unwrap();
    assert!(lead.check(), "{:?}", term.lost_reason());
    assert_eq!(world.keys("k").await, ["k"]);
}

/// Larger than etcd takes (1.5 MiB by default), or even gRPC before it: refused here, and nothing is sent.
async fn too_large_is_refused(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let term = lead.campaign(options("a")).await.unwrap();
    let second = peer.leadership("k2");
    let sent = peer.faults.calls(Method::Any);
    for size in [1_600_000, 3 << 20, 5 << 20] {
        let large = vec![b'x'; size];
        names("key", Leadership::new(&peer.client, large.clone(), "case"));
        names("key", peer.client.get_leader(&large).await);
        names("value", second.campaign(CampaignOptions::new(large.clone())).await);
        let equal = || Compare::value("data", CompareOp::Equal, large.clone());
        names("compares", second.campaign(options("a").compare(equal())).await);
        names("when", term.txn().when([equal()]).commit().await);
        names("then", term.txn().then([Op::put("data", large.clone())]).commit().await);
        names("or_else", term.txn().or_else([Op::put("data", large.clone())]).commit().await);
    }
    assert_eq!(peer.faults.calls(Method::Any), sent, "nothing was sent");
    // Only the sum is too large: etcd says so, and the call ends at once.
    let half = || Op::put("data", vec![b'x'; 900_000]);
    names("request", term.txn().then([half()]).or_else([half()]).commit().await);
    assert_eq!(world.get("data").await, None);
    // What etcd takes is not refused.
    term.txn().then([Op::put("data", vec![b'x'; 1_500_000])]).commit().await.unwrap();
    assert_eq!(second.campaign(CampaignOptions::new(vec![b'x'; 1_500_000])).await.unwrap().value().len(), 1_500_000);
    assert!(lead.check());
}

both_worlds!(too_large_is_refused, s13_too_large_is_refused, s13_too_large_live on V3_4);
both_worlds!(bad_input_creates_nothing, s13_bad_input_creates_nothing, s13_live on V3_7);
