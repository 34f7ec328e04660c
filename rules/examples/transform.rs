//! Reads events, one JSON object a line, and prints what a template makes of each of them.
//!
//! ```console
//! $ cargo run -q -p edgebus-rules --example transform -- '{"text":"order {$.data.id}: {$.data.total} €","items":"{$.data.items[*].name}"}' < rules/examples/orders.jsonl
//! {"text":"order 1: 2500 €","items":["clock"]}
//! {"text":"order 2: 40 €","items":["vase","book"]}
//! {"text":"order 3: 60 €","items":["book","lamp"]}
//! {"text":"order 1: 2500 €","items":[]}
//! ```

use edgebus_rules::{Context, EventDocument, Part, Transform, TransformSpec};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, Write};

pub(crate) fn run(
    arguments: &[String],
    input: impl BufRead,
    mut out: impl Write,
) -> Result<(), Box<dyn Error>> {
    let [template] = arguments else {
        return Err("usage: transform TEMPLATE < EVENTS".into());
    };
    let spec = TransformSpec::Template(template.as_bytes());
    let transform = match Transform::parse(&spec, &[]) {
        Ok(transform) => transform,
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return Err(errors.join("\n").into());
        }
    };
    // What EventBridge's form may insert beside the event; our templates don't.
    let context = Context {
        rule_name: "transform",
        rule_arn: None,
        ingested_at: "2026-07-01T12:00:00Z",
    };
    for line in input.lines() {
        let line = line?;
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(&line)?;
        let members = members.iter().map(|(name, value)| Part::Raw {
            name,
            json: value.get().as_bytes(),
        });
        let parts: Vec<Part<'_>> = members.collect();
        out.write_all(&transform.apply(&EventDocument::new(&parts), &context)?)?;
        writeln!(out)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments, io::stdin().lock(), io::stdout().lock())
}
