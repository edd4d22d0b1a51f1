//! The everyday case as C holds it: an elector that runs the whole loop and hands out terms. Owns its calls; options are
//! `elector_options`', events `elector_events`', the loop itself the core's.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use leadership_core::{Dispatcher, Elector, ElectorBuilder, ElectorEvents, ElectorState, Result, Term};

use crate::args::{bytes, c_text, give, invalid, lend, object, out, text};
use crate::callback::{Over, UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free, leadership_client};
use crate::elector_options::leadership_elector_options;
use crate::error::leadership_error;
use crate::leader::leadership_leader;
use crate::panic::{call, value};
use crate::term::{leadership_term, leadership_term_done};
use crate::unread::Unread;
use crate::wait::{Bounds, given, leadership_done, start_giving, start_plain};

/// Does not campaign: another leads, nobody wants a term, or it holds back.
pub const LEADERSHIP_STATE_FOLLOWER: u32 = 1;
/// A campaign is under way.
pub const LEADERSHIP_STATE_CAMPAIGNING: u32 = 2;
/// Holds the key, and waits the takeover delay.
pub const LEADERSHIP_STATE_DELAYED: u32 = 3;
/// Leads.
pub const LEADERSHIP_STATE_LEADING: u32 = 4;
/// Leads, but renewals are not confirmed.
pub const LEADERSHIP_STATE_JEOPARDY: u32 = 5;
/// The term was given up, and is renewed until its holder lets go of it.
pub const LEADERSHIP_STATE_DRAINING: u32 = 6;
/// The election is paused.
pub const LEADERSHIP_STATE_PAUSED: u32 = 7;
/// Ended for good.
pub const LEADERSHIP_STATE_STOPPED: u32 = 8;

/// Runs one election for this process: campaigns while somebody wants a term, keeps it, tells of its loss in time, drains
/// before it lets go, backs off, campaigns again. Any thread.
pub struct leadership_elector {
    pub(crate) elector: Elector,
    /// For leadership_elector_next_event and its file descriptor.
    pub(crate) unread: Unread<ElectorEvents>,
    /// The registrations of callbacks, which closing waits for.
    pub(crate) registered: Mutex<Vec<Over>>,
    pub(crate) shared: Arc<Shared>,
}

/// An elector for the single-key election of a key. Nothing is sent, and nothing campaigns before the first
/// leadership_elector_next_term or leadership_elector_run. Never blocks.
///
/// key: text. options: or NULL for the defaults; copied. elector: to be freed with leadership_elector_free.
/// Errors: INVALID_ARGUMENT (key: empty or reserved; or names the option), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_start(
    client: *const leadership_client,
    key: *const c_char,
    options: *const leadership_elector_options,
    elector: *mut *mut leadership_elector,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, made) = unsafe { (object(client, "client")?, out(elector, "elector")?) };
        // SAFETY: each NULL or valid, as C promises.
        let elector = unsafe { builder(client, key, options) }?.start()?;
        made.set(give(leadership_elector {
            unread: Unread::new(elector.events()),
            elector,
            registered: Mutex::default(),
            shared: client.0.clone(),
        }));
        Ok(())
    })
}

/// # Safety
/// Each is NULL or valid.
unsafe fn builder(
    client: &leadership_client,
    key: *const c_char,
    options: *const leadership_elector_options,
) -> Result<ElectorBuilder> {
    // SAFETY: the caller's.
    let (key, options) = unsafe { (text(key, "key")?, options.as_ref()) };
    client.0.client.ensure_usable()?;
    let builder = Elector::builder(&client.0.client, key);
    Ok(match options {
        Some(options) => options.apply(builder),
        None => builder,
    })
}

fn pointer(term: Option<Term>, shared: &Arc<Shared>) -> *mut leadership_term {
    term.map_or(ptr::null_mut(), |term| leadership_term::give_owned(term, shared))
}

/// Waits for the next term of this process; campaigns from now on until somebody stops wanting one. There is one term at
/// a time: while one is held and not lost, this waits for its end. Each term goes to one caller. One that came for nobody
/// (out of time, cancelled) stays with the elector for a TTL, for the next caller, and is then resigned.
///
/// term: NULL when the elector or its client was closed in order; else the caller's own: leadership_term_free resigns it.
/// Errors: TIMEOUT, CANCELLED; or the elector stopped for good, and why: PERMISSION_DENIED, INVALID_ARGUMENT (margins that
/// do not fit the TTL that etcd granted). What may pass (etcd away, another leads) is no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_next_term(
    elector: *const leadership_elector,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    term: *mut *mut leadership_term,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (elector, bounds, next) =
            unsafe { (object(elector, "elector")?, Bounds::new(timeout_ms, cancel), out(term, "term")?) };
        elector.shared.ensure_not_forked()?;
        let term = bounds.wait("next term", elector.elector.next_term())?;
        next.set(pointer(term, &elector.shared));
        Ok(())
    })
}

