//! A measured client runs in a process of its own, so that CPU and memory are its own and nobody else's.
//! Owns that process: its arguments, its answer, what runs in it. The etcd beside it is the caller's.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Result, idle, layouts, ours};

/// The TTL of every lease in the comparison: what a service that uses the default has.
pub const TTL: Duration = Duration::from_secs(5);
/// Every layout renews at TTL/5, as the library does.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Two rounds of renewals: connections, buffers and pools have reached their size.
pub const SETTLE: Duration = Duration::from_secs(2);
/// Grants under way at once.
pub const GRANTS_AT_ONCE: usize = 256;

/// The first argument of the process.
const CHILD: &str = "--measure";

/// What one process measures.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which client.
    pub layout: Layout,
    /// The one member it speaks to, `host:port`.
    pub endpoint: String,
    /// Leases, or leaderships.
    pub count: usize,
    /// How long the steady state is measured.
    pub window: Duration,
}

/// The clients that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One stream, no confirmation: the least that renewing can cost.
    Bare,
    /// The library, leases alone.
    Ours,
    /// A stream per lease.
    PerLease,
    /// A stream per renewal.
    PerRenewal,
    /// The library, leaderships.
    Leaderships,
    /// The library, electors that follow: of another section, so not in `ALL`.
    Followers,
}

impl Layout {
    /// All ways to renew, in the order of a round.
    pub const ALL: [Layout; 5] =
        [Layout::Bare, Layout::Ours, Layout::PerLease, Layout::PerRenewal, Layout::Leaderships];

    /// Its name in tables, arguments and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Layout::Bare => "bare stream",
            Layout::Ours => "ours",
            Layout::PerLease => "stream per lease",
            Layout::PerRenewal => "stream per renewal",
            Layout::Leaderships => "ours, leaderships",
            Layout::Followers => "ours, followers",
        }
    }
}

impl Job {
    /// Runs it in a new process and returns what that found.
    ///
    /// # Errors
    /// The process cannot be started, or failed: its error output is ours.
    pub fn run(&self) -> Result<Value> {
        let output = Command::new(std::env::current_exe()?)
            .arg(CHILD)
            .arg(self.layout.name())
            .arg(&self.endpoint)
            .arg(self.count.to_string())
            .arg(self.window.as_millis().to_string())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{}: {}", self.layout.name(), output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The job that this process was started for, if it is such a process.
    ///
    /// # Errors
    /// The arguments are not ones that [`run`](Self::run) gives.
    pub fn of_this_process() -> Result<Option<Job>> {
        let mut arguments = std::env::args().skip(1);
        if arguments.next().as_deref() != Some(CHILD) {
            return Ok(None);
        }
        let mut next = || arguments.next().ok_or("an argument is missing");
        let name = next()?;
        Ok(Some(Job {
            layout: Layout::ALL.into_iter().chain([Layout::Followers]).find(|layout| layout.name() == name).ok_or("no such layout")?,
            endpoint: next()?,
            count: next()?.parse()?,
            window: Duration::from_millis(next()?.parse()?),
        }))
    }

    /// Measures, in this process.
    ///
    /// # Errors
    /// Whatever the client fails with; a lost lease too.
    pub fn measure(&self) -> Result<Value> {
        match self.layout {
            Layout::Bare => layouts::one_stream(self),
            Layout::Ours => ours::leases(self),
            Layout::PerLease => layouts::stream_per_lease(self),
            Layout::PerRenewal => layouts::stream_per_renewal(self),
            Layout::Leaderships => ours::leaderships(self),
            Layout::Followers => idle::followers(self),
        }
    }
}
