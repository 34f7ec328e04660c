//! A node with its JSON pointer, and reading of mappings and lists. Unknown keys and reserved keys are errors
//! that name the key. Nothing is ignored.

use super::errors::{Errors, Spot, join, shown};
use super::nearest::nearest;
use super::shape::{Count, Form, Shape, Words};
use super::tree::{LineColumn, Node, Value};

/// A node and where it is.
#[derive(Clone)]
pub(super) struct Cursor<'t> {
    pub(super) node: &'t Node,
    pub(super) pointer: String,
}

/// A mapping of known shape.
pub(super) struct Fields<'t> {
    spot: Spot,
    entries: Vec<(&'t str, Cursor<'t>)>,
    shape: &'static Shape,
}

/// One key of a mapping that is keyed by the user's own names.
pub(super) struct Named<'t> {
    pub(super) key: &'t str,
    pub(super) key_spot: Spot,
    pub(super) value: Cursor<'t>,
}

impl<'t> Cursor<'t> {
    pub(super) fn root(node: &'t Node) -> Self {
        Self {
            node,
            pointer: String::new(),
        }
    }

    pub(super) fn spot(&self) -> Spot {
        Spot::new(self.pointer.clone(), self.node.place)
    }

    /// The cursor of a value below this one.
    pub(super) fn child(&self, segment: &str, node: &'t Node) -> Self {
        Self {
            node,
            pointer: join(&self.pointer, segment),
        }
    }

    fn key_spot(&self, key: &str, place: LineColumn) -> Spot {
        Spot::new(join(&self.pointer, key), place)
    }

    /// The keys of a mapping; nothing at all counts as an empty one.
    pub(super) fn entries(
        &self,
        what: &str,
        example: &str,
        errors: &mut Errors,
    ) -> Option<Vec<Named<'t>>> {
        match &self.node.value {
            Value::Map(entries) => Some(
                entries
                    .iter()
                    .map(|entry| Named {
                        key: &entry.key,
                        key_spot: self.key_spot(&entry.key, entry.key_place),
                        value: self.child(&entry.key, &entry.node),
                    })
                    .collect(),
            ),
            _ if self.node.is_null() => Some(Vec::new()),
            _ => {
                errors.add(
                    &self.spot(),
                    format!("{what} must be a mapping, not {}", self.node.kind()),
                    format!("write it as in `{example}`"),
                );
                None
            }
        }
    }

    /// The keys of a mapping of `shape`. Keys that it doesn't have are reported here.
    pub(super) fn fields(&self, shape: &'static Shape, errors: &mut Errors) -> Option<Fields<'t>> {
        let mut fields = Fields {
            spot: self.spot(),
            entries: Vec::new(),
            shape,
        };
        for Named {
            key,
            key_spot,
            value,
        } in self.entries(shape.what, shape.example, errors)?
        {
            if let Some((_, remedy)) = shape.later.iter().find(|(word, _)| *word == key) {
                errors.add(&key_spot, format!("`{key}` is not supported yet"), *remedy);
            } else if shape.takes_own(key) {
                continue;
            } else if shape.key(key).is_none() {
                errors.add(
                    &key_spot,
                    format!("{} has no key `{}`", shape.what, shown(key)),
                    unknown_key_remedy(key, shape),
                );
                continue;
            }
            fields.entries.push((key, value));
        }
        Some(fields)
    }

    /// The items of a list.
    pub(super) fn items(
        &self,
        what: &str,
        example: &str,
        errors: &mut Errors,
    ) -> Option<Vec<Cursor<'t>>> {
        if let Value::List(items) = &self.node.value {
            let cursors = items.iter().enumerate();
            return Some(
                cursors
                    .map(|(index, node)| self.child(&index.to_string(), node))
                    .collect(),
            );
        }
        errors.add(
            &self.spot(),
            format!("{what} must be a list, not {}", self.node.kind()),
            format!("write it as in `{example}`"),
        );
        None
    }
}

impl<'t> Fields<'t> {
    /// Where the mapping is.
    pub(super) fn spot(&self) -> &Spot {
        &self.spot
    }

    /// The value of a key, if it is given.
    pub(super) fn get(&self, key: &str) -> Option<&Cursor<'t>> {
        debug_assert!(
            self.shape.key(key).is_some() || self.shape.later.iter().any(|(word, _)| *word == key),
            "{key} is not in the shape of {}",
            self.shape.what
        );
        self.entries
            .iter()
            .find(|(written, _)| *written == key)
            .map(|(_, cursor)| cursor)
    }

    /// The value of a key that must be given.
    pub(super) fn require(&self, key: &str, errors: &mut Errors) -> Option<&Cursor<'t>> {
        let found = self.get(key);
        if found.is_none() {
            errors.add(
                &self.spot,
                format!("{} needs `{key}`", self.shape.what),
                format!("write it as in `{}`", self.shape.example),
            );
        }
        found
    }
}

