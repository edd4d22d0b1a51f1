//! An event of an election: what `--json` prints as one line.
//! Owns the names and their order; how people see it is `output`'s.

use std::time::Duration;

use jiff::Timestamp;
use leadership_core::{Clock, Leader, Reason, TermHandle};

/// One event. Fields that do not apply are absent.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) token: Option<i64>,
    pub(crate) lease: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) remaining: Option<Duration>,
    /// Of `stopped`: what made it stop, if not its user. Of a refused write: etcd's or the term's words.
    pub(crate) error: Option<String>,
    /// How many stand beside the leader.
    pub(crate) candidates: Option<usize>,
    /// Of a participant: higher is preferred.
    pub(crate) priority: Option<i64>,
    /// Nobody may lead.
    pub(crate) paused: Option<bool>,
    /// Of `run`'s `started`: the command's process id.
    pub(crate) pid: Option<i32>,
    /// Of `run`'s `exited` and `stopped`: the exit code.
    pub(crate) code: Option<u8>,
    /// Of `run`'s `stopped`: who made it end.
    pub(crate) by: Option<&'static str>,
    /// Of a demo's write: the revision at which etcd applied it.
    pub(crate) revision: Option<i64>,
    /// Of the test server: where it listens.
    pub(crate) endpoint: Option<String>,
    pub(crate) time: Timestamp,
    pub(crate) boot_ns: u64,
}

impl Event {
    /// An event of now.
    pub(crate) fn new(name: &'static str) -> Event {
        Event {
            name,
            key: None,
            value: None,
            token: None,
            lease: None,
            reason: None,
            remaining: None,
            error: None,
            candidates: None,
            priority: None,
            paused: None,
            pid: None,
            code: None,
            by: None,
            revision: None,
            endpoint: None,
            boot_ns: Clock::boot().now().0,
            time: Timestamp::now(),
        }
    }

    /// An event of an election.
    pub(crate) fn of(name: &'static str, key: &str) -> Event {
        Event {
            key: Some(key.to_owned()),
            ..Event::new(name)
        }
    }

    /// An event of a term of our own.
    pub(crate) fn term(name: &'static str, term: &TermHandle) -> Event {
        Event {
            value: Some(text(term.value())),
            token: Some(term.token()),
            lease: Some(term.lease_id()),
            ..Event::of(name, &text(term.key()))
        }
    }

    /// The end of a term of our own.
    pub(crate) fn lost(term: &TermHandle, reason: Reason) -> Event {
        Event {
            reason: Some(reason.name().to_owned()),
            ..Event::term("lost", term)
        }
    }

    /// An election as it is now: led, or vacant.
    pub(crate) fn election(key: &str, leader: Option<&Leader>) -> Event {
        leader.map_or_else(|| Event::of("vacant", key), |leader| Event::leader(key, leader))
    }

    /// Somebody else leads.
    pub(crate) fn leader(key: &str, leader: &Leader) -> Event {
        Event {
            value: Some(text(&leader.value)),
            token: leader.token,
            lease: (leader.lease != 0).then_some(leader.lease),
            ..Event::of("leader", key)
        }
    }

    /// One line of JSON, without the line's end.
    pub(crate) fn json(&self) -> String {
        let mut line = format!("{{\"event\":\"{}\"", self.name);
        let mut field = |name: &str, value: Option<serde_json::Value>| {
            if let Some(value) = value {
                line.push_str(&format!(",\"{name}\":{value}"));
            }
        };
        let text = |text: &Option<String>| text.clone().map(serde_json::Value::from);
        field("endpoint", text(&self.endpoint));
        field("key", text(&self.key));
        field("value", text(&self.value));
        field("token", self.token.map(Into::into));
        field("lease", self.lease.map(|lease| format!("{lease:x}").into()));
        field("reason", text(&self.reason));
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        field("remaining_ms", self.remaining.map(|span| millis(span).into()));
        field("candidates", self.candidates.map(Into::into));
        field("priority", self.priority.map(Into::into));
        field("paused", self.paused.map(Into::into));
        field("pid", self.pid.map(Into::into));
        field("code", self.code.map(Into::into));
        field("by", self.by.map(Into::into));
        field("revision", self.revision.map(Into::into));
        field("error", text(&self.error));
        field("time", Some(format!("{:.9}", self.time).into()));
        field("boot_ns", Some(self.boot_ns.into()));
        line.push('}');
        line
    }
}

/// Bytes as text: UTF-8 where it is, escaped where it is not.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test's way to fail
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_names_in_order_and_leaves_out_what_does_not_apply() {
        let event = Event {
            value: Some("a \"b\"\n".to_owned()),
            token: Some(7),
            lease: Some(0x1a2b),
            reason: Some("resigned".to_owned()),
            remaining: Some(Duration::from_micros(1_500_900)),
            time: "2026-01-02T03:04:05.000000006Z".parse().unwrap(),
            boot_ns: 9,
            ..Event::of("lost", "k")
        };
        assert_eq!(
            event.json(),
            r#"{"event":"lost","key":"k","value":"a \"b\"\n","token":7,"lease":"1a2b","reason":"resigned","remaining_ms":1500,"time":"2026-01-02T03:04:05.000000006Z","boot_ns":9}"#
        );
        let parsed: serde_json::Value = serde_json::from_str(&Event::new("stopped").json()).unwrap();
        let names: Vec<_> = parsed.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["boot_ns", "event", "time"]);
    }
}
