//! A bare client of etcd for tests: the generated messages over any wire, nothing hidden, nothing retried.
//! Owns the calls and the two streams; what an answer should be is the test's business.

use etcd_client::WatchOptions;
use etcd_client::proto::{
    PbAuthDisableRequest, PbAuthEnableRequest, PbAuthRoleAddRequest,
    PbAuthRoleGrantPermissionRequest, PbAuthRoleRevokePermissionRequest, PbAuthUserAddRequest, PbAuthUserChangePasswordRequest,
    PbAuthUserGrantRoleRequest, PbAuthUserRevokeRoleRequest, PbAuthenticateRequest,
    PbAuthenticateResponse, PbCompactionRequest, PbCompactionResponse, PbDeleteRequest,
    PbDeleteResponse, PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest,
    PbLeaseKeepAliveResponse, PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest,
    PbLeaseRevokeResponse, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
    PbMemberListRequest, PbMemberListResponse, PbPutRequest, PbPutResponse, PbRangeRequest,
    PbRangeResponse, PbStatusRequest, PbStatusResponse, PbTxnRequest, PbTxnResponse,
    PbWatchRequest, PbWatchRequestUnion, PbWatchResponse,
};
use leadership_testkit::{Wire, bidi, unary};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Status, Streaming};

/// A client of one member. Cheap to clone; the token and `hasleader` go with every call.
#[derive(Clone, Debug)]
pub struct Raw {
    wire: Wire,
    token: Option<String>,
    hasleader: bool,
}

/// A reply that nobody looks into but for its coming: any message decodes as an empty one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Done {}

/// `Permission`'s numbers for what it allows.
#[derive(Clone, Copy, Debug)]
pub enum Grant {
    /// Reads and compares.
    Read = 0,
    /// Puts and deletes.
    Write = 1,
    /// Both.
    ReadWrite = 2,
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident $path:literal $request:ty => $response:ty;)*) => {
        $($(#[$doc])* pub async fn $name(&self, request: $request) -> Result<$response, Status> {
            unary(self.wire.clone(), $path, self.request(request)?).await.map(tonic::Response::into_inner)
        })*
    };
}

impl Raw {
    /// A client over this wire, without a token, not asking for a leader.
    #[must_use]
    pub fn new(wire: Wire) -> Self {
        Raw {
            wire,
            token: None,
            hasleader: false,
        }
    }

    /// The same with this token on every call and stream.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Raw {
            token: Some(token.into()),
            ..self.clone()
        }
    }

    /// The same without a token.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Raw {
            token: None,
            ..self.clone()
        }
    }

    /// The same asking for a leader on every call and stream.
    #[must_use]
    pub fn with_leader(&self) -> Self {
        Raw {
            hasleader: true,
            ..self.clone()
        }
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        let bad = |_| Status::invalid_argument("a token that is no metadata");
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("token", token.parse().map_err(bad)?);
        }
        if self.hasleader {
            request
                .metadata_mut()
                .insert("hasleader", "true".parse().map_err(bad)?);
        }
        Ok(request)
    }

    calls! {
        /// KV.Range
        range "/etcdserverpb.KV/Range" PbRangeRequest => PbRangeResponse;
        /// KV.Put
        put "/etcdserverpb.KV/Put" PbPutRequest => PbPutResponse;
        /// KV.DeleteRange
        delete "/etcdserverpb.KV/DeleteRange" PbDeleteRequest => PbDeleteResponse;
        /// KV.Txn
        txn "/etcdserverpb.KV/Txn" PbTxnRequest => PbTxnResponse;
        /// KV.Compact
        compact "/etcdserverpb.KV/Compact" PbCompactionRequest => PbCompactionResponse;
        /// Lease.LeaseGrant
        grant "/etcdserverpb.Lease/LeaseGrant" PbLeaseGrantRequest => PbLeaseGrantResponse;
        /// Lease.LeaseRevoke
        revoke "/etcdserverpb.Lease/LeaseRevoke" PbLeaseRevokeRequest => PbLeaseRevokeResponse;
        /// Lease.LeaseTimeToLive
        time_to_live "/etcdserverpb.Lease/LeaseTimeToLive" PbLeaseTimeToLiveRequest => PbLeaseTimeToLiveResponse;
        /// Lease.LeaseLeases
        leases "/etcdserverpb.Lease/LeaseLeases" PbLeaseLeasesRequest => PbLeaseLeasesResponse;
        /// Maintenance.Status
        status "/etcdserverpb.Maintenance/Status" PbStatusRequest => PbStatusResponse;
        /// Cluster.MemberList
        member_list "/etcdserverpb.Cluster/MemberList" PbMemberListRequest => PbMemberListResponse;
        /// Auth.Authenticate
        authenticate "/etcdserverpb.Auth/Authenticate" PbAuthenticateRequest => PbAuthenticateResponse;
        /// Auth.AuthEnable
        auth_enable "/etcdserverpb.Auth/AuthEnable" PbAuthEnableRequest => Done;
        /// Auth.AuthDisable
        auth_disable "/etcdserverpb.Auth/AuthDisable" PbAuthDisableRequest => Done;
        /// Auth.UserAdd
        user_add "/etcdserverpb.Auth/UserAdd" PbAuthUserAddRequest => Done;
        /// Auth.UserChangePassword
        user_password "/etcdserverpb.Auth/UserChangePassword" PbAuthUserChangePasswordRequest => Done;
        /// Auth.UserGrantRole
        user_role "/etcdserverpb.Auth/UserGrantRole" PbAuthUserGrantRoleRequest => Done;
        /// Auth.UserRevokeRole
        user_unrole "/etcdserverpb.Auth/UserRevokeRole" PbAuthUserRevokeRoleRequest => Done;
        /// Auth.RoleAdd
        role_add "/etcdserverpb.Auth/RoleAdd" PbAuthRoleAddRequest => Done;
        /// Auth.RoleGrantPermission
        role_permission "/etcdserverpb.Auth/RoleGrantPermission" PbAuthRoleGrantPermissionRequest => Done;
        /// Auth.RoleRevokePermission
        role_forbid "/etcdserverpb.Auth/RoleRevokePermission" PbAuthRoleRevokePermissionRequest => Done;
    }

    /// A linearizable read of one key.
    pub async fn get(&self, key: impl Into<Vec<u8>>) -> Result<PbRangeResponse, Status> {
        self.range(PbRangeRequest {
            key: key.into(),
            ..Default::default()
        })
        .await
    }

    /// A token for this user.
    pub async fn login(&self, name: &str, password: &str) -> Result<String, Status> {
        let request = PbAuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        Ok(self.without_token().authenticate(request).await?.token)
    }

    /// Opens a watch stream. It opens in the background: etcd answers an opening with its first message.
    pub fn watch(&self) -> Result<Stream<PbWatchRequest, PbWatchResponse>, Status> {
        self.stream("/etcdserverpb.Watch/Watch")
    }

    /// Opens a keepalive stream, in the background as well.
    pub fn keep_alive(
        &self,
    ) -> Result<Stream<PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse>, Status> {
        self.stream("/etcdserverpb.Lease/LeaseKeepAlive")
    }

    fn stream<A, B>(&self, path: &'static str) -> Result<Stream<A, B>, Status>
    where
        A: prost::Message + Send + Sync + 'static,
        B: prost::Message + Default + Send + Sync + 'static,
    {
        let (requests, receiver) = mpsc::unbounded_channel();
        let request = self.request(UnboundedReceiverStream::new(receiver))?;
        let opening = tokio::spawn(open(self.wire.clone(), path, request));
        Ok(Stream {
            requests,
            replies: Replies::Opening(opening),
        })
    }
}

