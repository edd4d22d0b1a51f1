//! One place in a queue: joining, waiting for the one before, the takeover delay, the proof, the term (S4, S7, S15).
//! Owns the order of the steps and leaving when one fails; what the queue looks like is read by `protocol`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};

use super::Shared;
use crate::error::{Error, Result, show};
use crate::etcd::{Failure, Got, Level, Proof, Reader};
use crate::io::{Cancel, Io};
use crate::lease::{Granting, Lease};
use crate::leadership::{Alone, next_id};
use crate::moving::Pinned;
use crate::options::{CampaignOptions, DEFAULT_TAKEOVER_DELAY, step_down_margin, ttl_secs};
use crate::protocol::{self, Guard, Joined, Key, QueueView, TxnReply};
use crate::release;
use crate::resets::{Resets, Since};
use crate::shared_lease::SharedLease;
use crate::term::{Announced, Deadline, Holding, LeaseShared, Proclaimed, Release, TermShared};

/// A term on its way to who waited for it. Dropped on the way, it is given up (S8).
pub(crate) struct Won(Option<(Arc<Shared>, Arc<TermShared>)>);

impl Won {
    pub(crate) fn take(mut self) -> Option<Arc<TermShared>> {
        Some(self.0.take()?.1)
    }
}

impl Drop for Won {
    fn drop(&mut self) {
        let Some((queue, term)) = self.0.take() else { return };
        if queue.client.forked() {
            std::mem::forget((queue, term)); // the parent's, not the child's to end (S12)
            return;
        }
        term.deadline.end(crate::Reason::Resigned);
        queue.client.send(move |io| release::lost(io, &term));
    }
}

/// What a place in line is taken with.
pub(crate) struct Stand {
    pub(crate) options: CampaignOptions,
    /// `None`: a lease of its own.
    pub(crate) lease: Option<SharedLease>,
    /// Set to the lease that its key names.
    pub(crate) own: Rc<Cell<i64>>,
    /// Told when it is first in line, and waits the takeover delay.
    pub(crate) delayed: Box<dyn Fn()>,
}

pub(crate) async fn campaign(io: Rc<Io>, queue: Arc<Shared>, stand: Stand, cancel: Cancel) -> Result<Won> {
    let resets = Arc::<Resets>::default();
    let closed = Resets::since(&resets);
    let mut place = Place {
        io: io.clone(),
        queue: queue.clone(),
        id: next_id(),
        resets,
        lease: None,
        shared: None,
        joining: None,
        join_unknown: false,
        beside: true,
        create: None,
    };
    let outcome = tokio::select! {
        outcome = place.run(&stand, &closed) => outcome,
        () = cancel.wait() => Err(Error::cancelled("campaign", &queue.prefix)),
        () = closed.wait() => Err(Error::Closed),
    };
    match outcome {
        Ok(term) => {
            // The watch of its own key is the term's, for as long as that holds the key.
            let (id, shared, led) = (place.id, place.shared.take(), term.clone());
            tokio::task::spawn_local(async move {
                led.released.wait().await;
                io.forget(id);
                drop(shared);
            });
            Ok(Won(Some((queue, term))))
        }
        Err(error) => {
            let releasing = io.releasing();
            let mut leaving = tokio::task::spawn_local(async move {
                let _releasing = releasing;
                place.leave().await;
            });
            let _ = tokio::time::timeout(io.etcd.timeout, &mut leaving).await;
            Err(error)
        }
    }
}

/// How joining went.
type Sent = std::result::Result<Got<TxnReply>, Failure>;

struct Place {
    io: Rc<Io>,
    queue: Arc<Shared>,
    id: u64,
    resets: Arc<Resets>,
    lease: Option<Arc<LeaseShared>>,
    /// With a shared lease: held until the own key is known to be gone.
    shared: Option<OnShared>,
    /// While the own key is being put: a place that is left waits for it.
    joining: Option<JoinHandle<Sent>>,
    /// The own key may have been put, or may still be.
    join_unknown: bool,
    /// May the keys beside the prefix be read and written? (A role with the candidates' keys alone may not, S15.)
    beside: bool,
    /// The revision at which the own key was created.
    create: Option<i64>,
}

/// A place's use of a shared lease.
struct OnShared {
    _lease: Lease,
    /// Two places under one key would be one, and the key names the lease: it must not move.
    _alone: (Alone, Pinned),
}

