//! What a run does, as its seed decides: the store, the manifests, who publishes, what goes wrong.

use std::fmt::Write as _;
use std::time::Duration;

use super::random::Random;
use crate::pipeline::Limits;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// What one run does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// On redb over a disk that can fail; else on the model store.
    pub(super) redb: bool,
    pub(super) processors: usize,
    pub(super) limits: Limits,
    pub(super) functions: Vec<FunctionPlan>,
    /// One function gets what it emits, until the chain is too long.
    pub(super) loops: bool,
    /// Rules in all; a manifest may leave some out.
    pub(super) rules: Vec<RulePlan>,
    pub(super) publishers: usize,
    /// Requests that each publisher makes before the quiet end.
    pub(super) requests: usize,
    pub(super) events_in_request: u64,
    /// Lives before the last one, which is quiet.
    pub(super) lives: Vec<LifePlan>,
    /// In the quiet end every dead letter is redriven.
    pub(super) redrives: bool,
    /// In the quiet end what is about one subject is erased.
    pub(super) erases: bool,
    /// How long events are kept, in milliseconds, if that is not long.
    pub(super) kept_ms: Option<u64>,
}

/// One function.
#[derive(Clone, Debug)]
pub(super) struct FunctionPlan {
    pub(super) name: String,
    pub(super) concurrency: u32,
    /// Adds 1 to its state in each attempt.
    pub(super) counts: bool,
    /// Keeps books in its state: several keys and listings.
    pub(super) books: bool,
    /// The type that each success emits, if it does.
    pub(super) emits: Option<String>,
    /// What its attempts come to: how many of a hundred are what.
    pub(super) mix: Mix,
    pub(super) timeout_ms: u64,
    /// Fails to compile the first so many times.
    pub(super) uncompiled: u32,
}

/// Of a hundred attempts, how many end how; the rest succeed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mix {
    pub(super) fail: u64,
    pub(super) reject: u64,
    pub(super) hang: u64,
    pub(super) panic: u64,
    /// The process dies.
    pub(super) kill: u64,
    /// Sleeps before it goes on.
    pub(super) slow: u64,
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct RulePlan {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) function: usize,
    pub(super) attempts_max: u32,
    pub(super) backoff_ms: u64,
}

