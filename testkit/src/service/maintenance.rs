//! Owns `Status` and the member list. Everything else of the two services is not there, and says so.
//! Leaves who leads to `state`.

use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbClusterService, PbDefragmentRequest, PbDefragmentResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbMaintenanceService, PbMember, PbMemberAddRequest, PbMemberAddResponse,
    PbMemberListRequest, PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse,
    PbMemberRemoveRequest, PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
    PbMoveLeaderRequest, PbMoveLeaderResponse, PbSnapshotRequest, PbSnapshotResponse,
    PbStatusRequest, PbStatusResponse,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{Meta, Service, filled};
use crate::gate::Locked;
use crate::state::Need;

#[async_trait]
impl PbMaintenanceService for Service {
    type SnapshotStream = ReceiverStream<Result<PbSnapshotResponse, Status>>;

    async fn status(
        &self,
        request: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        self.count("Status");
        let meta = Meta::of(&request);
        self.enter(Need::Local, &meta).await?;
        let Locked { mut state, now } = self.shared.lock();
        if state.config.version.leases_need_auth() {
            let caller = state.auth.caller(meta.token.as_deref(), self.member, now)?;
            state.auth.need_user(&caller)?;
        }
        let header = state.header(self.member);
        let isolated = state
            .member(self.member)
            .is_some_and(|member| member.isolation.is_some());
        let leader = state.leading().or(state
            .leader
            .filter(|leader| isolated || *leader == self.member));
        let leader = leader
            .and_then(|index| state.member(index))
            .map_or(0, |member| member.id);
        Ok(Response::new(PbStatusResponse {
            header: Some(header),
            version: state.config.version.full().to_owned(),
            leader,
            raft_term: header.raft_term,
            ..Default::default()
        }))
    }

    async fn alarm(&self, _: Request<PbAlarmRequest>) -> Result<Response<PbAlarmResponse>, Status> {
        Self::unimplemented("Alarm")
    }
    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        Self::unimplemented("Defragment")
    }
    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        Self::unimplemented("Hash")
    }
    async fn hash_kv(
        &self,
        _: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        Self::unimplemented("HashKV")
    }
    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Self::unimplemented("Snapshot")
    }
    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Self::unimplemented("MoveLeader: a test calls Cluster::change_leader")
    }
    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Self::unimplemented("Downgrade")
    }
}

#[async_trait]
impl PbClusterService for Service {
    async fn member_list(
        &self,
        request: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        self.count("MemberList");
        let meta = Meta::of(&request);
        let need = if request.get_ref().linearizable {
            Need::Read
        } else {
            Need::Local
        };
        self.enter(need, &meta).await?;
        let Locked { mut state, now } = self.shared.lock();
        if state.config.version.leases_need_auth() {
            let caller = state.auth.caller(meta.token.as_deref(), self.member, now)?;
            state.auth.need_user(&caller)?;
        }
        let members = state
            .members
            .iter()
            .enumerate()
            .map(|(index, member)| PbMember {
                id: member.id,
                name: format!("member-{index}"),
                client_ur_ls: member
                    .address
                    .iter()
                    .map(|address| format!("http://{address}"))
                    .collect(),
                ..Default::default()
            })
            .collect();
        Ok(Response::new(PbMemberListResponse {
            header: filled(&state, self.member, None),
            members,
        }))
    }

    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        Self::unimplemented("MemberAdd")
    }
    async fn member_remove(
        &self,
        _: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        Self::unimplemented("MemberRemove")
    }
    async fn member_update(
        &self,
        _: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        Self::unimplemented("MemberUpdate")
    }
    async fn member_promote(
        &self,
        _: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        Self::unimplemented("MemberPromote")
    }
}
