//! How soon another leads when the leader lets go: by resigning, in a queue, by a hand-over; each beside two bare clients
//! that do no more than it cannot do without. Owns these three pairs; a crowd of candidates is `crowd`'s.

use std::time::{Duration, Instant};

use etcd_client::{Client as Bare, Compare, CompareOp, EventType, PutOptions, Txn, TxnOp, WatchStream};
use leadership_core::{CampaignOptions, Client, Election, Elector, Successor, Term};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::job::TTL;
use crate::report::{Spread, load, table};

/// The goal for a resign and for a queue: this factor of the bare clients.
const GOAL: f64 = 1.2;
/// Whoever let go does not campaign for so long: the other is to win.
const COOL_DOWN: Duration = Duration::from_millis(50);
/// Between two hand-overs: whoever let go stands by again.
const STAND_BY: Duration = Duration::from_millis(150);
/// How often it is looked at whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A hand-over that takes longer is none.
const WITHIN: Duration = Duration::from_secs(10);
/// The bare clients' leases outlive the run.
const LONG: i64 = 600;

/// The three of them, each as so many interleaved pairs.
///
/// # Errors
/// etcd or a client fails, or a hand-over does not come.
pub async fn section(endpoint: &str, pairs: usize) -> Result<Vec<Value>> {
    println!("\n## From letting go to the successor's term\n");
    println!(
        "{pairs} interleaved pairs each, two clients, one etcd. Ours: from the call that lets go to the successor's term in its \
         caller's hands. Bare: two clients of `etcd-client` on one thread, from the sending of the delete (or the put) to the \
         successor's reply. Goal: within {GOAL} × bare.\n"
    );
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    let found = [
        ("resign, single key", "delete, event, one transaction", resign(endpoint, pairs).await?),
        ("resign, queue", "delete, event, one read", queue(endpoint, pairs).await?),
        ("transfer, single key", "put, event, one read", transfer(endpoint, pairs).await?),
    ];
    for (name, beside, found) in found {
        let ratio = Spread::of(found.iter().map(|(ours, bare)| ours / bare));
        let (ours, bare) = (Spread::of(found.iter().map(|(ours, _)| *ours)), Spread::of(found.iter().map(|(_, bare)| *bare)));
        // Of all, not of pairs: what a slow neighbour does to one half of a pair is no ratio.
        let of_medians = ours.median / bare.median;
        let verdict = if of_medians <= GOAL { "met" } else { "missed" };
        rows.push(vec![
            name.to_owned(),
            beside.to_owned(),
            format!("{of_medians:.2}"),
            verdict.to_owned(),
            ratio.show(2),
            ours.show(2),
            bare.show(2),
        ]);
        raw.push(json!({
            "section": "handover", "what": name, "pairs": found.len(), "ratio_of_medians": of_medians, "ratio": ratio.json(),
            "ours_ms": ours.json(), "bare_ms": bare.json(), "goal": verdict, "load": load(),
        }));
    }
    table(&["ours", "bare", "median ÷ median", "goal", "pair by pair", "ours, ms", "bare, ms"], &rows);
    println!("\nLoad at the end: {:.1}.", load());
    Ok(raw)
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// One of two electors that pass a term to and fro.
struct Side {
    name: String,
    elector: Elector,
    _client: Client,
}

impl Side {
    fn start(endpoint: &str, key: &str, value: &str) -> Result<Side> {
        let client = Client::connect([endpoint])?;
        let elector = Elector::builder(&client, key).value(value).ttl(TTL).cool_down(COOL_DOWN).start()?;
        Ok(Side { name: value.to_owned(), elector, _client: client })
    }

    fn wait(&self) -> JoinHandle<leadership_core::Result<Option<Term>>> {
        tokio::spawn(self.elector.next_term())
    }
}

async fn won(waiting: &mut JoinHandle<leadership_core::Result<Option<Term>>>) -> Result<Term> {
    Ok(timeout(WITHIN, waiting).await.map_err(|_| "nobody leads")???.ok_or("an elector that was closed")?)
}

/// A term, who has it, and who waits for the next.
struct Game {
    leader: Side,
    follower: Side,
    term: Term,
    waiting: JoinHandle<leadership_core::Result<Option<Term>>>,
}

impl Game {
    async fn start(endpoint: &str, key: &str) -> Result<Game> {
        let (leader, follower) = (Side::start(endpoint, key, "0")?, Side::start(endpoint, key, "1")?);
        let term = won(&mut leader.wait()).await?;
        let waiting = follower.wait();
        Ok(Game { leader, follower, term, waiting })
    }

    /// Waits until the other stands by, too.
    async fn both_stand(&self) -> Result<()> {
        sleep(STAND_BY).await;
        let until = Instant::now() + WITHIN;
        while self.leader.elector.participants().await?.len() < 2 {
            if Instant::now() > until {
                return Err("a follower does not stand by".into());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The other leads now; whoever led waits from here on.
    fn passed(&mut self, term: Term) {
        std::mem::swap(&mut self.leader, &mut self.follower);
        self.waiting = self.follower.wait();
        self.term = term;
    }

    /// One change by resigning, in ms.
    async fn resign(&mut self) -> Result<f64> {
        self.both_stand().await?;
        let began = Instant::now();
        drop(self.term.let_go());
        let next = won(&mut self.waiting).await?;
        let took = ms(began.elapsed());
        self.passed(next);
        Ok(took)
    }

    /// One hand-over, in ms.
    async fn transfer(&mut self) -> Result<f64> {
        self.both_stand().await?;
        let to = Successor::Named(self.follower.name.as_bytes().to_vec());
        let began = Instant::now();
        let transfer = self.leader.elector.transfer(to);
        // A holder with nothing to finish: the drain is over as soon as it hears of it.
        let (term, waiting) = (&self.term, &mut self.waiting);
        let finish = async {
            term.lost().await;
            drop(term.let_go());
        };
        let follow = async { Result::Ok((won(waiting).await?, ms(began.elapsed()))) };
        let (followed, told, ()) = tokio::join!(follow, transfer, finish);
        told?;
        let (next, took) = followed?;
        self.passed(next);
        Ok(took)
    }
}

async fn resign(endpoint: &str, pairs: usize) -> Result<Vec<(f64, f64)>> {
    let mut game = Game::start(endpoint, "bench/resign").await?;
    let mut bare = BarePair::start(endpoint, "bench/bare-resign").await?;
    let mut found = Vec::new();
    for pair in 0..pairs {
        // Which half of a pair goes first alternates, here and below.
        found.push(if pair.is_multiple_of(2) {
            (game.resign().await?, bare.pass(Way::Resign).await?)
        } else {
            let bare = bare.pass(Way::Resign).await?;
            (game.resign().await?, bare)
        });
    }
    Ok(found)
}

async fn transfer(endpoint: &str, pairs: usize) -> Result<Vec<(f64, f64)>> {
    let mut game = Game::start(endpoint, "bench/transfer").await?;
    let mut bare = BarePair::start(endpoint, "bench/bare-transfer").await?;
    let mut reader = Bare::connect([format!("http://{endpoint}")], None).await?;
    let created = created(&mut reader, "bench/transfer").await?;
    let mut found = Vec::new();
    for pair in 0..pairs {
        found.push(if pair.is_multiple_of(2) {
            (game.transfer().await?, bare.pass(Way::HandOver).await?)
        } else {
            let bare = bare.pass(Way::HandOver).await?;
            (game.transfer().await?, bare)
        });
    }
    if self::created(&mut reader, "bench/transfer").await? != created {
        return Err("the key was deleted between two terms: there was a leaderless instant".into());
    }
    Ok(found)
}

async fn created(client: &mut Bare, key: &str) -> Result<i64> {
    Ok(client.get(key, None).await?.kvs().first().ok_or("no key")?.create_revision())
}

/// A term of a queue, and who stands in line next.
struct Line {
    leader: Election,
    next: Election,
    term: Term,
    _clients: [Client; 2],
}

impl Line {
    async fn start(endpoint: &str) -> Result<Line> {
        let clients = [Client::connect([endpoint])?, Client::connect([endpoint])?];
        let [one, other] = &clients;
        let (leader, next) = (Election::new(one, "bench/queue")?, Election::new(other, "bench/queue")?);
        let term = leader.campaign(CampaignOptions::new("bench").ttl(TTL)).await?;
        Ok(Line { leader, next, term, _clients: clients })
    }

    /// One change, in ms.
    async fn advance(&mut self) -> Result<f64> {
        let next = self.next.clone();
        let mut waiting = tokio::spawn(async move { next.campaign(CampaignOptions::new("bench").ttl(TTL)).await });
        sleep(STAND_BY).await;
        let until = Instant::now() + WITHIN;
        while self.leader.participants().await?.len() < 2 {
            if Instant::now() > until {
                return Err("nobody stands in line".into());
            }
            sleep(LOOK_EVERY).await;
        }
        let began = Instant::now();
        drop(self.term.let_go());
        let term = timeout(WITHIN, &mut waiting).await.map_err(|_| "nobody leads")???;
        let took = ms(began.elapsed());
        self.term = term;
        std::mem::swap(&mut self.leader, &mut self.next);
        Ok(took)
    }
}

async fn queue(endpoint: &str, pairs: usize) -> Result<Vec<(f64, f64)>> {
    let mut line = Line::start(endpoint).await?;
    let mut bare = BarePair::start(endpoint, "bench/bare-queue").await?;
    let mut found = Vec::new();
    for pair in 0..pairs {
        found.push(if pair.is_multiple_of(2) {
            (line.advance().await?, bare.pass(Way::InLine).await?)
        } else {
            let bare = bare.pass(Way::InLine).await?;
            (line.advance().await?, bare)
        });
    }
    Ok(found)
}

/// How a bare leader lets go, and how its successor takes over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The key is deleted; the successor creates it.
    Resign,
    /// The key is given to the successor's lease; it reads it.
    HandOver,
    /// The key before its own is deleted; the successor reads.
    InLine,
}

/// A bare client with a lease and a watch of its own.
struct BareSide {
    client: Bare,
    lease: i64,
    events: WatchStream,
}

impl BareSide {
    async fn start(endpoint: &str, key: &str) -> Result<BareSide> {
        let mut client = Bare::connect([format!("http://{endpoint}")], None).await?;
        let lease = client.lease_grant(LONG, None).await?.id();
        let events = client.watch(key, None).await?;
        Ok(BareSide { client, lease, events })
    }

    /// Creates the key.
    async fn take(&mut self, key: &str) -> Result<()> {
        let absent = Compare::create_revision(key, CompareOp::Equal, 0);
        let put = TxnOp::put(key, "bare", Some(PutOptions::new().with_lease(self.lease)));
        let done = self.client.txn(Txn::new().when([absent]).and_then([put])).await?;
        if done.succeeded() { Ok(()) } else { Err("the bare key was there".into()) }
    }

    async fn let_go(&mut self, key: &str, way: Way, to: i64) -> Result<()> {
        let mine = Compare::lease(key, CompareOp::Equal, self.lease);
        let op = match way {
            Way::HandOver => TxnOp::put(key, "bare", Some(PutOptions::new().with_lease(to))),
            Way::Resign | Way::InLine => TxnOp::delete(key, None),
        };
        let done = self.client.txn(Txn::new().when([mine]).and_then([op])).await?;
        if done.succeeded() { Ok(()) } else { Err("the bare key was another's".into()) }
    }

    /// Waits for a put or a delete of the key above this revision; its revision.
    async fn event(&mut self, kind: EventType, after: i64) -> Result<i64> {
        loop {
            let reply = self.events.message().await?.ok_or("a bare watch ended")?;
            let found = reply.events().iter().filter(|event| event.event_type() == kind);
            let revision = found.filter_map(|event| event.kv()).map(|kv| kv.mod_revision()).find(|revision| *revision > after);
            if let Some(revision) = revision {
                return Ok(revision);
            }
        }
    }
}

/// Two of them on one key: the least that a change of leaders can cost.
struct BarePair {
    sides: [BareSide; 2],
    key: String,
    leads: usize,
    /// Of the last change that was waited for.
    revision: i64,
}

impl BarePair {
    async fn start(endpoint: &str, key: &str) -> Result<BarePair> {
        let mut sides = [BareSide::start(endpoint, key).await?, BareSide::start(endpoint, key).await?];
        let [first, _] = &mut sides;
        first.take(key).await?;
        let revision = first.event(EventType::Put, 0).await?;
        Ok(BarePair {
            sides,
            key: key.to_owned(),
            leads: 0,
            revision,
        })
    }

    /// One change of leaders, in ms.
    async fn pass(&mut self, way: Way) -> Result<f64> {
        sleep(STAND_BY).await;
        let [first, second] = &mut self.sides;
        let (from, to) = if self.leads == 0 { (first, second) } else { (second, first) };
        let (key, after, lease) = (self.key.clone(), self.revision, to.lease);
        let kind = if way == Way::HandOver { EventType::Put } else { EventType::Delete };
        let began = Instant::now();
        let follow = async {
            let revision = to.event(kind, after).await?;
            match way {
                Way::Resign => to.take(&key).await?,
                Way::HandOver | Way::InLine => drop(to.client.get(key.as_str(), None).await?),
            }
            Result::Ok((revision, ms(began.elapsed())))
        };
        let (let_go, followed) = tokio::join!(from.let_go(&key, way, lease), timeout(WITHIN, follow));
        let_go?;
        let (revision, took) = followed.map_err(|_| "no bare event came")??;
        if way == Way::InLine {
            to.take(&key).await?; // for the next round, and not measured
        }
        self.revision = revision;
        self.leads = 1 - self.leads;
        Ok(took)
    }
}
