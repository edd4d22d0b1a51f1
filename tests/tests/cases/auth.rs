//! etcd's own authentication: tokens that die under long waits, and what a wrong password or a missing permission says.
//! Owns case 09 and its neighbours; TLS is in `tls`.

use std::time::Duration;

use etcd_client::proto::{
    PbAuthEnableRequest, PbAuthRoleAddRequest, PbAuthRoleRevokePermissionRequest, PbAuthUserAddRequest,
    PbAuthUserChangePasswordRequest, PbAuthUserGrantRoleRequest,
};
use leadership_core::{CampaignOptions, ClientOptions, Error, LeadershipOptions, Reason, TermState, WatchEnd};
use leadership_testkit::{Access, Cluster, Method};
use leadership_tests::etcd::{Etcd, Version};
use leadership_tests::raw::{Grant, permission};
use leadership_tests::world::{Peer, World, live_with, ok, record, simulated_with};
use tonic::{Code, Status};

/// How long a token lives after its last use.
const TOKEN: Duration = Duration::from_secs(2);

/// Turns authentication on: `root`, and `app` who may do anything with keys that begin with `k`, and read `r`.
async fn enable(world: &World) {
    if let Some(cluster) = &world.cluster {
        cluster.set_user("app", "secret");
        cluster.allow("app", Access::ReadWrite, "k", "l");
        cluster.allow("app", Access::Read, "r", "");
        cluster.enable_auth("rootpass");
        return;
    }
    let root = world.stranger();
    for (name, password) in [("root", "rootpass"), ("app", "secret")] {
        let user = PbAuthUserAddRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            ..Default::default()
        };
        ok(root.user_add(user).await);
        ok(root.role_add(PbAuthRoleAddRequest { name: name.to_owned() }).await);
        let role = PbAuthUserGrantRoleRequest {
            user: name.to_owned(),
            role: name.to_owned(),
        };
        ok(root.user_role(role).await);
    }
    ok(root.role_permission(permission("app", Grant::ReadWrite, "k", "l")).await);
    ok(root.role_permission(permission("app", Grant::Read, "r", "")).await);
    ok(root.auth_enable(PbAuthEnableRequest {}).await);
}

fn app(options: ClientOptions) -> ClientOptions {
    options.credentials("app", "secret").reread_interval(Duration::from_secs(60))
}

async fn follow(world: &World, peer: &Peer, key: &str, revision: i64) -> tokio::task::JoinHandle<leadership_core::Result<WatchEnd>> {
    let follower = peer.leadership_with(key, LeadershipOptions::default());
    let watching = tokio::task::spawn_local(async move { follower.watch(revision).await });
    world.pass(Duration::from_millis(300)).await;
    watching
}

/// A leader and a follower for longer than tokens live. The follower uses its token for nothing meanwhile: its open watch
/// hears of the end, a new watch on the old stream is refused and made on a new one, and its campaign wins.
async fn case_09_tokens_die_under_a_long_wait(world: &World) {
    enable(world).await;
    let (leader, waiting) = (world.peer_with(1, app), world.peer_with(2, app));
    let (lead, term) = crate::keeping::lead(&leader, "k1", "a").await;
    let revision = leader.client.get_leader("k1").await.unwrap().unwrap().create_revision;
    let watching = follow(world, &waiting, "k1", revision).await;
    world.pass(TOKEN * 4).await;
    assert!(term.is_valid(), "the leader's streams outlive its tokens: {term:?}");
    let second = follow(world, &waiting, "k2", 0).await;
    world.until("a watch made after the token died", async || second.is_finished()).await;
    lead.reset().await.unwrap();
    world.until("the old one hears of the end", async || watching.is_finished()).await;
    assert!(matches!(watching.await.unwrap(), Ok(WatchEnd::Deleted { .. })));
    world.pass(TOKEN * 2).await;
    let next = waiting.leadership("k1");
    assert!(next.campaign(CampaignOptions::new("b")).await.unwrap().is_valid());
}

#[test]
fn case_09_tokens_die_under_a_long_wait_() {
    simulated_with(Cluster::builder().token_ttl(TOKEN), |world| Box::pin(case_09_tokens_die_under_a_long_wait(world)));
}

fn live_tokens(version: Version) -> leadership_tests::etcd::Options {
    Etcd::options(version).flag(format!("--auth-token-ttl={}", TOKEN.as_secs()))
}

#[test]
fn case_09_tokens_die_under_a_long_wait_on_3_4() {
    live_with(live_tokens(Version::V3_4), |world| Box::pin(case_09_tokens_die_under_a_long_wait(world)));
}

