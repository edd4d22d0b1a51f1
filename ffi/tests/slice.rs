//! The slice through C: win, check, write guarded, be told, lose, cancel, close; on the test server.
//! Owns what the boundary adds to the core (waiting, callbacks, ownership); the core's own behaviour is tested there.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // C's side of the boundary is what is played here
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a panic is how a test fails

mod support;

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::slice;

use leadership::*;
use leadership_testkit::Method;
use support::*;

unsafe extern "C" fn on_event(user: *mut c_void, event: *const leadership_event) {
    let ear = unsafe { &*user.cast::<Ear>() };
    let (kind, reason) = unsafe { (leadership_event_kind(event), leadership_event_reason(event)) };
    if kind == LEADERSHIP_EVENT_ELECTED {
        assert!(unsafe { leadership_term_valid(leadership_event_term(event)) });
    }
    if !ear.close.is_null() {
        refused(unsafe { leadership_client_close(ear.close, SOON, null()) }, "client");
    }
    ear.told.send(Told::Event(kind, reason)).unwrap();
}

unsafe extern "C" fn on_term(user: *mut c_void, failed: *mut leadership_error, term: *mut leadership_term) {
    let ear = unsafe { &*user.cast::<Ear>() };
    let code = unsafe { leadership_error_code(failed) };
    let valid = unsafe { leadership_term_valid(term) };
    unsafe {
        leadership_error_free(failed);
        leadership_term_free(term);
    }
    ear.told.send(Told::Done(code, valid.into())).unwrap();
}

unsafe extern "C" fn on_end(user: *mut c_void, failed: *mut leadership_error, kind: u32, _: i64) {
    let ear = unsafe { &*user.cast::<Ear>() };
    let code = unsafe { leadership_error_code(failed) };
    unsafe { leadership_error_free(failed) };
    ear.told.send(Told::Done(code, kind)).unwrap();
}

unsafe extern "C" fn on_done(user: *mut c_void, failed: *mut leadership_error) {
    let ear = unsafe { &*user.cast::<Ear>() };
    let code = unsafe { leadership_error_code(failed) };
    unsafe { leadership_error_free(failed) };
    ear.told.send(Told::Done(code, 0)).unwrap();
}

#[test]
fn ready_and_reset_without_waiting() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        let (user, heard) = ear(null());
        ok(leadership_client_ready_start(client, null(), Some(on_done), user, Some(dropped)));
        assert_eq!((hear(&heard), hear(&heard)), (Told::Done(0, 0), Told::Dropped));
        let lead = handle(client, b"a");
        let term = win(lead);
        let (user, heard) = ear(null());
        ok(leadership_reset_start(lead, null(), Some(on_done), user, Some(dropped)));
        assert!(!leadership_term_valid(term), "at once");
        assert_eq!((hear(&heard), hear(&heard)), (Told::Done(0, 0), Told::Dropped));
        assert!(server.cluster.get("a").is_none());
        leadership_term_free(term);
        leadership_free(lead);
        leadership_client_free(client);
    }
}

