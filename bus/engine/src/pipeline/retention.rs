//! Retention: removes the oldest events of each bus, and dead letters, when they are kept no longer.
//!
//! Once a second it looks at the oldest event of each bus and at what its log weighs, if anything was written since or is
//! too old by now. Buses from which something is to be
//! removed take turns, a bounded step each; after a step nothing is removed for as long as the step took, so
//! that publishes and settlements have at least half of the writer's time. Steps grow while there is more to
//! remove. Time during which the machine was off, or the clock was put ahead, makes nothing older. It goes on
//! while the disk is short of space, and with a bus that accepts nothing.
//!
//! Dead letters are not in the order of their deaths. Those of a subscription are read through, some at a
//! time, and not again before the oldest that was left is too old: a death is never older than one before it. Ends
//! with the pipeline. Never here: a reader that is waited for, or an event that something is pending for, which
//! the store keeps.

mod sweep;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::Pipeline;
use super::snapshot::Snapshot;
use crate::clock::Clock;
use edgebus_manifest::retention_text;
use edgebus_model::rule::UNLIMITED;
use edgebus_model::{BusConfig, BusId, Position, Timestamp};
use edgebus_store::{BusCounts, Error, Page, Step, StepOutcome, Store, Trim, Trimmed};
use sweep::Sweep;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events of the first step of a turn.
const EVENTS_FIRST: usize = 128;
/// Events of a step while there is more to remove.
const EVENTS_MAX: usize = 1_024;
/// Nothing is removed for so long after a step, at least.
const REST_MIN: Duration = Duration::from_millis(2);
/// Buses of which the start tells what they keep.
const TOLD_MAX: usize = 20;
/// What is removed in a row before the next look.
const STEPS_MAX: usize = 256;

/// What a bus holds, as of the last look, and what was removed since the process started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Kept {
    /// The first position that retention has not reached.
    pub floor: Position,
    /// When the event there was accepted; `None` if there is none.
    pub oldest: Option<Timestamp>,
    /// Events in the log and bytes of their records.
    pub counts: BusCounts,
    /// Events that were removed, and bytes of their records.
    pub removed: BusCounts,
}

/// What all buses hold.
#[derive(Debug, Default)]
pub struct Holdings {
    /// A plain lock, held for a copy.
    buses: Mutex<BTreeMap<BusId, Kept>>,
    /// Dead letters that were removed.
    dead_letters: AtomicU64,
}

impl Holdings {
    fn buses(&self) -> MutexGuard<'_, BTreeMap<BusId, Kept>> {
        self.buses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a bus held when it was looked at last.
    #[must_use]
    pub fn of(&self, bus: BusId) -> Kept {
        self.buses().get(&bus).copied().unwrap_or_default()
    }

    fn looked(&self, bus: BusId, look: &Kept) {
        let mut buses = self.buses();
        let kept = buses.entry(bus).or_default();
        *kept = Kept {
            removed: kept.removed,
            ..*look
        };
    }

    fn removed(&self, bus: BusId, trimmed: &Trimmed) -> bool {
        let mut buses = self.buses();
        let kept = buses.entry(bus).or_default();
        let first = kept.removed.events == 0 && trimmed.events > 0;
        kept.floor = trimmed.floor;
        kept.removed.events += trimmed.events;
        kept.removed.bytes += trimmed.bytes;
        first
    }

