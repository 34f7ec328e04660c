//! A pattern: parses text into validated sub-rules.
//!
//! There are four steps. The text becomes a tree with places (`document`). The tree's objects become fields
//! and disjunctions (`fields`). Each field's list becomes its alternatives (`leaf`). Every `$or` is
//! multiplied out (`expand`). All errors are reported at once, except that a text which isn't JSON has one
//! error. A pattern that parsed can be matched: there are no later errors, and no part of it is ignored.

pub(crate) mod document;
mod expand;
mod fields;
mod leaf;
pub(crate) mod place;

use crate::error::ParseError;
use crate::limits::{PATTERN_BYTES_MAX, PATTERN_CHARACTERS_MAX_EVENTBRIDGE, SUB_RULES_MAX};
use crate::path::Path;
pub(crate) use leaf::Condition;
use place::{Errors, JsonPlace};

/// The language that a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The project's own: EventBridge's language with extensions, and up to 64 KiB of text.
    #[default]
    Edgebus,
    /// Amazon EventBridge's language, as its user guide documents event patterns: up to 4,096 characters of
    /// text, and no extensions.
    EventBridge,
}

/// How to read a pattern.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParseOptions<'a> {
    /// The language, which decides on operators and limits.
    pub dialect: Dialect,
    /// Aliases for the first segment of a path, as (written, meant): `("detail", "data")`. They also apply in
    /// `$or` and to dotted keys.
    pub aliases: &'a [(&'a str, &'a str)],
    /// The top-level members that may have values of any type, if all others are strings in every event, as
    /// CloudEvents' attributes in headers are: `&["data"]`. In conditions on the others, numbers and booleans
    /// are read as strings. Empty if nothing is known.
    pub texts_but: &'a [&'a str],
}

/// A compiled pattern. It is immutable and doesn't borrow the text it was read from.
///
/// Parse it once, clone it as often as you like, and pass it to a [`RuleIndex`](crate::RuleIndex), a
/// [`RuleSet`](crate::RuleSet), [`explain`](crate::explain()) or [`lint`](crate::lint).
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The distinct paths of its fields.
    paths: Vec<Path>,
    /// The conditions on those paths, in reading order.
    conditions: Vec<Condition>,
    /// The sub-rules: for each, the conditions that it needs, in reading order.
    branches: Vec<Branch>,
}

/// A sub-rule: indexes of conditions that must be met together.
pub(crate) type Branch = Vec<u16>;

impl Pattern {
    /// Parses and validates a pattern.
    ///
    /// # Errors
    /// Every error found, in reading order and at most a hundred. A text that isn't JSON has one error. A
    /// pattern with errors can't be matched, not even in part.
    ///
    /// ```
    /// use edgebus_rules::{ParseOptions, Pattern};
    ///
    /// let errors = Pattern::parse(br#"{"a": [{"wildcard": "x**"}]}"#, &ParseOptions::default());
    /// let errors = errors.unwrap_err();
    /// assert_eq!((errors[0].offset, errors[0].pointer.as_str()), (20, "/a/0/wildcard"));
    /// ```
    pub fn parse(json: &[u8], options: &ParseOptions<'_>) -> Result<Pattern, Vec<ParseError>> {
        let mut errors = Errors::default();
        if let Some((reason, remedy)) = too_long(json, options.dialect) {
            errors.add(0, &JsonPlace::Top, reason, remedy);
            return errors.or(Pattern::empty());
        }
        let document = match document::read(json) {
            Ok(document) => document,
            Err(syntax) => {
                let remedy = "write the pattern as one JSON object";
                errors.add(syntax.offset, &JsonPlace::Top, syntax.reason, remedy);
                return errors.or(Pattern::empty());
            }
        };
        let (fields, clauses) = fields::collect(&document, options, &mut errors);
        let sub_rules = expand::count(&clauses);
        if sub_rules > SUB_RULES_MAX {
            let reason = format!(
                "more than {SUB_RULES_MAX} sub-rules after multiplying out every $or, the limit"
            );
            let remedy = "use fewer $or beside each other, or several rules";
            errors.add(document.offset, &JsonPlace::Top, reason, remedy);
        }
        if errors.any() {
            return errors.or(Pattern::empty());
        }
        let branches = expand::branches(&clauses, &fields.conditions);
        errors.or(Pattern {
            paths: fields.paths,
            conditions: fields.conditions,
            branches,
        })
    }

    fn empty() -> Pattern {
        Pattern {
            paths: Vec::new(),
            conditions: Vec::new(),
            branches: Vec::new(),
        }
    }

    /// The number of sub-rules after every `$or` is multiplied out. A pattern without `$or` has one.
    pub fn sub_rules(&self) -> usize {
        self.branches.len()
    }

    /// The distinct paths of its fields.
    pub(crate) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The conditions on those paths, in reading order.
    pub(crate) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Its sub-rules. There is at least one, and each has at least one condition.
    pub(crate) fn branches(&self) -> &[Branch] {
        &self.branches
    }
}

fn too_long(json: &[u8], dialect: Dialect) -> Option<(String, &'static str)> {
    let remedy = "split it into several rules";
    if json.len() > PATTERN_BYTES_MAX {
        let reason = format!("longer than {PATTERN_BYTES_MAX} bytes, the limit for patterns");
        return Some((reason, remedy));
    }
    // Every byte that doesn't continue a character starts one.
    let characters = json.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
    if dialect == Dialect::EventBridge && characters > PATTERN_CHARACTERS_MAX_EVENTBRIDGE {
        let reason = format!(
            "longer than {PATTERN_CHARACTERS_MAX_EVENTBRIDGE} characters, EventBridge's limit"
        );
        return Some((reason, remedy));
    }
    None
}

#[cfg(test)]
mod tests;
