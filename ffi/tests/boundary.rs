//! Bad input at the C boundary: an error that names the argument, outputs untouched, never a crash (case 43, S13).
//! Owns every function's NULLs, texts, sizes and numbers; what the functions do is `slice.rs`'s.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // C's side of the boundary is what is played here
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a panic is how a test fails

mod support;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, null, null_mut};

use leadership::*;
use leadership_core::{ElectorState, Reason};
use support::*;

const BAD_TEXT: &CStr = c"\xff\xfe";
/// A pointer that must not be written or taken for an answer.
fn untouched<T>() -> *mut T {
    ptr::dangling_mut()
}

#[test]
fn case_43_null_in_each_place_of_what_takes_objects() {
    let server = Server::start();
    let client = server.client();
    let lead = handle(client, b"null");
    let term = win(lead);
    let key = b"k".as_ptr();
    unsafe {
        refused(leadership_client_connect(null(), null(), &mut untouched()), "endpoints");
        refused(leadership_client_connect(c"h:1".as_ptr(), null(), null_mut()), "client");
        refused(leadership_client_ready(null(), 0, null()), "client");
        refused(leadership_client_close(null(), 0, null()), "client");
        refused(leadership_client_get_leader(null(), key, 1, 0, null(), &mut untouched()), "client");
        refused(leadership_client_get_leader(client, null(), 1, 0, null(), &mut untouched()), "key");
        refused(leadership_client_get_leader(client, key, 1, 0, null(), null_mut()), "leader");
        refused(leadership_client_options_new(null_mut()), "options");
        refused(leadership_client_options_set_drift(null_mut(), 1), "options");
        refused(leadership_client_options_set_credentials(null_mut(), c"u".as_ptr(), c"p".as_ptr()), "options");
        refused(leadership_cancel_new(null_mut()), "cancel");
        refused(leadership_cancel_trigger(null()), "cancel");
        refused(leadership_new(null(), key, 1, null(), &mut untouched()), "client");
        refused(leadership_new(client, null(), 1, null(), &mut untouched()), "key");
        refused(leadership_new(client, null(), 0, null(), &mut untouched()), "key");
        refused(leadership_new(client, key, 1, null(), null_mut()), "handle");
        refused(leadership_options_new(null_mut()), "options");
        refused(leadership_options_set_purpose(null_mut(), c"p".as_ptr()), "options");
        refused(leadership_campaign_options_new(null_mut()), "options");
        refused(leadership_campaign_options_set_ttl(null_mut(), 1), "options");
        refused(leadership_campaign_options_add_compare(null_mut(), null()), "options");
        refused(leadership_campaign(null(), null(), 0, null(), &mut untouched()), "handle");
        refused(leadership_campaign(lead, null(), 0, null(), null_mut()), "term");
        refused(leadership_campaign_start(null(), null(), null(), None, null_mut(), None), "handle");
        refused(leadership_campaign_start(lead, null(), null(), None, null_mut(), Some(never)), "done");
        refused(leadership_client_ready_start(null(), null(), None, null_mut(), None), "client");
        refused(leadership_client_ready_start(client, null(), None, null_mut(), Some(never)), "done");
        refused(leadership_reset_start(null(), null(), None, null_mut(), None), "handle");
        refused(leadership_reset_start(lead, null(), None, null_mut(), Some(never)), "done");
        assert!(leadership_term_valid(term), "what was refused did nothing");
        refused(leadership_watch(null(), 0, 0, null(), &mut 7, &mut 7), "handle");
        refused(leadership_watch(lead, 0, 0, null(), null_mut(), &mut 7), "kind");
        refused(leadership_watch(lead, 0, 0, null(), &mut 7, null_mut()), "end_revision");
        refused(leadership_watch_start(lead, 0, null(), None, null_mut(), Some(never)), "done");
        refused(leadership_on_event(null(), None, null_mut(), None), "handle");
        refused(leadership_on_event(lead, None, null_mut(), Some(never)), "callback");
        for result in [
            leadership_keep(null()),
            leadership_get_term(null(), &mut untouched()),
            leadership_reset(null(), 0, null()),
            leadership_delete_leader_key(null(), 0, null()),
            leadership_delete_leader_key_at(null(), 1, 0, null()),
            leadership_set_lease(null(), null()),
            leadership_get_lease(null(), &mut untouched()),
            leadership_get_client(null(), &mut untouched()),
            leadership_value(null(), &mut untouched()),
            leadership_add_campaign_times(null()),
            leadership_get_campaign_times_num(null(), &mut 7),
            leadership_reset_campaign_times(null()),
            leadership_set_primary_watch(null(), true),
        ] {
            refused(result, "handle");
        }
        refused(leadership_get_term(lead, null_mut()), "term");
        refused(leadership_get_lease(lead, null_mut()), "lease");
        refused(leadership_get_client(lead, null_mut()), "client");
        refused(leadership_value(lead, null_mut()), "bytes");
        refused(leadership_get_campaign_times_num(lead, null_mut()), "times");
        refused(leadership_lease_grant(null(), 1, c"p".as_ptr(), 0, null(), &mut untouched()), "client");
        refused(leadership_lease_grant(client, 1, null(), 0, null(), &mut untouched()), "purpose");
        refused(leadership_lease_grant(client, 1, c"p".as_ptr(), 0, null(), null_mut()), "lease");
        refused(leadership_lease_keep_alive(null()), "lease");
        refused(leadership_lease_close(null(), 0, null()), "lease");
        refused(leadership_term_clone(null(), &mut untouched()), "term");
        refused(leadership_term_clone(term, null_mut()), "view");
        refused(leadership_term_wait_lost(null(), 0, null(), &mut 7), "term");
        refused(leadership_term_wait_lost(term, 0, null(), null_mut()), "reason");
        refused(leadership_term_wait_lost_start(term, null(), None, null_mut(), Some(never)), "done");
        refused(leadership_compare_value(null(), 1, 1, key, 1, &mut untouched()), "key");
        refused(leadership_compare_value(key, 1, 1, null(), 1, &mut untouched()), "value");
        refused(leadership_compare_value(key, 1, 1, key, 1, null_mut()), "compare");
        refused(leadership_compare_version(key, 1, 1, 0, null_mut()), "compare");
        refused(leadership_txn_new(null(), &mut untouched()), "term");
        refused(leadership_txn_new(term, null_mut()), "txn");
        let mut txn = null_mut();
        ok(leadership_txn_new(term, &mut txn));
        refused(leadership_txn_when(txn, null()), "compare");
        refused(leadership_txn_then_put(txn, null(), 1, key, 1, 0), "key");
        refused(leadership_txn_then_put(txn, key, 1, null(), 1, 0), "value");
        refused(leadership_txn_commit(null(), 0, null(), &mut untouched()), "txn");
        refused(leadership_txn_commit(txn, 0, null(), null_mut()), "reply");
        refused(leadership_txn_commit_start(txn, null(), None, null_mut(), Some(never)), "done");
        for result in [
            leadership_txn_when(null_mut(), null()),
            leadership_txn_then_put(null_mut(), key, 1, key, 1, 0),
            leadership_txn_then_delete(null_mut(), key, 1),
            leadership_txn_then_delete_prefix(null_mut(), key, 1),
            leadership_txn_then_get(null_mut(), key, 1),
            leadership_txn_then_get_prefix(null_mut(), key, 1, 0),
            leadership_txn_else_put(null_mut(), key, 1, key, 1, 0),
            leadership_txn_else_delete(null_mut(), key, 1),
            leadership_txn_else_delete_prefix(null_mut(), key, 1),
            leadership_txn_else_get(null_mut(), key, 1),
            leadership_txn_else_get_prefix(null_mut(), key, 1, 0),
        ] {
            refused(result, "txn");
        }
        leadership_txn_free(txn);
        leadership_term_free(term);
        leadership_free(lead);
        ok(leadership_client_close(client, SOON, null()));
        leadership_client_free(client);
    }
}

