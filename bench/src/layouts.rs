//! Three bare ways to renew many leases, for comparison: one stream, a stream per lease, a stream per renewal.
//! Owns these prototypes, on raw stubs and one thread: stamped sends, no confirmation, no recovery. Not for use.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

use crate::Result;
use crate::meter::Window;
use crate::job::{GRANTS_AT_ONCE, INTERVAL, Job, SETTLE, TTL};

/// The bare stream sends what is due within this together, as the core does: it is to be as good as it can be.
const SLACK: Duration = Duration::from_millis(50);
/// Room on the request side of the one stream.
const CHANNEL: usize = 8192;

/// What a lease's renewals share with the measuring task.
#[derive(Default)]
struct Count {
    /// Leases that etcd answered to be gone, and streams that ended.
    lost: Cell<u64>,
}

/// One keepalive stream for all leases, renewed from a heap.
///
/// # Errors
/// etcd cannot be reached, or a lease was lost.
pub fn one_stream(job: &Job) -> Result<Value> {
    run(job, |channel, leases, count| {
        let (requests, receiver) = mpsc::channel(CHANNEL);
        let due: BinaryHeap<_> = leases.iter().map(|(id, sent)| Reverse((*sent + INTERVAL, *id))).collect();
        let due = Rc::new(RefCell::new(due));
        let stamps = Rc::new(RefCell::new(HashMap::<i64, Instant>::new()));
        let deadlines = Rc::new(RefCell::new(HashMap::<i64, Instant>::new()));
        tokio::task::spawn_local({
            let (due, stamps) = (due.clone(), stamps.clone());
            async move {
                loop {
                    let next = due.borrow().peek().map_or_else(|| Instant::now() + SLACK, |Reverse((at, _))| *at);
                    sleep_until(next).await;
                    let now = Instant::now();
                    loop {
                        let mut due = due.borrow_mut();
                        let Some(&Reverse((at, id))) = due.peek() else { break };
                        if at > now + SLACK {
                            break;
                        }
                        due.pop();
                        stamps.borrow_mut().insert(id, now);
                        if requests.try_send(PbLeaseKeepAliveRequest { id }).is_err() {
                            return; // the reader sees the stream's end
                        }
                    }
                }
            }
        });
        tokio::task::spawn_local(async move {
            let Ok(mut replies) = keep_alive(channel, ReceiverStream::new(receiver)).await else {
                count.lost.set(u64::MAX);
                return;
            };
            while let Ok(Some(reply)) = replies.message().await {
                let Some(sent) = stamps.borrow_mut().remove(&reply.id) else { continue };
                if reply.ttl <= 0 {
                    count.lost.set(count.lost.get() + 1);
                    continue;
                }
                deadlines.borrow_mut().insert(reply.id, sent + TTL);
                due.borrow_mut().push(Reverse((sent + INTERVAL, reply.id)));
            }
            count.lost.set(u64::MAX);
        });
    })
}

/// A keepalive stream for each lease, as etcd-client's `lease_keep_alive` and most users of it do.
///
/// # Errors
/// As [`one_stream`].
pub fn stream_per_lease(job: &Job) -> Result<Value> {
    run(job, |channel, leases, count| {
        for (id, granted) in leases {
            let (channel, count) = (channel.clone(), count.clone());
            tokio::task::spawn_local(async move {
                let _ = renew_on_own_stream(channel, id, granted).await;
                count.lost.set(count.lost.get() + 1);
            });
        }
    })
}

async fn renew_on_own_stream(channel: Channel, id: i64, granted: Instant) -> Result<()> {
    let (requests, receiver) = mpsc::channel(1);
    sleep_until(granted + INTERVAL).await;
    let mut sent = Instant::now();
    requests.send(PbLeaseKeepAliveRequest { id }).await?;
    // Resolves with the first reply, not before.
    let mut replies = keep_alive(channel, ReceiverStream::new(receiver)).await?;
    while let Some(reply) = replies.message().await? {
        if reply.ttl <= 0 {
            break;
        }
        sleep_until(sent + INTERVAL).await;
        sent = Instant::now();
        requests.send(PbLeaseKeepAliveRequest { id }).await?;
    }
    Ok(())
}

/// A new stream for every single renewal, as `KeepAliveOnce` does.
///
/// # Errors
/// As [`one_stream`].
pub fn stream_per_renewal(job: &Job) -> Result<Value> {
    run(job, |channel, leases, count| {
        for (id, granted) in leases {
            let (channel, count) = (channel.clone(), count.clone());
            tokio::task::spawn_local(async move {
                let mut due = granted + INTERVAL;
                loop {
                    sleep_until(due).await;
                    due = Instant::now() + INTERVAL;
                    let request = tokio_stream::once(PbLeaseKeepAliveRequest { id });
                    let reply = match keep_alive(channel.clone(), request).await {
                        Ok(mut replies) => replies.message().await.ok().flatten(),
                        Err(_) => None,
                    };
                    if reply.is_none_or(|reply| reply.ttl <= 0) {
                        break;
                    }
                }
                count.lost.set(count.lost.get() + 1);
            });
        }
    })
}

/// Grants the leases, starts the layout, measures the steady window.
fn run(job: &Job, start: impl FnOnce(Channel, Vec<(i64, Instant)>, Rc<Count>)) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let channel = Endpoint::from_shared(format!("http://{}", job.endpoint))?.tcp_nodelay(true).connect_lazy();
        let leases: Vec<_> = stream::iter(0..job.count)
            .map(|_| grant(channel.clone()))
            .buffer_unordered(GRANTS_AT_ONCE)
            .try_collect()
            .await?;
        let count = Rc::new(Count::default());
        start(channel, leases, count.clone());
        sleep(SETTLE).await;
        let window = Window::begin(&job.endpoint)?;
        sleep(job.window).await;
        let used = window.end(&job.endpoint)?;
        match count.lost.get() {
            0 => Ok(used),
            lost => Err(format!("{lost} of {} leases were lost", job.count).into()),
        }
    })
}

async fn grant(channel: Channel) -> Result<(i64, Instant)> {
    let sent = Instant::now();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let codec = tonic_prost::ProstCodec::<PbLeaseGrantRequest, PbLeaseGrantResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/etcdserverpb.Lease/LeaseGrant");
    let request = PbLeaseGrantRequest {
        ttl: TTL.as_secs() as i64,
        id: 0,
    };
    let granted = grpc.unary(Request::new(request), path, codec).await?.into_inner();
    Ok((granted.id, sent))
}

async fn keep_alive(
    channel: Channel,
    requests: impl Stream<Item = PbLeaseKeepAliveRequest> + Send + 'static,
) -> Result<Streaming<PbLeaseKeepAliveResponse>> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let codec = tonic_prost::ProstCodec::<PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
    Ok(grpc.streaming(Request::new(requests), path, codec).await?.into_inner())
}
