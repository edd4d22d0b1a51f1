//! The I/O thread: what lives on it, how it ends, and what the parts on it share (DESIGN §6 "Threads").
//! Owns announcing lost terms, releases under way and the orderly end; the public face is `client`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::{Alarm, Clock};
use crate::error::{Error, Reason, Result};
use crate::etcd::{Etcd, Plan, Renewals, Renewer, Subscription, Watcher, Watches};
use crate::leadership::LeadershipShared;
use crate::lease::LeaseShared;
use crate::options::{ClientOptions, Validity};
use crate::pages::{Pages, Slot};
use crate::protocol::{self, Leader};
use crate::term::{TermShared, TermState};

/// How long [`Client::close`](crate::Client::close) waits for what drops have queued and for every release.
const CLOSE_FLUSH: Duration = Duration::from_secs(10);

/// Releases before 3.4.42, 3.5.28 and 3.6.9 can serve a stale read after a process pause (etcd #20418).
const STALE_READS_BEFORE: [(u64, u64, u64); 3] = [(3, 4, 42), (3, 5, 28), (3, 6, 9)];

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

/// What the I/O thread is started with.
pub(crate) struct Parts {
    pub(crate) options: ClientOptions,
    pub(crate) plans: Vec<Plan>,
    pub(crate) clock: Clock,
    pub(crate) pages: Arc<Pages>,
    pub(crate) inbox: mpsc::UnboundedReceiver<Job>,
    pub(crate) closed: Arc<AtomicBool>,
    pub(crate) _alive: std::sync::mpsc::Sender<()>,
}

/// What lives on the I/O thread. Nothing in it is locked.
pub(crate) struct Io {
    pub(crate) etcd: Rc<Etcd>,
    pub(crate) renewer: Rc<Renewer>,
    pub(crate) watcher: Rc<Watcher>,
    pub(crate) validity: Validity,
    pages: Arc<Pages>,
    next_id: Cell<u64>,
    closing: RefCell<Option<oneshot::Sender<Result<()>>>>,
    close: Notify,
    closed: Arc<AtomicBool>,
    /// Releases under way: closing waits for them.
    releasing: watch::Sender<usize>,
    /// Watches that leaderships hold on to between their calls.
    kept: RefCell<BTreeMap<u64, (Weak<LeadershipShared>, Subscription)>>,
}

/// Runs until the client is closed, or its last handle is gone.
pub(crate) async fn io_main(parts: Parts) {
    let Parts {
        options,
        plans,
        clock,
        pages,
        mut inbox,
        closed,
        _alive,
    } = parts;
    let (changed_told, mut changed) = mpsc::unbounded_channel();
    let (lost_told, mut lost) = mpsc::unbounded_channel();
    let validity = Validity {
        drift_ppm: options.drift_ppm,
    };
    let etcd = Rc::new(Etcd::open(&options, plans, clock.clone(), changed_told));
    let renewer = Renewer::new(etcd.clone(), Renewals::new(validity), lost_told.clone());
    let watcher = Watcher::new(etcd.clone(), Watches::new(options.reread), lost_told);
    let io = Rc::new(Io {
        etcd,
        renewer: renewer.clone(),
        watcher: watcher.clone(),
        validity,
        pages,
        next_id: Cell::new(1),
        closing: RefCell::default(),
        close: Notify::new(),
        closed,
        releasing: watch::Sender::new(0),
        kept: RefCell::default(),
    });
    let (Ok(renew_alarm), Ok(watch_alarm)) = (Alarm::new(&clock), Alarm::new(&clock)) else {
        log::error!("no timer of the boot clock: the client cannot run");
        io.closed.store(true, Ordering::Release);
        return;
    };
    let renewing = tokio::task::spawn_local(renewer.run(renew_alarm));
    let watching = tokio::task::spawn_local(watcher.run(watch_alarm));
    loop {
        tokio::select! {
            job = inbox.recv() => match job {
                Some(job) => job(&io),
                None => break,
            },
            Some(term) = lost.recv() => io.lost(&term),
            Some(message) = changed.recv() => io.cluster_changed(&message),
            () = io.close.notified() => break,
        }
    }
    io.closed.store(true, Ordering::Release);
    let flushed = io.shut_down(&mut inbox).await;
    renewing.abort();
    watching.abort();
    let told = io.closing.borrow_mut().take();
    if let Some(told) = told {
        let _ = told.send(flushed);
    }
    // Whoever was told must get to run before a runtime of our own is gone.
    tokio::task::yield_now().await;
}

