//! The mark beside a key, and whether a winner may lead at once (S15).
//! Owns the mark's format and that one decision; the waiting is the campaign's.

use super::KeyValue;

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
}
