//! How an elector comes to a term of the single-key kind: it stands while somebody wants one, and takes the key when it
//! goes, or when it is handed over. Owns its one candidate; winning is `leadership`'s, what follows is `drive`'s.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::drive::{Drive, LOOK_AGAIN};
use super::rank::{Rank, registered};
use super::shared::{ElectorState, Order};
use crate::clock::BootTime;
use crate::error::{Error, Result, show};
use crate::io::Cancel;
use crate::leadership::{Candidate, Source, Stand};
use crate::protocol::Registered;
use crate::term::{Released, TermShared};

/// The candidate of an elector, and when it may act.
#[derive(Default)]
pub(super) struct Standing {
    candidate: Option<Candidate>,
    /// On its way there.
    preparing: Option<Preparing>,
    /// None is prepared before.
    not_before: BootTime,
    /// When the candidate stood.
    stood: BootTime,
    rank: Rank,
    /// The registration that the rank was read for.
    registered: Option<i64>,
    /// When the rank is read next, unless it is being read.
    rank_at: BootTime,
    ranking: Option<JoinHandle<Result<Vec<Registered>>>>,
    /// Since when the key is seen vacant.
    vacant: Option<BootTime>,
    /// A campaign was in vain: somebody had written the key at this revision, and the watch has not shown it yet.
    refused: Option<i64>,
    /// Candidates being withdrawn.
    leaving: Vec<JoinHandle<()>>,
}

struct Preparing {
    task: JoinHandle<(Candidate, Result<()>)>,
    cancel: Cancel,
}

/// Why a candidate acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The key is vacant.
    Vacant,
    /// It hangs on the candidate's lease.
    Handed,
}

/// A candidate that was lost stands again after a pause of up to this, in milliseconds: many may have been lost at once.
const SPREAD_MS: u64 = 200;
/// Between two looks whether the key of the term before is gone.
const STILL: Duration = Duration::from_millis(10);

impl Standing {
    /// Does its candidate stand with this lease?
    pub(super) fn stands_with(&self, lease: i64) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.stands_with(lease))
    }
}

impl Drive {
    /// The next term; `None`: it is to stop.
    pub(super) async fn win_key(&mut self) -> Result<Option<Arc<TermShared>>> {
        loop {
            let Some(turn) = self.follow().await? else { return Ok(None) };
            // Boxed: most of its life an elector only follows.
            match Box::pin(self.act(turn)).await {
                Ok(Some(term)) => return Ok(Some(term)),
                Ok(None) => {}
                Err(Error::Closed) => return Ok(None),
                Err(error) => self.passes(error)?,
            }
        }
    }

    /// Follows the key and stands, until it is this candidate's turn; `None`: it is to stop.
    async fn follow(&mut self) -> Result<Option<Turn>> {
        loop {
            let key = self.look()?;
            let now = self.now();
            let vacant = key.synced && key.kv.is_none();
            self.standing.vacant = vacant.then(|| self.standing.vacant.unwrap_or(now));
            if let Some(kv) = &key.kv {
                self.standing.rank.leads(kv.lease);
            }
            if self.standing.refused.is_some_and(|refused| key.revision > refused) {
                self.standing.refused = None; // whoever was faster is seen: that was no failure of ours
            }
            if let Some(candidate) = &mut self.standing.candidate {
                candidate.rename(&self.el.value.borrow());
            }
            let (may, mut wake) = self.may_stand();
            self.state(if may && vacant { ElectorState::Campaigning } else { self.resting() });
            let mut also = |at: BootTime| wake = Some(wake.map_or(at, |wake| wake.min(at)));
            if !(may && (self.el.options.warm || vacant)) {
                self.step_back();
            } else if let Some(candidate) = &self.standing.candidate {
                if !candidate.stands() {
                    log::info!("{}: the candidate's lease or registration is gone, it stands again", show(self.el.lead.key()));
                    self.step_back();
                    self.standing.not_before = now.after(Duration::from_millis(self.io.etcd.random(SPREAD_MS)));
                    continue;
                }
                let turn = match &key.kv {
                    Some(kv) if candidate.stands_with(kv.lease) => Some((Turn::Handed, self.not_before_again())),
                    None if vacant => Some((Turn::Vacant, self.may_take_at())),
                    _ => None,
                };
                match turn {
                    Some((turn, at)) if at <= now => return Ok(Some(turn)),
                    Some((_, at)) => also(at),
                    None => {}
                }
                also(now.after(LOOK_AGAIN)); // its lease may have ended
                if self.standing.registered != candidate.registered() {
                    // It has moved, as the others have by now or soon: they are known by other leases.
                    self.standing.registered = candidate.registered();
                    self.standing.rank_at = self.standing.rank_at.min(now.after(Duration::from_millis(SPREAD_MS)));
                }
                if candidate.registered().is_some() && !vacant && self.standing.ranking.is_none() {
                    if self.standing.rank_at <= now {
                        let (io, key) = (self.io.clone(), self.el.lead.shared.key.clone());
                        self.standing.ranking = Some(tokio::task::spawn_local(registered(io, key)));
                    } else {
                        also(self.standing.rank_at);
                    }
                }
            } else if self.standing.preparing.is_none() && self.still_releasing() {
                also(now.after(STILL));
            } else if self.standing.preparing.is_none() {
                let at = self.standing.not_before.max(self.not_before_again());
                if at <= now {
                    self.prepare();
                } else {
                    also(at);
                }
            }
            let sleep = wake.map_or(LOOK_AGAIN, |at| at.since(now).min(LOOK_AGAIN));
            tokio::select! {
                changed = self.level.changed() => if changed.is_err() {
                    return Ok(None);
                },
                _ = self.wanted.changed() => {}
                _ = self.health.changed() => {}
                order = self.orders.recv() => if self.obey_without_a_term(order) {
                    return Ok(None);
                },
                () = self.closed.wait() => return Ok(None),
                (candidate, prepared) = prepared(&mut self.standing.preparing) => self.prepared(candidate, prepared)?,
                read = ranked(&mut self.standing.ranking) => self.ranked(read),
                () = tokio::time::sleep(sleep), if wake.is_some() => {}
            }
        }
    }

