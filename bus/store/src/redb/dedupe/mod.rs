//! Which (source, id) was accepted where and when: fingerprints in blocks that are merged into levels.
//!
//! A fingerprint is 16 bytes of keyed BLAKE3, so nobody outside can make two collide. The newest ones, of
//! positions after the last sealed block, are a map in memory: the *tail*. Each 64 of them are also a row, so
//! that a start reads those and not the events. When the log reaches the end of a range of 16,384 positions, that
//! range's fingerprints are *sealed* in the same transaction: sorted, as small rows by their first bits, with
//! a filter that answers nearly every "no" without a read. Sixteen sealed blocks are merged into one of
//! 262,144 positions, and sixteen of those into one of 4,194,304, a part at a time (`upkeep.rs`). So a new
//! event asks some thirty filters however many there are behind it, and not one for each 16,384 of them.
//! A block whose newest acceptance is out of the window is not asked at all.
//!
//! Filters have a budget of memory. Past it the oldest ones are halved, twice, and then let go: a look-up reads a row
//! of such a block from the store instead.
//!
//! A transaction changes this memory while it is at work. One that fails leaves the handle dead, so nobody
//! asks it again; the next open reads it anew. Rows that are corrupt or gone are answered from the log.
//!
//! Never here: what a duplicate means to its publisher.

mod block;
mod filter;
mod forget;
mod geometry;
mod load;
mod rows;
mod upkeep;

use std::collections::{HashMap, VecDeque};

use self::block::{Block, Sealing};
use self::filter::Filter;
use self::geometry::RUN;
use self::rows::Entry;
use self::upkeep::{Dying, Merge};
use super::corruption_log::CorruptionLog;
use super::fingerprint::{Fingerprint, Fingerprints, Map, Seen};
use super::tables::Tables;
use crate::Error;
use crate::codec::Table;
use edgebus_model::{BusId, Timestamp};

pub(super) use self::geometry::Geometry;
pub(super) use self::rows::read_row;

/// Rows that were put together from the log because the store's are corrupt; all are let go when there are more.
const RECOVERED_MAX: usize = 64;

/// One bus's fingerprints.
#[derive(Default)]
struct BusIndex {
    /// Blocks that answer, oldest first.
    live: Vec<Block>,
    /// Everything after the last sealed block.
    tail: Map,
    /// The newest entries, fewer than [`RUN`], which have no row yet.
    run: Vec<Entry>,
    /// The merges under way: at most one into each level.
    merges: Vec<Merge>,
    /// Blocks whose rows go.
    dying: VecDeque<Dying>,
    /// True if blocks may have become ripe for a merge.
    ripe: bool,
}

/// All fingerprints that count.
pub(super) struct Index {
    buses: HashMap<BusId, BusIndex>,
    geometry: Geometry,
    /// Memory that filters may take, in bytes.
    filter_bytes_max: usize,
    /// The latest time that an event was looked up at.
    latest: Timestamp,
    /// Upkeep that appends have earned, in entries.
    earned: u64,
    /// The buses in the order of their upkeep.
    turn: VecDeque<BusId>,
    /// Rows that had to be put together from the log, by key.
    recovered: HashMap<Vec<u8>, Vec<Entry>>,
}

/// What a look-up needs besides the index.
pub(super) struct Context<'a, 'txn> {
    pub(super) tables: &'a mut Tables<'txn>,
    pub(super) prints: &'a Fingerprints,
    pub(super) corrupt: &'a CorruptionLog,
}

impl BusIndex {
    /// Puts a block in its place.
    fn insert(&mut self, block: Block) {
        let place = self.live.partition_point(|old| old.first < block.first);
        self.live.insert(place, block);
        self.age();
    }

    /// Notes of each block how new it and everything before it is.
    fn age(&mut self) {
        let mut newest = Timestamp::default();
        for block in &mut self.live {
            newest = newest.max(block.newest);
            block.newest_before = newest;
        }
    }

    /// The last position of the last sealed block.
    fn sealed(&self, geometry: Geometry) -> u64 {
        self.live.last().map_or(0, |block| block.last(geometry))
    }
}

impl Index {
    /// An index that remembers nothing, whose filters may take `filter_bytes_max` of memory.
    pub(super) fn new(geometry: Geometry, filter_bytes_max: usize) -> Self {
        Self {
            buses: HashMap::new(),
            geometry,
            filter_bytes_max,
            latest: Timestamp::default(),
            earned: 0,
            turn: VecDeque::new(),
            recovered: HashMap::new(),
        }
    }

