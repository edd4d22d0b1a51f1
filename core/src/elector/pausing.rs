//! A paused election: `KEY.paused` is there. Owns watching it for an elector, through the client's one watch stream.
//! What follows from it is the loop's; whoever campaigns compares it as well, in `protocol`.

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::shared::Shared;
use crate::error::show;
use crate::io::Io;
use crate::leadership::next_id;
use crate::protocol::{self, Key};

/// Watches until it is dropped.
pub(super) struct Pausing {
    io: Rc<Io>,
    id: u64,
    task: AbortHandle,
}

impl Drop for Pausing {
    fn drop(&mut self) {
        self.task.abort();
        self.io.forget(self.id);
    }
}

impl Pausing {
    /// Keeps `wanted.paused` as the key is.
    pub(super) fn watch(io: &Rc<Io>, el: &Arc<Shared>) -> Pausing {
        let key: Key = protocol::paused_key(el.lead.key()).into();
        let id = next_id();
        let mut level = io.keep_watch(id, &key, &el.lead.shared.resets);
        let el = el.clone();
        let task = tokio::task::spawn_local(async move {
            loop {
                {
                    let now = level.look();
                    // Who may not read it, as a role with the key alone, is not paused.
                    let paused = now.synced && now.error.is_none() && now.kv.is_some();
                    el.wanted.send_if_modified(|wanted| {
                        let changed = wanted.paused != paused;
                        wanted.paused = paused;
                        if changed {
                            log::info!("{}: {}", show(el.lead.key()), if paused { "paused" } else { "goes on" });
                        }
                        changed
                    });
                }
                if level.changed().await.is_err() {
                    return;
                }
            }
        });
        Pausing {
            io: io.clone(),
            id,
            task: task.abort_handle(),
        }
    }
}
