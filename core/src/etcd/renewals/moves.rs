//! Two leases renewed for the terms of one, while their keys move from the old to the fresh (DESIGN §4 "Re-lease").
//! Owns the rule of the smaller deadline; whether a key has moved is found out elsewhere (`moving`).

use std::sync::Arc;

use super::Renewals;
use crate::clock::BootTime;
use crate::error::Reason;
use crate::term::{LeaseShared, TermShared};

impl Renewals {
    pub(crate) fn carries_terms(&self, lease: &LeaseShared) -> bool {
        self.leases.get(lease.id()).is_some_and(|entry| !entry.terms.is_empty())
    }

    /// The terms on a lease.
    pub(crate) fn terms_on(&self, lease: &LeaseShared) -> Vec<Arc<TermShared>> {
        let terms = self.leases.get(lease.id()).map(|entry| entry.terms.as_slice()).unwrap_or_default();
        terms.iter().filter_map(|id| self.terms.get(*id).cloned()).collect()
    }

    /// From now on the terms on `old` follow the smaller deadline of both leases, and both are renewed. Refused while the
    /// fresh lease's deadline is before the old one's or a term's: a key moved then could go before its term ends.
    pub(crate) fn begin_move(&mut self, old: i64, fresh: i64, now: BootTime) -> bool {
        let Some(until) = self.leases.get(fresh).map(|entry| entry.until) else { return false };
        let Some(entry) = self.leases.get_mut(old) else { return false };
        let terms = entry.terms.iter().filter_map(|id| self.terms.get(*id));
        let latest = terms.map(|term| term.deadline.at()).fold(entry.until, BootTime::max);
        if until < latest || until <= now {
            return false;
        }
        entry.twin = Some(fresh);
        entry.lease.moving(fresh);
        let (lease, terms, renewing, standing) = (entry.lease.clone(), entry.terms.clone(), entry.renewing, entry.standing);
        if let Some(entry) = self.leases.get_mut(fresh) {
            entry.standing = standing;
            entry.twin = Some(old);
            entry.lease = lease;
            entry.terms = terms;
        }
        self.set_renewing(fresh, renewing);
        true
    }

    /// The key of a term was written by its holder's put sent at `sent`: it was the holder's then.
    pub(crate) fn wrote(&mut self, term: u64, sent: BootTime) {
        self.terms.wrote(term, sent);
    }

    /// Every key hangs on `stays` now, the fresh lease or, if none could be moved, the old one. The terms follow it
    /// alone, and the other is forgotten. If it has turned out to be gone meanwhile, those are returned that ended so.
    pub(crate) fn end_move(&mut self, goes: i64, stays: i64, now: BootTime) -> Vec<Arc<TermShared>> {
        self.remove(goes);
        let Some(place) = self.leases.place(stays) else { return Vec::new() };
        let Some(entry) = self.leases.at_mut(place) else { return Vec::new() };
        entry.twin = None;
        if entry.gone {
            entry.lease.deadline.end(Reason::Revoked);
            return entry.terms.iter().filter_map(|id| self.terms.get(*id).cloned()).collect();
        }
        let (until, validity) = (entry.until, self.validity.of(entry.ttl));
        self.reach(place, until, validity, now);
        Vec::new()
    }