    /// The metrics of each bus, as Prometheus text.
    pub(super) fn metrics(&self, snapshot: &Snapshot, now: Timestamp) -> String {
        type Value = fn(&Kept, Timestamp) -> u64;
        const METRICS: [(&str, &str, &str, Value); 5] = [
            (
                "edgebus_bus_events",
                "gauge",
                "Events in the log of a bus.",
                |kept, _| kept.counts.events,
            ),
            (
                "edgebus_bus_bytes",
                "gauge",
                "Bytes of their records.",
                |kept, _| kept.counts.bytes,
            ),
            (
                "edgebus_bus_oldest_age_seconds",
                "gauge",
                "How long ago the oldest event that retention has not reached was accepted.",
                |kept, now| kept.oldest.map_or(0, |oldest| now.ms_since(oldest) / 1_000),
            ),
            (
                "edgebus_retention_events_removed_total",
                "counter",
                "Events that retention removed.",
                |kept, _| kept.removed.events,
            ),
            (
                "edgebus_retention_bytes_removed_total",
                "counter",
                "Bytes of their records.",
                |kept, _| kept.removed.bytes,
            ),
        ];
        let buses = self.buses().clone();
        let mut text = String::new();
        for (name, kind, about, value) in METRICS {
            let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}");
            for (id, kept) in &buses {
                if let Some(bus) = snapshot.bus(*id) {
                    let _ = writeln!(text, "{name}{{bus=\"{}\"}} {}", bus.name, value(kept, now));
                }
            }
        }
        let name = "edgebus_retention_dead_letters_removed_total";
        let dead = self.dead_letters.load(Ordering::Relaxed);
        let _ = writeln!(
            text,
            "# HELP {name} Dead letters that retention removed.\n# TYPE {name} counter\n{name} {dead}"
        );
        text
    }

    fn removed_dead(&self, count: u64) {
        self.dead_letters.fetch_add(count, Ordering::Relaxed);
    }
}

/// What a bus holds now.
fn look(store: &dyn Store, bus: BusId) -> Result<Kept, Error> {
    let floor = store.floor(bus)?;
    let before = Position(floor.0.saturating_sub(1));
    let page = store.events_page(bus, before, Page::one())?;
    Ok(Kept {
        floor,
        oldest: page.rows.first().map(|stored| stored.accepted_at),
        counts: store.bus_counts(bus)?,
        removed: BusCounts::default(),
    })
}

/// What was accepted before this time, or died, is kept no longer; 0 if all is.
pub(crate) fn accepted_before(clock: &Clock, age_ms: u64) -> Timestamp {
    if age_ms == UNLIMITED {
        return Timestamp(0);
    }
    #[cfg(test)]
    let age_ms = match super::injected::is(super::injected::Bug::RemovedEarly) {
        true => age_ms / 2,
        false => age_ms,
    };
    let now = clock.now();
    Timestamp(now.0.saturating_sub(clock.reach_ms(now, age_ms)))
}

/// True if something of the bus is to be removed.
fn is_due(clock: &Clock, config: &BusConfig, look: &Kept) -> bool {
    let before = accepted_before(clock, config.retention_age_ms);
    // A log that is too large although the floor is at its end holds nothing but what is pending.
    look.oldest
        .is_some_and(|oldest| oldest < before || look.counts.bytes > config.retention_bytes)
}

/// Why a turn ended.
enum Ended {
    /// Nothing is left to do now.
    Done,
    /// The bus stops, or has failed.
    Stopped,
}

/// Says what each bus keeps, then removes what is kept no longer until the pipeline stops.
pub(super) async fn run(weak: Weak<Pipeline>) {
    let Some(clock) = weak.upgrade().map(|pipeline| pipeline.clock().clone()) else {
        return;
    };
    let (mut sweep, mut told, mut seen) = (Sweep::default(), false, None);
    let mut ticker = clock.ticker(LOOK_EVERY);
    loop {
        ticker.tick().await;
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        if *pipeline.stop.borrow() {
            return;
        }
        if pipeline.ready().is_err() {
            // A manifest is to be applied first, which may say to keep more.
            continue;
        }
        if !std::mem::replace(&mut told, true) {
            for bus in pipeline.snapshot().buses.values().take(TOLD_MAX) {
                let kept = retention_text(&bus.config);
                tracing::info!("the bus {} keeps {kept}", bus.name);
            }
        }
        if let Ended::Stopped = pipeline.retain(&mut seen).await {
            return;
        }
        if let Ended::Stopped = sweep.turn(&pipeline).await {
            return;
        }
    }
}

