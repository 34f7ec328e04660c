//! Tests with real guests: the conformance suite, every hostile guest, and the code cache.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use edgebus_model::{FunctionLimits, Outcome, TimeoutKind};
use edgebus_runtime::conformance::{MemoryBus, Subject, check_all, invocation};
use edgebus_runtime::{Invoked, Runtime};

#[path = "../../../tests/support/guests.rs"]
mod guests;

/// One runtime for all tests: a pool reserves many addresses.
fn runtime() -> Arc<WasmtimeRuntime> {
    static RUNTIME: OnceLock<Arc<WasmtimeRuntime>> = OnceLock::new();
    Arc::clone(RUNTIME.get_or_init(|| Arc::new(fresh(Settings::default()))))
}

fn fresh(settings: Settings) -> WasmtimeRuntime {
    fresh_with(settings, 64)
}

fn fresh_with(settings: Settings, instances_max: u32) -> WasmtimeRuntime {
    let settings = Settings {
        instances_max,
        ..settings
    };
    WasmtimeRuntime::new(settings).expect("the machine has addresses and threads")
}

/// The hostile guest; the event tells it what to do.
async fn hostile() -> Arc<dyn Function> {
    static FUNCTION: tokio::sync::OnceCell<Arc<dyn Function>> = tokio::sync::OnceCell::const_new();
    let prepare = async || prepare(&runtime(), guests::component("hostile")).await;
    Arc::clone(FUNCTION.get_or_init(prepare).await)
}

async fn prepare(runtime: &WasmtimeRuntime, component: Vec<u8>) -> Arc<dyn Function> {
    let component = Bytes::from(component);
    let prepared = runtime.prepare(Digest::of(&component), component).await;
    prepared.expect("the component is a function")
}

async fn attempt(script: &str, limits: FunctionLimits) -> Invoked {
    let mut bus = MemoryBus::default();
    let function = hostile().await;
    bus.run(&*function, invocation(script, 1, limits)).await
}

fn limits() -> FunctionLimits {
    FunctionLimits {
        cpu_ms_max: 100,
        timeout_ms_max: 20_000,
        ..FunctionLimits::default()
    }
}

struct Wasmtime;

impl Subject for Wasmtime {
    fn runtime(&self) -> Arc<dyn Runtime> {
        runtime()
    }

    fn component(&self, _script: &str) -> Bytes {
        Bytes::from(guests::component("hostile"))
    }

