//! Case 31 and S11 in the queue kind: an observer hears who is first in line, and of nothing else.
//! Owns the observer's view of a queue; standing in one is `queueing`'s, the single key's view `observing`'s.

use std::time::Duration;

use leadership_core::{CampaignOptions, Client, Election, Error, Leader, LeadershipOptions, Observed, Observer, Term};
use leadership_testkit::Method;
use leadership_tests::both_worlds;
use leadership_tests::world::{World, simulated};

use crate::steps::DELAY;

const BOUND: Duration = Duration::from_secs(30);

fn election(client: &Client) -> Election {
    Election::with_options(client, "q", LeadershipOptions::default().takeover_delay(DELAY)).unwrap()
}

async fn next(observer: &mut Observer) -> Option<Observed> {
    tokio::time::timeout(BOUND, observer.next()).await.expect("news within the bound")
}

/// The next news is of a leader: who, and whether the observer saw it begin.
async fn leads(observer: &mut Observer) -> (Leader, bool) {
    match next(observer).await {
        Some(Observed::Leader { leader, since }) => (leader, since.is_some()),
        other => panic!("{other:?}"),
    }
}

async fn vacant(observer: &mut Observer) -> i64 {
    match next(observer).await {
        Some(Observed::Vacant { revision }) => revision,
        other => panic!("{other:?}"),
    }
}

async fn quiet(observer: &mut Observer) {
    let news = tokio::time::timeout(Duration::from_millis(300), observer.next()).await;
    assert!(news.is_err(), "nothing happened: {news:?}");
}

fn campaign(election: &Election, value: &str) -> impl Future<Output = Term> + use<> {
    let (election, options) = (election.clone(), CampaignOptions::new(value).ttl(Duration::from_secs(3)));
    async move { tokio::time::timeout(BOUND, election.campaign(options)).await.expect("its turn comes").unwrap() }
}

/// Empty, a leader, the next in line without a vacancy in between, empty again.
async fn who_is_first_in_line(world: &World) {
    let (one, two, outside) = (world.peer(1), world.peer(2), world.peer(3));
    let (first, second) = (election(&one.client), election(&two.client));
    let mut observer = election(&outside.client).observe().unwrap();
    vacant(&mut observer).await;
    let term = campaign(&first, "one").await;
    let (leader, saw_it) = leads(&mut observer).await;
    assert_eq!((leader.value.as_slice(), leader.token, saw_it), (b"one".as_slice(), Some(term.token()), true));
    let mut late = election(&outside.client).observe().unwrap();
    assert_eq!(leads(&mut late).await, (leader.clone(), false));
    let waiting = tokio::task::spawn_local(campaign(&second, "two"));
    world.until("it stands in line", async || second.participants().await.unwrap().len() == 2).await;
    quiet(&mut observer).await; // a waiter is nobody's news
    // What its holder writes is: by our own call, or as etcd's own `Proclaim` does, under the same lease.
    first.proclaim("one, proclaimed").await.unwrap();
    let (proclaimed, _) = leads(&mut observer).await;
    assert_eq!((proclaimed.value.as_slice(), proclaimed.token), (b"one, proclaimed".as_slice(), leader.token));
    let key = String::from_utf8(term.key().to_vec()).unwrap();
    world.put(&key, "one again", term.lease_id()).await;
    let (proclaimed, _) = leads(&mut observer).await;
    assert_eq!((proclaimed.value.as_slice(), proclaimed.token), (b"one again".as_slice(), leader.token));
    assert!(matches!(second.proclaim("not yet").await, Err(Error::NotLeader { reason: None, .. })));
    first.resign().await.unwrap();
    assert!(!term.is_valid());
    let term = waiting.await.unwrap();
    let (leader, saw_it) = leads(&mut observer).await;
    assert_eq!((leader.value.as_slice(), leader.token, saw_it), (b"two".as_slice(), Some(term.token()), true));
    second.resign().await.unwrap();
    vacant(&mut observer).await;
    assert_eq!(observer.key(), b"q");
    let again = campaign(&first, "again").await;
    assert_eq!(leads(&mut observer).await.0.token, Some(again.token()));
    outside.client.close().await.unwrap();
    assert_eq!(next(&mut observer).await, Some(Observed::Stopped(None)));
    assert_eq!(next(&mut observer).await, None);
    assert_eq!(election(&one.client).observe().unwrap().latest(), Observed::Unknown);
    one.client.close().await.unwrap();
    assert!(matches!(first.observe(), Err(Error::Closed)));
}

