//! What operators do: `participants`, `transfer`, `depose`, `pause`, `unpause`.
//! Owns the words on both sides; every step, and what guards it, is the core's.

use leadership_core::{Client, Election, Error, Operator, Participant, Successor};

use crate::args::{Global, Transfer};
use crate::connection::{Connection, ready};
use crate::event::{Event, text};
use crate::failure::Failure;
use crate::output::{Output, Paint};
use crate::table::{self, Cell};

async fn connect(global: &Global) -> Result<Client, Failure> {
    let connection = Connection::of(global)?;
    let client = connection.client()?;
    ready(&client, &connection).await?;
    Ok(client)
}

/// Who takes part, of whichever kind the election is.
pub(crate) async fn taking_part(client: &Client, election: &str) -> Result<Vec<Participant>, Error> {
    let single = Operator::new(client, election)?.participants().await?;
    if !single.is_empty() || election.ends_with('/') {
        return Ok(single);
    }
    Election::new(client, election)?.participants().await
}

pub(crate) async fn participants(global: &Global, election: &str, output: Output) -> Result<(), Failure> {
    let client = connect(global).await?;
    let all = taking_part(&client, election).await?;
    if output.is_json() {
        for one in &all {
            output.event(&event(election, one))?;
        }
        return Ok(client.close().await?);
    }
    let heading = |name| Cell::heading(name, output);
    let mut rows = vec![vec![heading(""), heading("VALUE"), heading("PRIORITY").right(), heading("LEASE"), heading("SINCE").right()]];
    for one in &all {
        let value = text(&one.value);
        let (sign, paints): (_, &[Paint]) = if one.leads { ("●", &[Paint::Bold, Paint::Green]) } else { ("○", &[]) };
        rows.push(vec![
            Cell::new(sign, output.paint(sign, paints)),
            Cell::new(&value, output.paint(&value, paints)),
            Cell::plain(if one.leads { String::new() } else { one.priority.to_string() }).right(),
            Cell::plain(format!("{:x}", one.lease)),
            Cell::plain(format!("revision {}", one.revision)).right(),
        ]);
    }
    match all.is_empty() {
        true => output.line(&format!("{}  nobody takes part", output.paint(election, &[Paint::Bold])))?,
        false => table::lines(&rows).iter().try_for_each(|line| output.line(line))?,
    }
    Ok(client.close().await?)
}

fn event(election: &str, one: &Participant) -> Event {
    Event {
        value: Some(text(&one.value)),
        lease: (one.lease != 0).then_some(one.lease),
        revision: Some(one.revision),
        priority: (!one.leads).then_some(one.priority),
        ..Event::of(if one.leads { "leader" } else { "candidate" }, election)
    }
}

/// Says what was done.
fn say(output: Output, event: &Event, sentence: &str) -> Result<(), Failure> {
    match output.is_json() {
        true => output.event(event)?,
        false => {
            let election = event.key.as_deref().unwrap_or_default();
            output.line(&format!("{}  {sentence}", output.paint(election, &[Paint::Bold])))?;
        }
    }
    Ok(())
}

pub(crate) async fn transfer(global: &Global, args: Transfer, output: Output) -> Result<(), Failure> {
    let client = connect(global).await?;
    let to = match (args.to, args.random) {
        (Some(value), _) => Successor::Named(value.into_bytes()),
        (None, true) => Successor::Random,
        (None, false) => Successor::Highest,
    };
    let operator = Operator::new(&client, args.election.as_str())?;
    let before = operator.leader().await?;
    let now = operator.transfer(to, args.wait).await?;
    let value = text(&now.value);
    let same = before.is_some_and(|before| before.lease == now.lease);
    let (name, sentence) = match same {
        true => ("leader", format!("{value} leads already; nothing was done")),
        false => ("handed_over", format!("handed over to {value}")),
    };
    let told = Event {
        value: Some(value),
        lease: Some(now.lease),
        ..Event::of(name, &args.election)
    };
    say(output, &told, &sentence)?;
    Ok(client.close().await?)
}

pub(crate) async fn depose(global: &Global, election: &str, wait: bool, output: Output) -> Result<(), Failure> {
    let client = connect(global).await?;
    let deposed = Operator::new(&client, election)?.depose(wait).await?;
    match deposed {
        Some(leader) => {
            let event = Event {
                name: "deposed",
                ..Event::leader(election, &leader)
            };
            say(output, &event, &format!("{} was deposed", text(&leader.value)))?;
        }
        None => say(output, &Event::of("vacant", election), "nobody leads; nothing was done")?,
    }
    Ok(client.close().await?)
}

pub(crate) async fn pause(global: &Global, election: &str, paused: bool, output: Output) -> Result<(), Failure> {
    let client = connect(global).await?;
    let operator = Operator::new(&client, election)?;
    let (name, sentence) = if paused {
        operator.pause().await?;
        ("paused", "paused: nobody leads until it is unpaused")
    } else {
        operator.unpause().await?;
        ("unpaused", "goes on")
    };
    say(output, &Event::of(name, election), sentence)?;
    Ok(client.close().await?)
}
