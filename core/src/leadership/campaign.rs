//! One campaign: lease, registration, the transaction, the takeover delay, the proof, the term (S4, S7, S15).
//! Owns the order of the steps and what is undone when one fails; each transaction is `protocol`'s.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::LeadershipShared;
use super::giving_up::Alone;
use crate::clock::{Alarm, BootTime};
use crate::error::{Error, Result, show};
use crate::etcd::{Ask, Failure, Got, Level, Proof, Reader};
use crate::io::{Cancel, Io};
use crate::lease::{Granting, Lease};
use crate::moving;
use crate::options::{CampaignOptions, DEFAULT_TAKEOVER_DELAY, step_down_margin, ttl_secs};
use crate::protocol::{self, Campaign, CampaignReply, Guard, KeyValue, Leader, TxnReply};
use crate::resets::Since;
use crate::term::{Announced, Deadline, Holding, LeaseShared, Proclaimed, Release, TermShared};

pub(crate) async fn campaign(
    io: Rc<Io>,
    lead: Arc<LeadershipShared>,
    options: CampaignOptions,
    set: Option<Lease>,
    resets: Since,
    cancel: Cancel,
) -> Result<Won> {
    let mut attempt = Attempt {
        io: io.clone(),
        lead: lead.clone(),
        lease: None,
        lease_is_callers: false,
        registering: None,
        registration_unknown: false,
        registration: None,
        may_mark: true,
        under_way: false,
        won: None,
        renewing_for_us: false,
        alone: None,
        resets: resets.clone(),
    };
    let outcome = tokio::select! {
        outcome = attempt.run(&options, set) => outcome,
        () = cancel.wait() => Err(Error::cancelled("campaign", &lead.key)),
        () = resets.wait() => Err(Error::cancelled("campaign", &lead.key)),
    };
    let now = io.etcd.clock.now();
    let won = outcome.is_ok();
    lead.state().history.ended(won, now, |below| io.etcd.random(below));
    if !won {
        // The caller is told when nothing is left behind; when etcd does not answer, not later than a call may take.
        let releasing = io.releasing();
        let mut cleaning = tokio::task::spawn_local(async move {
            let _releasing = releasing;
            attempt.clean_up().await;
        });
        let _ = tokio::time::timeout(io.etcd.timeout, &mut cleaning).await;
    }
    outcome.map(|term| Won(Some((lead, term))))
}

/// A term on its way to who campaigned for it. Dropped on the way (nobody waits for it any more), it is given up (S8).
pub(crate) struct Won(Option<(Arc<LeadershipShared>, Arc<TermShared>)>);

impl Won {
    pub(crate) fn take(mut self) -> Option<Arc<TermShared>> {
        Some(self.0.take()?.1)
    }

    pub(crate) fn term(&self) -> Option<&Arc<TermShared>> {
        self.0.as_ref().map(|(_, term)| term)
    }
}

impl Drop for Won {
    fn drop(&mut self) {
        let Some((lead, term)) = self.0.take() else { return };
        if lead.client.forked() {
            std::mem::forget((lead, term)); // the parent's, not the child's to end (S12)
            return;
        }
        term.deadline.end(crate::Reason::Resigned);
        lead.client.send(move |io| crate::release::lost(io, &term));
    }
}

/// What a campaign has made so far: what must be undone if it fails.
pub(super) struct Attempt {
    pub(super) io: Rc<Io>,
    pub(super) lead: Arc<LeadershipShared>,
    pub(super) lease: Option<Arc<LeaseShared>>,
    pub(super) lease_is_callers: bool,
    /// The registration while it is under way: a campaign that is given up waits for it.
    pub(super) registering: Option<JoinHandle<std::result::Result<Got<TxnReply>, Failure>>>,
    /// The registration may have been made, or may still be, and its revision is not known.
    pub(super) registration_unknown: bool,
    /// The revision at which the registration was made.
    pub(super) registration: Option<i64>,
    /// May the mark be written? (A role with the key alone leads without, and without a registration, S15.)
    pub(super) may_mark: bool,
    /// The transaction may have been applied, or may still be.
    pub(super) under_way: bool,
    pub(super) won: Option<moving::Won>,
    /// We switched the lease's renewals on for the time of the campaign.
    pub(super) renewing_for_us: bool,
    /// With a lease of the caller's: until the term has begun, or nothing is left.
    pub(super) alone: Option<Alone>,
    /// Changed by everything that ends this campaign, from the call on.
    pub(super) resets: Since,
}

