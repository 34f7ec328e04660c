//! Tests the operators that are our extensions on single values and whole events, and the operands that they
//! refuse.

use super::*;
use crate::{Dialect, Duplicates, ParseOptions, Pattern, RuleSet, explain_json};

/// Checks which events `{"a": [alternative]}` matches.
#[track_caller]
fn events(text: &str, matched: &[&str], missed: &[&str]) {
    let pattern = format!("{{\"a\":[{text}]}}");
    whole(&pattern, matched, missed);
}

#[track_caller]
fn whole(text: &str, matched: &[&str], missed: &[&str]) {
    let pattern = Pattern::parse(text.as_bytes(), &ParseOptions::default());
    let pattern = pattern.unwrap_or_else(|errors| unreachable!("{text}: {errors:?}"));
    let rules = RuleSet::new([((), pattern.clone())]);
    let all = matched.iter().map(|event| (event, true));
    for (event, wanted) in all.chain(missed.iter().map(|event| (event, false))) {
        let keys = rules.matches_json(event.as_bytes(), Duplicates::Refuse);
        assert_eq!(
            keys.map(|keys| !keys.is_empty()),
            Ok(wanted),
            "{text} on {event}"
        );
        let explained = explain_json(&pattern, event.as_bytes()).expect("the event is valid");
        assert_eq!(explained.matched, wanted, "{text} on {event}");
    }
}

