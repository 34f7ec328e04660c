//! The bus's own events: what happens to it is published on the bus `system`, so that rules can act on it.
//!
//! | type | when |
//! |---|---|
//! | `dev.edgebus.dead-letter.created` | a delivery has become a dead letter |
//! | `dev.edgebus.job.ended` | a job is done, or has failed |
//! | `dev.edgebus.manifest.applied` | other rules are active |
//!
//! An event is published after what it tells is durable, in a transaction of its own, up to a second later: a process
//! that is killed between says nothing of it. Of each subscription the first death is told at once, and the others are
//! counted: one event a minute tells how many there were, so that ten thousand deaths are a few events. The death of a
//! delivery of one of these events is told to nobody, or there would be a loop. As long as no manifest has named the
//! bus, nothing is published. Never here: data of an event, or what a function said.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Pipeline;
use super::context::Context;
use super::snapshot::Snapshot;
use edgebus_model::rule::SYSTEM_BUS;
use edgebus_model::{
    Data, DeadReason, DeliveryKey, Event, Job, JobState, Position, Subscription, SubscriptionId,
    Timestamp,
};

/// Of one subscription at most one event tells of deaths in this time, in milliseconds.
const EVERY_MS: u64 = 60_000;
/// Other events that wait to be published; of more, the oldest are lost.
const MOMENTS_MAX: usize = 256;
/// Events that are published at once.
const EVENTS_MAX: usize = 256;
/// What all of them have as their source.
const SOURCE: &str = "/edgebus";

/// A delivery that has become a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Death {
    pub(super) key: DeliveryKey,
    /// The fence of the attempt that ended it.
    pub(super) fence: u32,
    /// Attempts that were made.
    pub(super) attempts: u32,
    pub(super) reason: DeadReason,
    pub(super) at: Timestamp,
}

/// Deaths of one subscription that are yet to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Deaths {
    count: u64,
    /// When the first of them was.
    since: Timestamp,
    /// The last of them.
    last: Death,
}

impl Deaths {
    fn one(last: Death) -> Self {
        Self {
            count: 1,
            since: last.at,
            last,
        }
    }

    /// These, and those that came later.
    fn and(self, later: Self) -> Self {
        Self {
            count: self.count.saturating_add(later.count),
            since: self.since,
            last: later.last,
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    /// At most one entry for each subscription.
    deaths: BTreeMap<SubscriptionId, Deaths>,
    /// Before these times nothing more is told of a subscription.
    quiet_until: BTreeMap<SubscriptionId, Timestamp>,
    moments: VecDeque<Event>,
}

/// What is yet to be told.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    /// A plain lock around steps in memory.
    told: Mutex<Told>,
}

impl Lifecycle {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a death.
    pub(super) fn died(&self, snapshot: &Snapshot, death: Death) {
        let Some(own) = snapshot.buses.get(SYSTEM_BUS) else {
            return;
        };
        let id = death.key.subscription;
        let of = snapshot.subscriptions.get(&id);
        if of.is_none_or(|of| of.bus == own.id) {
            return;
        }
        self.add(Deaths::one(death));
    }

    fn add(&self, later: Deaths) {
        let mut told = self.told();
        let deaths = told.deaths.entry(later.last.key.subscription);
        deaths
            .and_modify(|deaths| *deaths = deaths.and(later))
            .or_insert(later);
    }

