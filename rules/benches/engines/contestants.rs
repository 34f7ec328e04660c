//! The matchers, behind one face: an event in, the number of hits out.

use edgebus_rules::{Duplicates, ParseOptions, Pattern, RuleIndex, RuleSet, Scratch, Trust};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

static EXPECTED_TO_PANIC: AtomicBool = AtomicBool::new(false);

/// Whether a panic now is the peer's and only to be told in its cell.
pub(crate) fn expected_to_panic() -> bool {
    EXPECTED_TO_PANIC.load(Ordering::Relaxed)
}

/// An event in, its hits out.
type Matcher = Box<dyn FnMut(&[u8]) -> usize>;

/// A matcher with its rules.
pub(crate) struct Contestant {
    matcher: Matcher,
    may_panic: bool,
}

impl Contestant {
    pub(crate) fn hits(&mut self, event: &str) -> usize {
        (self.matcher)(event.as_bytes())
    }

    /// Hits on all events; none if it panics.
    pub(crate) fn total(&mut self, events: &[&str]) -> Option<usize> {
        EXPECTED_TO_PANIC.store(self.may_panic, Ordering::Relaxed);
        let total = catch_unwind(AssertUnwindSafe(|| {
            events.iter().map(|event| self.hits(event)).sum()
        }));
        EXPECTED_TO_PANIC.store(false, Ordering::Relaxed);
        total.ok()
    }
}

/// A matcher that can run, or what became of it.
pub(crate) enum Outcome {
    Ready(Contestant),
    Told(&'static str),
}

pub(crate) fn parse(text: &str) -> Pattern {
    Pattern::parse(text.as_bytes(), &ParseOptions::default()).expect("the rule is valid")
}

pub(crate) fn index(rules: &[String]) -> RuleIndex<u32> {
    (0..).zip(rules.iter().map(|text| parse(text))).collect()
}

fn ours(index: RuleIndex<u32>, trust: Trust) -> Outcome {
    let mut scratch = Scratch::new();
    ready(move |event| {
        let keys = index.matches_json(&mut scratch, event, Duplicates::LastWins, trust);
        let keys = keys.expect("the event is valid");
        keys.map(|key| std::hint::black_box(usize::from(*key < u32::MAX)))
            .sum()
    })
}

fn ready(matcher: impl FnMut(&[u8]) -> usize + 'static) -> Outcome {
    Outcome::Ready(Contestant {
        matcher: Box::new(matcher),
        may_panic: false,
    })
}

fn quamina(rules: &[String]) -> Outcome {
    EXPECTED_TO_PANIC.store(true, Ordering::Relaxed);
    let built = catch_unwind(AssertUnwindSafe(|| {
        let mut matcher = quamina::Quamina::<u32>::new();
        for (number, text) in (0..).zip(rules) {
            matcher.add_pattern(number, text).ok()?;
        }
        Some(matcher)
    }));
    EXPECTED_TO_PANIC.store(false, Ordering::Relaxed);
    match built {
        Err(_) => Outcome::Told("panics"),
        Ok(None) => Outcome::Told("refuses"),
        Ok(Some(matcher)) => Outcome::Ready(Contestant {
            matcher: Box::new(move |event| {
                matcher
                    .matches_for_event(event)
                    .map_or(0, |keys| keys.len())
            }),
            may_panic: true,
        }),
    }
}

fn naive(rules: &[String]) -> Outcome {
    let set = RuleSet::new((0_u32..).zip(rules.iter().map(|text| parse(text))));
    ready(move |event| {
        let keys = set.matches_json(event, Duplicates::LastWins);
        keys.expect("the event is valid").len()
    })
}

/// All matchers with these rules: ours first, trusting its shape, trusting the
/// syntax only, and checking everything.
pub(crate) fn contestants(rules: &[String], with_naive: bool) -> Vec<(String, Outcome)> {
    let index = index(rules);
    let json =
        |event: &[u8]| usize::from(serde_json::from_slice::<serde::de::IgnoredAny>(event).is_ok());
    let naive = if with_naive {
        naive(rules)
    } else {
        Outcome::Told("-")
    };
    let all = [
        ("ours", ours(index.clone(), Trust::Plain)),
        ("trusting", ours(index.clone(), Trust::Json)),
        ("checking", ours(index, Trust::Unchecked)),
        ("quamina", quamina(rules)),
        ("naive", naive),
        ("json", ready(json)),
    ];
    all.into_iter()
        .map(|(name, outcome)| (name.to_owned(), outcome))
        .collect()
}

/// How many events each rule matches, by the index.
pub(crate) fn hits_of_each(rules: &[String], events: &[&str]) -> Vec<usize> {
    let index = index(rules);
    let mut scratch = Scratch::new();
    let mut hits = vec![0; rules.len()];
    for event in events {
        let keys = index.matches_json(
            &mut scratch,
            event.as_bytes(),
            Duplicates::Refuse,
            Trust::Unchecked,
        );
        for key in keys.expect("the event is valid") {
            hits[*key as usize] += 1;
        }
    }
    hits
}
