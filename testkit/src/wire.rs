//! Owns the one type that client and server meet at, whatever lies between: nothing, a socket, faults.
//! Leaves faults to `faults`, a served socket to `served`.

use std::convert::Infallible;
use std::error::Error;

use http::{Request, Response};
use tonic::body::Body;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// The error of a wire: always our side's or the connection's, never etcd's.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A service that speaks gRPC: in process, or a channel to a real server. Cloning is cheap, clones share the peer.
/// It is what `etcd_client::Channel::Custom` and tonic's `Grpc` take.
pub type Wire = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A wire over a tonic channel, to put faults between a client and a real etcd.
#[must_use]
pub fn wire_from_channel(channel: tonic::transport::Channel) -> Wire {
    BoxCloneSyncService::new(channel.map_err(BoxError::from))
}

/// A wire into services of this process: no socket, no thread, and so at home under paused time.
pub(crate) fn wire_from_routes(routes: tonic::service::Routes) -> Wire {
    let never = |error: Infallible| -> BoxError { match error {} };
    BoxCloneSyncService::new(ServiceExt::<Request<Body>>::map_err(
        routes.prepare(),
        never,
    ))
}
