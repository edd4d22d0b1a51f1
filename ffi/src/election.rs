//! Elections of the queue kind as C holds them. Owns their calls; standing in line is the core's.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;

use leadership_core::{Election, LeadershipOptions};

use crate::args::{bytes, give, lend, object, out, text};
use crate::callback::{UserData, leadership_drop};
use crate::campaign::{leadership_campaign_options, leadership_options, options_or_default};
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free, leadership_client, leadership_leader_done};
use crate::error::leadership_error;
use crate::leader::leadership_leader;
use crate::observer::leadership_observer;
use crate::panic::call;
use crate::participant::{leadership_participants, leadership_participants_done};
use crate::term::{leadership_term, leadership_term_done};
use crate::wait::{Bounds, given, leadership_done, start_giving, start_plain};

/// One election of the queue kind: candidates wait in line, each for the one before it, as those of etcd's own clients do,
/// with which it contends (concurrency.Election of the Go client, etcdctl elect and lock). Any thread.
pub struct leadership_election {
    election: Election,
    shared: Arc<Shared>,
}

/// The election whose candidates' keys are prefix/lease. Nothing is sent.
///
/// prefix: text, without a trailing slash. options: or NULL for the defaults; copied.
/// election: to be freed with leadership_election_free.
/// Errors: INVALID_ARGUMENT (prefix: empty, reserved, or ends in a slash; or names the option), CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_new(
    client: *const leadership_client,
    prefix: *const c_char,
    options: *const leadership_options,
    election: *mut *mut leadership_election,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (client, prefix, options, made) =
            unsafe { (object(client, "client")?, text(prefix, "prefix")?, options.as_ref(), out(election, "election")?) };
        let options = options.map_or_else(LeadershipOptions::default, |options| options.0.clone());
        made.set(give(leadership_election {
            election: Election::with_options(&client.0.client, prefix, options)?,
            shared: client.0.clone(),
        }));
        Ok(())
    })
}

/// What the candidates' keys start with, without the slash, borrowed; its length goes to *len (may be NULL). NULL and 0 for
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_prefix(election: *const leadership_election, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(election.as_ref().map(|election| election.election.prefix()), len) }
}

/// Joins the queue and waits for its turn; the lease is renewed all the while. Out of time or cancelled, it leaves the
/// queue. Any number of places at once: each call is one.
///
/// options: or NULL for the defaults; conditions are not allowed. term: the caller's own: leadership_term_free resigns it.
/// Errors: NOT_ELECTED if the own place was lost (its key deleted, its lease revoked): at once, not when the turn would have
/// come; TIMEOUT, CANCELLED, INVALID_ARGUMENT, UNAVAILABLE, PERMISSION_DENIED, CLUSTER_CHANGED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_campaign(
    election: *const leadership_election,
    options: *const leadership_campaign_options,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    term: *mut *mut leadership_term,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (election, options, bounds, won) = unsafe {
            (
                object(election, "election")?,
                options.as_ref(),
                Bounds::new(timeout_ms, cancel),
                out(term, "term")?,
            )
        };
        let term = bounds.wait("campaign", election.election.campaign(options_or_default(options)))?;
        won.set(leadership_term::give_owned(term, &election.shared));
        Ok(())
    })
}

/// leadership_election_campaign without waiting: `done` is called once, with exactly one of error and term. The election may
/// be freed meanwhile.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_campaign_start(
    election: *const leadership_election,
    options: *const leadership_campaign_options,
    cancel: *const leadership_cancel,
    done: leadership_term_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (election, options) = unsafe { (object(election, "election")?, options.as_ref()) };
        election.shared.client.ensure_usable()?;
        let (core, shared) = (election.election.clone(), election.shared.clone());
        let options = options_or_default(options);
        let campaign = async move { core.campaign(options).await };
        let user = UserData::new(user_data, drop);
        let won = move |term| Ok(leadership_term::give_owned(term, &shared));
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&election.shared.calls, "campaign", cancel, done, user, campaign, won) }
    })
}

/// Who leads, read linearizably.
///
/// leader: NULL if the queue is empty; else to be freed with leadership_leader_free.
/// Errors: UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_leader(
    election: *const leadership_election,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    leader: *mut *mut leadership_leader,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (election, bounds, found) =
            unsafe { (object(election, "election")?, Bounds::new(timeout_ms, cancel), out(leader, "leader")?) };
        let leader = bounds.wait("leader", election.election.leader())?;
        found.set(leader.map_or(ptr::null_mut(), |leader| give(leadership_leader(leader))));
        Ok(())
    })
}

