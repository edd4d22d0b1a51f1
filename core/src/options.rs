//! What a client, a leadership and a campaign can be told; validated once, at construction (S13).
//! Owns defaults (each with its reason), units and their checks; nothing here talks to etcd.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::protocol::{Compare, check_compares_size, check_size};
use crate::tls::Tls;

/// How long a term lives without a renewal, by default: long enough to ride out an etcd leader change.
pub const DEFAULT_TTL: Duration = Duration::from_secs(5);
/// How long a call may take in all.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// By how much clock *rates* may differ between the machines involved, in parts per million (1 %).
pub const DEFAULT_DRIFT_PPM: u32 = 10_000;
/// Taken off every deadline: scheduling and the etcd server's own granularity (S2). Not optional.
pub const SAFETY_MARGIN: Duration = Duration::from_millis(100);
/// How long a winner waits when the key went without its holder's word (S15).
pub const DEFAULT_TAKEOVER_DELAY: Duration = Duration::from_millis(100);
/// How often watched keys are read again (S11), ± 20 %.
pub const DEFAULT_REREAD: Duration = Duration::from_secs(15);
/// The window of the campaign history.
pub const DEFAULT_CAMPAIGN_WINDOW: Duration = Duration::from_secs(300);
/// The longest TTL etcd takes, in seconds.
const MAX_TTL_SECS: u64 = 9_000_000_000;
/// The shortest step-down margin by default.
const MIN_STEP_DOWN: Duration = Duration::from_millis(100);

/// A lease that carries a term is renewed every TTL/5: what counts in a stall is the validity left when it begins.
pub(crate) const RENEWALS_PER_TTL: u32 = 5;
/// That of a candidate that waits every TTL/2.5: so many intervals of the other's.
pub(crate) const WAITING_INTERVALS: u32 = 2;

/// How to reach etcd and how careful to be.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientOptions {
    pub(crate) endpoints: Vec<String>,
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) tls: Option<Tls>,
    pub(crate) namespace: Vec<u8>,
    pub(crate) request_timeout: Duration,
    pub(crate) drift_ppm: u32,
    pub(crate) reread: Duration,
    pub(crate) endpoint_sync: Option<Duration>,
    pub(crate) seed: Option<u64>,
}

impl ClientOptions {
    /// Endpoints as `host:port`, `http://host:port` or `https://host:port`, one each for the members of one cluster.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> ClientOptions {
        ClientOptions {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            credentials: None,
            tls: None,
            namespace: Vec::new(),
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            drift_ppm: DEFAULT_DRIFT_PPM,
            reread: DEFAULT_REREAD,
            endpoint_sync: None,
            seed: None,
        }
    }

    /// User and password of etcd's own authentication.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Encrypts; see [`Tls`].
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Puts `prefix` in front of every key, as etcd's namespace package does.
    pub fn namespace(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.namespace = prefix.into();
        self
    }

    /// How long a call may take in all (default 2 s).
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// By how much clock rates may differ, in parts per million (default 10,000 = 1 %; at most 100,000).
    pub fn drift_ppm(mut self, ppm: u32) -> Self {
        self.drift_ppm = ppm;
        self
    }

    /// How often watched keys are read again (default 15 s ± 20 %): a bound for what a missed event can cost.
    pub fn reread_interval(mut self, interval: Duration) -> Self {
        self.reread = interval;
        self
    }

    /// Follows etcd's member list: read so often (± 10 %), and soon after a fail-over (default: not at all; 1 s to 1 day).
    /// Members that were added, or that came back at another address, are used once they answer at an address they
    /// advertise; those removed are given up. The endpoints given to [`new`](Self::new) are never forgotten.
    pub fn endpoint_sync(mut self, interval: Duration) -> Self {
        self.endpoint_sync = Some(interval);
        self
    }

    /// Fixes lease ids and jitter, for tests that must run the same twice.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.endpoints.is_empty() {
            return Err(Error::invalid("endpoints", "at least one is needed"));
        }
        for endpoint in &self.endpoints {
            check_endpoint(endpoint)?;
        }
        if let Some((user, _)) = &self.credentials
            && user.is_empty()
        {
            return Err(Error::invalid("user", "must not be empty"));
        }
        within("request_timeout", self.request_timeout, Duration::from_millis(10), Duration::from_secs(3600))?;
        within("reread_interval", self.reread, Duration::from_millis(100), Duration::from_secs(86_400))?;
        if let Some(interval) = self.endpoint_sync {
            within("endpoint_sync", interval, Duration::from_secs(1), Duration::from_secs(86_400))?;
        }
        if self.drift_ppm > 100_000 {
            return Err(Error::invalid(
                "drift",
                format!("{} parts per million; at most 100,000 (10 %)", self.drift_ppm),
            ));
        }
        Ok(())
    }
}

