//! The keys of the section `functions`.

use super::{ANY, Absent, Form, Key, Shape, TEXT_BYTES_MAX, bounds, words};
use edgebus_model::limits::BATCH_BYTES_MAX;

pub(in super::super) const EXAMPLE: &str = "triage: { component: target/triage.wasm }";

/// The longest key of `config` and name of a secret, in bytes.
pub(in super::super) const KEY_BYTES_MAX: usize = 128;

pub(in super::super) const FUNCTION: Shape = Shape {
    what: "a function",
    place: "functions.NAME",
    keys: &[
        Key {
            name: "component",
            form: Form::Component(words("`component`", TEXT_BYTES_MAX)),
            absent: Absent::Means("the component that is deployed under this name"),
            example: "../target/wasm32-wasip2/release/triage.wasm",
            about: "The WebAssembly component: a file, relative to the manifest's folder, or `blake3:` and 64 hexadecimal digits for one that the bus has.",
        },
        Key {
            name: "build",
            form: Form::Map(&BUILD),
            absent: Absent::Means("nothing is built"),
            example: "{ command: cargo build -p triage --release --target wasm32-wasip2, watch: [triage/src] }",
            about: "How the component is made, for `edgebus dev` and for messages about a component that is not there.",
        },
        Key {
            name: "limits",
            form: Form::Map(&LIMITS),
            absent: Absent::Means("the defaults of each"),
            example: "{ memory: 64MiB, cpu: 1s, timeout: 30s, concurrency: 32 }",
            about: "What one attempt may use.",
        },
        Key {
            name: "config",
            form: Form::Texts(words("a value of `config`", TEXT_BYTES_MAX)),
            absent: Absent::Is("{}"),
            example: "{ LABEL: needs-triage }",
            about: "What the function reads through its `config` interface. Values are texts; keys have 1 to 128 bytes.",
        },
        Key {
            name: "secrets",
            form: Form::List(
                &Form::Secret(words("the name of a secret", KEY_BYTES_MAX)),
                ANY,
            ),
            absent: Absent::Is("[]"),
            example: "[GITHUB_TOKEN]",
            about: "Names that the function may read through its `secrets` interface. The bus takes the value of `X` from the file `X` in the folder of `serve --secrets`, else from its environment variable `EDGEBUS_SECRET_X`; a secret never stands in the manifest. In what the function writes, its value (4 bytes or more, as it is) is replaced by `[secret X]`.",
        },
        Key {
            name: "allow_http",
            form: Form::List(&Form::Origin(words("an origin of `allow_http`", 512)), ANY),
            absent: Absent::Is("[]"),
            example: "[\"https://api.github.com\"]",
            about: "Origins that the function may send requests to. Checked and stored, but not applied yet: there is no outgoing HTTP.",
        },
    ],
    later: &[],
    example: EXAMPLE,
};

pub(in super::super) const BUILD: Shape = Shape {
    what: "`build` of a function",
    place: "functions.NAME.build",
    keys: &[
        Key {
            name: "command",
            form: Form::Text(words("`build.command`", TEXT_BYTES_MAX)),
            absent: Absent::Error,
            example: "cargo build --release --target wasm32-wasip2",
            about: "A command line, run by a shell in the manifest's folder.",
        },
        Key {
            name: "watch",
            form: Form::List(&Form::Text(words("a path to watch", TEXT_BYTES_MAX)), ANY),
            absent: Absent::Is("[]"),
            example: "[src]",
            about: "Files and folders, relative to the manifest's folder, whose change asks for a new build.",
        },
    ],
    later: &[],
    example: "build: { command: cargo build --target wasm32-wasip2, watch: [src] }",
};

pub(in super::super) const LIMITS: Shape = Shape {
    what: "`limits` of a function",
    place: "functions.NAME.limits",
    keys: &[
        Key {
            name: "memory",
            form: Form::Size(bounds("`limits.memory`", 1 << 20, 4 << 30)),
            absent: Absent::Is("64MiB"),
            example: "128MiB",
            about: "All linear memories and tables of the instance together.",
        },
        Key {
            name: "cpu",
            form: Form::Duration(bounds("`limits.cpu`", 1, 60_000)),
            absent: Absent::Is("1s"),
            example: "5s",
            about: "Time on the processor.",
        },
        Key {
            name: "timeout",
            form: Form::Duration(bounds("`limits.timeout`", 1, 15 * 60_000)),
            absent: Absent::Is("30s"),
            example: "2m",
            about: "Time by the wall clock around the whole attempt.",
        },
        Key {
            name: "concurrency",
            form: Form::Whole(bounds("`limits.concurrency`", 1, 1_000)),
            absent: Absent::Is("32"),
            example: "1",
            about: "Attempts of this function that run at the same time. With 1 each begins when the one before is settled.",
        },
        Key {
            name: "emits",
            form: Form::Whole(bounds("`limits.emits`", 0, 1_000)),
            absent: Absent::Is("64"),
            example: "10",
            about: "Events that one attempt may emit.",
        },
        Key {
            name: "emit_size",
            form: Form::Size(bounds("`limits.emit_size`", 0, BATCH_BYTES_MAX as u64)),
            absent: Absent::Is("1MiB"),
            example: "64KiB",
            about: "All events together that one attempt emits.",
        },
        Key {
            name: "state_writes",
            form: Form::Whole(bounds("`limits.state_writes`", 0, 10_000)),
            absent: Absent::Is("256"),
            example: "16",
            about: "State keys that one attempt may write.",
        },
        Key {
            name: "state_size",
            form: Form::Size(bounds("`limits.state_size`", 0, 16 << 20)),
            absent: Absent::Is("1MiB"),
            example: "64KiB",
            about: "All state values together that one attempt writes.",
        },
        Key {
            name: "output",
            form: Form::Size(bounds("`limits.output`", 0, 1 << 20)),
            absent: Absent::Is("64KiB"),
            example: "4KiB",
            about: "Captured output; of more than this the beginning and the end are kept.",
        },
    ],
    later: &[],
    example: "limits: { memory: 64MiB, cpu: 1s, timeout: 30s, concurrency: 32 }",
};
