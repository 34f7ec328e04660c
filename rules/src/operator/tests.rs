//! Tests each operator on single values, and the operands that it refuses.

mod extensions;

use super::*;
use crate::pattern::document::{self, Json};
use crate::scalar::Number;
use proptest::prelude::*;
use std::borrow::Cow;

/// The alternative that this text means, or the error.
fn alternative(text: &str) -> Result<Operator, String> {
    let node = document::read(text.as_bytes()).expect("the test's pattern is JSON");
    let mut errors = Errors::default();
    let operator = match &node.json {
        Json::Object(members) => {
            let member = &members[0];
            let value = &member.value;
            Operator::parse(
                &member.key,
                member.offset,
                value,
                &JsonPlace::Top,
                &mut errors,
            )
        }
        _ => exact::parse(&node, &JsonPlace::Top, &mut errors).map(Operator::Exact),
    };
    match errors.or(operator) {
        Ok(operator) => Ok(operator.expect("what has no error has an operator")),
        Err(errors) => Err(errors[0].to_string()),
    }
}

fn matches(operator: &Operator, value: &str) -> bool {
    let node = document::read(value.as_bytes()).expect("the test's value is JSON");
    operator.matches(&match node.json {
        Json::Null => Scalar::Null,
        Json::Bool(value) => Scalar::Bool(value),
        Json::Number(text) => Scalar::Number(Number::read(text)),
        Json::Text(text) => Scalar::Text(text),
        Json::List(_) | Json::Object(_) => unreachable!("the test's value is a scalar"),
    })
}

/// Checks which of these values meet an alternative.
fn check(text: &str, met: &[&str], missed: &[&str]) {
    let operator = alternative(text).unwrap_or_else(|error| unreachable!("{text}: {error}"));
    for value in met {
        assert!(matches(&operator, value), "{text} should be met by {value}");
    }
    for value in missed {
        assert!(
            !matches(&operator, value),
            "{text} should be missed by {value}"
        );
    }
}

/// Checks that an alternative is refused and that the error contains these parts.
fn refused(text: &str, parts: &[&str]) {
    let error = alternative(text)
        .err()
        .unwrap_or_else(|| unreachable!("{text} was accepted"));
    for part in parts {
        assert!(
            error.contains(part),
            "{text}: {error:?} should contain {part:?}"
        );
    }
}

