//! Each foul is put before the judge, and a fair game. Owns made-up stories; the live ones are elsewhere.
#![allow(clippy::indexing_slicing)] // a test's way to fail

use std::collections::BTreeMap;

use super::*;
use crate::referee::Change;

fn claim(key: &str, token: i64, since: u64, last_yes: u64) -> Claim {
    Claim {
        holder: "ours".to_owned(),
        key: key.to_owned(),
        token,
        ttl_ms: 2000,
        since,
        last_yes,
        ended: None,
        announced: None,
        revived: None,
    }
}

/// One key: created at 5 (100 ns), gone at 9 (500); created at 10 (510), still there in a read begun at 900.
fn single() -> Vec<Hold> {
    let mut seen = Seen::default();
    seen.tell(0, "k", 5, Change::Created, 100);
    seen.read(6, BTreeMap::from([("k".to_owned(), 5)]), 450, 460);
    seen.tell(0, "k", 9, Change::Deleted, 500);
    seen.tell(0, "k", 10, Change::Created, 510);
    seen.read(11, BTreeMap::from([("k".to_owned(), 10)]), 900, 950);
    holds(&Election::Single("k".to_owned()), &seen)
}

/// A queue: a at 5, b at 6, c at 7; b gives up at 8 (200 ns), a ends at 9 (500), c leads and is shown at 900.
fn queue() -> Vec<Hold> {
    let mut seen = Seen::default();
    for (key, revision) in [("q/a", 5), ("q/b", 6), ("q/c", 7)] {
        seen.tell(0, key, revision, Change::Created, 100 + revision as u64);
    }
    seen.tell(0, "q/b", 8, Change::Deleted, 200);
    let shown = |keys: &[(&str, i64)]| keys.iter().map(|(key, create)| ((*key).to_owned(), *create)).collect();
    seen.read(8, shown(&[("q/a", 5), ("q/c", 7)]), 450, 460);
    seen.tell(0, "q/a", 9, Change::Deleted, 500);
    seen.read(9, shown(&[("q/c", 7)]), 900, 950);
    holds(&Election::Queue("q/".to_owned()), &seen)
}

fn one_foul(claims: &[Claim], holds: &[Hold], word: &str) {
    let fouls = fouls(claims, holds);
    assert!(fouls.len() == 1 && fouls.iter().all(|foul| foul.contains(word)), "{word}: {fouls:?}");
}

#[test]
fn holds_by_right_are_what_the_revisions_show() {
    let of = |holds: Vec<Hold>| holds.into_iter().map(|one| (one.key, one.create, one.from, one.until, one.gone)).collect::<Vec<_>>();
    let k = || "k".to_owned();
    assert_eq!(of(single()), [(k(), 5, 100, 450, Some(500)), (k(), 10, 510, 900, None)]);
    // Who gave up while it waited never held it.
    assert_eq!(of(queue()), [("q/a".to_owned(), 5, 105, 450, Some(500)), ("q/c".to_owned(), 7, 500, 900, None)]);
}

#[test]
fn a_fair_game_has_no_foul() {
    assert_eq!(fouls(&[claim("k", 5, 110, 490), claim("k", 10, 620, 2000)], &single()), [""; 0]);
    assert_eq!(fouls(&[claim("q/c", 7, 620, 2000)], &queue()), [""; 0]);
}

#[test]
fn every_foul_is_seen() {
    one_foul(&[claim("k", 7, 600, 601)], &single()[..1], "never was");
    one_foul(&[claim("q/b", 6, 150, 160)], &[], "never was");
    one_foul(&[claim("k", 5, 110, 503)], &single(), "known to be gone");
    one_foul(&[claim("q/c", 7, 400, 2000)], &queue(), "q/a held");
    one_foul(&[claim("k", 5, 110, 400), claim("k", 5, 399, 400)], &single(), "at once");
    // A paused one of ours that goes on: beyond its key, and beside the next one's right.
    assert_eq!(fouls(&[claim("k", 5, 110, 800)], &single()).len(), 2);
    let mut revived = claim("k", 5, 110, 400);
    revived.revived = Some(700);
    one_foul(&[revived], &single(), "had said no");
}
