//! Mutual TLS with real etcd: certificates renewed while a term lasts, and what each refusal says (issue 5).
//! Owns an authority of its own, made anew in every run; what needs no etcd is tested beside the core's `tls`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leadership_core::{Client, ClientOptions, Error, Pem, Tls};
use leadership_tests::etcd::{self, Etcd, Options, Version};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use crate::endpoints::{lead, with_etcd};

const TTL: Duration = Duration::from_secs(5);

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
type Pair = (String, String);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        // Of one name for all, as one that was renewed has: it is the key that tells them apart.
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn signs(&self, name: &str, last_year: i32) -> Pair {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn good(&self) -> Pair {
        self.signs("127.0.0.1", 2100)
    }
}

/// The files of the server and of the client.
struct Files(TempDir);

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn pair(&self, name: &str, (cert, key): &Pair) {
        self.write(&format!("{name}.pem"), cert);
        self.write(&format!("{name}.key"), key);
    }

    fn tls(&self) -> Tls {
        let file = |name: &str| Pem::from(self.path(name));
        Tls {
            ca: Some(file("ca.pem")),
            identity: Some((file("client.pem"), file("client.key"))),
        }
    }

    /// The same as it is now, not to be read again.
    fn tls_as_text(&self) -> Tls {
        let text = |name: &str| Pem::from(std::fs::read(self.path(name)).unwrap());
        Tls {
            ca: Some(text("ca.pem")),
            identity: Some((text("client.pem"), text("client.key"))),
        }
    }
}

/// An etcd that asks for certificates by `old` or `new`, and shows one by `old`; the rig's own client has one by `new`.
fn secured(version: Version, old: &Authority, new: &Authority) -> (Files, Options) {
    let files = Files(tempfile::tempdir().unwrap());
    let both = format!("{}{}", old.pem, new.pem);
    files.pair("server", &old.good());
    files.write("clients.pem", &both);
    files.write("ca.pem", &old.pem);
    files.pair("client", &old.good());
    let (cert, key) = new.good();
    let connect = etcd_client::TlsOptions::new()
        .ca_certificate(etcd_client::Certificate::from_pem(both))
        .identity(etcd_client::Identity::from_pem(cert, key));
    let options = Etcd::options(version).tls(etcd::Tls {
        cert: files.path("server.pem"),
        key: files.path("server.key"),
        client_ca: Some(files.path("clients.pem")),
        connect,
    });
    (files, options)
}

fn client(etcd: &Etcd, tls: Tls) -> Client {
    Client::with_options(ClientOptions::new(etcd.endpoints()).tls(tls)).unwrap()
}

/// Why no member would have us.
async fn refused(client: &Client) -> String {
    match client.ready(Duration::from_millis(900)).await {
        Err(Error::Unavailable { message }) => message,
        other => panic!("{other:?}"),
    }
}

/// Every certificate and every authority is replaced, on both sides; etcd is restarted and trusts the old ones no more.
/// The term is kept, because files are read again; a client that was given text cannot come back.
fn case_15_certificates_are_renewed_under_a_term(version: Version) {
    let (old, new) = (Authority::new(), Authority::new());
    let (files, options) = secured(version, &old, &new);
    with_etcd(options, async |etcd: Etcd| {
        let (by_text, by_file) = (client(&etcd, files.tls_as_text()), client(&etcd, files.tls()));
        by_text.ready(TTL).await.unwrap();
        let (lead, term) = lead(&by_file, "k").await;
        files.write("clients.pem", &new.pem);
        files.pair("server", &new.good());
        files.write("ca.pem", &new.pem);
        files.pair("client", &new.good());
        etcd.restart(0).await.unwrap();
        tokio::time::sleep(TTL * 2).await;
        assert!(lead.check() && term.is_valid(), "{term:?}");
        let message = refused(&by_text).await;
        assert!(message.contains("signed by no authority in ca"), "{message}");
        by_file.close().await.unwrap();
    });
}

#[test]
fn case_15_certificates_are_renewed_under_a_term_on_3_4() {
    case_15_certificates_are_renewed_under_a_term(Version::V3_4);
}

#[test]
fn case_15_certificates_are_renewed_under_a_term_on_3_7() {
    case_15_certificates_are_renewed_under_a_term(Version::V3_7);
}

/// Each refusal, ours and etcd's, names the member and the argument to look at.
fn each_refusal_of_a_certificate_says_which(version: Version) {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let (files, options) = secured(version, &ours, &ours);
    with_etcd(options, async |etcd: Etcd| {
        let member = etcd.member(0).endpoint().to_owned();
        let check = async |tls: Tls, words: &[&str]| {
            let message = refused(&client(&etcd, tls)).await;
            for word in words {
                assert!(message.starts_with(&member) && message.contains(word), "{word}: {message}");
            }
        };
        let good = || files.tls_as_text();
        let own = |(cert, key): Pair| Tls {
            identity: Some((cert.into_bytes().into(), key.into_bytes().into())),
            ..good()
        };
        client(&etcd, good()).ready(TTL).await.unwrap();
        let wrong_ca = Tls {
            ca: Some(foreign.pem.clone().into_bytes().into()),
            ..good()
        };
        check(wrong_ca, &["signed by no authority in ca"]).await;
        check(Tls { identity: None, ..good() }, &["refuses our certificate", "none was given (arguments cert and key)"]).await;
        check(own(foreign.good()), &["refuses our certificate", "the one in cert is in date", "an authority"]).await;
        check(own(ours.signs("client", 2021)), &["refuses our certificate", "the one in cert expired", "days ago"]).await;
        // etcd reads its certificate anew for each handshake.
        files.pair("server", &ours.signs("127.0.0.1", 2021));
        check(good(), &["its certificate", "expired"]).await;
        files.pair("server", &ours.signs("etcd.example.org", 2100));
        check(good(), &["its certificate", "not valid for name"]).await;
    });
}

#[test]
fn each_refusal_of_a_certificate_says_which_on_3_4() {
    each_refusal_of_a_certificate_says_which(Version::V3_4);
}

#[test]
fn each_refusal_of_a_certificate_says_which_on_3_7() {
    each_refusal_of_a_certificate_says_which(Version::V3_7);
}

/// Encrypted here and in the clear there.
#[test]
fn a_member_that_does_not_speak_tls_is_named() {
    let authority = Authority::new();
    with_etcd(Etcd::options(Version::V3_7), async |etcd: Etcd| {
        let ca = Some(authority.pem.clone().into_bytes().into());
        let ready = client(&etcd, Tls { ca, identity: None }).ready(Duration::from_secs(3)).await;
        let Err(Error::Unavailable { message }) = ready else { panic!("{ready:?}") };
        assert!(message.starts_with(etcd.member(0).endpoint()) && message.contains("speak TLS"), "{message}");
    });
}

/// A file that is absent when the client is made is the caller's mistake; one that goes later is not the term's end.
#[test]
fn s13_a_certificate_file_that_is_absent_is_named() {
    let absent = Tls {
        ca: Some(Path::new("/nowhere/ca.pem").into()),
        identity: None,
    };
    match Client::with_options(ClientOptions::new(["127.0.0.1:2379"]).tls(absent)) {
        Err(Error::InvalidArgument { argument, why }) => assert!(argument == "ca" && why.starts_with("/nowhere/ca.pem"), "{why}"),
        other => panic!("{other:?}"),
    }
}
