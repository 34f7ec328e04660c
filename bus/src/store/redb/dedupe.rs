//! Which (source, id) was accepted where and when: fingerprints in sealed blocks.
//!
//! A fingerprint is 16 bytes of keyed BLAKE3, so nobody outside can make two collide. The newest
//! ones, of positions after the last sealed block, are a map in memory that is built from the log
//! on start. When the log reaches the end of a range of [`BLOCK`] positions, that range's
//! fingerprints are sealed in the same transaction: sorted, as 256 small rows by first byte, with
//! a filter in memory that answers nearly every "no" without a read. A table of random keys would
//! cost 9–25 µs an event; this costs well below one.
//!
//! Never here: a change to what is in memory before its transaction has committed.

use std::collections::{HashMap, VecDeque};

use super::fingerprint::{Filter, Fingerprint, Fingerprints, Map, Place};
use super::tables::{HarmLog, Tables, event_key, position_of};
use crate::model::{BusId, Position, Timestamp};
use crate::store::Error;
use crate::store::codec::{Harm, Reader, Table, Writer, event::read_stored, unseal};

/// Positions in a block.
pub(super) const BLOCK: u64 = 16_384;
/// Rows of a block: one for each first byte of a fingerprint.
const SHARDS: u16 = 256;
/// A block is forgotten this long after its newest event left the window, so that a clock that
/// steps back still finds it.
const SLACK_MS: u64 = 3_600_000;
/// Blocks forgotten in one transaction, to bound it.
const FORGOTTEN_MAX: usize = 4;

/// One sealed block, as memory knows it.
#[derive(Clone)]
struct Block {
    /// Its first position; the last is `first + BLOCK - 1`.
    first: u64,
    /// The newest acceptance in it.
    newest: Timestamp,
    filter: Filter,
}

/// One bus's fingerprints.
#[derive(Default)]
struct BusIndex {
    /// Oldest first.
    sealed: VecDeque<Block>,
    /// Everything after the last sealed block.
    tail: Map,
}

/// All fingerprints that count, as of the last commit.
#[derive(Default)]
pub(super) struct Index {
    buses: HashMap<BusId, BusIndex>,
}

/// What a transaction adds; thrown away whole if it fails.
#[derive(Default)]
pub(super) struct Pending {
    buses: HashMap<BusId, PendingBus>,
}

#[derive(Default)]
struct PendingBus {
    fresh: Map,
    sealed: Vec<Block>,
    forgotten: usize,
}

/// What a look-up needs besides the index.
pub(super) struct Context<'a, 'txn> {
    pub(super) tables: &'a mut Tables<'txn>,
    pub(super) prints: &'a Fingerprints,
    pub(super) harmed: &'a HarmLog,
}

fn shard_key(bus: BusId, first: u64, shard: u8) -> [u8; 13] {
    let mut key = [0; 13];
    key[..12].copy_from_slice(&event_key(bus, Position(first)));
    key[12] = shard;
    key
}

fn write_shard(out: &mut Vec<u8>, first: u64, entries: &[(Fingerprint, Place)]) {
    out.list(
        entries.iter(),
        |out, (fingerprint, (position, accepted))| {
            out.extend_from_slice(fingerprint);
            let offset = u16::try_from(position.0 - first).expect("a block spans 16,384 positions");
            out.u16(offset);
            out.u64(accepted.0);
        },
    );
}

fn read_shard(from: &mut Reader<'_>, first: u64) -> Option<Vec<(Fingerprint, Place)>> {
    from.list(|from| {
        let fingerprint = from.array()?;
        let position = Position(first + u64::from(from.u16()?));
        Some((fingerprint, (position, Timestamp(from.u64()?))))
    })
}

/// Decodes a row for the full check.
pub(super) fn read_row(key: &[u8], from: &mut Reader<'_>) -> Option<()> {
    let first = key.get(..12).and_then(position_of)?;
    read_shard(from, first.0).map(|_| ())
}

