//! `leadership status`: who leads, by linearizable reads: one election in detail, or a table of those under a prefix.
//! Owns those answers; watching changes is another command's.

use leadership_core::{Client, Election, Mode, Operator, Surveyed};

use crate::args::{Global, Status};
use crate::connection::{Connection, ready};
use crate::event::{Event, text};
use crate::failure::Failure;
use crate::output::{Output, Paint, span};
use crate::table::{self, Cell};

pub(crate) async fn run(global: &Global, args: &Status, output: &Output) -> Result<(), Failure> {
    let connection = Connection::of(global)?;
    let client = connection.client()?;
    ready(&client, &connection).await?;
    if args.election.is_empty() || args.election.ends_with('/') {
        under(&client, &args.election, *output).await?;
    } else {
        one(&client, &args.election, output).await?;
    }
    Ok(client.close().await?)
}

/// Every election under a prefix.
async fn under(client: &Client, prefix: &str, output: Output) -> Result<(), Failure> {
    let all = client.elections(prefix).await?;
    if output.is_json() {
        for one in &all {
            output.event(&Event {
                candidates: Some(one.candidates),
                paused: one.paused.then_some(true),
                ..Event::election(&text(&one.key), one.leader.as_ref())
            })?;
        }
        return Ok(());
    }
    if all.is_empty() {
        return Ok(output.line(&format!("{}  no elections", output.paint(prefix, &[Paint::Bold])))?);
    }
    Ok(table::lines(&rows(&all, output)).iter().try_for_each(|line| output.line(line))?)
}

/// The table's rows, its headings first.
fn rows(all: &[Surveyed], output: Output) -> Vec<Vec<Cell>> {
    let heading = |name| Cell::heading(name, output);
    let mut rows = vec![vec![
        heading("ELECTION"),
        heading("LEADER"),
        heading("TOKEN").right(),
        heading("LEASE"),
        heading("WAITING").right(),
        heading(""),
    ]];
    for one in all {
        let key = text(&one.key);
        let leader = one.leader.as_ref().map_or_else(|| "nobody".to_owned(), |leader| text(&leader.value));
        let paints: &[Paint] = if one.leader.is_some() { &[Paint::Cyan] } else { &[Paint::Yellow] };
        let note = match (one.paused, one.mode, one.leader.as_ref().map(|leader| leader.lease)) {
            (true, ..) => "paused",
            (_, _, Some(0)) => "no lease: never goes by itself",
            (_, Mode::Queue, _) => "queue",
            _ => "",
        };
        rows.push(vec![
            Cell::new(&key, output.paint(&key, &[Paint::Bold])),
            Cell::new(&leader, output.paint(&leader, paints)),
            Cell::plain(one.leader.as_ref().and_then(|leader| leader.token).map_or_else(String::new, |token| token.to_string())).right(),
            Cell::plain(one.leader.as_ref().filter(|leader| leader.lease != 0).map_or_else(String::new, |leader| format!("{:x}", leader.lease))),
            Cell::plain(one.candidates.to_string()).right(),
            Cell::new(note, output.paint(note, &[Paint::Dim])),
        ]);
    }
    rows
}

/// One election; a role may cover its key alone, and then the rest is not known.
async fn one(client: &Client, election: &str, output: &Output) -> Result<(), Failure> {
    let single = client.get_leader(election).await?;
    let queue = match &single {
        None => Election::new(client, election)?.leader().await.ok().flatten(),
        Some(_) => None,
    };
    let mode = if queue.is_some() { Mode::Queue } else { Mode::SingleKey };
    let standing = crate::operate::taking_part(client, election).await.ok().map(|all| all.iter().filter(|one| !one.leads).count());
    let paused = Operator::new(client, election)?.is_paused().await.unwrap_or(false);
    let Some(leader) = single.or(queue) else {
        let event = Event {
            candidates: standing.filter(|count| *count > 0),
            paused: paused.then_some(true),
            ..Event::of("vacant", election)
        };
        let note = if paused { "  (paused)" } else { "" };
        match output.is_json() {
            true => output.event(&event)?,
            false => output.line(&format!("{}  nobody leads{note}", output.paint(election, &[Paint::Bold])))?,
        }
        return Ok(());
    };
    // A role may read the key and not the lease; then how long it lives is simply not known.
    let left = match leader.lease {
        0 => None,
        lease => client.lease_time_left(lease).await.unwrap_or(None),
    };
    let event = Event {
        remaining: left.map(|(left, _)| left),
        candidates: standing,
        paused: paused.then_some(true),
        ..Event::leader(election, &leader)
    };
    if output.is_json() {
        output.event(&event)?;
    } else {
        let row = |name: &str, value: String| output.line(&format!("  {:<7} {value}", name));
        output.line(&output.paint(election, &[Paint::Bold]))?;
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
        let mut waiting = standing.map_or_else(|| "unknown: the candidates may not be read".to_owned(), |count| count.to_string());
        if mode == Mode::Queue {
            waiting.push_str(", in a queue");
        }
        row("waiting", waiting)?;
        if paused {
            row("", output.paint("paused", &[Paint::Yellow]))?;
        }
    }
    Ok(())
}
