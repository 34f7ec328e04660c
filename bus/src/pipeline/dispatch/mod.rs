//! Who runs next: bounded ready queues, one for each subscription, and the lanes that empty them.
//!
//! What doesn't fit into a queue stays in the store and is read back in pages, so a backlog of millions
//! costs no memory. Lanes take turns between subscriptions and stay with one for a short run, because a
//! pool slot that keeps its image is faster. Never here: running a guest, deciding retries.
//!
//! One lock holds all of it, a plain mutex: every section under it is a few map operations, nothing in
//! it awaits or calls the store, and no other lock is taken under it.

mod contention;
mod queues;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::model::{
    BusId, Delivery, DeliveryKey, Event, Lineage, Name, Position, SubscriptionId, Timestamp,
};
use crate::store::StoredEvent;

use super::Pipeline;
use super::snapshot::Deployed;
use super::writer::Committed;
use contention::Contention;
use queues::{Queue, READY_PER_SUBSCRIPTION_MAX, State};

type Functions = std::collections::BTreeMap<Name, Arc<Deployed>>;

/// Below this a queue that lags behind its log is filled again.
const READY_LOW: usize = 256;
/// Attempts at the same time, all functions together.
pub(super) const LANES_MAX: usize = 256;
/// The same, with the lanes for functions of which nothing runs.
const LANES_HARD_MAX: usize = 512;
/// Queues that are filled from the store at the same time.
const FILLS_MAX: usize = 4;

/// A delivery in memory, with its event.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) key: DeliveryKey,
    pub(super) bus: BusId,
    pub(super) fence: u32,
    pub(super) attempts_made: u32,
    pub(super) accepted_at: Timestamp,
    pub(super) event: Arc<Event>,
    pub(super) lineage: Lineage,
    /// Times that this attempt had to be run again because state had changed under it.
    pub(super) conflicts: u8,
}

impl Job {
    pub(super) fn of(delivery: &Delivery, bus: BusId, stored: &StoredEvent) -> Self {
        Self {
            key: delivery.key,
            bus,
            fence: delivery.fence,
            attempts_made: delivery.attempts_made,
            accepted_at: delivery.accepted_at,
            event: stored.event.clone(),
            lineage: stored.lineage,
            conflicts: 0,
        }
    }
}

