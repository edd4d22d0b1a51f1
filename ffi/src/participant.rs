//! Who takes part in an election, in the order of their turns, as C reads it. Owns the accessors.

use std::ffi::c_void;
use std::ptr;

use leadership_core::{Participant, Result};

use crate::args::{give, lend, take};
use crate::callback::{Calls, UserData};
use crate::cancel::leadership_cancel;
use crate::error::leadership_error;
use crate::panic::value;
use crate::wait::start_giving;

/// Everybody who took part in an election when it was read, in the order of their turns, the leader first. Any thread.
#[derive(Debug)]
pub struct leadership_participants(Vec<leadership_participant>);

/// One of them. Borrowed, but for the one that a transfer gives, which is the caller's. Any thread.
#[derive(Debug)]
pub struct leadership_participant(pub(crate) Participant);

/// Completion of what reads participants. Exactly one of error and participants is not NULL, and it is the callback's to
/// free.
pub type leadership_participants_done = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        error: *mut leadership_error,
        participants: *mut leadership_participants,
    ),
>;

impl leadership_participants {
    pub(crate) fn give(all: Vec<Participant>) -> *mut leadership_participants {
        give(leadership_participants(all.into_iter().map(leadership_participant).collect()))
    }

    /// Hands them to `done` when they were read.
    ///
    /// # Safety
    /// `cancel` is NULL or valid.
    pub(crate) unsafe fn start(
        calls: &Calls,
        cancel: *const leadership_cancel,
        done: leadership_participants_done,
        user: UserData,
        read: impl Future<Output = Result<Vec<Participant>>> + Send + 'static,
    ) -> Result<()> {
        // SAFETY: the caller's.
        unsafe { start_giving(calls, "participants", cancel, done, user, read, |all| Ok(leadership_participants::give(all))) }
    }
}

/// How many there are. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participants_len(participants: *const leadership_participants) -> usize {
    // SAFETY: NULL or valid, as C promises.
    unsafe { participants.as_ref() }.map_or(0, |participants| participants.0.len())
}

/// Number `index`, from 0; borrowed. NULL if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participants_at(
    participants: *const leadership_participants,
    index: usize,
) -> *const leadership_participant {
    // SAFETY: NULL or valid, as C promises.
    unsafe { participants.as_ref() }.and_then(|all| all.0.get(index)).map_or(ptr::null(), ptr::from_ref)
}

/// What it campaigns with, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participant_value(
    participant: *const leadership_participant,
    len: *mut usize,
) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(participant.as_ref().map(|participant| participant.0.value.as_slice()), len) }
}

/// Higher is preferred; 0 unless it chose another, always in a queue, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participant_priority(participant: *const leadership_participant) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { participant.as_ref() }.map_or(0, |participant| participant.0.priority)
}

/// The lease that its registration, or its key, hangs on; 0 for a key without one, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participant_lease_id(participant: *const leadership_participant) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { participant.as_ref() }.map_or(0, |participant| participant.0.lease)
}

/// The revision at which it registered, or at which its key was created. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participant_revision(participant: *const leadership_participant) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { participant.as_ref() }.map_or(0, |participant| participant.0.revision)
}

/// True for the one that held the election. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participant_leads(participant: *const leadership_participant) -> bool {
    // SAFETY: NULL or valid, as C promises.
    unsafe { participant.as_ref() }.is_some_and(|participant| participant.0.leads)
}

/// Frees the one that a transfer gave; one of leadership_participants_at goes with those.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participant_free(participant: *mut leadership_participant) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(participant) }));
}

/// Frees them, and all that was borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_participants_free(participants: *mut leadership_participants) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(participants) }));
}
