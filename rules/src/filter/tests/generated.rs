//! Generates queries and events. Compares the plan with the simplest evaluator, and with jsonpath-rust's own
//! evaluator where that follows RFC 9535.
//!
//! The comparison with jsonpath-rust leaves out nested filters, `count` and the order of results. Its filters
//! don't see the children of a node inside another filter, and its `count` of no nodes is nothing instead of
//! 0. For a list of selectors it goes through all nodes once for each selector.

use super::naive;
use crate::filter::{Filter, Step, Steps};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use proptest::prelude::*;
use serde_json::Value;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..4_i64).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.0, 2.5]).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "ab", "ba", "é", "a.b", "[ab]", "b*"])
        .prop_map(str::to_owned)
}

fn literal() -> BoxedStrategy<String> {
    prop_oneof![
        (-2..4_i64).prop_map(|number| number.to_string()),
        Just("0.5".to_owned()),
        Just("1.0".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        text().prop_map(|text| format!("'{text}'")),
    ]
    .boxed()
}

/// A query that selects at most one node, after `@` or `$`.
fn place() -> BoxedStrategy<String> {
    let step = prop_oneof![
        name().prop_map(|name| format!(".{name}")),
        (-2..3_i64).prop_map(|index| format!("[{index}]")),
    ];
    let top = prop::sample::select(vec!["@", "@", "@", "$"]);
    (top, prop::collection::vec(step, 0..3))
        .prop_map(|(top, steps)| top.to_owned() + &steps.concat())
        .boxed()
}

/// A selector without a filter.
fn plain() -> BoxedStrategy<String> {
    let bound = prop_oneof![
        Just(String::new()),
        (-3..4_i64).prop_map(|bound| bound.to_string())
    ];
    prop_oneof![
        name().prop_map(|name| format!("'{name}'")),
        (-2..3_i64).prop_map(|index| index.to_string()),
        Just("*".to_owned()),
        (bound.clone(), bound.clone(), bound)
            .prop_map(|(start, end, step)| format!("{start}:{end}:{step}")),
    ]
    .boxed()
}

/// Segments with these selectors.
fn segments(selector: BoxedStrategy<String>, most: usize) -> BoxedStrategy<String> {
    let list = prop::collection::vec(selector, 1..3).prop_map(|all| all.join(","));
    let segment = (prop::sample::select(vec!["", "", "", ".."]), list)
        .prop_map(|(down, list)| format!("{down}[{list}]"));
    prop::collection::vec(segment, 0..most)
        .prop_map(|all| all.concat())
        // Queries with more descendant segments are refused.
        .prop_filter("few descents", |text| text.matches("..").count() < 2)
        .boxed()
}

fn condition(nodes: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let operand = prop_oneof![
        3 => literal(),
        4 => place(),
        1 => place().prop_map(|place| format!("length({place})")),
        1 => nodes.clone().prop_map(|nodes| format!("value({nodes})")),
        1 => nodes.clone().prop_map(|nodes| format!("count({nodes})")),
    ]
    .boxed();
    let comparison = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let function = prop::sample::select(vec!["match", "search"]);
    let form = prop_oneof![text().prop_map(|text| format!("'{text}'")), place()];
    let atom = prop_oneof![
        (operand.clone(), comparison, operand)
            .prop_map(|(left, sign, right)| format!("{left} {sign} {right}")),
        (function, place(), form).prop_map(|(name, text, form)| format!("{name}({text}, {form})")),
        nodes,
        place(),
    ]
    .boxed();
    let atom = (any::<bool>(), atom)
        .prop_map(|(not, atom)| match not {
            true => format!("!({atom})"),
            false => atom,
        })
        .boxed();
    let joined = prop::sample::select(vec![" && ", " || "]);
    (atom.clone(), joined, atom, 0..3)
        .prop_map(|(left, joined, right, which)| match which {
            0 => format!("{left}{joined}{right}"),
            _ => left,
        })
        .boxed()
}

/// A whole query, whose filters nest to this depth.
fn query(depth: usize) -> BoxedStrategy<String> {
    let mut selector = plain().boxed();
    for _ in 0..depth {
        let top = prop::sample::select(vec!["@", "@", "$"]);
        let nodes = (top, segments(selector, 3)).prop_map(|(top, rest)| top.to_owned() + &rest);
        let filter = condition(nodes.boxed()).prop_map(|condition| format!("?{condition}"));
        selector = prop_oneof![1 => plain(), 2 => filter].boxed();
    }
    segments(selector, 4)
        .prop_map(|rest| format!("${rest}"))
        .boxed()
}

/// The places that the plan selects. `None` if the query is refused.
fn selected(text: &str, event: &Value) -> Option<Vec<Vec<Step>>> {
    let filter = Filter::parse(text).ok()?;
    let mut steps = Steps::of_event();
    let places = filter.select(event, usize::MAX, &mut steps).ok()??;
    let holds = filter.holds(event, &mut Steps::of_event());
    assert_eq!(holds, Ok(!places.is_empty()), "{text}");
    // With one step less the result is unknown. And the number of steps is always the same.
    if let Some(fewer) = steps.used().checked_sub(1) {
        let mut fewer = Steps::at_most(fewer);
        assert!(
            filter.select(event, usize::MAX, &mut fewer).is_err(),
            "{text}"
        );
    }
    assert!(
        filter
            .select(event, usize::MAX, &mut Steps::at_most(steps.used()))
            .is_ok()
    );
    Some(places)
}

fn at<'a>(event: &'a Value, place: &[Step]) -> &'a Value {
    place.iter().fold(event, |value, step| match step {
        Step::Member(name) => &value[&**name],
        Step::Element(index) => &value[*index as usize],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn the_plainest_evaluator_selects_the_same(text in query(2), event in json()) {
        if text == "$" {
            return Ok(());
        }
        let parsed = parse_json_path(&text).expect("it is a query");
        if let Some(places) = selected(&text, &event) {
            let wanted: Vec<Vec<Step>> =
                naive::select(&parsed, &event).into_iter().map(|(place, _)| place).collect();
            prop_assert_eq!(places, wanted, "{} of {}", text, event);
        } else {
            let refused = text.matches("..").count() > 2;
            prop_assert!(refused, "{} is refused", text);
        }
    }

    #[test]
    fn the_librarys_evaluator_selects_the_same(text in query(1), event in json()) {
        if text == "$" || text.contains("count(") {
            return Ok(());
        }
        let parsed = parse_json_path(&text).expect("it is a query");
        if let Some(places) = selected(&text, &event) {
            let found = js_path_process(&parsed, &event).expect("it can be evaluated");
            let mut found: Vec<*const Value> =
                found.into_iter().map(|node| std::ptr::from_ref(node.val())).collect();
            let mut ours: Vec<*const Value> =
                places.iter().map(|place| std::ptr::from_ref(at(&event, place))).collect();
            found.sort_unstable();
            ours.sort_unstable();
            prop_assert_eq!(ours.len(), found.len(), "{} of {}", &text, &event);
            prop_assert!(ours == found, "{} of {}", text, event);
        }
    }
}
