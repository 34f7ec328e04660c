//! The one writer: a loop on a thread of its own that takes whatever steps have queued, commits them as one transaction,
//! flushed, and only then answers.
//!
//! There is no timer: a batch is what came in while the previous one was being committed, or a part of it (`inboxes`). A commit that
//! fails ends the writer: every waiter gets "unknown", the bus is no longer live, and the process exits
//! with status 74 to recover at the next start. [`Step::MarkClean`] is the last step of an orderly stop. Never here: matching, waiting for a guest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::clock::Clock;
use crate::telemetry::Telemetry;
use edgebus_model::error::{Error, Kind};
use edgebus_model::{DeliveryKey, Name, Timestamp};
use edgebus_store::{Appended, Settle, SettleEnd, Step, StepOutcome};

use super::context::Context;
use super::ingest::Refused;
#[cfg(test)]
use super::injected;
use super::reading::Reading;
use super::scheduler::{Scheduler, SettleTicket};
use super::tasks::Loop;
use inboxes::Inboxes;

mod inboxes;

/// Steps that may wait for the writer, without settlements: half of them in the channel, and half received.
const INBOX_STEPS_MAX: usize = 8_192;
/// Settlements that may wait for it, likewise.
const INBOX_SETTLEMENTS_MAX: usize = 4_096;
/// What the waiting steps may weigh, in KiB.
const INBOX_KIB_MAX: usize = 64 << 10;

/// A cheap handle on the writer.
#[derive(Clone)]
pub(super) struct Writer {
    inbox: mpsc::Sender<Item>,
    settlements: mpsc::Sender<Item>,
    /// KiB that the inbox has room for; a waiting step holds its share, so a publisher who goes away
    /// leaves nothing that is not counted.
    room: Arc<Semaphore>,
    clock: Clock,
}

/// A step on its way, and who waits for what comes of it.
struct Item {
    step: Step,
    /// Steps of the same transaction, whose outcomes nobody waits for.
    more: Vec<Step>,
    /// What it writes, in bytes and in rows.
    bytes: usize,
    rows: usize,
    /// When it began to wait.
    queued_at: Instant,
    reply: Reply,
    /// Whose turn a settlement takes.
    turn: Turn,
    _room: OwnedSemaphorePermit,
}

/// What a settlement weighs, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Weight {
    /// What it writes: a batch is bounded in this.
    pub(super) written: usize,
    /// What it keeps in memory until its commit: the inbox is bounded in this.
    pub(super) held: usize,
}

/// A step that was committed, with what came of it, for the scheduler; in the order of the commit.
pub(super) enum Committed {
    /// Events that were published.
    Appended(edgebus_store::Append, Vec<Appended>),
    /// A settlement, with its ticket unless it was awaited.
    Settled(
        Option<Box<SettleTicket>>,
        Box<edgebus_store::Settle>,
        StepOutcome,
    ),
    /// Deliveries that were made whole after a corrupt record, or that a job made pending: they wait until these
    /// times.
    Pending(Vec<(Timestamp, DeliveryKey)>),
    /// Deliveries that a job ended without an attempt.
    Ended(Vec<DeliveryKey>),
}

/// How many of the inbox's permits `bytes` take.
fn share(bytes: usize) -> u32 {
    u32::try_from((bytes / 1024 + 1).min(INBOX_KIB_MAX / 4)).unwrap_or(1)
}

/// Who takes turns with settlements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Turn {
    /// All whose attempt used state: the versions of state are in the order of their settlements, over all
    /// functions.
    State,
    /// A function, by its number.
    Function(usize),
    /// Steps that are no settlements have one turn.
    Others,
}

/// Who waits for a step.
enum Reply {
    /// A publisher.
    Publish(oneshot::Sender<Result<Vec<Appended>, Refused>>),
    /// Nobody awaits a settlement: the scheduler is told.
    Settle(Box<SettleTicket>),
    /// The writer's own step.
    Nobody,
    /// A job that awaits the outcome itself.
    Outcome(oneshot::Sender<Result<StepOutcome, Error>>),
}

