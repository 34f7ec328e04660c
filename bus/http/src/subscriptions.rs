//! Subscriptions: lag and policy.

use super::call::{Answer, Call};
use super::json::Object;
use super::{page, target};
use edgebus_engine::bus::SubscriptionStatus;
use edgebus_model::TargetConfig;

/// `GET /v1/subscriptions`.
pub(super) async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let list = call.app.bus.subscriptions().await?;
    page::whole(&call.app, "subscriptions", list, |out, status| {
        write(out, &status);
    })
}

fn write(out: &mut Vec<u8>, status: &SubscriptionStatus) {
    let subscription = &status.subscription;
    let mut object = Object::new(out);
    object.number("id", u64::from(subscription.id.0));
    object.text("name", subscription.name().as_str());
    object.text("rule", subscription.rule.as_str());
    target::write(&mut object, &subscription.target.to);
    object.text("bus", status.bus.as_str());
    object.boolean("active", subscription.active);
    object.number("in_memory", status.in_memory);
    object.text("situation", status.situation.word());
    object.text("reason", status.situation.reason());
    match status.oldest_pending {
        Some((key, accepted_at)) => {
            object.shown("oldest_pending", &key);
            object.shown("oldest_accepted_at", &accepted_at);
        }
        None => {
            object.member("oldest_pending").extend_from_slice(b"null");
            object
                .member("oldest_accepted_at")
                .extend_from_slice(b"null");
        }
    }
    if let Some(age_ms) = status.oldest_age_ms {
        object.number("oldest_age_ms", age_ms);
    }
    object.number("pending", status.counts.pending);
    object.number("waiting", status.counts.waiting);
    object.number("dead", status.counts.dead);
    let subscription_counters = &status.subscription_counters;
    let mut own = Object::new(object.member("since_start"));
    own.number("succeeded", subscription_counters.succeeded);
    own.number("retried", subscription_counters.retried);
    own.number("dead", subscription_counters.dead);
    own.number("run_us", subscription_counters.run_us);
    own.end();
    object.number("behind", status.behind);
    write_policy(&mut object, &subscription.target);
    object.end();
}

/// How failures are retried and dead letters kept.
pub(super) fn write_policy(object: &mut Object<'_>, target: &TargetConfig) {
    let retry = &target.retry;
    let mut own = Object::new(object.member("retry"));
    own.number("attempts", u64::from(retry.attempts_max));
    own.number("initial_ms", retry.backoff.initial_ms);
    serde_json::to_writer(own.member("factor"), &retry.backoff.factor)
        .expect("a Vec takes every byte and a factor is finite");
    own.number("max_ms", retry.backoff.ms_max);
    own.boolean("jitter", retry.backoff.jitter);
    own.number("max_age_ms", retry.age_ms_max);
    own.end();
    object.number("dead_letter_ms", target.dead_letter_ms);
}
