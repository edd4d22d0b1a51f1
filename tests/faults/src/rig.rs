//! Everything that a trial needs, started and ended: three members, ways through the proxy, holders, the referee.
//! Owns their lives and who plays which part just now; what is done to them is `scenario`'s.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use leadership_core::Clock;
use leadership_tests::etcd::{Etcd, State, Version};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::holder::Orders;
use crate::journal::{Claim, Journal};
use crate::peers::Peers;
use crate::proxy::{Proxy, Way};
use crate::referee::Referee;
use crate::verdict::{Verdict, judge};

/// Every election of a rig is under it.
pub const PREFIX: &str = "faults/";
/// How long a rig may take until every election has its one leader again.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// It must stay so for so long.
const SETTLED_FOR: Duration = Duration::from_millis(1500);
/// How often a condition outside is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A holder that is to end in order has so long.
const CLOSE_WITHIN: Duration = Duration::from_secs(15);

/// The lines that go to the raw file.
pub type Raw = Arc<Mutex<Vec<Value>>>;

/// Elections with the same TTL: led by one process, with another that waits.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// What they campaign with.
    pub ttl: Duration,
    /// How many elections.
    pub keys: usize,
    /// Shared among so many clients of the process.
    pub clients: usize,
}

/// What a verdict is to be read with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// How often holders said that renewals fail.
    pub jeopardies: usize,
    /// The longest time without an answer from etcd to a linearizable read, ns.
    pub silence: u64,
    /// The longest time that the library of a holder waited for a processor, ns.
    pub starved: u64,
}

/// A member's part at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Raft's leader.
    Leader,
    /// The one that the holders of most elections speak to most; raft's leader, if it is that one.
    Connected,
    /// Neither of the two.
    Other,
}

/// A process that leads or waits to, with its own ways to all members.
pub struct Holder {
    /// Its name in the records.
    pub name: String,
    /// Which group it belongs to, by its place.
    pub group: usize,
    /// Its ways, in the order of the members.
    pub ways: Vec<Way>,
    /// What it says.
    pub journal: Journal,
    orders: Orders,
    process: Process,
}

/// A running holder; its output is read by a thread.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

