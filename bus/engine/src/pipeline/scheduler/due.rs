//! What comes back from the store: pages of first attempts, and retries that have become due.
//!
//! Due times are read once, in order, up to a cursor. A retry that finds no room in its queue is passed
//! over, and the place of the first such retry is kept with its queue, which reads on from there when it
//! has room. So one subscription's backlog of retries delays no other's, and no row is read again because
//! it waits in memory.

use std::collections::HashSet;

use super::backlog::{Answer, Request};
use super::queue::{DueCursor, Job, QueueId};
use super::state::{Action, READY_BYTES_MAX, State};
#[cfg(test)]
use crate::pipeline::injected::{self, Bug};
use edgebus_model::{DeliveryKey, Position, SubscriptionId, Timestamp};

/// Queues that are filled from the store at the same time.
const FILLS_MAX: usize = 4;
/// Due times that are read at a time.
const DUE_ROWS: usize = 512;
/// How long a page that could not be read is left alone, in milliseconds.
const FAILED_REST_MS: u64 = 1_000;
/// How long the due times are not looked at, at the most, in milliseconds.
const REST_MS_MAX: u64 = 60_000;
/// A page that could bring less than this, in bytes, waits until the queue has nothing else.
const PAGE_BYTES_MIN: usize = 64 << 10;

/// How far due times have been read.
#[derive(Default)]
pub(super) struct Due {
    /// Everything up to this place is in memory or passed over.
    cursor: Option<DueCursor>,
    /// When to read on; `None` while a page is being read and nothing new has become due earlier.
    look_at: Option<Timestamp>,
    /// Until when a page that is being read goes.
    reading: Option<Timestamp>,
    /// Queues whose page could not be read, and when it is asked for again; each stands here once.
    resting: Vec<(Timestamp, QueueId)>,
    /// Retries that are being read.
    loading: HashSet<DeliveryKey>,
}

impl Due {
    /// When the due times are to be looked at; `None` while a page is being read.
    pub(super) fn look_at(&self) -> Option<Timestamp> {
        self.reading
            .is_none()
            .then(|| self.look_at.unwrap_or(Timestamp(0)))
    }

    fn look_by(&mut self, at: Timestamp) {
        self.look_at = Some(self.look_at.map_or(at, |known| known.min(at)));
    }
}

impl State {
    /// Asks for pages: of queues that lag, and of what has become due.
    pub(super) fn feed(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.stopping {
            return;
        }
        if self.due.look_at().is_some_and(|at| at <= now) {
            self.due.reading = Some(now);
            self.due.look_at = None;
            actions.push(Action::Read(Request::Due {
                after: self.due.cursor,
                until: now,
                only: None,
                rows_max: DUE_ROWS,
            }));
        }
        self.feed_suspects(now, actions);
        let rested = self.due.resting.extract_if(.., |(at, _)| *at <= now);
        for (_, id) in rested.collect::<Vec<_>>() {
            self.want(id);
        }
        while self.fills < FILLS_MAX {
            let Some(id) = self.hungry.pop_front() else {
                return;
            };
            match self.fill(id, now) {
                Fill::Asked(request) => {
                    self.fills += 1;
                    actions.push(Action::Read(request));
                }
                Fill::NotNow => {}
                Fill::NoRoom => {
                    self.hungry.push_front(id);
                    if let Some(queue) = self.queues.get_mut(&id) {
                        queue.hungry = true;
                    }
                    return;
                }
            }
        }
    }

    /// Lets a queue wait for a page if it lags and runs low.
    pub(super) fn want(&mut self, id: QueueId) {
        // Below this a queue that lags is filled again.
        let low = (self.ready_max_of(id) / 4).max(1);
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        if queue.lags() && !queue.filling && !queue.hungry && queue.held() < low {
            queue.hungry = true;
            self.hungry.push_back(id);
        }
    }

    /// The next page of a queue.
    fn fill(&mut self, id: QueueId, now: Timestamp) -> Fill {
        let taken = self.ready_bytes + self.reserved_bytes;
        let ready_max = self.ready_max_of(id);
        let Some(queue) = self.queues.get(&id) else {
            return Fill::NotNow;
        };
        let room = self.room(id, queue, 1);
        let Some(queue) = self.queues.get_mut(&id) else {
            return Fill::NotNow;
        };
        queue.hungry = false;
        let rows_max = ready_max.saturating_sub(queue.held());
        // Retries that are being read may turn out to wait for a later one: the scan comes after them.
        let due = queue.due_passed.filter(|_| queue.loading == 0);
        let available = self.functions[queue.function].limits.available;
        if queue.filling || rows_max == 0 || !available || (due.is_none() && !queue.behind) {
            return Fill::NotNow;
        }
        let free = READY_BYTES_MAX.saturating_sub(taken);
        let bytes_max = free.saturating_sub(queue.bytes) / 2;
        if bytes_max < PAGE_BYTES_MIN && queue.held() > 0 {
            // It asks again with the next delivery that it begins.
            return Fill::NotNow;
        }
        if !room {
            return Fill::NoRoom;
        }
        queue.filling = true;
        if let Some(place) = due.filter(|_| !queue.behind || !queue.due_last) {
            queue.due_last = true;
            // What is passed over while the page is read has its place kept anew.
            queue.due_passed = None;
            queue.due_reading = true;
            return Fill::Asked(Request::Due {
                after: Some(before(place)),
                // Whatever was passed over was due by now.
                until: now,
                only: Some(id),
                rows_max,
            });
        }
        queue.due_last = false;
        queue.passed_over = false;
        let bytes_max = bytes_max.max(1);
        self.reserved_bytes += bytes_max;
        Fill::Asked(Request::Page {
            id: id.subscription,
            cursor: queue.cursor,
            rows_max,
            bytes_max,
        })
    }

