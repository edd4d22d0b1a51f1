//! Which thread holds which term. Owns the rule of a language that has scopes but no timely destructors: who asks for the
//! next term, resigns or closes has done with the term it took, or entered, before. What letting go means is the core's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;

use leadership_core as core;

#[derive(Debug)]
struct Held {
    thread: ThreadId,
    elector: u64,
    term: Weak<core::Term>,
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

    /// This thread has taken a term, of an elector or from another thread.
    pub(crate) fn took(&self, elector: u64, term: &Arc<core::Term>) {
        let (thread, term) = (std::thread::current().id(), Arc::downgrade(term));
        let mut held = self.held();
        held.retain(|held| !held.term.ptr_eq(&term));
        held.push(Held { thread, elector, term });
    }

    /// The terms that this thread took and has not let go of, of one elector or of all.
    pub(crate) fn own(&self, elector: Option<u64>) -> Vec<Arc<core::Term>> {
        let thread = std::thread::current().id();
        let own = |held: &&Held| held.thread == thread && elector.is_none_or(|elector| elector == held.elector);
        self.held().iter().filter(own).filter_map(|held| held.term.upgrade()).collect()
    }

    /// Lets go of those: not leader by any of them when this returns. What is returned waits for their release.
    pub(crate) fn let_go(&self, elector: Option<u64>) -> Vec<impl Future<Output = core::Result<()>> + Send + use<>> {
        let own = self.own(elector);
        self.held().retain(|held| !own.iter().any(|own| std::ptr::eq(held.term.as_ptr(), Arc::as_ptr(own))));
        own.iter().map(|term| term.let_go()).collect()
    }
}
