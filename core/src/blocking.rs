//! Waiting from a thread without an executor, with a bound and a cancel: what the bindings stand on.
//! Owns parking and waking; what is waited for is the caller's future.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Why [`block_on`] returned without the future's answer. The future was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// The time was up.
    TimedOut,
    /// The token was triggered.
    Cancelled,
}

/// Ends waits. Triggered once, from any thread, it stays so; clones are the same token.
#[derive(Debug, Clone)]
pub struct CancelToken {
    triggered: Arc<watch::Sender<bool>>,
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken {
            triggered: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl CancelToken {
    /// A token that is not triggered.
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Ends every wait that has this token, now and later. Idempotent; never blocks.
    pub fn cancel(&self) {
        self.triggered.send_replace(true);
    }

    /// True once [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.triggered.borrow()
    }

    /// Resolves once [`cancel`](Self::cancel) was called. Cancel-safe; any executor.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut triggered = self.triggered.subscribe();
        let token = self.clone(); // a token that is gone can still be waited for, and never resolves
        async move {
            let _ = triggered.wait_for(|triggered| *triggered).await;
            drop(token);
        }
    }
}

#[derive(Debug, Default)]
struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Parker {
    fn unpark(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// False when `until` came first.
    fn park(&self, until: Option<Instant>) -> bool {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        while !*woken {
            match until {
                None => woken = self.changed.wait(woken).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    woken = self.changed.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        *woken = false;
        true
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.unpark();
    }
}

/// Waits for a future of this library on the calling thread: for ever with no `timeout`, not at all with a zero one
/// (polled once). When it returns [`Interrupted`], the future was dropped: what it had begun is undone as its own
/// documentation says.
///
/// At the end of a thread, and so in a handler of `atexit`, the thread's own data is gone and tokio cannot do without:
/// there another thread does the waiting.
///
/// # Errors
/// [`Interrupted`].
pub fn block_on<T: Send>(
    future: impl Future<Output = T> + Send,
    timeout: Option<Duration>,
    cancel: Option<&CancelToken>,
) -> Result<T, Interrupted> {
    let ending = tokio::runtime::Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed());
    if !ending {
        return park_on(future, timeout, cancel);
    }
    std::thread::scope(|scope| {
        let name = "leadership-exit".to_owned();
        match std::thread::Builder::new().name(name).spawn_scoped(scope, || park_on(future, timeout, cancel)) {
            Ok(waiting) => waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => Err(Interrupted::TimedOut),
        }
    })
}

fn park_on<T>(
    future: impl Future<Output = T>,
    timeout: Option<Duration>,
    cancel: Option<&CancelToken>,
) -> Result<T, Interrupted> {
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(parker.clone());
    let mut context = Context::from_waker(&waker);
    // A timeout beyond what the clock can hold is for ever.
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut future = pin!(future);
    let mut cancelled = pin!(cancel.map(CancelToken::cancelled));
    loop {
        if let Some(cancelled) = cancelled.as_mut().as_pin_mut()
            && cancelled.poll(&mut context).is_ready()
        {
            return Err(Interrupted::Cancelled);
        }
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return Ok(answer);
        }
        if !parker.park(until) {
            return Err(Interrupted::TimedOut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_a_timeout_and_a_cancel_end_a_wait() {
        assert_eq!(block_on(async { 7 }, None, None), Ok(7));
        let pending = std::future::pending::<()>;
        assert_eq!(block_on(pending(), Some(Duration::ZERO), None), Err(Interrupted::TimedOut));
        assert_eq!(block_on(pending(), Some(Duration::from_millis(5)), None), Err(Interrupted::TimedOut));
        let token = CancelToken::new();
        token.cancel();
        assert_eq!(block_on(async { 7 }, None, Some(&token)), Err(Interrupted::Cancelled), "before: not even polled");
    }

    #[test]
    fn a_cancel_and_an_answer_from_another_thread_wake_the_waiter() {
        let token = CancelToken::new();
        let (told, answer) = tokio::sync::oneshot::channel();
        let waiter = std::thread::spawn({
            let token = token.clone();
            move || block_on(std::future::pending::<()>(), None, Some(&token))
        });
        let other = std::thread::spawn(move || block_on(answer, None, None));
        token.cancel();
        let _ = told.send(5);
        assert_eq!(waiter.join().ok(), Some(Err(Interrupted::Cancelled)));
        assert_eq!(other.join().ok(), Some(Ok(Ok(5))));
    }
}
