//! Publishing: check, match on the caller's task, or beside it where that takes long, hand over to the writer.
//!
//! All of a request's events are checked before any is handed over, so a bad one refuses the whole
//! request and nothing of it is stored. Many rows go in portions (`portions.rs`). Never here: a parse that is printed again.

use std::sync::Arc;

use super::Pipeline;
use super::matching::{self, Inline, Unmatched};
use super::snapshot::{BusRules, Snapshot};
use edgebus_model::error::{Error, Fault, Kind};
use edgebus_model::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
use edgebus_model::{Code, Event, Lineage, Position};
use edgebus_store::{Append, Appended, NewEvent, Reused};

impl Pipeline {
    /// Publishes `events` on the bus called `bus` and returns their places, after the flush.
    ///
    /// # Errors
    /// As [`crate::bus::Bus::publish`].
    pub async fn publish(&self, bus: &str, events: Vec<Event>) -> Result<Vec<Appended>, Error> {
        self.accepting()?;
        let snapshot = self.snapshot();
        let rules = snapshot.buses.get(bus).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("there is no bus `{}`", bus.escape_debug()),
            )
        })?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if events.len() > BATCH_EVENTS_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                format!(
                    "a batch holds at most {BATCH_EVENTS_MAX} events, not {}",
                    events.len()
                ),
            ));
        }
        let (checked, bytes) = self.matched(&snapshot, rules, events).await?;
        self.reserve_space(bytes)?;
        let append = Append {
            bus: rules.id,
            events: checked,
            now: self.context.clock.now(),
        };
        // Who lets go of a snapshot last takes it down; that is not for one who publishes.
        drop(snapshot);
        self.append(append).await.inspect_err(|error| {
            if matches!(error.kind, Kind::Busy { .. }) {
                self.context.telemetry.count_refused();
            }
        })
    }

    /// The events with who gets each, and their bytes together; every event at fault is told.
    async fn matched(
        &self,
        snapshot: &Snapshot,
        rules: &Arc<BusRules>,
        events: Vec<Event>,
    ) -> Result<(Vec<NewEvent>, usize), Error> {
        let single = events.len() == 1;
        let mut bytes = 0;
        let (mut faults, mut too_wide) = (Vec::new(), 0);
        let mut inline = Inline::new();
        let mut checked = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            let pointer = |rest: &str| {
                if single {
                    format!("/{rest}")
                } else {
                    format!("/{index}/{rest}")
                }
            };
            let size = event.size();
            bytes += size;
            if size > EVENT_BYTES_MAX {
                return Err(Error::new(
                    Kind::TooLarge,
                    format!("event {index} has {size} bytes; {EVENT_BYTES_MAX} are allowed"),
                ));
            }
            if let Err(fault) = event.check() {
                faults.push(Fault {
                    pointer: pointer(&fault.attribute),
                    place: None,
                    reason: fault.to_string(),
                    remedy: String::new(),
                });
                continue;
            }
            let event = Arc::new(event);
            let matched = matching::of_published(&self.matching, rules, &event, &mut inline).await;
            match matched.map(|matched| (matched.too_many(), matched)) {
                Ok((Some(reason), _)) => {
                    too_wide += 1;
                    faults.push(Fault {
                        pointer: pointer("type"),
                        place: None,
                        reason,
                        remedy:
                            "make the patterns of the rules narrower, or publish it on another bus"
                                .to_owned(),
                    });
                }
                Ok((None, matched)) => {
                    self.context.telemetry.count_filters(matched.used_up);
                    checked.push(NewEvent {
                        event,
                        lineage: Lineage::default(),
                        subscriptions: matched.subscriptions,
                        rules_version: snapshot.version,
                    });
                }
                Err(Unmatched::Event(fault)) => faults.push(Fault {
                    pointer: pointer(fault.part.as_deref().unwrap_or("data")),
                    place: None,
                    reason: format!("{} (byte {})", fault.reason, fault.offset),
                    remedy: String::new(),
                }),
                Err(Unmatched::Denied(error)) => {
                    if matches!(error.kind, Kind::Busy { .. }) {
                        self.context.telemetry.count_refused();
                    }
                    return Err(error);
                }
            }
        }
        if !faults.is_empty() {
            let code = match too_wide == faults.len() {
                true => Code::FanOutTooLarge,
                false => Code::EventInvalid,
            };
            let message = "the events can't be accepted; nothing was stored";
            return Err(Error::invalid(message, faults).coded(code));
        }
        Ok((checked, bytes))
    }

    /// Refuses publishes while the bus starts or stops.
    fn accepting(&self) -> Result<(), Error> {
        self.ready()
            .map_err(|reason| Error::new(Kind::Unavailable, reason))
    }

    /// Refuses publishes that would bring the disk below its floor of free space.
    fn reserve_space(&self, bytes: usize) -> Result<(), Error> {
        if self.space.take(bytes) {
            return Ok(());
        }
        self.context.telemetry.count_refused();
        Err(Error::new(
            Kind::StorageFull,
            "the disk is at its floor of free space; deliveries go on, and publishing opens again when there is room",
        ))
    }
}

/// The answer to a publish with events that say something else than the first of their (source, id).
pub(super) fn id_reused(events: &[NewEvent], reused: &[Reused]) -> Error {
    let single = events.len() == 1;
    let faults: Vec<Fault> = reused
        .iter()
        .map(|Reused { index, first }| Fault {
            pointer: if single {
                "/id".to_owned()
            } else {
                format!("/{index}/id")
            },
            place: None,
            reason: reason_of(events.get(*index), *first),
            remedy: "publish it under an id of its own, or repeat the first one as it was"
                .to_owned(),
        })
        .collect();
    let message = match faults.as_slice() {
        [one] => format!("{}; nothing was stored", one.reason),
        all => format!(
            "{} events have an id that is another event's; nothing was stored",
            all.len()
        ),
    };
    Error {
        faults,
        ..Error::new(Kind::Conflict, message).coded(Code::IdReused)
    }
}

/// Which event says something else than the first of its (source, id).
pub(super) fn reason_of(new: Option<&NewEvent>, first: Option<Position>) -> String {
    let (id, source) = new.map_or(("", ""), |new| (&new.event.id, &new.event.source));
    let place = first.map_or_else(
        || "earlier in this batch".to_owned(),
        |position| format!("at position {position}"),
    );
    format!(
        "the id `{}` of the source `{}` is another event's, {place}: its type, subject or data differ",
        id.escape_debug(),
        source.escape_debug()
    )
}
