//! A deadline that any thread reads in nanoseconds, in a page that a fork wipes, with the clock it is read against.
//! Owns binding the cell to both; what passes with it, a term or a lease, is `mod`'s.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::cell;
use crate::clock::{BootTime, Clock};
use crate::error::Reason;
use crate::pages::Slot;

impl cell::Word for Slot {
    #[inline]
    fn load(&self) -> u64 {
        AtomicU64::load(self, Ordering::Acquire)
    }

    #[inline]
    fn replace(&self, current: u64, new: u64) -> std::result::Result<(), u64> {
        self.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }
}

/// Below this, in nanoseconds, a time slept is the two clocks not being read at once.
const CLOCKS_APART: u64 = 1_000_000;

/// A deadline in a page that a fork wipes, with the clock it is read against.
pub(crate) struct Deadline {
    word: Slot,
    clock: Clock,
    margin: u64,
    /// The machine's suspended time when the deadline was last set: tells a suspend from missed renewals.
    suspended: AtomicU64,
}

impl Deadline {
    pub(crate) fn start(word: Slot, clock: Clock, margin: Duration, at: BootTime) -> Deadline {
        word.store(cell::start(at.0), Ordering::Release);
        Deadline {
            suspended: AtomicU64::new(clock.suspended()),
            word,
            clock,
            margin: u64::try_from(margin.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    #[inline]
    pub(crate) fn valid(&self) -> bool {
        cell::valid(&self.word, || self.clock.now().0, |deadline| self.why_passed(deadline))
    }

    #[inline]
    pub(crate) fn lost(&self) -> Option<Reason> {
        let reason = cell::lost(&self.word, self.margin, || self.clock.now().0, |deadline| self.why_passed(deadline))?;
        // A word that a fork wiped has no reason.
        Some(Reason::from_number(reason).unwrap_or(Reason::Forked))
    }

    /// The deadline, zero once ended.
    pub(crate) fn at(&self) -> BootTime {
        BootTime(cell::view(cell::Word::load(&self.word)).deadline)
    }

    /// When it will be over if nothing extends it: `lost` is latched then, or, in a drain, authority ends.
    pub(crate) fn lost_at(&self) -> BootTime {
        let view = cell::view(cell::Word::load(&self.word));
        BootTime(view.deadline.saturating_sub(if view.draining { 0 } else { self.margin }))
    }

    /// Moves the deadline unless it was lost or has passed. `now` and `slept` (the machine's suspended time) are the
    /// caller's, read once for many: a deadline says itself whether it has passed, and whoever has seen it passed has
    /// latched it.
    pub(crate) fn set(&self, at: BootTime, now: BootTime, slept: u64) -> bool {
        // Before the deadline moves, so that a reader who finds it passed compares with the right one.
        let before = self.suspended.load(Ordering::Acquire);
        let changed = slept.abs_diff(before) > CLOCKS_APART / 2;
        if changed {
            self.suspended.store(slept, Ordering::Release);
        }
        let done = cell::set_deadline(&self.word, at.0, self.margin, || now.0);
        if !done && changed {
            self.suspended.store(before, Ordering::Release);
        }
        done
    }

    /// Latches the loss, for `reason`, with the authority left as it is and extended on (S9). False if it was lost.
    pub(crate) fn drain(&self, reason: Reason) -> bool {
        cell::drain(&self.word, reason as u8, self.margin, || self.clock.now().0)
    }

    /// Lost, and nothing is extended any more.
    pub(crate) fn over(&self) -> bool {
        self.lost().is_some() && !cell::view(cell::Word::load(&self.word)).draining
    }

    pub(crate) fn end(&self, reason: Reason) -> bool {
        cell::end(&self.word, reason as u8)
    }

    pub(crate) fn forked(&self) -> bool {
        self.word.forked()
    }

    pub(crate) fn remaining(&self) -> Duration {
        self.at().since(self.clock.now())
    }

    /// Passed by a suspend, if it would not have passed without the time that the machine slept since it was set.
    fn why_passed(&self, deadline: u64) -> u8 {
        let slept = self.clock.suspended().saturating_sub(self.suspended.load(Ordering::Acquire));
        let suspended = slept > CLOCKS_APART
            && self.clock.now().0.saturating_sub(slept) < deadline.saturating_sub(self.margin);
        let reason = if suspended { Reason::Suspended } else { Reason::Expired };
        reason as u8
    }
}
