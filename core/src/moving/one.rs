//! One lease's move: a fresh lease, each key put under it, and the old one let go once every outcome is known.
//! Owns the order of the steps (case 54); the transaction is `protocol`'s, the smaller deadline the renewals'.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::{Moving, Registration};
use crate::error::{Error, Reason, show};
use crate::etcd::Failure;
use crate::io::Io;
use crate::lease::Granting;
use crate::protocol::{self, Guard, MoveReply, Reregistered};
use crate::release;
use crate::term::{Holding, LeaseShared, TermShared};

/// Keys of one lease that move at once.
const KEYS_AT_ONCE: usize = 16;
/// Between two sendings of a move whose outcome is unknown, in milliseconds.
const RETRY_MS: u64 = 50;

pub(super) enum Outcome {
    /// Its keys hang on a fresh lease.
    Moved,
    /// For good, as far as this leader of etcd's goes.
    Stays,
    Again,
}

/// A key of ours on the lease: led, or won and not led yet.
struct Key {
    holding: Arc<Holding>,
    term: Option<Arc<TermShared>>,
}

/// What moves with the lease.
enum Item {
    Key(Key),
    Registration(Rc<Registration>),
}

impl Item {
    fn term(&self) -> Option<&Arc<TermShared>> {
        match self {
            Item::Key(key) => key.term.as_ref(),
            Item::Registration(_) => None,
        }
    }

    /// The key's name in etcd, while it hangs on `lease`.
    fn name(&self, lease: i64) -> Vec<u8> {
        match self {
            Item::Key(key) => key.holding.key.to_vec(),
            Item::Registration(one) => protocol::registration_key(&one.key, lease),
        }
    }
}

fn items_on(io: &Rc<Io>, lease: &Arc<LeaseShared>) -> Vec<Item> {
    let standing = io.moves.standing_on(lease).into_iter().map(Item::Registration);
    keys_on(io, lease).into_iter().map(Item::Key).chain(standing).collect()
}

/// Where one key is, known for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Fresh,
    /// On the old lease: the move was not applied.
    Old,
    /// On the old lease, and it may not be moved.
    Refused,
    /// On the old lease, or gone with the fresh one, which etcd does not have any more.
    FreshIsGone,
    /// Lost, or let go meanwhile: whoever releases it looks on both leases.
    Gone,
}

fn keys_on(io: &Rc<Io>, lease: &Arc<LeaseShared>) -> Vec<Key> {
    let terms = io.renewer.with(|machine, _| machine.terms_on(lease));
    let led = terms.into_iter().map(|term| Key {
        holding: term.holding.clone(),
        term: Some(term),
    });
    let mut keys: Vec<_> = led.collect();
    for holding in io.moves.won_on(lease) {
        if keys.iter().all(|key| !Arc::ptr_eq(&key.holding, &holding)) {
            keys.push(Key { holding, term: None });
        }
    }
    keys
}

impl Key {
    /// Is it still held? A term that was lost is being released.
    fn held(&self, io: &Io, lease: &Arc<LeaseShared>) -> bool {
        match &self.term {
            Some(term) => !term.deadline.over(),
            None => {
                let led = io.renewer.with(|machine, _| machine.terms_on(lease));
                let led = led.iter().any(|term| Arc::ptr_eq(&term.holding, &self.holding) && !term.deadline.over());
                led || io.moves.won_on(lease).iter().any(|holding| Arc::ptr_eq(holding, &self.holding))
            }
        }
    }
}

pub(super) async fn move_lease(io: &Rc<Io>, lease: &Arc<LeaseShared>) -> Outcome {
    let Some(_moving) = Moving::new(io, lease) else { return Outcome::Again };
    let old = lease.id();
    match carries_ours_only(io, lease).await {
        Ok(true) => {}
        Ok(false) => {
            log::info!("lease {old:x} carries keys that are not ours to move: it is kept over etcd's leader change");
            return Outcome::Stays;
        }
        Err(Failure::NotApplied(Error::PermissionDenied { message })) => {
            log::info!("lease {old:x} carries keys that may not be read ({message}): it is kept over etcd's leader change");
            return Outcome::Stays;
        }
        Err(_) => return Outcome::Again,
    }
    let settled = io.etcd.raft_term();
    let releasing = io.releasing(); // who closes waits until the fresh lease is known, and let go
    let mut granting = Granting::new(io);
    let secs = i64::try_from(lease.ttl.as_secs()).unwrap_or(i64::MAX);
    let Ok(granted) = granting.grant(secs, lease.purpose.clone()).await else { return Outcome::Again };
    let fresh = granted.id();
    if granted.ttl != lease.ttl {
        log::warn!("lease {old:x} is kept: a fresh one would live for {:?}, not for {:?}", granted.ttl, lease.ttl);
        return Outcome::Stays;
    }
    // No await from here to the first sending: nothing can extend the old lease's terms in between.
    let items = items_on(io, lease);
    let in_time = !lease.closed.load(Ordering::Acquire)
        && lease.deadline.valid()
        && !items.is_empty()
        && settled >= io.etcd.raft_term()
        && io.renewer.with(|machine, now| machine.begin_move(old, fresh, now));
    if !in_time {
        return Outcome::Again; // the fresh lease goes with `granting`
    }
    granting.keep();
    drop(releasing);
    drop(granted); // its deadline is the old handle's now
    let places = move_all(io, lease, &items, (old, fresh)).await;
    end(io, lease, (old, fresh), (&items, &places), settled).await
}

