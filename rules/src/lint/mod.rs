//! Checks patterns without an event, and patterns against many events.
//!
//! It answers four questions: what part of a pattern can never be met (`dead`), whether one pattern matches
//! only what another one matches too (`shadow`), what a set of events has reached (`coverage`), and whether a
//! pattern can match a certain string (`accepts`). Each finding is proven. Without a proof nothing is
//! reported. The proofs come from `relation`. Never here: advice about patterns that are only unusual.
//!
//! ```
//! use edgebus_rules::lint::{Coverage, Overlap, Scope, Shape, dead_ends, overlap};
//! use edgebus_rules::{ParseOptions, Pattern};
//!
//! let parse = |text: &str| Pattern::parse(text.as_bytes(), &ParseOptions::default());
//! let large = parse(r#"{"type": ["order"], "data": {"total": [{"numeric": [">", 100]}]}}"#)?;
//! let every = parse(r#"{"type": [{"prefix": "order"}]}"#)?;
//! assert_eq!(overlap(&large, &every), Some(Overlap::FirstWithinSecond));
//!
//! let shape = Shape { strings: &["type"], required: &["type"], others_but: &[] };
//! let never = parse(r#"{"type": {"name": ["order"]}}"#)?;
//! let ends = dead_ends(&never, &shape);
//! assert!(ends.never);
//! assert_eq!(ends.found[0].scope, Scope::SubRule(0));
//! assert_eq!(ends.found[0].reason, "type is always a string, so nothing is below it");
//!
//! let mut coverage = Coverage::new(&large);
//! assert_eq!(coverage.observe_json(br#"{"type": "order", "data": {"total": 7}}"#), Ok(false));
//! let report = coverage.report();
//! let unreached: Vec<&str> = report.unreached().map(|one| one.in_words.as_str()).collect();
//! assert_eq!(unreached, ["\"order\"", "a number > 100"]);
//!
//! assert!(every.accepts("type", "order.opened"));
//! assert!(!every.accepts("type", "invoice"));
//! # Ok::<(), Vec<edgebus_rules::ParseError>>(())
//! ```

mod accepts;
mod coverage;
mod dead;
mod relation;
mod shadow;

pub use coverage::{AlternativeCoverage, Coverage, CoverageReport};
pub use dead::{DeadEnd, DeadEnds, Scope, Shape, dead_ends};
pub use shadow::{Overlap, is_within, overlap};

#[cfg(test)]
mod tests;
