//! Changes of what is in force: a manifest as a whole, or one function.
//!
//! Functions compile first, beside the running bus; then one transaction; then a new snapshot takes the
//! old one's place. A fault at any point leaves everything as it was.
//!
//! Publishing goes on meanwhile: what takes long with many rules runs on blocking threads, and readers
//! see the old snapshot until the one moment in which the new one takes its place.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::snapshot::{Deployed, Snapshot};
use super::{Pipeline, Secrets, read_error};
use crate::error::{Error, Fault, Kind};
use crate::model::{BusConfig, Code, Digest, FunctionConfig, Name, Progress, Revision, RuleConfig};
use crate::runtime::{Function, Runtime};
use crate::store::{ApplyManifest, Catalog, Deploy, Step, StepOutcome, Store};

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

/// The answer where another version is in force than the one that was planned for.
pub(crate) fn changed(expected: u64, found: u64) -> Error {
    Error::new(
        Kind::Changed,
        format!(
            "the plan was made at rule-set version {expected} and version {found} is in force now; nothing was changed: plan again"
        ),
    )
}

/// Compiles every deployed function, at the start.
pub(super) async fn compile_all(
    store: &dyn Store,
    runtime: &Arc<dyn Runtime>,
    catalog: &Catalog,
    secrets: &Secrets,
    progress: &Progress,
) -> Result<BTreeMap<Name, Arc<Deployed>>, Error> {
    let none = HashMap::new();
    deployed(store, runtime, catalog, secrets, &none, progress).await
}

/// The catalog's functions, compiled; those of `ready` are taken from there.
async fn deployed(
    store: &dyn Store,
    runtime: &Arc<dyn Runtime>,
    catalog: &Catalog,
    secrets: &Secrets,
    ready: &HashMap<Digest, Arc<dyn Function>>,
    progress: &Progress,
) -> Result<BTreeMap<Name, Arc<Deployed>>, Error> {
    let mut functions = BTreeMap::new();
    for (index, revision) in catalog.functions.iter().enumerate() {
        let count = catalog.functions.len();
        let detail = format!("{} of {count}: {}", index + 1, revision.name);
        progress.tell("compiling functions", &detail);
        let function = match ready.get(&revision.digest) {
            Some(function) => function.clone(),
            None => {
                let component = store
                    .component(revision.digest)
                    .map_err(read_error)?
                    .ok_or_else(|| {
                        Error::new(
                            Kind::Corrupt,
                            format!(
                                "the component {} of function `{}` is missing from the store",
                                revision.digest, revision.name
                            ),
                        )
                    })?;
                runtime
                    .prepare(revision.digest, component)
                    .await
                    .map_err(|error| {
                        Error::new(
                            Kind::Corrupt,
                            format!(
                                "the deployed function `{}` no longer compiles: {error}",
                                revision.name
                            ),
                        )
                        .coded(Code::NoLongerCompiles)
                    })?
            }
        };
        let mut found = BTreeMap::new();
        for name in &revision.config.secrets {
            match secrets(name) {
                Some(value) => {
                    found.insert(name.clone(), value);
                }
                None => {
                    tracing::warn!(function = %revision.name, secret = %name, "the secret is not set: set EDGEBUS_SECRET_<NAME>")
                }
            }
        }
        functions.insert(
            revision.name.clone(),
            Arc::new(Deployed {
                revision: revision.clone(),
                function,
                secrets: found,
            }),
        );
    }
    Ok(functions)
}

impl Pipeline {
    /// Puts a manifest in force; its text is `source`. With `expected`, only if that rule-set version
    /// is in force until then.
    ///
    /// # Errors
    /// [`Kind::Changed`] for another version; [`Kind::Invalid`] for a component that is no function; [`Kind::Conflict`] if the store refuses;
    /// nothing is changed then.
    pub async fn apply_manifest(
        &self,
        source: String,
        buses: Vec<BusConfig>,
        functions: Vec<(Name, FunctionSource, FunctionConfig)>,
        rules: Vec<RuleConfig>,
        expected: Option<u64>,
    ) -> Result<u64, Error> {
        let _changing = self.changing.lock().await;
        // Every change holds the lock, so that the version stays what it is until this one is made.
        let version = self.snapshot().version;
        if let Some(expected) = expected.filter(|expected| *expected != version) {
            return Err(changed(expected, version));
        }
        let mut ready = self.compiled();
        let mut named = Vec::with_capacity(functions.len());
        let mut components = Vec::new();
        for (name, source, config) in functions {
            let digest = match source {
                FunctionSource::Stored(digest) => digest,
                FunctionSource::Deployed => self.snapshot().functions.get(&name).map(|deployed| deployed.revision.digest).ok_or_else(|| {
                    Error::invalid(
                        "the manifest can't be applied; nothing was changed",
                        vec![Fault {
                            pointer: format!("/functions/{name}/component"),
                            place: None,
                            reason: format!("the function `{name}` names no component and is not deployed"),
                            remedy: format!("name its component, or deploy it first with PUT /v1/functions/{name}"),
                        }],
                    )
                    .coded(Code::FunctionNotDeployed)
                })?,
                FunctionSource::Component(bytes) => {
                    let digest = Digest::of(&bytes);
                    if let Entry::Vacant(place) = ready.entry(digest) {
                        place.insert(self.prepare(&name, digest, bytes.clone()).await?);
                    }
                    components.push((digest, bytes));
                    digest
                }
            };
            named.push((name, digest, config));
        }
        let step = Step::ApplyManifest(Box::new(ApplyManifest {
            source,
            buses,
            functions: named,
            components,
            rules,
            expected: None,
            now: self.context.clock.now(),
        }));
        self.change(step, &ready).await
    }

