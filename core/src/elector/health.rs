//! The user's health check, on a thread of its own: it may block for as long as it likes.
//! Owns running it and when its last success wears out; what follows from that is `drive`'s.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::builder::Check;
use super::shared::Shared;
use crate::clock::BootTime;
use crate::error::{Error, Result};

/// What is known of this process's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// No check has ended yet.
    Unknown,
    /// A check succeeded: that counts until then.
    WellUntil(BootTime),
    /// The last check failed, and why; an earlier success counts on until then.
    Failed { why: String, until: BootTime },
}

impl Health {
    /// Until when it holds.
    pub(super) fn until(&self) -> BootTime {
        match self {
            Health::Unknown => BootTime::default(),
            Health::WellUntil(until) | Health::Failed { until, .. } => *until,
        }
    }

    /// What is wrong at `now`, if anything.
    pub(super) fn wrong(&self, now: BootTime) -> Option<String> {
        if now < self.until() {
            return None;
        }
        Some(match self {
            Health::Unknown => "no check has succeeded yet".to_owned(),
            Health::WellUntil(_) => "the check has not ended in time".to_owned(),
            Health::Failed { why, .. } => why.clone(),
        })
    }
}

const THREAD_NAME: &str = "leadership-heal";

/// Starts the thread; it ends with the elector.
pub(super) fn start(shared: &Arc<Shared>, check: Check, age: Duration) -> Result<()> {
    let elector = Arc::downgrade(shared);
    let run = move || {
        loop {
            let Some(shared) = elector.upgrade() else { return };
            if shared.client().forked() || shared.ended().is_some() {
                return;
            }
            let clock = shared.client().clock().clone();
            drop(shared); // not held while the check runs, which may be for ever
            let begun = clock.now();
            let outcome = catch_unwind(AssertUnwindSafe(|| check())).unwrap_or_else(|_| Err("the check panicked".to_owned()));
            let Some(shared) = elector.upgrade() else { return };
            if shared.client().forked() {
                // The check forked, and this is the child: its only thread ends, and so does it (S12).
                return std::mem::forget(shared);
            }
            shared.health.send_modify(|health| {
                *health = match outcome {
                    // From its beginning: what it looked at may have changed since.
                    Ok(()) => Health::WellUntil(begun.after(age)),
                    Err(why) => Health::Failed {
                        why,
                        until: health.until(),
                    },
                };
            });
            drop(shared);
            std::thread::sleep(age / 4);
        }
    };
    std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|error| Error::internal(format!("no thread for the health check: {error}")))
}
