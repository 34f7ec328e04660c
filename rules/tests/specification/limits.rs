//! The page's limits: the numbers of `src/limits.rs`, and what is really accepted.

use crate::page::{file, tables_of};
use crate::patterns::parse;
use edgebus_rules::{
    Context, Dialect, Duplicates, EventDocument, Filter, Part, Pattern, RuleIndex, RuleSet,
    Scratch, Steps, Transform, TransformSpec, Trust, explain_json,
};
use std::collections::BTreeMap;

const OF_PATTERN: &str = "of a pattern";
const OF_EVENT: &str = "of an event";
const OF_EXPLANATION: &str = "of an explanation";
const OF_QUERY: &str = "of a query";
const OF_INPUT: &str = "of an input";
pub(crate) const TABLES: &[&str] = &[OF_PATTERN, OF_EVENT, OF_EXPLANATION, OF_QUERY, OF_INPUT];

/// How a limit shows.
enum Seen {
    /// Whether so much is accepted, or shown in full.
    Accepted(fn(usize) -> bool),
    /// Only that more is refused; as much as allowed takes too long for a test.
    Refused(fn(usize) -> bool),
    /// Not to the digit, because it is in no unit that a caller can count.
    Not,
}

/// Each constant, the table and the row where the page has it, and how it shows.
const LIMITS: [(&str, &str, &str, Seen); 36] = {
    use Seen::{Accepted, Not, Refused};
    let lists = "conditions in `all`, `not`, `contains-all`, values in `exactly`";
    let case = "characters of a wildcard that ignores letter case";
    let choices =
        "choices, for one sub-rule, between arrays that spell one path with and without dots";
    let eventbridge = "text in EventBridge's dialect";
    let names = "characters of a name in EventBridge's form";
    [
        ("PATTERN_BYTES_MAX", OF_PATTERN, "text", Accepted(bytes)),
        (
            "PATTERN_CHARACTERS_MAX_EVENTBRIDGE",
            OF_PATTERN,
            eventbridge,
            Accepted(characters),
        ),
        (
            "PATTERN_DEPTH_MAX",
            OF_PATTERN,
            "open brackets",
            Accepted(depth),
        ),
        (
            "PATTERN_FIELDS_MAX",
            OF_PATTERN,
            "fields, as written",
            Accepted(fields),
        ),
        (
            "PATH_SEGMENTS_MAX",
            OF_PATTERN,
            "segments of a path",
            Accepted(segments),
        ),
        (
            "SUB_RULES_MAX",
            OF_PATTERN,
            "sub-rules",
            Accepted(sub_rules),
        ),
        (
            "WILDCARD_STARS_MAX",
            OF_PATTERN,
            "stars of a wildcard",
            Accepted(stars),
        ),
        (
            "WILDCARD_IGNORING_CASE_CHARACTERS_MAX",
            OF_PATTERN,
            case,
            Accepted(any_case),
        ),
        ("LISTED_CONDITIONS_MAX", OF_PATTERN, lists, Accepted(listed)),
        (
            "REGEX_BYTES_MAX",
            OF_PATTERN,
            "text of a regex",
            Accepted(regex_bytes),
        ),
        (
            "REGEX_COMPILED_BYTES_MAX",
            OF_PATTERN,
            "a regex, compiled",
            Not,
        ),
        (
            "REGEX_GROUPS_OPEN_MAX",
            OF_PATTERN,
            "open groups of a regex",
            Accepted(groups),
        ),
        (
            "REGEX_REPEAT_MAX",
            OF_PATTERN,
            "repetitions in a regex",
            Accepted(repetitions),
        ),
        (
            "ERRORS_MAX",
            OF_PATTERN,
            "errors reported",
            Accepted(errors),
        ),
        (
            "EVENT_DEPTH_MAX",
            OF_EVENT,
            "open brackets, the event's own included",
            Accepted(event_depth),
        ),
        (
            "EVENT_BYTES_MAX",
            OF_EVENT,
            "size of all parts together",
            Refused(event_bytes),
        ),
        (
            "SPELLING_CHOICES_MAX",
            OF_EVENT,
            choices,
            Accepted(spellings),
        ),
        ("FILTER_BYTES_MAX", OF_QUERY, "text", Accepted(query_bytes)),
        (
            "FILTER_DEPTH_MAX",
            OF_QUERY,
            "open brackets",
            Accepted(query_depth),
        ),
        (
            "FILTER_DESCENDANTS_MAX",
            OF_QUERY,
            "`..`",
            Accepted(descendants),
        ),
        (
            "FILTER_STEPS_MAX",
            OF_QUERY,
            "steps for an event, all queries of all rules together",
            Accepted(steps),
        ),
        (
            "FILTER_REGEXES_MAX",
            OF_QUERY,
            "different regexes",
            Accepted(query_regexes),
        ),
        (
            "FILTER_REGEX_COMPILED_BYTES_MAX",
            OF_QUERY,
            "a regex, compiled",
            Not,
        ),
        (
            "FILTER_EVENT_REGEX_COMPILED_BYTES_MAX",
            OF_QUERY,
            "a regex that the event brings, compiled",
            Not,
        ),
        (
            "FILTER_EVENT_REGEX_STEPS",
            OF_QUERY,
            "steps for compiling one of those",
            Not,
        ),
        (
            "REGEX_CACHE_BYTES_MAX",
            OF_QUERY,
            "states of a regex that are kept for an event",
            Not,
        ),
        (
            "TEMPLATE_BYTES_MAX",
            OF_INPUT,
            "template or constant",
            Accepted(template_bytes),
        ),
        (
            "TEMPLATE_CHARACTERS_MAX_EVENTBRIDGE",
            OF_INPUT,
            "template in EventBridge's form",
            Accepted(template_characters),
        ),
        (
            "VARIABLE_CHARACTERS_MAX",
            OF_INPUT,
            names,
            Accepted(name_characters),
        ),
        (
            "TEMPLATE_PATHS_MAX",
            OF_INPUT,
            "different paths",
            Accepted(paths),
        ),
        (
            "TEMPLATE_PLACEHOLDERS_MAX",
            OF_INPUT,
            "placeholders",
            Accepted(placeholders),
        ),
        (
            "TRANSFORM_VALUES_MAX",
            OF_INPUT,
            "values that one path selects",
            Accepted(selected),
        ),
        (
            "TRANSFORM_BYTES_MAX",
            OF_INPUT,
            "the input made",
            Accepted(made),
        ),
        (
            "EXPLAINED_BRANCHES_MAX",
            OF_EXPLANATION,
            "sub-rules",
            Accepted(branches_shown),
        ),
        (
            "EXPLAINED_VALUES_MAX",
            OF_EXPLANATION,
            "values of a condition",
            Accepted(values_shown),
        ),
        (
            "EXCERPT_CHARACTERS_MAX",
            OF_EXPLANATION,
            "characters of a value or an operand",
            Accepted(characters_shown),
        ),
    ]
};

