//! Elections of the queue kind: candidates wait in line, each for the one before it, as etcd's own clients do.
//! Owns the handle and what is read of a queue; standing in line is `place`'s, the transactions `protocol`'s.

mod place;

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::client::Client;
use crate::elector::Term;
use crate::error::{Error, Reason, Result, show};
use crate::etcd::Failure;
use crate::io::{Cancel, Io};
use crate::leadership::TermHandle;
use crate::observer::Observer;
use crate::options::{CampaignOptions, LeadershipOptions, step_down_margin};
use crate::participant::Participant;
use crate::protocol::{self, Key, KeyValue, Leader};
use crate::release;
use crate::term::TermShared;

pub(crate) use place::{Stand, campaign};

/// One election of the queue kind, `PREFIX/<lease>`: the candidate whose key was created first leads, each other one
/// watches only its predecessor, and so a hand-over costs one read. On the wire it is etcd's own: it contends with
/// `concurrency.Election` of etcd's Go client, `etcdctl elect` and `etcdctl lock`.
///
/// Usable from any thread; clones are the same election.
#[derive(Clone)]
pub struct Election {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) prefix: Key,
    pub(crate) options: LeadershipOptions,
    /// The term won last, for as long as anybody holds it.
    term: Mutex<Weak<TermShared>>,
}

impl Shared {
    pub(crate) fn new(client: &Client, prefix: Key, options: LeadershipOptions) -> Shared {
        let any = protocol::queue_range(&prefix);
        client.send(move |io| *io.etcd.any_key.borrow_mut() = any); // who may campaign here may read it
        Shared {
            client: client.clone(),
            prefix,
            options,
            term: Mutex::default(),
        }
    }

    /// Who stands in line, the leader first, at most `limit` (0 = all); read linearizably.
    pub(crate) async fn line(&self, io: &Io, limit: i64) -> Result<Vec<KeyValue>> {
        let txn = protocol::participants(&self.prefix, limit);
        let got = io.etcd.read("read of a queue", &self.prefix, &txn).await.map_err(Failure::into_error)?;
        Ok(got.body.kvs(0).to_vec())
    }

    fn term(&self) -> MutexGuard<'_, Weak<TermShared>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("prefix", &show(self.prefix())).finish()
    }
}

impl Election {
    /// The election under `prefix`, without a trailing slash. Nothing is sent.
    ///
    /// # Errors
    /// `InvalidArgument` (`prefix`: empty, reserved, or ends in a slash), `Closed`, `Forked`.
    pub fn new(client: &Client, prefix: impl Into<Vec<u8>>) -> Result<Election> {
        Election::with_options(client, prefix, LeadershipOptions::default())
    }

    /// [`new`](Self::new) with every option.
    ///
    /// # Errors
    /// `InvalidArgument` names the option; `Closed`, `Forked`.
    pub fn with_options(client: &Client, prefix: impl Into<Vec<u8>>, options: LeadershipOptions) -> Result<Election> {
        let prefix = prefix.into();
        protocol::check_queue_prefix("prefix", &prefix)?;
        options.validate()?;
        client.ensure_usable()?;
        Ok(Election {
            shared: Arc::new(Shared::new(client, prefix.into(), options)),
        })
    }

    /// What the candidates' keys start with, without the slash.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.shared.prefix
    }

    /// Joins the queue and waits, as long as it takes, for its turn; then the term starts after the takeover delay, or
    /// at once if the one before resigned (S15), and on a fresh proof (S4). The lease is renewed all the while.
    ///
    /// Cancel-safe: a dropped future leaves the queue (S8).
    ///
    /// # Errors
    /// `NotElected` if the own place was lost (its key deleted, its lease revoked): at once, not when the turn would
    /// have come. `InvalidArgument`, `Unavailable`, `Timeout`, `PermissionDenied`, `ClusterChanged`, `Closed`, `Forked`.
    pub async fn campaign(&self, options: CampaignOptions) -> Result<Term> {
        self.shared.client.ensure_usable()?;
        options.validate()?;
        if !options.compares.is_empty() {
            return Err(Error::invalid("compares", "a place in a queue is not taken by a transaction of yours"));
        }
        step_down_margin(self.shared.options.step_down_margin, options.ttl, self.shared.client.validity())?;
        let queue = self.shared.clone();
        let stand = move |io, cancel| {
            let stand = Stand {
                options,
                lease: None,
                own: Rc::default(),
                delayed: Box::new(|| ()),
            };
            campaign(io, queue, stand, cancel)
        };
        let won = self.shared.client.run(stand).await?;
        let term = won.take().ok_or_else(|| Error::internal("a campaign was won without a term"))?;
        *self.shared.term() = Arc::downgrade(&term);
        Ok(Term::alone(term, self.shared.client.clone()))
    }

    /// Who leads, read linearizably; `None` if the queue is empty.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `PermissionDenied`, `Closed`, `Forked`.
    pub async fn leader(&self) -> Result<Option<Leader>> {
        Ok(self.read(1).await?.first().map(protocol::queue_leader))
    }

    /// All candidates in the order of their turns, the leader first.
    ///
    /// # Errors
    /// As [`leader`](Self::leader).
    pub async fn participants(&self) -> Result<Vec<Participant>> {
        Ok(protocol::queue_participants(&self.read(0).await?))
    }

    /// Who leads, and its changes, from now on. Nothing is waited for. Where one waits in line, no vacancy lies between
    /// two leaders; the first in line is told of as the leader as soon as its turn has come, as etcd's own clients do it,
    /// though it may still wait its takeover delay.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    pub fn observe(&self) -> Result<Observer> {
        Observer::of_queue(&self.shared.client, &self.shared.prefix)
    }

    /// Another value for the key of the term that this election won last; see [`TermHandle::proclaim`].
    ///
    /// # Errors
    /// As there; `NotLeader` also without a term.
    pub fn proclaim<V: Into<Vec<u8>>>(&self, value: V) -> impl Future<Output = Result<()>> + Send + use<V> {
        let value: Vec<u8> = value.into();
        let begun = self.shared.client.ensure_usable().and_then(|()| {
            let term = self.shared.term().upgrade().ok_or_else(|| Error::not_leader(self.prefix(), None))?;
            Ok(TermHandle::of(term, self.shared.client.clone()).proclaim(value))
        });
        async move { begun?.await }
    }

    /// Gives up the term that this election won last, for whoever does not have its [`Term`] at hand: not leader at
    /// once, then its key is deleted and the next in line follows. Without a term nothing happens. Begins when it is
    /// called; dropping the future does not stop it.
    ///
    /// # Errors
    /// `Timeout`, `Unavailable` when etcd did not confirm it within the request timeout: it goes on in the background.
    /// `Closed`, `Forked`.
    pub fn resign(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let usable = self.shared.client.ensure_usable();
        let term = if usable.is_ok() { self.shared.term().upgrade() } else { None };
        if let Some(term) = &term {
            term.deadline.end(Reason::Resigned);
        }
        let released = self.shared.client.run(move |io, _| async move { release::released(&io, term).await });
        async move {
            usable?;
            released.await
        }
    }

    async fn read(&self, limit: i64) -> Result<Vec<KeyValue>> {
        let queue = self.shared.clone();
        let read = move |io: Rc<Io>, cancel: Cancel| async move {
            tokio::select! {
                line = queue.line(&io, limit) => line,
                () = cancel.wait() => Err(Error::cancelled("read of a queue", &queue.prefix)),
            }
        };
        self.shared.client.run(read).await
    }
}
