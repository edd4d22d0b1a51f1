//! Winning: the campaign's transaction or a hand-over, the takeover delay, the proof, the term (S4, S7, S10, S15).
//! Owns the order of these steps; what they rest on is `candidate`'s, each transaction `protocol`'s.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::LeadershipShared;
use super::candidate::{Candidate, Source, Stand};
use crate::clock::{Alarm, BootTime};
use crate::error::{Error, Result, show};
use crate::etcd::{Ask, Failure, Level, Proof, Reader};
use crate::io::{Cancel, Io};
use crate::lease::Lease;
use crate::moving;
use crate::options::{CampaignOptions, DEFAULT_TAKEOVER_DELAY};
use crate::protocol::{self, Campaign, CampaignReply, Compare, Guard, Handed, Key, KeyValue, Leader};
use crate::resets::Since;
use crate::term::{Announced, Deadline, Holding, LeaseShared, Proclaimed, Release, TermShared};

pub(super) async fn campaign(
    io: Rc<Io>,
    lead: Arc<LeadershipShared>,
    options: CampaignOptions,
    set: Option<Lease>,
    resets: Since,
    cancel: Cancel,
) -> Result<Won> {
    lead.state().value.clone_from(&options.value);
    let stand = Stand {
        value: options.value,
        priority: 0,
        lease: set.map_or(Source::Own(options.ttl), Source::Set),
    };
    let mut candidate = Candidate::new(&io, &lead, stand, resets.clone());
    let work = async {
        back_off(&io, &lead).await?;
        candidate.register().await?;
        candidate.go(&options.compares).await
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = cancel.wait() => Err(Error::cancelled("campaign", &lead.key)),
        () = resets.wait() => Err(Error::cancelled("campaign", &lead.key)),
    };
    let now = io.etcd.clock.now();
    let won = outcome.is_ok();
    lead.state().history.ended(won, now, |below| io.etcd.random(below));
    if !won {
        // The caller is told when nothing is left behind; when etcd does not answer, not later than a call may take.
        let _ = tokio::time::timeout(io.etcd.timeout, candidate.withdraw()).await;
    }
    outcome.map(|term| Won(Some((lead, term))))
}

async fn back_off(io: &Rc<Io>, lead: &LeadershipShared) -> Result<()> {
    let until = lead.state().history.not_before();
    alarm(io)?.wait_until(until).await;
    Ok(())
}

fn alarm(io: &Rc<Io>) -> Result<Alarm> {
    Alarm::new(&io.etcd.clock).map_err(|error| Error::internal(format!("no timer: {error}")))
}

/// A term on its way to who campaigned for it. Dropped on the way (nobody waits for it any more), it is given up (S8).
pub(super) struct Won(Option<(Arc<LeadershipShared>, Arc<TermShared>)>);

