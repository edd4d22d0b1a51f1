//! Owns how a case is run on a server and what it notes: answers with revisions relative to the case's start, keys
//! without the case's prefix, leases by name. Leaves what is asked to the cases.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use etcd_client::proto::{
    PbEvent, PbKeyValue, PbLeaseGrantRequest, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseRevokeRequest, PbPutRequest, PbRangeRequest, PbResponseHeader, PbWatchRequest,
    PbWatchResponse,
};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use leadership_testkit::{Cluster, Served, Version, Wire, wire_from_channel};
use leadership_tests::etcd::{self, Etcd};
use leadership_tests::raw::{Raw, Stream};
use tonic::Status;

use super::expected;

/// Longer than anything a healthy server needs, shorter than a person's patience.
pub(crate) const SOON: Duration = Duration::from_secs(12);
/// So long without an answer counts as none. etcd looks after lagging watchers every 100 ms.
pub(crate) const QUIET: Duration = Duration::from_millis(500);

/// Which server to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Etcd,
    Socket,
    InProcess,
}

/// Cases that share a server.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) members: usize,
    /// Simple tokens live so long after their last use.
    pub(crate) token_ttl: Duration,
    /// Each case on a server of its own: it leaves the server changed.
    pub(crate) fresh: bool,
    pub(crate) cases: Vec<Case>,
}

pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a mut Ctx) -> Running<'a>,
}

/// Lists the cases by the names of their functions.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::harness::Case { name: stringify!($name), run: |ctx| Box::pin($name(ctx)) }),*]
    };
}
pub(crate) use cases;

/// What keeps a server alive, and the hand on its members.
pub(crate) enum Control {
    Etcd(Box<Etcd>),
    /// The sockets are held, not asked.
    Test {
        cluster: Cluster,
        _served: Vec<Served>,
    },
}

/// A case at work.
pub(crate) struct Ctx {
    pub(crate) raw: Raw,
    pub(crate) members: Vec<Raw>,
    pub(crate) version: Version,
    control: Control,
    name: &'static str,
    base: i64,
    lines: Vec<String>,
    leases: BTreeMap<i64, String>,
}

async fn start(server: Server, version: Version, group: &Group) -> (Control, Vec<Raw>) {
    match server {
        Server::Etcd => {
            let real = match version {
                Version::V3_4 => etcd::Version::V3_4,
                Version::V3_5 => etcd::Version::V3_5,
                Version::V3_6 => etcd::Version::V3_6,
                _ => etcd::Version::V3_7,
            };
            let seconds = group.token_ttl.as_secs();
            let options = Etcd::options(real)
                .members(group.members)
                .flag(format!("--auth-token-ttl={seconds}"));
            let etcd = options.start().await.unwrap_or_else(|why| panic!("{why}"));
            let members = etcd
                .endpoints()
                .iter()
                .map(|endpoint| Raw::new(channel(endpoint)))
                .collect();
            (Control::Etcd(Box::new(etcd)), members)
        }
        Server::Socket | Server::InProcess => {
            let cluster = Cluster::builder()
                .members(group.members)
                .version(version)
                .min_ttl(2)
                .token_ttl(group.token_ttl)
                .build();
            let mut served = Vec::new();
            let mut members = Vec::new();
            for index in 0..group.members {
                if server == Server::Socket {
                    let one = cluster.member(index).listen("127.0.0.1:0").await.unwrap();
                    members.push(Raw::new(channel(&one.addr().to_string())));
                    served.push(one);
                } else {
                    members.push(Raw::new(cluster.member(index).service()));
                }
            }
            (
                Control::Test {
                    cluster,
                    _served: served,
                },
                members,
            )
        }
    }
}

fn channel(endpoint: &str) -> Wire {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{endpoint}")).unwrap();
    wire_from_channel(
        endpoint
            .connect_timeout(Duration::from_secs(2))
            .connect_lazy(),
    )
}

