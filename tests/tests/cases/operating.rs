//! S13, S15 and case 25: what operators do to an election from outside: depose, pause, and what they may not do.
//! Owns those; transfers, theirs and the holder's, are in `handing.rs`.

use std::time::Duration;

use leadership_core::{CampaignOptions, Elector, ElectorEvent, ElectorState, Error, Lease, Operator, Reason};
use leadership_testkit::{Access, Cluster, Lost, Method, Target};
use leadership_tests::both_worlds;
use leadership_tests::world::{Peer, World, simulated, simulated_with};

use crate::keeping::{TTL, extended, lead};
use crate::steps::{DELAY, at_once, delayed, delaying, follow, nothing_left, options, sees_gone, timed, until_reached};

pub(crate) fn operator(peer: &Peer) -> Operator {
    Operator::new(&peer.client, "k").unwrap()
}

pub(crate) fn elector(peer: &Peer, value: &str) -> Elector {
    Elector::builder(&peer.client, "k").value(value).ttl(TTL).start().unwrap()
}

async fn mark(world: &World) -> String {
    String::from_utf8(world.get("k.resigned").await.unwrap().value).unwrap()
}

/// A paused election: who leads drains and resigns, nobody stands or campaigns, and it goes on when it may.
async fn paused_in_each_state(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let operator = operator(&two);
    let first = elector(&one, "one");
    let mut events = first.events();
    // Nobody wants a term.
    operator.pause().await.unwrap();
    operator.pause().await.unwrap();
    assert!(operator.is_paused().await.unwrap());
    world.until("it has heard of it", async || first.state() == ElectorState::Paused).await;
    assert!(matches!(events.next().await, Some(ElectorEvent::Vacant)));
    assert!(matches!(events.next().await, Some(ElectorEvent::Paused)));
    // Somebody wants one, and in full control too.
    let early = tokio::time::timeout(Duration::from_secs(1), first.next_term()).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!((world.keys("k").await, world.leases().await), (vec!["k.paused".to_owned()], vec![]), "nobody stands");
    match two.leadership("k").campaign(options("two")).await {
        Err(Error::Unavailable { message }) => assert!(message.contains("paused"), "{message}"),
        other => panic!("{other:?}"),
    }
    let (term, ()) = tokio::join!(first.next_term(), async {
        world.pass(Duration::from_millis(200)).await;
        operator.unpause().await.unwrap();
    });
    let term = term.unwrap().unwrap();
    // While it leads, and another stands by: drained, with authority to finish.
    let second = elector(&two, "two");
    let standing = tokio::time::timeout(Duration::from_millis(500), second.next_term()).await;
    assert!(standing.is_err() && world.keys("k.candidates/").await.len() == 1, "it stands by");
    operator.pause().await.unwrap();
    world.until("nobody stands", async || world.keys("k.candidates/").await.is_empty()).await;
    second.close().await.unwrap();
    assert_eq!(term.lost().await, Reason::Paused);
    assert_eq!(first.state(), ElectorState::Draining);
    world.pass(Duration::from_millis(300)).await;
    assert!(term.is_valid() && world.get("k").await.is_some());
    let token = term.token();
    drop(term);
    world.until("released", async || world.get("k").await.is_none()).await;
    assert_eq!(mark(world).await, token.to_string(), "its own word");
    world.until("paused again", async || first.state() == ElectorState::Paused).await;
    // A term that nobody has taken yet.
    operator.unpause().await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_micros(1), first.next_term()).await;
    assert!(waiting.is_err());
    world.until("won for nobody", async || first.is_leader()).await;
    operator.pause().await.unwrap();
    world.until("given up", async || !first.is_leader() && world.get("k").await.is_none()).await;
    // Closed while it is paused: nothing is left.
    first.close().await.unwrap();
    operator.unpause().await.unwrap();
    assert!(!operator.is_paused().await.unwrap());
    nothing_left(world, "k", &[], TTL).await;
}

both_worlds!(paused_in_each_state, s9_paused_in_each_state, s9_paused_live on V3_7);

