//! Owns the cases of three members: a leader that is stopped, renewals through a follower, a lost quorum, tokens.
//! Leaves what one member does alone to the other groups.

use std::time::Duration;

use etcd_client::proto::{
    PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseTimeToLiveRequest, PbPutRequest,
    PbStatusRequest, PbWatchRequest,
};
use leadership_tests::raw::{Raw, Stream, create};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use super::auth;
use super::harness::{Ctx, Group, SOON, cases};

/// Tokens live so long after their last use on a member.
const TOKEN_TTL: Duration = Duration::from_secs(3);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

pub(crate) fn group() -> Group {
    Group {
        name: "cluster",
        members: 3,
        token_ttl: TOKEN_TTL,
        fresh: true,
        cases: cases![
            members_agree,
            old_terms_in_replies_that_waited,
            a_follower_gives_up_on_a_stopped_leader,
            a_read_while_the_leader_is_stopped,
            an_election_starts_leases_anew,
            a_lost_quorum,
            tokens_live_on_each_member,
        ],
    }
}

type Renewals = Stream<PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse>;

/// The raft leader, and a member that is not.
async fn roles(ctx: &Ctx) -> (usize, usize) {
    let leader = ctx.leader().await;
    (leader, (leader + 1) % 3)
}

async fn term(raw: &Raw) -> u64 {
    raw.status(PbStatusRequest::default())
        .await
        .map_or(0, |status| status.raft_term)
}

/// Waits until this member follows the leader of a term above `old` and reads through it; answers the new term.
async fn elected(raw: &Raw, old: u64) -> u64 {
    let until = Instant::now() + SOON;
    loop {
        if let Ok(status) = raw.status(PbStatusRequest::default()).await
            && status.raft_term > old
            && status.leader != 0
            // A member refuses the reads it has begun when it hears of the new leader.
            && raw.get("settled").await.is_ok()
        {
            return status.raft_term;
        }
        assert!(Instant::now() < until, "no new leader within {SOON:?}");
        sleep(POLL).await;
    }
}

fn in_term(reply: &PbLeaseKeepAliveResponse, old: u64) -> &'static str {
    let term = reply.header.as_ref().map_or(0, |header| header.raft_term);
    if term == old {
        "the old term"
    } else if term > old {
        "a newer term"
    } else {
        "a strange term"
    }
}

async fn reply(ctx: &mut Ctx, what: &str, stream: &mut Renewals, old: u64) {
    let shown = match timeout(SOON, stream.next()).await {
        Err(_) => "nothing came".to_owned(),
        Ok(Err(status)) => format!("ended: {}", ctx.refusal(&status)),
        Ok(Ok(reply)) => format!(
            "{} {} s in {}",
            ctx.lease_name(reply.id),
            reply.ttl,
            in_term(&reply, old)
        ),
    };
    ctx.note(format!("{what}: {shown}"));
}

async fn members_agree(ctx: &mut Ctx) {
    let (leader, _) = roles(ctx).await;
    let mut ids = Vec::new();
    let mut seen = Vec::new();
    let lease = ctx.grant("L", 60, 0).await;
    ctx.put("a", "1").await;
    for raw in ctx.members.clone() {
        let status = raw.status(PbStatusRequest::default()).await.unwrap();
        let read = raw.get(ctx.key("a")).await.unwrap();
        let mut stream = raw.keep_alive().unwrap();
        stream.send(PbLeaseKeepAliveRequest { id: lease });
        let reply = timeout(SOON, stream.next())
            .await
            .expect("a reply in time")
            .unwrap();
        let (header, renewed) = (
            read.header.unwrap_or_default(),
            reply.header.unwrap_or_default(),
        );
        ctx.note(format!(
            "read {} at {}; renewed {} s, the same header: {}",
            ctx.kvs(&read.kvs),
            ctx.revision(header.revision),
            reply.ttl,
            header == renewed
        ));
        ids.push(header.member_id);
        seen.push((
            status.leader,
            status.raft_term,
            header.raft_term,
            header.cluster_id,
        ));
    }
    let first = seen[0];
    ctx.note(format!(
        "one leader, term and cluster: {}",
        seen.iter().all(|one| *one == first) && first.1 == first.2
    ));
    ctx.note(format!(
        "the leader is the one that says so: {}",
        ids[leader] == first.0
    ));
    ids.sort_unstable();
    ids.dedup();
    ctx.note(format!("ids of their own: {}", ids.len() == 3));
}

