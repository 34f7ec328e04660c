//! The store of an earlier format, as that release left it: it opens, and everything is in it.
//!
//! `tests/formats/store-1` was made by the last release of store format 1 from the steps of [`history`], and
//! was not closed in order. The same steps on the model say what must be there. `EDGEBUS_FREEZE=DIR` makes
//! such a folder with the present release.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::conformance::random::everything;
use crate::conformance::{
    BUS, NOW, S1, S2, S3, SIDE, append, attempt, component, emitted, key, manifest, name,
    new_event, rule,
};
use crate::memory::{self, MemoryStore};

const PAGE: usize = 4096;

/// What was done with the store, in batches.
pub(super) fn history() -> Vec<Vec<Step>> {
    let all = [
        rule("r1", "default", &["f"]),
        rule("r2", "default", &["g", "h"]),
        rule("r3", "side", &["f"]),
    ];
    let first = manifest(&["side"], &["f", "g", "h"], all.to_vec());
    // The second leaves `h` out: its subscription is no longer active, and still has pending deliveries.
    let second = manifest(&["side"], &["f", "g"], {
        let mut rules = all.to_vec();
        rules[1] = rule("r2", "default", &["g"]);
        rules
    });
    let mut batches = vec![vec![Step::ApplyManifest(Box::new(first))]];
    for start in (1..=60_u64).step_by(10) {
        let ids: Vec<String> = (start..start + 10).map(|id| format!("e{id}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        batches.push(vec![append(&ids, &[S1, S2, S3], NOW.plus_ms(start))]);
    }
    let side = (1..=12).map(|id| {
        let mut new = new_event(&format!("s{id}"), &[SubscriptionId(4)]);
        let mut event = (*new.event).clone();
        event.subject = Some(format!("subject {id}"));
        event.extensions = vec![
            ("text".to_owned(), Attribute::Text("a".to_owned())),
            ("number".to_owned(), Attribute::Integer(-id)),
            ("flag".to_owned(), Attribute::Boolean(id % 2 == 0)),
        ];
        event.data = if id == 3 {
            Data::Absent
        } else {
            Data::Opaque(vec![7; 600 * usize::try_from(id).unwrap()].into())
        };
        new.event = event.into();
        new
    });
    batches.push(vec![Step::Append(Append {
        bus: SIDE,
        events: side.collect(),
        now: NOW.plus_ms(100),
    })]);
    batches.push(vec![Step::ApplyManifest(Box::new(second))]);
    batches.push((1..=12).flat_map(|position| done(S1, position)).collect());
    batches.push(
        (13..=20)
            .flat_map(|position| failed(S1, position, position - 12))
            .collect(),
    );
    batches.push(failed(S1, 21, 20));
    batches.push((22..=25).flat_map(|position| dead(S1, position)).collect());
    batches.push(
        (26..=31)
            .flat_map(|position| claimed(S1, position))
            .collect(),
    );
    batches.push((3..=9).flat_map(|position| done(S2, position)).collect());
    batches.push((5..=7).flat_map(|position| dead(S3, position)).collect());
    batches.push(
        (2..=5)
            .flat_map(|position| done(SubscriptionId(4), position))
            .collect(),
    );
    batches.push(failed(SubscriptionId(4), 7, 2));
    // The release that made the store gave each write the next version, and each of these settlements has one.
    let mut version = 0;
    for step in batches.iter_mut().flatten() {
        if let Step::Settle(settle) = step
            && let SettleEnd::Done(effects) = &mut settle.end
        {
            version += 1;
            effects.version = version;
        }
    }
    batches
}

fn ended(
    (subscription, position): (SubscriptionId, u64),
    (fence, number): (u32, u32),
    outcome: Outcome,
    end: SettleEnd,
) -> Step {
    // The output of some attempts is long, so that what is cut is there too.
    let output = "said ".repeat(usize::try_from(position % 3).unwrap() * 300);
    Step::Settle(Box::new(Settle {
        key: key(subscription, position),
        fence,
        attempt: Attempt {
            output,
            ..attempt(number, outcome)
        },
        spared: false,
        seen: Seen {
            function: Some(name("f")),
            ..Seen::default()
        },
        end,
        now: NOW.plus_ms(200 + u64::from(number)),
    }))
}

/// A success with state, and for some an event that it emitted.
fn done(subscription: SubscriptionId, position: u64) -> Vec<Step> {
    let from = key(subscription, position);
    let emits = if position.is_multiple_of(4) {
        vec![(BUS, emitted(&format!("from {from}"), from, 2, &[S2]))]
    } else {
        Vec::new()
    };
    let value = (!position.is_multiple_of(5)).then(|| vec![9; 30].into());
    let effects = Effects {
        version: 0,
        writes: vec![(vec![u8::try_from(position % 7).unwrap()], value)],
        emits,
    };
    vec![ended(
        (subscription, position),
        (0, 1),
        Outcome::Success,
        SettleEnd::Done(effects),
    )]
}

/// Attempts that failed; the delivery waits.
fn failed(subscription: SubscriptionId, position: u64, times: u64) -> Vec<Step> {
    let one = |number: u32| {
        let outcome = match number % 3 {
            0 => Outcome::Retry {
                after_ms: Some(7),
                message: "later".to_owned(),
            },
            1 => Outcome::Trap {
                message: "unreachable".to_owned(),
            },
            _ => Outcome::Timeout {
                kind: TimeoutKind::Wall,
                limit_ms: 9,
            },
        };
        let due_at = NOW.plus_ms(1_000 * u64::from(number) + position);
        ended(
            (subscription, position),
            (number - 1, number),
            outcome,
            SettleEnd::Retry { due_at },
        )
    };
    (1..=u32::try_from(times).unwrap()).map(one).collect()
}

/// One failure, and then the end.
fn dead(subscription: SubscriptionId, position: u64) -> Vec<Step> {
    let mut steps = failed(subscription, position, 1);
    let reason = DeadReason::Rejected;
    let outcome = Outcome::Reject {
        message: "no".to_owned(),
    };
    steps.push(ended(
        (subscription, position),
        (1, 2),
        outcome,
        SettleEnd::Dead {
            reason,
            published: None,
        },
    ));
    steps
}

/// Attempts that began and never ended: one, one after a failure, or two.
fn claimed(subscription: SubscriptionId, position: u64) -> Vec<Step> {
    let claim = |fence| Step::Claim {
        key: key(subscription, position),
        fence,
        now: NOW,
    };
    match position % 3 {
        0 => vec![claim(0)],
        1 => vec![claim(0), claim(1)],
        _ => {
            let mut steps = failed(subscription, position, 1);
            steps.push(claim(1));
            steps
        }
    }
}

/// The pages of a file that are not all zero.
fn packed(file: &[u8]) -> Vec<u8> {
    let mut out = (file.len() as u64).to_le_bytes().to_vec();
    for (number, page) in file.chunks(PAGE).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            out.extend_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
            out.extend_from_slice(page);
        }
    }
    out
}

