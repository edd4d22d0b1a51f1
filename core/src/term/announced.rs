//! What was announced of a term: a byte that costs nothing, and a channel once somebody waits for changes.
//! Owns keeping the two in step; what is announced, and when, is the renewals' and the release's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering, fence};

use tokio::sync::watch;

use super::TermState;
use crate::error::Reason;

/// The byte of a term that leads; …
const LEADING: u8 = 0;
/// … of one in jeopardy; …
const JEOPARDY: u8 = 1;
/// … and the number of the reason is added to this, once it was lost.
const LOST: u8 = 2;

fn byte(state: TermState) -> u8 {
    match state {
        TermState::Leading => LEADING,
        TermState::Jeopardy => JEOPARDY,
        TermState::Lost(reason) => LOST + reason as u8,
    }
}

fn state(byte: u8) -> TermState {
    match byte {
        LEADING => TermState::Leading,
        JEOPARDY => TermState::Jeopardy,
        // Only `byte` makes these, so every number is a reason's.
        lost => TermState::Lost(Reason::from_number(lost - LOST).unwrap_or(Reason::Expired)),
    }
}

/// The level of a term, for any thread. There is one for each term, and most have nobody who waits: the channel, ten
/// times as large as the rest of it, is made for the first who does.
pub(crate) struct Announced {
    now: AtomicU8,
    told: OnceLock<watch::Sender<TermState>>,
}

impl Announced {
    /// Of a term that begins.
    pub(crate) fn leading() -> Announced {
        Announced {
            now: AtomicU8::new(LEADING),
            told: OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> TermState {
        state(self.now.load(Ordering::Acquire))
    }

    /// Changes the level if `change` gives another for the present one. True if it did.
    pub(crate) fn change(&self, change: impl Fn(TermState) -> Option<TermState>) -> bool {
        let change = |now| Some(byte(change(state(now))?));
        if self.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_err() {
            return false;
        }
        // With the one in `subscribe`: either we see its channel, or it sees what has just been written.
        fence(Ordering::SeqCst);
        if let Some(told) = self.told.get() {
            self.tell(told);
        }
        true
    }

    /// The level of now and its changes from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<TermState> {
        self.subscribe_while(|| {})
    }

    /// `meanwhile` happens while the channel is made, for the test of that instant.
    fn subscribe_while(&self, meanwhile: impl FnOnce()) -> watch::Receiver<TermState> {
        let told = self.told.get_or_init(|| {
            let now = self.get();
            meanwhile();
            watch::Sender::new(now)
        });
        let reader = told.subscribe();
        fence(Ordering::SeqCst);
        self.tell(told); // a change that found no channel, after the channel was given its first level
        reader
    }

    /// Brings the channel up to the byte. Under the channel's lock, so that the last to come leaves the latest.
    fn tell(&self, told: &watch::Sender<TermState>) {
        told.send_if_modified(|shown| {
            let now = self.get();
            std::mem::replace(shown, now) != now
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LOST: TermState = TermState::Lost(Reason::KeyDeleted);

    #[test]
    fn every_state_survives_its_byte() {
        let reasons = (0..=u8::MAX).filter_map(Reason::from_number).map(TermState::Lost);
        let all: Vec<_> = [TermState::Leading, TermState::Jeopardy].into_iter().chain(reasons).collect();
        assert!(all.len() > 2);
        assert!(all.iter().all(|one| state(byte(*one)) == *one), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_changes_whenever_it_began_to_wait() {
        let level = Announced::leading();
        assert!(level.change(|_| Some(TermState::Jeopardy)));
        let mut first = level.subscribe();
        assert_eq!(*first.borrow_and_update(), TermState::Jeopardy, "changed before anybody waited");
        let idle = tokio::time::timeout(Duration::from_secs(1), first.changed()).await;
        assert!(idle.is_err(), "no change, no wake-up");
        assert!(!level.change(|now| (now == TermState::Leading).then_some(LOST)), "not what it was");
        assert!(level.change(|_| Some(LOST)));
        assert!(first.changed().await.is_ok());
        assert_eq!((*first.borrow(), level.get()), (LOST, LOST));
    }

    /// A loss announced in the instant in which the first one begins to wait reaches it.
    #[tokio::test(start_paused = true)]
    async fn s5_a_loss_is_not_missed_by_who_begins_to_wait_at_that_instant() {
        let level = Announced::leading();
        let mut reader = level.subscribe_while(|| assert!(level.change(|_| Some(LOST))));
        let told = tokio::time::timeout(Duration::from_secs(1), reader.wait_for(|now| *now == LOST)).await;
        assert!(matches!(told, Ok(Ok(_))), "nobody told the channel");
    }
}
