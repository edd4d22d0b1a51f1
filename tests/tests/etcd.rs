//! The helper that runs real etcd, tried on every version: start, elect, stop, kill, restart, and nothing left behind.
//! What etcd itself does is the conformance suite's.

// A test may fail by panicking; what it reads here is its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use leadership_tests::etcd::{Etcd, State, Tls, Version};

async fn client(etcd: &Etcd, index: usize) -> Client {
    Client::connect([etcd.member(index).endpoint()], None)
        .await
        .unwrap()
}

fn alive(pid: u32) -> bool {
    // A zombie has ended too: only its parent has not asked yet.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::yield_now();
    }
}

/// The data folder, from the command line of the running member.
fn data_folder(pid: u32) -> PathBuf {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let flag = line
        .split(|b| *b == 0)
        .find_map(|arg| arg.strip_prefix(b"--data-dir="))
        .unwrap();
    PathBuf::from(String::from_utf8(flag.to_vec()).unwrap())
}

async fn one_member(version: Version) {
    let etcd = Etcd::start(version).await.unwrap();
    let status = etcd.status(0).await.unwrap();
    assert!(
        version.matches(status.version()),
        "asked for {version}, got {}",
        status.version()
    );
    assert_eq!(etcd.leader().await.unwrap(), 0);
    assert_eq!(etcd.endpoints(), [etcd.member(0).endpoint()]);

    // Data and port outlive a kill.
    client(&etcd, 0)
        .await
        .put("key", "value", None)
        .await
        .unwrap();
    let (pid, endpoints) = (etcd.member(0).pid().unwrap(), etcd.endpoints());
    etcd.member(0).kill().await.unwrap();
    assert!(!alive(pid));
    assert_eq!(
        (etcd.member(0).state(), etcd.member(0).pid()),
        (State::Down, None)
    );
    etcd.status(0).await.unwrap_err();
    etcd.restart(0).await.unwrap();
    assert_eq!(etcd.endpoints(), endpoints);
    let kept = client(&etcd, 0).await.get("key", None).await.unwrap();
    assert_eq!(kept.kvs()[0].value(), b"value");

    // Dropped, nothing stays.
    let pid = etcd.member(0).pid().unwrap();
    let data = data_folder(pid);
    assert!(data.is_dir());
    drop(etcd);
    assert!(!alive(pid));
    assert!(!data.exists());
}

async fn three_members(version: Version) {
    let etcd = Etcd::start_cluster(version, 3).await.unwrap();
    client(&etcd, 0)
        .await
        .put("key", "value", None)
        .await
        .unwrap();
    let first = etcd.leader().await.unwrap();

    // A stopped leader accepts connections and says nothing; another one leads.
    etcd.member(first).stop_signal().unwrap();
    assert_eq!(etcd.member(first).state(), State::Stopped);
    etcd.status(first).await.unwrap_err();
    std::net::TcpStream::connect(etcd.member(first).endpoint()).unwrap();
    let second = etcd.leader().await.unwrap();
    assert_ne!(second, first);
    etcd.member(first).terminate().await.unwrap_err();
    etcd.member(first).cont().unwrap();
    etcd.ready().await.unwrap();
    assert_eq!(etcd.member(first).state(), State::Running);

    // A terminated one ends, and comes back with the data.
    let leader = etcd.leader().await.unwrap();
    etcd.member(leader).terminate().await.unwrap();
    assert_eq!(etcd.member(leader).state(), State::Down);
    assert_ne!(etcd.leader().await.unwrap(), leader);
    etcd.restart(leader).await.unwrap();
    let kept = client(&etcd, leader).await.get("key", None).await.unwrap();
    assert_eq!(kept.kvs()[0].value(), b"value");

    // All at once: a member alone would wait for the others.
    etcd.restart_all().await.unwrap();
    etcd.leader().await.unwrap();
}

macro_rules! on_every_version {
    ($($module:ident: $version:expr;)*) => {$(
        mod $module {
            use super::*;

            #[tokio::test]
            async fn one_member_starts_restarts_and_leaves_nothing() {
                one_member($version).await;
            }

            #[tokio::test]
            async fn three_members_elect_stop_end_and_return() {
                three_members($version).await;
            }
        }
    )*};
}

on_every_version! {
    v3_4: Version::V3_4;
    v3_5: Version::V3_5;
    v3_6: Version::V3_6;
    v3_7: Version::V3_7;
}

#[test]
fn every_version_has_a_program_of_its_own() {
    let mut programs: Vec<PathBuf> = Version::ALL
        .iter()
        .map(|version| version.binary().unwrap())
        .collect();
    programs.sort();
    programs.dedup();
    assert_eq!(programs.len(), Version::ALL.len());
}

