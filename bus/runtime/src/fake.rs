//! A runtime for tests of the pipeline: its components are short scripts, so no WebAssembly is needed.
//!
//! Each attempt runs the script line by line. After the last line it succeeds.
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
//! | `source TEXT`, `media TEXT` | the last emitted event has this source, this type of data |
//! | `count KEY` | adds 1 to the state under KEY |
//! | `swap KEY` | puts `1` under KEY if there is no value, and logs whether it did |
//! | `keys PREFIX` | logs the first ten keys |
//! | `none PREFIX` | it succeeds at once if there are keys |
//! | `mark PREFIX` | puts `1` under PREFIX with the event's position |
//! | `same KEY KEY` | it ends with a rejection if the two values differ |
//! | `need KEY GATE` | reads KEY, waits at GATE, and ends with a rejection if there was no value |
//! | `gate NAME` | waits until the test opens the [`Gate`] |
//! | `at POSITION LINE` | the line, if the event has this position |
//! | `log MESSAGE` | logs a line |
//! | `show` | logs the event's data |
//! | `config KEY`, `secret NAME` | logs the value |
//! | `replay` | logs the name and number of the delivery's replay, or `live` |
//! | `tick NAME` | adds 1 to the counter of the metric NAME |
//! | `took NAME MS` | adds a time to the metric NAME |
//! | `hang` | waits for an hour: the wall-clock limit ends it |
//! | `memory` | it ends over its memory |
//! | `spin` | it ends over its processor time |
//!
//! A component that begins with any other word doesn't compile. Never here: limits on processor time and
//! memory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::capabilities::Capabilities;
use super::capabilities::log::Level;
use super::error::{Error, Kind};
use super::{Call, Emitted, Function, Invocation, Invoked, Runtime, ServiceError};
use edgebus_model::{Data, Digest, Outcome, TimeoutKind};

