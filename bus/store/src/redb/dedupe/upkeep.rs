//! Upkeep between appends: blocks expire, ripe ones are merged, and rows of those that answer no more go.
//!
//! All of it takes place in bounded steps inside the writer's transactions, and each step leaves the rows whole: a crash
//! between two loses nothing. A merge writes the new block's rows a part at a time, with that part of
//! its filter and how far it is. The old blocks answer until the last part is there; the same transaction turns the
//! new one on and the old ones off. How much is done goes by what appends have earned, so that upkeep
//! keeps up with them and a burst pays for itself.
//!
//! Never here: a step that costs more the more is remembered.

use super::block::{self, Block};
use super::filter::Filter;
use super::geometry::{Geometry, LEVEL_MAX};
use super::rows::{self, Head, Kind, State};
use super::{BusIndex, Context, Index};
use crate::Error;
use crate::codec::Table;
use edgebus_model::{BusId, Timestamp};

/// A block expires this long after its newest event left the window, so that a wider window, which a
/// manifest may bring any time, finds what is within it more often than not.
const SLACK_MS: u64 = 3_600_000;
/// What every transaction earns, so that upkeep ends where little is published.
const EARNED_EACH: u64 = 8;
/// What may be left for later transactions: two steps of a merge.
const EARNED_MAX: u64 = 1_400;
/// The price of a step of a merge: 2,048 entries. Each entry is merged twice in its life, so that
/// anything below 1,024, less what its rows' removal costs, keeps up.
const MERGE_PRICE: u64 = 600;
/// The price of removing a row.
const REMOVE_PRICE: u64 = 3;
/// Rows removed in one step: about those of two steps of a merge.
const REMOVED_ROWS_MAX: usize = 66;
/// Blocks that expire in one transaction.
const EXPIRED_MAX: usize = 4;
/// Buses looked at in one transaction.
const BUSES_MAX: usize = 8;

/// A merge under way.
pub(super) struct Merge {
    /// The level of the new block.
    pub(super) level: u8,
    /// Its first position.
    pub(super) first: u64,
    /// The part that comes next.
    pub(super) part: u32,
    /// The newest acceptance of the old blocks.
    pub(super) newest: Timestamp,
    /// The new block's filter, as far as it is.
    pub(super) filter: Filter,
}

/// A block whose rows go.
pub(super) struct Dying {
    pub(super) level: u8,
    pub(super) first: u64,
}

impl Merge {
    pub(super) fn covers(&self, geometry: Geometry, block: &Block) -> bool {
        let last = self.first + (geometry.span(self.level) - 1);
        block.level < self.level && (self.first..=last).contains(&block.first)
    }
}

impl Index {
    /// Does as much as was earned. `reach_ms` says how far back a bus remembers at a time if its window is longer by
    /// the last number: gaps of the clock count, so it must be what the next look-up goes by and not
    /// what an earlier one went by.
    pub(in super::super) fn keep_up(
        &mut self,
        context: &mut Context<'_, '_>,
        reach_ms: impl Fn(BusId, Timestamp, u64) -> u64,
    ) -> Result<(), Error> {
        self.earned += EARNED_EACH;
        let (geometry, latest) = (self.geometry, self.latest);
        let mut grown = false;
        for _ in 0..self.turn.len().min(BUSES_MAX) {
            let Some(bus) = self.turn.pop_front() else {
                break;
            };
            self.turn.push_back(bus);
            let Some(known) = self.buses.get_mut(&bus) else {
                continue;
            };
            let keep_ms = reach_ms(bus, latest, SLACK_MS);
            known.expire(context, geometry, bus, (latest, keep_ms))?;
            while self.earned >= REMOVE_PRICE * REMOVED_ROWS_MAX as u64 {
                let removed = known.remove(context, geometry, bus)?;
                if removed == 0 {
                    break;
                }
                self.earned = self.earned.saturating_sub(REMOVE_PRICE * removed);
            }
            known.find_ripe(geometry);
            while self.earned >= MERGE_PRICE && !known.merges.is_empty() {
                self.earned -= MERGE_PRICE;
                grown |= known.merge(context, geometry, bus)?;
                known.find_ripe(geometry);
            }
        }
        self.earned = self.earned.min(EARNED_MAX);
        if grown {
            self.fit();
        }
        Ok(())
    }
}

impl BusIndex {
    /// Turns off the oldest blocks that are out of the window with some slack.
    fn expire(
        &mut self,
        context: &mut Context<'_, '_>,
        geometry: Geometry,
        bus: BusId,
        (latest, keep_ms): (Timestamp, u64),
    ) -> Result<(), Error> {
        for _ in 0..EXPIRED_MAX {
            // What a merge reads stays until it is done: that one expires then.
            let expired = self.live.first().filter(|block| {
                let merged = self
                    .merges
                    .iter()
                    .any(|merge| merge.covers(geometry, block));
                !merged && latest.ms_since(block.newest) > keep_ms
            });
            if expired.is_none() {
                break;
            }
            let block = self.live.remove(0);
            self.age();
            self.turn_off(context, bus, &block)?;
        }
        Ok(())
    }

    /// Notes durably that a block answers no more.
    fn turn_off(
        &mut self,
        context: &mut Context<'_, '_>,
        bus: BusId,
        block: &Block,
    ) -> Result<(), Error> {
        let (level, first) = (block.level, block.first);
        let head = Head {
            state: State::Dying,
            newest: block.newest,
        };
        block::put_head(context.tables, (bus, level, first), &head)?;
        self.dying.push_back(Dying { level, first });
        Ok(())
    }

