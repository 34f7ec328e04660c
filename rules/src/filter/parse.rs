//! Parses the text of a query into its tree. Accepts RFC 9535's grammar, rule by rule, and nothing else.
//!
//! Invalid text is refused at the place where it stops being a query. If the intended meaning is known, the
//! error says how to write it. The text's length, its brackets and its `..` are bounded before (`filter.rs`),
//! so recursion here is bounded too. Never here: type checks, and an event.

mod literal;

use super::input_error;
use super::plan::{Comparison, From};
use super::syntax::{Argument, Call, Comparable, Form, Logical, Query, Segment, Selector};
use super::unexpected;
use crate::error::ParseError;
use serde_json::Value;

/// The largest index and slice bound: the largest integer that JavaScript holds exactly (RFC 9535, 2.1).
const INDEX_MAX: i64 = (1 << 53) - 1;

/// Operators of other dialects, and what to write instead.
const FOREIGN: [(&str, &str); 19] = [
    ("===", "compare with `==`"),
    (
        "==",
        "compare two values, as in @.a == 1; parentheses hold conditions",
    ),
    (
        "=~",
        "write search(@.name, 'foo.*'), or match(…) for the whole text",
    ),
    ("=", "compare with `==`"),
    ("<>", "compare with `!=`"),
    (
        "in",
        "write each one: @.status == 'open' || @.status == 'new'",
    ),
    (
        "nin",
        "write each one: @.status != 'open' && @.status != 'new'",
    ),
    (
        "anyof",
        "write each one: @.tags[?@ == 'a'] || @.tags[?@ == 'b']",
    ),
    (
        "noneof",
        "write each one: !@.tags[?@ == 'a'] && !@.tags[?@ == 'b']",
    ),
    (
        "subsetof",
        "say what no element is: !@.tags[?@ != 'a' && @ != 'b']",
    ),
    (
        "contains",
        "write @.tags[?@ == 'x'] for a list, search(@.text, 'x') for a text",
    ),
    ("size", "write length(@.name) == 4"),
    ("empty", "write length(@.name) == 0"),
    ("eq", "compare with `==`"),
    ("is", "compare with `==`"),
    ("ne", "compare with `!=`"),
    ("and", "write `&&`"),
    ("or", "write `||`"),
    ("not", "write `!` before what must not hold"),
];

/// Reads a query.
pub(super) fn parse(text: &str) -> Result<Query, ParseError> {
    let mut parser = Parser::new(text);
    if !parser.eats("$") {
        return Err(unexpected(text, 0));
    }
    let segments = parser.segments()?;
    if parser.at < text.len() {
        return Err(parser.unexpected());
    }
    Ok(Query {
        at: 0,
        from: From::Top,
        segments,
    })
}

struct Parser<'q> {
    text: &'q str,
    /// The place of the next byte.
    at: usize,
    /// How many comparables were read. Only for tests.
    #[cfg(test)]
    comparables: usize,
}

impl<'q> Parser<'q> {
    fn new(text: &'q str) -> Self {
        Self {
            text,
            at: 0,
            #[cfg(test)]
            comparables: 0,
        }
    }

    fn rest(&self) -> &'q str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// If the rest begins with this text, reads it and returns true.
    fn eats(&mut self, what: &str) -> bool {
        let begins = self.rest().starts_with(what);
        if begins {
            self.at += what.len();
        }
        begins
    }

