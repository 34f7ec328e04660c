//! Looking at deliveries: pages in the order of their keys, the newest ones, those of one event, and
//! the subscriptions that they belong to.
//!
//! Never here: a change of any of them.

mod newest;

use std::sync::Arc;

use super::{Bus, DeliveryStage, DeliveryState, Page, SubscriptionStatus, log};
use crate::pipeline::{Letters, Situation, Snapshot};
use edgebus_model::error::{Error, Kind};
use edgebus_model::limits::PAGE_ROWS_MAX;
use edgebus_model::{BusId, DeliveryKey, Position, Subscription, SubscriptionId, Timestamp};
use edgebus_store::{self as store, Rows, Store};

use newest::Newest;

/// Bytes of rows after which a page is enough.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of rows after which the newest deliveries are enough.
const LAST_BYTES_MAX: usize = 4 << 20;
/// Rows that are read at once on the way to the newest.
const ROWS_AT_ONCE: usize = 256;
/// Bytes of rows that are read at once on the way to the newest.
const BYTES_AT_ONCE: usize = 512 << 10;
/// Pages that one call reads where rows of others are passed over.
const ROUNDS_MAX: usize = 16;

/// Which deliveries are wanted; the default wants all.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Of this subscription, by name or number.
    pub subscription: Option<String>,
    /// To this function.
    pub function: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of events that were accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Of the replay of this number; `None` is all in pages, and the live ones among the newest.
    pub replay: Option<u32>,
    /// Of dead letters these alone; made by [`Bus::letters_of`].
    pub letters: Selected,
}

/// Dead letters that are selected; all, unless something is said.
#[derive(Clone, Debug, Default)]
pub struct Selected(pub(super) Option<Arc<Letters>>);

/// The place of a delivery among those of all buses: when its event was accepted, and its key.
pub type DeliveryPlace = (Timestamp, DeliveryKey);

impl DeliveryFilter {
    /// The subscriptions that it wants, in the order of their numbers.
    pub(super) fn subscriptions(
        &self,
        snapshot: &Snapshot,
    ) -> Result<Vec<(SubscriptionId, BusId)>, Error> {
        let all = || snapshot.subscriptions.values();
        if let Some(name) = &self.function
            && !snapshot.functions.contains_key(name.as_str())
            && !all().any(|own| goes_to(own, name))
        {
            return Err(not_found("function", name, "functions"));
        }
        if let Some(name) = &self.rule
            && !all().any(|own| own.rule.as_str() == name)
        {
            return Err(not_found("rule", name, "rules"));
        }
        if let Some(text) = &self.subscription
            && !all().any(|own| is_called(own, text))
        {
            return Err(not_found("subscription", text, "subscriptions"));
        }
        let mut wanted: Vec<_> = all()
            .filter(|own| self.wants(own))
            .map(|own| (own.id, own.bus))
            .collect();
        wanted.sort_unstable();
        Ok(wanted)
    }

    /// True of a dead letter that is selected, and of everything else.
    fn selects(letters: Option<&Letters>, state: &DeliveryState) -> bool {
        match (letters, state) {
            (Some(letters), DeliveryState::Dead(letter)) => {
                letters.wants(letter, Timestamp(u64::MAX))
            }
            _ => true,
        }
    }

    fn wants(&self, own: &Subscription) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        };
        let to = self.function.as_ref();
        to.is_none_or(|name| goes_to(own, name))
            && is(&self.rule, own.rule.as_str())
            && self
                .subscription
                .as_ref()
                .is_none_or(|text| is_called(own, text))
    }
}

/// There is nothing of this name; the route lists what there is.
pub(super) fn not_found(what: &str, name: &str, route: &str) -> Error {
    let name = name.escape_debug();
    let message = format!("there is no {what} `{name}`; GET /v1/{route} lists them");
    Error::new(Kind::NotFound, message)
}

/// True if its target is the function of this name.
fn goes_to(own: &Subscription, name: &str) -> bool {
    let function = own.target.to.function();
    function.is_some_and(|function| function.as_str() == name)
}

pub(super) fn is_called(own: &Subscription, text: &str) -> bool {
    own.name().as_str() == text || own.id.0.to_string() == text
}

