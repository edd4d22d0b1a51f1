//! Errors as C sees them: code, name, message; and the two numbered lists, of errors and of reasons.
//! Owns their shape; the numbers are the core's, and a test compares them.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::OnceLock;

use leadership_core::{Error, Reason};

use crate::args::{c_text, give, take};
use crate::leader::leadership_leader;
use crate::panic::value;

/// An argument is unusable; nothing was sent. The message begins with the argument's name.
pub const LEADERSHIP_ERROR_INVALID_ARGUMENT: u32 = 1;
/// No member of etcd could serve the call; it was not applied. Retriable.
pub const LEADERSHIP_ERROR_UNAVAILABLE: u32 = 2;
/// The time was up. Retriable.
pub const LEADERSHIP_ERROR_TIMEOUT: u32 = 3;
/// The caller's leadership_cancel, or a reset, ended the call.
pub const LEADERSHIP_ERROR_CANCELLED: u32 = 4;
/// Another holds the key.
pub const LEADERSHIP_ERROR_NOT_ELECTED: u32 = 5;
/// A compare that was added to a campaign did not hold.
pub const LEADERSHIP_ERROR_COMPARE_FAILED: u32 = 6;
/// A call on a term that has ended, or without a term; see leadership_error_reason.
pub const LEADERSHIP_ERROR_NOT_LEADER: u32 = 7;
/// A write may or may not have been applied; the message says what to read.
pub const LEADERSHIP_ERROR_OUTCOME_UNKNOWN: u32 = 8;
/// etcd's roles do not allow it, or user and password are wrong.
pub const LEADERSHIP_ERROR_PERMISSION_DENIED: u32 = 9;
/// A member of another cluster answered, or the cluster was wiped or restored.
pub const LEADERSHIP_ERROR_CLUSTER_CHANGED: u32 = 10;
/// The client was closed.
pub const LEADERSHIP_ERROR_CLOSED: u32 = 11;
/// This is a child of the process that owns the client: connect anew.
pub const LEADERSHIP_ERROR_FORKED: u32 = 12;
/// A bug in this library.
pub const LEADERSHIP_ERROR_INTERNAL: u32 = 13;

/// Not lost, or there never was a term.
pub const LEADERSHIP_REASON_NONE: u32 = 0;
/// No confirmed renewal in time.
pub const LEADERSHIP_REASON_EXPIRED: u32 = 1;
/// etcd said that the lease is gone, before any delete event.
pub const LEADERSHIP_REASON_REVOKED: u32 = 2;
/// The key was deleted while the lease lived.
pub const LEADERSHIP_REASON_KEY_DELETED: u32 = 3;
/// The key was overwritten by another.
pub const LEADERSHIP_REASON_OVERWRITTEN: u32 = 4;
/// The key was handed to a successor.
pub const LEADERSHIP_REASON_HANDED_OVER: u32 = 5;
/// The holder resigned, reset or freed it.
pub const LEADERSHIP_REASON_RESIGNED: u32 = 6;
/// The health check failed.
pub const LEADERSHIP_REASON_UNHEALTHY: u32 = 7;
/// The election was paused.
pub const LEADERSHIP_REASON_PAUSED: u32 = 8;
/// The client was closed.
pub const LEADERSHIP_REASON_CLOSED: u32 = 9;
/// This is a forked child.
pub const LEADERSHIP_REASON_FORKED: u32 = 10;
/// The clock jumped past the deadline (suspend).
pub const LEADERSHIP_REASON_SUSPENDED: u32 = 11;
/// Another cluster answers now.
pub const LEADERSHIP_REASON_CLUSTER_CHANGED: u32 = 12;
/// etcd refused a guarded write.
pub const LEADERSHIP_REASON_GUARD_FAILED: u32 = 13;

/// Why a call failed. Owned by whoever got it; any thread.
#[derive(Debug)]
pub struct leadership_error {
    code: u32,
    reason: u32,
    retriable: bool,
    name: CString,
    message: CString,
    key: Option<CString>,
    /// Argument, what to read, or member: no error has two of them.
    detail: Option<CString>,
    holder: Option<leadership_leader>,
}

impl leadership_error {
    /// An error that is C's from now on.
    pub(crate) fn give(error: &Error) -> *mut leadership_error {
        give(leadership_error::of(error))
    }

