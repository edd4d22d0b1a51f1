//! Owns which calls a fault hits: by method, and for transactions by what they do.
//! Leaves what then happens to the others of this folder.

use std::fmt;
use std::sync::Arc;

use etcd_client::proto::{PbTxnOpRequest, PbTxnRequest};
use prost::Message;

/// An RPC of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Method {
    /// Whichever.
    Any,
    /// KV.Range
    Range,
    /// KV.Put
    Put,
    /// KV.DeleteRange
    Delete,
    /// KV.Txn
    Txn,
    /// KV.Compact
    Compact,
    /// Lease.LeaseGrant
    LeaseGrant,
    /// Lease.LeaseRevoke
    LeaseRevoke,
    /// Lease.LeaseKeepAlive: opening the stream
    LeaseKeepAlive,
    /// Lease.LeaseTimeToLive
    LeaseTimeToLive,
    /// Lease.LeaseLeases
    LeaseLeases,
    /// Watch.Watch: opening the stream
    Watch,
    /// Auth.Authenticate
    Authenticate,
    /// Maintenance.Status
    Status,
    /// Cluster.MemberList
    MemberList,
    /// Everything else
    Other,
}

impl Method {
    pub(super) fn of_path(path: &str) -> Self {
        match path.rsplit('/').next().unwrap_or_default() {
            "Range" => Method::Range,
            "Put" => Method::Put,
            "DeleteRange" => Method::Delete,
            "Txn" => Method::Txn,
            "Compact" => Method::Compact,
            "LeaseGrant" => Method::LeaseGrant,
            "LeaseRevoke" => Method::LeaseRevoke,
            "LeaseKeepAlive" => Method::LeaseKeepAlive,
            "LeaseTimeToLive" => Method::LeaseTimeToLive,
            "LeaseLeases" => Method::LeaseLeases,
            "Watch" => Method::Watch,
            "Authenticate" => Method::Authenticate,
            "Status" => Method::Status,
            "MemberList" => Method::MemberList,
            _ => Method::Other,
        }
    }

    pub(super) fn is_stream(self) -> bool {
        matches!(self, Method::LeaseKeepAlive | Method::Watch)
    }
}

type Predicate = Arc<dyn Fn(&PbTxnRequest) -> bool + Send + Sync>;

/// The calls a fault hits: a method (`Method` converts), or transactions of one kind.
#[derive(Clone)]
pub struct Target {
    method: Method,
    txn: Option<Predicate>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl From<Method> for Target {
    fn from(method: Method) -> Self {
        Target { method, txn: None }
    }
}

impl Target {
    /// The transactions for which this says yes.
    pub fn txn(predicate: impl Fn(&PbTxnRequest) -> bool + Send + Sync + 'static) -> Self {
        Target {
            method: Method::Txn,
            txn: Some(Arc::new(predicate)),
        }
    }

    /// The transactions that put this key, in any branch, nested ones included.
    pub fn txn_putting(key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        Self::txn(move |txn| {
            touches(
                txn,
                &|op| matches!(op, PbTxnOpRequest::RequestPut(put) if put.key == key),
            )
        })
    }

    /// The transactions that delete exactly this key (not an interval with it), in any branch, nested ones included.
    pub fn txn_deleting(key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        let deletes = move |op: &PbTxnOpRequest| matches!(op, PbTxnOpRequest::RequestDeleteRange(delete) if delete.key == key && delete.range_end.is_empty());
        Self::txn(move |txn| touches(txn, &deletes))
    }

    /// The transactions that write nothing.
    #[must_use]
    pub fn txn_reading() -> Self {
        let writes = |op: &PbTxnOpRequest| {
            matches!(
                op,
                PbTxnOpRequest::RequestPut(_) | PbTxnOpRequest::RequestDeleteRange(_)
            )
        };
        Self::txn(move |txn| !touches(txn, &writes))
    }

    pub(super) fn hits(&self, method: Method, message: &[u8]) -> bool {
        if self.method != Method::Any && self.method != method {
            return false;
        }
        let Some(predicate) = &self.txn else {
            return true;
        };
        // gRPC puts a flag and four bytes of length before the message.
        let decoded = message
            .get(5..)
            .and_then(|message| PbTxnRequest::decode(message).ok());
        decoded.is_some_and(|txn| predicate(&txn))
    }
}

fn touches(txn: &PbTxnRequest, wanted: &dyn Fn(&PbTxnOpRequest) -> bool) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .filter_map(|op| op.request.as_ref())
        .any(|op| match op {
            PbTxnOpRequest::RequestTxn(nested) => touches(nested, wanted),
            op => wanted(op),
        })
}