/// What a follower has handed to a leader that was stopped comes back when that one wakes, in the order of the stream:
/// one renewal at a time, each with the term that the follower knew when it came to it.
async fn old_terms_in_replies_that_waited(ctx: &mut Ctx) {
    let (leader, follower) = roles(ctx).await;
    let raw = ctx.members[follower].clone();
    let old = term(&raw).await;
    let (first, second) = (ctx.grant("A", 60, 0).await, ctx.grant("B", 60, 0).await);
    let mut stream = raw.keep_alive().unwrap();
    let mut other = raw.keep_alive().unwrap();
    for (name, stream) in [("a stream", &mut stream), ("another", &mut other)] {
        stream.send(PbLeaseKeepAliveRequest { id: first });
        reply(ctx, name, stream, old).await;
    }
    ctx.stop(leader);
    stream.send(PbLeaseKeepAliveRequest { id: first });
    let new = elected(&raw, old).await;
    ctx.note(format!("a new leader: {}", new > old));
    stream.send(PbLeaseKeepAliveRequest { id: second });
    other.send(PbLeaseKeepAliveRequest { id: second });
    reply(ctx, "the other stream, at once", &mut other, old).await;
    // The second renewal could be done, as the other stream shows, but for the first one before it.
    let early = timeout(Duration::from_millis(500), stream.next())
        .await
        .is_ok();
    ctx.note(format!("the first stream, answered already: {early}"));
    ctx.cont(leader);
    // The leader may wake as one, or hear of its successor first and send the follower there: renewed either way.
    reply(ctx, "what waited", &mut stream, old).await;
    reply(ctx, "what waited behind it", &mut stream, old).await;
}

/// Rounded, so that a busy machine does not matter.
fn seconds(took: Duration, between: std::ops::Range<u64>) -> String {
    let expected = Duration::from_secs(between.start)..Duration::from_secs(between.end);
    if expected.contains(&took) {
        format!("after {} to {} s", between.start, between.end)
    } else {
        format!("after {took:?}")
    }
}

async fn a_follower_gives_up_on_a_stopped_leader(ctx: &mut Ctx) {
    let (leader, follower) = roles(ctx).await;
    let raw = ctx.members[follower].clone();
    let old = term(&raw).await;
    let lease = ctx.grant("L", 60, 0).await;
    let mut stream = raw.keep_alive().unwrap();
    stream.send(PbLeaseKeepAliveRequest { id: lease });
    reply(ctx, "before", &mut stream, old).await;
    ctx.stop(leader);
    let stopped = Instant::now();
    stream.send(PbLeaseKeepAliveRequest { id: lease });
    // Handed to the leader before anybody missed it: whether it is applied when that one wakes, nobody can say.
    let write = raw.put(PbPutRequest {
        key: ctx.key("a"),
        ..Default::default()
    });
    let (write, ()) = tokio::join!(
        timeout(SOON, write),
        reply(ctx, "through a follower", &mut stream, old)
    );
    let write = write.unwrap_or_else(|_| Err(Status::unknown("nothing came")));
    // etcd adds a guess at the reason if the next leader was elected within two election timeouts.
    let plain = |status: Status| {
        let text = status.message().split(',').next().unwrap_or_default();
        Status::new(status.code(), text)
    };
    let write = write.map_err(plain);
    ctx.answer("a write through a follower", write, |ctx, answer| {
        ctx.header(answer.header)
    });
    ctx.note(seconds(stopped.elapsed(), 6..10));
    elected(&raw, old).await;
    let mut stream = raw.keep_alive().unwrap();
    stream.send(PbLeaseKeepAliveRequest { id: lease });
    reply(ctx, "a new stream", &mut stream, old).await;
}

