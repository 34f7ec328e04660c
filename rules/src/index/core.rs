//! The index's data: everything that adding a rule creates and removing it deletes.
//!
//! A rule consists of sub-rules. Each sub-rule is posted under the keys of its most selective condition. This
//! is the one with the fewest expected false candidates, counting those already posted there. Each condition
//! is stored once, even if many sub-rules share it. All data structures are persistent: a copy is free, and a
//! change copies only the few nodes that it touches. What a change costs depends on the rule, not on the
//! number of other rules. This module doesn't know the keys of rules. Here a rule is a number.

use super::condition::{Condition, SmallCondition};
use super::hash::Seed;
use super::index_key::{self, IndexKey, IndexKeys, Kind};
use super::multimap::MultiMap;
use super::slab::Slab;
use super::trie::{RANGES_LISTED_MAX, Trie};
use crate::naive::RuleSet;
use crate::pattern::{self, Pattern};
use std::sync::Arc;

/// A condition and the number of sub-rules that have it.
#[derive(Debug, Clone)]
struct Shared {
    users: u32,
    condition: Arc<Condition>,
}

/// The conditions of a sub-rule. It is posted under the first one.
#[derive(Debug, Clone)]
enum Conditions {
    One(Arc<Condition>),
    Many(Arc<[Arc<Condition>]>),
}

/// A sub-rule.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) rule: u32,
    /// Whether its rule has no other sub-rule.
    pub(super) sole: bool,
    /// Whether a single value finds it at most once.
    pub(super) once: bool,
    /// Whether the plain matcher decides about its rule.
    pub(super) whole: bool,
    /// A copy of its first condition, if that is small. Nothing else of the sub-rule is read unless this
    /// condition holds.
    pub(super) small: Option<SmallCondition>,
    conditions: Conditions,
}

impl Branch {
    /// Its conditions. It is posted under the first one.
    pub(super) fn conditions(&self) -> &[Arc<Condition>] {
        match &self.conditions {
            Conditions::One(one) => std::slice::from_ref(one),
            Conditions::Many(many) => many,
        }
    }

    /// Whether it has no other condition than the first.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.conditions, Conditions::One(_))
    }

    /// The node of its first condition.
    pub(super) fn node(&self) -> Option<u32> {
        match &self.small {
            Some(small) => Some(small.node),
            None => self.conditions().first().map(|first| first.node),
        }
    }
}

/// A rule's entries in the index, for its removal.
#[derive(Debug, Clone)]
pub(super) struct RuleEntries {
    /// Its sub-rules, in reading order.
    pub(super) branches: Arc<[u32]>,
    /// The paths that the rule mentions but no sub-rule has a condition on. Duplicate keys there are refused
    /// too.
    mentioned: Option<Arc<[u32]>>,
    /// The rule in the plain matcher, if the plain matcher decides about it.
    pub(super) whole: Option<Arc<RuleSet<()>>>,
}

/// All rules.
#[derive(Debug, Clone)]
pub(super) struct Core {
    pub(super) seed: Seed,
    pub(super) trie: Trie,
    conditions: Slab<Shared>,
    /// Conditions by their hash.
    interned: MultiMap,
    branches: Slab<Branch>,
    /// The postings: sub-rules by the hashes of their keys.
    pub(super) index_keys: MultiMap,
    /// The nodes that have sub-rules posted under the absence of a value. All are stored under one hash.
    pub(super) absent: MultiMap,
}

impl Core {
    pub(super) fn new() -> Self {
        let seed = Seed::random();
        Core {
            seed,
            trie: Trie::new(seed),
            conditions: Slab::new(),
            interned: MultiMap::new(),
            branches: Slab::new(),
            index_keys: MultiMap::new(),
            absent: MultiMap::new(),
        }
    }

    pub(super) fn condition(&self, number: u32) -> Option<&Condition> {
        self.conditions.get(number).map(|shared| &*shared.condition)
    }

    /// One past the largest number of a condition.
    pub(super) fn conditions_bound(&self) -> usize {
        self.conditions.bound()
    }

    pub(super) fn branch(&self, number: u32) -> Option<&Branch> {
        self.branches.get(number)
    }

