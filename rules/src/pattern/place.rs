//! Where validation is in a pattern, and what it has found wrong so far.
//!
//! A place is a chain of borrowed steps on the stack; only a fault pays for turning it into a JSON
//! pointer. All faults of a pattern are collected, up to a bound; none stops the others.

use crate::error::Fault;
use crate::limits::FAULTS_MAX;

/// A place in a pattern.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    Top,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    /// The place as a JSON pointer (RFC 6901).
    fn pointer(&self) -> String {
        let mut steps = Vec::new();
        let mut place = self;
        loop {
            place = match place {
                Place::Top => break,
                Place::Key(parent, key) => {
                    steps.push(key.replace('~', "~0").replace('/', "~1"));
                    parent
                }
                Place::Index(parent, index) => {
                    steps.push(index.to_string());
                    parent
                }
            };
        }
        steps.reverse();
        steps.iter().flat_map(|step| ["/", step]).collect()
    }
}

/// What is wrong with a pattern.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    found: Vec<Fault>,
}

impl Faults {
    /// Notes one fault.
    pub(crate) fn add(
        &mut self,
        offset: usize,
        place: &Place<'_>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.found.len() < FAULTS_MAX {
            self.found.push(Fault {
                offset,
                pointer: place.pointer(),
                reason: reason.into(),
                remedy: remedy.into(),
            });
        }
    }

    /// The result, if nothing was found wrong; else the faults in reading order.
    pub(crate) fn or<T>(mut self, result: T) -> Result<T, Vec<Fault>> {
        if self.found.is_empty() {
            return Ok(result);
        }
        self.found.sort_by_key(|fault| fault.offset);
        Err(self.found)
    }

    /// Whether anything was found wrong.
    pub(crate) fn any(&self) -> bool {
        !self.found.is_empty()
    }
}
