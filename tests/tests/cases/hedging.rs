//! Cases 14, 15, 44, 46, 48 and 50 as far as renewals go: a member that is sick costs no term while a quorum is well.
//! Owns three members and what befalls one of them; a single sick stream is `keeping.rs`'s.

use std::time::Duration;

use leadership_core::{Leadership, TermHandle};
use leadership_tests::etcd::{Etcd, Version};
use leadership_tests::world::{Peer, World, live_with};

use crate::keeping::lead;

/// As many leaderships as are looked at in each live case.
const LEADERSHIPS: usize = 20;
/// So long a member is stopped: longer than a follower waits for its leader, longer than the TTL.
const STOPPED: Duration = Duration::from_secs(7);

/// Leaderships of one client, each renewed and confirmed at least once.
async fn leaderships(world: &World, peer: &Peer) -> Vec<(Leadership, TermHandle)> {
    let mut all = Vec::new();
    for number in 0..LEADERSHIPS {
        all.push(lead(peer, &format!("k{number}"), "a").await);
    }
    let before: Vec<_> = all.iter().map(|(_, term)| term.deadline()).collect();
    world
        .until("every term is renewed", async || {
            all.iter().zip(&before).all(|((_, term), before)| term.deadline() > *before)
        })
        .await;
    all
}

/// Looks at every term for `span`, again and again: none is lost.
async fn none_is_lost(world: &World, all: &[(Leadership, TermHandle)], span: Duration) {
    let started = tokio::time::Instant::now();
    while started.elapsed() < span {
        for (number, (lead, term)) in all.iter().enumerate() {
            let at = started.elapsed();
            assert!(lead.check() && !term.is_lost(), "leadership {number} was lost after {at:?}: {term:?}");
        }
        world.pass(Duration::from_millis(5)).await;
    }
}

/// The leader of three is stopped for 7 s. The quorum is well again after an election; the followers sit on renewals
/// that they had handed to the stopped leader before it.
async fn case_14_44_the_etcd_leader_is_stopped(world: &World) {
    let etcd = world.etcd.as_ref().unwrap();
    let peer = world.peer(1);
    let all = leaderships(world, &peer).await;
    let stopped = etcd.member(etcd.leader().await.unwrap());
    stopped.stop_signal().unwrap();
    none_is_lost(world, &all, STOPPED).await;
    stopped.cont().unwrap();
}

#[test]
fn case_14_44_the_etcd_leader_is_stopped_live_3_7() {
    live_with(Etcd::options(Version::V3_7).members(3), |world| Box::pin(case_14_44_the_etcd_leader_is_stopped(world)));
}

#[test]
fn case_14_44_the_etcd_leader_is_stopped_live_3_4() {
    live_with(Etcd::options(Version::V3_4).members(3), |world| Box::pin(case_14_44_the_etcd_leader_is_stopped(world)));
}
