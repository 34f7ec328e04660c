//! What every runtime must do: one suite, run by each implementation beside its own tests.
//!
//! A [`Subject`] turns a script of [`super::fake`] into a component that does what the script says. Both the
//! script of the component and the event's data (`{"do": SCRIPT}`) tell it, so that a subject uses either.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::error::Kind;
use super::{
    Call, Context, Emitted, Function, GuestServices, Invocation, Invoked, Runtime, ServiceError,
};
use edgebus_model::{Attribute, Data, Digest, Event, FunctionLimits, Outcome, TimeoutKind};

/// An implementation under test.
pub trait Subject: Sync {
    /// The runtime.
    fn runtime(&self) -> Arc<dyn Runtime>;
    /// A component that does what `script` says.
    fn component(&self, script: &str) -> Bytes;
    /// Bytes that are no component.
    fn broken(&self) -> Bytes;
}

/// Services in memory.
#[derive(Default)]
pub struct MemoryServices {
    /// The state.
    pub state: BTreeMap<Vec<u8>, Bytes>,
    /// Writes that are still allowed, if they are counted.
    pub writes_left: Option<u32>,
    /// The store can't answer.
    pub broken: bool,
}

impl MemoryServices {
    fn look(&self) -> Result<(), ServiceError> {
        if self.broken {
            return Err(ServiceError::Host("the store is gone".to_owned()));
        }
        Ok(())
    }

    fn write(&mut self, key: &[u8], value: Option<Bytes>) -> Result<(), ServiceError> {
        self.look()?;
        if let Some(left) = &mut self.writes_left {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| ServiceError::Limit("too many writes".to_owned()))?;
        }
        match value {
            Some(value) => self.state.insert(key.to_vec(), value),
            None => self.state.remove(key),
        };
        Ok(())
    }
}

/// Answers after having been away, as a store on a disk does.
fn later<'a, T: Send + 'a>(value: T) -> Call<'a, T> {
    Box::pin(async move {
        tokio::task::yield_now().await;
        value
    })
}

impl GuestServices for MemoryServices {
    fn state_get<'a>(&'a mut self, key: &'a [u8]) -> Call<'a, Result<Option<Bytes>, ServiceError>> {
        later(self.look().map(|()| self.state.get(key).cloned()))
    }

    fn state_set<'a>(
        &'a mut self,
        key: &'a [u8],
        value: Option<Bytes>,
    ) -> Call<'a, Result<(), ServiceError>> {
        later(self.write(key, value))
    }

    fn state_compare_and_set<'a>(
        &'a mut self,
        key: &'a [u8],
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> Call<'a, Result<bool, ServiceError>> {
        let same = self.state.get(key) == expected.as_ref();
        later(if same {
            self.write(key, new).map(|()| true)
        } else {
            Ok(false)
        })
    }

    fn state_increment<'a>(
        &'a mut self,
        key: &'a [u8],
        delta: i64,
    ) -> Call<'a, Result<i64, ServiceError>> {
        let value = self.state.get(key).map_or(Some(0), |value| {
            std::str::from_utf8(value).ok()?.parse::<i64>().ok()
        });
        let sum = value.and_then(|value| value.checked_add(delta));
        later(match sum {
            Some(sum) => self
                .write(key, Some(Bytes::from(sum.to_string())))
                .map(|()| sum),
            None => Err(ServiceError::Limit("no integer".to_owned())),
        })
    }

    fn state_keys<'a>(
        &'a mut self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: u32,
    ) -> Call<'a, Result<Vec<Vec<u8>>, ServiceError>> {
        let keys = self
            .state
            .keys()
            .filter(|key| key.starts_with(prefix))
            .filter(|key| after.is_none_or(|after| key.as_slice() > after))
            .take(limit as usize)
            .cloned()
            .collect();
        later(self.look().map(|()| keys))
    }

    fn config(&self, key: &str) -> Option<String> {
        (key == "LABEL").then(|| "hot".to_owned())
    }

    fn secret(&self, name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "s3cret".to_owned())
    }
}

/// An event that says what to do.
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