/// Calls `each` for every unharmed event of a range of the log.
fn walk_log(
    context: &mut Context<'_, '_>,
    bus: BusId,
    positions: std::ops::RangeInclusive<u64>,
    mut each: impl FnMut(Fingerprint, Place),
) -> Result<(), Error> {
    let from = event_key(bus, Position(*positions.start()));
    let to = event_key(bus, Position(*positions.end()));
    let (prints, harmed) = (context.prints, context.harmed);
    context.tables.scan(Table::Events, &from, &to, |key, row| {
        let position = position_of(key).unwrap_or_default();
        match unseal(Table::Events, key, row, |from| read_stored(from, position)) {
            Ok(stored) => {
                let fingerprint = prints.of(bus, &stored.event);
                each(fingerprint, (position, stored.accepted_at));
            }
            Err(harm) => harmed.note(&harm),
        }
        true
    })
}

impl Index {
    /// Builds the memory of one bus from its sealed blocks and the log's tail up to `head`.
    pub(super) fn load(
        &mut self,
        context: &mut Context<'_, '_>,
        bus: BusId,
        head: u64,
    ) -> Result<(), Error> {
        let mut index = BusIndex::default();
        let mut sound: HashMap<u64, u16> = HashMap::new();
        let harmed = context.harmed;
        context.tables.scan(
            Table::Dedupe,
            &shard_key(bus, 0, 0),
            &shard_key(bus, u64::MAX, u8::MAX),
            |key, row| {
                let first = key.get(..12).and_then(position_of).unwrap_or_default().0;
                if index.sealed.back().is_none_or(|last| last.first != first) {
                    let (newest, filter) = (Timestamp::default(), Filter::new());
                    index.sealed.push_back(Block {
                        first,
                        newest,
                        filter,
                    });
                }
                let block = index.sealed.back_mut().expect("one was just pushed");
                match unseal(Table::Dedupe, key, row, |from| read_shard(from, first)) {
                    Ok(entries) => {
                        *sound.entry(first).or_default() += 1;
                        for (fingerprint, (_, accepted)) in entries {
                            block.newest = block.newest.max(accepted);
                            block.filter.insert(&fingerprint);
                        }
                    }
                    Err(harm) => harmed.note(&harm),
                }
                true
            },
        )?;
        for block in &mut index.sealed {
            if sound.get(&block.first) != Some(&SHARDS) {
                // A row is harmed or gone: the log still has what it said.
                let last = block.first.saturating_add(BLOCK - 1);
                walk_log(context, bus, block.first..=last, |fingerprint, place| {
                    block.newest = block.newest.max(place.1);
                    block.filter.insert(&fingerprint);
                })?;
            }
        }
        let tail_from = index.sealed.back().map_or(1, |last| last.first + BLOCK);
        let tail = &mut index.tail;
        if tail_from <= head {
            walk_log(context, bus, tail_from..=head, |fingerprint, place| {
                tail.insert(fingerprint, place);
            })?;
        }
        self.buses.insert(bus, index);
        Ok(())
    }

    /// Where the fingerprint was last accepted less than `window_ms` before `now`.
    pub(super) fn find(
        &self,
        pending: &Pending,
        context: &mut Context<'_, '_>,
        (bus, fingerprint): (BusId, &Fingerprint),
        window_ms: u64,
        now: Timestamp,
    ) -> Result<Option<Position>, Error> {
        let counts = |place: &Place| now.ms_since(place.1) < window_ms;
        let added = pending.buses.get(&bus);
        let known = self.buses.get(&bus);
        let recent = added
            .and_then(|added| added.fresh.get(fingerprint))
            .or_else(|| known.and_then(|known| known.tail.get(fingerprint)));
        // The latest acceptance is the one that counts: an older one expired before it.
        if let Some(place) = recent {
            return Ok(counts(place).then_some(place.0));
        }
        for block in known.iter().flat_map(|known| known.sealed.iter().rev()) {
            if !block.filter.may_hold(fingerprint) {
                continue;
            }
            if let Some(place) = look_into(context, bus, block.first, fingerprint)? {
                return Ok(counts(&place).then_some(place.0));
            }
        }
        Ok(None)
    }

    /// Notes an accepted event; seals the block that it fills.
    pub(super) fn add(
        &self,
        pending: &mut Pending,
        tables: &mut Tables<'_>,
        (bus, fingerprint): (BusId, Fingerprint),
        place: Place,
        window_ms: u64,
    ) -> Result<(), Error> {
        let added = pending.buses.entry(bus).or_default();
        added.fresh.insert(fingerprint, place);
        if place.0.0.is_multiple_of(BLOCK) {
            let known = self.buses.get(&bus);
            seal_block(tables, bus, known, added, place.0.0)?;
            forget(tables, bus, known, added, window_ms, place.1)?;
        }
        Ok(())
    }

