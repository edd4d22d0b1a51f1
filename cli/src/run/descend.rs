//! All that a process has started, whatever became of it: daemons are found, too, for they fall to the next subreaper.
//! Owns finding and killing them; when that is due, others decide.

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal, kill_process};

/// A process, by what the kernel says of it.
struct Seen {
    id: i32,
    parent: i32,
    /// It has ended, and its parent has not collected it yet.
    ended: bool,
}

/// `/proc/ID/stat`: the name in it may hold any byte, parentheses too.
fn parent_and_state(stat: &[u8]) -> Option<(i32, u8)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?.bytes().next()?;
    Some((words.next()?.parse().ok()?, state))
}

fn all() -> Vec<Seen> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: i32| {
        let (parent, state) = parent_and_state(&std::fs::read(format!("/proc/{id}/stat")).ok()?)?;
        Some(Seen {
            id,
            parent,
            ended: matches!(state, b'Z' | b'X'),
        })
    })
    .collect()
}

/// Every living descendant of this process but `spared` and what those have started.
pub(super) fn descendants(spared: &[i32]) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for seen in all().into_iter().filter(|seen| !seen.ended) {
        children.entry(seen.parent).or_default().push(seen.id);
    }
    let (mut found, mut next) = (Vec::new(), vec![own_id()]);
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            if !spared.contains(&child) {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

fn own_id() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Children of this process that have ended and were not collected.
pub(super) fn ended_children() -> Vec<i32> {
    let own = own_id();
    all().into_iter().filter(|seen| seen.ended && seen.parent == own).map(|seen| seen.id).collect()
}

/// Sends a signal to each of these; who has gone meanwhile has gone.
pub(super) fn signal(ids: &[i32], signal: Signal) {
    for id in ids.iter().filter_map(|id| Pid::from_raw(*id)) {
        let _ = kill_process(id, signal);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test's way to fail
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        assert_eq!(parent_and_state(b"12 (a) S 1) R 34 12 12"), Some((34, b'R')));
        assert_eq!(parent_and_state(b"12 (a"), None);
    }

    #[test]
    fn a_child_is_found_and_can_be_spared() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        assert!(descendants(&[]).contains(&id));
        assert!(!descendants(&[id]).contains(&id));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(&[]).contains(&id));
    }
}
