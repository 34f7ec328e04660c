//! The event that inputs are made from.
//!
//! It is the event that patterns see, given member by member. It is printed as one JSON text or parsed into a
//! tree only if a transform needs that. The tree is made at most once, however many rules share it. Never
//! here: a change to the event.

use super::cut::{Found, OF_EVENT, PathTree};
use super::piece::quoted;
use crate::error::EventError;
use crate::event::Part;
use crate::json::Syntax;
use crate::tree::tree;
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// An event that inputs are made from.
#[derive(Debug)]
pub struct EventDocument<'a> {
    parts: &'a [Part<'a>],
    tree: OnceLock<Result<Value, EventError>>,
}

impl<'a> EventDocument<'a> {
    /// An event given by its top-level members, as for a match. Nothing is read yet.
    pub fn new(parts: &'a [Part<'a>]) -> Self {
        EventDocument {
            parts,
            tree: OnceLock::new(),
        }
    }

    /// The event as a tree, for [`Filter::holds`](crate::Filter::holds). The tree is made at the first call
    /// and kept. Making it takes several times as long as a match. A number is binary64 if 64 bits don't hold
    /// it, and a number beyond the range of binary64 counts as the largest one.
    ///
    /// # Errors
    /// An [`EventError`] when a part isn't JSON.
    pub fn tree(&self) -> Result<&Value, EventError> {
        let tree = self.tree.get_or_init(|| {
            let members = self.parts.iter().map(|part| match *part {
                Part::Text { name, value } => Ok((name.to_owned(), value.into())),
                Part::Raw { name, json } => match tree(json) {
                    Ok(value) => Ok((name.to_owned(), value)),
                    Err(error) => Err(EventError {
                        part: Some(name.to_owned()),
                        ..error
                    }),
                },
            });
            members.collect::<Result<Map<_, _>, _>>().map(Value::Object)
        });
        tree.as_ref().map_err(Clone::clone)
    }

    /// Writes the event as one JSON object, without the member called `except`.
    pub(super) fn print(&self, out: &mut Vec<u8>, except: Option<&str>) {
        out.push(b'{');
        let mut first = true;
        for (index, part) in self.parts.iter().enumerate() {
            let name = name(part);
            let later = &self.parts[index + 1..];
            if Some(name) == except || later.iter().any(|other| self::name(other) == name) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            quoted(out, name);
            out.push(b':');
            match part {
                Part::Text { value, .. } => quoted(out, value),
                Part::Raw { json, .. } => out.extend(json.trim_ascii()),
            }
        }
        out.push(b'}');
    }

    /// Looks up the values at these paths and fills their slots.
    pub(super) fn cut(
        &self,
        paths: &PathTree,
        slots: usize,
    ) -> Result<Vec<Option<Found<'a>>>, EventError> {
        let mut found = vec![None; slots];
        for (index, part) in self.parts.iter().enumerate() {
            let name = name(part);
            let Some(place) = paths.top(name) else {
                continue;
            };
            let later = &self.parts[index + 1..];
            if later.iter().any(|other| self::name(other) == name) {
                continue;
            }
            match *part {
                Part::Text { value, .. } => paths.fill_text(place, value, &mut found),
                Part::Raw { json, .. } => paths
                    .fill(place, json, OF_EVENT, &mut found)
                    .map_err(|syntax| input_error(syntax, name))?,
            }
        }
        Ok(found)
    }
}

fn name<'a>(part: &Part<'a>) -> &'a str {
    let (Part::Text { name, .. } | Part::Raw { name, .. }) = *part;
    name
}

fn input_error(syntax: Syntax, part: &str) -> EventError {
    EventError {
        offset: syntax.offset,
        part: Some(part.to_owned()),
        reason: syntax.reason.into_owned(),
    }
}
