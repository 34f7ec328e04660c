//! What the patterns alone show: what of them can never be met, and rules that match only what another
//! one matches as well. The proofs are the `rules` crate's; where it is not sure, nothing is said.
//!
//! Never here: events.

use std::collections::{BTreeSet, HashMap, HashSet};

use rules::Pattern;
use rules::lint::{Overlap, Scope, Shape, dead_ends, overlap};

use super::super::document::{Document, Side};
use crate::error::Fault;
use crate::model::{InputConfig, Name, RuleConfig, TargetConfig};
use crate::view::parse_pattern;

/// What every event has: these are strings, and the required ones are always there (CloudEvents 1.0).
const SHAPE: Shape<'static> = Shape {
    strings: &[
        "id",
        "source",
        "specversion",
        "type",
        "datacontenttype",
        "dataschema",
        "subject",
        "time",
    ],
    required: &["id", "source", "specversion", "type"],
};

/// Pairs of rules that are compared; a manifest with more has what is first in it compared.
const PAIRS_MAX: usize = 20_000;

/// A rule with its pattern.
type Parsed<'m> = (&'m RuleConfig, Pattern);

/// Warns of patterns that can't match, in whole or in part, and of rules that are within others.
pub(super) fn check(document: &Document, found: &mut Vec<Fault>) {
    let parsed: Vec<Parsed<'_>> = document
        .manifest
        .rules
        .iter()
        .filter_map(|rule| {
            let text = rule.pattern.as_ref()?;
            let pattern = parse_pattern(text).ok()?;
            Some((rule, pattern))
        })
        .collect();
    for (rule, pattern) in &parsed {
        never(document, rule, pattern, found);
    }
    within(document, &parsed, found);
}

fn never(document: &Document, rule: &RuleConfig, pattern: &Pattern, found: &mut Vec<Fault>) {
    let ends = dead_ends(pattern, &SHAPE);
    let pointer = format!("/rules/{}/match", rule.name);
    if ends.never {
        let why = ends
            .found
            .first()
            .map_or_else(String::new, |end| format!(": {}: {}", end.path, end.reason));
        found.push(document.note(
            &pointer,
            Side::Key,
            format!("rule `{}` can never match{why}", rule.name),
            "change the pattern, or leave the rule out",
        ));
        return;
    }
    for end in &ends.found {
        let what = match &end.scope {
            Scope::SubRule(number) => format!("sub-rule {} can never match", number + 1),
            Scope::Alternative(text) => format!("the alternative {text} can never be met"),
            Scope::Field => "the field has no effect".to_owned(),
        };
        let unless = if end.unless_dotted {
            ", unless events have a key with a dot in it"
        } else {
            ""
        };
        found.push(document.note(
            &pointer,
            Side::Key,
            format!(
                "rule `{}`: {}: {what}{unless}: {}",
                rule.name, end.path, end.reason
            ),
            "change it, or leave it out",
        ));
    }
}

/// Rules with a function in common, one of which matches only what the other matches as well.
fn within(document: &Document, parsed: &[Parsed<'_>], found: &mut Vec<Fault>) {
    let mut pairs = 0;
    let mut told: HashSet<&Name> = HashSet::new();
    let senders = Senders::new(parsed);
    for (index, (first, pattern)) in parsed.iter().enumerate() {
        for later in senders.after(index, first, PAIRS_MAX - pairs + 1) {
            let (second, other) = &parsed[later];
            let Some(function) = shared(first, second) else {
                continue;
            };
            pairs += 1;
            if pairs > PAIRS_MAX {
                return;
            }
            let (narrow, wide, same) = match overlap(pattern, other) {
                Some(Overlap::Same) if first.filters == second.filters => (second, first, true),
                Some(Overlap::Same | Overlap::FirstWithinSecond) if second.filters.is_empty() => {
                    (first, second, false)
                }
                Some(Overlap::Same | Overlap::SecondWithinFirst) if first.filters.is_empty() => {
                    (second, first, false)
                }
                _ => continue,
            };
            // One word on a rule is enough.
            if !told.insert(&narrow.name) {
                continue;
            }
            let what = if same {
                format!("matches the same events as rule `{}`", wide.name)
            } else {
                format!(
                    "matches only events that rule `{}` matches as well",
                    wide.name
                )
            };
            found.push(document.note(
                &format!("/rules/{}", narrow.name),
                Side::Key,
                format!(
                    "rule `{}` {what}, and both send them to `{function}`: it gets them twice",
                    narrow.name
                ),
                "make the patterns exclude each other, or leave one of the rules out",
            ));
        }
    }
}

/// What rules of one bus send to one function, as places in a list of rules, in its order: not all rules
/// are compared with all others.
struct Senders<'m>(HashMap<(&'m Name, &'m Name, Option<&'m InputConfig>), Vec<usize>>);

