//! What of the rules no test reached: rules, sub-rules and alternatives that no event of a test met.
//!
//! Never here: a judgement. A part that no test reached may be right; nobody has checked it.

use edgebus_rules::lint::{Coverage, CoverageReport};
use edgebus_rules::{EventDocument, Filter, Steps};

use edgebus_manifest::Manifest;
use edgebus_manifest::view::{View, parse_pattern};
use edgebus_model::{Event, Name, RuleConfig};

/// How far the events of tests have reached each rule, in the manifest's order.
pub(super) struct Reached(Vec<Rule>);

struct Rule {
    name: Name,
    bus: Name,
    /// `None` for a rule without a pattern, which takes every event.
    coverage: Option<Coverage>,
    filters: Vec<Filter>,
    /// Whether some event matched it.
    matched: bool,
}

/// What no event reached of one rule.
pub(super) struct Unreached {
    pub(super) rule: Name,
    /// Whether some event matched it.
    pub(super) matched: bool,
    /// Each in words, as in `data.total: a number > 100`. Of a rule that no event matched, one line.
    pub(super) parts: Vec<String>,
}

impl Reached {
    /// Nothing is reached yet.
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self(manifest.rules.iter().filter_map(Rule::new).collect())
    }

    /// Counts an event on `bus`.
    pub(super) fn observe(&mut self, bus: &Name, event: &Event) {
        let view = View::new(event);
        for rule in self.0.iter_mut().filter(|rule| rule.bus == *bus) {
            rule.observe(&view);
        }
    }

    /// What was not reached, by rule, in the manifest's order.
    pub(super) fn unreached(&self) -> Vec<Unreached> {
        self.0.iter().filter_map(Rule::unreached).collect()
    }
}

impl Rule {
    /// `None` for a rule that can't be read, which the manifest's checks rule out.
    fn new(rule: &RuleConfig) -> Option<Self> {
        let coverage = match &rule.pattern {
            Some(text) => Some(Coverage::new(&parse_pattern(text).ok()?)),
            None => None,
        };
        let filters = rule.filters.iter();
        Some(Self {
            name: rule.name.clone(),
            bus: rule.bus.clone(),
            coverage,
            filters: filters
                .map(|text| Filter::parse(text).ok())
                .collect::<Option<_>>()?,
            matched: false,
        })
    }

    fn observe(&mut self, view: &View<'_>) {
        // What the pattern takes and a filter doesn't has not shown that the rule works.
        if !self.filters.is_empty() {
            let parts = view.parts();
            let document = EventDocument::new(&parts);
            let mut steps = Steps::of_event();
            let mut holds_all = |tree| {
                let mut filters = self.filters.iter();
                filters.all(|filter| filter.holds(tree, &mut steps) == Ok(true))
            };
            // An event that can't be read fails its test in its own words.
            if !document.tree().is_ok_and(&mut holds_all) {
                return;
            }
        }
        self.matched |= match &mut self.coverage {
            None => true,
            Some(coverage) => coverage.observe(&view.parts()).unwrap_or(false),
        };
    }

    fn unreached(&self) -> Option<Unreached> {
        let parts = match (&self.coverage, self.matched) {
            (_, false) => vec!["it matches no event of any test".to_owned()],
            (None, true) => Vec::new(),
            (Some(coverage), true) => parts(&coverage.report()),
        };
        (!parts.is_empty()).then(|| Unreached {
            rule: self.name.clone(),
            matched: self.matched,
            parts,
        })
    }
}

/// What was not reached of a pattern that matched.
fn parts(report: &CoverageReport) -> Vec<String> {
    let mut parts: Vec<String> = report
        .unreached()
        .map(|one| format!("{}: {}", one.path, one.in_words))
        .collect();
    let choices = report.sub_rules.len();
    let numbers = report.unreached_sub_rules().map(|number| number + 1);
    parts.extend(numbers.map(|number| format!("$or choice {number} of {choices}")));
    parts
}
