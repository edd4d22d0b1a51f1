//! Which thread holds which term. Owns the rule of the bindings that have scopes but no destructors: whoever asks for
//! the next term, or closes, has done with the term it took before. What letting go means is the core's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;

use leadership_core as core;

/// A term that one holder owns: taken out once, by whoever ends it first.
#[derive(Debug)]
pub(crate) struct Slot(Mutex<Option<core::Term>>);

impl Slot {
    pub(crate) fn new(term: core::Term) -> Arc<Slot> {
        Arc::new(Slot(Mutex::new(Some(term))))
    }

    /// The term, once. Not in a forked child, where another thread of the parent's may have locked it.
    pub(crate) fn take(&self) -> Option<core::Term> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Debug)]
struct Held {
    thread: ThreadId,
    elector: u64,
    term: Weak<Slot>,
}

/// The terms that the electors of one client have handed out. Nothing of it is called in a forked child.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holders(Arc<Mutex<Vec<Held>>>);

impl Holders {
    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|held| held.term.strong_count() > 0);
        held
    }

    /// This thread has taken a term.
    pub(crate) fn took(&self, elector: u64, term: &Arc<Slot>) {
        let thread = std::thread::current().id();
        self.held().push(Held { thread, elector, term: Arc::downgrade(term) });
    }

    /// The terms that this thread took and has not ended, of one elector or of all: from now on the caller's to end.
    pub(crate) fn take(&self, elector: Option<u64>) -> Vec<core::Term> {
        let thread = std::thread::current().id();
        let own = |held: &Held| held.thread == thread && elector.is_none_or(|elector| elector == held.elector);
        let slots: Vec<_> = self.held().extract_if(.., |held| own(held)).filter_map(|held| held.term.upgrade()).collect();
        slots.iter().filter_map(|slot| slot.take()).collect()
    }
}
