//! Compares the index with the plain matcher on generated rules, events and changes. Millions of matches on
//! request.

use super::*;
use crate::{Duplicates, EventError, ParseOptions, Part, RuleSet};
use generate::Random;
use std::fmt::Write as _;

mod generate;
mod odd;
mod vouch;

fn parse(text: &str) -> Pattern {
    Pattern::parse(text.as_bytes(), &ParseOptions::default())
        .unwrap_or_else(|errors| unreachable!("{text}: {errors:?}"))
}

#[test]
fn every_operator_is_generated() {
    let mut random = Random::new(1);
    let patterns: Vec<String> = (0..2_000).map(|_| generate::pattern(&mut random)).collect();
    for name in crate::operator::NAMES
        .iter()
        .chain(crate::operator::EXTENSIONS)
    {
        let written = format!("{{\"{name}\":");
        assert!(
            patterns.iter().any(|pattern| pattern.contains(&written)),
            "{name}: add it to `alternative` in src/index/tests/generate.rs"
        );
    }
}

/// The number of matches to compare: `EDGEBUS_MATCHES`, or a small number for every build.
fn matches_wanted() -> usize {
    let asked = std::env::var("EDGEBUS_MATCHES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// The seed of the generated cases: `EDGEBUS_SEED`, or always the same one.
fn seed() -> u64 {
    let asked = std::env::var("EDGEBUS_SEED").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn keys(matches: Result<Matches<'_, u32>, EventError>) -> Result<Vec<u32>, EventError> {
    matches.map(|keys| keys.copied().collect())
}

/// Compares every way to match one event. True if the event was accepted.
fn check(
    index: &RuleIndex<u32>,
    plain: &RuleSet<u32>,
    scratch: &mut Scratch,
    event: &[u8],
) -> bool {
    let mut accepted = false;
    let vouched = Trust::of_json(event);
    for duplicates in [Duplicates::LastWins, Duplicates::Refuse] {
        let wanted = plain.matches_json(event, duplicates);
        let wanted: Result<Vec<u32>, _> = wanted.map(|keys| keys.into_iter().copied().collect());
        let got = keys(index.matches_json(scratch, event, duplicates, Trust::Unchecked));
        let shown = String::from_utf8_lossy(event);
        match (&wanted, &got) {
            (Err(_), Err(_)) => {}
            _ => assert_eq!(got, wanted, "{duplicates:?} on {shown}"),
        }
        let valid = serde_json::from_slice::<serde::de::IgnoredAny>(event).is_ok();
        let trusted = keys(index.matches_json(scratch, event, duplicates, Trust::Json));
        let trusted_most = keys(index.matches_json(scratch, event, duplicates, Trust::Plain));
        if valid && wanted.is_ok() {
            assert_eq!(trusted, wanted, "trusted, {duplicates:?} on {shown}");
            accepted = true;
            if vouched == Ok(Trust::Plain) {
                assert_eq!(trusted_most, wanted, "plain, {duplicates:?} on {shown}");
            }
        } else if valid
            && wanted
                .as_ref()
                .is_err_and(|error| error.reason.contains("twice"))
        {
            assert_eq!(trusted, wanted, "trusted, {duplicates:?} on {shown}");
        }
    }
    accepted
}

/// Compares every way to match an event that comes in parts.
fn check_parts(
    index: &RuleIndex<u32>,
    plain: &RuleSet<u32>,
    scratch: &mut Scratch,
    members: &[odd::Member],
) {
    let parts = members.iter().map(|member| match member.raw {
        true => Part::Raw {
            name: &member.name,
            json: member.value.as_bytes(),
        },
        false => Part::Text {
            name: &member.name,
            value: &member.value,
        },
    });
    let parts: Vec<Part<'_>> = parts.collect();
    for duplicates in [Duplicates::LastWins, Duplicates::Refuse] {
        let wanted = plain.matches(&parts, duplicates);
        let wanted: Result<Vec<u32>, _> = wanted.map(|keys| keys.into_iter().copied().collect());
        let vouched = Trust::of(&parts).unwrap_or(Trust::Unchecked);
        for trust in [Trust::Unchecked, Trust::Json, vouched] {
            let got = keys(index.matches(scratch, &parts, duplicates, trust));
            assert_eq!(
                got.ok(),
                wanted.as_ref().ok().cloned(),
                "{duplicates:?}, {trust:?} on {members:?}"
            );
        }
    }
}

#[test]
fn generated_rules_and_events() {
    let mut scratch = Scratch::new();
    let (mut compared, mut accepted, mut matched) = (0, 0, 0_usize);
    let mut case = seed();
    while compared < matches_wanted() {
        let mut random = Random::new(case);
        case += 1;
        let most = if random.below(8) == 0 { 60 } else { 6 };
        let count = random.below(most) + 1;
        let texts: Vec<String> = (0..count).map(|_| generate::pattern(&mut random)).collect();
        let patterns = texts
            .iter()
            .filter_map(|text| Pattern::parse(text.as_bytes(), &ParseOptions::default()).ok());
        let patterns: Vec<(u32, Pattern)> = (0..).zip(patterns).collect();
        let mut index = RuleIndex::new();
        // Some conditions are treated as those that no single value decides, so that the plain matcher
        // decides about their rules.
        let left = random.below(4) as u16;
        for (key, pattern) in &patterns {
            index.insert_as(*key, pattern, |condition| {
                condition.needs_all_values() || (left == 1 && condition.path % 2 == 1)
            });
        }
        let plain = RuleSet::new(patterns);
        for _ in 0..20 {
            let event = generate::event(&mut random);
            let moved = odd::laid_out(&mut random, &event);
            let members = odd::members(&mut random);
            let bytes = generate::corrupt(&mut random, event);
            let ok = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let ok = check(&index, &plain, &mut scratch, &bytes);
                check(&index, &plain, &mut scratch, moved.as_bytes());
                check_parts(&index, &plain, &mut scratch, &members);
                ok
            }));
            let ok = ok.unwrap_or_else(|_| {
                panic!("case {} of\n{}", case - 1, texts.join("\n"));
            });
            accepted += usize::from(ok);
            if ok {
                let keys = plain.matches_json(&bytes, Duplicates::LastWins);
                matched += usize::from(keys.is_ok_and(|keys| !keys.is_empty()));
            }
            compared += 1;
        }
    }
    println!("{compared} events compared, {accepted} valid, {matched} matched by a rule");
    assert!(
        accepted * 3 > compared && matched * 8 > compared,
        "the cases are too poor"
    );
}

