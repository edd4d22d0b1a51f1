//! What a holder says of itself, by `boot_ns`: one JSON line a record from its output, put together term by term here.
//! Owns the form of the lines and their reading; who says them is `holder`'s, who judges them `verdict`'s.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leadership_core::Clock;
use serde_json::{Value, json};

/// A record on its way from a holder to the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The first check of a term that said yes began and ended then.
    Began { key: String, token: i64, lease: i64, ttl_ms: u64, from: u64, to: u64 },
    /// A check said no for the first time, done at `no`; the last that said yes began at `yes`, with this deadline.
    Ended { key: String, token: i64, yes: u64, no: u64, deadline: u64, reason: String },
    /// The loss of the term was announced.
    Announced { key: String, token: i64, at: u64, reason: String },
    /// A term said yes after it had said no (S5).
    Revived { key: String, token: i64, at: u64 },
    /// Renewals fail; so long the term is valid without one.
    Jeopardy { key: String, at: u64, remaining_ms: u64 },
    /// Every term that began and has not ended said yes to a check not begun before `at`.
    Beat { at: u64, valid: u64 },
    /// No check was made between these two times: the holder did not run.
    Gap { from: u64, to: u64 },
    /// Shortly before `at` a thread of the library waited so long for a processor.
    Starved { at: u64, ns: u64 },
    /// A call failed otherwise than by another's leading.
    Failed { key: String, at: u64, what: String },
}

impl Record {
    /// As a line of JSON.
    #[must_use]
    pub(crate) fn json(&self) -> Value {
        match self {
            Record::Began { key, token, lease, ttl_ms, from, to } => {
                json!({"is": "began", "key": key, "token": token, "lease": format!("{lease:x}"), "ttl_ms": ttl_ms, "from": from, "to": to})
            }
            Record::Ended { key, token, yes, no, deadline, reason } => {
                json!({"is": "ended", "key": key, "token": token, "yes": yes, "no": no, "deadline": deadline, "reason": reason})
            }
            Record::Announced { key, token, at, reason } => {
                json!({"is": "announced", "key": key, "token": token, "at": at, "reason": reason})
            }
            Record::Revived { key, token, at } => json!({"is": "revived", "key": key, "token": token, "at": at}),
            Record::Jeopardy { key, at, remaining_ms } => {
                json!({"is": "jeopardy", "key": key, "at": at, "remaining_ms": remaining_ms})
            }
            Record::Beat { at, valid } => json!({"is": "beat", "at": at, "valid": valid}),
            Record::Gap { from, to } => json!({"is": "gap", "from": from, "to": to}),
            Record::Starved { at, ns } => json!({"is": "starved", "at": at, "ns": ns}),
            Record::Failed { key, at, what } => json!({"is": "failed", "key": key, "at": at, "what": what}),
        }
    }

    /// From a line of JSON; `None` if it is none of these.
    #[must_use]
    pub(crate) fn parse(line: &str) -> Option<Record> {
        let value: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| value.get(name)?.as_u64();
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let token = || value.get("token")?.as_i64();
        Some(match value.get("is")?.as_str()? {
            "began" => Record::Began {
                key: text("key")?,
                token: token()?,
                lease: i64::from_str_radix(&text("lease")?, 16).ok()?,
                ttl_ms: number("ttl_ms")?,
                from: number("from")?,
                to: number("to")?,
            },
            "ended" => Record::Ended {
                key: text("key")?,
                token: token()?,
                yes: number("yes")?,
                no: number("no")?,
                deadline: number("deadline")?,
                reason: text("reason")?,
            },
            "announced" => Record::Announced {
                key: text("key")?,
                token: token()?,
                at: number("at")?,
                reason: text("reason")?,
            },
            "revived" => Record::Revived {
                key: text("key")?,
                token: token()?,
                at: number("at")?,
            },
            "jeopardy" => Record::Jeopardy {
                key: text("key")?,
                at: number("at")?,
                remaining_ms: number("remaining_ms")?,
            },
            "beat" => Record::Beat {
                at: number("at")?,
                valid: number("valid")?,
            },
            "gap" => Record::Gap {
                from: number("from")?,
                to: number("to")?,
            },
            "starved" => Record::Starved {
                at: number("at")?,
                ns: number("ns")?,
            },
            "failed" => Record::Failed {
                key: text("key")?,
                at: number("at")?,
                what: text("what")?,
            },
            _ => return None,
        })
    }
}

/// A term as its holder saw it. Times are `boot_ns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which holder.
    pub holder: String,
    /// The election.
    pub key: String,
    /// The term's token: the revision at which its key was created.
    pub token: i64,
    /// As granted.
    pub ttl_ms: u64,
    /// The first yes came not after this.
    pub since: u64,
    /// The last yes came not before this.
    pub last_yes: u64,
    /// How it ended, if it did.
    pub ended: Option<Ended>,
    /// When the loss was announced.
    pub announced: Option<u64>,
    /// It said yes again after its end.
    pub revived: Option<u64>,
}

/// The end of a term as its holder saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The first no was out by this.
    pub first_no: u64,
    /// The deadline at the last yes.
    pub deadline: u64,
    /// Why.
    pub reason: String,
}

