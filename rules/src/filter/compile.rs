//! From the parser's tree to a plan: every expression checked for its types (RFC 9535, 2.4.3), every
//! regex compiled, and what is the same for a whole event put aside.
//!
//! Never here: an event.

use super::fault;
use super::plan::{
    Comparison, Condition, Expression, Extent, From, Nodes, Operand, Plan, Segment, Selector, Step,
};
use super::regex::Regex;
use crate::error::Fault;
use crate::limits::{FILTER_REGEX_COMPILED_BYTES_MAX, FILTER_REGEXES_MAX};
use jsonpath_rust::parser::model as parsed;
use serde_json::Value;

/// The plan of a query; `text` is what was parsed, for the places of faults.
pub(super) fn compile(query: &parsed::JpQuery, text: &str) -> Result<Plan, Fault> {
    let mut compiler = Compiler {
        text,
        conditions: Vec::new(),
        operands: Vec::new(),
        regexes: Vec::new(),
    };
    let segments = compiler.segments(&query.segments)?;
    Ok(Plan {
        segments,
        conditions: compiler.conditions.into(),
        operands: compiler.operands.into(),
        regexes: compiler.regexes.into(),
    })
}

struct Compiler<'t> {
    text: &'t str,
    conditions: Vec<Condition>,
    operands: Vec<Operand>,
    regexes: Vec<Regex>,
}

/// The number of `item` among `known`; the same item has one number.
fn number<T: PartialEq>(known: &mut Vec<T>, item: T) -> usize {
    known
        .iter()
        .position(|own| *own == item)
        .unwrap_or_else(|| {
            known.push(item);
            known.len() - 1
        })
}

