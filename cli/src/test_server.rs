//! `leadership test-server`: the in-memory etcd of the testkit on a socket.
//! Owns its start and end; what it answers is the testkit's.

use leadership_testkit::Cluster;

use crate::args::TestServer;
use crate::event::Event;
use crate::failure::Failure;
use crate::output::{Output, Paint, to_stderr};
use crate::signals::Signals;

pub(crate) async fn run(args: &TestServer, output: &Output) -> Result<(), Failure> {
    let mut signals = Signals::listen(args.stdin)?;
    let cluster = Cluster::single();
    let served = cluster
        .member(0)
        .listen(&args.listen)
        .await
        .map_err(|error| Failure::other(format!("cannot listen on {}: {error}", args.listen)))?;
    if !served.addr().ip().is_loopback() {
        to_stderr("leadership: warning: the test server can be reached from other machines, by anybody, without a password");
    }
    let event = Event {
        endpoint: Some(served.addr().to_string()),
        ..Event::new("listening")
    };
    if output.is_json() {
        output.event(&event)?;
    } else {
        output.line(&format!("listening on {}", output.paint(served.addr(), &[Paint::Bold])))?;
        output.line(&output.paint(
            "TEST SERVER: an etcd in memory, for tests and demos. One node, no disk, no replicas; never for production.",
            &[Paint::Bold, Paint::Yellow],
        ))?;
        output.line("It forgets everything when it ends: Ctrl-C.")?;
    }
    signals.stop().await;
    served.stop().await;
    Ok(())
}
