//! Owns the faults between a C test's clients and the server: calls refused, swallowed, parked, replies lost, streams cut.
//! Leaves keys and leases to `store`.

use std::sync::mpsc;
use std::time::Duration;

use server::{Held, Lost, Method};

use crate::error::{fallible, leadership_testkit_error, object, output};
use crate::process::leadership_testkit_server;

/// Calls of every kind.
pub const LEADERSHIP_TESTKIT_METHOD_ANY: u32 = 0;
/// KV.Range
pub const LEADERSHIP_TESTKIT_METHOD_RANGE: u32 = 1;
/// KV.Put
pub const LEADERSHIP_TESTKIT_METHOD_PUT: u32 = 2;
/// KV.DeleteRange
pub const LEADERSHIP_TESTKIT_METHOD_DELETE: u32 = 3;
/// KV.Txn
pub const LEADERSHIP_TESTKIT_METHOD_TXN: u32 = 4;
/// Lease.LeaseGrant
pub const LEADERSHIP_TESTKIT_METHOD_LEASE_GRANT: u32 = 5;
/// Lease.LeaseRevoke
pub const LEADERSHIP_TESTKIT_METHOD_LEASE_REVOKE: u32 = 6;
/// Lease.LeaseKeepAlive: the opening of the stream, or the open streams.
pub const LEADERSHIP_TESTKIT_METHOD_LEASE_KEEP_ALIVE: u32 = 7;
/// Watch.Watch: the opening of the stream, or the open streams.
pub const LEADERSHIP_TESTKIT_METHOD_WATCH: u32 = 8;
/// Maintenance.Status
pub const LEADERSHIP_TESTKIT_METHOD_STATUS: u32 = 9;

/// The reply of an applied call is lost with the connection: the client gets an error at once.
pub const LEADERSHIP_TESTKIT_LOST_ERROR: u32 = 0;
/// The reply of an applied call never comes.
pub const LEADERSHIP_TESTKIT_LOST_NEVER: u32 = 1;

/// A call that is parked, or is to be. Any thread. Freeing it releases nothing.
pub struct leadership_testkit_held {
    held: Held,
    runtime: tokio::runtime::Handle,
}

fn method(number: u32) -> Result<Method, String> {
    Ok(match number {
        LEADERSHIP_TESTKIT_METHOD_ANY => Method::Any,
        LEADERSHIP_TESTKIT_METHOD_RANGE => Method::Range,
        LEADERSHIP_TESTKIT_METHOD_PUT => Method::Put,
        LEADERSHIP_TESTKIT_METHOD_DELETE => Method::Delete,
        LEADERSHIP_TESTKIT_METHOD_TXN => Method::Txn,
        LEADERSHIP_TESTKIT_METHOD_LEASE_GRANT => Method::LeaseGrant,
        LEADERSHIP_TESTKIT_METHOD_LEASE_REVOKE => Method::LeaseRevoke,
        LEADERSHIP_TESTKIT_METHOD_LEASE_KEEP_ALIVE => Method::LeaseKeepAlive,
        LEADERSHIP_TESTKIT_METHOD_WATCH => Method::Watch,
        LEADERSHIP_TESTKIT_METHOD_STATUS => Method::Status,
        other => return Err(format!("method: {other} is none of LEADERSHIP_TESTKIT_METHOD_*")),
    })
}

/// Refuses the next `count` calls of this kind as a dead port does: nothing is sent.
///
/// # Safety
/// `server` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_refuse(
    server: *const leadership_testkit_server,
    method: u32,
    count: u64,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let server = unsafe { object(server, "server") }?;
        server.cluster.faults().refuse(self::method(method)?, count);
        Ok(())
    })
}

/// Swallows calls of this kind from now on: they reach nobody and never return. `leadership_testkit_server_heal` ends it
/// for later calls. Streams that are open are silenced.
///
/// # Safety
/// `server` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_hang(
    server: *const leadership_testkit_server,
    method: u32,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let server = unsafe { object(server, "server") }?;
        let method = self::method(method)?;
        server.cluster.faults().hang(method);
        server.cluster.faults().silence_streams(method);
        Ok(())
    })
}

