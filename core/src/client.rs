//! The client: the public face of one I/O thread, through which every byte to and from etcd goes.
//! Owns starting that thread and messages to it; what runs there is `io`'s.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::blocking::block_on;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::etcd::{Dialer, Plan, Wire};
use crate::io::{Cancel, Io, Job};
use crate::elector::{Elector, Term};
use crate::options::{CampaignOptions, ClientOptions, Validity};
use crate::pages::Pages;
use crate::protocol::{self, Leader};
use crate::shared_lease::SharedLease;
use crate::thread::{Parts, io_main};

/// How long the last drop of a client waits for what other drops have queued.
const DROP_FLUSH: Duration = Duration::from_millis(500);

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
    /// Electors that run.
    loops: AtomicUsize,
    ended: Ended,
    /// Closed once every term of this client has ended and been announced.
    terms_ended: watch::Receiver<()>,
    threaded: bool,
    /// The last drop waits for what is queued.
    drop_waits: AtomicBool,
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
            std::mem::forget((self.jobs.take(), self.ended.clone(), self.terms_ended.clone()));
            return;
        }
        self.jobs = None;
        let in_async = tokio::runtime::Handle::try_current().is_ok();
        if self.threaded && *self.drop_waits.get_mut() && !in_async && !ON_IO_THREAD.get() {
            let _ = block_on(self.ended.wait(), Some(DROP_FLUSH), None);
        }
    }
}

const THREAD_NAME: &str = "leadership-io";
const RESOLVER_NAME: &str = "leadership-dns";

