//! The client, and what it says of an election's leader. Owns options as Python gives them and closing with callbacks
//! in mind; the connection is the core's.

use std::time::Duration;

use futures_util::future::join_all;
use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::convert::{self, show};
use crate::elector::Elector;
use crate::ending;
use crate::error::{checked, in_time};
use crate::events::Callbacks;
use crate::holders::Holders;
use crate::lead::Leadership;
use crate::lease::{Lease, SharedLease};
use crate::observer::Observer;
use crate::operator::Operator;
use crate::queue::Election;
use crate::term::OwnedTerm;
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// A connection to one etcd cluster; made by `leadership.connect`. Usable from any thread.
///
/// As a context manager it is closed at the end: every term ends, every key is released.
#[pyclass(frozen, weakref, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Client {
    inner: Unlocked<core::Client>,
    callbacks: Callbacks,
    holders: Holders,
    endpoints: Vec<String>,
}

impl Client {
    pub(crate) fn core(&self) -> PyResult<&core::Client> {
        self.inner.get().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the client is being dropped"))
    }

    pub(crate) fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    pub(crate) fn holders(&self) -> &Holders {
        &self.holders
    }
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (endpoints=None, *, user=None, password=None, tls_ca=None, tls_cert=None, tls_key=None,
                        namespace=None, request_timeout=None, drift=None, reread_interval=None,
                        endpoint_sync=None))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of Python's
    fn new(
        py: Python<'_>,
        endpoints: Option<Vec<String>>,
        user: Option<String>,
        password: Option<String>,
        tls_ca: Option<Bound<'_, PyAny>>,
        tls_cert: Option<Bound<'_, PyAny>>,
        tls_key: Option<Bound<'_, PyAny>>,
        namespace: Option<Bound<'_, PyAny>>,
        request_timeout: Option<Bound<'_, PyAny>>,
        drift: Option<f64>,
        reread_interval: Option<Bound<'_, PyAny>>,
        endpoint_sync: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Client> {
        let mut password = password;
        let (endpoints, mut options) = match endpoints {
            Some(endpoints) => (endpoints.clone(), core::ClientOptions::new(endpoints)),
            // Then the environment says what is not said here, as it does for the command.
            None => {
                let mut settings = core::Settings::default().or_environment();
                if user.is_some() {
                    settings.user = None;
                    password = password.or(settings.password.take());
                } else if settings.user.is_some() && password.is_some() {
                    settings.password = password.take();
                }
                if tls_ca.is_some() || tls_cert.is_some() || tls_key.is_some() {
                    (settings.ca, settings.cert, settings.key) = (None, None, None);
                }
                (settings.endpoints.clone(), checked(py, settings.options())?)
            }
        };
        match (user, password) {
            (Some(user), password) => options = options.credentials(user, password.unwrap_or_default()),
            (None, Some(_)) => return Err(convert::invalid(py, "password", "needs a user")),
            (None, None) => {}
        }
        let pem = |argument, given: Option<Bound<'_, PyAny>>| given.map(|given| convert::pem(argument, &given)).transpose();
        let (tls_ca, tls_cert, tls_key) = (pem("tls_ca", tls_ca)?, pem("tls_cert", tls_cert)?, pem("tls_key", tls_key)?);
        let identity = match (tls_cert, tls_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(convert::invalid(py, "tls_cert", "needs tls_key")),
            (None, Some(_)) => return Err(convert::invalid(py, "tls_key", "needs tls_cert")),
        };
        if tls_ca.is_some() || identity.is_some() {
            options = options.tls(core::Tls { ca: tls_ca, identity });
        }
        if let Some(namespace) = namespace {
            options = options.namespace(convert::bytes("namespace", &namespace)?);
        }
        if let Some(timeout) = request_timeout {
            options = options.request_timeout(convert::duration("request_timeout", &timeout)?);
        }
        if let Some(drift) = drift {
            // In parts per million, as the core has it; what does not fit is refused there by its name.
            let ppm = drift * 1e6;
            if !(0.0..=f64::from(u32::MAX)).contains(&ppm) {
                return Err(convert::invalid(py, "drift", format!("{drift} is not a share from 0 to 0.1")));
            }
            options = options.drift_ppm(ppm.round() as u32);
        }
        if let Some(interval) = reread_interval {
            options = options.reread_interval(convert::duration("reread_interval", &interval)?);
        }
        if let Some(interval) = endpoint_sync {
            options = options.endpoint_sync(convert::duration("endpoint_sync", &interval)?);
        }
        crate::log::tell(py)?;
        Ok(Client {
            inner: Unlocked::new(checked(py, core::Client::with_options(options))?),
            callbacks: Callbacks::default(),
            holders: Holders::default(),
            endpoints,
        })
    }

    /// Waits until a member answers and knows a leader, at most `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn ready(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        const DEFAULT: Duration = Duration::from_secs(10);
        let timeout = convert::timeout(timeout.as_ref())?.unwrap_or(DEFAULT);
        let ready = wait(py, self.core()?.ready(timeout), None)?;
        in_time(py, ready, || "ready".to_owned())
    }

    /// Who leads the election of `key`, read linearizably; None if nobody.
    fn get_leader(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<Leader>> {
        let key = convert::bytes("key", key)?;
        let leader = wait(py, self.core()?.get_leader(key), None)?;
        Ok(in_time(py, leader, || "get_leader".to_owned())?.map(Leader::from))
    }

    /// (left, granted) in seconds of a lease by etcd's own count; None if it does not exist.
    fn lease_time_left(&self, py: Python<'_>, lease_id: i64) -> PyResult<Option<(f64, f64)>> {
        let left = wait(py, self.core()?.lease_time_left(lease_id), None)?;
        let left = in_time(py, left, || "lease_time_left".to_owned())?;
        Ok(left.map(|(left, granted)| (left.as_secs_f64(), granted.as_secs_f64())))
    }

    /// A contender for `key` with every step in your hands. Nothing is sent.
    #[pyo3(signature = (key, *, purpose="", takeover_delay=None, step_down_margin=None,
                        campaign_window=None, primary_watch=false))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of Python's
    fn leadership(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        purpose: &str,
        takeover_delay: Option<Bound<'_, PyAny>>,
        step_down_margin: Option<Bound<'_, PyAny>>,
        campaign_window: Option<Bound<'_, PyAny>>,
        primary_watch: bool,
    ) -> PyResult<Leadership> {
        let mut options = core::LeadershipOptions::default().purpose(purpose).primary_watch(primary_watch);
        if let Some(delay) = takeover_delay {
            options = options.takeover_delay(convert::duration("takeover_delay", &delay)?);
        }
        if let Some(margin) = step_down_margin {
            options = options.step_down_margin(convert::duration("step_down_margin", &margin)?);
        }
        if let Some(window) = campaign_window {
            options = options.campaign_window(convert::duration("campaign_window", &window)?);
        }
        Leadership::new(slf, convert::bytes("key", key)?, options)
    }

    /// Runs the whole loop of the election of `key`, and hands out terms; `value` is what the others see of this process.
    /// Starts at once; nothing campaigns before somebody asks for a term.
    ///
    /// Options: `ttl` (5 s); `mode` ("single_key", or "queue": then `key` is a prefix); `lease` (one that electors share,
    /// instead of one of its own; its TTL counts); `priority` (0; higher goes first); `take_back` (False; as a leader, hand
    /// over to a candidate of higher priority); `warm` (True: stands, with a lease and a registration, before the key
    /// goes); `health_check` (called on a thread of its own, several times a TTL: it must have returned, and not False,
    /// within `health_age`, TTL/2, for this process to campaign and to stay leader); `drain_timeout` (10 s: how long a term
    /// that is given up is renewed on for its holder to finish); `cool_down` (TTL/5: how long not to campaign after that);
    /// `campaign_limit` (3 terms lost within 5 min, then it holds back for a TTL each time); `takeover_delay` (0.1 s);
    /// `step_down_margin` (TTL/10); `purpose` (appears in logs and errors).
    #[pyo3(signature = (key, value=None, **options))]
    fn elector(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Elector> {
        Elector::new(slf, crate::elector_options::builder(slf.get(), key, value.as_ref(), options)?)
    }

    /// One shot: campaigns for `key`, as long as it takes but at most `timeout` seconds (then `Timeout`, and nothing is
    /// left), until this process leads: the term, renewed until it is let go of or lost. Options as `elector`.
    #[pyo3(signature = (key, value=None, *, timeout=None, **options))]
    fn lead(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        timeout: Option<Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<OwnedTerm>> {
        let builder = crate::elector_options::builder(self, key, value.as_ref(), options)?;
        let term = wait(py, builder.lead(), convert::timeout(timeout.as_ref())?)?;
        let term = in_time(py, term, || format!("campaign for {key}"))?;
        OwnedTerm::taken(py, term, &self.holders, crate::elector::number())
    }

    /// The election of the queue kind under `prefix`: candidates wait in line, as those of etcd's own clients do. Nothing
    /// is sent.
    #[pyo3(signature = (prefix, *, takeover_delay=None, step_down_margin=None))]
    fn election(
        slf: &Bound<'_, Self>,
        prefix: &Bound<'_, PyAny>,
        takeover_delay: Option<Bound<'_, PyAny>>,
        step_down_margin: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Election> {
        let mut options = core::LeadershipOptions::default();
        if let Some(delay) = takeover_delay {
            options = options.takeover_delay(convert::duration("takeover_delay", &delay)?);
        }
        if let Some(margin) = step_down_margin {
            options = options.step_down_margin(convert::duration("step_down_margin", &margin)?);
        }
        Election::new(slf, convert::bytes("prefix", prefix)?, options)
    }

    /// Observes the election of `key` from now on: who leads, vacancies, the end. Nothing is waited for.
    fn observer(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Observer> {
        Observer::new(slf, convert::bytes("key", key)?)
    }

    /// An operator's hand on the election of `key`: look, transfer, depose, pause. Nothing is sent.
    fn operator(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Operator> {
        Operator::new(slf, convert::bytes("key", key)?)
    }

    /// A lease of `ttl` seconds (5) for several electors: renewed once for all of them. Nothing is sent.
    #[pyo3(signature = (ttl=None))]
    fn shared_lease(&self, py: Python<'_>, ttl: Option<Bound<'_, PyAny>>) -> PyResult<SharedLease> {
        let ttl = ttl.map_or(Ok(core::DEFAULT_TTL), |ttl| convert::duration("ttl", &ttl))?;
        Ok(SharedLease::new(checked(py, self.core()?.shared_lease(ttl))?))
    }

    /// Grants a lease of `ttl` seconds; it is not renewed until `keep_alive`.
    #[pyo3(signature = (ttl=None, *, purpose=""))]
    fn lease(&self, py: Python<'_>, ttl: Option<Bound<'_, PyAny>>, purpose: &str) -> PyResult<Lease> {
        let ttl = ttl.map_or(Ok(core::DEFAULT_TTL), |ttl| convert::duration("ttl", &ttl))?;
        let lease = wait(py, core::Lease::grant(self.core()?, ttl, purpose), None)?;
        Ok(Lease::new(in_time(py, lease, || "grant of a lease".to_owned())?))
    }

    /// Drains the electors, ends every term, releases their keys and leases, returns after the last callback. A term that
    /// the calling thread took of an elector is ended at once. Idempotent.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.callbacks.ensure_not_in_one(py)?;
        let client = self.core()?;
        if client.forked() {
            return checked(py, Err(core::Error::Forked));
        }
        drop(self.holders.let_go(None)); // nobody but this thread could end them, and it waits here
        let (close, ended) = (client.close(), self.callbacks.ended());
        let closed = wait(
            py,
            async move {
                let closed = close.await;
                ended.await;
                closed
            },
            None,
        )?;
        in_time(py, closed, || "close".to_owned())
    }

    /// True once `close` was called.
    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.core()?.is_closed())
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.core()?.forked() {
            return Ok(()); // a child leaves the parent's block: the parent's to close
        }
        self.close(py)
    }

    fn __repr__(&self) -> PyResult<String> {
        let closed = if self.core()?.is_closed() { " (closed)" } else { "" };
        Ok(format!("<leadership.Client {}{closed}>", self.endpoints.join(",")))
    }
}

/// Closes all of them within `timeout` seconds in all, and then no thread of the library calls Python any more; half of
/// that is for threads to finish what they do under a term. What is not done by then goes on in the background, for as
/// long as there is a process.
#[pyfunction]
pub(crate) fn close_all(py: Python<'_>, clients: Vec<Bound<'_, Client>>, timeout: f64) -> PyResult<()> {
    let clients: Vec<_> = clients.iter().map(Bound::get).collect();
    let timeout = Duration::from_secs_f64(timeout);
    for client in &clients {
        drop(client.holders.let_go(None)); // this thread is at its end
    }
    let all = async {
        join_all(clients.iter().filter_map(|client| client.core().ok()).map(|client| client.close_within(timeout / 2))).await;
        join_all(clients.iter().map(|client| client.callbacks.ended())).await;
        ending::quiet().await;
    };
    wait(py, all, Some(timeout))?;
    for client in clients {
        client.core()?.drop_without_waiting(); // the interpreter is about to drop them all
    }
    Ok(())
}

/// Who leads an election.
#[pyclass(frozen, eq, module = "leadership")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    inner: core::Leader,
}

impl From<core::Leader> for Leader {
    fn from(inner: core::Leader) -> Self {
        Leader { inner }
    }
}

impl Leader {
    /// The value, for a repr.
    pub(crate) fn shown(&self) -> String {
        show(&self.inner.value)
    }
}

#[pymethods]
impl Leader {
    /// The leader's value, as it campaigned with it.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.value)
    }

    /// The revision at which the key was created.
    #[getter]
    fn create_revision(&self) -> i64 {
        self.inner.create_revision
    }

    /// The revision at which the key was last written.
    #[getter]
    fn mod_revision(&self) -> i64 {
        self.inner.mod_revision
    }

    /// The lease the key hangs on.
    #[getter]
    fn lease_id(&self) -> i64 {
        self.inner.lease
    }

    /// The fencing token of the term; None if it cannot be known.
    #[getter]
    fn token(&self) -> Option<i64> {
        self.inner.token
    }

    fn __repr__(&self) -> String {
        let token = self.inner.token.map_or_else(|| "unknown".to_owned(), |token| token.to_string());
        format!("<leadership.Leader {} token={token} lease={:x}>", show(&self.inner.value), self.inner.lease)
    }
}
