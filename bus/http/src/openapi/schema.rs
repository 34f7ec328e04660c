//! JSON Schema, as far as the shapes here need it: each function makes one schema with its words.

use serde_json::{Map, Value, json};

use edgebus_model::Name;

/// A schema that stands among the components.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Text.
pub(super) fn text(words: &str) -> Value {
    json!({"type": "string", "description": words})
}

/// Text of these words only.
pub(super) fn word(words: &str, known: &[&str]) -> Value {
    json!({"type": "string", "enum": known, "description": words})
}

/// A whole number of at least `least`.
pub(super) fn number(words: &str, least: u64) -> Value {
    json!({"type": "integer", "minimum": least, "description": words})
}

/// True or false.
pub(super) fn flag(words: &str) -> Value {
    json!({"type": "boolean", "description": words})
}

/// A time.
pub(super) fn time(words: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": format!("{words} RFC 3339 in UTC, with milliseconds.")})
}

/// An error's code.
pub(super) fn code(words: &str) -> Value {
    json!({"type": "string", "pattern": "^EB[0-9]{4}$", "description": format!("{words} `edgebus explain CODE` prints its page.")})
}

/// The name of a bus, a function or a rule.
pub(super) fn name(words: &str) -> Value {
    json!({
        "type": "string",
        "pattern": format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{}}}$", Name::BYTES_MAX - 1),
        "description": words,
    })
}

/// A delivery's id.
pub(super) fn delivery_id(words: &str) -> Value {
    json!({
        "type": "string",
        "pattern": "^[0-9]+-[0-9]+(-r[0-9]+)?$",
        "description": format!("{words} SUBSCRIPTION-POSITION, and -rREPLAY behind it for a replayed one."),
    })
}

/// The cursor of a page.
pub(super) fn next(words: &str) -> Value {
    json!({"type": ["string", "null"], "description": words})
}

/// A list.
pub(super) fn list(words: &str, items: Value) -> Value {
    json!({"type": "array", "items": items, "description": words})
}

/// An object that is being described; [`Object::done`] ends it.
pub(super) struct Object {
    words: &'static str,
    required: Vec<&'static str>,
    properties: Map<String, Value>,
}

/// Begins an object.
pub(super) fn object(words: &'static str) -> Object {
    Object {
        words,
        required: Vec::new(),
        properties: Map::new(),
    }
}

impl Object {
    /// A member that is always there.
    pub(super) fn has(mut self, name: &'static str, schema: Value) -> Self {
        self.required.push(name);
        self.may(name, schema)
    }

    /// A member that may be there.
    pub(super) fn may(mut self, name: &'static str, schema: Value) -> Self {
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// The schema.
    pub(super) fn done(self) -> Value {
        json!({
            "type": "object",
            "description": self.words,
            "required": self.required,
            "properties": self.properties,
        })
    }
}