    /// Reads this text, or returns an error.
    fn expect(&mut self, what: &str) -> Result<(), ParseError> {
        match self.eats(what) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    /// Reads characters as long as they are wanted.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'q str {
        let rest = self.rest();
        let end = rest.find(|character| !wanted(character));
        let taken = &rest[..end.unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn space(&mut self) {
        self.take(|character| matches!(character, ' ' | '\t' | '\n' | '\r'));
    }

    /// Reads white space if one of these characters comes after it. Otherwise reads nothing.
    fn eats_after_space(&mut self, what: &str) -> bool {
        let before = self.at;
        self.space();
        let eaten = self.eats(what);
        if !eaten {
            self.at = before;
        }
        eaten
    }

    /// The error for a query that is not valid from here on.
    fn unexpected(&self) -> ParseError {
        let rest = self.rest().trim_start();
        let written = |word: &&(&str, &str)| {
            let goes_on = |rest: &str| rest.starts_with(|next: char| next.is_ascii_alphanumeric());
            let is_word = word
                .0
                .starts_with(|first: char| first.is_ascii_alphabetic());
            rest.strip_prefix(word.0)
                .is_some_and(|after| !(is_word && goes_on(after)))
        };
        let space = match rest.is_empty() {
            true => 0,
            false => self.rest().len() - rest.len(),
        };
        let plain = unexpected(self.text, self.at + space);
        match FOREIGN.iter().find(written) {
            // A word in a path of plain names is the rest of a name.
            Some((_, remedy)) if self.text.contains('?') => ParseError {
                remedy: (*remedy).to_owned(),
                ..plain
            },
            _ => plain,
        }
    }

    fn segments(&mut self) -> Result<Vec<Segment>, ParseError> {
        let mut segments = Vec::new();
        loop {
            let before = self.at;
            self.space();
            let descends = self.eats("..");
            let mut space = None;
            let selectors = if self.peek() == Some('[') {
                self.bracketed(&mut space)?
            } else if descends || self.eats(".") {
                vec![self.shorthand()?]
            } else {
                self.at = before;
                return Ok(segments);
            };
            segments.push(Segment {
                descends,
                selectors,
                space,
            });
        }
    }

    /// A name or `*` after a dot.
    fn shorthand(&mut self) -> Result<Selector, ParseError> {
        if self.eats("*") {
            return Ok(Selector::Wildcard);
        }
        let first = |character: char| {
            character.is_ascii_alphabetic() || character == '_' || !character.is_ascii()
        };
        if !self.peek().is_some_and(first) {
            return Err(self.unexpected());
        }
        let name = self.take(|character| first(character) || character.is_ascii_digit());
        Ok(Selector::Name(name.into()))
    }

    fn bracketed(&mut self, space: &mut Option<usize>) -> Result<Vec<Selector>, ParseError> {
        let mut passes = |parser: &mut Self| {
            let before = parser.at;
            parser.space();
            if parser.at > before {
                space.get_or_insert(before);
            }
        };
        self.expect("[")?;
        let mut selectors = Vec::new();
        loop {
            passes(self);
            selectors.push(self.selector()?);
            passes(self);
            if self.eats("]") {
                return Ok(selectors);
            }
            self.expect(",")?;
        }
    }

    fn selector(&mut self) -> Result<Selector, ParseError> {
        match self.peek() {
            Some('\'' | '"') => Ok(Selector::Name(self.string()?.into())),
            Some('*') => {
                self.at += 1;
                Ok(Selector::Wildcard)
            }
            Some('?') => {
                self.at += 1;
                self.space();
                Ok(Selector::Filter(self.logical()?))
            }
            Some('-' | ':' | '0'..='9') => self.index_or_slice(),
            Some(other) if other.is_alphabetic() => {
                let plain = self.unexpected();
                let name = self.take(|character| character.is_alphanumeric() || character == '_');
                let remedy = format!("put a name in quotes: ['{}']", crate::scalar::shorten(name));
                Err(ParseError { remedy, ..plain })
            }
            _ => Err(self.unexpected()),
        }
    }

    fn index_or_slice(&mut self) -> Result<Selector, ParseError> {
        let start = self.index()?;
        if !self.eats_after_space(":") {
            return start.map(Selector::Index).ok_or_else(|| self.unexpected());
        }
        self.space();
        let end = self.index()?;
        let mut step = None;
        if self.eats_after_space(":") {
            let before = self.at;
            self.space();
            step = self.index()?;
            if step.is_none() {
                self.at = before;
            }
        }
        Ok(Selector::Slice { start, end, step })
    }

    /// A whole number for an index, if there is one here.
    fn index(&mut self) -> Result<Option<i64>, ParseError> {
        let start = self.at;
        if !matches!(self.peek(), Some('-' | '0'..='9')) {
            return Ok(None);
        }
        let negative = self.eats("-");
        let digits = self.digits()?;
        if negative && digits == "0" {
            return Err(unexpected(self.text, start));
        }
        let number: Option<i64> = self.text[start..self.at].parse().ok();
        match number.filter(|number| (-INDEX_MAX..=INDEX_MAX).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let reason = format!("not a JSONPath query: an index goes up to {INDEX_MAX}");
                Err(input_error(start, reason, "write a smaller number"))
            }
        }
    }

    /// `0`, or digits that don't begin with 0.
    fn digits(&mut self) -> Result<&'q str, ParseError> {
        if self.eats("0") {
            return Ok("0");
        }
        let digits = self.take(|character| character.is_ascii_digit());
        match digits.is_empty() {
            true => Err(self.unexpected()),
            false => Ok(digits),
        }
    }

