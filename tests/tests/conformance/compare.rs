//! Owns the cases of compares: every target and result, what is absent, intervals.
//! Leaves what is done then to `txn`.

use std::time::Duration;

use etcd_client::proto::{PbCompare, PbTargetUnion, PbTxnRequest};

use super::harness::{Ctx, Group, cases};
use super::txn::{compare, get, txn, version};

pub(crate) fn group() -> Group {
    Group {
        name: "compare",
        members: 1,
        token_ttl: Duration::from_secs(300),
        fresh: false,
        cases: cases![
            compares_with_what_is_there,
            compares_with_what_is_absent,
            compares_over_an_interval,
        ],
    }
}

/// EQUAL, GREATER, LESS, NOT_EQUAL.
const RESULTS: [&str; 4] = ["==", ">", "<", "!="];

/// Which results hold of a number that is below, at or above what is there.
async fn results(ctx: &mut Ctx, what: &str, name: &str, unions: [PbTargetUnion; 3]) {
    let mut line = Vec::new();
    for (union, against) in unions.into_iter().zip(["less", "same", "more"]) {
        for (result, sign) in RESULTS.iter().enumerate() {
            let request = PbTxnRequest {
                compare: vec![compare(ctx, name, union.clone(), result)],
                success: vec![get(ctx, name)],
                ..Default::default()
            };
            let holds = ctx.raw.txn(request).await.map(|answer| answer.succeeded);
            match holds {
                Ok(true) => line.push(format!("{sign} {against}")),
                Ok(false) => {}
                Err(status) => line.push(ctx.refusal(&status)),
            }
        }
    }
    ctx.note(format!("{what}: {}", line.join(", ")));
}

async fn compares_with_what_is_there(ctx: &mut Ctx) {
    let lease = ctx.grant("L", 60, 4713).await;
    ctx.put("a", "0").await;
    ctx.put("a", "1").await;
    ctx.put_on("a", "m", lease).await;
    let (create, modified) = (ctx.at(1), ctx.at(3));
    results(ctx, "version 3", "a", [2, 3, 4].map(PbTargetUnion::Version)).await;
    results(
        ctx,
        "create",
        "a",
        [create - 1, create, create + 1].map(PbTargetUnion::CreateRevision),
    )
    .await;
    results(
        ctx,
        "mod",
        "a",
        [modified - 1, modified, modified + 1].map(PbTargetUnion::ModRevision),
    )
    .await;
    results(
        ctx,
        "value",
        "a",
        ["l", "m", "mm"].map(|value| PbTargetUnion::Value(value.into())),
    )
    .await;
    results(
        ctx,
        "lease",
        "a",
        [lease - 1, lease, lease + 1].map(PbTargetUnion::Lease),
    )
    .await;
    // Without the other side it is compared with zero.
    let bare = PbCompare {
        target_union: None,
        ..version(ctx, "a", 0)
    };
    txn(
        ctx,
        "version == nothing",
        PbTxnRequest {
            compare: vec![bare],
            ..Default::default()
        },
    )
    .await;
}

async fn compares_with_what_is_absent(ctx: &mut Ctx) {
    results(ctx, "version", "a", [-1, 0, 1].map(PbTargetUnion::Version)).await;
    results(
        ctx,
        "create",
        "a",
        [-1, 0, 1].map(PbTargetUnion::CreateRevision),
    )
    .await;
    results(ctx, "mod", "a", [-1, 0, 1].map(PbTargetUnion::ModRevision)).await;
    results(
        ctx,
        "value",
        "a",
        ["", "", "x"].map(|value| PbTargetUnion::Value(value.into())),
    )
    .await;
    results(ctx, "lease", "a", [-1, 0, 1].map(PbTargetUnion::Lease)).await;
    ctx.put("a", "").await;
    results(
        ctx,
        "an empty value",
        "a",
        ["", "", "x"].map(|value| PbTargetUnion::Value(value.into())),
    )
    .await;
    ctx.delete("a").await;
    results(
        ctx,
        "create of a deleted one",
        "a",
        [-1, 0, 1].map(PbTargetUnion::CreateRevision),
    )
    .await;
}

async fn compares_over_an_interval(ctx: &mut Ctx) {
    let over = |ctx: &Ctx, mut compare: PbCompare| {
        compare.range_end = ctx.key("c");
        PbTxnRequest {
            compare: vec![compare],
            success: vec![get(ctx, "a")],
            ..Default::default()
        }
    };
    let none = compare(ctx, "a", PbTargetUnion::CreateRevision(0), 0);
    let request = over(ctx, none.clone());
    txn(ctx, "none of them, while there is none", request).await;
    let request = over(
        ctx,
        compare(ctx, "a", PbTargetUnion::Value(b"1".to_vec()), 0),
    );
    txn(ctx, "value of nothing", request).await;
    ctx.put("a", "1").await;
    ctx.put("b", "1").await;
    ctx.put("c", "9").await;
    let request = over(
        ctx,
        compare(ctx, "a", PbTargetUnion::Value(b"1".to_vec()), 0),
    );
    txn(ctx, "all values 1", request).await;
    ctx.put("b", "2").await;
    let request = over(
        ctx,
        compare(ctx, "a", PbTargetUnion::Value(b"1".to_vec()), 0),
    );
    txn(ctx, "not all", request).await;
    let request = over(ctx, none);
    txn(ctx, "none of them, while there are two", request).await;
}
