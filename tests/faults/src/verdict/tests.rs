//! The judge judged: each wrong that it is there to find is put before it. Owns made-up stories; the live ones are elsewhere.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::journal::Ended;
use crate::referee::Change;

fn claim(holder: &str, token: i64, since: u64, last_yes: u64, ended: bool) -> Claim {
    Claim {
        holder: holder.to_owned(),
        key: "k".to_owned(),
        token,
        ttl_ms: 5000,
        since,
        last_yes,
        ended: ended.then(|| Ended {
            first_no: last_yes + 1,
            deadline: last_yes,
            reason: "expired".to_owned(),
        }),
        announced: None,
        revived: None,
    }
}

/// Created at revision 5 (known at 100), deleted at 9 (known at 500), created anew at 10 (known at 501).
fn seen() -> Seen {
    let mut seen = Seen::default();
    seen.tell(0, "k", 5, Change::Created, 100);
    seen.tell(0, "k", 9, Change::Deleted, 500);
    seen.tell(0, "k", 10, Change::Created, 501);
    seen
}

#[test]
fn an_orderly_change_is_a_loss_and_nothing_worse() {
    let claims = [claim("a", 5, 120, 400, true), claim("b", 10, 620, 900, false)];
    let verdict = judge(&claims, &seen(), 200, 1000);
    assert_eq!((verdict.held, verdict.lost.len(), verdict.worst_beyond()), (1, 1, 0));
    assert_eq!(verdict.lost[0].ahead(), Some(99));
    assert_eq!(verdict.vacancies, [220]);
    assert!(verdict.overlaps.is_empty() && verdict.revived.is_empty() && verdict.unknown.is_empty());
    // Before and after it nothing is lost.
    assert_eq!(judge(&claims, &seen(), 200, 300).lost.len(), 0);
    assert_eq!(judge(&claims, &seen(), 700, 1000).lost.len(), 0);
}

#[test]
fn a_claim_after_the_key_was_gone_is_measured_ended_or_not() {
    let ended = judge(&[claim("a", 5, 120, 530, true)], &seen(), 200, 1000);
    assert_eq!((ended.lost.len(), ended.worst_beyond(), ended.lost[0].ahead()), (1, 30, Some(-31)));
    let running = judge(&[claim("a", 5, 120, 990, false)], &seen(), 200, 1000);
    assert_eq!((running.lost.len(), running.false_claims.len(), running.worst_beyond()), (0, 1, 490));
}

#[test]
fn s1_two_terms_that_say_yes_at_once_are_found() {
    let claims = [claim("a", 5, 120, 700, true), claim("b", 10, 620, 900, false)];
    let verdict = judge(&claims, &seen(), 200, 1000);
    let overlap = Overlap {
        key: "k".to_owned(),
        earlier: 5,
        later: 10,
        by: 80,
    };
    assert_eq!(verdict.overlaps, [overlap]);
    // The same two, told by the later holder first, of one holder, and one inside the other.
    let claims = [claim("b", 10, 620, 650, true), claim("b", 5, 120, 700, true)];
    assert_eq!(judge(&claims, &seen(), 200, 1000).overlaps[0].by, 30);
}

#[test]
fn s5_a_term_that_came_back_and_s4_one_that_never_was_are_found() {
    let mut back = claim("a", 5, 120, 400, true);
    back.revived = Some(600);
    assert_eq!(judge(&[back], &seen(), 200, 1000).revived.len(), 1);
    assert_eq!(judge(&[claim("a", 6, 120, 400, true)], &seen(), 200, 1000).unknown.len(), 1);
}

#[test]
fn a_term_won_and_lost_within_the_trial_counts_by_itself() {
    let claims = [claim("a", 5, 250, 400, true)];
    let verdict = judge(&claims, &seen(), 200, 1000);
    assert_eq!((verdict.held, verdict.lost.len(), verdict.lost_again.len()), (0, 0, 1));
}
