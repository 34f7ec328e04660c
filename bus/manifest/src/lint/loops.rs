//! Dead letters that come back to the rule whose target failed, straight away or over other buses.
//!
//! Never here: what an event has in it; a rule that may match it is enough.

use std::collections::BTreeMap;

use crate::document::{Document, Side};
use edgebus_model::error::InputError;
use edgebus_model::{Name, RuleConfig};

/// Buses to which the dead letters of rules of a bus go, with the first such rule.
type Ways<'m> = BTreeMap<&'m Name, BTreeMap<&'m Name, &'m Name>>;

pub(super) fn check(document: &Document, found: &mut Vec<InputError>) {
    let rules = &document.manifest.rules;
    let mut ways: Ways<'_> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.enabled && takes_dead(rule)) {
        for target in &rule.targets {
            if let Some(to) = &target.dead_letter_bus {
                let of_bus = ways.entry(&rule.bus).or_default();
                of_bus.entry(to).or_insert(&rule.name);
            }
        }
    }
    // Whoever looks at the reason has thought of dead letters.
    let unaware = |rule: &&RuleConfig| !mentions_dead(rule);
    for rule in rules.iter().filter(unaware) {
        for (index, target) in rule.targets.iter().enumerate() {
            let Some(to) = &target.dead_letter_bus else {
                continue;
            };
            let Some(over) = way_back(&ways, to, &rule.bus) else {
                continue;
            };
            let reason = match over.as_slice() {
                [] => "dead letters are published on the bus of this rule, which may match them again: a loop, until 16 hops end it".to_owned(),
                over => {
                    let over: Vec<String> = over.iter().map(|name| format!("`{name}`")).collect();
                    format!(
                        "dead letters are published on bus `{to}`, and come back to the bus of this rule over the dead letters of {}: a loop, until 16 hops end it",
                        over.join(", ")
                    )
                }
            };
            found.push(document.note(
                &format!("/rules/{}/to/{index}/dead_letter/bus", rule.name),
                Side::Value,
                reason,
                "name another bus, or add `deadreason: [{ exists: false }]` to the rule's `match`",
            ));
        }
    }
}

fn mentions_dead(rule: &RuleConfig) -> bool {
    let pattern = rule.pattern.as_deref();
    pattern.is_some_and(|pattern| pattern.contains("deadreason"))
}

/// False of a rule that matches no dead letter.
fn takes_dead(rule: &RuleConfig) -> bool {
    let pattern = rule.pattern.as_deref().unwrap_or_default();
    let spaceless: String = pattern
        .chars()
        .filter(|char| !char.is_whitespace())
        .collect();
    !spaceless.contains(r#""deadreason":[{"exists":false}]"#)
}

/// The rules over whose dead letters one gets from a bus to another, in order; none if it is the same bus.
fn way_back<'m>(ways: &Ways<'m>, from: &'m Name, to: &Name) -> Option<Vec<&'m Name>> {
    let mut seen: BTreeMap<&Name, Vec<&'m Name>> = BTreeMap::from([(from, Vec::new())]);
    let mut next = vec![from];
    while let Some(bus) = next.pop() {
        let over = seen.get(bus).cloned().unwrap_or_default();
        if bus == to {
            return Some(over);
        }
        for (further, rule) in ways.get(bus).into_iter().flatten() {
            if !seen.contains_key(further) {
                let over = over.iter().copied().chain([*rule]).collect();
                seen.insert(further, over);
                next.push(further);
            }
        }
    }
    None
}
