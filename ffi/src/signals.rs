//! The process's signals and the thread that the library starts: it takes none. Owns the mask of that thread.

use std::mem::MaybeUninit;
use std::ptr;

/// What a thread does to itself must reach it, and profilers sample every thread.
const NOT_BLOCKED: [libc::c_int; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
    libc::SIGPROF,
];

/// Restores the calling thread's mask.
struct Restored(libc::sigset_t);

impl Drop for Restored {
    fn drop(&mut self) {
        // SAFETY: a mask that pthread_sigmask gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// Runs `start` so that threads that it starts have all signals blocked: a write to a connection that etcd has closed is
/// an error there, not a SIGPIPE that ends the process (a C program does not ignore it as a Rust program does), and a
/// signal of the user's comes to a thread of the user's.
pub(crate) fn blocked<T>(start: impl FnOnce() -> T) -> T {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: sigfillset makes the first a set, pthread_sigmask the second when it returns 0.
    let restored = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for signal in NOT_BLOCKED {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        let failed = libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        (failed == 0).then(|| Restored(before.assume_init()))
    };
    let started = start();
    drop(restored);
    started
}
