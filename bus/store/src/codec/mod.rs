//! Records as bytes: a format version, the content, and a checksum that is checked at each read.
//!
//! Written by hand, field by field, so that `docs/storage-format.md` can list every byte and no
//! library's change can move one. The checksum covers the table and the key too: a whole record in
//! the wrong place is as corrupt as one with a flipped bit. Never here: an engine, a default for
//! what can't be read, a payload that is parsed.

pub(super) mod catalog;
pub(super) mod delivery;
pub(super) mod earlier;
pub(super) mod event;
pub(super) mod job;
mod replay;
pub(super) mod shadow;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The format that records are written in; earlier ones are read, later ones can't be. Format 2 added a
/// target's input, format 3 its kind and its subscription's name; it came with store format 3, and the two have
/// one number from there on.
pub(super) const RECORD_FORMAT: u8 = 3;
/// The format of the record that says who the store is: every release reads it, so that an earlier one can
/// say that the store is of a later one.
pub(super) const IDENTITY_FORMAT: u8 = 1;

/// The tables, with the numbers that go into checksums.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub(super) enum Table {
    /// Identity, opens, counters.
    Meta = 1,
    /// Manifest, buses, functions, rules, subscriptions.
    Catalog = 2,
    /// The last position of each bus.
    Heads = 3,
    /// The logs.
    Events = 4,
    /// What is pending.
    Deliveries = 5,
    /// Deliveries that wait, by due time.
    Due = 6,
    /// Successes.
    Settled = 7,
    /// What ended without success.
    DeadLetters = 8,
    /// Functions' state.
    State = 9,
    /// Descendants of published events.
    Descendants = 10,
    /// Components' bytes.
    Components = 11,
    /// Sealed blocks of fingerprints.
    Dedupe = 12,
    /// Work that the bus does itself, each with its place.
    Jobs = 13,
    // 14 to 18 are kept for windows, held events, keys, schemas and slots.
    /// Ended attempts that were not the last of their delivery.
    Attempts = 19,
    /// Deliveries whose attempt was noted before it began, and has not ended.
    Running = 20,
    /// Sums over other tables' rows.
    Counters = 21,
    /// Corrupt records that were moved aside.
    Quarantine = 22,
    /// Merged blocks of fingerprints.
    DedupeLevels = 23,
}

impl Table {
    /// Every table, in the order in which a check reads them: a stored place names a table by its index here, so a new
    /// one comes last.
    pub(super) const ALL: [Self; 18] = [
        Self::Meta,
        Self::Catalog,
        Self::Heads,
        Self::Events,
        Self::Deliveries,
        Self::Due,
        Self::Settled,
        Self::DeadLetters,
        Self::State,
        Self::Descendants,
        Self::Components,
        Self::Dedupe,
        Self::Attempts,
        Self::Running,
        Self::Counters,
        Self::Quarantine,
        Self::DedupeLevels,
        Self::Jobs,
    ];

    /// The tables of a store of format 1.
    pub(super) fn of_format_1() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|table| *table <= Self::Dedupe)
    }

    /// The table with this number.
    pub(super) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }

    /// Its place in [`Table::ALL`].
    pub(super) fn index(self) -> usize {
        let place = Self::ALL.iter().position(|table| *table == self);
        place.expect("every table is in the list")
    }

    /// Its name in the file and in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Catalog => "catalog",
            Self::Heads => "heads",
            Self::Events => "events",
            Self::Deliveries => "deliveries",
            Self::Due => "due",
            Self::Settled => "settled",
            Self::DeadLetters => "dead-letters",
            Self::State => "state",
            Self::Descendants => "descendants",
            Self::Components => "components",
            Self::Dedupe => "dedupe",
            Self::Attempts => "attempts",
            Self::Running => "running",
            Self::Counters => "counters",
            Self::Quarantine => "quarantine",
            Self::DedupeLevels => "dedupe-levels",
            Self::Jobs => "jobs",
        }
    }
}

/// A record that can't be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CorruptRecord {
    /// Where it is: the table.
    pub(super) table: Table,
    /// Where it is: the key.
    pub(super) key: Vec<u8>,
    /// Table and key, as people read them.
    pub(super) name: String,
    /// What is wrong.
    pub(super) reason: &'static str,
}