impl Compiler<'_> {
    fn segments(&mut self, all: &[parsed::Segment]) -> Result<Box<[Segment]>, Fault> {
        all.iter().map(|segment| self.segment(segment)).collect()
    }

    fn segment(&mut self, segment: &parsed::Segment) -> Result<Segment, Fault> {
        match segment {
            parsed::Segment::Descendant(below) => match self.segment(below)? {
                Segment::Children(selectors) | Segment::Descendants(selectors) => {
                    Ok(Segment::Descendants(selectors))
                }
            },
            parsed::Segment::Selector(selector) => {
                Ok(Segment::Children([self.selector(selector)?].into()))
            }
            parsed::Segment::Selectors(all) => {
                let all = all.iter().map(|selector| self.selector(selector));
                Ok(Segment::Children(all.collect::<Result<_, _>>()?))
            }
        }
    }

    fn selector(&mut self, selector: &parsed::Selector) -> Result<Selector, Fault> {
        Ok(match selector {
            parsed::Selector::Name(name) => Selector::Step(Step::Member(name.as_str().into())),
            parsed::Selector::Index(index) => Selector::Step(Step::Element(*index)),
            parsed::Selector::Wildcard => Selector::Wildcard,
            parsed::Selector::Slice(start, end, step) => Selector::Slice {
                start: *start,
                end: *end,
                step: step.unwrap_or(1),
            },
            parsed::Selector::Filter(filter) => Selector::Filter(self.condition(filter)?),
        })
    }

    /// A condition; one that is the same for the whole event by its number.
    fn condition(&mut self, filter: &parsed::Filter) -> Result<Condition, Fault> {
        let condition = match filter {
            parsed::Filter::Or(all) => Condition::Or(self.conditions(all)?),
            parsed::Filter::And(all) => Condition::And(self.conditions(all)?),
            parsed::Filter::Atom(parsed::FilterAtom::Filter { expr, not }) => {
                negated(self.condition(expr)?, *not)
            }
            parsed::Filter::Atom(parsed::FilterAtom::Test { expr, not }) => {
                negated(self.test(expr)?, *not)
            }
            parsed::Filter::Atom(parsed::FilterAtom::Comparison(comparison)) => {
                self.comparison(comparison)?
            }
        };
        Ok(match condition {
            Condition::Once(_) => condition,
            constant if constant.is_constant() => {
                Condition::Once(number(&mut self.conditions, constant))
            }
            other => other,
        })
    }

    fn conditions(&mut self, all: &[parsed::Filter]) -> Result<Box<[Condition]>, Fault> {
        all.iter().map(|filter| self.condition(filter)).collect()
    }

    fn test(&mut self, test: &parsed::Test) -> Result<Condition, Fault> {
        match test {
            parsed::Test::RelQuery(segments) => {
                Ok(Condition::Exists(self.nodes(From::Current, segments)?))
            }
            parsed::Test::AbsQuery(query) => {
                Ok(Condition::Exists(self.nodes(From::Top, &query.segments)?))
            }
            parsed::Test::Function(function) => match function.as_ref() {
                parsed::TestFunction::Match(text, form) => self.regex(text, form, Extent::Whole),
                parsed::TestFunction::Search(text, form) => self.regex(text, form, Extent::Part),
                parsed::TestFunction::Custom(name, _) => Err(self.unknown(name)),
                other => {
                    let name = name(other);
                    let reason = format!("`{name}` gives a value, which is no condition");
                    let remedy = format!("compare it, as in {name}(@.a) > 2");
                    Err(self.fault_at(name, reason, &remedy))
                }
            },
        }
    }

    fn nodes(&mut self, from: From, segments: &[parsed::Segment]) -> Result<Nodes, Fault> {
        Ok(match steps(segments) {
            Some(steps) => Nodes::Place(from, steps),
            None => Nodes::All(from, self.segments(segments)?),
        })
    }

    fn comparison(&mut self, comparison: &parsed::Comparison) -> Result<Condition, Fault> {
        use parsed::Comparison as Parsed;
        let kind = match comparison {
            Parsed::Eq(..) => Comparison::Equal,
            Parsed::Ne(..) => Comparison::NotEqual,
            Parsed::Gt(..) => Comparison::Greater,
            Parsed::Gte(..) => Comparison::GreaterOrEqual,
            Parsed::Lt(..) => Comparison::Less,
            Parsed::Lte(..) => Comparison::LessOrEqual,
        };
        let (left, right) = comparison.vals();
        Ok(Condition::Compare(
            self.comparable(left)?,
            kind,
            self.comparable(right)?,
        ))
    }

    fn comparable(&mut self, comparable: &parsed::Comparable) -> Result<Operand, Fault> {
        let operand = match comparable {
            parsed::Comparable::Literal(literal) => Operand::Literal(value(literal)),
            parsed::Comparable::Function(function) => self.function(function)?,
            parsed::Comparable::SingularQuery(query) => {
                let (from, segments) = match query {
                    parsed::SingularQuery::Current(segments) => (From::Current, segments),
                    parsed::SingularQuery::Root(segments) => (From::Top, segments),
                };
                let steps = segments.iter().map(|segment| match segment {
                    parsed::SingularQuerySegment::Index(index) => Step::Element(*index),
                    parsed::SingularQuerySegment::Name(name) => Step::Member(name.as_str().into()),
                });
                Operand::Place(from, steps.collect())
            }
        };
        Ok(self.once(operand))
    }

    /// The operand; one that has to be worked out and is the same for the whole event by its number.
    fn once(&mut self, operand: Operand) -> Operand {
        match operand {
            Operand::Literal(_) | Operand::Once(_) => operand,
            constant if constant.is_constant() => {
                Operand::Once(number(&mut self.operands, constant))
            }
            other => other,
        }
    }

    /// A function that gives a value.
    fn function(&mut self, function: &parsed::TestFunction) -> Result<Operand, Fault> {
        match function {
            parsed::TestFunction::Length(argument) => {
                let argument = self.value_argument(argument, "length")?;
                Ok(Operand::Length(Box::new(argument)))
            }
            parsed::TestFunction::Count(argument) => {
                Ok(Operand::Count(self.nodes_argument(argument, "count")?))
            }
            parsed::TestFunction::Value(argument) => {
                Ok(Operand::Value(self.nodes_argument(argument, "value")?))
            }
            parsed::TestFunction::Custom(name, _) => Err(self.unknown(name)),
            parsed::TestFunction::Search(..) | parsed::TestFunction::Match(..) => {
                let name = name(function);
                let reason = format!("`{name}` is a condition, which can't be compared");
                Err(self.fault_at(name, reason, "write it alone, or with `!` before it"))
            }
        }
    }

    /// An argument that has to be one value (or nothing).
    fn value_argument(&mut self, argument: &parsed::FnArg, of: &str) -> Result<Operand, Fault> {
        let operand = match argument {
            parsed::FnArg::Literal(literal) => Operand::Literal(value(literal)),
            parsed::FnArg::Test(test) => match test.as_ref() {
                parsed::Test::RelQuery(segments) => {
                    Operand::Place(From::Current, self.one_node(segments, of)?)
                }
                parsed::Test::AbsQuery(query) => {
                    Operand::Place(From::Top, self.one_node(&query.segments, of)?)
                }
                parsed::Test::Function(function) => self.function(function)?,
            },
            parsed::FnArg::Filter(_) => {
                let reason = format!("`{of}` takes a value, not a condition");
                return Err(self.fault_at(of, reason, "give it a value or a path, as in @.a"));
            }
        };
        Ok(self.once(operand))
    }

    fn one_node(&self, segments: &[parsed::Segment], of: &str) -> Result<Box<[Step]>, Fault> {
        steps(segments).ok_or_else(|| {
            let reason = format!("`{of}` takes one value, and this query may select several");
            let remedy = "name one place, as in @.a[0], or count the nodes, as in count(@.*)";
            self.fault_at(of, reason, remedy)
        })
    }

    /// An argument that has to be a query.
    fn nodes_argument(&mut self, argument: &parsed::FnArg, of: &str) -> Result<Nodes, Fault> {
        let test = match argument {
            parsed::FnArg::Test(test) => Some(test.as_ref()),
            _ => None,
        };
        match test {
            Some(parsed::Test::RelQuery(segments)) => self.nodes(From::Current, segments),
            Some(parsed::Test::AbsQuery(query)) => self.nodes(From::Top, &query.segments),
            _ => {
                let reason = format!("`{of}` takes a query");
                let remedy = format!("write the nodes that are meant, as in {of}(@.*)");
                Err(self.fault_at(of, reason, &remedy))
            }
        }
    }

    fn regex(
        &mut self,
        text: &parsed::FnArg,
        form: &parsed::FnArg,
        extent: Extent,
    ) -> Result<Condition, Fault> {
        let of = match extent {
            Extent::Whole => "match",
            Extent::Part => "search",
        };
        let text = self.value_argument(text, of)?;
        let form = self.value_argument(form, of)?;
        let expression = match form {
            Operand::Literal(Value::String(form)) => Expression::Own(self.own(&form, extent, of)?),
            Operand::Literal(_) => Expression::Never,
            operand => Expression::OfEvent(operand, extent),
        };
        Ok(Condition::Regex(text, expression))
    }

    /// The number of a regex that the query itself has.
    fn own(&mut self, form: &str, extent: Extent, of: &str) -> Result<usize, Fault> {
        let known = self.regexes.iter().position(|own| own.is(form, extent));
        if let Some(known) = known {
            return Ok(known);
        }
        if self.regexes.len() == FILTER_REGEXES_MAX {
            let reason = format!("more than {FILTER_REGEXES_MAX} regexes, the limit for queries");
            return Err(self.fault_at(of, reason, "split it into several queries"));
        }
        let compiled = Regex::compile(form, extent, FILTER_REGEX_COMPILED_BYTES_MAX);
        let compiled = compiled.map_err(|(reason, remedy)| self.fault_at(form, reason, &remedy))?;
        self.regexes.push(compiled);
        Ok(self.regexes.len() - 1)
    }

    fn unknown(&self, name: &str) -> Fault {
        let reason = format!("`{name}` is no function of JSONPath (RFC 9535)");
        let remedy = "use length, count, value, match or search, or comparisons joined by `||`";
        self.fault_at(name, reason, remedy)
    }

    /// A fault at the first place that has these characters; the parser's tree has no places.
    fn fault_at(&self, what: &str, reason: String, remedy: &str) -> Fault {
        fault(self.text.find(what).unwrap_or(0), reason, remedy)
    }
}

