//! The tree of a query as it is written. The parser makes it, and the plan is made from it.
//!
//! Each part that can be invalid keeps the place of its first byte. Never here: type checks (`compile.rs`),
//! and an event.

use super::plan::{Comparison, From};
use serde_json::Value;

/// A query, which begins with `$` or `@`.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) at: usize,
    pub(super) from: From,
    pub(super) segments: Vec<Segment>,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// Whether it begins with `..`.
    pub(super) descends: bool,
    pub(super) selectors: Vec<Selector>,
    /// The place of white space inside its brackets, if there is some. A query in a comparison can't have
    /// any.
    pub(super) space: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Selector {
    Name(Box<str>),
    Wildcard,
    Index(i64),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: Option<i64>,
    },
    Filter(Logical),
}

/// The condition of a filter.
#[derive(Debug)]
pub(super) enum Logical {
    Or(Vec<Logical>),
    And(Vec<Logical>),
    Not(Box<Logical>),
    /// A query that has to select something.
    Query(Query),
    Call(Call),
    Compare(Comparable, Comparison, Comparable),
}

#[derive(Debug)]
pub(super) enum Comparable {
    Literal(Value),
    Query(Query),
    Call(Call),
}

/// A function with its arguments.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) at: usize,
    pub(super) name: Box<str>,
    pub(super) arguments: Vec<Argument>,
}

#[derive(Debug)]
pub(super) struct Argument {
    pub(super) at: usize,
    pub(super) is: Form,
}

/// The forms of an argument.
#[derive(Debug)]
pub(super) enum Form {
    Literal(Value),
    Query(Query),
    Call(Call),
    Logical,
}
