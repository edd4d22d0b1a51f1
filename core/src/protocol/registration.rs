//! Registrations: who stands for a key, under which lease, with which priority (S7, DESIGN §5).
//! Owns their format and making, reading and deleting one; using one up is the campaign's, or a hand-over's.

use super::{Compare, KeyValue, Op, Pick, Target, Txn, TxnReply, keys::registrations_of, registration_key};

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

/// Registers a candidate under its lease. Safe to repeat: a lease's own registration is told by its create revision.
pub(crate) fn register(key: &[u8], lease: i64, priority: i64, value: &[u8]) -> Txn {
    let registration = registration_key(key, lease);
    Txn {
        when: vec![Compare::is(&registration, Target::Create(0))],
        then: vec![Op::put_with_lease(registration.clone(), registration_value(priority, value), lease)],
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

/// Who stands for a key, the first to register first, at most `limit` (0 = all).
pub(crate) fn registrations(key: &[u8], limit: i64) -> Txn {
    Txn {
        then: vec![Op::pick(&registrations_of(key), Pick::Oldest, limit)],
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
}
