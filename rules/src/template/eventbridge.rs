//! EventBridge's form: paths with names, and a template with `<name>` placeholders.
//!
//! A template that begins like JSON has to be JSON after each placeholder outside of strings is replaced by a
//! value. A placeholder inside a string stands for text, which is escaped (EventBridge itself doesn't escape
//! it). Any other template is text, and the input is that text as one JSON string. A name that has no path is
//! an error. Recursion is bounded by `PATTERN_DEPTH_MAX`.

use super::compile::Compiler;
use super::piece::{Piece, Source};
use crate::filter::Filter;
use crate::json::{Scanner, Syntax};
use crate::limits::{
    PATTERN_DEPTH_MAX, TEMPLATE_CHARACTERS_MAX_EVENTBRIDGE, TEMPLATE_PATHS_MAX,
    VARIABLE_CHARACTERS_MAX,
};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{quote, shorten};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// The names that need no path.
const RESERVED: [(&str, Source); 5] = [
    ("aws.events.rule-arn", Source::RuleArn),
    ("aws.events.rule-name", Source::RuleName),
    ("aws.events.event", Source::Attributes),
    ("aws.events.event.json", Source::Event),
    ("aws.events.event.ingestion-time", Source::IngestedAt),
];

const TEMPLATE: JsonPlace<'static> = JsonPlace::Key(&JsonPlace::Top, "input_template");
const PATHS: JsonPlace<'static> = JsonPlace::Key(&JsonPlace::Top, "input_paths");

const PLACEHOLDER_AS_KEY: (&str, &str) = (
    "a placeholder can't be a key",
    "write a constant key, with the placeholder as its value",
);

/// Compiles the paths and the template. Returns the names that the template doesn't use. Their paths are
/// never looked up.
pub(super) fn compile(
    paths: &[(&str, &str)],
    template: &str,
    compiler: &mut Compiler<'_>,
    errors: &mut Errors,
) -> Vec<Box<str>> {
    let names = names(paths, errors);
    let characters = template.chars().count();
    if characters == 0 || characters > TEMPLATE_CHARACTERS_MAX_EVENTBRIDGE {
        let reason = format!(
            "a template of {characters} characters; 1 to {TEMPLATE_CHARACTERS_MAX_EVENTBRIDGE} are allowed"
        );
        errors.add(0, &TEMPLATE, reason, "write a template, or leave it out");
        return Vec::new();
    }
    let mut reader = Reader {
        template,
        scanner: Scanner::of_text(template),
        is_text: is_text(template),
        names,
        compiler,
        errors,
    };
    if reader.is_text {
        reader.compiler.literal("\"");
        reader.text(0, template, Inside::Text);
        reader.compiler.literal("\"");
    } else if let Some(lines) = quoted_lines(template) {
        reader.compiler.literal("\"");
        for (number, (offset, line)) in lines.into_iter().enumerate() {
            if number > 0 {
                reader.compiler.literal("\\n");
            }
            reader.text(offset, line, Inside::String);
        }
        reader.compiler.literal("\"");
    } else if let Err(Unread::Syntax(syntax)) = reader.json() {
        let remedy = "write JSON with <name> for a value, or one string in double quotes; \
                      a line break in a string is \\n";
        let reason = format!("the template isn't JSON: {}", syntax.reason);
        reader.errors.add(syntax.offset, &TEMPLATE, reason, remedy);
    }
    let unused = paths.iter().filter(|(name, _)| {
        let known = reader.names.get(name);
        known.is_some_and(|known| !known.used)
    });
    unused.map(|(name, _)| Box::from(*name)).collect()
}

/// A name, and what it stands for.
struct Named<'p> {
    /// Its path in RFC 9535. `None` if the path is invalid.
    path: Option<Cow<'p, str>>,
    used: bool,
}

fn names<'p>(paths: &[(&'p str, &'p str)], errors: &mut Errors) -> HashMap<&'p str, Named<'p>> {
    let mut names = HashMap::new();
    if paths.len() > TEMPLATE_PATHS_MAX {
        let reason = format!("{} paths; the limit is {TEMPLATE_PATHS_MAX}", paths.len());
        errors.add(
            0,
            &PATHS,
            reason,
            "insert a larger part of the event at once",
        );
        return names;
    }
    for &(name, path) in paths {
        let place = JsonPlace::Key(&PATHS, name);
        if let Some(reason) = unfit(name) {
            let remedy = "use letters, digits, - and _, and don't begin with aws";
            errors.add(0, &place, reason, remedy);
        }
        let path = rfc9535(path);
        let path = match Filter::parse(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                errors.add(0, &place, error.reason, error.remedy);
                None
            }
        };
        let named = Named { path, used: false };
        if names.insert(name, named).is_some() {
            let reason = format!("the name {} has two paths", quote(name));
            errors.add(0, &place, reason, "leave one of them out");
        }
    }
    names
}

