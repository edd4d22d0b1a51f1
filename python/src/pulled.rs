//! What is read one after the other, by whichever thread asks: events, an observer's news. Owns that one thread reads at
//! a time, and that closing ends a read that waits; what comes next is the core's.

use std::future::Future;
use std::time::Duration;

use futures_util::future::{Either, select};
use leadership_core::{CancelToken, Client, Error};
use pyo3::prelude::*;
use tokio::sync::Mutex;

use crate::error::{raise, unforked};
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// A source of the core's: it says `None` at its end, and loses nothing when a read is given up.
pub(crate) trait Source: Send + 'static {
    /// What it gives.
    type Item: Send + 'static;
    /// The next one.
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;
}

/// A source behind a lock that waits without a thread's help.
#[derive(Debug)]
pub(crate) struct Pulled<S: Send> {
    source: Unlocked<Mutex<S>>,
    closed: CancelToken,
}

impl<S: Source> Pulled<S> {
    pub(crate) fn new(source: S) -> Self {
        Pulled { source: Unlocked::new(Mutex::new(source)), closed: CancelToken::new() }
    }

    /// The next one; `None` at the end, or once closed. A `Timeout` when the time was up.
    pub(crate) fn next(
        &self,
        py: Python<'_>,
        client: &Client,
        timeout: Option<Duration>,
        what: &str,
    ) -> PyResult<Option<S::Item>> {
        unforked(py, client)?;
        let Some(source) = self.source.get() else { return Ok(None) };
        if self.closed.is_cancelled() {
            return Ok(None);
        }
        let next = async {
            let next = std::pin::pin!(async { source.lock().await.next().await });
            match select(std::pin::pin!(self.closed.cancelled()), next).await {
                Either::Left(_) => None,
                Either::Right((next, _)) => next,
            }
        };
        match wait(py, next, timeout)? {
            Some(next) => Ok(next),
            None => Err(raise(py, Error::Timeout { message: what.to_owned() })),
        }
    }

    /// Ends the read that waits, and every later one.
    pub(crate) fn close(&self, py: Python<'_>, client: &Client) -> PyResult<()> {
        unforked(py, client)?;
        self.closed.cancel();
        Ok(())
    }
}
