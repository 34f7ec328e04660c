//! Evaluates a query on an event. Visits nodes one by one, in the order of RFC 9535, and counts every step.
//!
//! Nodes are not collected. Each selected node is passed to the caller, who may stop the visit. So memory
//! doesn't depend on how much is selected. Every segment goes down at least one level, so the depth of the
//! calls is that of the event, once for each query inside another. Never here: evaluating a query again for
//! each node although it is the same for the whole event.

use super::compare;
use super::plan::{
    Comparison, Condition, Expression, Extent, From, Nodes, Operand, Plan, Segment, Selector, Step,
};
use super::regex::{Regex, States};
use super::steps::{Steps, UsedUp};
use crate::limits::{FILTER_EVENT_REGEX_COMPILED_BYTES_MAX, FILTER_EVENT_REGEX_STEPS};
use serde_json::Value;
use std::collections::HashMap;

/// Why a visit ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The caller needs no more nodes.
    Enough,
    /// The budget is used up.
    UsedUp,
}

impl std::convert::From<UsedUp> for Stop {
    fn from(_: UsedUp) -> Stop {
        Stop::UsedUp
    }
}

/// A node, and the path to it.
pub(super) struct Node<'n, 'a> {
    value: &'a Value,
    /// The node above it, and the step from there. `None` for the node at which a query begins.
    above: Option<(&'n Node<'n, 'a>, Down<'a>)>,
}

/// One step down, borrowed from the event.
#[derive(Clone, Copy)]
enum Down<'a> {
    Member(&'a str),
    Element(usize),
}

impl<'a> Node<'_, 'a> {
    fn top(value: &'a Value) -> Self {
        Node { value, above: None }
    }

    /// The place of the node.
    pub(super) fn place(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut node = self;
        while let Some((above, down)) = &node.above {
            steps.push(match *down {
                Down::Member(name) => Step::Member(name.into()),
                Down::Element(index) => Step::Element(i64::try_from(index).unwrap_or(i64::MAX)),
            });
            node = above;
        }
        steps.reverse();
        steps
    }
}

/// Called for each selected node.
type Found<'f, 'a> = dyn FnMut(&Node<'_, 'a>) -> Result<(), Stop> + 'f;

/// The value of an operand for a node.
#[derive(Debug, Clone, Copy)]
enum Worth<'a> {
    Nothing,
    Json(&'a Value),
    Number(u64),
}

/// The evaluation of one query on one event.
pub(super) struct Evaluation<'a, 's> {
    plan: &'a Plan,
    event: &'a Value,
    steps: &'s mut Steps,
    /// The results so far of conditions that are the same for the whole event.
    conditions: Vec<Option<bool>>,
    operands: Vec<Option<Worth<'a>>>,
    /// The states of the regexes that are literals of the query.
    states: Vec<Option<States>>,
    /// Regexes that are values of the event. `None` for a text that isn't one.
    of_event: HashMap<(&'a str, Extent), Option<(Regex, States)>>,
}

impl<'a, 's> Evaluation<'a, 's> {
    pub(super) fn new(plan: &'a Plan, event: &'a Value, steps: &'s mut Steps) -> Self {
        Evaluation {
            plan,
            event,
            steps,
            conditions: vec![None; plan.conditions.len()],
            operands: vec![None; plan.operands.len()],
            states: plan.regexes.iter().map(|_| None).collect(),
            of_event: HashMap::new(),
        }
    }

    /// Calls `found` for each node that the query selects.
    pub(super) fn visit(&mut self, found: &mut Found<'_, 'a>) -> Result<(), Stop> {
        let plan = self.plan;
        self.walk(&plan.segments, &Node::top(self.event), found)
    }

    fn walk(
        &mut self,
        segments: &'a [Segment],
        node: &Node<'_, 'a>,
        found: &mut Found<'_, 'a>,
    ) -> Result<(), Stop> {
        match segments.split_first() {
            None => found(node),
            Some((Segment::Children(selectors), rest)) => {
                self.children(selectors, rest, node, found)
            }
            Some((Segment::Descendants(selectors), rest)) => {
                self.descendants(selectors, rest, node, found)
            }
        }
    }

