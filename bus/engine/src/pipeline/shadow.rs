//! A delivery that is run again in shadow: under its own key, on the event that it had, with today's state, and with no
//! effect.
//!
//! With a candidate the deployed function runs first, and then the candidate. Both read through one [`Reading`], so
//! that they see the same state; what differs is the candidate's doing. Without one the deployed function runs, and is
//! compared with what is recorded of the delivery: its outcome, and what it emitted, which is looked up in the log.
//! State that was written then is not recorded. Never here: a step for the writer, or who is next.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::jobs::last_before;
use super::reading::Reading;
use super::scheduler::Job;
use super::snapshot::{Deployed, Snapshot};
use super::{services, settle, target};
use edgebus_model::{
    BusId, Data, DeliveryKey, Difference, Event, EventRef, Outcome, Pending, Position, Ran,
    ShadowCounts, ShadowTime, SkipReason, Subscription, Succeeded, Target,
};
use edgebus_store::{DeliveryState, Error, Kind, NewEvent, Page, Store, StoredEvent};

/// Tries of one delivery whose state changes under it, or that the host fails at.
const TRIES_MAX: u32 = 5;
/// How long it rests before the second try; twice as long each time.
const REST: Duration = Duration::from_millis(20);
/// Events of a bus that are looked through for what a delivery emitted.
const LOOKED_THROUGH_MAX: usize = 2_048;
/// Bytes of them.
const LOOKED_THROUGH_BYTES_MAX: usize = 4 << 20;

/// What came of one delivery.
pub(super) enum Shadowed {
    /// It could not be run.
    Skipped(SkipReason),
    /// Its function is not compiled yet.
    Later,
    /// It was run.
    Run(ShadowCounts, Option<Box<Difference>>),
}

impl Shadowed {
    /// It came to no end of its own.
    pub(super) fn failed() -> Self {
        let counts = ShadowCounts {
            runs: 1,
            failed: 1,
            ..ShadowCounts::default()
        };
        Self::Run(counts, None)
    }
}

/// What runs, and for whom.
struct Running<'a> {
    context: &'a Context,
    snapshot: &'a Snapshot,
    subscription: &'a Subscription,
    job: Job,
}

/// Runs one live delivery again in shadow.
///
/// # Errors
/// The store can't be read.
pub(super) async fn run(
    context: &Context,
    snapshot: &Snapshot,
    candidate: Option<&Arc<Deployed>>,
    (bus, key): (BusId, DeliveryKey),
) -> Result<Shadowed, Error> {
    let Some(subscription) = snapshot.subscriptions.get(&key.subscription) else {
        return Ok(Shadowed::Skipped(SkipReason::SubscriptionEnded));
    };
    let Target::Function(function) = &subscription.target.to else {
        return Ok(Shadowed::Skipped(SkipReason::FunctionMissing));
    };
    let Some(deployed) = snapshot.functions.get(function) else {
        return Ok(Shadowed::Skipped(SkipReason::FunctionMissing));
    };
    if !deployed.available() {
        return Ok(Shadowed::Later);
    }
    let stored = match context.store.event(bus, key.position) {
        Ok(Some(stored)) => stored,
        Ok(None) => return Ok(Shadowed::Skipped(SkipReason::Gone)),
        Err(error) if error.kind == Kind::Corrupt => {
            return Ok(Shadowed::Skipped(SkipReason::Corrupt));
        }
        Err(error) => return Err(error),
    };
    if stored.event.erased().is_some() {
        return Ok(Shadowed::Skipped(SkipReason::Erased));
    }
    let then = recorded(context, snapshot, (bus, key))?;
    let (number, then) = then.map_or((1, None), |(number, then)| (number, Some(then)));
    let mut job = Job::of(&Pending::new(key, stored.accepted_at), bus, &stored);
    // It is the attempt that ended the delivery, if there was one.
    job.attempts_made = number.saturating_sub(1);
    let running = Running {
        context,
        snapshot,
        subscription,
        job,
    };
    let Some((beside, ran)) = running.both(deployed, candidate).await else {
        return Ok(Shadowed::failed());
    };
    Ok(compared(key, then, beside, ran))
}