    /// Takes over what a committed transaction added.
    pub(super) fn absorb(&mut self, pending: Pending) {
        for (bus, added) in pending.buses {
            let known = self.buses.entry(bus).or_default();
            known.tail.extend(added.fresh);
            known.sealed.drain(..added.forgotten);
            known.sealed.extend(added.sealed);
            if let Some(last) = known.sealed.back() {
                let end = last.first + BLOCK;
                if known.tail.len() as u64 >= BLOCK {
                    known.tail.retain(|_, (position, _)| position.0 >= end);
                }
            }
        }
    }
}

/// Reads the row of a block that could hold the fingerprint; a harmed row is replaced by the log.
fn look_into(
    context: &mut Context<'_, '_>,
    bus: BusId,
    first: u64,
    fingerprint: &Fingerprint,
) -> Result<Option<Place>, Error> {
    let key = shard_key(bus, first, fingerprint[0]);
    let row = context
        .tables
        .get(Table::Dedupe, &key, |from| read_shard(from, first))?;
    let harm = match row {
        Some(Ok(entries)) => {
            let found = entries.binary_search_by_key(fingerprint, |(entry, _)| *entry);
            return Ok(found.ok().map(|index| entries[index].1));
        }
        Some(Err(harm)) => harm,
        None => Harm::new(Table::Dedupe, &key, "is missing"),
    };
    context.harmed.note(&harm);
    let mut found = None;
    walk_log(context, bus, first..=first + (BLOCK - 1), |entry, place| {
        if entry == *fingerprint {
            found = Some(place);
        }
    })?;
    Ok(found)
}

fn seal_block(
    tables: &mut Tables<'_>,
    bus: BusId,
    known: Option<&BusIndex>,
    added: &mut PendingBus,
    last: u64,
) -> Result<(), Error> {
    let first = last + 1 - BLOCK;
    let tail = known.map(|known| &known.tail);
    // A later acceptance of the same fingerprint hides the earlier one, as the log itself does.
    let old = tail
        .into_iter()
        .flatten()
        .filter(|(fingerprint, _)| !added.fresh.contains_key(*fingerprint));
    let mut entries: Vec<(Fingerprint, Place)> = old
        .chain(added.fresh.iter())
        .filter(|(_, (position, _))| (first..=last).contains(&position.0))
        .map(|(fingerprint, place)| (*fingerprint, *place))
        .collect();
    entries.sort_unstable();
    let mut block = Block {
        first,
        newest: Timestamp::default(),
        filter: Filter::new(),
    };
    let mut rest = entries.as_slice();
    for shard in 0..=u8::MAX {
        let end = rest.partition_point(|(fingerprint, _)| fingerprint[0] <= shard);
        let (row, after) = rest.split_at(end);
        rest = after;
        let key = shard_key(bus, first, shard);
        tables.put(Table::Dedupe, &key, |out| write_shard(out, first, row))?;
        for (fingerprint, (_, accepted)) in row {
            block.newest = block.newest.max(*accepted);
            block.filter.insert(fingerprint);
        }
    }
    added.sealed.push(block);
    Ok(())
}

/// Removes the oldest blocks that are out of the window with some slack.
fn forget(
    tables: &mut Tables<'_>,
    bus: BusId,
    known: Option<&BusIndex>,
    added: &mut PendingBus,
    window_ms: u64,
    now: Timestamp,
) -> Result<(), Error> {
    let keep_ms = window_ms.saturating_add(SLACK_MS);
    let blocks = known.map(|known| &known.sealed);
    for block in blocks.into_iter().flatten().skip(added.forgotten) {
        if added.forgotten >= FORGOTTEN_MAX || now.ms_since(block.newest) <= keep_ms {
            break;
        }
        for shard in 0..=u8::MAX {
            tables.remove(Table::Dedupe, &shard_key(bus, block.first, shard))?;
        }
        added.forgotten += 1;
    }
    Ok(())
}
