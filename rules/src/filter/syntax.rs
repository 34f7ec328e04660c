//! A query as it is written: the tree between the parser and the plan.
//!
//! Each part that can be invalid keeps the byte where it begins. Never here: whether the types fit
//! (`compile.rs`), and an event.

use super::plan::{Comparison, From};
use serde_json::Value;

/// A query, from `$` or `@` on.
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
    /// Where white space is inside its brackets, which a query that is compared can't have.
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

/// What a filter asks.
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

/// What an argument is.
#[derive(Debug)]
pub(super) enum Form {
    Literal(Value),
    Query(Query),
    Call(Call),
    Logical,
}