/// The queue as a look at it showed it.
struct Look {
    view: QueueView,
    proof: Proof,
}

impl Place {
    async fn run(&mut self, stand: &Stand, closed: &Since) -> Result<Arc<TermShared>> {
        let io = self.io.clone();
        let options = &stand.options;
        let lease = self.obtain_lease(stand).await?;
        let margin = step_down_margin(self.queue.options.step_down_margin, lease.ttl, io.validity)?;
        stand.own.set(lease.id());
        let own: Key = protocol::queue_key(&self.queue.prefix, lease.id()).into();
        let mut level = io.keep_watch(self.id, &own, &self.resets);
        let create = self.join(&lease, &own, &options.value).await?;
        // At the pace of who waits, and unconfirmed: the look that shows its turn confirms.
        io.renewer.with(|machine, _| machine.stand(lease.id()));
        let guard = Guard {
            key: own,
            create,
            lease: lease.id(),
        };
        let holding = Arc::new(Holding::new(guard.clone()));
        let (look, resigned) = self.wait_for_turn(&lease, &guard, &holding, &mut level).await?;
        let delay = self.queue.options.takeover_delay;
        let mut proof = Some(look.proof);
        if !resigned && !delay.is_zero() {
            (stand.delayed)();
            self.wait_as_first(&lease, &holding, &mut level, delay).await?;
            proof = None; // one that was begun when the delay ended
        }
        let oldest = if delay.is_zero() { DEFAULT_TAKEOVER_DELAY } else { delay };
        // A successor counts its delay on another clock, which may be faster than ours by the drift.
        let oldest = oldest * (1_000_000 - io.validity.drift_ppm.min(1_000_000)) / 1_000_000;
        loop {
            self.still_mine(&lease, &holding, &level.look().clone())?;
            let proven = match proof.take() {
                Some(proof) => proof,
                None => {
                    let look = self.look_while_mine(&lease, &guard, &holding, &mut level).await?;
                    if !look.view.is_first(&guard) {
                        return Err(self.lost(&guard, &look.view));
                    }
                    look.proof
                }
            };
            match io.renewer.with(|machine, now| machine.confirm_by(lease.id(), proven, now)) {
                Some(deadline) if io.etcd.clock.now().since(proven.begun) <= oldest => {
                    self.still_mine(&lease, &holding, &level.look().clone())?;
                    if closed.happened() {
                        return Err(Error::Closed);
                    }
                    return self.start(&lease, options, holding, margin, proven, deadline);
                }
                Some(_) => {}
                None => io.renewer.renewed_once(&lease).await,
            }
        }
    }

