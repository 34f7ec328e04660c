//! Reading a bus's log: pages that go on where the last one ended, and the newest events, each with a filter.
//! One call reads a bounded part of the log, even if its filter matches little.

use std::collections::VecDeque;
use std::sync::Arc;

use edgebus_rules::RuleIndex;

use super::{Bus, Cancel, ReadEnd, StoredEvent};
use crate::pipeline::{self, last_before};
use edgebus_model::error::{Error, Kind};
use edgebus_model::limits::PAGE_ROWS_MAX;
use edgebus_model::{BusId, Position, Timestamp};
use edgebus_store::{Page, Store};

/// Events that one call looks at.
const LOOKED_AT_MAX: usize = 16 * PAGE_ROWS_MAX;
/// Bytes of events that one call looks at.
const LOOKED_AT_BYTES_MAX: usize = 64 << 20;
/// Bytes after which the newest events are enough.
const LAST_BYTES_MAX: usize = 4 << 20;
/// Bytes of events after which a page is enough.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Events that are read at once.
const ROWS_AT_ONCE: usize = 256;
/// Bytes of events that are read at once.
const BYTES_AT_ONCE: usize = 512 << 10;
/// How far accepted times of neighbours in the log may be out of order, in milliseconds: a time is taken
/// before its event waits for the writer.
pub(super) const DISORDER_MS: u64 = 5_000;

/// Which events of a log are wanted; the default wants all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only this type.
    pub kind: Option<String>,
    /// Only what one of these patterns matches.
    pub pattern: Option<Arc<RuleIndex<()>>>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted before this time.
    pub until: Option<Timestamp>,
}

impl EventFilter {
    fn wants(&self, stored: &StoredEvent) -> bool {
        self.kind
            .as_ref()
            .is_none_or(|kind| *kind == stored.event.kind)
            && self.since.is_none_or(|since| stored.accepted_at >= since)
            && self.until.is_none_or(|until| stored.accepted_at < until)
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| pipeline::matches(pattern, &stored.event))
    }

    /// True where nothing after `stored` can be wanted.
    fn is_over(&self, stored: &StoredEvent) -> bool {
        self.until
            .is_some_and(|until| stored.accepted_at >= until.plus_ms(DISORDER_MS))
    }

    /// True where nothing before `stored` can be wanted.
    fn begins_after(&self, stored: &StoredEvent) -> bool {
        self.since
            .is_some_and(|since| stored.accepted_at.plus_ms(DISORDER_MS) < since)
    }
}

/// A part of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventPage {
    /// The wanted events.
    pub items: Vec<StoredEvent>,
    /// The last position that was looked at: where to go on.
    pub seen: Position,
    /// Whether there is something behind it.
    pub more: bool,
    /// The first position that retention has not reached: before it, only events that something is pending for are
    /// left.
    pub oldest: Position,
}

/// The end of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastEvents {
    /// The wanted events, oldest first.
    pub items: Vec<StoredEvent>,
    /// The position before which there may be more of them.
    pub older: Option<Position>,
    /// The log's last position.
    pub newest: Position,
    /// As for [`EventPage::oldest`].
    pub oldest: Position,
}

