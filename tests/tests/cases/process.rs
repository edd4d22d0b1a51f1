//! Cases 17, 39 and 55: what befalls a whole process. A child of this very test binary leads on a served test server,
//! is stopped and continued, or forks. Owns the children; what the core does of it is the other chapters'.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leadership_core::{CampaignOptions, Client, Clock, Error, Leadership, Reason, TermEvent, TermState};
use leadership_testkit::Cluster;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const SERVER: &str = "LEADERSHIP_TEST_CHILD_SERVER";
pub(crate) const TTL: Duration = Duration::from_secs(2);
/// A process that was not running for so long was stopped.
const STOPPED: Duration = Duration::from_secs(1);
/// No child takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A child that leads; killed when dropped.
pub(crate) struct Leader(Child);

impl Drop for Leader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Leader {
    pub(crate) fn start(test: &str, server: &str) -> (Leader, impl Iterator<Item = String> + use<>) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"]).env(SERVER, server);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        // The test harness writes its own lines too; ours begin with a mark, perhaps in the middle of one of its.
        let lines = out.lines().map_while(Result::ok);
        let ours = lines.filter_map(|line| line.split_once("child: ").map(|(_, said)| said.to_owned()));
        (Leader(child), ours)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

pub(crate) fn say(what: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "child: {what}").unwrap();
    out.flush().unwrap();
}

/// The server, on a thread of its own until dropped, and its address.
pub(crate) fn server() -> (tokio::runtime::Runtime, leadership_testkit::Served, Cluster) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (cluster, served) = runtime.block_on(async {
        let cluster = Cluster::single();
        let served = cluster.member(0).listen("127.0.0.1:0").await.unwrap();
        (cluster, served)
    });
    (runtime, served, cluster)
}

pub(crate) fn lead(server: &str) -> (Client, Leadership) {
    let client = Client::connect([server]).unwrap();
    let lead = Leadership::new(&client, "k", "child").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(lead.campaign(CampaignOptions::new("child").ttl(TTL))).unwrap();
    lead.keep().unwrap();
    (client, lead)
}

/// Not a test of its own: the child of the one below. It looks at the clock and checks, without a pause, and tells of
/// the first check after the clock leapt; another thread tells when the loss was announced.
#[test]
#[ignore = "the child of case_17_55_a_process_stopped_past_its_ttl"]
fn child_checks_without_a_pause() {
    let Ok(server) = std::env::var(SERVER) else { return };
    let (_client, lead) = lead(&server);
    let (clock, term) = (Clock::boot(), lead.term().unwrap());
    let told = std::thread::spawn({
        let (clock, term) = (clock.clone(), term.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            (runtime.block_on(term.lost()), clock.now())
        }
    });
    assert!(lead.check());
    // Before it tells: the stop may come at once, and must be seen all the same.
    let begun = clock.now();
    let mut last = begun;
    say(format_args!("leading"));
    let woken = loop {
        let now = clock.now();
        assert!(now.since(begun) < PATIENCE, "never stopped");
        if now.since(last) > STOPPED {
            break now;
        }
        last = now;
    };
    let (first, lost) = (lead.check(), term.lost_reason());
    let (reason, announced) = told.join().unwrap();
    say(format_args!("{first} {lost:?} {reason:?} {}", announced.since(woken).as_millis()));
}

#[test]
fn case_17_55_a_process_stopped_past_its_ttl() {
    let (_runtime, served, cluster) = server();
    let (child, mut said) = Leader::start("process::child_checks_without_a_pause", &served.addr().to_string());
    assert_eq!(said.next().as_deref(), Some("leading"));
    child.signal(Signal::STOP);
    // Past its TTL, as etcd counts: its key is gone.
    let started = Instant::now();
    while cluster.get("k").is_some() {
        assert!(started.elapsed() < PATIENCE, "the lease of a stopped process does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(started.elapsed() > STOPPED);
    child.signal(Signal::CONT);
    let line = said.next().expect("the child tells what it saw");
    let (what, late) = line.rsplit_once(' ').unwrap();
    assert_eq!(what, "false Some(Expired) Expired", "the first check after the wake");
    let late: u64 = late.parse().unwrap();
    assert!(late < 200, "announced {late} ms after the wake");
}

/// Forks, runs `child` there, and returns what it exits with.
#[allow(unsafe_code)] // fork, waitpid and _exit: the only way to be a forked child
fn forked(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs on the thread that forked, on a copy of its own, and leaves by `_exit`: no destructor, no
    // exit handler and no other thread's work is run there.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let code = child();
        // SAFETY: ends this process only.
        unsafe { libc::_exit(code) }
    }
    let mut status = 0;
    // SAFETY: `status` is valid to write to, and `pid` is a child of ours that nobody else waits for.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
}

/// A future's first answer, without a runtime; `None` if it waits.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(answer) => Some(answer),
        std::task::Poll::Pending => None,
    }
}

