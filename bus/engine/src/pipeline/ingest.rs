//! Publishing: checks events, matches them on the caller's task (or elsewhere if that takes long), and passes
//! them to the writer.
//!
//! All of a request's events are checked before any is handed over, so a bad one refuses the whole
//! request and nothing of it is stored; or it is left out alone, where the publisher asked for that. Many rows go in portions (`portions.rs`). Never here: a parse that is printed again.

use std::sync::Arc;

use super::Pipeline;
use super::matching::{self, Inline, Unmatched};
use super::snapshot::{BusRules, Snapshot};
use edgebus_model::error::{Error, InputError, Kind};
use edgebus_model::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
use edgebus_model::{BusId, Code, Event, Lineage, Position};
use edgebus_store::{Append, Appended, NewEvent, Reused};

/// Why events were not appended.
#[derive(Debug)]
pub(super) enum Refused {
    /// Some say something else than the first of their (source, id). Nothing of the step was written.
    Reused(Append, Vec<Reused>),
    /// For the state that the bus is in.
    Other(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Reused(append, reused) => id_reused(&append.events, &reused),
            Refused::Other(error) => error,
        }
    }
}

/// Why an event can't be appended.
enum Unfit {
    /// For its own sake; the error's pointer leads into the event.
    Event(Code, InputError),
    /// For the state that the bus is in.
    Bus(Error),
}

impl Pipeline {
    /// Publishes `events` on the bus called `bus` and returns their places, after the flush.
    ///
    /// # Errors
    /// As [`crate::bus::Bus::publish`].
    pub async fn publish(&self, bus: &str, events: Vec<Event>) -> Result<Vec<Appended>, Error> {
        let _in_progress = self.context.foreground.publish();
        let (snapshot, rules) = self.opened(bus, events.len())?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let checked = self.matched(&snapshot, &rules, events).await?;
        let append = self.step(rules.id, checked)?;
        // Drop it before waiting, so that a publisher does not pay for freeing an old snapshot.
        drop((snapshot, rules));
        let appended = self.append(append).await;
        appended.inspect_err(|error| self.count_refused(error))
    }

    /// Publishes those of `events` that can be, and returns what became of each, after the flush.
    ///
    /// # Errors
    /// As [`crate::bus::Bus::publish_each`].
    pub async fn publish_each(
        &self,
        bus: &str,
        events: Vec<Event>,
    ) -> Result<Vec<Result<Appended, Error>>, Error> {
        let _in_progress = self.context.foreground.publish();
        let (snapshot, rules) = self.opened(bus, events.len())?;
        let mut inline = Inline::new();
        let mut checked = Vec::with_capacity(events.len());
        let mut ends = Vec::with_capacity(events.len());
        for event in events {
            match self.prepared(&snapshot, &rules, event, &mut inline).await {
                Ok(new) => {
                    checked.push(new);
                    ends.push(None);
                }
                Err(Unfit::Event(code, input_error)) => {
                    let kind = match code {
                        Code::TooLarge => Kind::TooLarge,
                        _ => Kind::Invalid,
                    };
                    ends.push(Some(Error {
                        code,
                        errors: vec![input_error.clone()],
                        ..Error::new(kind, input_error.reason)
                    }));
                }
                Err(Unfit::Bus(error)) => return Err(error),
            }
        }
        let mut appended = Vec::new().into_iter();
        if !checked.is_empty() {
            let append = self.step(rules.id, checked)?;
            drop((snapshot, rules));
            let each = self.append_each(append).await;
            appended = each
                .inspect_err(|error| self.count_refused(error))?
                .into_iter();
        }
        let ends = ends.into_iter().map(|end| match end {
            Some(error) => Some(Err(error)),
            None => appended.next(),
        });
        Ok(ends.flatten().collect())
    }