    fn logical(&mut self) -> Result<Logical, ParseError> {
        let first = self.basic()?;
        self.logical_after(first)
    }

    /// The condition that begins with the part that was read already.
    fn logical_after(&mut self, first: Logical) -> Result<Logical, ParseError> {
        let mut all = vec![self.conjunction_after(first)?];
        while self.eats_after_space("||") {
            self.space();
            let next = self.basic()?;
            all.push(self.conjunction_after(next)?);
        }
        Ok(joined(all, Logical::Or))
    }

    fn conjunction_after(&mut self, first: Logical) -> Result<Logical, ParseError> {
        let mut all = vec![first];
        while self.eats_after_space("&&") {
            self.space();
            all.push(self.basic()?);
        }
        Ok(joined(all, Logical::And))
    }

    fn basic(&mut self) -> Result<Logical, ParseError> {
        let start = self.at;
        if self.eats("!") {
            self.space();
            if self.peek() == Some('(') {
                return Ok(Logical::Not(Box::new(self.group()?)));
            }
            let tested = match self.comparable()? {
                Comparable::Query(query) => Logical::Query(query),
                Comparable::Call(call) => Logical::Call(call),
                Comparable::Literal(_) => return Err(unexpected(self.text, start)),
            };
            let rest = self.rest();
            let after = self.at + rest.len() - rest.trim_start().len();
            if self.comparison()?.is_some() {
                let remedy = "put what `!` stands before into brackets: !(@.a == 1)";
                let plain = unexpected(self.text, after);
                return Err(ParseError {
                    remedy: remedy.to_owned(),
                    ..plain
                });
            }
            return Ok(Logical::Not(Box::new(tested)));
        }
        if self.peek() == Some('(') {
            return self.group();
        }
        let left = self.comparable()?;
        self.basic_after(start, left)
    }

    /// The comparison or test that begins with this comparable, which was read at `start`.
    fn basic_after(&mut self, start: usize, left: Comparable) -> Result<Logical, ParseError> {
        match (self.comparison()?, left) {
            (Some(comparison), left) => {
                self.space();
                let right = self.comparable()?;
                Ok(Logical::Compare(left, comparison, right))
            }
            (None, Comparable::Query(query)) => Ok(Logical::Query(query)),
            (None, Comparable::Call(call)) => Ok(Logical::Call(call)),
            (None, Comparable::Literal(_)) => match self.rest().trim_start().is_empty() {
                true => Err(self.unexpected()),
                false => {
                    let reason = "not a JSONPath query: a value alone is no condition".to_owned();
                    let plain = self.unexpected();
                    match plain.remedy.contains("RFC 9535") {
                        true => Err(input_error(
                            start,
                            reason,
                            "compare it, as in @.name == 'bug'",
                        )),
                        false => Err(plain),
                    }
                }
            },
        }
    }

    /// A condition in parentheses.
    fn group(&mut self) -> Result<Logical, ParseError> {
        self.expect("(")?;
        self.space();
        let inner = self.logical()?;
        self.space();
        self.expect(")")?;
        Ok(inner)
    }

