//! What the demo's candidates did, and whether it is as it should be.
//! Owns the checks, as pure functions of the records; collecting those is `stage`'s.

use std::time::Duration;

use crate::output::span;

/// One term of one candidate, on the boot clock all processes of a machine share.
#[derive(Debug, Clone)]
pub(super) struct Reign {
    pub(super) who: usize,
    pub(super) token: i64,
    pub(super) lease: i64,
    pub(super) from: u64,
    /// Not valid from here on: it said so, it was dead, or its deadline had passed while it was paused.
    pub(super) until: Option<u64>,
    /// Until when it was valid, by its own word, unless it was renewed after that.
    pub(super) deadline: u64,
}

/// A guarded write that etcd applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) token: i64,
    pub(super) revision: i64,
}

/// A time without a leader, and how long it may be.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    pub(super) after: &'static str,
    pub(super) took: Duration,
    pub(super) at_most: Duration,
}

/// One line of the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) passed: bool,
    pub(super) text: String,
}

/// Tokens strictly increase from term to term.
pub(super) fn tokens(reigns: &[Reign]) -> Check {
    let tokens: Vec<_> = reigns.iter().map(|reign| reign.token).collect();
    let list: Vec<_> = tokens.iter().map(i64::to_string).collect();
    Check {
        passed: tokens.len() > 1 && tokens.is_sorted_by(|a, b| a < b),
        text: format!("tokens strictly increase over {} terms: {}", tokens.len(), list.join(" < ")),
    }
}

/// No term begins before the one before it ended.
pub(super) fn one_at_a_time(reigns: &[Reign]) -> Check {
    let overlap = reigns.iter().zip(reigns.iter().skip(1)).find(|(before, after)| before.until.is_none_or(|end| end > after.from));
    Check {
        passed: overlap.is_none(),
        text: match overlap {
            None => "never two valid leaders at once, by the clock of the machine".to_owned(),
            Some((before, after)) => {
                let by = before.until.map_or(Duration::MAX, |end| Duration::from_nanos(end - after.from));
                format!("terms {} and {} overlapped by {}", before.token, after.token, span(by))
            }
        },
    }
}

/// In the order in which etcd applied them, the writes' tokens never go back.
pub(super) fn writes(writes: &[Write]) -> Check {
    let mut ordered = writes.to_vec();
    ordered.sort_by_key(|write| write.revision);
    let back = ordered.iter().zip(ordered.iter().skip(1)).find(|(before, after)| before.token > after.token);
    Check {
        passed: back.is_none() && !writes.is_empty(),
        text: match back {
            None => format!("{} guarded writes; in etcd's own order their tokens never went back", writes.len()),
            Some((before, after)) => {
                format!("a write of term {} was applied after one of term {}", after.token, before.token)
            }
        },
    }
}

/// Every leaderless time is within its bound.
pub(super) fn gaps(gaps: &[Gap]) -> Check {
    let mut list = Vec::new();
    for gap in gaps {
        let late = if gap.took > gap.at_most { format!(", above {}!", span(gap.at_most)) } else { String::new() };
        list.push(format!("{} {}{late}", gap.after, span(gap.took)));
    }
    Check {
        passed: !gaps.is_empty() && gaps.iter().all(|gap| gap.took <= gap.at_most),
        text: format!("time without a leader: {}", list.join(" · ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reign(token: i64, from: u64, until: Option<u64>) -> Reign {
        Reign {
            who: 0,
            token,
            lease: 1,
            from,
            until,
            deadline: until.unwrap_or(u64::MAX),
        }
    }

    #[test]
    fn equal_or_falling_tokens_fail() {
        assert!(tokens(&[reign(1, 0, None), reign(2, 1, None)]).passed);
        assert!(!tokens(&[reign(2, 0, None), reign(2, 1, None)]).passed);
        assert!(!tokens(&[reign(2, 0, None), reign(1, 1, None)]).passed);
        assert!(!tokens(&[]).passed);
    }

    #[test]
    fn overlapping_or_endless_terms_fail() {
        assert!(one_at_a_time(&[reign(1, 0, Some(5)), reign(2, 5, None)]).passed);
        assert!(!one_at_a_time(&[reign(1, 0, Some(6)), reign(2, 5, None)]).passed);
        assert!(!one_at_a_time(&[reign(1, 0, None), reign(2, 5, None)]).passed);
    }

    #[test]
    fn a_late_write_of_an_older_term_fails() {
        let write = |token, revision| Write { token, revision };
        assert!(writes(&[write(2, 9), write(1, 8)]).passed);
        assert!(!writes(&[write(2, 8), write(1, 9)]).passed);
        assert!(!writes(&[]).passed);
    }

    #[test]
    fn a_long_gap_fails() {
        let gap = |took| Gap {
            after: "x",
            took: Duration::from_millis(took),
            at_most: Duration::from_millis(5),
        };
        assert!(gaps(&[gap(5)]).passed);
        assert!(!gaps(&[gap(5), gap(6)]).passed);
    }
}
