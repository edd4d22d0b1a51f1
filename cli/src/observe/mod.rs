//! `leadership observe`: who leads, and what changes, until a signal: lines, or a live view on a terminal.
//! Owns what is watched and told; drawing is `view`'s.

mod view;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use leadership_core::{Client, Election, Error, Leader, Mode, Observed, Observer};

use crate::args::{Global, Observe};
use crate::connection::{Connection, ready};
use crate::event::{Event, text};
use crate::failure::Failure;
use crate::output::{Output, to_stderr};
use crate::signals::Signals;
use view::View;

/// Elections that have come under a prefix are looked for this often.
const LOOK: Duration = Duration::from_secs(10);
/// The live view's ages and lease times.
const REDRAW: Duration = Duration::from_secs(1);

/// What an election's observer says next; the observer comes back with it.
type Next = BoxFuture<'static, (String, Observer, Option<Observed>)>;

/// What was told of an election last.
struct Told {
    leader: Option<Leader>,
    /// Whether anything was told.
    known: bool,
}

struct Watching {
    client: Client,
    queue: bool,
    next: FuturesUnordered<Next>,
    told: BTreeMap<String, Told>,
}

pub(crate) async fn run(global: &Global, args: Observe, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::listen(false)?;
    let connection = Connection::of(global)?;
    let client = connection.client()?;
    tokio::select! {
        connected = ready(&client, &connection) => connected?,
        _ = signals.stop() => return Ok(()),
    }
    let (prefixes, keys): (Vec<_>, Vec<_>) = args.elections.iter().partition(|name| name.ends_with('/'));
    let mut watching = Watching {
        client: client.clone(),
        queue: args.queue,
        next: FuturesUnordered::new(),
        told: BTreeMap::new(),
    };
    for key in keys {
        watching.add(key, args.queue)?;
    }
    let several = args.elections.len() > 1 || !prefixes.is_empty();
    let live = !output.is_json() && !args.lines && std::io::stdout().is_terminal();
    let mut view = live.then(|| View::new(output));
    let (mut look, mut redraw) = (tokio::time::interval(LOOK), tokio::time::interval(REDRAW));
    let ended = loop {
        tokio::select! {
            biased;
            _ = signals.stop() => break Ok(()),
            _ = look.tick(), if !prefixes.is_empty() => for prefix in &prefixes {
                if let Err(failure) = watching.look(prefix).await {
                    to_stderr(&format!("leadership: {prefix}: {}", failure.message().unwrap_or_default()));
                }
            },
            Some((key, observer, observed)) = watching.next.next() => {
                let Some(observed) = observed else { continue };
                if let Observed::Stopped(error) = &observed {
                    watching.told.remove(&key);
                    let error = error.clone().unwrap_or(Error::Closed);
                    match watching.told.is_empty() && prefixes.is_empty() {
                        true => break Err(Failure::from(error)),
                        false => to_stderr(&format!("leadership: {key}: {error}")),
                    }
                    continue;
                }
                if let Some(event) = watching.news(&key, &observed) {
                    match &mut view {
                        Some(view) => view.tell(&key, &observed, &event)?,
                        None => output.event_of(if several { &key } else { "" }, &event)?,
                    }
                }
                watching.wait(key, observer);
            }
            _ = redraw.tick(), if view.is_some() => if let Some(view) = &mut view {
                view.ask(&client).await;
                view.draw()?;
            },
        }
    };
    if let Some(view) = &mut view {
        view.draw()?;
    }
    client.close().await?;
    ended
}

impl Watching {
    /// One more election.
    fn add(&mut self, key: &str, queue: bool) -> Result<(), Failure> {
        if self.told.contains_key(key) {
            return Ok(());
        }
        let observer = match queue {
            true => Election::new(&self.client, key)?.observe()?,
            false => Observer::new(&self.client, key)?,
        };
        let nothing = Told {
            leader: None,
            known: false,
        };
        self.told.insert(key.to_owned(), nothing);
        self.wait(key.to_owned(), observer);
        Ok(())
    }

    fn wait(&self, key: String, mut observer: Observer) {
        self.next.push(Box::pin(async move {
            let observed = observer.next().await;
            (key, observer, observed)
        }));
    }

    /// The elections under a prefix that are not watched yet.
    async fn look(&mut self, prefix: &str) -> Result<(), Failure> {
        for found in self.client.elections(prefix).await? {
            let Ok(key) = String::from_utf8(found.key) else { continue };
            self.add(&key, self.queue || found.mode == Mode::Queue)?;
        }
        Ok(())
    }

    /// What is new of an election, as an event.
    fn news(&mut self, key: &str, observed: &Observed) -> Option<Event> {
        let told = self.told.get_mut(key)?;
        let leader = match observed {
            Observed::Leader { leader, .. } => Some(leader),
            Observed::Vacant { .. } => None,
            _ => return None,
        };
        let first = !std::mem::replace(&mut told.known, true);
        let same = |before: &Leader, now: &Leader| (before.token, &before.value) == (now.token, &now.value);
        let is_news = match (&told.leader, leader) {
            (None, None) => first,
            (Some(before), Some(now)) => !same(before, now),
            _ => true,
        };
        told.leader = leader.cloned();
        is_news.then(|| Event::election(key, leader))
    }
}

/// A leader's value, as shown.
fn value(leader: &Leader) -> String {
    text(&leader.value)
}
