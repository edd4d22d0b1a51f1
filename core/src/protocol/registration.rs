//! Registrations: who stands for a key, under which lease, with which priority (S7, DESIGN §5).
//! Owns their format; making one is `transactions`', using one up the campaign's, or a hand-over's.

use super::KeyValue;

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

#[cfg(test)]
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
