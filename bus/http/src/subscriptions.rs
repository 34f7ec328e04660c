//! Subscriptions: lag and policy.

use edgebus_api as api;

use super::call::{Answer, Call};
use super::page;
use super::target::named;
use edgebus_engine::bus::SubscriptionStatus;
use edgebus_model::RetryPolicy;
use edgebus_model::rule::UNLIMITED;

/// `GET /v1/subscriptions`.
pub(super) async fn list(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let list = call.app.bus.subscriptions().await?;
    let list = api::SubscriptionList {
        subscriptions: list.iter().map(shown).collect(),
    };
    page::held(&call.app, &list)
}

fn shown(status: &SubscriptionStatus) -> api::Subscription {
    let subscription = &status.subscription;
    let target = &subscription.target;
    let counters = &status.subscription_counters;
    let (oldest, accepted_at) = status.oldest_pending.unzip();
    api::Subscription {
        id: u64::from(subscription.id.0),
        name: subscription.name().to_string(),
        rule: subscription.rule.to_string(),
        target: named(&target.to),
        bus: status.bus.to_string(),
        active: subscription.active,
        in_memory: status.in_memory,
        situation: api::Situation::from(status.situation.word()),
        reason: status.situation.reason().to_owned(),
        oldest_pending: oldest.map(|key| key.to_string()),
        oldest_accepted_at: accepted_at.map(|accepted_at| accepted_at.to_string()),
        oldest_age_ms: status.oldest_age_ms,
        pending: status.counts.pending,
        waiting: status.counts.waiting,
        dead: status.counts.dead,
        since_start: api::SinceStart {
            succeeded: counters.succeeded,
            retried: counters.retried,
            dead: counters.dead,
            run_us: counters.run_us,
        },
        behind: status.behind,
        retry: retry(&target.retry),
        dead_letter_ms: limit(target.dead_letter_ms),
        dead_letter_bus: target.dead_letter_bus.as_ref().map(ToString::to_string),
    }
}

/// How failures are retried.
/// A limit, or `None` for none.
pub(super) fn limit(value: u64) -> Option<u64> {
    (value != UNLIMITED).then_some(value)
}

pub(super) fn retry(policy: &RetryPolicy) -> api::RetryPolicy {
    api::RetryPolicy {
        attempts: u64::from(policy.attempts_max),
        initial_ms: policy.backoff.initial_ms,
        factor: policy.backoff.factor,
        max_ms: policy.backoff.ms_max,
        jitter: policy.backoff.jitter,
        max_age_ms: policy.age_ms_max,
    }
}

#[cfg(test)]
mod tests {
    use edgebus_api as api;
    use edgebus_engine::bus::Situation;

    #[test]
    fn the_situations_of_the_api_are_the_schedulers() {
        assert_eq!(api::Situation::WORDS, Situation::ALL.map(Situation::word));
    }
}
