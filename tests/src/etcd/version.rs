//! Which etcd a live test runs: the minor versions, their pinned releases and where the program is found.
//! It starts nothing (`member.rs`); `tests/etcd/` owns the pins, `.ci/setup` brings etcd 3.4.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A minor version of etcd. Every one in use is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// etcd 3.4, from the distribution's package `etcd-server` (its Go module has no release that `go` can build).
    V3_4,
    /// etcd 3.5, built from `tests/etcd/3.5.*`.
    V3_5,
    /// etcd 3.6, built from `tests/etcd/3.6.*`.
    V3_6,
    /// etcd 3.7, built from `tests/etcd/3.7.*`.
    V3_7,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 4] = [Version::V3_4, Version::V3_5, Version::V3_6, Version::V3_7];

    /// The newest: for tests in which the version does not matter.
    pub const LATEST: Version = Version::V3_7;

    /// `"3.4"`, `"3.5"` …: what the version that a member reports begins with.
    #[must_use]
    pub fn minor(self) -> &'static str {
        match self {
            Version::V3_4 => "3.4",
            Version::V3_5 => "3.5",
            Version::V3_6 => "3.6",
            Version::V3_7 => "3.7",
        }
    }

    /// Is `reported` (as in `Status.version`, e.g. `"3.5.35"`) a release of this minor version?
    #[must_use]
    pub fn matches(self, reported: &str) -> bool {
        reported
            .strip_prefix(self.minor())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The program. The error says which command brings it; a live test fails with it, it never passes for want of an etcd.
    pub fn binary(self) -> Result<PathBuf, String> {
        if self == Version::V3_4 {
            static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
            return FOUND.get_or_init(find_installed_3_4).clone();
        }
        let release = self.pinned_release()?;
        let path = repository().join(".cache/etcd").join(&release).join("etcd");
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!("etcd {release} is not built yet: run `make etcd`"))
        }
    }

    /// The release that `tests/etcd/` pins: the name of the folder. There is one per minor version.
    fn pinned_release(self) -> Result<String, String> {
        let folder = repository().join("tests/etcd");
        let entries = std::fs::read_dir(&folder)
            .map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
        let mut found: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.len() > self.minor().len() && self.matches(name))
            .collect();
        match (found.pop(), found.pop()) {
            (Some(release), None) => Ok(release),
            (None, _) => Err(format!("tests/etcd has no folder for etcd {self}")),
            (Some(a), Some(b)) => Err(format!("tests/etcd pins etcd {self} twice: {a} and {b}")),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.minor())
    }
}

fn repository() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder)
}

/// `LEADERSHIP_ETCD_3_4` names one where the distribution ships another version; else what `.ci/setup` unpacked, what
/// the search path has, and where Debian's package puts it. `.ci/setup` looks in the same places.
fn find_installed_3_4() -> Result<PathBuf, String> {
    let mut candidates = Vec::new();
    if let Some(named) = std::env::var_os("LEADERSHIP_ETCD_3_4") {
        candidates.push(PathBuf::from(named));
    } else {
        candidates.push(repository().join(".cache/etcd/3.4/etcd"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        candidates.extend(std::env::split_paths(&path).map(|folder| folder.join("etcd")));
        candidates.push(PathBuf::from("/usr/bin/etcd"));
    }
    let mut others = String::new();
    for candidate in candidates.iter().filter(|path| path.is_file()) {
        match reported_version(candidate) {
            Ok(version) if Version::V3_4.matches(&version) => return Ok(candidate.clone()),
            Ok(version) => others.push_str(&format!("; {} is {version}", candidate.display())),
            Err(e) => others.push_str(&format!("; {}: {e}", candidate.display())),
        }
    }
    Err(format!(
        "etcd 3.4 is not installed: run `.ci/setup test` (it unpacks the package etcd-server), or name one in LEADERSHIP_ETCD_3_4{others}"
    ))
}

/// What `etcd --version` says in its first line, "etcd Version: 3.4.23".
fn reported_version(program: &Path) -> Result<String, String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("etcd Version: "))
        .map(|version| version.trim().to_owned())
        .ok_or_else(|| "does not say its version".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_version_matches_its_releases_only() {
        assert!(Version::V3_5.matches("3.5.35"));
        assert!(Version::V3_5.matches("3.5"));
        assert!(!Version::V3_5.matches("3.50.1"));
        assert!(!Version::V3_5.matches("13.5.1"));
        assert!(!Version::V3_5.matches("3.4.23"));
    }
}
