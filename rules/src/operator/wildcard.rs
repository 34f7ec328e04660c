//! `{"wildcard": "a*b"}`: `*` stands for any run of characters, even an empty one. In an extension of ours,
//! `{"wildcard": {"equals-ignore-case": "a*b"}}`, the other characters match in any letter case.
//!
//! `\*` and `\\` stand for the characters themselves. Every other escape, a lone `\` at the end, and `**` are
//! refused. The pieces between the stars are matched leftmost first, without backtracking. This is correct
//! because a star may match everything that lies between. Only strings meet it.

use super::equals_ignore_case::{strip_back, strip_front};
use crate::limits::{WILDCARD_IGNORING_CASE_CHARACTERS_MAX, WILDCARD_STARS_MAX};
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{Scalar, quote};

/// A string with stars.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    /// The text as written.
    text: Box<str>,
    /// The text before the first star. The whole text if there is none.
    first: Box<str>,
    /// The text after each star.
    rest: Box<[Box<str>]>,
    /// Whether letter case is ignored.
    ignore_case: bool,
}

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let (text, ignore_case) = match &node.json {
        Json::Text(text) => (text, false),
        Json::Object(members) => match members.as_slice() {
            [only] if only.key == "equals-ignore-case" => match &only.value.json {
                Json::Text(text) => (text, true),
                _ => {
                    let kind = only.value.kind();
                    let reason = format!("equals-ignore-case takes a string, not {kind}");
                    errors.add(only.value.offset, place, reason, REMEDY);
                    return None;
                }
            },
            _ => {
                let reason = "wildcard takes a string, or an object with equals-ignore-case";
                errors.add(node.offset, place, reason, REMEDY);
                return None;
            }
        },
        _ => {
            let reason = format!("wildcard takes a string, not {}", node.kind());
            errors.add(node.offset, place, reason, REMEDY);
            return None;
        }
    };
    match Operand::compile(text, ignore_case) {
        Ok(operand) => Some(operand),
        Err((reason, remedy)) => {
            errors.add(node.offset, place, reason, remedy);
            None
        }
    }
}

const REMEDY: &str = "write {\"wildcard\": \"…*…\"}, or {\"wildcard\": {\"equals-ignore-case\": \"…*…\"}}, \
                      once for each alternative";

impl Operand {
    /// Splits the text at its stars. An error says what is wrong and what to write instead.
    pub(crate) fn compile(
        text: &str,
        ignore_case: bool,
    ) -> Result<Operand, (String, &'static str)> {
        if ignore_case && text.chars().count() > WILDCARD_IGNORING_CASE_CHARACTERS_MAX {
            let reason = format!(
                "a wildcard that ignores letter case, of more than \
                 {WILDCARD_IGNORING_CASE_CHARACTERS_MAX} characters, the limit"
            );
            return Err((reason, "write a shorter one"));
        }
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
            ignore_case,
        })
    }

    /// Whether the value is a string of this shape.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        match value {
            Scalar::Text(value) if self.ignore_case => {
                self.matches_text(value, strip_front, after_first, strip_back)
            }
            Scalar::Text(value) => self.matches_text(
                value,
                |piece, value| value.strip_prefix(piece),
                |piece, value| Some(&value[value.find(piece)? + piece.len()..]),
                |piece, value| value.strip_suffix(piece),
            ),
            _ => false,
        }
    }

    fn matches_text<'v>(
        &self,
        value: &'v str,
        front: impl Fn(&str, &'v str) -> Option<&'v str>,
        after_first: impl Fn(&str, &'v str) -> Option<&'v str>,
        back: impl Fn(&str, &'v str) -> Option<&'v str>,
    ) -> bool {
        let Some(mut open) = front(&self.first, value) else {
            return false;
        };
        let Some((last, middle)) = self.rest.split_last() else {
            return open.is_empty();
        };
        for piece in middle {
            match after_first(piece, open) {
                Some(rest) => open = rest,
                None => return false,
            }
        }
        back(last, open).is_some()
    }

    /// The text with which every value of this shape starts, and the text after each star. `None` if letter
    /// case is ignored, because then there is no fixed text.
    pub(crate) fn anchors(&self) -> Option<(&str, &[Box<str>])> {
        (!self.ignore_case).then_some((&self.first, &self.rest))
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        let text = quote(&self.text);
        if self.ignore_case {
            return format!("{{\"wildcard\": {{\"equals-ignore-case\": {text}}}}}");
        }
        format!("{{\"wildcard\": {text}}}")
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        let text = quote(&self.text);
        if self.ignore_case {
            return format!("a string like {text} in any letter case");
        }
        format!("a string like {text}")
    }
}

/// The rest of the value after the earliest end of the piece in any letter case. The forms of a character may
/// have different lengths, so the piece that starts first need not end first.
fn after_first<'v>(piece: &str, value: &'v str) -> Option<&'v str> {
    let mut longest: Option<&str> = None;
    let starts = value.char_indices().map(|(start, _)| start);
    for start in starts.chain([value.len()]) {
        if longest.is_some_and(|rest| value.len() - start < rest.len()) {
            break;
        }
        if let Some(rest) = strip_front(piece, &value[start..])
            && longest.is_none_or(|longest| rest.len() > longest.len())
        {
            longest = Some(rest);
        }
    }
    longest
}