    /// Removes some rows of a block that answers no more, and says how many; 0 if there is no such block.
    fn remove(
        &mut self,
        context: &mut Context<'_, '_>,
        geometry: Geometry,
        bus: BusId,
    ) -> Result<u64, Error> {
        let Some(Dying { level, first }) = self.dying.front() else {
            return Ok(0);
        };
        let (level, first) = (*level, *first);
        let mut keys: Vec<Vec<u8>> = Vec::with_capacity(REMOVED_ROWS_MAX);
        let parts = geometry.parts(level);
        let ranges = [
            (
                rows::row_key(bus, level, first, 0),
                rows::last_row_key(bus, level, first),
            ),
            (
                rows::key_of(bus, Kind::Filter, level, first, 0),
                rows::key_of(bus, Kind::Filter, level, first, parts),
            ),
        ];
        for (from, to) in ranges {
            if keys.len() < REMOVED_ROWS_MAX {
                context
                    .tables
                    .scan(rows::table_of(&from), &from, &to, |key, _| {
                        keys.push(key.to_vec());
                        keys.len() < REMOVED_ROWS_MAX
                    })?;
            }
        }
        for key in &keys {
            context.tables.remove(rows::table_of(key), key)?;
        }
        if keys.len() < REMOVED_ROWS_MAX {
            let head = rows::key_of(bus, Kind::Head, level, first, 0);
            context.tables.remove(Table::DedupeLevels, &head)?;
            self.dying.pop_front();
        }
        Ok(keys.len() as u64 + 1)
    }

    /// Begins a merge into each level that has none and for which blocks are ripe.
    fn find_ripe(&mut self, geometry: Geometry) {
        if !std::mem::take(&mut self.ripe) {
            return;
        }
        let sealed = self.sealed(geometry);
        for level in 1..=LEVEL_MAX {
            if self.merges.iter().any(|merge| merge.level == level) {
                continue;
            }
            let group = |block: &Block| {
                let first = geometry.first(level, block.first);
                (first, first + (geometry.span(level) - 1))
            };
            // The oldest range that is full and holds nothing but blocks of the level below.
            let ripe = self.live.iter().find(|block| {
                let (first, last) = group(block);
                let mut own = self
                    .live
                    .iter()
                    .filter(|own| (first..=last).contains(&own.first));
                block.level + 1 == level && last <= sealed && own.all(|own| own.level + 1 == level)
            });
            let Some((first, _)) = ripe.map(group) else {
                continue;
            };
            let mut merge = Merge {
                level,
                first,
                part: 0,
                newest: Timestamp::default(),
                filter: Filter::begun(geometry, level),
            };
            let old = self
                .live
                .iter()
                .filter(|block| merge.covers(geometry, block));
            let newest = old.map(|block| block.newest).max();
            merge.newest = newest.unwrap_or_default();
            self.merges.push(merge);
        }
        // A level's merges are few and large: the one that new blocks wait for goes first.
        self.merges.sort_by_key(|merge| merge.level);
    }

    /// Makes the next part of the first merge; true if that was the last part.
    fn merge(
        &mut self,
        context: &mut Context<'_, '_>,
        geometry: Geometry,
        bus: BusId,
    ) -> Result<bool, Error> {
        let Some(merge) = self.merges.first_mut() else {
            return Ok(false);
        };
        let place = (bus, merge.level, merge.first);
        let part_rows = geometry.part_rows(merge.level);
        let (from, to) = (merge.part * part_rows, (merge.part + 1) * part_rows - 1);
        let mut entries = Vec::new();
        for block in &self.live {
            #[cfg(any(test, feature = "testing"))]
            if super::super::injected::LOST_BLOCK.get() && block.first == merge.first {
                continue;
            }
            if merge.covers(geometry, block) {
                let fan_bits = geometry.fan_bits * u32::from(merge.level - block.level);
                let range = from >> fan_bits..=to >> fan_bits;
                let source = (bus, block.level, block.first);
                entries.extend(block::read_rows(context, geometry, source, range)?);
            }
        }
        // A row of an old block may be more than this part.
        entries.retain(|(fingerprint, _)| {
            (from..=to).contains(&rows::row_of(geometry, merge.level, fingerprint))
        });
        let entries = block::latest(entries);
        merge.filter.extend(geometry.part_lines(merge.level));
        for (fingerprint, _) in &entries {
            merge.filter.insert(fingerprint);
        }
        block::put_rows(context.tables, geometry, place, from..=to, &entries)?;
        block::put_filter_part(context.tables, place, geometry, &merge.filter, merge.part)?;
        merge.part += 1;
        let done = merge.part == geometry.parts(merge.level);
        let state = match done {
            true => State::Live,
            false => State::Building { part: merge.part },
        };
        let newest = merge.newest;
        block::put_head(context.tables, place, &Head { state, newest })?;
        if done {
            self.finish_merge(context, geometry, bus)?;
        }
        Ok(done)
    }

    /// Turns the new block of the first merge on and the old ones off.
    fn finish_merge(
        &mut self,
        context: &mut Context<'_, '_>,
        geometry: Geometry,
        bus: BusId,
    ) -> Result<(), Error> {
        let merge = self.merges.remove(0);
        let all = std::mem::take(&mut self.live);
        let (old, live) = all
            .into_iter()
            .partition(|block| merge.covers(geometry, block));
        self.live = live;
        for block in &old {
            self.turn_off(context, bus, block)?;
        }
        self.insert(Block {
            level: merge.level,
            first: merge.first,
            newest: merge.newest,
            newest_before: merge.newest,
            filter: Some(merge.filter),
        });
        self.ripe = true;
        Ok(())
    }
}
