//! Who leads an election, seen from outside: the leader, vacancies, and why the view ended.
//! Owns turning the key's level into what an observer is told; the level itself is kept true in `etcd/`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::client::Client;
use crate::clock::BootTime;
use crate::error::{Error, Result};
use crate::io::Io;
use crate::protocol::{self, Key, KeyValue, Leader};
use crate::resets::Resets;

/// How long to wait before the mark is read again, when that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// What an observer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observed {
    /// Nothing yet: etcd has not answered.
    Unknown,
    /// Somebody leads.
    Leader {
        /// Who, and with which token.
        leader: Leader,
        /// When this observer saw that term begin, on this machine's boot clock; `None` for a term that was there
        /// when it came (etcd keeps no times).
        since: Option<BootTime>,
    },
    /// Nobody leads.
    Vacant {
        /// A revision of the store at which that was so.
        revision: i64,
    },
    /// Nothing comes any more. `None`: the client was closed.
    Stopped(Option<Error>),
}

impl Observed {
    /// The leader, if somebody is known to lead.
    #[must_use]
    pub fn leader(&self) -> Option<&Leader> {
        match self {
            Observed::Leader { leader, .. } => Some(leader),
            _ => None,
        }
    }

    /// Is this another leader, vacancy or end than `other`? A leader's write that changes neither its term nor its
    /// value (a move to another lease) is not.
    fn is_news_after(&self, other: &Observed) -> bool {
        match (self, other) {
            (Observed::Leader { leader, .. }, Observed::Leader { leader: before, .. }) => {
                leader.token != before.token || leader.value != before.value
            }
            // The store goes on while nobody leads.
            (Observed::Vacant { .. }, Observed::Vacant { .. }) => false,
            _ => self != other,
        }
    }
}

/// A view of one election from outside, through the client's one watch stream. Any number of them, of any key or queue,
/// share that stream. A level: a slow reader sees the latest state, nothing is queued for it.
///
/// Usable from any thread; a clone goes on from the same news, on its own; dropping the last one ends the use of the
/// stream.
#[derive(Debug, Clone)]
#[must_use = "dropping an observer ends it"]
pub struct Observer {
    key: Key,
    seen: watch::Receiver<Observed>,
    told: Observed,
    /// The one that observes: in a forked child nothing comes, and nothing that has a lock is touched (S12).
    process: u32,
}

impl Observer {
    /// Observes the single-key election of `key` from now on; a queue is observed by
    /// [`Election::observe`](crate::Election::observe). Nothing is waited for.
    ///
    /// # Errors
    /// `InvalidArgument` (`key`: empty or reserved), `Closed`, `Forked`.
    pub fn new(client: &Client, key: impl Into<Vec<u8>>) -> Result<Observer> {
        let key: Key = key.into().into();
        protocol::check_election_key(&key)?;
        Observer::begin(client, key, false)
    }

    /// Observes the queue under the prefix `key`, which is checked.
    pub(crate) fn of_queue(client: &Client, key: &Key) -> Result<Observer> {
        Observer::begin(client, key.clone(), true)
    }

    fn begin(client: &Client, key: Key, queue: bool) -> Result<Observer> {
        client.ensure_usable()?;
        let (tell, seen) = watch::channel(Observed::Unknown);
        let observed = key.clone();
        let id = crate::leadership::next_id();
        client.send(move |io| {
            let io = io.clone();
            tokio::task::spawn_local(async move {
                observe(&io, id, (&observed, queue), &tell).await;
                io.forget(id);
            });
        });
        Ok(Observer {
            key,
            seen,
            told: Observed::Unknown,
            process: std::process::id(),
        })
    }

    fn forked(&self) -> bool {
        self.process != std::process::id()
    }

    /// The key, or a queue's prefix.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What is known now. Local; does not count as told by [`next`](Self::next).
    #[must_use]
    pub fn latest(&self) -> Observed {
        if self.forked() {
            return Observed::Stopped(Some(Error::Forked));
        }
        self.seen.borrow().clone()
    }

    /// The next news: another leader (or a leader's new value), a vacancy, and last, once, why it stopped; then
    /// `None`. What came and went meanwhile is skipped. Cancel-safe; any executor.
    pub async fn next(&mut self) -> Option<Observed> {
        loop {
            if matches!(self.told, Observed::Stopped(_)) {
                return None;
            }
            if self.forked() {
                self.told = self.latest();
                return Some(self.told.clone());
            }
            let now = self.seen.borrow_and_update().clone();
            if now.is_news_after(&self.told) {
                self.told = now.clone();
                return Some(now);
            }
            if self.seen.changed().await.is_err() {
                // The I/O thread has ended: a client that was closed, or dropped.
                let last = self.seen.borrow_and_update().clone();
                let last = if matches!(last, Observed::Stopped(_)) { last } else { Observed::Stopped(None) };
                self.told = last.clone();
                return Some(last);
            }
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if self.forked() {
            std::mem::forget(self.seen.clone()); // the last one's end would be told, under a lock
        }
    }
}

async fn observe(io: &Rc<Io>, id: u64, (key, queue): (&Key, bool), tell: &watch::Sender<Observed>) {
    let resets = Arc::default();
    let closed = Resets::since(&resets);
    let mut level = if queue { io.keep_queue(id, key, &resets) } else { io.keep_watch(id, key, &resets) };
    // The term that was there when the observer came: nobody knows since when.
    let mut came = true;
    loop {
        let now = level.look().clone();
        let mut again = false;
        if let Some(error) = now.error {
            tell.send_replace(Observed::Stopped(Some(error)));
            return;
        }
        if now.synced {
            let before = tell.borrow().clone();
            let observed = match now.kv.as_deref() {
                None => Observed::Vacant {
                    revision: now.revision,
                },
                Some(kv) => {
                    let (leader, sure) = if queue { (protocol::queue_leader(kv), true) } else { leader_of(io, key, kv, before.leader()).await };
                    again = !sure;
                    let since = match &before {
                        Observed::Leader { leader: same, since } if same.token == leader.token => *since,
                        _ if came => None,
                        _ => Some(io.etcd.clock.now()),
                    };
                    Observed::Leader { leader, since }
                }
            };
            came = false;
            tell.send_if_modified(|told| {
                let changed = *told != observed;
                *told = observed;
                changed
            });
        }
        tokio::select! {
            changed = level.changed() => if changed.is_err() {
                break;
            },
            () = closed.wait() => break,
            () = tell.closed() => return,
            () = tokio::time::sleep(AGAIN), if again => {}
        }
    }
    tell.send_replace(Observed::Stopped(None));
}

/// The leader that a state of the key shows, and whether that is all there is to know. Its token is the creation, or
/// the mark's revision where a term was handed over (S10): read only when the key was written again, and the token is
/// not known from before.
async fn leader_of(io: &Io, key: &[u8], kv: &KeyValue, before: Option<&Leader>) -> (Leader, bool) {
    let mut leader = Leader::from_key(kv);
    if leader.token.is_none() {
        // The same holder's own later write: a lease holds a key in one term only.
        leader.token = before
            .filter(|before| (before.create_revision, before.lease) == (kv.create_revision, kv.lease))
            .and_then(|before| before.token);
    }
    if leader.token.is_some() {
        return (leader, true);
    }
    match io.leader(key).await {
        Ok(Some(read)) if (read.create_revision, read.mod_revision) == (kv.create_revision, kv.mod_revision) => (read, true),
        // The key has changed since: the level will say so, too.
        Ok(_) => (leader, false),
        Err(error) => {
            log::debug!("observer of {}: {error}", crate::error::show(key));
            (leader, false)
        }
    }
}
