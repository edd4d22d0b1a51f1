//! Cases 21, 34, 35 and 37, S9 and the rules of ownership: the elector's loop, from the first wish for a term to the end.
//! Owns what an elector promises its user; the campaign inside it is `campaign`'s, the take-over `takeover`'s.

use std::sync::{Arc, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use etcd_client::proto::PbKeyValue;
use leadership_core::{Elector, ElectorBuilder, ElectorEvent, ElectorState, Error, Mode, Op, Reason, Term};
use leadership_testkit::{Method, Target};
use leadership_tests::both_worlds;
use leadership_tests::etcd::Version;
use leadership_tests::world::{Peer, World, live, simulated};

const TTL: Duration = Duration::from_secs(3);
/// A stream that fell silent is found out after 12 s, and keys are read again every 18 s at the latest (S11).
const BOUND: Duration = Duration::from_secs(30);

/// Makes the tests of one case: in both kinds of election under virtual time, the single key on a real etcd.
macro_rules! both_kinds {
    ($case:ident, $simulated:ident, $queue:ident, $live:ident on $version:ident) => {
        #[test]
        fn $simulated() {
            simulated(|world| Box::pin($case(world, Mode::SingleKey)));
        }

        #[test]
        fn $queue() {
            simulated(|world| Box::pin($case(world, Mode::Queue)));
        }

        #[test]
        fn $live() {
            live(Version::$version, |world| Box::pin($case(world, Mode::SingleKey)));
        }
    };
}

fn builder(peer: &Peer, mode: Mode, value: &str) -> ElectorBuilder {
    Elector::builder(&peer.client, "k").mode(mode).value(value).ttl(TTL)
}

fn elector(peer: &Peer, mode: Mode, value: &str) -> Elector {
    builder(peer, mode, value).start().unwrap()
}

async fn next(elector: &Elector) -> Term {
    tokio::time::timeout(BOUND, elector.next_term()).await.expect("a term within the bound").unwrap().expect("not closed")
}

/// The election's key as etcd holds it; in a queue the oldest.
async fn held(world: &World, mode: Mode) -> Option<PbKeyValue> {
    if mode == Mode::SingleKey {
        return world.get("k").await;
    }
    let mut places = Vec::new();
    for key in world.keys("k/").await {
        places.extend(world.get(&key).await);
    }
    places.into_iter().min_by_key(|kv| kv.create_revision)
}

async fn value_of(world: &World, mode: Mode) -> Option<Vec<u8>> {
    held(world, mode).await.map(|kv| kv.value)
}

/// A stranger deletes the leader's key.
async fn take_away(world: &World, mode: Mode) {
    let key = held(world, mode).await.expect("somebody leads").key;
    world.delete(&String::from_utf8(key).unwrap()).await;
}

/// Nothing campaigns before somebody wants a term; then one term after the other, each with a larger token.
async fn a_term_for_whoever_wants_one(world: &World, mode: Mode) {
    let peer = world.peer(1);
    let elector = elector(&peer, mode, "one");
    world.pass(Duration::from_secs(2)).await;
    assert_eq!((value_of(world, mode).await, elector.state()), (None, ElectorState::Follower));
    let term = next(&elector).await;
    assert!(term.is_valid() && elector.is_leader() && elector.state() == ElectorState::Leading);
    assert_eq!(elector.current().map(|view| view.token()), Some(term.token()));
    assert_eq!(value_of(world, mode).await, Some(b"one".to_vec()));
    world.pass(3 * TTL).await;
    assert!(term.is_valid(), "it is kept without a word");
    let token = term.token();
    take_away(world, mode).await;
    assert_eq!(term.lost().await, Reason::KeyDeleted);
    assert!(!elector.is_leader());
    // The term that was lost is still held: the next one does not wait for that.
    let again = next(&elector).await;
    assert!(again.token() > token && !term.is_valid());
    drop(term);
    assert!(again.is_valid(), "an old term's end is its own");
    again.resign().await.unwrap();
    assert_eq!(value_of(world, mode).await, None);
    elector.close().await.unwrap();
    assert_eq!(world.leases().await, [0; 0], "nothing is left");
}

both_kinds!(a_term_for_whoever_wants_one, s8_a_term_for_whoever_wants_one, s8_queue_a_term_for_whoever_wants_one, s8_elector_live on V3_7);

/// Case 35: a term that its holder let go of just before is released when closing has returned.
async fn closed_right_after_a_term(world: &World, mode: Mode) {
    let peer = world.peer(1);
    let elector = elector(&peer, mode, "one");
    let term = next(&elector).await;
    let release = peer.faults.hold(Method::Txn, 1);
    drop(term);
    release.reached().await;
    let early = tokio::time::timeout(TTL / 10, elector.close()).await;
    assert!(early.is_err(), "the key is there still: {early:?}");
    release.release();
    elector.close().await.unwrap();
    assert_eq!(value_of(world, mode).await, None);
}

#[test]
fn case_35_closed_right_after_a_term() {
    simulated(|world| Box::pin(closed_right_after_a_term(world, Mode::SingleKey)));
    simulated(|world| Box::pin(closed_right_after_a_term(world, Mode::Queue)));
}

/// A waiter does not keep its elector alive, and hears of its end; at the end of a process nobody lets go of a term, and
/// the drain has an end of its own.
async fn waiters_and_holders_that_are_left(world: &World, mode: Mode) {
    let peer = world.peer(1);
    let other = elector(&peer, mode, "other");
    let waiting = other.next_term();
    let first = elector(&world.peer(2), mode, "first");
    let held = next(&first).await;
    drop(other);
    let none = tokio::time::timeout(BOUND, waiting).await.expect("the end of the wait").unwrap();
    assert!(none.is_none(), "an elector that is gone has no term to give");
    drop((first, held));

    let second = elector(&peer, mode, "second");
    let held = next(&second).await;
    let closing = peer.client.close_within(Duration::from_millis(300));
    assert_eq!(held.lost().await, Reason::Closed);
    tokio::time::timeout(TTL / 2, closing).await.expect("no drain of 10 s").unwrap();
    assert!(!held.is_valid());
    assert_eq!(value_of(world, mode).await, None, "it is released all the same");
    let again = held.let_go().await;
    assert!(again.is_ok() || again == Err(Error::Closed), "{again:?}");
}

#[test]
fn case_40_waiters_and_holders_that_are_left() {
    simulated(|world| Box::pin(waiters_and_holders_that_are_left(world, Mode::SingleKey)));
}

/// Case 34: an orderly end is told at once and drained: renewed until the holder lets go, however long after the TTL;
/// then the key goes with the mark, and the other leads without a delay.
async fn work_is_drained_before_the_key_goes(world: &World, mode: Mode) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, mode, "one"), elector(&two, mode, "two"));
    let term = next(&first).await;
    let (resigned, ()) = tokio::join!(first.resign(), async {
        assert_eq!(term.lost().await, Reason::Resigned);
        assert_eq!(first.state(), ElectorState::Draining);
        world.pass(2 * TTL).await;
        assert!(term.is_valid() && term.is_lost(), "authority to finish");
        assert_eq!(value_of(world, mode).await, Some(b"one".to_vec()), "nobody follows while it works");
        drop(term);
    });
    resigned.unwrap();
    assert_ne!(value_of(world, mode).await, Some(b"one".to_vec()));
    let began = tokio::time::Instant::now();
    let next = next(&second).await;
    assert!(next.is_valid());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