impl Won {
    pub(super) fn take(mut self) -> Option<Arc<TermShared>> {
        Some(self.0.take()?.1)
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

impl Candidate {
    /// Takes the key if it is absent, in one transaction with the caller's compares, and leads after the takeover delay
    /// (S15) and on a fresh proof (S4). Refused for certain, the candidate goes on standing: see
    /// [`stands`](Self::stands). A dropped future leaves what was under way to [`withdraw`](Self::withdraw).
    pub(crate) async fn go(&mut self, compares: &[Compare]) -> Result<Arc<TermShared>> {
        let lease = self.standing_lease()?;
        self.pin(&lease).await;
        let outcome = async {
            let win = self.take(&lease, compares).await?;
            self.lead_by(&lease, win).await
        }
        .await;
        self.acted(&lease, outcome)
    }

    /// The watch shows the key under this candidate's lease: it was handed over, or a campaign has won whose reply was
    /// lost. Leads like a winner; at once only on the mark of the holder itself that the hand-over wrote (S10, S15).
    pub(crate) async fn go_handed(&mut self) -> Result<Arc<TermShared>> {
        let lease = self.standing_lease()?;
        self.pin(&lease).await;
        let outcome = async {
            let win = self.look_at_handed(&lease).await?;
            self.lead_by(&lease, win).await
        }
        .await;
        self.acted(&lease, outcome)
    }

    /// Who stands still after a failure lets its lease move again.
    fn acted<T>(&mut self, lease: &Arc<LeaseShared>, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() && self.standing.is_some() && self.stands() {
            self.rest(lease);
        }
        outcome
    }

    async fn lead_by(&mut self, lease: &Arc<LeaseShared>, win: Win) -> Result<Arc<TermShared>> {
        self.keep_won(lease, &win.holding);
        let mut level = self.watch();
        let (proof, deadline) = self.prove(lease, &win, &mut level).await?;
        self.start(lease, &win, proof, deadline)
    }

    /// From here on the key moves with its lease: nothing else of this candidate's hangs on that.
    fn keep_won(&mut self, lease: &Arc<LeaseShared>, holding: &Arc<Holding>) {
        self.won = Some(moving::Won::new(&self.io, lease, holding));
        (self.standing, self.pinned) = (None, None);
    }

    async fn look_at_handed(&mut self, lease: &Arc<LeaseShared>) -> Result<Win> {
        let (io, key) = (self.io.clone(), self.lead.key.clone());
        let (id, registration) = (lease.id(), self.registered());
        let read = |with_mark| {
            let (io, key) = (io.clone(), key.clone());
            async move { io.etcd.read("look at a key handed over", &key, &protocol::look_at_handed(&key, id, with_mark)).await }
        };
        let mut with_mark = self.may_mark;
        let mut got = read(with_mark).await;
        if with_mark && matches!(got, Err(Failure::NotApplied(Error::PermissionDenied { .. }))) {
            (with_mark, self.may_mark) = (false, false);
            got = read(with_mark).await;
        }
        let got = got.map_err(Failure::into_error)?;
        match protocol::handed_reply(&got.body, id, registration, with_mark) {
            Handed::Ours { kv, token, at_once } => {
                self.registration.made.set(None); // used up in the transaction that brought the key
                self.under_way = false;
                Ok(Win {
                    holding: Arc::new(Holding::since(holds(&key, &kv), kv.mod_revision)),
                    token,
                    value: kv.value,
                    sign: if at_once { Sign::HandedOver } else { Sign::None },
                    proof: Proof {
                        begun: got.sent,
                        raft_term: got.header.raft_term,
                    },
                    at: io.etcd.clock.now(),
                })
            }
            Handed::Strangers(kv) => {
                log::warn!("{}: somebody put it under the lease {id:x} of a candidate, which did not win it", show(&key));
                self.keep_won(lease, &Arc::new(Holding::since(holds(&key, &kv), kv.mod_revision))); // to be let go of
                Err(lost_again(&key, Some(&kv)))
            }
            Handed::Not(leader) => Err(Error::NotElected {
                key: show(&key),
                holder: leader.map(Box::new),
            }),
        }
    }

    async fn take(&mut self, lease: &Arc<LeaseShared>, compares: &[Compare]) -> Result<Win> {
        let key = self.lead.key.clone();
        let value = self.stand.value.clone();
        let campaign = Campaign {
            key: &key,
            value: &value,
            lease: lease.id(),
            registration: self.registered(),
            mark: self.may_mark,
            compares,
        };
        let ask = Ask {
            // The registration makes a repetition harmless: it is used up by the first that is applied.
            repeat: self.registered().is_some(),
            ..self.io.etcd.repeatable("campaign", &key)
        };
        self.under_way = true;
        let got = match self.io.etcd.txn(ask, &protocol::campaign(&campaign)).await {
            Ok(got) => got,
            // The role covers key and registration, but not the mark: always the takeover delay.
            Err(Failure::NotApplied(Error::PermissionDenied { message })) if self.may_mark => {
                log::warn!("{}: the user's role does not cover the mark ({message})", show(&key));
                self.may_mark = false;
                return Box::pin(self.take(lease, compares)).await;
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
                // With it nothing that is still under way can win any more.
                self.registration.made.set(None);
                self.under_way = false;
                return Err(Error::NotElected {
                    key: show(&key),
                    holder: None,
                });
            }
        };
        self.registration.made.set(None); // used up
        Ok(Win {
            holding: Arc::new(Holding::new(Guard {
                key,
                create,
                lease: lease.id(),
            })),
            token: create,
            value,
            sign: removed_mark.filter(|_| !found).map_or(Sign::None, Sign::Removed),
            proof: Proof {
                begun: got.sent,
                raft_term: got.header.raft_term,
            },
            at: self.io.etcd.clock.now(),
        })
    }

    /// The transaction's outcome is unknown. With a registration: delete it, and what the key says then is the last
    /// word (S7). Without one only the key and the lease's end can tell; giving up revokes the lease.
    async fn find_out(&mut self, lease: &Arc<LeaseShared>, message: String) -> Result<Win> {
        let key = self.lead.key.clone();
        let (Some(registration), begun) = (self.registered(), self.io.etcd.clock.now()) else {
            return Err(Error::Timeout { message });
        };
        let txn = protocol::deregister(&key, lease.id(), registration);
        let ask = self.io.etcd.repeatable("giving up a campaign", &key);
        let Ok(got) = self.io.etcd.txn(ask, &txn).await else {
            return Err(Error::Timeout { message });
        };
        self.registration.made.set(None);
        self.under_way = false;
        match got.body.kvs(1).first() {
            Some(kv) if kv.lease == lease.id() && kv.create_revision > registration => Ok(Win {
                holding: Arc::new(Holding::new(Guard {
                    key,
                    create: kv.create_revision,
                    lease: lease.id(),
                })),
                token: kv.create_revision,
                value: self.stand.value.clone(),
                sign: Sign::None,
                proof: Proof {
                    begun: begun.max(got.sent),
                    raft_term: got.header.raft_term,
                },
                at: self.io.etcd.clock.now(),
            }),
            // Not won, but handed over meanwhile: that keeps the key's creation.
            Some(kv) if kv.lease == lease.id() && kv.mod_revision > registration => self.look_at_handed(lease).await,
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
            if let Some(delayed) = &self.delayed {
                delayed();
            }
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
        let removed = match &win.sign {
            Sign::None => return Ok(false),
            Sign::HandedOver => return Ok(true),
            Sign::Removed(mark) => mark,
        };
        // Nothing the watch could still tell would make the mark good.
        if !protocol::leads_at_once(Some(removed), Some(removed.mod_revision)) {
            return Ok(false);
        }
        let mut alarm = alarm(&self.io)?;
        loop {
            let now = level.look().clone();
            self.still_mine(win, &now)?;
            if now.kv.as_ref().is_some_and(|kv| kv.create_revision == win.holding.create) {
                return Ok(protocol::leads_at_once(Some(removed), now.deleted));
            }
            tokio::select! {
                changed = level.changed() => changed.map_err(|_| Error::Closed)?,
                () = alarm.wait_until(win.at.after(delay)) => return Ok(false),
            }
        }
    }

    async fn wait_as_holder(&self, win: &Win, level: &mut Reader<Level>, until: BootTime) -> Result<()> {
        let mut alarm = alarm(&self.io)?;
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
        win: &Win,
        proof: Proof,
        deadline: BootTime,
    ) -> Result<Arc<TermShared>> {
        let (now, margin) = (self.io.etcd.clock.now(), self.margin);
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
            value: win.value.clone(),
            proclaimed: Proclaimed::default(),
            token: win.token,
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
        if let Some(held) = self.held.take() {
            hold_until_released(&term, held);
        }
        if !self.lease_is_callers {
            let lease = Lease::of(lease.clone(), self.lead.client.clone());
            let previous = self.lead.state().lease.replace(lease);
            drop(previous);
        }
        Ok(term)
    }
}

/// A shared lease lives as long as somebody holds it.
fn hold_until_released(term: &Arc<TermShared>, lease: Lease) {
    let term = term.clone();
    tokio::task::spawn_local(async move {
        term.released.wait().await;
        drop(lease);
    });
}

/// A key taken, not yet led.
struct Win {
    holding: Arc<Holding>,
    token: i64,
    value: Vec<u8>,
    sign: Sign,
    proof: Proof,
    at: BootTime,
}

/// What may save the takeover delay.
enum Sign {
    None,
    /// The mark that the campaign's transaction removed: good if the delete that the watch shows directly before is its own.
    Removed(KeyValue),
    /// The mark that the holder wrote with the hand-over itself.
    HandedOver,
}

fn holds(key: &Key, kv: &KeyValue) -> Guard {
    Guard {
        key: key.clone(),
        create: kv.create_revision,
        lease: kv.lease,
    }
}

fn lost_again(key: &[u8], kv: Option<&KeyValue>) -> Error {
    Error::NotElected {
        key: show(key),
        holder: kv.map(|kv| Box::new(Leader::from_key(kv))),
    }
}
