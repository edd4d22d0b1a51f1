//! Cases 01–09: campaigning. Owns what may go wrong between the wish to lead and the term.

use std::time::Duration;

use leadership_core::{CampaignOptions, Error, Reason};
use leadership_tests::etcd::Version;
use leadership_tests::world::{World, live, simulated};

fn options(value: &str) -> CampaignOptions {
    CampaignOptions::new(value).ttl(Duration::from_secs(5))
}

async fn two_contenders_win_lose_and_reset(world: &World) {
    let (a, b) = (world.peer(1), world.peer(2));
    let (first, second) = (a.leadership("k"), b.leadership("k"));
    let term = first.campaign(options("a")).await.unwrap();
    first.keep().unwrap();
    assert!(first.check() && term.is_valid() && !term.is_lost());
    match second.campaign(options("b")).await {
        Err(Error::NotElected { holder: Some(leader), .. }) => assert_eq!(leader.value, b"a"),
        other => panic!("{other:?}"),
    }
    assert!(!second.check());
    world.pass(Duration::from_secs(12)).await;
    assert!(first.check(), "kept for more than two TTLs: {:?}", term.lost_reason());
    let reset = first.reset();
    assert!(!first.check(), "at once, before the reset is awaited");
    reset.await.unwrap();
    assert_eq!(term.lost_reason(), Some(Reason::Resigned));
    assert_eq!(world.get("k").await, None);
    let term = second.campaign(options("b")).await.unwrap();
    assert!(second.check() && term.token() > 0);
    assert!(!first.check());
}

#[test]
fn reference_two_contenders_win_lose_and_reset() {
    simulated(|world| Box::pin(two_contenders_win_lose_and_reset(world)));
}

#[test]
fn reference_two_contenders_win_lose_and_reset_live() {
    live(Version::V3_4, |world| Box::pin(two_contenders_win_lose_and_reset(world)));
}
