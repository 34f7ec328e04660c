//! Splits a large publish into several steps, because one step with many rows would delay everybody else by its
//! whole commit.
//!
//! Each portion is a step of its own, which goes to the writer after the one before is on stable storage, so
//! that what others publish comes between. Nothing is answered before the last. Never here: matching.

use super::Pipeline;
use super::ingest::{Refused, reused_alone};
use edgebus_model::Code;
use edgebus_model::error::{Error, InputError, Kind};
use edgebus_store::{Append, Appended, NewEvent};

/// Rows of one portion, unless one event alone has more.
const PORTION_ROWS_MAX: usize = 4_000;

impl Pipeline {
    /// Appends all of it and returns where the events went, after the last flush.
    ///
    /// # Errors
    /// As the writer's; [`Kind::Unknown`] after a part of it is stored.
    pub(super) async fn append(&self, append: Append) -> Result<Vec<Appended>, Error> {
        let all = append.events.len();
        let (bus, now) = (append.bus, append.now);
        let mut portions = portions(append.events).into_iter();
        let Some(first) = portions.next() else {
            return Ok(Vec::new());
        };
        let step = |events| Append { bus, events, now };
        let first = self.writer.append(step(first)).await;
        let mut places = first.map_err(|error| refused(error.into(), 0, all))?;
        for events in portions {
            let more = self.writer.append_more(step(events)).await;
            places.extend(more.map_err(|error| match Error::from(error) {
                error if error.code == Code::IdReused => refused(error, places.len(), all),
                error => halfway(places.len(), all, &error),
            })?);
        }
        Ok(places)
    }

    /// Appends the events whose ids are their own, and returns what became of each, after the last flush.
    ///
    /// # Errors
    /// The writer's, for all of them; [`Kind::Unknown`] after a part of it is stored.
    pub(super) async fn append_each(
        &self,
        append: Append,
    ) -> Result<Vec<Result<Appended, Error>>, Error> {
        let all = append.events.len();
        let (bus, now) = (append.bus, append.now);
        let mut ends: Vec<Result<Appended, Error>> = Vec::with_capacity(all);
        for events in portions(append.events) {
            let more = self.portion_of_each(Append { bus, events, now }, ends.is_empty());
            let stored = |ends: &[Result<Appended, Error>]| {
                let stored = ends.iter().filter(|end| end.is_ok());
                stored.count()
            };
            ends.extend(more.await.map_err(|error| match stored(&ends) {
                0 => error,
                stored => halfway(stored, all, &error),
            })?);
        }
        Ok(ends)
    }

    /// The same for one portion. What the store refuses is taken out, and the rest goes to it again: each time
    /// it is less, so that this ends.
    async fn portion_of_each(
        &self,
        mut append: Append,
        is_first: bool,
    ) -> Result<Vec<Result<Appended, Error>>, Error> {
        let mut ends: Vec<Option<Result<Appended, Error>>> = Vec::new();
        ends.resize_with(append.events.len(), || None);
        // Which event of the portion each of those is that are still to be appended.
        let mut own: Vec<usize> = (0..ends.len()).collect();
        let mut may_be_refused = is_first;
        while !append.events.is_empty() {
            let answer = match may_be_refused {
                true => self.writer.append(append).await,
                false => self.writer.append_more(append).await,
            };
            may_be_refused = false;
            match answer {
                Ok(places) => {
                    for (index, place) in own.iter().zip(places) {
                        ends[*index] = Some(Ok(place));
                    }
                    break;
                }
                Err(Refused::Other(error)) => return Err(error),
                Err(Refused::Reused(refused, reused)) => {
                    for one in &reused {
                        let error = reused_alone(refused.events.get(one.index), one.first);
                        ends[own[one.index]] = Some(Err(error));
                    }
                    let is_left = |index: &usize| ends[own[*index]].is_none();
                    let left: Vec<usize> = (0..own.len()).filter(is_left).collect();
                    let events = left.iter().map(|index| refused.events[*index].clone());
                    append = Append {
                        events: events.collect(),
                        ..refused
                    };
                    own = left.into_iter().map(|index| own[index]).collect();
                }
            }
        }
        Ok(ends.into_iter().flatten().collect())
    }
}