pub(crate) fn check_endpoint(endpoint: &str) -> Result<()> {
    let bad = |why: &str| Err(Error::invalid("endpoints", format!("{endpoint:?}: {why}")));
    let rest = match endpoint.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return bad("only http:// and https:// are known"),
        None => endpoint,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let Some((host, port)) = rest.rsplit_once(':') else {
        return bad("needs a port, as in 127.0.0.1:2379");
    };
    if host.is_empty() || host.contains(['/', ' ', '@', '?', '#']) {
        return bad("needs a host, as in 127.0.0.1:2379");
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return bad("an IPv6 address needs brackets, as in [::1]:2379");
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => bad("the port must be a number from 1 to 65535"),
    }
}

fn within(argument: &str, value: Duration, least: Duration, most: Duration) -> Result<()> {
    if value < least || value > most {
        return Err(Error::invalid(
            argument,
            format!("{value:?} is not between {least:?} and {most:?}"),
        ));
    }
    Ok(())
}

/// How one leadership behaves, whatever it campaigns with.
#[derive(Debug, Clone)]
#[must_use]
pub struct LeadershipOptions {
    pub(crate) purpose: Arc<str>,
    pub(crate) takeover_delay: Duration,
    pub(crate) step_down_margin: Option<Duration>,
    pub(crate) campaign_window: Duration,
    pub(crate) primary_watch: bool,
}

impl Default for LeadershipOptions {
    fn default() -> Self {
        LeadershipOptions {
            purpose: "".into(),
            takeover_delay: DEFAULT_TAKEOVER_DELAY,
            step_down_margin: None,
            campaign_window: DEFAULT_CAMPAIGN_WINDOW,
            primary_watch: false,
        }
    }
}

impl LeadershipOptions {
    /// What the leadership is for; appears in logs and errors.
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.purpose = purpose.into().into();
        self
    }

    /// How long a winner waits when the key went without its holder's word (default 100 ms; S15). Zero takes the
    /// risk of an overlap on an etcd leader that revokes too early; the TTL excludes it for holders of any library.
    pub fn takeover_delay(mut self, delay: Duration) -> Self {
        self.takeover_delay = delay;
        self
    }

    /// How long before the deadline `lost` is latched (default TTL/10, at least 100 ms; S9).
    pub fn step_down_margin(mut self, margin: Duration) -> Self {
        self.step_down_margin = Some(margin);
        self
    }

    /// The window of the campaign history (default 5 min).
    pub fn campaign_window(mut self, window: Duration) -> Self {
        self.campaign_window = window;
        self
    }

    /// A primary watch also ends on an overwrite.
    pub fn primary_watch(mut self, primary: bool) -> Self {
        self.primary_watch = primary;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let day = Duration::from_secs(86_400);
        within("takeover_delay", self.takeover_delay, Duration::ZERO, day)?;
        if let Some(margin) = self.step_down_margin {
            within("step_down_margin", margin, Duration::ZERO, day)?;
        }
        within("campaign_window", self.campaign_window, Duration::from_millis(1), day * 365)
    }
}

/// One campaign.
#[derive(Debug, Clone)]
#[must_use]
pub struct CampaignOptions {
    pub(crate) ttl: Duration,
    pub(crate) value: Vec<u8>,
    pub(crate) compares: Vec<Compare>,
}

impl CampaignOptions {
    /// Campaigns with this value (any bytes, also none, up to about 1.5 MiB) and the default TTL of 5 s.
    pub fn new(value: impl Into<Vec<u8>>) -> CampaignOptions {
        CampaignOptions {
            ttl: DEFAULT_TTL,
            value: value.into(),
            compares: Vec::new(),
        }
    }

    /// The TTL to ask for; rounded up to whole seconds, and etcd may raise it. Ignored with a lease set by
    /// [`set_lease`](crate::Leadership::set_lease).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// A condition that must hold in the same transaction that takes the key.
    pub fn compare(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        ttl_secs(self.ttl)?;
        // Two compares of our own, and etcd's limit of 128.
        if self.compares.len() > 126 {
            return Err(Error::invalid(
                "compares",
                format!("{} conditions; at most 126 fit beside our own", self.compares.len()),
            ));
        }
        if self.compares.iter().any(|compare| compare.key.is_empty()) {
            return Err(Error::invalid("compares", "a condition on an empty key"));
        }
        check_size("value", self.value.len())?;
        check_compares_size("compares", &self.compares)
    }
}

