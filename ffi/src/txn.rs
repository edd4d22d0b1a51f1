//! A write that only one very term can make, as C builds it. Owns the builder; guard and limits are the core's.

use std::ffi::c_void;
use std::sync::Arc;

use leadership_core::{Compare, Op, Result, TermHandle, TxnReply};

use crate::args::{bytes, exclusive, give, invalid, object, out};
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::client::{Shared, free};
use crate::compare::leadership_compare;
use crate::error::leadership_error;
use crate::handle::leadership_handle;
use crate::panic::call;
use crate::reply::leadership_txn_reply;
use crate::term::leadership_term;
use crate::wait::{Bounds, start_giving};

/// A transaction that etcd applies only while this very term holds the key: if the conditions hold, the `then`
/// operations, else the `else` operations, all as one. If the term is over, nothing of it is applied, `else` included.
/// At most 126 conditions, and 126 operations a branch; none may touch the leader key or what belongs to it (checked
/// at the commit).
pub struct leadership_txn {
    term: TermHandle,
    when: Vec<Compare>,
    then: Vec<Op>,
    or_else: Vec<Op>,
    shared: Arc<Shared>,
}

impl leadership_txn {
    fn of(term: TermHandle, shared: &Arc<Shared>) -> leadership_txn {
        leadership_txn {
            term,
            when: Vec::new(),
            then: Vec::new(),
            or_else: Vec::new(),
            shared: shared.clone(),
        }
    }

    fn commit(&self) -> impl Future<Output = Result<TxnReply>> + Send + use<> {
        let txn = self.term.txn().when(self.when.iter().cloned()).then(self.then.iter().cloned());
        txn.or_else(self.or_else.iter().cloned()).commit()
    }
}

/// An empty transaction, guarded by this term. txn: to be freed with leadership_txn_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_new(
    term: *const leadership_term,
    txn: *mut *mut leadership_txn,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (term, made) = unsafe { (object(term, "term")?, out(txn, "txn")?) };
        term.shared.ensure_not_forked()?;
        made.set(give(leadership_txn::of(term.term.clone(), &term.shared)));
        Ok(())
    })
}

/// An empty transaction, guarded by the handle's current term. txn: to be freed with leadership_txn_free.
///
/// Errors: NOT_LEADER without a valid term, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_leader_txn(
    handle: *const leadership_handle,
    txn: *mut *mut leadership_txn,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, made) = unsafe { (object(handle, "handle")?, out(txn, "txn")?) };
        made.set(give(leadership_txn::of(handle.lead.valid_term()?, &handle.shared)));
        Ok(())
    })
}

fn change(txn: *mut leadership_txn, change: impl FnOnce(&mut leadership_txn) -> Result<()>) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid and used by nobody else meanwhile, as C promises.
        change(unsafe { exclusive(txn, "txn") }?)
    })
}

/// Adds a condition. Copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_when(
    txn: *mut leadership_txn,
    compare: *const leadership_compare,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or valid, as C promises.
        txn.when.push(unsafe { object(compare, "compare") }?.0.clone());
        Ok(())
    })
}

/// # Safety
/// Each pointer is NULL or readable for its length.
unsafe fn put(key: *const u8, key_len: usize, value: *const u8, value_len: usize, lease_id: i64) -> Result<Op> {
    if lease_id < 0 {
        return Err(invalid("lease_id", format!("{lease_id} is below 0")));
    }
    // SAFETY: the caller's.
    let (key, value) = unsafe { (bytes(key, key_len, "key")?, bytes(value, value_len, "value")?) };
    Ok(Op::put_with_lease(key, value, lease_id))
}

/// If the conditions hold: writes a key, which lives as long as the lease (0 = for good).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_then_put(
    txn: *mut leadership_txn,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    lease_id: i64,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: each NULL or readable for its length, as C promises.
        txn.then.push(unsafe { put(key, key_len, value, value_len, lease_id) }?);
        Ok(())
    })
}

/// If the conditions hold: deletes a key; deleting an absent one is no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_then_delete(
    txn: *mut leadership_txn,
    key: *const u8,
    key_len: usize,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or readable for its length, as C promises.
        txn.then.push(Op::delete(unsafe { bytes(key, key_len, "key") }?));
        Ok(())
    })
}

/// If the conditions hold: deletes every key that starts with the prefix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_then_delete_prefix(
    txn: *mut leadership_txn,
    prefix: *const u8,
    prefix_len: usize,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or readable for its length, as C promises.
        txn.then.push(Op::delete_prefix(unsafe { bytes(prefix, prefix_len, "prefix") }?));
        Ok(())
    })
}

