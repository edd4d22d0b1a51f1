//! The whole tour, as `make demo` runs it, and its end by Ctrl-C.
//! Owns that it passes and leaves nothing behind; its checks are tested beside them, in `src/demo/verdict.rs`.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{LIMIT, Running, Server, command, run, text};

#[test]
fn the_whole_demo_passes() {
    let begun = Instant::now();
    let demo = run(&["demo"]);
    let said = text(&demo.stdout);
    assert_eq!(demo.status.code(), Some(0), "{said}\n{}", text(&demo.stderr));
    for part in ["kill -9", "kill -TERM", "etcdctl del", "kill -STOP", "kill -CONT", "etcd refuses it", "All as it should be."] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains('✗'), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(40));
}

#[test]
fn the_demo_uses_the_etcd_it_is_given_and_leaves_no_key_there() {
    let server = Server::start();
    let demo = server.run(&["demo"]);
    assert_eq!(demo.status.code(), Some(0), "{}\n{}", text(&demo.stdout), text(&demo.stderr));
    assert!(text(&demo.stdout).contains(&server.endpoint));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let left = runtime.block_on(async {
        let mut client = etcd_client::Client::connect([&server.endpoint], None).await.unwrap();
        let all = etcd_client::GetOptions::new().with_all_keys();
        client.get("", Some(all)).await.unwrap().count()
    });
    assert_eq!(left, 0);
}

#[test]
fn a_demo_without_etcd_exits_with_3() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_eq!(run(&["--endpoints", &port, "demo"]).status.code(), Some(3));
}

/// Processes whose parent is `parent`.
fn children(parent: u32) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_child = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // pid (name, which may hold anything) state ppid …
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&parent.to_string())
    };
    processes.filter(|pid| pid.parse::<u32>().is_ok()).filter(is_child).collect()
}

fn all_gone(pids: &[String]) {
    let gone = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie whose new parent has not collected it yet has ended, too.
        stat.is_empty() || stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    };
    let until = Instant::now() + LIMIT;
    while !pids.iter().all(gone) {
        assert!(Instant::now() < until, "still running: {pids:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn ctrl_c_ends_the_demo_and_everybody_in_it() {
    let mut command = command();
    command.arg("demo");
    let mut demo = Running::start(command);
    demo.line_with("leads");
    let pids = children(demo.pid());
    assert_eq!(pids.len(), 4, "the server and three candidates");
    demo.signal(Signal::INT);
    assert_eq!(demo.ended().0.code(), Some(130));
    all_gone(&pids);
}

#[test]
fn nobody_outlives_a_demo_that_is_killed() {
    let mut command = command();
    command.arg("demo");
    let mut demo = Running::start(command);
    demo.line_with("leads");
    let pids = children(demo.pid());
    assert_eq!(pids.len(), 4);
    demo.signal(Signal::KILL);
    demo.ended();
    all_gone(&pids);
}
