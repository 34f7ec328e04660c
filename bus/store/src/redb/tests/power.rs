//! Power cuts: what was not flushed is lost, reordered or torn at 512 bytes, and what was
//! acknowledged is still there. `EDGEBUS_POWER_CUTS` sets how many.

use std::collections::HashMap;

use super::*;
use crate::conformance::random::everything;
use crate::memory::MemoryStore;
pub(super) use crate::redb::simulated_disk::{Disk, RECORDED, Random};

impl Disk {
    /// A new store on a new disk, with the rules.
    pub(super) fn with_store() -> (Self, RedbStore) {
        let disk = Self::with_new_store();
        let store = disk.open().unwrap();
        store.commit(&[rules(1_000_000)]).unwrap();
        (disk, store)
    }
}

/// A batch of the random workload; fences are remembered for the deliveries that still live.
pub(super) fn batch(
    random: &mut Random,
    fences: &mut HashMap<u64, u32>,
    next_id: &mut u64,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..=random.below(4) {
        if random.below(6) == 0 {
            steps.push(removal(random));
        } else if random.below(2) == 0 || fences.is_empty() {
            let mut events = Vec::new();
            for _ in 0..=random.below(6) {
                let repeat = random.below(5) == 0 && *next_id > 0;
                let id = if repeat {
                    random.below(*next_id)
                } else {
                    *next_id
                };
                *next_id = (*next_id).max(id + 1);
                let size = [10, 900, 6_000][random.below(3) as usize];
                events.push(event(&id.to_string(), vec![id as u8; size]));
            }
            steps.push(append(events, 1_000));
        } else {
            let nth = random.below(fences.len() as u64) as usize;
            let mut pending: Vec<_> = fences.keys().copied().collect();
            pending.sort_unstable();
            let position = pending[nth];
            let fence = fences[&position];
            let end = match random.below(4) {
                0 => {
                    fences.insert(position, fence + 1);
                    SettleEnd::Retry {
                        due_at: Timestamp(random.below(500)),
                    }
                }
                1 => {
                    fences.remove(&position);
                    SettleEnd::Dead {
                        reason: DeadReason::Rejected,
                        published: None,
                    }
                }
                _ => {
                    fences.remove(&position);
                    let emit = event(&format!("e{position}"), vec![1; 50]);
                    SettleEnd::Done(Effects {
                        version: conformance::next_version(),
                        writes: vec![(
                            position.to_le_bytes().to_vec(),
                            Some(bytes::Bytes::from(vec![2; 40])),
                        )],
                        emits: vec![(BusId(1), emit)],
                    })
                }
            };
            steps.push(settle(position, fence, end));
        }
    }
    steps
}

/// A step of retention, for all that is pending, or dead.
fn removal(random: &mut Random) -> Step {
    if random.below(3) == 0 {
        let first = random.below(60);
        return Step::Expire(Expire {
            keys: (first..first + 10).map(key).collect(),
            died_before: Timestamp(1_000),
            expected: None,
            now: Timestamp(1_000),
        });
    }
    Step::Trim(Trim {
        bus: BusId(1),
        accepted_before: Timestamp(1_001),
        bytes_max: u64::MAX,
        events_max: 1 + random.below(3) as usize,
        expected: None,
        now: Timestamp(1_000 + random.below(9_000_000)),
    })
}

/// The model after these batches.
fn model(batches: &[Vec<Step>]) -> MemoryStore {
    let model = MemoryStore::new();
    model.commit(&[rules(1_000_000)]).unwrap();
    for steps in batches {
        model.commit(steps).unwrap();
    }
    model
}

/// One life: work until the power goes, perhaps again during recovery, then look at what is there.
///
/// Every other disk holds a file in which each commit records its free pages.
fn power_cut(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    RECORDED.set(seed % 2 == 1);
    let (mut disk, store) = Disk::with_store();
    disk.cut_after(random.below(400));
    let mut acknowledged: Vec<Vec<Step>> = Vec::new();
    let mut unknown = None;
    let (mut fences, mut next_id) = (HashMap::new(), 0);
    for _ in 0..30 {
        let steps = batch(&mut random, &mut fences, &mut next_id);
        match store.commit(&steps) {
            Ok(outcomes) => {
                for outcome in &outcomes {
                    let StepOutcome::Appended(places) = outcome else {
                        continue;
                    };
                    let fresh = places.iter().filter(|place| !place.duplicate);
                    fences.extend(fresh.map(|place| (place.position.0, 0)));
                }
                acknowledged.push(steps);
            }
            Err(error) => {
                assert_eq!(error.kind, Kind::Unknown);
                let again = store.commit(&[Step::MarkClean(false)]).unwrap_err();
                assert_eq!(again.kind, Kind::Unknown, "the handle went on");
                unknown = Some(steps);
                break;
            }
        }
    }
    // A running process closes in order on drop; a cut one must not.
    disk.cut_after(0);
    drop(store);
    disk = disk.after_the_cut(&mut random);
    if random.below(3) == 0 {
        disk.cut_after(random.below(40));
        drop(disk.open());
        disk.cut_after(0);
        disk = disk.after_the_cut(&mut random);
    }
    let store = disk
        .open()
        .map_err(|error| format!("does not open: {error}"))?;
    let corruption = verified(&store);
    if !corruption.is_empty() {
        return Err(format!("corrupt: {corruption:?}"));
    }
    let mut truth = model(&acknowledged);
    let there = everything(&store);
    if there != everything(&truth) {
        let all: Vec<_> = acknowledged.iter().cloned().chain(unknown).collect();
        truth = model(&all);
        if there != everything(&truth) {
            return Err("neither what was acknowledged nor with the unknown batch".into());
        }
    }
    let ids = (0..next_id).map(|id| event(&id.to_string(), vec![]));
    let repeat = [append(ids.collect(), 1_001)];
    let (got, expected) = (
        store.commit(&repeat).unwrap(),
        truth.commit(&repeat).unwrap(),
    );
    if got != expected {
        return Err("a repeated id got another answer".into());
    }
    Ok(())
}

fn cuts() -> u64 {
    let count = std::env::var("EDGEBUS_POWER_CUTS");
    count.ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[test]
fn nothing_acknowledged_is_lost() {
    for seed in 0..cuts() {
        if let Err(error) = power_cut(seed) {
            panic!("seed {seed}: {error}");
        }
    }
}

fn some_seed_fails() -> bool {
    (0..60).any(|seed| std::panic::catch_unwind(|| power_cut(seed)).is_ok_and(|end| end.is_err()))
}

#[test]
fn a_store_that_does_not_flush_is_caught() {
    injected::NO_FLUSH.set(true);
    let caught = some_seed_fails();
    injected::NO_FLUSH.set(false);
    assert!(caught);
}

#[test]
fn a_store_that_splits_a_batch_is_caught() {
    injected::SPLIT.set(true);
    let caught = some_seed_fails();
    injected::SPLIT.set(false);
    assert!(caught);
}

#[test]
fn a_store_without_fences_is_caught() {
    let settled_twice = || {
        let (_disk, store) = Disk::with_store();
        store
            .commit(&[append(vec![event("a", vec![])], 1)])
            .unwrap();
        let end = || SettleEnd::Retry {
            due_at: Timestamp(1),
        };
        store.commit(&[settle(1, 0, end())]).unwrap();
        store.commit(&[settle(1, 0, end())]).unwrap()[0] != StepOutcome::Stale
    };
    assert!(!settled_twice());
    injected::NO_FENCE.set(true);
    assert!(settled_twice());
    injected::NO_FENCE.set(false);
}
