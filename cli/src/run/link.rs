//! Between the wrapper and the guardian: a socket for words, and a page of shared memory for the deadline.
//! Owns their form; what the words make happen is decided at each end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use leadership_core::BootTime;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{pread, pwrite};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The term's deadline, for another process to read: an anonymous file in memory. Survives a writer that is stopped.
#[derive(Debug)]
pub(super) struct Page(pub(super) OwnedFd);

impl Page {
    pub(super) fn new() -> io::Result<Page> {
        Ok(Page(memfd_create("leadership-deadline", MemfdFlags::CLOEXEC)?))
    }

    /// By one writer. The number and its complement: half a write is seen as such.
    pub(super) fn publish(&self, deadline: BootTime) -> io::Result<()> {
        let mut words = [0; 16];
        let (number, complement) = words.split_at_mut(8);
        number.copy_from_slice(&deadline.0.to_ne_bytes());
        complement.copy_from_slice(&(!deadline.0).to_ne_bytes());
        match pwrite(&self.0, &words, 0)? {
            16 => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// What was published last; `None` if that cannot be read.
    pub(super) fn read(&self) -> Option<BootTime> {
        for _ in 0..100 {
            let mut words = [0; 16];
            if !matches!(pread(&self.0, &mut words[..], 0), Ok(16)) {
                return None;
            }
            let number = u64::from_ne_bytes(words.first_chunk().copied()?);
            if u64::from_ne_bytes(words.last_chunk().copied()?) == !number {
                return Some(BootTime(number));
            }
        }
        None
    }
}

/// What the wrapper says, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The term runs: start the command. Its margins come with it.
    Start { margin: Duration, grace: Duration },
    /// End the group with this signal, and kill it then at the latest.
    End { signal: i32, kill_at: BootTime },
    /// Pass a signal on.
    Signal(i32),
    /// Kill it now.
    Kill,
}

impl Order {
    pub(super) fn line(self) -> String {
        match self {
            Order::Start { margin, grace } => format!("start {} {}\n", margin.as_nanos(), grace.as_nanos()),
            Order::End { signal, kill_at } => format!("end {signal} {}\n", kill_at.0),
            Order::Signal(signal) => format!("signal {signal}\n"),
            Order::Kill => "kill\n".to_owned(),
        }
    }

    pub(super) fn parse(line: &str) -> Option<Order> {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        Some(match *words.as_slice() {
            ["start", margin, grace] => Order::Start {
                margin: Duration::from_nanos(margin.parse().ok()?),
                grace: Duration::from_nanos(grace.parse().ok()?),
            },
            ["end", signal, kill_at] => Order::End {
                signal: signal.parse().ok()?,
                kill_at: BootTime(kill_at.parse().ok()?),
            },
            ["signal", signal] => Order::Signal(signal.parse().ok()?),
            ["kill"] => Order::Kill,
            _ => return None,
        })
    }
}

/// What the guardian says, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The command runs, with this process id.
    Started(i32),
    /// The guardian ends it by itself: the deadline has come near.
    Ending,
    /// The command ended, with this code as a shell counts.
    Exited(u8),
    /// Nothing of it is left.
    Gone,
}

impl News {
    pub(super) fn line(self) -> String {
        match self {
            News::Started(pid) => format!("started {pid}\n"),
            News::Ending => "ending\n".to_owned(),
            News::Exited(code) => format!("exited {code}\n"),
            News::Gone => "gone\n".to_owned(),
        }
    }

    pub(super) fn parse(line: &str) -> Option<News> {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        Some(match *words.as_slice() {
            ["started", pid] => News::Started(pid.parse().ok()?),
            ["ending"] => News::Ending,
            ["exited", code] => News::Exited(code.parse().ok()?),
            ["gone"] => News::Gone,
            _ => return None,
        })
    }
}

/// The files that come with the wrapper's first word.
pub(super) struct Files {
    pub(super) page: Page,
    /// The command's standard input.
    pub(super) stdin: OwnedFd,
    /// The wrapper, as long as it lives.
    pub(super) wrapper: OwnedFd,
}

/// Sends the first word and the files.
pub(super) fn send_files(socket: BorrowedFd<'_>, files: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("three files do not fit a message"));
    }
    sendmsg(socket, &[IoSlice::new(b"\n")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The other end of [`send_files`].
pub(super) fn receive_files(socket: impl AsFd) -> io::Result<Files> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut files = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => files.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    match (files.next(), files.next(), files.next()) {
        (Some(page), Some(stdin), Some(wrapper)) => Ok(Files {
            page: Page(page),
            stdin,
            wrapper,
        }),
        _ => Err(io::Error::other("the wrapper sent no files")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test's way to fail
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_the_way() {
        let orders = [
            Order::Start {
                margin: Duration::from_millis(500),
                grace: Duration::ZERO,
            },
            Order::End {
                signal: 15,
                kill_at: BootTime(u64::MAX),
            },
            Order::Signal(1),
            Order::Kill,
        ];
        assert!(orders.iter().all(|order| Order::parse(&order.line()) == Some(*order)));
        let news = [News::Started(7), News::Ending, News::Exited(143), News::Gone];
        assert!(news.iter().all(|news| News::parse(&news.line()) == Some(*news)));
        assert_eq!((Order::parse("end x 1"), News::parse("exited 256")), (None, None));
    }

    #[test]
    fn the_page_shows_what_was_published_last() {
        let page = Page::new().unwrap();
        assert_eq!(page.read(), None, "nothing yet");
        for deadline in [1, u64::MAX, 77] {
            page.publish(BootTime(deadline)).unwrap();
            assert_eq!(page.read(), Some(BootTime(deadline)));
        }
        let torn = [7_u64.to_ne_bytes(), 7_u64.to_ne_bytes()].concat();
        pwrite(&page.0, &torn, 0).unwrap();
        assert_eq!(page.read(), None, "half a write");
    }

    #[test]
    fn files_go_through_the_socket() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let page = Page::new().unwrap();
        page.publish(BootTime(9)).unwrap();
        let stdin = std::fs::File::open("/dev/null").unwrap();
        send_files(ours.as_fd(), [page.0.as_fd(), stdin.as_fd(), stdin.as_fd()]).unwrap();
        assert_eq!(receive_files(&theirs).unwrap().page.read(), Some(BootTime(9)));
    }
}
