//! `{"regex": "[a-z]+-[0-9]{3}"}`: a string that as a whole matches an expression in I-Regexp (RFC 9485).
//!
//! An extension of ours. I-Regexp is the part of regular expressions that every engine reads alike. It can be
//! matched in time linear in the string, whatever the expression. Everything else is refused, and the error
//! names it. Only this module uses the regex crate, whose compiled size is bounded. Only strings meet it.

mod i_regexp;

pub(crate) use i_regexp::{Anchors, translate};

use crate::limits::{REGEX_BYTES_MAX, REGEX_COMPILED_BYTES_MAX};
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{Scalar, quote};

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    /// The text as written.
    text: Box<str>,
    compiled: regex::Regex,
}

impl PartialEq for Operand {
    fn eq(&self, other: &Operand) -> bool {
        self.text == other.text
    }
}

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let Json::Text(text) = &node.json else {
        let reason = format!("regex takes a string, not {}", node.kind());
        let remedy = "write {\"regex\": \"…\"}, once for each alternative";
        errors.add(node.offset, place, reason, remedy);
        return None;
    };
    match Operand::compile(text) {
        Ok(operand) => Some(operand),
        Err((reason, remedy)) => {
            errors.add(node.offset, place, reason, remedy);
            None
        }
    }
}

impl Operand {
    /// Compiles an expression. An error says what is wrong and what to write instead.
    pub(crate) fn compile(text: &str) -> Result<Operand, (String, String)> {
        if text.len() > REGEX_BYTES_MAX {
            let reason = format!("a regex of more than {REGEX_BYTES_MAX} bytes, the limit");
            return Err((reason, "split it into several alternatives".to_owned()));
        }
        let translated = translate(text, Anchors::Refused)?;
        let built = regex::RegexBuilder::new(&translated)
            .size_limit(REGEX_COMPILED_BYTES_MAX)
            .dfa_size_limit(REGEX_COMPILED_BYTES_MAX)
            .build();
        match built {
            Ok(compiled) => Ok(Operand {
                text: text.into(),
                compiled,
            }),
            Err(regex::Error::CompiledTooBig(limit)) => {
                let reason =
                    format!("a regex that takes more than {limit} bytes compiled, the limit");
                Err((reason, "repeat less, or use smaller classes".to_owned()))
            }
            Err(error) => {
                let last = error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .to_owned();
                let reason = format!("not a regex: {}", crate::scalar::shorten(&last));
                Err((reason, "write it in I-Regexp (RFC 9485)".to_owned()))
            }
        }
    }

    /// Whether the value is a string that matches.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        match value {
            Scalar::Text(value) => self.compiled.is_match(value),
            _ => false,
        }
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!("{{\"regex\": {}}}", quote(&self.text))
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        format!("a string of the form {}", quote(&self.text))
    }
}
