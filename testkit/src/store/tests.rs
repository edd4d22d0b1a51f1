//! Owns the tests of what the store keeps inside: history, compaction, the keys of leases, all or nothing.
//! Leaves what a client can see to the conformance suite, which asks real etcds the same.

// A test may fail by panicking: that is how it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use etcd_client::proto::{
    PbCompare, PbRangeRequest, PbTargetUnion, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};
use tonic::Code;

use super::*;
use crate::version::Version;

fn request(key: &str, value: &str, lease: i64) -> PbPutRequest {
    PbPutRequest {
        key: key.into(),
        value: value.into(),
        lease,
        ..Default::default()
    }
}

fn put(store: &mut Store, key: &str, value: &str, lease: i64) -> i64 {
    let mut writing = store.write();
    writing.put(&request(key, value, lease));
    writing.commit().revision
}

fn delete(store: &mut Store, key: &str, range_end: &str) -> Committed {
    let mut writing = store.write();
    writing.delete(&PbDeleteRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..Default::default()
    });
    writing.commit()
}

fn op(request: PbTxnOpRequest) -> PbTxnRequestOp {
    PbTxnRequestOp {
        request: Some(request),
    }
}

fn shown(events: &[PbEvent]) -> Vec<String> {
    let one = |event: &PbEvent| {
        let kv = event.kv.as_ref().unwrap();
        let before = event.prev_kv.as_ref().map_or("-".to_owned(), |kv| {
            String::from_utf8_lossy(&kv.value).into_owned()
        });
        format!(
            "{}{}@{} was {before}",
            if event.r#type == EVENT_PUT { "+" } else { "-" },
            String::from_utf8_lossy(&kv.key),
            kv.mod_revision
        )
    };
    events.iter().map(one).collect()
}

#[test]
fn a_delete_of_nothing_makes_no_revision() {
    let mut store = Store::new();
    assert_eq!(store.revision(), 1);
    let nothing = delete(&mut store, "a", "z");
    assert_eq!(
        (nothing.revision, nothing.events.len(), store.revision()),
        (1, 0, 1)
    );
    assert_eq!(put(&mut store, "a", "1", 0), 2);
}

#[test]
fn history_is_replayed_by_interval_from_a_revision() {
    let mut store = Store::new();
    put(&mut store, "a", "1", 0);
    put(&mut store, "b", "2", 0);
    put(&mut store, "a", "3", 0);
    delete(&mut store, "a", "c");
    let all = Interval::new(b"a", &[0]);
    assert_eq!(
        shown(&store.history(&all, 3)),
        ["+b@3 was -", "+a@4 was 1", "-a@5 was 3", "-b@5 was 2"]
    );
    assert_eq!(
        shown(&store.history(&Interval::new(b"b", b""), 2)),
        ["+b@3 was -", "-b@5 was 2"]
    );
    assert_eq!(shown(&store.history(&all, 6)), [""; 0]);
}

#[test]
fn compaction_keeps_what_is_alive_and_forgets_the_rest() {
    let mut store = Store::new();
    put(&mut store, "a", "1", 0);
    put(&mut store, "a", "2", 0);
    put(&mut store, "gone", "1", 0);
    delete(&mut store, "gone", "");
    put(&mut store, "a", "3", 0);
    store.compact(4).unwrap();
    assert_eq!(store.compact(4).unwrap_err().code(), Code::OutOfRange);
    assert_eq!(store.compact(7).unwrap_err().code(), Code::OutOfRange);
    // The version that was current at the compacted revision can still be read, the one before cannot.
    let read = |revision| {
        store.range(&PbRangeRequest {
            key: b"a".to_vec(),
            revision,
            ..Default::default()
        })
    };
    assert_eq!(read(4).unwrap().kvs[0].value, b"2");
    assert_eq!(read(3).unwrap_err().code(), Code::OutOfRange);
    assert_eq!(store.keys.len(), 2, "its delete is not compacted yet");
    store.compact(5).unwrap();
    assert_eq!(
        store.keys.len(),
        1,
        "a tombstone that is compacted is forgotten"
    );
    // What is replayed from the compacted revision on has no value from before it.
    let all = Interval::new(b"a", &[0]);
    assert_eq!(
        shown(&store.history(&all, 1)),
        ["-gone@5 was -", "+a@6 was 2"]
    );
}

