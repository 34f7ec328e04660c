//! Verdicts of `view` as the API shows them.
//!
//! Never here: matching.

use edgebus_api as api;
use edgebus_manifest::view::{FilterVerdict, InputVerdict, Verdict};
use serde_json::value::RawValue;

/// What an active rule makes of an event.
#[must_use]
pub fn of_rule(verdict: Verdict) -> api::RuleVerdict {
    api::RuleVerdict {
        rule: verdict.rule,
        bus: verdict.bus,
        matched: verdict.matched,
        disabled: verdict.disabled,
        explanation: verdict.explanation.map(explanation),
        filters: verdict.filters.into_iter().map(filter).collect(),
        inputs: verdict.inputs.into_iter().map(input).collect(),
    }
}

/// What a rule that is tried makes of an event, and of its input if it has one.
#[must_use]
pub fn of_trial(mut verdict: Verdict, with_input: bool) -> api::RuleTrial {
    let made = verdict.inputs.drain(..).next().filter(|_| with_input);
    let (input, input_error) = made.map_or((None, None), |made| (made.input, made.error));
    let null = || RawValue::NULL.to_owned();
    api::RuleTrial {
        matched: verdict.matched,
        explanation: verdict.explanation.map(explanation),
        filters: verdict.filters.into_iter().map(filter).collect(),
        input: with_input.then(|| input.unwrap_or_else(null)),
        input_error,
    }
}

fn filter(filter: FilterVerdict) -> api::FilterVerdict {
    api::FilterVerdict {
        query: filter.query,
        held: filter.held,
        used_up: filter.used_up,
    }
}

fn input(input: InputVerdict) -> api::InputVerdict {
    api::InputVerdict {
        subscription: input.subscription,
        input: input.input,
        error: input.error,
    }
}

fn explanation(explanation: edgebus_rules::Explanation) -> api::Explanation {
    api::Explanation {
        matched: explanation.matched,
        sub_rules: explanation.sub_rules as u64,
        branches: explanation.branches.into_iter().map(branch).collect(),
    }
}

fn branch(branch: edgebus_rules::BranchExplanation) -> api::BranchExplanation {
    api::BranchExplanation {
        sub_rule: branch.sub_rule as u64,
        matched: branch.matched,
        first_missed: branch.first_missed.map(|index| index as u64),
        array_inconsistent: branch.array_inconsistent,
        conditions: branch.conditions.into_iter().map(condition).collect(),
    }
}

fn condition(condition: edgebus_rules::ConditionExplanation) -> api::ConditionExplanation {
    api::ConditionExplanation {
        path: condition.path,
        wanted: condition.wanted,
        wanted_in_words: condition.wanted_in_words,
        seen: condition.seen,
        seen_total: condition.seen_total as u64,
        held: condition.held,
        held_by: condition.held_by,
        held_alternative: condition.held_alternative.map(|index| index as u64),
        hint: condition.hint,
    }
}
