//! News that C fetches when it likes, and a file descriptor that is readable while there are any.
//! Owns the descriptor and when it is readable; what is news, and that a slow reader gets the latest, is the core's.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use leadership_core::{ElectorEvent, ElectorEvents, Error, Observed, Observer, Result};
use tokio::sync::oneshot;

use crate::callback::{Calls, UserData};

/// A stream of news that holds no more than what is known now; a clone goes on by itself.
pub(crate) trait Source: Clone + Send + 'static {
    type News: Send;

    /// The next news, none at the end. A future that is dropped has taken nothing.
    fn next(&mut self) -> impl Future<Output = Option<Self::News>> + Send;
}

impl Source for ElectorEvents {
    type News = ElectorEvent;

    async fn next(&mut self) -> Option<ElectorEvent> {
        ElectorEvents::next(self).await
    }
}

impl Source for Observer {
    type News = Observed;

    async fn next(&mut self) -> Option<Observed> {
        Observer::next(self).await
    }
}

/// What its readers have not read.
pub(crate) struct Unread<S>(Arc<Mutex<Reading<S>>>);

struct Reading<S> {
    source: S,
    flag: Option<Flag>,
}

struct Flag {
    /// An eventfd: readable when its count is above 0.
    event: File,
    raised: bool,
    /// Ends the task that raises it.
    _following: oneshot::Sender<()>,
}

impl<S: Source> Reading<S> {
    /// Makes the descriptor readable if there is anything to read, which its end is too.
    fn settle(&mut self) {
        let Some(flag) = &mut self.flag else { return };
        let unread = self.source.clone().next().now_or_never().is_some();
        if unread == flag.raised {
            return;
        }
        let mut count = [0; 8];
        let done = if unread { flag.event.write(&1u64.to_ne_bytes()) } else { flag.event.read(&mut count) };
        match done {
            Ok(_) => flag.raised = unread,
            Err(error) => log::error!("the file descriptor of unread events: {error}"),
        }
    }
}

impl<S: Source> Unread<S> {
    pub(crate) fn new(source: S) -> Unread<S> {
        Unread(Arc::new(Mutex::new(Reading { source, flag: None })))
    }

    fn reading(&self) -> MutexGuard<'_, Reading<S>> {
        lock(&self.0)
    }

    /// The next news, for one of those who wait for it; none at the end.
    pub(crate) async fn next(&self) -> Option<S::News> {
        loop {
            let mut ahead = {
                let mut reading = self.reading();
                let news = reading.source.next().now_or_never();
                reading.settle();
                match news {
                    Some(news) => return news,
                    None => reading.source.clone(),
                }
            };
            ahead.next().await; // somebody has news: us, unless another reader is faster
        }
    }

    /// The descriptor, which lives as long as this; made for the first who asks.
    pub(crate) fn fd(&self, calls: &Calls) -> Result<RawFd> {
        let mut reading = self.reading();
        if let Some(flag) = &reading.flag {
            return Ok(flag.event.as_raw_fd());
        }
        // SAFETY: no memory is involved; a failure is looked at below.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            let error = io::Error::last_os_error();
            return Err(Error::Internal { message: format!("no file descriptor for events: {error}") });
        }
        // SAFETY: made above, and nobody else's.
        let event = unsafe { File::from_raw_fd(event) };
        let fd = event.as_raw_fd();
        let (following, mut gone) = oneshot::channel();
        let mut ahead = reading.source.clone();
        let watched = Arc::downgrade(&self.0);
        // A reader that is always ahead: whatever is news to it may be news to the slower one.
        calls.spawn(UserData::new(ptr::null_mut(), None), move |_| async move {
            loop {
                let news = tokio::select! {
                    news = ahead.next() => news,
                    _ = &mut gone => return,
                };
                let Some(reading) = watched.upgrade() else { return };
                lock(&reading).settle();
                if news.is_none() {
                    return;
                }
            }
        })?;
        reading.flag = Some(Flag { event, raised: false, _following: following });
        reading.settle();
        Ok(fd)
    }
}

fn lock<S>(reading: &Mutex<Reading<S>>) -> MutexGuard<'_, Reading<S>> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}