    fn children(
        &mut self,
        selectors: &'a [Selector],
        rest: &'a [Segment],
        node: &Node<'_, 'a>,
        found: &mut Found<'_, 'a>,
    ) -> Result<(), Stop> {
        for selector in selectors {
            self.steps.spend()?;
            match selector {
                Selector::Step(step) => {
                    if let Some((down, value)) = child(node.value, step) {
                        let above = Some((node, down));
                        self.walk(rest, &Node { value, above }, found)?;
                    }
                }
                Selector::Wildcard => {
                    self.each(node, &mut |own, child| own.walk(rest, child, found))?;
                }
                Selector::Filter(condition) => self.each(node, &mut |own, child| match own
                    .holds(condition, child.value)?
                {
                    true => own.walk(rest, child, found),
                    false => Ok(()),
                })?,
                Selector::Slice { start, end, step } => {
                    if let Value::Array(elements) = node.value {
                        for index in slice(elements.len(), *start, *end, *step) {
                            self.steps.spend()?;
                            let above = Some((node, Down::Element(index)));
                            let value = &elements[index];
                            self.walk(rest, &Node { value, above }, found)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Calls `with` for each child. Each takes one step.
    fn each(
        &mut self,
        node: &Node<'_, 'a>,
        with: &mut dyn FnMut(&mut Self, &Node<'_, 'a>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        match node.value {
            Value::Array(elements) => {
                for (index, value) in elements.iter().enumerate() {
                    self.steps.spend()?;
                    let above = Some((node, Down::Element(index)));
                    with(self, &Node { value, above })?;
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    self.steps.spend()?;
                    let above = Some((node, Down::Member(name)));
                    with(self, &Node { value, above })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn descendants(
        &mut self,
        selectors: &'a [Selector],
        rest: &'a [Segment],
        node: &Node<'_, 'a>,
        found: &mut Found<'_, 'a>,
    ) -> Result<(), Stop> {
        if !matches!(node.value, Value::Array(_) | Value::Object(_)) {
            return Ok(());
        }
        self.children(selectors, rest, node, found)?;
        self.each(node, &mut |own, child| {
            own.descendants(selectors, rest, child, found)
        })
    }

    fn holds(&mut self, condition: &'a Condition, current: &'a Value) -> Result<bool, Stop> {
        match condition {
            Condition::Or(all) => {
                for one in all {
                    if self.holds(one, current)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::And(all) => {
                for one in all {
                    if !self.holds(one, current)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Not(one) => Ok(!self.holds(one, current)?),
            Condition::Exists(nodes) => {
                self.steps.spend()?;
                Ok(self.first(nodes, current, 1)?.1 > 0)
            }
            Condition::Compare(left, comparison, right) => {
                let left = self.worth(left, current)?;
                let right = self.worth(right, current)?;
                self.compare(left, *comparison, right)
            }
            Condition::Regex(text, expression) => {
                self.steps.spend()?;
                self.has_form(text, expression, current)
            }
            Condition::Once(number) => {
                if let Some(known) = self.conditions[*number] {
                    self.steps.spend()?;
                    return Ok(known);
                }
                let plan = self.plan;
                // The condition doesn't depend on the current node, so any node will do.
                let holds = self.holds(&plan.conditions[*number], current)?;
                self.conditions[*number] = Some(holds);
                Ok(holds)
            }
        }
    }

    /// The first of the nodes, and how many there are. Counting stops at `most`.
    fn first(
        &mut self,
        nodes: &'a Nodes,
        current: &'a Value,
        most: u64,
    ) -> Result<(Option<&'a Value>, u64), Stop> {
        let (Nodes::Place(from, _) | Nodes::All(from, _)) = nodes;
        let top = match from {
            From::Top => self.event,
            From::Current => current,
        };
        let segments = match nodes {
            Nodes::Place(_, steps) => {
                let found = self.at(steps, top)?;
                return Ok((found, u64::from(found.is_some())));
            }
            Nodes::All(_, segments) => segments,
        };
        let mut first = None;
        let mut count = 0;
        let visited = self.walk(segments, &Node::top(top), &mut |node| {
            first.get_or_insert(node.value);
            count += 1;
            match count < most {
                true => Ok(()),
                false => Err(Stop::Enough),
            }
        });
        match visited {
            Err(Stop::UsedUp) => Err(Stop::UsedUp),
            Ok(()) | Err(Stop::Enough) => Ok((first, count)),
        }
    }

    /// The value at one place.
    fn at(&mut self, steps: &[Step], top: &'a Value) -> Result<Option<&'a Value>, Stop> {
        self.steps.spend_many(steps.len())?;
        let mut value = top;
        for step in steps {
            match child(value, step) {
                Some((_, below)) => value = below,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    fn worth(&mut self, operand: &'a Operand, current: &'a Value) -> Result<Worth<'a>, Stop> {
        Ok(match operand {
            Operand::Literal(value) => Worth::Json(value),
            Operand::Place(from, steps) => {
                let top = match from {
                    From::Top => self.event,
                    From::Current => current,
                };
                self.at(steps, top)?.map_or(Worth::Nothing, Worth::Json)
            }
            Operand::Length(of) => match self.worth(of, current)? {
                Worth::Json(Value::String(text)) => {
                    self.steps.spend_many(compare::steps_of_text(text.len()))?;
                    Worth::Number(text.chars().count() as u64)
                }
                Worth::Json(Value::Array(elements)) => Worth::Number(elements.len() as u64),
                Worth::Json(Value::Object(members)) => Worth::Number(members.len() as u64),
                _ => Worth::Nothing,
            },
            Operand::Count(nodes) => Worth::Number(self.first(nodes, current, u64::MAX)?.1),
            Operand::Value(nodes) => match self.first(nodes, current, 2)? {
                (Some(only), 1) => Worth::Json(only),
                _ => Worth::Nothing,
            },
            Operand::Once(number) => {
                if let Some(known) = self.operands[*number] {
                    return Ok(known);
                }
                let plan = self.plan;
                let worth = self.worth(&plan.operands[*number], current)?;
                self.operands[*number] = Some(worth);
                worth
            }
        })
    }

    fn compare(
        &mut self,
        left: Worth<'a>,
        comparison: Comparison,
        right: Worth<'a>,
    ) -> Result<bool, Stop> {
        self.steps.spend()?;
        let counted = |worth| match worth {
            Worth::Number(number) => Some(Value::from(number)),
            Worth::Nothing | Worth::Json(_) => None,
        };
        let (left_number, right_number) = (counted(left), counted(right));
        let left = match left {
            Worth::Json(value) => Some(value),
            _ => left_number.as_ref(),
        };
        let right = match right {
            Worth::Json(value) => Some(value),
            _ => right_number.as_ref(),
        };
        Ok(compare::holds(left, comparison, right, self.steps)?)
    }

    fn has_form(
        &mut self,
        text: &'a Operand,
        expression: &'a Expression,
        current: &'a Value,
    ) -> Result<bool, Stop> {
        let Worth::Json(Value::String(text)) = self.worth(text, current)? else {
            return Ok(false);
        };
        let plan = self.plan;
        match expression {
            Expression::Never => Ok(false),
            Expression::Own(number) => {
                let regex = &plan.regexes[*number];
                let states = match &mut self.states[*number] {
                    Some(states) => states,
                    none => none.insert(regex.states(self.steps)?),
                };
                Ok(regex.matches(states, text, self.steps)?)
            }
            Expression::OfEvent(form, extent) => {
                let Worth::Json(Value::String(form)) = self.worth(form, current)? else {
                    return Ok(false);
                };
                let known = match self.of_event.entry((form, *extent)) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::hash_map::Entry::Vacant(new) => {
                        self.steps.spend_many(FILTER_EVENT_REGEX_STEPS)?;
                        let bytes_max = FILTER_EVENT_REGEX_COMPILED_BYTES_MAX;
                        let compiled = match Regex::compile(form, *extent, bytes_max) {
                            Ok(regex) => {
                                let states = regex.states(self.steps)?;
                                Some((regex, states))
                            }
                            Err(_) => None,
                        };
                        new.insert(compiled)
                    }
                };
                match known {
                    Some((regex, states)) => Ok(regex.matches(states, text, self.steps)?),
                    None => Ok(false),
                }
            }
        }
    }
}

/// The child that a step leads to.
fn child<'a>(value: &'a Value, step: &Step) -> Option<(Down<'a>, &'a Value)> {
    match (value, step) {
        (Value::Object(members), Step::Member(name)) => {
            let (name, value) = members.get_key_value(&**name)?;
            Some((Down::Member(name), value))
        }
        (Value::Array(elements), Step::Element(index)) => {
            let index = match usize::try_from(*index) {
                Ok(index) => index,
                Err(_) => elements
                    .len()
                    .checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
            };
            Some((Down::Element(index), elements.get(index)?))
        }
        _ => None,
    }
}

/// The indexes that a slice selects (RFC 9535, 2.3.4.2.2).
fn slice(
    len: usize,
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
) -> impl Iterator<Item = usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_start = |index: i64| match index < 0 {
        true => len.saturating_add(index),
        false => index,
    };
    let (mut at, last) = match step > 0 {
        true => (
            from_start(start.unwrap_or(0)).clamp(0, len),
            from_start(end.unwrap_or(len)).clamp(0, len),
        ),
        false => (
            from_start(start.unwrap_or(len - 1)).clamp(-1, len - 1),
            end.map_or(-1, |end| from_start(end).clamp(-1, len - 1)),
        ),
    };
    std::iter::from_fn(move || {
        let more = match step {
            0 => false,
            1.. => at < last,
            _ => at > last,
        };
        let index = more.then(|| usize::try_from(at).ok()).flatten();
        at = at.saturating_add(step);
        index
    })
}
