//! How figures are shown: a median with its spread, Markdown tables, the machine's facts, raw JSON lines.
//! Owns the form; the figures are the sections'.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Result;

/// A median and how far the middle half, and all, lie from it.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// A quarter of all is below.
    pub quarter: f64,
    /// A quarter of all is above.
    pub three_quarters: f64,
    /// How many there were.
    pub count: usize,
}

impl Spread {
    /// Of these figures; all NaN if there are none.
    pub fn of(figures: impl Iterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (sorted.len().saturating_sub(1)) as f64;
            let (below, above) = (sorted.get(place.floor() as usize), sorted.get(place.ceil() as usize));
            match (below, above) {
                (Some(below), Some(above)) => below + (above - below) * place.fract(),
                _ => f64::NAN,
            }
        };
        Spread {
            median: at(0.5),
            quarter: at(0.25),
            three_quarters: at(0.75),
            count: sorted.len(),
        }
    }

    /// `median (quarter – three quarters)`.
    #[must_use]
    pub fn show(&self, digits: usize) -> String {
        if self.count == 1 {
            return format!("{:.digits$}", self.median);
        }
        format!("{:.digits$} ({:.digits$} – {:.digits$})", self.median, self.quarter, self.three_quarters)
    }

    /// For the raw lines.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"median": self.median, "quarter": self.quarter, "three_quarters": self.three_quarters, "n": self.count})
    }
}

/// Prints a Markdown table.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    println!("| {} |", head.join(" | "));
    println!("|{}", " --- |".repeat(head.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

/// The load of the machine over the last minute.
#[must_use]
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// What the figures were measured on: they mean nothing elsewhere.
#[must_use]
pub fn machine(etcd: &str) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, name)| name);
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "clocksource": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "etcd": etcd,
        "unix_time": std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    })
}

/// Writes the raw figures, one JSON object a line, to `bench/` in cargo's target folder. Returns where.
///
/// # Errors
/// The folder cannot be written.
pub fn write_raw(machine: &Value, lines: &[Value]) -> Result<PathBuf> {
    // …/release/deps/figures-… → …/bench
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), Path::to_owned);
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("figures-{}.jsonl", machine.get("unix_time").and_then(Value::as_u64).unwrap_or(0)));
    let mut file = std::fs::File::create(&path)?;
    for line in std::iter::once(machine).chain(lines) {
        writeln!(file, "{line}")?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_the_middle_half() {
        let spread = Spread::of([5.0, 1.0, 3.0, 2.0, 4.0].into_iter());
        assert_eq!((spread.quarter, spread.median, spread.three_quarters), (2.0, 3.0, 4.0));
        assert_eq!(Spread::of([1.0, 2.0].into_iter()).median, 1.5);
        assert!(Spread::of(std::iter::empty()).median.is_nan(), "no figure is not a good figure");
    }
}
