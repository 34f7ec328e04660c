//! What the scheduler is told: a bounded inbox that the one thread empties at once.
//!
//! Commits are bounded: the writer waits while too many stand in it. All other messages are bounded by
//! what they speak of: attempts in flight, pages under way, subscriptions. Never here: decisions.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Description;
use super::backlog::Answer;
use super::queue::Job;
use super::state::{Held, Pause};
use crate::model::{DeliveryKey, SubscriptionId, Target};
use crate::pipeline::writer::Committed;

/// Commits that may wait for the scheduler.
const COMMITS_MAX: usize = 64;

/// One thing that the scheduler is told.
pub(super) enum Message {
    /// A transaction's steps, in the order of the commits.
    Committed(Vec<Committed>),
    /// Something was read from the store.
    Read(Answer),
    /// An attempt gave up its thread before its end.
    LeftProcessor,
    /// An attempt is over.
    Ended {
        held: Held,
        /// True if it never gave up its thread.
        on_processor: bool,
        /// Time on a thread, in microseconds.
        cost_us: u64,
        /// Its delivery, if no settlement of it is on its way.
        unsettled: Option<DeliveryKey>,
        /// The delivery itself, if it could not begin.
        returned: Option<Box<Job>>,
    },
    /// Subscriptions that may be new, or may have another target now; true for those that the store may
    /// hold deliveries of.
    Subscribe(Vec<(SubscriptionId, Target, bool)>),
    /// Subscriptions that were retired.
    Unsubscribe(Vec<SubscriptionId>),
    /// Other functions or limits are active.
    Changed,
    Pause(Pause, bool),
    Describe(oneshot::Sender<Description>),
    /// No attempt begins from here on.
    Stop,
    /// The thread ends.
    End,
}

#[derive(Default)]
struct Mail {
    messages: VecDeque<Message>,
    commits: usize,
    asleep: bool,
    closed: bool,
}

/// The inbox.
#[derive(Default)]
pub(super) struct Inbox {
    /// A plain mutex around pushes and one swap; nothing is called under it.
    mail: Mutex<Mail>,
    wake: Condvar,
    room: Condvar,
}

impl Inbox {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message; after the scheduler's end it is dropped.
    pub(super) fn put(&self, message: Message) {
        let mut mail = self.mail();
        if matches!(message, Message::Committed(_)) {
            while mail.commits >= COMMITS_MAX && !mail.closed {
                mail = self.room.wait(mail).unwrap_or_else(PoisonError::into_inner);
            }
            mail.commits += 1;
        }
        if mail.closed {
            return;
        }
        mail.messages.push_back(message);
        if std::mem::take(&mut mail.asleep) {
            drop(mail);
            self.wake.notify_one();
        }
    }

    /// Moves all messages to `messages`, which is empty; waits for one for at most `wait`.
    pub(super) fn take(&self, messages: &mut VecDeque<Message>, wait: Duration) {
        let mut mail = self.mail();
        if mail.messages.is_empty() && !wait.is_zero() {
            mail.asleep = true;
            mail = self
                .wake
                .wait_timeout_while(mail, wait, |mail| mail.asleep)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            mail.asleep = false;
        }
        std::mem::swap(&mut mail.messages, messages);
        mail.commits = 0;
        drop(mail);
        self.room.notify_all();
    }

    /// Nobody takes messages any more.
    pub(super) fn close(&self) {
        let mut mail = self.mail();
        mail.closed = true;
        // Whoever waits for an answer hears that there is none.
        let left = std::mem::take(&mut mail.messages);
        drop(mail);
        drop(left);
        self.room.notify_all();
    }
}
