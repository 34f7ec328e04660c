//! An event as JSON, with its data as it was published.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::media;
use crate::json::{Object, string};
use edgebus_model::media_type;
use edgebus_model::{Attribute, Data, Event};

/// Appends the event in the JSON format. JSON data goes in unchanged; text of a text type as a
/// string; all other bytes as Base64.
pub fn encode(out: &mut Vec<u8>, event: &Event) {
    out.reserve(event.size() + 160);
    let mut object = Object::new(out);
    for (name, value) in event.text_attributes() {
        object.text(name, value);
    }
    for (name, value) in &event.extensions {
        match value {
            Attribute::Text(text) => object.text(name, text),
            Attribute::Boolean(value) => object.boolean(name, *value),
            Attribute::Integer(number) => object
                .member(name)
                .extend_from_slice(number.to_string().as_bytes()),
        }
    }
    match &event.data {
        Data::Absent => {}
        Data::Json(json) => object.member("data").extend_from_slice(json),
        Data::Opaque(bytes) => match text(event.data_content_type.as_deref(), bytes) {
            Some(text) => string(object.member("data"), text),
            None => {
                let out = object.member("data_base64");
                out.push(b'"');
                out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                out.push(b'"');
            }
        },
    }
    object.end();
}

/// The bytes as text, if their type says that they are and they are.
fn text<'a>(media_type: Option<&str>, bytes: &'a [u8]) -> Option<&'a str> {
    let media_type = media_type?;
    if media::is_text(media_type) && !media_type::is_json(media_type) {
        std::str::from_utf8(bytes).ok()
    } else {
        None
    }
}
