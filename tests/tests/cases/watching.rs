//! Cases 27, 28, 30 and 32, S11, and the reference's exits of a watch: following another's leadership.
//! Owns what ends a watch, and what must not; the machine's own tests are beside it in the core.

use std::time::Duration;

use etcd_client::proto::{PbDeleteRequest, PbPutRequest};
use futures_util::FutureExt;
use leadership_core::{CampaignOptions, Error, LeadershipOptions, WatchEnd};
use leadership_testkit::{Cluster, Method};
use leadership_tests::etcd::{Etcd, Version};
use leadership_tests::world::{Peer, World, live, live_with, simulated, simulated_with};
use tokio::task::JoinHandle;

use crate::keeping::{TTL, lead};

/// The re-read of 15 s and its jitter of a fifth, and a little.
const REREAD: Duration = Duration::from_millis(18_500);

type Watching = JoinHandle<leadership_core::Result<WatchEnd>>;

/// Watches in the background, and lets the watch be made.
async fn watching(world: &World, peer: &Peer, options: LeadershipOptions, revision: i64) -> Watching {
    let lead = peer.leadership_with("k", options);
    let watching = tokio::task::spawn_local(async move { lead.watch(revision).await });
    world.pass(Duration::from_millis(300)).await;
    watching
}

async fn ends(world: &World, bound: Duration, what: &str, watching: Watching) -> WatchEnd {
    world.until_within(bound, what, async || watching.is_finished()).await;
    watching.await.unwrap().unwrap()
}

/// While the stream was away the key was deleted, and all that could tell of it compacted.
async fn case_27_a_compacted_delete_is_found(world: &World) {
    let peer = world.peer(1);
    let revision = world.put("k", "leader", 0).await;
    let watching = watching(world, &peer, LeadershipOptions::default(), revision).await;
    peer.faults.refuse(Method::Watch, 4);
    peer.faults.break_streams(Method::Watch);
    world.delete("k").await;
    world.compact().await;
    let end = ends(world, Duration::from_secs(10), "the delete is found", watching).await;
    assert!(matches!(end, WatchEnd::Deleted { revision: at } if at > revision), "{end:?}");
}

#[test]
fn case_27_a_compacted_delete_is_found_() {
    simulated(|world| Box::pin(case_27_a_compacted_delete_is_found(world)));
}

#[test]
fn case_27_a_compacted_delete_is_found_live_3_7() {
    live(Version::V3_7, |world| Box::pin(case_27_a_compacted_delete_is_found(world)));
}

#[test]
fn case_27_a_compacted_delete_is_found_live_3_4() {
    live(Version::V3_4, |world| Box::pin(case_27_a_compacted_delete_is_found(world)));
}

/// No watch stream to be had at all: the periodic read finds what no event tells.
async fn s11_a_missed_delete_is_found_by_reading(world: &World) {
    let peer = world.peer_with(1, |options| options.reread_interval(Duration::from_secs(3)));
    let revision = world.put("k", "leader", 0).await;
    let watching = watching(world, &peer, LeadershipOptions::default(), revision).await;
    peer.faults.hang(Method::Watch);
    peer.faults.silence_streams(Method::Watch);
    world.delete("k").await;
    let end = ends(world, Duration::from_secs(5), "the delete is read", watching).await;
    assert!(matches!(end, WatchEnd::Deleted { revision: at } if at > revision), "{end:?}");
}

#[test]
fn s11_a_missed_delete_is_found_by_reading_() {
    simulated(|world| Box::pin(s11_a_missed_delete_is_found_by_reading(world)));
}

#[test]
fn s11_a_missed_delete_is_found_by_reading_live() {
    live(Version::V3_7, |world| Box::pin(s11_a_missed_delete_is_found_by_reading(world)));
}

/// What is known of the key is older than the leader that is waited for: that is no end. And what is read later is.
async fn s11_an_old_absence_is_not_the_end(world: &World) {
    let peer = world.peer_with(1, |options| options.reread_interval(Duration::from_secs(3)));
    let follower = peer.leadership("k");
    assert!(matches!(follower.watch(0).await, Ok(WatchEnd::Deleted { .. })), "nobody leads yet");
    peer.faults.hang(Method::Watch);
    peer.faults.silence_streams(Method::Watch);
    let revision = world.put("k", "leader", 0).await;
    let watch = follower.watch(revision);
    tokio::pin!(watch);
    tokio::select! {
        end = &mut watch => panic!("{end:?}, while the leader of revision {revision} holds the key"),
        () = world.pass(Duration::from_millis(500)) => {}
    }
    // It goes before anything was read in between: absent then, and absent now, but at a later revision.
    world.delete("k").await;
    let end = tokio::time::timeout(Duration::from_secs(5), watch).await;
    assert!(matches!(end, Ok(Ok(WatchEnd::Deleted { revision: at })) if at > revision), "{end:?}");
}

