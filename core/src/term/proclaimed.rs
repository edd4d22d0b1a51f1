//! The value that a holder has given its key since it was won. Owns the latest, and whose turn it is to change it.
//! The transaction is `protocol`'s, sending it the leadership's.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, MutexGuard};

/// The values proclaimed in one term. A pointer: there is one for each term, and most never proclaim anything.
#[derive(Default)]
pub(crate) struct Proclaimed(OnceLock<Box<Inner>>);

#[derive(Default)]
struct Inner {
    turn: Mutex<()>,
    latest: ArcSwapOption<Vec<u8>>,
}

impl Proclaimed {
    /// The last one that etcd has confirmed; `None`: the value the term was won with.
    pub(crate) fn latest(&self) -> Option<Arc<Vec<u8>>> {
        self.0.get()?.latest.load_full()
    }

    /// Waits for those that began before: the last to be called is the last to be written.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let inner = self.0.get_or_init(Box::default);
        Turn {
            latest: &inner.latest,
            _turn: inner.turn.lock().await,
        }
    }
}

/// The turn to change the value, until dropped.
pub(crate) struct Turn<'a> {
    latest: &'a ArcSwapOption<Vec<u8>>,
    _turn: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// The key has this value now.
    pub(crate) fn done(&self, value: Vec<u8>) {
        self.latest.store(Some(Arc::new(value)));
    }
}
