//! Retries become due: reads the store's due times in order and hands what is due to the dispatcher,
//! as much at a time as the queues take, so that a million due retries come as a ramp.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Pipeline;
use super::dispatch::Job;
use crate::model::{DeliveryKey, Timestamp};
use crate::store::DeliveryState;

/// Due times that are read at a time.
const PAGE_ROWS: usize = 512;
/// Due times that one pass looks at.
const PASS_ROWS_MAX: usize = 4_096;
/// How soon the timer looks again when some queue had no room.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(50);
/// How long the timer rests at most.
const REST_MAX: Duration = Duration::from_secs(60);

/// A place in the order of due times.
type Place = Option<(Timestamp, DeliveryKey)>;

/// The timer's own state.
pub(super) struct Timer {
    /// The earliest due time that it waits for.
    next_ms: AtomicU64,
    changed: tokio::sync::Notify,
}

impl Timer {
    pub(super) fn new() -> Self {
        Self {
            next_ms: AtomicU64::new(u64::MAX),
            changed: tokio::sync::Notify::new(),
        }
    }

    /// Tells the timer of a new due time.
    pub(super) fn nudge(&self, due_at: Timestamp) {
        if due_at.0 < self.next_ms.fetch_min(due_at.0, Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }
}

/// Runs until the pipeline stops.
pub(super) async fn run(pipeline: Arc<Pipeline>) {
    // Where the next pass begins: one that met full queues goes on behind them, so that the retries of
    // one subscription don't stand in the way of all others.
    let mut from: Place = None;
    loop {
        pipeline.timer().next_ms.store(u64::MAX, Ordering::SeqCst);
        let reader = pipeline.clone();
        let read = move || hand_out_due(&reader, from);
        let rest = match pipeline.tasks().spawn_blocking(read).await {
            Ok(Ok((next, rest))) => {
                from = next;
                rest
            }
            Ok(Err(error)) => {
                pipeline.reading_failed("due retries", &error);
                REST_MAX
            }
            // The blocking worker is gone: the runtime is shutting down.
            Err(_) => return,
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = pipeline.timer().changed.notified() => {}
            () = pipeline.stopped() => return,
        }
    }
}

/// Hands out what is due now, from a place on; says where the next pass begins and how long to rest.
fn hand_out_due(
    pipeline: &Pipeline,
    from: Place,
) -> Result<(Place, Duration), crate::store::Error> {
    let now = pipeline.clock().now();
    let (mut after, mut looked, mut full) = (from, 0, false);
    loop {
        let page = pipeline.store().waiting(now, after, PAGE_ROWS)?;
        for (due_at, key) in &page {
            after = Some((*due_at, *key));
            match pipeline.dispatcher().room_for(*key) {
                // It is in memory already.
                None => {}
                Some(false) => full = true,
                Some(true) => {
                    if let Some(job) = read_due(pipeline, *key, now)? {
                        pipeline.dispatcher().take_due(job);
                    }
                }
            }
        }
        pipeline.dispatcher().start_lanes();
        looked += page.len();
        if page.len() < PAGE_ROWS {
            break;
        }
        if looked >= PASS_ROWS_MAX {
            return Ok((after, if full { NO_ROOM_PAUSE } else { Duration::ZERO }));
        }
    }
    if full || from.is_some() {
        return Ok((None, NO_ROOM_PAUSE));
    }
    // What is due next, behind everything that is due now.
    let next = pipeline
        .store()
        .waiting(Timestamp(u64::MAX), after.or(Some((now, LAST_KEY))), 1)?
        .first()
        .map(|(due_at, _)| *due_at);
    let Some(next) = next else {
        return Ok((None, REST_MAX));
    };
    pipeline.timer().next_ms.fetch_min(next.0, Ordering::SeqCst);
    let rest = Duration::from_millis(next.ms_since(pipeline.clock().now())).min(REST_MAX);
    Ok((None, rest))
}

/// Behind every key of one due time.
const LAST_KEY: DeliveryKey = DeliveryKey {
    subscription: crate::model::SubscriptionId(u32::MAX),
    replay: u32::MAX,
    position: crate::model::Position(u64::MAX),
};

/// A due delivery with its event; `None` if it is settled or due later by now.
pub(super) fn read_due(
    pipeline: &Pipeline,
    key: DeliveryKey,
    now: Timestamp,
) -> Result<Option<Job>, crate::store::Error> {
    let Some(DeliveryState::Owed(delivery)) = pipeline.store().delivery(key)? else {
        return Ok(None);
    };
    if delivery.due_at.is_some_and(|due_at| due_at > now) {
        return Ok(None);
    }
    pipeline.with_event(&delivery)
}
