//! Reads the objects of a pattern: fields, their paths, and `$or`.
//!
//! The keys of an object are joined by "and", the objects of a `$or` by "or". If a key occurs twice in one
//! object, its last value counts. The earlier ones are still validated. Recursion is bounded by the depth of
//! the document.

use super::document::{Json, Member, Node};
use super::leaf::{self, Condition};
use super::place::{Errors, JsonPlace};
use super::{Dialect, ParseOptions};
use crate::limits::{PATH_SEGMENTS_MAX, PATTERN_FIELDS_MAX};
use crate::operator::NAMES;
use crate::path::Path;
use crate::scalar::quote;
use std::collections::{HashMap, HashSet};

/// One requirement of an object.
#[derive(Debug)]
pub(crate) enum Clause {
    /// A condition, given by its index.
    Field(u16),
    /// A `$or`: at least one of these has to hold.
    Any(Vec<Vec<Clause>>),
}

/// The fields of a pattern.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The distinct paths.
    pub(crate) paths: Vec<Path>,
    /// The conditions on them, in reading order.
    pub(crate) conditions: Vec<Condition>,
}

/// Reads a whole pattern.
pub(crate) fn collect(
    document: &Node<'_>,
    options: &ParseOptions<'_>,
    errors: &mut Errors,
) -> (Fields, Vec<Clause>) {
    let mut reader = Reader {
        aliases: options.aliases,
        texts_but: options.texts_but,
        dialect: options.dialect,
        errors,
        fields: Fields::default(),
        known: HashMap::new(),
        path: Vec::new(),
        written: 0,
    };
    let Json::Object(members) = &document.json else {
        let reason = format!("a pattern is an object, not {}", document.kind());
        let remedy = "write {\"field\": [\"value\"]}";
        reader
            .errors
            .add(document.offset, &JsonPlace::Top, reason, remedy);
        return (reader.fields, Vec::new());
    };
    let clauses = reader.object(document, members, &JsonPlace::Top, Inside::Object);
    (reader.fields, clauses)
}

/// The kind of object that directly contains a key.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Object,
    Or,
}

struct Reader<'r> {
    aliases: &'r [(&'r str, &'r str)],
    texts_but: &'r [&'r str],
    dialect: Dialect,
    errors: &'r mut Errors,
    fields: Fields,
    /// The index of each path in `fields.paths`.
    known: HashMap<Path, u16>,
    /// The path of the current place.
    path: Path,
    /// The number of fields read, including replaced ones.
    written: usize,
}

