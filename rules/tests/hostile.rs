//! What is made to cost much: each is refused, or answered in time linear in its size, by the index,
//! the plain matcher and explanations alike.
//!
//! Times are of one size and of eight times that size, in processor time of the thread, so that neither the
//! machine nor its other work counts. Linear work takes eight times as long, quadratic work sixty-four.

use rules::{Duplicates, ParseOptions, Pattern, RuleIndex, RuleSet, Scratch, Trust, explain_json};
use std::hint::black_box;

/// How many times as long eight times the size may take.
const RATIO_MAX: u32 = 28;
/// What is shorter says nothing, in nanoseconds.
const FLOOR: u64 = 200_000;
/// What takes longer is measured once.
const ONCE: u64 = 20_000_000;
/// So many rules are explained.
const EXPLAINED_MAX: usize = 8;

fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The answer, and how long it takes: the shorter of two times, where that says anything.
fn time<T>(mut work: impl FnMut() -> T) -> (T, u64) {
    let start = now();
    let answer = work();
    let first = now() - start;
    if first > ONCE {
        return (answer, first);
    }
    let start = now();
    drop(black_box(work()));
    (answer, first.min(now() - start))
}

fn parse(text: &str) -> Pattern {
    Pattern::parse(text.as_bytes(), &ParseOptions::default()).expect("the rule is valid")
}

/// What each way to ask takes, by name; all of them agree.
fn times(rules: &[String], event: &str, accepted: bool) -> Vec<(String, u64)> {
    let patterns: Vec<(usize, Pattern)> =
        rules.iter().map(|text| parse(text)).enumerate().collect();
    let index: RuleIndex<usize> = patterns.iter().cloned().collect();
    let plain = RuleSet::new(patterns.clone());
    let mut scratch = Scratch::new();
    let event = event.as_bytes();
    let copied = |keys: Vec<&usize>| keys.into_iter().copied().collect::<Vec<_>>();
    let (wanted, taken) = time(|| plain.matches_json(event, Duplicates::LastWins).map(copied));
    assert_eq!(wanted.is_ok(), accepted, "{wanted:?}");
    let mut times = vec![("the set".to_owned(), taken)];
    for trust in [Trust::Unchecked, Trust::Json, Trust::Plain] {
        let (answer, taken) = time(|| {
            let keys = index.matches_json(&mut scratch, event, Duplicates::LastWins, trust);
            keys.map(|keys| keys.copied().collect::<Vec<_>>())
        });
        if accepted || trust == Trust::Unchecked {
            assert_eq!(answer, wanted, "{trust:?}");
        }
        times.push((format!("the index, {trust:?}"), taken));
    }
    for (key, pattern) in patterns.iter().take(EXPLAINED_MAX) {
        let (explained, taken) = time(|| explain_json(pattern, event));
        let matched = wanted.clone().map(|keys| keys.contains(key));
        assert_eq!(
            explained.map(|explained| explained.matched),
            matched,
            "{}",
            rules[*key]
        );
        times.push((format!("explaining {key}"), taken));
    }
    times
}

/// Holds the times for `size / 8` and `size` against each other.
#[track_caller]
fn linear(size: usize, accepted: bool, make: impl Fn(usize) -> (Vec<String>, String)) {
    let at = |size| {
        let (rules, event) = make(size);
        times(&rules, &event, accepted)
    };
    for ((way, short), (_, long)) in at(size / 8).into_iter().zip(at(size)) {
        let most = short.max(FLOOR) * u64::from(RATIO_MAX);
        assert!(
            long < most,
            "{way}: {short} ns, with eight times the size {long} ns"
        );
    }
}

