//! The process's orderly end: `exit` and the return from `main` release what live clients hold, within a bound.
//! Owns the list of clients whose thread still runs, and the hook; closing is the core's.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use leadership_core::{Dispatcher, Ended, block_on};

use crate::client::Shared;
use crate::panic::value;

/// How long the end of the process is held up at most, whatever etcd does: as long as one request may take by default.
const EXIT_FLUSH: Duration = Duration::from_secs(2);

/// How much of that the work of other threads may drain for: who ends the process lets go of no term any more.
const EXIT_DRAIN: Duration = Duration::from_millis(500);

/// The clients of one process. A forked child makes a list of its own: the parent's may be locked for ever there.
struct Clients {
    process: u32,
    list: Mutex<Vec<(Weak<Shared>, Ended)>>,
}

static CLIENTS: AtomicPtr<Clients> = AtomicPtr::new(ptr::null_mut());

/// What was found in `CLIENTS`, if it is this process's.
fn own(found: *mut Clients) -> Option<&'static Clients> {
    // SAFETY: NULL, or leaked by `remember`, and never freed.
    unsafe { found.as_ref() }.filter(|clients| clients.process == std::process::id())
}

/// From now until its thread has ended, the process does not end without closing this client.
pub(crate) fn remember(shared: &Arc<Shared>) {
    static HOOKED: AtomicBool = AtomicBool::new(false);
    if !HOOKED.swap(true, Ordering::AcqRel) {
        // SAFETY: the function lives as long as the process: the library is never unloaded (build.rs).
        unsafe { libc::atexit(at_exit) };
    }
    let clients = loop {
        let found = CLIENTS.load(Ordering::Acquire);
        if let Some(clients) = own(found) {
            break clients;
        }
        let made = Box::into_raw(Box::new(Clients {
            process: std::process::id(),
            list: Mutex::default(),
        }));
        if CLIENTS.compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: made above and shown to nobody.
            drop(unsafe { Box::from_raw(made) });
        }
    };
    let mut list = clients.list.lock().unwrap_or_else(PoisonError::into_inner);
    list.retain(|(_, ended)| !ended.has_ended());
    list.push((Arc::downgrade(shared), shared.client.ended()));
}

/// Runs on the thread that ends the process, beside all others, which go on until it returns.
extern "C" fn at_exit() {
    value((), || {
        let Some(clients) = own(CLIENTS.load(Ordering::Acquire)) else { return };
        let list = std::mem::take(&mut *clients.list.lock().unwrap_or_else(PoisonError::into_inner));
        let open: Vec<_> = list.iter().filter_map(|(shared, _)| shared.upgrade()).collect();
        // Asked here: another thread may do the waiting. From a callback, waiting for callbacks would wait for itself.
        let in_callback = Dispatcher::is_current();
        let all = async {
            join_all(open.iter().map(|shared| shared.client.close_within(EXIT_DRAIN))).await;
            // What was freed before may still be releasing in the background.
            join_all(list.iter().map(|(_, ended)| ended.wait())).await;
            if !in_callback {
                join_all(open.iter().map(|shared| shared.calls.ended())).await;
            }
        };
        let _ = block_on(all, Some(EXIT_FLUSH), None);
        for shared in &open {
            shared.client.drop_without_waiting(); // the last handle may have been freed meanwhile
        }
    });
}