impl Running<'_> {
    /// Runs the deployed function beside the candidate, or alone: what is compared with, and what was to be tried.
    /// `None` if they come to no end of their own.
    async fn both(
        &self,
        deployed: &Arc<Deployed>,
        candidate: Option<&Arc<Deployed>>,
    ) -> Option<(Option<Ran>, Ran)> {
        let (newest, name) = (&self.context.newest, &deployed.revision.name);
        for again in 0..TRIES_MAX {
            if again > 0 {
                let rest = REST * 2_u32.saturating_pow(again - 1);
                self.context.clock.sleep(rest).await;
            }
            let mut reading = Reading::of_trial(newest.clone(), name.clone());
            let beside = match candidate {
                None => None,
                Some(_) => match self.once(deployed, &mut reading).await {
                    Some(ran) => Some(ran),
                    None => continue,
                },
            };
            let tried = candidate.unwrap_or(deployed);
            if let Some(ran) = self.once(tried, &mut reading).await {
                return Some((beside, ran));
            }
        }
        None
    }

    /// One run; `None` if it was not the function that ended it.
    async fn once(&self, own: &Arc<Deployed>, reading: &mut Reading) -> Option<Ran> {
        let (context, snapshot, job) = (self.context, self.snapshot, &self.job);
        let function = own.function()?;
        let invocation =
            target::invocation(context, snapshot, job, self.subscription, &own.revision);
        let invocation = match invocation {
            Ok(invocation) => invocation,
            Err(outcome) => return Some(ran(outcome, Duration::ZERO)),
        };
        let call = services::call(own, &**function, invocation, reading);
        #[cfg(test)]
        let call = injected::Marked(Box::pin(call));
        let (invoked, effects) = call.await;
        let mut done = ran(invoked.outcome, invoked.duration);
        if done.outcome.is_success() {
            let name = &own.revision.name;
            match settle::emits(context, snapshot, job, name, invoked.emitted) {
                Err(outcome) => done.outcome = outcome,
                Ok(made) => {
                    #[cfg(test)]
                    injected::leak(context, &made.events);
                    done.emitted_total = u32::try_from(made.events.len()).unwrap_or(u32::MAX);
                    let event = |(bus, new): (BusId, NewEvent)| (bus, new.event);
                    done.emitted = made.events.into_iter().map(event).collect();
                    done.writes_total = u32::try_from(effects.state.len()).ok();
                    done.writes = effects.state.into_iter().collect();
                }
            }
        }
        let ended = !matches!(done.outcome, Outcome::Conflict | Outcome::Host { .. });
        ended.then_some(done)
    }
}

fn ran(outcome: Outcome, duration: Duration) -> Ran {
    Ran {
        outcome,
        duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        emitted_total: 0,
        emitted: Vec::new(),
        writes_total: Some(0),
        writes: Vec::new(),
    }
}

/// Counts a run, and what of it differs.
fn compared(key: DeliveryKey, then: Option<Ran>, beside: Option<Ran>, ran: Ran) -> Shadowed {
    let mut counts = ShadowCounts {
        runs: 1,
        time: ShadowTime::of(ran.duration_us),
        ..ShadowCounts::default()
    };
    if beside.is_some() {
        let then = then.as_ref().map(|then| differences(then, &ran));
        counts.different_then = u64::from(then.is_some_and(|found| found != Found::default()));
    }
    let Some(reference) = beside.or(then) else {
        counts.unrecorded = 1;
        return Shadowed::Run(counts, None);
    };
    counts.reference_time = ShadowTime::of(reference.duration_us);
    let found = differences(&reference, &ran);
    if found == Found::default() {
        counts.same = 1;
        return Shadowed::Run(counts, None);
    }
    counts.different = 1;
    counts.outcome = u64::from(found.outcome);
    counts.emitted = u64::from(found.emitted);
    counts.state = u64::from(found.state);
    let difference = Difference {
        key,
        outcome: found.outcome,
        emitted: found.emitted,
        state: found.state,
        reference: reference.cut(),
        shadow: ran.cut(),
    };
    Shadowed::Run(counts, Some(Box::new(difference)))
}

/// In what two runs differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Found {
    outcome: bool,
    emitted: bool,
    state: bool,
}

fn differences(reference: &Ran, ran: &Ran) -> Found {
    let known = |ran: &Ran| usize::try_from(ran.emitted_total) == Ok(ran.emitted.len());
    // Of events that retention has taken only the number is known.
    let emitted = reference.emitted_total != ran.emitted_total
        || known(reference) && known(ran) && contents(&reference.emitted) != contents(&ran.emitted);
    let written = reference.writes_total.zip(ran.writes_total);
    Found {
        outcome: said(&reference.outcome) != said(&ran.outcome),
        emitted,
        state: written.is_some() && reference.writes != ran.writes,
    }
}

/// What counts of an outcome: messages may name times and addresses.
fn said(outcome: &Outcome) -> (&'static str, Option<u64>) {
    let after_ms = match outcome {
        Outcome::Retry { after_ms, .. } => *after_ms,
        _ => None,
    };
    (outcome.class(), after_ms)
}

/// What events say, in no particular order. Their ids and times are the host's, and so are some extensions.
fn contents(events: &[(BusId, Arc<Event>)]) -> Vec<[u8; 32]> {
    let mut contents: Vec<_> = events
        .iter()
        .map(|(bus, event)| content(*bus, event))
        .collect();
    contents.sort_unstable();
    contents
}

