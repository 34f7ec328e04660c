//! What waits for the writer, and which of it makes the next transaction.
//!
//! Publishes and settlements wait apart. Where both wait, a transaction has all publishes and a part of the
//! settlements, so that a publisher never waits for all of what an event for many subscriptions led to. Functions
//! take turns with their settlements. Those of one function keep their order, and so do all whose attempts used state,
//! and the other steps. Never here: a commit, an answer.

use std::collections::{HashMap, VecDeque};

use tokio::sync::mpsc;

use edgebus_store::Step;

use super::{Item, Turn, refuse};

/// Steps in one transaction.
const BATCH_STEPS_MAX: usize = 1_000;
/// Rows in one transaction, unless one step alone has more.
const BATCH_ROWS_MAX: usize = 20_000;
/// Bytes of events in one transaction.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Settlements in one transaction with other steps, besides as many as are usually made in one, and this part of those
/// that wait. Without other steps settlements fill it.
const SETTLEMENTS_BESIDE: usize = 16;
const SHARE_OF_WAITING: usize = 16;
/// Rows of a settlement that leads to nothing.
const SETTLEMENT_ROWS: usize = 2;
/// Transactions over which what makes settlements is averaged.
const USUAL_OVER: usize = 128;

/// How much of one kind a batch holds.
struct Size {
    steps_max: usize,
    steps: usize,
    bytes: usize,
    rows: usize,
}

impl Size {
    fn new(steps_max: usize) -> Self {
        Self {
            steps_max,
            steps: 0,
            bytes: 0,
            rows: 0,
        }
    }

    /// True if a small step may come.
    fn has_room(&self) -> bool {
        self.steps < self.steps_max && self.bytes < BATCH_BYTES_MAX && self.rows < BATCH_ROWS_MAX
    }

    /// Counts one more step, unless its rows are too many beside others.
    fn takes(&mut self, item: &Item) -> bool {
        if self.steps > 0 && self.rows + item.rows > BATCH_ROWS_MAX {
            return false;
        }
        self.steps += 1;
        self.bytes += item.bytes;
        self.rows += item.rows;
        true
    }
}

/// Where steps of one kind wait.
struct Inbox {
    items: mpsc::Receiver<Item>,
    waiting: Waiting,
}

/// What was received: all items, by who takes turns. All of it is counted in the room of the writer.
#[derive(Default)]
struct Waiting {
    of: HashMap<Turn, VecDeque<Item>>,
    turns: VecDeque<Turn>,
    count: usize,
}

impl Waiting {
    fn push(&mut self, item: Item) {
        let own = self.of.entry(item.turn).or_default();
        if own.is_empty() {
            self.turns.push_back(item.turn);
        }
        own.push_back(item);
        self.count += 1;
    }

    fn first(&self) -> Option<&Item> {
        self.of.get(self.turns.front()?)?.front()
    }

    fn pop(&mut self) -> Option<Item> {
        let turn = self.turns.pop_front()?;
        let own = self.of.get_mut(&turn)?;
        let item = own.pop_front()?;
        self.count -= 1;
        if own.is_empty() {
            self.of.remove(&turn);
        } else {
            self.turns.push_back(turn);
        }
        Some(item)
    }
}

impl Inbox {
    fn new(items: mpsc::Receiver<Item>) -> Self {
        Self {
            items,
            waiting: Waiting::default(),
        }
    }

    /// Waits for the first one; false when none comes any more.
    async fn wait(&mut self) -> bool {
        if self.waiting.count == 0
            && let Some(item) = self.items.recv().await
        {
            self.waiting.push(item);
        }
        self.waiting.count > 0
    }

    /// Takes in what has come, as much as the channel holds at most.
    fn receive(&mut self) {
        while self.waiting.count < self.items.max_capacity()
            && let Ok(item) = self.items.try_recv()
        {
            self.waiting.push(item);
        }
    }

    fn len(&self) -> usize {
        self.items.len() + self.waiting.count
    }

    /// Moves so many steps, or as many as a batch has room for, to its end, and returns what they weigh. The step
    /// that ends the writer stays.
    fn take(&mut self, steps_max: usize, batch: &mut Vec<Item>) -> Size {
        self.receive();
        let mut size = Size::new(steps_max);
        while size.has_room()
            && let Some(first) = self.waiting.first()
        {
            if matches!(first.step, Step::MarkClean(_)) || !size.takes(first) {
                break;
            }
            batch.extend(self.waiting.pop());
        }
        size
    }
}