/// A campaign under way when the election is paused: called off in its takeover delay, refused if its transaction
/// comes after the pause, whatever the watch has shown.
async fn a_pause_meets_a_campaign(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let operator = operator(&two);
    let elector = Elector::builder(&one.client, "k").ttl(TTL).takeover_delay(DELAY).start().unwrap();
    let calm = async || world.keys("k").await.iter().all(|key| key.starts_with("k.")) && world.leases().await.is_empty();
    for held in [true, false] {
        let waiting = elector.next_term();
        tokio::pin!(waiting);
        if held {
            let campaign = one.faults.hold(Target::txn_putting("k"), 1);
            until_reached(&campaign, &mut waiting).await;
            one.faults.silence_streams(Method::Watch);
            operator.pause().await.unwrap();
            campaign.release();
            campaign.delivered().await;
            assert_eq!(world.get("k").await, None, "its transaction compares the pause");
            one.faults.break_streams(Method::Watch);
        } else {
            let taken = world.until("within its delay", async || world.get("k").await.is_some());
            tokio::select! {
                early = &mut waiting => panic!("{early:?}"),
                () = taken => {}
            }
            operator.pause().await.unwrap();
        }
        let clean = async {
            world.until("paused", async || elector.state() == ElectorState::Paused).await;
            world.until("nothing of it is left", calm).await;
        };
        tokio::select! {
            early = &mut waiting => panic!("{early:?}"),
            () = clean => {}
        }
        operator.unpause().await.unwrap();
        let term = waiting.await.unwrap().unwrap();
        assert!(term.is_valid());
        world.delete("k").await;
        term.lost().await;
    }
}

#[test]
fn s9_a_pause_meets_a_campaign() {
    simulated(|world| Box::pin(a_pause_meets_a_campaign(world)));
}

/// A role that covers the key alone knows nothing of a pause, and leads as ever.
async fn a_role_with_the_key_alone_is_not_paused(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    cluster.enable_auth("secret");
    cluster.set_user("keyholder", "secret");
    cluster.allow("keyholder", Access::ReadWrite, "k", "");
    cluster.put("k.paused", "", 0);
    let peer = world.peer_with(1, |options| options.credentials("keyholder", "secret"));
    let elector = elector(&peer, "one");
    let term = tokio::time::timeout(TTL, elector.next_term()).await.unwrap().unwrap().unwrap();
    world.pass(2 * TTL).await;
    assert!(term.is_valid());
    assert!(matches!(operator(&peer).pause().await, Err(Error::PermissionDenied { .. })));
}

#[test]
fn s15_a_role_with_the_key_alone_is_not_paused() {
    simulated(|world| Box::pin(a_role_with_the_key_alone_is_not_paused(world)));
}

/// Deposed by somebody else: the term ends at once, the mark says whose word it was, and the successor waits its delay.
async fn deposed(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let operator = operator(&two);
    assert_eq!(operator.depose(false).await, Ok(None), "nobody leads");
    let next = two.leadership_with("k", delaying());
    follow(&next).await;
    let (held, term) = lead(&one, "k", "one").await;
    let deposed = operator.depose(false).await.unwrap().unwrap();
    assert_eq!((deposed.value.as_slice(), deposed.token), (&b"one"[..], Some(term.token())));
    assert_eq!(term.lost().await, Reason::KeyDeleted);
    assert_eq!(mark(world).await, format!("{} operator", term.token()));
    sees_gone(&next, &term).await;
    let follower = delayed(timed(&next, "two").await);
    assert!(follower.token() > term.token());
    assert!(!held.check());
    next.reset().await.unwrap();
    // Put by hand, without a lease: it would stay for ever.
    world.put("k", "by hand", 0).await;
    let by_hand = operator.depose(true).await.unwrap().unwrap();
    assert_eq!((by_hand.value.as_slice(), by_hand.lease), (&b"by hand"[..], 0));
    assert_eq!(world.get("k").await, None);
}

both_worlds!(deposed, s15_deposed_by_an_operator, s15_deposed_live on V3_4);

/// Guarded by the term that was seen: moved or proclaimed meanwhile, it is the same; another's is left alone.
async fn only_the_term_that_was_seen(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let (one, two) = (world.peer(1), world.peer(2));
    // So long may its transaction be held.
    let three = world.peer_with(3, |options| options.request_timeout(TTL * 6));
    let operator = operator(&three);
    let (_first, term) = lead(&one, "k", "one").await;
    extended(world, &term).await;
    let held = three.faults.hold(Target::txn_deleting("k"), 1);
    let mut deposing = Box::pin(operator.depose(false));
    until_reached(&held, &mut deposing).await;
    let old = term.lease_id();
    cluster.change_leader((cluster.leader().unwrap() + 1) % 3);
    world.until_within(TTL, "it moved", async || term.lease_id() != old).await;
    term.proclaim("still one").await.unwrap();
    held.release();
    assert_eq!(deposing.await.unwrap().unwrap().token, Some(term.token()));
    assert_eq!(term.lost().await, Reason::KeyDeleted);
    // Another's term by the time that it arrives.
    let (first, _) = lead(&one, "k", "one").await;
    let held = three.faults.hold(Target::txn_deleting("k"), 1);
    let mut deposing = Box::pin(operator.depose(false));
    until_reached(&held, &mut deposing).await;
    first.reset().await.unwrap();
    let (second, _) = lead(&two, "k", "two").await;
    held.release();
    match deposing.await {
        Err(Error::NotElected { holder: Some(holder), .. }) => assert_eq!(holder.value, b"two"),
        other => panic!("{other:?}"),
    }
    world.pass(TTL).await;
    assert!(second.check(), "case 25");
}