    fn broken(&self) -> Bytes {
        Bytes::from_static(b"\0asm\x0d\0\x01\0 and then nonsense")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    check_all(&Wasmtime).await;
}

#[tokio::test]
async fn a_panic_is_a_trap_with_a_readable_backtrace() {
    let invoked = attempt("log before\ntrap down", limits()).await;
    let Outcome::Trap { message } = &invoked.outcome else {
        unreachable!("{:?}", invoked.outcome);
    };
    let (first, _) = message.split_once('\n').expect("frames follow");
    assert!(
        first.starts_with("panicked at tests/guests/hostile/src/lib.rs:")
            && first.ends_with(": the guest fell over: down"),
        "{message}"
    );
    assert!(message.contains("\n  at hostile::fall_over"), "{message}");
    assert!(!message.contains("0x"), "no addresses: {message}");
    assert!(
        message.lines().count() <= 1 + ending::FRAMES_MAX,
        "{message}"
    );
    assert!(invoked.output.starts_with("INFO before\n"));
    assert!(
        invoked.output.contains("the guest fell over: down"),
        "{}",
        invoked.output
    );
}

#[tokio::test]
async fn spinning_ends_with_the_processor_time() {
    let invoked = attempt("print started\nspin", limits()).await;
    let timeout = Outcome::Timeout {
        kind: TimeoutKind::Cpu,
        limit_ms: 100,
    };
    assert_eq!(invoked.outcome, timeout);
    assert_eq!(invoked.output, "started\n");
}

#[tokio::test]
async fn spinning_ends_with_the_wall_clock_if_that_is_shorter() {
    let limits = FunctionLimits {
        cpu_ms_max: 60_000,
        timeout_ms_max: 150,
        ..limits()
    };
    let invoked = attempt("spin", limits).await;
    let timeout = Outcome::Timeout {
        kind: TimeoutKind::Wall,
        limit_ms: 150,
    };
    assert_eq!(invoked.outcome, timeout);
    assert!(invoked.duration < Duration::from_secs(5));
}

#[tokio::test]
async fn waiting_costs_no_processor_time() {
    // If they counted, 50 waits of 20 ms each would be ten times the limit. A whole tick for each would be
    // five times the limit.
    let invoked = attempt("nap 50", limits()).await;
    assert_eq!(invoked.outcome, Outcome::Success);
    assert!(invoked.duration > Duration::from_millis(1_000));
}

#[tokio::test]
async fn hoarding_ends_with_the_memory() {
    let limits = FunctionLimits {
        memory_bytes_max: 16 << 20,
        cpu_ms_max: 10_000,
        ..limits()
    };
    let invoked = attempt("hoard", limits).await;
    let memory = Outcome::Memory {
        limit_bytes: 16 << 20,
    };
    assert_eq!(invoked.outcome, memory);
    assert!(invoked.output.starts_with("has 0 MiB\n"));
    let invoked = attempt("hoard 8", limits).await;
    assert_eq!(invoked.outcome, Outcome::Success);
}

#[tokio::test]
async fn deep_recursion_is_a_trap() {
    let invoked = attempt("recurse", limits()).await;
    let Outcome::Trap { message } = &invoked.outcome else {
        unreachable!("{:?}", invoked.outcome);
    };
    assert!(
        message.starts_with("call stack exhausted\n  at hostile::recurse\n"),
        "{message}"
    );
    assert!(
        message.lines().count() <= 1 + ending::FRAMES_MAX,
        "{message}"
    );
}

#[tokio::test]
async fn endless_output_is_cut_and_ends_with_the_processor_time() {
    for script in ["flood-output", "flood-log"] {
        let limits = FunctionLimits {
            output_bytes_max: 1_000,
            ..limits()
        };
        let invoked = attempt(script, limits).await;
        assert_eq!(invoked.outcome.class(), "timeout", "{script}");
        assert!(invoked.output.len() <= 1_000, "{script}");
        assert!(
            invoked.output.contains("bytes left out …\n"),
            "{}",
            invoked.output
        );
    }
}

#[tokio::test]
async fn what_a_panic_says_survives_all_other_output() {
    // It writes ten thousand lines of each kind first, and one line without an end.
    let limits = FunctionLimits {
        output_bytes_max: 2_000,
        cpu_ms_max: 10_000,
        ..limits()
    };
    let invoked = attempt(
        "log first\nchatter 10000\nprint-part half a line\ntrap at last",
        limits,
    )
    .await;
    let Outcome::Trap { message } = &invoked.outcome else {
        unreachable!("{:?}", invoked.outcome);
    };
    let said = ": the guest fell over: at last\n";
    assert!(message.starts_with("panicked at "), "{message}");
    assert!(message.contains(said), "{message}");
    let output = &invoked.output;
    assert!(output.starts_with("INFO first\n"), "{output}");
    assert!(
        output.contains("the guest fell over: at last\n"),
        "{output}"
    );
    assert!(output.contains("bytes left out …\n"), "{output}");
    assert!(output.len() <= 2_000);
}

#[tokio::test]
async fn a_line_without_an_end_is_shown() {
    for end in ["ok", "reject no", "retry later"] {
        let invoked = attempt(&format!("print-part no line end\n{end}"), limits()).await;
        assert_eq!(invoked.output, "no line end", "{end}");
    }
}

#[tokio::test]
async fn a_blocked_host_call_ends_with_the_wall_clock() {
    let limits = FunctionLimits {
        timeout_ms_max: 100,
        ..limits()
    };
    let invoked = attempt("print a\nhang", limits).await;
    let timeout = Outcome::Timeout {
        kind: TimeoutKind::Wall,
        limit_ms: 100,
    };
    assert_eq!(invoked.outcome, timeout);
    assert_eq!(invoked.output, "a\n");
}

#[tokio::test]
async fn floods_of_events_and_state_are_refused() {
    let limits = FunctionLimits {
        cpu_ms_max: 10_000,
        ..limits()
    };
    for script in ["flood-emits", "fat-emit", "fat-state"] {
        let invoked = attempt(script, limits).await;
        assert_eq!(
            invoked.outcome.class(),
            "limit",
            "{script}: {:?}",
            invoked.outcome
        );
        assert!(invoked.emitted.is_empty(), "{script}");
    }
    let mut bus = MemoryBus::default();
    let function = hostile().await;
    let flood = bus.run(&*function, invocation("flood-state", 1, limits));
    assert_eq!(flood.await.outcome.class(), "limit");
    assert!(bus.state.is_empty(), "nothing of it takes effect");
}

#[tokio::test]
async fn a_guest_sees_nothing_of_the_machine() {
    let invoked = attempt("look-around", limits()).await;
    assert_eq!(
        invoked.output,
        "environment 0\narguments 0\nroot false\nconnect false\nlisten false\ninput false\n"
    );
    assert_eq!(invoked.outcome, Outcome::Success);
    let invoked = attempt("exit 3", limits()).await;
    assert_eq!(invoked.outcome.class(), "trap");
}

#[tokio::test]
async fn undecodable_data_is_rejected_with_its_place() {
    let mut invocation = invocation("ok", 1, limits());
    let mut event = (*invocation.event).clone();
    event.data = edgebus_model::Data::Json(Bytes::from_static(b"{\"do\":7}"));
    invocation.event = Arc::new(event);
    let mut bus = MemoryBus::default();
    let invoked = bus.run(&*hostile().await, invocation).await;
    let Outcome::Reject { message } = invoked.outcome else {
        unreachable!("{:?}", invoked.outcome);
    };
    assert!(
        message.contains("at `do`: invalid type: integer"),
        "{message}"
    );
}

#[tokio::test]
async fn many_memories_count_together() {
    let runtime = runtime();
    // Each of the twenty memories has 8 MiB. A limiter that checks one memory at a time would allow all of
    // them.
    let (each, number) = (8_u64 << 20, 20);
    let limits = |memory_bytes_max| FunctionLimits {
        memory_bytes_max,
        ..limits()
    };
    assert!(each < limits(16 << 20).memory_bytes_max);
    let function = prepare(&runtime, many_memories(number)).await;
    let mut bus = MemoryBus::default();
    for (bytes_max, class) in [
        (16 << 20, "memory"),
        (159 << 20, "memory"),
        (162 << 20, "success"),
    ] {
        let invoked = bus
            .run(&*function, invocation("ok", 1, limits(bytes_max)))
            .await;
        assert_eq!(
            invoked.outcome.class(),
            class,
            "{bytes_max}: {:?}",
            invoked.outcome
        );
    }
    let component = Bytes::from(many_memories(40));
    let error = runtime.prepare(Digest([0; 32]), component).await.err();
    assert_eq!(
        error.map(|error| error.kind),
        Some(Kind::Invalid),
        "more than a component may have"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_is_served_meanwhile() {
    let function = hostile().await;
    // There are more hostile attempts than workers, so each must yield at its ticks.
    let hostile: Vec<_> = ["spin", "spin", "flood-output", "hang", "spin"]
        .into_iter()
        .map(|script| {
            let function = Arc::clone(&function);
            let limits = FunctionLimits {
                cpu_ms_max: 60_000,
                timeout_ms_max: 60_000,
                ..limits()
            };
            tokio::spawn(async move {
                let mut bus = MemoryBus::default();
                bus.run(&*function, invocation(script, 1, limits)).await
            })
        })
        .collect();
    let mut worst = Duration::ZERO;
    let mut bus = MemoryBus::default();
    for _ in 0..20 {
        let invoked = bus
            .run(&*function, invocation("count a", 1, limits()))
            .await;
        assert_eq!(invoked.outcome, Outcome::Success);
        worst = worst.max(invoked.duration);
    }
    assert_eq!(bus.state[b"a".as_slice()], "20");
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    for task in hostile {
        assert!(!task.is_finished(), "it would have run on");
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_fresh_instances_share_nothing() {
    let mut bus = MemoryBus::default();
    let function = hostile().await;
    for _ in 0..1_000 {
        let invoked = bus
            .run(&*function, invocation("count a\nemit x", 1, limits()))
            .await;
        assert_eq!(invoked.outcome, Outcome::Success);
        assert_eq!(invoked.emitted.len(), 1);
    }
    assert_eq!(bus.state[b"a".as_slice()], "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_attempts_than_slots_wait_for_their_turn() {
    let runtime = fresh_with(Settings::default(), 2);
    let function = prepare(&runtime, guests::component("hostile")).await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let function = Arc::clone(&function);
            tokio::spawn(async move {
                let mut bus = MemoryBus::default();
                bus.run(&*function, invocation("nap 1", 1, limits())).await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic").outcome, Outcome::Success);
    }
    let mut bus = MemoryBus::default();
    let mut other_bus = MemoryBus::default();
    let short = FunctionLimits {
        timeout_ms_max: 50,
        ..limits()
    };
    let twice = tokio::join!(
        bus.run(&*function, invocation("hang", 1, limits_of(300))),
        async {
            let component = many_memories(1);
            let wide = prepare(&runtime, component).await;
            other_bus.run(&*wide, invocation("ok", 1, short)).await
        }
    );
    assert_eq!(twice.0.outcome.class(), "timeout");
    assert_eq!(twice.1.outcome.class(), "host", "{:?}", twice.1.outcome);
}

fn limits_of(timeout_ms_max: u64) -> FunctionLimits {
    FunctionLimits {
        timeout_ms_max,
        ..limits()
    }
}

#[tokio::test]
async fn what_is_no_function_is_refused_with_the_way_to_do_it() {
    async fn check(component: Vec<u8>, expected: &str) {
        let component = Bytes::from(component);
        let prepared = runtime().prepare(Digest::of(&component), component).await;
        let error = prepared.err().expect("no function");
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.message.contains(expected), "{}", error.message);
    }
    let text = |text: &str| wat::parse_str(text).expect("valid text");
    check(text("(module)"), "wasm32-wasip2").await;
    check(
        text("(component)"),
        "`edgebus:function/handler@0.1.0` is missing",
    )
    .await;
    let other = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $other (export "run" (func $f)))
        (export "wasi:cli/run@0.2.0" (instance $other)))"#;
    check(text(other), "exports `wasi:cli/run@0.2.0`").await;
    let foreign = many_memories_text(1).replacen(
        "(component",
        "(component (import \"acme:db/query@1.0.0\" (instance (export \"run\" (func))))",
        1,
    );
    check(text(&foreign), "imports `acme:db/query@1.0.0`").await;
    let misfit = many_memories_text(1).replace("u32", "u64");
    check(text(&misfit), "doesn't fit").await;
    check(b"\0asm\x0d\0\x01\0 nonsense".to_vec(), "doesn't compile").await;
}

#[tokio::test]
async fn a_component_has_a_largest_size() {
    let settings = Settings {
        component_bytes_max: 1_000,
        ..Settings::default()
    };
    let component = Bytes::from(guests::component("hostile"));
    let digest = Digest::of(&component);
    let prepared = fresh(settings).prepare(digest, component.clone()).await;
    assert_eq!(prepared.err().map(|error| error.kind), Some(Kind::TooLarge));
}

#[tokio::test]
async fn compiled_code_is_kept_between_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = |key| Settings {
        cache_dir: Some(folder.path().to_owned()),
        cache_key: [key; 32],
        ..Settings::default()
    };
    let files = || -> Vec<_> {
        let entries = std::fs::read_dir(folder.path()).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let component = guests::component("triage");
    let mut times = Vec::new();
    for key in [1, 1, 2, 2] {
        let runtime = fresh(settings(key));
        let started = Instant::now();
        prepare(&runtime, component.clone()).await;
        times.push(started.elapsed());
        assert_eq!(files().len(), 1);
        let kept = std::fs::read(&files()[0]).expect("a file");
        eprintln!(
            "key {key}: {:?}, {} bytes",
            times[times.len() - 1],
            kept.len()
        );
    }
    let (compiled, kept) = (times[0].max(times[2]), times[1].min(times[3]));
    assert!(kept < compiled, "{times:?}");
    // A damaged file is noticed, and compiling repairs it.
    let path = &files()[0];
    let whole = std::fs::read(path).expect("a file");
    std::fs::write(path, &whole[..whole.len() / 2]).expect("written");
    prepare(&fresh(settings(2)), component).await;
    assert!(std::fs::read(path).expect("a file").len() > whole.len() / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_component_is_one_function() {
    let runtime = fresh(Settings::default());
    let component = guests::component("idle");
    let same = |one: &Arc<dyn Function>, two: &Arc<dyn Function>| {
        std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(two))
    };
    let (one, two) = tokio::join!(
        prepare(&runtime, component.clone()),
        prepare(&runtime, component.clone())
    );
    assert!(same(&one, &two), "asked for at the same time");
    let three = prepare(&runtime, component.clone()).await;
    assert!(same(&one, &three), "asked for while it is there");
    let other = prepare(&runtime, guests::component("triage")).await;
    assert!(!same(&one, &other));
    // A refusal is not kept for later callers.
    let broken = Bytes::from_static(b"\0asm\x0d\0\x01\0 nonsense");
    let digest = Digest::of(&broken);
    let (one, two) = tokio::join!(
        runtime.prepare(digest, broken.clone()),
        runtime.prepare(digest, broken)
    );
    assert!(one.is_err() && two.is_err());
    let repaired = Bytes::from(component);
    assert!(runtime.prepare(digest, repaired).await.is_ok());
}

#[tokio::test]
async fn dropping_an_attempt_ends_it() {
    let mut bus = MemoryBus::default();
    let function = hostile().await;
    for script in ["spin", "hang"] {
        let invoked = bus.run(&*function, invocation(script, 1, limits_of(60_000)));
        let ended = tokio::time::timeout(Duration::from_millis(30), invoked).await;
        assert!(ended.is_err(), "{script}");
    }
    let invoked = attempt("ok", limits()).await;
    assert_eq!(invoked.outcome, Outcome::Success);
}

/// A function that only returns. It has `memories` memories of 8 MiB in addition to its own of 64 KiB.
fn many_memories(memories: usize) -> Vec<u8> {
    wat::parse_str(many_memories_text(memories)).expect("the text is a component")
}

fn many_memories_text(memories: usize) -> String {
    let modules: String = (0..memories)
        .map(|number| {
            format!(
                "(core module $m{number} (memory 128))
                 (core instance (instantiate $m{number}))\n"
            )
        })
        .collect();
    include_str!("tests/many_memories.wat").replace(";; MEMORIES", &modules)
}
