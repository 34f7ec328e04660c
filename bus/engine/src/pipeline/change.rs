//! Changes of what is active: a manifest as a whole, or one function.
//!
//! New components compile first, beside the running bus and beside other changes. Then, one change at a time:
//! the store says what its catalog would be, a snapshot is compiled from that, one step makes the change
//! durable if the version that it was made from is still the active one, and the snapshot takes the old one's
//! place. Everything that can fail comes before the step, so that an error changes nothing.
//!
//! Publishing goes on meanwhile. Work over many rules runs on blocking threads, and readers see the old
//! snapshot until the new one replaces it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::functions::{self, Availability, Compilation};
use super::jobs;
use super::snapshot::{Deployed, Snapshot};
use super::tasks::Executor;
use super::{Pipeline, Secrets, read_error};
use edgebus_model::error::{Error, InputError, Kind};
use edgebus_model::{
    BusConfig, Code, Digest, FunctionConfig, Job, JobSpec, Name, Position, ReplayPurpose,
    ReplaySpec, Revision, RuleConfig, StartPosition, Subscription, SubscriptionId, Target,
    Timestamp,
};
use edgebus_store::{ApplyManifest, Catalog, Deploy, Page, StartJob, Step, StepOutcome};

/// Where a function of a manifest comes from.
#[derive(Clone, Debug)]
pub enum FunctionSource {
    /// A component that comes with the manifest.
    Component(Bytes),
    /// The revision that is deployed already.
    Deployed,
    /// A component that the store has, by digest.
    Stored(Digest),
}

/// The error if another version is active than the one that was planned for.
pub(crate) fn changed(expected: u64, found: u64) -> Error {
    Error::new(
        Kind::Changed,
        format!(
            "the plan was made at rule-set version {expected} and version {found} is active now; nothing was changed: plan again"
        ),
    )
}

/// What is compiled, or to be, by digest.
pub(super) type Compilations = BTreeMap<Digest, Arc<Compilation>>;

impl Pipeline {
    /// Applies a manifest; its text is `source`. With `expected`, only if that rule-set version
    /// is active until then.
    ///
    /// A component that a deployed function has already is not compiled here: if it is unavailable, it
    /// stays so until a later try, and the change takes place all the same.
    ///
    /// # Errors
    /// [`Kind::Changed`] for another version; [`Kind::Invalid`] for a component that is no function;
    /// [`Kind::Busy`] if too many components compile; [`Kind::Conflict`] if the store refuses; nothing
    /// is changed then.
    pub async fn apply_manifest(
        &self,
        source: String,
        buses: Vec<BusConfig>,
        functions: Vec<(Name, FunctionSource, FunctionConfig)>,
        rules: Vec<RuleConfig>,
        expected: Option<u64>,
    ) -> Result<u64, Error> {
        let starts = Starts::new();
        self.apply_manifest_from(source, buses, functions, rules, starts, expected)
            .await
    }

    /// As [`Pipeline::apply_manifest`]. The new subscriptions of the rules in `starts` begin in the past: a replay of
    /// it is made in the transaction of the change.
    ///
    /// # Errors
    /// As [`Pipeline::apply_manifest`]; [`Kind::Invalid`] for a start in the future.
    pub async fn apply_manifest_from(
        &self,
        source: String,
        buses: Vec<BusConfig>,
        functions: Vec<(Name, FunctionSource, FunctionConfig)>,
        rules: Vec<RuleConfig>,
        starts: Starts,
        expected: Option<u64>,
    ) -> Result<u64, Error> {
        check_version(&self.snapshot(), expected)?;
        let (known, mut seen) = (compilations(&self.snapshot()), HashSet::new());
        let mut components = Vec::new();
        let mut new = Vec::new();
        for (name, source, _) in &functions {
            if let FunctionSource::Component(bytes) = source {
                let digest = Digest::of(bytes);
                if seen.insert(digest) {
                    components.push((digest, bytes.clone()));
                    if !known.contains_key(&digest) {
                        new.push((name.clone(), digest, bytes.clone()));
                    }
                }
            }
        }
        let compiled = self.compiler.compile_new(new).await?;
        let _changing = self.changing.lock().await;
        // Every change holds the lock, so that the version stays what it is until this one is made.
        let last = self.snapshot();
        check_version(&last, expected)?;
        let mut known = compilations(&last);
        for (digest, function) in compiled {
            let made = || Compilation::done(function);
            known.entry(digest).or_insert_with(made);
        }
        let mut named = Vec::with_capacity(functions.len());
        for (name, source, config) in functions {
            let digest = match source {
                FunctionSource::Stored(digest) => digest,
                FunctionSource::Component(bytes) => Digest::of(&bytes),
                FunctionSource::Deployed => digest_of(&last, &name)?,
            };
            named.push((name, digest, config));
        }
        let step = Step::ApplyManifest(Box::new(ApplyManifest {
            source,
            buses,
            functions: named,
            components,
            rules,
            expected: Some(last.version),
            now: self.context.clock.now(),
        }));
        let version = self.change_from(last, step, known, starts).await?;
        self.try_again(&seen);
        Ok(version)
    }

