//! Which members a client speaks to: added, removed, moved, of another cluster, restored under its feet (issue 5).
//! Owns the live cases, in which a term must go on or end; which member a call takes is told in the core's own tests.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use leadership_core::{CampaignOptions, Client, ClientOptions, Error, Leadership, LeadershipOptions, Reason, TermHandle};
use leadership_tests::etcd::{Etcd, Options, Version};

const TTL: Duration = Duration::from_secs(5);
/// The shortest interval there is; a fail-over syncs earlier.
const SYNC: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a case on a real etcd that it may change.
pub(crate) fn with_etcd(options: Options, case: impl AsyncFnOnce(Etcd)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { case(options.start().await.unwrap()).await });
}

pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Leads `key` and keeps it.
pub(crate) async fn lead(client: &Client, key: &str) -> (Leadership, TermHandle) {
    let lead = Leadership::with_options(client, key, LeadershipOptions::default().purpose("case")).unwrap();
    let term = lead.campaign(CampaignOptions::new("a").ttl(TTL)).await.unwrap();
    lead.keep().unwrap();
    (lead, term)
}

fn syncing(etcd: &Etcd, member: usize) -> Client {
    Client::with_options(ClientOptions::new([etcd.member(member).endpoint()]).endpoint_sync(SYNC)).unwrap()
}

async fn knows(client: &Client, endpoint: &str) -> bool {
    client.endpoints().await.unwrap().iter().any(|known| known == endpoint)
}

/// One endpoint is configured. The others are learnt, one is added, one removed, one moves, and at last the configured
/// one goes: the term of the beginning is kept.
async fn case_15_members_come_go_and_move(mut etcd: Etcd) {
    let client = syncing(&etcd, 0);
    let (_lead, term) = lead(&client, "k").await;
    let configured = etcd.member(0).endpoint().to_owned();
    for endpoint in etcd.endpoints() {
        until("every member is known", async || knows(&client, &endpoint).await).await;
    }
    etcd.add_member().await.unwrap();
    let added = etcd.member(3).endpoint().to_owned();
    until("the added member is known", async || knows(&client, &added).await).await;
    let removed = etcd.member(1).endpoint().to_owned();
    etcd.remove_member(1).await.unwrap();
    until("the removed one is given up", async || !knows(&client, &removed).await).await;
    let old = etcd.member(1).endpoint().to_owned();
    etcd.move_client_port(1).await.unwrap();
    let new = etcd.member(1).endpoint().to_owned();
    until("the moved one is known anew", async || knows(&client, &new).await && !knows(&client, &old).await).await;
    assert!(term.is_valid(), "{term:?}");
    // Even the configured one: at its new address it is found, and its old one is not forgotten.
    etcd.move_client_port(0).await.unwrap();
    let new = etcd.member(0).endpoint().to_owned();
    until("the configured one is known at its new port too", async || knows(&client, &new).await).await;
    etcd.remove_member(0).await.unwrap();
    until("and is given up there", async || !knows(&client, &new).await).await;
    assert!(knows(&client, &configured).await, "what was configured is never forgotten");
    assert_eq!(client.endpoints().await.unwrap().len(), 3);
    tokio::time::sleep(TTL).await;
    assert!(term.is_valid(), "{term:?}");
    client.close().await.unwrap();
}

#[test]
fn case_15_members_come_go_and_move_on_3_4() {
    with_etcd(Etcd::options(Version::V3_4).members(3), case_15_members_come_go_and_move);
}

#[test]
fn case_15_members_come_go_and_move_on_3_7() {
    with_etcd(Etcd::options(Version::V3_7).members(3), case_15_members_come_go_and_move);
}

/// A member advertises what nobody hears on, another where a stranger's etcd answers: neither is taken.
#[test]
fn an_advertised_address_is_taken_only_if_that_member_answers_there() {
    with_etcd(Etcd::options(Version::V3_7).members(3), async |mut etcd: Etcd| {
        let stranger = Etcd::options(etcd.version()).flag("--initial-cluster-token=other").start().await.unwrap();
        etcd.advertise(1, &format!("http://{}", stranger.member(0).endpoint())).await.unwrap();
        etcd.advertise(0, "http://127.0.0.1:1").await.unwrap();
        let client = syncing(&etcd, 0);
        let right = etcd.member(2).endpoint().to_owned();
        until("the honest one is known", async || knows(&client, &right).await).await;
        tokio::time::sleep(SYNC * 3).await; // some more rounds
        assert_eq!(client.endpoints().await.unwrap(), [etcd.member(0).endpoint(), right.as_str()]);
    });
}

