//! The shapes of bodies that have a name, each with its example.
//!
//! Each is what one of the writers beside the handlers writes; a test asks the real server for every one.

use serde_json::{Map, Value, json};

use super::problems;
use super::schema::{
    code, delivery_id, flag, list, name, next, number, object, reference, text, time, word,
};
use crate::model::Event;

/// All shapes, by name.
pub(super) fn all() -> Map<String, Value> {
    table()
        .into_iter()
        .map(|(name, schema, _)| (name.to_owned(), schema))
        .collect()
}

/// The example of the shape `name`.
pub(super) fn example(name: &str) -> Value {
    table()
        .into_iter()
        .find(|(own, ..)| *own == name)
        .map_or(Value::Null, |(_, _, example)| example)
}

type Shape = (&'static str, Value, Value);

fn table() -> Vec<Shape> {
    let mut all = vec![
        ("Problem", problems::schema(), problems::example()),
        ("Fault", problems::fault(), problems::fault_example()),
    ];
    all.extend(events());
    all.extend(functions());
    all.extend(rules());
    all.extend(explanations());
    all.extend(deliveries());
    all.extend(told());
    all
}

fn attribute(words: &str) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": Event::ATTRIBUTE_BYTES_MAX,
        "description": words,
    })
}

/// A CloudEvent in the JSON format.
fn event_schema() -> Value {
    json!({
        "type": "object",
        "description": format!("A CloudEvent 1.0 in the JSON format. Other members are extension attributes: at most {} of them, with names of 1 to 20 lower-case letters and digits. An attribute has at most {} bytes.", Event::EXTENSIONS_MAX, Event::ATTRIBUTE_BYTES_MAX),
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0", "description": "The version of CloudEvents."},
            "id": attribute("With `source`, unique for each distinct event: a repeated pair is a duplicate."),
            "source": attribute("Where it comes from: a URI reference."),
            "type": attribute("What happened, as in com.example.order.placed."),
            "subject": attribute("What it is about."),
            "time": {"type": "string", "format": "date-time", "description": "When it happened: RFC 3339, kept as it was written."},
            "datacontenttype": attribute("The media type of the data."),
            "dataschema": attribute("The URI of the data's schema."),
            "data": {"description": "The data as JSON, or as text; kept byte for byte."},
            "data_base64": {"type": "string", "contentEncoding": "base64", "description": "The data where it is neither; instead of `data`."},
        },
        "additionalProperties": {"type": ["string", "integer", "boolean"], "description": "An extension attribute."},
        "not": {"required": ["data", "data_base64"]},
    })
}

/// The sample event that all examples are about.
pub(super) fn order() -> Value {
    json!({
        "specversion": "1.0",
        "id": "o-1001",
        "source": "/shop",
        "type": "com.example.order.placed",
        "datacontenttype": "application/json",
        "data": {"id": "o-1001", "customer": "ada", "country": "DE", "currency": "EUR", "lines": [{"sku": "lamp", "quantity": 2, "unit_cents": 6900}]},
    })
}

const AT: &str = "2026-11-21T10:15:30.125Z";

fn position(words: &str) -> Value {
    number(words, 1)
}

fn events() -> Vec<Shape> {
    let accepted = json!({"id": "o-1001", "position": 6, "duplicate": false});
    let stored = json!({"position": 6, "accepted_at": AT, "event": order()});
    vec![
        ("Event", event_schema(), order()),
        (
            "Accepted",
            object(
                "One event is on stable storage.",
                &[
                    ("id", text("The event's id.")),
                    (
                        "position",
                        position("Its place in the bus's log; a duplicate's is the first one's."),
                    ),
                    (
                        "duplicate",
                        flag(
                            "True if the same source and id were published before, within the bus's dedupe window.",
                        ),
                    ),
                ],
                &[],
            ),
            accepted.clone(),
        ),
        (
            "AcceptedBatch",
            object(
                "The events of a batch are on stable storage, all in one transaction.",
                &[(
                    "results",
                    list("One for each event, in order.", reference("Accepted")),
                )],
                &[],
            ),
            json!({"results": [accepted, {"id": "o-1002", "position": 7, "duplicate": false}]}),
        ),
        (
            "StoredEvent",
            object(
                "An event with its place in the log.",
                &[
                    ("position", position("Its place in the bus's log.")),
                    ("accepted_at", time("When it was accepted.")),
                    ("event", reference("Event")),
                ],
                &[],
            ),
            stored.clone(),
        ),
        (
            "EventPage",
            object(
                "A page of a bus's log, oldest first.",
                &[
                    (
                        "events",
                        list(
                            "The events; with `type`, a page may be empty and still have a `next`.",
                            reference("StoredEvent"),
                        ),
                    ),
                    (
                        "next",
                        next("Give it as `after` for the next page; null at the end."),
                    ),
                ],
                &[],
            ),
            json!({"events": [stored], "next": "6"}),
        ),
    ]
}

