//! An elector in a queue (cases 05, 06, 51, S8, S10, S15): its place in line, kept and left.
//! Owns what the line adds to the loop; the loop, in both kinds, is `electing`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::proto::{PbDeleteRequest, PbLeaseGrantRequest, PbTxnOpRequest};
use leadership_core::{
    CampaignOptions, Election, Elector, ElectorBuilder, ElectorEvent, ElectorState, Error, Mode, Observed, Op, Operator, Participant, Reason, Successor, Term,
};
use leadership_testkit::{Access, Lost, Method, Target};
use leadership_tests::both_worlds;
use leadership_tests::etcd::Version;
use leadership_tests::world::{Peer, World, live, simulated};
use tokio::time::Instant;

use crate::steps::DELAY;

const TTL: Duration = Duration::from_secs(3);
const BOUND: Duration = Duration::from_secs(30);

fn builder(peer: &Peer, value: &str) -> ElectorBuilder {
    Elector::builder(&peer.client, "q").mode(Mode::Queue).value(value).ttl(TTL).takeover_delay(DELAY)
}

fn elector(peer: &Peer, value: &str) -> Elector {
    builder(peer, value).start().unwrap()
}

async fn next(elector: &Elector) -> Term {
    tokio::time::timeout(BOUND, elector.next_term()).await.expect("a term within the bound").unwrap().expect("not closed")
}

async fn line(peer: &Peer) -> Vec<Participant> {
    Election::new(&peer.client, "q").unwrap().participants().await.unwrap()
}

async fn values(peer: &Peer) -> Vec<String> {
    line(peer).await.into_iter().map(|one| String::from_utf8(one.value).unwrap()).collect()
}

async fn stands(world: &World, peer: &Peer, expected: &[&str]) {
    world.until(&format!("the line is {expected:?}"), async || values(peer).await == expected).await;
}

/// A place is kept while somebody wants a term, through hand-overs and resigns; the first leads, and everybody knows who.
async fn a_place_in_line(world: &World) {
    let (one, two, outside) = (world.peer(1), world.peer(2), world.peer(3));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    let term = next(&first).await;
    assert_eq!(term.key(), format!("q/{:x}", term.lease_id()).as_bytes());
    let waiting = tokio::task::spawn_local(second.next_term());
    stands(world, &outside, &["one", "two"]).await;
    let all = line(&outside).await;
    assert!(all[0].leads && !all[1].leads && all[0].priority == 0);
    assert_eq!((all[0].revision, all[0].lease), (term.token(), term.lease_id()));
    world.until("it knows who leads", async || second.leader().is_some_and(|leader| leader.value == b"one")).await;
    assert_eq!(second.leader().unwrap().token, Some(term.token()));
    world.pass(3 * TTL).await;
    assert_eq!((second.state(), values(&outside).await.len()), (ElectorState::Campaigning, 2));
    first.proclaim("one, proclaimed").await.unwrap();
    world.until("the new value is known", async || second.leader().is_some_and(|one| one.value == b"one, proclaimed")).await;
    // In order: at once, and the old leader joins at the end if it wants to.
    let began = Instant::now();
    let token = term.token();
    term.resign().await.unwrap();
    let term = waiting.await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() < DELAY / 2, "{:?}", began.elapsed());
    assert!(term.token() > token && second.is_leader() && !first.is_leader());
    let again = tokio::task::spawn_local(first.next_term());
    stands(world, &outside, &["two", "one, proclaimed"]).await;
    // Without a word: the full delay, which shows.
    let mut events = first.events();
    let began = Instant::now();
    world.revoke(term.lease_id()).await;
    world.until("it waits the delay", async || first.state() == ElectorState::Delayed).await;
    assert!(!first.is_leader() && first.leader().is_none_or(|leader| leader.value == b"two"), "it does not lead yet");
    let term = again.await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() >= DELAY * 99 / 100, "{:?}", began.elapsed());
    loop {
        match events.next().await.unwrap() {
            ElectorEvent::Elected(elected) => break assert_eq!(elected.token(), term.token()),
            ElectorEvent::Leader(other) => assert_eq!(other.value, b"two", "the own key is no other leader"),
            _ => {}
        }
    }
    // Guarded writes, and none to the line itself.
    term.put("state", "1").await.unwrap();
    assert!(matches!(term.put("q/1", "").await, Err(Error::InvalidArgument { argument, .. }) if argument == "key"));
    assert!(term.txn().then([Op::delete_prefix("q")]).commit().await.is_err());
    drop(term);
    first.close().await.unwrap();
    second.close().await.unwrap();
    assert_eq!((line(&outside).await, world.leases().await), (vec![], vec![]));
}

