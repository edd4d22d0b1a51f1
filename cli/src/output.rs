//! What people and programs see: a line for each event, as JSON or aligned and coloured; warnings on standard error.
//! Owns form and colour; when something is said is each command's.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::event::Event;

/// A colour of the terminal's own palette.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Red => "31",
            Paint::Green => "32",
            Paint::Yellow => "33",
            Paint::Blue => "34",
            Paint::Magenta => "35",
            Paint::Cyan => "36",
        }
    }
}

/// Standard output, or standard error where the output is somebody else's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
    on_stderr: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output {
            json,
            colour: !json && colours_are_wanted() && io::stdout().is_terminal(),
            on_stderr: false,
        }
    }

    /// For `run`, whose standard output is its command's.
    pub(crate) fn on_stderr(json: bool) -> Output {
        Output {
            json,
            colour: !json && colours_are_wanted() && io::stderr().is_terminal(),
            on_stderr: true,
        }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    pub(crate) fn paint(self, text: impl std::fmt::Display, paints: &[Paint]) -> String {
        if !self.colour || paints.is_empty() {
            return text.to_string();
        }
        let codes: Vec<_> = paints.iter().map(|paint| paint.code()).collect();
        format!("\x1b[{}m{text}\x1b[0m", codes.join(";"))
    }

    /// One line, written and flushed as a whole.
    pub(crate) fn line(self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        if self.on_stderr {
            return io::stderr().lock().write_all(line.as_bytes());
        }
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()
    }

    /// One event, as JSON or for people.
    pub(crate) fn event(self, event: &Event) -> io::Result<()> {
        self.event_of("", event)
    }

    /// One event, for people with its election's name where there are several.
    pub(crate) fn event_of(self, election: &str, event: &Event) -> io::Result<()> {
        if self.json {
            return self.line(&event.json());
        }
        let at = event.time.to_zoned(TimeZone::system()).strftime("%H:%M:%S.%3f").to_string();
        let paints: &[Paint] = match event.name {
            "elected" => &[Paint::Bold, Paint::Green],
            "secured" | "write_applied" => &[Paint::Green],
            "lost" | "write_refused" => &[Paint::Bold, Paint::Red],
            "jeopardy" => &[Paint::Yellow],
            "leader" => &[Paint::Cyan],
            _ => &[Paint::Dim],
        };
        let name = self.paint(format_args!("{:<11}", event.name), paints);
        let (at, gap) = (self.paint(at, &[Paint::Dim]), if election.is_empty() { "" } else { "  " });
        self.line(format!("{at}  {name}  {election}{gap}{}", details(event, election.is_empty())).trim_end())
    }
}

fn colours_are_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

pub(crate) fn details(event: &Event, with_key: bool) -> String {
    let mut parts = Vec::new();
    let shown = match event.name {
        "campaigning" | "vacant" | "stopped" if with_key => &event.key,
        "campaigning" | "vacant" | "stopped" => &None,
        _ => &event.value,
    };
    parts.extend(shown.clone());
    parts.extend(event.reason.as_deref().map(words));
    parts.extend(event.token.map(|token| format!("token {token}")));
    parts.extend(event.lease.map(|lease| format!("lease {lease:x}")));
    parts.extend(event.remaining.map(|left| format!("valid for {}", span(left))));
    parts.extend(event.pid.map(|pid| format!("process {pid}")));
    parts.extend(event.by.map(|by| format!("by: {by}")));
    parts.extend(event.code.map(|code| format!("code {code}")));
    parts.extend(event.revision.map(|revision| format!("revision {revision}")));
    parts.extend(event.error.clone());
    parts.join("  ")
}

/// A reason's or an event's name as words.
pub(crate) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A duration as people say it: `340 ms`, `2.41 s`, `3 min 5 s`, `2 h 4 min`.
pub(crate) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{:.2} s", span.as_secs_f64()),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
    }
}

/// The same, coarse enough to be looked at while it changes: `41 s`, `3 min 5 s`.
pub(crate) fn whole(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ 0..60 => format!("{secs} s"),
        _ => span(duration),
    }
}

/// A line on standard error. That nobody reads it is no reason to fail.
pub(crate) fn to_stderr(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn && metadata.target().starts_with("leadership")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = if record.level() == log::Level::Error { "error" } else { "warning" };
            to_stderr(&format!("leadership: {level}: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// The library's warnings go to standard error.
pub(crate) fn log_to_stderr() {
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_people_say_them() {
        for (millis, text) in [(0, "0 ms"), (340, "340 ms"), (2410, "2.41 s"), (185_000, "3 min 5 s"), (7_440_000, "2 h 4 min")] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }
}