/// The attempt of number `attempt` that handles [`event`].
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
    services: &mut dyn GuestServices,
) -> Invoked {
    let component = subject.component(script);
    let function: Arc<dyn Function> = subject
        .runtime()
        .prepare(Digest::of(&component), component)
        .await
        .expect("the script is a component");
    function
        .invoke(invocation(script, attempt, limits), services)
        .await
}

/// Runs `script` and compares outcome, number of events and output.
async fn check(subject: &dyn Subject, script: &str, outcome: Outcome, emits: usize, output: &str) {
    let mut services = MemoryServices::default();
    let invoked = run(subject, script, 1, FunctionLimits::default(), &mut services).await;
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

/// Everything.
pub async fn check_all(subject: &dyn Subject) {
    check_answers(subject).await;
    check_effects(subject).await;
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
    check(subject, "log a\nlog b\nok", ok(), 0, "INFO a\nINFO b\n").await;
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
    check(subject, "config LABEL", ok(), 0, "INFO Some(\"hot\")\n").await;
    check(subject, "config OTHER", ok(), 0, "INFO None\n").await;
    check(subject, "secret TOKEN", ok(), 0, "INFO Some(\"s3cret\")\n").await;
    check(subject, "secret OTHER", ok(), 0, "INFO None\n").await;

    let mut services = MemoryServices::default();
    let limits = FunctionLimits::default();
    let invoked = run(subject, "until 3\nemit x", 3, limits, &mut services).await;
    let expected = Emitted {
        kind: "x".to_owned(),
        data: Some(Bytes::from_static(b"17")),
        ..Emitted::default()
    };
    assert_eq!(invoked.emitted, [expected]);

    let invoked = run(subject, "log a\ntrap over", 1, limits, &mut services).await;
    assert_eq!(invoked.outcome.class(), "trap");
    assert!(invoked.output.starts_with("INFO a\n"));
}

async fn check_effects(subject: &dyn Subject) {
    let mut services = MemoryServices::default();
    let limits = FunctionLimits::default();
    for _ in 0..2 {
        let invoked = run(subject, "count a\ncount b", 1, limits, &mut services).await;
        assert_eq!(invoked.outcome, Outcome::Success);
    }
    assert_eq!(services.state[b"a".as_slice()], "2");
    let invoked = run(subject, "swap a\nswap c\nkeys ", 1, limits, &mut services).await;
    assert_eq!(invoked.output, "INFO false\nINFO true\nINFO a b c\n");
}

async fn check_refusals(subject: &dyn Subject) {
    let limits = FunctionLimits::default();
    let mut services = MemoryServices {
        writes_left: Some(1),
        ..MemoryServices::default()
    };
    let invoked = run(
        subject,
        "count a\ncount b\nemit x",
        1,
        limits,
        &mut services,
    )
    .await;
    let limit = Outcome::Limit {
        message: "too many writes".to_owned(),
    };
    assert_eq!(invoked.outcome, limit);
    assert!(invoked.emitted.is_empty());

    let mut services = MemoryServices {
        broken: true,
        ..MemoryServices::default()
    };
    let invoked = run(subject, "count a", 1, limits, &mut services).await;
    let host = Outcome::Host {
        message: "the store is gone".to_owned(),
    };
    assert_eq!(invoked.outcome, host);

    let limits = FunctionLimits {
        emits_max: 2,
        ..limits
    };
    let mut services = MemoryServices::default();
    let invoked = run(subject, "emit a\nemit a\nemit a", 1, limits, &mut services).await;
    assert_eq!(invoked.outcome.class(), "limit");
    assert!(invoked.emitted.is_empty());
}

async fn check_time(subject: &dyn Subject) {
    let limits = FunctionLimits {
        timeout_ms_max: 200,
        ..FunctionLimits::default()
    };
    let mut services = MemoryServices::default();
    let invoked = run(subject, "log a\nhang", 1, limits, &mut services).await;
    let timeout = Outcome::Timeout {
        kind: TimeoutKind::Wall,
        limit_ms: 200,
    };
    assert_eq!(invoked.outcome, timeout);
    assert_eq!(invoked.output, "INFO a\n");
}
