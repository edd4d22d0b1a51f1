//! Where etcd is and how to reach it, as people write it: in arguments, in the environment, in files.
//! Owns the names of the variables and what goes before what; limits are checked by `options`.

use std::path::Path;

use crate::error::{Error, Result};
use crate::options::ClientOptions;
use crate::tls::{Pem, Tls};

/// Where etcd is when nobody says so.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";

/// What may be said in text. What is missing is taken from the environment; the first of a pair goes first:
///
/// | field | variables |
/// | --- | --- |
/// | `endpoints` | `LEADERSHIP_ENDPOINTS`, `ETCDCTL_ENDPOINTS`; else 127.0.0.1:2379 |
/// | `user` | `LEADERSHIP_USER`, `ETCDCTL_USER` |
/// | `password` | `LEADERSHIP_PASSWORD`, `ETCDCTL_PASSWORD` |
/// | `ca` | `LEADERSHIP_TLS_CA`, `ETCDCTL_CACERT` |
/// | `cert` | `LEADERSHIP_TLS_CERT`, `ETCDCTL_CERT` |
/// | `key` | `LEADERSHIP_TLS_KEY`, `ETCDCTL_KEY` |
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Members of one cluster, as [`ClientOptions::new`] takes them; none: from the environment.
    pub endpoints: Vec<String>,
    /// `name` or `name:password`.
    pub user: Option<String>,
    /// Of `user`, if that holds none.
    pub password: Option<String>,
    /// A file with the authorities to trust, PEM.
    pub ca: Option<String>,
    /// A file with our certificate, PEM.
    pub cert: Option<String>,
    /// A file with its private key, PEM.
    pub key: Option<String>,
}

impl Settings {
    /// What is missing here, from this process's environment, and then the default endpoint. An empty variable counts as
    /// none.
    #[must_use]
    pub fn or_environment(self) -> Settings {
        self.or(Settings::environment()).or_local()
    }

    /// The default endpoint if there is none.
    fn or_local(mut self) -> Settings {
        if self.endpoints.is_empty() {
            self.endpoints.push(DEFAULT_ENDPOINT.to_owned());
        }
        self
    }

    /// What this process's environment says, and nothing else.
    #[must_use]
    pub fn environment() -> Settings {
        Settings::of_variables(|name| std::env::var(name).ok())
    }

    /// What is missing here, from `other`.
    #[must_use]
    pub fn or(self, other: Settings) -> Settings {
        Settings {
            endpoints: if self.endpoints.is_empty() { other.endpoints } else { self.endpoints },
            user: self.user.or(other.user),
            password: self.password.or(other.password),
            ca: self.ca.or(other.ca),
            cert: self.cert.or(other.cert),
            key: self.key.or(other.key),
        }
    }

    fn of_variables(variable: impl Fn(&str) -> Option<String>) -> Settings {
        let from = |names: [&str; 2]| names.into_iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        let endpoints = from(["LEADERSHIP_ENDPOINTS", "ETCDCTL_ENDPOINTS"]);
        Settings {
            endpoints: endpoints.map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()).unwrap_or_default(),
            user: from(["LEADERSHIP_USER", "ETCDCTL_USER"]),
            password: from(["LEADERSHIP_PASSWORD", "ETCDCTL_PASSWORD"]),
            ca: from(["LEADERSHIP_TLS_CA", "ETCDCTL_CACERT"]),
            cert: from(["LEADERSHIP_TLS_CERT", "ETCDCTL_CERT"]),
            key: from(["LEADERSHIP_TLS_KEY", "ETCDCTL_KEY"]),
        }
    }

    /// Name and password, if there is a user.
    ///
    /// # Errors
    /// `InvalidArgument` (`user`) without a password.
    pub fn credentials(&self) -> Result<Option<(String, String)>> {
        let Some(user) = &self.user else { return Ok(None) };
        if let Some((name, password)) = user.split_once(':') {
            return Ok(Some((name.to_owned(), password.to_owned())));
        }
        match &self.password {
            Some(password) => Ok(Some((user.clone(), password.clone()))),
            None => Err(Error::invalid("user", "no password; NAME:PASSWORD or LEADERSHIP_PASSWORD")),
        }
    }

    /// The certificates' files; `None` without a word about TLS.
    ///
    /// # Errors
    /// `InvalidArgument`: a certificate without its key, or the other way round.
    pub fn tls(&self) -> Result<Option<Tls>> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((file(cert), file(key))),
            (None, None) => None,
            (Some(_), None) => return Err(Error::invalid("tls_cert", "needs its key too")),
            (None, Some(_)) => return Err(Error::invalid("tls_key", "needs its certificate too")),
        };
        let ca = self.ca.as_deref().map(file);
        let encrypted = self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        let wanted = ca.is_some() || identity.is_some() || encrypted;
        Ok(wanted.then_some(Tls { ca, identity }))
    }

    /// Options of a client, everything else at its default. Files are read when the client is made.
    ///
    /// # Errors
    /// As [`credentials`](Self::credentials) and [`tls`](Self::tls).
    pub fn options(&self) -> Result<ClientOptions> {
        let mut options = ClientOptions::new(self.endpoints.clone());
        if let Some((user, password)) = self.credentials()? {
            options = options.credentials(user, password);
        }
        if let Some(tls) = self.tls()? {
            options = options.tls(tls);
        }
        Ok(options)
    }
}