/// Not on the page, because it bounds work and no pattern is refused for it.
const UNLISTED: [&str; 1] = ["LINT_COMPARISONS_MAX"];

#[test]
fn the_page_has_the_limits_of_the_code_and_they_hold() {
    let mut constants = constants();
    for name in UNLISTED {
        assert!(constants.remove(name).is_some(), "{name} is gone");
    }
    let mut rows = rows();
    for (name, table, row, seen) in LIMITS {
        let constant = constants.remove(name);
        let said = rows.remove(&(table.to_owned(), row.to_owned()));
        assert_eq!(
            said, constant,
            "{table}: {row}: {name} on the page, and in the code"
        );
        let Some(limit) = said else {
            panic!("{table}: {row}: neither on the page nor in the code");
        };
        match seen {
            Seen::Accepted(accepted) => {
                assert!(accepted(limit), "{table}: {row}: {limit} is not accepted");
                assert!(
                    !accepted(limit + 1),
                    "{table}: {row}: {} is accepted",
                    limit + 1
                );
            }
            Seen::Refused(refused) => {
                assert!(
                    refused(limit + 1),
                    "{table}: {row}: {} is accepted",
                    limit + 1
                );
            }
            Seen::Not => {}
        }
    }
    assert!(
        rows.is_empty(),
        "on the page, but not held to the code: {rows:?}"
    );
    assert!(
        constants.is_empty(),
        "in the code, but not on the page: {constants:?}"
    );
}