both_kinds!(work_is_drained_before_the_key_goes, case_34_work_is_drained_before_the_key_goes, case_34_queue_work_is_drained_before_the_key_goes, case_34_drain_live on V3_7);

/// A drain ends with its timeout, with the key, and with the term of a holder that was cut off.
async fn a_drain_has_an_end(world: &World, mode: Mode) {
    let peer = world.peer(1);
    let short = builder(&peer, mode, "short").drain_timeout(Duration::from_secs(1)).start().unwrap();
    let term = next(&short).await;
    short.close().await.unwrap();
    assert!(!term.is_valid(), "the drain timeout has passed");
    assert_eq!((term.lost_reason(), value_of(world, mode).await), (Some(Reason::Closed), None));
    assert!(short.next_term().await.unwrap().is_none(), "closed");

    let second = elector(&peer, mode, "two");
    let term = next(&second).await;
    let (closed, ()) = tokio::join!(second.close(), async {
        term.lost().await;
        take_away(world, mode).await;
        world.until("the key went while it was drained", async || !term.is_valid()).await;
    });
    closed.unwrap();

    let third = elector(&peer, mode, "three");
    let term = next(&third).await;
    let (_, ()) = tokio::join!(third.close(), async {
        term.lost().await;
        peer.faults.hang(Method::Any);
        peer.faults.silence_streams(Method::LeaseKeepAlive);
        world.until_within(TTL + Duration::from_secs(1), "no renewals, no authority", async || !term.is_valid()).await;
        peer.faults.heal();
    });
}

