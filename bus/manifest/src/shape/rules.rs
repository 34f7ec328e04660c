//! The keys of the section `rules`.

use edgebus_model::{RuleConfig, SubscriptionName};

use super::{Absent, Count, DAY_MS, Form, Key, Shape, bounds, limit, words};

pub(in super::super) const EXAMPLE: &str =
    "opened: { match: { type: [com.github.issues] }, to: [{ function: triage }] }";

/// The most filters of one rule.
const FILTERS: Count = Count { least: 1, most: 16 };
/// The most targets of one rule.
const TARGETS: Count = Count {
    least: 1,
    most: 100,
};

pub(in super::super) const RULE: Shape = Shape {
    what: "a rule",
    place: "rules.NAME",
    keys: &[
        Key {
            name: "description",
            form: Form::Text(words("`description`", RuleConfig::DESCRIPTION_BYTES_MAX)),
            absent: Absent::Means("none"),
            example: "bugs that came from outside",
            about: "What the rule is for, in your words; `edgebus rules ls -o json` shows it.",
        },
        Key {
            name: "enabled",
            form: Form::Flag("`enabled`"),
            absent: Absent::Is("true"),
            example: "false",
            about: "Whether it takes events. A rule that is off takes none; what it has pending is still delivered, and its subscriptions keep their names, numbers and history.",
        },
        Key {
            name: "bus",
            form: Form::Name("bus"),
            absent: Absent::Is("default"),
            example: "default",
            about: "The bus whose events it looks at. `system` is the one of the bus's own events, as of dead letters; it needs no declaration.",
        },
        Key {
            name: "match",
            form: Form::Pattern,
            absent: Absent::Means("every event of the bus"),
            example: "{ type: [com.github.issues], data: { action: [opened] } }",
            about: "The pattern, in EventBridge's language: attributes at the top, the event's data under `data`. `detail-type` and `detail` are other names of `type` and `data`.",
        },
        Key {
            name: "where",
            form: Form::OneOrMany(&Form::Query(words("a filter of `where`", 4_096)), FILTERS),
            absent: Absent::Means("no filter"),
            example: "$.data.issue.labels[?@.name == 'bug']",
            about: "JSONPath queries (RFC 9535) that must all select something, looked at after `match`. All queries of all rules may take 5,000,000 steps for an event; past that none holds.",
        },
        Key {
            name: "from",
            form: Form::Text(words("`from`", 64)),
            absent: Absent::Is("now"),
            example: "earliest",
            about: "Where subscriptions begin that are new with this manifest: `now`, `earliest` (all that the log has), or a time in RFC 3339. The past comes as a replay, once; a subscription that was there before gets nothing by it.",
        },
        Key {
            name: "to",
            form: Form::List(&Form::Map(&TARGET), TARGETS),
            absent: Absent::Error,
            example: "[{ function: triage }]",
            about: "Where matching events go. Each target is a subscription of its own, with a name and a number.",
        },
    ],
    later: &[],
    example: EXAMPLE,
};

pub(in super::super) const TARGET: Shape = Shape {
    what: "a target of `to`",
    place: "rules.NAME.to[]",
    keys: &[
        Key {
            name: "function",
            form: Form::Name("function"),
            absent: Absent::Error,
            example: "triage",
            about: "The function that handles the event. Twice in a rule, each needs a `name`.",
        },
        Key {
            name: "name",
            form: Form::SubscriptionName(words("`name`", SubscriptionName::BYTES_MAX)),
            absent: Absent::Means("`RULE/FUNCTION`"),
            example: "triage-bugs",
            about: "The subscription's own name, unique in the manifest, and not digits alone. Its number, history, backlog and dead letters stay with it when the rule or the function is renamed. On another bus the name begins anew, with another number.",
        },
        Key {
            name: "input",
            form: Form::Json,
            absent: Absent::Means("the event's own data"),
            example: "{ title: '{$.data.issue.title}', number: '{$.data.issue.number}' }",
            about: "What the function gets as the event's data: a JSONPath (a text that begins with `$`), or a template, in whose texts `{$.path}` stands for a part of the event. rules/PATTERNS.md has it all, under *Input*.",
        },
        Key {
            name: "input_paths",
            form: Form::Texts(words("a path of `input_paths`", 4_096)),
            absent: Absent::Means("no names, if there is an `input_template`"),
            example: "{ title: $.detail.issue.title }",
            about: "EventBridge's form of `input`: names with their paths, for `input_template`.",
        },
        Key {
            name: "input_template",
            form: Form::Text(words("`input_template`", 4 * 8_192)),
            absent: Absent::Means("see `input`"),
            example: "'{ \"rule\": <aws.events.rule-name> }'",
            about: "EventBridge's input transformer: JSON, or text, with `<name>` for what `input_paths` leads to or EventBridge has reserved; 1 to 8,192 characters.",
        },
        Key {
            name: "retry",
            form: Form::Map(&RETRY),
            absent: Absent::Means("the defaults of each"),
            example: "{ attempts: 3, backoff: { initial: 200ms, factor: 2, max: 1s } }",
            about: "How often and how long a delivery is tried.",
        },
        Key {
            name: "dead_letter",
            form: Form::Map(&DEAD_LETTER),
            absent: Absent::Is("{ retention: 14d }"),
            example: "{ retention: 30d }",
            about: "What becomes of deliveries that end without success.",
        },
    ],
    later: &[
        (
            "order_by",
            "leave it out: deliveries of one subscription may run side by side",
        ),
        (
            "webhook",
            "webhook targets are not built yet: let a client follow the bus with `edgebus events tail` and make the call",
        ),
        (
            "bus",
            "bus targets are not built yet: send to a function that emits the event on the other bus",
        ),
        (
            "queue",
            "queue targets are not built yet: send to a function, or let a client follow the bus with `edgebus events tail`",
        ),
    ],
    example: "to: [{ function: triage }]",
};

