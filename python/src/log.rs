//! What the library logs, told to Python's `logging` as the logger `leadership`. Owns the thread that does it: the one
//! that logs keeps leases alive and must not wait for the interpreter. What is logged is the core's.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arc_swap::ArcSwapOption;
use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;

use crate::ending;

/// The logger's name.
const NAME: &str = "leadership";
/// How many records may wait for the interpreter; what comes on top is not told.
const QUEUE: usize = 1024;
const THREAD_NAME: &str = "leadership-log";

struct Line {
    level: Level,
    message: String,
}

/// The queue of one process; a forked child makes one of its own.
struct Queue {
    process: u32,
    lines: SyncSender<Line>,
}

struct Logger(ArcSwapOption<Queue>);

static LOGGER: Logger = Logger(ArcSwapOption::const_empty());

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let queue = self.0.load();
        // A lock that a fork left locked is not waited for.
        if let Some(queue) = queue.as_ref().filter(|queue| queue.process == std::process::id()) {
            let _ = queue.lines.try_send(Line { level: record.level(), message: record.args().to_string() });
        }
    }

    fn flush(&self) {}
}

/// Begins to tell, once for each process, and takes over the level that the logger has now. Called for each client.
pub(crate) fn tell(py: Python<'_>) -> PyResult<()> {
    let process = std::process::id();
    if LOGGER.0.load().as_ref().is_none_or(|queue| queue.process != process) {
        let (lines, told) = sync_channel(QUEUE);
        std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || run(&told))?;
        // The parent's is left alone: its receiver may have been locked at the fork (S12).
        std::mem::forget(LOGGER.0.swap(Some(Arc::new(Queue { process, lines }))));
        let _ = log::set_logger(&LOGGER); // again, in a child: it is in place already
    }
    take_level(&logger(py)?)
}

fn logger(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("logging")?.call_method1("getLogger", (NAME,))
}

/// What the logger would not show is not even made.
fn take_level(logger: &Bound<'_, PyAny>) -> PyResult<()> {
    let shown: i64 = logger.call_method0("getEffectiveLevel")?.extract()?;
    let all = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    let least = all.into_iter().find(|level| number(*level) >= shown);
    log::set_max_level(least.map_or(LevelFilter::Off, |level| level.to_level_filter()));
    Ok(())
}

/// The level as Python counts; it has no name for the one below debug.
fn number(level: Level) -> i64 {
    match level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug => 10,
        Level::Trace => 5,
    }
}

fn run(lines: &Receiver<Line>) {
    while let Ok(line) = lines.recv() {
        let Some(_inside) = ending::enter() else { return };
        let told = Python::try_attach(|py| {
            let told = logger(py).and_then(|logger| {
                logger.call_method1("log", (number(line.level), "%s", line.message.as_str()))?;
                take_level(&logger)
            });
            if let Err(error) = told {
                error.write_unraisable(py, None); // a handler's or filter's own
            }
        });
        if told.is_none() {
            return; // the interpreter ends
        }
    }
}
