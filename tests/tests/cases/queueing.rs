//! Cases 05, 06, 51 and S10, S15 in the queue kind: waiting in line as etcd's own clients do.
//! Owns what holds for a queue; what a term is once it runs is the other chapters'.

use std::time::Duration;

use leadership_core::{CampaignOptions, Election, Error, LeadershipOptions, Op, Reason, Result, Term};
use leadership_testkit::Method;
use leadership_tests::both_worlds;
use leadership_tests::world::{Peer, World};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::steps::DELAY;

const TTL: Duration = Duration::from_secs(3);
const BOUND: Duration = Duration::from_secs(20);

fn election(peer: &Peer) -> Election {
    Election::with_options(&peer.client, "q", LeadershipOptions::default().takeover_delay(DELAY)).unwrap()
}

type Waiting = JoinHandle<(Result<Term>, Instant)>;

/// Joins the queue in the background; returns when it stands there, as the `place`-th.
async fn joins(world: &World, election: &Election, value: &str, place: usize) -> Waiting {
    let (joining, value) = (election.clone(), value.to_owned());
    let waiting = tokio::task::spawn_local(async move {
        let outcome = joining.campaign(CampaignOptions::new(value).ttl(TTL)).await;
        (outcome, Instant::now())
    });
    world.until("it stands in the queue", async || election.participants().await.unwrap().len() == place).await;
    waiting
}

async fn term_of(waiting: Waiting) -> (Term, Instant) {
    let (outcome, at) = tokio::time::timeout(BOUND, waiting).await.expect("its turn comes").unwrap();
    (outcome.unwrap(), at)
}

async fn values(election: &Election) -> Vec<String> {
    let all = election.participants().await.unwrap();
    all.into_iter().map(|one| String::from_utf8(one.value).unwrap()).collect()
}

/// First come, first served; who resigns saves the next one the delay, and tokens rise in the order of the queue.
async fn first_come_first_served(world: &World) {
    let peers: Vec<_> = (1..=3).map(|n| world.peer(n)).collect();
    let elections: Vec<_> = peers.iter().map(election).collect();
    let mut waiting = Vec::new();
    for (n, election) in elections.iter().enumerate() {
        waiting.push(joins(world, election, &format!("{n}"), n + 1).await);
    }
    assert_eq!(values(&elections[2]).await, ["0", "1", "2"]);
    let mut waiting = waiting.into_iter();
    let (mut term, _) = term_of(waiting.next().unwrap()).await;
    for next in waiting {
        world.pass(2 * TTL).await; // who waits is kept alive, however long
        assert!(term.is_valid() && !next.is_finished());
        let leader = elections[0].leader().await.unwrap().unwrap();
        assert_eq!(leader.token, Some(term.token()));
        let began = Instant::now();
        let token = term.token();
        term.resign().await.unwrap();
        let (following, at) = term_of(next).await;
        assert!(at.duration_since(began) < DELAY / 2, "its turn comes at once: {:?}", at.duration_since(began));
        assert!(following.token() > token);
        term = following;
    }
    drop(term);
    world.until("the queue is empty", async || values(&elections[0]).await.is_empty()).await;
}

both_worlds!(first_come_first_served, s10_first_come_first_served, s10_queue_live on V3_7);

/// Who goes without a word costs the next one the delay; and one in the middle who leaves lets nobody by.
async fn who_goes_without_a_word(world: &World) {
    let peers: Vec<_> = (1..=3).map(|n| world.peer(n)).collect();
    let elections: Vec<_> = peers.iter().map(election).collect();
    let leader = joins(world, &elections[0], "leader", 1).await;
    let (leader, _) = term_of(leader).await;
    let middle = joins(world, &elections[1], "middle", 2).await;
    let last = joins(world, &elections[2], "last", 3).await;
    middle.abort(); // its future is dropped: it leaves the queue (S8, case 06)
    world.until("the middle has left", async || values(&elections[2]).await == ["leader", "last"]).await;
    world.pass(Duration::from_secs(2)).await;
    assert!(leader.is_valid() && !last.is_finished(), "the one before it was not the leader");
    let began = Instant::now();
    world.revoke(leader.lease_id()).await;
    let (term, at) = term_of(last).await;
    let took = at.duration_since(began);
    assert!(took >= DELAY * 99 / 100, "the full delay: {took:?}");
    assert!(term.is_valid() && !leader.is_valid());
}

