//! The bus's side of the compiler process: starts it, exchanges data with it, and interprets how it ended.
//!
//! The child is this same program (`inside.rs` is its side). It is killed when its time is over, or when
//! nobody waits for it any more.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::answer::{Answer, Failure};
use super::inside::Job;
use crate::engine::Layout;
use crate::trusted::Code;
use edgebus_model as model;
use edgebus_runtime::error::{Error, Kind};

/// The largest compiled code of one component, in bytes, because the bus keeps it in memory.
const CODE_BYTES_MAX: u64 = 256 << 20;
/// How much of the child's standard error is kept. The rest is read and dropped.
const ERRORS_BYTES_MAX: u64 = 4 << 10;

/// The limits of one compilation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    /// Memory of the child, in bytes.
    pub(super) memory_bytes_max: u64,
    /// Wall-clock time.
    pub(super) time_max: Duration,
}

/// How a child ended.
struct Ended {
    status: ExitStatus,
    answer: Result<Answer, Failure>,
    /// What it wrote on standard error.
    errors: String,
}

/// Compiles `component` in a child process.
pub(super) async fn compile(
    program: &Path,
    layout: Layout,
    bounds: Bounds,
    component: &Bytes,
) -> Result<Code, Error> {
    let mut child = start(program, layout, bounds, component.len()).map_err(|error| {
        let message = format!(
            "the process that compiles can't be started ({}): {error}",
            program.display()
        );
        Error::new(Kind::Host, message)
    })?;
    let talked = tokio::time::timeout(bounds.time_max, talk(&mut child, component)).await;
    match talked {
        Ok(Ok(ended)) => judge(ended, bounds),
        Ok(Err(error)) => {
            let message = format!("the process that compiles can't be waited for: {error}");
            Err(Error::new(Kind::Host, message))
        }
        Err(_) => {
            // It is also killed when it is dropped. Waiting for it here leaves no zombie process.
            drop(child.kill().await);
            Err(too_long(bounds))
        }
    }
}

