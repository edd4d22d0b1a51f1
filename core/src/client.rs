//! The client: one thread of its own, through which every byte to and from etcd goes (DESIGN §6 "Threads").
//! Owns that thread, the messages to it and its orderly end; what runs there is `etcd/`'s and the leaderships'.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::{Alarm, Clock};
use crate::error::{Error, Reason, Result};
use crate::etcd::{Etcd, Plan, Renewals, Renewer, Subscription, Watcher, Watches, Wire};
use crate::leadership::LeadershipShared;
use crate::lease::LeaseShared;
use crate::options::{ClientOptions, Validity};
use crate::pages::{Pages, Slot};
use crate::protocol::{self, Leader};
use crate::term::{TermShared, TermState};

/// How long the last drop of a client waits for what other drops have queued.
const DROP_FLUSH: Duration = Duration::from_millis(500);
/// How long [`Client::close`] waits for it.
const CLOSE_FLUSH: Duration = Duration::from_secs(10);

/// Releases that before 3.4.42, 3.5.28 and 3.6.9 can serve a stale read after a process pause (etcd #20418).
const STALE_READS_BEFORE: [(u64, u64, u64); 3] = [(3, 4, 42), (3, 5, 28), (3, 6, 9)];

type Job = Box<dyn FnOnce(&Rc<Io>) + Send>;

/// A connection to one etcd cluster. Cheap to clone; usable from any thread and any executor, tokio's or not.
///
/// The last drop ends it: terms end at once, their keys are released in the background, and outside of async code the
/// drop waits up to 500 ms for that. [`close`](Self::close) does the same and says how it went.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    pages: Arc<Pages>,
    clock: Clock,
    closed: Arc<AtomicBool>,
    /// Disconnected when the I/O thread has ended.
    done: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    threaded: bool,
    drift_ppm: u32,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("closed", &self.inner.closed.load(Ordering::Acquire)).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.pages.forked() {
            // Not a lock, a channel or a thread of the parent's may be touched here (S12).
            std::mem::forget(self.jobs.take());
            return;
        }
        self.jobs = None;
        let in_async = tokio::runtime::Handle::try_current().is_ok();
        let on_io_thread = std::thread::current().name() == Some(THREAD_NAME);
        if self.threaded && !in_async && !on_io_thread {
            let done = self.done.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = done.recv_timeout(DROP_FLUSH);
        }
    }
}

const THREAD_NAME: &str = "leadership-io";

impl Client {
    /// Checks the endpoints and starts the I/O thread. No I/O: a dead etcd is found out by [`ready`](Self::ready) or
    /// the first call.
    ///
    /// # Errors
    /// `InvalidArgument` (`endpoints`), `Internal` if no thread can be started.
    pub fn connect<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Result<Client> {
        Client::with_options(ClientOptions::new(endpoints))
    }

