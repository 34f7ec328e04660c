//! Reads events, one JSON object a line, and prints which rules of a file each of them matches.
//!
//! The file is an object of patterns by name. An event that isn't JSON is told on the standard error,
//! and the others still count.
//!
//! ```console
//! $ cargo run -q -p edgebus-rules --example route -- rules/examples/orders.json < rules/examples/orders.jsonl
//! line 1: large orders, to islands
//! line 2: gifts that are fragile
//! line 3: -
//! line 4: to islands
//! ```
//!
//! The third order has a gift and something fragile, but these are two items.

use edgebus_rules::{Duplicates, ParseOptions, Pattern, RuleIndex, Scratch, Trust};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, Write};

/// All rules of the file, or all errors of the first wrong one, each with its place.
fn read(text: &str) -> Result<RuleIndex<String>, Box<dyn Error>> {
    let patterns: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let mut index = RuleIndex::new();
    for (name, json) in patterns {
        match Pattern::parse(json.get().as_bytes(), &ParseOptions::default()) {
            Ok(pattern) => index.insert(name, &pattern),
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                return Err(format!("{name}: {}", errors.join("\n")).into());
            }
        };
    }
    Ok(index)
}

pub(crate) fn run(
    arguments: &[String],
    input: impl BufRead,
    mut out: impl Write,
) -> Result<(), Box<dyn Error>> {
    let [file] = arguments else {
        return Err("usage: route RULES < EVENTS".into());
    };
    let index = read(&std::fs::read_to_string(file)?)?;
    let mut scratch = Scratch::new();
    for (number, line) in (1..).zip(input.lines()) {
        let line = line?;
        // The lines come from anywhere, so every byte of them is checked.
        let keys = index.matches_json(
            &mut scratch,
            line.as_bytes(),
            Duplicates::Refuse,
            Trust::Unchecked,
        );
        match keys {
            Ok(keys) if keys.len() == 0 => writeln!(out, "line {number}: -")?,
            Ok(keys) => {
                let names: Vec<&str> = keys.map(String::as_str).collect();
                writeln!(out, "line {number}: {}", names.join(", "))?;
            }
            Err(error) => eprintln!("line {number}: {error}"),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments, io::stdin().lock(), io::stdout().lock())
}
