//! What a manifest would change: compares the active manifest with the new one, and counts pending deliveries and what
//! a shorter retention removes.
//!
//! Never here: a change.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Bus;
use crate::pipeline::{Snapshot, accepted_before, last_before};
use edgebus_manifest::{
    self as manifest, Change, FunctionDeclaration, Manifest, PendingCount, PendingOf,
};
use edgebus_model::error::Error;
use edgebus_model::limits::PAGE_ROWS_MAX;
use edgebus_model::{BusConfig, Name, Position, Subscription, SubscriptionName, Timestamp};
use edgebus_store::{self as store, Page, Store};

/// Subscriptions whose pending deliveries are counted for one plan.
const COUNTED_MAX: usize = 64;
/// Bytes of dead letters that are read for one count.
const LETTER_BYTES_MAX: usize = 4 << 20;

impl Bus {
    /// What the document would change; gives it back.
    pub(super) async fn plan(
        &self,
        snapshot: Arc<Snapshot>,
        document: manifest::Document,
        replaced: BTreeSet<Name>,
    ) -> Result<(manifest::Document, Vec<Change>), Error> {
        let active = self.active.clone();
        let clock = self.pipeline.clock().clone();
        self.read_for_plan(move |store, cancel| {
            let known = active.of(&snapshot.manifest);
            // One that was deleted since then would come back.
            let deleted = |own: &FunctionDeclaration| !snapshot.functions.contains_key(&own.name);
            let old = if known.functions.iter().any(deleted) {
                let mut old = (*known).clone();
                old.functions.retain(|own| !deleted(own));
                Arc::new(old)
            } else {
                known
            };
            let before = |kept_ms| accepted_before(&clock, kept_ms);
            let mut counting = Counting::new(store, &snapshot, &before);
            cancel.check()?;
            let mut count = |whose: PendingOf<'_>| counting.count(whose);
            let changes = manifest::plan(&old, &document.manifest, &replaced, &mut count);
            match counting.failed {
                None => Ok((document, changes)),
                Some(error) => Err(error.into()),
            }
        })
        .await
    }
}

/// The active manifest as it was read for the last plan: each apply compares with it, and most changes
/// are planned first. One manifest, so its size is bounded by what a manifest may be.
#[derive(Default)]
pub(super) struct ActiveManifest {
    /// A plain mutex around two pointers; nothing is read under it.
    last: Mutex<Option<(Arc<str>, Arc<Manifest>)>>,
}

impl ActiveManifest {
    fn last(&self) -> MutexGuard<'_, Option<(Arc<str>, Arc<Manifest>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manifest of this text. Before the first one, and for a text of an older format, it is empty,
    /// so that everything is new.
    fn of(&self, text: &Arc<str>) -> Arc<Manifest> {
        let known = self.last().clone();
        if let Some((known, manifest)) = known
            && known == *text
        {
            return manifest;
        }
        let manifest = Arc::new(manifest::parse(text).unwrap_or_default());
        *self.last() = Some((text.clone(), manifest.clone()));
        manifest
    }
}

/// Counts what is pending or past a limit, of so many subscriptions at most.
struct Counting<'s> {
    store: &'s dyn Store,
    snapshot: &'s Snapshot,
    /// What was accepted, or died, before this time is kept no longer, if things are kept for so many milliseconds.
    before: &'s dyn Fn(u64) -> Timestamp,
    of_rules: HashMap<&'s Name, Vec<&'s Subscription>>,
    of_functions: HashMap<&'s Name, Vec<&'s Subscription>>,
    of_names: HashMap<&'s SubscriptionName, Vec<&'s Subscription>>,
    counted: usize,
    failed: Option<store::Error>,
}

impl<'s> Counting<'s> {
    fn new(
        store: &'s dyn Store,
        snapshot: &'s Snapshot,
        before: &'s dyn Fn(u64) -> Timestamp,
    ) -> Self {
        let mut counting = Self {
            store,
            snapshot,
            before,
            of_rules: HashMap::new(),
            of_functions: HashMap::new(),
            of_names: HashMap::new(),
            counted: 0,
            failed: None,
        };
        for own in snapshot.subscriptions.values() {
            let of_rule = counting.of_rules.entry(&own.rule);
            of_rule.or_default().push(own);
            if let Some(function) = own.target.to.function() {
                let of_function = counting.of_functions.entry(function);
                of_function.or_default().push(own);
            }
            let of_name = counting.of_names.entry(own.name());
            of_name.or_default().push(own);
        }
        counting
    }

    fn count(&mut self, whose: PendingOf<'_>) -> Option<PendingCount> {
        let all = match whose {
            PendingOf::Function(function) => self.of_functions.get(function),
            PendingOf::Rule(rule) => self.of_rules.get(rule),
            PendingOf::Subscription(name) => self.of_names.get(name),
            PendingOf::Events(bus) => return self.events(bus),
            PendingOf::Letters(name, kept_ms) => return self.letters(name, kept_ms),
        };
        let mut pending = PendingCount::default();
        for own in all.into_iter().flatten() {
            self.counted += 1;
            if self.counted > COUNTED_MAX || self.failed.is_some() {
                return None;
            }
            let page = Page::forward(PAGE_ROWS_MAX, usize::MAX);
            match self.store.pending_page(own.id, None, page) {
                Ok(page) => {
                    pending.count += page.rows.len();
                    pending.more |= page.next.is_some();
                }
                Err(error) => self.failed = Some(error),
            }
        }
        Some(pending)
    }

    /// Notes a failure, which ends the plan.
    fn read<T>(&mut self, read: Result<T, store::Error>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    /// Events of a bus that are past its new limits: those that are too old, or about so many as the log is too large.
    fn events(&mut self, after: &BusConfig) -> Option<PendingCount> {
        let id = self.snapshot.buses.get(after.name.as_str())?.id;
        let floor = self.read(self.store.floor(id))?;
        let counts = self.read(self.store.bus_counts(id))?;
        let newest = Page::backward(1, usize::MAX);
        let last = self.store.events_page(id, Position(u64::MAX), newest);
        let last = self.read(last)?.rows.first().map(|stored| stored.position);
        let before = (self.before)(after.retention_age_ms);
        let old = match last {
            Some(last) => {
                let found = last_before::<store::Error>(self.store, (id, last), before, || Ok(()));
                let found = self.read(found)?;
                found.0.saturating_add(1).saturating_sub(floor.0)
            }
            None => 0,
        };
        let over = counts.bytes.saturating_sub(after.retention_bytes);
        let each = (counts.bytes / counts.events.max(1)).max(1);
        let large = over.div_ceil(each).min(counts.events);
        Some(PendingCount {
            count: usize::try_from(old.max(large)).unwrap_or(usize::MAX),
            more: false,
            about: large > old,
        })
    }

    /// Dead letters of a subscription that died longer ago than that.
    fn letters(&mut self, name: &SubscriptionName, kept_ms: u64) -> Option<PendingCount> {
        let before = (self.before)(kept_ms);
        let all = self.of_names.get(name).cloned().unwrap_or_default();
        let mut found = PendingCount::default();
        for own in all {
            self.counted += 1;
            if self.counted > COUNTED_MAX {
                return None;
            }
            let page = Page::forward(PAGE_ROWS_MAX, LETTER_BYTES_MAX);
            let page = self.read(self.store.dead_letters_page(own.id, None, page))?;
            let old = page.rows.iter().filter(|letter| letter.died_at < before);
            found.count += old.count();
            found.more |= page.next.is_some();
        }
        Some(found)
    }
}