    /// The candidates were read.
    fn ranked(&mut self, read: Result<Vec<Registered>>) {
        let standing = &mut self.standing;
        standing.rank_at = self.io.reread_at();
        let Some(candidate) = &mut standing.candidate else { return };
        match (read, candidate.registered()) {
            (Ok(all), Some(revision)) => {
                if !standing.rank.read(&all, revision, self.el.options.priority) {
                    candidate.deregistered();
                }
            }
            (Ok(_), None) => {}
            (Err(error), _) => log::debug!("{error}"),
        }
    }

    /// The back-off after failed campaigns.
    fn not_before_again(&self) -> BootTime {
        self.el.lead.shared.state().history.not_before()
    }

    /// When a vacant key may be taken.
    fn may_take_at(&self) -> BootTime {
        let mut seen = self.standing.vacant.unwrap_or_default();
        if seen > self.standing.stood {
            seen = seen.after(self.standing.rank.delay(self.el.options.ttl));
        }
        if self.standing.refused.is_some() { seen.max(self.not_before_again()) } else { seen }
    }

    /// Begins to stand.
    fn prepare(&mut self) {
        let options = &self.el.options;
        let lead = self.el.lead.shared.clone();
        let shared = options.lease.as_ref().map(|claim| claim.lease.clone());
        let stand = Stand {
            value: self.el.value.borrow().clone(),
            priority: options.priority,
            lease: shared.map_or(Source::Own(options.campaign.ttl), Source::Shared),
        };
        let mut candidate = Candidate::new(&self.io, &lead, stand, lead.resets.since());
        let el = self.el.clone();
        candidate.on_delay(move || el.level.send_modify(|level| level.state = ElectorState::Delayed));
        let cancel = Cancel::default();
        let stopped = cancel.clone();
        let task = tokio::task::spawn_local(async move {
            let prepared = tokio::select! {
                prepared = candidate.prepare() => prepared,
                () = stopped.wait() => Err(Error::cancelled("campaign", &lead.key)),
            };
            (candidate, prepared)
        });
        self.standing.preparing = Some(Preparing { task, cancel });
    }

    /// A shared lease carries a key of this election again only when the one before is known to be gone (S7).
    fn still_releasing(&self) -> bool {
        let term = self.el.level.borrow().term.clone();
        self.el.options.lease.is_some() && term.is_some_and(|term| term.released.get() == Released::No)
    }

    fn prepared(&mut self, candidate: Candidate, prepared: Result<()>) -> Result<()> {
        match prepared {
            Ok(()) => {
                let standing = &mut self.standing;
                standing.rank = Rank::default();
                standing.registered = candidate.registered();
                standing.rank_at = BootTime::default();
                standing.ranking = None; // of the one before
                standing.stood = self.io.etcd.clock.now();
                standing.candidate = Some(candidate);
                Ok(())
            }
            Err(error) => {
                self.failed();
                self.standing.leaving.push(candidate.withdraw());
                self.passes(error)
            }
        }
    }

    /// Who tries in vain pauses, ever longer.
    fn failed(&mut self) {
        let now = self.now();
        self.el.lead.shared.state().history.ended(false, now, |below| self.io.etcd.random(below));
    }

