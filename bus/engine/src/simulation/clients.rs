//! Those who use the bus: publishers, and whoever changes its manifest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::functions;
use super::ledger::{Ledger, SUBJECTS, Seen, name, number_of, subject_of};
use super::plan::Plan;
use super::random::Random;
use crate::clock::Clock;
use crate::pipeline::{FunctionSource, Pipeline};
use edgebus_manifest as manifest;
use edgebus_model::error::Kind;
use edgebus_model::{
    BusId, Candidate, Data, DeliveryKey, Digest, EraseSpec, Event, FunctionConfig, JobControl,
    JobId, JobSpec, JobState, LetterSelection, Name, Position, ReplayPurpose, ReplaySpec,
    ShadowSpec, SkipSpec,
};
use edgebus_store::{Page, Settle, SettleEnd};

/// What all clients of one life use.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) plan: Arc<Plan>,
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) kinds: Arc<Vec<String>>,
}

impl Clients {
    async fn sleep(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms)).await;
    }

    /// A new event's number.
    fn number(&self, random: &mut Random) -> u64 {
        let mut seen = self.ledger.seen();
        let number = seen.events.len() as u64;
        seen.events.entry(number).or_default().kind = random.pick(&self.kinds);
        number
    }

    fn event(&self, number: u64) -> Event {
        let mut seen = self.ledger.seen();
        let kind = seen.events.entry(number).or_default().kind.clone();
        Event {
            id: format!("p{number}"),
            source: "/publisher".to_owned(),
            kind,
            subject: Some(format!("s{}", subject_of(number))),
            data: Data::Json(Bytes::from(number.to_string())),
            ..Event::unreadable()
        }
    }

    /// Publishes these events in one request; true if they were acknowledged.
    pub(super) async fn publish(&self, numbers: Vec<u64>) -> bool {
        let events = numbers.iter().map(|number| self.event(*number)).collect();
        // Until there is an answer, nobody knows.
        let mut before = BTreeMap::new();
        for number in &numbers {
            let mut seen = self.ledger.seen();
            let sent = seen.events.entry(*number).or_default();
            before.entry(*number).or_insert(sent.unknown);
            sent.unknown = true;
        }
        let answer = self.pipeline.publish("default", events).await;
        let mut seen = self.ledger.seen();
        match answer {
            Ok(places) => {
                *seen.counts.entry("acknowledged").or_default() += places.len() as u64;
                for (number, place) in numbers.iter().zip(&places) {
                    seen.acknowledged(*number, place.position, place.duplicate);
                }
                true
            }
            Err(error) => {
                match error.kind {
                    Kind::Unknown => *seen.counts.entry("unknown").or_default() += 1,
                    // Nothing was written.
                    Kind::Busy { .. } | Kind::StorageFull | Kind::Unavailable => {
                        *seen.counts.entry("refused").or_default() += 1;
                        for (number, unknown) in before {
                            let sent = seen.events.entry(number).or_default();
                            sent.unknown &= unknown;
                        }
                    }
                    // An event was matched for a rule that left meanwhile: nothing was written either.
                    Kind::Conflict => {}
                    _ => seen.broke(format!("a publish was answered {error}")),
                }
                false
            }
        }
    }

    /// One publisher: requests with new events, and with some that were sent before.
    pub(super) async fn publisher(self, mut random: Random) {
        for _ in 0..self.plan.requests {
            self.sleep(random.below(60)).await;
            let mut numbers = Vec::new();
            for _ in 0..1 + random.below(self.plan.events_in_request) {
                let sent = self.ledger.seen().events.len() as u64;
                if random.once_in(5) && sent > 0 {
                    numbers.push(random.below(sent));
                } else {
                    numbers.push(self.number(&mut random));
                }
            }
            for _ in 0..3 {
                if self.publish(numbers.clone()).await {
                    break;
                }
                self.sleep(20 + random.below(100)).await;
            }
        }
    }

    /// Publishes everything again that was not acknowledged, and some of what was, until all is.
    pub(super) async fn finish(self, mut random: Random) {
        let all = self.ledger.seen().events.len() as u64;
        for number in 0..all {
            let acknowledged = {
                let seen = self.ledger.seen();
                seen.events[&number].acknowledged.is_some()
            };
            if acknowledged && !random.once_in(3) {
                continue;
            }
            while !self.publish(vec![number]).await {
                if !self.pipeline.live() {
                    return;
                }
                self.sleep(100).await;
            }
        }
    }

    /// One new event, on an idle bus; its number.
    pub(super) async fn probe(self, mut random: Random) {
        let number = self.number(&mut random);
        self.publish(vec![number]).await;
    }

    /// Applies the manifest of this number; false if that was refused.
    async fn apply(&self, number: u64) -> bool {
        let text = self.plan.manifest(number);
        let parsed = manifest::parse(&text).unwrap_or_else(|errors| panic!("{errors:?}"));
        let named = parsed.functions.into_iter().zip(&self.plan.functions);
        let named = named.map(|(declared, plan)| {
            let component = functions::component(plan, number);
            (
                declared.name,
                FunctionSource::Component(component),
                declared.config,
            )
        });
        let (named, version) = (named.collect(), self.pipeline.snapshot().version);
        let applied = self
            .pipeline
            .apply_manifest(text, parsed.buses, named, parsed.rules, Some(version))
            .await;
        self.note_subscriptions();
        match applied {
            Ok(_) => {
                self.ledger.count("manifests");
                true
            }
            Err(_) => false,
        }
    }

    /// Remembers who the subscriptions are: those that are done leave the catalog.
    pub(super) fn note_subscriptions(&self) {
        let snapshot = self.pipeline.snapshot();
        let mut seen = self.ledger.seen();
        if let Some(number) = number_of(&snapshot.manifest) {
            seen.versions.insert(snapshot.version, number);
        }
        for own in snapshot.subscriptions.values() {
            seen.rules.insert(own.id, own.rule.to_string());
        }
    }

    /// Applies the first manifest if none is active, and then others.
    pub(super) async fn operator(self, mut random: Random, changes: u64, quiet: bool) {
        self.note_subscriptions();
        let first = self.pipeline.snapshot().version == 0;
        while (first || quiet) && !self.apply(0).await && self.pipeline.live() {
            self.sleep(50).await;
        }
        for _ in 0..changes {
            self.sleep(random.below(400)).await;
            self.apply(random.below(16)).await;
        }
    }

    /// Redrives and purges dead letters, and tells these jobs to stand still, go on or end.
    pub(super) async fn jobs(self, mut random: Random, times: u64) {
        for _ in 0..times {
            self.sleep(random.below(400)).await;
            let limit = random.once_in(2).then(|| 1 + random.below(4));
            let selection = LetterSelection {
                limit,
                ..LetterSelection::default()
            };
            let spec = if random.once_in(4) {
                JobSpec::Purge(selection)
            } else {
                JobSpec::Redrive(selection)
            };
            let rate = random.once_in(3).then_some(20);
            let Ok(job) = self.pipeline.start_job(spec, rate, 0).await else {
                continue;
            };
            self.ledger.count("jobs");
            let told = match random.below(6) {
                0 | 1 => [JobControl::Pause, JobControl::Resume],
                2 => [JobControl::Rate(Some(5)), JobControl::Cancel],
                _ => continue,
            };
            for control in told {
                self.sleep(random.below(200)).await;
                // It may have ended.
                let _ = self.pipeline.control_job(job.id, control).await;
            }
        }
    }

    /// Waits until no job runs; those that stand still go on.
    pub(super) async fn end_jobs(self) {
        while self.pipeline.live() {
            let page = Page::forward(9_999, usize::MAX);
            let jobs = self.pipeline.store().jobs_page(None, page);
            let jobs = jobs.map_or_else(|_| Vec::new(), |page| page.rows);
            for job in jobs.iter().filter(|job| job.state == JobState::Paused) {
                let _ = self.pipeline.control_job(job.id, JobControl::Resume).await;
            }
            if jobs.iter().all(|job| job.state.has_ended()) {
                return;
            }
            self.sleep(50).await;
        }
    }

    /// Dead letters that can be redriven.
    fn letters(&self) -> Vec<DeliveryKey> {
        let snapshot = self.pipeline.snapshot();
        let mut keys = Vec::new();
        for own in snapshot.subscriptions.values().filter(|own| own.active) {
            let letters = self.pipeline.store().dead_letters(own.id, None, 99_999);
            let whole = letters.unwrap().into_iter().filter(|own| !own.is_hollow());
            // What is left of an erased one is not delivered again.
            let seen = self.ledger.seen();
            let whole = whole.filter(|own| {
                let asked = &seen.erase_asked;
                own.event.erased().is_none() && !asked.contains(&own.delivery.key.position)
            });
            keys.extend(whole.map(|letter| letter.delivery.key));
        }
        keys
    }

    /// Redrives everything that is dead, while nothing else goes on; none may be forgotten.
    pub(super) async fn redrive_all(self) {
        self.clone().end_jobs().await;
        let letters = self.letters();
        let spec = JobSpec::Redrive(LetterSelection::default());
        let Ok(job) = self.pipeline.start_job(spec, None, 0).await else {
            return self.ledger.seen().broke("no job can be made");
        };
        self.clone().end_jobs().await;
        let mut seen = self.ledger.seen();
        for key in letters {
            let by: Option<JobId> = seen
                .deliveries
                .get(&name(key))
                .and_then(|told| told.redriven_by);
            if by != Some(job.id) {
                seen.broke(format!("job {} forgot the dead letter {key}", job.id));
            }
        }
    }

    /// Asks for what is about this subject to be erased, all that there is now.
    async fn erase(&self, subject: u64, rate: Option<u32>) -> Option<JobId> {
        let spec = EraseSpec {
            bus: BusId(1),
            first: Position(1),
            last: self.pipeline.last_position(BusId(1)),
            subject: Some(format!("s{subject}")),
            pattern: None,
        };
        self.ledger.seen().subjects.insert(subject);
        let made = JobSpec::Erase(spec.clone());
        let job = self.pipeline.start_job(made, rate, 0).await.ok()?;
        self.ledger.count("erasures");
        self.ledger.seen().erasures.insert(job.id, (subject, spec));
        Some(job.id)
    }

    /// Has what is about somebody erased, and tells some of these jobs to stand still, go on or end.
    pub(super) async fn eraser(self, mut random: Random, times: u64) {
        for _ in 0..times {
            self.sleep(random.below(400)).await;
            let rate = random.once_in(3).then_some(20);
            let Some(job) = self.erase(random.below(SUBJECTS), rate).await else {
                continue;
            };
            let told = match random.below(6) {
                0 | 1 => [JobControl::Pause, JobControl::Resume],
                2 => [JobControl::Rate(Some(5)), JobControl::Cancel],
                _ => continue,
            };
            for control in told {
                self.sleep(random.below(200)).await;
                // It may have ended.
                let _ = self.pipeline.control_job(job, control).await;
            }
        }
    }

    /// Erases what is about one subject, while nothing else goes on.
    pub(super) async fn erase_one(self, mut random: Random) {
        self.clone().end_jobs().await;
        if self.erase(random.below(SUBJECTS), None).await.is_none() {
            self.ledger.seen().broke("no erasure can be made");
        }
        self.end_jobs().await;
    }

    /// Asks for replays and seeks.
    pub(super) async fn replayer(self, mut random: Random, times: u64) {
        for _ in 0..times {
            self.sleep(random.below(400)).await;
            let last = self.pipeline.last_position(BusId(1)).0;
            let snapshot = self.pipeline.snapshot();
            let active = snapshot.subscriptions.values().filter(|own| own.active);
            let mut all: Vec<_> = active.map(|own| own.id).collect();
            all.sort_unstable();
            if last == 0 || all.is_empty() {
                continue;
            }
            let (subscription, first) = (random.pick(&all), 1 + random.below(last));
            let seeks = random.once_in(3);
            let spec = if seeks && random.once_in(2) {
                JobSpec::Skip(SkipSpec::Live {
                    subscription,
                    before: Position(first),
                })
            } else {
                JobSpec::Replay(ReplaySpec {
                    name: None,
                    purpose: match seeks {
                        true => ReplayPurpose::Seek,
                        false => ReplayPurpose::Replay,
                    },
                    bus: BusId(1),
                    first: Position(first),
                    last: Position(last.min(first + random.below(12))),
                    subscriptions: match random.once_in(2) {
                        true => vec![subscription],
                        false => Vec::new(),
                    },
                    kind: None,
                    pattern: None,
                    as_matched: seeks || random.once_in(2),
                })
            };
            let rate = random.once_in(3).then_some(20);
            // Who hears nothing does not know whether there is a job.
            let _ = self.pipeline.start_job(spec, rate, 12).await;
        }
    }

    /// Asks for shadow replays, some with a candidate that is the deployed function itself.
    pub(super) async fn shadower(self, mut random: Random, times: u64) {
        for _ in 0..times {
            self.sleep(random.below(600)).await;
            let last = self.pipeline.last_position(BusId(1)).0;
            if last == 0 {
                continue;
            }
            let first = 1 + random.below(last);
            let function = random.pick(&self.plan.functions);
            let with_candidate = random.once_in(2);
            let name = Name::new(&function.name).unwrap();
            let snapshot = self.pipeline.snapshot();
            let own = snapshot.subscriptions.values();
            let own = own.filter(|own| own.active && own.target.to.function() == Some(&name));
            let mut subscriptions: Vec<_> = own.map(|own| own.id).collect();
            subscriptions.sort_unstable();
            if subscriptions.is_empty() {
                continue;
            }
            let component = functions::component(&function, snapshot.version);
            let candidate = Candidate {
                digest: Digest::of(&component),
                config: FunctionConfig::default(),
            };
            let spec = ShadowSpec {
                range: ReplaySpec {
                    name: None,
                    purpose: ReplayPurpose::Replay,
                    bus: BusId(1),
                    first: Position(first),
                    last: Position(last.min(first + random.below(12))),
                    subscriptions: if with_candidate {
                        subscriptions
                    } else {
                        Vec::new()
                    },
                    kind: None,
                    pattern: None,
                    as_matched: true,
                },
                function: with_candidate.then_some(name),
                candidate: with_candidate.then_some(candidate),
                limit: random.once_in(4).then_some(5),
            };
            let component = with_candidate.then_some(component);
            let rate = random.once_in(3).then_some(20);
            let started = self.pipeline.start_shadow(spec, component, rate, 12).await;
            if started.is_ok() {
                self.ledger.count("shadow replays");
            }
        }
    }

    /// A settlement that was sent before, rather one of a delivery that has not ended.
    fn late(&self, seen: &Seen, random: &mut Random) -> Option<Settle> {
        let ended = |settle: &Settle| {
            let told = seen.deliveries.get(&name(settle.key));
            told.is_some_and(|told| told.ended)
        };
        let mut settle = random.pick(&seen.settlements);
        for _ in 0..4 {
            if ended(&settle) {
                settle = random.pick(&seen.settlements);
            }
        }
        // Nobody writes state behind the pipeline's back: one process has the store open.
        let writes = matches!(&settle.end, SettleEnd::Done(own) if !own.writes.is_empty());
        (ended(&settle) || !writes).then_some(settle)
    }

    /// Settles again what was settled, or what a dead process was about to settle.
    pub(super) async fn zombie(self, mut random: Random, times: u64) {
        for _ in 0..times {
            self.sleep(random.below(300)).await;
            let settle = {
                let mut seen = self.ledger.seen();
                if seen.settlements.is_empty() {
                    continue;
                }
                let Some(settle) = self.late(&seen, &mut random) else {
                    continue;
                };
                seen.zombie(settle.key, true);
                settle
            };
            let key = settle.key;
            let outcome = self.pipeline.settle_late(settle).await;
            let mut seen = self.ledger.seen();
            match outcome {
                Ok(edgebus_store::StepOutcome::Settled(_)) => {
                    *seen.counts.entry("zombies that settled").or_default() += 1;
                }
                Ok(_) => {
                    *seen.counts.entry("zombies").or_default() += 1;
                    seen.zombie(key, false);
                }
                Err(_) => {}
            }
        }
    }
}
