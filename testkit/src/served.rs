//! Owns a member on a real socket, and its end: the listener closed, every connection cut.
//! Leaves what is served to `service` and `faults`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::wire::Wire;

/// A member that listens. Dropping it closes the port and cuts its connections at once.
#[derive(Debug)]
#[must_use = "dropping it ends the listening"]
pub struct Served {
    addr: SocketAddr,
    cut: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(addr: &str, wire: Wire) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (cut, cutting) = watch::channel(0);
        let incoming = TcpListenerStream::new(listener).map(move |accepted| {
            let stream = accepted?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(Cuttable::new(stream, cutting.clone()))
        });
        let task = tokio::spawn(async move {
            // Errors of single connections are not reported here; the loop ends with the task.
            let _ = Server::builder().serve_with_incoming(wire, incoming).await;
        });
        Ok(Served { addr, cut, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts every open connection, as a lost network does; new ones are served.
    pub fn cut_connections(&self) {
        self.cut.send_modify(|generation| *generation += 1);
    }

    /// Closes the port and cuts every connection; returns when the port is free.
    pub async fn stop(mut self) {
        self.cut_connections();
        self.task.abort();
        // Aborted on purpose: its only news is that.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.cut_connections();
        self.task.abort();
    }
}

/// A connection that can be cut from outside: tonic gives a server no other way to end open streams.
struct Cuttable {
    stream: TcpStream,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_cut: bool,
}

impl Cuttable {
    fn new(stream: TcpStream, mut cutting: watch::Receiver<u64>) -> Self {
        cutting.mark_unchanged();
        let cut = Box::pin(async move {
            // The sender's end is a cut, too.
            let _ = cutting.changed().await;
        });
        Cuttable {
            stream,
            cut,
            is_cut: false,
        }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.is_cut = self.is_cut || self.cut.as_mut().poll(context).is_ready();
        if self.is_cut {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

impl Connected for Cuttable {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
