//! Compares the search with brute force: all choices of values, compared pair by pair.

use crate::flatten::tests::json;
use crate::{Duplicates, ParseOptions, Pattern, RuleIndex, RuleSet, Scratch, Trust};
use proptest::prelude::*;
use serde_json::Value;

/// A scalar, and the elements around it as (array, index).
type Found = (Value, Vec<(usize, usize)>);

/// All scalars at a path, with the elements around them.
fn gather(value: &Value, path: &[&str], trail: &[(usize, usize)], found: &mut Vec<Found>) {
    match value {
        Value::Array(elements) => {
            // The address of a node of the tree identifies an array.
            let array = std::ptr::from_ref(value).addr();
            for (index, element) in elements.iter().enumerate() {
                let mut trail = trail.to_vec();
                trail.push((array, index));
                gather(element, path, &trail, found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                let segments: Vec<&str> = key.split('.').collect();
                if let Some(rest) = path.strip_prefix(&segments[..]) {
                    gather(member, rest, trail, found);
                }
            }
        }
        scalar if path.is_empty() => found.push((scalar.clone(), trail.to_vec())),
        _ => {}
    }
}

fn go_together(one: &Found, other: &Found) -> bool {
    one.1.iter().all(|(array, index)| {
        let same = other.1.iter().find(|(known, _)| known == array);
        same.is_none_or(|(_, other)| index == other)
    })
}

/// The alternatives of a field: one of these numbers, an array that contains these numbers, an array of
/// exactly these numbers, or no value.
#[derive(Debug, Clone)]
struct Ask {
    path: String,
    numbers: Vec<i32>,
    contains_all: Vec<i32>,
    exactly: Vec<i32>,
    absence: bool,
}

/// The arrays whose values meet a requirement together, given by the elements around them.
fn lists(ask: &Ask, values: &[Found]) -> Vec<Found> {
    let array = |value: &Found| value.1.last().map(|(array, _)| *array);
    let mut lists = Vec::new();
    for value in values {
        let beside: Vec<&Value> = values
            .iter()
            .filter(|other| array(other) == array(value))
            .map(|(value, _)| value)
            .collect();
        let contains = ask
            .contains_all
            .iter()
            .all(|number| beside.iter().any(|value| *value == number));
        let mut rest = ask.exactly.clone();
        let exact = beside.len() == rest.len()
            && beside.iter().all(|value| {
                let place = rest.iter().position(|number| *value == number);
                place.map(|place| rest.remove(place)).is_some()
            });
        if (contains && !ask.contains_all.is_empty()) || (exact && !ask.exactly.is_empty()) {
            let around = value.1.len().saturating_sub(1);
            lists.push((Value::Null, value.1[..around].to_vec()));
        }
    }
    lists
}

/// Whether values can be chosen for the requirements from `from` on, after the earlier choices.
fn choose(asks: &[(Ask, Vec<Found>)], from: usize, chosen: &mut Vec<Option<Found>>) -> bool {
    if from == asks.len() {
        return asks.iter().zip(chosen.iter()).all(|((_, values), choice)| {
            let consistent = |value: &Found| {
                chosen
                    .iter()
                    .flatten()
                    .all(|other| go_together(value, other))
            };
            choice.is_some() || !values.iter().any(consistent)
        });
    }
    let (ask, values) = &asks[from];
    let fit = values
        .iter()
        .filter(|(value, _)| ask.numbers.iter().any(|number| *value == *number));
    let mut options: Vec<Option<Found>> = fit.cloned().map(Some).collect();
    options.extend(lists(ask, values).into_iter().map(Some));
    if ask.absence {
        options.push(None);
    }
    options.into_iter().any(|option| {
        let fits = option.iter().all(|value| {
            chosen
                .iter()
                .flatten()
                .all(|other| go_together(value, other))
        });
        chosen.push(option);
        let met = fits && choose(asks, from + 1, chosen);
        chosen.pop();
        met
    })
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let ask = (
        "[ab](\\.[ab]){0,3}",
        prop::collection::vec(0..4_i32, 0..3),
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(0..4_i32, 0..3)],
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(0..4_i32, 0..3)],
        any::<bool>(),
    );
    let ask = ask.prop_map(|(path, numbers, contains_all, exactly, absence)| {
        let asks = numbers.is_empty() && contains_all.is_empty() && exactly.is_empty();
        Ask {
            path,
            absence: absence || asks,
            numbers,
            contains_all,
            exactly,
        }
    });
    prop::collection::vec(ask, 1..5).prop_map(|mut asks| {
        asks.sort_by(|one, other| one.path.cmp(&other.path));
        asks.dedup_by(|one, other| one.path == other.path);
        asks
    })
}

fn pattern(asks: &[Ask]) -> Pattern {
    let fields = asks.iter().map(|ask| {
        let mut list: Vec<Value> = ask.numbers.iter().map(|&number| number.into()).collect();
        if !ask.contains_all.is_empty() {
            list.push(serde_json::json!({ "contains-all": ask.contains_all }));
        }
        if !ask.exactly.is_empty() {
            list.push(serde_json::json!({ "exactly": ask.exactly }));
        }
        if ask.absence {
            list.push(serde_json::json!({ "exists": false }));
        }
        (ask.path.clone(), Value::Array(list))
    });
    let text = Value::Object(fields.collect()).to_string();
    Pattern::parse(text.as_bytes(), &ParseOptions::default()).expect("the pattern is valid")
}