#[test]
fn edits_give_what_a_fresh_build_gives() {
    let rounds = (matches_wanted() / 400).max(20);
    let mut scratch = Scratch::new();
    for round in 0..rounds as u64 {
        let mut random = Random::new(seed() + 7_000_000 + round);
        let mut index = RuleIndex::new();
        // In the order in which the keys were added.
        let mut model: Vec<(u32, Pattern)> = Vec::new();
        let mut kept = Vec::new();
        for step in 0..60 {
            let key = random.below(24) as u32;
            let known = model.iter().position(|(known, _)| *known == key);
            if random.below(3) == 0 {
                assert_eq!(index.remove(&key), known.is_some());
                known.map(|place| model.remove(place));
            } else {
                let text = generate::pattern(&mut random);
                let Ok(pattern) = Pattern::parse(text.as_bytes(), &ParseOptions::default()) else {
                    continue;
                };
                assert_eq!(index.insert(key, &pattern), known.is_none());
                match known {
                    Some(place) => model[place].1 = pattern,
                    None => model.push((key, pattern)),
                }
            }
            assert_eq!(
                (index.len(), index.contains(&key)),
                (model.len(), model.iter().any(|(known, _)| *known == key))
            );
            if step % 20 == 19 {
                kept.push((index.clone(), RuleSet::new(model.clone())));
            }
        }
        for (index, plain) in &kept {
            for _ in 0..8 {
                let event = generate::event(&mut random);
                check(index, plain, &mut scratch, event.as_bytes());
            }
        }
        for (key, _) in model {
            assert!(index.remove(&key));
        }
        assert!(
            index.is_empty() && index.core.is_empty(),
            "something is left behind"
        );
    }
}

