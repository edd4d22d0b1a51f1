//! The mark beside a key, and whether a winner may lead at once (S15).
//! Owns the mark's format and that one decision; the waiting is the campaign's.

use super::{KeyValue, Leader, Txn, TxnReply, get, mark_key, registration_key};

pub(super) const OPERATOR: &str = " operator";

/// What the mark says: the token of the term that ended, and whether its own holder said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The ended term's token, if it could be read.
    pub(crate) token: Option<i64>,
    /// False when written by anyone but the holder; anything unreadable counts as an operator's.
    pub(crate) by_holder: bool,
}

impl Mark {
    pub(crate) fn parse(value: &[u8]) -> Mark {
        let text = std::str::from_utf8(value).unwrap_or("");
        let (number, operator) = match text.strip_suffix(OPERATOR) {
            Some(number) => (number, true),
            None => (text, false),
        };
        let canonical = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let token = if canonical { number.parse().ok() } else { None };
        Mark {
            token,
            by_holder: token.is_some() && !operator,
        }
    }

    pub(crate) fn holder(token: i64) -> Vec<u8> {
        token.to_string().into_bytes()
    }
}

/// May the winner lead at once? Only if the mark its campaign removed is the holder's, carries the revision of the
/// delete that the winner's own watch saw, and that delete is the event directly before its own create.
///
/// `deleted_before` is the revision of the delete event that the watch delivered directly before the event of our
/// create; `None` if the watch has not shown both without a gap.
pub(crate) fn leads_at_once(removed_mark: Option<&KeyValue>, deleted_before: Option<i64>) -> bool {
    match (removed_mark, deleted_before) {
        (Some(mark), Some(deleted)) => mark.mod_revision == deleted && Mark::parse(&mark.value).by_holder,
        _ => false,
    }
}

/// Looks at a key that its watch shows under the lease of a candidate: the key, the mark that a hand-over wrote with
/// it, and the registration that it used up. Read-only and linearizable.
pub(crate) fn look_at_handed(key: &[u8], lease: i64, with_mark: bool) -> Txn {
    let (mark, registration) = (mark_key(key), registration_key(key, lease));
    let beside = [mark.as_slice(), registration.as_slice()];
    get(std::iter::once(key).chain(beside.into_iter().filter(|_| with_mark)))
}

/// What [`look_at_handed`] shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Handed {
    /// The key is the candidate's: handed over, or won by a campaign whose reply was lost.
    Ours {
        kv: KeyValue,
        token: i64,
        /// The holder itself handed it over, after it had ended its term (S15).
        at_once: bool,
    },
    /// It hangs on the lease, but nobody won it: the registration is unused, or the token cannot be known.
    Strangers(KeyValue),
    /// It does not hang on the lease.
    Not(Option<Leader>),
}

/// Reads the reply of [`look_at_handed`]; `registration` is the revision at which the candidate's was made.
pub(crate) fn handed_reply(reply: &TxnReply, lease: i64, registration: Option<i64>, with_mark: bool) -> Handed {
    let Some(kv) = reply.first(0).cloned().filter(|kv| kv.lease == lease) else {
        return Handed::Not(reply.first(0).map(Leader::from_key));
    };
    let (mark, beside) = (reply.first(1), reply.first(2));
    let unused = registration.is_some() && beside.map(|kv| kv.create_revision) == registration;
    let token = if with_mark {
        Some(kv.create_revision.max(mark.map_or(0, |mark| mark.mod_revision)))
    } else {
        Leader::from_key(&kv).token
    };
    match token.filter(|_| !unused) {
        Some(token) => Handed::Ours {
            at_once: mark.is_some_and(|mark| mark.mod_revision == kv.mod_revision && Mark::parse(&mark.value).by_holder),
            kv,
            token,
        },
        None => Handed::Strangers(kv),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s15_only_the_holders_own_mark_counts() {
        let mark = |value: &str| Mark::parse(value.as_bytes());
        assert_eq!(mark("42"), Mark { token: Some(42), by_holder: true });
        assert_eq!(mark("42 operator"), Mark { token: Some(42), by_holder: false });
        for junk in ["", " ", "x", "42 ", "42 Operator", "+42", "-1", "operator", "99999999999999999999"] {
            assert!(!mark(junk).by_holder, "{junk:?}");
        }
        assert!(!Mark::parse(&[0xff, 0x31]).by_holder);
        assert!(Mark::parse(&Mark::holder(7)).by_holder);
    }

    #[test]
    fn s15_the_delay_is_saved_only_by_the_mark_of_the_delete_directly_before() {
        let mark = |value: &str, revision| KeyValue {
            value: value.into(),
            mod_revision: revision,
            ..KeyValue::default()
        };
        assert!(leads_at_once(Some(&mark("5", 9)), Some(9)));
        assert!(!leads_at_once(Some(&mark("5", 9)), Some(11)), "a stranger came between");
        assert!(!leads_at_once(Some(&mark("5", 9)), None), "no delete seen");
        assert!(!leads_at_once(Some(&mark("5 operator", 9)), Some(9)));
        assert!(!leads_at_once(None, Some(9)));
    }

    #[test]
    fn s10_s15_a_key_found_on_the_own_lease_is_a_hand_over_only_with_its_registration_used_up() {
        let kv = |create, modified, lease, value: &str| KeyValue {
            value: value.into(),
            create_revision: create,
            mod_revision: modified,
            version: if create == modified { 1 } else { 2 },
            lease,
            ..KeyValue::default()
        };
        let read = |found: [Option<KeyValue>; 3], with_mark| {
            let replies = found.map(|kv| super::super::OpReply::Get { count: 1, kvs: kv.into_iter().collect() });
            let reply = TxnReply { replies: replies.into(), ..TxnReply::default() };
            handed_reply(&reply, 7, Some(12), with_mark)
        };
        let key = kv(10, 30, 7, "b");
        let ours = |token, at_once| Handed::Ours { kv: key.clone(), token, at_once };
        assert_eq!(read([Some(key.clone()), Some(kv(5, 30, 0, "20")), None], true), ours(30, true), "by its holder");
        assert_eq!(read([Some(key.clone()), Some(kv(5, 30, 0, "20 operator")), None], true), ours(30, false));
        assert_eq!(read([Some(key.clone()), Some(kv(5, 29, 0, "20")), None], true), ours(29, false), "an older mark");
        let unused = [Some(key.clone()), Some(kv(5, 30, 0, "20")), Some(kv(12, 12, 7, "0 b"))];
        assert_eq!(read(unused, true), Handed::Strangers(key.clone()));
        let anew = [Some(key.clone()), Some(kv(5, 30, 0, "20")), Some(kv(40, 40, 7, "0 b"))];
        assert_eq!(read(anew, true), ours(30, true), "another registration of that name is not the one");
        let own = kv(30, 30, 7, "b");
        let won = Handed::Ours { kv: own.clone(), token: 30, at_once: false };
        assert_eq!(read([Some(own.clone()), None, None], true), won, "a campaign of its own, heard of late");
        assert_eq!(read([Some(own), None, None], false), won);
        assert_eq!(read([Some(key.clone()), None, None], false), Handed::Strangers(key), "its token cannot be known");
        let other = kv(10, 30, 8, "c");
        assert_eq!(read([Some(other.clone()), None, None], true), Handed::Not(Some(Leader::from_key(&other))));
        assert_eq!(read([None, None, None], true), Handed::Not(None));
    }
}
