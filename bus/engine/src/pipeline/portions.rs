//! A large publish as several steps: one that makes many rows would hold up everybody else for as long as its
//! commit takes.
//!
//! Each portion is a step of its own, which goes to the writer after the one before is on stable storage, so
//! that what others publish comes between. Nothing is answered before the last. Never here: matching.

use super::Pipeline;
use edgebus_model::Code;
use edgebus_model::error::{Error, Fault, Kind};
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
        let mut places = first.map_err(|error| refused(error, 0, all))?;
        for events in portions {
            let more = self.writer.append_more(step(events)).await;
            places.extend(more.map_err(|error| match error.code {
                Code::IdReused => refused(error, places.len(), all),
                _ => halfway(places.len(), all, &error),
            })?);
        }
        Ok(places)
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
    let place = |fault: Fault| {
        let own = fault.pointer.split('/').nth(1);
        let index: usize = own.and_then(|own| own.parse().ok()).unwrap_or(0);
        Fault {
            pointer: format!("/{}/id", before + index),
            ..fault
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
        faults: error.faults.into_iter().map(place).collect(),
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
        let fault = |pointer: &str| Fault {
            pointer: pointer.to_owned(),
            place: None,
            reason: String::new(),
            remedy: String::new(),
        };
        let error = |pointers: &[&str]| Error {
            faults: pointers.iter().map(|pointer| fault(pointer)).collect(),
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
                .faults
                .iter()
                .map(|fault| fault.pointer.as_str())
                .collect();
            assert_eq!((&places[..], told.message.as_str()), (expected, message));
        }
        let other = refused(Error::new(Kind::Conflict, "why"), 4, 9);
        assert_eq!(other.message, "why");
    }
}
