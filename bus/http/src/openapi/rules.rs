//! Rules, described.

use edgebus_api as api;

use super::events::full_of_judging;
use super::operation::{JSON, Operation};
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::Code;
use edgebus_model::error::Kind;

/// `GET /v1/rules`.
pub(crate) fn list(_: &Limits) -> Operation {
    Operation::new("listRules", "rules", "See the active rules")
        .answers_json::<api::RuleList>(200, "The rules.")
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
    Operation::new("testRule", "rules", "Try a rule on an event")
        .about("Nothing is published. The answer says which condition of the pattern holds and what values it saw, and with an `input` what a target would get. A trial has no time of acceptance: EventBridge's ingestion time is the beginning of 1970, its rule's name `test`.")
        .takes_json::<api::RuleTest>(body, JSON)
        .answers_json::<api::RuleTrial>(200, "Matched or not, and why.")
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
    .answers_json::<api::SubscriptionList>(200, "The subscriptions.")
    .reads()
}
