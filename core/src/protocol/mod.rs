//! What is read from and written to etcd: our own transaction types, and every transaction of the design.
//! Pure functions only; sending them, and the types of etcd's client, are `etcd/`'s.

mod hand_over;
mod keys;
mod moving;
mod queue;
mod registration;
mod size;
mod takeover;
mod transactions;

pub(crate) use hand_over::{
    HandedOver, Roster, depose, hand_over, hand_over_reply, is_paused, roster, roster_reply, seize, set_paused,
};
pub(crate) use keys::{candidate_of, MAX_USER_OPS, check_election_key, check_user_ops, mark_key, paused_key, registration_key};
pub(crate) use moving::{MoveReply, move_reply, move_to};
pub(crate) use queue::{
    Joined, QueueView, check_queue_ops, check_queue_prefix, join, joined, leave, look, look_reply, oldest, oldest_reply, participants,
    queue_key, queue_leader, queue_of, queue_participants, queue_range,
};
pub(crate) use size::{check_compares_size, check_ops_size, check_size};
pub(crate) use registration::{
    Registered, Reregistered, deregister, move_registration, parse_registration, register, registered, registration_value,
    registrations, registrations_reply, rename, reregistered,
};
pub(crate) use takeover::{Handed, Mark, handed_reply, leads_at_once, look_at_handed};
pub(crate) use transactions::{
    Campaign, CampaignReply, Guard, GuardReply, campaign, campaign_reply, get, guard_reply, guarded,
    leader, leader_reply, proclaim, release, release_at, surrender,
};

/// The key of an election: many parts hold it, so it is there once.
pub(crate) type Key = std::sync::Arc<[u8]>;

/// How a compare compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompareOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
}

/// What a compare looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Create(i64),
    Mod(i64),
    Version(i64),
    Lease(i64),
    Value(Vec<u8>),
}

/// One condition on one key. An absent key has revisions, version and lease 0; a compare of its value fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    pub(crate) key: Vec<u8>,
    pub(crate) op: CompareOp,
    pub(crate) target: Target,
}

impl Compare {
    fn new(key: impl Into<Vec<u8>>, op: CompareOp, target: Target) -> Compare {
        Compare {
            key: key.into(),
            op,
            target,
        }
    }

    /// Compares the revision at which the key was created (0 = absent).
    pub fn create_revision(key: impl Into<Vec<u8>>, op: CompareOp, revision: i64) -> Compare {
        Compare::new(key, op, Target::Create(revision))
    }

    /// Compares the revision at which the key was last written.
    pub fn mod_revision(key: impl Into<Vec<u8>>, op: CompareOp, revision: i64) -> Compare {
        Compare::new(key, op, Target::Mod(revision))
    }

    /// Compares how often the key was written since it was created.
    pub fn version(key: impl Into<Vec<u8>>, op: CompareOp, version: i64) -> Compare {
        Compare::new(key, op, Target::Version(version))
    }

    /// Compares the id of the lease the key hangs on (0 = none).
    pub fn lease(key: impl Into<Vec<u8>>, op: CompareOp, lease: i64) -> Compare {
        Compare::new(key, op, Target::Lease(lease))
    }

    /// Compares the value.
    pub fn value(key: impl Into<Vec<u8>>, op: CompareOp, value: impl Into<Vec<u8>>) -> Compare {
        Compare::new(key, op, Target::Value(value.into()))
    }

    fn is(key: &[u8], target: Target) -> Compare {
        Compare::new(key, CompareOp::Equal, target)
    }
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op(pub(crate) OpKind);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpKind {
    Put { key: Vec<u8>, value: Vec<u8>, lease: i64 },
    Delete { key: Vec<u8>, range_end: Vec<u8>, previous: bool },
    /// Puts a key that exists under another lease, and keeps its value.
    Rehang { key: Vec<u8>, lease: i64 },
    Get { key: Vec<u8>, range_end: Vec<u8>, limit: i64, pick: Pick },
    Txn(Txn),
}

/// Which keys of a range a Get returns, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pick {
    #[default]
    ByKey,
    /// By creation, the oldest first.
    Oldest,
    /// By creation, the newest first, of those created at or before this revision.
    NewestUpTo(i64),
}

