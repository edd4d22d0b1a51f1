//! Owns the cases of the KV service: revisions, intervals, sorting, reads in the past, compaction.
//! Leaves transactions to `txn`.

use std::time::Duration;

use etcd_client::proto::{PbCompactionRequest, PbDeleteRequest, PbPutRequest, PbRangeRequest};
use leadership_testkit::Version;

use super::harness::{Ctx, Group, cases};

pub(crate) fn group() -> Group {
    Group {
        name: "kv",
        members: 1,
        token_ttl: Duration::from_secs(300),
        fresh: false,
        cases: cases![
            a_key_has_revisions_and_versions,
            flags_of_a_put,
            intervals,
            limit_count_and_keys_only,
            sorting,
            filters_by_revision,
            reads_in_the_past,
            deletes,
            bad_requests,
            sizes,
            compaction,
            a_tombstone_at_the_compacted_revision,
        ],
    }
}

async fn a_key_has_revisions_and_versions(ctx: &mut Ctx) {
    ctx.show("a").await;
    ctx.put("a", "1").await;
    ctx.put("a", "2").await;
    ctx.put("b", "").await;
    ctx.show("a").await;
    ctx.delete("a").await;
    ctx.show("a").await;
    ctx.put("a", "3").await;
    ctx.show("a").await;
    let request = PbPutRequest {
        key: ctx.key("a"),
        value: b"4".to_vec(),
        prev_kv: true,
        ..Default::default()
    };
    let answer = ctx.raw.put(request).await;
    ctx.answer("put asking for the value before", answer, |ctx, answer| {
        format!(
            "{} before: {}",
            ctx.header(answer.header),
            answer.prev_kv.map_or("none".to_owned(), |kv| ctx.kv(&kv))
        )
    });
}

async fn flags_of_a_put(ctx: &mut Ctx) {
    let lease = ctx.grant("L", 60, 0).await;
    ctx.put_on("a", "1", lease).await;
    for (what, request) in [
        (
            "keep the value",
            PbPutRequest {
                ignore_value: true,
                lease,
                ..Default::default()
            },
        ),
        (
            "keep the lease",
            PbPutRequest {
                ignore_lease: true,
                value: b"2".to_vec(),
                ..Default::default()
            },
        ),
        (
            "keep both",
            PbPutRequest {
                ignore_lease: true,
                ignore_value: true,
                ..Default::default()
            },
        ),
        (
            "drop the lease",
            PbPutRequest {
                ignore_value: true,
                ..Default::default()
            },
        ),
        (
            "keep the value, and give one",
            PbPutRequest {
                ignore_value: true,
                value: b"3".to_vec(),
                ..Default::default()
            },
        ),
        (
            "keep the lease, and give one",
            PbPutRequest {
                ignore_lease: true,
                lease,
                ..Default::default()
            },
        ),
        (
            "a lease that is not there",
            PbPutRequest {
                lease: 4711,
                ..Default::default()
            },
        ),
    ] {
        let answer = ctx
            .raw
            .put(PbPutRequest {
                key: ctx.key("a"),
                ..request
            })
            .await;
        ctx.answer(what, answer, |ctx, answer| ctx.header(answer.header));
        ctx.show("a").await;
    }
    for (what, request) in [
        (
            "keep the value of nothing",
            PbPutRequest {
                ignore_value: true,
                ..Default::default()
            },
        ),
        (
            "keep the lease of nothing",
            PbPutRequest {
                ignore_lease: true,
                ..Default::default()
            },
        ),
    ] {
        let answer = ctx
            .raw
            .put(PbPutRequest {
                key: ctx.key("absent"),
                ..request
            })
            .await;
        ctx.answer(what, answer, |ctx, answer| ctx.header(answer.header));
    }
}

async fn range(ctx: &mut Ctx, what: &str, request: PbRangeRequest) {
    let answer = ctx.raw.range(request).await;
    ctx.answer(what, answer, |ctx, answer| {
        format!(
            "{} count {}{} at {}",
            ctx.kvs(&answer.kvs),
            answer.count,
            if answer.more { " more" } else { "" },
            ctx.header(answer.header)
        )
    });
}

/// The interval of all keys of this case.
fn all(ctx: &Ctx) -> PbRangeRequest {
    let mut range_end = ctx.key("");
    *range_end.last_mut().unwrap() += 1;
    PbRangeRequest {
        key: ctx.key(""),
        range_end,
        ..Default::default()
    }
}

