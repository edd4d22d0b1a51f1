//! Cases 52, 56 and 57, and S10 and S15: when a winner may lead at once, and what tells others apart from a resign.
//! Owns the takeover delay and the mark; the rest of campaigning is `campaign`'s.

use std::time::Duration;

use etcd_client::proto::{
    PbAuthEnableRequest, PbAuthRoleAddRequest, PbAuthUserAddRequest, PbAuthUserGrantRoleRequest, PbLeaseGrantRequest,
};
use leadership_core::{Error, Lease, Op};
use leadership_testkit::Target;
use leadership_tests::both_worlds;
use leadership_tests::raw::{Grant, permission};
use leadership_tests::world::World;

use crate::steps::{DELAY, at_once, delayed, delaying, follow, options, sees_gone, timed, until_reached};

/// A stranger's lease of a minute.
async fn foreign_lease(world: &World) -> i64 {
    world.stranger().grant(PbLeaseGrantRequest { ttl: 60, id: 0 }).await.unwrap().id
}

/// Resign: the successor leads at once. Revoked, deleted by a stranger, an operator's mark, a mark that is not of the
/// delete before: the full delay.
async fn only_the_holders_own_word_saves_the_delay(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership_with("k", delaying()), b.leadership_with("k", delaying()));
    let term = delayed(timed(&first, "a").await); // a first campaign always waits
    follow(&second).await;
    first.reset().await.unwrap();
    let mark = world.get("k.resigned").await.unwrap();
    assert_eq!((mark.value, mark.lease), (term.token().to_string().into_bytes(), 0));
    sees_gone(&second, &term).await;
    let term = at_once(timed(&second, "b").await);
    assert_eq!(world.get("k.resigned").await, None, "used up");

    // Revoked behind the holder's back.
    follow(&first).await;
    world.revoke(term.lease_id()).await;
    sees_gone(&first, &term).await;
    let term = delayed(timed(&first, "a").await);

    // Deleted by a stranger.
    follow(&second).await;
    world.delete("k").await;
    sees_gone(&second, &term).await;
    let term = delayed(timed(&second, "b").await);

    // Deleted by a stranger, and a mark that looks like the holder's, written before or after.
    follow(&first).await;
    world.put("k.resigned", &term.token().to_string(), 0).await;
    world.delete("k").await;
    sees_gone(&first, &term).await;
    let term = delayed(timed(&first, "a").await);

    // The holder's resign, and then an operator's word over it.
    follow(&second).await;
    first.reset().await.unwrap();
    sees_gone(&second, &term).await;
    world.put("k.resigned", &format!("{} operator", term.token()), 0).await;
    let term = delayed(timed(&second, "b").await);

    // Nobody watched: an absence without a delete seen.
    let c = world.peer(3);
    let late = c.leadership_with("k", delaying());
    second.reset().await.unwrap();
    assert!(delayed(timed(&late, "a").await).token() > term.token());
}

both_worlds!(
    only_the_holders_own_word_saves_the_delay,
    s15_only_the_holders_own_word_saves_the_delay,
    s15_live on V3_7
);

/// A holder that found its term expired has ended it by itself: its late delete carries the mark.
async fn a_holder_that_expired_says_so(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership_with("k", delaying()), b.leadership_with("k", delaying()));
    let term = first.campaign(options("a")).await.unwrap(); // not kept
    follow(&second).await;
    assert_eq!(term.lost().await, leadership_core::Reason::Expired);
    sees_gone(&second, &term).await;
    assert!(!term.is_valid());
    let successor = at_once(timed(&second, "b").await);
    assert!(successor.token() > term.token());
}

both_worlds!(a_holder_that_expired_says_so, s15_a_holder_that_expired_says_so, s15_expired_live on V3_4);