    /// Puts those components in line again that could not be compiled or read before.
    fn try_again(&self, components: &HashSet<Digest>) {
        for (digest, compilation) in compilations(&self.snapshot()) {
            let failed = matches!(compilation.availability(), Availability::Unavailable { .. });
            if failed && components.contains(&digest) {
                self.compiler.again(digest, &compilation);
            }
        }
    }

    /// Deploys a component under `name`; what it is given stays as it was.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a component that is no function; [`Kind::Busy`] if too many compile.
    pub async fn deploy(&self, name: Name, component: Bytes) -> Result<Revision, Error> {
        let digest = Digest::of(&component);
        let known = compilations(&self.snapshot());
        let known = known.get(&digest).and_then(|own| own.function()).cloned();
        let function = match known {
            Some(function) => function,
            None => {
                let new = vec![(name.clone(), digest, component.clone())];
                let compiled = self.compiler.compile_new(new).await?.remove(&digest);
                compiled.ok_or_else(|| Error::new(Kind::Unavailable, "the bus is stopping"))?
            }
        };
        let _changing = self.changing.lock().await;
        let last = self.snapshot();
        let mut known = compilations(&last);
        // One that was unavailable is there for all functions of this component.
        let compilation = known.entry(digest).or_insert_with(Compilation::to_come);
        compilation.end(Ok(function));
        let step = Step::Deploy(Box::new(Deploy {
            function: name.clone(),
            component,
            config: None,
            expected: Some(last.version),
            now: self.context.clock.now(),
        }));
        self.change(last, step, known).await?;
        self.snapshot()
            .functions
            .get(&name)
            .map(|deployed| deployed.revision.clone())
            .ok_or_else(|| {
                Error::new(
                    Kind::Conflict,
                    format!("the function `{name}` was removed meanwhile"),
                )
            })
    }

    /// Takes a function away.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] while a rule names it.
    pub async fn remove_function(&self, name: &str) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let last = self.snapshot();
        let Some((function, _)) = last.functions.get_key_value(name) else {
            return Err(Error::new(
                Kind::NotFound,
                format!("there is no function `{}`", name.escape_debug()),
            ));
        };
        let step = Step::Remove {
            function: function.clone(),
            expected: Some(last.version),
        };
        let known = compilations(&last);
        self.change(last, step, known).await.map(|_| ())
    }

    /// Makes the change of `step` durable and active; `last` is what is active, and the caller holds
    /// `changing`.
    pub(super) async fn change(
        &self,
        last: Arc<Snapshot>,
        step: Step,
        known: Compilations,
    ) -> Result<u64, Error> {
        self.change_from(last, step, known, Starts::new()).await
    }

    async fn change_from(
        &self,
        last: Arc<Snapshot>,
        step: Step,
        known: Compilations,
        starts: Starts,
    ) -> Result<u64, Error> {
        let now = self.context.clock.now();
        let planning = Planning {
            starts,
            now,
            store: self.store().clone(),
            secrets: self.secrets.clone(),
            last: last.clone(),
            known,
        };
        let (planned, step) = blocking(&self.context.executor, move || planning.plan(step)).await?;
        let more: Vec<Step> = planned.replays.to_vec();
        self.check_jobs(more.len())?;
        match self.writer.apply_with(step.clone(), more).await? {
            StepOutcome::Applied { .. } => {}
            StepOutcome::Denied(reason) => return Err(Error::new(Kind::Conflict, reason)),
            other => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the store answered {other:?}"),
                ));
            }
        }
        self.install(&last, planned, step);
        Ok(self.snapshot().version)
    }

    /// Whether so many more jobs can be made: a rule that starts in the past must not lose its start.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if too many have not ended.
    fn check_jobs(&self, more: usize) -> Result<(), Error> {
        if more == 0 {
            return Ok(());
        }
        let page = Page::forward(2 * Job::ENDED_KEPT, usize::MAX);
        let jobs = self.store().jobs_page(None, page).map_err(read_error)?;
        let unended = jobs.rows.iter().filter(|job| !job.state.has_ended());
        let unended = unended.count();
        if unended + more <= Job::UNENDED_MAX {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            format!(
                "{more} rules start in the past (`from`), which are as many jobs, and {unended} jobs have not ended; {} may be at one time",
                Job::UNENDED_MAX
            ),
        ))
    }

    /// Replaces the active snapshot. The change is durable, so nothing here may fail.
    fn install(&self, last: &Arc<Snapshot>, planned: Planned, step: Step) {
        let Planned {
            catalog,
            snapshot,
            queues,
            replays,
        } = planned;
        // Before an event can be matched to it, a subscription has its queue.
        self.scheduler.subscribe(queues);
        let gone = last.subscriptions.keys();
        let gone: Vec<_> = gone
            .filter(|id| !snapshot.subscriptions.contains_key(id))
            .copied()
            .collect();
        self.scheduler.unsubscribe(gone);
        for (id, _, last) in &catalog.buses {
            self.context.add_bus(*id, *last);
        }
        let version = snapshot.version;
        tracing::debug!(version, compiled = ?snapshot.compiled, "other rules are active");
        let to_come: Vec<_> = snapshot
            .functions
            .values()
            .filter(|own| !own.available() && !known_before(last, own))
            .map(|own| (own.revision.digest, own.compilation.clone()))
            .collect();
        let last = self.context.snapshot.swap(Arc::new(snapshot));
        if last.version != version {
            let (active, now) = (self.snapshot(), self.clock().now());
            self.context.lifecycle.applied(&active, now);
        }
        // Letting go of many rules takes its time, too; the step holds what was known before.
        let executor = &self.context.executor;
        drop(executor.blocking(move || drop((last, catalog, step))));
        for (digest, compilation) in to_come {
            self.compiler.again(digest, &compilation);
        }
        self.scheduler.changed();
        // Only now are events matched for the subscriptions that replays begin for.
        if !replays.is_empty() {
            self.jobs.wake();
        }
    }
}

