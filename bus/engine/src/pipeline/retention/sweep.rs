//! Dead letters that are kept no longer: reads those of one subscription after the other, and removes.

use std::collections::BTreeMap;

use super::{Ended, Pipeline};
use edgebus_model::rule::UNLIMITED;
use edgebus_model::{DeliveryKey, SubscriptionId, Timestamp};
use edgebus_store::{Error, Expire, Page, Step, StepOutcome, Store};

/// Dead letters that are read at once, and their bytes.
const ROWS: usize = 128;
const BYTES: usize = 1 << 20;
/// Pages that one turn reads; the next one is a second later.
const PAGES_MAX: usize = 32;
/// A subscription is not read again before this part of what its dead letters are kept for, within these bounds.
const GRAIN_SHARE: u64 = 64;
const GRAIN_MS_MIN: u64 = 1_000;
const GRAIN_MS_MAX: u64 = 3_600_000;
/// The same for one that has no dead letters.
const GRAIN_EMPTY_MS_MAX: u64 = 60_000;

/// What is known of the dead letters of subscriptions.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When to read those of a subscription again, and for how long they were kept when that was decided.
    next: BTreeMap<SubscriptionId, (Timestamp, u64)>,
    /// The earliest of these times.
    earliest: Timestamp,
    /// The rules of which the times are.
    version: u64,
    /// The subscription that is being read, up to where, and when the oldest so far died that stays.
    place: Option<(SubscriptionId, Option<DeliveryKey>, Option<Timestamp>)>,
}

/// What a page of dead letters came to.
struct Looked {
    /// Those that are kept no longer.
    over: Vec<DeliveryKey>,
    /// When the oldest of the others died.
    oldest: Option<Timestamp>,
    /// Where to go on.
    next: Option<DeliveryKey>,
}

fn look(
    store: &dyn Store,
    id: SubscriptionId,
    from: Option<DeliveryKey>,
    died_before: Timestamp,
) -> Result<Looked, Error> {
    let mut looked = Looked {
        over: Vec::new(),
        oldest: None,
        next: None,
    };
    if from.is_none() && store.counts(id)?.dead == 0 {
        return Ok(looked);
    }
    let page = store.dead_letters_page(id, from, Page::forward(ROWS, BYTES))?;
    for letter in &page.rows {
        if letter.died_at < died_before {
            looked.over.push(letter.delivery.key);
        } else {
            let oldest = looked.oldest.unwrap_or(letter.died_at);
            looked.oldest = Some(oldest.min(letter.died_at));
        }
    }
    looked.next = page.next;
    Ok(looked)
}

impl Sweep {
    /// Reads some pages where it is time, and removes.
    pub(super) async fn turn(&mut self, pipeline: &Pipeline) -> Ended {
        if pipeline.store().totals().dead == 0 {
            *self = Self::default();
            return Ended::Done;
        }
        let snapshot = pipeline.snapshot();
        let now = pipeline.clock().now();
        if self.version != snapshot.version {
            self.version = snapshot.version;
            self.earliest = Timestamp(0);
        }
        if self.place.is_none() && now < self.earliest {
            return Ended::Done;
        }
        for _ in 0..PAGES_MAX {
            let Some((id, from, oldest)) = self.choose(&snapshot, now) else {
                return Ended::Done;
            };
            let kept_ms = snapshot
                .subscriptions
                .get(&id)
                .map_or(UNLIMITED, |own| own.target.dead_letter_ms);
            let began = pipeline.clock().instant();
            let kept = (kept_ms, snapshot.version);
            match self.page(pipeline, (id, from, oldest), kept).await {
                Ok(read_rows) if !read_rows => continue,
                Ok(_) => {}
                Err(ended) => return ended,
            }
            if let Ended::Stopped = pipeline.rest(began).await {
                return Ended::Stopped;
            }
        }
        Ended::Done
    }

    /// What is to be read next; notes when that will be if it is nothing now.
    fn choose(
        &mut self,
        snapshot: &super::Snapshot,
        now: Timestamp,
    ) -> Option<(SubscriptionId, Option<DeliveryKey>, Option<Timestamp>)> {
        let subscriptions = &snapshot.subscriptions;
        if let Some(place) = self.place.take()
            && subscriptions.contains_key(&place.0)
        {
            return Some(place);
        }
        self.next.retain(|id, _| subscriptions.contains_key(id));
        let (mut earliest, mut due) = (Timestamp(u64::MAX), None::<SubscriptionId>);
        for (id, own) in subscriptions {
            let kept_ms = own.target.dead_letter_ms;
            let next = match self.next.get(id) {
                Some((next, of_ms)) if *of_ms == kept_ms => *next,
                _ => Timestamp(0),
            };
            if kept_ms == UNLIMITED {
                continue;
            }
            if next <= now {
                // The first of them: the map has no order.
                due = Some(due.map_or(*id, |due| due.min(*id)));
            }
            earliest = earliest.min(next);
        }
        self.earliest = earliest;
        due.map(|id| (id, None, None))
    }

    /// Reads a page and removes what is over; true if there were any rows.
    async fn page(
        &mut self,
        pipeline: &Pipeline,
        (id, from, oldest): (SubscriptionId, Option<DeliveryKey>, Option<Timestamp>),
        (kept_ms, version): (u64, u64),
    ) -> Result<bool, Ended> {
        let clock = pipeline.clock();
        let died_before = super::accepted_before(clock, kept_ms);
        let store = pipeline.store().clone();
        let looked = pipeline
            .context
            .executor
            .blocking(move || look(&*store, id, from, died_before));
        let looked = match looked.await {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => {
                pipeline.context.reading_failed("dead letters", &error);
                self.again(id, kept_ms, clock.now().plus_ms(GRAIN_MS_MAX));
                return Err(Ended::Done);
            }
            Err(_) => return Err(Ended::Stopped),
        };
        let oldest = [oldest, looked.oldest].into_iter().flatten().min();
        let read_rows = from.is_some() || oldest.is_some() || !looked.over.is_empty();
        if !looked.over.is_empty() {
            let step = Step::Expire(Expire {
                keys: looked.over,
                died_before,
                expected: Some(version),
                now: clock.now(),
            });
            match pipeline.writer.apply(step).await {
                Ok(StepOutcome::Expired(count)) => pipeline.holdings.removed_dead(count),
                Ok(StepOutcome::Stale) => {
                    // Another manifest says for how long they are kept: they are read again.
                    self.again(id, kept_ms, clock.now());
                    return Ok(true);
                }
                Ok(_) => {}
                Err(_) => return Err(Ended::Stopped),
            }
        }
        if let Some(next) = looked.next {
            self.place = Some((id, Some(next), oldest));
            return Ok(read_rows);
        }
        let now = clock.now();
        let grain_max = oldest.map_or(GRAIN_EMPTY_MS_MAX, |_| GRAIN_MS_MAX);
        let grain_ms = (kept_ms / GRAIN_SHARE).clamp(GRAIN_MS_MIN, grain_max);
        let over = oldest.map(|oldest| oldest.plus_ms(kept_ms));
        let next = over.unwrap_or(now).max(now.plus_ms(grain_ms));
        self.again(id, kept_ms, next);
        Ok(read_rows)
    }

    fn again(&mut self, id: SubscriptionId, kept_ms: u64, next: Timestamp) {
        self.next.insert(id, (next, kept_ms));
    }
}
