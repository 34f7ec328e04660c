//! One block: sealed from the tail, looked into, and put together from the log where its rows are corrupt.
//!
//! Never here: which blocks there are, or a merge.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::super::aside;
use super::super::fingerprint::{Fingerprint, Map, Seen};
use super::super::heads;
use super::super::quarantine::MISSING;
use super::super::tables::{Tables, event_key, position_of};
use super::filter::Filter;
use super::geometry::{Geometry, RUN};
use super::rows::{self, Entry, Head, Kind, State};
use super::{Context, RECOVERED_MAX};
use crate::Error;
use crate::codec::{CorruptRecord, Table, event::read_stored, unseal};
use edgebus_model::{BusId, Position, Timestamp};

/// Gaps of the log that one walk tells of.
const GAPS_MAX: usize = 64;

/// A block that answers, as memory knows it.
pub(super) struct Block {
    pub(super) level: u8,
    /// Its first position.
    pub(super) first: u64,
    /// The newest acceptance in it.
    pub(super) newest: Timestamp,
    /// The newest acceptance in it and in all that are older.
    pub(super) newest_before: Timestamp,
    /// `None` when there is no memory for it: each look-up reads a row then.
    pub(super) filter: Option<Filter>,
}

impl Block {
    /// Its last position.
    pub(super) fn last(&self, geometry: Geometry) -> u64 {
        self.first + (geometry.span(self.level) - 1)
    }

    pub(super) fn may_hold(&self, fingerprint: &Fingerprint) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|filter| filter.may_hold(fingerprint))
    }
}

/// Writes the lines of a part of a filter.
pub(super) fn put_filter_part(
    tables: &mut Tables<'_>,
    (bus, level, first): (BusId, u8, u64),
    geometry: Geometry,
    filter: &Filter,
    part: u32,
) -> Result<(), Error> {
    let lines = geometry.part_lines(level);
    let key = rows::key_of(bus, Kind::Filter, level, first, part);
    tables.put(Table::DedupeLevels, &key, |out| {
        filter.write(part as usize * lines, lines, out);
    })
}

/// Writes what a block is.
pub(super) fn put_head(
    tables: &mut Tables<'_>,
    (bus, level, first): (BusId, u8, u64),
    head: &Head,
) -> Result<(), Error> {
    let key = rows::key_of(bus, Kind::Head, level, first, 0);
    tables.put(Table::DedupeLevels, &key, |out| rows::write_head(out, head))
}

/// Where a block is sealed.
pub(super) struct Sealing {
    pub(super) bus: BusId,
    pub(super) geometry: Geometry,
    /// Its first position.
    pub(super) first: u64,
}

impl Sealing {
    /// Writes the rows of the block from the tail, and removes the tail's.
    pub(super) fn seal(&self, tables: &mut Tables<'_>, tail: &Map) -> Result<Block, Error> {
        let (bus, geometry, first) = (self.bus, self.geometry, self.first);
        let place = (bus, 0, first);
        let last = first + (geometry.span(0) - 1);
        let mut entries: Vec<Entry> = tail
            .iter()
            .filter(|(_, seen)| (first..=last).contains(&seen.position.0))
            .map(|(fingerprint, seen)| (*fingerprint, *seen))
            .collect();
        entries.sort_unstable_by_key(|(fingerprint, _)| *fingerprint);
        let mut filter = Filter::new(geometry, 0);
        let mut newest = Timestamp::default();
        for (fingerprint, seen) in &entries {
            filter.insert(fingerprint);
            newest = newest.max(seen.accepted);
        }
        put_rows(tables, geometry, place, 0..=geometry.rows(0) - 1, &entries)?;
        for part in 0..geometry.parts(0) {
            put_filter_part(tables, place, geometry, &filter, part)?;
        }
        let state = State::Live;
        put_head(tables, place, &Head { state, newest })?;
        for run in (first..=last).step_by(usize::try_from(RUN).unwrap_or(64)) {
            tables.remove(
                Table::DedupeLevels,
                &rows::key_of(bus, Kind::Run, 0, run, 0),
            )?;
        }
        Ok(Block {
            level: 0,
            first,
            newest,
            newest_before: newest,
            filter: Some(filter),
        })
    }
}

/// Writes sorted entries into the rows of a range, empty ones included.
pub(super) fn put_rows(
    tables: &mut Tables<'_>,
    geometry: Geometry,
    (bus, level, first): (BusId, u8, u64),
    range: RangeInclusive<u32>,
    entries: &[Entry],
) -> Result<(), Error> {
    let mut rest = entries;
    for row in range {
        let end = rest
            .partition_point(|(fingerprint, _)| rows::row_of(geometry, level, fingerprint) <= row);
        let (own, after) = rest.split_at(end);
        rest = after;
        let key = rows::row_key(bus, level, first, row);
        tables.put(rows::table_of(&key), &key, |out| {
            rows::write_entries(out, first, own);
        })?;
    }
    Ok(())
}

