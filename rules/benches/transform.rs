//! Inputs made from events of some 1 and 64 KiB: what each kind of transform costs, and what a rule pays
//! that has none.

use std::collections::HashMap;

use edgebus_rules::{Context, EventDocument, Part, Transform, TransformSpec};

fn main() {
    divan::main();
}

/// An event like a webhook's, as in the bench of matching, with so many sentences in it.
fn data(sentences: usize) -> String {
    let filler = "The quick brown fox jumps over the lazy dog. ".repeat(sentences);
    format!(
        r#"{{"action":"opened","number":4711,"issue":{{"id":1296269,"title":"Crash on \"start\"",
        "state":"open","user":{{"login":"octocat","id":1}},"labels":[{{"name":"bug","color":"d73a4a"}},
        {{"name":"p1","color":"a2eeef"}}],"assignee":null,"body":"{filler}"}},
        "repository":{{"id":35129377,"full_name":"example/project"}}}}"#
    )
}

const TEMPLATE: &str = r#"{"text":"{$.data.repository.full_name}: {$.data.issue.title}","id":"{$.data.issue.id}",
    "by":"{$.data.issue.user.login}","labels":"{$.data.issue.labels}"}"#;

const KINDS: [&str; 8] = [
    "none",
    "constant",
    "path",
    "template",
    "eventbridge",
    "wildcard",
    "filter",
    "query and text",
];

#[divan::bench(args = KINDS)]
fn event_of_1_kib(bencher: divan::Bencher<'_, '_>, kind: &str) {
    let data = data(16);
    assert!((1000..1100).contains(&data.len()), "{} bytes", data.len());
    made(bencher, kind, &data);
}

#[divan::bench(args = KINDS)]
fn event_of_64_kib(bencher: divan::Bencher<'_, '_>, kind: &str) {
    let data = data(1450);
    assert!(
        (65_000..66_000).contains(&data.len()),
        "{} bytes",
        data.len()
    );
    made(bencher, kind, &data);
}

fn made(bencher: divan::Bencher<'_, '_>, kind: &str, data: &str) {
    let spec = match kind {
        "none" | "constant" => TransformSpec::Constant(br#"{"a":[1,2,3]}"#),
        "path" => TransformSpec::Path("$.data.issue"),
        "template" => TransformSpec::Template(TEMPLATE.as_bytes()),
        "eventbridge" => TransformSpec::EventBridge {
            paths: &[
                ("title", "$.detail.issue.title"),
                ("id", "$.detail.issue.id"),
            ],
            template: r#"{"id":<id>,"text":"<title> (<aws.events.rule-name>)"}"#,
        },
        "wildcard" => TransformSpec::Path("$.data.issue.labels[*].name"),
        "query and text" => {
            TransformSpec::Template(br##""#{$.data.number}: {$.data.issue.labels[*].name}""##)
        }
        _ => TransformSpec::Path("$.data.issue.labels[?@.name == 'bug'].color"),
    };
    let transform = Transform::parse(&spec, &[("detail", "data")]).expect("it is valid");
    // Transforms are found by the subscription's number; a rule without one is not among them.
    let number = u32::from(kind != "none");
    let transforms = HashMap::from([(1, transform)]);
    let parts = [
        Part::Text {
            name: "id",
            value: "8f1f9d6c-0000-4000-8000-000000000000",
        },
        Part::Text {
            name: "type",
            value: "issue.opened",
        },
        Part::Raw {
            name: "data",
            json: data.as_bytes(),
        },
    ];
    let context = Context {
        rule_name: "issues",
        rule_arn: None,
        ingested_at: "2026-07-01T12:00:00Z",
    };
    bencher.bench_local(|| {
        let transform = transforms.get(&divan::black_box(number))?;
        let event = EventDocument::new(&parts);
        Some(transform.apply(&event, &context).expect("it is small"))
    });
}
