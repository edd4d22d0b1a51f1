//! Waiting as C does it: a timeout in milliseconds and a cancel, or a completion called later.
//! Owns what both mean; the waiting itself is the core's `block_on`, the thread of completions `callback`'s.

use std::ffi::c_void;
use std::future::Future;
use std::ptr;
use std::time::Duration;

use futures_util::FutureExt;
use leadership_core::{CancelToken, Error, Interrupted, Result, block_on};

use crate::args::invalid;
use crate::callback::{Calls, UserData};
use crate::cancel::leadership_cancel;
use crate::error::leadership_error;
use crate::panic::{call, catch, catch_future};

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

/// What a completion is called by: `done` or the error that there is none, before anything has begun.
pub(crate) fn given<T>(done: Option<T>) -> Result<T> {
    done.ok_or_else(|| invalid("done", "is NULL"))
}

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
    let tell = plain(given(done)?);
    // SAFETY: the caller's.
    unsafe { start(calls, what, cancel, user, future, tell) }
}

type Done = unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error);

fn plain(done: Done) -> impl FnOnce(*mut c_void, Result<()>) + Send + 'static {
    move |user, answer| {
        let error = call(|| answer);
        // SAFETY: the user's function with the user's data.
        unsafe { done(user, error) };
    }
}

/// Completion of what answers with an object: exactly one of the two is not NULL, where an object must come.
type Giving<U> = unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, object: *mut U);

/// [`start`] for what answers with an object that is C's from then on; `convert` makes it on the thread of callbacks.
///
/// # Safety
/// `cancel` is NULL or valid.
pub(crate) unsafe fn start_giving<T: Send + 'static, U: 'static>(
    calls: &Calls,
    what: &'static str,
    cancel: *const leadership_cancel,
    done: Option<Giving<U>>,
    user: UserData,
    future: impl Future<Output = Result<T>> + Send + 'static,
    convert: impl FnOnce(T) -> Result<*mut U> + Send + 'static,
) -> Result<()> {
    let done = given(done)?;
    let tell = move |user: *mut c_void, answer: Result<T>| {
        let (error, object) = match catch(|| answer.and_then(convert)) {
            Ok(object) => (ptr::null_mut(), object),
            Err(error) => (leadership_error::give(&error), ptr::null_mut()),
        };
        // SAFETY: the user's function with the user's data.
        unsafe { done(user, error, object) };
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
    let begun = begun(unsafe { cancellable(what, cancel, future) });
    calls.spawn(user, move |user| async move {
        let answer = begun.await;
        done(user.pointer(), answer);
    })
}

/// [`start_plain`] for what itself waits for all other callbacks to end.
///
/// # Safety
/// `cancel` is NULL or valid.
pub(crate) unsafe fn start_closing(
    calls: &Calls,
    what: &'static str,
    cancel: *const leadership_cancel,
    done: Done,
    user: UserData,
    future: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    let tell = plain(done);
    // SAFETY: the caller's.
    let begun = begun(unsafe { cancellable(what, cancel, future) });
    calls.spawn_closing(user, move |user| async move {
        let answer = begun.await;
        tell(user.pointer(), answer);
    })
}

/// What a _start form was asked to do has begun when it returns, however busy the thread of callbacks is: a reset that
/// the same thread calls next ends it.
fn begun<T: Send>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    let mut future = Box::pin(future);
    // At the end of a thread (a handler of atexit) tokio's own data is gone: there it begins on the other thread.
    let ending = tokio::runtime::Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed());
    let answer = if ending { None } else { future.as_mut().now_or_never() };
    async move {
        match answer {
            Some(answer) => answer,
            None => future.await,
        }
    }
}

/// # Safety
/// `cancel` is NULL or valid.
unsafe fn cancellable<T>(
    what: &'static str,
    cancel: *const leadership_cancel,
    future: impl Future<Output = Result<T>> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send + 'static {
    // SAFETY: the caller's.
    let cancel = unsafe { cancel.as_ref() }.map(|cancel| cancel.token.clone());
    async move {
        let future = catch_future(future);
        match cancel {
            None => future.await,
            Some(cancel) => tokio::select! {
                biased;
                () = cancel.cancelled() => Err(cancelled(what)),
                answer = future => answer,
            },
        }
    }
}
