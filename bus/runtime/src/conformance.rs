//! What every runtime must do: one suite of tests, which each implementation runs beside its own.
//!
//! A [`Subject`] turns a script of [`super::fake`] into a component that runs the script. The script is given
//! in two ways: with the component, and in the event's data (`{"do": SCRIPT}`). A subject may use either.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::capabilities::{self, Capabilities, Capability, Given, Kept, replay, state};
use super::error::Kind;
use super::{Call, Context, Emitted, Function, Invocation, Invoked, Runtime, ServiceError};
use edgebus_model::{
    Attribute, Data, Digest, Event, FunctionConfig, FunctionLimits, Outcome, TimeoutKind,
};

/// An implementation under test.
pub trait Subject: Sync {
    /// The runtime.
    fn runtime(&self) -> Arc<dyn Runtime>;
    /// A component that runs `script`.
    fn component(&self, script: &str) -> Bytes;
    /// Bytes that are no component.
    fn broken(&self) -> Bytes;
}

/// A bus in memory: what it gives to attempts, and what they have left behind.
#[derive(Default)]
pub struct MemoryBus {
    /// The state that successful attempts have written.
    pub state: BTreeMap<Vec<u8>, Bytes>,
    /// True if the store can't answer.
    pub broken: bool,
    /// What capabilities keep of the function.
    pub kept: Arc<Kept>,
}

impl MemoryBus {
    /// Runs one attempt, and settles it.
    pub async fn run(&mut self, function: &dyn Function, invocation: Invocation) -> Invoked {
        let config = FunctionConfig {
            limits: invocation.limits,
            config: pair("LABEL", "hot"),
            ..FunctionConfig::default()
        };
        let mut source = Source {
            state: &self.state,
            broken: self.broken,
        };
        let mut capabilities = Capabilities::new(Given {
            function: &config,
            secrets: Arc::new(pair("TOKEN", "s3cret")),
            state: &mut source,
            kept: &self.kept,
            replay: invocation.context.replay.clone(),
        });
        let invoked = function.invoke(invocation, &mut capabilities).await;
        let effects = capabilities.end();
        if invoked.outcome.is_success() {
            for (key, value) in effects.state {
                match value {
                    Some(value) => self.state.insert(key, value),
                    None => self.state.remove(&key),
                };
            }
        }
        effects.later.take_effect(&invoked.outcome);
        invoked
    }
}

impl MemoryBus {
    /// What `/metrics` shows of the function, which is called `task`.
    #[must_use]
    pub fn metrics(&self) -> String {
        capabilities::render([("task", &*self.kept)].into_iter())
    }
}

fn pair(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

/// The state of a [`MemoryBus`] during an attempt.
struct Source<'s> {
    state: &'s BTreeMap<Vec<u8>, Bytes>,
    broken: bool,
}

impl Source<'_> {
    /// Returns the value after one wait, as a store on a disk does.
    fn later<'a, T: Send + 'a>(&self, value: T) -> Call<'a, Result<T, ServiceError>> {
        let broken = self.broken;
        Box::pin(async move {
            tokio::task::yield_now().await;
            if broken {
                return Err(ServiceError::Host("the store is gone".to_owned()));
            }
            Ok(value)
        })
    }
}

impl state::Source for Source<'_> {
    fn get<'a>(&'a mut self, key: &'a [u8]) -> Call<'a, Result<Option<Bytes>, ServiceError>> {
        self.later(self.state.get(key).cloned())
    }

    fn keys<'a>(
        &'a mut self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
        writes: &'a state::Writes,
    ) -> Call<'a, Result<Vec<Vec<u8>>, ServiceError>> {
        let mut keys: BTreeSet<_> = self.state.keys().cloned().collect();
        for (key, value) in writes {
            match value {
                Some(_) => keys.insert(key.clone()),
                None => keys.remove(key),
            };
        }
        let keys = keys
            .into_iter()
            .filter(|key| key.starts_with(prefix))
            .filter(|key| after.is_none_or(|after| key.as_slice() > after))
            .take(limit);
        self.later(keys.collect())
    }
}

/// An event that contains a script.
pub fn event(script: &str) -> Event {
    let data = serde_json::json!({ "do": script }).to_string();
    Event {
        id: "e-1".to_owned(),
        source: "/conformance".to_owned(),
        kind: "com.example.task".to_owned(),
        subject: Some("subject".to_owned()),
        time: Some("2026-11-21T06:30:16Z".to_owned()),
        data_content_type: Some("application/json".to_owned()),
        data_schema: None,
        extensions: vec![
            ("tenant".to_owned(), Attribute::Text("blue".to_owned())),
            ("number".to_owned(), Attribute::Integer(-7)),
            ("flag".to_owned(), Attribute::Boolean(true)),
        ],
        data: Data::Json(Bytes::from(data)),
    }
}

