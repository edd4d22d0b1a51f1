//! One member of the cluster: its name, its connection, its token.
//! Owns building the connection and the metadata of a request; where a call goes is decided in `calls`.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint as TonicEndpoint, Identity};
use tonic::{Request, metadata::Ascii};

use super::wire::{Wire, boxed};
use crate::error::{Error, Result};
use crate::options::{ClientOptions, Tls, check_endpoint};

/// Without it a dropped SYN hangs the channel and all that is queued on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// etcd answers pings that come more often than every 5 s with GOAWAY.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that can be made later, inside the runtime that will drive it. Making it is checked without I/O.
pub(crate) enum Plan {
    Connect { name: String, endpoint: Box<TonicEndpoint> },
    Ready { name: String, wire: Wire },
}

/// How endpoints are connected to.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: Option<Tls>,
    /// Endpoints that the member list may name: never in the clear where all configured ones are encrypted, nor the
    /// other way round, for which nobody gave an authority.
    clear: bool,
    encrypted: bool,
}

impl Dialer {
    /// Checks what there is to check without I/O.
    pub(crate) fn of(options: &ClientOptions) -> Dialer {
        let secure = |name: &String| options.tls.is_some() || is_https(name);
        Dialer {
            tls: options.tls.clone(),
            clear: !options.endpoints.iter().any(secure),
            encrypted: options.endpoints.iter().any(secure),
        }
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
        plan(name, self.tls.as_ref())
    }
}

fn is_https(url: &str) -> bool {
    url.starts_with("https://")
}

/// `host:port` of an endpoint's URL, or of what was given as such.
pub(crate) fn address(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, host)| host).trim_end_matches('/')
}

fn plan(name: &str, tls: Option<&Tls>) -> Result<Plan> {
    let host = address(name);
    let secure = tls.is_some() || is_https(name);
    let uri = format!("{}://{host}", if secure { "https" } else { "http" });
    let bad = |argument: &str, error: &dyn std::fmt::Display| Error::invalid(argument, format!("{name:?}: {error}"));
    let mut endpoint = TonicEndpoint::from_shared(uri)
        .map_err(|error| bad("endpoints", &error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    if secure {
        let mut config = ClientTlsConfig::new();
        let tls = tls.cloned().unwrap_or_default();
        config = match tls.ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
            None => config.with_native_roots(),
        };
        if let Some((cert, key)) = tls.identity {
            config = config.identity(Identity::from_pem(cert, key));
        }
        endpoint = endpoint.tls_config(config).map_err(|error| bad("tls", &error))?;
    }
    Ok(Plan::Connect {
        name: host.to_owned(),
        endpoint: Box::new(endpoint),
    })
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
            Plan::Connect { name, endpoint } => (name, boxed(endpoint.connect_lazy())),
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