    async fn obtain_lease(&mut self, stand: &Stand) -> Result<Arc<LeaseShared>> {
        let lease = match &stand.lease {
            Some(shared) => loop {
                let lease = shared.lease(&self.io).await?;
                let own = protocol::queue_key(&self.queue.prefix, lease.id());
                let alone = Alone::with(&self.io, lease.shared(), &own).await?;
                let granted = lease.shared().clone();
                // The place before this one may have ended only now, and not well (S10).
                if !granted.tainted.load(Ordering::Acquire) {
                    self.shared = Some(OnShared { _lease: lease, _alone: alone });
                    break granted;
                }
            },
            None => {
                let mut granting = Granting::new(&self.io);
                let secs = ttl_secs(stand.options.ttl)?;
                let granted = granting.grant(secs, self.queue.options.purpose.clone()).await?;
                granting.keep();
                // A key that names its lease cannot move to another.
                granted.settled.store(u64::MAX, Ordering::Release);
                granted
            }
        };
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    /// The revision at which the own key was created. Safe to repeat: the key names the lease, and nobody else uses that
    /// for this queue until the key is known to be gone.
    async fn join(&mut self, lease: &LeaseShared, own: &Key, value: &[u8]) -> Result<i64> {
        let (io, key) = (self.io.clone(), own.clone());
        let txn = protocol::join(&self.queue.prefix, lease.id(), value, self.beside);
        // A task of its own: who leaves must know what has become of it.
        let joining = tokio::task::spawn_local(async move {
            io.etcd.txn(io.etcd.repeatable("joining the queue", &key), &txn).await
        });
        let joined = self.joining.insert(joining).await;
        self.joining = None;
        let prefix = show(&self.queue.prefix);
        match self.note_join(lease, joined) {
            Ok(Joined::At(create)) => Ok(create),
            Ok(Joined::Paused) => Err(Error::unavailable(format!("{prefix} is paused"))),
            Ok(Joined::Taken) => Err(Error::unavailable(format!("{} is another's", show(own)))),
            Err(Failure::NotApplied(Error::PermissionDenied { message })) if self.beside => {
                log::warn!("{prefix}: the user's role covers the candidates' keys alone ({message}): always the takeover delay");
                self.beside = false;
                Box::pin(self.join(lease, own, value)).await
            }
            // The lease is gone (case 05): that passes, with another.
            Err(Failure::NotApplied(Error::NotLeader { .. })) => {
                lease.tainted.store(true, Ordering::Release);
                Err(Error::unavailable(format!("the lease ended before {prefix} was joined")))
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    fn note_join(
        &mut self,
        lease: &LeaseShared,
        sent: std::result::Result<Sent, JoinError>,
    ) -> std::result::Result<Joined, Failure> {
        let sent = sent.unwrap_or_else(|_| Err(Failure::Unknown("a join ended without an answer".to_owned())));
        self.join_unknown = matches!(sent, Err(Failure::Unknown(_)));
        let joined = protocol::joined(lease.id(), &sent?.body);
        if let Joined::At(create) = joined {
            self.create = Some(create);
        }
        Ok(joined)
    }

    async fn look(&self, guard: &Guard) -> Result<Look> {
        let txn = protocol::look(&self.queue.prefix, guard, self.beside);
        let got = self.io.etcd.read("look at the queue", &guard.key, &txn).await.map_err(Failure::into_error)?;
        Ok(Look {
            view: protocol::look_reply(&got.body),
            proof: Proof {
                begun: got.sent,
                raft_term: got.header.raft_term,
            },
        })
    }

    /// [`look`](Self::look), again and again while etcd is away: the place is kept as long as the lease lives.
    async fn look_while_mine(
        &self,
        lease: &LeaseShared,
        guard: &Guard,
        holding: &Holding,
        level: &mut Reader<Level>,
    ) -> Result<Look> {
        loop {
            match self.look(guard).await {
                Err(error) if error.is_retriable() => log::debug!("{error}"),
                done => return done,
            }
            self.still_mine(lease, holding, &level.look().clone())?;
            tokio::time::sleep(Duration::from_millis(100 + self.io.etcd.random(200))).await;
        }
    }

    fn lost(&self, guard: &Guard, view: &QueueView) -> Error {
        log::debug!("{}: the own place in the queue is gone", show(&guard.key));
        Error::NotElected {
            key: show(&self.queue.prefix),
            holder: view.first.as_ref().map(|kv| Box::new(protocol::queue_leader(kv))),
        }
    }

    /// Until the own key is the first. Also: whether the one before said itself, in the very delete that we saw, that it
    /// had ended its term (S15).
    async fn wait_for_turn(
        &self,
        lease: &LeaseShared,
        guard: &Guard,
        holding: &Holding,
        level: &mut Reader<Level>,
    ) -> Result<(Look, bool)> {
        let mut deleted = None;
        loop {
            let look = self.look_while_mine(lease, guard, holding, level).await?;
            if look.view.is_first(guard) {
                let resigned = protocol::leads_at_once(look.view.mark.as_ref(), deleted);
                return Ok((look, resigned));
            }
            let Some(before) = look.view.before.clone().filter(|_| look.view.own.is_some()) else {
                return Err(self.lost(guard, &look.view));
            };
            let mut predecessor = self.io.watcher.subscribe(&before.key.clone().into());
            deleted = loop {
                self.still_mine(lease, holding, &level.look().clone())?;
                let now = predecessor.level.look().clone();
                if let Some(error) = now.error {
                    return Err(error);
                }
                let gone = now.kv.as_ref().is_none_or(|kv| kv.create_revision != before.create_revision);
                if now.synced && now.revision >= before.create_revision && gone {
                    break now.deleted.filter(|_| now.kv.is_none());
                }
                tokio::select! {
                    changed = predecessor.level.changed() => changed.map_err(|_| Error::Closed)?,
                    changed = level.changed() => changed.map_err(|_| Error::Closed)?,
                    () = tokio::time::sleep(lease.deadline.remaining().max(Duration::from_millis(1))) => {}
                }
            };
        }
    }

    async fn wait_as_first(
        &self,
        lease: &LeaseShared,
        holding: &Holding,
        level: &mut Reader<Level>,
        delay: Duration,
    ) -> Result<()> {
        let until = self.io.etcd.clock.now().after(delay);
        loop {
            self.still_mine(lease, holding, &level.look().clone())?;
            let left = until.since(self.io.etcd.clock.now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::select! {
                changed = level.changed() => changed.map_err(|_| Error::Closed)?,
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// A place whose key or lease is gone is no place: it fails at once, not when its turn would come (case 05).
    fn still_mine(&self, lease: &LeaseShared, holding: &Holding, level: &Level) -> Result<()> {
        if let Some(error) = &level.error {
            return Err(error.clone());
        }
        let gone = level.synced && holding.judge(level.kv.as_deref(), level.revision).is_some();
        if gone || !lease.deadline.valid() {
            return Err(Error::NotElected {
                key: show(&self.queue.prefix),
                holder: None,
            });
        }
        Ok(())
    }

    fn start(
        &self,
        lease: &Arc<LeaseShared>,
        options: &CampaignOptions,
        holding: Arc<Holding>,
        margin: Duration,
        proof: Proof,
        deadline: crate::BootTime,
    ) -> Result<Arc<TermShared>> {
        let now = self.io.etcd.clock.now();
        if now >= deadline.before(margin) || !lease.deadline.valid() {
            return Err(Error::Timeout {
                message: format!("campaign for {}: won too late for its lease", show(&holding.key)),
            });
        }
        let clock = self.io.etcd.clock.clone();
        lease.deadline.set(deadline, now, clock.suspended());
        let term = Arc::new(TermShared {
            id: self.io.next_id(),
            token: holding.create,
            holding,
            queued: true,
            value: options.value.clone(),
            proclaimed: Proclaimed::default(),
            lease: lease.clone(),
            lease_is_callers: self.shared.is_some(),
            may_mark: self.beside,
            deadline: Deadline::start(self.io.slot()?, clock, margin, deadline),
            state: Announced::leading(),
            released: Release::default(),
        });
        self.io.renewer.with(|machine, now| machine.add_term(term.clone(), proof.begun, now));
        self.io.watcher.bind(&term);
        Ok(term)
    }

    /// Leaves the queue: the own key goes with its lease, or by itself if that is shared.
    async fn leave(mut self) {
        self.io.forget(self.id);
        let Some(lease) = self.lease.take() else { return };
        if self.shared.is_some() {
            return self.leave_shared(&lease).await;
        }
        if !lease.closed.swap(true, Ordering::AcqRel) {
            lease.deadline.end(crate::Reason::Resigned);
            let _ = self.io.retired(lease).await;
        }
    }

    /// The lease goes on, the key must not: deleted until that is known (S7, S8).
    async fn leave_shared(&mut self, lease: &LeaseShared) {
        let own: Key = protocol::queue_key(&self.queue.prefix, lease.id()).into();
        if let Some(joining) = self.joining.take() {
            let joined = joining.await;
            let _ = self.note_join(lease, joined); // nobody waits for the place any more
        }
        let unknown = self.join_unknown;
        if unknown {
            // Absent proves nothing while the put can still arrive: nobody joins with this lease again, and the key is
            // looked for as long as it lives.
            lease.tainted.store(true, Ordering::Release);
        }
        while (unknown || self.create.is_some()) && lease.deadline.valid() {
            let gone = match self.create {
                Some(create) => self.delete(&own, create, lease.id()).await,
                None => {
                    let read = self.io.etcd.read("leaving the queue", &own, &protocol::get([&*own])).await;
                    let found = read.ok().and_then(|got| got.body.kvs(0).first().cloned());
                    self.create = found.filter(|kv| kv.lease == lease.id()).map(|kv| kv.create_revision);
                    false
                }
            };
            if gone {
                self.create = None;
            } else if self.create.is_none() {
                tokio::time::sleep(lease.ttl / 10).await;
            } else {
                tokio::time::sleep(Duration::from_millis(20 + self.io.etcd.random(20))).await;
            }
        }
        if self.create.is_some() {
            lease.tainted.store(true, Ordering::Release);
        }
    }

    /// True when the own key is known to be gone. A place is never moved or written again: no MOD is compared.
    async fn delete(&self, own: &Key, create: i64, lease: i64) -> bool {
        let guard = Guard {
            key: own.clone(),
            create,
            lease,
        };
        let ask = self.io.etcd.repeatable("leaving the queue", own);
        self.io.etcd.txn(ask, &protocol::surrender(&guard)).await.is_ok()
    }
}
