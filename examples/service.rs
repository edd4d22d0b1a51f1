//! A service with one active instance: it works while it leads, and hands over at once when it is told to stop.
//! Run it several times: `cargo run -p leadership-cli --example service` (with `leadership test-server` beside it).

use std::time::Duration;

use leadership_core::{CampaignOptions, Client, Error, Leadership, Op, TermHandle};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoints = std::env::var("LEADERSHIP_ENDPOINTS").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);

    let client = Client::connect(endpoints.split(','))?;
    let lead = Leadership::new(&client, "example/leader", "the example")?;
    tokio::select! {
        _ = terminate.recv() => println!("told to stop"),
        _ = interrupt.recv() => println!("told to stop"),
        ended = work_when_elected(&lead) => ended?,
    }
    // The work has ended: `select!` dropped it. Now the key goes, with the mark that lets the next one start at once.
    lead.reset().await?;
    client.close().await?;
    Ok(())
}

/// Campaigns, works, and campaigns again. Dropping this future stops the work; it leaves no key behind.
async fn work_when_elected(lead: &Leadership) -> Result<(), Error> {
    let name = format!("process {}", std::process::id());
    loop {
        let term = match lead.campaign(CampaignOptions::new(name.as_str())).await {
            Ok(term) => term,
            Err(Error::NotElected { holder, .. }) => {
                if let Some(holder) = holder {
                    println!("following {}", String::from_utf8_lossy(&holder.value));
                    lead.watch(holder.mod_revision).await?; // until it no longer leads
                }
                continue;
            }
            // etcd is away: a campaign that follows a failed one waits by itself (50 ms to 2 s).
            Err(error) if error.is_retriable() => continue,
            Err(error) => return Err(error),
        };
        println!("leading, token {}", term.token());
        let ended = tokio::select! {
            reason = term.lost() => Err(Error::NotLeader { key: "example/leader".to_owned(), reason: Some(reason) }),
            ended = work(lead, &term) => ended,
        };
        match ended {
            Err(error @ Error::NotLeader { .. }) => println!("stepped down: {error}"),
            other => return other,
        }
    }
}

/// The work: here a counter that only the leader can write.
async fn work(lead: &Leadership, term: &TermHandle) -> Result<(), Error> {
    lead.keep()?; // renewed in the background from now on
    for round in 0u64.. {
        // etcd applies this only while this very term holds the key. For a store that is not etcd: send `term.token()`
        // along, and let the store refuse whatever carries a smaller one than it has seen.
        let write = Op::put("example/counter", format!("{round} of term {}", term.token()));
        match term.txn().then([write]).commit().await {
            Ok(_) => {}
            // Not applied, or nobody knows. The next round writes the same key again.
            Err(error) if error.is_retriable() || matches!(error, Error::OutcomeUnknown { .. }) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
