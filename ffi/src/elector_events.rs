//! What happens to an elector, told to C: to a function, or fetched one by one. Owns the registrations and the calls;
//! order and content are the core's, the file descriptor `unread`'s.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::PoisonError;

use leadership_core::Result;

use crate::args::{give, invalid, object, out};
use crate::callback::{Over, UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::elector::leadership_elector;
use crate::error::leadership_error;
use crate::event::{leadership_event, leadership_event_callback};
use crate::panic::call;
use crate::wait::Bounds;

impl leadership_elector {
    /// Closing waits for it.
    fn remember(&self, over: Over) {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        registered.retain(|over| !over.is_now());
        registered.push(over);
    }
}

/// From now on `callback` is told of what happens to the elector; for a term that runs already it begins with its
/// election. It only tells: terms come to leadership_elector_next_term. One that is slow hears the latest state, and never
/// of the loss of a term that it was not told of. Ends after LEADERSHIP_EVENT_STOPPED; each registration is on its own.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_on_event(
    elector: *const leadership_elector,
    callback: leadership_event_callback,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let elector = unsafe { object(elector, "elector") }?;
        let callback = callback.ok_or_else(|| invalid("callback", "is NULL"))?;
        elector.shared.client.ensure_usable()?;
        let (mut events, shared) = (elector.elector.events(), elector.shared.clone());
        let over = elector.shared.calls.register(UserData::new(user_data, drop), move |user| async move {
            while let Some(event) = events.next().await {
                if let Some(event) = leadership_event::of_elector(event, &shared) {
                    event.tell(callback, user.pointer());
                    if shared.client.forked() {
                        std::future::pending::<()>().await; // it forked: what comes next is told to the parent
                    }
                }
            }
        })?;
        elector.remember(over);
        Ok(())
    })
}

/// The elector for a program that is called: campaigns from now on, and tells `callback` what happens as
/// leadership_elector_on_event does. Terms are the elector's own, lent by LEADERSHIP_EVENT_ELECTED; each is let go of when
/// `callback` has returned from its LEADERSHIP_EVENT_LOST, which is when a drain ends: work that must be finished first is
/// waited for there. The callback returns quickly from all else (over 100 ms is logged): long work runs on a thread of its
/// own, with a leadership_term_clone. Not together with leadership_elector_next_term, which would be given some of the
/// terms.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_run(
    elector: *const leadership_elector,
    callback: leadership_event_callback,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let elector = unsafe { object(elector, "elector") }?;
        let callback = callback.ok_or_else(|| invalid("callback", "is NULL"))?;
        elector.shared.client.ensure_usable()?;
        let (shared, user) = (elector.shared.clone(), UserData::new(user_data, drop));
        let calling = elector.elector.calling();
        let over = elector.shared.calls.register(user, move |user| {
            calling.each(move |event| {
                if let Some(event) = leadership_event::of_elector(event, &shared) {
                    event.tell(callback, user.pointer());
                }
            })
        })?;
        elector.remember(over);
        Ok(())
    })
}

/// Waits for the next event that no call of this has given yet, from the elector's start on. Nothing is queued: who comes
/// late gets the latest state, and never the loss of a term that it was not told of. Each event goes to one caller.
///
/// event: NULL after LEADERSHIP_EVENT_STOPPED; else to be freed with leadership_event_free. Errors: TIMEOUT, CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_next_event(
    elector: *const leadership_elector,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    event: *mut *mut leadership_event,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (elector, bounds, next) =
            unsafe { (object(elector, "elector")?, Bounds::new(timeout_ms, cancel), out(event, "event")?) };
        elector.shared.ensure_not_forked()?;
        let event = bounds.wait("next event", async {
            loop {
                let Some(event) = elector.unread.next().await else { return Ok(None) };
                if let Some(event) = leadership_event::of_elector(event, &elector.shared) {
                    return Result::Ok(Some(event));
                }
            }
        })?;
        next.set(event.map_or(ptr::null_mut(), give));
        Ok(())
    })
}

/// A file descriptor that is readable while leadership_elector_next_event has something to give, its end included: for
/// poll, epoll and event loops. It is the elector's: not to be read, written or closed, and gone when the elector is freed.
/// What made it readable may be over by the time of the call: ask with a timeout of 0.
///
/// Errors: INTERNAL if there is none left, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_fd(elector: *const leadership_elector, fd: *mut c_int) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (elector, made) = unsafe { (object(elector, "elector")?, out(fd, "fd")?) };
        elector.shared.client.ensure_usable()?;
        made.set(elector.unread.fd(&elector.shared.calls)?);
        Ok(())
    })
}
