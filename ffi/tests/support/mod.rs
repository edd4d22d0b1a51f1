//! A test server on a socket and the few helpers that calling C from Rust wants.
//! Owns those; what is tested is the tests'.
#![allow(dead_code, unreachable_pub)] // each test file is a program of its own and uses its part

use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use leadership::*;
use leadership_testkit::Cluster;

/// A generous bound for what takes milliseconds.
pub const SOON: u64 = 10_000;

/// An etcd in memory that listens, until dropped.
pub struct Server {
    pub cluster: Cluster,
    pub endpoint: CString,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Server {
    pub fn start() -> Server {
        let cluster = Cluster::single();
        let (told, addr) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let member = cluster.member(0);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let served = member.listen("127.0.0.1:0").await.unwrap();
                told.send(served.addr().to_string()).unwrap();
                let _ = stopped.await;
            });
        });
        Server {
            cluster,
            endpoint: CString::new(addr.recv().unwrap()).unwrap(),
            _stop: stop,
        }
    }

    pub fn client(&self) -> *mut leadership_client {
        let mut client = ptr::null_mut();
        ok(unsafe { leadership_client_connect(self.endpoint.as_ptr(), ptr::null(), &mut client) });
        client
    }
}

/// An error's code and message, freed.
pub fn error(error: *mut leadership_error) -> (u32, String) {
    assert!(!error.is_null(), "an error was expected");
    let code = unsafe { leadership_error_code(error) };
    let message = unsafe { CStr::from_ptr(leadership_error_message(error)) }.to_str().unwrap().to_owned();
    unsafe { leadership_error_free(error) };
    (code, message)
}

#[track_caller]
pub fn ok(result: *mut leadership_error) {
    if !result.is_null() {
        panic!("{:?}", error(result));
    }
}

/// InvalidArgument that names the argument.
#[track_caller]
pub fn refused(result: *mut leadership_error, argument: &str) {
    assert!(!result.is_null(), "{argument} should have been refused");
    let (code, message) = error(result);
    assert_eq!(code, LEADERSHIP_ERROR_INVALID_ARGUMENT, "{message}");
    assert!(message.starts_with(&format!("{argument}: ")), "{argument} is not named: {message}");
}

pub fn handle(client: *const leadership_client, key: &[u8]) -> *mut leadership_handle {
    let mut handle = ptr::null_mut();
    ok(unsafe { leadership_new(client, key.as_ptr(), key.len(), ptr::null(), &mut handle) });
    handle
}

pub fn win(handle: *const leadership_handle) -> *mut leadership_term {
    let mut term = ptr::null_mut();
    ok(unsafe { leadership_campaign(handle, ptr::null(), SOON, ptr::null(), &mut term) });
    term
}

/// What callbacks have told, from their thread.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Told {
    Event(u32, u32),
    Done(u32, u32),
    Dropped,
}

pub struct Ear {
    pub told: mpsc::Sender<Told>,
    /// Closed by the callback, to see that it is refused.
    pub close: *const leadership_client,
}

pub fn ear(close: *const leadership_client) -> (*mut c_void, mpsc::Receiver<Told>) {
    let (told, heard) = mpsc::channel();
    (Box::into_raw(Box::new(Ear { told, close })).cast(), heard)
}

pub fn hear(heard: &mpsc::Receiver<Told>) -> Told {
    heard.recv_timeout(Duration::from_millis(SOON)).unwrap()
}

pub unsafe extern "C" fn dropped(user: *mut c_void) {
    let ear = unsafe { Box::from_raw(user.cast::<Ear>()) };
    ear.told.send(Told::Dropped).unwrap();
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_millis(SOON);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}
