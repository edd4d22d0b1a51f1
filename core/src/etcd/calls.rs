//! Calls: which member gets a request, when it is repeated elsewhere, and what an error of etcd's means.
//! Owns sticky endpoints, tokens, bounds and the split "not applied" / "unknown"; what unknown leads to is the caller's.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::rc::Rc;
use std::time::Duration;

use etcd_client::proto::{
    PbAuthenticateRequest, PbAuthenticateResponse, PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseRevokeRequest,
    PbLeaseRevokeResponse, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse, PbStatusRequest, PbStatusResponse,
    PbTxnRequest, PbTxnResponse,
};
use tokio::sync::{Notify, mpsc};
use tonic::{Code, Status};

use super::cluster::{Cluster, Floor};
use super::endpoint::{Endpoint, Plan, Token};
use super::members::{Kind, Members};
use super::wire::{Answer, Header, Namespace, unary};
use crate::clock::{BootTime, Clock};
use crate::error::{Error, Result, show};
use crate::options::ClientOptions;
use crate::protocol::{Txn, TxnReply};

/// Nothing is sent any more with less than this left of a call's time: an answer would hardly come, and what was
/// certainly not applied would be unknown.
const LAST_ATTEMPT: Duration = Duration::from_millis(20);

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// What it is, for messages: "campaign", "read".
    pub(crate) what: &'static str,
    /// The key it is about, for messages.
    pub(crate) key: &'a [u8],
    /// Safe to send again when it is not known whether it was applied.
    pub(crate) repeat: bool,
    /// Its reply cannot be older than its sending.
    pub(crate) linearizable: bool,
    /// It changes nothing: whatever happened to it, it was not applied.
    pub(crate) reads: bool,
    /// In all.
    pub(crate) total: Duration,
    /// One attempt; `None`: a share of the total.
    pub(crate) attempt: Option<Duration>,
}

/// A reply, with the times a deadline or a proof is counted from.
#[derive(Debug)]
pub(crate) struct Got<B> {
    pub(crate) body: B,
    pub(crate) header: Header,
    /// Before the first sending that may have been applied: in doubt the oldest.
    pub(crate) first_sent: BootTime,
    /// Before the sending that was answered.
    pub(crate) sent: BootTime,
    /// An earlier sending may have been applied too.
    pub(crate) repeated: bool,
}

/// Why a call has no reply.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// It was not applied.
    NotApplied(Error),
    /// It may have been applied, or may still be.
    Unknown(String),
}

impl Failure {
    /// For calls whose repetition is harmless to the caller: unknown is unavailable.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Failure::NotApplied(error) => error,
            Failure::Unknown(message) => Error::Timeout { message },
        }
    }
}

/// What one attempt's error means.
enum Verdict {
    /// Not applied; another member may do better.
    ElsewhereUnapplied(String),
    /// May have been applied; another member may do better.
    ElsewhereUnknown(String),
    /// The same, for want of any answer.
    Silent(String),
    /// The token is dead; etcd did not run the call.
    Token,
    /// Not applied, and no member will say otherwise.
    Final(Error),
}

pub(crate) struct Etcd {
    pub(crate) clock: Clock,
    pub(crate) namespace: Namespace,
    members: Members,
    failed_over: Notify,
    cluster: RefCell<Cluster>,
    credentials: Option<(String, String)>,
    pub(crate) timeout: Duration,
    rng: RefCell<fastrand::Rng>,
    /// A key this user surely may read, for reads that only want to see the raft term.
    pub(crate) any_key: RefCell<Vec<u8>>,
    changed: mpsc::UnboundedSender<String>,
    /// Told when the raft term has grown: etcd has another leader.
    pub(crate) leader_changed: Notify,
}

