//! How often one campaigned lately: the reference's frequency limiter, and the back-off after failed campaigns.
//! Owns counting and the pause; whether to campaign at all is the caller's.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::BootTime;

/// The first pause after a failed campaign, doubled with each further one …
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// … up to this. The pause itself is drawn between zero and that (full jitter).
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Campaign times within a window.
#[derive(Debug)]
pub(crate) struct History {
    window: Duration,
    /// Made with the first: few campaigns are ever counted.
    #[allow(clippy::box_collection)] // a pointer, where the empty queue itself takes four words
    times: Option<Box<VecDeque<BootTime>>>,
    failures: u32,
    not_before: BootTime,
}

impl History {
    pub(crate) fn new(window: Duration) -> History {
        History {
            window,
            times: None,
            failures: 0,
            not_before: BootTime::default(),
        }
    }

    pub(crate) fn add(&mut self, now: BootTime) {
        self.prune(now);
        self.times.get_or_insert_default().push_back(now);
    }

    /// How many within the window; pruned at read, so that old times do not count because nobody campaigned since.
    pub(crate) fn count(&mut self, now: BootTime) -> usize {
        self.prune(now);
        self.times.as_ref().map_or(0, |times| times.len())
    }

    pub(crate) fn reset(&mut self) {
        self.times = None;
    }

    fn prune(&mut self, now: BootTime) {
        let Some(times) = &mut self.times else { return };
        while times.front().is_some_and(|at| now.since(*at) > self.window) {
            times.pop_front();
        }
    }

    /// A campaign ended. `random` gives a number below its argument.
    pub(crate) fn ended(&mut self, won: bool, now: BootTime, random: impl FnOnce(u64) -> u64) {
        if won {
            self.failures = 0;
            self.not_before = BootTime::default();
            return;
        }
        let most = (FIRST_PAUSE * 2u32.pow(self.failures.min(16))).min(MAX_PAUSE);
        self.failures += 1;
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        self.not_before = now.after(Duration::from_nanos(random(nanos)));
    }

    /// When the next campaign may begin.
    pub(crate) fn not_before(&self) -> BootTime {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> BootTime {
        BootTime(secs * 1_000_000_000)
    }

    #[test]
    fn case_08_the_history_counts_within_its_window_and_prunes_on_read() {
        let mut history = History::new(Duration::from_secs(300));
        for secs in [1000, 1100, 1200] {
            history.add(at(secs));
        }
        assert_eq!(history.count(at(1300)), 3, "a time just on the window's edge counts");
        assert_eq!(history.count(at(1301)), 2);
        assert_eq!(history.count(at(1501)), 0, "nobody added anything, and it is pruned all the same");
        history.add(at(1502));
        history.reset();
        assert_eq!(history.count(at(1502)), 0);
    }

    #[test]
    fn case_08_a_failed_campaign_backs_off_up_to_two_seconds_and_a_won_one_forgets() {
        let mut history = History::new(Duration::from_secs(300));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            history.ended(false, at(10), |below| below - 1);
            pauses.push(history.not_before().since(at(10)).as_millis());
        }
        assert_eq!(pauses, [49, 99, 199, 399, 799, 1599, 1999, 1999]);
        history.ended(false, at(10), |_| 0);
        assert_eq!(history.not_before(), at(10), "full jitter: from zero");
        history.ended(true, at(10), |below| below - 1);
        assert_eq!(history.not_before(), BootTime::default());
    }
}
