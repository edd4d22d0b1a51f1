//! The live view: who leads each election, token, since when, how long the lease lives, who waits, and what changed last.
//! Owns drawing it in place on a terminal; what is drawn comes from the observers.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use jiff::tz::TimeZone;
use leadership_core::{BootTime, Client, Clock, Observed};

use super::value;
use crate::event::Event;
use crate::output::{Output, Paint, details, whole};
use crate::table::{self, Cell};

/// How many of the last changes are shown.
const CHANGES: usize = 6;
/// A terminal that does not say how high it is.
const HEIGHT: usize = 24;
/// Lines beside the elections: headings, a blank one, and the changes.
const BESIDE: usize = CHANGES + 4;

#[derive(Default)]
struct Row {
    leader: Option<leadership_core::Leader>,
    since: Option<BootTime>,
    /// Of the lease, when it was asked.
    left: Option<Duration>,
    waiting: Option<usize>,
}

/// What is on the terminal.
pub(super) struct View {
    output: Output,
    rows: BTreeMap<String, Row>,
    changes: VecDeque<String>,
    /// How many lines were drawn.
    drawn: usize,
}

impl View {
    pub(super) fn new(output: Output) -> View {
        View {
            output,
            rows: BTreeMap::new(),
            changes: VecDeque::new(),
            drawn: 0,
        }
    }

    /// A change, drawn at once.
    pub(super) fn tell(&mut self, key: &str, observed: &Observed, event: &Event) -> io::Result<()> {
        let row = self.rows.entry(key.to_owned()).or_default();
        row.leader = observed.leader().cloned();
        row.left = None;
        row.since = match observed {
            Observed::Leader { since, .. } => *since,
            _ => Some(Clock::boot().now()),
        };
        let at = event.time.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string();
        let name = self.output.paint(format_args!("{:<7}", event.name), &[Paint::Dim]);
        self.changes.push_back(format!("{at}  {name}  {key}  {}", details(event, false)).trim_end().to_owned());
        while self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
        self.draw()
    }

    /// How many elections fit.
    fn fits(&self) -> usize {
        let height = rustix::termios::tcgetwinsize(io::stdout()).map_or(HEIGHT, |size| usize::from(size.ws_row));
        height.saturating_sub(BESIDE).max(1)
    }

    /// Asks for what no watch tells, of the elections that are shown.
    pub(super) async fn ask(&mut self, client: &Client) {
        let fits = self.fits();
        for (key, row) in self.rows.iter_mut().take(fits) {
            if let Ok(all) = crate::operate::taking_part(client, key).await {
                row.waiting = Some(all.iter().filter(|one| !one.leads).count());
            }
            if let Some(leader) = row.leader.as_ref().filter(|leader| leader.lease != 0) {
                row.left = client.lease_time_left(leader.lease).await.ok().flatten().map(|(left, _)| left);
            }
        }
    }

    /// Everything anew, over what was drawn before.
    pub(super) fn draw(&mut self) -> io::Result<()> {
        let lines = self.lines();
        // Up to the first line, clear from there on, draw.
        let up = if self.drawn > 0 { format!("\x1b[{}A\r\x1b[J", self.drawn) } else { String::new() };
        self.drawn = lines.len();
        self.output.line(&format!("{up}{}", lines.join("\n")))
    }

    fn lines(&self) -> Vec<String> {
        let now = Clock::boot().now();
        let heading = |name| Cell::heading(name, self.output);
        let mut rows = vec![vec![
            heading("ELECTION"),
            heading("LEADER"),
            heading("TOKEN").right(),
            heading("FOR").right(),
            heading("LEASE").right(),
            heading("WAITING").right(),
        ]];
        let fits = self.fits();
        for (key, row) in self.rows.iter().take(fits) {
            let (who, paints): (_, &[Paint]) = match &row.leader {
                Some(leader) => (value(leader), &[Paint::Bold, Paint::Cyan]),
                None => ("nobody".to_owned(), &[Paint::Bold, Paint::Yellow]),
            };
            let age = row.since.map_or_else(String::new, |since| whole(now.since(since)));
            let left = match (&row.leader, row.left) {
                (Some(leader), _) if leader.lease == 0 => "none".to_owned(),
                (_, Some(left)) => whole(left),
                _ => String::new(),
            };
            rows.push(vec![
                Cell::plain(key.as_str()),
                Cell::new(&who, self.output.paint(&who, paints)),
                Cell::plain(row.leader.as_ref().and_then(|leader| leader.token).map_or_else(String::new, |token| token.to_string())).right(),
                Cell::plain(age).right(),
                Cell::plain(left).right(),
                Cell::plain(row.waiting.map_or_else(String::new, |count| count.to_string())).right(),
            ]);
        }
        let mut lines = table::lines(&rows);
        if self.rows.len() > fits {
            lines.push(self.output.paint(format_args!("… and {} more", self.rows.len() - fits), &[Paint::Dim]));
        }
        if !self.changes.is_empty() {
            lines.push(String::new());
            lines.extend(self.changes.iter().cloned());
        }
        lines
    }
}