/// Calls `each` for every intact event of a range of the log; those that retention removed are no more.
pub(super) fn walk_log(
    context: &mut Context<'_, '_>,
    bus: BusId,
    positions: RangeInclusive<u64>,
    mut each: impl FnMut(Entry),
) -> Result<(), Error> {
    let from = event_key(bus, Position(*positions.start()));
    let to = event_key(bus, Position(*positions.end()));
    let (prints, corrupt) = (context.prints, context.corrupt);
    // What may be missing, until it is looked for in quarantine.
    let floor = heads::floor_within(context.tables, bus)?;
    let (mut next, mut gaps) = (floor.max(*positions.start()), Vec::new());
    let mut gap = |next: &mut u64, position: u64| {
        if position > *next && gaps.len() < GAPS_MAX {
            gaps.push(*next..position);
        }
        *next = (*next).max(position.saturating_add(1));
    };
    context.tables.scan(Table::Events, &from, &to, |key, row| {
        let position = position_of(key).unwrap_or_default();
        match unseal(Table::Events, key, row, |from| read_stored(from, position)) {
            Ok(stored) => {
                gap(&mut next, position.0);
                let fingerprint = prints.of(bus, &stored.event);
                let seen = Seen {
                    position,
                    accepted: stored.accepted_at,
                    content: prints.content(&stored.event),
                };
                each((fingerprint, seen));
            }
            Err(corruption) => {
                corrupt.note(&corruption);
                if position.0 == next {
                    next += 1;
                }
            }
        }
        true
    })?;
    gap(&mut next, positions.end().saturating_add(1));
    for gap in gaps {
        aside::note_gap(context.tables, corrupt, bus, gap)?;
    }
    Ok(())
}

/// Takes note of a row that is corrupt, or that is missing and not in quarantine.
fn note_lost(
    context: &mut Context<'_, '_>,
    key: &[u8],
    corruption: Option<CorruptRecord>,
) -> Result<(), Error> {
    let table = rows::table_of(key);
    match corruption {
        Some(corruption) => context.corrupt.note(&corruption),
        None if aside::is_aside(context.tables, table, key)? => {}
        None => context
            .corrupt
            .note(&CorruptRecord::new(table, key, MISSING)),
    }
    Ok(())
}

/// Sorts entries and keeps the latest of each fingerprint: an earlier one is hidden by it.
pub(super) fn latest(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable_by_key(|(fingerprint, seen)| {
        (*fingerprint, std::cmp::Reverse(seen.position))
    });
    entries.dedup_by_key(|(fingerprint, _)| *fingerprint);
    entries
}

/// The entries of some rows of a block, from the log.
pub(super) fn from_log(
    context: &mut Context<'_, '_>,
    geometry: Geometry,
    (bus, level, first): (BusId, u8, u64),
    wanted: RangeInclusive<u32>,
) -> Result<Vec<Entry>, Error> {
    let last = first + (geometry.span(level) - 1);
    let mut entries = Vec::new();
    walk_log(context, bus, first..=last, |(fingerprint, seen)| {
        if wanted.contains(&rows::row_of(geometry, level, &fingerprint)) {
            entries.push((fingerprint, seen));
        }
    })?;
    Ok(latest(entries))
}

/// Reads some rows of a block, each in its order. Those that are corrupt or gone come from the log.
pub(super) fn read_rows(
    context: &mut Context<'_, '_>,
    geometry: Geometry,
    place: (BusId, u8, u64),
    range: RangeInclusive<u32>,
) -> Result<Vec<Entry>, Error> {
    let (bus, level, first) = place;
    let mut entries = Vec::new();
    let mut lost: Option<(u32, u32)> = None;
    for row in range {
        let key = rows::row_key(bus, level, first, row);
        let read = context.tables.get(rows::table_of(&key), &key, |from| {
            rows::read_entries(from, first)
        })?;
        match read {
            Some(Ok(own)) => entries.extend(own),
            other => {
                note_lost(context, &key, other.and_then(Result::err))?;
                lost = Some((lost.map_or(row, |(from, _)| from), row));
            }
        }
    }
    if let Some((from, to)) = lost {
        // Intact rows between them come twice, and `latest` takes care of that.
        entries.extend(from_log(context, geometry, place, from..=to)?);
    }
    Ok(entries)
}

/// Looks into the row of a block that could hold the fingerprint; a corrupt row is replaced by the log.
pub(super) fn look_into(
    context: &mut Context<'_, '_>,
    geometry: Geometry,
    place: (BusId, u8, u64),
    fingerprint: &Fingerprint,
    recovered: &mut HashMap<Vec<u8>, Vec<Entry>>,
) -> Result<Option<Seen>, Error> {
    let (bus, level, first) = place;
    let row = rows::row_of(geometry, level, fingerprint);
    let key = rows::row_key(bus, level, first, row);
    let read = context.tables.get(rows::table_of(&key), &key, |from| {
        rows::find_entry(from, first, fingerprint)
    })?;
    let corruption = match read {
        Some(Ok(found)) => return Ok(found),
        Some(Err(corruption)) => Some(corruption),
        None => None,
    };
    note_lost(context, &key, corruption)?;
    if !recovered.contains_key(&key) {
        // A walk over up to four million events: once for each corrupt row, if it is asked for at all.
        let entries = from_log(context, geometry, place, row..=row)?;
        if recovered.len() >= RECOVERED_MAX {
            recovered.clear();
        }
        recovered.insert(key.clone(), entries);
    }
    let entries = recovered.get(&key).map_or(&[][..], Vec::as_slice);
    let found = entries.binary_search_by_key(fingerprint, |(entry, _)| *entry);
    Ok(found.ok().map(|index| entries[index].1))
}
