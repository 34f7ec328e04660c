//! Recovery after an unclean stop, when it is unknown which attempts were running.
//!
//! Every delivery that was pending then is claimed durably before its attempt, which costs a commit that many
//! attempts share. If the process dies again, the claims that never ended tell which deliveries were running.
//! These suspects run one at a time, beside everything else (`scheduler::suspects`), and a death counts as an
//! attempt from the second one in succession on: so an event that kills the process becomes a dead letter
//! instead of a crash loop. Deliveries that only ran at the same time are not counted.

use std::collections::HashMap;

use super::context::Context;
use super::scheduler::{Interrupted, Job};
use super::settle::{self, AttemptResult};
use super::snapshot::Snapshot;
use super::writer::Writer;
use edgebus_model::{BusId, Outcome, Position, Timestamp};
use edgebus_store::{Catalog, Settle, Step, StepOutcome};

/// What an attempt says during which the process died, if that counts.
pub(super) const DEATH: &str = "the process stopped during this attempt";

/// Deliveries up to these positions are claimed before they run. Empty after a clean stop.
pub(super) type ClaimBeforeRun = HashMap<BusId, Position>;

/// The heads up to which deliveries are claimed before they are attempted.
pub(super) fn claims_needed(catalog: &Catalog) -> ClaimBeforeRun {
    let heads = catalog.buses.iter().map(|(id, _, last)| (*id, *last));
    if catalog.clean {
        ClaimBeforeRun::new()
    } else {
        heads.collect()
    }
}

/// Claims a job durably if it was pending at an unclean stop; `None` if it is no longer pending.
pub(super) async fn claim(
    writer: &Writer,
    claim_before_run: &ClaimBeforeRun,
    job: Job,
    now: Timestamp,
) -> Option<Job> {
    // The usual case. After a conflict, the claim stands already.
    if claim_before_run.is_empty() || job.conflicts > 0 {
        return Some(job);
    }
    if claim_before_run
        .get(&job.bus)
        .is_none_or(|head| job.key.position > *head)
    {
        return Some(job);
    }
    let step = Step::Claim {
        key: job.key,
        fence: job.fence,
        now,
    };
    match writer.apply(step).await {
        Ok(StepOutcome::Claimed(claimed)) => Some(Job {
            fence: claimed.fence,
            ..job
        }),
        // It is another attempt's, or the process is stopping.
        _ => None,
    }
}

/// The settlement that counts the attempt during which a process died, if that one counts.
pub(super) fn count_death(context: &Context, snapshot: &Snapshot, job: &Job) -> Option<Settle> {
    if job.interrupted != Interrupted::Again || job.conflicts > 0 {
        return None;
    }
    let subscription = snapshot.subscriptions.get(&job.key.subscription)?;
    let ran = AttemptResult {
        outcome: Outcome::Host {
            message: DEATH.to_owned(),
        },
        spared: false,
        ..AttemptResult::host(String::new(), context.clock.now())
    };
    Some(settle::failed(
        context,
        job,
        &subscription.target.retry,
        ran,
    ))
}
