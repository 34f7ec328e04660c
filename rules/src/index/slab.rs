//! A persistent table of numbered slots. A copy is free. A change copies two small nodes and the list of all
//! middle nodes, which has one pointer for each thousand slots.
//!
//! The table assigns the numbers. A value keeps its number, and the number is used again after the value is
//! removed. The free slots form a linked list inside of the table. The largest number ever assigned is at
//! most the largest number of values that existed at one time, so arrays that are indexed by number stay
//! small.

use std::sync::Arc;

const LEAF: usize = 16;
const MIDDLE: usize = 64;
/// The end of the list of free slots.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
enum Slot<T> {
    Full(T),
    Vacant(u32),
}

type Leaf<T> = Arc<[Slot<T>; LEAF]>;
type Middle<T> = Arc<[Option<Leaf<T>>; MIDDLE]>;

/// The table.
#[derive(Debug, Clone)]
pub(super) struct Slab<T> {
    root: Arc<[Middle<T>]>,
    /// The number of slots that were ever used.
    used: u32,
    vacant: u32,
}

impl<T: Clone> Slab<T> {
    pub(super) fn new() -> Self {
        Slab {
            root: Arc::from([]),
            used: 0,
            vacant: NONE,
        }
    }

    /// One past the largest number ever assigned.
    pub(super) fn bound(&self) -> usize {
        self.used as usize
    }

    /// The value with this number.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        match self.slot(number)? {
            Slot::Full(value) => Some(value),
            Slot::Vacant(_) => None,
        }
    }

    /// The value with this number, to be changed.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.slot_mut(number)? {
            Slot::Full(value) => Some(value),
            Slot::Vacant(_) => None,
        }
    }

    /// The number that the next value will get.
    pub(super) fn next(&self) -> u32 {
        if self.vacant == NONE {
            self.used
        } else {
            self.vacant
        }
    }

    /// Stores a value and returns its number.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let number = self.next();
        self.used = self.used.max(number + 1);
        if number as usize / (LEAF * MIDDLE) >= self.root.len() {
            let middle = Arc::new(std::array::from_fn(|_| None));
            self.root = self.root.iter().cloned().chain([middle]).collect();
        }
        let mut next = NONE;
        if let Some(slot) = self.slot_mut(number) {
            if let Slot::Vacant(after) = *slot {
                next = after;
            }
            *slot = Slot::Full(value);
        }
        self.vacant = next;
        number
    }

    /// Removes the value with this number.
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let vacant = self.vacant;
        let slot = self.slot_mut(number)?;
        match std::mem::replace(slot, Slot::Vacant(vacant)) {
            Slot::Full(value) => {
                self.vacant = number;
                Some(value)
            }
            gone @ Slot::Vacant(_) => {
                *slot = gone;
                None
            }
        }
    }

    fn slot(&self, number: u32) -> Option<&Slot<T>> {
        let number = number as usize;
        let middle = self.root.get(number / (LEAF * MIDDLE))?;
        let leaf = middle[number / LEAF % MIDDLE].as_ref()?;
        Some(&leaf[number % LEAF])
    }

    fn slot_mut(&mut self, number: u32) -> Option<&mut Slot<T>> {
        let number = number as usize;
        let middle = Arc::make_mut(&mut self.root).get_mut(number / (LEAF * MIDDLE))?;
        let leaf = &mut Arc::make_mut(middle)[number / LEAF % MIDDLE];
        let leaf =
            leaf.get_or_insert_with(|| Arc::new(std::array::from_fn(|_| Slot::Vacant(NONE))));
        Some(&mut Arc::make_mut(leaf)[number % LEAF])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_are_given_again() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..5000).map(|value| slab.insert(value)).collect();
        assert_eq!(numbers, (0..5000).collect::<Vec<u32>>());
        let before = slab.clone();
        for number in (0..5000).step_by(3) {
            assert_eq!(slab.remove(number), Some(number));
            assert_eq!(slab.remove(number), None);
        }
        for number in 0..5000 {
            assert_eq!(
                slab.get(number).copied(),
                (number % 3 != 0).then_some(number)
            );
            assert_eq!(before.get(number), Some(&number));
        }
        for _ in (0..5000).step_by(3) {
            let number = slab.insert(7);
            assert!(number < 5000 && number % 3 == 0);
        }
        assert_eq!((slab.insert(8), slab.bound()), (5000, 5001));
        assert_eq!(slab.get(9999), None);
        assert_eq!(slab.remove(1 << 30), None);
        if let Some(value) = slab.get_mut(1) {
            *value = 9;
        }
        assert_eq!((slab.get(1), before.get(1)), (Some(&9), Some(&1)));
    }
}
