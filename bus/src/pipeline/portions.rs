//! A large publish as several steps: one that makes many rows would hold up everybody else for as long as its
//! commit takes.
//!
//! Each portion is a step of its own, which goes to the writer after the one before is on stable storage, so
//! that what others publish comes between. Nothing is answered before the last. Never here: matching.

use super::Pipeline;
use crate::error::{Error, Kind};
use crate::store::{Append, Appended, NewEvent};

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
        let mut places = self.writer.append(step(first)).await?;
        for events in portions {
            let more = self.writer.append_more(step(events)).await;
            places.extend(more.map_err(|error| halfway(places.len(), all, &error))?);
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
    use crate::model::{Event, Lineage, SubscriptionId};

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
}
