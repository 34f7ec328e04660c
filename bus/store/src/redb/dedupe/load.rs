//! A start: what is kept in memory is read from rows of its own, a few for each block.
//!
//! Blocks that have no head come from a store of an earlier release, or lost it: they get one, and a filter, from
//! their rows, some blocks in one transaction, so that a stop in between loses nothing. Of the tail
//! at most 63 events are read themselves, unless its rows are corrupt or gone.
//!
//! Never here: a change to rows that are intact.

use std::collections::BTreeMap;

use super::block::{self, Block, put_filter_part, put_head};
use super::filter::Filter;
use super::geometry::{Geometry, LEVEL_MAX, RUN};
use super::rows::{self, Head, Kind, State};
use super::upkeep::{Dying, Merge};
use super::{BusIndex, Context, Index};
use crate::Error;
use crate::codec::{Table, unseal};
use edgebus_model::{BusId, Timestamp};

/// Blocks that get their head and filter in one transaction.
const COMPLETED_MAX: usize = 16;

/// Level and first position of each block, with its head if that is intact. Higher levels come last.
type Found = BTreeMap<(u8, u64), Option<Head>>;

impl Index {
    /// Gives heads and filters to blocks of a bus that have none, whose log ends at `head`: to how many, and
    /// whether there are more.
    pub(in super::super) fn complete(
        &self,
        context: &mut Context<'_, '_>,
        (bus, head): (BusId, u64),
    ) -> Result<(usize, bool), Error> {
        let geometry = self.geometry;
        let mut found = survey(context, geometry, (bus, head))?;
        let lacking: Vec<(u8, u64)> = found
            .iter()
            .rev()
            .filter(|(_, head)| head.is_none())
            .map(|(place, _)| *place)
            .collect();
        for (level, first) in lacking.iter().copied().take(COMPLETED_MAX) {
            let place = (bus, level, first);
            let state = missing_state(&found, geometry, (level, first));
            let head = match state {
                State::Live => {
                    let (filter, newest) = rebuild(context, geometry, place)?;
                    for part in 0..geometry.parts(level) {
                        put_filter_part(context.tables, place, geometry, &filter, part)?;
                    }
                    Head { state, newest }
                }
                _ => Head {
                    state,
                    newest: Timestamp::default(),
                },
            };
            put_head(context.tables, place, &head)?;
            found.insert((level, first), Some(head));
        }
        let completed = lacking.len().min(COMPLETED_MAX);
        Ok((completed, lacking.len() > completed))
    }

    /// Builds the memory of one bus, whose log ends at `head`, from its blocks and the rows of its tail.
    pub(in super::super) fn load(
        &mut self,
        context: &mut Context<'_, '_>,
        (bus, head): (BusId, u64),
    ) -> Result<(), Error> {
        let geometry = self.geometry;
        self.turn.push_back(bus);
        self.buses.insert(
            bus,
            BusIndex {
                ripe: true,
                ..BusIndex::default()
            },
        );
        let found = survey(context, geometry, (bus, head))?;
        // The newest first: where memory is short, they have their filters.
        let mut building = Vec::new();
        for ((level, first), head) in found.iter().rev() {
            let Some(head) = head else { continue };
            let place = (bus, *level, *first);
            match head.state {
                State::Live => {
                    let block = read_block(context, geometry, place, head.newest)?;
                    self.known(bus).insert(block);
                    self.fit();
                }
                State::Building { part } => building.push((*level, *first, part)),
                State::Dying => self.known(bus).dying.push_back(Dying {
                    level: *level,
                    first: *first,
                }),
            }
        }
        let known = self.known(bus);
        for (level, first, part) in building {
            known.go_on(context, geometry, (bus, level, first), part)?;
        }
        known.read_tail(context, geometry, bus, head)
    }

    fn known(&mut self, bus: BusId) -> &mut BusIndex {
        self.buses.entry(bus).or_default()
    }
}

