//! The next step of a seek forward: which of the next live deliveries are pending before its place.
//!
//! Never here: whether one is still pending, which the store checks in the step.

use super::super::context::Context;
use super::{Budget, Moved};
use edgebus_model::{Job, JobPlace, SkipSpec, Skipped};
use edgebus_store::{Advance, Error, JobEffect, JobEnd, Page};

/// The job's next step.
pub(super) fn step(
    context: &Context,
    spec: SkipSpec,
    job: &Job,
    budget: Budget,
) -> Result<Moved, Error> {
    let from = match job.place {
        JobPlace::Delivery(key) => Some(key),
        _ => None,
    };
    let rows = budget.rows.min(budget.effects);
    let page = Page::forward(rows, budget.bytes);
    let page = context.store.pending_page(spec.subscription, from, page)?;
    let mut step = Advance {
        job: job.id,
        from: job.place,
        to: job.place,
        looked: 0,
        skipped: Skipped::default(),
        effects: Vec::new(),
        shadow: None,
        end: None,
        now: context.clock.now(),
    };
    for pending in &page.rows {
        let key = pending.key;
        // Live ones come first, in the order of their positions.
        if key.replay > 0 || key.position >= spec.before {
            step.end = Some(JobEnd::Done);
            break;
        }
        step.to = JobPlace::Delivery(key);
        step.looked += 1;
        step.effects.push(JobEffect::Skip { key });
    }
    match page.next {
        // The last rows may be corrupt.
        Some(next) if step.end.is_none() => step.to = JobPlace::Delivery(next),
        _ => step.end = Some(JobEnd::Done),
    }
    Ok(Moved {
        step,
        bytes: page.bytes,
    })
}
