//! Members that cannot be reached: which error a caller gets, and that it names the member (S13's "clear error").
//! Owns sockets that refuse, hang up or say nothing; a cluster that works only in part is in `watching.rs`.

use std::net::TcpListener;
use std::time::Duration;

use leadership_core::{Client, ClientOptions, Error, Result};
use tokio::task::JoinSet;

/// Long enough for several rounds of refusals, short for a test.
const CALL: Duration = Duration::from_millis(300);
/// Many at once: the last attempt of a call begins at any time before its end.
const CALLS: usize = 24;

/// What listens at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Nobody.
    Nobody,
    /// Somebody who hangs up.
    HangsUp,
    /// Somebody who accepts and never says anything, as a stopped process does.
    Silent,
}

/// An address with such a peer behind it for the rest of the process.
fn address(peer: Peer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    match peer {
        Peer::Nobody => drop(listener),
        Peer::HangsUp => drop(std::thread::spawn(move || while listener.accept().is_ok() {})),
        Peer::Silent => std::mem::forget(listener), // the kernel accepts
    }
    address
}

fn client(addresses: &[String], change: impl FnOnce(ClientOptions) -> ClientOptions) -> Client {
    Client::with_options(change(ClientOptions::new(addresses.to_vec()).request_timeout(CALL))).unwrap()
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(names: &[String], outcome: Result<T>) {
    match outcome {
        Err(Error::Unavailable { message }) => {
            assert!(names.iter().all(|name| message.contains(name)), "{message}: not all of {names:?}");
        }
        other => panic!("{other:?}"),
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn s13_not_ready_names_every_member() {
    run(async {
        for peer in [Peer::Nobody, Peer::HangsUp, Peer::Silent] {
            let both = [address(peer), address(peer)];
            unavailable(&both, client(&both, |options| options).ready(CALL).await);
            let with_password = client(&both, |options| options.credentials("user", "password"));
            unavailable(&both, with_password.ready(CALL).await);
        }
    });
}

/// What cannot have been applied, since nobody was reached or since it only reads, is unavailable, with the member's
/// error; only a member that says nothing makes the time run out.
#[test]
fn s13_a_read_that_nobody_serves_is_unavailable() {
    run(async {
        for peer in [Peer::Nobody, Peer::HangsUp] {
            let address = address(peer);
            let client = client(std::slice::from_ref(&address), |options| options);
            let mut calls = JoinSet::new();
            for number in 0..CALLS {
                let client = client.clone();
                calls.spawn(async move { client.get_leader(format!("k{number}")).await });
            }
            while let Some(call) = calls.join_next().await {
                unavailable(std::slice::from_ref(&address), call.unwrap());
            }
        }
        let address = address(Peer::Silent);
        let silent = client(std::slice::from_ref(&address), |options| options).get_leader("k").await;
        assert!(matches!(&silent, Err(Error::Timeout { message }) if message.contains(&address)), "{silent:?}");
    });
}
