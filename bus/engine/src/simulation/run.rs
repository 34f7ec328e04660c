//! One run: the lives of a bus, one process after the other, and the check at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::books::Books;
use super::checker;
use super::clients::Clients;
use super::functions::Functions;
use super::ledger::Ledger;
use super::plan::{End, LifePlan, Plan, off_ms};
use super::random::Random;
use super::world::{Failing, Hardware, World};
use crate::clock::Clock;
use crate::pipeline::tasks::{Executor, simulated::Simulated};
use crate::pipeline::{Parts, Pipeline, space};
use crate::telemetry::Telemetry;
use edgebus_model::error::Error;
use edgebus_model::{BusId, Job, JobState, Name};
use edgebus_store::{Page, Store};

/// Steps after which a life that was to end otherwise is over.
const STEPS_MAX: u64 = 2_000_000;
/// An idle bus begins with an event after this time at the latest.
const PROBE_MS_MAX: u64 = 1_000;
const PROBES: u64 = 4;

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The order of everything, as one number.
    pub(super) hash: u64,
    pub(super) steps: u64,
    /// Promises that were broken.
    pub(super) broken: Vec<String>,
    /// What happened how often.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// Every step in words, if that was asked for.
    pub(super) trace: Vec<String>,
}

/// What is the same in all lives.
struct Run {
    plan: Arc<Plan>,
    ledger: Ledger,
    random: Random,
    telemetry: Arc<Telemetry>,
    kinds: Arc<Vec<String>>,
    failed: BTreeMap<String, u32>,
    traced: bool,
    report: Report,
}

/// Runs a seed.
pub(super) fn run(seed: u64, traced: bool) -> Report {
    let plan = Arc::new(Plan::of(seed));
    let ledger = Ledger::default();
    {
        let mut seen = ledger.seen();
        let functions = plan.functions.iter();
        seen.allowed = functions
            .map(|own| (own.name.clone(), own.concurrency))
            .collect();
        seen.in_flight_max = plan.limits.in_flight_max;
        seen.kept_ms = plan.kept_ms;
        let emits = |function: usize| plan.functions[function].emits.is_some();
        let emitting = plan.rules.iter().filter(|rule| emits(rule.function));
        seen.emitting = emitting.map(|rule| rule.name.clone()).collect();
    }
    let mut run = Run {
        random: Random::new(seed ^ 0x5EED),
        kinds: Arc::new(plan.kinds()),
        telemetry: Telemetry::new(),
        failed: BTreeMap::new(),
        report: Report::default(),
        plan,
        ledger,
        traced,
    };
    run.lives();
    let mut seen = run.ledger.seen();
    run.report.broken = std::mem::take(&mut seen.broken);
    run.report.counts = std::mem::take(&mut seen.counts);
    run.report
}

impl Run {
    fn lives(&mut self) {
        let mut world = World::new(self.plan.redb);
        let mut hardware = Hardware::new();
        let lives = self.plan.lives.clone();
        for number in 0..=lives.len() {
            self.ledger.seen().begin_life(number);
            let opened = world.open();
            let (store, failing) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    let what = format!("the store does not open: {error}");
                    return self.ledger.seen().broke(what);
                }
            };
            let names = self.plan.functions.iter();
            let names = names.map(|own| Name::new(&own.name).unwrap());
            self.ledger.seen().books = Books::read(&*store, names);
            let mut life = Life::new(self, &*store, &hardware);
            let how = match lives.get(number) {
                Some(plan) => life.stormy(self, plan, store, failing),
                None => life.quiet(self, store),
            };
            world.cut();
            let Life {
                simulated,
                clock,
                began,
                ..
            } = life;
            simulated.crash();
            self.report.hash = self.report.hash.rotate_left(7) ^ simulated.hash();
            self.report.steps += simulated.steps();
            self.report.trace.extend(simulated.take_trace());
            world.end(how, &mut self.random);
            if let Some(plan) = lives.get(number) {
                let passed = clock.instant().saturating_duration_since(began);
                hardware.pass(passed, plan);
                self.corrupt(plan, &world);
            }
            if !self.ledger.seen().broken.is_empty() {
                return;
            }
        }
    }

    /// Corrupts the record of an event that was acknowledged.
    fn corrupt(&mut self, plan: &LifePlan, world: &World) {
        let mut seen = self.ledger.seen();
        let sent = seen.events.values().filter_map(|sent| sent.acknowledged);
        let sent: Vec<_> = sent.collect();
        if plan.corruption
            && !sent.is_empty()
            && let position = self.random.pick(&sent)
            && world.corrupt(BusId(1), position)
        {
            *seen.counts.entry("corrupt records").or_default() += 1;
            seen.corrupt.insert(position);
        }
    }
}

