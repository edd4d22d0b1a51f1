//! What operators type: `status` of a prefix, `participants`, `observe`, `transfer`, `depose`, `pause`, `unpause`.
//! Owns the contract of docs/command.md; what each does to a term is tested with the core.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Running, Server, text, until};

/// Candidates `a` (which leads), `b` …, each when the one before is there.
fn candidates(server: &Server, key: &str, count: usize) -> Vec<Running> {
    let mut all: Vec<Running> = Vec::new();
    for value in ["a", "b", "c"].into_iter().take(count) {
        let one = server.start_command(&["elect", key, "--value", value, "--json"]);
        until(one.pid(), || participants(server, key).len() == all.len() + 1);
        all.push(one);
    }
    all
}

fn lines(stdout: &[u8]) -> Vec<Value> {
    text(stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The values, the leader first.
fn participants(server: &Server, key: &str) -> Vec<String> {
    let all = lines(&server.run(&["--json", "participants", key]).stdout);
    for (index, one) in all.iter().enumerate() {
        assert!((one["event"] == "leader") == (index == 0) || one["event"] == "candidate", "{all:?}");
    }
    all.iter().map(|one| one["value"].as_str().unwrap().to_owned()).collect()
}

fn next(running: &Running, event: &str) -> Value {
    serde_json::from_str(&running.line_with(&format!("\"event\":\"{event}\""))).unwrap()
}

#[test]
fn a_transfer_goes_to_who_is_named_and_to_nobody_else() {
    let server = Server::start();
    let all = candidates(&server, "k", 3);
    let first = next(&all[0], "elected");
    let nobody = server.run(&["transfer", "k", "--to", "d"]);
    assert_eq!(nobody.status.code(), Some(2));
    let said = text(&nobody.stderr);
    assert!(["\"d\"", "\"b\"", "\"c\""].iter().all(|name| said.contains(name)), "it says who is: {said}");
    assert_eq!(participants(&server, "k"), ["a", "b", "c"], "nothing was done");
    let oneself = server.run(&["transfer", "k", "--to", "a"]);
    assert!(oneself.status.success() && text(&oneself.stdout).contains("nothing was done"), "{oneself:?}");

    let handed = server.run(&["--json", "transfer", "k", "--to", "c"]);
    let handed = &lines(&handed.stdout)[0];
    assert_eq!((handed["event"].as_str(), handed["value"].as_str()), (Some("handed_over"), Some("c")));
    next(&all[0], "lost");
    let elected = next(&all[2], "elected");
    assert!(elected["token"].as_i64() > first["token"].as_i64());
}

#[test]
fn who_is_deposed_says_so_and_another_leads() {
    let server = Server::start();
    let all = candidates(&server, "k", 2);
    let first = next(&all[0], "elected");
    let deposed = server.run(&["--json", "depose", "k"]);
    let deposed = &lines(&deposed.stdout)[0];
    assert_eq!((deposed["event"].as_str(), &deposed["token"]), (Some("deposed"), &first["token"]));
    assert_eq!(next(&all[0], "lost")["reason"], "key_deleted");
    next(&all[1], "elected");
    let nobody = server.run(&["depose", "other"]);
    assert!(nobody.status.success() && text(&nobody.stdout).contains("nobody leads"), "{nobody:?}");
}

#[test]
fn a_paused_election_has_no_leader_until_it_is_unpaused() {
    let server = Server::start();
    let all = candidates(&server, "k", 1);
    next(&all[0], "elected");
    assert!(server.run(&["pause", "k"]).status.success());
    assert_eq!(next(&all[0], "lost")["reason"], "paused");
    next(&all[0], "paused");
    let status = server.run(&["status", "k"]);
    assert_eq!(text(&status.stdout), "k  nobody leads  (paused)\n");
    assert!(server.run(&["unpause", "k"]).status.success());
    next(&all[0], "elected");
}

#[test]
fn the_status_of_a_prefix_is_a_table() {
    let server = Server::start();
    let one = server.start_command(&["elect", "jobs/one", "--value", "host-a", "--json"]);
    let queued = server.start_command(&["elect", "--queue", "jobs/queue", "--value", "host-b", "--json"]);
    let token = next(&one, "elected")["token"].as_i64().unwrap();
    next(&queued, "elected");
    server.put("jobs/config", "no election");
    assert!(server.run(&["pause", "jobs/two"]).status.success());
    let table = server.run(&["status", "jobs/"]);
    let rows: Vec<Vec<&str>> = text(&table.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ELECTION", "LEADER", "TOKEN", "LEASE", "WAITING"]);
    assert_eq!(rows[1][..3], ["jobs/one", "host-a", &token.to_string()]);
    assert_eq!((rows[2][..2].to_vec(), rows[2].last()), (vec!["jobs/queue", "host-b"], Some(&"queue")));
    assert_eq!(rows[3], ["jobs/two", "nobody", "0", "paused"]);
    assert_eq!(rows.len(), 4);
    let starts: Vec<_> = text(&table.stdout).lines().map(|line| line.find(['n', 'h', 'L'])).collect();
    assert!(starts.iter().all(Option::is_some));
    let json = lines(&server.run(&["--json", "status", "jobs/"]).stdout);
    assert_eq!(json.iter().map(|one| one["event"].as_str().unwrap()).collect::<Vec<_>>(), ["leader", "leader", "vacant"]);
    let queue = server.run(&["status", "jobs/queue"]);
    assert!(text(&queue.stdout).contains("host-b") && text(&queue.stdout).contains("in a queue"), "{queue:?}");
    let nothing = server.run(&["status", "nothing/"]);
    assert_eq!(text(&nothing.stdout), "nothing/  no elections\n");
}

#[test]
fn colours_are_for_a_terminal_that_wants_them() {
    let server = Server::start();
    server.run(&["pause", "jobs/two"]);
    let heading = |no_color: &str| {
        let mut command = server.command(&["status", "jobs/"]);
        command.env("TERM", "xterm").env("NO_COLOR", no_color);
        Running::on_a_terminal(command).line_with("ELECTION")
    };
    assert!(heading("").contains("\x1b["), "an empty one is none");
    assert!(!heading("1").contains("\x1b["));
    assert!(!text(&server.run(&["status", "jobs/"]).stdout).contains("\x1b["), "a pipe");
}

#[test]
fn observe_tells_of_each_leader_and_each_vacancy_and_ends_with_0() {
    let server = Server::start();
    let mut observer = server.start_command(&["observe", "k", "--json"]);
    assert_eq!(observer.event("vacant")["key"], "k");
    let elect = server.start_command(&["elect", "k", "--value", "me", "--json"]);
    let elected = next(&elect, "elected");
    let leader = observer.event("leader");
    for field in ["value", "token", "lease"] {
        assert_eq!(leader[field], elected[field], "{field}");
    }
    elect.signal(Signal::TERM);
    observer.event("vacant");
    observer.signal(Signal::INT);
    assert_eq!(observer.ended().0.code(), Some(0));
}

#[test]
fn observe_finds_what_comes_under_a_prefix() {
    let server = Server::start();
    let first = server.start_command(&["elect", "p/one", "--value", "me", "--json"]);
    next(&first, "elected");
    let observer = server.start_command(&["observe", "p/", "--json"]);
    assert_eq!(observer.event("leader")["key"], "p/one");
    let queued = server.start_command(&["elect", "--queue", "p/queue", "--value", "you", "--json"]);
    next(&queued, "elected");
    let found = observer.event("leader");
    assert_eq!((found["key"].as_str(), found["value"].as_str()), (Some("p/queue"), Some("you")));
}

#[test]
fn a_terminal_shows_a_live_view() {
    let server = Server::start();
    let elect = server.start_command(&["elect", "p/one", "--value", "host-a", "--json"]);
    let token = next(&elect, "elected")["token"].as_i64().unwrap().to_string();
    let mut screen = Running::on_a_terminal(server.command(&["observe", "p/"]));
    let shown = screen.line_with("host-a");
    assert!(shown.contains("p/one") && shown.contains(&token), "{shown:?}");
    elect.signal(Signal::TERM);
    assert!(screen.line_with("nobody").contains("p/one"), "drawn anew");
    screen.signal(Signal::INT);
    screen.ended();
}
