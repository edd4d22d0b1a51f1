//! The one owner of a term that an elector handed out: letting go of it resigns.
//! Owns that; what a term is, its view says.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use super::Elector;
use super::shared::Shared;
use crate::client::Client;
use crate::error::{Reason, Result};
use crate::leadership::TermHandle;
use crate::release;
use crate::term::TermShared;

/// A term of this process, owned: dropping it resigns, without waiting. It derefs to its view, [`TermHandle`], which
/// has everything one does under a term (`is_valid`, `is_lost`, `token`, `lost`, `txn` …) and can be cloned for others.
#[must_use = "dropping a term resigns it"]
pub struct Term {
    view: TermHandle,
    /// `None`: nobody but its holder has to do with it.
    elector: Option<Arc<Shared>>,
    /// The elector that exists for this term alone; dropped after it was given back.
    _kept: Option<Elector>,
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

impl Deref for Term {
    type Target = TermHandle;

    fn deref(&self) -> &TermHandle {
        &self.view
    }
}

impl Term {
    pub(super) fn new(shared: Arc<TermShared>, elector: Arc<Shared>) -> Term {
        Term {
            view: TermHandle::of(shared, elector.client().clone()),
            elector: Some(elector),
            _kept: None,
        }
    }

    /// The same, with the end of its elector as well as its own.
    pub(super) fn keeping(mut self, elector: Elector) -> Term {
        self._kept = Some(elector);
        self
    }

    /// A term that no loop keeps.
    pub(crate) fn alone(shared: Arc<TermShared>, client: Client) -> Term {
        Term {
            view: TermHandle::of(shared, client),
            elector: None,
            _kept: None,
        }
    }

    /// A view of it for those who work under it; it never resigns.
    #[must_use]
    pub fn handle(&self) -> TermHandle {
        self.view.clone()
    }

    /// Lets go of the term: not leader at once, then the key is deleted with the mark that saves the successor the
    /// takeover delay. The same as dropping it, and says how it went. The elector goes on campaigning, after its
    /// cool-down, if somebody wants the next term.
    ///
    /// # Errors
    /// `Timeout`, `Unavailable` when etcd did not confirm it within the request timeout: it goes on in the background.
    /// `Closed`, `Forked`.
    pub async fn resign(self) -> Result<()> {
        self.let_go().await
    }

    /// [`resign`](Self::resign) for whoever keeps the object, as the bindings do. Not leader when this returns: it
    /// begins when it is called, not when it is awaited. Called again it waits again.
    ///
    /// # Errors
    /// As [`resign`](Self::resign).
    pub fn let_go(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let client = self.view.client.clone();
        let forked = client.ensure_not_forked();
        if forked.is_ok() {
            self.end();
        }
        let term = self.view.shared.clone();
        async move {
            forked?;
            client.run(move |io, _| async move { release::released(&io, Some(term)).await }).await
        }
    }

    /// Idempotent.
    fn end(&self) {
        match &self.elector {
            Some(elector) => elector.give_back(&self.view.shared),
            None => {
                let term = self.view.shared.clone();
                term.deadline.end(Reason::Resigned);
                self.view.client.send(move |io| release::lost(io, &term));
            }
        }
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        if self.view.client.forked() {
            // The parent's, not the child's to end; and its end is locks that the parent may have held (S12).
            return std::mem::forget((self.view.clone(), self.elector.clone()));
        }
        self.end();
    }
}
