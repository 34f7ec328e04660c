//! Verifies a candidate: a sub-rule that a look-up has found.
//!
//! Each sub-rule is verified at most once for an event, even if several values find it. Sub-rules share
//! conditions, so the results of a condition for the values of an array are stored and used again. A search
//! for a consistent choice of array elements runs only if at least two conditions of a sub-rule have values
//! in arrays. With fewer than two there is nothing to be consistent with, as long as no path is spelled in
//! two ways.

use super::agree;
use super::condition::Condition;
use super::core::{Branch, Core};
use super::values::{Event, KEPT_MAX, NONE, Values};
use crate::array_trail::{self, Absence, Element, TooManySpellings, Wanted};
use std::collections::HashSet;

/// The results of one condition for the values at its path. Kept for at most one event.
#[derive(Debug, Clone, Copy, Default)]
struct Verdicts {
    /// The round in which the results were computed.
    round: u32,
    from: u32,
    to: u32,
    any: bool,
}

/// What matching has found out about the rules, for one event.
#[derive(Debug)]
pub(super) struct Findings {
    event: u32,
    /// For each sub-rule, the last event for which it was verified.
    tried: Vec<u32>,
    /// For each sub-rule that several look-ups of one value may find, the event and the place of the value
    /// that was compared last. This avoids comparing it twice with the same value.
    asked: Vec<u64>,
    /// The hashes of a value's grams that have postings.
    pub(super) grams: HashSet<u32>,
    /// For each rule, the last event for which it was added to `rules` or `unsure`.
    matched: Vec<u32>,
    /// The rules that match.
    pub(super) rules: Vec<u32>,
    /// The rules that may match and have to be evaluated as a whole.
    pub(super) unsure: Vec<u32>,
    verdicts: Vec<Verdicts>,
    /// Rises with each event, and each time that verdicts are dropped during an event.
    round: u32,
    /// The elements of the values that the verdicts are about, and the verdicts themselves.
    elements: Vec<Element>,
    held: Vec<bool>,
    /// The stack of the search in arrays.
    ranges: Vec<agree::Wanted>,
}

/// With fewer values than this, a condition is evaluated again and its verdicts are not stored.
const REMEMBERED_MIN: u32 = 8;
/// Once this many verdicts are stored, all are dropped before the next sub-rule is verified. Without a limit
/// there may be as many as the product of an event's values and the conditions of all rules. The limit is
/// small in tests, so that they reach it.
const VERDICTS_MAX: usize = if cfg!(test) { 1 << 10 } else { 1 << 23 };

/// The inputs of a match, read only.
#[derive(Clone, Copy)]
pub(super) struct MatchContext<'m> {
    pub(super) core: &'m Core,
    pub(super) values: &'m Values,
    pub(super) event: Event<'m>,
}

impl Findings {
    pub(super) fn new() -> Self {
        Findings {
            event: 0,
            tried: Vec::new(),
            asked: Vec::new(),
            grams: HashSet::new(),
            matched: Vec::new(),
            rules: Vec::new(),
            unsure: Vec::new(),
            verdicts: Vec::new(),
            round: 0,
            elements: Vec::new(),
            held: Vec::new(),
            ranges: Vec::new(),
        }
    }

    /// Prepares for the next event.
    pub(super) fn begin(&mut self, core: &Core, rules: usize) {
        if self.event == u32::MAX {
            self.tried.clear();
            self.asked.clear();
            self.matched.clear();
            self.event = 0;
        }
        self.event += 1;
        self.rules.clear();
        self.unsure.clear();
        self.forget_verdicts();
        if self.held.capacity() > KEPT_MAX {
            self.give_back();
        }
        if self.tried.len() < core.branches_bound() {
            self.tried.resize(core.branches_bound(), 0);
            self.asked.resize(core.branches_bound(), 0);
        }
        if self.matched.len() < rules {
            self.matched.resize(rules, 0);
        }
        if self.verdicts.len() < core.conditions_bound() {
            self.verdicts
                .resize(core.conditions_bound(), Verdicts::default());
        }
    }

    #[cold]
    fn give_back(&mut self) {
        self.elements.shrink_to(KEPT_MAX);
        self.held.shrink_to(KEPT_MAX);
    }

    fn forget_verdicts(&mut self) {
        self.elements.clear();
        self.held.clear();
        if self.round == u32::MAX {
            self.verdicts.fill(Verdicts::default());
            self.round = 0;
        }
        self.round += 1;
    }

