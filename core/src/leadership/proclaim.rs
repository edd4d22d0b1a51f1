//! Another value for the holder's key, in the same term. Owns sending it and what its answers mean (S7): it meets moves
//! to another lease, other proclaims and the end of the term. The transaction is `protocol`'s.

use std::rc::Rc;
use std::sync::Arc;

use super::{Candidate, Leadership, TermHandle};
use crate::error::{Error, Reason, Result, show};
use crate::etcd::Failure;
use crate::io::Io;
use crate::protocol;
use crate::release;
use crate::term::TermShared;

impl TermHandle {
    /// Gives the key another value: the same term, the same token and lease, and no vacancy between. Of several calls
    /// the last to begin is the last to be written. [`value`](Self::value) stays the one the term was won with,
    /// [`latest_value`](Self::latest_value) is this one.
    ///
    /// Begins when it is called; a dropped future stops nothing.
    ///
    /// # Errors
    /// `InvalidArgument` (`value`: over etcd's size limit; nothing was sent), `NotLeader` (not applied),
    /// `OutcomeUnknown` (etcd did not answer in time; the next proclaim settles it), `Unavailable` (not applied),
    /// `PermissionDenied`, `Closed`, `Forked`.
    pub fn proclaim<V: Into<Vec<u8>>>(&self, value: V) -> impl Future<Output = Result<()>> + Send + use<V> {
        let value = value.into();
        let may = self.client.ensure_usable();
        let may = may.and_then(|()| protocol::check_size("value", value.len())).and_then(|()| self.ensure_valid());
        let begun = may.map(|()| {
            let term = self.shared.clone();
            self.client.run(move |io, _| async move { proclaim(&io, &term, value).await })
        });
        async move { begun?.await }
    }
}

impl Leadership {
    /// [`TermHandle::proclaim`] in the current term.
    ///
    /// # Errors
    /// As there; `NotLeader` also without a term.
    pub fn proclaim<V: Into<Vec<u8>>>(&self, value: V) -> impl Future<Output = Result<()>> + Send + use<V> {
        let value: Vec<u8> = value.into();
        let lead = self.shared.clone();
        let begun = self.valid_term().map(|term| term.proclaim(value.clone()));
        async move {
            begun?.await?;
            lead.state().value = value;
            Ok(())
        }
    }
}

impl Candidate {
    /// Stands with another value from now on: its campaign has it at once, its registration as soon as etcd answers.
    pub(crate) fn rename(&mut self, value: &[u8]) {
        if value == self.stand.value {
            return;
        }
        self.stand.value = value.to_vec();
        *self.registration.value.borrow_mut() = protocol::registration_value(self.stand.priority, value);
        let Some(own) = self.as_registered() else { return };
        let (io, key, before) = (self.io.clone(), self.lead.key.clone(), self.renaming.take());
        self.renaming = Some(tokio::task::spawn_local(async move {
            if let Some(before) = before {
                let _ = before.await; // in the order of the calls
            }
            let txn = protocol::rename(&key, &own);
            if let Err(failure) = io.etcd.txn(io.etcd.repeatable("registration", &key), &txn).await {
                // Whoever is handed the key with an old value proclaims the new one.
                log::debug!("{}: {}", show(&key), failure.into_error());
            }
        }));
    }
}

pub(crate) async fn proclaim(io: &Rc<Io>, term: &Arc<TermShared>, value: Vec<u8>) -> Result<()> {
    let until = tokio::time::Instant::now() + io.etcd.timeout;
    let turn = term.proclaimed.turn().await;
    let holding = &term.holding;
    let key = &holding.key;
    // Not beyond its end: what follows is the release's to write.
    while term.deadline.valid() {
        let (guard, modified) = (holding.guard(), holding.modified());
        let txn = protocol::proclaim(&guard, modified, &value);
        let got = match io.etcd.txn(io.etcd.repeatable("proclaim", key), &txn).await {
            Ok(got) => got,
            // etcd's own limit may be set lower than the default.
            Err(Failure::NotApplied(Error::InvalidArgument { why, .. })) => return Err(Error::invalid("value", why)),
            Err(Failure::NotApplied(error)) => return Err(error),
            Err(Failure::Unknown(message)) => {
                return Err(Error::OutcomeUnknown {
                    message,
                    read: show(key),
                });
            }
        };
        if got.body.succeeded {
            holding.seen(guard.lease, got.body.revision);
            io.renewer.with(|machine, _| machine.wrote(term.id, got.sent));
            turn.done(value);
            return Ok(());
        }
        let kv = got.body.kvs(0).first();
        if let Some(reason) = term.judge(kv, got.body.revision) {
            if term.deadline.end(reason) {
                release::lost(io, term);
            }
            break;
        }
        // Written since: by a move, an earlier proclaim of unknown outcome, an earlier sending of this one.
        if let Some(kv) = kv {
            let earlier = got.repeated && kv.value == value && kv.mod_revision > modified;
            holding.adopt(kv);
            if earlier {
                turn.done(value);
                return Ok(());
            }
        }
        if tokio::time::Instant::now() >= until {
            return Err(Error::unavailable(format!("{} is written again and again by others", show(key))));
        }
    }
    Err(Error::not_leader(key, term.deadline.lost().or(Some(Reason::Expired))))
}
