//! What is done to etcd, to the ways and to the holders, and what must come of it. Owns the list and the doing;
//! judging is `verdict`'s.

use std::time::Duration;

use etcd_client::Client;

use crate::proxy::{Flow, Greeting, Weather};
use crate::rig::{Rig, Role};

/// How long a member is stopped, down or cut off: longer than a TTL, and than etcd's elections.
const AWAY: Duration = Duration::from_secs(7);
/// Watched after the fault: an etcd leader that wakes revokes what it finds expired for a while.
const AFTERWARDS: Duration = Duration::from_secs(20);
/// The same in the short form: most of it is done at once, the rest 7 s later.
const AFTERWARDS_IN_SHORT: Duration = Duration::from_secs(9);
/// Watched after a fault that leaves nothing to come.
const SOON_AFTERWARDS: Duration = Duration::from_secs(6);
/// A holder is cut off or stopped for so long beyond its TTL.
const BEYOND_TTL: Duration = Duration::from_secs(3);
/// An event takes a moment to a holder, and a successor waits so long for that (S15).
const TAKEOVER_DELAY: Duration = Duration::from_millis(100);
/// A quorum is away for so long: less than any TTL that is measured.
const BLINK: Duration = Duration::from_millis(800);

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A member is stopped (SIGSTOP) for 7 s and continued.
    Frozen(Role),
    /// A member is killed (SIGKILL) and started again with its data 7 s later.
    Killed(Role),
    /// A member is cut off from the other members for 7 s; clients still reach it.
    Parted(Role),
    /// Nothing gets through between the holders and a member for 7 s; the member is healthy.
    WayCut(Role),
    /// Every member in turn is ended by SIGTERM and started again.
    RollingRestart,
    /// Two members are stopped for 0.8 s.
    QuorumBlinks,
    /// Two members are killed, and come back with their data once every TTL has passed.
    QuorumLost,
    /// All members are killed and started again at once, with their data.
    AllRestarted,
    /// Writes and compactions all the while, and every connection is reset now and then.
    Compaction,
    /// The raft leader hands over in order, three times.
    MoveLeader,
    /// Leases are revoked behind the holders' backs.
    Revoked,
    /// Keys are deleted behind the holders' backs.
    Deleted,
    /// The leading holders are cut off from a healthy etcd; the bytes wait (a partition).
    CutOff,
    /// The leading holders' servers vanish without a word (half-open), and no new connection is answered.
    HalfOpen,
    /// Every connection of the leading holders is reset, again and again for 7 s.
    Resets,
    /// Every byte of the leading holders takes 150 ms more each way, for 15 s.
    Slow,
    /// The leading holders get 20 kB/s each way at each member, for 15 s.
    Narrow,
    /// The leading holders are stopped (SIGSTOP) for longer than their TTL and continued.
    HolderFrozen,
    /// The leading holders are killed (SIGKILL).
    HolderKilled,
}

/// What must come of it, beside that no two terms overlap and nobody claims what is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No term is lost.
    Kept,
    /// Every term of the leading holders is lost, in time, and another leads.
    Lost,
    /// It depends.
    Either,
}

impl Scenario {
    /// All of them, in the order of the table.
    pub const ALL: [Scenario; 27] = [
        Scenario::Frozen(Role::Leader),
        Scenario::Frozen(Role::Connected),
        Scenario::Frozen(Role::Other),
        Scenario::Killed(Role::Leader),
        Scenario::Killed(Role::Connected),
        Scenario::Killed(Role::Other),
        Scenario::Parted(Role::Leader),
        Scenario::Parted(Role::Connected),
        Scenario::Parted(Role::Other),
        Scenario::WayCut(Role::Leader),
        Scenario::WayCut(Role::Connected),
        Scenario::WayCut(Role::Other),
        Scenario::RollingRestart,
        Scenario::QuorumBlinks,
        Scenario::QuorumLost,
        Scenario::AllRestarted,
        Scenario::Compaction,
        Scenario::MoveLeader,
        Scenario::Revoked,
        Scenario::Deleted,
        Scenario::CutOff,
        Scenario::HalfOpen,
        Scenario::Resets,
        Scenario::Slow,
        Scenario::Narrow,
        Scenario::HolderFrozen,
        Scenario::HolderKilled,
    ];

