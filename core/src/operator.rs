//! What operators do to an election from outside: look, transfer, depose, pause (S15 "Operators").
//! Owns the steps of each, guarded by the term that was seen; the transactions are `protocol`'s, the choice `handing`'s.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use crate::client::Client;
use crate::clock::Alarm;
use crate::error::{Error, Result, show};
use crate::etcd::{Ask, Failure};
use crate::handing::{self, Choice, Successor};
use crate::io::{Cancel, Io};
use crate::lease::Granting;
use crate::participant::Participant;
use crate::protocol::{self, Guard, HandedOver, Key, Leader, Mark, Txn, TxnReply};

/// How much longer than the deposed term's lease the one lives under which an operator waits, in seconds: time to end it
/// in order. Should the operator's process die, the key goes with it.
const LONGER: i64 = 20;
/// A term that is written to again and again (a move, a proclaim) is tried so often.
const TRIES: usize = 10;

/// An operator's view of one single-key election, and hand on it: for tools and people, not for candidates. Nothing here
/// needs the holder's consent; whatever is done is guarded by the term that was seen when the call began, and marked as
/// an operator's word, so that the next leader waits its takeover delay.
///
/// **Without `wait` the operator vouches that the deposed leader stops in time** (S15): it hears of it within
/// milliseconds if it is well, and no later than its own deadline if it is not; a successor may lead before that. With
/// `wait` the operator takes the key first, waits as long as the old lease was granted for, and then lets the successor
/// lead: no two terms overlap, and nobody leads meanwhile.
///
/// Usable from any thread; clones are the same. Each call begins when it is called.
#[derive(Clone)]
pub struct Operator {
    client: Client,
    key: Key,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("key", &show(&self.key)).finish()
    }
}

impl Operator {
    /// For the single-key election of `key`. Nothing is sent.
    ///
    /// # Errors
    /// `InvalidArgument` (`key`: empty or reserved), `Closed`, `Forked`.
    pub fn new(client: &Client, key: impl Into<Vec<u8>>) -> Result<Operator> {
        let key = key.into();
        protocol::check_election_key(&key)?;
        client.ensure_usable()?;
        Ok(Operator {
            client: client.clone(),
            key: key.into(),
        })
    }

    /// The key of the election.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    fn run<T, F, J>(&self, f: J) -> impl Future<Output = Result<T>> + Send + use<T, F, J>
    where
        T: Send + 'static,
        J: FnOnce(Rc<Io>, Key, Cancel) -> F + Send + 'static,
        F: Future<Output = Result<T>> + 'static,
    {
        let key = self.key.clone();
        self.client.run(move |io, cancel| f(io, key, cancel))
    }

    /// Who leads, with its token; `None` if nobody. Read linearizably.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `PermissionDenied`, `Closed`, `Forked`.
    pub fn leader(&self) -> impl Future<Output = Result<Option<Leader>>> + Send + use<> {
        self.run(|io, key, _| async move { io.leader(&key).await })
    }

    /// Everybody who takes part: the leader first (its priority reads 0: its registration is used up), then who is
    /// registered, in the order of their turns.
    ///
    /// # Errors
    /// As [`leader`](Self::leader).
    pub fn participants(&self) -> impl Future<Output = Result<Vec<Participant>>> + Send + use<> {
        self.run(|io, key, _| async move { Ok(handing::roster(&io, &key).await?.participants()) })
    }

    /// Gives the key to a candidate, in one transaction: nobody else can come between. Returns who holds it now; if that
    /// is who held it before (it was named itself, or nobody else stands), nothing was done.
    ///
    /// With `wait` (see the type) a dropped future lets the key go instead, and any candidate may take it.
    ///
    /// # Errors
    /// `InvalidArgument` (`to`: no such candidate; says who there is; nothing was done), `NotElected` (another leads
    /// than was seen: who), `Unavailable` (nobody leads; or not applied), `OutcomeUnknown`, `Cancelled`,
    /// `PermissionDenied`, `Closed`, `Forked`.
    pub fn transfer(&self, to: Successor, wait: bool) -> impl Future<Output = Result<Participant>> + Send + use<> {
        self.run(move |io, key, cancel| async move {
            let seen = handing::roster(&io, &key).await?;
            let Some(leader) = seen.leader.clone() else {
                return Err(Error::unavailable(format!("nobody leads {}: whoever stands takes it", show(&key))));
            };
            if to.choose(&seen, &leader, |below| io.etcd.random(below))? == Choice::Leader {
                return Ok(leader.participant());
            }
            if !wait {
                return hand_over(&io, Seen::of(&key, &leader), &to, None).await;
            }
            let taken = Taken::take(&io, &key, &leader, &cancel).await?;
            let handed = hand_over(&io, taken.held.clone(), &to, Some(taken.held.token)).await;
            taken.end(&io, handed.is_ok()).await;
            handed
        })
    }

