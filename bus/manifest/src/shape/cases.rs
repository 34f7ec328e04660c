//! The keys of the section `tests`.

use super::{ANY, Absent, Count, Form, Key, Shape, words};

pub(in super::super) const EXAMPLE: &str =
    "- { name: opened, event: events/opened.json, expect: [opened] }";

/// The longest name of a test and path of an event, in bytes.
pub(in super::super) const TEXT_BYTES_MAX: usize = 4_096;

/// The most events of one test that the manifest names; a file may hold several.
const EVENTS: Count = Count {
    least: 1,
    most: 100,
};

pub(in super::super) const CASE: Shape = Shape {
    what: "a test",
    place: "tests[]",
    keys: &[
        Key {
            name: "name",
            form: Form::Text(words("the name of a test", TEXT_BYTES_MAX)),
            absent: Absent::Error,
            example: "bugs from outside",
            about: "What it shows; `edgebus test --filter` looks for a part of it.",
        },
        Key {
            name: "bus",
            form: Form::Name("bus"),
            absent: Absent::Is("default"),
            example: "default",
            about: "The bus that the event is published on.",
        },
        Key {
            name: "event",
            form: Form::OneOrMany(&Form::Event(words("`event`", TEXT_BYTES_MAX)), EVENTS),
            absent: Absent::Error,
            example: "{ type: com.github.issues, data: { action: opened } }",
            about: "The event, or a list of events, each of which must do what is expected. Written here, where `specversion`, `id` and `source` may be left out; or the path of a file, relative to the manifest's folder, with one CloudEvent in JSON, an array of them, or (`.jsonl`) one on each line. An event in EventBridge's shape is taken too: `detail-type` is `type`, `detail` is `data`, and `resources`, a list, goes into the data.",
        },
        Key {
            name: "expect",
            form: Form::List(&Form::Name("rule"), ANY),
            absent: Absent::Means("an error, unless `expect_not` is given"),
            example: "[outside-bugs]",
            about: "Rules that must match. Without `expect_not` they are all that may match; `[]` says that none does.",
        },
        Key {
            name: "expect_not",
            form: Form::List(&Form::Name("rule"), ANY),
            absent: Absent::Means("every rule that is not in `expect`"),
            example: "[large-orders]",
            about: "Rules that must not match. Rules in neither list may do either.",
        },
        Key {
            name: "expect_input",
            form: Form::Values,
            absent: Absent::Is("{}"),
            example: "{ outside-bugs/triage: { title: It crashes } }",
            about: "The data that functions get, by the target's `name` (without one it is `RULE/FUNCTION`), or by `RULE` alone where it has one target. The rule must match; numbers are equal by value.",
        },
    ],
    later: &[],
    example: EXAMPLE,
};
