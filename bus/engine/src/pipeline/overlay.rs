//! The newest state of functions: what is committed and, on top of it, what the settlements in the writer's
//! inbox will write.
//!
//! An attempt that reads a key need not wait until the attempt before it is flushed: it reads here what that
//! one will write, under the version that the write will have. Versions are given here, in the order in which
//! settlements enter the inbox, which is the order in which the store applies them. If the store refuses a
//! settlement, its version never appears, so the store refuses what was built on it, too. No result of an
//! attempt is visible before its own settlement is flushed, so nobody sees anything that is refused later.
//!
//! Why this state is consistent: a settlement enters the inbox only if everything that its attempt read is
//! still the newest state. This is checked under the same lock. So the settlements in the inbox are one serial
//! order of attempts, each of which saw what the ones before it left, and the newest state at any moment is
//! what a prefix of that order leaves behind. It comes to be unless the store refuses one of them, and that
//! only for a reason outside of the state: a fence, a limit of the chain, a rule that left. Then that one and
//! all that were built on it are taken out at once, and attempts that saw them end as conflicts.
//!
//! What is held: the writes of settlements between the inbox and the flush, which the inbox bounds, and
//! the last [`CHANGES_MAX`] changes of each function. Never here: reading the store, waiting.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

#[cfg(test)]
use super::injected as bugs;
use super::state_reads::{StateReads, Touch};
use edgebus_model::Name;

/// Changes of one function that are remembered; whoever has seen less looks at everything again.
const CHANGES_MAX: usize = 1_024;
/// Functions that are remembered.
const FUNCTIONS_MAX: usize = 4_096;

/// What a settlement in the inbox will write under a key: its version, and the value; `None` deletes.
pub(super) type InFlight = (u64, Option<Bytes>);

/// Part of the newest state at one moment.
pub(super) struct Look {
    /// The moment.
    pub(super) sequence: u64,
    /// True if all that the attempt has seen is so at that moment; else that is to be found out.
    pub(super) certain: bool,
    /// What is in flight of the wanted keys, and of all that the attempt has seen if that is not certain.
    pub(super) in_flight: BTreeMap<Vec<u8>, InFlight>,
}

