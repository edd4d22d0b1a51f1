//! Owns the cases of transactions: branches, nesting, what is refused up front, one revision for all.
//! Leaves single operations to `kv`, compares to `compare`.

use std::time::Duration;

use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbResponseOp, PbTargetUnion,
    PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use leadership_tests::raw::create;

use super::harness::{Ctx, Group, cases};

pub(crate) fn group() -> Group {
    Group {
        name: "txn",
        members: 1,
        token_ttl: Duration::from_secs(300),
        fresh: false,
        cases: cases![
            branches,
            reads_write_no_revision,
            one_revision_and_reads_of_earlier_writes,
            events_of_one_revision,
            a_key_touched_twice,
            nesting,
            too_many_operations,
            all_or_nothing,
            bad_requests,
        ],
    }
}

fn op(request: PbTxnOpRequest) -> PbTxnRequestOp {
    PbTxnRequestOp {
        request: Some(request),
    }
}

fn put(ctx: &Ctx, name: &str, value: &str) -> PbTxnRequestOp {
    op(PbTxnOpRequest::RequestPut(PbPutRequest {
        key: ctx.key(name),
        value: value.into(),
        ..Default::default()
    }))
}

fn delete(ctx: &Ctx, name: &str) -> PbTxnRequestOp {
    op(PbTxnOpRequest::RequestDeleteRange(PbDeleteRequest {
        key: ctx.key(name),
        ..Default::default()
    }))
}

pub(super) fn get(ctx: &Ctx, name: &str) -> PbTxnRequestOp {
    op(PbTxnOpRequest::RequestRange(PbRangeRequest {
        key: ctx.key(name),
        ..Default::default()
    }))
}

fn nested(txn: PbTxnRequest) -> PbTxnRequestOp {
    op(PbTxnOpRequest::RequestTxn(txn))
}

pub(super) fn compare(ctx: &Ctx, name: &str, union: PbTargetUnion, result: usize) -> PbCompare {
    let target = match union {
        PbTargetUnion::Version(_) => 0,
        PbTargetUnion::CreateRevision(_) => 1,
        PbTargetUnion::ModRevision(_) => 2,
        PbTargetUnion::Value(_) => 3,
        PbTargetUnion::Lease(_) => 4,
    };
    PbCompare {
        key: ctx.key(name),
        target,
        result: i32::try_from(result).unwrap(),
        target_union: Some(union),
        ..Default::default()
    }
}

pub(super) fn version(ctx: &Ctx, name: &str, wanted: i64) -> PbCompare {
    compare(ctx, name, PbTargetUnion::Version(wanted), 0)
}

fn shown(ctx: &Ctx, answer: &PbTxnResponse) -> String {
    let one = |op: &PbResponseOp| match &op.response {
        Some(PbTxnOpResponse::ResponseRange(range)) => format!(
            "got {} at {}",
            ctx.kvs(&range.kvs),
            ctx.header(range.header)
        ),
        Some(PbTxnOpResponse::ResponsePut(put)) => format!("put at {}", ctx.header(put.header)),
        Some(PbTxnOpResponse::ResponseDeleteRange(delete)) => format!(
            "deleted {} at {}",
            delete.deleted,
            ctx.header(delete.header)
        ),
        Some(PbTxnOpResponse::ResponseTxn(txn)) => format!("({})", shown(ctx, txn)),
        None => "nothing".to_owned(),
    };
    let answers: Vec<String> = answer.responses.iter().map(one).collect();
    format!(
        "{} at {} [{}]",
        if answer.succeeded { "then" } else { "else" },
        ctx.header(answer.header),
        answers.join(", ")
    )
}

pub(super) async fn txn(ctx: &mut Ctx, what: &str, request: PbTxnRequest) {
    let answer = ctx.raw.txn(request).await;
    ctx.answer(what, answer, |ctx, answer| shown(ctx, &answer));
}