#[test]
fn literals() {
    check(
        r#""x""#,
        &[r#""x""#, r#""\u0078""#],
        &[r#""X""#, r#""xx""#, r#""""#, "1", "null"],
    );
    // There is no normalisation: this compares one character with two.
    check("\"\u{e9}\"", &["\"\u{e9}\""], &["\"e\u{301}\""]);
    check(r#""1""#, &[r#""1""#], &["1", "1.0"]);
    check("true", &["true"], &["false", r#""true""#, "1", "null"]);
    check("null", &["null"], &["false", r#""null""#, "0", r#""""#]);
    check(r#"{"exactly":"x"}"#, &[r#""x""#], &[r#""y""#]);
}

#[test]
fn numbers() {
    check(
        "300",
        &["300", "300.0", "3.0e2", "3E+2", "0.3e3", "300.000"],
        &["301", r#""300""#, "-300"],
    );
    check(
        "0",
        &["0", "-0", "0.0", "0e5", "-0.0E-99999999999999999999"],
        &["1e-300", r#""0""#],
    );
    check(
        "0.1",
        &["0.1", "1e-1", "0.10"],
        &["0.1000000000000000055511151231257827"],
    );
    check("5e-324", &["5e-324", "5.0E-324"], &["4e-324", "0"]);
    // Numbers beyond binary64 are compared by their text alone.
    check(
        "12345678901234567890",
        &["12345678901234567890"],
        &[
            "12345678901234567891",
            "12345678901234567890.0",
            "1.2345678901234567890e19",
            "12345678901234567000",
        ],
    );
    check(
        "9007199254740993",
        &["9007199254740993"],
        &["9007199254740992", "9007199254740993.0"],
    );
    check(
        "9007199254740992",
        &["9007199254740992", "9007199254740992.0"],
        &["9007199254740993"],
    );
    check("1e400", &["1e400"], &["1E400", "1e401", r#""1e400""#]);
    check(
        "100000000000000000000",
        &["1e20", "100000000000000000000"],
        &["100000000000000000001"],
    );
}

#[test]
fn addresses_as_literals() {
    check(
        r#""::1""#,
        &[r#""::1""#, r#""0:0:0:0:0:0:0:1""#, r#""0000::0001""#],
        &[r#""::2""#, "1"],
    );
    check(
        r#""10.0.0.1""#,
        &[r#""10.0.0.1""#, r#""::ffff:10.0.0.1""#, r#""::FFFF:a00:1""#],
        &[r#""10.0.0.01""#, r#""10.0.0.2""#],
    );
    check(
        r#""2001:DB8::1""#,
        &[r#""2001:db8:0::1""#],
        &[r#""2001:db8::1:1""#],
    );
    // Text that only looks like an address is compared as text.
    check(r#""08:23""#, &[r#""08:23""#], &[r#""8:23""#]);
    check(
        r#""010.0.0.1""#,
        &[r#""010.0.0.1""#],
        &[r#""10.0.0.1""#, r#""8.0.0.1""#],
    );
    check(
        r#"{"anything-but":"::1"}"#,
        &[r#""::2""#, "null"],
        &[r#""0:0:0:0:0:0:0:1""#],
    );
}

#[test]
fn prefixes_and_suffixes() {
    check(
        r#"{"prefix":"ab"}"#,
        &[r#""ab""#, r#""abc""#],
        &[r#""a""#, r#""cab""#, r#""AB""#, "12"],
    );
    check(
        r#"{"suffix":"ab"}"#,
        &[r#""ab""#, r#""cab""#],
        &[r#""b""#, r#""abc""#, r#""AB""#, "null"],
    );
    check(
        r#"{"prefix":""}"#,
        &[r#""""#, r#""x""#],
        &["1", "null", "true"],
    );
    check(
        r#"{"suffix":""}"#,
        &[r#""""#, r#""x""#],
        &["1", "null", "false"],
    );
    check(
        r#"{"prefix":{"equals-ignore-case":"straße"}}"#,
        &[r#""STRASSEN""#, r#""Straße 1""#],
        &[r#""strassen""#, r#""Stra""#],
    );
    check(
        r#"{"suffix":{"equals-ignore-case":"é.PNG"}}"#,
        &[r#""CAFÉ.png""#],
        &[r#""cafe.png""#],
    );
    check(r#"{"prefix":"1"}"#, &[r#""12""#], &["12"]);
    refused(
        r#"{"prefix":123}"#,
        &["prefix takes a string, not a number", "write {\"prefix\""],
    );
    refused(
        r#"{"prefix":["a"]}"#,
        &["not a list", "once for each alternative"],
    );
    refused(r#"{"suffix":null}"#, &["suffix takes a string, not null"]);
    refused(
        r#"{"suffix":{"prefix":"a"}}"#,
        &["unknown operator \"prefix\" in suffix"],
    );
    refused(r#"{"prefix":{}}"#, &["exactly one key"]);
    refused(
        r#"{"prefix":{"equals-ignore-case":1}}"#,
        &["takes a string, not a number"],
    );
}

#[test]
fn equal_ignoring_case() {
    let eq = |text: &str| format!("{{\"equals-ignore-case\":\"{text}\"}}");
    check(
        &eq("aBc"),
        &[r#""abc""#, r#""ABC""#, r#""AbC""#],
        &[r#""abcd""#, r#""ab""#, "1"],
    );
    check(
        &eq("straße"),
        &[r#""STRASSE""#, r#""Straße""#],
        &[r#""strasse""#, r#""STRASE""#],
    );
    check(&eq("STRASSE"), &[r#""strasse""#], &[r#""straße""#]);
    check(&eq("ǆ"), &[r#""Ǆ""#, r#""ǆ""#], &[r#""dž""#]);
    // Deseret, which is beyond the basic plane.
    check(
        &eq("\u{10400}x"),
        &["\"\u{10428}X\"", "\"\u{10400}x\""],
        &["\"\u{10429}x\""],
    );
    check(&eq("ΟΔΟΣ"), &[r#""οδοσ""#], &[r#""οδος""#]);
    check(&eq(""), &[r#""""#], &[r#""a""#, "null"]);
    refused(
        &eq("a").replace("\"a\"", "[\"a\"]"),
        &["takes a string, not a list"],
    );
    refused(
        r#"{"equals-ignore-case":{"prefix":"a"}}"#,
        &["not an object"],
    );
}

/// No form of a character begins or ends with another one. So the first form that fits is right.
#[test]
fn forms_of_a_character_are_free_of_each_other() {
    for character in '\0'..=char::MAX {
        let forms = [
            character.to_string(),
            character.to_lowercase().to_string(),
            character.to_uppercase().to_string(),
        ];
        for (one, other) in forms
            .iter()
            .flat_map(|one| forms.iter().map(move |other| (one, other)))
        {
            let free = one == other || !(one.starts_with(&**other) || one.ends_with(&**other));
            assert!(free, "{character:?}: {one:?} and {other:?}");
        }
    }
}

#[test]
fn wildcards() {
    let wild = |text: &str| serde_json::json!({ "wildcard": text }).to_string();
    check(
        &wild("a*b"),
        &[r#""ab""#, r#""axb""#, r#""abb""#],
        &[r#""a""#, r#""abc""#, r#""ba""#],
    );
    check(&wild("*"), &[r#""""#, r#""x""#], &["1", "null"]);
    check(
        &wild("aba*aba"),
        &[r#""abaaba""#],
        &[r#""aba""#, r#""ababa""#],
    );
    check(
        &wild("*ab*ba*"),
        &[r#""abba""#, r#""xabxbax""#],
        &[r#""aba""#],
    );
    check(&wild("x"), &[r#""x""#], &[r#""xx""#]);
    check(&wild(r"a\*b"), &[r#""a*b""#], &[r#""axb""#]);
    check(&wild(r"\\*"), &[r#""\\x""#, r#""\\""#], &[r#""x""#]);
    check(&wild(r"*\**"), &[r#""a*b""#, r#""*""#], &[r#""ab""#]);
    check(
        &wild("次*タ"),
        &[r#""次期データ""#, r#""次タ""#],
        &[r#""期データ""#],
    );
    refused(&wild("a**b"), &["`**`", "write one `*`"]);
    refused(&wild(r"a\b"), &[r"unknown escape `\b`"]);
    refused(&wild(r"a\"), &["lone backslash"]);
    refused(&wild("*a*a*a*a*a*b"), &["6 stars", "limit is 5"]);
    refused(r#"{"wildcard":["a*"]}"#, &["takes a string, not a list"]);
}

#[test]
fn anything_but() {
    let but = |set: &str| format!("{{\"anything-but\":{set}}}");
    let kinds = ["null", "true", "1", r#""x""#];
    check(&but(r#""stopped""#), &kinds, &[r#""stopped""#]);
    check(&but("300"), &["301", r#""300""#, "null"], &["300", "3.0e2"]);
    check(&but(r#"["a","b"]"#), &kinds, &[r#""a""#, r#""b""#]);
    check(&but("[1,2.0]"), &["3", r#""1""#, "null"], &["1.0", "2"]);
    check(
        &but(r#"{"prefix":"in"}"#),
        &["12", "null", r#""out""#],
        &[r#""init""#],
    );
    check(
        &but(r#"{"suffix":[".txt",".jpg"]}"#),
        &[r#""a.txt.bak""#, "1"],
        &[r#""a.jpg""#],
    );
    check(
        &but(r#"{"equals-ignore-case":["A","bé"]}"#),
        &[r#""c""#],
        &[r#""a""#, r#""BÉ""#],
    );
    check(
        &but(r#"{"wildcard":"*/dir/*"}"#),
        &[r#""dir""#, "null"],
        &[r#""a/dir/b""#],
    );
    check(
        &but(r#"{"equals-ignore-case":""}"#),
        &[r#""x""#],
        &[r#""""#],
    );
    refused(&but("null"), &["anything-but doesn't take null"]);
    refused(&but("true"), &["anything-but doesn't take a boolean"]);
    refused(&but("[]"), &["an empty list"]);
    refused(&but(r#"["a",1]"#), &["byte 21", "a number after a string"]);
    refused(&but("[1,null]"), &["null in anything-but's list"]);
    refused(
        &but(r#"{"prefix":""}"#),
        &["an empty prefix excludes every string"],
    );
    refused(&but(r#"{"suffix":["a",""]}"#), &["an empty suffix"]);
    refused(
        &but(r#"{"prefix":[]}"#),
        &["an empty list in anything-but's prefix"],
    );
    refused(
        &but(r#"{"prefix":{"equals-ignore-case":"a"}}"#),
        &["takes strings, not an object"],
    );
    refused(
        &but(r#"{"wildcard":["a",1]}"#),
        &["takes strings, not a number"],
    );
    refused(
        &but(r#"{"numeric":["=",1]}"#),
        &["anything-but doesn't take \"numeric\""],
    );
    refused(
        &but(r#"{"cidr":"10.0.0.0/8"}"#),
        &["anything-but doesn't take \"cidr\""],
    );
    refused(
        &but(r#"{"anything-but":"a"}"#),
        &["anything-but doesn't take \"anything-but\""],
    );
    refused(&but(r#"{"prefix":"a","suffix":"b"}"#), &["exactly one key"]);
}

#[test]
fn numeric_ranges() {
    let numeric = |operand: &str| format!("{{\"numeric\":{operand}}}");
    check(
        &numeric(r#"["=",3.018e2]"#),
        &["301.8"],
        &["301.7", r#""301.8""#, "null"],
    );
    check(
        &numeric(r#"["<",10]"#),
        &["9.99", "-1e300"],
        &["10", "10.0"],
    );
    check(&numeric(r#"["<=",10]"#), &["10", "-0"], &["10.0000001"]);
    check(
        &numeric(r#"[">",0]"#),
        &["5e-324", "1e400"],
        &["0", "-0", "-1"],
    );
    check(
        &numeric(r#"[">=",-4e-6]"#),
        &["-0.000004", "0"],
        &["-0.0000041"],
    );
    check(
        &numeric(r#"[">",0,"<=",5]"#),
        &["5", "0.1"],
        &["0", "5.1", "true"],
    );
    check(
        &numeric(r#"[">=",1,"<",2]"#),
        &["1", "1.999"],
        &["2", "0.999"],
    );
    // The excess digits of a number in an event count as the nearest binary64.
    check(
        &numeric(r#"["=",0.1]"#),
        &["0.1000000000000000055511151231257827"],
        &["0.2"],
    );
    for (operand, part) in [
        ("10", "takes a list, not a number"),
        ("[]", "not 0 elements"),
        (r#"[">",0,"<"]"#, "not 3 elements"),
        (r#"["=",1,"<",2]"#, "\"=\" where one of > >= is needed"),
        (r#"["<",1,">",0]"#, "\"<\" where one of > >= is needed"),
        (r#"[">",1,"<",1]"#, "the range from 1 to 1 is empty"),
        (r#"[">",30,"<",1]"#, "is empty"),
        (r#"["!=",1]"#, "\"!=\" where one of"),
        (r#"["=","1"]"#, "a string where a number is needed"),
        (r#"["=",true]"#, "a boolean where a number is needed"),
        (r#"["=",2.0e422]"#, "binary64"),
        (r#"["=",1E-325]"#, "binary64"),
        (r#"["=",0.1000000000000000055511151231257827]"#, "binary64"),
        (r#"[5,"="]"#, "a number where one of"),
    ] {
        refused(&numeric(operand), &[part, "write [\"=\", 5]"]);
    }
}

#[test]
fn existence() {
    check(r#"{"exists":true}"#, &["null", "0", r#""""#], &[]);
    check(r#"{"exists":false}"#, &[], &["null", "0", r#""""#]);
    refused(
        r#"{"exists":"true"}"#,
        &["exists takes true or false, not a string"],
    );
}

#[test]
fn blocks_of_addresses() {
    let cidr = |block: &str| format!("{{\"cidr\":\"{block}\"}}");
    check(
        &cidr("10.0.0.0/24"),
        &[r#""10.0.0.0""#, r#""10.0.0.255""#, r#""::ffff:10.0.0.7""#],
        &[
            r#""10.0.1.0""#,
            r#""9.255.255.255""#,
            r#""10.0.0""#,
            r#""::a00:1""#,
            "10",
        ],
    );
    check(
        &cidr("10.0.0.77/24"),
        &[r#""10.0.0.1""#],
        &[r#""10.0.1.77""#],
    );
    check(
        &cidr("0.0.0.0/0"),
        &[r#""255.1.2.3""#],
        &[r#""::1""#, r#""x""#],
    );
    check(&cidr("10.0.0.1/31"), &[r#""10.0.0.0""#], &[r#""10.0.0.2""#]);
    check(
        &cidr("2001:db8::/32"),
        &[r#""2001:0db8:0:0::1""#],
        &[r#""2001:db9::1""#, r#""10.0.0.1""#],
    );
    check(&cidr("::/0"), &[r#""ff::""#], &[r#""::ffff:10.0.0.1""#]);
    check(&cidr("::2/127"), &[r#""::3""#], &[r#""::4""#]);
    check(
        &cidr("::ffff:10.0.0.0/8"),
        &[r#""10.1.2.3""#],
        &[r#""11.0.0.0""#],
    );
    for block in [
        "10.0.0.0/32",
        "::1/128",
        "10.0.0.0",
        "10.0.0/8",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/",
        "x/8",
        "10.0.0.0/8/8",
        "10.0.0.0/999999999999",
        "10.0.0.0/ 8",
        "fe80::1%eth0/64",
    ] {
        refused(&cidr(block), &["write \"address/bits\""]);
    }
    refused(
        r#"{"cidr":["10.0.0.0/8"]}"#,
        &["cidr takes a string, not a list"],
    );
}

#[test]
fn every_operator_is_specified_and_fuzzed() {
    let read = |path: &str| {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read_to_string(file).expect(path)
    };
    let (page, fuzzed) = (read("PATTERNS.md"), read("fuzz/src/pattern.rs"));
    for name in NAMES.iter().chain(EXTENSIONS) {
        let written = format!("{{\"{name}\":");
        let rows: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with('|') && line.contains(&written))
            .collect();
        let examples = rows
            .iter()
            .filter(|row| row.starts_with(&format!("| `{written}")))
            .count();
        assert!(
            rows.len() > 1 && examples > 0,
            "{name}: PATTERNS.md needs a row that says what meets it, and one with examples"
        );
        assert!(
            fuzzed.contains(&format!("\"{name}\"")) || fuzzed.contains(&format!("\\\"{name}\\\"")),
            "{name}: add it to `alternative` in fuzz/src/pattern.rs"
        );
    }
}

#[test]
fn unknown_operators_name_the_nearest() {
    for (name, remedy) in [
        ("prefx", "write \"prefix\""),
        ("EXISTS", "write \"exists\""),
        ("Anything-But", "write \"anything-but\""),
        ("anythingbut", "write \"anything-but\""),
        ("equals_ignore_case", "write \"equals-ignore-case\""),
        ("regx", "write \"regex\""),
        (
            "date-before",
            "the operators here are exactly, prefix, suffix",
        ),
        ("", "the operators here are"),
    ] {
        let text = format!("{{\"{name}\":\"x\"}}");
        refused(&text, &[&format!("unknown operator \"{name}\""), remedy]);
    }
    let long = format!("{{\"{}\":1}}", "x".repeat(60_000));
    let error = alternative(&long).expect_err("it isn't known");
    assert!(error.len() < 500, "an error is bounded");
}

/// A slow matcher for wildcards: which ends of the value each beginning of the pattern can reach.
fn by_table(pattern: &[char], value: &[char]) -> bool {
    let mut row = vec![false; value.len() + 1];
    row[0] = true;
    for wanted in pattern {
        let mut next = vec![false; value.len() + 1];
        for at in 0..=value.len() {
            next[at] = match wanted {
                '*' => row[at] || (at > 0 && next[at - 1]),
                _ => at > 0 && row[at - 1] && value[at - 1] == *wanted,
            };
        }
        row = next;
    }
    row[value.len()]
}

proptest! {
    #[test]
    fn wildcards_agree_with_a_table(pattern in "[ab*]{0,9}", value in "[abé]{0,12}") {
        if let Ok(operand) = wildcard::Operand::compile(&pattern, false) {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            let wanted = by_table(&characters(&pattern), &characters(&value));
            prop_assert_eq!(operand.matches(&Scalar::Text(Cow::Borrowed(&value))), wanted);
        } else {
            prop_assert!(pattern.contains("**") || pattern.matches('*').count() > 5);
        }
    }

    #[test]
    fn shortest_forms_are_exact(value: f64) {
        prop_assume!(value.is_finite());
        for text in [format!("{value}"), format!("{value:e}")] {
            prop_assert!(Number::read(&text).exact(), "{}", text);
            let padded = format!("{text}0");
            if text.contains('.') && !text.contains('e') {
                prop_assert!(Number::read(&padded).equals(&Number::read(&text)));
            }
        }
    }

    #[test]
    fn exact_integers_are_those_that_survive(value: i64) {
        let text = value.to_string();
        // Rust prints a binary64 with its shortest digits, filled up with zeros.
        let survives = (value as f64).to_string() == text;
        prop_assert_eq!(Number::read(&text).exact(), survives);
        prop_assert!(survives || value.unsigned_abs() > 1 << 53);
    }
}