    pub(crate) fn of(error: &Error) -> leadership_error {
        let mut given = leadership_error {
            code: error.code(),
            reason: LEADERSHIP_REASON_NONE,
            retriable: error.is_retriable(),
            name: c_text(error.name()),
            message: c_text(&error.to_string()),
            key: None,
            detail: None,
            holder: None,
        };
        match error {
            Error::InvalidArgument { argument, .. } => given.detail = Some(c_text(argument)),
            Error::NotElected { key, holder } => {
                given.key = Some(c_text(key));
                given.holder = holder.as_ref().map(|holder| leadership_leader((**holder).clone()));
            }
            Error::CompareFailed { key } => given.key = Some(c_text(key)),
            Error::NotLeader { key, reason } => {
                given.key = Some(c_text(key));
                given.reason = reason.map_or(LEADERSHIP_REASON_NONE, |reason| reason as u32);
            }
            Error::OutcomeUnknown { read, .. } => given.detail = Some(c_text(read)),
            Error::ClusterChanged { member, .. } => given.detail = Some(c_text(member)),
            _ => {}
        }
        given
    }

    fn detail(&self, code: u32) -> *const c_char {
        let detail = self.detail.as_ref().filter(|_| self.code == code);
        detail.map_or(ptr::null(), |detail| detail.as_ptr())
    }
}

/// The error's number, LEADERSHIP_ERROR_*; 0 for NULL, which is success. Never renumbered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_code(error: *const leadership_error) -> u32 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.map_or(0, |error| error.code)
}

/// The error's stable name, e.g. "NotElected"; borrowed. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_name(error: *const leadership_error) -> *const c_char {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.name.as_ptr())
}

/// What happened, for people; borrowed. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_message(error: *const leadership_error) -> *const c_char {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.message.as_ptr())
}

/// True if the same call may succeed when it is simply made again. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_is_retriable(error: *const leadership_error) -> bool {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.is_some_and(|error| error.retriable)
}

/// Of LEADERSHIP_ERROR_NOT_LEADER: why the term ended, LEADERSHIP_REASON_*. LEADERSHIP_REASON_NONE for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_reason(error: *const leadership_error) -> u32 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.map_or(LEADERSHIP_REASON_NONE, |error| error.reason)
}

/// Of LEADERSHIP_ERROR_NOT_ELECTED: who holds the key, borrowed. NULL if that was not seen, and for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_holder(error: *const leadership_error) -> *const leadership_leader {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.and_then(|error| error.holder.as_ref()).map_or(ptr::null(), ptr::from_ref)
}

/// Of LEADERSHIP_ERROR_NOT_ELECTED, _COMPARE_FAILED and _NOT_LEADER: the key of the election as people read it (bytes
/// that are no UTF-8 are escaped); borrowed. NULL for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_key(error: *const leadership_error) -> *const c_char {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.and_then(|error| error.key.as_ref()).map_or(ptr::null(), |key| key.as_ptr())
}

/// Of LEADERSHIP_ERROR_INVALID_ARGUMENT: the name of the argument or option; borrowed. NULL for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_argument(error: *const leadership_error) -> *const c_char {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.detail(LEADERSHIP_ERROR_INVALID_ARGUMENT))
}

/// Of LEADERSHIP_ERROR_OUTCOME_UNKNOWN: what to read to find out, for people; borrowed. NULL for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_read(error: *const leadership_error) -> *const c_char {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.detail(LEADERSHIP_ERROR_OUTCOME_UNKNOWN))
}

/// Of LEADERSHIP_ERROR_CLUSTER_CHANGED: the endpoint whose answer showed it; borrowed. NULL for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_member(error: *const leadership_error) -> *const c_char {
    // SAFETY: NULL or valid, as C promises.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.detail(LEADERSHIP_ERROR_CLUSTER_CHANGED))
}

/// Frees an error and what was borrowed from it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_error_free(error: *mut leadership_error) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(error) }));
}

/// The stable name of a reason, e.g. "key_deleted". Static. NULL for a number that is no reason.
#[unsafe(no_mangle)]
pub extern "C" fn leadership_reason_name(reason: u32) -> *const c_char {
    static NAMES: OnceLock<Vec<CString>> = OnceLock::new();
    value(ptr::null(), || {
        let names = NAMES.get_or_init(|| Reason::ALL.into_iter().map(|reason| c_text(reason.name())).collect());
        let place = Reason::ALL.into_iter().position(|known| known as u32 == reason);
        place.and_then(|place| names.get(place)).map_or(ptr::null(), |name| name.as_ptr())
    })
}