    /// Verifies a sub-rule that the value at `place` has found. `place` is `NONE` if the absence of a value
    /// has found it.
    pub(super) fn confirm(
        &mut self,
        context: MatchContext<'_>,
        branch: &Branch,
        number: u32,
        place: u32,
    ) -> Result<(), TooManySpellings> {
        // Most sub-rules can be found only once. For those there is no need to check whether they were
        // verified before.
        let again = !branch.once || place == NONE || context.values.several(branch);
        if again && self.tried.get(number as usize) == Some(&self.event) {
            return Ok(());
        }
        if context.values.spelled {
            // The order of the sub-rules decides what is searched, so the whole rule is evaluated later.
            self.try_once(again, number);
            self.may_match(branch.rule);
            return Ok(());
        }
        let by_value = place != NONE;
        if by_value && !branch.once && !self.ask(number, place) {
            return Ok(());
        }
        if by_value && !context.first_holds(branch, place) {
            return Ok(());
        }
        self.try_once(again, number);
        if branch.whole {
            self.may_match(branch.rule);
            return Ok(());
        }
        if by_value && branch.is_alone() || self.meets(context, branch, by_value)? {
            if branch.sole {
                self.rules.push(branch.rule);
            } else {
                self.found(branch.rule);
            }
        }
        Ok(())
    }

    /// Records that a sub-rule is compared with a value. False if the last comparison was with the same
    /// value.
    fn ask(&mut self, number: u32, place: u32) -> bool {
        let now = u64::from(self.event) << 32 | u64::from(place);
        let asked = self.asked.get_mut(number as usize);
        asked.is_some_and(|asked| std::mem::replace(asked, now) != now)
    }

    fn try_once(&mut self, again: bool, number: u32) {
        if again && let Some(tried) = self.tried.get_mut(number as usize) {
            *tried = self.event;
        }
    }

    fn may_match(&mut self, rule: u32) {
        if self.is_new(rule) {
            self.unsure.push(rule);
        }
    }

    fn found(&mut self, rule: u32) {
        if self.is_new(rule) {
            self.rules.push(rule);
        }
    }

    /// Whether the rule is found for the first time in this event. Records it.
    fn is_new(&mut self, rule: u32) -> bool {
        let matched = self.matched.get_mut(rule as usize);
        matched.is_some_and(|matched| std::mem::replace(matched, self.event) != self.event)
    }

    /// Whether the event meets all conditions of a sub-rule together. `first_met` says that some value is
    /// known to meet the first condition.
    pub(super) fn meets(
        &mut self,
        context: MatchContext<'_>,
        branch: &Branch,
        first_met: bool,
    ) -> Result<bool, TooManySpellings> {
        let mut in_arrays = 0;
        let mut inside = None;
        for (place, condition) in branch.conditions().iter().enumerate() {
            match context.values.seen(condition.node) {
                None if condition.by_absence => {}
                None => return Ok(false),
                Some(seen) if seen.in_arrays => {
                    in_arrays += 1;
                    inside = Some((condition, first_met && place == 0));
                }
                Some(_) if first_met && place == 0 => {}
                // A value outside of arrays is consistent with every choice of elements, and is never absent.
                Some(_) if !context.any(condition) => return Ok(false),
                Some(_) => {}
            }
        }
        if inside.is_some() && self.held.len() >= VERDICTS_MAX {
            self.forget_verdicts();
        }
        match inside {
            None => Ok(true),
            Some((condition, met)) if in_arrays == 1 && !context.values.spelled => {
                Ok(met || self.any(context, condition))
            }
            Some(_) => self.consistent(context, branch),
        }
    }

    /// Whether a value meets a condition.
    fn any(&mut self, context: MatchContext<'_>, condition: &Condition) -> bool {
        let seen = context.values.seen(condition.node);
        if seen.is_some_and(|seen| seen.count < REMEMBERED_MIN) {
            return context.any(condition);
        }
        self.verdicts(context, condition).any
    }

    fn verdicts(&mut self, context: MatchContext<'_>, condition: &Condition) -> Verdicts {
        let number = condition.number as usize;
        let known = self.verdicts.get(number).copied();
        if let Some(known) = known.filter(|known| known.round == self.round) {
            return known;
        }
        let from = self.held.len() as u32;
        let mut any = false;
        for place in context.values.places(condition.node) {
            let Some(found) = context.values.found.get(place as usize) else {
                continue;
            };
            let held = context.holds(condition, place);
            any |= held;
            self.elements.push(found.element);
            self.held.push(held);
        }
        let verdicts = Verdicts {
            round: self.round,
            from,
            to: self.held.len() as u32,
            any,
        };
        if let Some(kept) = self.verdicts.get_mut(number) {
            *kept = verdicts;
        }
        verdicts
    }

