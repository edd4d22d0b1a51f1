//! Waiting for a leader to go. Owns what ends a watch; the level it reads is kept true in `etcd/`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::LeadershipShared;
use crate::io::{Cancel, Io};
use crate::error::{Error, Result};
use crate::etcd::Level;
use crate::resets::Since;

/// Why a watch of the leader ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEnd {
    /// The leader's key is gone (or was, and another holds it now).
    Deleted {
        /// A revision at which that was so.
        revision: i64,
    },
    /// The key was written again: a primary watch only.
    Overwritten {
        /// The revision of that write.
        revision: i64,
    },
    /// The leadership was reset.
    Cancelled,
    /// The client was closed.
    Closed,
}

/// Which leader is waited for.
#[derive(Debug, Clone, Copy)]
struct Seen {
    create_at_most: i64,
    modified_at_most: i64,
}

pub(super) async fn watch(
    io: Rc<Io>,
    lead: Arc<LeadershipShared>,
    revision: i64,
    resets: Since,
    cancel: Cancel,
) -> Result<WatchEnd> {
    if lead.client.is_closed() {
        return Ok(WatchEnd::Closed); // too late to be ended by the closing
    }
    let mut level = io.keep_watch(lead.id, &lead.key, &lead.resets);
    let mut seen = (revision > 0).then_some(Seen {
        create_at_most: revision,
        modified_at_most: revision,
    });
    loop {
        let now = level.look().clone();
        if let Some(end) = ended(&now, &mut seen, lead.primary.load(Ordering::Acquire))? {
            return Ok(end);
        }
        tokio::select! {
            // First: a reset and a close delete the key too, and what the caller did is the reason.
            biased;
            () = resets.wait() => {
                return Ok(if lead.client.is_closed() { WatchEnd::Closed } else { WatchEnd::Cancelled });
            }
            changed = level.changed() => if changed.is_err() {
                return Ok(WatchEnd::Closed);
            },
            () = cancel.wait() => return Err(Error::cancelled("watch", &lead.key)),
        }
    }
}

fn ended(level: &Level, seen: &mut Option<Seen>, primary: bool) -> Result<Option<WatchEnd>> {
    if let Some(error) = &level.error {
        return Err(error.clone());
    }
    if !level.synced {
        return Ok(None);
    }
    if seen.is_some_and(|seen| level.revision < seen.modified_at_most) {
        return Ok(None); // known from before the leader that is waited for: nothing of it has ended
    }
    let Some(kv) = &level.kv else {
        return Ok(Some(WatchEnd::Deleted {
            revision: level.revision,
        }));
    };
    let seen = *seen.get_or_insert(Seen {
        create_at_most: kv.create_revision,
        modified_at_most: kv.mod_revision,
    });
    if kv.create_revision > seen.create_at_most {
        return Ok(Some(WatchEnd::Deleted {
            revision: kv.create_revision,
        }));
    }
    let overwritten = primary && kv.mod_revision > seen.modified_at_most;
    Ok(overwritten.then_some(WatchEnd::Overwritten {
        revision: kv.mod_revision,
    }))
}
