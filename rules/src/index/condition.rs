//! A condition as the engine holds it: one path, and what a value there has to meet.
//!
//! Equal conditions of all rules are one. The commonest are compared without building a scalar, long
//! lists of strings by search; all others ask the operators themselves, as the plain matcher does.

use super::hash::Seed;
use super::index_key::IndexKeys;
use super::order::{self, Range};
use super::values::{Kind, Value};
use crate::operator::{Operator, exact};
use crate::pattern;

/// Lists with so many strings are searched, not read through.
const SEARCHED_MIN: usize = 9;

/// A string that lies, if it is short, in the condition itself: comparing it then touches no other
/// memory.
#[derive(PartialEq)]
enum Text {
    Short(Short),
    Long(Box<str>),
}

/// A short string.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Short {
    length: u8,
    bytes: [u8; SHORT_MAX],
}

const SHORT_MAX: usize = 30;

impl Short {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Text {
    fn new(text: &str) -> Text {
        let mut bytes = [0; SHORT_MAX];
        match bytes.get_mut(..text.len()) {
            Some(part) => {
                part.copy_from_slice(text.as_bytes());
                let length = text.len() as u8;
                Text::Short(Short { length, bytes })
            }
            None => Text::Long(text.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Text::Short(short) => short.bytes(),
            Text::Long(text) => text.as_bytes(),
        }
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.bytes().fmt(out)
    }
}

/// What a value has to meet.
#[derive(Debug, PartialEq)]
enum Test {
    /// To be this string.
    Text(Text),
    /// To be this string, which is ASCII, whatever the case of its letters.
    AnyCase(Text),
    /// To be a number whose word is in the range.
    Range(Range),
    /// To be anything else than these strings, which are sorted.
    NoneOf(Box<[Box<str>]>),
    /// Something that no single value decides. Every value passes here; the plain matcher decides.
    Together,
    /// To be one of these strings, which are sorted, or meet one of the operators.
    OneOf(Box<[Box<str>]>, Box<[Operator]>),
}

/// The literal strings among operators, sorted, and the others.
fn texts(operators: &[Operator]) -> (Box<[Box<str>]>, Box<[Operator]>) {
    let mut texts = Vec::new();
    let mut others = Vec::new();
    for operator in operators {
        match operator {
            Operator::Exact(exact::Operand::Text(text)) => texts.push(text.clone()),
            _ => others.push(operator.clone()),
        }
    }
    texts.sort_unstable();
    texts.dedup();
    (texts.into(), others.into())
}

/// Whether an operator may wait behind an index key that the word of a number opens.
fn needs_numbers(operator: &Operator) -> bool {
    match operator {
        Operator::Numeric(_) | Operator::Exact(exact::Operand::Number(_)) => true,
        Operator::All(operand) => operand.each().iter().any(needs_numbers),
        _ => false,
    }
}

fn listed(texts: &[Box<str>], text: &[u8]) -> bool {
    match texts {
        [] => false,
        [only] => only.as_bytes() == text,
        _ => texts
            .binary_search_by(|known| known.as_bytes().cmp(text))
            .is_ok(),
    }
}

/// A condition to be one short string: asking it touches no memory but its own.
#[derive(Debug, Clone)]
pub(super) struct SmallCondition {
    pub(super) node: u32,
    text: Short,
}

impl SmallCondition {
    /// Whether a value meets it.
    pub(super) fn holds(&self, value: Value<'_>) -> bool {
        value.is_text(self.text.bytes())
    }
}

/// A condition.
#[derive(Debug)]
pub(super) struct Condition {
    /// The node at which its path ends.
    pub(super) node: u32,
    /// Its number in the table of conditions.
    pub(super) number: u32,
    /// Whether there being no value meets it.
    pub(super) by_absence: bool,
    test: Test,
}

impl Condition {
    pub(super) fn new(node: u32, condition: &pattern::Condition) -> Self {
        let alternatives = condition.alternatives();
        let test = match alternatives {
            [Operator::Exact(exact::Operand::Text(text))] => Test::Text(Text::new(text)),
            // No character outside ASCII is the form of one inside.
            [Operator::EqualsIgnoreCase(wanted)] if wanted.text().is_ascii() => {
                Test::AnyCase(Text::new(&wanted.text().to_ascii_lowercase()))
            }
            [Operator::Numeric(operand)] => {
                let (low, high) = operand.bounds();
                Test::Range(order::range(low, high))
            }
            [Operator::AnythingBut(operand)] => {
                let (texts, others) = texts(operand.outside());
                if others.is_empty() {
                    Test::NoneOf(texts)
                } else {
                    Test::OneOf([].into(), alternatives.into())
                }
            }
            _ if alternatives.len() < SEARCHED_MIN => Test::OneOf([].into(), alternatives.into()),
            _ => {
                let (texts, others) = texts(alternatives);
                Test::OneOf(texts, others)
            }
        };
        Condition {
            node,
            number: 0,
            by_absence: condition.by_absence,
            test,
        }
    }

