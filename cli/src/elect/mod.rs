//! `leadership elect`: stands for election, leads, and stands again, until it is told to stop.
//! Owns the loop over the core's steps and its events; each step's safety is the core's.

mod writer;

use std::time::Duration;

use leadership_core::{CampaignOptions, Client, Error, Leader, Leadership, LeadershipOptions, Reason, TermHandle, TermState, WatchEnd};
use tokio::sync::watch;

use crate::args::{Elect, Global};
use crate::connection::{Connection, ready};
use crate::event::Event;
use crate::failure::Failure;
use crate::output::{Output, to_stderr};
use crate::signals::Signals;

/// Between two reads of the key while etcd does not answer. (The core paces the campaigns by itself.)
const RETRY: Duration = Duration::from_millis(500);

pub(crate) async fn run(global: &Global, args: Elect, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::listen(args.tied)?;
    let connection = Connection::of(global)?;
    let client = connection.client()?;
    let options = LeadershipOptions::default().purpose("leadership elect").takeover_delay(args.stand.takeover_delay);
    let lead = Leadership::with_options(&client, args.stand.election.as_str(), options)?;
    let mut candidate = Candidate {
        value: args.stand.value.unwrap_or_else(default_value),
        key: args.stand.election,
        ttl: args.stand.ttl,
        once: args.once,
        output,
        client: client.clone(),
        connection,
        lead,
        led_by: None,
        troubled: false,
        term: watch::Sender::new(None),
    };
    if let Some(key) = args.demo_write {
        tokio::spawn(writer::write(key, candidate.term.subscribe(), output));
    }
    let ended = tokio::select! {
        biased;
        _ = signals.stop() => Ok(()),
        ended = candidate.stand() => ended.map(|never| match never {}),
    };
    let stopped = candidate.stop(ended.as_ref().err()).await;
    // What could not be released in time goes with its lease; the exit code is the election's own.
    if let Err(error) = client.close().await {
        to_stderr(&format!("leadership: {error}"));
    }
    ended.and(stopped)
}

/// `HOSTNAME:PID`: tells one process from another without asking anybody.
pub(crate) fn default_value() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{host}:{}", std::process::id())
}

enum Never {}

struct Candidate {
    key: String,
    value: String,
    ttl: Duration,
    once: bool,
    output: Output,
    client: Client,
    connection: Connection,
    lead: Leadership,
    /// Whose leadership was announced last: the key's creation and the term's token.
    led_by: Option<(i64, Option<i64>)>,
    /// etcd does not answer, and that was said.
    troubled: bool,
    /// The term that was announced as elected last.
    term: watch::Sender<Option<Held>>,
}

/// A term of ours, and whether its end was announced.
#[derive(Debug, Clone)]
struct Held {
    term: TermHandle,
    ended: bool,
}

impl Candidate {
    fn say(&self, event: &Event) -> Result<(), Failure> {
        Ok(self.output.event(event)?)
    }

    /// Contends until it fails for good. Cancel-safe: `stop` releases what it holds.
    async fn stand(&mut self) -> Result<Never, Failure> {
        ready(&self.client, &self.connection).await?;
        self.say(&Event::of("campaigning", &self.key))?;
        let mut holder = self.holder().await?;
        loop {
            if let Some(leader) = holder.take() {
                self.follow(&leader).await?;
            }
            let options = CampaignOptions::new(self.value.as_str()).ttl(self.ttl);
            match self.lead.campaign(options).await {
                Ok(term) => {
                    self.recovered();
                    let reason = self.hold(&term).await?;
                    if self.once {
                        return Err(Failure::Lost(reason));
                    }
                    // Nothing new before the old key is gone; what cannot be released now goes with its lease.
                    let _ = self.lead.reset().await;
                    self.say(&Event::of("campaigning", &self.key))?;
                    holder = self.holder().await?;
                }
                Err(Error::NotElected { holder: Some(leader), .. }) => holder = Some(*leader),
                Err(Error::NotElected { holder: None, .. }) => holder = self.holder().await?,
                Err(error) => self.trouble(error)?,
            }
        }
    }

