//! A leader that yields to its betters: it looks now and then whether a candidate of higher priority stands, and hands
//! over to it. Owns when; how is `handing`'s.

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::handing::transfer;
use super::shared::Shared;
use crate::clock::Alarm;
use crate::error::{Error, show};
use crate::handing::{Successor, roster};
use crate::io::Io;
use crate::term::TermShared;

/// Looks until it is dropped, or the term is lost.
pub(super) struct TakeBack(AbortHandle);

impl Drop for TakeBack {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TakeBack {
    /// `None` if it is not wanted. A queue has an order of its own.
    pub(super) fn watch(io: &Rc<Io>, el: &Arc<Shared>, term: &Arc<TermShared>) -> Option<TakeBack> {
        if !el.options.take_back || el.queue.is_some() {
            return None;
        }
        let (io, el, term) = (io.clone(), el.clone(), term.clone());
        let task = tokio::task::spawn_local(async move {
            let Ok(mut alarm) = Alarm::new(&io.etcd.clock) else { return };
            while term.deadline.lost().is_none() {
                alarm.wait_until(io.reread_at()).await;
                if let Err(error) = look(&io, &el).await {
                    log::info!("{}: {error}", show(el.lead.key()));
                }
            }
        });
        Some(TakeBack(task.abort_handle()))
    }
}

async fn look(io: &Rc<Io>, el: &Arc<Shared>) -> Result<(), Error> {
    let roster = roster(io, el.lead.key()).await?;
    let better = roster.candidates.iter().filter(|candidate| candidate.priority > el.options.priority);
    let Some(better) = better.max_by_key(|candidate| candidate.priority) else { return Ok(()) };
    log::info!("{}: hands over to {:?}, whose priority is higher", show(el.lead.key()), show(&better.value));
    // A task of its own: the hand-over goes on when the term, and with it this look-out, has ended.
    let (io, el) = (io.clone(), el.clone());
    tokio::task::spawn_local(async move {
        if let Err(error) = transfer(io, el.clone(), Successor::Highest).await {
            log::info!("{}: not handed over: {error}", show(el.lead.key()));
        }
    });
    Ok(())
}
