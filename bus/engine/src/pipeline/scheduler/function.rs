//! What the scheduler knows of one function, or of another target: its limits, what of it runs, and its
//! subscriptions that have work.
//!
//! Never here: other functions, or what kind of target it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::budget::{Pace, SLOW};
use super::queue::QueueId;
use crate::pipeline::target::Limits;
use edgebus_model::Target;

/// Attempts that one queue begins before the next one of its function.
const RUN_LENGTH: u32 = 16;
/// Attempts that run one by one after a conflict over state.
const CONTENDED_ATTEMPTS: u32 = 64;
/// Attempts at live deliveries before one at a replayed delivery, where both wait.
const LIVE_RUN: u32 = 4;
/// Of so many places that a function has, one is never taken by a replay.
const PLACES_FOR_REPLAYS_OF: u32 = 4;
/// A running attempt of this age makes its function a slow one before it has ended.
const HANGING: Duration = Duration::from_millis(250);
/// Processor time that a function gets before the next one's turn: with the costs below this is deficit
/// round robin (Shreedhar and Varghese, 1995). A run of one function is cheaper than a change, because a
/// slot of the pool keeps its image.
const TURN_US: i64 = 2_000;
/// The least that an attempt is charged with.
const COST_US_MIN: i64 = 20;
/// The most: a function that computes for longer skips so many turns and no more.
const COST_US_MAX: i64 = 50 * TURN_US;

/// One function.
pub(super) struct FunctionQueue {
    pub(super) target: Target,
    pub(super) limits: Limits,
    /// Queues of live deliveries in memory, in turn.
    ring: VecDeque<QueueId>,
    /// Queues of replayed deliveries in memory, in turn.
    replays: VecDeque<QueueId>,
    /// Attempts at live deliveries since the last one at a replayed delivery.
    live_run: u32,
    /// True while the function stands in the ring of all functions.
    pub(super) queued: bool,
    /// True while it waits for places or memory that others hold.
    pub(super) parked: bool,
    /// Attempts that the first queue of the ring may begin before the next one's turn.
    run_left: u32,
    /// What runs: the number of each attempt, and when it began.
    running: BTreeMap<u64, Instant>,
    /// The numbers of those that are at replayed deliveries.
    replaying: BTreeSet<u64>,
    /// True while an attempt has the turn, where attempts are made one by one.
    pub(super) turn_taken: bool,
    /// Attempts that still run one by one after a conflict.
    contended: u32,
    /// What is left of its turn, in microseconds.
    deficit_us: i64,
    /// What an attempt costs in processor time, in microseconds; a moving average.
    cost_us: i64,
    /// How long an attempt takes; a moving average. `None` before the first has ended.
    takes: Option<Duration>,
}

