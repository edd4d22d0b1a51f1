//! When the group is told to end, and when it is killed: arithmetic on deadlines, without a clock or a process.
//! Owns that (DESIGN §10); who sends the signals is `guardian`'s.

use std::time::Duration;

use leadership_core::BootTime;

/// What the guardian does to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// TERM: the deadline has come near, and nobody has moved it.
    Term,
    /// KILL: nothing of the group may run any longer.
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Told to end. With `frozen` the deadline is not moved any more: the loss has been latched.
    Ending { kill_at: BootTime, frozen: bool },
    Killed,
}

/// The plan for one group.
#[derive(Debug)]
pub(super) struct Plan {
    /// The term's deadline, as it was published last.
    deadline: BootTime,
    /// Before the deadline by this much nothing of the group runs any more.
    margin: Duration,
    /// So much earlier it is told to end.
    grace: Duration,
    stage: Stage,
}

impl Plan {
    pub(super) fn new(deadline: BootTime, margin: Duration, grace: Duration) -> Plan {
        Plan {
            deadline,
            margin,
            grace,
            stage: Stage::Running,
        }
    }

    /// A deadline that was published. It counts unless the loss has been latched.
    pub(super) fn seen(&mut self, deadline: BootTime) {
        if !matches!(self.stage, Stage::Ending { frozen: true, .. } | Stage::Killed) {
            self.deadline = deadline;
        }
    }

    /// Somebody else has told the group to end; it is killed at `at`, or when the deadline comes if that is earlier.
    pub(super) fn ending(&mut self, at: BootTime) {
        self.stage = match self.stage {
            Stage::Running => Stage::Ending {
                kill_at: at,
                frozen: false,
            },
            Stage::Ending { kill_at, frozen } => Stage::Ending {
                kill_at: kill_at.min(at),
                frozen,
            },
            Stage::Killed => Stage::Killed,
        };
    }

    /// It has been killed.
    pub(super) fn killed(&mut self) {
        self.stage = Stage::Killed;
    }

    /// When [`due`](Self::due) has something to say, unless the deadline moves; `None`: never again.
    pub(super) fn next(&self) -> Option<BootTime> {
        let last = self.deadline.before(self.margin);
        match self.stage {
            Stage::Running => Some(last.before(self.grace)),
            Stage::Ending { kill_at, .. } => Some(kill_at.min(last)),
            Stage::Killed => None,
        }
    }

    /// What must be done now.
    pub(super) fn due(&mut self, now: BootTime) -> Option<Act> {
        if self.next().is_none_or(|at| now < at) {
            return None;
        }
        let last = self.deadline.before(self.margin);
        if self.stage == Stage::Running && now < last {
            self.stage = Stage::Ending {
                kill_at: last,
                frozen: true,
            };
            return Some(Act::Term);
        }
        self.stage = Stage::Killed;
        Some(Act::Kill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> BootTime {
        BootTime(ms * MS)
    }

    fn plan() -> Plan {
        Plan::new(at(5000), Duration::from_millis(500), Duration::from_millis(1000))
    }

    #[test]
    fn s9_the_group_is_told_before_the_margin_and_killed_at_it() {
        let mut plan = plan();
        assert_eq!((plan.next(), plan.due(at(3499))), (Some(at(3500)), None));
        assert_eq!(plan.due(at(3500)), Some(Act::Term));
        plan.seen(at(9000)); // too late: once told, no extension counts
        assert_eq!((plan.next(), plan.due(at(4499))), (Some(at(4500)), None));
        assert_eq!(plan.due(at(4500)), Some(Act::Kill));
        assert_eq!((plan.next(), plan.due(at(9999))), (None, None));
    }

    #[test]
    fn an_extension_in_time_moves_both() {
        let mut plan = plan();
        plan.seen(at(7000));
        assert_eq!((plan.due(at(3500)), plan.next()), (None, Some(at(5500))));
    }

    #[test]
    fn case_60_who_wakes_after_the_deadline_kills_at_once() {
        assert_eq!(plan().due(at(4600)), Some(Act::Kill));
    }

    #[test]
    fn an_orderly_end_is_extended_and_killed_at_its_own_time_or_at_the_deadline() {
        let mut late = plan();
        late.ending(at(13_000));
        assert_eq!(late.next(), Some(at(4500)));
        late.seen(at(30_000));
        assert_eq!((late.next(), late.due(at(12_999))), (Some(at(13_000)), None));
        assert_eq!(late.due(at(13_000)), Some(Act::Kill));
        let mut gone = plan();
        gone.ending(at(2000));
        gone.ending(at(2500)); // a second word makes nothing later
        assert_eq!(gone.due(at(2000)), Some(Act::Kill));
    }

    #[test]
    fn a_word_that_comes_after_the_loss_makes_nothing_later() {
        let mut plan = plan();
        assert_eq!(plan.due(at(3600)), Some(Act::Term));
        plan.ending(at(20_000));
        plan.seen(at(30_000));
        assert_eq!(plan.next(), Some(at(4500)));
    }
}
