//! The regexes of `match` and `search`: I-Regexp (RFC 9485). Matching is linear in the string, and its work
//! is counted.
//!
//! Of the engine's ways to match, this one allows counting the work while it goes on. It is a deterministic
//! automaton in a bounded cache, which makes a state when a string needs it. A character is a small part of a
//! step. The cost of making states shows in the memory that they take. Other ways may switch to an automaton
//! that processes thousands of states for each character, which can't be counted. Never here: the event.

use super::plan::Extent;
use super::steps::{Steps, UsedUp};
use crate::limits::{REGEX_BYTES_MAX, REGEX_CACHE_BYTES_MAX};
use crate::operator::regex::{Anchors, translate};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input};
use std::sync::Arc;

/// Bytes of a string that count as one step. Each takes about 2 ns, so this is as much as a node.
const BYTES_A_STEP: usize = 8;
/// Bytes of new states that count as one step. Each takes about 4 ns.
const STATE_BYTES_A_STEP: usize = 4;
/// The new states are counted after this many bytes of a string.
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

/// The states that the strings of one event have needed so far.
pub(super) struct States(Cache);

impl Regex {
    /// Compiles a regex that takes at most `bytes_max` bytes when compiled. An error says what is wrong and
    /// what to write instead.
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
            // The translation makes only valid regexes, so the error can only be the size.
            Err(_) => {
                let reason =
                    format!("a regex that takes more than {bytes_max} bytes compiled, the limit");
                Err((reason, "repeat less, or use smaller classes".to_owned()))
            }
        }
    }

    /// Whether it was compiled from this text.
    pub(super) fn is(&self, text: &str, extent: Extent) -> bool {
        self.extent == extent && *self.text == *text
    }

    /// An empty set of states.
    pub(super) fn states(&self, steps: &mut Steps) -> Result<States, UsedUp> {
        steps.spend_many(1 + self.automaton.get_nfa().states().len() / STATE_BYTES_A_STEP)?;
        Ok(States(self.automaton.create_cache()))
    }

    /// Whether the string, or a part of it, matches.
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
        // The cache may be cleared any number of times, and nothing here makes the automaton give up. So
        // neither of its errors happens. If one did, the result would be no match.
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

/// The part of a cache's growth that has been counted.
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
