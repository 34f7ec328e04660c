//! Templates: text with `{$.json.path}` placeholders, which a line of JSON fills.
//!
//! Numbers come out as they are spelled in the line. Never here: a default for what is missing.

use std::str::FromStr;

use edgebus_rules::{TemplatePart, template_parts};

use super::path::ValuePath;
use super::{MappingError, TEXT_BYTES_MAX, shown};

/// A text with placeholders. `{{` and `}}` are the braces themselves.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Value(ValuePath),
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
        let parts = template_parts(text).map(|part| match part {
            TemplatePart::Text(text) => Ok(Part::Text(text.to_owned())),
            TemplatePart::Placeholder(path) => path.parse().map(Part::Value),
            TemplatePart::Stray(rest) => Err(MappingError::new(
                format!("`{}` is not a placeholder", shown(rest)),
                "write a placeholder as in `{$.event}`, and the braces themselves as `{{` and `}}`",
            )),
        });
        Ok(Self {
            parts: parts.collect::<Result<_, _>>()?,
        })
    }
}

impl Template {
    /// True if a line has to fill it.
    pub(crate) fn has_placeholders(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// The text that `json`, one JSON value, makes of the template.
    ///
    /// # Errors
    /// The first placeholder that does not come out as one text, number or boolean.
    pub(super) fn render(&self, json: &str) -> Result<String, MappingError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(path) => out.push_str(&scalar(path.cut(json)?, path)?),
            }
        }
        Ok(out)
    }
}

/// A scalar of JSON text as text.
fn scalar(json: &str, path: &ValuePath) -> Result<String, MappingError> {
    let path = shown(&path.to_string());
    let kind = match json.as_bytes().first() {
        Some(b'"') => {
            return serde_json::from_str(json).map_err(|_| {
                MappingError::new(
                    format!("`{path}` is a text that is not Unicode"),
                    "use another path",
                )
            });
        }
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'n') | None => "null",
        Some(_) => return Ok(json.to_owned()),
    };
    Err(MappingError::new(
        format!("`{path}` is {kind} in this line"),
        "use the path of a text, a number or a boolean",
    ))
}
