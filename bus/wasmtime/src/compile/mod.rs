//! Compiles each component in its own process, and keeps the compiled code.
//!
//! The component decides how long the compiler takes and how much memory it needs, and a compiler has no
//! limits of its own. So each compilation has its own process (`child.rs` is the bus's side, `inside.rs` the
//! process itself), and the system limits it. The process can be killed at any moment, and all its memory is
//! freed. A few run at the same time, and a bounded number waits.
//!
//! If several callers want the same component, it is compiled once, and they share one function as long as
//! one of them holds it. Code that was compiled before comes from `cache.rs`. Never here: code that another
//! program compiled.

mod answer;
mod child;
mod inside;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use ::wasmtime::component::{Component, Linker};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::bindings::FunctionPre;
use super::cache::Cache;
use super::engine::TABLES_PER_SLOT;
use super::host::{self, Guest};
use super::instance::Compiled;
use super::trusted::Code;
use super::{EngineShared, Settings, check};
use edgebus_model::Digest;
use edgebus_runtime::error::{Error, Kind};

pub use inside::compile_if_told;

/// The hidden command that compiles.
const COMMAND: &str = "compile-component";
/// How many components may wait for the compiler.
const WAITING_MAX: usize = 64;
/// The nice value is raised by this much for compiling.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// Cranelift recurses over input from a guest's author, so its stack is large.
const STACK_BYTES: usize = 16 << 20;
/// Memory of one compilation, in bytes, if the machine has enough.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// With less memory than this, one compilation runs at a time.
const MEMORY_BYTES_FOR_TWO: u64 = 4 << 30;

/// The place in which components are compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CompileIn {
    /// A child process with limits. It runs this program with arguments for [`compile_if_told`].
    Child(PathBuf),
    /// This process, without any limit. Only for tests and benchmarks of known components.
    Here,
}

/// How components are compiled.
#[derive(Clone, Debug)]
pub struct Compiling {
    /// The place.
    pub place: CompileIn,
    /// How long compiling one component may take.
    pub time_max: Duration,
    /// Memory of one compilation, in bytes. With `None` it depends on the memory of the machine.
    pub memory_bytes_max: Option<u64>,
}

impl Default for Compiling {
    fn default() -> Self {
        Self {
            place: CompileIn::Here,
            time_max: Duration::from_secs(60),
            memory_bytes_max: None,
        }
    }
}

/// The compiler, and the functions that it has made.
pub(super) struct Compiler {
    inside: Arc<Inside>,
    /// Compilations at the same time.
    places: Arc<Semaphore>,
    /// Compilations that run or wait for a place.
    queue: Semaphore,
    /// Code that is loaded at the same time.
    loads: Arc<Semaphore>,
    /// The components that are being compiled, and the functions that are in use. Locked only for moments.
    known: Mutex<HashMap<Digest, Weak<InProgress>>>,
    compiling: Compiling,
    bounds: child::Bounds,
}

/// One component. The first caller compiles it, and the others wait.
#[derive(Default)]
pub(super) struct InProgress {
    /// Held while the function is made. It has the last result for those that waited meanwhile.
    gate: tokio::sync::Mutex<Option<Result<Weak<Compiled>, Error>>>,
}

/// What the threads that load code share.
struct Inside {
    shared: Arc<EngineShared>,
    linker: Linker<Guest>,
    cache: Option<Cache>,
}