impl Bus {
    /// A page of the wanted deliveries in `stage`, in the order of their keys; `after` is a page's `next`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for what the filter names, [`Kind::Invalid`] for `after`, and what reading can meet.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        stage: DeliveryStage,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeliveryState>, Error> {
        let after = after.map(key).transpose()?;
        let mut wanted = filter.subscriptions(&self.snapshot())?;
        wanted.retain(|(id, _)| after.is_none_or(|after| *id >= after.subscription));
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let (since, replay) = (filter.since, filter.replay);
        let letters = filter.letters.0.clone();
        let pipeline = self.pipeline.clone();
        self.read(move |store, cancel| {
            let selects =
                |state: &DeliveryState| DeliveryFilter::selects(letters.as_deref(), state);
            let mut items = Vec::new();
            let (mut bytes, mut rounds) = (0, 0);
            // Subscriptions of one bus begin at one place.
            let mut start: Option<(BusId, Position)> = None;
            for (id, bus) in wanted {
                let mut after = after.filter(|after| after.subscription == id);
                if let Some(since) = since {
                    let position = match start {
                        Some((known, position)) if known == bus => position,
                        _ => log::before(store, cancel, bus, pipeline.last_position(bus), since)?,
                    };
                    start = Some((bus, position));
                    after = after.max(Some(of_replay(id, replay, position)));
                } else if replay.is_some() {
                    // Where rows are in the order of their keys, a replay's stand together.
                    after = after.max(Some(of_replay(id, replay, Position(0))));
                }
                loop {
                    cancel.check()?;
                    rounds += 1;
                    let left = limit - items.len();
                    let page = store::Page::forward(left, PAGE_BYTES_MAX.saturating_sub(bytes));
                    let mut found = rows(store, stage.into(), id, after, page)?;
                    if let Some(replay) = replay {
                        let past = |state: &DeliveryState| delivery_of(state).key.replay > replay;
                        let by_key =
                            !matches!(stage, DeliveryStage::Succeeded | DeliveryStage::Discarded);
                        if by_key && found.rows.last().is_some_and(past) {
                            found.next = None;
                        }
                        found
                            .rows
                            .retain(|state| delivery_of(state).key.replay == replay);
                    }
                    bytes += found.bytes;
                    items.extend(found.rows.into_iter().filter(selects));
                    let Some(next) = found.next else { break };
                    let full = items.len() >= limit || bytes >= PAGE_BYTES_MAX;
                    if full || rounds >= ROUNDS_MAX {
                        let next = Some(next.to_string());
                        return Ok(Page { items, next });
                    }
                    after = Some(next);
                }
            }
            Ok(Page { items, next: None })
        })
        .await
    }

    /// The newest `count` of the wanted deliveries at most, of one stage or all, in the order in which
    /// their events were accepted, and whether there may be older ones; of those before `before`, if it is
    /// given.
    ///
    /// # Errors
    /// As [`Bus::deliveries`].
    pub async fn last_deliveries(
        &self,
        filter: &DeliveryFilter,
        stage: Option<DeliveryStage>,
        before: Option<DeliveryPlace>,
        count: usize,
    ) -> Result<(Vec<DeliveryState>, bool), Error> {
        let wanted = filter.subscriptions(&self.snapshot())?;
        let count = count.clamp(1, PAGE_ROWS_MAX);
        let (since, replay) = (filter.since, filter.replay);
        let letters = filter.letters.0.clone();
        let pipeline = self.pipeline.clone();
        self.read(move |store, cancel| {
            let mut newest = Newest {
                rows: Vec::new(),
                replay: replay.unwrap_or(0),
                all: replay.is_none(),
                before,
                since,
                letters,
                count,
                full: false,
                dropped: false,
            };
            let mut walks = Vec::new();
            for (id, bus) in wanted {
                let mut end = pipeline.last_position(bus);
                if let Some((accepted_at, _)) = before.filter(|_| replay.is_none()) {
                    let past = accepted_at.plus_ms(log::DISORDER_MS + 1);
                    end = log::before(store, cancel, bus, end, past)?;
                }
                // Times near each other may be out of order; the rows themselves are looked at.
                let since = since.filter(|_| replay.is_none());
                let begin = match since.map(|since| since.0.saturating_sub(log::DISORDER_MS)) {
                    Some(since) => log::before(store, cancel, bus, end, Timestamp(since))?,
                    None => Position(0),
                };
                for reading in readings(stage) {
                    if replay.is_none() && !matches!(reading, Reading::Settled(_)) {
                        newest.read_replays((store, cancel), reading, id)?;
                    }
                    let from = newest.from(id, end);
                    if let Some(next) = newest.read((store, cancel), reading, from, begin, 1)? {
                        walks.push((reading, bus, next, begin));
                    }
                }
            }
            // A subscription that has few deliveries is looked for no further back than the others' rows reach.
            for (reading, bus, next, begin) in walks {
                let older = match replay {
                    None => newest.older((store, cancel), bus, next.position)?,
                    Some(_) => Position(0),
                };
                // What is not looked at may be for the next page.
                newest.dropped |= older > begin;
                let begin = begin.max(older);
                newest.read((store, cancel), reading, next, begin, usize::MAX)?;
            }
            Ok((newest.rows, newest.dropped))
        })
        .await
    }

    /// The wanted deliveries of one event, in any stage; `after` is a page's `next`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the event and what the filter names, and what reading can meet.
    pub async fn deliveries_of(
        &self,
        bus: &str,
        position: Position,
        filter: &DeliveryFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeliveryState>, Error> {
        let after = after.map(key).transpose()?;
        let wanted = filter.subscriptions(&self.snapshot())?;
        let stored = self.event(bus, position).await?;
        let replay = filter.replay;
        let mut pending_for = match replay {
            None => stored.subscriptions,
            // A replay may have taken it to others than got it then.
            Some(_) => wanted.iter().map(|(id, _)| *id).collect(),
        };
        pending_for.retain(|id| {
            wanted.binary_search_by_key(id, |(id, _)| *id).is_ok()
                && after.is_none_or(|after| *id > after.subscription)
        });
        pending_for.sort_unstable();
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.read(move |store, cancel| {
            let next = (pending_for.len() > limit)
                .then(|| of_replay(pending_for[limit - 1], replay, position).to_string());
            let mut items = Vec::new();
            for id in pending_for.into_iter().take(limit) {
                cancel.check()?;
                items.extend(store.delivery(of_replay(id, replay, position))?);
            }
            Ok(Page { items, next })
        })
        .await
    }

    /// One delivery, wherever its life has brought it.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and what reading can meet.
    pub async fn delivery(&self, key: DeliveryKey) -> Result<DeliveryState, Error> {
        let bus = self
            .snapshot()
            .subscriptions
            .get(&key.subscription)
            .cloned();
        let bus = bus.map(|subscription| subscription.bus);
        let found = self.read(move |store, _| {
            let found = store.delivery(key)?;
            let gone = match bus {
                Some(bus) if found.is_none() => gone(store, bus, key)?,
                _ => None,
            };
            Ok(found.ok_or(gone))
        });
        found.await?.map_err(|gone| {
            let what = gone.map_or_else(String::new, |gone| format!("; {gone}"));
            Error::new(Kind::NotFound, format!("there is no delivery {key}{what}"))
        })
    }

    /// The subscription with this number and the name of its bus, for showing deliveries.
    #[must_use]
    pub fn subscription(&self, id: SubscriptionId) -> Option<(Subscription, String)> {
        let snapshot = self.snapshot();
        let subscription = snapshot.subscriptions.get(&id)?;
        let bus = snapshot
            .bus(subscription.bus)
            .map(|bus| bus.name.to_string())
            .unwrap_or_default();
        Some(((**subscription).clone(), bus))
    }

    /// The subscriptions with their numbers.
    ///
    /// # Errors
    /// What reading can meet.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionStatus>, Error> {
        let snapshot = self.snapshot();
        let mut subscriptions: Vec<_> = snapshot.subscriptions.values().cloned().collect();
        subscriptions.sort_by_key(|subscription| subscription.id);
        let pipeline = self.pipeline.clone();
        let now = pipeline.clock().now();
        let description = pipeline.describe().await.unwrap_or_default();
        self.read(move |store, cancel| {
            let mut rows = Vec::with_capacity(subscriptions.len());
            for subscription in subscriptions {
                cancel.check()?;
                let oldest = store
                    .pending_page(subscription.id, None, store::Page::one())?
                    .rows
                    .pop();
                // One that left the manifest is shown as long as it has something pending.
                if !subscription.active && oldest.is_none() {
                    continue;
                }
                // A replay's deliveries stand behind the live ones, and it is no lag that their events are old.
                let oldest = oldest.filter(|oldest| oldest.key.replay == 0);
                let newest = pipeline.last_position(subscription.bus).0;
                let described = description.get(&subscription.id);
                let (situation, in_memory) = described.copied().unwrap_or((Situation::Empty, 0));
                rows.push(SubscriptionStatus {
                    bus: snapshot
                        .bus(subscription.bus)
                        .map_or_else(|| subscription.rule.clone(), |bus| bus.config.name.clone()),
                    in_memory: in_memory as u64,
                    situation,
                    behind: oldest.as_ref().map_or(0, |oldest| {
                        (newest + 1).saturating_sub(oldest.key.position.0)
                    }),
                    oldest_age_ms: oldest
                        .as_ref()
                        .map(|oldest| now.ms_since(oldest.accepted_at)),
                    counts: store.counts(subscription.id)?,
                    subscription_counters: pipeline
                        .telemetry()
                        .subscription_counters(subscription.id),
                    oldest_pending: oldest.map(|oldest| (oldest.key, oldest.accepted_at)),
                    subscription: (*subscription).clone(),
                });
            }
            Ok(rows)
        })
        .await
    }
}

