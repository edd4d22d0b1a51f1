//! What lives on the I/O thread and what the parts on it share (DESIGN §6 "Threads").
//! Owns slots, kept watches, revokes and the count of releases under way; starting and ending it all is `thread`'s.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, oneshot, watch};

use crate::clock::BootTime;
use crate::error::{Error, Result};
use crate::etcd::{Etcd, Failure, Level, Reader, Renewer, Subscription, Watcher};
use crate::moving::{self, Moves};
use crate::options::Validity;
use crate::pages::{Pages, Slot};
use crate::protocol::{self, Key, Leader};
use crate::resets::Resets;
use crate::term::LeaseShared;

/// Releases before 3.4.42, 3.5.28 and 3.6.9 can serve a stale read after a process pause (etcd #20418).
const STALE_READS_BEFORE: [(u64, u64, u64); 3] = [(3, 4, 42), (3, 5, 28), (3, 6, 9)];

/// How long other members have to say that they are of another cluster, once one has answered.
const OTHERS_HAVE: Duration = Duration::from_millis(100);

/// No further round of asking is begun with less time than this.
const LAST_ROUND: Duration = Duration::from_millis(200);

/// A message to the I/O thread.
pub(crate) type Job = Box<dyn FnOnce(&Rc<Io>) + Send>;

/// Told once that an answer is no longer wanted.
#[derive(Clone, Default)]
pub(crate) struct Cancel {
    state: Rc<(Cell<bool>, Notify)>,
}

impl Cancel {
    pub(crate) fn trigger(&self) {
        self.state.0.set(true);
        self.state.1.notify_waiters();
    }

    pub(crate) async fn wait(&self) {
        let notified = self.state.1.notified();
        if !self.state.0.get() {
            notified.await;
        }
    }
}

/// Asks a loop to end in order.
pub(crate) type EndLoop = Box<dyn Fn() -> Option<oneshot::Receiver<Result<()>>>>;

/// What lives on the I/O thread. Nothing in it is locked.
pub(crate) struct Io {
    pub(crate) etcd: Rc<Etcd>,
    pub(crate) renewer: Rc<Renewer>,
    pub(crate) watcher: Rc<Watcher>,
    pub(crate) validity: Validity,
    /// How often what is watched, and who stands, is read again (S11).
    pub(crate) reread: Duration,
    pub(crate) pages: Arc<Pages>,
    pub(crate) next_id: Cell<u64>,
    pub(crate) closing: RefCell<Vec<oneshot::Sender<Result<()>>>>,
    pub(crate) close: Notify,
    pub(crate) closed: Arc<AtomicBool>,
    /// Releases under way: closing waits for them.
    pub(crate) releasing: watch::Sender<usize>,
    /// Watches that leaderships hold on to between their calls.
    pub(crate) kept: RefCell<BTreeMap<u64, Box<Kept>>>,
    /// Campaigns under way with a lease of the caller's, by lease (its address) and key.
    pub(crate) campaigns: RefCell<BTreeSet<(usize, Vec<u8>)>>,
    pub(crate) moves: Moves,
    /// Loops that are asked to end in order before the client does: each says when it has; `None`: it has already.
    pub(crate) loops: RefCell<BTreeMap<u64, EndLoop>>,
}

/// What a contender keeps between its calls: the watch of its key, and how to end what it is about.
pub(crate) struct Kept {
    pub(crate) resets: Weak<Resets>,
    subscription: Subscription,
}

impl Io {
    pub(crate) fn slot(&self) -> Result<Slot> {
        self.pages.slot().map_err(|error| Error::internal(format!("no memory for a deadline: {error}")))
    }

