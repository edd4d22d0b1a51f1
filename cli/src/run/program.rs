//! The command to run: found before anybody campaigns for it, as a shell would find it.
//! Owns the two exit codes of a command that cannot be run.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Not there, as a shell says it.
const NOT_FOUND: u8 = 127;
/// There, and not to be run.
const NOT_EXECUTABLE: u8 = 126;

/// The exit code for a command that could not be started.
pub(super) fn code_of(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}

/// What stands in the way of running `command`, if anything does: the exit code and the words.
pub(super) fn check(command: &OsStr) -> Result<(), (u8, String)> {
    let path = std::env::var_os("PATH");
    check_in(command, path.as_deref())
}

fn check_in(command: &OsStr, path: Option<&OsStr>) -> Result<(), (u8, String)> {
    let show = command.display();
    let candidates: Vec<PathBuf> = match command.as_bytes().contains(&b'/') {
        true => vec![command.into()],
        false => std::env::split_paths(path.unwrap_or_default()).map(|folder| folder.join(command)).collect(),
    };
    let there: Vec<_> = candidates.iter().filter(|file| file.exists()).collect();
    if command.is_empty() || there.is_empty() {
        return Err((NOT_FOUND, format!("{show}: command not found")));
    }
    let runs = |file: &&PathBuf| file.is_file() && access(file.as_path() as &Path, Access::EXEC_OK).is_ok();
    match there.into_iter().find(runs) {
        Some(_) => Ok(()),
        None => Err((NOT_EXECUTABLE, format!("{show}: cannot be executed"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test's way to fail
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        let code = |command: &str, path: &str| check_in(command.as_ref(), Some(path.as_ref())).err().map(|(code, _)| code);
        assert_eq!(code("sh", "/nonexistent:/bin"), None);
        assert_eq!(code("sh", "/nonexistent"), Some(127));
        assert_eq!(code("", "/bin"), Some(127));
        assert_eq!(code("/bin/sh", ""), None);
        assert_eq!(code("/bin", ""), Some(126), "a folder");
        let plain = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(code(plain.path().to_str().unwrap(), ""), Some(126), "not executable");
        assert_eq!(code("/nonexistent/sh", "/bin"), Some(127));
    }
}
