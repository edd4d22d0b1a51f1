//! One thread for user code that must not run on the I/O thread: callbacks and completions of the bindings.
//! Owns the thread and its tiny executor; what a task does is the binding's.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use crate::blocking::block_on;
use crate::error::{Error, Result};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread that runs tasks in the order in which they become ready, never two at once. Started with the first task;
/// ends when it is dropped and every task has ended.
///
/// A task that forks and goes on in the child ends that child's only thread with it, and so the child, with status 0:
/// the other tasks are the parent's (S12).
#[derive(Debug)]
pub struct Dispatcher {
    tasks: Mutex<Option<mpsc::UnboundedSender<Task>>>,
    process: u32,
}

impl Default for Dispatcher {
    fn default() -> Dispatcher {
        Dispatcher {
            tasks: Mutex::default(),
            process: std::process::id(),
        }
    }
}

const THREAD_NAME: &str = "leadership-call";

thread_local! {
    /// Without a destructor, so that it can be asked at the end of the thread too.
    static CURRENT: Cell<bool> = const { Cell::new(false) };
}

impl Dispatcher {
    /// No thread yet.
    #[must_use]
    pub fn new() -> Dispatcher {
        Dispatcher::default()
    }

    /// Runs a task on the thread. A task must catch its own panics (the bindings do): one that escapes ends the thread.
    ///
    /// # Errors
    /// `Internal` if the thread cannot be started; `Forked` in a child of the process that made it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        if self.process != std::process::id() {
            return Err(Error::Forked);
        }
        let process = self.process;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = match &*tasks {
            Some(tasks) => tasks,
            None => {
                let (sender, inbox) = mpsc::unbounded_channel();
                std::thread::Builder::new()
                    .name(THREAD_NAME.to_owned())
                    .spawn(move || {
                        CURRENT.set(true);
                        block_on(run(inbox, process), None, None)
                    })
                    .map_err(|error| Error::internal(format!("no thread for callbacks: {error}")))?;
                tasks.insert(sender)
            }
        };
        tasks.send(of_process(process, task)).map_err(|_| Error::internal("the thread for callbacks has ended"))
    }

    /// True on the thread of any dispatcher: where closing would wait for itself (S14).
    #[must_use]
    pub fn is_current() -> bool {
        CURRENT.get()
    }
}

async fn run(inbox: mpsc::UnboundedReceiver<Task>, process: u32) {
    let mut all = Box::pin(run_all(inbox));
    // Looked at after every turn: a task may have forked, and this may be the child.
    std::future::poll_fn(|context| match all.as_mut().poll(context) {
        Poll::Pending if process == std::process::id() => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
    if process != std::process::id() {
        std::mem::forget(all); // the tasks are the parent's, to be run and to be dropped
    }
}

/// A task that does not go on in a forked child, where it may have been forked by another task or by itself.
fn of_process(process: u32, task: impl Future<Output = ()> + Send + 'static) -> Task {
    let mut task = Box::pin(task);
    Box::pin(std::future::poll_fn(move |context| {
        if process != std::process::id() {
            return Poll::Pending;
        }
        let polled = task.as_mut().poll(context);
        if process == std::process::id() { polled } else { Poll::Pending }
    }))
}

async fn run_all(mut inbox: mpsc::UnboundedReceiver<Task>) {
    let mut tasks = FuturesUnordered::new();
    loop {
        tokio::select! {
            task = inbox.recv() => match task {
                Some(task) => tasks.push(task),
                None => break,
            },
            Some(()) = tasks.next() => {}
        }
    }
    while tasks.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tasks_run_on_one_thread_of_their_own_in_order() -> Result<()> {
        let dispatcher = Dispatcher::new();
        assert!(!Dispatcher::is_current());
        let (told, heard) = std::sync::mpsc::channel();
        for number in 0..3 {
            let told = told.clone();
            dispatcher.spawn(async move {
                let _ = told.send((number, Dispatcher::is_current(), std::thread::current().id()));
            })?;
        }
        let all: Vec<_> = (0..3).filter_map(|_| heard.recv_timeout(Duration::from_secs(5)).ok()).collect();
        let numbers: Vec<_> = all.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert!(all.iter().all(|(_, current, id)| *current && Some(id) == all.first().map(|(.., id)| id)));
        Ok(())
    }
}
