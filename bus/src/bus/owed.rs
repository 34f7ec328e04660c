//! Looking at deliveries: pages in the order of their keys, the newest ones, those of one event, and
//! the subscriptions that they belong to.
//!
//! Never here: a change of any of them.

use super::{Bus, Cancel, DeliveryStage, DeliveryState, Page, ReadEnd, SubscriptionStatus, log};
use crate::error::{Error, Kind};
use crate::model::limits::PAGE_ROWS_MAX;
use crate::model::{BusId, DeliveryKey, Position, Subscription, SubscriptionId, Timestamp};
use crate::pipeline::{Situation, Snapshot};
use crate::store::{self, Store};

/// Which deliveries are wanted; the default wants all.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Of this subscription, by label `rule/function` or number.
    pub subscription: Option<String>,
    /// To this function.
    pub function: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of events that were accepted at this time or later.
    pub since: Option<Timestamp>,
}

impl DeliveryFilter {
    /// The subscriptions that it wants, in the order of their numbers.
    fn subscriptions(&self, snapshot: &Snapshot) -> Result<Vec<(SubscriptionId, BusId)>, Error> {
        let none = |what: &str, name: &str, route: &str| {
            let name = name.escape_debug();
            Error::new(
                Kind::NotFound,
                format!("there is no {what} `{name}`; GET /v1/{route} lists them"),
            )
        };
        let all = || snapshot.subscriptions.values();
        if let Some(name) = &self.function
            && !snapshot.functions.contains_key(name.as_str())
            && !all().any(|own| own.target.function.as_str() == name)
        {
            return Err(none("function", name, "functions"));
        }
        if let Some(name) = &self.rule
            && !all().any(|own| own.rule.as_str() == name)
        {
            return Err(none("rule", name, "rules"));
        }
        if let Some(text) = &self.subscription
            && !all().any(|own| is_called(own, text))
        {
            return Err(none("subscription", text, "subscriptions"));
        }
        let mut wanted: Vec<_> = all()
            .filter(|own| self.wants(own))
            .map(|own| (own.id, own.bus))
            .collect();
        wanted.sort_unstable();
        Ok(wanted)
    }

    fn wants(&self, own: &Subscription) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        };
        is(&self.function, own.target.function.as_str())
            && is(&self.rule, own.rule.as_str())
            && self
                .subscription
                .as_ref()
                .is_none_or(|text| is_called(own, text))
    }
}

