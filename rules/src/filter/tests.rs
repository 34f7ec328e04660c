//! Queries that select something, queries that don't, and queries that are refused.

mod generated;
mod naive;

use super::*;

fn check(query: &str, wanted: bool) {
    let event = serde_json::json!({
        "type": "issue",
        "data": { "labels": [{ "name": "bug", "n": 3 }, { "name": "p1" }], "empty": [], "no": null },
    });
    let filter = Filter::parse(query).unwrap_or_else(|error| unreachable!("{query}: {error}"));
    let holds = filter.holds(&event, &mut Steps::of_event());
    assert_eq!(holds, Ok(wanted), "{query}");
}

#[test]
fn a_query_holds_when_it_selects() {
    check("$", true);
    check("$.data.labels[?@.name == 'bug']", true);
    check("$.data.labels[?@.name == 'feature']", false);
    check("$.data.labels[?@.name == 'bug' && @.n > 2]", true);
    check("$.data.labels[?@.n > 3]", false);
    check("$..name", true);
    check("$.data.empty[*]", false);
    check("$.data.no", true);
    check("$.missing", false);
    check("$[?length(@.labels) == 2]", true);
    check("$.data.labels[?match(@.name, 'p[0-9]')]", true);
    check("$['data']['labels'][-1]", true);
    check(
        "$.data.labels[?@['name'] == '..[[[[[[[[[[[[[[[[[[((']",
        false,
    );
}

/// The error of a query that is refused.
fn refused(query: &str) -> ParseError {
    Filter::parse(query).expect_err("it is refused")
}

#[test]
fn errors_of_queries() {
    let error = refused;
    for (query, offset) in [
        ("", 0),
        ("data", 0),
        ("$.a[", 3),
        ("$.a[?@.b === 1]", 10),
        ("$.é.é[", 7),
    ] {
        let error = error(query);
        assert!(error.reason.starts_with("not a JSONPath query"), "{error}");
        assert!(error.offset.abs_diff(offset) <= 2, "{query}: {error}");
    }
    for (query, reason, remedy) in [
        ("data.x", "it doesn't begin with `$`", "$.data.labels"),
        ("$.detail-type", "from `-type` on", "['detail-type']"),
        ("$.a[?@.user-id == 1]", "from `-id == 1]` on", "['user-id']"),
        ("$.data.a/b.x", "from `/b.x` on", "['a/b']"),
        ("$.a[", "[ is never closed", "RFC 9535"),
        ("$.a[?@.b == 'x'", "[ is never closed", "RFC 9535"),
        ("$.a[?(@.b == 'x]", "' is never closed", "RFC 9535"),
        ("$.", "it ends too early", "RFC 9535"),
        ("$.a[?@.b === 1]", "from `=== 1]` on", "compare with `==`"),
        ("$.a[?@.b = 1]", "from `= 1]` on", "compare with `==`"),
        (
            "$.a[?@.b =~ /x.*/i]",
            "from `=~ /x.*/i]` on",
            "search(@.name",
        ),
        (
            "$.list[?@.n in [1,2]]",
            "from `in [1,2]]` on",
            "@.status == 'open' ||",
        ),
        (
            "$.list[?(@.s in ['a','b'])]",
            "from `in ['a','b'])]` on",
            "||",
        ),
        ("$.list[?@.s nin ['a']]", "from `nin ['a']]` on", "&&"),
        (
            "$.list[?@.s anyof ['a']]",
            "from `anyof ['a']]` on",
            "@.tags[",
        ),
        (
            "$.list[?@.s size 4]",
            "from `size 4]` on",
            "length(@.name) == 4",
        ),
        ("$.list[?@.s empty true]", "from `empty true]` on", "== 0"),
        ("$.list[?@.n eq 1]", "from `eq 1]` on", "`==`"),
        ("$.list[?@.n is 1]", "from `is 1]` on", "`==`"),
        ("$.list[?@.a and @.b]", "from `and @.b]` on", "`&&`"),
        (
            "$.list[?@.t contains 'x']",
            "from `contains 'x']` on",
            "search(@.text",
        ),
        ("$.data.my key", "from `key` on", "['my key']"),
        ("$.data.x\n", "white space after it", "last character"),
        (" $.data.x", "white space before it", "begin it with `$`"),
        ("$.data[name]", "from `name]` on", "['name']"),
        ("$.a[?!@.b == 1]", "from `== 1]` on", "!(@.a == 1)"),
        (
            "$.a[?(@.b) == 1]",
            "from `== 1]` on",
            "parentheses hold conditions",
        ),
        ("$.a[?'x']", "a value alone is no condition", "compare it"),
        ("$.a[?true]", "a value alone is no condition", "compare it"),
        ("$.a[01]", "from `1]` on", "RFC 9535"),
        ("$.a[-0]", "from `-0]` on", "RFC 9535"),
        ("$.a[9007199254740992]", "up to 9007199254740991", "smaller"),
        (
            "$[-9223372036854775808]",
            "up to 9007199254740991",
            "smaller",
        ),
        ("$[:-9007199254740992]", "up to 9007199254740991", "smaller"),
        ("$.a['\\x']", "a text has no escape `\\x`", "backslash as"),
        ("$.a['\\ud83d']", "half of a surrogate pair", "\\u00e9"),
        ("$.a['\t']", "a control character in a text", "\\t"),
        ("$. a", "from `a` on", "RFC 9535"),
        ("$.. a", "from `a` on", "RFC 9535"),
    ] {
        let error = error(query);
        assert!(error.reason.ends_with(reason), "{query}: {error}");
        assert!(error.remedy.contains(remedy), "{query}: {error}");
    }
}

