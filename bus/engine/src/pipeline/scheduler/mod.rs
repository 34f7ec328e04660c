//! Decides what runs next: a loop on its own thread. It gets messages about commits, pages that were read and
//! attempts that ended, and starts attempts.
//!
//! ```text
//! writer ─ commits ─▶ inbox ─▶ state ─ start ─▶ workers (invoke) ─ settlement ─▶ writer
//!                       ▲        └── read ──▶ backlog ─┐               │
//!                       └─────────────── answers ───────┴── ended ──────┘
//! ```
//!
//! What doesn't fit into memory stays in the store and is read back in pages, so a backlog of millions
//! costs no memory. `state` decides who is next, `function` and `budget` hold what an attempt needs, `due`
//! brings back what the store has, `suspects` lets go what was interrupted by the death of a process.
//! Never here: running a guest, deciding retries, HTTP.

mod backlog;
mod budget;
mod due;
mod function;
mod inbox;
mod queue;
mod situation;
mod state;
mod suspects;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::context::Context;
#[cfg(test)]
use super::injected;
use super::invoke::{Attempts, Lease};
use super::settle;
use super::target;
use super::tasks::Loop;
use super::writer::{Committed, Writer};
use edgebus_model::{DeliveryKey, SubscriptionId, Target};
use edgebus_runtime::capabilities::Later;
use edgebus_store::{Settle, SettleEnd, StepOutcome};

use backlog::Backlog;
use inbox::{Inbox, Message};
use state::{Action, State};

pub use budget::Limits;
pub(super) use inbox::Returned;
pub(super) use queue::{Interrupted, Job};
pub use situation::Situation;
pub(super) use state::Held;
pub use state::Pause;

/// Conflicts of one delivery in a row after which turns over keys are of no help: its function's attempts run one by
/// one for a while, each after the settlement of the one before.
const CONFLICTS_ALONE: u8 = 3;
/// How long the loop rests at most.
const REST_MAX: Duration = Duration::from_secs(60);

/// What a settlement on its way to the writer leaves behind for its return.
pub(super) struct SettleTicket {
    pub(super) job: Job,
    pub(super) held: Held,
    /// What takes effect with it.
    pub(super) later: Later,
}

/// Why each subscription's deliveries run or don't, and how many of them are in memory.
pub type Description = HashMap<SubscriptionId, (Situation, usize)>;

/// A cheap handle on the scheduler.
#[derive(Clone)]
pub(super) struct Scheduler {
    inbox: Arc<Inbox>,
    shown: Arc<Shown>,
}

/// What others may look at without asking.
struct Shown {
    in_memory: AtomicUsize,
    in_flight: AtomicUsize,
    leased_bytes: AtomicU64,
    /// Attempts in flight, once no further one begins.
    draining: watch::Sender<Option<usize>>,
}

/// The stages that the scheduler hands work to.
pub(super) struct Stages {
    pub(super) context: Arc<Context>,
    pub(super) writer: Writer,
    pub(super) attempts: Arc<Attempts>,
}

impl Scheduler {
    /// A handle whose loop is still to be started; what it is told meanwhile waits.
    pub(super) fn new() -> Self {
        Self {
            inbox: Arc::default(),
            shown: Arc::new(Shown {
                in_memory: AtomicUsize::new(0),
                in_flight: AtomicUsize::new(0),
                leased_bytes: AtomicU64::new(0),
                draining: watch::Sender::new(None),
            }),
        }
    }

    /// Starts the loop, and those that read for it.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start(&self, limits: Limits, stages: Stages) -> std::io::Result<Loop> {
        let context = stages.context.clone();
        let backlog = Backlog::start(&context, &stages.writer, &self.inbox)?;
        let scheduling = Scheduling {
            state: State::new(limits),
            backlog,
            handle: self.clone(),
            stages,
            ended: false,
        };
        let health = context.health.clone();
        let work = async move {
            let _closing = Closing(scheduling.handle.inbox.clone());
            scheduling.run().await;
        };
        context.executor.essential_loop("scheduler", health, work)
    }

    /// Takes note of a commit, in its order. Waits while too many commits stand before it.
    pub(super) async fn committed(&self, committed: Vec<Committed>) {
        self.inbox.put_commit(committed).await;
    }

    /// Makes queues for subscriptions that have none, and lets those that have one go to this target;
    /// `true` for those that begin in the store.
    pub(super) fn subscribe(&self, subscriptions: Vec<(SubscriptionId, Target, bool)>) {
        self.inbox.put(Message::Subscribe(subscriptions));
    }

    /// Lets go of the queues of subscriptions that were retired.
    pub(super) fn unsubscribe(&self, subscriptions: Vec<SubscriptionId>) {
        if !subscriptions.is_empty() {
            self.inbox.put(Message::Unsubscribe(subscriptions));
        }
    }

    /// Other functions are active, or other limits of them.
    pub(super) fn changed(&self) {
        self.inbox.put(Message::Changed);
    }

    /// Begins no attempt for a reason, or ends that.
    pub(super) fn pause(&self, why: Pause, paused: bool) {
        self.inbox.put(Message::Pause(why, paused));
    }

    /// The situation of every subscription; `None` after the scheduler's end.
    pub(super) async fn describe(&self) -> Option<Description> {
        let (reply, answer) = oneshot::channel();
        self.inbox.put(Message::Describe(reply));
        answer.await.ok()
    }

    /// Deliveries in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.shown.in_memory.load(Ordering::Relaxed)
    }

    /// Attempts in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.shown.in_flight.load(Ordering::Relaxed)
    }

    /// Memory that attempts in flight may use, in bytes.
    pub(super) fn leased_bytes(&self) -> u64 {
        self.shown.leased_bytes.load(Ordering::Relaxed)
    }

    /// Begins no further attempt.
    pub(super) fn stop(&self) {
        self.inbox.put(Message::Stop);
    }

    /// Ends the loop and those that read for it.
    pub(super) fn end(&self) {
        self.inbox.put(Message::End);
    }

    /// After [`Scheduler::stop`]: returns when no attempt is in flight.
    pub(super) async fn drain(&self) {
        let mut draining = self.shown.draining.subscribe();
        let _ = draining.wait_for(|left| *left == Some(0)).await;
    }
}