/// Runs all cases of the groups and answers what they noted, by group and case.
pub(crate) async fn transcripts(
    server: Server,
    version: Version,
    groups: &[fn() -> Group],
) -> BTreeMap<&'static str, BTreeMap<String, Vec<String>>> {
    let groups = groups.iter().map(|group| noted(server, version, group()));
    // In real time most cases wait: side by side they take as long as the longest. Under paused time one after the
    // other, so that a run repeats.
    if server == Server::InProcess {
        stream::iter(groups).then(|group| group).collect().await
    } else {
        join_all(groups).await.into_iter().collect()
    }
}

/// Runs the cases of a group, one after the other.
async fn noted(
    server: Server,
    version: Version,
    group: Group,
) -> (&'static str, BTreeMap<String, Vec<String>>) {
    let mut noted = BTreeMap::new();
    let mut running: Option<(Control, Vec<Raw>)> = None;
    for case in &group.cases {
        let (control, members) = match running.take() {
            Some(running) if !group.fresh => running,
            _ => start(server, version, &group).await,
        };
        let mut ctx = Ctx {
            raw: members[0].clone(),
            members,
            version,
            control,
            name: case.name,
            base: 0,
            lines: Vec::new(),
            leases: BTreeMap::new(),
        };
        ctx.rebase().await;
        let ended = tokio::time::timeout(10 * SOON, (case.run)(&mut ctx)).await;
        assert!(
            ended.is_ok(),
            "{}: not done after {:?}; so far: {:#?}",
            case.name,
            10 * SOON,
            ctx.lines
        );
        if !group.fresh {
            ctx.clean().await;
        }
        noted.insert(case.name.to_owned(), ctx.lines);
        running = Some((ctx.control, ctx.members));
    }
    (group.name, noted)
}