#[test]
fn a_lease_knows_its_keys_wherever_they_go() {
    let mut store = Store::new();
    for key in ["b", "a", "c"] {
        put(&mut store, key, "1", 7);
    }
    put(&mut store, "b", "2", 8);
    delete(&mut store, "c", "");
    assert_eq!(store.keys_of(7), [b"a".to_vec()]);
    assert_eq!(store.keys_of(8), [b"b".to_vec()]);
    let mut writing = store.write();
    writing.put(&PbPutRequest {
        ignore_lease: true,
        ..request("b", "3", 0)
    });
    writing.commit();
    assert_eq!(store.keys_of(8), [b"b".to_vec()]);
    let mut writing = store.write();
    writing.delete_lease(8);
    let gone = writing.commit();
    assert_eq!(shown(&gone.events), [format!("-b@{} was 3", gone.revision)]);
    assert!(store.keys_of(8).is_empty() && store.get(b"b").is_none() && store.get(b"a").is_some());
}

#[test]
fn a_refused_transaction_leaves_nothing_behind() {
    let mut store = Store::new();
    put(&mut store, "a", "1", 0);
    let txn = PbTxnRequest {
        success: vec![
            op(PbTxnOpRequest::RequestPut(request("a", "2", 0))),
            op(PbTxnOpRequest::RequestPut(request("b", "1", 9))),
        ],
        ..Default::default()
    };
    assert_eq!(
        store.txn(&txn, &|_| false).unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        (store.get(b"a").unwrap().value.as_slice(), store.revision()),
        (&b"1"[..], 2)
    );
    let (answer, committed) = store.txn(&txn, &|lease| lease == 9).unwrap();
    assert!(answer.succeeded);
    assert_eq!(shown(&committed.events), ["+a@3 was 1", "+b@3 was -"]);
}

#[test]
fn a_guard_compares_before_anything_is_written() {
    let mut store = Store::new();
    let absent = PbCompare {
        key: b"a".to_vec(),
        target: 1,
        target_union: Some(PbTargetUnion::CreateRevision(0)),
        ..Default::default()
    };
    let inner = PbTxnRequest {
        compare: vec![absent.clone()],
        success: vec![op(PbTxnOpRequest::RequestPut(request("b", "1", 0)))],
        ..Default::default()
    };
    let txn = PbTxnRequest {
        compare: vec![absent],
        success: vec![
            op(PbTxnOpRequest::RequestPut(request("a", "1", 0))),
            op(PbTxnOpRequest::RequestTxn(inner)),
        ],
        ..Default::default()
    };
    let (answer, committed) = store.txn(&txn, &|_| false).unwrap();
    assert!(answer.succeeded);
    assert_eq!(shown(&committed.events), ["+a@2 was -", "+b@2 was -"]);
    let (answer, committed) = store.txn(&txn, &|_| false).unwrap();
    assert!(!answer.succeeded && committed.events.is_empty());
}

#[test]
fn nested_operations_count_for_their_parents() {
    let gets = |count| {
        vec![
            op(PbTxnOpRequest::RequestRange(PbRangeRequest {
                key: b"a".to_vec(),
                ..Default::default()
            }));
            count
        ]
    };
    let txn = |outer: usize, inner: usize| {
        let mut success = vec![op(PbTxnOpRequest::RequestTxn(PbTxnRequest {
            success: gets(inner),
            ..Default::default()
        }))];
        success.extend(gets(outer - 1));
        PbTxnRequest {
            success,
            ..Default::default()
        }
    };
    assert!(txn::check(&txn(28, 100), Version::V3_7).is_ok());
    assert_eq!(
        txn::check(&txn(29, 100), Version::V3_7).unwrap_err().code(),
        Code::InvalidArgument
    );
}