/// The events in their order, in portions.
fn portions(events: Vec<NewEvent>) -> Vec<Vec<NewEvent>> {
    let (mut portions, mut rows) = (Vec::new(), 0);
    for event in events {
        let own = event.rows();
        match portions.last_mut() {
            Some(last) if rows + own <= PORTION_ROWS_MAX => {
                rows += own;
                Vec::push(last, event);
            }
            _ => {
                rows = own;
                portions.push(vec![event]);
            }
        }
    }
    portions
}

/// The refusal of a portion behind `before` events of the same request, with places in the whole request.
fn refused(error: Error, before: usize, all: usize) -> Error {
    if error.code != Code::IdReused || all == 1 {
        return error;
    }
    let place = |input_error: InputError| {
        let own = input_error.pointer.split('/').nth(1);
        let index: usize = own.and_then(|own| own.parse().ok()).unwrap_or(0);
        InputError {
            pointer: format!("/{}/id", before + index),
            ..input_error
        }
    };
    let message = match error.message.strip_suffix("nothing was stored") {
        Some(reason) if before > 0 => {
            format!("{reason}{before} of {all} events are stored, and none of those that follow")
        }
        _ => error.message,
    };
    Error {
        message,
        errors: error.errors.into_iter().map(place).collect(),
        ..error
    }
}

/// What is said where a part is stored and nobody knows of the rest.
fn halfway(stored: usize, all: usize, error: &Error) -> Error {
    Error::new(
        Kind::Unknown,
        format!(
            "{stored} of {all} events are stored, and the outcome of the others is unknown ({}); repeat with the same sources and ids and get the first answers",
            error.message
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::{Event, Lineage, SubscriptionId};

    #[test]
    fn portions_keep_the_order_and_the_bound() {
        let check = |wide: &[usize], expected: &[usize]| {
            let events = wide.iter().enumerate().map(|(number, wide)| NewEvent {
                event: Event {
                    id: number.to_string(),
                    ..Event::unreadable()
                }
                .into(),
                lineage: Lineage::default(),
                subscriptions: vec![SubscriptionId(1); *wide],
                rules_version: 1,
            });
            let portions = portions(events.collect());
            let counts: Vec<usize> = portions.iter().map(Vec::len).collect();
            assert_eq!(counts, expected, "{wide:?}");
            let ids: Vec<String> = portions
                .iter()
                .flatten()
                .map(|new| new.event.id.clone())
                .collect();
            let all: Vec<String> = (0..wide.len()).map(|number| number.to_string()).collect();
            assert_eq!(ids, all);
        };
        check(&[], &[]);
        check(&[0], &[1]);
        check(&[1; 1_000], &[1_000]);
        check(&[3; 1_000], &[1_000]);
        check(&[4; 1_000], &[800, 200]);
        check(&[10_000, 10_000, 1], &[1, 1, 1]);
        check(&[3_998, 0, 0, 3_999], &[2, 1, 1]);
    }

    #[test]
    fn a_portion_that_is_refused_is_told_with_places_of_the_request() {
        let input_error = |pointer: &str| InputError {
            pointer: pointer.to_owned(),
            place: None,
            reason: String::new(),
            remedy: String::new(),
        };
        let error = |pointers: &[&str]| Error {
            errors: pointers
                .iter()
                .map(|pointer| input_error(pointer))
                .collect(),
            ..Error::new(Kind::Conflict, "why; nothing was stored").coded(Code::IdReused)
        };
        for (pointers, before, all, expected, message) in [
            (&["/id"][..], 0, 1, &["/id"][..], "why; nothing was stored"),
            (&["/id"], 0, 9, &["/0/id"], "why; nothing was stored"),
            (
                &["/id"],
                4,
                5,
                &["/4/id"],
                "why; 4 of 5 events are stored, and none of those that follow",
            ),
            (
                &["/1/id", "/3/id"],
                4,
                9,
                &["/5/id", "/7/id"],
                "why; 4 of 9 events are stored, and none of those that follow",
            ),
        ] {
            let told = refused(error(pointers), before, all);
            let places: Vec<&str> = told
                .errors
                .iter()
                .map(|input_error| input_error.pointer.as_str())
                .collect();
            assert_eq!((&places[..], told.message.as_str()), (expected, message));
        }
        let other = refused(Error::new(Kind::Conflict, "why"), 4, 9);
        assert_eq!(other.message, "why");
    }
}