impl Pipeline {
    /// Removes from all buses what is kept no longer, or a good part of it. `seen` is how many commits there were at
    /// the last look.
    async fn retain(&self, seen: &mut Option<u64>) -> Ended {
        let snapshot = self.snapshot();
        let commits = self.context.commits.load(Ordering::SeqCst);
        let mut buses = snapshot.buses.values();
        if *seen == Some(commits)
            && !buses.any(|bus| is_due(self.clock(), &bus.config, &self.holdings.of(bus.id)))
        {
            return Ended::Done;
        }
        let (store, ids) = (
            self.store().clone(),
            snapshot
                .buses
                .values()
                .map(|bus| bus.id)
                .collect::<Vec<_>>(),
        );
        let looks = self.context.executor.blocking(move || {
            let of = |id| Ok((id, look(&*store, id)?));
            ids.into_iter().map(of).collect::<Result<Vec<_>, Error>>()
        });
        let looks = match looks.await {
            Ok(Ok(looks)) => looks,
            Ok(Err(error)) => {
                self.context
                    .reading_failed("the oldest event of a bus", &error);
                return Ended::Done;
            }
            Err(_) => return Ended::Stopped,
        };
        *seen = Some(commits);
        let mut turns = VecDeque::new();
        for (id, look) in &looks {
            self.holdings.looked(*id, look);
            let due =
                |bus: &&Arc<super::snapshot::BusRules>| is_due(self.clock(), &bus.config, look);
            if snapshot.bus(*id).filter(due).is_some() {
                turns.push_back((*id, EVENTS_FIRST));
            }
        }
        for _ in 0..STEPS_MAX {
            let Some((bus, events_max)) = turns.pop_front() else {
                break;
            };
            let began = self.clock().instant();
            let Some(trimmed) = self.trim(bus, events_max).await else {
                return Ended::Stopped;
            };
            if trimmed.more {
                turns.push_back((bus, (events_max * 2).min(EVENTS_MAX)));
            }
            if turns.is_empty() {
                break;
            }
            if let Ended::Stopped = self.rest(began).await {
                return Ended::Stopped;
            }
        }
        Ended::Done
    }

    /// One step; `None` if the bus has stopped or failed.
    async fn trim(&self, bus: BusId, events_max: usize) -> Option<Trimmed> {
        // What is active now, which may be another manifest than at the look.
        let snapshot = self.snapshot();
        let Some(rules) = snapshot.bus(bus) else {
            return Some(Trimmed::default());
        };
        let config = &rules.config;
        let step = Step::Trim(Trim {
            bus,
            accepted_before: accepted_before(self.clock(), config.retention_age_ms),
            bytes_max: config.retention_bytes,
            events_max,
            // A change that lengthens retention must not be followed by a removal that knows nothing of it.
            expected: Some(snapshot.version),
            now: self.clock().now(),
        });
        match self.writer.apply(step).await {
            Ok(StepOutcome::Trimmed(trimmed)) => {
                if self.holdings.removed(bus, &trimmed) {
                    tracing::info!(
                        bus = %rules.name, oldest = trimmed.floor.0,
                        "retention removes events of the bus {}, which keeps {}",
                        rules.name, retention_text(config)
                    );
                }
                Some(trimmed)
            }
            Ok(_) => Some(Trimmed::default()),
            Err(_) => None,
        }
    }

    /// Rests as long as what began then took.
    async fn rest(&self, began: std::time::Instant) -> Ended {
        let took = self.clock().instant().saturating_duration_since(began);
        let mut stop = self.stop.subscribe();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Ended::Stopped,
            () = self.clock().sleep(took.max(REST_MIN)) => Ended::Done,
        }
    }

    /// What the buses hold.
    #[must_use]
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }
}
