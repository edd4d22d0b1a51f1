//! Signals that come to the wrapper, in order, for as long as it lives.
//! Owns hearing them; which are passed on, and which end something, is `mod`'s.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Those that a command may have a meaning for. Window changes come to it by its terminal, not by us.
const HEARD: [i32; 6] = [1, 2, 3, 10, 12, 15];

/// The signals, from the creation of this on.
pub(super) struct Arrivals(mpsc::UnboundedReceiver<i32>);

impl Arrivals {
    /// Must be called in the runtime that lives as long as the wrapper.
    pub(super) fn listen() -> io::Result<Arrivals> {
        let (told, heard) = mpsc::unbounded_channel();
        for number in HEARD {
            let mut arrivals = signal(SignalKind::from_raw(number))?;
            let told = told.clone();
            tokio::spawn(async move {
                while arrivals.recv().await.is_some() && told.send(number).is_ok() {}
            });
        }
        Ok(Arrivals(heard))
    }

    /// The next signal's number. Cancel-safe.
    pub(super) async fn next(&mut self) -> i32 {
        match self.0.recv().await {
            Some(number) => number,
            None => std::future::pending().await, // the tasks above end with the runtime only
        }
    }
}

/// Does this signal ask for an end?
pub(super) fn asks_for_an_end(signal: i32) -> bool {
    matches!(signal, 2 | 3 | 15)
}