    /// One past the largest number of a sub-rule.
    pub(super) fn branches_bound(&self) -> usize {
        self.branches.bound()
    }

    /// Whether nothing is left of any rule that was added.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let root = self.trie.node(super::trie::ROOT);
        let numbers = |bound: usize| 0..bound as u32;
        root.is_some_and(|root| !root.has_children())
            && self.absent.is_empty()
            && numbers(self.conditions.bound()).all(|number| self.conditions.get(number).is_none())
            && numbers(self.branches.bound()).all(|number| self.branches.get(number).is_none())
            && self.index_keys.is_empty()
            && self.interned.is_empty()
    }

    /// Adds a rule. `together` returns true for conditions that no single value decides.
    pub(super) fn enter(
        &mut self,
        rule: u32,
        pattern: &Pattern,
        together: impl Fn(&pattern::Condition) -> bool,
    ) -> RuleEntries {
        let nodes: Vec<u32> = pattern
            .paths()
            .iter()
            .map(|path| self.trie.enter(path))
            .collect();
        let mut known: Vec<Option<u32>> = vec![None; pattern.conditions().len()];
        let mut asked = vec![false; nodes.len()];
        let mut branches = Vec::with_capacity(pattern.branches().len());
        for branch in pattern.branches() {
            let mut numbers = Vec::with_capacity(branch.len());
            for &index in branch {
                let index = usize::from(index);
                let condition = &pattern.conditions()[index];
                let path = usize::from(condition.path);
                asked[path] = true;
                let number = match known[index] {
                    Some(number) => {
                        self.share(number);
                        number
                    }
                    None if together(condition) => {
                        self.intern(Condition::together(nodes[path], condition))
                    }
                    None => self.intern(Condition::new(nodes[path], condition)),
                };
                known[index] = Some(number);
                numbers.push(number);
            }
            let sole = pattern.branches().len() == 1;
            branches.push(self.enter_branch(rule, sole, numbers));
        }
        let mut mentioned = Vec::new();
        for (node, asked) in nodes.into_iter().zip(asked) {
            if asked {
                // The conditions keep the node in use from here on.
                self.trie.leave(node);
            } else {
                mentioned.push(node);
            }
        }
        RuleEntries {
            branches: branches.into(),
            mentioned: (!mentioned.is_empty()).then(|| mentioned.into()),
            whole: pattern
                .conditions()
                .iter()
                .any(together)
                .then(|| Arc::new(RuleSet::new([((), pattern.clone())]))),
        }
    }

    /// Removes a rule.
    pub(super) fn leave(&mut self, rule_entries: &RuleEntries) {
        for &number in &*rule_entries.branches {
            self.leave_branch(number);
        }
        for &node in rule_entries.mentioned.iter().flat_map(|nodes| nodes.iter()) {
            self.trie.leave(node);
        }
    }

    fn share(&mut self, number: u32) {
        if let Some(shared) = self.conditions.get_mut(number) {
            shared.users += 1;
        }
    }

    /// The number of this condition. Adds the condition if it is new, and counts one more user.
    fn intern(&mut self, condition: Condition) -> u32 {
        let hash = condition.hash(self.seed);
        let mut alike = self.interned.find(hash).map(|pair| pair.to);
        let known = alike.find(|&number| {
            let known = self.condition(number);
            known.is_some_and(|known| known.is_same(&condition))
        });
        if let Some(number) = known {
            self.share(number);
            return number;
        }
        if let Some(node) = self.trie.node_mut(condition.node) {
            node.numbers += u32::from(condition.needs_numbers());
            node.users += 1;
        }
        let number = self.conditions.next();
        let condition = Arc::new(condition.numbered(number));
        self.conditions.insert(Shared {
            users: 1,
            condition,
        });
        self.interned.insert(hash, number);
        number
    }

    fn release(&mut self, number: u32) {
        if let Some(shared) = self.conditions.get_mut(number) {
            shared.users -= 1;
            if shared.users > 0 {
                return;
            }
        }
        let Some(Shared { condition, .. }) = self.conditions.remove(number) else {
            return;
        };
        self.interned.remove(condition.hash(self.seed), number);
        if let Some(node) = self.trie.node_mut(condition.node) {
            node.numbers -= u32::from(condition.needs_numbers());
        }
        self.trie.leave(condition.node);
    }

    fn enter_branch(&mut self, rule: u32, sole: bool, numbers: Vec<u32>) -> u32 {
        let held = |&number: &u32| Some(self.conditions.get(number)?.condition.clone());
        let mut conditions: Vec<Arc<Condition>> = numbers.iter().filter_map(held).collect();
        let mut index_keys: Vec<IndexKeys> = conditions
            .iter()
            .map(|condition| condition.index_keys(self.seed))
            .collect();
        let costs = index_keys.iter().map(|index_keys| self.cost(index_keys));
        let cheapest = costs.enumerate().min_by_key(|&(place, cost)| (cost, place));
        let place = cheapest.map_or(0, |(place, _)| place);
        let index_keys = index_keys.swap_remove(place);
        conditions.swap(0, place);
        let node = conditions[0].node;
        let branch = self.branches.insert(Branch {
            rule,
            sole,
            once: index_keys.one(),
            whole: conditions.iter().any(|condition| condition.is_together()),
            small: conditions[0].small(),
            conditions: match conditions.as_slice() {
                [only] => Conditions::One(only.clone()),
                _ => Conditions::Many(conditions.into()),
            },
        });
        self.wait(node, &index_keys, branch);
        branch
    }

    fn leave_branch(&mut self, number: u32) {
        let Some(branch) = self.branches.remove(number) else {
            return;
        };
        if let Some(condition) = branch.conditions().first() {
            self.stop_waiting(condition.node, &condition.index_keys(self.seed), number);
        }
        for condition in branch.conditions() {
            self.release(condition.number);
        }
    }

    /// How many values are expected to find these index keys without meeting the condition.
    fn cost(&self, index_keys: &IndexKeys) -> u64 {
        let waiting = index_keys
            .single
            .iter()
            .map(|index_key| self.index_keys.find(index_key.hash).count_all() as u64);
        index_keys.cost.saturating_add(waiting.sum())
    }

    fn wait(&mut self, node: u32, index_keys: &IndexKeys, branch: u32) {
        for &index_key in &index_keys.single {
            self.wait_at(node, index_key, branch);
        }
        for &range in &index_keys.ranges {
            let listed = self.trie.node_mut(node).is_some_and(|node| {
                let room = node.ranges.len() < RANGES_LISTED_MAX;
                if room {
                    node.ranges.push((range, branch));
                }
                room
            });
            if !listed {
                for index_key in index_key::blocks(self.seed, node, range) {
                    self.wait_at(node, index_key, branch);
                }
            }
        }
    }

    fn wait_at(&mut self, node: u32, index_key: IndexKey, branch: u32) {
        self.index_keys.insert(index_key.hash, branch);
        let first = self
            .trie
            .node_mut(node)
            .is_some_and(|node| node.enter(index_key));
        if first && index_key.kind == Kind::Absent {
            self.absent.insert(0, node);
        }
    }

    fn stop_waiting(&mut self, node: u32, index_keys: &IndexKeys, branch: u32) {
        for &index_key in &index_keys.single {
            self.stop_waiting_at(node, index_key, branch);
        }
        for &range in &index_keys.ranges {
            let listed = self.trie.node_mut(node).is_some_and(|node| {
                let place = node
                    .ranges
                    .iter()
                    .position(|known| *known == (range, branch));
                place.map(|place| node.ranges.swap_remove(place)).is_some()
            });
            if !listed {
                for index_key in index_key::blocks(self.seed, node, range) {
                    self.stop_waiting_at(node, index_key, branch);
                }
            }
        }
    }

    fn stop_waiting_at(&mut self, node: u32, index_key: IndexKey, branch: u32) {
        self.index_keys.remove(index_key.hash, branch);
        let last = self
            .trie
            .node_mut(node)
            .is_some_and(|node| node.leave(index_key));
        if last && index_key.kind == Kind::Absent {
            self.absent.remove(0, node);
        }
    }
}