#[tokio::test]
async fn a_flag_that_etcd_refuses_is_an_error_with_its_words() {
    let error = Etcd::options(Version::LATEST)
        .flag("--no-such-flag")
        .start()
        .await
        .unwrap_err();
    assert!(error.contains("no-such-flag"), "{error}");
}

#[tokio::test]
async fn a_port_that_stays_taken_is_an_error_in_the_end() {
    // Our own ports are free; this further one never is. What is retried here is what a lost race for a port looks like.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!(
        "--listen-metrics-urls=http://{}",
        taken.local_addr().unwrap()
    );
    for version in Version::ALL {
        let error = Etcd::options(version)
            .flag(&flag)
            .start()
            .await
            .unwrap_err();
        assert!(
            error.contains("address already in use"),
            "etcd {version}: {error}"
        );
    }
}

#[tokio::test]
async fn flags_and_timing_reach_etcd() {
    let options = Etcd::options(Version::LATEST)
        .timing(Duration::from_millis(50), Duration::from_millis(500));
    let etcd = options.flag("--max-txn-ops=1").start().await.unwrap();
    // The smallest TTL is 1.5 × the election timeout in whole seconds: 1 s here, 2 s with etcd's defaults.
    let granted = client(&etcd, 0)
        .await
        .lease_grant(1, None)
        .await
        .unwrap()
        .ttl();
    assert_eq!(granted, 1);
    let two = [
        etcd_client::TxnOp::get("a", None),
        etcd_client::TxnOp::get("b", None),
    ];
    client(&etcd, 0)
        .await
        .txn(etcd_client::Txn::new().and_then(two))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn a_member_with_tls_serves_those_who_bring_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (key, server_key) = (
        rcgen::KeyPair::generate().unwrap(),
        rcgen::KeyPair::generate().unwrap(),
    );
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(authority, &key);
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    // etcd calls itself with its own certificate (its JSON gateway), so it serves both ways.
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    params.extended_key_usages = vec![ServerAuth, ClientAuth];
    let server = params.signed_by(&server_key, &issuer).unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let (server_pem, key_pem) = (server.pem(), server_key.serialize_pem());
    let anonymous = TlsOptions::new().ca_certificate(Certificate::from_pem(ca.pem()));
    let known = anonymous
        .clone()
        .identity(Identity::from_pem(&server_pem, &key_pem));
    let tls = Tls {
        cert: file("server.pem", &server_pem),
        key: file("server.key", &key_pem),
        client_ca: Some(file("ca.pem", &ca.pem())),
        connect: known.clone(),
    };
    for version in Version::ALL {
        let etcd = Etcd::options(version)
            .tls(tls.clone())
            .start()
            .await
            .unwrap();
        let url = format!("https://{}", etcd.member(0).endpoint());
        let get = async |tls: &TlsOptions| {
            let options = ConnectOptions::new().with_tls(tls.clone());
            Client::connect([&url], Some(options))
                .await?
                .get("key", None)
                .await
        };
        get(&known).await.unwrap();
        get(&anonymous).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_panicking_test_leaves_no_member() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async move {
        let etcd = Etcd::start(Version::LATEST).await.unwrap();
        etcd.member(0).stop_signal().unwrap();
        let pid = etcd.member(0).pid().unwrap();
        sender.send((pid, data_folder(pid))).unwrap();
        panic!("as a failed assertion would");
    });
    let (pid, data) = receiver.await.unwrap();
    assert!(test.await.unwrap_err().is_panic());
    assert!(!alive(pid));
    assert!(!data.exists());
}

#[test]
fn members_die_with_a_killed_test_process() {
    // The test starts its own program once more; there, this variable makes it the process that gets killed.
    const ROLE: &str = "LEADERSHIP_TEST_HOLDS_AN_ETCD";
    if std::env::var_os(ROLE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let etcd = runtime.block_on(Etcd::start(Version::LATEST)).unwrap();
        println!("running as {}", etcd.member(0).pid().unwrap());
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "members_die_with_a_killed_test_process",
        ])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| {
        line.split_once("running as ")
            .map(|(_, pid)| pid.to_owned())
    });
    let pid: u32 = said
        .expect("the other process starts an etcd")
        .parse()
        .unwrap();
    let data = data_folder(pid);
    assert!(alive(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the member ends with its owner", || !alive(pid));
    // A killed process cannot clean up; its folder is this test's to remove.
    std::fs::remove_dir_all(data.parent().unwrap()).unwrap();
}
