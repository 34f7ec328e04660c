//! Whether values can be chosen from the same elements of arrays, without a copy of anything.
//!
//! The search of `array_trail`, for the events that nearly all are: no path spelled in two ways. Then
//! inside one element a path has either one value or one array, so there is nothing to choose
//! between, and what is wanted at each step is a range of each condition's values. The ranges of
//! all steps lie on one stack, which is kept. Work is linear in the values, recursion as deep as
//! arrays nest. Events with two spellings go to `array_trail`, which also bounds the choices. One that
//! was wrongly vouched for (`Trust::Plain`) may come here with two all the same: it gets some answer.

use crate::array_trail::{self, Element, Trail};

/// Which of a condition's values are meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Whether there being no value meets the condition.
    pub(super) by_absence: bool,
}

/// The values of all conditions.
#[derive(Clone, Copy)]
pub(super) struct Values<'v> {
    pub(super) trail: &'v Trail,
    /// In which element each value is; each condition's in reading order.
    pub(super) elements: &'v [Element],
    /// Whether it meets its condition.
    pub(super) held: &'v [bool],
}

impl Values<'_> {
    /// Whether all that lies on the stack can be met together. The stack is left empty.
    pub(super) fn agree(self, stack: &mut Vec<Wanted>) -> bool {
        let met = self.element_offers(0, stack, 0);
        stack.clear();
        met
    }

    fn element(self, place: u32) -> Element {
        self.elements
            .get(place as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The array inside this depth that holds a condition's values; none if they lie beside arrays.
    fn array(self, depth: u32, wanted: Wanted) -> Option<u32> {
        let element = self.element(wanted.from);
        // Less deep only where an event was wrongly vouched for; then the search still has to end.
        if self.trail.depth(element) <= depth {
            return None;
        }
        Some(self.trail.array(self.trail.enclosing(element, depth + 1)))
    }

    /// Whether one element at this depth offers what lies on the stack from `bottom` on.
    fn element_offers(self, depth: u32, stack: &mut Vec<Wanted>, bottom: usize) -> bool {
        let top = stack.len();
        for place in bottom..top {
            let wanted = stack[place];
            if wanted.from == wanted.to {
                if !wanted.by_absence {
                    return false;
                }
                continue;
            }
            let Some(array) = self.array(depth, wanted) else {
                let held = self.held.get(wanted.from as usize..wanted.to as usize);
                if !held.is_some_and(|held| held.contains(&true)) {
                    return false;
                }
                continue;
            };
            let same = |wanted: Wanted| {
                wanted.from < wanted.to && self.array(depth, wanted) == Some(array)
            };
            if stack[bottom..place].iter().any(|&before| same(before)) {
                continue;
            }
            for other in place..top {
                let wanted = stack[other];
                if same(wanted) {
                    stack.push(wanted);
                }
            }
            let met = self.array_offers(depth + 1, stack, top);
            stack.truncate(top);
            if !met {
                return false;
            }
        }
        true
    }

    /// Whether one element of an array offers what lies on the stack from `bottom` on.
    fn array_offers(self, depth: u32, stack: &mut Vec<Wanted>, bottom: usize) -> bool {
        let top = stack.len();
        while let Some(next) = self.next_offer(&mut stack[bottom..top]) {
            let element = self.trail.enclosing(next, depth);
            let end = self.trail.end(element);
            for place in bottom..top {
                let mut wanted = stack[place];
                if self.element(wanted.from) < element {
                    wanted.from += self.leading(wanted, Trail::WHOLE, element);
                }
                wanted.to = wanted.from + self.leading(wanted, element, end);
                stack[place].from = wanted.to;
                stack.push(wanted);
            }
            let met = self.element_offers(depth, stack, top);
            stack.truncate(top);
            if met {
                return true;
            }
        }
        false
    }

    /// In which element the next one lies that may offer all: none before it has, for each condition that
    /// absence doesn't meet, a value that does. Values that are passed on the way are dropped.
    fn next_offer(self, all: &mut [Wanted]) -> Option<Element> {
        let mut latest = None;
        for wanted in all.iter_mut().filter(|wanted| !wanted.by_absence) {
            let held = self.held.get(wanted.from as usize..wanted.to as usize)?;
            wanted.from += held.iter().position(|&held| held)? as u32;
            latest = latest.max(Some(self.element(wanted.from)));
        }
        latest.or_else(|| {
            let left = all.iter().filter(|wanted| wanted.from < wanted.to);
            left.map(|wanted| self.element(wanted.from)).min()
        })
    }

    /// How many of a condition's first values are in the elements from `start` up to `end`.
    fn leading(self, wanted: Wanted, start: Element, end: Element) -> u32 {
        let values = self.elements.get(wanted.from as usize..wanted.to as usize);
        array_trail::leading(values.unwrap_or_default(), start, end) as u32
    }
}
