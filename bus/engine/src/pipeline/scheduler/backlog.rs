//! Reads deliveries back from the store, each with its event, in loops on threads of their own: pages of
//! first attempts, and retries that are due.
//!
//! Never here: a decision about what runs, or a corrupt record that is used.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::inbox::{Inbox, Message};
use super::queue::{DueCursor, Interrupted, Job, QueueId};
use crate::pipeline::context::{Context, Health};
use crate::pipeline::recover;
use crate::pipeline::settle::{self, AttemptResult};
use crate::pipeline::tasks::{Loop, caught};
use crate::pipeline::writer::Writer;
use edgebus_model::{
    BusId, DeliveryKey, Lineage, Outcome, Pending, Position, SubscriptionId, Timestamp,
};
use edgebus_store::{DeliveryState, Error, Kind, Page, Step};

/// Loops that read.
const READERS: usize = 4;
/// Requests that may wait for them: more than the scheduler ever has under way.
const REQUESTS_MAX: usize = 1_024;
/// Rows that are read from the store at a time.
const ROWS_AT_ONCE: usize = 256;
/// Rows that one request looks at.
const ROWS_MAX: usize = 4_096;

/// What the scheduler wants to be read.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// A subscription's first attempts at live deliveries after `cursor`.
    Page {
        id: SubscriptionId,
        cursor: Position,
        rows_max: usize,
        /// What the events may weigh; the one that passes it still belongs to the page.
        bytes_max: usize,
    },
    /// Due times after a place, of all queues or of one.
    Due {
        after: Option<DueCursor>,
        until: Timestamp,
        only: Option<QueueId>,
        rows_max: usize,
    },
    /// Deliveries that a process died in, after `after`.
    Interrupted {
        after: Option<DeliveryKey>,
        /// What the events may weigh; the one that passes it still belongs to the answer.
        bytes_max: usize,
    },
    /// Deliveries that are due, until their events weigh `bytes_max`.
    Load {
        places: Vec<DueCursor>,
        bytes_max: usize,
    },
}

/// What was read.
pub(super) enum Answer {
    /// Of [`Request::Page`]: the deliveries, the last position looked at, and whether the end was reached.
    Page {
        id: SubscriptionId,
        jobs: Vec<Job>,
        last: Position,
        whole: bool,
        bytes_max: usize,
    },
    /// What was asked for could not be read.
    Failed(Request),
    /// Of [`Request::Due`]: the places, the last one looked at, whether the end was reached, and the next due time after it.
    Due {
        only: Option<QueueId>,
        rows: Vec<DueCursor>,
        last: Option<DueCursor>,
        whole: bool,
        next: Option<Timestamp>,
    },
    /// Of [`Request::Interrupted`]: the deliveries, and where to go on, if there are more.
    Interrupted {
        jobs: Vec<Job>,
        next: Option<DeliveryKey>,
    },
    /// Of [`Request::Load`]: what was asked for, the deliveries, and the places that were not read.
    Loaded {
        asked: Vec<DueCursor>,
        jobs: Vec<Job>,
        left: Vec<DueCursor>,
        bytes_max: usize,
    },
}

/// The handle of the readers.
pub(super) struct Backlog {
    requests: mpsc::Sender<Request>,
    readers: Vec<Loop>,
    health: Arc<Health>,
}

impl Backlog {
    /// Starts the readers; answers go to `inbox`.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start(
        context: &Arc<Context>,
        writer: &Writer,
        inbox: &Arc<Inbox>,
    ) -> std::io::Result<Self> {
        let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut readers = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let reader = Reader {
                context: context.clone(),
                writer: writer.clone(),
            };
            let (waiting, inbox) = (waiting.clone(), inbox.clone());
            let work = async move {
                loop {
                    let request = waiting.lock().await.recv().await;
                    // The scheduler has ended.
                    let Some(request) = request else { return };
                    inbox.put(Message::Read(reader.read(request).await));
                }
            };
            let health = context.health.clone();
            let executor = &context.executor;
            readers.push(executor.essential_loop("backlog-reader", health, work)?);
        }
        Ok(Self {
            requests,
            readers,
            health: context.health.clone(),
        })
    }

    /// Ends the readers and waits for that, so that nobody holds the store any more.
    pub(super) async fn end(self) {
        drop(self.requests);
        for reader in self.readers {
            reader.join().await;
        }
    }

    /// Asks for something to be read.
    pub(super) fn ask(&self, request: Request) {
        // The readers end after the scheduler, which has far fewer requests under way than there is room for.
        if self.requests.try_send(request).is_err() {
            self.health
                .fail("the readers of deliveries take no request");
        }
    }
}

