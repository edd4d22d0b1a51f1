//! Who leads, seen from outside, as C fetches it. Owns its calls; what is news is the core's, the file descriptor
//! `unread`'s.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::sync::Arc;

use leadership_core::{Observer, Result};

use crate::args::{give, object, out, text};
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free, leadership_client};
use crate::error::leadership_error;
use crate::event::leadership_event;
use crate::panic::call;
use crate::unread::Unread;
use crate::wait::Bounds;

/// A view of one election from outside: who leads, vacancies, and why the view ended. Any number of them share their
/// client's one watch stream. Any thread.
pub struct leadership_observer {
    news: Unread<Observer>,
    shared: Arc<Shared>,
}

impl leadership_observer {
    pub(crate) fn give(observer: Observer, shared: &Arc<Shared>) -> *mut leadership_observer {
        give(leadership_observer {
            news: Unread::new(observer),
            shared: shared.clone(),
        })
    }
}

/// Observes the single-key election of a key from now on. Never blocks.
///
/// key: text. observer: to be freed with leadership_observer_free. Errors: INVALID_ARGUMENT (key: empty or reserved), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_observer_new(
    client: *const leadership_client,
    key: *const c_char,
    observer: *mut *mut leadership_observer,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, key, made) = unsafe { (object(client, "client")?, text(key, "key")?, out(observer, "observer")?) };
        made.set(leadership_observer::give(Observer::new(&client.0.client, key)?, &client.0));
        Ok(())
    })
}

/// Waits for the next news that no call of this has given yet: LEADERSHIP_EVENT_LEADER (another leader, or the leader's new
/// value), LEADERSHIP_EVENT_VACANT, and last, once, LEADERSHIP_EVENT_STOPPED. What came and went meanwhile is skipped:
/// nothing is queued. Each goes to one caller.
///
/// event: NULL after LEADERSHIP_EVENT_STOPPED; else to be freed with leadership_event_free. Errors: TIMEOUT, CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_observer_next(
    observer: *const leadership_observer,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    event: *mut *mut leadership_event,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (observer, bounds, next) =
            unsafe { (object(observer, "observer")?, Bounds::new(timeout_ms, cancel), out(event, "event")?) };
        observer.shared.ensure_not_forked()?;
        let event = bounds.wait("next news of an election", async {
            loop {
                let Some(news) = observer.news.next().await else { return Ok(None) };
                if let Some(event) = leadership_event::of_observed(news) {
                    return Result::Ok(Some(event));
                }
            }
        })?;
        next.set(event.map_or(ptr::null_mut(), give));
        Ok(())
    })
}

/// A file descriptor that is readable while leadership_observer_next has something to give: as leadership_elector_fd.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_observer_fd(
    observer: *const leadership_observer,
    fd: *mut c_int,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (observer, made) = unsafe { (object(observer, "observer")?, out(fd, "fd")?) };
        observer.shared.client.ensure_usable()?;
        made.set(observer.news.fd(&observer.shared.calls)?);
        Ok(())
    })
}

/// Frees the observer and ends its part in the watch stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_observer_free(observer: *mut leadership_observer) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(observer, |observer| &observer.shared) };
}
