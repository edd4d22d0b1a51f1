//! What changes a term, or who holds it, without a vacancy: another value.
//! Owns the elector's calls for it; the transactions are `protocol`'s.

use std::sync::Arc;

use super::Elector;
use super::drive::Drive;
use crate::error::{Error, Result, show};
use crate::leadership::proclaim;
use crate::protocol;
use crate::term::TermShared;

impl Elector {
    /// Gives the election another value of this process: the term that is led, in place (see
    /// [`TermHandle::proclaim`](crate::TermHandle::proclaim)), and every later campaign. Without a term, and when it ends
    /// meanwhile, that is all there is to do.
    ///
    /// Begins when it is called; a dropped future stops nothing.
    ///
    /// # Errors
    /// `InvalidArgument` (`value`: over etcd's size limit; nothing has changed); `OutcomeUnknown`, `Unavailable`,
    /// `PermissionDenied`: later campaigns have the new value, the term may not. `Closed`, `Forked`.
    pub fn proclaim<V: Into<Vec<u8>>>(&self, value: V) -> impl Future<Output = Result<()>> + Send + use<V> {
        let value = value.into();
        let el = self.shared.clone();
        // All of it on the I/O thread: of two calls the same one is the last for the term and for the campaigns.
        let begun = protocol::check_size("value", value.len()).map(|()| {
            self.shared.client().run(move |io, _| async move {
                if el.ended().is_some() {
                    return Err(Error::Closed);
                }
                el.value.send_replace(value.clone());
                let term = el.level.borrow().term.clone().filter(|term| term.deadline.valid());
                let Some(term) = term else { return Ok(()) };
                match proclaim(&io, &term, value).await {
                    Err(Error::NotLeader { .. }) => Ok(()),
                    done => done,
                }
            })
        });
        async move { begun?.await }
    }
}

impl Drive {
    /// A term that was won with a value that is not the elector's any more. The caller has told of the term already:
    /// who proclaims from now on finds it.
    pub(super) fn proclaim_late(&self, term: &Arc<TermShared>) {
        let value = self.el.value.borrow().clone();
        if value == term.latest_value() {
            return;
        }
        let (io, term) = (self.io.clone(), term.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = proclaim(&io, &term, value).await {
                log::info!("{}: won with a value of before, and could not change it: {error}", show(&term.holding.key));
            }
        });
    }
}