#[test]
fn case_09_tokens_die_under_a_long_wait_on_3_7() {
    live_with(live_tokens(Version::V3_7), |world| Box::pin(case_09_tokens_die_under_a_long_wait(world)));
}

/// A wrong password, no password, a key without permission: each is refused by name, at once.
async fn case_09_refusals_name_what_is_wrong(world: &World) {
    enable(world).await;
    let said = |result: Result<_, Error>| match result {
        Err(Error::PermissionDenied { message }) => message,
        other => panic!("{:?}", other.map(|_: Option<leadership_core::Leader>| ())),
    };
    let wrong = world.peer_with(1, |options| options.credentials("app", "guess"));
    let message = said(wrong.client.get_leader("k").await);
    assert!(message.contains("user \"app\"") && message.contains("password"), "{message}");
    let nobody = world.peer(2);
    let message = said(nobody.client.get_leader("k").await);
    assert!(message.contains("give a user and a password"), "{message}");
    let known = world.peer_with(3, app);
    let message = said(known.client.get_leader("x").await);
    assert!(message.contains("x: ") && message.contains("permission denied"), "{message}");
    assert!(known.client.get_leader("k").await.unwrap().is_none());
    let read_only = known.leadership("r").campaign(CampaignOptions::new("a")).await;
    assert!(matches!(read_only, Err(Error::PermissionDenied { .. })), "{read_only:?}");
    // A changed password ends the token; the right one is found out at once to be wrong now.
    if world.etcd.is_some() {
        let root = world.stranger();
        let root = root.with_token(ok(root.login("root", "rootpass").await));
        let change = PbAuthUserChangePasswordRequest {
            name: "app".to_owned(),
            password: "changed".to_owned(),
            ..Default::default()
        };
        ok(root.user_password(change).await);
        assert!(said(known.client.get_leader("k").await).contains("user \"app\""));
    }
}

#[test]
fn case_09_refusals_name_what_is_wrong_() {
    simulated_with(Cluster::builder(), |world| Box::pin(case_09_refusals_name_what_is_wrong(world)));
}

#[test]
fn case_09_refusals_name_what_is_wrong_on_3_4() {
    live_with(Etcd::options(Version::V3_4), |world| Box::pin(case_09_refusals_name_what_is_wrong(world)));
}

#[test]
fn case_09_refusals_name_what_is_wrong_on_3_7() {
    live_with(Etcd::options(Version::V3_7), |world| Box::pin(case_09_refusals_name_what_is_wrong(world)));
}

/// Credentials were given before authentication was turned on: from then on they are used, and the term goes on.
async fn case_09_authentication_is_turned_on_later(world: &World) {
    let peer = world.peer_with(1, app);
    let (lead, term) = crate::keeping::lead(&peer, "k", "a").await;
    enable(world).await;
    assert!(peer.client.get_leader("k").await.unwrap().is_some());
    world.pass(Duration::from_secs(10)).await;
    assert!(lead.check() && term.is_valid(), "{term:?}");
}

#[test]
fn case_09_authentication_is_turned_on_later_() {
    simulated_with(Cluster::builder(), |world| Box::pin(case_09_authentication_is_turned_on_later(world)));
}

#[test]
fn case_09_authentication_is_turned_on_later_on_3_4() {
    live_with(Etcd::options(Version::V3_4), |world| Box::pin(case_09_authentication_is_turned_on_later(world)));
}

#[test]
fn case_09_authentication_is_turned_on_later_on_3_7() {
    live_with(Etcd::options(Version::V3_7), |world| Box::pin(case_09_authentication_is_turned_on_later(world)));
}

/// Roles changed between the token and the call: etcd refuses it once, and a new token is good again.
#[test]
fn case_09_an_old_auth_revision_is_no_mistake_of_the_callers() {
    simulated_with(Cluster::builder(), |world| {
        Box::pin(async move {
            enable(world).await;
            let peer = world.peer_with(1, app);
            assert!(peer.client.get_leader("k").await.unwrap().is_none());
            let old = || Status::new(Code::InvalidArgument, "etcdserver: revision of auth store is old");
            peer.faults.answer(Method::Txn, 1, old());
            let asked = peer.faults.calls(Method::Authenticate);
            assert!(peer.client.get_leader("k").await.unwrap().is_none());
            assert_eq!(peer.faults.calls(Method::Authenticate), asked + 1);
        })
    });
}

