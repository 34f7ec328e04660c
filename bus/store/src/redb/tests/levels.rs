//! Fingerprints in levels against a naive map: random windows, times, kills, power cuts and rot, with merges
//! all the time. `EDGEBUS_LEVELS` sets how many runs.

use std::collections::HashMap;

use super::dedupe::Geometry;
use super::power::{Disk, Random};
use super::*;
use edgebus_model::reading::Gap;

/// Blocks of 256 positions, merged by 8: 2,048 and 16,384, the last in eight parts.
const SMALL: Geometry = Geometry {
    block_bits: 8,
    fan_bits: 3,
};
/// What a block outlives its window by.
const SLACK_MS: u64 = 3_600_000;

/// What must be answered, in the plainest way.
#[derive(Default)]
struct Naive {
    head: u64,
    /// Each id's latest position and time.
    seen: HashMap<u64, (u64, u64)>,
}

impl Naive {
    fn answer(&self, id: u64, now: u64, window_ms: u64) -> Option<u64> {
        let (position, accepted) = self.seen.get(&id)?;
        (now.saturating_sub(*accepted) < window_ms).then_some(*position)
    }

    /// What a batch comes to, and this afterwards.
    fn append(&mut self, ids: &[u64], now: u64, window_ms: u64) -> Vec<Appended> {
        let mut places = Vec::new();
        for id in ids {
            let known = self.answer(*id, now, window_ms);
            let position = known.unwrap_or(self.head + 1);
            if known.is_none() {
                self.head += 1;
                self.seen.insert(*id, (position, now));
            }
            places.push(Appended {
                position: Position(position),
                duplicate: known.is_some(),
            });
        }
        places
    }
}

fn step(ids: &[u64], now: u64) -> Step {
    let events = ids.iter().map(|id| {
        let mut new = event(&id.to_string(), Vec::new());
        new.subscriptions.clear();
        new
    });
    append(events.collect(), now)
}

fn clock(gaps: &[Gap]) -> Step {
    Step::Clock(ClockReading {
        log: gaps.last().map_or(Timestamp(0), |gap| gap.end),
        gaps: gaps.to_vec(),
        ..ClockReading::default()
    })
}

/// Changes rows of the index, some to rot and some to nothing.
fn corrupt(store: &RedbStore, random: &mut Random, count: u64) {
    let transaction = begin(store.database(), &store.length).unwrap();
    for which in [Table::Dedupe, Table::DedupeLevels] {
        let mut table = transaction.open_table(tables::definition(which)).unwrap();
        let mut keys = Vec::new();
        for row in ::redb::ReadableTable::iter(&table).unwrap() {
            keys.push(row.unwrap().0.value().to_vec());
        }
        for _ in 0..count.min(keys.len() as u64) {
            let key = &keys[random.below(keys.len() as u64) as usize];
            if random.below(2) == 0 {
                table.insert(&key[..], &b"rot"[..]).unwrap();
            } else {
                table.remove(&key[..]).unwrap();
            }
        }
    }
    transaction.commit().unwrap();
}