async fn branches(ctx: &mut Ctx) {
    for (what, name) in [
        ("first", "a"),
        ("second", "a"),
        ("both compares must hold", "b"),
    ] {
        let compare = vec![version(ctx, name, 0), version(ctx, "a", 0)];
        let request = PbTxnRequest {
            compare,
            success: vec![put(ctx, name, "then")],
            failure: vec![get(ctx, "a"), put(ctx, "else", what)],
        };
        txn(ctx, what, request).await;
    }
    let request = PbTxnRequest {
        success: vec![put(ctx, "a", "always")],
        failure: vec![put(ctx, "a", "never")],
        ..Default::default()
    };
    txn(ctx, "without a compare", request).await;
    txn(ctx, "empty", PbTxnRequest::default()).await;
    let request = PbTxnRequest {
        compare: vec![version(ctx, "a", 7)],
        success: vec![put(ctx, "a", "never")],
        ..Default::default()
    };
    txn(ctx, "an empty else", request).await;
    ctx.show("a").await;
}

async fn reads_write_no_revision(ctx: &mut Ctx) {
    ctx.put("a", "1").await;
    let request = PbTxnRequest {
        success: vec![get(ctx, "a"), get(ctx, "absent")],
        ..Default::default()
    };
    txn(ctx, "reads", request).await;
    let request = PbTxnRequest {
        success: vec![delete(ctx, "absent"), get(ctx, "a")],
        ..Default::default()
    };
    txn(ctx, "a delete of nothing", request).await;
    let past = PbRangeRequest {
        key: ctx.key("a"),
        revision: ctx.at(0),
        ..Default::default()
    };
    let request = PbTxnRequest {
        success: vec![op(PbTxnOpRequest::RequestRange(past))],
        ..Default::default()
    };
    txn(ctx, "a read in the past", request).await;
    ctx.show("a").await;
}

async fn one_revision_and_reads_of_earlier_writes(ctx: &mut Ctx) {
    ctx.put("b", "1").await;
    let success = vec![
        get(ctx, "a"),
        put(ctx, "a", "1"),
        get(ctx, "a"),
        delete(ctx, "b"),
        get(ctx, "b"),
        put(ctx, "c", "1"),
        get(ctx, "c"),
    ];
    txn(
        ctx,
        "reads between writes",
        PbTxnRequest {
            success,
            ..Default::default()
        },
    )
    .await;
    for name in ["a", "b", "c"] {
        ctx.show(name).await;
    }
}

async fn events_of_one_revision(ctx: &mut Ctx) {
    ctx.put("b", "1").await;
    ctx.put("c", "1").await;
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(1, ctx.key(""), 0).with_prefix().with_prev_key());
    ctx.watched(&mut watch).await;
    // Not in the order of the keys: what an election does when it ends, and the other way round.
    let request = PbTxnRequest {
        success: vec![delete(ctx, "b"), put(ctx, "mark", "1"), put(ctx, "a", "1")],
        ..Default::default()
    };
    txn(ctx, "delete b, put mark, put a", request).await;
    ctx.watched(&mut watch).await;
    let request = PbTxnRequest {
        success: vec![put(ctx, "b", "2"), delete(ctx, "mark"), delete(ctx, "c")],
        ..Default::default()
    };
    txn(ctx, "put b, delete mark, delete c", request).await;
    ctx.watched(&mut watch).await;
    let mut replay = ctx.raw.watch().unwrap();
    replay.send(
        create(1, ctx.key(""), ctx.at(3))
            .with_prefix()
            .with_prev_key(),
    );
    ctx.watched(&mut replay).await;
    ctx.watched(&mut replay).await;
}

