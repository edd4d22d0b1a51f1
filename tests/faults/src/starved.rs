//! How long the library's own threads were ready to run and did not get a processor, by the kernel's count.
//! Owns reading it; a holder that was starved hears late of what others did, and that is the machine's fault.

use std::path::PathBuf;

/// The name of the library's threads.
const THREAD: &str = "leadership-io";

/// The waits of the library's threads in this process.
#[derive(Default)]
pub(crate) struct Waits {
    /// Where the kernel counts each thread, and what it said last, ns.
    threads: Vec<(PathBuf, u64)>,
}

impl Waits {
    /// The threads there are now.
    pub(crate) fn find() -> Waits {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let ours = tasks.map(|task| task.path()).filter(|task| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == THREAD)
        });
        let mut waits = Waits {
            threads: ours.map(|task| (task.join("schedstat"), 0)).collect(),
        };
        waits.longest();
        waits
    }

    /// True if there are none yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// The longest that any of them has waited since this was last asked, ns.
    pub(crate) fn longest(&mut self) -> u64 {
        let mut longest = 0;
        for (path, before) in &mut self.threads {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            // "time on a processor, time waiting for one, turns"
            if let Some(now) = text.split_whitespace().nth(1).and_then(|waited| waited.parse::<u64>().ok()) {
                longest = longest.max(now.saturating_sub(*before));
                *before = now;
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_that_name_are_found_and_counted() {
        assert!(Waits::find().is_empty());
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name(THREAD.to_owned());
        let thread = thread.spawn(move || {
            let _ = (begun.send(()), ended.recv());
        });
        assert!(has_begun.recv().is_ok());
        let waits = Waits::find();
        assert_eq!(waits.threads.len(), 1);
        assert!(waits.threads.iter().all(|(path, _)| std::fs::read_to_string(path).is_ok_and(|text| text.split_whitespace().count() == 3)));
        drop(end);
        assert!(thread.is_ok_and(|thread| thread.join().is_ok()));
    }
}