/// The delivery inside a state.
#[must_use]
pub fn delivery_of(state: &DeliveryState) -> &edgebus_model::Delivery {
    match state {
        DeliveryState::Pending(delivery) => delivery,
        DeliveryState::Succeeded(settled) => &settled.delivery,
        DeliveryState::Dead(dead) => &dead.delivery,
    }
}

/// What retention has to do with it that there is no such delivery.
fn gone(store: &dyn Store, bus: BusId, key: DeliveryKey) -> Result<Option<String>, store::Error> {
    let oldest = store.floor(bus)?;
    let stored = store.event(bus, key.position)?;
    let named = stored.is_some_and(|stored| stored.subscriptions.contains(&key.subscription));
    Ok(if named {
        Some("it was a dead letter, and retention removed it".to_owned())
    } else if key.position.0 > 0 && key.position < oldest {
        Some(format!(
            "retention removed what its bus had before position {oldest}"
        ))
    } else {
        None
    })
}

fn key(text: &str) -> Result<DeliveryKey, Error> {
    text.parse().map_err(|()| {
        Error::new(
            Kind::Invalid,
            "`after` must be a page's `next`, as in 3-1042",
        )
    })
}

/// The key of the live delivery of an event.
fn live(subscription: SubscriptionId, position: Position) -> DeliveryKey {
    DeliveryKey {
        subscription,
        replay: 0,
        position,
    }
}