/// The words of a publish whose commit failed.
fn unknown() -> Error {
    Error::new(
        Kind::Unknown,
        "the outcome is unknown: the log failed while it was written; repeat with the same source and id and get the first answer",
    )
}

fn stopped() -> Error {
    Error::new(
        Kind::Unavailable,
        "the bus is stopping; nothing was written",
    )
}

impl Writer {
    /// Starts the writer's loop. It ends when all handles are dropped or a commit fails, which fails the
    /// bus.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start(
        context: &Arc<Context>,
        scheduler: Scheduler,
    ) -> std::io::Result<(Self, Loop)> {
        let (inbox, items) = mpsc::channel(INBOX_STEPS_MAX / 2);
        let (settlements, settling) = mpsc::channel(INBOX_SETTLEMENTS_MAX / 2);
        let work = run(Inboxes::new(items, settling), context.clone(), scheduler);
        let health = context.health.clone();
        let writing = context.executor.essential_loop("writer", health, work)?;
        let room = Arc::new(Semaphore::new(INBOX_KIB_MAX));
        Ok((
            Self {
                inbox,
                room,
                settlements,
                clock: context.clock.clone(),
            },
            writing,
        ))
    }

    /// Appends what follows something that is stored: it waits where others are refused.
    ///
    /// # Errors
    /// [`Kind::Unknown`] when the commit failed, [`Kind::Unavailable`] when the writer has stopped.
    pub(super) async fn append_more(
        &self,
        append: edgebus_store::Append,
    ) -> Result<Vec<Appended>, Refused> {
        let (reply, answer) = oneshot::channel();
        let bytes = append.bytes();
        let weight = Weight {
            written: bytes,
            held: bytes,
        };
        let step = Step::Append(append);
        self.send(step, Vec::new(), weight, Reply::Publish(reply))
            .await?;
        answer.await.unwrap_or_else(|_| Err(unknown().into()))
    }

    /// Appends and returns where the events went, after the flush.
    pub(super) async fn append(
        &self,
        append: edgebus_store::Append,
    ) -> Result<Vec<Appended>, Refused> {
        let bytes = append.bytes();
        let busy = || {
            Error::new(
                Kind::Busy {
                    retry_after_ms: 1_000,
                },
                "the writer's inbox is full; nothing was written",
            )
        };
        let room = self.room.clone();
        let room = room
            .try_acquire_many_owned(share(bytes))
            .map_err(|_| busy())?;
        let (reply, answer) = oneshot::channel();
        let item = Item {
            rows: append.rows(),
            step: Step::Append(append),
            more: Vec::new(),
            bytes,
            queued_at: self.clock.instant(),
            reply: Reply::Publish(reply),
            turn: Turn::Others,
            _room: room,
        };
        match self.inbox.try_send(item) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(busy().into()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(stopped().into()),
        }
        answer.await.unwrap_or_else(|_| Err(unknown().into()))
    }

    /// Sends a settlement; the scheduler hears what came of it. One whose attempt has `read` state is sent only
    /// if all of that is still so at the moment when it enters the inbox.
    ///
    /// # Errors
    /// The ticket and the settlement, if something has changed.
    pub(super) async fn settle(
        &self,
        settle: Box<Settle>,
        read: Option<Reading>,
        weight: Weight,
        ticket: SettleTicket,
    ) -> Result<(), Box<(SettleTicket, Settle)>> {
        // After the writer's end nothing can be settled: the delivery stays pending in the store.
        let Ok((room, inbox)) = self.place(&self.settlements, weight).await else {
            return Ok(());
        };
        let writes = match &settle.end {
            SettleEnd::Done(effects) => effects.writes.clone(),
            _ => Vec::new(),
        };
        let turn = match &read {
            Some(_) => Turn::State,
            None => Turn::Function(ticket.held.function),
        };
        let mut waiting = Some((settle, ticket));
        let send = |version| {
            let Some((mut settle, ticket)) = waiting.take() else {
                return;
            };
            if let SettleEnd::Done(effects) = &mut settle.end {
                effects.version = version;
            }
            let step = Step::Settle(settle);
            inbox.send(Item {
                rows: step.rows(),
                step,
                more: Vec::new(),
                bytes: weight.written,
                queued_at: self.clock.instant(),
                turn,
                reply: Reply::Settle(Box::new(ticket)),
                _room: room,
            });
        };
        match read {
            None => send(0),
            Some(read) => {
                let _ = read.enter(&writes, send);
            }
        }
        match waiting {
            None => Ok(()),
            Some((settle, ticket)) => Err(Box::new((ticket, *settle))),
        }
    }

    /// Room in the inbox for one step; waits until there is some.
    async fn place<'a>(
        &self,
        inbox: &'a mpsc::Sender<Item>,
        weight: Weight,
    ) -> Result<(OwnedSemaphorePermit, mpsc::Permit<'a, Item>), Error> {
        let room = self.room.clone().acquire_many_owned(share(weight.held));
        let room = room.await.map_err(|_| stopped())?;
        let place = inbox.reserve().await.map_err(|_| stopped())?;
        Ok((room, place))
    }

    async fn send(
        &self,
        step: Step,
        more: Vec<Step>,
        weight: Weight,
        reply: Reply,
    ) -> Result<(), Error> {
        let (room, inbox) = self.place(&self.inbox, weight).await?;
        inbox.send(Item {
            rows: step.rows(),
            step,
            more,
            bytes: weight.written,
            queued_at: self.clock.instant(),
            reply,
            turn: Turn::Others,
            _room: room,
        });
        Ok(())
    }

    /// Moves a job by one step whose rows weigh so many bytes, and returns what came of it, after the flush.
    ///
    /// # Errors
    /// As [`Writer::apply`].
    pub(super) async fn advance(
        &self,
        step: edgebus_store::Advance,
        bytes: usize,
    ) -> Result<StepOutcome, Error> {
        let weight = Weight {
            written: bytes,
            held: size_of_val(step.effects.as_slice()),
        };
        let step = Step::Advance(Box::new(step));
        self.outcome(step, Vec::new(), weight).await
    }

    /// Applies one step and returns its outcome, after the flush.
    ///
    /// # Errors
    /// [`Kind::Unknown`] when the commit failed, [`Kind::Unavailable`] when the writer has stopped.
    pub(super) async fn apply(&self, step: Step) -> Result<StepOutcome, Error> {
        self.apply_with(step, Vec::new()).await
    }

    /// The same, with further steps behind it in the same transaction. They see what it did, and what comes of them
    /// is told to nobody.
    ///
    /// # Errors
    /// As [`Writer::apply`].
    pub(super) async fn apply_with(
        &self,
        step: Step,
        more: Vec<Step>,
    ) -> Result<StepOutcome, Error> {
        let bytes = match &step {
            Step::Change(change) => change.component_bytes(),
            _ => 0,
        };
        let weight = Weight {
            written: bytes,
            held: bytes,
        };
        self.outcome(step, more, weight).await
    }

    async fn outcome(
        &self,
        step: Step,
        more: Vec<Step>,
        weight: Weight,
    ) -> Result<StepOutcome, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(step, more, weight, Reply::Outcome(reply)).await?;
        answer.await.unwrap_or_else(|_| Err(unknown()))
    }
}

