//! Owns the list of faults a test has switched on, and what befalls each call. The handle is shared with the test.
//! Leaves single calls to `call`, streams to `stream`, parked requests to `held`.

mod call;
mod held;
mod stream;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use etcd_client::proto::PbLeaseKeepAliveResponse;
use tonic::{ConnectError, Status};

use crate::wire::{BoxError, Wire};

pub use held::Held;
pub use target::{Method, Target};

use stream::Control;

/// How a reply is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The connection breaks: the client gets `Unknown "transport error"` with a source.
    Error,
    /// Nothing ever comes.
    Never,
}

/// What befalls a call.
#[derive(Clone)]
enum Action {
    /// The connection is refused: never sent.
    Refuse,
    /// Answered with this status by the far side, nothing applied.
    Answer(Status),
    Hang,
    DropReply(Lost),
    Hold(Held),
    HoldReply(Held),
    Delay(Duration),
}

struct Rule {
    target: Target,
    /// Calls still to let pass before the first one that is hit.
    skip: u64,
    /// Calls still to be hit.
    left: u64,
    action: Action,
}

/// A hook that changes a renewal's reply on its way to the client.
type KeepaliveMap = Arc<dyn Fn(&mut PbLeaseKeepAliveResponse) + Send + Sync>;

#[derive(Default)]
struct Inner {
    rules: Vec<Rule>,
    streams: Vec<Weak<Control>>,
    map_keepalive: Option<KeepaliveMap>,
    hold_keepalive_replies: bool,
    hold_keepalives: bool,
    down: bool,
    calls: BTreeMap<Method, u64>,
}

/// The faults between a client and a server: a handle, cheap to clone, all clones the same. Faults that concern calls
/// hit those made afterwards; those that concern streams hit the open ones. Nothing here sleeps or needs real time.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("rules", &self.lock().rules.len())
            .finish_non_exhaustive()
    }
}

/// For ever, until `heal`.
const ALWAYS: u64 = u64::MAX;

impl Faults {
    /// No faults yet.
    #[must_use]
    pub fn new() -> Self {
        Faults::default()
    }

