//! A query that takes values out of JSON text without changing how they are written.
//!
//! Never here: placeholders, and how the values are used.

use super::ApplyError;
use super::cut::{Found, OF_EVENT, PathTree, Skip};
use crate::error::{EventError, ParseError};
use crate::filter::{Filter, Steps};
use crate::json::{Scanner, Syntax};
use crate::limits::TRANSFORM_VALUES_MAX;
use crate::tree::tree;

/// A compiled JSONPath (RFC 9535) that takes values out of JSON text exactly as they are written there. No
/// number loses a digit, and no string loses its escapes.
///
/// ```
/// use edgebus_rules::JsonPath;
///
/// let json = r#"{"id": 12345678901234567890123, "tags": [{"name": "a\\/b"}, {"name": 1.0}]}"#;
/// let id = JsonPath::parse("$.id").expect("the path is valid");
/// assert_eq!(id.values(json), Ok(vec!["12345678901234567890123"]));
/// let names = JsonPath::parse("$.tags[*].name").expect("the path is valid");
/// assert_eq!(names.values(json), Ok(vec![r#""a\\/b""#, "1.0"]));
/// ```
#[derive(Debug, Clone)]
pub struct JsonPath {
    query: Filter,
    /// The only path of a singular query.
    path: Option<PathTree>,
}

impl JsonPath {
    /// Compiles a query.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn parse(text: &str) -> Result<JsonPath, ParseError> {
        let query = Filter::parse(text)?;
        let path = query.steps().map(|steps| {
            let mut path = PathTree::new();
            path.add(&steps, 0);
            path
        });
        Ok(JsonPath { query, path })
    }

    /// Whether it has only members and indexes, and so selects at most one value: a singular query (RFC 9535,
    /// 2.3.5.1).
    #[must_use]
    pub fn is_singular(&self) -> bool {
        self.path.is_some()
    }

    /// The values that it selects in `json`, in the query's order, without white space around them. If a
    /// member occurs twice, the last one counts.
    ///
    /// # Errors
    /// An [`ApplyError`] if the text isn't JSON, if a selected value nests deeper than an event may (64
    /// brackets), or if the query selects too many values or takes too many steps. A query that isn't
    /// [singular](JsonPath::is_singular) reads the whole text, so then no part of the text may nest deeper.
    pub fn values<'j>(&self, json: &'j str) -> Result<Vec<&'j str>, ApplyError> {
        if let Some(path) = &self.path {
            return cut(path, 1, json, |scanner| scanner.skip_deep_value());
        }
        let tree = tree(json.as_bytes())?;
        let places = self
            .query
            .select(&tree, TRANSFORM_VALUES_MAX, &mut Steps::of_event())?
            .ok_or(ApplyError::TooManyValues)?;
        let mut paths = PathTree::new();
        for (slot, place) in places.iter().enumerate() {
            paths.add(place, slot);
        }
        cut(&paths, places.len(), json, OF_EVENT)
    }
}

/// The values for the slots.
fn cut<'j>(
    paths: &PathTree,
    slots: usize,
    json: &'j str,
    skip: Skip,
) -> Result<Vec<&'j str>, ApplyError> {
    let mut found = vec![None; slots];
    paths
        .fill(PathTree::TOP, json.as_bytes(), skip, &mut found)
        .map_err(|syntax| error_at(0, syntax))?;
    let values = found.into_iter().flatten().map(|found| {
        let (Found::Json(value) | Found::Text(value)) = found;
        let from = value.as_ptr().addr() - json.as_ptr().addr();
        OF_EVENT(&mut Scanner::of_text(value)).map_err(|syntax| error_at(from, syntax))?;
        Ok(value)
    });
    values.collect()
}

/// An error in the part of a text that begins at `from`.
fn error_at(from: usize, syntax: Syntax) -> EventError {
    EventError {
        offset: from + syntax.offset,
        part: None,
        reason: syntax.reason.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_as_they_are_written() {
        let json =
            r#" {"a" : {"b":[ 1.0 , {"c":  "\u0041"} ]}, "\u0061\n": [ ], "x":1, "x":2e0 } "#;
        let table: [(&str, &[&str]); 13] = [
            ("$", &[json.trim()]),
            ("$.a", &[r#"{"b":[ 1.0 , {"c":  "\u0041"} ]}"#]),
            ("$.a.b[0]", &["1.0"]),
            ("$['a']['b'][-1]", &[r#"{"c":  "\u0041"}"#]),
            ("$.a.b[1].c", &[r#""\u0041""#]),
            ("$['a\\n']", &["[ ]"]),
            ("$.x", &["2e0"]),
            ("$.b", &[]),
            ("$.a[0]", &[]),
            ("$.a.b[9]", &[]),
            ("$.a.b[*]", &["1.0", r#"{"c":  "\u0041"}"#]),
            ("$.a.b[?@.c == 'A'].c", &[r#""\u0041""#]),
            ("$.a.b[?@.c == 'B'].c", &[]),
        ];
        for (path, wanted) in table {
            let query = JsonPath::parse(path).expect(path);
            assert_eq!(query.values(json).as_deref(), Ok(wanted), "{path}");
            assert_eq!(query.is_singular(), !path.contains(['*', '?']), "{path}");
        }
    }

    #[test]
    fn what_is_looked_at_nests_as_deep_as_an_event_may() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let read = |path: &str, json: &str| JsonPath::parse(path).expect(path).values(json).is_ok();
        let table = [("$", 64), ("$[0]", 65), ("$[0][0]", 66), ("$[*]", 64)];
        for (path, depth_max) in table {
            assert!(read(path, &nested(depth_max)), "{path}");
            assert!(!read(path, &nested(depth_max + 1)), "{path}");
        }
        let beside = |deep: &str| format!(r#"{{"a":{{"deep":{deep}}},"b":[1]}}"#);
        let deep = beside(&nested(100_000));
        assert!(read("$.b", &deep) && read("$.b[0]", &deep) && read("$.a.none", &deep));
        assert!(!read("$.a", &deep) && !read("$.b[*]", &deep));
        // It is still checked against the grammar.
        assert!(!read("$.b", &beside(&format!("{}}}", "[".repeat(70)))));
        let error = JsonPath::parse("$.a").expect("a path").values(&deep);
        let Err(ApplyError::Event(error)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.offset, r#"{"a":{"deep":"#.len() + 63);
    }
}