unsafe extern "C" fn never(_: *mut c_void) {
    panic!("what was not registered is not dropped");
}

#[test]
fn case_43_accessors_of_null_and_free_of_null() {
    let mut len = 7;
    unsafe {
        assert!(!leadership_term_valid(null()) && leadership_term_lost(null()));
        assert_eq!(leadership_term_lost_reason(null()), LEADERSHIP_REASON_NONE);
        assert_eq!((leadership_term_token(null()), leadership_term_remaining_ns(null())), (0, 0));
        assert!(!leadership_check(null()) && !leadership_is_primary(null()));
        assert!(leadership_lease_is_expired(null()));
        assert!(leadership_error_message(null()).is_null() && leadership_error_name(null()).is_null());
        assert_eq!(leadership_error_code(null()), 0);
        assert!(leadership_term_value(null(), &mut len).is_null());
        assert_eq!(len, 0);
        assert!(leadership_key(null(), null_mut()).is_null());
        assert!(leadership_event_term(null()).is_null());
        assert!(leadership_txn_reply_kv(null(), 0, 0).is_null());
        leadership_error_free(null_mut());
        leadership_client_free(null_mut());
        leadership_client_options_free(null_mut());
        leadership_cancel_free(null_mut());
        leadership_lease_free(null_mut());
        leadership_leader_free(null_mut());
        leadership_free(null_mut());
        leadership_options_free(null_mut());
        leadership_campaign_options_free(null_mut());
        leadership_compare_free(null_mut());
        leadership_term_free(null_mut());
        leadership_txn_free(null_mut());
        leadership_txn_reply_free(null_mut());
        leadership_bytes_free(null_mut());
    }
}