/// Revoked early; the next gives up within its delay: its delete has no mark, and the one after it waits in full. The
/// mark of an older resign helps nobody.
async fn a_term_that_never_was_marks_nothing(world: &World) {
    let (a, b, c) = (world.peer(1), world.peer(2), world.peer(3));
    let (first, second, third) =
        (a.leadership_with("k", delaying()), b.leadership_with("k", delaying()), c.leadership_with("k", delaying()));
    first.campaign(options("a")).await.unwrap();
    first.reset().await.unwrap(); // an old mark lies there
    let term = first.campaign(options("a")).await.unwrap();
    first.keep().unwrap();
    follow(&second).await;
    follow(&third).await;
    world.revoke(term.lease_id()).await;
    sees_gone(&second, &term).await;
    let mut campaign = Box::pin(second.campaign(options("b")));
    tokio::select! {
        early = &mut campaign => panic!("within its delay: {early:?}"),
        () = world.until("the second took the key", async || world.get("k").await.is_some_and(|kv| kv.value == b"b")) => {}
    }
    drop(campaign);
    world.until("the second let it go", async || world.get("k").await.is_none()).await;
    assert_eq!(world.get("k.resigned").await, None, "a term that was never valid writes no mark");
    sees_gone(&third, &term).await;
    delayed(timed(&third, "c").await);
}

both_worlds!(a_term_that_never_was_marks_nothing, case_52_a_term_that_never_was_marks_nothing, case_52_live on V3_7);

/// The first wins unheard, its lease is revoked early, the second wins, waits, leads and resigns; only then the first
/// hears of its win: it does not lead. With a silent watch, only the proof can tell.
async fn a_win_heard_too_late_does_not_lead(world: &World) {
    for silent in [false, true] {
        for delay in [Duration::ZERO, Duration::from_millis(100)] {
            let (a, b) = (world.peer(1), world.peer(2));
            let (first, second) = (a.leadership_with("k", delaying().takeover_delay(delay)), b.leadership("k"));
            let reply = a.faults.hold_reply(Target::txn_putting("k"), 1);
            let mut campaign = Box::pin(first.campaign(options("a")));
            until_reached(&reply, &mut campaign).await;
            if silent {
                a.faults.silence_streams(leadership_testkit::Method::Watch);
            }
            world.revoke(world.get("k").await.unwrap().lease).await;
            let term = second.campaign(options("b")).await.unwrap();
            assert!(term.is_valid());
            second.reset().await.unwrap();
            reply.release();
            let failed = campaign.await.unwrap_err();
            assert!(matches!(failed, Error::NotElected { .. } | Error::Timeout { .. }), "{failed:?}");
            assert!(!first.check() && first.term().is_none());
            assert_eq!(world.get("k").await, None);
        }
    }
}

both_worlds!(a_win_heard_too_late_does_not_lead, case_56_a_win_heard_too_late_does_not_lead, case_56_live on V3_7);

/// A campaign is under way; the holder resigns with its mark; a stranger takes the key and loses it early; then the
/// campaign is applied, and removes a good mark: it waits all the same.
async fn a_good_mark_of_an_older_delete_saves_nothing(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership_with("k", delaying()), b.leadership_with("k", delaying()));
    let term = first.campaign(options("a")).await.unwrap();
    follow(&second).await;
    let held = b.faults.hold(Target::txn_putting("k"), 1);
    let mut campaign = Box::pin(timed(&second, "b"));
    until_reached(&held, &mut campaign).await;
    first.reset().await.unwrap();
    let foreign = foreign_lease(world).await;
    world.put("k", "stranger", foreign).await;
    world.revoke(foreign).await;
    assert!(world.get("k.resigned").await.is_some(), "nobody has used it up");
    let released = tokio::time::Instant::now();
    held.release();
    let won = campaign.await.0.unwrap();
    assert!(released.elapsed() >= DELAY * 99 / 100, "took only {:?}", released.elapsed());
    assert!(won.token() > term.token());
    assert_eq!(world.get("k.resigned").await, None);
}

both_worlds!(
    a_good_mark_of_an_older_delete_saves_nothing,
    case_57_a_good_mark_of_an_older_delete_saves_nothing,
    case_57_live on V3_4
);