#[test]
fn s11_an_old_absence_is_not_the_end_() {
    simulated(|world| Box::pin(s11_an_old_absence_is_not_the_end(world)));
}

/// Watched from whatever there is; the stream breaks, and the delete happens while it is away.
async fn case_28_resumed_after_a_break(world: &World) {
    let peer = world.peer(1);
    world.put("k", "leader", 0).await;
    world.put("other", "x", 0).await;
    let watching = watching(world, &peer, LeadershipOptions::default(), 0).await;
    peer.faults.refuse(Method::Watch, 2);
    peer.faults.break_streams(Method::Watch);
    let revision = world.delete("k").await;
    let end = ends(world, Duration::from_secs(5), "the delete is heard", watching).await;
    assert_eq!(end, WatchEnd::Deleted { revision }, "the very event: resumed, not begun anew from now");
}

#[test]
fn case_28_resumed_after_a_break_() {
    simulated(|world| Box::pin(case_28_resumed_after_a_break(world)));
}

#[test]
fn case_28_resumed_after_a_break_live_3_7() {
    live(Version::V3_7, |world| Box::pin(case_28_resumed_after_a_break(world)));
}

#[test]
fn case_28_resumed_after_a_break_live_3_4() {
    live(Version::V3_4, |world| Box::pin(case_28_resumed_after_a_break(world)));
}

/// The stream goes silent: one new one within 12.5 s. All new ones are silent too: no more than one every few seconds.
async fn case_30_silence_is_rebuilt_not_over_and_over(world: &World) {
    let peer = world.peer(1);
    let revision = world.put("k", "leader", 0).await;
    let watching = watching(world, &peer, LeadershipOptions::default(), revision).await;
    assert_eq!(peer.faults.calls(Method::Watch), 1);
    world.pass(Duration::from_secs(120)).await;
    assert_eq!(peer.faults.calls(Method::Watch), 1, "an idle stream is not a silent one");
    peer.faults.silence_streams(Method::Watch);
    let bound = Duration::from_millis(12_500);
    world.until_within(bound, "a new stream", async || peer.faults.calls(Method::Watch) == 2).await;
    world.pass(Duration::from_secs(120)).await;
    assert_eq!(peer.faults.calls(Method::Watch), 2, "and that was that");
    peer.faults.hang(Method::Watch);
    peer.faults.break_streams(Method::Watch);
    world.pass(Duration::from_secs(120)).await;
    let opened = peer.faults.calls(Method::Watch) - 2;
    assert!((10..40).contains(&opened), "{opened} streams in two minutes");
    peer.faults.heal();
    world.pass(Duration::from_secs(8)).await;
    let revision = world.delete("k").await;
    let end = ends(world, Duration::from_millis(50), "the delete is heard on the new stream", watching).await;
    assert_eq!(end, WatchEnd::Deleted { revision });
}

#[test]
fn case_30_silence_is_rebuilt_not_over_and_over_() {
    simulated(|world| Box::pin(case_30_silence_is_rebuilt_not_over_and_over(world)));
}

async fn case_32_a_primary_watch_ends_on_an_overwrite(world: &World) {
    let peer = world.peer(1);
    let revision = world.put("k", "leader", 0).await;
    let plain = watching(world, &peer, LeadershipOptions::default(), revision).await;
    let primary = watching(world, &peer, LeadershipOptions::default().primary_watch(true), revision).await;
    let written = world.put("k", "new primary", 0).await;
    let end = ends(world, Duration::from_secs(2), "the primary watch ends", primary).await;
    assert_eq!(end, WatchEnd::Overwritten { revision: written });
    world.pass(Duration::from_millis(500)).await;
    assert!(!plain.is_finished(), "a plain one does not end on it");
    // From the revision of the new value a primary watch waits for the next.
    let next = watching(world, &peer, LeadershipOptions::default().primary_watch(true), written).await;
    assert!(!next.is_finished());
    let revision = world.delete("k").await;
    let bound = Duration::from_secs(2);
    assert_eq!(ends(world, bound, "the plain one", plain).await, WatchEnd::Deleted { revision });
    assert_eq!(ends(world, bound, "the primary one", next).await, WatchEnd::Deleted { revision });
}

