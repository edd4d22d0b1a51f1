//! The guardian: a process between the wrapper and the command, that outlives both by milliseconds and ends the group in
//! time, whatever has become of the wrapper (DESIGN §10). Owns the group; the term is the wrapper's.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use leadership_core::{BootTime, Clock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpid, kill_process_group, set_child_subreaper, setsid, wait,
};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::link::{self, Files, News, Order};
use super::plan::{Act, Plan};
use super::{descend, orphan, stage};
use crate::args::{Global, Run};
use crate::output::to_stderr;

/// What this process is called.
pub(crate) const NAME: &str = "leadership-guardian";
/// Between two looks for what has still to be killed: at first, and at most.
const KILL_AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Where the guardian stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not told to start yet.
    Waiting,
    /// The hook for being elected runs.
    Elected,
    /// The command runs, or what it has left.
    Running,
    /// The hook for the loss runs.
    Lost,
    /// Nothing is left.
    Gone,
}

struct Guardian<'a> {
    run: &'a Run,
    clock: Clock,
    socket: UnixStream,
    /// The beginning of the wrapper's next word.
    heard: Vec<u8>,
    files: Files,
    timer: OwnedFd,
    children: UnixStream,
    plan: Plan,
    phase: Phase,
    /// The root of the group, until it has ended.
    root: Option<Pid>,
    /// The group's number, also after its root has ended.
    group: Option<Pid>,
    /// When the hook that runs has had its time.
    hook_until: Option<BootTime>,
    /// The group was told to end.
    ending: bool,
    /// Everything is being killed; the next time after this.
    killing: Option<Duration>,
    /// The wrapper is dead.
    orphaned: bool,
}

/// Runs to the end of the group; the wrapper has started this process for it.
pub(crate) fn main(global: &Global, run: &Run) -> ExitCode {
    let socket = match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => UnixStream::from(socket),
        Err(error) => return failed(&error),
    };
    let orphaned = match Guardian::new(run, socket).and_then(|mut guardian| guardian.guard()) {
        Ok(orphaned) => orphaned,
        Err(error) => return failed(&error),
    };
    if orphaned {
        // Its group is gone: that the key need not wait for its lease is the guardian's last service.
        orphan::release(global, run.elect.queue);
    }
    ExitCode::SUCCESS
}

fn failed(error: &std::io::Error) -> ExitCode {
    to_stderr(&format!("leadership: guardian: {error}"));
    ExitCode::FAILURE
}