both_worlds!(a_place_in_line, s10_a_place_in_line, s10_queue_elector_live on V3_4);

/// The first in line that waits its takeover delay is nobody's leader, and its own key no news to itself.
#[test]
fn s15_an_own_place_is_no_leader_before_its_term() {
    simulated(|world| {
        Box::pin(async move {
            let peer = world.peer(1);
            let elector = builder(&peer, "one").takeover_delay(Duration::from_secs(4)).start().unwrap();
            let mut events = elector.events();
            let waiting = tokio::task::spawn_local(elector.next_term());
            world.until("it waits its delay", async || elector.state() == ElectorState::Delayed).await;
            world.pass(Duration::from_secs(2)).await; // long enough for the watch to have shown the place
            assert_eq!((elector.state(), elector.leader()), (ElectorState::Delayed, None));
            let term = waiting.await.unwrap().unwrap().unwrap();
            loop {
                match events.next().await.unwrap() {
                    ElectorEvent::Elected(told) => break assert_eq!(told.token(), term.token()),
                    ElectorEvent::Leader(leader) => panic!("another leads: {leader:?}"),
                    _ => {}
                }
            }
        })
    });
}

/// Case 05: a place whose lease or key is gone is no place: the elector joins again at the end, at once.
async fn a_place_that_is_lost(world: &World) {
    let (one, two, three) = (world.peer(1), world.peer(2), world.peer(3));
    let (leader, other) = (elector(&one, "leader"), elector(&three, "other"));
    let term = next(&leader).await;
    let waiter = elector(&two, "waiter");
    let waiting = tokio::task::spawn_local(waiter.next_term());
    stands(world, &one, &["leader", "waiter"]).await;
    let behind = tokio::task::spawn_local(other.next_term());
    stands(world, &one, &["leader", "waiter", "other"]).await;
    world.revoke(line(&one).await[1].lease).await;
    stands(world, &one, &["leader", "other", "waiter"]).await;
    let lost = line(&one).await[1].lease;
    world.delete(&format!("q/{lost:x}")).await;
    stands(world, &one, &["leader", "waiter", "other"]).await;
    assert!(term.is_valid() && !waiting.is_finished());
    world.until("the lease of the place that was lost is gone", async || world.leases().await.len() == 3).await;
    term.resign().await.unwrap();
    let term = waiting.await.unwrap().unwrap().unwrap();
    assert_eq!(term.value(), b"waiter");
    behind.abort();
}

both_worlds!(a_place_that_is_lost, case_05_a_place_that_is_lost_is_joined_for_again, case_05_queue_live on V3_7);

/// Case 51: the whole line goes in one revision. Nobody leads without a key; all stand again, and one leads.
#[test]
fn case_51_a_line_that_is_wiped_out_forms_again() {
    simulated(|world| {
        Box::pin(async move {
            let peers: Vec<_> = (1..=4).map(|n| world.peer(n)).collect();
            let electors: Vec<_> = peers.iter().map(|peer| elector(peer, "x")).collect();
            let mut waiting: Vec<_> = electors.iter().map(|elector| tokio::task::spawn_local(elector.next_term())).collect();
            world.until("one leads, the others wait", async || {
                values(&peers[0]).await.len() == 4 && electors.iter().filter(|one| one.is_leader()).count() == 1
            })
            .await;
            let first = electors.iter().position(Elector::is_leader).unwrap();
            let term = waiting.remove(first).await.unwrap().unwrap().unwrap();
            let everything = PbDeleteRequest {
                key: b"q/".to_vec(),
                range_end: b"q0".to_vec(),
                ..PbDeleteRequest::default()
            };
            world.stranger().delete(everything).await.unwrap();
            world
                .until("nobody leads without a key", async || {
                    let led: Vec<_> = electors.iter().filter_map(|one| Some(one.current()?.key().to_vec())).collect();
                    for key in &led {
                        let there = world.get(&String::from_utf8(key.clone()).unwrap()).await.is_some();
                        let led = electors.iter().any(|one| one.current().is_some_and(|now| now.key() == key.as_slice()));
                        assert!(there || !led || Some(key.as_slice()) == term.is_valid().then(|| term.key()), "{key:?}");
                    }
                    !term.is_valid()
                })
                .await;
            assert_eq!(term.lost_reason(), Some(Reason::KeyDeleted));
            drop(term);
            world.until("the three stand again", async || values(&peers[0]).await.len() >= 3).await;
            world.until("and one of them leads", async || electors.iter().filter(|one| one.is_leader()).count() == 1).await;
        })
    });
}

