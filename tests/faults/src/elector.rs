//! The program that leads as the everyday user's does: an elector of ours, of either kind, sampled without a pause.
//! Owns its loop; sampling and the form of its words are `holder`'s and `journal`'s.

use std::io::BufRead;
use std::sync::mpsc;
use std::time::Duration;

use leadership_core::{Client, Clock, Elector, Error, Mode, Reason, Result, Term, TermHandle};

use crate::holder::{sample, write};
use crate::journal::Record;

/// How long it goes on working after a loss of its own will: a drain is seen to be one.
const DRAIN: Duration = Duration::from_millis(50);

/// What it is to do.
#[derive(Clone, Debug)]
pub struct Candidacy {
    /// `host:port` of a member.
    pub endpoint: String,
    /// The leader key, or the prefix of the queue.
    pub key: String,
    /// Stands in a queue.
    pub queue: bool,
    /// What others see.
    pub value: String,
    /// What it campaigns with.
    pub ttl: Duration,
}

impl Candidacy {
    /// As arguments of a process.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let kind = if self.queue { "queue" } else { "single" };
        let ttl = self.ttl.as_millis().to_string();
        [&self.endpoint, &self.key, kind, &self.value, &ttl].map(ToString::to_string).to_vec()
    }

    /// From the arguments of this process.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> std::result::Result<Candidacy, String> {
        let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing"));
        Ok(Candidacy {
            endpoint: next("the endpoint")?,
            key: next("the key")?,
            queue: next("the kind")? == "queue",
            value: next("the value")?,
            ttl: Duration::from_millis(next("the TTL")?.parse().map_err(|e| format!("the TTL: {e}"))?),
        })
    }
}

/// Does it until standard input ends, then closes in order.
pub fn run(candidacy: &Candidacy) -> std::result::Result<(), String> {
    let say = |error: Error| error.to_string();
    let (records, outbox) = mpsc::channel();
    let writer = std::thread::spawn(move || write(&outbox));
    let (terms, inbox) = mpsc::channel();
    let sampler_says = records.clone();
    let sampler = std::thread::Builder::new().name("sampler".to_owned());
    sampler.spawn(move || sample(&inbox, &sampler_says)).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|e| e.to_string())?;
    let client = Client::connect([candidacy.endpoint.clone()]).map_err(say)?;
    runtime.spawn(stand(client.clone(), candidacy.clone(), terms, records));
    // The runner keeps this open as long as the process is to contend.
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
    }
    let closed = runtime.block_on(client.close());
    runtime.shutdown_timeout(Duration::from_millis(100));
    drop(writer); // the sampler never ends; the process does
    closed.map_err(say)
}

async fn stand(client: Client, candidacy: Candidacy, terms: mpsc::Sender<(String, TermHandle)>, records: mpsc::Sender<Record>) {
    if let Err(error) = lead(&client, &candidacy, &terms, &records).await {
        let _ = records.send(Record::Failed {
            key: candidacy.key,
            at: Clock::boot().now().0,
            what: error.to_string(),
        });
    }
}

async fn lead(
    client: &Client,
    candidacy: &Candidacy,
    terms: &mpsc::Sender<(String, TermHandle)>,
    records: &mpsc::Sender<Record>,
) -> Result<()> {
    let mode = if candidacy.queue { Mode::Queue } else { Mode::SingleKey };
    let elector = Elector::builder(client, candidacy.key.as_str()).value(candidacy.value.as_str()).ttl(candidacy.ttl).mode(mode);
    let elector = elector.start()?;
    while let Some(term) = elector.next_term().await? {
        use_up(term, terms, records).await;
    }
    Ok(())
}

/// Uses a term to the very end of its validity, as nobody should: what is judged is `is_valid`. A drain it ends itself.
async fn use_up(term: Term, terms: &mpsc::Sender<(String, TermHandle)>, records: &mpsc::Sender<Record>) {
    let key = String::from_utf8_lossy(term.key()).into_owned();
    let _ = terms.send((key.clone(), term.handle()));
    let reason = term.lost().await;
    let _ = records.send(Record::Announced {
        key,
        token: term.token(),
        at: Clock::boot().now().0,
        reason: reason.name().to_owned(),
    });
    if matches!(reason, Reason::Closed | Reason::Resigned) {
        tokio::time::sleep(DRAIN).await;
    } else {
        while term.is_valid() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
