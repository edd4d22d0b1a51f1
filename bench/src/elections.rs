//! How many terms a second one process can win and give up, on one key and on many, beside a bare client that makes the
//! three round trips of etcd's own election package: create the key, read, delete it. Owns this section.

use std::time::{Duration, Instant};

use etcd_client::{Client as Bare, Compare, CompareOp, PutOptions, Txn, TxnOp};
use leadership_core::{Client, Elector};
use serde_json::{Value, json};

use crate::Result;
use crate::job::TTL;
use crate::meter::requests;
use crate::report::{Spread, load, table};

/// The goal: so many times the bare client's.
const GOAL: f64 = 1.4;
/// The bare client's lease outlives the run.
const LONG: i64 = 600;

/// On one key, and on a hundred at once.
///
/// # Errors
/// etcd or a client fails.
pub async fn section(endpoint: &str, rounds: usize, window: Duration) -> Result<Vec<Value>> {
    println!("\n## Elections a second\n");
    println!(
        "Win and resign, again and again, on one lease; {rounds} interleaved windows of {} s. Bare: create, read, delete by \
         `etcd-client`, on one lease. Goal: {GOAL} × bare.\n",
        window.as_secs_f64()
    );
    let client = Client::connect([endpoint])?;
    let mut bare = Bare::connect([format!("http://{endpoint}")], None).await?;
    let lease = bare.lease_grant(LONG, None).await?.id();
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for keys in [1, 100] {
        let (mut ours, mut theirs, mut asked_each) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            // Which goes first alternates.
            for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                if which == 0 {
                    let asked = requests(endpoint)?;
                    let (rate, done) = elections(&client, keys, window).await?;
                    let more = requests(endpoint)?;
                    eprintln!("  {keys} keys: {rate:.0}/s, by method: {:?}", more.since(&asked));
                    asked_each.push((more.all - asked.all) as f64 / done as f64);
                    ours.push(rate);
                } else {
                    theirs.push(bare_elections(&bare, lease, keys, window).await?);
                }
            }
        }
        let ratio = Spread::of(ours.iter().zip(&theirs).map(|(ours, bare)| ours / bare));
        let verdict = if ratio.median >= GOAL { "met" } else { "missed" };
        let asked = Spread::of(asked_each.into_iter());
        let (ours, theirs) = (Spread::of(ours.into_iter()), Spread::of(theirs.into_iter()));
        rows.push(vec![keys.to_string(), ratio.show(2), verdict.to_owned(), ours.show(0), theirs.show(0), asked.show(1)]);
        raw.push(json!({
            "section": "elections", "keys": keys, "ratio": ratio.json(), "ours": ours.json(), "bare": theirs.json(),
            "requests_each": asked.json(), "goal": verdict, "load": load(),
        }));
    }
    table(&["keys", "ours ÷ bare", "goal", "ours, elections/s", "bare", "requests of one of ours"], &rows);
    println!("\nLoad at the end: {:.1}.", load());
    client.close().await?;
    Ok(raw)
}

/// Elections a second of all keys together, and how many there were.
async fn elections(client: &Client, keys: usize, window: Duration) -> Result<(f64, u64)> {
    let lease = client.shared_lease(TTL)?;
    let mut electors = Vec::new();
    for key in 0..keys {
        let elector = Elector::builder(client, format!("bench/elections/{key}")).lease(&lease).cool_down(Duration::ZERO).start()?;
        electors.push(elector);
    }
    // One of each before the clock runs: the lease, the watches and the first takeover delay are no elections.
    futures_util::future::try_join_all(electors.iter().map(one)).await?;
    let began = Instant::now();
    let until = began + window;
    let run = |elector: Elector| async move {
        let mut done = 0_u64;
        while Instant::now() < until {
            one(&elector).await?;
            done += 1;
        }
        leadership_core::Result::Ok((done, elector))
    };
    let done = futures_util::future::try_join_all(electors.into_iter().map(run)).await?;
    let elections = done.iter().map(|(done, _)| *done).sum::<u64>();
    let rate = elections as f64 / began.elapsed().as_secs_f64();
    for (_, elector) in done {
        elector.close().await?;
    }
    Ok((rate, elections))
}

async fn one(elector: &Elector) -> leadership_core::Result<()> {
    let term = elector.next_term().await?.ok_or(leadership_core::Error::Closed)?;
    term.resign().await
}

async fn bare_elections(client: &Bare, lease: i64, keys: usize, window: Duration) -> Result<f64> {
    let began = Instant::now();
    let run = |key: usize| {
        let mut client = client.clone();
        async move {
            let key = format!("bench/bare-elections/{key}");
            let mut done = 0_u64;
            while began.elapsed() < window {
                let absent = Compare::create_revision(key.as_str(), CompareOp::Equal, 0);
                let put = TxnOp::put(key.as_str(), "bare", Some(PutOptions::new().with_lease(lease)));
                client.txn(Txn::new().when([absent]).and_then([put])).await?;
                client.get(key.as_str(), None).await?;
                client.delete(key.as_str(), None).await?;
                done += 1;
            }
            Result::Ok(done)
        }
    };
    let done = futures_util::future::try_join_all((0..keys).map(run)).await?;
    Ok(done.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
}