fn matched(pattern: Pattern, event: &str) -> bool {
    let rules = RuleSet::new([((), pattern)]);
    let matched = rules.matches_json(event.as_bytes(), Duplicates::Refuse);
    !matched.expect("the event is valid").is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn the_search_agrees_with_brute_force(asks in asks(), a in json(), b in json(), c in json()) {
        let event = serde_json::json!({ "a": a, "b": b, "a.b": c });
        let gathered: Vec<(Ask, Vec<Found>)> = asks
            .iter()
            .map(|ask| {
                let segments: Vec<&str> = ask.path.split('.').collect();
                let mut found = Vec::new();
                gather(&event, &segments, &[], &mut found);
                (ask.clone(), found)
            })
            .collect();
        let wanted = choose(&gathered, 0, &mut Vec::new());
        prop_assert_eq!(matched(pattern(&asks), &event.to_string()), wanted, "{}", event);
    }
}

/// A value outside of all arrays selects no element. Only a value inside an array lets another path be
/// absent.
#[test]
fn a_value_inside_is_chosen_where_absence_needs_it() {
    let check = |pattern: &str, event: &str, expected: bool| {
        let pattern = Pattern::parse(pattern.as_bytes(), &ParseOptions::default());
        let pattern = pattern.expect("the pattern is valid");
        let index: RuleIndex<()> = [((), pattern.clone())].into_iter().collect();
        let (mut scratch, refuse) = (Scratch::new(), Duplicates::Refuse);
        let found = index.matches_json(&mut scratch, event.as_bytes(), refuse, Trust::Unchecked);
        assert_eq!(found.map(|keys| keys.len() > 0), Ok(expected), "{event}");
        assert_eq!(matched(pattern, event), expected, "{event}");
    };
    let dotted = r#"{"a.b":[1],"a.c":[{"exists":false}]}"#;
    check(dotted, r#"{"a.b":1,"a":[{"b":1},{"c":5}]}"#, true);
    check(dotted, r#"{"a.b":1,"a":[{"b":1,"c":5}]}"#, false);
    check(dotted, r#"{"a.b":1,"a":[{"b":2},{"c":5}]}"#, false);
    let list = r#"{"a":{"b":[1,{"contains-all":[1]}],"c":[{"exists":false}]}}"#;
    check(list, r#"{"a":[{"b":1},{"c":5}]}"#, true);
    check(list, r#"{"a":[{"b":1,"c":5}]}"#, false);
    // The condition needs all values of its list, and no element has them all.
    let list = r#"{"a":{"b":[{"contains-all":[1]}],"c":[{"exists":false}]}}"#;
    check(list, r#"{"a":[{"b":1},{"c":5}]}"#, false);
}

/// Events for which trying all combinations would take the product of the arrays' lengths.
#[test]
fn large_arrays_take_linear_work() {
    let parse = |text: &str| Pattern::parse(text.as_bytes(), &ParseOptions::default());
    let halves = |last: &str| {
        let one = r#"{"x":1,"y":2},"#.repeat(50_000);
        let other = r#"{"x":3,"y":4},"#.repeat(50_000);
        format!(r#"{{"a":[{one}{other}{last}],"b":[{one}{other}{last}]}}"#)
    };
    let text = r#"{"a":{"x":[1],"y":[4]},"b":{"x":[1],"y":[4],"z":[{"exists":false}]}}"#;
    let start = std::time::Instant::now();
    for (last, wanted) in [("{}", false), (r#"{"x":1,"y":4}"#, true)] {
        let pattern = parse(text).expect("the pattern is valid");
        assert_eq!(matched(pattern, &halves(last)), wanted);
    }
    let pattern = parse(r#"{"a":["no"],"b":[{"anything-but":[1]}]}"#).expect("it is valid");
    assert!(!matched(
        pattern,
        &format!("{{\"a\":[{}1],\"b\":1}}", "1,".repeat(100_000))
    ));
    // This takes seconds in a debug build. Trying all pairs would take hours.
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn many_spellings_of_one_path_are_refused() {
    let fields: Vec<String> = (0..12).map(|number| format!("\"f{number}\":[1]")).collect();
    let text = format!("{{\"a\":{{\"b\":{{{}}}}}}}", fields.join(","));
    let pattern = Pattern::parse(text.as_bytes(), &ParseOptions::default()).expect("it is valid");
    let without = |missing: usize| {
        let kept = (0..12).filter(|number| *number != missing);
        let members: Vec<String> = kept.map(|number| format!("\"f{number}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    let (first, second) = (without(0), without(0));
    let event = format!(r#"{{"a":{{"b":[{first},{{"f0":2}}]}},"a.b":[{second},{{"f0":2}}]}}"#);
    let rules = RuleSet::new([((), pattern)]);
    let error = rules.matches_json(event.as_bytes(), Duplicates::Refuse);
    // No value of f0 is 1, so no search is needed. With a 1 in another element, it is.
    assert_eq!(error, Ok(vec![]));
    let event = event.replace("\"f0\":2", "\"f0\":1");
    let error = rules.matches_json(event.as_bytes(), Duplicates::Refuse);
    let reason = error
        .expect_err("2^11 choices come before the right one")
        .reason;
    assert!(reason.contains("more than 1000 combinations"), "{reason}");
}
