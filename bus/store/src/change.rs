//! A change of the catalog, planned outside of the writer's thread: what is known before and after, and the
//! rows in which the two differ.
//!
//! So a change of one rule among many costs the writer that rule's rows. It counts only while what it was
//! planned from is still what is known. Never here: an engine's rows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::Step;
use super::catalog_state::CatalogState;
use edgebus_model::{BusId, Digest, Name, SubscriptionId};

/// A change that [`Store::plan`](super::Store::plan) made of a step, to be committed in its place.
#[derive(Clone)]
pub struct Change {
    base: Arc<CatalogState>,
    next: Arc<CatalogState>,
    difference: Arc<Difference>,
    components: Vec<(Digest, Bytes)>,
}

impl fmt::Debug for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Change({} to {})",
            self.base.version, self.next.version
        )
    }
}

impl Change {
    /// The change from `base` to `next` that `step` asks for.
    pub(super) fn new(base: Arc<CatalogState>, next: CatalogState, step: &Step) -> Self {
        let difference = Arc::new(Difference::between(&base, &next));
        Self {
            base,
            next: Arc::new(next),
            difference,
            components: match step {
                Step::ApplyManifest(apply) => apply.components.clone(),
                Step::Deploy(deploy) => {
                    vec![(Digest::of(&deploy.component), deploy.component.clone())]
                }
                _ => Vec::new(),
            },
        }
    }

    /// What is known after it.
    pub(super) fn next(&self) -> &Arc<CatalogState> {
        &self.next
    }

    /// The rows in which it differs from what is known before.
    pub(super) fn difference(&self) -> &Difference {
        &self.difference
    }

    /// The components that it brings.
    pub(super) fn components(&self) -> &[(Digest, Bytes)] {
        &self.components
    }

    /// How many bytes its components have.
    #[must_use]
    pub fn component_bytes(&self) -> usize {
        self.components.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Why it can't be made from what is known now, if it can't.
    pub(super) fn check(&self, known: &Arc<CatalogState>) -> Result<(), String> {
        if Arc::ptr_eq(&self.base, known) {
            return Ok(());
        }
        Err(format!(
            "the change was made from rule-set version {}, and {} is active",
            self.base.version, known.version
        ))
    }
}

/// The rows of the catalog in which one state of it differs from another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Difference {
    /// The manifest, the version or the last numbers.
    pub(super) head: bool,
    pub(super) buses: Vec<BusId>,
    pub(super) functions: Vec<Name>,
    pub(super) functions_gone: Vec<Name>,
    pub(super) rules: Vec<u32>,
    pub(super) rules_gone: Vec<u32>,
    /// The order of the rules.
    pub(super) order: bool,
    pub(super) subscriptions: Vec<SubscriptionId>,
    pub(super) subscriptions_gone: Vec<SubscriptionId>,
    /// Components that no active function needs any more.
    pub(super) components_gone: Vec<Digest>,
}

impl Difference {
    /// What of `next` differs from `last`; linear in both.
    pub(super) fn between(last: &CatalogState, next: &CatalogState) -> Self {
        let (before, needed) = (last.digests(), next.digests());
        let (buses, _) = differing(&last.buses, &next.buses);
        let (functions, functions_gone) = differing(&last.functions, &next.functions);
        let (rules, rules_gone) = differing(&last.rules, &next.rules);
        let (subscriptions, subscriptions_gone) =
            differing(&last.subscriptions, &next.subscriptions);
        Self {
            // A new store has nothing yet; one of an earlier format has no last numbers.
            head: last.head() != next.head() || last.buses.is_empty() || !last.order_stored,
            buses,
            functions,
            functions_gone,
            rules,
            rules_gone,
            order: last.order != next.order || !last.order_stored,
            subscriptions,
            subscriptions_gone,
            components_gone: before.difference(&needed).copied().collect(),
        }
    }

    /// How many rows it writes or removes, components apart.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        let gone = self.functions_gone.len() + self.rules_gone.len();
        let lists = self.buses.len() + self.functions.len() + self.rules.len();
        usize::from(self.head)
            + usize::from(self.order)
            + lists
            + gone
            + self.subscriptions.len()
            + self.subscriptions_gone.len()
    }
}

/// The keys whose values are new or others, and those that are gone.
fn differing<K: Ord + Clone, V: PartialEq>(
    last: &BTreeMap<K, V>,
    next: &BTreeMap<K, V>,
) -> (Vec<K>, Vec<K>) {
    let other = next
        .iter()
        .filter(|(key, value)| last.get(key) != Some(value));
    let gone = last.keys().filter(|key| !next.contains_key(key));
    (
        other.map(|(key, _)| key.clone()).collect(),
        gone.cloned().collect(),
    )
}
