//! `leadership run`: a command that runs while this process leads, and only then (DESIGN §10).
//! Owns the wrapper: the elector, the order of things, the exit code. The group is the guardian's.

mod arrivals;
mod descend;
pub(crate) mod guardian;
mod health;
mod link;
mod notify;
mod orphan;
mod outcome;
mod plan;
mod program;
mod serving;
pub(crate) mod stage;
mod ward;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Duration;

use leadership_core::{Client, Elector, ElectorEvent, ElectorEvents, Error, Term, TermHandle};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use tokio::signal::unix::{Signal as Arrival, SignalKind, signal};
use tokio::time::Instant;

use crate::args::{Global, Run};
use crate::connection::{Connection, ready};
use crate::event::{Event, text};
use crate::failure::Failure;
use crate::output::{Output, to_stderr};
use arrivals::{Arrivals, asks_for_an_end};
use health::Checked;
use outcome::{Codes, Outcome};
pub(crate) use outcome::Restart;

/// The smallest step-down margin, and the default one's share of the TTL (docs/safety.md, S9).
const LEAST_MARGIN: Duration = Duration::from_millis(100);

/// Events are told within this of what they tell of.
const TOLD: Duration = Duration::from_millis(200);

/// `typed`: this program's arguments, for its guardian.
pub(crate) async fn run(global: &Global, args: Run, typed: Vec<OsString>) -> Result<(), Failure> {
    let codes = Codes::parse(&args.exit_code)?;
    let outcome = match Wrapper::new(global, args, typed) {
        Ok(mut wrapper) => wrapper.run().await,
        Err(failure) => Outcome::Failed(failure),
    };
    codes.end_with(outcome)
}

/// Before the deadline nothing of the group runs any more, by `margin`; it is told to end `grace` earlier.
#[derive(Debug, Clone, Copy)]
struct Margins {
    margin: Duration,
    grace: Duration,
}

impl Margins {
    fn of(args: &Run) -> Result<Margins, Failure> {
        let ttl = args.elect.ttl;
        let grace = args.grace.unwrap_or(ttl / 5);
        if grace > ttl / 2 {
            return Err(Failure::Usage(format!("--grace: {grace:?} is above half the TTL of {ttl:?}")));
        }
        Ok(Margins {
            margin: (ttl / 10).max(LEAST_MARGIN),
            grace,
        })
    }
}

struct Wrapper {
    args: Arc<Run>,
    margins: Margins,
    /// What this program was started with.
    typed: Vec<OsString>,
    output: Output,
    connection: Connection,
    client: Client,
    value: String,
    signals: Arrivals,
    /// Children that end.
    children: Arrival,
    checked: Checked,
    /// What has fallen to us must be collected: as the first process of a container, or after a guardian's death.
    collects: bool,
    /// The term that was announced last.
    held: Option<TermHandle>,
}

/// What ended the wait for a term.
enum Waited {
    Term(Term),
    Signal(i32),
    TooLong,
    Closed,
}

impl Wrapper {
    fn new(global: &Global, args: Run, typed: Vec<OsString>) -> Result<Wrapper, Failure> {
        let no = |error: std::io::Error| Failure::other(format!("signals: {error}"));
        let (signals, children) = (Arrivals::listen().map_err(no)?, signal(SignalKind::child()).map_err(no)?);
        if let Some(command) = args.command.first() {
            program::check(command).map_err(|(code, message)| Failure::Code(code, Some(message)))?;
        }
        let margins = Margins::of(&args)?;
        let connection = Connection::of(global)?;
        let client = connection.client()?;
        // If the guardian is killed, what it guarded falls to us.
        set_child_subreaper(Some(getpid())).map_err(|error| no(error.into()))?;
        Ok(Wrapper {
            margins,
            output: Output::on_stderr(global.json),
            connection,
            client,
            value: args.elect.value(),
            signals,
            children,
            checked: Checked::default(),
            collects: std::process::id() == 1,
            held: None,
            typed,
            args: Arc::new(args),
        })
    }

