//! What a transaction answered, as C reads it. Owns the accessors and the kinds' numbers.

use std::ptr;

use leadership_core::{Error, KeyValue, OpReply, Result, TxnReply};

use crate::args::{lend, take};
use crate::panic::value;

/// A key was written.
pub const LEADERSHIP_REPLY_PUT: u32 = 1;
/// Keys were deleted; leadership_txn_reply_deleted says how many.
pub const LEADERSHIP_REPLY_DELETE: u32 = 2;
/// Keys were read.
pub const LEADERSHIP_REPLY_GET: u32 = 3;

/// What a transaction answered: one reply for each operation of the branch that was applied. Any thread.
#[derive(Debug)]
pub struct leadership_txn_reply {
    succeeded: bool,
    revision: i64,
    replies: Vec<Reply>,
}

#[derive(Debug, Default)]
struct Reply {
    kind: u32,
    count: i64,
    kvs: Vec<leadership_key_value>,
}

/// A key as etcd holds it; borrowed from a reply. Any thread.
#[derive(Debug)]
pub struct leadership_key_value(KeyValue);

impl leadership_txn_reply {
    pub(crate) fn of(reply: TxnReply) -> Result<leadership_txn_reply> {
        Ok(leadership_txn_reply {
            succeeded: reply.succeeded,
            revision: reply.revision,
            replies: reply.replies.into_iter().map(Reply::of).collect::<Result<_>>()?,
        })
    }
}

impl Reply {
    fn of(reply: OpReply) -> Result<Reply> {
        Ok(match reply {
            OpReply::Put => Reply {
                kind: LEADERSHIP_REPLY_PUT,
                ..Reply::default()
            },
            OpReply::Delete { deleted, .. } => Reply {
                kind: LEADERSHIP_REPLY_DELETE,
                count: deleted,
                ..Reply::default()
            },
            OpReply::Get { kvs, count } => Reply {
                kind: LEADERSHIP_REPLY_GET,
                count,
                kvs: kvs.into_iter().map(leadership_key_value).collect(),
            },
            reply => {
                return Err(Error::Internal {
                    message: format!("a reply that has no number: {reply:?}"),
                });
            }
        })
    }
}

/// # Safety
/// NULL or valid for `'a`.
unsafe fn at<'a>(reply: *const leadership_txn_reply, index: usize) -> Option<&'a Reply> {
    // SAFETY: the caller's.
    unsafe { reply.as_ref() }?.replies.get(index)
}

/// True if all conditions held and the `then` branch was applied; false for `else`, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_reply_succeeded(reply: *const leadership_txn_reply) -> bool {
    // SAFETY: NULL or valid, as C promises.
    unsafe { reply.as_ref() }.is_some_and(|reply| reply.succeeded)
}

/// The store's revision after the transaction (its own, if it wrote). 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_reply_revision(reply: *const leadership_txn_reply) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { reply.as_ref() }.map_or(0, |reply| reply.revision)
}

/// How many operations the branch had that was applied. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_reply_len(reply: *const leadership_txn_reply) -> usize {
    // SAFETY: NULL or valid, as C promises.
    unsafe { reply.as_ref() }.map_or(0, |reply| reply.replies.len())
}

/// What operation `index` was, LEADERSHIP_REPLY_*; 0 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_reply_kind(reply: *const leadership_txn_reply, index: usize) -> u32 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { at(reply, index) }.map_or(0, |reply| reply.kind)
}

/// How many keys operation `index` deleted; for a get, how many there are in the range, read or not. 0 for anything
/// else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_reply_count(reply: *const leadership_txn_reply, index: usize) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { at(reply, index) }.map_or(0, |reply| reply.count)
}

/// How many keys operation `index` read. 0 for anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_reply_kv_len(reply: *const leadership_txn_reply, index: usize) -> usize {
    // SAFETY: NULL or valid, as C promises.
    unsafe { at(reply, index) }.map_or(0, |reply| reply.kvs.len())
}

/// Key number `kv_index` that operation `index` read, in order; borrowed. NULL if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_reply_kv(
    reply: *const leadership_txn_reply,
    index: usize,
    kv_index: usize,
) -> *const leadership_key_value {
    // SAFETY: NULL or valid, as C promises.
    unsafe { at(reply, index) }.and_then(|reply| reply.kvs.get(kv_index)).map_or(ptr::null(), ptr::from_ref)
}

/// The key, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_key_value_key(kv: *const leadership_key_value, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(kv.as_ref().map(|kv| kv.0.key.as_slice()), len) }
}

/// The value, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_key_value_value(kv: *const leadership_key_value, len: *mut usize) -> *const u8 {
    // SAFETY: each NULL or valid, as C promises.
    unsafe { lend(kv.as_ref().map(|kv| kv.0.value.as_slice()), len) }
}

/// The revision at which the key was created (again). 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_key_value_create_revision(kv: *const leadership_key_value) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { kv.as_ref() }.map_or(0, |kv| kv.0.create_revision)
}

/// The revision at which the key was last written. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_key_value_mod_revision(kv: *const leadership_key_value) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { kv.as_ref() }.map_or(0, |kv| kv.0.mod_revision)
}

/// How often the key was written since it was created. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_key_value_version(kv: *const leadership_key_value) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { kv.as_ref() }.map_or(0, |kv| kv.0.version)
}

/// The lease the key hangs on; 0 for none, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_key_value_lease_id(kv: *const leadership_key_value) -> i64 {
    // SAFETY: NULL or valid, as C promises.
    unsafe { kv.as_ref() }.map_or(0, |kv| kv.0.lease)
}

/// Frees a reply and all that was borrowed from it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_txn_reply_free(reply: *mut leadership_txn_reply) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(reply) }));
}
