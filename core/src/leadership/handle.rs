//! A view of a term for those who work under it: check, prove, wait for the loss; it never resigns.
//! Owns nothing of the term; that is its leadership's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::client::Client;
use crate::clock::BootTime;
use crate::error::{Error, Reason, Result};
use crate::term::{TermShared, TermState};

/// A view of a term: clonable, from any thread, and it never resigns. The term itself belongs to its
/// [`Leadership`](crate::Leadership).
#[derive(Clone)]
pub struct TermHandle {
    pub(crate) shared: Arc<TermShared>,
    pub(crate) client: Client,
}

impl fmt::Debug for TermHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl TermHandle {
    pub(crate) fn of(shared: Arc<TermShared>, client: Client) -> TermHandle {
        TermHandle { shared, client }
    }

    /// Authority, until the deadline: not ended, and before it. A local read of tens of nanoseconds, without lock,
    /// allocation or I/O. What it cannot promise: that it still holds when a packet sent now arrives elsewhere. That
    /// is what [`token`](Self::token) and [`txn`](Self::txn) are for.
    #[inline]
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.shared.deadline.valid()
    }

    /// Must the work stop? Latched `step_down_margin` before the deadline, and at once on anything voluntary or a lost
    /// key. Loops read this. As cheap as [`is_valid`](Self::is_valid).
    #[inline]
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.deadline.lost().is_some()
    }

    /// Why the term was lost; `None` while the work may go on.
    #[must_use]
    pub fn lost_reason(&self) -> Option<Reason> {
        self.shared.deadline.lost()
    }

    /// Resolves when the term is lost, with the reason; at once in a forked child. Cancel-safe; any executor.
    pub async fn lost(&self) -> Reason {
        let mut state = self.watch();
        if let TermState::Lost(reason) = *state.borrow_and_update() {
            return reason; // in a forked child too, where nothing more is touched
        }
        let mut ended = self.client.terms_ended();
        loop {
            let over = ended.has_changed().is_err();
            if let TermState::Lost(reason) = *state.borrow_and_update() {
                return reason;
            }
            if over {
                // The I/O thread ended without announcing it: nobody renews any more.
                return self.shared.ended_with_its_client();
            }
            tokio::select! {
                _ = state.changed() => {}
                _ = ended.changed() => {}
            }
        }
    }

    /// The level of this term and its changes: leading, jeopardy, lost. A slow reader sees the latest.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<TermState> {
        if self.shared.deadline.forked() {
            // The term's own has a lock that the parent may have held, and nobody here would ever announce a thing.
            return watch::Sender::new(TermState::Lost(Reason::Forked)).subscribe();
        }
        self.shared.state.subscribe()
    }

    /// The fencing token: strictly larger in every later term of the election (S10).
    #[must_use]
    pub fn token(&self) -> i64 {
        self.shared.token
    }

    /// The key that is held: the election's own, or in a queue this term's place in it.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.shared.holding.key
    }

    /// The value the term was won with; [`latest_value`](Self::latest_value) for what was proclaimed since.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.shared.value
    }

    /// The value of the key: the last that was proclaimed, or the one the term was won with.
    #[must_use]
    pub fn latest_value(&self) -> Vec<u8> {
        self.shared.latest_value()
    }

    /// The lease the key hangs on, as far as is known: after an etcd leader change the key moves to a fresh one, and the
    /// term goes on with the same token.
    #[must_use]
    pub fn lease_id(&self) -> i64 {
        self.shared.holding.lease()
    }

    /// The TTL that etcd granted.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.shared.lease.ttl
    }

    /// How long the term is valid without a further renewal; zero once ended.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.shared.deadline.remaining()
    }

    /// The deadline on this machine's boot clock; zero once ended.
    #[must_use]
    pub fn deadline(&self) -> BootTime {
        self.shared.deadline.at()
    }

    /// An error unless the term is valid.
    pub(crate) fn ensure_valid(&self) -> Result<()> {
        if self.shared.deadline.forked() {
            return Err(Error::Forked);
        }
        if self.is_valid() {
            return Ok(());
        }
        Err(Error::not_leader(self.key(), self.lost_reason()))
    }
}