    async fn run(&mut self) -> Outcome {
        let outcome = self.contend().await.unwrap_or_else(Outcome::Failed);
        notify::stopping();
        // What could not be released in time goes with its lease; the exit code is the command's own.
        if let Err(error) = self.client.close().await {
            to_stderr(&format!("leadership: {error}"));
        }
        self.last_words(&outcome);
        outcome
    }

    fn say(&self, event: &Event) {
        // Nobody may read it any more: no reason to stop what runs.
        let _ = self.output.event(event);
    }

    fn last_words(&self, outcome: &Outcome) {
        let (by, code) = (outcome.by(), outcome.code());
        self.say(&Event {
            by: Some(by.name()),
            code: Some(code),
            error: outcome.error(),
            ..Event::of("stopped", &self.args.elect.election)
        });
    }

    async fn contend(&mut self) -> Result<Outcome, Failure> {
        let until = self.args.timeout.map(|timeout| Instant::now() + timeout);
        if let Some(outcome) = self.connect(until).await? {
            return Ok(outcome);
        }
        let elector = Arc::new(self.elector()?);
        let mut events = elector.events();
        loop {
            notify::status("waiting to be elected");
            let term = match self.wait(&elector, &mut events, until).await? {
                Waited::Term(term) => term,
                Waited::Signal(number) => return Ok(Outcome::Signal(number)),
                Waited::TooLong => return Ok(Outcome::NotAcquired),
                Waited::Closed => return Err(Failure::other("the elector was closed")),
            };
            let served = self.serve(&elector, &mut events, term).await?;
            if let Some(outcome) = served.outcome(self.args.restart) {
                return Ok(outcome);
            }
        }
    }

    /// Until etcd answers; `None`, and it does.
    async fn connect(&mut self, until: Option<Instant>) -> Result<Option<Outcome>, Failure> {
        let mut said = false;
        loop {
            let connected = tokio::select! {
                connected = ready(&self.client, &self.connection) => connected,
                number = ended(&mut self.signals) => return Ok(Some(Outcome::Signal(number))),
                () = at(until) => return Ok(Some(Outcome::NotAcquired)),
            };
            match connected {
                Err(failure @ Failure::Connect(_)) if self.args.wait => {
                    if !std::mem::replace(&mut said, true) {
                        to_stderr(&format!("leadership: {}; waiting for it", failure.message().unwrap_or_default()));
                    }
                }
                connected => return connected.map(|()| None),
            }
        }
    }

    fn elector(&self) -> Result<Elector, Failure> {
        let (args, Margins { margin, grace }) = (&self.args, self.margins);
        let mut builder = args
            .elect
            .builder(&self.client, "leadership run")
            .value(self.value.as_str())
            .step_down_margin(margin + grace)
            // The guardian kills at the end of the stop timeout; then the term is let go of.
            .drain_timeout(args.stop_timeout + args.hook_timeout + Duration::from_secs(1));
        if let Some(command) = args.health_cmd.clone() {
            let (checked, environment, limit) = (self.checked.clone(), self.known(), args.elect.ttl / 2);
            builder = builder.health_check(move || checked.run(&command, &environment, limit));
        }
        builder.start().map_err(|error| match error {
            Error::InvalidArgument { argument, why } if argument == "step_down_margin" => {
                Failure::Usage(format!("--grace {grace:?} does not fit --ttl {:?}: {why}", args.elect.ttl))
            }
            error => error.into(),
        })
    }