impl BusIndex {
    /// Goes on with a merge that the last process began; from its beginning where its filter is corrupt.
    fn go_on(
        &mut self,
        context: &mut Context<'_, '_>,
        geometry: Geometry,
        (bus, level, first): (BusId, u8, u64),
        part: u32,
    ) -> Result<(), Error> {
        let filter = read_filter(context, geometry, (bus, level, first), part)?;
        let (part, filter) = match filter {
            Some(filter) => (part, filter),
            None => (0, Filter::begun(geometry, level)),
        };
        let mut merge = Merge {
            level,
            first,
            part,
            newest: Timestamp::default(),
            filter,
        };
        let old = self
            .live
            .iter()
            .filter(|block| merge.covers(geometry, block));
        match old.map(|block| block.newest).max() {
            Some(newest) => {
                merge.newest = newest;
                self.merges.push(merge);
                self.merges.sort_by_key(|merge| merge.level);
            }
            // Nothing is left to be merged.
            None => self.dying.push_back(Dying { level, first }),
        }
        Ok(())
    }

    /// Reads the tail: complete rows, and the events behind them.
    fn read_tail(
        &mut self,
        context: &mut Context<'_, '_>,
        geometry: Geometry,
        bus: BusId,
        head: u64,
    ) -> Result<(), Error> {
        // A range is sealed in the transaction that fills it: where no block is left of it, it has expired.
        let filled = head - head % geometry.span(0);
        let mut first = self.sealed(geometry).max(filled) + 1;
        while first <= head {
            let last = first + (RUN - 1);
            let key = rows::key_of(bus, Kind::Run, 0, first, 0);
            let row = context.tables.get(Table::DedupeLevels, &key, |from| {
                rows::read_entries(from, first)
            })?;
            let entries = match row {
                Some(Ok(entries)) if last <= head => entries,
                row => {
                    // Of a row that is not complete yet, what retention has removed.
                    let (mut entries, missing) = match row {
                        Some(Ok(entries)) => (entries, None),
                        missing => (Vec::new(), missing),
                    };
                    let known = entries.iter().map(|(_, seen)| seen.position.0).max();
                    let rest = known.map_or(first, |known| known + 1)..=last.min(head);
                    if !rest.is_empty() {
                        block::walk_log(context, bus, rest, |entry| entries.push(entry))?;
                    }
                    match missing {
                        Some(Err(corruption)) => context.corrupt.note(&corruption),
                        _ if last <= head => {
                            super::put_run(context.tables, bus, first, &entries)?;
                        }
                        _ => {}
                    }
                    if last > head {
                        self.run.clone_from(&entries);
                    }
                    entries
                }
            };
            self.tail.extend(entries);
            first += RUN;
        }
        Ok(())
    }
}

/// Every block that has intact rows or a head. None ends behind the log, whose last position is `head`: taken for one, it
/// would hide the tail.
fn survey(
    context: &mut Context<'_, '_>,
    geometry: Geometry,
    (bus, head): (BusId, u64),
) -> Result<Found, Error> {
    let mut found = Found::new();
    let corrupt = context.corrupt;
    let may_be = |(level, first): (u8, u64)| {
        let last = || first.checked_add(geometry.span(level) - 1);
        level <= LEVEL_MAX
            && first > 0
            && geometry.first(level, first) == first
            && last().is_some_and(|last| last <= head)
    };
    for level in 0..=LEVEL_MAX {
        let end = rows::last_row_key(bus, level, u64::MAX);
        let mut from = 1;
        loop {
            let mut next = None;
            let start = rows::row_key(bus, level, from, 0);
            let table = rows::table_of(&start);
            context.tables.scan(table, &start, &end, |key, row| {
                // A corrupt key can name a block that never was.
                match unseal(table, key, row, |from| rows::read_row(key, from)) {
                    Ok(()) => next = rows::block_of(key).filter(|place| may_be(*place)),
                    Err(corruption) => corrupt.note(&corruption),
                }
                next.is_none()
            })?;
            let Some((_, first)) = next.filter(|(_, first)| *first >= from) else {
                break;
            };
            found.insert((level, first), None);
            from = first + geometry.span(level);
        }
    }
    let start = rows::key_of(bus, Kind::Head, 0, 0, 0);
    let end = rows::key_of(bus, Kind::Head, u8::MAX, u64::MAX, u32::MAX);
    context
        .tables
        .scan(Table::DedupeLevels, &start, &end, |key, row| {
            if let Some(place) = rows::block_of(key) {
                match unseal(Table::DedupeLevels, key, row, rows::read_head) {
                    Ok(head) if may_be(place) => {
                        found.insert(place, Some(head));
                    }
                    Ok(_) => {}
                    Err(corruption) => corrupt.note(&corruption),
                }
            }
            true
        })?;
    Ok(found)
}

