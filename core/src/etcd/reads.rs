//! The confirming reads under way: how many, to which member, which is late.
//! Owns their pace and their hedging; what they ask for and what they prove is `renewals`'.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::BootTime;

/// Confirming reads under way at once that are not late yet.
const MAX_READS: usize = 4;
/// … and late ones too: each may still answer.
const MAX_LATE: usize = 16;

pub(crate) struct Read {
    pub(crate) begun: BootTime,
    pub(crate) terms: Vec<u64>,
    member: usize,
    late: bool,
}

#[derive(Default)]
pub(crate) struct Reads {
    running: HashMap<u64, Read>,
    /// Where the next one goes: sticky.
    member: usize,
    /// In a row.
    failures: usize,
    last: Option<BootTime>,
    next_id: u64,
    /// The next one need not wait its turn.
    at_once: bool,
}

impl Reads {
    /// Reads go along with the renewals.
    pub(crate) fn follow(&mut self, member: usize) {
        self.member = member;
    }

    pub(crate) fn at_once(&mut self) {
        self.at_once = true;
    }

    pub(crate) fn full(&self) -> bool {
        self.running.len() >= MAX_LATE || self.running.values().filter(|read| !read.late).count() >= MAX_READS
    }

    /// From when on the next may begin; not for those in a hurry.
    pub(crate) fn rested_at(&self, gap: Duration) -> BootTime {
        self.last.map_or(BootTime::default(), |last| last.after(gap))
    }

    pub(crate) fn take_hurry(&mut self) -> bool {
        std::mem::take(&mut self.at_once)
    }

    /// Is a key of this term in a read that began at `since` or later? One that hangs does not keep it from the next.
    pub(crate) fn shows(&self, term: u64, since: BootTime) -> bool {
        self.running.values().any(|read| read.begun > since && read.terms.contains(&term))
    }

    /// Has a read begun since? It may confirm what was received by then.
    pub(crate) fn covers(&self, received: BootTime) -> bool {
        self.running.values().any(|read| read.begun >= received)
    }

    /// The same, of those from which an answer is expected still.
    pub(crate) fn will_cover(&self, received: BootTime) -> bool {
        self.running.values().any(|read| !read.late && read.begun >= received)
    }

    /// Begins one; its id and its member.
    pub(crate) fn begin(&mut self, terms: Vec<u64>, now: BootTime) -> (u64, usize) {
        self.next_id += 1;
        self.last = Some(now);
        let read = Read {
            begun: now,
            terms,
            member: self.member,
            late: false,
        };
        self.running.insert(self.next_id, read);
        (self.next_id, self.member)
    }

    /// It has answered, or failed.
    pub(crate) fn end(&mut self, read: u64) -> Option<Read> {
        self.running.remove(&read)
    }

    /// It told nothing: the next one goes to the next member, at once unless all have been tried.
    pub(crate) fn failed(&mut self, read: &Read, members: usize) {
        if read.late {
            return; // the next member was taken when it was late
        }
        self.advance(read.member, members);
        self.failures += 1;
        self.at_once |= self.failures < members;
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    fn advance(&mut self, from: usize, members: usize) {
        if self.member == from {
            self.member = (from + 1) % members.max(1);
        }
    }

    /// Whoever is without an answer for `bound` is late: the next read goes to another member, at once.
    pub(crate) fn note_late(&mut self, now: BootTime, bound: Duration, members: usize) {
        let mut late: Vec<usize> = Vec::new();
        for read in self.running.values_mut() {
            if !read.late && read.begun.after(bound) <= now {
                read.late = true;
                late.push(read.member);
            }
        }
        if late.contains(&self.member) {
            self.advance(self.member, members);
            self.at_once = true;
        }
    }

    /// When the next is late.
    pub(crate) fn next_late(&self, bound: Duration) -> Option<BootTime> {
        self.running.values().filter(|read| !read.late).map(|read| read.begun.after(bound)).min()
    }

    #[cfg(test)]
    pub(crate) fn terms_of(&self, read: u64) -> Vec<u64> {
        self.running.get(&read).map(|read| read.terms.clone()).unwrap_or_default()
    }
}
