//! `{"wildcard": "a*b"}`: `*` stands for any run of characters, also none.
//!
//! `\*` and `\\` are the characters themselves; every other escape, a lone `\` at the end, and `**`
//! are refused. Matching takes the pieces between the stars leftmost first, which is right because
//! a star may take up whatever lies between, and never comes back. Only strings meet it.

use crate::limits::WILDCARD_STARS_MAX;
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Faults, Place};
use crate::scalar::{Scalar, quote};

/// A string with holes.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    /// As written.
    text: Box<str>,
    /// What comes before the first star; the whole when there is none.
    first: Box<str>,
    /// What follows each star.
    rest: Box<[Box<str>]>,
}

/// Reads the operand.
pub(crate) fn parse(node: &Node<'_>, place: &Place<'_>, faults: &mut Faults) -> Option<Operand> {
    let Json::Text(text) = &node.json else {
        let reason = format!("wildcard takes a string, not {}", node.kind());
        let remedy = "write {\"wildcard\": \"…*…\"}, once for each alternative";
        faults.add(node.offset, place, reason, remedy);
        return None;
    };
    match Operand::compile(text) {
        Ok(operand) => Some(operand),
        Err((reason, remedy)) => {
            faults.add(node.offset, place, reason, remedy);
            None
        }
    }
}

impl Operand {
    /// Splits the text at its stars; else what is wrong and how to write it right.
    pub(crate) fn compile(text: &str) -> Result<Operand, (String, &'static str)> {
        let mut pieces = vec![String::new()];
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let literal = match character {
                '*' if characters.peek() == Some(&'*') => {
                    return Err(("`**` in a wildcard".to_owned(), "write one `*`"));
                }
                '*' => {
                    pieces.push(String::new());
                    continue;
                }
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '\\')) => escaped,
                    Some(other) => {
                        let reason = format!("unknown escape `\\{other}` in a wildcard");
                        return Err((reason, "write `\\*` for a star and `\\\\` for a backslash"));
                    }
                    None => {
                        let reason = "a wildcard ends with a lone backslash".to_owned();
                        return Err((reason, "write `\\\\` for a backslash"));
                    }
                },
                other => other,
            };
            if let Some(piece) = pieces.last_mut() {
                piece.push(literal);
            }
        }
        let stars = pieces.len() - 1;
        if stars > WILDCARD_STARS_MAX {
            let reason = format!(
                "a wildcard of {stars} stars; the complexity limit is {WILDCARD_STARS_MAX}"
            );
            return Err((reason, "use fewer stars, or `prefix` and `suffix`"));
        }
        let mut pieces = pieces.into_iter().map(String::into_boxed_str);
        Ok(Operand {
            text: text.into(),
            first: pieces.next().unwrap_or_default(),
            rest: pieces.collect(),
        })
    }

    /// Whether the value is a string of this shape.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        match value {
            Scalar::Text(value) => self.matches_text(value),
            _ => false,
        }
    }

    fn matches_text(&self, value: &str) -> bool {
        let Some(mut open) = value.strip_prefix(&*self.first) else {
            return false;
        };
        let Some((last, middle)) = self.rest.split_last() else {
            return open.is_empty();
        };
        for piece in middle {
            match open.find(&**piece) {
                Some(at) => open = &open[at + piece.len()..],
                None => return false,
            }
        }
        open.ends_with(&**last)
    }

    /// What every value of this shape starts with, and what follows each star; none where that
    /// isn't literally so.
    pub(crate) fn anchors(&self) -> Option<(&str, &[Box<str>])> {
        Some((&self.first, &self.rest))
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!("{{\"wildcard\": {}}}", quote(&self.text))
    }
}
