//! `leadership status`: who leads, by one linearizable read.
//! Owns that one answer; watching changes is another command's.

use crate::args::{Global, Status};
use crate::connection::{Connection, ready};
use crate::event::Event;
use crate::failure::Failure;
use crate::output::{Output, Paint, span};

pub(crate) async fn run(global: &Global, args: &Status, output: &Output) -> Result<(), Failure> {
    let connection = Connection::of(global)?;
    let client = connection.client()?;
    ready(&client, &connection).await?;
    let Some(leader) = client.get_leader(&args.election).await? else {
        let event = Event::of("vacant", &args.election);
        match output.is_json() {
            true => output.event(&event)?,
            false => output.line(&format!("{}  nobody leads", output.paint(&args.election, &[Paint::Bold])))?,
        }
        return Ok(client.close().await?);
    };
    // A role may read the key and not the lease; then how long it lives is simply not known.
    let left = match leader.lease {
        0 => None,
        lease => client.lease_time_left(lease).await.unwrap_or(None),
    };
    let event = Event {
        remaining: left.map(|(left, _)| left),
        ..Event::leader(&args.election, &leader)
    };
    if output.is_json() {
        output.event(&event)?;
    } else {
        let row = |name: &str, value: String| output.line(&format!("  {:<7} {value}", name));
        output.line(&output.paint(&args.election, &[Paint::Bold]))?;
        row("leader", output.paint(event.value.as_deref().unwrap_or_default(), &[Paint::Cyan]))?;
        row("token", event.token.map_or("unknown: the mark beside the key may not be read".to_owned(), |t| t.to_string()))?;
        row(
            "lease",
            match (leader.lease, left) {
                (0, _) => "none: this key never goes by itself".to_owned(),
                (lease, None) => format!("{lease:x}"),
                (lease, Some((left, granted))) => {
                    format!("{lease:x}, {} left of {} unless renewed", span(left), span(granted))
                }
            },
        )?;
    }
    Ok(client.close().await?)
}
