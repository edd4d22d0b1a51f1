//! From flags and environment to a client of etcd.
//! Owns where each setting comes from; checking it is the core's.

use std::time::Duration;

use leadership_core::{Client, ClientOptions, Error, Tls};

use crate::args::Global;
use crate::failure::Failure;

/// How long a command waits for a member that answers and knows a leader.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Every setting, with its source resolved.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) endpoints: Vec<String>,
    pub(crate) user: Option<(String, String)>,
    pub(crate) cacert: Option<String>,
    pub(crate) identity: Option<(String, String)>,
}

/// The first that is set and not empty.
fn from(flag: Option<&String>, environment: [&str; 2]) -> Option<String> {
    flag.cloned()
        .or_else(|| environment.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty())))
}

impl Connection {
    pub(crate) fn of(global: &Global) -> Result<Connection, Failure> {
        let mut endpoints = global.endpoints.clone();
        if endpoints.is_empty() {
            let text = from(None, ["LEADERSHIP_ENDPOINTS", "ETCDCTL_ENDPOINTS"]);
            let text = text.unwrap_or_else(|| "127.0.0.1:2379".to_owned());
            endpoints = text.split(',').map(|part| part.trim().to_owned()).collect();
        }
        let user = match from(global.user.as_ref(), ["LEADERSHIP_USER", "ETCDCTL_USER"]) {
            None => None,
            Some(user) => Some(match user.split_once(':') {
                Some((name, password)) => (name.to_owned(), password.to_owned()),
                None => {
                    let password = from(None, ["LEADERSHIP_PASSWORD", "ETCDCTL_PASSWORD"]);
                    let missing = || Failure::Usage("user: no password; NAME:PASSWORD or LEADERSHIP_PASSWORD".to_owned());
                    (user, password.ok_or_else(missing)?)
                }
            }),
        };
        let cert = from(global.cert.as_ref(), ["LEADERSHIP_TLS_CERT", "ETCDCTL_CERT"]);
        let key = from(global.cert_key.as_ref(), ["LEADERSHIP_TLS_KEY", "ETCDCTL_KEY"]);
        let identity = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert, key)),
            _ => return Err(Failure::Usage("--cert and --key go together".to_owned())),
        };
        Ok(Connection {
            endpoints,
            user,
            cacert: from(global.cacert.as_ref(), ["LEADERSHIP_TLS_CA", "ETCDCTL_CACERT"]),
            identity,
        })
    }

    /// The certificates, if any; `None` without a word about TLS.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        let wanted = self.cacert.is_some()
            || self.identity.is_some()
            || self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        if !wanted {
            return Ok(None);
        }
        Ok(Some(Tls {
            ca: self.cacert.as_deref().map(read).transpose()?,
            identity: match &self.identity {
                Some((cert, key)) => Some((read(cert)?, read(key)?)),
                None => None,
            },
        }))
    }

    /// A client; nothing is sent yet.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let mut options = ClientOptions::new(self.endpoints.clone());
        if let Some((name, password)) = &self.user {
            options = options.credentials(name.clone(), password.clone());
        }
        if let Some(tls) = self.tls()? {
            options = options.tls(tls);
        }
        Ok(Client::with_options(options)?)
    }
}

/// Waits until etcd answers. Cancel-safe.
pub(crate) async fn ready(client: &Client, connection: &Connection) -> Result<(), Failure> {
    client.ready(CONNECT_TIMEOUT).await.map_err(|error| match error {
        Error::Unavailable { message } | Error::Timeout { message } => {
            Failure::Connect(format!("{}: {message}", connection.endpoints.join(",")))
        }
        error => error.into(),
    })
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))
}