    /// The operator of a comparison, with the white space before it. Reads nothing if there is none.
    fn comparison(&mut self) -> Result<Option<Comparison>, ParseError> {
        let before = self.at;
        self.space();
        let signs = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        if self.rest().starts_with("===") || self.rest().starts_with("<>") {
            return Err(self.unexpected());
        }
        for (sign, comparison) in signs {
            if self.eats(sign) {
                return Ok(Some(comparison));
            }
        }
        self.at = before;
        Ok(None)
    }

    /// A literal, a query or a function.
    fn comparable(&mut self) -> Result<Comparable, ParseError> {
        #[cfg(test)]
        {
            self.comparables += 1;
        }
        let at = self.at;
        match self.peek() {
            Some('\'' | '"') => Ok(Comparable::Literal(self.string()?.into())),
            Some('-' | '0'..='9') => Ok(Comparable::Literal(self.number()?)),
            Some(root @ ('@' | '$')) => {
                self.at += 1;
                let segments = self.segments()?;
                let from = match root {
                    '@' => From::Current,
                    _ => From::Top,
                };
                Ok(Comparable::Query(Query { at, from, segments }))
            }
            Some('a'..='z') => {
                let name = self.take(|next| matches!(next, 'a'..='z' | '0'..='9' | '_'));
                if self.peek() == Some('(') {
                    return Ok(Comparable::Call(self.call(at, name)?));
                }
                let literal = match name {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    "null" => Value::Null,
                    _ => {
                        self.at = at;
                        return Err(self.unexpected());
                    }
                };
                Ok(Comparable::Literal(literal))
            }
            _ => Err(self.unexpected()),
        }
    }

    /// The arguments of a function, after its name.
    fn call(&mut self, at: usize, name: &str) -> Result<Call, ParseError> {
        self.expect("(")?;
        self.space();
        let mut arguments = Vec::new();
        if !self.eats(")") {
            loop {
                arguments.push(self.argument()?);
                self.space();
                if self.eats(")") {
                    break;
                }
                self.expect(",")?;
                self.space();
            }
        }
        Ok(Call {
            at,
            name: name.into(),
            arguments,
        })
    }

    fn argument(&mut self) -> Result<Argument, ParseError> {
        let at = self.at;
        if !matches!(self.peek(), Some('(' | '!')) {
            let alone = self.comparable()?;
            let after = self.at;
            self.space();
            let is_alone = matches!(self.peek(), Some(',' | ')'));
            self.at = after;
            if is_alone {
                let is = match alone {
                    Comparable::Literal(literal) => Form::Literal(literal),
                    Comparable::Query(query) => Form::Query(query),
                    Comparable::Call(call) => Form::Call(call),
                };
                return Ok(Argument { at, is });
            }
            // It is read only once. Reading it again at each level would take time exponential in the number
            // of levels.
            let first = self.basic_after(at, alone)?;
            self.logical_after(first)?;
        } else {
            self.logical()?;
        }
        Ok(Argument {
            at,
            is: Form::Logical,
        })
    }
}

/// Joins several conditions into one. A single condition stays as it is.
fn joined(mut all: Vec<Logical>, join: fn(Vec<Logical>) -> Logical) -> Logical {
    match all.pop() {
        Some(only) if all.is_empty() => only,
        Some(last) => {
            all.push(last);
            join(all)
        }
        None => join(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_arguments_are_read_once() {
        const LEVELS: usize = 14;
        let arguments = format!(
            "{}@.b{}",
            "length(".repeat(LEVELS),
            " == 1 && @.c)".repeat(LEVELS)
        );
        let text = format!("[?{arguments} == 1]");
        let mut parser = Parser::new(&text);
        parser.segments().unwrap();
        assert_eq!(parser.at, text.len());
        // Each level has a call, a number and a query. Innermost there is `@.b`, outermost a number.
        assert_eq!(parser.comparables, 3 * LEVELS + 2);
    }
}
