//! Patterns.

use crate::error::Fault;

/// Whose limits a pattern is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The project's own.
    #[default]
    Edgebus,
    /// Amazon EventBridge's.
    EventBridge,
}

/// How to read a pattern.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParseOptions<'a> {
    /// Whose limits apply.
    pub dialect: Dialect,
    /// Other names of the first path segment, as (written, meant).
    pub aliases: &'a [(&'a str, &'a str)],
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern;

impl Pattern {
    /// Parses and validates a pattern.
    ///
    /// # Errors
    /// Every fault found, in reading order.
    pub fn parse(_json: &[u8], _options: &ParseOptions<'_>) -> Result<Pattern, Vec<Fault>> {
        Ok(Pattern)
    }
}
