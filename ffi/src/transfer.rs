//! Who shall lead next: what C says, and the calls of an elector that ask for it. Owns the numbers and both forms of
//! waiting; choosing and handing over is the core's.

use std::ffi::c_void;

use leadership_core::{Participant, Result, Successor};

use crate::args::{bytes, give, invalid, object, out};
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::elector::{leadership_elector, not_from_a_callback};
use crate::error::leadership_error;
use crate::panic::call;
use crate::participant::{leadership_participant, leadership_participants, leadership_participants_done};
use crate::wait::{Bounds, given, start_giving};

/// The candidate with this value; of several with the same, the first in the order of turns.
pub const LEADERSHIP_SUCCESSOR_NAMED: u32 = 1;
/// Any candidate.
pub const LEADERSHIP_SUCCESSOR_RANDOM: u32 = 2;
/// The candidate of the highest priority; of equal ones, who registered first. In a queue: the next in line.
pub const LEADERSHIP_SUCCESSOR_HIGHEST: u32 = 3;

/// # Safety
/// The value is NULL or readable for its length.
pub(crate) unsafe fn successor(to: u32, value: *const u8, value_len: usize) -> Result<Successor> {
    // SAFETY: the caller's.
    let value = unsafe { bytes(value, value_len, "value") }?;
    Ok(match to {
        LEADERSHIP_SUCCESSOR_NAMED => Successor::Named(value),
        LEADERSHIP_SUCCESSOR_RANDOM => Successor::Random,
        LEADERSHIP_SUCCESSOR_HIGHEST => Successor::Highest,
        _ => return Err(invalid("to", format!("{to} is no LEADERSHIP_SUCCESSOR_*"))),
    })
}

/// Completion of a transfer. Exactly one of error and participant is not NULL, and it is the callback's to free.
pub type leadership_transfer_done = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        error: *mut leadership_error,
        participant: *mut leadership_participant,
    ),
>;

pub(crate) fn pointer(now: Participant) -> *mut leadership_participant {
    give(leadership_participant(now))
}

/// Hands the term over: it is lost at once (LEADERSHIP_REASON_HANDED_OVER), drained, and then the candidate gets the key in
/// the transaction that takes it from this process: there is no instant without a leader. In a queue the next in line
/// follows. From a callback: leadership_elector_transfer_start.
///
/// to: LEADERSHIP_SUCCESSOR_*. value: of LEADERSHIP_SUCCESSOR_NAMED; ignored for the others.
/// participant: who holds the key now, to be freed with leadership_participant_free. If that is this process (it was named
/// itself, or nobody else stands), nothing was done and the term goes on.
/// Errors: NOT_LEADER without a term; INVALID_ARGUMENT (to: no such candidate, says who there is; the term goes on; also from
/// a callback, which may be what the drain waits for); UNAVAILABLE (the candidate went away, etcd is away; says what became
/// of the key); TIMEOUT, CANCELLED (it goes on in the background); PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_transfer(
    elector: *const leadership_elector,
    to: u32,
    value: *const u8,
    value_len: usize,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    participant: *mut *mut leadership_participant,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (elector, to, bounds, now) = unsafe {
            (
                object(elector, "elector")?,
                successor(to, value, value_len)?,
                Bounds::new(timeout_ms, cancel),
                out(participant, "participant")?,
            )
        };
        elector.shared.ensure_not_forked()?;
        not_from_a_callback("cannot hand over from a callback: that may be what the drain waits for")?;
        now.set(pointer(bounds.wait("transfer", elector.elector.transfer(to))?));
        Ok(())
    })
}

/// leadership_elector_transfer without waiting: `done` is called once. A cancel ends the wait, not the transfer.
///
/// Errors: INVALID_ARGUMENT (NULL, numbers), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_transfer_start(
    elector: *const leadership_elector,
    to: u32,
    value: *const u8,
    value_len: usize,
    cancel: *const leadership_cancel,
    done: leadership_transfer_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (elector, to) = unsafe { (object(elector, "elector")?, successor(to, value, value_len)?) };
        given(done)?; // before the term ends
        elector.shared.client.ensure_usable()?;
        let transferred = elector.elector.transfer(to);
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&elector.shared.calls, "transfer", cancel, done, user, transferred, |now| Ok(pointer(now))) }
    })
}

/// Everybody who takes part, read linearizably: the leader first (its priority reads 0), then who is registered.
///
/// participants: to be freed with leadership_participants_free.
/// Errors: UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_participants(
    elector: *const leadership_elector,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    participants: *mut *mut leadership_participants,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (elector, bounds, found) = unsafe {
            (object(elector, "elector")?, Bounds::new(timeout_ms, cancel), out(participants, "participants")?)
        };
        elector.shared.ensure_not_forked()?;
        found.set(leadership_participants::give(bounds.wait("participants", elector.elector.participants())?));
        Ok(())
    })
}

/// leadership_elector_participants without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_participants_start(
    elector: *const leadership_elector,
    cancel: *const leadership_cancel,
    done: leadership_participants_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let elector = unsafe { object(elector, "elector") }?;
        elector.shared.client.ensure_usable()?;
        let (read, user) = (elector.elector.participants(), UserData::new(user_data, drop));
        // SAFETY: NULL or valid, as C promises.
        unsafe { leadership_participants::start(&elector.shared.calls, cancel, done, user, read) }
    })
}
