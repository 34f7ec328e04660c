//! What a fresh sandboxed call costs: an instance of a small Rust component for each event of 1 KiB, with a
//! handler that does nothing. `cargo bench -p edgebus-wasmtime --bench invoke`.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use divan::Bencher;
use edgebus_model::{Data, Digest, Event, FunctionLimits};
use edgebus_runtime::conformance::MemoryBus;
use edgebus_runtime::{Context, Function, Invocation, Runtime};
use edgebus_wasmtime::{Settings, WasmtimeRuntime};

#[path = "../../../tests/support/guests.rs"]
mod guests;

fn main() {
    // Built and compiled before anything is measured.
    function("idle");
    function("triage");
    function("bench-parse");
    divan::main();
}

fn function(name: &str) -> Arc<dyn Function> {
    static RUNTIME: OnceLock<WasmtimeRuntime> = OnceLock::new();
    static FUNCTIONS: [OnceLock<Arc<dyn Function>>; 2] = [OnceLock::new(), OnceLock::new()];
    let slot = &FUNCTIONS[usize::from(name == "triage")];
    let runtime = RUNTIME.get_or_init(|| {
        WasmtimeRuntime::new(Settings::default()).expect("the machine has addresses and threads")
    });
    let function = slot.get_or_init(|| {
        let component = Bytes::from(guests::component(name));
        block_on(runtime.prepare(Digest::of(&component), component)).expect("a function")
    });
    Arc::clone(function)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static TASKS: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a scheduler");
    }
    TASKS.with(|tasks| tasks.block_on(work))
}

fn event(kind: &str, data: String) -> Arc<Event> {
    Arc::new(Event {
        id: "b8f6a3f0-2f3e-4a52-9a51-0c9f6f1a7f7e".to_owned(),
        source: "/bench".to_owned(),
        kind: kind.to_owned(),
        subject: None,
        time: Some("2026-11-21T06:30:16Z".to_owned()),
        data_content_type: Some("application/json".to_owned()),
        data_schema: None,
        extensions: Vec::new(),
        data: Data::Json(Bytes::from(data)),
    })
}

fn bench(bencher: Bencher, name: &str, event: &Arc<Event>) {
    let function = function(name);
    bencher.bench(|| {
        let invocation = Invocation {
            event: Arc::clone(event),
            context: Context::default(),
            limits: FunctionLimits::default(),
        };
        let invoked = block_on(MemoryBus::default().run(&*function, invocation));
        assert!(invoked.outcome.is_success(), "{:?}", invoked.outcome);
        invoked
    });
}

/// The handler takes the bytes of 1 KiB and returns.
#[divan::bench(threads = [1, 2], sample_count = 200, sample_size = 100)]
fn empty_handler(bencher: Bencher) {
    let data = format!("\"{}\"", "x".repeat(1_022));
    bench(bencher, "idle", &event("com.example.task", data));
}

/// The triage sample reads an issue of 1 KiB, decides and emits an event.
#[divan::bench(threads = [1, 2], sample_count = 200, sample_size = 100)]
fn triage(bencher: Bencher) {
    let data = format!(
        "{{\"action\":\"opened\",\"issue\":{{\"number\":7,\"title\":\"It panics\",\"body\":\"{}\",\
         \"author_association\":\"NONE\",\"labels\":[]}},\"repository\":{{\"full_name\":\"acme/app\"}}}}",
        "words and words ".repeat(55)
    );
    bench(bencher, "triage", &event("com.github.issues", data));
}

/// The function of `edgebus bench`: reads 1 KiB of JSON and does nothing with it.
#[divan::bench(threads = [1, 2], sample_count = 200, sample_size = 100)]
fn parse(bencher: Bencher) {
    let data = format!(
        "{{\"kind\":\"order\",\"number\":7,\"customer\":\"c-7\",\"lines\":[{{\"sku\":\"A-7\",\"quantity\":2,\
         \"cents\":1999}},{{\"sku\":\"B-7\",\"quantity\":1,\"cents\":495}}],\"note\":\"{}\"}}",
        "n".repeat(880)
    );
    bench(bencher, "bench-parse", &event("com.example.bench", data));
}
