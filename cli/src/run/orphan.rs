//! The key of a wrapper that was killed: released by its guardian, so that a kill costs milliseconds, not a TTL.
//! Owns that one delete; that nothing of the group runs any more is known before.

use std::time::Duration;

use leadership_core::{Client, Leadership};

use crate::args::Global;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::to_stderr;

/// Longer than that, and the lease ends by itself.
const LIMIT: Duration = Duration::from_secs(5);

/// Deletes the key if it is still the dead wrapper's term's. Without a mark: whoever follows waits its takeover delay.
pub(super) fn release(global: &Global, queue: bool) {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let Ok(token) = variable("LEADERSHIP_TOKEN").parse::<i64>() else { return };
    let mut key = variable("LEADERSHIP_KEY");
    if queue {
        key = format!("{key}/{}", variable("LEADERSHIP_LEASE_ID")); // its place
    }
    let released = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(error.to_string()))
        .and_then(|runtime| {
            let client = Connection::of(global)?.client()?;
            runtime.block_on(async {
                let deleting = tokio::time::timeout(LIMIT, delete(&client, &key, token));
                deleting.await.unwrap_or_else(|_| Err(Failure::other("etcd does not answer")))
            })
        });
    if let Err(failure) = released {
        let why = failure.message().unwrap_or_default();
        to_stderr(&format!("leadership: {key} goes with its lease: {why}"));
    }
}

async fn delete(client: &Client, key: &str, token: i64) -> Result<(), Failure> {
    if let Some(leader) = client.get_leader(key).await?
        && leader.token == Some(token)
    {
        let lead = Leadership::new(client, key, "guardian")?;
        lead.delete_leader_key_at(leader.mod_revision).await?;
    }
    Ok(client.close().await?)
}
