//! Owns a running test server: its thread, its port, its end.
//! Leaves its store to `store`, what befalls its clients to `faults`.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use server::Cluster;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::{fallible, leadership_testkit_error, output, quiet, text};

/// A test server: one etcd member in memory that listens on a socket. Any thread, several at once.
pub struct leadership_testkit_server {
    pub(crate) cluster: Cluster,
    pub(crate) runtime: Handle,
    endpoint: CString,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// On the calling thread a write to a client that has gone is an error, not a SIGPIPE that ends the program under test.
fn no_sigpipe() {
    let mut pipe = MaybeUninit::uninit();
    // SAFETY: sigemptyset makes it a set.
    unsafe {
        libc::sigemptyset(pipe.as_mut_ptr());
        libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), ptr::null_mut());
    }
}

/// A free port of this machine only.
const ANY_PORT: &str = "127.0.0.1:0";

fn start(listen: &str) -> Result<leadership_testkit_server, String> {
    let cluster = Cluster::single();
    let member = cluster.member(0);
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = mpsc::channel();
    let address = listen.to_owned();
    let serve = move || {
        no_sigpipe();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        runtime.block_on(async move {
            match member.listen(&address).await {
                Ok(served) => {
                    let _ = tell.send(Ok((served.addr(), Handle::current())));
                    let _ = stopped.await; // its sender's end is a stop, too
                    served.stop().await;
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        });
    };
    let thread = std::thread::Builder::new().name("leadership-test".into()).spawn(serve);
    let thread = thread.map_err(|error| format!("the server's thread: {error}"))?;
    match told.recv() {
        Ok(Ok((address, runtime))) => Ok(leadership_testkit_server {
            cluster,
            runtime,
            endpoint: CString::new(address.to_string()).unwrap_or_default(),
            running: Mutex::new(Some(Running { stop, thread })),
        }),
        Ok(Err(error)) => Err(format!("listen: {listen}: {error}")),
        Err(_) => Err("the server's thread ended".to_owned()),
    }
}

impl leadership_testkit_server {
    fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, thread }) = running {
            let _ = stop.send(());
            let _ = thread.join(); // it was caught if it panicked; there is nothing to mend
        }
    }
}

/// Starts a test server on a thread of its own and returns when it listens. `listen` is "host:port", port 0 for a free
/// one; NULL: a free port on 127.0.0.1. `server` is the caller's, for `leadership_testkit_server_free`.
///
/// Errors: `listen` is not UTF-8, is no address or is taken; `server` is NULL.
///
/// # Safety
/// `listen` is NULL or NUL-terminated; `server` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_start(
    listen: *const c_char,
    server: *mut *mut leadership_testkit_server,
) -> *mut leadership_testkit_error {
    fallible(|| {
        // SAFETY: as the caller promises.
        let listen = if listen.is_null() { ANY_PORT } else { unsafe { text(listen, "listen") }? };
        // SAFETY: as the caller promises.
        let out = unsafe { output(server, "server") }?;
        *out = Box::into_raw(Box::new(start(listen)?));
        Ok(())
    })
}

/// Where it listens, "host:port": NUL-terminated, lives as long as the server, stays the same after a stop. NULL for NULL.
///
/// # Safety
/// `server` is NULL or not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_endpoint(server: *const leadership_testkit_server) -> *const c_char {
    // SAFETY: as the caller promises.
    unsafe { server.as_ref() }.map_or(ptr::null(), |server| server.endpoint.as_ptr())
}

/// Closes the port, cuts every connection and ends the thread: what a client sees of a killed server. Returns when the
/// port is free. Its store can still be looked at. Idempotent. NULL: nothing.
///
/// # Safety
/// `server` is NULL or not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_stop(server: *const leadership_testkit_server) {
    // SAFETY: as the caller promises.
    if let Some(server) = unsafe { server.as_ref() } {
        quiet(|| server.stop());
    }
}

/// Stops and frees it. NULL: nothing.
///
/// # Safety
/// `server` is NULL or not freed yet, and no other call on it is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_testkit_server_free(server: *mut leadership_testkit_server) {
    if !server.is_null() {
        // SAFETY: made by `Box::into_raw` above, and not freed yet as the caller promises.
        let server = unsafe { Box::from_raw(server) };
        quiet(|| {
            server.stop();
            drop(server);
        });
    }
}
