//! Keys and records: rows of sealed blocks in the table `dedupe`; those of merged blocks, what each block is, filters and
//! the tail in `dedupe-levels`.
//!
//! Never here: which rows there should be.

use super::super::fingerprint::{Fingerprint, Seen};
use super::super::tables::{event_key, position_of};
use super::geometry::Geometry;
use crate::codec::{Reader, Table, Writer};
use edgebus_model::{BusId, Position, Timestamp};

/// A fingerprint and what is known of it.
pub(super) type Entry = (Fingerprint, Seen);

/// Bytes of an entry: fingerprint, u32 offset, time accepted, u64 content.
const ENTRY_BYTES: usize = 36;
/// The same before record format 3: fingerprint, u16 offset, time accepted.
const OLD_ENTRY_BYTES: usize = 26;
/// Bytes of the key of a row of a sealed block: bus, first position, row.
const SEALED_KEY_BYTES: usize = 13;
/// The record format that brought contents.
const CONTENT_FORMAT: u8 = 3;

/// What a row of `dedupe-levels` is, in its key behind the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Fingerprints of a merged block.
    Merged = 1,
    /// What a block is.
    Head = 2,
    /// Lines of a block's filter.
    Filter = 3,
    /// Fingerprints of the tail.
    Run = 4,
}

/// The key of a row that has a kind.
pub(super) fn key_of(bus: BusId, kind: Kind, level: u8, first: u64, part: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    key.extend_from_slice(&bus.0.to_be_bytes());
    key.push(kind as u8);
    key.push(level);
    key.extend_from_slice(&first.to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// The table that a key of this file belongs to: sealed blocks have the shorter ones.
pub(super) fn table_of(key: &[u8]) -> Table {
    if key.len() == SEALED_KEY_BYTES {
        Table::Dedupe
    } else {
        Table::DedupeLevels
    }
}

/// The key of a row of fingerprints.
pub(super) fn row_key(bus: BusId, level: u8, first: u64, row: u32) -> Vec<u8> {
    if level > 0 {
        return key_of(bus, Kind::Merged, level, first, row);
    }
    let mut key = event_key(bus, Position(first)).to_vec();
    key.push(u8::try_from(row).expect("a sealed block has at most 256 rows"));
    key
}

/// The last key that a row of fingerprints of this block could have.
pub(super) fn last_row_key(bus: BusId, level: u8, first: u64) -> Vec<u8> {
    let row = if level > 0 {
        u32::MAX
    } else {
        u32::from(u8::MAX)
    };
    row_key(bus, level, first, row)
}

/// Level and first position of the block that a key of [`row_key`] or [`Kind::Head`] belongs to.
pub(super) fn block_of(key: &[u8]) -> Option<(u8, u64)> {
    match key.len() {
        SEALED_KEY_BYTES => Some((0, position_of(&key[..12])?.0)),
        18 => Some((key[5], position_of(&key[..14])?.0)),
        _ => None,
    }
}

/// The row of a block that holds a fingerprint.
pub(super) fn row_of(geometry: Geometry, level: u8, fingerprint: &Fingerprint) -> u32 {
    let (head, _) = fingerprint
        .split_first_chunk::<4>()
        .expect("a fingerprint has 16 bytes");
    let head = u64::from(u32::from_be_bytes(*head));
    u32::try_from(head >> (32 - geometry.row_bits(level))).expect("32 bits at most are left")
}

/// Writes entries, whose positions count from `first`.
pub(super) fn write_entries(out: &mut Vec<u8>, first: u64, entries: &[Entry]) {
    out.list(entries.iter(), |out, (fingerprint, seen)| {
        out.extend_from_slice(fingerprint);
        let offset = seen.position.0 - first;
        out.u32(u32::try_from(offset).expect("a block spans far less than 2^32 positions"));
        out.u64(seen.accepted.0);
        out.u64(seen.content);
    });
}

fn read_entry(from: &mut Reader<'_>, first: u64) -> Option<Entry> {
    let fingerprint = from.array()?;
    let new = from.format() >= CONTENT_FORMAT;
    let offset = if new { from.u32()? } else { from.u16()?.into() };
    let seen = Seen {
        position: Position(first.checked_add(offset.into())?),
        accepted: Timestamp(from.u64()?),
        content: if new { from.u64()? } else { 0 },
    };
    Some((fingerprint, seen))
}

/// Reads what [`write_entries`] wrote.
pub(super) fn read_entries(from: &mut Reader<'_>, first: u64) -> Option<Vec<Entry>> {
    from.list(|from| read_entry(from, first))
}

/// Looks a fingerprint up in a row without reading the others.
pub(super) fn find_entry(
    from: &mut Reader<'_>,
    first: u64,
    wanted: &Fingerprint,
) -> Option<Option<Seen>> {
    let bytes = if from.format() >= CONTENT_FORMAT {
        ENTRY_BYTES
    } else {
        OLD_ENTRY_BYTES
    };
    let count = usize::try_from(from.u32()?).ok()?;
    let mut ahead = from.fork();
    let all = from.rest();
    if all.len() != count.checked_mul(bytes)? {
        return None;
    }
    let at = |index: usize| &all[index * bytes..][..16];
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if at(middle) < &wanted[..] {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if low == count || at(low) != wanted {
        return Some(None);
    }
    ahead.skip(low * bytes)?;
    read_entry(&mut ahead, first).map(|(_, seen)| Some(seen))
}

/// What a block is, beside its fingerprints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) state: State,
    /// The newest acceptance in it.
    pub(super) newest: Timestamp,
}

/// Where a block's life has brought it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It answers.
    Live,
    /// A merge makes it; parts before this one are there.
    Building {
        /// The next part.
        part: u32,
    },
    /// It answers no more, and its rows go.
    Dying,
}

pub(super) fn write_head(out: &mut Vec<u8>, head: &Head) {
    match head.state {
        State::Live => out.u8(0),
        State::Building { part } => {
            out.u8(1);
            out.u32(part);
        }
        State::Dying => out.u8(2),
    }
    out.u64(head.newest.0);
}

pub(super) fn read_head(from: &mut Reader<'_>) -> Option<Head> {
    let state = match from.u8()? {
        0 => State::Live,
        1 => State::Building { part: from.u32()? },
        2 => State::Dying,
        _ => return None,
    };
    Some(Head {
        state,
        newest: Timestamp(from.u64()?),
    })
}

/// Decodes a row of any kind for the full check.
pub(in super::super) fn read_row(key: &[u8], from: &mut Reader<'_>) -> Option<()> {
    let (_, first) = block_of(key)?;
    match (key.len(), key.get(4)?) {
        (SEALED_KEY_BYTES, _) | (_, 1 | 4) => read_entries(from, first).map(|_| ()),
        (_, 2) => read_head(from).map(|_| ()),
        (_, 3) => {
            from.rest();
            Some(())
        }
        _ => None,
    }
}
