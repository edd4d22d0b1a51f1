//! `leadership.testing`: the in-memory etcd in process, on a socket, with its faults. For tests, never production.
//! Owns the thread it runs on; how the server behaves is the testkit's.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use leadership_testkit::{Cluster, Lost, Member, Method, Version};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule};

use crate::convert;

pub(crate) fn add(parent: &Bound<'_, PyModule>) -> PyResult<()> {
    let module = PyModule::new(parent.py(), "testing")?;
    module.add_class::<Server>()?;
    module.add_class::<Baseline>()?;
    parent.add_submodule(&module)
}

/// An etcd in memory, on loopback; made by `leadership.testing.server`. Closed at the end of a `with` block.
#[pyclass(frozen, module = "leadership.testing")]
#[derive(Debug)]
pub(crate) struct Server {
    cluster: Cluster,
    addresses: Vec<SocketAddr>,
    running: Mutex<Option<Running>>,
    process: u32,
}

#[derive(Debug)]
struct Running {
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    fn member(&self, index: usize) -> PyResult<Member> {
        if index < self.cluster.size() {
            return Ok(self.cluster.member(index));
        }
        Err(pyo3::exceptions::PyIndexError::new_err(format!("no member {index}: there are {}", self.cluster.size())))
    }

    /// One member, or all of them.
    fn members(&self, member: Option<usize>) -> PyResult<Vec<Member>> {
        match member {
            Some(index) => Ok(vec![self.member(index)?]),
            None => Ok((0..self.cluster.size()).map(|index| self.cluster.member(index)).collect()),
        }
    }
}