/// Where each key is in the end: none is left on the old lease once one hangs on the fresh.
async fn move_all(io: &Rc<Io>, lease: &Arc<LeaseShared>, items: &[Item], ids: (i64, i64)) -> Vec<Where> {
    let mut places = vec![Where::Old; items.len()];
    loop {
        let left = items.iter().zip(&mut places).filter(|(_, place)| matches!(place, Where::Old | Where::Refused));
        let moving = left.map(|(item, place)| async move {
            *place = match item {
                Item::Key(key) => move_key(io, lease, key, ids.1).await,
                Item::Registration(one) => move_registration(io, lease, one, ids).await,
            };
        });
        stream::iter(moving).buffer_unordered(KEYS_AT_ONCE).collect::<Vec<()>>().await;
        let left = places.iter().any(|place| matches!(place, Where::Old | Where::Refused));
        if !left || !places.contains(&Where::Fresh) || places.contains(&Where::FreshIsGone) {
            return places;
        }
        tokio::time::sleep(lease.ttl / 25).await;
    }
}

/// Every key that etcd knows on the lease is one of ours, held now.
async fn carries_ours_only(io: &Rc<Io>, lease: &Arc<LeaseShared>) -> Result<bool, Failure> {
    let Some(found) = io.etcd.keys_on(lease.id()).await? else { return Ok(true) }; // gone: the renewals will say so
    let ours = items_on(io, lease);
    let named: std::collections::BTreeSet<Vec<u8>> =
        ours.iter().map(|item| io.etcd.namespace.add(&item.name(lease.id()))).collect();
    Ok(found.iter().all(|key| named.contains(key)))
}

/// Puts one key under the fresh lease, until it is known where it is. A sending whose outcome is unknown is fenced by
/// the next, which compares the same MOD: one of them is applied at most.
async fn move_key(io: &Rc<Io>, lease: &Arc<LeaseShared>, key: &Key, fresh: i64) -> Where {
    let holding = &key.holding;
    let mut unknown = false;
    holding.moving(fresh);
    loop {
        // Lost with a sending that may still be applied, it stays pending: its release looks on both leases.
        if !key.held(io, lease) {
            return Where::Gone;
        }
        let guard = holding.guard();
        let txn = protocol::move_to(&guard, holding.modified(), fresh);
        match io.etcd.txn(io.etcd.repeatable("re-lease", &guard.key), &txn).await {
            Ok(got) => match protocol::move_reply(&guard, fresh, &got.body) {
                MoveReply::Moved { modified } => {
                    holding.seen(fresh, modified);
                    if let Some(term) = &key.term {
                        io.renewer.with(|machine, _| machine.wrote(term.id, got.sent));
                    }
                    log::debug!("{}: moved from lease {:x} to {fresh:x}", show(&guard.key), guard.lease);
                    return Where::Fresh;
                }
                MoveReply::Written { modified } => holding.seen(guard.lease, modified),
                MoveReply::Lost => {
                    if let Some(term) = &key.term
                        && let Some(reason) = term.judge(got.body.kvs(0).first(), got.body.revision)
                    {
                        end_term(io, term, reason);
                    }
                    return Where::Gone;
                }
            },
            // etcd has no such lease any more: a put under it that is still under way is refused as well.
            Err(Failure::NotApplied(Error::NotLeader { .. })) => {
                holding.stays();
                return Where::FreshIsGone;
            }
            Err(Failure::NotApplied(error)) if !unknown => {
                log::debug!("{}: not moved to lease {fresh:x}: {error}", show(&guard.key));
                holding.stays();
                let later = matches!(error, Error::Unavailable { .. } | Error::Timeout { .. });
                return if later { Where::Old } else { Where::Refused };
            }
            Err(failure) => {
                unknown = true;
                log::debug!("{}: {}", show(&guard.key), failure.into_error());
                tokio::time::sleep(Duration::from_millis(RETRY_MS + io.etcd.random(RETRY_MS))).await;
            }
        }
    }
}

