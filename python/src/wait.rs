//! Waiting for the core: without the interpreter lock, and with Ctrl-C in mind.
//! Owns the slices between two looks at signals; parking and waking are the core's (`block_on`).

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use leadership_core::{Interrupted, block_on};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// So long the main thread waits between two looks at its signals. Ctrl-C ends a wait within 100 ms: most of that is for
/// a machine that is busy. A look costs some µs.
const SLICE: Duration = Duration::from_millis(25);

/// Waits with the interpreter lock released. `None` when `timeout` was up first. On a timeout, and when a signal's
/// handler raises (Ctrl-C), the future is dropped: what it had begun is undone as the core says.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    future: impl Future<Output = T> + Send,
    timeout: Option<Duration>,
) -> PyResult<Option<T>> {
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut future = pin!(future);
    let mut slice = Some(SLICE);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let bound = match (left, slice) {
            (Some(left), Some(slice)) => Some(left.min(slice)),
            (left, slice) => left.or(slice),
        };
        let answer = py.detach(|| block_on(future.as_mut(), bound, None));
        match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(Interrupted::Cancelled | Interrupted::TimedOut) => {}
        }
        py.check_signals()?;
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(None);
        }
        // Python delivers signals to its main thread only: the others need no slices.
        if slice.is_some() && !on_main_thread(py)? {
            slice = None;
        }
    }
}

fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    static THREADING: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let threading = THREADING.get_or_try_init(py, || Ok::<_, PyErr>(py.import("threading")?.unbind()))?.bind(py);
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    main.eq(threading.call_method0("get_ident")?)
}
