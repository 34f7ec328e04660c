//! The list of faults that reading a manifest fills, and the spots they are at.
//!
//! Reading never stops at the first fault; the list is bounded instead. Never here: what is a fault.

use std::collections::HashSet;

use edgebus_model::error::Fault;

use super::tree::Place;

/// The most faults that are told at once.
pub const FAULTS_MAX: usize = 200;

/// A JSON pointer with the place it has in the text.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) pointer: String,
    pub(super) place: Place,
}

impl Spot {
    pub(super) fn new(pointer: String, place: Place) -> Self {
        Self { pointer, place }
    }
}

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults {
    found: Vec<Fault>,
    /// Where a value was refused as a whole: nothing more is said of it.
    refused: HashSet<Place>,
    left_out: usize,
}

impl Faults {
    /// Notes one more fault.
    pub(super) fn add(&mut self, at: &Spot, reason: impl Into<String>, remedy: impl Into<String>) {
        if self.refused.contains(&at.place) {
            return;
        }
        if self.is_full() {
            self.left_out += 1;
            return;
        }
        self.found.push(Fault {
            pointer: at.pointer.clone(),
            place: Some(at.place),
            reason: reason.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes a fault after which nothing more is to be said of the value at that place.
    pub(super) fn refuse(
        &mut self,
        at: &Spot,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(at, reason, remedy);
        self.refused.insert(at.place);
    }

    /// True when no more faults are kept, so that nobody works on their words.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= FAULTS_MAX
    }

    /// How many there are so far, the ones that are not kept included.
    pub(super) fn count(&self) -> usize {
        self.found.len() + self.left_out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them in the order of the text.
    pub(super) fn into_sorted(mut self) -> Vec<Fault> {
        self.found.sort_by_key(|fault| fault.place);
        if self.left_out > 0 {
            self.found.push(Fault {
                pointer: String::new(),
                place: None,
                reason: format!("{} more faults are not shown", self.left_out),
                remedy: "mend the ones above first".to_owned(),
            });
        }
        self.found
    }
}

/// `pointer` with one segment more.
pub(super) fn join(pointer: &str, segment: &str) -> String {
    let mut joined = pointer.to_owned();
    push_segment(&mut joined, segment);
    joined
}

/// Puts a segment behind `pointer`, escaped as RFC 6901 says.
pub(super) fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    for character in segment.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            character => pointer.push(character),
        }
    }
}

/// `text` as a message may show it: short, and without characters that steer a terminal.
pub(super) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let mut out: String = text
        .chars()
        .take(CHARACTERS_MAX)
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        out.push('…');
    }
    out
}
