//! Runs of the simulation, and proof that it finds bugs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::run::{Report, run};
use crate::clock::injected as time;
use crate::pipeline::injected::{self, Bug};
use crate::pipeline::{listings, state};
use edgebus_store::memory::injected as memory;
use edgebus_store::redb::injected as redb;

/// Seeds of a run on every change.
const SEEDS: u64 = 400;
/// Seeds among which an injected bug must be found.
const SEEDS_FOR_A_BUG: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A run whose panic is a promise that was broken.
fn guarded(seed: u64, traced: bool) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(seed, traced))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            broken: vec![format!("a panic: {}", text.unwrap_or_default())],
            ..Report::default()
        }
    })
}

/// What several runs came to.
#[derive(Default)]
struct Sums {
    steps: u64,
    counts: BTreeMap<&'static str, u64>,
    broken: Vec<(u64, Vec<String>)>,
}

impl Sums {
    fn add(&mut self, seed: u64, report: Report) {
        self.steps += report.steps;
        for (what, count) in report.counts {
            *self.counts.entry(what).or_default() += count;
        }
        if !report.broken.is_empty() {
            self.broken.push((seed, report.broken));
        }
    }
}

#[test]
fn the_promises_hold() {
    if let Some(seed) = number("EDGEBUS_SEED") {
        let report = guarded(seed, true);
        for line in &report.trace {
            println!("{line}");
        }
        println!(
            "seed {seed}: {:?}, hash {:016x}",
            report.counts, report.hash
        );
        assert!(
            report.broken.is_empty(),
            "seed {seed}: {:#?}",
            report.broken
        );
        return;
    }
    let seeds = number("EDGEBUS_SIMULATION").unwrap_or(SEEDS);
    let first = number("EDGEBUS_SIMULATION_FROM").unwrap_or(0);
    let began = Instant::now();
    let sums = Mutex::new(Sums::default());
    let next = AtomicU64::new(first);
    // Each run is one thread's; several go on side by side.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || sums.lock().unwrap().broken.len() >= 10 {
                        return;
                    }
                    let report = guarded(seed, false);
                    sums.lock().unwrap().add(seed, report);
                }
            });
        }
    });
    let Sums {
        steps,
        counts,
        broken,
    } = sums.into_inner().unwrap();
    let took = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = seeds as f64 / took;
    println!("{seeds} seeds, {steps} steps in {took:.1} s ({rate:.0} seeds/s): {counts:?}");
    assert!(
        broken.is_empty(),
        "EDGEBUS_SEED=N shows each step by step: {broken:#?}"
    );
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..40 {
        let (first, second) = (run(seed, false), run(seed, false));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.steps, second.steps, "seed {seed}");
        assert_eq!(first.broken, second.broken, "seed {seed}");
    }
}

/// The first seed that finds what is injected now.
fn found() -> Option<u64> {
    (0..SEEDS_FOR_A_BUG).find(|seed| !guarded(*seed, false).broken.is_empty())
}

fn pipeline(bug: Bug) {
    injected::inject(Some(bug));
    let found = found();
    injected::inject(None);
    println!("{bug:?}: seed {found:?}");
    assert!(found.is_some(), "{bug:?} was not found");
}

macro_rules! found {
    ($($test:ident $bug:ident)*) => {
        $(
            #[test]
            fn $test() {
                pipeline(Bug::$bug);
            }
        )*
    };
}

found! {
    an_answer_before_the_commit_is_found AnswerBeforeCommit
    a_lost_wake_up_is_found WakeUpLost
    a_leaked_place_is_found WorkerLeaked
    leaked_memory_is_found MemoryLeaked
    a_stuck_filling_is_found FillingStuck
    a_dead_timer_is_found TimerDead
    a_duplicate_job_is_found DuplicateJob
    a_skipped_page_is_found PageSkipped
    a_wrong_counter_is_found CounterWrong
    a_forgotten_retry_is_found RetryForgotten
    a_turn_that_is_kept_is_found TurnKept
    a_turn_given_back_early_is_found TurnEarly
    a_stuck_suspect_is_found SuspectStuck
    an_early_retry_is_found RetryEarly
    forgotten_emits_are_found EmittedForgotten
    a_pause_without_end_is_found PauseForEver
    a_removal_that_is_early_is_found RemovedEarly
    two_states_in_one_attempt_are_found StatesMixed
    a_dead_letter_that_a_redrive_forgets_is_found LetterForgotten
    a_replay_that_passes_events_over_is_found ReplaySkips
    a_dead_letter_that_an_erasure_forgets_is_found CopyForgotten
    a_shadow_run_whose_effects_leak_is_found ShadowLeaks
}

#[test]
fn a_step_of_a_job_that_is_applied_twice_is_found() {
    injected::inject(Some(Bug::AdvanceTwice));
    store("advance twice", &edgebus_store::job::injected::TWICE);
    injected::inject(None);
}

#[test]
fn what_was_refused_and_still_counts_is_found() {
    store("refused writes kept", &state::KEEP_REFUSED);
}

#[test]
fn listings_that_nobody_checks_are_found() {
    store("no listings", &listings::NO_LISTING);
}

fn clock(bug: time::Bug) {
    time::inject(Some(bug));
    let found = found();
    time::inject(None);
    println!("{bug:?}: seed {found:?}");
    assert!(found.is_some(), "{bug:?} was not found");
}

#[test]
fn a_start_at_the_wall_clock_is_found() {
    clock(time::Bug::WallAtStart);
}

#[test]
fn gaps_that_are_forgotten_are_found() {
    clock(time::Bug::GapsForgotten);
}

#[test]
fn a_clock_that_stands_is_found() {
    clock(time::Bug::Stands);
}

fn store(name: &str, bug: &'static std::thread::LocalKey<std::cell::Cell<bool>>) {
    bug.set(true);
    let found = found();
    bug.set(false);
    println!("{name}: seed {found:?}");
    assert!(found.is_some(), "{name} was not found");
}

#[test]
fn a_model_without_fences_is_found() {
    store("no fences", &memory::NO_FENCE);
}

#[test]
fn state_that_nobody_checks_is_found() {
    // It is checked twice: before the writer's inbox, and in the transaction.
    injected::inject(Some(Bug::StateUnchecked));
    store("no versions", &memory::NO_VERSIONS);
    injected::inject(None);
}

#[test]
fn a_step_of_a_job_that_counts_twice_is_found() {
    // The second one is refused, unless the store takes an advance wherever its job is.
    injected::inject(Some(Bug::AdvanceTwice));
    store("an advance twice", &edgebus_store::job::injected::TWICE);
    injected::inject(None);
}

#[test]
fn an_erasure_that_leaves_what_is_pending_is_found() {
    store("pending kept", &edgebus_store::job::injected::PENDING_KEPT);
}

#[test]
fn dedupe_in_another_transaction_is_found() {
    store("dedupe apart", &memory::DEDUPE_APART);
}

#[test]
fn a_removal_of_what_is_pending_is_found() {
    store("pending events removed", &memory::PENDING_TRIMMED);
    store("pending events removed from redb", &redb::PENDING_TRIMMED);
}

#[test]
fn a_floor_that_is_raised_alone_is_found() {
    store("nothing removed", &memory::FLOOR_ALONE);
    store("nothing removed from redb", &redb::FLOOR_ALONE);
}

#[test]
fn a_store_that_does_not_flush_is_found() {
    store("no flush", &redb::NO_FLUSH);
}

#[test]
fn a_store_without_fences_is_found() {
    store("no fences in redb", &redb::NO_FENCE);
}
