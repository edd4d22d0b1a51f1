//! One suite, run on the test server and on real etcd 3.4, 3.5, 3.6 and 3.7: the same cases, the same answers.
//! Owns which versions run; the cases are in `conformance/`, what they must answer in `conformance/expected/`.
//!
//! `CONFORMANCE_RECORD=1 cargo test -p leadership-tests --test conformance etcd_` writes the answers
//! of the real etcds into `expected/`: to be read before they are committed. The test server never writes there.

// A test may fail by panicking: that is how it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "conformance/auth.rs"]
mod auth;
#[path = "conformance/cluster.rs"]
mod cluster;
#[path = "conformance/compare.rs"]
mod compare;
#[path = "conformance/expected.rs"]
mod expected;
#[path = "conformance/harness.rs"]
mod harness;
#[path = "conformance/kv.rs"]
mod kv;
#[path = "conformance/lease.rs"]
mod lease;
#[path = "conformance/txn.rs"]
mod txn;
#[path = "conformance/watch.rs"]
mod watch;

use harness::{Group, Server};
use leadership_testkit::Version;

/// Every group of cases, each on a fresh server.
const GROUPS: [fn() -> Group; 7] = [
    kv::group,
    txn::group,
    compare::group,
    lease::group,
    watch::group,
    auth::group,
    cluster::group,
];

macro_rules! versions {
    ($($etcd:ident $socket:ident $in_process:ident $version:ident;)*) => {
        $(
            #[tokio::test]
            async fn $etcd() {
                harness::run(Server::Etcd, Version::$version, &GROUPS).await;
            }

            #[tokio::test]
            async fn $socket() {
                // Three members and their clocks are in real time over a socket: what is quick is enough there.
                harness::run(Server::Socket, Version::$version, &[kv::group, txn::group, compare::group, lease::group, watch::group]).await;
            }

            #[tokio::test(start_paused = true)]
            async fn $in_process() {
                harness::run(Server::InProcess, Version::$version, &GROUPS).await;
            }
        )*
    };
}

versions! {
    etcd_3_4 test_server_on_a_socket_as_3_4 test_server_as_3_4 V3_4;
    etcd_3_5 test_server_on_a_socket_as_3_5 test_server_as_3_5 V3_5;
    etcd_3_6 test_server_on_a_socket_as_3_6 test_server_as_3_6 V3_6;
    etcd_3_7 test_server_on_a_socket_as_3_7 test_server_as_3_7 V3_7;
}

/// Two runs under paused time are the same run, to the last answer.
#[tokio::test(start_paused = true)]
async fn the_test_server_repeats_itself() {
    let first = harness::transcripts(Server::InProcess, Version::V3_7, &GROUPS).await;
    let second = harness::transcripts(Server::InProcess, Version::V3_7, &GROUPS).await;
    assert_eq!(first, second);
}
