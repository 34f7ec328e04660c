//! Why a rule takes an event, or doesn't.

use serde_json::{Value, json};

use super::super::schema::{flag, list, number, object, reference, text};
use super::Shape;

/// The shapes of explanations and verdicts.
pub(super) fn shapes() -> Vec<Shape> {
    let explained = explained();
    let nullable = json!({
        "anyOf": [reference("Explanation"), {"type": "null"}],
        "description": "Null where no pattern was given.",
    });
    let branches = list(
        "The sub-rules, up to a bound.",
        reference("BranchExplanation"),
    );
    let explanation = object("Why a pattern matches an event, or doesn't.")
        .has("matched", flag("Whether it matches."))
        .has(
            "sub_rules",
            number("How many there are once every `$or` is multiplied out.", 0),
        )
        .has("branches", branches)
        .done();
    let filter = object("A filter.")
        .has("query", text("The JSONPath query."))
        .has("held", flag("Whether it selects something."))
        .done();
    let verdict = object("Whether a rule takes an event.")
        .has("matched", flag("Whether pattern and filters take it."))
        .has("explanation", nullable)
        .has("where", list("Each filter, in order.", filter))
        .done();
    let verdict_example = json!({"matched": false, "explanation": explained, "where": []});
    let branch_example = explained["branches"][0].clone();
    let condition_example = branch_example["conditions"][0].clone();
    vec![
        ("ConditionExplanation", condition(), condition_example),
        ("BranchExplanation", branch(), branch_example),
        ("Explanation", explanation, explained),
        ("RuleVerdict", verdict, verdict_example),
    ]
}

fn explained() -> Value {
    json!({"matched": false, "sub_rules": 1, "branches": [{
        "sub_rule": 0, "matched": false, "first_missed": 0, "array_inconsistent": false, "conditions": [{
            "path": "data.total", "wanted": ["{\"numeric\": [\">\", 10]}"], "wanted_in_words": ["a number > 10"],
            "seen": ["5"], "seen_total": 1, "held": false, "held_by": null, "held_alternative": null, "hint": null,
        }],
    }]})
}

fn condition() -> Value {
    let held_by = json!({
        "type": ["string", "null"],
        "description": "The first alternative that held.",
    });
    let alternative = json!({
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "Which of the alternatives that is, from 0.",
    });
    let hint = json!({
        "type": ["string", "null"],
        "description": "What may have been meant, where a value came close.",
    });
    let one = || text("One.");
    let seen = "The first few values at the path, as JSON, each cut.";
    object("What one condition made of the event.")
        .has("path", text("The field, its parts joined by dots."))
        .has(
            "wanted",
            list("The alternatives, as a pattern writes them.", one()),
        )
        .has(
            "wanted_in_words",
            list("The same alternatives in words.", one()),
        )
        .has("seen", list(seen, one()))
        .has(
            "seen_total",
            number("How many values there are at the path.", 0),
        )
        .has("held", flag("Whether it holds."))
        .has("held_by", held_by)
        .has("held_alternative", alternative)
        .has("hint", hint)
        .done()
}

fn branch() -> Value {
    let missed = json!({
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "Index of the first condition that no value met.",
    });
    let inconsistent = flag("Each holds, but not with values of one element of an array.");
    object("What one sub-rule made of the event.")
        .has("sub_rule", number("Its number, from 0.", 0))
        .has("matched", flag("Whether it matches."))
        .has("first_missed", missed)
        .has("array_inconsistent", inconsistent)
        .has(
            "conditions",
            list("In reading order.", reference("ConditionExplanation")),
        )
        .done()
}
