//! Owns the way of one call through the faults, as a tower service over any wire.
//! Leaves the bodies of streams to `stream`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tower::ServiceExt;

use super::stream::{Replies, Requests};
use super::{Action, Faults, Held, Lost, Method, broken, refused};
use crate::wire::{BoxError, Wire};

/// What tonic reports of a connection lost under a call.
const LOST_UNDER_CALL: &str = "transport error";

/// A wire with faults on it.
#[derive(Clone)]
pub(super) struct Faulty {
    wire: Wire,
    faults: Faults,
}

impl Faulty {
    pub(super) fn new(wire: Wire, faults: Faults) -> Self {
        Faulty { wire, faults }
    }
}

impl tower::Service<Request<Body>> for Faulty {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The wire itself is asked for each call: a fault may come first.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Faulty { wire, faults } = self.clone();
        let method = Method::of_path(request.uri().path());
        Box::pin(async move {
            if method.is_stream() {
                stream(wire, faults, method, request).await
            } else {
                unary(wire, faults, method, request).await
            }
        })
    }
}

/// What is left of the faults once those that end a call at once have been taken.
#[derive(Default)]
struct Way {
    before: Vec<Held>,
    after: Vec<Held>,
    lost: Option<Lost>,
}

impl Way {
    /// A call that lies somewhere, or is lost later, must go on without its caller.
    fn detached(&self) -> bool {
        !self.before.is_empty() || !self.after.is_empty() || self.lost.is_some()
    }

    async fn go(self, wire: Wire, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        for held in &self.before {
            held.park().await;
        }
        let response = wire.oneshot(request).await;
        self.before.iter().for_each(Held::done);
        for held in &self.after {
            held.park().await;
        }
        self.after.iter().for_each(Held::done);
        match self.lost {
            None => response,
            Some(Lost::Error) => Err(broken(LOST_UNDER_CALL)),
            Some(Lost::Never) => std::future::pending().await,
        }
    }
}

/// Does what comes before the server, in the order in which it was switched on.
async fn meet(actions: Vec<Action>) -> Result<Result<Way, Response<Body>>, BoxError> {
    let mut way = Way::default();
    for action in actions {
        match action {
            Action::Refuse => return Err(refused()),
            Action::Answer(status) => return Ok(Err(status.into_http())),
            Action::Hang => std::future::pending::<()>().await,
            Action::Delay(delay) => tokio::time::sleep(delay).await,
            Action::DropReply(lost) => way.lost = Some(lost),
            Action::Hold(held) => way.before.push(held),
            Action::HoldReply(held) => way.after.push(held),
        }
    }
    Ok(Ok(way))
}

async fn unary(
    wire: Wire,
    faults: Faults,
    method: Method,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    // The message is read whole, so that it can be judged, and delivered when its sender is gone.
    let message: Bytes = body.collect().await.map_err(BoxError::from)?.to_bytes();
    let way = match meet(faults.meet(method, &message)).await? {
        Ok(way) => way,
        Err(answer) => return Ok(answer),
    };
    let request = Request::from_parts(parts, Body::new(Full::new(message)));
    if way.detached() {
        tokio::spawn(way.go(wire, request))
            .await
            .map_err(BoxError::from)?
    } else {
        way.go(wire, request).await
    }
}

async fn stream(
    wire: Wire,
    faults: Faults,
    method: Method,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let way = match meet(faults.meet(method, &[])).await? {
        Ok(way) => way,
        Err(answer) => return Ok(answer),
    };
    let control = faults.open(method);
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, Body::new(Requests::new(body, control.clone())));
    // A server may answer the opening only with its first message: the stream can break before.
    let response = tokio::select! {
        biased;
        () = control.broken() => return Err(broken(super::stream::LOST_UNDER_STREAM)),
        response = way.go(wire, request) => response?,
    };
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(
        parts,
        Body::new(Replies::new(body, control, faults)),
    ))
}
