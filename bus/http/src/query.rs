//! Reads a query by the schema of its struct in `api`: which parameters there are, their types and bounds.
//!
//! `openapi` describes a route's parameters from the same list, so the description is always right. Never
//! here: what a parameter means, or which of them exclude each other.

use std::borrow::Cow;
use std::sync::LazyLock;

use edgebus_api as api;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::Problem;
use super::wire;
use edgebus_model::Timestamp;

/// Characters of an unknown parameter that an error repeats.
const SHOWN_MAX: usize = 64;

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) description: String,
    /// Its schema without words.
    pub(super) schema: Value,
    pub(super) example: Value,
    form: Form,
}

/// What a value has to be.
enum Form {
    Number { least: u64, most: u64 },
    Flag,
    Time,
    Words(Vec<String>),
    Text,
}

/// The parameters of a route.
pub(super) trait Parameters: DeserializeOwned + 'static {
    /// All of them, by name.
    fn list() -> &'static [Parameter];
}

macro_rules! parameters {
    ($($query:ident),+ $(,)?) => {$(
        impl Parameters for api::$query {
            fn list() -> &'static [Parameter] {
                static LIST: LazyLock<Vec<Parameter>> = LazyLock::new(of::<api::$query>);
                &LIST
            }
        }
    )+};
}

parameters! {
    ApplyQuery,
    DeadLetterQuery,
    DeliveryQuery,
    DeliveryStreamQuery,
    ErasureQuery,
    EventQuery,
    EventStreamQuery,
    ExplainQuery,
    InvokeQuery,
    JobQuery,
    LetterQuery,
    NoQuery,
    ReadyQuery,
    ReplayQuery,
}

/// The parameters that a struct's schema names.
fn of<T: JsonSchema>() -> Vec<Parameter> {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    let properties = schema.remove("properties");
    let Some(Value::Object(properties)) = properties else {
        return Vec::new();
    };
    properties
        .into_iter()
        .map(|(name, schema)| parameter(name, schema))
        .collect()
}

fn parameter(name: String, mut schema: Value) -> Parameter {
    // A parameter is there or not, and never null.
    if let Some(kind) = schema.get_mut("type") {
        let first = kind.get(0).cloned();
        *kind = first.unwrap_or_else(|| kind.take());
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let mut taken = |key: &str| schema.as_object_mut().and_then(|own| own.remove(key));
    let description = taken("description").unwrap_or_default();
    let description = description.as_str().unwrap_or_default().replace('\n', " ");
    let example = taken("examples").and_then(|mut all| all.get_mut(0).map(Value::take));
    let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
    let form = match (&schema["type"], schema.get("enum"), schema.get("format")) {
        (Value::String(kind), ..) if kind == "integer" => Form::Number {
            least: bound("minimum").unwrap_or(0),
            most: bound("maximum").unwrap_or(u64::MAX),
        },
        (Value::String(kind), ..) if kind == "boolean" => Form::Flag,
        (_, Some(Value::Array(words)), _) => {
            let words = words.iter().filter_map(Value::as_str);
            Form::Words(words.map(str::to_owned).collect())
        }
        (_, _, Some(format)) if format == "date-time" => Form::Time,
        _ => Form::Text,
    };
    Parameter {
        name,
        description,
        schema,
        example: example.unwrap_or_default(),
        form,
    }
}

/// Reads a query; a parameter that is unknown, or given twice, is an error.
pub(super) fn parse<T: Parameters>(query: Option<&str>) -> Result<T, Problem> {
    let list = T::list();
    let mut members = Map::new();
    let pairs = query.unwrap_or("").split('&');
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, text) = (decode(name)?, decode(text)?);
        let Some(parameter) = list.iter().find(|own| own.name == name) else {
            return Err(unknown(&name, list));
        };
        if members.contains_key(&name) {
            let reason = format!("query parameter `{name}` is given twice");
            return Err(Problem::input_error("", reason, ""));
        }
        members.insert(name, parameter.value(text)?);
    }
    serde_json::from_value(Value::Object(members))
        .map_err(|error| Problem::input_error("", format!("the query can't be read: {error}"), ""))
}