/// Puts a registration under the fresh lease, until it is known where it is; or the key, which it may have won meanwhile.
/// Nothing else of its candidate's is under way: that waits for the move's end.
async fn move_registration(
    io: &Rc<Io>,
    lease: &Arc<LeaseShared>,
    one: &Registration,
    (old, fresh): (i64, i64),
) -> Where {
    let mut unknown = false;
    let mut won: Option<Guard> = None;
    let mut modified = 0;
    loop {
        let Some(made) = one.made.get().filter(|_| !lease.closed.load(Ordering::Acquire)) else { return Where::Gone };
        let txn = match &won {
            Some(guard) => protocol::move_to(guard, modified, fresh),
            None => protocol::move_registration(&one.key, (old, fresh), made, one.value.borrow().clone()),
        };
        let ask = io.etcd.repeatable("re-lease of a candidate", &one.key);
        match (io.etcd.txn(ask, &txn).await, &won) {
            (Ok(got), Some(guard)) => match protocol::move_reply(guard, fresh, &got.body) {
                MoveReply::Moved { .. } => return Where::Fresh,
                MoveReply::Written { modified: now } => modified = now,
                MoveReply::Lost => won = None,
            },
            (Ok(got), None) => match protocol::reregistered((old, fresh), &got.body) {
                Reregistered::Made(made) => {
                    one.made.set(Some(made));
                    return Where::Fresh;
                }
                Reregistered::Won(kv) if kv.lease == fresh => return Where::Fresh,
                // Handed over at this moment: the key is moved instead, and its candidate finds it there.
                Reregistered::Won(kv) => {
                    modified = kv.mod_revision;
                    won = Some(Guard {
                        key: one.key.clone(),
                        create: kv.create_revision,
                        lease: old,
                    });
                }
                Reregistered::Gone => {
                    one.made.set(None);
                    return Where::Gone;
                }
            },
            (Err(Failure::NotApplied(Error::NotLeader { .. })), _) => return Where::FreshIsGone,
            (Err(Failure::NotApplied(error)), _) if !unknown => {
                log::debug!("{}: a registration was not moved to lease {fresh:x}: {error}", show(&one.key));
                let later = matches!(error, Error::Unavailable { .. } | Error::Timeout { .. });
                return if later { Where::Old } else { Where::Refused };
            }
            (Err(failure), _) => {
                unknown = true;
                log::debug!("{}: {}", show(&one.key), failure.into_error());
                tokio::time::sleep(Duration::from_millis(RETRY_MS + io.etcd.random(RETRY_MS))).await;
            }
        }
    }
}

/// Lets the lease go that no key of ours hangs on.
async fn end(
    io: &Rc<Io>,
    lease: &Arc<LeaseShared>,
    (old, fresh): (i64, i64),
    (items, places): (&[Item], &[Where]),
    settled: u64,
) -> Outcome {
    let moved = places.contains(&Where::Fresh);
    let closed = || lease.closed.load(Ordering::Acquire); // then both are revoked, once the terms have ended
    if places.contains(&Where::FreshIsGone) {
        for (item, _) in items.iter().zip(places).filter(|(_, place)| **place == Where::Fresh) {
            if let Some(term) = item.term() {
                end_term(io, term, Reason::Revoked);
            }
        }
    } else if moved && !closed() {
        let revoked = io.renewer.with(|machine, now| machine.end_move(old, fresh, now));
        lease.moved(settled);
        revoked.iter().for_each(|term| end_term(io, term, Reason::Revoked));
        io.revoke_in_background(old, lease.ttl * 2);
        return Outcome::Moved;
    }
    // A term that was lost meanwhile is being released, on whichever lease its key hangs: that comes first.
    for term in items.iter().filter_map(Item::term).filter(|term| term.deadline.over()) {
        term.released.wait().await;
    }
    if !closed() {
        let revoked = io.renewer.with(|machine, now| machine.end_move(fresh, old, now));
        lease.stays();
        revoked.iter().for_each(|term| end_term(io, term, Reason::Revoked));
        io.revoke_in_background(fresh, lease.ttl * 2);
    }
    if places.contains(&Where::Refused) { Outcome::Stays } else { Outcome::Again }
}

fn end_term(io: &Rc<Io>, term: &Arc<TermShared>, reason: Reason) {
    term.deadline.end(reason);
    release::lost(io, term);
}
