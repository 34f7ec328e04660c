//! For an event that nothing matched: the rule that came nearest, and the condition that it missed.
//!
//! The verdicts are those of `rules::explain`; here they are only weighed. Never here: matching.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rules::{BranchExplanation, Dialect, Filter, ParseOptions, Part, Pattern, explain};
use serde_json::value::RawValue;

use crate::api::wire;
use crate::model::{Event, RuleConfig};

/// Rules that are weighed for one event.
const RULES_MAX: usize = 1_000;

/// How far a rule is from an event, the nearest first: whether it wants another type, how many
/// conditions it missed, how many held.
type Distance = (bool, usize, Reverse<usize>);

/// One line on why none of `rules` on `bus` matched `event`.
pub(super) fn nearest(rules: &[RuleConfig], bus: &str, event: &Event) -> String {
    let of_bus = || rules.iter().filter(|rule| rule.bus.as_str() == bus);
    let count = of_bus().count();
    if count == 0 {
        return format!("no rule matched: the bus `{bus}` has no rules");
    }
    let mut text = Vec::new();
    wire::encode(&mut text, event);
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(&text).unwrap_or_default();
    let seen = Seen {
        parts: members
            .iter()
            .map(|(name, value)| Part::Raw {
                name,
                json: value.get().as_bytes(),
            })
            .collect(),
        whole: serde_json::from_slice(&text).unwrap_or_default(),
    };
    let nearest = of_bus()
        .take(RULES_MAX)
        .filter_map(|rule| Some((missed(rule, &seen)?, rule)))
        // The first of equals stays.
        .min_by_key(|((distance, _), _)| *distance);
    let looked = if count > RULES_MAX {
        format!(" (of the first {RULES_MAX} rules)")
    } else {
        String::new()
    };
    match nearest {
        Some(((_, why), rule)) => {
            format!("no rule matched; nearest{looked}: `{}`, {why}", rule.name)
        }
        None => "no rule matched".to_owned(),
    }
}

/// The event, as patterns and as filters see it.
struct Seen<'a> {
    parts: Vec<Part<'a>>,
    whole: serde_json::Value,
}

/// How far `rule` is from matching, and what it missed; `None` if it matches, or can't be weighed.
fn missed(rule: &RuleConfig, seen: &Seen<'_>) -> Option<(Distance, String)> {
    let mut held = 0;
    if let Some(text) = &rule.pattern {
        let options = ParseOptions {
            dialect: Dialect::Edgebus,
            aliases: &[],
        };
        let pattern = Pattern::parse(text.as_bytes(), &options).ok()?;
        let explanation = explain(&pattern, &seen.parts).ok()?;
        if !explanation.matched {
            let branches = explanation.branches.iter().map(weigh);
            return branches.min_by_key(|(distance, _)| *distance);
        }
        let matched = explanation.branches.iter().find(|branch| branch.matched);
        held = matched.map_or(0, |branch| branch.conditions.len());
    }
    let filter = rule
        .filters
        .iter()
        .find(|text| Filter::parse(text).is_ok_and(|filter| !filter.holds(&seen.whole)))?;
    let distance = (false, 1, Reverse(held));
    Some((distance, format!("`where` {filter} selects nothing")))
}

fn weigh(branch: &BranchExplanation) -> (Distance, String) {
    let missed = branch.conditions.iter().filter(|condition| !condition.held);
    let held = branch.conditions.len() - missed.clone().count();
    let other_type = missed.clone().any(|condition| condition.path == "type");
    let why = match missed.clone().next() {
        Some(condition) => condition.to_string(),
        None => "whose conditions hold, but not within the same element of an array".to_owned(),
    };
    let distance = (other_type, missed.count().max(1), Reverse(held));
    (distance, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    fn check(rules: &str, event: &str, expected: &str) {
        let text =
            format!("version: 1\nfunctions: {{ f: {{ component: f.wasm }} }}\nrules:\n{rules}");
        let manifest = manifest::parse(&text).map_err(|faults| manifest::show(&faults, &text, "m"));
        let rules = manifest.unwrap_or_else(|faults| panic!("{faults}")).rules;
        let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s",{event}}}"#);
        let event = wire::decode_structured(&bytes::Bytes::from(event)).unwrap();
        assert_eq!(nearest(&rules, "default", &event), expected);
    }

    #[test]
    fn the_nearest_rule_and_its_missed_condition_are_one_line() {
        let rules = "  cheap: { match: { type: [order], data: { total: [{ numeric: ['<', 10] }] } }, to: [{ function: f }] }
  dear: { match: { type: [order], data: { total: [{ numeric: ['>', 100] }], vip: [true] } }, to: [{ function: f }] }
  other: { match: { type: [refund] }, to: [{ function: f }] }
  tea: { match: { type: [tea] }, where: '$.data.lines[?@.n > 1]', to: [{ function: f }] }
";
        check(
            rules,
            r#""type":"order","data":{"total":50,"vip":false}"#,
            r#"no rule matched; nearest: `cheap`, data.total: wanted {"numeric": ["<", 10]}; saw 50"#,
        );
        check(
            rules,
            r#""type":"order","data":{"total":50,"vip":true}"#,
            r#"no rule matched; nearest: `dear`, data.total: wanted {"numeric": [">", 100]}; saw 50"#,
        );
        check(
            rules,
            r#""type":"refunds""#,
            r#"no rule matched; nearest: `other`, type: wanted "refund"; saw "refunds""#,
        );
        check(
            rules,
            r#""type":"tea","data":{"lines":[{"n":1}]}"#,
            "no rule matched; nearest: `tea`, `where` $.data.lines[?@.n > 1] selects nothing",
        );
    }

    #[test]
    fn a_bus_without_rules_says_so() {
        check(
            "  {}\n",
            r#""type":"t""#,
            "no rule matched: the bus `default` has no rules",
        );
    }
}
