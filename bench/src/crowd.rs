//! Many candidates for one key: how soon another leads when the leader resigns, and how many requests that costs.
//! Owns this section; what the least is, for two, is `handover`'s.

use std::time::{Duration, Instant};

use leadership_core::{Client, Elector, TermHandle};
use leadership_tests::etcd::{Etcd, Version};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::job::TTL;
use crate::meter::requests;
use crate::report::{Spread, load, table};

/// The goal: the gap with many, by the gap with two, at its median and at its 99th percentile.
const GOAL: f64 = 2.0;
/// Candidates that are compared; two at both ends of a round, so that a slow neighbour is seen.
const CROWDS: [usize; 4] = [2, 100, 1000, 2];
/// Clients that the candidates of a crowd are spread over: a thousand threads that wake up on the machine that etcd runs on
/// would be all that is measured.
const CLIENTS: usize = 10;
/// All stand by after so long: connections, leases, registrations, two rounds of renewals.
const SETTLE: Duration = Duration::from_secs(6);
/// Whoever resigned does not campaign for so long: another is to win.
const COOL_DOWN: Duration = Duration::from_millis(50);
/// Between two changes: whoever resigned stands by again.
const STAND_BY: Duration = Duration::from_millis(150);
/// A change that takes longer is none.
const WITHIN: Duration = Duration::from_secs(30);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Rounds of all crowds.
    pub rounds: usize,
    /// Changes of leader in each.
    pub changes: usize,
}

/// Gaps and requests for each crowd.
///
/// # Errors
/// etcd or a client fails, or nobody leads.
pub async fn section(size: Size) -> Result<Vec<Value>> {
    let mut raw = Vec::new();
    let mut found: Vec<(usize, Vec<f64>, Vec<f64>)> = Vec::new();
    for round in 0..size.rounds {
        for candidates in CROWDS {
            let (gaps, each) = crowd(candidates, size.changes).await?;
            eprintln!("round {round}, {candidates} candidates: {} ms, {each:.1} requests a change", Spread::of(gaps.iter().copied()).show(2));
            raw.push(json!({
                "section": "crowd", "candidates": candidates, "round": round, "gaps_ms": gaps, "requests_each": each, "load": load(),
            }));
            match found.iter_mut().find(|(of, ..)| *of == candidates) {
                Some((_, all, requests)) => {
                    all.extend(gaps);
                    requests.push(each);
                }
                None => found.push((candidates, gaps, vec![each])),
            }
        }
    }
    println!("\n## Many candidates for one key\n");
    println!(
        "Electors, spread over {CLIENTS} clients (two: each its own), all in one process; {} changes of leader in each of {} interleaved \
         round(s), a fresh etcd each. The gap: from the call that resigns to the successor's term in its caller's hands. Requests: \
         whatever etcd counted, less what it counts while nothing changes. Goal: within {GOAL} × the gap of two.\n",
        size.changes, size.rounds
    );
    let mut rows = Vec::new();
    let mut two = (f64::NAN, f64::NAN);
    for (candidates, mut gaps, requests) in found {
        gaps.sort_by(f64::total_cmp);
        let at = |part: f64| gaps.get((part * (gaps.len().saturating_sub(1)) as f64).round() as usize).copied().unwrap_or(f64::NAN);
        let (p50, p99) = (at(0.5), at(0.99));
        if candidates == 2 {
            two = (p50, p99);
        }
        let (of_p50, of_p99) = (p50 / two.0, p99 / two.1);
        let verdict = if of_p50 <= GOAL && of_p99 <= GOAL { "met" } else { "missed" };
        rows.push(vec![
            candidates.to_string(),
            format!("{p50:.2}"),
            format!("{p99:.2}"),
            format!("{of_p50:.2}"),
            format!("{of_p99:.2}"),
            verdict.to_owned(),
            Spread::of(requests.into_iter()).show(1),
        ]);
    }
    table(&["candidates", "p50, ms", "p99, ms", "p50 ÷ that of two", "p99 ÷ that of two", "goal", "requests a change"], &rows);
    println!("\nLoad at the end: {:.1}.", load());
    Ok(raw)
}

/// The gaps in ms, and the requests of one change.
async fn crowd(candidates: usize, changes: usize) -> Result<(Vec<f64>, f64)> {
    let etcd = Etcd::start(Version::LATEST).await?;
    let endpoint = etcd.endpoints().into_iter().next().ok_or("no such member")?;
    let (told, mut wins) = mpsc::unbounded_channel();
    // The revision of the term that is to be given up.
    let (give_up, _) = watch::channel(0);
    let connect = |_| Client::connect([endpoint.as_str()]);
    let clients: Vec<Client> = (0..CLIENTS.min(candidates)).map(connect).collect::<leadership_core::Result<_>>()?;
    for (candidate, client) in (0..candidates).zip(clients.iter().cycle()) {
        tokio::spawn(stand(client.clone(), candidate, told.clone(), give_up.subscribe()));
    }
    let mut next = async || -> Result<(TermHandle, Instant)> {
        Ok(timeout(WITHIN, wins.recv()).await.map_err(|_| "nobody leads")?.ok_or("the candidates are gone")?)
    };
    let (mut term, _) = next().await?;
    sleep(SETTLE).await;
    let idle_from = (Instant::now(), requests(&endpoint)?);
    sleep(SETTLE).await;
    let idle = (requests(&endpoint)?.all - idle_from.1.all) as f64 / idle_from.0.elapsed().as_secs_f64();
    let busy_from = (Instant::now(), requests(&endpoint)?);
    let mut gaps = Vec::new();
    for _ in 0..changes {
        sleep(STAND_BY).await;
        let began = Instant::now();
        give_up.send_replace(term.token());
        let (won, at) = next().await?;
        gaps.push(at.duration_since(began).as_secs_f64() * 1e3);
        term = won;
    }
    sleep(STAND_BY).await;
    let (busy, took) = (requests(&endpoint)?, busy_from.0.elapsed().as_secs_f64());
    let more = (busy.all - busy_from.1.all) as f64 - idle * took;
    eprintln!("  by method: {:?}", busy.since(&busy_from.1));
    // What a close of a thousand clients costs is not what is measured, and etcd goes with this function.
    clients.iter().for_each(Client::drop_without_waiting);
    Ok((gaps, more / changes as f64))
}

async fn stand(
    client: Client,
    candidate: usize,
    told: mpsc::UnboundedSender<(TermHandle, Instant)>,
    mut give_up: watch::Receiver<i64>,
) -> leadership_core::Result<()> {
    let elector = Elector::builder(&client, "bench/crowd").value(candidate.to_string()).ttl(TTL).cool_down(COOL_DOWN).start()?;
    while let Some(term) = elector.next_term().await? {
        let _ = told.send((term.handle(), Instant::now()));
        // Resigned, or lost against its will: then the next one says so.
        tokio::select! {
            _ = give_up.wait_for(|token| *token == term.token()) => {}
            reason = term.lost() => eprintln!("candidate {candidate} lost its term: {reason}"),
        }
    }
    Ok(())
}
