//! Owns the cases of watch streams: creates and their refusals, starts, cancels, compaction, progress, filters.
//! Leaves dead tokens and lost permissions to `auth`, quorum and elections to `cluster`.

use std::time::Duration;

use etcd_client::WatchFilterType;
use etcd_client::proto::{PbCompactionRequest, PbDeleteRequest, PbWatchRequest, PbWatchResponse};
use leadership_tests::raw::{Stream, cancel, create, progress};

use super::harness::{Ctx, Group, SOON, cases};

pub(crate) fn group() -> Group {
    Group {
        name: "watch",
        members: 1,
        token_ttl: Duration::from_secs(300),
        fresh: false,
        cases: cases![
            ids,
            many_creates_are_answered_in_order,
            refused_creates,
            strange_creates,
            starts,
            a_start_to_come,
            values_before_and_filters,
            each_watcher_has_its_own_message,
            many_revisions_in_one_message,
            cancelling,
            compaction_holds_the_id,
            compaction_leaves_those_who_have_caught_up,
            progress_of_those_who_have_caught_up,
            progress_with_a_future_watcher,
            a_probe_that_works_everywhere,
        ],
    }
}

type Watch = Stream<PbWatchRequest, PbWatchResponse>;

/// Notes the next messages in the order of their text: etcd serves the watchers of one event in no order.
async fn together(ctx: &mut Ctx, watch: &mut Watch, count: usize) {
    let mut lines = Vec::new();
    for _ in 0..count {
        lines.push(match tokio::time::timeout(SOON, watch.next()).await {
            Err(_) => "nothing came".to_owned(),
            Ok(Err(status)) => format!("ended: {}", ctx.refusal(&status)),
            Ok(Ok(answer)) => ctx.watch_answer(&answer),
        });
    }
    lines.sort();
    lines
        .into_iter()
        .for_each(|line| ctx.note(format!("  < {line}")));
}

async fn ids(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    for id in [0, 0, 7, 3, 0, 0, 0, 8] {
        ctx.note(format!("create {id}"));
        watch.send(create(id, ctx.key("a"), 0));
        ctx.watched(&mut watch).await;
    }
    // Another stream counts for itself.
    let mut other = ctx.raw.watch().unwrap();
    other.send(create(7, ctx.key("a"), 0));
    ctx.watched(&mut other).await;
}

async fn many_creates_are_answered_in_order(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    for id in 1..=200 {
        watch.send(create(id, ctx.key(&format!("k{id}")), 0));
    }
    let mut in_order = 0;
    for id in 1..=200 {
        let answer = tokio::time::timeout(SOON, watch.next())
            .await
            .expect("an answer in time")
            .unwrap();
        in_order += i32::from(answer.created && !answer.canceled && answer.watch_id == id);
    }
    ctx.note(format!("created in order: {in_order}"));
}

async fn refused_creates(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(5, ctx.key("a"), 0));
    ctx.watched(&mut watch).await;
    ctx.note("the same id, an empty interval, and a good one");
    watch.send(create(5, ctx.key("b"), 0));
    watch.send(create(6, ctx.key("b"), 0).with_range(ctx.key("a")));
    watch.send(create(8, ctx.key("b"), 0).with_range(ctx.key("b")));
    watch.send(create(6, ctx.key("b"), 0));
    for _ in 0..4 {
        ctx.watched(&mut watch).await;
    }
    ctx.put("a", "1").await;
    ctx.watched(&mut watch).await;
    ctx.put("b", "1").await;
    ctx.watched(&mut watch).await;
}

async fn strange_creates(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    ctx.note("a negative start");
    watch.send(create(1, ctx.key("a"), -1));
    ctx.watched(&mut watch).await;
    ctx.note("no key: the first of all");
    watch.send(create(3, "", 0));
    ctx.watched(&mut watch).await;
    ctx.note("a negative id");
    watch.send(create(-5, ctx.key("b"), 0));
    ctx.watched(&mut watch).await;
    ctx.put("b", "1").await;
    ctx.watched(&mut watch).await;
}

