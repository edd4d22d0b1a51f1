//! `leadership elect`: stands for election, leads, and stands again, until it is told to stop.
//! Owns the events that it prints and their order; the loop is the core's elector.

mod writer;

use leadership_core::{Elector, ElectorEvent, ElectorEvents, Error, Leader, Reason, Result as CoreResult, Term, TermHandle, TermState};
use tokio::sync::watch;

use crate::args::{Elect, Global};
use crate::connection::{Connection, ready};
use crate::event::Event;
use crate::failure::Failure;
use crate::output::{Output, to_stderr};
use crate::signals::Signals;

pub(crate) async fn run(global: &Global, args: Elect, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::listen(args.stdin)?;
    let connection = Connection::of(global)?;
    let client = connection.client()?;
    let elector = args.stand.builder(&client, "leadership elect").start()?;
    let mut candidate = Candidate {
        key: args.stand.election,
        once: args.once,
        output,
        events: elector.events(),
        elector,
        led: false,
        held: None,
        announced: watch::Sender::new(None),
    };
    if let Some(key) = args.demo_write {
        tokio::spawn(writer::write(key, candidate.announced.subscribe(), output));
    }
    let contend = async {
        ready(&client, &connection).await?;
        candidate.stand().await
    };
    let ended = tokio::select! {
        biased;
        _ = signals.stop() => Ok(()),
        ended = contend => ended.map(|never| match never {}),
    };
    let stopped = candidate.stop(ended.as_ref().err()).await;
    // What could not be released in time goes with its lease; the exit code is the election's own.
    if let Err(error) = client.close().await {
        to_stderr(&format!("leadership: {error}"));
    }
    ended.and(stopped)
}

enum Never {}

struct Candidate {
    key: String,
    once: bool,
    output: Output,
    elector: Elector,
    events: ElectorEvents,
    /// Another's leadership was announced, and not its end.
    led: bool,
    /// The term that is led.
    held: Option<Term>,
    /// The term that was announced as elected last.
    announced: watch::Sender<Option<TermHandle>>,
}

impl Candidate {
    fn say(&self, event: Event) -> Result<(), Failure> {
        // In a queue a term's own key is another: what is told of is the election.
        Ok(self.output.event(&Event { key: Some(self.key.clone()), ..event })?)
    }

    fn campaigning(&self) -> Result<(), Failure> {
        self.say(Event::new("campaigning"))
    }

    /// Contends until it fails for good. Cancel-safe: `stop` releases what it holds.
    async fn stand(&mut self) -> Result<Never, Failure> {
        loop {
            self.campaigning()?;
            let term = self.win().await?;
            let view = term.handle();
            self.held = Some(term);
            let reason = self.hold(&view).await?;
            self.held = None;
            if self.once {
                return Err(Failure::Lost(reason));
            }
        }
    }

    /// Says who leads, until this process does.
    async fn win(&mut self) -> Result<Term, Failure> {
        let won = self.elector.next_term();
        tokio::pin!(won);
        loop {
            tokio::select! {
                biased;
                term = &mut won => return won_or_closed(term),
                event = self.events.next() => match event {
                    Some(ElectorEvent::Leader(leader)) => self.leader(&leader)?,
                    Some(ElectorEvent::Vacant) if std::mem::take(&mut self.led) => self.say(Event::new("vacant"))?,
                    Some(ElectorEvent::Paused) => self.say(Event::new("paused"))?,
                    // Its own terms are told of with their loss in `hold`.
                    Some(_) => {}
                    None => return won_or_closed(won.await),
                },
            }
        }
    }

    fn leader(&mut self, leader: &Leader) -> Result<(), Failure> {
        self.led = true;
        self.say(Event::leader(&self.key, leader))
    }

    /// Leads until the term is lost.
    async fn hold(&mut self, term: &TermHandle) -> Result<Reason, Failure> {
        self.led = false;
        let mut level = term.watch();
        let elected = Event {
            remaining: Some(term.remaining()),
            ..Event::term("elected", term)
        };
        self.announced.send_replace(Some(term.clone()));
        self.say(elected)?;
        let mut said = TermState::Leading;
        loop {
            let now = *level.borrow_and_update();
            if now != said {
                said = now;
                let remaining = Some(term.remaining());
                match now {
                    TermState::Jeopardy => self.say(Event { remaining, ..Event::term("jeopardy", term) })?,
                    TermState::Leading => self.say(Event { remaining, ..Event::term("secured", term) })?,
                    TermState::Lost(reason) => {
                        self.say(Event::lost(term, reason))?;
                        return Ok(reason);
                    }
                    _ => {}
                }
            }
            if level.changed().await.is_err() {
                let reason = term.lost_reason().unwrap_or(Reason::Closed);
                self.say(Event::lost(term, reason))?;
                return Ok(reason);
            }
        }
    }

    /// Resigns if it leads, and says the last words.
    async fn stop(mut self, failure: Option<&Failure>) -> Result<(), Failure> {
        let mut said = Ok(());
        if let Some(term) = self.held.take() {
            // Not leader from this call on, whatever happens to the output.
            let released = term.let_go();
            said = self.say(Event::lost(&term, term.lost_reason().unwrap_or(Reason::Resigned)));
            complain(released.await);
        }
        complain(self.elector.close().await);
        said?;
        let error = match failure {
            Some(Failure::OutputClosed) => return Ok(()),
            Some(Failure::Lost(_)) | None => None,
            Some(failure) => failure.message(),
        };
        self.say(Event { error, ..Event::new("stopped") })
    }
}

fn won_or_closed(term: CoreResult<Option<Term>>) -> Result<Term, Failure> {
    // Nobody closes it but `stop`.
    Ok(term?.ok_or(Error::Closed)?)
}

fn complain(released: CoreResult<()>) {
    if let Err(error) = released {
        to_stderr(&format!("leadership: {error}"));
    }
}