impl Attempt {
    async fn run(&mut self, options: &CampaignOptions, set: Option<Lease>) -> Result<Arc<TermShared>> {
        let io = self.io.clone();
        let lead = self.lead.clone();
        lead.state().value.clone_from(&options.value);
        self.back_off().await?;
        let mut level = io.keep_watch(lead.id, &lead.key, &lead.resets);
        let lease = self.obtain_lease(options, set).await?;
        let margin = step_down_margin(lead.options.step_down_margin, lease.ttl, io.validity)?;
        self.register(&lease, &options.value).await?;
        let win = self.take(&lease, options).await?;
        // From here on the key moves with its lease: nothing else of this campaign's hangs on that.
        self.won = Some(moving::Won::new(&io, &lease, &win.holding));
        if let Some(alone) = &mut self.alone {
            alone.won();
        }
        let (proof, deadline) = self.prove(&lease, &win, &mut level).await?;
        self.start(&lease, options, &win, margin, proof, deadline)
    }

    async fn back_off(&self) -> Result<()> {
        let until = self.lead.state().history.not_before();
        let mut alarm = self.alarm()?;
        alarm.wait_until(until).await;
        Ok(())
    }

    fn alarm(&self) -> Result<Alarm> {
        Alarm::new(&self.io.etcd.clock).map_err(|error| Error::internal(format!("no timer: {error}")))
    }