/// leadership_election_leader without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_leader_start(
    election: *const leadership_election,
    cancel: *const leadership_cancel,
    done: leadership_leader_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let election = unsafe { object(election, "election") }?;
        election.shared.client.ensure_usable()?;
        let core = election.election.clone();
        let read = async move { core.leader().await };
        let user = UserData::new(user_data, drop);
        let found = |leader: Option<_>| Ok(leader.map_or(ptr::null_mut(), |leader| give(leadership_leader(leader))));
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&election.shared.calls, "leader", cancel, done, user, read, found) }
    })
}

/// All candidates, read linearizably.
///
/// participants: to be freed with leadership_participants_free. Errors: as leadership_election_leader.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_participants(
    election: *const leadership_election,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    participants: *mut *mut leadership_participants,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (election, bounds, found) = unsafe {
            (object(election, "election")?, Bounds::new(timeout_ms, cancel), out(participants, "participants")?)
        };
        let all = bounds.wait("participants", election.election.participants())?;
        found.set(leadership_participants::give(all));
        Ok(())
    })
}

/// leadership_election_participants without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_participants_start(
    election: *const leadership_election,
    cancel: *const leadership_cancel,
    done: leadership_participants_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let election = unsafe { object(election, "election") }?;
        election.shared.client.ensure_usable()?;
        let core = election.election.clone();
        let read = async move { core.participants().await };
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { leadership_participants::start(&election.shared.calls, cancel, done, user, read) }
    })
}

/// Observes the election from now on: as leadership_observer_new. Where one waits in line, no vacancy lies between two
/// leaders; the first in line is told of when its turn has come, though it may still wait its takeover delay.
///
/// observer: to be freed with leadership_observer_free. Errors: CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_observe(
    election: *const leadership_election,
    observer: *mut *mut leadership_observer,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (election, made) = unsafe { (object(election, "election")?, out(observer, "observer")?) };
        made.set(leadership_observer::give(election.election.observe()?, &election.shared));
        Ok(())
    })
}

/// Another value for the term that this object won last, for whoever does not have it at hand: as leadership_term_proclaim.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_proclaim(
    election: *const leadership_election,
    value: *const u8,
    value_len: usize,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (election, value, bounds) =
            unsafe { (object(election, "election")?, bytes(value, value_len, "value")?, Bounds::new(timeout_ms, cancel)) };
        bounds.wait("proclaim", election.election.proclaim(value))
    })
}

/// leadership_election_proclaim without waiting: `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_proclaim_start(
    election: *const leadership_election,
    value: *const u8,
    value_len: usize,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid or readable for its length, as C promises.
        let (election, value) = unsafe { (object(election, "election")?, bytes(value, value_len, "value")?) };
        given(done)?; // before it is sent
        election.shared.client.ensure_usable()?;
        let proclaimed = election.election.proclaim(value);
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&election.shared.calls, "proclaim", cancel, done, user, proclaimed) }
    })
}

/// Gives up the term that this object won last, for whoever does not have it at hand: as leadership_term_resign, and the
/// next in line follows. Without a term nothing happens.
///
/// Errors: TIMEOUT, UNAVAILABLE, CANCELLED when etcd's answer was not waited for to the end: it goes on in the background.
/// CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_resign(
    election: *const leadership_election,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (election, bounds) = unsafe { (object(election, "election")?, Bounds::new(timeout_ms, cancel)) };
        bounds.wait("resign", election.election.resign())
    })
}

/// leadership_election_resign without waiting: not leader when this returns success, and `done` is called once.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_resign_start(
    election: *const leadership_election,
    cancel: *const leadership_cancel,
    done: leadership_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let election = unsafe { object(election, "election") }?;
        given(done)?; // before the term ends
        election.shared.client.ensure_usable()?;
        let resigned = election.election.resign();
        let user = UserData::new(user_data, drop);
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_plain(&election.shared.calls, "resign", cancel, done, user, resigned) }
    })
}

/// Frees the election; campaigns under way and terms go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_election_free(election: *mut leadership_election) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(election, |election| &election.shared) };
}