fn functions() -> Vec<Shape> {
    let revision = json!({
        "name": "enricher",
        "digest": "6b3c0f3ce1a1d2a1f6d2a2a9a3a3b1b0c7f1c8d1e9a4f0b2c3d4e5f60718293a",
        "revision": 1,
        "deployed_at": AT,
        "limits": {
            "memory_bytes": 67_108_864, "cpu_ms": 1_000, "timeout_ms": 30_000, "concurrency": 32, "emits": 64,
            "emit_bytes": 1_048_576, "state_writes": 256, "state_bytes": 1_048_576, "output_bytes": 65_536,
        },
        "config": {"CURRENCY": "EUR"},
        "secrets": [],
        "allow_http": [],
    });
    let limits = object(
        "What one attempt may use.",
        &[
            (
                "memory_bytes",
                number(
                    "All memories and tables of the instance together, in bytes.",
                    0,
                ),
            ),
            (
                "cpu_ms",
                number("Time on the processor, in milliseconds.", 0),
            ),
            (
                "timeout_ms",
                number(
                    "Wall-clock time around the whole attempt, in milliseconds.",
                    0,
                ),
            ),
            (
                "concurrency",
                number("Attempts of this function at the same time.", 0),
            ),
            ("emits", number("Events that it may emit.", 0)),
            (
                "emit_bytes",
                number("Bytes of all events that it emits.", 0),
            ),
            ("state_writes", number("State keys that it may write.", 0)),
            (
                "state_bytes",
                number("Bytes of all state that it writes.", 0),
            ),
            ("output_bytes", number("Bytes of output that are kept.", 0)),
        ],
        &[],
    );
    vec![
        ("FunctionLimits", limits, revision["limits"].clone()),
        (
            "Function",
            object(
                "A deployed function.",
                &[
                    ("name", name("Its name.")),
                    (
                        "digest",
                        json!({"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "BLAKE3 of the component's bytes."}),
                    ),
                    (
                        "revision",
                        number("Counts deployments of this function.", 1),
                    ),
                    ("deployed_at", time("When it was deployed.")),
                    ("limits", reference("FunctionLimits")),
                    (
                        "config",
                        json!({"type": "object", "additionalProperties": {"type": "string"}, "description": "What its `config` interface answers."}),
                    ),
                    (
                        "secrets",
                        list(
                            "Names of the secrets that it may read, never their values.",
                            text("A name."),
                        ),
                    ),
                    (
                        "allow_http",
                        list(
                            "Origins that it may call; outgoing HTTP is not there yet.",
                            text("An origin."),
                        ),
                    ),
                ],
                &[],
            ),
            revision.clone(),
        ),
        (
            "FunctionList",
            object(
                "What is deployed.",
                &[("functions", list("By name.", reference("Function")))],
                &[],
            ),
            json!({"functions": [revision]}),
        ),
        (
            "Plan",
            object(
                "What applying a manifest did, or would do.",
                &[
                    ("dry_run", flag("True if nothing was changed.")),
                    (
                        "version",
                        number(
                            "The rule-set version in force afterwards; unchanged for a dry run.",
                            0,
                        ),
                    ),
                    (
                        "changes",
                        list(
                            "One line for each change: `+` added, `~` changed, `-` removed.",
                            text("A change."),
                        ),
                    ),
                ],
                &[],
            ),
            json!({"dry_run": true, "version": 1, "changes": ["+ bus `audit`"]}),
        ),
        (
            "Version",
            object(
                "What answers here.",
                &[
                    ("name", json!({"const": "edgebus"})),
                    ("version", text("The release.")),
                ],
                &[],
            ),
            json!({"name": "edgebus", "version": env!("CARGO_PKG_VERSION")}),
        ),
    ]
}

fn rules() -> Vec<Shape> {
    let retry = json!({"attempts": 3, "initial_ms": 200, "factor": 2.0, "max_ms": 1_000, "jitter": true, "max_age_ms": 86_400_000});
    let policy = || {
        [
            ("retry", reference("RetryPolicy")),
            (
                "dead_letter_ms",
                number("How long a dead letter is kept, in milliseconds.", 0),
            ),
        ]
    };
    let [own_retry, own_keep] = policy();
    let target = object(
        "Where matching events go.",
        &[("function", name("The function.")), own_retry, own_keep],
        &[],
    );
    let rule = json!({
        "name": "orders", "bus": "default", "match": {"type": ["com.example.order.placed"]}, "where": [],
        "to": [{"function": "enricher", "retry": retry, "dead_letter_ms": 1_209_600_000}],
    });
    let subscription = json!({
        "id": 3, "label": "orders/enricher", "rule": "orders", "function": "enricher", "bus": "default", "active": true,
        "in_memory": 0, "oldest_owed": null, "retry": retry, "dead_letter_ms": 1_209_600_000,
    });
    let [own_retry, own_keep] = policy();
    vec![
        (
            "RetryPolicy",
            object(
                "How failed attempts are tried again.",
                &[
                    (
                        "attempts",
                        number("Attempts in all, the first included.", 1),
                    ),
                    (
                        "initial_ms",
                        number(
                            "The highest delay after the first failure, in milliseconds.",
                            0,
                        ),
                    ),
                    (
                        "factor",
                        json!({"type": "number", "minimum": 1, "description": "What that delay is multiplied with after each further failure."}),
                    ),
                    (
                        "max_ms",
                        number("The highest delay of all, in milliseconds.", 0),
                    ),
                    (
                        "jitter",
                        flag("True draws each delay evenly from 0 to that height."),
                    ),
                    (
                        "max_age_ms",
                        number(
                            "A delivery of this age is not tried again, in milliseconds from acceptance.",
                            0,
                        ),
                    ),
                ],
                &[],
            ),
            retry.clone(),
        ),
        ("Target", target, rule["to"][0].clone()),
        (
            "Rule",
            object(
                "A rule: which events, and where to.",
                &[
                    ("name", name("Its name.")),
                    ("bus", name("The bus whose events it looks at.")),
                    (
                        "match",
                        json!({"type": ["object", "null"], "description": "The pattern, in EventBridge's language; null matches every event."}),
                    ),
                    (
                        "where",
                        list(
                            "JSONPath queries that must all select something.",
                            text("A query."),
                        ),
                    ),
                    ("to", list("Its targets.", reference("Target"))),
                ],
                &[],
            ),
            rule.clone(),
        ),
        (
            "RuleList",
            object(
                "The rules in force.",
                &[("rules", list("In the manifest's order.", reference("Rule")))],
                &[],
            ),
            json!({"rules": [rule]}),
        ),
        (
            "Subscription",
            object(
                "One rule with one of its targets: the unit that has lag, retries and dead letters.",
                &[
                    (
                        "id",
                        number("Its number, the first part of its deliveries' ids.", 1),
                    ),
                    ("label", text("RULE/FUNCTION.")),
                    ("rule", name("The rule.")),
                    ("function", name("The function.")),
                    ("bus", name("The bus.")),
                    (
                        "active",
                        flag(
                            "False once it left the manifest: what is owed still runs, nothing new joins.",
                        ),
                    ),
                    (
                        "in_memory",
                        number("Deliveries that are ready or running.", 0),
                    ),
                    (
                        "oldest_owed",
                        json!({"type": ["string", "null"], "description": "The id of the oldest delivery that is still owed: how far it lags."}),
                    ),
                    own_retry,
                    own_keep,
                ],
                &[],
            ),
            subscription.clone(),
        ),
        (
            "SubscriptionList",
            object(
                "The subscriptions.",
                &[(
                    "subscriptions",
                    list("By number.", reference("Subscription")),
                )],
                &[],
            ),
            json!({"subscriptions": [subscription]}),
        ),
    ]
}

fn explanations() -> Vec<Shape> {
    let condition = json!({
        "path": "data.total", "wanted": ["{\"numeric\": [\">\", 10]}"], "seen": ["5"], "seen_total": 1, "held": false, "held_by": null,
    });
    let branch = json!({
        "sub_rule": 0, "matched": false, "first_missed": 0, "array_inconsistent": false, "conditions": [condition],
    });
    let explanation = json!({"matched": false, "sub_rules": 1, "branches": [branch]});
    let index = json!({"type": ["integer", "null"], "minimum": 0, "description": "Index of the first condition that no value met."});
    vec![
        (
            "ConditionExplanation",
            object(
                "What one condition made of the event.",
                &[
                    ("path", text("The field, its parts joined by dots.")),
                    (
                        "wanted",
                        list("The alternatives, as a pattern writes them.", text("One.")),
                    ),
                    (
                        "seen",
                        list(
                            "The first few values at the path, as JSON, each cut.",
                            text("One."),
                        ),
                    ),
                    (
                        "seen_total",
                        number("How many values there are at the path.", 0),
                    ),
                    ("held", flag("Whether it holds.")),
                    (
                        "held_by",
                        json!({"type": ["string", "null"], "description": "The first alternative that held."}),
                    ),
                ],
                &[],
            ),
            condition,
        ),
        (
            "BranchExplanation",
            object(
                "What one sub-rule made of the event.",
                &[
                    ("sub_rule", number("Its number, from 0.", 0)),
                    ("matched", flag("Whether it matches.")),
                    ("first_missed", index),
                    (
                        "array_inconsistent",
                        flag(
                            "Each condition holds by itself, but not with values of one element of an array.",
                        ),
                    ),
                    (
                        "conditions",
                        list("In reading order.", reference("ConditionExplanation")),
                    ),
                ],
                &[],
            ),
            branch,
        ),
        (
            "Explanation",
            object(
                "Why a pattern matches an event, or doesn't.",
                &[
                    ("matched", flag("Whether it matches.")),
                    (
                        "sub_rules",
                        number(
                            "How many sub-rules it has once every `$or` is multiplied out.",
                            0,
                        ),
                    ),
                    (
                        "branches",
                        list(
                            "The sub-rules, up to a bound.",
                            reference("BranchExplanation"),
                        ),
                    ),
                ],
                &[],
            ),
            explanation.clone(),
        ),
        (
            "RuleVerdict",
            object(
                "Whether a rule takes an event.",
                &[
                    ("matched", flag("Whether pattern and filters take it.")),
                    (
                        "explanation",
                        json!({"anyOf": [reference("Explanation"), {"type": "null"}], "description": "Null where no pattern was given."}),
                    ),
                    (
                        "where",
                        list(
                            "Each filter, in order.",
                            object(
                                "A filter.",
                                &[
                                    ("query", text("The JSONPath query.")),
                                    ("held", flag("Whether it selects something.")),
                                ],
                                &[],
                            ),
                        ),
                    ),
                ],
                &[],
            ),
            json!({"matched": false, "explanation": explanation, "where": []}),
        ),
    ]
}

const OUTCOMES: [&str; 9] = [
    "success", "retry", "reject", "trap", "timeout", "memory", "limit", "conflict", "host",
];
const REASONS: [&str; 7] = [
    "rejected",
    "attempts-exhausted",
    "age-exceeded",
    "hop-limit",
    "fan-out-limit",
    "function-missing",
    "corrupt",
];

/// The members of an attempt that lists show as well.
fn attempt_members() -> Vec<(&'static str, Value)> {
    vec![
        ("number", number("Counts from 1.", 1)),
        ("started_at", time("When it began.")),
        (
            "duration_us",
            number("How long it ran, in microseconds.", 0),
        ),
        ("outcome", word("How it ended.", &OUTCOMES)),
    ]
}

fn failed_members() -> [(&'static str, Value); 2] {
    [
        ("code", code("The outcome's code; success has none.")),
        (
            "message",
            text("What happened; a trap's has a backtrace, one frame a line. Success has none."),
        ),
    ]
}

/// The members of a delivery in any stage, and those that it has in some.
fn delivery_members() -> (Vec<(&'static str, Value)>, Vec<(&'static str, Value)>) {
    let always = vec![
        ("id", delivery_id("Its id.")),
        (
            "stage",
            word(
                "`owed` has more attempts to come, `succeeded` and `dead` have ended.",
                &["owed", "succeeded", "dead"],
            ),
        ),
        (
            "subscription",
            text(
                "RULE/FUNCTION; the number alone of one that left the manifest and owes nothing more.",
            ),
        ),
        ("position", position("The event's place in the bus's log.")),
        ("accepted_at", time("When the event was accepted.")),
        (
            "attempts_made",
            number("Attempts that were made or begun.", 0),
        ),
    ];
    let sometimes = vec![
        ("rule", name("The rule.")),
        ("function", name("The function.")),
        (
            "replay",
            number("The replay's number, of a replayed delivery.", 1),
        ),
        ("due_at", time("Owed: not before this time.")),
        ("settled_at", time("Succeeded: when.")),
        (
            "emitted",
            number("Succeeded: how many events it emitted.", 0),
        ),
        ("reason", word("Dead: why.", &REASONS)),
        ("reason_code", code("Dead: the reason's code.")),
        ("died_at", time("Dead: when.")),
    ];
    (always, sometimes)
}

fn deliveries() -> Vec<Shape> {
    let last = json!({
        "number": 3, "started_at": AT, "duration_us": 236, "outcome": "retry", "code": "EB0411",
        "message": "config `RATE_JPY` is not set",
    });
    let mut attempt = last.clone();
    attempt["output"] = json!("");
    let mut row = json!({
        "id": "3-13", "stage": "dead", "subscription": "orders/enricher", "rule": "orders", "function": "enricher",
        "position": 13, "accepted_at": AT, "attempts_made": 3, "reason": "attempts-exhausted", "reason_code": "EB0421", "died_at": AT,
    });
    let mut whole = row.clone();
    row["last_attempt"] = last.clone();
    row["event"] = json!({"id": "o-1004", "source": "/shop", "type": "com.example.order.placed"});
    whole["attempts"] = json!([attempt]);
    whole["event"] = order();
    let key = object(
        "What names an event.",
        &[
            ("id", text("Its id.")),
            ("source", text("Its source.")),
            ("type", text("Its type.")),
        ],
        &[],
    );
    let (always, sometimes) = delivery_members();
    let mut row_sometimes = sometimes.clone();
    row_sometimes.push(("last_attempt", reference("AttemptRow")));
    row_sometimes.push(("event", key));
    let mut whole_always = always.clone();
    whole_always.push((
        "attempts",
        list(
            "Those that ended, oldest first; of more than 16 the first and the latest.",
            reference("Attempt"),
        ),
    ));
    let mut whole_sometimes = sometimes;
    whole_sometimes.push(("event", reference("Event")));
    let mut attempt_whole = attempt_members();
    attempt_whole.push(("output", text("What the function wrote, up to its limit.")));
    let page = |member: &'static str| {
        object(
            "A page of deliveries, by subscription and position.",
            &[
                (
                    member,
                    list(
                        "The deliveries, each with its last attempt.",
                        reference("DeliveryRow"),
                    ),
                ),
                (
                    "next",
                    next("Give it as `after` for the next page; null at the end."),
                ),
            ],
            &[],
        )
    };
    vec![
        (
            "AttemptRow",
            object(
                "An attempt as lists show it.",
                &attempt_members(),
                &failed_members(),
            ),
            last,
        ),
        (
            "Attempt",
            object("An attempt.", &attempt_whole, &failed_members()),
            attempt,
        ),
        (
            "DeliveryRow",
            object("A delivery as lists show it.", &always, &row_sometimes),
            row.clone(),
        ),
        (
            "Delivery",
            object(
                "A delivery with all its attempts; a dead one with its own copy of the event.",
                &whole_always,
                &whole_sometimes,
            ),
            whole,
        ),
        (
            "DeliveryPage",
            page("deliveries"),
            json!({"deliveries": [row], "next": null}),
        ),
        (
            "DeadLetterPage",
            page("dead_letters"),
            json!({"dead_letters": [row], "next": null}),
        ),
    ]
}

/// The live stream's news.
fn told() -> Vec<Shape> {
    let [own_code, message] = failed_members();
    let schema = object(
        "An attempt ended, and its settlement is durable.",
        &[
            ("id", delivery_id("The delivery.")),
            ("bus", name("The bus.")),
            ("position", position("The event's place in its log.")),
            ("type", text("The event's type.")),
            ("rule", name("The rule.")),
            ("function", name("The function.")),
            ("attempt", number("The attempt's number.", 1)),
            ("outcome", word("How it ended.", &OUTCOMES)),
            (
                "duration_us",
                number("How long it ran, in microseconds.", 0),
            ),
            (
                "age_ms",
                number("From acceptance to settlement, in milliseconds.", 0),
            ),
        ],
        &[
            own_code,
            message,
            ("retry_at", time("When it is tried again, if it is.")),
            (
                "reason",
                word("Why it is a dead letter, if it is.", &REASONS),
            ),
            ("reason_code", code("The reason's code.")),
        ],
    );
    let example = json!({
        "id": "3-6", "bus": "default", "position": 6, "type": "com.example.order.placed", "rule": "orders",
        "function": "enricher", "attempt": 1, "outcome": "success", "duration_us": 236, "age_ms": 1,
    });
    vec![("AttemptEnded", schema, example)]
}
