//! What trials come to, added up: one row a scenario, etcd and TTL. Owns the table and the raw lines' file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::Circumstances;
use crate::verdict::{Lost, Verdict};

/// All trials of one scenario on one etcd with one TTL.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The scenario's name.
    pub scenario: String,
    /// etcd's version.
    pub etcd: String,
    /// The TTL.
    pub ttl: Duration,
    /// For so long a term may still say yes once every member told that its key was gone.
    pub told_within: Duration,
    /// How many trials.
    pub trials: usize,
    /// Terms held when they began, in all.
    pub held: usize,
    /// Those of them that were lost.
    pub lost: usize,
    /// Terms that began and ended within a trial.
    pub lost_again: usize,
    /// The longest claim after the key was known to be gone, ns.
    pub worst_beyond: u64,
    /// The same from when every member had told of it, ns.
    pub worst_beyond_everywhere: u64,
    /// Pairs of terms that were valid at once.
    pub overlaps: usize,
    /// The longest of them, ns.
    pub longest_overlap: u64,
    /// The longest time that the library of a holder waited for a processor, ns.
    pub starved: u64,
    /// Terms that came back, or never were.
    pub impossible: usize,
    /// How often renewals were said to fail.
    pub jeopardies: usize,
    /// How long elections were without a valid term, ns.
    pub vacancies: Vec<u64>,
    /// How long before the key was known to be gone the term had ended, ns; below zero if after.
    pub ahead: Vec<i64>,
    /// Reasons of the losses.
    pub reasons: BTreeMap<String, usize>,
    /// The longest time in which etcd answered no linearizable read, in each trial, ns.
    pub silences: Vec<u64>,
    /// The machine's load, the highest seen at the end of a trial.
    pub load: f64,
}

impl Row {
    /// Adds a trial. Returns it as a raw line.
    pub fn add(&mut self, verdict: &Verdict, around: Circumstances) -> Value {
        let Circumstances { jeopardies, silence, starved } = around;
        self.silences.push(silence);
        self.starved = self.starved.max(starved);
        let longest_overlap = verdict.overlaps.iter().map(|overlap| overlap.by).max().unwrap_or(0);
        self.longest_overlap = self.longest_overlap.max(longest_overlap);
        self.trials += 1;
        self.held += verdict.held;
        self.lost += verdict.lost.len();
        self.lost_again += verdict.lost_again.len();
        self.worst_beyond = self.worst_beyond.max(verdict.worst_beyond());
        self.worst_beyond_everywhere = self.worst_beyond_everywhere.max(verdict.worst_beyond_everywhere());
        // They are counted over the whole life of the rig.
        self.overlaps = self.overlaps.max(verdict.overlaps.len());
        self.impossible = self.impossible.max(verdict.revived.len() + verdict.unknown.len());
        self.jeopardies += jeopardies;
        self.vacancies.extend(&verdict.vacancies);
        let ahead: Vec<i64> = verdict.all_lost().filter_map(Lost::ahead).collect();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for ended in verdict.all_lost().filter_map(|lost| lost.claim.ended.as_ref()) {
            *reasons.entry(ended.reason.clone()).or_default() += 1;
            *self.reasons.entry(ended.reason.clone()).or_default() += 1;
        }
        let load = load();
        self.load = self.load.max(load);
        let line = json!({
            "is": "trial",
            "scenario": self.scenario,
            "etcd": self.etcd,
            "ttl_ms": u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            "trial": self.trials,
            "held": verdict.held,
            "lost": verdict.lost.len(),
            "lost_again": verdict.lost_again.len(),
            "worst_beyond_ns": verdict.worst_beyond(),
            "worst_beyond_everywhere_ns": verdict.worst_beyond_everywhere(),
            "overlaps": verdict.overlaps.len(),
            "longest_overlap_ns": longest_overlap,
            "revived": verdict.revived.len(),
            "unknown": verdict.unknown.len(),
            "jeopardies": jeopardies,
            "etcd_silent_ns": silence,
            "starved_ns": starved,
            "vacancies_ns": verdict.vacancies,
            "ahead_ns": ahead,
            "reasons": reasons,
            "load": load,
        });
        self.ahead.extend(ahead);
        line
    }

