//! The events of a leadership's terms: in order, one loss for each election, and an end with the client (cases 35, 37).
//! Owns the stream as a user reads it; the levels it is made of are `keeping`'s.

use std::time::Duration;

use leadership_core::{Reason, TermEvent, TermEvents};
use leadership_testkit::Method;
use leadership_tests::world::{World, live, simulated};
use leadership_tests::etcd::Version;

use crate::steps::options;

/// How long an event may take that must come.
const PATIENCE: Duration = Duration::from_secs(15);

/// The next event as text, `end` for the end.
async fn next(events: &mut TermEvents) -> String {
    match tokio::time::timeout(PATIENCE, events.next()).await.expect("an event, or the end") {
        Some(TermEvent::Elected(term)) => format!("elected {}", String::from_utf8_lossy(term.value())),
        Some(TermEvent::Jeopardy { remaining }) => {
            assert!(remaining > Duration::ZERO);
            "jeopardy".to_owned()
        }
        Some(TermEvent::Secured) => "secured".to_owned(),
        Some(TermEvent::Lost(reason)) => format!("lost {reason}"),
        Some(other) => panic!("{other:?}"),
        None => "end".to_owned(),
    }
}

/// Each election is told with its loss, then jeopardy and its end; who asks while a term runs hears of that one first.
async fn events_are_told_in_order(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let mut events = lead.events();
    lead.campaign(options("a")).await.unwrap();
    lead.keep().unwrap();
    assert_eq!(next(&mut events).await, "elected a");
    peer.faults.hang(Method::LeaseKeepAlive);
    assert_eq!(next(&mut events).await, "jeopardy");
    peer.faults.heal();
    assert_eq!(next(&mut events).await, "secured");
    assert_eq!(next(&mut lead.events()).await, "elected a", "a term that runs already");
    world.delete("k").await;
    assert_eq!(next(&mut events).await, "lost key_deleted");
    lead.campaign(options("b")).await.unwrap();
    assert_eq!(next(&mut events).await, "elected b");
    drop(lead);
    assert_eq!(next(&mut events).await, "lost resigned");
    assert_eq!(next(&mut events).await, "end", "the leadership is gone");
}

#[test]
fn s09_events_are_told_in_order() {
    simulated(|world| Box::pin(events_are_told_in_order(world)));
}

/// A term that came and went unheard is not told of: nobody hears of the loss of a term that he was not told of.
async fn a_slow_reader_hears_no_loss_alone(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let mut events = lead.events();
    lead.campaign(options("a")).await.unwrap();
    lead.reset().await.unwrap();
    let term = lead.campaign(options("b")).await.unwrap();
    assert_eq!(next(&mut events).await, "elected b");
    world.delete("k").await;
    assert_eq!(term.lost().await, Reason::KeyDeleted);
    lead.campaign(options("c")).await.unwrap();
    assert_eq!(next(&mut events).await, "lost key_deleted");
    assert_eq!(next(&mut events).await, "elected c");
}

#[test]
fn case_37_a_slow_reader_hears_no_loss_alone() {
    simulated(|world| Box::pin(a_slow_reader_hears_no_loss_alone(world)));
}

/// Closing the client ends every stream of events, after the loss was told: of a term that runs, of one that is over, of
/// a leadership that never led, and of one that asks afterwards.
async fn events_end_with_the_client(world: &World) {
    let peer = world.peer(1);
    let (leads, led, never) = (peer.leadership("leads"), peer.leadership("led"), peer.leadership("never"));
    let mut of_leads = leads.events();
    let mut of_led = led.events();
    let mut of_never = never.events();
    leads.campaign(options("a")).await.unwrap();
    led.campaign(options("b")).await.unwrap();
    led.reset().await.unwrap();
    // One waits while the client is closed, the others are read afterwards.
    let waiting = tokio::task::spawn_local(async move {
        let told = [next(&mut of_led).await];
        (told, of_led)
    });
    tokio::task::yield_now().await;
    peer.client.close().await.unwrap();
    let (told, mut of_led) = waiting.await.unwrap();
    assert_eq!(told, ["end"], "led: it came and went unheard");
    assert_eq!(next(&mut of_led).await, "end", "and so it stays");
    assert_eq!(next(&mut of_leads).await, "end", "leads: over before anybody asked");
    assert_eq!(next(&mut of_never).await, "end");
    assert_eq!(next(&mut leads.events()).await, "end", "asked after the close");
}

#[test]
fn case_35_events_end_with_the_client() {
    simulated(|world| Box::pin(events_end_with_the_client(world)));
}

/// The loss that a close announces is told before the end.
async fn a_close_tells_the_loss_first(world: &World) {
    let peer = world.peer(1);
    let lead = peer.leadership("k");
    let mut events = lead.events();
    let term = lead.campaign(options("a")).await.unwrap();
    assert_eq!(next(&mut events).await, "elected a");
    let waiting = tokio::task::spawn_local(async move { [next(&mut events).await, next(&mut events).await] });
    tokio::task::yield_now().await;
    peer.client.close().await.unwrap();
    assert_eq!(waiting.await.unwrap(), ["lost closed", "end"]);
    assert_eq!(term.lost().await, Reason::Closed);
}

#[test]
fn case_35_a_close_tells_the_loss_first() {
    simulated(|world| Box::pin(a_close_tells_the_loss_first(world)));
}

#[test]
fn case_35_a_close_tells_the_loss_first_live() {
    live(Version::V3_7, |world| Box::pin(a_close_tells_the_loss_first(world)));
}