both_kinds!(a_drain_has_an_end, s9_a_drain_has_an_end, s9_queue_a_drain_has_an_end, s9_drain_end_live on V3_4);

/// A term that came for nobody waits one TTL for somebody, and is then resigned; a caller in time gets it.
async fn a_term_that_nobody_took(world: &World, mode: Mode) {
    let peer = world.peer(1);
    let elector = elector(&peer, mode, "one");
    for takes in [true, false] {
        let waiting = tokio::time::timeout(Duration::from_micros(1), elector.next_term()).await;
        assert!(waiting.is_err(), "too soon for a term");
        world.until_within(BOUND, "it campaigns on for a TTL", async || elector.is_leader()).await;
        let token = elector.current().unwrap().token();
        if takes {
            let term = next(&elector).await;
            assert_eq!(term.token(), token, "the same term");
            term.resign().await.unwrap();
        } else {
            let left = world.until_within(TTL + Duration::from_secs(1), "resigned", async || !elector.is_leader()).await;
            assert!(left > TTL / 2, "{left:?}");
            world.until("the key is gone", async || value_of(world, mode).await.is_none()).await;
            // And nobody wants one any more.
            world.pass(2 * TTL).await;
            assert_eq!(value_of(world, mode).await, None);
        }
    }
}

both_kinds!(a_term_that_nobody_took, s8_a_term_that_nobody_took, s8_queue_a_term_that_nobody_took, s8_untaken_term_live on V3_7);

/// S9: code that is called campaigns by that, and its term is let go of when it has returned from the loss: not before, and
/// also when the term was over before it could be told of.
async fn code_that_is_called(world: &World) {
    let peer = world.peer(1);
    let elector = elector(&peer, Mode::SingleKey, "one");
    let told = Arc::new(Mutex::new(Vec::new()));
    let calling = elector.calling();
    let running = tokio::task::spawn_local({
        let told = told.clone();
        calling.each(move |event| {
            let view = match &event {
                ElectorEvent::Elected(term) => Some(term.clone()),
                _ => None,
            };
            told.lock().unwrap().push((event, view.map(|term| term.is_valid())));
        })
    });
    let count = |wanted: fn(&ElectorEvent) -> bool| told.lock().unwrap().iter().filter(|(event, _)| wanted(event)).count();
    let elected = || count(|event| matches!(event, ElectorEvent::Elected(_)));
    let lost = || count(|event| matches!(event, ElectorEvent::Lost(_)));
    world.until("it leads and is told so", async || elector.is_leader() && elected() == 1).await;
    world.pass(2 * TTL).await;
    assert!(elector.is_leader(), "it is nobody's to take, and not resigned for that");
    for round in 1..=3 {
        take_away(world, Mode::SingleKey).await;
        world.until("it leads again", async || elector.is_leader() && elected() == round + 1 && lost() == round).await;
    }
    tokio::time::timeout(TTL, elector.resign()).await.expect("no drain timeout: the call has returned").unwrap();
    world.until("and again", async || elector.is_leader() && elected() == 5).await;
    tokio::time::timeout(TTL, elector.close()).await.expect("nor at the end").unwrap();
    running.await.unwrap();
    assert_eq!((elected(), lost()), (5, 5));
    assert_eq!(value_of(world, Mode::SingleKey).await, None);
    let told = told.lock().unwrap();
    assert!(matches!(told.last(), Some((ElectorEvent::Stopped(None), _))), "{told:?}");
    assert!(told.iter().all(|(_, valid)| *valid != Some(false)), "each term is told of while it is valid: {told:?}");
}

#[test]
fn s9_code_that_is_called() {
    simulated(|world| Box::pin(code_that_is_called(world)));
}