fn content(bus: BusId, event: &Event) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    part(&bus.0.to_be_bytes());
    for text in [&event.source, &event.kind] {
        part(text.as_bytes());
    }
    for text in [&event.subject, &event.data_content_type, &event.data_schema] {
        part(&[u8::from(text.is_some())]);
        part(text.as_deref().unwrap_or_default().as_bytes());
    }
    let own = event.extensions.iter();
    let mut own: Vec<_> = own
        .filter(|(name, _)| !settle::HOST_EXTENSIONS.contains(&name.as_str()))
        .collect();
    own.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in own {
        part(name.as_bytes());
        part(format!("{value:?}").as_bytes());
    }
    match &event.data {
        Data::Absent => part(&[0]),
        Data::Json(data) => {
            part(&[1]);
            part(data);
        }
        Data::Opaque(data) => {
            part(&[2]);
            part(data);
        }
        Data::Erased(_) => part(&[3]),
    }
    *hasher.finalize().as_bytes()
}

/// What is recorded of a delivery that has ended, with the number of the attempt that ended it; `None` if it has not,
/// or was discarded.
fn recorded(
    context: &Context,
    snapshot: &Snapshot,
    (bus, key): (BusId, DeliveryKey),
) -> Result<Option<(u32, Ran)>, Error> {
    let state = match context.store.delivery(key) {
        Ok(state) => state,
        Err(error) if error.kind == Kind::Corrupt => return Ok(None),
        Err(error) => return Err(error),
    };
    let (delivery, ended) = match state {
        Some(DeliveryState::Succeeded(own)) if own.discarded.is_none() => {
            (own.delivery.clone(), Some(own))
        }
        Some(DeliveryState::Dead(letter)) => (letter.delivery, None),
        _ => return Ok(None),
    };
    let Some(last) = delivery.attempts.last() else {
        return Ok(None);
    };
    let mut then = ran(
        last.outcome.clone(),
        Duration::from_micros(last.duration_us),
    );
    then.writes_total = None;
    if let Some(own) = ended.filter(|own| own.emitted > 0) {
        then.emitted_total = own.emitted;
        then.emitted = emitted(context, snapshot, bus, &own)?;
    }
    Ok(Some((last.number, then)))
}

/// What a delivery emitted, as far as the log has it near the time of its settlement.
fn emitted(
    context: &Context,
    snapshot: &Snapshot,
    bus: BusId,
    own: &Succeeded,
) -> Result<Vec<(BusId, Arc<Event>)>, Error> {
    let wanted = usize::try_from(own.emitted).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let others = snapshot.buses.values().map(|other| other.id);
    for bus in [bus].into_iter().chain(others.filter(|id| *id != bus)) {
        if found.len() >= wanted {
            break;
        }
        let newest = context.last_position(bus);
        let check = || Ok::<(), Error>(());
        let before = last_before(&*context.store, (bus, newest), own.settled_at, check)?;
        // Of one that is erased only the number counts, as of one that retention has taken.
        let caused = |stored: &StoredEvent| {
            stored.lineage.parent == Some(own.delivery.key) && stored.event.erased().is_none()
        };
        let events = behind(
            &*context.store,
            EventRef {
                bus,
                position: before,
            },
        )?;
        let events = events.into_iter().filter(caused);
        found.extend(events.map(|stored| (bus, stored.event)));
    }
    Ok(found)
}

/// Events of a bus behind a place, a bounded number.
fn behind(store: &dyn Store, place: EventRef) -> Result<Vec<StoredEvent>, Error> {
    let page = Page::forward(LOOKED_THROUGH_MAX, LOOKED_THROUGH_BYTES_MAX);
    let from = Position(place.position.0);
    Ok(store.events_page(place.bus, from, page)?.rows)
}

/// A bug that the simulation must find, and how its functions know that they run in shadow. Never in a release.
#[cfg(test)]
pub(crate) mod injected {
    use std::cell::Cell;
    use std::pin::Pin;
    use std::task::{Context as Polled, Poll};

    use super::super::injected::{Bug, is};
    use super::{BusId, Context, NewEvent};
    use edgebus_store::{Append, Step};

    thread_local! {
        static IN_SHADOW: Cell<bool> = const { Cell::new(false) };
    }

    /// True while a call in shadow is being polled.
    pub(crate) fn in_shadow() -> bool {
        IN_SHADOW.get()
    }

    /// A call in shadow.
    pub(super) struct Marked<F>(pub(super) Pin<Box<F>>);

    impl<F: Future> Future for Marked<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, context: &mut Polled<'_>) -> Poll<F::Output> {
            IN_SHADOW.set(true);
            let polled = self.0.as_mut().poll(context);
            IN_SHADOW.set(false);
            polled
        }
    }

    /// What a run in shadow emitted goes into the log.
    pub(super) fn leak(context: &Context, events: &[(BusId, NewEvent)]) {
        if !is(Bug::ShadowLeaks) {
            return;
        }
        for (bus, new) in events {
            let mut event = (*new.event).clone();
            event.id = format!("leaked-{}", context.clock.random());
            let append = Append {
                bus: *bus,
                events: vec![NewEvent {
                    event: event.into(),
                    subscriptions: Vec::new(),
                    ..new.clone()
                }],
                now: context.clock.now(),
            };
            // Behind the writer's back, as nothing else may.
            let _ = context.store.commit(&[Step::Append(append)]);
        }
    }
}
