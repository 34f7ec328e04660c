//! The current place in a pattern during validation, and the errors found so far.
//!
//! A place is a linked list of borrowed steps on the stack. It becomes a JSON pointer only for an error. All
//! errors of a pattern are collected, up to a limit.

use crate::error::ParseError;
use crate::limits::ERRORS_MAX;
use crate::scalar::shorten;

/// A place in a pattern.
#[derive(Debug, Clone, Copy)]
pub(crate) enum JsonPlace<'a> {
    Top,
    Key(&'a JsonPlace<'a>, &'a str),
    Index(&'a JsonPlace<'a>, usize),
}

impl JsonPlace<'_> {
    /// The place as a JSON pointer (RFC 6901). Very long keys are cut, as in every excerpt.
    fn pointer(&self) -> String {
        let mut steps = Vec::new();
        let mut place = self;
        loop {
            place = match place {
                JsonPlace::Top => break,
                JsonPlace::Key(parent, key) => {
                    steps.push(shorten(key).replace('~', "~0").replace('/', "~1"));
                    parent
                }
                JsonPlace::Index(parent, index) => {
                    steps.push(index.to_string());
                    parent
                }
            };
        }
        steps.reverse();
        steps.iter().flat_map(|step| ["/", step]).collect()
    }
}

/// The errors of a pattern.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    found: Vec<ParseError>,
}

impl Errors {
    /// Adds one error.
    pub(crate) fn add(
        &mut self,
        offset: usize,
        place: &JsonPlace<'_>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.found.len() < ERRORS_MAX {
            self.found.push(ParseError {
                offset,
                pointer: place.pointer(),
                reason: reason.into(),
                remedy: remedy.into(),
            });
        }
    }

    /// The result if there are no errors, else the errors in reading order.
    pub(crate) fn or<T>(mut self, result: T) -> Result<T, Vec<ParseError>> {
        if self.found.is_empty() {
            return Ok(result);
        }
        self.found.sort_by_key(|error| error.offset);
        Err(self.found)
    }

    /// Whether there are errors.
    pub(crate) fn any(&self) -> bool {
        !self.found.is_empty()
    }
}
