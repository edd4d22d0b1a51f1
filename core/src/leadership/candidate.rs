//! A candidate of the single-key kind: what it stands with, a lease and a registration, before it takes the key.
//! Owns making both and whether they still stand; winning is `campaign`'s, undoing `giving_up`'s.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::LeadershipShared;
use super::giving_up::Alone;
use crate::error::{Error, Result, show};
use crate::etcd::{Failure, Got, Level, Reader};
use crate::io::Io;
use crate::lease::{Granting, Lease};
use crate::moving::{self, Pinned, Registration};
use crate::options::{step_down_margin, ttl_secs};
use crate::protocol::{self, Registered, TxnReply};
use crate::resets::Since;
use crate::shared_lease::SharedLease;
use crate::term::LeaseShared;

/// What a candidate stands with.
pub(crate) struct Stand {
    pub(crate) value: Vec<u8>,
    /// Higher is preferred.
    pub(crate) priority: i64,
    pub(crate) lease: Source,
}

/// Where a candidate's lease comes from.
pub(crate) enum Source {
    /// One of its own, of this TTL.
    Own(Duration),
    /// One of the caller's, which is neither renewed nor revoked here.
    Set(Lease),
    /// The one of now that several share: renewed for all, and held until nothing of this candidate's is on it.
    Shared(SharedLease),
}

/// One candidate, from its lease to its term: it wins once at most. Whoever drops it before that calls
/// [`withdraw`](Self::withdraw), or its lease and registration live on for a TTL.
pub(crate) struct Candidate {
    pub(super) io: Rc<Io>,
    pub(super) lead: Arc<LeadershipShared>,
    pub(super) stand: Stand,
    pub(super) lease: Option<Arc<LeaseShared>>,
    pub(super) lease_is_callers: bool,
    /// Keeps a shared lease.
    pub(super) held: Option<Lease>,
    /// The step-down margin, checked with the granted TTL.
    pub(super) margin: Duration,
    /// The registration while it is under way: a candidate that is withdrawn waits for it.
    pub(super) registering: Option<JoinHandle<std::result::Result<Got<TxnReply>, Failure>>>,
    /// The registration may have been made, or may still be, and its revision is not known.
    pub(super) registration_unknown: bool,
    /// The registration, which a move of its lease makes anew.
    pub(super) registration: Rc<Registration>,
    /// Lets the registration move with its lease while it only stands.
    pub(super) standing: Option<moving::Standing>,
    /// Keeps the lease from moving while something under way names it.
    pub(super) pinned: Option<Pinned>,
    /// May registrations be written? (A role with the key alone stands without, S15.)
    pub(super) may_register: bool,
    /// May the mark be written?
    pub(super) may_mark: bool,
    /// The campaign's transaction may have been applied, or may still be.
    pub(super) under_way: bool,
    pub(super) won: Option<moving::Won>,
    /// We switched the lease's renewals on for the time of the campaign.
    pub(super) renewing_for_us: bool,
    /// With a lease of the caller's: until the term has begun, or nothing is left.
    pub(super) alone: Option<Alone>,
    /// The last change of the registration's value.
    pub(super) renaming: Option<JoinHandle<()>>,
    /// Changed by everything that ends this candidate, from its making on.
    pub(super) resets: Since,
    /// Told when the key is won and the takeover delay begins.
    pub(super) delayed: Option<Box<dyn Fn()>>,
}

impl Candidate {
    /// Sends nothing.
    pub(crate) fn new(io: &Rc<Io>, lead: &Arc<LeadershipShared>, stand: Stand, resets: Since) -> Candidate {
        let value = protocol::registration_value(stand.priority, &stand.value);
        Candidate {
            io: io.clone(),
            lead: lead.clone(),
            stand,
            lease: None,
            lease_is_callers: false,
            held: None,
            margin: Duration::ZERO,
            registering: None,
            registration_unknown: false,
            registration: Rc::new(Registration::new(&lead.key, &value)),
            standing: None,
            pinned: None,
            may_register: true,
            may_mark: true,
            under_way: false,
            won: None,
            renewing_for_us: false,
            alone: None,
            renaming: None,
            resets,
            delayed: None,
        }
    }

    /// Has `tell` called when the key is won and the takeover delay begins.
    pub(crate) fn on_delay(&mut self, tell: impl Fn() + 'static) {
        self.delayed = Some(Box::new(tell));
    }

    /// The watch of the key, kept with the contender.
    pub(super) fn watch(&self) -> Reader<Level> {
        self.io.keep_watch(self.lead.id, &self.lead.key, &self.lead.resets)
    }

    /// [`register`](Self::register), and stays: a lease of its own is renewed from now on, at the pace of who waits.
    pub(crate) async fn prepare(&mut self) -> Result<()> {
        self.register().await?;
        let lease = self.standing_lease()?;
        if !self.lease_is_callers {
            self.io.renewer.with(|machine, _| machine.stand(lease.id()));
        }
        self.rest(&lease);
        Ok(())
    }

    /// Nothing is under way that names the lease: its keys, the registration among them, may move to a fresh one.
    pub(super) fn rest(&mut self, lease: &Arc<LeaseShared>) {
        if self.registered().is_some() {
            self.standing.get_or_insert_with(|| moving::Standing::new(&self.io, lease, &self.registration));
        }
        self.pinned = None;
        moving::may_move(&self.io, lease);
    }