    /// [`connect`](Self::connect) with every option.
    ///
    /// # Errors
    /// `InvalidArgument` names the option; `Internal` if no thread can be started.
    pub fn with_options(options: ClientOptions) -> Result<Client> {
        options.validate()?;
        let plans = Plan::of(&options)?;
        let (client, parts) = Client::parts(options, plans, Clock::boot(), true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::internal(format!("no runtime: {error}")))?;
        std::thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || tokio::task::LocalSet::new().block_on(&runtime, io_main(parts)))
            .map_err(|error| Error::internal(format!("no thread: {error}")))?;
        Ok(client)
    }

    /// The same client on the caller's own thread: in the current `LocalSet`, against services in process, on a given
    /// clock. For simulation and tests.
    ///
    /// # Errors
    /// As [`with_options`](Self::with_options).
    #[doc(hidden)]
    pub fn in_process(options: ClientOptions, wires: Vec<Wire>, clock: Clock) -> Result<Client> {
        options.validate()?;
        let plans = wires.into_iter().zip(&options.endpoints);
        let plans = plans.map(|(wire, name)| Plan::Ready { name: name.clone(), wire }).collect();
        let (client, parts) = Client::parts(options, plans, clock, false)?;
        tokio::task::spawn_local(io_main(parts));
        Ok(client)
    }

    fn parts(options: ClientOptions, plans: Vec<Plan>, clock: Clock, threaded: bool) -> Result<(Client, Parts)> {
        let pages = Pages::new().map_err(|error| Error::internal(format!("no pages that a fork wipes: {error}")))?;
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (alive, done) = std::sync::mpsc::channel();
        let closed = Arc::new(AtomicBool::new(false));
        let client = Client {
            inner: Arc::new(Inner {
                jobs: Some(jobs),
                pages: pages.clone(),
                clock: clock.clone(),
                closed: closed.clone(),
                done: std::sync::Mutex::new(done),
                threaded,
                drift_ppm: options.drift_ppm,
            }),
        };
        let parts = Parts {
            options,
            plans,
            clock,
            pages,
            inbox,
            closed,
            _alive: alive,
        };
        Ok((client, parts))
    }

    /// Waits until a member answers and knows a leader, for at most `timeout`. Warns in the log of etcd versions with
    /// known faults. Cancel-safe.
    ///
    /// # Errors
    /// `Unavailable` (each member's error), `PermissionDenied`, `ClusterChanged`, `Closed`, `Forked`.
    pub async fn ready(&self, timeout: Duration) -> Result<()> {
        self.run(move |io, cancel| async move {
            tokio::select! {
                ready = io.ready(timeout) => ready,
                () = cancel.wait() => Err(Error::Cancelled { message: "ready".to_owned() }),
            }
        })
        .await
    }

    /// Who leads the single-key election of `key`, read linearizably; `None` if nobody. The token is the one that
    /// the holder itself uses (S10).
    ///
    /// # Errors
    /// `InvalidArgument` (`key`), `Unavailable`, `Timeout`, `PermissionDenied`, `Closed`, `Forked`.
    pub async fn get_leader(&self, key: impl AsRef<[u8]>) -> Result<Option<Leader>> {
        let key = key.as_ref().to_vec();
        protocol::check_election_key(&key)?;
        self.run(move |io, cancel| async move {
            tokio::select! {
                leader = io.leader(&key) => leader,
                () = cancel.wait() => Err(Error::cancelled("get_leader", &key)),
            }
        })
        .await
    }

    /// How long a lease lives on by etcd's own count, and what was granted; `None` if it does not exist.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `PermissionDenied`, `Closed`, `Forked`.
    pub async fn lease_time_left(&self, lease: i64) -> Result<Option<(Duration, Duration)>> {
        self.run(move |io, _| async move {
            let (left, granted) = io.etcd.time_to_live(lease).await.map_err(crate::etcd::Failure::into_error)?;
            let secs = |n: i64| u64::try_from(n).ok().map(Duration::from_secs);
            Ok(secs(left).zip(secs(granted)))
        })
        .await
    }

    /// Ends every term (reason `closed`), releases their keys and leases, and stops the thread. Idempotent; calls
    /// made afterwards return `Closed`.
    ///
    /// # Errors
    /// `Timeout` when etcd did not confirm every release within 10 s: what is left goes with its lease. `Forked`.
    pub async fn close(&self) -> Result<()> {
        let closed = self
            .run(|io, _| async move {
                let (told, done) = oneshot::channel();
                io.close(told);
                done.await.map_err(|_| Error::Closed)?
            })
            .await;
        match closed {
            Err(Error::Closed) => Ok(()),
            closed => closed,
        }
    }

    /// True once [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Acquire)
    }

    /// The clock that every deadline of this client is on.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub(crate) fn validity(&self) -> Validity {
        Validity {
            drift_ppm: self.inner.drift_ppm,
        }
    }

    pub(crate) fn ensure_usable(&self) -> Result<()> {
        if self.inner.pages.forked() {
            return Err(Error::Forked);
        }
        if self.is_closed() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    pub(crate) fn is_same(&self, other: &Client) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn forked(&self) -> bool {
        self.inner.pages.forked()
    }

    /// A message to the I/O thread; lost if it has ended.
    pub(crate) fn send(&self, job: impl FnOnce(&Rc<Io>) + Send + 'static) {
        if !self.inner.pages.forked()
            && let Some(jobs) = &self.inner.jobs
        {
            let _ = jobs.send(Box::new(job));
        }
    }

    /// Runs `f` on the I/O thread, begun at once. When the answer is no longer wanted, `f` is told by [`Cancel`], and
    /// runs to its end.
    pub(crate) fn run<T, F, J>(&self, f: J) -> impl Future<Output = Result<T>> + Send + use<T, F, J>
    where
        T: Send + 'static,
        J: FnOnce(Rc<Io>, Cancel) -> F + Send + 'static,
        F: Future<Output = Result<T>> + 'static,
    {
        let usable = self.ensure_usable();
        let (mut told, answer) = oneshot::channel();
        if usable.is_ok() {
            self.send(move |io| {
                let cancel = Cancel::default();
                let io = io.clone();
                tokio::task::spawn_local(async move {
                    let work = f(io, cancel.clone());
                    tokio::pin!(work);
                    let done = tokio::select! {
                        done = &mut work => done,
                        () = told.closed() => {
                            cancel.trigger();
                            work.await
                        }
                    };
                    let _ = told.send(done);
                });
            });
        }
        let closed = self.inner.closed.clone();
        async move {
            usable?;
            match answer.await {
                Ok(done) => done,
                Err(_) if closed.load(Ordering::Acquire) => Err(Error::Closed),
                Err(_) => Err(Error::internal("a task of the I/O thread ended without an answer")),
            }
        }
    }
}

/// Told once that an answer is no longer wanted.
#[derive(Clone, Default)]
pub(crate) struct Cancel {
    state: Rc<(Cell<bool>, Notify)>,
}

impl Cancel {
    fn trigger(&self) {
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

struct Parts {
    options: ClientOptions,
    plans: Vec<Plan>,
    clock: Clock,
    pages: Arc<Pages>,
    inbox: mpsc::UnboundedReceiver<Job>,
    closed: Arc<AtomicBool>,
    _alive: std::sync::mpsc::Sender<()>,
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

async fn io_main(parts: Parts) {
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

    fn close(&self, told: oneshot::Sender<Result<()>>) {
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

    async fn leader(&self, key: &[u8]) -> Result<Option<Leader>> {
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

    async fn ready(&self, timeout: Duration) -> Result<()> {
        let until = tokio::time::Instant::now() + timeout;
        loop {
            let mut errors = Vec::new();
            for endpoint in self.etcd.endpoints() {
                let left = until.saturating_duration_since(tokio::time::Instant::now());
                let bound = left.min(self.etcd.timeout).max(Duration::from_millis(1));
                match self.etcd.status(endpoint, bound).await {
                    Ok(status) if status.leader != 0 => {
                        warn_of(&endpoint.name, &status.version);
                        return Ok(());
                    }
                    Ok(_) => errors.push(format!("{} knows no leader", endpoint.name)),
                    Err(failure) => match failure.into_error() {
                        Error::Unavailable { message } => errors.push(format!("{}: {message}", endpoint.name)),
                        error => return Err(error),
                    },
                }
            }
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
