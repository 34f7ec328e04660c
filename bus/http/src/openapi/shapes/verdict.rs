//! Why a rule matches an event or does not.

use serde_json::{Value, json};

use super::super::schema::{flag, list, name, next, number, object, reference, text, time};
use super::{AT, Shape};

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
    let filter = object("What a filter made of the event.")
        .has("query", text("The JSONPath query."))
        .has("held", flag("Whether it selects something."))
        .may(
            "used_up",
            flag("True where it didn't come to its end, because the filters of one event may take so many steps only."),
        )
        .done();
    let judged = |words| {
        object(words)
            .has("matched", flag("Whether pattern and filters take it."))
            .has("explanation", nullable.clone())
            .has("where", list("Each filter, in order.", filter.clone()))
    };
    let made =
        "With an `input` that was given: what it makes of the event; null unless it matched.";
    let trial = judged("Whether a rule that is being tried takes an event.")
        .may("input", json!({"description": made}))
        .may("input_error", text("Why no input can be made."))
        .done();
    let inputs = "What the targets get that have an `input`; empty unless it matched.";
    let verdict = judged("What a rule makes of an event.")
        .has("rule", name("The rule."))
        .has("bus", name("Its bus."))
        .may(
            "disabled",
            flag("True where the rule is off, so that it takes no event."),
        )
        .has("inputs", list(inputs, input()))
        .done();
    let trial_example = json!({"matched": false, "explanation": explained, "where": []});
    let mut verdict_example = trial_example.clone();
    verdict_example["rule"] = json!("orders");
    verdict_example["bus"] = json!("default");
    verdict_example["inputs"] = json!([]);
    let branch_example = explained["branches"][0].clone();
    let condition_example = branch_example["conditions"][0].clone();
    vec![
        ("ConditionExplanation", condition(), condition_example),
        ("BranchExplanation", branch(), branch_example),
        ("Explanation", explanation, explained),
        ("RuleTrial", trial, trial_example),
        ("RuleVerdict", verdict, verdict_example.clone()),
        ("ExplainedEvent", event(), event_example(verdict_example)),
    ]
}

/// What a target with an `input` gets.
fn input() -> Value {
    let error = json!({"type": ["string", "null"], "description": "Why it has none."});
    object("What a target gets.")
        .has("subscription", text("The subscription's name."))
        .has(
            "input",
            json!({"description": "The input; null where it can't be made."}),
        )
        .has("error", error)
        .done()
}

fn event() -> Value {
    let key = object("What names the event.")
        .has("id", text("Its id."))
        .has("source", text("Its source."))
        .has("type", text("Its type."))
        .done();
    let subscriptions = "Who got it when it came, by name; the number alone of one that left the manifest and has nothing pending.";
    let rules = "The rules that those subscriptions belong to now, each once.";
    object("What the rules of a bus make of an event of its log.")
        .has("position", number("Its place in the bus's log.", 1))
        .has("accepted_at", time("When it was accepted."))
        .has("event", key)
        .has("subscriptions", list(subscriptions, text("One.")))
        .has("rules", list(rules, text("One.")))
        .has(
            "verdicts",
            list("In the manifest's order.", reference("RuleVerdict")),
        )
        .has(
            "next",
            next("Give it as `after` for the verdicts of the other rules; null at the end."),
        )
        .has("more", number("How many rules are left.", 0))
        .done()
}

fn event_example(verdict: Value) -> Value {
    json!({
        "position": 6, "accepted_at": AT,
        "event": {"id": "o-1001", "source": "/shop", "type": "com.example.order.placed"},
        "subscriptions": [], "rules": [], "verdicts": [verdict], "next": null, "more": 0,
    })
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
        "description": "The first alternative that held: with it alone the sub-rule would match as well.",
    });
    let alternative = json!({
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "Which of the alternatives that is, from 0.",
    });
    let hint = json!({
        "type": ["string", "null"],
        "description": "What may have been meant, where a value came close; why nothing was seen of data that is not JSON.",
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
