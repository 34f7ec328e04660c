//! The list of errors found in a manifest, with their places.
//!
//! Reading does not stop at the first error; the list is bounded. Never here: what is an error.

use std::collections::HashSet;

use edgebus_model::error::InputError;

use super::tree::LineColumn;

/// The most errors that are reported at once.
pub const ERRORS_MAX: usize = 200;

/// A JSON pointer with the place it has in the text.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) pointer: String,
    pub(super) place: LineColumn,
}

impl Spot {
    pub(super) fn new(pointer: String, place: LineColumn) -> Self {
        Self { pointer, place }
    }
}

/// The errors found so far.
#[derive(Default)]
pub(super) struct Errors {
    found: Vec<InputError>,
    /// Where a value was refused as a whole: nothing more is said of it.
    refused: HashSet<LineColumn>,
    left_out: usize,
}

impl Errors {
    /// Notes one more error.
    pub(super) fn add(&mut self, at: &Spot, reason: impl Into<String>, remedy: impl Into<String>) {
        if self.refused.contains(&at.place) {
            return;
        }
        if self.is_full() {
            self.left_out += 1;
            return;
        }
        self.found.push(InputError {
            pointer: at.pointer.clone(),
            place: Some(at.place),
            reason: reason.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes an error after which nothing more is to be said of the value at that place.
    pub(super) fn refuse(
        &mut self,
        at: &Spot,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(at, reason, remedy);
        self.refused.insert(at.place);
    }

    /// True when no more errors are kept, so that nobody needs to write their messages.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= ERRORS_MAX
    }

    /// How many there are so far, the ones that are not kept included.
    pub(super) fn count(&self) -> usize {
        self.found.len() + self.left_out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them in the order of the text.
    pub(super) fn into_sorted(mut self) -> Vec<InputError> {
        self.found.sort_by_key(|error| error.place);
        if self.left_out > 0 {
            self.found.push(InputError {
                pointer: String::new(),
                place: None,
                reason: format!("{} more errors are not shown", self.left_out),
                remedy: "fix the ones above first".to_owned(),
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