/// Case 37: one loss for each election, in order, whatever is made of the key; none for a candidate that never led.
async fn one_loss_for_each_election(world: &World, mode: Mode) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, mode, "one"), elector(&two, mode, "two"));
    let (mut events, mut others) = (first.events(), second.events());
    // The other takes its turns, and gives each up at once.
    let waiting = tokio::task::spawn_local(async move { while let Ok(Some(term)) = second.next_term().await { drop(term) } });
    let mut tokens = Vec::new();
    for round in 0..3 {
        let term = next(&first).await;
        tokens.push(term.token());
        if round == 1 {
            take_away(world, mode).await;
            term.lost().await;
        }
        drop(term);
        world.until("released", async || value_of(world, mode).await != Some(b"one".to_vec())).await;
    }
    first.close().await.unwrap();
    let (mut leading, mut seen) = (None, Vec::new());
    loop {
        match events.next().await {
            Some(ElectorEvent::Elected(term)) => {
                assert_eq!(leading.replace(term.token()), None, "elected twice");
                seen.push(term.token());
            }
            Some(ElectorEvent::Lost(reason)) => {
                assert!(leading.take().is_some(), "a loss without an election");
                assert!(matches!(reason, Reason::Resigned | Reason::KeyDeleted), "{reason}");
            }
            Some(ElectorEvent::Stopped(error)) => {
                assert_eq!(error, None);
                break;
            }
            Some(_) => {}
            None => panic!("no last event"),
        }
    }
    assert_eq!(leading, None, "its end was told");
    assert!(events.next().await.is_none());
    // A slow reader may have missed a whole term, never half of one.
    assert!(seen.iter().all(|token| tokens.contains(token)), "{seen:?} {tokens:?}");
    waiting.abort();
    let mut leading = false;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(500), others.next()).await {
        match event {
            ElectorEvent::Elected(_) => leading = true,
            ElectorEvent::Lost(_) => assert!(std::mem::take(&mut leading), "it never led"),
            _ => {}
        }
    }
}

both_kinds!(one_loss_for_each_election, case_37_one_loss_for_each_election, case_37_queue_one_loss_for_each_election, case_37_elector_live on V3_7);

/// Case 35: closed in each of its states: while nobody wants anything, while it follows, campaigns, leads.
async fn closed_in_each_state(world: &World, mode: Mode) {
    let (one, two) = (world.peer(1), world.peer(2));
    let idle = elector(&one, mode, "idle");
    idle.close().await.unwrap();
    idle.close().await.unwrap();
    assert!(idle.next_term().await.unwrap().is_none());
    assert_eq!(idle.state(), ElectorState::Stopped);
    assert_eq!(idle.health(), Err(Error::Closed));

    let leader = elector(&two, mode, "leader");
    let term = next(&leader).await;
    let follower = elector(&one, mode, "follower");
    let (none, ()) = tokio::join!(follower.next_term(), async {
        world.until("it has seen who leads", async || follower.leader().is_some_and(|leader| leader.value == b"leader")).await;
        follower.close().await.unwrap();
    });
    assert!(none.unwrap().is_none());
    drop(term);
    leader.close().await.unwrap();

    let campaigning = elector(&one, mode, "campaigning");
    let held = one.faults.hold(Method::LeaseGrant, 1);
    let (none, ()) = tokio::join!(campaigning.next_term(), async {
        held.reached().await;
        world.until("the key is seen vacant", async || campaigning.state() == ElectorState::Campaigning).await;
        let (closed, ()) = tokio::join!(campaigning.close(), async { held.release() });
        closed.unwrap();
    });
    assert!(none.unwrap().is_none());
    world.until("nothing is left", async || world.leases().await.is_empty() && value_of(world, mode).await.is_none()).await;

    let dropped = elector(&one, mode, "dropped");
    let term = next(&dropped).await;
    drop(dropped);
    world.pass(2 * TTL).await;
    assert!(term.is_valid(), "a term outlives its elector");
    drop(term);
    world.until("and is released with its holder", async || value_of(world, mode).await.is_none()).await;

    // The client's end drains first: under authority, with etcd at hand.
    let last = elector(&one, mode, "last");
    let term = next(&last).await;
    let (closed, ()) = tokio::join!(one.client.close(), async {
        assert_eq!(term.lost().await, Reason::Closed);
        assert!(term.is_valid());
        term.txn().then([Op::put("last words", "done")]).commit().await.unwrap();
        drop(term);
    });
    closed.unwrap();
    assert!(last.next_term().await.unwrap().is_none());
    assert!(world.get("last words").await.is_some() && value_of(world, mode).await.is_none());
}

