//! JSONPath (RFC 9535): `where` queries, which have to select something, and the queries of input transforms,
//! which take values out of an event.
//!
//! A query is compiled once, into a plan. Its length, its nesting and its descendant segments are bounded
//! before it is parsed. The parser is our own, because jsonpath-rust accepts what RFC 9535 refuses (it reads
//! `@.n in [1]` as a member called `n in `) and refuses numbers beyond 2^53. The evaluation is our own too,
//! because every step must be counted. The library collects every node with its path as text. It also
//! evaluates absolute queries and compiles regexes again for each node. Tests still compare with it. Never
//! here: completing or correcting a query.

mod compare;
mod compile;
mod evaluate;
mod growth;
mod parse;
mod plan;
mod regex;
mod steps;
mod syntax;

use crate::error::ParseError;
use crate::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_DESCENDANTS_MAX};
use evaluate::{Evaluation, Stop};
use plan::{Condition, From, Operand, Plan, Segment, Selector};
pub(crate) use plan::{Extent, Step};
use serde_json::Value;
pub use steps::{Steps, UsedUp};

/// A compiled `where` query: JSONPath (RFC 9535) that has to select something in an event.
///
/// It expresses what patterns can't, such as a comparison of two values of one event. It is evaluated on a
/// tree, and making the tree takes longer than a match. So evaluate it only if the pattern beside it matches.
///
/// ```
/// use edgebus_rules::{Filter, Steps};
///
/// let overpaid = Filter::parse("$[?@.paid > @.total]").expect("the query is valid");
/// let holds = |event| overpaid.holds(&event, &mut Steps::of_event());
/// assert_eq!(holds(serde_json::json!({"data": {"total": 10, "paid": 12}})), Ok(true));
/// assert_eq!(holds(serde_json::json!({"data": {"total": 10, "paid": 10}})), Ok(false));
/// ```
#[derive(Debug, Clone)]
pub struct Filter {
    plan: Plan,
}

impl Filter {
    /// Compiles a query.
    ///
    /// # Errors
    /// A [`ParseError`] for a query that isn't RFC 9535 or exceeds a limit. Its offset counts bytes of the
    /// query. Its pointer is empty.
    pub fn parse(jsonpath: &str) -> Result<Filter, ParseError> {
        check_limits(jsonpath)?;
        let query = parse::parse(jsonpath)?;
        compile::compile(&query).map(|plan| Filter { plan })
    }

    /// Whether the query selects at least one node of the event, whatever its value. It takes its steps from
    /// `steps`, which all queries of an event share.
    ///
    /// # Errors
    /// [`UsedUp`] if the budget ends before the result is known.
    pub fn holds(&self, event: &serde_json::Value, steps: &mut Steps) -> Result<bool, UsedUp> {
        let first = &mut |_: &evaluate::Node<'_, '_>| Err(Stop::Enough);
        match Evaluation::new(&self.plan, event, steps).visit(first) {
            Ok(()) => Ok(false),
            Err(Stop::Enough) => Ok(true),
            Err(Stop::UsedUp) => Err(UsedUp),
        }
    }

    /// Why the query may take more steps than are linear in the event's size, if it may. The text is one
    /// clause, for a warning.
    #[must_use]
    pub fn may_outgrow(&self) -> Option<&'static str> {
        growth::of(&self.plan)
    }

    /// The top-level members of the event that the query compares with a number or a boolean, each with that
    /// literal. If such a member is always a string, it is neither equal to the literal nor smaller or
    /// larger.
    pub fn typed_members(&self) -> impl Iterator<Item = (&str, &serde_json::Value)> {
        // A comparison of a top-level member with a literal has the same result for the whole event.
        let compared = self.plan.conditions.iter().filter_map(|one| match one {
            Condition::Compare(left, _, right) => Some([(left, right), (right, left)]),
            _ => None,
        });
        compared.flatten().filter_map(|(place, literal)| {
            let place = match place {
                Operand::Once(number) => self.plan.operands.get(*number)?,
                other => other,
            };
            match (place, literal) {
                (
                    Operand::Place(From::Top, steps),
                    Operand::Literal(typed @ (Value::Number(_) | Value::Bool(_))),
                ) => match &**steps {
                    [Step::Member(name)] => Some((&**name, typed)),
                    _ => None,
                },
                _ => None,
            }
        })
    }

    /// The steps of a query that selects exactly one place by members and indexes. `None` for other queries.
    pub(crate) fn steps(&self) -> Option<Vec<Step>> {
        let steps = self.plan.segments.iter().map(|segment| match segment {
            Segment::Children(selectors) => match &**selectors {
                [Selector::Step(step)] => Some(step.clone()),
                _ => None,
            },
            Segment::Descendants(_) => None,
        });
        steps.collect()
    }

    /// The places of the selected nodes, in the query's order. `None` if there are more than `most`.
    pub(crate) fn select(
        &self,
        event: &serde_json::Value,
        most: usize,
        steps: &mut Steps,
    ) -> Result<Option<Vec<Vec<Step>>>, UsedUp> {
        let mut places = Vec::new();
        let visited = Evaluation::new(&self.plan, event, steps).visit(&mut |node| {
            if places.len() == most {
                return Err(Stop::Enough);
            }
            places.push(node.place());
            Ok(())
        });
        match visited {
            Ok(()) => Ok(Some(places)),
            Err(Stop::Enough) => Ok(None),
            Err(Stop::UsedUp) => Err(UsedUp),
        }
    }

    /// If the query's first segment is an alias, replaces it by the member that the alias means.
    pub(crate) fn rename_top(&mut self, aliases: &[(&str, &str)]) {
        if let Some(Segment::Children(selectors)) = self.plan.segments.first_mut()
            && let [Selector::Step(Step::Member(name))] = &mut **selectors
            && let Some((_, meant)) = aliases.iter().find(|(alias, _)| *alias == &**name)
        {
            *name = (*meant).into();
        }
    }
}

