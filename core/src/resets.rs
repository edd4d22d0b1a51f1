//! What ends the campaigns and watches of a contender: a count that only rises, and waiting for it to rise.
//! Owns the count; who raises it, and what ends then, is the leadership's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// How often it was reset. Any thread.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    count: AtomicU64,
    changed: Notify,
}

/// Resets from a moment on.
#[derive(Debug, Clone)]
pub(crate) struct Since {
    resets: Arc<Resets>,
    seen: u64,
}

impl Resets {
    /// Ends what is under way.
    pub(crate) fn reset(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// From now on.
    pub(crate) fn since(self: &Arc<Self>) -> Since {
        Since {
            seen: self.count.load(Ordering::Acquire),
            resets: self.clone(),
        }
    }
}

impl Since {
    pub(crate) fn happened(&self) -> bool {
        self.resets.count.load(Ordering::Acquire) != self.seen
    }

    /// Resolves when a reset has happened. Cancel-safe.
    pub(crate) async fn wait(&self) {
        loop {
            let changed = self.resets.changed.notified();
            if self.happened() {
                return;
            }
            changed.await;
        }
    }
}