#[test]
fn case_32_a_primary_watch_ends_on_an_overwrite_() {
    simulated(|world| Box::pin(case_32_a_primary_watch_ends_on_an_overwrite(world)));
}

#[test]
fn case_32_a_primary_watch_ends_on_an_overwrite_live() {
    live(Version::V3_4, |world| Box::pin(case_32_a_primary_watch_ends_on_an_overwrite(world)));
}

async fn case_29_client_closed_before_and_during(world: &World) {
    let (leader, peer) = (world.peer(1), world.peer(2));
    let (_held, term) = lead(&leader, "k", "a").await;
    let revision = world.get("k").await.unwrap().mod_revision;
    let during = watching(world, &peer, LeadershipOptions::default(), revision).await;
    let before = peer.leadership("k");
    peer.client.close().await.unwrap();
    assert_eq!(ends(world, Duration::from_secs(2), "closed during", during).await, WatchEnd::Closed);
    assert!(matches!(before.watch(revision).await, Err(Error::Closed)), "closed before");
    assert!(term.is_valid(), "another's client is its own business");
    // A reset ends a watch of the same leadership, and a deleted key the watch of any.
    let other = world.peer(3);
    let reset = std::rc::Rc::new(other.leadership("k"));
    let watch = tokio::task::spawn_local({
        let reset = reset.clone();
        async move { reset.watch(revision).await }
    });
    world.pass(Duration::from_millis(300)).await;
    reset.reset().await.unwrap();
    assert_eq!(ends(world, Duration::from_secs(2), "reset", watch).await, WatchEnd::Cancelled);
    let deleted = watching(world, &other, LeadershipOptions::default(), revision).await;
    let at = world.delete("k").await;
    let end = ends(world, Duration::from_secs(2), "deleted", deleted).await;
    assert_eq!(end, WatchEnd::Deleted { revision: at });
    let end = reset.watch(revision).await.unwrap();
    assert!(matches!(end, WatchEnd::Deleted { .. }), "a leader that is gone is gone: {end:?}");
}

#[test]
fn case_29_client_closed_before_and_during_() {
    simulated(|world| Box::pin(case_29_client_closed_before_and_during(world)));
}

#[test]
fn case_29_client_closed_before_and_during_live_3_7() {
    live(Version::V3_7, |world| Box::pin(case_29_client_closed_before_and_during(world)));
}

#[test]
fn case_29_client_closed_before_and_during_live_3_4() {
    live(Version::V3_4, |world| Box::pin(case_29_client_closed_before_and_during(world)));
}

async fn down(world: &World, member: usize, is_down: bool) {
    match (&world.cluster, &world.etcd) {
        (Some(cluster), _) if is_down => cluster.member(member).kill(),
        (Some(cluster), _) => cluster.member(member).restart(),
        (_, Some(etcd)) if is_down => etcd.member(member).kill().await.unwrap(),
        (_, Some(etcd)) => etcd.restart(member).await.unwrap(),
        _ => panic!("a world of neither kind"),
    }
}

/// The server is down before the watch, or goes down during it. The reference's watch ends with an error; ours waits,
/// and says what has become of the key when there is somebody to ask.
async fn case_29_server_down_before_and_during(world: &World) {
    let peer = world.peer(1);
    let revision = world.put("k", "leader", 0).await;
    let during = watching(world, &peer, LeadershipOptions::default(), revision).await;
    down(world, 0, true).await;
    let before = watching(world, &peer, LeadershipOptions::default(), revision).await;
    world.pass(Duration::from_secs(2)).await;
    assert!(!during.is_finished() && !before.is_finished(), "a silent etcd has deleted nothing");
    down(world, 0, false).await;
    world.pass(Duration::from_secs(1)).await;
    assert!(!during.is_finished() && !before.is_finished());
    world.delete("k").await;
    for (watching, what) in [(during, "during"), (before, "before")] {
        let end = ends(world, Duration::from_secs(10), what, watching).await;
        assert!(matches!(end, WatchEnd::Deleted { revision: at } if at > revision), "{what}: {end:?}");
    }
}

#[test]
fn case_29_server_down_before_and_during_() {
    simulated(|world| Box::pin(case_29_server_down_before_and_during(world)));
}

#[test]
fn case_29_server_down_before_and_during_live_3_7() {
    live(Version::V3_7, |world| Box::pin(case_29_server_down_before_and_during(world)));
}

#[test]
fn case_29_server_down_before_and_during_live_3_4() {
    live(Version::V3_4, |world| Box::pin(case_29_server_down_before_and_during(world)));
}

