//! Connecting with TLS: TCP, the handshake, and what its failures mean in words that name the argument.
//! Owns the connector of one endpoint; certificates are `tls`', how the channel behaves afterwards is `endpoint`'s.
//!
//! With TLS 1.3 a member refuses our certificate only after our side of the handshake is done, and the gRPC library loses
//! its reason. So where a certificate was asked for, the first byte is awaited here: etcd speaks first.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, Result};
use crate::tls::{Certificates, Loaded};

/// etcd's first byte comes at once; a proxy between may wait for ours, so that silence is no refusal.
const FIRST_BYTE: Duration = Duration::from_millis(500);

/// A member without TLS says nothing to a handshake. Shorter than the whole time to connect, so that this is told.
const HANDSHAKE: Duration = Duration::from_millis(1500);

/// Connects to one endpoint. A tower service, as the channel wants it.
#[derive(Clone)]
pub(crate) struct Dial {
    host: String,
    port: u16,
    name: ServerName<'static>,
    certificates: Arc<Certificates>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Dial {
    /// `address`: `host:port`, checked already.
    pub(crate) fn new(address: &str, certificates: Arc<Certificates>) -> Result<Dial> {
        let bad = |why: String| Error::invalid("endpoints", format!("{address:?}: {why}"));
        let (host, port) = address.rsplit_once(':').ok_or_else(|| bad("needs a port".to_owned()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Dial {
            name: ServerName::try_from(host.clone()).map_err(|error| bad(error.to_string()))?,
            port: port.parse().map_err(|_| bad("the port is no number".to_owned()))?,
            host,
            certificates,
        })
    }

    async fn connect(self) -> std::result::Result<Stream, Refused> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| Refused(error.to_string()))?;
        tcp.set_nodelay(true).map_err(|error| Refused(error.to_string()))?;
        let loaded = self.certificates.current().await;
        let asked = Arc::new(AtomicBool::new(false));
        let mut config = ClientConfig::clone(&loaded.config);
        config.client_auth_cert_resolver = Arc::new(Noting {
            inner: config.client_auth_cert_resolver,
            asked: asked.clone(),
        });
        let refused = |error: io::Error| Refused(explain(&error, &loaded));
        let handshake = TlsConnector::from(Arc::new(config)).connect(self.name, tcp);
        let silent = |_| Refused(format!("no answer to a TLS handshake within {HANDSHAKE:?}: does it speak TLS?"));
        let mut tls = timeout(HANDSHAKE, handshake).await.map_err(silent)?.map_err(refused)?;
        let mut first = [0];
        let mut read = 0;
        if asked.load(Ordering::Relaxed)
            && let Ok(answer) = timeout(FIRST_BYTE, tls.read(&mut first)).await
        {
            read = answer.map_err(refused)?;
            if read == 0 {
                return Err(Refused("closed the connection after the handshake".to_owned()));
            }
        }
        Ok(Stream {
            first: (read > 0).then_some(first[0]),
            tls: Box::new(tls),
        })
    }
}

impl tower::Service<http::Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<TokioIo<Stream>, Refused>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.connect().await.map(TokioIo::new) })
    }
}

/// What went wrong, in words that name the argument to look at.
fn explain(error: &io::Error, loaded: &Loaded) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        // A renewed authority often has its predecessor's name: then it is the signature that does not fit.
        Some(rustls::Error::InvalidCertificate(why @ (CertificateError::UnknownIssuer | CertificateError::BadSignature))) => {
            format!("its certificate is signed by no authority in ca ({why})")
        }
        Some(rustls::Error::InvalidCertificate(why)) => format!("its certificate: {why}"),
        Some(rustls::Error::AlertReceived(alert)) if is_about_certificates(*alert) => {
            format!("it refuses our certificate ({alert:?}): {}", ours(loaded))
        }
        Some(rustls::Error::InvalidMessage(_)) => format!("{error}: does it speak TLS?"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => format!("{error}: does it speak TLS?"),
        _ => error.to_string(),
    }
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

/// etcd 3.4 gives the same reason for a certificate that is missing, foreign or expired: what can be known is looked up.
fn ours(loaded: &Loaded) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    match loaded.identity {
        None => "none was given (arguments cert and key)".to_owned(),
        Some(Some(valid)) if valid.not_after < now => format!("the one in cert expired {} ago", span(now - valid.not_after)),
        Some(Some(valid)) if now < valid.not_before => {
            format!("the one in cert is good only in {}", span(valid.not_before - now))
        }
        Some(_) => "the one in cert is in date; did an authority sign it that etcd trusts, and for clients?".to_owned(),
    }
}

fn span(secs: i64) -> String {
    match secs {
        ..=7_199 => format!("{secs} s"),
        7_200..=172_799 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// Presents what the inner one presents, and notes that it was asked.
#[derive(Debug)]
struct Noting {
    inner: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Noting {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// The connection, with the byte that was read ahead.
pub(crate) struct Stream {
    first: Option<u8>,
    tls: Box<TlsStream<TcpStream>>,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.tls).poll_shutdown(cx)
    }
}
