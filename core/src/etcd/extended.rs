//! The terms that renewals extend: until when each may be extended, and when each is to be looked at again.
//! Owns the rule that a key must have been shown lately (S15) and jeopardy; leases and replies are `renewals`'.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::BootTime;
use crate::error::Reason;
use crate::options::{RENEWALS_PER_TTL, Validity};
use crate::protocol::KeyValue;
use crate::term::{TermShared, TermState};

/// Own keys in one confirming read: at least so many of the longest unseen, and all that were not seen since the last
/// renewal (a read costs as much as 30 renewals, a further key little; a key that waits for its turn holds its term's
/// deadline back, which is missed when etcd stalls, case 44) …
const KEYS_AT_LEAST: usize = 16;
/// … but no more (etcd's limit of operations in a transaction is 128).
const KEYS_AT_MOST: usize = 126;

struct Entry {
    term: Arc<TermShared>,
    /// When the last read that showed the key as ours was sent: no extension goes beyond that + TTL (S15).
    shown: BootTime,
    /// When an extension was last confirmed.
    extended: BootTime,
    look: BootTime,
    /// In `aside`, or in a read of such a group, and not in `unseen`.
    aside: bool,
}

/// The terms, by id.
#[derive(Default)]
pub(crate) struct Terms {
    terms: HashMap<u64, Entry>,
    looks: BTreeSet<(BootTime, u64)>,
    unseen: BTreeSet<(BootTime, u64)>,
    /// Terms whose read was denied: one of a group may not be read at least. Each is read by itself, from when on.
    aside: Vec<(BootTime, Vec<u64>)>,
}

/// Keys for a confirming read.
#[derive(Default)]
pub(crate) struct Shows {
    pub(crate) terms: Vec<u64>,
    pub(crate) keys: Vec<Vec<u8>>,
    /// Further keys are due, for which there was no room.
    pub(crate) more: bool,
}