/// Of three the member that carries the watch hangs (a real one is stopped), and the key is deleted through another.
async fn case_29_the_watched_member_hangs(world: &World) {
    let peer = world.peer(1);
    let revision = world.put("k", "leader", 0).await;
    let watching = watching(world, &peer, LeadershipOptions::default(), revision).await;
    match (&world.cluster, &world.etcd) {
        (Some(cluster), _) => cluster.member(0).stop(),
        (_, Some(etcd)) => etcd.member(0).stop_signal().unwrap(),
        _ => panic!("a world of neither kind"),
    }
    let request = || PbDeleteRequest { key: b"k".to_vec(), ..Default::default() };
    let other = world.stranger_at(1);
    world
        .until("the others delete it", async || {
            tokio::time::timeout(Duration::from_secs(3), other.delete(request())).await.is_ok_and(|done| done.is_ok())
        })
        .await;
    let end = ends(world, REREAD, "the delete is found through another member", watching).await;
    assert!(matches!(end, WatchEnd::Deleted { revision: at } if at > revision), "{end:?}");
}

#[test]
fn case_29_the_watched_member_hangs_() {
    let three = || Cluster::builder().members(3);
    simulated_with(three(), |world| Box::pin(case_29_the_watched_member_hangs(world)));
}

#[test]
fn case_29_the_watched_member_hangs_live_3_7() {
    live_with(Etcd::options(Version::V3_7).members(3), |world| Box::pin(case_29_the_watched_member_hangs(world)));
}

#[test]
fn case_29_the_watched_member_hangs_live_3_4() {
    live_with(Etcd::options(Version::V3_4).members(3), |world| Box::pin(case_29_the_watched_member_hangs(world)));
}

/// The raft leader, where the renewals and the watch go, is stopped for less than it takes to find silence suspicious. The
/// watch goes along with the renewals: what happens is heard at once, while it is stopped, and when it has woken as a
/// follower, which learns of it a heartbeat late.
async fn case_29_the_watch_goes_along_with_the_renewals(world: &World) {
    let peer = world.peer_with(1, |options| options.reread_interval(Duration::from_secs(600)));
    let (_lead, term) = lead(&peer, "held", "a").await;
    let led = raft_leader(world).await;
    let other = (led + 1) % 3;
    // It has found the leader by then, and the watch is there.
    world.pass(Duration::from_secs(4)).await;
    match (&world.cluster, &world.etcd) {
        (Some(cluster), _) => cluster.member(led).stop(),
        (_, Some(etcd)) => etcd.member(led).stop_signal().unwrap(),
        _ => panic!("a world of neither kind"),
    }
    let opened = peer.faults.calls(Method::Watch);
    let stopped = tokio::time::Instant::now();
    let mut heard = Vec::new();
    for round in 0..2 {
        let (key, put, delete) = (format!("w{round}"), PbPutRequest::default(), PbDeleteRequest::default());
        let (put, delete) = (PbPutRequest { key: key.clone().into(), ..put }, PbDeleteRequest { key: key.clone().into(), ..delete });
        let stranger = world.stranger_at(other);
        world
            .until("the others write", async || {
                let putting = tokio::time::timeout(Duration::from_secs(3), stranger.put(put.clone()));
                putting.await.is_ok_and(|done| done.is_ok())
            })
            .await;
        let follower = peer.leadership(&key);
        let watching = tokio::task::spawn_local(async move { follower.watch(0).await });
        // The renewals find it stalled after a second and a bound at most, and the new leader by then; the stream moves
        // at most once in a second or two.
        tokio::time::sleep_until(stopped + Duration::from_millis(4_500 + round * 4_500)).await;
        assert!(!watching.is_finished());
        stranger.delete(delete).await.unwrap();
        let bound = Duration::from_millis(if world.cluster.is_some() { 20 } else { 80 });
        heard.push(world.until_within(bound, "the delete is heard", async || watching.is_finished()).await);
        match (&world.cluster, &world.etcd) {
            (Some(cluster), _) => cluster.member(led).cont(),
            (_, Some(etcd)) => etcd.member(led).cont().unwrap(),
            _ => {}
        }
    }
    eprintln!("heard after {heard:?}");
    assert!(term.is_valid());
    let opened = peer.faults.calls(Method::Watch) - opened;
    assert!((1..=3).contains(&opened), "{opened} streams");
}

async fn raft_leader(world: &World) -> usize {
    match (&world.cluster, &world.etcd) {
        (Some(cluster), _) => cluster.leader().unwrap(),
        (_, Some(etcd)) => etcd.leader().await.unwrap(),
        _ => panic!("a world of neither kind"),
    }
}

