//! Why a pattern matches an event, or doesn't.

use crate::{error::EventFault, naive::Part, pattern::Pattern};

/// Why a pattern matches an event, or doesn't.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    /// Whether the pattern matches.
    pub matched: bool,
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "matched: {}", self.matched)
    }
}

/// Explains.
///
/// # Errors
/// An [`EventFault`] when the event can't be read.
pub fn explain(_pattern: &Pattern, _event: &[Part<'_>]) -> Result<Explanation, EventFault> {
    Ok(Explanation { matched: false })
}