fn input_error(offset: usize, reason: String, remedy: &str) -> ParseError {
    ParseError {
        offset,
        pointer: String::new(),
        reason,
        remedy: remedy.to_owned(),
    }
}

fn check_limits(query: &str) -> Result<(), ParseError> {
    if query.len() > FILTER_BYTES_MAX {
        let reason = format!("longer than {FILTER_BYTES_MAX} bytes, the limit for queries");
        return Err(input_error(0, reason, "split it into several queries"));
    }
    let mut depth = 0_usize;
    let mut descendants = 0;
    let mut quote = None;
    let mut bytes = query.bytes().enumerate();
    while let Some((offset, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => {
                bytes.next();
            }
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(' | b'[') => depth += 1,
            (None, b')' | b']') => depth = depth.saturating_sub(1),
            (None, b'.') if query.as_bytes().get(offset + 1) == Some(&b'.') => descendants += 1,
            (None, _) => {}
        }
        if depth > FILTER_DEPTH_MAX {
            let reason =
                format!("more than {FILTER_DEPTH_MAX} open brackets, the limit for queries");
            return Err(input_error(offset, reason, "split it into several queries"));
        }
        if descendants > FILTER_DESCENDANTS_MAX {
            let reason = format!("more than {FILTER_DESCENDANTS_MAX} `..`, the limit for queries");
            return Err(input_error(
                offset,
                reason,
                "name the fields on the way instead",
            ));
        }
    }
    Ok(())
}

/// The error for a query that is not valid from this byte on.
fn unexpected(query: &str, offset: usize) -> ParseError {
    let (before, from) = query.split_at(offset);
    let name = before.rsplit(['.', ' ']).next().unwrap_or_default();
    let in_name = |character: char| character.is_alphanumeric() || "-_/:+#".contains(character);
    let bare = before.ends_with(|last: char| last.is_alphanumeric() || last == '_')
        && !name.contains(['[', ']', '(', '?'])
        && from.starts_with(in_name);
    if !query.starts_with('$') {
        if query.trim_start().starts_with('$') {
            let reason = "not a JSONPath query: white space before it".to_owned();
            return input_error(0, reason, "begin it with `$`");
        }
        let reason = "not a JSONPath query: it doesn't begin with `$`".to_owned();
        return input_error(
            0,
            reason,
            "write where in the event it begins: $.data.labels",
        );
    }
    if bare {
        let rest = from.find(|character| !in_name(character));
        let rest = rest.unwrap_or(from.len());
        let remedy = format!(
            "write a name with such characters in brackets: ['{name}{}']",
            crate::scalar::shorten(&from[..rest])
        );
        return input_error(offset, not_a_query(from), &remedy);
    }
    let blank = |text: &str| text.trim_matches([' ', '\t', '\r', '\n']).is_empty();
    if !from.is_empty() && blank(from) && unclosed(query).is_none() {
        let reason = "not a JSONPath query: white space after it".to_owned();
        return input_error(offset, reason, "end it with its last character");
    }
    let above = before.trim_end_matches(' ');
    let spaced = above.len() < before.len() && above.ends_with(char::is_alphanumeric);
    if spaced && !query.contains('?') && from.starts_with(in_name) {
        let end = from.find(|character| !in_name(character));
        let start = above.rfind('.').map_or(0, |dot| dot + 1);
        let words = &query[start..offset + end.unwrap_or(from.len())];
        let remedy = format!(
            "write a name with such characters in brackets: ['{}']",
            crate::scalar::shorten(words)
        );
        return input_error(offset, not_a_query(from), &remedy);
    }
    let remedy = "write a query as in RFC 9535: $.data.labels[?@.name == 'bug']";
    if let Some((offset, open)) = unclosed(query) {
        let reason = format!("not a JSONPath query: {open} is never closed");
        return input_error(offset, reason, remedy);
    }
    let reason = match from.is_empty() {
        true => "not a JSONPath query: it ends too early".to_owned(),
        false => not_a_query(from),
    };
    input_error(offset, reason, remedy)
}

/// The last bracket or quote that is still open at the end, with its place.
fn unclosed(query: &str) -> Option<(usize, char)> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut characters = query.char_indices();
    while let Some((at, character)) = characters.next() {
        let quote = open.last().map(|(_, last)| *last);
        match (quote, character) {
            (Some('\'' | '"'), '\\') => {
                characters.next();
            }
            (Some(last @ ('\'' | '"')), _) if character == last => {
                open.pop();
            }
            (Some('\'' | '"'), _) => {}
            (_, '[' | '(' | '\'' | '"') => open.push((at, character)),
            (Some('['), ']') | (Some('('), ')') => {
                open.pop();
            }
            _ => {}
        }
    }
    open.pop()
}

fn not_a_query(from: &str) -> String {
    format!(
        "not a JSONPath query from `{}` on",
        crate::scalar::shorten(from)
    )
}

#[cfg(test)]
mod tests;
