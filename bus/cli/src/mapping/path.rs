//! JSONPaths in mappings: the value that they name in a line, as it is written there.
//!
//! Never here: what is made of the value.

use std::fmt;
use std::str::FromStr;

use edgebus_rules::{ApplyError, JsonPath};

use super::{MappingError, TEXT_BYTES_MAX, shown};

/// A JSONPath that must select one value of a line.
#[derive(Clone, Debug)]
pub(super) struct ValuePath {
    text: String,
    query: JsonPath,
}

impl FromStr for ValuePath {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(MappingError::new(
                format!("the path is longer than {TEXT_BYTES_MAX} bytes"),
                "write it as in `$.payload.action`",
            ));
        }
        let query = JsonPath::parse(text).map_err(|error| {
            let remedy = match text.starts_with('$') {
                true => error.remedy,
                false => "begin it with `$`, as in `$.payload.action`".to_owned(),
            };
            MappingError::new(format!("`{}` is {}", shown(text), error.reason), remedy)
        })?;
        Ok(Self {
            text: text.to_owned(),
            query,
        })
    }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl ValuePath {
    /// The part of `json` that the path selects, as it is written there. Of a member that is given
    /// twice, the last counts, as for most readers of JSON.
    ///
    /// # Errors
    /// The path selects nothing or several values, or the line can't be looked at.
    pub(super) fn cut<'j>(&self, json: &'j str) -> Result<&'j str, MappingError> {
        let values = self.query.values(json).map_err(|error| {
            let remedy = match error {
                ApplyError::Event(_) => {
                    "name members and indexes only, and a value that nests as deep as an event may: 64 brackets"
                },
                _ => "name members and indexes only, as in `$.payload.items[0]`",
            };
            let reason = format!("`{}` can't be looked up: {error}", shown(&self.text));
            MappingError::new(reason, remedy)
        })?;
        match values.as_slice() {
            [value] => Ok(value),
            [] => Err(MappingError::new(
                format!("`{}` selects nothing in this line", shown(&self.text)),
                "use a path that every line has, or leave such lines out",
            )),
            many => Err(MappingError::new(
                format!("`{}` selects {} values", shown(&self.text), many.len()),
                "use a path that selects one",
            )),
        }
    }
}

/// A JSONPath that names one place: members and indexes only, as `$.a.b[0]` or `$['a']`.
#[derive(Clone, Debug)]
pub struct MemberPath(ValuePath);

impl FromStr for MemberPath {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let path: ValuePath = text.parse()?;
        if path.query.is_singular() {
            return Ok(Self(path));
        }
        Err(MappingError::new(
            format!(
                "`{}` may select more than one value, and the data is one part of the line as it is written",
                shown(text)
            ),
            "name members and indexes only, as in `$.payload.items[0]`",
        ))
    }
}

impl fmt::Display for MemberPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl MemberPath {
    /// As [`ValuePath::cut`].
    pub(super) fn cut<'j>(&self, json: &'j str) -> Result<&'j str, MappingError> {
        self.0.cut(json)
    }
}
