//! What a follower costs while nothing happens: requests, as etcd counts them, and memory. Owns this section.

use std::time::Duration;

use leadership_core::{Client, Elector};
use leadership_tests::etcd::{Etcd, Version};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::Result;
use crate::job::{Job, TTL};
use crate::meter::{heap_bytes, requests, rss_bytes};
use crate::report::{load, table};

/// The goals: requests a second of a follower, and bytes.
const GOAL_REQUESTS: f64 = 0.7;
const GOAL_BYTES: f64 = 2048.0;
/// Followers of one client, beside a client with one.
pub const FOLLOWERS: usize = 1000;
/// Leases, registrations and watches are made.
const SETTLE: Duration = Duration::from_secs(6);
/// Within this a client reaches etcd.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// One follower, and a thousand in one client.
///
/// # Errors
/// etcd or a client fails.
pub async fn section(window: Duration) -> Result<Vec<Value>> {
    println!("\n## A follower while nothing happens\n");
    println!(
        "TTL {} s, somebody else leads. Requests as etcd counts them, over {} s; memory of one more follower with its pending \
         `next_term`. Goals: {GOAL_REQUESTS} requests/s, {GOAL_BYTES} bytes.\n",
        TTL.as_secs(),
        window.as_secs()
    );
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for followers in [1, FOLLOWERS] {
        let etcd = Etcd::start(Version::LATEST).await?;
        let endpoint = etcd.endpoints().into_iter().next().ok_or("no such member")?;
        let found = Job { layout: crate::job::Layout::Followers, endpoint, count: followers, window }.run()?;
        let figure = |name: &str| found.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let verdict = |found: f64, goal: f64| if found <= goal { "met" } else { "missed" };
        let (each, bytes) = (figure("requests_per_second_each"), figure("heap_bytes_each"));
        let mut row = vec![followers.to_string(), format!("{each:.2}"), verdict(each, GOAL_REQUESTS).to_owned()];
        if followers > 1 {
            row.extend([format!("{bytes:.0}"), format!("{:.0}", figure("rss_bytes_each")), verdict(bytes, GOAL_BYTES).to_owned()]);
        } else {
            row.extend(["–", "–", ""].map(str::to_owned));
        }
        rows.push(row);
        raw.push(json!({"section": "idle", "followers": followers, "found": found, "load": load()}));
    }
    table(&["followers of one client", "requests/s each", "goal", "bytes allocated", "resident", "goal"], &rows);
    Ok(raw)
}

/// In a process of its own.
///
/// # Errors
/// etcd cannot be reached, or an elector stopped.
pub fn followers(job: &Job) -> Result<Value> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut stranger = etcd_client::Client::connect([format!("http://{}", job.endpoint)], None).await?;
        for follower in 0..=job.count {
            stranger.put(key(follower), "somebody", None).await?;
        }
        let client = Client::connect([job.endpoint.clone()])?;
        client.ready(READY_WITHIN).await?;
        // Connection and streams are there before the first look at the memory: what is measured is one more.
        let first = if job.count > 1 { Some(follow(&client, job.count)?) } else { None };
        sleep(SETTLE).await;
        let before = (rss_bytes()?, heap_bytes());
        let following: Vec<_> = (0..job.count).map(|follower| follow(&client, follower)).collect::<Result<_>>()?;
        sleep(SETTLE).await;
        let after = (rss_bytes()?, heap_bytes());
        let (began, counted) = (Instant::now(), requests(&job.endpoint)?);
        sleep(job.window).await;
        let (done, took) = (requests(&job.endpoint)?, began.elapsed().as_secs_f64());
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / job.count as f64;
        if following.iter().any(tokio::task::JoinHandle::is_finished) {
            return Err("a follower led, or stopped".into());
        }
        drop((following, first));
        client.drop_without_waiting();
        Ok(json!({
            "requests_per_second_each": (done.all - counted.all) as f64 / took / job.count as f64,
            "by_method": done.since(&counted),
            "heap_bytes_each": each(after.1, before.1),
            "rss_bytes_each": each(after.0, before.0),
        }))
    })
}

fn key(follower: usize) -> String {
    format!("bench/followed/{follower:06}")
}

fn follow(client: &Client, follower: usize) -> Result<tokio::task::JoinHandle<()>> {
    let elector = Elector::builder(client, key(follower)).value("host-a:8080").ttl(TTL).start()?;
    Ok(tokio::spawn(async move {
        let _ = elector.next_term().await;
    }))
}
