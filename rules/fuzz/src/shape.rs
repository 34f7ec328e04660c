//! What may be vouched for in a JSON text: whether a key comes twice in one object, or has a dot in it.
//!
//! Read by serde_json, which shares no code with the matchers.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;

/// The members of an object in reading order, also those whose keys come again.
pub struct Members<'t>(pub Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// The members of an event; none if it is no object, or not JSON.
pub fn members(event: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    let members: Members<'_> = serde_json::from_slice(event).ok()?;
    Some(members.0)
}

/// Whether outside of arrays no object of a JSON text has a key twice, or a key with a dot.
pub fn is_plain(text: &str) -> bool {
    let text = text.trim_start();
    if !text.starts_with('{') {
        return true;
    }
    let mut keys = HashSet::new();
    let members: Result<Members<'_>, _> = serde_json::from_str(text);
    members.is_ok_and(|members| {
        let mut members = members.0.into_iter();
        members.all(|(key, value)| !key.contains('.') && keys.insert(key) && is_plain(value.get()))
    })
}

/// Whether a text is JSON (RFC 8259) that can be an event: an object, and no deeper than the limit.
/// None where serde_json can't tell, because it doesn't decode the strings that it skips.
pub fn is_event(bytes: &[u8]) -> Option<bool> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some(false);
    };
    let skipped: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    let object = text
        .trim_start_matches([' ', '\n', '\r', '\t'])
        .starts_with('{');
    if skipped.is_err() || !object {
        // serde_json refuses more than 127 brackets, and the limit is less.
        return Some(false);
    }
    let surrogates = text.contains("\\ud") || text.contains("\\uD");
    (!surrogates).then(|| depth(text) <= 64)
}

/// The most brackets that are open at once in a JSON text.
fn depth(text: &str) -> usize {
    let (mut open, mut most, mut quoted) = (0_usize, 0, false);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => open += 1,
            b'}' | b']' if !quoted => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    most
}
