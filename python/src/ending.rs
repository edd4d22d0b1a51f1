//! The library's threads inside Python: callbacks, health checks, log handlers. Owns that none of them is there when the
//! interpreter goes: one that came to run after that would end the process with a fatal error.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

/// The threads of one process; a forked child counts its own.
#[derive(Debug)]
struct Threads {
    process: u32,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    ending: bool,
}

static THREADS: ArcSwapOption<Threads> = ArcSwapOption::const_empty();

fn threads() -> Arc<Threads> {
    let process = std::process::id();
    loop {
        let now = THREADS.load_full();
        if let Some(threads) = now.as_ref().filter(|threads| threads.process == process) {
            return threads.clone();
        }
        let fresh = Some(Arc::new(Threads { process, state: watch::Sender::default() }));
        drop(THREADS.compare_and_swap(&now, fresh));
        std::mem::forget(now); // the parent's may have been locked at the fork: it is never dropped (S12)
    }
}

/// A thread inside Python, until it is dropped.
pub(crate) struct Inside(Arc<Threads>);

impl Drop for Inside {
    fn drop(&mut self) {
        if self.0.process == std::process::id() {
            self.0.state.send_modify(|state| state.inside -= 1);
        } else {
            std::mem::forget(self.0.clone()); // it forked in there, and this is the child
        }
    }
}

/// Before a thread of the library calls Python; `None`: the interpreter ends.
pub(crate) fn enter() -> Option<Inside> {
    let threads = threads();
    let entered = threads.state.send_if_modified(|state| {
        state.inside += usize::from(!state.ending);
        !state.ending
    });
    entered.then(|| Inside(threads))
}

/// Resolves when none is inside; none enters any more.
pub(crate) async fn quiet() {
    let threads = threads();
    let mut state = threads.state.subscribe();
    threads.state.send_modify(|state| state.ending = true);
    let _ = state.wait_for(|state| state.inside == 0).await;
}
