//! One election and those who contend for it: whoever leads is paused, sent home or killed, until everybody has led.
//! Owns what is done and in which order; what is wrong is `fouls`'s.

use std::path::Path;
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, SortOrder, SortTarget};

use super::contender::{Belief, Contender, Kind};
use super::fouls::{Election, Hold, fouls, holds};
use crate::journal::Claim;
use crate::referee::Referee;

/// Every election here is under it.
pub const PREFIX: &str = "neighbours/";
/// Somebody else leads within this: a lease of 2 s runs out, on a busy machine.
const NEXT_WITHIN: Duration = Duration::from_secs(30);
/// A process that was asked to end has so long.
const HOME_WITHIN: Duration = Duration::from_secs(10);
/// How often a condition outside is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a leader is paused whose lease (60 s, etcdctl's) outlives any pause here: nobody may lead meanwhile.
const SHORT_PAUSE: Duration = Duration::from_millis(1500);

/// What becomes of whoever leads.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGSTOP until another leads, and with it one that waits.
    Pause,
    /// An orderly end; it comes back at once.
    Home,
    /// SIGKILL; it comes back when everybody has led.
    Kill,
}

/// Who leads, by etcd and by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leading {
    place: usize,
    key: String,
    create: i64,
    lease: i64,
}

/// One election with all that belongs to it.
pub struct Contest {
    election: Election,
    contenders: Vec<Contender>,
    etcd: Client,
    /// A small generator of numbers: which of those who wait is paused, too.
    random: u32,
    /// Who led, in order, by place.
    turns: Vec<usize>,
}

impl Contest {
    /// Two electors of ours and two of the reference's kind, on a single key.
    pub async fn single(program: &Path, endpoint: &str, seed: u32) -> Result<Contest, String> {
        let key = format!("{PREFIX}leader");
        let who = [Kind::Elector, Kind::Reference, Kind::Elector, Kind::Reference];
        Contest::start(Election::Single(key.clone()), &who, program, endpoint, &key, seed).await
    }

    /// Two of ours, one on etcd's `concurrency`, `etcdctl elect` and `etcdctl lock`, in a queue.
    pub async fn queue(program: &Path, endpoint: &str, seed: u32) -> Result<Contest, String> {
        let prefix = format!("{PREFIX}queue");
        let who = [Kind::Concurrency, Kind::Queue, Kind::EtcdctlElect, Kind::Queue, Kind::EtcdctlLock];
        Contest::start(Election::Queue(format!("{prefix}/")), &who, program, endpoint, &prefix, seed).await
    }

    async fn start(
        election: Election,
        who: &[Kind],
        program: &Path,
        endpoint: &str,
        key: &str,
        seed: u32,
    ) -> Result<Contest, String> {
        let etcd = Client::connect([format!("http://{endpoint}")], None).await.map_err(|e| e.to_string())?;
        let mut contenders = Vec::new();
        for (place, kind) in who.iter().enumerate() {
            contenders.push(Contender::start(*kind, program, endpoint, key, &format!("{kind:?}-{place}"))?);
        }
        Ok(Contest {
            election,
            contenders,
            etcd,
            random: seed,
            turns: Vec::new(),
        })
    }

    /// Until everybody has led: faults in turn, and whoever is killed stays away until the end of it.
    pub async fn cycle(&mut self) -> Result<(), String> {
        let mut away = vec![false; self.contenders.len()];
        let mut leading = self.leading(&away, None).await?;
        for fault in [Fault::Pause, Fault::Home, Fault::Kill].into_iter().cycle() {
            self.turns.push(leading.place);
            let standing: Vec<usize> = (0..away.len()).filter(|place| away.get(*place) == Some(&false)).collect();
            if standing.len() == 1 {
                break;
            }
            match fault {
                Fault::Pause => leading = self.pause(leading, &standing, &away).await?,
                Fault::Home => {
                    self.of(leading.place)?.send_home()?;
                    self.gone(leading.place).await?;
                    self.of(leading.place)?.run()?;
                    leading = self.leading(&away, Some(&leading)).await?;
                }
                Fault::Kill => {
                    self.of(leading.place)?.kill();
                    if let Some(gone) = away.get_mut(leading.place) {
                        *gone = true;
                    }
                    if self.of(leading.place)?.kind == Kind::EtcdctlElect {
                        // Nobody waits here for a minute: an operator's hand.
                        self.etcd.lease_revoke(leading.lease).await.map_err(|e| e.to_string())?;
                    }
                    leading = self.leading(&away, Some(&leading)).await?;
                }
            }
        }
        self.contenders.iter_mut().try_for_each(Contender::run)
    }