/// Runs the groups and compares with what is expected of this version. All differences are told at once.
pub(crate) async fn run(server: Server, version: Version, groups: &[fn() -> Group]) {
    let recording = server == Server::Etcd && std::env::var_os("CONFORMANCE_RECORD").is_some();
    let mut wrong = String::new();
    let mut cases = 0;
    for (group, noted) in transcripts(server, version, groups).await {
        if recording {
            expected::record(group, version, &noted);
        }
        let expected = expected::read(group);
        for (case, lines) in noted {
            cases += 1;
            let wanted = expected
                .get(&case)
                .and_then(|by_version| by_version.get(&version))
                .cloned()
                .unwrap_or_default();
            if lines != wanted {
                wrong.push_str(&difference(&format!("{group}/{case}"), &wanted, &lines));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{server:?} as {version} differs:\n{wrong}"
    );
    println!("conformance: {cases} cases, {server:?}, etcd {version}");
}

fn difference(case: &str, wanted: &[String], got: &[String]) -> String {
    let mut text = format!("== {case}\n");
    for index in 0..wanted.len().max(got.len()) {
        match (wanted.get(index), got.get(index)) {
            (Some(wanted), Some(got)) if wanted == got => text.push_str(&format!("   {got}\n")),
            (wanted, got) => {
                wanted
                    .into_iter()
                    .for_each(|line| text.push_str(&format!("-  {line}\n")));
                got.into_iter()
                    .for_each(|line| text.push_str(&format!("+  {line}\n")));
            }
        }
    }
    text
}

impl Ctx {
    /// Counts revisions from here.
    pub(crate) async fn rebase(&mut self) {
        // Some cases start where nobody may read; their revisions count from the first answer.
        if let Ok(answer) = self
            .raw
            .range(PbRangeRequest {
                key: b"\0".to_vec(),
                count_only: true,
                ..Default::default()
            })
            .await
        {
            self.base = answer.header.unwrap_or_default().revision;
        }
    }

    /// Leaves nothing that could change the revision under the next case.
    async fn clean(&mut self) {
        for id in self.leases.keys() {
            let _ = self.raw.revoke(PbLeaseRevokeRequest { id: *id }).await;
        }
    }

    /// A key of this case.
    pub(crate) fn key(&self, name: &str) -> Vec<u8> {
        format!("{}/{name}", self.name).into_bytes()
    }

    pub(crate) fn note(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// The absolute revision of one that is relative to the start.
    pub(crate) fn at(&self, relative: i64) -> i64 {
        self.base + relative
    }

    pub(crate) fn revision(&self, revision: i64) -> String {
        if revision <= 0 {
            revision.to_string()
        } else {
            format!("{:+}", revision - self.base)
        }
    }

    pub(crate) fn header(&self, header: Option<PbResponseHeader>) -> String {
        header.map_or("none".to_owned(), |header| self.revision(header.revision))
    }

    pub(crate) fn name_of(&self, key: &[u8]) -> String {
        let prefix = self.key("");
        String::from_utf8_lossy(key.strip_prefix(prefix.as_slice()).unwrap_or(key)).into_owned()
    }

    pub(crate) fn kv(&self, kv: &PbKeyValue) -> String {
        let lease = match kv.lease {
            0 => String::new(),
            id => format!(" on {}", self.lease_name(id)),
        };
        let value = String::from_utf8_lossy(&kv.value);
        format!(
            "{}={value} c{} m{} v{}{lease}",
            self.name_of(&kv.key),
            self.revision(kv.create_revision),
            self.revision(kv.mod_revision),
            kv.version
        )
    }

    pub(crate) fn kvs(&self, kvs: &[PbKeyValue]) -> String {
        let shown: Vec<String> = kvs.iter().map(|kv| self.kv(kv)).collect();
        format!("[{}]", shown.join(", "))
    }

    pub(crate) fn lease_name(&self, id: i64) -> String {
        self.leases
            .get(&id)
            .cloned()
            .unwrap_or_else(|| "an unknown lease".to_owned())
    }

    pub(crate) fn refusal(&self, status: &Status) -> String {
        let source = if std::error::Error::source(status).is_some() {
            " (ours)"
        } else {
            ""
        };
        format!("{:?} {}{source}", status.code(), status.message())
    }

    /// Notes an answer, or why there is none.
    pub(crate) fn answer<T>(
        &mut self,
        what: &str,
        answer: Result<T, Status>,
        show: impl FnOnce(&Ctx, T) -> String,
    ) {
        let shown = match answer {
            Ok(answer) => show(self, answer),
            Err(status) => self.refusal(&status),
        };
        self.note(format!("{what}: {shown}"));
    }

    pub(crate) async fn put(&mut self, name: &str, value: &str) {
        self.put_on(name, value, 0).await;
    }

    pub(crate) async fn put_on(&mut self, name: &str, value: &str, lease: i64) {
        let request = PbPutRequest {
            key: self.key(name),
            value: value.into(),
            lease,
            ..Default::default()
        };
        let answer = self.raw.put(request).await;
        self.answer(&format!("put {name}"), answer, |ctx, answer| {
            ctx.header(answer.header)
        });
    }

    pub(crate) async fn delete(&mut self, name: &str) {
        let answer = self
            .raw
            .delete(etcd_client::proto::PbDeleteRequest {
                key: self.key(name),
                ..Default::default()
            })
            .await;
        self.answer(&format!("delete {name}"), answer, |ctx, answer| {
            format!("{} at {}", answer.deleted, ctx.header(answer.header))
        });
    }

    pub(crate) async fn show(&mut self, name: &str) {
        let answer = self.raw.get(self.key(name)).await;
        self.answer(&format!("get {name}"), answer, |ctx, answer| {
            format!("{} at {}", ctx.kvs(&answer.kvs), ctx.header(answer.header))
        });
    }

    /// Grants a lease, remembered by this name.
    pub(crate) async fn grant(&mut self, name: &str, ttl: i64, id: i64) -> i64 {
        let answer = self.raw.grant(PbLeaseGrantRequest { ttl, id }).await;
        let granted = answer.as_ref().map_or(0, |answer| answer.id);
        if granted != 0 {
            self.leases.insert(granted, name.to_owned());
        }
        self.answer(&format!("grant {name} {ttl} s"), answer, |ctx, answer| {
            let id = if id == 0 && answer.id > 0 {
                "an id of its own"
            } else if answer.id == id {
                "the id asked for"
            } else {
                "a strange id"
            };
            format!("{} s, {id}, at {}", answer.ttl, ctx.header(answer.header))
        });
        granted
    }

    pub(crate) fn event(&self, event: &PbEvent) -> String {
        let kind = if event.r#type == 0 { "PUT" } else { "DELETE" };
        let kv = event.kv.as_ref().map(|kv| self.kv(kv)).unwrap_or_default();
        let before = event
            .prev_kv
            .as_ref()
            .map(|kv| format!(" before {}", self.kv(kv)))
            .unwrap_or_default();
        format!("{kind} {kv}{before}")
    }

    /// Notes the next message of a watch stream.
    pub(crate) async fn watched(&mut self, stream: &mut Stream<PbWatchRequest, PbWatchResponse>) {
        let shown = match tokio::time::timeout(SOON, stream.next()).await {
            Err(_) => "nothing came".to_owned(),
            Ok(Err(status)) => format!("ended: {}", self.refusal(&status)),
            Ok(Ok(answer)) => self.watch_answer(&answer),
        };
        self.note(format!("  < {shown}"));
    }

    pub(crate) fn watch_answer(&self, answer: &PbWatchResponse) -> String {
        let mut shown = format!("#{} at {}", answer.watch_id, self.header(answer.header));
        for (is, word) in [(answer.created, " created"), (answer.canceled, " canceled")] {
            if is {
                shown.push_str(word);
            }
        }
        if answer.compact_revision != 0 {
            shown.push_str(&format!(
                " compacted {}",
                self.revision(answer.compact_revision)
            ));
        }
        if !answer.cancel_reason.is_empty() {
            shown.push_str(&format!(" ({})", answer.cancel_reason));
        }
        for event in &answer.events {
            shown.push_str(&format!(" {};", self.event(event)));
        }
        shown
    }

    /// Notes that nothing comes on a watch stream (or what does).
    pub(crate) async fn quiet(&mut self, stream: &mut Stream<PbWatchRequest, PbWatchResponse>) {
        let shown = match tokio::time::timeout(QUIET, stream.next()).await {
            Err(_) => "nothing".to_owned(),
            Ok(Err(status)) => format!("ended: {}", self.refusal(&status)),
            Ok(Ok(answer)) => self.watch_answer(&answer),
        };
        self.note(format!("  < {shown}"));
    }

    /// Sends a renewal and notes the reply.
    pub(crate) async fn renew(
        &mut self,
        stream: &mut Stream<PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse>,
        id: i64,
    ) {
        stream.send(PbLeaseKeepAliveRequest { id });
        self.renewed(stream).await;
    }

    pub(crate) async fn renewed(
        &mut self,
        stream: &mut Stream<PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse>,
    ) {
        let shown = match tokio::time::timeout(SOON, stream.next()).await {
            Err(_) => "nothing came".to_owned(),
            Ok(Err(status)) => format!("ended: {}", self.refusal(&status)),
            Ok(Ok(reply)) => format!(
                "{} {} s at {}",
                self.lease_name(reply.id),
                reply.ttl,
                self.header(reply.header)
            ),
        };
        self.note(format!("  < {shown}"));
    }

    pub(crate) async fn leader(&self) -> usize {
        match &self.control {
            Control::Etcd(etcd) => etcd.leader().await.unwrap(),
            Control::Test { cluster, .. } => cluster.leader().unwrap(),
        }
    }

    /// SIGSTOP.
    pub(crate) fn stop(&self, index: usize) {
        match &self.control {
            Control::Etcd(etcd) => etcd.member(index).stop_signal().unwrap(),
            Control::Test { cluster, .. } => cluster.member(index).stop(),
        }
    }

    /// SIGCONT.
    pub(crate) fn cont(&self, index: usize) {
        match &self.control {
            Control::Etcd(etcd) => etcd.member(index).cont().unwrap(),
            Control::Test { cluster, .. } => cluster.member(index).cont(),
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(&self, index: usize) {
        match &self.control {
            Control::Etcd(etcd) => etcd.member(index).kill().await.unwrap(),
            Control::Test { cluster, .. } => cluster.member(index).kill(),
        }
    }
}
