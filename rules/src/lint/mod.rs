//! What can be said of patterns without an event, and of patterns and many events.
//!
//! Four questions: what of a pattern can never be met (`dead`), whether one pattern matches only what another
//! matches as well (`shadow`), what a set of events has reached (`coverage`), and whether a string has a
//! chance (`accepts`). Each finding is proven; without a proof nothing is reported. The proofs come from
//! `relation`. Never here: advice on what is merely unusual.
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
