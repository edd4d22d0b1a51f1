//! Two leases renewed for the terms of one, while their keys move from the old to the fresh (DESIGN §4 "Re-lease").
//! Owns the rule of the smaller deadline; whether a key has moved is found out elsewhere (`moving`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Renewals;
use crate::clock::BootTime;
use crate::error::Reason;
use crate::term::{LeaseShared, TermShared};

impl Renewals {
    /// The leases that are renewed and carry a term, each once, unless settled at raft term `newest`.
    pub(crate) fn unsettled(&mut self, newest: u64) -> Vec<Arc<LeaseShared>> {
        let entries = self.leases.values_mut().filter(|entry| {
            entry.renewing
                && entry.twin.is_none()
                && !entry.terms.is_empty()
                && entry.lease.settled.load(Ordering::Acquire) < newest
        });
        entries.map(|entry| entry.lease.clone()).collect()
    }

    /// The terms on a lease.
    pub(crate) fn terms_on(&self, lease: &LeaseShared) -> Vec<Arc<TermShared>> {
        let terms = self.leases.get(lease.id()).map(|entry| entry.terms.as_slice()).unwrap_or_default();
        terms.iter().filter_map(|id| self.terms.get(*id).cloned()).collect()
    }

    /// From now on the terms on `old` follow the smaller deadline of both leases, and both are renewed. Refused while the
    /// fresh lease's deadline is before the old one's or a term's: a key moved then could go before its term ends.
    pub(crate) fn begin_move(&mut self, old: i64, fresh: i64, now: BootTime) -> bool {
        let Some(until) = self.leases.get(fresh).map(|entry| entry.until) else { return false };
        let Some(entry) = self.leases.get_mut(old) else { return false };
        let terms = entry.terms.iter().filter_map(|id| self.terms.get(*id));
        let latest = terms.map(|term| term.deadline.at()).fold(entry.until, BootTime::max);
        if until < latest || until <= now {
            return false;
        }
        entry.twin = Some(fresh);
        entry.lease.moving(fresh);
        let (lease, terms, renewing) = (entry.lease.clone(), entry.terms.clone(), entry.renewing);
        if let Some(entry) = self.leases.get_mut(fresh) {
            entry.twin = Some(old);
            entry.lease = lease;
            entry.terms = terms;
        }
        self.set_renewing(fresh, renewing);
        true
    }

    /// Every key hangs on `stays` now, the fresh lease or, if none could be moved, the old one. The terms follow it
    /// alone, and the other is forgotten. If it has turned out to be gone meanwhile, those are returned that ended so.
    pub(crate) fn end_move(&mut self, goes: i64, stays: i64, now: BootTime) -> Vec<Arc<TermShared>> {
        self.remove(goes);
        let Some(place) = self.leases.place(stays) else { return Vec::new() };
        let Some(entry) = self.leases.at_mut(place) else { return Vec::new() };
        entry.twin = None;
        if entry.gone {
            entry.lease.deadline.end(Reason::Revoked);
            return entry.terms.iter().filter_map(|id| self.terms.get(*id).cloned()).collect();
        }
        let (until, validity) = (entry.until, self.validity.of(entry.ttl));
        self.reach(place, until, validity, now);
        Vec::new()
    }

    /// The deadline of a lease's terms, where that lease alone would allow `deadline`.
    pub(super) fn with_twin(&self, twin: Option<i64>, deadline: BootTime) -> BootTime {
        let twin = twin.and_then(|id| self.leases.get(id));
        twin.map_or(deadline, |twin| twin.until.min(deadline))
    }
}