    /// What the command's environment says before there is a term.
    fn known(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LEADERSHIP_KEY", self.args.elect.election.clone()),
            ("LEADERSHIP_VALUE", self.value.clone()),
            ("LEADERSHIP_TTL", self.args.elect.ttl.as_secs().to_string()),
            ("LEADERSHIP_ENDPOINTS", self.connection.settings.endpoints.join(",")),
        ]
    }

    fn environment(&self, term: &TermHandle) -> Vec<(&'static str, OsString)> {
        let known = self.known().into_iter().map(|(name, value)| (name, OsString::from_vec(value.into_bytes())));
        let mut all: Vec<_> = known.collect();
        all.push(("LEADERSHIP_TOKEN", term.token().to_string().into()));
        all.push(("LEADERSHIP_LEASE_ID", format!("{:x}", term.lease_id()).into()));
        all
    }

    async fn wait(&mut self, elector: &Elector, events: &mut ElectorEvents, until: Option<Instant>) -> Result<Waited, Failure> {
        let next = elector.next_term();
        tokio::pin!(next);
        loop {
            tokio::select! {
                biased;
                number = ended(&mut self.signals) => return Ok(Waited::Signal(number)),
                event = events.next() => self.tell(event),
                term = &mut next => {
                    // Its election is told of before the command starts.
                    return Ok(term?.map_or(Waited::Closed, Waited::Term));
                }
                () = at(until) => return Ok(Waited::TooLong),
                _ = self.children.recv() => self.collect(None),
            }
        }
    }

    /// Prints what happens to the elector.
    fn tell(&mut self, event: Option<ElectorEvent>) {
        let key = &self.args.elect.election;
        let event = match event {
            Some(ElectorEvent::Campaigning) => Event::of("campaigning", key),
            Some(ElectorEvent::Elected(term)) => {
                let elected = Event {
                    remaining: Some(term.remaining()),
                    ..Event::term("elected", &term)
                };
                self.held = Some(term);
                elected
            }
            Some(ElectorEvent::Jeopardy { remaining }) => self.of_term("jeopardy", Some(remaining)),
            Some(ElectorEvent::Secured) => self.of_term("secured", self.held.as_ref().map(TermHandle::remaining)),
            Some(ElectorEvent::Lost(reason)) => {
                let lost = Event {
                    reason: Some(reason.name().to_owned()),
                    ..self.of_term("lost", None)
                };
                self.held = None;
                lost
            }
            Some(ElectorEvent::Leader(leader)) => {
                notify::status(&format!("following {}", text(&leader.value)));
                Event::leader(key, &leader)
            }
            Some(ElectorEvent::Vacant) => Event::of("vacant", key),
            Some(ElectorEvent::Paused) => Event::of("paused", key),
            // The last words are the wrapper's own.
            _ => return,
        };
        self.say(&event);
    }

    /// The election of a term is told of before what happens in it, and its loss before what follows.
    async fn told(&mut self, events: &mut ElectorEvents, elected: bool) {
        while self.held.is_some() != elected {
            match tokio::time::timeout(TOLD, events.next()).await {
                Ok(Some(event)) => self.tell(Some(event)),
                _ => return, // a term that was over before anybody was told of it
            }
        }
    }

    fn of_term(&self, name: &'static str, remaining: Option<Duration>) -> Event {
        let event = self.held.as_ref().map_or_else(|| Event::of(name, &self.args.elect.election), |term| Event::term(name, term));
        Event { remaining, ..event }
    }

    /// Collects children that have fallen to this process: not the guardian's, nor the health command's.
    fn collect(&self, guardian: Option<i32>) {
        if !self.collects {
            return;
        }
        let checked = self.checked.child();
        for id in descend::ended_children().into_iter().filter(|id| Some(*id) != guardian && Some(*id) != *checked) {
            if let Some(id) = Pid::from_raw(id) {
                let _ = waitpid(Some(id), WaitOptions::NOHANG);
            }
        }
    }
}

/// A signal that asks for an end. Others mean nothing while no command runs.
async fn ended(signals: &mut Arrivals) -> i32 {
    loop {
        let number = signals.next().await;
        if asks_for_an_end(number) || number == 1 {
            return number;
        }
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