impl Io {
    pub(crate) fn slot(&self) -> Result<Slot> {
        self.pages.slot().map_err(|error| Error::internal(format!("no memory for a deadline: {error}")))
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    pub(crate) fn close(&self, told: oneshot::Sender<Result<()>>) {
        self.closing.borrow_mut().get_or_insert(told);
        self.closed.store(true, Ordering::Release);
        self.close.notify_one();
    }

    async fn shut_down(self: &Rc<Self>, inbox: &mut mpsc::UnboundedReceiver<Job>) -> Result<()> {
        for term in self.renewer.with(|machine, _| machine.running()) {
            term.deadline.end(Reason::Closed);
            self.lost(&term);
        }
        let leaderships: Vec<_> = self.kept.borrow().values().filter_map(|(lead, _)| lead.upgrade()).collect();
        for lead in leaderships {
            lead.cancel_campaign();
        }
        let flush = async {
            // What drops have queued comes first: their messages are in the inbox already.
            while let Ok(job) = inbox.try_recv() {
                job(self);
            }
            tokio::task::yield_now().await;
            let mut releasing = self.releasing.subscribe();
            while *releasing.borrow_and_update() > 0 {
                tokio::select! {
                    _ = releasing.changed() => {}
                    Some(job) = inbox.recv() => job(self),
                }
            }
        };
        let flushed = tokio::time::timeout(CLOSE_FLUSH, flush).await;
        self.kept.borrow_mut().clear();
        flushed.map_err(|_| Error::Timeout {
            message: format!("{} releases were not confirmed within {CLOSE_FLUSH:?}", *self.releasing.borrow()),
        })
    }

    /// Counts as a release until it is dropped.
    pub(crate) fn releasing(self: &Rc<Self>) -> Releasing {
        self.releasing.send_modify(|count| *count += 1);
        Releasing(self.clone())
    }

    /// Watches a leadership's key from now until it is dropped.
    pub(crate) fn keep_watch(&self, lead: &Arc<LeadershipShared>) -> watch::Receiver<crate::etcd::Level> {
        let mut kept = self.kept.borrow_mut();
        let (_, subscription) = kept
            .entry(lead.id)
            .or_insert_with(|| (Arc::downgrade(lead), self.watcher.subscribe(&lead.key)));
        subscription.level.clone()
    }

    pub(crate) fn forget(&self, leadership: u64) {
        let gone = self.kept.borrow_mut().remove(&leadership);
        drop(gone); // after the borrow: its end is a message to the watcher
    }

    /// A term was found lost: announce it, once, and release what it held.
    pub(crate) fn lost(self: &Rc<Self>, term: &Arc<TermShared>) {
        let reason = term.deadline.lost().unwrap_or(Reason::Expired);
        let announced = term.state.send_if_modified(|state| {
            let first = !matches!(state, TermState::Lost(_));
            if first {
                *state = TermState::Lost(reason);
            }
            first
        });
        if announced {
            self.renewer.with(|machine, _| machine.remove_term(term.id));
            self.watcher.with(|machine, _, _| machine.unbind(term));
            crate::leadership::release_lost(self, term);
        }
    }

    fn cluster_changed(self: &Rc<Self>, message: &str) {
        log::error!("another cluster answers, every term ends: {message}");
        self.watcher.with(|machine, now, _| machine.forget_cluster(now));
        for term in self.renewer.with(|machine, _| {
            machine.forget_cluster();
            machine.running()
        }) {
            term.deadline.end(Reason::ClusterChanged);
            self.lost(&term);
        }
    }

    /// Revokes a lease until etcd has said so, or it must have run out by itself.
    pub(crate) async fn retired(self: &Rc<Self>, lease: Arc<LeaseShared>) -> Result<()> {
        let releasing = self.releasing();
        self.renewer.with(|machine, _| machine.remove(lease.id));
        match self.etcd.revoke(lease.id).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                drop(releasing);
                self.revoke_in_background(lease.id, lease.ttl * 2);
                Err(failure.into_error())
            }
        }
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
            let got = self.etcd.read("get_leader", key, &txn).await.map_err(crate::etcd::Failure::into_error)?;
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
            let asked = self.etcd.endpoints().iter().map(|endpoint| {
                Box::pin(async move {
                    let name = &endpoint.name;
                    match self.etcd.status(endpoint, bound).await {
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
            while let Some(answer) = asked.next().await {
                match answer {
                    Ok(()) => return Ok(()),
                    Err(Error::Unavailable { message }) => errors.push(message),
                    Err(error) => return Err(error),
                }
            }
            drop(asked);
            if tokio::time::Instant::now() >= until {
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