#[test]
fn win_check_write_guarded_lose_and_be_told() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        ok(leadership_client_ready(client, SOON, null()));
        let lead = handle(client, b"billing/leader");
        let (user, heard) = ear(client);
        ok(leadership_on_event(lead, Some(on_event), user, Some(dropped)));

        let mut options = null_mut();
        ok(leadership_campaign_options_new(&mut options));
        ok(leadership_campaign_options_set_value(options, b"host-a".as_ptr(), 6));
        let mut term = null_mut();
        ok(leadership_campaign(lead, options, SOON, null(), &mut term));
        leadership_campaign_options_free(options);
        ok(leadership_keep(lead));
        assert!(leadership_check(lead) && leadership_term_valid(term) && !leadership_term_lost(term));
        assert_eq!(hear(&heard), Told::Event(LEADERSHIP_EVENT_ELECTED, 0));
        let mut leader = null_mut();
        let key = b"billing/leader";
        ok(leadership_client_get_leader(client, key.as_ptr(), key.len(), SOON, null(), &mut leader));
        let mut len = 0;
        let value = leadership_leader_value(leader, &mut len);
        assert_eq!(slice::from_raw_parts(value, len), b"host-a");
        assert_eq!(leadership_leader_token(leader), leadership_term_token(term));
        assert_eq!(leadership_leader_lease_id(leader), leadership_term_lease_id(term));
        leadership_leader_free(leader);

        let (mut txn, mut compare, mut reply) = (null_mut(), null_mut(), null_mut());
        ok(leadership_txn_new(term, &mut txn));
        ok(leadership_compare_version(b"s".as_ptr(), 1, LEADERSHIP_COMPARE_EQUAL, 0, &mut compare));
        ok(leadership_txn_when(txn, compare));
        leadership_compare_free(compare);
        ok(leadership_txn_then_put(txn, b"s".as_ptr(), 1, null(), 0, 0));
        ok(leadership_txn_then_get(txn, b"s".as_ptr(), 1));
        ok(leadership_txn_else_delete(txn, b"s".as_ptr(), 1));
        ok(leadership_txn_commit(txn, SOON, null(), &mut reply));
        assert!(leadership_txn_reply_succeeded(reply));
        assert_eq!(leadership_txn_reply_len(reply), 2);
        assert_eq!(leadership_txn_reply_kind(reply, 0), LEADERSHIP_REPLY_PUT);
        assert_eq!((leadership_txn_reply_kind(reply, 1), leadership_txn_reply_kv_len(reply, 1)), (LEADERSHIP_REPLY_GET, 1));
        let kv = leadership_txn_reply_kv(reply, 1, 0);
        assert_eq!(leadership_key_value_mod_revision(kv), leadership_txn_reply_revision(reply));
        leadership_txn_reply_free(reply);
        ok(leadership_txn_commit(txn, SOON, null(), &mut reply)); // again: now the else
        assert!(!leadership_txn_reply_succeeded(reply));
        assert_eq!((leadership_txn_reply_kind(reply, 0), leadership_txn_reply_count(reply, 0)), (LEADERSHIP_REPLY_DELETE, 1));
        leadership_txn_reply_free(reply);

        server.cluster.delete("billing/leader");
        let mut reason = 0;
        ok(leadership_term_wait_lost(term, SOON, null(), &mut reason));
        assert_eq!(reason, LEADERSHIP_REASON_KEY_DELETED);
        assert_eq!(hear(&heard), Told::Event(LEADERSHIP_EVENT_LOST, LEADERSHIP_REASON_KEY_DELETED));
        until("the end of the term", || !leadership_term_valid(term));
        let failed = leadership_txn_commit(txn, SOON, null(), &mut reply);
        assert_eq!(leadership_error_code(failed), LEADERSHIP_ERROR_NOT_LEADER);
        assert_eq!(leadership_error_reason(failed), LEADERSHIP_REASON_KEY_DELETED);
        assert!(!leadership_error_is_retriable(failed));
        assert_eq!(CStr::from_ptr(leadership_error_name(failed)), c"NotLeader");
        leadership_error_free(failed);
        leadership_txn_free(txn);
        leadership_term_free(term);
        ok(leadership_client_close(client, SOON, null()));
        assert_eq!(heard.try_recv(), Ok(Told::Dropped), "before close returned, and once");
        assert!(heard.try_recv().is_err());
        leadership_free(lead);
        leadership_client_free(client);
    }
}

#[test]
fn case_35_closing_tells_the_loss_and_ends_every_wait_and_callback_first() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        let lead = handle(client, b"a");
        let waiter = handle(client, b"a");
        let (user, events) = ear(null());
        ok(leadership_on_event(lead, Some(on_event), user, Some(dropped)));
        let (user, won) = ear(null());
        ok(leadership_campaign_start(lead, null(), null(), Some(on_term), user, Some(dropped)));
        assert_eq!((hear(&won), hear(&won)), (Told::Done(0, 1), Told::Dropped));
        ok(leadership_keep(lead));
        let (user, ended) = ear(null());
        ok(leadership_watch_start(waiter, 0, null(), Some(on_end), user, Some(dropped)));
        assert_eq!(hear(&events), Told::Event(LEADERSHIP_EVENT_ELECTED, 0));
        ok(leadership_client_close(client, SOON, null()));
        let all: Vec<_> = events.try_iter().collect();
        assert_eq!(all, [Told::Event(LEADERSHIP_EVENT_LOST, LEADERSHIP_REASON_CLOSED), Told::Dropped]);
        let all: Vec<_> = ended.try_iter().collect();
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[1], Told::Dropped);
        assert!(server.cluster.get("a").is_none(), "released before close returned");
        leadership_free(lead);
        leadership_free(waiter);
        leadership_client_free(client);
    }
}

#[test]
fn case_35_closing_again_waits_again() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        let lead = handle(client, b"a");
        let term = win(lead);
        server.cluster.faults().hang(Method::Txn);
        for number in 0..2 {
            let (code, message) = error(leadership_client_close(client, 50, null()));
            assert_eq!(code, LEADERSHIP_ERROR_TIMEOUT, "{number}: {message}");
        }
        assert!(!leadership_term_valid(term) && server.cluster.get("a").is_some());
        server.cluster.faults().heal();
        ok(leadership_client_close(client, SOON, null()));
        assert!(server.cluster.get("a").is_none(), "released before close returned success");
        leadership_term_free(term);
        leadership_free(lead);
        leadership_client_free(client);
    }
}