/// Everything that waits for the writer.
pub(super) struct Inboxes {
    /// Publishes, and the steps of jobs.
    others: Inbox,
    settlements: Inbox,
    /// Settlements that a transaction leads to, about, and [`USUAL_OVER`] times; a moving average. Each row of a
    /// publish and of an emitted event may be a delivery, and a failed attempt leads to another.
    usual: usize,
}

impl Inboxes {
    pub(super) fn new(others: mpsc::Receiver<Item>, settlements: mpsc::Receiver<Item>) -> Self {
        Self {
            others: Inbox::new(others),
            settlements: Inbox::new(settlements),
            usual: 0,
        }
    }

    /// The steps of the next transaction; waits for the first. Empty when none comes any more.
    pub(super) async fn batch(&mut self) -> Vec<Item> {
        let waits = tokio::select! {
            biased;
            waits = self.others.wait() => waits || self.settlements.wait().await,
            true = self.settlements.wait() => true,
        };
        let mut batch = Vec::new();
        if !waits {
            return batch;
        }
        let made = self.others.take(BATCH_STEPS_MAX, &mut batch).rows;
        let others = batch.len();
        let settlements_max = if others == 0 {
            BATCH_STEPS_MAX
        } else {
            let waiting = self.settlements.len() / SHARE_OF_WAITING;
            BATCH_STEPS_MAX.min(SETTLEMENTS_BESIDE + self.usual / USUAL_OVER + waiting)
        };
        let settled = self.settlements.take(settlements_max, &mut batch);
        if others > 0 {
            let made = made + settled.rows.saturating_sub(SETTLEMENT_ROWS * settled.steps);
            self.usual = self.usual - self.usual / USUAL_OVER + made;
        }
        if batch.is_empty() {
            // Only the step that ends the writer is left.
            batch.extend(self.others.waiting.pop());
        }
        batch
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.others.len() + self.settlements.len()
    }

