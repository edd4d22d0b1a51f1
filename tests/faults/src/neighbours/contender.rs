//! One contender as a process: started, stopped, continued, killed, sent home; and when it said that it leads.
//! Owns that; the peers' programs are `tests/neighbours` and etcdctl, ours is this crate's own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use leadership_core::Clock;
use leadership_tests::etcd::{Version, spawn_for_life};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::elector::Candidacy;
use crate::journal::{Claim, Journal};

/// Of every contender that can be told one.
pub const TTL: Duration = Duration::from_secs(2);

/// Whose work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, on a single key.
    Elector,
    /// Ours, in a queue.
    Queue,
    /// The single-key protocol on etcd's Go client, as election packages speak it (`tests/neighbours/reference.go`).
    Reference,
    /// etcd's Go package `concurrency`, a queue.
    Concurrency,
    /// `etcdctl elect`, a queue. Its lease is of 60 s, and it cannot be told another.
    EtcdctlElect,
    /// `etcdctl lock`, a queue.
    EtcdctlLock,
}

impl Kind {
    /// Judged by what it says, too.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Kind::Elector | Kind::Queue)
    }

    fn command(self, program: &Path, endpoint: &str, key: &str, name: &str) -> Result<Command, String> {
        let seconds = TTL.as_secs().to_string();
        let (program, arguments): (PathBuf, Vec<&str>) = match self {
            Kind::Elector | Kind::Queue => {
                let orders = Candidacy {
                    endpoint: endpoint.to_owned(),
                    key: key.to_owned(),
                    queue: self == Kind::Queue,
                    value: name.to_owned(),
                    ttl: TTL,
                };
                let mut command = bound(program);
                command.arg("elector").args(orders.arguments());
                return Ok(command);
            }
            Kind::Reference | Kind::Concurrency => {
                let job = if self == Kind::Reference { "reference" } else { "concurrency" };
                let arguments = vec!["-endpoint", endpoint, "-key", key, "-value", name, "-ttl", &seconds, job];
                (neighbour()?, arguments)
            }
            Kind::EtcdctlElect => (etcdctl()?, vec!["--endpoints", endpoint, "elect", key, name]),
            Kind::EtcdctlLock => (etcdctl()?, vec!["--endpoints", endpoint, "lock", key, "--ttl", &seconds]),
        };
        let mut command = bound(&program);
        command.args(arguments);
        Ok(command)
    }
}

/// It dies with this process, however that ends; and knows nothing of the tester's own settings.
fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

fn neighbour() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no repository")?;
    built(root.join(".cache/neighbours/neighbour"), "make neighbours-build")
}

fn etcdctl() -> Result<PathBuf, String> {
    built(Version::V3_7.binary()?.with_file_name("etcdctl"), "make etcd")
}

fn built(path: PathBuf, by: &str) -> Result<PathBuf, String> {
    if path.is_file() { Ok(path) } else { Err(format!("{} is not built yet: run `{by}`", path.display())) }
}

/// A reign as a contender saw it. Times are `boot_ns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belief {
    /// The key that made it leader.
    pub key: String,
    /// The revision of its creation, where the contender says it.
    pub create: Option<i64>,
    /// If it no longer believes so: when a peer said that, or when one of ours said yes for the last time.
    pub until: Option<u64>,
}

/// What a peer has said.
type Beliefs = Arc<Mutex<Vec<Belief>>>;

fn lock(beliefs: &Beliefs) -> MutexGuard<'_, Vec<Belief>> {
    beliefs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One that contends, or is kept from it.
pub struct Contender {
    /// Its name, and its value in the election.
    pub name: String,
    /// Whose work it is.
    pub kind: Kind,
    command: Box<dyn Fn() -> Result<Command, String> + Send>,
    journal: Journal,
    beliefs: Beliefs,
    process: Option<Process>,
    /// For the records of ours.
    key: String,
}

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

impl Contender {
    /// Starts it. `program` is this crate's own, `key` the leader key or the prefix of the queue.
    pub fn start(kind: Kind, program: &Path, endpoint: &str, key: &str, name: &str) -> Result<Contender, String> {
        let words = (program.to_owned(), endpoint.to_owned(), key.to_owned(), name.to_owned());
        let mut contender = Contender {
            name: name.to_owned(),
            kind,
            command: Box::new(move || kind.command(&words.0, &words.1, &words.2, &words.3)),
            journal: Journal::default(),
            beliefs: Beliefs::default(),
            process: None,
            key: key.to_owned(),
        };
        contender.run()?;
        Ok(contender)
    }