#[test]
fn case_43_text_sizes_and_numbers() {
    let server = Server::start();
    let client = server.client();
    let key = b"k".as_ptr();
    let huge = [65 << 20, usize::MAX / 2, usize::MAX];
    unsafe {
        refused(leadership_client_connect(BAD_TEXT.as_ptr(), null(), &mut untouched()), "endpoints");
        for endpoints in [c"", c"h", c"h:1,", c"h:0"] {
            refused(leadership_client_connect(endpoints.as_ptr(), null(), &mut untouched()), "endpoints");
        }
        let mut options = null_mut();
        ok(leadership_client_options_new(&mut options));
        refused(leadership_client_options_set_credentials(options, BAD_TEXT.as_ptr(), c"p".as_ptr()), "user");
        refused(leadership_client_options_set_credentials(options, c"u".as_ptr(), null()), "password");
        refused(leadership_client_options_set_ca_file(options, BAD_TEXT.as_ptr()), "path");
        refused(leadership_client_options_set_identity_files(options, c"c".as_ptr(), null()), "key_path");
        refused(leadership_client_options_set_identity_files(options, null(), c"k".as_ptr()), "cert_path");
        for len in huge {
            refused(leadership_client_options_set_ca(options, key, len), "pem");
            refused(leadership_client_options_set_namespace(options, key, len), "prefix");
            refused(leadership_client_options_set_identity(options, key, 1, key, len), "key_pem");
            refused(leadership_new(client, key, len, null(), &mut untouched()), "key");
            refused(leadership_compare_value(key, 1, 1, key, len, &mut untouched()), "value");
        }
        refused(leadership_client_options_set_drift(options, u64::MAX), "drift");
        ok(leadership_client_options_set_drift(options, 100_001));
        refused(leadership_client_connect(server.endpoint.as_ptr(), options, &mut untouched()), "drift");
        ok(leadership_client_options_set_drift(options, 10_000));
        ok(leadership_client_options_set_endpoint_sync(options, 999));
        refused(leadership_client_connect(server.endpoint.as_ptr(), options, &mut untouched()), "endpoint_sync");
        ok(leadership_client_options_set_endpoint_sync(options, 1000));
        ok(leadership_client_options_set_ca_file(options, c"/nowhere/ca.pem".as_ptr()));
        refused(leadership_client_connect(server.endpoint.as_ptr(), options, &mut untouched()), "ca");
        ok(leadership_client_options_set_drift(options, 5));
        ok(leadership_client_options_set_request_timeout(options, u64::MAX));
        refused(leadership_client_connect(server.endpoint.as_ptr(), options, &mut untouched()), "request_timeout");
        leadership_client_options_free(options);
        for op in [0, 5, u32::MAX] {
            refused(leadership_compare_version(key, 1, op, 0, &mut untouched()), "op");
        }
        refused(leadership_set_log_callback(None, 6, null_mut(), None), "level");
        for ttl in [0, u64::MAX] {
            refused(leadership_lease_grant(client, ttl, c"p".as_ptr(), SOON, null(), &mut untouched()), "ttl");
        }
        refused(leadership_lease_grant(client, 1, BAD_TEXT.as_ptr(), 0, null(), &mut untouched()), "purpose");
        let lead = handle(client, b"sizes");
        let mut campaign = null_mut();
        ok(leadership_campaign_options_new(&mut campaign));
        ok(leadership_campaign_options_set_ttl(campaign, u64::MAX));
        refused(leadership_campaign(lead, campaign, SOON, null(), &mut untouched()), "ttl");
        leadership_campaign_options_free(campaign);
        refused(leadership_watch(lead, -1, SOON, null(), &mut 7, &mut 7), "revision");
        refused(leadership_delete_leader_key_at(lead, 0, SOON, null()), "revision");
        leadership_free(lead);
        ok(leadership_client_close(client, SOON, null()));
        leadership_client_free(client);
    }
}