    /// Deploys a component under `name`; what it is given stays as it was.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a component that is no function.
    pub async fn deploy(&self, name: Name, component: Bytes) -> Result<Revision, Error> {
        let _changing = self.changing.lock().await;
        let mut ready = self.compiled();
        let digest = Digest::of(&component);
        if let Entry::Vacant(place) = ready.entry(digest) {
            place.insert(self.prepare(&name, digest, component.clone()).await?);
        }
        let step = Step::Deploy(Box::new(Deploy {
            function: name.clone(),
            component,
            config: None,
            expected: None,
            now: self.context.clock.now(),
        }));
        self.change(step, &ready).await?;
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
        let Some((function, _)) = self
            .snapshot()
            .functions
            .get_key_value(name)
            .map(|(name, deployed)| (name.clone(), deployed.clone()))
        else {
            return Err(Error::new(
                Kind::NotFound,
                format!("there is no function `{}`", name.escape_debug()),
            ));
        };
        let ready = self.compiled();
        let step = Step::Remove {
            function,
            expected: None,
        };
        self.change(step, &ready).await.map(|_| ())
    }

    async fn prepare(
        &self,
        name: &Name,
        digest: Digest,
        component: Bytes,
    ) -> Result<Arc<dyn Function>, Error> {
        self.runtime
            .prepare(digest, component)
            .await
            .map_err(|error| {
                Error::invalid(
                    format!("the function `{name}` can't be deployed; nothing was changed"),
                    vec![Fault {
                        pointer: format!("/functions/{name}/component"),
                        place: None,
                        reason: error.message,
                        remedy: String::new(),
                    }],
                )
                .coded(error.code)
            })
    }

    /// The functions that are compiled now, by digest.
    fn compiled(&self) -> HashMap<Digest, Arc<dyn Function>> {
        self.snapshot()
            .functions
            .values()
            .map(|deployed| (deployed.revision.digest, deployed.function.clone()))
            .collect()
    }

    async fn change(
        &self,
        step: Step,
        ready: &HashMap<Digest, Arc<dyn Function>>,
    ) -> Result<u64, Error> {
        match self.writer.apply(step).await? {
            StepOutcome::Applied { .. } => {}
            StepOutcome::Denied(reason) => return Err(Error::new(Kind::Conflict, reason)),
            other => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the store answered {other:?}"),
                ));
            }
        }
        // The change is durable: what fails from here on would leave the process on the old rules.
        let taken = self.take_over(ready).await;
        taken.inspect_err(|error| {
            self.context.health.fail(&format!(
                "a durable change could not be taken over: {error}"
            ));
        })
    }

    /// Makes a snapshot of what the store has now, and puts it in the place of the one in force.
    async fn take_over(&self, ready: &HashMap<Digest, Arc<dyn Function>>) -> Result<u64, Error> {
        let store = self.store().clone();
        let catalog = blocking(move || store.catalog().map_err(read_error)).await?;
        let functions = deployed(
            &**self.store(),
            &self.runtime,
            &catalog,
            &self.secrets,
            ready,
            &Progress::silent(),
        )
        .await?;
        let (last, scheduler) = (self.snapshot(), self.scheduler.clone());
        let (catalog, snapshot) = blocking(move || {
            let snapshot =
                Snapshot::compile(&catalog, functions, Some(&last)).map_err(|fault| {
                    Error::new(Kind::Corrupt, fault.reason).coded(Code::NoLongerCompiles)
                })?;
            // Before an event can be matched to it, a subscription has its queue.
            let queue = |own: &crate::model::Subscription| {
                let known = last.subscriptions.contains_key(&own.id);
                (!known).then(|| (own.id, own.target.function.clone(), false))
            };
            scheduler.subscribe(catalog.subscriptions.iter().filter_map(queue).collect());
            Ok((catalog, snapshot))
        })
        .await?;
        for (id, _, last) in &catalog.buses {
            self.context.add_bus(*id, *last);
        }
        let version = catalog.version;
        tracing::debug!(version, compiled = ?snapshot.compiled, "other rules are in force");
        let last = self.context.snapshot.swap(Arc::new(snapshot));
        // Letting go of many rules takes its time, too.
        self.tasks.spawn_blocking(move || drop((last, catalog)));
        self.scheduler.changed();
        Ok(version)
    }
}

/// Runs `work` on a blocking thread, so that the tasks of publishers are not behind it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::Unavailable, "the bus is stopping")),
    }
}
