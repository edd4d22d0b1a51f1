//! Re-lease (DESIGN §4): after an etcd leader change the keys of each lease move to a fresh one, so that the ex-leader,
//! when it wakes, can revoke only the old ones. Owns when and how many at a time; one lease's move is `one`'s.

mod one;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::io::Io;
use crate::protocol::Key;
use crate::term::{Holding, LeaseShared};

/// Leases that move at once: each is a grant, a put and a revoke of a cluster that has just lost its leader.
const AT_ONCE: usize = 16;
/// Clients hear of a new leader at about the same time; they begin spread over this, in milliseconds.
const SPREAD_MS: u64 = 100;
/// A move that could not be made is tried again after this, and then ever later, up to …
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// … this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a lease cannot do at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// So many campaigns have a registration under its id, or a transaction under way that names it.
    Campaigns(usize),
    Moving,
}

/// What of this client moves, may move, and must not move now.
pub(crate) struct Moves {
    uses: RefCell<BTreeMap<usize, Use>>,
    /// Leases with a task of their own.
    tasks: RefCell<BTreeSet<usize>>,
    /// Keys won that are not led yet.
    wins: RefCell<Vec<(Arc<LeaseShared>, Arc<Holding>)>>,
    /// Registrations of candidates that only stand.
    standing: RefCell<Vec<(Arc<LeaseShared>, Rc<Registration>)>>,
    permits: Semaphore,
}

impl Default for Moves {
    fn default() -> Self {
        Moves {
            uses: RefCell::default(),
            tasks: RefCell::default(),
            wins: RefCell::default(),
            standing: RefCell::default(),
            permits: Semaphore::new(AT_ONCE),
        }
    }
}

fn name(lease: &Arc<LeaseShared>) -> usize {
    Arc::as_ptr(lease) as usize
}

/// Keeps a lease where it is, for a campaign, until dropped.
pub(crate) struct Pinned {
    io: Rc<Io>,
    lease: Arc<LeaseShared>,
}

impl Pinned {
    /// `None` while the lease moves.
    pub(crate) fn new(io: &Rc<Io>, lease: &Arc<LeaseShared>) -> Option<Pinned> {
        let mut uses = io.moves.uses.borrow_mut();
        match uses.entry(name(lease)).or_insert(Use::Campaigns(0)) {
            Use::Campaigns(count) => *count += 1,
            Use::Moving => return None,
        }
        Some(Pinned {
            io: io.clone(),
            lease: lease.clone(),
        })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut uses = self.io.moves.uses.borrow_mut();
        if let Some(Use::Campaigns(count)) = uses.get_mut(&name(&self.lease)) {
            *count -= 1;
            if *count == 0 {
                uses.remove(&name(&self.lease));
            }
        }
    }
}

/// Keeps campaigns off a lease that moves, until dropped.
struct Moving(Rc<Io>, usize);

impl Moving {
    /// `None` while a campaign needs the lease where it is.
    fn new(io: &Rc<Io>, lease: &Arc<LeaseShared>) -> Option<Moving> {
        let mut uses = io.moves.uses.borrow_mut();
        if uses.contains_key(&name(lease)) {
            return None;
        }
        uses.insert(name(lease), Use::Moving);
        Some(Moving(io.clone(), name(lease)))
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.moves.uses.borrow_mut().remove(&self.1);
    }
}

/// A key won and not led yet, which moves with its lease, until dropped.
pub(crate) struct Won {
    io: Rc<Io>,
    pub(crate) holding: Arc<Holding>,
}

impl Won {
    pub(crate) fn new(io: &Rc<Io>, lease: &Arc<LeaseShared>, holding: &Arc<Holding>) -> Won {
        io.moves.wins.borrow_mut().push((lease.clone(), holding.clone()));
        Won {
            io: io.clone(),
            holding: holding.clone(),
        }
    }
}

impl Drop for Won {
    fn drop(&mut self) {
        self.io.moves.wins.borrow_mut().retain(|(_, holding)| !Arc::ptr_eq(holding, &self.holding));
    }
}

