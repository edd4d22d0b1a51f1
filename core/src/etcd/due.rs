//! When which lease is due: places in order of time, those of one time in a row.
//! Owns the order only; an entry that was moved since says so itself (`renewals`), and its old place is passed over.
//!
//! What was renewed together is due together, so a round of thousands has few times: putting one in costs a push.

use std::collections::{BTreeMap, VecDeque};

use super::held::Place;
use crate::clock::BootTime;

#[derive(Default)]
pub(crate) struct Due {
    times: BTreeMap<BootTime, VecDeque<Place>>,
}

impl Due {
    pub(crate) fn push(&mut self, at: BootTime, place: Place) {
        self.times.entry(at).or_default().push_back(place);
    }

    pub(crate) fn first(&self) -> Option<BootTime> {
        self.times.keys().next().copied()
    }

    pub(crate) fn pop(&mut self) -> Option<(BootTime, Place)> {
        let mut first = self.times.first_entry()?;
        let at = *first.key();
        let place = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        Some((at, place?))
    }

    pub(crate) fn clear(&mut self) {
        self.times.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_in_order_of_time_and_those_of_one_time_in_a_row() {
        let mut due = Due::default();
        let mut held = super::super::held::Held::new();
        let places = [3, 1, 2].map(|id| {
            held.insert(id, ());
            held.place(id)
        });
        for (at, place) in [9, 5, 9].into_iter().zip(places.into_iter().flatten()) {
            due.push(BootTime(at), place);
        }
        assert_eq!(due.first(), Some(BootTime(5)));
        let all: Vec<_> = std::iter::from_fn(|| due.pop()).map(|(at, place)| (at.0, place.id)).collect();
        assert_eq!(all, [(5, 1), (9, 3), (9, 2)]);
        assert_eq!(due.first(), None);
    }
}