    /// Puts these faults between a client and `wire`. Works over a service in process and over a channel alike.
    #[must_use]
    pub fn wrap(&self, wire: Wire) -> Wire {
        Wire::new(call::Faulty::new(wire, self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self, target: impl Into<Target>, skip: u64, left: u64, action: Action) {
        self.lock().rules.push(Rule {
            target: target.into(),
            skip,
            left,
            action,
        });
    }

    /// Refuses the next `count` calls as a dead port does: `Unavailable`, a `tonic::ConnectError` in the chain of
    /// sources, nothing sent.
    pub fn refuse(&self, target: impl Into<Target>, count: u64) {
        self.rule(target, 0, count, Action::Refuse);
    }

    /// Answers the next `count` calls with this status, as etcd would (no source); nothing is applied.
    pub fn answer(&self, target: impl Into<Target>, count: u64, status: Status) {
        self.rule(target, 0, count, Action::Answer(status));
    }

    /// Swallows calls from now on: they reach nobody and never return. `heal` ends it for later calls.
    pub fn hang(&self, target: impl Into<Target>) {
        self.rule(target, 0, ALWAYS, Action::Hang);
    }

    /// Lets the `nth` call from now on (1 = the next) be applied and loses its reply.
    pub fn drop_reply(&self, target: impl Into<Target>, nth: u64, lost: Lost) {
        self.rule(target, nth.saturating_sub(1), 1, Action::DropReply(lost));
    }

    /// Lets the next `count` calls be applied and loses their replies.
    pub fn drop_replies(&self, target: impl Into<Target>, count: u64, lost: Lost) {
        self.rule(target, 0, count, Action::DropReply(lost));
    }

    /// Parks the `nth` call from now on *before* it reaches the server. It is delivered when the handle releases it,
    /// even if the client has gone away meanwhile.
    pub fn hold(&self, target: impl Into<Target>, nth: u64) -> Held {
        let held = Held::new();
        self.rule(target, nth.saturating_sub(1), 1, Action::Hold(held.clone()));
        held
    }

    /// Lets the `nth` call from now on be applied and parks its reply until the handle releases it.
    pub fn hold_reply(&self, target: impl Into<Target>, nth: u64) -> Held {
        let held = Held::new();
        self.rule(
            target,
            nth.saturating_sub(1),
            1,
            Action::HoldReply(held.clone()),
        );
        held
    }

    /// Delays calls on their way to the server, from now on.
    pub fn delay(&self, target: impl Into<Target>, delay: Duration) {
        self.rule(target, 0, ALWAYS, Action::Delay(delay));
    }

    /// Breaks the open streams of this kind (`Method::Any`: all): both sides see an error that has a source.
    pub fn break_streams(&self, method: Method) {
        self.controls(method, Control::break_off);
    }

    /// Silences the open streams of this kind: no message passes any more, in neither direction, and no error.
    pub fn silence_streams(&self, method: Method) {
        self.controls(method, Control::silence);
    }

    /// Holds back the replies on keepalive streams, open and later ones; the renewals are done.
    pub fn hold_keepalive_replies(&self) {
        self.lock().hold_keepalive_replies = true;
        self.controls(Method::LeaseKeepAlive, |control| control.hold_replies(true));
    }

    /// Delivers the replies held back, in order, and holds no more.
    pub fn release_keepalive_replies(&self) {
        self.lock().hold_keepalive_replies = false;
        self.controls(Method::LeaseKeepAlive, |control| {
            control.hold_replies(false)
        });
    }

    /// Holds back renewals before they reach the server, on open and later streams.
    pub fn hold_keepalives(&self) {
        self.lock().hold_keepalives = true;
        self.controls(Method::LeaseKeepAlive, |control| {
            control.hold_requests(true)
        });
    }

    /// Delivers the renewals held back, in order, and holds no more.
    pub fn release_keepalives(&self) {
        self.lock().hold_keepalives = false;
        self.controls(Method::LeaseKeepAlive, |control| {
            control.hold_requests(false)
        });
    }

    /// Changes every renewal's reply on its way to the client (an old raft term, a TTL of 0), on all streams.
    pub fn map_keepalive(
        &self,
        map: impl Fn(&mut PbLeaseKeepAliveResponse) + Send + Sync + 'static,
    ) {
        self.lock().map_keepalive = Some(Arc::new(map));
    }

    /// Ends all faults that concern calls, delays and the keepalive hook, and delivers what is held on streams.
    /// What hangs goes on hanging, what is parked waits for its handle, and a silenced stream stays silent.
    pub fn heal(&self) {
        {
            let mut inner = self.lock();
            inner.rules.clear();
            inner.map_keepalive = None;
        }
        self.release_keepalive_replies();
        self.release_keepalives();
    }

    /// How many calls of this kind have come by (`Method::Any`: all), hit by a fault or not. A stream counts once.
    #[must_use]
    pub fn calls(&self, method: Method) -> u64 {
        let inner = self.lock();
        match method {
            Method::Any => inner.calls.values().sum(),
            one => inner.calls.get(&one).copied().unwrap_or(0),
        }
    }

    /// Whether the far side is gone: every call is refused, every stream broken.
    pub(crate) fn set_down(&self, down: bool) {
        self.lock().down = down;
        if down {
            self.break_streams(Method::Any);
        }
    }

    fn controls(&self, method: Method, apply: impl Fn(&Control)) {
        let streams: Vec<Arc<Control>> = {
            let mut inner = self.lock();
            inner.streams.retain(|stream| stream.strong_count() > 0);
            inner.streams.iter().filter_map(Weak::upgrade).collect()
        };
        streams
            .iter()
            .filter(|control| method == Method::Any || control.method == method)
            .for_each(|control| apply(control));
    }

    /// What befalls this call. `message` is its request, framed as gRPC does; empty for streams.
    fn meet(&self, method: Method, message: &[u8]) -> Vec<Action> {
        let mut inner = self.lock();
        *inner.calls.entry(method).or_default() += 1;
        if inner.down {
            return vec![Action::Refuse];
        }
        let mut actions = Vec::new();
        for rule in &mut inner.rules {
            if rule.left == 0 || !rule.target.hits(method, message) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.left != ALWAYS {
                rule.left -= 1;
            }
            actions.push(rule.action.clone());
        }
        inner.rules.retain(|rule| rule.left > 0);
        actions
    }

    fn open(&self, method: Method) -> Arc<Control> {
        let mut inner = self.lock();
        let keepalive = method == Method::LeaseKeepAlive;
        let control = Control::new(
            method,
            keepalive && inner.hold_keepalive_replies,
            keepalive && inner.hold_keepalives,
        );
        inner.streams.push(Arc::downgrade(&control));
        control
    }

    fn keepalive_map(&self) -> Option<KeepaliveMap> {
        self.lock().map_keepalive.clone()
    }
}

/// An error with a source, as those of a real connection have: `source` tells a client whose side it came from.
#[derive(Debug)]
struct Broken {
    text: &'static str,
    source: std::io::Error,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl Error for Broken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

fn broken(text: &'static str) -> BoxError {
    Box::new(Broken {
        text,
        source: std::io::Error::from(std::io::ErrorKind::ConnectionReset),
    })
}

/// What a client sees of a dead port.
fn refused() -> BoxError {
    Box::new(ConnectError(Box::new(std::io::Error::from(
        std::io::ErrorKind::ConnectionRefused,
    ))))
}