struct Run {
    random: Random,
    disk: Disk,
    store: RedbStore,
    naive: Naive,
    now: u64,
    window_ms: u64,
    next_id: u64,
    gaps: Vec<Gap>,
    corrupt: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let (disk, store) = Disk::with_store();
        Self {
            random: Random(seed),
            disk,
            store,
            naive: Naive::default(),
            now: 1_000_000_000,
            window_ms: 1_000_000,
            next_id: 0,
            gaps: Vec::new(),
            corrupt: false,
        }
    }

    fn reopen(&mut self, disk: Disk) {
        let memory = [0, 700, 3_000, 1 << 20][self.random.below(4) as usize];
        // The old handle closes on the old disk, which nobody reads again.
        self.store = disk.open_with(memory).unwrap();
        self.disk = disk;
    }

    /// The machine was off, and no window counts that.
    fn gap(&mut self) {
        let ms = self.random.below(2 * (SLACK_MS + self.window_ms));
        self.now += ms;
        let end = Timestamp(self.now);
        self.gaps.push(Gap { end, ms });
        self.store.commit(&[clock(&self.gaps)]).unwrap();
    }

    fn reach_ms(&self) -> u64 {
        let gaps = self.gaps.clone();
        ClockReading {
            gaps,
            ..ClockReading::default()
        }
        .reach_ms(Timestamp(self.now), self.window_ms)
    }

    fn ids(&mut self) -> Vec<u64> {
        let most = [3, 60, 400][self.random.below(3) as usize];
        let count = 1 + self.random.below(most);
        (0..count)
            .map(|_| match self.random.below(10) {
                0 if self.next_id > 0 => self.random.below(self.next_id),
                1 if self.next_id > 50 => self.next_id - 1 - self.random.below(50),
                _ => {
                    self.next_id += 1;
                    self.next_id - 1
                }
            })
            .collect()
    }

    /// One change of the world; true if a batch was not answered as it must be.
    fn turn(&mut self, with_corruption: bool) -> bool {
        match self.random.below(40) {
            0 => self.now += self.random.below(3_000),
            1 => self.now += self.random.below(2 * self.window_ms),
            2 if self.random.below(9) == 0 => self.now += SLACK_MS + self.window_ms,
            3 => {
                self.window_ms = 1_000 + self.random.below(100_000);
                self.store.commit(&[rules(self.window_ms)]).unwrap();
            }
            4 => {
                let killed = Disk::of(self.disk.live());
                self.reopen(killed);
            }
            5 => return self.cut(),
            6 if with_corruption => {
                self.corrupt = true;
                let count = 1 + self.random.below(6);
                corrupt(&self.store, &mut self.random, count);
            }
            7 => self.gap(),
            // What was removed is remembered all the same. Rows that rotted would be made of the log again.
            8..11 if !with_corruption => {
                let trim = Trim {
                    bus: BusId(1),
                    accepted_before: Timestamp(self.now - self.random.below(self.window_ms)),
                    bytes_max: u64::MAX,
                    events_max: [3, 100, 5_000][self.random.below(3) as usize],
                    expected: None,
                    now: Timestamp(self.now),
                };
                self.store.commit(&[Step::Trim(trim)]).unwrap();
            }
            _ => {
                let ids = self.ids();
                let reach_ms = self.reach_ms();
                let expected = self.naive.append(&ids, self.now, reach_ms);
                let got = self.store.commit(&[step(&ids, self.now)]).unwrap();
                return got != [StepOutcome::Appended(expected)];
            }
        }
        false
    }

    /// The power goes during a commit, which has then taken place or not.
    fn cut(&mut self) -> bool {
        let ids = self.ids();
        self.disk.cut_after(self.random.below(30));
        let committed = self.store.commit(&[step(&ids, self.now)]);
        let after = self.disk.after_the_cut(&mut self.random);
        let before = self.naive.head;
        self.reopen(after);
        let head = self.store.catalog().unwrap().buses[0].2.0;
        if committed.is_ok() || head != before {
            let reach_ms = self.reach_ms();
            self.naive.append(&ids, self.now, reach_ms);
        }
        head != self.naive.head
    }
}

/// Runs with one seed; how many batches were answered wrongly.
fn run(seed: u64, turns: u64, with_corruption: bool) -> u64 {
    let mut run = Run::new(seed);
    let mut wrong = 0;
    for _ in 0..turns {
        wrong += u64::from(run.turn(with_corruption));
        if wrong > 0 {
            return wrong;
        }
    }
    if !run.corrupt {
        assert_eq!(verified(&run.store), [""; 0], "seed {seed}");
        assert_eq!(run.store.corruption().records, 0, "seed {seed}");
    }
    wrong
}

