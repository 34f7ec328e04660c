//! `match` as JSON text for the `rules` crate, and an inline event as JSON text for a test.
//!
//! Numbers keep their spelling. EventBridge's names are translated here, once: `detail-type` is `type`
//! and `detail` is `data`, as the first segment of a path, also inside `$or`. Never here: what a
//! pattern means.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::errors::{Errors, Spot, push_segment, shown};
use super::nearest::nearest;
use super::scalar::{Plain, resolve};
use super::tree::{Entry, LineColumn, MANIFEST_BYTES_MAX, Node, Value};
use crate::view::ALIASES;
use edgebus_model::Event;

/// The member of an event that isn't an attribute.
const DATA: &str = "data";

/// What the keys of a pattern are, nearly always.
pub(super) const KNOWN: [&str; 11] = [
    DATA,
    "detail",
    "detail-type",
    "id",
    "source",
    "specversion",
    "type",
    "datacontenttype",
    "dataschema",
    "subject",
    "time",
];

/// The longest pattern, in bytes of JSON.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// A pattern as JSON; `None` with at least one error where it has no JSON form.
pub(super) fn pattern_json(at: &Cursor<'_>, errors: &mut Errors) -> Option<String> {
    Writer::new(at, PATTERN_BYTES_MAX, errors).finish(at, Keys::Attributes)
}

/// Any value as JSON.
pub(super) fn value_json(at: &Cursor<'_>, errors: &mut Errors) -> Option<String> {
    // Escapes can make JSON longer than the text that it was written in.
    Writer::new(at, 6 * MANIFEST_BYTES_MAX, errors).finish(at, Keys::Own)
}

/// The spot in the manifest of `pointer` into the pattern's JSON, or of the nearest value around it.
pub(super) fn locate(pattern: &Cursor<'_>, pointer: &str) -> Spot {
    locate_among(pattern, pointer, Keys::Attributes)
}

/// The same for a value whose keys are the user's own.
pub(super) fn locate_value(value: &Cursor<'_>, pointer: &str) -> Spot {
    locate_among(value, pointer, Keys::Own)
}

fn locate_among(top: &Cursor<'_>, pointer: &str, mut keys: Keys) -> Spot {
    let mut at = top.clone();
    let mut spot = top.spot();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        match &at.node.value {
            Value::List(items) => {
                let index: Option<usize> = segment.parse().ok();
                let Some(node) = index.and_then(|index| items.get(index)) else {
                    return spot;
                };
                at = at.child(&segment, node);
                spot = at.spot();
            }
            Value::Map(entries) => {
                let here = |entry: &&Entry| keys.translated(&entry.key) == segment;
                let Some(entry) = entries.iter().find(here) else {
                    return spot;
                };
                at = at.child(&entry.key, &entry.node);
                spot = Spot::new(at.pointer.clone(), entry.key_place);
                keys = keys.below(&segment);
            }
            Value::Plain(_) | Value::Quoted(_) => return spot,
        }
    }
    spot
}

/// What the keys of a mapping are.
#[derive(Clone, Copy, PartialEq)]
enum Keys {
    /// The first segments of paths, which have aliases.
    Attributes,
    /// The user's own.
    Own,
}

impl Keys {
    /// Our spelling of a key.
    fn translated(self, key: &str) -> String {
        let first = key.split('.').next().unwrap_or_default();
        match ALIASES.iter().find(|(alias, _)| *alias == first) {
            Some((_, ours)) if self == Self::Attributes => {
                format!("{ours}{}", &key[first.len()..])
            }
            _ => key.to_owned(),
        }
    }

    /// What the keys below `key` are.
    fn below(self, key: &str) -> Self {
        if key == "$or" { self } else { Self::Own }
    }
}

struct Writer<'f> {
    out: String,
    bytes_max: usize,
    /// Where the writer is in the manifest; segments are put behind it and cut off again.
    pointer: String,
    /// Which spelling of an aliased key was seen first, by our name.
    spellings: HashMap<&'static str, (&'static str, LineColumn)>,
    valid: bool,
    errors: &'f mut Errors,
}

impl<'f> Writer<'f> {
    fn new(at: &Cursor<'_>, bytes_max: usize, errors: &'f mut Errors) -> Self {
        Self {
            out: String::new(),
            bytes_max,
            pointer: at.pointer.clone(),
            spellings: HashMap::new(),
            valid: true,
            errors,
        }
    }

    fn finish(mut self, at: &Cursor<'_>, keys: Keys) -> Option<String> {
        self.value(at.node, keys);
        if self.out.len() > self.bytes_max {
            self.pointer.clone_from(&at.pointer);
            let reason = format!("this is longer than {} bytes of JSON", self.bytes_max);
            self.error(at.node.place, reason, "split it");
        }
        self.valid.then_some(self.out)
    }

    fn error(&mut self, place: LineColumn, reason: String, remedy: impl Into<String>) {
        self.valid = false;
        let spot = Spot::new(self.pointer.clone(), place);
        self.errors.add(&spot, reason, remedy);
    }

