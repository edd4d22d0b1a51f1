//! The one atomic of a term (S5): deadline, reason and the two levels `lost` and `valid` in a single word.
//! Owns every transition of that word; who asks for one, and when, is the term's business. Model-checked with loom.

/// Low bits of the word; the deadline keeps the others, rounded down to 64 ns.
const LOST: u64 = 1;
/// A drain: extensions count although the term is lost, so that work can be finished under authority (S9).
const DRAIN: u64 = 2;
const REASON_SHIFT: u32 = 2;
const REASON: u64 = 0b1111 << REASON_SHIFT;
const DEADLINE: u64 = !0b11_1111;

/// What the functions below need of an atomic, so that loom can stand in for the real one.
pub(crate) trait Word {
    /// Acquire load.
    fn load(&self) -> u64;
    /// AcqRel compare-exchange; the value found on failure.
    fn replace(&self, current: u64, new: u64) -> Result<(), u64>;
}

/// What a word says, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    /// Nanoseconds on the boot clock; 0 = ended.
    pub(crate) deadline: u64,
    /// `lost` is latched.
    pub(crate) lost: bool,
    /// Lost by a word of its holder, and still extended.
    pub(crate) draining: bool,
    /// The number of the reason, once lost; 0 with `deadline == 0` is a word that a fork wiped.
    pub(crate) reason: u8,
}

/// Decodes a word.
pub(crate) fn view(word: u64) -> View {
    View {
        deadline: word & DEADLINE,
        lost: word & LOST != 0 || word & DEADLINE == 0,
        draining: word & DRAIN != 0 && word & DEADLINE != 0,
        reason: ((word & REASON) >> REASON_SHIFT) as u8,
    }
}

/// The word of a term that starts now.
pub(crate) fn start(deadline: u64) -> u64 {
    deadline & DEADLINE
}

fn reason_bits(reason: u8) -> u64 {
    (u64::from(reason) << REASON_SHIFT) & REASON
}

/// Authority: not ended and before the deadline. Finding the deadline passed latches the end for every reader;
/// `expired` gives the reason then (called at most a few times, only on that path).
#[inline]
pub(crate) fn valid(word: &impl Word, now: impl Fn() -> u64, expired: impl Fn(u64) -> u8) -> bool {
    let mut seen = word.load();
    loop {
        let deadline = seen & DEADLINE;
        if deadline == 0 {
            return false;
        }
        if now() < deadline {
            return true;
        }
        let reason = if seen & LOST != 0 { seen & REASON } else { reason_bits(expired(deadline)) };
        match word.replace(seen, LOST | reason) {
            Ok(()) => return false,
            Err(found) => seen = found,
        }
    }
}

/// `lost`: `None` while the work may go on, else the number of the reason. Latched `margin` before the deadline:
/// from then on the deadline is frozen.
#[inline]
pub(crate) fn lost(
    word: &impl Word,
    margin: u64,
    now: impl Fn() -> u64,
    expired: impl Fn(u64) -> u8,
) -> Option<u8> {
    let mut seen = word.load();
    loop {
        let deadline = seen & DEADLINE;
        if seen & LOST != 0 || deadline == 0 {
            return Some(view(seen).reason);
        }
        if now() < deadline.saturating_sub(margin) {
            return None;
        }
        let reason = expired(deadline);
        match word.replace(seen, deadline | LOST | reason_bits(reason)) {
            Ok(()) => return Some(reason),
            Err(found) => seen = found,
        }
    }
}

/// Latches `lost` with the authority left as it is, and extended on (S9). False if the term was lost or has ended by then.
pub(crate) fn drain(word: &impl Word, reason: u8, margin: u64, now: impl Fn() -> u64) -> bool {
    let mut seen = word.load();
    loop {
        let deadline = seen & DEADLINE;
        if deadline == 0 || seen & LOST != 0 || now() >= deadline.saturating_sub(margin) {
            return false;
        }
        match word.replace(seen, deadline | LOST | DRAIN | reason_bits(reason)) {
            Ok(()) => return true,
            Err(found) => seen = found,
        }
    }
}

/// Moves the deadline, forward or back, unless the term was lost (but for a drain) or has ended. True if it now stands.
/// A deadline below the present one is taken too: the caller has learnt that less is safe.
pub(crate) fn set_deadline(word: &impl Word, deadline: u64, margin: u64, now: impl Fn() -> u64) -> bool {
    let mut seen = word.load();
    loop {
        let current = seen & DEADLINE;
        let frozen = seen & LOST != 0 && seen & DRAIN == 0;
        // A drain has announced its loss already: nothing is announced before the deadline any more.
        let margin = if seen & DRAIN != 0 { 0 } else { margin };
        if current == 0 || frozen || now() >= current.saturating_sub(margin) {
            return false;
        }
        match word.replace(seen, (deadline & DEADLINE) | (seen & !DEADLINE)) {
            Ok(()) => return true,
            Err(found) => seen = found,
        }
    }
}

/// Ends authority once and for all. The reason of an earlier latch stays. True if this call ended it.
pub(crate) fn end(word: &impl Word, reason: u8) -> bool {
    let mut seen = word.load();
    loop {
        if seen & DEADLINE == 0 {
            return false;
        }
        let reason = if seen & LOST != 0 { seen & REASON } else { reason_bits(reason) };
        match word.replace(seen, LOST | reason) {
            Ok(()) => return true,
            Err(found) => seen = found,
        }
    }
}