impl Etcd {
    /// Must be called inside the runtime that will drive the connections. What differs when another cluster answers
    /// goes to `changed`.
    pub(crate) fn open(
        options: &ClientOptions,
        plans: Vec<Plan>,
        clock: Clock,
        changed: mpsc::UnboundedSender<String>,
    ) -> Etcd {
        Etcd {
            clock,
            namespace: Namespace(options.namespace.clone()),
            members: Members::new(plans.into_iter().map(Endpoint::open)),
            failed_over: Notify::new(),
            cluster: RefCell::default(),
            credentials: options.credentials.clone(),
            timeout: options.request_timeout,
            rng: RefCell::new(options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)),
            any_key: RefCell::new(vec![0]),
            changed,
            leader_changed: Notify::new(),
        }
    }

    /// A number in `0..below`.
    pub(crate) fn random(&self, below: u64) -> u64 {
        self.rng.borrow_mut().u64(0..below.max(1))
    }

    /// Where this kind of traffic goes now, with its index.
    pub(crate) fn endpoint(&self, kind: Kind) -> Option<(usize, Rc<Endpoint>)> {
        self.members.now(kind)
    }

    /// Moves on from endpoint `from`, unless somebody has already.
    pub(crate) fn advance(&self, kind: Kind, from: usize) {
        self.members.advance(kind, from);
        self.failed_over.notify_one();
    }

    /// Resolves when traffic has moved on since the last time. For one waiter.
    pub(crate) async fn failed_over(&self) {
        self.failed_over.notified().await;
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    pub(crate) fn raft_term(&self) -> u64 {
        self.cluster.borrow().raft_term()
    }

    /// Takes note of a reply's header. False: it came from another cluster, and everything is being ended.
    pub(crate) fn observe(&self, endpoint: &Endpoint, header: Header, floor: Option<Floor>) -> Result<()> {
        if header.member != 0 {
            endpoint.member.set(header.member);
        }
        let before = self.raft_term();
        let seen = self.cluster.borrow_mut().observe(&endpoint.name, header, floor);
        if self.raft_term() > before {
            self.leader_changed.notify_one();
        }
        seen.map_err(|changed| {
            // The receiver ends with the client; there is nobody to tell then.
            let _ = self.changed.send(changed.0.clone());
            Error::ClusterChanged {
                member: endpoint.name.clone(),
                message: changed.0,
            }
        })
    }

    /// Reads or writes keys.
    pub(crate) async fn txn(&self, ask: Ask<'_>, txn: &Txn) -> std::result::Result<Got<TxnReply>, Failure> {
        debug_assert!(!txn.then.is_empty(), "a transaction without any operation may be served stale (S4)");
        let ask = Ask {
            reads: txn.is_read_only(),
            ..ask
        };
        let got = self
            .call::<PbTxnRequest, PbTxnResponse>("/etcdserverpb.KV/Txn", &self.namespace.txn(txn), ask)
            .await?;
        Ok(Got {
            body: self.namespace.reply(got.body),
            header: got.header,
            first_sent: got.first_sent,
            sent: got.sent,
            repeated: got.repeated,
        })
    }

    /// A read that cannot be older than its sending.
    pub(crate) async fn read(
        &self,
        what: &'static str,
        key: &[u8],
        txn: &Txn,
    ) -> std::result::Result<Got<TxnReply>, Failure> {
        debug_assert!(txn.is_read_only());
        self.txn(self.repeatable(what, key), txn).await
    }

    /// [`txn`](Self::txn) by way of one member, whatever comes of it: for whoever tries the others by himself.
    pub(crate) async fn txn_at(
        &self,
        endpoint: &Endpoint,
        ask: Ask<'_>,
        txn: &Txn,
    ) -> std::result::Result<Got<TxnReply>, Failure> {
        let (path, request) = ("/etcdserverpb.KV/Txn", self.namespace.txn(txn));
        let ask = Ask {
            reads: txn.is_read_only(),
            ..ask
        };
        let mut renewed = false;
        loop {
            let sent = self.clock.now();
            let error = match self.attempt::<_, PbTxnResponse>(endpoint, path, &request, ask, ask.total).await {
                Ok(body) => {
                    return Ok(Got {
                        header: body.header(),
                        body: self.namespace.reply(body),
                        first_sent: sent,
                        sent,
                        repeated: false,
                    });
                }
                Err(Verdict::Token) if !std::mem::replace(&mut renewed, true) => continue,
                Err(Verdict::Token) => denied(endpoint, "invalid auth token"),
                Err(Verdict::Final(error)) => error,
                Err(Verdict::ElsewhereUnapplied(message)) => Error::unavailable(message),
                Err(Verdict::ElsewhereUnknown(message) | Verdict::Silent(message)) => return Err(Failure::Unknown(message)),
            };
            return Err(Failure::NotApplied(error));
        }
    }

    /// A call that may be sent again.
    pub(crate) fn repeatable<'a>(&self, what: &'static str, key: &'a [u8]) -> Ask<'a> {
        Ask {
            what,
            key,
            repeat: true,
            linearizable: true,
            reads: false,
            total: self.timeout,
            attempt: None,
        }
    }

    pub(crate) async fn grant(&self, id: i64, ttl: i64) -> std::result::Result<Got<PbLeaseGrantResponse>, Failure> {
        let ask = Ask {
            repeat: false, // an id that exists is refused the second time, and then its TTL is not known
            ..self.repeatable("grant of a lease", b"")
        };
        self.call("/etcdserverpb.Lease/LeaseGrant", &PbLeaseGrantRequest { ttl, id }, ask).await
    }

    /// Revokes; a lease that is gone already is success.
    pub(crate) async fn revoke(&self, id: i64) -> std::result::Result<(), Failure> {
        let path = "/etcdserverpb.Lease/LeaseRevoke";
        let ask = self.repeatable("revoke of a lease", b"");
        let revoked = self.call::<_, PbLeaseRevokeResponse>(path, &PbLeaseRevokeRequest { id }, ask).await;
        match revoked {
            Ok(_) | Err(Failure::NotApplied(Error::NotLeader { .. })) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// `(seconds left, seconds granted)`; −1 left if the lease does not exist.
    pub(crate) async fn time_to_live(&self, id: i64) -> std::result::Result<(i64, i64), Failure> {
        let ask = Ask {
            linearizable: false,
            reads: true,
            ..self.repeatable("time to live of a lease", b"")
        };
        let request = PbLeaseTimeToLiveRequest { id, keys: false };
        let path = "/etcdserverpb.Lease/LeaseTimeToLive";
        let got = self.call::<_, PbLeaseTimeToLiveResponse>(path, &request, ask).await?;
        Ok((got.body.ttl, got.body.granted_ttl))
    }

    /// The keys that hang on a lease, as etcd's leader knows them; `None` if the lease does not exist. Denied to who may
    /// not read every one of them.
    pub(crate) async fn keys_on(&self, id: i64) -> std::result::Result<Option<Vec<Vec<u8>>>, Failure> {
        let ask = Ask {
            linearizable: false,
            ..self.repeatable("keys of a lease", b"")
        };
        let request = PbLeaseTimeToLiveRequest { id, keys: true };
        let path = "/etcdserverpb.Lease/LeaseTimeToLive";
        let got = self.call::<_, PbLeaseTimeToLiveResponse>(path, &request, ask).await?;
        if got.header.raft_term < self.raft_term() {
            // An ex-leader that does not know it yet, or a member that follows one.
            return Err(Failure::NotApplied(Error::unavailable(format!("keys of lease {id:x}: an old raft term"))));
        }
        Ok((got.body.ttl >= 0).then_some(got.body.keys))
    }

    /// Asks one member who it is and whom it takes for the leader.
    pub(crate) async fn status(
        &self,
        endpoint: &Endpoint,
        bound: Duration,
    ) -> std::result::Result<PbStatusResponse, Failure> {
        let ask = Ask {
            linearizable: false,
            reads: true,
            total: bound,
            ..self.repeatable("status", b"")
        };
        let path = "/etcdserverpb.Maintenance/Status";
        let sent = self.attempt::<_, PbStatusResponse>(endpoint, path, &PbStatusRequest {}, ask, bound).await;
        sent.map_err(|verdict| match verdict {
            Verdict::ElsewhereUnapplied(message) | Verdict::ElsewhereUnknown(message) | Verdict::Silent(message) => {
                Failure::NotApplied(Error::unavailable(format!("{}: {message}", endpoint.name)))
            }
            Verdict::Token => Failure::NotApplied(denied(endpoint, "invalid auth token")),
            Verdict::Final(error) => Failure::NotApplied(error),
        })
    }

    pub(crate) async fn call<A, B>(&self, path: &'static str, request: &A, ask: Ask<'_>) -> std::result::Result<Got<B>, Failure>
    where
        A: prost::Message + Clone + 'static,
        B: Answer,
    {
        let started = tokio::time::Instant::now();
        // A share for each of up to three members, so that one that hangs does not eat the whole time.
        let share = ask.attempt.unwrap_or(ask.total / self.members.len().clamp(1, 3) as u32);
        let mut first_sent = None;
        let mut failures = 0u32;
        let mut tokens_lost = 0;
        loop {
            let left = ask.total.saturating_sub(started.elapsed());
            let Some((index, endpoint)) = self.endpoint(Kind::Calls) else {
                return Err(Failure::NotApplied(Error::internal("a client without endpoints")));
            };
            let sent = self.clock.now();
            let message = match self.attempt::<A, B>(&endpoint, path, request, ask, left.min(share)).await {
                Ok(body) => {
                    return Ok(Got {
                        header: body.header(),
                        body,
                        first_sent: first_sent.unwrap_or(sent),
                        sent,
                        repeated: first_sent.is_some(),
                    });
                }
                Err(Verdict::Final(error)) if first_sent.is_none() => return Err(Failure::NotApplied(error)),
                Err(Verdict::Final(error)) => return Err(Failure::Unknown(error.to_string())),
                Err(Verdict::Token) => {
                    tokens_lost += 1;
                    if tokens_lost <= 2 {
                        continue;
                    }
                    "the token was refused again and again".to_owned()
                }
                Err(Verdict::ElsewhereUnapplied(message)) => message,
                Err(Verdict::ElsewhereUnknown(message)) if ask.reads => message,
                Err(Verdict::ElsewhereUnknown(message) | Verdict::Silent(message)) => {
                    first_sent.get_or_insert(sent);
                    message
                }
            };
            self.advance(Kind::Calls, index);
            failures += 1;
            let message = format!("{} {}: {}: {message}", ask.what, show(ask.key), endpoint.name);
            if first_sent.is_some() && !ask.repeat {
                return Err(Failure::Unknown(message));
            }
            // A round of members that fail at once is not begun again at once.
            let pause = if failures as usize >= self.members.len() {
                let round = failures / self.members.len().max(1) as u32;
                Duration::from_millis(10 << round.min(5)) + Duration::from_millis(self.random(10))
            } else {
                Duration::ZERO
            };
            if started.elapsed() + pause + LAST_ATTEMPT > ask.total {
                return Err(match first_sent {
                    Some(_) => Failure::Unknown(message),
                    None => Failure::NotApplied(Error::unavailable(message)),
                });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One sending to one member.
    async fn attempt<A, B>(
        &self,
        endpoint: &Endpoint,
        path: &'static str,
        request: &A,
        ask: Ask<'_>,
        bound: Duration,
    ) -> std::result::Result<B, Verdict>
    where
        A: prost::Message + Clone + 'static,
        B: Answer,
    {
        let floor = ask.linearizable.then(|| self.cluster.borrow().floor(!ask.reads));
        let started = tokio::time::Instant::now();
        self.ensure_token(endpoint, bound).await?;
        let left = bound.saturating_sub(started.elapsed());
        let sending = unary::<A, B>(endpoint.wire.clone(), path, endpoint.request(request.clone()));
        match tokio::time::timeout(left, sending).await {
            Ok(Ok(reply)) => {
                let body = reply.into_inner();
                self.observe(endpoint, body.header(), floor).map_err(Verdict::Final)?;
                Ok(body)
            }
            Ok(Err(status)) => Err(match judge(endpoint, ask.key, &status) {
                Verdict::Token if self.credentials.is_none() => {
                    Verdict::Final(denied(endpoint, "authentication is enabled: give a user and a password"))
                }
                Verdict::Token => {
                    *endpoint.token.borrow_mut() = Token::Unknown;
                    Verdict::Token
                }
                verdict => verdict,
            }),
            Err(_) => Err(Verdict::Silent(format!("no answer within {bound:?}"))),
        }
    }

    /// Each member has its own token; etcd lets one die that was not used there.
    pub(crate) async fn authenticate(&self, endpoint: &Endpoint, bound: Duration) -> Result<()> {
        self.ensure_token(endpoint, bound).await.map_err(|verdict| match verdict {
            Verdict::Final(error) => error,
            Verdict::ElsewhereUnapplied(message) | Verdict::ElsewhereUnknown(message) | Verdict::Silent(message) => {
                Error::unavailable(format!("{}: {message}", endpoint.name))
            }
            Verdict::Token => denied(endpoint, "invalid auth token"),
        })
    }

    async fn ensure_token(&self, endpoint: &Endpoint, bound: Duration) -> std::result::Result<(), Verdict> {
        let Some((name, password)) = &self.credentials else { return Ok(()) };
        if !matches!(&*endpoint.token.borrow(), Token::Unknown) {
            return Ok(());
        }
        let request = PbAuthenticateRequest {
            name: name.clone(),
            password: password.clone(),
        };
        let path = "/etcdserverpb.Auth/Authenticate";
        let sending = unary::<_, PbAuthenticateResponse>(endpoint.wire.clone(), path, tonic::Request::new(request));
        let token = match tokio::time::timeout(bound, sending).await {
            Err(_) => return Err(Verdict::ElsewhereUnapplied(format!("no answer to Authenticate within {bound:?}"))),
            Ok(Ok(reply)) => {
                let token = reply.into_inner().token.parse();
                Token::Held(token.map_err(|_| Verdict::Final(Error::internal("a token that is no header value")))?)
            }
            Ok(Err(status)) if status.code() == Code::FailedPrecondition && status.source().is_none() => {
                log::warn!("{}: credentials are given, but authentication is not enabled", endpoint.name);
                Token::NotNeeded
            }
            Ok(Err(status)) if status.code() == Code::InvalidArgument && status.source().is_none() => {
                return Err(Verdict::Final(denied(endpoint, &format!("user {name:?}: {}", status.message()))));
            }
            Ok(Err(status)) => {
                return Err(match judge(endpoint, b"", &status) {
                    // Authenticate changes nothing: whatever happened to it, the call itself was not sent.
                    Verdict::ElsewhereUnknown(message) => Verdict::ElsewhereUnapplied(message),
                    verdict => verdict,
                });
            }
        };
        *endpoint.token.borrow_mut() = token;
        Ok(())
    }
}

fn denied(endpoint: &Endpoint, why: &str) -> Error {
    Error::PermissionDenied {
        message: format!("{}: {why}", endpoint.name),
    }
}

/// Which side did an error come from, was the call applied, and will another member do better?
fn judge(endpoint: &Endpoint, key: &[u8], status: &Status) -> Verdict {
    let message = format!("{} ({:?})", status.message(), status.code());
    if status.source().is_some() {
        // Our side, or the connection. Only a connection that was never made is certain.
        return if never_sent(status) {
            Verdict::ElsewhereUnapplied(chain(status))
        } else {
            Verdict::ElsewhereUnknown(chain(status))
        };
    }
    let about = || format!("{}: {}: {}", endpoint.name, show(key), status.message());
    match status.code() {
        _ if token_refused(status) => Verdict::Token,
        Code::PermissionDenied => Verdict::Final(Error::PermissionDenied { message: about() }),
        Code::InvalidArgument | Code::OutOfRange => Verdict::Final(Error::invalid("request", about())),
        // "requested lease not found": the lease, and with it the term, is gone.
        Code::NotFound => Verdict::Final(Error::NotLeader {
            key: show(key),
            reason: Some(crate::Reason::Revoked),
        }),
        Code::Unavailable if status.message().contains("no leader") => Verdict::ElsewhereUnapplied(message),
        // gRPC's own limit, above etcd's.
        Code::ResourceExhausted if status.message().contains("larger than max") => {
            Verdict::Final(Error::invalid("request", about()))
        }
        // A learner, or a member that cannot serve this; "too many requests", "no space": not applied.
        Code::FailedPrecondition | Code::ResourceExhausted => Verdict::ElsewhereUnapplied(message),
        // "request timed out", "leader changed", and whatever else: may have been applied.
        _ => Verdict::ElsewhereUnknown(message),
    }
}

/// Will another token do? etcd did not run what it refused so.
pub(crate) fn token_refused(status: &Status) -> bool {
    // Authentication was turned on after we asked for a token; a role changed since.
    const OTHER_WORDS: [&str; 2] = ["user name is empty", "revision of auth store is old"];
    status.source().is_none()
        && (status.code() == Code::Unauthenticated || OTHER_WORDS.iter().any(|words| status.message().contains(words)))
}

fn never_sent(status: &Status) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error of the connection with its causes: the first words alone are "transport error".
fn chain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
