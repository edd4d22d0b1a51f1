//! The demo's writes: a put, guarded by the term of this very process, ten times a second, over also when it is deposed.
//! Owns trying and telling; that a deposed one's writes fail is the core's and etcd's.

use std::time::Duration;

use leadership_core::{Error, Op, TermHandle};
use tokio::sync::watch;

use crate::event::Event;
use crate::output::Output;

const PACE: Duration = Duration::from_millis(100);

/// Writes `key` through the last term that was won, until a write is refused; then waits for the next term.
pub(super) async fn write(key: String, mut terms: watch::Receiver<Option<TermHandle>>, output: Output) {
    let mut refused = None;
    loop {
        let Some(term) = terms.borrow_and_update().clone() else {
            if terms.changed().await.is_err() {
                return;
            }
            continue;
        };
        if refused == Some(term.token()) {
            if terms.changed().await.is_err() {
                return;
            }
            continue;
        }
        let said = match term.txn().then([Op::put(key.as_str(), term.token().to_string())]).commit().await {
            Ok(reply) => output.event(&Event {
                revision: Some(reply.revision),
                remaining: Some(term.remaining()),
                ..Event::term("write_applied", &term)
            }),
            Err(error @ Error::NotLeader { .. }) => {
                refused = Some(term.token());
                output.event(&Event {
                    reason: term.lost_reason().map(|reason| reason.name().to_owned()),
                    error: Some(error.to_string()),
                    ..Event::term("write_refused", &term)
                })
            }
            // Not applied, or nobody knows: the next one tells.
            Err(_) => Ok(()),
        };
        if said.is_err() {
            return; // the election's own lines find out, too, and end in order
        }
        tokio::time::sleep(PACE).await;
    }
}