/// Case 06: given up while the key is being put, before and after, or with the reply lost: nothing remains.
async fn given_up_while_joining(world: &World) {
    for round in 0..3 {
        let peer = world.peer(1);
        let elector = elector(&peer, "given up");
        let joining = Target::txn(|txn| txn.success.iter().any(|op| {
            matches!(&op.request, Some(PbTxnOpRequest::RequestPut(put)) if put.key.starts_with(b"q/"))
        }));
        let held = match round {
            0 => Some(peer.faults.hold(joining, 1)),
            1 => Some(peer.faults.hold_reply(joining, 1)),
            _ => {
                peer.faults.drop_reply(joining, 1, Lost::Error);
                None
            }
        };
        let waiting = tokio::task::spawn_local(elector.next_term());
        match &held {
            Some(held) => held.reached().await,
            None => world.until("joined all the same", async || !line(&peer).await.is_empty()).await,
        }
        waiting.abort();
        elector.close().await.unwrap();
        held.inspect(|held| held.release());
        world.until("nothing remains", async || world.keys("q/").await.is_empty() && world.leases().await.is_empty()).await;
        world.pass(TTL).await;
        assert!(world.keys("q/").await.is_empty(), "round {round}: it came after all");
    }
}

both_worlds!(given_up_while_joining, case_06_a_place_given_up_while_joining, case_06_queue_elector_live on V3_7);

/// Nobody wants a term any more, or this process rests: its place is left, and joined for again when that has passed.
#[test]
fn s8_a_place_is_left_when_nobody_wants_a_term() {
    simulated(|world| {
        Box::pin(async move {
            let (one, two) = (world.peer(1), world.peer(2));
            let (leader, waiter) = (elector(&one, "leader"), elector(&two, "waiter"));
            let _term = next(&leader).await;
            for _ in 0..3 {
                let polled = tokio::time::timeout(TTL / 2, waiter.next_term()).await;
                assert!(polled.is_err());
                assert_eq!(values(&one).await, ["leader", "waiter"], "who polls keeps the place between two polls");
            }
            let began = Instant::now();
            stands(world, &one, &["leader"]).await;
            assert!(began.elapsed() > TTL / 2, "{:?}", began.elapsed());
            assert_eq!(waiter.state(), ElectorState::Follower);
            world.until("its lease is gone", async || world.leases().await.len() == 1).await;
            let waiting = tokio::task::spawn_local(waiter.next_term());
            stands(world, &one, &["leader", "waiter"]).await;
            let before = line(&one).await[1].revision;
            waiter.resign().await.unwrap(); // not a leader: it lets its turn pass
            world.until("at the end again", async || line(&one).await.get(1).is_some_and(|now| now.revision > before)).await;
            assert!(!waiting.is_finished());
            waiter.close().await.unwrap();
            assert!(waiting.await.unwrap().unwrap().is_none());
            assert_eq!(values(&one).await, ["leader"]);
        })
    });
}

/// Who waits in line costs etcd a renewal every TTL/2.5, and the periodic reads.
#[test]
fn s11_a_waiting_place_is_renewed_at_the_pace_of_who_waits() {
    simulated(|world| {
        Box::pin(async move {
            let (one, two) = (world.peer(1), world.peer(2));
            let (first, second) = (elector(&one, "one"), elector(&two, "two"));
            let term = next(&first).await;
            let _waiting = tokio::task::spawn_local(second.next_term());
            stands(world, &one, &["one", "two"]).await;
            world.pass(TTL).await;
            let renewed = Arc::new(AtomicU64::new(0));
            let count = renewed.clone();
            two.faults.map_keepalive(move |_| {
                count.fetch_add(1, Ordering::AcqRel);
            });
            let calls = two.faults.calls(Method::Any);
            world.pass(20 * TTL).await;
            let (renewals, calls) = (renewed.load(Ordering::Acquire), two.faults.calls(Method::Any) - calls);
            assert!((45..=55).contains(&renewals), "{renewals} in 20 TTL");
            assert!(calls <= 16, "{calls} calls in a minute"); // of a queue, two keys and the pause, every 15 s ± 20 %
            assert!(term.is_valid());
            world.revoke(term.lease_id()).await;
            world.until("its turn", async || second.is_leader()).await;
            let token = second.current().unwrap().token();
            world.pass(3 * TTL / 4).await;
            assert_eq!(second.current().map(|view| view.token()), Some(token), "kept from its first moment");
        })
    });
}