    /// Refuses all that waits and all that comes.
    pub(super) fn close(&mut self) {
        for inbox in [&mut self.others, &mut self.settlements] {
            inbox.items.close();
            while inbox.len() > 0 {
                inbox.receive();
                while let Some(item) = inbox.waiting.pop() {
                    refuse(item.reply);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use tokio::sync::Semaphore;

    use super::super::Reply;
    use super::*;

    /// A step whose weight tells what it is: 1 for a publish, 2 for a settlement.
    fn append(room: &Arc<Semaphore>, bytes: usize) -> Item {
        Item {
            step: Step::Append(edgebus_store::Append {
                bus: edgebus_model::BusId(1),
                events: Vec::new(),
                now: edgebus_model::Timestamp(0),
            }),
            more: Vec::new(),
            bytes,
            rows: 1,
            queued_at: Instant::now(),
            reply: Reply::Nobody,
            turn: Turn::Others,
            _room: room.clone().try_acquire_owned().unwrap(),
        }
    }

    fn last_step(room: &Arc<Semaphore>) -> Item {
        Item {
            step: Step::MarkClean(true),
            ..append(room, 3)
        }
    }

    /// What the batches hold until nothing is left: publishes, settlements, last steps.
    async fn batches(publishes: usize, settlements: usize, last: bool) -> Vec<[usize; 3]> {
        let room = Arc::new(Semaphore::new(100_000));
        let (others, other_items) = mpsc::channel(10_000);
        let (settling, settlement_items) = mpsc::channel(10_000);
        let mut inboxes = Inboxes::new(other_items, settlement_items);
        for _ in 0..publishes {
            others.try_send(append(&room, 1)).unwrap();
        }
        for _ in 0..settlements {
            settling.try_send(append(&room, 2)).unwrap();
        }
        if last {
            others.try_send(last_step(&room)).unwrap();
        }
        drop((others, settling));
        let mut batches = Vec::new();
        loop {
            let batch = inboxes.batch().await;
            if batch.is_empty() {
                assert_eq!(room.available_permits(), 100_000);
                return batches;
            }
            let count = |kind| batch.iter().filter(|item| item.bytes == kind).count();
            assert!(batch.is_sorted_by_key(|item| item.bytes));
            batches.push([count(1), count(2), count(3)]);
        }
    }

    #[tokio::test]
    async fn functions_take_turns() {
        let room = Arc::new(Semaphore::new(100_000));
        let (others, other_items) = mpsc::channel(10);
        let (settling, settlement_items) = mpsc::channel(10_000);
        let mut inboxes = Inboxes::new(other_items, settlement_items);
        // Whoever used state has one turn, whatever its function.
        let waiting = [
            (Turn::Function(1), 500),
            (Turn::Function(2), 3),
            (Turn::State, 1),
        ];
        for (turn, count) in waiting {
            for number in 0..count {
                let settlement = append(&room, number);
                settling.try_send(Item { turn, ..settlement }).unwrap();
            }
        }
        others.try_send(append(&room, 0)).unwrap();
        let batch = inboxes.batch().await;
        let order: Vec<_> = batch.iter().map(|item| (item.turn, item.bytes)).collect();
        let (first, second) = (Turn::Function(1), Turn::Function(2));
        let turns = [
            (Turn::Others, 0),
            (first, 0),
            (second, 0),
            (Turn::State, 0),
            (first, 1),
            (second, 1),
            (first, 2),
            (second, 2),
        ];
        assert_eq!(order[..8], turns);
        let beside = SETTLEMENTS_BESIDE + 504 / SHARE_OF_WAITING;
        assert_eq!(order.len(), 1 + beside);
        let rest = (3..beside).map(|number| (first, number));
        assert!(order[8..].iter().copied().eq(rest.take(beside - 7)));
        drop((others, settling));
        assert_eq!(inboxes.batch().await.len(), 504 - beside);
        assert!(inboxes.batch().await.is_empty());
        assert_eq!(inboxes.len(), 0);
    }

    #[tokio::test]
    async fn settling_keeps_up_with_publishing() {
        let room = Arc::new(Semaphore::new(100_000));
        let (others, other_items) = mpsc::channel(10_000);
        let (settling, settlement_items) = mpsc::channel(10_000);
        let mut inboxes = Inboxes::new(other_items, settlement_items);
        // Each publish makes 9 deliveries, and each is settled.
        for _ in 0..20 * USUAL_OVER {
            others
                .try_send(Item {
                    rows: 10,
                    ..append(&room, 1)
                })
                .unwrap();
            for _ in 0..9 {
                settling.try_send(append(&room, 2)).unwrap();
            }
            assert!(inboxes.batch().await.len() > 1);
        }
        assert_eq!(inboxes.len(), 0);
        // One publish that makes 1,000 doesn't let them all in at once.
        others
            .try_send(Item {
                rows: 1_001,
                ..append(&room, 1)
            })
            .unwrap();
        for _ in 0..1_000 {
            settling.try_send(append(&room, 2)).unwrap();
        }
        let batch = inboxes.batch().await;
        assert!(batch.len() < 100, "{}", batch.len());
    }

    #[tokio::test]
    async fn publishes_go_first_and_the_last_step_last() {
        // (publishes, settlements, whether the last step waits) and the batches of them.
        type Case = ((usize, usize, bool), &'static [[usize; 3]]);
        let cases: [Case; 8] = [
            ((0, 0, false), &[]),
            ((3, 0, false), &[[3, 0, 0]]),
            (
                (0, 2_500, false),
                &[[0, 1_000, 0], [0, 1_000, 0], [0, 500, 0]],
            ),
            ((3, 500, false), &[[3, 47, 0], [0, 453, 0]]),
            (
                (1_500, 99, false),
                &[[1_000, 22, 0], [500, 27, 0], [0, 50, 0]],
            ),
            ((0, 0, true), &[[0, 0, 1]]),
            ((2, 1, true), &[[2, 1, 0], [0, 0, 1]]),
            (
                (2, 1_500, true),
                &[[2, 109, 0], [0, 1_000, 0], [0, 391, 0], [0, 0, 1]],
            ),
        ];
        for ((publishes, settlements, last), expected) in cases {
            let seen = batches(publishes, settlements, last).await;
            assert_eq!(seen, expected, "{publishes} {settlements} {last}");
        }
    }
}