async fn run(mut inboxes: Inboxes, context: Arc<Context>, scheduler: Scheduler) {
    let (clock, telemetry) = (&context.clock, &context.telemetry);
    let since = |began| clock.instant().saturating_duration_since(began);
    let mut steps = Vec::new();
    let mut replies = Vec::new();
    loop {
        let batch = inboxes.batch().await;
        let Some(oldest) = batch.iter().map(|item| item.queued_at).min() else {
            return;
        };
        let waited = since(oldest);
        if let Some(reading) = clock.reading_due() {
            // Before everything else of the batch: its gaps count for that.
            steps.push(Step::Clock(reading));
            replies.push(Reply::Nobody);
        }
        tell_jump(clock, telemetry);
        for item in batch {
            steps.push(item.step);
            replies.push(item.reply);
            for step in item.more {
                steps.push(step);
                replies.push(Reply::Nobody);
            }
        }
        stamp(&mut steps, clock);
        let began = clock.instant();
        #[cfg(test)]
        context.executor.show_commit(&steps, None);
        let done = context.store.commit(&steps);
        #[cfg(test)]
        context.executor.show_commit(&steps, Some(&done));
        #[cfg(test)]
        if let Ok(outcomes) = &done {
            check_versions(outcomes, &replies);
        }
        match done {
            Ok(outcomes) => {
                let took = since(began);
                context.commits.fetch_add(1, Ordering::SeqCst);
                let overlay = &context.newest.overlay;
                overlay.ended(state_writes(&steps, &outcomes));
                telemetry.count_commit(steps.len(), waited, took, inboxes.len());
                let last = steps.iter().any(|step| matches!(step, Step::MarkClean(_)));
                publish_positions(&context, &steps, &outcomes);
                let committed = answer(&mut steps, &mut replies, outcomes, telemetry);
                scheduler.committed(committed).await;
                if last {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed; the process stops and recovers at the next start");
                #[cfg(test)]
                if injected::is(injected::Bug::AnswerBeforeCommit) {
                    answer_all(&context, &steps, &mut replies);
                }
                // Nobody may hear of the failure before the bus counts as failed.
                context.health.fail(&error.message);
                for reply in replies.drain(..) {
                    refuse(reply);
                }
                inboxes.close();
                return;
            }
        }
    }
}

/// Gives what is accepted and settled one time, so that a log's times are in the order of its positions.
pub(super) fn stamp(steps: &mut [Step], clock: &Clock) {
    let now = clock.now();
    for step in steps {
        match step {
            Step::Append(append) => append.now = now,
            Step::Settle(settle) => settle.now = now,
            Step::StartJob(start) => start.now = now,
            Step::Advance(advance) => advance.now = now,
            _ => {}
        }
    }
}

/// Tells that the wall clock was set.
fn tell_jump(clock: &Clock, telemetry: &Telemetry) {
    let jumped_ms = clock.take_jump();
    if jumped_ms != 0 {
        telemetry.count_clock_jump();
        tracing::warn!(
            "the wall clock jumped by {} s; the log's time follows it slowly, and nothing is late or lost by it",
            jumped_ms / 1_000
        );
    }
}

/// The settlements that write state: whose, under which version, and whether they took place.
pub(super) fn state_writes<'a>(
    steps: &'a [Step],
    outcomes: &'a [StepOutcome],
) -> impl Iterator<Item = (&'a Name, u64, bool)> {
    let written = |(step, outcome): (&'a Step, &StepOutcome)| {
        let Step::Settle(settle) = step else {
            return None;
        };
        match (&settle.end, &settle.seen.function) {
            (SettleEnd::Done(effects), Some(function)) if !effects.writes.is_empty() => {
                let committed = matches!(outcome, StepOutcome::Settled(_));
                Some((function, effects.version, committed))
            }
            _ => None,
        }
    };
    steps.iter().zip(outcomes).filter_map(written)
}

