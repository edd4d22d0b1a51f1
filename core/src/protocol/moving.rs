//! Moving a leader's key to a fresh lease: same key, same value, same CREATE, so the same term and token (DESIGN §4).
//! Owns the transaction and what its answer means; when a key moves, and what is renewed meanwhile, is `moving`'s.

use super::{Compare, Guard, KeyValue, Op, OpKind, Target, Txn, TxnReply};

/// Puts the key under lease `fresh` and leaves its value as it is. MOD fences: of two sendings one is applied at most,
/// and none after any later write of the key (S7).
pub(crate) fn move_to(guard: &Guard, modified: i64, fresh: i64) -> Txn {
    let mut when = guard.compares();
    when.push(Compare::is(&guard.key, Target::Mod(modified)));
    Txn {
        when,
        then: vec![Op(OpKind::Rehang {
            key: guard.key.to_vec(),
            lease: fresh,
        })],
        otherwise: vec![Op::get(&*guard.key)],
    }
}

/// What a move's reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MoveReply {
    /// The key hangs on the fresh lease since `modified`: by this sending or an earlier one.
    Moved { modified: i64 },
    /// Not moved; the key is where it was, and was written since by somebody who left lease and creation alone.
    Written { modified: i64 },
    /// The key is gone or another's.
    Lost,
}

/// Reads the reply of [`move_to`].
pub(crate) fn move_reply(guard: &Guard, fresh: i64, reply: &TxnReply) -> MoveReply {
    if reply.succeeded {
        return MoveReply::Moved {
            modified: reply.revision,
        };
    }
    match reply.first(0) {
        Some(KeyValue { create_revision, lease, mod_revision, .. }) if *create_revision == guard.create => {
            let modified = *mod_revision;
            match *lease {
                lease if lease == fresh => MoveReply::Moved { modified },
                lease if lease == guard.lease => MoveReply::Written { modified },
                _ => MoveReply::Lost,
            }
        }
        _ => MoveReply::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::OpReply;

    fn guard() -> Guard {
        Guard {
            key: b"k".as_slice().into(),
            create: 10,
            lease: 7,
        }
    }

    fn found(create: i64, lease: i64, modified: i64) -> TxnReply {
        TxnReply {
            succeeded: false,
            revision: 99,
            replies: vec![OpReply::Get {
                count: 1,
                kvs: vec![KeyValue {
                    create_revision: create,
                    mod_revision: modified,
                    lease,
                    ..KeyValue::default()
                }],
            }],
        }
    }

    #[test]
    fn case_54_a_move_compares_create_lease_and_mod_and_keeps_the_value() {
        let txn = move_to(&guard(), 12, 8);
        let expected = [Target::Create(10), Target::Lease(7), Target::Mod(12)].map(|target| Compare::is(b"k", target));
        assert_eq!(txn.when, expected);
        let rehung = OpKind::Rehang {
            key: b"k".to_vec(),
            lease: 8,
        };
        assert_eq!((txn.then, txn.otherwise), (vec![Op(rehung)], vec![Op::get("k")]));
    }

    #[test]
    fn case_54_a_moves_reply_tells_an_earlier_sending_from_a_loss() {
        let read = |reply: &TxnReply| move_reply(&guard(), 8, reply);
        let applied = TxnReply {
            succeeded: true,
            revision: 30,
            replies: vec![OpReply::Put],
        };
        assert_eq!(read(&applied), MoveReply::Moved { modified: 30 });
        assert_eq!(read(&found(10, 8, 20)), MoveReply::Moved { modified: 20 }, "an earlier sending");
        assert_eq!(read(&found(10, 7, 20)), MoveReply::Written { modified: 20 });
        assert_eq!(read(&found(10, 9, 20)), MoveReply::Lost, "overwritten");
        assert_eq!(read(&found(11, 8, 20)), MoveReply::Lost, "created anew");
        let absent = TxnReply {
            replies: vec![OpReply::Get { kvs: Vec::new(), count: 0 }],
            ..TxnReply::default()
        };
        assert_eq!(read(&absent), MoveReply::Lost);
    }
}
