//! The keepalive streams and the confirming reads, as the renewals machine asks for them.
//! Owns the streams' tasks and the alarm; every decision is the machine's.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::calls::{Ask, Etcd, token_refused};
use super::endpoint::{Endpoint, Token};
use super::renewals::{Action, ReadReply, Renewals};
use super::streams::Step;
use super::watcher::Watcher;
use super::wire::{Header, bidi};
use crate::clock::{Alarm, BootTime};
use crate::error::Error;
use crate::protocol;
use crate::term::{LeaseShared, TermShared};

/// Room for what the machine may have outstanding; a full channel is a stalled stream.
const CHANNEL: usize = 4096;
/// How long the members are asked who leads etcd: a wrong guess only costs a hop.
const STATUS_BOUND: Duration = Duration::from_millis(250);

/// Shared by the tasks of the I/O thread.
pub(crate) struct Renewer {
    etcd: Rc<Etcd>,
    machine: RefCell<Renewals>,
    wake: Notify,
    /// Whose stream goes along with the renewals.
    watcher: Rc<Watcher>,
    lost: mpsc::UnboundedSender<Arc<TermShared>>,
}

struct Stream {
    id: u64,
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
        watcher: Rc<Watcher>,
        lost: mpsc::UnboundedSender<Arc<TermShared>>,
    ) -> Rc<Renewer> {
        Rc::new(Renewer {
            etcd,
            machine: RefCell::new(machine),
            wake: Notify::new(),
            watcher,
            lost,
        })
    }

    /// Runs `f` on the machine, then lets it do what has become due.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Renewals, BootTime) -> T) -> T {
        let mut machine = self.machine.borrow_mut();
        let now = self.etcd.clock.now();
        machine.note_slept(self.etcd.clock.suspended());
        machine.note_raft_term(self.etcd.raft_term(), now); // whichever call has seen it (S2: the highest seen)
        let answer = f(&mut machine, now);
        self.wake.notify_one();
        answer
    }

    /// Renews a lease once more, whatever is planned, and waits for the reply, for a while.
    pub(crate) async fn renewed_once(&self, lease: &LeaseShared) {
        let before = self.with(|machine, now| {
            machine.renew_now(lease.id(), now);
            machine.answered(lease.id())
        });
        let answered = async {
            while self.with(|machine, _| machine.answered(lease.id())) == before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::time::timeout(lease.ttl / 4, answered).await;
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(self: Rc<Self>, mut alarm: Alarm) {
        let mut streams: Vec<Stream> = Vec::new();
        let mut actions = Vec::new();
        loop {
            let next = {
                let mut machine = self.machine.borrow_mut();
                let now = self.etcd.clock.now();
                machine.note_raft_term(self.etcd.raft_term(), now);
                if self.etcd.members().changed() {
                    machine.set_members(&self.etcd.members().slots(), now);
                }
                machine.step(now, &mut actions)
            };
            for action in actions.drain(..) {
                self.act(action, &mut streams);
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

    fn act(self: &Rc<Self>, action: Action, streams: &mut Vec<Stream>) {
        match action {
            Action::Stream(Step::Open { stream: id, member }) => {
                let (requests, receiver) = mpsc::channel(CHANNEL);
                let task = tokio::task::spawn_local(self.clone().converse(id, member, receiver)).abort_handle();
                streams.retain(|stream| !stream.requests.is_closed()); // whose tasks have ended
                streams.push(Stream { id, requests, task });
            }
            Action::Stream(Step::Close { stream }) => streams.retain(|open| open.id != stream),
            Action::Stream(Step::Ask) => {
                tokio::task::spawn_local(self.clone().find_leader());
            }
            Action::Send { stream, lease } => {
                // A full or closed channel: the reply will not come, and the machine's bound finds out.
                if let Some(stream) = streams.iter().rfind(|open| open.id == stream) {
                    let _ = stream.requests.try_send(PbLeaseKeepAliveRequest { id: lease });
                }
            }
            Action::Read { read, member, keys, bound } => {
                tokio::task::spawn_local(self.clone().confirm(read, member, keys, bound));
            }
            Action::Moved { member } => self.watcher.with(|machine, _, _| machine.follow(member)),
            Action::Lost(term) => {
                let _ = self.lost.send(term);
            }
        }
    }

    /// One stream, from its opening to its end.
    async fn converse(self: Rc<Self>, stream: u64, member: usize, requests: mpsc::Receiver<PbLeaseKeepAliveRequest>) {
        let mut again = false;
        if let Some(endpoint) = self.etcd.members().at(member) {
            match self.replies(stream, &endpoint, requests).await {
                Ok(()) => log::debug!("{}: the keepalive stream ended", endpoint.name),
                Err(error) => {
                    log::debug!("{}: the keepalive stream ended: {error}", endpoint.name);
                    // The stream keeps the token that it was opened with: a new one gets a new token.
                    again = matches!(&error, Ended::Status(status) if token_refused(status));
                    if again {
                        *endpoint.token.borrow_mut() = Token::Unknown;
                    }
                }
            }
        }
        self.with(|machine, now| machine.broken(stream, again, now));
    }

    async fn replies(
        &self,
        stream: u64,
        endpoint: &Endpoint,
        requests: mpsc::Receiver<PbLeaseKeepAliveRequest>,
    ) -> Result<(), Ended> {
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
            let urgent = self.machine.borrow_mut().reply(stream, reply.id, reply.ttl, header.raft_term, now);
            if urgent {
                self.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Renewals go to etcd's leader: a follower forwards them one at a time, at eight times the CPU.
    async fn find_leader(self: Rc<Self>) {
        let asked = self.etcd.members().all().into_iter().map(|(member, endpoint)| {
            let etcd = self.etcd.clone();
            async move {
                let status = etcd.status(&endpoint, STATUS_BOUND).await.ok();
                let said = status.map(|status| {
                    let itself = Header::read(status.header.as_ref()).member;
                    (status.leader == itself, status.raft_term)
                });
                (member, said)
            }
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        // As each comes: one that hangs holds nobody up.
        while let Some((member, said)) = asked.next().await {
            self.with(|machine, now| machine.told(member, said, now));
        }
        self.with(|machine, now| machine.asked(now));
    }

    async fn confirm(self: Rc<Self>, read: u64, member: usize, keys: Vec<Vec<u8>>, bound: Duration) {
        // Any key will do to see the raft term.
        let any = self.etcd.any_key.borrow().clone();
        let txn = if keys.is_empty() {
            protocol::get([any.as_slice()])
        } else {
            protocol::get(keys.iter().map(Vec::as_slice))
        };
        let key = keys.first().unwrap_or(&any);
        let ask = Ask {
            total: bound,
            ..self.etcd.repeatable("confirming read", key)
        };
        let mut answer = None;
        let mut denied = false;
        if let Some(endpoint) = self.etcd.members().at(member) {
            let begun = self.etcd.clock.now();
            match self.etcd.txn_at(&endpoint, ask, &txn).await {
                Ok(got) => {
                    if !keys.is_empty() && *key != any {
                        self.etcd.any_key.borrow_mut().clone_from(key); // surely it may be read
                    }
                    // With a token of a second sending the machine's beginning is the earlier one: safe, only less is shown.
                    answer = Some(ReadReply {
                        raft_term: got.header.raft_term,
                        revision: got.header.revision,
                        keys: (0..keys.len()).map(|index| got.body.kvs(index).first().cloned()).collect(),
                    });
                }
                Err(failure) => {
                    let error = failure.into_error();
                    log::debug!("{}: confirming read: {error}", endpoint.name);
                    denied = matches!(error, Error::PermissionDenied { .. });
                }
            }
            log::trace!("{}: confirming read {read}: {:?}", endpoint.name, self.etcd.clock.now().since(begun));
        }
        if denied {
            self.with(|machine, now| machine.read_denied(read, now));
        } else {
            self.deliver(read, answer);
        }
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
