//! The demo's stage: the candidates as processes, everything they say, and waiting until something is so.
//! Owns the records the verdict is made of; what happens on the stage is `steps`'.

use std::time::Duration;

use leadership_core::{Clock, SAFETY_MARGIN};
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::words;

use super::process::{Process, Said};
use super::stranger::Stranger;
use super::timeline::{NAMES, Timeline, Tone};
use super::verdict::{self, Check, Gap, Reign, Write};

/// One of the three.
#[derive(Default)]
pub(super) struct Candidate {
    pub(super) process: Option<Process>,
    /// Counts its processes: what an earlier one still had to say is its own.
    generation: usize,
    /// Whom it follows: the leader's token.
    pub(super) follows: Option<i64>,
    /// The token of the write that was refused last.
    pub(super) refused: Option<i64>,
    /// The token of the term that it said was lost last, and why.
    pub(super) lost: Option<(i64, String)>,
    /// Its output has ended.
    pub(super) silent: bool,
}

pub(super) struct Stage {
    pub(super) key: String,
    pub(super) journal: String,
    prefix: String,
    connection: Connection,
    pub(super) stranger: Stranger,
    pub(super) timeline: Timeline,
    pub(super) candidates: [Candidate; 3],
    pub(super) reigns: Vec<Reign>,
    pub(super) writes: Vec<Write>,
    pub(super) gaps: Vec<Gap>,
    pub(super) checks: Vec<Check>,
    /// How long the next gap may be, and after what.
    pub(super) expected: Option<(&'static str, Duration)>,
    /// Since when the leader does not work, if that was before its term ended: it was paused.
    pub(super) idle_from: Option<u64>,
    told: mpsc::UnboundedSender<(usize, usize, Said)>,
    said: mpsc::UnboundedReceiver<(usize, usize, Said)>,
}

pub(super) fn now() -> u64 {
    Clock::boot().now().0
}

/// When a term that is not renewed from `now` on can at the latest be valid: the TTL less drift (1 %) and margin.
pub(super) fn latest_deadline(now: u64) -> u64 {
    let valid = super::TTL * 99 / 100 - SAFETY_MARGIN;
    now + u64::try_from(valid.as_nanos()).unwrap_or(u64::MAX)
}

impl Stage {
    pub(super) fn new(connection: Connection, stranger: Stranger, timeline: Timeline) -> Stage {
        let (told, said) = mpsc::unbounded_channel();
        // Of its own in every run, so that two demos on one etcd do not meet.
        let prefix = format!("leadership-demo/{:x}-{:x}/", std::process::id(), now());
        Stage {
            key: format!("{prefix}leader"),
            journal: format!("{prefix}journal"),
            prefix,
            connection,
            stranger,
            timeline,
            candidates: Default::default(),
            reigns: Vec::new(),
            writes: Vec::new(),
            gaps: Vec::new(),
            checks: Vec::new(),
            expected: None,
            idle_from: None,
            told,
            said,
        }
    }

    pub(super) fn candidate(&mut self, who: usize) -> Result<&mut Candidate, Failure> {
        self.candidates.get_mut(who).ok_or_else(|| Failure::other("no such candidate"))
    }

    pub(super) fn start(&mut self, who: usize) -> Result<(), Failure> {
        let (name, _) = NAMES.get(who).ok_or_else(|| Failure::other("no such candidate"))?;
        let told = self.told.clone();
        let generation = self.candidates.get(who).map_or(0, |candidate| candidate.generation + 1);
        let process = Process::candidate(name, &self.key, &self.journal, &self.connection, move |said| {
            let _ = told.send((who, generation, said)); // fails when the demo is over
        })?;
        *self.candidate(who)? = Candidate {
            process: Some(process),
            generation,
            ..Candidate::default()
        };
        Ok(())
    }

    pub(super) fn signal(&mut self, who: usize, signal: Signal) -> Result<(), Failure> {
        let process = self.candidate(who)?.process.as_ref();
        process.ok_or_else(|| Failure::other("a signal to nobody"))?.signal(signal)
    }

    pub(super) async fn wait_for_exit(&mut self, who: usize) -> Result<Option<i32>, Failure> {
        let mut process = self.candidate(who)?.process.take().ok_or_else(|| Failure::other("nobody to wait for"))?;
        process.wait(super::SOON).await
    }