both_worlds!(who_is_first_in_line, case_31_who_is_first_in_line, case_31_queue_live on V3_7);

/// What happened while the stream was away, and is compacted, is found; a reader that slept is told of the present.
async fn a_broken_stream_hides_nothing(world: &World) {
    let outside = world.peer(3);
    let mut observer = election(&outside.client).observe().unwrap();
    vacant(&mut observer).await;
    for (round, name) in ["q/1", "q/2", "q/3"].into_iter().enumerate() {
        outside.faults.refuse(Method::Watch, 2);
        outside.faults.break_streams(Method::Watch);
        if round > 0 {
            world.delete(&format!("q/{round}")).await;
        }
        let created = world.put(name, "", 0).await;
        world.put("q/9", "behind", 0).await;
        world.compact().await;
        loop {
            match next(&mut observer).await {
                Some(Observed::Leader { leader, .. }) if leader.token == Some(created) => break,
                Some(Observed::Leader { .. } | Observed::Vacant { .. }) => {} // caught in between, perhaps
                other => panic!("{other:?}"),
            }
        }
        world.delete("q/9").await;
        quiet(&mut observer).await;
    }
    let created = world.put("q/4", "", 0).await;
    world.delete("q/3").await;
    world.until("the latest is known", async || observer.latest().leader().is_some_and(|one| one.token == Some(created))).await;
    assert_eq!(leads(&mut observer).await.0.token, Some(created));
    // A stream that is silent is found out; and all keys at once, in one revision, leave nobody.
    outside.faults.silence_streams(Method::Watch);
    world.delete("q/4").await;
    vacant(&mut observer).await;
}

both_worlds!(a_broken_stream_hides_nothing, case_27_a_broken_stream_hides_no_leader_of_a_queue, case_27_queue_observer_live on V3_4);

/// Two hundred observers of one queue are one watch; and a hundred that join and leave behind the leader cost it nothing.
#[test]
fn case_42_observers_of_a_queue_share_one_watch_that_no_waiter_disturbs() {
    simulated(|world| {
        Box::pin(async move {
            let peer = world.peer(1);
            let cluster = world.cluster.as_ref().unwrap();
            let election = election(&peer.client);
            let mut observers: Vec<_> = (0..200).map(|_| election.observe().unwrap()).collect();
            for observer in &mut observers {
                vacant(observer).await;
            }
            world.put("q/0", "leader", 0).await;
            for observer in &mut observers {
                leads(observer).await;
            }
            world.until("one watch", async || cluster.stats().watchers == 1).await;
            let calls = peer.faults.calls(Method::Any);
            for waiter in 1..=100 {
                world.put(&format!("q/{waiter:x}"), "", 0).await;
            }
            for waiter in 1..=100 {
                world.delete(&format!("q/{waiter:x}")).await;
            }
            quiet(&mut observers[0]).await;
            assert_eq!((peer.faults.calls(Method::Any), peer.faults.calls(Method::Watch)), (calls, 1));
            world.delete("q/0").await;
            for observer in &mut observers {
                vacant(observer).await;
            }
            assert_eq!(peer.faults.calls(Method::Any), calls + 1, "one read tells them all");
            drop(observers);
            world.until("no watch is left", async || cluster.stats().watchers == 0).await;
        })
    });
}
