//! What operators do to an election from outside, as C asks for it: look, transfer, depose, pause. Owns both forms of
//! waiting; what is guarded and marked is the core's.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;

use leadership_core::{Leader, Operator, Result};

use crate::args::{give, lend, object, out, text};
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free, leadership_client, leadership_leader_done};
use crate::error::leadership_error;
use crate::leader::leadership_leader;
use crate::panic::call;
use crate::participant::{leadership_participant, leadership_participants, leadership_participants_done};
use crate::term_write::leadership_bool_done;
use crate::transfer::{leadership_transfer_done, pointer, successor};
use crate::wait::{Bounds, given, leadership_done, start, start_giving, start_plain};

/// An operator's view of one single-key election, and hand on it: for tools and people, not for candidates. Nothing needs
/// the holder's consent; whatever is done is guarded by the term that was seen when the call began, and marked as an
/// operator's word, so that the next leader waits its takeover delay. Any thread.
///
/// Without `wait` the operator vouches that the deposed leader stops in time: it hears of it within milliseconds if it is
/// well, and no later than its own deadline if it is not; a successor may lead before that. With `wait` the operator takes
/// the key first and waits as long as the old lease was granted for: no two terms overlap, and nobody leads meanwhile.
pub struct leadership_operator {
    operator: Operator,
    shared: Arc<Shared>,
}

fn found(leader: Option<Leader>) -> *mut leadership_leader {
    leader.map_or(ptr::null_mut(), |leader| give(leadership_leader(leader)))
}

/// For the single-key election of a key. Nothing is sent.
///
/// key: text. operator_: to be freed with leadership_operator_free. Errors: INVALID_ARGUMENT (key: empty or reserved), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_new(
    client: *const leadership_client,
    key: *const c_char,
    operator_: *mut *mut leadership_operator,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, key, made) = unsafe { (object(client, "client")?, text(key, "key")?, out(operator_, "operator_")?) };
        made.set(give(leadership_operator {
            operator: Operator::new(&client.0.client, key)?,
            shared: client.0.clone(),
        }));
        Ok(())
    })
}

/// The key of the election, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_key(operator_: *const leadership_operator, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(operator_.as_ref().map(|operator| operator.operator.key()), len) }
}

/// Who leads, with its token, read linearizably.
///
/// leader: NULL if nobody; else to be freed with leadership_leader_free.
/// Errors: UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_leader(
    operator_: *const leadership_operator,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    leader: *mut *mut leadership_leader,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (operator, bounds, answer) = unsafe {
            (
                object(operator_, "operator_")?,
                Bounds::new(timeout_ms, cancel),
                out(leader, "leader")?,
            )
        };
        answer.set(found(bounds.wait("leader", operator.operator.leader())?));
        Ok(())
    })
}

/// leadership_operator_leader without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_leader_start(
    operator_: *const leadership_operator,
    cancel: *const leadership_cancel,
    done: leadership_leader_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let operator = unsafe { object(operator_, "operator_")? };
        given(done)?; // before it begins
        operator.shared.client.ensure_usable()?;
        let work = operator.operator.leader();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&operator.shared.calls, "leader", cancel, done, user, work, |answer| Ok(found(answer))) }
    })
}

/// Everybody who takes part: as leadership_elector_participants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_participants(
    operator_: *const leadership_operator,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    participants: *mut *mut leadership_participants,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (operator, bounds, answer) = unsafe {
            (
                object(operator_, "operator_")?,
                Bounds::new(timeout_ms, cancel),
                out(participants, "participants")?,
            )
        };
        answer.set(leadership_participants::give(bounds.wait("participants", operator.operator.participants())?));
        Ok(())
    })
}

/// leadership_operator_participants without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_participants_start(
    operator_: *const leadership_operator,
    cancel: *const leadership_cancel,
    done: leadership_participants_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let operator = unsafe { object(operator_, "operator_")? };
        given(done)?; // before it begins
        operator.shared.client.ensure_usable()?;
        let work = operator.operator.participants();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { leadership_participants::start(&operator.shared.calls, cancel, done, user, work) }
    })
}

/// Gives the key to a candidate, in one transaction: nobody else can come between.
///
/// to, value: as in leadership_elector_transfer. participant: who holds the key now, to be freed with
/// leadership_participant_free; if that is who held it before (it was named itself, or nobody else stands), nothing was done.
/// Errors: INVALID_ARGUMENT (to: no such candidate; says who there is), NOT_ELECTED (another leads than was seen: who),
/// UNAVAILABLE (nobody leads; or not applied), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED (with wait the key is let go of, and any
/// candidate may take it), PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_transfer(
    operator_: *const leadership_operator,
    to: u32,
    value: *const u8,
    value_len: usize,
    wait: bool,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    participant: *mut *mut leadership_participant,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (operator, to, bounds, answer) = unsafe {
            (
                object(operator_, "operator_")?,
                successor(to, value, value_len)?,
                Bounds::new(timeout_ms, cancel),
                out(participant, "participant")?,
            )
        };
        answer.set(pointer(bounds.wait("transfer", operator.operator.transfer(to, wait))?));
        Ok(())
    })
}

