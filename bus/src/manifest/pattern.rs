//! `match` as JSON text for the `rules` crate, and an inline event as JSON text for a test.
//!
//! Numbers keep their spelling. EventBridge's names are translated here, once: `detail-type` is `type`
//! and `detail` is `data`, as the first segment of a path, also inside `$or`. Never here: what a
//! pattern means.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::faults::{Faults, Spot, join, shown};
use super::scalar::{Plain, resolve};
use super::tree::{Place, Value};

/// EventBridge's names with ours.
const ALIASES: [(&str, &str); 2] = [("detail-type", "type"), ("detail", "data")];

/// A `match` in JSON, and where each of its values is in the manifest.
pub(super) struct Converted {
    pub(super) json: String,
    places: HashMap<String, Spot>,
}

impl Converted {
    /// The spot in the manifest of `pointer` into the JSON, or of the nearest value around it.
    pub(super) fn spot(&self, pointer: &str) -> Option<&Spot> {
        let mut pointer = pointer;
        loop {
            if let Some(spot) = self.places.get(pointer) {
                return Some(spot);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

/// A pattern as JSON; `None` with at least one fault where it has no JSON form.
pub(super) fn pattern_json(at: &Cursor<'_>, faults: &mut Faults) -> Option<Converted> {
    Writer::new(faults).finish(at, Keys::Attributes)
}

/// Any value as JSON.
pub(super) fn value_json(at: &Cursor<'_>, faults: &mut Faults) -> Option<String> {
    Writer::new(faults)
        .finish(at, Keys::Own)
        .map(|converted| converted.json)
}

/// What the keys of a mapping are.
#[derive(Clone, Copy, PartialEq)]
enum Keys {
    /// The first segments of paths, which have aliases.
    Attributes,
    /// The user's own.
    Own,
}

struct Writer<'f> {
    out: String,
    places: HashMap<String, Spot>,
    /// Which spelling of an aliased key was seen first, by our name.
    spellings: HashMap<&'static str, (&'static str, Place)>,
    sound: bool,
    faults: &'f mut Faults,
}

impl<'f> Writer<'f> {
    fn new(faults: &'f mut Faults) -> Self {
        Self {
            out: String::new(),
            places: HashMap::new(),
            spellings: HashMap::new(),
            sound: true,
            faults,
        }
    }

    fn finish(mut self, at: &Cursor<'_>, keys: Keys) -> Option<Converted> {
        self.places.insert(String::new(), at.spot());
        self.value(at, "", keys);
        self.sound.then_some(Converted {
            json: self.out,
            places: self.places,
        })
    }

    fn fault(&mut self, at: &Spot, reason: String, remedy: impl Into<String>) {
        self.sound = false;
        self.faults.add(at, reason, remedy);
    }

    fn value(&mut self, at: &Cursor<'_>, pointer: &str, keys: Keys) {
        match &at.node.value {
            Value::Quoted(text) => self.string(text),
            Value::Plain(text) => match resolve(text) {
                Plain::Null => self.out.push_str("null"),
                Plain::Boolean(value) => self.out.push_str(if value { "true" } else { "false" }),
                Plain::Number(number) => self.out.push_str(number),
                Plain::Text => self.string(text),
                Plain::ForeignNumber => self.fault(
                    &at.spot(),
                    format!(
                        "`{}` is a number in YAML that JSON does not know",
                        shown(text)
                    ),
                    format!("write it as a JSON number, or as a text: '{}'", shown(text)),
                ),
            },
            Value::List(_) => self.list(at, pointer, keys),
            Value::Map(_) => self.map(at, pointer, keys),
        }
    }

    fn string(&mut self, text: &str) {
        self.out
            .push_str(&serde_json::Value::from(text).to_string());
    }

    fn list(&mut self, at: &Cursor<'_>, pointer: &str, keys: Keys) {
        self.out.push('[');
        let Value::List(items) = &at.node.value else {
            return;
        };
        for (index, node) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let pointer = format!("{pointer}/{index}");
            let item = at.child(&index.to_string(), node);
            self.places.insert(pointer.clone(), item.spot());
            self.value(&item, &pointer, keys);
        }
        self.out.push(']');
    }

    fn map(&mut self, at: &Cursor<'_>, pointer: &str, keys: Keys) {
        self.out.push('{');
        let Value::Map(entries) = &at.node.value else {
            return;
        };
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let value = at.child(&entry.key, &entry.node);
            let spot = Spot::new(value.pointer.clone(), entry.key_place);
            let key = match keys {
                Keys::Attributes => self.translated(&entry.key, &spot),
                Keys::Own => entry.key.clone(),
            };
            let below = if keys == Keys::Attributes && key == "$or" {
                Keys::Attributes
            } else {
                Keys::Own
            };
            let pointer = join(pointer, &key);
            self.places.insert(pointer.clone(), spot);
            self.string(&key);
            self.out.push(':');
            self.value(&value, &pointer, below);
        }
        self.out.push('}');
    }

    /// A key with its first segment in our words; both spellings in one rule are a fault.
    fn translated(&mut self, key: &str, spot: &Spot) -> String {
        let first = key.split('.').next().unwrap_or_default();
        let Some((written, ours)) = ALIASES.iter().find_map(|(alias, ours)| {
            let written = [*alias, *ours].into_iter().find(|name| *name == first)?;
            Some((written, *ours))
        }) else {
            return key.to_owned();
        };
        let before = *self.spellings.entry(ours).or_insert((written, spot.place));
        if before.0 != written {
            self.fault(
                spot,
                format!(
                    "`{written}` and `{}` (line {}) are two names of one key",
                    before.0, before.1.0
                ),
                format!("write `{ours}` in the whole rule"),
            );
        }
        format!("{ours}{}", &key[first.len()..])
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
        let mut faults = Faults::default();
        let root = tree::read(text, &mut faults).expect("it is YAML");
        let converted =
            pattern_json(&Cursor::root(&root), &mut faults).expect("it has a JSON form");
        assert_eq!(
            converted.json,
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
            ("nonsense", (0, 0), "-"),
        ];
        for (pointer, place, in_manifest) in table {
            let spot = converted.spot(pointer).cloned();
            let spot = spot.unwrap_or(Spot::new("-".into(), (0, 0)));
            assert_eq!(
                (spot.place, spot.pointer.as_str()),
                (place, in_manifest),
                "{pointer}"
            );
        }
    }
}