    /// Takes the key from whoever holds it, and returns who that was; `None`: nobody did. A key that hangs on no lease
    /// (somebody put it there by hand) goes, too: it would stay for ever otherwise.
    ///
    /// # Errors
    /// `NotElected` (another leads than was seen: who), `Unavailable` (not applied), `OutcomeUnknown`, `Cancelled`,
    /// `PermissionDenied`, `Closed`, `Forked`.
    pub fn depose(&self, wait: bool) -> impl Future<Output = Result<Option<Leader>>> + Send + use<> {
        self.run(move |io, key, cancel| async move {
            let Some(leader) = handing::roster(&io, &key).await?.leader else { return Ok(None) };
            // Without a lease nobody believes that it leads by it.
            if wait && leader.lease != 0 {
                Taken::take(&io, &key, &leader, &cancel).await?.end(&io, false).await;
            } else {
                let mark = Mark::operator(held_token(&leader));
                apply(&io, Seen::of(&key, &leader), |held| protocol::depose(&held.guard, held.modified, mark.clone())).await?;
            }
            log::info!("{}: deposed {:?} (token {})", show(&key), show(&leader.value), held_token(&leader));
            Ok(Some(leader))
        })
    }

    /// Pauses the election until [`unpause`](Self::unpause): an elector that leads drains and resigns, nobody campaigns.
    /// Idempotent. Electors obey it, and whoever campaigns in full control is refused; other libraries, and users whose
    /// role covers the key alone, know nothing of it.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout` (both: it may have been paused all the same; call it again), `PermissionDenied`,
    /// `Closed`, `Forked`.
    pub fn pause(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.set_paused(true)
    }

    /// Lets a paused election go on. Idempotent.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn unpause(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.set_paused(false)
    }

    fn set_paused(&self, paused: bool) -> impl Future<Output = Result<()>> + Send + use<> {
        self.run(move |io, key, _| async move {
            let txn = protocol::set_paused(&key, paused);
            let what = if paused { "pause" } else { "unpause" };
            io.etcd.txn(io.etcd.repeatable(what, &key), &txn).await.map_err(Failure::into_error)?;
            Ok(())
        })
    }

    /// Is the election paused?
    ///
    /// # Errors
    /// As [`leader`](Self::leader).
    pub fn is_paused(&self) -> impl Future<Output = Result<bool>> + Send + use<> {
        self.run(|io, key, _| async move {
            let got = io.etcd.read("read of the pause", &key, &protocol::is_paused(&key)).await;
            Ok(!got.map_err(Failure::into_error)?.body.kvs(0).is_empty())
        })
    }
}

/// The token of a leader that was read with its mark.
fn held_token(leader: &Leader) -> i64 {
    leader.token.unwrap_or(leader.create_revision)
}

/// A state of the key that a write follows on.
#[derive(Debug, Clone)]
struct Seen {
    guard: Guard,
    modified: i64,
    /// What says that it is still the same term.
    token: i64,
}

impl Seen {
    fn of(key: &Key, leader: &Leader) -> Seen {
        Seen {
            guard: Guard {
                key: key.clone(),
                create: leader.create_revision,
                lease: leader.lease,
            },
            modified: leader.mod_revision,
            token: held_token(leader),
        }
    }

    /// The same term, as it is now: moved to another lease, or proclaimed. Who leads instead, if another does.
    fn again(&self, now: Option<&Leader>) -> Result<Seen> {
        match now {
            Some(leader) if leader.create_revision == self.guard.create && leader.token == Some(self.token) => {
                Ok(Seen::of(&self.guard.key, leader))
            }
            now => Err(Error::NotElected {
                key: show(&self.guard.key),
                holder: now.cloned().map(Box::new),
            }),
        }
    }
}

/// Sends a transaction that compares MOD: a second sending is harmless, and says so when the first was applied.
async fn send(io: &Io, what: &'static str, key: &[u8], txn: &Txn) -> Result<(TxnReply, bool)> {
    let ask: Ask<'_> = io.etcd.repeatable(what, key);
    match io.etcd.txn(ask, txn).await {
        Ok(got) => Ok((got.body, got.repeated)),
        Err(Failure::NotApplied(error)) => Err(error),
        Err(Failure::Unknown(message)) => Err(Error::OutcomeUnknown {
            message,
            read: show(key),
        }),
    }
}

