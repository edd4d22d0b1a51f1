//! Certificates: where they come from, whether they fit together, and reading them again when their files have changed.
//! Owns what is trusted and what is presented; the handshake and what its errors mean are `etcd/dial`'s.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};
use crate::x509::{Validity, validity};

/// PEM: the text itself, or the file that it is in. A file is read again for each new connection, so certificates are
/// renewed by writing the files anew: no restart, no term lost. Debug output shows no key.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pem {
    /// The text.
    Text(Vec<u8>),
    /// The path of a file.
    File(PathBuf),
}

impl From<Vec<u8>> for Pem {
    fn from(text: Vec<u8>) -> Pem {
        Pem::Text(text)
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Pem {
        Pem::File(path)
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Pem {
        Pem::File(path.to_owned())
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Pem::File(path) => write!(f, "File({path:?})"),
        }
    }
}

impl Pem {
    fn read(&self, argument: &str) -> Result<Vec<u8>> {
        match self {
            Pem::Text(text) => Ok(text.clone()),
            Pem::File(path) => {
                std::fs::read(path).map_err(|error| Error::invalid(argument, format!("{}: {error}", path.display())))
            }
        }
    }

    /// For messages: which file it was.
    fn place(&self) -> String {
        match self {
            Pem::Text(_) => String::new(),
            Pem::File(path) => format!("{}: ", path.display()),
        }
    }
}

/// Encryption, and certificates. Members are always checked against their names; IP addresses count if they are among
/// the certificate's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities to trust; the system's own if `None`.
    pub ca: Option<Pem>,
    /// Our certificate (with its chain) and its private key, for mutual TLS.
    pub identity: Option<(Pem, Pem)>,
}

/// What the arguments held when they were read.
#[derive(PartialEq, Eq)]
struct Texts {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// What a handshake needs.
pub(crate) struct Loaded {
    texts: Texts,
    pub(crate) config: Arc<ClientConfig>,
    /// Is there a certificate of ours, and when is it good, as far as that can be read?
    pub(crate) identity: Option<Option<Validity>>,
}

/// The certificates of a client, as new as their files.
pub(crate) struct Certificates {
    tls: Tls,
    loaded: ArcSwap<Loaded>,
}

impl Certificates {
    /// Reads and checks them.
    ///
    /// # Errors
    /// `InvalidArgument` names `ca`, `cert` or `key`.
    pub(crate) fn load(tls: &Tls) -> Result<Arc<Certificates>> {
        let loaded = tls.build(tls.read()?)?;
        Ok(Arc::new(Certificates {
            tls: tls.clone(),
            loaded: ArcSwap::from_pointee(loaded),
        }))
    }

    /// As they are now. Files that cannot be read, or do not fit together while they are being replaced, leave what
    /// there was.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<Loaded> {
        if self.tls.has_files() {
            let certificates = self.clone();
            // A disk that hangs must not hold up the I/O thread. A failure here is a runtime that ends.
            let _ = tokio::task::spawn_blocking(move || certificates.refresh()).await;
        }
        self.loaded.load_full()
    }

    fn refresh(&self) {
        let fresh = self.tls.read().and_then(|texts| match texts == self.loaded.load().texts {
            true => Ok(None),
            false => self.tls.build(texts).map(Some),
        });
        match fresh {
            Ok(None) => {}
            Ok(Some(loaded)) => {
                log::info!("the certificates have changed: new connections use the new ones");
                self.loaded.store(Arc::new(loaded));
            }
            Err(error) => log::warn!("the certificates cannot be read again, the old ones stay: {error}"),
        }
    }
}

impl Tls {
    fn has_files(&self) -> bool {
        let is_file = |pem: &Pem| matches!(pem, Pem::File(_));
        let identity = self.identity.as_ref().is_some_and(|(cert, key)| is_file(cert) || is_file(key));
        identity || self.ca.as_ref().is_some_and(is_file)
    }

    fn read(&self) -> Result<Texts> {
        Ok(Texts {
            ca: self.ca.as_ref().map(|ca| ca.read("ca")).transpose()?,
            identity: match &self.identity {
                Some((cert, key)) => Some((cert.read("cert")?, key.read("key")?)),
                None => None,
            },
        })
    }