/// What one loop reads with.
struct Reader {
    context: Arc<Context>,
    writer: Writer,
}

impl Reader {
    /// Reads; a panic is one failed reading, so that whoever asked hears of it.
    async fn read(&self, request: Request) -> Answer {
        let failed = Answer::Failed(request.clone());
        // The store is read through a handle that a panic leaves as it was.
        let read = caught(async move {
            match request {
                Request::Page {
                    id,
                    cursor,
                    rows_max,
                    bytes_max,
                } => self.page(id, cursor, rows_max, bytes_max).await,
                Request::Due {
                    after,
                    until,
                    only,
                    rows_max,
                } => self.due(after, until, only, rows_max),
                Request::Interrupted { after, bytes_max } => {
                    self.interrupted(after, bytes_max).await
                }
                Request::Load { places, bytes_max } => self.load(places, bytes_max).await,
            }
        });
        match read.await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => {
                self.context.reading_failed("pending deliveries", &error);
                failed
            }
            None => {
                self.context.health.fail("a reader of deliveries panicked");
                failed
            }
        }
    }

    async fn page(
        &self,
        id: SubscriptionId,
        cursor: Position,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Answer, Error> {
        let (mut jobs, mut last, mut bytes, mut looked) = (Vec::new(), cursor, 0, 0);
        let mut whole = false;
        'pages: while looked < ROWS_MAX && jobs.len() < rows_max {
            let after = DeliveryKey {
                subscription: id,
                replay: 0,
                position: last,
            };
            let limit = Page::forward(ROWS_AT_ONCE.min(rows_max), usize::MAX);
            let page = self.context.store.pending_page(id, Some(after), limit)?;
            for delivery in &page.rows {
                // Replayed ones stand behind all live ones, have a due time, and come by that.
                if delivery.key.replay > 0 {
                    whole = true;
                    break 'pages;
                }
                last = delivery.key.position;
                // Those that wait for a retry come when they are due, and those that a process died in are
                // read first of all.
                if delivery.due_at.is_some() || delivery.claims > 0 {
                    continue;
                }
                if let Some(job) = self.job(delivery).await? {
                    bytes += job.weight;
                    jobs.push(job);
                    if bytes >= bytes_max || jobs.len() >= rows_max {
                        break 'pages;
                    }
                }
            }
            looked += page.rows.len();
            if page.next.is_none() {
                whole = true;
                break;
            }
        }
        Ok(Answer::Page {
            id,
            jobs,
            last,
            whole,
            bytes_max,
        })
    }

    fn due(
        &self,
        after: Option<DueCursor>,
        until: Timestamp,
        only: Option<QueueId>,
        rows_max: usize,
    ) -> Result<Answer, Error> {
        let store = &self.context.store;
        let (mut rows, mut last, mut looked, mut whole) = (Vec::new(), after, 0, false);
        while looked < ROWS_MAX && rows.len() < rows_max {
            let page = store.waiting(until, last, ROWS_AT_ONCE)?;
            looked += page.len();
            last = page.last().copied().or(last);
            whole = page.len() < ROWS_AT_ONCE;
            rows.extend(
                page.into_iter()
                    .filter(|(_, key)| only.is_none_or(|id| id == QueueId::of(*key))),
            );
            if whole {
                break;
            }
        }
        let next = if whole && only.is_none() {
            store
                .waiting(Timestamp(u64::MAX), last.or(Some((until, LAST_KEY))), 1)?
                .first()
                .map(|(due_at, _)| *due_at)
        } else {
            None
        };
        Ok(Answer::Due {
            only,
            rows,
            last,
            whole,
            next,
        })
    }

    async fn load(&self, places: Vec<DueCursor>, bytes_max: usize) -> Result<Answer, Error> {
        let (mut jobs, mut bytes, mut read) = (Vec::new(), 0, 0);
        let now = self.context.clock.now();
        for (_, key) in &places {
            if bytes >= bytes_max {
                break;
            }
            read += 1;
            let delivery = match self.context.store.pending(*key) {
                Ok(Some(delivery)) => delivery,
                // It was settled meanwhile.
                Ok(None) => continue,
                // One corrupt row stands in the way of no other.
                Err(error) if error.kind == Kind::Corrupt => {
                    self.context.reading_failed("a due retry", &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            // It waits for a later retry by now, which has a place of its own.
            if delivery.due_at.is_some_and(|due_at| due_at > now) {
                continue;
            }
            if let Some(job) = self.job(&delivery).await? {
                bytes += job.weight;
                jobs.push(job);
            }
        }
        Ok(Answer::Loaded {
            left: places[read..].to_vec(),
            asked: places,
            jobs,
            bytes_max,
        })
    }

    /// What was claimed by a process that died. What waits for a retry comes when that is due.
    async fn interrupted(
        &self,
        after: Option<DeliveryKey>,
        bytes_max: usize,
    ) -> Result<Answer, Error> {
        let store = &self.context.store;
        let page = store.running_page(after, Page::forward(ROWS_AT_ONCE, usize::MAX))?;
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        for running in page.rows {
            let delivery = match store.pending(running.key) {
                Ok(Some(delivery)) if delivery.due_at.is_none() => delivery,
                Ok(_) => continue,
                Err(error) if error.kind == Kind::Corrupt => {
                    self.context
                        .reading_failed("an interrupted delivery", &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(job) = self.job(&delivery).await? {
                bytes += job.weight;
                jobs.push(job);
            }
            if bytes >= bytes_max {
                let next = Some(running.key);
                return Ok(Answer::Interrupted { jobs, next });
            }
        }
        let next = page.next;
        Ok(Answer::Interrupted { jobs, next })
    }

    /// Whether a process died during a delivery's attempts: then an attempt was claimed and never ended.
    ///
    /// A death counts as an attempt from the second one in succession on. The first may have been any other
    /// delivery's doing that ran at the time; only one that was interrupted runs alone among its kind, so a
    /// second death points at it.
    fn interruption(&self, delivery: &Pending) -> Result<Interrupted, Error> {
        Ok(match delivery.claims {
            0 => Interrupted::No,
            1 if !self.died_before(delivery)? => Interrupted::Once,
            _ => Interrupted::Again,
        })
    }

    /// True if the last attempt that ended is the death of a process.
    fn died_before(&self, delivery: &Pending) -> Result<bool, Error> {
        if delivery.attempts_made == 0 {
            return Ok(false);
        }
        match self.context.store.delivery(delivery.key) {
            Ok(Some(DeliveryState::Pending(whole))) => {
                let last = whole.attempts.last().map(|attempt| &attempt.outcome);
                Ok(matches!(last, Some(Outcome::Host { message }) if message == recover::DEATH))
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind == Kind::Corrupt => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The job for a pending delivery; `None` if its event can't be read uncorrupted, and then the
    /// delivery is on its way to the dead letters.
    async fn job(&self, delivery: &Pending) -> Result<Option<Job>, Error> {
        let snapshot = self.context.snapshot();
        let Some(subscription) = snapshot.subscriptions.get(&delivery.key.subscription) else {
            return Ok(None);
        };
        let bus = subscription.bus;
        match self.context.store.event(bus, delivery.key.position) {
            // What is pending for an event ends when the event is erased. It may be here where its row was corrupt then.
            Ok(Some(stored)) if stored.event.erased().is_some() => {
                self.dead_letter(delivery, bus, "the event was erased")
                    .await;
            }
            Ok(Some(stored)) => {
                return Ok(Some(Job {
                    interrupted: self.interruption(delivery)?,
                    ..Job::of(delivery, bus, &stored)
                }));
            }
            Ok(None) => {
                let why = "the event is no longer in the log";
                self.dead_letter(delivery, bus, why).await;
            }
            Err(error) if error.kind == Kind::Corrupt => {
                self.context.reading_failed("an event", &error);
                self.dead_letter(delivery, bus, &error.message).await;
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Sends a delivery whose event can't be read to the dead letters.
    async fn dead_letter(&self, delivery: &Pending, bus: BusId, why: &str) {
        let job = Job {
            key: delivery.key,
            bus,
            fence: delivery.fence,
            attempts_made: delivery.attempts_made,
            host_failures: delivery.host_failures,
            accepted_at: delivery.accepted_at,
            ingested_at: delivery.accepted_at,
            age_from: delivery.age_from(),
            event: Arc::new(edgebus_model::Event::unreadable()),
            lineage: Lineage::default(),
            conflicts: 0,
            interrupted: Interrupted::No,
            weight: 0,
        };
        let ran = AttemptResult::host(why.to_owned(), self.context.clock.now());
        let reason = edgebus_model::DeadReason::Corrupt;
        let settle = settle::dead(&self.context, &job, ran, reason);
        // The reader waits for room in the writer's inbox, so that no number of these piles up.
        let _ = self.writer.apply(Step::Settle(Box::new(settle))).await;
    }
}

/// Behind every key of one due time.
const LAST_KEY: DeliveryKey = DeliveryKey {
    subscription: SubscriptionId(u32::MAX),
    replay: u32::MAX,
    position: Position(u64::MAX),
};
