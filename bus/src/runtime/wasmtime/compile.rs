//! The compiler's thread: one component at a time, behind a bounded queue, at a low priority.
//!
//! Attempts go on beside it at their usual speed: on Linux the priority of the thread alone is lowered
//! (its nice value; elsewhere the thread stays as it is), and Cranelift uses no other thread. Time is
//! bounded between functions: the code cache is asked before each of them, and gives up when time is over.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Instant;

use ::wasmtime::component::{Component, Linker};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::bindings::FunctionPre;
use super::cache::{Cache, Store, TimeOver};
use super::host::{self, Guest};
use super::instance::Compiled;
use super::{Machine, Settings, TABLES_PER_SLOT, check};
use crate::model::{Code, Digest};
use crate::runtime::error::{Error, Kind};

/// Components that wait for the compiler.
const QUEUE_MAX: usize = 16;
/// Added to the thread's nice value.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// Cranelift recurses over what a guest's author wrote.
const STACK_BYTES: usize = 16 << 20;

struct Job {
    digest: Digest,
    component: Bytes,
    done: oneshot::Sender<Result<Compiled, Error>>,
}

/// A handle on the thread; it ends when this is dropped and its queue is empty.
pub(super) struct Compiler {
    jobs: SyncSender<Job>,
}

impl Compiler {
    /// Starts the thread.
    pub(super) fn start(
        machine: Arc<Machine>,
        cache: Arc<Cache>,
        settings: Settings,
    ) -> Result<Self, ::wasmtime::Error> {
        let mut linker = Linker::new(&machine.engine);
        host::link(&mut linker)?;
        let store = Store::open(&settings, &machine.engine)?;
        let worker = Worker {
            machine,
            linker,
            cache,
            store,
            settings,
        };
        let (jobs, inbox) = sync_channel(QUEUE_MAX);
        thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || worker.work(&inbox))?;
        Ok(Self { jobs })
    }

    /// Compiles `component`, or finds it compiled.
    pub(super) async fn compile(
        &self,
        digest: Digest,
        component: Bytes,
    ) -> Result<Compiled, Error> {
        let (done, answer) = oneshot::channel();
        let job = Job {
            digest,
            component,
            done,
        };
        let ended = || Error::new(Kind::Host, "the compiler has ended");
        match self.jobs.try_send(job) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(ended())),
            Err(TrySendError::Full(_)) => {
                let message = format!("{QUEUE_MAX} components wait for the compiler; try again");
                Err(Error::new(Kind::Host, message))
            }
            Err(TrySendError::Disconnected(_)) => Err(ended()),
        }
    }
}

/// What the thread owns.
struct Worker {
    machine: Arc<Machine>,
    linker: Linker<Guest>,
    cache: Arc<Cache>,
    store: Option<Store>,
    settings: Settings,
}

impl Worker {
    fn work(self, inbox: &Receiver<Job>) {
        lower_priority();
        while let Ok(job) = inbox.recv() {
            if job.done.is_closed() {
                continue;
            }
            let result = self.prepare(job.digest, &job.component);
            // The one who asked may have gone.
            drop(job.done.send(result));
        }
    }

    fn prepare(&self, digest: Digest, bytes: &[u8]) -> Result<Compiled, Error> {
        check::check_bytes(bytes)?;
        let kept = self.store.as_ref().and_then(|store| store.read(digest));
        self.cache
            .begin(kept, Instant::now() + self.settings.compile_time_max);
        let compiled = panic::catch_unwind(AssertUnwindSafe(|| {
            Component::from_binary(&self.machine.engine, bytes)
        }));
        let changed = self.cache.end();
        let component = match compiled {
            Ok(Ok(component)) => component,
            Ok(Err(error)) => {
                let message = format!("the component doesn't compile: {error:#}");
                return Err(Error::new(Kind::Invalid, message).coded(Code::ComponentNotCompiled));
            }
            Err(panic) if panic.is::<TimeOver>() => {
                let message = format!(
                    "compiling took longer than {} s",
                    self.settings.compile_time_max.as_secs()
                );
                return Err(Error::new(Kind::TooLarge, message).coded(Code::ComponentNotCompiled));
            }
            Err(_) => return Err(Error::new(Kind::Host, "the compiler panicked")),
        };
        check::check_world(&self.machine.engine, &component)?;
        let slots = self.slots(&component)?;
        let ready = self
            .linker
            .instantiate_pre(&component)
            .map_err(|error| check::unlinkable(&error))?;
        check::check_types(&ready)?;
        let ready = FunctionPre::new(ready).map_err(|error| check::unlinkable(&error))?;
        if let (Some(store), Some(entries)) = (&self.store, changed) {
            store.write(digest, &entries);
        }
        Ok(Compiled {
            machine: Arc::clone(&self.machine),
            ready,
            slots,
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
        if slots > self.settings.instances_max {
            let message = format!(
                "the component takes {slots} of the pool's {} slots",
                self.settings.instances_max
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(slots)
    }
}

/// Linux keeps a nice value for each thread, against POSIX: so this is about the caller only.
#[cfg(target_os = "linux")]
fn lower_priority() {
    // Compiling at the usual priority is no fault worth a word.
    let _ = rustix::process::getpriority_process(None)
        .and_then(|nice| rustix::process::setpriority_process(None, nice.saturating_add(NICENESS)));
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {}
