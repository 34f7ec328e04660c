//! JSON Schemas of texts that have a form. A field stays a `String`, and takes its schema from one of these.
//!
//! Never here: checking. The bus checks what it gets.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The longest name, in bytes; the first one is counted apart.
const NAME_REST_MAX: usize = 63;

/// Makes a type that only has a schema, which stands where it is used.
macro_rules! forms {
    ($($(#[$meta:meta])* $name:ident => $schema:tt)*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

forms! {
    /// A time in RFC 3339.
    Time => {"type": "string", "format": "date-time"}
    /// The name of a bus, a function or a rule.
    Name => {"type": "string", "pattern": format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_REST_MAX}}}$")}
    /// A delivery's id.
    DeliveryId => {"type": "string", "pattern": "^[0-9]+-[0-9]+(-r[0-9]+)?$"}
    /// An error's code.
    Code => {"type": "string", "pattern": "^EB[0-9]{4}$"}
    /// A component's digest.
    Digest => {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    /// The same with the hash function's name before it.
    PrefixedDigest => {"type": "string", "pattern": "^blake3:[0-9a-f]{64}$"}
    /// A digest as a request may write it.
    AnyDigest => {"type": "string", "pattern": "^(blake3:)?[0-9a-fA-F]{64}$"}
    /// Bytes in Base64.
    Base64 => {"type": "string", "contentEncoding": "base64"}
    /// Text that is JSON itself.
    JsonText => {"type": "string", "contentMediaType": "application/json"}
    /// A JSON object, or null.
    ObjectOrNull => {"type": ["object", "null"]}
    /// Text, or null. As a member that may be missing.
    TextOrNull => {"type": ["string", "null"], "x-nullable": true}
    /// A JSON object.
    Object => {"type": "object"}
    /// The product's name.
    Product => {"const": "edgebus"}
}
