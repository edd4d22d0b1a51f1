//! What a check of a term costs through the C library and through the Python package, each beside what it cannot do without.
//! Owns building and running the two programs and their tables; the loops are `bench/c/valid.c`'s and
//! `python/bench/valid.py`'s. Each is a process of its own: as its users have it, with nothing of this program in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::check::Size;
use crate::report::{Spread, table};

/// The goal for `leadership_term_valid`: this factor of `clock_gettime(CLOCK_BOOTTIME)`.
const GOAL_C: f64 = 1.2;
/// The goal for `term.valid`: this factor of an empty property that reads the clock.
const GOAL_PYTHON: f64 = 1.5;
/// Says which interpreter has the package in its release form; `make bench` sets it.
const PYTHON: &str = "LEADERSHIP_BENCH_PYTHON";

/// A call and its pairs: nanoseconds of ours, and of what it stands beside.
type Pairs = (String, Vec<(f64, f64)>);

/// `call ours base`, one line a pair.
fn pairs(output: &str) -> Result<Vec<Pairs>> {
    let mut calls: Vec<Pairs> = Vec::new();
    for line in output.lines() {
        let mut words = line.split_whitespace();
        let (Some(call), Some(ours), Some(base)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("no pair: {line:?}").into());
        };
        let pair = (ours.parse()?, base.parse()?);
        match calls.last_mut() {
            Some((last, pairs)) if last == call => pairs.push(pair),
            _ => calls.push((call.to_owned(), vec![pair])),
        }
    }
    if calls.is_empty() { Err("no figures".into()) } else { Ok(calls) }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}: {said}", command.get_program().display(), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Prints the table of one program's pairs; the first call is the one that the goal is set for.
fn show(section: &str, output: &str, base: &str, goal: f64) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for (place, (call, pairs)) in pairs(output)?.into_iter().enumerate() {
        let ratio = Spread::of(pairs.iter().map(|(ours, base)| ours / base));
        let ours = Spread::of(pairs.iter().map(|(ours, _)| *ours));
        let bare = Spread::of(pairs.iter().map(|(_, base)| *base));
        let verdict = match (place, ratio.median <= goal) {
            (0, true) => "met",
            (0, false) => "missed",
            _ => "(no goal)",
        };
        rows.push(vec![format!("`{call}`"), ratio.show(3), verdict.to_owned(), ours.show(1), bare.show(1)]);
        raw.push(json!({
            "section": section, "call": call, "pairs": pairs.len(), "ratio": ratio.json(),
            "call_ns": ours.json(), "base_ns": bare.json(), "goal": verdict,
        }));
    }
    table(&["call", &format!("÷ {base}"), "goal", "call, ns", "base, ns"], &rows);
    Ok(raw)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Runs the C program on this etcd, linked against the release build of the shared library beside this program.
///
/// # Errors
/// The library or a C compiler is missing; the program failed.
pub fn c_section(endpoint: &str, size: Size) -> Result<Vec<Value>> {
    // …/release/deps/figures-… → …/release
    let program = std::env::current_exe()?;
    let release = program.ancestors().nth(2).ok_or("no folder of programs")?;
    let library = release.join("libleadership.so");
    if !library.exists() {
        return Err(format!("{} is missing: cargo build --release -p leadership-ffi", library.display()).into());
    }
    let root = repository();
    let folder = tempfile::tempdir()?;
    let valid = folder.path().join("valid");
    // The program asks for the versioned name, cargo makes the plain one.
    let versioned = format!("libleadership.so.{}", env!("CARGO_PKG_VERSION_MAJOR"));
    std::os::unix::fs::symlink(&library, folder.path().join(versioned))?;
    run(Command::new("cc")
        .args(["-std=c11", "-O2", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root.join("include"))
        .arg(root.join("bench/c/valid.c"))
        .arg("-o")
        .arg(&valid)
        .arg(&library))?;
    let output = run(Command::new(&valid)
        .args([endpoint.to_owned(), size.rounds.to_string(), size.calls.to_string()])
        .env("LD_LIBRARY_PATH", folder.path()))?;
    println!("\n## A check through the C library\n");
    println!(
        "{} interleaved pairs of {} calls each, through the shared library, as a C program makes them. Goal: \
         `leadership_term_valid` within {GOAL_C} × `clock_gettime(CLOCK_BOOTTIME)`.\n",
        size.rounds, size.calls
    );
    show("c", &output, "bare clock", GOAL_C)
}

/// Runs the Python program on this etcd. Says so and measures nothing when there is no interpreter with the package.
///
/// # Errors
/// The program failed.
pub fn python_section(endpoint: &str, size: Size) -> Result<Vec<Value>> {
    println!("\n## A check through the Python package\n");
    let Some(python) = std::env::var_os(PYTHON) else {
        println!("Not measured: `make bench` builds the package and names its interpreter in `{PYTHON}`.");
        return Ok(Vec::new());
    };
    let output = run(Command::new(python)
        .arg(repository().join("python/bench/valid.py"))
        .args([endpoint.to_owned(), size.rounds.to_string(), size.calls.to_string()]))?;
    println!(
        "{} interleaved pairs of {} reads each. Goal: `term.valid` within {GOAL_PYTHON} × an empty property of the same \
         extension that reads the clock.\n",
        size.rounds, size.calls
    );
    show("python", &output, "empty property + clock", GOAL_PYTHON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_grouped_by_call_and_nothing_is_no_figure() -> Result<()> {
        let found = pairs("a 1.5 1\na 2 1\nb 3 2\n")?;
        assert_eq!(found, [("a".to_owned(), vec![(1.5, 1.0), (2.0, 1.0)]), ("b".to_owned(), vec![(3.0, 2.0)])]);
        assert!(pairs("").is_err() && pairs("a 1").is_err() && pairs("a b c").is_err());
        Ok(())
    }
}
