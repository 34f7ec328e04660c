//! The door's reads, each from one short read transaction; pages are made in `pages.rs`.
//!
//! A single read of a corrupt row is [`Kind::Corrupt`](crate::Kind::Corrupt).

use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::corruption_log::CorruptionLog;
use super::tables::{ReadTx, Row, delivery_key, due_key, event_key, settled_key, state_key};
use super::{RedbStore, aside, catalog, counters, guarded, heads, quarantine, verify};
use crate::catalog_state::CatalogState;
use crate::change::Change;
use crate::codec::delivery::Settled;
use crate::codec::{CorruptRecord, Reader, Table, delivery, event, unseal};
use crate::{
    BusCounts, Catalog, Checked, Corruption, Counts, DeliveryState, Error, Page, Quarantined,
    RecordId, Rows, StateView, Step, StepOutcome, Store, StoredEvent, Verified, Versioned,
};
use edgebus_model::{
    BusId, DeadLetter, Delivery, DeliveryKey, Digest, Job, JobId, Name, Pending, Position, Running,
    ShadowReport, SubscriptionId, Succeeded, Timestamp,
};

impl RedbStore {
    pub(super) fn row<T>(
        &self,
        rows: &ReadTx,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let row: Row<T> = rows.get(table, key, read);
        row?.transpose().map_err(|corruption: CorruptRecord| {
            self.corrupt.note(&corruption);
            corruption.into()
        })
    }

    fn one<T>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.checked(|| self.row(&self.snapshot()?, table, key, read))
    }
}

impl RedbStore {
    /// The end of the delivery of this key that is no dead letter, with its last attempt alone.
    fn settled_one(&self, rows: &ReadTx, key: DeliveryKey) -> Result<Option<Settled>, Error> {
        let Some(bus) = self.bus_of(rows, key.subscription)? else {
            return Ok(None);
        };
        self.row(rows, Table::Settled, &settled_key(bus, key), |from| {
            delivery::read_settled(from, key)
        })
    }

    /// What is known, with what else the catalog tells.
    fn catalog_of(&self, rows: &ReadTx, known: &CatalogState) -> Result<Catalog, Error> {
        let heads = heads::read_heads(rows)?;
        let job_changed = {
            let memory = self.memory.lock();
            memory.unwrap_or_else(PoisonError::into_inner).0.jobs.newest
        };
        let head = |bus| Position(heads.get(&bus).map_or(0, |head| head.last));
        Ok(Catalog {
            store_id: self.identity.store_id,
            secret: self.identity.secret,
            epoch: self.epoch,
            clean: self.was_clean,
            newest: heads
                .values()
                .map(|head| head.clock)
                .fold(job_changed, Timestamp::max),
            clock: catalog::read_clock(rows, &self.corrupt)?,
            ..known.catalog(head)
        })
    }
}

impl Store for RedbStore {
    fn commit(&self, steps: &[Step]) -> Result<Vec<StepOutcome>, Error> {
        #[cfg(any(test, feature = "testing"))]
        if super::injected::SPLIT.get() {
            let one = |step| self.commit_batch(std::slice::from_ref(step));
            let outcomes = steps.iter().map(one).collect::<Result<Vec<_>, _>>()?;
            return Ok(outcomes.into_iter().flatten().collect());
        }
        self.commit_batch(steps)
    }

    fn catalog(&self) -> Result<Catalog, Error> {
        guarded(|| {
            let rows = self.snapshot()?;
            let known = catalog::read_known(&rows)?;
            self.catalog_of(&rows, &known)
        })
    }

    fn plan(&self, step: &Step) -> Result<Result<(Catalog, Step), String>, Error> {
        guarded(|| {
            let known = {
                let known = self.known.lock();
                known.unwrap_or_else(PoisonError::into_inner).clone()
            };
            let rows = self.snapshot()?;
            let held = catalog::held(step, |digest| {
                let row = rows.get(Table::Components, &digest.0, |_| Some(()))?;
                Ok(row.is_some())
            })?;
            match known.after(step, |digest| held.contains(&digest)) {
                Ok(next) => {
                    let change = Change::new(known, next, step);
                    let catalog = self.catalog_of(&rows, change.next())?;
                    Ok(Ok((catalog, Step::Change(Arc::new(change)))))
                }
                Err(reason) => Ok(Err(reason)),
            }
        })
    }

