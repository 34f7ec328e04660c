//! Makes functions available: compiles each component of the store once, in the background, several at a time,
//! those with pending deliveries first.
//!
//! A component that can't be compiled, or read, makes its functions unavailable and nothing else: their
//! deliveries wait in the store without an attempt, until another component is deployed or one of the
//! later tries succeeds. Never here: a change of what is active.

mod compilation;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use super::context::Context;
use super::scheduler::Scheduler;
use super::snapshot::{Deployed, Snapshot};
use super::tasks::Unfinished;
use super::{Pipeline, Secrets};
use edgebus_model::error::{Error, InputError, Kind};
use edgebus_model::{Code, Digest, Name, Revision};
use edgebus_runtime::capabilities::{self, Kept};
use edgebus_runtime::{self as runtime, Function, Runtime};
use edgebus_store::{Catalog, Page};

pub use compilation::Availability;
pub(super) use compilation::Compilation;

/// Deployments and manifests whose components compile at the same time; each holds its components in memory.
const DEPLOYMENTS_MAX: usize = 2;
/// When a deployment that found no place should come again, in milliseconds.
const DEPLOYMENT_RETRY_MS: u64 = 5_000;
/// Components that are handed to the compiler at the same time.
const AT_ONCE_MAX: usize = 4;
/// How long a component that could not be compiled rests before the next try; doubled each time.
const REST: Duration = Duration::from_secs(10);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(600);

/// The stage that compiles functions: places for deployments, and the line of components.
pub(super) struct Compiler {
    context: Arc<Context>,
    runtime: Arc<dyn Runtime>,
    scheduler: Scheduler,
    places: Semaphore,
    /// Components to be compiled, the next one first. A plain mutex; nothing awaits under it.
    line: Mutex<VecDeque<Job>>,
    /// Told when the line got longer.
    longer: Notify,
}

/// A component in line.
struct Job {
    digest: Digest,
    compilation: Arc<Compilation>,
    /// How long it rests after another failure.
    rest: Duration,
}

impl Job {
    fn new(digest: Digest, compilation: Arc<Compilation>) -> Self {
        Self {
            digest,
            compilation,
            rest: REST,
        }
    }
}

impl Compiler {
    pub(super) fn new(
        context: Arc<Context>,
        runtime: Arc<dyn Runtime>,
        scheduler: Scheduler,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            runtime,
            scheduler,
            places: Semaphore::new(DEPLOYMENTS_MAX),
            line: Mutex::new(VecDeque::new()),
            longer: Notify::new(),
        })
    }

    /// Begins to compile what the start left to come, until `stop` is told or its sender is gone.
    pub(super) fn start(stage: &Arc<Self>, stop: Stop) {
        let own = stage.clone();
        let starting = async move {
            let reading = own.clone();
            let executor = &own.context.executor;
            let jobs = executor.blocking(move || in_order(&reading.context)).await;
            let jobs = match jobs {
                Ok(jobs) => jobs,
                // The task's fate is the reading's.
                Err(Unfinished::Panicked(panic)) => std::panic::resume_unwind(panic),
                Err(Unfinished::Stopped) => return,
            };
            own.push(jobs);
            for _ in 0..own.at_once() {
                own.essential(worker(own.clone(), stop.clone()));
            }
        };
        stage.essential(starting);
    }

    /// Starts a task without which functions would not compile.
    fn essential(&self, work: impl Future<Output = ()> + Send + 'static) {
        let (executor, health) = (&self.context.executor, self.context.health.clone());
        executor.essential_task("compiler", health, work);
    }

    /// How many components are handed to the compiler at the same time.
    fn at_once(&self) -> usize {
        self.context.executor.processors().min(AT_ONCE_MAX)
    }

    /// A place for a deployment, for as long as its components compile.
    ///
    /// # Errors
    /// [`Kind::Busy`] where all are taken.
    pub(super) fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.places.try_acquire().map_err(|_| {
            Error::new(
                Kind::Busy {
                    retry_after_ms: DEPLOYMENT_RETRY_MS,
                },
                format!(
                    "{DEPLOYMENTS_MAX} deployments compile their components already; come back when one is done"
                ),
            )
        })
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, jobs: impl IntoIterator<Item = Job>) {
        self.line().extend(jobs);
        self.longer.notify_waiters();
    }

    /// Puts a component in line whose compilation is not there.
    pub(super) fn again(&self, digest: Digest, compilation: &Arc<Compilation>) {
        self.push([Job::new(digest, compilation.clone())]);
    }

    /// The next component, when there is one.
    async fn next(&self) -> Job {
        loop {
            let longer = self.longer.notified();
            tokio::pin!(longer);
            // From here on nothing that is pushed goes unheard.
            longer.as_mut().enable();
            if let Some(job) = self.line().pop_front() {
                return job;
            }
            longer.await;
        }
    }
}

