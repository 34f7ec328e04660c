//! Input transforms: which parts of an event go to a target, and in which shape.
//!
//! A transform is compiled once for its rule. On an event it can only fail by exceeding a bound. The result
//! is always one JSON value. Values are cut out of the event's bytes as they are written. Only a query with
//! wildcards or filters needs the event as a tree, and even then its values are cut from the bytes. A
//! constant needs nothing of the event. The specification is in `PATTERNS.md`, under *Input*. Never here:
//! where the input goes, clocks, names of the bus.
//!
//! ```
//! use edgebus_rules::{Context, EventDocument, Part, Transform, TransformSpec};
//!
//! let spec = TransformSpec::Template(br##"{"text": "#{$.data.id}: {$.data.title}", "id": "{$.data.id}"}"##);
//! let transform = Transform::parse(&spec, &[("detail", "data")]).expect("the template is valid");
//!
//! let event = [
//!     Part::Text { name: "type", value: "issue.opened" },
//!     Part::Raw { name: "data", json: br#"{"id": 12345678901234567890123, "title": "It's \"on\""}"# },
//! ];
//! let context = Context { rule_name: "issues", rule_arn: None, ingested_at: "2026-07-01T12:00:00Z" };
//! let input = transform.apply(&EventDocument::new(&event), &context).expect("it is small");
//! assert_eq!(
//!     String::from_utf8_lossy(&input),
//!     r##"{"text":"#12345678901234567890123: It's \"on\"","id":12345678901234567890123}"##,
//! );
//! ```

mod braces;
mod compile;
mod cut;
mod document;
mod eventbridge;
mod json_path;
mod piece;
mod placeholder;

pub use document::EventDocument;
pub use json_path::JsonPath;
pub use placeholder::{TemplatePart, template_parts};

use crate::error::{EventError, ParseError};
use crate::filter::{Filter, Steps, UsedUp};
use crate::limits::{TEMPLATE_BYTES_MAX, TRANSFORM_BYTES_MAX, TRANSFORM_VALUES_MAX};
use crate::pattern::document as source;
use crate::pattern::place::{Errors, JsonPlace};
use braces::Strings;
use compile::Compiler;
use cut::{Found, PathTree};
use piece::{Piece, Source, escaped, json_as_text, quoted};

/// How a transform is written.
#[derive(Debug, Clone, Copy)]
pub enum TransformSpec<'s> {
    /// A JSONPath (RFC 9535): `$.data.issue`. The value that it selects is the input.
    Path(&'s str),
    /// JSON text whose strings may hold `{$.path}` placeholders.
    Template(&'s [u8]),
    /// JSON text that is the input. Its strings have no placeholders.
    Constant(&'s [u8]),
    /// EventBridge's input transformer, as its user guide documents it.
    ///
    /// ```
    /// use edgebus_rules::{Context, EventDocument, Part, Transform, TransformSpec};
    ///
    /// let spec = TransformSpec::EventBridge {
    ///     paths: &[("id", "$.detail.id")],
    ///     template: r#"{"text": "order <id>, by <aws.events.rule-name>"}"#,
    /// };
    /// let transform = Transform::parse(&spec, &[("detail", "data")]).expect("it is valid");
    /// let event = [Part::Raw { name: "data", json: br#"{"id": 7}"# }];
    /// let context = Context { rule_name: "orders", rule_arn: None, ingested_at: "2026-07-01T12:00:00Z" };
    /// let made = transform.apply(&EventDocument::new(&event), &context)?;
    /// assert_eq!(made, br#"{"text":"order 7, by orders"}"#);
    /// # Ok::<(), edgebus_rules::ApplyError>(())
    /// ```
    EventBridge {
        /// Names and their paths, as `InputPathsMap` has them.
        paths: &'s [(&'s str, &'s str)],
        /// The template with `<name>` placeholders, as `InputTemplate` has it.
        template: &'s str,
    },
}

impl<'s> TransformSpec<'s> {
    /// The meaning of a manifest's `input:`. A string that begins with `$`, alone or before `.` or `[`, is a
    /// path. Everything else is a template. `path` is the string, if it is one.
    pub fn of_input(json: &'s [u8], string: Option<&'s str>) -> TransformSpec<'s> {
        let after = string.and_then(|text| text.strip_prefix('$'));
        match (string, after) {
            (Some(path), Some(after)) if after.is_empty() || after.starts_with(['.', '[']) => {
                TransformSpec::Path(path)
            }
            _ => TransformSpec::Template(json),
        }
    }
}

/// What a transform may insert beside the event.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    /// The rule's name: `<aws.events.rule-name>`.
    pub rule_name: &'c str,
    /// The rule's resource name, if it has one: `<aws.events.rule-arn>`.
    pub rule_arn: Option<&'c str>,
    /// When the event was accepted, in RFC 3339: `<aws.events.event.ingestion-time>`.
    pub ingested_at: &'c str,
}

