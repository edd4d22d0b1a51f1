//! Events of a handle's terms, as C is told of them. Owns the numbers and the registration; order and content are the
//! core's.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use leadership_core::{Reason, TermEvent};

use crate::args::{invalid, object};
use crate::callback::{UserData, leadership_drop};
use crate::client::Shared;
use crate::error::{LEADERSHIP_REASON_NONE, leadership_error};
use crate::handle::leadership_handle;
use crate::panic::call;
use crate::term::leadership_term;

/// A term began; leadership_event_term lends it.
pub const LEADERSHIP_EVENT_ELECTED: u32 = 2;
/// No renewal was confirmed for two renewal intervals; leadership_event_remaining_ns says how long the term stays valid
/// without one.
pub const LEADERSHIP_EVENT_JEOPARDY: u32 = 3;
/// Renewals are confirmed again.
pub const LEADERSHIP_EVENT_SECURED: u32 = 4;
/// The term was lost; leadership_event_reason says why. Exactly one for each LEADERSHIP_EVENT_ELECTED.
pub const LEADERSHIP_EVENT_LOST: u32 = 5;

/// Something that happened to a term. Lent to a callback for the time of the call.
pub struct leadership_event {
    kind: u32,
    remaining_ns: u64,
    reason: Option<Reason>,
    term: Option<leadership_term>,
}

impl leadership_event {
    fn of(event: TermEvent, shared: &Arc<Shared>) -> Option<leadership_event> {
        let mut told = leadership_event {
            kind: 0,
            remaining_ns: 0,
            reason: None,
            term: None,
        };
        told.kind = match event {
            TermEvent::Elected(term) => {
                let shared = shared.clone();
                told.term = Some(leadership_term { term, shared });
                LEADERSHIP_EVENT_ELECTED
            }
            TermEvent::Jeopardy { remaining } => {
                told.remaining_ns = u64::try_from(remaining.as_nanos()).unwrap_or(u64::MAX);
                LEADERSHIP_EVENT_JEOPARDY
            }
            TermEvent::Secured => LEADERSHIP_EVENT_SECURED,
            TermEvent::Lost(reason) => {
                told.reason = Some(reason);
                LEADERSHIP_EVENT_LOST
            }
            event => {
                log::error!("an event that has no number: {event:?}");
                return None;
            }
        };
        Some(told)
    }
}

/// What happened, LEADERSHIP_EVENT_*; ignore numbers that you do not know. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_event_kind(event: *const leadership_event) -> u32 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { event.as_ref() }.map_or(0, |event| event.kind)
}

/// Of LEADERSHIP_EVENT_ELECTED: the term, borrowed from the event (leadership_term_clone makes a view that stays).
/// NULL for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_event_term(event: *const leadership_event) -> *const leadership_term {
    // SAFETY: NULL or valid, as C promises.
    unsafe { event.as_ref() }.and_then(|event| event.term.as_ref()).map_or(ptr::null(), ptr::from_ref)
}

/// Of LEADERSHIP_EVENT_JEOPARDY: what was left of the term, in nanoseconds. 0 for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_event_remaining_ns(event: *const leadership_event) -> u64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { event.as_ref() }.map_or(0, |event| event.remaining_ns)
}

/// Of LEADERSHIP_EVENT_LOST: why, LEADERSHIP_REASON_*. LEADERSHIP_REASON_NONE for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_event_reason(event: *const leadership_event) -> u32 {
    // SAFETY: NULL or valid, as C promises.
    let event = unsafe { event.as_ref() };
    event.and_then(|event| event.reason).map_or(LEADERSHIP_REASON_NONE, |reason| reason as u32)
}

/// Told of an event; it is lent for the time of the call.
pub type leadership_event_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const leadership_event)>;

/// From now on `callback` is told of what happens to the handle's terms, one that runs already included: elected, then
/// jeopardy and secured, then lost. One that is slow hears the latest state, and never of the loss of a term that it was
/// not told of. Ends with leadership_free or leadership_client_close, after the loss was told; each registration is on
/// its own.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_on_event(
    handle: *const leadership_handle,
    callback: leadership_event_callback,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let handle = unsafe { object(handle, "handle") }?;
        let callback = callback.ok_or_else(|| invalid("callback", "is NULL"))?;
        handle.shared.client.ensure_usable()?;
        let mut events = handle.lead.events();
        let shared = handle.shared.clone(); // until the events end, with the handle or the client
        handle.shared.calls.spawn(UserData::new(user_data, drop), move |user| async move {
            while let Some(event) = events.next().await {
                if let Some(event) = leadership_event::of(event, &shared) {
                    // SAFETY: the user's function with the user's data; the event lives until it returns.
                    unsafe { callback(user.pointer(), ptr::from_ref(&event)) };
                    if shared.client.forked() {
                        std::future::pending::<()>().await; // it forked: what comes next is told to the parent
                    }
                }
            }
        })
    })
}
