//! The wrapper's side of one run of the command: the guardian that watches it, and what is heard of it.
//! Owns the guardian's process; what orders it gets is `mod`'s.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Socket;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use leadership_core::BootTime;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, waitpid};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;

use super::descend;
use super::guardian;
use super::link::{self, News, Order, Page};

/// Between two looks at what has still to be killed.
const AGAIN: Duration = Duration::from_millis(5);

/// A guardian and its group.
pub(super) struct Ward {
    id: Pid,
    orders: Socket,
    news: Lines<BufReader<UnixStream>>,
    page: Page,
}

impl Ward {
    /// Starts the guardian: this program again, with the arguments that were `typed`, and `environment` for the command.
    pub(super) fn start(typed: &[OsString], deadline: BootTime, environment: &[(&str, OsString)]) -> io::Result<Ward> {
        let page = Page::new()?;
        page.publish(deadline)?;
        let (orders, theirs) = Socket::pair()?;
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        link::send_files(orders.as_fd(), [page.0.as_fd(), io::stdin().as_fd(), own.as_fd()])?;
        let child = Command::new("/proc/self/exe")
            .arg0(guardian::NAME)
            .args(typed.iter().skip(1))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .spawn()?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("no process id"))?;
        orders.set_nonblocking(true)?;
        let news = UnixStream::from_std(orders.try_clone()?)?;
        Ok(Ward {
            id,
            orders,
            news: BufReader::new(news).lines(),
            page,
        })
    }

    /// The guardian's process id.
    pub(super) fn guardian(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    /// Passes an order on. A guardian that is dead is found by [`news`](Self::news).
    pub(super) fn order(&self, order: Order) {
        let _ = (&self.orders).write_all(order.line().as_bytes());
    }

    /// Lets the guardian know of the term's deadline.
    pub(super) fn publish(&self, deadline: BootTime) {
        // A page that cannot be written shows an older deadline: the safe side.
        let _ = self.page.publish(deadline);
    }

    /// What the guardian says next; `None`: it is dead. Cancel-safe.
    pub(super) async fn news(&mut self) -> Option<News> {
        loop {
            let line = self.news.next_line().await.ok().flatten()?;
            if let Some(news) = News::parse(&line) {
                return Some(news);
            }
        }
    }

    /// The guardian does not do its work any more.
    pub(super) fn kill_guardian(&self) {
        let _ = kill_process(self.id, Signal::KILL);
    }

    /// Collects a guardian that has ended, and kills what it left: that has fallen to us. Resolves when nothing is left
    /// but `spared`.
    pub(super) async fn bury(self, spared: impl Fn() -> Option<i32>) {
        loop {
            let own = self.guardian();
            // Not blocking: a guardian that was told to die is waited for like the others.
            let ended = !matches!(waitpid(Some(self.id), WaitOptions::NOHANG), Ok(None));
            let spare: Vec<i32> = spared().into_iter().chain((!ended).then_some(own)).collect();
            let left = descend::descendants(&spare);
            descend::signal(&left, Signal::KILL);
            for id in left.iter().filter_map(|id| Pid::from_raw(*id)) {
                let _ = waitpid(Some(id), WaitOptions::NOHANG);
            }
            if ended && left.is_empty() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