/// Setting a lease for the next campaign, or closing the term's, never leaves a valid term without a living lease.
async fn no_term_outlives_its_lease(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let lead = a.leadership("k");
    let term = lead.campaign(options("a")).await.unwrap();
    lead.keep().unwrap();
    let lease = Lease::grant(&a.client, Duration::from_secs(30), "next").await.unwrap();
    lead.set_lease(Some(lease.clone())).unwrap();
    world.pass(Duration::from_millis(300)).await;
    assert!(term.is_valid(), "{:?}", term.lost_reason());
    assert!(world.leases().await.contains(&term.lease_id()), "its own lease lives on");
    assert_eq!(lead.lease().unwrap().id(), term.lease_id());
    lead.reset().await.unwrap();
    let term = lead.campaign(options("a")).await.unwrap();
    assert_eq!(term.lease_id(), lease.id());
    // No event may be needed to end it: the revoke is on its way only when the term has ended.
    a.faults.silence_streams(leadership_testkit::Method::Watch);
    let revoke = a.faults.hold(leadership_testkit::Method::LeaseRevoke, 1);
    let mut close = Box::pin(lease.close());
    until_reached(&revoke, &mut close).await;
    assert!(!term.is_valid() && !lead.check());
    assert_eq!(term.lost_reason(), Some(leadership_core::Reason::Closed));
    revoke.release();
    close.await.unwrap();
    b.leadership("k").campaign(options("b")).await.unwrap();
}

both_worlds!(no_term_outlives_its_lease, s1_no_term_outlives_its_lease, s1_lease_live on V3_7);

/// A role that covers the key alone still leads, without registration and mark; nobody else's term is taken for its own.
async fn a_role_with_the_key_alone_leads(world: &World) {
    let root = world.stranger();
    for (user, role, key, end) in [("root", "root", "", ""), ("keyholder", "keyholder", "k", "")] {
        let add = PbAuthUserAddRequest { name: user.to_owned(), password: "secret".to_owned(), ..Default::default() };
        root.user_add(add).await.unwrap();
        let named = PbAuthRoleAddRequest { name: role.to_owned() };
        root.role_add(named).await.unwrap();
        if !key.is_empty() {
            root.role_permission(permission(role, Grant::ReadWrite, key, end)).await.unwrap();
        }
        let grant = PbAuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() };
        root.user_role(grant).await.unwrap();
    }
    root.auth_enable(PbAuthEnableRequest {}).await.unwrap();
    let root = root.with_token(root.login("root", "secret").await.unwrap());
    let peer = world.peer_with(1, |options| options.credentials("keyholder", "secret"));
    let other = world.peer_with(2, |options| options.credentials("keyholder", "secret"));
    let (lead, rival) = (peer.leadership_with("k", delaying()), other.leadership_with("k", delaying()));
    let term = delayed(timed(&lead, "a").await);
    lead.keep().unwrap();
    assert_eq!(peer.client.get_leader("k").await.unwrap().unwrap().token, Some(term.token()));
    world.pass(Duration::from_secs(6)).await;
    assert!(lead.check(), "{:?}", term.lost_reason());
    term.txn().then([Op::get("k")]).commit().await.unwrap();
    follow(&rival).await;
    lead.reset().await.unwrap();
    assert_eq!(root.get("k.resigned").await.unwrap().kvs.len(), 0, "no mark");
    sees_gone(&rival, &term).await;
    let next = delayed(timed(&rival, "b").await);
    assert!(next.token() > term.token());
    rival.reset().await.unwrap();
    // One lease, one key, two leaderships, no registration: at most one leads.
    let lease = Lease::grant(&peer.client, Duration::from_secs(30), "shared").await.unwrap();
    let second = peer.leadership("k");
    lead.set_lease(Some(lease.clone())).unwrap();
    second.set_lease(Some(lease)).unwrap();
    lead.campaign(options("a")).await.unwrap();
    let refused = second.campaign(options("b")).await.unwrap_err();
    assert!(matches!(refused, Error::NotElected { .. }), "{refused:?}");
    assert!(lead.check() && !second.check());
}

both_worlds!(a_role_with_the_key_alone_leads, s15_a_role_with_the_key_alone_leads, s15_role_live on V3_7);
