//! `leadership elect`, `status` and `test-server` as a shell sees them: output, JSON, signals, exit codes.
//! Owns the contract of docs/command.md; what makes leading safe is tested with the core.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{LIMIT, Running, Server, command, run, text, until};

fn names(event: &Value) -> Vec<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn elect_leads_and_resigns_on_term() {
    let server = Server::start();
    let mut elect = server.start_command(&["elect", "a/b", "--value", "me", "--json"]);
    let campaigning = elect.event("campaigning");
    assert_eq!(names(&campaigning), ["boot_ns", "event", "key", "time"]);
    assert_eq!(campaigning["key"], "a/b");
    let elected = elect.event("elected");
    assert_eq!(names(&elected), ["boot_ns", "event", "key", "lease", "remaining_ms", "time", "token", "value"]);
    assert_eq!(elected["value"], "me");
    assert!(elected["token"].as_i64().unwrap() > 0);
    let remaining = elected["remaining_ms"].as_u64().unwrap();
    assert!((1000..5000).contains(&remaining), "{remaining}");
    let lease = elected["lease"].as_str().unwrap();
    assert!(lease.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) && !lease.starts_with('0'), "{lease}");
    let time = elected["time"].as_str().unwrap();
    assert!(time.len() == "2026-01-02T03:04:05.000000000Z".len() && time.ends_with('Z'), "{time}");
    assert!(elected["boot_ns"].as_u64() > campaigning["boot_ns"].as_u64());

    elect.signal(Signal::TERM);
    let lost = elect.event("lost");
    assert_eq!(names(&lost), ["boot_ns", "event", "key", "lease", "reason", "time", "token", "value"]);
    assert_eq!(lost["reason"], "resigned");
    assert_eq!(lost["token"], elected["token"]);
    let stopped = elect.event("stopped");
    assert_eq!(names(&stopped), ["boot_ns", "event", "key", "time"]);
    let (status, said) = elect.ended();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    let after = server.run(&["status", "a/b", "--json"]);
    assert!(text(&after.stdout).starts_with(r#"{"event":"vacant","key":"a/b","time":"#), "{after:?}");
}

#[test]
fn a_follower_says_whom_it_follows_and_takes_over_with_a_larger_token() {
    let server = Server::start();
    let first = server.start_command(&["elect", "k", "--value", "one", "--json"]);
    first.event("campaigning");
    let elected = first.event("elected");
    let second = server.start_command(&["elect", "k", "--value", "two", "--json"]);
    second.event("campaigning");
    let leader = second.event("leader");
    assert_eq!(names(&leader), ["boot_ns", "event", "key", "lease", "time", "token", "value"]);
    for field in ["key", "value", "token", "lease"] {
        assert_eq!(leader[field], elected[field], "{field}");
    }
    first.signal(Signal::INT);
    first.event("lost");
    // It takes over at once; whether the moment in between was seen is chance.
    let next: Value = serde_json::from_str(&second.line_with("elected")).unwrap();
    assert!(next["token"].as_i64() > elected["token"].as_i64());
}

#[test]
fn a_key_that_went_without_its_holders_word_is_a_vacancy() {
    let server = Server::start();
    let first = server.start_command(&["elect", "k", "--value", "one", "--json"]);
    first.event("campaigning");
    first.event("elected");
    let second = server.start_command(&["elect", "k", "--value", "two", "--json"]);
    second.event("campaigning");
    second.event("leader");
    first.signal(Signal::STOP);
    server.delete("k");
    let vacant = second.event("vacant");
    assert_eq!(names(&vacant), ["boot_ns", "event", "key", "time"]);
    let elected = second.event("elected");
    let waited = elected["boot_ns"].as_u64().unwrap() - vacant["boot_ns"].as_u64().unwrap();
    assert!(waited > 90_000_000, "the takeover delay: {waited} ns");
}

#[test]
fn a_queue_is_first_come_first_served_and_tells_of_the_election() {
    let server = Server::start();
    let first = server.start_command(&["elect", "line", "--queue", "--value", "one", "--json"]);
    let elected: Value = serde_json::from_str(&first.line_with("elected")).unwrap();
    assert_eq!(elected["key"], "line");
    let second = server.start_command(&["elect", "line", "--queue", "--value", "two", "--json"]);
    second.event("campaigning");
    let leader = second.event("leader");
    for field in ["key", "value", "token", "lease"] {
        assert_eq!(leader[field], elected[field], "{field}");
    }
    first.signal(Signal::TERM);
    assert_eq!(first.event("lost")["key"], "line");
    let next: Value = serde_json::from_str(&second.line_with("elected")).unwrap();
    assert!(next["token"].as_i64() > elected["token"].as_i64());
}

#[test]
fn a_deposed_leader_says_so_and_stands_again() {
    let server = Server::start();
    let elect = server.start_command(&["elect", "k", "--json"]);
    elect.event("campaigning");
    let first = elect.event("elected");
    assert!(first["value"].as_str().unwrap().ends_with(&format!(":{}", elect.pid())), "{first}");
    server.delete("k");
    assert_eq!(elect.event("lost")["reason"], "key_deleted");
    elect.event("campaigning");
    let second = elect.event("elected");
    assert!(second["token"].as_i64() > first["token"].as_i64());
    assert_ne!(second["lease"], first["lease"]);
}

#[test]
fn once_exits_with_5_when_the_term_is_lost() {
    let server = Server::start();
    let mut elect = server.start_command(&["elect", "k", "--once", "--json"]);
    elect.event("campaigning");
    elect.event("elected");
    server.delete("k");
    assert_eq!(elect.event("lost")["reason"], "key_deleted");
    elect.event("stopped");
    let (status, said) = elect.ended();
    assert_eq!((status.code(), said.as_str()), (Some(5), "leadership: leadership lost: key deleted\n"));
}

#[test]
fn once_exits_with_0_when_it_is_told_to_stop() {
    let server = Server::start();
    let mut elect = server.start_command(&["elect", "k", "--once"]);
    elect.line_with("elected");
    elect.signal(Signal::TERM);
    assert_eq!(elect.ended().0.code(), Some(0));
}

#[test]
fn a_silent_etcd_is_jeopardy_an_answer_secures_and_a_longer_silence_ends_the_term() {
    let server = Server::start();
    let elect = server.start_command(&["elect", "k", "--ttl", "3s", "--json"]);
    elect.event("campaigning");
    let elected = elect.event("elected");
    server.process.signal(Signal::STOP);
    let jeopardy = elect.event("jeopardy");
    assert_eq!(names(&jeopardy), ["boot_ns", "event", "key", "lease", "remaining_ms", "time", "token", "value"]);
    assert!(jeopardy["remaining_ms"].as_u64().unwrap() > 0);
    server.process.signal(Signal::CONT);
    assert_eq!(elect.event("secured")["token"], elected["token"]);
    server.process.signal(Signal::STOP);
    elect.event("jeopardy");
    assert_eq!(elect.event("lost")["reason"], "expired");
    server.process.signal(Signal::CONT);
}

#[test]
fn a_second_term_ends_it_at_once() {
    let server = Server::start();
    let mut elect = server.start_command(&["elect", "k", "--json"]);
    elect.event("campaigning");
    elect.event("elected");
    server.process.signal(Signal::STOP); // nobody confirms the resign now
    elect.signal(Signal::TERM);
    assert_eq!(elect.event("lost")["reason"], "resigned");
    let asked = Instant::now();
    elect.signal(Signal::TERM);
    assert_eq!(elect.ended().0.code(), Some(143));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    server.process.signal(Signal::CONT);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly_and_in_order() {
    let server = Server::start();
    // A shell's pipe, as `leadership elect k | head -n 2` has it.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$0\" --endpoints \"$1\" elect k --json | head -n 2; echo ended"]);
    shell.args([env!("CARGO_BIN_EXE_leadership"), &server.endpoint]);
    let mut shell = Running::start(shell);
    shell.event("campaigning");
    shell.event("elected");
    server.delete("k"); // it has something to say, to nobody
    assert_eq!(shell.line(), "ended");
    assert_eq!(shell.ended().1, "");
    assert!(text(&server.run(&["status", "k"]).stdout).contains("nobody leads"));
}

#[test]
fn people_get_aligned_lines_without_colours_in_a_pipe() {
    let server = Server::start();
    let elect = server.start_command(&["elect", "k", "--value", "me"]);
    let campaigning = elect.line();
    let elected = elect.line();
    assert!(campaigning.ends_with("  campaigning  k"), "{campaigning:?}");
    assert!(elected.contains("  elected      me  token ") && elected.contains("  valid for 4."), "{elected:?}");
    assert!(!elected.contains('\x1b'));
}

#[test]
fn status_tells_people_and_programs_who_leads() {
    let server = Server::start();
    let none = server.run(&["status", "k"]);
    assert_eq!((none.status.code(), text(&none.stdout)), (Some(0), "k  nobody leads\n"));

    let elect = server.start_command(&["elect", "k", "--value", "me", "--json"]);
    elect.event("campaigning");
    let elected = elect.event("elected");
    let people = server.run(&["status", "k"]);
    assert_eq!(people.status.code(), Some(0));
    let lines: Vec<_> = text(&people.stdout).lines().collect();
    assert_eq!(lines[..3], ["k", "  leader  me", &format!("  token   {}", elected["token"])]);
    let lease = format!("  lease   {}, ", elected["lease"].as_str().unwrap());
    assert!(lines[3].starts_with(&lease) && lines[3].ends_with(" left of 5.00 s unless renewed"), "{lines:?}");

    let programs = server.run(&["status", "k", "--json"]);
    let seen: Value = serde_json::from_slice(&programs.stdout).unwrap();
    assert_eq!(seen["event"], "leader");
    for field in ["key", "value", "token", "lease"] {
        assert_eq!(seen[field], elected[field], "{field}");
    }
    assert!((1..=5000).contains(&seen["remaining_ms"].as_u64().unwrap()), "{seen}");
}

#[test]
fn the_test_server_says_what_it_is_and_ends_on_term() {
    let mut command = command();
    command.args(["test-server", "--listen", "127.0.0.1:0"]);
    let mut server = Running::start(command);
    let endpoint = server.line().strip_prefix("listening on ").unwrap().to_owned();
    assert!(server.line().contains("never for production"));
    assert_eq!(run(&["--endpoints", &endpoint, "status", "k"]).status.code(), Some(0));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn the_test_server_names_an_address_it_cannot_have() {
    let server = Server::start();
    let second = run(&["test-server", "--listen", &server.endpoint]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains(&server.endpoint), "{second:?}");
}

#[test]
fn usage_errors_exit_with_2_and_name_the_argument() {
    let cases: [(&[&str], &str); 14] = [
        (&["elect"], "<ELECTION>"),
        (&["elect", ""], "key"),
        (&["elect", "k.resigned"], "key"),
        (&["elect", "k/", "--queue"], "ends in a slash"),
        (&["elect", "k", "--ttl", "5"], "--ttl"),
        (&["elect", "k", "--ttl", "0s"], "--ttl"),
        (&["elect", "k", "--takeover-delay", "-1s"], "--takeover-delay"),
        (&["--endpoints", "nowhere", "status", "k"], "endpoints"),
        (&["--user", "me", "status", "k"], "user"),
        (&["--cert", "c.pem", "status", "k"], "--key"),
        (&["--cacert", "/does/not/exist", "status", "k"], "/does/not/exist"),
        (&["--json", "demo"], "--json"),
        (&["crown", "k"], "crown"),
        (&["status", "k", "--nonsense"], "--nonsense"),
    ];
    for (arguments, named) in cases {
        let ended = run(arguments);
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(named), "{arguments:?}: {said}");
    }
}

#[test]
fn no_etcd_exits_with_3_and_names_the_endpoint() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let begun = Instant::now();
    for arguments in [["status", "k"], ["elect", "k"]] {
        let ended = command().env("LEADERSHIP_ENDPOINTS", &port).args(arguments).output().unwrap();
        assert_eq!(ended.status.code(), Some(3), "{ended:?}");
        assert!(text(&ended.stderr).contains(&port), "{ended:?}");
    }
    assert!(begun.elapsed() < LIMIT);
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for part in ["Examples:", "Exit codes:", "LEADERSHIP_ENDPOINTS", "test-server", "elect", "status", "demo"] {
        assert!(text(&help.stdout).contains(part), "{part}");
    }
    let elect = run(&["elect", "--help"]);
    assert!(!text(&elect.stdout).contains("demo-write"), "what serves the demo alone is not for users");
}

#[test]
fn with_stdin_it_ends_in_order_with_its_input() {
    let server = Server::start();
    let mut command = server.command(&["elect", "k", "--stdin", "--json"]);
    let (input, others_end) = std::io::pipe().unwrap();
    command.stdin(input);
    let mut elect = Running::start(command);
    elect.line_with("elected");
    drop(others_end);
    assert_eq!(elect.event("lost")["reason"], "resigned");
    elect.event("stopped");
    assert_eq!(elect.ended().0.code(), Some(0));
}

#[test]
fn candidates_of_higher_priority_come_first() {
    let server = Server::start();
    let leader = server.start_command(&["elect", "k", "--value", "leader", "--json"]);
    leader.line_with("elected");
    let stand = |value: &str, priority: &str| {
        let one = server.start_command(&["elect", "k", "--priority", priority, "--value", value, "--json"]);
        until(format!("{value} stands"), || {
            text(&server.run(&["--json", "participants", "k"]).stdout).contains(&format!("\"value\":\"{value}\""))
        });
        one
    };
    let _all = [stand("low", "-1"), stand("high", "7"), stand("middle", "0")];
    let listed = server.run(&["participants", "k"]);
    let values: Vec<_> = text(&listed.stdout).lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(values, ["leader", "high", "middle", "low"]);
}