    /// Takes note of a job that has ended by itself.
    pub(super) fn job_ended(&self, snapshot: &Snapshot, job: &Job) {
        let (kind, state) = (job.spec.word(), job.state.word());
        let failure = match &job.state {
            JobState::Failed { reason } => format!(r#","failure":{}"#, quoted(reason)),
            _ => String::new(),
        };
        let data = format!(
            r#"{{"job":{},"kind":"{kind}","state":"{state}","done":{},"skipped":{}{failure}}}"#,
            job.id,
            job.progress.done,
            job.progress.skipped.total()
        );
        let id = format!("job-{}-{}", job.id, job.changed_at.0);
        self.moment(snapshot, || {
            let subject = format!("jobs/{}", job.id);
            event(id, "job.ended", subject, job.changed_at, data)
        });
    }

    /// Takes note of other rules that are active.
    pub(super) fn applied(&self, snapshot: &Snapshot, now: Timestamp) {
        let version = snapshot.version;
        self.moment(snapshot, || {
            let data = format!(r#"{{"version":{version}}}"#);
            let id = format!("manifest-{version}");
            event(id, "manifest.applied", "manifest".to_owned(), now, data)
        });
    }

    fn moment(&self, snapshot: &Snapshot, event: impl FnOnce() -> Event) {
        if !snapshot.buses.contains_key(SYSTEM_BUS) {
            return;
        }
        let event = event();
        let mut told = self.told();
        if told.moments.len() >= MOMENTS_MAX {
            told.moments.pop_front();
        }
        told.moments.push_back(event);
    }

    /// Takes what is to be told now; with `all` also what would wait for its time.
    fn take(&self, now: Timestamp, all: bool) -> (Vec<Deaths>, Vec<Event>) {
        let mut told = self.told();
        let told = &mut *told;
        told.quiet_until.retain(|_, until| *until > now);
        let quiet = &mut told.quiet_until;
        let mut due = Vec::new();
        told.deaths.retain(|id, deaths| {
            if due.len() >= EVENTS_MAX || (!all && quiet.contains_key(id)) {
                return true;
            }
            quiet.insert(*id, now.plus_ms(EVERY_MS));
            due.push(*deaths);
            false
        });
        let count = told.moments.len().min(EVENTS_MAX);
        (due, told.moments.drain(..count).collect())
    }

    /// They could not be told, and wait for the next time.
    fn put_back(&self, untold: Vec<Deaths>, moments: Vec<Event>) {
        let mut told = self.told();
        for moment in moments.into_iter().rev() {
            if told.moments.len() < MOMENTS_MAX {
                told.moments.push_front(moment);
            }
        }
        for earlier in untold {
            let later = told.deaths.entry(earlier.last.key.subscription);
            later
                .and_modify(|later| *later = earlier.and(*later))
                .or_insert(earlier);
        }
    }
}

/// An event of the bus's own; `kind` is the end of its type.
fn event(id: String, kind: &str, subject: String, time: Timestamp, data: String) -> Event {
    Event {
        id,
        source: SOURCE.to_owned(),
        kind: format!("dev.edgebus.{kind}"),
        subject: Some(subject),
        time: Some(time.to_string()),
        data_content_type: Some("application/json".to_owned()),
        data_schema: None,
        extensions: Vec::new(),
        data: Data::Json(data.into()),
    }
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// The event that tells of deaths of a subscription. Names need no quoting.
fn of_deaths(context: &Context, bus: &str, own: &Subscription, deaths: &Deaths) -> Event {
    let Deaths { count, since, last } = deaths;
    let function = own.target.to.function();
    let function = function.map_or_else(String::new, |name| format!(r#","function":"{name}""#));
    let Position(position) = last.key.position;
    let data = format!(
        r#"{{"subscription":"{}","bus":"{bus}"{function},"count":{count},"since":"{since}","last":{{"delivery":"{}","position":{position},"reason":"{}","attempts":{},"died_at":"{}"}}}}"#,
        own.name(),
        last.key,
        last.reason.word(),
        last.attempts,
        last.at,
    );
    let id = context.death_id(last.key, last.fence);
    let subject = own.name().to_string();
    event(id, "dead-letter.created", subject, last.at, data)
}

impl Pipeline {
    /// Publishes what has happened since the last time and is due; with `all` also what would wait.
    pub(super) async fn tell_lifecycle(&self, all: bool) {
        let lifecycle = &self.context.lifecycle;
        let (deaths, moments) = lifecycle.take(self.clock().now(), all);
        if deaths.is_empty() && moments.is_empty() {
            return;
        }
        let snapshot = self.snapshot();
        let of_deaths = deaths.iter().filter_map(|deaths| {
            let own = snapshot.subscriptions.get(&deaths.last.key.subscription)?;
            let bus = snapshot.bus(own.bus)?;
            Some(of_deaths(&self.context, &bus.name, own, deaths))
        });
        let events: Vec<Event> = moments.iter().cloned().chain(of_deaths).collect();
        drop(snapshot);
        if let Err(error) = self.publish(SYSTEM_BUS, events).await {
            tracing::warn!(%error, "events of the bus's own are not published");
            lifecycle.put_back(deaths, moments);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(subscription: u32, position: u64, at: u64) -> Deaths {
        Deaths::one(Death {
            key: DeliveryKey {
                subscription: SubscriptionId(subscription),
                replay: 0,
                position: Position(position),
            },
            fence: 1,
            attempts: 3,
            reason: DeadReason::Rejected,
            at: Timestamp(at),
        })
    }

    #[test]
    fn deaths_of_a_subscription_are_told_once_a_minute() {
        let lifecycle = Lifecycle::default();
        let die = |subscription, position, at| lifecycle.add(death(subscription, position, at));
        let counts = |now, all| {
            let (deaths, _) = lifecycle.take(Timestamp(now), all);
            let of =
                |deaths: &Deaths| (deaths.last.key.subscription.0, deaths.count, deaths.since.0);
            deaths.iter().map(of).collect::<Vec<_>>()
        };
        die(1, 1, 1_000);
        assert_eq!(counts(1_000, false), [(1, 1, 1_000)]);
        for position in 2..=10_001 {
            die(1, position, 2_000);
        }
        die(2, 1, 3_000);
        assert_eq!(counts(3_000, false), [(2, 1, 3_000)]);
        assert_eq!(counts(60_999, false), []);
        assert_eq!(counts(61_000, false), [(1, 10_000, 2_000)]);
        // What could not be told is told with what came later.
        die(1, 10_002, 62_000);
        let (untold, _) = lifecycle.take(Timestamp(121_000), false);
        assert_eq!(untold.len(), 1);
        die(1, 10_003, 122_000);
        lifecycle.put_back(untold, Vec::new());
        assert_eq!(counts(122_000, false), []);
        // A stop waits for nothing.
        assert_eq!(counts(122_000, true), [(1, 2, 62_000)]);
        assert_eq!(counts(999_000, true), []);
    }

    #[test]
    fn texts_are_quoted() {
        assert_eq!(quoted("a \"b\" \\ \n"), r#""a \"b\" \\ \u000a""#);
    }
}
