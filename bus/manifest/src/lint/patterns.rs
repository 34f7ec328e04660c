//! Warnings from the patterns alone: parts that can never be met, and rules that match only events that
//! another rule matches too. The `rules` crate gives the proofs. Without a proof there is no warning.
//!
//! Never here: events.

use std::collections::{BTreeSet, HashMap, HashSet};

use edgebus_rules::Pattern;
use edgebus_rules::lint::{Overlap, Scope, Shape, dead_ends, overlap};

use super::super::document::{Document, Side};
use crate::view::parse_pattern;
use edgebus_model::error::InputError;
use edgebus_model::{InputConfig, Name, RuleConfig, Target, TargetConfig};

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
    others_but: &["data"],
};

/// Pairs of rules that are compared; a manifest with more has what is first in it compared.
const PAIRS_MAX: usize = 20_000;

/// A rule with its pattern; without one it takes every event.
type Parsed<'m> = (&'m RuleConfig, Option<Pattern>);

/// Warns of patterns that can't match, in whole or in part, and (`twice`) of rules that are within others.
pub(super) fn check(document: &Document, found: &mut Vec<InputError>, twice: &mut Vec<InputError>) {
    let parsed: Vec<Parsed<'_>> = document
        .manifest
        .rules
        .iter()
        .filter(|rule| rule.enabled)
        .filter_map(|rule| {
            let pattern = match &rule.pattern {
                Some(text) => Some(parse_pattern(text).ok()?),
                None => None,
            };
            Some((rule, pattern))
        })
        .collect();
    let mut alive = Vec::with_capacity(parsed.len());
    for (rule, pattern) in parsed {
        let never = pattern
            .as_ref()
            .is_some_and(|pattern| never(document, rule, pattern, found));
        // A rule that can't match gets no event twice.
        if !never {
            alive.push((rule, pattern));
        }
    }
    within(document, &alive, twice);
}

/// Warns of what can never match, and says whether that is the whole rule.
fn never(
    document: &Document,
    rule: &RuleConfig,
    pattern: &Pattern,
    found: &mut Vec<InputError>,
) -> bool {
    let ends = dead_ends(pattern, &SHAPE);
    let pointer = format!("/rules/{}/match", rule.name);
    let choices = pattern.sub_rules();
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
        return true;
    }
    for end in &ends.found {
        let what = match &end.scope {
            Scope::SubRule(_) if choices == 1 => "it can never match".to_owned(),
            Scope::SubRule(number) => {
                format!("$or choice {} of {choices} can never match", number + 1)
            }
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
    false
}

/// Rules with a function in common, one of which matches only what the other matches as well.
fn within(document: &Document, parsed: &[Parsed<'_>], found: &mut Vec<InputError>) {
    let mut pairs = 0;
    let mut told: HashSet<&Name> = HashSet::new();
    let senders = Senders::new(parsed);
    for (index, (first, pattern)) in parsed.iter().enumerate() {
        for later in senders.after(index, first, PAIRS_MAX - pairs + 1) {
            let (second, other) = &parsed[later];
            let Some(target) = shared(first, second) else {
                continue;
            };
            pairs += 1;
            if pairs > PAIRS_MAX {
                return;
            }
            let (within, around) = match (pattern, other) {
                (Some(pattern), Some(other)) => match overlap(pattern, other) {
                    Some(Overlap::Same) => (true, true),
                    Some(Overlap::FirstWithinSecond) => (true, false),
                    Some(Overlap::SecondWithinFirst) => (false, true),
                    None => continue,
                },
                (_, None) => (true, pattern.is_none()),
                (None, Some(_)) => (false, true),
            };
            // What passes all filters of a rule passes those that another one has of them.
            let within = within && are_among(&second.filters, &first.filters);
            let around = around && are_among(&first.filters, &second.filters);
            let (narrow, wide) = match (within, around) {
                (_, true) => (second, first),
                (true, false) => (first, second),
                (false, false) => continue,
            };
            let same = within && around;
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
                    "rule `{}` {what}, and both send them to `{}`: it gets them twice",
                    narrow.name,
                    target.name()
                ),
                "make the patterns exclude each other, or leave one of the rules out",
            ));
        }
    }
}

fn are_among(some: &[String], all: &[String]) -> bool {
    some.iter().all(|one| all.contains(one))
}