/// Why an event has no input for a target. Another attempt with the same event fails in the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The input exceeds the limit.
    #[error("the input would be larger than {TRANSFORM_BYTES_MAX} bytes, the limit")]
    TooLarge,
    /// A query selects too many values.
    #[error("a query of the input selects more than {TRANSFORM_VALUES_MAX} values, the limit")]
    TooManyValues,
    /// The queries of the input take too many steps.
    #[error(transparent)]
    UsedUp(#[from] UsedUp),
    /// The event can't be read.
    #[error(transparent)]
    Event(#[from] EventError),
}

/// A compiled transform. It is immutable and doesn't borrow the text it was read from.
#[derive(Debug, Clone)]
pub struct Transform {
    pieces: Box<[Piece]>,
    /// The paths into the event, each with its slot.
    paths: PathTree,
    slots: usize,
    queries: Box<[Filter]>,
    /// The JSON text for a missing value.
    missing: &'static str,
    /// The names of EventBridge's form that the template doesn't use.
    unused: Box<[Box<str>]>,
}

impl Transform {
    /// Compiles a transform. `aliases` are aliases of a path's first member, as (written, meant): `("detail",
    /// "data")`.
    ///
    /// # Errors
    /// Every error found. A pointer leads into the JSON of a template or a constant. In EventBridge's form it
    /// begins with `/input_paths` or `/input_template`. For a path it is empty.
    pub fn parse(
        spec: &TransformSpec<'_>,
        aliases: &[(&str, &str)],
    ) -> Result<Transform, Vec<ParseError>> {
        let mut compiler = Compiler::new(aliases);
        let mut errors = Errors::default();
        let mut missing = "null";
        let mut unused = Vec::new();
        match spec {
            TransformSpec::Path(path) => match compiler.source(path) {
                Ok(source) => compiler.piece(Piece::Value(source)),
                Err(error) => errors.add(error.offset, &JsonPlace::Top, error.reason, error.remedy),
            },
            TransformSpec::Template(json) => {
                document(json, Strings::Templates, &mut compiler, &mut errors);
            }
            TransformSpec::Constant(json) => {
                document(json, Strings::Constants, &mut compiler, &mut errors);
            }
            TransformSpec::EventBridge { paths, template } => {
                unused = eventbridge::compile(paths, template, &mut compiler, &mut errors);
                // As recorded from AWS: {"a": <missing>} makes {"a": ""}.
                missing = "\"\"";
            }
        }
        if let Some(excess) = compiler.excess() {
            errors.add(0, &JsonPlace::Top, excess.reason, excess.remedy);
        }
        errors.or(Transform {
            unused: unused.into(),
            ..compiler.finish(missing)
        })
    }

    /// The input, if it is the same for every event.
    pub fn constant(&self) -> Option<&str> {
        match &*self.pieces {
            [Piece::Literal(json)] => Some(json),
            _ => None,
        }
    }

    /// The names with paths that the template of EventBridge's form doesn't use, in their order. They cost
    /// nothing when inputs are made.
    pub fn unused_names(&self) -> impl Iterator<Item = &str> {
        self.unused.iter().map(|name| &**name)
    }

    /// Whether anything is taken from the event. If not, an empty document is enough.
    pub fn needs_event(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Literal(_) => false,
            Piece::Value(source) | Piece::Text(source) => source.of_event(),
        })
    }

    /// Whether the event has to be parsed into a tree. This costs several times as much as cutting values.
    pub fn needs_tree(&self) -> bool {
        !self.queries.is_empty()
    }

    /// Why its queries may take more steps than are linear in the event's size, if they may. The text is one
    /// clause, for a warning.
    pub fn may_outgrow(&self) -> Option<&'static str> {
        self.queries.iter().find_map(Filter::may_outgrow)
    }

    /// Makes the input: one JSON value.
    ///
    /// # Errors
    /// An [`ApplyError`] if the input exceeds a limit, or if the event isn't JSON.
    pub fn apply(
        &self,
        event: &EventDocument<'_>,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, ApplyError> {
        let found = event.cut(&self.paths, self.slots)?;
        let selected = self.select(event)?;
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(json) => out.extend(json.as_bytes()),
                Piece::Value(Source::JsonPlace(slot)) => {
                    write_value(&mut out, found[*slot], self.missing)
                }
                Piece::Text(Source::JsonPlace(slot)) => write_text(&mut out, found[*slot]),
                Piece::Value(Source::Query(query)) => write_list(&mut out, &selected[*query])?,
                Piece::Text(Source::Query(query)) => match selected[*query].as_slice() {
                    [] => {}
                    [only] => write_text(&mut out, *only),
                    many => {
                        let mut list = Vec::new();
                        write_list(&mut list, many)?;
                        json_as_text(&mut out, &String::from_utf8_lossy(&list));
                    }
                },
                Piece::Value(Source::Event) => event.print(&mut out, None),
                Piece::Value(Source::Attributes) => event.print(&mut out, Some("data")),
                Piece::Text(source @ (Source::Event | Source::Attributes)) => {
                    let mut whole = Vec::new();
                    let except = (*source == Source::Attributes).then_some("data");
                    event.print(&mut whole, except);
                    json_as_text(&mut out, &String::from_utf8_lossy(&whole));
                }
                Piece::Value(source) => match of_context(*source, context) {
                    Some(text) => quoted(&mut out, text),
                    None => out.extend(self.missing.as_bytes()),
                },
                Piece::Text(source) => {
                    escaped(&mut out, of_context(*source, context).unwrap_or_default());
                }
            }
            if out.len() > TRANSFORM_BYTES_MAX {
                return Err(ApplyError::TooLarge);
            }
        }
        Ok(out)
    }

    /// The values that each query selects, cut from the event's bytes.
    fn select<'e>(
        &self,
        event: &EventDocument<'e>,
    ) -> Result<Vec<Vec<Option<Found<'e>>>>, ApplyError> {
        let mut selected = Vec::with_capacity(self.queries.len());
        let mut steps = Steps::of_event();
        for query in &self.queries {
            let places = query
                .select(event.tree()?, TRANSFORM_VALUES_MAX, &mut steps)?
                .ok_or(ApplyError::TooManyValues)?;
            let mut paths = PathTree::new();
            for (slot, place) in places.iter().enumerate() {
                paths.add(place, slot);
            }
            selected.push(event.cut(&paths, places.len())?);
        }
        Ok(selected)
    }
}