impl Compiler {
    /// A compiler without work. It starts threads and processes when they are needed.
    pub(super) fn new(
        shared: Arc<EngineShared>,
        settings: &Settings,
    ) -> Result<Self, ::wasmtime::Error> {
        let mut linker = Linker::new(&shared.engine);
        host::link(&mut linker)?;
        let cache = Cache::open(settings, &shared.engine)?;
        let memory_bytes = settings.memory_bytes;
        let at_once = if memory_bytes < MEMORY_BYTES_FOR_TWO {
            1
        } else {
            2
        };
        let compiling = settings.compiling.clone();
        let memory_bytes_max = compiling
            .memory_bytes_max
            .unwrap_or_else(|| MEMORY_BYTES_MAX.min(memory_bytes / 2));
        let loads = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            inside: Arc::new(Inside {
                shared,
                linker,
                cache,
            }),
            places: Arc::new(Semaphore::new(at_once)),
            queue: Semaphore::new(WAITING_MAX + at_once),
            loads: Arc::new(Semaphore::new(loads)),
            known: Mutex::default(),
            bounds: child::Bounds {
                memory_bytes_max,
                time_max: compiling.time_max,
            },
            compiling,
        })
    }

    /// The function for `component`: one that exists already, one whose code was kept, or one that is
    /// compiled now.
    ///
    /// Dropping the future ends its compilation. If others wait for the same component, one of them starts
    /// again.
    pub(super) async fn function(
        &self,
        digest: Digest,
        component: Bytes,
    ) -> Result<Arc<Compiled>, Error> {
        let known = self.known(digest);
        let mut last = known.gate.lock().await;
        match &*last {
            Some(Ok(function)) => {
                if let Some(function) = function.upgrade() {
                    return Ok(function);
                }
            }
            Some(Err(error)) => return Err(error.clone()),
            None => {}
        }
        let made = self.make(digest, component, &known).await;
        *last = Some(match &made {
            Ok(function) => Ok(Arc::downgrade(function)),
            Err(error) => Err(error.clone()),
        });
        made
    }

    fn known(&self, digest: Digest) -> Arc<InProgress> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&digest).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, known| known.strong_count() > 0);
        let known = Arc::new(InProgress::default());
        all.insert(digest, Arc::downgrade(&known));
        known
    }

    async fn make(
        &self,
        digest: Digest,
        component: Bytes,
        known: &Arc<InProgress>,
    ) -> Result<Arc<Compiled>, Error> {
        check::check_bytes(&component)?;
        if self.inside.cache.is_some() {
            let (inside, owner) = (Arc::clone(&self.inside), Arc::clone(known));
            let kept = on_thread(self.load().await?, move || inside.kept(digest, owner));
            if let Some(function) = kept.await? {
                return Ok(Arc::new(function));
            }
        }
        let code = self.compile(component).await?;
        let (inside, owner) = (Arc::clone(&self.inside), Arc::clone(known));
        let finished = on_thread(self.load().await?, move || {
            let function = inside.finish(&code, owner)?;
            if let Some(cache) = &inside.cache {
                cache.write(digest, &code);
            }
            Ok(function)
        });
        finished.await?.map(Arc::new)
    }

    async fn load(&self) -> Result<OwnedSemaphorePermit, Error> {
        let permit = Arc::clone(&self.loads).acquire_owned().await;
        permit.map_err(|_| ended())
    }

    async fn compile(&self, component: Bytes) -> Result<Code, Error> {
        let Ok(_waits) = self.queue.try_acquire() else {
            let message = format!("{WAITING_MAX} components wait for the compiler; try again");
            return Err(Error::new(Kind::Host, message));
        };
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| ended())?;
        match &self.compiling.place {
            CompileIn::Child(program) => {
                let layout = self.inside.shared.allocation.layout;
                child::compile(program, layout, self.bounds, &component).await
            }
            CompileIn::Here => {
                let engine = self.inside.shared.engine.clone();
                let compiled = on_thread(place, move || {
                    lower_priority();
                    engine.precompile_component(&component)
                });
                let code = compiled.await?;
                code.map(Code::from_own_compiler)
                    .map_err(|error| child::refused(&format!("{error:#}")))
            }
        }
    }
}

impl Inside {
    /// The function from the code that was kept, if there is some.
    fn kept(&self, digest: Digest, known: Arc<InProgress>) -> Option<Compiled> {
        let code = self.cache.as_ref()?.read(digest)?;
        // An error of the kept code is ignored: the component is compiled again, which reports errors.
        self.finish(&code, known).ok()
    }

    /// Makes a function from `code`.
    fn finish(&self, code: &Code, known: Arc<InProgress>) -> Result<Compiled, Error> {
        // The code comes from our own compiler. So the error is that the component needs more than the pool
        // has.
        let component = code.load(&self.shared.engine).map_err(|error| {
            let message = format!("the component asks for more than it can get: {error:#}");
            Error::new(Kind::Invalid, message)
        })?;
        check::check_world(&self.shared.engine, &component)?;
        let slots = self.slots(&component)?;
        let ready = self
            .linker
            .instantiate_pre(&component)
            .map_err(|error| check::unlinkable(&error))?;
        check::check_types(&ready)?;
        let ready = FunctionPre::new(ready).map_err(|error| check::unlinkable(&error))?;
        Ok(Compiled {
            shared: Arc::clone(&self.shared),
            ready,
            slots,
            _known: known,
        })
    }

    /// How many slots of the pool an instance takes.
    fn slots(&self, component: &Component) -> Result<u32, Error> {
        let Some(needs) = component.resources_required() else {
            let message = "the component imports a module: link it in when you build it";
            return Err(Error::new(Kind::Invalid, message));
        };
        let tables = needs.num_tables.div_ceil(TABLES_PER_SLOT);
        let slots = needs.num_memories.max(tables).max(1);
        let instances_max = self.shared.allocation.instances_max;
        if slots > instances_max {
            let message =
                format!("the component takes {slots} of the pool's {instances_max} slots");
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(slots)
    }
}

fn ended() -> Error {
    Error::new(Kind::Host, "the compiler has ended")
}

/// Runs `work` on its own thread, which has a stack for a compiler and ends afterwards. `permit` bounds the
/// number of threads. It is held to the end, even if nobody waits any more.
async fn on_thread<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    thread::Builder::new()
        .name("compile".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // The caller may have stopped waiting.
            drop(done.send(work()));
            drop(permit);
        })
        .map_err(|error| Error::new(Kind::Host, format!("the system gives no thread: {error}")))?;
    let panicked = |_| Error::new(Kind::Host, "the compiler panicked");
    answer.await.map_err(panicked)
}

/// On Linux, unlike in POSIX, a nice value belongs to a thread. So this affects only the calling thread.
#[cfg(target_os = "linux")]
fn lower_priority() {
    // Compiling with normal priority is not worth an error.
    let _ = rustix::process::getpriority_process(None)
        .and_then(|nice| rustix::process::setpriority_process(None, nice.saturating_add(NICENESS)));
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {}
