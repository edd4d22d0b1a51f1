//! The short form of `make neighbours`: electors of ours among etcdctl and programs on etcd's Go client, each of which
//! leads, is paused, sent home and killed. Owns what must hold in every run; how it is judged: docs/faults.md.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;

use leadership_faults::neighbours;
use leadership_tests::etcd::Version;

#[test]
fn s1_neighbours_never_two_leaders_and_everyone_gets_a_turn() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_leadership-faults"));
    let found = runtime.block_on(neighbours::play(Version::LATEST, program, 1)).unwrap();
    found.lines.iter().for_each(|line| eprintln!("{line}"));
    assert_eq!(found.fouls, [""; 0]);
}
