//! The members that this client knows, and which of them each kind of traffic goes to.
//! Owns the slots and the stickiness; when to move on is `calls`' and the streams', who is a member `sync`'s.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::endpoint::Endpoint;

/// Kinds of traffic, each with its own sticky endpoint: a member that is stopped in order refuses calls at once and
/// keeps its streams for 7 s. Renewals and their confirming reads choose their members themselves (`streams`, `reads`).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Calls,
    Watches,
}

/// A slot's index means the same endpoint for as long as anybody holds that endpoint: indexes may be kept over an await.
pub(crate) struct Members {
    slots: RefCell<Vec<Rc<Endpoint>>>,
    sticky: [Cell<usize>; 2],
    changed: Cell<bool>,
}

impl Members {
    pub(crate) fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Members {
        Members {
            slots: RefCell::new(endpoints.into_iter().map(Rc::new).collect()),
            sticky: Default::default(),
            changed: Cell::new(false),
        }
    }

    /// Where this kind of traffic goes now.
    pub(crate) fn now(&self, kind: Kind) -> Option<(usize, Rc<Endpoint>)> {
        let slots = self.slots.borrow();
        let from = self.sticky(kind).get();
        let round = (0..slots.len()).map(|step| (from + step) % slots.len());
        let mut known = round.filter_map(|index| Some((index, slots.get(index).filter(|endpoint| !endpoint.gone.get())?)));
        let (index, endpoint) = known.next()?;
        Some((index, endpoint.clone()))
    }

    /// Those that are known now, with their indexes.
    pub(crate) fn all(&self) -> Vec<(usize, Rc<Endpoint>)> {
        let slots = self.slots.borrow();
        slots.iter().enumerate().filter(|(_, endpoint)| !endpoint.gone.get()).map(|(i, e)| (i, e.clone())).collect()
    }

    /// The endpoint of a slot, unless it has been given up.
    pub(crate) fn at(&self, index: usize) -> Option<Rc<Endpoint>> {
        self.slots.borrow().get(index).filter(|endpoint| !endpoint.gone.get()).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.borrow().iter().filter(|endpoint| !endpoint.gone.get()).count()
    }

    /// Moves on from endpoint `from`, unless somebody has already.
    pub(crate) fn advance(&self, kind: Kind, from: usize) {
        if self.now(kind).is_some_and(|(now, _)| now == from) {
            self.sticky(kind).set(from + 1);
        }
    }

    /// Moves to this one, or the next that is known.
    pub(crate) fn stick(&self, kind: Kind, index: usize) {
        self.sticky(kind).set(index);
    }

    /// True once after each change of the list. For one reader.
    pub(crate) fn changed(&self) -> bool {
        self.changed.take()
    }

    /// Which slots are in use.
    pub(crate) fn slots(&self) -> Vec<bool> {
        self.slots.borrow().iter().map(|endpoint| !endpoint.gone.get()).collect()
    }

    /// One more member.
    pub(crate) fn add(&self, endpoint: Endpoint) {
        let mut slots = self.slots.borrow_mut();
        // A slot is used again when nobody speaks to its old endpoint any more.
        match slots.iter_mut().find(|slot| slot.gone.get() && Rc::strong_count(slot) == 1) {
            Some(slot) => *slot = Rc::new(endpoint),
            None => slots.push(Rc::new(endpoint)),
        }
        self.changed.set(true);
    }

    /// Nothing new goes to this one; what is under way ends by itself.
    pub(crate) fn give_up(&self, endpoint: &Endpoint) {
        endpoint.gone.set(true);
        self.changed.set(true);
        // Whoever comes into the slot later takes over none of the traffic that has moved on now.
        for kind in [Kind::Calls, Kind::Watches] {
            if let Some((now, _)) = self.now(kind) {
                self.sticky(kind).set(now);
            }
        }
    }

    fn sticky(&self, kind: Kind) -> &Cell<usize> {
        let [calls, watches] = &self.sticky;
        match kind {
            Kind::Calls => calls,
            Kind::Watches => watches,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> Members {
        Members::new(names.iter().map(|name| Endpoint::for_test(name)))
    }

    fn name(members: &Members, kind: Kind) -> String {
        members.now(kind).unwrap().1.name.clone()
    }

    #[test]
    fn each_kind_is_sticky_and_moves_on_by_itself() {
        let members = members(&["a", "b", "c"]);
        members.advance(Kind::Calls, 0);
        members.advance(Kind::Calls, 0); // a second failure of the same member moves nothing twice
        assert_eq!((name(&members, Kind::Calls).as_str(), name(&members, Kind::Watches).as_str()), ("b", "a"));
        members.advance(Kind::Calls, 1);
        members.advance(Kind::Calls, 2);
        assert_eq!(name(&members, Kind::Calls), "a", "round the list");
        members.stick(Kind::Watches, 2);
        assert_eq!((name(&members, Kind::Calls).as_str(), name(&members, Kind::Watches).as_str()), ("a", "c"));
    }

    #[test]
    fn a_member_given_up_is_passed_over_and_its_slot_used_again_when_nobody_speaks_to_it() {
        let members = members(&["a", "b"]);
        let (index, a) = members.now(Kind::Calls).unwrap();
        members.give_up(&a);
        assert_eq!((name(&members, Kind::Calls).as_str(), members.len(), members.at(index).is_none()), ("b", 1, true));
        members.add(Endpoint::for_test("c"));
        assert_eq!(members.all().iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2], "a is spoken to still");
        drop(a);
        members.add(Endpoint::for_test("d"));
        assert_eq!(members.at(0).unwrap().name, "d");
        members.advance(Kind::Calls, 1);
        assert_eq!(name(&members, Kind::Calls), "c");
    }
}
