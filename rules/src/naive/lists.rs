//! The lists that `contains-all` and `exactly` match: the values at one path in one array.
//!
//! A value belongs to the innermost array around it. Values outside of arrays form one list. A condition on a
//! list does not depend on a single element, so it is met in the element *around* the array. For the search,
//! the list is one more value at the path, in that element. This value is placed before everything inside the
//! array. So the values of each element stay together, as the search needs them.

use crate::array_trail::{Element, Trail};
use crate::flatten::Occurrence;
use crate::pattern::Condition;
use crate::scalar::Scalar;
use std::collections::HashMap;

/// The values of one array.
pub(crate) struct List<'f> {
    /// The element around the array.
    around: Element,
    /// The first value that is anywhere inside the array, by its place at the path.
    first: usize,
    /// The list's own values.
    pub(crate) values: Vec<&'f Scalar<'f>>,
}

/// The lists that the values at one path form.
pub(crate) fn of<'f>(trail: &Trail, values: &'f [Occurrence<'f>]) -> Vec<List<'f>> {
    let mut known = HashMap::new();
    let mut lists: Vec<List<'f>> = Vec::new();
    for (place, value) in values.iter().enumerate() {
        let array = trail.array_of(value.element);
        let list = *known.entry(array).or_insert_with(|| {
            // The values inside the array stand together, up to this value or further.
            let before = &values[..place];
            let first = match array {
                Some(_) => {
                    before.partition_point(|other| !trail.is_beside(other.element, value.element))
                }
                None => place,
            };
            lists.push(List {
                around: trail.around(value.element),
                first,
                values: Vec::new(),
            });
            lists.len() - 1
        });
        lists[list].values.push(&value.scalar);
    }
    lists
}

/// The values at a condition's path, plus one for each list that meets it, and which of all of them meet it.
pub(crate) fn with_lists<'f>(
    trail: &Trail,
    values: &'f [Occurrence<'f>],
    condition: &Condition,
) -> (Vec<Occurrence<'f>>, Vec<bool>) {
    let mut met = of(trail, values);
    met.retain(|list| condition.matches_list(&list.values));
    // If two lists begin at the same value, the outer one comes first.
    met.sort_by_key(|list| (list.first, trail.depth(list.around)));
    let mut all = Vec::with_capacity(values.len() + met.len());
    let mut held = Vec::with_capacity(all.capacity());
    let mut met = met.into_iter().peekable();
    for (place, value) in values.iter().enumerate() {
        while let Some(list) = met.next_if(|list| list.first == place) {
            all.push(shadow(value, list.around));
            held.push(true);
        }
        all.push(shadow(value, value.element));
        held.push(condition.matches(&value.scalar));
    }
    (all, held)
}

/// A value that stands for a list in the search, which only uses its element.
fn shadow<'f>(value: &Occurrence<'f>, element: Element) -> Occurrence<'f> {
    Occurrence {
        path: value.path,
        element,
        scalar: Scalar::Null,
    }
}
