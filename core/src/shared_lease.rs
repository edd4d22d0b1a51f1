//! One lease for many elections of a process: granted when it is first needed, renewed once for all, granted anew when it
//! is of no more use. Owns which lease is the one of now; what hangs on it is the electors'.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::Client;
use crate::error::{Error, Result, show};
use crate::io::Io;
use crate::lease::{Granting, Lease};
use crate::options::ttl_secs;

/// A lease that several electors of one client share: one renewal for all of them, and one fate. When it dies, every
/// term on it ends, and each elector's next campaign is under a fresh one. One elector's end does not touch the others.
///
/// A lease whose key was not seen deleted at a term's end, or was handed over, is not campaigned with again (S10): later
/// campaigns of all these electors get a fresh one, and the terms on the old one go on until each ends.
///
/// Clones are the same; usable from any thread. When the last one is gone, electors' included, the lease is revoked.
#[derive(Clone)]
pub struct SharedLease {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    secs: i64,
    /// The lease of now.
    now: Mutex<Option<Lease>>,
    /// One grant at a time. Only ever held on the I/O thread.
    granting: tokio::sync::Mutex<()>,
    /// The elections it is used for, by key or prefix.
    claims: Mutex<BTreeSet<Vec<u8>>>,
}

impl fmt::Debug for SharedLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLease").field("ttl", &self.ttl()).finish_non_exhaustive()
    }
}

impl SharedLease {
    pub(crate) fn new(client: &Client, ttl: Duration) -> Result<SharedLease> {
        let secs = ttl_secs(ttl)?;
        client.ensure_usable()?;
        Ok(SharedLease {
            inner: Arc::new(Inner {
                client: client.clone(),
                secs,
                now: Mutex::default(),
                granting: tokio::sync::Mutex::default(),
                claims: Mutex::default(),
            }),
        })
    }

    /// The TTL that is asked for, in whole seconds; etcd may raise it.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.inner.secs).unwrap_or(0))
    }

    /// The id of the lease of now; `None` before the first campaign, once it is of no more use, and in a forked child.
    #[must_use]
    pub fn id(&self) -> Option<i64> {
        if self.inner.client.forked() {
            return None; // the lock may be held for ever
        }
        self.usable().map(|lease| lease.id())
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    fn now(&self) -> MutexGuard<'_, Option<Lease>> {
        self.inner.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Option<Lease> {
        self.now().clone().filter(|lease| !lease.is_expired() && !lease.shared().tainted.load(Ordering::Acquire))
    }

    /// The lease to campaign with. Whoever holds a key on it keeps this handle until that is released: with the last
    /// one the lease is revoked.
    pub(crate) async fn lease(&self, io: &Rc<Io>) -> Result<Lease> {
        let _granting = self.inner.granting.lock().await;
        if let Some(lease) = self.usable() {
            return Ok(lease);
        }
        let mut granting = Granting::new(io);
        let granted = granting.grant(self.inner.secs, "shared".into()).await?;
        granting.keep();
        io.keep_alive(&granted);
        let lease = Lease::of(granted, self.inner.client.clone());
        let before = self.now().replace(lease.clone());
        drop(before); // not under the lock: it may queue its revoke
        Ok(lease)
    }

    /// Uses it for the election of `key`, until the claim is dropped: a lease has one place in an election.
    pub(crate) fn claim(&self, key: &[u8]) -> Result<Claim> {
        if !self.claims().insert(key.to_vec()) {
            let why = format!("another elector contends for {} with this lease: it holds one place in an election", show(key));
            return Err(Error::invalid("lease", why));
        }
        Ok(Claim {
            lease: self.clone(),
            key: key.to_vec(),
        })
    }

    fn claims(&self) -> MutexGuard<'_, BTreeSet<Vec<u8>>> {
        self.inner.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shared lease's use for one election.
pub(crate) struct Claim {
    pub(crate) lease: SharedLease,
    key: Vec<u8>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.lease.inner.client.forked() {
            self.lease.claims().remove(&self.key);
        }
    }
}