/// True if the function has been in line for the compiler since the last snapshot.
fn known_before(last: &Snapshot, own: &Deployed) -> bool {
    last.functions
        .values()
        .any(|known| Arc::ptr_eq(&known.compilation, &own.compilation))
}

fn check_version(active: &Snapshot, expected: Option<u64>) -> Result<(), Error> {
    match expected.filter(|expected| *expected != active.version) {
        None => Ok(()),
        Some(expected) => Err(changed(expected, active.version)),
    }
}

/// What the active functions are compiled to, by digest.
pub(super) fn compilations(active: &Snapshot) -> Compilations {
    let functions = active.functions.values();
    functions
        .map(|own| (own.revision.digest, own.compilation.clone()))
        .collect()
}

/// The component of a function that is deployed.
fn digest_of(active: &Snapshot, name: &Name) -> Result<Digest, Error> {
    let deployed = active.functions.get(name);
    deployed.map(|own| own.revision.digest).ok_or_else(|| {
        let error = InputError {
            pointer: format!("/functions/{name}/component"),
            place: None,
            reason: format!("the function `{name}` names no component and is not deployed"),
            remedy: format!("name its component, or deploy it first with PUT /v1/functions/{name}"),
        };
        let message = "the manifest can't be applied; nothing was changed";
        Error::invalid(message, vec![error]).coded(Code::FunctionNotDeployed)
    })
}

fn in_the_future(rule: &Name, time: Timestamp) -> Error {
    let error = InputError {
        pointer: format!("/rules/{rule}/from"),
        place: None,
        reason: format!("{time} is in the future: nothing was accepted then"),
        remedy: "name a time that is past, or leave `from` out".to_owned(),
    };
    let message = "the manifest can't be applied; nothing was changed";
    Error::invalid(message, vec![error]).coded(Code::ManifestInvalid)
}

/// Rules whose new subscriptions begin in the past.
pub type Starts = BTreeMap<Name, StartPosition>;

/// What a plan is made from.
struct Planning {
    starts: Starts,
    now: Timestamp,
    store: Arc<dyn edgebus_store::Store>,
    secrets: Secrets,
    last: Arc<Snapshot>,
    known: Compilations,
}

/// What is active after a step.
struct Planned {
    catalog: Catalog,
    snapshot: Snapshot,
    /// The subscriptions that get a queue, or another target, each with that and whether the store has
    /// deliveries of it.
    queues: Vec<(SubscriptionId, Target, bool)>,
    /// Replays of the past for subscriptions that are new.
    replays: Vec<Step>,
}

