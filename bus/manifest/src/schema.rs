//! The JSON Schema of the manifest (draft 2020-12), for editors, made of the shape that the parser reads by.
//!
//! A schema can't say all that the parser checks (that a rule's function is declared, say, or the bounds
//! of a duration), so that what it accepts may still have errors. It is stricter in one thing: where a
//! text is wanted, a bare number is to be put in quotes. Never here: reading a manifest.

use serde_json::{Map, Value, json};

use super::scalar::{duration_text, size_text};
use super::shape::{self, Absent, Bounds, Count, Form, Key, Shape};

/// What a name looks like.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
/// What the name of a subscription looks like: not digits alone.
const SUBSCRIPTION_NAME: &str =
    "^(?![0-9]+$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?$";
/// What a duration looks like.
const DURATION: &str = "^[0-9]+\\s*(ms|s|m|h|d)$";
/// What a size looks like.
const SIZE: &str = "^[0-9]+\\s*(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$";

/// The JSON Schema of the manifest, as text that ends with a line end.
#[must_use]
pub fn schema() -> String {
    let mut whole = of_shape(&shape::ROOT);
    if let Value::Object(members) = &mut whole {
        members.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        members.insert("title".to_owned(), json!("The manifest of edgebus"));
        members.insert("$defs".to_owned(), json!({ "pattern": pattern() }));
    }
    format!("{whole:#}\n")
}

fn of_shape(shape: &Shape) -> Value {
    let mut properties = Map::new();
    for key in shape.keys {
        properties.insert(key.name.to_owned(), of_key(key));
    }
    let required: Vec<&str> = shape
        .keys
        .iter()
        .filter(|key| key.absent == Absent::Error)
        .map(|key| key.name)
        .collect();
    let mut out = json!({
        "title": shape.place,
        "type": if required.is_empty() { json!(["object", "null"]) } else { json!("object") },
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    if shape.takes_own("x-") {
        out["patternProperties"] = json!({ "^x-": {} });
    }
    if shape.key("expect_not").is_some() {
        out["anyOf"] = json!([{ "required": ["expect"] }, { "required": ["expect_not"] }]);
    }
    out
}

fn of_key(key: &Key) -> Value {
    let mut out = of_form(&key.form);
    let mut about = key.about.to_owned();
    if let Some(range) = range(&key.form) {
        about.push_str(&format!(" From {range}."));
    }
    if let Absent::Means(words) = key.absent {
        about.push_str(&format!(" Without it: {words}."));
    }
    out["description"] = json!(about);
    if let Absent::Is(default) = key.absent {
        out["default"] = as_json(default);
    }
    out["examples"] = json!([example(key)]);
    out
}

/// The value of a key's example. Those of sections keyed by names are written without their braces.
fn example(key: &Key) -> Value {
    match key.form {
        Form::Named(_) => as_json(&format!("{{ {} }}", key.example)),
        _ => as_json(key.example),
    }
}

/// YAML as JSON; the shape's own texts are all YAML, which a test checks.
fn as_json(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or(Value::Null)
}

/// The bounds of a value in words: `1s to 30d`.
pub(super) fn range(form: &Form) -> Option<String> {
    let Bounds { least, most, .. } = match form {
        Form::Whole(bounds)
        | Form::Number(bounds)
        | Form::Duration(bounds)
        | Form::Size(bounds) => bounds,
        Form::OneOrMany(_, Count { least, most }) | Form::List(_, Count { least, most })
            if *most < shape::ANY.most =>
        {
            return Some(format!("{least} to {most} of them"));
        }
        _ => return None,
    };
    let spelled = |value: u64| match form {
        Form::Duration(_) => duration_text(value),
        Form::Size(_) => size_text(value),
        _ => value.to_string(),
    };
    Some(format!("{} to {}", spelled(*least), spelled(*most)))
}

/// A number with a unit, or the word for no limit.
fn measured(pattern: &str, bounds: &Bounds) -> Value {
    let number = json!({ "type": "string", "pattern": pattern });
    match bounds.unlimited {
        None => number,
        Some(word) => json!({ "anyOf": [number, { "const": word }] }),
    }
}

fn of_form(form: &Form) -> Value {
    match form {
        Form::Version => json!({ "const": super::VERSION }),
        Form::Text(words) | Form::Query(words) => {
            json!({ "type": "string", "minLength": 1, "maxLength": words.bytes_max })
        }
        Form::Component(words) => json!({
            "type": "string",
            "pattern": "^(?!blake3:)|^blake3:[0-9a-fA-F]{64}$",
            "minLength": 1,
            "maxLength": words.bytes_max,
        }),
        Form::Name(of) => {
            json!({ "type": "string", "pattern": NAME, "title": format!("name of a {of}") })
        }
        Form::SubscriptionName(_) => json!({ "type": "string", "pattern": SUBSCRIPTION_NAME }),
        Form::Flag(_) => json!({ "type": "boolean" }),
        Form::Choice(_, words) => json!({ "enum": words }),
        Form::Whole(bounds) => {
            json!({ "type": "integer", "minimum": bounds.least, "maximum": bounds.most })
        }
        Form::Number(bounds) => {
            json!({ "type": "number", "minimum": bounds.least, "maximum": bounds.most })
        }
        Form::Duration(bounds) => measured(DURATION, bounds),
        Form::Size(bounds) => measured(SIZE, bounds),
        Form::Secret(words) => json!({
            "type": "string",
            "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
            "maxLength": words.bytes_max,
        }),
        Form::Origin(words) => json!({
            "type": "string",
            "pattern": "^[hH][tT][tT][pP][sS]?://[^/?#@*]+$",
            "maxLength": words.bytes_max,
        }),
        Form::Pattern => json!({ "$ref": "#/$defs/pattern" }),
        Form::Json => json!({}),
        Form::Values => json!({ "type": ["object", "null"] }),
        Form::Event(words) => json!({
            "anyOf": [
                { "type": "string", "minLength": 1, "maxLength": words.bytes_max },
                { "type": "object", "properties": { "type": { "type": "string", "minLength": 1 } } },
            ],
        }),
        Form::Map(shape) => of_shape(shape),
        Form::Named(shape) => json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": NAME },
            "additionalProperties": of_shape(shape),
        }),
        Form::Texts(_) => json!({
            "type": ["object", "null"],
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        }),
        // A section with nothing behind it is an empty one.
        Form::List(of @ Form::Map(_), count) if count.least == 0 => {
            let mut out = list(of, *count);
            out["type"] = json!(["array", "null"]);
            out
        }
        Form::List(of, count) => list(of, *count),
        Form::OneOrMany(of, count) => json!({ "anyOf": [of_form(of), list(of, *count)] }),
    }
}

fn list(of: &Form, count: Count) -> Value {
    let mut out = json!({ "type": "array", "items": of_form(of) });
    if count.least > 0 {
        out["minItems"] = json!(count.least);
    }
    if count.most < shape::ANY.most {
        out["maxItems"] = json!(count.most);
    }
    out
}

/// A pattern as far as a schema goes: fields lead to fields or to lists of alternatives.
fn pattern() -> Value {
    json!({
        "description": "A content pattern. A field's value is a list of alternatives: values, or operators such as { prefix: a }.",
        "type": "object",
        "minProperties": 1,
        "properties": { "$or": { "type": "array", "items": { "$ref": "#/$defs/pattern" } } },
        "additionalProperties": {
            "anyOf": [
                { "type": "array", "minItems": 1 },
                { "$ref": "#/$defs/pattern" },
            ],
        },
    })
}