fn unpacked(pages: &[u8]) -> Vec<u8> {
    let (length, mut rest) = pages.split_first_chunk::<8>().unwrap();
    let mut file = vec![0; usize::try_from(u64::from_le_bytes(*length)).unwrap()];
    while let Some((number, behind)) = rest.split_first_chunk::<4>() {
        let start = u32::from_le_bytes(*number) as usize * PAGE;
        let length = PAGE.min(file.len() - start);
        file[start..start + length].copy_from_slice(&behind[..length]);
        rest = &behind[length..];
    }
    file
}

#[test]
fn freezes_a_store_on_request() {
    let Some(place) = std::env::var_os("EDGEBUS_FREEZE").map(PathBuf::from) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::create(folder.path(), small()).unwrap();
    for batch in history() {
        store.commit(&batch).unwrap();
    }
    drop(store);
    let file = fs::read(folder.path().join(FILE)).unwrap();
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join(format!("{FILE}.pages")), packed(&file)).unwrap();
    fs::copy(folder.path().join(ID_FILE), place.join(ID_FILE)).unwrap();
}

/// The frozen store in a folder of its own.
fn thawed() -> tempfile::TempDir {
    let frozen = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats/store-1");
    let folder = tempfile::tempdir().unwrap();
    let pages = fs::read(frozen.join(format!("{FILE}.pages"))).unwrap();
    fs::write(folder.path().join(FILE), unpacked(&pages)).unwrap();
    fs::copy(frozen.join(ID_FILE), folder.path().join(ID_FILE)).unwrap();
    folder
}