/// leadership_elector_next_term without waiting: `done` is called once; error and term are both NULL when the elector was
/// closed or freed.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_next_term_start(
    elector: *const leadership_elector,
    cancel: *const leadership_cancel,
    done: leadership_term_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let elector = unsafe { object(elector, "elector") }?;
        elector.shared.client.ensure_usable()?;
        let (next, shared) = (elector.elector.next_term(), elector.shared.clone());
        let user = UserData::new(user_data, drop);
        let convert = move |term| Ok(pointer(term, &shared));
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&elector.shared.calls, "next term", cancel, done, user, next, convert) }
    })
}

/// One shot: campaigns until it leads. The term is the caller's own, renewed until it is lost or leadership_term_free
/// resigns it; there is no second one.
///
/// key: text. options: or NULL for the defaults. Errors: as leadership_elector_start and leadership_elector_next_term; out of
/// time or cancelled, no key and no lease are left behind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_lead(
    client: *const leadership_client,
    key: *const c_char,
    options: *const leadership_elector_options,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    term: *mut *mut leadership_term,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, bounds, won) =
            unsafe { (object(client, "client")?, Bounds::new(timeout_ms, cancel), out(term, "term")?) };
        // SAFETY: each NULL or valid, as C promises.
        let builder = unsafe { builder(client, key, options) }?;
        let term = bounds.wait("lead", builder.lead())?;
        won.set(leadership_term::give_owned(term, &client.0));
        Ok(())
    })
}

/// leadership_client_lead without waiting: `done` is called once, with exactly one of error and term.
///
/// Errors: INVALID_ARGUMENT (NULL, key), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_lead_start(
    client: *const leadership_client,
    key: *const c_char,
    options: *const leadership_elector_options,
    cancel: *const leadership_cancel,
    done: leadership_term_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let client = unsafe { object(client, "client") }?;
        // SAFETY: each NULL or valid, as C promises.
        let builder = unsafe { builder(client, key, options) }?;
        let shared = client.0.clone();
        let lead = async move { builder.lead().await };
        let user = UserData::new(user_data, drop);
        let won = move |term| Ok(leadership_term::give_owned(term, &shared));
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&client.0.calls, "lead", cancel, done, user, lead, won) }
    })
}

/// A view of the term that is led now, whoever holds it, for request handlers. Local.
///
/// term: NULL while this process does not lead; else to be freed with leadership_term_free, which resigns nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_current(
    elector: *const leadership_elector,
    term: *mut *mut leadership_term,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (elector, current) = unsafe { (object(elector, "elector")?, out(term, "term")?) };
        elector.shared.ensure_not_forked()?;
        let term = elector.elector.current();
        current.set(term.map_or(ptr::null_mut(), |term| leadership_term::give(term, &elector.shared)));
        Ok(())
    })
}

/// Does this process lead now? Local. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_is_leader(elector: *const leadership_elector) -> bool {
    // SAFETY: NULL or valid, as C promises.
    let elector = unsafe { elector.as_ref() };
    value(false, || elector.is_some_and(|elector| elector.elector.is_leader()))
}

/// Who leads, as this elector saw it last, for routing. Local.
///
/// leader: NULL if nobody did, or nothing was heard yet; else to be freed with leadership_leader_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_leader(
    elector: *const leadership_elector,
    leader: *mut *mut leadership_leader,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (elector, found) = unsafe { (object(elector, "elector")?, out(leader, "leader")?) };
        elector.shared.ensure_not_forked()?;
        found.set(elector.elector.leader().map_or(ptr::null_mut(), |leader| give(leadership_leader(leader))));
        Ok(())
    })
}

/// Where the loop stands, LEADERSHIP_STATE_*; LEADERSHIP_STATE_STOPPED in a forked child, 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_state(elector: *const leadership_elector) -> u32 {
    // SAFETY: NULL or valid, as C promises.
    let elector = unsafe { elector.as_ref() };
    value(0, || elector.map_or(0, |elector| elector.elector.state() as u32))
}

/// The stable name of a state, e.g. "follower". Static. NULL for a number that is no state.
#[unsafe(no_mangle)]
pub extern "C" fn leadership_state_name(state: u32) -> *const c_char {
    static NAMES: std::sync::OnceLock<Vec<std::ffi::CString>> = std::sync::OnceLock::new();
    value(ptr::null(), || {
        let names = NAMES.get_or_init(|| ElectorState::ALL.into_iter().map(|state| c_text(state.name())).collect());
        let place = ElectorState::ALL.into_iter().position(|known| known as u32 == state);
        place.and_then(|place| names.get(place)).map_or(ptr::null(), |name| name.as_ptr())
    })
}