/// The functions of a catalog, their components still to be compiled, each once.
pub(super) fn to_come(catalog: &Catalog, secrets: &Secrets) -> BTreeMap<Name, Arc<Deployed>> {
    let mut compilations: HashMap<Digest, Arc<Compilation>> = HashMap::new();
    let functions = catalog.functions.iter().map(|revision| {
        let compilation = compilations.entry(revision.digest);
        let compilation = compilation.or_insert_with(Compilation::to_come).clone();
        (
            revision.name.clone(),
            deployed(revision.clone(), compilation, secrets, Arc::default()),
        )
    });
    functions.collect()
}

/// A function with the secrets that it may read, as they are now, and what is kept of it.
pub(super) fn deployed(
    revision: Revision,
    compilation: Arc<Compilation>,
    secrets: &Secrets,
    kept: Arc<Kept>,
) -> Arc<Deployed> {
    let values = secrets_of(&revision, secrets);
    Arc::new(Deployed::new(revision, compilation, values, kept))
}

fn secrets_of(revision: &Revision, secrets: &Secrets) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for name in &revision.config.secrets {
        match secrets(name) {
            Some(value) => {
                found.insert(name.clone(), value);
            }
            None => {
                tracing::warn!(function = %revision.name, secret = %name, "the secret is not set: set EDGEBUS_SECRET_<NAME>, or put it into the folder of --secrets");
            }
        }
    }
    found
}

/// Resolves when the pipeline stops.
type Stop = watch::Receiver<bool>;

async fn stopped(stop: &mut Stop) {
    // A sender that is gone stops it as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What is to be compiled, the components first that have deliveries waiting.
fn in_order(context: &Context) -> Vec<Job> {
    let snapshot = context.snapshot();
    let pending = |own: &&Arc<edgebus_model::Subscription>| {
        let page = context.store.pending_page(own.id, None, Page::one());
        page.is_ok_and(|page| !page.rows.is_empty())
    };
    let subscriptions = snapshot.subscriptions.values().filter(|own| {
        let function = own.target.to.function();
        let to = function.and_then(|function| snapshot.functions.get(function));
        to.is_some_and(|to| !to.available())
    });
    let wanted: HashSet<&Name> = subscriptions
        .filter(pending)
        .filter_map(|own| own.target.to.function())
        .collect();
    let mut seen = HashSet::new();
    let (mut first, mut later) = (Vec::new(), Vec::new());
    let (with, without): (Vec<_>, Vec<_>) = snapshot
        .functions
        .values()
        .partition(|own| wanted.contains(&own.revision.name));
    for (functions, jobs) in [(with, &mut first), (without, &mut later)] {
        for own in functions {
            let digest = own.revision.digest;
            if !own.available() && seen.insert(digest) {
                jobs.push(Job::new(digest, own.compilation.clone()));
            }
        }
    }
    first.append(&mut later);
    first
}

impl Compiler {
    /// Compiles one component of the store and notes what came of it; false if another try is worth it.
    async fn compile_stored(&self, job: &Job) -> bool {
        if job.compilation.function().is_some() {
            return true;
        }
        let result = self.prepare_stored(job.digest).await;
        let failed = result.as_ref().err().cloned();
        job.compilation.end(result.map_err(|(reason, _)| reason));
        let Some((reason, for_good)) = failed else {
            self.scheduler.changed();
            return true;
        };
        let snapshot = self.context.snapshot();
        let named = snapshot.functions.values();
        let mut named = named.filter(|own| Arc::ptr_eq(&own.compilation, &job.compilation));
        // Nobody names it any more.
        let Some(function) = named.next() else {
            return true;
        };
        tracing::error!(
            function = %function.revision.name, others = named.count(), %reason,
            "the function is unavailable: its deliveries wait until it is deployed anew or compiles at a later try (EB0210)"
        );
        for_good
    }

    /// The compiled form of a component of the store, or why there is none, and whether that is for good.
    async fn prepare_stored(&self, digest: Digest) -> Result<Arc<dyn Function>, (String, bool)> {
        let store = self.context.store.clone();
        let read = self
            .context
            .executor
            .blocking(move || store.component(digest));
        let component = match read.await {
            Ok(Ok(Some(component))) => component,
            Ok(Ok(None)) => {
                return Err((
                    format!("its component {digest} is missing from the store"),
                    true,
                ));
            }
            Ok(Err(error)) => {
                self.context.reading_failed("a component", &error);
                return Err((format!("its component can't be read: {error}"), true));
            }
            Err(_) => return Err(("the bus is stopping".to_owned(), true)),
        };
        let prepared = self.runtime.prepare(digest, component).await;
        prepared.map_err(|error| {
            let for_good = error.kind == runtime::error::Kind::Invalid;
            (error.message, for_good)
        })
    }

    /// Compiles a component that is not to be deployed.
    ///
    /// # Errors
    /// As [`Runtime::prepare`].
    pub(super) async fn prepare(
        &self,
        digest: Digest,
        component: Bytes,
    ) -> Result<Arc<dyn Function>, runtime::Error> {
        self.runtime.prepare(digest, component).await
    }

    /// Compiles the components that come with a change, several at a time.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for the first that is no function; [`Kind::Busy`] where no place is free.
    pub(super) async fn compile_new(
        &self,
        components: Vec<(Name, Digest, Bytes)>,
    ) -> Result<HashMap<Digest, Arc<dyn Function>>, Error> {
        let mut compiled = HashMap::with_capacity(components.len());
        if components.is_empty() {
            return Ok(compiled);
        }
        let _place = self.place()?;
        let turns = Arc::new(Semaphore::new(self.at_once()));
        // Dropped before their end, the tasks end.
        let running = components.into_iter().map(|(name, digest, component)| {
            let (runtime, turns) = (self.runtime.clone(), turns.clone());
            let compiling = async move {
                // Nobody closes it.
                let _turn = turns.acquire().await;
                prepare(&*runtime, &name, digest, component).await
            };
            (digest, self.context.executor.task("compiling", compiling))
        });
        for (digest, running) in running.collect::<Vec<_>>() {
            let prepared = running.await;
            let stopped = || Error::new(Kind::Unavailable, "the bus is stopping");
            compiled.insert(digest, prepared.ok_or_else(stopped)??);
        }
        Ok(compiled)
    }
}

impl Pipeline {
    /// Reads the secrets of every function anew; the functions whose values changed.
    pub async fn reload_secrets(&self) -> Vec<Name> {
        // No function is deployed with what was read before.
        let _changing = self.changing.lock().await;
        let snapshot = self.snapshot();
        let mut changed = Vec::new();
        for own in snapshot.functions.values() {
            if own.replace_secrets(secrets_of(&own.revision, &self.secrets)) {
                changed.push(own.revision.name.clone());
            }
        }
        changed
    }
}

/// How many functions are ready, compiling and unavailable, in the order of [`Availability::WORDS`].
pub(super) fn count(snapshot: &Snapshot) -> [u32; 3] {
    let mut counts = [0; 3];
    for own in snapshot.functions.values() {
        let word = own.availability().word();
        let place = Availability::WORDS.iter().position(|own| *own == word);
        if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
            *count += 1;
        }
    }
    counts
}

