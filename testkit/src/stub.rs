//! Owns the two calls of gRPC that etcd needs, over any wire, with metadata per call.
//! Leaves messages and paths to the caller.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::wire::{BoxError, Wire};

/// An error of the wire under a name of its own: a future that converts a bare box cannot be shown to be `Send`.
#[derive(Debug)]
struct WireError(BoxError);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for WireError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// A wire whose error has that name.
struct Named(Wire);

type Calling = Pin<Box<dyn Future<Output = Result<http::Response<Body>, WireError>> + Send>>;

impl Service<http::Request<Body>> for Named {
    type Response = http::Response<Body>;
    type Error = WireError;
    type Future = Calling;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        self.0.poll_ready(cx).map_err(WireError)
    }

    fn call(&mut self, request: http::Request<Body>) -> Calling {
        let calling = self.0.call(request);
        Box::pin(async move { calling.await.map_err(WireError) })
    }
}

/// One request, one reply; `path` is e.g. `/etcdserverpb.KV/Range`.
///
/// # Errors
/// What the far side answered (no source), or what the wire did (with a source).
pub async fn unary<A, B>(
    wire: Wire,
    path: &'static str,
    request: Request<A>,
) -> Result<Response<B>, Status>
where
    A: prost::Message + Send + Sync + 'static,
    B: prost::Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(Named(wire)).max_decoding_message_size(usize::MAX);
    grpc.ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    grpc.unary(
        request,
        PathAndQuery::from_static(path),
        ProstCodec::<A, B>::default(),
    )
    .await
}

/// A stream each way. It resolves with the first reply, not before: etcd sends its headers with it.
///
/// # Errors
/// As `unary`.
pub async fn bidi<A, B>(
    wire: Wire,
    path: &'static str,
    request: Request<impl Stream<Item = A> + Send + 'static>,
) -> Result<Response<Streaming<B>>, Status>
where
    A: prost::Message + Send + Sync + 'static,
    B: prost::Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(Named(wire));
    grpc.ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    grpc.streaming(
        request,
        PathAndQuery::from_static(path),
        ProstCodec::<A, B>::default(),
    )
    .await
}
