//! Case 31, S10 and S11: an observer hears who leads, of vacancies, and why its view ended.
//! Owns the observer's view; what ends a follower's watch is `watching`'s.

use std::time::Duration;

use leadership_core::{Error, Leader, Leadership, Observed, Observer};
use leadership_testkit::Method;
use leadership_tests::both_worlds;
use leadership_tests::world::World;

use crate::steps::{delaying, options};

const BOUND: Duration = Duration::from_secs(10);

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

async fn reign(lead: &Leadership, value: &str) -> i64 {
    let term = lead.campaign(options(value)).await.unwrap();
    lead.keep().unwrap();
    term.token()
}

/// Vacant, a leader, vacant again, another; who comes later does not know since when.
async fn an_observer_hears_of_leaders_and_vacancies(world: &World) {
    let (peer, outside) = (world.peer(1), world.peer(2));
    let mut observer = Observer::new(&outside.client, "k").unwrap();
    vacant(&mut observer).await;
    let lead = peer.leadership_with("k", delaying());
    let mut token = 0;
    for value in ["one", "two"] {
        let now = reign(&lead, value).await;
        assert!(now > token);
        token = now;
        let (leader, saw_it) = leads(&mut observer).await;
        assert_eq!((leader.value.as_slice(), leader.token, saw_it), (value.as_bytes(), Some(token), true));
        let mut late = Observer::new(&outside.client, "k").unwrap();
        let (same, saw_it) = leads(&mut late).await;
        assert_eq!((same, saw_it), (leader, false));
        lead.reset().await.unwrap();
        assert!(vacant(&mut observer).await > token);
        assert!(vacant(&mut late).await > token);
    }
}

both_worlds!(an_observer_hears_of_leaders_and_vacancies, case_31_an_observer_hears_of_leaders_and_vacancies, case_31_vacancies_live on V3_7);

/// What happened while the stream was away, and is compacted, is found; each state once, the latest only.
async fn a_broken_stream_hides_nothing(world: &World) {
    let (peer, outside) = (world.peer(1), world.peer(2));
    let lead = peer.leadership_with("k", delaying());
    let mut observer = Observer::new(&outside.client, "k").unwrap();
    vacant(&mut observer).await;
    reign(&lead, "one").await;
    leads(&mut observer).await;
    outside.faults.refuse(Method::Watch, 3);
    outside.faults.break_streams(Method::Watch);
    lead.reset().await.unwrap();
    let token = reign(&lead, "two").await;
    world.compact().await;
    let (leader, saw_it) = loop {
        match next(&mut observer).await {
            Some(Observed::Leader { leader, since }) => break (leader, since.is_some()),
            Some(Observed::Vacant { .. }) => {} // caught in between, perhaps
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((leader.value.as_slice(), leader.token, saw_it), (b"two".as_slice(), Some(token), true));
    assert_eq!(observer.latest().leader(), Some(&leader));
    // A reader that slept through it all is told of the present, not of what was.
    lead.reset().await.unwrap();
    let token = reign(&lead, "three").await;
    world
        .until("the latest is known", async || observer.latest().leader().is_some_and(|leader| leader.token == Some(token)))
        .await;
    assert_eq!(leads(&mut observer).await.0.value, b"three");
    let quiet = tokio::time::timeout(Duration::from_secs(1), observer.next()).await;
    assert!(quiet.is_err(), "nothing else happened: {quiet:?}");
}

both_worlds!(a_broken_stream_hides_nothing, case_31_a_broken_stream_hides_nothing, case_31_broken_stream_live on V3_4);

/// A key that its holder wrote again keeps its token; with a mark younger than the key, the mark's revision is it.
async fn everybody_derives_the_same_token(world: &World) {
    let outside = world.peer(2);
    let mut observer = Observer::new(&outside.client, "k").unwrap();
    vacant(&mut observer).await;
    let created = world.put("k", "one", 0).await;
    assert_eq!(leads(&mut observer).await.0.token, Some(created));
    world.put("k", "one", 0).await; // nothing that an observer would want to hear of
    world.put("k", "two", 0).await;
    let (leader, _) = leads(&mut observer).await;
    assert_eq!((leader.value.as_slice(), leader.token), (b"two".as_slice(), Some(created)));
    let marked = world.put("k.resigned", "1", 0).await;
    let mut late = Observer::new(&outside.client, "k").unwrap();
    assert_eq!(leads(&mut late).await.0.token, Some(marked));
    assert_eq!(outside.client.get_leader("k").await.unwrap().unwrap().token, Some(marked));
}

both_worlds!(everybody_derives_the_same_token, s10_everybody_derives_the_same_token, s10_same_token_live on V3_7);

/// All observers of a client share its one watch stream; the last to go takes its watch along.
async fn observers_share_one_stream(world: &World) {
    let peer = world.peer(1);
    let mut observers: Vec<_> = (0..200).map(|n| Observer::new(&peer.client, format!("k{}", n % 50)).unwrap()).collect();
    for observer in &mut observers {
        vacant(observer).await;
    }
    assert_eq!(peer.faults.calls(Method::Watch), 1);
    if let Some(cluster) = &world.cluster {
        world.until("fifty watches", async || cluster.stats().watchers == 50).await;
        drop(observers);
        world.until("no watch is left", async || cluster.stats().watchers == 0).await;
    }
}

both_worlds!(observers_share_one_stream, case_42_observers_share_one_stream, case_42_observers_live on V3_7);

/// Closing the client ends the view, once, and says that it was closed.
async fn a_view_ends_once(world: &World) {
    let peer = world.peer(1);
    let mut observer = Observer::new(&peer.client, "k").unwrap();
    vacant(&mut observer).await;
    peer.client.close().await.unwrap();
    assert_eq!(next(&mut observer).await, Some(Observed::Stopped(None)));
    assert_eq!(next(&mut observer).await, None);
    assert_eq!(Observer::new(&peer.client, "k").unwrap_err(), Error::Closed);
    for (key, why) in [("", "empty"), ("k.resigned", "another election")] {
        match Observer::new(&world.peer(2).client, key) {
            Err(Error::InvalidArgument { argument, why: said }) => {
                assert_eq!(argument, "key");
                assert!(said.contains(why), "{said}");
            }
            other => panic!("{other:?}"),
        }
    }
}

both_worlds!(a_view_ends_once, case_31_a_view_ends_once, case_31_end_live on V3_7);