/// What a block without a head must be.
fn missing_state(found: &Found, geometry: Geometry, (level, first): (u8, u64)) -> State {
    let live = |place: (u8, u64)| {
        let head = found.get(&place).copied().flatten();
        head.is_some_and(|head| head.state == State::Live)
    };
    if (level + 1..=LEVEL_MAX).any(|above| live((above, geometry.first(above, first)))) {
        return State::Dying;
    }
    let last = first + (geometry.span(level) - 1);
    let below = found.keys().copied().filter(|(lower, place)| {
        *lower < level && (first..=last).contains(place) && live((*lower, *place))
    });
    match below.count() {
        0 => State::Live,
        _ => State::Building { part: 0 },
    }
}

/// A block with its filter: from the rows of the filter, or made anew where they are corrupt.
fn read_block(
    context: &mut Context<'_, '_>,
    geometry: Geometry,
    place: (BusId, u8, u64),
    newest: Timestamp,
) -> Result<Block, Error> {
    let (_, level, first) = place;
    let filter = match read_filter(context, geometry, place, geometry.parts(level))? {
        Some(filter) => filter,
        None => rebuild(context, geometry, place)?.0,
    };
    Ok(Block {
        level,
        first,
        newest,
        newest_before: newest,
        filter: Some(filter),
    })
}

/// The first parts of a block's filter, or `None` if one is corrupt or gone.
fn read_filter(
    context: &mut Context<'_, '_>,
    geometry: Geometry,
    (bus, level, first): (BusId, u8, u64),
    parts: u32,
) -> Result<Option<Filter>, Error> {
    let mut filter = Filter::begun(geometry, level);
    let (mut count, mut intact) = (0, true);
    if parts == 0 {
        return Ok(Some(filter));
    }
    let start = rows::key_of(bus, Kind::Filter, level, first, 0);
    let end = rows::key_of(bus, Kind::Filter, level, first, parts - 1);
    let corrupt = context.corrupt;
    context
        .tables
        .scan(Table::DedupeLevels, &start, &end, |key, row| {
            let bytes = unseal(Table::DedupeLevels, key, row, |from| {
                Some(from.rest().to_vec())
            });
            match bytes {
                Ok(bytes) => {
                    let lines = geometry.part_lines(level);
                    intact &= bytes.len() == lines * super::filter::LINE_BYTES;
                    intact &= key.ends_with(&u32::to_be_bytes(count)) && filter.read(&bytes);
                }
                Err(corruption) => {
                    corrupt.note(&corruption);
                    intact = false;
                }
            }
            count += 1;
            intact
        })?;
    Ok(Some(filter).filter(|_| intact && count == parts))
}

/// A block's filter and newest acceptance, from its rows and, where those are corrupt, from the log.
fn rebuild(
    context: &mut Context<'_, '_>,
    geometry: Geometry,
    place: (BusId, u8, u64),
) -> Result<(Filter, Timestamp), Error> {
    let (bus, level, first) = place;
    let mut filter = Filter::new(geometry, level);
    let mut newest = Timestamp::default();
    let mut lost = false;
    for row in 0..geometry.rows(level) {
        let key = rows::row_key(bus, level, first, row);
        let read = context.tables.get(rows::table_of(&key), &key, |from| {
            rows::read_entries(from, first)
        })?;
        match read {
            Some(Ok(entries)) => {
                for (fingerprint, seen) in entries {
                    filter.insert(&fingerprint);
                    newest = newest.max(seen.accepted);
                }
            }
            Some(Err(corruption)) => {
                context.corrupt.note(&corruption);
                lost = true;
            }
            None => lost = true,
        }
    }
    if lost {
        let last = first + (geometry.span(level) - 1);
        block::walk_log(context, bus, first..=last, |(fingerprint, seen)| {
            filter.insert(&fingerprint);
            newest = newest.max(seen.accepted);
        })?;
    }
    Ok((filter, newest))
}