/// Everything that one holder has said so far.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Its terms, by key and token.
    pub claims: BTreeMap<(String, i64), Claim>,
    /// When renewals failed, and what was left then, in ms.
    pub jeopardies: Vec<(u64, u64)>,
    /// When it did not run.
    pub gaps: Vec<(u64, u64)>,
    /// When its library got no processor, and for how long, ns.
    pub starved: Vec<(u64, u64)>,
    /// What failed, when.
    pub failures: Vec<(u64, String)>,
    /// The last beat.
    pub beat: u64,
}

impl Said {
    /// Takes one more record of this holder in.
    pub(crate) fn hear(&mut self, holder: &str, record: Record) {
        match record {
            Record::Began { key, token, ttl_ms, from, to, lease: _ } => {
                let claim = Claim {
                    holder: holder.to_owned(),
                    key: key.clone(),
                    token,
                    ttl_ms,
                    since: to,
                    last_yes: from,
                    ended: None,
                    announced: None,
                    revived: None,
                };
                self.claims.insert((key, token), claim);
            }
            Record::Ended { key, token, yes, no, deadline, reason } => {
                if let Some(claim) = self.claims.get_mut(&(key, token)) {
                    claim.last_yes = yes;
                    claim.ended = Some(Ended { first_no: no, deadline, reason });
                }
            }
            Record::Announced { key, token, at, reason: _ } => {
                if let Some(claim) = self.claims.get_mut(&(key, token)) {
                    claim.announced = Some(at);
                }
            }
            Record::Revived { key, token, at } => {
                if let Some(claim) = self.claims.get_mut(&(key, token)) {
                    claim.revived = Some(at);
                }
            }
            Record::Jeopardy { key: _, at, remaining_ms } => self.jeopardies.push((at, remaining_ms)),
            Record::Beat { at, valid: _ } => {
                self.beat = at;
                for claim in self.claims.values_mut().filter(|claim| claim.ended.is_none()) {
                    claim.last_yes = claim.last_yes.max(at);
                }
            }
            Record::Gap { from, to } => self.gaps.push((from, to)),
            Record::Starved { at, ns } => self.starved.push((at, ns)),
            Record::Failed { key, at, what } => self.failures.push((at, format!("{key}: {what}"))),
        }
    }

    /// The holder's process has ended, as was known at `at`: whatever ran ended with it.
    pub fn fall_silent(&mut self, at: u64) {
        for claim in self.claims.values_mut().filter(|claim| claim.ended.is_none()) {
            claim.ended = Some(Ended {
                first_no: at,
                deadline: 0,
                reason: "process ended".to_owned(),
            });
        }
    }

    /// Terms that have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.claims.values().filter(|claim| claim.ended.is_none()).count()
    }
}

/// The journal of one holder, written by the thread that reads its output. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Said>>);

impl Journal {
    /// What was said so far.
    pub fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a holder's output to its end, on the calling thread; every line but the beats goes to `raw` too.
    pub fn read(&self, holder: &str, output: impl BufRead, mut raw: impl FnMut(Value)) {
        for line in output.lines().map_while(Result::ok) {
            let Some(record) = Record::parse(&line) else { continue };
            if !matches!(record, Record::Beat { .. }) {
                let mut json = record.json();
                if let Some(object) = json.as_object_mut() {
                    object.insert("holder".to_owned(), holder.into());
                }
                raw(json);
            }
            self.said().hear(holder, record);
        }
        self.said().fall_silent(Clock::boot().now().0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        let key = || "k".to_owned();
        let reason = || "expired".to_owned();
        let all = [
            Record::Began { key: key(), token: 7, lease: 255, ttl_ms: 5000, from: 1, to: 2 },
            Record::Ended { key: key(), token: 7, yes: 3, no: 4, deadline: 5, reason: reason() },
            Record::Announced { key: key(), token: 7, at: 6, reason: reason() },
            Record::Revived { key: key(), token: 7, at: 8 },
            Record::Jeopardy { key: key(), at: 9, remaining_ms: 10 },
            Record::Beat { at: 11, valid: 12 },
            Record::Gap { from: 13, to: 14 },
            Record::Starved { at: 16, ns: 17 },
            Record::Failed { key: key(), at: 15, what: "no \"etcd\"".to_owned() },
        ];
        for record in all {
            assert_eq!(Record::parse(&record.json().to_string()), Some(record));
        }
        assert_eq!(Record::parse("{\"is\":\"song\"}"), None);
    }

    #[test]
    fn a_beat_is_a_yes_of_every_term_that_runs_and_of_no_other() {
        let mut said = Said::default();
        for token in [1, 2] {
            said.hear("a", Record::Began { key: "k".to_owned(), token, lease: 1, ttl_ms: 5000, from: 10, to: 11 });
        }
        said.hear("a", Record::Ended { key: "k".to_owned(), token: 1, yes: 20, no: 21, deadline: 30, reason: "expired".to_owned() });
        said.hear("a", Record::Beat { at: 50, valid: 1 });
        let last = |token| said.claims.get(&("k".to_owned(), token)).map(|claim| claim.last_yes);
        assert_eq!((last(1), last(2)), (Some(20), Some(50)));
        assert_eq!(said.running(), 1);
    }
}
