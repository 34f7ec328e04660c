//! The arrays and elements around each value, and the search for values of several paths that are consistent
//! in arrays.
//!
//! The values chosen for a sub-rule must never come from different elements of one array. Trying all
//! combinations would take the product of the arrays' lengths. The search goes down the arrays instead.
//! Inside one element, every array that holds a needed value must have *one* element with all the values
//! needed from that array. Arrays beside each other don't affect each other. Each value is visited once for
//! every array around it. So the work is linear in the event, for every sub-rule. Only if one path leads into
//! several arrays (`{"a.b":[…],"a":{"b":[…]}}`) must the search choose between them. These choices are
//! counted, and too many of them refuse the event. Recursion goes as deep as arrays nest (bounded by the
//! event's depth) or as deep as there are paths spelled twice (bounded by the fields of a pattern).

use crate::flatten::Occurrence;
use crate::limits::SPELLING_CHOICES_MAX;

/// An element of an array, numbered in reading order. Number 0 is the whole event.
pub(crate) type Element = u32;
/// An array, numbered in reading order.
pub(crate) type Array = u32;

#[derive(Debug)]
struct ElementExtent {
    /// The element around the array that this one is in.
    parent: Element,
    array: Array,
    /// How many arrays are around the element.
    depth: u32,
    /// One past the last element inside this one.
    end: Element,
}

/// The arrays of an event that hold values at paths of rules.
#[derive(Debug)]
pub(crate) struct Trail {
    elements: Vec<ElementExtent>,
    /// For each array, one past the last element inside it.
    array_ends: Vec<Element>,
}

impl Trail {
    /// The element of values that are outside of all arrays.
    pub(crate) const WHOLE: Element = 0;

    pub(crate) fn new() -> Self {
        let whole = ElementExtent {
            parent: 0,
            array: Array::MAX,
            depth: 0,
            end: Element::MAX,
        };
        Trail {
            elements: vec![whole],
            array_ends: Vec::new(),
        }
    }

    /// Removes all arrays.
    pub(crate) fn clear(&mut self) {
        self.elements.truncate(1);
        self.array_ends.clear();
    }

    pub(crate) fn open_array(&mut self) -> Array {
        self.array_ends.push(Element::MAX);
        (self.array_ends.len() - 1) as Array
    }

    pub(crate) fn close_array(&mut self, array: Array) {
        self.array_ends[array as usize] = self.elements.len() as Element;
    }

    pub(crate) fn open_element(&mut self, parent: Element, array: Array) -> Element {
        let depth = self.elements[parent as usize].depth + 1;
        self.elements.push(ElementExtent {
            parent,
            array,
            depth,
            end: Element::MAX,
        });
        (self.elements.len() - 1) as Element
    }

    /// Ends an element. An element without values is removed.
    pub(crate) fn close_element(&mut self, element: Element, empty: bool) {
        if empty {
            self.elements.truncate(element as usize);
        } else {
            self.elements[element as usize].end = self.elements.len() as Element;
        }
    }

    /// How many arrays are around an element, its own array included.
    pub(crate) fn depth(&self, element: Element) -> u32 {
        self.elements[element as usize].depth
    }

    /// The array that this element belongs to.
    pub(crate) fn array(&self, element: Element) -> Array {
        self.elements[element as usize].array
    }

    /// One past the last element inside this one.
    pub(crate) fn end(&self, element: Element) -> Element {
        self.elements[element as usize].end
    }

    /// The array that this element belongs to. `None` for the whole event.
    pub(crate) fn array_of(&self, element: Element) -> Option<Array> {
        (element != Trail::WHOLE).then(|| self.elements[element as usize].array)
    }

    /// The element around this one's array. For the whole event, the whole event.
    pub(crate) fn around(&self, element: Element) -> Element {
        self.elements[element as usize].parent
    }

    /// Whether a value in `element` is anywhere inside the array that `own` is an element of.
    pub(crate) fn is_beside(&self, element: Element, own: Element) -> bool {
        let around = self.enclosing(element, self.depth(own));
        self.array_of(around) == self.array_of(own)
    }

    /// The element at this depth that is, or is around, `element`.
    pub(crate) fn enclosing(&self, mut element: Element, depth: u32) -> Element {
        while self.depth(element) > depth {
            element = self.elements[element as usize].parent;
        }
        element
    }
}

/// Something that is in an array element.
pub(crate) trait Located {
    /// The innermost array element around it.
    fn element(&self) -> Element;
}

