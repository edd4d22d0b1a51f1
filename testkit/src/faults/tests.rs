//! Owns the tests of the faults, each over a served store: what the client sees, and what was done all the same.
//! Leaves what the store answers to the conformance suite.

// A test may fail by panicking: that is how it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::error::Error as _;

use etcd_client::WatchOptions;
use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbPutRequest,
    PbPutResponse, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp, PbTxnResponse, PbWatchRequest,
    PbWatchResponse,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, Streaming};

use super::*;
use crate::{Cluster, bidi, unary, wire_from_channel};

/// Longer than anything that will come; virtual.
const NEVER: Duration = Duration::from_secs(3600);

async fn put(wire: &Wire, key: &str) -> Result<PbPutResponse, Status> {
    let request = PbPutRequest {
        key: key.into(),
        ..Default::default()
    };
    unary(wire.clone(), "/etcdserverpb.KV/Put", Request::new(request))
        .await
        .map(tonic::Response::into_inner)
}

async fn txn(wire: &Wire, key: &str) -> Result<PbTxnResponse, Status> {
    let request = PbTxnOpRequest::RequestPut(PbPutRequest {
        key: key.into(),
        ..Default::default()
    });
    let request = PbTxnRequest {
        success: vec![PbTxnRequestOp {
            request: Some(request),
        }],
        ..Default::default()
    };
    unary(wire.clone(), "/etcdserverpb.KV/Txn", Request::new(request))
        .await
        .map(tonic::Response::into_inner)
}

async fn grant(wire: &Wire, ttl: i64) -> i64 {
    let request = Request::new(PbLeaseGrantRequest { ttl, id: 0 });
    unary::<_, PbLeaseGrantResponse>(wire.clone(), "/etcdserverpb.Lease/LeaseGrant", request)
        .await
        .unwrap()
        .into_inner()
        .id
}

/// A keepalive stream with its first renewal answered.
async fn renewals(
    wire: &Wire,
    lease: i64,
) -> (
    mpsc::UnboundedSender<PbLeaseKeepAliveRequest>,
    Streaming<PbLeaseKeepAliveResponse>,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(PbLeaseKeepAliveRequest { id: lease }).unwrap();
    let request = Request::new(UnboundedReceiverStream::new(receiver));
    let mut replies: Streaming<PbLeaseKeepAliveResponse> =
        bidi(wire.clone(), "/etcdserverpb.Lease/LeaseKeepAlive", request)
            .await
            .unwrap()
            .into_inner();
    assert!(replies.message().await.unwrap().unwrap().ttl > 0);
    (sender, replies)
}

/// A watch stream with its first watch made.
async fn watch(
    wire: &Wire,
    key: &str,
) -> (
    mpsc::UnboundedSender<PbWatchRequest>,
    Streaming<PbWatchResponse>,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    sender
        .send(WatchOptions::new().with_key(key).into())
        .unwrap();
    let request = Request::new(UnboundedReceiverStream::new(receiver));
    let mut answers: Streaming<PbWatchResponse> =
        bidi(wire.clone(), "/etcdserverpb.Watch/Watch", request)
            .await
            .unwrap()
            .into_inner();
    assert!(answers.message().await.unwrap().unwrap().created);
    (sender, answers)
}

