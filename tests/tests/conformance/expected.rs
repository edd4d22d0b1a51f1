//! Owns the files in `expected/`: reading what a case must answer on a version, and writing it when it is recorded.
//! Leaves running the cases to `harness`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use leadership_testkit::Version;

/// What each case answers, by version.
pub(crate) type Answers = BTreeMap<String, BTreeMap<Version, Vec<String>>>;

fn path(group: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/expected");
    folder.join(format!("{group}.txt"))
}

/// Reads a group's file: `## case` holds for all versions, `## case [3.4 3.5]` for those.
pub(crate) fn read(group: &str) -> Answers {
    let text = std::fs::read_to_string(path(group)).unwrap_or_default();
    let mut answers = Answers::new();
    let mut current: Option<(String, Vec<Version>)> = None;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let (case, versions) = title.split_once(" [").unwrap_or((title, ""));
            let named = |version: &Version| {
                versions.is_empty()
                    || versions
                        .trim_end_matches(']')
                        .split(' ')
                        .any(|name| name == version.to_string())
            };
            let versions: Vec<Version> = Version::ALL.into_iter().filter(named).collect();
            for version in &versions {
                answers
                    .entry(case.to_owned())
                    .or_default()
                    .insert(*version, Vec::new());
            }
            current = Some((case.to_owned(), versions));
        } else if let (Some((case, versions)), false) = (&current, line.is_empty()) {
            for version in versions {
                answers
                    .get_mut(case)
                    .unwrap()
                    .get_mut(version)
                    .unwrap()
                    .push(line.to_owned());
            }
        }
    }
    answers
}

/// Replaces what the file says of one version.
pub(crate) fn record(group: &str, version: Version, transcripts: &BTreeMap<String, Vec<String>>) {
    let broken = transcripts
        .iter()
        .find(|(_, lines)| lines.iter().any(|line| line.contains("(ours)")));
    assert!(
        broken.is_none(),
        "the connection to etcd {version} broke: {broken:#?}"
    );
    // The versions run side by side.
    static FILE: Mutex<()> = Mutex::new(());
    let _alone = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut answers = read(group);
    answers.retain(|case, _| transcripts.contains_key(case));
    for (case, lines) in transcripts {
        answers
            .entry(case.clone())
            .or_default()
            .insert(version, lines.clone());
    }
    let mut text = String::new();
    for (case, by_version) in &answers {
        let mut same: Vec<(Vec<Version>, &Vec<String>)> = Vec::new();
        for (version, lines) in by_version {
            match same.iter_mut().find(|(_, known)| *known == lines) {
                Some((versions, _)) => versions.push(*version),
                None => same.push((vec![*version], lines)),
            }
        }
        for (versions, lines) in same {
            let names: Vec<String> = versions.iter().map(ToString::to_string).collect();
            let of = if versions.len() == Version::ALL.len() {
                String::new()
            } else {
                format!(" [{}]", names.join(" "))
            };
            writeln!(text, "## {case}{of}").unwrap();
            for line in lines {
                writeln!(text, "{line}").unwrap();
            }
            text.push('\n');
        }
    }
    std::fs::write(path(group), text).unwrap();
}
