//! Every transaction of the queue kind, built and read: join, look, leave. Key for key what etcd's own election writes.
//! Owns their exact content and the names of the keys; who waits for whom is decided in `queue`.

use super::{Compare, Guard, KeyValue, Leader, Mark, Op, OpReply, Pick, Target, Txn, TxnReply, keys};
use crate::error::{Error, Result, show};
use crate::participant::Participant;

/// Beside the prefix, not under it: every key under it is a candidate, to etcd's own clients too.
const MARK: &[u8] = b".queue-resigned";

/// `PREFIX/`: what all candidates' keys start with.
pub(crate) fn queue_range(prefix: &[u8]) -> Vec<u8> {
    [prefix, b"/"].concat()
}

/// `PREFIX/<lease id, lowercase hex, unpadded>`.
pub(crate) fn queue_key(prefix: &[u8], lease: i64) -> Vec<u8> {
    [prefix, b"/", format!("{lease:x}").as_bytes()].concat()
}

/// The prefix of the queue that a key of [`queue_key`] stands in.
pub(crate) fn queue_of(key: &[u8]) -> &[u8] {
    let slash = key.iter().rposition(|byte| *byte == b'/').unwrap_or(key.len());
    key.get(..slash).unwrap_or(key)
}

pub(crate) fn queue_mark_key(prefix: &[u8]) -> Vec<u8> {
    [prefix, MARK].concat()
}

/// A prefix that an election of the queue kind may have.
pub(crate) fn check_queue_prefix(argument: &str, prefix: &[u8]) -> Result<()> {
    keys::check_name(argument, prefix)?;
    if prefix.ends_with(b"/") {
        return Err(Error::invalid(
            argument,
            format!("{} ends in a slash; the candidates' keys add one", show(prefix)),
        ));
    }
    Ok(())
}

/// The operations of a user in one branch of a guarded transaction: none that touches the queue or its mark.
pub(crate) fn check_queue_ops(argument: &str, prefix: &[u8], ops: &[Op]) -> Result<()> {
    let (range, mark) = (queue_range(prefix), queue_mark_key(prefix));
    let end_of_range = super::prefix_end(&range);
    keys::check_ops(argument, prefix, ops, |key, end| {
        keys::overlap(key, end, &range, &end_of_range) || keys::overlap(key, end, &mark, &[])
    })
}

/// Joins at the end of the queue, unless it is paused. Safe to repeat: the key is the lease's own. `beside`: may the keys
/// beside the prefix be read (the pause here, the mark elsewhere)?
pub(crate) fn join(prefix: &[u8], lease: i64, value: &[u8], beside: bool) -> Txn {
    let key = queue_key(prefix, lease);
    let mut txn = Txn {
        when: vec![Compare::is(&key, Target::Create(0))],
        then: vec![Op::put_with_lease(key.clone(), value, lease)],
        otherwise: vec![Op::get(key)],
    };
    if beside {
        let paused = keys::paused_key(prefix);
        txn.when.push(Compare::is(&paused, Target::Create(0)));
        txn.otherwise.push(Op::get(paused));
    }
    txn
}

/// How a [`join`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The own key was created at this revision, by this sending or an earlier one.
    At(i64),
    Paused,
    /// Somebody else has put the own key.
    Taken,
}

/// Reads the reply of [`join`].
pub(crate) fn joined(lease: i64, reply: &TxnReply) -> Joined {
    if reply.succeeded {
        return Joined::At(reply.revision);
    }
    match (reply.first(0), reply.first(1)) {
        (Some(kv), _) if kv.lease == lease => Joined::At(kv.create_revision),
        (None, Some(_)) => Joined::Paused,
        _ => Joined::Taken,
    }
}

/// Looks at the own place: the own key, the first of the queue, who stands directly before it, and the mark if that may be
/// read. Read-only and linearizable.
pub(crate) fn look(prefix: &[u8], own: &Guard, beside: bool) -> Txn {
    let range = queue_range(prefix);
    let mut ops = vec![
        Op::get(&*own.key),
        Op::pick(&range, Pick::Oldest, 1),
        Op::pick(&range, Pick::NewestUpTo(own.create - 1), 1),
    ];
    if beside {
        ops.push(Op::get(queue_mark_key(prefix)));
    }
    Txn {
        then: ops,
        ..Txn::default()
    }
}

/// What [`look`] shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueView {
    /// The own key as it is; gone or another's if it is not as the guard says.
    pub(crate) own: Option<KeyValue>,
    pub(crate) first: Option<KeyValue>,
    /// The candidate directly before; `None` when the own key is the first.
    pub(crate) before: Option<KeyValue>,
    pub(crate) mark: Option<KeyValue>,
}

