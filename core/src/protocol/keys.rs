//! The names of an election's keys, and what users may not do to them (S13).
//! Owns naming and its checks; when a key is written is decided in `transactions`.

use super::{Op, OpKind, check_ops_size};
use crate::error::{Error, Result, show};

/// The mark beside a key: written with a delete by the holder, it saves the successor the takeover delay (S15).
const MARK: &[u8] = b".resigned";
const PAUSED: &[u8] = b".paused";
const REGISTRATIONS: &[u8] = b".candidates/";
/// Endings a key may not have: they belong to an election of another key.
const RESERVED: [&[u8]; 4] = [b".candidates", b".resigned", b".queue-resigned", PAUSED];

/// How many operations a user may have in one branch of a guarded transaction: etcd's limit of 128, less the two
/// that the guard around it takes.
pub(crate) const MAX_USER_OPS: usize = 126;

/// Every request of an election names its key up to five times, beside what the caller hands in (`size`).
const MAX_KEY: usize = 2048;

pub(crate) fn mark_key(key: &[u8]) -> Vec<u8> {
    [key, MARK].concat()
}

/// There while the election is paused.
pub(crate) fn paused_key(key: &[u8]) -> Vec<u8> {
    [key, PAUSED].concat()
}

/// `KEY.candidates/<lease id, lowercase hex, unpadded>`.
pub(crate) fn registration_key(key: &[u8], lease: i64) -> Vec<u8> {
    [key, REGISTRATIONS, format!("{lease:x}").as_bytes()].concat()
}

/// What all registrations for a key start with.
pub(super) fn registrations_of(key: &[u8]) -> Vec<u8> {
    [key, REGISTRATIONS].concat()
}

/// The election that a key is the registration of a candidate for.
pub(crate) fn candidate_of(key: &[u8]) -> Option<&[u8]> {
    let at = key.windows(REGISTRATIONS.len()).position(|part| part == REGISTRATIONS)?;
    key.get(..at)
}

/// A key that an election may have.
pub(crate) fn check_election_key(key: &[u8]) -> Result<()> {
    check_name("key", key)
}

/// A key or prefix that an election may have, by the name of the argument.
pub(super) fn check_name(argument: &str, key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid(argument, "must not be empty"));
    }
    if key.len() > MAX_KEY {
        return Err(Error::invalid("key", format!("{} bytes; at most {MAX_KEY}", key.len())));
    }
    for ending in RESERVED {
        if key.ends_with(ending) {
            return Err(Error::invalid(
                argument,
                format!("{} ends in {}, a name that belongs to another election", show(key), show(ending)),
            ));
        }
    }
    if key.windows(REGISTRATIONS.len()).any(|part| part == REGISTRATIONS) {
        return Err(Error::invalid(
            argument,
            format!("{} contains {}, where candidates register", show(key), show(REGISTRATIONS)),
        ));
    }
    Ok(())
}

/// The operations of a user in one branch of a guarded transaction.
pub(crate) fn check_user_ops(argument: &str, election: &[u8], ops: &[Op]) -> Result<()> {
    check_ops(argument, election, ops, |key, end| touches_election(election, key, end))
}

/// The same, for whatever keys are the election's own.
pub(super) fn check_ops(argument: &str, election: &[u8], ops: &[Op], own: impl Fn(&[u8], &[u8]) -> bool) -> Result<()> {
    if ops.len() > MAX_USER_OPS {
        return Err(Error::invalid(
            argument,
            format!("{} operations; at most {MAX_USER_OPS} fit beside the guard", ops.len()),
        ));
    }
    check_ops_size(argument, ops)?;
    for op in ops {
        let (key, end, writes) = match &op.0 {
            OpKind::Put { key, .. } => (key, &[][..], true),
            OpKind::Delete { key, range_end, .. } => (key, range_end.as_slice(), true),
            OpKind::Get { key, range_end, .. } => (key, range_end.as_slice(), false),
            OpKind::Rehang { key, .. } => (key, &[][..], true),
            OpKind::Txn(_) => return Err(Error::invalid(argument, "transactions do not nest here")),
        };
        if key.is_empty() {
            return Err(Error::invalid(argument, "an operation on an empty key"));
        }
        if writes && own(key, end) {
            return Err(Error::invalid(
                argument,
                format!(
                    "an operation on {} would touch the election's own keys ({} and {0}.*)",
                    show(key),
                    show(election)
                ),
            ));
        }
    }
    Ok(())
}

/// Does the key, or the range up to `end`, meet the election's key, its marks, its pause or its registrations?
fn touches_election(election: &[u8], key: &[u8], end: &[u8]) -> bool {
    let mut own = vec![(election.to_vec(), Vec::new())];
    own.extend(RESERVED.map(|ending| ([election, ending].concat(), Vec::new())));
    let registrations = registrations_of(election);
    own.push((registrations.clone(), super::prefix_end(&registrations)));
    own.iter().any(|(from, to)| overlap(key, end, from, to))
}

/// Ranges as etcd writes them: an empty end is the single key, `\0` is to the end of the store.
pub(super) fn overlap(a: &[u8], a_end: &[u8], b: &[u8], b_end: &[u8]) -> bool {
    before_end(a, b, b_end) && before_end(b, a, a_end)
}

/// Is `key` before the end of the range that starts at `from`?
fn before_end(key: &[u8], from: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key <= from,
        [0] => true,
        end => key < end,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn s13_reserved_and_empty_keys_are_refused_by_name() {
        for bad in ["", "a.candidates", "a.resigned", "a.queue-resigned", "a.paused", "a.candidates/1"] {
            match check_election_key(bad.as_bytes()) {
                Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, "key", "{bad}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
        for good in ["a", "a/b", "resigned", "a.resigned/b", "a.paused2", "\u{e9}"] {
            check_election_key(good.as_bytes()).unwrap();
        }
    }

    #[test]
    fn s13_operations_that_meet_the_elections_keys_are_refused() {
        let refused = [
            Op::put("k", ""),
            Op::delete("k"),
            Op::delete("k.resigned"),
            Op::put("k.paused", ""),
            Op::put("k.candidates/1f", ""),
            Op::delete_prefix("k"),
            Op::delete_prefix(""),
            Op::delete_prefix("k.cand"),
            Op(OpKind::Delete {
                key: b"a".to_vec(),
                range_end: vec![0],
                previous: false,
            }),
            Op(OpKind::Delete {
                key: b"a".to_vec(),
                range_end: b"kk".to_vec(),
                previous: false,
            }),
        ];
        for op in refused {
            assert!(check_user_ops("then", b"k", std::slice::from_ref(&op)).is_err(), "{op:?}");
        }
        let allowed = [
            Op::put("kk", ""),
            Op::put("k/a", ""),
            Op::get("k"),
            Op::get_prefix("k", 0),
            Op::delete_prefix("k/"),
            Op::put("j", ""),
        ];
        for op in allowed {
            check_user_ops("then", b"k", std::slice::from_ref(&op)).unwrap();
        }
        assert!(check_user_ops("then", b"k", &vec![Op::get("x"); 126]).is_ok());
        assert!(check_user_ops("then", b"k", &vec![Op::get("x"); 127]).is_err());
    }
}
