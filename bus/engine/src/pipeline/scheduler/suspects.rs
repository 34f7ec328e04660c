//! Deliveries that were running when a process died. They run one at a time, at the same time as everything
//! else and with no precedence.
//!
//! Because only one of them runs at a time, the one that kills the process is found: it is claimed again when
//! the process dies, and the others are not (`recover` counts). Those that were interrupted once go before
//! those that were interrupted again. A start reads them first of all, from the rows of what was claimed and
//! did not end.

use std::collections::{HashSet, VecDeque};

use super::backlog::Request;
use super::queue::{Interrupted, Job, QueueId};
use super::state::{Action, State};
use edgebus_model::{DeliveryKey, Timestamp};

/// Suspects that wait for their turn; a process has far fewer attempts at a time. Others run as any delivery.
const SUSPECTS_MAX: usize = 4_096;

/// What is read at once of those that the last process left, in bytes of events.
const READ_BYTES_MAX: usize = 4 << 20;
/// Suspects that wait while more are read, and what their events may weigh in bytes.
const READ_WHILE: usize = 1_024;
const READ_WHILE_BYTES: usize = 16 << 20;

/// Deliveries that run one at a time.
pub(super) struct Suspects {
    waiting: VecDeque<Job>,
    running: Option<DeliveryKey>,
    /// Up to where the store was read for what the last process left; `None` when there is no more.
    unread: Option<Option<DeliveryKey>>,
    /// True while a part of it is being read.
    reading: bool,
    /// When to read after a reading that failed.
    rests_until: Timestamp,
}

impl Default for Suspects {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            running: None,
            unread: Some(None),
            reading: false,
            rests_until: Timestamp(0),
        }
    }
}

impl State {
    /// Asks for what the last process left, a part at a time.
    pub(super) fn feed_suspects(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let suspects = &mut self.suspects;
        let Some(after) = suspects.unread.filter(|_| !suspects.reading) else {
            return;
        };
        let bytes: usize = suspects.waiting.iter().map(|job| job.weight).sum();
        if suspects.waiting.len() < READ_WHILE
            && bytes < READ_WHILE_BYTES
            && suspects.rests_until <= now
        {
            suspects.reading = true;
            actions.push(Action::Read(Request::Interrupted {
                after,
                bytes_max: READ_BYTES_MAX,
            }));
        }
    }

    /// Takes a part of what the last process left.
    pub(super) fn take_interrupted(&mut self, jobs: Vec<Job>, next: Option<DeliveryKey>) {
        self.suspects.reading = false;
        self.suspects.unread = next.map(Some);
        for job in jobs {
            self.admit(job, false);
        }
    }

    /// The part could not be read; when to try again.
    pub(super) fn interrupted_failed(&mut self, again: Timestamp) {
        self.suspects.reading = false;
        self.suspects.rests_until = again;
    }

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
            let queue = self.queues.get(&QueueId::of(job.key));
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
        let Some(queue) = self.queues.get_mut(&QueueId::of(key)) else {
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

    /// Lets go of those that wait and were ended by somebody else.
    pub(super) fn drop_suspects(&mut self, gone: &HashSet<DeliveryKey>) {
        let waiting = &mut self.suspects.waiting;
        waiting.retain(|job| !gone.contains(&job.key));
    }

    /// A delivery ended; if it was the suspect on its way, the next one goes.
    pub(super) fn suspect_ended(&mut self, key: DeliveryKey) {
        #[cfg(test)]
        if crate::pipeline::injected::is(crate::pipeline::injected::Bug::SuspectStuck) {
            return;
        }
        if self.suspects.running == Some(key) {
            self.suspects.running = None;
            self.next_suspect();
        }
    }
}