fn is_called(own: &Subscription, text: &str) -> bool {
    own.label() == text || own.id.0.to_string() == text
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
        let since = filter.since;
        let pipeline = self.pipeline.clone();
        self.read(move |store, cancel| {
            let mut items = Vec::new();
            // Subscriptions of one bus begin at one place.
            let mut start: Option<(BusId, Position)> = None;
            for (id, bus) in wanted {
                cancel.check()?;
                let mut after = after.filter(|after| after.subscription == id);
                if let Some(since) = since {
                    let position = match start {
                        Some((known, position)) if known == bus => position,
                        _ => log::before(store, cancel, bus, pipeline.last_position(bus), since)?,
                    };
                    start = Some((bus, position));
                    after = after.max(Some(live(id, position)));
                }
                items.extend(rows(store, stage, id, after, limit - items.len())?);
                if items.len() >= limit {
                    break;
                }
            }
            let next = if items.len() >= limit {
                items.last().map(|state| delivery_of(state).key.to_string())
            } else {
                None
            };
            Ok(Page { items, next })
        })
        .await
    }

    /// The newest `count` of the wanted deliveries at most, of one stage or all, in the order in which
    /// their events were accepted.
    ///
    /// # Errors
    /// As [`Bus::deliveries`].
    pub async fn last_deliveries(
        &self,
        filter: &DeliveryFilter,
        stage: Option<DeliveryStage>,
        count: usize,
    ) -> Result<Vec<DeliveryState>, Error> {
        let wanted = filter.subscriptions(&self.snapshot())?;
        let count = count.clamp(1, PAGE_ROWS_MAX);
        let since = filter.since;
        let pipeline = self.pipeline.clone();
        self.read(move |store, cancel| {
            let mut newest: Vec<DeliveryState> = Vec::new();
            for (id, bus) in wanted {
                let end = pipeline.last_position(bus);
                let begin = match since {
                    Some(since) => log::before(store, cancel, bus, end, since)?,
                    None => Position(0),
                };
                for stage in stages(stage) {
                    newest.extend(last_rows(
                        (store, cancel),
                        *stage,
                        id,
                        (begin.0, end.0),
                        count,
                    )?);
                }
                // No more is held than is wanted, however many subscriptions there are.
                newest.sort_by_key(|state| {
                    let delivery = delivery_of(state);
                    (delivery.accepted_at, delivery.key)
                });
                newest.drain(..newest.len().saturating_sub(count));
            }
            Ok(newest)
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
        let mut owed_to = stored.subscriptions;
        owed_to.retain(|id| {
            wanted.binary_search_by_key(id, |(id, _)| *id).is_ok()
                && after.is_none_or(|after| *id > after.subscription)
        });
        owed_to.sort_unstable();
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.read(move |store, cancel| {
            let next =
                (owed_to.len() > limit).then(|| live(owed_to[limit - 1], position).to_string());
            let mut items = Vec::new();
            for id in owed_to.into_iter().take(limit) {
                cancel.check()?;
                items.extend(store.delivery(live(id, position))?);
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
        self.read(move |store, _| Ok(store.delivery(key)?))
            .await?
            .ok_or_else(|| Error::new(Kind::NotFound, format!("there is no delivery {key}")))
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
                    .deliveries(subscription.id, None, 1)?
                    .into_iter()
                    .next();
                // One that left the manifest is shown as long as it owes something.
                if !subscription.active && oldest.is_none() {
                    continue;
                }
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
                    tally: pipeline.telemetry().tally(subscription.id),
                    oldest_owed: oldest.map(|oldest| (oldest.key, oldest.accepted_at)),
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
pub fn delivery_of(state: &DeliveryState) -> &crate::model::Delivery {
    match state {
        DeliveryState::Owed(delivery) => delivery,
        DeliveryState::Settled(settled) => &settled.delivery,
        DeliveryState::Dead(dead) => &dead.delivery,
    }
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

fn stages(stage: Option<DeliveryStage>) -> &'static [DeliveryStage] {
    match stage {
        None => &[
            DeliveryStage::Owed,
            DeliveryStage::Succeeded,
            DeliveryStage::Dead,
        ],
        Some(DeliveryStage::Owed) => &[DeliveryStage::Owed],
        Some(DeliveryStage::Succeeded) => &[DeliveryStage::Succeeded],
        Some(DeliveryStage::Dead) => &[DeliveryStage::Dead],
    }
}

fn rows(
    store: &dyn Store,
    stage: DeliveryStage,
    id: SubscriptionId,
    after: Option<DeliveryKey>,
    limit: usize,
) -> Result<Vec<DeliveryState>, store::Error> {
    Ok(match stage {
        DeliveryStage::Owed => store
            .deliveries(id, after, limit)?
            .into_iter()
            .map(DeliveryState::Owed)
            .collect(),
        DeliveryStage::Succeeded => store
            .settled(id, after, limit)?
            .into_iter()
            .map(DeliveryState::Settled)
            .collect(),
        DeliveryStage::Dead => store
            .dead_letters(id, after, limit)?
            .into_iter()
            .map(DeliveryState::Dead)
            .collect(),
    })
}

/// The newest `count` live rows with positions after the first and up to the second of `range`. The
/// store reads forward only, so a range that holds more is halved, the newer half first.
fn last_rows(
    reading: (&dyn Store, &Cancel),
    stage: DeliveryStage,
    id: SubscriptionId,
    range: (u64, u64),
    count: usize,
) -> Result<Vec<DeliveryState>, ReadEnd> {
    let (begin, end) = range;
    if begin >= end || count == 0 {
        return Ok(Vec::new());
    }
    let (store, cancel) = reading;
    cancel.check()?;
    let after = live(id, Position(begin));
    let mut found = rows(store, stage, id, Some(after), count + 1)?;
    found.retain(|state| {
        let key = delivery_of(state).key;
        key.replay == 0 && key.position.0 <= end
    });
    if found.len() <= count {
        return Ok(found);
    }
    drop(found);
    let middle = begin + (end - begin) / 2;
    let newer = last_rows(reading, stage, id, (middle, end), count)?;
    let mut all = last_rows(reading, stage, id, (begin, middle), count - newer.len())?;
    all.extend(newer);
    Ok(all)
}