#[test]
fn case_43_outputs_are_written_only_on_success() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        let holder = handle(client, b"taken");
        let term = win(holder);
        let other = handle(client, b"taken");
        let mut out: *mut leadership_term = untouched();
        let (code, message) = error(leadership_campaign(other, null(), SOON, null(), &mut out));
        assert_eq!(code, LEADERSHIP_ERROR_NOT_ELECTED, "{message}");
        assert_eq!(out, untouched());
        let (mut kind, mut revision) = (7, 7);
        let (code, _) = error(leadership_watch(other, 0, 1, null(), &mut kind, &mut revision));
        assert_eq!((code, kind, revision), (LEADERSHIP_ERROR_TIMEOUT, 7, 7));
        leadership_term_free(term);
        leadership_free(other);
        leadership_free(holder);
        leadership_client_free(client);
    }
}

#[test]
fn case_43_use_after_close() {
    let server = Server::start();
    let client = server.client();
    unsafe {
        let lead = handle(client, b"closed");
        let term = win(lead);
        let mut txn = null_mut();
        ok(leadership_txn_new(term, &mut txn));
        ok(leadership_client_close(client, SOON, null()));
        ok(leadership_client_close(client, SOON, null()));
        assert!(!leadership_term_valid(term) && !leadership_check(lead));
        assert_eq!(leadership_term_lost_reason(term), LEADERSHIP_REASON_CLOSED);
        let closed = [
            leadership_client_ready(client, SOON, null()),
            leadership_keep(lead),
            leadership_reset(lead, SOON, null()),
            leadership_campaign(lead, null(), SOON, null(), &mut untouched()),
            leadership_watch(lead, 0, SOON, null(), &mut 7, &mut 7),
            leadership_txn_commit(txn, SOON, null(), &mut untouched()),
            leadership_lease_grant(client, 1000, c"p".as_ptr(), SOON, null(), &mut untouched()),
            leadership_new(client, b"k".as_ptr(), 1, null(), &mut untouched()),
            leadership_on_event(lead, Some(unheard), null_mut(), Some(never)),
        ];
        for (number, result) in closed.into_iter().enumerate() {
            let (code, message) = error(result);
            assert_eq!(code, LEADERSHIP_ERROR_CLOSED, "{number}: {message}");
        }
        // In an order that no caller should choose, and may.
        leadership_client_free(client);
        leadership_free(lead);
        leadership_txn_free(txn);
        assert!(!leadership_term_valid(term));
        leadership_term_free(term);
    }
}

unsafe extern "C" fn unheard(_: *mut c_void, _: *const leadership_event) {}

