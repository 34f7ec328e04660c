//! Replays and seeks: names and times become numbers and positions, and a job is made of them.
//!
//! Never here: what is delivered; `pipeline::jobs::replay` finds that, and a job does it.

use std::collections::BTreeMap;

use super::deliveries::{is_called, not_found};
use super::{Bus, Cancel, ReadEnd, log};
use crate::pipeline::{Budget, Replay, Snapshot};
use edgebus_model::error::{Error, InputError, Kind};
use edgebus_model::{
    BusId, DeliveryKey, Job, JobId, JobPlace, JobSpec, Name, Position, ReplayPurpose, ReplaySpec,
    SkipSpec, Skipped, Subscription, SubscriptionId, Timestamp,
};
use edgebus_store::{Page, Store};

/// What one look for a count finds and reads at most.
const LOOK: Budget = Budget {
    effects: 4_096,
    rows: 256,
    bytes: 512 << 10,
};
/// Jobs that are read at once.
const JOBS_AT_ONCE: usize = 256;
/// Pending deliveries that are counted at once.
const ROWS_AT_ONCE: usize = 4_096;

/// A border of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Border {
    /// A position.
    Position(Position),
    /// A time of acceptance.
    Time(Timestamp),
}

/// A replay as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct ReplayRequest {
    /// As [`ReplaySpec::name`].
    pub name: Option<Name>,
    /// The bus's name.
    pub bus: String,
    /// The first event; the oldest if it is left out.
    pub from: Option<Border>,
    /// The last position, or the time that events were accepted before; else the newest event.
    pub to: Option<Border>,
    /// Names of rules.
    pub rules: Vec<String>,
    /// Names or numbers of subscriptions.
    pub subscriptions: Vec<String>,
    /// As [`ReplaySpec::kind`].
    pub kind: Option<String>,
    /// As [`ReplaySpec::pattern`]; it was read already.
    pub pattern: Option<String>,
    /// As [`ReplaySpec::as_matched`].
    pub as_matched: bool,
    /// As [`Job::rate`].
    pub rate: Option<u32>,
}

/// What a replay would deliver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayCount {
    /// The range.
    pub first: Position,
    /// Its end.
    pub last: Position,
    /// Events that were looked at.
    pub events: u64,
    /// Deliveries by the name of the subscription.
    pub deliveries: BTreeMap<String, u64>,
    /// Deliveries that it could not make, and events of the range that are not there.
    pub skipped: Skipped,
    /// True if there was no time for all.
    pub more: bool,
}

/// Where a subscription is to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeekTo {
    /// With the oldest event.
    Start,
    /// Behind the newest event.
    End,
    /// There.
    At(Border),
}

/// What a seek does.
#[derive(Clone, Debug)]
pub struct Seek {
    /// The subscription.
    pub subscription: Subscription,
    /// What it goes on with.
    pub position: Position,
    /// The job that skips what is pending before that, if something is.
    pub skip: Option<Job>,
    /// The job that delivers again what is behind it, if something is.
    pub replay: Option<Job>,
    /// Earlier replays that go on for it, or have something pending.
    pub earlier: Vec<JobId>,
}

/// What a seek would do.
#[derive(Clone, Debug)]
pub struct SeekCount {
    /// The subscription.
    pub subscription: Subscription,
    /// What it would go on with.
    pub position: Position,
    /// Deliveries that it would skip.
    pub skipped: u64,
    /// Events that it would deliver again.
    pub replayed: u64,
    /// Earlier replays that go on for it, or have something pending.
    pub earlier: Vec<JobId>,
    /// True if there was no time for all.
    pub more: bool,
}

pub(super) fn wrong(pointer: &str, reason: String, remedy: &str) -> Error {
    let error = InputError {
        pointer: pointer.to_owned(),
        place: None,
        reason: reason.clone(),
        remedy: remedy.to_owned(),
    };
    Error::invalid(reason, vec![error])
}

impl Bus {
    /// Makes a job that delivers events again.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a bus, a rule or a subscription, [`Kind::Invalid`] for a range that can't be,
    /// [`Kind::Conflict`] for one that begins before the oldest event or where too many jobs have not ended.
    pub async fn replay(&self, asked: ReplayRequest) -> Result<Job, Error> {
        let (spec, rate) = (self.replay_spec(&asked).await?, asked.rate);
        let of = length(spec.first, spec.last);
        self.pipeline
            .start_job(JobSpec::Replay(spec), rate, of)
            .await
    }