/// What rules of one bus send to one target, as places in a list of rules, in its order: not all rules
/// are compared with all others.
struct Senders<'m>(HashMap<(&'m Name, &'m Target, Option<&'m InputConfig>), Vec<usize>>);

impl<'m> Senders<'m> {
    fn new(parsed: &'m [Parsed<'_>]) -> Self {
        let mut senders: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, (rule, _)) in parsed.iter().enumerate() {
            for target in &rule.targets {
                let sent = (&rule.bus, &target.to, target.input.as_ref());
                senders.entry(sent).or_default().push(index);
            }
        }
        Self(senders)
    }

    /// The first `most` rules after this one that send the same to a target of it.
    fn after(&self, index: usize, rule: &RuleConfig, most: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for target in &rule.targets {
            let sent = (&rule.bus, &target.to, target.input.as_ref());
            let all = self.0.get(&sent).map_or(&[][..], |all| all);
            let later = all.partition_point(|other| *other <= index);
            found.extend(all[later..].iter().take(most));
        }
        found
    }
}

/// A target that both rules of one bus send the same to.
fn shared<'r>(first: &'r RuleConfig, second: &RuleConfig) -> Option<&'r Target> {
    if first.bus != second.bus {
        return None;
    }
    // With another input it is another thing that the target gets.
    let same = |target: &&TargetConfig| {
        let mut others = second.targets.iter();
        others.any(|other| other.to == target.to && other.input == target.input)
    };
    first.targets.iter().find(same).map(|target| &target.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, expected: &[&str]) {
        let text = format!("version: 1\nfunctions: {{ f: {{}}, g: {{}} }}\nrules:\n{rules}");
        let document = Document::read(&text);
        assert!(document.errors.is_empty(), "{:?}", document.errors);
        let (mut found, mut twice) = (Vec::new(), Vec::new());
        super::check(&document, &mut found, &mut twice);
        found.extend(twice);
        let reasons: Vec<&str> = found.iter().map(|error| error.reason.as_str()).collect();
        assert_eq!(reasons, expected, "{rules}");
        assert!(found.iter().all(|error| error.place.is_some()));
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
    fn a_rule_that_can_not_match_is_within_none() {
        check(
            "  a: { match: { type: [null] }, to: [{ function: f }] }\n  b: { match: { type: [null, { numeric: ['>', 1] }] }, to: [{ function: f }] }\n  c: { to: [{ function: f }] }\n",
            &[
                "rule `a` can never match: type: it is always one string, which can't be null",
                "rule `b` can never match: type: none of its alternatives can be met",
            ],
        );
    }

    #[test]
    fn a_part_that_can_not_match_is_told_in_the_words_of_the_pattern() {
        check(
            "  a: { match: { data: { x: [1], x.y: [2] } }, to: [{ function: f }] }\n",
            &[
                "rule `a`: data.x: it can never match, unless events have a key with a dot in it: it has to be a value and at the same time an object with data.x.y",
            ],
        );
        check(
            "  a: { match: { $or: [{ type: [null] }, { type: [t] }] }, to: [{ function: f }] }\n",
            &[
                "rule `a`: type: $or choice 1 of 2 can never match: it is always one string, which can't be null",
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
        check(
            "  a: { to: [{ function: f }] }\n  b: { match: { type: [order] }, to: [{ function: f }] }\n  c: { where: $.data, to: [{ function: f }] }\n",
            &[
                "rule `b` matches only events that rule `a` matches as well, and both send them to `f`: it gets them twice",
                "rule `c` matches only events that rule `a` matches as well, and both send them to `f`: it gets them twice",
            ],
        );
        let filters = |own: &str| format!("where: [{own}], to: [{{ function: f }}]");
        check(
            &format!(
                "  a: {{ {order}, {} }}\n  b: {{ {large}, {} }}\n",
                filters("$.x"),
                filters("$.y, $.x")
            ),
            &[
                "rule `b` matches only events that rule `a` matches as well, and both send them to `f`: it gets them twice",
            ],
        );
        check(
            &format!(
                "  a: {{ {} }}\n  b: {{ {} }}\n",
                filters("$.x, $.y"),
                filters("$.y, $.x")
            ),
            &[
                "rule `b` matches the same events as rule `a`, and both send them to `f`: it gets them twice",
            ],
        );
        for apart in [
            format!(
                "  a: {{ {} }}\n  b: {{ {} }}\n",
                filters("$.x"),
                filters("$.y")
            ),
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
