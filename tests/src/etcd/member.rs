//! One etcd process: started, stopped, continued, killed, terminated, always ended with its owner.
//! Owns the process and its signals; which flags it gets and what the cluster is, `etcd.rs` says.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a condition outside this process is looked at again. Short beside everything that is waited for.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// An orderly etcd 3.5–3.7 keeps open streams for 7 s (`ETCD-CLIENT`: rolling restarts); the rest is for a busy machine.
const TERMINATE_WITHIN: Duration = Duration::from_secs(30);

/// A member of an [`Etcd`](super::Etcd). All methods take `&self`, so that tasks of a test can share it.
#[derive(Debug)]
pub struct Member {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) log: PathBuf,
    pub(super) endpoint: String,
    pub(super) id: OnceLock<u64>,
    process: Mutex<Process>,
}

#[derive(Debug, Default)]
struct Process {
    child: Option<Child>,
    stopped: bool,
}

/// What a member is doing, as far as we did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It was stopped by [`Member::stop_signal`]: it accepts connections and never answers.
    Stopped,
    /// There is no process.
    Down,
}

impl Member {
    pub(super) fn new(program: PathBuf, args: Vec<String>, log: PathBuf, endpoint: String) -> Self {
        Member {
            program,
            args,
            log,
            endpoint,
            id: OnceLock::new(),
            process: Mutex::default(),
        }
    }

    /// `"127.0.0.1:port"`. The same before and after a restart.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its id in the cluster, once it has served; the same after a restart.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.id.get().copied()
    }

    /// The process id, if there is a process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.lock().child.as_ref().map(Child::id)
    }

    /// What it is doing. A process that ended by itself counts as [`State::Down`].
    #[must_use]
    pub fn state(&self) -> State {
        let mut process = self.lock();
        match process.child.as_mut().map(Child::try_wait) {
            None | Some(Ok(Some(_))) => State::Down,
            Some(_) if process.stopped => State::Stopped,
            Some(_) => State::Running,
        }
    }

    /// SIGSTOP: as a machine that hangs. It still accepts connections and answers none. Returns once it has stopped.
    pub fn stop_signal(&self) -> Result<(), String> {
        let mut process = self.lock();
        signal(&process, Signal::STOP)?;
        process.stopped = true;
        // The signal is delivered after the call returns; a test that goes on must find every thread stopped.
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if process.child.as_ref().is_some_and(all_threads_stopped) {
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(format!(
            "etcd on {} did not stop within 5 s of SIGSTOP",
            self.endpoint
        ))
    }

    /// SIGCONT: it goes on where it was stopped.
    pub fn cont(&self) -> Result<(), String> {
        let mut process = self.lock();
        signal(&process, Signal::CONT)?;
        process.stopped = false;
        Ok(())
    }

    /// Removes its data. It must be down.
    pub(super) fn empty(&self) -> Result<(), String> {
        let data = self.args.iter().find_map(|arg| arg.strip_prefix("--data-dir="));
        let data = data.ok_or("a member without a data folder")?;
        std::fs::remove_dir_all(data).map_err(|e| format!("cannot empty {data}: {e}"))
    }

    /// SIGKILL, and waits until the process is gone. Nothing happens when there is none. Also ends a stopped one.
    pub async fn kill(&self) -> Result<(), String> {
        self.kill_now();
        Ok(())
    }

    /// SIGTERM, and waits until the process is gone: it moves its leadership and ends streams in order (7 s with open ones).
    pub async fn terminate(&self) -> Result<(), String> {
        {
            let process = self.lock();
            if process.stopped {
                return Err(format!(
                    "etcd on {} is stopped: SIGTERM would wait for cont()",
                    self.endpoint
                ));
            }
            signal(&process, Signal::TERM)?;
        }
        let deadline = Instant::now() + TERMINATE_WITHIN;
        while self.state() != State::Down {
            if Instant::now() > deadline {
                return Err(format!(
                    "etcd on {} did not end within {TERMINATE_WITHIN:?} of SIGTERM",
                    self.endpoint
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        self.kill_now(); // reaps it
        Ok(())
    }

    /// Starts the process, with the data and the port it had. Does not wait until it serves.
    pub(super) fn start(&self) -> Result<(), String> {
        let mut process = self.lock();
        if let Some(child) = process.child.as_mut() {
            match child.try_wait() {
                Ok(Some(_)) => {}
                _ => return Err(format!("etcd on {} runs already", self.endpoint)),
            }
        }
        let child = self
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", self.program.display()))?;
        *process = Process {
            child: Some(child),
            stopped: false,
        };
        Ok(())
    }

    /// How the process ended, if it did: for a start that fails.
    pub(super) fn exited(&self) -> Option<ExitStatus> {
        self.lock()
            .child
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all.get(all.len().saturating_sub(lines)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Kills and reaps. A killed process is gone within milliseconds, stopped or not, so this may block.
    pub(super) fn kill_now(&self) {
        let mut process = self.lock();
        if let Some(mut child) = process.child.take() {
            // An error means that it ended by itself; waiting reaps it in either case.
            let _ = child.kill();
            let _ = child.wait();
        }
        process.stopped = false;
    }

    fn spawn(&self) -> io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        // `setpriv` sets the parent-death signal and becomes etcd (same pid): should this process die without its
        // destructors, its members die too.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.program)
            .args(&self.args);
        // A user's ETCD_* variables are flags to etcd; ours are all on the command line.
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        // etcd 3.4 refuses to run elsewhere than on amd64 without it.
        if cfg!(target_arch = "aarch64") {
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        spawn_for_life(command)
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        // A test that panicked while holding it leaves a process to be ended all the same.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill_now();
    }
}

fn signal(process: &Process, signal: Signal) -> Result<(), String> {
    // The child is not reaped while we hold it, so its pid cannot be another's.
    let child = process.child.as_ref().ok_or("this member is down")?;
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("a process id out of range")?;
    kill_process(pid, signal)
        .map_err(|e| format!("cannot signal etcd (process {}): {e}", child.id()))
}

/// Is every thread of it in state `T` (stopped)? A thread that ends meanwhile counts as stopped.
fn all_threads_stopped(child: &Child) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", child.id())) else {
        return false;
    };
    threads.flatten().all(|thread| {
        let Ok(stat) = std::fs::read_to_string(thread.path().join("stat")) else {
            return true;
        };
        // "pid (name) S …": the name may hold anything, also ')'.
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 't', 'Z', 'X']))
    })
}

/// A command to be started, and where the child goes.
type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a command from a thread that lives as long as this process: the parent-death signal fires when the *thread*
/// that started the child ends, and a test's thread (or a blocking-pool thread) may end before the member should.
///
/// The command has to ask for the signal itself: `setpriv --pdeathsig KILL -- PROGRAM …`.
pub fn spawn_for_life(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts etcd is gone");
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Order>();
        // Should it not start, its receiver is dropped and every order fails with `gone`.
        let _ = std::thread::Builder::new()
            .name("etcd-starter".to_owned())
            .spawn(move || {
                for (mut command, reply) in receiver {
                    let _ = reply.send(command.spawn());
                }
            });
        Mutex::new(sender)
    });
    let (reply, child) = mpsc::channel();
    orders
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
