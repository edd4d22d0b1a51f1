//! From flags and environment to a client of etcd.
//! Owns which flag is which setting; what the environment adds, and checking it, is the core's.

use std::time::Duration;

use leadership_core::{Client, Error, Settings, Tls};

use crate::args::Global;
use crate::failure::Failure;

/// How long a command waits for a member that answers and knows a leader.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Every setting, with its source resolved.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) settings: Settings,
    pub(crate) user: Option<(String, String)>,
}

impl Connection {
    pub(crate) fn of(global: &Global) -> Result<Connection, Failure> {
        let given = Settings {
            endpoints: global.endpoints.clone(),
            user: global.user.clone(),
            password: None,
            ca: global.cacert.clone(),
            cert: global.cert.clone(),
            key: global.cert_key.clone(),
        };
        let file = global.file.clone().unwrap_or_default();
        let settings = given.or(Settings::environment()).or(file).or_environment();
        if settings.cert.is_some() != settings.key.is_some() {
            return Err(Failure::Usage("--cert and --key go together".to_owned()));
        }
        let user = settings.credentials()?;
        Ok(Connection { settings, user })
    }

    /// To a server of our own: plain, and open to everybody.
    pub(crate) fn to(endpoint: String) -> Connection {
        Connection {
            settings: Settings {
                endpoints: vec![endpoint],
                ..Settings::default()
            },
            user: None,
        }
    }

    /// The certificates' files, if any; `None` without a word about TLS.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        Ok(self.settings.tls()?)
    }

    /// A client; nothing is sent yet.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::with_options(self.settings.options()?)?)
    }
}

/// Waits until etcd answers. Cancel-safe.
pub(crate) async fn ready(client: &Client, connection: &Connection) -> Result<(), Failure> {
    client.ready(CONNECT_TIMEOUT).await.map_err(|error| match error {
        Error::Unavailable { message } | Error::Timeout { message } => {
            Failure::Connect(format!("{}: {message}", connection.settings.endpoints.join(",")))
        }
        error => error.into(),
    })
}