/// The numbers of `src/limits.rs`, by name.
fn constants() -> BTreeMap<String, usize> {
    let text = file("src/limits.rs");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub(crate) const "));
    lines
        .map(|line| {
            let (name, value) = line.split_once(": usize = ").expect("a limit is a usize");
            let factors = value.trim_end_matches(';').split(" * ");
            let number = |factor: &str| -> usize {
                factor
                    .replace('_', "")
                    .parse()
                    .expect("a product of numbers")
            };
            (name.to_owned(), factors.map(number).product())
        })
        .collect()
}

/// The numbers of the page, by table and row.
fn rows() -> BTreeMap<(String, String), usize> {
    let tables = TABLES.iter().flat_map(|first| tables_of(first));
    let rows = tables.flat_map(|table| {
        let first = table.columns[0].clone();
        table.rows.into_iter().map(move |row| {
            let mut words = row.cells[1].split(' ');
            let number = words.next().unwrap_or_default().replace(',', "");
            let number: usize = number
                .parse()
                .unwrap_or_else(|error| panic!("PATTERNS.md:{}: {error}", row.line));
            let unit = match words.next() {
                Some("KiB") => 1024,
                Some("MiB") => 1024 * 1024,
                _ => 1,
            };
            ((first.clone(), row.cells[0].clone()), number * unit)
        })
    });
    rows.collect()
}

fn ours(pattern: &str) -> Option<Pattern> {
    parse(pattern, Dialect::Edgebus).ok()
}