#[test]
fn queries_have_bounds() {
    let error = refused;
    let deep = |depth: usize| {
        format!(
            "$.a[?{}@.b{}]",
            "(".repeat(depth - 1),
            ")".repeat(depth - 1)
        )
    };
    assert!(Filter::parse(&deep(16)).is_ok());
    assert!(
        error(&deep(17))
            .reason
            .contains("more than 16 open brackets")
    );
    assert!(
        error(&"(".repeat(4000))
            .reason
            .contains("more than 16 open brackets")
    );
    assert!(Filter::parse("$..a..b").is_ok());
    assert!(error("$..a..b..c").reason.contains("more than 2 `..`"));
    assert!(
        error(&format!("$.{}", "a".repeat(4095)))
            .reason
            .contains("longer than 4096 bytes")
    );
}

#[test]
fn comparisons_are_exact_and_filters_nest() {
    let check = |query: &str, data: &str, wanted: bool| {
        let event = crate::tree(data.as_bytes()).expect("it is JSON");
        let filter = Filter::parse(query).unwrap_or_else(|error| unreachable!("{query}: {error}"));
        let holds = filter.holds(&event, &mut Steps::of_event());
        assert_eq!(holds, Ok(wanted), "{query} of {data}");
    };
    // The library's own evaluator treats numbers as equal if they differ by less than 2^-52.
    check("$[?@ == 1e-17]", "[0]", false);
    check("$[?@ != 0]", "[1e-300]", true);
    check(
        "$[?@.a == @.b]",
        r#"[{"a":9007199254740993,"b":9007199254740992}]"#,
        false,
    );
    check(
        "$[?@.a > @.b]",
        r#"[{"a":18446744073709551615,"b":18446744073709551614}]"#,
        true,
    );
    check("$[?@.a == @.b]", r#"[{"a":1,"b":1.0}]"#, true);
    check(
        "$[?@.a == @.b]",
        r#"[{"a":[1,{"x":2.0}],"b":[1.0,{"x":2}]}]"#,
        true,
    );
    check("$[?@[?@ > 1]]", "[[0],[0,1],[0,1,2],[42]]", true);
    check("$[?@[?@ > 42]]", "[[0],[0,1],[0,1,2],[42]]", false);
    check("$[?count(@.*) == 0]", "[[]]", true);
    check("$[?@.a == $.none]", "[{}]", true);
    check("$[?@.a <= $.none]", "[{}]", true);
    check("$[?@.a < $.none]", "[{}]", false);
    check("$[?@ == 1e400]", "[1e500]", true);
    // A literal may have any size. Up to 64 bits it is exact.
    check(
        "$[?@ == 1099511627776000000]",
        "[1099511627776000000]",
        true,
    );
    check("$[?@ == 9007199254740993]", "[9007199254740992]", false);
    check(
        "$[?@ == 18446744073709551615]",
        "[18446744073709551615]",
        true,
    );
    check(
        "$[?@ < 18446744073709551615]",
        "[18446744073709551614]",
        true,
    );
    check(
        "$[?@ == -9223372036854775808]",
        "[-9223372036854775808]",
        true,
    );
    check(
        "$[?@ > -9223372036854775808]",
        "[-9223372036854775807]",
        true,
    );
    check("$[?@ == -0]", "[0]", true);
    check("$[?@ == 1.0E2]", "[100]", true);
    check(
        "$ [ 'a' ] [ ? @ .b == 1 && ( @.c || ! @.d ) ]",
        r#"{"a":[{"b":1}]}"#,
        true,
    );
    check(
        "$['\\ud83d\\ude00\\u00e9\\'']",
        r#"{"\ud83d\ude00é'":1}"#,
        true,
    );
    check(
        "$[1 : 3 : 1][?length(@) == count(@.*)]",
        "[0,[[1]],[2]]",
        true,
    );
    check("$.a[?search(@, '^b$')]", r#"{"a":["abc","b"]}"#, true);
    check("$.a[?search(@, '^b$')]", r#"{"a":["abc","bb"]}"#, false);
    check("$.a[?match(@, $.re)]", r#"{"a":["bab"],"re":"b.?b"}"#, true);
    check(
        "$.a[?match(@, $.re)]",
        r#"{"a":["bab"],"re":"b.?b("}"#,
        false,
    );
}

#[test]
fn types_and_regexes_are_checked_when_a_query_is_compiled() {
    for (query, offset, reason, remedy) in [
        (
            "$[?length(@.a)]",
            3,
            "`length` gives a value",
            "length(@.a) > 2",
        ),
        ("$[?length(@.*) < 3]", 3, "may select several", "count(@.*)"),
        (
            "$[?length((@.a)) < 3]",
            3,
            "takes a value, not a condition",
            "@.a",
        ),
        (
            "$[?value(@.a)]",
            3,
            "`value` gives a value",
            "value(@.a) > 2",
        ),
        ("$.a[?in(@.x, $.list)]", 5, "`in` is no function", "`||`"),
        (
            "$[?length() > 1]",
            3,
            "`length` takes one argument, not 0",
            "length(@.name)",
        ),
        (
            "$[?match(@.a)]",
            3,
            "`match` takes two arguments, not 1",
            "match(@.name, 'a.*')",
        ),
        ("$[?count(1) > 1]", 9, "`count` takes a query", "count(@.*)"),
        (
            "$[?match(@.a, 'b') == true]",
            3,
            "`match` is a condition",
            "alone",
        ),
        ("$[?@.* == 1]", 3, "may select several nodes", "@.a[0]"),
        (
            "$[?@[ 'a' ] == 1]",
            5,
            "white space inside the brackets",
            "leave it out",
        ),
        (r"$.a[?search(@.x, '\\d+')]", 17, "an escape `\\d`", "[0-9]"),
        (
            "$.a[?search(@.x, '(?i)a')]",
            17,
            "a group that begins with `(?`",
            "plain group",
        ),
        (
            "$.a[?search(@.x, 'a**')]",
            17,
            "a second quantifier",
            "leave it out",
        ),
        (
            "$.a[?search(@.x, '(.{0,500}){0,500}x')]",
            17,
            "bytes compiled",
            "repeat less",
        ),
    ] {
        let error = Filter::parse(query).expect_err(query);
        assert!(error.reason.contains(reason), "{query}: {error}");
        assert!(error.remedy.contains(remedy), "{query}: {error}");
        assert_eq!(error.offset, offset, "{query}: {error}");
    }
}

#[test]
fn what_may_outgrow_the_event_is_told() {
    let check = |query: &str, told: Option<&str>| {
        let filter = Filter::parse(query).unwrap_or_else(|error| unreachable!("{query}: {error}"));
        let found = filter.may_outgrow();
        match told {
            None => assert_eq!(found, None, "{query}"),
            Some(told) => assert!(
                found.is_some_and(|own| own.contains(told)),
                "{query}: {found:?}"
            ),
        }
    };
    for query in [
        "$",
        "$..name",
        "$.a[?@.b[?@.c && $.d[?@.e]]]",
        "$.data[?@[?$.data[?@[0]==99999]]]",
        "$.data.lines[?count($.data.lines[?@.ref == 1]) > 5]",
        "$..[?$..x]",
        "$.a[?search($.text, $.re) && search(@.b, $.re)]",
        "$['a','b'][*]['c','d']",
    ] {
        check(query, None);
    }
    check("$..a..b", Some("`..` below another"));
    check("$..[?@..x]", Some("`..` below another"));
    check("$.a[?@.b[?count(@..c..d) > 1]]", Some("`..` below another"));
    check("$.a[?$.b[?@..c..d]]", Some("`..` below another"));
    check("$[*,*][*,*][*,*][*,*][*,*]", Some("more than once"));
    check(
        "$['a','a','a','a']['b','b','b','b','b']",
        Some("more than once"),
    );
    check("$.a[?search($.text, @.re)]", Some("compiled for each"));
    let spec = crate::TransformSpec::Template(br#"{"a":"{$.data}","b":"{$..x..y}"}"#);
    let input = crate::Transform::parse(&spec, &[]).expect("it is valid");
    assert!(input.may_outgrow().is_some());
}

#[test]
fn members_that_are_compared_with_numbers_and_booleans_are_told() {
    let check = |query: &str, wanted: &[(&str, &str)]| {
        let filter = Filter::parse(query).unwrap_or_else(|error| unreachable!("{query}: {error}"));
        let found = filter.typed_members();
        let found: Vec<_> = found
            .map(|(name, value)| (name.to_owned(), value.to_string()))
            .collect();
        let wanted = wanted.iter();
        let wanted: Vec<_> = wanted
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(found, wanted, "{query}");
    };
    check("$[?$.priority == 5]", &[("priority", "5")]);
    check("$[?5 < $['priority']]", &[("priority", "5")]);
    check(
        "$.data[?@.a || !($.b != true && @.c[?$.d >= 1.5])]",
        &[("b", "true"), ("d", "1.5")],
    );
    check(
        "$.data[?count(@[?$.a == 1]) == 1 || search($.a, 'x')]",
        &[("a", "1")],
    );
    for query in [
        "$[?$.priority == '5']",
        "$[?$.priority == null]",
        "$[?$.priority == $.data.n]",
        "$[?$.data.n == 5]",
        "$[?@.n == 5]",
        "$[?length($.priority) == 5]",
        "$[?1 == 1]",
    ] {
        check(query, &[]);
    }
}
