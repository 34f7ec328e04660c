//! JSONPath (RFC 9535): the `where` queries that have to select something, and what input
//! transforms take out of an event.
//!
//! The only room that knows jsonpath-rust; its types don't leave. A query is compiled once. Its
//! length, its nesting and its descendant segments are bounded before the library sees it, because
//! each of them multiplies the work for every event. A query is never completed or corrected.

mod location;

use crate::error::Fault;
use crate::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_DESCENDANTS_MAX};
use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
pub(crate) use location::Step;

/// A compiled `where` query: JSONPath (RFC 9535) that has to select something of an event.
///
/// For what patterns can't ask, such as how two values of one event compare. It is asked of a tree, which
/// takes longer to make than a match, so ask it only where the pattern beside it matches.
///
/// ```
/// use rules::Filter;
///
/// let overpaid = Filter::parse("$[?@.paid > @.total]").expect("the query is valid");
/// assert!(overpaid.holds(&serde_json::json!({"data": {"total": 10, "paid": 12}})));
/// assert!(!overpaid.holds(&serde_json::json!({"data": {"total": 10, "paid": 10}})));
/// ```
#[derive(Debug, Clone)]
pub struct Filter {
    query: JpQuery,
}

impl Filter {
    /// Compiles a query.
    ///
    /// # Errors
    /// A [`Fault`] for a query that isn't RFC 9535 or that passes a limit. Its offset counts bytes
    /// of the query; its pointer is empty.
    pub fn parse(jsonpath: &str) -> Result<Filter, Fault> {
        check_limits(jsonpath)?;
        match parse_json_path(jsonpath) {
            Ok(query) => Ok(Filter { query }),
            Err(error) => Err(syntax_fault(jsonpath, &error.to_string())),
        }
    }

    /// Whether the query selects at least one node of the event, whatever its value.
    ///
    /// A query that can't be evaluated on this event selects nothing.
    pub fn holds(&self, event: &serde_json::Value) -> bool {
        js_path_process(&self.query, event).is_ok_and(|nodes| !nodes.is_empty())
    }

    /// The steps of a query that names one place by members and indexes; none for other queries.
    pub(crate) fn steps(&self) -> Option<Vec<Step>> {
        let steps = self.query.segments.iter().map(|segment| match segment {
            Segment::Selector(Selector::Name(name)) => Some(Step::Member(name.as_str().into())),
            Segment::Selector(Selector::Index(index)) => Some(Step::Element(*index)),
            _ => None,
        });
        steps.collect()
    }

    /// Where the selected nodes are, in the query's order; none at all if there are more than `most`.
    pub(crate) fn select(&self, event: &serde_json::Value, most: usize) -> Option<Vec<Vec<Step>>> {
        let nodes = js_path_process(&self.query, event).unwrap_or_default();
        if nodes.len() > most {
            return None;
        }
        let locations = nodes.iter().filter_map(|node| location::read(&node.path));
        Some(locations.collect())
    }

    /// Gives the first segment's member its meaning where the query calls it by an alias.
    pub(crate) fn rename_top(&mut self, aliases: &[(&str, &str)]) {
        if let Some(Segment::Selector(Selector::Name(name))) = self.query.segments.first_mut()
            && let Some((_, meant)) = aliases.iter().find(|(alias, _)| alias == name)
        {
            *name = (*meant).to_owned();
        }
    }
}

fn fault(offset: usize, reason: String, remedy: &str) -> Fault {
    Fault {
        offset,
        pointer: String::new(),
        reason,
        remedy: remedy.to_owned(),
    }
}

fn check_limits(query: &str) -> Result<(), Fault> {
    if query.len() > FILTER_BYTES_MAX {
        let reason = format!("longer than {FILTER_BYTES_MAX} bytes, the limit for queries");
        return Err(fault(0, reason, "split it into several queries"));
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
            return Err(fault(offset, reason, "split it into several queries"));
        }
        if descendants > FILTER_DESCENDANTS_MAX {
            let reason = format!("more than {FILTER_DESCENDANTS_MAX} `..`, the limit for queries");
            return Err(fault(offset, reason, "name the fields on the way instead"));
        }
    }
    Ok(())
}

/// Says where a query stops being one. What the library wanted there is in the words of its grammar,
/// which nobody who writes a query knows.
fn syntax_fault(query: &str, message: &str) -> Fault {
    // The library's report has a line with an arrow and the place.
    let place = message
        .lines()
        .find_map(|line| line.split_once("--> "))
        .and_then(|(_, place)| place.trim().split_once(':'))
        .and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
    let offset = place.map_or(0, |(line, column)| offset_of(query, line, column));
    let (before, from) = query.split_at(offset);
    let name = before.rsplit(['.', ' ']).next().unwrap_or_default();
    let in_name = |character: char| character.is_alphanumeric() || "-_/:+#".contains(character);
    let bare = before.ends_with(|last: char| last.is_alphanumeric() || last == '_')
        && !name.contains(['[', ']', '(', '?'])
        && from.starts_with(in_name);
    if !query.starts_with('$') {
        let reason = "not a JSONPath query: it doesn't begin with `$`".to_owned();
        return fault(
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
        return fault(offset, not_a_query(from), &remedy);
    }
    let remedy = "write a query as in RFC 9535: $.data.labels[?@.name == 'bug']";
    if let Some((offset, open)) = unclosed(query) {
        let reason = format!("not a JSONPath query: {open} is never closed");
        return fault(offset, reason, remedy);
    }
    let reason = match from.is_empty() {
        true => "not a JSONPath query: it ends too early".to_owned(),
        false => not_a_query(from),
    };
    fault(offset, reason, remedy)
}

/// The last bracket or quote that is open at the end, with its place.
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

/// The byte offset of a place given by line and column, both counted from one.
fn offset_of(query: &str, line: usize, column: usize) -> usize {
    let before: usize = query
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let rest = &query[before..];
    let column = rest.char_indices().nth(column.saturating_sub(1));
    before + column.map_or(rest.len(), |(offset, _)| offset)
}

#[cfg(test)]
mod tests;
