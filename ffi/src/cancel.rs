//! A cancel: what ends waits from another thread. Owns the handle; the token is the core's.

use std::mem;

use leadership_core::{CancelToken, Error, Result};

use crate::args::{give, object, out, take};
use crate::error::leadership_error;
use crate::panic::{call, value};

/// Ends every wait it was given to, now and later: triggered once, it stays so. Any thread.
#[derive(Debug)]
pub struct leadership_cancel {
    pub(crate) token: CancelToken,
    process: u32,
}

impl leadership_cancel {
    /// In a forked child nobody waits with it, and a waiter of the parent's may have had it locked (S12).
    fn forked(&self) -> bool {
        self.process != std::process::id()
    }
}

/// A cancel that is not triggered. Free it with leadership_cancel_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_cancel_new(cancel: *mut *mut leadership_cancel) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or writable, as C promises.
        let made = unsafe { out(cancel, "cancel") }?;
        made.set(give(leadership_cancel {
            token: CancelToken::new(),
            process: std::process::id(),
        }));
        Ok(())
    })
}

/// Ends every wait that has this cancel, those to come included. Idempotent, never blocks; any thread, not a signal
/// handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_cancel_trigger(cancel: *const leadership_cancel) -> *mut leadership_error {
    call(|| -> Result<()> {
        // SAFETY: NULL or valid, as C promises.
        let cancel = unsafe { object(cancel, "cancel") }?;
        if cancel.forked() {
            return Err(Error::Forked);
        }
        cancel.token.cancel();
        Ok(())
    })
}

/// Frees a cancel. A blocking call that was given it must have returned; completions that were given it go on, and can
/// no longer be cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_cancel_free(cancel: *mut leadership_cancel) {
    // SAFETY: NULL or ours and not used again, as C promises.
    let cancel = unsafe { take(cancel) };
    value((), || {
        if let Some(cancel) = cancel
            && cancel.forked()
        {
            mem::forget(cancel);
        }
    });
}