/// A registration as its candidate and a move share it: moved, it is another.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) key: Key,
    /// What it holds.
    pub(crate) value: RefCell<Vec<u8>>,
    /// The revision at which it was made, until it is used up or deleted.
    pub(crate) made: Cell<Option<i64>>,
}

impl Registration {
    /// One to be made for `key`.
    pub(crate) fn new(key: &Key, value: &[u8]) -> Registration {
        Registration {
            key: key.clone(),
            value: RefCell::new(value.to_vec()),
            made: Cell::new(None),
        }
    }
}

/// A registration that moves with its lease, until dropped.
pub(crate) struct Standing {
    io: Rc<Io>,
    registration: Rc<Registration>,
}

impl Standing {
    pub(crate) fn new(io: &Rc<Io>, lease: &Arc<LeaseShared>, registration: &Rc<Registration>) -> Standing {
        io.moves.standing.borrow_mut().push((lease.clone(), registration.clone()));
        Standing {
            io: io.clone(),
            registration: registration.clone(),
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.io.moves.standing.borrow_mut().retain(|(_, other)| !Rc::ptr_eq(other, &self.registration));
    }
}

impl Moves {
    fn standing_on(&self, lease: &Arc<LeaseShared>) -> Vec<Rc<Registration>> {
        let standing = self.standing.borrow();
        let on = standing.iter().filter(|(on, one)| Arc::ptr_eq(on, lease) && one.made.get().is_some());
        on.map(|(_, one)| one.clone()).collect()
    }

    fn won_on(&self, lease: &Arc<LeaseShared>) -> Vec<Arc<Holding>> {
        let wins = self.wins.borrow();
        wins.iter().filter(|(on, _)| Arc::ptr_eq(on, lease)).map(|(_, holding)| holding.clone()).collect()
    }
}

/// Is the lease renewed, does it carry a key or a registration of ours, and is it not settled at etcd's raft term of now?
fn due(io: &Io, lease: &Arc<LeaseShared>) -> bool {
    lease.settled.load(Ordering::Acquire) < io.etcd.raft_term()
        && io.renewer.with(|machine, _| machine.is_renewing(lease.id()))
        && (carries_keys(io, lease) || !io.moves.standing_on(lease).is_empty())
}

fn carries_keys(io: &Io, lease: &Arc<LeaseShared>) -> bool {
    io.renewer.with(|machine, _| machine.carries_terms(lease)) || !io.moves.won_on(lease).is_empty()
}

/// All those, who leads before who waits.
fn all_due(io: &Io) -> Vec<Arc<LeaseShared>> {
    let mut leases = io.renewer.with(|machine, _| machine.leases());
    leases.retain(|lease| due(io, lease));
    leases.sort_by_key(|lease| !carries_keys(io, lease));
    leases
}

/// Something has become true that may let a lease move.
pub(crate) fn may_move(io: &Io, lease: &LeaseShared) {
    if lease.settled.load(Ordering::Acquire) < io.etcd.raft_term() {
        io.etcd.leader_changed.notify_one();
    }
}

/// Runs until it is dropped.
pub(crate) async fn run(io: Rc<Io>) {
    loop {
        io.etcd.leader_changed.notified().await;
        if all_due(&io).is_empty() {
            continue;
        }
        tokio::time::sleep(Duration::from_millis(io.etcd.random(SPREAD_MS))).await;
        for lease in all_due(&io) {
            if io.moves.tasks.borrow_mut().insert(name(&lease)) {
                tokio::task::spawn_local(settle(io.clone(), lease));
            }
        }
    }
}

/// Moves one lease's keys, or finds that they stay, for as long as it is worth it.
async fn settle(io: Rc<Io>, lease: Arc<LeaseShared>) {
    let mut pause = FIRST_PAUSE;
    while due(&io, &lease) {
        let Ok(permit) = io.moves.permits.acquire().await else { break };
        let newest = io.etcd.raft_term();
        match one::move_lease(&io, &lease).await {
            one::Outcome::Moved => {}
            one::Outcome::Stays => lease.settled.store(newest, Ordering::Release),
            one::Outcome::Again => {
                drop(permit);
                tokio::time::sleep(pause + Duration::from_millis(io.etcd.random(20))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    io.moves.tasks.borrow_mut().remove(&name(&lease));
}