fn unfit(name: &str) -> Option<String> {
    let fits = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if name.is_empty() || !fits {
        return Some(format!("{} is not a name for a placeholder", quote(name)));
    }
    if name.len() > VARIABLE_CHARACTERS_MAX {
        return Some(format!(
            "a name of more than {VARIABLE_CHARACTERS_MAX} characters"
        ));
    }
    let reserved = name
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("aws"));
    reserved.then(|| format!("{} begins with aws, which is reserved", quote(name)))
}

/// An EventBridge path in RFC 9535, where member names with dashes and slashes need quotes.
fn rfc9535(path: &str) -> Cow<'_, str> {
    let Some(rest) = path.strip_prefix('$') else {
        return Cow::Borrowed(path);
    };
    let mut written = String::from("$");
    let mut rest = rest;
    while let Some(after) = rest.strip_prefix('.') {
        let in_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
        let length = after.bytes().take_while(|byte| in_name(byte)).count();
        rest = match after.strip_prefix('*') {
            Some(rest) => {
                written.push_str("[*]");
                rest
            }
            None if length == 0 => break,
            None => {
                written.push_str(&format!("['{}']", &after[..length]));
                &after[length..]
            }
        };
        // Indexes and wildcards are the same in both.
        let plain = rest.find('.').unwrap_or(rest.len());
        if rest[..plain].contains(['?', '\'', '"', '(']) {
            break;
        }
        written.push_str(&rest[..plain]);
        rest = &rest[plain..];
    }
    written.push_str(rest);
    Cow::Owned(written)
}

/// What a placeholder is inside of.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    /// A JSON string.
    String,
    /// A template that is text.
    Text,
}

/// Why a template could not be read to its end.
enum Unread {
    Syntax(Syntax),
    /// An error that was recorded already.
    Told,
}

impl From<Syntax> for Unread {
    fn from(syntax: Syntax) -> Self {
        Unread::Syntax(syntax)
    }
}

/// The strings of a template that has several lines, each of them one string, with their places.
fn quoted_lines(template: &str) -> Option<Vec<(usize, &str)>> {
    let mut lines = Vec::new();
    let mut offset = 0;
    for line in template.split('\n') {
        let string = line.trim_matches([' ', '\r', '\t']);
        if !string.is_empty() {
            let mut scanner = Scanner::of_text(string);
            if scanner.peek().ok()? != b'"' {
                return None;
            }
            scanner.skip_string().ok()?;
            if scanner.offset() != string.len() {
                return None;
            }
            let indent = line.len() - line.trim_start_matches([' ', '\r', '\t']).len();
            lines.push((offset + indent + 1, &string[1..string.len() - 1]));
        }
        offset += line.len() + 1;
    }
    (lines.len() > 1).then_some(lines)
}

/// Whether a template is text: it doesn't begin like JSON.
fn is_text(template: &str) -> bool {
    let trimmed = template.trim_matches([' ', '\n', '\r', '\t']);
    let json = trimmed.starts_with(['{', '[', '"'])
        || name(trimmed).is_some_and(|name| name.len() + 2 == trimmed.len())
        || serde_json::from_str::<&serde_json::value::RawValue>(trimmed).is_ok();
    !json
}

struct Reader<'r, 'c, 't> {
    template: &'t str,
    scanner: Scanner<'t>,
    /// Whether the template is text, not JSON.
    is_text: bool,
    names: HashMap<&'r str, Named<'r>>,
    compiler: &'r mut Compiler<'c>,
    errors: &'r mut Errors,
}