async fn starts(ctx: &mut Ctx) {
    for value in ["1", "2", "3"] {
        ctx.put("a", value).await;
    }
    for (what, relative) in [
        ("now", None),
        ("at the first", Some(1)),
        ("at the last", Some(3)),
        ("after the last", Some(4)),
    ] {
        let mut watch = ctx.raw.watch().unwrap();
        ctx.note(what);
        watch.send(create(
            1,
            ctx.key("a"),
            relative.map_or(0, |relative| ctx.at(relative)),
        ));
        ctx.watched(&mut watch).await;
        if matches!(relative, Some(1 | 3)) {
            ctx.watched(&mut watch).await;
        } else {
            ctx.quiet(&mut watch).await;
        }
    }
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(1, ctx.key("a"), 0));
    ctx.watched(&mut watch).await;
    ctx.put("a", "4").await;
    ctx.watched(&mut watch).await;
    ctx.delete("a").await;
    ctx.watched(&mut watch).await;
    ctx.put("b", "1").await;
    ctx.quiet(&mut watch).await;
}

async fn a_start_to_come(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(1, ctx.key("a"), ctx.at(3)));
    ctx.watched(&mut watch).await;
    ctx.put("a", "1").await;
    ctx.put("a", "2").await;
    ctx.quiet(&mut watch).await;
    ctx.put("a", "3").await;
    ctx.watched(&mut watch).await;
}

async fn values_before_and_filters(ctx: &mut Ctx) {
    ctx.put("a", "1").await;
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(1, ctx.key("a"), 0).with_prev_key());
    watch.send(create(2, ctx.key("a"), 0).with_filters([WatchFilterType::NoPut]));
    watch.send(create(3, ctx.key("a"), 0).with_filters([WatchFilterType::NoDelete]));
    watch.send(
        create(4, ctx.key("a"), 0)
            .with_filters([WatchFilterType::NoPut, WatchFilterType::NoDelete]),
    );
    for _ in 0..4 {
        ctx.watched(&mut watch).await;
    }
    ctx.put("a", "2").await;
    together(ctx, &mut watch, 2).await;
    ctx.delete("a").await;
    together(ctx, &mut watch, 2).await;
    ctx.put("a", "3").await;
    together(ctx, &mut watch, 2).await;
    ctx.quiet(&mut watch).await;
}

async fn each_watcher_has_its_own_message(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(1, ctx.key("a"), 0));
    watch.send(create(2, ctx.key("b"), 0));
    watch.send(create(3, ctx.key(""), 0).with_prefix());
    watch.send(create(4, ctx.key("b"), 0).with_range(ctx.key("d")));
    for _ in 0..4 {
        ctx.watched(&mut watch).await;
    }
    for name in ["a", "b", "c"] {
        ctx.put(name, "1").await;
        together(ctx, &mut watch, if name == "b" { 3 } else { 2 }).await;
    }
    let request = PbDeleteRequest {
        key: ctx.key(""),
        range_end: ctx.key("z"),
        ..Default::default()
    };
    let answer = ctx.raw.delete(request).await;
    ctx.answer("delete all", answer, |ctx, answer| {
        format!("{} at {}", answer.deleted, ctx.header(answer.header))
    });
    together(ctx, &mut watch, 4).await;
}

async fn many_revisions_in_one_message(ctx: &mut Ctx) {
    ctx.put("a", "1").await;
    ctx.delete("a").await;
    ctx.put("b", "1").await;
    ctx.put("a", "2").await;
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(
        create(1, ctx.key(""), ctx.at(1))
            .with_prefix()
            .with_prev_key(),
    );
    ctx.watched(&mut watch).await;
    ctx.watched(&mut watch).await;
    ctx.put("a", "3").await;
    ctx.watched(&mut watch).await;
}