impl Guardian<'_> {
    fn new(run: &Run, socket: UnixStream) -> std::io::Result<Guardian<'_>> {
        setsid()?; // Ctrl-C in a terminal is the wrapper's
        set_child_subreaper(Some(getpid()))?;
        // Those that a service manager or a terminal sends to everybody: the wrapper says what becomes of them.
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2] {
            signal_hook::flag::register(signal.as_raw(), Arc::new(AtomicBool::new(false)))?;
        }
        let (children, told) = UnixStream::pair()?;
        children.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(Signal::CHILD.as_raw(), told)?;
        let files = link::receive_files(&socket)?;
        socket.set_nonblocking(true)?;
        Ok(Guardian {
            run,
            clock: Clock::boot(),
            socket,
            heard: Vec::new(),
            files,
            timer: timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            children,
            plan: Plan::new(BootTime(u64::MAX), Duration::ZERO, Duration::ZERO),
            phase: Phase::Waiting,
            root: None,
            group: None,
            hook_until: None,
            ending: false,
            killing: None,
            orphaned: false,
        })
    }

    /// Until nothing is left. True if the wrapper died meanwhile.
    fn guard(&mut self) -> std::io::Result<bool> {
        loop {
            self.listen();
            self.reap();
            self.look_at_the_time();
            if self.phase == Phase::Gone {
                return Ok(self.orphaned);
            }
            self.sleep()?;
        }
    }

    fn tell(&self, news: News) {
        // The wrapper may be dead; then nobody listens, and nothing depends on it.
        let _ = rustix::net::send(&self.socket, news.line().as_bytes(), rustix::net::SendFlags::NOSIGNAL);
    }

    /// Until something happens, or has to.
    fn sleep(&self) -> std::io::Result<()> {
        let wake = self.plan.next().into_iter().chain(self.hook_until).min();
        let (at, never) = (wake.unwrap_or_default().0.max(1), wake.is_none_or(|wake| wake.0 == u64::MAX));
        let spec = Itimerspec {
            it_interval: Timespec::default(),
            it_value: match never {
                true => Timespec::default(), // disarmed
                false => Timespec {
                    tv_sec: i64::try_from(at / 1_000_000_000).unwrap_or(i64::MAX),
                    tv_nsec: i64::try_from(at % 1_000_000_000).unwrap_or(0),
                },
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        let mut files = vec![
            PollFd::new(&self.timer, PollFlags::IN),
            PollFd::new(&self.children, PollFlags::IN),
        ];
        if !self.orphaned {
            files.push(PollFd::new(&self.socket, PollFlags::IN));
            files.push(PollFd::new(&self.files.wrapper, PollFlags::IN));
        }
        let again = self.killing.map(|span| Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(span.subsec_nanos()),
        });
        match poll(&mut files, again.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn listen(&mut self) {
        let _ = (&self.children).read(&mut [0; 64]); // the signals that woke us; `reap` looks for itself
        if self.orphaned {
            return;
        }
        let mut words = [0; 512];
        loop {
            match (&self.socket).read(&mut words) {
                Ok(0) => return self.orphan(),
                Ok(count) => self.heard.extend(words.iter().take(count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return self.orphan(),
            }
        }
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            if let Some(order) = std::str::from_utf8(&line).ok().and_then(Order::parse) {
                self.obey(order);
            }
        }
        let wrapper = &self.files.wrapper;
        let died = poll(&mut [PollFd::new(wrapper, PollFlags::IN)], Some(&Timespec::default()));
        if matches!(died, Ok(1..)) {
            self.orphan();
        }
    }

    /// The wrapper is dead: nobody renews any more, and nobody else ends the group.
    fn orphan(&mut self) {
        self.orphaned = true;
        match self.phase {
            Phase::Waiting => self.phase = Phase::Gone,
            _ => self.kill(),
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start { margin, grace } => {
                let deadline = self.files.page.read().unwrap_or_default();
                self.plan = Plan::new(deadline, margin, grace);
                match self.run.on_elected.as_deref() {
                    Some(hook) => self.hook(hook, Phase::Elected),
                    None => self.start(),
                }
            }
            Order::End { signal, kill_at } => {
                self.plan.ending(kill_at);
                self.end(Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
            }
            Order::Signal(signal) => {
                if let (Some(group), Some(signal)) = (self.group, Signal::from_named_raw(signal)) {
                    let _ = kill_process_group(group, signal);
                }
            }
            Order::Kill => self.kill(),
        }
    }

    /// The command, in a group of its own.
    fn start(&mut self) {
        self.phase = Phase::Running;
        self.hook_until = None;
        if self.ending {
            return; // told to end before it began
        }
        let started = self.files.stdin.try_clone().and_then(|stdin| {
            Command::new("/proc/self/exe")
                .arg0(stage::NAME)
                .arg(std::process::id().to_string())
                .args(&self.run.command)
                .process_group(0)
                .stdin(Stdio::from(stdin))
                .spawn()
        });
        match started {
            Ok(child) => {
                let id = i32::try_from(child.id()).unwrap_or(0);
                self.root = Pid::from_raw(id);
                self.group = self.root;
                self.tell(News::Started(id));
            }
            Err(error) => {
                to_stderr(&format!("leadership: cannot start the command: {error}"));
                self.tell(News::Exited(super::program::code_of(&error)));
            }
        }
    }

    /// A hook, with the command's environment.
    fn hook(&mut self, hook: &str, phase: Phase) {
        let started = Command::new("/bin/sh").args(["-c", hook]).process_group(0).stdin(Stdio::null()).spawn();
        match started {
            Ok(_) => {
                self.phase = phase;
                self.hook_until = Some(self.clock.now().after(self.run.hook_timeout));
            }
            Err(error) => {
                to_stderr(&format!("leadership: cannot run the hook {hook:?}: {error}"));
                self.hook_done(phase);
            }
        }
    }

    fn hook_done(&mut self, phase: Phase) {
        self.hook_until = None;
        match phase {
            Phase::Elected => self.start(),
            _ => self.gone(),
        }
    }

    fn gone(&mut self) {
        self.phase = Phase::Gone;
        self.tell(News::Gone);
    }

    /// Tells the group to end, once, and what has left the group, too. A stopped one could not obey.
    fn end(&mut self, signal: Signal) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        if let Some(group) = self.group {
            let _ = kill_process_group(group, signal);
            let _ = kill_process_group(group, Signal::CONT);
        }
        let outside = |id: &i32| Pid::from_raw(*id).and_then(|id| getpgid(Some(id)).ok()) != self.group;
        let others: Vec<i32> = descend::descendants(&[]).into_iter().filter(outside).collect();
        descend::signal(&others, signal);
    }

    fn kill(&mut self) {
        self.plan.killed();
        self.ending = true;
        self.killing.get_or_insert(KILL_AGAIN.0);
    }

    fn look_at_the_time(&mut self) {
        let now = self.clock.now();
        if let Some(deadline) = self.files.page.read() {
            self.plan.seen(deadline);
        }
        if self.phase != Phase::Waiting {
            match self.plan.due(now) {
                Some(Act::Term) => {
                    self.tell(News::Ending);
                    self.end(Signal::TERM);
                }
                Some(Act::Kill) => self.kill(),
                None => {}
            }
        }
        if self.hook_until.is_some_and(|until| now >= until) {
            self.hook_until = None;
            to_stderr(&format!("leadership: the hook did not end within {:?}, and is killed", self.run.hook_timeout));
            self.killing.get_or_insert(KILL_AGAIN.0);
        }
        if let Some(pause) = self.killing {
            descend::signal(&descend::descendants(&[]), Signal::KILL);
            self.killing = Some((pause * 2).min(KILL_AGAIN.1));
        }
    }

    /// Collects who has ended. Whoever loses its parent becomes a child of ours: with no child left, nothing is left.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((id, status))) if Some(id) == self.root => {
                    self.root = None;
                    self.tell(News::Exited(code(status)));
                    // What it leaves behind goes with it.
                    self.plan.ending(self.clock.now().after(self.run.stop_timeout));
                    self.end(Signal::TERM);
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return, // somebody is left
                Err(_) => return self.nobody_left(),
            }
        }
    }

    fn nobody_left(&mut self) {
        self.killing = None;
        match self.phase {
            Phase::Waiting | Phase::Gone => {}
            Phase::Elected => self.hook_done(Phase::Elected),
            Phase::Running if self.group.is_some() || self.ending => match self.run.on_lost.as_deref() {
                Some(hook) => self.hook(hook, Phase::Lost),
                None => self.gone(),
            },
            Phase::Running | Phase::Lost => self.gone(),
        }
    }
}

/// As a shell counts.
fn code(status: WaitStatus) -> u8 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(signal)) => 128 | u8::try_from(signal).unwrap_or(0),
        (None, None) => 1,
    }
}
