//! What the store knows of itself, of buses, functions, rules and subscriptions: rows and back.
//!
//! A change is decided in `catalog_state`; here only the rows that differ are written. A corrupt row here is
//! an error and not skipped: a bus that runs with half its rules would lose events.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::corruption_log::CorruptionLog;
use super::heads::write_head;
use super::jobs;
use super::steps::Work;
use super::tables::{ReadTx, Tables, delivery_range};
use crate::catalog_state::CatalogState;
use crate::change::{Change, Difference};
use crate::codec::{CorruptRecord, IDENTITY_FORMAT, Reader, Table, Writer, catalog, unseal};
use crate::{Error, Kind, Step, StepOutcome};
use edgebus_model::reading::Gap;
use edgebus_model::{BusId, ClockReading, Code, Digest, Name, Revision, SubscriptionId, Timestamp};

/// The highest format of a store as a whole that is read; a store of a newer one is refused.
pub(super) const STORE_FORMAT: u32 = 6;
/// The format that a store is made in, and that an older one is migrated to. There never was a format 2. The
/// first removal by retention raises it to [`REMOVED_FORMAT`], the first replay to [`REPLAYED_FORMAT`], the first erasure
/// to [`ERASED_FORMAT`].
pub(super) const MADE_FORMAT: u32 = 3;
/// The format of a store from which retention has removed something: a release that knows none of it would take
/// that for a loss.
pub(super) const REMOVED_FORMAT: u32 = 4;
/// The format of a store in which a replay, a seek or a shadow replay was begun: a release that knows none of it would take
/// dead letters of replays, and what was counted of them, for corrupt.
pub(super) const REPLAYED_FORMAT: u32 = 5;
/// The format of a store in which an erasure was begun: a release that knows none of it would take what was erased for
/// corrupt.
pub(super) const ERASED_FORMAT: u32 = 6;
/// Meta: format, store id, secret.
pub(super) const IDENTITY: &[u8] = b"store";
/// Meta: how often the store was opened, and whether the last process stopped in order.
pub(super) const OPENS: &[u8] = b"opens";
/// Meta: the last reading of the clock.
pub(super) const CLOCK: &[u8] = b"clock";
/// Meta: the last state version.
pub(super) const COUNTER: &[u8] = b"counter";
/// Meta: when the last check of everything ended, and how far the one that goes on is.
pub(super) const CHECK: &[u8] = b"check";

/// Who the store is.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) format: u32,
    pub(super) store_id: [u8; 16],
    pub(super) secret: [u8; 32],
}

/// Writes the rows of a new store.
pub(super) fn write_genesis(tables: &mut Tables<'_>, identity: &Identity) -> Result<(), Error> {
    for table in Table::ALL {
        tables.touch(table)?;
    }
    write_identity(tables, identity)?;
    tables.put(Table::Meta, OPENS, |out| {
        out.u64(0);
        out.flag(true);
    })?;
    tables.put(Table::Meta, COUNTER, |out| out.u64(0))?;
    tables.put(Table::Meta, jobs::LAST, |out| out.u32(0))?;
    let (nothing, genesis) = (CatalogState::default(), CatalogState::genesis());
    let difference = Difference::between(&nothing, &genesis);
    write_known(tables, &genesis, &difference)
}

/// Writes who the store is, as every release can read it.
pub(super) fn write_identity(tables: &mut Tables<'_>, identity: &Identity) -> Result<(), Error> {
    tables
        .put_as(IDENTITY_FORMAT, Table::Meta, IDENTITY, |out| {
            out.u32(identity.format);
            out.extend_from_slice(&identity.store_id);
            out.extend_from_slice(&identity.secret);
        })
        .map(|_| ())
}

/// Reads who the store is. The format comes first in the row and is judged before the rest.
pub(super) fn read_identity(rows: &ReadTx) -> Result<Identity, Error> {
    meta(rows, IDENTITY, |from| {
        let format = from.u32()?;
        if format > STORE_FORMAT {
            from.rest();
            let (store_id, secret) = ([0; 16], [0; 32]);
            return Some(Identity {
                format,
                store_id,
                secret,
            });
        }
        Some(Identity {
            format,
            store_id: from.array()?,
            secret: from.array()?,
        })
    })
}