async fn intervals(ctx: &mut Ctx) {
    for name in ["a", "b", "ba", "c"] {
        ctx.put(name, name).await;
    }
    let everything = all(ctx);
    range(
        ctx,
        "one",
        PbRangeRequest {
            key: ctx.key("b"),
            ..Default::default()
        },
    )
    .await;
    range(
        ctx,
        "from a before b",
        PbRangeRequest {
            key: ctx.key("a"),
            range_end: ctx.key("b"),
            ..Default::default()
        },
    )
    .await;
    range(
        ctx,
        "from b before c",
        PbRangeRequest {
            key: ctx.key("b"),
            range_end: ctx.key("c"),
            ..Default::default()
        },
    )
    .await;
    range(ctx, "with the prefix", everything).await;
    range(
        ctx,
        "an end before the start",
        PbRangeRequest {
            key: ctx.key("c"),
            range_end: ctx.key("a"),
            ..Default::default()
        },
    )
    .await;
    range(
        ctx,
        "an end at the start",
        PbRangeRequest {
            key: ctx.key("b"),
            range_end: ctx.key("b"),
            ..Default::default()
        },
    )
    .await;
    // What other cases left lies before the letter z.
    let answer = ctx
        .raw
        .put(PbPutRequest {
            key: b"zz".to_vec(),
            ..Default::default()
        })
        .await;
    ctx.answer("put zz", answer, |ctx, answer| ctx.header(answer.header));
    range(
        ctx,
        "all from z on",
        PbRangeRequest {
            key: b"z".to_vec(),
            range_end: vec![0],
            ..Default::default()
        },
    )
    .await;
    let answer = ctx
        .raw
        .delete(PbDeleteRequest {
            key: b"z".to_vec(),
            range_end: vec![0],
            ..Default::default()
        })
        .await;
    ctx.answer("delete all from z on", answer, |ctx, answer| {
        format!("{} at {}", answer.deleted, ctx.header(answer.header))
    });
}