impl Reader<'_, '_, '_> {
    fn json(&mut self) -> Result<(), Unread> {
        self.value(PATTERN_DEPTH_MAX)?;
        Ok(self.scanner.finish()?)
    }

    fn value(&mut self, room: usize) -> Result<(), Unread> {
        let first = self.scanner.peek()?;
        let from = self.scanner.offset();
        match first {
            b'{' | b'[' if room == 0 => {
                let reason = format!("nested deeper than {PATTERN_DEPTH_MAX} brackets, the limit");
                return Err(self.scanner.error(reason).into());
            }
            b'{' => return self.object(room - 1),
            b'[' => return self.array(room - 1),
            b'"' => {
                self.scanner.skip_string()?;
                let inside = &self.template[from + 1..self.scanner.offset() - 1];
                self.compiler.literal("\"");
                self.text(from + 1, inside, Inside::String);
                self.compiler.literal("\"");
                return Ok(());
            }
            b'<' => {
                let Some(name) = name(&self.template[from..]) else {
                    return Err(self.scanner.unexpected("a JSON value or a <name>").into());
                };
                (0..name.len() + 2).for_each(|_| self.scanner.bump());
                if let Some(source) = self.source(from, name) {
                    self.compiler.piece(Piece::Value(source));
                }
                return Ok(());
            }
            b't' => self.scanner.word("true")?,
            b'f' => self.scanner.word("false")?,
            b'n' => self.scanner.word("null")?,
            b'-' | b'0'..=b'9' => {
                self.scanner.number()?;
            }
            _ => return Err(self.scanner.unexpected("a JSON value or a <name>").into()),
        }
        let text = &self.template[from..self.scanner.offset()];
        self.compiler.literal(text);
        Ok(())
    }

    fn object(&mut self, room: usize) -> Result<(), Unread> {
        self.scanner.bump();
        self.compiler.literal("{");
        if self.scanner.peek()? == b'}' {
            self.scanner.bump();
            self.compiler.literal("}");
            return Ok(());
        }
        let mut known = HashSet::new();
        loop {
            let first = self.scanner.peek()?;
            let from = self.scanner.offset();
            let (reason, remedy) = PLACEHOLDER_AS_KEY;
            if first == b'<' && name(&self.template[from..]).is_some() {
                self.errors.add(from, &TEMPLATE, reason, remedy);
                return Err(Unread::Told);
            }
            let decoded = self.scanner.key()?;
            let key = &self.template[from..self.scanner.offset()];
            if key
                .match_indices('<')
                .any(|(at, _)| name(&key[at..]).is_some())
            {
                self.errors.add(from, &TEMPLATE, reason, remedy);
            }
            let repeated = format!("the key {} occurs twice in one object", quote(&decoded));
            if !known.insert(decoded) {
                self.errors
                    .add(from, &TEMPLATE, repeated, "leave one of them out");
            }
            self.compiler
                .literal(key.trim_end_matches([' ', '\n', '\r', '\t', ':']));
            self.compiler.literal(":");
            self.value(room)?;
            let more = self.scanner.another(b'}')?;
            self.compiler.literal(if more { "," } else { "}" });
            if !more {
                return Ok(());
            }
        }
    }

    fn array(&mut self, room: usize) -> Result<(), Unread> {
        self.scanner.bump();
        self.compiler.literal("[");
        if self.scanner.peek()? == b']' {
            self.scanner.bump();
            self.compiler.literal("]");
            return Ok(());
        }
        loop {
            self.value(room)?;
            let more = self.scanner.another(b']')?;
            self.compiler.literal(if more { "," } else { "]" });
            if !more {
                return Ok(());
            }
        }
    }

    /// Text with placeholders. A `<` without a name after it stands for itself.
    fn text(&mut self, offset: usize, text: &str, inside: Inside) {
        let mut from = 0;
        let mut at = 0;
        while let Some(open) = text[at..].find('<') {
            at += open;
            let Some(name) = name(&text[at..]) else {
                at += 1;
                continue;
            };
            self.constant(&text[from..at], inside);
            if let Some(source) = self.source(offset + at, name) {
                self.compiler.piece(Piece::Text(source));
            }
            at += name.len() + 2;
            from = at;
        }
        self.constant(&text[from..], inside);
    }

    fn constant(&mut self, text: &str, inside: Inside) {
        match inside {
            // The text is escaped and checked already.
            Inside::String => self.compiler.literal(text),
            Inside::Text => self.compiler.text(text),
        }
    }

    fn source(&mut self, offset: usize, name: &str) -> Option<Source> {
        if let Some(known) = self.names.get_mut(name) {
            known.used = true;
            // The error in the path was recorded already.
            let path = known.path.as_deref()?;
            return match self.compiler.source(path) {
                Ok(source) => Some(source),
                Err(error) => {
                    let place = JsonPlace::Key(&PATHS, name);
                    self.errors.add(0, &place, error.reason, error.remedy);
                    None
                }
            };
        }
        if let Some((_, source)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
            return Some(*source);
        }
        let reason = format!("the placeholder <{}> has no path", shorten(name));
        let reserved = RESERVED.map(|(name, _)| name).join(", ");
        let remedy = if name.starts_with("aws.") {
            format!("the reserved names are {reserved}")
        } else if self.is_text {
            format!(
                "add {} to the paths; for a < that isn't meant, write the template as a JSON string, in double quotes and with \\u003c",
                quote(name)
            )
        } else {
            format!(
                "add {} to the paths, or write \\u003c for a < inside a JSON string",
                quote(name)
            )
        };
        self.errors.add(offset, &TEMPLATE, reason, remedy);
        None
    }
}

/// The name in the placeholder at the start of the text, if there is one.
fn name(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('<')?;
    let (name, _) = inside.split_once('>')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!name.is_empty() && name.bytes().all(fits)).then_some(name)
}
