//! A runtime for tests of the pipeline: its components are short scripts, so no WebAssembly is needed.
//!
//! A script is run line by line, for each attempt anew; after the last line the attempt succeeds.
//!
//! | line | what happens |
//! |---|---|
//! | `ok`, or nothing | nothing |
//! | `reject MESSAGE` | the attempt ends with a rejection |
//! | `retry MS MESSAGE`, `retry MESSAGE` | it ends asking for another attempt, perhaps after a delay |
//! | `until NUMBER` | it ends asking for another attempt, unless this is attempt NUMBER or a later one |
//! | `break NUMBER` | the host fails, unless this is attempt NUMBER or a later one |
//! | `trap MESSAGE` | it ends with a trap |
//! | `emit TYPE` | one more event, with the position as its JSON data |
//! | `count KEY` | adds 1 to the state under KEY |
//! | `swap KEY` | puts `1` under KEY if there is no value, and logs whether it did |
//! | `keys PREFIX` | logs the first ten keys |
//! | `log MESSAGE` | logs a line |
//! | `show` | logs the event's data |
//! | `config KEY`, `secret NAME` | logs the value |
//! | `hang` | waits for an hour: the wall-clock limit ends it |
//! | `memory` | it ends over its memory |
//! | `spin` | it ends over its processor time |
//!
//! Components of any other word don't compile. Never here: limits on processor time and memory.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::{Error, Kind};
use super::{Call, Emitted, Function, GuestServices, Invocation, Invoked, Runtime, ServiceError};
use crate::model::{Data, Digest, Outcome, TimeoutKind};

/// Runs scripts.
#[derive(Default)]
pub(crate) struct FakeRuntime;

/// A script's line.
#[derive(Clone, Debug)]
enum Line {
    Nothing,
    Reject(String),
    Retry(Option<u64>, String),
    Until(u32),
    Break(u32),
    Trap(String),
    Emit(String),
    Count(String),
    Swap(String),
    Keys(String),
    Log(String),
    Show,
    Config(String),
    Secret(String),
    Hang,
    Memory,
    Spin,
}

struct Script(Vec<Line>);

impl Runtime for FakeRuntime {
    fn prepare(
        &self,
        _digest: Digest,
        component: Bytes,
    ) -> Call<'_, Result<Arc<dyn Function>, Error>> {
        Box::pin(async move {
            let script = String::from_utf8_lossy(&component);
            let lines: Result<_, _> = script.lines().map(parse).collect();
            Ok(Arc::new(Script(lines?)) as Arc<dyn Function>)
        })
    }
}

fn parse(line: &str) -> Result<Line, Error> {
    let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
    let text = || argument.to_owned();
    Ok(match word {
        "" | "ok" => Line::Nothing,
        "reject" => Line::Reject(text()),
        "retry" => {
            let (delay, message) = argument.split_once(' ').unwrap_or((argument, ""));
            match delay.parse() {
                Ok(delay) => Line::Retry(Some(delay), message.to_owned()),
                Err(_) => Line::Retry(None, message.to_owned()),
            }
        }
        "until" => Line::Until(argument.parse().map_err(|_| unknown(line))?),
        "break" => Line::Break(argument.parse().map_err(|_| unknown(line))?),
        "trap" => Line::Trap(text()),
        "emit" => Line::Emit(text()),
        "count" => Line::Count(text()),
        "swap" => Line::Swap(text()),
        "keys" => Line::Keys(text()),
        "log" => Line::Log(text()),
        "show" => Line::Show,
        "config" => Line::Config(text()),
        "secret" => Line::Secret(text()),
        "hang" => Line::Hang,
        "memory" => Line::Memory,
        "spin" => Line::Spin,
        _ => return Err(unknown(line)),
    })
}

fn unknown(line: &str) -> Error {
    Error::new(Kind::Invalid, format!("no script has the line `{line}`"))
}

impl Function for Script {
    fn invoke<'a>(
        &'a self,
        invocation: Invocation,
        services: &'a mut dyn GuestServices,
    ) -> Call<'a, Invoked> {
        Box::pin(async move {
            let started = Instant::now();
            let limit_ms = invocation.limits.timeout_ms_max;
            let mut attempt = Attempt {
                invocation: &invocation,
                emitted: Vec::new(),
                output: String::new(),
            };
            let work = attempt.run(&self.0, services);
            let ended = tokio::time::timeout(Duration::from_millis(limit_ms), work).await;
            let outcome = match ended {
                Ok(Ok(())) => Outcome::Success,
                Ok(Err(outcome)) => outcome,
                Err(_) => Outcome::Timeout {
                    kind: TimeoutKind::Wall,
                    limit_ms,
                },
            };
            if !outcome.is_success() {
                attempt.emitted.clear();
            }
            Invoked {
                outcome,
                emitted: attempt.emitted,
                output: attempt.output,
                duration: started.elapsed(),
            }
        })
    }
}

