//! What the forms of a template share during compilation: paths become slots, and text becomes pieces.
//!
//! Equal paths share a slot, adjacent constant text becomes one piece, and every bound on a template is
//! checked here. Never here: the syntax of a form.

use super::Transform;
use super::cut::PathTree;
use super::piece::{Piece, Source, escaped};
use crate::error::ParseError;
use crate::filter::Filter;
use crate::limits::{TEMPLATE_PATHS_MAX, TEMPLATE_PLACEHOLDERS_MAX};
use std::collections::HashMap;

/// A transform while it is compiled.
pub(super) struct Compiler<'c> {
    /// Aliases of a path's first member.
    aliases: &'c [(&'c str, &'c str)],
    pieces: Vec<Piece>,
    /// Constant text that is not in a piece yet.
    pending: Vec<u8>,
    known: HashMap<String, Source>,
    paths: PathTree,
    slots: usize,
    queries: Vec<Filter>,
    placeholders: usize,
}

impl<'c> Compiler<'c> {
    pub(super) fn new(aliases: &'c [(&'c str, &'c str)]) -> Self {
        Compiler {
            aliases,
            pieces: Vec::new(),
            pending: Vec::new(),
            known: HashMap::new(),
            paths: PathTree::new(),
            slots: 0,
            queries: Vec::new(),
            placeholders: 0,
        }
    }

    /// Adds constant JSON text.
    pub(super) fn literal(&mut self, json: &str) {
        self.pending.extend(json.as_bytes());
    }

    /// Adds constant text inside a string.
    pub(super) fn text(&mut self, text: &str) {
        escaped(&mut self.pending, text);
    }

    /// Adds a piece that stands for a value of the event or the context.
    pub(super) fn piece(&mut self, piece: Piece) {
        self.placeholders += 1;
        self.flush();
        self.pieces.push(piece);
    }

    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            // All of it came from text.
            let text = String::from_utf8_lossy(&pending).into_owned();
            self.pieces.push(Piece::Literal(text.into()));
        }
    }

    /// What a JSONPath stands for. The offset of an error counts bytes of the path.
    pub(super) fn source(&mut self, path: &str) -> Result<Source, ParseError> {
        if let Some(known) = self.known.get(path) {
            return Ok(*known);
        }
        if self.known.len() >= TEMPLATE_PATHS_MAX {
            let reason = format!("more than {TEMPLATE_PATHS_MAX} different paths, the limit");
            return Err(input_error(
                reason,
                "insert a larger part of the event at once",
            ));
        }
        let mut query = Filter::parse(path)?;
        query.rename_top(self.aliases);
        let source = match query.steps() {
            Some(steps) if steps.is_empty() => Source::Event,
            Some(steps) => {
                self.paths.add(&steps, self.slots);
                self.slots += 1;
                Source::JsonPlace(self.slots - 1)
            }
            None => {
                self.queries.push(query);
                Source::Query(self.queries.len() - 1)
            }
        };
        self.known.insert(path.to_owned(), source);
        Ok(source)
    }

    /// The error of the template as a whole, if it has one.
    pub(super) fn excess(&self) -> Option<ParseError> {
        (self.placeholders > TEMPLATE_PLACEHOLDERS_MAX).then(|| {
            let reason = format!("more than {TEMPLATE_PLACEHOLDERS_MAX} placeholders, the limit");
            input_error(reason, "insert a larger part of the event at once")
        })
    }

    /// The finished transform. `missing` is the JSON value for a place that the event doesn't have.
    pub(super) fn finish(mut self, missing: &'static str) -> Transform {
        self.flush();
        let queries = self.asked();
        Transform {
            pieces: self.pieces.into(),
            paths: self.paths,
            slots: self.slots,
            queries,
            missing,
            unused: Box::default(),
        }
    }

    /// The queries that pieces need. Gives each piece the new number of its query. In EventBridge's form a
    /// name may have a path but no placeholder. Its query is left out, because it would need a tree of the
    /// event for nothing.
    fn asked(&mut self) -> Box<[Filter]> {
        let mut asked = Vec::new();
        for piece in &mut self.pieces {
            if let Piece::Value(Source::Query(query)) | Piece::Text(Source::Query(query)) = piece {
                let known = asked.iter().position(|known| known == query);
                let place = known.unwrap_or(asked.len());
                if known.is_none() {
                    asked.push(*query);
                }
                *query = place;
            }
        }
        let asked = asked
            .into_iter()
            .filter_map(|query| self.queries.get(query));
        asked.cloned().collect()
    }
}

fn input_error(reason: String, remedy: &str) -> ParseError {
    ParseError {
        offset: 0,
        pointer: String::new(),
        reason,
        remedy: remedy.to_owned(),
    }
}
