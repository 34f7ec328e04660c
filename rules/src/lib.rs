//! EventBridge-style content rules over raw JSON bytes: parse, validate, match, explain.

mod error;
mod explain;
mod filter;
mod naive;
mod pattern;

pub use error::{EventFault, Fault};
pub use explain::{Explanation, explain};
pub use filter::Filter;
pub use naive::{Duplicates, Part, RuleSet};
pub use pattern::{Dialect, ParseOptions, Pattern};
