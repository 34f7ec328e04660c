//! Deliveries that were being attempted when a process died: they run one at a time, beside everything
//! else and never before it.
//!
//! That only one of them runs at a time is how the one that kills the process is found: it is claimed
//! again in the next death, and what merely stood beside it is not (`recover` counts). Those that were
//! interrupted once go before those that were interrupted again.

use std::collections::VecDeque;

use super::queue::{Interrupted, Job};
use super::state::State;
use crate::model::DeliveryKey;

/// Suspects that wait for their turn; a process has far fewer attempts at a time. Others run as any delivery.
const SUSPECTS_MAX: usize = 4_096;

/// Deliveries that run one at a time.
#[derive(Default)]
pub(super) struct Suspects {
    waiting: VecDeque<Job>,
    running: Option<DeliveryKey>,
}

impl State {
    /// Takes a delivery that came back from the store.
    pub(super) fn admit(&mut self, job: Job, front: bool) {
        let suspect = job.interrupted != Interrupted::No;
        if !suspect || self.suspects.waiting.len() >= SUSPECTS_MAX {
            return self.push(job, front);
        }
        self.held.insert(job.key);
        self.suspects.waiting.push_back(job);
        self.next_suspect();
    }

    /// Lets the next suspect go if none is on its way.
    pub(super) fn next_suspect(&mut self) {
        if self.suspects.running.is_some() {
            return;
        }
        let available = |job: &Job| {
            let queue = self.queues.get(&job.key.subscription);
            queue.is_some_and(|queue| self.functions[queue.function].limits.available)
        };
        let waiting = &self.suspects.waiting;
        let next = waiting
            .iter()
            .position(|job| job.interrupted == Interrupted::Once && available(job))
            .or_else(|| waiting.iter().position(available));
        if let Some(job) = next.and_then(|place| self.suspects.waiting.remove(place)) {
            self.suspects.running = Some(job.key);
            self.push(job, true);
        }
    }

    /// Takes the suspect on its way back if its function can't run now, so that it holds up no other.
    pub(super) fn recall_suspect(&mut self) {
        let Some(key) = self.suspects.running else {
            return;
        };
        let Some(queue) = self.queues.get_mut(&key.subscription) else {
            return;
        };
        if self.functions[queue.function].limits.available {
            return;
        }
        // One that has begun is not in its queue.
        let Some(place) = queue.ready.iter().position(|job| job.key == key) else {
            return;
        };
        if let Some(job) = queue.ready.remove(place) {
            queue.bytes = queue.bytes.saturating_sub(job.weight);
            self.ready -= 1;
            self.ready_bytes = self.ready_bytes.saturating_sub(job.weight);
            self.suspects.running = None;
            self.suspects.waiting.push_back(job);
        }
    }

    /// A delivery ended; if it was the suspect on its way, the next one goes.
    pub(super) fn suspect_ended(&mut self, key: DeliveryKey) {
        if self.suspects.running == Some(key) {
            self.suspects.running = None;
            self.next_suspect();
        }
    }
}