    fn events_page(
        &self,
        bus: BusId,
        from: Position,
        page: Page,
    ) -> Result<Rows<StoredEvent, Position>, Error> {
        self.log_page(bus, from, page)
    }

    fn event(&self, bus: BusId, position: Position) -> Result<Option<StoredEvent>, Error> {
        self.checked(|| {
            let rows = self.snapshot()?;
            let found = self.row(&rows, Table::Events, &event_key(bus, position), |from| {
                event::read_stored(from, position)
            })?;
            match found {
                Some(found) => Ok(Some(found)),
                None => self.no_event(&rows, bus, position),
            }
        })
    }

    fn pending_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Pending, DeliveryKey>, Error> {
        let of = (subscription, from);
        self.owned_page(Table::Deliveries, of, page, delivery::read_pending)
    }

    fn deliveries_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Delivery, DeliveryKey>, Error> {
        let of = (subscription, from);
        self.owned_page(Table::Deliveries, of, page, |from, key| {
            let pending = delivery::read_pending(from, key)?;
            Some(Delivery::new(pending, Vec::new()))
        })
    }

    fn pending(&self, key: DeliveryKey) -> Result<Option<Pending>, Error> {
        self.one(Table::Deliveries, &delivery_key(key), |from| {
            delivery::read_pending(from, key)
        })
    }

    fn running_page(
        &self,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Running, DeliveryKey>, Error> {
        self.all_running(from, page)
    }

    fn waiting(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, DeliveryKey)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, DeliveryKey)>, Error> {
        let after = after.map(|(due, key)| due_key(due, key));
        if after.is_some_and(|after| after[..8] > until.0.to_be_bytes()[..]) {
            return Ok(Vec::new());
        }
        let from = after
            .as_ref()
            .map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        let to = until.0.checked_add(1).map(u64::to_be_bytes);
        let to = to
            .as_ref()
            .map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        let mut page = Vec::new();
        if limit == 0 {
            return Ok(page);
        }
        self.checked(|| {
            let rows = self.snapshot()?;
            rows.scan(Table::Due, from, to, |key, record| {
                match unseal(Table::Due, key, record, |_| Some(())) {
                    Ok(()) => page.extend(quarantine::split_due(key)),
                    Err(corruption) => self.corrupt.note(&corruption),
                }
                page.len() < limit
            })
        })?;
        Ok(page)
    }

    fn delivery(&self, key: DeliveryKey) -> Result<Option<DeliveryState>, Error> {
        self.checked(|| {
            let rows = self.snapshot()?;
            let row = delivery_key(key);
            let still_pending = self.row(&rows, Table::Deliveries, &row, |from| {
                let pending = delivery::read_pending(from, key)?;
                Some(DeliveryState::Pending(Delivery::new(pending, Vec::new())))
            })?;
            let settled = match &still_pending {
                Some(_) => None,
                None => match self.settled_one(&rows, key)? {
                    Some(Settled::Succeeded(row)) => Some(DeliveryState::Succeeded(row)),
                    Some(Settled::Expired) => return Ok(None),
                    None => None,
                },
            };
            let found = match still_pending.or(settled) {
                Some(found) => Some(found),
                None => self.row(&rows, Table::DeadLetters, &row, |from| {
                    delivery::read_dead(from, key).map(DeliveryState::Dead)
                })?,
            };
            let Some(mut found) = found else {
                self.no_delivery(&rows, key)?;
                return Ok(None);
            };
            self.add_attempts(&rows, &mut found)?;
            Ok(Some(found))
        })
    }

    fn settled_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Succeeded, DeliveryKey>, Error> {
        self.successes(subscription, from, page)
    }

    fn dead_letters_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<DeadLetter, DeliveryKey>, Error> {
        let of = (subscription, from);
        self.owned_page(Table::DeadLetters, of, page, delivery::read_dead)
    }

    fn job(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.one_job(id)
    }

    fn jobs_page(&self, from: Option<JobId>, page: Page) -> Result<Rows<Job, JobId>, Error> {
        self.page_of_jobs(from, page)
    }