    /// What safety rules were seen broken; empty if none.
    ///
    /// Where a key is taken away behind its holder's back, the holder must hear of it to know; while the machine gives
    /// it no processor it does not, and so long is granted on top. Where a key goes for want of renewals nothing is.
    #[must_use]
    pub fn broken(&self) -> String {
        let by_itself = self.told_within.is_zero();
        let granted = if by_itself { 0 } else { self.starved };
        let mut broken = Vec::new();
        if self.overlaps > 0 && self.longest_overlap > granted {
            broken.push(format!("{} pairs of terms overlap, by up to {:.1} ms (S1)", self.overlaps, self.longest_overlap as f64 / 1e6));
        }
        if self.impossible > 0 {
            broken.push(format!("{} terms came back or never were (S4, S5)", self.impossible));
        }
        let beyond = if by_itself { self.worst_beyond } else { self.worst_beyond_everywhere };
        if u128::from(beyond) > self.told_within.as_nanos() + u128::from(granted) {
            broken.push(format!("a term said yes {:.1} ms after its key was gone (S1, S6)", beyond as f64 / 1e6));
        }
        broken.join("; ")
    }

    fn cells(&self) -> Vec<String> {
        let reasons: Vec<String> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let lost = if self.lost_again > 0 { format!("{} (+{} again)", self.lost, self.lost_again) } else { self.lost.to_string() };
        let span = |of: &[f64]| {
            let mut sorted = of.to_vec();
            sorted.sort_by(f64::total_cmp);
            match (sorted.get(sorted.len() / 2), sorted.last()) {
                (Some(median), Some(worst)) => format!("{median:.0} / {worst:.0}"),
                _ => "–".to_owned(),
            }
        };
        let vacancies: Vec<f64> = self.vacancies.iter().map(|ns| *ns as f64 / 1e6).collect();
        // Late is what is bad: the sign is turned, so that the worst is the greatest.
        let late: Vec<f64> = self.ahead.iter().map(|ns| -*ns as f64 / 1e6).collect();
        vec![
            self.scenario.clone(),
            self.etcd.clone(),
            format!("{} s", self.ttl.as_secs()),
            format!("{} in {}", self.held, self.trials),
            lost,
            format!("{:.1} / {:.1}", self.worst_beyond as f64 / 1e6, self.worst_beyond_everywhere as f64 / 1e6),
            self.overlaps.to_string(),
            span(&self.silences.iter().map(|ns| *ns as f64 / 1e6).collect::<Vec<_>>()),
            span(&late),
            span(&vacancies),
            reasons.join(", "),
            format!("{:.0}", self.starved as f64 / 1e6),
            format!("{:.1}", self.load),
        ]
    }
}

/// The load of the machine over the last minute.
#[must_use]
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Prints the table, as Markdown.
pub fn print(rows: &[Row]) {
    let head = [
        "scenario",
        "etcd",
        "TTL",
        "terms held in trials",
        "terms lost",
        "worst claim after the first / the last member told that the key was gone, ms",
        "overlaps",
        "etcd without an answer, ms: median / worst trial",
        "end after the key's, ms: median / worst",
        "without a leader, ms: median / worst",
        "reasons",
        "a holder without a processor, ms: worst",
        "load",
    ];
    println!("| {} |", head.join(" | "));
    println!("|{}", " --- |".repeat(head.len()));
    for row in rows {
        println!("| {} |", row.cells().join(" | "));
    }
}

/// A new file for raw lines, in `faults/` in cargo's target folder.
#[derive(Debug)]
pub struct RawFile {
    path: PathBuf,
    file: std::fs::File,
}

impl RawFile {
    /// Makes it, and writes down on what machine this is.
    pub fn create(program: &Path) -> Result<RawFile, String> {
        // …/debug/leadership-faults → …/faults
        let target = program.ancestors().nth(2).map_or_else(|| PathBuf::from("target"), Path::to_owned);
        let folder = target.join("faults");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let path = folder.join(format!("faults-{now}-{}.jsonl", std::process::id()));
        let made = std::fs::create_dir_all(&folder).and_then(|()| std::fs::File::create(&path));
        let file = made.map_err(|e| format!("{}: {e}", path.display()))?;
        let mut raw = RawFile { path, file };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        raw.write(&[json!({"is": "machine", "cores": cores, "load": load(), "unix_time": now})])?;
        Ok(raw)
    }

    /// Adds lines.
    pub fn write(&mut self, lines: &[Value]) -> Result<(), String> {
        lines.iter().try_for_each(|line| writeln!(self.file, "{line}")).map_err(|e| format!("{}: {e}", self.path.display()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
