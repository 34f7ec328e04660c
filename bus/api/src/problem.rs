//! Why a request was not done: the problem document of RFC 9457.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::ProblemType;
use crate::schema::Code;

/// Why a request was not done (RFC 9457).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What went wrong, for programs.
    #[serde(rename = "type")]
    pub kind: ProblemType,
    /// What went wrong, more exactly. `edgebus explain CODE` prints its page.
    #[schemars(with = "Code")]
    pub code: String,
    /// The type in words.
    pub title: String,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// This occurrence in words.
    pub detail: String,
    /// The path that was asked; not there where the problem is one event's of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Every error of an invalid input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<InputError>,
}

/// One error of an input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InputError {
    /// A JSON pointer into the input (RFC 6901); empty is the whole.
    pub pointer: String,
    /// The line, where the input is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub line: Option<u64>,
    /// The column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub column: Option<u64>,
    /// What is wrong.
    pub reason: String,
    /// How to write it right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}