fn takes(alternative: &str) -> bool {
    ours(&format!(r#"{{"a":[{alternative}]}}"#)).is_some()
}

/// So many of them, numbered and joined by commas.
fn many(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(",")
}

fn bytes(count: usize) -> bool {
    let pattern = r#"{"a":[1]}"#;
    ours(&format!("{pattern}{}", " ".repeat(count - pattern.len()))).is_some()
}

fn characters(count: usize) -> bool {
    let empty = r#"{"a":[""]}"#;
    let pattern = empty.replace(r#""""#, &format!("\"{}\"", "ß".repeat(count - empty.len())));
    parse(&pattern, Dialect::EventBridge).is_ok()
}

fn depth(count: usize) -> bool {
    // The pattern, the field's list, then two brackets for each `all`, and one more for an odd count.
    let inside = (count - 2) / 2;
    let last = if count.is_multiple_of(2) {
        "1"
    } else {
        r#"{"prefix":"x"}"#
    };
    takes(&format!(
        "{}{last}{}",
        r#"{"all":["#.repeat(inside),
        "]}".repeat(inside)
    ))
}

fn fields(count: usize) -> bool {
    ours(&format!(
        "{{{}}}",
        many(count, |number| format!(r#""f{number}":[1]"#))
    ))
    .is_some()
}

fn segments(count: usize) -> bool {
    ours(&format!(r#"{{"{}a":[1]}}"#, "a.".repeat(count - 1))).is_some()
}

/// A pattern of so many sub-rules: one `$or` for each prime factor.
fn with_sub_rules(count: usize) -> Option<Pattern> {
    let mut rest = count;
    let mut factors = Vec::new();
    for factor in 2..=count {
        while rest.is_multiple_of(factor) {
            factors.push(factor);
            rest /= factor;
        }
    }
    let members = many(factors.len(), |place| {
        let choices = many(factors[place], |number| {
            format!(r#"{{"c{place}n{number}":[1]}}"#)
        });
        format!(r#""p{place}":{{"$or":[{choices}]}}"#)
    });
    ours(&format!("{{{members}}}"))
}

fn sub_rules(count: usize) -> bool {
    with_sub_rules(count).is_some()
}

fn stars(count: usize) -> bool {
    takes(&format!(r#"{{"wildcard":"{}"}}"#, "a*".repeat(count)))
}

fn any_case(count: usize) -> bool {
    takes(&format!(
        r#"{{"wildcard":{{"equals-ignore-case":"{}"}}}}"#,
        "a".repeat(count)
    ))
}

fn listed(count: usize) -> bool {
    let list = many(count, |number| number.to_string());
    let taken = ["all", "not", "contains-all", "exactly"]
        .map(|operator| takes(&format!(r#"{{"{operator}":[{list}]}}"#)));
    assert!(
        taken.iter().all(|&one| one == taken[0]),
        "of {count}: {taken:?}"
    );
    taken[0]
}

fn regex(text: &str) -> bool {
    takes(&format!(r#"{{"regex":"{text}"}}"#))
}

fn regex_bytes(count: usize) -> bool {
    regex(&"a".repeat(count))
}

fn groups(count: usize) -> bool {
    regex(&format!("{}a{}", "(".repeat(count), ")".repeat(count)))
}

fn repetitions(count: usize) -> bool {
    regex(&format!("a{{{count}}}"))
}

fn errors(count: usize) -> bool {
    let pattern = format!(r#"{{"a":[{}]}}"#, many(count, |_| r#"{"no":1}"#.to_owned()));
    parse(&pattern, Dialect::Edgebus).is_err_and(|errors| errors.len() == count)
}

/// Whether both matchers take an event; an error has to be the same.
fn event_taken(pattern: &str, event: &[u8]) -> bool {
    let pattern = ours(pattern).expect("the pattern is valid");
    let index: RuleIndex<()> = [((), pattern.clone())].into_iter().collect();
    let mut scratch = Scratch::new();
    let found = index.matches_json(&mut scratch, event, Duplicates::LastWins, Trust::Unchecked);
    let found = found.map(|keys| keys.len());
    let set = RuleSet::new([((), pattern)]);
    let by_set = set.matches_json(event, Duplicates::LastWins);
    assert_eq!(found, by_set.map(|keys| keys.len()));
    found.is_ok()
}

fn event_depth(count: usize) -> bool {
    let event = format!(
        r#"{{"a":{}{}}}"#,
        "[".repeat(count - 1),
        "]".repeat(count - 1)
    );
    event_taken(r#"{"b":[1]}"#, event.as_bytes()) && event_taken(r#"{"a":[1]}"#, event.as_bytes())
}

fn event_bytes(count: usize) -> bool {
    !event_taken(r#"{"a":[1]}"#, &vec![0; count])
}

/// An event whose first `count` spellings of `segments` lead to an array with a one, as members.
fn spelled(segments: &[&str], count: usize) -> serde_json::Value {
    let mut whole = serde_json::Map::new();
    for spelling in 0..count {
        let mut keys = vec![segments[0].to_owned()];
        for (place, segment) in segments[1..].iter().enumerate() {
            match keys.last_mut() {
                // A bit of the number says whether a dot joins this segment to the one before.
                Some(key) if spelling >> place & 1 == 0 => *key = format!("{key}.{segment}"),
                _ => keys.push((*segment).to_owned()),
            }
        }
        let last = keys.pop().expect("there is a segment");
        let mut object = &mut whole;
        for key in keys {
            let inner = object.entry(key).or_insert_with(|| serde_json::json!({}));
            object = inner
                .as_object_mut()
                .expect("only last keys lead to arrays");
        }
        object.insert(last, serde_json::json!([1]));
    }
    whole.into()
}

/// Two paths, spelled in `first` and in `second` ways, and a field that no choice is consistent
/// with: each way of the first is tried, and with each one all ways of the second.
fn spellings(choices: usize) -> bool {
    let (first, second) = (2..128)
        .filter(|first| choices.is_multiple_of(*first))
        .map(|first| (first, choices / first - 1))
        .find(|(_, second)| (2..128).contains(second))
        .expect("the limit, and one more, have such factors");
    let mut event = spelled(&["x.a", "b", "c", "d", "e", "f", "g"], first - 1);
    let other = spelled(&["y", "a", "b", "c", "d", "e", "f", "g"], second);
    let members = event.as_object_mut().expect("it is an object");
    members.extend(other.as_object().expect("it is an object").clone());
    members.insert(
        "x".to_owned(),
        serde_json::json!([{"a.b.c.d.e.f.g": 2}, {"r": 1}]),
    );
    let pattern = r#"{"x.a.b.c.d.e.f.g":[2],"y.a.b.c.d.e.f.g":[1],"x.r":[1]}"#;
    event_taken(pattern, event.to_string().as_bytes())
}

fn query(text: &str) -> bool {
    Filter::parse(text).is_ok()
}

fn query_bytes(count: usize) -> bool {
    query(&format!("$.{}", "a".repeat(count - 2)))
}

/// Whether a query comes to its end that takes so many steps: one for `x`, and one for each element.
fn steps(count: usize) -> bool {
    let event = serde_json::Value::from(vec![0_u8; count - 1]);
    let query = Filter::parse("$..x").expect("the query is valid");
    let mut steps = Steps::of_event();
    let known = query.holds(&event, &mut steps).is_ok();
    assert!(!known || steps.used() == count as u64);
    known
}

fn query_regexes(count: usize) -> bool {
    let all: Vec<String> = (0..count)
        .map(|number| format!("search(@.a, 'x{number}')"))
        .collect();
    query(&format!("$[?{}]", all.join(" || ")))
}

fn query_depth(count: usize) -> bool {
    query(&format!(
        "$[?@{}{}]",
        "[?@".repeat(count - 1),
        "]".repeat(count - 1)
    ))
}

fn descendants(count: usize) -> bool {
    query(&format!("${}", "..a".repeat(count)))
}

fn transform(spec: &TransformSpec<'_>) -> Option<Transform> {
    Transform::parse(spec, &[]).ok()
}

fn template_bytes(count: usize) -> bool {
    let json = format!("\"{}\"", "a".repeat(count - 2));
    let template = transform(&TransformSpec::Template(json.as_bytes())).is_some();
    let constant = transform(&TransformSpec::Constant(json.as_bytes())).is_some();
    assert_eq!(template, constant);
    template
}

fn eventbridge(paths: &[(&str, &str)], template: &str) -> bool {
    transform(&TransformSpec::EventBridge { paths, template }).is_some()
}

fn template_characters(count: usize) -> bool {
    eventbridge(&[], &"ß".repeat(count))
}

fn name_characters(count: usize) -> bool {
    eventbridge(&[(&"n".repeat(count), "$.a")], "text")
}

fn paths(count: usize) -> bool {
    let list = format!("[{}]", many(count, |number| format!("\"{{$.p{number}}}\"")));
    let ours = transform(&TransformSpec::Template(list.as_bytes())).is_some();
    let paths: Vec<String> = (0..count).map(|number| format!("$.p{number}")).collect();
    let paths: Vec<(&str, &str)> = paths.iter().map(|path| (&path[2..], &**path)).collect();
    assert_eq!(ours, eventbridge(&paths, "text"));
    ours
}

fn placeholders(count: usize) -> bool {
    let list = format!("[{}]", many(count, |_| "\"{$.a}\"".to_owned()));
    transform(&TransformSpec::Template(list.as_bytes())).is_some()
}

/// Whether an input is made of an event's `data`.
fn applied(path: &str, data: &str) -> bool {
    let transform = transform(&TransformSpec::Path(path)).expect("the path is valid");
    let parts = [Part::Raw {
        name: "data",
        json: data.as_bytes(),
    }];
    let context = Context {
        rule_name: "rule",
        rule_arn: None,
        ingested_at: "2026-07-01T12:00:00Z",
    };
    transform
        .apply(&EventDocument::new(&parts), &context)
        .is_ok()
}

fn selected(count: usize) -> bool {
    applied(
        "$.data[*]",
        &format!("[{}]", many(count, |_| "1".to_owned())),
    )
}

fn made(count: usize) -> bool {
    applied("$.data", &format!("\"{}\"", "a".repeat(count - 2)))
}

fn branches_shown(count: usize) -> bool {
    let pattern = with_sub_rules(count).expect("the pattern is valid");
    let explanation = explain_json(&pattern, b"{}").expect("the event is valid");
    assert_eq!(explanation.sub_rules, count);
    explanation.branches.len() == count
}

/// What the explanation of a field shows of its value.
fn seen(value: &str) -> Vec<String> {
    let pattern = ours(r#"{"a":["x"]}"#).expect("the pattern is valid");
    let event = format!(r#"{{"a":{value}}}"#);
    let explanation = explain_json(&pattern, event.as_bytes()).expect("the event is valid");
    explanation.branches[0].conditions[0].seen.clone()
}

fn values_shown(count: usize) -> bool {
    seen(&format!("[{}]", many(count, |number| number.to_string()))).len() == count
}

fn characters_shown(count: usize) -> bool {
    let value = format!("\"{}\"", "ß".repeat(count));
    seen(&value) == [value]
}