both_kinds!(closed_in_each_state, case_35_closed_in_each_state, case_35_queue_closed_in_each_state, case_35_elector_live on V3_7);

/// Cases 35 and 38: closed twice, with a resign, a proclaim and a guarded write in flight: each ends, and nothing is left.
/// And what is left of an old term concerns the next one in nothing.
async fn closed_with_calls_in_flight(world: &World, mode: Mode) {
    let peer = world.peer(1);
    let first = builder(&peer, mode, "one").cool_down(Duration::ZERO).start().unwrap();
    let old = next(&first).await;
    take_away(world, mode).await;
    old.lost().await;
    let term = next(&first).await;
    assert!(matches!(old.put("state", "old").await, Err(Error::NotLeader { .. })));
    assert!(matches!(old.proclaim("old").await, Err(Error::NotLeader { .. })));
    drop(old.let_go());
    drop(old);
    world.pass(TTL).await;
    assert!(term.is_valid() && first.current().is_some_and(|now| now.token() == term.token()));
    let held_back = peer.faults.hold(Target::txn_putting("state"), 1);
    let view = term.handle();
    let work = async {
        held_back.reached().await;
        term.lost().await;
        held_back.release();
        world.pass(Duration::from_millis(100)).await;
        drop(term);
    };
    let calls = async {
        held_back.reached().await;
        tokio::join!(first.close(), first.close(), first.resign(), first.proclaim("two"))
    };
    let (wrote, (closed, again, resigned, proclaimed), ()) = tokio::join!(view.put("state", "new"), calls, work);
    assert_eq!(wrote, Ok(()), "drained: it still had the authority");
    assert_eq!((closed, again), (Ok(()), Ok(())));
    assert!(resigned.is_ok() || resigned == Err(Error::Closed), "{resigned:?}");
    assert!(proclaimed.is_ok() || matches!(proclaimed, Err(Error::Closed | Error::NotLeader { .. })), "{proclaimed:?}");
    assert_eq!(first.close().await, Ok(()));
    assert!(value_of(world, mode).await.is_none());
    world.until("nothing is left", async || world.leases().await.is_empty()).await;
}

both_kinds!(closed_with_calls_in_flight, case_35_closed_with_calls_in_flight, case_35_queue_closed_with_calls_in_flight, case_38_calls_in_flight_live on V3_7);

/// What passes is waited for: etcd away at the start, and in the middle of a term.
async fn etcd_comes_and_goes(world: &World, mode: Mode) {
    let peer = world.peer(1);
    peer.faults.refuse(Method::Any, 5);
    let elector = elector(&peer, mode, "one");
    let term = next(&elector).await;
    peer.faults.hang(Method::Any);
    peer.faults.silence_streams(Method::LeaseKeepAlive);
    world.until_within(TTL, "jeopardy is told before the deadline", async || elector.state() == ElectorState::Jeopardy).await;
    assert!(matches!(elector.health(), Err(Error::Unavailable { .. })));
    assert!(term.is_valid());
    world.until_within(TTL, "lost", async || term.is_lost()).await;
    peer.faults.heal();
    let again = next(&elector).await;
    assert!(again.token() > term.token() && elector.health().is_ok());
}

both_kinds!(etcd_comes_and_goes, s8_etcd_comes_and_goes, s8_queue_etcd_comes_and_goes, s8_etcd_away_live on V3_7);

/// `run`: the body is dropped with the loss and begun again with the next term; when it returns, the term is resigned.
async fn a_body_for_each_term(world: &World, mode: Mode) {
    let peer = world.peer(1);
    let elector = elector(&peer, mode, "one");
    let mut begun = 0;
    let outcome = elector
        .run(|term| {
            begun += 1;
            let round = begun;
            async move {
                if round < 3 {
                    take_away(world, mode).await;
                    std::future::pending::<()>().await;
                }
                term.token()
            }
        })
        .await
        .unwrap();
    assert_eq!(begun, 3);
    assert!(outcome.is_some());
    assert_eq!(value_of(world, mode).await, None);
}

both_kinds!(a_body_for_each_term, s9_a_body_for_each_term, s9_queue_a_body_for_each_term, s9_run_live on V3_7);

