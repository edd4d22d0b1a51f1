//! Events as C is told of them: of a handle's terms, of electors, of observers. Owns the numbers, the accessors and a
//! handle's registration; order and content are the core's.

use std::ffi::{CString, c_char, c_void};
use std::mem;
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use leadership_core::{ElectorEvent, Observed, Reason, TermEvent, TermHandle};

use crate::args::{c_text, invalid, object, take};
use crate::callback::{UserData, leadership_drop};
use crate::client::Shared;
use crate::error::{LEADERSHIP_REASON_NONE, leadership_error};
use crate::handle::leadership_handle;
use crate::leader::leadership_leader;
use crate::panic::{call, value};
use crate::term::leadership_term;

/// A campaign began.
pub const LEADERSHIP_EVENT_CAMPAIGNING: u32 = 1;
/// A term began; leadership_event_term lends it.
pub const LEADERSHIP_EVENT_ELECTED: u32 = 2;
/// No renewal was confirmed for two renewal intervals; leadership_event_remaining_ns says how long the term stays valid
/// without one.
pub const LEADERSHIP_EVENT_JEOPARDY: u32 = 3;
/// Renewals are confirmed again.
pub const LEADERSHIP_EVENT_SECURED: u32 = 4;
/// The term was lost; leadership_event_reason says why. Exactly one for each LEADERSHIP_EVENT_ELECTED.
pub const LEADERSHIP_EVENT_LOST: u32 = 5;
/// Another leads now; leadership_event_leader lends who.
pub const LEADERSHIP_EVENT_LEADER: u32 = 6;
/// Nobody leads.
pub const LEADERSHIP_EVENT_VACANT: u32 = 7;
/// The election was paused.
pub const LEADERSHIP_EVENT_PAUSED: u32 = 8;
/// Nothing comes any more; leadership_event_error lends why, or NULL for an orderly end. The last event.
pub const LEADERSHIP_EVENT_STOPPED: u32 = 9;

/// The stable names, in the order of the numbers.
const NAMES: [&str; 9] =
    ["campaigning", "elected", "jeopardy", "secured", "lost", "leader", "vacant", "paused", "stopped"];

/// A callback of events that takes longer is logged: it keeps the others waiting.
const SLOW: Duration = Duration::from_millis(100);

/// Something that happened. Lent to a callback for the time of the call; what leadership_elector_next_event and
/// leadership_observer_next give is the caller's.
#[derive(Default)]
pub struct leadership_event {
    kind: u32,
    remaining_ns: u64,
    reason: Option<Reason>,
    term: Option<leadership_term>,
    leader: Option<leadership_leader>,
    since_ns: u64,
    error: Option<leadership_error>,
}

impl leadership_event {
    fn of(kind: u32) -> leadership_event {
        leadership_event {
            kind,
            ..leadership_event::default()
        }
    }

    fn elected(term: TermHandle, shared: &Arc<Shared>) -> leadership_event {
        leadership_event {
            term: Some(leadership_term::view(term, shared)),
            ..leadership_event::of(LEADERSHIP_EVENT_ELECTED)
        }
    }

    fn jeopardy(remaining: Duration) -> leadership_event {
        leadership_event {
            remaining_ns: u64::try_from(remaining.as_nanos()).unwrap_or(u64::MAX),
            ..leadership_event::of(LEADERSHIP_EVENT_JEOPARDY)
        }
    }

    fn lost(reason: Reason) -> leadership_event {
        leadership_event {
            reason: Some(reason),
            ..leadership_event::of(LEADERSHIP_EVENT_LOST)
        }
    }

    fn stopped(error: Option<leadership_core::Error>) -> leadership_event {
        leadership_event {
            error: error.as_ref().map(leadership_error::of),
            ..leadership_event::of(LEADERSHIP_EVENT_STOPPED)
        }
    }

    fn of_term(event: TermEvent, shared: &Arc<Shared>) -> Option<leadership_event> {
        Some(match event {
            TermEvent::Elected(term) => leadership_event::elected(term, shared),
            TermEvent::Jeopardy { remaining } => leadership_event::jeopardy(remaining),
            TermEvent::Secured => leadership_event::of(LEADERSHIP_EVENT_SECURED),
            TermEvent::Lost(reason) => leadership_event::lost(reason),
            event => return numberless(&event),
        })
    }

