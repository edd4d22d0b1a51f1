//! The renewals of candidates that wait: every TTL/2.5, and unconfirmed, for the campaign's transaction confirms the last
//! of them (DESIGN §4). Owns what such a reply counts for; which lease is due, and what a campaign proves, is the parent's.

use std::time::Duration;

use super::proving::Extension;
use super::{Entry, Renewals};
use crate::clock::BootTime;
use crate::etcd::held::Place;
use crate::options::{RENEWALS_PER_TTL, WAITING_INTERVALS};

impl Entry {
    /// Between two renewals.
    pub(super) fn interval(&self) -> Duration {
        let leading = self.ttl / RENEWALS_PER_TTL;
        if self.standing { leading * WAITING_INTERVALS } else { leading }
    }

    /// Did the last reply show this raft term? Another is confirmed by a read: so whoever only waits hears of etcd's new
    /// leader, and moves to a fresh lease.
    pub(super) fn knows(&self, raft_term: u64) -> bool {
        let latest = self.better.as_deref().or(self.extension.as_ref());
        latest.is_some_and(|latest| latest.raft_term == raft_term)
    }
}

impl Renewals {
    /// Renews a lease for a candidate that waits, until it carries a term.
    pub(crate) fn stand(&mut self, lease: i64) {
        let Some(entry) = self.leases.get_mut(lease) else { return };
        if entry.renewing || !entry.terms.is_empty() {
            return; // at the pace of another's, which is faster
        }
        entry.standing = true;
        self.set_renewing(lease, true);
    }

    /// A term begins on it: from now on what extends it is confirmed, and it is renewed at once.
    pub(super) fn leads(&mut self, lease: i64) {
        let Some(place) = self.leases.place(lease) else { return };
        let Some(entry) = self.leases.at_mut(place) else { return };
        if !std::mem::take(&mut entry.standing) {
            return;
        }
        // What no read has confirmed moves nothing any more (S2): the start of the term set what is sure.
        entry.until = entry.until.min(entry.lease.deadline.at());
        if entry.renewing && entry.on == 0 {
            let next = entry.sent.after(entry.interval());
            self.schedule(place, next);
        }
    }

    /// A reply for a candidate that waits: nobody leads by it, so nothing confirms it. The one before is kept beside it:
    /// the transaction that wins may have been sent before this one came.
    pub(super) fn stood(&mut self, place: Place, extension: Extension, now: BootTime) {
        let alone = extension.sent.after(self.validity.of(extension.ttl));
        let slept = self.slept;
        let Some(entry) = self.leases.at_mut(place) else { return };
        let latest = entry.better.take().map(|better| *better).or(entry.extension);
        if latest.is_some_and(|latest| !extension.beats(&latest)) {
            entry.extension = latest;
            return;
        }
        entry.better = latest.is_some().then(|| Box::new(extension));
        entry.extension = latest.or(Some(extension));
        let twin = entry.twin;
        let deadline = self.with_twin(twin, alone);
        let Some(entry) = self.leases.at_mut(place) else { return };
        if entry.lease.deadline.set(deadline, now, slept) {
            entry.until = alone;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking
mod tests {
    use super::super::tests::{Bench, LIVES, reads, sends};
    use super::super::Proof;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn s2_a_waiting_candidates_renewals_are_half_as_many_and_ask_for_no_reads() {
        let mut bench = Bench::of(1);
        let lease = bench.lease(7);
        bench.machine.set_renewing(7, false);
        bench.machine.stand(7);
        let mut sent = Vec::new();
        for _ in 0..100 {
            let actions = bench.step();
            if !sends(&actions).is_empty() {
                sent.push(bench.now());
                bench.reply(7, 5, 1);
            }
            assert_eq!(reads(&actions), [0; 0], "nobody leads by it");
            bench.pass(100);
        }
        assert!((4..=5).contains(&sent.len()), "{} in 10 s at a TTL of 5 s", sent.len());
        let expected = sent.last().unwrap().after(Duration::from_millis(LIVES)).0 & !63;
        assert_eq!(lease.deadline.at(), BootTime(expected), "it lives on");
    }

    #[tokio::test(start_paused = true)]
    async fn case_45_a_waiting_candidate_has_a_new_raft_term_confirmed_once() {
        let mut bench = Bench::of(1);
        bench.lease(7);
        bench.machine.set_renewing(7, false);
        bench.machine.stand(7);
        let mut seen = Vec::new();
        for _ in 0..4 {
            bench.pass(2000);
            assert_eq!(sends(&bench.step()), [7]);
            bench.reply(7, 5, 2);
            bench.pass(200);
            let asked = reads(&bench.step());
            asked.iter().for_each(|read| _ = bench.answer(*read, 2, |_| None));
            seen.push(asked.len());
        }
        assert_eq!(seen, [1, 0, 0, 0]);
    }

    /// The reply of a renewal that comes while the campaign's transaction is under way does not spoil its proof.
    #[tokio::test(start_paused = true)]
    async fn s4_the_campaigns_proof_confirms_the_renewal_before_it() {
        let mut bench = Bench::of(1);
        bench.lease(7);
        bench.machine.set_renewing(7, false);
        bench.machine.stand(7);
        let mut confirmed = Vec::new();
        for _ in 0..2 {
            bench.pass(2000);
            let sent = bench.now();
            assert_eq!(sends(&bench.step()), [7]);
            let begun = bench.now();
            bench.pass(1);
            bench.reply(7, 5, 1);
            bench.pass(1);
            let now = bench.now();
            let deadline = bench.machine.confirm_by(7, Proof { begun, raft_term: 1 }, now);
            confirmed.push((sent, deadline.unwrap()));
        }
        let lives = Duration::from_millis(LIVES);
        assert_eq!(confirmed[1].1, confirmed[0].0.after(lives), "by the one that had come when the proof was begun");
        let now = bench.now();
        let deadline = bench.machine.confirm_by(7, Proof { begun: now, raft_term: 1 }, now);
        assert_eq!(deadline, Some(confirmed[1].0.after(lives)), "and a later proof by the later");
    }
}
