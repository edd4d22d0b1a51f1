//! One member of the cluster: its name, its connection, its token.
//! Owns building the connection and the metadata of a request; where a call goes is decided in `calls`.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint as TonicEndpoint;
use tonic::{Request, metadata::Ascii};

use super::dial::Dial;
use super::wire::{Wire, boxed};
use crate::error::{Error, Result};
use crate::options::{ClientOptions, check_endpoint};
use crate::tls::Certificates;

/// Without it a dropped SYN hangs the channel and all that is queued on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// … with TLS, which takes two more round trips.
const TLS_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// etcd answers pings that come more often than every 5 s with GOAWAY.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that can be made later, inside the runtime that will drive it. Making it is checked without I/O.
pub(crate) enum Plan {
    Connect { name: String, endpoint: Box<TonicEndpoint>, dial: Option<Dial> },
    Ready { name: String, wire: Wire },
}

/// How endpoints are connected to.
#[derive(Clone)]
pub(crate) struct Dialer {
    certificates: Option<Arc<Certificates>>,
    /// Every endpoint is encrypted, whatever it is called.
    always: bool,
    /// Endpoints that the member list may name: never in the clear where all configured ones are encrypted, nor the
    /// other way round, for which nobody gave an authority.
    clear: bool,
    encrypted: bool,
}

impl Dialer {
    /// Reads and checks certificates; nothing is sent.
    pub(crate) fn of(options: &ClientOptions) -> Result<Dialer> {
        let always = options.tls.is_some();
        let encrypted = always || options.endpoints.iter().any(|name| is_https(name));
        let tls = options.tls.clone().unwrap_or_default();
        Ok(Dialer {
            certificates: if encrypted { Some(Certificates::load(&tls)?) } else { None },
            always,
            clear: !encrypted,
            encrypted,
        })
    }

    pub(crate) fn plans(&self, options: &ClientOptions) -> Result<Vec<Plan>> {
        options.endpoints.iter().map(|name| self.plan(name)).collect()
    }

    /// May an endpoint of etcd's member list be used?
    pub(crate) fn takes(&self, url: &str) -> bool {
        let usable = if is_https(url) { self.encrypted } else { url.starts_with("http://") && self.clear };
        usable && check_endpoint(url).is_ok()
    }

    pub(crate) fn plan(&self, name: &str) -> Result<Plan> {
        let host = address(name);
        let certificates = self.certificates.as_ref().filter(|_| self.always || is_https(name));
        // The scheme says how to connect, and that the channel is not to do by itself.
        let bad = |error: &dyn std::fmt::Display| Error::invalid("endpoints", format!("{name:?}: {error}"));
        let mut endpoint = TonicEndpoint::from_shared(format!("http://{host}"))
            .map_err(|error| bad(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        let mut dial = None;
        if let Some(certificates) = certificates {
            dial = Some(Dial::new(host, certificates.clone())?);
            let origin = format!("https://{host}").parse::<http::Uri>().map_err(|error| bad(&error))?;
            endpoint = endpoint.connect_timeout(TLS_CONNECT_TIMEOUT).origin(origin);
        }
        Ok(Plan::Connect {
            name: host.to_owned(),
            endpoint: Box::new(endpoint),
            dial,
        })
    }
}

fn is_https(url: &str) -> bool {
    url.starts_with("https://")
}

/// `host:port` of an endpoint's URL, or of what was given as such.
pub(crate) fn address(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, host)| host).trim_end_matches('/')
}

/// The token of a user on one member: etcd forgets it there when it was long not used there.
#[derive(Debug, Clone, Default)]
pub(crate) enum Token {
    #[default]
    Unknown,
    /// No credentials, or a cluster without authentication.
    NotNeeded,
    Held(MetadataValue<Ascii>),
}

/// One member. A connection of its own, so that the client decides where a call goes.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) wire: Wire,
    pub(crate) token: RefCell<Token>,
    /// The member that answered here last, by etcd's id; 0 = none yet.
    pub(crate) member: Cell<u64>,
    /// Named by the user: never given up.
    pub(crate) configured: bool,
    /// Given up: nothing new is sent to it.
    pub(crate) gone: Cell<bool>,
}

impl Endpoint {
    /// Must be called inside the runtime that will drive the connection. Connecting itself waits for the first call.
    pub(crate) fn open(plan: Plan) -> Endpoint {
        let (name, wire) = match plan {
            Plan::Connect { name, endpoint, dial: None } => (name, boxed(endpoint.connect_lazy())),
            Plan::Connect { name, endpoint, dial: Some(dial) } => (name, boxed(endpoint.connect_with_connector_lazy(dial))),
            Plan::Ready { name, wire } => (name, wire),
        };
        Endpoint {
            name,
            wire,
            token: RefCell::default(),
            member: Cell::new(0),
            configured: true,
            gone: Cell::new(false),
        }
    }

    /// The same as one from etcd's member list.
    pub(crate) fn discovered(self) -> Endpoint {
        Endpoint {
            configured: false,
            ..self
        }
    }

    /// One that is never spoken to.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str) -> Endpoint {
        let nobody = tower::service_fn(|_| std::future::pending::<std::result::Result<http::Response<tonic::body::Body>, tonic::Status>>());
        Endpoint::open(Plan::Ready {
            name: name.to_owned(),
            wire: boxed(nobody),
        })
    }

    /// A request with this member's token, asking for a member that knows a leader.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Token::Held(token) = &*self.token.borrow() {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}
