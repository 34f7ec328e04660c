//! A trial: a deployed function run once on an event from outside the log, in its sandbox, under its limits,
//! with its configuration, its secrets and its present state. Its effects are shown and never committed.
//!
//! Never here: a step for the writer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::context::Context;
use super::reading::Reading;
use super::scheduler::{Interrupted, Job};
use super::snapshot::{Deployed, Snapshot};
use super::{Pipeline, functions, services, settle};
use edgebus_model::error::{Error, Kind};
use edgebus_model::{
    BusId, DeliveryKey, Event, Lineage, Outcome, Position, Revision, SubscriptionId,
};
use edgebus_runtime::{Context as GuestContext, Function, Invocation};
use edgebus_store::NewEvent;

/// What a trial showed.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What ran.
    pub revision: Revision,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration: Duration,
    /// What the function wrote.
    pub output: String,
    /// Events that it would have emitted; empty unless it succeeded.
    pub emitted: Vec<WouldEmit>,
    /// State that it would have written, by key; `None` deletes. Empty unless it succeeded.
    pub writes: Vec<(Vec<u8>, Option<Bytes>)>,
}

/// An event that a trial would have emitted.
#[derive(Clone, Debug)]
pub struct WouldEmit {
    /// The bus that it would have gone to.
    pub bus: String,
    /// The names of the subscriptions that would have got it.
    pub subscriptions: Vec<String>,
    /// The event.
    pub event: Arc<Event>,
}

impl Pipeline {
    /// Runs the function once; see [`crate::bus::Bus::try_function`].
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the function or the bus, [`Kind::Unavailable`] when not ready.
    pub async fn try_function(
        &self,
        function: &str,
        bus: &str,
        event: Event,
    ) -> Result<Trial, Error> {
        self.ready()
            .map_err(|reason| Error::new(Kind::Unavailable, reason))?;
        let snapshot = self.snapshot();
        let none = |what: &str| Error::new(Kind::NotFound, what.to_owned());
        let deployed = snapshot.functions.get(function).ok_or_else(|| {
            none(&format!(
                "no function is deployed as `{}`",
                function.escape_debug()
            ))
        })?;
        let rules = snapshot
            .buses
            .get(bus)
            .ok_or_else(|| none(&format!("there is no bus `{}`", bus.escape_debug())))?;
        // No delivery has this key: subscriptions count from 1. The random position makes the keys and
        // ids that follow from it new ones.
        let job = Job {
            key: DeliveryKey {
                subscription: SubscriptionId(0),
                replay: 0,
                position: Position(self.clock().random()),
            },
            bus: rules.id,
            fence: 0,
            attempts_made: 0,
            host_failures: 0,
            accepted_at: self.clock().now(),
            ingested_at: self.clock().now(),
            age_from: self.clock().now(),
            event: Arc::new(event),
            lineage: Lineage::default(),
            conflicts: 0,
            interrupted: Interrupted::No,
            weight: 0,
        };
        let function = deployed.function().cloned();
        let function = function.ok_or_else(|| {
            functions::unavailable(&deployed.revision.name, &deployed.availability())
        })?;
        let run = Run {
            context: self.context.clone(),
            function,
            deployed: deployed.clone(),
            job,
            bus: bus.to_owned(),
            snapshot: snapshot.clone(),
        };
        // Dropping the task ends the trial: one whose client goes away costs nothing more.
        let task = self.attempts.workers.spawn(|_| run.trial(), || {});
        task.fallible()
            .await
            .ok_or_else(|| Error::new(Kind::Unavailable, "the bus is stopping"))
    }
}

/// What one trial runs with.
struct Run {
    context: Arc<Context>,
    snapshot: Arc<Snapshot>,
    deployed: Arc<Deployed>,
    function: Arc<dyn Function>,
    job: Job,
    bus: String,
}

impl Run {
    async fn trial(self) -> Trial {
        let deployed = &self.deployed;
        let newest = self.context.newest.clone();
        let mut reading = Reading::of_trial(newest, deployed.revision.name.clone());
        let invocation = self.invocation();
        let (invoked, effects) =
            services::call(deployed, &*self.function, invocation, &mut reading).await;
        let mut trial = Trial {
            revision: deployed.revision.clone(),
            outcome: invoked.outcome,
            duration: invoked.duration,
            output: invoked.output,
            emitted: Vec::new(),
            writes: Vec::new(),
        };
        if trial.outcome.is_success() {
            let name = &deployed.revision.name;
            let emitted = invoked.emitted;
            match settle::emits(&self.context, &self.snapshot, &self.job, name, emitted) {
                Err(outcome) => trial.outcome = outcome,
                Ok(made) => {
                    made.note(&mut trial.output);
                    trial.writes = effects.state.into_iter().collect();
                    trial.emitted = would_emit(&self.snapshot, made.events);
                }
            }
        }
        trial.outcome = trial.outcome.cut(settle::MESSAGE_BYTES_MAX);
        trial
    }

    fn invocation(&self) -> Invocation {
        let revision = &self.deployed.revision;
        Invocation {
            event: self.job.event.clone(),
            context: GuestContext {
                delivery: "invoke".to_owned(),
                idempotency_key: self.context.idempotency_key(self.job.key),
                attempt: 1,
                function: revision.name.to_string(),
                rule: String::new(),
                bus: self.bus.clone(),
                position: 0,
                accepted_at_ms: self.job.accepted_at.0,
                replay: None,
            },
            limits: revision.config.limits,
        }
    }
}

/// Emitted events in names instead of numbers.
fn would_emit(snapshot: &Snapshot, events: Vec<(BusId, NewEvent)>) -> Vec<WouldEmit> {
    let shown = |(bus, new): (BusId, NewEvent)| WouldEmit {
        bus: snapshot
            .bus(bus)
            .map(|bus| bus.name.to_string())
            .unwrap_or_default(),
        subscriptions: new
            .subscriptions
            .iter()
            .filter_map(|id| snapshot.subscriptions.get(id))
            .map(|own| own.name().to_string())
            .collect(),
        event: new.event,
    };
    events.into_iter().map(shown).collect()
}