/// Does something to the term that was seen, however often it is written meanwhile; the revision at which. The
/// transaction's else reads key and mark.
async fn apply(io: &Io, mut held: Seen, txn: impl Fn(&Seen) -> Txn) -> Result<(Seen, i64)> {
    let key = held.guard.key.clone();
    for _ in 0..TRIES {
        let txn = txn(&held);
        let (reply, repeated) = send(io, "operator's transaction", &key, &txn).await?;
        if reply.succeeded {
            return Ok((held, reply.revision));
        }
        if repeated {
            // By an earlier sending, perhaps: the mark that it wrote says so.
            let wrote = txn.then.iter().find_map(crate::Op::written);
            let mark = reply.kvs(1).first().filter(|mark| mark.mod_revision > held.modified);
            if let (Some(mark), Some(wrote)) = (mark, wrote)
                && mark.value == wrote
            {
                return Ok((held, mark.mod_revision));
            }
        }
        held = held.again(protocol::leader_reply(&reply, true).as_ref())?;
    }
    Err(Error::unavailable(format!("{} is written again and again", show(&key))))
}

/// Gives the key that was seen to a candidate; or the one that the operator itself has `taken`, at that revision.
async fn hand_over(io: &Io, mut held: Seen, to: &Successor, taken: Option<i64>) -> Result<Participant> {
    let key = held.guard.key.clone();
    let mark = taken.map_or_else(|| Mark::operator(held.token), Mark::holder);
    for _ in 0..TRIES {
        let mut now = handing::roster(io, &key).await?;
        held = held.again(now.leader.as_ref())?;
        let Some(leader) = now.leader.clone() else { continue };
        if let Some(taken) = taken
            && !matches!(to, Successor::Named(_))
            && now.candidates.iter().any(|candidate| candidate.revision < taken)
        {
            // Who registered since the key was taken may be the one that it was taken from.
            now.candidates.retain(|candidate| candidate.revision < taken);
        }
        let to = match to.choose(&now, &leader, |below| io.etcd.random(below))? {
            Choice::Candidate(to) => to,
            Choice::Leader if taken.is_some() => {
                return Err(Error::unavailable(format!("the candidates for {} have gone meanwhile", show(&key))));
            }
            Choice::Leader => return Ok(leader.participant()),
        };
        let txn = protocol::hand_over(&held.guard, held.modified, &to, mark.clone());
        let (reply, _) = send(io, "operator's hand-over", &key, &txn).await?;
        let (guard, modified) = (&held.guard, held.modified);
        let holds = |kv: &crate::KeyValue| (kv.create_revision, kv.lease) == (guard.create, guard.lease);
        if protocol::hand_over_reply((guard, modified), &to, &mark, holds, &reply) == HandedOver::Yes {
            log::info!("{}: handed to {:?}", show(&key), show(&to.value));
            return Ok(to.participant(true));
        }
    }
    Err(Error::unavailable(format!("{} is written again and again, or its candidates go as they come", show(&key))))
}

/// The key under an operator's own lease, after the wait: nobody leads.
struct Taken {
    held: Seen,
    lease: i64,
}

impl Taken {
    /// Takes it, and waits until whoever led must have noticed.
    async fn take(io: &Rc<Io>, key: &Key, leader: &Leader, cancel: &Cancel) -> Result<Taken> {
        let granted = match leader.lease {
            0 => 0, // without a lease nobody believes that it leads by it
            lease => io.etcd.time_to_live(lease).await.map_err(Failure::into_error)?.1,
        };
        let mut granting = Granting::new(io);
        let lease = granting.grant(granted.max(0) + LONGER, "operator".into()).await?.id();
        let mark = Mark::operator(held_token(leader));
        let seize = |held: &Seen| protocol::seize(&held.guard, held.modified, lease, mark.clone());
        let (seen, revision) = apply(io, Seen::of(key, leader), seize).await?; // or the lease goes with `granting`
        granting.keep();
        let taken = Taken {
            held: Seen {
                guard: Guard { lease, ..seen.guard },
                modified: revision,
                token: revision,
            },
            lease,
        };
        let until = io.etcd.clock.now().after(Duration::from_secs(u64::try_from(granted).unwrap_or(0)));
        let mut alarm = Alarm::new(&io.etcd.clock).map_err(|error| Error::internal(format!("no timer: {error}")))?;
        tokio::select! {
            () = alarm.wait_until(until) => Ok(taken),
            () = cancel.wait() => {
                taken.drop_key(io).await;
                Err(Error::cancelled("transfer", key))
            }
        }
    }

    /// Deletes the key, unless it was handed over, with the mark of a holder: the wait is over. Then the lease goes.
    async fn end(self, io: &Rc<Io>, handed: bool) {
        if !handed {
            let txn = protocol::release(&self.held.guard, self.held.modified, Some(self.held.token));
            if let Err(error) = send(io, "release", &self.held.guard.key, &txn).await {
                log::info!("{}: {error}; it goes with the operator's lease", show(&self.held.guard.key));
            }
        }
        self.drop_key(io).await;
    }

    /// The lease goes, and the key with it if it still hangs there.
    async fn drop_key(&self, io: &Rc<Io>) {
        io.renewer.with(|machine, _| machine.remove(self.lease));
        io.revoke_in_background(self.lease, Duration::from_secs(60));
    }
}
