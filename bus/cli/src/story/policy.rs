//! A delivery policy in words.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::output::span;

/// `3 attempts, 200 ms × 2 up to 1.0 s between them, for 1 d at most`.
#[must_use]
pub(crate) fn retry(retry: &Value) -> String {
    let number = |name: &str| retry.get(name).and_then(Value::as_u64).unwrap_or(0);
    let attempts = number("attempts");
    if attempts == 1 {
        return "1 attempt".to_owned();
    }
    let mut out = format!("{attempts} attempts, {}", span(number("initial_ms")));
    if let Some(factor) = retry.get("factor") {
        // Writing into a String can't fail.
        let _ = write!(out, " × {factor}");
    }
    let _ = write!(out, " up to {}", span(number("max_ms")));
    if retry.get("jitter") == Some(&Value::Bool(true)) {
        out.push_str(" with jitter");
    }
    let _ = write!(
        out,
        " between them, for {} at most",
        span(number("max_age_ms"))
    );
    out
}
