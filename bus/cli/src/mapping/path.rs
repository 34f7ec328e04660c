//! Paths of members and indexes, and the cut that they make in JSON text.
//!
//! Never here: filters, wildcards and whatever else selects more than one value.

use std::fmt;
use std::str::FromStr;

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{MappingError, TEXT_BYTES_MAX, shown};

/// A JSONPath that names one place: members and indexes only, as `$.a.b[0]` or `$['a']`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberPath {
    text: String,
    steps: Vec<Step>,
}

/// One step down.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Member(String),
    /// From the end where it is negative.
    Index(i64),
}

impl FromStr for MemberPath {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let query = parse_query(text)?;
        Self::of(text, &query).ok_or_else(|| {
            MappingError::new(
                format!(
                    "`{}` may select more than one value, and the data is one part of the line as it is written",
                    shown(text)
                ),
                "name members and indexes only, as in `$.payload.items[0]`",
            )
        })
    }
}

impl fmt::Display for MemberPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl MemberPath {
    /// The path of `query`, if it has members and indexes only.
    pub(super) fn of(text: &str, query: &JpQuery) -> Option<Self> {
        let steps = query.segments.iter().map(|segment| match segment {
            Segment::Selector(Selector::Name(name)) => Some(Step::Member(name.clone())),
            Segment::Selector(Selector::Index(index)) => Some(Step::Index(*index)),
            _ => None,
        });
        Some(Self {
            text: text.to_owned(),
            steps: steps.collect::<Option<_>>()?,
        })
    }

    /// The part of `json` that the path names, as it is written there. Of a member that is given
    /// twice, the last counts, as for most readers of JSON.
    ///
    /// # Errors
    /// Which path found nothing.
    pub(super) fn cut<'j>(&self, json: &'j str) -> Result<&'j str, MappingError> {
        let mut rest = json;
        for step in &self.steps {
            let below = match step {
                Step::Member(name) => member(rest, name),
                Step::Index(index) => item(rest, *index),
            };
            rest = below.ok_or_else(|| missing(&self.text))?;
        }
        Ok(rest)
    }
}

/// The refusal of a path that selects nothing.
pub(super) fn missing(path: &str) -> MappingError {
    MappingError::new(
        format!("`{}` selects nothing in this line", shown(path)),
        "use a path that every line has, or leave such lines out",
    )
}

/// Parses a JSONPath.
pub(super) fn parse_query(text: &str) -> Result<JpQuery, MappingError> {
    let refused = |reason: String| MappingError::new(reason, "write it as in `$.payload.action`");
    if text.len() > TEXT_BYTES_MAX {
        return Err(refused(format!(
            "the path is longer than {TEXT_BYTES_MAX} bytes"
        )));
    }
    parse_json_path(text).map_err(|_| {
        let reason = format!("`{}` is not a JSONPath", shown(text));
        let dashed = text.contains('-') && !text.contains('[');
        match text.split_once('.').filter(|_| dashed) {
            Some((_, name)) => MappingError::new(
                reason,
                format!(
                    "write a name with such characters in brackets, as in `$['{}']`",
                    shown(name)
                ),
            ),
            None => refused(reason),
        }
    })
}

fn member<'j>(json: &'j str, name: &str) -> Option<&'j str> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = reader.deserialize_map(Members { name });
    found.ok().flatten().map(RawValue::get)
}

fn item(json: &str, index: i64) -> Option<&str> {
    let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => items
            .len()
            .checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
    };
    items.get(index).map(|item| item.get())
}

/// Finds the value of one member of an object.
struct Members<'n> {
    name: &'n str,
}

impl<'j> Visitor<'j> for Members<'_> {
    type Value = Option<&'j RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(KeyIs(self.name))? {
            if wanted {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is the wanted one, without a copy of it.
struct KeyIs<'n>(&'n str);

impl<'j> DeserializeSeed<'j> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'j>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}