    fn value(&mut self, node: &Node, keys: Keys) {
        if self.out.len() > self.bytes_max {
            return;
        }
        match &node.value {
            Value::Quoted(text) => self.string(text),
            Value::Plain(text) => self.plain(text, node.place),
            Value::List(items) => self.list(items, keys),
            Value::Map(entries) => self.map(entries, keys),
        }
    }

    fn plain(&mut self, text: &str, place: LineColumn) {
        match resolve(text) {
            Plain::Null => self.out.push_str("null"),
            Plain::Boolean(value) => self.out.push_str(if value { "true" } else { "false" }),
            Plain::Number(number) => self.out.push_str(number),
            Plain::Text => self.string(text),
            Plain::ForeignNumber => self.error(
                place,
                format!(
                    "`{}` is a number in YAML that JSON does not know",
                    shown(text)
                ),
                format!("write it as a JSON number, or as a text: '{}'", shown(text)),
            ),
        }
    }

    fn string(&mut self, text: &str) {
        self.out
            .push_str(&serde_json::Value::from(text).to_string());
    }

    fn list(&mut self, items: &[Node], keys: Keys) {
        self.out.push('[');
        let above = self.pointer.len();
        for (index, node) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            push_segment(&mut self.pointer, &index.to_string());
            self.value(node, keys);
            self.pointer.truncate(above);
        }
        self.out.push(']');
    }

    fn map(&mut self, entries: &[Entry], keys: Keys) {
        self.out.push('{');
        let above = self.pointer.len();
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            push_segment(&mut self.pointer, &entry.key);
            if keys == Keys::Attributes {
                self.check_spelling(&entry.key, entry.key_place);
                self.check_attribute(&entry.key, entry.key_place);
            }
            self.string(&keys.translated(&entry.key));
            self.out.push(':');
            self.value(&entry.node, keys.below(&entry.key));
            self.pointer.truncate(above);
        }
        self.out.push('}');
    }

    /// A key that no event can have is an error.
    fn check_attribute(&mut self, key: &str, place: LineColumn) {
        let translated = Keys::Attributes.translated(key);
        let first = translated.split('.').next().unwrap_or_default();
        if key == "$or" || first == DATA || Event::is_attribute_name(first) {
            return;
        }
        let written = key.split('.').next().unwrap_or_default();
        let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
        let mut known = KNOWN.iter().copied();
        let same = known.find(|name| plain(name) == plain(written));
        let remedy = match same.or_else(|| nearest(written, KNOWN)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if written == "data_base64" => {
                "write `data`, whichever form it came in".to_owned()
            }
            None => format!(
                "for a field of the event's data, write `data: {{ {}: … }}`",
                shown(written)
            ),
        };
        let reason = format!(
            "no event has an attribute `{}`: their names are 1 to {} lower-case letters and digits",
            shown(written),
            Event::NAME_BYTES_MAX
        );
        self.error(place, reason, remedy);
    }

    /// Both spellings of a key in one rule are an error.
    fn check_spelling(&mut self, key: &str, place: LineColumn) {
        let first = key.split('.').next().unwrap_or_default();
        for (alias, ours) in ALIASES {
            let Some(written) = [alias, ours].into_iter().find(|name| *name == first) else {
                continue;
            };
            let before = *self.spellings.entry(ours).or_insert((written, place));
            if before.0 != written {
                let (other, (line, _)) = before;
                self.error(
                    place,
                    format!("`{written}` and `{other}` (line {line}) are two names of one key"),
                    format!("write `{ours}` in the whole rule"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn pointers_into_the_json_lead_back_to_the_manifest() {
        let text =
            "detail:\n  a/b: [x, { prefix: 1 }]\n$or:\n  - detail-type: [1]\n  - { s: [2] }\n";
        let mut errors = Errors::default();
        let tree = tree::read(text, &mut errors).expect("it is YAML");
        let root = Cursor::root(&tree);
        let json = pattern_json(&root, &mut errors).expect("it has a JSON form");
        assert_eq!(
            json,
            r#"{"data":{"a/b":["x",{"prefix":1}]},"$or":[{"type":[1]},{"s":[2]}]}"#
        );
        let table = [
            ("", (1, 1), ""),
            ("/data", (1, 1), "/detail"),
            ("/data/a~1b", (2, 3), "/detail/a~1b"),
            ("/data/a~1b/0", (2, 9), "/detail/a~1b/0"),
            ("/data/a~1b/1/prefix", (2, 14), "/detail/a~1b/1/prefix"),
            (
                "/data/a~1b/1/prefix/9/none",
                (2, 14),
                "/detail/a~1b/1/prefix",
            ),
            ("/$or/0/type", (4, 5), "/$or/0/detail-type"),
            ("/nowhere", (1, 1), ""),
            ("nonsense", (1, 1), ""),
            ("/$or/1/s/7", (5, 7), "/$or/1/s"),
        ];
        for (pointer, place, in_manifest) in table {
            let spot = locate(&root, pointer);
            assert_eq!(
                (spot.place, spot.pointer.as_str()),
                (place, in_manifest),
                "{pointer}"
            );
        }
    }
}
