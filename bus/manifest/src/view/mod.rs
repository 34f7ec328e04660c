//! An event as rules see it: attributes and extensions at the top, and `data` beside them. From this view
//! come the inputs of targets and the verdicts of rules with their reasons.
//!
//! Matching, explanations and input transforms all use it, so they see the same. Never here: a change to the
//! event's bytes, a tree that nobody asked for.

mod verdict;

use std::fmt::Write as _;
use std::ops::Range;

use edgebus_rules::{Dialect, Filter, ParseOptions, Part, Pattern, Transform, TransformSpec};
use serde_json::value::RawValue;

use edgebus_model::{Attribute, Data, Event, InputConfig, media_type};

pub use verdict::{FilterVerdict, InputVerdict, Unjudged, Verdict, check_keys, judge};

/// The members of an event that aren't attributes. Attributes are texts: in headers there is nothing else, and
/// an event has one verdict however it came.
const TEXTS_BUT: &[&str] = &["data"];

/// How patterns are read that have our names for members.
pub const PATTERNS: ParseOptions<'static> = ParseOptions {
    dialect: Dialect::Edgebus,
    aliases: &[],
    texts_but: TEXTS_BUT,
};

/// EventBridge's names of two members, with ours: `detail` is `data`, `detail-type` is `type`.
pub const ALIASES: [(&str, &str); 2] = [("detail-type", "type"), ("detail", "data")];

/// An event, seen by rules.
pub struct View<'e> {
    seen: Seen<'e>,
}

enum Seen<'e> {
    /// A whole event.
    Event {
        event: &'e Event,
        /// The attributes that were numbers or booleans in JSON, as the texts that they are in headers.
        scratch: String,
        /// Where each extension stands in `scratch`; empty for texts.
        spans: Vec<Range<usize>>,
    },
    /// Some members of one, by name.
    Members {
        members: &'e [(String, &'e RawValue)],
        /// The type of data that is there and not JSON, as a bus would store it.
        opaque: Option<String>,
    },
}

impl<'e> View<'e> {
    /// Looks at `event`.
    #[must_use]
    pub fn new(event: &'e Event) -> Self {
        let mut scratch = String::new();
        let spans = event
            .extensions
            .iter()
            .map(|(_, value)| {
                let start = scratch.len();
                // Writing to a String can't fail.
                let _ = match value {
                    Attribute::Text(_) => Ok(()),
                    Attribute::Integer(number) => write!(scratch, "{number}"),
                    Attribute::Boolean(truth) => write!(scratch, "{truth}"),
                };
                start..scratch.len()
            })
            .collect();
        Self {
            seen: Seen::Event {
                event,
                scratch,
                spans,
            },
        }
    }

    /// Looks at what there is of an event: for trials, where only the members that a rule names are
    /// needed. Each name is there once.
    #[must_use]
    pub fn of_members(members: &'e [(String, &'e RawValue)]) -> Self {
        let member = |name: &str| members.iter().find(|(own, _)| own == name);
        let text = |name: &str| -> Option<String> {
            member(name).and_then(|(_, value)| serde_json::from_str(value.get()).ok())
        };
        let opaque = text("datacontenttype").filter(|kind| {
            !media_type::is_json(kind)
                && (text("data").is_some() || member("data_base64").is_some())
        });
        Self {
            seen: Seen::Members { members, opaque },
        }
    }

    /// The event's members.
    #[must_use]
    pub fn parts(&self) -> Vec<Part<'_>> {
        let (event, scratch, spans) = match &self.seen {
            Seen::Event {
                event,
                scratch,
                spans,
            } => (event, scratch, spans),
            Seen::Members { members, opaque } => {
                let seen = members
                    .iter()
                    .filter(|(name, _)| opaque.is_none() || name != "data");
                return seen
                    .map(|(name, value)| member(name, value.get()))
                    .collect();
            }
        };
        let mut parts = Vec::with_capacity(9 + event.extensions.len());
        parts.extend(
            event
                .text_attributes()
                .map(|(name, value)| Part::Text { name, value }),
        );
        for ((name, value), span) in event.extensions.iter().zip(spans) {
            parts.push(match value {
                Attribute::Text(value) => Part::Text { name, value },
                _ => Part::Text {
                    name,
                    value: &scratch[span.clone()],
                },
            });
        }
        if let Data::Json(json) = &event.data {
            parts.push(Part::Raw { name: "data", json });
        }
        parts
    }

    /// In words, why rules see nothing of the data that there is; `None` where they see it.
    #[must_use]
    pub fn hidden_data(&self) -> Option<String> {
        let kind = match &self.seen {
            Seen::Event { event, .. } if matches!(event.data, Data::Opaque(_)) => {
                &event.data_content_type
            }
            Seen::Members { opaque, .. } if opaque.is_some() => opaque,
            _ => return None,
        };
        let kind = match kind {
            Some(kind) => format!("{}, ", verdict::printable(kind)),
            None => String::new(),
        };
        Some(format!(
            "the event's data is {kind}not JSON, so rules see nothing of it"
        ))
    }
}

