//! The simplest way to evaluate a query: it follows RFC 9535 word for word on jsonpath-rust's tree, with
//! lists of nodes. Nothing is counted or cached.

use super::super::plan::{Extent, Step};
use crate::operator::regex::{Anchors, translate};
use jsonpath_rust::parser::model as parsed;
use serde_json::Value;

/// A node with its place.
pub(super) type Node<'a> = (Vec<Step>, &'a Value);

/// The nodes that a query selects.
pub(super) fn select<'a>(query: &parsed::JpQuery, event: &'a Value) -> Vec<Node<'a>> {
    nodes(&query.segments, event, event)
}

fn nodes<'a>(segments: &[parsed::Segment], from: &'a Value, event: &'a Value) -> Vec<Node<'a>> {
    let mut list = vec![(Vec::new(), from)];
    for segment in segments {
        list = list
            .into_iter()
            .flat_map(|node| segment_of(segment, node, event))
            .collect();
    }
    list
}

fn segment_of<'a>(segment: &parsed::Segment, node: Node<'a>, event: &'a Value) -> Vec<Node<'a>> {
    match segment {
        parsed::Segment::Descendant(below) => {
            let mut found = segment_of(below, node.clone(), event);
            for child in children(&node) {
                found.extend(segment_of(segment, child, event));
            }
            found
        }
        parsed::Segment::Selector(selector) => selector_of(selector, node, event),
        parsed::Segment::Selectors(all) => all
            .iter()
            .flat_map(|selector| selector_of(selector, node.clone(), event))
            .collect(),
    }
}

fn children<'a>((place, value): &Node<'a>) -> Vec<Node<'a>> {
    let below = |step| [place.clone(), vec![step]].concat();
    match value {
        Value::Array(all) => (0..)
            .zip(all)
            .map(|(index, value)| (below(Step::Element(index)), value))
            .collect(),
        Value::Object(all) => all
            .iter()
            .map(|(name, value)| (below(Step::Member(name.as_str().into())), value))
            .collect(),
        _ => Vec::new(),
    }
}

fn selector_of<'a>(selector: &parsed::Selector, node: Node<'a>, event: &'a Value) -> Vec<Node<'a>> {
    let all = children(&node);
    let array = node.1.is_array();
    match selector {
        parsed::Selector::Wildcard => all,
        parsed::Selector::Name(name) => all
            .into_iter()
            .filter(|(place, _)| place.last() == Some(&Step::Member(name.as_str().into())))
            .collect(),
        parsed::Selector::Index(_) | parsed::Selector::Slice(..) if !array => Vec::new(),
        parsed::Selector::Index(index) => {
            let len = all.len() as i64;
            let index = if *index < 0 { len + index } else { *index };
            let index = usize::try_from(index).ok();
            index
                .and_then(|index| all.get(index).cloned())
                .into_iter()
                .collect()
        }
        parsed::Selector::Slice(start, end, step) => {
            let len = all.len() as i64;
            let step = step.unwrap_or(1);
            let normal = |index: i64| if index < 0 { len + index } else { index };
            let mut picked: Vec<i64> = (0..len).collect();
            if step < 0 {
                picked.reverse();
            }
            let from = start.map(normal);
            let to = end.map(normal);
            let inside = |index: &i64| match step > 0 {
                true => from.is_none_or(|from| *index >= from) && to.is_none_or(|to| *index < to),
                false => from.is_none_or(|from| *index <= from) && to.is_none_or(|to| *index > to),
            };
            let picked = picked.into_iter().filter(inside);
            let every = usize::try_from(step.abs()).unwrap();
            if every == 0 {
                return Vec::new();
            }
            picked
                .step_by(every)
                .map(|index| all[index as usize].clone())
                .collect()
        }
        parsed::Selector::Filter(filter) => all
            .into_iter()
            .filter(|(_, value)| holds(filter, value, event))
            .collect(),
    }
}

fn holds(filter: &parsed::Filter, current: &Value, event: &Value) -> bool {
    match filter {
        parsed::Filter::Or(all) => all.iter().any(|one| holds(one, current, event)),
        parsed::Filter::And(all) => all.iter().all(|one| holds(one, current, event)),
        parsed::Filter::Atom(parsed::FilterAtom::Filter { expr, not }) => {
            holds(expr, current, event) != *not
        }
        parsed::Filter::Atom(parsed::FilterAtom::Test { expr, not }) => {
            let holds = match expr.as_ref() {
                parsed::Test::RelQuery(segments) => !nodes(segments, current, event).is_empty(),
                parsed::Test::AbsQuery(query) => !select(query, event).is_empty(),
                parsed::Test::Function(function) => match function.as_ref() {
                    parsed::TestFunction::Match(text, form) => {
                        form_of(text, form, Extent::Whole, current, event)
                    }
                    parsed::TestFunction::Search(text, form) => {
                        form_of(text, form, Extent::Part, current, event)
                    }
                    _ => unreachable!("it is refused"),
                },
            };
            holds != *not
        }
        parsed::Filter::Atom(parsed::FilterAtom::Comparison(comparison)) => {
            use parsed::Comparison::{Eq, Gt, Gte, Lt, Lte, Ne};
            let (left, right) = comparison.vals();
            let (left, right) = (worth(left, current, event), worth(right, current, event));
            match **comparison {
                Eq(..) => equal(&left, &right),
                Ne(..) => !equal(&left, &right),
                Lt(..) => less(&left, &right),
                Gt(..) => less(&right, &left),
                Lte(..) => less(&left, &right) || equal(&left, &right),
                Gte(..) => less(&right, &left) || equal(&left, &right),
            }
        }
    }
}

