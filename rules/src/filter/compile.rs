//! Compiles the tree of a query into its plan. Checks the types of every expression (RFC 9535, 2.4.3),
//! compiles every regex, and separates the parts that are the same for a whole event.
//!
//! Never here: an event.

use super::input_error;
use super::plan::{Condition, Expression, Extent, Nodes, Operand, Plan, Segment, Selector, Step};
use super::regex::Regex;
use super::syntax::{self, Argument, Call, Comparable, Form, Logical};
use crate::error::ParseError;
use crate::limits::{FILTER_REGEX_COMPILED_BYTES_MAX, FILTER_REGEXES_MAX};
use serde_json::Value;

/// The functions of RFC 9535.
const FUNCTIONS: [&str; 5] = ["length", "count", "value", "match", "search"];

/// The plan of a query.
pub(super) fn compile(query: &syntax::Query) -> Result<Plan, ParseError> {
    let mut compiler = Compiler {
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

struct Compiler {
    conditions: Vec<Condition>,
    operands: Vec<Operand>,
    regexes: Vec<Regex>,
}

/// The number of `item` in `known`. Equal items have the same number.
fn number<T: PartialEq>(known: &mut Vec<T>, item: T) -> usize {
    known
        .iter()
        .position(|own| *own == item)
        .unwrap_or_else(|| {
            known.push(item);
            known.len() - 1
        })
}

impl Compiler {
    fn segments(&mut self, all: &[syntax::Segment]) -> Result<Box<[Segment]>, ParseError> {
        all.iter().map(|segment| self.segment(segment)).collect()
    }

    fn segment(&mut self, segment: &syntax::Segment) -> Result<Segment, ParseError> {
        let selectors = segment.selectors.iter();
        let selectors = selectors.map(|selector| self.selector(selector));
        let selectors = selectors.collect::<Result<_, _>>()?;
        Ok(match segment.descends {
            true => Segment::Descendants(selectors),
            false => Segment::Children(selectors),
        })
    }

    fn selector(&mut self, selector: &syntax::Selector) -> Result<Selector, ParseError> {
        Ok(match selector {
            syntax::Selector::Name(name) => Selector::Step(Step::Member(name.clone())),
            syntax::Selector::Index(index) => Selector::Step(Step::Element(*index)),
            syntax::Selector::Wildcard => Selector::Wildcard,
            syntax::Selector::Slice { start, end, step } => Selector::Slice {
                start: *start,
                end: *end,
                step: step.unwrap_or(1),
            },
            syntax::Selector::Filter(filter) => Selector::Filter(self.condition(filter)?),
        })
    }

    /// Compiles a condition. One that is the same for the whole event becomes a number.
    fn condition(&mut self, filter: &Logical) -> Result<Condition, ParseError> {
        let condition = match filter {
            Logical::Or(all) => Condition::Or(self.conditions(all)?),
            Logical::And(all) => Condition::And(self.conditions(all)?),
            Logical::Not(one) => Condition::Not(Box::new(self.condition(one)?)),
            Logical::Query(query) => Condition::Exists(self.nodes(query)?),
            Logical::Call(call) => self.test(call)?,
            Logical::Compare(left, comparison, right) => {
                let left = self.comparable(left)?;
                Condition::Compare(left, *comparison, self.comparable(right)?)
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

    fn conditions(&mut self, all: &[Logical]) -> Result<Box<[Condition]>, ParseError> {
        all.iter().map(|filter| self.condition(filter)).collect()
    }

    /// Compiles a function that is a condition.
    fn test(&mut self, call: &Call) -> Result<Condition, ParseError> {
        match (&*call.name, call.arguments.as_slice()) {
            ("match", [text, form]) => self.regex(text, form, Extent::Whole),
            ("search", [text, form]) => self.regex(text, form, Extent::Part),
            (name @ ("length" | "count" | "value"), [_]) => {
                let reason = format!("`{name}` gives a value, which is no condition");
                let remedy = format!("compare it, as in {name}(@.a) > 2");
                Err(input_error(call.at, reason, &remedy))
            }
            _ => Err(unknown(call)),
        }
    }

    fn nodes(&mut self, query: &syntax::Query) -> Result<Nodes, ParseError> {
        Ok(match steps(query) {
            Some(steps) => Nodes::Place(query.from, steps),
            None => Nodes::All(query.from, self.segments(&query.segments)?),
        })
    }

    fn comparable(&mut self, comparable: &Comparable) -> Result<Operand, ParseError> {
        let operand = match comparable {
            Comparable::Literal(literal) => Operand::Literal(literal.clone()),
            Comparable::Call(call) => self.function(call)?,
            Comparable::Query(query) => {
                let place = steps(query).ok_or_else(|| {
                    let reason =
                        "a query that may select several nodes can't be compared".to_owned();
                    let remedy = "name one place, as in @.a[0]; or ask for any, as in @.a[?@ == 1]; or count(@.*)";
                    input_error(query.at, reason, remedy)
                })?;
                let mut spaces = query.segments.iter().filter_map(|segment| segment.space);
                if let Some(at) = spaces.next() {
                    let reason = "white space inside the brackets of a query that is compared";
                    return Err(input_error(
                        at,
                        reason.to_owned(),
                        "leave it out: @['a'] == 1",
                    ));
                }
                Operand::Place(query.from, place)
            }
        };
        Ok(self.once(operand))
    }

    /// The operand. If it has to be computed and is the same for the whole event, it becomes a number.
    fn once(&mut self, operand: Operand) -> Operand {
        match operand {
            Operand::Literal(_) | Operand::Once(_) => operand,
            constant if constant.is_constant() => {
                Operand::Once(number(&mut self.operands, constant))
            }
            other => other,
        }
    }

    /// Compiles a function that returns a value.
    fn function(&mut self, call: &Call) -> Result<Operand, ParseError> {
        match (&*call.name, call.arguments.as_slice()) {
            ("length", [argument]) => {
                let argument = self.value_argument(argument, "length", call.at)?;
                Ok(Operand::Length(Box::new(argument)))
            }
            ("count", [argument]) => Ok(Operand::Count(self.nodes_argument(argument, call)?)),
            ("value", [argument]) => Ok(Operand::Value(self.nodes_argument(argument, call)?)),
            (name @ ("match" | "search"), [_, _]) => {
                let reason = format!("`{name}` is a condition, which can't be compared");
                let remedy = "write it alone, or with `!` before it";
                Err(input_error(call.at, reason, remedy))
            }
            _ => Err(unknown(call)),
        }
    }

    /// Compiles an argument of the function at `at` that has to be one value (or nothing).
    fn value_argument(
        &mut self,
        argument: &Argument,
        of: &str,
        at: usize,
    ) -> Result<Operand, ParseError> {
        let operand = match &argument.is {
            Form::Literal(literal) => Operand::Literal(literal.clone()),
            Form::Call(call) => self.function(call)?,
            Form::Query(query) => match steps(query) {
                Some(place) => Operand::Place(query.from, place),
                None => {
                    let reason =
                        format!("`{of}` takes one value, and this query may select several");
                    let remedy =
                        "name one place, as in @.a[0], or count the nodes, as in count(@.*)";
                    return Err(input_error(at, reason, remedy));
                }
            },
            Form::Logical => {
                let reason = format!("`{of}` takes a value, not a condition");
                return Err(input_error(
                    at,
                    reason,
                    "give it a value or a path, as in @.a",
                ));
            }
        };
        Ok(self.once(operand))
    }

    /// Compiles an argument that has to be a query.
    fn nodes_argument(&mut self, argument: &Argument, of: &Call) -> Result<Nodes, ParseError> {
        match &argument.is {
            Form::Query(query) => self.nodes(query),
            _ => {
                let reason = format!("`{}` takes a query", of.name);
                let remedy = format!("write the nodes that are meant, as in {}(@.*)", of.name);
                Err(input_error(argument.at, reason, &remedy))
            }
        }
    }

    fn regex(
        &mut self,
        text: &Argument,
        form: &Argument,
        extent: Extent,
    ) -> Result<Condition, ParseError> {
        let of = match extent {
            Extent::Whole => "match",
            Extent::Part => "search",
        };
        let text = self.value_argument(text, of, text.at)?;
        let form = match self.value_argument(form, of, form.at)? {
            Operand::Literal(Value::String(text)) => {
                Expression::Own(self.own(&text, extent, form.at)?)
            }
            Operand::Literal(_) => Expression::Never,
            operand => Expression::OfEvent(operand, extent),
        };
        Ok(Condition::Regex(text, form))
    }

    /// The number of a regex that is a literal of the query, at `at`.
    fn own(&mut self, form: &str, extent: Extent, at: usize) -> Result<usize, ParseError> {
        let known = self.regexes.iter().position(|own| own.is(form, extent));
        if let Some(known) = known {
            return Ok(known);
        }
        if self.regexes.len() == FILTER_REGEXES_MAX {
            let reason = format!("more than {FILTER_REGEXES_MAX} regexes, the limit for queries");
            return Err(input_error(at, reason, "split it into several queries"));
        }
        let compiled = Regex::compile(form, extent, FILTER_REGEX_COMPILED_BYTES_MAX);
        let compiled = compiled.map_err(|(reason, remedy)| input_error(at, reason, &remedy))?;
        self.regexes.push(compiled);
        Ok(self.regexes.len() - 1)
    }
}

/// The error for a function that doesn't exist or takes another number of arguments.
fn unknown(call: &Call) -> ParseError {
    let (name, count) = (&*call.name, call.arguments.len());
    if FUNCTIONS.contains(&name) {
        let (wanted, example) = match name {
            "match" | "search" => ("two arguments", "(@.name, 'a.*')"),
            "length" => ("one argument", "(@.name)"),
            _ => ("one argument", "(@.*)"),
        };
        let reason = format!("`{name}` takes {wanted}, not {count}");
        return input_error(call.at, reason, &format!("write {name}{example}"));
    }
    let reason = format!("`{name}` is no function of JSONPath (RFC 9535)");
    let remedy = "use length, count, value, match or search, or comparisons joined by `||`";
    input_error(call.at, reason, remedy)
}

/// The steps of a query that selects at most one node.
fn steps(query: &syntax::Query) -> Option<Box<[Step]>> {
    let steps = query.segments.iter().map(|segment| {
        match (segment.descends, segment.selectors.as_slice()) {
            (false, [syntax::Selector::Name(name)]) => Some(Step::Member(name.clone())),
            (false, [syntax::Selector::Index(index)]) => Some(Step::Element(*index)),
            _ => None,
        }
    });
    steps.collect()
}
