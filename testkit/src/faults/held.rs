//! Owns a parked call: whether it has come, may go on, and is done.
//! Leaves which call is parked to the rules.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Awaited,
    Parked,
    Done,
}

#[derive(Debug)]
struct Inner {
    phase: Mutex<(Phase, bool)>,
    bell: Notify,
}

/// The handle on a call that is parked by `Faults::hold` or `hold_reply`. Dropping it releases nothing: a call that is
/// not released is never delivered. Cheap to clone, all clones the same.
#[derive(Clone, Debug)]
#[must_use = "a call that is not released is never delivered"]
pub struct Held {
    inner: Arc<Inner>,
}

impl Held {
    pub(super) fn new() -> Self {
        Held {
            inner: Arc::new(Inner {
                phase: Mutex::new((Phase::Awaited, false)),
                bell: Notify::new(),
            }),
        }
    }

    fn read(&self) -> (Phase, bool) {
        *self
            .inner
            .phase
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut (Phase, bool))) {
        change(
            &mut self
                .inner
                .phase
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.inner.bell.notify_waiters();
    }

    async fn until(&self, met: impl Fn((Phase, bool)) -> bool) {
        loop {
            let mut bell = std::pin::pin!(self.inner.bell.notified());
            bell.as_mut().enable();
            if met(self.read()) {
                return;
            }
            bell.await;
        }
    }

    /// Whether the call has come and lies here (or has been delivered since).
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.read().0 >= Phase::Parked
    }

    /// Waits until the call has come. Cancel-safe; no time limit of its own.
    pub async fn reached(&self) {
        self.until(|(phase, _)| phase >= Phase::Parked).await;
    }

    /// Lets the call (or its reply) go on, now or as soon as it comes.
    pub fn release(&self) {
        self.write(|(_, released)| *released = true);
    }

    /// Waits until the server has handled the released call (for `hold_reply`: until the reply is handed on).
    /// Cancel-safe; no time limit of its own.
    pub async fn delivered(&self) {
        self.until(|(phase, _)| phase == Phase::Done).await;
    }

    pub(super) async fn park(&self) {
        self.write(|(phase, _)| *phase = Phase::Parked);
        self.until(|(_, released)| released).await;
    }

    pub(super) fn done(&self) {
        self.write(|(phase, _)| *phase = Phase::Done);
    }
}
