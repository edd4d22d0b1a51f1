//! The five steps of the tour: what is done to the leader, and what must follow.
//! Owns the script and its bounds; how it is shown is `timeline`'s, what is always checked `verdict`'s.

use std::time::Duration;

use rustix::process::Signal;

use crate::failure::Failure;

use super::stage::{Stage, latest_deadline, now};
use super::timeline::{NAMES, Tone};
use super::verdict::{Check, Reign};
use super::{SOON, TTL};

/// How much later than its TTL a key may go: etcd looks for expired leases every 500 ms, then the takeover delay, and a
/// busy machine.
const EXPIRY_SLACK: Duration = Duration::from_secs(2);
/// How long a take-over may take when the key has gone already: a few round trips, and the takeover delay if any.
const QUICK: Duration = Duration::from_millis(1500);
/// How long a leader is left alone between two steps, in nanoseconds: a few writes, and time to read a line.
const WORK: u64 = 700_000_000;

pub(super) async fn all(stage: &mut Stage) -> Result<(), Failure> {
    election(stage).await?;
    kill(stage).await?;
    resign(stage).await?;
    deleted(stage).await?;
    paused(stage).await?;
    curtain(stage).await
}

fn name(who: usize) -> &'static str {
    NAMES.get(who).map_or("nobody", |(name, _)| name)
}

/// The current term, with a write of its own applied.
async fn working(stage: &mut Stage, limit: Duration, but: Option<i64>) -> Result<Reign, Failure> {
    let reign = stage
        .until("somebody leads", limit, |stage| stage.reign().filter(|reign| Some(reign.token) != but).cloned())
        .await?;
    stage
        .until("the leader's first guarded write is applied", SOON, |stage| {
            stage.writes.iter().any(|write| write.token == reign.token).then_some(())
        })
        .await?;
    Ok(reign)
}

/// Everybody but the leader knows who leads.
async fn followed(stage: &mut Stage, reign: &Reign, except: Option<usize>) -> Result<(), Failure> {
    let others: Vec<_> = (0..NAMES.len()).filter(|who| *who != reign.who && Some(*who) != except).collect();
    stage
        .until("the others follow", SOON, |stage| {
            let mut others = others.iter().filter_map(|who| stage.candidates.get(*who));
            others.all(|candidate| candidate.follows == Some(reign.token)).then_some(())
        })
        .await?;
    let names: Vec<_> = others.iter().map(|who| name(*who)).collect();
    let text = match names.as_slice() {
        [one] => format!("{one} follows {}", name(reign.who)),
        several => format!("{} follow {}", several.join(" and "), name(reign.who)),
    };
    stage.timeline.line(now(), None, Tone::Aside, &text, None, None)
}

fn act(stage: &Stage, who: Option<usize>, text: &str, token: Option<i64>) -> Result<(), Failure> {
    stage.timeline.line(now(), who, Tone::Act, text, token, None)
}

/// A process that ended comes back, and follows.
async fn back(stage: &mut Stage, who: usize) -> Result<(), Failure> {
    stage.start(who)?;
    let reign = stage.reign().cloned().ok_or_else(|| Failure::other("nobody leads"))?;
    followed(stage, &reign, None).await?;
    work(stage).await
}

/// The leader is left alone for a while, and writes.
async fn work(stage: &mut Stage) -> Result<(), Failure> {
    stage.pass(now() + WORK).await
}

async fn election(stage: &mut Stage) -> Result<(), Failure> {
    stage.timeline.step(1, "An election")?;
    for who in 0..NAMES.len() {
        stage.start(who)?;
    }
    let reign = working(stage, SOON, None).await?;
    followed(stage, &reign, None).await?;
    work(stage).await
}

async fn kill(stage: &mut Stage) -> Result<(), Failure> {
    stage.timeline.step(2, "The leader is killed: its lease must run out first")?;
    let before = working(stage, SOON, None).await?;
    act(stage, Some(before.who), "kill -9", Some(before.token))?;
    stage.expected = Some(("kill -9", TTL + EXPIRY_SLACK));
    stage.signal(before.who, Signal::KILL)?;
    stage.wait_for_exit(before.who).await?;
    stage.ends(before.token, now());
    working(stage, TTL + EXPIRY_SLACK + SOON, Some(before.token)).await?;
    back(stage, before.who).await
}

async fn resign(stage: &mut Stage) -> Result<(), Failure> {
    stage.timeline.step(3, "The leader resigns (SIGTERM): nobody has to wait")?;
    let before = working(stage, SOON, None).await?;
    act(stage, Some(before.who), "kill -TERM", Some(before.token))?;
    stage.expected = Some(("resign", QUICK));
    stage.signal(before.who, Signal::TERM)?;
    working(stage, SOON, Some(before.token)).await?;
    let code = stage.wait_for_exit(before.who).await?;
    let reason = stage.candidate(before.who)?.lost.clone();
    stage.checks.push(Check {
        passed: code == Some(0) && reason == Some((before.token, "resigned".to_owned())),
        text: format!("{} resigned in order and exited with 0", name(before.who)),
    });
    back(stage, before.who).await
}