pub(in super::super) const RETRY: Shape = Shape {
    what: "`retry`",
    place: "rules.NAME.to[].retry",
    keys: &[
        Key {
            name: "attempts",
            form: Form::Whole(bounds("`attempts`", 1, 100)),
            absent: Absent::Is("5"),
            example: "3",
            about: "Attempts in all, the first included; then the delivery is a dead letter.",
        },
        Key {
            name: "backoff",
            form: Form::Map(&BACKOFF),
            absent: Absent::Is("{ initial: 1s, factor: 2, max: 5m, jitter: true }"),
            example: "{ initial: 200ms, factor: 2, max: 1s }",
            about: "The delays between attempts.",
        },
        Key {
            name: "max_age",
            form: Form::Duration(bounds("`max_age`", 1_000, 365 * DAY_MS)),
            absent: Absent::Is("24h"),
            example: "1h",
            about: "A delivery this old, counted from the event's acceptance, is not tried again.",
        },
    ],
    later: &[],
    example: "retry: { attempts: 5, backoff: { initial: 1s, factor: 2, max: 5m }, max_age: 24h }",
};

pub(in super::super) const BACKOFF: Shape = Shape {
    what: "`backoff`",
    place: "rules.NAME.to[].retry.backoff",
    keys: &[
        Key {
            name: "initial",
            form: Form::Duration(bounds("`backoff.initial`", 1, DAY_MS)),
            absent: Absent::Is("1s"),
            example: "200ms",
            about: "The delay after the first failure.",
        },
        Key {
            name: "factor",
            form: Form::Number(bounds("`backoff.factor`", 1, 100)),
            absent: Absent::Is("2"),
            example: "1.5",
            about: "What the delay is multiplied with after each further failure.",
        },
        Key {
            name: "max",
            form: Form::Duration(bounds("`backoff.max`", 1, 7 * DAY_MS)),
            absent: Absent::Is("5m"),
            example: "1h",
            about: "The longest delay; not shorter than `initial`. Without it a longer `initial` raises it.",
        },
        Key {
            name: "jitter",
            form: Form::Flag("`backoff.jitter`"),
            absent: Absent::Is("true"),
            example: "false",
            about: "Draw each delay evenly from zero to what it would be, so that what failed together does not come back together.",
        },
    ],
    later: &[],
    example: "backoff: { initial: 1s, factor: 2, max: 5m, jitter: true }",
};

pub(in super::super) const DEAD_LETTER: Shape = Shape {
    what: "`dead_letter`",
    place: "rules.NAME.to[].dead_letter",
    keys: &[
        Key {
            name: "retention",
            form: Form::Duration(limit(
                "`dead_letter.retention`",
                1_000,
                3_650 * DAY_MS,
                "forever",
            )),
            absent: Absent::Is("14d"),
            example: "30d",
            about: "How long a dead letter is kept, from the end of its last attempt on; `forever` for no limit. It has its own copy of the event, whatever becomes of that.",
        },
        Key {
            name: "bus",
            form: Form::Name("bus"),
            absent: Absent::Means("no bus: the dead letter is only kept"),
            example: "default",
            about: "Also publish the event on this bus when it becomes a dead letter, in the same transaction. The event has a new id, and the extensions `deadreason`, `deadmessage`, `deadattempts`, `deadsubscription`, `deadbus`, `deadposition` and `deadid` (the first id), so that rules of that bus can match them.",
        },
    ],
    later: &[],
    example: "dead_letter: { retention: 14d }",
};
