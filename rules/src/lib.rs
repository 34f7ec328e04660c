//! EventBridge-style content rules over raw JSON bytes: parse, validate, match, explain.
//!
//! ```
//! use edgebus_rules::{Duplicates, ParseOptions, Pattern, RuleIndex, Scratch, Trust};
//!
//! let large = br#"{"type": ["order.placed"], "total": [{"numeric": [">=", 1000]}]}"#;
//! let large = Pattern::parse(large, &ParseOptions::default()).expect("the pattern is valid");
//! let rules: RuleIndex<&str> = [("large orders", large)].into_iter().collect();
//!
//! let event = br#"{"type": "order.placed", "total": 2500, "currency": "EUR"}"#;
//! let mut scratch = Scratch::new();
//! let keys = rules.matches_json(&mut scratch, event, Duplicates::Refuse, Trust::Unchecked)?;
//! assert!(keys.eq(&["large orders"]));
//! # Ok::<(), edgebus_rules::EventError>(())
//! ```
//!
//! - A [`Pattern`] is a rule's text, parsed; a [`ParseError`] says what is wrong with it, where, and how to
//!   write it right. `PATTERNS.md` beside this crate is the language.
//! - A [`RuleIndex`] matches, fast. It changes one rule at a time, and a clone of it is a snapshot that costs
//!   next to nothing and never changes, for threads that match meanwhile. [`Trust`] says whether an
//!   event's bytes have to be checked; [`Scratch`] keeps a thread's buffers.
//! - A [`RuleSet`] matches too, by trying every rule: the plain matcher that the fast one has to agree
//!   with.
//! - [`explain`] and [`explain_json`] say why a pattern matches an event, or doesn't.
//! - A [`Filter`] is a JSONPath query that has to select something, beside a pattern.
//! - A [`Transform`] makes another JSON value of an event, such as a target's input. A [`JsonPath`] takes values
//!   out of JSON text as they are written there, and [`template_parts`] reads text with placeholders.
//! - [`lint`] finds what is wrong with patterns without an event.
//!
//! An event is one JSON object, or its top-level members as [`Part`]s. Nothing here does input or output,
//! looks at a clock or keeps state between events, and no input makes it panic. Every bound is a
//! constant; `PATTERNS.md` lists them. `README.md` goes through all of this with examples, `examples/` has
//! programs, and `BENCHMARKS.md` the speeds.

#![forbid(unsafe_code)]

mod array_trail;
mod error;
mod event;
mod explain;
mod filter;
mod flatten;
mod index;
mod json;
mod limits;
pub mod lint;
mod naive;
mod operator;
mod path;
mod pattern;
mod scalar;
mod template;
mod tree;

pub use error::{EventError, ParseError};
pub use event::{Duplicates, Part};
pub use explain::{
    BranchExplanation, ConditionExplanation, Explanation, Nearness, Style, explain, explain_json,
};
pub use filter::{Filter, Steps, UsedUp};
pub use index::{Matches, RuleIndex, Scratch, Trust};
pub use naive::RuleSet;
pub use pattern::{Dialect, ParseOptions, Pattern};
pub use template::{
    ApplyError, Context, EventDocument, JsonPath, TemplatePart, Transform, TransformSpec,
    template_parts,
};
pub use tree::tree;

/// The README's examples, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