    /// Counts what that job would deliver.
    ///
    /// # Errors
    /// As [`Bus::replay`].
    pub async fn count_replay(&self, asked: ReplayRequest) -> Result<ReplayCount, Error> {
        let spec = self.replay_spec(&asked).await?;
        let replay = compiled(&spec)?;
        let snapshot = self.snapshot();
        self.read(move |store, cancel| count((store, cancel), &snapshot, &spec, &replay))
            .await
    }

    /// The range and the subscriptions that are meant.
    pub(super) async fn replay_spec(&self, asked: &ReplayRequest) -> Result<ReplaySpec, Error> {
        let bus = self.bus_id(&asked.bus)?;
        let subscriptions = chosen(&self.snapshot(), bus, asked)?;
        let (first, last) = self.kept_range(bus, asked.from, asked.to).await?;
        Ok(ReplaySpec {
            name: asked.name.clone(),
            purpose: ReplayPurpose::Replay,
            bus,
            first,
            last,
            subscriptions,
            kind: asked.kind.clone(),
            pattern: asked.pattern.clone(),
            as_matched: asked.as_matched,
        })
    }

    /// The positions between two borders, of those that retention has not reached.
    async fn kept_range(
        &self,
        bus: BusId,
        from: Option<Border>,
        to: Option<Border>,
    ) -> Result<(Position, Position), Error> {
        let oldest = self.oldest(bus).await?;
        self.range((bus, oldest), from, to).await
    }

    /// The positions between two borders, the first of them not before `oldest`; the last one is before the first where
    /// there is nothing.
    pub(super) async fn range(
        &self,
        (bus, oldest): (BusId, Position),
        from: Option<Border>,
        to: Option<Border>,
    ) -> Result<(Position, Position), Error> {
        let newest = self.pipeline.last_position(bus);
        let now = self.pipeline.clock().now();
        let of_time = |time: Timestamp| async move {
            self.read(move |store, cancel| log::before(store, cancel, bus, newest, time))
                .await
        };
        let first = match from {
            None => oldest,
            Some(Border::Position(first)) if first < oldest => return Err(too_old(first, oldest)),
            Some(Border::Position(first)) if first.0 > newest.0.saturating_add(1) => {
                return Err(wrong(
                    "/from",
                    format!("position {first} is behind the newest event, which is at {newest}"),
                    "begin with an event that is there",
                ));
            }
            Some(Border::Position(first)) => first,
            Some(Border::Time(time)) if time > now => return Err(in_the_future("/since", time)),
            // Begins with the oldest event where the time is before that.
            Some(Border::Time(time)) => {
                Position(of_time(time).await?.0.saturating_add(1)).max(oldest)
            }
        };
        let last = match to {
            None => newest,
            Some(Border::Position(last)) => last.min(newest),
            Some(Border::Time(time)) => of_time(time).await?,
        };
        if last.0.saturating_add(1) < first.0 {
            return Err(wrong(
                "/to",
                format!("the range ends at position {last}, before it begins at {first}"),
                "let it end behind its beginning",
            ));
        }
        Ok((first, last))
    }

    /// The position from which on retention has removed nothing of a bus.
    async fn oldest(&self, bus: BusId) -> Result<Position, Error> {
        self.read(move |store, _| Ok(store.floor(bus)?)).await
    }

    /// Moves a subscription: what is pending before the place is skipped, and what it got from there on and that is
    /// no longer pending is delivered again.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the subscription, [`Kind::Invalid`] for the future, [`Kind::Conflict`] for a place before
    /// the oldest event.
    pub async fn seek(&self, name: &str, to: SeekTo) -> Result<Seek, Error> {
        let (subscription, position) = self.place(name, to).await?;
        let replay = self.seek_spec(&subscription, position);
        let (id, bus) = (subscription.id, subscription.bus);
        let (pending, earlier) = self
            .read(move |store, cancel| {
                let pending = pending_before(store, cancel, (id, position), 1)?;
                Ok((pending, earlier(store, cancel, (id, bus))?))
            })
            .await?;
        let skip = SkipSpec::Live {
            subscription: subscription.id,
            before: position,
        };
        let skip = match pending.0 {
            0 => None,
            _ => {
                let counts = self.pipeline.store().counts(subscription.id);
                let of = counts.map_or(0, |counts| counts.pending + counts.waiting);
                Some(
                    self.pipeline
                        .start_job(JobSpec::Skip(skip), None, of)
                        .await?,
                )
            }
        };
        let of = length(replay.first, replay.last);
        let replay = match of {
            0 => None,
            of => {
                let spec = JobSpec::Replay(replay);
                Some(self.pipeline.start_job(spec, None, of).await?)
            }
        };
        Ok(Seek {
            subscription,
            position,
            skip,
            replay,
            earlier,
        })
    }