/// One process.
struct Life {
    clock: Clock,
    began: Instant,
    /// What the machine's wall clock is off by.
    off_us: Arc<AtomicI64>,
    simulated: Simulated,
    random: Random,
    /// Set by a function that kills the process.
    killed: Arc<AtomicBool>,
    /// Free bytes on the disk.
    free: Arc<AtomicU64>,
    /// Clients that are at work.
    working: Arc<AtomicUsize>,
}

struct Room(Arc<AtomicU64>);

impl space::Disk for Room {
    fn free(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed))
    }

    fn levels(&self) -> space::Levels {
        space::Levels {
            floor: 4 << 20,
            critical: 1 << 20,
            ballast: 0,
        }
    }
}

impl Life {
    fn new(run: &mut Run, store: &dyn Store, hardware: &Hardware) -> Self {
        let seed = run.random.next();
        let catalog = store.catalog().unwrap();
        let (newest, last) = (catalog.newest, catalog.clock);
        let off_us = hardware.off_us.clone();
        let clock = Clock::still(hardware.machine(), newest, last.as_ref(), seed);
        let processors = run.plan.processors;
        Self {
            simulated: Simulated::new(run.random.next(), clock.clone(), processors, run.traced),
            began: clock.instant(),
            clock,
            off_us,
            random: Random::new(run.random.next()),
            killed: Arc::default(),
            free: Arc::new(AtomicU64::new(1 << 40)),
            working: Arc::default(),
        }
    }

    /// Runs until `done`, at most so many steps; true if it is done.
    fn steps(&self, most: u64, mut done: impl FnMut() -> bool) -> bool {
        for _ in 0..most {
            if done() {
                return true;
            }
            if !self.simulated.step(Duration::MAX) {
                break;
            }
        }
        done()
    }

    fn start(&self, run: &Run, store: Arc<dyn Store>, quiet: bool) -> Option<Clients> {
        type Started = Option<Result<Arc<Pipeline>, Error>>;
        let started: Arc<Mutex<Started>> = Arc::default();
        let parts = Parts {
            catalog: store.catalog().unwrap(),
            store,
            runtime: Arc::new(Functions {
                seed: run.plan.seed,
                clock: self.clock.clone(),
                ledger: run.ledger.clone(),
                functions: run.plan.functions.clone(),
                failed: Mutex::new(run.failed.clone()),
                quiet,
                killed: self.killed.clone(),
            }),
            clock: self.clock.clone(),
            telemetry: run.telemetry.clone(),
            limits: run.plan.limits,
            space: Box::new(Room(self.free.clone())),
            secrets: Arc::new(|_| None),
            hold: false,
        };
        let (slot, executor) = (started.clone(), Executor::Simulated(self.simulated.clone()));
        self.simulated.detached("start", async move {
            let pipeline = Pipeline::start_on(executor, parts).await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(pipeline);
        });
        let slot = || started.lock().unwrap_or_else(PoisonError::into_inner);
        self.steps(1_000, || slot().is_some());
        match slot().take() {
            Some(Ok(pipeline)) => Some(Clients {
                plan: run.plan.clone(),
                ledger: run.ledger.clone(),
                clock: self.clock.clone(),
                kinds: run.kinds.clone(),
                pipeline,
            }),
            other => {
                let error = other.and_then(Result::err);
                run.ledger.seen().broke(format!("no start: {error:?}"));
                None
            }
        }
    }

    /// Starts a client.
    fn client(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let working = self.working.clone();
        working.fetch_add(1, Ordering::SeqCst);
        self.simulated.detached(name, async move {
            work.await;
            working.fetch_sub(1, Ordering::SeqCst);
        });
    }

    fn seeded(&mut self) -> Random {
        Random::new(self.random.next())
    }

