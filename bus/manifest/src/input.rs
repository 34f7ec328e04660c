//! `input`, or `input_paths` with `input_template`, of a target: how its input is made from the event.
//!
//! What a transform means is the `rules` crate's; here it is read, compiled once to find its errors, and
//! each error put at its place. Never here: an event.

use crate::view;
use edgebus_model::InputConfig;

use super::cursor::{Cursor, Fields};
use super::errors::Errors;
use super::pattern::{locate_value, value_json};

/// Reads the keys of a target that make its input.
pub(super) fn read(
    target: &Cursor<'_>,
    fields: &Fields<'_>,
    errors: &mut Errors,
) -> Option<InputConfig> {
    let (own, template) = (fields.get("input"), fields.get("input_template"));
    let paths = fields.get("input_paths");
    if let (Some(_), Some(other)) = (own, template.or(paths)) {
        errors.add(
            &other.spot(),
            "a target has either `input` or EventBridge's `input_paths` and `input_template`",
            "keep one of the two",
        );
        return None;
    }
    match (own, template, paths) {
        (Some(at), ..) => {
            let json = value_json(at, errors)?;
            compiled(view::input_config(&json), at, errors)
        }
        (None, Some(at), paths) => {
            let template = at.filled_text(fields.words("input_template"), errors)?;
            let paths = match paths {
                None => Vec::new(),
                Some(paths) => names(paths, fields, errors)?,
            };
            let config = InputConfig::EventBridge {
                paths,
                template: template.to_owned(),
            };
            compiled(config, target, errors)
        }
        (None, None, Some(paths)) => {
            errors.add(
                &paths.spot(),
                "`input_paths` names what nothing uses",
                "write `input_template: '{ \"title\": <title> }'` beside it",
            );
            None
        }
        (None, None, None) => None,
    }
}

fn names(
    at: &Cursor<'_>,
    fields: &Fields<'_>,
    errors: &mut Errors,
) -> Option<Vec<(String, String)>> {
    let example = "input_paths: { title: $.detail.issue.title }";
    let entries = at.entries("`input_paths`", example, errors)?;
    entries
        .iter()
        .map(|entry| {
            let path = entry
                .value
                .filled_text(fields.words("input_paths"), errors)?;
            Some((entry.key.to_owned(), path.to_owned()))
        })
        .collect()
}

/// The input, if it compiles; `top` is what the pointers of its errors lead into.
fn compiled(config: InputConfig, top: &Cursor<'_>, errors: &mut Errors) -> Option<InputConfig> {
    match view::compile_input(&config) {
        Ok(_) => Some(config),
        Err(found) => {
            for error in found {
                let spot = locate_value(top, &error.pointer);
                errors.add(&spot, error.reason, error.remedy);
            }
            None
        }
    }
}