impl Reader<'_> {
    fn object(
        &mut self,
        node: &Node<'_>,
        members: &[Member<'_>],
        place: &JsonPlace<'_>,
        inside: Inside,
    ) -> Vec<Clause> {
        if members.is_empty() {
            let remedy = "write at least one field, or leave the object out";
            self.errors
                .add(node.offset, place, "an empty object", remedy);
        }
        let mut clauses = Vec::new();
        for (member, counts) in members.iter().zip(last_wins(members)) {
            let place = JsonPlace::Key(place, &member.key);
            let clause = if member.key == "$or" {
                self.disjunction(&member.value, &place)
            } else {
                self.field(member, &place, inside)
            };
            if counts {
                clauses.extend(clause);
            }
        }
        clauses
    }

    fn disjunction(&mut self, node: &Node<'_>, place: &JsonPlace<'_>) -> Vec<Clause> {
        let remedy = "write {\"$or\": [{…}, {…}]}";
        let Json::List(elements) = &node.json else {
            let reason = format!("$or takes a list of objects, not {}", node.kind());
            self.errors.add(node.offset, place, reason, remedy);
            return Vec::new();
        };
        if elements.len() < 2 {
            let reason = "$or takes two or more objects";
            self.errors.add(node.offset, place, reason, remedy);
        }
        let mut alternatives = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let place = JsonPlace::Index(place, index);
            match &element.json {
                Json::Object(members) => {
                    alternatives.push(self.object(element, members, &place, Inside::Or));
                }
                _ => {
                    let reason = format!("{} in $or", element.kind());
                    self.errors.add(element.offset, &place, reason, remedy);
                }
            }
        }
        vec![Clause::Any(alternatives)]
    }

    fn field(&mut self, member: &Member<'_>, place: &JsonPlace<'_>, inside: Inside) -> Vec<Clause> {
        if inside == Inside::Or && reserved(&member.key) {
            let reason = format!("{} can't be a field's name inside $or", quote(&member.key));
            let remedy = format!(
                "write the field around it: {{\"field\": [{{{}: …}}]}}",
                quote(&member.key)
            );
            self.errors.add(member.offset, place, reason, remedy);
            return Vec::new();
        }
        let depth = self.path.len();
        for (index, segment) in member.key.split('.').enumerate() {
            let meant = if depth + index == 0 {
                self.meant(segment)
            } else {
                segment
            };
            self.path.push(meant.into());
        }
        let clauses = if self.path.len() > PATH_SEGMENTS_MAX {
            let reason = format!("a path of more than {PATH_SEGMENTS_MAX} segments, the limit");
            self.errors
                .add(member.offset, place, reason, "name a field nearer the top");
            Vec::new()
        } else {
            self.field_value(member, place)
        };
        self.path.truncate(depth);
        clauses
    }

    fn field_value(&mut self, member: &Member<'_>, place: &JsonPlace<'_>) -> Vec<Clause> {
        let node = &member.value;
        match &node.json {
            Json::Object(members) => self.object(node, members, place, Inside::Object),
            Json::List(elements) => {
                self.written += 1;
                if self.written > PATTERN_FIELDS_MAX {
                    if self.written == PATTERN_FIELDS_MAX + 1 {
                        let reason = format!("more than {PATTERN_FIELDS_MAX} fields, the limit");
                        let remedy = "split the pattern into several rules";
                        self.errors.add(member.offset, place, reason, remedy);
                    }
                    return Vec::new();
                }
                let texts = self.is_text().then(|| {
                    let texts = elements.iter().map(Node::as_text);
                    texts.collect::<Vec<Node<'_>>>()
                });
                let elements = texts.as_deref().unwrap_or(elements);
                let alternatives =
                    leaf::alternatives(node, elements, self.dialect, place, self.errors);
                let path = self.intern();
                self.fields
                    .conditions
                    .push(Condition::new(path, alternatives));
                // The limit on fields keeps the index far below 65,536.
                vec![Clause::Field((self.fields.conditions.len() - 1) as u16)]
            }
            _ => {
                let reason = format!("a field takes a list or an object, not {}", node.kind());
                let remedy = match &node.json {
                    Json::Text(text) => format!("write [{}]", quote(text)),
                    Json::Number(text) => format!("write [{}]", crate::scalar::shorten(text)),
                    Json::Bool(value) => format!("write [{value}]"),
                    _ => "write [null]".to_owned(),
                };
                self.errors.add(node.offset, place, reason, remedy);
                Vec::new()
            }
        }
    }

    /// Whether the value at the current path is a string in every event.
    fn is_text(&self) -> bool {
        match self.path.as_slice() {
            [only] => {
                !self.texts_but.is_empty() && self.texts_but.iter().all(|other| *other != &**only)
            }
            _ => false,
        }
    }

    /// The name of a first segment after aliases.
    fn meant<'s>(&self, written: &'s str) -> &'s str
    where
        Self: 's,
    {
        let alias = self.aliases.iter().find(|(alias, _)| *alias == written);
        alias.map_or(written, |(_, meant)| meant)
    }

    fn intern(&mut self) -> u16 {
        let paths = &mut self.fields.paths;
        let path = &self.path;
        *self.known.entry(path.clone()).or_insert_with(|| {
            paths.push(path.clone());
            (paths.len() - 1) as u16
        })
    }
}

/// For each member, whether no later one has the same key.
fn last_wins(members: &[Member<'_>]) -> Vec<bool> {
    let mut later = HashSet::new();
    let mut counts: Vec<bool> = members
        .iter()
        .rev()
        .map(|member| later.insert(member.key.as_ref()))
        .collect();
    counts.reverse();
    counts
}

/// Whether a name could be taken for an operator without its field, now or in a later version.
fn reserved(key: &str) -> bool {
    NAMES.contains(&key)
        || key == "regex"
        || ["date-", "ip-address-", "not-"]
            .iter()
            .any(|start| key.starts_with(start))
}
