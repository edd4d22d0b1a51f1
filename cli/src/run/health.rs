//! The user's health command: run by `/bin/sh -c`, several times a TTL, in a group of its own, with a time limit.
//! Owns its process; what a failure means for the term is the elector's.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid};

/// Who of this process's children is the health command's now: not to be collected by anybody else.
#[derive(Debug, Clone, Default)]
pub(super) struct Checked(Arc<Mutex<Option<i32>>>);

impl Checked {
    /// The child, held as it is until the guard is dropped.
    pub(super) fn child(&self) -> MutexGuard<'_, Option<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the command once. An error says what is wrong.
    pub(super) fn run(&self, command: &str, environment: &[(&str, String)], limit: Duration) -> Result<(), String> {
        let id = {
            let mut child = self.child();
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", command]).process_group(0).stdin(Stdio::null());
            shell.envs(environment.iter().map(|(name, value)| (name, value)));
            let started = shell.spawn().map_err(|error| format!("cannot run {command:?}: {error}"))?;
            *child = i32::try_from(started.id()).ok();
            child.and_then(Pid::from_raw)
        };
        let ended = id.ok_or_else(|| "no process id".to_owned()).and_then(|id| wait(id, command, limit));
        *self.child() = None;
        ended
    }
}

fn wait(id: Pid, command: &str, limit: Duration) -> Result<(), String> {
    let no = |error: rustix::io::Errno| format!("{command:?}: {error}");
    let process = pidfd_open(id, PidfdFlags::empty()).map_err(no)?;
    let limit_spec = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let in_time = matches!(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit_spec)), Ok(1..));
    let _ = kill_process_group(id, Signal::KILL); // what it left behind, and itself if it is late
    let status = waitpid(Some(id), WaitOptions::empty()).map_err(no)?;
    match status.and_then(|(_, status)| status.exit_status()) {
        _ if !in_time => Err(format!("{command:?} did not end within {limit:?}")),
        Some(0) => Ok(()),
        Some(code) => Err(format!("{command:?} ended with {code}")),
        None => Err(format!("{command:?} was killed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_what_is_wrong_and_never_takes_longer_than_its_time() {
        let check = |command, limit| Checked::default().run(command, &[("WHO", "me".to_owned())], limit);
        let long = Duration::from_secs(20);
        assert_eq!(check("test \"$WHO\" = me", long), Ok(()));
        assert_eq!(check("exit 3", long), Err("\"exit 3\" ended with 3".to_owned()));
        let late = check("sleep 60 & sleep 60", Duration::from_millis(20));
        assert!(late.is_err_and(|why| why.contains("did not end within 20ms")));
    }
}
