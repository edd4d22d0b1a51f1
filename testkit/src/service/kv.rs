//! Owns the KV service: range, put, delete, transactions, compaction.
//! Leaves their meaning to `store`, permissions to `auth`.

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse,
    PbTxnOpRequest, PbTxnRequest, PbTxnResponse,
};
use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{Meta, Service, check_size, filled};
use crate::refusal;
use crate::state::{Need, State};
use crate::store::txn;
use crate::version::Version;

/// All operations are reads, in both branches (a nested transaction counts as a write, even a reading one).
fn only_reads(txn: &PbTxnRequest) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .all(|op| matches!(op.request, Some(PbTxnOpRequest::RequestRange(_))))
}

/// All operations are serializable reads: true of a transaction without any.
fn serializable(txn: &PbTxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(
        |op| matches!(&op.request, Some(PbTxnOpRequest::RequestRange(range)) if range.serializable),
    )
}

impl Service {
    fn version(&self) -> Version {
        self.shared.lock().state.config.version
    }

    fn size_limit(&self) -> usize {
        self.shared.lock().state.config.max_request_bytes
    }
}

#[async_trait]
impl PbKvService for Service {
    type RangeStreamStream = ReceiverStream<Result<PbRangeStreamResponse, Status>>;

    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        self.count("Range");
        let meta = Meta::of(&request);
        let request = request.into_inner();
        let need = if request.serializable {
            Need::Local
        } else {
            Need::Read
        };
        // etcd looks at the request before anything else, a stopped one at nothing.
        self.enter(Need::Local, &Meta::default()).await?;
        crate::store::check_range(&request, self.version())?;
        self.enter(need, &meta).await?;
        let mut locked = self.shared.lock();
        let now = locked.now;
        let caller = locked
            .state
            .auth
            .caller(meta.token.as_deref(), self.member, now)?;
        let state = &*locked.state;
        state
            .auth
            .may_read(&caller, &request.key, &request.range_end)?;
        let mut response = state.store_of(self.member).range(&request)?;
        response.header = filled(state, self.member, response.header);
        Ok(Response::new(response))
    }

    async fn range_stream(
        &self,
        _request: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Self::unimplemented("RangeStream")
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        self.count("Put");
        let (member, meta, limit) = (self.member, Meta::of(&request), self.size_limit());
        let request = request.into_inner();
        let response = self
            .write(&meta, move |state, caller, _| {
                txn::check_put(&request)?;
                check_size(request.encoded_len(), limit)?;
                state.auth.may_put(caller, &request, &state.store)?;
                state
                    .store
                    .check_applied(&request, &|lease| state.lessor.exists(lease))?;
                let mut writing = state.store.write();
                let mut response = writing.put(&request);
                let committed = writing.commit();
                state.publish(&committed);
                response.header = filled(state, member, response.header);
                Ok(response)
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        self.count("DeleteRange");
        let (member, meta) = (self.member, Meta::of(&request));
        let request = request.into_inner();
        let response = self
            .write(&meta, move |state, caller, _| {
                if request.key.is_empty() {
                    return Err(refusal::empty_key());
                }
                state
                    .auth
                    .may_delete(caller, &request.key, &request.range_end, request.prev_kv)?;
                let mut writing = state.store.write();
                let mut response = writing.delete(&request);
                let committed = writing.commit();
                state.publish(&committed);
                response.header = filled(state, member, response.header);
                Ok(response)
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        self.count("Txn");
        let (member, meta, limit) = (self.member, Meta::of(&request), self.size_limit());
        let request = request.into_inner();
        self.enter(Need::Local, &Meta::default()).await?;
        txn::check(&request, self.version())?;
        check_size(request.encoded_len(), limit)?;
        if only_reads(&request) {
            let need = if serializable(&request) {
                Need::Local
            } else {
                Need::Read
            };
            self.enter(need, &meta).await?;
            let mut locked = self.shared.lock();
            let now = locked.now;
            let caller = locked
                .state
                .auth
                .caller(meta.token.as_deref(), member, now)?;
            let state = &mut *locked.state;
            state
                .auth
                .may_txn(&caller, &request, state.store_of(member))?;
            // It writes nothing, whatever this member sees.
            let (mut response, _) = state.store_of_mut(member).txn(&request, &|_| false)?;
            response.header = filled(state, member, response.header);
            return Ok(Response::new(response));
        }
        let response = self
            .write(&meta, move |state: &mut State, caller, _| {
                state.auth.may_txn(caller, &request, &state.store)?;
                let lessor = &state.lessor;
                let (mut response, committed) =
                    state.store.txn(&request, &|lease| lessor.exists(lease))?;
                state.publish(&committed);
                response.header = filled(state, member, response.header);
                Ok(response)
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        self.count("Compact");
        let (member, meta) = (self.member, Meta::of(&request));
        let revision = request.into_inner().revision;
        let response = self
            .write(&meta, move |state, caller, _| {
                if state.config.version.leases_need_auth() {
                    state.auth.need_admin(caller)?;
                }
                state.store.compact(revision)?;
                Ok(PbCompactionResponse {
                    header: filled(state, member, None),
                })
            })
            .await?;
        Ok(Response::new(response))
    }
}
