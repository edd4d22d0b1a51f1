//! Owns which etcd the server behaves as, and the few places where the minor versions differ.
//! Leaves the behaviour itself to the part that asks (auth, watch, service).

use tonic::{Code, Status};

/// The etcd minor version whose behaviour the test server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Version {
    /// etcd 3.4 (checked against 3.4.23).
    V3_4,
    /// etcd 3.5 (checked against 3.5.35).
    V3_5,
    /// etcd 3.6 (checked against 3.6.16).
    V3_6,
    /// etcd 3.7 (checked against 3.7.3).
    #[default]
    V3_7,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 4] = [Version::V3_4, Version::V3_5, Version::V3_6, Version::V3_7];

    /// What `Status` reports as the server's version.
    #[must_use]
    pub fn full(self) -> &'static str {
        match self {
            Version::V3_4 => "3.4.23",
            Version::V3_5 => "3.5.35",
            Version::V3_6 => "3.6.16",
            Version::V3_7 => "3.7.3",
        }
    }

    /// 3.4 lets anybody grant and renew leases, and answers `Status` to a dead token or none.
    pub(crate) fn leases_need_auth(self) -> bool {
        self >= Version::V3_5
    }

    /// A negative start revision: older versions take it for 0.
    pub(crate) fn refuses_negative_start(self) -> bool {
        self >= Version::V3_5
    }

    /// 3.4 takes a token for a token, auth on or off: with it off, none is good.
    pub(crate) fn refuses_tokens_while_off(self) -> bool {
        self == Version::V3_4
    }

    /// 3.4 looks at no permission inside nested transactions, in neither branch.
    pub(crate) fn checks_nested(self) -> bool {
        self >= Version::V3_5
    }

    /// 3.4 takes a watch of all keys from one on for a watch of that key, as far as permissions go.
    pub(crate) fn checks_open_watches(self) -> bool {
        self >= Version::V3_5
    }

    /// What a write gets that waited in vain for a leader to be proposed to: the bare error of its context.
    pub(crate) fn never_proposed(self) -> Status {
        let code = if self == Version::V3_4 {
            Code::Unknown
        } else {
            Code::DeadlineExceeded
        };
        Status::new(code, "context deadline exceeded")
    }

    /// A sort order that does not exist: older versions do not sort then.
    pub(crate) fn refuses_unknown_order(self) -> bool {
        self >= Version::V3_6
    }

    /// 3.4 answers a progress request at once, whatever state the watchers are in.
    pub(crate) fn progress_always(self) -> bool {
        self == Version::V3_4
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Version::V3_4 => "3.4",
            Version::V3_5 => "3.5",
            Version::V3_6 => "3.6",
            Version::V3_7 => "3.7",
        })
    }
}
