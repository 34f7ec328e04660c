//! Rules, subscriptions, and what a trial of a rule says.

use serde_json::{Value, json};

use super::super::schema::{Object, flag, list, name, number, object, reference, text};
use super::{AT, Shape};

/// The rule shapes.
pub(super) fn shapes() -> Vec<Shape> {
    let mut all = rules();
    all.extend(subscriptions());
    all.extend(trials());
    all
}

/// The delivery policy of a target.
fn policy(object: Object) -> Value {
    object
        .has("retry", reference("RetryPolicy"))
        .has(
            "dead_letter_ms",
            number("How long a dead letter is kept, in milliseconds.", 0),
        )
        .done()
}

fn retry() -> Value {
    json!({"attempts": 3, "initial_ms": 200, "factor": 2.0, "max_ms": 1_000, "jitter": true, "max_age_ms": 86_400_000})
}

fn target_example() -> Value {
    json!({"function": "enricher", "retry": retry(), "dead_letter_ms": 1_209_600_000})
}

fn rules() -> Vec<Shape> {
    let example = json!({
        "name": "orders", "bus": "default", "match": {"type": ["com.example.order.placed"]}, "where": [],
        "to": [target_example()],
    });
    let pattern = json!({
        "type": ["object", "null"],
        "description": "The pattern, in EventBridge's language; null matches every event.",
    });
    let filters = list(
        "JSONPath queries that must all select something.",
        text("A query."),
    );
    let target = policy(
        object("Where matching events go, and what of them.")
            .has("function", name("The function."))
            .may("input", input())
            .may("input_paths", paths())
            .may("input_template", text(TEMPLATE)),
    );
    let rule = object("A rule: which events, and where to.")
        .has("name", name("Its name."))
        .has("bus", name("The bus whose events it looks at."))
        .has("match", pattern)
        .has("where", filters)
        .has("to", list("Its targets.", reference("Target")))
        .done();
    let rules = object("The rules in force.")
        .has("rules", list("In the manifest's order.", reference("Rule")))
        .done();
    vec![
        ("RetryPolicy", retry_schema(), retry()),
        ("Target", target, target_example()),
        ("Rule", rule, example.clone()),
        ("RuleList", rules, json!({"rules": [example]})),
    ]
}

const TEMPLATE: &str = "EventBridge's InputTemplate, with `<name>` for each path of `input_paths`.";

/// What a target gets instead of the event's data.
fn input() -> Value {
    json!({"description": "What it gets instead of the event's data: a JSONPath, as in `$.data.id`, or any JSON whose strings may hold `{$.path}`."})
}

fn paths() -> Value {
    json!({
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "EventBridge's InputPathsMap: names with their JSONPaths.",
    })
}

fn retry_schema() -> Value {
    let factor = json!({
        "type": "number",
        "minimum": 1,
        "description": "What that delay is multiplied with after each further failure.",
    });
    let initial = "The highest delay after the first failure, in milliseconds.";
    let age = "A delivery of this age is not tried again, in milliseconds.";
    object("How failed attempts are tried again.")
        .has(
            "attempts",
            number("Attempts in all, the first included.", 1),
        )
        .has("initial_ms", number(initial, 0))
        .has("factor", factor)
        .has(
            "max_ms",
            number("The highest delay of all, in milliseconds.", 0),
        )
        .has(
            "jitter",
            flag("True draws each delay evenly from 0 to that height."),
        )
        .has("max_age_ms", number(age, 0))
        .done()
}

fn subscriptions() -> Vec<Shape> {
    let example = json!({
        "id": 3, "label": "orders/enricher", "rule": "orders", "function": "enricher", "bus": "default", "active": true,
        "in_memory": 0, "oldest_owed": "3-13", "oldest_accepted_at": AT, "oldest_age_ms": 1_200, "behind": 2,
        "since_start": {"succeeded": 12, "retried": 2, "dead": 0, "run_us": 4_500},
        "retry": retry(), "dead_letter_ms": 1_209_600_000,
    });
    let oldest = json!({
        "type": ["string", "null"],
        "description": "The id of the oldest delivery that is still owed; null if nothing is.",
    });
    let accepted = json!({
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When that delivery's event was accepted.",
    });
    let tally = object("What its deliveries came to since the process started.")
        .has("succeeded", number("Deliveries that ended in success.", 0))
        .has(
            "retried",
            number("Attempts that failed and are tried again.", 0),
        )
        .has("dead", number("Deliveries that became dead letters.", 0))
        .has(
            "run_us",
            number(
                "Time in the function, all attempts together, in microseconds.",
                0,
            ),
        )
        .done();
    let age =
        "How long ago that was, in milliseconds: how far it lags. Nothing is owed without it.";
    let behind = "Events of the bus from that one to the newest; 0 if nothing is owed.";
    let words =
        "One rule with one of its targets: the unit that has lag, retries and dead letters.";
    let id = number("Its number, the first part of its deliveries' ids.", 1);
    let active = flag("False once it left the manifest: what is owed still runs.");
    let subscription = object(words)
        .has("id", id)
        .has("label", text("RULE/FUNCTION."))
        .has("rule", name("The rule."))
        .has("function", name("The function."))
        .has("bus", name("The bus."))
        .has("active", active)
        .has(
            "in_memory",
            number("Deliveries that are ready or running.", 0),
        )
        .has("oldest_owed", oldest)
        .has("oldest_accepted_at", accepted)
        .may("oldest_age_ms", number(age, 0))
        .has("behind", number(behind, 0))
        .has("since_start", tally);
    let list = object("The subscriptions.")
        .has(
            "subscriptions",
            list("By number.", reference("Subscription")),
        )
        .done();
    vec![
        ("Subscription", policy(subscription), example.clone()),
        (
            "SubscriptionList",
            list,
            json!({"subscriptions": [example]}),
        ),
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

fn trials() -> Vec<Shape> {
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
