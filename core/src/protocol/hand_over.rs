//! Giving the key from one holder to the next in one transaction, and what operators do to it and to its pause (S10,
//! S15). Owns those transactions and what their answers mean; who is chosen, and when, `handing` and `operator` decide.

use super::keys::registrations_of;
use super::{
    Compare, Guard, KeyValue, Leader, Mark, Op, Pick, Registered, Target, Txn, TxnReply, mark_key, parse_registration, paused_key,
    registration_key,
};
use crate::participant::Participant;

/// Who leads and who stands, at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roster {
    /// The key; its token is known.
    pub(crate) leader: Option<Leader>,
    /// In the order of their turns: the highest priority first, and then who registered first.
    pub(crate) candidates: Vec<Registered>,
}

/// Reads the key, the mark and all registrations.
pub(crate) fn roster(key: &[u8]) -> Txn {
    let mut txn = super::leader(key, true);
    txn.then.push(Op::pick(&registrations_of(key), Pick::Oldest, 0));
    txn
}

/// Reads the reply of [`roster`].
pub(crate) fn roster_reply(reply: &TxnReply) -> Roster {
    let mut candidates: Vec<_> = reply.kvs(2).iter().map(parse_registration).collect();
    candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.priority), candidate.revision));
    Roster {
        leader: super::leader_reply(reply, true),
        candidates,
    }
}

impl Roster {
    /// Everybody, the leader first.
    pub(crate) fn participants(&self) -> Vec<Participant> {
        let leader = self.leader.iter().map(Leader::participant);
        leader.chain(self.candidates.iter().map(|candidate| candidate.participant(false))).collect()
    }
}

impl Leader {
    /// Its priority is not known: the registration that said it is used up.
    pub(crate) fn participant(&self) -> Participant {
        Participant {
            value: self.value.clone(),
            priority: 0,
            lease: self.lease,
            revision: self.create_revision,
            leads: true,
        }
    }
}

impl Registered {
    pub(crate) fn participant(&self, leads: bool) -> Participant {
        Participant {
            value: self.value.clone(),
            priority: self.priority,
            lease: self.lease,
            revision: self.revision,
            leads,
        }
    }
}

/// Gives the own key to a candidate: its value, its lease; its registration is used up, and the mark says whose word it
/// was. Of two sendings one is applied at most: MOD fences, and the registration is gone after the first.
pub(crate) fn hand_over(guard: &Guard, modified: i64, to: &Registered, mark: Vec<u8>) -> Txn {
    let registration = registration_key(&guard.key, to.lease);
    let mut when = owned(guard, modified);
    when.push(Compare::is(&registration, Target::Create(to.revision)));
    Txn {
        when,
        then: vec![
            Op::put_with_lease(&*guard.key, &*to.value, to.lease),
            Op::delete(&*registration),
            Op::put(mark_key(&guard.key), mark),
        ],
        otherwise: vec![Op::get(&*guard.key), Op::get(mark_key(&guard.key)), Op::get(registration)],
    }
}

/// What a hand-over's reply says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HandedOver {
    /// By this sending or an earlier one.
    Yes,
    /// Not, nor ever by what was sent: the key was written since it was seen.
    Rewritten(KeyValue),
    /// Not, nor ever: the candidate does not stand any more. The key is where it was.
    CandidateGone(KeyValue),
    /// The key is gone or another's.
    Lost(Option<KeyValue>),
}

/// Reads the reply of [`hand_over`] by whoever holds the key as `holds` says; `mark` is the one that was to be written,
/// after `modified`.
pub(crate) fn hand_over_reply(
    (guard, modified): (&Guard, i64),
    to: &Registered,
    mark: &[u8],
    holds: impl Fn(&KeyValue) -> bool,
    reply: &TxnReply,
) -> HandedOver {
    if reply.succeeded {
        return HandedOver::Yes;
    }
    let written = reply.first(1).is_some_and(|kv| kv.mod_revision > modified && kv.value == mark);
    match reply.first(0) {
        Some(kv) if holds(kv) => {
            let stands = reply.first(2).is_some_and(|registration| registration.create_revision == to.revision);
            // Both can have changed: the key says first where to go on from.
            let kv = kv.clone();
            if stands { HandedOver::Rewritten(kv) } else { HandedOver::CandidateGone(kv) }
        }
        // The only one who writes this mark is who gives the key away, once for each token.
        _ if written => HandedOver::Yes,
        Some(kv) if kv.create_revision == guard.create && kv.lease == to.lease => HandedOver::Yes,
        kv => HandedOver::Lost(kv.cloned()),
    }
}

/// The compares of a write to the key that follows on `modified`.
fn owned(guard: &Guard, modified: i64) -> Vec<Compare> {
    let mut when = guard.compares();
    when.push(Compare::is(&guard.key, Target::Mod(modified)));
    when
}

/// An operator deposes the holder that was seen.
pub(crate) fn depose(seen: &Guard, modified: i64, mark: Vec<u8>) -> Txn {
    Txn {
        when: owned(seen, modified),
        then: vec![Op::delete(&*seen.key), Op::put(mark_key(&seen.key), mark)],
        otherwise: super::leader(&seen.key, true).then,
    }
}

/// An operator takes the key from the holder that was seen, under a lease of its own. The value stays: who reads it
/// finds what it can read, while nobody leads.
pub(crate) fn seize(seen: &Guard, modified: i64, lease: i64, mark: Vec<u8>) -> Txn {
    Txn {
        when: owned(seen, modified),
        then: vec![
            Op(super::OpKind::Rehang {
                key: seen.key.to_vec(),
                lease,
            }),
            Op::put(mark_key(&seen.key), mark),
        ],
        otherwise: super::leader(&seen.key, true).then,
    }
}

