//! The ready queues as plain data: who has room, who is next. The dispatcher's lock is around all of it.
//!
//! Never here: the store, tasks, waiting.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::contention::Contention;
use super::{Functions, Job};
use crate::model::{BusId, DeliveryKey, Name, Position, SubscriptionId, Timestamp};
use crate::pipeline::writer::Committed;
use crate::store::{Appended, NewEvent, SettleEnd, StepOutcome};

/// Deliveries of one subscription that wait in memory.
pub(super) const READY_PER_SUBSCRIPTION_MAX: usize = 1_024;
/// Bytes of events that wait in memory, all subscriptions together.
const READY_BYTES_MAX: usize = 64 << 20;
/// Deliveries that a lane takes from one subscription before it turns to the next.
const RUN_LENGTH: u32 = 16;

/// One subscription's queue.
pub(super) struct Queue {
    pub(super) function: Name,
    pub(super) ready: VecDeque<Job>,
    /// The last position that came into memory; later ones are still in the store alone.
    pub(super) cursor: Position,
    /// True while the store holds owed deliveries past the cursor.
    pub(super) behind: bool,
    /// True if a delivery was left to the store since the last page was read.
    pub(super) passed_over: bool,
    pub(super) filling: bool,
    /// True while the subscription stands in the rotation.
    pub(super) queued: bool,
}

/// All that the lock is around.
#[derive(Default)]
pub(super) struct State {
    pub(super) queues: HashMap<SubscriptionId, Queue>,
    pub(super) rotation: VecDeque<SubscriptionId>,
    pub(super) running: HashMap<Name, u32>,
    pub(super) contention: HashMap<Name, Arc<Contention>>,
    pub(super) lanes: usize,
    pub(super) ready: usize,
    pub(super) ready_bytes: usize,
    /// Retried deliveries that are in memory, so that the timer does not bring them twice.
    pub(super) held: HashSet<DeliveryKey>,
    pub(super) stopping: bool,
    /// True while deliveries that a process died in run alone.
    pub(super) paused: bool,
}

impl State {
    /// True if a subscription's queue may grow.
    pub(super) fn room(&self, id: SubscriptionId) -> bool {
        self.ready_bytes < READY_BYTES_MAX
            && self
                .queues
                .get(&id)
                .is_some_and(|queue| queue.ready.len() < READY_PER_SUBSCRIPTION_MAX)
    }

    /// Takes a stored event to its subscriptions' queues, or leaves it to the store.
    pub(super) fn accept(&mut self, bus: BusId, new: &NewEvent, place: Appended, now: Timestamp) {
        if place.duplicate {
            return;
        }
        for id in &new.subscriptions {
            let room = self.room(*id);
            let Some(queue) = self.queues.get_mut(id) else {
                continue;
            };
            if queue.behind || !room {
                queue.behind = true;
                queue.passed_over = true;
                continue;
            }
            if place.position <= queue.cursor {
                continue;
            }
            queue.cursor = place.position;
            let key = DeliveryKey {
                subscription: *id,
                replay: 0,
                position: place.position,
            };
            let job = Job {
                key,
                bus,
                fence: 0,
                attempts_made: 0,
                accepted_at: now,
                event: new.event.clone(),
                lineage: new.lineage,
                conflicts: 0,
            };
            self.push(*id, job, false);
        }
    }

    pub(super) fn push(&mut self, id: SubscriptionId, job: Job, front: bool) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        self.ready += 1;
        self.ready_bytes += job.event.size();
        if front {
            queue.ready.push_front(job);
        } else {
            queue.ready.push_back(job);
        }
        if !queue.queued {
            queue.queued = true;
            self.rotation.push_back(id);
        }
    }

    /// Takes note of one committed step.
    pub(super) fn note(&mut self, step: &Committed) {
        match step {
            Committed::Appended(append, places) => {
                for (new, place) in append.events.iter().zip(places) {
                    self.accept(append.bus, new, *place, append.now);
                }
            }
            Committed::Settled(ticket, settle, outcome) => {
                if let (StepOutcome::Settled(places), SettleEnd::Done(effects)) =
                    (outcome, &settle.end)
                {
                    for ((bus, new), (_, place)) in effects.emits.iter().zip(places) {
                        self.accept(*bus, new, *place, settle.now);
                    }
                }
                // After a conflict or a refusal the delivery stays in memory.
                if ticket.is_some()
                    && matches!(outcome, StepOutcome::Settled(_) | StepOutcome::Stale)
                {
                    self.held.remove(&settle.key);
                }
            }
        }
    }

    /// The queues that lag and have nothing to do, marked as being filled.
    pub(super) fn lagging(&mut self) -> Vec<SubscriptionId> {
        self.queues
            .iter_mut()
            .filter(|(_, queue)| queue.behind && !queue.filling && queue.ready.is_empty())
            .map(|(id, queue)| {
                queue.filling = true;
                *id
            })
            .collect()
    }

    /// How many more attempts could begin now, and whether there is one of a function of which nothing runs.
    pub(super) fn runnable(&self, functions: &Functions) -> (usize, bool) {
        let mut idle = false;
        let runnable = self
            .rotation
            .iter()
            .filter_map(|id| self.queues.get(id))
            .map(|queue| {
                let limit = concurrency(functions, &queue.function);
                let running = self.running.get(&queue.function).copied().unwrap_or(0);
                idle |= running == 0 && !queue.ready.is_empty();
                queue
                    .ready
                    .len()
                    .min(limit.saturating_sub(running) as usize)
            })
            .sum();
        (runnable, idle)
    }

    pub(super) fn next(
        &mut self,
        last: &mut (Option<SubscriptionId>, u32),
        functions: &Functions,
    ) -> Option<Job> {
        if let (Some(id), left @ 1..) = *last
            && let Some(job) = self.pop(id, functions)
        {
            last.1 = left - 1;
            return Some(job);
        }
        for _ in 0..self.rotation.len() {
            let id = self.rotation.pop_front()?;
            let job = self.pop(id, functions);
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.queued = !queue.ready.is_empty();
                if queue.queued {
                    self.rotation.push_back(id);
                }
            }
            if job.is_some() {
                *last = (Some(id), RUN_LENGTH - 1);
                return job;
            }
        }
        None
    }

    /// Takes a job of one subscription if its function has room for another attempt.
    fn pop(&mut self, id: SubscriptionId, functions: &Functions) -> Option<Job> {
        let queue = self.queues.get_mut(&id)?;
        let limit = concurrency(functions, &queue.function);
        let running = match self.running.get_mut(&queue.function) {
            Some(running) => running,
            None => self.running.entry(queue.function.clone()).or_insert(0),
        };
        if *running >= limit {
            return None;
        }
        let job = queue.ready.pop_front()?;
        *running += 1;
        self.ready -= 1;
        self.ready_bytes = self.ready_bytes.saturating_sub(job.event.size());
        Some(job)
    }
}

/// How many attempts of a function may run at once; a missing function's deliveries die one by one.
fn concurrency(functions: &Functions, function: &Name) -> u32 {
    functions.get(function).map_or(1, |deployed| {
        deployed.revision.config.limits.concurrency_max
    })
}