fn unknown(name: &str, list: &[Parameter]) -> Problem {
    let shown: String = name.chars().take(SHOWN_MAX).collect();
    let names: Vec<&str> = list.iter().map(|own| own.name.as_str()).collect();
    let remedy = match names.as_slice() {
        [] => "there are none here".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    Problem::input_error("", format!("unknown query parameter `{shown}`"), remedy)
}

impl Parameter {
    /// Checks a value and gives it its type.
    fn value(&self, text: String) -> Result<Value, Problem> {
        let name = &self.name;
        let must_be = |what: &str| {
            let reason = format!("query parameter `{name}` must be {what}");
            Err(Problem::input_error("", reason, ""))
        };
        match &self.form {
            Form::Text => Ok(Value::String(text)),
            Form::Number { least, most } => match text.parse::<u64>() {
                Ok(number) if (*least..=*most).contains(&number) && !text.starts_with('+') => {
                    Ok(Value::from(number))
                }
                _ => must_be(&format!("a whole number from {least} to {most}")),
            },
            Form::Flag => match text.as_str() {
                "false" => Ok(Value::Bool(false)),
                "" | "true" => Ok(Value::Bool(true)),
                _ => must_be("true or false"),
            },
            Form::Words(words) if words.contains(&text) => Ok(Value::String(text)),
            Form::Words(words) => match words.as_slice() {
                [first @ .., last] => must_be(&format!("{} or {last}", first.join(", "))),
                [] => must_be("left out"),
            },
            Form::Time if time(&text).is_some() => Ok(Value::String(text)),
            Form::Time if text.contains(' ') => Err(Problem::input_error(
                "",
                format!(
                    "query parameter `{name}` must be a time in RFC 3339 without a blank, and a `+` in a query is one"
                ),
                format!("write `+` as %2B, as in {name}=2026-11-21T06:30:16%2B01:00"),
            )),
            Form::Time => Err(Problem::input_error(
                "",
                format!("query parameter `{name}` must be a time in RFC 3339, from 1970 on"),
                format!("write it as in {name}=2026-11-21T06:30:16Z"),
            )),
        }
    }
}

/// A time in RFC 3339, from 1970 on.
fn time(text: &str) -> Option<Timestamp> {
    let form = &time::format_description::well_known::Rfc3339;
    let moment = time::OffsetDateTime::parse(text, form).ok()?;
    let ms = u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some(Timestamp(ms))
}

/// A time of a query, which was checked when the query was read.
pub(super) fn moment(text: Option<&str>) -> Option<Timestamp> {
    time(text?)
}

/// A number of rows of a query, which was checked against its bounds.
pub(super) fn rows(number: u64) -> usize {
    usize::try_from(number.min(api::PAGE_ROWS_MAX)).unwrap_or(1)
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    wire::percent_decode(spaced.as_bytes())
        .map(Cow::into_owned)
        .map_err(|reason| Problem::input_error("", format!("a query parameter {reason}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<api::DeliveryQuery, Problem> {
        parse(Some(text))
    }

    #[test]
    fn a_query_is_known_and_given_once() {
        let query = parsed("after=a%20b+c&limit=7&&output&stage=dead").unwrap();
        assert_eq!(query.filter.after.as_deref(), Some("a b c"));
        assert_eq!((query.filter.limit, query.output), (Some(7), Some(true)));
        assert_eq!(query.stage, Some(api::Stage::Dead));
        assert_eq!(parsed("output=false").unwrap().output, Some(false));
        assert_eq!(parse::<api::NoQuery>(None).unwrap(), api::NoQuery {});
        for bad in [
            "x=1",
            "after=1&after=2",
            "after=%zz",
            "after=%ff",
            "%61fter2=",
            "output=yes",
            "stage=none",
        ] {
            assert_eq!(parsed(bad).err().unwrap().status(), 400, "{bad}");
        }
        let errors = parsed("stage=none").unwrap_err().errors;
        assert_eq!(
            errors[0].reason,
            "query parameter `stage` must be pending, succeeded, dead or discarded"
        );
        let errors = parse::<api::NoQuery>(Some("x=1")).unwrap_err().errors;
        assert_eq!(errors[0].remedy, "there are none here");
    }

    #[test]
    fn a_time_is_rfc_3339_from_1970_on() {
        let time = |text| parsed(text).map(|query| moment(query.filter.since.as_deref()));
        assert_eq!(
            time("since=1970-01-01T00:00:01Z").unwrap(),
            Some(Timestamp(1_000))
        );
        // A plus that is not encoded is a blank in a query.
        let blank = time("since=1970-01-01T02:00:01+01:00").unwrap_err();
        assert!(blank.errors[0].remedy.contains("%2B"), "{blank:?}");
        assert!(time("since=1970-01-01T02:00:01%2B01:00").is_ok());
        assert!(time("since=1960-01-01T00:00:01Z").is_err());
        assert!(time("since=now").is_err());
    }

    #[test]
    fn a_number_is_whole_and_within_its_bounds() {
        assert_eq!(parsed("limit=1000").unwrap().filter.limit, Some(1_000));
        for bad in [
            "limit=",
            "limit=0",
            "limit=1001",
            "limit=+1",
            "limit=-1",
            "limit=1e3",
            "limit=99999999999999999999",
        ] {
            let reason = &parsed(bad).unwrap_err().errors[0].reason;
            assert_eq!(
                reason, "query parameter `limit` must be a whole number from 1 to 1000",
                "{bad}"
            );
        }
    }
}
