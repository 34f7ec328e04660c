//! The next step of a job that lets go of pending deliveries: of live ones before the place of a seek, or of all that a
//! replay has made.
//!
//! Never here: whether one is still pending, which the store checks in the step.

use super::super::context::Context;
use super::{Budget, Moved, idle};
use edgebus_model::{DeliveryKey, Job, JobId, JobPlace, Position, SkipSpec, SubscriptionId};
use edgebus_store::{Advance, Error, JobEffect, JobEnd, Page};

/// The job's next step.
pub(super) fn step(
    context: &Context,
    spec: SkipSpec,
    job: &Job,
    budget: Budget,
) -> Result<Moved, Error> {
    let mut moved = Moved {
        step: idle(job, context.clock.now()),
        bytes: 0,
    };
    match spec {
        SkipSpec::Live {
            subscription,
            before,
        } => live(context, (subscription, before), &mut moved, budget)?,
        SkipSpec::Replay(replay) => of_replay(context, replay, &mut moved, budget)?,
    }
    Ok(moved)
}

/// The delivery behind which the step begins.
fn place(step: &Advance) -> Option<DeliveryKey> {
    match step.to {
        JobPlace::Delivery(key) => Some(key),
        _ => None,
    }
}

/// Which of the next live deliveries are pending before a position.
fn live(
    context: &Context,
    (subscription, before): (SubscriptionId, Position),
    moved: &mut Moved,
    budget: Budget,
) -> Result<(), Error> {
    let step = &mut moved.step;
    let rows = budget.rows.min(budget.effects);
    let page = Page::forward(rows, budget.bytes);
    let page = context
        .store
        .pending_page(subscription, place(step), page)?;
    moved.bytes += page.bytes;
    for pending in &page.rows {
        let key = pending.key;
        // Live ones come first, in the order of their positions.
        if key.replay > 0 || key.position >= before {
            step.end = Some(JobEnd::Done);
            break;
        }
        take(step, key);
    }
    match page.next {
        // The last rows may be corrupt.
        Some(next) if step.end.is_none() => step.to = JobPlace::Delivery(next),
        _ => step.end = Some(JobEnd::Done),
    }
    Ok(())
}

/// Which of the next deliveries of a replay are pending, from one subscription to the next.
fn of_replay(
    context: &Context,
    replay: JobId,
    moved: &mut Moved,
    budget: Budget,
) -> Result<(), Error> {
    let snapshot = context.snapshot();
    let mut all: Vec<SubscriptionId> = snapshot.subscriptions.keys().copied().collect();
    all.sort_unstable();
    let step = &mut moved.step;
    let from = place(step);
    let first = from.map_or(SubscriptionId(0), |from| from.subscription);
    let mut left = budget.rows.min(budget.effects);
    for subscription in all.into_iter().filter(|id| *id >= first) {
        let end = |replay, position| DeliveryKey {
            subscription,
            replay,
            position: Position(position),
        };
        let behind = end(replay.0.saturating_sub(1), u64::MAX);
        let own = from.filter(|from| from.subscription == subscription);
        let page = Page::forward(left, budget.bytes);
        let behind = own.map_or(behind, |own| own.max(behind));
        let page = context
            .store
            .pending_page(subscription, Some(behind), page)?;
        moved.bytes += page.bytes;
        let rows = page.rows.iter().map(|pending| pending.key);
        let own: Vec<DeliveryKey> = rows.take_while(|key| key.replay == replay.0).collect();
        let whole = own.len() < page.rows.len() || page.next.is_none();
        left = left.saturating_sub(own.len().max(1));
        own.into_iter().for_each(|key| take(step, key));
        match page.next {
            Some(next) if !whole => step.to = JobPlace::Delivery(next),
            _ => step.to = JobPlace::Delivery(end(replay.0, u64::MAX)),
        }
        if left == 0 || !whole || moved.bytes >= budget.bytes {
            return Ok(());
        }
    }
    step.end = Some(JobEnd::Done);
    Ok(())
}

fn take(step: &mut Advance, key: DeliveryKey) {
    step.to = JobPlace::Delivery(key);
    step.looked += 1;
    step.effects.push(JobEffect::Skip { key });
}
