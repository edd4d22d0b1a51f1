//! The library with many leases, and with many leaderships: CPU per renewal, memory per leadership.
//! Owns what a client process of ours does in a measurement; what it is compared with is `layouts`'.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use leadership_core::{CampaignOptions, Client, Leadership, Lease, TermHandle};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::Result;
use crate::meter::{Window, heap_bytes, rss_bytes};
use crate::job::{GRANTS_AT_ONCE, Job, SETTLE, TTL};

/// Campaigns under way at once: each waits for its takeover delay, so this is not what limits them.
const CAMPAIGNS_AT_ONCE: usize = 500;
/// Within this a client reaches etcd.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// All terms together are expected to be there after this at the latest.
const CAMPAIGN_WITHIN: Duration = Duration::from_secs(120);

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Leases alone: `Lease::grant` and `keep_alive`, confirming reads included.
///
/// # Errors
/// etcd cannot be reached, or a lease was lost.
pub fn leases(job: &Job) -> Result<Value> {
    block_on(async {
        let client = Client::connect([job.endpoint.clone()])?;
        client.ready(READY_WITHIN).await?;
        let leases: Vec<Lease> = stream::iter(0..job.count)
            .map(|_| async {
                let lease = Lease::grant(&client, TTL, "bench").await?;
                lease.keep_alive()?;
                leadership_core::Result::Ok(lease)
            })
            .buffer_unordered(GRANTS_AT_ONCE)
            .try_collect()
            .await?;
        sleep(SETTLE).await;
        let window = Window::begin(&job.endpoint)?;
        sleep(job.window).await;
        let used = window.end(&job.endpoint)?;
        let lost = leases.iter().filter(|lease| lease.is_expired()).count();
        if lost > 0 {
            return Err(format!("{lost} of {} leases were lost", job.count).into());
        }
        // The process ends here without closing: what a close costs is not what is measured.
        std::mem::forget((leases, client));
        Ok(used)
    })
}

/// Leaderships: each its own key and lease, campaigned for and kept, its key watched.
///
/// # Errors
/// etcd cannot be reached, or a term was lost.
pub fn leaderships(job: &Job) -> Result<Value> {
    block_on(async {
        let client = Client::connect([job.endpoint.clone()])?;
        client.ready(READY_WITHIN).await?;
        // Connection, streams and one term are there before the first look at the memory: what is measured is one more.
        let first = lead(&client, "bench/first".to_owned()).await?;
        sleep(SETTLE).await;
        let before = (rss_bytes()?, heap_bytes());
        let began = Instant::now();
        let all = stream::iter(0..job.count)
            .map(|index| lead(&client, format!("bench/leader/{index:06}")))
            .buffer_unordered(CAMPAIGNS_AT_ONCE)
            .try_collect::<Vec<_>>();
        let all = tokio::time::timeout(CAMPAIGN_WITHIN, all).await.map_err(|_| "the campaigns took too long")??;
        let campaigns = began.elapsed();
        sleep(SETTLE).await;
        let window = Window::begin(&job.endpoint)?;
        sleep(job.window).await;
        let mut used = window.end(&job.endpoint)?;
        let after = (rss_bytes()?, heap_bytes());
        let lost: Vec<_> = all.iter().filter_map(|(_, term)| term.lost_reason()).collect();
        if !lost.is_empty() {
            return Err(format!("{} of {} terms were lost: {:?}", lost.len(), job.count, lost.first()).into());
        }
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / job.count as f64;
        if let Some(used) = used.as_object_mut() {
            used.insert("rss_bytes_each".to_owned(), json!(each(after.0, before.0)));
            used.insert("heap_bytes_each".to_owned(), json!(each(after.1, before.1)));
            used.insert("campaign_seconds".to_owned(), json!(campaigns.as_secs_f64()));
        }
        std::mem::forget((all, first, client));
        Ok(used)
    })
}

async fn lead(client: &Client, key: String) -> Result<(Leadership, TermHandle)> {
    let lead = Leadership::new(client, key, "bench")?;
    loop {
        // On a machine that does not keep up with thousands of campaigns at once a win may come too late for its proof.
        match lead.campaign(CampaignOptions::new("host-a:8080").ttl(TTL)).await {
            Ok(term) => {
                lead.keep()?;
                return Ok((lead, term));
            }
            Err(error) if error.is_retriable() => {}
            Err(error) => return Err(error.into()),
        }
    }
}
