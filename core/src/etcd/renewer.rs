//! The keepalive stream and the confirming reads, as the renewals machine asks for them.
//! Owns the one stream of a client and the alarm; every decision is the machine's.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use etcd_client::proto::{PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::calls::{Ask, Etcd, Kind};
use super::endpoint::Token;
use super::renewals::{Action, ReadReply, Renewals};
use super::wire::{Header, bidi};
use crate::clock::{Alarm, BootTime};
use crate::protocol;
use crate::term::TermShared;

/// Room for what the machine may have outstanding; a full channel is a stalled stream.
const CHANNEL: usize = 4096;
/// How long the members are asked who leads etcd before a stream is opened: a wrong guess only costs a hop.
const STATUS_BOUND: Duration = Duration::from_millis(250);

/// Shared by the tasks of the I/O thread.
pub(crate) struct Renewer {
    etcd: Rc<Etcd>,
    machine: RefCell<Renewals>,
    wake: Notify,
    lost: mpsc::UnboundedSender<std::sync::Arc<TermShared>>,
}

struct Stream {
    requests: mpsc::Sender<PbLeaseKeepAliveRequest>,
    task: AbortHandle,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Renewer {
    /// Lost terms go to `lost`, once each.
    pub(crate) fn new(
        etcd: Rc<Etcd>,
        machine: Renewals,
        lost: mpsc::UnboundedSender<std::sync::Arc<TermShared>>,
    ) -> Rc<Renewer> {
        Rc::new(Renewer {
            etcd,
            machine: RefCell::new(machine),
            wake: Notify::new(),
            lost,
        })
    }

    /// Runs `f` on the machine, then lets it do what has become due.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Renewals, BootTime) -> T) -> T {
        let mut machine = self.machine.borrow_mut();
        machine.note_slept(self.etcd.clock.suspended());
        machine.note_raft_term(self.etcd.raft_term()); // whichever call has seen it (S2: the highest seen)
        let answer = f(&mut machine, self.etcd.clock.now());
        self.wake.notify_one();
        answer
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(self: Rc<Self>, mut alarm: Alarm) {
        let mut stream: Option<Stream> = None;
        let mut actions = Vec::new();
        loop {
            let next = {
                let mut machine = self.machine.borrow_mut();
                machine.note_raft_term(self.etcd.raft_term());
                machine.step(self.etcd.clock.now(), &mut actions)
            };
            for action in actions.drain(..) {
                self.act(action, &mut stream);
            }
            match next {
                Some(at) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = alarm.wait_until(at) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    fn act(self: &Rc<Self>, action: Action, stream: &mut Option<Stream>) {
        match action {
            Action::Open { generation, advance } => {
                let (requests, receiver) = mpsc::channel(CHANNEL);
                let task = tokio::task::spawn_local(self.clone().converse(generation, advance, receiver));
                *stream = Some(Stream {
                    requests,
                    task: task.abort_handle(),
                });
            }
            Action::Send { lease } => {
                // A full or closed channel: the reply will not come, and the machine's bound finds out.
                if let Some(stream) = stream {
                    let _ = stream.requests.try_send(PbLeaseKeepAliveRequest { id: lease });
                }
            }
            Action::Read {
                read,
                keys,
                bound,
                advance,
            } => {
                tokio::task::spawn_local(self.clone().confirm(read, keys, bound, advance));
            }
            Action::Lost(term) => {
                let _ = self.lost.send(term);
            }
        }
    }

    /// One stream, from its opening to its end.
    async fn converse(
        self: Rc<Self>,
        generation: u64,
        advance: bool,
        requests: mpsc::Receiver<PbLeaseKeepAliveRequest>,
    ) {
        if advance && let Some((index, _)) = self.etcd.endpoint(Kind::Renewals) {
            self.etcd.advance(Kind::Renewals, index);
        } else {
            self.find_leader().await;
        }
        if let Some((index, endpoint)) = self.etcd.endpoint(Kind::Renewals) {
            match self.replies(generation, index, requests).await {
                Ok(()) => log::debug!("{}: the keepalive stream ended", endpoint.name),
                Err(error) => {
                    log::debug!("{}: the keepalive stream ended: {error}", endpoint.name);
                    if matches!(&error, Ended::Status(status) if status.code() == tonic::Code::Unauthenticated) {
                        *endpoint.token.borrow_mut() = Token::Unknown;
                    }
                }
            }
        }
        self.with(|machine, now| machine.broken(generation, now));
    }

    async fn replies(
        &self,
        generation: u64,
        index: usize,
        requests: mpsc::Receiver<PbLeaseKeepAliveRequest>,
    ) -> Result<(), Ended> {
        let Some(endpoint) = self.etcd.endpoints().get(index) else { return Ok(()) };
        self.etcd.authenticate(endpoint, self.etcd.timeout).await.map_err(Ended::Auth)?;
        let request = endpoint.request(ReceiverStream::new(requests));
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        let mut replies = bidi::<_, PbLeaseKeepAliveResponse>(endpoint.wire.clone(), path, request)
            .await
            .map_err(Ended::Status)?
            .into_inner();
        while let Some(reply) = replies.message().await.map_err(Ended::Status)? {
            let header = Header::read(reply.header.as_ref());
            // Not linearizable: only the cluster's id says something.
            self.etcd.observe(endpoint, header, None).map_err(Ended::Auth)?;
            let now = self.etcd.clock.now();
            let urgent =
                self.machine.borrow_mut().reply(generation, reply.id, reply.ttl, header.raft_term, now);
            if urgent {
                self.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Renewals go to etcd's leader: a follower forwards them one at a time, at eight times the CPU.
    async fn find_leader(&self) {
        if self.etcd.endpoints().len() < 2 {
            return;
        }
        let asked = self.etcd.endpoints().iter().enumerate().map(|(index, endpoint)| async move {
            let status = self.etcd.status(endpoint, STATUS_BOUND).await.ok()?;
            let member = Header::read(status.header.as_ref()).member;
            (status.leader == member).then_some((status.raft_term, index))
        });
        let leaders = futures_util::future::join_all(asked).await;
        if let Some((_, index)) = leaders.into_iter().flatten().max() {
            self.etcd.prefer(Kind::Renewals, index);
        }
    }

    async fn confirm(self: Rc<Self>, read: u64, keys: Vec<Vec<u8>>, bound: Duration, advance: bool) {
        if advance && let Some((index, _)) = self.etcd.endpoint(Kind::Calls) {
            self.etcd.advance(Kind::Calls, index);
        }
        // Any key will do to see the raft term.
        let any = self.etcd.any_key.borrow().clone();
        let txn = if keys.is_empty() {
            protocol::get([any.as_slice()])
        } else {
            protocol::get(keys.iter().map(Vec::as_slice))
        };
        let key = keys.first().unwrap_or(&any);
        let rounds = u32::try_from(self.etcd.endpoints().len()).unwrap_or(1).max(2);
        let ask = Ask {
            total: bound * rounds,
            attempt: Some(bound),
            ..self.etcd.repeatable("confirming read", key)
        };
        let begun = self.etcd.clock.now();
        let reply = self.etcd.txn(ask, &txn).await;
        let reply = reply.ok().map(|got| ReadReply {
            // Retried elsewhere the answered sending is later than the machine's beginning: safe, only less is shown.
            raft_term: got.header.raft_term,
            revision: got.header.revision,
            keys: (0..keys.len()).map(|index| got.body.kvs(index).first().cloned()).collect(),
        });
        log::trace!("confirming read {read}: {:?}", self.etcd.clock.now().since(begun));
        self.deliver(read, reply);
    }

    fn deliver(&self, read: u64, reply: Option<ReadReply>) {
        let mut out = Vec::new();
        self.with(|machine, now| machine.read_done(read, reply, now, &mut out));
        for action in out {
            if let Action::Lost(term) = action {
                let _ = self.lost.send(term);
            }
        }
    }
}

enum Ended {
    Status(tonic::Status),
    Auth(crate::Error),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Status(status) => write!(f, "{} ({:?})", status.message(), status.code()),
            Ended::Auth(error) => error.fmt(f),
        }
    }
}