impl Located for Occurrence<'_> {
    fn element(&self) -> Element {
        self.element
    }
}

impl Located for Element {
    fn element(&self) -> Element {
        *self
    }
}

/// What a sub-rule needs of one path.
#[derive(Debug)]
pub(crate) struct Wanted<'f, V = Occurrence<'f>> {
    /// The values at the path, in reading order.
    pub(crate) values: &'f [V],
    /// Which of them meet the condition, in the same order.
    pub(crate) held: &'f [bool],
    /// Whether the condition is also met if there is no value.
    pub(crate) absence: Absence,
}

/// What the absence of values does for a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Absence does not meet the condition. It needs a value.
    Fails,
    /// Absence meets the condition, and so does a matching value.
    Serves,
    /// Only absence meets the condition, because the search has decided so.
    Required,
}

impl<V> Clone for Wanted<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Wanted<'_, V> {}

impl<'f, V> Wanted<'f, V> {
    fn slice(&self, from: usize, to: usize) -> Wanted<'f, V> {
        Wanted {
            values: &self.values[from..to],
            held: &self.held[from..to],
            absence: self.absence,
        }
    }

    fn with(self, absence: Absence) -> Wanted<'f, V> {
        Wanted { absence, ..self }
    }
}

/// The event spells paths in too many ways, so the search has stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManySpellings;

/// Whether one value, or the absence of all, can be chosen for each path so that the choices are consistent
/// in arrays.
pub(crate) fn consistent<V: Located>(
    trail: &Trail,
    wanted: &[Wanted<'_, V>],
) -> Result<bool, TooManySpellings> {
    let mut search = Search { trail, choices: 0 };
    search.element_offers(0, wanted)
}

/// What one array must have: the needs of several paths.
type Demand<'f, V> = (Array, Vec<Wanted<'f, V>>);

/// A path whose values are in several places.
struct Open<'f, V> {
    /// Whether a value outside of the arrays meets the condition as well. Then no array has to.
    met_beside: bool,
    arrays: Vec<(Array, Wanted<'f, V>)>,
}

struct Search<'t> {
    trail: &'t Trail,
    choices: usize,
}