fn start(
    program: &Path,
    layout: Layout,
    bounds: Bounds,
    component_bytes: usize,
) -> std::io::Result<Child> {
    let job = Job {
        layout,
        component_bytes,
        memory_bytes_max: bounds.memory_bytes_max,
        time_max: bounds.time_max,
    };
    let mut command = Command::new(program);
    command
        .args(job.words())
        // The environment contains secrets. A compiler only needs the path of its libraries.
        .env_clear()
        .envs(
            std::env::var_os("LD_LIBRARY_PATH")
                .map(|path| (OsString::from("LD_LIBRARY_PATH"), path)),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A signal from the terminal is for the bus, which ends the child when it has ended.
        .process_group(0)
        .kill_on_drop(true);
    command.spawn()
}

async fn talk(child: &mut Child, component: &Bytes) -> std::io::Result<Ended> {
    let gone = || std::io::Error::other("it has no pipes");
    let mut input = child.stdin.take().ok_or_else(gone)?;
    let output = child.stdout.take().ok_or_else(gone)?;
    let errors = child.stderr.take().ok_or_else(gone)?;
    // A child that ends early doesn't read all of its input. Its answer says why. The input stays open until
    // then.
    let (_, answer, errors) = tokio::join!(
        input.write_all(component),
        Answer::read(output, CODE_BYTES_MAX),
        first_bytes(errors)
    );
    let status = child.wait().await?;
    drop(input);
    Ok(Ended {
        status,
        answer,
        errors,
    })
}

async fn first_bytes(mut from: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // Errors are ignored. Standard error is read to its end, so that the child never blocks.
    drop(
        (&mut from)
            .take(ERRORS_BYTES_MAX)
            .read_to_end(&mut bytes)
            .await,
    );
    drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn judge(ended: Ended, bounds: Bounds) -> Result<Code, Error> {
    let Ended {
        status,
        answer,
        errors,
    } = ended;
    let reason = errors.lines().next().unwrap_or_default();
    match answer {
        Ok(Answer::Code(code)) if status.success() => {
            return Ok(Code::from_own_compiler(code));
        }
        Ok(Answer::Refused(reason)) => return Err(refused(&reason)),
        Ok(Answer::Memory) => return Err(too_much(bounds)),
        Err(Failure::TooLong(length)) => {
            let message = format!(
                "the compiled code has {length} bytes; {CODE_BYTES_MAX} are allowed. Leave out what is not needed"
            );
            return Err(large(message));
        }
        Ok(Answer::Code(_)) | Err(Failure::Broken) => {}
    }
    let signal = status.signal().and_then(Signal::from_named_raw);
    match signal {
        Some(Signal::XCPU) => Err(too_long(bounds)),
        // Rust's message for an allocation that failed.
        Some(Signal::ABORT) if errors.contains("memory allocation of ") => Err(too_much(bounds)),
        Some(Signal::KILL) => Err(Error::new(
            Kind::Host,
            "the process that compiles was killed, perhaps because the machine has no memory left; \
             deploy again, or compile where there is more",
        )),
        Some(signal) => Err(Error::new(
            Kind::Invalid,
            format!(
                "the compiler crashed on the component (signal {}: {reason}); please report it with the component",
                signal.as_raw()
            ),
        )
        .coded(model::Code::ComponentNotCompiled)),
        None => Err(Error::new(
            Kind::Host,
            format!("the process that compiles ended without an answer ({status}): {reason}"),
        )),
    }
}

/// The error for a component that can't be compiled.
pub(super) fn refused(reason: &str) -> Error {
    let message = format!("the component doesn't compile: {reason}");
    Error::new(Kind::Invalid, message).coded(model::Code::ComponentNotCompiled)
}

fn large(message: String) -> Error {
    Error::new(Kind::TooLarge, message).coded(model::Code::ComponentNotCompiled)
}

fn too_long(bounds: Bounds) -> Error {
    large(format!(
        "compiling takes longer than {} s: leave out what is not needed, or allow more with --compile-seconds",
        bounds.time_max.as_secs()
    ))
}

fn too_much(bounds: Bounds) -> Error {
    large(format!(
        "compiling needs more than {} MiB of memory: leave out what is not needed, or allow more with --compile-mib",
        bounds.memory_bytes_max >> 20
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        memory_bytes_max: 64 << 20,
        time_max: Duration::from_secs(7),
    };

    fn check(
        raw_status: i32,
        answer: Result<Answer, Failure>,
        errors: &str,
        expected: Option<(Kind, &str)>,
    ) {
        let ended = Ended {
            status: ExitStatus::from_raw(raw_status),
            answer,
            errors: errors.to_owned(),
        };
        match (judge(ended, BOUNDS), expected) {
            (Ok(_), None) => {}
            (Err(error), Some((kind, words))) => {
                assert_eq!(error.kind, kind, "{error}");
                assert!(error.message.contains(words), "{error}");
            }
            (judged, expected) => unreachable!("{:?}, not {expected:?}", judged.err()),
        }
    }

    #[test]
    fn each_end_of_a_child_has_its_meaning() {
        let code = || Ok(Answer::Code(vec![1]));
        let broken = || Err(Failure::Broken);
        let (exit_1, abort, segv, kill, xcpu) = (1 << 8, 6, 11, 9, 24);
        check(0, code(), "", None);
        check(
            exit_1,
            code(),
            "oh",
            Some((Kind::Host, "without an answer")),
        );
        let refused = Ok(Answer::Refused("bad magic".to_owned()));
        check(
            0,
            refused,
            "",
            Some((Kind::Invalid, "doesn't compile: bad magic")),
        );
        let memory = Some((Kind::TooLarge, "more than 64 MiB"));
        check(0, Ok(Answer::Memory), "", memory);
        check(
            abort,
            broken(),
            "memory allocation of 8 bytes failed",
            memory,
        );
        let time = Some((Kind::TooLarge, "longer than 7 s"));
        check(xcpu, broken(), "", time);
        let long = Err(Failure::TooLong(1 << 40));
        check(exit_1, long, "", Some((Kind::TooLarge, "compiled code")));
        let crash = Some((Kind::Invalid, "crashed"));
        check(segv, broken(), "has overflowed its stack", crash);
        check(abort, broken(), "thread 'compile' panicked", crash);
        check(kill, broken(), "", Some((Kind::Host, "killed")));
        check(
            exit_1,
            broken(),
            "what",
            Some((Kind::Host, "ended without")),
        );
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_the_hosts_fault() {
        let component = Bytes::from_static(b"x");
        let program = Path::new("/nowhere/edgebus");
        let compiled = compile(program, Layout::Moving, BOUNDS, &component).await;
        let error = compiled.err().expect("there is no such program");
        assert_eq!(error.kind, Kind::Host);
        assert!(error.message.contains("/nowhere/edgebus"), "{error}");
    }
}
