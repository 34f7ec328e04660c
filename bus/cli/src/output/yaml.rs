//! JSON text as YAML, members in their order.
//!
//! Whole numbers of 64 bits keep their value; all others go through a double, as YAML's readers do.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::plain::is_unsafe;
use crate::Failure;

/// One document.
///
/// # Errors
/// The text is not JSON or nested too deeply for YAML.
pub(crate) fn document(json: &str) -> Result<String, Failure> {
    let text = print(&read(json)?)?;
    Ok(if is_safe(&text) {
        text
    } else {
        super::json::compact(json) + "\n"
    })
}

/// One entry of a list; entries behind each other are one list.
///
/// # Errors
/// As [`document`].
pub(crate) fn entry(json: &str) -> Result<String, Failure> {
    let text = print(&Tree::List(vec![read(json)?]))?;
    Ok(if is_safe(&text) {
        text
    } else {
        format!("- {}\n", super::json::compact(json))
    })
}

/// Whether the text has nothing that must be escaped. What has is printed as JSON, which YAML reads as it
/// is, because not each of YAML's ways to write a text has escapes.
fn is_safe(text: &str) -> bool {
    !text.chars().any(|own| is_unsafe(own) && own != '\n')
}

fn read(json: &str) -> Result<Tree, Failure> {
    serde_json::from_str(json)
        .map_err(|error| Failure::new(format!("this can't be shown as YAML: {error}; try -o json")))
}

fn print(tree: &Tree) -> Result<String, Failure> {
    serde_saphyr::to_string(tree)
        .map_err(|error| Failure::new(format!("this can't be shown as YAML: {error}; try -o json")))
}

/// A JSON value with its members in order.
enum Tree {
    Null,
    Boolean(bool),
    Unsigned(u64),
    Signed(i64),
    Double(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor;
        impl<'de> Visitor<'de> for TreeVisitor {
            type Value = Tree;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Boolean(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Unsigned(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Signed(value))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Double(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = seq.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Map(members))
            }
        }
        deserializer.deserialize_any(TreeVisitor)
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Double(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                for item in list {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_text_its_type() {
        let json = r#"{"b":1,"a":[true,null,-2,1.5,"no","12","line\nline"],"e":{},"l":[]}"#;
        let yaml = document(json).unwrap();
        assert!(yaml.find("b:") < yaml.find("a:"), "{yaml}");
        let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(
            back,
            serde_json::from_str::<serde_json::Value>(json).unwrap()
        );
    }

    #[test]
    fn what_nobody_sees_is_escaped_and_stays_in_the_data() {
        let json = r#"{"t":"a\u202eb\u200b","e":"\u001b[2J"}"#;
        for (yaml, list) in [
            (document(json).unwrap(), false),
            (entry(json).unwrap(), true),
        ] {
            assert!(is_safe(&yaml), "{yaml:?}");
            let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
            let back = if list { back[0].clone() } else { back };
            assert_eq!(back["t"], "a\u{202e}b\u{200b}");
            assert_eq!(back["e"], "\u{1b}[2J");
        }
    }

    #[test]
    fn entries_behind_each_other_are_one_list() {
        let yaml = entry(r#"{"n":1,"in":{"x":2}}"#).unwrap() + &entry(r#"{"n":2}"#).unwrap();
        let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(
            back,
            serde_json::json!([{"n": 1, "in": {"x": 2}}, {"n": 2}])
        );
    }
}
