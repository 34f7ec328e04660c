//! YAML text as a tree of nodes that know their places. The only file that sees the YAML parser.
//!
//! Scalars keep their spelling and whether they were quoted, because `300`, `3.0e2` and `"300"` are
//! three things in a pattern. Everything is bounded: size, depth, nodes. Never here: anchors, aliases
//! and tags (refused, so that no document grows when it is read) and any meaning of a key.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_saphyr::granit_parser::{
    self, Event, Parser, ScalarStyle, ScanError, Span, StrInput, options,
};

use super::faults::{Faults, Spot, push_segment, shown};

/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// The deepest nesting of lists and mappings.
pub const DEPTH_MAX: usize = 64;
/// The longest key, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 1_024;
/// The most keys, values, lists and mappings in one manifest.
pub const NODES_MAX: usize = 200_000;

/// Line and column, both from 1; columns count characters.
pub(super) type Place = (u64, u64);

/// A value and where it starts.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Value {
    /// A scalar without quotes, as it is spelled; `~` also where nothing is written.
    Plain(String),
    /// A scalar in quotes or a block: always text.
    Quoted(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file, each key once.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    /// What to call this node in a message.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Plain(_) if self.is_null() => "nothing",
            Value::Plain(_) | Value::Quoted(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// True for what YAML's core schema calls null, and for a key with nothing behind it.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Plain(text) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads `text` into a tree; `None` if there is no document or if it stopped at a fault of syntax.
pub(super) fn read(text: &str, faults: &mut Faults) -> Option<Node> {
    let whole = Spot::new(String::new(), (1, 1));
    if text.len() > MANIFEST_BYTES_MAX {
        faults.add(
            &whole,
            format!("the manifest is larger than {MANIFEST_BYTES_MAX} bytes"),
            "take out what isn't needed; a bus has one manifest",
        );
        return None;
    }
    let options = options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        disallow_directives: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        nodes: 0,
        pointer: String::new(),
        faults,
    };
    match builder.document() {
        Ok(node) => node,
        Err(Stop::Reported) => None,
        Err(Stop::Syntax(error)) => {
            let place = place_of(*error.marker());
            let spot = Spot::new(String::new(), place);
            faults.add(&spot, syntax_reason(&error), syntax_remedy(text, place));
            None
        }
    }
}

fn place_of(marker: granit_parser::Marker) -> Place {
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    (
        number(marker.line().max(1)),
        number(marker.col()).saturating_add(1),
    )
}

fn syntax_reason(error: &ScanError) -> String {
    format!("this is not YAML: {}", error.info())
}

fn syntax_remedy(text: &str, (line, _): Place) -> &'static str {
    let index = usize::try_from(line - 1).unwrap_or(usize::MAX);
    let line = text.lines().nth(index).unwrap_or_default();
    if line.contains('\t') {
        "indent with spaces, not with tabs"
    } else if line.contains(['[', ']', '{', '}', '*', '&', '@', '%', '`', '|', '>', '!']) {
        "put text that holds one of []{}*&@%`|>!#: in single quotes, and close every bracket"
    } else {
        "check the indentation and the colons of this line and of the one before it"
    }
}

/// Why building stopped before the end.
enum Stop {
    /// The fault is in the list already.
    Reported,
    /// The parser's own.
    Syntax(ScanError),
}

struct Builder<'t, 'f> {
    parser: Parser<'t, StrInput<'t>>,
    nodes: usize,
    /// Where the reader is; segments are put behind it and cut off again.
    pointer: String,
    faults: &'f mut Faults,
}

