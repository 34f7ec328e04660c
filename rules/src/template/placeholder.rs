//! Text with `{$.path}` placeholders: the strings of inputs, and the templates that `edgebus publish` takes.
//!
//! `{{` and `}}` stand for the braces themselves. Never here: what a path selects, and how the value is
//! written.

/// A part of a text with placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplatePart<'t> {
    /// Plain text. Never empty.
    Text(&'t str),
    /// The JSONPath of a placeholder, without white space around it.
    Placeholder(&'t str),
    /// A brace that begins no placeholder and is not doubled, with everything after it.
    Stray(&'t str),
}

/// The parts of a text with `{$.path}` placeholders, in order. A stray brace is the last part.
///
/// ```
/// use edgebus_rules::{TemplatePart, template_parts};
///
/// let parts: Vec<_> = template_parts("{{{$.a}}} and { $['}'] }").collect();
/// let wanted = [
///     TemplatePart::Text("{"),
///     TemplatePart::Placeholder("$.a"),
///     TemplatePart::Text("}"),
///     TemplatePart::Text(" and "),
///     TemplatePart::Placeholder("$['}']"),
/// ];
/// assert_eq!(parts, wanted);
/// assert!(template_parts("x {y}").eq([TemplatePart::Text("x "), TemplatePart::Stray("{y}")]));
/// ```
pub fn template_parts(text: &str) -> impl Iterator<Item = TemplatePart<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let part;
        (part, rest) = match rest.find(['{', '}']) {
            None if rest.is_empty() => return None,
            None => (TemplatePart::Text(rest), ""),
            Some(0) if rest.starts_with("{{") || rest.starts_with("}}") => {
                (TemplatePart::Text(&rest[..1]), &rest[2..])
            }
            Some(0) => match length(rest) {
                Some(length) => (
                    TemplatePart::Placeholder(rest[1..length - 1].trim()),
                    &rest[length..],
                ),
                None => (TemplatePart::Stray(rest), ""),
            },
            Some(at) => (TemplatePart::Text(&rest[..at]), &rest[at..]),
        };
        Some(part)
    })
}

/// The length in bytes of the placeholder at the start of the text, braces included, if there is one.
fn length(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('{')?;
    if !inside.trim_start().starts_with('$') {
        return None;
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in inside.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if character == '}' => return Some(at + 2),
            None if character == '\'' || character == '"' => quote = Some(character),
            None => {}
        }
    }
    None
}