fn file(path: &str) -> Pem {
    Path::new(path).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a failed assertion is what a test is for
mod tests {
    use super::*;

    fn of(given: Settings, environment: &[(&str, &str)]) -> Settings {
        let variable = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        given.or(Settings::of_variables(variable)).or_local()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn what_is_given_goes_before_the_environment_and_our_names_before_etcdctls() {
        let both = [
            ("LEADERSHIP_ENDPOINTS", "a:1, b:2"),
            ("ETCDCTL_ENDPOINTS", "c:3"),
            ("LEADERSHIP_USER", ""),
            ("ETCDCTL_USER", "root"),
            ("LEADERSHIP_PASSWORD", "ours"),
            ("ETCDCTL_PASSWORD", "theirs"),
        ];
        let found = of(Settings::default(), &both);
        assert_eq!(found.endpoints, ["a:1", "b:2"]);
        assert_eq!(found.credentials().unwrap(), Some(("root".to_owned(), "ours".to_owned())), "an empty one is none");
        let given = Settings {
            endpoints: vec!["d:4".to_owned()],
            user: some("me:mine:too"),
            ..Settings::default()
        };
        let found = of(given, &both);
        assert_eq!(found.endpoints, ["d:4"]);
        assert_eq!(found.credentials().unwrap(), Some(("me".to_owned(), "mine:too".to_owned())));
        let nothing = of(Settings::default(), &[]);
        assert_eq!(nothing.endpoints, [DEFAULT_ENDPOINT]);
        assert_eq!((nothing.credentials().unwrap(), nothing.tls().unwrap()), (None, None));
    }

    #[test]
    fn halves_and_files_that_are_not_there_are_named() {
        let refused = |given: Settings, environment: &[(&str, &str)]| match of(given, environment).options() {
            Err(Error::InvalidArgument { argument, why }) => (argument, why),
            other => (String::new(), format!("{other:?}")),
        };
        assert_eq!(refused(Settings::default(), &[("LEADERSHIP_USER", "me")]).0, "user");
        assert_eq!(refused(Settings::default(), &[("LEADERSHIP_TLS_CERT", "f")]).0, "tls_cert");
        assert_eq!(refused(Settings::default(), &[("ETCDCTL_KEY", "f")]).0, "tls_key");
        let absent = of(Settings { ca: some("/no/such/file"), ..Settings::default() }, &[]).options().unwrap();
        let Err(Error::InvalidArgument { argument, why }) = crate::Client::with_options(absent) else { panic!("made") };
        assert!(argument == "ca" && why.contains("/no/such/file"), "{argument}: {why}");
        let encrypted = of(Settings::default(), &[("LEADERSHIP_ENDPOINTS", "https://a:1")]);
        assert_eq!(encrypted.tls().unwrap(), Some(Tls::default()), "https alone trusts the system's authorities");
    }
}