struct Attempt<'a> {
    invocation: &'a Invocation,
    emitted: Vec<Emitted>,
    output: String,
}

impl Attempt<'_> {
    async fn run(
        &mut self,
        lines: &[Line],
        services: &mut dyn GuestServices,
    ) -> Result<(), Outcome> {
        for line in lines {
            self.obey(line, services).await?;
        }
        let limits = &self.invocation.limits;
        if self.emitted.len() > usize::try_from(limits.emits_max).unwrap_or(usize::MAX) {
            let message = format!(
                "emitted {} events; {} are allowed",
                self.emitted.len(),
                limits.emits_max
            );
            return Err(Outcome::Limit { message });
        }
        Ok(())
    }

    async fn obey(&mut self, line: &Line, services: &mut dyn GuestServices) -> Result<(), Outcome> {
        let context = &self.invocation.context;
        let limits = &self.invocation.limits;
        match line.clone() {
            Line::Nothing => {}
            Line::Reject(message) => return Err(Outcome::Reject { message }),
            Line::Retry(after_ms, message) => return Err(Outcome::Retry { after_ms, message }),
            Line::Until(attempt) if context.attempt < attempt => {
                return Err(Outcome::Retry {
                    after_ms: None,
                    message: format!("attempt {}", context.attempt),
                });
            }
            Line::Break(attempt) if context.attempt < attempt => {
                let message = format!("broken at attempt {}", context.attempt);
                return Err(Outcome::Host { message });
            }
            Line::Until(_) | Line::Break(_) => {}
            Line::Trap(message) => return Err(Outcome::Trap { message }),
            Line::Emit(kind) => self.emitted.push(Emitted {
                kind,
                data: Some(Bytes::from(context.position.to_string())),
                ..Emitted::default()
            }),
            Line::Count(key) => {
                let sum = services.state_increment(key.as_bytes(), 1).await;
                sum.map_err(refused)?;
            }
            Line::Swap(key) => {
                let one = Some(Bytes::from_static(b"1"));
                let swapped = services
                    .state_compare_and_set(key.as_bytes(), None, one)
                    .await;
                self.log(&swapped.map_err(refused)?.to_string());
            }
            Line::Keys(prefix) => {
                let keys = services.state_keys(prefix.as_bytes(), None, 10).await;
                let keys = keys.map_err(refused)?;
                let keys: Vec<_> = keys
                    .iter()
                    .map(|key| String::from_utf8_lossy(key))
                    .collect();
                self.log(&keys.join(" "));
            }
            Line::Log(message) => self.log(&message),
            Line::Show => match &self.invocation.event.data {
                Data::Json(data) => self.log(&String::from_utf8_lossy(data)),
                other => self.log(&format!("{other:?}")),
            },
            Line::Config(key) => self.log(&format!("{:?}", services.config(&key))),
            Line::Secret(name) => self.log(&format!("{:?}", services.secret(&name))),
            Line::Hang => tokio::time::sleep(Duration::from_secs(3_600)).await,
            Line::Memory => {
                return Err(Outcome::Memory {
                    limit_bytes: limits.memory_bytes_max,
                });
            }
            Line::Spin => {
                return Err(Outcome::Timeout {
                    kind: TimeoutKind::Cpu,
                    limit_ms: limits.cpu_ms_max,
                });
            }
        }
        Ok(())
    }

    fn log(&mut self, message: &str) {
        writeln!(self.output, "INFO {message}").expect("a string takes everything");
    }
}

fn refused(error: ServiceError) -> Outcome {
    match error {
        ServiceError::Limit(message) => Outcome::Limit { message },
        ServiceError::Host(message) => Outcome::Host { message },
    }
}

mod tests {
    use super::*;
    use crate::runtime::conformance::{Subject, check_all};

    struct Fake;

    impl Subject for Fake {
        fn runtime(&self) -> Arc<dyn Runtime> {
            Arc::new(FakeRuntime)
        }

        fn component(&self, script: &str) -> Bytes {
            Bytes::from(script.to_owned())
        }

        fn broken(&self) -> Bytes {
            Bytes::from_static(b"no script")
        }
    }

    #[tokio::test]
    async fn it_conforms() {
        check_all(&Fake).await;
    }
}