async fn a_read_while_the_leader_is_stopped(ctx: &mut Ctx) {
    let (leader, follower) = roles(ctx).await;
    let raw = ctx.members[follower].clone();
    let old = term(&raw).await;
    ctx.raw = raw.clone();
    ctx.put("a", "1").await;
    ctx.stop(leader);
    let stopped = Instant::now();
    let answer = timeout(SOON, raw.get(ctx.key("a")))
        .await
        .unwrap_or_else(|_| Err(Status::unknown("nothing came")));
    ctx.answer("a read through a follower", answer, |ctx, answer| {
        ctx.kvs(&answer.kvs)
    });
    ctx.note(seconds(stopped.elapsed(), 0..6));
    elected(&raw, old).await;
    ctx.show("a").await;
    ctx.put("a", "2").await;
    ctx.cont(leader);
    // The old leader follows, and knows what it missed.
    let woken = ctx.members[leader].clone();
    elected(&woken, old).await;
    let answer = woken.get(ctx.key("a")).await;
    ctx.answer("a read at the old leader", answer, |ctx, answer| {
        ctx.kvs(&answer.kvs)
    });
}

async fn an_election_starts_leases_anew(ctx: &mut Ctx) {
    let (leader, follower) = roles(ctx).await;
    let raw = ctx.members[follower].clone();
    ctx.raw = raw.clone();
    let old = term(&raw).await;
    let id = ctx.grant("L", 10, 0).await;
    ctx.put_on("a", "1", id).await;
    let left = async || {
        raw.time_to_live(PbLeaseTimeToLiveRequest { id, keys: false })
            .await
            .map_or(-1, |answer| answer.ttl)
    };
    let until = Instant::now() + SOON;
    while left().await > 7 {
        assert!(Instant::now() < until, "the lease does not run down");
        sleep(POLL).await;
    }
    ctx.kill(leader).await;
    elected(&raw, old).await;
    // Asked before it is the leader for good, a new one refuses.
    let anew = loop {
        match left().await {
            ttl if ttl < 0 && Instant::now() < until => sleep(POLL).await,
            ttl => break ttl,
        }
    };
    ctx.note(format!(
        "it has as long as at the start, or a little longer: {}",
        if (9..=13).contains(&anew) {
            "yes".to_owned()
        } else {
            anew.to_string()
        }
    ));
    ctx.show("a").await;
    ctx.put("b", "1").await;
}