    /// Where the fingerprint was last accepted less than `window_ms` before `now`.
    pub(super) fn find(
        &mut self,
        context: &mut Context<'_, '_>,
        (bus, fingerprint): (BusId, &Fingerprint),
        window_ms: u64,
        now: Timestamp,
    ) -> Result<Option<Seen>, Error> {
        self.latest = self.latest.max(now);
        let Some(known) = self.buses.get(&bus).filter(|_| window_ms > 0) else {
            return Ok(None);
        };
        let counts = |seen: &Seen| now.ms_since(seen.accepted) < window_ms;
        // The latest acceptance is the one that counts: an older one expired before it.
        if let Some(seen) = known.tail.get(fingerprint) {
            return Ok(Some(*seen).filter(counts));
        }
        for block in known.live.iter().rev() {
            if now.ms_since(block.newest_before) >= window_ms {
                break;
            }
            if !block.may_hold(fingerprint) {
                continue;
            }
            let geometry = self.geometry;
            let place = (bus, block.level, block.first);
            let seen =
                block::look_into(context, geometry, place, fingerprint, &mut self.recovered)?;
            if let Some(seen) = seen {
                return Ok(Some(seen).filter(counts));
            }
        }
        Ok(None)
    }

    /// Notes an accepted event; seals the block that it fills.
    pub(super) fn add(
        &mut self,
        tables: &mut Tables<'_>,
        (bus, fingerprint): (BusId, Fingerprint),
        seen: Seen,
    ) -> Result<(), Error> {
        self.latest = self.latest.max(seen.accepted);
        self.earned += 1;
        let geometry = self.geometry;
        let turn = &mut self.turn;
        let known = self.buses.entry(bus).or_insert_with(|| {
            turn.push_back(bus);
            BusIndex::default()
        });
        known.tail.insert(fingerprint, seen);
        known.run.push((fingerprint, seen));
        let position = seen.position.0;
        if position.is_multiple_of(RUN) {
            put_run(tables, bus, position + 1 - RUN, &known.run)?;
            known.run.clear();
        }
        if position.is_multiple_of(geometry.span(0)) {
            let first = position + 1 - geometry.span(0);
            let sealing = Sealing {
                bus,
                geometry,
                first,
            };
            let block = sealing.seal(tables, &known.tail)?;
            known.tail.retain(|_, seen| seen.position.0 > position);
            known.insert(block);
            known.ripe = true;
            self.fit();
        }
        Ok(())
    }

    /// Writes the newest entries, if positions up to `last` are among them, which the log has no more: the next
    /// start reads those entries from the row. It is written anew when it is complete.
    pub(super) fn keep(&self, tables: &mut Tables<'_>, bus: BusId, last: u64) -> Result<(), Error> {
        let run = self.buses.get(&bus).map_or(&[][..], |known| &known.run);
        match run.first() {
            Some((_, seen)) if seen.position.0 <= last => {
                let first = (seen.position.0 - 1) / RUN * RUN + 1;
                put_run(tables, bus, first, run)
            }
            _ => Ok(()),
        }
    }

    /// Halves filters, or lets them go, until all of them fit into their memory.
    fn fit(&mut self) {
        while self.filter_bytes() > self.filter_bytes_max {
            let blocks = self.buses.values_mut().flat_map(|known| &mut known.live);
            let with = blocks.filter(|block| block.filter.is_some());
            // Those that were halved least first, and of those the oldest.
            let chosen = with.min_by_key(|block| {
                let folds = block.filter.as_ref().map_or(0, Filter::folds);
                (folds, block.newest)
            });
            let Some(block) = chosen else { break };
            let folded = block.filter.as_mut().is_some_and(Filter::fold);
            if !folded {
                block.filter = None;
            }
        }
    }

    /// Blocks that a look-up may ask.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        self.buses.values().map(|known| known.live.len()).sum()
    }

    /// Memory that the filters take, in bytes.
    pub(super) fn filter_bytes(&self) -> usize {
        let blocks = self.buses.values().flat_map(|known| &known.live);
        blocks
            .filter_map(|block| block.filter.as_ref())
            .map(Filter::bytes)
            .sum()
    }
}

/// Writes a row of the tail.
fn put_run(
    tables: &mut Tables<'_>,
    bus: BusId,
    first: u64,
    entries: &[Entry],
) -> Result<(), Error> {
    let key = rows::key_of(bus, rows::Kind::Run, 0, first, 0);
    tables.put(Table::DedupeLevels, &key, |out| {
        rows::write_entries(out, first, entries);
    })
}
