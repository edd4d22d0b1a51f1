//! One watched key: how events and reads change its level, and which terms they end (S6, S11, S15).
//! Owns the level's truth; when a key is watched and read is the parent's.

use std::sync::Arc;

use super::{Event, Lost, Watched};
use crate::error::{Error, show};
use crate::protocol::KeyValue;

/// A key as its level holds it: whoever watches it knows its name.
pub(super) fn nameless(mut kv: KeyValue) -> Arc<KeyValue> {
    kv.key = Vec::new();
    Arc::new(kv)
}

impl Watched {
    pub(super) fn event(&mut self, event: Event, lost: &mut Vec<Lost>) {
        let revision = match &event {
            Event::Put(kv) => kv.mod_revision,
            Event::Delete { revision } => *revision,
        };
        if revision <= self.floor {
            return; // known from a read, or delivered before the break
        }
        self.floor = revision;
        let synced = self.level.borrow().synced;
        self.level.modify(|level| {
            level.revision = revision;
            match event {
                Event::Put(kv) => {
                    let created = kv.create_revision == kv.mod_revision;
                    // Kept over later writes of the same key; a creation takes it from the delete directly before.
                    if created {
                        level.deleted = if level.kv.is_none() { level.deleted } else { None };
                    } else if level.kv.as_ref().is_none_or(|old| old.create_revision != kv.create_revision) {
                        level.deleted = None;
                    }
                    level.kv = Some(nameless(kv));
                }
                Event::Delete { revision } => {
                    level.kv = None;
                    level.deleted = Some(revision);
                }
            }
        });
        if synced {
            self.judge(lost);
        }
    }

    /// The key may not be read: whoever waits for it is told, once.
    pub(super) fn denied(&mut self, what: &str, reason: &str) {
        let key = &self.key;
        self.level.modify_if(|level| {
            let message = || format!("{what} of {}: {reason}", show(key));
            let new = level.error.is_none();
            level.error.get_or_insert_with(|| Error::PermissionDenied { message: message() });
            new
        });
    }

    pub(super) fn read(&mut self, revision: i64, kv: Option<KeyValue>, lost: &mut Vec<Lost>) {
        self.level.modify_if(|level| level.error.take().is_some()); // it is allowed again
        let known = kv.as_ref().map_or(revision, |kv| kv.mod_revision);
        let mut level = self.level.borrow().clone();
        let same = level.kv.as_ref().map(|kv| kv.mod_revision) == kv.as_ref().map(|kv| kv.mod_revision);
        let ahead = level.revision > revision;
        // Absent as before says nothing of the time between: the events of it are still wanted, or a stranger's win and
        // loss would be missed between the delete seen and the next create (S15, case 57).
        let absent_still = level.synced && same && kv.is_none();
        if !ahead && (self.floor == 0 || !absent_still) {
            // Also of a key that is there: nothing has happened to it since its last change.
            self.floor = self.floor.max(revision);
        }
        if !level.synced || (!ahead && !same) {
            // Where events are ahead of the read they stand; else it tells what no event has, and the history is a gap.
            if !ahead && !same {
                level.revision = known;
                level.kv = kv.map(nameless);
                level.deleted = None;
            }
            level.revision = level.revision.max(known);
            level.synced = true;
            self.level.replace(level);
        } else if absent_still && known > level.revision {
            level.revision = known; // who waits for the end of a leader seen meanwhile hears of it
            self.level.replace(level);
        }
        self.judge(lost);
    }

    /// Ends the terms that this state of the key ends (S6).
    fn judge(&mut self, lost: &mut Vec<Lost>) {
        let level = self.level.borrow().clone();
        self.terms.retain(|term| match term.judge(level.kv.as_deref(), level.revision) {
            Some(reason) => {
                term.deadline.end(reason);
                lost.push(Lost(term.clone()));
                false
            }
            None => true,
        });
    }
}
