//! Templates: text with `{$.json.path}` placeholders, which a line of JSON fills.
//!
//! Numbers come out as they are spelled in the line; where a query can't keep the spelling, it is
//! refused. Never here: a default for what is missing.

use std::cell::OnceCell;
use std::str::FromStr;

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

use super::path::{MemberPath, missing, parse_query};
use super::{MappingError, TEXT_BYTES_MAX, shown};

/// A text with placeholders. `{{` and `}}` are the braces themselves.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Debug)]
enum Part {
    Text(String),
    Member(MemberPath),
    /// A path with wildcards, filters or slices; it must select one value.
    Query(String, JpQuery),
}

/// A line of JSON that templates are filled from; its tree is made when a query first asks for it.
pub(super) struct Document<'l> {
    json: &'l str,
    tree: OnceCell<Option<Value>>,
}

impl<'l> Document<'l> {
    /// `json` must be one JSON value.
    pub(super) fn new(json: &'l str) -> Self {
        Self {
            json,
            tree: OnceCell::new(),
        }
    }

    fn tree(&self) -> Result<&Value, MappingError> {
        let tree = self
            .tree
            .get_or_init(|| edgebus_rules::tree(self.json.as_bytes()).ok());
        tree.as_ref().ok_or_else(|| {
            MappingError::new(
                "the line is nested too deeply for a query, or holds text that is not Unicode",
                "name members and indexes only, as in `$.payload.items[0]`",
            )
        })
    }
}

impl FromStr for Template {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(MappingError::new(
                format!("the template is longer than {TEXT_BYTES_MAX} bytes"),
                "shorten it",
            ));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else {
                let length = placeholder(from).ok_or_else(|| stray(from))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(part(from[1..length - 1].trim())?);
                rest = &from[length..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }
}

/// How many bytes the placeholder at the start of `text` has with its braces; `None` if there is none.
fn placeholder(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('{')?;
    if !inside.trim_start().starts_with('$') {
        return None;
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in inside.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if character == '}' => return Some(at + 2),
            None if character == '\'' || character == '"' => quote = Some(character),
            None => {}
        }
    }
    None
}

fn stray(text: &str) -> MappingError {
    MappingError::new(
        format!("`{}` is not a placeholder", shown(text)),
        "write a placeholder as in `{$.event}`, and the braces themselves as `{{` and `}}`",
    )
}

fn part(path: &str) -> Result<Part, MappingError> {
    let query = parse_query(path)?;
    Ok(match MemberPath::of(path, &query) {
        Some(member) => Part::Member(member),
        None => Part::Query(path.to_owned(), query),
    })
}

impl Template {
    /// True if a line has to fill it.
    pub(crate) fn has_placeholders(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// The text that `document` makes of the template.
    ///
    /// # Errors
    /// The first placeholder that does not come out as one text, number or boolean.
    pub(super) fn render(&self, document: &Document<'_>) -> Result<String, MappingError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Member(path) => {
                    let path_text = path.to_string();
                    out.push_str(&scalar(path.cut(document.json)?, &path_text)?);
                }
                Part::Query(path, query) => out.push_str(&queried(document, path, query)?),
            }
        }
        Ok(out)
    }
}

/// A scalar of JSON text as text.
fn scalar(json: &str, path: &str) -> Result<String, MappingError> {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).map_err(|_| {
            MappingError::new(
                format!("`{}` is a text that is not Unicode", shown(path)),
                "use another path",
            )
        }),
        Some(b'{') => Err(not_scalar(path, "an object")),
        Some(b'[') => Err(not_scalar(path, "a list")),
        Some(b'n') | None => Err(not_scalar(path, "null")),
        Some(_) => Ok(json.to_owned()),
    }
}

fn queried(document: &Document<'_>, path: &str, query: &JpQuery) -> Result<String, MappingError> {
    let found = js_path_process(query, document.tree()?).map_err(|_| missing(path))?;
    let value = match found.as_slice() {
        [] => return Err(missing(path)),
        [one] => one.val,
        many => {
            return Err(MappingError::new(
                format!("`{}` selects {} values", shown(path), many.len()),
                "use a path that selects one",
            ));
        }
    };
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        Value::Number(_) => Err(MappingError::new(
            format!(
                "`{}` selects a number whose spelling a query can't keep",
                shown(path)
            ),
            "name members and indexes only, as in `$.payload.items[0]`",
        )),
        Value::Null => Err(not_scalar(path, "null")),
        Value::Array(_) => Err(not_scalar(path, "a list")),
        Value::Object(_) => Err(not_scalar(path, "an object")),
    }
}

fn not_scalar(path: &str, kind: &str) -> MappingError {
    MappingError::new(
        format!("`{}` is {kind} in this line", shown(path)),
        "use the path of a text, a number or a boolean",
    )
}