/// Compiles the JSON of a template or a constant.
fn document(json: &[u8], strings: Strings, compiler: &mut Compiler<'_>, errors: &mut Errors) {
    if json.len() > TEMPLATE_BYTES_MAX {
        let reason = format!("longer than {TEMPLATE_BYTES_MAX} bytes, the limit for inputs");
        errors.add(
            0,
            &JsonPlace::Top,
            reason,
            "insert a part of the event instead",
        );
        return;
    }
    match source::read(json) {
        Ok(node) => braces::value(&node, strings, &JsonPlace::Top, compiler, errors),
        Err(syntax) => {
            errors.add(
                syntax.offset,
                &JsonPlace::Top,
                syntax.reason,
                "write one JSON value",
            );
        }
    }
}

fn write_value(out: &mut Vec<u8>, found: Option<Found<'_>>, missing: &str) {
    match found {
        Some(Found::Json(json)) => out.extend(json.as_bytes()),
        Some(Found::Text(text)) => quoted(out, text),
        None => out.extend(missing.as_bytes()),
    }
}

fn write_text(out: &mut Vec<u8>, found: Option<Found<'_>>) {
    match found {
        Some(Found::Json(json)) => json_as_text(out, json),
        Some(Found::Text(text)) => escaped(out, text),
        None => {}
    }
}

fn write_list(out: &mut Vec<u8>, found: &[Option<Found<'_>>]) -> Result<(), ApplyError> {
    out.push(b'[');
    for (index, value) in found.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_value(out, *value, "null");
        if out.len() > TRANSFORM_BYTES_MAX {
            return Err(ApplyError::TooLarge);
        }
    }
    out.push(b']');
    Ok(())
}

fn of_context<'c>(source: Source, context: &Context<'c>) -> Option<&'c str> {
    match source {
        Source::RuleName => Some(context.rule_name),
        Source::RuleArn => context.rule_arn,
        Source::IngestedAt => Some(context.ingested_at),
        Source::JsonPlace(_) | Source::Query(_) | Source::Event | Source::Attributes => None,
    }
}

#[cfg(test)]
mod tests;