    /// A delivery waits for a retry that is due at `place.0`.
    pub(super) fn note_retry(&mut self, place: DueCursor) {
        let id = QueueId::of(place.1);
        // A page that is under way may have passed the place before the retry stood there.
        let read = self.due.cursor.is_some_and(|cursor| place <= cursor)
            || self.due.reading.is_some_and(|until| place.0 <= until);
        #[cfg(test)]
        if read && injected::is(Bug::RetryForgotten) {
            return;
        }
        if read {
            self.pass(id, place);
        } else {
            self.due.look_by(place.0);
        }
    }

    /// Reads a subscription's due retries from their beginning, if any due times were read.
    pub(super) fn look_again(&mut self, subscription: SubscriptionId) {
        if self.due.cursor.is_none() {
            return;
        }
        let key = DeliveryKey {
            subscription,
            replay: 0,
            position: Position(0),
        };
        for id in QueueId::both(subscription) {
            self.pass(id, (Timestamp(0), key));
        }
    }

    /// Leaves a due retry to the store, until its queue has room.
    fn pass(&mut self, id: QueueId, place: DueCursor) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.due_passed = Some(queue.due_passed.map_or(place, |known| known.min(place)));
            self.want(id);
        }
    }

    /// Takes what was read from the store.
    pub(super) fn answered(&mut self, answer: Answer, now: Timestamp, actions: &mut Vec<Action>) {
        match answer {
            Answer::Page {
                id,
                jobs,
                last,
                whole,
                bytes_max,
            } => {
                self.reserved_bytes = self.reserved_bytes.saturating_sub(bytes_max);
                self.take_page(id, jobs, last, whole);
            }
            Answer::Failed(request) => self.failed(request, now),
            Answer::Interrupted { jobs, next } => self.take_interrupted(jobs, next),
            Answer::Due {
                only: None,
                rows,
                whole,
                next,
                ..
            } => {
                self.due.reading = None;
                if let Some(last) = rows.last() {
                    self.due.cursor = Some(*last);
                }
                self.take_due(rows, actions);
                let rest = next.unwrap_or(now.plus_ms(REST_MS_MAX));
                #[cfg(test)]
                let rest = if injected::is(Bug::TimerDead) {
                    Timestamp(u64::MAX)
                } else {
                    rest
                };
                self.due.look_by(if whole { rest } else { now });
            }
            Answer::Due {
                only: Some(id),
                rows,
                last,
                whole,
                ..
            } => self.take_due_of(id, rows, last, whole, actions),
            Answer::Loaded {
                asked,
                jobs,
                left,
                bytes_max,
            } => self.take_loaded(&asked, jobs, &left, bytes_max),
        }
    }

    /// Nothing could be read: it is asked for again after a rest.
    fn failed(&mut self, request: Request, now: Timestamp) {
        let again = now.plus_ms(FAILED_REST_MS);
        match request {
            Request::Page { id, bytes_max, .. } => {
                self.reserved_bytes = self.reserved_bytes.saturating_sub(bytes_max);
                self.read_again(QueueId::live(id), again);
            }
            Request::Due {
                only: Some(id),
                after,
                ..
            } => {
                if let Some(queue) = self.queues.get_mut(&id) {
                    queue.due_reading = false;
                    let place = after.map(behind);
                    queue.due_passed = match (place, queue.due_passed) {
                        (Some(place), Some(known)) => Some(place.min(known)),
                        (place, known) => place.or(known),
                    };
                }
                self.read_again(id, again);
            }
            Request::Due { only: None, .. } => {
                self.due.reading = None;
                self.due.look_by(again);
            }
            Request::Interrupted { .. } => {
                self.interrupted_failed(again);
                self.due.look_by(again);
            }
            Request::Load { places, bytes_max } => {
                self.take_loaded(&places, Vec::new(), &places, bytes_max);
            }
        }
    }

    fn read_again(&mut self, id: QueueId, at: Timestamp) {
        self.fills = self.fills.saturating_sub(1);
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.filling = false;
        }
        self.due.resting.push((at, id));
        self.due.look_by(at);
    }

    fn take_page(&mut self, id: SubscriptionId, jobs: Vec<Job>, last: Position, whole: bool) {
        let id = QueueId::live(id);
        self.fills = self.fills.saturating_sub(1);
        #[cfg(test)]
        if jobs.is_empty() && injected::is(Bug::FillingStuck) {
            return;
        }
        for job in jobs {
            let held = self.held.contains(&job.key);
            #[cfg(test)]
            let held = held && !injected::is(Bug::DuplicateJob);
            // One that ran into a conflict may be here already.
            if !held {
                self.admit(job, false);
            }
        }
        #[cfg(test)]
        let last = Position(last.0 + u64::from(!whole && injected::is(Bug::PageSkipped)));
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.cursor = queue.cursor.max(last);
            queue.behind = !whole || queue.passed_over;
            queue.filling = false;
        }
        self.want(id);
    }

    /// Asks for the due deliveries that find room, and passes over the others.
    fn take_due(&mut self, rows: Vec<DueCursor>, actions: &mut Vec<Action>) {
        let mut wanted = Vec::new();
        for place in rows {
            let id = QueueId::of(place.1);
            if self.skips(place) {
                continue;
            }
            let Some(queue) = self.queues.get(&id) else {
                continue;
            };
            // Behind one that was passed over, so that retries keep their order.
            let in_order = queue.due_passed.is_none() && !queue.due_reading;
            if in_order && self.room(id, queue, 1) {
                self.wanted(place, &mut wanted);
            } else {
                self.pass(id, place);
            }
        }
        self.load(wanted, actions);
    }

    /// The same for one queue, which reads on where it passed over the first.
    fn take_due_of(
        &mut self,
        id: QueueId,
        rows: Vec<DueCursor>,
        last: Option<DueCursor>,
        whole: bool,
        actions: &mut Vec<Action>,
    ) {
        self.fills = self.fills.saturating_sub(1);
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        queue.filling = false;
        queue.due_reading = false;
        if let Some(last) = last.filter(|_| !whole) {
            self.pass(id, behind(last));
        }
        let mut wanted = Vec::new();
        for place in rows {
            if self.skips(place) {
                continue;
            }
            let queue = self.queues.get(&id);
            if queue.is_some_and(|queue| self.room(id, queue, 1)) {
                self.wanted(place, &mut wanted);
            } else {
                self.pass(id, place);
            }
        }
        self.load(wanted, actions);
        self.want(id);
    }

    /// True if a due delivery is in memory already. One that is being read may turn out to wait for this
    /// later retry instead, so its place is kept.
    fn skips(&mut self, place: DueCursor) -> bool {
        if self.due.loading.contains(&place.1) {
            self.pass(QueueId::of(place.1), place);
            return true;
        }
        self.held.contains(&place.1)
    }

    fn wanted(&mut self, place: DueCursor, wanted: &mut Vec<DueCursor>) {
        self.due.loading.insert(place.1);
        if let Some(queue) = self.queues.get_mut(&QueueId::of(place.1)) {
            queue.loading += 1;
        }
        wanted.push(place);
    }

    fn load(&mut self, wanted: Vec<DueCursor>, actions: &mut Vec<Action>) {
        if wanted.is_empty() {
            return;
        }
        let free = READY_BYTES_MAX.saturating_sub(self.ready_bytes + self.reserved_bytes);
        let bytes_max = (free / 2).max(1);
        self.reserved_bytes += bytes_max;
        actions.push(Action::Read(Request::Load {
            places: wanted,
            bytes_max,
        }));
    }

    fn take_loaded(
        &mut self,
        asked: &[DueCursor],
        jobs: Vec<Job>,
        left: &[DueCursor],
        bytes_max: usize,
    ) {
        self.reserved_bytes = self.reserved_bytes.saturating_sub(bytes_max);
        for (_, key) in asked {
            self.due.loading.remove(key);
            if let Some(queue) = self.queues.get_mut(&QueueId::of(*key)) {
                queue.loading = queue.loading.saturating_sub(1);
            }
        }
        for job in jobs {
            self.held.insert(job.key);
            self.admit(job, false);
        }
        for place in left {
            self.pass(QueueId::of(place.1), *place);
        }
        for (_, key) in asked {
            self.want(QueueId::of(*key));
        }
    }
}

/// What came of a queue's wish for a page.
enum Fill {
    Asked(Request),
    /// It needs none, or too little would come.
    NotNow,
    /// It has nothing, and others hold all the memory.
    NoRoom,
}

/// The place just before `place`: pages begin strictly after theirs.
fn before(place: DueCursor) -> DueCursor {
    let (at, key) = place;
    let position = Position(key.position.0.saturating_sub(1));
    (at, DeliveryKey { position, ..key })
}

/// The place just behind `place`.
fn behind(place: DueCursor) -> DueCursor {
    let (at, key) = place;
    let position = Position(key.position.0.saturating_add(1));
    (at, DeliveryKey { position, ..key })
}
