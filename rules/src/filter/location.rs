//! Where a node of an event is: the way from the top, a member or an element at each step.
//!
//! jsonpath-rust reports each node that it selects with its normalized path (RFC 9535, 2.7). Read
//! back into steps, the path finds the same node in the event's own bytes, whose numbers still have
//! the digits that a tree loses. Never here: anything that selects.

/// One step down from a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into the member with this name.
    Member(Box<str>),
    /// Into the element at this index; counted from the end where it is negative.
    Element(i64),
}

/// The steps of a normalized path; none if it isn't one.
pub(super) fn read(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        rest = rest.strip_prefix('[')?;
        let step = if let Some(quoted) = rest.strip_prefix('\'') {
            let (name, after) = name(quoted)?;
            rest = after;
            Step::Member(name.into())
        } else {
            let (index, after) = rest.split_at(rest.find(']')?);
            rest = after;
            Step::Element(index.parse().ok()?)
        };
        steps.push(step);
        rest = rest.strip_prefix(']')?;
    }
    Some(steps)
}

/// A name up to its closing quote, decoded, and what follows the quote.
fn name(text: &str) -> Option<(String, &str)> {
    let mut decoded = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '\'' => return Some((decoded, characters.as_str())),
            '\\' => decoded.push(match characters.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits = characters.as_str().get(..4)?;
                    characters = characters.as_str().get(4..)?.chars();
                    char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
                }
                other => other,
            }),
            other => decoded.push(other),
        }
    }
}