/// What an attempt wants to read.
#[derive(Clone, Copy)]
pub(super) enum Want<'a> {
    /// Nothing more: it wants to know whether what it has seen is still so.
    Nothing,
    /// A key.
    Key(&'a [u8]),
    /// The keys with a prefix.
    Prefix(&'a [u8]),
}

/// Whether a settlement entered the inbox.
pub(super) enum Entry {
    /// It did.
    Entered,
    /// It is not certain that all that its attempt has seen is still so.
    Unsure,
    /// Something has changed.
    Changed(Touch),
}

/// The newest state of all functions.
pub(super) struct Overlay {
    /// A plain mutex around steps in memory, one of which puts a settlement into the writer's inbox. Under it
    /// nothing waits, nothing reads the store, and no other lock is taken.
    inside: Mutex<Inside>,
}

struct Inside {
    /// The last version that was given.
    version: u64,
    /// Counts changes of the newest state.
    sequence: u64,
    functions: HashMap<Name, Function>,
}

/// One function's.
struct Function {
    /// What is in flight and counts, the newest last.
    keys: BTreeMap<Vec<u8>, VecDeque<InFlight>>,
    /// Settlements between the inbox and the flush that write, in their order.
    settlements: VecDeque<Settlement>,
    /// How many of them were taken out of `keys` because they will be refused.
    doomed: usize,
    /// When which key changed, in order.
    changes: VecDeque<(u64, Vec<u8>)>,
    /// The last change.
    sequence: u64,
    /// The last change that is no longer in `changes`.
    forgotten: u64,
}

struct Settlement {
    version: u64,
    keys: Vec<Vec<u8>>,
    /// Versions in flight that its attempt read.
    built_on: BTreeSet<u64>,
    doomed: bool,
}

impl Function {
    fn new(sequence: u64) -> Self {
        Self {
            keys: BTreeMap::new(),
            settlements: VecDeque::new(),
            doomed: 0,
            changes: VecDeque::new(),
            sequence,
            forgotten: sequence,
        }
    }

    fn note_change(&mut self, sequence: u64, key: Vec<u8>) {
        self.sequence = sequence;
        self.changes.push_back((sequence, key));
        if self.changes.len() > CHANGES_MAX
            && let Some((forgotten, _)) = self.changes.pop_front()
        {
            self.forgotten = forgotten;
        }
    }

    /// What has become of `state_reads` since they were so; `None` if that is not known.
    fn touched(&self, as_of: Option<u64>, touch: impl Fn(&[u8]) -> Touch) -> Option<Touch> {
        let Some(as_of) = as_of else {
            return Some(Touch::Nothing);
        };
        if as_of < self.forgotten {
            return None;
        }
        let since = self.changes.iter().rev();
        let mut since = since.take_while(|(sequence, _)| *sequence > as_of);
        let touched = since.find_map(|(_, key)| match touch(key) {
            Touch::Nothing => None,
            touch => Some(touch),
        });
        Some(touched.unwrap_or(Touch::Nothing))
    }

    fn newest(&self, key: &[u8]) -> Option<&InFlight> {
        self.keys.get(key).and_then(VecDeque::back)
    }

    fn with_prefix<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a InFlight)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.keys
            .range::<[u8], _>(from)
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter_map(|(key, writes)| Some((key, writes.back()?)))
    }

    fn wanted(&self, want: Want<'_>, into: &mut BTreeMap<Vec<u8>, InFlight>) {
        match want {
            Want::Nothing => {}
            Want::Key(key) => {
                let found = self.newest(key);
                into.extend(found.map(|newest| (key.to_vec(), newest.clone())));
            }
            Want::Prefix(prefix) => into.extend(
                self.with_prefix(prefix)
                    .map(|(key, newest)| (key.clone(), newest.clone())),
            ),
        }
    }

    /// Takes a settlement's writes out of the newest state.
    fn take_out(keys: &mut BTreeMap<Vec<u8>, VecDeque<InFlight>>, settlement: &Settlement) {
        for key in &settlement.keys {
            if let Some(writes) = keys.get_mut(key) {
                writes.retain(|(version, _)| *version != settlement.version);
                if writes.is_empty() {
                    keys.remove(key);
                }
            }
        }
    }

    /// A settlement is committed.
    fn committed(&mut self, version: u64, sequence: &mut u64) {
        let at = self.position(version);
        let Some(settlement) = at.and_then(|at| self.settlements.remove(at)) else {
            return;
        };
        if settlement.doomed {
            // It read something absent that would have been removed, and was absent anyway.
            self.doomed -= 1;
            self.changed(settlement.keys, sequence);
        } else {
            Self::take_out(&mut self.keys, &settlement);
        }
    }

    /// A settlement was refused: it and all that are built on it no longer count.
    fn refused(&mut self, version: u64, sequence: &mut u64) {
        #[cfg(test)]
        if injected::KEEP_REFUSED.get() {
            return;
        }
        let Some(at) = self.position(version) else {
            return;
        };
        let mut refused = BTreeSet::from([version]);
        let mut changed = Vec::new();
        for settlement in self.settlements.iter_mut().skip(at) {
            let built = !settlement.built_on.is_disjoint(&refused);
            if settlement.doomed || !(built || settlement.version == version) {
                continue;
            }
            refused.insert(settlement.version);
            settlement.doomed = true;
            self.doomed += 1;
            changed.extend(settlement.keys.iter().cloned());
            Self::take_out(&mut self.keys, settlement);
        }
        self.settlements.remove(at);
        self.doomed -= 1;
        self.changed(changed, sequence);
    }

    fn changed(&mut self, keys: Vec<Vec<u8>>, sequence: &mut u64) {
        *sequence += 1;
        for key in keys {
            self.note_change(*sequence, key);
        }
    }

    fn position(&self, version: u64) -> Option<usize> {
        let versions = &self.settlements;
        versions
            .binary_search_by_key(&version, |own| own.version)
            .ok()
    }
}

impl Inside {
    fn function(&mut self, name: &Name) -> &mut Function {
        if !self.functions.contains_key(name) {
            if self.functions.len() >= FUNCTIONS_MAX {
                // Whoever read of those that go looks at everything again.
                self.functions.retain(|_, own| !own.settlements.is_empty());
            }
            self.functions
                .insert(name.clone(), Function::new(self.sequence));
        }
        let function = self.functions.get_mut(name);
        function.expect("it is there or was put there")
    }
}

