//! Queries that hold, that don't, and that are refused.

use super::*;

fn check(query: &str, wanted: bool) {
    let event = serde_json::json!({
        "type": "issue",
        "data": { "labels": [{ "name": "bug", "n": 3 }, { "name": "p1" }], "empty": [], "no": null },
    });
    let filter = Filter::parse(query).unwrap_or_else(|fault| unreachable!("{query}: {fault}"));
    assert_eq!(filter.holds(&event), wanted, "{query}");
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

#[test]
fn faults_of_queries() {
    let fault = |query: &str| Filter::parse(query).expect_err("it is refused");
    for (query, offset) in [
        ("", 0),
        ("data", 0),
        ("$.a[", 3),
        ("$.a[?@.b === 1]", 10),
        ("$.é.é[", 7),
    ] {
        let fault = fault(query);
        assert!(fault.reason.starts_with("not a JSONPath query"), "{fault}");
        assert!(fault.offset.abs_diff(offset) <= 2, "{query}: {fault}");
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
        ("$.a[?@.b === 1]", "from `= 1]` on", "RFC 9535"),
    ] {
        let fault = fault(query);
        assert!(fault.reason.ends_with(reason), "{query}: {fault}");
        assert!(fault.remedy.contains(remedy), "{query}: {fault}");
    }
    let deep = |depth: usize| {
        format!(
            "$.a[?{}@.b{}]",
            "(".repeat(depth - 1),
            ")".repeat(depth - 1)
        )
    };
    assert!(Filter::parse(&deep(16)).is_ok());
    assert!(
        fault(&deep(17))
            .reason
            .contains("more than 16 open brackets")
    );
    assert!(
        fault(&"(".repeat(4000))
            .reason
            .contains("more than 16 open brackets")
    );
    assert!(Filter::parse("$..a..b").is_ok());
    assert!(fault("$..a..b..c").reason.contains("more than 2 `..`"));
    assert!(
        fault(&format!("$.{}", "a".repeat(4095)))
            .reason
            .contains("longer than 4096 bytes")
    );
}
