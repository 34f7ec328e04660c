//! The newest of the deliveries that a listing wants.
//!
//! Never here: which subscriptions and stages are looked at.

use std::sync::Arc;

use super::super::{Cancel, DeliveryState, ReadEnd, log};
use super::{
    BYTES_AT_ONCE, DeliveryFilter, DeliveryPlace, LAST_BYTES_MAX, ROWS_AT_ONCE, Reading, of_replay,
    place_of, rows, weight,
};
use crate::pipeline::Letters;
use edgebus_model::{BusId, DeliveryKey, Position, SubscriptionId, Timestamp};
use edgebus_store::{self as store, Store};

/// The newest of the wanted deliveries that were looked at: no more is held than is wanted, however many
/// subscriptions there are, and whatever the rows weigh.
pub(super) struct Newest {
    /// In the order in which their events were accepted.
    pub(super) rows: Vec<DeliveryState>,
    /// 0 for live ones.
    pub(super) replay: u32,
    /// Those of all replays too: among the successes, which stand by position.
    pub(super) all: bool,
    pub(super) before: Option<DeliveryPlace>,
    pub(super) since: Option<Timestamp>,
    pub(super) letters: Option<Arc<Letters>>,
    pub(super) count: usize,
    /// What is older than all of the rows is not held.
    pub(super) full: bool,
    /// Some wanted rows were let go.
    pub(super) dropped: bool,
}

impl Newest {
    /// Looks at the live rows of a subscription, or at a replay's, in one stage whose positions are after the first and up to
    /// the second of the range, newest first. Rows that are passed over cost time alone; reading ends where
    /// all that follow are older than what is held, although times may be out of order.
    ///
    /// It looks at no more than `pages_max` pages, and returns the place where the next call goes on.
    pub(super) fn read(
        &mut self,
        (store, cancel): (&dyn Store, &Cancel),
        reading: Reading,
        from: DeliveryKey,
        begin: Position,
        pages_max: usize,
    ) -> Result<Option<DeliveryKey>, ReadEnd> {
        let mut from = from;
        for _ in 0..pages_max {
            cancel.check()?;
            let page = store::Page::backward(ROWS_AT_ONCE, BYTES_AT_ONCE);
            let page = rows(store, reading, from.subscription, Some(from), page)?;
            let over = self.look(page.rows, begin, !matches!(reading, Reading::Settled(_)));
            match page.next {
                // A page may have no rows, however many places it looked at.
                Some(next) if !over && next.position > begin => from = next,
                _ => return Ok(None),
            }
        }
        Ok(Some(from))
    }

    /// Where the rows of a subscription begin that are at `end` or before it.
    pub(super) fn from(&self, id: SubscriptionId, end: Position) -> DeliveryKey {
        of_replay(id, Some(self.replay), Position(end.0.saturating_add(1)))
    }

    /// A position of the log up to which everything is older than what is held; `end` is the log's last one.
    pub(super) fn older(
        &self,
        (store, cancel): (&dyn Store, &Cancel),
        bus: BusId,
        end: Position,
    ) -> Result<Position, ReadEnd> {
        let Some(oldest) = self.rows.first().filter(|_| self.full).map(place_of) else {
            return Ok(Position(0));
        };
        let older = Timestamp((oldest.0).0.saturating_sub(log::DISORDER_MS));
        log::before(store, cancel, bus, end, older)
    }

    /// Reads the rows of each replay of a subscription, in a stage whose rows stand by their keys.
    pub(super) fn read_replays(
        &mut self,
        (store, cancel): (&dyn Store, &Cancel),
        reading: Reading,
        id: SubscriptionId,
    ) -> Result<(), ReadEnd> {
        let mut below = u32::MAX;
        loop {
            cancel.check()?;
            let from = of_replay(id, Some(below), Position(0));
            let page = rows(
                store,
                reading,
                id,
                Some(from),
                store::Page::backward(1, usize::MAX),
            )?;
            let found = page.rows.first().map(|row| place_of(row).1.replay);
            let Some(replay) = found.filter(|replay| *replay > 0) else {
                self.replay = 0;
                return Ok(());
            };
            self.replay = replay;
            let from = self.from(id, Position(u64::MAX));
            self.read((store, cancel), reading, from, Position(0), usize::MAX)?;
            below = replay;
        }
    }

    /// Looks at rows of a subscription, newest first, that go on where the last ones ended. True if nothing
    /// behind them is wanted. They are in the order of their keys if `by_key`, else of their positions.
    pub(super) fn look(&mut self, rows: Vec<DeliveryState>, begin: Position, by_key: bool) -> bool {
        let mut over = false;
        for state in rows {
            let place = place_of(&state);
            let other = place.1.replay != self.replay && (by_key || !self.all);
            // By their keys a replay's rows stand together; else they are among those of their positions.
            over = (by_key && other) || place.1.position <= begin;
            if over {
                break;
            }
            if other || !self.wants(place) {
                continue;
            }
            over = self.is_over(place.0);
            if !DeliveryFilter::selects(self.letters.as_deref(), &state) {
                if over {
                    // What is behind it may be for the next page.
                    self.dropped = true;
                    break;
                }
                continue;
            }
            self.rows.push(state);
            if over {
                break;
            }
        }
        self.keep_newest();
        over
    }

    pub(super) fn wants(&self, place: DeliveryPlace) -> bool {
        self.before.is_none_or(|before| place < before)
            && self.since.is_none_or(|since| place.0 >= since)
    }

    /// True where all rows with positions before one that was accepted then are older than what is held.
    pub(super) fn is_over(&self, accepted_at: Timestamp) -> bool {
        let oldest = self.rows.first().filter(|_| self.full).map(place_of);
        oldest.is_some_and(|(oldest, _)| accepted_at.plus_ms(log::DISORDER_MS) < oldest)
    }

    /// Puts the rows in order, and lets go of all but the newest.
    pub(super) fn keep_newest(&mut self) {
        self.rows.sort_by_key(place_of);
        let mut bytes = 0;
        let kept = self.rows.iter().rev().take(self.count);
        let kept = kept.take_while(|state| {
            let fits = bytes < LAST_BYTES_MAX;
            bytes += weight(state);
            fits
        });
        let dropped = self.rows.len() - kept.count();
        self.rows.drain(..dropped);
        self.dropped |= dropped > 0;
        self.full = self.dropped || self.rows.len() >= self.count || bytes >= LAST_BYTES_MAX;
    }
}