    /// Whether array elements can be chosen consistently for those conditions whose values lie in arrays.
    fn consistent(
        &mut self,
        context: MatchContext<'_>,
        branch: &Branch,
    ) -> Result<bool, TooManySpellings> {
        let inside = || {
            branch.conditions().iter().filter(|condition| {
                let seen = context.values.seen(condition.node);
                seen.is_some_and(|seen| seen.in_arrays)
            })
        };
        for condition in inside() {
            if !self.verdicts(context, condition).any && !condition.by_absence {
                return Ok(false);
            }
        }
        let kept = |condition: &Condition| self.verdicts.get(condition.number as usize);
        if !context.values.spelled {
            let ranges = inside().filter_map(|condition| {
                let kept = kept(condition)?;
                Some(agree::Wanted {
                    from: kept.from,
                    to: kept.to,
                    by_absence: condition.by_absence,
                })
            });
            self.ranges.clear();
            self.ranges.extend(ranges);
            let values = agree::Values {
                trail: &context.values.trail,
                elements: &self.elements,
                held: &self.held,
            };
            return Ok(values.agree(&mut self.ranges));
        }
        let wanted: Vec<Wanted<'_, Element>> = inside()
            .filter_map(|condition| {
                let kept = kept(condition)?;
                let range = kept.from as usize..kept.to as usize;
                Some(Wanted {
                    values: &self.elements[range.clone()],
                    held: &self.held[range],
                    absence: if condition.by_absence {
                        Absence::Serves
                    } else {
                        Absence::Fails
                    },
                })
            })
            .collect();
        array_trail::consistent(&context.values.trail, &wanted)
    }
}

impl MatchContext<'_> {
    /// Whether the value at a place is at the path of a sub-rule's first condition and meets it. A hash
    /// collision can find a sub-rule of another path.
    fn first_holds(self, branch: &Branch, place: u32) -> bool {
        let found = self.values.found.get(place as usize);
        let Some(found) = found.filter(|found| branch.node() == Some(found.node)) else {
            return false;
        };
        let value = self.values.value(self.event, found);
        match (&branch.small, branch.conditions().first()) {
            (Some(small), _) => small.holds(value),
            (None, first) => first.is_some_and(|condition| condition.holds(value)),
        }
    }

    fn holds(self, condition: &Condition, place: u32) -> bool {
        let value = self.values.at(self.event, place);
        value.is_some_and(|value| condition.holds(value))
    }

    fn any(self, condition: &Condition) -> bool {
        let mut places = self.values.places(condition.node);
        places.any(|place| self.holds(condition, place))
    }
}

#[cfg(test)]
mod tests {
    use super::VERDICTS_MAX;
    use crate::{Duplicates, ParseOptions, Pattern, RuleIndex, RuleSet, Scratch, Trust};

    /// The product of values and conditions is larger than the limit. That many verdicts are computed, but
    /// not all are stored.
    #[test]
    fn verdicts_are_kept_within_bounds() {
        const ELEMENTS: usize = 500;
        let rules = (0..100).map(|number| {
            let text = format!(r#"{{"a":{{"x":[1],"y":[{{"numeric":[">",{number}]}}]}}}}"#);
            let pattern = Pattern::parse(text.as_bytes(), &ParseOptions::default());
            (number, pattern.expect("the pattern is valid"))
        });
        let rules: Vec<(usize, Pattern)> = rules.collect();
        let index: RuleIndex<usize> = rules.iter().cloned().collect();
        let plain = RuleSet::new(rules);
        let elements = r#"{"x":0,"y":9000},"#.repeat(ELEMENTS - 1);
        let event = format!(r#"{{"a":[{elements}{{"x":1,"y":70}}]}}"#);
        let event = event.as_bytes();
        let mut scratch = Scratch::new();
        let found = index.matches_json(&mut scratch, event, Duplicates::Refuse, Trust::Json);
        let wanted = plain.matches_json(event, Duplicates::Refuse);
        assert_eq!(found.map(Iterator::collect), wanted);
        let kept = scratch.findings.held.capacity();
        assert!(kept <= 2 * (VERDICTS_MAX + 2 * ELEMENTS), "{kept}");
    }
}
