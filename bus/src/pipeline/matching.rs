//! Which subscriptions an event goes to. Runs on the caller's task against one snapshot.
//!
//! The data is matched as bytes; a tree is built only for an event that passes the pattern of a rule
//! with a JSONPath filter. Never here: anything that changes the event.

use std::cell::RefCell;

use rules::{Duplicates, EventDocument, EventFault, Part, RuleIndex, Scratch, Trust};

use super::snapshot::BusRules;
use crate::model::{Event, SubscriptionId};
use crate::view::View;

thread_local! {
    /// Buffers of matches, one set for each thread of the runtime.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// The keys that match, with this thread's buffers.
fn look_up<K: Clone>(
    index: &RuleIndex<K>,
    event: &[Part<'_>],
    trust: Trust,
) -> Result<Vec<K>, EventFault> {
    SCRATCH.with_borrow_mut(|scratch| {
        let found = index.matches(scratch, event, Duplicates::Refuse, trust)?;
        Ok(found.cloned().collect())
    })
}

/// The subscriptions of `bus` that get `event`, in the order of the rules, each once.
///
/// # Errors
/// The data claims to be JSON and can't be read exactly: malformed, a repeated key that a rule looks
/// at, or nested too deeply.
pub(crate) fn subscriptions(
    bus: &BusRules,
    event: &Event,
) -> Result<Vec<SubscriptionId>, EventFault> {
    let view = View::new(event);
    let parts = view.parts();
    // A body in binary mode was read by nobody before; the same pass checks it and matches it.
    let numbers = look_up(&bus.patterns, &parts, Trust::Unchecked)?;
    let mut places: Vec<usize> = numbers.into_iter().map(|own| bus.place(own)).collect();
    places.extend_from_slice(&bus.unconditional);
    places.sort_unstable();
    let document = EventDocument::new(&parts);
    let mut found = Vec::with_capacity(places.len());
    for place in places {
        let rule = &bus.rules[place];
        if !rule.filters.is_empty() {
            let tree = document.tree()?;
            if !rule.filters.iter().all(|filter| filter.holds(tree)) {
                continue;
            }
        }
        found.extend_from_slice(&rule.subscriptions);
    }
    Ok(found)
}

/// Whether one of `patterns` matches `event`, which is in the log: so its data were checked when it came.
/// Data that a pattern looks into and that can't be read exactly is matched by none.
#[must_use]
pub fn matches(patterns: &RuleIndex<()>, event: &Event) -> bool {
    look_up(patterns, &View::new(event).parts(), Trust::Json).is_ok_and(|found| !found.is_empty())
}
