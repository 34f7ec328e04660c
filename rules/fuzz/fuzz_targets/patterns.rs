//! Raw bytes as a pattern, in both dialects: errors lie within the text, what EventBridge's dialect
//! accepts ours means alike, and what parses is matched, explained and linted without a panic.
#![no_main]

use edgebus_rules::lint::{Shape, dead_ends, is_within};
use edgebus_rules::{Dialect, ParseError, ParseOptions, Pattern, Scratch};
use libfuzzer_sys::fuzz_target;
use rules_fuzz::{compare, fixed};

/// The most errors that one text has, by the crate's documentation of its limits.
const ERRORS_MAX: usize = 100;

fn parse(text: &[u8], dialect: Dialect) -> Result<Pattern, Vec<ParseError>> {
    let options = ParseOptions {
        dialect,
        aliases: &[("detail", "data"), ("z", "a")],
        texts_but: &[],
    };
    let parsed = Pattern::parse(text, &options);
    if let Err(errors) = &parsed {
        assert!(
            (1..=ERRORS_MAX).contains(&errors.len()),
            "{} errors",
            errors.len()
        );
        for error in errors {
            assert!(error.offset <= text.len(), "{error}");
            if let Ok(text) = std::str::from_utf8(text) {
                assert!(text.is_char_boundary(error.offset), "{error}");
            }
            assert!(
                !error.reason.is_empty() && !error.remedy.is_empty(),
                "{error}"
            );
            assert!(
                error.to_string().len() < 64 * 1024,
                "an error as long as the text"
            );
        }
    }
    parsed
}

fuzz_target!(|text: &[u8]| {
    let strict = parse(text, Dialect::EventBridge);
    let Ok(pattern) = parse(text, Dialect::Edgebus) else {
        assert!(
            strict.is_err(),
            "EventBridge's dialect accepts what ours refuses"
        );
        return;
    };
    drop(dead_ends(
        &pattern,
        &Shape {
            strings: &["a"],
            required: &["a"],
            others_but: &[],
        },
    ));
    let _ = (is_within(&pattern, &pattern), pattern.accepts("a", "x"));
    let same = strict.unwrap_or_else(|_| pattern.clone());
    let rules = fixed::of(vec![(0, pattern), (1, same)]);
    let mut scratch = Scratch::new();
    // A pattern is an event too, and has values at its own paths.
    for event in fixed::EVENTS.map(str::as_bytes).into_iter().chain([text]) {
        if let Some(keys) = compare::document(&rules, &mut scratch, event) {
            assert!(keys.is_empty() || keys == [0, 1], "the dialects differ");
        }
    }
});
