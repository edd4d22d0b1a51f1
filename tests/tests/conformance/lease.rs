//! Owns the cases of leases: granting, renewing, ending, and the keys that hang on them.
//! Leaves followers and elections to `cluster`, permissions to `auth`.

use std::time::Duration;

use etcd_client::proto::{
    PbLeaseKeepAliveRequest, PbLeaseLeasesRequest, PbLeaseRevokeRequest, PbLeaseTimeToLiveRequest,
};
use leadership_tests::raw::create;

use super::harness::{Ctx, Group, SOON, cases};

pub(crate) fn group() -> Group {
    Group {
        name: "lease",
        members: 1,
        token_ttl: Duration::from_secs(300),
        fresh: false,
        cases: cases![
            granting,
            time_to_live,
            the_list,
            revoking,
            a_key_moves_between_leases,
            renewing,
            a_stream_carries_many_leases_in_order,
            expiry_deletes_the_keys_in_one_revision,
            renewals_keep_it_alive,
        ],
    }
}

async fn granting(ctx: &mut Ctx) {
    ctx.grant("own", 60, 0).await;
    ctx.grant("chosen", 60, 4711).await;
    ctx.grant("chosen again", 60, 4711).await;
    ctx.grant("small", 1, 0).await;
    ctx.grant("zero", 0, 0).await;
    ctx.grant("negative", -5, 0).await;
    ctx.grant("largest", 9_000_000_000, 0).await;
    ctx.grant("too large", 9_000_000_001, 0).await;
    ctx.grant("negative id", 60, -7).await;
    ctx.put_on("a", "1", 99).await;
}

async fn left(ctx: &mut Ctx, what: &str, id: i64, keys: bool) {
    let answer = ctx
        .raw
        .time_to_live(PbLeaseTimeToLiveRequest { id, keys })
        .await;
    ctx.answer(&format!("time to live of {what}"), answer, |ctx, answer| {
        // A whole second may pass between the grant and this.
        let ttl = if answer.ttl < 0 {
            answer.ttl.to_string()
        } else if answer.granted_ttl - answer.ttl <= 2 {
            "nearly all".to_owned()
        } else {
            "too little".to_owned()
        };
        let mut keys: Vec<String> = answer.keys.iter().map(|key| ctx.name_of(key)).collect();
        keys.sort();
        format!(
            "{ttl} of {} s, keys {keys:?} at {}",
            answer.granted_ttl,
            ctx.header(answer.header)
        )
    });
}

async fn time_to_live(ctx: &mut Ctx) {
    let lease = ctx.grant("L", 60, 0).await;
    ctx.put_on("b", "1", lease).await;
    ctx.put_on("a", "1", lease).await;
    left(ctx, "L", lease, false).await;
    left(ctx, "L with keys", lease, true).await;
    ctx.delete("a").await;
    ctx.put("b", "2").await;
    left(ctx, "L with keys", lease, true).await;
    left(ctx, "an unknown one", 4712, true).await;
}

async fn the_list(ctx: &mut Ctx) {
    ctx.grant("long", 6000, 0).await;
    ctx.grant("short", 3000, 0).await;
    ctx.grant("middle", 4500, 0).await;
    let answer = ctx.raw.leases(PbLeaseLeasesRequest {}).await;
    ctx.answer("leases", answer, |ctx, answer| {
        let names: Vec<String> = answer
            .leases
            .iter()
            .map(|lease| ctx.lease_name(lease.id))
            .filter(|name| !name.starts_with("an "))
            .collect();
        format!("{names:?}")
    });
}

async fn revoke(ctx: &mut Ctx, what: &str, id: i64) {
    let answer = ctx.raw.revoke(PbLeaseRevokeRequest { id }).await;
    ctx.answer(&format!("revoke {what}"), answer, |ctx, answer| {
        ctx.header(answer.header)
    });
}

async fn revoking(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(7, ctx.key(""), 0).with_prefix().with_prev_key());
    ctx.watched(&mut watch).await;
    let lease = ctx.grant("L", 60, 0).await;
    for name in ["b", "a", "c"] {
        ctx.put_on(name, "1", lease).await;
        ctx.watched(&mut watch).await;
    }
    revoke(ctx, "L", lease).await;
    ctx.watched(&mut watch).await;
    ctx.show("a").await;
    revoke(ctx, "L again", lease).await;
    ctx.put_on("a", "2", lease).await;
    let empty = ctx.grant("without keys", 60, 0).await;
    revoke(ctx, "one without keys", empty).await;
    revoke(ctx, "an unknown one", 4712).await;
}