fn runs() -> u64 {
    let count = std::env::var("EDGEBUS_LEVELS");
    count.ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn levels_answer_as_a_plain_map_does() {
    injected::GEOMETRY.set(SMALL);
    for seed in 0..runs() {
        assert_eq!(run(seed, 400, false), 0, "seed {seed}");
        assert_eq!(
            run(seed ^ 0xABCD, 200, true),
            0,
            "seed {seed}, with corruption"
        );
    }
    injected::GEOMETRY.set(Geometry::STORED);
}

#[test]
fn an_injected_bug_of_merging_is_found() {
    injected::GEOMETRY.set(SMALL);
    injected::LOST_BLOCK.set(true);
    let found = (0..20).any(|seed| run(seed, 400, false) > 0);
    injected::LOST_BLOCK.set(false);
    injected::GEOMETRY.set(Geometry::STORED);
    assert!(found, "no run met the bug");
}

/// The rows of the index, by what they are: of sealed blocks, merged ones, heads, filters, tail.
fn rows(store: &RedbStore) -> [usize; 5] {
    let mut counts = [0; 5];
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let snapshot = store.snapshot().unwrap();
    for table in [Table::Dedupe, Table::DedupeLevels] {
        snapshot
            .scan(table, all.0, all.1, |key, _| {
                counts[if key.len() == 13 {
                    0
                } else {
                    usize::from(key[4])
                }] += 1;
                true
            })
            .unwrap();
    }
    counts
}

#[test]
fn rows_and_memory_are_bounded_and_go() {
    injected::GEOMETRY.set(SMALL);
    let (mut disk, mut store) = Disk::with_store();
    let span = SMALL.span(2);
    let mut id = 0;
    let mut fill = |store: &RedbStore, count: u64, now: u64| {
        let end = id + count;
        while id < end {
            let ids: Vec<u64> = (id..(id + 100).min(end)).collect();
            id += ids.len() as u64;
            store.commit(&[step(&ids, now)]).unwrap();
        }
    };
    fill(&store, 2 * span + 2_000, 1_000);
    let blocks = store.memory.lock().unwrap().1.blocks();
    assert!(blocks <= 2 + 8 + 8, "{blocks} blocks are asked");
    // Rows of blocks that were merged go in the transactions that follow.
    for _ in 0..600 {
        store.commit(&[Step::MarkClean(false)]).unwrap();
    }
    let blocks = store.memory.lock().unwrap().1.blocks();
    assert_eq!(
        rows(&store)[0],
        4 * 7,
        "{:?}, {blocks} blocks",
        rows(&store)
    );
    assert_eq!(rows(&store)[1], 2 * 256, "{:?}", rows(&store));
    let memory = store.memory.lock().unwrap().1.filter_bytes();
    assert!(
        memory as u64 <= 2 * (2 * span + 2_000),
        "{memory} bytes of filters"
    );

    // Half of the memory: filters are halved, and with none they are let go.
    let image = disk.live();
    for most in [memory / 2, 100, 0] {
        disk = Disk::of(image.clone());
        store = disk.open_with(most).unwrap();
        let known = store.memory.lock().unwrap().1.filter_bytes();
        assert!(known <= most, "{known} of {most}");
        let ids = [0, 5_000, 2 * span];
        let answers = store.commit(&[step(&ids, 1_001)]).unwrap();
        let StepOutcome::Appended(places) = &answers[0] else {
            panic!("{answers:?}")
        };
        let known: Vec<_> = places
            .iter()
            .map(|place| (place.position.0, place.duplicate))
            .collect();
        assert_eq!(known, ids.map(|id| (id + 1, true)));
    }

    // Out of the window everything goes, without another block being sealed.
    let later = 1_000 + 1_000_000 + SLACK_MS + 1;
    store.commit(&[step(&[u64::MAX], later)]).unwrap();
    for _ in 0..1_500 {
        store.commit(&[Step::MarkClean(false)]).unwrap();
    }
    assert_eq!(store.memory.lock().unwrap().1.blocks(), 0);
    assert_eq!(rows(&store)[..4], [0; 4], "{:?}", rows(&store));
    // And a start reads no more of the log than the tail.
    let store = Disk::of(disk.live()).open().unwrap();
    assert!(rows(&store)[4] < 4, "{:?}", rows(&store));
    injected::GEOMETRY.set(Geometry::STORED);
}

/// What is published first after a day without power may be duplicates alone, or not be for this bus at all.
#[test]
fn blocks_outlive_a_gap_that_the_window_does_not_count() {
    injected::GEOMETRY.set(SMALL);
    let day = 86_400_000;
    let (disk, store) = Disk::with_store();
    store.commit(&[rules(day)]).unwrap();
    let ids: Vec<u64> = (0..2 * SMALL.span(0) + 100).collect();
    store.commit(&[step(&ids, 1_000)]).unwrap();
    drop(store);
    let mut disk = Disk::of(disk.live());
    let mut store = disk.open().unwrap();
    let ms = day + 2 * SLACK_MS;
    let now = 1_000 + ms;
    let gaps = [Gap {
        end: Timestamp(now),
        ms,
    }];
    for ids in [&ids[..1], &ids] {
        let answers = store.commit(&[clock(&gaps), step(ids, now)]).unwrap();
        let StepOutcome::Appended(places) = &answers[1] else {
            panic!("{answers:?}")
        };
        assert!(places.iter().all(|place| place.duplicate), "{places:?}");
        store.commit(&[Step::MarkClean(false)]).unwrap();
        let blocks = store.memory.lock().unwrap().1.blocks();
        assert_eq!(blocks, 2, "after {} repeats", ids.len());
        disk = Disk::of(disk.live());
        store = disk.open().unwrap();
    }
    injected::GEOMETRY.set(Geometry::STORED);
}
