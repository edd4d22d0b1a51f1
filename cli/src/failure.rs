//! How a command can end other than well, and the exit code of each (docs/command.md has the table).
//! Owns the codes; what leads to which is decided where it happens.

use leadership_core::{Error, Reason};

/// What a command ends with when it did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Anything not named below: 1.
    Other(String),
    /// Arguments that cannot be used: 2.
    Usage(String),
    /// No member of etcd could be reached: 3.
    Connect(String),
    /// `run` was not elected in time: 4.
    NotAcquired,
    /// The command's own exit code, or what stood in its way.
    Code(u8, Option<String>),
    /// `elect --once` or `run` lost its term: 5.
    Lost(Reason),
    /// A signal ended it before its work was done: 128 + its number.
    Signal(u8),
    /// Nobody reads the output any more. Said to nobody, and no failure.
    OutputClosed,
}

impl Failure {
    pub(crate) fn other(message: impl Into<String>) -> Failure {
        Failure::Other(message.into())
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::OutputClosed => 0,
            Failure::Other(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Connect(_) => 3,
            Failure::NotAcquired => 4,
            Failure::Lost(_) => 5,
            Failure::Code(code, _) => *code,
            Failure::Signal(number) => 128 | number,
        }
    }

    /// What to say on standard error, if anything.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Failure::Other(message) => Some(message.clone()),
            Failure::Usage(message) => Some(format!("{message}\nTry 'leadership --help'.")),
            Failure::Connect(message) => Some(format!("cannot connect to {message}")),
            Failure::Lost(reason) => Some(format!("leadership lost: {}", crate::output::words(reason.name()))),
            Failure::NotAcquired => Some("not elected in time".to_owned()),
            Failure::Code(_, message) => message.clone(),
            Failure::Signal(_) | Failure::OutputClosed => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::InvalidArgument { .. } => Failure::Usage(error.to_string()),
            error => Failure::Other(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    /// For writing to standard output.
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Other(format!("standard output: {error}")),
        }
    }
}
