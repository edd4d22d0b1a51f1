//! One thread for user code that must not run on the I/O thread: callbacks and completions of the bindings.
//! Owns the thread and its tiny executor; what a task does is the binding's.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};

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
    /// Tasks that have not ended, without those that wait for this.
    running: Arc<watch::Sender<usize>>,
    /// Those.
    closing: Arc<watch::Sender<usize>>,
    process: u32,
}

impl Default for Dispatcher {
    fn default() -> Dispatcher {
        Dispatcher {
            tasks: Mutex::default(),
            running: Arc::new(watch::Sender::new(0)),
            closing: Arc::new(watch::Sender::new(0)),
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
        self.send(task, &self.running)
    }

    /// [`spawn`](Self::spawn) for a task that itself waits for [`quiet`](Self::quiet).
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_closing(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        self.send(task, &self.closing)
    }

    fn send(&self, task: impl Future<Output = ()> + Send + 'static, count: &Arc<watch::Sender<usize>>) -> Result<()> {
        if self.forked() {
            return Err(Error::Forked);
        }
        let process = self.process;
        let counted = Counted::new(count);
        let task = async move {
            let _counted = counted; // dropped after everything of the task
            task.await;
        };
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

    /// Resolves when every task of [`spawn`](Self::spawn) has ended. Cancel-safe.
    pub fn quiet(&self) -> impl Future<Output = ()> + Send + use<> {
        none(&self.running)
    }

    /// Resolves when every task has ended. Never, if the caller is one.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let (running, closing) = (none(&self.running), none(&self.closing));
        async move {
            running.await;
            closing.await;
        }
    }

    /// True on the thread of any dispatcher: where closing would wait for itself (S14).
    #[must_use]
    pub fn is_current() -> bool {
        CURRENT.get()
    }

    fn forked(&self) -> bool {
        self.process != std::process::id()
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        if self.forked() {
            std::mem::forget(std::mem::take(&mut self.tasks));
            std::mem::forget((self.running.clone(), self.closing.clone()));
        }
    }
}

fn none(count: &Arc<watch::Sender<usize>>) -> impl Future<Output = ()> + Send + use<> {
    let mut count = count.subscribe();
    async move {
        // The last task's end may let go of the sender, which is as good.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(count: &Arc<watch::Sender<usize>>) -> Counted {
        count.send_modify(|count| *count += 1);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
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

    #[test]
    fn a_task_that_closes_waits_for_the_others_and_is_waited_for() -> Result<()> {
        let dispatcher = Arc::new(Dispatcher::new());
        let (told, heard) = std::sync::mpsc::channel();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        for name in ["first", "second"] {
            let (told, quiet) = (told.clone(), dispatcher.quiet());
            dispatcher.spawn(async {})?;
            dispatcher.spawn_closing(async move {
                quiet.await;
                let _ = told.send(name);
            })?;
        }
        let last = told.clone();
        dispatcher.spawn(async move {
            let _ = gone.await;
            let _ = last.send("task");
        })?;
        assert!(block_on(dispatcher.ended(), Some(Duration::from_millis(20)), None).is_err(), "one still runs");
        let _ = go.send(());
        let ended = block_on(dispatcher.ended(), Some(Duration::from_secs(5)), None);
        assert!(ended.is_ok(), "two that close do not wait for each other");
        let mut all: Vec<_> = heard.try_iter().collect();
        assert_eq!(all.first(), Some(&"task"));
        all.sort_unstable();
        assert_eq!(all, ["first", "second", "task"]);
        Ok(())
    }
}