async fn a_key_touched_twice(ctx: &mut Ctx) {
    let then = |success| PbTxnRequest {
        success,
        ..Default::default()
    };
    let inner = |success, failure| {
        nested(PbTxnRequest {
            success,
            failure,
            ..Default::default()
        })
    };
    let whole = PbDeleteRequest {
        key: ctx.key(""),
        range_end: ctx.key("z"),
        ..Default::default()
    };
    let whole = op(PbTxnOpRequest::RequestDeleteRange(whole));
    let requests = [
        (
            "put, put",
            then(vec![put(ctx, "a", "1"), put(ctx, "a", "2")]),
        ),
        (
            "put, delete",
            then(vec![put(ctx, "a", "1"), delete(ctx, "a")]),
        ),
        (
            "delete, put",
            then(vec![delete(ctx, "a"), put(ctx, "a", "1")]),
        ),
        (
            "delete an interval, put in it",
            then(vec![whole.clone(), put(ctx, "a", "1")]),
        ),
        (
            "in the branch that is not taken",
            PbTxnRequest {
                failure: vec![put(ctx, "a", "1"), put(ctx, "a", "2")],
                ..Default::default()
            },
        ),
        (
            "put, nested put",
            then(vec![
                put(ctx, "a", "1"),
                inner(vec![put(ctx, "a", "2")], vec![]),
            ]),
        ),
        (
            "nested put, nested put",
            then(vec![
                inner(vec![put(ctx, "a", "1")], vec![]),
                inner(vec![put(ctx, "a", "2")], vec![]),
            ]),
        ),
        (
            "delete, nested put",
            then(vec![
                delete(ctx, "a"),
                inner(vec![], vec![put(ctx, "a", "2")]),
            ]),
        ),
        (
            "nested delete, put",
            then(vec![
                inner(vec![delete(ctx, "a")], vec![]),
                put(ctx, "a", "2"),
            ]),
        ),
        (
            "both branches",
            PbTxnRequest {
                success: vec![put(ctx, "a", "1")],
                failure: vec![put(ctx, "a", "2")],
                ..Default::default()
            },
        ),
        (
            "both branches of a nested one",
            then(vec![inner(
                vec![put(ctx, "a", "1")],
                vec![put(ctx, "a", "2")],
            )]),
        ),
        (
            "delete, delete",
            then(vec![delete(ctx, "a"), delete(ctx, "a")]),
        ),
        ("delete, get", then(vec![delete(ctx, "a"), get(ctx, "a")])),
    ];
    for (what, request) in requests {
        txn(ctx, what, request).await;
        ctx.show("a").await;
    }
}

async fn nesting(ctx: &mut Ctx) {
    ctx.put("key", "1").await;
    for (what, guard) in [("the guard holds", 1), ("the guard does not hold", 7)] {
        // How a leader writes: the user's transaction inside the guard's.
        let inner = PbTxnRequest {
            compare: vec![version(ctx, "a", 0)],
            success: vec![put(ctx, "a", "1")],
            failure: vec![get(ctx, "a")],
        };
        for when in ["first", "second"] {
            let request = PbTxnRequest {
                compare: vec![version(ctx, "key", guard)],
                success: vec![nested(inner.clone())],
                failure: vec![get(ctx, "key")],
            };
            txn(ctx, &format!("{what}, {when}"), request).await;
        }
    }
    // All compares are made before any write.
    let inner = PbTxnRequest {
        compare: vec![version(ctx, "b", 0)],
        success: vec![get(ctx, "b")],
        failure: vec![put(ctx, "c", "seen")],
    };
    let request = PbTxnRequest {
        success: vec![put(ctx, "b", "1"), nested(inner)],
        ..Default::default()
    };
    txn(ctx, "compares come first", request).await;
    let deep = nested(PbTxnRequest {
        success: vec![nested(PbTxnRequest {
            success: vec![put(ctx, "d", "1")],
            ..Default::default()
        })],
        ..Default::default()
    });
    txn(
        ctx,
        "three deep",
        PbTxnRequest {
            success: vec![deep, put(ctx, "e", "1")],
            ..Default::default()
        },
    )
    .await;
    let reading = nested(PbTxnRequest {
        success: vec![get(ctx, "d")],
        ..Default::default()
    });
    txn(
        ctx,
        "only nested reads",
        PbTxnRequest {
            success: vec![reading],
            ..Default::default()
        },
    )
    .await;
}