    async fn obtain_lease(&mut self, options: &CampaignOptions, set: Option<Lease>) -> Result<Arc<LeaseShared>> {
        // A lease whose key was not seen deleted at the end of a term holds no key again (S10).
        let usable = set.filter(|lease| !lease.shared().tainted.load(Ordering::Acquire));
        let lease = match usable {
            Some(lease) => {
                if lease.is_expired() {
                    return Err(Error::invalid("lease", format!("lease {:x} has expired", lease.id())));
                }
                self.alone = Some(Alone::with(&self.io, lease.shared(), &self.lead.key).await?);
                self.lease_is_callers = true;
                lease.shared().clone()
            }
            None => {
                let mut granting = Granting::new(&self.io);
                let purpose = self.lead.options.purpose.clone();
                let lease = granting.grant(ttl_secs(options.ttl)?, purpose).await?;
                granting.keep();
                lease
            }
        };
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    /// One registration, one win: what makes a campaign whose reply was lost safe to repeat, and to give up (S7).
    async fn register(&mut self, lease: &LeaseShared, value: &[u8]) -> Result<()> {
        let (io, key) = (self.io.clone(), self.lead.key.clone());
        let txn = protocol::register(&key, lease.id(), value);
        // A task of its own: who gives the campaign up must know what has become of it.
        let registering = tokio::task::spawn_local(async move {
            io.etcd.txn(io.etcd.repeatable("registration", &key), &txn).await
        });
        let done = self.registering.insert(registering).await;
        self.registering = None;
        let key = &self.lead.key;
        match done.map_err(|_| Error::internal("a registration ended without an answer"))? {
            Ok(got) => {
                self.registration = protocol::registered(&got.body);
                if self.registration.is_none() {
                    return Err(Error::unavailable(format!("the registration for {} vanished", show(key))));
                }
                Ok(())
            }
            Err(Failure::NotApplied(Error::PermissionDenied { message })) => {
                log::warn!(
                    "{}: the user's role covers the key alone ({message}): no hand-over, always the takeover delay",
                    show(key)
                );
                self.may_mark = false;
                Ok(())
            }
            Err(failure) => {
                self.registration_unknown = matches!(failure, Failure::Unknown(_));
                Err(self.lease_gone(failure.into_error()))
            }
        }
    }

    /// A lease that ended under a campaign (case 05) is a failure to be tried again, not an ended term.
    fn lease_gone(&self, error: Error) -> Error {
        match error {
            Error::NotLeader { key, .. } => {
                Error::unavailable(format!("the lease ended before {key} was taken"))
            }
            error => error,
        }
    }

    async fn take(&mut self, lease: &LeaseShared, options: &CampaignOptions) -> Result<Win> {
        let key = self.lead.key.clone();
        let campaign = Campaign {
            key: &key,
            value: &options.value,
            lease: lease.id(),
            registration: self.registration,
            mark: self.may_mark,
            compares: &options.compares,
        };
        let ask = Ask {
            // The registration makes a repetition harmless: it is used up by the first that is applied.
            repeat: self.registration.is_some(),
            ..self.io.etcd.repeatable("campaign", &key)
        };
        self.under_way = true;
        let got = match self.io.etcd.txn(ask, &protocol::campaign(&campaign)).await {
            Ok(got) => got,
            // The role covers key and registration, but not the mark: always the takeover delay.
            Err(Failure::NotApplied(Error::PermissionDenied { message })) if self.may_mark => {
                log::warn!("{}: the user's role does not cover the mark ({message})", show(&key));
                self.may_mark = false;
                return Box::pin(self.take(lease, options)).await;
            }
            Err(Failure::NotApplied(error)) => {
                self.under_way = false;
                return Err(self.lease_gone(error));
            }
            Err(Failure::Unknown(message)) => return self.find_out(lease, message).await,
        };
        self.under_way = got.repeated;
        let (create, removed_mark, found) = match protocol::campaign_reply(&campaign, &got.body) {
            CampaignReply::Won { create, removed_mark } => (create, removed_mark, false),
            CampaignReply::WonEarlier { create } => (create, None, true),
            CampaignReply::Held(leader) => {
                return Err(Error::NotElected {
                    key: show(&key),
                    holder: Some(Box::new(leader)),
                });
            }
            CampaignReply::Paused => return Err(Error::unavailable(format!("the election of {} is paused", show(&key)))),
            CampaignReply::CompareFailed => return Err(Error::CompareFailed { key: show(&key) }),
            CampaignReply::RegistrationGone => {
                return Err(Error::NotElected {
                    key: show(&key),
                    holder: None,
                });
            }
        };
        Ok(Win {
            holding: Arc::new(Holding::new(Guard {
                key,
                create,
                lease: lease.id(),
            })),
            removed_mark: removed_mark.filter(|_| !found),
            proof: Proof {
                begun: got.sent,
                raft_term: got.header.raft_term,
            },
            at: self.io.etcd.clock.now(),
        })
    }

    /// The transaction's outcome is unknown. With a registration: delete it, and what the key says then is the last
    /// word (S7). Without one only the key and the lease's end can tell; giving up revokes the lease.
    async fn find_out(&mut self, lease: &LeaseShared, message: String) -> Result<Win> {
        let key = self.lead.key.clone();
        let (Some(registration), begun) = (self.registration, self.io.etcd.clock.now()) else {
            return Err(Error::Timeout { message });
        };
        let txn = protocol::deregister(&key, lease.id(), registration);
        let ask = self.io.etcd.repeatable("giving up a campaign", &key);
        let Ok(got) = self.io.etcd.txn(ask, &txn).await else {
            return Err(Error::Timeout { message });
        };
        self.registration = None;
        self.under_way = false;
        match got.body.kvs(1).first() {
            Some(kv) if kv.lease == lease.id() && kv.create_revision > registration => Ok(Win {
                holding: Arc::new(Holding::new(Guard {
                    key,
                    create: kv.create_revision,
                    lease: lease.id(),
                })),
                removed_mark: None,
                proof: Proof {
                    begun: begun.max(got.sent),
                    raft_term: got.header.raft_term,
                },
                at: self.io.etcd.clock.now(),
            }),
            _ => Err(Error::Timeout { message }),
        }
    }

    /// From the win to the moment the term may start: the takeover delay where it is due, and a linearizable proof
    /// that is fresh and confirms the lease's last renewal.
    async fn prove(
        &mut self,
        lease: &Arc<LeaseShared>,
        win: &Win,
        level: &mut Reader<Level>,
    ) -> Result<(Proof, BootTime)> {
        let delay = self.lead.options.takeover_delay;
        let mut proof = Some(win.proof);
        if !self.may_lead_at_once(win, level, delay).await? {
            self.renew_meanwhile(lease);
            self.wait_as_holder(win, level, win.at.after(delay)).await?;
            proof = None; // one that was begun when the delay ended
        }
        // With no delay to stay within, a proof may be as old as the default one.
        let oldest = if delay.is_zero() { DEFAULT_TAKEOVER_DELAY } else { delay };
        // A successor counts its delay on another clock, which may be faster than ours by the drift.
        let oldest = oldest * (1_000_000 - self.io.validity.drift_ppm.min(1_000_000)) / 1_000_000;
        loop {
            self.still_mine(win, &level.look().clone())?;
            if !lease.deadline.valid() {
                return Err(Error::Timeout {
                    message: format!(
                        "campaign for {}: no proof younger than the takeover delay ({oldest:?}) before the lease's \
                         deadline",
                        show(&win.holding.key)
                    ),
                });
            }
            let proven = match proof.take() {
                Some(proof) => proof,
                None => self.read_proof(win).await?,
            };
            match self.io.renewer.with(|machine, now| machine.confirm_by(lease.id(), proven, now)) {
                Some(deadline) if self.io.etcd.clock.now().since(proven.begun) <= oldest => {
                    self.still_mine(win, &level.look().clone())?;
                    return Ok((proven, deadline));
                }
                Some(_) => {}
                None => self.io.renewer.renewed_once(lease).await,
            }
        }
    }

    /// The mark of the holder's own resign, on the delete directly before our create as our own watch shows it.
    async fn may_lead_at_once(
        &self,
        win: &Win,
        level: &mut Reader<Level>,
        delay: Duration,
    ) -> Result<bool> {
        if delay.is_zero() {
            return Ok(true);
        }
        // Nothing the watch could still tell would make the mark good.
        if !protocol::leads_at_once(win.removed_mark.as_ref(), win.removed_mark.as_ref().map(|mark| mark.mod_revision)) {
            return Ok(false);
        }
        let mut alarm = self.alarm()?;
        loop {
            let now = level.look().clone();
            self.still_mine(win, &now)?;
            if now.kv.as_ref().is_some_and(|kv| kv.create_revision == win.holding.create) {
                return Ok(protocol::leads_at_once(win.removed_mark.as_ref(), now.deleted));
            }
            tokio::select! {
                changed = level.changed() => changed.map_err(|_| Error::Closed)?,
                () = alarm.wait_until(win.at.after(delay)) => return Ok(false),
            }
        }
    }

    async fn wait_as_holder(&self, win: &Win, level: &mut Reader<Level>, until: BootTime) -> Result<()> {
        let mut alarm = self.alarm()?;
        loop {
            self.still_mine(win, &level.look().clone())?;
            tokio::select! {
                changed = level.changed() => changed.map_err(|_| Error::Closed)?,
                () = alarm.wait_until(until) => return Ok(()),
            }
        }
    }

    /// A delete or another's key at a higher revision, even one seen before the campaign's reply, ends it (S4).
    fn still_mine(&self, win: &Win, level: &Level) -> Result<()> {
        if let Some(error) = &level.error {
            return Err(error.clone());
        }
        if level.synced && win.holding.judge(level.kv.as_deref(), level.revision).is_some() {
            return Err(lost_again(&win.holding.key, level.kv.as_deref()));
        }
        Ok(())
    }

    async fn read_proof(&self, win: &Win) -> Result<Proof> {
        let key = &win.holding.key;
        let txn = protocol::get([&**key]);
        let got = self.io.etcd.read("proof of a win", key, &txn).await.map_err(Failure::into_error)?;
        let kv = got.body.kvs(0).first();
        if win.holding.judge(kv, got.body.revision).is_some() {
            return Err(lost_again(key, kv));
        }
        Ok(Proof {
            begun: got.sent,
            raft_term: got.header.raft_term,
        })
    }

    fn renew_meanwhile(&mut self, lease: &LeaseShared) {
        self.io.renewer.with(|machine, _| {
            if !machine.is_renewing(lease.id()) {
                self.renewing_for_us = true;
                machine.set_renewing(lease.id(), true);
            }
        });
        moving::may_move(&self.io, lease);
    }

    pub(super) fn stop_renewing_for_us(&mut self, lease: &LeaseShared) {
        if std::mem::take(&mut self.renewing_for_us) {
            self.io.renewer.with(|machine, _| machine.set_renewing(lease.id(), false));
        }
    }

    /// No await between the last look at the key and the term: nothing can come between.
    fn start(
        &mut self,
        lease: &Arc<LeaseShared>,
        options: &CampaignOptions,
        win: &Win,
        margin: Duration,
        proof: Proof,
        deadline: BootTime,
    ) -> Result<Arc<TermShared>> {
        let now = self.io.etcd.clock.now();
        if now >= deadline.before(margin) || !lease.deadline.valid() {
            // Case 05: a win that comes after the lease's deadline is a failure.
            return Err(Error::Timeout {
                message: format!("campaign for {}: won too late for its lease", show(&win.holding.key)),
            });
        }
        let clock = self.io.etcd.clock.clone();
        lease.deadline.set(deadline, now, clock.suspended());
        let term = Arc::new(TermShared {
            id: self.io.next_id(),
            holding: win.holding.clone(),
            queued: false,
            value: options.value.clone(),
            proclaimed: Proclaimed::default(),
            token: win.holding.create,
            lease: lease.clone(),
            lease_is_callers: self.lease_is_callers,
            may_mark: self.may_mark,
            deadline: Deadline::start(self.io.slot()?, clock, margin, deadline),
            state: Announced::leading(),
            released: Release::default(),
        });
        if !self.lead.begin(&term, &self.resets) {
            return Err(Error::cancelled("campaign", &self.lead.key));
        }
        self.stop_renewing_for_us(lease);
        self.io.renewer.with(|machine, now| machine.add_term(term.clone(), proof.begun, now));
        self.io.watcher.bind(&term);
        moving::may_move(&self.io, lease); // one of the caller's is renewed already
        if !self.lease_is_callers {
            let lease = Lease::of(lease.clone(), self.lead.client.clone());
            let previous = self.lead.state().lease.replace(lease);
            drop(previous);
        }
        Ok(term)
    }
}

/// A key taken, not yet led.
struct Win {
    holding: Arc<Holding>,
    removed_mark: Option<KeyValue>,
    proof: Proof,
    at: BootTime,
}

fn lost_again(key: &[u8], kv: Option<&KeyValue>) -> Error {
    Error::NotElected {
        key: show(key),
        holder: kv.map(|kv| Box::new(Leader::from_key(kv))),
    }
}
