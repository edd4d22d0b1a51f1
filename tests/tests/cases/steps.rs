//! Steps that several cases share: campaigning as most do, following a key, timing a take-over.
//! Owns no case of its own.

use std::time::Duration;

use leadership_core::{CampaignOptions, Error, Leadership, LeadershipOptions, Result, TermHandle, WatchEnd};
use leadership_testkit::Held;
use leadership_tests::world::World;
use tokio::time::Instant;

/// The takeover delay of these cases: so long that "at once" and "after it" are told apart on a busy machine too.
pub(crate) const DELAY: Duration = Duration::from_millis(600);

/// A campaign with a TTL of 5 s.
pub(crate) fn options(value: &str) -> CampaignOptions {
    CampaignOptions::new(value).ttl(Duration::from_secs(5))
}

/// A leadership with [`DELAY`].
pub(crate) fn delaying() -> LeadershipOptions {
    LeadershipOptions::default().purpose("case").takeover_delay(DELAY)
}

/// Watches the key from now on without a gap: returns when it has been read, and the watch is kept (a leader seen at
/// revision 1 is gone for certain).
pub(crate) async fn follow(lead: &Leadership) {
    match lead.watch(1).await {
        Ok(WatchEnd::Deleted { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Waits until `lead`'s own watch shows the key of that term gone.
pub(crate) async fn sees_gone(lead: &Leadership, term: &TermHandle) {
    match lead.watch(term.token()).await {
        Ok(WatchEnd::Deleted { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Campaigns, and says how long it took.
pub(crate) async fn timed(lead: &Leadership, value: &str) -> (Result<TermHandle>, Duration) {
    let started = Instant::now();
    let outcome = lead.campaign(options(value)).await;
    (outcome, started.elapsed())
}

/// Wins without a takeover delay.
#[track_caller]
pub(crate) fn at_once((outcome, took): (Result<TermHandle>, Duration)) -> TermHandle {
    assert!(took < DELAY / 2, "took {took:?}: {outcome:?}");
    outcome.unwrap()
}

/// Wins after the full takeover delay.
#[track_caller]
pub(crate) fn delayed((outcome, took): (Result<TermHandle>, Duration)) -> TermHandle {
    // The clocks of these worlds drift by up to 0.5 %.
    assert!(took >= DELAY * 99 / 100, "took only {took:?}: {outcome:?}");
    outcome.unwrap()
}

/// Drives `work` until the held call has come; it must not end before.
pub(crate) async fn until_reached<T: std::fmt::Debug>(held: &Held, work: &mut (impl Future<Output = T> + Unpin)) {
    tokio::select! {
        biased;
        () = held.reached() => {}
        ended = work => panic!("ended before the call was held: {ended:?}"),
    }
}

/// No key of the election but its mark, and no other lease than these, within `bound`.
pub(crate) async fn nothing_left(world: &World, key: &str, leases: &[i64], bound: Duration) {
    let mut expected = leases.to_vec();
    expected.sort_unstable();
    let what = format!("nothing of {key} is left but leases {expected:x?}");
    let mark = format!("{key}.resigned");
    let clean = async || world.keys(key).await.iter().all(|found| *found == mark) && world.leases().await == expected;
    world.until_within(bound, &what, clean).await;
}

/// The error of a contender that found the key taken.
#[track_caller]
pub(crate) fn held_by(outcome: Result<TermHandle>, value: &str) {
    match outcome {
        Err(Error::NotElected { holder: Some(leader), .. }) => assert_eq!(leader.value, value.as_bytes()),
        other => panic!("{other:?}"),
    }
}