impl CorruptRecord {
    pub(super) fn new(table: Table, key: &[u8], reason: &'static str) -> Self {
        let mut name = format!("{} ", table.name());
        let number = |range: std::ops::Range<usize>| {
            let bytes = key.get(range).unwrap_or_default();
            bytes
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        match (table, key.len()) {
            (Table::Events | Table::Descendants, 12) => {
                let _ = write!(name, "bus {} position {}", number(0..4), number(4..12));
            }
            (Table::Deliveries | Table::Running | Table::DeadLetters, 16)
            | (Table::Attempts, 20) => {
                let _ = write!(name, "{}-{}", number(0..4), number(8..16));
                if number(4..8) > 0 {
                    let _ = write!(name, "-r{}", number(4..8));
                }
                if key.len() == 20 {
                    let _ = write!(name, " attempt {}", number(16..20));
                }
            }
            (Table::Settled, 20) => {
                let _ = write!(name, "{}-{}", number(12..16), number(4..12));
                if number(16..20) > 0 {
                    let _ = write!(name, "-r{}", number(16..20));
                }
            }
            (Table::Jobs, 4..=6) => {
                let _ = write!(name, "{}", number(0..4));
                name.push_str(match key.get(4) {
                    None => "",
                    Some(b's') => " summary",
                    Some(b'd') => " difference",
                    Some(_) => " results",
                });
            }
            (Table::Counters, 5) => {
                let whose = if key.first() == Some(&b'b') {
                    "bus"
                } else {
                    "subscription"
                };
                let _ = write!(name, "{whose} {}", number(1..5));
            }
            (Table::Meta | Table::Catalog | Table::State, _) => {
                let _ = write!(name, "\"{}\"", key.escape_ascii());
            }
            _ => {
                for byte in key {
                    let _ = write!(name, "{byte:02x}");
                }
            }
        }
        let key = key.to_vec();
        Self {
            table,
            key,
            name,
            reason,
        }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        format!("{}: {}", self.name, self.reason)
    }
}

impl From<CorruptRecord> for super::Error {
    fn from(corruption: CorruptRecord) -> Self {
        Self::new(super::Kind::Corrupt, corruption.line())
    }
}

#[cfg(test)]
thread_local! {
    /// An injected bug: reads on this thread don't check checksums.
    pub(super) static INJECT_NO_CHECKSUM: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn checksum(table: Table, key: &[u8], framed: &[u8]) -> u64 {
    let mut place = [0_u8; 64];
    let seed = if key.len() < place.len() {
        place[0] = table as u8;
        place[1..=key.len()].copy_from_slice(key);
        xxh3_64(&place[..=key.len()])
    } else {
        let mut place = Vec::with_capacity(key.len() + 1);
        place.push(table as u8);
        place.extend_from_slice(key);
        xxh3_64(&place)
    };
    xxh3_64_with_seed(framed, seed)
}

/// Writes a record in the present format, as a test does.
#[cfg(test)]
fn seal(out: &mut Vec<u8>, table: Table, key: &[u8], fill: impl FnOnce(&mut Vec<u8>)) {
    seal_as(RECORD_FORMAT, out, table, key, fill);
}

/// Writes a record into `out`, which is emptied first; `fill` writes the content.
pub(super) fn seal_as(
    format: u8,
    out: &mut Vec<u8>,
    table: Table,
    key: &[u8],
    fill: impl FnOnce(&mut Vec<u8>),
) {
    out.clear();
    out.push(format);
    fill(out);
    let sum = checksum(table, key, out);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What is wrong with a record that is not the one that was written under this key of this table.
pub(super) fn corruption_of(table: Table, key: &[u8], record: &[u8]) -> Option<CorruptRecord> {
    unseal(table, key, record, |from| {
        from.rest();
        Some(())
    })
    .err()
}

/// Whether a record is the one that was written under this key of this table.
pub(super) fn is_intact(table: Table, key: &[u8], record: &[u8]) -> bool {
    corruption_of(table, key, record).is_none()
}

/// Reads a record: `read` gets the content and must use all of it.
///
/// # Errors
/// [`CorruptRecord`] if the checksum, the format or the content is not what was written.
pub(super) fn unseal<'a, T>(
    table: Table,
    key: &[u8],
    record: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
) -> Result<T, CorruptRecord> {
    let corruption = |reason| CorruptRecord::new(table, key, reason);
    let Some((framed, sum)) = record.split_last_chunk::<8>() else {
        return Err(corruption("is cut short"));
    };
    let intact = checksum(table, key, framed) == u64::from_le_bytes(*sum);
    #[cfg(test)]
    let intact = intact || INJECT_NO_CHECKSUM.get();
    if !intact {
        return Err(corruption("does not match its checksum"));
    }
    let (format, content) = framed.split_first().ok_or_else(|| corruption("is empty"))?;
    if !(1..=RECORD_FORMAT).contains(format) {
        return Err(corruption("has a format of another release"));
    }
    let mut reader = Reader {
        rest: content,
        format: *format,
    };
    match read(&mut reader) {
        Some(value) if reader.rest.is_empty() => Ok(value),
        _ => Err(corruption("can't be decoded")),
    }
}

/// Takes a record's content apart; `None` is content that ends early or says what can't be.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    format: u8,
}

impl<'a> Reader<'a> {
    /// Whether everything is read.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The format that the record was written in.
    pub(super) fn format(&self) -> u8 {
        self.format
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A second reader of what is left.
    pub(super) fn fork(&self) -> Self {
        Self { ..*self }
    }

    /// Goes past some bytes.
    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        let (_, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(head)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    pub(super) fn name(&mut self) -> Option<edgebus_model::Name> {
        let text = std::str::from_utf8(self.bytes()?).ok()?;
        edgebus_model::Name::new(text).ok()
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Some(None)
        }
    }

    /// A count and as many elements; the count can't make it reserve more than the content's length.
    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::try_from(self.u32()?).ok()?;
        let mut list = Vec::with_capacity(count.min(self.rest.len()));
        for _ in 0..count {
            list.push(read(self)?);
        }
        Some(list)
    }
}

/// Puts a record's content together.
pub(super) trait Writer {
    fn u8(&mut self, value: u8);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
    fn bytes(&mut self, value: &[u8]);
    fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }
    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
    fn list<T>(
        &mut self,
        values: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.u32(length(values.len()));
        for value in values {
            write(self, value);
        }
    }
}

/// Lengths are far below 4 GiB: every surface bounds what it takes.
fn length(value: usize) -> u32 {
    u32::try_from(value).expect("lengths are bounded at the surfaces, far below 4 GiB")
}

impl Writer for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }
    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn bytes(&mut self, value: &[u8]) {
        self.u32(length(value.len()));
        self.extend_from_slice(value);
    }
}