impl Overlay {
    /// Nothing is in flight, and `version` is the last one in the store.
    pub(super) fn new(version: u64) -> Self {
        Self {
            inside: Mutex::new(Inside {
                version,
                sequence: 0,
                functions: HashMap::new(),
            }),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in flight of what an attempt wants.
    ///
    /// # Errors
    /// What has changed of all that the attempt has seen.
    pub(super) fn look(
        &self,
        name: &Name,
        as_of: Option<u64>,
        state_reads: &StateReads,
        want: Want<'_>,
    ) -> Result<Look, Touch> {
        let mut inside = self.inside();
        let function = inside.function(name);
        let mut certain = function.doomed == 0;
        #[cfg(test)]
        let as_of = as_of.filter(|_| !bugs::is(bugs::Bug::StatesMixed));
        match function.touched(as_of, |key| state_reads.touch(key)) {
            Some(Touch::Nothing) => {}
            Some(touch @ Touch::Read(_)) => return Err(touch),
            // A write under a listed prefix may leave the listing as it is.
            Some(Touch::Listed(_)) | None => certain = false,
        }
        let mut in_flight = BTreeMap::new();
        function.wanted(want, &mut in_flight);
        if !certain {
            for key in state_reads.keys() {
                function.wanted(Want::Key(key), &mut in_flight);
            }
            for prefix in state_reads.prefixes() {
                function.wanted(Want::Prefix(prefix), &mut in_flight);
            }
        }
        Ok(Look {
            sequence: function.sequence,
            certain,
            in_flight,
        })
    }

    /// True if no change after `sequence` touches what is asked for.
    pub(super) fn unchanged(
        &self,
        name: &Name,
        sequence: u64,
        touch: impl Fn(&[u8]) -> Touch,
    ) -> bool {
        let mut inside = self.inside();
        inside.function(name).touched(Some(sequence), touch) == Some(Touch::Nothing)
    }

    /// Lets a settlement into the inbox, if all that its attempt has seen is so at this moment: `send` puts it
    /// there, under the version of its writes.
    pub(super) fn enter(
        &self,
        name: &Name,
        (as_of, state_reads, built_on): (Option<u64>, &StateReads, &BTreeSet<u64>),
        writes: &[(Vec<u8>, Option<Bytes>)],
        send: impl FnOnce(u64),
    ) -> Entry {
        let mut inside = self.inside();
        let touched = inside
            .function(name)
            .touched(as_of, |key| state_reads.touch(key));
        #[cfg(test)]
        let touched = if bugs::is(bugs::Bug::StateUnchecked) {
            Some(Touch::Nothing)
        } else {
            touched
        };
        match touched {
            Some(Touch::Nothing) => {}
            Some(touch @ Touch::Read(_)) => return Entry::Changed(touch),
            Some(Touch::Listed(_)) | None => return Entry::Unsure,
        }
        if writes.is_empty() {
            send(0);
            return Entry::Entered;
        }
        inside.version += 1;
        inside.sequence += 1;
        let (version, sequence) = (inside.version, inside.sequence);
        send(version);
        let function = inside.function(name);
        for (key, value) in writes {
            let own = function.keys.entry(key.clone()).or_default();
            own.push_back((version, value.clone()));
            function.note_change(sequence, key.clone());
        }
        function.settlements.push_back(Settlement {
            version,
            keys: writes.iter().map(|(key, _)| key.clone()).collect(),
            built_on: built_on.clone(),
            doomed: false,
        });
        Entry::Entered
    }

    /// Takes note of what came of settlements, in the order of the commit: true for those that took place.
    pub(super) fn ended<'a>(&self, outcomes: impl Iterator<Item = (&'a Name, u64, bool)>) {
        let mut outcomes = outcomes.peekable();
        if outcomes.peek().is_none() {
            return;
        }
        let mut inside = self.inside();
        let Inside {
            sequence,
            functions,
            ..
        } = &mut *inside;
        for (name, version, committed) in outcomes {
            let Some(function) = functions.get_mut(name) else {
                continue;
            };
            if committed {
                function.committed(version, sequence);
            } else {
                function.refused(version, sequence);
            }
        }
    }
}

/// Bugs that the tests must catch, on the thread that turns them on. Never in a release.
#[cfg(test)]
pub(crate) mod injected {
    use std::cell::Cell;

    thread_local! {
        /// What was refused still counts.
        pub(crate) static KEEP_REFUSED: Cell<bool> = const { Cell::new(false) };
    }
}
