//! Owns what happens on an open stream: broken, silent, held back, changed; as HTTP bodies, message by message.
//! Leaves opening a stream to `call`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use etcd_client::proto::PbLeaseKeepAliveResponse;
use http_body::Frame;
use prost::Message;
use tonic::body::Body;

use super::{Faults, Method, broken};
use crate::wire::BoxError;

/// What tonic reports of a connection lost under a stream.
pub(super) const LOST_UNDER_STREAM: &str =
    "h2 protocol error: error reading a body from connection";

/// gRPC puts a flag and four bytes of length before each message.
const PREFIX_BYTES: usize = 5;

#[derive(Default)]
struct Switches {
    broken: bool,
    silent: bool,
    hold_replies: bool,
    hold_requests: bool,
    wakers: Vec<Waker>,
}

/// The switches of one open stream.
pub(super) struct Control {
    pub(super) method: Method,
    switches: Mutex<Switches>,
}

impl Control {
    pub(super) fn new(method: Method, hold_replies: bool, hold_requests: bool) -> Arc<Self> {
        Arc::new(Control {
            method,
            switches: Mutex::new(Switches {
                hold_replies,
                hold_requests,
                ..Default::default()
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn switch(&self, change: impl FnOnce(&mut Switches)) {
        let wakers = {
            let mut switches = self.lock();
            change(&mut switches);
            std::mem::take(&mut switches.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn break_off(&self) {
        self.switch(|switches| switches.broken = true);
    }

    pub(super) fn silence(&self) {
        self.switch(|switches| switches.silent = true);
    }

    pub(super) fn hold_replies(&self, hold: bool) {
        self.switch(|switches| switches.hold_replies = hold);
    }

    pub(super) fn hold_requests(&self, hold: bool) {
        self.switch(|switches| switches.hold_requests = hold);
    }

    /// Returns once the stream is broken.
    pub(super) async fn broken(&self) {
        std::future::poll_fn(|context| {
            let mut switches = self.lock();
            if switches.broken {
                return Poll::Ready(());
            }
            note(&mut switches, context);
            Poll::Pending
        })
        .await;
    }
}

fn note(switches: &mut Switches, context: &Context<'_>) {
    if !switches
        .wakers
        .iter()
        .any(|waker| waker.will_wake(context.waker()))
    {
        switches.wakers.push(context.waker().clone());
    }
}

/// The client's messages on their way.
pub(super) struct Requests {
    inner: Body,
    control: Arc<Control>,
    held: VecDeque<Frame<Bytes>>,
    ended: bool,
}

impl Requests {
    pub(super) fn new(inner: Body, control: Arc<Control>) -> Self {
        Requests {
            inner,
            control,
            held: VecDeque::new(),
            ended: false,
        }
    }
}

impl http_body::Body for Requests {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            let (is_broken, silent, hold) = {
                let mut switches = this.control.lock();
                note(&mut switches, context);
                (switches.broken, switches.silent, switches.hold_requests)
            };
            if is_broken {
                return Poll::Ready(Some(Err(broken(LOST_UNDER_STREAM))));
            }
            if !hold
                && !silent
                && let Some(frame) = this.held.pop_front()
            {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.ended {
                return if this.held.is_empty() && !silent {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
            match std::task::ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) if silent => drop(frame),
                Some(Ok(frame)) => this.held.push_back(frame),
                Some(Err(status)) => return Poll::Ready(Some(Err(status.into()))),
                None => this.ended = true,
            }
        }
    }
}

/// The server's messages on their way, one frame each on keepalive streams.
pub(super) struct Replies {
    inner: Body,
    control: Arc<Control>,
    faults: Faults,
    partial: BytesMut,
    held: VecDeque<Frame<Bytes>>,
    ended: bool,
}

impl Replies {
    pub(super) fn new(inner: Body, control: Arc<Control>, faults: Faults) -> Self {
        Replies {
            inner,
            control,
            faults,
            partial: BytesMut::new(),
            held: VecDeque::new(),
            ended: false,
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        if self.control.method != Method::LeaseKeepAlive {
            return self.held.push_back(frame);
        }
        match frame.into_data() {
            Ok(data) => {
                self.partial.extend_from_slice(&data);
                while let Some(message) = next_message(&mut self.partial) {
                    self.held.push_back(Frame::data(message));
                }
            }
            Err(trailers) => self.held.push_back(trailers),
        }
    }

    /// The hook sees a reply when it is delivered.
    fn changed(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(map) = self
            .faults
            .keepalive_map()
            .filter(|_| self.control.method == Method::LeaseKeepAlive)
        else {
            return frame;
        };
        frame.map_data(|mut data| {
            let mut prefix = data.clone();
            data.advance(PREFIX_BYTES.min(data.len()));
            let Ok(mut reply) = PbLeaseKeepAliveResponse::decode(data) else {
                return std::mem::take(&mut prefix);
            };
            map(&mut reply);
            let encoded = reply.encode_to_vec();
            let mut framed = BytesMut::with_capacity(PREFIX_BYTES + encoded.len());
            framed.put_u8(0);
            framed.put_u32(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
            framed.put_slice(&encoded);
            framed.freeze()
        })
    }
}

/// Takes a whole message with its prefix off the front, if there is one.
fn next_message(partial: &mut BytesMut) -> Option<Bytes> {
    let length = partial.get(1..PREFIX_BYTES)?.get_u32();
    let whole = PREFIX_BYTES + usize::try_from(length).ok()?;
    (partial.len() >= whole).then(|| partial.split_to(whole).freeze())
}

impl http_body::Body for Replies {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            let (is_broken, silent, hold) = {
                let mut switches = this.control.lock();
                note(&mut switches, context);
                (switches.broken, switches.silent, switches.hold_replies)
            };
            if is_broken {
                return Poll::Ready(Some(Err(broken(LOST_UNDER_STREAM))));
            }
            if !hold
                && !silent
                && let Some(frame) = this.held.pop_front()
            {
                let frame = this.changed(frame);
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.ended {
                return if this.held.is_empty() && !silent {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
            match std::task::ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) if silent => drop(frame),
                Some(Ok(frame)) => this.take(frame),
                Some(Err(status)) if silent => drop(status),
                Some(Err(status)) => return Poll::Ready(Some(Err(status.into()))),
                None => this.ended = true,
            }
        }
    }
}