#[test]
fn case_29_the_watch_goes_along_with_the_renewals_() {
    simulated_with(Cluster::builder().members(3), |world| Box::pin(case_29_the_watch_goes_along_with_the_renewals(world)));
}

#[test]
fn case_29_the_watch_goes_along_with_the_renewals_live_3_7() {
    live_with(Etcd::options(Version::V3_7).members(3), |world| Box::pin(case_29_the_watch_goes_along_with_the_renewals(world)));
}

#[test]
fn case_29_the_watch_goes_along_with_the_renewals_live_3_4() {
    live_with(Etcd::options(Version::V3_4).members(3), |world| Box::pin(case_29_the_watch_goes_along_with_the_renewals(world)));
}

/// Two of three are gone: the watch goes on waiting, where the reference's ends, and resumes with the quorum.
async fn case_29_the_quorum_is_lost(world: &World) {
    let peer = world.peer(1);
    let revision = world.put("k", "leader", 0).await;
    let watching = watching(world, &peer, LeadershipOptions::default(), revision).await;
    down(world, 1, true).await;
    down(world, 2, true).await;
    world.pass(TTL).await;
    assert!(!watching.is_finished(), "no quorum has deleted nothing");
    match &world.etcd {
        Some(etcd) => etcd.restart_all().await.unwrap(), // one alone would wait for the quorum that it is to make
        None => down(world, 1, false).await,
    }
    world
        .until("writes are possible again", async || {
            let delete = PbDeleteRequest { key: b"k".to_vec(), ..Default::default() };
            let stranger = world.stranger();
            let deleting = tokio::time::timeout(Duration::from_secs(3), stranger.delete(delete));
            deleting.await.is_ok_and(|done| done.is_ok())
        })
        .await;
    let end = ends(world, REREAD, "the delete is found", watching).await;
    assert!(matches!(end, WatchEnd::Deleted { revision: at } if at > revision), "{end:?}");
}

#[test]
fn case_29_the_quorum_is_lost_() {
    simulated_with(Cluster::builder().members(3), |world| Box::pin(case_29_the_quorum_is_lost(world)));
}

#[test]
fn case_29_the_quorum_is_lost_live_3_7() {
    live_with(Etcd::options(Version::V3_7).members(3), |world| Box::pin(case_29_the_quorum_is_lost(world)));
}

#[test]
fn case_29_the_quorum_is_lost_live_3_4() {
    live_with(Etcd::options(Version::V3_4).members(3), |world| Box::pin(case_29_the_quorum_is_lost(world)));
}

/// Waiting for a leader in a loop, as followers do: every change of hands is seen once, and nobody spins.
#[test]
fn a_follower_follows() {
    simulated(|world| {
        Box::pin(async move {
            let (a, b) = (world.peer(1), world.peer(2));
            let follower = b.leadership("k");
            for round in 0..5 {
                let (held, _) = lead(&a, "k", "a").await;
                let leader = b.client.get_leader("k").await.unwrap().unwrap();
                let watch = follower.watch(leader.mod_revision);
                let (end, reset) = tokio::join!(watch, async {
                    world.pass(Duration::from_secs(1)).await;
                    held.reset().await
                });
                reset.unwrap();
                assert!(matches!(end, Ok(WatchEnd::Deleted { .. })), "round {round}: {end:?}");
                let term = follower.campaign(CampaignOptions::new("b").ttl(TTL)).await.unwrap();
                assert!(term.is_valid() && Some(term.token()) > leader.token);
                follower.reset().await.unwrap();
            }
        })
    });
}

/// A watch that has just begun, of which the I/O thread has not heard yet, is ended by a reset and by a close like any
/// other, and says so.
async fn a_watch_that_has_just_begun_is_ended(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    lead.campaign(CampaignOptions::new("a")).await.unwrap();
    let mut watching = Box::pin(lead.watch(0));
    assert!((&mut watching).now_or_never().is_none());
    lead.reset().await.unwrap();
    assert_eq!(watching.await, Ok(WatchEnd::Cancelled));
    lead.campaign(CampaignOptions::new("a")).await.unwrap();
    let other = peer.leadership("k");
    let mut watching = Box::pin(other.watch(0));
    assert!((&mut watching).now_or_never().is_none());
    peer.client.close().await.unwrap();
    assert_eq!(watching.await, Ok(WatchEnd::Closed));
}

#[test]
fn case_29_a_watch_that_has_just_begun_is_ended() {
    simulated(|world| Box::pin(a_watch_that_has_just_begun_is_ended(world)));
}