    /// Starts it (again) if it does not run: a peer whose session has ended may end with it.
    pub fn run(&mut self) -> Result<(), String> {
        if let Some(process) = &mut self.process {
            if matches!(process.child.try_wait(), Ok(None)) {
                return Ok(());
            }
            self.bury();
        }
        let mut command = (self.command)()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = spawn_for_life(command).map_err(|e| format!("cannot start {}: {e}", self.name))?;
        let (input, output) = (child.stdin.take(), child.stdout.take().ok_or("a process without output")?);
        let output = BufReader::new(output);
        let reader = if self.kind.is_ours() {
            let (journal, name) = (self.journal.clone(), self.name.clone());
            std::thread::spawn(move || journal.read(&name, output, drop))
        } else {
            let (beliefs, prefix) = (self.beliefs.clone(), self.key.clone());
            std::thread::spawn(move || hear(&beliefs, &prefix, output))
        };
        self.process = Some(Process { child, input, reader: Some(reader) });
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        let child = &self.process.as_ref().ok_or(format!("{} does not run", self.name))?.child;
        kill_process(Pid::from_child(child), signal).map_err(|e| format!("{}: {e}", self.name))
    }

    /// SIGSTOP.
    pub fn stop(&self) -> Result<(), String> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn cont(&self) -> Result<(), String> {
        self.signal(Signal::CONT)
    }

    /// SIGKILL; what it had said stays.
    pub fn kill(&mut self) {
        self.bury();
    }

    /// Asks it to end in order: ours by the end of its input, a peer by SIGTERM.
    pub fn send_home(&mut self) -> Result<(), String> {
        if !self.kind.is_ours() {
            return self.signal(Signal::TERM);
        }
        drop(self.process.as_mut().and_then(|process| process.input.take()));
        Ok(())
    }

    /// Has its process ended?
    pub fn is_gone(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| !matches!(process.child.try_wait(), Ok(None)))
    }

    fn bury(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
            // Nothing of the dead one may be read once a new one speaks.
            if let Some(reader) = process.reader.take() {
                let _ = reader.join();
            }
        }
    }

    /// The terms of one of ours.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        self.journal.said().claims.values().cloned().collect()
    }

    /// Everything it believed, of whichever kind it is.
    #[must_use]
    pub fn beliefs(&self) -> Vec<Belief> {
        if self.kind.is_ours() {
            let belief = |claim: Claim| Belief {
                key: claim.key,
                create: Some(claim.token),
                until: claim.ended.map(|_| claim.last_yes),
            };
            self.claims().into_iter().map(belief).collect()
        } else {
            lock(&self.beliefs).clone()
        }
    }

    /// Does it say that it leads by this key, created then?
    #[must_use]
    pub fn says_it_leads(&self, key: &str, create: i64) -> bool {
        let leads = |belief: &Belief| belief.until.is_none() && belief.key == key && belief.create.is_none_or(|of| of == create);
        self.beliefs().iter().any(leads)
    }

    /// The last that failed, of ours.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        self.journal.said().failures.last().map(|(_, what)| what.clone())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.bury();
    }
}

/// Reads a peer's output to its end: the JSON lines of our Go program, or etcdctl's key, which it prints when it leads.
fn hear(beliefs: &Beliefs, prefix: &str, output: impl BufRead) {
    let now = || Clock::boot().now().0;
    for line in output.lines().map_while(Result::ok) {
        if line.starts_with(&format!("{prefix}/")) {
            lock(beliefs).push(Belief { key: line, create: None, until: None });
            continue;
        }
        let Ok(said) = serde_json::from_str::<Value>(&line) else { continue };
        let (Some(key), create) = (said.get("key").and_then(Value::as_str), said.get("create").and_then(Value::as_i64)) else {
            continue;
        };
        if said.get("is").and_then(Value::as_str) == Some("claims") {
            lock(beliefs).push(Belief { key: key.to_owned(), create, until: None });
        } else {
            let at = said.get("at").and_then(Value::as_u64).unwrap_or_else(now);
            let mut beliefs = lock(beliefs);
            let ended = beliefs.iter_mut().filter(|belief| belief.create == create && belief.until.is_none());
            ended.for_each(|belief| belief.until = Some(at));
        }
    }
    lock(beliefs).iter_mut().filter(|belief| belief.until.is_none()).for_each(|belief| belief.until = Some(now()));
}
