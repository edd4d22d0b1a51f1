//! Errors and reasons: one list each, numbered once, the same in every language (API.md).
//! Owns codes, numbers and messages; what leads to which error is decided where it happens.

use std::fmt;

use crate::Leader;

/// The result of every fallible call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed. Numbers ([`Error::code`]) and names ([`Error::name`]) are stable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An argument is unusable; nothing was sent. Names the argument.
    InvalidArgument {
        /// The argument's name.
        argument: String,
        /// What is wrong with it.
        why: String,
    },
    /// No member could serve the call; it was not applied. Retriable.
    Unavailable {
        /// Key, endpoint and cause.
        message: String,
    },
    /// The call's time was up; it was not applied. Retriable.
    Timeout {
        /// Key, endpoint and what was waited for.
        message: String,
    },
    /// The caller (or a reset) cancelled the call.
    Cancelled {
        /// What was cancelled.
        message: String,
    },
    /// Another holds the key.
    NotElected {
        /// The key.
        key: String,
        /// Who holds it, when it was seen.
        holder: Option<Box<Leader>>,
    },
    /// A compare that the caller added to a campaign did not hold.
    CompareFailed {
        /// The key campaigned for.
        key: String,
    },
    /// A call on a term that has ended, or without a term.
    NotLeader {
        /// The key.
        key: String,
        /// Why the term ended; `None` when there never was one.
        reason: Option<Reason>,
    },
    /// A write may or may not have been applied (its reply was lost, S7).
    OutcomeUnknown {
        /// What happened.
        message: String,
        /// What to read to find out.
        read: String,
    },
    /// etcd's roles do not allow it, or user and password are wrong.
    PermissionDenied {
        /// Key and etcd's words.
        message: String,
    },
    /// A member of another cluster answered, or the cluster was wiped or restored.
    ClusterChanged {
        /// The endpoint whose answer showed it.
        member: String,
        /// What differs, and there.
        message: String,
    },
    /// The client was closed.
    Closed,
    /// The process was forked: handles of the parent are dead in the child (S12).
    Forked,
    /// A bug in this library.
    Internal {
        /// What was caught.
        message: String,
    },
}

impl Error {
    /// The stable number of this error, never renumbered.
    pub fn code(&self) -> u32 {
        self.row().0
    }