    /// Another was faster, or etcd is away: that passes, and everything else is returned.
    fn passes(&self, error: Error) -> Result<()> {
        match error {
            Error::NotElected { .. } | Error::Cancelled { .. } => log::debug!("{error}"),
            error if error.is_retriable() || matches!(error, Error::ClusterChanged { .. }) => {
                log::info!("{}: {error}", show(self.el.lead.key()));
            }
            error => return Err(error),
        }
        Ok(())
    }

    /// The candidate's turn. `None`: it was called off.
    async fn act(&mut self, turn: Turn) -> Result<Option<Arc<TermShared>>> {
        let Some(mut candidate) = self.standing.candidate.take() else { return Ok(None) };
        self.state(ElectorState::Campaigning);
        let compares = self.el.options.campaign.compares.clone();
        let outcome = {
            let work = async {
                match turn {
                    Turn::Vacant => candidate.go(&compares).await,
                    Turn::Handed => candidate.go_handed().await,
                }
            };
            tokio::pin!(work);
            loop {
                let (may, wake) = self.may_stand();
                if !may {
                    log::info!("{}: a campaign was called off", show(self.el.lead.key()));
                    break Ok(None);
                }
                let sleep = wake.map_or(LOOK_AGAIN, |at| at.since(self.now()));
                tokio::select! {
                    outcome = &mut work => break outcome.map(Some),
                    order = self.orders.recv() => match order {
                        // Not a leader yet, and it shall not become one by this campaign.
                        Some(Order::Resign(told)) => {
                            self.cool_down();
                            let _ = told.send(Ok(()));
                        }
                        order => if self.obey_without_a_term(order) {
                            break Err(Error::Closed);
                        },
                    },
                    () = self.closed.wait() => break Err(Error::Closed),
                    _ = self.wanted.changed() => {}
                    _ = self.health.changed() => {}
                    () = tokio::time::sleep(sleep), if wake.is_some() => {}
                }
            }
        };
        match &outcome {
            Ok(Some(_)) => {
                let now = self.now();
                self.el.lead.shared.state().history.ended(true, now, |_| 0);
                return outcome; // the candidate has become the term
            }
            Ok(None) | Err(Error::Closed) => {}
            Err(error) => {
                self.failed();
                if candidate.stands() {
                    // Else nothing but the back-off says when to try again.
                    self.standing.refused = Some(match error {
                        Error::NotElected { holder: Some(holder), .. } => holder.mod_revision,
                        _ => i64::MAX,
                    });
                    self.standing.candidate = Some(candidate);
                    return outcome;
                }
            }
        }
        self.standing.leaving.push(candidate.withdraw());
        outcome
    }

    /// Stands no longer: nothing of its candidate is left behind, whenever that is (S8).
    fn step_back(&mut self) {
        let standing = &mut self.standing;
        standing.refused = None;
        if let Some(ranking) = standing.ranking.take() {
            ranking.abort(); // it was read for a candidate that stands no more
        }
        standing.leaving.retain(|leaving| !leaving.is_finished());
        if let Some(candidate) = standing.candidate.take() {
            standing.leaving.push(candidate.withdraw());
        }
        if let Some(Preparing { task, cancel }) = standing.preparing.take() {
            cancel.trigger();
            let releasing = self.io.releasing();
            standing.leaving.push(tokio::task::spawn_local(async move {
                let _releasing = releasing;
                if let Ok((candidate, _)) = task.await {
                    let _ = candidate.withdraw().await;
                }
            }));
        }
    }

    /// The loop's end: waits until nothing is left, as long as a call may take; then that goes on by itself.
    pub(super) async fn stand_down(&mut self) {
        self.step_back();
        let leaving = std::mem::take(&mut self.standing.leaving);
        let left = async {
            for leaving in leaving {
                let _ = leaving.await;
            }
        };
        let _ = tokio::time::timeout(self.io.etcd.timeout, left).await;
    }
}

/// What a read of the candidates shows, when it has; never without one.
async fn ranked(ranking: &mut Option<JoinHandle<Result<Vec<Registered>>>>) -> Result<Vec<Registered>> {
    let Some(task) = ranking else { return std::future::pending().await };
    let read = task.await;
    *ranking = None;
    read.unwrap_or_else(|_| Err(Error::internal("a read of the candidates ended without an answer")))
}

/// The candidate being prepared, when it stands or has failed to; never without one.
async fn prepared(preparing: &mut Option<Preparing>) -> (Candidate, Result<()>) {
    let Some(Preparing { task, .. }) = preparing else { return std::future::pending().await };
    match task.await {
        Ok(outcome) => {
            *preparing = None;
            outcome
        }
        // Its task was dropped, with the runtime.
        Err(_) => std::future::pending().await,
    }
}