/// A TTL in etcd's whole seconds, rounded up.
pub(crate) fn ttl_secs(ttl: Duration) -> Result<i64> {
    let secs = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    match i64::try_from(secs) {
        Ok(secs) if secs > 0 && secs <= MAX_TTL_SECS as i64 => Ok(secs),
        _ => Err(Error::invalid(
            "ttl",
            format!("{ttl:?} is not above 0 and at most {MAX_TTL_SECS} s"),
        )),
    }
}

/// What a granted TTL comes to on our side of the clock drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) drift_ppm: u32,
}

impl Validity {
    /// `TTL·(1−drift) − margin`: what a confirmed renewal adds to its send time (S2).
    pub(crate) fn of(self, ttl: Duration) -> Duration {
        let keep = u128::from(1_000_000 - self.drift_ppm.min(1_000_000));
        let nanos = ttl.as_nanos().saturating_mul(keep) / 1_000_000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).saturating_sub(SAFETY_MARGIN)
    }
}

/// The margins of one term, checked against a TTL: `2 × renewal interval + step_down_margin < TTL·(1 − drift) − margin`.
/// Checked with the requested TTL at the call and again with the granted one.
pub(crate) fn step_down_margin(chosen: Option<Duration>, ttl: Duration, validity: Validity) -> Result<Duration> {
    let margin = chosen.unwrap_or_else(|| (ttl / 10).max(MIN_STEP_DOWN));
    let needed = 2 * (ttl / RENEWALS_PER_TTL) + margin;
    if needed >= validity.of(ttl) {
        return Err(Error::invalid(
            "step_down_margin",
            format!(
                "{margin:?} does not fit a TTL of {ttl:?}: 2 × renewal interval + step_down_margin = {needed:?} \
                 must be below TTL·(1 − drift) − {SAFETY_MARGIN:?} = {:?}",
                validity.of(ttl)
            ),
        ));
    }
    Ok(margin)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn argument(result: Result<impl std::fmt::Debug>) -> String {
        match result {
            Err(Error::InvalidArgument { argument, .. }) => argument,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn s13_endpoints_are_checked_by_name() {
        for good in ["127.0.0.1:2379", "http://h:1", "https://etcd-0.etcd:2379/", "[::1]:2379"] {
            ClientOptions::new([good]).validate().unwrap();
        }
        for bad in ["", "h", "h:", ":1", "h:0", "h:65536", "ftp://h:1", "h:x", "a b:1", "::1:2379", "http://u@h:1"] {
            assert_eq!(argument(ClientOptions::new([bad]).validate()), "endpoints", "{bad}");
        }
        assert_eq!(argument(ClientOptions::new([""; 0]).validate()), "endpoints");
    }

    #[test]
    fn s13_ttls_and_margins_are_checked_by_name() {
        assert_eq!(argument(ttl_secs(Duration::ZERO)), "ttl");
        assert_eq!(argument(ttl_secs(Duration::from_secs(9_000_000_001))), "ttl");
        assert_eq!(ttl_secs(Duration::from_millis(1)).unwrap(), 1);
        assert_eq!(ttl_secs(Duration::from_millis(5000)).unwrap(), 5);
        let validity = Validity { drift_ppm: 10_000 };
        let five = Duration::from_secs(5);
        assert_eq!(validity.of(five), Duration::from_millis(4850));
        assert_eq!(step_down_margin(None, five, validity).unwrap(), Duration::from_millis(500));
        assert_eq!(argument(step_down_margin(Some(Duration::from_secs(3)), five, validity)), "step_down_margin");
        step_down_margin(None, Duration::from_secs(1), validity).unwrap();
        let options = || ClientOptions::new(["h:1"]);
        assert_eq!(argument(options().drift_ppm(100_001).validate()), "drift");
        assert_eq!(argument(options().request_timeout(Duration::ZERO).validate()), "request_timeout");
        assert_eq!(argument(options().endpoint_sync(Duration::from_millis(999)).validate()), "endpoint_sync");
        assert_eq!(argument(options().credentials("", "x").validate()), "user");
    }
}