#[test]
fn s15_case_25_only_the_term_that_was_seen() {
    simulated_with(Cluster::builder().members(3), |world| Box::pin(only_the_term_that_was_seen(world)));
}

/// With `wait` no two terms overlap, though the deposed leader hears of nothing: the successor leads when the operator
/// has waited as long as the old lease was granted for, and then at once.
async fn deposed_with_a_wait(world: &World) {
    let (one, two, three) = (world.peer(1), world.peer(2), world.peer(3));
    let next = two.leadership_with("k", delaying());
    follow(&next).await;
    let (_held, term) = lead(&one, "k", "one").await;
    extended(world, &term).await;
    // From now on it hears nothing, renewals apart: not of its key either.
    one.faults.silence_streams(Method::Watch);
    one.faults.hang(Method::Watch);
    one.faults.hang(Target::txn_reading());
    let began = tokio::time::Instant::now();
    let mut deposing = Box::pin(operator(&three).depose(true));
    tokio::select! {
        early = &mut deposing => panic!("{early:?}"),
        () = world.pass(TTL / 2) => {}
    }
    let key = world.get("k").await.unwrap();
    assert!(key.lease != term.lease_id() && key.value == b"one", "held by nobody that leads");
    assert!(mark(world).await.ends_with(" operator"));
    assert!(matches!(next.campaign(options("two")).await, Err(Error::NotElected { .. })));
    deposing.await.unwrap();
    assert!(began.elapsed() >= TTL * 99 / 100, "{:?}", began.elapsed());
    assert!(!term.is_valid(), "it would have overlapped");
    sees_gone(&next, &term).await;
    let follower = at_once(timed(&next, "two").await);
    assert!(follower.token() > term.token());
    world.until("the operator's lease is gone", async || !world.leases().await.contains(&key.lease)).await;
    // Given up in the middle: the key goes, and with it the operator's lease.
    let mut deposing = Box::pin(operator(&three).depose(true));
    tokio::select! {
        early = &mut deposing => panic!("{early:?}"),
        () = world.pass(TTL / 2) => {}
    }
    drop(deposing);
    world.until("freed", async || world.get("k").await.is_none()).await;
    assert_eq!(follower.lost().await, Reason::Overwritten);
}

#[test]
fn s15_s1_deposed_with_a_wait() {
    simulated(|world| Box::pin(deposed_with_a_wait(world)));
}

/// The reply is lost: found out, or said to be unknown; never done twice.
async fn an_operators_lost_reply(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, term) = lead(&one, "k", "one").await;
    two.faults.drop_replies(Target::txn_deleting("k"), 2, Lost::Error);
    let deposed = operator(&two).depose(false).await.unwrap().unwrap();
    assert_eq!(deposed.token, Some(term.token()));
    term.lost().await;
    let again = first.campaign(CampaignOptions::new("one").ttl(TTL)).await.unwrap();
    two.faults.drop_replies(Target::txn_deleting("k"), 1000, Lost::Error);
    assert!(matches!(operator(&two).depose(false).await, Err(Error::OutcomeUnknown { .. })));
    two.faults.heal();
    assert_eq!(again.lost().await, Reason::KeyDeleted);
    // On a lease of the caller's that was overwritten, not seen deleted, it does not stand again (S10).
    let lease = Lease::grant(&one.client, TTL, "shared").await.unwrap();
    lease.keep_alive().unwrap();
    first.set_lease(Some(lease.clone())).unwrap();
    let term = first.campaign(CampaignOptions::new("one").ttl(TTL)).await.unwrap();
    assert_eq!(term.lease_id(), lease.id());
    let foreign = world.peer(3);
    let other = Lease::grant(&foreign.client, TTL, "other").await.unwrap();
    world.put("k", "other", other.id()).await;
    assert_eq!(term.lost().await, Reason::Overwritten);
    world.delete("k").await;
    let term = first.campaign(CampaignOptions::new("one").ttl(TTL)).await.unwrap();
    assert_ne!(term.lease_id(), lease.id());
}

#[test]
fn s7_s10_an_operators_lost_reply() {
    simulated(|world| Box::pin(an_operators_lost_reply(world)));
}

/// S13: by name, and before anything is sent.
#[test]
fn s13_an_operators_key_is_checked() {
    simulated(|world| {
        Box::pin(async {
            let peer = world.peer(1);
            for bad in ["", "k.paused", "k.candidates/1"] {
                match Operator::new(&peer.client, bad) {
                    Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, "key"),
                    other => panic!("{other:?}"),
                }
            }
            let operator = operator(&peer);
            peer.client.close().await.unwrap();
            assert!(matches!(operator.pause().await, Err(Error::Closed)));
            assert!(matches!(operator.leader().await, Err(Error::Closed)));
        })
    });
}
