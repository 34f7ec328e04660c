//! Reads a pattern's text into a tree that keeps the place of every part.
//!
//! Patterns are small and read once, so they get a tree, unlike events. Each node keeps its byte offset for
//! the errors that later modules find. Recursion is bounded by `PATTERN_DEPTH_MAX`.

use crate::json::{Scanner, Syntax};
use crate::limits::PATTERN_DEPTH_MAX;
use std::borrow::Cow;

/// A value in a pattern's text.
#[derive(Debug, Clone)]
pub(crate) struct Node<'p> {
    /// Byte offset of its first byte.
    pub(crate) offset: usize,
    /// The value.
    pub(crate) json: Json<'p>,
}

/// A JSON value whose parts have places.
#[derive(Debug, Clone)]
pub(crate) enum Json<'p> {
    Null,
    Bool(bool),
    /// The number's text.
    Number(&'p str),
    /// The string, decoded.
    Text(Cow<'p, str>),
    List(Vec<Node<'p>>),
    Object(Vec<Member<'p>>),
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(crate) struct Member<'p> {
    /// Byte offset of the key.
    pub(crate) offset: usize,
    pub(crate) key: Cow<'p, str>,
    pub(crate) value: Node<'p>,
}

impl<'p> Node<'p> {
    /// The same value, for a member that is a string in every event. Numbers and booleans become the strings
    /// that they are there.
    pub(crate) fn as_text(&self) -> Self {
        let json = match &self.json {
            Json::Bool(truth) => Json::Text(truth.to_string().into()),
            Json::Number(text) => Json::Text(whole(text).unwrap_or_else(|| (*text).into())),
            Json::List(elements) => Json::List(elements.iter().map(Node::as_text).collect()),
            Json::Object(members) => Json::Object(members.iter().map(Member::as_text).collect()),
            other => other.clone(),
        };
        Node {
            offset: self.offset,
            json,
        }
    }

    /// What kind of value it is, with its article, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self.json {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a string",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

impl<'p> Member<'p> {
    /// Operators that take literals then take strings. The others stay as they are.
    fn as_text(&self) -> Self {
        let literals = ["anything-but", "not", "all", "exactly", "contains-all"];
        match literals.contains(&self.key.as_ref()) {
            true => Member {
                value: self.value.as_text(),
                ..self.clone()
            },
            false => self.clone(),
        }
    }
}

/// The usual spelling of a whole number that is written in another way.
fn whole(text: &str) -> Option<Cow<'static, str>> {
    let number: f64 = text
        .parse()
        .ok()
        .filter(|_| text.contains(['.', 'e', 'E']))?;
    // Binary64 represents whole numbers up to here exactly.
    let exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    exact.then(|| format!("{number:.0}").into())
}

/// Reads the whole text.
pub(crate) fn read(bytes: &[u8]) -> Result<Node<'_>, Syntax> {
    let mut scanner = Scanner::new(bytes)?;
    let node = value(&mut scanner, PATTERN_DEPTH_MAX)?;
    scanner.finish()?;
    Ok(node)
}

fn value<'p>(scanner: &mut Scanner<'p>, room: usize) -> Result<Node<'p>, Syntax> {
    let first = scanner.peek()?;
    let offset = scanner.offset();
    let json = match first {
        b'{' | b'[' if room == 0 => {
            return Err(scanner.error(format!(
                "nested deeper than {PATTERN_DEPTH_MAX} brackets, the limit"
            )));
        }
        b'{' => object(scanner, room - 1)?,
        b'[' => list(scanner, room - 1)?,
        b'"' => Json::Text(scanner.string()?),
        b't' => {
            scanner.word("true")?;
            Json::Bool(true)
        }
        b'f' => {
            scanner.word("false")?;
            Json::Bool(false)
        }
        b'n' => {
            scanner.word("null")?;
            Json::Null
        }
        b'-' | b'0'..=b'9' => Json::Number(scanner.number()?),
        _ => return Err(scanner.unexpected("a JSON value")),
    };
    Ok(Node { offset, json })
}

fn object<'p>(scanner: &mut Scanner<'p>, room: usize) -> Result<Json<'p>, Syntax> {
    scanner.bump();
    let mut members = Vec::new();
    if scanner.peek()? == b'}' {
        scanner.bump();
        return Ok(Json::Object(members));
    }
    loop {
        scanner.peek()?;
        let offset = scanner.offset();
        let key = scanner.key()?;
        let value = value(scanner, room)?;
        members.push(Member { offset, key, value });
        if !scanner.another(b'}')? {
            return Ok(Json::Object(members));
        }
    }
}

fn list<'p>(scanner: &mut Scanner<'p>, room: usize) -> Result<Json<'p>, Syntax> {
    scanner.bump();
    let mut elements = Vec::new();
    if scanner.peek()? == b']' {
        scanner.bump();
        return Ok(Json::List(elements));
    }
    loop {
        elements.push(value(scanner, room)?);
        if !scanner.another(b']')? {
            return Ok(Json::List(elements));
        }
    }
}