    /// The deadline of a lease's terms, where that lease alone would allow `deadline`.
    pub(super) fn with_twin(&self, twin: Option<i64>, deadline: BootTime) -> BootTime {
        let twin = twin.and_then(|id| self.leases.get(id));
        twin.map_or(deadline, |twin| twin.until.min(deadline))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking
mod tests {
    use std::time::Duration;

    use super::super::tests::{Bench, LIVES, ours, reads, sends};
    use super::*;

    fn at(sent: BootTime) -> BootTime {
        BootTime(sent.after(Duration::from_millis(LIVES)).0 & !63)
    }

    /// Renews what is due now, and confirms it, with `ttl` in the replies. The time of sending.
    fn renew(bench: &mut Bench, expected: &[i64], ttl: i64, hangs_on: i64) -> BootTime {
        let sent = bench.now();
        assert_eq!(sends(&bench.step()), expected);
        bench.pass(200); // two reads follow each other by so much at least
        expected.iter().for_each(|lease| bench.reply(*lease, ttl, 1));
        let read = reads(&bench.step());
        bench.pass(1);
        bench.answer(read[0], 1, |_| ours(hangs_on));
        sent
    }

    /// A term on lease 7, and lease 8 granted 300 ms after it.
    fn bench() -> (Bench, Arc<TermShared>, BootTime) {
        let mut bench = Bench::of(1);
        let lease = bench.lease(7);
        let term = bench.term(1, &lease);
        bench.pass(300);
        bench.lease(8);
        let granted = bench.now();
        (bench, term, granted)
    }

    #[tokio::test(start_paused = true)]
    async fn case_54_until_a_moves_outcome_is_known_the_term_follows_the_smaller_deadline() {
        let (mut bench, term, granted) = bench();
        let lease = term.lease.clone();
        assert!(bench.machine.begin_move(7, 8, granted));
        assert_eq!(lease.ids().collect::<Vec<_>>(), [7, 8]);
        term.holding.moving(8);
        bench.pass(700);
        let first = renew(&mut bench, &[7], 5, 7);
        assert!(at(first) > at(granted));
        assert_eq!((term.deadline.at(), lease.deadline.at()), (at(granted), at(granted)), "the fresh one's");
        bench.pass(99);
        let second = renew(&mut bench, &[8], 5, 8);
        assert_eq!((term.deadline.at(), lease.deadline.at()), (at(first), at(first)), "the old one's");
        let now = bench.now();
        assert!(bench.machine.end_move(7, 8, now).is_empty());
        lease.moved(1);
        assert_eq!((term.deadline.at(), lease.deadline.at(), lease.id()), (at(second), at(second), 8));
        bench.pass(799);
        let third = renew(&mut bench, &[8], 5, 8);
        assert_eq!(term.deadline.at(), at(third), "the fresh one's alone");
        bench.machine.remove_term(term.id);
        assert!(!bench.machine.carries_terms(&lease));
    }

    #[tokio::test(start_paused = true)]
    async fn case_54_a_move_does_not_begin_while_the_fresh_deadline_is_before_the_terms() {
        let (mut bench, term, _) = bench();
        bench.pass(700);
        let renewed = renew(&mut bench, &[7], 5, 7);
        let now = bench.now();
        assert!(!bench.machine.begin_move(7, 8, now));
        assert_eq!(term.lease.ids().collect::<Vec<_>>(), [7]);
        assert_eq!(term.deadline.at(), at(renewed));
        bench.pass(99);
        renew(&mut bench, &[8], 5, 7);
        let now = bench.now();
        assert!(bench.machine.begin_move(7, 8, now), "it has been renewed since");
        let now = bench.now();
        assert!(bench.machine.end_move(8, 7, now).is_empty(), "and is given up");
        term.lease.stays();
        assert_eq!(term.deadline.at(), at(renewed));
        bench.pass(499);
        let again = renew(&mut bench, &[7], 5, 7);
        assert_eq!(term.deadline.at(), at(again), "nobody follows it, and nobody renews it");
    }

    #[tokio::test(start_paused = true)]
    async fn case_54_the_old_lease_revoked_meanwhile_ends_the_term_only_if_the_key_stayed() {
        for moved in [true, false] {
            let (mut bench, term, granted) = bench();
            assert!(bench.machine.begin_move(7, 8, granted));
            term.holding.moving(8);
            bench.pass(700);
            renew(&mut bench, &[7], 0, 8);
            assert!(term.deadline.valid() && term.lease.deadline.valid(), "who knows where the key is");
            assert!(term.deadline.at() <= at(granted), "and it is not extended");
            let now = bench.now();
            bench.machine.wrote(term.id, now);
            let lost = if moved { bench.machine.end_move(7, 8, now) } else { bench.machine.end_move(8, 7, now) };
            assert_eq!(lost.len(), usize::from(!moved));
            assert_eq!(term.lease.deadline.valid(), moved);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn case_54_s15_the_moves_own_put_shows_the_key() {
        for shown in [false, true] {
            let mut bench = Bench::of(1);
            let lease = bench.lease(7);
            let term = bench.term(1, &lease);
            let taken = bench.now();
            bench.pass(900); // no read has shown the key since it was taken
            bench.lease(8);
            let granted = bench.now();
            assert!(bench.machine.begin_move(7, 8, granted));
            if shown {
                bench.machine.wrote(term.id, granted);
            }
            bench.machine.end_move(7, 8, granted);
            assert_eq!(term.deadline.at(), at(if shown { granted } else { taken }));
        }
    }
}