/// A member of a part of an event. A number or a boolean beside the data is a text, as in a whole event.
fn member<'e>(name: &'e str, json: &'e str) -> Part<'e> {
    let is_text = |json: &str| json.parse::<i32>().is_ok() || matches!(json, "true" | "false");
    match !TEXTS_BUT.contains(&name) && is_text(json) {
        true => Part::Text { name, value: json },
        false => Part::Raw {
            name,
            json: json.as_bytes(),
        },
    }
}

/// How `input` is meant that is written as this JSON: a string that begins with `$` is a path.
#[must_use]
pub fn input_config(json: &str) -> InputConfig {
    let string: Option<String> = serde_json::from_str(json).ok();
    match (
        TransformSpec::of_input(json.as_bytes(), string.as_deref()),
        &string,
    ) {
        (TransformSpec::Path(_), Some(path)) => InputConfig::Path(path.clone()),
        _ => InputConfig::Template(json.to_owned()),
    }
}

/// Parses a pattern as the manifest and the API take it, EventBridge's names included.
///
/// # Errors
/// Every error of it.
pub fn parse_pattern(text: &str) -> Result<Pattern, Vec<edgebus_rules::ParseError>> {
    let options = ParseOptions {
        aliases: &ALIASES,
        ..PATTERNS
    };
    Pattern::parse(text.as_bytes(), &options)
}

/// EventBridge's names of members as a JSONPath begins with them, and what to write instead.
const FOREIGN: [(&str, &str); 6] = [
    ("$.detail-type", "$.type"),
    ("$['detail-type']", "$.type"),
    ("$[\"detail-type\"]", "$.type"),
    ("$.detail", "$.data"),
    ("$['detail']", "$.data"),
    ("$[\"detail\"]", "$.data"),
];

/// Compiles a `where` filter as the manifest and the API take it. It has no other names for members; one
/// that is written with them would select nothing, and is refused.
///
/// # Errors
/// What is wrong with it; its pointer is empty.
pub fn parse_filter(text: &str) -> Result<Filter, edgebus_rules::ParseError> {
    let alias = FOREIGN.iter().find(|(alias, _)| {
        let rest = text.strip_prefix(alias);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    });
    match alias {
        Some((alias, ours)) => Err(edgebus_rules::ParseError {
            offset: 0,
            pointer: String::new(),
            reason: format!("`{alias}` is EventBridge's name, which `where` does not know"),
            remedy: format!("write `{ours}`"),
        }),
        None => Filter::parse(text),
    }
}

/// Compiles a stored `where` filter. Earlier releases stored the line end of a YAML block (`where: |`) with it.
///
/// # Errors
/// What is wrong with it.
pub fn stored_filter(text: &str) -> Result<Filter, edgebus_rules::ParseError> {
    Filter::parse(without_line_end(text))
}

/// A query without the line ends behind it, which a block of YAML has and which are no part of it.
pub(crate) fn without_line_end(query: &str) -> &str {
    query.trim_end_matches(['\n', '\r'])
}

/// Compiles how a target's input is made.
///
/// # Errors
/// Every error; pointers as [`Transform::parse`] gives them. One in a template of EventBridge's form says
/// where in it.
pub fn compile_input(input: &InputConfig) -> Result<Transform, Vec<edgebus_rules::ParseError>> {
    match input {
        InputConfig::Path(path) => {
            Transform::parse(&TransformSpec::Path(without_line_end(path)), &ALIASES)
        }
        InputConfig::Template(json) => {
            Transform::parse(&TransformSpec::Template(json.as_bytes()), &ALIASES)
        }
        InputConfig::EventBridge { paths, template } => {
            let paths: Vec<(&str, &str)> = paths
                .iter()
                .map(|(name, path)| (name.as_str(), without_line_end(path)))
                .collect();
            let spec = TransformSpec::EventBridge {
                paths: &paths,
                template,
            };
            Transform::parse(&spec, &ALIASES).map_err(|mut errors| {
                for error in &mut errors {
                    if error.pointer == "/input_template" {
                        error.reason.push_str(&place(template, error.offset));
                    }
                }
                errors
            })
        }
    }
}

/// Where in a template an error is, in words; empty at its very beginning.
fn place(template: &str, offset: usize) -> String {
    let before = template.get(..offset).unwrap_or(template);
    let line = before.rsplit('\n').next().unwrap_or_default();
    let column = line.chars().count() + 1;
    match (before.matches('\n').count(), column) {
        (0, 1) => String::new(),
        (0, column) => format!(", at character {column} of the template"),
        (lines, column) => {
            format!(
                ", at line {}, character {column} of the template",
                lines + 1
            )
        }
    }
}
