//! The fast matcher, an inverted index. It finds rules by look-up and verifies them by comparison.
//! `docs/pattern-index.md` explains it with an example.
//!
//! An event passes through four stages. `walk` reads the bytes once. It records the values at the paths that
//! rules mention and skips everything else. `probe` looks up each value and finds candidate sub-rules. A
//! sub-rule is posted only under its most selective condition (`index_key`). `confirm` verifies the other
//! conditions of a candidate, and that its arrays are consistent. At the end, `matching` reports each
//! matching rule once. So the cost depends on the event and on the candidates, not on the number of rules.
//!
//! The result always equals that of the plain matcher. The look-ups find every matching rule, and sometimes
//! other rules. The operators' own code and the same search in arrays then verify them.
//!
//! Bounds. An event costs one walk, linear in its bytes. Each value at a rule's path costs one look-up for
//! each kind and length in use at the path, linear in the value. If wildcards at the path are posted under
//! text in their middle, it also costs one look-up for each of its bytes. Each path with sub-rules posted
//! under absence costs one look-up. Each candidate is verified once, with work linear in the values at its
//! paths. Nothing here recurses deeper than `EVENT_DEPTH_MAX`. Adding or removing a rule takes time
//! proportional to the rule, not to the number of rules. If very many sub-rules are posted under one key, a
//! change copies one chunk of them and the list of chunks.
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

/// How far the bytes of an event can be trusted. [`Trust::of`] reads an event and returns this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nothing is known. Every byte is checked, and an event that isn't JSON is refused.
    Unchecked,
    /// The caller guarantees that every raw text is JSON (RFC 8259) in UTF-8 and nests no deeper than the
    /// limit. This crate or another strict parser must have accepted it before. What rules don't mention is
    /// then skipped and not checked. Duplicate keys are still treated as the caller says. If the guarantee is
    /// wrong, the match returns an error or some keys, but never panics.
    Json,
    /// The same as `Json`, and two guarantees more: outside of arrays no object has a key twice, and none has
    /// a key with a dot in it. The parts of an event count as one object whose keys are the names of the
    /// parts. Nearly all events are like this. A walk then ends as soon as nothing that a rule mentions can
    /// follow.
    Plain,
}

/// A set of rules that is matched by look-up. Rules are added, changed and removed one at a time.
///
/// A clone is free, because clones share what they have in common. A writer changes its own copy and hands
/// out clones. Each clone is an immutable snapshot that readers use without locks.
#[derive(Debug, Clone)]
pub struct RuleIndex<K> {
    core: Core,
    rules: Slab<Rule<K>>,
    /// The entries of each rule in the core, under the rule's number. Kept apart from `rules`, because most
    /// matches don't read them.
    rule_entries_of: Slab<RuleEntries>,
    /// Rules by the hash of their key.
    keys: MultiMap,
    hasher: RandomState,
    /// The number of keys that were ever added.
    added: u64,
    count: usize,
}

#[derive(Debug, Clone)]
struct Rule<K> {
    /// The rule's place in the order of addition.
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

    /// Adds a rule. If a rule with this key exists, changes its pattern, and the rule keeps its place in the
    /// order. Returns true if the key is new.
    ///
    /// The key is cloned each time that the part of the index which holds it is copied. Use a key that is
    /// cheap to clone.
    pub fn insert(&mut self, key: K, pattern: &Pattern) -> bool {
        self.insert_as(key, pattern, pattern::Condition::needs_all_values)
    }

    /// As `insert`. `together` returns true for conditions that no single value decides.
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
        // Both tables have the same insertions and removals, so they assign the same numbers.
        let rule_entries = self.core.enter(number, pattern, together);
        self.rule_entries_of.insert(rule_entries);
        self.keys.insert(hash, number);
        true
    }

    /// Removes the rule with this key. Returns false if there was none.
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