#[test]
fn a_cancel_ends_what_waits_and_what_was_started() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        let lead = handle(client, b"a");
        let term = win(lead);
        let mut cancel = null_mut();
        ok(leadership_cancel_new(&mut cancel));
        let (user, ended) = ear(null());
        ok(leadership_watch_start(lead, 0, cancel, Some(on_end), user, Some(dropped)));
        let shared = cancel as usize;
        let waiting = std::thread::spawn({
            let term = term as usize;
            move || error(leadership_term_wait_lost(term as *const _, LEADERSHIP_FOREVER, shared as *const _, &mut 7)).0
        });
        ok(leadership_cancel_trigger(cancel));
        assert_eq!(waiting.join().unwrap(), LEADERSHIP_ERROR_CANCELLED);
        assert_eq!((hear(&ended), hear(&ended)), (Told::Done(LEADERSHIP_ERROR_CANCELLED, 0), Told::Dropped));
        assert!(leadership_term_valid(term));
        let (code, _) = error(leadership_term_wait_lost(term, 0, null(), &mut 7));
        assert_eq!(code, LEADERSHIP_ERROR_TIMEOUT, "zero does not wait");
        leadership_cancel_free(cancel);
        leadership_term_free(term);
        leadership_free(lead);
        leadership_client_free(client);
    }
}

#[test]
fn freeing_the_handle_ends_its_term_and_its_callbacks() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        let lead = handle(client, b"a");
        let (user, heard) = ear(null());
        ok(leadership_on_event(lead, Some(on_event), user, Some(dropped)));
        let term = win(lead);
        assert_eq!(hear(&heard), Told::Event(LEADERSHIP_EVENT_ELECTED, 0));
        leadership_free(lead);
        assert!(!leadership_term_valid(term), "at once");
        assert_eq!(leadership_term_lost_reason(term), LEADERSHIP_REASON_RESIGNED);
        assert_eq!(hear(&heard), Told::Event(LEADERSHIP_EVENT_LOST, LEADERSHIP_REASON_RESIGNED));
        assert_eq!(hear(&heard), Told::Dropped);
        until("the key's release", || server.cluster.get("a").is_none());
        leadership_client_free(client);
        leadership_term_free(term);
    }
}

#[test]
fn a_lease_of_the_callers_carries_a_term() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        let (mut lease, mut same) = (null_mut(), null_mut());
        ok(leadership_lease_grant(client, 5000, c"shared".as_ptr(), SOON, null(), &mut lease));
        assert_eq!(leadership_lease_ttl_ms(lease), 5000);
        assert!(!leadership_lease_is_expired(lease) && leadership_lease_remaining_ns(lease) > 0);
        assert_eq!(CStr::from_ptr(leadership_lease_purpose(lease)), c"shared");
        ok(leadership_lease_keep_alive(lease));
        let lead = handle(client, b"a");
        ok(leadership_set_lease(lead, lease));
        let term = win(lead);
        assert_eq!(leadership_term_lease_id(term), leadership_lease_id(lease));
        ok(leadership_get_lease(lead, &mut same));
        assert_eq!(leadership_lease_id(same), leadership_lease_id(lease));
        leadership_lease_free(same);
        let other = server.client();
        let stranger = handle(other, b"b");
        refused(leadership_set_lease(stranger, lease), "lease");
        leadership_free(stranger);
        leadership_client_free(other);
        ok(leadership_lease_close(lease, SOON, null()));
        ok(leadership_lease_close(lease, SOON, null()));
        assert!(leadership_lease_is_expired(lease));
        leadership_lease_free(lease);
        leadership_term_free(term);
        leadership_free(lead);
        leadership_client_free(client);
    }
}

unsafe extern "C" fn on_log(user: *mut c_void, level: u32, target: *const c_char, message: *const c_char) {
    let ear = unsafe { &*user.cast::<Ear>() };
    let (target, message) = unsafe { (CStr::from_ptr(target), CStr::from_ptr(message)) };
    if target == c"slice" && message == c"from the test" {
        ear.told.send(Told::Event(level, 0)).unwrap();
    }
}

#[test]
fn the_log_goes_to_a_callback_until_it_is_replaced() {
    let (user, heard) = ear(null());
    unsafe { ok(leadership_set_log_callback(Some(on_log), LEADERSHIP_LOG_WARN, user, Some(dropped))) };
    log::info!(target: "slice", "from the test");
    log::warn!(target: "slice", "from the test");
    assert_eq!(hear(&heard), Told::Event(LEADERSHIP_LOG_WARN, 0));
    unsafe { ok(leadership_set_log_callback(None, LEADERSHIP_LOG_WARN, null_mut(), None)) };
    assert_eq!(hear(&heard), Told::Dropped);
}
