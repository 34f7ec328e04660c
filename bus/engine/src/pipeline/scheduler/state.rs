//! The scheduler's decisions as plain data: messages in, actions out. One loop owns it, so there is no
//! lock, and nothing here waits, reads the store or runs a function.
//!
//! A function stands in the ring as long as it has deliveries in memory and its own limits allow another
//! attempt; one that lacks places or memory is parked until some are given back. A queue stands in one of its
//! function's rings as long as it has deliveries in memory. So the next attempt is found in constant time, and a
//! commit costs nothing for queues that it doesn't touch.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Instant;

use super::backlog::Request;
use super::budget::{Budget, Limits, Short};
use super::due::Due;
use super::function::FunctionQueue;
use super::queue::{Interrupted, Job, Queue, QueueId};
use super::situation::Situation;
use super::suspects::Suspects;
#[cfg(test)]
use crate::pipeline::injected::{self, Bug};
use crate::pipeline::target;
use edgebus_model::{BusId, DeliveryKey, Position, SubscriptionId, Target, Timestamp};
use edgebus_store::{Appended, NewEvent};

/// Bytes of events that wait in memory, all subscriptions together. A queue may hold as many as are left
/// free, so that room is left for whoever comes next.
pub(super) const READY_BYTES_MAX: usize = 64 << 20;
/// The same, with the single events of queues that would have none otherwise.
const READY_BYTES_HARD_MAX: usize = 80 << 20;
/// Deliveries that the weight of one event is shared by.
const SHARES_MAX: usize = 4;
/// A subscription's replayed deliveries have this share of the memory that its live ones may have.
const REPLAYED_SHARE: usize = 4;
/// Parked functions that are tried again when an attempt gives back what it had.
const UNPARKED_MAX: usize = 4;

/// What an attempt holds until its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pipeline) struct Held {
    /// Counts attempts from 0.
    pub(in crate::pipeline) number: u64,
    /// The function's number.
    pub(in crate::pipeline) function: usize,
    /// Leased memory, in bytes.
    pub(in crate::pipeline) memory_bytes: u64,
    /// True if it has the function's turn.
    pub(in crate::pipeline) turn: bool,
}

/// What is to be done.
pub(super) enum Action {
    /// Begin an attempt.
    Start(Box<Job>, Held),
    /// Read deliveries from the store.
    Read(Request),
}

/// Why nothing is attempted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Pause {
    /// The bus starts, and what is to be active is not yet.
    Start = 1,
    /// The disk is full.
    Space = 2,
}