/// Pauses the election, or lets it go on.
pub(crate) fn set_paused(key: &[u8], paused: bool) -> Txn {
    let name = paused_key(key);
    let op = if paused { Op::put(name, "") } else { Op::delete(name) };
    Txn {
        then: vec![op],
        ..Txn::default()
    }
}

/// Is the election paused?
pub(crate) fn is_paused(key: &[u8]) -> Txn {
    super::get([&*paused_key(key)])
}

impl Mark {
    pub(crate) fn operator(token: i64) -> Vec<u8> {
        format!("{token}{}", super::takeover::OPERATOR).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{OpReply, registration::registration_value};

    fn guard() -> Guard {
        Guard {
            key: b"k".as_slice().into(),
            create: 10,
            lease: 7,
        }
    }

    fn to() -> Registered {
        Registered {
            lease: 0x1f,
            revision: 12,
            priority: 3,
            value: b"b".to_vec(),
        }
    }

    fn get(kvs: Vec<KeyValue>) -> OpReply {
        OpReply::Get { count: 0, kvs }
    }

    fn kv(value: &str, create: i64, modified: i64, lease: i64) -> KeyValue {
        KeyValue {
            value: value.into(),
            create_revision: create,
            mod_revision: modified,
            lease,
            ..KeyValue::default()
        }
    }

    fn refused(key: Option<KeyValue>, mark: Option<KeyValue>, registration: Option<KeyValue>) -> TxnReply {
        TxnReply {
            succeeded: false,
            revision: 99,
            replies: [key, mark, registration].map(|kv| get(kv.into_iter().collect())).into(),
        }
    }

    #[test]
    fn case_36_s10_a_hand_over_is_one_transaction_that_uses_the_registration_up() {
        let txn = hand_over(&guard(), 11, &to(), Mark::holder(10));
        let mut when: Vec<_> =
            [Target::Create(10), Target::Lease(7), Target::Mod(11)].map(|target| Compare::is(b"k", target)).into();
        when.push(Compare::is(b"k.candidates/1f", Target::Create(12)));
        assert_eq!(txn.when, when);
        let then = [Op::put_with_lease("k", "b", 0x1f), Op::delete("k.candidates/1f"), Op::put("k.resigned", "10")];
        assert_eq!(txn.then, then);
        assert!(Mark::parse(&Mark::holder(10)).by_holder && !Mark::parse(&Mark::operator(10)).by_holder);
        assert_eq!(Mark::parse(&Mark::operator(10)).token, Some(10));
    }

    #[test]
    fn case_36_s7_a_lost_reply_of_a_hand_over_is_read_not_guessed() {
        let read = |reply: &TxnReply| {
            hand_over_reply((&guard(), 11), &to(), b"10", |kv| kv.create_revision == 10 && kv.lease == 7, reply)
        };
        let applied = TxnReply { succeeded: true, ..TxnReply::default() };
        assert_eq!(read(&applied), HandedOver::Yes);
        let (mark, handed) = (Some(kv("10", 20, 20, 0)), kv("b", 10, 20, 0x1f));
        assert_eq!(read(&refused(Some(handed.clone()), mark.clone(), None)), HandedOver::Yes, "an earlier sending");
        assert_eq!(read(&refused(Some(kv("c", 10, 30, 9)), mark.clone(), None)), HandedOver::Yes, "and it went on");
        assert_eq!(read(&refused(None, mark.clone(), None)), HandedOver::Yes, "and was let go of");
        let old = Some(kv("10", 5, 5, 0));
        let taken = kv("x", 10, 30, 9);
        assert_eq!(read(&refused(Some(taken.clone()), old, None)), HandedOver::Lost(Some(taken)), "an old mark says nothing");
        let operators = Some(kv("10 operator", 20, 20, 0));
        assert_eq!(read(&refused(None, operators, None)), HandedOver::Lost(None));
        let mine = kv("a", 10, 13, 7);
        let stands = Some(kv("3 b", 12, 12, 0x1f));
        assert_eq!(read(&refused(Some(mine.clone()), None, stands)), HandedOver::Rewritten(mine.clone()));
        let again = Some(kv("3 b", 15, 15, 0x1f));
        assert_eq!(read(&refused(Some(mine.clone()), None, again)), HandedOver::CandidateGone(mine.clone()), "another registration");
        assert_eq!(read(&refused(Some(mine.clone()), None, None)), HandedOver::CandidateGone(mine));
    }

    #[test]
    fn the_roster_is_in_the_order_of_turns() {
        let candidate = |lease: i64, revision: i64, priority: i64, value: &str| KeyValue {
            value: registration_value(priority, value.as_bytes()),
            ..kv("", revision, revision, lease)
        };
        let reply = TxnReply {
            succeeded: true,
            revision: 30,
            replies: vec![
                get(vec![kv("a", 10, 20, 7)]),
                get(vec![kv("5", 20, 20, 0)]),
                get(vec![candidate(1, 11, 0, "b"), candidate(2, 12, 5, "c"), candidate(3, 13, 5, "d")]),
            ],
        };
        let roster = roster_reply(&reply);
        assert_eq!(roster.leader.as_ref().and_then(|leader| leader.token), Some(20));
        let shown: Vec<_> = roster.participants().into_iter().map(|one| (one.value, one.lease, one.leads)).collect();
        let expected = [(&b"a"[..], 7, true), (b"c", 2, false), (b"d", 3, false), (b"b", 1, false)];
        assert_eq!(shown, expected.map(|(value, lease, leads)| (value.to_vec(), lease, leads)));
    }
}
