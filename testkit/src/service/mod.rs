//! Owns what all services share: who calls, which member answers, headers, counting.
//! Leaves each RPC to its file: `kv`, `lease`, `watch`, `auth`, `maintenance`.

mod auth;
mod kv;
mod lease;
mod maintenance;
mod watch;

use std::pin::Pin;
use std::sync::Arc;

use etcd_client::proto::{
    PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbResponseHeader,
    PbWatchServer,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Status};

use crate::auth::Caller;
use crate::gate::{Passage, Shared};
use crate::refusal;
use crate::state::{Need, State, Waiting};

/// What gRPC adds to etcd's own limit before it refuses a message unread.
const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// One member's side of every service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) shared: Arc<Shared>,
    pub(crate) member: usize,
}

/// What a call brings in its metadata.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    token: Option<String>,
    hasleader: bool,
}

impl Meta {
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        let text = |name: &str| {
            request
                .metadata()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let token = text("token").or_else(|| text("authorization"));
        Meta {
            token: token.map(|token| token.strip_prefix("Bearer ").unwrap_or(token).to_owned()),
            hasleader: text("hasleader").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        }
    }
}

impl Service {
    /// All services of this member behind one door.
    pub(crate) fn routes(self) -> tonic::service::Routes {
        // etcd refuses what is too large with its own status: let it come that far.
        const ALL: usize = usize::MAX;
        tonic::service::Routes::new(PbKvServer::new(self.clone()).max_decoding_message_size(ALL))
            .add_service(PbLeaseServer::new(self.clone()))
            .add_service(PbWatchServer::new(self.clone()))
            .add_service(PbClusterServer::new(self.clone()))
            .add_service(PbMaintenanceServer::new(self.clone()))
            .add_service(auth::AuthServer::new(self))
    }

    fn count(&self, rpc: &'static str) {
        *self.shared.lock().state.stats.calls.entry(rpc).or_default() += 1;
    }

    fn waiting(&self, need: Need, meta: &Meta) -> Waiting {
        Waiting::new(self.member, need, meta.hasleader)
    }

    async fn enter(&self, need: Need, meta: &Meta) -> Result<Passage, Status> {
        self.shared.enter(self.waiting(need, meta), None).await
    }

    /// A write by this caller, done even if the caller goes away meanwhile.
    async fn write<T: Send + 'static>(
        &self,
        meta: &Meta,
        work: impl FnOnce(&mut State, &Caller, std::time::Duration) -> Result<T, Status>
        + Send
        + 'static,
    ) -> Result<T, Status> {
        let (member, token) = (self.member, meta.token.clone());
        self.shared
            .write(self.waiting(Need::Write, meta), move |state, now| {
                let caller = state.auth.caller(token.as_deref(), member, now)?;
                work(state, &caller, now)
            })
            .await
    }

    /// A call that etcd does not know here, or the test server does not.
    fn unimplemented<T>(what: &str) -> Result<T, Status> {
        Err(Status::unimplemented(format!(
            "the test server has no {what}"
        )))
    }
}

/// Fills in who answers; the revision stays if there is one.
fn filled(
    state: &State,
    member: usize,
    header: Option<PbResponseHeader>,
) -> Option<PbResponseHeader> {
    let full = state.header(member);
    let revision = header
        .map(|header| header.revision)
        .filter(|revision| *revision != 0)
        .unwrap_or(full.revision);
    Some(PbResponseHeader { revision, ..full })
}

/// etcd's two limits on the size of a request.
fn check_size(bytes: usize, limit: usize) -> Result<(), Status> {
    let received = limit + GRPC_OVERHEAD_BYTES;
    if bytes > received {
        let text = format!("grpc: received message larger than max ({bytes} vs. {received})");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    if bytes > limit {
        Err(refusal::too_large())
    } else {
        Ok(())
    }
}

/// The answers of a stream.
type AnswerStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// etcd opens a stream with its first answer, not before: a client that waits for the opening without having asked for
/// anything waits for ever.
async fn opened<T: Send + 'static>(
    mut answers: UnboundedReceiver<Result<T, Status>>,
) -> AnswerStream<T> {
    let first = answers.recv().await;
    Box::pin(tokio_stream::iter(first).chain(UnboundedReceiverStream::new(answers)))
}