/// Reading a key by its form, so that its bounds stand in the shape alone.
impl<'t> Fields<'t> {
    fn form(&self, key: &str) -> Option<&'static Form> {
        self.shape.key(key).map(|known| &known.form)
    }

    /// A duration in milliseconds; `None` if it is not given or invalid.
    pub(super) fn duration_ms(&self, key: &str, errors: &mut Errors) -> Option<u64> {
        match (self.get(key)?, self.form(key)) {
            (at, Some(Form::Duration(bounds))) => at.duration_ms(*bounds, errors),
            _ => self.other_form(key),
        }
    }

    /// A size in bytes.
    pub(super) fn size_bytes(&self, key: &str, errors: &mut Errors) -> Option<u64> {
        match (self.get(key)?, self.form(key)) {
            (at, Some(Form::Size(bounds))) => at.size_bytes(*bounds, errors),
            _ => self.other_form(key),
        }
    }

    /// A whole number that fits 32 bits.
    pub(super) fn count(&self, key: &str, errors: &mut Errors) -> Option<u32> {
        match (self.get(key)?, self.form(key)) {
            (at, Some(Form::Whole(bounds))) => {
                let number = at.integer(*bounds, errors)?;
                u32::try_from(number).ok()
            }
            _ => self.other_form(key),
        }
    }

    /// A number.
    pub(super) fn number(&self, key: &str, errors: &mut Errors) -> Option<f64> {
        match (self.get(key)?, self.form(key)) {
            (at, Some(Form::Number(bounds))) => at.number(*bounds, errors),
            _ => self.other_form(key),
        }
    }

    /// One of the key's words: its index among them.
    pub(super) fn choice(&self, key: &str, errors: &mut Errors) -> Option<usize> {
        match (self.get(key)?, self.form(key)) {
            (at, Some(Form::Choice(what, words))) => {
                let text = at.text(what, errors)?;
                let found = words.iter().position(|word| *word == text);
                if found.is_none() {
                    errors.add(
                        &at.spot(),
                        format!("{what} can't be `{}`", shown(text)),
                        format!("write one of {}", listed(words)),
                    );
                }
                found
            }
            _ => self.other_form(key),
        }
    }

    /// True or false.
    pub(super) fn flag(&self, key: &str, errors: &mut Errors) -> Option<bool> {
        match (self.get(key)?, self.form(key)) {
            (at, Some(Form::Flag(what))) => at.boolean(what, errors),
            _ => self.other_form(key),
        }
    }

    /// A mapping of the shape that the key has.
    pub(super) fn map(&self, key: &str, errors: &mut Errors) -> Option<Fields<'t>> {
        match (self.get(key)?, self.form(key)) {
            (at, Some(Form::Map(shape))) => at.fields(shape, errors),
            _ => self.other_form(key),
        }
    }

    /// The items of a list, with what each of them is.
    pub(super) fn list(&self, key: &str, example: &str, errors: &mut Errors) -> Vec<Cursor<'t>> {
        let example = format!("{key}: {example}");
        self.get(key)
            .and_then(|at| at.items(&format!("`{key}`"), &example, errors))
            .unwrap_or_default()
    }

    /// How many items a list may have.
    pub(super) fn bounds_of_list(&self, key: &str) -> Count {
        match self.form(key) {
            Some(Form::List(_, count) | Form::OneOrMany(_, count)) => *count,
            _ => self.other_form(key).unwrap_or(super::shape::ANY),
        }
    }

    /// What a text of this key, or of each item of its list, is called and how long it may be.
    pub(super) fn words(&self, key: &str) -> Words {
        let mut form = self.form(key);
        while let Some(Form::List(of, _) | Form::OneOrMany(of, _)) = form {
            form = Some(of);
        }
        match form {
            Some(
                Form::Text(words)
                | Form::Component(words)
                | Form::Secret(words)
                | Form::Origin(words)
                | Form::Query(words)
                | Form::Event(words)
                | Form::SubscriptionName(words)
                | Form::Texts(words),
            ) => *words,
            _ => self.other_form(key).unwrap_or(Words {
                what: self.shape.what,
                bytes_max: 0,
            }),
        }
    }

    /// Reading a key in another form than its own is a bug that every test would find.
    fn other_form<T>(&self, key: &str) -> Option<T> {
        debug_assert!(false, "`{key}` of {} has another form", self.shape.what);
        None
    }
}

fn unknown_key_remedy(key: &str, shape: &Shape) -> String {
    let words = shape
        .names()
        .chain(shape.later.iter().map(|(word, _)| *word));
    match nearest(key, words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("it has {}", listed(&shape.names().collect::<Vec<_>>())),
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