fn has_connect_error(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_not_sent_and_says_so() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    cluster.faults().refuse(Method::Put, 2);
    for _ in 0..2 {
        let status = put(&wire, "a").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(has_connect_error(&status), "{status:?}");
    }
    assert!(cluster.get("a").is_none());
    txn(&wire, "b").await.unwrap();
    put(&wire, "a").await.unwrap();
    assert_eq!(cluster.faults().calls(Method::Put), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_looks_like_etcds() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    cluster.faults().answer(
        Method::Any,
        1,
        Status::unavailable("etcdserver: leader changed"),
    );
    let status = put(&wire, "a").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "etcdserver: leader changed")
    );
    assert!(status.source().is_none() && cluster.get("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_leaves_what_was_done() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    cluster.faults().drop_reply(Method::Put, 2, Lost::Error);
    put(&wire, "first").await.unwrap();
    let status = put(&wire, "second").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unknown, "transport error")
    );
    assert!(status.source().is_some());
    assert!(cluster.get("second").is_some());
    cluster.faults().drop_reply(Method::Put, 1, Lost::Never);
    assert!(timeout(NEVER, put(&wire, "third")).await.is_err());
    assert!(cluster.get("third").is_some());
    put(&wire, "fourth").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_held_call_arrives_though_its_caller_has_gone() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    let held = cluster.faults().hold(Target::txn_putting("key"), 1);
    txn(&wire, "other").await.unwrap();
    assert!(!held.is_reached());
    let caller = tokio::spawn({
        let wire = wire.clone();
        async move { txn(&wire, "key").await }
    });
    held.reached().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert!(cluster.get("key").is_none());
    held.release();
    held.delivered().await;
    assert!(cluster.get("key").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_held_reply_comes_when_it_is_released() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    let held = cluster.faults().hold_reply(Method::Txn, 1);
    let mut call = std::pin::pin!(txn(&wire, "key"));
    assert!(timeout(NEVER, &mut call).await.is_err());
    assert!(held.is_reached() && cluster.get("key").is_some());
    held.release();
    assert!(call.await.unwrap().succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_reaches_nobody_until_healed() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    cluster.faults().hang(Method::Put);
    assert!(timeout(NEVER, put(&wire, "a")).await.is_err());
    assert!(cluster.get("a").is_none());
    cluster.faults().heal();
    put(&wire, "b").await.unwrap();
    assert!(cluster.get("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_its_time() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    let delay = Duration::from_secs(3);
    cluster.faults().delay(Method::Put, delay);
    let began = Instant::now();
    txn(&wire, "a").await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    put(&wire, "a").await.unwrap();
    assert!(began.elapsed() >= delay && began.elapsed() < 2 * delay);
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_ends_with_the_connections_error() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    let lease = grant(&wire, 60).await;
    let (renew, mut replies) = renewals(&wire, lease).await;
    let (_watch, mut answers) = watch(&wire, "a").await;
    cluster.faults().break_streams(Method::Watch);
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.source().is_some(), "{status:?}");
    // The other kind lives.
    renew.send(PbLeaseKeepAliveRequest { id: lease }).unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().ttl, 60);
    cluster.faults().break_streams(Method::Any);
    assert!(replies.message().await.is_err());
    let until = Instant::now() + NEVER;
    while cluster.stats().keepalive_streams + cluster.stats().watch_streams > 0 {
        assert!(
            Instant::now() < until,
            "the server keeps streams that are broken: {:?}",
            cluster.stats()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_tells_nothing_and_does_not_end() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    let (_watch, mut answers) = watch(&wire, "a").await;
    cluster.faults().silence_streams(Method::Watch);
    cluster.put("a", "1", 0);
    assert!(timeout(NEVER, answers.message()).await.is_err());
    // A later stream is another.
    let (_watch, mut answers) = watch(&wire, "a").await;
    cluster.put("a", "2", 0);
    assert_eq!(answers.message().await.unwrap().unwrap().events.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn held_renewal_replies_are_of_renewals_that_were_done() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    let lease = grant(&wire, 10).await;
    let (renew, mut replies) = renewals(&wire, lease).await;
    cluster.faults().hold_keepalive_replies();
    cluster.jump_clock(Duration::from_secs(6));
    renew.send(PbLeaseKeepAliveRequest { id: lease }).unwrap();
    assert!(
        timeout(Duration::from_secs(1), replies.message())
            .await
            .is_err()
    );
    assert_eq!(
        cluster.leases()[0].remaining,
        Duration::from_secs(9),
        "renewed a second ago"
    );
    cluster.faults().release_keepalive_replies();
    assert_eq!(replies.message().await.unwrap().unwrap().ttl, 10);
}

#[tokio::test(start_paused = true)]
async fn held_renewals_are_not_done() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    let lease = grant(&wire, 10).await;
    let (renew, mut replies) = renewals(&wire, lease).await;
    cluster.faults().hold_keepalives();
    renew.send(PbLeaseKeepAliveRequest { id: lease }).unwrap();
    assert!(
        timeout(Duration::from_secs(11), replies.message())
            .await
            .is_err()
    );
    assert!(cluster.leases().is_empty(), "nobody renewed it in time");
    cluster.faults().release_keepalives();
    assert_eq!(replies.message().await.unwrap().unwrap().ttl, 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewals_reply_can_be_changed_on_its_way() {
    let cluster = Cluster::single();
    let wire = cluster.member(0).service();
    let lease = grant(&wire, 10).await;
    let (renew, mut replies) = renewals(&wire, lease).await;
    cluster.faults().map_keepalive(|reply| {
        reply.ttl = 0;
        if let Some(header) = &mut reply.header {
            header.raft_term = 1;
        }
    });
    renew.send(PbLeaseKeepAliveRequest { id: lease }).unwrap();
    let reply = replies.message().await.unwrap().unwrap();
    assert_eq!(
        (
            reply.id,
            reply.ttl,
            reply.header.unwrap_or_default().raft_term
        ),
        (lease, 0, 1)
    );
    cluster.faults().heal();
    renew.send(PbLeaseKeepAliveRequest { id: lease }).unwrap();
    let reply = replies.message().await.unwrap().unwrap();
    assert_eq!(
        (reply.ttl, reply.header.unwrap_or_default().raft_term),
        (10, cluster.raft_term())
    );
}

#[test]
fn transactions_are_told_apart_by_what_they_do() {
    let framed = |txn: &PbTxnRequest| {
        use prost::Message as _;
        let mut message = vec![0; 5];
        txn.encode(&mut message).unwrap();
        message
    };
    let put = PbTxnOpRequest::RequestPut(PbPutRequest {
        key: b"key".to_vec(),
        ..Default::default()
    });
    let put = PbTxnRequest {
        success: vec![PbTxnRequestOp { request: Some(put) }],
        ..Default::default()
    };
    let nested = PbTxnRequestOp {
        request: Some(PbTxnOpRequest::RequestTxn(put.clone())),
    };
    let nested = PbTxnRequest {
        failure: vec![nested],
        ..Default::default()
    };
    for txn in [&put, &nested] {
        assert!(Target::txn_putting("key").hits(Method::Txn, &framed(txn)));
        assert!(!Target::txn_putting("ke").hits(Method::Txn, &framed(txn)));
        assert!(!Target::txn_deleting("key").hits(Method::Txn, &framed(txn)));
        assert!(!Target::txn_reading().hits(Method::Txn, &framed(txn)));
    }
    assert!(Target::txn_reading().hits(Method::Txn, &framed(&PbTxnRequest::default())));
    assert!(!Target::txn_putting("key").hits(Method::Put, &framed(&put)));
    assert!(Target::from(Method::Any).hits(Method::Watch, &[]));
}

/// The same over a socket, as it is put before a real etcd. In real time: a socket knows no other.
#[tokio::test]
async fn faults_work_over_a_channel() {
    let cluster = Cluster::single();
    let served = cluster.member(0).listen("127.0.0.1:0").await.unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", served.addr()))
        .unwrap()
        .connect_lazy();
    let faults = Faults::new();
    let wire = faults.wrap(wire_from_channel(channel));
    faults.drop_reply(Method::Put, 1, Lost::Error);
    assert_eq!(put(&wire, "a").await.unwrap_err().code(), Code::Unknown);
    assert!(cluster.get("a").is_some());
    let (_watch, mut answers) = watch(&wire, "a").await;
    cluster.put("a", "1", 0);
    assert_eq!(answers.message().await.unwrap().unwrap().events.len(), 1);
    faults.break_streams(Method::Any);
    assert!(answers.message().await.is_err());
    faults.refuse(Method::Any, 1);
    assert!(has_connect_error(&put(&wire, "b").await.unwrap_err()));
    put(&wire, "b").await.unwrap();
}
