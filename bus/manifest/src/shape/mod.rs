//! Every key that a manifest may have, once: with type, default, bounds, an example and its meaning.
//!
//! The parser takes keys, bounds and words from here. `schema` makes the JSON Schema from it, and `reference`
//! the tables of docs/manifest.md. So they always agree. Never here: reading a value.

pub(super) mod buses;
pub(super) mod cases;
pub(super) mod functions;
pub(super) mod rules;

/// What a mapping may hold.
pub(super) struct Shape {
    /// What it is, for messages: `a rule`.
    pub(super) what: &'static str,
    /// Where it stands, for the reference: `rules.NAME`; empty for the whole.
    pub(super) place: &'static str,
    /// The keys that have a meaning.
    pub(super) keys: &'static [Key],
    /// Words that are to come, each with what to do until then.
    pub(super) later: &'static [(&'static str, &'static str)],
    /// How one is written.
    pub(super) example: &'static str,
}

/// A key with a meaning.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What its value is.
    pub(super) form: Form,
    /// What it means that the key is not there.
    pub(super) absent: Absent,
    /// A value, as one writes it behind the key.
    pub(super) example: &'static str,
    /// What it does, in a sentence or two.
    pub(super) about: &'static str,
}

/// What it means that a key is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Absent {
    /// An error.
    Error,
    /// The same as this value, as one writes it.
    Is(&'static str),
    /// What no value would say.
    Means(&'static str),
}

/// What a value is.
pub(super) enum Form {
    /// The version of the format.
    Version,
    /// Text of 1 to this many bytes.
    Text(Words),
    /// A name that is declared in this section.
    Name(&'static str),
    /// The name of a subscription: one name, or two joined with `/`.
    SubscriptionName(Words),
    /// True or false.
    Flag(&'static str),
    /// One of these words; the first is what it is called.
    Choice(&'static str, &'static [&'static str]),
    /// A whole number.
    Whole(Bounds),
    /// A number.
    Number(Bounds),
    /// A duration, in milliseconds.
    Duration(Bounds),
    /// A size, in bytes.
    Size(Bounds),
    /// A path of a component, or its digest.
    Component(Words),
    /// The name of an environment variable, without `EDGEBUS_SECRET_`.
    Secret(Words),
    /// Scheme, host and perhaps a port.
    Origin(Words),
    /// A content pattern.
    Pattern,
    /// A JSONPath query.
    Query(Words),
    /// Any value.
    Json,
    /// A mapping of keys of the user's own to any values.
    Values,
    /// A CloudEvent, or the path of a file with one or several.
    Event(Words),
    /// A mapping of this shape.
    Map(&'static Shape),
    /// A mapping that is keyed by names of the user's own, with values of this shape.
    Named(&'static Shape),
    /// A mapping of keys of the user's own to texts.
    Texts(Words),
    /// A list of so many.
    List(&'static Form, Count),
    /// One, or a list of so many.
    OneOrMany(&'static Form, Count),
}

/// What a bounded value is called, and its smallest and largest value.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) what: &'static str,
    pub(super) least: u64,
    pub(super) most: u64,
    /// The word that stands for no limit, if there may be none.
    pub(super) unlimited: Option<&'static str>,
}

/// What a text is called, and its longest value in bytes.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) what: &'static str,
    pub(super) bytes_max: usize,
}

/// The fewest and the most items of a list.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) least: usize,
    pub(super) most: usize,
}

/// No bound of its own: the size of the manifest and its number of values are bounded as a whole.
pub(super) const ANY: Count = Count {
    least: 0,
    most: super::tree::NODES_MAX,
};

pub(super) const DAY_MS: u64 = 86_400_000;

/// The longest path, command or value of `config`, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 10;

const fn bounds(what: &'static str, least: u64, most: u64) -> Bounds {
    Bounds {
        what,
        least,
        most,
        unlimited: None,
    }
}

/// A limit, or a word for none.
const fn limit(what: &'static str, least: u64, most: u64, word: &'static str) -> Bounds {
    Bounds {
        unlimited: Some(word),
        ..bounds(what, least, most)
    }
}

const fn words(what: &'static str, bytes_max: usize) -> Words {
    Words { what, bytes_max }
}

impl Shape {
    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys.iter().map(|key| key.name)
    }

    /// Whether a key is the user's own: at the top those with `x-` before them, where anchors may stand. Nothing
    /// is made of them.
    pub(super) fn takes_own(&self, key: &str) -> bool {
        self.place.is_empty() && key.starts_with("x-")
    }

    /// One of its keys.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The manifest.
pub(super) const ROOT: Shape = Shape {
    what: "the manifest",
    place: "",
    keys: &[
        Key {
            name: "version",
            form: Form::Version,
            absent: Absent::Error,
            example: "1",
            about: "The version of this format. There is one.",
        },
        Key {
            name: "buses",
            form: Form::Named(&buses::BUS),
            absent: Absent::Means("the bus `default` alone"),
            example: buses::EXAMPLE,
            about: "Streams of events, each with its own log. The bus `default` is there without being named.",
        },
        Key {
            name: "functions",
            form: Form::Named(&functions::FUNCTION),
            absent: Absent::Means("none"),
            example: functions::EXAMPLE,
            about: "WebAssembly components that handle events.",
        },
        Key {
            name: "rules",
            form: Form::Named(&rules::RULE),
            absent: Absent::Means("none: events are only logged"),
            example: rules::EXAMPLE,
            about: "Which events go to which functions.",
        },
        Key {
            name: "tests",
            form: Form::List(&Form::Map(&cases::CASE), ANY),
            absent: Absent::Means("none"),
            example: "[{ name: opened, event: events/opened.json, expect: [opened] }]",
            about: "Events with the rules that they must match; `edgebus test` runs them.",
        },
    ],
    later: &[],
    example: "version: 1",
};
