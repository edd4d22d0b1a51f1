//! A lease: what keeps a key alive, and until when that is certain.
//! Owns granting and closing it; renewing is `etcd/`'s, and what hangs on it the leadership's.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::client::Client;
use crate::io::Io;
use crate::error::{Error, Reason, Result};
use crate::etcd::Failure;
use crate::options::ttl_secs;
use crate::term::{Deadline, LeaseShared};

/// A lease of etcd's, granted through a [`Client`]. Clones are the same lease; dropping the last one, when it was
/// not closed, queues its revoke. Usable from any thread.
#[derive(Clone)]
#[must_use = "dropping a lease revokes it"]
pub struct Lease {
    inner: Arc<Owner>,
}

struct Owner {
    shared: Arc<LeaseShared>,
    client: Client,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.shared.deadline.forked() {
            std::mem::forget((self.shared.clone(), self.client.clone())); // as a leadership's, and why there
            return;
        }
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.shared.deadline.end(Reason::Closed);
        let shared = self.shared.clone();
        self.client.send(move |io| {
            end_terms(io, &shared);
            io.retire(shared);
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &format_args!("{:x}", self.id()))
            .field("purpose", &self.purpose())
            .field("remaining", &self.remaining())
            .finish()
    }
}

impl Lease {
    /// Grants a lease of `ttl` (rounded up to whole seconds; etcd may raise it, see [`ttl`](Self::ttl)). It is not
    /// renewed until [`keep_alive`](Self::keep_alive). Dropping the future leaves no lease behind.
    ///
    /// # Errors
    /// `InvalidArgument` (`ttl`), `Unavailable`, `Timeout`, `PermissionDenied`, `Closed`, `Forked`.
    pub async fn grant(client: &Client, ttl: Duration, purpose: impl Into<String>) -> Result<Lease> {
        let secs = ttl_secs(ttl)?;
        let purpose: String = purpose.into();
        let owner = client.clone();
        client
            .run(move |io, cancel| async move {
                let mut granting = Granting::new(&io);
                tokio::select! {
                    granted = granting.grant(secs, purpose.into()) => {
                        let shared = granted?;
                        granting.keep();
                        Ok(Lease::of(shared, owner))
                    }
                    () = cancel.wait() => Err(Error::Cancelled { message: "grant of a lease".to_owned() }),
                }
            })
            .await
    }

    pub(crate) fn of(shared: Arc<LeaseShared>, client: Client) -> Lease {
        Lease {
            inner: Arc::new(Owner { shared, client }),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<LeaseShared> {
        &self.inner.shared
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Renews in the background, every TTL/5, until the lease is closed or expires. Idempotent; returns at once.
    ///
    /// # Errors
    /// `NotLeader` if the lease has ended (it is never revived), `Closed`, `Forked`.
    pub fn keep_alive(&self) -> Result<()> {
        self.inner.client.ensure_usable()?;
        if self.is_expired() {
            return Err(Error::NotLeader {
                key: format!("lease {:x}", self.id()),
                reason: self.inner.shared.deadline.lost(),
            });
        }
        let shared = self.inner.shared.clone();
        self.inner.client.send(move |io| io.keep_alive(&shared));
        Ok(())
    }

    /// Revokes the lease: it is expired here at once, the terms on it end (reason `closed`), and every key on it goes.
    /// Idempotent; success if it is gone already. Begins when it is called, not when it is awaited; dropping the future does
    /// not stop the revoke.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout` when no member answered: the revoke is repeated in the background until the lease
    /// must have run out by itself. `Forked`.
    pub fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let client = &self.inner.client;
        let forked = self.forked();
        let shared = self.inner.shared.clone();
        if !forked {
            shared.deadline.end(Reason::Closed);
        }
        let first = !forked && !shared.closed.swap(true, Ordering::AcqRel);
        let revoked = first.then(|| {
            client.run(move |io, _| async move {
                end_terms(&io, &shared);
                io.retired(shared).await
            })
        });
        async move {
            match revoked {
                Some(revoked) => revoked.await,
                None if forked => Err(Error::Forked),
                None => Ok(()),
            }
        }
    }

    /// True when the lease has ended, or may have: past its deadline, revoked, closed. Local and exact at the moment
    /// of the call; never false again.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        !self.inner.shared.deadline.valid()
    }

    /// True in a child of the process that connected (S12).
    #[must_use]
    pub fn forked(&self) -> bool {
        self.inner.client.forked()
    }

    /// The lease's id in etcd. It becomes another when the keys on it move to a fresh lease after an etcd leader change;
    /// a lease that also carries keys of other kinds keeps its own.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.inner.shared.id()
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.inner.shared.purpose
    }

    /// The TTL that etcd granted, which may be longer than what was asked for.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.inner.shared.ttl
    }

    /// How long it surely lives without a further renewal; zero once ended.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.inner.shared.deadline.remaining()
    }
}

/// No term outlives the revoke of its lease: it ends before that is sent (S1).
fn end_terms(io: &Rc<Io>, lease: &Arc<LeaseShared>) {
    let running = io.renewer.with(|machine, _| machine.running());
    for term in running.iter().filter(|term| Arc::ptr_eq(&term.lease, lease)) {
        term.deadline.end(Reason::Closed);
        crate::release::lost(io, term);
    }
}

/// A grant under way: the id is chosen here, so that a grant whose reply was lost can be revoked (S8).
pub(crate) struct Granting {
    io: Rc<Io>,
    id: i64,
    armed: bool,
}

impl Granting {
    pub(crate) fn new(io: &Rc<Io>) -> Granting {
        Granting {
            id: i64::try_from(io.etcd.random(i64::MAX as u64 - 1)).unwrap_or(0) + 1,
            io: io.clone(),
            armed: false,
        }
    }

    /// The lease is somebody else's business from here on.
    pub(crate) fn keep(&mut self) {
        self.armed = false;
    }

    pub(crate) async fn grant(&mut self, secs: i64, purpose: Arc<str>) -> Result<Arc<LeaseShared>> {
        self.armed = true;
        let settled = self.io.etcd.raft_term();
        let got = match self.io.etcd.grant(self.id, secs).await {
            Ok(got) => got,
            Err(Failure::NotApplied(error)) => {
                self.armed = false;
                return Err(error);
            }
            Err(failure @ Failure::Unknown(_)) => return Err(failure.into_error()),
        };
        let ttl = Duration::from_secs(u64::try_from(got.body.ttl).unwrap_or(0));
        let word = self.io.slot()?;
        let clock = self.io.etcd.clock.clone();
        // A grant is itself written by a quorum: it counts from before its sending without a further read.
        let at = got.first_sent.after(self.io.validity.of(ttl));
        let deadline = Deadline::start(word, clock, Duration::ZERO, at);
        // Whatever the reply says, only an etcd leader not older than what was known before surely granted it.
        let settled = if settled == 0 { got.header.raft_term } else { settled };
        let shared = Arc::new(LeaseShared::granted(got.body.id, ttl, purpose, settled, deadline));
        self.io.renewer.with(|machine, now| {
            machine.add(shared.clone(), got.first_sent, got.header.raft_term, now);
        });
        Ok(shared)
    }
}

impl Drop for Granting {
    fn drop(&mut self) {
        if self.armed {
            self.io.renewer.with(|machine, _| machine.remove(self.id));
            self.io.revoke_in_background(self.id, Duration::from_secs(60));
        }
    }
}