fn owned(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn ten_thousand_brackets() {
    let rules = owned(&[r#"{"a":{"a":[1]}}"#, r#"{"z":[{"exists":false}]}"#]);
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for (member, whole) in [("a", true), ("other", true), ("a", false)] {
            linear(80_000, false, |depth| {
                let end = if whole {
                    close.repeat(depth) + "}"
                } else {
                    String::new()
                };
                (
                    rules.clone(),
                    format!("{{\"{member}\":{}1{end}", open.repeat(depth)),
                )
            });
        }
    }
    // A pattern is refused, wherever its brackets are.
    for depth in [10_000, 30_000] {
        for text in [
            format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth)),
            format!("{}[1]{}", r#"{"a":"#.repeat(depth), "}".repeat(depth)),
            format!(
                "{{\"a\":[{}1{}]}}",
                r#"{"not":"#.repeat(depth),
                "}".repeat(depth)
            ),
            format!("{}1", r#"{"$or":["#.repeat(depth)),
        ] {
            let faults = Pattern::parse(text.as_bytes(), &ParseOptions::default());
            assert!(faults.is_err(), "{depth} brackets were accepted");
        }
    }
}

#[test]
fn a_hundred_thousand_elements() {
    let rules = owned(&[
        r#"{"a":{"x":[1],"y":[4]}}"#,
        r#"{"a":{"x":[1],"y":[{"exists":false}]}}"#,
        r#"{"a":{"x":[{"contains-all":[1,3,5]}]}}"#,
        r#"{"a":{"x":[{"exactly":[1,3,5]}]}}"#,
        r#"{"a":{"x":[{"anything-but":[1,3]}]},"b":[1]}"#,
        r#"{"a":["no"],"b":[{"anything-but":[1]}]}"#,
        r#"{"$or":[{"a":{"x":[{"numeric":[">",7]}]}},{"a":{"y":[{"prefix":"x"}]}}]}"#,
    ]);
    for element in [
        r#"{"x":1,"y":2},{"x":3,"y":4}"#,
        "1,\"a\"",
        "[[1]],[{\"x\":1}]",
        "{},[]",
    ] {
        linear(50_000, true, |pairs| {
            let elements = vec![element; pairs].join(",");
            (
                rules.clone(),
                format!("{{\"a\":[{elements}],\"b\":[{elements}]}}"),
            )
        });
    }
}

#[test]
fn a_megabyte_of_text() {
    let any = r#"{"s":[{"wildcard":"*a*b*c*d*"},{"regex":"(a|b|ab)*c"},{"suffix":"z"}]}"#;
    let rules = owned(&[
        any,
        r#"{"s":[{"wildcard":{"equals-ignore-case":"*A*B*ß*"}}]}"#,
        r#"{"s":[{"suffix":{"equals-ignore-case":"É"}},{"prefix":{"equals-ignore-case":"aab"}}]}"#,
        r#"{"s":[{"equals-ignore-case":"abc"},{"anything-but":{"wildcard":"*a*a*a*a*x"}}]}"#,
        r#"{"s":[{"cidr":"10.0.0.0/8"},"x"],"t":[{"numeric":["<",5]}]}"#,
    ]);
    for piece in ["ab", "é", r"\n\u0041", "\\\\", "0"] {
        linear(1 << 20, true, |bytes| {
            let text = piece.repeat(bytes / piece.len());
            (
                rules.clone(),
                format!("{{\"s\":\"{text}\",\"t\":1{}}}", "0".repeat(bytes / 8)),
            )
        });
    }
}

#[test]
fn a_thousand_sets_and_ranges_on_one_field() {
    let rule = |asked: String| format!("{{\"n\":[{asked}]}}");
    let event = |value: &str| format!(r#"{{"n":{value}}}"#);
    for value in ["500", "\"v5\"", "[1,2,700.5,\"v3\",null]"] {
        linear(1000, true, |count| {
            let but = |number| rule(format!("{{\"anything-but\":[{number}]}}"));
            ((0..count).map(but).collect(), event(value))
        });
        linear(1000, true, |count| {
            let but = |number| rule(format!("{{\"anything-but\":{{\"prefix\":\"v{number}\"}}}}"));
            ((0..count).map(but).collect(), event(value))
        });
        linear(1000, true, |count| {
            let range = |low| {
                rule(format!(
                    "{{\"numeric\":[\">\",{low},\"<=\",{}]}}",
                    low + 500
                ))
            };
            ((0..count).map(range).collect(), event(value))
        });
        // The same as the alternatives of one rule.
        linear(1000, true, |count| {
            let but = |number| format!("{{\"anything-but\":[{number},{}]}}", number + 1);
            let all: Vec<String> = (0..count).map(but).collect();
            (vec![rule(all.join(","))], event(value))
        });
        linear(1000, true, |count| {
            let range = |low: usize| format!("{{\"numeric\":[\">\",{low},\"<=\",{}]}}", low + 500);
            let all: Vec<String> = (0..count).map(range).collect();
            (vec![rule(all.join(","))], event(value))
        });
    }
}

#[test]
fn wildcards_that_nearly_match() {
    let stars = |count: usize| format!(r#"{{"s":[{{"wildcard":"{}b"}}]}}"#, "*a".repeat(count));
    let rules = [stars(5), stars(1)];
    for ending in ["", "b", "c"] {
        linear(1 << 18, true, |length| {
            (
                rules.to_vec(),
                format!(r#"{{"s":"{}{ending}"}}"#, "a".repeat(length)),
            )
        });
    }
    // As long as the value, so that each place of the value looks like a beginning.
    linear(1 << 14, true, |length| {
        let piece = "a".repeat(length);
        let rule = format!(r#"{{"s":[{{"wildcard":"*{piece}b*{piece}"}}]}}"#);
        (
            vec![rule],
            format!(r#"{{"s":"{}"}}"#, "a".repeat(3 * length)),
        )
    });
    // Letter case: the search takes the wildcard's length for each character, so that is bounded.
    let longest = "A".repeat(250);
    linear(1 << 14, true, |length| {
        let rule = format!(r#"{{"s":[{{"wildcard":{{"equals-ignore-case":"*{longest}b*"}}}}]}}"#);
        (vec![rule], format!(r#"{{"s":"{}"}}"#, "a".repeat(length)))
    });
    linear(1000, true, |count| {
        let rule = |number| format!(r#"{{"s":[{{"wildcard":"*a*y{number}*"}}]}}"#);
        (
            (0..count).map(rule).collect(),
            format!(r#"{{"s":"{}"}}"#, "ay".repeat(100)),
        )
    });
    for (text, reason) in [
        (stars(6), "complexity limit is 5"),
        (stars(30_000), "limit"),
        (stars(2).replace("*a*", "**"), "`**`"),
        (
            format!(
                r#"{{"s":[{{"wildcard":{{"equals-ignore-case":"{}"}}}}]}}"#,
                "a".repeat(257)
            ),
            "more than 256 characters",
        ),
        (
            r#"{"s":[{"regex":"((a{1000}){1000}){1000}"}]}"#.to_owned(),
            "regex",
        ),
    ] {
        let faults = Pattern::parse(text.as_bytes(), &ParseOptions::default()).err();
        let faults = faults.unwrap_or_else(|| panic!("{text} was accepted"));
        assert!(faults[0].reason.contains(reason), "{}", faults[0]);
    }
}
