//! Waiting for a leader to go, as C does it. Owns the kinds' numbers; what ends a watch is the core's.

use std::ffi::c_void;

use leadership_core::{Error, Result, WatchEnd};

use crate::args::{invalid, object, out};
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::error::leadership_error;
use crate::handle::leadership_handle;
use crate::panic::call;
use crate::wait::{Bounds, start};

/// The leader's key is gone, or was, and another holds it now.
pub const LEADERSHIP_WATCH_DELETED: u32 = 1;
/// The key was written again: a primary watch only.
pub const LEADERSHIP_WATCH_OVERWRITTEN: u32 = 2;
/// The handle was reset.
pub const LEADERSHIP_WATCH_CANCELLED: u32 = 3;
/// The client was closed.
pub const LEADERSHIP_WATCH_CLOSED: u32 = 4;

fn numbers(end: WatchEnd) -> Result<(u32, i64)> {
    Ok(match end {
        WatchEnd::Deleted { revision } => (LEADERSHIP_WATCH_DELETED, revision),
        WatchEnd::Overwritten { revision } => (LEADERSHIP_WATCH_OVERWRITTEN, revision),
        WatchEnd::Cancelled => (LEADERSHIP_WATCH_CANCELLED, 0),
        WatchEnd::Closed => (LEADERSHIP_WATCH_CLOSED, 0),
        end => {
            return Err(Error::Internal {
                message: format!("a watch ended in a way that has no number: {end:?}"),
            });
        }
    })
}

/// Waits until the leader that was seen at `revision` no longer holds the key. A delete that was missed or compacted
/// away is found by reading.
///
/// revision: the leader's mod revision, or 0 for whoever holds the key now. kind: why it ended, LEADERSHIP_WATCH_*.
/// end_revision: a revision at which that was so; 0 for LEADERSHIP_WATCH_CANCELLED and _CLOSED.
/// Errors: INVALID_ARGUMENT (revision below 0), TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED if closed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_watch(
    handle: *const leadership_handle,
    revision: i64,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    kind: *mut u32,
    end_revision: *mut i64,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, bounds, kind, end_revision) = unsafe {
            (
                object(handle, "handle")?,
                Bounds::new(timeout_ms, cancel),
                out(kind, "kind")?,
                out(end_revision, "end_revision")?,
            )
        };
        let (number, at) = numbers(bounds.wait("watch", handle.lead.watch(revision))?)?;
        kind.set(number);
        end_revision.set(at);
        Ok(())
    })
}

/// Completion of leadership_watch_start: error is NULL or the callback's to free, and then kind is 0; the rest as there.
pub type leadership_watch_done = Option<
    unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, kind: u32, end_revision: i64),
>;

/// leadership_watch without waiting: `done` is called once. leadership_free and leadership_client_close end it early.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_watch_start(
    handle: *const leadership_handle,
    revision: i64,
    cancel: *const leadership_cancel,
    done: leadership_watch_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let handle = unsafe { object(handle, "handle") }?;
        let done = done.ok_or_else(|| invalid("done", "is NULL"))?;
        handle.shared.client.ensure_usable()?;
        let lead = handle.lead.clone();
        let watch = async move { numbers(lead.watch(revision).await?) };
        let tell = move |user: *mut c_void, answer: Result<(u32, i64)>| {
            let (error, (kind, at)) = match answer {
                Ok(end) => (std::ptr::null_mut(), end),
                Err(error) => (leadership_error::give(&error), (0, 0)),
            };
            // SAFETY: the user's function with the user's data.
            unsafe { done(user, error, kind, at) };
        };
        // SAFETY: NULL or valid, as C promises.
        unsafe { start(&handle.shared.calls, "watch", cancel, UserData::new(user_data, drop), watch, tell) }
    })
}
