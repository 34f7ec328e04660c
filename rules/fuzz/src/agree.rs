//! A session of edits and events, made of bytes, with both matchers.

use crate::choices::Choices;
use crate::compare::{self, Rules};
use crate::{event, pattern};
use edgebus_rules::lint::{Coverage, Scope, Shape, dead_ends, is_within};
use edgebus_rules::{ParseOptions, Pattern, RuleIndex, RuleSet, Scratch};

/// Steps of one session: what comes after them is left out.
const STEPS_MAX: usize = 24;
/// Rules that are alike and come or go together.
const SIBLINGS_MAX: usize = 90;
/// Snapshots that are kept until the end.
const SNAPSHOTS_MAX: usize = 2;
/// Rules that are explained, and that proofs are asked for.
const EXPLAINED_MAX: usize = 12;
/// Texts of rules that events are made from.
const TEXTS_MAX: usize = 6;
/// The first key of siblings; below it are the keys of single rules.
const SIBLINGS: u32 = 16;

/// What a session reached: how far the bytes led past the parser.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Patterns written.
    pub patterns: usize,
    /// Those that are valid.
    pub parsed: usize,
    /// Events written.
    pub events: usize,
    /// Those that were accepted.
    pub accepted: usize,
    /// Those that some rule matched.
    pub matched: usize,
    /// The alternatives that were met by an event, as patterns write them; on request only.
    pub met: Vec<String>,
}

struct Session {
    index: RuleIndex<u32>,
    /// The rules in the order in which their keys were added.
    model: Vec<(u32, Pattern)>,
    /// The texts of the latest rules, for events to meet.
    texts: Vec<String>,
    scratch: Scratch,
    snapshots: Vec<Rules>,
    reached: Reached,
    /// Whether to note which alternatives are met.
    noting: bool,
    /// Whether to print each step before it is taken: `EDGEBUS_SHOW` is set.
    showing: bool,
}

/// Plays one session.
///
/// # Panics
/// Where the matchers don't agree, or an edit isn't what it says.
pub fn run(bytes: &[u8], noting: bool) -> Reached {
    let mut choices = Choices::new(bytes);
    let mut session = Session {
        index: RuleIndex::new(),
        model: Vec::new(),
        texts: Vec::new(),
        scratch: Scratch::new(),
        snapshots: Vec::new(),
        reached: Reached::default(),
        noting,
        showing: std::env::var_os("EDGEBUS_SHOW").is_some(),
    };
    session.show(format_args!("session"));
    let mut last = b"{}".to_vec();
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        match choices.below(16) {
            0..=5 => {
                let key = choices.below(usize::from(SIBLINGS as u16)) as u32;
                let text = pattern::write(&mut choices);
                session.insert(key, &text);
            }
            6 => session.remove(choices.below(16) as u32),
            7 => session.siblings(&mut choices),
            8 if session.snapshots.len() < SNAPSHOTS_MAX => {
                session.show(format_args!("snapshot"));
                let rules = session.rules();
                session.snapshots.push(rules);
            }
            _ => last = session.event(&mut choices),
        }
    }
    for rules in std::mem::take(&mut session.snapshots) {
        compare::document(&rules, &mut session.scratch, &last);
    }
    for (key, _) in std::mem::take(&mut session.model) {
        assert!(session.index.remove(&key), "rule {key} was not there");
    }
    assert!(session.index.is_empty(), "something is left behind");
    let rules = session.rules();
    compare::document(&rules, &mut session.scratch, &last);
    session.reached
}

impl Session {
    fn place(&self, key: u32) -> Option<usize> {
        self.model.iter().position(|(known, _)| *known == key)
    }

    fn show(&self, step: std::fmt::Arguments<'_>) {
        if self.showing {
            println!("{step}");
        }
    }