/// leadership_operator_transfer without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL, numbers), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_transfer_start(
    operator_: *const leadership_operator,
    to: u32,
    value: *const u8,
    value_len: usize,
    wait: bool,
    cancel: *const leadership_cancel,
    done: leadership_transfer_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (operator, to) = unsafe { (object(operator_, "operator_")?, successor(to, value, value_len)?) };
        given(done)?; // before it begins
        operator.shared.client.ensure_usable()?;
        let work = operator.operator.transfer(to, wait);
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&operator.shared.calls, "transfer", cancel, done, user, work, |answer| Ok(pointer(answer))) }
    })
}

/// Takes the key from whoever holds it. A key that hangs on no lease (somebody put it there by hand) goes, too.
///
/// leader: who held it; NULL if nobody did; else to be freed with leadership_leader_free.
/// Errors: NOT_ELECTED (another leads than was seen: who), UNAVAILABLE (not applied), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED
/// (it may have been done all the same), PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_depose(
    operator_: *const leadership_operator,
    wait: bool,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    leader: *mut *mut leadership_leader,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (operator, bounds, answer) = unsafe {
            (
                object(operator_, "operator_")?,
                Bounds::new(timeout_ms, cancel),
                out(leader, "leader")?,
            )
        };
        answer.set(found(bounds.wait("depose", operator.operator.depose(wait))?));
        Ok(())
    })
}

/// leadership_operator_depose without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_depose_start(
    operator_: *const leadership_operator,
    wait: bool,
    cancel: *const leadership_cancel,
    done: leadership_leader_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let operator = unsafe { object(operator_, "operator_")? };
        given(done)?; // before it begins
        operator.shared.client.ensure_usable()?;
        let work = operator.operator.depose(wait);
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&operator.shared.calls, "depose", cancel, done, user, work, |answer| Ok(found(answer))) }
    })
}

/// Pauses the election until leadership_operator_unpause: an elector that leads drains and resigns, nobody campaigns.
/// Idempotent.
///
/// Errors: UNAVAILABLE, TIMEOUT and CANCELLED (it may have been paused all the same), PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_pause(
    operator_: *const leadership_operator,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (operator, bounds) = unsafe { (object(operator_, "operator_")?, Bounds::new(timeout_ms, cancel)) };
        bounds.wait("pause", operator.operator.pause())
    })
}

/// leadership_operator_pause without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_pause_start(
    operator_: *const leadership_operator,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let operator = unsafe { object(operator_, "operator_")? };
        given(done)?; // before it begins
        operator.shared.client.ensure_usable()?;
        let work = operator.operator.pause();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&operator.shared.calls, "pause", cancel, done, user, work) }
    })
}

/// Lets a paused election go on. Idempotent.
///
/// Errors: as leadership_operator_pause.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_unpause(
    operator_: *const leadership_operator,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (operator, bounds) = unsafe { (object(operator_, "operator_")?, Bounds::new(timeout_ms, cancel)) };
        bounds.wait("unpause", operator.operator.unpause())
    })
}

/// leadership_operator_unpause without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_unpause_start(
    operator_: *const leadership_operator,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let operator = unsafe { object(operator_, "operator_")? };
        given(done)?; // before it begins
        operator.shared.client.ensure_usable()?;
        let work = operator.operator.unpause();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&operator.shared.calls, "unpause", cancel, done, user, work) }
    })
}

/// Is the election paused?
///
/// Errors: as leadership_operator_leader.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_is_paused(
    operator_: *const leadership_operator,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    paused: *mut bool,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (operator, bounds, answer) = unsafe {
            (
                object(operator_, "operator_")?,
                Bounds::new(timeout_ms, cancel),
                out(paused, "paused")?,
            )
        };
        answer.set(bounds.wait("read of the pause", operator.operator.is_paused())?);
        Ok(())
    })
}

/// leadership_operator_is_paused without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_is_paused_start(
    operator_: *const leadership_operator,
    cancel: *const leadership_cancel,
    done: leadership_bool_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let operator = unsafe { object(operator_, "operator_")? };
        let done = given(done)?;
        operator.shared.client.ensure_usable()?;
        let work = operator.operator.is_paused();
        let user = UserData::new(user_data, drop);
        let tell = move |user: *mut c_void, answer: Result<bool>| {
            let (error, yes) = match answer {
                Ok(yes) => (ptr::null_mut(), yes),
                Err(error) => (leadership_error::give(&error), false),
            };
            // SAFETY: the user's function with the user's data.
            unsafe { done(user, error, yes) };
        };
        // SAFETY: NULL or valid, as C promises.
        unsafe { start(&operator.shared.calls, "read of the pause", cancel, user, work, tell) }
    })
}

/// Frees the operator; what it has begun goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_operator_free(operator_: *mut leadership_operator) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(operator_, |operator| &operator.shared) };
}
