//! Our own form: JSON whose strings may hold `{$.path}` placeholders.
//!
//! A string that is only one placeholder becomes the value itself. Elsewhere in a string, a value becomes
//! text. Keys are always constant. Recursion is bounded by the depth of the document.

use super::compile::Compiler;
use super::piece::{Piece, quoted};
use super::placeholder::{TemplatePart, template_parts};
use crate::error::ParseError;
use crate::pattern::document::{Json, Member, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::quote;

/// Whether strings of the JSON may hold placeholders.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Strings {
    Templates,
    Constants,
}

/// Compiles a JSON value.
pub(super) fn value(
    node: &Node<'_>,
    strings: Strings,
    place: &JsonPlace<'_>,
    compiler: &mut Compiler<'_>,
    errors: &mut Errors,
) {
    match &node.json {
        Json::Null => compiler.literal("null"),
        Json::Bool(value) => compiler.literal(if *value { "true" } else { "false" }),
        Json::Number(text) => compiler.literal(text),
        Json::Text(text) if strings == Strings::Constants => constant(text, compiler),
        Json::Text(text) => {
            if let Err(error) = string(text, compiler) {
                errors.add(node.offset, place, error.reason, error.remedy);
            }
        }
        Json::List(elements) => {
            for (index, element) in elements.iter().enumerate() {
                compiler.literal(if index == 0 { "[" } else { "," });
                let place = JsonPlace::Index(place, index);
                value(element, strings, &place, compiler, errors);
            }
            compiler.literal(if elements.is_empty() { "[]" } else { "]" });
        }
        Json::Object(members) => {
            for (index, member) in members.iter().enumerate() {
                compiler.literal(if index == 0 { "{" } else { "," });
                let place = JsonPlace::Key(place, &member.key);
                let repeated = members[..index].iter().any(|other| other.key == member.key);
                key(member, repeated, strings, &place, compiler, errors);
                value(&member.value, strings, &place, compiler, errors);
            }
            compiler.literal(if members.is_empty() { "{}" } else { "}" });
        }
    }
}

fn constant(text: &str, compiler: &mut Compiler<'_>) {
    let mut json = Vec::with_capacity(text.len() + 2);
    quoted(&mut json, text);
    compiler.literal(&String::from_utf8_lossy(&json));
}

fn key(
    member: &Member<'_>,
    repeated: bool,
    strings: Strings,
    place: &JsonPlace<'_>,
    compiler: &mut Compiler<'_>,
    errors: &mut Errors,
) {
    if repeated {
        let reason = format!("the key {} occurs twice in one object", quote(&member.key));
        errors.add(member.offset, place, reason, "leave one of them out");
    }
    if strings == Strings::Templates && member.key.contains("{$") {
        let reason = "a placeholder can't be a key";
        let remedy = "write a constant key, with the placeholder as its value";
        errors.add(member.offset, place, reason, remedy);
    }
    constant(&member.key, compiler);
    compiler.literal(":");
}

fn string(text: &str, compiler: &mut Compiler<'_>) -> Result<(), ParseError> {
    let parts: Vec<TemplatePart<'_>> = template_parts(text).collect();
    if let [TemplatePart::Placeholder(path)] = parts[..] {
        let source = compiler.source(path)?;
        compiler.piece(Piece::Value(source));
        return Ok(());
    }
    compiler.literal("\"");
    for part in parts {
        match part {
            TemplatePart::Text(text) => compiler.text(text),
            TemplatePart::Placeholder(path) => {
                let source = compiler.source(path)?;
                compiler.piece(Piece::Text(source));
            }
            TemplatePart::Stray(rest) => return Err(stray(rest)),
        }
    }
    compiler.literal("\"");
    Ok(())
}

fn stray(text: &str) -> ParseError {
    let mut shown = crate::scalar::shorten(text);
    if let Some(end) = shown.char_indices().nth(20).map(|(end, _)| end) {
        shown.truncate(end);
    }
    ParseError {
        offset: 0,
        pointer: String::new(),
        reason: format!("`{shown}` is not a placeholder"),
        remedy: "write a placeholder as in {$.data.issue}, and the braces themselves as {{ and }}"
            .to_owned(),
    }
}
