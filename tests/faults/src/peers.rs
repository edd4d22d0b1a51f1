//! Partitions between members: all that they say to each other goes through here, and any of them can be cut off.
//! Owns telling who is speaking (etcd's peers say so in each request's head); the bytes are carried by `proxy`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::proxy::{Flow, Proxy, bind, pump, reset};

/// A request's head is here by then, or it is not one of a peer's.
const HEAD_WITHIN: Duration = Duration::from_secs(1);
/// How a peer tells its id, in hex.
const SAYS_WHO: &str = "X-Server-From:";

/// Who is cut off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cut {
    /// Ids, in hex, as they say them of themselves.
    speakers: BTreeSet<String>,
    /// Where they listen.
    servers: BTreeSet<SocketAddr>,
}

impl Cut {
    fn flow(&self, speaker: &str, server: SocketAddr) -> Flow {
        // What is sent meanwhile waits, and comes late: as TCP does it.
        if self.speakers.contains(speaker) || self.servers.contains(&server) { Flow::Hold } else { Flow::Pass }
    }
}

/// The net between the members of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    proxy: Arc<Proxy>,
    cut: watch::Sender<Cut>,
    /// Where each member listens, in order.
    servers: Arc<std::sync::Mutex<Vec<SocketAddr>>>,
}

impl Peers {
    /// A net with nobody in it.
    #[must_use]
    pub fn new(proxy: Arc<Proxy>) -> Peers {
        Peers {
            proxy,
            cut: watch::Sender::default(),
            servers: Arc::default(),
        }
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
        self.servers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Puts itself in front of a member that listens for its peers there; where they shall connect instead.
    pub fn stand_before(&self, listens: &str) -> Result<String, String> {
        let server: SocketAddr = listens.parse().map_err(|e| format!("{listens}: {e}"))?;
        let (address, listener) = bind()?;
        self.servers().push(server);
        let cut = self.cut.clone();
        self.proxy.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((peer, _)) = listener.accept().await {
                tokio::spawn(carry(peer, server, cut.subscribe()));
            }
        });
        Ok(address.to_string())
    }

    /// Cuts the member with this id off from the others; it is the one that was put in `place`-last.
    pub fn cut_off(&self, id: u64, place: usize, members: usize) -> Result<(), String> {
        let servers = self.servers();
        // A start that had to be tried again put its members in again.
        let first = servers.len().checked_sub(members).ok_or("members are missing from the net")?;
        let server = *servers.get(first + place).ok_or("no such member in the net")?;
        drop(servers);
        self.cut.send_modify(|cut| {
            cut.speakers.insert(format!("{id:x}"));
            cut.servers.insert(server);
        });
        Ok(())
    }

    /// Everybody hears everybody again.
    pub fn heal(&self) {
        self.cut.send_if_modified(|cut| std::mem::take(cut) != Cut::default());
    }
}

async fn carry(mut peer: TcpStream, server: SocketAddr, cut: watch::Receiver<Cut>) {
    let speaker = tokio::time::timeout(HEAD_WITHIN, who(&peer)).await.unwrap_or_default();
    let Ok(mut to) = TcpStream::connect(server).await else { return reset(&peer) };
    let _ = (peer.set_nodelay(true), to.set_nodelay(true));
    let (from_peer, to_peer) = peer.split();
    let (from_server, to_server) = to.split();
    let carried = AtomicU64::new(0);
    let flow = |cut: &Cut| cut.flow(&speaker, server);
    let up = pump(from_peer, to_server, cut.clone(), flow, &carried);
    let down = pump(from_server, to_peer, cut, flow, &carried);
    let broken = tokio::try_join!(up, down).is_err();
    if broken {
        reset(&peer);
        reset(&to);
    }
}

/// Who speaks, by the head of its first request, which stays where it is; empty if it does not say.
async fn who(peer: &TcpStream) -> String {
    let mut head = vec![0; 4096];
    loop {
        let Ok(size) = peer.peek(&mut head).await else { return String::new() };
        let text = String::from_utf8_lossy(head.get(..size).unwrap_or_default());
        let complete = text.contains("\r\n\r\n") || size == head.len() || size == 0;
        let said = text.lines().find_map(|line| line.strip_prefix(SAYS_WHO)).map(|id| id.trim().to_owned());
        // Not before the head is whole: half an id is another's.
        if complete {
            return said.unwrap_or_default();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