/// Lets nobody wait for a loop that has ended.
struct Closing(Arc<Inbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Scheduling {
    state: State,
    backlog: Backlog,
    handle: Scheduler,
    stages: Stages,
    ended: bool,
}

impl Scheduling {
    async fn run(mut self) {
        let mut messages = VecDeque::new();
        let mut actions = Vec::new();
        let mut alarm = self.stages.context.clock.alarm();
        loop {
            alarm.set(self.rest());
            self.handle.inbox.take(&mut messages, &mut alarm).await;
            for message in messages.drain(..) {
                self.on_message(message, &mut actions);
            }
            let clock = &self.stages.context.clock;
            self.state.start(clock.instant(), &mut actions);
            self.state.feed(clock.now(), &mut actions);
            for action in actions.drain(..) {
                self.act(action);
            }
            self.show();
            if self.ended {
                return self.backlog.end().await;
            }
        }
    }

    /// Until something becomes due.
    fn rest(&self) -> Duration {
        let now = self.stages.context.clock.now();
        match self.state.due.look_at() {
            Some(at) if !self.state.stopping => {
                Duration::from_millis(at.ms_since(now)).min(REST_MAX)
            }
            _ => REST_MAX,
        }
    }

    fn on_message(&mut self, message: Message, actions: &mut Vec<Action>) {
        let now = self.stages.context.clock.instant();
        match message {
            Message::Committed(committed) => {
                for step in committed {
                    self.note(step);
                }
            }
            Message::Read(answer) => {
                let due = self.stages.context.clock.now();
                self.state.answered(answer, due, actions);
            }
            Message::LeftProcessor => self.state.left_processor(),
            Message::Ended {
                held,
                on_processor,
                cost_us,
                unsettled,
                returned,
            } => {
                if on_processor {
                    self.state.left_processor();
                }
                match returned {
                    Some((Returned::NotBegun, job)) => self.state.returned(*job, held),
                    Some((Returned::Conflict, job)) => self.state.again(*job, held),
                    None => {}
                }
                self.state.ended(held, now, cost_us, unsettled);
            }
            Message::Subscribe(subscriptions) => {
                for (id, target, behind) in subscriptions {
                    self.state.subscribe(id, &target, behind);
                }
            }
            Message::Unsubscribe(subscriptions) => {
                for id in subscriptions {
                    self.state.unsubscribe(id);
                }
            }
            Message::Changed => {
                let snapshot = self.stages.context.snapshot();
                self.state.limit(|to| target::limits(&snapshot, to));
            }
            Message::Pause(why, paused) => self.state.pause(why, paused),
            Message::Describe(reply) => {
                let mut rows = Description::new();
                for (id, queue) in &self.state.queues {
                    let id = id.subscription;
                    let row = rows.entry(id).or_insert((Situation::Empty, 0));
                    row.0 = self.state.situation(id, now);
                    row.1 += queue.ready.len();
                }
                // Whoever asked may have gone away.
                let _ = reply.send(rows);
            }
            Message::Stop => self.state.stopping = true,
            Message::End => self.ended = true,
        }
    }

    /// Takes note of one committed step, and tells of it.
    fn note(&mut self, step: Committed) {
        let context = &self.stages.context;
        match step {
            Committed::Appended(append, places) => {
                for (new, place) in append.events.iter().zip(&places) {
                    self.state.accept(append.bus, new, *place, append.now);
                }
                super::announce::accepted(context, &append, &places);
            }
            Committed::Settled(ticket, settle, outcome) => {
                if let StepOutcome::Settled(places) = &outcome {
                    super::announce::died(context, &settle);
                    for ((bus, new), (_, place)) in settle.events().iter().zip(places) {
                        #[cfg(test)]
                        if injected::is(injected::Bug::EmittedForgotten) {
                            continue;
                        }
                        self.state.accept(*bus, new, *place, settle.now);
                    }
                }
                if let Some(ticket) = ticket {
                    self.settled(*ticket, *settle, outcome);
                }
            }
            Committed::Ended(keys) => self.state.let_go(&keys),
            Committed::Pending(places) => {
                for place in places {
                    self.state.note_retry(place);
                }
            }
        }
    }

    /// What is next after a settlement came back from the writer.
    fn settled(&mut self, ticket: SettleTicket, settle: Settle, outcome: StepOutcome) {
        let SettleTicket { job, held, later } = ticket;
        match outcome {
            StepOutcome::Settled(places) => {
                self.state.forget(job.key, held);
                if let SettleEnd::Retry { due_at } = settle.end {
                    #[cfg(test)]
                    if injected::is(injected::Bug::RetryEarly) {
                        let job = Job {
                            fence: job.fence + 1,
                            attempts_made: job.attempts_made + 1,
                            ..job.clone()
                        };
                        self.state.push(job, false);
                    }
                    self.state.note_retry((due_at, job.key));
                }
                later.take_effect(&settle.attempt.outcome);
                super::announce::attempt(&self.stages.context, &job, &settle, &places);
            }
            // Denied: an emitted event was matched for a rule that left meanwhile.
            StepOutcome::Conflict | StepOutcome::Denied(_)
                if job.conflicts < settle::CONFLICTS_MAX
                    && !settle::is_matched_anew(&settle, &outcome) =>
            {
                self.state.again(job, held);
            }
            StepOutcome::Conflict
            | StepOutcome::Denied(_)
            | StepOutcome::Refused(_)
            | StepOutcome::IdReused(_) => {
                self.state.give_turn_back(held);
                let held = Held {
                    turn: false,
                    ..held
                };
                let context = &self.stages.context;
                let settle = settle::after_refusal(context, &job, settle, &outcome);
                // Bounded by the settlements that the writer's inbox takes: this one was among them.
                let writer = self.stages.writer.clone();
                let sending = async move {
                    // It rests on nothing that could have changed.
                    let ticket = SettleTicket { job, held, later };
                    let _ = super::invoke::send(&writer, settle, None, ticket).await;
                };
                let executor = &self.stages.context.executor;
                executor.detached("settlement after a refusal", sending);
            }
            // Another attempt ended this delivery, so this one has no effect at all.
            _ => {
                tracing::debug!(delivery = %job.key, "a settlement came too late and was dropped");
                self.state.forget(job.key, held);
                // Or its record was corrupt and it waits anew, which was not looked at while it was in memory.
                self.state.look_again(job.key.subscription);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Read(request) => self.backlog.ask(request),
            Action::Start(job, held) => {
                let lease = Lease::new(self.handle.clone(), job.key, held);
                Attempts::begin(&self.stages.attempts, *job, lease);
            }
        }
    }

    fn show(&self) {
        let state = &self.state;
        let (shown, in_flight) = (&self.handle.shown, state.budget.in_flight());
        shown
            .in_memory
            .store(state.ready + state.held.len(), Ordering::Relaxed);
        shown.in_flight.store(in_flight, Ordering::Relaxed);
        shown
            .leased_bytes
            .store(state.budget.memory_bytes(), Ordering::Relaxed);
        if state.stopping {
            shown.draining.send_if_modified(|left| {
                let changed = *left != Some(in_flight);
                *left = Some(in_flight);
                changed
            });
        }
    }
}

impl State {
    /// Puts a delivery at the head of its queue, to be run again at once after a conflict over state.
    fn again(&mut self, job: Job, held: Held) {
        if job.conflicts >= CONFLICTS_ALONE {
            self.functions[held.function].note_conflict();
        }
        self.give_turn_back(held);
        self.held.insert(job.key);
        let job = Job {
            conflicts: job.conflicts + 1,
            ..job
        };
        self.push(job, true);
    }
}

/// What an attempt tells the scheduler of itself.
impl Scheduler {
    /// It gave up its thread before its end.
    pub(super) fn left_processor(&self) {
        self.inbox.put(Message::LeftProcessor);
    }

    /// It is over; `unsettled` names its delivery if no settlement of it is on its way.
    pub(super) fn ended(
        &self,
        held: Held,
        on_processor: bool,
        cost_us: u64,
        unsettled: Option<DeliveryKey>,
        returned: Option<(Returned, Box<Job>)>,
    ) {
        self.inbox.put(Message::Ended {
            held,
            on_processor,
            cost_us,
            unsettled,
            returned,
        });
    }
}
