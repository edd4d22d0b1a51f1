//! A real etcd for a test: one or more members on free loopback ports, with data in a temporary folder, gone with the test.
//! Owns the cluster: ports, flags, readiness, who leads. The processes are `member.rs`'s, the versions `version.rs`'s.
//!
//! Not for a paused runtime: a real process lives on real time.

mod member;
mod membership;
mod version;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions, StatusResponse, TlsOptions};
use tempfile::TempDir;

pub use member::{Member, State, spawn_for_life};
pub use version::Version;

use member::POLL;

/// Within this a started cluster serves. It takes about 0.2 s for one member, 1.5 s for three; the rest is for a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(40);

/// A single question to a member. One that is not up yet, or has lost its quorum, may not answer at all.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// So much of a member's log goes into an error: all of the usage text that etcd ends with when it refuses a flag.
const LOG_LINES: usize = 40;

/// So often a start is tried anew when somebody took a port between our choice and etcd's.
const PORT_ATTEMPTS: usize = 5;

/// TLS for the client port. Peers talk in the clear: no test is about them.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate, PEM. It must be good for the address 127.0.0.1.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// If set, clients must bring a certificate signed by this authority.
    pub client_ca: Option<PathBuf>,
    /// How the helper itself connects, to see that the members serve.
    pub connect: TlsOptions,
}

/// What to start. Made by [`Etcd::options`].
#[derive(Clone, Debug)]
pub struct Options {
    version: Version,
    members: usize,
    flags: Vec<String>,
    heartbeat: Duration,
    election: Duration,
    tls: Option<Tls>,
    peers: Option<Front>,
}

/// Given where a member listens for its peers, says where they shall reach it: at whoever stands in front of it.
#[derive(Clone)]
struct Front(Arc<FrontFn>);

type FrontFn = dyn Fn(&str) -> Result<String, String> + Send + Sync;

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Front")
    }
}

impl Options {
    /// How many members; 1 unless said.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// A further flag for every member, e.g. `--auth-token-ttl=3`. It comes last, so it wins over ours.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Raft's heartbeat interval and election timeout, in whole milliseconds; etcd's own defaults (100 ms, 1 s) unless
    /// said. etcd wants the second to be at least five times the first, and raises the smallest lease TTL to 1.5 × the
    /// second, in whole seconds.
    #[must_use]
    pub fn timing(mut self, heartbeat: Duration, election: Duration) -> Self {
        (self.heartbeat, self.election) = (heartbeat, election);
        self
    }

    /// TLS on the client port.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Members reach each other through somebody: `front` is told where a member listens for its peers (`host:port`)
    /// and says where they shall connect instead.
    #[must_use]
    pub fn peers_behind(mut self, front: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static) -> Self {
        self.peers = Some(Front(Arc::new(front)));
        self
    }

