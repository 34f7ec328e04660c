//! YAML text as a tree of nodes that know their places. The only file that sees the YAML parser.
//!
//! Scalars keep their spelling and whether they were quoted, because `300`, `3.0e2` and `"300"` are three
//! things in a pattern. Everything is bounded: size, depth, nodes. The content of an alias counts as if it
//! were written out, so a document can't grow beyond the bounds. Never here: tags, which are refused, and any
//! meaning of a key beside `<<`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{
    self, Event, Parser, ScalarStyle, ScanError, Span, StrInput, options,
};

use super::errors::{Errors, Spot, join, push_segment, shown};

/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// The deepest nesting of lists and mappings.
pub const DEPTH_MAX: usize = 64;
/// The longest key, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 1_024;
/// The most keys, values, lists and mappings in one manifest.
pub const NODES_MAX: usize = 200_000;

/// Line and column, both from 1; columns count characters.
pub(super) type LineColumn = (u64, u64);

/// A value and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: LineColumn,
    pub(super) value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: LineColumn,
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

/// Reads `text` into a tree; `None` if there is no document or if it stopped at an error of syntax.
pub(super) fn read(text: &str, errors: &mut Errors) -> Option<Node> {
    let whole = Spot::new(String::new(), (1, 1));
    if text.len() > MANIFEST_BYTES_MAX {
        errors.add(
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
        copied_bytes: 0,
        anchors: HashMap::new(),
        pointer: String::new(),
        errors,
    };
    match builder.document() {
        Ok(node) => node,
        Err(Stop::Reported) => None,
        Err(Stop::Syntax(error)) => {
            let place = place_of(*error.marker());
            let spot = Spot::new(String::new(), place);
            errors.add(&spot, syntax_reason(&error), syntax_remedy(text, place));
            None
        }
    }
}

fn place_of(marker: granit_parser::Marker) -> LineColumn {
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    (
        number(marker.line().max(1)),
        number(marker.col()).saturating_add(1),
    )
}

fn syntax_reason(error: &ScanError) -> String {
    format!("this is not YAML: {}", error.info())
}

fn syntax_remedy(text: &str, (line, _): LineColumn) -> &'static str {
    let index = usize::try_from(line - 1).unwrap_or(usize::MAX);
    let line = text.lines().nth(index).unwrap_or_default();
    if line.starts_with('%') {
        "leave the line out: a manifest is YAML 1.2 without it"
    } else if line.contains('\t') {
        "indent with spaces, not with tabs"
    } else if line.contains(['[', ']', '{', '}', '*', '&', '@', '%', '`', '|', '>', '!']) {
        "put text that holds one of []{}*&@%`|>!#: in single quotes, and close every bracket"
    } else {
        "check the indentation and the colons of this line and of the one before it"
    }
}

/// Why building stopped before the end.
enum Stop {
    /// The error is in the list already.
    Reported,
    /// The parser's own.
    Syntax(ScanError),
}