impl FunctionQueue {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            limits: Limits::UNKNOWN,
            ring: VecDeque::new(),
            replays: VecDeque::new(),
            live_run: 0,
            queued: false,
            parked: false,
            run_left: 0,
            running: BTreeMap::new(),
            replaying: BTreeSet::new(),
            turn_taken: false,
            contended: 0,
            deficit_us: 0,
            cost_us: COST_US_MIN,
            takes: None,
        }
    }

    /// True if its attempts are made one by one, each after the settlement of the one before.
    pub(super) fn one_by_one(&self) -> bool {
        self.contended > 0 || self.limits.concurrency_max == 1
    }

    /// Attempts that run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// True if its own limits allow another attempt.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < self.limits.concurrency_max as usize
    }

    /// True if they allow another attempt at a replayed delivery: a function with several places always has one
    /// for what is live.
    fn has_room_for_replay(&self) -> bool {
        let places = self.limits.concurrency_max;
        let kept = places
            .div_ceil(PLACES_FOR_REPLAYS_OF)
            .min(places.saturating_sub(1));
        self.replaying.len() < (places - kept) as usize
    }

    /// The ring that a queue stands in.
    fn ring_of(&mut self, id: QueueId) -> &mut VecDeque<QueueId> {
        if id.replayed {
            &mut self.replays
        } else {
            &mut self.ring
        }
    }

    /// Lets a queue with deliveries in memory stand in its ring, at the end.
    pub(super) fn line_up(&mut self, id: QueueId) {
        self.ring_of(id).push_back(id);
    }

    /// Takes a queue out of its ring.
    pub(super) fn drop_out(&mut self, id: QueueId) {
        if self.ring.front() == Some(&id) {
            self.run_left = 0;
        }
        self.ring_of(id).retain(|own| *own != id);
    }

    /// True if no queue has a delivery whose attempt could begin.
    pub(super) fn is_idle(&self) -> bool {
        self.ring.is_empty() && (self.replays.is_empty() || !self.has_room_for_replay())
    }

    /// The queue whose turn it is. Live deliveries go first, but each fifth attempt is a replay's.
    pub(super) fn next_queue(&self) -> Option<QueueId> {
        let live = self.ring.front();
        let replay = self.replays.front().filter(|_| self.has_room_for_replay());
        let first = if self.live_run < LIVE_RUN {
            live.or(replay)
        } else {
            replay.or(live)
        };
        first.copied()
    }

    /// A delivery of the queue whose turn it was is taken; `left` if the queue has more.
    pub(super) fn took(&mut self, id: QueueId, left: bool) {
        if id.replayed {
            self.live_run = 0;
            self.replays.pop_front();
            if left {
                self.replays.push_back(id);
            }
            return;
        }
        self.live_run = self.live_run.saturating_add(1);
        if self.run_left == 0 {
            self.run_left = RUN_LENGTH;
        }
        self.run_left -= 1;
        if !left {
            self.ring.pop_front();
            self.run_left = 0;
        } else if self.run_left == 0 {
            self.ring.rotate_left(1);
        }
    }

    /// How long it holds what it is given.
    pub(super) fn pace(&self, now: Instant) -> Pace {
        let oldest = self.running.first_key_value().map(|(_, began)| *began);
        if oldest.is_some_and(|began| now.saturating_duration_since(began) > HANGING) {
            return Pace::Slow;
        }
        match self.takes {
            None => Pace::Unknown,
            Some(takes) if takes <= SLOW => Pace::Quick,
            Some(_) => Pace::Slow,
        }
    }

    /// Charges one attempt to its turn; false if the turn is used up and the next function's comes first.
    pub(super) fn charge(&mut self) -> bool {
        self.deficit_us -= self.cost_us;
        self.deficit_us > 0
    }

    /// Its turn begins; true if it may begin an attempt in it.
    pub(super) fn begin_turn(&mut self) -> bool {
        if self.deficit_us <= 0 {
            self.deficit_us += TURN_US;
        }
        self.deficit_us > 0
    }

    /// It has nothing to do: what was left of its turn is gone.
    pub(super) fn end_turn(&mut self) {
        self.deficit_us = 0;
    }

    /// An attempt begins; takes the turn where attempts are made one by one, and says so.
    pub(super) fn begin(&mut self, number: u64, replayed: bool, now: Instant) -> bool {
        self.running.insert(number, now);
        if replayed {
            self.replaying.insert(number);
        }
        let one_by_one = self.one_by_one();
        self.turn_taken |= one_by_one;
        one_by_one
    }

    /// An attempt is over.
    pub(super) fn end(&mut self, number: u64, now: Instant, cost_us: u64) {
        let Some(began) = self.running.remove(&number) else {
            return;
        };
        self.replaying.remove(&number);
        let took = now.saturating_duration_since(began);
        self.takes = Some(self.takes.map_or(took, |takes| (takes * 7 + took) / 8));
        let cost = i64::try_from(cost_us).unwrap_or(COST_US_MAX);
        self.cost_us = (self.cost_us * 7 + cost.clamp(COST_US_MIN, COST_US_MAX)) / 8;
    }

    /// The turn is free again: the settlement of the attempt that had it is durable.
    pub(super) fn give_turn_back(&mut self) {
        self.turn_taken = false;
        self.contended = self.contended.saturating_sub(1);
    }

    /// Attempts of it got in each other's way.
    pub(super) fn note_conflict(&mut self) {
        self.contended = CONTENDED_ATTEMPTS;
    }
}