    fn shadow_report(&self, id: JobId) -> Result<Option<ShadowReport>, Error> {
        Self::shadow_report(self, id)
    }

    fn job_component(&self, id: JobId, digest: Digest) -> Result<Option<Bytes>, Error> {
        Self::job_component(self, id, digest)
    }

    fn bus_counts(&self, bus: BusId) -> Result<BusCounts, Error> {
        let key = counters::bus_key(bus);
        let counts = self.one(Table::Counters, &key, counters::read_bus)?;
        Ok(counts.unwrap_or_default())
    }

    fn floor(&self, bus: BusId) -> Result<Position, Error> {
        self.checked(|| Ok(Position(self.head_of(&self.snapshot()?, bus)?.floor)))
    }

    fn counts(&self, subscription: SubscriptionId) -> Result<Counts, Error> {
        let key = counters::subscription_key(subscription);
        let counts = self.one(Table::Counters, &key, counters::read_subscription)?;
        Ok(counts.unwrap_or_default())
    }

    fn totals(&self) -> Counts {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_view(&self) -> Result<Box<dyn StateView + '_>, Error> {
        let rows = guarded(|| self.snapshot())?;
        Ok(Box::new(View { store: self, rows }))
    }

    fn component(&self, digest: Digest) -> Result<Option<Bytes>, Error> {
        self.one(Table::Components, &digest.0, |from| {
            Some(Bytes::copy_from_slice(from.rest()))
        })
    }

    fn verify(&self, corruption: &mut dyn FnMut(String)) -> Result<Verified, Error> {
        let strays = std::sync::Arc::<CorruptionLog>::default();
        guarded(|| {
            let rows = self.snapshot_noting(strays.clone())?;
            verify::verify(&rows, &strays, corruption)
        })
    }

    fn check_next(&self, rows: u64) -> Result<Option<Checked>, Error> {
        self.check_page(rows)
    }

    fn begin_check(&self) {
        self.checks.begin();
    }

    fn checked_at(&self) -> Option<Timestamp> {
        self.checks.ended()
    }

    fn corruption(&self) -> Corruption {
        Corruption {
            in_quarantine: self
                .in_quarantine
                .load(std::sync::atomic::Ordering::Relaxed),
            ..self.corrupt.seen()
        }
    }

    fn quarantined(
        &self,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        guarded(|| aside::page(&self.snapshot()?, after, limit))
    }
}

/// State at one moment: one read transaction.
struct View<'a> {
    store: &'a RedbStore,
    rows: ReadTx,
}

impl StateView for View<'_> {
    fn version(&self) -> Result<u64, Error> {
        guarded(|| catalog::read_counter(&self.rows))
    }

    fn get(&self, function: &Name, key: &[u8]) -> Result<Option<Versioned>, Error> {
        let read = |from: &mut Reader<'_>| {
            let version = from.u64()?;
            let value = Bytes::copy_from_slice(from.rest());
            Some(Versioned { value, version })
        };
        let key = state_key(function, key);
        self.store.checked(
            || match self.store.row(&self.rows, Table::State, &key, read)? {
                Some(found) => Ok(Some(found)),
                None => self.store.no_row(&self.rows, Table::State, &key, read),
            },
        )
    }

    fn keys(
        &self,
        function: &Name,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let first = state_key(function, prefix);
        let after = after.map(|after| state_key(function, after));
        let from = match &after {
            Some(after) if *after >= first => Bound::Excluded(&after[..]),
            _ => Bound::Included(&first[..]),
        };
        let to = after_prefix(&first);
        if after.as_ref().is_some_and(|after| *after >= to) {
            return Ok(Vec::new());
        }
        let owner = function.as_str().len() + 1;
        let range = (from, Bound::Excluded(&to[..]));
        let page = Page::forward(limit, usize::MAX);
        let place = |key: &[u8]| key.get(owner..).map(<[u8]>::to_vec);
        let read = |key: &[u8], from: &mut Reader<'_>| {
            from.rest();
            place(key)
        };
        let of = (&self.rows, Table::State);
        let keys = self
            .store
            .page_of(of, range, page, place, read, |_, _| Ok(0))?;
        Ok(keys.rows)
    }
}

/// The first key behind all that begin with `prefix`, which holds a byte below 255 (a name's).
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}
