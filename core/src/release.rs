//! Leaving: what is done with the key and the lease once a term is over, until etcd has confirmed it.
//! Owns the release of a term; ending its validity happened before, elsewhere.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;


use crate::clock::Alarm;
use crate::error::{Error, Reason, Result, show};
use crate::etcd::{Ask, Failure};
use crate::io::Io;
use crate::protocol::{self, Leader};
use crate::term::{LeaseShared, Released, TermShared, TermState};

/// Tells that a term is lost, once.
pub(crate) fn announce(term: &TermShared) {
    let reason = term.deadline.lost().unwrap_or(Reason::Expired);
    term.state.change(|state| match state {
        TermState::Lost(_) => None,
        _ => Some(TermState::Lost(reason)),
    });
}

/// A term was found lost, and nothing is drained any more: announces it, and releases in the background what it held,
/// once.
pub(crate) fn lost(io: &Rc<Io>, term: &Arc<TermShared>) {
    announce(term);
    if !term.released.begin() {
        return;
    }
    unhook(io, term);
    release_in_background(io, term);
}

/// Nothing extends a term any more, and nothing that happens to its key concerns it.
pub(crate) fn unhook(io: &Io, term: &TermShared) {
    io.renewer.with(|machine, _| machine.remove_term(term.id));
    io.watcher.with(|machine, _, _| machine.unbind(term));
}

/// For whoever has [begun](crate::term::Release::begin) it.
pub(crate) fn release_in_background(io: &Rc<Io>, term: &Arc<TermShared>) {
    let releasing = io.releasing();
    let io = io.clone();
    let term = term.clone();
    tokio::task::spawn_local(async move {
        let _releasing = releasing;
        let released = release(&io, &term).await;
        term.released.set(released);
    });
}

/// Waits, for the request timeout, until a term that was ended is released.
pub(crate) async fn released(io: &Rc<Io>, term: Option<Arc<TermShared>>) -> Result<()> {
    let Some(term) = term else { return Ok(()) };
    lost(io, &term); // announces it, if nobody has
    let waiting = async {
        match term.released.wait().await {
            Released::LeftToLease => Err(Error::unavailable(format!(
                "the release of {} was never confirmed; it goes with its lease",
                show(&term.holding.key)
            ))),
            _ => Ok(()),
        }
    };
    tokio::time::timeout(io.etcd.timeout, waiting).await.unwrap_or_else(|_| {
        Err(Error::Timeout {
            message: format!("release of {}: not confirmed yet, it goes on", show(&term.holding.key)),
        })
    })
}

async fn release(io: &Rc<Io>, term: &Arc<TermShared>) -> Released {
    let reason = term.deadline.lost();
    let lease = &term.lease;
    if !term.lease_is_callers {
        io.renewer.with(|machine, _| machine.set_renewing(lease.id(), false));
    }
    // Until the deadline the work may still be finishing: the key stays while the term is valid.
    if let Ok(mut alarm) = Alarm::new(&io.etcd.clock) {
        while term.deadline.valid() {
            alarm.wait_until(term.deadline.at()).await;
        }
    }
    let released = match reason {
        Some(Reason::KeyDeleted | Reason::Revoked | Reason::GuardFailed | Reason::ClusterChanged) => Released::Yes,
        Some(Reason::Overwritten) => Released::Anothers,
        _ => delete_own(io, term).await,
    };
    if released != Released::LeftToLease {
        let_lease_go(io, term);
        return released;
    }
    term.taint_lease();
    if let Some(lease) = close_lease(term)
        && io.retired(lease).await.is_ok()
    {
        return Released::Yes; // it is what freed the key
    }
    released
}

/// The term's own lease, if it is to be revoked and nobody is at it.
fn close_lease(term: &TermShared) -> Option<Arc<LeaseShared>> {
    if term.lease_is_callers || term.lease.closed.swap(true, Ordering::AcqRel) {
        return None;
    }
    term.lease.deadline.end(term.deadline.lost().unwrap_or(Reason::Closed));
    Some(term.lease.clone())
}

/// Nothing of the term's hangs on its own lease any more: nobody waits for the revoke.
pub(crate) fn let_lease_go(io: &Rc<Io>, term: &TermShared) {
    let Some(lease) = close_lease(term) else { return };
    if term.deadline.lost() == Some(Reason::ClusterChanged) {
        io.renewer.with(|machine, _| lease.ids().for_each(|id| machine.remove(id))); // the other cluster knows nothing of it
    } else {
        io.retire(lease);
    }
}

/// Deletes the ended term's own key, with the mark, until it is known to be gone: absent, another's, or deleted by us
/// (S6, S15). Left to the lease when etcd could not be reached for as long as that may have lived.
async fn delete_own(io: &Rc<Io>, term: &Arc<TermShared>) -> Released {
    let key = &term.holding.key;
    let until = tokio::time::Instant::now() + term.lease.ttl * 2;
    let mut mark = term.may_mark.then_some(term.token);
    loop {
        let (guard, modified) = (term.holding.guard(), term.holding.modified());
        let txn = if term.queued {
            protocol::leave(protocol::queue_of(key), &guard, modified, mark)
        } else {
            protocol::release(&guard, modified, mark)
        };
        match io.etcd.txn(io.etcd.repeatable("release", key), &txn).await {
            Ok(got) if got.body.succeeded => return Released::Yes,
            Ok(got) => match got.body.kvs(0).first() {
                // Still ours: moved to a fresh lease just before, or written by somebody who left lease and creation alone.
                Some(kv) if term.holding.holds(Some(kv)) => term.holding.adopt(kv),
                Some(kv) => {
                    if kv.create_revision == guard.create {
                        term.taint_lease();
                    }
                    return Released::Anothers;
                }
                None => return Released::Yes,
            },
            Err(Failure::NotApplied(Error::PermissionDenied { .. })) if mark.is_some() => mark = None,
            Err(Failure::NotApplied(error @ (Error::PermissionDenied { .. } | Error::ClusterChanged { .. }))) => {
                log::warn!("release of {}: {error}", show(key));
                return Released::LeftToLease;
            }
            Err(failure) => {
                log::debug!("release of {}: {}", show(key), failure.into_error());
                // A lease that others keep alive would keep the key, too, and nobody could take it.
                let kept = term.lease_is_callers && term.lease.deadline.valid();
                if tokio::time::Instant::now() >= until && !kept {
                    return Released::LeftToLease;
                }
                tokio::time::sleep(Duration::from_millis(100 + io.etcd.random(100))).await;
            }
        }
    }
}

/// Deletes the key if its MOD revision is still `revision`.
pub(crate) async fn delete_at(io: &Rc<Io>, key: &[u8], revision: i64) -> Result<()> {
    let ask = Ask {
        repeat: false,
        ..io.etcd.repeatable("delete of the leader key", key)
    };
    match io.etcd.txn(ask, &protocol::release_at(key, revision)).await {
        Ok(got) if got.body.succeeded => Ok(()),
        Ok(got) => match got.body.kvs(0).first() {
            None => Ok(()),
            Some(kv) => Err(Error::NotElected {
                key: show(key),
                holder: Some(Box::new(Leader::from_key(kv))),
            }),
        },
        Err(Failure::NotApplied(error)) => Err(error),
        Err(Failure::Unknown(message)) => Err(Error::OutcomeUnknown {
            message,
            read: show(key),
        }),
    }
}