/// Runs scripts.
#[derive(Default)]
pub struct FakeRuntime;

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
    Source(String),
    Media(String),
    Count(String),
    Swap(String),
    Keys(String),
    None(String),
    Mark(String),
    Same(String, String),
    Need(String, String),
    Gate(String),
    At(u64, Box<Line>),
    Log(String),
    Show,
    Config(String),
    Secret(String),
    Replay,
    Tick(String),
    Took(String, Duration),
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
        "source" => Line::Source(text()),
        "media" => Line::Media(text()),
        "count" => Line::Count(text()),
        "swap" => Line::Swap(text()),
        "keys" => Line::Keys(text()),
        "none" => Line::None(text()),
        "mark" => Line::Mark(text()),
        "gate" => Line::Gate(text()),
        "tick" => Line::Tick(text()),
        "same" | "need" | "at" | "took" => {
            let (first, second) = argument.split_once(' ').ok_or_else(|| unknown(line))?;
            match word {
                "same" => Line::Same(first.to_owned(), second.to_owned()),
                "need" => Line::Need(first.to_owned(), second.to_owned()),
                "took" => {
                    let ms = second.parse().map_err(|_| unknown(line))?;
                    Line::Took(first.to_owned(), Duration::from_millis(ms))
                }
                _ => Line::At(
                    first.parse().map_err(|_| unknown(line))?,
                    Box::new(parse(second)?),
                ),
            }
        }
        "log" => Line::Log(text()),
        "show" => Line::Show,
        "config" => Line::Config(text()),
        "secret" => Line::Secret(text()),
        "replay" => Line::Replay,
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
        capabilities: &'a mut Capabilities<'_>,
    ) -> Call<'a, Invoked> {
        Box::pin(async move {
            let started = Instant::now();
            let limit_ms = invocation.limits.timeout_ms_max;
            let mut attempt = Attempt {
                invocation: &invocation,
                emitted: Vec::new(),
                output: String::new(),
            };
            let work = attempt.run(&self.0, capabilities);
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
        capabilities: &mut Capabilities<'_>,
    ) -> Result<(), Outcome> {
        for line in lines {
            let line = match line {
                Line::At(position, line) if *position == self.invocation.context.position => line,
                Line::At(..) => continue,
                line => line,
            };
            if let Line::None(prefix) = line {
                let state = &mut capabilities.state;
                let keys = state.keys(prefix.as_bytes(), None, 10).await;
                if !keys.map_err(refused)?.is_empty() {
                    break;
                }
            }
            self.obey(line, capabilities).await?;
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

    async fn obey(
        &mut self,
        line: &Line,
        capabilities: &mut Capabilities<'_>,
    ) -> Result<(), Outcome> {
        let context = &self.invocation.context;
        let limits = &self.invocation.limits;
        let state = &mut capabilities.state;
        match line.clone() {
            Line::Nothing | Line::None(_) | Line::At(..) => {}
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
            Line::Source(source) => {
                if let Some(last) = self.emitted.last_mut() {
                    last.source = Some(source);
                }
            }
            Line::Media(media_type) => {
                if let Some(last) = self.emitted.last_mut() {
                    last.data_content_type = Some(media_type);
                }
            }
            Line::Count(key) => {
                let sum = state.increment(key.as_bytes(), 1).await;
                sum.map_err(refused)?;
            }
            Line::Swap(key) => {
                let one = Some(Bytes::from_static(b"1"));
                let swapped = state.compare_and_set(key.as_bytes(), None, one).await;
                self.log(&swapped.map_err(refused)?.to_string());
            }
            Line::Keys(prefix) => {
                let keys = state.keys(prefix.as_bytes(), None, 10).await;
                self.log(&joined(&keys.map_err(refused)?));
            }
            Line::Mark(prefix) => {
                let key = format!("{prefix}{}", context.position);
                let one = Some(Bytes::from_static(b"1"));
                state.set(key.as_bytes(), one).map_err(refused)?;
            }
            Line::Same(one, other) => {
                let one = state.get(one.as_bytes()).await.map_err(refused)?;
                let other = state.get(other.as_bytes()).await;
                if one != other.map_err(refused)? {
                    let message = "the values differ".to_owned();
                    return Err(Outcome::Reject { message });
                }
            }
            Line::Need(key, name) => {
                let found = state.get(key.as_bytes()).await.map_err(refused)?;
                Gate::named(&name).pass().await;
                if found.is_none() {
                    let message = format!("there is no {key}");
                    return Err(Outcome::Reject { message });
                }
            }
            Line::Gate(name) => Gate::named(&name).pass().await,
            Line::Log(message) => self.log(&message),
            Line::Show => match &self.invocation.event.data {
                Data::Json(data) => self.log(&String::from_utf8_lossy(data)),
                other => self.log(&format!("{other:?}")),
            },
            Line::Config(key) => self.log(&format!("{:?}", capabilities.config.get(&key))),
            Line::Replay => {
                let current = capabilities.replay.current();
                let told = current.map(|own| format!("{} {}", own.name, own.number));
                self.log(told.as_deref().unwrap_or("live"));
            }
            Line::Secret(name) => self.log(&format!("{:?}", capabilities.secrets.get(&name))),
            Line::Tick(name) => self.warn(capabilities.metrics.count(&name, 1)),
            Line::Took(name, time) => self.warn(capabilities.metrics.time(&name, time)),
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
        self.say(Level::Info, message);
    }

    fn warn(&mut self, dropped: Option<String>) {
        if let Some(reason) = dropped {
            self.say(Level::Warn, &reason);
        }
    }

    fn say(&mut self, level: Level, message: &str) {
        let level = level.word();
        writeln!(self.output, "{level} {message}").expect("a string takes everything");
    }
}

/// A place where attempts wait for the test.
pub struct Gate {
    waiting: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// The gate that scripts call `name`. Each test uses its own names.
    pub fn named(name: &str) -> Arc<Self> {
        static GATES: Mutex<BTreeMap<String, Arc<Gate>>> = Mutex::new(BTreeMap::new());
        let mut gates = GATES.lock().expect("no test panics under this lock");
        let gate = gates.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Self {
                waiting: watch::Sender::new(0),
                open: watch::Sender::new(false),
            })
        });
        gate.clone()
    }

    async fn pass(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    /// Returns when this many attempts have reached the gate.
    pub async fn reached_by(&self, attempts: usize) {
        let mut waiting = self.waiting.subscribe();
        let _ = waiting.wait_for(|waiting| *waiting >= attempts).await;
    }

    /// Lets all attempts through from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

fn refused(error: ServiceError) -> Outcome {
    match error {
        ServiceError::Limit(message) => Outcome::Limit { message },
        ServiceError::Host(message) => Outcome::Host { message },
        ServiceError::Conflict => Outcome::Conflict,
    }
}

/// The keys in one line.
fn joined(keys: &[Vec<u8>]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|key| String::from_utf8_lossy(key))
        .collect();
    keys.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Subject, check_all};

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
