//! The keys of the section `buses`.

use edgebus_model::Differing;

use super::{Absent, DAY_MS, Form, Key, Shape, bounds};

pub(in super::super) const EXAMPLE: &str =
    "default: { retention: { age: 7d, size: 10GiB }, dedupe: 24h }";

pub(in super::super) const BUS: Shape = Shape {
    what: "a bus",
    place: "buses.NAME",
    keys: &[
        Key {
            name: "retention",
            form: Form::Map(&RETENTION),
            absent: Absent::Is("{ age: 7d, size: 10GiB }"),
            example: "{ age: 30d, size: 100GiB }",
            about: "How much of the log is kept. Checked and stored, but not applied yet: the log keeps everything.",
        },
        Key {
            name: "dedupe",
            form: Form::Duration(bounds("`dedupe`", 1_000, 30 * DAY_MS)),
            absent: Absent::Is("24h"),
            example: "1h",
            about: "How long an event with the same `source` and `id` is answered as a duplicate and not logged again.",
        },
        Key {
            name: "differing",
            form: Form::Choice("`differing`", &Differing::WORDS),
            absent: Absent::Is("refuse"),
            example: "duplicate",
            about: "What becomes of an event with a known `source` and `id` but another type, subject or data: `refuse` answers 409 with the position of the first one (EB0321), `duplicate` drops it as a duplicate.",
        },
    ],
    later: &[],
    example: EXAMPLE,
};

pub(in super::super) const RETENTION: Shape = Shape {
    what: "`retention` of a bus",
    place: "buses.NAME.retention",
    keys: &[
        Key {
            name: "age",
            form: Form::Duration(bounds("`retention.age`", 60_000, 3_650 * DAY_MS)),
            absent: Absent::Is("7d"),
            example: "30d",
            about: "Events older than this are let go.",
        },
        Key {
            name: "size",
            form: Form::Size(bounds("`retention.size`", 1 << 20, 16 << 40)),
            absent: Absent::Is("10GiB"),
            example: "100GiB",
            about: "The oldest events are let go when the log is larger than this.",
        },
    ],
    later: &[],
    example: "retention: { age: 7d, size: 10GiB }",
};