impl Planning {
    /// What is active after `step`, and the step to commit for that; on a blocking thread.
    fn plan(self, step: Step) -> Result<(Planned, Step), Error> {
        let plan = self.store.plan(&step).map_err(read_error)?;
        let (catalog, step) = plan.map_err(|reason| Error::new(Kind::Conflict, reason))?;
        let functions = self.functions(&catalog);
        let snapshot =
            Snapshot::compile(&catalog, functions, Some(&self.last)).map_err(|error| {
                let message = format!(
                    "{} can't be compiled: {}; nothing was changed",
                    error.pointer, error.reason
                );
                Error::invalid(message, vec![error]).coded(Code::PatternInvalid)
            })?;
        let queues = self.queues(&snapshot);
        let replays = self.replays(&snapshot)?;
        let planned = Planned {
            catalog,
            snapshot,
            queues,
            replays,
        };
        Ok((planned, step))
    }

    /// Replays of the past for subscriptions that never were before, one for each rule.
    fn replays(&self, next: &Snapshot) -> Result<Vec<Step>, Error> {
        let mut replays = Vec::new();
        for (rule, start) in &self.starts {
            let is_new = |own: &&Arc<Subscription>| {
                own.active && own.rule == *rule && !self.last.subscriptions.contains_key(&own.id)
            };
            let new = next.subscriptions.values().filter(is_new);
            let mut new: Vec<_> = new.map(|own| (own.id, own.bus)).collect();
            new.sort_unstable();
            let Some((_, bus)) = new.first().copied() else {
                continue;
            };
            let since = match start {
                StartPosition::Now => continue,
                StartPosition::Time(time) if *time > self.now => {
                    return Err(in_the_future(rule, *time));
                }
                StartPosition::Earliest => None,
                StartPosition::Time(time) => Some(*time),
            };
            let oldest = self.store.floor(bus).map_err(read_error)?;
            let page = Page::backward(1, usize::MAX);
            let newest = self.store.events_page(bus, Position(u64::MAX), page);
            let newest = newest.map_err(read_error)?.rows.pop();
            let newest = newest.map_or(Position(0), |newest| newest.position);
            let first = match since {
                None => oldest,
                Some(since) => {
                    let before = jobs::last_before(&*self.store, (bus, newest), since, || Ok(()));
                    Position(before.map_err(read_error)?.0 + 1).max(oldest)
                }
            };
            let spec = JobSpec::Replay(ReplaySpec {
                name: None,
                purpose: ReplayPurpose::Start,
                bus,
                first,
                last: Position(u64::MAX),
                subscriptions: new.iter().map(|(id, _)| *id).collect(),
                kind: None,
                pattern: None,
                as_matched: false,
            });
            replays.push(Step::StartJob(Box::new(StartJob {
                spec,
                rate: None,
                of: newest.0.saturating_add(1).saturating_sub(first.0),
                component: None,
                now: self.now,
            })));
        }
        Ok(replays)
    }

    fn queues(&self, next: &Snapshot) -> Vec<(SubscriptionId, Target, bool)> {
        let new = next.subscriptions.values().filter_map(|own| {
            // What waited because its input could not be read is in the store.
            let waited = self.last.waiting.contains(&own.id);
            let known = self.last.subscriptions.get(&own.id);
            let known = known.is_some_and(|known| known.target.to == own.target.to) && !waited;
            let wanted = !known && !next.waiting.contains(&own.id);
            wanted.then(|| (own.id, own.target.to.clone(), waited))
        });
        let mut new: Vec<_> = new.collect();
        new.sort_unstable_by_key(|(id, ..)| *id);
        new
    }

    /// The catalog's functions; one that stays as it was is shared with the last snapshot.
    fn functions(&self, catalog: &Catalog) -> BTreeMap<Name, Arc<Deployed>> {
        let mut known = self.known.clone();
        let functions = catalog.functions.iter().map(|revision| {
            let name = revision.name.clone();
            let same = self.last.functions.get(&name);
            if let Some(same) = same.filter(|own| own.revision == *revision) {
                return (name, same.clone());
            }
            let compilation = known.entry(revision.digest);
            let compilation = compilation.or_insert_with(Compilation::to_come).clone();
            let same = same.filter(|own| own.revision.digest == revision.digest);
            let kept = same.map(|own| own.kept.clone()).unwrap_or_default();
            let deployed = functions::deployed(revision.clone(), compilation, &self.secrets, kept);
            (name, deployed)
        });
        functions.collect()
    }
}

/// Runs `work` on a blocking thread, so that the tasks of publishers are not behind it.
async fn blocking<T: Send + 'static>(
    executor: &Executor,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match executor.blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::Unavailable, "the bus is stopping")),
    }
}