impl<'t> Builder<'t, '_> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Stop> {
        self.parser.next().transpose().map_err(Stop::Syntax)
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut document = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(..) if document.is_some() => {
                    let spot = Spot::new(String::new(), place_of(span.start));
                    self.faults.add(
                        &spot,
                        "a second document starts here",
                        "keep one document: leave `---` out",
                    );
                    return Ok(document);
                }
                Event::DocumentStart(..) => {}
                event => document = Some(self.node(event, span, 0)?),
            }
        }
        Ok(document)
    }

    fn spot(&self, place: Place) -> Spot {
        Spot::new(self.pointer.clone(), place)
    }

    fn count(&mut self, place: Place, depth: usize) -> Result<(), Stop> {
        self.nodes += 1;
        let reason = if self.nodes > NODES_MAX {
            format!("the manifest holds more than {NODES_MAX} values")
        } else if depth > DEPTH_MAX {
            format!("this is nested deeper than {DEPTH_MAX} levels")
        } else {
            return Ok(());
        };
        self.faults
            .add(&self.spot(place), reason, "make it smaller or flatter");
        Err(Stop::Reported)
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Stop> {
        let place = place_of(span.start);
        self.count(place, depth)?;
        self.refuse_properties(&event, place);
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Value::Plain(text.into_owned()),
            Event::Scalar(text, ..) => Value::Quoted(text.into_owned()),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.faults.refuse(
                    &Spot::new(self.pointer.clone(), place),
                    "aliases (`*name`) are not supported",
                    "write the value out; put text that starts with `*` in quotes",
                );
                Value::Plain("~".to_owned())
            }
            _ => {
                self.faults.add(
                    &self.spot(place),
                    "this is not a value",
                    "write a value here",
                );
                return Err(Stop::Reported);
            }
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let above = self.pointer.len();
            push_segment(&mut self.pointer, &items.len().to_string());
            items.push(self.node(event, span, depth + 1)?);
            self.pointer.truncate(above);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, Place> = HashMap::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_place = place_of(span.start);
            let key = self.key(event, span, depth)?;
            let above = self.pointer.len();
            push_segment(&mut self.pointer, key.as_deref().unwrap_or_default());
            let Some((event, span)) = self.next()? else {
                break;
            };
            let unwritten =
                span.is_empty() && matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let mut node = self.node(event, span, depth + 1)?;
            if unwritten {
                // Nothing is behind the key: the key is what people look for.
                node.place = key_place;
            }
            if let Some(key) = key {
                match seen.get(&key) {
                    Some((line, _)) => self.faults.add(
                        &Spot::new(self.pointer.clone(), key_place),
                        format!("`{}` is given twice, first on line {line}", shown(&key)),
                        "keep one of the two",
                    ),
                    None => {
                        seen.insert(key.clone(), key_place);
                        entries.push(Entry {
                            key,
                            key_place,
                            node,
                        });
                    }
                }
            }
            self.pointer.truncate(above);
        }
        Ok(Value::Map(entries))
    }

    /// A key; `None` with a fault for what can't be one.
    fn key(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Option<String>, Stop> {
        let node = self.node(event, span, depth + 1)?;
        let (reason, remedy) = match node.value {
            Value::Plain(key) | Value::Quoted(key) if key.len() <= KEY_BYTES_MAX => {
                return Ok(Some(key));
            }
            Value::Plain(_) | Value::Quoted(_) => (
                format!("a key is longer than {KEY_BYTES_MAX} bytes"),
                "shorten it",
            ),
            Value::List(_) | Value::Map(_) => (
                "a key must be a single text".to_owned(),
                "write `key: value`; quote a text that starts with [ or {",
            ),
        };
        self.faults.add(&self.spot(node.place), reason, remedy);
        Ok(None)
    }

    fn refuse_properties(&mut self, event: &Event<'_>, place: Place) {
        let (anchor, tag) = match event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => (*anchor, tag.as_ref().map(Cow::as_ref)),
            _ => return,
        };
        if anchor != 0 {
            self.faults.add(
                &self.spot(place),
                "anchors (`&name`) are not supported",
                "write the value out where it is needed",
            );
        }
        if tag.is_some() {
            self.faults.add(
                &self.spot(place),
                "tags (`!name`) are not supported",
                "leave the tag out; quote the value to make it text",
            );
        }
    }
}
