//! Cases 26, 36 and 53, S1 and S10 over random schedules: keys handed to and fro by holders and operators, whatever befalls
//! them. Owns the schedule (its seed is the world's) and the referee; single hand-overs are `handing`'s.

use std::rc::Rc;
use std::time::Duration;

use leadership_core::{Elector, Successor, TermHandle};
use leadership_testkit::{Cluster, Lost, Target};
use leadership_tests::world::{World, simulated_with};

use crate::handing::{BOUND, candidates, named, serve};
use crate::keeping::TTL;
use crate::operating::operator;
use crate::schedules::Dice;
/// Any schedule of transfers, proclaims, pauses, deposings, dying candidates, lost replies and etcd leader changes: never
/// two leaders, every term with a larger token than the one before, and in the end somebody leads.
async fn any_schedule(world: &World) {
    let cluster = world.cluster.as_ref().unwrap();
    let peers = [world.peer(1), world.peer(2), world.peer(3)];
    let values = ["a", "b", "c"];
    let electors: Vec<Rc<Elector>> = (0..3)
        .map(|one| {
            let builder = Elector::builder(&peers[one].client, "k").value(values[one]).ttl(TTL);
            Rc::new(builder.priority(one as i64).campaign_limit(1000).start().unwrap())
        })
        .collect();
    let served: Vec<_> = electors.iter().map(|elector| serve(elector.clone())).collect();
    // The referee: at every step of the clock, of all the terms there ever were.
    let watched = electors.clone();
    let referee = tokio::task::spawn_local(async move {
        let mut last = 0;
        loop {
            let leads: Vec<_> = watched.iter().filter_map(|elector| elector.current()).collect();
            assert!(leads.len() <= 1, "S1: {leads:?}");
            for term in leads {
                assert!(term.token() >= last, "S10: {} after {last}", term.token());
                last = term.token();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let outside = world.peer(4);
    let by_hand = operator(&outside);
    let mut dice = Dice::of(world.seed);
    let mut handed = 0;
    for _ in 0..120 {
        let one = dice.below(3) as usize;
        let to = match dice.below(3) {
            0 => Successor::Highest,
            1 => Successor::Random,
            _ => named(values[dice.below(3) as usize]),
        };
        match dice.below(14) {
            0..5 => {
                for elector in &electors {
                    if elector.is_leader() {
                        handed += u32::from(elector.transfer(to.clone()).await.is_ok_and(|who| who.revision > 0));
                        break;
                    }
                }
            }
            5 => drop(by_hand.transfer(to, dice.below(2) == 0).await),
            6 => drop(by_hand.depose(dice.below(2) == 0).await),
            7 => {
                by_hand.pause().await.unwrap();
                world.pass(Duration::from_millis(dice.below(1500))).await;
                by_hand.unpause().await.unwrap();
            }
            8 => drop(electors[one].proclaim(values[one]).await),
            9 => cluster.change_leader(dice.below(3) as usize),
            10 => peers[one].faults.drop_reply(Target::txn_putting("k"), 1, Lost::Error),
            11 => peers[one].faults.refuse(Target::txn_putting("k"), 2),
            // A candidate's lease, most likely.
            12 => {
                let leases = world.leases().await;
                let led = world.get("k").await.map_or(0, |kv| kv.lease);
                let others: Vec<_> = leases.into_iter().filter(|lease| *lease != led).collect();
                if !others.is_empty() {
                    world.revoke(others[dice.below(others.len() as u64) as usize]).await;
                }
            }
            _ => drop(electors[one].resign().await),
        }
        world.pass(Duration::from_millis(dice.below(800))).await;
        assert!(!referee.is_finished(), "see above");
    }
    for peer in &peers {
        peer.faults.heal();
    }
    let leads = async || electors.iter().any(|elector| elector.is_leader());
    world.until_within(BOUND, "somebody leads in the end", leads).await;
    assert!(!referee.is_finished(), "see above");
    referee.abort();
    assert!(handed > 3, "hardly anything was handed over: {handed}");
    let all: Vec<i64> = served.iter().flat_map(|terms| terms.borrow().iter().map(TermHandle::token).collect::<Vec<_>>()).collect();
    eprintln!("{handed} handed over, {} terms", all.len());
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "S10: each term its own: {all:?}");
    for elector in &electors {
        elector.close().await.unwrap();
    }
    world.until_within(4 * TTL, "nothing is left", async || world.leases().await.is_empty() && candidates(world).await == 0).await;
}

#[test]
fn case_26_s1_s10_any_schedule_of_transfers() {
    simulated_with(Cluster::builder().members(3), |world| Box::pin(any_schedule(world)));
}
