//! Runs an attempt: makes a fresh instance and polls it to its end within its limits.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ::wasmtime::{Store, UpdateDeadline};
use bytes::Bytes;
use tokio::sync::SemaphorePermit;

use super::bindings::FunctionPre;
use super::bindings::edgebus::function::types as wire;
use super::compile::InProgress;
use super::ending::{self, Stop};
use super::host::Guest;
use super::host_calls::{HostCall, HostCalls};
use super::{EngineShared, HANDLES_MAX, HOSTCALL_FUEL};
use edgebus_model::{Attribute, Data, FunctionLimits, Outcome, TimeoutKind};
use edgebus_runtime::capabilities::Capabilities;
use edgebus_runtime::{Call, Context, Emitted, Function, Invocation, Invoked};

/// A compiled function, linked and ready to be called.
pub(super) struct Compiled {
    /// What all functions share.
    pub(super) shared: Arc<EngineShared>,
    /// The component with its imports resolved.
    pub(super) ready: FunctionPre<Guest>,
    /// How many slots of the pool one instance takes.
    pub(super) slots: u32,
    /// Keeps this function shared among callers of the compiler for as long as it is used.
    pub(super) _known: Arc<InProgress>,
}

/// The result of a guest: its own answer, or the reason why it has none.
type Answered = Result<Result<Vec<wire::NewEvent>, wire::Failure>, ::wasmtime::Error>;

impl Function for Compiled {
    fn invoke<'a>(
        &'a self,
        invocation: Invocation,
        capabilities: &'a mut Capabilities<'_>,
    ) -> Call<'a, Invoked> {
        Box::pin(self.attempt(invocation, capabilities))
    }
}

impl Compiled {
    async fn attempt(
        &self,
        invocation: Invocation,
        capabilities: &mut Capabilities<'_>,
    ) -> Invoked {
        let started = Instant::now();
        let limits = invocation.limits;
        let host_calls = Arc::new(HostCalls::new(limits));
        let mut slot = None;
        let work = async {
            slot = Some(self.slot().await?);
            self.run(&invocation, &host_calls, capabilities).await
        };
        let ended = tokio::time::timeout(Duration::from_millis(limits.timeout_ms_max), work).await;
        let (outcome, emitted) = match ended {
            Ok(Ok(emitted)) => (Outcome::Success, emitted),
            Ok(Err(outcome)) => (outcome, Vec::new()),
            Err(_) if slot.is_none() => {
                let message = format!("no instance was free within {} ms", limits.timeout_ms_max);
                (Outcome::Host { message }, Vec::new())
            }
            Err(_) => {
                let outcome = Outcome::Timeout {
                    kind: TimeoutKind::Wall,
                    limit_ms: limits.timeout_ms_max,
                };
                (outcome, Vec::new())
            }
        };
        Invoked {
            outcome,
            emitted,
            output: host_calls.take_output(),
            duration: started.elapsed(),
        }
    }

    /// Waits until the pool has enough free slots for an instance. So the pool itself never runs out.
    async fn slot(&self) -> Result<SemaphorePermit<'_>, Outcome> {
        let permit = self.shared.slots.acquire_many(self.slots).await;
        permit.map_err(|_| Outcome::Host {
            message: "the runtime has ended".to_owned(),
        })
    }

    async fn run(
        &self,
        invocation: &Invocation,
        host_calls: &Arc<HostCalls>,
        capabilities: &mut Capabilities<'_>,
    ) -> Result<Vec<Emitted>, Outcome> {
        let limits = &FunctionLimits {
            // If there are few addresses, a memory can't grow as far as the manifest may allow.
            memory_bytes_max: invocation
                .limits
                .memory_bytes_max
                .min(self.shared.allocation.memory_bytes_max),
            ..invocation.limits
        };
        let _running = self.shared.ticker.run();
        let mut store = self.store(host_calls, limits);
        let guest = self.call(&mut store, invocation);
        match drive(guest, host_calls, capabilities).await {
            Ok(Ok(events)) => emitted(events, limits),
            Ok(Err(wire::Failure::Retry(retry))) => Err(Outcome::Retry {
                after_ms: retry.after_ms,
                message: retry.message,
            }),
            Ok(Err(wire::Failure::Reject(message))) => Err(Outcome::Reject { message }),
            Err(error) => Err(ending::outcome(
                &error,
                store.data().limiter.denied(),
                &host_calls.last_words(),
                limits,
            )),
        }
    }

    fn store(&self, host_calls: &Arc<HostCalls>, limits: &FunctionLimits) -> Store<Guest> {
        let guest = Guest::new(Arc::clone(host_calls), limits.memory_bytes_max);
        let mut store = Store::new(&self.shared.engine, guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        store.set_max_component_handles(HANDLES_MAX);
        store.set_epoch_deadline(1);
        let host_calls = Arc::clone(host_calls);
        store.epoch_deadline_callback(move |_| {
            if host_calls.cpu_is_over() {
                Err(Stop::Cpu.into())
            } else {
                // At each tick, other attempts get the worker.
                Ok(UpdateDeadline::Yield(1))
            }
        });
        store
    }

    async fn call(&self, store: &mut Store<Guest>, invocation: &Invocation) -> Answered {
        let instance = self.ready.instantiate_async(&mut *store).await?;
        let event = &*invocation.event;
        let texts: Vec<(&str, String)> = event
            .extensions
            .iter()
            .filter_map(|(name, value)| match value {
                Attribute::Text(_) => None,
                Attribute::Integer(number) => Some((name.as_str(), number.to_string())),
                Attribute::Boolean(truth) => Some((name.as_str(), truth.to_string())),
            })
            .collect();
        let mut texts = texts.iter();
        let extensions: Vec<(&str, &str)> = event
            .extensions
            .iter()
            .filter_map(|(name, value)| match value {
                Attribute::Text(text) => Some((name.as_str(), text.as_str())),
                _ => texts.next().map(|(name, text)| (*name, text.as_str())),
            })
            .collect();
        let event = wire::Event {
            id: &event.id,
            source: &event.source,
            type_: &event.kind,
            subject: event.subject.as_deref(),
            time: event.time.as_deref(),
            data_content_type: event.data_content_type.as_deref(),
            data_schema: event.data_schema.as_deref(),
            extensions: &extensions,
            data: match &event.data {
                Data::Absent | Data::Erased(_) => None,
                Data::Json(bytes) => Some(wire::Data::Json(bytes)),
                Data::Opaque(bytes) => Some(wire::Data::Opaque(bytes)),
            },
        };
        let context = context(&invocation.context);
        let handler = instance.edgebus_function_handler();
        handler.call_handle(store, event, context).await
    }
}

