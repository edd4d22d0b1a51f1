//! A byte-level TCP proxy on loopback whose ways can be spoilt at run time, each direction for itself.
//! Owns listeners, connections and what befalls their bytes; who is behind it, and when it is spoilt, the rig says.
//!
//! It runs on a thread of its own: a busy tester delays no byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// Chunks of one direction under way in the proxy (delayed, held): what a network's buffers are.
const UNDER_WAY: usize = 256;

/// What befalls the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    #[default]
    Pass,
    /// They arrive so much later, in order.
    Delay(Duration),
    /// They wait, however many, until the flow changes: a partition, whose bytes TCP sends again once it heals.
    Hold,
    /// They vanish. A connection that lost any is reset when the flow changes.
    Drop,
    /// So many bytes a second.
    Throttle(u64),
}

/// How a new connection is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Greeting {
    /// It is put through.
    #[default]
    Connect,
    /// It is accepted, and reset.
    Reset,
    /// It is accepted, and nothing is ever answered: half-open.
    Silence,
}

/// The state of a way; the default lets everything pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Bytes from the client to the server.
    pub up: Flow,
    /// Bytes from the server to the client.
    pub down: Flow,
    /// New connections.
    pub greeting: Greeting,
}

impl Weather {
    /// The same in both directions; new connections are put through, and suffer the same.
    #[must_use]
    pub fn both(flow: Flow) -> Weather {
        Weather {
            up: flow,
            down: flow,
            ..Weather::default()
        }
    }
}

/// The weather now, and what befell connections at once: those older than a count meet their end.
#[derive(Clone, Copy, Debug, Default)]
struct Sky {
    weather: Weather,
    resets: u64,
    half_open: u64,
}

/// The proxy: its thread, and the runtime on it. Dropping it ends every connection.
pub struct Proxy {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Proxy {
    /// Starts the thread.
    pub fn start() -> Result<Proxy, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("proxy").enable_all().build();
        Ok(Proxy {
            runtime: Some(runtime.map_err(|e| format!("no runtime for the proxy: {e}"))?),
        })
    }

    /// A new way to `server` (`host:port`), with an address of its own.
    pub fn way(&self, server: &str) -> Result<Way, String> {
        let server: SocketAddr = server.parse().map_err(|e| format!("{server}: {e}"))?;
        let (address, listener) = bind()?;
        let (sky, _) = watch::channel(Sky::default());
        let carried = Arc::new(AtomicU64::new(0));
        let way = Way {
            address,
            sky: sky.clone(),
            carried: carried.clone(),
        };
        self.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(greet(client, server, sky.subscribe(), carried.clone()));
            }
        });
        Ok(way)
    }

    /// Runs it on the proxy's thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }
}

/// A port, to be listened on from the proxy's thread.
pub(crate) fn bind() -> Result<(SocketAddr, std::net::TcpListener), String> {
    let bound = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok((listener.local_addr()?, listener))
    });
    bound.map_err(|e| format!("no port for the proxy: {e}"))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One way through the proxy to one server. Cheap to clone; any thread.
#[derive(Clone, Debug)]
pub struct Way {
    address: SocketAddr,
    sky: watch::Sender<Sky>,
    carried: Arc<AtomicU64>,
}

impl Way {
    /// Where clients connect, `host:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// Changes the weather, for the connections there are and for new ones.
    pub fn set(&self, weather: Weather) {
        self.sky.send_modify(|now| now.weather = weather);
    }

    /// Resets (RST) every connection there is.
    pub fn reset(&self) {
        self.sky.send_modify(|now| now.resets += 1);
    }

    /// The server's side of every connection there is goes, and its client is never told: half-open.
    pub fn lose_server(&self) {
        self.sky.send_modify(|now| now.half_open += 1);
    }

    /// Bytes carried so far, both directions.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

async fn greet(client: TcpStream, server: SocketAddr, mut sky: watch::Receiver<Sky>, carried: Arc<AtomicU64>) {
    let now = *sky.borrow_and_update();
    match now.weather.greeting {
        Greeting::Connect => {}
        Greeting::Reset => return reset(&client),
        Greeting::Silence => {
            until(&mut sky, |later| later.weather.greeting != Greeting::Silence || later.resets != now.resets).await;
            return reset(&client);
        }
    }
    // A server that refuses is seen as a connection that closes at once.
    let Ok(server) = TcpStream::connect(server).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    carry(client, server, sky, carried).await;
}

/// RST instead of FIN when it is dropped.
pub(crate) fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Waits until the weather is such; for ever if nobody can change it any more.
async fn until(sky: &mut watch::Receiver<Sky>, such: impl FnMut(&Sky) -> bool) {
    if sky.wait_for(such).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, mut sky: watch::Receiver<Sky>, carried: Arc<AtomicU64>) {
    let born = *sky.borrow_and_update();
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, sky.clone(), |sky| sky.weather.up, &carried);
        let down = pump(from_server, to_client, sky.clone(), |sky| sky.weather.down, &carried);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.is_err(),
            () = until(&mut sky, |now| now.resets != born.resets || now.half_open != born.half_open) => true,
        }
    };
    if broken {
        reset(&server);
        drop(server);
        if sky.borrow().half_open != born.half_open {
            // The client's side stays, and is never answered, until it gives up or is reset.
            let mut sink = [0; 1024];
            tokio::select! {
                () = async { while !matches!(client.read(&mut sink).await, Ok(0) | Err(_)) {} } => {}
                () = until(&mut sky, |now| now.resets != born.resets) => {}
            }
        }
        reset(&client);
    }
}

/// A connection that cannot go on in order.
pub(crate) struct Broken;

/// What one side sent, when it came.
enum Piece {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// Carries one direction until its orderly end. An end or a reset waits and is delayed as the bytes before it are.
pub(crate) async fn pump<T>(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut sky: watch::Receiver<T>,
    pick: impl Fn(&T) -> Flow,
    carried: &AtomicU64,
) -> Result<(), Broken> {
    let (pieces, mut queue) = mpsc::channel(UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            let piece = match from.read(&mut buffer).await {
                Ok(0) => Piece::End,
                Ok(n) => Piece::Bytes(buffer.get(..n).unwrap_or_default().to_vec()),
                Err(_) => Piece::Reset,
            };
            let last = !matches!(piece, Piece::Bytes(_));
            if pieces.send((Instant::now(), piece)).await.is_err() || last {
                return Ok(());
            }
        }
    };
    let write = async move {
        let mut lost = false;
        while let Some((came, piece)) = queue.recv().await {
            loop {
                let flow = pick(&sky.borrow_and_update());
                if lost && flow != Flow::Drop {
                    return Err(Broken);
                }
                match flow {
                    Flow::Pass => break,
                    Flow::Delay(by) => {
                        tokio::time::sleep_until(came + by).await;
                        break;
                    }
                    Flow::Throttle(rate) => {
                        let size = if let Piece::Bytes(bytes) = &piece { bytes.len() } else { 0 };
                        tokio::time::sleep(Duration::from_secs_f64(size as f64 / rate.max(1) as f64)).await;
                        break;
                    }
                    Flow::Hold => {}
                    Flow::Drop => lost = true,
                }
                if sky.changed().await.is_err() {
                    return Err(Broken);
                }
            }
            match piece {
                Piece::Bytes(bytes) => {
                    carried.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    to.write_all(&bytes).await.map_err(|_| Broken)?;
                }
                Piece::End => {
                    let _ = to.shutdown().await;
                }
                Piece::Reset => return Err(Broken),
            }
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(drop)
}

#[cfg(test)]
mod tests;