async fn deleted(stage: &mut Stage) -> Result<(), Failure> {
    stage.timeline.step(4, "A stranger deletes the key behind the leader's back")?;
    let before = working(stage, SOON, None).await?;
    act(stage, None, "etcdctl del", None)?;
    stage.expected = Some(("key deleted", QUICK));
    let at = now();
    let key = stage.key.clone();
    let was_there = stage.stranger.delete(&key).await?;
    let reason = stage
        .until("the deposed one says so", SOON, |stage| {
            let lost = stage.candidates.get(before.who)?.lost.as_ref()?;
            (lost.0 == before.token).then(|| lost.1.clone())
        })
        .await?;
    let noticed = stage.reigns.iter().find(|reign| reign.token == before.token).and_then(|reign| reign.until);
    let noticed = Duration::from_nanos(noticed.unwrap_or(u64::MAX).saturating_sub(at));
    let next = working(stage, SOON, Some(before.token)).await?;
    // By its watch, or by a write that etcd refused: whichever came first.
    let told = reason == "key_deleted" || reason == "guard_failed";
    stage.checks.push(Check {
        passed: was_there && told && noticed < TTL / 4,
        text: format!("{} stopped {} after its key was deleted", name(before.who), crate::output::span(noticed)),
    });
    followed(stage, &next, None).await?;
    work(stage).await
}

async fn paused(stage: &mut Stage) -> Result<(), Failure> {
    stage.timeline.step(5, "The leader is paused for longer than its lease lives, and wakes")?;
    let before = working(stage, SOON, None).await?;
    act(stage, Some(before.who), "kill -STOP", Some(before.token))?;
    stage.expected = Some(("pause", TTL + EXPIRY_SLACK));
    stage.signal(before.who, Signal::STOP)?;
    let stopped = now();
    // It can do nothing from here on, and says nothing; its authority ends by itself.
    stage.ends(before.token, latest_deadline(stopped));
    stage.idle_from = Some(stopped);
    let next = working(stage, TTL + EXPIRY_SLACK + SOON, Some(before.token)).await?;
    // Its lease was renewed a while before: a standing successor may lead before the latest deadline there can be.
    stage.ends_by_its_deadline(before.token);
    followed(stage, &next, Some(before.who)).await?;
    stage.pass(stopped + u64::try_from((TTL + TTL / 4).as_nanos()).unwrap_or_default()).await?;
    act(stage, Some(before.who), "kill -CONT", None)?;
    stage.signal(before.who, Signal::CONT)?;
    let reason = stage
        .until("the woken one says that it does not lead and that its write was refused", SOON, |stage| {
            let woken = stage.candidates.get(before.who)?;
            let lost = woken.lost.as_ref().filter(|lost| lost.0 == before.token)?;
            (woken.refused == Some(before.token)).then(|| lost.1.clone())
        })
        .await?;
    let late = {
        let (key, journal) = (stage.key.clone(), stage.journal.clone());
        stage.stranger.late_write(&key, before.token, before.lease, &journal).await?
    };
    let text = if late { "a write it sent before the pause arrives: APPLIED" } else { "a write kept back by the network: etcd refuses it" };
    stage.timeline.line(now(), None, Tone::Bad, text, Some(before.token), None)?;
    followed(stage, &next, None).await?;
    work(stage).await?;
    // What etcd applied before the successor took the key was rightful, whenever its reply was read.
    let wrong = stage.writes.iter().filter(|write| write.token == before.token && write.revision > next.token).count();
    stage.checks.push(Check {
        passed: wrong == 0 && !late && reason == "expired",
        text: format!("{} woke as a non-leader; its write was refused here and by etcd", name(before.who)),
    });
    Ok(())
}

/// Everybody leaves in order, the leader last.
async fn curtain(stage: &mut Stage) -> Result<(), Failure> {
    stage.timeline.step(6, "Everybody leaves")?;
    let leader = stage.reign().map_or(0, |reign| reign.who);
    let mut codes = Vec::new();
    for who in (0..NAMES.len()).filter(|who| *who != leader).chain([leader]) {
        stage.signal(who, Signal::TERM)?;
        codes.push(stage.wait_for_exit(who).await?);
        stage.until("its last words", SOON, |stage| stage.candidates.get(who)?.silent.then_some(())).await?;
    }
    let key = stage.key.clone();
    let left = stage.stranger.exists(&key).await?;
    stage.checks.push(Check {
        passed: codes.iter().all(|code| *code == Some(0)) && !left,
        text: "everybody left in order; no key is left behind".to_owned(),
    });
    Ok(())
}