    /// Sees every commit, and lets some be slow and one fail.
    fn watch(
        &mut self,
        run: &Run,
        store: Arc<dyn Store>,
        plan: Option<&LifePlan>,
        failing: Option<Failing>,
    ) {
        let (ledger, clock) = (run.ledger.clone(), self.clock.clone());
        let mut random = self.seeded();
        let slow = plan.map_or(0, |plan| plan.slow_commits);
        let mut until_unknown = plan.and_then(|plan| plan.unknown_commit);
        let simulated = self.simulated.clone();
        self.simulated.watch_commits(Box::new(move |steps, done| {
            if let Some(done) = done {
                let outcomes = done.as_ref().ok().map(Vec::as_slice);
                if outcomes.is_none() {
                    ledger.count("commits that failed");
                }
                let words = || format!("commit of {} steps: {outcomes:?}", steps.len());
                simulated.note(steps.len() as u64, words);
                return ledger.seen().committed(steps, outcomes);
            }
            ledger.seen().commits(steps, &*store);
            if random.below(1_000) < slow {
                clock.advance(Duration::from_millis(random.below(2_000)));
            }
            if let Some(left) = &mut until_unknown {
                if *left == 0
                    && let Some(failing) = &failing
                {
                    failing.fail(&mut random);
                }
                *left = left.wrapping_sub(1);
            }
        }));
    }

    /// A life in which things go wrong; how it ends.
    fn stormy(
        &mut self,
        run: &mut Run,
        plan: &LifePlan,
        store: Arc<dyn Store>,
        failing: Failing,
    ) -> End {
        self.watch(run, store.clone(), Some(plan), Some(failing));
        let Some(clients) = self.start(run, store, false) else {
            return End::Kill;
        };
        let operator = clients.clone().operator(self.seeded(), plan.changes, false);
        self.client("operator", operator);
        let zombie = clients.clone().zombie(self.seeded(), plan.zombies);
        self.client("zombie", zombie);
        if plan.jobs > 0 {
            let jobs = clients.clone().jobs(self.seeded(), plan.jobs);
            self.client("jobs of somebody", jobs);
        }
        if plan.erasures > 0 {
            let erasing = Random::new(run.plan.seed ^ plan.steps);
            let eraser = clients.clone().eraser(erasing, plan.erasures);
            self.client("eraser", eraser);
        }
        if plan.shadows > 0 {
            let shadower = clients.clone().shadower(self.seeded(), plan.shadows);
            self.client("shadower", shadower);
        }
        let replayer = clients.clone().replayer(self.seeded(), plan.replays);
        self.client("replayer", replayer);
        for _ in 0..run.plan.publishers {
            let publisher = clients.clone().publisher(self.seeded());
            self.client("publisher", publisher);
        }
        if plan.sets > 0 {
            let (off_us, clock, sets) = (self.off_us.clone(), self.clock.clone(), plan.sets);
            let mut random = self.seeded();
            self.simulated.detached("wall clock", async move {
                for _ in 0..sets {
                    clock
                        .sleep(Duration::from_millis(random.below(2_000)))
                        .await;
                    off_us.store(off_ms(&mut random) * 1_000, Ordering::Relaxed);
                }
            });
        }
        if plan.full_disk {
            let (free, clock) = (self.free.clone(), self.clock.clone());
            let mut random = self.seeded();
            self.simulated.detached("full disk", async move {
                loop {
                    clock.sleep(Duration::from_millis(random.below(400))).await;
                    let levels = [1 << 40, 3 << 20, 1 << 18];
                    free.store(random.pick(&levels), Ordering::Relaxed);
                }
            });
        }
        let pipeline = clients.pipeline.clone();
        drop(clients);
        let killed = self.killed.clone();
        let over = || killed.load(Ordering::SeqCst) || !pipeline.live();
        self.steps(plan.steps, over);
        if killed.load(Ordering::SeqCst) {
            run.ledger.count("processes killed by a function");
            return End::Kill;
        }
        if !pipeline.live() {
            // Whoever waits hears of the failure before the process is gone.
            self.steps(200, || false);
            return End::Kill;
        }
        if plan.end == End::Stop {
            let stopped = Arc::new(AtomicBool::new(false));
            let told = stopped.clone();
            self.simulated.detached("stop", async move {
                pipeline.stop().await;
                told.store(true, Ordering::SeqCst);
            });
            let over = || stopped.load(Ordering::SeqCst) || killed.load(Ordering::SeqCst);
            if !self.steps(STEPS_MAX, over) {
                run.ledger.seen().broke("the stop has no end");
            }
            run.ledger.count("stops in order");
        }
        plan.end
    }

