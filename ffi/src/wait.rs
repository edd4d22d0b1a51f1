//! Waiting as C does it: a timeout in milliseconds and a cancel, or a completion called later.
//! Owns what both mean; the waiting itself is the core's `block_on`, the thread of completions `callback`'s.

use std::ffi::c_void;
use std::future::Future;
use std::time::Duration;

use leadership_core::{CancelToken, Error, Interrupted, Result, block_on};

use crate::args::invalid;
use crate::callback::{Calls, UserData};
use crate::cancel::leadership_cancel;
use crate::error::leadership_error;
use crate::panic::{call, catch_future};

/// The timeout that never comes.
pub const LEADERSHIP_FOREVER: u64 = 0xFFFF_FFFF_FFFF_FFFF;

/// How long to wait, and what ends it early.
pub(crate) struct Bounds {
    timeout_ms: u64,
    cancel: Option<CancelToken>,
}

impl Bounds {
    /// # Safety
    /// `cancel` is NULL or valid.
    pub(crate) unsafe fn new(timeout_ms: u64, cancel: *const leadership_cancel) -> Bounds {
        Bounds {
            timeout_ms,
            // SAFETY: the caller's.
            cancel: unsafe { cancel.as_ref() }.map(|cancel| cancel.token.clone()),
        }
    }

    /// `None` is for ever.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.timeout_ms != LEADERSHIP_FOREVER).then(|| Duration::from_millis(self.timeout_ms))
    }

    /// Waits on this thread; `what` names it in the error.
    pub(crate) fn wait<T: Send>(&self, what: &str, future: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.bounded(what, self.timeout(), future)
    }

    /// The same for what has the timeout within it.
    pub(crate) fn wait_cancel<T: Send>(&self, what: &str, future: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.bounded(what, None, future)
    }

    fn bounded<T: Send>(&self, what: &str, timeout: Option<Duration>, future: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match block_on(future, timeout, self.cancel.as_ref()) {
            Ok(answer) => answer,
            Err(Interrupted::TimedOut) => Err(Error::Timeout {
                message: format!("{what}: not done within {} ms", self.timeout_ms),
            }),
            Err(Interrupted::Cancelled) => Err(cancelled(what)),
        }
    }
}

fn cancelled(what: &str) -> Error {
    Error::Cancelled {
        message: what.to_owned(),
    }
}

/// Completion of what answers nothing but how it went: error is NULL or the callback's to free.
pub type leadership_done = Option<unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error)>;

/// [`start`] for what answers nothing.
///
/// # Safety
/// `cancel` is NULL or valid.
pub(crate) unsafe fn start_plain(
    calls: &Calls,
    what: &'static str,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user: UserData,
    future: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    let done = done.ok_or_else(|| invalid("done", "is NULL"))?;
    let tell = move |user: *mut c_void, answer: Result<()>| {
        let error = call(|| answer);
        // SAFETY: the user's function with the user's data.
        unsafe { done(user, error) };
    };
    // SAFETY: the caller's.
    unsafe { start(calls, what, cancel, user, future, tell) }
}

/// Runs `future` and hands its answer to `done` on the thread of callbacks, then lets go of the user's data.
///
/// # Safety
/// `cancel` is NULL or valid.
pub(crate) unsafe fn start<T: Send + 'static>(
    calls: &Calls,
    what: &'static str,
    cancel: *const leadership_cancel,
    user: UserData,
    future: impl Future<Output = Result<T>> + Send + 'static,
    done: impl FnOnce(*mut c_void, Result<T>) + Send + 'static,
) -> Result<()> {
    // SAFETY: the caller's.
    let cancel = unsafe { cancel.as_ref() }.map(|cancel| cancel.token.clone());
    calls.spawn(user, move |user, _stop| async move {
        let future = catch_future(future);
        let answer = match cancel {
            None => future.await,
            Some(cancel) => tokio::select! {
                biased;
                () = cancel.cancelled() => Err(cancelled(what)),
                answer = future => answer,
            },
        };
        done(user.pointer(), answer);
    })
}