/// Tells those that wait for events where the logs end now. That comes before any answer, so that whoever is answered
/// finds the event in what it asks next: in a listing, or in a job's range.
fn publish_positions(context: &Context, steps: &[Step], outcomes: &[StepOutcome]) {
    let publish = |bus, place: &Appended| {
        if !place.duplicate {
            context.publish_position(bus, place.position);
        }
    };
    for (step, outcome) in steps.iter().zip(outcomes) {
        match (step, outcome) {
            (Step::Append(append), StepOutcome::Appended(places)) => {
                places.iter().for_each(|place| publish(append.bus, place));
            }
            (_, StepOutcome::Settled(places)) => {
                places.iter().for_each(|(bus, place)| publish(*bus, place));
            }
            _ => {}
        }
    }
}

/// Tells the waiters first, so that a publisher's answer leaves before the scheduler's work begins.
/// The scheduler hears of what is returned, in the order of the commit, because queues go by position.
fn answer(
    steps: &mut Vec<Step>,
    replies: &mut Vec<Reply>,
    outcomes: Vec<StepOutcome>,
    telemetry: &Telemetry,
) -> Vec<Committed> {
    let mut committed = Vec::with_capacity(steps.len());
    for ((step, reply), outcome) in steps.drain(..).zip(replies.drain(..)).zip(outcomes) {
        match (reply, outcome, step) {
            (Reply::Publish(reply), StepOutcome::Appended(places), Step::Append(append)) => {
                // A publisher that has gone away needs no answer.
                let _ = reply.send(Ok(places.clone()));
                committed.push(Committed::Appended(append, places));
            }
            (Reply::Publish(reply), StepOutcome::IdReused(reused), Step::Append(append)) => {
                telemetry.count_reused(reused.len() as u64);
                let _ = reply.send(Err(Refused::Reused(append, reused)));
            }
            (Reply::Settle(ticket), outcome, Step::Settle(settle)) => {
                committed.push(Committed::Settled(Some(ticket), settle, outcome));
            }
            (Reply::Outcome(reply), outcome, step) => {
                match step {
                    Step::Settle(settle) => {
                        committed.push(Committed::Settled(None, settle, outcome.clone()));
                    }
                    // Whoever planned a change lets go of it after the answer, so that this thread doesn't.
                    other => drop(other),
                }
                if let StepOutcome::Quarantined(moved) = &outcome {
                    committed.push(Committed::Pending(moved.pending.clone()));
                }
                if let StepOutcome::Advanced(advanced) = &outcome {
                    committed.push(Committed::Pending(advanced.pending.clone()));
                    if !advanced.ended.is_empty() {
                        committed.push(Committed::Ended(advanced.ended.clone()));
                    }
                }
                let _ = reply.send(Ok(outcome));
            }
            (Reply::Publish(reply), StepOutcome::Denied(reason), _) => {
                // The rules changed between the match and the write.
                let message =
                    format!("the rules changed meanwhile, and nothing was stored: {reason}");
                let busy = Kind::Busy { retry_after_ms: 0 };
                let _ = reply.send(Err(Error::new(busy, message).into()));
            }
            (Reply::Publish(reply), outcome, _) => {
                let message = format!("the log refused the events: {outcome:?}");
                let _ = reply.send(Err(Error::new(Kind::Conflict, message).into()));
            }
            (Reply::Settle(_) | Reply::Nobody, _, _) => {}
        }
    }
    committed
}