    /// The last life: nothing goes wrong any more, and everything comes to its end.
    fn quiet(&mut self, run: &mut Run, store: Arc<dyn Store>) -> End {
        self.watch(run, store.clone(), None, None);
        let Some(clients) = self.start(run, store.clone(), true) else {
            return End::Kill;
        };
        let operator = clients.clone().operator(self.seeded(), 0, true);
        self.client("operator", operator);
        // Somebody goes on with the jobs that stood still when their process died.
        let ending = clients.clone().end_jobs();
        self.client("end of all jobs", ending);
        if self.random.once_in(6) {
            // What a full disk held back goes on when there is room.
            self.free.store(0, Ordering::Relaxed);
            let (free, clock) = (self.free.clone(), self.clock.clone());
            self.simulated.detached("full disk", async move {
                clock.sleep(Duration::from_secs(2)).await;
                free.store(1 << 40, Ordering::Relaxed);
            });
        }
        let publisher = clients.clone().publisher(self.seeded());
        self.client("publisher", publisher);
        if !self.settle(run, &clients, &*store) {
            return End::Kill;
        }
        let finishing = clients.clone().finish(self.seeded());
        self.client("publisher of what is left", finishing);
        if !self.settle(run, &clients, &*store) {
            return End::Kill;
        }
        if run.plan.redrives {
            let redriving = clients.clone().redrive_all();
            self.client("redrive of all", redriving);
            if !self.settle(run, &clients, &*store) {
                return End::Kill;
            }
        }
        if run.plan.erases {
            let erasing = Random::new(run.plan.seed);
            let erasing = clients.clone().erase_one(erasing);
            self.client("erasure", erasing);
            if !self.settle(run, &clients, &*store) {
                return End::Kill;
            }
        }
        for _ in 0..PROBES {
            if !self.probe(run, &clients, &*store) {
                return End::Kill;
            }
        }
        checker::check(&run.plan, &run.ledger, &*store);
        End::Kill
    }

    /// Lets everything come to its end; false if it does not.
    fn settle(&self, run: &Run, clients: &Clients, store: &dyn Store) -> bool {
        let patience = self.clock.instant() + run.plan.patience();
        let (working, clock) = (&self.working, &self.clock);
        let pipeline = &clients.pipeline;
        let (mut looks, mut late) = (0_u64, false);
        let done = || {
            looks += 1;
            late = clock.instant() > patience || !pipeline.live();
            let idle = || {
                let jobs = || store.jobs_page(None, Page::forward(9_999, usize::MAX));
                let moves = |job: &Job| job.state == JobState::Running;
                let rests = working.load(Ordering::SeqCst) == 0 && run.ledger.seen().rests();
                rests && jobs().is_ok_and(|page| !page.rows.iter().any(moves)) && {
                    let snapshot = pipeline.snapshot();
                    snapshot.subscriptions.keys().all(|id| {
                        let pending = store.deliveries(*id, None, 1);
                        pending.is_ok_and(|pending| pending.is_empty())
                    })
                }
            };
            late || (looks.is_multiple_of(32) && idle())
        };
        let done = self.steps(STEPS_MAX, done);
        if late || !done {
            let (working, used) = (working.load(Ordering::SeqCst), pipeline.in_use());
            let live = pipeline.live();
            let mut seen = run.ledger.seen();
            seen.broke(format!(
                "it does not come to an end: {working} clients work, {used:?} in use, live: {live}"
            ));
            return false;
        }
        // What was in use is given back a moment later.
        let moment = self.clock.instant() + Duration::from_millis(20);
        self.steps(STEPS_MAX, || self.clock.instant() > moment);
        let used = pipeline.in_use();
        if used != (0, 0, 0) {
            let what = format!("{used:?} in use (in memory, in flight, bytes) while nothing runs");
            run.ledger.seen().broke(what);
            return false;
        }
        true
    }

    /// One event on an idle bus: somebody begins with it at once.
    fn probe(&mut self, run: &Run, clients: &Clients, store: &dyn Store) -> bool {
        let began = self.clock.now();
        let before = run.ledger.seen().deliveries.len();
        let probing = clients.clone().probe(self.seeded());
        self.client("probe", probing);
        if !self.settle(run, clients, store) {
            return false;
        }
        let mut seen = run.ledger.seen();
        let first = seen.deliveries.values().filter_map(|told| told.first);
        let first = first.filter(|first| *first >= began).min();
        if seen.deliveries.len() > before
            && first.is_none_or(|first| first.ms_since(began) > PROBE_MS_MAX)
        {
            seen.broke("an event waited while nothing else was to be done");
            return false;
        }
        true
    }
}
