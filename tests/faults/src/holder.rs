//! The program that leads: many leaderships in one process, through the public API alone, sampled without a pause.
//! Owns what it does and when it says what; the form of its words is `journal`'s.

use std::io::{BufRead, Write};
use std::sync::mpsc;
use std::time::Duration;

use leadership_core::{
    BootTime, CampaignOptions, Client, ClientOptions, Clock, Error, Leadership, LeadershipOptions, Reason, TermEvent, TermHandle,
};

use crate::journal::Record;
use crate::starved::Waits;

/// Between two sweeps over all terms: the resolution of what is found.
const SWEEP_EVERY: Duration = Duration::from_micros(500);
/// Between two beats.
const BEAT_EVERY: Duration = Duration::from_millis(20);
/// No check for so long is worth a word.
const GAP: Duration = Duration::from_millis(100);
/// A thread of the library that waited for a processor for so long hears late of everything.
const STARVED: Duration = Duration::from_millis(50);
/// So many ended terms are still asked whether they say yes again.
const ENDED_KEPT: usize = 2_000;

/// What one holder is to do.
#[derive(Clone, Debug)]
pub struct Orders {
    /// `host:port` of the members, as this holder sees them.
    pub endpoints: Vec<String>,
    /// Keys are this and a number.
    pub prefix: String,
    /// So many keys.
    pub keys: usize,
    /// Shared among so many clients.
    pub clients: usize,
    /// What it campaigns with.
    pub ttl: Duration,
}

impl Orders {
    /// As arguments of a process.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        vec![
            self.endpoints.join(","),
            self.prefix.clone(),
            self.keys.to_string(),
            self.clients.to_string(),
            self.ttl.as_millis().to_string(),
        ]
    }

    /// From the arguments of this process.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Orders, String> {
        let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing"));
        let endpoints = next("the endpoints")?.split(',').map(str::to_owned).collect();
        let prefix = next("the prefix")?;
        let mut number = |what: &str| next(what)?.parse::<u64>().map_err(|e| format!("{what}: {e}"));
        let keys = number("the number of keys")?;
        let clients = number("the number of clients")?;
        let ttl = number("the TTL")?;
        Ok(Orders {
            endpoints,
            prefix,
            keys: usize::try_from(keys).map_err(|e| e.to_string())?,
            clients: usize::try_from(clients).map_err(|e| e.to_string())?.max(1),
            ttl: Duration::from_millis(ttl),
        })
    }
}