async fn limit_count_and_keys_only(ctx: &mut Ctx) {
    for name in ["a", "b", "c"] {
        ctx.put(name, name).await;
    }
    let everything = all(ctx);
    for limit in [0, 1, 2, 3, 4, -1] {
        range(
            ctx,
            &format!("limit {limit}"),
            PbRangeRequest {
                limit,
                ..everything.clone()
            },
        )
        .await;
    }
    range(
        ctx,
        "count",
        PbRangeRequest {
            count_only: true,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "count with a limit",
        PbRangeRequest {
            count_only: true,
            limit: 1,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "keys",
        PbRangeRequest {
            keys_only: true,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "serializable",
        PbRangeRequest {
            serializable: true,
            limit: 1,
            ..everything
        },
    )
    .await;
}

async fn sorting(ctx: &mut Ctx) {
    for (name, value) in [
        ("b", "2"),
        ("c", "1"),
        ("a", "3"),
        ("b", "0"),
        ("c", "9"),
        ("c", "8"),
    ] {
        ctx.put(name, value).await;
    }
    let everything = all(ctx);
    for (target, what) in ["key", "version", "create", "mod", "value"]
        .into_iter()
        .enumerate()
    {
        for (order, how) in ["unsorted", "ascending", "descending"]
            .into_iter()
            .enumerate()
        {
            let request = PbRangeRequest {
                sort_target: i32::try_from(target).unwrap(),
                sort_order: i32::try_from(order).unwrap(),
                ..everything.clone()
            };
            range(ctx, &format!("{what} {how}"), request).await;
        }
    }
    range(
        ctx,
        "the oldest",
        PbRangeRequest {
            sort_target: 2,
            sort_order: 1,
            limit: 1,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "the newest",
        PbRangeRequest {
            sort_target: 2,
            sort_order: 2,
            limit: 1,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "an unknown order",
        PbRangeRequest {
            sort_order: 3,
            ..everything.clone()
        },
    )
    .await;
    // It ends the process of an etcd before 3.6.
    if ctx.version >= Version::V3_6 {
        range(
            ctx,
            "an unknown target",
            PbRangeRequest {
                sort_target: 5,
                ..everything
            },
        )
        .await;
    }
}

async fn filters_by_revision(ctx: &mut Ctx) {
    for (name, value) in [("a", "1"), ("b", "1"), ("c", "1"), ("a", "2")] {
        ctx.put(name, value).await;
    }
    let everything = all(ctx);
    let two = ctx.at(2);
    range(
        ctx,
        "mod up to +2",
        PbRangeRequest {
            max_mod_revision: two,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "mod from +2",
        PbRangeRequest {
            min_mod_revision: two,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "created up to +2",
        PbRangeRequest {
            max_create_revision: two,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "created from +2",
        PbRangeRequest {
            min_create_revision: two,
            ..everything.clone()
        },
    )
    .await;
    range(
        ctx,
        "created up to +2, one of them",
        PbRangeRequest {
            max_create_revision: two,
            limit: 1,
            ..everything
        },
    )
    .await;
}

async fn reads_in_the_past(ctx: &mut Ctx) {
    ctx.put("a", "1").await;
    ctx.put("a", "2").await;
    ctx.delete("a").await;
    ctx.put("a", "3").await;
    for relative in 0..=5 {
        let request = PbRangeRequest {
            key: ctx.key("a"),
            revision: ctx.at(relative),
            ..Default::default()
        };
        range(ctx, &format!("at +{relative}"), request).await;
    }
}

async fn deletes(ctx: &mut Ctx) {
    ctx.delete("a").await;
    for name in ["a", "b", "c"] {
        ctx.put(name, name).await;
    }
    let request = PbDeleteRequest {
        key: ctx.key("a"),
        range_end: ctx.key("c"),
        prev_kv: true,
    };
    let answer = ctx.raw.delete(request.clone()).await;
    ctx.answer("delete from a before c", answer, |ctx, answer| {
        format!(
            "{} at {}: {}",
            answer.deleted,
            ctx.header(answer.header),
            ctx.kvs(&answer.prev_kvs)
        )
    });
    let answer = ctx.raw.delete(request).await;
    ctx.answer("again", answer, |ctx, answer| {
        format!("{} at {}", answer.deleted, ctx.header(answer.header))
    });
    let everything = all(ctx);
    range(ctx, "left", everything).await;
}

async fn bad_requests(ctx: &mut Ctx) {
    range(ctx, "range of no key", PbRangeRequest::default()).await;
    let answer = ctx.raw.put(PbPutRequest::default()).await;
    ctx.answer("put of no key", answer, |ctx, answer| {
        ctx.header(answer.header)
    });
    let answer = ctx.raw.delete(PbDeleteRequest::default()).await;
    ctx.answer("delete of no key", answer, |ctx, answer| {
        ctx.header(answer.header)
    });
    ctx.show("a").await;
}

async fn sizes(ctx: &mut Ctx) {
    // etcd's limit is 1.5 MiB for a request, gRPC's 0.5 MiB more.
    for (what, bytes) in [
        ("1.4 MiB", 1_433 * 1024),
        ("1.6 MiB", 1_638 * 1024),
        ("2.5 MiB", 2_560 * 1024),
    ] {
        let answer = ctx
            .raw
            .put(PbPutRequest {
                key: ctx.key("a"),
                value: vec![b'x'; bytes],
                ..Default::default()
            })
            .await;
        let answer = answer.map_err(|status| {
            tonic::Status::new(
                status.code(),
                status.message().split(" (").next().unwrap_or_default(),
            )
        });
        ctx.answer(what, answer, |ctx, answer| ctx.header(answer.header));
    }
    ctx.delete("a").await;
}

async fn compact(ctx: &mut Ctx, what: &str, relative: i64) {
    let answer = ctx
        .raw
        .compact(PbCompactionRequest {
            revision: ctx.at(relative),
            physical: true,
        })
        .await;
    ctx.answer(what, answer, |ctx, answer| ctx.header(answer.header));
}

async fn compaction(ctx: &mut Ctx) {
    for value in ["1", "2", "3", "4"] {
        ctx.put("a", value).await;
    }
    ctx.put("gone", "1").await;
    ctx.delete("gone").await;
    ctx.put("b", "1").await;
    compact(ctx, "compact to +3", 3).await;
    for relative in 2..=4 {
        let request = PbRangeRequest {
            key: ctx.key("a"),
            revision: ctx.at(relative),
            ..Default::default()
        };
        range(ctx, &format!("read at +{relative}"), request).await;
    }
    compact(ctx, "again", 3).await;
    compact(ctx, "further back", 2).await;
    compact(ctx, "in the future", 8).await;
    compact(ctx, "to now", 7).await;
    ctx.show("a").await;
    ctx.put("gone", "2").await;
    ctx.show("gone").await;
}

async fn a_tombstone_at_the_compacted_revision(ctx: &mut Ctx) {
    ctx.put("a", "1").await;
    ctx.delete("a").await;
    compact(ctx, "compact to the delete", 2).await;
    let request = PbRangeRequest {
        key: ctx.key("a"),
        revision: ctx.at(2),
        ..Default::default()
    };
    range(ctx, "read there", request).await;
}