    /// The active rules of the bus called `bus`, for a request of so many events.
    fn opened(&self, bus: &str, events: usize) -> Result<(Arc<Snapshot>, Arc<BusRules>), Error> {
        self.accepting()?;
        let snapshot = self.snapshot();
        let rules = snapshot.buses.get(bus).cloned().ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("there is no bus `{}`", bus.escape_debug()),
            )
        })?;
        if events > BATCH_EVENTS_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                format!("a batch holds at most {BATCH_EVENTS_MAX} events, not {events}"),
            ));
        }
        Ok((snapshot, rules))
    }

    /// The step that appends these, if the disk has room for them.
    fn step(&self, bus: BusId, events: Vec<NewEvent>) -> Result<Append, Error> {
        self.reserve_space(events.iter().map(|new| new.event.size()).sum())?;
        Ok(Append {
            bus,
            events,
            now: self.context.clock.now(),
        })
    }

    fn count_refused(&self, error: &Error) {
        if matches!(error.kind, Kind::Busy { .. }) {
            self.context.telemetry.count_refused();
        }
    }

    /// The events with who gets each; every invalid event is told.
    async fn matched(
        &self,
        snapshot: &Snapshot,
        rules: &Arc<BusRules>,
        events: Vec<Event>,
    ) -> Result<Vec<NewEvent>, Error> {
        let single = events.len() == 1;
        let (mut errors, mut too_wide) = (Vec::new(), 0);
        let mut inline = Inline::new();
        let mut checked = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            match self.prepared(snapshot, rules, event, &mut inline).await {
                Ok(new) => checked.push(new),
                Err(Unfit::Event(Code::TooLarge, input_error)) => {
                    let message = format!("event {index} {}", input_error.reason);
                    return Err(Error::new(Kind::TooLarge, message));
                }
                Err(Unfit::Event(code, input_error)) => {
                    too_wide += usize::from(code == Code::FanOutTooLarge);
                    let pointer = match single {
                        true => input_error.pointer,
                        false => format!("/{index}{}", input_error.pointer),
                    };
                    errors.push(InputError {
                        pointer,
                        ..input_error
                    });
                }
                Err(Unfit::Bus(error)) => return Err(error),
            }
        }
        if !errors.is_empty() {
            let code = match too_wide == errors.len() {
                true => Code::FanOutTooLarge,
                false => Code::EventInvalid,
            };
            let message = "the events can't be accepted; nothing was stored";
            return Err(Error::invalid(message, errors).coded(code));
        }
        Ok(checked)
    }

    /// One event, checked, with who gets it.
    async fn prepared(
        &self,
        snapshot: &Snapshot,
        rules: &Arc<BusRules>,
        event: Event,
        inline: &mut Inline,
    ) -> Result<NewEvent, Unfit> {
        let input_error = |pointer: String, reason: String, remedy: &str| InputError {
            pointer,
            place: None,
            reason,
            remedy: remedy.to_owned(),
        };
        let size = event.size();
        if size > EVENT_BYTES_MAX {
            let reason = format!("has {size} bytes; {EVENT_BYTES_MAX} are allowed");
            let input_error = input_error(String::new(), reason, "");
            return Err(Unfit::Event(Code::TooLarge, input_error));
        }
        if let Err(error) = event.check() {
            let pointer = format!("/{}", error.attribute);
            let input_error = input_error(pointer, error.to_string(), "");
            return Err(Unfit::Event(Code::EventInvalid, input_error));
        }
        let event = Arc::new(event);
        let matched = matching::of_published(&self.matching, rules, &event, inline).await;
        let matched = matched.map_err(|unmatched| match unmatched {
            Unmatched::Event(own) => {
                let pointer = format!("/{}", own.part.as_deref().unwrap_or("data"));
                let reason = format!("{} (byte {})", own.reason, own.offset);
                Unfit::Event(Code::EventInvalid, input_error(pointer, reason, ""))
            }
            Unmatched::Denied(error) => {
                self.count_refused(&error);
                Unfit::Bus(error)
            }
        })?;
        if let Some(reason) = matched.too_many() {
            let remedy = "make the patterns of the rules narrower, or publish it on another bus";
            let input_error = input_error("/type".to_owned(), reason, remedy);
            return Err(Unfit::Event(Code::FanOutTooLarge, input_error));
        }
        self.context.telemetry.count_filters(matched.used_up);
        Ok(NewEvent {
            event,
            lineage: Lineage::default(),
            subscriptions: matched.subscriptions,
            rules_version: snapshot.version,
        })
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
    let errors: Vec<InputError> = reused
        .iter()
        .map(|Reused { index, first }| {
            let pointer = match single {
                true => "/id".to_owned(),
                false => format!("/{index}/id"),
            };
            reused_id(pointer, events.get(*index), *first)
        })
        .collect();
    let message = match errors.as_slice() {
        [one] => format!("{}; nothing was stored", one.reason),
        all => format!(
            "{} events have an id that is another event's; nothing was stored",
            all.len()
        ),
    };
    Error {
        errors,
        ..Error::new(Kind::Conflict, message).coded(Code::IdReused)
    }
}

/// The refusal of one such event where the others of its request are stored.
pub(super) fn reused_alone(new: Option<&NewEvent>, first: Option<Position>) -> Error {
    let error = reused_id("/id".to_owned(), new, first);
    let message = format!("{}; it was not stored", error.reason);
    Error {
        errors: vec![error],
        ..Error::new(Kind::Conflict, message).coded(Code::IdReused)
    }
}

/// What is wrong with the id at `pointer`, and how to publish its event.
fn reused_id(pointer: String, new: Option<&NewEvent>, first: Option<Position>) -> InputError {
    InputError {
        pointer,
        place: None,
        reason: reason_of(new, first),
        remedy: "publish it under an id of its own, or repeat the first one as it was".to_owned(),
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
