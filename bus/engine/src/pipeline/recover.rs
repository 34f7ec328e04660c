//! Care after an unclean stop, when nobody knows which attempts were running.
//!
//! Every delivery that was pending then is claimed durably before its attempt, which costs a commit that
//! many attempts share. If the process dies again, the claims that never ended tell which deliveries were
//! running. These suspects run one at a time, beside everything else (`scheduler::suspects`), and a death
//! counts as an attempt from the second one in succession on: so an event that kills the process reaches
//! the dead letters instead of a crash loop, and what merely ran beside it is not blamed.

use std::collections::HashMap;

use super::context::Context;
use super::scheduler::{Interrupted, Job};
use super::settle::{self, Ran};
use super::snapshot::Snapshot;
use super::writer::Writer;
use edgebus_model::{BusId, Outcome, Position, Timestamp};
use edgebus_store::{Catalog, Settle, Step, StepOutcome};

/// What an attempt says during which the process died, if that counts.
pub(super) const DEATH: &str = "the process stopped during this attempt";

/// The care that an unclean start takes: the last position of each bus at the start. Empty after a clean stop.
pub(super) type Careful = HashMap<BusId, Position>;

/// The heads up to which deliveries are claimed before they are attempted.
pub(super) fn care(catalog: &Catalog) -> Careful {
    let heads = catalog.buses.iter().map(|(id, _, last)| (*id, *last));
    if catalog.clean {
        Careful::new()
    } else {
        heads.collect()
    }
}

/// Claims a job durably if it was pending at an unclean stop; `None` if it is no longer pending.
pub(super) async fn claim(
    writer: &Writer,
    careful: &Careful,
    job: Job,
    now: Timestamp,
) -> Option<Job> {
    // The usual case. After a conflict, the claim stands already.
    if careful.is_empty() || job.conflicts > 0 {
        return Some(job);
    }
    if careful
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
    let ran = Ran {
        outcome: Outcome::Host {
            message: DEATH.to_owned(),
        },
        spared: false,
        ..Ran::host(String::new(), context.clock.now())
    };
    Some(settle::failed(
        context,
        job,
        &subscription.target.retry,
        ran,
    ))
}
