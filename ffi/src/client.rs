//! The client as C holds it, and what everything made with it shares. Owns its life: connect, ready, close, free.
//! What it does is the core's.

use std::ffi::{c_char, c_void};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use leadership_core::{Client, Dispatcher, Leader, Result};

use crate::args::{bytes, give, invalid, object, optional_text, out, take};
use crate::callback::{Calls, UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::client_options::leadership_client_options;
use crate::error::leadership_error;
use crate::exit;
use crate::leader::leadership_leader;
use crate::panic::{call, value};
use crate::signals;
use crate::wait::{Bounds, given, leadership_done, start_closing, start_giving, start_plain};

/// A connection to one etcd cluster, with a thread for all that goes to and from etcd, and a second one once there are
/// callbacks. Any thread.
pub struct leadership_client(pub(crate) Arc<Shared>);

/// What a client and everything made with it share.
pub(crate) struct Shared {
    pub(crate) calls: Calls,
    pub(crate) client: Client,
}

impl Shared {
    /// For what takes a lock that the fork may have found locked (S12).
    pub(crate) fn ensure_not_forked(&self) -> Result<()> {
        if self.client.forked() { Err(leadership_core::Error::Forked) } else { Ok(()) }
    }
}

/// Frees an object that has a client. In a forked child it is left as it is: a lock within it may have been held by a
/// thread that does not exist there (S12).
///
/// # Safety
/// NULL or made by `give`, and not used again.
pub(crate) unsafe fn free<T>(pointer: *mut T, shared: impl FnOnce(&T) -> &Arc<Shared>) {
    value((), || {
        // SAFETY: the caller's.
        let Some(object) = (unsafe { take(pointer) }) else { return };
        if shared(&object).client.forked() {
            mem::forget(object);
        }
    });
}

/// What `leadership_client_ready` waits at most when told for ever: the core wants a bound, this is one that never comes.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Checks the endpoints and starts the client's thread. Sends nothing: a dead etcd is found out by
/// leadership_client_ready or the first call. Never blocks.
///
/// At the process's orderly end, exit() from any thread or the return from main, clients that are still open are closed
/// by a handler of atexit: keys are released then (after a drain of 500 ms at most, for terms that an elector handed out),
/// callbacks are told of the loss, and the end is held up for 2 s at most, whatever etcd does. _exit, a signal's default action and abort close nothing: what is held goes with its lease.
/// The library is never unloaded, dlclose or not.
///
/// The client's thread takes no signals: they come to the program's own threads, and a connection that breaks under a
/// write raises no SIGPIPE.
///
/// endpoints: the members of one cluster, comma-separated, each as host:port, http://host:port or https://host:port;
/// NULL only with the options of leadership_client_options_from_environment.
/// options: or NULL for the defaults; copied. client: to be closed, and freed with leadership_client_free.
/// Errors: INVALID_ARGUMENT names the option.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_connect(
    endpoints: *const c_char,
    options: *const leadership_client_options,
    client: *mut *mut leadership_client,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (endpoints, options, made) =
            unsafe { (optional_text(endpoints, "endpoints")?, options.as_ref(), out(client, "client")?) };
        let options = match options {
            Some(options) => options.build(endpoints)?,
            None => leadership_client_options::default().build(endpoints)?,
        };
        let shared = Arc::new(Shared {
            calls: Calls::new(),
            client: signals::blocked(|| Client::with_options(options))?,
        });
        exit::remember(&shared);
        made.set(give(leadership_client(shared)));
        Ok(())
    })
}

/// Waits until a member of etcd answers and knows a leader.
///
/// Errors: UNAVAILABLE when the time is up (says what each member answered), CANCELLED, PERMISSION_DENIED,
/// CLUSTER_CHANGED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_ready(
    client: *const leadership_client,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, bounds) = unsafe { (object(client, "client")?, Bounds::new(timeout_ms, cancel)) };
        let timeout = bounds.timeout().unwrap_or(NEVER).min(NEVER);
        bounds.wait_cancel("ready", client.0.client.ready(timeout))
    })
}

