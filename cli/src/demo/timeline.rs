//! The demo's timeline: time, who, what, token, gap, a line each.
//! Owns columns and colours; what is worth a line is `stage`'s and `steps`' choice.

use std::time::Duration;

use leadership_core::{BootTime, Clock};

use crate::failure::Failure;
use crate::output::{Output, Paint, span};

/// Everybody's name and colour.
pub(super) const NAMES: [(&str, Paint); 3] = [("ada", Paint::Cyan), ("bob", Paint::Magenta), ("eve", Paint::Blue)];

pub(super) struct Timeline {
    output: Output,
    start: BootTime,
}

/// How a line is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tone {
    Good,
    Bad,
    Act,
    Aside,
}

impl Timeline {
    pub(super) fn new(output: Output) -> Timeline {
        Timeline {
            output,
            start: Clock::boot().now(),
        }
    }

    pub(super) fn title(&self, endpoint: &str, in_memory: bool) -> Result<(), Failure> {
        let on = if in_memory { "the test server (an etcd in memory)" } else { "etcd" };
        let bold = |text: &str| self.output.paint(text, &[Paint::Bold]);
        self.output.line("")?;
        self.output.line(&format!("  {}  three candidates, one leader at a time", bold("leadership demo")))?;
        let about = format!("  on {on} at {endpoint}; a lease lives {} unrenewed", words(super::TTL));
        self.output.line(&self.output.paint(about, &[Paint::Dim]))?;
        self.output.line("")?;
        let head = format!("  {:>8}   {:<5}{:<50}{:>7}{:>11}", "time", "who", "event", "token", "gap");
        Ok(self.output.line(&self.output.paint(head, &[Paint::Dim]))?)
    }

    pub(super) fn step(&self, number: usize, title: &str) -> Result<(), Failure> {
        self.output.line("")?;
        let rule = "─".repeat(77usize.saturating_sub(title.chars().count()));
        let rule = self.output.paint(rule, &[Paint::Dim]);
        Ok(self.output.line(&format!("  {} {rule}", self.output.paint(format!("{number}  {title}"), &[Paint::Bold])))?)
    }

    /// One line. `who` is a candidate, or nobody: the demo itself, or a stranger.
    pub(super) fn line(
        &self,
        at: u64,
        who: Option<usize>,
        tone: Tone,
        text: &str,
        token: Option<i64>,
        gap: Option<Duration>,
    ) -> Result<(), Failure> {
        let time = Duration::from_nanos(at.saturating_sub(self.start.0)).as_secs_f64();
        let (name, paint) = who.and_then(|who| NAMES.get(who)).copied().unwrap_or(("·", Paint::Dim));
        let (sign, paints): (&str, &[Paint]) = match tone {
            Tone::Good => ("●", &[Paint::Bold, Paint::Green]),
            Tone::Bad => ("○", &[Paint::Red]),
            Tone::Act => ("→", &[Paint::Bold, Paint::Yellow]),
            Tone::Aside => (" ", &[Paint::Dim]),
        };
        let text = self.output.paint(format_args!("{:<50}", format!("{sign} {text}")), paints);
        let token = token.map_or_else(String::new, |token| token.to_string());
        let gap = gap.map_or_else(String::new, span);
        let line = format!(
            "  {}   {}{text}{token:>7}{}",
            self.output.paint(format_args!("{time:>6.3} s"), &[Paint::Dim]),
            self.output.paint(format_args!("{name:<5}"), &[paint]),
            if gap.is_empty() { gap } else { self.output.paint(format_args!("{gap:>11}"), &[Paint::Bold]) },
        );
        Ok(self.output.line(line.trim_end())?)
    }

    /// One line of the closing summary.
    pub(super) fn check(&self, passed: bool, text: &str) -> Result<(), Failure> {
        let sign = match passed {
            true => self.output.paint("✓", &[Paint::Bold, Paint::Green]),
            false => self.output.paint("✗", &[Paint::Bold, Paint::Red]),
        };
        Ok(self.output.line(&format!("  {sign} {text}"))?)
    }

    pub(super) fn heading(&self, text: &str) -> Result<(), Failure> {
        self.output.line("")?;
        Ok(self.output.line(&format!("  {}", self.output.paint(text, &[Paint::Bold])))?)
    }

    pub(super) fn end(&self, passed: bool) -> Result<(), Failure> {
        let took = words(Clock::boot().now().since(self.start));
        self.output.line("")?;
        let text = match passed {
            true => self.output.paint("  All as it should be.", &[Paint::Bold, Paint::Green]),
            false => self.output.paint("  Not as it should be: see ✗ above.", &[Paint::Bold, Paint::Red]),
        };
        self.output.line(&format!("{text} {}", self.output.paint(took, &[Paint::Dim])))?;
        Ok(self.output.line("")?)
    }
}

/// A whole number of seconds where it is one.
fn words(time: Duration) -> String {
    if time.subsec_nanos() == 0 { format!("{} s", time.as_secs()) } else { span(time) }
}