/// How a life ends and what befalls it.
#[derive(Clone, Debug)]
pub(super) struct LifePlan {
    pub(super) steps: u64,
    pub(super) end: End,
    /// Milliseconds that the wall clock is off by from the next life on.
    pub(super) off_ms: i64,
    /// The machine boots before the next life.
    pub(super) reboot: bool,
    /// How long nothing runs before the next life, in milliseconds.
    pub(super) away_ms: u64,
    /// Times that somebody sets the wall clock during this life.
    pub(super) sets: u64,
    /// Of a thousand commits, how many are slow.
    pub(super) slow_commits: u64,
    /// A commit of this number answers "unknown".
    pub(super) unknown_commit: Option<u64>,
    /// The disk is full from time to time.
    pub(super) full_disk: bool,
    /// The manifest changes from time to time.
    pub(super) changes: u64,
    /// Settlements of attempts that were thought dead.
    pub(super) zombies: u64,
    /// Replays and seeks that are asked for.
    pub(super) replays: u64,
    /// An event's record is corrupt while the process is down.
    pub(super) corruption: bool,
    /// Jobs that somebody makes.
    pub(super) jobs: u64,
    /// Erasures of what is about somebody.
    pub(super) erasures: u64,
    /// Shadow replays that are asked for.
    pub(super) shadows: u64,
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// In order.
    Stop,
    /// Killed: what was written stays.
    Kill,
    /// The power goes: what was not flushed may be lost.
    Power,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let size = random.below(100);
        // Most runs are small, some are wide.
        let rules = match size {
            0..50 => 1 + random.below(4),
            50..92 => 4 + random.below(12),
            92..99 => 20 + random.below(60),
            _ => 1_000,
        };
        let wide = rules > 100;
        let functions = 1 + random.below(rules.min(6));
        let mut functions: Vec<_> = (0..functions).map(|n| function(random, n)).collect();
        let kinds = 1 + random.below(rules.min(5));
        let rules = (0..rules).map(|number| {
            let function = random.below(functions.len() as u64);
            // What a function emits goes to few of a higher number, so that chains end.
            let kind = if number % 5 == 4 && number < 20 && function > 0 {
                format!("e{}", random.below(function))
            } else {
                format!("t{}", random.below(kinds))
            };
            let function = usize::try_from(function).unwrap();
            RulePlan {
                name: format!("r{number}"),
                kind,
                function,
                attempts_max: 1 + u32::try_from(random.below(5)).unwrap(),
                backoff_ms: [1, 20, 200, 2_000][usize::try_from(random.below(4)).unwrap()],
            }
        });
        let mut rules: Vec<_> = rules.collect();
        let loops = size < 50 && random.once_in(4);
        if loops {
            chain(random, &mut functions, &mut rules);
        }
        let lives = random.below(4);
        let redb = random.once_in(8);
        // Apart, so that runs without jobs are what they were.
        let of_jobs = &mut Random::new(seed ^ 0x0B5);
        let of_erasures = &mut Random::new(seed ^ 0xE7A5);
        let of_shadows = &mut Random::new(seed ^ 0x5AD0);
        Self {
            seed,
            redb,
            processors: 1 + usize::try_from(random.below(4)).unwrap(),
            limits: Limits {
                on_processor_max: 1 + usize::try_from(random.below(8)).unwrap(),
                in_flight_max: [4, 8, 64, 512][usize::try_from(random.below(4)).unwrap()],
                memory_bytes_max: [128 << 20, 1 << 30, 64 << 30]
                    [usize::try_from(random.below(3)).unwrap()],
                // Few, so that much is read back from the store.
                ready_max: [2, 4, 16, 1_024][usize::try_from(random.below(4)).unwrap()],
            },
            functions,
            loops,
            rules,
            publishers: 1 + usize::try_from(random.below(if wide { 1 } else { 4 })).unwrap(),
            requests: if wide || loops {
                3
            } else {
                4 + usize::try_from(random.below(12)).unwrap()
            },
            events_in_request: if wide { 1 } else { 1 + random.below(6) },
            lives: (0..lives)
                .map(|_| LifePlan {
                    jobs: if of_jobs.once_in(2) {
                        1 + of_jobs.below(6)
                    } else {
                        0
                    },
                    erasures: if of_erasures.once_in(3) {
                        1 + of_erasures.below(3)
                    } else {
                        0
                    },
                    shadows: if of_shadows.once_in(3) {
                        1 + of_shadows.below(3)
                    } else {
                        0
                    },
                    ..life(random, redb)
                })
                .collect(),
            redrives: of_jobs.once_in(2),
            erases: of_erasures.once_in(2),
            kept_ms: random
                .once_in(3)
                .then(|| [1_000, 3_000, 20_000][usize::try_from(random.below(3)).unwrap()]),
        }
    }

    /// The manifest of version `number`: the first has every rule, later ones leave some out.
    pub(super) fn manifest(&self, number: u64) -> String {
        let mut text = format!("# {number}\nversion: 1\n");
        if let Some(age) = self.kept_ms {
            let bus = format!("buses: {{ default: {{ retention: {{ age: {age}ms }} }} }}\n");
            text.push_str(&bus);
        }
        text.push_str("functions:\n");
        for function in &self.functions {
            let FunctionPlan {
                name,
                concurrency,
                timeout_ms,
                ..
            } = function;
            writeln!(
                text,
                "  {name}: {{ component: {name}, limits: {{ concurrency: {concurrency}, timeout: {timeout_ms}ms }} }}"
            )
            .unwrap();
        }
        text.push_str("rules:\n");
        for rule in self.rules_of(number) {
            writeln!(
                text,
                "  {}: {{ match: {{ type: [{}] }}, to: [{{ function: {}, retry: {{ attempts: {}, backoff: {{ initial: {}ms, factor: 2, max: 5s }} }} }}] }}",
                rule.name,
                rule.kind,
                self.functions[rule.function].name,
                rule.attempts_max,
                rule.backoff_ms
            )
            .unwrap();
        }
        text
    }

    /// The rules of that manifest.
    pub(super) fn rules_of(&self, number: u64) -> Vec<&RulePlan> {
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0xA5A5_1234));
        let (first, others) = self.rules.split_first().unwrap();
        let others = others.iter().filter(|_| number == 0 || !random.once_in(4));
        std::iter::once(first).chain(others).collect()
    }

    /// The rule of this name.
    pub(super) fn rule(&self, name: &str) -> Option<&RulePlan> {
        let number: usize = name.strip_prefix('r')?.parse().ok()?;
        self.rules.get(number)
    }

    /// What a published event's type may be.
    pub(super) fn kinds(&self) -> Vec<String> {
        let mut kinds: Vec<_> = self.rules.iter().map(|rule| rule.kind.clone()).collect();
        kinds.push("unmatched".to_owned());
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// The longest that anything may take in the quiet end.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(3_600)
    }
}