    /// Whoever leads is stopped until another leads, and one of those who wait with it; then both go on.
    async fn pause(&mut self, leading: Leading, standing: &[usize], away: &[bool]) -> Result<Leading, String> {
        if self.of(leading.place)?.kind == Kind::EtcdctlElect {
            self.of(leading.place)?.stop()?;
            tokio::time::sleep(SHORT_PAUSE).await;
            let (key, create, _) = self.first().await?.ok_or("the key of a paused leader is gone before its time")?;
            if (&key, create) != (&leading.key, leading.create) {
                return Err(format!("{key} took the place of {} before its time", leading.key));
            }
            self.of(leading.place)?.cont()?;
            return Ok(leading);
        }
        // Not one with a long lease: the queue would wait for it. And somebody must be left to lead.
        let others = standing.iter().copied().filter(|place| *place != leading.place);
        let others: Vec<usize> =
            others.filter(|place| self.contenders.get(*place).is_some_and(|one| one.kind != Kind::EtcdctlElect)).collect();
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let mut paused = vec![leading.place];
        if standing.len() > 2 {
            paused.extend(others.get(self.random as usize % others.len().max(1)));
        }
        for place in &paused {
            self.of(*place)?.stop()?;
        }
        let next = self.leading(away, Some(&leading)).await;
        for place in paused {
            self.of(place)?.cont()?;
        }
        next
    }

    fn of(&mut self, place: usize) -> Result<&mut Contender, String> {
        self.contenders.get_mut(place).ok_or_else(|| format!("no contender {place}"))
    }

    /// Waits until its process has ended.
    async fn gone(&mut self, place: usize) -> Result<(), String> {
        let deadline = Instant::now() + HOME_WITHIN;
        while !self.of(place)?.is_gone() {
            if Instant::now() > deadline {
                return Err(format!("{} was sent home, and does not end", self.of(place)?.name));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The key that leads, by etcd: with the revision of its creation and its lease.
    async fn first(&mut self) -> Result<Option<(String, i64, i64)>, String> {
        let options = GetOptions::new().with_sort(SortTarget::Create, SortOrder::Ascend).with_limit(1);
        let (key, options) = match &self.election {
            Election::Single(key) => (key, options),
            Election::Queue(prefix) => (prefix, options.with_prefix()),
        };
        let got = self.etcd.get(key.as_str(), Some(options)).await.map_err(|e| e.to_string())?;
        let first = got.kvs().first();
        Ok(first.map(|kv| (String::from_utf8_lossy(kv.key()).into_owned(), kv.create_revision(), kv.lease())))
    }

    /// Waits until one leads by etcd and by its own word, another key than `before`'s. Who ended is started again.
    async fn leading(&mut self, away: &[bool], before: Option<&Leading>) -> Result<Leading, String> {
        let deadline = Instant::now() + NEXT_WITHIN;
        loop {
            for (contender, _) in self.contenders.iter_mut().zip(away).filter(|(_, away)| !**away) {
                contender.run()?;
            }
            let first = self.first().await?;
            if let Some((key, create, lease)) = &first
                && before.is_none_or(|before| (&before.key, before.create) != (key, *create))
                && let Some(place) = self.contenders.iter().position(|one| one.says_it_leads(key, *create))
            {
                let (key, create, lease) = (key.clone(), *create, *lease);
                return Ok(Leading { place, key, create, lease });
            }
            if Instant::now() > deadline {
                let failures: Vec<_> = self.contenders.iter().filter_map(Contender::last_failure).collect();
                return Err(format!("nobody leads after {before:?}; etcd shows {first:?}; failures of ours: {failures:?}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn claims(&self) -> Vec<Claim> {
        self.contenders.iter().filter(|one| one.kind.is_ours()).flat_map(Contender::claims).collect()
    }

    /// What was wrong, once the referee has heard of every key that somebody leads by.
    pub async fn judge(&mut self, referee: &Referee) -> Result<Vec<String>, String> {
        let deadline = Instant::now() + NEXT_WITHIN;
        loop {
            let (claims, holds) = (self.claims(), holds(&self.election, &referee.seen()));
            let told = |claim: &Claim| holds.iter().any(|hold| hold.key == claim.key && hold.create == claim.token);
            if claims.iter().all(told) || Instant::now() > deadline {
                let mut found = fouls(&claims, &holds);
                let never = self.contenders.iter().enumerate().filter(|(place, _)| !self.turns.contains(place));
                found.extend(never.map(|(_, one)| format!("{} never had a turn", one.name)));
                return Ok(found);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Who led how often, and how long it believed in itself beyond the end of its key at most.
    #[must_use]
    pub fn lines(&self, referee: &Referee) -> Vec<String> {
        let holds = holds(&self.election, &referee.seen());
        let line = |(place, one): (usize, &Contender)| {
            let turns = self.turns.iter().filter(|turn| **turn == place).count();
            let beyond = one.beliefs().iter().filter_map(|belief| beyond(belief, &holds)).max().unwrap_or(0);
            format!("{}: led {turns} times, believed it for {:.1} ms after its key was gone", one.name, beyond as f64 / 1e6)
        };
        self.contenders.iter().enumerate().map(line).collect()
    }

    /// How often somebody began to lead.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.turns.len()
    }
}

fn beyond(belief: &Belief, holds: &[Hold]) -> Option<u64> {
    let own = holds.iter().find(|hold| hold.key == belief.key && belief.create.is_none_or(|create| create == hold.create))?;
    Some(belief.until?.saturating_sub(own.gone?))
}