    pub(crate) fn of_elector(event: ElectorEvent, shared: &Arc<Shared>) -> Option<leadership_event> {
        Some(match event {
            ElectorEvent::Campaigning => leadership_event::of(LEADERSHIP_EVENT_CAMPAIGNING),
            ElectorEvent::Elected(term) => leadership_event::elected(term, shared),
            ElectorEvent::Jeopardy { remaining } => leadership_event::jeopardy(remaining),
            ElectorEvent::Secured => leadership_event::of(LEADERSHIP_EVENT_SECURED),
            ElectorEvent::Lost(reason) => leadership_event::lost(reason),
            ElectorEvent::Leader(leader) => leadership_event {
                leader: Some(leadership_leader(leader)),
                ..leadership_event::of(LEADERSHIP_EVENT_LEADER)
            },
            ElectorEvent::Vacant => leadership_event::of(LEADERSHIP_EVENT_VACANT),
            ElectorEvent::Paused => leadership_event::of(LEADERSHIP_EVENT_PAUSED),
            ElectorEvent::Stopped(error) => leadership_event::stopped(error),
            event => return numberless(&event),
        })
    }

    /// `None` also before anything is known, which is no news.
    pub(crate) fn of_observed(observed: Observed) -> Option<leadership_event> {
        Some(match observed {
            Observed::Unknown => return None,
            Observed::Leader { leader, since } => leadership_event {
                leader: Some(leadership_leader(leader)),
                since_ns: since.map_or(0, |since| since.0),
                ..leadership_event::of(LEADERSHIP_EVENT_LEADER)
            },
            Observed::Vacant { .. } => leadership_event::of(LEADERSHIP_EVENT_VACANT),
            Observed::Stopped(error) => leadership_event::stopped(error),
            observed => return numberless(&observed),
        })
    }
}

fn numberless(event: &dyn std::fmt::Debug) -> Option<leadership_event> {
    log::error!("an event that has no number: {event:?}");
    None
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

/// Of LEADERSHIP_EVENT_LEADER: who leads, borrowed. NULL for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_event_leader(event: *const leadership_event) -> *const leadership_leader {
    // SAFETY: NULL or valid, as C promises.
    unsafe { event.as_ref() }.and_then(|event| event.leader.as_ref()).map_or(ptr::null(), ptr::from_ref)
}

/// Of LEADERSHIP_EVENT_LEADER that an observer tells: when it saw that term begin, in nanoseconds of CLOCK_BOOTTIME; 0 for a
/// term that was there before it, whose beginning nobody knows, and for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_event_since_ns(event: *const leadership_event) -> u64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { event.as_ref() }.map_or(0, |event| event.since_ns)
}

/// Of LEADERSHIP_EVENT_STOPPED: why, borrowed; NULL for an orderly end, and for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_event_error(event: *const leadership_event) -> *const leadership_error {
    // SAFETY: NULL or valid, as C promises.
    unsafe { event.as_ref() }.and_then(|event| event.error.as_ref()).map_or(ptr::null(), ptr::from_ref)
}

/// The stable name of a kind of event, e.g. "elected". Static. NULL for a number that is none.
#[unsafe(no_mangle)]
pub extern "C" fn leadership_event_name(kind: u32) -> *const c_char {
    static TEXTS: OnceLock<Vec<CString>> = OnceLock::new();
    value(ptr::null(), || {
        let texts = TEXTS.get_or_init(|| NAMES.into_iter().map(c_text).collect());
        let place = usize::try_from(kind).ok().and_then(|kind| kind.checked_sub(1));
        place.and_then(|place| texts.get(place)).map_or(ptr::null(), |name| name.as_ptr())
    })
}

/// Frees an event that was not lent, and what was borrowed from it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_event_free(event: *mut leadership_event) {
    value((), || {
        // SAFETY: NULL or ours and not used again, as C promises.
        let Some(event) = (unsafe { take(event) }) else { return };
        if event.term.as_ref().is_some_and(|term| term.shared.client.forked()) {
            mem::forget(event); // as everything that has a client
        }
    });
}

/// Told of an event; it is lent for the time of the call.
pub type leadership_event_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const leadership_event)>;

pub(crate) type Told = unsafe extern "C" fn(user_data: *mut c_void, event: *const leadership_event);

impl leadership_event {
    /// Calls the user's function.
    pub(crate) fn tell(&self, callback: Told, user: *mut c_void) {
        let begun = Instant::now();
        // SAFETY: the user's function with the user's data; the event lives until it returns.
        unsafe { callback(user, ptr::from_ref(self)) };
        let took = begun.elapsed();
        if took > SLOW {
            log::warn!("a callback took {took:?}; every callback of its client waits for it");
        }
    }
}

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
                if let Some(event) = leadership_event::of_term(event, &shared) {
                    event.tell(callback, user.pointer());
                    if shared.client.forked() {
                        std::future::pending::<()>().await; // it forked: what comes next is told to the parent
                    }
                }
            }
        })
    })
}
