//! A level on the I/O thread: the latest value, and waiting for the next. Owns telling its readers apart by version.
//! As tokio's watch channel, without its lock and an eighth of its size: there is one for each watched key.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;

struct Shared<T> {
    now: RefCell<T>,
    version: Cell<u64>,
    ended: Cell<bool>,
    changed: Notify,
}

/// The one writer. When it is dropped, its readers are told.
pub(crate) struct Writer<T>(Rc<Shared<T>>);

/// One reader; its clones have seen what it has seen.
pub(crate) struct Reader<T> {
    shared: Rc<Shared<T>>,
    seen: u64,
}

/// The writer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

impl<T> Writer<T> {
    pub(crate) fn new(value: T) -> Writer<T> {
        Writer(Rc::new(Shared {
            now: RefCell::new(value),
            version: Cell::new(0),
            ended: Cell::new(false),
            changed: Notify::new(),
        }))
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        self.0.now.borrow()
    }

    /// Changes the value if `change` says that it did.
    pub(crate) fn modify_if(&self, change: impl FnOnce(&mut T) -> bool) {
        if change(&mut self.0.now.borrow_mut()) {
            self.0.version.set(self.0.version.get() + 1);
            self.0.changed.notify_waiters();
        }
    }

    pub(crate) fn modify(&self, change: impl FnOnce(&mut T)) {
        self.modify_if(|value| {
            change(value);
            true
        });
    }

    pub(crate) fn replace(&self, value: T) {
        self.modify(|now| *now = value);
    }

    /// A reader that has seen the value of now.
    pub(crate) fn subscribe(&self) -> Reader<T> {
        Reader {
            seen: self.0.version.get(),
            shared: self.0.clone(),
        }
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.0.ended.set(true);
        self.0.changed.notify_waiters();
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Reader {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Reader<T> {
    /// The value, which counts as seen. Not to be held over an await.
    pub(crate) fn look(&mut self) -> Ref<'_, T> {
        self.seen = self.shared.version.get();
        self.shared.now.borrow()
    }

    #[cfg(test)]
    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        self.shared.now.borrow()
    }

    /// Resolves when there is a value that this reader has not seen. Cancel-safe.
    pub(crate) async fn changed(&mut self) -> Result<(), Ended> {
        loop {
            let changed = self.shared.changed.notified();
            if self.shared.version.get() != self.seen {
                self.seen = self.shared.version.get();
                return Ok(());
            }
            if self.shared.ended.get() {
                return Err(Ended);
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_hears_of_each_change_once_and_of_the_end() {
        let writer = Writer::new(1);
        let mut reader = writer.subscribe();
        let idle = tokio::time::timeout(std::time::Duration::from_secs(1), reader.changed()).await;
        assert!(idle.is_err());
        writer.modify_if(|_| false);
        writer.replace(2);
        writer.replace(3);
        assert_eq!(reader.changed().await, Ok(()));
        assert_eq!(*reader.look(), 3, "the latest");
        let mut second = reader.clone();
        let (told, ()) = tokio::join!(reader.changed(), async { writer.replace(4) });
        assert_eq!(told, Ok(()));
        assert_eq!(second.changed().await, Ok(()));
        drop(writer);
        assert_eq!(second.changed().await, Err(Ended));
    }
}