impl<'m> Senders<'m> {
    fn new(parsed: &'m [Parsed<'_>]) -> Self {
        let mut senders: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, (rule, _)) in parsed.iter().enumerate() {
            for target in &rule.targets {
                let sent = (&rule.bus, &target.function, target.input.as_ref());
                senders.entry(sent).or_default().push(index);
            }
        }
        Self(senders)
    }

    /// The first `most` rules after this one that send the same to a function of it.
    fn after(&self, index: usize, rule: &RuleConfig, most: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for target in &rule.targets {
            let sent = (&rule.bus, &target.function, target.input.as_ref());
            let all = self.0.get(&sent).map_or(&[][..], |all| all);
            let later = all.partition_point(|other| *other <= index);
            found.extend(all[later..].iter().take(most));
        }
        found
    }
}

/// A function that both rules of one bus send the same to.
fn shared<'r>(first: &'r RuleConfig, second: &RuleConfig) -> Option<&'r Name> {
    if first.bus != second.bus {
        return None;
    }
    // With another input it is another thing that the function gets.
    let same = |target: &&TargetConfig| {
        let mut others = second.targets.iter();
        others.any(|other| other.function == target.function && other.input == target.input)
    };
    first
        .targets
        .iter()
        .find(same)
        .map(|target| &target.function)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, expected: &[&str]) {
        let text = format!("version: 1\nfunctions: {{ f: {{}}, g: {{}} }}\nrules:\n{rules}");
        let document = Document::read(&text);
        assert!(document.faults.is_empty(), "{:?}", document.faults);
        let mut found = Vec::new();
        super::check(&document, &mut found);
        let reasons: Vec<&str> = found.iter().map(|fault| fault.reason.as_str()).collect();
        assert_eq!(reasons, expected, "{rules}");
        assert!(found.iter().all(|fault| fault.place.is_some()));
    }

    #[test]
    fn what_can_not_match_is_told() {
        check(
            "  a: { match: { type: { name: [x] } }, to: [{ function: f }] }\n",
            &[
                "rule `a` can never match: type.name: type is always a string, so nothing is below it",
            ],
        );
    }

    #[test]
    fn rules_within_others_are_told_where_a_function_gets_events_twice() {
        let order = "match: { type: [order] }";
        let large = "match: { type: [order], data: { total: [{ numeric: ['>', 9] }] } }";
        check(
            &format!(
                "  a: {{ {order}, to: [{{ function: f }}] }}\n  b: {{ {large}, to: [{{ function: f }}] }}\n"
            ),
            &[
                "rule `b` matches only events that rule `a` matches as well, and both send them to `f`: it gets them twice",
            ],
        );
        check(
            &format!(
                "  a: {{ {order}, to: [{{ function: f }}] }}\n  b: {{ {order}, to: [{{ function: f }}] }}\n"
            ),
            &[
                "rule `b` matches the same events as rule `a`, and both send them to `f`: it gets them twice",
            ],
        );
        for apart in [
            format!(
                "  a: {{ {order}, to: [{{ function: f }}] }}\n  b: {{ {large}, to: [{{ function: g }}] }}\n"
            ),
            format!(
                "  a: {{ {order}, where: $.data.x, to: [{{ function: f }}] }}\n  b: {{ {large}, to: [{{ function: f }}] }}\n"
            ),
        ] {
            check(&apart, &[]);
        }
    }
}
