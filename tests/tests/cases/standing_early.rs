//! Cases 56 and 57 for electors: a lease that went too early, a win heard of too late, a mark of an older delete.
//! Owns what a standing candidate makes of them; the same for a campaign of its own is `takeover`'s.

use std::rc::Rc;

use etcd_client::proto::PbLeaseGrantRequest;
use leadership_core::Elector;
use leadership_testkit::Target;
use leadership_tests::world::{World, simulated};
use tokio::time::Instant;

use crate::standing::{TTL, elector, next, stand, waits};
use crate::steps::DELAY;

/// The first wins unheard, its lease is revoked early, the second wins, leads and resigns; only then the first hears of its
/// win: what it leads later is another term, on another lease.
async fn a_win_heard_too_late(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let (first, second) = (elector(&one, "one"), elector(&two, "two"));
    let reply = one.faults.hold_reply(Target::txn_putting("k"), 1);
    let late = waits(&first);
    reply.reached().await;
    let lost = world.get("k").await.unwrap();
    world.revoke(lost.lease).await;
    let term = next(&second).await;
    let token = term.token();
    assert!(token > lost.create_revision && !first.is_leader());
    drop(term);
    reply.release();
    let late = late.await.unwrap();
    assert!(late.is_valid() && late.token() > token && late.lease_id() != lost.lease);
    assert_eq!(world.get("k").await.map(|kv| kv.create_revision), Some(late.token()));
}

#[test]
fn case_56_an_elector_that_hears_of_its_win_too_late() {
    simulated(|world| Box::pin(a_win_heard_too_late(world)));
}

/// A candidate's campaign is under way after a good resign; a stranger takes the key and loses it early; then the campaign
/// is applied, and removes a good mark: it waits all the same.
async fn a_good_mark_of_an_older_delete(world: &World) {
    let (one, two) = (world.peer(1), world.peer(2));
    let first = elector(&one, "one");
    let second = Elector::builder(&two.client, "k").value("two").ttl(TTL).takeover_delay(DELAY);
    let second = Rc::new(second.start().unwrap());
    let term = next(&first).await;
    let waiting = waits(&second);
    stand(world, 1).await;
    let held = two.faults.hold(Target::txn_putting("k"), 1);
    drop(term);
    held.reached().await;
    let foreign = world.stranger().grant(PbLeaseGrantRequest { ttl: 60, id: 0 }).await.unwrap().id;
    world.put("k", "stranger", foreign).await;
    world.revoke(foreign).await;
    assert!(world.get("k.resigned").await.is_some(), "nobody has used it up");
    let released = Instant::now();
    held.release();
    let won = waiting.await.unwrap();
    assert!(won.is_valid() && released.elapsed() >= DELAY * 99 / 100, "took only {:?}", released.elapsed());
    assert_eq!(world.get("k.resigned").await, None);
}

#[test]
fn case_57_a_candidate_and_a_good_mark_of_an_older_delete() {
    simulated(|world| Box::pin(a_good_mark_of_an_older_delete(world)));
}