/// Attempt number `attempt`, which handles [`event`].
pub fn invocation(script: &str, attempt: u32, limits: FunctionLimits) -> Invocation {
    Invocation {
        event: Arc::new(event(script)),
        context: Context {
            delivery: "3-17".to_owned(),
            idempotency_key: "key".to_owned(),
            attempt,
            function: "task".to_owned(),
            rule: "tasks".to_owned(),
            bus: "default".to_owned(),
            position: 17,
            accepted_at_ms: 1_795_243_816_000,
            replay: None,
        },
        limits,
    }
}

/// Prepares `script` and runs it once.
pub async fn run(
    subject: &dyn Subject,
    script: &str,
    attempt: u32,
    limits: FunctionLimits,
    bus: &mut MemoryBus,
) -> Invoked {
    let component = subject.component(script);
    let function: Arc<dyn Function> = subject
        .runtime()
        .prepare(Digest::of(&component), component)
        .await
        .expect("the script is a component");
    let invocation = invocation(script, attempt, limits);
    bus.run(&*function, invocation).await
}

/// Runs `script` and compares the outcome, the number of events and the output.
async fn check(subject: &dyn Subject, script: &str, outcome: Outcome, emits: usize, output: &str) {
    let mut bus = MemoryBus::default();
    let invoked = run(subject, script, 1, FunctionLimits::default(), &mut bus).await;
    assert_eq!(invoked.outcome, outcome, "{script}");
    assert_eq!(invoked.emitted.len(), emits, "{script}");
    assert_eq!(invoked.output, output, "{script}");
}

fn retry(after_ms: Option<u64>, message: &str) -> Outcome {
    Outcome::Retry {
        after_ms,
        message: message.to_owned(),
    }
}

/// Runs all checks.
pub async fn check_all(subject: &dyn Subject) {
    check_answers(subject).await;
    for capability in Capability::ALL {
        check_capability(capability, subject).await;
    }
    check_refusals(subject).await;
    check_time(subject).await;
    let error = subject
        .runtime()
        .prepare(Digest([0; 32]), subject.broken())
        .await
        .err()
        .expect("broken bytes are refused");
    assert_eq!(error.kind, Kind::Invalid);
}

async fn check_answers(subject: &dyn Subject) {
    let ok = || Outcome::Success;
    check(subject, "ok", ok(), 0, "").await;
    check(subject, "emit x\nemit y", ok(), 2, "").await;
    let reject = Outcome::Reject {
        message: "bad order".to_owned(),
    };
    check(
        subject,
        "log a\nemit x\nreject bad order",
        reject,
        0,
        "INFO a\n",
    )
    .await;
    check(
        subject,
        "retry 1500 busy now",
        retry(Some(1_500), "busy now"),
        0,
        "",
    )
    .await;
    check(subject, "until 3", retry(None, "attempt 1"), 0, "").await;

    let mut bus = MemoryBus::default();
    let limits = FunctionLimits::default();
    let invoked = run(subject, "until 3\nemit x", 3, limits, &mut bus).await;
    let expected = Emitted {
        kind: "x".to_owned(),
        data: Some(Bytes::from_static(b"17")),
        ..Emitted::default()
    };
    assert_eq!(invoked.emitted, [expected]);

    let invoked = run(subject, "log a\ntrap over", 1, limits, &mut bus).await;
    assert_eq!(invoked.outcome.class(), "trap");
    assert!(invoked.output.starts_with("INFO a\n"));
}

/// Checks what a guest gets from a capability in every runtime.
async fn check_capability(capability: Capability, subject: &dyn Subject) {
    let ok = || Outcome::Success;
    match capability {
        Capability::State => check_state(subject).await,
        Capability::Config => {
            check(subject, "config LABEL", ok(), 0, "INFO Some(\"hot\")\n").await;
            check(subject, "config OTHER", ok(), 0, "INFO None\n").await;
        }
        Capability::Secrets => {
            check(subject, "secret TOKEN", ok(), 0, "INFO Some(\"s3cret\")\n").await;
            check(subject, "secret OTHER", ok(), 0, "INFO None\n").await;
        }
        Capability::Log => {
            check(subject, "log a\nlog b\nok", ok(), 0, "INFO a\nINFO b\n").await;
        }
        Capability::Metrics => check_metrics(subject).await,
        Capability::Replay => check_replay(subject).await,
    }
}

