//! The keys of the section `buses`.

use edgebus_model::Differing;

use super::{Absent, DAY_MS, Form, Key, Shape, bounds, limit};

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
            about: "How much of the log is kept: the oldest events are removed past either limit. Events with pending deliveries stay until those end. What was removed is gone for good, and its positions never come back.",
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
            form: Form::Duration(limit("`retention.age`", 1_000, 3_650 * DAY_MS, "forever")),
            absent: Absent::Is("7d"),
            example: "30d",
            about: "Events are removed when they were accepted longer ago than this; `forever` for no limit. Time during which the machine was off doesn't count.",
        },
        Key {
            name: "size",
            form: Form::Size(limit("`retention.size`", 1 << 20, 16 << 40, "unlimited")),
            absent: Absent::Is("10GiB"),
            example: "100GiB",
            about: "The oldest events are removed as long as the records of all events of the bus weigh more than this; `unlimited` for no limit. Deliveries, dead letters and state are not counted.",
        },
    ],
    later: &[],
    example: "retention: { age: 7d, size: 10GiB }",
};
