//! The periodic reads of all watched keys (S11): which are read when, and what is done about those that may not be read.
//! Owns their pace and their batches; the reads themselves and their answers are the parent's.

use std::ops::Bound;
use std::time::Duration;

use super::{Action, BATCH, Phase, Watches};
use crate::clock::BootTime;
use crate::protocol::Key;

impl Watches {
    /// The periodic reads, spread over the interval: a batch at a time, each key once in an interval (S11).
    pub(super) fn reread(&mut self, now: BootTime, jitter: u64, out: &mut Vec<Action>) {
        let batches = u32::try_from(self.keys.len().div_ceil(BATCH)).unwrap_or(u32::MAX).max(1);
        let next = spread(now, self.reread / batches, jitter);
        // Many keys more than when the next batch was planned: it must not wait for as long as one alone would.
        let grown = batches > self.reread_batches;
        let at = match self.reread_at {
            Some(at) if grown => at.min(next),
            Some(at) => at,
            None => next,
        };
        if at > now {
            self.reread_at = Some(at);
            self.reread_batches = batches;
            return;
        }
        self.reread_at = Some(next);
        self.reread_batches = batches;
        let after = self.reread_last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut together = Vec::new();
        let mut alone = Vec::new();
        for (key, watched) in self.keys.range_mut::<Key, _>((after, Bound::Unbounded)).take(BATCH) {
            self.reread_last = Some(key.clone());
            match watched.phase {
                // It would deny the others again.
                Phase::Live if watched.level.borrow().error.is_some() => alone.push(key.clone()),
                Phase::Live => together.push(key.clone()),
                Phase::Denied => watched.phase = Phase::New,
                Phase::New | Phase::Creating(_) | Phase::Reading => {}
            }
        }
        if self.reread_last.as_ref() == self.keys.keys().next_back() {
            self.reread_last = None; // the end: the next one begins at the beginning
        }
        if !together.is_empty() {
            self.read(together, out);
        }
        for key in alone {
            self.read(vec![key], out);
        }
    }

    /// One key that may not be read denies its whole transaction: halved until it is alone, and only that one told so.
    pub(super) fn read_denied(&mut self, mut keys: Vec<Key>, reason: &str, out: &mut Vec<Action>) {
        if keys.len() > 1 {
            let rest = keys.split_off(keys.len() / 2);
            self.read(keys, out);
            self.read(rest, out);
        } else if let Some(watched) = keys.first().and_then(|key| self.keys.get_mut(key)) {
            if watched.phase == Phase::Reading {
                watched.phase = Phase::Live; // the watch is there, and may tell of the key yet
            }
            watched.denied("read", reason);
        }
    }
}

/// `interval` ± 20 % from now.
pub(super) fn spread(now: BootTime, interval: Duration, jitter: u64) -> BootTime {
    let percent = 80 + u32::try_from(jitter % 1000).unwrap_or(0) * 40 / 1000;
    now.after(interval * percent / 100)
}