async fn check_replay(subject: &dyn Subject) {
    check(subject, "replay", Outcome::Success, 0, "INFO live\n").await;
    let component = subject.component("replay");
    let function = subject
        .runtime()
        .prepare(Digest::of(&component), component)
        .await
        .expect("the script is a component");
    let mut invocation = invocation("replay", 1, FunctionLimits::default());
    invocation.context.replay = Some(replay::Info {
        name: "repair".to_owned(),
        number: 4,
    });
    let invoked = MemoryBus::default().run(&*function, invocation).await;
    assert_eq!(invoked.output, "INFO repair 4\n");
}

async fn check_metrics(subject: &dyn Subject) {
    let limits = FunctionLimits::default();
    let mut bus = MemoryBus::default();
    for script in ["tick a\ntick a\ntook b 2", "tick a\nreject no"] {
        let invoked = run(subject, script, 1, limits, &mut bus).await;
        assert_eq!(invoked.output, "", "{script}");
    }
    let text = bus.metrics();
    for line in [
        "edgebus_function_count_total{function=\"task\",name=\"a\",outcome=\"failure\"} 1",
        "edgebus_function_count_total{function=\"task\",name=\"a\",outcome=\"success\"} 2",
        "edgebus_function_time_seconds_sum{function=\"task\",name=\"b\",outcome=\"success\"} 0.002",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
    // A count that is dropped is reported. It does not end the attempt.
    let script = "tick 9\ntick 9\ntick a";
    let invoked = run(subject, script, 1, limits, &mut bus).await;
    assert_eq!(invoked.outcome, Outcome::Success);
    let told = "WARN the metric `9` is not counted: ";
    assert!(invoked.output.starts_with(told), "{}", invoked.output);
    assert_eq!(invoked.output.lines().count(), 1, "{}", invoked.output);
    let dropped = "edgebus_function_metrics_dropped_total{function=\"task\"} 2";
    let text = bus.metrics();
    assert!(text.lines().any(|own| own == dropped), "{text}");
}

async fn check_state(subject: &dyn Subject) {
    let mut bus = MemoryBus::default();
    let limits = FunctionLimits::default();
    for _ in 0..2 {
        let invoked = run(subject, "count a\ncount b", 1, limits, &mut bus).await;
        assert_eq!(invoked.outcome, Outcome::Success);
    }
    assert_eq!(bus.state[b"a".as_slice()], "2");
    let invoked = run(subject, "swap a\nswap c\nkeys ", 1, limits, &mut bus).await;
    assert_eq!(invoked.output, "INFO false\nINFO true\nINFO a b c\n");
}

async fn check_refusals(subject: &dyn Subject) {
    let limits = FunctionLimits {
        state_writes_max: 1,
        ..FunctionLimits::default()
    };
    let mut bus = MemoryBus::default();
    let script = "count a\ncount b\nemit x";
    let invoked = run(subject, script, 1, limits, &mut bus).await;
    let limit = Outcome::Limit {
        message: "wrote more than 1 state keys in one attempt".to_owned(),
    };
    assert_eq!(invoked.outcome, limit);
    assert!(invoked.emitted.is_empty());
    assert!(bus.state.is_empty());

    let limits = FunctionLimits::default();
    let mut bus = MemoryBus {
        broken: true,
        ..MemoryBus::default()
    };
    let invoked = run(subject, "count a", 1, limits, &mut bus).await;
    let host = Outcome::Host {
        message: "the store is gone".to_owned(),
    };
    assert_eq!(invoked.outcome, host);

    let limits = FunctionLimits {
        emits_max: 2,
        ..limits
    };
    let mut bus = MemoryBus::default();
    let invoked = run(subject, "emit a\nemit a\nemit a", 1, limits, &mut bus).await;
    assert_eq!(invoked.outcome.class(), "limit");
    assert!(invoked.emitted.is_empty());
}

async fn check_time(subject: &dyn Subject) {
    let limits = FunctionLimits {
        timeout_ms_max: 200,
        ..FunctionLimits::default()
    };
    let mut bus = MemoryBus::default();
    let invoked = run(subject, "log a\nhang", 1, limits, &mut bus).await;
    let timeout = Outcome::Timeout {
        kind: TimeoutKind::Wall,
        limit_ms: 200,
    };
    assert_eq!(invoked.outcome, timeout);
    assert_eq!(invoked.output, "INFO a\n");
}