/// The key of an event's delivery under a replay's number; without one of the live delivery.
fn of_replay(subscription: SubscriptionId, replay: Option<u32>, position: Position) -> DeliveryKey {
    DeliveryKey {
        replay: replay.unwrap_or(0),
        ..live(subscription, position)
    }
}

/// The rows of one table, or those of them that are in one stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    Pending,
    /// With what jobs let go of, without it, or that alone.
    Settled(Option<Settled>),
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Settled {
    Succeeded,
    Discarded,
}

impl From<DeliveryStage> for Reading {
    fn from(stage: DeliveryStage) -> Self {
        match stage {
            DeliveryStage::Pending => Self::Pending,
            DeliveryStage::Succeeded => Self::Settled(Some(Settled::Succeeded)),
            DeliveryStage::Dead => Self::Dead,
            DeliveryStage::Discarded => Self::Settled(Some(Settled::Discarded)),
        }
    }
}

/// What is read for one stage, or for all.
fn readings(stage: Option<DeliveryStage>) -> Vec<Reading> {
    match stage {
        None => vec![Reading::Pending, Reading::Settled(None), Reading::Dead],
        Some(stage) => vec![stage.into()],
    }
}

fn rows(
    store: &dyn Store,
    reading: Reading,
    id: SubscriptionId,
    from: Option<DeliveryKey>,
    page: store::Page,
) -> Result<Rows<DeliveryState, DeliveryKey>, store::Error> {
    fn of<T>(
        page: Rows<T, DeliveryKey>,
        state: impl Fn(T) -> DeliveryState,
    ) -> Rows<DeliveryState, DeliveryKey> {
        Rows {
            rows: page.rows.into_iter().map(state).collect(),
            next: page.next,
            bytes: page.bytes,
        }
    }
    Ok(match reading {
        Reading::Pending => of(
            store.deliveries_page(id, from, page)?,
            DeliveryState::Pending,
        ),
        Reading::Settled(of_which) => {
            let mut page = store.settled_page(id, from, page)?;
            page.rows.retain(|row| match of_which {
                None => true,
                Some(Settled::Succeeded) => row.discarded.is_none(),
                Some(Settled::Discarded) => row.discarded.is_some(),
            });
            of(page, DeliveryState::Succeeded)
        }
        Reading::Dead => of(
            store.dead_letters_page(id, from, page)?,
            DeliveryState::Dead,
        ),
    })
}