#[test]
fn numbers_and_names_are_the_cores() {
    let reasons = [
        LEADERSHIP_REASON_EXPIRED,
        LEADERSHIP_REASON_REVOKED,
        LEADERSHIP_REASON_KEY_DELETED,
        LEADERSHIP_REASON_OVERWRITTEN,
        LEADERSHIP_REASON_HANDED_OVER,
        LEADERSHIP_REASON_RESIGNED,
        LEADERSHIP_REASON_UNHEALTHY,
        LEADERSHIP_REASON_PAUSED,
        LEADERSHIP_REASON_CLOSED,
        LEADERSHIP_REASON_FORKED,
        LEADERSHIP_REASON_SUSPENDED,
        LEADERSHIP_REASON_CLUSTER_CHANGED,
        LEADERSHIP_REASON_GUARD_FAILED,
    ];
    assert_eq!(reasons, Reason::ALL.map(|reason| reason as u32));
    let name = |reason| -> Option<CString> {
        let name: *const c_char = leadership_reason_name(reason);
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_owned())
    };
    for reason in Reason::ALL {
        assert_eq!(name(reason as u32).unwrap().to_str(), Ok(reason.name()));
    }
    assert_eq!((name(0), name(14)), (None, None));
    let states = [
        LEADERSHIP_STATE_FOLLOWER,
        LEADERSHIP_STATE_CAMPAIGNING,
        LEADERSHIP_STATE_DELAYED,
        LEADERSHIP_STATE_LEADING,
        LEADERSHIP_STATE_JEOPARDY,
        LEADERSHIP_STATE_DRAINING,
        LEADERSHIP_STATE_PAUSED,
        LEADERSHIP_STATE_STOPPED,
    ];
    assert_eq!(states, ElectorState::ALL.map(|state| state as u32));
    let text_of = |name: *const c_char| {
        // SAFETY: NULL or a static text.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_str().unwrap())
    };
    let events = [
        (LEADERSHIP_EVENT_CAMPAIGNING, "campaigning"),
        (LEADERSHIP_EVENT_ELECTED, "elected"),
        (LEADERSHIP_EVENT_JEOPARDY, "jeopardy"),
        (LEADERSHIP_EVENT_SECURED, "secured"),
        (LEADERSHIP_EVENT_LOST, "lost"),
        (LEADERSHIP_EVENT_LEADER, "leader"),
        (LEADERSHIP_EVENT_VACANT, "vacant"),
        (LEADERSHIP_EVENT_PAUSED, "paused"),
        (LEADERSHIP_EVENT_STOPPED, "stopped"),
    ];
    for (place, (number, name)) in events.into_iter().enumerate() {
        assert_eq!((number, text_of(leadership_event_name(number))), (u32::try_from(place).unwrap() + 1, Some(name)));
    }
    for state in ElectorState::ALL {
        assert_eq!(text_of(leadership_state_name(state as u32)), Some(state.name()));
    }
    use leadership_core::Error;
    let text = String::new;
    let errors = [
        (Error::InvalidArgument { argument: text(), why: text() }, LEADERSHIP_ERROR_INVALID_ARGUMENT),
        (Error::Unavailable { message: text() }, LEADERSHIP_ERROR_UNAVAILABLE),
        (Error::Timeout { message: text() }, LEADERSHIP_ERROR_TIMEOUT),
        (Error::Cancelled { message: text() }, LEADERSHIP_ERROR_CANCELLED),
        (Error::NotElected { key: text(), holder: None }, LEADERSHIP_ERROR_NOT_ELECTED),
        (Error::CompareFailed { key: text() }, LEADERSHIP_ERROR_COMPARE_FAILED),
        (Error::NotLeader { key: text(), reason: None }, LEADERSHIP_ERROR_NOT_LEADER),
        (Error::OutcomeUnknown { message: text(), read: text() }, LEADERSHIP_ERROR_OUTCOME_UNKNOWN),
        (Error::PermissionDenied { message: text() }, LEADERSHIP_ERROR_PERMISSION_DENIED),
        (Error::ClusterChanged { member: text(), message: text() }, LEADERSHIP_ERROR_CLUSTER_CHANGED),
        (Error::Closed, LEADERSHIP_ERROR_CLOSED),
        (Error::Forked, LEADERSHIP_ERROR_FORKED),
        (Error::Internal { message: text() }, LEADERSHIP_ERROR_INTERNAL),
    ];
    for (error, number) in errors {
        assert_eq!(error.code(), number, "{}", error.name());
    }
}
