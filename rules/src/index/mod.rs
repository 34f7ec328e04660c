//! The fast matcher, an inverted index: finds rules by look-up and verifies them by comparison.
//! `docs/pattern-index.md` explains it with an example.
//!
//! An event passes through four stages. `walk` goes once over the bytes and notes the values at paths that
//! rules mention, skipping everything else. `probe` looks up each value and finds candidate sub-rules: a
//! sub-rule is posted only under its most selective condition (`index_key`). `confirm` verifies the other conditions
//! of a candidate, and that its arrays are consistent. Each matching rule is reported once. So the cost depends
//! on the event and on the candidates, not on the number of rules.
//!
//! It always agrees with the plain matcher: look-ups find every matching rule and sometimes others, and the
//! operators' own code and the same search in arrays verify them.
//!
//! Bounds. An event costs one walk, linear in its bytes; each value at a rule's path costs one look-up for each
//! kind and length in use at the path, linear in the value, and one for each of its bytes where wildcards wait
//! in the middle; each path at whose absence sub-rules wait costs one. Each candidate is confirmed once, with
//! work linear in the values at its paths. Nothing here recurses deeper than `EVENT_DEPTH_MAX`. Adding or
//! removing a rule takes time proportional to the rule, not to the set: of the postings of one key only a list
//! of chunks is copied.
//!
//! Never here: an unsafe block, a tree of an event, a lock, a clock.

mod agree;
mod block;
mod check;
mod condition;
mod confirm;
mod core;
mod fold;
mod grammar;
mod hash;
mod index_key;
mod keys;
mod matching;
mod multimap;
mod order;
mod probe;
mod slab;
mod trie;
mod values;
mod walk;

pub use self::matching::{Matches, Scratch};

use self::core::{Core, RuleEntries};
use self::multimap::MultiMap;
use self::slab::Slab;
use crate::pattern::{self, Pattern};
use std::hash::{BuildHasher, Hash, RandomState};

/// What is known of the bytes of an event. Whoever takes an event in finds out with [`Trust::of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nothing is known: every byte is checked, and an event that isn't JSON is refused.
    Unchecked,
    /// The caller vouches that every raw text is JSON (RFC 8259) in UTF-8 and nests no deeper than
    /// the limit, because this crate or another strict parser has accepted it before. What rules
    /// don't mention is then skipped unread. Duplicate keys are still treated as the caller says.
    /// For bytes that break this promise the answer is some refusal or some keys, never a panic.
    Json,
    /// As `Json`, and the caller also vouches that outside of arrays no object has a key twice, or a
    /// key with a dot in it; the parts of an event are one object, their names its keys. So it is with
    /// nearly all events. A walk then ends as soon as there can
    /// be nothing more that a rule mentions.
    Plain,
}

/// A set of rules that is matched by look-up and changed one rule at a time.
///
/// Copying it is free: copies share what they have in common. So a writer changes its own copy and
/// hands out clones, each an immutable snapshot that readers use without locks.
#[derive(Debug, Clone)]
pub struct RuleIndex<K> {
    core: Core,
    rules: Slab<Rule<K>>,
    /// What each rule has in the core, under the same number: apart, because matching never looks.
    rule_entries_of: Slab<RuleEntries>,
    /// Rules by the hash of their key.
    keys: MultiMap,
    hasher: RandomState,
    /// How many keys were ever added.
    added: u64,
    count: usize,
}

#[derive(Debug, Clone)]
struct Rule<K> {
    /// Its place in the order of addition.
    order: u64,
    key: K,
}

impl<K: Clone + Eq + Hash> RuleIndex<K> {
    /// An index of no rules.
    #[must_use]
    pub fn new() -> Self {
        RuleIndex {
            core: Core::new(),
            rules: Slab::new(),
            rule_entries_of: Slab::new(),
            keys: MultiMap::new(),
            hasher: RandomState::new(),
            added: 0,
            count: 0,
        }
    }

    /// Adds a rule, or changes the pattern of the one that has this key, which keeps its place in
    /// the order. True if the key is new.
    ///
    /// The key is cloned whenever a part of the index that holds it is copied; make it cheap.
    pub fn insert(&mut self, key: K, pattern: &Pattern) -> bool {
        self.insert_as(key, pattern, pattern::Condition::needs_all_values)
    }

    /// The same; `together` tells of the conditions which no single value decides.
    fn insert_as(
        &mut self,
        key: K,
        pattern: &Pattern,
        together: impl Fn(&pattern::Condition) -> bool,
    ) -> bool {
        if let Some(number) = self.number(&key) {
            let rule_entries = self.core.enter(number, pattern, together);
            if let Some(known) = self.rule_entries_of.get_mut(number) {
                let old = std::mem::replace(known, rule_entries);
                self.core.leave(&old);
            }
            return false;
        }
        let hash = self.hash(&key);
        let order = self.added;
        self.added += 1;
        self.count += 1;
        let number = self.rules.insert(Rule { order, key });
        // Both tables see the same insertions and removals, so they give the same numbers.
        let rule_entries = self.core.enter(number, pattern, together);
        self.rule_entries_of.insert(rule_entries);
        self.keys.insert(hash, number);
        true
    }

    /// Takes the rule with this key away. False if there was none.
    pub fn remove(&mut self, key: &K) -> bool {
        let Some(number) = self.number(key) else {
            return false;
        };
        self.keys.remove(self.hash(key), number);
        self.rules.remove(number);
        if let Some(rule_entries) = self.rule_entries_of.remove(number) {
            self.core.leave(&rule_entries);
        }
        self.count -= 1;
        true
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there is a rule with this key.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.number(key).is_some()
    }

    fn hash(&self, key: &K) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    fn number(&self, key: &K) -> Option<u32> {
        let mut known = self.keys.find(self.hash(key)).map(|pair| pair.to);
        known.find(|&number| self.rules.get(number).is_some_and(|rule| rule.key == *key))
    }
}

impl<K: Clone + Eq + Hash> Default for RuleIndex<K> {
    fn default() -> Self {
        RuleIndex::new()
    }
}

impl<K: Clone + Eq + Hash> Extend<(K, Pattern)> for RuleIndex<K> {
    fn extend<I: IntoIterator<Item = (K, Pattern)>>(&mut self, rules: I) {
        for (key, pattern) in rules {
            self.insert(key, &pattern);
        }
    }
}

impl<K: Clone + Eq + Hash> FromIterator<(K, Pattern)> for RuleIndex<K> {
    fn from_iter<I: IntoIterator<Item = (K, Pattern)>>(rules: I) -> Self {
        let mut index = RuleIndex::new();
        index.extend(rules);
        index
    }
}

#[cfg(test)]
mod tests;