/// Starts the thread; answers when the server listens.
fn start(members: usize, version: Version, seed: u64) -> std::io::Result<(Cluster, Vec<SocketAddr>, Running)> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (told, heard) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("leadership-test".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(told.send(Err(error))),
        };
        runtime.block_on(async move {
            let cluster = Cluster::builder().members(members).version(version).seed(seed).build();
            let mut served = Vec::new();
            for index in 0..cluster.size() {
                match cluster.member(index).listen("127.0.0.1:0").await {
                    Ok(member) => served.push(member),
                    Err(error) => return drop(told.send(Err(error))),
                }
            }
            let addresses = served.iter().map(leadership_testkit::Served::addr).collect();
            let _ = told.send(Ok((cluster, addresses)));
            let _ = stopped.await;
        });
    })?;
    let (cluster, addresses) = heard.recv().map_err(|_| std::io::Error::other("the server's thread ended"))??;
    Ok((cluster, addresses, Running { stop, thread }))
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (*, members=1, version=None, seed=0))]
    fn new(py: Python<'_>, members: usize, version: Option<&str>, seed: u64) -> PyResult<Server> {
        if members != 1 && members != 3 {
            return Err(pyo3::exceptions::PyValueError::new_err("members: 1 or 3"));
        }
        let version = match version {
            None => Version::default(),
            Some(name) => Version::ALL
                .into_iter()
                .find(|version| version.full().starts_with(&format!("{name}.")))
                .ok_or_else(|| pyo3::exceptions::PyValueError::new_err("version: 3.4, 3.5, 3.6 or 3.7"))?,
        };
        let (cluster, addresses, running) = py.detach(|| start(members, version, seed))?;
        Ok(Server { cluster, addresses, running: Mutex::new(Some(running)), process: std::process::id() })
    }

    /// host:port of the (first) member.
    #[getter]
    fn endpoint(&self) -> String {
        self.addresses.first().map_or_else(String::new, ToString::to_string)
    }

    /// host:port of every member.
    #[getter]
    fn endpoints(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }

    /// The value of a key, by whomever it was written; None if it is not there.
    fn get<'py>(&self, py: Python<'py>, key: &Bound<'_, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let kv = self.cluster.get(convert::bytes("key", key)?);
        Ok(kv.map(|kv| PyBytes::new(py, &kv.value)))
    }

    /// (create_revision, mod_revision, version, lease_id) of a key; None if it is not there.
    fn stat(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<(i64, i64, i64, i64)>> {
        let kv = self.cluster.get(convert::bytes("key", key)?);
        Ok(kv.map(|kv| (kv.create_revision, kv.mod_revision, kv.version, kv.lease)))
    }

    /// All keys, in order.
    fn keys<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.cluster.keys().iter().map(|kv| PyBytes::new(py, &kv.key)).collect()
    }

    /// The ids of all leases.
    fn leases(&self) -> Vec<i64> {
        self.cluster.leases().iter().map(|lease| lease.id).collect()
    }

    /// A stranger's put; answers its revision.
    #[pyo3(signature = (key, value, *, lease_id=0))]
    fn put(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, lease_id: i64) -> PyResult<i64> {
        Ok(self.cluster.put(convert::bytes("key", key)?, convert::bytes("value", value)?, lease_id))
    }

    /// A stranger's delete; False if it was not there.
    fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.cluster.delete(convert::bytes("key", key)?))
    }

    /// Ends the lease that this key hangs on, as its clock would; False if there is none.
    fn expire(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.cluster.expire_key(convert::bytes("key", key)?))
    }

    /// A stranger's revoke; False if there is no such lease.
    fn revoke(&self, lease_id: i64) -> bool {
        self.cluster.revoke(lease_id)
    }

    /// Stops a member (default: all) as SIGSTOP does: it accepts, and never answers.
    #[pyo3(signature = (member=None))]
    fn hang(&self, member: Option<usize>) -> PyResult<()> {
        self.members(member)?.iter().for_each(Member::stop);
        Ok(())
    }

    /// Takes a member (default: all) away as SIGKILL does: streams break, calls are refused.
    #[pyo3(signature = (member=None))]
    fn kill(&self, member: Option<usize>) -> PyResult<()> {
        self.members(member)?.iter().for_each(Member::kill);
        Ok(())
    }

    /// Ends every fault: what hangs goes on, what was killed comes back, what was cut off is joined again.
    fn heal(&self) -> PyResult<()> {
        self.cluster.faults().heal();
        for member in self.members(None)? {
            member.faults().heal();
            member.heal();
            member.cont();
            member.restart();
        }
        Ok(())
    }

    /// Lets the next transaction be applied and loses its reply.
    fn lose_next_txn_reply(&self) {
        self.cluster.faults().drop_reply(Method::Txn, 1, Lost::Error);
    }

    /// Compacts everything up to now; answers the revision.
    fn compact(&self) -> i64 {
        self.cluster.compact_now()
    }

    /// Moves the server's clock forward: leases that are due by then expire now.
    fn jump_clock(&self, by: &Bound<'_, PyAny>) -> PyResult<()> {
        let by: Duration = convert::duration("by", by)?;
        self.cluster.jump_clock(by);
        Ok(())
    }

    /// The cluster as it comes back after its data was wiped.
    fn wipe(&self) {
        self.cluster.wipe();
    }

    /// Stops serving and ends the thread. Idempotent.
    fn close(&self, py: Python<'_>) {
        if self.process != std::process::id() {
            return; // a forked child: there is no such thread here to be joined
        }
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            let _ = running.stop.send(());
            py.detach(|| drop(running.thread.join()));
        }
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<leadership.testing.Server {}>", self.endpoints().join(","))
    }
}

/// What a check cannot be cheaper than, for `bench/valid.py`: an empty property, and one that reads the clock.
#[pyclass(frozen, module = "leadership.testing")]
#[derive(Debug)]
struct Baseline(leadership_core::Clock);

#[pymethods]
impl Baseline {
    #[new]
    fn new() -> Self {
        Baseline(leadership_core::Clock::boot())
    }

    #[getter]
    fn empty(&self) -> bool {
        true
    }

    #[getter]
    fn clock(&self) -> bool {
        self.0.now() > leadership_core::BootTime::default()
    }
}
