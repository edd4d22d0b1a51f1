//! `leadership run` with real children, groups and signals: what runs when, what is left, what it exits with.
//! Owns the contract of docs/command.md; when a term is lost is tested with the core.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::support::{LIMIT, Server, command, text, until};

/// `run`, whose events come on standard error. Killed when dropped, and what it runs by its guardian.
struct Ran {
    child: Child,
    events: Receiver<Value>,
}

impl Drop for Ran {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    fn start(server: &Server, options: &[&str], script: &str) -> Ran {
        Ran::start_with(server, options, &["sh", "-c", script], Stdio::null())
    }

    fn start_with(server: &Server, options: &[&str], run: &[&str], stdin: Stdio) -> Ran {
        let mut command = command();
        command.args(["--endpoints", &server.endpoint, "--json", "run", "k"]).args(options).arg("--").args(run);
        Ran::of(command, stdin)
    }

    fn of(mut command: std::process::Command, stdin: Stdio) -> Ran {
        let mut child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (told, events) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                if let Ok(event) = serde_json::from_str(&line)
                    && told.send(event).is_err()
                {
                    return;
                }
            }
        });
        Ran { child, events }
    }

    /// The next event of this name; others are skipped.
    fn event(&self, name: &str) -> Value {
        loop {
            let event = self.events.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no {name} in time"));
            if event["event"] == name {
                return event;
            }
        }
    }

    /// The command runs; its guardian's process id.
    fn started(&self) -> i32 {
        let root = i32::try_from(self.event("started")["pid"].as_i64().unwrap()).unwrap();
        parent(root)
    }

    fn signal(&self, signal: Signal) {
        kill_process(id(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn code(&mut self) -> i32 {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(Instant::now() < until, "it did not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn id(raw: i32) -> Pid {
    Pid::from_raw(raw).unwrap()
}

fn parent(of: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{of}/stat")).unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    rest.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs and is no zombie.
fn runs(raw: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{raw}/stat")).unwrap_or_default();
    test_kill_process(id(raw)).is_ok() && stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// A folder in which commands leave word.
struct Words(tempfile::TempDir);

impl Words {
    fn new() -> Words {
        Words(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// What a command has written, a whole line, as soon as it has.
    fn word(&self, name: &str) -> String {
        let mut word = String::new();
        until(name, || {
            word = fs::read_to_string(self.path(name)).unwrap_or_default();
            word.ends_with('\n')
        });
        word.trim_end().to_owned()
    }

    fn process(&self, name: &str) -> i32 {
        self.word(name).parse().unwrap()
    }
}

/// A tree that does not want to end: the command, a child in its group, a daemon in a session of its own.
fn stubborn(words: &Words) -> String {
    let daemon = format!("trap '' TERM; echo $$ > {}; sleep 600", words.shown("daemon"));
    format!(
        "trap '' TERM; setsid sh -c \"{}\" & (echo $$ > {root}; trap '' TERM; sleep 600) & wait; wait",
        daemon.replace('$', "\\$"),
        root = words.shown("root")
    )
}

fn tree(words: &Words) -> [i32; 2] {
    ["root", "daemon"].map(|name| words.process(name))
}

fn gone(tree: [i32; 2]) {
    until("the whole tree is gone", || tree.iter().all(|id| !runs(*id)));
}

#[test]
fn the_commands_own_code_is_the_exit_code() {
    let server = Server::start();
    let ended = |script: &str| {
        let mut ran = Ran::start(&server, &[], script);
        let stopped = ran.event("stopped");
        (ran.code(), stopped["code"].as_i64().unwrap(), stopped["by"].as_str().unwrap().to_owned())
    };
    for code in [0, 1, 7, 255] {
        assert_eq!(ended(&format!("exit {code}")), (code, i64::from(code), "child".to_owned()));
    }
    assert_eq!(ended("kill -9 $$"), (137, 137, "child".to_owned()));
}

#[test]
fn a_command_that_cannot_be_run_is_said_before_anybody_campaigns() {
    let server = Server::start();
    let plain = tempfile::NamedTempFile::new().unwrap();
    for (command, code) in [("no-such-command", 127), ("/no/such/command", 127), (plain.path().to_str().unwrap(), 126)] {
        let ended = server.run(&["run", "k", "--", command]);
        assert_eq!(ended.status.code(), Some(code), "{command}");
        let said = text(&ended.stderr);
        assert!(said.starts_with(&format!("leadership: {command}: ")) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn the_command_sees_its_term_and_the_callers_input_and_output() {
    let server = Server::start();
    let mut command = command();
    command.args(["--endpoints", &server.endpoint, "run", "a/b", "--value", "me", "--ttl", "4s", "--"]);
    command.args(["sh", "-c", "cat; env | grep ^LEADERSHIP_ | sort"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from the caller\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    let starts = ["from the caller", &format!("LEADERSHIP_ENDPOINTS={}", server.endpoint), "LEADERSHIP_KEY=a/b"];
    assert_eq!(lines[..3], starts);
    assert!(lines[3].starts_with("LEADERSHIP_LEASE_ID=") && lines[3].len() > "LEADERSHIP_LEASE_ID=".len(), "{lines:?}");
    assert!(lines[4].strip_prefix("LEADERSHIP_TOKEN=").unwrap().parse::<i64>().unwrap() > 0);
    assert_eq!(lines[5..], ["LEADERSHIP_TTL=4", "LEADERSHIP_VALUE=me"]);
    assert!(text(&output.stderr).lines().last().unwrap().contains("by: child  code 0"), "{output:?}");
}

#[test]
fn term_ends_the_command_in_order_and_the_key_is_released_when_it_has_ended() {
    let (server, words) = (Server::start(), Words::new());
    let script = format!("trap 'sleep 0.3; echo $$ > {}; exit 0' TERM; echo > {}; while :; do sleep 0.02; done",
        words.shown("ended"), words.shown("ready"));
    let mut ran = Ran::start(&server, &[], &script);
    ran.started();
    words.word("ready");
    ran.signal(Signal::TERM);
    assert_eq!(ran.event("lost")["reason"], "closed");
    assert!(!words.path("ended").exists(), "lost at once, drained after");
    let status = server.run(&["status", "k", "--json"]);
    assert!(text(&status.stdout).contains("\"leader\""), "the key is held while the command ends: {status:?}");
    assert_eq!(ran.event("exited")["code"], 0);
    let stopped = ran.event("stopped");
    assert_eq!((stopped["by"].as_str(), stopped["code"].as_i64()), (Some("leadership"), Some(0)));
    assert_eq!(ran.code(), 0);
    assert!(words.path("ended").exists());
    let status = server.run(&["status", "k", "--json"]);
    assert!(text(&status.stdout).contains("\"vacant\""), "{status:?}");
}

#[test]
fn a_pause_ends_the_command_in_order() {
    let (server, words) = (Server::start(), Words::new());
    let script = format!("exec <&-; trap 'sleep 0.3; echo $$ > {}; exit 0' TERM; echo > {}; while :; do sleep 0.02; done",
        words.shown("ended"), words.shown("ready"));
    let mut ran = Ran::start(&server, &["--grace", "100ms"], &script);
    ran.started();
    words.word("ready"); // its standard input is closed, which is its own affair
    assert!(server.run(&["pause", "k"]).status.success());
    assert_eq!(ran.event("lost")["reason"], "paused");
    assert_eq!(ran.event("exited")["code"], 0);
    assert!(words.path("ended").exists(), "it had more than its grace");
    assert_eq!(ran.code(), 5);
}

#[test]
fn a_second_term_kills_and_the_stop_timeout_does_too() {
    let server = Server::start();
    for second in [true, false] {
        let words = Words::new();
        let options: &[&str] = if second { &[] } else { &["--stop-timeout", "300ms"] };
        let mut ran = Ran::start(&server, options, &stubborn(&words));
        ran.started();
        let tree = tree(&words);
        ran.signal(Signal::TERM);
        ran.event("lost");
        if second {
            assert!(tree.iter().all(|id| runs(*id)));
            ran.signal(Signal::TERM);
        }
        assert_eq!((ran.event("exited")["code"].as_i64(), ran.code()), (Some(137), 137));
        gone(tree);
    }
}

#[test]
fn other_signals_are_passed_on() {
    let (server, words) = (Server::start(), Words::new());
    let script = format!("trap 'echo hup > {}' HUP; echo > {}; while :; do sleep 0.02; done", words.shown("hup"), words.shown("ready"));
    let ran = Ran::start(&server, &[], &script);
    let guardian = ran.started();
    words.word("ready");
    ran.signal(Signal::HUP);
    assert_eq!(words.word("hup"), "hup");
    assert!(runs(guardian));
}

#[test]
fn a_lost_key_ends_the_command_at_once_and_kills_it_after_its_grace() {
    let (server, words) = (Server::start(), Words::new());
    let mut ran = Ran::start(&server, &["--grace", "400ms"], &stubborn(&words));
    ran.started();
    let tree = tree(&words);
    let begun = Instant::now();
    server.delete("k");
    assert_eq!(ran.event("lost")["reason"], "key_deleted");
    gone(tree);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400), "killed within its grace: {took:?}");
    let stopped = ran.event("stopped");
    assert_eq!((stopped["by"].as_str(), stopped["error"].as_str()), (Some("leadership"), Some("leadership lost: key deleted")));
    assert_eq!(ran.code(), 5);
}

#[test]
fn a_lost_leadership_is_5_also_when_the_command_then_ends_with_0() {
    let server = Server::start();
    for (options, code) in [(&[][..], 5), (&["--exit-code", "lost=75"][..], 75)] {
        let (words, options) = (Words::new(), [options, &["--ttl", "3s"]].concat());
        let script = format!("trap 'exit 0' TERM; echo > {}; while :; do sleep 0.02; done", words.shown("ready"));
        let mut ran = Ran::start(&server, &options, &script);
        ran.started();
        words.word("ready");
        server.delete("k");
        assert_eq!((ran.event("exited")["code"].as_i64(), ran.code()), (Some(0), code));
    }
}

#[test]
fn s9_an_etcd_that_does_not_answer_ends_everything_before_the_lease_can_end() {
    let (server, words) = (Server::start(), Words::new());
    let mut ran = Ran::start(&server, &["--ttl", "3s"], &stubborn(&words));
    ran.started();
    let tree = tree(&words);
    server.process.signal(Signal::STOP);
    let begun = Instant::now();
    gone(tree);
    // No renewal was sent later than that, and no lease lives for less than 3 s after it was.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    server.process.signal(Signal::CONT);
    let lost = ran.event("lost");
    assert_eq!((lost["reason"].as_str(), ran.code()), (Some("expired"), 5));
}

#[test]
fn a_renewed_term_lets_the_command_run_on() {
    let server = Server::start();
    let mut ran = Ran::start(&server, &["--ttl", "2s"], "sleep 3; exit 6"); // longer than any lease unrenewed
    assert_eq!(ran.code(), 6);
}

#[test]
fn case_60_a_wrapper_that_is_stopped_past_the_deadline_changes_nothing() {
    let (server, words) = (Server::start(), Words::new());
    let ran = Ran::start(&server, &["--ttl", "2s"], &stubborn(&words));
    ran.started();
    let tree = tree(&words);
    let begun = Instant::now();
    ran.signal(Signal::STOP);
    gone(tree);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    ran.signal(Signal::CONT);
    assert_eq!(ran.event("exited")["code"], 137);
}

#[test]
fn case_41_a_killed_wrapper_leaves_nothing_behind_and_the_next_leads_in_milliseconds() {
    for queue in [false, true] {
        let (server, words) = (Server::start(), Words::new());
        let options = if queue { &["--ttl", "30s", "--queue"][..] } else { &["--ttl", "30s"] };
        let ran = Ran::start(&server, options, &stubborn(&words));
        let guardian = ran.started();
        let tree = tree(&words);
        let next = Ran::start(&server, options, "exit 9");
        next.event("leader");
        let begun = Instant::now();
        ran.signal(Signal::KILL);
        gone(tree);
        next.event("elected");
        assert!(begun.elapsed() < Duration::from_secs(15), "a TTL is 30 s, this took {:?}", begun.elapsed());
        until("the guardian goes, too", || !runs(guardian));
    }
}

#[test]
fn case_41_term_to_a_run_lets_the_next_lead_at_once() {
    let server = Server::start();
    let ran = Ran::start(&server, &["--ttl", "30s"], "sleep 600");
    let first = ran.event("elected");
    ran.event("started");
    let next = Ran::start(&server, &["--ttl", "30s", "--takeover-delay", "20s"], "sleep 600");
    next.event("leader");
    ran.signal(Signal::TERM);
    let (ended, elected) = (ran.event("exited"), next.event("elected"));
    assert!(elected["token"].as_i64() > first["token"].as_i64());
    assert!(elected["boot_ns"].as_u64() > ended["boot_ns"].as_u64(), "not before the command has ended");
    let gap = elected["boot_ns"].as_u64().unwrap() - ended["boot_ns"].as_u64().unwrap();
    assert!(Duration::from_nanos(gap) < Duration::from_secs(20), "neither lease nor delay had to be waited for");
}

#[test]
fn a_killed_guardian_leaves_nothing_behind_and_the_key_is_released() {
    let (server, words) = (Server::start(), Words::new());
    let mut ran = Ran::start(&server, &["--ttl", "30s"], &stubborn(&words));
    let guardian = ran.started();
    let tree = tree(&words);
    kill_process(id(guardian), Signal::KILL).unwrap();
    gone(tree);
    assert_eq!(ran.event("lost")["reason"], "resigned");
    assert_eq!(ran.code(), 1);
    let status = server.run(&["status", "k", "--json"]);
    assert!(text(&status.stdout).contains("\"vacant\""), "{status:?}");
}

#[test]
fn a_stopped_guardian_is_found_and_the_wrapper_kills_in_its_place() {
    let (server, words) = (Server::start(), Words::new());
    let mut ran = Ran::start(&server, &["--ttl", "2s"], &stubborn(&words));
    let guardian = ran.started();
    let tree = tree(&words);
    kill_process(id(guardian), Signal::STOP).unwrap();
    server.process.signal(Signal::STOP);
    let begun = Instant::now();
    gone(tree);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    server.process.signal(Signal::CONT);
    assert_eq!(ran.code(), 5);
}

#[test]
fn a_daemon_does_not_outlive_its_command() {
    let (server, words) = (Server::start(), Words::new());
    let script = format!("setsid sh -c 'echo $$ > {0}; exec sleep 600' & until test -s {0}; do sleep 0.01; done; exit 3", words.shown("daemon"));
    let mut ran = Ran::start(&server, &[], &script);
    assert_eq!(ran.code(), 3);
    assert!(!runs(words.process("daemon")));
}

#[test]
fn not_elected_in_time_is_4_and_cannot_connect_3() {
    let server = Server::start();
    let holder = Ran::start(&server, &[], "sleep 600");
    holder.started();
    let run = |options: &[&str]| server.run(&[&["run", "k"], options, &["--", "true"]].concat()).status.code();
    assert_eq!(run(&["--timeout", "200ms"]), Some(4));
    assert_eq!(run(&["--timeout", "0s", "--exit-code", "timeout=0"]), Some(0));
    let away = |options: &[&str]| {
        let mut command = command();
        command.args(["--endpoints", "127.0.0.1:1", "run", "k"]).args(options).args(["--", "true"]).output().unwrap().status.code()
    };
    assert_eq!(away(&["--wait", "--timeout", "300ms"]), Some(4), "it waits for an etcd that is away");
    assert_eq!(away(&["--exit-code", "connect=69"]), Some(69));
}

#[test]
fn a_signal_while_it_waits_ends_the_wait() {
    let server = Server::start();
    let holder = Ran::start(&server, &[], "sleep 600");
    holder.started();
    let mut waiting = Ran::start(&server, &[], "true");
    waiting.event("leader");
    waiting.signal(Signal::INT);
    assert_eq!((waiting.event("stopped")["by"].as_str(), waiting.code()), (Some("leadership"), 130));
}

#[test]
fn it_restarts_as_it_is_told_to() {
    let (server, words) = (Server::start(), Words::new());
    let script = format!("echo x >> {0}; test $(wc -l < {0}) -ge 3", words.shown("tries"));
    let mut ran = Ran::start(&server, &["--restart", "on-failure", "--ttl", "2s"], &script);
    let tokens: Vec<_> = (0..3).map(|_| ran.event("elected")["token"].as_i64().unwrap()).collect();
    assert!(tokens.is_sorted() && tokens[0] < tokens[2], "{tokens:?}");
    assert_eq!(ran.code(), 0);

    let ran = Ran::start(&server, &["--restart", "always", "--ttl", "2s"], "sleep 600");
    let first = ran.event("started");
    server.delete("k");
    assert_eq!(ran.event("lost")["reason"], "key_deleted");
    assert_ne!(ran.event("started")["pid"], first["pid"]);
}

#[test]
fn hooks_run_before_and_after_the_command_with_its_environment() {
    let (server, words) = (Server::start(), Words::new());
    let said = words.shown("said");
    let elected = format!("echo elected $LEADERSHIP_TOKEN >> {said}");
    let lost = format!("echo lost $LEADERSHIP_KEY >> {said}; sleep 600");
    let options = ["--on-elected", &elected, "--on-lost", &lost, "--hook-timeout", "300ms"];
    let mut ran = Ran::start(&server, &options, &format!("echo runs >> {said}"));
    let token = ran.event("elected")["token"].clone();
    assert_eq!(ran.code(), 0);
    assert_eq!(fs::read_to_string(Path::new(&said)).unwrap(), format!("elected {token}\nruns\nlost k\n"));
}

#[test]
fn case_21_who_fails_its_health_command_does_not_lead() {
    let (server, words) = (Server::start(), Words::new());
    let well = words.shown("well");
    let check = format!("test -e {well} || {{ test ! -e {well}.hang || sleep 600; false; }}");
    let mut ran = Ran::start(&server, &["--ttl", "2s", "--health-cmd", &check], "sleep 600");
    assert_eq!(server.run(&["run", "k", "--", "true"]).status.code(), Some(0), "the sick one leaves the key to others");
    fs::write(&well, "").unwrap();
    ran.started();
    fs::write(format!("{well}.hang"), "").unwrap();
    fs::remove_file(&well).unwrap();
    assert_eq!(ran.event("lost")["reason"], "unhealthy");
    assert_eq!(ran.code(), 5);
}

#[test]
fn a_service_manager_hears_of_it() {
    let (server, words) = (Server::start(), Words::new());
    let socket = UnixDatagram::bind(words.path("notify")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut command = command();
    command.env("NOTIFY_SOCKET", words.path("notify"));
    command.args(["--endpoints", &server.endpoint, "--json", "run", "k", "--", "sleep", "600"]);
    let ran = Ran::of(command, Stdio::null());
    let heard = |part: &str| {
        let mut bytes = [0; 500];
        loop {
            let count = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no {part}: {error}"));
            let said = text(&bytes[..count]).to_owned();
            if said.contains(part) {
                return said;
            }
        }
    };
    heard("STATUS=waiting to be elected");
    assert!(heard("READY=1").contains("STATUS=leading"));
    ran.signal(Signal::TERM);
    heard("STOPPING=1");
}

#[test]
fn nobody_needs_to_read_what_it_says() {
    let server = Server::start();
    let words = Words::new();
    let mut command = command();
    command.args(["--endpoints", &server.endpoint, "run", "k", "--", "sh", "-c", &format!("echo $$ > {}; exit 6", words.shown("ran"))]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!((status.code(), words.word("ran").is_empty()), (Some(6), false));
}

#[test]
fn bad_options_are_named() {
    let server = Server::start();
    for (options, word) in [
        (["--grace", "4s"], "--grace"),
        (["--exit-code", "won=1"], "--exit-code"),
        (["--stop-timeout", "soon"], "--stop-timeout"),
        (["--restart", "often"], "--restart"),
    ] {
        let ended = server.run(&[&["run", "k"], &options[..], &["--", "true"]].concat());
        assert_eq!(ended.status.code(), Some(2), "{options:?}");
        assert!(text(&ended.stderr).contains(word), "{ended:?}");
    }
    let nothing = server.run(&["run", "k"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn every_exit_code_of_the_docs_is_a_real_one() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command.md");
    let page = fs::read_to_string(page).unwrap();
    let table = page.split("## Exit codes").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    let listed: Vec<_> = table.lines().skip(2).map(|row| row.split('|').nth(1).unwrap().trim()).collect();

    let server = Server::start();
    let run = |arguments: &[&str]| server.run(&[&["run", "k"], arguments].concat()).status.code().unwrap();
    let away = command().args(["--endpoints", "127.0.0.1:1", "status", "k"]).output().unwrap().status.code().unwrap();
    let plain = tempfile::NamedTempFile::new().unwrap();
    let mut real = vec![
        (run(&["--", "true"]), "0"),
        (away, "3"),
        (run(&["--grace", "4s", "--", "true"]), "2"),
        (run(&["--", plain.path().to_str().unwrap()]), "126"),
        (run(&["--", "no-such-command"]), "127"),
    ];
    let mut ran = Ran::start(&server, &[], "sleep 600");
    kill_process(id(ran.started()), Signal::KILL).unwrap();
    real.push((ran.code(), "1"));
    let mut ran = Ran::start(&server, &[], "sleep 600");
    ran.started();
    real.push((run(&["--timeout", "0s", "--", "true"]), "4"));
    let mut waiting = Ran::start(&server, &[], "true");
    waiting.event("leader");
    waiting.signal(Signal::TERM);
    real.push((waiting.code() - 15, "128 + n"));
    server.delete("k");
    real.push((ran.code(), "5"));
    for (code, row) in &real {
        assert_eq!(code.to_string(), row.split(' ').next().unwrap(), "the row {row}");
    }
    real.sort_unstable();
    assert_eq!(listed, real.iter().map(|(_, row)| *row).collect::<Vec<_>>(), "docs/command.md lists the codes that there are");
}

/// In a process-number space of its own, where that may be made.
#[test]
fn as_the_first_process_it_collects_what_falls_to_it() {
    if !std::process::Command::new("unshare").args(["--pid", "--fork", "true"]).status().is_ok_and(|made| made.success()) {
        return eprintln!("this user may not make one: not tried");
    }
    let (server, words) = (Server::start(), Words::new());
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_leadership")]);
    // An orphan whose parent ends at once falls to the guardian; the wrapper's own would be those of an `exec` from outside.
    let script = format!("(sh -c 'sleep 0.1 & echo $PPID > /dev/null' &); sleep 0.3; cat /proc/[0-9]*/stat > {0}.part; mv {0}.part {0}; echo $$ > {1}; exit 4",
        words.shown("seen"), words.shown("own"));
    command.args(["--endpoints", &server.endpoint, "--json", "run", "k", "--", "sh", "-c", &script]);
    let mut ran = Ran::of(command, Stdio::null());
    assert_eq!(ran.code(), 4);
    let seen = fs::read_to_string(words.path("seen")).unwrap();
    assert!(seen.contains("1 (leadership) "), "{seen}");
    assert!(!seen.contains(") Z "), "a zombie was left: {seen}");
    assert!(words.process("own") < 100, "numbers of its own");
}

/// `setsid --ctty` makes the terminal its own; with the test's end of it closed, the kernel sends HUP.
#[test]
fn a_terminal_that_goes_away_ends_it_as_a_shell_would() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let (server, words) = (Server::start(), Words::new());
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let other = || fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = std::process::Command::new("setsid");
    command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_leadership"), "--endpoints", &server.endpoint, "run", "k", "--"]);
    let mut child = command
        .args(["sh", "-c", &format!("echo $$ > {}; exec sleep 600", words.shown("root"))])
        .stdin(other())
        .stdout(other())
        .stderr(other())
        .spawn()
        .unwrap();
    let root = words.process("root");
    drop(terminal);
    until("the command is ended by HUP", || !runs(root));
    until("and the wrapper with it", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(129));
}