impl Holder {
    fn start(program: &Path, name: String, group: usize, ways: Vec<Way>, orders: Orders, raw: &Raw) -> Result<Holder, String> {
        let journal = Journal::default();
        let process = spawn(program, &name, &orders, &journal, raw)?;
        Ok(Holder {
            name,
            group,
            ways,
            journal,
            orders,
            process,
        })
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.process.child), signal).map_err(|e| format!("{}: {e}", self.name))
    }

    /// SIGSTOP.
    pub fn stop(&self) -> Result<(), String> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn cont(&self) -> Result<(), String> {
        self.signal(Signal::CONT)
    }

    /// SIGKILL; what it had said stays in the journal.
    pub fn kill(&mut self) -> Result<(), String> {
        let child = &mut self.process.child;
        child.kill().and_then(|()| child.wait()).map_err(|e| format!("{}: {e}", self.name))?;
        // Nothing of the dead one may be read once a new one speaks.
        if let Some(reader) = self.process.reader.take() {
            let _ = reader.join();
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let deadline = Instant::now() + CLOSE_WITHIN;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, name: &str, orders: &Orders, journal: &Journal, raw: &Raw) -> Result<Process, String> {
    let mut command = Command::new(program);
    command.arg("holder").args(orders.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("a holder without its pipes".to_owned());
    };
    let (name, journal, raw) = (name.to_owned(), journal.clone(), raw.clone());
    let reader = std::thread::spawn(move || journal.read(&name, BufReader::new(output), |line| lock(&raw).push(line)));
    Ok(Process {
        child,
        input: Some(input),
        reader: Some(reader),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Three members and everything around them. Dropping it ends it all.
pub struct Rig {
    // Dropped in this order: holders let go in order while there is an etcd.
    /// Two for each group: the one that was first, and the one that was to wait.
    pub holders: Vec<Holder>,
    /// What etcd held.
    pub referee: Referee,
    /// The members.
    pub etcd: Etcd,
    /// As it was asked for.
    pub groups: Vec<Group>,
    /// Every line for the raw file.
    pub raw: Raw,
    program: PathBuf,
    clock: Clock,
    peers: Peers,
    proxy: Arc<Proxy>,
}

impl Rig {
    /// Starts it, and waits until every election has its leader. `program` is this crate's own.
    pub async fn start(version: Version, program: &Path, groups: &[Group]) -> Result<Rig, String> {
        let proxy = Arc::new(Proxy::start()?);
        let peers = Peers::new(proxy.clone());
        let front = peers.clone();
        let options = Etcd::options(version).members(3).peers_behind(move |listens| front.stand_before(listens));
        let etcd = options.start().await?;
        let referee = Referee::start(&etcd.endpoints(), PREFIX)?;
        let mut rig = Rig {
            holders: Vec::new(),
            referee,
            etcd,
            groups: groups.to_vec(),
            raw: Raw::default(),
            program: program.to_owned(),
            clock: Clock::boot(),
            peers,
            proxy,
        };
        for part in ["first", "second"] {
            for (place, group) in groups.iter().enumerate() {
                let ways = rig.etcd.endpoints().iter().map(|server| rig.proxy.way(server)).collect::<Result<Vec<_>, _>>()?;
                let orders = Orders {
                    endpoints: ways.iter().map(Way::endpoint).collect(),
                    prefix: prefix(place, group),
                    keys: group.keys,
                    clients: group.clients,
                    ttl: group.ttl,
                };
                let name = format!("{}-{part}", prefix(place, group).trim_start_matches(PREFIX).trim_end_matches('/'));
                rig.holders.push(Holder::start(program, name, place, ways, orders, &rig.raw)?);
            }
            rig.settled().await?;
        }
        Ok(rig)
    }

    /// Now, on the clock that everything is judged by.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now().0
    }

    /// Waits until every member serves and every election has had exactly one leader for a moment.
    pub async fn settled(&self) -> Result<(), String> {
        self.etcd.ready().await?;
        let deadline = Instant::now() + SETTLED_WITHIN;
        let mut since = Instant::now();
        loop {
            let running: Vec<usize> = (0..self.groups.len())
                .map(|group| self.holders.iter().filter(|h| h.group == group).map(|h| h.journal.said().running()).sum())
                .collect();
            if running.iter().zip(&self.groups).any(|(running, group)| *running != group.keys) {
                since = Instant::now();
            }
            if since.elapsed() >= SETTLED_FOR {
                return Ok(());
            }
            if Instant::now() > deadline {
                let failures: Vec<_> =
                    self.holders.iter().filter_map(|h| h.journal.said().failures.last().cloned()).collect();
                return Err(format!("not every election has its leader after {SETTLED_WITHIN:?}: {running:?}; last {failures:?}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The member that plays this part now. All must run.
    pub async fn member(&self, role: Role) -> Result<usize, String> {
        let leader = self.etcd.leader().await?;
        if role == Role::Leader {
            return Ok(leader);
        }
        let carried = || -> Vec<u64> {
            (0..self.etcd.members().len())
                .map(|member| self.holders.iter().filter_map(|holder| holder.ways.get(member)).map(Way::carried).sum())
                .collect()
        };
        let before = carried();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let busy: Vec<u64> = carried().iter().zip(&before).map(|(after, before)| after - before).collect();
        let connected = (0..busy.len()).max_by_key(|member| busy.get(*member)).unwrap_or(leader);
        Ok(match role {
            Role::Leader | Role::Connected => connected,
            Role::Other => (0..busy.len()).find(|member| *member != leader && *member != connected).unwrap_or(leader),
        })
    }

    /// Of each group the holder that leads most of it, by its place in `holders`.
    #[must_use]
    pub fn leading(&self) -> Vec<usize> {
        (0..self.groups.len())
            .filter_map(|group| {
                let of_group = self.holders.iter().enumerate().filter(|(_, holder)| holder.group == group);
                of_group.max_by_key(|(_, holder)| holder.journal.said().running()).map(|(place, _)| place)
            })
            .collect()
    }

    /// Starts a holder that was killed anew, under its name.
    pub fn restart_holder(&mut self, place: usize) -> Result<(), String> {
        let holder = self.holders.get_mut(place).ok_or("no such holder")?;
        holder.process = spawn(&self.program, &holder.name, &holder.orders, &holder.journal, &self.raw)?;
        Ok(())
    }

    /// The keys of a group's elections.
    #[must_use]
    pub fn keys(&self, group: usize) -> Vec<String> {
        let Some(of) = self.groups.get(group) else { return Vec::new() };
        (0..of.keys).map(|key| format!("{}{key:04}", prefix(group, of))).collect()
    }

    /// What happened to a group from `from` to `to`.
    #[must_use]
    pub fn judge(&self, group: usize, from: u64, to: u64) -> Verdict {
        let holders = self.holders.iter().filter(|holder| holder.group == group);
        let claims: Vec<Claim> = holders.flat_map(|holder| holder.journal.said().claims.values().cloned().collect::<Vec<_>>()).collect();
        judge(&claims, &self.referee.seen(), from, to)
    }

    /// What else is to be known of that time.
    #[must_use]
    pub fn circumstances(&self, group: usize, from: u64, to: u64) -> Circumstances {
        let mut found = Circumstances {
            silence: self.referee.seen().longest_silence(from, to),
            ..Circumstances::default()
        };
        for holder in self.holders.iter().filter(|holder| holder.group == group) {
            let said = holder.journal.said();
            found.jeopardies += said.jeopardies.iter().filter(|(at, _)| (from..=to).contains(at)).count();
            let starved = said.starved.iter().filter(|(at, _)| (from..=to).contains(at)).map(|(_, ns)| *ns);
            found.starved = starved.max().unwrap_or(0).max(found.starved);
        }
        found
    }

    /// Cuts a member off from the other members, until [`mend`](Self::mend); clients still reach it.
    pub fn part(&self, member: usize) -> Result<(), String> {
        let id = self.etcd.member(member).id().ok_or("a member that has never served")?;
        self.peers.cut_off(id, member, self.etcd.members().len())
    }

    /// Makes everything run again that a scenario may have left stopped, down or spoilt.
    pub async fn mend(&self) -> Result<(), String> {
        self.peers.heal();
        for holder in &self.holders {
            for way in &holder.ways {
                way.set(crate::proxy::Weather::default());
            }
        }
        for (index, member) in self.etcd.members().iter().enumerate() {
            match member.state() {
                State::Running => {}
                State::Stopped => member.cont()?,
                State::Down => self.etcd.restart(index).await?,
            }
        }
        Ok(())
    }
}

fn prefix(place: usize, group: &Group) -> String {
    format!("{PREFIX}{place}-ttl{}/", group.ttl.as_secs())
}