impl Op {
    /// Writes a key.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Op {
        Op::put_with_lease(key, value, 0)
    }

    /// Writes a key that lives as long as `lease` (0 = for good).
    pub fn put_with_lease(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, lease: i64) -> Op {
        Op(OpKind::Put {
            key: key.into(),
            value: value.into(),
            lease,
        })
    }

    /// Deletes a key; deleting an absent one is no error.
    pub fn delete(key: impl Into<Vec<u8>>) -> Op {
        Op(OpKind::Delete {
            key: key.into(),
            range_end: Vec::new(),
            previous: false,
        })
    }

    /// Deletes every key that starts with `prefix`.
    pub fn delete_prefix(prefix: impl Into<Vec<u8>>) -> Op {
        let key = prefix.into();
        Op(OpKind::Delete {
            range_end: prefix_end(&key),
            key,
            previous: false,
        })
    }

    /// Reads a key.
    pub fn get(key: impl Into<Vec<u8>>) -> Op {
        Op(OpKind::Get {
            key: key.into(),
            range_end: Vec::new(),
            limit: 0,
            pick: Pick::ByKey,
        })
    }

    /// Reads every key that starts with `prefix`, at most `limit` of them (0 = all).
    pub fn get_prefix(prefix: impl Into<Vec<u8>>, limit: i64) -> Op {
        let key = prefix.into();
        Op(OpKind::Get {
            range_end: prefix_end(&key),
            key,
            limit,
            pick: Pick::ByKey,
        })
    }

    /// The value that it writes.
    pub(crate) fn written(&self) -> Option<&[u8]> {
        match &self.0 {
            OpKind::Put { value, .. } => Some(value),
            _ => None,
        }
    }

    fn pick(prefix: &[u8], pick: Pick, limit: i64) -> Op {
        Op(OpKind::Get {
            key: prefix.to_vec(),
            range_end: prefix_end(prefix),
            limit,
            pick,
        })
    }

    fn delete_returning(key: &[u8]) -> Op {
        Op(OpKind::Delete {
            key: key.to_vec(),
            range_end: Vec::new(),
            previous: true,
        })
    }
}

/// Some of the keys that begin with `prefix`, by name, beginning at `from`.
pub(crate) fn page(from: &[u8], prefix: &[u8], limit: i64) -> Txn {
    Txn {
        then: vec![Op(OpKind::Get {
            // An empty key is not a key: the range of all begins at the smallest there is.
            key: if from.is_empty() { vec![0] } else { from.to_vec() },
            range_end: prefix_end(prefix),
            limit,
            pick: Pick::ByKey,
        })],
        ..Txn::default()
    }
}

/// The end of the range of all keys that start with `prefix`, as etcd computes it (`\0` = to the end).
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// If, then, else: what etcd applies as one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Txn {
    pub(crate) when: Vec<Compare>,
    pub(crate) then: Vec<Op>,
    pub(crate) otherwise: Vec<Op>,
}

impl Txn {
    /// A transaction that changes nothing. It must contain a read, or a member may serve it stale (S4).
    pub(crate) fn is_read_only(&self) -> bool {
        let ops = || self.then.iter().chain(&self.otherwise);
        ops().all(|op| matches!(op.0, OpKind::Get { .. })) && ops().next().is_some()
    }
}

/// A key as etcd holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The revision at which it was created (again).
    pub create_revision: i64,
    /// The revision at which it was last written.
    pub mod_revision: i64,
    /// How often it was written since it was created.
    pub version: i64,
    /// The lease it hangs on (0 = none).
    pub lease: i64,
}

/// What one operation answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpReply {
    /// A key was written.
    Put,
    /// So many keys were deleted.
    Delete {
        /// How many.
        deleted: i64,
        /// What they held, if asked for.
        previous: Vec<KeyValue>,
    },
    /// What was read.
    Get {
        /// The keys, in order.
        kvs: Vec<KeyValue>,
        /// How many there are in the range, read or not.
        count: i64,
    },
    /// A transaction inside the transaction.
    Txn(TxnReply),
}

/// What a transaction answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TxnReply {
    /// True if all compares held and the `then` branch was applied.
    pub succeeded: bool,
    /// The store's revision after it (the transaction's own, if it wrote).
    pub revision: i64,
    /// One reply for each operation of the branch that was applied.
    pub replies: Vec<OpReply>,
}

impl TxnReply {
    /// The keys read by operation `index` of the branch that was applied; empty for anything else.
    pub fn kvs(&self, index: usize) -> &[KeyValue] {
        match self.replies.get(index) {
            Some(OpReply::Get { kvs, .. }) => kvs,
            _ => &[],
        }
    }

    fn first(&self, index: usize) -> Option<&KeyValue> {
        self.kvs(index).first()
    }
}

/// Who leads an election of the single-key kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The leader's value.
    pub value: Vec<u8>,
    /// The revision at which the key was created.
    pub create_revision: i64,
    /// The revision at which the key was last written.
    pub mod_revision: i64,
    /// The lease it hangs on.
    pub lease: i64,
    /// The term's token; `None` if it cannot be known (the mark may not be read and the key was written again, S10).
    pub token: Option<i64>,
}

impl Leader {
    /// The leader as the key alone shows it.
    pub(crate) fn from_key(kv: &KeyValue) -> Leader {
        Leader {
            value: kv.value.clone(),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            lease: kv.lease,
            token: (kv.version == 1).then_some(kv.create_revision),
        }
    }
}