/// What the capabilities of the active functions show among the metrics.
pub(super) fn metrics(snapshot: &Snapshot) -> String {
    let functions = snapshot.functions.values();
    capabilities::render(functions.map(|own| (own.revision.name.as_str(), &*own.kept)))
}

/// Compiles what is in line until the pipeline stops. What failed goes in line again after its rest.
async fn worker(stage: Arc<Compiler>, mut stop: Stop) {
    loop {
        let mut job = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            job = stage.next() => job,
        };
        let done = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            done = stage.compile_stored(&job) => done,
        };
        if done {
            continue;
        }
        let (resting, mut stop) = (stage.clone(), stop.clone());
        // One for each component at most: it is in no line meanwhile.
        let rest = async move {
            let rest = job.rest;
            job.rest = (rest * 2).min(REST_MAX);
            tokio::select! {
                biased;
                () = stopped(&mut stop) => {}
                () = resting.context.clock.sleep(rest) => resting.push([job]),
            }
        };
        stage.essential(rest);
    }
}

/// Compiles a component that is to be deployed under `name`.
async fn prepare(
    runtime: &dyn Runtime,
    name: &Name,
    digest: Digest,
    component: Bytes,
) -> Result<Arc<dyn Function>, Error> {
    let prepared = runtime.prepare(digest, component).await;
    prepared.map_err(|error| {
        let input_error = InputError {
            pointer: format!("/functions/{name}/component"),
            place: None,
            reason: error.message,
            remedy: String::new(),
        };
        let message = format!("the function `{name}` can't be deployed; nothing was changed");
        Error::invalid(message, vec![input_error]).coded(error.code)
    })
}

/// Why a function can't be called now, for whoever asks to call it.
pub(super) fn unavailable(name: &Name, availability: &Availability) -> Error {
    match availability {
        Availability::Unavailable { reason } => Error::new(
            Kind::Unavailable,
            format!("the function `{name}` is unavailable: {reason}; deploy it anew"),
        )
        .coded(Code::NoLongerCompiles),
        Availability::Ready | Availability::Compiling => Error::new(
            Kind::Unavailable,
            format!("the function `{name}` is being compiled"),
        ),
    }
}