/// What a settlement on its way to the writer leaves behind for its return.
pub(super) struct SettleTicket {
    pub(super) job: Job,
    /// Held until the settlement is durable, where attempts of a function run one by one.
    pub(super) _turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

/// The ready queues and lanes.
pub(super) struct Dispatcher {
    state: Mutex<State>,
    /// Set once, right after the pipeline is made; the two know each other.
    pipeline: OnceLock<std::sync::Weak<Pipeline>>,
    idle: tokio::sync::Notify,
    filling: Arc<tokio::sync::Semaphore>,
}

impl Dispatcher {
    /// An empty dispatcher.
    #[must_use]
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::default()),
            pipeline: OnceLock::new(),
            idle: tokio::sync::Notify::new(),
            filling: Arc::new(tokio::sync::Semaphore::new(FILLS_MAX)),
        })
    }

    pub(super) fn connect(&self, pipeline: &Arc<Pipeline>) {
        let _ = self.pipeline.set(Arc::downgrade(pipeline));
    }

    fn pipeline(&self) -> Option<Arc<Pipeline>> {
        self.pipeline.get().and_then(std::sync::Weak::upgrade)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves queues that are still true to the store: go on with them.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes a queue for each subscription of the snapshot that has none; `owing` ones begin in the
    /// store, after `cursor`.
    pub(super) fn add_queue(
        &self,
        id: SubscriptionId,
        function: &Name,
        cursor: Position,
        owing: bool,
    ) {
        self.state().queues.entry(id).or_insert_with(|| Queue {
            function: function.clone(),
            ready: VecDeque::new(),
            cursor,
            behind: owing,
            passed_over: false,
            filling: false,
            queued: false,
        });
    }

    /// Starts the reading of every queue that lags and has nothing to do.
    pub(super) fn fill_lagging(&self) {
        let lagging = self.state().lagging();
        for id in lagging {
            self.fill(id);
        }
    }

    /// Holds back or lets go the lanes.
    pub(super) fn pause(&self, paused: bool) {
        self.state().paused = paused;
        if !paused {
            self.start_lanes();
        }
    }

    /// Takes note of a commit, in its order: new deliveries into the queues, settlements out of memory.
    pub(super) fn committed(&self, committed: Vec<Committed>) {
        let Some(pipeline) = self.pipeline() else {
            return;
        };
        let lagging = {
            let mut state = self.state();
            for step in &committed {
                state.note(step);
            }
            state.lagging()
        };
        for id in lagging {
            self.fill(id);
        }
        for step in committed {
            match step {
                Committed::Appended(append, places) => pipeline.tell_accepted(&append, &places),
                Committed::Settled(Some(ticket), settle, outcome) => {
                    pipeline.settled(*ticket, *settle, outcome);
                }
                Committed::Settled(None, ..) => {}
            }
        }
        self.start_lanes();
    }

    /// Puts a job at the head of its queue, to be run again at once after a conflict over state.
    pub(super) fn again(&self, job: Job, function: &Name) {
        self.contention(function).note_conflict();
        let id = job.key.subscription;
        let mut state = self.state();
        state.held.insert(job.key);
        state.push(id, job, true);
        drop(state);
        self.start_lanes();
    }

    /// How attempts of `function` get along.
    pub(super) fn contention(&self, function: &Name) -> Arc<Contention> {
        self.state()
            .contention
            .entry(function.clone())
            .or_default()
            .clone()
    }

    /// True if a due retry of this key may come into memory now; `None` if it is there already.
    pub(super) fn room_for(&self, key: DeliveryKey) -> Option<bool> {
        let state = self.state();
        (!state.held.contains(&key)).then(|| state.room(key.subscription))
    }

    /// Gives a due retry to its queue.
    pub(super) fn take_due(&self, job: Job) {
        let mut state = self.state();
        if state.held.insert(job.key) {
            state.push(job.key.subscription, job, false);
        }
    }

    /// True if a retried delivery is in memory already.
    pub(super) fn held(&self, key: DeliveryKey) -> bool {
        self.state().held.contains(&key)
    }

    /// How many retried deliveries are in memory.
    pub(super) fn held_count(&self) -> usize {
        self.state().held.len()
    }

    /// Marks a delivery as in memory, outside the queues.
    pub(super) fn hold(&self, key: DeliveryKey) {
        self.state().held.insert(key);
    }

    /// The opposite of [`Dispatcher::hold`].
    pub(super) fn release(&self, key: DeliveryKey) {
        self.state().held.remove(&key);
    }

    /// Deliveries of a subscription that wait in memory.
    pub(super) fn in_memory(&self, id: SubscriptionId) -> usize {
        self.state()
            .queues
            .get(&id)
            .map_or(0, |queue| queue.ready.len())
    }

    /// Deliveries that wait in memory.
    pub(super) fn ready_count(&self) -> usize {
        self.state().ready
    }

    /// Takes the next job for a lane; `None` ends the lane.
    pub(super) fn take(&self, last: &mut (Option<SubscriptionId>, u32)) -> Option<Job> {
        let snapshot = self.pipeline()?.snapshot();
        let mut fill = None;
        let job = {
            let mut state = self.state();
            let job = if state.stopping {
                None
            } else {
                state.next(last, &snapshot.functions)
            };
            match &job {
                None => {
                    state.lanes -= 1;
                    if state.lanes == 0 {
                        self.idle.notify_waiters();
                    }
                }
                Some(job) => {
                    let id = job.key.subscription;
                    if let Some(queue) = state.queues.get_mut(&id)
                        && queue.behind
                        && !queue.filling
                        && queue.ready.len() < READY_LOW
                    {
                        queue.filling = true;
                        fill = Some(id);
                    }
                }
            }
            job
        };
        if let Some(id) = fill {
            self.fill(id);
        }
        job
    }

    /// An attempt ended: its function has room for another.
    pub(super) fn finished(&self, id: SubscriptionId) {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(queue) = state.queues.get(&id)
            && let Some(running) = state.running.get_mut(&queue.function)
        {
            *running = running.saturating_sub(1);
        }
    }

    /// Starts as many lanes as there is work for.
    pub(super) fn start_lanes(&self) {
        let Some(pipeline) = self.pipeline() else {
            return;
        };
        let snapshot = pipeline.snapshot();
        let wanted = {
            let mut state = self.state();
            if state.stopping || state.paused {
                return;
            }
            let (runnable, idle) = state.runnable(&snapshot.functions);
            let mut wanted = runnable.min(LANES_MAX.saturating_sub(state.lanes));
            // Functions that hold all lanes don't keep out one of which nothing runs.
            if wanted == 0 && idle && state.lanes < LANES_HARD_MAX {
                wanted = 1;
            }
            state.lanes += wanted;
            wanted
        };
        for _ in 0..wanted {
            let pipeline = pipeline.clone();
            pipeline
                .tasks()
                .clone()
                .spawn(super::invoke::lane(pipeline));
        }
    }

    /// Starts no further attempt.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
    }

    /// Returns when no attempt runs.
    pub(super) async fn drain(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.state().lanes == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Reads the next page of a lagging queue from the store, on a blocking worker.
    fn fill(&self, id: SubscriptionId) {
        let Some(pipeline) = self.pipeline() else {
            return;
        };
        let (tasks, places) = (pipeline.tasks().clone(), self.filling.clone());
        tasks.clone().spawn(async move {
            // The semaphore is never closed; a page is bounded in bytes, and so are the pages at once.
            let Ok(_place) = places.acquire_owned().await else {
                return;
            };
            let read = move || pipeline.dispatcher().fill_now(&pipeline, id);
            let _ = tasks.spawn_blocking(read).await;
        });
    }

    fn fill_now(&self, pipeline: &Pipeline, id: SubscriptionId) {
        let (cursor, wanted) = {
            let mut state = self.state();
            let Some(queue) = state.queues.get_mut(&id) else {
                return;
            };
            queue.passed_over = false;
            (
                queue.cursor,
                READY_PER_SUBSCRIPTION_MAX
                    .saturating_sub(queue.ready.len())
                    .max(1),
            )
        };
        let page = pipeline.read_owed(id, cursor, wanted);
        let mut state = self.state();
        let mut full = false;
        // A store that can't be read ends the process: there is nothing to try again.
        let readable = page.is_some();
        if let Some((jobs, last, whole)) = page {
            for job in jobs {
                if !state.room(id)
                    && state
                        .queues
                        .get(&id)
                        .is_some_and(|queue| !queue.ready.is_empty())
                {
                    full = true;
                    break;
                }
                let position = job.key.position;
                state.push(id, job, false);
                if let Some(queue) = state.queues.get_mut(&id) {
                    queue.cursor = queue.cursor.max(position);
                }
            }
            if let Some(queue) = state.queues.get_mut(&id) {
                if !full {
                    queue.cursor = queue.cursor.max(last);
                }
                queue.behind = full || !whole || queue.passed_over;
            }
        }
        let mut once_more = false;
        if let Some(queue) = state.queues.get_mut(&id) {
            queue.filling = false;
            // A page of rows that all wait for a retry brings nothing into the queue: read on.
            if readable && queue.behind && queue.ready.is_empty() {
                queue.filling = true;
                once_more = true;
            }
        }
        drop(state);
        self.start_lanes();
        if once_more {
            self.fill(id);
        }
    }
}
