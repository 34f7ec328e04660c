//! Says why a pattern matches an event, or doesn't, or what is wrong with the pattern.
//!
//! ```console
//! $ cargo run -q -p edgebus-rules --example explain -- '{"type":["order.placed"],"data":{"total":[{"numeric":[">=",1000]}],"paid":[true]}}' '{"type":"order.placed","data":{"total":250,"paid":"true"}}'
//! not matched
//!   yes  type: wanted "order.placed"; saw "order.placed"
//!   NO   data.total: wanted a number >= 1000; saw 250
//!   no   data.paid: wanted true; saw "true"
//!        hint: the value is a string: write "true"
//! ```

use edgebus_rules::{ParseOptions, Pattern, explain_json};
use std::error::Error;
use std::io::{self, BufRead, Write};

pub(crate) fn run(
    arguments: &[String],
    _input: impl BufRead,
    mut out: impl Write,
) -> Result<(), Box<dyn Error>> {
    let [pattern, event] = arguments else {
        return Err("usage: explain PATTERN EVENT".into());
    };
    match Pattern::parse(pattern.as_bytes(), &ParseOptions::default()) {
        Ok(pattern) => {
            let explanation = explain_json(&pattern, event.as_bytes())?;
            // As lines it is for people; the same value serializes for programs.
            write!(out, "{explanation}")?;
        }
        Err(errors) => {
            for error in errors {
                writeln!(out, "{error}")?;
            }
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments, io::stdin().lock(), io::stdout().lock())
}