/// Reads how often the store was opened, and whether the last process stopped in order.
pub(super) fn read_opens(rows: &ReadTx) -> Result<(u64, bool), Error> {
    meta(rows, OPENS, |from| Some((from.u64()?, from.flag()?)))
}

/// Reads the last state version.
pub(super) fn read_counter(rows: &ReadTx) -> Result<u64, Error> {
    meta(rows, COUNTER, |from| from.u64())
}

fn meta<T>(
    rows: &ReadTx,
    key: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, Error> {
    match rows.get(Table::Meta, key, read)? {
        Some(row) => Ok(row?),
        None => Err(CorruptRecord::new(Table::Meta, key, "is missing").into()),
    }
}

/// Reads the last reading of the clock. One that is corrupt is none: the start goes on with the newest stored time.
pub(super) fn read_clock(
    rows: &ReadTx,
    corrupt: &CorruptionLog,
) -> Result<Option<ClockReading>, Error> {
    let row = rows.get(Table::Meta, CLOCK, |from| {
        Some(ClockReading {
            log: Timestamp(from.u64()?),
            wall: Timestamp(from.u64()?),
            boot: from.array()?,
            boot_ms: from.u64()?,
            gaps: from.list(|from| {
                Some(Gap {
                    end: Timestamp(from.u64()?),
                    ms: from.u64()?,
                })
            })?,
        })
    })?;
    match row {
        Some(Err(corruption)) => {
            corrupt.note(&corruption);
            Ok(None)
        }
        row => Ok(row.and_then(Result::ok)),
    }
}

/// Writes what [`read_clock`] reads.
pub(super) fn write_clock(tables: &mut Tables<'_>, reading: &ClockReading) -> Result<(), Error> {
    tables.put(Table::Meta, CLOCK, |out| {
        out.u64(reading.log.0);
        out.u64(reading.wall.0);
        out.extend_from_slice(&reading.boot);
        out.u64(reading.boot_ms);
        out.list(reading.gaps.iter(), |out, gap| {
            out.u64(gap.end.0);
            out.u64(gap.ms);
        });
    })
}

/// Reads everything that a manifest decided.
pub(super) fn read_known(rows: &ReadTx) -> Result<CatalogState, Error> {
    let mut known = CatalogState::default();
    let (mut ordered, mut order) = (false, None);
    every(rows, Table::Catalog, |key, from| {
        let (kind, rest) = key.split_first()?;
        let number = || Some(u32::from_be_bytes(rest.try_into().ok()?));
        match kind {
            b'm' => {
                known.version = from.u64()?;
                known.manifest = from.text()?.into();
                ordered = from.format() >= 3;
                if ordered {
                    known.rule_last = from.u32()?;
                    known.subscription_last = from.u32()?;
                }
            }
            b'b' => {
                let id = BusId(number()?);
                known.buses.insert(id, catalog::read_bus(from)?);
            }
            b'f' => {
                let revision: Revision = catalog::read_revision(from)?;
                known.functions.insert(revision.name.clone(), revision);
            }
            b'r' => {
                let rule = Arc::new(catalog::read_rule(from)?);
                known.rules.insert(number()?, rule);
            }
            b'o' => order = Some(from.list(Reader::u32)?),
            b's' => {
                let id = SubscriptionId(number()?);
                let subscription = Arc::new(catalog::read_subscription(from, id)?);
                known.subscriptions.insert(id, subscription);
            }
            _ => return None,
        }
        Some(())
    })?;
    take_order(&mut known, order, ordered)?;
    Ok(known)
}

/// Puts the rules in their order. Before format 3 a rule's number was its place, there was no row for the
/// order, and no subscription was ever retired.
fn take_order(
    known: &mut CatalogState,
    order: Option<Vec<u32>>,
    ordered: bool,
) -> Result<(), Error> {
    known.order_stored = order.is_some();
    let Some(order) = order else {
        if ordered {
            return Err(CorruptRecord::new(Table::Catalog, ORDER, "is missing").into());
        }
        known.order = known.rules.keys().copied().collect();
        known.rule_last = known.order.last().copied().unwrap_or(0);
        let last = known.subscriptions.keys().next_back();
        known.subscription_last = last.map_or(0, |last| last.0);
        return Ok(());
    };
    let named: BTreeSet<u32> = order.iter().copied().collect();
    if named.len() != order.len() || !named.iter().eq(known.rules.keys()) {
        let reason = "names other rules than there are";
        return Err(CorruptRecord::new(Table::Catalog, ORDER, reason).into());
    }
    known.order = order;
    // No number is given twice, whatever the head says of the last ones.
    let last = known.rules.keys().next_back().copied();
    known.rule_last = known.rule_last.max(last.unwrap_or(0));
    let last = known.subscriptions.keys().next_back();
    known.subscription_last = known.subscription_last.max(last.map_or(0, |last| last.0));
    Ok(())
}

/// The components that `step` names and the store has, as `has` says.
pub(super) fn held(
    step: &Step,
    mut has: impl FnMut(&Digest) -> Result<bool, Error>,
) -> Result<BTreeSet<Digest>, Error> {
    let mut held = BTreeSet::new();
    let Step::ApplyManifest(apply) = step else {
        return Ok(held);
    };
    for (_, digest, _) in &apply.functions {
        if !held.contains(digest) && has(digest)? {
            held.insert(*digest);
        }
    }
    Ok(held)
}

/// Every row of a table; a corrupt one is an error.
pub(super) fn every(
    rows: &ReadTx,
    table: Table,
    mut each: impl FnMut(&[u8], &mut Reader<'_>) -> Option<()>,
) -> Result<(), Error> {
    let (mut corrupt, mut seen) = (None, 0);
    rows.scan(table, Bound::Unbounded, Bound::Unbounded, |key, record| {
        let row = unseal(table, key, record, |from| each(key, from));
        corrupt = row.err();
        seen += 1;
        corrupt.is_none()
    })?;
    if corrupt.is_none() && seen != rows.count(table)? {
        // A page or a row out of order was passed over.
        corrupt = Some(CorruptRecord::new(table, b"", "has another number of rows"));
    }
    corrupt.map_or(Ok(()), |corruption| Err(corruption.into()))
}

/// Writes a row of what memory knows again.
pub(super) fn write_again(work: &mut Work<'_, '_>, table: Table, key: &[u8]) -> Result<(), Error> {
    match (table, key) {
        (Table::Heads, _) => {
            let Ok(bus) = key.try_into() else {
                return Ok(());
            };
            let bus = BusId(u32::from_be_bytes(bus));
            let head = work.head(bus);
            if head.last > 0 {
                write_head(&mut work.tables, bus, &head)?;
            }
            Ok(())
        }
        (Table::Meta, IDENTITY) => {
            let identity = Identity {
                format: work.format(),
                ..work.identity.clone()
            };
            write_identity(&mut work.tables, &identity)
        }
        (Table::Meta, OPENS) => {
            let epoch = work.epoch;
            work.tables.put(Table::Meta, OPENS, |out| {
                out.u64(epoch);
                out.flag(false);
            })
        }
        (Table::Meta, COUNTER) => {
            let version = work.state_version();
            work.tables
                .put(Table::Meta, COUNTER, |out| out.u64(version))
        }
        (Table::Meta, jobs::LAST) => {
            let known = work.jobs().clone();
            work.tables
                .put(Table::Meta, jobs::LAST, |out| known.write(out))
        }
        (Table::Catalog, _) => {
            // Not by `catalog_state`, which would borrow the tables as well.
            let known = work.pending.known.as_ref().unwrap_or(&work.memory.known);
            let difference = Difference::between(&CatalogState::default(), known);
            write_known(&mut work.tables, known, &difference)
        }
        _ => Ok(()),
    }
}

pub(super) fn numbered(kind: u8, number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [kind, a, b, c, d]
}

fn function_row(name: &Name) -> Vec<u8> {
    [b"f", name.as_str().as_bytes()].concat()
}

/// The key of the order of the rules.
const ORDER: &[u8] = b"o";

/// Writes the rows in which `next` differs from what is stored.
fn write_known(
    tables: &mut Tables<'_>,
    next: &CatalogState,
    difference: &Difference,
) -> Result<(), Error> {
    if difference.head {
        tables.put(Table::Catalog, b"m", |out| {
            out.u64(next.version);
            out.bytes(next.manifest.as_bytes());
            out.u32(next.rule_last);
            out.u32(next.subscription_last);
        })?;
    }
    for id in &difference.buses {
        let bus = &next.buses[id];
        tables.put(Table::Catalog, &numbered(b'b', id.0), |out| {
            catalog::write_bus(out, bus);
        })?;
    }
    for name in &difference.functions {
        let revision = &next.functions[name];
        tables.put(Table::Catalog, &function_row(name), |out| {
            catalog::write_revision(out, revision);
        })?;
    }
    for number in &difference.rules {
        let rule = &next.rules[number];
        tables.put(Table::Catalog, &numbered(b'r', *number), |out| {
            catalog::write_rule(out, rule);
        })?;
    }
    if difference.order {
        tables.put(Table::Catalog, ORDER, |out| {
            out.list(next.order.iter(), |out, number| out.u32(*number));
        })?;
    }
    for id in &difference.subscriptions {
        let subscription = &next.subscriptions[id];
        tables.put(Table::Catalog, &numbered(b's', id.0), |out| {
            catalog::write_subscription(out, subscription);
        })?;
    }
    let functions = difference.functions_gone.iter().map(function_row);
    let rules = difference.rules_gone.iter();
    let subscriptions = difference.subscriptions_gone.iter();
    let gone = functions
        .chain(rules.map(|number| numbered(b'r', *number).to_vec()))
        .chain(subscriptions.map(|id| numbered(b's', id.0).to_vec()));
    for key in gone {
        tables.remove(Table::Catalog, &key)?;
    }
    Ok(())
}

impl Work<'_, '_> {
    /// Makes a change of the catalog that is planned here, in the writer's thread.
    pub(super) fn change_now(&mut self, step: &Step) -> Result<StepOutcome, Error> {
        let held = held(step, |digest| self.tables.has(Table::Components, &digest.0))?;
        let last = self.known().clone();
        match last.after(step, |digest| held.contains(&digest)) {
            Ok(next) => self.change(&Change::new(last, next, step)),
            Err(reason) => Ok(StepOutcome::Denied(reason)),
        }
    }

    /// Makes a change of the catalog that was planned: writes the rows that differ, brings components and
    /// lets go of those that no active function needs.
    pub(super) fn change(&mut self, change: &Change) -> Result<StepOutcome, Error> {
        if let Err(reason) = change.check(self.known()) {
            return Ok(StepOutcome::Denied(reason));
        }
        let (next, difference) = (change.next(), change.difference());
        for id in &difference.subscriptions_gone {
            for table in [Table::Deliveries, Table::DeadLetters] {
                if self.has_pending(table, *id)? {
                    let reason = format!("subscription number {} still has {}", id.0, table.name());
                    return Ok(StepOutcome::Denied(reason));
                }
            }
        }
        let needed = |digest: &Digest| next.functions.values().any(|own| own.digest == *digest);
        for (digest, bytes) in change.components() {
            if needed(digest) && !self.tables.has(Table::Components, &digest.0)? {
                self.tables.put(Table::Components, &digest.0, |out| {
                    out.extend_from_slice(bytes);
                })?;
            }
        }
        for digest in &difference.components_gone {
            self.tables.remove(Table::Components, &digest.0)?;
        }
        for id in &difference.subscriptions_gone {
            self.pending.counters.forget(*id);
        }
        write_known(&mut self.tables, next, difference)?;
        let version = next.version;
        self.pending.known = Some(next.clone());
        Ok(StepOutcome::Applied { version })
    }

    /// True if a table of deliveries has a row of this subscription.
    fn has_pending(&mut self, table: Table, id: SubscriptionId) -> Result<bool, Error> {
        let (first, last) = delivery_range(id);
        let mut found = false;
        self.tables.scan(table, &first, &last, |_, _| {
            found = true;
            false
        })?;
        Ok(found)
    }
}

/// Why a store of this identity can't be used, if it can't.
pub(super) fn judge(identity: &Identity, beside: [u8; 16]) -> Result<(), Error> {
    let refused = |code: Code, message: String| Err(Error::new(Kind::Refused, message).coded(code));
    if identity.format > STORE_FORMAT {
        return refused(
            Code::StoreNewer,
            format!(
                "the store has format {}, written by a newer release; this one reads up to {STORE_FORMAT}",
                identity.format
            ),
        );
    }
    if identity.store_id != beside {
        return refused(
            Code::StoreMismatch,
            "the store's id differs from the one beside it: the file or the folder is another store's"
                .to_owned(),
        );
    }
    Ok(())
}