/// If the conditions hold: reads a key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_then_get(
    txn: *mut leadership_txn,
    key: *const u8,
    key_len: usize,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or readable for its length, as C promises.
        txn.then.push(Op::get(unsafe { bytes(key, key_len, "key") }?));
        Ok(())
    })
}

/// If the conditions hold: reads every key that starts with the prefix, at most `limit` of them (0 = all).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_then_get_prefix(
    txn: *mut leadership_txn,
    prefix: *const u8,
    prefix_len: usize,
    limit: i64,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or readable for its length, as C promises.
        txn.then.push(unsafe { get_prefix(prefix, prefix_len, limit) }?);
        Ok(())
    })
}

/// # Safety
/// The prefix is NULL or readable for its length.
unsafe fn get_prefix(prefix: *const u8, prefix_len: usize, limit: i64) -> Result<Op> {
    if limit < 0 {
        return Err(invalid("limit", format!("{limit} is below 0")));
    }
    // SAFETY: the caller's.
    Ok(Op::get_prefix(unsafe { bytes(prefix, prefix_len, "prefix") }?, limit))
}

/// If a condition does not hold: as leadership_txn_then_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_else_put(
    txn: *mut leadership_txn,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    lease_id: i64,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: each NULL or readable for its length, as C promises.
        txn.or_else.push(unsafe { put(key, key_len, value, value_len, lease_id) }?);
        Ok(())
    })
}

/// If a condition does not hold: as leadership_txn_then_delete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_else_delete(
    txn: *mut leadership_txn,
    key: *const u8,
    key_len: usize,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or readable for its length, as C promises.
        txn.or_else.push(Op::delete(unsafe { bytes(key, key_len, "key") }?));
        Ok(())
    })
}

/// If a condition does not hold: as leadership_txn_then_delete_prefix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_else_delete_prefix(
    txn: *mut leadership_txn,
    prefix: *const u8,
    prefix_len: usize,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or readable for its length, as C promises.
        txn.or_else.push(Op::delete_prefix(unsafe { bytes(prefix, prefix_len, "prefix") }?));
        Ok(())
    })
}

/// If a condition does not hold: as leadership_txn_then_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_else_get(
    txn: *mut leadership_txn,
    key: *const u8,
    key_len: usize,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or readable for its length, as C promises.
        txn.or_else.push(Op::get(unsafe { bytes(key, key_len, "key") }?));
        Ok(())
    })
}

/// If a condition does not hold: as leadership_txn_then_get_prefix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_else_get_prefix(
    txn: *mut leadership_txn,
    prefix: *const u8,
    prefix_len: usize,
    limit: i64,
) -> *mut leadership_error {
    change(txn, |txn| {
        // SAFETY: NULL or readable for its length, as C promises.
        txn.or_else.push(unsafe { get_prefix(prefix, prefix_len, limit) }?);
        Ok(())
    })
}

/// Sends it; sending it again is another transaction. A condition that does not hold is success, with
/// leadership_txn_reply_succeeded false.
///
/// reply: to be freed with leadership_txn_reply_free.
/// Errors: NOT_LEADER (nothing was applied; if etcd said so, the term has ended), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED
/// (it may be applied all the same), INVALID_ARGUMENT (when, then, or_else), UNAVAILABLE, PERMISSION_DENIED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_commit(
    txn: *const leadership_txn,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    reply: *mut *mut leadership_txn_reply,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (txn, bounds, got) =
            unsafe { (object(txn, "txn")?, Bounds::new(timeout_ms, cancel), out(reply, "reply")?) };
        let reply = bounds.wait("guarded transaction", txn.commit())?;
        got.set(give(leadership_txn_reply::of(reply)?));
        Ok(())
    })
}

/// Completion of leadership_txn_commit_start. Exactly one of error and reply is not NULL, and it is the callback's to
/// free.
pub type leadership_txn_done =
    Option<unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, reply: *mut leadership_txn_reply)>;

/// leadership_txn_commit without waiting: `done` is called once. The transaction may be freed meanwhile.
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_commit_start(
    txn: *const leadership_txn,
    cancel: *const leadership_cancel,
    done: leadership_txn_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid, as C promises.
        let txn = unsafe { object(txn, "txn") }?;
        txn.shared.client.ensure_usable()?;
        let user = UserData::new(user_data, drop);
        let got = |reply| Ok(give(leadership_txn_reply::of(reply)?));
        let what = "guarded transaction";
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&txn.shared.calls, what, cancel, done, user, txn.commit(), got) }
    })
}

/// Frees a transaction; one under way goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_free(txn: *mut leadership_txn) {
    // SAFETY: NULL or ours and not used again, as C promises.
    unsafe { free(txn, |txn| &txn.shared) };
}