fn expected() -> Vec<String> {
    let model = MemoryStore::new();
    // In that release a settlement did not count for the times of what came after it.
    memory::injected::APPENDS_ALONE_TAKE_TIME.set(true);
    for batch in history() {
        model.commit(&batch).unwrap();
    }
    memory::injected::APPENDS_ALONE_TAKE_TIME.set(false);
    everything(&model)
}

fn format_of(store: &RedbStore) -> u32 {
    let rows = store.snapshot().unwrap();
    catalog::read_identity(&rows).unwrap().format
}

/// Holds what the model says, intact.
fn check(store: &RedbStore, context: &str) {
    assert_eq!(format_of(store), catalog::MADE_FORMAT, "{context}");
    assert_eq!(verified(store), Vec::<String>::new(), "{context}");
    let (there, expected) = (everything(store), expected());
    for (there, expected) in there.iter().zip(&expected) {
        assert_eq!(there, expected, "{context}");
    }
    assert_eq!(there.len(), expected.len(), "{context}");
    for function in ["f", "g"] {
        let (digest, bytes) = component(function);
        assert_eq!(store.component(digest).unwrap(), Some(bytes), "{context}");
    }
}

#[test]
fn a_store_of_format_1_opens_with_everything_in_it() {
    let folder = thawed();
    let store = RedbStore::open(folder.path(), small()).unwrap();
    check(&store, "migrated");
    assert!(!store.catalog().unwrap().clean);
    // It goes on as any store: a duplicate is one, a new event is the next, what waits can end.
    let again = append(&["e60", "new"], &[S1], NOW.plus_ms(900));
    let outcomes = store.commit(&[again]).unwrap();
    let StepOutcome::Appended(places) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert!(places[0].duplicate && !places[1].duplicate);
    assert_eq!(places[0].position, Position(60));
    drop(store);
    let store = RedbStore::open(folder.path(), small()).unwrap();
    assert_eq!(verified(&store), Vec::<String>::new());
}

/// A process that is killed during the migration, at any of its commits, again and again.
#[test]
fn a_migration_that_was_interrupted_goes_on() {
    let mut stops = 0;
    loop {
        let folder = thawed();
        injected::MIGRATION_STOPS_AFTER.set(stops);
        let opened = RedbStore::open(folder.path(), small());
        injected::MIGRATION_STOPS_AFTER.set(u64::MAX);
        let ended = opened.is_ok();
        drop(opened);
        // Each further start is killed after one more commit.
        injected::MIGRATION_STOPS_AFTER.set(1);
        let mut starts = 0;
        let store = loop {
            match RedbStore::open(folder.path(), small()) {
                Ok(store) => break store,
                Err(error) => assert_eq!(error.kind, Kind::Unknown, "{error}"),
            }
            starts += 1;
            assert!(starts < 100, "it gets nowhere");
        };
        injected::MIGRATION_STOPS_AFTER.set(u64::MAX);
        check(&store, &format!("killed after {stops}"));
        drop(store);
        if ended {
            break;
        }
        stops += 1;
    }
    assert!(stops > 0);
}

/// Another open finds nothing to do: not one transaction of a migration.
#[test]
fn a_store_is_migrated_once() {
    let folder = thawed();
    drop(RedbStore::open(folder.path(), small()).unwrap());
    injected::MIGRATION_STOPS_AFTER.set(0);
    let again = RedbStore::open(folder.path(), small());
    injected::MIGRATION_STOPS_AFTER.set(u64::MAX);
    check(&again.unwrap(), "opened again");
}

/// The record that says who the store is has the first record format, so that a release that knows nothing
/// of this one can read it and say so; that it refuses any store format above its own is a test since then.
#[test]
fn an_earlier_release_can_read_that_the_store_is_of_a_later_one() {
    let folder = thawed();
    injected::MIGRATION_STOPS_AFTER.set(1);
    let killed = RedbStore::open(folder.path(), small());
    injected::MIGRATION_STOPS_AFTER.set(u64::MAX);
    drop(killed);
    let file = folder.path().join(FILE);
    let database = ::redb::Builder::new().create(&file).unwrap();
    let transaction = ::redb::ReadableDatabase::begin_read(&database).unwrap();
    let meta = transaction
        .open_table(tables::definition(Table::Meta))
        .unwrap();
    let record = meta.get(catalog::IDENTITY).unwrap().unwrap();
    assert_eq!(record.value()[..5], [1, 3, 0, 0, 0]);
}