    /// The stable name of this error.
    pub fn name(&self) -> &'static str {
        self.row().1
    }

    fn row(&self) -> (u32, &'static str) {
        match self {
            Error::InvalidArgument { .. } => (1, "InvalidArgument"),
            Error::Unavailable { .. } => (2, "Unavailable"),
            Error::Timeout { .. } => (3, "Timeout"),
            Error::Cancelled { .. } => (4, "Cancelled"),
            Error::NotElected { .. } => (5, "NotElected"),
            Error::CompareFailed { .. } => (6, "CompareFailed"),
            Error::NotLeader { .. } => (7, "NotLeader"),
            Error::OutcomeUnknown { .. } => (8, "OutcomeUnknown"),
            Error::PermissionDenied { .. } => (9, "PermissionDenied"),
            Error::ClusterChanged { .. } => (10, "ClusterChanged"),
            Error::Closed => (11, "Closed"),
            Error::Forked => (12, "Forked"),
            Error::Internal { .. } => (13, "Internal"),
        }
    }

    /// True if the same call may succeed when it is simply made again.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Error::Unavailable { .. } | Error::Timeout { .. })
    }

    pub(crate) fn invalid(argument: &str, why: impl Into<String>) -> Self {
        Error::InvalidArgument {
            argument: argument.to_owned(),
            why: why.into(),
        }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Error::Unavailable {
            message: message.into(),
        }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Error::Internal {
            message: message.into(),
        }
    }

    pub(crate) fn cancelled(what: &str, key: &[u8]) -> Self {
        Error::Cancelled {
            message: format!("{what} of {}", show(key)),
        }
    }

    pub(crate) fn not_leader(key: &[u8], reason: Option<Reason>) -> Self {
        Error::NotLeader {
            key: show(key),
            reason,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidArgument { argument, why } => write!(f, "{argument}: {why}"),
            Error::Unavailable { message } => write!(f, "unavailable: {message}"),
            Error::Timeout { message } => write!(f, "timed out: {message}"),
            Error::Cancelled { message } => write!(f, "cancelled: {message}"),
            Error::NotElected { key, holder: Some(leader) } => write!(
                f,
                "not elected: {key} is held by {:?} (create revision {}, lease {:x})",
                show(&leader.value),
                leader.create_revision,
                leader.lease
            ),
            Error::NotElected { key, holder: None } => {
                write!(f, "not elected: {key} went to another")
            }
            Error::CompareFailed { key } => {
                write!(f, "a compare added to the campaign for {key} did not hold")
            }
            Error::NotLeader { key, reason: Some(reason) } => {
                write!(f, "not the leader of {key}: the term ended ({reason})")
            }
            Error::NotLeader { key, reason: None } => write!(f, "not the leader of {key}"),
            Error::OutcomeUnknown { message, read } => {
                write!(f, "outcome unknown: {message}; to find out, read {read}")
            }
            Error::PermissionDenied { message } => write!(f, "permission denied: {message}"),
            Error::ClusterChanged { message, .. } => write!(f, "cluster changed: {message}"),
            Error::Closed => f.write_str("the client is closed"),
            Error::Forked => f.write_str(
                "this process was forked from the one that owns the client; connect anew in the child",
            ),
            Error::Internal { message } => write!(f, "internal error (a bug in leadership): {message}"),
        }
    }
}

impl std::error::Error for Error {}

/// Why a term was lost. Numbers are stable and fit four bits (they live in the term's one atomic word).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Reason {
    /// No confirmed renewal in time.
    Expired = 1,
    /// etcd said, in a confirmed reply, that the lease is gone, before any delete event.
    Revoked = 2,
    /// The key was deleted while the lease lived.
    KeyDeleted = 3,
    /// The key was overwritten by another.
    Overwritten = 4,
    /// The key was handed to a successor.
    HandedOver = 5,
    /// The holder resigned, reset or dropped it.
    Resigned = 6,
    /// The health check failed.
    Unhealthy = 7,
    /// The election was paused.
    Paused = 8,
    /// The client was closed.
    Closed = 9,
    /// This is a forked child.
    Forked = 10,
    /// The clock jumped past the deadline (suspend).
    Suspended = 11,
    /// Another cluster answers now.
    ClusterChanged = 12,
    /// etcd refused a guarded write.
    GuardFailed = 13,
}

impl Reason {
    /// Every reason, in the order of the numbers.
    pub const ALL: [Reason; 13] = [
        Reason::Expired,
        Reason::Revoked,
        Reason::KeyDeleted,
        Reason::Overwritten,
        Reason::HandedOver,
        Reason::Resigned,
        Reason::Unhealthy,
        Reason::Paused,
        Reason::Closed,
        Reason::Forked,
        Reason::Suspended,
        Reason::ClusterChanged,
        Reason::GuardFailed,
    ];

    /// The reason with this number.
    pub fn from_number(number: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| *reason as u8 == number)
    }

    /// The name used in `--json` and in every language.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Expired => "expired",
            Reason::Revoked => "revoked",
            Reason::KeyDeleted => "key_deleted",
            Reason::Overwritten => "overwritten",
            Reason::HandedOver => "handed_over",
            Reason::Resigned => "resigned",
            Reason::Unhealthy => "unhealthy",
            Reason::Paused => "paused",
            Reason::Closed => "closed",
            Reason::Forked => "forked",
            Reason::Suspended => "suspended",
            Reason::ClusterChanged => "cluster_changed",
            Reason::GuardFailed => "guard_failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes as people read them: UTF-8 where it is, escaped where it is not.
pub(crate) fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}
