//! Counted places: how everything that a peer can cause gets its limit.

use std::cell::Cell;
use std::rc::Rc;

/// A number of places.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    taken: Rc<Cell<usize>>,
    limit: usize,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Rc<Cell<usize>>);

impl Slots {
    /// That many places, all free.
    pub(crate) fn new(limit: usize) -> Self {
        Self { taken: Rc::default(), limit }
    }

    /// A place, if one is free.
    pub(crate) fn take(&self) -> Option<Slot> {
        if self.taken.get() >= self.limit {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        Some(Slot(Rc::clone(&self.taken)))
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.get()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_it_is_dropped() {
        let slots = Slots::new(2);
        let (first, second) = (slots.take(), slots.take());
        assert!(first.is_some() && second.is_some() && slots.take().is_none());
        drop(first);
        assert!(slots.take().is_some());
    }
}
