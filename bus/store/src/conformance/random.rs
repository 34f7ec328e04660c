//! Random steps, applied to the model and to redb: every outcome and every page is the same.

use proptest::prelude::*;

use edgebus_model::{JobControl, JobId, JobPlace, JobSpec, LetterSelection, Skipped};

use super::*;

/// One random step, in small numbers so that steps meet each other.
#[derive(Clone, Debug)]
enum Act {
    Append {
        side: bool,
        ids: Vec<u8>,
        to: u8,
    },
    Settle {
        subscription: u8,
        replay: u8,
        position: u8,
        fence_off: u8,
        seen: Sight,
        end: End,
    },
    Claim {
        subscription: u8,
        position: u8,
        fence_off: u8,
    },
    StartJob(u8),
    Advance {
        job: u8,
        from_off: bool,
        effects: Vec<(u8, u8, u8, u8)>,
        ends: bool,
    },
    Control {
        job: u8,
        which: u8,
    },
    Apply {
        rules: u8,
        window_ms: u16,
    },
    Deploy(u8),
    Remove(u8),
    Trim {
        side: bool,
        age: u16,
        kib: Option<u8>,
        events: u8,
    },
    Expire {
        subscription: u8,
        age: u16,
    },
    Reopen,
    Pass(u16),
    StepBack(u16),
}

/// What the attempt saw of the state: keys, each rightly or not, and a range of keys, rightly or not.
#[derive(Clone, Debug)]
struct Sight {
    reads: Vec<(u8, bool)>,
    listing: Option<(Option<u8>, Option<u8>, bool)>,
}

#[derive(Clone, Debug)]
enum End {
    Done {
        writes: Vec<(u8, Option<u8>)>,
        emits: Vec<(bool, u8)>,
        hops: u8,
    },
    Retry(u8),
    Dead,
}

fn sight() -> impl Strategy<Value = Sight> {
    let right = || prop::bool::weighted(0.9);
    let reads = prop::collection::vec((0..4_u8, right()), 0..3);
    let edge = || prop::option::of(0..5_u8);
    let listing = prop::option::weighted(0.3, (edge(), edge(), right()));
    (reads, listing).prop_map(|(reads, listing)| Sight { reads, listing })
}

