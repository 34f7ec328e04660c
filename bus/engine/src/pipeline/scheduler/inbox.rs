//! The scheduler's inbox: bounded, and emptied as a whole by its one loop.
//!
//! Commits are bounded: the writer waits while there are too many. Other messages are bounded by attempts in
//! flight, pages being read, and subscriptions. Never here: decisions.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::oneshot;

use super::Description;
use super::backlog::Answer;
use super::queue::Job;
use super::state::{Held, Pause};
use crate::clock::Alarm;
#[cfg(test)]
use crate::pipeline::injected;
use crate::pipeline::writer::Committed;
use edgebus_model::{DeliveryKey, SubscriptionId, Target};

/// Commits that may wait for the scheduler.
const COMMITS_MAX: usize = 64;

/// Why an attempt is to be made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pipeline) enum Returned {
    /// It could not begin.
    NotBegun,
    /// State that it had read was changed.
    Conflict,
}

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
        /// The delivery itself, if its attempt is to be made again.
        returned: Option<(Returned, Box<Job>)>,
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
    /// The loop ends.
    End,
}

#[derive(Default)]
struct Mail {
    messages: VecDeque<Message>,
    commits: usize,
    /// The scheduler's loop, while it waits for a message.
    reader: Option<Waker>,
    /// The writer, while it waits for room.
    writer: Option<Waker>,
    closed: bool,
}

/// The inbox.
#[derive(Default)]
pub(super) struct Inbox {
    /// A plain mutex around pushes and one swap; nothing is called under it.
    mail: Mutex<Mail>,
}

impl Inbox {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message; after the scheduler's end it is dropped.
    pub(super) fn put(&self, message: Message) {
        let mut mail = self.mail();
        if mail.closed {
            drop(mail);
            return;
        }
        mail.messages.push_back(message);
        #[cfg(test)]
        if injected::every(7, injected::Bug::WakeUpLost) {
            return;
        }
        let reader = mail.reader.take();
        drop(mail);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Leaves a commit, once there is room. One writer waits at a time.
    pub(super) async fn put_commit(&self, committed: Vec<Committed>) {
        let mut committed = Some(committed);
        let reader = std::future::poll_fn(|context| {
            let mut mail = self.mail();
            if mail.closed {
                return Poll::Ready(None);
            }
            if mail.commits >= COMMITS_MAX {
                mail.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            mail.commits += 1;
            mail.messages
                .extend(committed.take().map(Message::Committed));
            #[cfg(test)]
            if injected::every(3, injected::Bug::WakeUpLost) {
                return Poll::Ready(None);
            }
            Poll::Ready(mail.reader.take())
        })
        .await;
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Moves all messages to `messages`, which is empty; waits for one until the alarm rings.
    pub(super) async fn take(&self, messages: &mut VecDeque<Message>, alarm: &mut Alarm) {
        let writer = std::future::poll_fn(|context| {
            let mut mail = self.mail();
            if mail.messages.is_empty() {
                // Whoever leaves a message from here on wakes this loop.
                mail.reader = Some(context.waker().clone());
                drop(mail);
                if alarm.poll(context).is_pending() {
                    return Poll::Pending;
                }
                mail = self.mail();
                mail.reader = None;
            }
            std::mem::swap(&mut mail.messages, messages);
            mail.commits = 0;
            Poll::Ready(mail.writer.take())
        })
        .await;
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Nobody takes messages any more.
    pub(super) fn close(&self) {
        let mut mail = self.mail();
        mail.closed = true;
        // Whoever waits for an answer hears that there is none.
        let left = std::mem::take(&mut mail.messages);
        let writer = mail.writer.take();
        drop(mail);
        drop(left);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}
