//! The I/O thread's life: what it is started with, its loop, its orderly end.
//! Owns the order in which a client ends; what runs on the thread is `io`'s, `etcd`'s and the leaderships'.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use crate::clock::{Alarm, Clock};
use crate::error::{Error, Reason, Result};
use crate::etcd::{Dialer, Etcd, Plan, Renewals, Renewer, Watcher, Watches, keep_in_sync};
use crate::io::{Io, Job};
use crate::moving::{self, Moves};
use crate::options::{ClientOptions, Validity};
use crate::pages::Pages;
use crate::release;
use crate::term::TermShared;

/// How long [`Client::close`](crate::Client::close) waits for what drops have queued and for every release.
const CLOSE_FLUSH: Duration = Duration::from_secs(10);

/// What the I/O thread is started with.
pub(crate) struct Parts {
    pub(crate) options: ClientOptions,
    pub(crate) plans: Vec<Plan>,
    /// For endpoints that come later; `None` in process.
    pub(crate) dialer: Option<Dialer>,
    pub(crate) clock: Clock,
    pub(crate) pages: Arc<Pages>,
    pub(crate) inbox: mpsc::UnboundedReceiver<Job>,
    pub(crate) closed: Arc<AtomicBool>,
    /// Dropped when every term has ended.
    pub(crate) ending: watch::Sender<()>,
    pub(crate) _alive: watch::Sender<()>,
}

/// Runs until the client is closed, or its last handle is gone.
pub(crate) async fn io_main(parts: Parts) {
    let Parts {
        options,
        plans,
        dialer,
        clock,
        pages,
        mut inbox,
        closed,
        ending,
        _alive,
    } = parts;
    let (changed_told, mut changed) = mpsc::unbounded_channel();
    let (lost_told, mut lost) = mpsc::unbounded_channel();
    let validity = Validity {
        drift_ppm: options.drift_ppm,
    };
    let etcd = Rc::new(Etcd::open(&options, plans, clock.clone(), changed_told));
    let watcher = Watcher::new(etcd.clone(), Watches::new(options.reread), lost_told.clone());
    let renewals = Renewals::new(validity, etcd.members().len());
    let renewer = Renewer::new(etcd.clone(), renewals, watcher.clone(), lost_told);
    let io = Rc::new(Io {
        etcd,
        renewer: renewer.clone(),
        watcher: watcher.clone(),
        validity,
        reread: options.reread,
        pages,
        next_id: Cell::new(1),
        closing: RefCell::default(),
        close: Notify::new(),
        closed,
        releasing: watch::Sender::new(0),
        kept: RefCell::default(),
        loops: RefCell::default(),
        campaigns: RefCell::default(),
        moves: Moves::default(),
    });
    let (Ok(renew_alarm), Ok(watch_alarm)) = (Alarm::new(&clock), Alarm::new(&clock)) else {
        log::error!("no timer of the boot clock: the client cannot run");
        io.closed.store(true, Ordering::Release);
        return;
    };
    let renewing = tokio::task::spawn_local(renewer.run(renew_alarm));
    let watching = tokio::task::spawn_local(watcher.run(watch_alarm));
    let syncing = options.endpoint_sync.zip(dialer).map(|(interval, dialer)| {
        tokio::task::spawn_local(keep_in_sync(io.etcd.clone(), dialer, interval))
    });
    let moving = tokio::task::spawn_local(moving::run(io.clone()));
    loop {
        tokio::select! {
            job = inbox.recv() => match job {
                Some(job) => job(&io),
                None => break,
            },
            Some(term) = lost.recv() => release::lost(&io, &term),
            Some(message) = changed.recv() => cluster_changed(&io, &message),
            () = io.close.notified() => break,
        }
    }
    io.closed.store(true, Ordering::Release);
    let flushed = shut_down(&io, &mut inbox, &mut lost, ending).await;
    renewing.abort();
    watching.abort();
    syncing.inspect(|syncing| syncing.abort());
    moving.abort();
    let waiting = io.closing.take();
    for told in waiting {
        let _ = told.send(flushed.clone());
    }
    // Whoever was told must get to run before a runtime of our own is gone.
    tokio::task::yield_now().await;
}

async fn shut_down(
    io: &Rc<Io>,
    inbox: &mut mpsc::UnboundedReceiver<Job>,
    lost: &mut mpsc::UnboundedReceiver<Arc<TermShared>>,
    ending: watch::Sender<()>,
) -> Result<()> {
    while let Ok(term) = lost.try_recv() {
        release::lost(io, &term); // found lost for a reason of its own just before
    }
    for term in io.renewer.with(|machine, _| machine.running()) {
        term.deadline.end(Reason::Closed);
        release::lost(io, &term);
    }
    for kept in io.kept.borrow().values() {
        if let Some(resets) = kept.resets.upgrade() {
            resets.reset(); // ends campaigns and watches under way
        }
    }
    drop(ending);
    let flush = async {
        // What drops have queued comes first: their messages are in the inbox already.
        while let Ok(job) = inbox.try_recv() {
            job(io);
        }
        tokio::task::yield_now().await;
        let mut releasing = io.releasing.subscribe();
        drained(&mut releasing, inbox, io).await;
        // Leases of their own: those that carried terms went with them.
        for lease in io.renewer.with(|machine, _| machine.leases()) {
            lease.deadline.end(Reason::Closed);
            if !lease.closed.swap(true, Ordering::AcqRel) {
                io.retire(lease);
            }
        }
        drained(&mut releasing, inbox, io).await;
    };
    let flushed = tokio::time::timeout(CLOSE_FLUSH, flush).await;
    io.kept.borrow_mut().clear();
    flushed.map_err(|_| Error::Timeout {
        message: format!("{} releases were not confirmed within {CLOSE_FLUSH:?}", *io.releasing.borrow()),
    })
}

/// Waits until no release is under way.
async fn drained(releasing: &mut watch::Receiver<usize>, inbox: &mut mpsc::UnboundedReceiver<Job>, io: &Rc<Io>) {
    while *releasing.borrow_and_update() > 0 {
        tokio::select! {
            _ = releasing.changed() => {}
            Some(job) = inbox.recv() => job(io),
        }
    }
}

fn cluster_changed(io: &Rc<Io>, message: &str) {
    log::error!("another cluster answers, every term ends: {message}");
    io.watcher.with(|machine, now, _| machine.forget_cluster(now));
    for term in io.renewer.with(|machine, _| {
        machine.forget_cluster();
        machine.running()
    }) {
        term.deadline.end(Reason::ClusterChanged);
        release::lost(io, &term);
    }
}