/// leadership_client_ready without waiting or a timeout: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_ready_start(
    client: *const leadership_client,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let client = unsafe { object(client, "client") }?;
        client.0.client.ensure_usable()?;
        let core = client.0.client.clone();
        let ready = async move { core.ready(NEVER).await };
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&client.0.calls, "ready", cancel, done, user, ready) }
    })
}

/// Who leads the single-key election of a key, read linearizably.
///
/// leader: NULL if nobody leads; else to be freed with leadership_leader_free.
/// Errors: INVALID_ARGUMENT (key), UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_get_leader(
    client: *const leadership_client,
    key: *const u8,
    key_len: usize,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    leader: *mut *mut leadership_leader,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, key, bounds, found) = unsafe {
            (
                object(client, "client")?,
                bytes(key, key_len, "key")?,
                Bounds::new(timeout_ms, cancel),
                out(leader, "leader")?,
            )
        };
        let leader = bounds.wait("get_leader", client.0.client.get_leader(key))?;
        found.set(pointer(leader));
        Ok(())
    })
}

/// Completion of leadership_client_get_leader_start: error is NULL or the callback's to free, and so is leader, which is
/// NULL if nobody leads.
pub type leadership_leader_done = Option<
    unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, leader: *mut leadership_leader),
>;

/// leadership_client_get_leader without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_get_leader_start(
    client: *const leadership_client,
    key: *const u8,
    key_len: usize,
    cancel: *const leadership_cancel,
    done: leadership_leader_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, key) = unsafe { (object(client, "client")?, bytes(key, key_len, "key")?) };
        client.0.client.ensure_usable()?;
        let core = client.0.client.clone();
        let read = async move { core.get_leader(key).await };
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&client.0.calls, "get_leader", cancel, done, user, read, |leader| Ok(pointer(leader))) }
    })
}

fn pointer(leader: Option<Leader>) -> *mut leadership_leader {
    leader.map_or(std::ptr::null_mut(), |leader| give(leadership_leader(leader)))
}

/// Ends every term of this client (LEADERSHIP_REASON_CLOSED), releases their keys and leases, and stops its threads; terms
/// of electors are drained first, as by leadership_elector_close. When it returns success, the last callback has returned
/// and every drop has been called (a health check's: see leadership_elector_options_set_health_check). Idempotent; other
/// threads' waits end with CLOSED.
///
/// Errors: TIMEOUT when not everything was confirmed in time (10 s at most): it goes on in the background, and calling
/// this again waits again; CANCELLED; INVALID_ARGUMENT from a callback, which it would wait for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_close(
    client: *const leadership_client,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, bounds) = unsafe { (object(client, "client")?, Bounds::new(timeout_ms, cancel)) };
        client.0.ensure_not_forked()?;
        if Dispatcher::is_current() {
            return Err(invalid("client", "cannot be closed from a callback: closing waits for callbacks"));
        }
        bounds.wait("close", async {
            let closed = client.0.client.close().await;
            client.0.calls.ended().await;
            closed
        })
    })
}

/// leadership_client_close without waiting: every term ends now, and `done` is called once, after every other callback
/// and drop but those of further such calls. May be called from a callback. A cancel ends the wait, not the release.
///
/// Errors: INVALID_ARGUMENT (NULL); all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_close_start(
    client: *const leadership_client,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let client = unsafe { object(client, "client") }?;
        let done = given(done)?;
        client.0.ensure_not_forked()?;
        let (closed, quiet) = (client.0.client.close(), client.0.calls.quiet());
        let close = async move {
            let closed = closed.await;
            quiet.await;
            closed
        };
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_closing(&client.0.calls, "close", cancel, done, user, close) }
    })
}

/// Frees the client. What was made with it keeps it going inside, until that is freed too; then everything ends as with
/// leadership_client_close, in the background. If nothing else is left, this waits up to 500 ms for what other _free
/// calls have queued (not from a callback).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_free(client: *mut leadership_client) {
    // SAFETY: NULL or valid, as C promises.
    if let Some(client) = unsafe { client.as_ref() }
        && !client.0.client.forked()
        && (Arc::strong_count(&client.0) > 1 || Dispatcher::is_current())
    {
        // The _free that comes last must not be the one that waits.
        client.0.client.drop_without_waiting();
    }
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(client, |client| &client.0) };
}