async fn cancelling(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    for id in [1, 2] {
        watch.send(create(id, ctx.key("a"), 0));
        ctx.watched(&mut watch).await;
    }
    ctx.note("cancel 1");
    watch.send(cancel(1));
    ctx.watched(&mut watch).await;
    ctx.note("again, and one that never was");
    watch.send(cancel(1));
    watch.send(cancel(99));
    ctx.quiet(&mut watch).await;
    ctx.put("a", "1").await;
    ctx.watched(&mut watch).await;
    ctx.note("its id is free again");
    watch.send(create(1, ctx.key("a"), 0));
    ctx.watched(&mut watch).await;
    ctx.put("a", "2").await;
    together(ctx, &mut watch, 2).await;
}

async fn compact(ctx: &mut Ctx, relative: i64) {
    let answer = ctx
        .raw
        .compact(PbCompactionRequest {
            revision: ctx.at(relative),
            physical: true,
        })
        .await;
    ctx.answer(
        &format!("compact to {relative:+}"),
        answer,
        |ctx, answer| ctx.header(answer.header),
    );
}

async fn compaction_holds_the_id(ctx: &mut Ctx) {
    for value in ["1", "2", "3", "4"] {
        ctx.put("a", value).await;
    }
    compact(ctx, 3).await;
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(1, ctx.key("a"), ctx.at(2)));
    ctx.watched(&mut watch).await;
    ctx.watched(&mut watch).await;
    ctx.note("the same id, from where it can");
    watch.send(create(1, ctx.key("a"), ctx.at(3)));
    ctx.watched(&mut watch).await;
    ctx.note("after a cancel");
    watch.send(cancel(1));
    ctx.watched(&mut watch).await;
    watch.send(create(1, ctx.key("a"), ctx.at(3)).with_prev_key());
    ctx.watched(&mut watch).await;
    ctx.watched(&mut watch).await;
}

async fn compaction_leaves_those_who_have_caught_up(ctx: &mut Ctx) {
    ctx.put("a", "1").await;
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(1, ctx.key("a"), ctx.at(1)).with_prev_key());
    ctx.watched(&mut watch).await;
    ctx.watched(&mut watch).await;
    ctx.put("b", "1").await;
    compact(ctx, 2).await;
    ctx.put("a", "2").await;
    ctx.watched(&mut watch).await;
}

async fn progress_of_those_who_have_caught_up(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    for id in [1, 2] {
        watch.send(create(id, ctx.key("a"), 0));
        ctx.watched(&mut watch).await;
    }
    ctx.put("b", "1").await;
    watch.send(progress());
    ctx.watched(&mut watch).await;
    ctx.note("without any watcher");
    let mut empty = ctx.raw.watch().unwrap();
    empty.send(progress());
    ctx.quiet(&mut empty).await;
}

async fn progress_with_a_future_watcher(ctx: &mut Ctx) {
    ctx.put("a", "1").await;
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(1, ctx.key("a"), 0));
    ctx.watched(&mut watch).await;
    watch.send(create(2, ctx.key("a"), ctx.at(2)));
    ctx.watched(&mut watch).await;
    watch.send(progress());
    ctx.quiet(&mut watch).await;
    ctx.note("it is not answered later");
    ctx.put("b", "1").await;
    ctx.quiet(&mut watch).await;
    ctx.note("somebody has written: a new one is");
    watch.send(progress());
    ctx.watched(&mut watch).await;
}

async fn a_probe_that_works_everywhere(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    // From one revision further on, as after every event; the store is idle.
    watch.send(create(1, ctx.key("a"), ctx.at(1)));
    ctx.watched(&mut watch).await;
    for id in [2, 3] {
        watch.send(create(id, ctx.key("probe"), 0));
        watch.send(cancel(id));
        ctx.watched(&mut watch).await;
        ctx.watched(&mut watch).await;
    }
}