/// All that the scheduler knows.
pub(super) struct State {
    pub(super) queues: HashMap<QueueId, Queue>,
    pub(super) functions: Vec<FunctionQueue>,
    numbers: HashMap<Target, usize>,
    /// Functions that may begin an attempt, in turn.
    ring: VecDeque<usize>,
    /// Functions that lack places or memory.
    parked: VecDeque<usize>,
    /// Queues that wait for a page.
    pub(super) hungry: VecDeque<QueueId>,
    pub(super) budget: Budget,
    pub(super) ready: usize,
    pub(super) ready_bytes: usize,
    /// Bytes that pages on their way may bring.
    pub(super) reserved_bytes: usize,
    pub(super) fills: usize,
    /// Deliveries that are in memory out of the order of their positions: retries, conflicts, suspects.
    pub(super) held: HashSet<DeliveryKey>,
    pub(super) due: Due,
    pub(super) suspects: Suspects,
    /// Deliveries of one subscription that wait in memory.
    pub(super) ready_max: usize,
    begun: u64,
    paused: u8,
    pub(super) stopping: bool,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            queues: HashMap::new(),
            functions: Vec::new(),
            numbers: HashMap::new(),
            ring: VecDeque::new(),
            parked: VecDeque::new(),
            hungry: VecDeque::new(),
            budget: Budget::new(limits),
            ready_max: limits.ready_max.max(1),
            ready: 0,
            ready_bytes: 0,
            reserved_bytes: 0,
            fills: 0,
            held: HashSet::new(),
            due: Due::default(),
            suspects: Suspects::default(),
            begun: 0,
            paused: 0,
            stopping: false,
        }
    }

    /// Makes the queues of a subscription, if there are none; those that are there go to `target` from now on.
    /// One that is `behind` begins in the store.
    pub(super) fn subscribe(&mut self, id: SubscriptionId, target: &Target, behind: bool) {
        let function = match self.numbers.get(target) {
            Some(number) => *number,
            None => {
                let number = self.functions.len();
                self.functions.push(FunctionQueue::new(target.clone()));
                self.numbers.insert(target.clone(), number);
                number
            }
        };
        let [live, replays] = QueueId::both(id);
        if self.queues.contains_key(&live) {
            self.retarget(live, function);
            self.retarget(replays, function);
            return;
        }
        let queue = |behind| Queue::new(function, Position(0), behind);
        self.queues.insert(live, queue(behind));
        self.queues.insert(replays, queue(false));
        if behind {
            // Due times that were read while it had no queue are behind the cursor.
            self.look_again(id);
        }
        self.want(live);
    }

    /// Lets a queue go to another function. Attempts that run end where they began.
    fn retarget(&mut self, id: QueueId, number: usize) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        let last = std::mem::replace(&mut queue.function, number);
        if last == number || !queue.queued {
            return;
        }
        self.functions[last].drop_out(id);
        self.functions[number].line_up(id);
        self.enlist(number);
    }

    /// Lets go of queues that have nothing and wait for nothing; a retired subscription's never have.
    pub(super) fn unsubscribe(&mut self, id: SubscriptionId) {
        let idle = |queue: &Queue| queue.held() == 0 && !queue.filling && !queue.hungry;
        let both = QueueId::both(id);
        if both.iter().all(|id| self.queues.get(id).is_none_or(idle)) {
            for id in both {
                self.queues.remove(&id);
            }
        }
    }

    /// Takes over the limits that targets have now.
    pub(super) fn limit(&mut self, limits: impl Fn(&Target) -> target::Limits) {
        for number in 0..self.functions.len() {
            let function = &mut self.functions[number];
            function.limits = limits(&function.target);
            self.enlist(number);
        }
        let mut waiting: Vec<_> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.lags())
            .map(|(id, _)| *id)
            .collect();
        // In an order that does not depend on the map's.
        waiting.sort_unstable();
        for id in waiting {
            self.want(id);
        }
        self.recall_suspect();
        self.next_suspect();
    }

    /// Starts or ends a pause.
    pub(super) fn pause(&mut self, why: Pause, paused: bool) {
        if paused {
            self.paused |= why as u8;
        } else {
            self.paused &= !(why as u8);
        }
    }

    /// Deliveries of one queue that may wait in memory.
    pub(super) fn ready_max_of(&self, id: QueueId) -> usize {
        if id.replayed {
            (self.ready_max / REPLAYED_SHARE).max(1)
        } else {
            self.ready_max
        }
    }

    /// True if `weight` more bytes of a queue may come into memory.
    pub(super) fn room(&self, id: QueueId, queue: &Queue, weight: usize) -> bool {
        let taken = self.ready_bytes + self.reserved_bytes;
        let free = READY_BYTES_MAX.saturating_sub(taken);
        queue.held() < self.ready_max_of(id)
            && (queue.bytes + weight <= free || (queue.held() == 0 && taken < READY_BYTES_HARD_MAX))
    }

    /// Takes a stored event to its subscriptions' queues, or leaves it to the store.
    pub(super) fn accept(&mut self, bus: BusId, new: &NewEvent, place: Appended, now: Timestamp) {
        if place.duplicate {
            return;
        }
        // Deliveries of one event share it. The last one keeps it whole, so no share is below a quarter.
        let share = new.event.size() / new.subscriptions.len().clamp(1, SHARES_MAX);
        let weight = share.max(size_of::<Job>());
        for subscription in &new.subscriptions {
            let id = QueueId::live(*subscription);
            let Some(queue) = self.queues.get(&id) else {
                continue;
            };
            // What can't run now waits in the store, not in the memory of what can.
            let available = self.functions[queue.function].limits.available;
            let room = self.room(id, queue, weight);
            let Some(queue) = self.queues.get_mut(&id) else {
                continue;
            };
            if queue.behind || !room || !available {
                queue.behind = true;
                queue.passed_over = true;
                self.want(id);
                continue;
            }
            if place.position <= queue.cursor {
                continue;
            }
            queue.cursor = place.position;
            #[cfg(test)]
            if injected::every(3, Bug::DuplicateJob) {
                queue.cursor = Position(place.position.0 - 1);
                queue.behind = true;
            }
            let job = Job {
                key: DeliveryKey {
                    subscription: *subscription,
                    replay: 0,
                    position: place.position,
                },
                bus,
                fence: 0,
                attempts_made: 0,
                host_failures: 0,
                accepted_at: now,
                ingested_at: now,
                age_from: now,
                event: new.event.clone(),
                lineage: new.lineage,
                conflicts: 0,
                interrupted: Interrupted::No,
                weight,
            };
            self.push(job, false);
        }
    }

    /// Deliveries were ended without an attempt: those that wait in memory go. What runs finds out by itself.
    pub(super) fn let_go(&mut self, keys: &[DeliveryKey]) {
        let gone: HashSet<DeliveryKey> = keys.iter().copied().collect();
        let queues: BTreeSet<QueueId> = keys.iter().map(|key| QueueId::of(*key)).collect();
        self.drop_suspects(&gone);
        for id in queues {
            let Some(queue) = self.queues.get_mut(&id) else {
                continue;
            };
            let before = queue.ready.len();
            let (mut bytes, mut dropped) = (0, Vec::new());
            queue.ready.retain(|job| {
                let goes = gone.contains(&job.key);
                if goes {
                    bytes += job.weight;
                    dropped.push(job.key);
                }
                !goes
            });
            queue.bytes = queue.bytes.saturating_sub(bytes);
            self.ready -= before - queue.ready.len();
            self.ready_bytes = self.ready_bytes.saturating_sub(bytes);
            if queue.queued && queue.ready.is_empty() {
                queue.queued = false;
                self.functions[queue.function].drop_out(id);
            }
            for key in dropped {
                self.suspect_ended(key);
            }
            self.want(id);
        }
        for key in keys {
            // One that runs is forgotten with its settlement, which is stale.
            self.held.remove(key);
        }
    }

    /// Puts a delivery into its queue.
    pub(super) fn push(&mut self, job: Job, front: bool) {
        let id = QueueId::of(job.key);
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        self.ready += 1;
        self.ready_bytes += job.weight;
        queue.bytes += job.weight;
        if front {
            queue.ready.push_front(job);
        } else {
            queue.ready.push_back(job);
        }
        if !queue.queued {
            queue.queued = true;
            let function = queue.function;
            self.functions[function].line_up(id);
            self.enlist(function);
        }
    }

    /// Lets a function stand in the ring if its own limits allow it an attempt.
    pub(super) fn enlist(&mut self, number: usize) {
        if self.own_hindrance(number).is_none() {
            let function = &mut self.functions[number];
            if !function.queued && !function.parked {
                function.queued = true;
                self.ring.push_back(number);
            }
        }
    }

    /// Why a function's own limits allow it no attempt now; `None` if they do.
    fn own_hindrance(&self, number: usize) -> Option<Situation> {
        let function = &self.functions[number];
        if function.is_idle() {
            Some(Situation::Empty)
        } else if !function.limits.available {
            Some(Situation::Unavailable)
        } else if !function.has_room() {
            Some(Situation::BlockedOnFunction)
        } else if function.one_by_one() && function.turn_taken {
            Some(Situation::BlockedOnTurn)
        } else {
            None
        }
    }

    /// What a function lacks that all share.
    fn short(&self, number: usize, now: Instant) -> Option<Short> {
        let function = &self.functions[number];
        self.budget.short(
            function.pace(now),
            function.running(),
            function.limits.memory_bytes_max,
        )
    }

    /// Begins as many attempts as may begin now.
    pub(super) fn start(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.stopping || self.paused != 0 {
            return;
        }
        while self.budget.has_processor() {
            let Some(number) = self.ring.front().copied() else {
                return;
            };
            if self.own_hindrance(number).is_some() {
                self.ring.pop_front();
                self.functions[number].queued = false;
                self.functions[number].end_turn();
            } else if self.short(number, now).is_some() {
                self.ring.pop_front();
                self.functions[number].queued = false;
                self.functions[number].parked = true;
                self.parked.push_back(number);
            } else if !self.functions[number].begin_turn() {
                self.ring.rotate_left(1);
            } else if let Some(job) = self.take(number) {
                actions.push(self.begin(number, job, now));
                if !self.functions[number].charge() {
                    self.ring.rotate_left(1);
                }
            }
        }
    }

    fn begin(&mut self, number: usize, job: Job, now: Instant) -> Action {
        let attempt = self.begun;
        self.begun += 1;
        let function = &mut self.functions[number];
        let turn = function.begin(attempt, job.key.replay > 0, now);
        let memory_bytes = function.limits.memory_bytes_max;
        self.budget.take(memory_bytes);
        let held = Held {
            number: attempt,
            function: number,
            memory_bytes,
            turn,
        };
        Action::Start(Box::new(job), held)
    }

    /// Takes the next delivery of a function.
    fn take(&mut self, number: usize) -> Option<Job> {
        let id = self.functions[number].next_queue()?;
        let queue = self.queues.get_mut(&id)?;
        let job = queue.ready.pop_front();
        if let Some(job) = &job {
            queue.bytes = queue.bytes.saturating_sub(job.weight);
            self.ready -= 1;
            self.ready_bytes = self.ready_bytes.saturating_sub(job.weight);
            #[cfg(test)]
            if injected::every(7, Bug::CounterWrong) {
                self.ready += 1;
            }
        }
        queue.queued = !queue.ready.is_empty();
        self.functions[number].took(id, queue.queued);
        self.want(id);
        job
    }

    /// An attempt gave up its thread before its end.
    pub(super) fn left_processor(&mut self) {
        self.budget.leave_processor();
    }

    /// An attempt is over. `unsettled` names its delivery if no settlement of it is on its way.
    pub(super) fn ended(
        &mut self,
        held: Held,
        now: Instant,
        cost_us: u64,
        unsettled: Option<DeliveryKey>,
    ) {
        self.budget.give_back(held.memory_bytes);
        self.functions[held.function].end(held.number, now, cost_us);
        #[cfg(test)]
        if injected::is(Bug::TurnEarly) {
            self.give_turn_back(held);
        }
        if let Some(key) = unsettled {
            self.forget(key, held);
        }
        self.unpark(held.function);
    }

    /// An attempt could not begin: its delivery goes back to the head of its queue.
    pub(super) fn returned(&mut self, job: Job, held: Held) {
        self.give_turn_back(held);
        self.push(job, true);
    }

    /// A delivery is no longer in memory: settled, or another attempt's.
    pub(super) fn forget(&mut self, key: DeliveryKey, held: Held) {
        self.held.remove(&key);
        self.give_turn_back(held);
        self.suspect_ended(key);
    }

    /// The settlement of an attempt is durable or refused.
    pub(super) fn give_turn_back(&mut self, held: Held) {
        #[cfg(test)]
        if injected::every(3, Bug::TurnKept) {
            return;
        }
        if held.turn {
            self.functions[held.function].give_turn_back();
            self.enlist(held.function);
        }
    }

    /// Something was given back: the function that gave it and some that wait may try again.
    fn unpark(&mut self, own: usize) {
        if self.functions[own].parked {
            self.functions[own].parked = false;
            self.parked.retain(|number| *number != own);
        }
        // Those that wait come before the one that had something.
        let tried = if self.budget.in_flight() == 0 {
            self.parked.len()
        } else {
            UNPARKED_MAX
        };
        for _ in 0..tried {
            let Some(number) = self.parked.pop_front() else {
                break;
            };
            self.functions[number].parked = false;
            self.enlist(number);
        }
        self.enlist(own);
    }

    /// Why a subscription's deliveries run or don't; the replayed ones count where no live one waits.
    pub(super) fn situation(&self, id: SubscriptionId, now: Instant) -> Situation {
        let [live, replays] = QueueId::both(id);
        match self.situation_of(live, now) {
            Situation::Empty => self.situation_of(replays, now),
            situation => situation,
        }
    }

    fn situation_of(&self, id: QueueId, now: Instant) -> Situation {
        let Some(queue) = self.queues.get(&id) else {
            return Situation::Empty;
        };
        if queue.ready.is_empty() && !queue.lags() && queue.loading == 0 {
            return Situation::Empty;
        }
        if self.stopping || self.paused != 0 {
            return Situation::Paused;
        }
        if !self.functions[queue.function].limits.available {
            return Situation::Unavailable;
        }
        if queue.ready.is_empty() {
            return Situation::Filling;
        }
        match self.own_hindrance(queue.function) {
            // Replays hold all the places that they may have.
            Some(Situation::Empty) => Situation::BlockedOnFunction,
            Some(hindrance) => hindrance,
            None => match self.short(queue.function, now) {
                None => Situation::Ready,
                Some(Short::Workers) => Situation::BlockedOnWorkers,
                Some(Short::Memory) => Situation::BlockedOnMemory,
            },
        }
    }
}
