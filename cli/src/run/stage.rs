//! The last step before the command: in the process that becomes it, between fork and exec, without any `unsafe`.
//! Owns that step; the guardian starts it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::output::to_stderr;

/// What this process is called until it becomes the command; the guardian's process id follows, then the command.
pub(crate) const NAME: &str = "leadership-stage";

/// Becomes the command. Returns only if that cannot be: 127 if it is not there, 126 if it cannot be run.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments;
    let guardian = arguments.next().and_then(|id| id.to_str()?.parse::<i32>().ok());
    let Some(command) = arguments.next() else { return ExitCode::from(2) };
    // An extra: the guardian kills the whole tree, this kills its root if the guardian is killed. The guardian's one
    // thread lives as long as it does.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid().map(|id| id.as_raw_nonzero().get()) != guardian {
        return ExitCode::from(1); // it died before the line above
    }
    let error = Command::new(&command).args(arguments).exec();
    to_stderr(&format!("leadership: {}: {error}", command.display()));
    ExitCode::from(super::program::code_of(&error))
}