    /// Who holds the key, as soon as etcd says so.
    async fn holder(&mut self) -> Result<Option<Leader>, Failure> {
        loop {
            match self.client.get_leader(&self.key).await {
                Ok(leader) => {
                    self.recovered();
                    return Ok(leader);
                }
                Err(error) => self.trouble(error)?,
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Announces who leads, and waits until it no longer does.
    async fn follow(&mut self, leader: &Leader) -> Result<(), Failure> {
        let seen = (leader.create_revision, leader.token);
        if self.led_by.replace(seen) != Some(seen) {
            self.say(&Event::leader(&self.key, leader))?;
        }
        match self.lead.watch(leader.mod_revision).await {
            Ok(WatchEnd::Deleted { .. }) => {
                self.led_by = None;
                self.say(&Event::of("vacant", &self.key))
            }
            // An overwrite ends a primary watch only; whatever else ended it, the campaign finds out.
            Ok(_) => Ok(()),
            Err(error) => {
                self.trouble(error)?;
                tokio::time::sleep(RETRY).await;
                Ok(())
            }
        }
    }

    /// Leads until the term is lost.
    async fn hold(&mut self, term: &TermHandle) -> Result<Reason, Failure> {
        let mut level = term.watch();
        let elected = Event {
            remaining: Some(term.remaining()),
            ..Event::term("elected", term)
        };
        self.led_by = None;
        // The loss, if it has come already, is found below.
        let _ = self.lead.keep();
        self.term.send_replace(Some(Held {
            term: term.clone(),
            ended: false,
        }));
        self.say(&elected)?;
        let mut said = TermState::Leading;
        loop {
            let now = *level.borrow_and_update();
            if now != said {
                said = now;
                let remaining = Some(term.remaining());
                match now {
                    TermState::Jeopardy => self.say(&Event { remaining, ..Event::term("jeopardy", term) })?,
                    TermState::Leading => self.say(&Event { remaining, ..Event::term("secured", term) })?,
                    TermState::Lost(reason) => {
                        self.ended(term, reason)?;
                        return Ok(reason);
                    }
                    _ => {}
                }
            }
            if level.changed().await.is_err() {
                let reason = term.lost_reason().unwrap_or(Reason::Closed);
                self.ended(term, reason)?;
                return Ok(reason);
            }
        }
    }

    fn ended(&self, term: &TermHandle, reason: Reason) -> Result<(), Failure> {
        let event = Event::lost(term, reason);
        self.term.send_modify(|held| {
            if let Some(held) = held {
                held.ended = true;
            }
        });
        self.say(&event)
    }

    /// Resigns if it leads, and says the last words.
    async fn stop(&mut self, failure: Option<&Failure>) -> Result<(), Failure> {
        let held = self.term.borrow().clone().filter(|held| !held.ended);
        // Not leader from this call on, whatever happens to the output.
        let released = self.lead.reset();
        let said = held.map_or(Ok(()), |held| self.ended(&held.term, held.term.lost_reason().unwrap_or(Reason::Resigned)));
        if let Err(error) = released.await {
            to_stderr(&format!("leadership: {error}"));
        }
        said?;
        let error = match failure {
            Some(Failure::OutputClosed) => return Ok(()),
            Some(Failure::Lost(_)) | None => None,
            Some(failure) => failure.message(),
        };
        self.say(&Event {
            error,
            ..Event::of("stopped", &self.key)
        })
    }

    /// etcd's absence is waited out, and said once; anything else is final.
    fn trouble(&mut self, error: Error) -> Result<(), Failure> {
        match error {
            Error::Unavailable { .. } | Error::Timeout { .. } | Error::OutcomeUnknown { .. } | Error::Cancelled { .. } => {
                if !std::mem::replace(&mut self.troubled, true) {
                    to_stderr(&format!("leadership: {error}; trying again"));
                }
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.troubled) {
            to_stderr("leadership: etcd answers again");
        }
    }
}
