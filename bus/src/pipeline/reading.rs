//! Deliveries back from the store: pages of what is owed, each with its event, and what becomes of one
//! whose event can't be read.
//!
//! Never here: a harmed record that is used.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Pipeline;
use super::dispatch::{Job, SettleTicket};
use super::settle::{self, Ran};
use crate::model::{BusId, Delivery, DeliveryKey, Position, SubscriptionId};
use crate::store::Step;

/// What one page of owed events may weigh, in bytes; the event that passes it still belongs to the page.
const PAGE_BYTES_MAX: usize = 4 << 20;

impl Pipeline {
    /// A page of a subscription's first attempts after `cursor`: the jobs, the last position that was
    /// looked at, and whether the page reached the end. It ends early where its events weigh more than
    /// [`PAGE_BYTES_MAX`]. `None` if the store can't be read; the process stops then.
    pub(super) fn read_owed(
        &self,
        id: SubscriptionId,
        cursor: Position,
        limit: usize,
    ) -> Option<(Vec<Job>, Position, bool)> {
        let read = || {
            let after = DeliveryKey {
                subscription: id,
                replay: 0,
                position: cursor,
            };
            let page = self.store.deliveries(id, Some(after), limit)?;
            let (mut jobs, mut last, mut bytes) = (Vec::new(), cursor, 0);
            for delivery in &page {
                last = delivery.key.position;
                // Those that wait for a retry are the timer's.
                if delivery.due_at.is_some() || self.dispatcher.held(delivery.key) {
                    continue;
                }
                if let Some(job) = self.with_event(delivery)? {
                    bytes += job.event.size();
                    jobs.push(job);
                    if bytes > PAGE_BYTES_MAX {
                        return Ok((jobs, last, false));
                    }
                }
            }
            Ok((jobs, last, page.len() < limit))
        };
        read()
            .inspect_err(|error| self.reading_failed("owed deliveries", error))
            .ok()
    }

    /// The job for an owed delivery; `None` if its event can't be read unharmed, and then the delivery is
    /// on its way to the dead letters.
    pub(super) fn with_event(
        &self,
        delivery: &Delivery,
    ) -> Result<Option<Job>, crate::store::Error> {
        let snapshot = self.snapshot();
        let Some(subscription) = snapshot.subscriptions.get(&delivery.key.subscription) else {
            return Ok(None);
        };
        let bus = subscription.bus;
        match self.store.event(bus, delivery.key.position) {
            Ok(Some(stored)) => return Ok(Some(Job::of(delivery, bus, &stored))),
            Ok(None) => self.bury(delivery, bus, "the event is no longer in the log"),
            Err(error) if error.kind == crate::store::Kind::Corrupt => {
                self.reading_failed("an event", &error);
                self.bury(delivery, bus, &error.message);
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Sends a delivery whose event can't be read to the dead letters.
    fn bury(&self, delivery: &Delivery, bus: BusId, why: &str) {
        let job = Job {
            key: delivery.key,
            bus,
            fence: delivery.fence,
            attempts_made: delivery.attempts_made,
            accepted_at: delivery.accepted_at,
            event: Arc::new(crate::model::Event::unreadable()),
            lineage: crate::model::Lineage::default(),
            conflicts: 0,
        };
        let ran = Ran::host(why.to_owned(), self.clock.now());
        let settle = settle::dead(self, &job, ran, crate::model::DeadReason::Corrupt);
        let writer = self.writer.clone();
        self.tasks.spawn(async move {
            let ticket = SettleTicket { job, _turn: None };
            writer
                .settle(Step::Settle(Box::new(settle)), 0, ticket)
                .await;
        });
    }

    /// Takes note of a failed read. Harm degrades readiness, and the record is never used; an engine
    /// that can't read can't be trusted to write, so the process stops and recovers at the next start.
    pub(super) fn reading_failed(&self, what: &str, error: &crate::store::Error) {
        if error.kind == crate::store::Kind::Corrupt {
            self.harmed.store(true, Ordering::Relaxed);
            self.telemetry.count_harmed(&error.message);
        } else {
            tracing::error!(%error, "{what} can't be read");
            self.fail(&error.message);
        }
    }
}
