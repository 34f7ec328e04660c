//! A condition in the index: a path, and a test for the values at this path.
//!
//! Rules share equal conditions: each is stored once. The most common tests compare bytes and don't build a
//! scalar. Long lists of strings are found by binary search. All other tests call the operators, as the plain
//! matcher does.

use super::hash::Seed;
use super::index_key::IndexKeys;
use super::order::{self, Range};
use super::values::{Kind, Value};
use crate::operator::{Operator, exact};
use crate::pattern;

/// A list of at least this many alternatives keeps its strings sorted, for binary search.
const SEARCHED_MIN: usize = 9;

/// A string. A short one is stored in the condition itself, so comparing it reads no other memory.
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

/// The test that a value has to pass.
#[derive(Debug, PartialEq)]
enum Test {
    /// The value is this string.
    Text(Text),
    /// The value is this ASCII string, in any letter case.
    AnyCase(Text),
    /// The value is a number whose word is in the range.
    Range(Range),
    /// The value is not one of these strings, which are sorted.
    NoneOf(Box<[Box<str>]>),
    /// No single value decides the condition. Every value passes here, and the plain matcher decides later.
    Together,
    /// The value is one of these strings, which are sorted, or meets one of the operators.
    OneOf(Box<[Box<str>]>, Box<[Operator]>),
}

/// The literal strings of some operators, sorted, and the other operators.
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

/// Whether an operator may have an index key that is made from the word of a number.
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

/// A condition that is one short string. Testing it reads no memory but its own.
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
    /// Whether the condition is met when there is no value.
    pub(super) by_absence: bool,
    test: Test,
}

impl Condition {
    pub(super) fn new(node: u32, condition: &pattern::Condition) -> Self {
        let alternatives = condition.alternatives();
        let test = match alternatives {
            [Operator::Exact(exact::Operand::Text(text))] => Test::Text(Text::new(text)),
            // No character outside of ASCII has an ASCII character as its lower or upper form.
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

    /// A condition that several values decide together.
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

    /// The same condition with its number.
    pub(super) fn numbered(self, number: u32) -> Self {
        Condition { number, ..self }
    }

    /// A hash for finding equal conditions. Equal conditions have equal hashes.
    pub(super) fn hash(&self, seed: Seed) -> u32 {
        // The hash is of the `Debug` text, which contains everything that the derived equality compares.
        let text = format!("{} {} {:?}", self.node, self.by_absence, self.test);
        seed.bytes(text.as_bytes())
    }

    /// Whether another condition has the same path and the same test.
    pub(super) fn is_same(&self, other: &Condition) -> bool {
        let key = |condition: &Condition| (condition.node, condition.by_absence);
        key(self) == key(other) && self.test == other.test
    }

    /// The index keys under which the condition can be found.
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

    /// Whether the condition needs the words of numbers.
    pub(super) fn needs_numbers(&self) -> bool {
        match &self.test {
            Test::Text(_) | Test::AnyCase(_) | Test::NoneOf(_) | Test::Together => false,
            Test::Range(_) => true,
            Test::OneOf(_, operators) => operators.iter().any(needs_numbers),
        }
    }

    /// A copy of the condition that can be stored in a sub-rule, if it is small enough.
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