async fn open<A, B>(
    wire: Wire,
    path: &'static str,
    request: Request<UnboundedReceiverStream<A>>,
) -> Result<Streaming<B>, Status>
where
    A: prost::Message + Send + Sync + 'static,
    B: prost::Message + Default + Send + Sync + 'static,
{
    bidi(wire, path, request)
        .await
        .map(tonic::Response::into_inner)
}

enum Replies<B> {
    Opening(JoinHandle<Result<Streaming<B>, Status>>),
    Open(Box<Streaming<B>>),
    Ended(Status),
}

/// A stream each way. Dropping it ends it.
pub struct Stream<A, B> {
    requests: mpsc::UnboundedSender<A>,
    replies: Replies<B>,
}

impl<A, B> Stream<A, B> {
    /// Sends; false if the stream is broken.
    pub fn send(&self, request: impl Into<A>) -> bool {
        self.requests.send(request.into()).is_ok()
    }

    /// The next reply; after the end always the status it ended with (`Ok` "ended" for an orderly one). Cancel-safe.
    pub async fn next(&mut self) -> Result<B, Status> {
        let ended = loop {
            match &mut self.replies {
                Replies::Opening(opening) => match opening.await {
                    Ok(Ok(open)) => self.replies = Replies::Open(Box::new(open)),
                    Ok(Err(status)) => break status,
                    Err(broken) => break Status::internal(broken.to_string()),
                },
                Replies::Open(open) => match open.message().await {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => break Status::ok("ended"),
                    Err(status) => break status,
                },
                Replies::Ended(status) => return Err(status.clone()),
            }
        };
        self.replies = Replies::Ended(ended.clone());
        Err(ended)
    }
}

impl<A, B> Drop for Stream<A, B> {
    fn drop(&mut self) {
        if let Replies::Opening(opening) = &self.replies {
            opening.abort();
        }
    }
}

/// A watch create: id 0 lets the server choose, start 0 is from now on.
#[must_use]
pub fn create(id: i64, key: impl Into<Vec<u8>>, start: i64) -> WatchOptions {
    WatchOptions::new()
        .with_key(key)
        .with_watch_id(id)
        .with_start_revision(start)
}

/// A watch cancel.
#[must_use]
pub fn cancel(id: i64) -> PbWatchRequest {
    // The type of the message cannot be named.
    let mut union = PbWatchRequestUnion::CancelRequest(Default::default());
    if let PbWatchRequestUnion::CancelRequest(request) = &mut union {
        request.watch_id = id;
    }
    PbWatchRequest {
        request_union: Some(union),
    }
}

/// A progress request.
#[must_use]
pub fn progress() -> PbWatchRequest {
    PbWatchRequest {
        request_union: Some(PbWatchRequestUnion::ProgressRequest(Default::default())),
    }
}

/// A permission grant on a key (`range_end` empty) or an interval.
#[must_use]
pub fn permission(
    role: &str,
    grant: Grant,
    key: &str,
    range_end: &str,
) -> PbAuthRoleGrantPermissionRequest {
    // The permission's type cannot be named, only made.
    let mut request = PbAuthRoleGrantPermissionRequest {
        name: role.to_owned(),
        perm: Some(Default::default()),
    };
    if let Some(permission) = &mut request.perm {
        permission.perm_type = grant as i32;
        permission.key = key.into();
        permission.range_end = range_end.into();
    }
    request
}
