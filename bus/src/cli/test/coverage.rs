//! What of the rules no test reached: sub-rules and alternatives that no event of a test met.
//!
//! Never here: a verdict. A part that nothing reached may be right, and is not known to be.

use rules::lint::Coverage;

use crate::manifest::Manifest;
use crate::model::{Event, Name};
use crate::view::{View, parse_pattern};

/// Lines that are shown of one rule.
const LINES_MAX: usize = 5;

/// The coverage of every rule with a pattern.
pub(super) struct Reached(Vec<(Name, Name, Coverage)>);

/// What no event reached of one rule.
pub(super) struct Unreached {
    pub(super) rule: Name,
    /// Each in words, as in `data.total: a number > 100`.
    pub(super) parts: Vec<String>,
}

impl Reached {
    /// Nothing is reached yet.
    pub(super) fn new(manifest: &Manifest) -> Self {
        let covered = manifest.rules.iter().filter_map(|rule| {
            let text = rule.pattern.as_ref()?;
            let pattern = parse_pattern(text).ok()?;
            Some((rule.name.clone(), rule.bus.clone(), Coverage::new(&pattern)))
        });
        Self(covered.collect())
    }

    /// Counts an event on `bus`.
    pub(super) fn observe(&mut self, bus: &Name, event: &Event) {
        let view = View::new(event);
        let parts = view.parts();
        for (_, _, coverage) in self.0.iter_mut().filter(|(_, own, _)| own == bus) {
            // An event that can't be read fails its test in its own words.
            let _ = coverage.observe(&parts);
        }
    }

    /// What was not reached, by rule, in the manifest's order.
    pub(super) fn unreached(&self) -> Vec<Unreached> {
        let of = |(rule, _, coverage): &(Name, Name, Coverage)| {
            let report = coverage.report();
            let mut parts: Vec<String> = report
                .unreached()
                .map(|one| format!("{}: {}", one.path, one.in_words))
                .collect();
            if report.sub_rules.len() > 1 {
                let numbers = report.unreached_sub_rules().map(|number| number + 1);
                parts.extend(
                    numbers
                        .map(|number| format!("sub-rule {number} of {}", report.sub_rules.len())),
                );
            }
            if parts.len() > LINES_MAX {
                let more = parts.len() - LINES_MAX;
                parts.truncate(LINES_MAX);
                parts.push(format!("… and {more} more"));
            }
            (!parts.is_empty()).then(|| Unreached {
                rule: rule.clone(),
                parts,
            })
        };
        self.0.iter().filter_map(of).collect()
    }
}