    /// Counts what a seek would do.
    ///
    /// # Errors
    /// As [`Bus::seek`].
    pub async fn count_seek(&self, name: &str, to: SeekTo) -> Result<SeekCount, Error> {
        let (subscription, position) = self.place(name, to).await?;
        let spec = self.seek_spec(&subscription, position);
        let replay = compiled(&spec)?;
        let snapshot = self.snapshot();
        self.read(move |store, cancel| {
            let (skipped, whole) =
                pending_before(store, cancel, (subscription.id, position), u64::MAX)?;
            let counted = count((store, cancel), &snapshot, &spec, &replay)?;
            let own = (subscription.id, subscription.bus);
            let earlier = earlier(store, cancel, own)?;
            Ok(SeekCount {
                earlier,
                subscription,
                position,
                skipped,
                replayed: counted.deliveries.values().sum(),
                more: counted.more || !whole,
            })
        })
        .await
    }

    /// What a seek delivers again.
    fn seek_spec(&self, subscription: &Subscription, position: Position) -> ReplaySpec {
        ReplaySpec {
            name: None,
            purpose: ReplayPurpose::Seek,
            bus: subscription.bus,
            first: position,
            last: self.pipeline.last_position(subscription.bus),
            subscriptions: vec![subscription.id],
            kind: None,
            pattern: None,
            as_matched: true,
        }
    }

    /// The subscription, and the position that it is to go on with.
    async fn place(&self, name: &str, to: SeekTo) -> Result<(Subscription, Position), Error> {
        let snapshot = self.snapshot();
        let mut all = snapshot.subscriptions.values().filter(|own| own.active);
        let found = all.find(|own| is_called(own, name));
        let subscription = found.ok_or_else(|| not_found("subscription", name, "subscriptions"))?;
        let bus = subscription.bus;
        let newest = self.pipeline.last_position(bus);
        let position = match to {
            SeekTo::Start => self.oldest(bus).await?,
            SeekTo::End => Position(newest.0.saturating_add(1)),
            SeekTo::At(border) => match self.kept_range(bus, Some(border), None).await {
                Ok((first, _)) => first,
                Err(mut error) => {
                    // The same words about the members of this request.
                    for input in &mut error.errors {
                        input.pointer = match border {
                            Border::Position(_) => "/to_position".to_owned(),
                            Border::Time(_) => "/to".to_owned(),
                        };
                    }
                    return Err(error);
                }
            },
        };
        Ok(((**subscription).clone(), position))
    }
}

/// The replay, whose pattern can be read.
fn compiled(spec: &ReplaySpec) -> Result<Replay, Error> {
    Replay::new(spec.clone()).map_err(|reason| Error::new(Kind::Invalid, reason))
}

fn too_old(first: Position, oldest: Position) -> Error {
    Error::new(
        Kind::Conflict,
        format!(
            "position {first} is before the oldest event that is kept, which is at {oldest}; begin there"
        ),
    )
}

fn in_the_future(pointer: &str, time: Timestamp) -> Error {
    wrong(
        pointer,
        format!("{time} is in the future: nothing was accepted then"),
        "name a time that is past",
    )
}

/// Events of a range.
pub(super) fn length(first: Position, last: Position) -> u64 {
    last.0.saturating_add(1).saturating_sub(first.0)
}

