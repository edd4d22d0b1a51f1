//! The watch stream and its reads, as the watches machine asks for them.
//! Owns the one stream of a client and the alarm; every decision is the machine's.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::calls::{Etcd, Failure, token_refused};
use super::endpoint::{Endpoint, Token};
use super::level::Reader;
use super::members::Kind;
use super::watches::{Action, Event, Level, Look, Lost, Message, Reply, To, Watches};
use super::wire::{Header, Namespace, bidi};
use crate::clock::{Alarm, BootTime};
use crate::error::Error;
use crate::protocol::{self, Key};
use crate::term::TermShared;

/// etcd's event type of a delete.
const DELETE: i32 = 1;

/// What a create is refused with when the stream's token is of no use (any more).
const TOKEN_REFUSED: [&str; 2] = ["invalid auth token", "user name is empty"];

/// Shared by the tasks of the I/O thread.
pub(crate) struct Watcher {
    etcd: Rc<Etcd>,
    machine: RefCell<Watches>,
    wake: Notify,
    /// What `with` and the stream left to be done.
    pending: RefCell<Vec<Action>>,
    lost: mpsc::UnboundedSender<Arc<TermShared>>,
}

/// One user of a key's level, or of a queue's; dropping it ends the use.
pub(crate) struct Subscription {
    watcher: Rc<Watcher>,
    key: Key,
    queue: bool,
    pub(crate) level: Reader<Level>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.watcher.with(|machine, _, out| {
            if self.queue { machine.unsubscribe_queue(&self.key, out) } else { machine.unsubscribe(&self.key, out) }
        });
    }
}

struct Stream {
    requests: mpsc::UnboundedSender<PbWatchRequest>,
    task: AbortHandle,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watcher {
    /// Lost terms go to `lost`, once each.
    pub(crate) fn new(etcd: Rc<Etcd>, machine: Watches, lost: mpsc::UnboundedSender<Arc<TermShared>>) -> Rc<Watcher> {
        Rc::new(Watcher {
            etcd,
            machine: RefCell::new(machine),
            wake: Notify::new(),
            pending: RefCell::default(),
            lost,
        })
    }

    /// Runs `f` on the machine, then lets it do what has become due.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Watches, BootTime, &mut Vec<Action>) -> T) -> T {
        let now = self.etcd.clock.now();
        let answer = f(&mut self.machine.borrow_mut(), now, &mut self.pending.borrow_mut());
        self.wake.notify_one();
        answer
    }

    /// Watches a key until the subscription is dropped.
    pub(crate) fn subscribe(self: &Rc<Self>, key: &Key) -> Subscription {
        Subscription {
            watcher: self.clone(),
            key: key.clone(),
            queue: false,
            level: self.with(|machine, _, _| machine.subscribe(key)),
        }
    }

    /// The first of a queue, until the subscription is dropped.
    pub(crate) fn subscribe_queue(self: &Rc<Self>, prefix: &Key) -> Subscription {
        let range: Key = protocol::queue_range(prefix).into();
        Subscription {
            watcher: self.clone(),
            queue: true,
            level: self.with(|machine, _, _| machine.subscribe_queue(&range)),
            key: range,
        }
    }

    /// Lets events and reads of its key end a term. The caller holds a subscription of the key.
    pub(crate) fn bind(&self, term: &Arc<TermShared>) {
        let lost = self.with(|machine, _, _| machine.bind(term.clone()));
        self.tell(lost.into_iter().collect());
    }