impl Bus {
    /// At most `limit` wanted events after `after`; fewer with `more` where they weigh much, or where the
    /// filter passed over much.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus, and what reading can meet.
    pub async fn events(
        &self,
        bus: &str,
        after: Position,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<EventPage, Error> {
        let bus = self.bus_id(bus)?;
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let filter = filter.clone();
        self.read(move |store, cancel| page(store, cancel, bus, after, limit, &filter))
            .await
    }

    /// Where to begin to read what `filter` wants: `after`, or later where its `since` says so.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus, and what reading can meet.
    pub async fn start_of(
        &self,
        bus: &str,
        after: Position,
        filter: &EventFilter,
    ) -> Result<Position, Error> {
        let id = self.bus_id(bus)?;
        let Some(since) = filter.since else {
            return Ok(after);
        };
        let newest = self.pipeline.last_position(id);
        let since = Timestamp(since.0.saturating_sub(DISORDER_MS));
        let start = self
            .read(move |store, cancel| before(store, cancel, id, newest, since))
            .await?;
        Ok(start.max(after))
    }

    /// The newest `count` wanted events at most, oldest first; of those before `before`, if it is given.
    /// Fewer where they weigh much, or where the filter passed over much.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus, and what reading can meet.
    pub async fn last_events(
        &self,
        bus: &str,
        count: usize,
        before: Option<Position>,
        filter: &EventFilter,
    ) -> Result<LastEvents, Error> {
        let id = self.bus_id(bus)?;
        let told = self.pipeline.last_position(id);
        let filter = filter.clone();
        self.read(move |store, cancel| {
            let newest = end(store, cancel, id, told)?;
            let behind = Position(newest.0.saturating_add(1));
            let mut from = before.map_or(behind, |before| before.min(behind));
            if let Some(until) = filter.until {
                let past = until.plus_ms(DISORDER_MS);
                let last = self::before(store, cancel, id, newest, past)?;
                from = from.min(Position(last.0.saturating_add(1)));
            }
            let (items, older) = last(store, cancel, id, from, count, &filter)?;
            Ok(LastEvents {
                items,
                older,
                newest,
                oldest: store.floor(id)?,
            })
        })
        .await
    }

    /// The log's last position. What is known of it is enough where that is not before `at_least`; else the
    /// log is read.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus, and what reading can meet.
    pub async fn newest(&self, bus: &str, at_least: Position) -> Result<Position, Error> {
        let id = self.bus_id(bus)?;
        let told = self.pipeline.last_position(id);
        if told >= at_least {
            return Ok(told);
        }
        self.read(move |store, cancel| end(store, cancel, id, told))
            .await
    }

    /// One event.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and what reading can meet.
    pub async fn event(&self, bus: &str, position: Position) -> Result<StoredEvent, Error> {
        let id = self.bus_id(bus)?;
        let read = move |store: &dyn Store| match store.event(id, position)? {
            Some(stored) => Ok(Ok(stored)),
            None => store.floor(id).map(Err),
        };
        let found = self.read(move |store, _| Ok(read(store)?)).await?;
        found.map_err(|oldest| {
            let what = if position.0 > 0 && position < oldest {
                format!(
                    "retention removed the event at position {position} of the bus `{bus}`; the oldest is {oldest}"
                )
            } else {
                format!("the bus `{bus}` holds no event at position {position}")
            };
            Error::new(Kind::NotFound, what)
        })
    }

    /// Waits until `bus` has an event after `after`, or until the bus stops.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Unavailable`] when stopping.
    pub async fn wait_for_event(&self, bus: &str, after: Position) -> Result<(), Error> {
        let id = self.bus_id(bus)?;
        self.pipeline.wait_for_event(id, after).await;
        self.pipeline
            .ready()
            .map_err(|reason| Error::new(Kind::Unavailable, reason))
    }
}

/// The log's last position. What was told of it lags behind the answers to publishers, who may ask for
/// their own event at once.
fn end(
    store: &dyn Store,
    cancel: &Cancel,
    bus: BusId,
    told: Position,
) -> Result<Position, ReadEnd> {
    cancel.check()?;
    let last = Page::backward(1, usize::MAX);
    let found = store.events_page(bus, Position(u64::MAX), last)?;
    Ok(found
        .rows
        .first()
        .map_or(told, |stored| stored.position.max(told)))
}

fn page(
    store: &dyn Store,
    cancel: &Cancel,
    bus: BusId,
    after: Position,
    limit: usize,
    filter: &EventFilter,
) -> Result<EventPage, ReadEnd> {
    let mut page = EventPage {
        items: Vec::new(),
        seen: after,
        more: true,
        // Before the events, which may go meanwhile.
        oldest: store.floor(bus)?,
    };
    let (mut looked_at, mut bytes, mut kept_bytes) = (0, 0, 0);
    while looked_at < LOOKED_AT_MAX && bytes < LOOKED_AT_BYTES_MAX {
        cancel.check()?;
        let next = Page::forward(ROWS_AT_ONCE, BYTES_AT_ONCE);
        let found = store.events_page(bus, page.seen, next)?;
        bytes += found.bytes;
        for stored in found.rows {
            if filter.is_over(&stored) {
                page.more = false;
                return Ok(page);
            }
            page.seen = stored.position;
            looked_at += 1;
            if filter.wants(&stored) {
                kept_bytes += stored.event.size();
                page.items.push(stored);
                if page.items.len() == limit || kept_bytes >= PAGE_BYTES_MAX {
                    return Ok(page);
                }
            }
        }
        let Some(next) = found.next else {
            page.more = false;
            return Ok(page);
        };
        // The last rows may be corrupt.
        page.seen = page.seen.max(next);
    }
    Ok(page)
}

/// The last position whose event was accepted before `since`.
pub(super) fn before(
    store: &dyn Store,
    cancel: &Cancel,
    bus: BusId,
    newest: Position,
    since: Timestamp,
) -> Result<Position, ReadEnd> {
    last_before(store, (bus, newest), since, || Ok(cancel.check()?))
}

/// The newest wanted events before `from`, oldest first, and where to go on.
fn last(
    store: &dyn Store,
    cancel: &Cancel,
    bus: BusId,
    from: Position,
    count: usize,
    filter: &EventFilter,
) -> Result<(Vec<StoredEvent>, Option<Position>), ReadEnd> {
    let mut wanted = VecDeque::new();
    let mut from = Some(from);
    let (mut looked_at, mut bytes, mut kept_bytes) = (0, 0, 0);
    while let Some(place) = from
        && looked_at < LOOKED_AT_MAX
        && bytes < LOOKED_AT_BYTES_MAX
    {
        cancel.check()?;
        let next = Page::backward(ROWS_AT_ONCE.min(count), BYTES_AT_ONCE);
        let found = store.events_page(bus, place, next)?;
        bytes += found.bytes;
        for stored in found.rows {
            if filter.begins_after(&stored) {
                return Ok((wanted.into(), None));
            }
            let position = stored.position;
            let size = stored.event.size();
            looked_at += 1;
            if filter.wants(&stored) {
                if !wanted.is_empty() && kept_bytes + size > LAST_BYTES_MAX {
                    // The one that is left out is the next one.
                    return Ok((wanted.into(), Some(Position(position.0 + 1))));
                }
                kept_bytes += size;
                wanted.push_front(stored);
                if wanted.len() == count {
                    let older = (position > Position(1)).then_some(position);
                    return Ok((wanted.into(), older));
                }
            }
        }
        from = found.next;
    }
    Ok((wanted.into(), from))
}