fn negated(condition: Condition, not: bool) -> Condition {
    match not {
        true => Condition::Not(Box::new(condition)),
        false => condition,
    }
}

fn name(function: &parsed::TestFunction) -> &str {
    match function {
        parsed::TestFunction::Custom(name, _) => name,
        parsed::TestFunction::Length(_) => "length",
        parsed::TestFunction::Value(_) => "value",
        parsed::TestFunction::Count(_) => "count",
        parsed::TestFunction::Search(..) => "search",
        parsed::TestFunction::Match(..) => "match",
    }
}

/// The steps of a query that selects one node at most.
fn steps(segments: &[parsed::Segment]) -> Option<Box<[Step]>> {
    let steps = segments.iter().map(|segment| match segment {
        parsed::Segment::Selector(parsed::Selector::Name(name)) => {
            Some(Step::Member(name.as_str().into()))
        }
        parsed::Segment::Selector(parsed::Selector::Index(index)) => Some(Step::Element(*index)),
        _ => None,
    });
    steps.collect()
}

pub(super) fn value(literal: &parsed::Literal) -> Value {
    match literal {
        parsed::Literal::Int(number) => Value::from(*number),
        // One beyond binary64 counts as its largest, as in an event.
        parsed::Literal::Float(number) => Value::from(number.clamp(f64::MIN, f64::MAX)),
        parsed::Literal::String(text) => Value::from(text.as_str()),
        parsed::Literal::Bool(truth) => Value::from(*truth),
        parsed::Literal::Null => Value::Null,
    }
}
