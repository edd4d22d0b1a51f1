//! The programs of `examples/`, run against the test server. A plain `cargo test` builds them, one with a filter does not.
//! Owns that they do what they show; what the library promises is tested with the core.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Running, Server};

fn example(server: &Server, name: &str) -> Running {
    let beside = Path::new(env!("CARGO_BIN_EXE_leadership")).parent().unwrap();
    let program = beside.join("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build -p leadership-cli --examples", program.display());
    let mut command = Command::new(program);
    command.env("LEADERSHIP_ENDPOINTS", &server.endpoint);
    Running::start(command)
}

#[test]
fn the_service_works_while_it_leads_and_hands_over_on_term() {
    let server = Server::start();
    let mut first = example(&server, "service");
    let token = |line: String| line.strip_prefix("leading, token ").unwrap().parse::<i64>().unwrap();
    let before = token(first.line());
    let mut second = example(&server, "service");
    assert_eq!(second.line(), format!("following process {}", first.pid()));
    first.signal(Signal::TERM);
    assert_eq!(first.line(), "told to stop");
    let (status, said) = first.ended();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    let after = token(second.line());
    assert!(after > before);
    // Deposed, it stops and stands again.
    server.delete("example/leader");
    assert!(second.line().starts_with("stepped down: not the leader of example/leader"));
    assert!(token(second.line()) > after);
    second.signal(Signal::INT);
    assert_eq!(second.ended().0.code(), Some(0));
}
