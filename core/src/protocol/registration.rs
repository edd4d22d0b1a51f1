//! Registrations: who stands for a key, under which lease, with which priority (S7, DESIGN §5).
//! Owns their format and making, reading and deleting one; using one up is the campaign's, or a hand-over's.

use super::{Compare, KeyValue, Op, Target, Txn, TxnReply, keys::registrations_of, registration_key};

/// A candidate as its registration shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) lease: i64,
    /// When the registration was made.
    pub(crate) revision: i64,
    /// Higher is preferred.
    pub(crate) priority: i64,
    pub(crate) value: Vec<u8>,
}

/// What a registration holds: `<priority> <the candidate's value>`.
pub(crate) fn registration_value(priority: i64, value: &[u8]) -> Vec<u8> {
    [format!("{priority} ").as_bytes(), value].concat()
}

/// The candidate of a registration. What is not written as [`registration_value`] writes it is all value, of priority 0.
pub(crate) fn parse_registration(kv: &KeyValue) -> Registered {
    let mut parts = kv.value.splitn(2, |byte| *byte == b' ');
    let number = parts.next().and_then(|head| std::str::from_utf8(head).ok());
    let priority = number.and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text));
    let (priority, value) = match (priority, parts.next()) {
        (Some(priority), Some(value)) => (priority, value),
        _ => (0, kv.value.as_slice()),
    };
    Registered {
        lease: kv.lease,
        revision: kv.create_revision,
        priority,
        value: value.to_vec(),
    }
}

/// Registers a candidate under its lease, with a [`registration_value`]. Safe to repeat: a lease's own registration is told by its create revision.
pub(crate) fn register(key: &[u8], lease: i64, value: Vec<u8>) -> Txn {
    let registration = registration_key(key, lease);
    Txn {
        when: vec![Compare::is(&registration, Target::Create(0))],
        then: vec![Op::put_with_lease(registration.clone(), value, lease)],
        otherwise: vec![Op::get(registration)],
    }
}

/// Gives a registration that stands another value: its creation, and with it its place, stays.
pub(crate) fn rename(key: &[u8], own: &Registered) -> Txn {
    let registration = registration_key(key, own.lease);
    Txn {
        when: vec![Compare::is(&registration, Target::Create(own.revision))],
        then: vec![Op::put_with_lease(registration.clone(), registration_value(own.priority, &own.value), own.lease)],
        otherwise: vec![Op::get(registration)],
    }
}

/// The revision at which the registration was made, from the reply of [`register`].
pub(crate) fn registered(reply: &TxnReply) -> Option<i64> {
    if reply.succeeded {
        return Some(reply.revision);
    }
    reply.first(0).map(|kv| kv.create_revision)
}

/// Moves a registration from lease `old` to lease `fresh`: there it is another, made now.
pub(crate) fn move_registration(key: &[u8], (old, fresh): (i64, i64), registration: i64, value: Vec<u8>) -> Txn {
    let (from, to) = (registration_key(key, old), registration_key(key, fresh));
    Txn {
        when: vec![Compare::is(&from, Target::Create(registration))],
        then: vec![Op::delete(from), Op::put_with_lease(to.clone(), value, fresh)],
        otherwise: vec![Op::get(to), Op::get(key)],
    }
}

/// What the reply of a [`move_registration`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reregistered {
    /// By this sending or an earlier one, at this revision.
    Made(i64),
    /// The registration was used up: the key hangs on one of the leases.
    Won(KeyValue),
    Gone,
}

/// Reads the reply of [`move_registration`].
pub(crate) fn reregistered((old, fresh): (i64, i64), reply: &TxnReply) -> Reregistered {
    if reply.succeeded {
        return Reregistered::Made(reply.revision);
    }
    match (reply.first(0), reply.first(1)) {
        (Some(made), _) => Reregistered::Made(made.create_revision),
        (None, Some(key)) if [old, fresh].contains(&key.lease) => Reregistered::Won(key.clone()),
        _ => Reregistered::Gone,
    }
}

/// Gives a campaign up: deletes the registration, so that a campaign still under way can no longer win, and reads the
/// key, which is then the last word (S7).
pub(crate) fn deregister(key: &[u8], lease: i64, registration: i64) -> Txn {
    let name = registration_key(key, lease);
    Txn {
        when: vec![Compare::is(&name, Target::Create(registration))],
        then: vec![Op::delete(name), Op::get(key)],
        otherwise: vec![Op::get(key), Op::get(key)],
    }
}

/// Who stands for a key, in the order of the names of their registrations, at most `limit` (0 = all).
pub(crate) fn registrations(key: &[u8], limit: i64) -> Txn {
    Txn {
        then: vec![Op::get_prefix(registrations_of(key), limit)],
        ..Txn::default()
    }
}

/// Reads the reply of [`registrations`].
pub(crate) fn registrations_reply(reply: &TxnReply) -> Vec<Registered> {
    reply.kvs(0).iter().map(parse_registration).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_says_priority_and_value_and_anything_else_is_all_value() {
        let parse = |value: &[u8]| {
            let read = parse_registration(&KeyValue { value: value.to_vec(), ..KeyValue::default() });
            (read.priority, read.value)
        };
        for (priority, value) in [(0, &b""[..]), (7, b"a b"), (-3, b"\xff 1"), (i64::MIN, b" "), (i64::MAX, b"9")] {
            assert_eq!(parse(&registration_value(priority, value)), (priority, value.to_vec()));
        }
        for whole in ["", "host:1", "7", "+7 a", "07 a", "-0 a", " 7 a", "7\ta", "99999999999999999999 a", "x y"] {
            assert_eq!(parse(whole.as_bytes()), (0, whole.into()), "{whole:?}");
        }
        assert_eq!(parse(b"\xff 1"), (0, b"\xff 1".to_vec()));
    }

    #[test]
    fn s7_a_registration_is_moved_once_and_never_after_it_was_used_up() {
        let txn = move_registration(b"k", (7, 8), 12, b"0 v".to_vec());
        assert_eq!(txn.when, [Compare::is(b"k.candidates/7", Target::Create(12))]);
        let then = vec![Op::delete("k.candidates/7"), Op::put_with_lease("k.candidates/8", "0 v", 8)];
        assert_eq!((txn.then, txn.otherwise), (then, vec![Op::get("k.candidates/8"), Op::get("k")]));
        let found = |create, lease| {
            let kv = KeyValue { create_revision: create, lease, ..KeyValue::default() };
            super::super::OpReply::Get { count: 1, kvs: if create == 0 { Vec::new() } else { vec![kv] } }
        };
        let read = |registration, key| {
            let replies = vec![registration, key];
            reregistered((7, 8), &TxnReply { succeeded: false, revision: 40, replies })
        };
        let applied = TxnReply { succeeded: true, revision: 30, replies: Vec::new() };
        assert_eq!(reregistered((7, 8), &applied), Reregistered::Made(30));
        assert_eq!(read(found(25, 8), found(0, 0)), Reregistered::Made(25), "an earlier sending");
        for lease in [7, 8] {
            assert!(matches!(read(found(0, 0), found(5, lease)), Reregistered::Won(kv) if kv.lease == lease));
        }
        assert_eq!(read(found(0, 0), found(5, 9)), Reregistered::Gone);
        assert_eq!(read(found(0, 0), found(0, 0)), Reregistered::Gone);
    }
}
