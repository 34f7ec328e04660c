//! The process that compiles one component and ends. It is a child of the bus.
//!
//! Its input may make the compiler run for ever, use all memory or crash. So the process limits itself before
//! it reads anything. It has a low priority, and when memory runs out, the system kills it before the bus. It
//! opens no file of the bus and has nothing of its environment. It ends when the bus does, which it notices
//! by its standard input.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::answer::Answer;
use super::{COMMAND, STACK_BYTES, lower_priority};
use crate::engine::{self, Layout};

/// Addresses in addition to the memory that may be used: for the program itself, stacks, and what the
/// allocator reserves.
const ADDRESSES_BESIDE: u64 = 512 << 20;
/// A longer reason is cut.
const REASON_BYTES_MAX: usize = 4 << 10;

/// The task of the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// The layout for which the code is compiled.
    pub(super) layout: Layout,
    /// The length of the component. Its bytes come on standard input.
    pub(super) component_bytes: usize,
    /// The memory that it may use, in bytes.
    pub(super) memory_bytes_max: u64,
    /// The processor time that it may use.
    pub(super) time_max: Duration,
}

impl Job {
    /// The command-line arguments that describe it.
    pub(super) fn words(&self) -> [String; 5] {
        [
            COMMAND.to_owned(),
            self.layout.word().to_owned(),
            self.component_bytes.to_string(),
            self.memory_bytes_max.to_string(),
            self.time_max.as_secs().to_string(),
        ]
    }

    /// The job that the arguments after the command describe.
    fn of_words(words: &[OsString]) -> Option<Self> {
        let [layout, component_bytes, memory_bytes_max, seconds] = words else {
            return None;
        };
        Some(Self {
            layout: Layout::of_word(layout.to_str()?)?,
            component_bytes: component_bytes.to_str()?.parse().ok()?,
            memory_bytes_max: memory_bytes_max.to_str()?.parse().ok()?,
            time_max: Duration::from_secs(seconds.to_str()?.parse().ok()?),
        })
    }
}

/// Compiles one component if `words`, the arguments after the program's name, come from a bus that wants this
/// process to compile. Returns `None` for other arguments.
pub fn compile_if_told(mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if words.next()? != COMMAND {
        return None;
    }
    let words: Vec<OsString> = words.collect();
    let compiled = Job::of_words(&words)
        .ok_or_else(|| io::Error::other("only a bus calls this command"))
        .and_then(compile_from_input);
    Some(match compiled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// Reads a component from standard input and writes its code to standard output.
///
/// # Errors
/// If the bus has gone, or the system gives no thread.
fn compile_from_input(job: Job) -> io::Result<()> {
    confine(&job);
    let mut component = Vec::with_capacity(job.component_bytes);
    let length = u64::try_from(job.component_bytes).unwrap_or(u64::MAX);
    io::stdin()
        .lock()
        .take(length)
        .read_to_end(&mut component)?;
    if component.len() < job.component_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    thread::Builder::new()
        .name("parent".to_owned())
        .spawn(end_with_parent)?;
    let compiling = thread::Builder::new()
        .name("compile".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || compile(job.layout, &component))?;
    let answer = compiling
        .join()
        .map_err(|_| io::Error::other("the compiler panicked"))?;
    answer.write(&mut io::stdout().lock())
}

fn compile(layout: Layout, component: &[u8]) -> Answer {
    let compiled = engine::build_for_compiling(layout)
        .and_then(|engine| engine.precompile_component(component));
    match compiled {
        Ok(code) => Answer::Code(code),
        Err(error) => {
            let mut reason = format!("{error:#}");
            if is_out_of_memory(&reason) {
                return Answer::Memory;
            }
            reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
            Answer::Refused(reason)
        }
    }
}

/// Most failed allocations end the process. A failed mapping is an error with the system's message.
fn is_out_of_memory(reason: &str) -> bool {
    reason.contains("os error 12") || reason.contains("out of memory")
}

/// Waits for the end of standard input. The bus keeps it open as long as it wants the answer.
fn end_with_parent() {
    // Nothing more comes, so this returns at the end of the input.
    drop(io::stdin().lock().read(&mut [0]));
    std::process::exit(1);
}

/// Limits this process. A limit that the system refuses is skipped, because the bus also watches the time.
fn confine(job: &Job) {
    let seconds = job.time_max.as_secs().saturating_add(1);
    limit(Resource::Cpu, seconds);
    limit(Resource::Core, 0);
    limit(Resource::Data, job.memory_bytes_max);
    limit(
        Resource::As,
        job.memory_bytes_max.saturating_add(ADDRESSES_BESIDE),
    );
    lower_priority();
    // When memory runs out, the system kills this process before the bus.
    drop(fs::write("/proc/self/oom_score_adj", "1000"));
}

fn limit(resource: Resource, most: u64) {
    let Rlimit { current, maximum } = getrlimit(resource);
    let lower = |now: Option<u64>| Some(now.map_or(most, |now| now.min(most)));
    let limits = Rlimit {
        current: lower(current),
        maximum: lower(maximum),
    };
    // See `confine`.
    let _ = setrlimit(resource, limits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_refused_with_a_reason() {
        let Answer::Refused(reason) = compile(Layout::Moving, b"\0asm\x0d\0\x01\0 nonsense") else {
            unreachable!("nonsense compiles to nothing");
        };
        assert!(reason.contains("offset"), "{reason}");
        let empty = compile(Layout::Moving, b"\0asm\x0d\0\x01\0");
        assert!(matches!(empty, Answer::Code(_)), "{empty:?}");
    }

    #[test]
    fn an_allocation_that_failed_is_told_from_a_fault() {
        assert!(is_out_of_memory(
            "failed to create mmap: Cannot allocate memory (os error 12)"
        ));
        assert!(!is_out_of_memory("unexpected end-of-file (at offset 0x9)"));
    }
}
