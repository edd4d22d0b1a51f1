//! A child process of the demo: this very program with another command.
//! Owns its start, its signals and its end, by its id; what its lines mean is `stage`'s.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::failure::Failure;

/// What a child said: a line of JSON, or `None` when it ended.
pub(super) type Said = Option<serde_json::Value>;

/// A child, killed when this is dropped.
pub(super) struct Process {
    child: Child,
    /// Ends the child when the demo is gone, however it went.
    _stdin: Option<tokio::process::ChildStdin>,
}

impl Process {
    fn start(mut command: Command, mut told: impl FnMut(Said) + Send + 'static) -> Result<Process, Failure> {
        let no = |error: std::io::Error| Failure::other(format!("cannot start a child: {error}"));
        let mut child = command
            // A group of its own: Ctrl-C in the terminal is the demo's to handle.
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its warnings are those of this process three times over; what stops it, its last event says.
            .stderr(Stdio::null())
            .spawn()
            .map_err(no)?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| Failure::other("a child without output"))?;
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(event) = serde_json::from_str(&line) {
                    told(Some(event));
                }
            }
            told(None);
        });
        Ok(Process { child, _stdin: stdin })
    }

    fn command(arguments: &[&str]) -> Result<Command, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::other(format!("where am I? {error}")))?;
        let mut command = Command::new(program);
        command.args(arguments).arg("--json").arg("--stdin");
        Ok(command)
    }

    /// The in-memory etcd, and where it listens.
    pub(super) async fn test_server() -> Result<(Process, String), Failure> {
        let (told, mut said) = mpsc::unbounded_channel();
        let command = Process::command(&["test-server", "--listen", "127.0.0.1:0"])?;
        let server = Process::start(command, move |line| drop(told.send(line)))?;
        let first = tokio::time::timeout(super::SOON, said.recv()).await;
        match first.ok().flatten().flatten().as_ref().and_then(|event| event.get("endpoint")?.as_str()) {
            Some(endpoint) => Ok((server, endpoint.to_owned())),
            None => Err(Failure::other("the test server did not start")),
        }
    }

    /// A candidate called `name`.
    pub(super) fn candidate(
        name: &str,
        key: &str,
        journal: &str,
        connection: &Connection,
        told: impl FnMut(Said) + Send + 'static,
    ) -> Result<Process, Failure> {
        let ttl = format!("{}s", super::TTL.as_secs());
        let mut command = Process::command(&["elect", key, "--value", name, "--ttl", &ttl, "--demo-write", journal])?;
        command.args(["--endpoints", &connection.settings.endpoints.join(",")]);
        if let Some((user, password)) = &connection.user {
            command.args(["--user", user]).env("LEADERSHIP_PASSWORD", password); // other users can read arguments
        }
        if let Some(ca) = &connection.settings.ca {
            command.args(["--cacert", ca]);
        }
        if let (Some(cert), Some(key)) = (&connection.settings.cert, &connection.settings.key) {
            command.args(["--cert", cert, "--key", key]);
        }
        Process::start(command, told)
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.ok_or_else(|| Failure::other("a signal to a child that has ended"))?;
        kill_process(id, signal).map_err(|error| Failure::other(format!("a signal to a child: {error}")))
    }

    /// Waits for its end: its exit code, `None` if a signal ended it.
    pub(super) async fn wait(&mut self, limit: Duration) -> Result<Option<i32>, Failure> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status.code()),
            Ok(Err(error)) => Err(Failure::other(format!("waiting for a child: {error}"))),
            Err(_) => Err(Failure::other("a child did not end")),
        }
    }

    /// Ends it, in order or not.
    pub(super) async fn end(mut self) {
        let asked = self.signal(Signal::CONT).and_then(|()| self.signal(Signal::TERM));
        if asked.is_err() || self.wait(super::SOON).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