/// `app` may use one more key, from now on.
async fn allow(world: &World, key: &str) {
    match &world.cluster {
        Some(cluster) => cluster.allow("app", Access::ReadWrite, key, ""),
        None => {
            let root = world.stranger();
            let root = root.with_token(ok(root.login("root", "rootpass").await));
            ok(root.role_permission(permission("app", Grant::ReadWrite, key, "")).await);
        }
    }
}

/// A follower of a key that it may not read is told so, its neighbours on the same stream go on; once it is granted the
/// key it hears of it, with the next periodic read.
async fn case_09_a_watch_that_was_refused_recovers_after_a_grant(world: &World) {
    enable(world).await;
    let often = |options: ClientOptions| app(options).reread_interval(Duration::from_secs(2));
    let (leader, waiting) = (world.peer_with(1, app), world.peer_with(2, often));
    let (lead, term) = crate::keeping::lead(&leader, "k1", "a").await;
    let allowed = follow(world, &waiting, "k1", 0).await;
    let kept = waiting.leadership("x");
    let refused = kept.watch(0).await;
    assert!(matches!(&refused, Err(Error::PermissionDenied { message }) if message.contains("x: ")), "{refused:?}");
    world.pass(Duration::from_secs(5)).await;
    assert!(!allowed.is_finished() && term.is_valid(), "{term:?}");
    assert!(matches!(kept.watch(0).await, Err(Error::PermissionDenied { .. })), "and again: still so");
    allow(world, "x").await;
    let heard = async || matches!(kept.watch(0).await, Ok(WatchEnd::Deleted { .. }));
    world.until_within(Duration::from_secs(6), "the granted key is watched: nobody leads it", heard).await;
    assert!(kept.campaign(CampaignOptions::new("b")).await.unwrap().is_valid());
    assert!(!allowed.is_finished());
    lead.reset().await.unwrap();
    world.until("the neighbour hears of its end", async || allowed.is_finished()).await;
}

#[test]
fn case_09_a_watch_that_was_refused_recovers_after_a_grant_() {
    simulated_with(Cluster::builder(), |world| Box::pin(case_09_a_watch_that_was_refused_recovers_after_a_grant(world)));
}

#[test]
fn case_09_a_watch_that_was_refused_recovers_after_a_grant_on_3_7() {
    live_with(Etcd::options(Version::V3_7), |world| Box::pin(case_09_a_watch_that_was_refused_recovers_after_a_grant(world)));
}

/// The key of one of a client's terms may not be read any more: it ends when its deadline comes, as its key cannot be
/// shown to be ours; the client's other term shares the confirming reads and the periodic ones, and goes on.
async fn case_09_s15_a_key_that_may_not_be_read_costs_no_other_term(world: &World) {
    enable(world).await;
    allow(world, "y").await;
    let peer = world.peer_with(1, |options| app(options).reread_interval(Duration::from_secs(2)));
    let (_kept, kept) = crate::keeping::lead(&peer, "k1", "a").await;
    let (_lost, lost) = crate::keeping::lead(&peer, "y", "a").await;
    world.pass(Duration::from_secs(3)).await;
    assert!(kept.is_valid() && lost.is_valid());
    let root = world.stranger();
    let root = root.with_token(ok(root.login("root", "rootpass").await));
    let forbid = PbAuthRoleRevokePermissionRequest {
        role: "app".to_owned(),
        key: b"y".to_vec(),
        ..Default::default()
    };
    ok(root.role_forbid(forbid).await);
    ok(root.role_permission(permission("app", Grant::Write, "y", "")).await);
    world.until("the term whose key may not be read is lost", async || lost.is_lost()).await;
    assert_eq!(lost.lost_reason(), Some(Reason::Expired));
    let said = record(&kept);
    world.pass(crate::keeping::TTL * 3).await;
    assert!(kept.is_valid(), "{kept:?}");
    assert_eq!(*said.borrow(), [TermState::Leading], "not even in jeopardy");
}

#[test]
fn case_09_s15_a_key_that_may_not_be_read_costs_no_other_term_() {
    simulated_with(Cluster::builder(), |world| Box::pin(case_09_s15_a_key_that_may_not_be_read_costs_no_other_term(world)));
}

#[test]
fn case_09_s15_a_key_that_may_not_be_read_costs_no_other_term_on_3_7() {
    live_with(Etcd::options(Version::V3_7), |world| Box::pin(case_09_s15_a_key_that_may_not_be_read_costs_no_other_term(world)));
}
