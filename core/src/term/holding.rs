//! The holder's key as its holder knows it: which lease it hangs on, which one it may be moving to (S6, DESIGN §4).
//! Owns what is "mine" of a key that etcd shows; moving it is `moving`'s, and what its loss means the term's.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::error::Reason;
use crate::protocol::{Guard, Key, KeyValue};

/// A key taken by a campaign, led or not yet. Written on the I/O thread alone; read from any.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) key: Key,
    pub(crate) create: i64,
    lease: AtomicI64,
    /// The lease that a move under way puts it under; 0 = none.
    pending: AtomicI64,
    /// MOD(key) after the holder's last own write: older events and reads say nothing (S6).
    modified: AtomicI64,
}

impl Holding {
    /// A key that was just created.
    pub(crate) fn new(guard: Guard) -> Holding {
        let created = guard.create;
        Holding::since(guard, created)
    }

    /// A key that came into these hands at `modified`: a hand-over keeps its creation.
    pub(crate) fn since(guard: Guard, modified: i64) -> Holding {
        Holding {
            lease: AtomicI64::new(guard.lease),
            pending: AtomicI64::new(0),
            modified: AtomicI64::new(modified),
            key: guard.key,
            create: guard.create,
        }
    }

    /// The lease that the key hangs on, as far as is known.
    pub(crate) fn lease(&self) -> i64 {
        self.lease.load(Ordering::Acquire)
    }

    pub(crate) fn modified(&self) -> i64 {
        self.modified.load(Ordering::Acquire)
    }

    /// What a write of the holder's compares.
    pub(crate) fn guard(&self) -> Guard {
        Guard {
            key: self.key.clone(),
            create: self.create,
            lease: self.lease(),
        }
    }

    /// Is this state of the key mine? CREATE matches, and LEASE is the current or the pending one: what etcd shows of a
    /// move can come before its reply.
    pub(crate) fn holds(&self, kv: Option<&KeyValue>) -> bool {
        kv.is_some_and(|kv| {
            let pending = self.pending.load(Ordering::Acquire);
            kv.create_revision == self.create && (kv.lease == self.lease() || (pending != 0 && kv.lease == pending))
        })
    }

    /// Does a state of the key, seen at `revision`, say that it is lost? (S6)
    pub(crate) fn judge(&self, kv: Option<&KeyValue>, revision: i64) -> Option<Reason> {
        if revision < self.modified() || self.holds(kv) {
            return None;
        }
        Some(match kv {
            // The key lives on in other hands; created anew it was deleted in between.
            Some(kv) if kv.create_revision == self.create => Reason::Overwritten,
            _ => Reason::KeyDeleted,
        })
    }

    /// A move to lease `fresh` is about to be sent.
    pub(crate) fn moving(&self, fresh: i64) {
        self.pending.store(fresh, Ordering::Release);
    }

    /// The move is known not to be applied, now or ever.
    pub(crate) fn stays(&self) {
        self.pending.store(0, Ordering::Release);
    }

    /// The key is known to be where `kv` shows it, if that is mine and news.
    pub(crate) fn adopt(&self, kv: &KeyValue) {
        if self.holds(Some(kv)) {
            self.seen(kv.lease, kv.mod_revision);
        }
    }

    /// An own write put it under `lease` at `modified`, or left it there.
    pub(crate) fn seen(&self, lease: i64, modified: i64) {
        if modified < self.modified() {
            return;
        }
        // The revision first: between the two nothing is judged, and nobody else writes.
        self.modified.store(modified, Ordering::Release);
        self.lease.store(lease, Ordering::Release);
        if self.pending.load(Ordering::Acquire) == lease {
            self.stays();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(create: i64, lease: i64, modified: i64) -> KeyValue {
        KeyValue {
            create_revision: create,
            mod_revision: modified,
            lease,
            ..KeyValue::default()
        }
    }

    fn holding() -> Holding {
        Holding::new(Guard {
            key: b"k".as_slice().into(),
            create: 10,
            lease: 7,
        })
    }

    #[test]
    fn case_54_s6_the_event_of_a_move_before_its_reply_is_mine() {
        let held = holding();
        assert_eq!(held.judge(Some(&kv(10, 8, 20)), 20), Some(Reason::Overwritten), "nobody moves it");
        held.moving(8);
        assert_eq!(held.judge(Some(&kv(10, 8, 20)), 20), None);
        assert_eq!(held.judge(Some(&kv(10, 7, 10)), 19), None, "not applied yet");
        assert_eq!(held.judge(Some(&kv(10, 9, 20)), 20), Some(Reason::Overwritten));
        assert_eq!(held.judge(Some(&kv(20, 8, 20)), 20), Some(Reason::KeyDeleted), "created anew");
        assert_eq!(held.judge(None, 20), Some(Reason::KeyDeleted));
        held.seen(8, 20);
        assert_eq!((held.lease(), held.modified()), (8, 20));
        assert_eq!(held.judge(Some(&kv(10, 7, 10)), 19), None, "from before the move: says nothing");
        assert_eq!(held.judge(None, 19), None);
        assert_eq!(held.judge(Some(&kv(10, 7, 25)), 25), Some(Reason::Overwritten), "the lease it left is nobody's");
    }

    #[test]
    fn case_54_what_a_read_shows_is_taken_over_only_if_it_is_mine_and_newer() {
        let held = holding();
        held.moving(8);
        held.adopt(&kv(10, 9, 30));
        held.adopt(&kv(11, 8, 30));
        assert_eq!((held.lease(), held.modified()), (7, 10));
        held.adopt(&kv(10, 7, 15));
        assert_eq!((held.lease(), held.modified()), (7, 15), "written by a stranger who left it mine");
        held.adopt(&kv(10, 8, 20));
        held.adopt(&kv(10, 7, 15));
        assert_eq!((held.lease(), held.modified()), (8, 20));
        held.moving(9);
        held.stays();
        assert_eq!(held.judge(Some(&kv(10, 9, 40)), 40), Some(Reason::Overwritten));
    }
}
