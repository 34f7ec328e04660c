//! For an event that no rule matched: the nearest rule, and the condition that failed.
//!
//! The verdicts are those of `view`. Never here: matching, and another definition of "nearest".

use std::borrow::Borrow;

use edgebus_manifest::view::{View, judge};
use edgebus_model::{Event, RuleConfig, Timestamp};

/// Rules that are compared for one event.
const RULES_MAX: usize = 1_000;

/// One line on why none of `rules` on `bus` matched `event`.
pub(super) fn nearest(rules: &[impl Borrow<RuleConfig>], bus: &str, event: &Event) -> String {
    let all = rules.iter().map(Borrow::borrow);
    let of_bus = || {
        all.clone()
            .filter(|rule: &&RuleConfig| rule.bus.as_str() == bus)
    };
    let count = of_bus().count();
    if count == 0 {
        return format!("no rule matched: the bus `{bus}` has no rules");
    }
    let view = View::new(event);
    let nearest = of_bus()
        .take(RULES_MAX)
        .filter_map(|rule| judge(rule, &view, Timestamp(0)).ok())
        // One that matches now was applied after the event.
        .filter(|verdict| !verdict.matched)
        // The first of equals stays.
        .reduce(|best, next| {
            if next.nearer(&best).is_gt() {
                next
            } else {
                best
            }
        });
    let looked = if count > RULES_MAX {
        format!(" (of the first {RULES_MAX} rules)")
    } else {
        String::new()
    };
    let Some(nearest) = nearest else {
        return "no rule matched".to_owned();
    };
    let missed = nearest.explanation.as_ref().and_then(|own| own.missed());
    let hint = missed.and_then(|missed| missed.hint.as_ref());
    let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
    format!(
        "no rule matched; nearest{looked}: `{}`, {}{hint}",
        nearest.rule,
        nearest.summary()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_http::wire;
    use edgebus_manifest as manifest;

    fn check(rules: &str, event: &str, expected: &str) {
        let text =
            format!("version: 1\nfunctions: {{ f: {{ component: f.wasm }} }}\nrules:\n{rules}");
        let manifest = manifest::parse(&text)
            .map_err(|errors| manifest::show(&errors, &text, "m", manifest::Style::Plain));
        let rules = manifest.unwrap_or_else(|errors| panic!("{errors}")).rules;
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
            r#"no rule matched; nearest: `cheap`, data.total: wanted a number < 10; saw 50"#,
        );
        check(
            rules,
            r#""type":"order","data":{"total":50,"vip":true}"#,
            r#"no rule matched; nearest: `dear`, data.total: wanted a number > 100; saw 50"#,
        );
        check(
            rules,
            r#""type":"refunds""#,
            r#"no rule matched; nearest: `other`, type: wanted "refund"; saw "refunds""#,
        );
        check(
            rules,
            r#""type":"tea","data":{"lines":[{"n":1}]}"#,
            "no rule matched; nearest: `tea`, where $.data.lines[?@.n > 1]: selects nothing",
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