    fn tell(&self, lost: Vec<Lost>) {
        for Lost(term) in lost {
            let _ = self.lost.send(term);
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(self: Rc<Self>, mut alarm: Alarm) {
        let mut stream: Option<Stream> = None;
        loop {
            let next = {
                let jitter = self.etcd.random(1000);
                let mut out = self.pending.borrow_mut();
                self.machine.borrow_mut().step(self.etcd.clock.now(), jitter, &mut out)
            };
            for action in std::mem::take(&mut *self.pending.borrow_mut()) {
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
        let request = match action {
            Action::Open { generation, to } => {
                let (requests, receiver) = mpsc::unbounded_channel();
                match to {
                    To::Same => {}
                    To::Next => {
                        if let Some((index, _)) = self.etcd.endpoint(Kind::Watches) {
                            self.etcd.advance(Kind::Watches, index);
                        }
                    }
                    To::Member(index) => self.etcd.members().stick(Kind::Watches, index),
                }
                let Some((index, endpoint)) = self.etcd.endpoint(Kind::Watches) else { return };
                self.machine.borrow_mut().opened(index);
                let task = tokio::task::spawn_local(self.clone().converse(generation, endpoint, receiver));
                *stream = Some(Stream {
                    requests,
                    task: task.abort_handle(),
                });
                return;
            }
            Action::Read { read, keys } => {
                tokio::task::spawn_local(self.clone().read(read, keys));
                return;
            }
            Action::ReadFirst { read, prefix } => {
                tokio::task::spawn_local(self.clone().look(read, prefix));
                return;
            }
            Action::Create { id, key, start } => create(&self.etcd.namespace, id, &key, start).into(),
            Action::CreateRange { id, prefix, start } => create(&self.etcd.namespace, id, &prefix, start).with_prefix().into(),
            Action::Cancel { id } => cancel(id),
        };
        // The number of requests is bounded by the keys; a stalled stream is found out by what it does not answer.
        if let Some(stream) = stream {
            let _ = stream.requests.send(request);
        }
    }

    async fn converse(
        self: Rc<Self>,
        generation: u64,
        endpoint: Rc<Endpoint>,
        requests: mpsc::UnboundedReceiver<PbWatchRequest>,
    ) {
        if self.etcd.authenticate(&endpoint, self.etcd.timeout).await.is_ok() {
            let request = endpoint.request(UnboundedReceiverStream::new(requests));
            let path = "/etcdserverpb.Watch/Watch";
            match bidi::<_, PbWatchResponse>(endpoint.wire.clone(), path, request).await {
                Ok(messages) => {
                    let mut messages = messages.into_inner();
                    while let Ok(Some(message)) = messages.message().await {
                        let header = Header::read(message.header.as_ref());
                        if message.compact_revision == 0 && self.etcd.observe(&endpoint, header, None).is_err() {
                            break;
                        }
                        if TOKEN_REFUSED.iter().any(|words| message.cancel_reason.contains(words)) {
                            // The stream keeps the token it was opened with, for ever: a new one (ETCD-CLIENT "Auth").
                            *endpoint.token.borrow_mut() = Token::Unknown;
                            break;
                        }
                        self.deliver(generation, self.message(message));
                    }
                }
                Err(status) => {
                    log::debug!("{}: the watch stream ended: {}", endpoint.name, status.message());
                    if token_refused(&status) {
                        *endpoint.token.borrow_mut() = Token::Unknown;
                    }
                }
            }
        }
        self.with(|machine, now, _| machine.broken(generation, now));
    }

    fn message(&self, message: PbWatchResponse) -> Message {
        let events = message.events.into_iter().filter_map(|event| {
            let kv = event.kv?;
            Some(if event.r#type == DELETE {
                Event::Delete {
                    revision: kv.mod_revision,
                }
            } else {
                Event::Put(self.etcd.namespace.key_value(kv))
            })
        });
        Message {
            events: events.collect(),
            id: message.watch_id,
            created: message.created,
            cancelled: message.canceled,
            compacted: message.compact_revision > 0,
            denied: message.cancel_reason.contains("permission denied"),
            reason: message.cancel_reason,
        }
    }

    fn deliver(&self, generation: u64, message: Message) {
        // Events alone give the machine nothing to do, but those of a queue.
        let mut quiet = !message.created && !message.cancelled;
        let mut lost = Vec::new();
        let now = self.etcd.clock.now();
        {
            let mut machine = self.machine.borrow_mut();
            quiet &= !machine.is_queue(message.id);
            machine.message(generation, message, now, &mut self.pending.borrow_mut(), &mut lost);
        }
        if !quiet {
            self.wake.notify_one();
        }
        self.tell(lost);
    }

    async fn read(self: Rc<Self>, read: u64, keys: Vec<Key>) {
        let txn = protocol::get(keys.iter().map(AsRef::as_ref));
        let key = keys.first().map_or(&b""[..], AsRef::as_ref);
        let reply = match self.etcd.read("read of watched keys", key, &txn).await {
            Ok(got) => {
                let kvs = (0..keys.len()).map(|index| got.body.kvs(index).first().cloned()).collect();
                Reply::Found(got.header.revision, kvs)
            }
            Err(failure) => not_read(failure),
        };
        let mut lost = Vec::new();
        self.with(|machine, now, out| machine.read_done(read, reply, now, out, &mut lost));
        self.tell(lost);
    }

    async fn look(self: Rc<Self>, read: u64, range: Key) {
        let reply = match self.etcd.read("look at a queue", &range, &protocol::oldest(&range, 1)).await {
            Ok(got) => {
                let (first, length) = protocol::oldest_reply(&got.body);
                Reply::Found(got.header.revision, Look { first, length })
            }
            Err(failure) => not_read(failure),
        };
        self.with(|machine, now, out| machine.look_done(read, reply, now, out));
    }
}

fn not_read<T>(failure: Failure) -> Reply<T> {
    let error = failure.into_error();
    log::debug!("{error}");
    match error {
        Error::PermissionDenied { message } => Reply::Denied(message),
        _ => Reply::Failed,
    }
}

fn create(namespace: &Namespace, id: i64, key: &[u8], start: i64) -> etcd_client::WatchOptions {
    etcd_client::WatchOptions::new().with_key(namespace.add(key)).with_watch_id(id).with_start_revision(start)
}

fn cancel(id: i64) -> PbWatchRequest {
    // The variant's type cannot be named from here; its default can be had.
    let mut union = PbWatchRequestUnion::CancelRequest(Default::default());
    if let PbWatchRequestUnion::CancelRequest(cancel) = &mut union {
        cancel.watch_id = id;
    }
    PbWatchRequest {
        request_union: Some(union),
    }
}