    /// Starts it and waits until every member serves linearizable reads.
    pub async fn start(self) -> Result<Etcd, String> {
        let program = self.version.binary()?;
        let mut last = String::new();
        for _ in 0..PORT_ATTEMPTS {
            let etcd = Etcd::prepare(self.clone(), program.clone())?;
            etcd.members.iter().try_for_each(Member::start)?;
            match etcd.ready().await {
                Ok(()) => {
                    etcd.announce().await;
                    return Ok(etcd);
                }
                Err(e) if e.contains("address already in use") => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }
}

/// A running etcd. Dropping it, also by a panic, kills its members and removes their data.
///
/// `LEADERSHIP_KEEP_ETCD=1` keeps the data and the logs, and prints where they are.
#[derive(Debug)]
pub struct Etcd {
    // Dropped in this order: the processes first, then what they write to.
    members: Vec<Member>,
    options: Options,
    folder: Option<TempDir>,
}

impl Etcd {
    /// One member with etcd's defaults.
    pub async fn start(version: Version) -> Result<Etcd, String> {
        Self::options(version).start().await
    }

    /// `members` members (1, 3 or 5) with etcd's defaults.
    pub async fn start_cluster(version: Version, members: usize) -> Result<Etcd, String> {
        Self::options(version).members(members).start().await
    }

    /// For more: flags, raft's timing, TLS.
    #[must_use]
    pub fn options(version: Version) -> Options {
        Options {
            version,
            members: 1,
            flags: Vec::new(),
            heartbeat: Duration::from_millis(100),
            election: Duration::from_secs(1),
            tls: None,
            peers: None,
        }
    }

    /// The version that was asked for.
    #[must_use]
    pub fn version(&self) -> Version {
        self.options.version
    }

    /// `"127.0.0.1:port"` of every member, in order. They stay the same over restarts.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| member.endpoint.clone())
            .collect()
    }

    /// All members, in the order of [`Self::endpoints`].
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this index. Panics if there is none: a test's mistake.
    #[must_use]
    pub fn member(&self, index: usize) -> &Member {
        match self.members.get(index) {
            Some(member) => member,
            None => panic!("no member {index}: this etcd has {}", self.members.len()),
        }
    }

    /// Starts a member again with the data and the port it had, and waits until it serves: so a quorum must be up.
    /// One that still runs is killed first.
    pub async fn restart(&self, index: usize) -> Result<(), String> {
        self.restart_each(&[index]).await
    }

    /// Kills what runs, starts every member again with its data, and waits until all serve.
    pub async fn restart_all(&self) -> Result<(), String> {
        self.restart_each(&(0..self.members.len()).collect::<Vec<_>>())
            .await
    }

    /// Kills every member, empties its data and starts it anew: the same cluster id, nothing in it, revision and raft
    /// term from the start (`case_49`). Waits until all serve.
    pub async fn wipe(&self) -> Result<(), String> {
        for member in &self.members {
            member.kill_now();
            member.empty()?;
        }
        self.restart_all().await
    }

    /// [`restart`](Self::restart) of several at once, as a quorum that was lost must be.
    pub async fn restart_each(&self, indexes: &[usize]) -> Result<(), String> {
        for &index in indexes {
            self.member(index).kill_now();
        }
        for &index in indexes {
            self.member(index).start()?;
        }
        for &index in indexes {
            self.member_ready(self.member(index), Instant::now() + READY_WITHIN)
                .await?;
        }
        Ok(())
    }

    /// Waits until every member that runs serves linearizable reads.
    pub async fn ready(&self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        for member in &self.members {
            // Whoever ended before it served is `Down` too: to be reported, not skipped.
            if member.state() == State::Running || member.exited().is_some() {
                self.member_ready(member, deadline).await?;
            }
        }
        Ok(())
    }

    /// The index of the raft leader: the one that the running members name at their highest raft term. Waits while
    /// there is none, or only one that is stopped or down.
    pub async fn leader(&self) -> Result<usize, String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let mut newest: Option<(u64, usize)> = None;
            for member in self
                .members
                .iter()
                .filter(|member| member.state() == State::Running)
            {
                let Ok(status) = self.status_of(member).await else {
                    continue;
                };
                let leader = self.members.iter().position(|m| {
                    m.id.get() == Some(&status.leader()) && m.state() == State::Running
                });
                if let Some(leader) = leader {
                    newest = newest.max(Some((status.raft_term(), leader)));
                } else {
                    // A member at a newer term than the rest that knows no leader yet: the older answers are stale.
                    if newest.is_some_and(|(term, _)| term < status.raft_term()) {
                        newest = None;
                    }
                }
            }
            if let Some((_, leader)) = newest {
                return Ok(leader);
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "etcd {} has no leader after {READY_WITHIN:?}",
                    self.version()
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What the member says in `Status`: its version, the leader, the raft term.
    pub async fn status(&self, index: usize) -> Result<StatusResponse, String> {
        self.status_of(self.member(index)).await
    }

    async fn status_of(&self, member: &Member) -> Result<StatusResponse, String> {
        let ask = async { self.connect(member).await?.status().await };
        match tokio::time::timeout(ASK_WITHIN, ask).await {
            Ok(answer) => answer.map_err(|e| e.to_string()),
            Err(_) => Err(format!(
                "etcd on {} gave no answer within {ASK_WITHIN:?}",
                member.endpoint
            )),
        }
    }

    async fn connect(&self, member: &Member) -> Result<Client, etcd_client::Error> {
        let mut options = ConnectOptions::new().with_connect_timeout(ASK_WITHIN);
        if let Some(tls) = &self.options.tls {
            options = options.with_tls(tls.connect.clone());
        }
        Client::connect([self.url(&member.endpoint)], Some(options)).await
    }

    fn url(&self, endpoint: &str) -> String {
        let scheme = if self.options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{endpoint}")
    }

    async fn member_ready(&self, member: &Member, deadline: Instant) -> Result<(), String> {
        loop {
            if let Some(status) = member.exited() {
                return Err(format!(
                    "etcd {} ended at its start ({status}):\n{}",
                    self.version(),
                    member.log_tail(LOG_LINES)
                ));
            }
            let why = match tokio::time::timeout(ASK_WITHIN, self.serves(member)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(e)) => e,
                Err(_) => format!("no answer within {ASK_WITHIN:?}"),
            };
            if Instant::now() > deadline {
                return Err(format!(
                    "etcd {} on {} does not serve after {READY_WITHIN:?}: {why}\n{}",
                    self.version(),
                    member.endpoint,
                    member.log_tail(LOG_LINES)
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// A leader is known and a linearizable read is answered. With authentication on, a refusal is an answer too: etcd
    /// refuses after the read was made linearizable, or needs no quorum to refuse.
    async fn serves(&self, member: &Member) -> Result<(), String> {
        let mut client = self.connect(member).await.map_err(|e| e.to_string())?;
        let status = client.status().await.map_err(|e| e.to_string())?;
        if status.leader() == 0 {
            return Err("it knows no leader".to_owned());
        }
        let reported = status.version();
        if !self.version().matches(reported) {
            return Err(format!("it says that it is etcd {reported}"));
        }
        if let Some(header) = status.header() {
            let _ = member.id.set(header.member_id()); // the same after a restart
        }
        match client.get("ready", None).await {
            Ok(_) => Ok(()),
            Err(etcd_client::Error::GRpcStatus(status))
                if matches!(
                    status.code(),
                    tonic::Code::InvalidArgument
                        | tonic::Code::PermissionDenied
                        | tonic::Code::Unauthenticated
                ) =>
            {
                Ok(())
            }
            Err(e) => Err(e.to_string()),
        }
    }

    /// Chooses ports and writes down how each member is to be started.
    fn prepare(options: Options, program: PathBuf) -> Result<Etcd, String> {
        if options.members == 0 {
            return Err("an etcd of no members".to_owned());
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let token = format!(
            "leadership-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = tempfile::Builder::new()
            .prefix(&format!("{token}-etcd-{}-", options.version))
            .disable_cleanup(std::env::var_os("LEADERSHIP_KEEP_ETCD").is_some())
            .tempdir()
            .map_err(|e| format!("cannot make a folder for etcd's data: {e}"))?;

        let mut etcd = Etcd {
            members: Vec::new(),
            options,
            folder: None,
        };
        let ports = (0..etcd.options.members)
            .map(|_| Ok((free_port()?, free_port()?)))
            .collect::<Result<Vec<(u16, u16)>, String>>()?;
        let fronts = ports
            .iter()
            .map(|(_, peer)| {
                let listens = format!("127.0.0.1:{peer}");
                match &etcd.options.peers {
                    Some(Front(front)) => front(&listens),
                    None => Ok(listens),
                }
            })
            .collect::<Result<Vec<String>, String>>()?;
        let peers: Vec<String> = fronts
            .iter()
            .enumerate()
            .map(|(i, front)| format!("m{i}=http://{front}"))
            .collect();
        for (i, ((client, peer), front)) in ports.iter().zip(&fronts).enumerate() {
            let endpoint = format!("127.0.0.1:{client}");
            let url = etcd.url(&endpoint);
            let mut args = vec![
                format!("--name=m{i}"),
                format!(
                    "--data-dir={}",
                    folder.path().join(format!("m{i}")).display()
                ),
                format!("--listen-client-urls={url}"),
                format!("--advertise-client-urls={url}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
                format!("--initial-advertise-peer-urls=http://{front}"),
                format!("--initial-cluster={}", peers.join(",")),
                format!("--initial-cluster-token={token}"),
                format!(
                    "--heartbeat-interval={}",
                    etcd.options.heartbeat.as_millis()
                ),
                format!("--election-timeout={}", etcd.options.election.as_millis()),
                // A test's data need not survive the machine; the disks of shared runners are slow and jittery.
                "--unsafe-no-fsync".to_owned(),
                "--logger=zap".to_owned(),
                "--log-outputs=stderr".to_owned(),
            ];
            if let Some(tls) = &etcd.options.tls {
                args.push(format!("--cert-file={}", tls.cert.display()));
                args.push(format!("--key-file={}", tls.key.display()));
                if let Some(ca) = &tls.client_ca {
                    args.push("--client-cert-auth".to_owned());
                    args.push(format!("--trusted-ca-file={}", ca.display()));
                }
            }
            args.extend(etcd.options.flags.iter().cloned());
            let log = folder.path().join(format!("m{i}.log"));
            etcd.members
                .push(Member::new(program.clone(), args, log, endpoint));
        }
        etcd.folder = Some(folder);
        Ok(etcd)
    }

    /// Says which etcd runs: for every start in the test's own output, and once per version and process past the test
    /// runner's capture, so that the log of a run shows what it ran on.
    async fn announce(&self) {
        static SAID: Mutex<BTreeSet<Version>> = Mutex::new(BTreeSet::new());
        let reported = match self.status(0).await {
            Ok(status) => status.version().to_owned(),
            Err(e) => format!("{} ({e})", self.version()),
        };
        eprintln!("etcd {reported}: {}", self.endpoints().join(" "));
        if let (Some(folder), true) = (
            &self.folder,
            std::env::var_os("LEADERSHIP_KEEP_ETCD").is_some(),
        ) {
            eprintln!(
                "etcd {reported}: data and logs stay in {}",
                folder.path().display()
            );
        }
        if SAID
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.version())
        {
            let _ = writeln!(std::io::stderr(), "live tests run on etcd {reported}");
        }
    }
}

/// A free port below those that the kernel gives to outgoing connections. From among those, a client that tries to
/// reconnect to a member that is down could be connected to *itself*, and hold the member's port.
/// Another process may take it before etcd does: [`Options::start`] tries again.
fn free_port() -> Result<u16, String> {
    const FIRST: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ephemeral =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = ephemeral
        .split_whitespace()
        .next()
        .and_then(|low| low.parse().ok())
        .unwrap_or(32_768_u32);
    let span = end.saturating_sub(FIRST);
    if span < 1_000 {
        // Unusual settings: take what the kernel gives.
        let listener = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        return listener
            .map(|address| address.port())
            .map_err(|e| e.to_string());
    }
    // Processes that run at the same time begin far from each other; one process never gives a port twice.
    let begin = std::process::id().wrapping_mul(7_919);
    for _ in 0..span {
        let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        let Ok(port) = u16::try_from(FIRST + offset) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port on 127.0.0.1".to_owned())
}
