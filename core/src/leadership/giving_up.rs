//! Giving a campaign up: nothing of it is left, whenever that is, and whatever is still under way (S7, S8, S10).
//! Owns undoing; what there is to undo the candidate says (`candidate`).

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::candidate::Candidate;
use crate::error::{Error, Result, show};
use crate::etcd::Failure;
use crate::io::Io;
use crate::moving::Pinned;
use crate::protocol::{self, Guard, KeyValue};
use crate::term::{Holding, LeaseShared, TermShared};

/// The only campaign of this client for a key with a lease: two would share one registration, and both win (S7, S10).
pub(crate) struct Alone {
    io: Rc<Io>,
    of: (usize, Vec<u8>),
}

impl Alone {
    /// Waits for the one before, as long as a call may take.
    pub(crate) async fn with(io: &Rc<Io>, lease: &Arc<LeaseShared>, key: &[u8]) -> Result<(Alone, Pinned)> {
        let of = (Arc::as_ptr(lease) as usize, key.to_vec());
        let until = tokio::time::Instant::now() + io.etcd.timeout;
        while !io.campaigns.borrow_mut().insert(of.clone()) {
            if tokio::time::Instant::now() >= until {
                return Err(Error::unavailable(format!(
                    "another campaign for {} with lease {:x} is under way, or still being given up",
                    show(key),
                    lease.id()
                )));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let alone = Alone { io: io.clone(), of };
        loop {
            if let Some(pinned) = Pinned::new(io, lease) {
                return Ok((alone, pinned));
            }
            if tokio::time::Instant::now() >= until {
                let lease = lease.id();
                return Err(Error::unavailable(format!("the keys of lease {lease:x} are moving to a fresh one")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.io.campaigns.borrow_mut().remove(&self.of);
    }
}

impl Candidate {
    /// Leaves no key and no lease behind (S8). Begun at once, and goes on when nobody waits for it any more.
    pub(crate) fn withdraw(self) -> JoinHandle<()> {
        let releasing = self.io.releasing();
        tokio::task::spawn_local(async move {
            let _releasing = releasing;
            self.clean_up().await;
        })
    }

    async fn clean_up(mut self) {
        let Some(lease) = self.lease.take() else { return };
        self.stop_renewing_for_us(&lease);
        let key = self.lead.key.clone();
        self.standing = None;
        if !self.lease_is_callers {
            // A key that was won goes first: with etcd's leader changing, the revoke alone could take a TTL longer.
            if let Some(won) = &self.won {
                self.surrender(&won.holding).await;
            }
            // Then nothing under way can be applied any more: etcd refuses a put under a revoked lease.
            if !lease.closed.swap(true, Ordering::AcqRel) {
                lease.deadline.end(crate::Reason::Resigned);
                let _ = self.io.retired(lease).await;
            }
            return;
        }
        self.pin(&lease).await;
        self.clean_up_shared(&lease, &key).await;
    }

    /// The lease stays: the registration goes, and the key if it is ours, until both are known.
    async fn clean_up_shared(&mut self, lease: &LeaseShared, key: &[u8]) {
        if let Some(registering) = self.registering.take() {
            match registering.await {
                Ok(Ok(got)) => self.registration.made.set(protocol::registered(&got.body)),
                Ok(Err(Failure::NotApplied(_))) => {}
                _ => self.registration_unknown = true,
            }
        }
        let mut known = false;
        while lease.deadline.valid() && !known {
            if self.registration_unknown && self.registered().is_none() {
                // Made once more, or found: then it is known, and can be deleted.
                let txn = protocol::register(key, lease.id(), self.registration.value.borrow().clone());
                let ask = self.io.etcd.repeatable("giving up a registration", key);
                if let Ok(got) = self.io.etcd.txn(ask, &txn).await {
                    self.registration_unknown = false;
                    self.registration.made.set(protocol::registered(&got.body));
                }
            }
            known = match (self.registered(), &self.won) {
                (_, Some(won)) => self.surrender(&won.holding).await,
                (Some(registration), None) => {
                    let txn = protocol::deregister(key, lease.id(), registration);
                    let ask = self.io.etcd.repeatable("giving up a campaign", key);
                    match self.io.etcd.txn(ask, &txn).await {
                        Ok(got) => self.surrender_if_ours(lease, registration, got.body.kvs(1).first()).await,
                        Err(_) => false,
                    }
                }
                (None, None) if !self.under_way => !self.registration_unknown,
                // Without a registration, absent proves nothing while the put can still arrive: the key is looked
                // at as long as the lease lives.
                (None, None) => {
                    let txn = protocol::get([key]);
                    if let Ok(got) = self.io.etcd.read("giving up a campaign", key, &txn).await {
                        self.surrender_if_ours(lease, 0, got.body.kvs(0).first()).await;
                    }
                    false
                }
            };
            if !known {
                tokio::time::sleep(lease.ttl / 10).await;
            }
        }
        if !known {
            lease.tainted.store(true, Ordering::Release);
        }
    }

    /// True when the key is known not to be ours: a win of this campaign is younger than its registration, and no
    /// term's, of whichever leadership on this lease.
    async fn surrender_if_ours(&self, lease: &LeaseShared, registration: i64, kv: Option<&KeyValue>) -> bool {
        // MOD: a key that was handed over keeps its creation.
        let Some(kv) = kv.filter(|kv| kv.lease == lease.id() && kv.mod_revision > registration) else { return true };
        let guard = Guard {
            key: self.lead.key.clone(),
            create: kv.create_revision,
            lease: lease.id(),
        };
        let own = self.lead.term.load();
        let running = self.io.renewer.with(|machine, _| machine.running());
        // A hand-over keeps CREATE: the lease tells its terms apart (S10).
        let led = |term: &Arc<TermShared>| {
            let held = &term.holding;
            held.key == guard.key && held.create == guard.create && term.lease.ids().any(|id| id == guard.lease)
        };
        if own.iter().chain(&running).any(led) {
            return true; // led, or the release of an earlier term is at it
        }
        self.surrender(&Holding::new(guard)).await
    }

    /// True when the key is known not to be ours any more.
    async fn surrender(&self, holding: &Holding) -> bool {
        let ask = self.io.etcd.repeatable("giving up a win", &holding.key);
        loop {
            let Ok(got) = self.io.etcd.txn(ask, &protocol::surrender(&holding.guard())).await else { return false };
            match got.body.kvs(0).first() {
                Some(kv) if !got.body.succeeded && holding.holds(Some(kv)) => holding.adopt(kv), // moved just before
                _ => return true,
            }
        }
    }
}
