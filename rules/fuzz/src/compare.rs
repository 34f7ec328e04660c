//! One event, asked of every matcher in every manner: they have to say the same.

use crate::shape;
use edgebus_rules::{
    Duplicates, EventError, Matches, Part, Pattern, RuleIndex, RuleSet, Scratch, Trust, explain,
    explain_json,
};

/// A set of rules, in both matchers.
pub struct Rules {
    /// The fast one.
    pub index: RuleIndex<u32>,
    /// The plain one.
    pub plain: RuleSet<u32>,
    /// Some of the rules, which are explained.
    pub explained: Vec<(u32, Pattern)>,
}

type Answer = Result<Vec<u32>, EventError>;

fn keys(matches: Result<Matches<'_, u32>, EventError>) -> Answer {
    matches.map(|keys| keys.copied().collect())
}

fn copied(keys: Result<Vec<&u32>, EventError>) -> Answer {
    keys.map(|keys| keys.into_iter().copied().collect())
}

/// Whether an error is one of the text, rather than of what rules make of it.
fn is_of_text(error: &EventError) -> bool {
    !error.reason.contains("twice") && !is_of_spellings(error)
}

fn is_of_spellings(error: &EventError) -> bool {
    error.reason.starts_with("the event spells paths")
}

/// An event, as either matcher takes it.
#[derive(Clone, Copy)]
enum Event<'e> {
    Document(&'e [u8]),
    Parts(&'e [Part<'e>]),
}

/// Compares everything that can be asked of a whole event; the keys of the matching rules, if it is
/// one.
pub fn document(rules: &Rules, scratch: &mut Scratch, event: &[u8]) -> Option<Vec<u32>> {
    let plain = std::str::from_utf8(event).is_ok_and(shape::is_plain);
    let answer = every_manner(rules, scratch, Event::Document(event), plain);
    if let Some(valid) = shape::is_event(event) {
        let refused = answer.as_ref().is_err_and(is_of_text);
        assert_eq!(
            valid, !refused,
            "serde_json says {valid}, we say {answer:?}"
        );
    }
    answer.ok()
}

/// The same for an event in parts. `texts` has a bit for each member that comes as a decoded string,
/// if it is one.
pub fn parts(rules: &Rules, scratch: &mut Scratch, event: &[u8], texts: usize) {
    let Some(members) = shape::members(event) else {
        return;
    };
    let strings: Vec<Option<String>> = (0..)
        .zip(&members)
        .map(|(place, (_, value))| {
            let string = serde_json::from_str(value.get()).ok();
            string.filter(|_| texts >> (place % 8) & 1 == 1)
        })
        .collect();
    let parts: Vec<Part<'_>> = members
        .iter()
        .zip(&strings)
        .map(|((name, value), string)| match string {
            Some(value) => Part::Text { name, value },
            None => Part::Raw {
                name,
                json: value.get().as_bytes(),
            },
        })
        .collect();
    let plain = std::str::from_utf8(event).is_ok_and(shape::is_plain);
    drop(every_manner(rules, scratch, Event::Parts(&parts), plain));
}

/// What all answer where the last of equal keys counts.
fn every_manner(rules: &Rules, scratch: &mut Scratch, event: Event<'_>, plain: bool) -> Answer {
    let of_set = |duplicates| match event {
        Event::Document(bytes) => copied(rules.plain.matches_json(bytes, duplicates)),
        Event::Parts(parts) => copied(rules.plain.matches(parts, duplicates)),
    };
    let mut of_index = |duplicates, trust| match event {
        Event::Document(bytes) => keys(rules.index.matches_json(scratch, bytes, duplicates, trust)),
        Event::Parts(parts) => keys(rules.index.matches(scratch, parts, duplicates, trust)),
    };
    let vouched = match event {
        Event::Document(bytes) => Trust::of_json(bytes),
        Event::Parts(parts) => Trust::of(parts),
    };
    assert!(plain || vouched != Ok(Trust::Plain), "vouched for too much");
    let answer = of_set(Duplicates::LastWins);
    let of_text = answer.as_ref().is_err_and(is_of_text);
    for duplicates in [Duplicates::LastWins, Duplicates::Refuse] {
        // The index looks for errors of the text before it looks at keys; the set meets both at once.
        let wanted = if of_text {
            answer.clone()
        } else {
            of_set(duplicates)
        };
        let got = of_index(duplicates, Trust::Unchecked);
        assert_eq!(got, wanted, "unchecked, {duplicates:?}: index, set");
        let got = of_index(duplicates, Trust::Json);
        if !of_text {
            assert_eq!(got, wanted, "JSON, {duplicates:?}: index, set");
        }
        // Where it isn't true, it still must not panic.
        let got = of_index(duplicates, Trust::Plain);
        if plain && !of_text {
            assert_eq!(got, wanted, "plain, {duplicates:?}: index, set");
        }
    }
    for (key, pattern) in &rules.explained {
        let explained = match event {
            Event::Document(bytes) => explain_json(pattern, bytes),
            Event::Parts(parts) => explain(pattern, parts),
        };
        match (&answer, explained) {
            (Ok(keys), Ok(explained)) => {
                assert_eq!(
                    explained.matched,
                    keys.contains(key),
                    "explain of {key}, set"
                );
                drop(explained.to_string());
            }
            // It asks every sub-rule, the matchers only until one matches.
            (Ok(_), Err(error)) => assert!(is_of_spellings(&error), "{error}"),
            (Err(_), explained) if !of_text => drop(explained),
            (Err(error), explained) => assert_eq!(explained.as_ref(), Err(error)),
        }
    }
    answer
}