    /// Waits until the lease does not move, and keeps it from moving.
    pub(super) async fn pin(&mut self, lease: &Arc<LeaseShared>) {
        while self.pinned.is_none() {
            self.pinned = Pinned::new(&self.io, lease);
            if self.pinned.is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Obtains a lease and registers. Once.
    pub(super) async fn register(&mut self) -> Result<()> {
        drop(self.watch()); // it is made meanwhile
        let lease = self.obtain_lease().await?;
        self.margin = step_down_margin(self.lead.options.step_down_margin, lease.ttl, self.io.validity)?;
        self.make_registration(&lease).await
    }

    /// Can it still win? Not once it has won, or may have; nor without its lease or its registration.
    pub(crate) fn stands(&self) -> bool {
        let lives = self.lease.as_ref().is_some_and(|lease| lease.deadline.valid());
        lives && self.won.is_none() && (self.registered().is_some() || !self.may_register && !self.under_way)
    }

    /// The revision at which it registered, while that stands.
    pub(crate) fn registered(&self) -> Option<i64> {
        self.registration.made.get()
    }

    /// As others see it, while its registration stands.
    pub(crate) fn as_registered(&self) -> Option<Registered> {
        Some(Registered {
            lease: self.lease.as_ref()?.id(),
            revision: self.registered()?,
            priority: self.stand.priority,
            value: self.stand.value.clone(),
        })
    }

    /// Its registration was seen to be gone, without a win of its own.
    pub(crate) fn deregistered(&self) {
        self.registration.made.set(None);
    }

    /// Is `lease` the one that it stands with?
    pub(crate) fn stands_with(&self, lease: i64) -> bool {
        lease != 0 && self.lease.as_ref().is_some_and(|own| own.ids().any(|id| id == lease))
    }

    pub(super) fn standing_lease(&self) -> Result<Arc<LeaseShared>> {
        self.lease.clone().ok_or_else(|| Error::internal("a candidate without a lease campaigns"))
    }

    async fn obtain_lease(&mut self) -> Result<Arc<LeaseShared>> {
        let set = match &self.stand.lease {
            Source::Own(_) => None,
            Source::Set(lease) => Some(lease.clone()),
            Source::Shared(shared) => {
                let lease = shared.lease(&self.io).await?;
                self.held = Some(lease.clone());
                Some(lease)
            }
        };
        let own_ttl = match &self.stand.lease {
            Source::Own(ttl) => *ttl,
            _ => set.as_ref().map(Lease::ttl).unwrap_or_default(),
        };
        // A lease whose key was not seen deleted at the end of a term holds no key again (S10).
        let lease = match set.filter(|lease| !lease.shared().tainted.load(Ordering::Acquire)) {
            Some(lease) => {
                if lease.is_expired() {
                    if matches!(self.stand.lease, Source::Shared(_)) {
                        return Err(Error::unavailable(format!("the shared lease {:x} has just expired", lease.id())));
                    }
                    return Err(Error::invalid("lease", format!("lease {:x} has expired", lease.id())));
                }
                let (alone, pinned) = Alone::with(&self.io, lease.shared(), &self.lead.key).await?;
                (self.alone, self.pinned) = (Some(alone), Some(pinned));
                self.lease_is_callers = true;
                lease.shared().clone()
            }
            None => {
                let mut granting = Granting::new(&self.io);
                let purpose = self.lead.options.purpose.clone();
                let lease = granting.grant(ttl_secs(own_ttl)?, purpose).await?;
                granting.keep();
                lease
            }
        };
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    /// One registration, one win: what makes a campaign whose reply was lost safe to repeat, and to give up (S7).
    async fn make_registration(&mut self, lease: &LeaseShared) -> Result<()> {
        let (io, key) = (self.io.clone(), self.lead.key.clone());
        let txn = protocol::register(&key, lease.id(), self.registration.value.borrow().clone());
        // A task of its own: who gives the campaign up must know what has become of it.
        let registering = tokio::task::spawn_local(async move {
            io.etcd.txn(io.etcd.repeatable("registration", &key), &txn).await
        });
        let done = self.registering.insert(registering).await;
        self.registering = None;
        let key = &self.lead.key;
        match done.map_err(|_| Error::internal("a registration ended without an answer"))? {
            Ok(got) => {
                self.registration.made.set(protocol::registered(&got.body));
                if self.registered().is_none() {
                    return Err(Error::unavailable(format!("the registration for {} vanished", show(key))));
                }
                Ok(())
            }
            Err(Failure::NotApplied(Error::PermissionDenied { message })) => {
                log::warn!(
                    "{}: the user's role covers the key alone ({message}): no hand-over, always the takeover delay",
                    show(key)
                );
                self.may_register = false;
                self.may_mark = false;
                Ok(())
            }
            Err(failure) => {
                self.registration_unknown = matches!(failure, Failure::Unknown(_));
                Err(self.lease_gone(failure.into_error()))
            }
        }
    }

    /// A lease that ended under a candidate (case 05) is a failure to be tried again, not an ended term.
    pub(super) fn lease_gone(&self, error: Error) -> Error {
        match error {
            Error::NotLeader { key, .. } => {
                Error::unavailable(format!("the lease ended before {key} was taken"))
            }
            error => error,
        }
    }
}
