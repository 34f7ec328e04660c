//! What each kind of target does, a file for each: its limits and its attempts. To the rest of the
//! pipeline a target is opaque.
//!
//! A kind that is not built has no file. Nothing can send to it, for the store refuses such a rule; what a
//! later release left behind waits in the store. Never here: who is next, retries, the writer.

mod function;

pub(super) use function::{Left, invocation};

use super::context::Context;
use super::scheduler::Job;
use super::settle::{self, AttemptResult, Ended};
use super::snapshot::Snapshot;
use edgebus_model::Target;

/// What bounds the attempts of one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// Attempts at the same time.
    pub(super) concurrency_max: u32,
    /// The memory that one attempt may use, in bytes.
    pub(super) memory_bytes_max: u64,
    /// False while no attempt can be made: its deliveries wait.
    pub(super) available: bool,
}

impl Limits {
    /// Those of a target that nobody has told of yet.
    pub(super) const UNKNOWN: Self = Self {
        concurrency_max: 1,
        memory_bytes_max: 0,
        available: false,
    };
}

/// The limits of `target` in this snapshot.
pub(super) fn limits(snapshot: &Snapshot, target: &Target) -> Limits {
    match target {
        Target::Function(name) => function::limits(snapshot, name),
        Target::Webhook(_) | Target::Bus(_) | Target::Queue(_) => Limits::UNKNOWN,
    }
}

/// Makes one attempt of `job` and says how it is to be settled.
pub(super) async fn attempt(context: &Context, snapshot: &Snapshot, job: &Job) -> Ended {
    let Some(subscription) = snapshot.subscriptions.get(&job.key.subscription) else {
        return function::missing(context, job, "?").into();
    };
    match &subscription.target.to {
        Target::Function(name) => {
            function::attempt(context, snapshot, job, subscription, name).await
        }
        // Without limits that allow one, there is no attempt.
        other @ (Target::Webhook(_) | Target::Bus(_) | Target::Queue(_)) => {
            let ran = AttemptResult::host(
                format!("this release can't deliver to {other}"),
                context.clock.now(),
            );
            settle::failed(context, job, &subscription.target.retry, ran).into()
        }
    }
}
