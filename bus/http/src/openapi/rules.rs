//! Rules, described.

use serde_json::json;

use super::events::full_of_judging;
use super::operation::{JSON, Operation};
use super::schema::{object, reference};
use super::shapes;
use crate::problem::Cause;
use crate::rules::FILTERS_MAX;
use crate::serve::Limits;
use edgebus_model::Code;
use edgebus_model::error::Kind;

/// `GET /v1/rules`.
pub(crate) fn list(_: &Limits) -> Operation {
    Operation::new("listRules", "rules", "See the active rules")
        .answers_shape(200, "The rules.", "RuleList")
        .everyday()
}

/// `POST /v1/rules/test`.
pub(crate) fn test(limits: &Limits) -> Operation {
    let invalid = Cause::Handle(Kind::Invalid);
    let busy = Cause::Handle(Kind::Busy {
        retry_after_ms: 1_000,
    });
    let body = format!(
        "A rule and an event, at most {} bytes.",
        limits.event_bytes_max
    );
    let query = json!({"type": "string", "description": "A JSONPath query."});
    let event = json!({
        "type": "object",
        "description": "A CloudEvent, or a part of one: only what the rule names counts.",
    });
    let pattern = json!({
        "type": ["object", "null"],
        "description": "The pattern; none matches every event. `detail` and `detail-type` are taken for `data` and `type`.",
    });
    let filters = json!({
        "description": "Filters that must all select something.",
        "anyOf": [query, {"type": "array", "maxItems": FILTERS_MAX, "items": query}, {"type": "null"}],
    });
    let shape = object("A rule and the event to try it on.")
        .has("event", event)
        .may("match", pattern)
        .may("where", filters)
        .may("input", json!({"description": "What a target would get instead of the event's data: a JSONPath, as in `$.data.id`, or any JSON whose strings may hold `{$.path}`."}))
        .may("input_paths", json!({"type": ["object", "null"], "additionalProperties": {"type": "string"}, "description": "EventBridge's InputPathsMap, beside `input_template`: names with their JSONPaths."}))
        .may("input_template", json!({"type": ["string", "null"], "description": "EventBridge's InputTemplate, instead of `input`."}))
        .done();
    let example = json!({
        "match": {"type": ["com.example.order.placed"], "data": {"currency": [{"anything-but": ["EUR"]}]}},
        "where": "$.data.lines[?@.quantity > 0]",
        "input": "{$.data.id} of {$.data.customer}",
        "event": shapes::order(),
    });
    Operation::new("testRule", "rules", "Try a rule on an event")
        .about("Nothing is published. The answer says which condition of the pattern holds and what values it saw, and with an `input` what a target would get. A trial has no time of acceptance: EventBridge's ingestion time is the beginning of 1970, its rule's name `test`.")
        .takes(body, JSON, shape, &[("order", example)])
        .answers_shape(200, "Matched or not, and why.", "RuleTrial")
        .coded_problem(invalid, Code::PatternInvalid, "The pattern, a filter or the input can't be read; each error has its pointer.")
        .coded_problem(invalid, Code::EventInvalid, "The event can't be read.")
        .problem(Cause::UnsupportedMedia, "Content-Type is not application/json.")
        .problem(busy, full_of_judging(limits))
        .reads_body()
        .everyday()
}

/// `GET /v1/subscriptions`.
pub(crate) fn subscriptions(_: &Limits) -> Operation {
    Operation::new(
        "listSubscriptions",
        "rules",
        "See each rule's targets with their lag and policy",
    )
    .answers(
        200,
        "The subscriptions.",
        JSON,
        reference("SubscriptionList"),
        &[("SubscriptionList", shapes::example("SubscriptionList"))],
    )
    .reads()
}