fn context(context: &Context) -> wire::Context<'_> {
    wire::Context {
        delivery: &context.delivery,
        idempotency_key: &context.idempotency_key,
        attempt: context.attempt,
        function: &context.function,
        rule: &context.rule,
        bus: &context.bus,
        position: context.position,
        accepted_at_ms: context.accepted_at_ms,
    }
}

/// Polls the guest to its end, and makes its calls meanwhile.
async fn drive(
    guest: impl Future<Output = Answered>,
    host_calls: &HostCalls,
    capabilities: &mut Capabilities<'_>,
) -> Answered {
    let mut guest = pin!(guest);
    loop {
        match step(guest.as_mut(), host_calls).await {
            Step::Ended(answered) => return answered,
            Step::Asked(call) => call(capabilities).await,
        }
    }
}

/// What the guest waits for.
enum Step {
    Ended(Answered),
    Asked(HostCall),
}

async fn step(mut guest: Pin<&mut impl Future<Output = Answered>>, host_calls: &HostCalls) -> Step {
    poll_fn(|context| {
        host_calls.enter();
        match guest.as_mut().poll(context) {
            Poll::Ready(answered) => Poll::Ready(Step::Ended(answered)),
            Poll::Pending => {
                host_calls.leave();
                match host_calls.take_call() {
                    Some(call) => Poll::Ready(Step::Asked(call)),
                    None => Poll::Pending,
                }
            }
        }
    })
    .await
}

/// The guest's events in the runtime's type, if they are within the limits.
fn emitted(events: Vec<wire::NewEvent>, limits: &FunctionLimits) -> Result<Vec<Emitted>, Outcome> {
    let count_max = limits.emits_max;
    if events.len() > usize::try_from(count_max).unwrap_or(usize::MAX) {
        let message = format!("emitted {} events; {count_max} are allowed", events.len());
        return Err(Outcome::Limit { message });
    }
    let emitted: Vec<Emitted> = events.into_iter().map(emit).collect();
    let bytes: usize = emitted.iter().map(size).sum();
    let bytes_max = limits.emit_bytes_max;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > bytes_max {
        let message = format!("emitted {bytes} bytes; {bytes_max} are allowed");
        return Err(Outcome::Limit { message });
    }
    Ok(emitted)
}

fn emit(event: wire::NewEvent) -> Emitted {
    Emitted {
        kind: event.type_,
        bus: event.bus,
        source: event.source,
        subject: event.subject,
        data_content_type: event.data_content_type,
        extensions: event.extensions,
        data: event.data.map(Bytes::from),
    }
}

fn size(event: &Emitted) -> usize {
    let optional = [
        &event.bus,
        &event.source,
        &event.subject,
        &event.data_content_type,
    ];
    let optional: usize = optional.into_iter().flatten().map(String::len).sum();
    let extensions: usize = event
        .extensions
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    event.kind.len() + optional + extensions + event.data.as_ref().map_or(0, Bytes::len)
}