#[test]
fn several_conditions_on_one_value() {
    check(
        r#"{"all":[{"prefix":"EC2"},{"not":"EC2Test"}]}"#,
        &[r#""EC2""#, r#""EC2Live""#],
        &[r#""EC2Test""#, r#""EC""#, "null", "1"],
    );
    check(
        r#"{"all":[{"numeric":[">",1]},{"not":[5,7]}]}"#,
        &["2", "6"],
        &["5.0", "1", "7", r#""x""#],
    );
    check(r#"{"all":["x"]}"#, &[r#""x""#], &[r#""y""#]);
    check(
        r#"{"all":[{"all":[{"suffix":"x"}]},{"prefix":"x"}]}"#,
        &[r#""x""#, r#""xx""#],
        &[r#""xy""#],
    );
    // One value has to meet all of them. Two values that meet one each are not enough.
    events(
        r#"{"all":[{"prefix":"a"},{"suffix":"b"}]}"#,
        &[r#"{"a":["x","ab"]}"#],
        &[r#"{"a":["ax","xb"]}"#, "{}", r#"{"a":[]}"#],
    );
    refused(r#"{"all":[]}"#, &["an empty list in all", "write {\"all\""]);
    refused(r#"{"all":"x"}"#, &["all takes a list, not a string"]);
    refused(
        r#"{"all":[{"exists":true}]}"#,
        &["exists inside all", "as an alternative of the field"],
    );
    refused(
        r#"{"all":[{"contains-all":["a"]}]}"#,
        &["contains-all inside all"],
    );
    refused(r#"{"all":[{"exactly":["a"]}]}"#, &["exactly inside all"]);
    refused(r#"{"all":[["a"]]}"#, &["a list inside all"]);
    refused(
        r#"{"all":[{"prefix":"a","suffix":"b"}]}"#,
        &["2 keys where one operator is needed"],
    );
    refused(
        r#"{"all":[{"prefx":"a"}]}"#,
        &["unknown operator \"prefx\""],
    );
    let many = format!("{{\"all\":[{}1]}}", "1,".repeat(256));
    refused(&many, &["more than 256 conditions in all"]);
}

#[test]
fn values_that_do_not_meet_a_condition() {
    let kinds = ["null", "true", "1", r#""x""#];
    check(
        r#"{"not":{"numeric":["<",9]}}"#,
        &["9", "null", r#""1""#],
        &["1", "-3"],
    );
    check(
        r#"{"not":{"cidr":"10.0.0.0/8"}}"#,
        &[r#""11.0.0.1""#, "1"],
        &[r#""10.1.1.1""#],
    );
    check(r#"{"not":null}"#, &["true", "0", r#""""#], &["null"]);
    check(
        r#"{"not":["y",2,false]}"#,
        &kinds,
        &[r#""y""#, "2.0", "false"],
    );
    check(r#"{"not":{"not":"x"}}"#, &[r#""x""#], &["null", r#""y""#]);
    check(
        r#"{"not":{"anything-but":["x","y"]}}"#,
        &[r#""x""#],
        &["1", r#""z""#],
    );
    check(r#"{"not":{"exactly":"x"}}"#, &["1"], &[r#""x""#]);
    // As with anything-but, a value has to be present, and one value of an array is enough.
    events(
        r#"{"not":"x"}"#,
        &[r#"{"a":"y"}"#, r#"{"a":["x","y"]}"#, r#"{"a":null}"#],
        &["{}", r#"{"a":[]}"#, r#"{"a":{}}"#, r#"{"a":["x","x"]}"#],
    );
    refused(r#"{"not":[]}"#, &["an empty list in not"]);
    refused(r#"{"not":{"exists":true}}"#, &["exists inside not"]);
    refused(
        r#"{"not":{"contains-all":[1]}}"#,
        &["contains-all inside not", "whole array"],
    );
    refused(r#"{"not":{}}"#, &["0 keys"]);
}

#[test]
fn arrays_that_contain_all() {
    let both = r#"{"contains-all":["bug",{"prefix":"p"}]}"#;
    check(both, &[], &[r#""bug""#, r#""p""#]);
    events(
        both,
        &[r#"{"a":["x","p1","bug"]}"#, r#"{"a":[["bug","p1"],["x"]]}"#],
        &[
            "{}",
            r#"{"a":[]}"#,
            r#"{"a":"bug"}"#,
            r#"{"a":["bug"]}"#,
            // Two arrays, and neither has both.
            r#"{"a":[["bug"],["p1"]]}"#,
            r#"{"a":["bug",["p1"]]}"#,
        ],
    );
    // Values outside of arrays form one list.
    events(
        r#"{"contains-all":["x"]}"#,
        &[r#"{"a":"x"}"#, r#"{"a":["y","x"]}"#],
        &[r#"{"a":"y"}"#],
    );
    events(
        r#"{"contains-all":[{"prefix":"x"},{"suffix":"y"}]}"#,
        &[r#"{"a":"xy"}"#],
        &[r#"{"a":"x"}"#],
    );
    events(
        r#"{"contains-all":["x","y"]},{"exists":false},3"#,
        &["{}", r#"{"a":[3]}"#, r#"{"a":["y","x"]}"#],
        &[r#"{"a":["y"]}"#],
    );
    // The array may be one of objects. Other fields may use any of its elements.
    let labels = r#"{"l":{"n":[{"contains-all":["bug","p1"]}],"c":["red"]}}"#;
    whole(
        labels,
        &[
            r#"{"l":[{"n":"bug"},{"n":"p1","c":"red"}]}"#,
            r#"{"l":[{"n":"bug"},{"n":"p1"},{"c":"red"}]}"#,
        ],
        &[
            r#"{"l":[{"n":"bug","c":"red"}]}"#,
            r#"{"l":[{"n":"bug"},{"n":"p1"}]}"#,
        ],
    );
    // But it is in one element of the arrays around it.
    let items = r#"{"i":{"id":[1],"t":[{"contains-all":["x","y"]}]}}"#;
    whole(
        items,
        &[r#"{"i":[{"id":0},{"id":1,"t":["y","x"]}]}"#],
        &[
            r#"{"i":[{"id":1,"t":["x"]},{"id":2,"t":["x","y"]}]}"#,
            r#"{"i":[{"id":1,"t":["x"]},{"id":1,"t":["y"]}]}"#,
        ],
    );
    refused(r#"{"contains-all":"x"}"#, &["contains-all takes a list"]);
    refused(r#"{"contains-all":[]}"#, &["an empty list in contains-all"]);
    refused(
        r#"{"contains-all":[{"exists":false}]}"#,
        &["exists inside contains-all"],
    );
}

/// Values deep inside, and one beside them in each array around. No list is searched twice.
#[test]
fn deep_and_long_arrays_take_linear_work() {
    let many = "1,".repeat(100_000);
    let deep = format!("{}{many}2{}", "[".repeat(60), ",3]".repeat(60));
    let start = std::time::Instant::now();
    events(
        r#"{"contains-all":[1,2,3]}"#,
        &[&format!("{{\"a\":{deep}}}")],
        &[&format!("{{\"a\":{}}}", deep.replace(",2,", ","))],
    );
    events(r#"{"exactly":[3]}"#, &[&format!("{{\"a\":{deep}}}")], &[]);
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn arrays_of_exactly_these() {
    events(
        r#"{"exactly":["x",1,null]}"#,
        &[
            r#"{"a":[1.0,null,"x"]}"#,
            r#"{"a":["x",1,{"b":2},null,{},[]]}"#,
        ],
        &[
            r#"{"a":["x",1]}"#,
            r#"{"a":["x",1,null,1]}"#,
            r#"{"a":["x","x",1,null]}"#,
            r#"{"a":[["x",1],null]}"#,
            r#"{"a":[]}"#,
            "{}",
        ],
    );
    // A value that is listed twice has to occur twice.
    events(
        r#"{"exactly":["x","x","y"]}"#,
        &[r#"{"a":["x","y","x"]}"#],
        &[r#"{"a":["x","y","y"]}"#, r#"{"a":["x","y"]}"#],
    );
    events(
        r#"{"exactly":["x"]}"#,
        &[r#"{"a":"x"}"#, r#"{"a":[["x"],"y"]}"#],
        &[r#"{"a":["x","y"]}"#],
    );
    events(
        r#"{"exactly":["::1","10.0.0.1"]}"#,
        &[r#"{"a":["::ffff:10.0.0.1","0::1"]}"#],
        &[r#"{"a":["::1","::1"]}"#],
    );
    // With a string it is a literal, as in EventBridge.
    events(
        r#"{"exactly":"x"}"#,
        &[r#"{"a":["x","y"]}"#],
        &[r#"{"a":"y"}"#],
    );
    refused(
        r#"{"exactly":[]}"#,
        &["an empty list in exactly", "{\"exists\": false}"],
    );
    refused(
        r#"{"exactly":["x",{"prefix":"y"}]}"#,
        &["an object in exactly", "contains-all"],
    );
    refused(r#"{"exactly":[["x"]]}"#, &["a list in exactly"]);
    refused(
        r#"{"exactly":5}"#,
        &["exactly takes a string or a list, not a number"],
    );
    refused(
        &format!("{{\"exactly\":[{}1]}}", "1,".repeat(256)),
        &["more than 256 values"],
    );
}

#[test]
fn wildcards_ignoring_case() {
    let wild =
        |text: &str| serde_json::json!({"wildcard": {"equals-ignore-case": text}}).to_string();
    check(
        &wild("Order.*.OPENED"),
        &[r#""order.x.opened""#, r#""ORDER..Opened""#],
        &[r#""order.opened""#, "1"],
    );
    check(&wild("a*ß*b"), &[r#""AßB""#, r#""aSSb""#], &[r#""asb""#]);
    check(&wild(r"A\*b"), &[r#""a*B""#], &[r#""axb""#]);
    check(&wild("ab"), &[r#""AB""#], &[r#""abc""#]);
    refused(&wild("a**"), &["`**`"]);
    refused(&wild(&"a".repeat(257)), &["more than 256 characters"]);
    refused(
        r#"{"wildcard":{"prefix":"a*"}}"#,
        &["an object with equals-ignore-case"],
    );
    refused(
        r#"{"wildcard":{"equals-ignore-case":1}}"#,
        &["takes a string, not a number"],
    );
    refused(
        r#"{"anything-but":{"wildcard":{"equals-ignore-case":"a*"}}}"#,
        &["takes strings, not an object"],
    );
}

#[test]
fn regular_expressions() {
    let regex = |text: &str| serde_json::json!({ "regex": text }).to_string();
    check(
        &regex("[a-z]+-[0-9]{3}"),
        &[r#""ab-123""#],
        &[r#""ab-12""#, r#""xab-1234""#, "1"],
    );
    check(
        &regex("a|bc"),
        &[r#""a""#, r#""bc""#],
        &[r#""abc""#, r#""b""#],
    );
    check(&regex(""), &[r#""""#], &[r#""a""#]);
    check(
        &regex("(a|)b?"),
        &[r#""""#, r#""a""#, r#""ab""#, r#""b""#],
        &[r#""bb""#],
    );
    check(
        &regex("."),
        &[r#""x""#, r#""é""#, r#""𐐀""#, r#""\u2028""#],
        &[r#""\n""#, r#""\r""#, r#""""#],
    );
    check(
        &regex(r"\p{Lu}\P{L}"),
        &[r#""É1""#],
        &[r#""é1""#, r#""ÉÉ""#],
    );
    check(
        &regex(r"[^a\-\]&&b~~#-]"),
        &[r#""c""#],
        &[r#""a""#, r#""-""#, r#""]""#, r#""&""#, r##""#""##, r#""~""#],
    );
    check(&regex(r"[-a][a-]"), &[r#""-a""#, r#""a-""#], &[r#""bb""#]);
    check(
        &regex(r"\(\)\*\+\-\.\?\[\\\]\^\{\|\}\n\r\t"),
        &[r#""()*+-.?[\\]^{|}\n\r\t""#],
        &[],
    );
    check(
        &regex(r"#/&~<>,;:'!%@_= "),
        &[r##""#/&~<>,;:'!%@_= ""##],
        &[],
    );
    check(
        &regex(r"[\p{N}a-c]{2,}"),
        &[r#""1b""#, r#""٣cc""#],
        &[r#""1""#, r#""1d""#],
    );
    check(&regex("[$]5"), &[r#""$5""#], &[]);
    check(
        &regex("a{2}b{0,1}"),
        &[r#""aa""#, r#""aab""#],
        &[r#""aabb""#],
    );
    // Every category that I-Regexp names is known.
    for category in ["L", "Mn", "Nd", "Pi", "Zs", "Sk", "Cn", "Co", "C"] {
        check(
            &regex(&format!(r"\p{{{category}}}\P{{{category}}}")),
            &[],
            &[r#""""#],
        );
    }
    // However often a quantifier repeats, time is linear in the string.
    let long = format!("\"{}!\"", "a".repeat(100_000));
    check(&regex("(a*)*"), &[], &[&long]);
}

#[test]
fn what_is_no_i_regexp() {
    let table = [
        (r"\d+", r"an escape `\d`", r"write [0-9] or \p{Nd}"),
        (r"[\w]", r"an escape `\w`", "write [A-Za-z0-9_]"),
        (r"a\b", r"an escape `\b`", "the whole string has to match"),
        (r"(a)\1", r"an escape `\1`", "back-references"),
        (r"\u0041", r"an escape `\u`", "write the character itself"),
        (r"\/", r"an escape `\/`", "without the backslash"),
        (r"\$", r"an escape `\$`", "write [$]"),
        ("a\\", "a backslash at the end", r"write `\\`"),
        ("^a$", "a bare `^`", r"write `\^` and `[$]`"),
        ("a$", "a bare `$`", "leave it out"),
        ("(?:a)", "a group that begins with `(?`", "look-around"),
        ("(?i)a", "a group that begins with `(?`", "flags"),
        ("a*?", "a second quantifier `?`", "lazy or possessive"),
        ("a{2}{3}", "a second quantifier `{`", "put it into a group"),
        ("*a", "a `*` with nothing to repeat", r"write `\*`"),
        ("(+a)", "a `+` with nothing to repeat", ""),
        ("a|?", "a `?` with nothing to repeat", ""),
        ("a{,3}", "a `{` without a number", "{2,5}"),
        (
            "a{3,2}",
            "a repetition from 3 to 2",
            "the smaller number first",
        ),
        ("a{2", "without its numbers and `}`", ""),
        ("a{1001}", "more than 1000", "use `*` or `+`"),
        ("a}", "a `}` that closes nothing", r"write `\}`"),
        ("a]", "a `]` that closes nothing", r"write `\]`"),
        ("(a", "a `(` that isn't closed", ""),
        ("a)", "a `)` without its `(`", r"write `\)`"),
        ("[a", "a `[` that isn't closed", ""),
        ("[]a]", "an empty class", r"write `\]`"),
        ("[^]", "an empty class", ""),
        (
            "[[:alpha:]]",
            "a `[` inside a class",
            "[:alpha:] isn't known",
        ),
        (
            "[a-c-e]",
            "a `-` that joins nothing",
            "put it first or last",
        ),
        (
            "[z-a]",
            "a range from `z` to `a`",
            "the lower character first",
        ),
        (
            r"[a-\p{L}]",
            "a range from `a` to what isn't a character",
            "",
        ),
        (
            r"\p{Greek}",
            r"a `\p` without a Unicode category",
            "one of L Ll",
        ),
        (r"\pL", r"a `\p` without a Unicode category", ""),
        (
            r"(\p{L}{500}){500}",
            "bytes compiled, the limit",
            "repeat less",
        ),
    ];
    for (text, reason, remedy) in table {
        refused(
            &serde_json::json!({ "regex": text }).to_string(),
            &[reason, remedy],
        );
    }
    refused(r#"{"regex":["a"]}"#, &["regex takes a string, not a list"]);
    let long = serde_json::json!({"regex": "a".repeat(1025)}).to_string();
    refused(&long, &["more than 1024 bytes"]);
    let deep = serde_json::json!({"regex": format!("{}a{}", "(".repeat(33), ")".repeat(33))});
    refused(&deep.to_string(), &["more than 32 open groups"]);
}

#[test]
fn eventbridges_dialect_has_none_of_them() {
    let strict = ParseOptions {
        dialect: Dialect::EventBridge,
        ..ParseOptions::default()
    };
    let error = |text: &str| {
        let pattern = format!("{{\"a\":[{text}]}}");
        assert!(
            Pattern::parse(pattern.as_bytes(), &ParseOptions::default()).is_ok(),
            "{text}"
        );
        let errors = Pattern::parse(pattern.as_bytes(), &strict).expect_err(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].to_string()
    };
    for (text, name) in [
        (r#"{"all":[1]}"#, "all is"),
        (r#"{"not":1}"#, "not is"),
        (r#"{"regex":"a"}"#, "regex is"),
        (r#"{"contains-all":[1]}"#, "contains-all is"),
        (r#"{"exactly":[1]}"#, "exactly with a list is"),
        (
            r#"{"wildcard":{"equals-ignore-case":"a"}}"#,
            "wildcard with an object is",
        ),
    ] {
        let error = error(text);
        let wanted = format!("{name} an extension of edgebus, which EventBridge doesn't have");
        assert!(error.contains(&wanted), "{error}");
    }
    let unknown = Pattern::parse(br#"{"a":[{"regx":"a"}]}"#, &strict).expect_err("it isn't known");
    assert!(
        unknown[0]
            .remedy
            .starts_with("the operators here are exactly, prefix")
    );
    assert!(Pattern::parse(br#"{"a":[{"exactly":"x"}]}"#, &strict).is_ok());
    // As fields directly inside `$or`, they are ordinary names.
    for options in [ParseOptions::default(), strict] {
        assert!(Pattern::parse(br#"{"$or":[{"all":[1]},{"not":[2]}]}"#, &options).is_ok());
    }
}

#[test]
fn extensions_in_words() {
    let words = |text: &str| alternative(text).map(|operator| operator.in_words());
    let spelled = |text: &str| alternative(text).map(|operator| operator.describe());
    for (text, wanted) in [
        (
            r#"{"all": [{"prefix": "a"}, {"not": "ab"}]}"#,
            r#"all of (a string starting with "a", a value that isn't "ab")"#,
        ),
        (r#"{"not": [null, 1]}"#, "a value that is none of (null, 1)"),
        (
            r#"{"contains-all": ["a", "b"]}"#,
            r#"all of "a", "b" in one array"#,
        ),
        (r#"{"exactly": ["a", 1]}"#, r#"exactly "a", 1 in one array"#),
        (r#"{"regex": "a+"}"#, r#"a string of the form "a+""#),
        (
            r#"{"wildcard": {"equals-ignore-case": "a*"}}"#,
            r#"a string like "a*" in any letter case"#,
        ),
        (
            r#"{"contains-all": [1, 2, 3, 4, 5, 6, 7]}"#,
            "all of 1, 2, 3, 4, 5, … 2 more in one array",
        ),
    ] {
        assert_eq!(words(text).as_deref(), Ok(wanted));
        // If the description is not cut, it equals what was written.
        if !wanted.contains('…') {
            assert_eq!(spelled(text).as_deref(), Ok(text));
        }
    }
    let event = br#"{"l":[{"n":"bug"},{"n":"x"}]}"#;
    let pattern = Pattern::parse(
        br#"{"l":{"n":["y",{"contains-all":["x","bug"]}]}}"#,
        &ParseOptions::default(),
    );
    let explained =
        explain_json(&pattern.expect("it is valid"), event).expect("the event is valid");
    assert_eq!(
        explained.branches[0].conditions[0].held_alternative,
        Some(1)
    );
}

/// An expression for both engines: as text, and as a tree for the slow one.
#[derive(Debug, Clone)]
enum Expression {
    Empty,
    Letter(char),
    Any,
    Both(Box<Expression>, Box<Expression>),
    Either(Box<Expression>, Box<Expression>),
    Repeated(Box<Expression>, usize, Option<usize>),
}

impl Expression {
    fn text(&self) -> String {
        match self {
            Expression::Empty => String::new(),
            Expression::Letter(letter) => letter.to_string(),
            Expression::Any => ".".to_owned(),
            Expression::Both(one, other) => one.text() + &other.text(),
            Expression::Either(one, other) => format!("({}|{})", one.text(), other.text()),
            Expression::Repeated(inner, 0, None) => format!("({})*", inner.text()),
            Expression::Repeated(inner, from, None) => format!("({}){{{from},}}", inner.text()),
            Expression::Repeated(inner, from, Some(to)) => {
                format!("({}){{{from},{to}}}", inner.text())
            }
        }
    }

    /// The places at which it may end in the value, if it starts at one of these places.
    fn ends(&self, value: &[char], from: &[bool]) -> Vec<bool> {
        let step = |fits: &dyn Fn(char) -> bool| {
            let moved = |at: usize| at > 0 && from[at - 1] && fits(value[at - 1]);
            (0..=value.len()).map(moved).collect()
        };
        match self {
            Expression::Empty => from.to_vec(),
            Expression::Letter(letter) => step(&|character| character == *letter),
            Expression::Any => step(&|character| character != '\n'),
            Expression::Both(one, other) => other.ends(value, &one.ends(value, from)),
            Expression::Either(one, other) => {
                let (one, other) = (one.ends(value, from), other.ends(value, from));
                one.iter()
                    .zip(other)
                    .map(|(one, other)| *one || other)
                    .collect()
            }
            Expression::Repeated(inner, least, most) => {
                let mut reached = from.to_vec();
                let mut all = vec![false; reached.len()];
                for round in 0..=most.unwrap_or(value.len() + least) {
                    if round >= *least {
                        all.iter_mut()
                            .zip(&reached)
                            .for_each(|(all, now)| *all |= now);
                    }
                    reached = inner.ends(value, &reached);
                }
                all
            }
        }
    }
}

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        Just(Expression::Empty),
        prop::char::range('a', 'c').prop_map(Expression::Letter),
        Just(Expression::Any),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone()
                .prop_map(|(one, other)| Expression::Both(one.into(), other.into())),
            two.prop_map(|(one, other)| Expression::Either(one.into(), other.into())),
            (inner, 0..3_usize, prop::option::of(0..3_usize)).prop_map(|(inner, from, more)| {
                Expression::Repeated(inner.into(), from, more.map(|more| from + more))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn regexes_agree_with_a_table(expression in expression(), value in "[abc\n]{0,8}") {
        let operand = regex::Operand::compile(&expression.text()).expect("it is I-Regexp");
        let characters: Vec<char> = value.chars().collect();
        let mut from = vec![false; characters.len() + 1];
        from[0] = true;
        let wanted = expression.ends(&characters, &from)[characters.len()];
        prop_assert_eq!(operand.matches(&Scalar::Text(Cow::Borrowed(&value))), wanted, "{}", expression.text());
    }

    #[test]
    fn any_text_is_a_regex_or_refused(text in any::<String>(), parts in prop::collection::vec(0..18_usize, 0..14)) {
        const PARTS: [&str; 18] = [
            "(", ")", "[", "]", "{", "}", "*", "?", "\\", "^", "-", "|", "a", "1", ",", "p{L}", ".", "&&",
        ];
        let spliced: String = parts.iter().map(|part| PARTS[*part]).collect();
        for text in [text, spliced] {
            match regex::Operand::compile(&text) {
                Ok(operand) => {
                    operand.matches(&Scalar::Text(Cow::Borrowed("a")));
                }
                // Our translation refuses everything that isn't I-Regexp. The regex crate then refuses only
                // expressions that are too large.
                Err((reason, _)) => prop_assert!(!reason.starts_with("not a regex"), "{}: {}", text, reason),
            }
        }
    }

    #[test]
    fn wildcards_ignoring_case_agree_with_lowered_ones(pattern in "[abAB*]{0,9}", value in "[abAB]{0,12}") {
        let compiled = wildcard::Operand::compile(&pattern, true);
        prop_assume!(compiled.is_ok());
        let operand = compiled.expect("it is valid");
        let characters = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
        let wanted = by_table(&characters(&pattern), &characters(&value));
        prop_assert_eq!(operand.matches(&Scalar::Text(Cow::Borrowed(&value))), wanted);
    }

    #[test]
    fn wildcards_find_what_grows(middle in "[sß]{1,3}", value in "[sSß]{0,6}") {
        // By hand: there is a way to split the value so that the middle fits in some form.
        let operand = wildcard::Operand::compile(&format!("*{middle}*s"), true).expect("it is valid");
        let text = value.as_str();
        let starts = |text: &str| text.char_indices().map(|(at, _)| at).chain([text.len()]).collect::<Vec<_>>();
        let wanted = starts(text).into_iter().any(|start| {
            equals_ignore_case::strip_front(&middle, &text[start..])
                .is_some_and(|rest| rest.ends_with(['s', 'S']))
        });
        prop_assert_eq!(operand.matches(&Scalar::Text(Cow::Borrowed(text))), wanted);
    }
}