impl Terms {
    pub(crate) fn add(&mut self, term: Arc<TermShared>, shown: BootTime, now: BootTime) {
        let id = term.id;
        self.unseen.insert((shown, id));
        self.looks.insert((now, id));
        self.terms.insert(
            id,
            Entry {
                shown,
                extended: now,
                look: now,
                aside: false,
                term,
            },
        );
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Arc<TermShared>> {
        let entry = self.terms.remove(&id)?;
        self.looks.remove(&(entry.look, id));
        self.unseen.remove(&(entry.shown, id));
        Some(entry.term)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Arc<TermShared>> {
        Some(&self.terms.get(&id)?.term)
    }

    /// In order of their ids.
    pub(crate) fn all(&self) -> Vec<Arc<TermShared>> {
        let mut terms: Vec<_> = self.terms.values().map(|entry| entry.term.clone()).collect();
        terms.sort_by_key(|term| term.id);
        terms
    }

    /// A term's lease is renewed from now on: looked at as one that nobody renews it was never in jeopardy.
    pub(crate) fn look_again(&mut self, id: u64) {
        if let Some(entry) = self.terms.get_mut(&id) {
            self.looks.remove(&(entry.look, id));
            entry.look = entry.extended;
            self.looks.insert((entry.look, id));
        }
    }

    /// A renewal of its lease was confirmed, good until `deadline`.
    pub(crate) fn extend(&mut self, id: u64, deadline: BootTime, validity: Duration, now: BootTime, slept: u64) {
        if let Some(entry) = self.terms.get_mut(&id)
            && entry.term.deadline.set(deadline.min(entry.shown.after(validity)), now, slept)
        {
            entry.extended = now;
            entry.term.state.change(|state| (state == TermState::Jeopardy).then_some(TermState::Leading));
        }
    }

    /// A write of the holder's own, sent at `sent`, found the key as ours: as good as a read.
    pub(crate) fn wrote(&mut self, id: u64, sent: BootTime) {
        if let Some(entry) = self.terms.get_mut(&id)
            && sent > entry.shown
        {
            self.unseen.remove(&(entry.shown, id));
            entry.shown = sent;
            self.unseen.insert((sent, id));
        }
    }

    /// A read begun at `begun` showed the key of a term. The reason if that is its end.
    pub(crate) fn shown(
        &mut self,
        id: u64,
        kv: Option<&KeyValue>,
        revision: i64,
        begun: BootTime,
        validity: Validity,
        (now, slept): (BootTime, u64),
    ) -> Option<Reason> {
        let entry = self.terms.get_mut(&id)?;
        if let Some(reason) = entry.term.judge(kv, revision) {
            return Some(reason);
        }
        if entry.term.holding.holds(kv) && begun > entry.shown {
            self.unseen.remove(&(entry.shown, id));
            entry.shown = begun;
            self.unseen.insert((begun, id));
            // What was confirmed already, and was held back because the key had not been shown for long.
            let lease = &entry.term.lease;
            let until = lease.deadline.at().min(begun.after(validity.of(lease.ttl)));
            if until > entry.term.deadline.at() {
                entry.term.deadline.set(until, now, slept);
            }
        }
        None
    }

    /// A read of these terms' keys was denied, and etcd does not say for which: they are no longer read along with others,
    /// but in halves, and the one that is left at its renewals' pace, until it is allowed or the term's deadline has come.
    pub(crate) fn set_aside(&mut self, mut terms: Vec<u64>, now: BootTime) {
        let mut next = now;
        for id in &terms {
            if let Some(entry) = self.terms.get_mut(id) {
                self.unseen.remove(&(entry.shown, *id));
                entry.aside = true;
                if terms.len() == 1 {
                    next = now.after(entry.term.lease.ttl / RENEWALS_PER_TTL);
                }
            }
        }
        let rest = terms.split_off(terms.len() / 2);
        self.aside.extend([terms, rest].into_iter().filter(|half| !half.is_empty()).map(|half| (next, half)));
    }

    /// A read of these came to nothing, for another reason: those that were set aside still are.
    pub(crate) fn aside_still(&mut self, terms: &[u64], now: BootTime) {
        let aside = |id: &u64| self.terms.get(id).is_some_and(|entry| entry.aside);
        let terms: Vec<_> = terms.iter().copied().filter(aside).collect();
        if !terms.is_empty() {
            self.aside.push((now, terms));
        }
    }

    /// A term whose key was read takes part in the common reads (again).
    pub(crate) fn take_back(&mut self, id: u64) {
        if let Some(entry) = self.terms.get_mut(&id)
            && std::mem::take(&mut entry.aside)
        {
            self.unseen.insert((entry.shown, id));
        }
    }

    /// The keys of a group that was set aside, if one is due.
    pub(crate) fn shows_aside(&mut self, now: BootTime) -> Option<Shows> {
        while let Some(index) = self.aside.iter().position(|(at, _)| *at <= now) {
            let mut shows = Shows::default();
            for id in self.aside.swap_remove(index).1 {
                if let Some(entry) = self.terms.get(&id).filter(|entry| entry.aside) {
                    shows.terms.push(id);
                    shows.keys.push(entry.term.holding.key.to_vec());
                }
            }
            if !shows.terms.is_empty() {
                return Some(shows);
            }
        }
        None
    }

    /// Looks at whom it is time to look at: shows jeopardy, and returns whoever is lost, forgotten here. `renewing` says
    /// whether a lease is being renewed.
    pub(crate) fn look(&mut self, now: BootTime, renewing: impl Fn(i64) -> bool) -> Vec<Arc<TermShared>> {
        let mut lost = Vec::new();
        while let Some(&(at, id)) = self.looks.first()
            && at <= now
        {
            self.looks.remove(&(at, id));
            let Some(entry) = self.terms.get_mut(&id) else { continue };
            if entry.term.deadline.over() {
                lost.extend(self.remove(id));
                continue;
            }
            let lease = &entry.term.lease;
            let renewing = renewing(lease.id());
            let jeopardy_at = entry.extended.after(2 * (lease.ttl / RENEWALS_PER_TTL));
            if renewing && jeopardy_at <= now {
                entry.term.state.change(|state| (state == TermState::Leading).then_some(TermState::Jeopardy));
            }
            let lost_at = entry.term.deadline.lost_at();
            let next = if renewing && jeopardy_at > now { lost_at.min(jeopardy_at) } else { lost_at };
            entry.look = next.max(now.after(Duration::from_nanos(1)));
            self.looks.insert((entry.look, id));
        }
        lost
    }

    /// When to look again.
    pub(crate) fn next_look(&self) -> Option<BootTime> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// When the longest unseen key must be shown: so that a round takes less than half a TTL (S15).
    pub(crate) fn next_show(&self) -> Option<BootTime> {
        let first = self.unseen.first().and_then(|(seen, id)| Some(show_at(*seen, self.terms.get(id)?.term.lease.ttl)));
        let aside = self.aside.iter().map(|(at, _)| *at).min();
        [first, aside].into_iter().flatten().min()
    }

    /// The longest unseen keys, for one read. `busy` says which terms are in a read of this moment already.
    pub(crate) fn shows(&self, now: BootTime, busy: impl Fn(u64) -> bool) -> Shows {
        let mut shows = Shows::default();
        for (seen, id) in &self.unseen {
            let Some(entry) = self.terms.get(id) else { continue };
            let ttl = entry.term.lease.ttl;
            let due = show_at(*seen, ttl) <= now;
            if shows.keys.len() >= KEYS_AT_LEAST && worth_showing_at(*seen, ttl) > now {
                break;
            }
            if shows.keys.len() >= KEYS_AT_MOST {
                shows.more = due;
                break;
            }
            if !busy(*id) {
                shows.terms.push(*id);
                shows.keys.push(entry.term.holding.key.to_vec());
            }
        }
        shows
    }
}

/// A read for its sake alone is due.
fn show_at(seen: BootTime, ttl: Duration) -> BootTime {
    seen.after(ttl * 2 / 5)
}

/// A read that is made anyway shows it too: about once a renewal, which comes every TTL/5.
fn worth_showing_at(seen: BootTime, ttl: Duration) -> BootTime {
    seen.after(ttl * 4 / 25)
}