async fn a_lost_quorum(ctx: &mut Ctx) {
    let (leader, follower) = roles(ctx).await;
    let third = (0..3)
        .find(|index| *index != leader && *index != follower)
        .unwrap_or_default();
    let raw = ctx.members[follower].clone();
    let asking = raw.with_leader();
    ctx.raw = raw.clone();
    let lease = ctx.grant("L", 60, 0).await;
    let mut plain = raw.watch().unwrap();
    let mut watch = asking.watch().unwrap();
    let mut stream = asking.keep_alive().unwrap();
    for watch in [&mut plain, &mut watch] {
        watch.send(create(1, ctx.key("a"), 0));
        ctx.watched(watch).await;
    }
    ctx.put("a", "1").await;
    ctx.watched(&mut plain).await;
    ctx.watched(&mut watch).await;
    ctx.renew(&mut stream, lease).await;
    ctx.stop(leader);
    ctx.stop(third);
    let stopped = Instant::now();
    ctx.note("the quorum is gone: streams that asked for a leader");
    ctx.watched(&mut watch).await;
    ctx.renewed(&mut stream).await;
    ctx.note(seconds(stopped.elapsed(), 2..8));
    let asked = Instant::now();
    let answer = asking.get(ctx.key("a")).await;
    ctx.answer("a read that asks for a leader", answer, |ctx, answer| {
        ctx.kvs(&answer.kvs)
    });
    let answer = asking
        .put(PbPutRequest {
            key: ctx.key("b"),
            ..Default::default()
        })
        .await;
    ctx.answer("a write that does", answer, |ctx, answer| {
        ctx.header(answer.header)
    });
    let mut late = asking.watch().unwrap();
    late.send(create(1, ctx.key("a"), 0));
    ctx.note("a watch stream that does");
    ctx.watched(&mut late).await;
    ctx.note(format!(
        "at once: {}",
        asked.elapsed() < Duration::from_millis(500)
    ));
    let asked = Instant::now();
    let read = raw.get(ctx.key("a"));
    let write = raw.put(PbPutRequest {
        key: ctx.key("b"),
        ..Default::default()
    });
    let (read, write) = tokio::join!(read, write);
    ctx.answer("a read that does not", read, |ctx, answer| {
        ctx.kvs(&answer.kvs)
    });
    ctx.answer("a write that does not", write, |ctx, answer| {
        ctx.header(answer.header)
    });
    ctx.note(seconds(asked.elapsed(), 6..10));
    let request = etcd_client::proto::PbRangeRequest {
        key: ctx.key("a"),
        serializable: true,
        ..Default::default()
    };
    let answer = raw.range(request).await;
    ctx.answer("a serializable read", answer, |ctx, answer| {
        ctx.kvs(&answer.kvs)
    });
    ctx.note("the plain watch is silent, and goes on when the quorum is back");
    ctx.quiet(&mut plain).await;
    ctx.cont(leader);
    ctx.cont(third);
    let until = Instant::now() + SOON;
    while let Err(status) = raw
        .put(PbPutRequest {
            key: ctx.key("a"),
            value: b"2".to_vec(),
            ..Default::default()
        })
        .await
    {
        assert!(
            Instant::now() < until,
            "no quorum again within {SOON:?}: {status}"
        );
        sleep(POLL).await;
    }
    ctx.note(next_value(&mut plain).await);
}

/// The value in the next message: how often the write before it was tried depends on the machine.
async fn next_value(
    watch: &mut Stream<PbWatchRequest, etcd_client::proto::PbWatchResponse>,
) -> String {
    match timeout(SOON, watch.next()).await {
        Err(_) => "nothing came".to_owned(),
        Ok(Err(status)) => format!("ended: {status:?}"),
        Ok(Ok(answer)) => {
            let values: Vec<String> = answer
                .events
                .iter()
                .filter_map(|event| event.kv.as_ref())
                .map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
                .collect();
            format!("#{} {values:?}", answer.watch_id)
        }
    }
}

async fn tokens_live_on_each_member(ctx: &mut Ctx) {
    auth::enable(ctx).await;
    let token = ctx.raw.login("root", "secret").await.unwrap();
    let members: Vec<Raw> = ctx
        .members
        .iter()
        .map(|raw| raw.with_token(token.clone()))
        .collect();
    let key = ctx.key("a");
    let until = Instant::now() + SOON;
    for (index, raw) in members.iter().enumerate() {
        // A follower hears of a token a moment after the member that gave it.
        let answer = loop {
            match raw.get(key.clone()).await {
                Err(status)
                    if status.code() == tonic::Code::Unauthenticated && Instant::now() < until =>
                {
                    sleep(POLL).await
                }
                answer => break answer,
            }
        };
        ctx.answer(&format!("member {index}"), answer, |_, _| "good".to_owned());
    }
    ctx.note("used at one member only for two lives of a token");
    for _ in 0..6 {
        sleep(TOKEN_TTL / 3).await;
        assert!(members[0].get(key.clone()).await.is_ok());
    }
    for (index, raw) in members.iter().enumerate() {
        let answer = raw.get(key.clone()).await;
        ctx.answer(&format!("member {index}"), answer, |_, _| "good".to_owned());
    }
}
