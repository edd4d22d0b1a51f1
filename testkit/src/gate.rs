//! Owns waiting: a request sits here until its member and a leader let it through, under tokio's clock.
//! Leaves the decision to `state`, what is then done to the services.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tonic::Status;

use crate::state::{Admission, State, Waiting};

/// How a request got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Regular,
    /// By a member that does not know it is out of office: its index and old term.
    Stale {
        member: usize,
        term: u64,
    },
}

/// The state of a cluster, its clock, and the bell that tells waiters to look again.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    began: Instant,
    offset: Mutex<Duration>,
    /// `Notify` wakes in the order of waiting, so that a run under paused time repeats.
    bell: Notify,
}

/// The state, locked, after everything that was due has been done.
pub(crate) struct Locked<'a> {
    pub(crate) state: MutexGuard<'a, State>,
    pub(crate) now: Duration,
}

impl Shared {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Shared {
            state: Mutex::new(state),
            began: Instant::now(),
            offset: Mutex::new(Duration::ZERO),
            bell: Notify::new(),
        })
    }

    /// The server's clock: tokio's, plus the jumps a test made.
    pub(crate) fn now(&self) -> Duration {
        let offset = *self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now().saturating_duration_since(self.began) + offset
    }

    pub(crate) fn jump(&self, by: Duration) {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner) += by;
        drop(self.lock());
        self.ring();
    }

    /// Locks the state and brings it up to now.
    pub(crate) fn lock(&self) -> Locked<'_> {
        let now = self.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tick(now);
        Locked { state, now }
    }

    /// Locks, changes, and tells everybody who waits.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let Locked { mut state, now } = self.lock();
        let result = change(&mut state, now);
        drop(state);
        self.ring();
        result
    }

    pub(crate) fn ring(&self) {
        self.bell.notify_waiters();
    }

    /// Returns at the next change, or when the clock reads `until`.
    pub(crate) async fn changed(
        &self,
        bell: std::pin::Pin<&mut tokio::sync::futures::Notified<'_>>,
        until: Option<Duration>,
    ) {
        match until {
            None => bell.await,
            Some(until) => {
                let left = until.saturating_sub(self.now());
                tokio::select! {
                    biased;
                    () = bell => {}
                    () = tokio::time::sleep(left) => {}
                }
            }
        }
    }

    pub(crate) fn bell(&self) -> tokio::sync::futures::Notified<'_> {
        self.bell.notified()
    }

    /// Waits while the member is stopped. If it led when it was stopped and leads no more, answers its old term.
    pub(crate) async fn enter_here(&self, waiting: &mut Waiting) -> Option<u64> {
        loop {
            let mut bell = std::pin::pin!(self.bell());
            bell.as_mut().enable();
            if let std::ops::ControlFlow::Break(term) = self.lock().state.arrive(waiting) {
                return term;
            }
            self.changed(bell, None).await;
        }
    }

    /// Waits until a request may go on.
    pub(crate) async fn enter(
        &self,
        mut waiting: Waiting,
        mut early: Option<&mut dyn EarlyAnswer>,
    ) -> Result<Passage, Status> {
        loop {
            let mut bell = std::pin::pin!(self.bell());
            bell.as_mut().enable();
            let (admission, next) = {
                let Locked { state, now } = self.lock();
                (state.admit(&mut waiting, now), state.next_event(now))
            };
            match admission {
                Admission::Go => return Ok(Passage::Regular),
                Admission::Stale { member, term } => return Ok(Passage::Stale { member, term }),
                Admission::Refuse(status) => return Err(status),
                Admission::TimedOut(status) => match early.as_mut() {
                    Some(early) => early.answer(status),
                    None => return Err(status),
                },
                // What the clock brings meanwhile, an election before all, may let it through.
                Admission::Wait(until) => {
                    let until = until.into_iter().chain(next).min();
                    self.changed(bell, until).await;
                }
            }
        }
    }

    /// Does a write once it is let through, whether or not its caller is still there: it has left the caller's hands.
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        waiting: Waiting,
        work: impl FnOnce(&mut State, Duration) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let mut answer = Answer(Some(answer));
            let result = match shared.enter(waiting, Some(&mut answer)).await {
                Ok(_) => shared.change(work),
                Err(status) => Err(status),
            };
            answer.give(result);
        });
        answered
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("etcdserver: server stopped")))
    }
}

/// Tells a caller that its request timed out, while the request goes on waiting.
pub(crate) trait EarlyAnswer: Send {
    fn answer(&mut self, status: Status);
}

struct Answer<T>(Option<oneshot::Sender<Result<T, Status>>>);

impl<T> Answer<T> {
    fn give(&mut self, result: Result<T, Status>) {
        if let Some(sender) = self.0.take() {
            // The caller may have gone away: what was done stays done.
            let _ = sender.send(result);
        }
    }
}

impl<T: Send> EarlyAnswer for Answer<T> {
    fn answer(&mut self, status: Status) {
        self.give(Err(status));
    }
}