    /// Its name in tables, arguments and JSON.
    #[must_use]
    pub fn name(self) -> String {
        let of = |role| match role {
            Role::Leader => "leader",
            Role::Connected => "connected",
            Role::Other => "other",
        };
        match self {
            Scenario::Frozen(role) => format!("{}-frozen", of(role)),
            Scenario::Killed(role) => format!("{}-killed", of(role)),
            Scenario::Parted(role) => format!("{}-parted", of(role)),
            Scenario::WayCut(role) => format!("{}-unreachable", of(role)),
            Scenario::RollingRestart => "rolling-restart".to_owned(),
            Scenario::QuorumBlinks => "quorum-blinks".to_owned(),
            Scenario::QuorumLost => "quorum-lost".to_owned(),
            Scenario::AllRestarted => "all-restarted".to_owned(),
            Scenario::Compaction => "compaction".to_owned(),
            Scenario::MoveLeader => "move-leader".to_owned(),
            Scenario::Revoked => "lease-revoked".to_owned(),
            Scenario::Deleted => "key-deleted".to_owned(),
            Scenario::CutOff => "holder-cut-off".to_owned(),
            Scenario::HalfOpen => "holder-half-open".to_owned(),
            Scenario::Resets => "connections-reset".to_owned(),
            Scenario::Slow => "slow-network".to_owned(),
            Scenario::Narrow => "narrow-network".to_owned(),
            Scenario::HolderFrozen => "holder-frozen".to_owned(),
            Scenario::HolderKilled => "holder-killed".to_owned(),
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// What must come of it where the TTL is 5 s or more.
    #[must_use]
    pub fn expected(self) -> Expected {
        match self {
            Scenario::QuorumLost | Scenario::AllRestarted => Expected::Either,
            Scenario::Revoked | Scenario::Deleted | Scenario::CutOff | Scenario::HalfOpen => Expected::Lost,
            Scenario::HolderFrozen | Scenario::HolderKilled => Expected::Lost,
            _ => Expected::Kept,
        }
    }

    /// For so long a term may still say yes once every member told that its key was gone. None where the key goes for want
    /// of renewals: its term has ended before that. Where somebody takes it away, the event has to reach the holder.
    #[must_use]
    pub fn told_within(self) -> Duration {
        match self {
            Scenario::CutOff | Scenario::HalfOpen | Scenario::HolderFrozen | Scenario::HolderKilled => Duration::ZERO,
            _ => TAKEOVER_DELAY,
        }
    }

    /// Does it, and what is to be watched after it. Leaves everything running.
    pub async fn play(self, rig: &mut Rig, short: bool) -> Result<(), String> {
        let afterwards = if short { AFTERWARDS_IN_SHORT } else { AFTERWARDS };
        match self {
            Scenario::Frozen(role) => {
                let member = rig.member(role).await?;
                rig.etcd.member(member).stop_signal()?;
                pass(AWAY).await;
                rig.etcd.member(member).cont()?;
                pass(afterwards).await;
            }
            Scenario::Killed(role) => {
                let member = rig.member(role).await?;
                rig.etcd.member(member).kill().await?;
                pass(AWAY).await;
                rig.etcd.restart(member).await?;
                pass(afterwards).await;
            }
            Scenario::Parted(role) => {
                let member = rig.member(role).await?;
                rig.part(member)?;
                pass(AWAY).await;
                // An etcd that hears nothing for so long knows no leader (or, deposed, finds that out): else it was not parted.
                let status = rig.etcd.status(member).await?;
                let leads = status.header().is_some_and(|header| header.member_id() == status.leader());
                if status.leader() != 0 && !leads || rig.etcd.leader().await? == member {
                    return Err(format!("member {member} was cut off from its peers, and still follows a leader or leads"));
                }
                rig.mend().await?;
                pass(afterwards).await;
            }
            Scenario::WayCut(role) => {
                let member = rig.member(role).await?;
                for holder in &rig.holders {
                    holder.ways.get(member).ok_or("no such way")?.set(Weather::both(Flow::Hold));
                }
                pass(AWAY).await;
                rig.mend().await?;
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::RollingRestart => {
                for member in 0..rig.etcd.members().len() {
                    rig.etcd.member(member).terminate().await?;
                    rig.etcd.restart(member).await?;
                    pass(Duration::from_secs(2)).await;
                }
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::QuorumBlinks => {
                let away = two(rig).await?;
                for member in away {
                    rig.etcd.member(member).stop_signal()?;
                }
                pass(BLINK).await;
                rig.mend().await?;
                pass(afterwards).await;
            }
            Scenario::QuorumLost => {
                let away = two(rig).await?;
                for member in away {
                    rig.etcd.member(member).kill().await?;
                }
                pass(longest_ttl(rig) + BEYOND_TTL).await;
                // Both at once: neither serves without the other.
                rig.etcd.restart_each(&away).await?;
                pass(afterwards).await;
            }
            Scenario::AllRestarted => {
                rig.etcd.restart_all().await?;
                pass(afterwards).await;
            }
            Scenario::Compaction => compact(rig).await?,
            Scenario::MoveLeader => {
                for _ in 0..3 {
                    move_leader(rig).await?;
                    pass(Duration::from_secs(3)).await;
                }
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::Revoked | Scenario::Deleted => {
                take_away(rig, self == Scenario::Revoked).await?;
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::CutOff => {
                spoil(rig, Weather::both(Flow::Hold), false);
                pass(longest_ttl(rig) + BEYOND_TTL).await;
                rig.mend().await?;
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::HalfOpen => {
                let weather = Weather {
                    greeting: Greeting::Silence,
                    ..Weather::default()
                };
                spoil(rig, weather, true);
                pass(longest_ttl(rig) + BEYOND_TTL).await;
                rig.mend().await?;
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::Resets => {
                for _ in 0..14 {
                    for place in rig.leading() {
                        rig.holders.get(place).into_iter().flat_map(|holder| &holder.ways).for_each(crate::proxy::Way::reset);
                    }
                    pass(AWAY / 14).await;
                }
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::Slow | Scenario::Narrow => {
                let flow =
                    if self == Scenario::Slow { Flow::Delay(Duration::from_millis(150)) } else { Flow::Throttle(20_000) };
                spoil(rig, Weather::both(flow), false);
                pass(Duration::from_secs(15)).await;
                rig.mend().await?;
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::HolderFrozen => {
                let leading = rig.leading();
                for holder in leading.iter().filter_map(|place| rig.holders.get(*place)) {
                    holder.stop()?;
                }
                pass(longest_ttl(rig) + BEYOND_TTL).await;
                for holder in leading.iter().filter_map(|place| rig.holders.get(*place)) {
                    holder.cont()?;
                }
                pass(SOON_AFTERWARDS).await;
            }
            Scenario::HolderKilled => {
                let leading = rig.leading();
                for place in &leading {
                    rig.holders.get_mut(*place).ok_or("no such holder")?.kill()?;
                }
                pass(longest_ttl(rig) + BEYOND_TTL).await;
                for place in leading {
                    rig.restart_holder(place)?;
                }
                pass(SOON_AFTERWARDS).await;
            }
        }
        Ok(())
    }
}

async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

fn longest_ttl(rig: &Rig) -> Duration {
    rig.groups.iter().map(|group| group.ttl).max().unwrap_or_default()
}

/// The raft leader and another: a quorum of three.
async fn two(rig: &Rig) -> Result<[usize; 2], String> {
    let leader = rig.etcd.leader().await?;
    Ok([leader, (leader + 1) % rig.etcd.members().len()])
}

/// Spoils all ways of the holders that lead.
fn spoil(rig: &Rig, weather: Weather, lose_server: bool) {
    for holder in rig.leading().into_iter().filter_map(|place| rig.holders.get(place)) {
        for way in &holder.ways {
            way.set(weather);
            if lose_server {
                way.lose_server();
            }
        }
    }
}

async fn client(rig: &Rig, member: usize) -> Result<Client, String> {
    Client::connect([format!("http://{}", rig.etcd.member(member).endpoint())], None).await.map_err(|e| e.to_string())
}

async fn move_leader(rig: &Rig) -> Result<(), String> {
    let leader = rig.etcd.leader().await?;
    let next = rig.etcd.status((leader + 1) % rig.etcd.members().len()).await?;
    let target = next.header().map_or(0, etcd_client::ResponseHeader::member_id);
    client(rig, leader).await?.move_leader(target).await.map(drop).map_err(|e| e.to_string())
}

/// Every key of every group, 20 ms apart, by a stranger: deleted, or its lease revoked.
async fn take_away(rig: &Rig, revoke: bool) -> Result<(), String> {
    let mut client = client(rig, 0).await?;
    for key in (0..rig.groups.len()).flat_map(|group| rig.keys(group)) {
        if revoke {
            let held = client.get(key, None).await.map_err(|e| e.to_string())?;
            let lease = held.kvs().first().map_or(0, etcd_client::KeyValue::lease);
            client.lease_revoke(lease).await.map_err(|e| e.to_string())?;
        } else {
            client.delete(key, None).await.map_err(|e| e.to_string())?;
        }
        pass(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// 15 s of writes with a compaction every half second, and all connections reset every three.
async fn compact(rig: &Rig) -> Result<(), String> {
    let mut client = client(rig, 0).await?;
    for round in 0..30 {
        let mut revision = 0;
        for write in 0..50 {
            let put = client.put(format!("load/{write}"), round.to_string(), None).await.map_err(|e| e.to_string())?;
            revision = put.header().map_or(0, etcd_client::ResponseHeader::revision);
        }
        client.compact(revision, None).await.map_err(|e| e.to_string())?;
        if round % 6 == 5 {
            for way in rig.holders.iter().flat_map(|holder| &holder.ways) {
                way.reset();
            }
        }
        pass(Duration::from_millis(400)).await;
    }
    pass(SOON_AFTERWARDS).await;
    Ok(())
}