/// Many electors in one line, one after the other: each gets its turn, in order, over one watch stream of each client, and
/// what each turn costs does not grow with the line.
#[test]
fn case_42_each_has_its_turn_over_one_watch_stream() {
    simulated(|world| {
        Box::pin(async move {
            let peer = world.peer(1);
            let electors: Vec<_> = (0..30).map(|n| elector(&peer, &n.to_string())).collect();
            let mut waiting = Vec::new();
            for (n, elector) in electors.iter().enumerate() {
                waiting.push(tokio::task::spawn_local(elector.next_term()));
                world.until("joined", async || world.keys("q/").await.len() == n + 1).await;
            }
            let mut token = 0;
            for (n, waiting) in waiting.into_iter().enumerate() {
                let term = tokio::time::timeout(BOUND, waiting).await.expect("its turn").unwrap().unwrap().unwrap();
                assert!(term.token() > token && term.value() == n.to_string().as_bytes());
                token = term.token();
                let before = peer.faults.calls(Method::Txn);
                drop(electors[n].close());
                drop(term);
                world.until("left", async || world.keys("q/").await.len() == 29 - n).await;
                world.pass(Duration::from_millis(100)).await;
                let spent = peer.faults.calls(Method::Txn) - before;
                assert!(spent <= 6, "turn {n}: {spent} transactions"); // the release, looks, reads of new watches
            }
            assert_eq!(peer.faults.calls(Method::Watch), 1);
        })
    });
}

/// In a queue the next in line follows: named or not, never another; and at once.
async fn the_next_in_line_follows(world: &World) {
    let peers: Vec<_> = (1..=3).map(|n| world.peer(n)).collect();
    let electors: Vec<_> = peers.iter().zip(["one", "two", "three"]).map(|(peer, value)| elector(peer, value)).collect();
    let term = next(&electors[0]).await;
    let alone = electors[0].transfer(Successor::Highest).await.unwrap();
    assert!(alone.leads && alone.value == b"one" && term.is_valid(), "nobody else stands: nothing was done");
    let second = tokio::task::spawn_local(electors[1].next_term());
    stands(world, &peers[0], &["one", "two"]).await;
    let third = tokio::task::spawn_local(electors[2].next_term());
    stands(world, &peers[0], &["one", "two", "three"]).await;
    for to in [Successor::Named(b"three".to_vec()), Successor::Named(b"nobody".to_vec()), Successor::Random] {
        match electors[0].transfer(to).await {
            Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, "to"),
            other => panic!("{other:?}"),
        }
    }
    assert!(electors[0].transfer(Successor::Named(b"one".to_vec())).await.unwrap().leads);
    assert!(matches!(electors[1].transfer(Successor::Highest).await, Err(Error::NotLeader { .. })));
    assert!(!term.is_lost(), "none of it changed anything");
    assert_eq!(electors[0].participants().await.unwrap(), line(&peers[1]).await);
    let began = Instant::now();
    let (passed, ()) = tokio::join!(electors[0].transfer(Successor::Highest), async {
        assert_eq!(term.lost().await, Reason::HandedOver);
        assert!(term.is_valid(), "drained");
        drop(term);
    });
    let passed = passed.unwrap();
    assert!(passed.leads && passed.value == b"two");
    let term = second.await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() < DELAY / 2, "{:?}", began.elapsed());
    assert_eq!(term.token(), passed.revision);
    let (passed, ()) = tokio::join!(electors[1].transfer(Successor::Named(b"three".to_vec())), async {
        term.lost().await;
        drop(term);
    });
    assert_eq!(passed.unwrap().value, b"three");
    assert!(third.await.unwrap().unwrap().unwrap().is_valid());
}

both_worlds!(the_next_in_line_follows, case_36_the_next_in_line_follows, case_36_queue_live on V3_7);

