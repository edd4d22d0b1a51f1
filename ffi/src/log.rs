//! What the library logs, told to one function of the user's. Owns the thread that calls it: the one that logs keeps
//! leases alive and must not wait for anybody.

use std::ffi::{CString, c_char, c_void};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{RwLock, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use leadership_core::{Error, Result};
use log::{LevelFilter, Log, Metadata, Record};

use crate::args::{c_text, invalid};
use crate::callback::{UserData, leadership_drop};
use crate::error::leadership_error;
use crate::panic::{call, value};

/// Nothing is logged.
pub const LEADERSHIP_LOG_OFF: u32 = 0;
/// Something that needs somebody's attention.
pub const LEADERSHIP_LOG_ERROR: u32 = 1;
/// Something that is not as it should be.
pub const LEADERSHIP_LOG_WARN: u32 = 2;
/// What happens in the large.
pub const LEADERSHIP_LOG_INFO: u32 = 3;
/// What happens in detail.
pub const LEADERSHIP_LOG_DEBUG: u32 = 4;
/// Everything.
pub const LEADERSHIP_LOG_TRACE: u32 = 5;

/// Told of one record: level is LEADERSHIP_LOG_*, target the part of the program that logs, both texts lent for the time
/// of the call.
pub type leadership_log_callback = Option<
    unsafe extern "C" fn(user_data: *mut c_void, level: u32, target: *const c_char, message: *const c_char),
>;

/// How many records may wait for a slow callback; what comes on top is not told.
const QUEUE: usize = 1024;
const THREAD_NAME: &str = "leadership-log";

struct Line {
    level: u32,
    target: CString,
    message: CString,
}

/// Sends each record to the thread of the callback that is registered now.
struct Logger(RwLock<Option<Told>>);

/// The thread, and the process that has it: a forked child has not.
struct Told {
    sender: SyncSender<Line>,
    process: u32,
}

static LOGGER: Logger = Logger(RwLock::new(None));

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        // Only a change of the callback holds it against us, for an instant; a lock that a fork left locked is not
        // waited for either.
        if let Ok(told) = self.0.try_read()
            && let Some(told) = &*told
            && told.process == std::process::id()
        {
            let _ = told.sender.try_send(Line {
                level: record.level() as u32,
                target: c_text(record.target()),
                message: c_text(&record.args().to_string()),
            });
        }
    }

    fn flush(&self) {}
}

/// From now on `callback` is told what the library logs, for the whole process, on a thread of its own; NULL, or level
/// LEADERSHIP_LOG_OFF, for nothing. It replaces the one before, whose drop is called on its thread after its last call.
/// Records are dropped rather than waited for when it is slow.
///
/// level: the least important to be told, LEADERSHIP_LOG_*.
/// Errors: INVALID_ARGUMENT (level; or another logger of this process serves the library already).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_set_log_callback(
    callback: leadership_log_callback,
    level: u32,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        let filter = filter(level)?;
        // A second time it fails, with our own logger in place.
        static OURS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        if !OURS.get_or_init(|| log::set_logger(&LOGGER).is_ok()) {
            return Err(invalid("callback", "this process has another logger already"));
        }
        let told = match callback {
            Some(callback) if filter != LevelFilter::Off => Some(tell(callback, UserData::new(user_data, drop))?),
            _ => None,
        };
        let mut place = place()?;
        log::set_max_level(if told.is_some() { filter } else { LevelFilter::Off });
        let previous = std::mem::replace(&mut *place, told);
        std::mem::drop(place);
        match previous {
            Some(previous) if previous.process != std::process::id() => std::mem::forget(previous), // the parent's
            previous => std::mem::drop(previous), // its thread ends when the queue is empty
        }
        Ok(())
    })
}

/// Where the callback is kept. Readers hold it for an instant; one that a fork left behind in a child holds it for ever.
fn place() -> Result<RwLockWriteGuard<'static, Option<Told>>> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let until = Instant::now() + PATIENCE;
    loop {
        match LOGGER.0.try_write() {
            Ok(place) => return Ok(place),
            Err(TryLockError::Poisoned(place)) => return Ok(place.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::yield_now(),
            Err(TryLockError::WouldBlock) => return Err(Error::Forked),
        }
    }
}

fn filter(level: u32) -> Result<LevelFilter> {
    Ok(match level {
        LEADERSHIP_LOG_OFF => LevelFilter::Off,
        LEADERSHIP_LOG_ERROR => LevelFilter::Error,
        LEADERSHIP_LOG_WARN => LevelFilter::Warn,
        LEADERSHIP_LOG_INFO => LevelFilter::Info,
        LEADERSHIP_LOG_DEBUG => LevelFilter::Debug,
        LEADERSHIP_LOG_TRACE => LevelFilter::Trace,
        _ => return Err(invalid("level", format!("{level} is no LEADERSHIP_LOG_*"))),
    })
}

type Callback = unsafe extern "C" fn(*mut c_void, u32, *const c_char, *const c_char);

fn tell(callback: Callback, user: UserData) -> Result<Told> {
    let process = std::process::id();
    let (sender, lines) = sync_channel(QUEUE);
    std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(move || value((), || tell_all(callback, user.taken(), lines, process)))
        .map_err(|error| Error::Internal { message: format!("no thread for the log: {error}") })?;
    Ok(Told { sender, process })
}

fn tell_all(callback: Callback, user: UserData, lines: Receiver<Line>, process: u32) {
    while let Ok(line) = lines.recv() {
        // SAFETY: the user's function with the user's data; the texts live until it returns.
        unsafe { callback(user.pointer(), line.level, line.target.as_ptr(), line.message.as_ptr()) };
        if process != std::process::id() {
            // It forked, and this is the child: nobody sends here, and the data is the parent's to let go of.
            return std::mem::forget((user, lines));
        }
    }
}