thread_local! {
    /// Without a destructor, so that it can be asked at the end of a thread too.
    static ON_IO_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Knows when a client's I/O thread has ended, with everything that was queued there, and keeps nothing alive.
#[derive(Clone, Debug)]
pub struct Ended(watch::Receiver<()>);

impl Ended {
    /// Resolves when the thread has ended. Cancel-safe; any executor.
    pub async fn wait(&self) {
        let mut alive = self.0.clone();
        while alive.changed().await.is_ok() {}
    }

    /// True once the thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

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
        let dialer = Dialer::of(&options)?;
        let plans = dialer.plans(&options)?;
        let (client, parts) = Client::parts(options, plans, Some(dialer), Clock::boot(), true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Host names are looked up on threads beside it, for a moment.
            .thread_name(RESOLVER_NAME)
            .thread_keep_alive(Duration::from_millis(100))
            .build()
            .map_err(|error| Error::internal(format!("no runtime: {error}")))?;
        std::thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || {
                ON_IO_THREAD.set(true);
                tokio::task::LocalSet::new().block_on(&runtime, io_main(parts));
            })
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
        let (client, parts) = Client::parts(options, plans, None, clock, false)?;
        tokio::task::spawn_local(io_main(parts));
        Ok(client)
    }

    fn parts(
        options: ClientOptions,
        plans: Vec<Plan>,
        dialer: Option<Dialer>,
        clock: Clock,
        threaded: bool,
    ) -> Result<(Client, Parts)> {
        let pages = Pages::new().map_err(|error| Error::internal(format!("no pages that a fork wipes: {error}")))?;
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (alive, ended) = watch::channel(());
        let (ending, terms_ended) = watch::channel(());
        let closed = Arc::new(AtomicBool::new(false));
        let client = Client {
            inner: Arc::new(Inner {
                jobs: Some(jobs),
                pages: pages.clone(),
                clock: clock.clone(),
                closed: closed.clone(),
                loops: AtomicUsize::new(0),
                ended: Ended(ended),
                terms_ended,
                threaded,
                drop_waits: AtomicBool::new(true),
                drift_ppm: options.drift_ppm,
            }),
        };
        let parts = Parts {
            options,
            plans,
            dialer,
            clock,
            pages,
            inbox,
            closed,
            ending,
            _alive: alive,
        };
        Ok((client, parts))
    }

    /// Waits until a member answers and knows a leader, for at most `timeout`; the others have a moment (100 ms) more, so
    /// that one of another cluster is found here. Warns in the log of etcd versions with known faults. Cancel-safe.
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

    /// The endpoints known now, as `host:port`: those the client was given, and with
    /// [`endpoint_sync`](ClientOptions::endpoint_sync) those of etcd's member list. Sends nothing.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    pub async fn endpoints(&self) -> Result<Vec<String>> {
        self.run(|io, _| async move {
            Ok(io.etcd.members().all().into_iter().map(|(_, endpoint)| endpoint.name.clone()).collect())
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

    /// One shot: campaigns for the single-key election of `key`, as long as it takes, until this process leads. The
    /// term is the caller's, and renewed until it is dropped or lost; there is no second one. More options has
    /// [`ElectorBuilder::lead`](crate::ElectorBuilder::lead).
    ///
    /// Cancel-safe: a dropped future leaves nothing behind (S8).
    ///
    /// # Errors
    /// `InvalidArgument` (`key`, `ttl`, `value`, `step_down_margin`; `compares`: it campaigns more than once),
    /// `PermissionDenied`, `Closed`, `Forked`.
    pub async fn lead(&self, key: impl Into<Vec<u8>>, options: CampaignOptions) -> Result<Term> {
        if !options.compares.is_empty() {
            return Err(Error::invalid("compares", "only a campaign of a Leadership takes conditions"));
        }
        Elector::builder(self, key).value(options.value).ttl(options.ttl).lead().await
    }

    /// A lease of `ttl` (rounded up to whole seconds) for several electors, to be given to each by
    /// [`ElectorBuilder::lease`](crate::ElectorBuilder::lease). Granted when the first of them needs it.
    ///
    /// # Errors
    /// `InvalidArgument` (`ttl`), `Closed`, `Forked`.
    pub fn shared_lease(&self, ttl: Duration) -> Result<SharedLease> {
        SharedLease::new(self, ttl)
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

    /// An elector runs on this client from now on: closing waits for its drain.
    pub(crate) fn begin_loop(&self) {
        self.inner.loops.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end_loop(&self) {
        self.inner.loops.fetch_sub(1, Ordering::AcqRel);
    }

    /// Drains the electors, ends every term (reason `closed`), releases their keys and leases, and stops the thread. Idempotent; calls
    /// made afterwards return `Closed`. Begins when it is called, not when it is awaited; dropping the future stops
    /// nothing: closing again waits again.
    ///
    /// # Errors
    /// `Timeout` when etcd did not confirm every release within 10 s: what is left goes with its lease. `Forked`.
    pub fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.closing(None)
    }

    /// [`close`](Self::close) that waits at most so long for the electors to drain: for the end of a process, where
    /// whoever holds a term may never come to let go of it.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_within(&self, drain: Duration) -> impl Future<Output = Result<()>> + Send + use<> {
        self.closing(Some(drain))
    }

    fn closing(&self, drain: Option<Duration>) -> impl Future<Output = Result<()>> + Send + use<> {
        let forked = self.forked();
        // Whoever closes while closing is under way waits for the same end.
        let (told, done) = oneshot::channel();
        if !forked {
            // With electors, only when they have drained: until then the work they drain goes on with this client.
            if self.inner.loops.load(Ordering::Acquire) == 0 {
                self.inner.closed.store(true, Ordering::Release);
            }
            self.send(move |io| io.close(drain, told));
        }
        async move {
            if forked {
                return Err(Error::Forked);
            }
            done.await.unwrap_or(Ok(())) // dropped untold: the thread had ended
        }
    }

    /// True once [`close`](Self::close) was called, and its electors have drained.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Acquire)
    }

    /// From now on the last drop does not wait: what is queued is done in the background. For whoever lets go of the
    /// client before what was made with it, and must not block afterwards.
    pub fn drop_without_waiting(&self) {
        self.inner.drop_waits.store(false, Ordering::Release);
    }

    /// When the I/O thread ends: after [`close`](Self::close), or after the last drop.
    #[must_use]
    pub fn ended(&self) -> Ended {
        self.inner.ended.clone()
    }

    /// The clock that every deadline of this client is on.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Closed once the client ends, by a close or otherwise: every term's end was announced before, and none begins any
    /// more. Earlier than [`ended`](Self::ended), which waits for every release.
    pub(crate) fn terms_ended(&self) -> watch::Receiver<()> {
        self.inner.terms_ended.clone()
    }

    pub(crate) fn validity(&self) -> Validity {
        Validity {
            drift_ppm: self.inner.drift_ppm,
        }
    }

    /// An error if every call would fail: nothing is sent, nothing locked.
    ///
    /// # Errors
    /// `Forked`, `Closed`.
    pub fn ensure_usable(&self) -> Result<()> {
        if self.inner.pages.forked() {
            return Err(Error::Forked);
        }
        if self.is_closed() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// [`ensure_usable`](Self::ensure_usable) for what a closed client still answers.
    pub(crate) fn ensure_not_forked(&self) -> Result<()> {
        if self.forked() { Err(Error::Forked) } else { Ok(()) }
    }

    pub(crate) fn is_same(&self, other: &Client) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// True in a child of the process that connected: there it is dead, and nothing of it may be dropped that could be
    /// locked (S12).
    #[must_use]
    pub fn forked(&self) -> bool {
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

