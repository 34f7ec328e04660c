//! EventBridge-style content rules over raw JSON bytes: parse, validate, match, explain.
//!
//! `PATTERNS.md` beside this crate is the language. Beside rules there are [`Transform`]s, which make a
//! target's input from an event, and [`lint`], which finds what is wrong with patterns without an
//! event. Nothing here knows of a bus, does input or output, or keeps state between events, and no
//! input makes it panic.
//!
//! `RuleIndex` matches, fast; `RuleSet` is the plain matcher that it has to agree with (`BENCHMARKS.md`
//! has their speeds).
//!
//! ```
//! use rules::{Duplicates, ParseOptions, Part, Pattern, RuleSet, explain};
//!
//! let options = ParseOptions {
//!     aliases: &[("detail", "data")],
//!     ..ParseOptions::default()
//! };
//! let opened = br#"{"type": ["order.opened"], "detail": {"total": [{"numeric": [">", 100]}]}}"#;
//! let opened = Pattern::parse(opened, &options).expect("the pattern is valid");
//!
//! let event = [
//!     Part::Text { name: "type", value: "order.opened" },
//!     Part::Raw { name: "data", json: br#"{"total": 250, "currency": "EUR"}"# },
//! ];
//! let explanation = explain(&opened, &event).expect("the event is valid");
//! assert!(explanation.matched);
//!
//! let rules = RuleSet::new([("large orders", opened)]);
//! assert_eq!(rules.matches(&event, Duplicates::Refuse), Ok(vec![&"large orders"]));
//!
//! // The fast matcher changes one rule at a time; a clone is a snapshot, and costs nothing.
//! use rules::{RuleIndex, Scratch, Trust};
//! let urgent = br#"{"data": {"labels": {"name": ["urgent"]}}}"#;
//! let urgent = Pattern::parse(urgent, &options).expect("the pattern is valid");
//! let large = Pattern::parse(br#"{"data": {"total": [{"numeric": [">=", 1000]}]}}"#, &options);
//! let mut index = RuleIndex::new();
//! index.insert("urgent", &urgent);
//! index.insert("large", &large.expect("the pattern is valid"));
//! let snapshot = index.clone();
//! index.remove(&"large");
//!
//! let event = br#"{"data": {"total": 2500, "labels": [{"name": "urgent"}, {"name": "vip"}]}}"#;
//! let mut scratch = Scratch::new();
//! let keys = snapshot.matches_json(&mut scratch, event, Duplicates::Refuse, Trust::Unchecked);
//! assert!(keys.expect("the event is valid").eq(&["urgent", "large"]));
//! let keys = index.matches_json(&mut scratch, event, Duplicates::Refuse, Trust::Unchecked);
//! assert!(keys.expect("the event is valid").eq(&["urgent"]));
//!
//! let faults = Pattern::parse(br#"{"type": [{"prefx": "order."}]}"#, &options).unwrap_err();
//! assert_eq!(
//!     faults[0].to_string(),
//!     r#"byte 11, at /type/0/prefx: unknown operator "prefx"; write "prefix""#,
//! );
//! ```

mod array_trail;
mod automaton;
mod error;
mod event;
mod explain;
mod filter;
mod flatten;
mod json;
mod limits;
pub mod lint;
mod naive;
mod operator;
mod path;
mod pattern;
mod scalar;
mod template;

pub use automaton::{Matches, RuleIndex, Scratch, Trust};
pub use error::{EventFault, Fault};
pub use event::{Duplicates, Part};
pub use explain::{
    BranchExplanation, ConditionExplanation, Explanation, Nearness, Style, explain, explain_json,
};
pub use filter::Filter;
pub use naive::RuleSet;
pub use pattern::{Dialect, ParseOptions, Pattern};
pub use template::{ApplyError, Context, EventDocument, Transform, TransformSpec};