async fn too_many_operations(ctx: &mut Ctx) {
    let puts = |ctx: &Ctx, count: usize| -> Vec<_> {
        (0..count)
            .map(|index| put(ctx, &format!("k{index:03}"), "1"))
            .collect()
    };
    let count = |ctx: &mut Ctx, what: String, answer: Result<PbTxnResponse, tonic::Status>| {
        ctx.answer(&what, answer, |ctx, answer| {
            format!(
                "{} answers at {}",
                answer.responses.len(),
                ctx.header(answer.header)
            )
        });
    };
    for operations in [128, 129] {
        let answer = ctx
            .raw
            .txn(PbTxnRequest {
                success: puts(ctx, operations),
                ..Default::default()
            })
            .await;
        count(ctx, format!("{operations} puts"), answer);
        let answer = ctx
            .raw
            .txn(PbTxnRequest {
                failure: puts(ctx, operations),
                ..Default::default()
            })
            .await;
        count(ctx, format!("{operations} puts, not taken"), answer);
        let answer = ctx
            .raw
            .txn(PbTxnRequest {
                compare: vec![version(ctx, "k", 0); operations],
                ..Default::default()
            })
            .await;
        count(ctx, format!("{operations} compares"), answer);
    }
    // A nested transaction has what its parent leaves.
    for (outer, inner) in [(1, 127), (1, 128), (28, 100), (29, 100)] {
        let mut success = vec![nested(PbTxnRequest {
            success: puts(ctx, inner),
            ..Default::default()
        })];
        success.extend((1..outer).map(|_| get(ctx, "k")));
        let answer = ctx
            .raw
            .txn(PbTxnRequest {
                success,
                ..Default::default()
            })
            .await;
        count(ctx, format!("{outer} with {inner} in the first"), answer);
    }
    let half = |ctx: &Ctx| {
        nested(PbTxnRequest {
            success: (0..100).map(|_| get(ctx, "k")).collect(),
            ..Default::default()
        })
    };
    let answer = ctx
        .raw
        .txn(PbTxnRequest {
            success: vec![half(ctx), half(ctx)],
            ..Default::default()
        })
        .await;
    count(ctx, "two with 100 each".to_owned(), answer);
}

async fn all_or_nothing(ctx: &mut Ctx) {
    let bad = PbPutRequest {
        key: ctx.key("b"),
        lease: 99,
        ..Default::default()
    };
    let keep = PbPutRequest {
        key: ctx.key("b"),
        ignore_value: true,
        ..Default::default()
    };
    let future = PbRangeRequest {
        key: ctx.key("b"),
        revision: ctx.at(100),
        ..Default::default()
    };
    for (what, request) in [
        ("an unknown lease", PbTxnOpRequest::RequestPut(bad)),
        (
            "keep the value of nothing",
            PbTxnOpRequest::RequestPut(keep),
        ),
        ("a read in the future", PbTxnOpRequest::RequestRange(future)),
    ] {
        let success = vec![put(ctx, "a", "1"), op(request.clone())];
        txn(
            ctx,
            what,
            PbTxnRequest {
                success,
                ..Default::default()
            },
        )
        .await;
        let failure = vec![op(request.clone())];
        txn(
            ctx,
            &format!("{what}, not taken"),
            PbTxnRequest {
                failure,
                ..Default::default()
            },
        )
        .await;
        let inner = nested(PbTxnRequest {
            success: vec![op(request)],
            ..Default::default()
        });
        let success = vec![put(ctx, "a", "1"), inner];
        txn(
            ctx,
            &format!("{what}, nested"),
            PbTxnRequest {
                success,
                ..Default::default()
            },
        )
        .await;
        ctx.show("a").await;
    }
}

async fn bad_requests(ctx: &mut Ctx) {
    let requests = [
        (
            "compare of no key",
            PbTxnRequest {
                compare: vec![PbCompare::default()],
                ..Default::default()
            },
        ),
        (
            "range of no key",
            PbTxnRequest {
                success: vec![op(PbTxnOpRequest::RequestRange(PbRangeRequest::default()))],
                ..Default::default()
            },
        ),
        (
            "put of no key",
            PbTxnRequest {
                failure: vec![op(PbTxnOpRequest::RequestPut(PbPutRequest::default()))],
                ..Default::default()
            },
        ),
        (
            "delete of no key",
            PbTxnRequest {
                success: vec![op(PbTxnOpRequest::RequestDeleteRange(
                    PbDeleteRequest::default(),
                ))],
                ..Default::default()
            },
        ),
        (
            "no operation in an operation",
            PbTxnRequest {
                success: vec![PbTxnRequestOp { request: None }],
                ..Default::default()
            },
        ),
    ];
    for (what, request) in requests {
        txn(ctx, what, request).await;
    }
}