/// Endpoints of two clusters in one list: no term lasts, and the error names the member that differs.
async fn case_49_two_clusters_in_one_list(etcd: Etcd) {
    let other = Etcd::options(etcd.version()).flag("--initial-cluster-token=other").start().await.unwrap();
    let endpoints = [etcd.member(0).endpoint().to_owned(), other.member(0).endpoint().to_owned()];
    let client = Client::connect(endpoints.clone()).unwrap();
    let lead = Leadership::new(&client, "k", "case").unwrap();
    // The campaign itself may meet the other one, or the renewals do.
    if let Ok(term) = lead.campaign(CampaignOptions::new("a").ttl(TTL)).await {
        lead.keep().unwrap();
        assert_eq!(tokio::time::timeout(TTL, term.lost()).await, Ok(Reason::ClusterChanged));
    }
    let client = Client::connect(endpoints.clone()).unwrap();
    match client.ready(Duration::from_secs(5)).await {
        Err(Error::ClusterChanged { message, .. }) => {
            assert!(endpoints.iter().any(|endpoint| message.starts_with(endpoint.as_str())), "{message}");
            assert!(message.contains("belongs to cluster"), "{message}");
        }
        ready => panic!("{ready:?}"),
    }
}

#[test]
fn case_49_two_clusters_in_one_list_on_3_4() {
    with_etcd(Etcd::options(Version::V3_4), case_49_two_clusters_in_one_list);
}

#[test]
fn case_49_two_clusters_in_one_list_on_3_7() {
    with_etcd(Etcd::options(Version::V3_7), case_49_two_clusters_in_one_list);
}

/// Every term ends with the change as its reason, and the same client leads anew.
async fn starts_anew(client: &Client, lead: &Leadership, term: &TermHandle) {
    assert_eq!(tokio::time::timeout(TTL, term.lost()).await, Ok(Reason::ClusterChanged));
    let mut last = None;
    until("a new campaign wins without a restart", async || {
        last = Some(lead.campaign(CampaignOptions::new("again").ttl(TTL)).await);
        matches!(last, Some(Ok(_)))
    })
    .await;
    lead.keep().unwrap();
    tokio::time::sleep(TTL).await;
    assert!(lead.check() && !term.is_valid());
    client.close().await.unwrap();
}

/// The same members at the same addresses come back as another cluster.
async fn case_49_another_cluster_at_the_same_address(mut etcd: Etcd) {
    let client = Client::connect(etcd.endpoints()).unwrap();
    let (lead, term) = lead(&client, "k").await;
    etcd.wipe_as_another_cluster().await.unwrap();
    starts_anew(&client, &lead, &term).await;
}

#[test]
fn case_49_another_cluster_at_the_same_address_on_3_4() {
    with_etcd(Etcd::options(Version::V3_4), case_49_another_cluster_at_the_same_address);
}

#[test]
fn case_49_another_cluster_at_the_same_address_on_3_7() {
    with_etcd(Etcd::options(Version::V3_7), case_49_another_cluster_at_the_same_address);
}

/// The cluster is put back to a backup: the same id, its keys and leases of then, an earlier revision.
async fn case_49_a_backup_is_put_back(etcd: Etcd) {
    etcd.with_data(|data| copy(data, &data.with_extension("backup"))).await.unwrap();
    let client = Client::connect(etcd.endpoints()).unwrap();
    let (lead, term) = lead(&client, "k").await;
    let mut writer = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    for number in 0..100 {
        writer.put("filler", number.to_string(), None).await.unwrap();
    }
    // What was seen is what the term knows: a renewal later than the writes.
    let (before, at) = (term.remaining(), Instant::now());
    until("a renewal after the writes", async || term.remaining() + at.elapsed() > before + Duration::from_millis(500)).await;
    etcd.with_data(|data| {
        std::fs::remove_dir_all(data)?;
        copy(&data.with_extension("backup"), data)
    })
    .await
    .unwrap();
    starts_anew(&client, &lead, &term).await;
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let copied = Command::new("cp").arg("-r").args([from, to]).status()?;
    copied.success().then_some(()).ok_or_else(|| std::io::Error::other("cp failed"))
}

#[test]
fn case_49_a_backup_is_put_back_on_3_4() {
    with_etcd(Etcd::options(Version::V3_4), case_49_a_backup_is_put_back);
}

#[test]
fn case_49_a_backup_is_put_back_on_3_7() {
    with_etcd(Etcd::options(Version::V3_7), case_49_a_backup_is_put_back);
}
