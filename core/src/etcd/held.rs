//! The leases that the renewals machine holds, in slots beside each other.
//! Owns finding one by id or by place, and nothing of what is done with it (`renewals`).
//!
//! With thousands of leases a renewal costs what its cache misses cost: etcd's work next to us empties the caches
//! between two rounds. Renewed in the order of their slots they are read from memory in a row.

use std::collections::HashMap;

/// Where a lease is held. The id tells when the slot has become another's. Ordered by slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    slot: u32,
    pub(crate) id: i64,
}

/// Something for each lease.
pub(crate) struct Held<T> {
    slots: Vec<Option<(i64, T)>>,
    places: HashMap<i64, Place>,
    free: Vec<u32>,
}

impl<T> Held<T> {
    pub(crate) fn new() -> Held<T> {
        Held {
            slots: Vec::new(),
            places: HashMap::new(),
            free: Vec::new(),
        }
    }

    /// A lease that is held already is replaced, and keeps its place.
    pub(crate) fn insert(&mut self, id: i64, held: T) {
        let place = self.places.get(&id).copied().unwrap_or_else(|| {
            let slot = self.free.pop().unwrap_or_else(|| {
                if self.slots.len() == self.slots.capacity() {
                    // Not the double: a slot is large, and who holds thousands seldom comes to hold twice as many.
                    self.slots.reserve_exact((self.slots.len() / 8).max(4));
                }
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            });
            Place { slot, id }
        });
        if let Some(slot) = self.slots.get_mut(place.slot as usize) {
            *slot = Some((id, held));
            self.places.insert(id, place);
        }
    }

    pub(crate) fn remove(&mut self, id: i64) -> Option<(Place, T)> {
        let place = self.places.remove(&id)?;
        let (_, held) = self.slots.get_mut(place.slot as usize)?.take()?;
        self.free.push(place.slot);
        Some((place, held))
    }

    pub(crate) fn place(&self, id: i64) -> Option<Place> {
        self.places.get(&id).copied()
    }

    pub(crate) fn get(&self, id: i64) -> Option<&T> {
        self.at(self.place(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: i64) -> Option<&mut T> {
        self.at_mut(self.place(id)?)
    }

    pub(crate) fn at(&self, place: Place) -> Option<&T> {
        let (id, held) = self.slots.get(place.slot as usize)?.as_ref()?;
        (*id == place.id).then_some(held)
    }

    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut T> {
        let (id, held) = self.slots.get_mut(place.slot as usize)?.as_mut()?;
        (*id == place.id).then_some(held)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|(_, held)| held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_became_another_leases_is_not_found_by_the_old_place() {
        let mut held = Held::new();
        held.insert(7, "seven");
        held.insert(8, "eight");
        let seven = held.place(7);
        assert_eq!(held.remove(7).map(|(_, what)| what), Some("seven"));
        held.insert(9, "nine");
        assert_eq!(held.place(9).map(|place| place.slot), seven.map(|place| place.slot), "slots are used again");
        assert_eq!(seven.and_then(|place| held.at(place)), None);
        assert_eq!((held.get(7), held.get(8), held.get(9)), (None, Some(&"eight"), Some(&"nine")));
        held.insert(9, "nine anew");
        assert_eq!(held.values_mut().map(|what| *what).collect::<Vec<_>>(), ["nine anew", "eight"]);
    }
}