    fn insert(&mut self, key: u32, text: &str) {
        self.show(format_args!("insert {key}: {text}"));
        self.reached.patterns += 1;
        let Ok(pattern) = Pattern::parse(text.as_bytes(), &ParseOptions::default()) else {
            return;
        };
        self.reached.parsed += 1;
        if self.texts.len() == TEXTS_MAX {
            self.texts.remove(0);
        }
        self.texts.push(text.to_owned());
        let known = self.place(key);
        assert_eq!(
            self.index.insert(key, &pattern),
            known.is_none(),
            "rule {key}"
        );
        match known {
            Some(place) => self.model[place].1 = pattern,
            None => self.model.push((key, pattern)),
        }
        self.counted(key);
    }

    fn remove(&mut self, key: u32) {
        self.show(format_args!("remove {key}"));
        let known = self.place(key);
        assert_eq!(self.index.remove(&key), known.is_some(), "rule {key}");
        known.map(|place| self.model.remove(place));
        self.counted(key);
    }

    fn counted(&self, key: u32) {
        let known = self.place(key).is_some();
        let (count, found) = (self.index.len(), self.index.contains(&key));
        assert_eq!((count, found), (self.model.len(), known), "rule {key}");
    }

    /// Adds rules that are alike, or takes some of them away.
    fn siblings(&mut self, choices: &mut Choices<'_>) {
        let count = choices.below(SIBLINGS_MAX) as u32;
        if choices.below(4) == 0 {
            let step = choices.below(3) + 1;
            for number in (0..count).step_by(step) {
                self.remove(SIBLINGS + number);
            }
            return;
        }
        let (kind, name) = (choices.below(10), pattern::name(choices));
        // Some are the same, so that they wait at one place.
        let alike = choices.below(3) + 1;
        for number in 0..count {
            let text = pattern::sibling(kind, &name, number as usize / alike);
            self.insert(SIBLINGS + number, &text);
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            index: self.index.clone(),
            plain: RuleSet::new(self.model.clone()),
            explained: self.model.iter().take(EXPLAINED_MAX).cloned().collect(),
        }
    }

    fn event(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let text = event::write(choices, &self.texts);
        let texts = choices.below(256);
        let corrupt = choices.below(8) == 7;
        let event = if corrupt {
            event::corrupt(choices, text)
        } else {
            text.into_bytes()
        };
        self.show(format_args!("event: {}", String::from_utf8_lossy(&event)));
        let rules = self.rules();
        self.reached.events += 1;
        if let Some(keys) = compare::document(&rules, &mut self.scratch, &event) {
            self.reached.accepted += 1;
            self.reached.matched += usize::from(!keys.is_empty());
            self.proofs(&rules, &keys, &event);
        }
        compare::parts(&rules, &mut self.scratch, &event, texts);
        event
    }

    /// What lint has proved of patterns holds for this event.
    fn proofs(&mut self, rules: &Rules, keys: &[u32], event: &[u8]) {
        for (key, pattern) in &rules.explained {
            let mut coverage = Coverage::new(pattern);
            // It asks every sub-rule, the matchers only until one matches.
            let Ok(matched) = coverage.observe_json(event) else {
                continue;
            };
            assert_eq!(matched, keys.contains(key), "coverage of {key}, set");
            let report = coverage.report();
            if self.noting {
                let met = report.alternatives.iter().filter(|one| one.events > 0);
                self.reached
                    .met
                    .extend(met.map(|one| one.alternative.clone()));
            }
            let ends = dead_ends(pattern, &Shape::default());
            assert!(
                !(ends.never && matched),
                "rule {key} never matches, but did"
            );
            for end in ends.found.iter().filter(|end| !end.unless_dotted) {
                if let Scope::SubRule(sub_rule) = end.scope {
                    let reached = report.sub_rules[sub_rule];
                    assert_eq!(reached, 0, "sub-rule {sub_rule} of {key}: {}", end.reason);
                }
            }
            let others = rules.explained.iter().filter(|_| matched).take(4);
            for (other, wide) in others.filter(|(other, _)| !keys.contains(other)) {
                assert!(
                    !is_within(pattern, wide),
                    "{key} is within {other}, which didn't match"
                );
            }
        }
    }
}