    fn build(&self, texts: Texts) -> Result<Loaded> {
        let internal = |error: rustls::Error| Error::internal(format!("TLS: {error}"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(internal)?.with_root_certificates(self.roots(&texts)?);
        let mut config;
        let identity = if let (Some((cert_from, key_from)), Some((cert, key))) = (&self.identity, &texts.identity) {
            let cert = certificates("cert", cert_from, cert)?;
            let valid = cert.first().and_then(|cert| validity(cert));
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| Error::invalid("key", format!("{}holds no PEM private key", key_from.place())))?;
            config = builder.with_client_auth_cert(cert, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    Error::invalid("key", format!("{}is not the key of the certificate in cert", key_from.place()))
                }
                error => Error::invalid("key", format!("{}{error}", key_from.place())),
            })?;
            Some(valid)
        } else {
            config = builder.with_no_client_auth();
            None
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would present the certificate it began with.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Loaded {
            texts,
            config: Arc::new(config),
            identity,
        })
    }

    fn roots(&self, texts: &Texts) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let (Some(from), Some(ca)) = (&self.ca, &texts.ca) {
            let found = certificates("ca", from, ca)?;
            if roots.add_parsable_certificates(found).0 == 0 {
                return Err(Error::invalid("ca", format!("{}holds no certificate that can be read", from.place())));
            }
        } else {
            let native = rustls_native_certs::load_native_certs();
            for error in native.errors {
                log::debug!("the system's authorities: {error}");
            }
            if roots.add_parsable_certificates(native.certs).0 == 0 {
                return Err(Error::invalid("ca", "none was given, and the system has none"));
            }
        }
        Ok(roots)
    }
}

/// The certificates of a PEM text; one at least.
fn certificates(argument: &str, from: &Pem, text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        // Further down such a text would silently be no authority at all.
        Ok(_) => Err(Error::invalid(argument, format!("{}holds no PEM certificate", from.place()))),
        Err(error) => Err(Error::invalid(argument, format!("{}{error}", from.place()))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn made(name: &str) -> (Vec<u8>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes())
    }

    fn refused(tls: Tls) -> String {
        match Certificates::load(&tls) {
            Err(error @ Error::InvalidArgument { .. }) => error.to_string(),
            other => panic!("{:?}", other.map(|_| "accepted")),
        }
    }

    #[test]
    fn s13_what_does_not_fit_is_named_by_its_argument() {
        let ((cert, key), (other, _)) = (made("a"), made("b"));
        let ca = |text: &[u8]| Tls { ca: Some(text.to_vec().into()), identity: None };
        let own = |cert: &[u8], key: &[u8]| Tls {
            ca: Some(other.clone().into()),
            identity: Some((cert.to_vec().into(), key.to_vec().into())),
        };
        assert_eq!(refused(ca(b"junk")), "ca: holds no PEM certificate");
        assert_eq!(refused(ca(&key)), "ca: holds no PEM certificate");
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(refused(ca(broken)), "ca: holds no certificate that can be read");
        assert_eq!(refused(own(b"", &key)), "cert: holds no PEM certificate");
        assert_eq!(refused(own(&cert, &cert)), "key: holds no PEM private key");
        assert_eq!(refused(own(&other, &key)), "key: is not the key of the certificate in cert");
        let absent = Tls { ca: Some(Path::new("/nowhere/ca.pem").into()), identity: None };
        assert!(refused(absent).starts_with("ca: /nowhere/ca.pem: "));
        assert!(Certificates::load(&own(&cert, &key)).is_ok());
        let bundle = [cert, b"\nwords between\n".to_vec(), other.clone()].concat();
        assert!(Certificates::load(&ca(&bundle)).is_ok());
        assert!(!format!("{:?}", own(&other, &key)).contains("PRIVATE"), "Debug shows no key");
    }

    #[test]
    fn changed_files_are_taken_when_they_fit_together_and_not_before() {
        let folder = std::env::temp_dir().join(format!("leadership-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        let write = |(cert, key): &(Vec<u8>, Vec<u8>)| {
            std::fs::write(path("cert"), cert).unwrap();
            std::fs::write(path("key"), key).unwrap();
        };
        let (first, second) = (made("a"), made("b"));
        write(&first);
        let tls = Tls {
            ca: Some(path("cert").into()),
            identity: Some((path("cert").into(), path("key").into())),
        };
        let certificates = Certificates::load(&tls).unwrap();
        let now = || certificates.loaded.load().texts.identity.clone().unwrap();
        std::fs::write(path("cert"), &second.0).unwrap();
        certificates.refresh();
        assert!(now() == first, "the new certificate without its key is not taken");
        std::fs::remove_file(path("key")).unwrap();
        certificates.refresh();
        assert!(now() == first, "nor half of the files");
        write(&second);
        certificates.refresh();
        assert!(now() == second);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
