//! The one atomic of a term under every interleaving that loom can make (S5). A plain test: loom needs no flag here,
//! since the cell takes its atomic as a parameter.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // the cell is included whole; a test fails by panicking

#[path = "../src/term/cell.rs"]
mod cell;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

struct Word(AtomicU64);

impl cell::Word for Word {
    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn replace(&self, current: u64, new: u64) -> Result<(), u64> {
        self.0.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }
}

const DEADLINE: u64 = 64 * 100;
const LATER: u64 = 64 * 200;
const MARGIN: u64 = 64 * 10;
const EXPIRED: u8 = 1;
const RESIGNED: u8 = 6;

struct Model {
    word: Word,
    clock: AtomicU64,
}

impl Model {
    fn new(now: u64) -> Arc<Model> {
        Arc::new(Model {
            word: Word(AtomicU64::new(cell::start(DEADLINE))),
            clock: AtomicU64::new(now),
        })
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    fn valid(&self) -> bool {
        cell::valid(&self.word, || self.now(), |_| EXPIRED)
    }

    fn lost(&self) -> Option<u8> {
        cell::lost(&self.word, MARGIN, || self.now(), |_| EXPIRED)
    }

    fn extend(&self) -> bool {
        cell::set_deadline(&self.word, LATER, MARGIN, || self.now())
    }

    fn view(&self) -> cell::View {
        cell::view(cell::Word::load(&self.word))
    }
}

/// While time passes the deadline, a late extension races two checks: whoever saw the term invalid was right for good.
#[test]
fn s5_a_late_renewal_cannot_revive_a_term_that_was_seen_invalid() {
    loom::model(|| {
        let model = Model::new(DEADLINE - MARGIN - 1);
        let (time, renewal) = (model.clone(), model.clone());
        let time = thread::spawn(move || time.clock.store(DEADLINE + 1, Ordering::Release));
        let renewal = thread::spawn(move || renewal.extend());
        let first = model.valid();
        let second = model.valid();
        assert!(first || !second, "invalid, then valid again");
        time.join().unwrap();
        let extended = renewal.join().unwrap();
        let last = model.valid();
        assert!(second || !last, "invalid, then valid again");
        // Only an extension keeps it valid now, and none comes after a check that said no.
        assert!(!last || extended);
        assert!(first || !extended, "extended after it was seen invalid");
    });
}

/// Announcing a loss freezes the deadline: an extension that comes after it does nothing.
#[test]
fn s5_lost_once_latched_is_never_taken_back_and_freezes_the_deadline() {
    loom::model(|| {
        let model = Model::new(DEADLINE - MARGIN - 1);
        let (time, renewal) = (model.clone(), model.clone());
        let time = thread::spawn(move || time.clock.store(DEADLINE - MARGIN, Ordering::Release));
        let renewal = thread::spawn(move || renewal.extend());
        let seen = model.lost();
        if seen.is_some() {
            assert_eq!(model.lost(), seen, "taken back");
            assert_eq!(model.view().deadline, DEADLINE);
        }
        time.join().unwrap();
        let extended = renewal.join().unwrap();
        if seen.is_some() {
            assert!(!extended && model.view().deadline == DEADLINE, "extended after the loss was announced");
        }
        assert!(model.valid(), "authority lasts until the deadline");
    });
}

/// A reset, an expiry and an extension at once: the term ends, once, and the reason told first stays.
#[test]
fn s5_a_term_ends_once_and_for_all_with_one_reason() {
    loom::model(|| {
        let model = Model::new(DEADLINE);
        let (reset, renewal) = (model.clone(), model.clone());
        let reset = thread::spawn(move || cell::end(&reset.word, RESIGNED));
        let renewal = thread::spawn(move || renewal.extend());
        let seen = model.lost();
        assert!(seen == Some(EXPIRED) || seen == Some(RESIGNED));
        assert!(!model.valid());
        assert_eq!(model.lost(), seen);
        reset.join().unwrap();
        assert!(!renewal.join().unwrap());
        assert_eq!(model.lost(), seen);
        assert_eq!(model.view().deadline, 0);
    });
}

/// Two threads end a term: exactly one of them is told that it did, and its reason is the one that stays.
#[test]
fn s5_one_of_two_ends_wins() {
    loom::model(|| {
        let model = Model::new(0);
        let other = model.clone();
        let other = thread::spawn(move || cell::end(&other.word, RESIGNED));
        let mine = cell::end(&model.word, 3);
        let others = other.join().unwrap();
        assert!(mine ^ others);
        assert_eq!(model.lost(), Some(if mine { 3 } else { RESIGNED }));
    });
}

/// A drain latches the loss at once and for good, and renewals go on under it; they revive nothing that was seen
/// invalid, and the reason told first stays.
#[test]
fn s9_a_drain_is_lost_at_once_and_extended_until_its_end() {
    loom::model(|| {
        let model = Model::new(DEADLINE - MARGIN - 1);
        let (time, renewal) = (model.clone(), model.clone());
        let time = thread::spawn(move || time.clock.store(DEADLINE + 1, Ordering::Release));
        let renewal = thread::spawn(move || renewal.extend());
        let drained = cell::drain(&model.word, RESIGNED, MARGIN, || model.now());
        let seen = model.valid();
        time.join().unwrap();
        let extended = renewal.join().unwrap();
        assert!(seen || !model.valid(), "invalid, then valid again");
        assert!(!model.valid() || extended, "valid past its deadline without a renewal");
        assert!(!drained || model.lost() == Some(RESIGNED), "the word of its holder stays");
        cell::end(&model.word, 3);
        assert!(!model.valid() && !model.view().draining);
        assert!(!drained || model.lost() == Some(RESIGNED), "the reason told first stays");
    });
}

/// Only a drain is extended once lost; and a drain does not begin after the loss.
#[test]
fn s9_a_drain_does_not_begin_after_the_loss() {
    loom::model(|| {
        let model = Model::new(DEADLINE - MARGIN);
        let other = model.clone();
        let other = thread::spawn(move || cell::drain(&other.word, RESIGNED, MARGIN, || other.now()));
        assert_eq!(model.lost(), Some(EXPIRED));
        assert!(!other.join().unwrap());
        assert!(!model.extend());
        assert!(!model.view().draining);
    });
}
