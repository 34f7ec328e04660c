//! A query in the form in which it is evaluated: small values without borrows, made once for each query.
//!
//! Some parts don't depend on the node that a filter looks at, such as an absolute query inside a filter.
//! They are the same for the whole event. Such a part gets a number here and is evaluated once for each
//! event. Never here: an event.

use super::regex::Regex;
use serde_json::Value;

/// One step down from a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into the member with this name.
    Member(Box<str>),
    /// Into the element at this index. A negative index counts from the end.
    Element(i64),
}

/// A whole query.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The segments, from the top of the event.
    pub(super) segments: Box<[Segment]>,
    /// The conditions that are the same for the whole event, by the number in [`Condition::Once`].
    pub(super) conditions: Box<[Condition]>,
    /// The operands that are the same for the whole event, by the number in [`Operand::Once`].
    pub(super) operands: Box<[Operand]>,
    /// The regexes that are literals of the query, by number.
    pub(super) regexes: Box<[Regex]>,
}

/// The nodes that one segment selects from a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Segment {
    /// Among the node's children.
    Children(Box<[Selector]>),
    /// Among the children of the node and of all nodes below it.
    Descendants(Box<[Selector]>),
}

/// The children that are selected.
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

/// The node at which a query inside a filter begins.
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
    /// It selects at most one node.
    Place(From, Box<[Step]>),
    /// It may select any number of nodes.
    All(From, Box<[Segment]>),
}

/// A condition on a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Or(Box<[Condition]>),
    And(Box<[Condition]>),
    Not(Box<Condition>),
    Exists(Nodes),
    Compare(Operand, Comparison, Operand),
    /// `match` and `search`.
    Regex(Operand, Expression),
    /// The condition with this number, which is the same for the whole event.
    Once(usize),
}

/// How to compare two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value in a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Value),
    Place(From, Box<[Step]>),
    Length(Box<Operand>),
    Count(Nodes),
    Value(Nodes),
    /// The operand with this number, which is the same for the whole event.
    Once(usize),
}

/// The expression of `match` and `search`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    /// A literal of the query, by number.
    Own(usize),
    /// Not a string, so nothing matches.
    Never,
    /// The string that this operand has in an event.
    OfEvent(Operand, Extent),
}

/// How much of a string a regex has to match.
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
    /// Whether the result is the same for every node of the event.
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