#[test]
#[ignore = "the child of case_39_a_leader_forks"]
fn child_forks() {
    let Ok(server) = std::env::var(SERVER) else { return };
    let (client, lead) = lead(&server);
    let term = lead.term().unwrap();
    let lease = lead.lease().unwrap();
    let mut events = lead.events();
    assert!(matches!(at_once(events.next()), Some(Some(TermEvent::Elected(_)))));
    assert!(lead.check() && term.is_valid());
    say(format_args!("leading"));
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let code = forked(|| {
        let says_no = [
            !lead.check(),
            !term.is_valid(),
            term.is_lost(),
            term.lost_reason() == Some(Reason::Forked),
            lease.is_expired(),
            matches!(lead.keep(), Err(Error::Forked)),
            matches!(lead.txn(), Err(Error::Forked)),
            matches!(lease.keep_alive(), Err(Error::Forked)),
            matches!(at_once(lead.campaign(CampaignOptions::new("child"))), Some(Err(Error::Forked))),
            matches!(at_once(lead.reset()), Some(Err(Error::Forked))),
            matches!(at_once(lead.watch(0)), Some(Err(Error::Forked))),
            matches!(at_once(client.get_leader("k")), Some(Err(Error::Forked))),
            matches!(at_once(client.close()), Some(Err(Error::Forked))),
            matches!(at_once(lease.close()), Some(Err(Error::Forked))),
            matches!(at_once(lease.close()), Some(Err(Error::Forked))),
            matches!(lead.set_lease(None), Err(Error::Forked)),
            lead.lease().is_none() && lead.value().is_empty() && lead.campaign_times_num() == 0,
            at_once(term.lost()) == Some(Reason::Forked),
            *term.watch().borrow() == TermState::Lost(Reason::Forked),
            matches!(at_once(events.next()), Some(Some(TermEvent::Lost(Reason::Forked)))),
            matches!(at_once(events.next()), Some(None)),
            matches!(at_once(lead.events().next()), Some(None)),
        ];
        let wrong = says_no.iter().position(|right| !right).map_or(0, |place| place as i32 + 1);
        // Going the ordinary way of everything that is dropped harms nobody either.
        drop((lead.term(), client.clone(), lease.clone()));
        wrong
    });
    say(format_args!("the fork exits with {code}; the parent leads: {}", lead.check() && term.is_valid()));
    // More than a TTL later, too.
    std::thread::sleep(TTL + STOPPED);
    say(format_args!("later: {} {:?}", lead.check(), term.lost_reason()));
    drop(lead);
}

#[test]
fn case_39_s12_a_leader_forks() {
    let (_runtime, served, cluster) = server();
    let (mut child, mut said) = Leader::start("process::child_forks", &served.addr().to_string());
    assert_eq!(said.next().as_deref(), Some("leading"));
    // All but renewals and what confirms them, which the parent goes on with.
    let others = || {
        let stats = cluster.stats();
        let mut calls = stats.calls;
        calls.retain(|call, _| !matches!(*call, "Range" | "Txn" | "Status"));
        (calls, stats.keepalive_streams, stats.watch_streams, stats.watch_creates)
    };
    let started = Instant::now();
    while cluster.stats().keepalives == 0 {
        assert!(started.elapsed() < PATIENCE, "never renewed");
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = others();
    child.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(said.next().as_deref(), Some("the fork exits with 0; the parent leads: true"));
    let key = cluster.get("k").expect("the forked child has not taken the key away");
    assert_eq!(cluster.leases().len(), 1);
    assert_eq!(said.next().as_deref(), Some("later: true None"));
    assert_eq!(others(), before, "the forked child has sent nothing: no grant, no revoke, no stream");
    let now = cluster.get("k").unwrap();
    assert_eq!((now.create_revision, now.mod_revision), (key.create_revision, key.mod_revision));
}
