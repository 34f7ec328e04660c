//! What is made to cost much: each is refused, or answered in time linear in its size, by the index,
//! the plain matcher and explanations alike; and queries of `where` and `input` end within their budget.
//!
//! Times are of one size and of eight times that size, in processor time of the thread, so that neither the
//! machine nor its other work counts. Linear work takes eight times as long, quadratic work sixty-four.

use edgebus_rules::{
    ApplyError, Context, Duplicates, EventDocument, Filter, ParseOptions, Part, Pattern, RuleIndex,
    RuleSet, Scratch, Steps, Transform, TransformSpec, Trust, UsedUp, explain_json,
};
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
            let errors = Pattern::parse(text.as_bytes(), &ParseOptions::default());
            assert!(errors.is_err(), "{depth} brackets were accepted");
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
        let errors = Pattern::parse(text.as_bytes(), &ParseOptions::default()).err();
        let errors = errors.unwrap_or_else(|| panic!("{text} was accepted"));
        assert!(errors[0].reason.contains(reason), "{}", errors[0]);
    }
}

/// An event whose `data` is this.
fn event_of(data: &str) -> serde_json::Value {
    let text = format!("{{\"type\":\"t\",\"data\":{data}}}");
    edgebus_rules::tree(text.as_bytes()).expect("the event is JSON")
}

/// Asks a query of events of `size / 8` and of `size`, as `where` and as `input`: the answer for the greater
/// is this one, within the budget's time, and where the budget isn't used up the time is linear.
#[track_caller]
fn queried(query: &str, size: usize, wanted: Result<bool, UsedUp>, data: impl Fn(usize) -> String) {
    let filter = Filter::parse(query).expect("the query is valid");
    let spec = TransformSpec::Path(query);
    let transform = Transform::parse(&spec, &[]).expect("the query is valid");
    let context = Context {
        rule_name: "r",
        rule_arn: None,
        ingested_at: "",
    };
    let times = [size / 8, size].map(|size| {
        let text = data(size);
        let event = event_of(&text);
        let (holds, as_where) = time(|| filter.holds(&event, &mut Steps::of_event()));
        let parts = [Part::Raw {
            name: "data",
            json: text.as_bytes(),
        }];
        let (made, as_input) = time(|| transform.apply(&EventDocument::new(&parts), &context));
        assert!(as_where < BUDGET, "{query}: `where` takes {as_where} ns");
        let at_most = BUDGET + TREE_A_BYTE * text.len() as u64;
        assert!(as_input < at_most, "{query}: `input` takes {as_input} ns");
        (holds, as_where, made, as_input)
    });
    let [(_, short, _, short_input), (holds, long, made, long_input)] = times;
    assert_eq!(holds, wanted, "{query}");
    if wanted.is_err() {
        assert_eq!(made, Err(ApplyError::UsedUp(UsedUp)), "{query}");
        return;
    }
    for (short, long) in [(short, long), (short_input, long_input)] {
        let most = short.max(FLOOR) * u64::from(RATIO_MAX);
        assert!(
            long < most,
            "{query}: {short} ns, with eight times the size {long} ns"
        );
    }
}

/// What the budget may take in the slowest build, in nanoseconds: some 400 ns a step; optimized, 20 ns.
const BUDGET: u64 = 4_000_000_000;
/// What reading a byte of an event into a tree may take in the slowest build, in nanoseconds.
const TREE_A_BYTE: u64 = 2_000;

fn list(count: usize, element: impl Fn(usize) -> String) -> String {
    let elements: Vec<String> = (0..count).map(element).collect();
    format!("[{}]", elements.join(","))
}

#[test]
fn queries_that_ask_the_whole_event_of_each_node() {
    queried(
        "$.data[?@[?$.data[?@[0]==99999]]]",
        20_000,
        Ok(false),
        |size| list(size, |number| format!("[{number}]")),
    );
    queried(
        "$.data[?count($.data[?@.ref == 1]) > 5]",
        16_000,
        Ok(false),
        |size| list(size, |number| format!(r#"{{"ref":{number}}}"#)),
    );
    queried(
        "$.data[?$.data[?$.data[?$.data[?@ == 0]]] && @ == 0]",
        60_000,
        Ok(false),
        |size| list(size, |_| "1".to_owned()),
    );
    queried("$.data[?@ == $.data]", 60_000, Ok(false), |size| {
        list(size, |_| "[1]".to_owned())
    });
    queried("$.data[?length($.data) == @]", 60_000, Ok(false), |size| {
        list(size, |_| "0".to_owned())
    });
}

#[test]
fn queries_with_regexes() {
    let sku = |size| list(size, |number| format!(r#"{{"sku":"X-{number}8"}}"#));
    queried(
        r#"$.data[?search(@.sku, "^X-.*9$")]"#,
        60_000,
        Ok(false),
        sku,
    );
    let one = |piece: &'static str| {
        move |size: usize| format!("[\"{}\"]", piece.repeat(size / piece.len()))
    };
    queried("$.data[?search(@, '(a+)+b')]", 1 << 20, Ok(false), one("a"));
    queried(
        "$.data[?match(@, '(a|ab|b)*c')]",
        1 << 20,
        Ok(false),
        one("ab"),
    );
    // The strings need as many states of the automaton as there are: more than any budget.
    let mixed = |size: usize| {
        let mut state = 1_u32;
        let bit = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 31 == 0 { 'a' } else { 'b' }
        };
        let text: String = (0..size).map(bit).collect();
        format!("[\"{text}\"]")
    };
    queried(
        "$.data[?search(@, 'a(a|b){60}x')]",
        1 << 20,
        Err(UsedUp),
        mixed,
    );
    queried(
        "$.data[?search(@, 'a.{300}x')]",
        1 << 20,
        Err(UsedUp),
        mixed,
    );
    // Regexes that the event brings: each is compiled, so only so many.
    queried("$.data[?search(@, $.data[0])]", 20_000, Ok(false), |size| {
        list(size, |number| match number {
            0 => "\"b[c]d\"".to_owned(),
            _ => "\"abab\"".to_owned(),
        })
    });
    queried("$.data[?search('', @)]", 20_000, Err(UsedUp), |size| {
        list(size, |number| format!("\"a{number}.*\""))
    });
    for query in [
        "$[?search(@.a, '(.{0,500}){0,500}x')]",
        "$[?match(@.a, '((a{1000}){1000}){1000}')]",
    ] {
        let refused = Filter::parse(query).expect_err(query);
        assert!(refused.reason.contains("bytes compiled"), "{refused}");
    }
}

#[test]
fn queries_that_multiply() {
    let deep = |size: usize| {
        let one = format!("{}1{}", "[".repeat(30), "]".repeat(30));
        list(size, |_| one.clone())
    };
    queried("$..[?@..x]", 16_000, Err(UsedUp), deep);
    queried("$..*..x", 16_000, Err(UsedUp), deep);
    queried(
        "$[*,*][*,*][*,*][*,*][*,*][*,*][*,*][*,*].x",
        16_000,
        Err(UsedUp),
        deep,
    );
    // As deep as queries and events go.
    let within = format!("$.data{}", "[?@".repeat(16) + &"]".repeat(16));
    let deepest = |size: usize| list(size, |_| format!("{}1{}", "[".repeat(61), "]".repeat(61)));
    queried(&within, 500, Ok(true), deepest);
    queried("$..[?@..[?@ == 2]]", 8, Ok(false), deepest);
}
