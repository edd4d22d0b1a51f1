//! What can be typed: commands, flags, their help and the form of their values.
//! Owns the words; what they do is each command's.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::run::Restart;

const AFTER_HELP: &str = "\
Examples:
  leadership test-server                           an etcd in memory, for trying things out
  leadership run billing/leader -- ./billing       run a command while we lead, and only then
  leadership elect billing/leader --value host-a   stand for election, lead, resign on Ctrl-C
  leadership status billing/                       who leads each of these?
  leadership observe billing/leader                and what changes
  leadership transfer billing/leader --to host-b   hand it over
  leadership demo                                  see leaders killed, paused and deposed

Environment (a flag goes first; ETCDCTL_ in place of LEADERSHIP_ is read too):
  LEADERSHIP_ENDPOINTS, LEADERSHIP_USER, LEADERSHIP_PASSWORD,
  LEADERSHIP_TLS_CA (ETCDCTL_CACERT), LEADERSHIP_TLS_CERT (ETCDCTL_CERT), LEADERSHIP_TLS_KEY (ETCDCTL_KEY),
  LEADERSHIP_CONFIG, the file of --config,
  NO_COLOR to switch colours off

Exit codes:
  0 done   1 failed   2 usage   3 cannot connect   4 not elected in time   5 leadership lost
  126, 127 the command cannot be run, is not there   128+n ended by signal n";

/// Leader election with provable authority, on etcd.
#[derive(Debug, Parser)]
#[command(name = "leadership", version, after_help = AFTER_HELP, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach etcd, and how to talk.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// Members of one etcd cluster: host:port, http:// or https:// [default: 127.0.0.1:2379]
    #[arg(long, global = true, value_name = "HOST:PORT,…", value_delimiter = ',', help_heading = "Connection")]
    pub(crate) endpoints: Vec<String>,
    /// User of etcd's own authentication; the password may come from LEADERSHIP_PASSWORD
    #[arg(long, global = true, value_name = "NAME[:PASSWORD]", help_heading = "Connection")]
    pub(crate) user: Option<String>,
    /// Authorities to trust, PEM (the system's own if left out)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) cacert: Option<String>,
    /// Our certificate, PEM
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) cert: Option<String>,
    /// The key of our certificate, PEM
    #[arg(long = "key", global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) cert_key: Option<String>,
    /// One JSON object a line, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Settings from a TOML file: the connection's, and a table of options for each command
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) config: Option<PathBuf>,
    /// What the file says of the connection.
    #[arg(skip)]
    pub(crate) file: Option<leadership_core::Settings>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Elect(Elect),
    Observe(Observe),
    Status(Status),
    Participants(Participants),
    Transfer(Transfer),
    Depose(Depose),
    Pause(Pause),
    Unpause(Unpause),
    Bench(Bench),
    TestServer(TestServer),
    Demo(Demo),
    Completions(Completions),
    Man(Man),
}

/// What etcd and this library do here: checks, writes, elections, renewals, hand-overs
///
/// Writes under leadership-bench, and removes what it wrote but for one mark. About ten seconds.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  leadership --endpoints etcd-1:2379,etcd-2:2379,etcd-3:2379 bench")]
pub(crate) struct Bench {
    /// How long each part runs
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) each: Duration,
    /// How many leaderships the renewals are measured with
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) leaders: u32,
}

/// Print completions for a shell
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  leadership completions bash > /etc/bash_completion.d/leadership")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Write man pages into a folder
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  leadership man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Made if it is not there
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

/// How to stand for an election.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Stand {
    /// The election's key; with --queue the prefix, without a slash at its end
    #[arg(value_name = "ELECTION")]
    pub(crate) election: String,
    /// Stand in a queue, as etcdctl elect and etcdctl lock do: first come, first served
    #[arg(long)]
    pub(crate) queue: bool,
    /// What others see of the leader, usually its address [default: HOSTNAME:PID]
    #[arg(long, value_name = "TEXT")]
    pub(crate) value: Option<String>,
    /// Higher is preferred when the key is vacant; not in a queue
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true, conflicts_with = "queue")]
    pub(crate) priority: i64,
    /// Hand the leadership to a candidate of higher priority that has stood for a while
    #[arg(long, conflicts_with = "queue")]
    pub(crate) take_back: bool,
    /// How long the key outlives a leader that dies; whole seconds, rounded up
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) ttl: Duration,
    /// How long a winner waits when the key went without its holder's word
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = duration_or_zero, allow_hyphen_values = true)]
    pub(crate) takeover_delay: Duration,
}