    /// When to read again what is read now and then: the interval ± 20 %.
    pub(crate) fn reread_at(&self) -> BootTime {
        let percent = 80 + u32::try_from(self.etcd.random(41)).unwrap_or(0);
        self.etcd.clock.now().after(self.reread * percent / 100)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Ends the loops in order, which drains their terms, at most so long, and then the client.
    pub(crate) fn close(self: &Rc<Self>, drain: Option<Duration>, told: oneshot::Sender<Result<()>>) {
        let ending: Vec<_> = self.loops.borrow().values().filter_map(|end| end()).collect();
        if ending.is_empty() {
            self.close_now(told);
            return;
        }
        let io = self.clone();
        tokio::task::spawn_local(async move {
            let drained = async {
                for ended in ending {
                    let _ = ended.await; // how its release went, whoever closed it hears; ours is counted below
                }
            };
            match drain {
                None => drained.await,
                Some(drain) => _ = tokio::time::timeout(drain, drained).await,
            }
            io.close_now(told);
        });
    }

    fn close_now(&self, told: oneshot::Sender<Result<()>>) {
        self.closing.borrow_mut().push(told);
        self.closed.store(true, Ordering::Release);
        self.close.notify_one();
    }

    /// Counts as a release until it is dropped.
    pub(crate) fn releasing(self: &Rc<Self>) -> Releasing {
        self.releasing.send_modify(|count| *count += 1);
        Releasing(self.clone())
    }

    /// Watches a contender's key from now until it is forgotten.
    pub(crate) fn keep_watch(&self, contender: u64, key: &Key, resets: &Arc<Resets>) -> Reader<Level> {
        self.keep(contender, resets, || self.watcher.subscribe(key))
    }

    /// The same for the first of a queue.
    pub(crate) fn keep_queue(&self, contender: u64, prefix: &Key, resets: &Arc<Resets>) -> Reader<Level> {
        self.keep(contender, resets, || self.watcher.subscribe_queue(prefix))
    }

    fn keep(&self, contender: u64, resets: &Arc<Resets>, subscribe: impl FnOnce() -> Subscription) -> Reader<Level> {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.entry(contender).or_insert_with(|| {
            Box::new(Kept {
                resets: Arc::downgrade(resets),
                subscription: subscribe(),
            })
        });
        kept.subscription.level.clone()
    }

    /// Renews a lease in the background, and lets it move if it is due to.
    pub(crate) fn keep_alive(&self, lease: &LeaseShared) {
        self.renewer.with(|machine, _| machine.set_renewing(lease.id(), true));
        moving::may_move(self, lease);
    }

    pub(crate) fn forget(&self, contender: u64) {
        let gone = self.kept.borrow_mut().remove(&contender);
        drop(gone); // after the borrow: its end is a message to the watcher
    }

    /// Revokes a lease until etcd has said so, or it must have run out by itself. One whose keys are moving is two.
    pub(crate) async fn retired(self: &Rc<Self>, lease: Arc<LeaseShared>) -> Result<()> {
        let releasing = self.releasing();
        let ids: Vec<i64> = lease.ids().collect();
        self.renewer.with(|machine, _| ids.iter().for_each(|id| machine.remove(*id)));
        let mut revoked = Ok(());
        for id in ids {
            if let Err(failure) = self.etcd.revoke(id).await {
                self.revoke_in_background(id, lease.ttl * 2);
                revoked = Err(failure.into_error());
            }
        }
        drop(releasing);
        revoked
    }

    /// [`retired`](Self::retired), without waiting.
    pub(crate) fn retire(self: &Rc<Self>, lease: Arc<LeaseShared>) {
        let io = self.clone();
        let releasing = self.releasing();
        tokio::task::spawn_local(async move {
            let _releasing = releasing;
            io.retired(lease).await
        });
    }

    pub(crate) fn revoke_in_background(self: &Rc<Self>, lease: i64, at_most: Duration) {
        let io = self.clone();
        let releasing = self.releasing();
        tokio::task::spawn_local(async move {
            let _releasing = releasing;
            let until = tokio::time::Instant::now() + at_most;
            while io.etcd.revoke(lease).await.is_err() && tokio::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(200 + io.etcd.random(200))).await;
            }
        });
    }

    pub(crate) async fn leader(&self, key: &[u8]) -> Result<Option<Leader>> {
        let read = |with_mark| async move {
            let txn = protocol::leader(key, with_mark);
            let got = self.etcd.read("get_leader", key, &txn).await.map_err(Failure::into_error)?;
            Ok(protocol::leader_reply(&got.body, with_mark))
        };
        match read(true).await {
            // Who may not read the mark still sees the key.
            Err(Error::PermissionDenied { .. }) => read(false).await,
            answer => answer,
        }
    }

    pub(crate) async fn ready(&self, timeout: Duration) -> Result<()> {
        let until = tokio::time::Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let bound = left.min(self.etcd.timeout).max(Duration::from_millis(1));
            // All at once, and the first that knows a leader will do: a member that hangs costs nothing.
            let asked = self.etcd.members().all().into_iter().map(|(_, endpoint)| {
                Box::pin(async move {
                    let name = &endpoint.name;
                    match self.etcd.status(&endpoint, bound).await {
                        Ok(status) if status.leader != 0 => {
                            warn_of(name, &status.version);
                            Ok(())
                        }
                        Ok(_) => Err(Error::unavailable(format!("{name} knows no leader"))),
                        Err(failure) => Err(failure.into_error()),
                    }
                })
            });
            let mut asked: FuturesUnordered<_> = asked.collect();
            let mut errors = Vec::new();
            let mut found = None;
            loop {
                let next = asked.next();
                let answer = match found {
                    None => next.await,
                    Some(at) => tokio::time::timeout_at(at + OTHERS_HAVE, next).await.unwrap_or(None),
                };
                match answer {
                    Some(Ok(())) => _ = found.get_or_insert_with(tokio::time::Instant::now),
                    Some(Err(Error::Unavailable { message })) => errors.push(message),
                    // One cluster is a matter of all members, everything else of each alone.
                    Some(Err(error @ Error::ClusterChanged { .. })) => return Err(error),
                    Some(Err(error)) if found.is_none() => return Err(error),
                    Some(Err(_)) => {}
                    None if found.is_some() => return Ok(()),
                    None => break,
                }
            }
            drop(asked);
            // A round that has no time to learn anything would hide what this one has learnt.
            if until.saturating_duration_since(tokio::time::Instant::now()) < LAST_ROUND {
                return Err(Error::unavailable(errors.join("; ")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn warn_of(endpoint: &str, version: &str) {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version_of = (next(), next(), next());
    let stale = STALE_READS_BEFORE
        .iter()
        .any(|fixed| (fixed.0, fixed.1) == (version_of.0, version_of.1) && version_of < *fixed);
    if stale {
        log::warn!("{endpoint} runs etcd {version}: after a pause of its process a linearizable read can be stale (etcd #20418)");
    }
}

/// A release under way.
pub(crate) struct Releasing(Rc<Io>);

impl Drop for Releasing {
    fn drop(&mut self) {
        self.0.releasing.send_modify(|count| *count -= 1);
    }
}