    /// Takes in what is said until `found` finds something.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut found: impl FnMut(&Stage) -> Option<T>,
    ) -> Result<T, Failure> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            match tokio::time::timeout_at(deadline, self.said.recv()).await {
                Ok(Some((who, generation, said))) => self.take(who, generation, said)?,
                Ok(None) | Err(_) => return Err(Failure::other(format!("waited {limit:?} in vain until {what}"))),
            }
        }
    }

    /// Takes in what is said for a time that the step itself needs.
    pub(super) async fn pass(&mut self, until: u64) -> Result<(), Failure> {
        let left = Duration::from_nanos(until.saturating_sub(now()));
        match self.until("the time has passed", left, |_| None::<()>).await {
            Err(Failure::Other(_)) => Ok(()), // that the time is up is what was waited for
            other => other,
        }
    }

    /// The current term.
    pub(super) fn reign(&self) -> Option<&Reign> {
        self.reigns.last()
    }

    /// The reign of `who` with this token ends, at the latest at `at`.
    pub(super) fn ends(&mut self, token: i64, at: u64) {
        if let Some(reign) = self.reigns.iter_mut().find(|reign| reign.token == token) {
            reign.until = Some(reign.until.map_or(at, |known| known.min(at)));
        }
    }

    /// The reign with this token has ended by the deadline that it named last.
    pub(super) fn ends_by_its_deadline(&mut self, token: i64) {
        let named = self.reigns.iter().find(|reign| reign.token == token).map(|reign| reign.deadline);
        if let Some(deadline) = named {
            self.ends(token, deadline);
        }
    }

    fn take(&mut self, who: usize, generation: usize, said: Said) -> Result<(), Failure> {
        let current = self.candidates.get(who).is_some_and(|candidate| candidate.generation == generation);
        let Some(event) = said else {
            if current {
                self.candidate(who)?.silent = true;
            }
            return Ok(());
        };
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| event.get(name).and_then(Value::as_i64);
        let at = event.get("boot_ns").and_then(Value::as_u64).unwrap_or_default();
        let token = number("token");
        let term = token.unwrap_or_default();
        match text("event").as_str() {
            "elected" => {
                let lease = i64::from_str_radix(&text("lease"), 16).unwrap_or_default();
                let gap = self.gap(at);
                self.reigns.push(Reign {
                    who,
                    token: term,
                    lease,
                    from: at,
                    until: None,
                    deadline: latest_deadline(at),
                });
                self.timeline.line(at, Some(who), Tone::Good, "leads", token, gap)?;
            }
            "lost" => {
                self.ends(term, at);
                let reason = text("reason");
                let line = format!("stops: {}", words(&reason));
                self.candidate(who)?.lost = Some((term, reason));
                self.timeline.line(at, Some(who), Tone::Bad, &line, token, None)?;
            }
            "leader" if current => self.candidate(who)?.follows = token,
            "write_applied" => {
                let left = event.get("remaining_ms").and_then(Value::as_u64).unwrap_or_default() * 1_000_000;
                if let Some(reign) = self.reigns.iter_mut().find(|reign| reign.token == term) {
                    reign.deadline = at + left;
                }
                if let Some(revision) = number("revision") {
                    self.writes.push(Write { token: term, revision });
                }
            }
            "write_refused" => {
                self.candidate(who)?.refused = token;
                self.timeline.line(at, Some(who), Tone::Bad, "its guarded write is refused: not the leader", token, None)?;
            }
            "stopped" if event.get("error").is_some() => {
                self.timeline.line(at, Some(who), Tone::Bad, &format!("gives up: {}", text("error")), None, None)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// How long nobody worked until the term that starts at `elected`.
    fn gap(&mut self, elected: u64) -> Option<Duration> {
        let ended = self.reign()?.until?;
        let from = self.idle_from.take().map_or(ended, |idle| idle.min(ended));
        let took = Duration::from_nanos(elected.saturating_sub(from));
        if let Some((after, at_most)) = self.expected.take() {
            self.gaps.push(Gap { after, took, at_most });
        }
        Some(took)
    }

    /// Ends whoever is left and removes the demo's keys.
    pub(super) async fn clear(&mut self) -> Result<(), Failure> {
        for candidate in &mut self.candidates {
            if let Some(process) = candidate.process.take() {
                process.end().await;
            }
        }
        self.stranger.delete_prefix(&self.prefix.clone()).await
    }

    /// The closing summary: was everything as it should be?
    pub(super) fn verdict(&mut self) -> Result<bool, Failure> {
        let mut checks = vec![
            verdict::tokens(&self.reigns),
            verdict::one_at_a_time(&self.reigns),
            verdict::writes(&self.writes),
            verdict::gaps(&self.gaps),
        ];
        checks.append(&mut self.checks);
        self.timeline.heading("What was checked")?;
        for check in &checks {
            self.timeline.check(check.passed, &check.text)?;
        }
        let passed = checks.iter().all(|check| check.passed);
        self.timeline.end(passed)?;
        Ok(passed)
    }
}
