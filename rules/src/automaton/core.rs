//! The rules as look-ups: what is added for a rule, and taken away with it.
//!
//! A rule is its sub-rules. Each waits behind the doors of one of its conditions: the one at whose
//! doors the fewest come in vain, those who already wait there counted. Conditions are held once
//! each, however many sub-rules share them. Everything is persistent: a copy is free, a change
//! copies the few nodes that it touches, and what a change costs depends on the rule and not on how
//! many others there are. Keys of rules are not known here; a rule is a number.

use super::condition::{Condition, SmallCondition};
use super::door::{self, Door, Doors, Kind};
use super::hash::Seed;
use super::multimap::MultiMap;
use super::slab::Slab;
use super::trie::{RANGES_LISTED_MAX, Trie};
use crate::naive::RuleSet;
use crate::pattern::{self, Pattern};
use std::sync::Arc;

/// A condition and how many sub-rules have it.
#[derive(Debug, Clone)]
struct Shared {
    users: u32,
    condition: Arc<Condition>,
}

/// The conditions of a sub-rule; it waits behind the first.
#[derive(Debug, Clone)]
enum Conditions {
    One(Arc<Condition>),
    Many(Arc<[Arc<Condition>]>),
}

/// A sub-rule.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) rule: u32,
    /// Its rule has no other.
    pub(super) sole: bool,
    /// A single value finds it at most once.
    pub(super) once: bool,
    /// The plain matcher decides about its rule.
    pub(super) whole: bool,
    /// Its first condition once more, if that is small: then nothing else is read before it holds.
    pub(super) small: Option<SmallCondition>,
    conditions: Conditions,
}

impl Branch {
    /// Its conditions; it waits behind the first.
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

/// What a rule has here, to be given back when it goes.
#[derive(Debug, Clone)]
pub(super) struct Stake {
    /// Its sub-rules, in reading order.
    pub(super) branches: Arc<[u32]>,
    /// Paths that it mentions where no sub-rule asks anything: duplicates there are still refused.
    mentioned: Option<Arc<[u32]>>,
    /// The rule as the plain matcher has it, where that decides.
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
    /// Sub-rules by the hashes of the doors that they wait behind.
    pub(super) doors: MultiMap,
    /// Under one hash, the nodes at whose absence sub-rules wait.
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
            doors: MultiMap::new(),
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

    /// Whether nothing is left of any rule.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let root = self.trie.node(super::trie::ROOT);
        let numbers = |bound: usize| 0..bound as u32;
        root.is_some_and(|root| !root.has_children())
            && self.absent.is_empty()
            && numbers(self.conditions.bound()).all(|number| self.conditions.get(number).is_none())
            && numbers(self.branches.bound()).all(|number| self.branches.get(number).is_none())
            && self.doors.is_empty()
            && self.interned.is_empty()
    }

    /// Adds a rule; `together` tells of its conditions which no single value decides.
    pub(super) fn enter(
        &mut self,
        rule: u32,
        pattern: &Pattern,
        together: impl Fn(&pattern::Condition) -> bool,
    ) -> Stake {
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
                // The conditions hold the node now.
                self.trie.leave(node);
            } else {
                mentioned.push(node);
            }
        }
        Stake {
            branches: branches.into(),
            mentioned: (!mentioned.is_empty()).then(|| mentioned.into()),
            whole: pattern
                .conditions()
                .iter()
                .any(together)
                .then(|| Arc::new(RuleSet::new([((), pattern.clone())]))),
        }
    }

    /// Takes a rule away.
    pub(super) fn leave(&mut self, stake: &Stake) {
        for &number in &*stake.branches {
            self.leave_branch(number);
        }
        for &node in stake.mentioned.iter().flat_map(|nodes| nodes.iter()) {
            self.trie.leave(node);
        }
    }

    fn share(&mut self, number: u32) {
        if let Some(shared) = self.conditions.get_mut(number) {
            shared.users += 1;
        }
    }

    /// The number of this condition, new or known, with one more user.
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
        let mut doors: Vec<Doors> = conditions
            .iter()
            .map(|condition| condition.doors(self.seed))
            .collect();
        let prices = doors.iter().map(|doors| self.price(doors));
        let cheapest = prices
            .enumerate()
            .min_by_key(|&(place, price)| (price, place));
        let place = cheapest.map_or(0, |(place, _)| place);
        let doors = doors.swap_remove(place);
        conditions.swap(0, place);
        let node = conditions[0].node;
        let branch = self.branches.insert(Branch {
            rule,
            sole,
            once: doors.one(),
            whole: conditions.iter().any(|condition| condition.is_together()),
            small: conditions[0].small(),
            conditions: match conditions.as_slice() {
                [only] => Conditions::One(only.clone()),
                _ => Conditions::Many(conditions.into()),
            },
        });
        self.wait(node, &doors, branch);
        branch
    }

    fn leave_branch(&mut self, number: u32) {
        let Some(branch) = self.branches.remove(number) else {
            return;
        };
        if let Some(condition) = branch.conditions().first() {
            self.stop_waiting(condition.node, &condition.doors(self.seed), number);
        }
        for condition in branch.conditions() {
            self.release(condition.number);
        }
    }

    /// How many values are expected to come through a condition's doors for nothing.
    fn price(&self, doors: &Doors) -> u64 {
        let waiting = doors
            .single
            .iter()
            .map(|door| self.doors.find(door.hash).count_all() as u64);
        doors.price.saturating_add(waiting.sum())
    }

    fn wait(&mut self, node: u32, doors: &Doors, branch: u32) {
        for &door in &doors.single {
            self.wait_at(node, door, branch);
        }
        for &range in &doors.ranges {
            let listed = self.trie.node_mut(node).is_some_and(|node| {
                let room = node.ranges.len() < RANGES_LISTED_MAX;
                if room {
                    node.ranges.push((range, branch));
                }
                room
            });
            if !listed {
                for door in door::blocks(self.seed, node, range) {
                    self.wait_at(node, door, branch);
                }
            }
        }
    }

    fn wait_at(&mut self, node: u32, door: Door, branch: u32) {
        self.doors.insert(door.hash, branch);
        let first = self
            .trie
            .node_mut(node)
            .is_some_and(|node| node.enter(door));
        if first && door.kind == Kind::Absent {
            self.absent.insert(0, node);
        }
    }

    fn stop_waiting(&mut self, node: u32, doors: &Doors, branch: u32) {
        for &door in &doors.single {
            self.stop_waiting_at(node, door, branch);
        }
        for &range in &doors.ranges {
            let listed = self.trie.node_mut(node).is_some_and(|node| {
                let place = node
                    .ranges
                    .iter()
                    .position(|known| *known == (range, branch));
                place.map(|place| node.ranges.swap_remove(place)).is_some()
            });
            if !listed {
                for door in door::blocks(self.seed, node, range) {
                    self.stop_waiting_at(node, door, branch);
                }
            }
        }
    }

    fn stop_waiting_at(&mut self, node: u32, door: Door, branch: u32) {
        self.doors.remove(door.hash, branch);
        let last = self
            .trie
            .node_mut(node)
            .is_some_and(|node| node.leave(door));
        if last && door.kind == Kind::Absent {
            self.absent.remove(0, node);
        }
    }
}
