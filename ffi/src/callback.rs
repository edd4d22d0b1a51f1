//! Callbacks of one client: the thread they run on, the user's data they carry, and their end.
//! Owns "close returns after the last callback, drop runs once" (DESIGN §8); what is told is the callers' business.

use std::ffi::c_void;
use std::future::Future;
use std::sync::Arc;

use leadership_core::{Dispatcher, Result};
use tokio::sync::watch;

use crate::panic::{catch_future, value};

/// Lets go of user_data; called once, after the last call of the callback that it was registered with, on the same
/// thread.
pub type leadership_drop = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// The user's data of one registration.
pub(crate) struct UserData {
    pointer: *mut c_void,
    drop: leadership_drop,
    /// Taken over: a registration that failed leaves the data to the user.
    taken: bool,
    /// Whose data it is: a forked child lets go of nothing.
    process: u32,
}

// SAFETY: C promises that callback and drop may be called with it on the library's thread; nothing here looks inside.
unsafe impl Send for UserData {}
// SAFETY: as above; a shared reference only copies the pointer.
unsafe impl Sync for UserData {}

impl UserData {
    pub(crate) fn new(pointer: *mut c_void, drop: leadership_drop) -> UserData {
        UserData {
            pointer,
            drop,
            taken: false,
            process: std::process::id(),
        }
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }

    /// From now on `drop` is owed.
    pub(crate) fn taken(mut self) -> UserData {
        self.taken = true;
        self
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let (true, Some(drop)) = (self.taken && self.process == std::process::id(), self.drop) {
            // SAFETY: the user's function with the user's data, once.
            unsafe { drop(self.pointer) };
        }
    }
}

/// Resolves when a registration has ended, its drop included.
#[derive(Clone)]
pub(crate) struct Over(watch::Receiver<()>);

impl Over {
    pub(crate) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }

    pub(crate) fn is_now(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// The callbacks of one client.
pub(crate) struct Calls {
    dispatcher: Dispatcher,
}

impl Calls {
    pub(crate) fn new() -> Calls {
        Calls {
            dispatcher: Dispatcher::new(),
        }
    }

    /// Runs a task with the user's data, which is let go of when the task has ended. If this fails, the data stays the
    /// user's.
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        user: UserData,
        task: impl FnOnce(Arc<UserData>) -> F + Send + 'static,
    ) -> Result<()> {
        self.dispatcher.spawn(with(user, task))
    }

    /// [`spawn`](Self::spawn) of what is waited for by itself.
    pub(crate) fn register<F: Future<Output = ()> + Send + 'static>(
        &self,
        user: UserData,
        task: impl FnOnce(Arc<UserData>) -> F + Send + 'static,
    ) -> Result<Over> {
        let (runs, over) = watch::channel(());
        let all = with(user, task);
        self.dispatcher.spawn(async move {
            all.await;
            drop(runs);
        })?;
        Ok(Over(over))
    }

    /// [`spawn`](Self::spawn) for what waits for all of those to end.
    pub(crate) fn spawn_closing<F: Future<Output = ()> + Send + 'static>(
        &self,
        user: UserData,
        task: impl FnOnce(Arc<UserData>) -> F + Send + 'static,
    ) -> Result<()> {
        self.dispatcher.spawn_closing(with(user, task))
    }

    /// Resolves after the last callback and its drop, but for those of closing.
    pub(crate) fn quiet(&self) -> impl Future<Output = ()> + Send + use<> {
        self.dispatcher.quiet()
    }

    /// Resolves after the last callback and its drop.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.dispatcher.ended()
    }
}

async fn with<F: Future<Output = ()> + Send>(user: UserData, task: impl FnOnce(Arc<UserData>) -> F + Send + 'static) {
    let process = std::process::id();
    let user = Arc::new(user.taken());
    let work = task(user.clone());
    let work = async {
        work.await;
        Ok(())
    };
    if let Err(error) = catch_future(work).await {
        log::error!("{error}");
    }
    if process != std::process::id() {
        std::future::pending::<()>().await; // the callback forked: the data is the parent's to let go of
    }
    value((), || drop(user));
}