/// For probes. Local.
///
/// Errors: UNAVAILABLE (leading without confirmed renewals, or the health check fails: says which); the error that the
/// elector stopped with; CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_health(elector: *const leadership_elector) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        unsafe { object(elector, "elector") }?.elector.health()
    })
}

/// The key of the election, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_key(elector: *const leadership_elector, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(elector.as_ref().map(|elector| elector.elector.key()), len) }
}

/// Changes the elector's value: of the term that is led now, in place (the same term and token), and of later campaigns.
/// Without a term it only counts for later ones.
///
/// Errors: as leadership_term_proclaim.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_proclaim(
    elector: *const leadership_elector,
    value: *const u8,
    value_len: usize,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (elector, value, bounds) =
            unsafe { (object(elector, "elector")?, bytes(value, value_len, "value")?, Bounds::new(timeout_ms, cancel)) };
        elector.shared.ensure_not_forked()?;
        bounds.wait("proclaim", elector.elector.proclaim(value))
    })
}

/// leadership_elector_proclaim without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_proclaim_start(
    elector: *const leadership_elector,
    value: *const u8,
    value_len: usize,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (elector, value) = unsafe { (object(elector, "elector")?, bytes(value, value_len, "value")?) };
        given(done)?; // before it is sent
        elector.shared.client.ensure_usable()?;
        let proclaimed = elector.elector.proclaim(value);
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&elector.shared.calls, "proclaim", cancel, done, user, proclaimed) }
    })
}

/// Gives the term up, in order: it is lost at once, drained (renewed until its holder has freed it, at most the drain
/// timeout), then released. The elector goes on campaigning, after its cool-down, while somebody wants a term. Without a
/// term nothing happens. From a callback: leadership_elector_resign_start.
///
/// Errors: TIMEOUT, UNAVAILABLE, CANCELLED when the end was not waited for or not confirmed: it goes on in the background.
/// CLOSED; INVALID_ARGUMENT from a callback, which may be what the drain waits for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_resign(
    elector: *const leadership_elector,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (elector, bounds) = unsafe { (object(elector, "elector")?, Bounds::new(timeout_ms, cancel)) };
        elector.shared.ensure_not_forked()?;
        not_from_a_callback("cannot resign from a callback: that may be what the drain waits for")?;
        bounds.wait("resign", elector.elector.resign())
    })
}

/// leadership_elector_resign without waiting: lost when this returns, and `done` is called once, when the key is gone or
/// that was not confirmed in time. A cancel ends the wait, not the release.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_resign_start(
    elector: *const leadership_elector,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let elector = unsafe { object(elector, "elector") }?;
        given(done)?; // before the term ends
        elector.shared.client.ensure_usable()?;
        let resigned = elector.elector.resign();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&elector.shared.calls, "resign", cancel, done, user, resigned) }
    })
}

/// Stops campaigning, drains and releases the term, and ends the loop: waiting callers get NULL for a term. When it returns
/// success, the last callback of this elector has returned and its drop was called. Idempotent.
///
/// Errors: TIMEOUT, UNAVAILABLE, CANCELLED when the end was not waited for or not confirmed: it goes on in the background,
/// and calling this again waits again. INVALID_ARGUMENT from a callback, which it would wait for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_close(
    elector: *const leadership_elector,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (elector, bounds) = unsafe { (object(elector, "elector")?, Bounds::new(timeout_ms, cancel)) };
        elector.shared.ensure_not_forked()?;
        not_from_a_callback("cannot be closed from a callback: closing waits for callbacks")?;
        bounds.wait("close of an elector", async {
            let closed = elector.elector.close().await;
            let registered = elector.registered.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for over in registered {
                over.wait().await;
            }
            closed
        })
    })
}

/// leadership_elector_close without waiting: the term is lost when this returns, and `done` is called once, when all is
/// over in etcd. May be called from a callback. A cancel ends the wait, not the closing.
///
/// Errors: INVALID_ARGUMENT (NULL); all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_close_start(
    elector: *const leadership_elector,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let elector = unsafe { object(elector, "elector") }?;
        given(done)?; // before the term ends
        elector.shared.ensure_not_forked()?;
        let closed = elector.elector.close();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&elector.shared.calls, "close of an elector", cancel, done, user, closed) }
    })
}

pub(crate) fn not_from_a_callback(why: &str) -> Result<()> {
    if Dispatcher::is_current() { Err(invalid("elector", why)) } else { Ok(()) }
}

/// Frees the elector and closes it without waiting: a term that nobody took ends at once; one that was handed out is its
/// holder's, and lasts until that frees it. Callbacks are told of the end, and go.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_free(elector: *mut leadership_elector) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(elector, |elector| &elector.shared) };
}