/// The numbers of the subscriptions that are named, in order; none for all.
fn chosen(
    snapshot: &Snapshot,
    bus: BusId,
    asked: &ReplayRequest,
) -> Result<Vec<SubscriptionId>, Error> {
    let all = || {
        let all = snapshot.subscriptions.values();
        all.filter(|own| own.active && own.bus == bus)
    };
    let mut chosen = Vec::new();
    for rule in &asked.rules {
        let before = chosen.len();
        let of_rule = all().filter(|own| own.rule.as_str() == rule);
        chosen.extend(of_rule.map(|own| own.id));
        if chosen.len() == before {
            return Err(not_found("rule with a target on this bus", rule, "rules"));
        }
    }
    for name in &asked.subscriptions {
        let found = all().find(|own| is_called(own, name));
        let found = found
            .ok_or_else(|| not_found("active subscription of this bus", name, "subscriptions"))?;
        chosen.push(found.id);
    }
    chosen.sort_unstable();
    chosen.dedup();
    if chosen.len() > ReplaySpec::SUBSCRIPTIONS_MAX {
        return Err(wrong(
            "/subscriptions",
            format!(
                "{} subscriptions are named, and {} can be",
                chosen.len(),
                ReplaySpec::SUBSCRIPTIONS_MAX
            ),
            "name none for all of them",
        ));
    }
    Ok(chosen)
}

/// Counts what a replay would deliver, as far as there is time for it.
fn count(
    (store, cancel): (&dyn Store, &Cancel),
    snapshot: &Snapshot,
    spec: &ReplaySpec,
    replay: &Replay,
) -> Result<ReplayCount, ReadEnd> {
    let mut counted = ReplayCount {
        first: spec.first,
        last: spec.last,
        events: 0,
        deliveries: BTreeMap::new(),
        skipped: Skipped::default(),
        more: false,
    };
    let mut place = JobPlace::Start;
    while length(spec.first, spec.last) > 0 {
        if cancel.is_late() {
            counted.more = true;
            break;
        }
        cancel.check()?;
        let portion = replay.portion(store, snapshot, JobId(u32::MAX), place, LOOK)?;
        counted.events += portion.looked;
        for (reason, count) in portion.missing.iter() {
            counted.skipped.add(reason, count);
        }
        for key in portion.keys {
            if let Some(reason) = snapshot.cannot_run(key.subscription) {
                counted.skipped.add(reason, 1);
                continue;
            }
            let known = snapshot.subscriptions.get(&key.subscription);
            let name = known.map_or_else(String::new, |own| own.name().to_string());
            *counted.deliveries.entry(name).or_default() += 1;
        }
        if portion.ended {
            break;
        }
        place = portion.to;
    }
    Ok(counted)
}

/// The replays that go on for a subscription, or have something pending for it.
fn earlier(
    store: &dyn Store,
    cancel: &Cancel,
    (subscription, bus): (SubscriptionId, BusId),
) -> Result<Vec<JobId>, ReadEnd> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = store.jobs_page(from, Page::forward(JOBS_AT_ONCE, usize::MAX))?;
        for job in page.rows {
            let JobSpec::Replay(spec) = &job.spec else {
                continue;
            };
            if spec.bus != bus || !spec.goes_to(subscription) {
                continue;
            }
            cancel.check()?;
            let before = DeliveryKey {
                subscription,
                replay: job.id.0.saturating_sub(1),
                position: Position(u64::MAX),
            };
            let next = store.pending_page(subscription, Some(before), Page::one())?;
            let pending = next.rows.first().map(|row| row.key.replay);
            if pending == Some(job.id.0) || !job.state.has_ended() {
                found.push(job.id);
            }
        }
        from = page.next;
        if from.is_none() {
            return Ok(found);
        }
    }
}

/// Live deliveries of a subscription that are pending before a place, at most so many, and whether those are all.
fn pending_before(
    store: &dyn Store,
    cancel: &Cancel,
    (subscription, before): (SubscriptionId, Position),
    most: u64,
) -> Result<(u64, bool), ReadEnd> {
    let (mut count, mut from) = (0, None);
    loop {
        if cancel.is_late() {
            return Ok((count, false));
        }
        cancel.check()?;
        let page = Page::forward(ROWS_AT_ONCE, usize::MAX);
        let page = store.pending_page(subscription, from, page)?;
        for row in &page.rows {
            let DeliveryKey {
                replay, position, ..
            } = row.key;
            if replay > 0 || position >= before || count >= most {
                return Ok((count, true));
            }
            count += 1;
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok((count, true)),
        }
    }
}