const WELL: u8 = 0;
const ILL: u8 = 1;
const HANGS: u8 = 2;

/// Case 21 on a lease that others share: they go on; the term of the one that is ill ends with the deadline it had then.
async fn a_health_check_that_fails_on_a_shared_lease(world: &World) {
    let peer = world.peer(1);
    let lease = peer.client.shared_lease(TTL).unwrap();
    let other = builder(&peer, Mode::SingleKey, "other").lease(&lease).start().unwrap();
    let well = Arc::new(AtomicBool::new(true));
    let asked = well.clone();
    let ill = Elector::builder(&peer.client, "ill")
        .mode(Mode::Queue)
        .lease(&lease)
        .health_age(Duration::from_millis(400))
        .health_check(move || if asked.load(Ordering::Acquire) { Ok(()) } else { Err("ill".to_owned()) })
        .start()
        .unwrap();
    let (sound, term) = (next(&other).await, next(&ill).await);
    well.store(false, Ordering::Release);
    let reason = tokio::time::timeout(Duration::from_secs(2), term.lost()).await.expect("lost in time");
    assert_eq!(reason, Reason::Unhealthy);
    world.until_within(TTL, "not extended, though the lease is", async || !term.is_valid()).await;
    world.until("its place is left", async || world.keys("ill/").await.is_empty()).await;
    world.pass(TTL).await;
    assert!(sound.is_valid());
    assert_eq!(world.leases().await, [lease.id().unwrap()]);
}

#[test]
fn case_21_a_health_check_on_a_shared_lease_live() {
    live(Version::V3_7, |world| Box::pin(a_health_check_that_fails_on_a_shared_lease(world)));
}

/// Case 21: a check that fails, or never ends, costs the leadership; while it does, nobody campaigns here.
async fn a_health_check_that_fails_or_hangs(world: &World) {
    let peer = world.peer(1);
    let mode = Arc::new(AtomicU8::new(ILL));
    let asked = mode.clone();
    let elector = Elector::builder(&peer.client, "k")
        .ttl(TTL)
        .campaign_limit(100)
        .health_age(Duration::from_millis(400))
        .health_check(move || {
            while asked.load(Ordering::Acquire) == HANGS {
                std::thread::sleep(Duration::from_millis(5));
            }
            if asked.load(Ordering::Acquire) == WELL { Ok(()) } else { Err("the disk is full".to_owned()) }
        })
        .start()
        .unwrap();
    let early = tokio::time::timeout(Duration::from_secs(1), elector.next_term()).await;
    assert!(early.is_err(), "it is not well");
    assert!(matches!(elector.health(), Err(Error::Unavailable { message }) if message.contains("the disk is full")));
    for ill in [ILL, HANGS] {
        mode.store(WELL, Ordering::Release);
        let term = next(&elector).await;
        mode.store(ill, Ordering::Release);
        let reason = tokio::time::timeout(Duration::from_secs(2), term.lost()).await.expect("lost in time");
        assert_eq!(reason, Reason::Unhealthy);
        drop(term);
        world.until("released", async || value_of(world, Mode::SingleKey).await.is_none()).await;
    }
    mode.store(WELL, Ordering::Release);
}

#[test]
fn case_21_a_health_check_that_fails_or_hangs_live() {
    live(Version::V3_7, |world| Box::pin(a_health_check_that_fails_or_hangs(world)));
}

/// S13: what cannot work is refused when it starts, by name.
async fn what_cannot_work_is_refused(world: &World) {
    let peer = world.peer(1);
    let builder = || Elector::builder(&peer.client, "k");
    let refused = [
        ("ttl", builder().ttl(Duration::ZERO).start()),
        ("step_down_margin", builder().ttl(TTL).step_down_margin(TTL).start()),
        ("drain_timeout", builder().drain_timeout(Duration::MAX).start()),
        ("cool_down", builder().cool_down(Duration::MAX).start()),
        ("health_age", builder().health_age(Duration::from_secs(60)).start()),
        ("key", Elector::builder(&peer.client, "").start()),
    ];
    for (name, outcome) in refused {
        match outcome {
            Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    peer.client.close().await.unwrap();
    assert!(matches!(builder().start(), Err(Error::Closed)));
}

both_worlds!(what_cannot_work_is_refused, s13_what_cannot_work_is_refused, s13_elector_live on V3_7);
