//! Formats what the API gave of one thing for people.
//!
//! Everything here is a pure function of its structs, the time and the colours, so that each story has a
//! golden file. Never here: a request, a clock, a terminal.

mod attempt;
mod delivery;
mod event;
mod facts;
mod policy;
#[cfg(test)]
mod tests;
mod trial;
mod verdict;

pub(super) use attempt::log_lines;
pub(super) use delivery::Story;
pub(super) use event::{DATA_LINES_CUT, event, write as write_event};
pub(super) use facts::Facts;
pub(super) use policy::retry as retry_words;
pub(super) use trial::{state_line, trial};
pub(super) use verdict::{Explained, Stored, verdict_of};