/// One more function, which gets what it emits, and its rules.
fn chain(random: &mut Random, functions: &mut Vec<FunctionPlan>, rules: &mut Vec<RulePlan>) {
    let number = functions.len();
    let emitted = format!("e{number}");
    functions.push(FunctionPlan {
        concurrency: 8,
        counts: random.once_in(2),
        books: true,
        emits: Some(emitted.clone()),
        ..function(random, number as u64)
    });
    for kind in [rules[0].kind.clone(), emitted] {
        rules.push(RulePlan {
            name: format!("r{}", rules.len()),
            kind,
            function: number,
            attempts_max: 5,
            backoff_ms: 20,
        });
    }
}

fn function(random: &mut Random, number: u64) -> FunctionPlan {
    let calm = random.once_in(3);
    let mut share = |of: u64| if calm { 0 } else { random.below(of) };
    let mix = Mix {
        fail: share(30),
        reject: share(8),
        hang: share(4),
        panic: share(4),
        kill: share(3) / 2,
        slow: share(40),
    };
    FunctionPlan {
        name: format!("f{number}"),
        concurrency: [1, 2, 8, 32][usize::try_from(random.below(4)).unwrap()],
        counts: random.once_in(2),
        books: random.once_in(3),
        emits: random.once_in(3).then(|| format!("e{number}")),
        mix,
        timeout_ms: 200 + random.below(2_000),
        uncompiled: if random.once_in(12) {
            1 + u32::try_from(random.below(2)).unwrap()
        } else {
            0
        },
    }
}

/// What a wall clock is off by, in milliseconds.
pub(super) fn off_ms(random: &mut Random) -> i64 {
    let most_ms = match random.below(5) {
        0 | 1 => 1_000,
        2 => 4 * HOUR_MS,
        3 => 60 * DAY_MS,
        _ => 40 * 365 * DAY_MS,
    };
    let off_ms = i64::try_from(random.below(most_ms)).unwrap();
    if random.once_in(2) { -off_ms } else { off_ms }
}

fn life(random: &mut Random, redb: bool) -> LifePlan {
    let end = match random.below(10) {
        0..2 => End::Stop,
        2..6 => End::Kill,
        _ if redb => End::Power,
        _ => End::Kill,
    };
    let sometimes = |random: &mut Random, of: u64| {
        if random.once_in(2) {
            random.below(of)
        } else {
            0
        }
    };
    let reboot = end == End::Power || random.once_in(3);
    LifePlan {
        steps: random.below(3_000),
        end,
        off_ms: off_ms(random),
        reboot,
        // While the machine is up, everything grows older.
        away_ms: random.below(if reboot { 90 * DAY_MS } else { HOUR_MS }),
        sets: sometimes(random, 3),
        slow_commits: sometimes(random, 200),
        unknown_commit: random.once_in(3).then(|| random.below(60)),
        full_disk: random.once_in(6),
        changes: sometimes(random, 4),
        zombies: sometimes(random, 24),
        corruption: random.once_in(12),
        jobs: 0,
        erasures: 0,
        shadows: 0,
        replays: sometimes(random, 4),
    }
}
