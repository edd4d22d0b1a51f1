//! How `run` ends, who made it end, and with which exit code (docs/command.md has the table).
//! Owns `--exit-code` and `--restart`'s words, too; what happened is decided elsewhere.

use leadership_core::Reason;

use crate::failure::Failure;
use crate::output::words;

/// When to campaign again after the command has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Restart {
    /// Never: the end of the command, or of the leadership, is the end
    Never,
    /// When the command fails (not when the leadership is lost)
    OnFailure,
    /// Whatever ended it
    Always,
}

/// Who made it end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Child,
    Leadership,
}

impl By {
    pub(super) fn name(self) -> &'static str {
        match self {
            By::Child => "child",
            By::Leadership => "leadership",
        }
    }
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The command ended by itself.
    Child(u8),
    /// The command was told to end by a signal to the wrapper, and did.
    Stopped(u8),
    /// A signal, with no command running.
    Signal(i32),
    /// The leadership was lost.
    Lost(Reason),
    /// Not elected in time.
    NotAcquired,
    Failed(Failure),
}

impl Outcome {
    pub(super) fn by(&self) -> By {
        match self {
            Outcome::Child(_) => By::Child,
            _ => By::Leadership,
        }
    }

    fn failure(&self) -> Option<Failure> {
        Some(match self {
            Outcome::Child(0) | Outcome::Stopped(0) => return None,
            Outcome::Child(code) | Outcome::Stopped(code) => Failure::Code(*code, None),
            Outcome::Signal(number) => Failure::Signal(u8::try_from(*number).unwrap_or(0)),
            Outcome::Lost(reason) => Failure::Lost(*reason),
            Outcome::NotAcquired => Failure::NotAcquired,
            Outcome::Failed(_) => return None, // said by itself
        })
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            Outcome::Failed(failure) => failure.code(),
            other => other.failure().map_or(0, |failure| failure.code()),
        }
    }

    /// For the last words: what went wrong with the leadership, if anything did.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Outcome::Failed(failure) => failure.message(),
            Outcome::Lost(reason) => Some(format!("leadership lost: {}", words(reason.name()))),
            Outcome::NotAcquired => Failure::NotAcquired.message(),
            _ => None,
        }
    }
}

/// Exit codes that the user has given other numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Codes {
    connect: Option<u8>,
    timeout: Option<u8>,
    lost: Option<u8>,
}

impl Codes {
    /// From `NAME=CODE`.
    pub(super) fn parse(given: &[String]) -> Result<Codes, Failure> {
        let mut codes = Codes::default();
        for one in given {
            let (name, code) = one.split_once('=').unwrap_or((one, ""));
            let slot = match name {
                "connect" => &mut codes.connect,
                "timeout" => &mut codes.timeout,
                "lost" => &mut codes.lost,
                _ => return Err(Failure::Usage(format!("--exit-code {one}: the names are connect, timeout and lost"))),
            };
            let code = code.parse().map_err(|_| Failure::Usage(format!("--exit-code {one}: a code is a number from 0 to 255")))?;
            *slot = Some(code);
        }
        Ok(codes)
    }

    /// The command's end, with the user's own numbers.
    pub(super) fn end_with(&self, outcome: Outcome) -> Result<(), Failure> {
        let own = match &outcome {
            Outcome::Failed(Failure::Connect(_)) => self.connect,
            Outcome::NotAcquired => self.timeout,
            Outcome::Lost(_) => self.lost,
            _ => None,
        };
        if let Some(code) = own {
            return match code {
                0 => Ok(()),
                code => Err(Failure::Code(code, outcome.error())),
            };
        }
        match outcome {
            Outcome::Failed(failure) => Err(failure),
            other => other.failure().map_or(Ok(()), Err),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test's way to fail
mod tests {
    use super::*;

    #[test]
    fn the_user_may_give_other_numbers() {
        let codes = Codes::parse(&["lost=75".to_owned(), "timeout=0".to_owned()]).unwrap();
        let code = |outcome| codes.end_with(outcome).map_or_else(|failure| failure.code(), |()| 0);
        assert_eq!(code(Outcome::Lost(Reason::Expired)), 75);
        assert_eq!(code(Outcome::NotAcquired), 0);
        assert_eq!(code(Outcome::Failed(Failure::Connect(String::new()))), 3);
        assert_eq!((code(Outcome::Child(7)), code(Outcome::Stopped(143)), code(Outcome::Signal(2))), (7, 143, 130));
        for bad in ["lost", "lost=", "lost=256", "won=1"] {
            assert!(Codes::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