/// A paused queue: its leader drains and resigns, the line dissolves, nobody joins; until it goes on.
#[test]
fn s13_a_paused_queue_has_no_line() {
    simulated(|world| {
        Box::pin(async move {
            let (one, two) = (world.peer(1), world.peer(2));
            let (first, second) = (elector(&one, "one"), elector(&two, "two"));
            let term = next(&first).await;
            let waiting = tokio::task::spawn_local(second.next_term());
            stands(world, &one, &["one", "two"]).await;
            let operator = Operator::new(&one.client, "q").unwrap();
            operator.pause().await.unwrap();
            assert_eq!(term.lost().await, Reason::Paused);
            drop(term);
            stands(world, &one, &[]).await;
            assert_eq!((first.state(), second.state()), (ElectorState::Paused, ElectorState::Paused));
            let refused = Election::new(&one.client, "q").unwrap().campaign(CampaignOptions::new("").ttl(TTL)).await;
            assert!(matches!(&refused, Err(Error::Unavailable { message }) if message.contains("paused")), "{refused:?}");
            world.pass(3 * TTL).await;
            assert_eq!((world.keys("q/").await.len(), world.leases().await.len()), (0, 0));
            assert!(!waiting.is_finished());
            operator.unpause().await.unwrap();
            assert!(waiting.await.unwrap().unwrap().unwrap().is_valid());
        })
    });
}