fn form_of(
    text: &parsed::FnArg,
    form: &parsed::FnArg,
    extent: Extent,
    current: &Value,
    event: &Value,
) -> bool {
    match (
        argument(text, current, event),
        argument(form, current, event),
    ) {
        (Some(Value::String(text)), Some(Value::String(form))) => {
            translate(&form, Anchors::Taken(extent))
                .is_ok_and(|form| regex::Regex::new(&form).is_ok_and(|form| form.is_match(&text)))
        }
        _ => false,
    }
}

fn worth(comparable: &parsed::Comparable, current: &Value, event: &Value) -> Option<Value> {
    match comparable {
        parsed::Comparable::Literal(literal) => Some(literal_value(literal)),
        parsed::Comparable::Function(function) => value_of(function, current, event),
        parsed::Comparable::SingularQuery(query) => {
            let (top, segments) = match query {
                parsed::SingularQuery::Current(segments) => (current, segments),
                parsed::SingularQuery::Root(segments) => (event, segments),
            };
            let down = |value: Option<Value>, segment: &parsed::SingularQuerySegment| {
                let value = value?;
                let selector = match segment {
                    parsed::SingularQuerySegment::Index(index) => parsed::Selector::Index(*index),
                    parsed::SingularQuerySegment::Name(name) => {
                        parsed::Selector::Name(name.clone())
                    }
                };
                let found = selector_of(&selector, (Vec::new(), &value), event);
                found.first().map(|(_, value)| (*value).clone())
            };
            segments.iter().fold(Some(top.clone()), down)
        }
    }
}

fn argument(argument: &parsed::FnArg, current: &Value, event: &Value) -> Option<Value> {
    match argument {
        parsed::FnArg::Literal(literal) => Some(literal_value(literal)),
        parsed::FnArg::Test(test) => match test.as_ref() {
            parsed::Test::Function(function) => value_of(function, current, event),
            _ => list(argument, current, event).first().cloned(),
        },
        parsed::FnArg::Filter(_) => unreachable!("it is refused"),
    }
}

fn list(argument: &parsed::FnArg, current: &Value, event: &Value) -> Vec<Value> {
    let parsed::FnArg::Test(test) = argument else {
        unreachable!("it is refused");
    };
    let found = match test.as_ref() {
        parsed::Test::RelQuery(segments) => nodes(segments, current, event),
        parsed::Test::AbsQuery(query) => select(query, event),
        parsed::Test::Function(_) => unreachable!("it is refused"),
    };
    found.into_iter().map(|(_, value)| value.clone()).collect()
}

fn value_of(function: &parsed::TestFunction, current: &Value, event: &Value) -> Option<Value> {
    match function {
        parsed::TestFunction::Length(of) => match argument(of, current, event)? {
            Value::String(text) => Some(text.chars().count().into()),
            Value::Array(all) => Some(all.len().into()),
            Value::Object(all) => Some(all.len().into()),
            _ => None,
        },
        parsed::TestFunction::Count(of) => Some(list(of, current, event).len().into()),
        parsed::TestFunction::Value(of) => match list(of, current, event).as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        },
        _ => unreachable!("it is refused"),
    }
}

fn literal_value(literal: &parsed::Literal) -> Value {
    match literal {
        parsed::Literal::Int(number) => Value::from(*number),
        parsed::Literal::Float(number) => Value::from(number.clamp(f64::MIN, f64::MAX)),
        parsed::Literal::String(text) => Value::from(text.as_str()),
        parsed::Literal::Bool(truth) => Value::from(*truth),
        parsed::Literal::Null => Value::Null,
    }
}

/// Correct only for numbers that binary64 represents.
fn equal(left: &Option<Value>, right: &Option<Value>) -> bool {
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => left.as_f64() == right.as_f64(),
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            let all = |list: &[Value]| list.iter().cloned().map(Some).collect::<Vec<_>>();
            left.len() == right.len()
                && all(left)
                    .iter()
                    .zip(&all(right))
                    .all(|(left, right)| equal(left, right))
        }
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let same = |(name, value): (&String, &Value)| {
                right.contains_key(name) && equal(&Some(value.clone()), &right.get(name).cloned())
            };
            left.len() == right.len() && left.iter().all(same)
        }
        (left, right) => left == right,
    }
}

fn less(left: &Option<Value>, right: &Option<Value>) -> bool {
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => left.as_f64() < right.as_f64(),
        (Some(Value::String(left)), Some(Value::String(right))) => left.chars().lt(right.chars()),
        _ => false,
    }
}
