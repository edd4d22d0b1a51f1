//! The wire: our transaction types to etcd's messages and back, and the two stubs that send them.
//! Owns every use of etcd's message types outside the streams; what to send is `protocol`'s.

use etcd_client::{CompareOp as PbOp, SortOrder as PbSortOrder, SortTarget as PbSortTarget};
use etcd_client::proto::*;
use tonic::body::Body as TonicBody;
use tonic::client::Grpc;
use tonic::codegen::{Body, Bytes, StdError};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use tower::util::BoxCloneSyncService;

use crate::protocol::{Compare, CompareOp, KeyValue, Op, OpKind, OpReply, Pick, Target, Txn, TxnReply};

/// What requests go out on: a connection, or a test server in process.
pub type Wire = BoxCloneSyncService<http::Request<TonicBody>, http::Response<TonicBody>, StdError>;

/// Answers up to this size are read: a batch of 126 keys of etcd's largest value would be more, and is cut by us.
const MAX_MESSAGE: usize = 64 << 20;

fn grpc(wire: Wire) -> Grpc<Wire> {
    Grpc::new(wire).max_decoding_message_size(MAX_MESSAGE)
}

/// One request, one reply.
pub(crate) async fn unary<A, B>(wire: Wire, path: &'static str, request: Request<A>) -> Result<Response<B>, Status>
where
    A: prost::Message + 'static,
    B: prost::Message + Default + 'static,
{
    let mut grpc = grpc(wire);
    grpc.ready().await.map_err(Status::from_error)?;
    let codec = tonic_prost::ProstCodec::<A, B>::default();
    grpc.unary(request, http::uri::PathAndQuery::from_static(path), codec).await
}

/// Two streams. The future resolves with the first reply, not before: run it as a task.
pub(crate) async fn bidi<A, B>(
    wire: Wire,
    path: &'static str,
    request: Request<impl Stream<Item = A> + Send + 'static>,
) -> Result<Response<Streaming<B>>, Status>
where
    A: prost::Message + 'static,
    B: prost::Message + Default + 'static,
{
    let mut grpc = grpc(wire);
    grpc.ready().await.map_err(Status::from_error)?;
    let codec = tonic_prost::ProstCodec::<A, B>::default();
    grpc.streaming(request, http::uri::PathAndQuery::from_static(path), codec).await
}

/// A connection as a [`Wire`].
pub(crate) fn boxed<S>(service: S) -> Wire
where
    S: tower::Service<http::Request<TonicBody>, Response = http::Response<TonicBody>> + Clone + Send + Sync + 'static,
    S::Error: Into<StdError>,
    S::Future: Send + 'static,
    TonicBody: Body<Data = Bytes>,
{
    Wire::new(tower::ServiceExt::map_err(service, Into::into))
}

/// What every reply says of the cluster that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
    pub(crate) revision: i64,
    pub(crate) raft_term: u64,
}

impl Header {
    pub(crate) fn read(header: Option<&PbResponseHeader>) -> Header {
        header.map_or_else(Header::default, |header| Header {
            cluster: header.cluster_id,
            member: header.member_id,
            revision: header.revision,
            raft_term: header.raft_term,
        })
    }
}

/// A reply with a header.
pub(crate) trait Answer: prost::Message + Default + 'static {
    fn header(&self) -> Header;
}

macro_rules! answers {
    ($($message:ty),*) => {$(
        impl Answer for $message {
            fn header(&self) -> Header {
                Header::read(self.header.as_ref())
            }
        }
    )*};
}
answers!(
    PbTxnResponse,
    PbLeaseGrantResponse,
    PbLeaseRevokeResponse,
    PbLeaseTimeToLiveResponse,
    PbAuthenticateResponse,
    PbMemberListResponse,
    PbStatusResponse
);

/// The prefix that a client puts in front of every key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespace(pub(crate) Vec<u8>);

impl Namespace {
    pub(crate) fn add(&self, key: &[u8]) -> Vec<u8> {
        [self.0.as_slice(), key].concat()
    }

    /// The end of a range: `\0` (to the end of the store) becomes the end of the namespace.
    fn add_end(&self, end: &[u8]) -> Vec<u8> {
        match end {
            [] => Vec::new(),
            [0] if !self.0.is_empty() => crate::protocol::prefix_end(&self.0),
            end => self.add(end),
        }
    }

    pub(crate) fn strip(&self, key: Vec<u8>) -> Vec<u8> {
        match key.strip_prefix(self.0.as_slice()) {
            Some(rest) => rest.to_vec(),
            None => key,
        }
    }

    pub(crate) fn txn(&self, txn: &Txn) -> PbTxnRequest {
        PbTxnRequest {
            compare: txn.when.iter().map(|compare| self.compare(compare)).collect(),
            success: txn.then.iter().map(|op| self.op(op)).collect(),
            failure: txn.otherwise.iter().map(|op| self.op(op)).collect(),
        }
    }