fn end() -> impl Strategy<Value = End> {
    let writes = prop::collection::vec((0..4_u8, prop::option::of(any::<u8>())), 0..3);
    let emits = prop::collection::vec((any::<bool>(), 0..40_u8), 0..4);
    prop_oneof![
        4 => (writes, emits, 15..18_u8).prop_map(|(writes, emits, hops)| End::Done {
            writes,
            emits,
            hops
        }),
        2 => any::<u8>().prop_map(End::Retry),
        1 => Just(End::Dead),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let ids = prop::collection::vec(0..40_u8, 0..6);
    let effect = (
        0..3_u8,
        1..16_u8,
        prop_oneof![9 => Just(0_u8), 1 => Just(1)],
        0..6_u8,
    );
    let effects = prop::collection::vec(effect, 0..8);
    let stale = || prop_oneof![9 => Just(0_u8), 1 => Just(1)];
    prop_oneof![
        8 => (any::<bool>(), ids, 0..8_u8).prop_map(|(side, ids, to)| Act::Append { side, ids, to }),
        12 => (0..3_u8, 0..3_u8, 1..16_u8, stale(), sight(), end()).prop_map(|(subscription, replay, position, fence_off, seen, end)| {
            Act::Settle { subscription, replay, position, fence_off, seen, end }
        }),
        3 => (0..3_u8, 1..16_u8, stale()).prop_map(|(subscription, position, fence_off)| {
            Act::Claim { subscription, position, fence_off }
        }),
        1 => (0..5_u8).prop_map(Act::StartJob),
        4 => (1..4_u8, prop::bool::weighted(0.1), effects, prop::bool::weighted(0.1)).prop_map(
            |(job, from_off, effects, ends)| Act::Advance { job, from_off, effects, ends }
        ),
        1 => (1..4_u8, 0..4_u8).prop_map(|(job, which)| Act::Control { job, which }),
        1 => (0..8_u8, 100..3_000_u16).prop_map(|(rules, window_ms)| Act::Apply { rules, window_ms }),
        1 => (0..3_u8).prop_map(Act::Deploy),
        1 => (0..3_u8).prop_map(Act::Remove),
        3 => (any::<bool>(), 0..2_000_u16, prop::option::weighted(0.2, 0..4_u8), 1..8_u8)
            .prop_map(|(side, age, kib, events)| Act::Trim { side, age, kib, events }),
        1 => (0..3_u8, 0..2_000_u16)
            .prop_map(|(subscription, age)| Act::Expire { subscription, age }),
        1 => Just(Act::Reopen),
        2 => any::<u16>().prop_map(|ms| Act::Pass(ms % 1_000)),
        1 => any::<u16>().prop_map(|ms| Act::StepBack(ms % 1_000)),
    ]
}

const FUNCTIONS: [&str; 3] = ["f", "g", "h"];

/// Makes the step; what it must know of the store (fences, versions) it asks the model.
fn step(act: &Act, model: &dyn Store, now: Timestamp) -> Option<Step> {
    let delivery = |key: DeliveryKey, off: u8| {
        let fence = match model.delivery(key).unwrap() {
            Some(DeliveryState::Pending(row)) => row.fence,
            _ => 0,
        };
        (key, fence + u32::from(off))
    };
    Some(match act {
        Act::Append { side, ids, to } => Step::Append(Append {
            bus: if *side { SIDE } else { BUS },
            events: ids
                .iter()
                .map(|id| {
                    let all = if *side { vec![S3] } else { vec![S1, S2] };
                    let all = all.into_iter().zip([1, 2]);
                    let to = all.filter(|(_, bit)| to & bit != 0).map(|(id, _)| id);
                    let mut new = new_event(&id.to_string(), &to.collect::<Vec<_>>());
                    if *id >= 34 && now.0 % 2 == 1 {
                        let mut event = (*new.event).clone();
                        event.kind = "other".into();
                        new.event = Arc::new(event);
                    }
                    new
                })
                .collect(),
            now,
        }),
        Act::Settle {
            subscription,
            replay,
            position,
            fence_off,
            seen,
            end,
        } => {
            let key = numbered(*subscription, *replay, *position);
            let (key, fence) = delivery(key, *fence_off);
            Step::Settle(Box::new(Settle {
                key,
                fence,
                attempt: attempt(fence + 1, Outcome::Success),
                spared: matches!(end, End::Retry(after) if after % 3 == 0),
                seen: what_was_seen(seen, model),
                end: settle_end(end, key, now),
                now,
            }))
        }
        Act::Claim {
            subscription,
            position,
            fence_off,
        } => {
            let key = numbered(*subscription, 0, *position);
            let (key, fence) = delivery(key, *fence_off);
            Step::Claim { key, fence, now }
        }
        Act::StartJob(_) | Act::Advance { .. } | Act::Control { .. } => {
            return job_step(act, model, now);
        }
        Act::Apply { rules, window_ms } => {
            let all = [
                rule("r1", "default", &["f"]),
                rule("r2", "default", &["g", "h"]),
                rule("r3", "side", &["f"]),
            ];
            let chosen = all.into_iter().zip([1, 2, 4]);
            let chosen = chosen.filter(|(_, bit)| rules & bit != 0);
            let chosen = chosen.map(|(rule, _)| rule).collect();
            let mut step = manifest(&["side"], &["f", "g"], chosen);
            step.now = now;
            step.buses[0].dedupe_ms = u64::from(*window_ms);
            Step::ApplyManifest(Box::new(step))
        }
        Act::Deploy(which) => Step::Deploy(Box::new(Deploy {
            function: name(FUNCTIONS[usize::from(*which)]),
            component: Bytes::from(format!("{which} {}", now.0 % 2)),
            config: None,
            expected: None,
            now,
        })),
        Act::Remove(which) => Step::Remove {
            function: name(FUNCTIONS[usize::from(*which)]),
            expected: None,
        },
        Act::Trim { .. } | Act::Expire { .. } => return removal(act, now),
        Act::Reopen | Act::Pass(_) | Act::StepBack(_) => return None,
    })
}

/// Makes a step of retention.
fn removal(act: &Act, now: Timestamp) -> Option<Step> {
    let before = |age: u16| Timestamp(now.0 - u64::from(age));
    Some(match act {
        Act::Trim {
            side,
            age,
            kib,
            events,
        } => Step::Trim(Trim {
            bus: if *side { SIDE } else { BUS },
            accepted_before: before(*age),
            bytes_max: kib.map_or(u64::MAX, |kib| u64::from(kib) << 10),
            events_max: usize::from(*events),
            expected: None,
            now,
        }),
        Act::Expire { subscription, age } => {
            let id = SubscriptionId(u32::from(*subscription) + 1);
            Step::Expire(Expire {
                keys: (1..16).map(|position| key(id, position)).collect(),
                died_before: before(*age),
                expected: None,
                now,
            })
        }
        _ => return None,
    })
}

fn numbered(subscription: u8, replay: u8, position: u8) -> DeliveryKey {
    DeliveryKey {
        replay: u32::from(replay),
        ..key(
            SubscriptionId(u32::from(subscription) + 1),
            u64::from(position),
        )
    }
}

/// The step of an act that is about a job.
fn job_step(act: &Act, model: &dyn Store, now: Timestamp) -> Option<Step> {
    Some(match act {
        Act::StartJob(which) => {
            let all = LetterSelection::default();
            super::jobs::start(match which {
                0 => JobSpec::Purge(all),
                1 => JobSpec::Redrive(all),
                2 => super::deliver::replay(),
                3 => super::erase::erase(),
                _ => super::deliver::skip(),
            })
        }
        Act::Advance {
            job,
            from_off,
            effects,
            ends,
        } => {
            let id = JobId(u32::from(*job));
            let known = model.job(id).unwrap();
            let place = known.map_or(JobPlace::Start, |job| job.place);
            let off = JobPlace::Delivery(key(S1, 99));
            let effects = effects.iter().map(|(subscription, position, off, what)| {
                // Also what replays made.
                let key = numbered(*subscription, position % 3, *position);
                let fence = match model.delivery(key).unwrap() {
                    Some(DeliveryState::Dead(row)) => row.delivery.fence,
                    _ => 0,
                };
                let fence = fence + u32::from(*off);
                match what {
                    0 => JobEffect::Purge { key, fence },
                    1 => JobEffect::Redrive { key, fence },
                    2 => JobEffect::Skip { key },
                    3 => JobEffect::EraseEvent {
                        at: EventRef {
                            bus: if key.subscription == S3 { SIDE } else { BUS },
                            position: key.position,
                        },
                    },
                    4 => JobEffect::EraseLetter { key },
                    _ => JobEffect::Deliver {
                        subscription: key.subscription,
                        position: key.position,
                    },
                }
            });
            Step::Advance(Box::new(Advance {
                job: id,
                from: if *from_off { off } else { place },
                to: JobPlace::Delivery(key(S1, now.0 % 7)),
                looked: 1,
                skipped: Skipped::default(),
                effects: effects.collect(),
                shadow: None,
                end: ends.then_some(JobEnd::Done),
                now,
            }))
        }
        Act::Control { job, which } => Step::ControlJob {
            job: JobId(u32::from(*job)),
            control: [
                JobControl::Pause,
                JobControl::Resume,
                JobControl::Resume,
                JobControl::Rate(Some(3)),
            ][usize::from(*which)],
            now,
        },
        _ => return None,
    })
}

fn what_was_seen(sight: &Sight, model: &dyn Store) -> Seen {
    let read = |(key, right): &(u8, bool)| {
        let seen = model.state(&name("f"), &[*key]).unwrap();
        let version = seen.map_or(0, |row| row.version);
        (vec![*key], version + u64::from(!right))
    };
    let listing = |(after, until, right): &(Option<u8>, Option<u8>, bool)| {
        let mut listing = Listing {
            prefix: Vec::new(),
            after: after.map(|key| vec![key]),
            until: until.map(|key| vec![key]),
            count: 0,
            keys: ListedKeys::default().digest(),
        };
        let mut keys = ListedKeys::default();
        for key in model.state_keys(&name("f"), b"", None, 100).unwrap() {
            if listing.covers(&key) && *right {
                keys.add(&key);
            }
        }
        listing.keys = keys.digest();
        listing
    };
    Seen {
        function: Some(name("f")),
        reads: sight.reads.iter().map(read).collect(),
        listings: sight.listing.iter().map(listing).collect(),
    }
}

fn settle_end(end: &End, from: DeliveryKey, now: Timestamp) -> SettleEnd {
    match end {
        End::Done {
            writes,
            emits,
            hops,
        } => SettleEnd::Done(Effects {
            version: next_version(),
            writes: writes
                .iter()
                .map(|(key, value)| (vec![*key], value.map(|value| Bytes::from(vec![value; 3]))))
                .collect(),
            emits: emits
                .iter()
                .map(|(side, id)| {
                    let (bus, to) = if *side { (SIDE, S3) } else { (BUS, S2) };
                    let hops = if *hops == 17 && *id > 30 { 17 } else { 3 };
                    (bus, emitted(&id.to_string(), from, hops, &[to]))
                })
                .collect(),
        }),
        End::Retry(after) => SettleEnd::Retry {
            due_at: now.plus_ms(u64::from(*after)),
        },
        End::Dead => SettleEnd::Dead {
            reason: DeadReason::AgeExceeded,
            published: now.0.is_multiple_of(2).then(|| {
                let id = format!("dead {from}");
                let hops = if now.0.is_multiple_of(3) { 17 } else { 3 };
                Box::new((SIDE, emitted(&id, from, hops, &[S3])))
            }),
        },
    }
}

/// Everything that the door shows, in pages of an awkward size.
pub(crate) fn everything(store: &dyn Store) -> Vec<String> {
    let mut all = Vec::new();
    let catalog = store.catalog().unwrap();
    let same = Catalog {
        store_id: [0; 16],
        secret: [0; 32],
        epoch: 0,
        clean: false,
        ..catalog
    };
    for (bus, ..) in &same.buses {
        // What a record weighs is the engine's.
        let counts = store.bus_counts(*bus).unwrap();
        let floor = store.floor(*bus).unwrap();
        let bytes = counts.bytes > 0;
        all.push(format!("{bus:?} {} {bytes} from {floor}", counts.events));
        let mut after = Position(0);
        loop {
            let page = store.events(*bus, after, 7).unwrap();
            let Some(last) = page.last() else { break };
            after = last.position;
            all.extend(page.iter().map(|row| format!("{bus:?} {row:?}")));
        }
    }
    all.push(format!("{same:?}"));
    for id in 1..=6 {
        let id = SubscriptionId(id);
        let mut after = None;
        loop {
            let page = store.deliveries(id, after, 3).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key);
            all.extend(page.iter().map(|row| format!("{row:?}")));
        }
        all.push(format!("{:?}", store.counts(id).unwrap()));
        all.push(format!("{:?}", store.settled(id, None, 1_000).unwrap()));
        all.push(format!(
            "{:?}",
            store.dead_letters(id, None, 1_000).unwrap()
        ));
    }
    let jobs = store.jobs_page(None, Page::forward(1_000, usize::MAX));
    all.push(format!("{:?}", jobs.unwrap().rows));
    all.push(format!("{:?}", store.totals()));
    let running = store.running_page(None, Page::forward(1_000, usize::MAX));
    for row in running.unwrap().rows {
        // Which open it was, and when, is another handle's business.
        all.push(format!("running {} {}", row.key, row.fence));
    }
    let mut after = None;
    loop {
        let page = store.waiting(Timestamp(u64::MAX), after, 3).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(*last);
        all.extend(page.iter().map(|row| format!("{row:?}")));
    }
    for key in store.state_keys(&name("f"), b"", None, 100).unwrap() {
        all.push(format!(
            "{key:?} {:?}",
            store.state(&name("f"), &key).unwrap()
        ));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn redb_does_what_the_model_does(
        batches in prop::collection::vec(prop::collection::vec(act(), 1..6), 1..40)
    ) {
        let mut model = Subject::memory().with_rules();
        let mut subject = Subject::redb().with_rules();
        let mut now = NOW;
        for batch in batches {
            let mut steps = Vec::new();
            for act in &batch {
                match act {
                    Act::Reopen => {
                        model.reopen();
                        subject.reopen();
                    }
                    Act::Pass(ms) => now = now.plus_ms(u64::from(*ms)),
                    Act::StepBack(ms) => now = Timestamp(now.0 - u64::from(*ms)),
                    _ => steps.extend(step(act, &*model.store, now)),
                }
            }
            let expected = model.store.commit(&steps).unwrap();
            let got = subject.store.commit(&steps).unwrap();
            prop_assert_eq!(got, expected, "{:?}", steps);
        }
        prop_assert_eq!(everything(&*subject.store), everything(&*model.store));
        let mut corruption = Vec::new();
        let seen = subject.store.verify(&mut |line| corruption.push(line)).unwrap();
        prop_assert!(seen.corrupt == 0 && corruption.is_empty(), "{:?}", corruption);
    }
}