/// Where a delivery stands among those of all buses.
pub fn place_of(state: &DeliveryState) -> DeliveryPlace {
    let delivery = delivery_of(state);
    (delivery.accepted_at, delivery.key)
}

/// What a row weighs in memory, about, in bytes.
pub(super) fn weight(state: &DeliveryState) -> usize {
    let attempts = delivery_of(state).attempts.iter();
    let attempts: usize = attempts.map(|attempt| 256 + attempt.output.len()).sum();
    let event = match state {
        DeliveryState::Dead(dead) => dead.event.size(),
        _ => 0,
    };
    256 + attempts + event
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::Delivery;

    fn accepted(position: u64, accepted_at: u64) -> DeliveryState {
        DeliveryState::Pending(Delivery {
            key: live(SubscriptionId(1), Position(position)),
            accepted_at: Timestamp(accepted_at),
            due_at: None,
            fence: 0,
            attempts_made: 0,
            host_failures: 0,
            claims: 0,
            order_key: None,
            redriven: None,
            attempts: Vec::new(),
        })
    }

    /// Positions of all pages of `count`, newest first, where the store gives `at_once` rows at a time.
    fn walk(times: &[u64], count: usize, at_once: usize) -> Vec<u64> {
        let log: Vec<DeliveryState> = (1..)
            .zip(times)
            .map(|(at, time)| accepted(at, *time))
            .collect();
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let mut newest = Newest {
                rows: Vec::new(),
                replay: 0,
                all: false,
                before,
                since: None,
                letters: None,
                count,
                full: false,
                dropped: false,
            };
            let backward: Vec<_> = log.iter().rev().cloned().collect();
            for rows in backward.chunks(at_once) {
                if newest.look(rows.to_vec(), Position(0), true) {
                    break;
                }
            }
            found.extend(
                newest
                    .rows
                    .iter()
                    .rev()
                    .map(|row| place_of(row).1.position.0),
            );
            before = newest.rows.first().map(place_of);
            if !newest.dropped {
                return found;
            }
        }
    }

    #[test]
    fn each_row_comes_once_although_times_are_out_of_order() {
        let check = |times: &[u64], expected: &[u64]| {
            for at_once in [1, 2, 100] {
                for count in [1, 2, 3, 100] {
                    let found = walk(times, count, at_once);
                    assert_eq!(found, expected, "{count} of {times:?}, {at_once} at once");
                }
            }
        };
        check(&[20_000, 10_000 + 6_000], &[1, 2]);
        check(&[1_000, 20_000, 19_000, 60_000], &[4, 2, 3, 1]);
        check(&[5_000, 4_000, 3_000, 2_000], &[1, 2, 3, 4]);
        check(&[7_000; 5], &[5, 4, 3, 2, 1]);
    }

    #[test]
    fn reading_ends_where_all_that_follows_is_older() {
        let mut newest = Newest {
            rows: Vec::new(),
            replay: 0,
            all: false,
            before: None,
            since: None,
            letters: None,
            count: 1,
            full: false,
            dropped: false,
        };
        let begin = Position(0);
        assert!(!newest.look(vec![accepted(9, 60_000)], begin, true));
        assert!(!newest.look(vec![accepted(8, 56_000)], begin, true));
        assert!(newest.look(vec![accepted(7, 54_000)], begin, true));
        assert!(newest.dropped);
    }
}