/// Stand for election; lead until a signal; go on standing when the leadership is lost
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Prints an event a line: campaigning, leader (who holds it), vacant, elected, jeopardy, secured, lost, stopped.
TERM or INT resigns in order and exits with 0; a second one kills at once.

Examples:
  leadership elect billing/leader --value host-a:8080
  leadership elect billing/leader --once --ttl 10s --json")]
pub(crate) struct Elect {
    #[command(flatten)]
    pub(crate) stand: Stand,
    /// One term, then exit: 5 if it was lost
    #[arg(long)]
    pub(crate) once: bool,
    /// Tries a guarded write of this key ten times a second, and says how it went
    #[arg(long, value_name = "KEY", hide = true)]
    pub(crate) demo_write: Option<String>,
    /// Ends, in order, with standard input, too: with whoever holds its other end
    #[arg(long)]
    pub(crate) stdin: bool,
}

/// Run a command while this process leads, and only then
///
/// Waits to be elected, starts the command, and ends it before the leadership can: nothing it started runs when a
/// successor may lead. The key is released when the last of its processes has gone.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The command sees LEADERSHIP_KEY, LEADERSHIP_TOKEN, LEADERSHIP_LEASE_ID, LEADERSHIP_VALUE, LEADERSHIP_TTL and
LEADERSHIP_ENDPOINTS. Its input and output are the caller's; the events are printed on standard error.
TERM and INT end it in order (a second one kills it); HUP, USR1 and USR2 are passed on.

Exits with the command's code, or 128+n if signal n ended it; 3 cannot connect, 4 not elected in time,
5 leadership lost (also when the command then ends with 0), 126 not executable, 127 not found.

Examples:
  leadership run billing/leader -- ./billing --serve
  leadership run billing/leader --restart always --health-cmd 'curl -fsS localhost:8080/healthz' -- ./billing
  leadership run nightly/report --timeout 0s --exit-code timeout=0 -- ./report")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) elect: Stand,
    /// The command is told to end so long before it is killed; at most half the TTL [default: a fifth of the TTL]
    #[arg(long, value_name = "DURATION", value_parser = duration_or_zero, allow_hyphen_values = true)]
    pub(crate) grace: Option<Duration>,
    /// How long the command may take to end when it is not in a hurry: a signal, a transfer, a pause
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration_or_zero, allow_hyphen_values = true)]
    pub(crate) stop_timeout: Duration,
    /// Give up, with 4, if not elected by then [default: wait for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration_or_zero, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// Wait for an etcd that does not answer, rather than exit with 3
    #[arg(long)]
    pub(crate) wait: bool,
    /// Run by /bin/sh before the command starts
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) on_elected: Option<String>,
    /// Run by /bin/sh when the command has ended, before the key is released
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) on_lost: Option<String>,
    /// How long a hook may take before it is killed
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) hook_timeout: Duration,
    /// Run by /bin/sh several times a TTL: who fails it, or hangs in it for half a TTL, does not lead
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) health_cmd: Option<String>,
    /// When to campaign again after the command has ended
    #[arg(long, value_name = "WHEN", default_value = "never")]
    pub(crate) restart: Restart,
    /// Another exit code for connect, timeout or lost
    #[arg(long, value_name = "NAME=CODE")]
    pub(crate) exit_code: Vec<String>,
    /// The command and its arguments; no shell comes between
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Say who leads: value, token, lease and how long it still lives; with a prefix, a table
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A name that ends in / is a prefix, and so is an empty one: then every election under it is a row.
Exits with 0 also when nobody leads, and says so.

Examples:
  leadership status billing/leader --json
  leadership status billing/")]
pub(crate) struct Status {
    /// The election's key, a queue's prefix, or a prefix of many
    #[arg(value_name = "ELECTION or PREFIX/", default_value = "")]
    pub(crate) election: String,
}

