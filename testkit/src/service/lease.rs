//! Owns the lease service: grant, revoke, the keepalive stream, time-to-live, the list.
//! Leaves expiry to `state`, which keys hang on a lease to `store`.

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseService, PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
    PbResponseHeader,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{AnswerStream, Meta, Service, filled, opened};
use crate::gate::{Locked, Passage};
use crate::refusal;
use crate::state::Need;

type Answers = mpsc::UnboundedSender<Result<PbLeaseKeepAliveResponse, Status>>;

impl Service {
    /// Serves one keepalive stream until either side ends it.
    async fn keep_alive(
        &self,
        meta: &Meta,
        requests: Streaming<PbLeaseKeepAliveRequest>,
        answers: &Answers,
    ) -> Result<(), Status> {
        tokio::select! {
            biased;
            () = answers.closed() => Ok(()),
            status = self.without_leader(meta) => Err(status),
            ended = self.renew_all(meta, requests, answers) => ended,
        }
    }

    /// One renewal after the other, in the order they came: one that waits holds up all behind it.
    async fn renew_all(
        &self,
        meta: &Meta,
        mut requests: Streaming<PbLeaseKeepAliveRequest>,
        answers: &Answers,
    ) -> Result<(), Status> {
        // A client that broke off is not told why its stream ended.
        while let Some(Ok(request)) = requests.next().await {
            let answer = self.renew(meta, request.id).await?;
            if answers.send(Ok(answer)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Returns when a stream that asked for a leader must be ended.
    pub(super) async fn without_leader(&self, meta: &Meta) -> Status {
        if !meta.hasleader {
            std::future::pending::<()>().await;
        }
        loop {
            let mut bell = std::pin::pin!(self.shared.bell());
            bell.as_mut().enable();
            let next = {
                let Locked { state, now } = self.shared.lock();
                if state.stream_ends(self.member, now) {
                    return refusal::no_leader();
                }
                state.next_event(now)
            };
            self.shared.changed(bell, next).await;
        }
    }

    async fn renew(&self, meta: &Meta, id: i64) -> Result<PbLeaseKeepAliveResponse, Status> {
        // A stopped member reads nothing; the header is filled before the renewal, so one that waits keeps its old term.
        let mut waiting = self.waiting(Need::Renew, &Meta::default());
        let header = {
            let arrival = self.shared.enter_here(&mut waiting).await;
            let mut locked = self.shared.lock();
            locked.state.stats.keepalives += 1;
            let header = locked.state.header(self.member);
            arrival.map_or(header, |raft_term| PbResponseHeader {
                raft_term,
                ..header
            })
        };
        let forwarded = {
            let state = self.shared.lock().state;
            let latency = state.config.forward_latency;
            (state.leader != Some(self.member) && !latency.is_zero()).then_some(latency)
        };
        if let Some(latency) = forwarded {
            tokio::time::sleep(latency).await;
        }
        let ttl = match self.shared.enter(waiting, None).await? {
            Passage::Stale { member, .. } => self.shared.lock().state.stale_ttl(member, id),
            Passage::Regular => {
                let Locked { mut state, now } = self.shared.lock();
                if state.auth.enabled && state.config.version.leases_need_auth() {
                    let caller = state.auth.caller(meta.token.as_deref(), self.member, now)?;
                    state.auth.need_user(&caller)?;
                    state.auth.may_write_lease(&caller, id, &state.store)?;
                }
                state.lessor.renew(id, now).unwrap_or(0)
            }
        };
        Ok(PbLeaseKeepAliveResponse {
            header: Some(header),
            id,
            ttl,
        })
    }
}

#[async_trait]
impl PbLeaseService for Service {
    type LeaseKeepAliveStream = AnswerStream<PbLeaseKeepAliveResponse>;

    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        self.count("LeaseGrant");
        let (member, meta) = (self.member, Meta::of(&request));
        let request = request.into_inner();
        let response = self
            .write(&meta, move |state, caller, now| {
                if state.config.version.leases_need_auth() {
                    state.auth.need_user(caller)?;
                }
                let (id, ttl) = state.lessor.grant(request.id, request.ttl, now)?;
                Ok(PbLeaseGrantResponse {
                    header: filled(state, member, None),
                    id,
                    ttl,
                    error: String::new(),
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        self.count("LeaseRevoke");
        let (member, meta) = (self.member, Meta::of(&request));
        let id = request.into_inner().id;
        let response = self
            .write(&meta, move |state, caller, _| {
                if state.config.version.leases_need_auth() {
                    state.auth.need_user(caller)?;
                }
                state.auth.may_write_lease(caller, id, &state.store)?;
                if !state.revoke(id) {
                    return Err(refusal::lease_not_found());
                }
                Ok(PbLeaseRevokeResponse {
                    header: filled(state, member, None),
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        self.count("LeaseKeepAlive");
        let meta = Meta::of(&request);
        self.enter(Need::Local, &meta).await?;
        let (answers, stream) = mpsc::unbounded_channel();
        let service = self.clone();
        self.shared.lock().state.keepalive_streams += 1;
        tokio::spawn(async move {
            if let Err(status) = service
                .keep_alive(&meta, request.into_inner(), &answers)
                .await
            {
                let _ = answers.send(Err(status));
            }
            service.shared.lock().state.keepalive_streams -= 1;
        });
        Ok(Response::new(opened(stream).await))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        self.count("LeaseTimeToLive");
        let meta = Meta::of(&request);
        let request = request.into_inner();
        self.enter(Need::Read, &meta).await?;
        let Locked { mut state, now } = self.shared.lock();
        if state.config.version.leases_need_auth() {
            let caller = state.auth.caller(meta.token.as_deref(), self.member, now)?;
            state.auth.need_user(&caller)?;
            if request.keys {
                state
                    .auth
                    .may_read_lease(&caller, request.id, &state.store)?;
            }
        }
        let header = filled(&state, self.member, None);
        let response = match state.lessor.known(request.id, now) {
            None => PbLeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: -1,
                ..Default::default()
            },
            Some(known) => PbLeaseTimeToLiveResponse {
                header,
                id: known.id,
                ttl: i64::try_from(known.remaining.as_secs()).unwrap_or(i64::MAX),
                granted_ttl: known.ttl,
                keys: if request.keys {
                    state.store.keys_of(known.id)
                } else {
                    Vec::new()
                },
            },
        };
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        self.count("LeaseLeases");
        let meta = Meta::of(&request);
        self.enter(Need::Local, &meta).await?;
        let Locked { mut state, now } = self.shared.lock();
        let leases = state.lessor.all(now);
        if state.config.version.leases_need_auth() {
            let caller = state.auth.caller(meta.token.as_deref(), self.member, now)?;
            state.auth.need_user(&caller)?;
            for lease in &leases {
                state.auth.may_read_lease(&caller, lease.id, &state.store)?;
            }
        }
        let leases = leases
            .into_iter()
            .map(|lease| PbLeaseStatus { id: lease.id })
            .collect();
        Ok(Response::new(PbLeaseLeasesResponse {
            header: filled(&state, self.member, None),
            leases,
        }))
    }
}
