//! What the index takes: memory for each rule, and none for a match.
//!
//! One test, because the counting allocator sees all threads of the program.

#[path = "../benches/engines/random.rs"]
mod random;
#[path = "../benches/engines/scale.rs"]
#[allow(unreachable_pub, reason = "a bench's file, read here too")]
mod scale;

use edgebus_rules::{Duplicates, ParseOptions, Pattern, RuleIndex, Scratch, Trust};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that a rule may take.
const RULE_BYTES_MAX: usize = 1024;
/// Fewer than the bench has, so that a debug build is quick; `EDGEBUS_RULES` asks for more.
const RULES: usize = 10_000;

fn parse(text: &str) -> Pattern {
    Pattern::parse(text.as_bytes(), &ParseOptions::default()).expect("the rule is valid")
}

#[test]
fn a_rule_takes_little_memory_and_a_match_none() {
    let asked = std::env::var("EDGEBUS_RULES").ok();
    let count = asked.and_then(|text| text.parse().ok()).unwrap_or(RULES);
    let events = scale::events(30);
    for kind in scale::KINDS.into_iter().chain(["but", "alike", "paths"]) {
        let rules = scale::rules(kind, count);
        let region = Region::new(GLOBAL);
        let mut index = RuleIndex::new();
        for (number, text) in (0_u32..).zip(&rules) {
            index.insert(number, &parse(text));
        }
        let change = region.change();
        let taken = change.bytes_allocated - change.bytes_deallocated;
        println!("{kind}: {} bytes a rule, of {count}", taken / count);
        assert!(
            taken / count <= RULE_BYTES_MAX,
            "{kind}: {} bytes a rule",
            taken / count
        );

        // Two conditions on one array: values have to be chosen from the same element.
        let items = r#"{"detail":{"items":{"sku":[{"prefix":"A-"}],"qty":[1,2,3]}}}"#;
        index.insert(u32::MAX, &parse(items));
        let mut scratch = Scratch::new();
        for turn in 0..2 {
            let region = Region::new(GLOBAL);
            let mut hits = 0;
            for event in &events {
                for trust in [Trust::Plain, Trust::Json, Trust::Unchecked] {
                    let event = event.as_bytes();
                    let keys = index.matches_json(&mut scratch, event, Duplicates::Refuse, trust);
                    hits += keys.expect("the event is valid").len();
                }
            }
            let change = region.change();
            assert!(hits > 0);
            if turn > 0 {
                assert_eq!((change.allocations, change.reallocations), (0, 0), "{kind}");
            }
        }
        let region = Region::new(GLOBAL);
        let before = index.clone();
        index.insert(7, &parse(&rules[8]));
        index.remove(&9);
        let change = region.change();
        println!(
            "{kind}: {} bytes copied by two changes under a snapshot",
            change.bytes_allocated
        );
        drop(before);
    }
}