/// S15: a role with the candidates' keys alone leads, without mark and pause: whoever follows waits the delay.
#[test]
fn s15_a_role_with_the_candidates_keys_alone_leads() {
    simulated(|world| {
        Box::pin(async move {
            let cluster = world.cluster.as_ref().unwrap();
            cluster.set_user("app", "secret");
            cluster.allow("app", Access::ReadWrite, "q/", "q0");
            cluster.enable_auth("rootpass");
            let app = |n| world.peer_with(n, |options| options.credentials("app", "secret"));
            let (one, two) = (app(1), app(2));
            let (first, second) = (elector(&one, "one"), elector(&two, "two"));
            let mut observer = Election::new(&two.client, "q").unwrap().observe().unwrap();
            let term = next(&first).await;
            let waiting = tokio::task::spawn_local(second.next_term());
            stands(world, &one, &["one", "two"]).await;
            world.pass(2 * TTL).await;
            assert!(term.is_valid());
            world.until("seen", async || observer.latest().leader().is_some_and(|leader| leader.value == b"one")).await;
            assert!(observer.next().await.is_some());
            let began = Instant::now();
            term.resign().await.unwrap();
            assert!(waiting.await.unwrap().unwrap().unwrap().is_valid());
            assert!(began.elapsed() >= DELAY * 99 / 100, "no mark: {:?}", began.elapsed());
            let mut denied = Election::new(&two.client, "z").unwrap().observe().unwrap();
            match denied.next().await {
                Some(Observed::Stopped(Some(Error::PermissionDenied { message }))) => assert!(message.contains("z/"), "{message}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(denied.next().await, None, "once, and why");
        })
    });
}

/// etcd is away for longer than a call may take when the delay ends: the place is kept as long as its lease lives.
#[test]
fn s8_a_place_outlives_an_outage_at_the_end_of_its_delay() {
    simulated(|world| {
        Box::pin(async move {
            let (one, two) = (world.peer(1), world.peer(2));
            let first = elector(&one, "one");
            let second = builder(&two, "two").ttl(Duration::from_secs(10)).start().unwrap();
            let term = next(&first).await;
            let waiting = tokio::task::spawn_local(second.next_term());
            stands(world, &one, &["one", "two"]).await;
            let place = line(&one).await[1].revision;
            world.revoke(term.lease_id()).await;
            world.until("it waits", async || second.state() == ElectorState::Delayed).await;
            two.faults.refuse(Method::Txn, u64::MAX);
            world.pass(Duration::from_secs(4)).await;
            two.faults.heal();
            let term = waiting.await.unwrap().unwrap().unwrap();
            assert_eq!(term.token(), place, "not joined for again");
        })
    });
}

/// Case 35: closed while it is first in line and waits its delay: nothing is left, and the next one follows.
#[test]
fn case_35_closed_in_the_takeover_delay() {
    simulated(|world| {
        Box::pin(async move {
            let (one, two, three) = (world.peer(1), world.peer(2), world.peer(3));
            let electors = [elector(&one, "one"), elector(&two, "two"), elector(&three, "three")];
            let term = next(&electors[0]).await;
            let second = tokio::task::spawn_local(electors[1].next_term());
            stands(world, &one, &["one", "two"]).await;
            let third = tokio::task::spawn_local(electors[2].next_term());
            stands(world, &one, &["one", "two", "three"]).await;
            world.revoke(term.lease_id()).await;
            electors[0].close().await.unwrap();
            world.until("it waits", async || electors[1].state() == ElectorState::Delayed).await;
            let began = Instant::now();
            electors[1].close().await.unwrap();
            assert!(second.await.unwrap().unwrap().is_none());
            let term = third.await.unwrap().unwrap().unwrap();
            assert!(began.elapsed() >= DELAY * 99 / 100, "it never led: no mark of its shortens the delay");
            assert_eq!((values(&one).await, term.value()), (vec!["three".to_owned()], b"three".as_slice()));
            assert_eq!(world.leases().await.len(), 1);
        })
    });
}

/// S13: what a queue has no use for is refused by name.
#[test]
fn s13_what_a_queue_cannot_do_is_refused() {
    simulated(|world| {
        Box::pin(async move {
            let peer = world.peer(1);
            let refused = [
                ("key", Elector::builder(&peer.client, "q/").mode(Mode::Queue).start()),
                ("key", Elector::builder(&peer.client, "").mode(Mode::Queue).start()),
                ("key", Elector::builder(&peer.client, "q.queue-resigned").mode(Mode::Queue).start()),
                ("ttl", builder(&peer, "").ttl(Duration::ZERO).start()),
                ("value", Elector::builder(&peer.client, "q").mode(Mode::Queue).value(vec![0; 2 << 20]).start()),
                ("step_down_margin", builder(&peer, "").step_down_margin(TTL).start()),
                ("priority", builder(&peer, "").priority(1).start()),
                ("take_back", builder(&peer, "").take_back(true).start()),
            ];
            for (name, outcome) in refused {
                match outcome {
                    Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, name),
                    other => panic!("{name}: {other:?}"),
                }
            }
        })
    });
}

/// The keys are etcd's own, byte for byte: a place as `etcdctl elect` and `lock` make it (a key `q/<lease in hex>`,
/// unpadded, under that lease, created if absent) stands in our line, and ours in theirs.
async fn places_of_etcds_own_making(world: &World) {
    let peer = world.peer(1);
    let stranger = world.stranger();
    let granted = stranger.grant(PbLeaseGrantRequest { ttl: 60, id: 0x0a1f }).await.unwrap();
    let theirs = format!("q/{:x}", granted.id);
    assert_eq!(theirs, "q/a1f", "unpadded");
    world.put(&theirs, "theirs", granted.id).await;
    let elector = elector(&peer, "ours");
    let waiting = tokio::task::spawn_local(elector.next_term());
    stands(world, &peer, &["theirs", "ours"]).await;
    let ours = line(&peer).await[1].clone();
    let kv = world.get(&format!("q/{:x}", ours.lease)).await.expect("under the name of its lease");
    assert_eq!((kv.lease, kv.version, kv.create_revision), (ours.lease, 1, ours.revision));
    // `Proclaim`, then `Resign` as concurrency.Election does it: a bare delete, without a mark.
    world.put(&theirs, "proclaimed", granted.id).await;
    world.until("their leader's value", async || elector.leader().is_some_and(|one| one.value == b"proclaimed")).await;
    let began = Instant::now();
    world.delete(&theirs).await;
    let term = waiting.await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() >= DELAY * 99 / 100, "no word of it: the delay");
    // Behind ours, theirs waits for our key alone.
    world.put(&theirs, "behind", granted.id).await;
    assert_eq!(values(&peer).await, ["ours", "behind"]);
    drop(term);
    world.until("theirs is first", async || line(&peer).await.first().is_some_and(|one| one.leads && one.value == b"behind")).await;
    elector.close().await.unwrap();
    world.revoke(granted.id).await;
}

both_worlds!(places_of_etcds_own_making, s13_places_of_etcds_own_making, s13_places_of_etcds_own_making_live on V3_7);

#[test]
fn s13_places_of_etcds_own_making_on_3_4_live() {
    live(Version::V3_4, |world| Box::pin(places_of_etcds_own_making(world)));
}