    /// A condition on several values together.
    pub(super) fn together(node: u32, condition: &pattern::Condition) -> Self {
        Condition {
            node,
            number: 0,
            by_absence: condition.by_absence,
            test: Test::Together,
        }
    }

    /// Whether no single value decides it.
    pub(super) fn is_together(&self) -> bool {
        matches!(self.test, Test::Together)
    }

    /// The same with its number.
    pub(super) fn numbered(self, number: u32) -> Self {
        Condition { number, ..self }
    }

    /// A hash by which equal conditions are found: equal for equal ones.
    pub(super) fn hash(&self, seed: Seed) -> u32 {
        // Of the text that the derived form prints, which says all that the derived equality compares.
        let text = format!("{} {} {:?}", self.node, self.by_absence, self.test);
        seed.bytes(text.as_bytes())
    }

    /// Whether another asks the same.
    pub(super) fn is_same(&self, other: &Condition) -> bool {
        let key = |condition: &Condition| (condition.node, condition.by_absence);
        key(self) == key(other) && self.test == other.test
    }

    /// The index keys behind which it waits.
    pub(super) fn index_keys(&self, seed: Seed) -> IndexKeys {
        let mut index_keys = IndexKeys::default();
        match &self.test {
            Test::Text(text) => index_keys.text(seed, self.node, text.bytes()),
            Test::AnyCase(text) => index_keys.folded(seed, self.node, text.bytes()),
            Test::NoneOf(_) | Test::Together => index_keys.present(seed, self.node),
            Test::Range(range) => index_keys.range(*range),
            Test::OneOf(texts, operators) => {
                for text in texts {
                    index_keys.text(seed, self.node, text.as_bytes());
                }
                for operator in operators {
                    index_keys.add(seed, self.node, operator);
                }
            }
        }
        if self.by_absence {
            index_keys.absent(seed, self.node);
        }
        index_keys
    }

    /// Whether it needs the words of numbers.
    pub(super) fn needs_numbers(&self) -> bool {
        match &self.test {
            Test::Text(_) | Test::AnyCase(_) | Test::NoneOf(_) | Test::Together => false,
            Test::Range(_) => true,
            Test::OneOf(_, operators) => operators.iter().any(needs_numbers),
        }
    }

    /// The condition by itself, if it is small enough to lie in whatever asks it.
    pub(super) fn small(&self) -> Option<SmallCondition> {
        match &self.test {
            Test::Text(Text::Short(text)) => Some(SmallCondition {
                node: self.node,
                text: *text,
            }),
            _ => None,
        }
    }

    /// Whether a value meets it.
    pub(super) fn holds(&self, value: Value<'_>) -> bool {
        match &self.test {
            Test::Text(text) => value.is_text(text.bytes()),
            Test::AnyCase(text) => {
                value.kind == Kind::Text && value.bytes.eq_ignore_ascii_case(text.bytes())
            }
            Test::Range((low, high)) => {
                value.kind == Kind::Number && (*low..=*high).contains(&value.word)
            }
            Test::NoneOf(texts) => value.kind != Kind::Text || !listed(texts, value.bytes),
            Test::Together => true,
            Test::OneOf(texts, operators) => {
                if value.kind == Kind::Text && listed(texts, value.bytes) {
                    return true;
                }
                if operators.is_empty() {
                    return false;
                }
                let Some(scalar) = value.scalar() else {
                    return false;
                };
                operators.iter().any(|operator| operator.matches(&scalar))
            }
        }
    }
}
