//! Rules and subscriptions.

use serde_json::{Value, json};

use super::super::schema::{Object, flag, list, name, number, object, reference, text};
use super::{AT, Shape};

/// The rule shapes.
pub(super) fn shapes() -> Vec<Shape> {
    let mut all = rules();
    all.extend(subscriptions());
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
    json!({"function": "enricher", "name": "orders/enricher", "retry": retry(), "dead_letter_ms": 1_209_600_000})
}

fn rules() -> Vec<Shape> {
    let example = json!({
        "name": "orders", "bus": "default", "enabled": true, "match": {"type": ["com.example.order.placed"]}, "where": [],
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
            .has("name", text("The subscription's name."))
            .may("input", input())
            .may("input_paths", paths())
            .may("input_template", text(TEMPLATE)),
    );
    let rule = object("A rule: which events, and where to.")
        .has("name", name("Its name."))
        .has("bus", name("The bus whose events it looks at."))
        .has("enabled", flag("Whether it takes events."))
        .may("description", text("What it is for."))
        .has("match", pattern)
        .has("where", filters)
        .has("to", list("Its targets.", reference("Target")))
        .done();
    let rules = object("The active rules.")
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
        "id": 3, "name": "orders/enricher", "rule": "orders", "function": "enricher", "bus": "default", "active": true,
        "in_memory": 0, "situation": "empty", "reason": "nothing is ready to run", "oldest_pending": "3-13", "oldest_accepted_at": AT, "oldest_age_ms": 1_200, "behind": 2,
        "pending": 1, "waiting": 1, "dead": 0,
        "since_start": {"succeeded": 12, "retried": 2, "dead": 0, "run_us": 4_500},
        "retry": retry(), "dead_letter_ms": 1_209_600_000,
    });
    let oldest = json!({
        "type": ["string", "null"],
        "description": "The id of the oldest delivery that is still pending; null if nothing is.",
    });
    let accepted = json!({
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When that delivery's event was accepted.",
    });
    let subscription_counters = object("What its deliveries came to since the process started.")
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
        "How long ago that was, in milliseconds: how far it lags. Nothing is pending without it.";
    let behind = "Events of the bus from that one to the newest; 0 if nothing is pending.";
    let words =
        "One rule with one of its targets: the unit that has lag, retries and dead letters.";
    let id = number("Its number, the first part of its deliveries' ids.", 1);
    let situation = json!({
        "type": "string",
        "enum": edgebus_engine::bus::Situation::ALL.map(edgebus_engine::bus::Situation::word),
        "description": "Why its deliveries run or don't, at this moment.",
    });
    let active = flag("False once it left the manifest: what is pending still runs.");
    let subscription = object(words)
        .has("id", id)
        .has(
            "name",
            text("Its name. Without one in the manifest it is RULE/FUNCTION."),
        )
        .has("rule", name("The rule."))
        .has("function", name("The function."))
        .has("bus", name("The bus."))
        .has("active", active)
        .has("in_memory", number("Deliveries that wait in memory.", 0))
        .has("situation", situation)
        .has("reason", text("The same in words."))
        .has("oldest_pending", oldest)
        .has("oldest_accepted_at", accepted)
        .may("oldest_age_ms", number(age, 0))
        .has("behind", number(behind, 0))
        .has(
            "pending",
            number("Deliveries that are pending and may run now.", 0),
        )
        .has(
            "waiting",
            number("Deliveries that are pending and have a due time.", 0),
        )
        .has("dead", number("Dead letters.", 0))
        .has("since_start", subscription_counters);
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