both_worlds!(who_goes_without_a_word, s15_who_goes_without_a_word, s15_queue_live on V3_4);

/// Case 51: the whole prefix is deleted in one revision: nobody leads without a key; and case 05: a place that is lost
/// fails at once, not when its turn would have come.
async fn a_place_that_is_lost(world: &World) {
    let peers: Vec<_> = (1..=3).map(|n| world.peer(n)).collect();
    let elections: Vec<_> = peers.iter().map(election).collect();
    let (leader, _) = term_of(joins(world, &elections[0], "leader", 1).await).await;
    let one = joins(world, &elections[1], "one", 2).await;
    let two = joins(world, &elections[2], "two", 3).await;
    let key = world.keys("q/").await.into_iter().find(|key| !key.ends_with(&format!("{:x}", leader.lease_id())));
    world.delete(&key.unwrap()).await;
    world.until("one of them has failed", async || one.is_finished() || two.is_finished()).await;
    assert!(leader.is_valid());
    for key in world.keys("q/").await {
        world.delete(&key).await;
    }
    for waiting in [one, two] {
        let (outcome, _) = tokio::time::timeout(BOUND, waiting).await.expect("fails at once").unwrap();
        assert!(matches!(outcome, Err(Error::NotElected { .. })), "{outcome:?}");
    }
    assert_eq!(leader.lost().await, Reason::KeyDeleted);
    world.until("nothing is left", async || world.keys("q/").await.is_empty() && world.leases().await.is_empty()).await;
}

both_worlds!(a_place_that_is_lost, case_51_a_place_that_is_lost, case_51_live on V3_7);

/// A candidate of etcd's own clients: no mark, any lease or none. It is waited for; then the full delay.
async fn a_foreign_candidate(world: &World) {
    let peer = world.peer(1);
    let election = election(&peer);
    world.put("q/694d8", "foreign", 0).await;
    let waiting = joins(world, &election, "ours", 2).await;
    world.pass(2 * TTL).await;
    assert_eq!(election.leader().await.unwrap().unwrap().value, b"foreign");
    assert!(!waiting.is_finished());
    world.put("q/694d8", "proclaimed", 0).await; // its own later write changes nothing
    world.pass(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    let began = Instant::now();
    world.delete("q/694d8").await;
    let (term, at) = term_of(waiting).await;
    assert!(at.duration_since(began) >= DELAY * 99 / 100);
    // Guarded writes, and none to the queue's own keys.
    term.txn().then([Op::put("state", "1")]).commit().await.unwrap();
    for op in [Op::put("q/1", ""), Op::delete_prefix("q"), Op::put("q.queue-resigned", "")] {
        match term.txn().then([op]).commit().await {
            Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, "then"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(Election::new(&peer.client, "q/"), Err(Error::InvalidArgument { .. })));
}

both_worlds!(a_foreign_candidate, s13_a_foreign_candidate, s13_foreign_candidate_live on V3_7);

/// A place outlives a broken stream and a compacted delete of the one before.
async fn a_delete_that_was_missed(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (election(&one), election(&two));
    let (leader, _) = term_of(joins(world, &first, "leader", 1).await).await;
    let waiting = joins(world, &second, "next", 2).await;
    world.pass(Duration::from_secs(1)).await;
    two.faults.refuse(Method::Watch, 3);
    two.faults.break_streams(Method::Watch);
    leader.resign().await.unwrap();
    world.compact().await;
    let (term, _) = term_of(waiting).await;
    assert!(term.is_valid());
}

both_worlds!(a_delete_that_was_missed, case_27_a_delete_that_was_missed_in_a_queue, case_27_queue_live on V3_4);