#[test]
fn one_key_is_told_once_and_in_order() {
    let mut index = RuleIndex::new();
    let either = parse(r#"{"$or":[{"a":[1,2]},{"b":["x",{"prefix":"x"}]}]}"#);
    for key in [5, 3, 9] {
        index.insert(key, &either);
    }
    let before = index.clone();
    index.insert(5, &parse(r#"{"a":[{"exists":true}]}"#));
    index.remove(&3);
    index.insert(3, &either);
    let mut scratch = Scratch::new();
    let event = br#"{"a":[1,2,2,1],"b":["x","xy"]}"#;
    for (index, wanted) in [(&index, vec![5, 9, 3]), (&before, vec![5, 3, 9])] {
        let got = index.matches_json(&mut scratch, event, Duplicates::Refuse, Trust::Json);
        assert_eq!(got.as_ref().map(ExactSizeIterator::len), Ok(3));
        assert_eq!(keys(got), Ok(wanted));
    }
}

/// Events and rules that make other engines slow. Each match has to end, and both matchers have to agree.
#[test]
fn hostile_events_and_rules() {
    let mut rules = vec![
        r#"{"a":{"x":[1],"y":[4]}}"#.to_owned(),
        r#"{"a":["no"],"b":[{"anything-but":[1]}]}"#.to_owned(),
        r#"{"s":[{"wildcard":"*a*b*c*d*"}]}"#.to_owned(),
        r#"{"s":[{"equals-ignore-case":"straße"},{"suffix":{"equals-ignore-case":"É"}}]}"#
            .to_owned(),
    ];
    let many: Vec<String> = (0..1000)
        .map(|number| format!(r#"{{"wildcard":"*a*y{number}"}}"#))
        .collect();
    rules.push(format!(r#"{{"s":[{}]}}"#, many.join(",")));
    for number in 0..1000 {
        rules.push(format!(r#"{{"s":[{{"wildcard":"*a*z{number}"}}]}}"#));
        rules.push(
            format!(r#"{{"n":[{{"anything-but":[{number},"x{number}"]}}]}}"#)
                .replace(&format!(",\"x{number}\""), ""),
        );
        let (low, high) = (number, number + 500);
        rules.push(format!(
            r#"{{"n":[{{"numeric":[">",{low},"<=",{high}]}}]}}"#
        ));
        rules.push(format!(
            r#"{{"s":[{{"wildcard":"*{number}*a"}},{{"wildcard":"{number}*"}}]}}"#
        ));
        rules.push(format!(
            r#"{{"f{number}.g":[{{"exists":false}}],"n":[{number}]}}"#
        ));
    }
    let patterns: Vec<(u32, Pattern)> = (0..).zip(rules.iter().map(|text| parse(text))).collect();
    let index: RuleIndex<u32> = patterns.iter().cloned().collect();
    let plain = RuleSet::new(patterns);
    let mut scratch = Scratch::new();
    let mut members = String::new();
    for number in 0..5000 {
        let _ = write!(members, ",\"f{number}.g\":{number}");
    }
    let start = std::time::Instant::now();
    for event in [
        format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000)),
        format!(r#"{{"z":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000)),
        format!(r#"{{"a":{}"#, "[".repeat(10_000)),
        format!("{{\"a\":[{}1],\"b\":1}}", "1,".repeat(100_000)),
        format!(
            r#"{{"a":[{}{{"x":1,"y":4}}]}}"#,
            r#"{"x":1,"y":2},{"x":3,"y":4},"#.repeat(50_000)
        ),
        format!(r#"{{"s":"{}"}}"#, "abcd".repeat(2_500)),
        format!(r#"{{"s":"{}é"}}"#, r"\n\u0041".repeat(2_500)),
        format!(r#"{{"s":"{}"}}"#, "a".repeat(100_000)),
        r#"{"n":500}"#.to_owned(),
        format!(r#"{{"n":[{}1]}}"#, "1.5,700,".repeat(20)),
        format!(r#"{{"n":7{members}}}"#),
        format!(r#"{{"n":7{members}{members}}}"#),
    ] {
        check(&index, &plain, &mut scratch, event.as_bytes());
    }
    // This takes seconds in a debug build, nearly all of them in the plain matcher.
    assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
}

/// An event that is cut off anywhere is refused when it is checked. When it is trusted, it does no harm.
#[test]
fn truncated_events() {
    let rules = [
        r#"{"a":{"b":[1]},"12345678123456789":["x"],"n":[{"numeric":[">",0]}]}"#,
        r#"{"a.b":[{"exists":false}],"c":{"d":[{"suffix":"y"}]}}"#,
    ];
    let patterns: Vec<(u32, Pattern)> = (0..).zip(rules.map(parse)).collect();
    let index: RuleIndex<u32> = patterns.iter().cloned().collect();
    let plain = RuleSet::new(patterns);
    let mut scratch = Scratch::new();
    for before in (0..130).step_by(3) {
        let padding = "p".repeat(before);
        let event = format!(
            r#"{{"{padding}":"{padding}","a":{{"z":-1.5e3,"b":1}},"12345678123456789":"x","n":12345678901234567890,"c":[true,{{"d":"\u0041y"}}]}}"#
        );
        for end in 0..event.len() {
            let event = &event.as_bytes()[..end];
            for duplicates in [Duplicates::LastWins, Duplicates::Refuse] {
                for trust in [Trust::Json, Trust::Plain] {
                    let _ = index.matches_json(&mut scratch, event, duplicates, trust);
                }
                let refused = index.matches_json(&mut scratch, event, duplicates, Trust::Unchecked);
                assert!(refused.is_err(), "{}", String::from_utf8_lossy(event));
            }
        }
        assert!(check(&index, &plain, &mut scratch, event.as_bytes()));
    }
}

/// Nodes with so many children that they are found by hash. Many names share their beginning and their end.
#[test]
fn nodes_grow_wide_and_shrink() {
    let mut random = Random::new(seed());
    let mut index = RuleIndex::new();
    let mut model: Vec<(u32, Pattern)> = Vec::new();
    let mut kept = Vec::new();
    let mut scratch = Scratch::new();
    let name = |number: u32| match number % 3 {
        0 => format!("attribute_{number:04}"),
        1 => format!("attribute_of_{number:04}_customers"),
        _ => format!("a{number}.b"),
    };
    for step in 0..6000 {
        let key = random.below(1500) as u32;
        let known = model.iter().position(|(known, _)| *known == key);
        // It grows, stays, and shrinks.
        let removed = random.below(4) < 1 + step / 2000;
        if removed {
            assert_eq!(index.remove(&key), known.is_some());
            known.map(|place| model.swap_remove(place));
        } else {
            let text = match random.below(4) {
                0 => format!(
                    r#"{{"o":{{"{}":[{{"exists":false}}],"x":[1]}}}}"#,
                    name(key)
                ),
                _ => format!(r#"{{"o":{{"{}":["v"]}}}}"#, name(key)),
            };
            let pattern = parse(&text);
            assert_eq!(index.insert(key, &pattern), known.is_none());
            match known {
                Some(place) => model[place].1 = pattern,
                None => model.push((key, pattern)),
            }
        }
        if step % 600 == 599 {
            kept.push((index.clone(), model.clone()));
        }
    }
    let most = kept.iter().map(|(index, _)| index.len()).max();
    assert!(most > Some(700), "no node was wide: {most:?}");
    for (index, model) in kept {
        let plain = RuleSet::new(model);
        for _ in 0..3 {
            let members: Vec<String> = (0..60)
                .map(|_| {
                    let name = name(random.below(1500) as u32);
                    format!(r#","{name}":"{}""#, random.one(&["v", "w"]))
                })
                .collect();
            let event = format!(r#"{{"o":{{"x":1{}}}}}"#, members.concat());
            let sorted = |keys: Result<Vec<u32>, EventError>| {
                let mut keys = keys.unwrap_or_default();
                keys.sort_unstable();
                keys
            };
            let event = event.as_bytes();
            let wanted = plain.matches_json(event, Duplicates::LastWins);
            let wanted = sorted(wanted.map(|keys| keys.into_iter().copied().collect()));
            for trust in [Trust::Unchecked, Trust::Json] {
                let got = index.matches_json(&mut scratch, event, Duplicates::LastWins, trust);
                assert_eq!(
                    sorted(keys(got)),
                    wanted,
                    "{}",
                    String::from_utf8_lossy(event)
                );
            }
        }
    }
    for (key, _) in model {
        assert!(index.remove(&key));
    }
    assert!(index.core.is_empty());
}

/// The largest rule that is allowed can be added and removed, and each of its sub-rules finds it.
#[test]
fn the_largest_rule() {
    let any: Vec<String> = (0..10)
        .map(|group| {
            let one = |number| format!(r#"{{"f{group}":["v{number}"],"g{group}":[{number}]}}"#);
            let all: Vec<String> = (0..10).map(one).collect();
            format!(r#""x{group}":{{"$or":[{}]}}"#, all.join(","))
        })
        .collect();
    let pattern = parse(&format!("{{{}}}", any[..3].join(",")));
    let mut index = RuleIndex::new();
    index.insert(1, &pattern);
    let plain = RuleSet::new([(1, pattern.clone())]);
    let mut scratch = Scratch::new();
    for number in 0..10 {
        let member =
            |group| format!(r#""x{group}":{{"f{group}":"v{number}","g{group}":{number}}}"#);
        let event = format!("{{{},{},{}}}", member(0), member(1), member(2));
        assert!(check(&index, &plain, &mut scratch, event.as_bytes()));
    }
    let start = std::time::Instant::now();
    index.insert(2, &pattern);
    println!("1,000 sub-rules added in {:?}", start.elapsed());
    index.remove(&1);
    index.remove(&2);
    assert!(index.core.is_empty());
}

/// Text that is trusted but isn't JSON may be refused or matched. It never does harm.
#[test]
fn broken_promises() {
    let rules = [
        r#"{"a":{"b":["x",1,{"prefix":{"equals-ignore-case":"É"}}]}}"#,
        r#"{"a":[{"exists":false}]}"#,
    ];
    let index: RuleIndex<u32> = (0..).zip(rules.map(parse)).collect();
    let mut scratch = Scratch::new();
    let whole =
        br#" {"z" : [1,{"q":"\\\""}], "a":{"b":["x",1.5e3,"\ud83d\ude00",true],"c":null}} "#;
    for end in 0..whole.len() {
        for byte in [b'"', b'\\', b'{', b']', 0xFF, 0, b'9'] {
            let mut event = whole.to_vec();
            event[end] = byte;
            for event in [&event[..], &event[..end], &event[end..]] {
                for trust in [Trust::Json, Trust::Plain] {
                    let _ = index.matches_json(&mut scratch, event, Duplicates::Refuse, trust);
                }
            }
        }
    }
    // Duplicate keys and keys with dots, in arrays and outside, although the caller claims that there are
    // none.
    let rules = [
        r#"{"a":{"b":["x"],"c":["y"]}}"#,
        r#"{"a":{"b":["x"],"c":[{"exists":false}]}}"#,
        r#"{"a":{"b":{"d":["x"],"e":["y"]},"c":["y"]}}"#,
        // No event has this key, so no walk ends early.
        r#"{"z":["z"]}"#,
    ];
    let index: RuleIndex<u32> = (0..).zip(rules.map(parse)).collect();
    let members = [
        r#""a":{"b":"z","c":"y"}"#,
        r#""a":[{"b":"x"},{"c":"y"},[{"b":"z","c":"z"}]]"#,
        r#""a":[{"b":[{"d":"x"},[{"e":"y"}]],"c":["y"]}]"#,
        r#""a.b":"x""#,
        r#""a.b":[["x"],"z"]"#,
        r#""a.c":["y",["z"]]"#,
        r#""a.b.d":"x""#,
        r#""a":{"b.e":["y"],"c":"z"}"#,
    ];
    for one in members {
        for other in members {
            for last in members {
                let event = format!("{{{one},{other},{last}}}");
                for trust in [Trust::Json, Trust::Plain] {
                    let event = event.as_bytes();
                    let _ = index.matches_json(&mut scratch, event, Duplicates::LastWins, trust);
                }
            }
        }
    }
    let deep = r#"{"a":"#.repeat(100_000);
    let error = index.matches_json(
        &mut scratch,
        deep.as_bytes(),
        Duplicates::Refuse,
        Trust::Json,
    );
    assert!(error.is_err());
}
