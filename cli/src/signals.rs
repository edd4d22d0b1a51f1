//! TERM and INT: the first asks for an orderly end, a second one ends the process at once.
//! Owns the signals; what an orderly end is, each command knows.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// Listens from its creation on, on a thread of its own: also a command that is stuck can be killed by a second signal.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    stop: watch::Receiver<Option<u8>>,
}

impl Signals {
    /// `stdin`: the end of standard input counts as a TERM, too.
    pub(crate) fn listen(stdin: bool) -> Result<Signals, Failure> {
        let no = |error: std::io::Error| Failure::other(format!("signals: {error}"));
        let (told, stop) = watch::channel(None);
        let (started, listening) = std::sync::mpsc::channel();
        if stdin {
            let told = told.clone();
            std::thread::Builder::new()
                .name("stdin".to_owned())
                .spawn(move || {
                    let _ = std::io::stdin().read_to_end(&mut Vec::new());
                    told.send_if_modified(|stop| stop.replace(15).is_none());
                })
                .map_err(no)?;
        }
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(Err(error))),
                };
                runtime.block_on(async move {
                    let (mut term, mut int) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
                        (Ok(term), Ok(int)) => (term, int),
                        (Err(error), _) | (_, Err(error)) => return drop(started.send(Err(error))),
                    };
                    let _ = started.send(Ok(()));
                    let mut seen = false;
                    loop {
                        let number = tokio::select! {
                            _ = term.recv() => 15,
                            _ = int.recv() => 2,
                        };
                        if std::mem::replace(&mut seen, true) {
                            std::process::exit(128 + i32::from(number));
                        }
                        told.send_replace(Some(number));
                    }
                });
            })
            .map_err(no)?;
        match listening.recv() {
            Ok(Ok(())) => Ok(Signals { stop }),
            Ok(Err(error)) => Err(no(error)),
            Err(_) => Err(Failure::other("signals: the thread that listens ended")),
        }
    }

    /// Resolves with the number of the signal that asks for an end. Cancel-safe.
    pub(crate) async fn stop(&mut self) -> u8 {
        loop {
            if let Some(number) = *self.stop.borrow_and_update() {
                return number;
            }
            if self.stop.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