impl Search<'_> {
    /// Whether one element at this depth meets everything that is needed.
    fn element_offers<V: Located>(
        &mut self,
        depth: u32,
        wanted: &[Wanted<'_, V>],
    ) -> Result<bool, TooManySpellings> {
        let mut demands: Vec<Demand<'_, V>> = Vec::new();
        let mut open: Vec<Open<'_, V>> = Vec::new();
        for want in wanted {
            if want.values.is_empty() {
                if want.absence == Absence::Fails {
                    return Ok(false);
                }
                continue;
            }
            let (direct, mut arrays) = self.sources(depth, want);
            match direct {
                // A value outside of all arrays is consistent with every choice. A value inside can allow
                // more: it selects an element in which another path may then be absent.
                Some(true) if want.absence != Absence::Required => {
                    arrays.retain(|(array, inside)| {
                        inside.held.contains(&true) && self.absence_may_serve(depth, wanted, *array)
                    });
                    if arrays.is_empty() {
                        continue;
                    }
                    for (_, inside) in &mut arrays {
                        inside.absence = Absence::Fails;
                    }
                    open.push(Open {
                        met_beside: true,
                        arrays,
                    });
                    continue;
                }
                // The value is present whatever is chosen, so absence can't meet the condition here.
                Some(_) if want.absence == Absence::Required || arrays.is_empty() => {
                    return Ok(false);
                }
                Some(_) => {
                    for (_, inside) in &mut arrays {
                        inside.absence = Absence::Fails;
                    }
                }
                None => {}
            }
            if arrays.len() == 1 || want.absence == Absence::Required {
                for (array, inside) in arrays {
                    demand(&mut demands, array, inside);
                }
            } else {
                open.push(Open {
                    met_beside: false,
                    arrays,
                });
            }
        }
        self.choose(depth, &open, demands)
    }

    /// Whether some path has values in this array and may also be met by having none there.
    fn absence_may_serve<V: Located>(
        &self,
        depth: u32,
        wanted: &[Wanted<'_, V>],
        array: Array,
    ) -> bool {
        let inside = |value: &V| {
            let element = value.element();
            self.trail.depth(element) > depth && {
                let element = self.trail.enclosing(element, depth + 1);
                self.trail.elements[element as usize].array == array
            }
        };
        let mut absent = wanted.iter().filter(|want| want.absence != Absence::Fails);
        absent.any(|want| want.values.iter().any(inside))
    }

    /// Where in this element the values of one path are: outside of all arrays (and whether one of those
    /// meets the condition), and in which arrays.
    fn sources<'f, V: Located>(
        &self,
        depth: u32,
        want: &Wanted<'f, V>,
    ) -> (Option<bool>, Vec<(Array, Wanted<'f, V>)>) {
        let mut direct = None;
        let mut arrays = Vec::new();
        let mut at = 0;
        while let Some(value) = want.values.get(at) {
            if self.trail.depth(value.element()) == depth {
                direct = Some(direct == Some(true) || want.held[at]);
                at += 1;
                continue;
            }
            let inside = self.trail.enclosing(value.element(), depth + 1);
            let array = self.trail.elements[inside as usize].array;
            let end = self.trail.array_ends[array as usize];
            let count = leading(&want.values[at..], inside, end);
            arrays.push((array, want.slice(at, at + count)));
            at += count;
        }
        (direct, arrays)
    }

    /// For each path that leads into several arrays, decides which of them has to meet it.
    fn choose<V: Located>(
        &mut self,
        depth: u32,
        open: &[Open<'_, V>],
        demands: Vec<Demand<'_, V>>,
    ) -> Result<bool, TooManySpellings> {
        let Some((first, rest)) = open.split_first() else {
            for (_, wanted) in &demands {
                if !self.array_offers(depth + 1, wanted)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        };
        if first.met_beside {
            self.count_choice()?;
            if self.choose(depth, rest, demands.clone())? {
                return Ok(true);
            }
        }
        for (array, inside) in &first.arrays {
            self.count_choice()?;
            let mut chosen = demands.clone();
            demand(&mut chosen, *array, inside.with(Absence::Fails));
            if self.choose(depth, rest, chosen)? {
                return Ok(true);
            }
        }
        let mut arrays = first.arrays.iter();
        if first.met_beside || !arrays.all(|(_, want)| want.absence == Absence::Serves) {
            return Ok(false);
        }
        self.count_choice()?;
        let mut chosen = demands;
        for (array, inside) in &first.arrays {
            demand(&mut chosen, *array, inside.with(Absence::Required));
        }
        self.choose(depth, rest, chosen)
    }

    fn count_choice(&mut self) -> Result<(), TooManySpellings> {
        self.choices += 1;
        if self.choices > SPELLING_CHOICES_MAX {
            return Err(TooManySpellings);
        }
        Ok(())
    }

    /// Whether one element of an array meets everything that is needed from the array.
    fn array_offers<V: Located>(
        &mut self,
        depth: u32,
        wanted: &[Wanted<'_, V>],
    ) -> Result<bool, TooManySpellings> {
        let mut rest = wanted.to_vec();
        let mut inside = Vec::with_capacity(rest.len());
        loop {
            let next = rest
                .iter()
                .filter_map(|want| want.values.first())
                .map(Located::element)
                .min();
            let Some(next) = next else {
                return Ok(false);
            };
            let element = self.trail.enclosing(next, depth);
            let end = self.trail.elements[element as usize].end;
            inside.clear();
            for want in &mut rest {
                let count = leading(want.values, element, end);
                inside.push(want.slice(0, count));
                *want = want.slice(count, want.values.len());
            }
            if self.element_offers(depth, &inside)? {
                return Ok(true);
            }
        }
    }
}

/// How many of the first values are in the elements from `start` up to `end`. The search doubles its steps.
/// So a small result is cheap, even if many values follow.
///
/// Values in reading order enter such a range once and leave it for good. The numbers of their elements need
/// not ascend, because a value after an array belongs to the element around that array.
pub(crate) fn leading<V: Located>(values: &[V], start: Element, end: Element) -> usize {
    let within = |value: &V| (start..end).contains(&value.element());
    let mut reach = 1;
    while reach < values.len() && within(&values[reach - 1]) {
        reach *= 2;
    }
    values[..reach.min(values.len())].partition_point(within)
}

fn demand<'f, V>(demands: &mut Vec<Demand<'f, V>>, array: Array, inside: Wanted<'f, V>) {
    match demands.iter_mut().find(|(known, _)| *known == array) {
        Some((_, wanted)) => wanted.push(inside),
        None => demands.push((array, vec![inside])),
    }
}

#[cfg(test)]
mod tests;