/// The bug of a writer that answers before it commits.
#[cfg(test)]
fn answer_all(context: &Context, steps: &[Step], replies: &mut Vec<Reply>) {
    for (step, reply) in steps.iter().zip(replies.drain(..)) {
        if let (Step::Append(append), Reply::Publish(reply)) = (step, reply) {
            let last = context.last_position(append.bus).0;
            let places = (1..=append.events.len() as u64).map(|number| Appended {
                position: edgebus_model::Position(last + number),
                duplicate: false,
            });
            let _ = reply.send(Ok(places.collect()));
        }
    }
}

fn refuse(reply: Reply) {
    match reply {
        Reply::Publish(reply) => {
            let _ = reply.send(Err(unknown().into()));
        }
        Reply::Outcome(reply) => {
            let _ = reply.send(Err(unknown()));
        }
        Reply::Settle(_) | Reply::Nobody => {}
    }
}

/// Versions of state come to the store in the order in which they were given; but for those of attempts that a
/// dead process made, which are sent as jobs are.
#[cfg(test)]
fn check_versions(outcomes: &[StepOutcome], replies: &[Reply]) {
    let own = |(_, reply): &(_, &Reply)| matches!(reply, Reply::Settle(_));
    for (outcome, _) in outcomes.iter().zip(replies).filter(own) {
        let late =
            matches!(outcome, StepOutcome::Denied(reason) if reason.contains("was given before"));
        assert!(!late, "a settlement came out of turn: {outcome:?}");
    }
}
