//! Owns the two calls of gRPC that etcd needs, over any wire, with metadata per call.
//! Leaves messages and paths to the caller.

use http::uri::PathAndQuery;
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::wire::Wire;

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
    let mut grpc = Grpc::new(wire).max_decoding_message_size(usize::MAX);
    grpc.ready().await.map_err(Status::from_error)?;
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
    let mut grpc = Grpc::new(wire);
    grpc.ready().await.map_err(Status::from_error)?;
    grpc.streaming(
        request,
        PathAndQuery::from_static(path),
        ProstCodec::<A, B>::default(),
    )
    .await
}
