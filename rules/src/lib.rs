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
//! - A [`Pattern`] is a rule's text, parsed. A [`ParseError`] says what is wrong with it, where, and what to
//!   write instead. `PATTERNS.md` beside this crate describes the language.
//! - A [`RuleIndex`] is the fast matcher. It changes one rule at a time. A clone of it is a snapshot that
//!   costs next to nothing and never changes, for threads that match meanwhile. [`Trust`] says whether an
//!   event's bytes have to be checked. [`Scratch`] keeps a thread's buffers.
//! - A [`RuleSet`] is the plain matcher, which tries every rule. The fast matcher has to agree with it.
//! - [`explain`] and [`explain_json`] say why a pattern matches an event, or why it doesn't.
//! - A [`Filter`] is a JSONPath query beside a pattern. It has to select something.
//! - A [`Transform`] makes a JSON value from an event, such as a target's input. A [`JsonPath`] takes values
//!   out of JSON text without changing their spelling, and [`template_parts`] reads text with placeholders.
//! - [`lint`] finds what is wrong with patterns without an event.
//!
//! An event is one JSON object, or its top-level members as [`Part`]s. Nothing here does input or output,
//! reads a clock or keeps state between events, and no input makes it panic. Every bound is a constant;
//! `PATTERNS.md` lists them. `README.md` shows all of this with examples, `examples/` has programs, and
//! `BENCHMARKS.md` has measurements.

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
