//! The real command as a child process, and waiting for what it says. Every wait has a deadline.
//! Owns starting, reading and ending children by their id; what they should say is each test's.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Waits until something is so.
pub(crate) fn until(what: impl std::fmt::Debug, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "not in time: {what:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The command, with nothing of the tester's own environment that it reads.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadership"));
    for (name, _) in std::env::vars() {
        if name.starts_with("LEADERSHIP_") || name.starts_with("ETCDCTL_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A child, killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (told, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            // Ends, and closes the pipe, when the test no longer listens.
            for line in stdout.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    /// With a terminal for its output; what is drawn on it comes as lines.
    pub(crate) fn on_a_terminal(mut command: Command) -> Running {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let other = std::fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let child = command.stdout(other).stderr(Stdio::piped()).spawn().unwrap();
        let (told, lines) = channel();
        let screen = BufReader::new(std::fs::File::from(terminal));
        std::thread::spawn(move || {
            for line in screen.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line of output in time")
    }

    pub(crate) fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The next event, which must be this one.
    pub(crate) fn event(&self, name: &str) -> Value {
        let line = self.line();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], name, "{line}");
        event
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Its end, and what it said on standard error.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let until = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "the command did not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }
}

/// The test server as a process.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) endpoint: String,
}

impl Server {
    pub(crate) fn start() -> Server {
        let mut command = command();
        command.args(["test-server", "--listen", "127.0.0.1:0", "--json"]);
        let process = Running::start(command);
        let endpoint = process.event("listening")["endpoint"].as_str().unwrap().to_owned();
        Server { process, endpoint }
    }

    /// `leadership --endpoints … ARGUMENTS`, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        command().args(["--endpoints", &self.endpoint]).args(arguments).output().unwrap()
    }

    /// The same, to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command();
        command.args(["--endpoints", &self.endpoint]).args(arguments);
        command
    }

    /// The same, in the background.
    pub(crate) fn start_command(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// A stranger writes a key.
    pub(crate) fn put(&self, key: &str, value: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = etcd_client::Client::connect([&self.endpoint], None).await.unwrap();
            client.put(key, value, None).await.unwrap();
        });
    }

    /// The keys that begin with `prefix`.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = etcd_client::Client::connect([&self.endpoint], None).await.unwrap();
            let all = etcd_client::GetOptions::new().with_prefix().with_keys_only();
            let got = client.get(prefix, Some(all)).await.unwrap();
            got.kvs().iter().map(|kv| kv.key_str().unwrap().to_owned()).collect()
        })
    }

    /// A stranger deletes a key.
    pub(crate) fn delete(&self, key: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deleted = runtime.block_on(async {
            let mut client = etcd_client::Client::connect([&self.endpoint], None).await.unwrap();
            client.delete(key, None).await.unwrap().deleted()
        });
        assert_eq!(deleted, 1, "{key} was not there");
    }
}
