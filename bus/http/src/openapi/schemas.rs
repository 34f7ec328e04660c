//! The schemas of the API's structs as the description has them: each struct once, among the components.
//!
//! Never here: a struct of the API; those are in the crate `api`.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

/// Where references lead.
const PLACE: &str = "/components/schemas";
/// Marks a member that may be missing and may be null as well.
const NULLABLE: &str = "x-nullable";

/// Collects the structs that an operation names.
pub(super) struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12()
                .with(|settings| settings.definitions_path = PLACE.into())
                .with_transform(RecursiveTransform(on_one_line))
                .with_transform(OptionalMembers)
        };
        Self {
            answers: settings().for_serialize().into_generator(),
            requests: settings().for_deserialize().into_generator(),
        }
    }
}

impl Schemas {
    /// The schema of something that the bus writes.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// The schema of something that the bus reads.
    pub(super) fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// All structs by name.
    pub(super) fn components(mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all
    }
}

/// A comment's lines are one text.
fn on_one_line(schema: &mut Schema) {
    if let Some(Value::String(words)) = schema.get_mut("description") {
        *words = words.replace('\n', " ");
    }
}

/// A member that may be missing is never null, unless it says so.
#[derive(Clone)]
struct OptionalMembers;

impl Transform for OptionalMembers {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let required = schema.get("required").cloned().unwrap_or_default();
        let is_required = |name: &String| {
            let required = required.as_array();
            required.is_some_and(|all| all.iter().any(|own| own == name))
        };
        let Some(Value::Object(properties)) = schema.get_mut("properties") else {
            return;
        };
        for (name, property) in properties {
            if let Value::Object(property) = property
                && property.remove(NULLABLE).is_none()
                && !is_required(name)
            {
                without_null(property);
            }
        }
    }
}

fn without_null(property: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = property.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            property.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = property.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(any)) = property.get_mut("anyOf") {
        any.retain(|one| one["type"] != "null");
        if let [Value::Object(only)] = any.as_mut_slice() {
            let only = std::mem::take(only);
            property.remove("anyOf");
            for (key, value) in only {
                property.entry(key).or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_is_required_or_never_null() {
        #[derive(JsonSchema, serde::Serialize)]
        struct Inner {}

        #[allow(dead_code, reason = "only its schema is looked at")]
        #[derive(JsonSchema, serde::Serialize)]
        struct Answer {
            /// Of two
            /// lines.
            there: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            text: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            inner: Option<Inner>,
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(extend("x-nullable" = true))]
            either: Option<String>,
        }

        let mut schemas = Schemas::default();
        assert_eq!(
            schemas.answer::<Answer>(),
            json!({"$ref": "#/components/schemas/Answer"})
        );
        let all = schemas.components();
        let answer = &all["Answer"];
        assert_eq!(answer["required"], json!(["there"]));
        let members = &answer["properties"];
        assert_eq!(members["there"]["type"], json!(["integer", "null"]));
        assert_eq!(members["there"]["description"], "Of two lines.");
        assert_eq!(members["text"], json!({"type": "string"}));
        assert_eq!(
            members["inner"],
            json!({"$ref": "#/components/schemas/Inner"})
        );
        assert_eq!(members["either"], json!({"type": ["string", "null"]}));
    }
}
