//! Searches arrays for values that meet several conditions and come from the same elements. Copies nothing.
//!
//! This is the search of `array_trail`, limited to events in which no path is spelled in two ways. Nearly all
//! events are like this. Inside one element a path then has either one value or one array, so there are no
//! alternatives to try. At each step the search considers one range of values for each condition. The ranges
//! of all steps lie on one stack, whose memory is reused. Work is linear in the values. Recursion goes as
//! deep as arrays nest. Events with two spellings of a path go to `array_trail`, which also bounds the number
//! of choices. If a caller wrongly claims `Trust::Plain`, an event with two spellings may come here. The
//! search still ends, with some answer.

use crate::array_trail::{self, Element, Trail};

/// A range of one condition's values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Whether the condition is met when there is no value.
    pub(super) by_absence: bool,
}

/// The values of all conditions.
#[derive(Clone, Copy)]
pub(super) struct Values<'v> {
    pub(super) trail: &'v Trail,
    /// The element that holds each value. The values of one condition are in reading order.
    pub(super) elements: &'v [Element],
    /// Whether the value meets its condition.
    pub(super) held: &'v [bool],
}

impl Values<'_> {
    /// Whether all conditions on the stack can be met together. Leaves the stack empty.
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

    /// The array at this depth that holds a condition's values. `None` if they lie outside of arrays.
    fn array(self, depth: u32, wanted: Wanted) -> Option<u32> {
        let element = self.element(wanted.from);
        // The element can be less deep only if the caller wrongly claimed `Trust::Plain`. The search must end
        // then too.
        if self.trail.depth(element) <= depth {
            return None;
        }
        Some(self.trail.array(self.trail.enclosing(element, depth + 1)))
    }

    /// Whether one element at this depth meets all conditions on the stack from `bottom` on.
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

    /// Whether some element of an array meets all conditions on the stack from `bottom` on.
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

    /// Finds the next element that may meet all conditions. Returns it or an element inside it. In every
    /// earlier element, some condition that absence doesn't meet has no value that meets it. For each such
    /// condition, drops the values before its next match.
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
