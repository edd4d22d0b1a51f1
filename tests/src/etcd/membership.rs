//! Changes of who is a member, and where: added, removed, at another client port, of another cluster, from a backup.
//! Owns the calls and the flags for it; processes are `member.rs`'s.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::member::{Member, POLL, State};
use super::{Etcd, READY_WITHIN, free_port};

/// The flags with some of them changed or added, by their names.
fn changed(args: &[String], changes: &[(&str, String)]) -> Vec<String> {
    let is = |arg: &String| changes.iter().any(|(name, _)| arg.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')));
    let mut args: Vec<_> = args.iter().filter(|arg| !is(arg)).cloned().collect();
    args.extend(changes.iter().map(|(name, value)| format!("{name}={value}")));
    args
}

impl Etcd {
    /// One more member, which serves when this returns. Its index is the last.
    pub async fn add_member(&mut self) -> Result<(), String> {
        let (client, peer) = (free_port()?, format!("http://127.0.0.1:{}", free_port()?));
        let name = format!("m{client}");
        let mut etcd = self.connect(self.member(0)).await.map_err(|e| e.to_string())?;
        // etcd takes no new member ("unhealthy cluster") before all have been connected for 5 s.
        let deadline = Instant::now() + READY_WITHIN;
        let added = loop {
            match etcd.member_add([peer.as_str()], None).await {
                Ok(added) => break added,
                Err(e) if e.to_string().contains("unhealthy") && Instant::now() < deadline => tokio::time::sleep(POLL).await,
                Err(e) => return Err(e.to_string()),
            }
        };
        let cluster = added.member_list().iter().flat_map(|member| {
            let name = if member.name().is_empty() { &name } else { member.name() };
            member.peer_urls().iter().map(move |url| format!("{name}={url}"))
        });
        let cluster = cluster.collect::<Vec<_>>().join(",");
        let endpoint = format!("127.0.0.1:{client}");
        let model = self.member(0);
        let data = data_of(model)?.with_file_name(&name);
        let args = changed(
            &model.args,
            &[
                ("--name", name.clone()),
                ("--data-dir", data.display().to_string()),
                ("--listen-client-urls", self.url(&endpoint)),
                ("--advertise-client-urls", self.url(&endpoint)),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", cluster),
                ("--initial-cluster-state", "existing".to_owned()),
            ],
        );
        let member = Member::new(model.program.clone(), args, data.with_extension("log"), endpoint);
        member.start()?;
        self.members.push(member);
        self.ready().await
    }

    /// Removes a member from the cluster and ends it.
    pub async fn remove_member(&mut self, index: usize) -> Result<(), String> {
        let id = *self.member(index).id.get().ok_or("a member that never served")?;
        let other = self.members.iter().enumerate().find(|(i, member)| *i != index && member.state() == State::Running);
        let (_, other) = other.ok_or("no other member runs")?;
        let mut etcd = self.connect(other).await.map_err(|e| e.to_string())?;
        let deadline = Instant::now() + READY_WITHIN;
        while let Err(e) = etcd.member_remove(id).await {
            if !e.to_string().contains("unhealthy") || Instant::now() > deadline {
                return Err(e.to_string());
            }
            tokio::time::sleep(POLL).await;
        }
        drop(self.members.remove(index));
        Ok(())
    }

    /// Starts a member anew with its data at another client port, which it advertises; waits until it serves.
    pub async fn move_client_port(&mut self, index: usize) -> Result<(), String> {
        let endpoint = format!("127.0.0.1:{}", free_port()?);
        let url = self.url(&endpoint);
        self.start_changed(index, endpoint, &[("--listen-client-urls", url.clone()), ("--advertise-client-urls", url)]).await
    }

    /// Starts a member anew that advertises this URL, wherever it serves.
    pub async fn advertise(&mut self, index: usize, url: &str) -> Result<(), String> {
        let endpoint = self.member(index).endpoint.clone();
        self.start_changed(index, endpoint, &[("--advertise-client-urls", url.to_owned())]).await
    }

    async fn start_changed(&mut self, index: usize, endpoint: String, changes: &[(&str, String)]) -> Result<(), String> {
        let old = self.member(index);
        old.kill_now();
        let member = Member::new(old.program.clone(), changed(&old.args, changes), old.log.clone(), endpoint);
        member.start()?;
        if let Some(slot) = self.members.get_mut(index) {
            *slot = member;
        }
        self.ready().await
    }

    /// As [`wipe`](Self::wipe), but with another cluster id: what a restore of a snapshot gives.
    pub async fn wipe_as_another_cluster(&mut self) -> Result<(), String> {
        for member in &mut self.members {
            member.kill_now();
            member.empty()?;
            member.args = changed(&member.args, &[("--initial-cluster-token", "another".to_owned())]);
        }
        self.restart_all().await
    }

    /// Stops every member, runs `between` on each one's data folder, and starts them all again.
    pub async fn with_data(&self, between: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), String> {
        for member in &self.members {
            member.kill_now();
            between(&data_of(member)?).map_err(|e| e.to_string())?;
        }
        self.restart_all().await
    }
}

fn data_of(member: &Member) -> Result<PathBuf, String> {
    let data = member.args.iter().find_map(|arg| arg.strip_prefix("--data-dir="));
    Ok(data.ok_or("a member without a data folder")?.into())
}