    fn compare(&self, compare: &Compare) -> PbCompare {
        let (target, union) = match &compare.target {
            Target::Create(n) => (PbCompareTarget::Create, PbTargetUnion::CreateRevision(*n)),
            Target::Mod(n) => (PbCompareTarget::Mod, PbTargetUnion::ModRevision(*n)),
            Target::Version(n) => (PbCompareTarget::Version, PbTargetUnion::Version(*n)),
            Target::Lease(n) => (PbCompareTarget::Lease, PbTargetUnion::Lease(*n)),
            Target::Value(v) => (PbCompareTarget::Value, PbTargetUnion::Value(v.clone())),
        };
        let result = match compare.op {
            CompareOp::Equal => PbOp::Equal,
            CompareOp::NotEqual => PbOp::NotEqual,
            CompareOp::Greater => PbOp::Greater,
            CompareOp::Less => PbOp::Less,
        };
        PbCompare {
            result: result as i32,
            target: target as i32,
            key: self.add(&compare.key),
            target_union: Some(union),
            ..PbCompare::default()
        }
    }

    fn op(&self, op: &Op) -> PbTxnRequestOp {
        let request = match &op.0 {
            OpKind::Put { key, value, lease } => PbTxnOpRequest::RequestPut(PbPutRequest {
                key: self.add(key),
                value: value.clone(),
                lease: *lease,
                ..PbPutRequest::default()
            }),
            OpKind::Rehang { key, lease } => PbTxnOpRequest::RequestPut(PbPutRequest {
                key: self.add(key),
                lease: *lease,
                ignore_value: true,
                ..PbPutRequest::default()
            }),
            OpKind::Delete { key, range_end, previous } => PbTxnOpRequest::RequestDeleteRange(PbDeleteRequest {
                key: self.add(key),
                range_end: self.add_end(range_end),
                prev_kv: *previous,
            }),
            OpKind::Get { key, range_end, limit, pick } => {
                let (order, target, newest) = match *pick {
                    Pick::ByKey => (PbSortOrder::None, PbSortTarget::Key, 0),
                    Pick::Oldest => (PbSortOrder::Ascend, PbSortTarget::Create, 0),
                    Pick::NewestUpTo(revision) => (PbSortOrder::Descend, PbSortTarget::Create, revision),
                };
                PbTxnOpRequest::RequestRange(PbRangeRequest {
                    key: self.add(key),
                    range_end: self.add_end(range_end),
                    limit: *limit,
                    sort_order: order as i32,
                    sort_target: target as i32,
                    max_create_revision: newest,
                    ..PbRangeRequest::default()
                })
            }
            OpKind::Txn(txn) => PbTxnOpRequest::RequestTxn(self.txn(txn)),
        };
        PbTxnRequestOp { request: Some(request) }
    }

    pub(crate) fn reply(&self, reply: PbTxnResponse) -> TxnReply {
        TxnReply {
            succeeded: reply.succeeded,
            revision: Header::read(reply.header.as_ref()).revision,
            replies: reply.responses.into_iter().map(|op| self.op_reply(op)).collect(),
        }
    }

    fn op_reply(&self, op: PbResponseOp) -> OpReply {
        match op.response {
            Some(PbTxnOpResponse::ResponseRange(range)) => OpReply::Get {
                count: range.count,
                kvs: range.kvs.into_iter().map(|kv| self.key_value(kv)).collect(),
            },
            Some(PbTxnOpResponse::ResponseDeleteRange(deleted)) => OpReply::Delete {
                deleted: deleted.deleted,
                previous: deleted.prev_kvs.into_iter().map(|kv| self.key_value(kv)).collect(),
            },
            Some(PbTxnOpResponse::ResponseTxn(txn)) => OpReply::Txn(self.reply(txn)),
            Some(PbTxnOpResponse::ResponsePut(_)) | None => OpReply::Put,
        }
    }

    pub(crate) fn key_value(&self, kv: PbKeyValue) -> KeyValue {
        KeyValue {
            key: self.strip(kv.key),
            value: kv.value,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s13_a_namespace_is_put_in_front_of_keys_and_ranges_and_taken_off_again() {
        let ns = Namespace(b"ns/".to_vec());
        assert_eq!(ns.add(b"k"), b"ns/k");
        assert_eq!(ns.add_end(b""), b"");
        assert_eq!(ns.add_end(&[0]), b"ns0", "to the end of the namespace, not of the store");
        assert_eq!(ns.add_end(b"k0"), b"ns/k0");
        assert_eq!(ns.strip(b"ns/k".to_vec()), b"k");
        assert_eq!(Namespace::default().add_end(&[0]), [0]);
    }
}