/// Ends all faults that concern calls made from now on, and breaks the streams that were silenced, as a network that
/// comes back does. What hangs goes on hanging, what is parked waits for its handle.
///
/// # Safety
/// `server` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_heal(
    server: *const leadership_testkit_server,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let server = unsafe { object(server, "server") }?;
        server.cluster.faults().heal();
        server.cluster.faults().break_streams(Method::Any);
        Ok(())
    })
}

/// Lets the next `count` calls of this kind be applied and loses their replies, in the way that `lost` says
/// (`LEADERSHIP_TESTKIT_LOST_*`).
///
/// # Safety
/// `server` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_drop_replies(
    server: *const leadership_testkit_server,
    method: u32,
    count: u64,
    lost: u32,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let server = unsafe { object(server, "server") }?;
        let lost = match lost {
            LEADERSHIP_TESTKIT_LOST_ERROR => Lost::Error,
            LEADERSHIP_TESTKIT_LOST_NEVER => Lost::Never,
            other => return Err(format!("lost: {other} is none of LEADERSHIP_TESTKIT_LOST_*")),
        };
        server.cluster.faults().drop_replies(self::method(method)?, count, lost);
        Ok(())
    })
}

/// Breaks the open streams of this kind (`LEADERSHIP_TESTKIT_METHOD_ANY`: all).
///
/// # Safety
/// `server` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_break_streams(
    server: *const leadership_testkit_server,
    method: u32,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let server = unsafe { object(server, "server") }?;
        server.cluster.faults().break_streams(self::method(method)?);
        Ok(())
    })
}

/// Parks the `nth` call of this kind from now on (1 = the next) before it reaches the store, until it is released,
/// even if its client has gone away meanwhile. `held` is the caller's, for `leadership_testkit_held_free`.
///
/// # Safety
/// `server` is NULL or alive; `held` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_hold(
    server: *const leadership_testkit_server,
    method: u32,
    nth: u64,
    held: *mut *mut leadership_testkit_held,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let (server, out) = unsafe { (object(server, "server")?, output(held, "held")?) };
        if nth == 0 {
            return Err("nth: is 0, the next call is 1".to_owned());
        }
        *out = Box::into_raw(Box::new(leadership_testkit_held {
            held: server.cluster.faults().hold(self::method(method)?, nth),
            runtime: server.runtime.clone(),
        }));
        Ok(())
    })
}

/// Waits, at most `timeout_ms` milliseconds, until the call has come. An error if it has not, or the server is stopped.
///
/// # Safety
/// `held` is NULL or not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_held_wait(
    held: *const leadership_testkit_held,
    timeout_ms: u64,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let held = unsafe { object(held, "held") }?;
        let (tell, told) = mpsc::channel();
        let parked = held.held.clone();
        held.runtime.spawn(async move {
            parked.reached().await;
            let _ = tell.send(()); // nobody waits any more: the time was up
        });
        told.recv_timeout(Duration::from_millis(timeout_ms)).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("no such call within {timeout_ms} ms"),
            mpsc::RecvTimeoutError::Disconnected => "the server is stopped".to_owned(),
        })
    })
}

/// Lets the call go on, now or as soon as it comes. Idempotent. NULL: nothing.
///
/// # Safety
/// `held` is NULL or not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_held_release(held: *const leadership_testkit_held) {
    // SAFETY: as the caller promises.
    if let Some(held) = unsafe { held.as_ref() } {
        crate::error::quiet(|| held.held.release());
    }
}

/// Frees the handle; a call that is not released is never delivered. NULL: nothing.
///
/// # Safety
/// `held` is NULL or not freed yet, and no other call on it is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_held_free(held: *mut leadership_testkit_held) {
    if !held.is_null() {
        // SAFETY: made by `Box::into_raw` above, and not freed yet as the caller promises.
        drop(unsafe { Box::from_raw(held) });
    }
}
