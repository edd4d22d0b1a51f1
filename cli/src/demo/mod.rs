//! `leadership demo`: three candidates as processes, and what can happen to a leader.
//! Owns the tour's frame: the etcd it runs on, Ctrl-C, the end; the steps are `steps`', the verdict `verdict`'s.

mod process;
mod stage;
mod steps;
mod stranger;
mod timeline;
mod verdict;

use std::time::Duration;

use crate::args::Global;
use crate::connection::{Connection, ready};
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;

use process::Process;
use stage::Stage;
use stranger::Stranger;
use timeline::Timeline;

/// Short, so that the tour is; etcd itself raises anything below.
const TTL: Duration = Duration::from_secs(2);
/// For what should take milliseconds.
const SOON: Duration = Duration::from_secs(5);

pub(crate) async fn run(global: &Global) -> Result<(), Failure> {
    if global.json {
        return Err(Failure::Usage("the demo is for people: it has no --json (its candidates have: see elect)".to_owned()));
    }
    let mut signals = Signals::listen(false)?;
    // Children are killed when their handles are dropped, so on every way out of here.
    tokio::select! {
        biased;
        number = signals.stop() => Err(Failure::Signal(number)),
        outcome = tour(global) => outcome,
    }
}

async fn tour(global: &Global) -> Result<(), Failure> {
    let timeline = Timeline::new(Output::new(false));
    let mut connection = Connection::of(global)?;
    let asked_for = !global.endpoints.is_empty();
    let server = match asked_for {
        true => None,
        false => {
            let (server, endpoint) = Process::test_server().await?;
            connection = Connection::to(endpoint);
            Some(server)
        }
    };
    let client = connection.client()?;
    ready(&client, &connection).await?;
    client.close().await?;
    timeline.title(&connection.settings.endpoints.join(","), server.is_some())?;
    let stranger = Stranger::connect(&connection).await?;
    let mut stage = Stage::new(connection, stranger, timeline);
    let played = steps::all(&mut stage).await;
    let cleared = stage.clear().await;
    if let Some(server) = server {
        server.end().await;
    }
    played?;
    cleared?;
    match stage.verdict()? {
        true => Ok(()),
        false => Err(Failure::other("the demo found something that is not as it should be")),
    }
}