struct Builder<'t, 'f> {
    parser: Parser<'t, StrInput<'t>>,
    nodes: usize,
    /// Bytes of text that aliases stand for, and that anchors keep for them.
    copied_bytes: usize,
    /// What has an anchor and is read to its end, by the parser's number for the anchor.
    anchors: HashMap<usize, Node>,
    /// Where the reader is; segments are put behind it and cut off again.
    pointer: String,
    errors: &'f mut Errors,
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
                    self.errors.add(
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

    fn spot(&self, place: LineColumn) -> Spot {
        Spot::new(self.pointer.clone(), place)
    }

    fn count(&mut self, place: LineColumn, depth: usize) -> Result<(), Stop> {
        self.nodes += 1;
        let reason = if self.nodes > NODES_MAX {
            format!("the manifest holds more than {NODES_MAX} values")
        } else if depth > DEPTH_MAX {
            format!("this is nested deeper than {DEPTH_MAX} levels")
        } else {
            return Ok(());
        };
        self.errors
            .add(&self.spot(place), reason, "make it smaller or flatter");
        Err(Stop::Reported)
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Stop> {
        let place = place_of(span.start);
        self.count(place, depth)?;
        let anchor = self.properties(&event, place);
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Value::Plain(text.into_owned()),
            Event::Scalar(text, ..) => Value::Quoted(text.into_owned()),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(anchor) => self.alias(Some(anchor), place, depth)?,
            Event::UnresolvedAlias(_) => self.alias(None, place, depth)?,
            _ => {
                self.errors.add(
                    &self.spot(place),
                    "this is not a value",
                    "write a value here",
                );
                return Err(Stop::Reported);
            }
        };
        let node = Node { place, value };
        if anchor != 0 {
            self.charge(&node, place)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// What an alias stands for.
    fn alias(
        &mut self,
        anchor: Option<usize>,
        place: LineColumn,
        depth: usize,
    ) -> Result<Value, Stop> {
        let known = anchor.and_then(|anchor| self.anchors.get(&anchor));
        let Some(node) = known.cloned() else {
            let (reason, remedy) = match anchor {
                Some(_) => (
                    "this alias stands inside what it names",
                    "put the anchor (`&name`) on a smaller part",
                ),
                None => (
                    "no anchor before this alias has its name",
                    "write `&name` before the value that is meant; put text that starts with `*` in quotes",
                ),
            };
            let spot = Spot::new(self.pointer.clone(), place);
            self.errors.refuse(&spot, reason, remedy);
            return Ok(Value::Plain("~".to_owned()));
        };
        self.charge(&node, place)?;
        self.count_below(&node, place, depth)?;
        Ok(node.value)
    }

    /// Counts what is below a node that is copied, as if it were written here.
    fn count_below(&mut self, node: &Node, place: LineColumn, depth: usize) -> Result<(), Stop> {
        let below: Vec<&Node> = match &node.value {
            Value::Plain(_) | Value::Quoted(_) => return Ok(()),
            Value::List(items) => items.iter().collect(),
            Value::Map(entries) => {
                self.nodes += entries.len();
                entries.iter().map(|entry| &entry.node).collect()
            }
        };
        for node in below {
            self.count(place, depth + 1)?;
            self.count_below(node, place, depth + 1)?;
        }
        Ok(())
    }

    /// Counts the text of a node that is copied.
    fn charge(&mut self, node: &Node, place: LineColumn) -> Result<(), Stop> {
        self.copied_bytes += text_bytes(node);
        if self.copied_bytes <= MANIFEST_BYTES_MAX {
            return Ok(());
        }
        self.errors.add(
            &self.spot(place),
            format!("anchors and aliases stand for more than {MANIFEST_BYTES_MAX} bytes"),
            "put anchors on smaller parts",
        );
        Err(Stop::Reported)
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
        let mut seen: HashMap<String, LineColumn> = HashMap::new();
        let mut merged: Option<Entry> = None;
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_place = place_of(span.start);
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if *text == "<<");
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
                    Some((line, _)) => self.errors.add(
                        &Spot::new(self.pointer.clone(), key_place),
                        format!("`{}` is given twice, first on line {line}", shown(&key)),
                        "keep one of the two",
                    ),
                    None => {
                        seen.insert(key.clone(), key_place);
                        let entry = Entry {
                            key,
                            key_place,
                            node,
                        };
                        match merges {
                            true => merged = Some(entry),
                            false => entries.push(entry),
                        }
                    }
                }
            }
            self.pointer.truncate(above);
        }
        if let Some(merged) = merged {
            self.merge(&mut entries, merged);
        }
        Ok(Value::Map(entries))
    }

    /// Adds what `<<` brings to a mapping: the entries whose keys it doesn't have. Of several mappings the
    /// first goes before.
    fn merge(&mut self, entries: &mut Vec<Entry>, merged: Entry) {
        let sources = match merged.node.value {
            Value::List(items) => items,
            _ => vec![merged.node],
        };
        let mut known: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        for source in sources {
            let Value::Map(more) = source.value else {
                let spot = Spot::new(join(&self.pointer, "<<"), source.place);
                self.errors.add(
                    &spot,
                    format!(
                        "`<<` takes a mapping or a list of mappings, not {}",
                        source.kind()
                    ),
                    "write it as in `<<: *name`, where `&name` stands before a mapping",
                );
                continue;
            };
            let more = more.into_iter();
            entries.extend(more.filter(|entry| known.insert(entry.key.clone())));
        }
    }

    /// A key; `None` with an error for what can't be one.
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
        self.errors.add(&self.spot(node.place), reason, remedy);
        Ok(None)
    }

    /// The anchor of a value, 0 where there is none; a tag is refused.
    fn properties(&mut self, event: &Event<'_>, place: LineColumn) -> usize {
        let (anchor, tag) = match event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => (*anchor, tag.as_ref().map(Cow::as_ref)),
            _ => return 0,
        };
        if tag.is_some() {
            self.errors.add(
                &self.spot(place),
                "tags (`!name`) are not supported",
                "leave the tag out; quote the value to make it text",
            );
        }
        anchor
    }
}

/// The bytes of all keys and values of a node, and some for each of them.
fn text_bytes(node: &Node) -> usize {
    const NODE_BYTES: usize = 8;
    let below = match &node.value {
        Value::Plain(text) | Value::Quoted(text) => text.len(),
        Value::List(items) => items.iter().map(text_bytes).sum(),
        Value::Map(entries) => {
            let each = entries.iter();
            each.map(|entry| entry.key.len() + text_bytes(&entry.node))
                .sum()
        }
    };
    NODE_BYTES + below
}
