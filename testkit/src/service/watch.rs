//! Owns the watch stream's wire: requests in, answers out, its end.
//! Leaves what is answered to `crate::watch`.

use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{AnswerStream, Meta, Service, opened};
use crate::gate::Locked;
use crate::refusal;
use crate::state::Need;
use crate::watch::{Create, WatchStream};

/// gRPC's way to print a status, which etcd puts into `cancel_reason`.
fn printed(status: &Status) -> String {
    format!(
        "rpc error: code = {:?} desc = {}",
        status.code(),
        status.message()
    )
}

impl Service {
    fn handle(&self, meta: &Meta, stream: u64, request: PbWatchRequest) {
        let Locked { mut state, now } = self.shared.lock();
        let state = &mut *state;
        let header = state.header(self.member);
        let version = state.config.version;
        match request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(request)) => {
                state.stats.watch_creates += 1;
                // Each create checks the token that the stream was opened with: once dead, it is refused for ever.
                let permitted = state
                    .auth
                    .caller(meta.token.as_deref(), self.member, now)
                    .and_then(|caller| {
                        let key = if request.key.is_empty() {
                            &[0][..]
                        } else {
                            &request.key
                        };
                        let range_end = match request.range_end.as_slice() {
                            [0] if !version.checks_open_watches() => &[],
                            end => end,
                        };
                        state.auth.may_read(&caller, key, range_end)
                    });
                let negative = request.start_revision < 0 && version.refuses_negative_start();
                let Some(mut watching) = state.streams.remove(&stream) else {
                    return;
                };
                let create = Create {
                    id: request.watch_id,
                    key: request.key,
                    range_end: request.range_end,
                    start_revision: request.start_revision,
                    filters: request.filters,
                    prev_kv: request.prev_kv,
                };
                match permitted {
                    _ if negative => {
                        watching.refuse(header, refusal::compacted().message().to_owned())
                    }
                    Err(status) => watching.refuse(header, printed(&status)),
                    Ok(()) => watching.create(create, header, state.store_of(self.member), now),
                }
                state.streams.insert(stream, watching);
            }
            Some(PbWatchRequestUnion::CancelRequest(request)) => {
                if let Some(stream) = state.streams.get_mut(&stream) {
                    stream.cancel(request.watch_id, header);
                }
            }
            Some(PbWatchRequestUnion::ProgressRequest(_)) => {
                if let Some(stream) = state.streams.get_mut(&stream) {
                    stream.progress(header, version);
                }
            }
            None => {}
        }
    }

    /// Sleeps over everything the clock brings, so that leases end and laggards are served while this stream is open.
    async fn drive(&self) {
        loop {
            let mut bell = std::pin::pin!(self.shared.bell());
            bell.as_mut().enable();
            let next = {
                let Locked { state, now } = self.shared.lock();
                state.next_event(now)
            };
            self.shared.changed(bell, next).await;
        }
    }
}

#[async_trait]
impl PbWatchService for Service {
    type WatchStream = AnswerStream<PbWatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.count("Watch");
        let meta = Meta::of(&request);
        self.enter(Need::Local, &meta).await?;
        let (answers, receiver) = mpsc::unbounded_channel();
        let id = {
            let mut state = self.shared.lock().state;
            state.next_stream += 1;
            let id = state.next_stream;
            state
                .streams
                .insert(id, WatchStream::new(self.member, answers.clone()));
            id
        };
        let service = self.clone();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            let serve = async {
                // A request to a stopped member lies there until it goes on.
                while let Some(Ok(request)) = requests.next().await {
                    if service.enter(Need::Local, &Meta::default()).await.is_err() {
                        break;
                    }
                    service.handle(&meta, id, request);
                    service.shared.ring();
                }
            };
            let ended = tokio::select! {
                biased;
                () = answers.closed() => None,
                status = service.without_leader(&meta) => Some(status),
                () = serve => None,
                () = service.drive() => None,
            };
            let stream = service.shared.lock().state.streams.remove(&id);
            if let (Some(stream), Some(status)) = (stream, ended) {
                stream.end(status);
            }
        });
        Ok(Response::new(opened(receiver).await))
    }
}
