//! Compares the trust that a check returns with that of a reader which keeps all keys.

use super::*;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;

/// Whether no object outside of arrays has a key twice or a key with a dot.
struct Plain(bool);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

macro_rules! scalars {
    ($($name:ident: $kind:ty),*) => {
        $(fn $name<E>(self, _: $kind) -> Result<Plain, E> {
            Ok(Plain(true))
        })*
    };
}

impl<'de> Visitor<'de> for Reader {
    type Value = Plain;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain(true))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Plain, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Plain(true))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Plain, A::Error> {
        let mut keys = BTreeSet::new();
        let mut plain = true;
        while let Some((key, value)) = members.next_entry::<String, Plain>()? {
            plain &= value.0 && !key.contains('.') && keys.insert(key);
        }
        Ok(Plain(plain))
    }
}

/// Compares the two. `None` if the event isn't valid or the library can't represent its numbers.
fn check(event: &[u8]) -> Option<Trust> {
    let vouched = Trust::of_json(event).ok()?;
    let Plain(plain) = serde_json::from_slice(event).ok()?;
    // Keys with escapes are not decoded, so they are never trusted to be unique.
    let wanted = match plain && !event.contains(&b'\\') {
        true => Trust::Plain,
        false => Trust::Json,
    };
    let shown = String::from_utf8_lossy(event);
    if plain && wanted == Trust::Json {
        return Some(vouched);
    }
    assert_eq!(vouched, wanted, "{shown}");
    Some(vouched)
}

#[test]
fn it_vouches_for_what_a_slow_reader_sees() {
    let cases = [
        (r#"{}"#, Trust::Plain),
        (r#"{"a":{"b":1,"c":{"b":2}},"b":3}"#, Trust::Plain),
        (r#"{"a":1,"a":2}"#, Trust::Json),
        (r#"{"a":{"b":{"c":1,"d":2,"c":3}}}"#, Trust::Json),
        (r#"{"a":{},"b":{"a":[]},"c":{"x":1, "x" : 2}}"#, Trust::Json),
        (r#"{"a":[{"b":1,"b":2,"c.d":3}]}"#, Trust::Plain),
        (r#"{"a":[{"b":{"c":1,"c":2}}],"b":{"c":1}}"#, Trust::Plain),
        (r#"{"a":[],"b":[[]],"a":1}"#, Trust::Json),
        (r#"{"a.b":1}"#, Trust::Json),
        (r#"{"a":{".":1}}"#, Trust::Json),
        (r#"{"a":".","b":"a.b","c":1.5}"#, Trust::Plain),
        (r#"{"\u0061":1,"a":1}"#, Trust::Json),
        (r#"{"a":"\u0061\""}"#, Trust::Plain),
    ];
    for (event, wanted) in cases {
        assert_eq!(check(event.as_bytes()), Some(wanted), "{event}");
    }
}

#[test]
fn it_vouches_for_parts() {
    let check = |names: &[&str], wanted| {
        let parts = names.iter().map(|name| Part::Raw { name, json: b"{}" });
        let parts: Vec<Part<'_>> = parts.collect();
        assert_eq!(Trust::of(&parts), Ok(wanted), "{names:?}");
    };
    let names: Vec<String> = (0..40).map(|number| format!("part{number}")).collect();
    let many: Vec<&str> = names.iter().map(String::as_str).collect();
    check(&[], Trust::Plain);
    check(&["a", "", "b"], Trust::Plain);
    check(&["a", "a.b"], Trust::Json);
    check(&["a", "b", "a"], Trust::Json);
    check(&many, Trust::Plain);
    for (one, other) in [(0, 39), (15, 16), (16, 17), (20, 30), (38, 39)] {
        let mut twice = many.clone();
        twice[other] = twice[one];
        check(&twice, Trust::Json);
    }
}

#[test]
fn it_vouches_for_generated_events_as_a_slow_reader_would() {
    let (mut plain, mut other) = (0, 0);
    let mut random = Random::new(seed());
    for _ in 0..matches_wanted() {
        let event = generate::event(&mut random);
        let event = generate::corrupt(&mut random, event);
        match check(&event) {
            Some(Trust::Plain) => plain += 1,
            Some(_) => other += 1,
            None => {}
        }
    }
    let least = matches_wanted() / 20;
    assert!(
        plain > least && other > least,
        "the cases are too poor: {plain}, {other}"
    );
}