async fn a_key_moves_between_leases(ctx: &mut Ctx) {
    let old = ctx.grant("old", 60, 0).await;
    let new = ctx.grant("new", 60, 0).await;
    ctx.put_on("a", "1", old).await;
    ctx.put_on("a", "2", new).await;
    left(ctx, "old", old, true).await;
    revoke(ctx, "old", old).await;
    ctx.show("a").await;
    ctx.put("a", "3").await;
    revoke(ctx, "new", new).await;
    ctx.show("a").await;
}

async fn renewing(ctx: &mut Ctx) {
    let lease = ctx.grant("L", 60, 0).await;
    ctx.put_on("a", "1", lease).await;
    let mut stream = ctx.raw.keep_alive().unwrap();
    ctx.renew(&mut stream, lease).await;
    // A lease that is not there is answered with 0, and the stream lives.
    ctx.renew(&mut stream, 4712).await;
    revoke(ctx, "L", lease).await;
    ctx.renew(&mut stream, lease).await;
    ctx.renew(&mut stream, 0).await;
    let other = ctx.grant("M", 2, 0).await;
    ctx.renew(&mut stream, other).await;
    let header = {
        stream.send(PbLeaseKeepAliveRequest { id: other });
        stream.next().await.unwrap().header.unwrap_or_default()
    };
    let read = ctx
        .raw
        .get(ctx.key("a"))
        .await
        .unwrap()
        .header
        .unwrap_or_default();
    ctx.note(format!("the header is a read's: {}", header == read));
    ctx.note(format!(
        "ids and term are there: {}",
        header.cluster_id != 0 && header.member_id != 0 && header.raft_term >= 2
    ));
}

async fn a_stream_carries_many_leases_in_order(ctx: &mut Ctx) {
    let mut leases = Vec::new();
    for name in ["A", "B", "C"] {
        leases.push(ctx.grant(name, 60, 0).await);
    }
    let mut stream = ctx.raw.keep_alive().unwrap();
    for id in [2, 0, 1, 1, 0] {
        stream.send(PbLeaseKeepAliveRequest { id: leases[id] });
    }
    stream.send(PbLeaseKeepAliveRequest { id: 4712 });
    stream.send(PbLeaseKeepAliveRequest { id: leases[2] });
    for _ in 0..7 {
        ctx.renewed(&mut stream).await;
    }
}

async fn expiry_deletes_the_keys_in_one_revision(ctx: &mut Ctx) {
    let mut watch = ctx.raw.watch().unwrap();
    watch.send(create(0, ctx.key(""), 0).with_prefix().with_prev_key());
    ctx.watched(&mut watch).await;
    let lease = ctx.grant("L", 2, 0).await;
    let granted = tokio::time::Instant::now();
    ctx.put_on("b", "1", lease).await;
    ctx.put_on("a", "1", lease).await;
    ctx.watched(&mut watch).await;
    ctx.watched(&mut watch).await;
    ctx.watched(&mut watch).await;
    let took = granted.elapsed();
    // It counts from the grant, which came back a little later than it was done; etcd looks for ended ones twice a second.
    let in_time = took > Duration::from_millis(1900) && took < Duration::from_secs(4);
    ctx.note(format!(
        "after the TTL and not much later: {}",
        if in_time {
            "yes".to_owned()
        } else {
            format!("{took:?}")
        }
    ));
    left(ctx, "L", lease, true).await;
}

async fn renewals_keep_it_alive(ctx: &mut Ctx) {
    let lease = ctx.grant("L", 2, 0).await;
    ctx.put_on("a", "1", lease).await;
    let mut stream = ctx.raw.keep_alive().unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(5);
    let mut renewals = 0;
    let mut every = tokio::time::interval(Duration::from_millis(500));
    while tokio::time::Instant::now() < end {
        every.tick().await;
        stream.send(PbLeaseKeepAliveRequest { id: lease });
        let reply = tokio::time::timeout(SOON, stream.next())
            .await
            .expect("a reply in time")
            .unwrap();
        assert_eq!(reply.ttl, 2);
        renewals += 1;
    }
    ctx.note(format!("renewed again and again: {}", renewals >= 10));
    ctx.show("a").await;
}
