//! A delivery policy in words.

use std::fmt::Write as _;

use super::super::output::span;
use edgebus_api::RetryPolicy;

/// `3 attempts, 200 ms × 2 up to 1.0 s between them, for 1 d at most`.
#[must_use]
pub(crate) fn retry(retry: &RetryPolicy) -> String {
    if retry.attempts == 1 {
        return "1 attempt".to_owned();
    }
    // Writing to a String can't fail.
    let mut out = format!("{} attempts, {}", retry.attempts, span(retry.initial_ms));
    let _ = write!(out, " × {:?} up to {}", retry.factor, span(retry.max_ms));
    if retry.jitter {
        out.push_str(" with jitter");
    }
    let _ = write!(out, " between them, for {} at most", span(retry.max_age_ms));
    out
}
