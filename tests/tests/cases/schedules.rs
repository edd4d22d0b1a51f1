//! Case 37, S1, S10 over random schedules: electors of both kinds, whatever befalls them, tell each loss once, and only of
//! terms that they told of. Owns the schedule (its seed is the world's) and the judge; single faults are the others' cases.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use leadership_core::{Elector, ElectorEvent, Error, Mode, TermHandle, TermState};
use leadership_testkit::Method;
use leadership_tests::world::{Peer, World, record, simulated};

const TTL: Duration = Duration::from_secs(2);
const ELECTORS: usize = 3;
const STEPS: usize = 40;

/// Numbers that are the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What one elector told, and what its terms said of themselves.
#[derive(Default)]
struct Told {
    events: Vec<String>,
    terms: Vec<(i64, Rc<RefCell<Vec<TermState>>>)>,
    ended: bool,
}

/// Reads every event at once, as it comes.
fn listen(elector: &Elector) -> Rc<RefCell<Told>> {
    let told = Rc::new(RefCell::new(Told::default()));
    let (mut events, kept) = (elector.events(), told.clone());
    tokio::task::spawn_local(async move {
        let mut leading = None;
        while let Some(event) = events.next().await {
            let mut told = kept.borrow_mut();
            match &event {
                ElectorEvent::Elected(term) => {
                    assert_eq!(leading.replace(term.token()), None, "elected while it leads: {:?}", told.events);
                    assert!(told.terms.last().is_none_or(|(last, _)| *last < term.token()), "tokens rise");
                    told.terms.push((term.token(), record(term)));
                    told.events.push(format!("elected {}", term.token()));
                }
                ElectorEvent::Lost(reason) => {
                    let token = leading.take();
                    assert!(token.is_some(), "a loss of no term: {:?}", told.events);
                    told.events.push(format!("lost {token:?} {reason}"));
                }
                ElectorEvent::Jeopardy { .. } | ElectorEvent::Secured => assert!(leading.is_some(), "{event:?} of no term"),
                ElectorEvent::Stopped(error) => {
                    assert_eq!((error, leading), (&None, None), "its last term's end was told");
                    told.ended = true;
                }
                _ => assert_eq!(leading, None, "{event:?} within a term"),
            }
        }
    });
    told
}

/// Takes terms, and lets go of each in one way or another.
async fn user(elector: Rc<Elector>, mut dice: Dice) {
    while let Ok(Some(term)) = elector.next_term().await {
        let while_held = Duration::from_millis(dice.below(3000));
        let view: TermHandle = term.handle();
        let _ = tokio::time::timeout(while_held, view.lost()).await;
        match dice.below(5) {
            0 => drop(term),
            1 => drop(term.resign().await),
            2 => {
                // The loop's own order; the work takes its time.
                let (_, ()) = tokio::join!(elector.resign(), async {
                    view.lost().await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    drop(term);
                });
            }
            3 => drop(elector.proclaim(format!("{}", view.token())).await),
            _ => {
                let _ = tokio::time::timeout(TTL, view.lost()).await;
            }
        }
    }
}

async fn leader_key(world: &World, mode: Mode) -> Option<(String, i64)> {
    let keys = if mode == Mode::Queue { world.keys("k/").await } else { vec!["k".to_owned()] };
    let mut all = BTreeMap::new();
    for key in keys {
        if let Some(kv) = world.get(&key).await {
            all.insert(kv.create_revision, (key, kv.lease));
        }
    }
    all.into_values().next()
}

async fn befall(world: &World, mode: Mode, peers: &[Peer], dice: &mut Dice) {
    let peer = &peers[usize::try_from(dice.below(peers.len() as u64)).unwrap()];
    match dice.below(9) {
        0 | 1 => {
            if let Some((key, _)) = leader_key(world, mode).await {
                world.delete(&key).await;
            }
        }
        2 => {
            if let Some((_, lease)) = leader_key(world, mode).await.filter(|(_, lease)| *lease != 0) {
                let gone = etcd_client::proto::PbLeaseRevokeRequest { id: lease };
                let _ = world.stranger().revoke(gone).await; // it may have ended just now
            }
        }
        3 => peer.faults.break_streams(Method::Any),
        4 => peer.faults.refuse(Method::Any, dice.below(6)),
        5 => peer.faults.drop_replies(Method::Txn, 1 + dice.below(2), leadership_testkit::Lost::Error),
        6 => {
            peer.faults.hang(Method::Any);
            peer.faults.silence_streams(Method::Any);
            world.pass(Duration::from_millis(dice.below(4000))).await;
            peer.faults.heal();
            peer.faults.break_streams(Method::Any); // or what hangs would hang on
        }
        7 => peer.clock.jump(Duration::from_millis(dice.below(4000))),
        _ => world.compact().await,
    }
}

async fn a_schedule(world: &World, mode: Mode) {
    let peers: Vec<_> = (1..=ELECTORS as u64).map(|n| world.peer(n)).collect();
    let start = |peer: &Peer| Elector::builder(&peer.client, "k").mode(mode).ttl(TTL).campaign_limit(1000).start().unwrap();
    let electors: Vec<_> = peers.iter().map(|peer| Rc::new(start(peer))).collect();
    let told: Vec<_> = electors.iter().map(|elector| listen(elector)).collect();
    let users: Vec<_> = electors
        .iter()
        .zip(1u64..)
        .map(|(elector, n)| tokio::task::spawn_local(user(elector.clone(), Dice(world.seed * 1000 + n))))
        .collect();
    let mut dice = Dice(world.seed);
    for _ in 0..STEPS {
        // A peer's clock that jumps knows of it at its next look: no authority at any instant but one's.
        for _ in 0..dice.below(150) {
            let valid = electors.iter().filter(|elector| elector.is_leader()).count();
            assert!(valid <= 1, "two lead: {:?}", told.iter().map(|told| told.borrow().events.clone()).collect::<Vec<_>>());
            world.pass(Duration::from_millis(20)).await;
        }
        befall(world, mode, &peers, &mut dice).await;
    }
    for peer in &peers {
        peer.faults.heal();
    }
    for elector in &electors {
        // What hung before the healing may have taken all of the time.
        let closed = elector.close().await;
        assert!(closed.as_ref().map_or_else(Error::is_retriable, |()| true), "{closed:?}");
    }
    for user in users {
        tokio::time::timeout(Duration::from_secs(60), user).await.expect("it ends with its elector").unwrap();
    }
    world.until("the last event was told", async || told.iter().all(|told| told.borrow().ended)).await;
    let mut terms = 0;
    for told in &told {
        let told = told.borrow();
        for (token, said) in &told.terms {
            let said = said.borrow();
            let losses = said.iter().filter(|state| matches!(state, TermState::Lost(_))).count();
            assert!(losses == 1 && matches!(said.last(), Some(TermState::Lost(_))), "{token}: {said:?}");
            terms += 1;
        }
    }
    assert!(terms >= 5, "a schedule that tells nothing: {terms} terms");
    world.until_within(4 * TTL, "nothing is left", async || world.leases().await.is_empty()).await;
}

#[test]
fn case_37_one_loss_for_each_term_over_random_schedules() {
    simulated(|world| Box::pin(a_schedule(world, Mode::SingleKey)));
}

#[test]
fn case_37_one_loss_for_each_term_in_a_queue_over_random_schedules() {
    simulated(|world| Box::pin(a_schedule(world, Mode::Queue)));
}