/// Does it until standard input ends, then lets go of everything in order.
pub fn run(orders: &Orders) -> Result<(), String> {
    let say = |error: Error| error.to_string();
    let (records, outbox) = mpsc::channel();
    let writer = std::thread::spawn(move || write(&outbox));
    let (terms, inbox) = mpsc::channel();
    let sampler_says = records.clone();
    std::thread::Builder::new()
        .name("sampler".to_owned())
        .spawn(move || sample(&inbox, &sampler_says))
        .map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|e| e.to_string())?;
    let mut clients = Vec::new();
    for number in 0..orders.clients {
        let client = Client::with_options(ClientOptions::new(orders.endpoints.clone())).map_err(say)?;
        for key in (0..orders.keys).filter(|key| key % orders.clients == number) {
            let key = format!("{}{key:04}", orders.prefix);
            let lead = Leadership::with_options(&client, key.clone(), LeadershipOptions::default().purpose("faults")).map_err(say)?;
            let lead = std::sync::Arc::new(lead);
            runtime.spawn(tell_events(lead.events(), key.clone(), records.clone()));
            runtime.spawn(contend(lead, key, orders.ttl, terms.clone(), records.clone()));
        }
        clients.push(client);
    }
    // The runner keeps this open as long as the holder is to hold.
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
    }
    let closed = runtime.block_on(async {
        let mut failed = None;
        for client in &clients {
            failed = client.close().await.err().or(failed);
        }
        failed
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    drop((clients, records, terms));
    drop(writer); // the sampler never ends; the process does
    closed.map_or(Ok(()), |error| Err(say(error)))
}

/// The loop of one election: win, keep, lose, watch, again.
async fn contend(
    lead: std::sync::Arc<Leadership>,
    key: String,
    ttl: Duration,
    terms: mpsc::Sender<(String, TermHandle)>,
    records: mpsc::Sender<Record>,
) {
    let clock = Clock::boot();
    let failed = |what: Error| {
        let _ = records.send(Record::Failed {
            key: key.clone(),
            at: clock.now().0,
            what: what.to_string(),
        });
    };
    loop {
        match lead.campaign(CampaignOptions::new(std::process::id().to_string()).ttl(ttl)).await {
            Ok(term) => {
                let _ = terms.send((key.clone(), term.clone()));
                if let Err(error) = lead.keep() {
                    failed(error);
                }
                let reason = term.lost().await;
                let _ = records.send(Record::Announced {
                    key: key.clone(),
                    token: term.token(),
                    at: clock.now().0,
                    reason: reason.name().to_owned(),
                });
                // It uses its term to the very end, as nobody should: what is judged is `is_valid`.
                while term.is_valid() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                if let Err(error) = lead.reset().await {
                    failed(error);
                }
            }
            Err(Error::Closed) => return,
            Err(Error::NotElected { holder, .. }) => {
                let seen = holder.map_or(0, |holder| holder.mod_revision);
                match lead.watch(seen).await {
                    Err(Error::Closed) => return,
                    Err(error) => failed(error),
                    Ok(_) => {}
                }
            }
            // The library backs off before the next campaign.
            Err(error) => failed(error),
        }
    }
}

async fn tell_events(mut events: leadership_core::TermEvents, key: String, records: mpsc::Sender<Record>) {
    let clock = Clock::boot();
    while let Some(event) = events.next().await {
        if let TermEvent::Jeopardy { remaining } = event {
            let _ = records.send(Record::Jeopardy {
                key: key.clone(),
                at: clock.now().0,
                remaining_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
            });
        }
    }
}

/// A term under the sampler's eyes.
struct Sampled {
    key: String,
    term: TermHandle,
    began: bool,
    yes: u64,
    deadline: u64,
}

pub(crate) fn sample(inbox: &mpsc::Receiver<(String, TermHandle)>, records: &mpsc::Sender<Record>) {
    let clock = Clock::boot();
    let mut running: Vec<Sampled> = Vec::new();
    let mut ended: std::collections::VecDeque<Sampled> = std::collections::VecDeque::new();
    let mut last = clock.now();
    let mut beat = BootTime(0);
    let mut waits = Waits::default();
    loop {
        running.extend(inbox.try_iter().map(|(key, term)| Sampled {
            key,
            term,
            began: false,
            yes: 0,
            deadline: 0,
        }));
        let swept = clock.now();
        if swept.since(last) > GAP {
            let _ = records.send(Record::Gap { from: last.0, to: swept.0 });
        }
        last = swept;
        running.retain_mut(|sampled| {
            let over = check(sampled, &clock, records);
            if over {
                ended.push_back(Sampled {
                    key: std::mem::take(&mut sampled.key),
                    term: sampled.term.clone(),
                    ..*sampled
                });
            }
            !over
        });
        for sampled in &ended {
            let at = clock.now();
            if sampled.term.is_valid() {
                let _ = records.send(Record::Revived {
                    key: sampled.key.clone(),
                    token: sampled.term.token(),
                    at: at.0,
                });
            }
        }
        while ended.len() > ENDED_KEPT {
            ended.pop_front();
        }
        if swept.since(beat) > BEAT_EVERY {
            beat = swept;
            if waits.is_empty() {
                waits = Waits::find();
            }
            let ns = waits.longest();
            if u128::from(ns) > STARVED.as_nanos() {
                let _ = records.send(Record::Starved { at: swept.0, ns });
            }
            let valid = running.len() as u64;
            if records.send(Record::Beat { at: swept.0, valid }).is_err() {
                return;
            }
        }
        std::thread::sleep(SWEEP_EVERY);
    }
}

/// One check. True if it said no, and the term is to be looked at as an ended one.
fn check(sampled: &mut Sampled, clock: &Clock, records: &mpsc::Sender<Record>) -> bool {
    // Read before the check: a process that is stopped in between has not said yes later than this.
    let before = clock.now();
    // And before the check, too: a deadline seen is one that this yes may have been given under.
    let deadline = sampled.term.deadline();
    let valid = sampled.term.is_valid();
    let after = clock.now();
    let token = sampled.term.token();
    if valid {
        if !sampled.began {
            sampled.began = true;
            let _ = records.send(Record::Began {
                key: sampled.key.clone(),
                token,
                lease: sampled.term.lease_id(),
                ttl_ms: u64::try_from(sampled.term.ttl().as_millis()).unwrap_or(u64::MAX),
                from: before.0,
                to: after.0,
            });
        }
        sampled.yes = before.0;
        sampled.deadline = deadline.0;
        return false;
    }
    // A term that was over before the first look at it claimed nothing.
    if sampled.began {
        let _ = records.send(Record::Ended {
            key: sampled.key.clone(),
            token,
            yes: sampled.yes,
            no: after.0,
            deadline: sampled.deadline,
            reason: sampled.term.lost_reason().map_or("none", Reason::name).to_owned(),
        });
    }
    true
}

pub(crate) fn write(outbox: &mpsc::Receiver<Record>) {
    let mut out = std::io::stdout().lock();
    for record in outbox {
        if writeln!(out, "{}", record.json()).and_then(|()| out.flush()).is_err() {
            return; // the runner is gone
        }
    }
}