impl QueueView {
    /// Is the queue's turn ours?
    pub(crate) fn is_first(&self, own: &Guard) -> bool {
        let is_own = |kv: &Option<KeyValue>| {
            kv.as_ref().is_some_and(|kv| (kv.create_revision, kv.lease) == (own.create, own.lease) && kv.key == *own.key)
        };
        is_own(&self.own) && is_own(&self.first) && self.before.is_none()
    }
}

pub(crate) fn look_reply(reply: &TxnReply) -> QueueView {
    QueueView {
        own: reply.first(0).cloned(),
        first: reply.first(1).cloned(),
        before: reply.first(2).cloned(),
        mark: reply.first(3).cloned(),
    }
}

/// Leaves: deletes the own key, with the mark of an ended term (S15).
pub(crate) fn leave(prefix: &[u8], own: &Guard, modified: i64, mark: Option<i64>) -> Txn {
    let mut txn = super::release(own, modified, None);
    if let Some(token) = mark {
        txn.then.push(Op::put(queue_mark_key(prefix), Mark::holder(token)));
    }
    txn
}

/// A candidate as its key shows it. Its token is its creation, whatever it wrote since.
pub(crate) fn queue_leader(kv: &KeyValue) -> Leader {
    Leader {
        token: Some(kv.create_revision),
        ..Leader::from_key(kv)
    }
}

/// All candidates in order, the leader first, at most `limit` (0 = all).
pub(crate) fn participants(prefix: &[u8], limit: i64) -> Txn {
    oldest(&queue_range(prefix), limit)
}

/// The same for a [`queue_range`].
pub(crate) fn oldest(range: &[u8], limit: i64) -> Txn {
    Txn {
        then: vec![Op::pick(range, Pick::Oldest, limit)],
        ..Txn::default()
    }
}

/// The first that [`oldest`] read, and how many there are in all.
pub(crate) fn oldest_reply(reply: &TxnReply) -> (Option<KeyValue>, u64) {
    match reply.replies.first() {
        Some(OpReply::Get { kvs, count }) => (kvs.first().cloned(), u64::try_from(*count).unwrap_or(0)),
        _ => (None, 0),
    }
}

/// Those that [`participants`] read.
pub(crate) fn queue_participants(kvs: &[KeyValue]) -> Vec<Participant> {
    let one = |(place, kv): (usize, &KeyValue)| Participant {
        value: kv.value.clone(),
        priority: 0,
        lease: kv.lease,
        revision: kv.create_revision,
        leads: place == 0,
    };
    kvs.iter().enumerate().map(one).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn s13_queue_prefixes_are_checked_by_name() {
        for bad in ["", "a/", "a.resigned", "a.queue-resigned", "a.candidates/b"] {
            match check_queue_prefix("prefix", bad.as_bytes()) {
                Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, "prefix", "{bad}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
        check_queue_prefix("prefix", b"billing/workers").unwrap();
    }

    /// As etcd's `concurrency.Election` and `etcdctl lock` write them: prefix, slash, lease in hex, unpadded.
    #[test]
    fn the_keys_are_those_of_etcds_own_election() {
        assert_eq!(queue_key(b"billing", 0x0a1f), b"billing/a1f");
        assert_eq!(queue_of(b"billing/eu/a1f"), b"billing/eu");
        assert_eq!(queue_mark_key(b"billing"), b"billing.queue-resigned");
        assert!(!queue_mark_key(b"billing").starts_with(&queue_range(b"billing")), "never a candidate");
    }

    fn kv(key: &[u8], create: i64, lease: i64) -> KeyValue {
        KeyValue {
            key: key.to_vec(),
            create_revision: create,
            mod_revision: create,
            lease,
            version: 1,
            ..KeyValue::default()
        }
    }

    fn view(own: Option<KeyValue>, first: Option<KeyValue>, before: Option<KeyValue>) -> QueueView {
        let get = |kv: Option<KeyValue>| OpReply::Get {
            count: 1,
            kvs: kv.into_iter().collect(),
        };
        look_reply(&TxnReply {
            succeeded: true,
            revision: 50,
            replies: vec![get(own), get(first), get(before), get(None)],
        })
    }

    #[test]
    fn s10_the_turn_is_ours_only_when_our_own_key_is_the_first() {
        let own = Guard {
            key: b"q/1".to_vec().into(),
            create: 10,
            lease: 1,
        };
        let mine = || Some(kv(b"q/1", 10, 1));
        assert!(view(mine(), mine(), None).is_first(&own));
        assert!(!view(mine(), Some(kv(b"q/2", 5, 2)), Some(kv(b"q/2", 5, 2))).is_first(&own), "another is before");
        assert!(!view(None, Some(kv(b"q/2", 12, 2)), None).is_first(&own), "case 51: the own key went with the leader's");
        assert!(!view(Some(kv(b"q/1", 20, 1)), Some(kv(b"q/1", 20, 1)), None).is_first(&own), "created anew by somebody");
    }
}
