//! A query as it is evaluated: small values that borrow nothing, made once for each query.
//!
//! What doesn't depend on the node that a filter looks at is the same for the whole event, such as an
//! absolute query inside a filter. It gets a number here and is worked out once for each event. Never
//! here: an event.

use super::regex::Regex;
use serde_json::Value;

/// One step down from a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into the member with this name.
    Member(Box<str>),
    /// Into the element at this index; counted from the end where it is negative.
    Element(i64),
}

/// A whole query.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// From the top of the event.
    pub(super) segments: Box<[Segment]>,
    /// Conditions that are the same for the whole event, by the number that [`Condition::Once`] gives.
    pub(super) conditions: Box<[Condition]>,
    /// Operands that are the same for the whole event, by the number that [`Operand::Once`] gives.
    pub(super) operands: Box<[Operand]>,
    /// The regexes that the query itself has, by number.
    pub(super) regexes: Box<[Regex]>,
}

/// Which nodes one segment selects from a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Segment {
    /// Of the node's children.
    Children(Box<[Selector]>),
    /// Of the children of the node and of all nodes below it.
    Descendants(Box<[Selector]>),
}

/// Which children of a node are selected.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Selector {
    Step(Step),
    Wildcard,
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
    Filter(Condition),
}

/// Where a query inside a filter begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// At `$`, the top of the event.
    Top,
    /// At `@`, the node that the filter looks at.
    Current,
}

/// A query inside a filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Nodes {
    /// Of one node at most.
    Place(From, Box<[Step]>),
    /// Of any number.
    All(From, Box<[Segment]>),
}

/// What holds of a node or doesn't.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Or(Box<[Condition]>),
    And(Box<[Condition]>),
    Not(Box<Condition>),
    Exists(Nodes),
    Compare(Operand, Comparison, Operand),
    /// `match` and `search`.
    Regex(Operand, Expression),
    /// The condition of this number, which is the same for the whole event.
    Once(usize),
}

/// How two operands have to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Value),
    Place(From, Box<[Step]>),
    Length(Box<Operand>),
    Count(Nodes),
    Value(Nodes),
    /// The operand of this number, which is the same for the whole event.
    Once(usize),
}

/// The expression of `match` and `search`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    /// One of the query's own, by number.
    Own(usize),
    /// Not a string, so nothing has its form.
    Never,
    /// Whatever string this is in an event.
    OfEvent(Operand, Extent),
}

/// How much of a string has to have the form of a regex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Extent {
    /// All of it: `match`.
    Whole,
    /// Some part of it: `search`.
    Part,
}

impl Nodes {
    /// Whether the nodes are the same for the whole event.
    pub(super) fn is_constant(&self) -> bool {
        let (Nodes::Place(from, _) | Nodes::All(from, _)) = self;
        *from == From::Top
    }
}

impl Operand {
    /// Whether the value is the same for the whole event.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Operand::Literal(_) | Operand::Once(_) => true,
            Operand::Place(from, _) => *from == From::Top,
            Operand::Length(of) => of.is_constant(),
            Operand::Count(nodes) | Operand::Value(nodes) => nodes.is_constant(),
        }
    }
}

impl Condition {
    /// Whether it holds of every node of the event or of none.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Condition::Or(all) | Condition::And(all) => all.iter().all(Condition::is_constant),
            Condition::Not(one) => one.is_constant(),
            Condition::Exists(nodes) => nodes.is_constant(),
            Condition::Compare(left, _, right) => left.is_constant() && right.is_constant(),
            Condition::Regex(text, expression) => {
                let constant = match expression {
                    Expression::Own(_) | Expression::Never => true,
                    Expression::OfEvent(operand, _) => operand.is_constant(),
                };
                constant && text.is_constant()
            }
            Condition::Once(_) => true,
        }
    }
}