/// Watch who leads: changes and vacancies, until a signal
///
/// On a terminal a live view; else a line each.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A name that ends in / is a prefix: every election under it is watched, also those that come.

Examples:
  leadership observe billing/leader
  leadership observe billing/ --json
  leadership observe --queue nightly/workers")]
pub(crate) struct Observe {
    /// Keys, prefixes that end in /, or with --queue the prefixes of queues
    #[arg(value_name = "ELECTION or PREFIX/", required = true)]
    pub(crate) elections: Vec<String>,
    /// The names are queues, as etcdctl elect and etcd's own clients make them
    #[arg(long)]
    pub(crate) queue: bool,
    /// Lines also on a terminal
    #[arg(long)]
    pub(crate) lines: bool,
}

/// List who takes part: the leader first, then who stands, in the order of their turns
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  leadership participants billing/leader")]
pub(crate) struct Participants {
    /// The election's key, or a queue's prefix
    #[arg(value_name = "ELECTION")]
    pub(crate) election: String,
}

/// Hand the leadership to another candidate, in one transaction
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Without --wait the operator vouches for the old leader's stopping in time: it hears of it within milliseconds if it is
well, and by its own deadline if it is not, and the new one may lead before that. With --wait nobody leads for a TTL,
and no two leaders overlap.

Examples:
  leadership transfer billing/leader                     to the candidate of the highest priority
  leadership transfer billing/leader --to host-b:8080 --wait")]
pub(crate) struct Transfer {
    /// The election's key
    #[arg(value_name = "ELECTION")]
    pub(crate) election: String,
    /// The candidate with this value [default: the one of the highest priority, of equal ones the first]
    #[arg(long, value_name = "VALUE", conflicts_with = "random")]
    pub(crate) to: Option<String>,
    /// Any candidate
    #[arg(long)]
    pub(crate) random: bool,
    /// Take the key first, and wait as long as the old leader may still believe
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Take the leadership from whoever has it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Removes a key that hangs on no lease, too: such a key never goes by itself. What --wait does, `leadership transfer
--help` says.

Example:
  leadership depose billing/leader --wait")]
pub(crate) struct Depose {
    /// The election's key
    #[arg(value_name = "ELECTION")]
    pub(crate) election: String,
    /// Take the key first, and wait as long as the old leader may still believe
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Let nobody lead until it is unpaused: the leader ends its work and resigns
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  leadership pause billing/leader")]
pub(crate) struct Pause {
    /// The election's key
    #[arg(value_name = "ELECTION")]
    pub(crate) election: String,
}

/// Let a paused election go on
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  leadership unpause billing/leader")]
pub(crate) struct Unpause {
    /// The election's key
    #[arg(value_name = "ELECTION")]
    pub(crate) election: String,
}

/// Serve an etcd in memory: FOR TESTS AND DEMOS, never for production
///
/// It speaks etcd's protocol, forgets everything when it ends, has no replicas and no disk.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  leadership test-server --listen 127.0.0.1:0     a free port; the first line says which")]
pub(crate) struct TestServer {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2379")]
    pub(crate) listen: String,
    /// Ends with standard input, so that it never outlives the demo
    #[arg(long, hide = true)]
    pub(crate) stdin: bool,
}

/// The tour: three candidates, and what can happen to a leader
///
/// Starts the test server (or uses the etcd of --endpoints) and three candidates as processes. Then the leader is killed,
/// resigns, loses its key behind its back, and is paused for longer than its lease lives. About ten seconds.
/// Exits with 1 if any step is not as it should be.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  leadership demo\n  leadership demo --endpoints 127.0.0.1:2379     on a real etcd")]
pub(crate) struct Demo {}

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| "a duration has a unit, as in 5s, 1500ms or 1m30s".to_owned())?;
    Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("must be above 0".to_owned()),
        span => Ok(span),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test's way to fail
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_as_people_write_them() {
        for (text, millis) in [("5s", 5000), ("1500ms", 1500), ("2m", 120_000), ("1m30s", 90_000), ("1.5s", 1500)] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for bad in ["", "5", "s", "-5s", "5 parsecs", "0s", "5s ago"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration_or_zero("0s").unwrap(), Duration::ZERO);
    }
}
