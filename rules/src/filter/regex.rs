//! The regexes of `match` and `search`: I-Regexp (RFC 9485), in time linear in the string, and counted.
//!
//! Of an engine's ways to match, this is the one whose work can be counted while it goes on: a deterministic
//! automaton that is made state by state, when a string needs the state, in a bounded cache. A character is a
//! small piece of a step; what making states costs is seen in the memory that they take. Other engines may
//! switch to an automaton that processes thousands of states for each character, and can't be counted. Never
//! here: the event.

use super::plan::Extent;
use super::steps::{Steps, UsedUp};
use crate::limits::{REGEX_BYTES_MAX, REGEX_CACHE_BYTES_MAX};
use crate::operator::regex::{Anchors, translate};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input};
use std::sync::Arc;

/// Bytes of a string that count as one step: some 2 ns each, so as much as a node.
const BYTES_A_STEP: usize = 8;
/// Bytes of new states that count as one step: some 4 ns each.
const STATE_BYTES_A_STEP: usize = 4;
/// After this many bytes of a string, the states that were made are counted.
const CHUNK_BYTES: usize = 32;

/// A compiled regex.
#[derive(Debug, Clone)]
pub(super) struct Regex {
    text: Box<str>,
    extent: Extent,
    automaton: Arc<DFA>,
}

impl PartialEq for Regex {
    fn eq(&self, other: &Regex) -> bool {
        self.is(&other.text, other.extent)
    }
}

/// The states that strings of one event have needed so far.
pub(super) struct States(Cache);

impl Regex {
    /// Compiles a regex that takes at most `bytes_max` bytes compiled; else what is wrong and how to write it
    /// right.
    pub(super) fn compile(
        text: &str,
        extent: Extent,
        bytes_max: usize,
    ) -> Result<Regex, (String, String)> {
        if text.len() > REGEX_BYTES_MAX {
            let reason = format!("a regex of more than {REGEX_BYTES_MAX} bytes, the limit");
            return Err((reason, "split it into several alternatives".to_owned()));
        }
        let translated = translate(text, Anchors::Taken(extent))?;
        let automaton = DFA::builder()
            .thompson(
                thompson::Config::new()
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(bytes_max)),
            )
            .configure(
                DFA::config()
                    .cache_capacity(REGEX_CACHE_BYTES_MAX)
                    .skip_cache_capacity_check(true),
            )
            .build(&translated);
        match automaton {
            Ok(automaton) => Ok(Regex {
                text: text.into(),
                extent,
                automaton: Arc::new(automaton),
            }),
            // What the translation made is a regex, so only its size is left.
            Err(_) => {
                let reason =
                    format!("a regex that takes more than {bytes_max} bytes compiled, the limit");
                Err((reason, "repeat less, or use smaller classes".to_owned()))
            }
        }
    }

    /// Whether it is the regex of this text.
    pub(super) fn is(&self, text: &str, extent: Extent) -> bool {
        self.extent == extent && *self.text == *text
    }

    /// No states yet.
    pub(super) fn states(&self, steps: &mut Steps) -> Result<States, UsedUp> {
        steps.spend_many(1 + self.automaton.get_nfa().states().len() / STATE_BYTES_A_STEP)?;
        Ok(States(self.automaton.create_cache()))
    }

    /// Whether the string, or some part of it, has this form.
    pub(super) fn matches(
        &self,
        states: &mut States,
        text: &str,
        steps: &mut Steps,
    ) -> Result<bool, UsedUp> {
        let cache = &mut states.0;
        let automaton = &*self.automaton;
        let mut counted = Counted::of(cache);
        let anchored = match self.extent {
            Extent::Whole => Anchored::Yes,
            Extent::Part => Anchored::No,
        };
        let start = Input::new(text).anchored(anchored);
        // The cache may be cleared any number of times, and nothing here makes the automaton quit, so
        // neither of its errors happens; a match that can't be told is none.
        let Ok(mut state) = automaton.start_state_forward(cache, &start) else {
            return Ok(false);
        };
        for chunk in text.as_bytes().chunks(CHUNK_BYTES) {
            steps.spend_many(chunk.len().div_ceil(BYTES_A_STEP))?;
            for byte in chunk {
                let Ok(next) = automaton.next_state(cache, state, *byte) else {
                    return Ok(false);
                };
                state = next;
                if state.is_tagged() && (state.is_match() || state.is_dead()) {
                    counted.charge(cache, steps)?;
                    if state.is_dead() {
                        return Ok(false);
                    }
                    if self.extent == Extent::Part {
                        return Ok(true);
                    }
                }
            }
            counted.charge(cache, steps)?;
        }
        let end = automaton.next_eoi_state(cache, state);
        counted.charge(cache, steps)?;
        Ok(end.is_ok_and(|end| end.is_match()))
    }
}

/// How much of a cache's growth has been counted.
struct Counted {
    bytes: usize,
    clears: usize,
}

impl Counted {
    fn of(cache: &Cache) -> Counted {
        Counted {
            bytes: cache.memory_usage(),
            clears: cache.clear_count(),
        }
    }

    fn charge(&mut self, cache: &Cache, steps: &mut Steps) -> Result<(), UsedUp> {
        let now = Counted::of(cache);
        if now.bytes == self.bytes && now.clears == self.clears {
            return Ok(());
        }
        let cleared = (now.clears - self.clears).saturating_mul(REGEX_CACHE_BYTES_MAX);
        let made = cleared + now.bytes.saturating_sub(self.bytes);
        *self = now;
        steps.spend_many(made / STATE_BYTES_A_STEP)
    }
}
