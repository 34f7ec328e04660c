//! The rows of the catalog: how many a change writes, and those of formats before 3.

use std::collections::BTreeMap;

use super::*;
use crate::codec::{self, Table, Writer};

fn rule(name: &str) -> RuleConfig {
    let name = Name::new(name).unwrap();
    RuleConfig {
        enabled: true,
        description: None,
        bus: Name::new("default").unwrap(),
        pattern: Some(r#"{"type":["t"]}"#.to_owned()),
        filters: Vec::new(),
        targets: vec![TargetConfig::with_defaults(
            &name,
            Target::Function(Name::new("f").unwrap()),
        )],
        name,
    }
}

/// A manifest of these rules, which brings its component.
fn manifest(rules: Vec<RuleConfig>) -> Step {
    let component = bytes::Bytes::from_static(b"component");
    let digest = Digest::of(&component);
    let bus = BusConfig::with_defaults(Name::new("default").unwrap());
    Step::ApplyManifest(Box::new(ApplyManifest {
        source: "version: 1".into(),
        buses: vec![bus],
        functions: vec![(Name::new("f").unwrap(), digest, FunctionConfig::default())],
        components: vec![(digest, component)],
        rules,
        expected: None,
        now: Timestamp(0),
    }))
}

fn new_store(folder: &Path) -> RedbStore {
    RedbStore::create(folder, Settings::default()).unwrap()
}

/// All rows of the catalog, as they are stored.
fn rows(store: &RedbStore) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = BTreeMap::new();
    let (start, end) = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let snapshot = store.snapshot().unwrap();
    snapshot
        .scan(Table::Catalog, start, end, |key, record| {
            all.insert(key.to_vec(), record.to_vec());
            true
        })
        .unwrap();
    all
}

/// What a change of one rule among 10,000 writes does not depend on how many there are or where it stands.
#[test]
fn one_rule_of_many_is_a_few_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store(&folder.path().join("store"));
    let mut rules: Vec<_> = (0..10_000)
        .map(|number| rule(&format!("r{number}")))
        .collect();
    store.commit(&[manifest(rules.clone())]).unwrap();
    let check = |rules: &[RuleConfig], most: usize, what: &str| {
        let before = rows(&store);
        let (catalog, step) = store.plan(&manifest(rules.to_vec())).unwrap().unwrap();
        let Step::Change(change) = &step else {
            panic!("{step:?}");
        };
        let written = change.difference().rows();
        let outcomes = store.commit(std::slice::from_ref(&step)).unwrap();
        assert!(matches!(outcomes[0], StepOutcome::Applied { .. }));
        let after = rows_of_both(&before, &rows(&store));
        assert_eq!(
            (after, written <= most),
            (written, true),
            "{what}: {written}"
        );
        assert_eq!(store.catalog().unwrap(), catalog, "{what}");
        assert_eq!(catalog.rules, rules, "{what}");
    };
    // The rule, its subscription, the order, and the version.
    rules.insert(0, rule("first"));
    check(&rules, 4, "a rule at the top");
    rules[5_000].pattern = None;
    check(&rules, 2, "another pattern");
    let moved = rules.remove(9_000);
    rules.insert(3, moved);
    check(&rules, 2, "a rule moved");
    rules.remove(1);
    check(&rules, 4, "a rule removed");
    check(&rules, 0, "the same again");
}

/// How many rows are there on one side only or differ.
fn rows_of_both(before: &BTreeMap<Vec<u8>, Vec<u8>>, after: &BTreeMap<Vec<u8>, Vec<u8>>) -> usize {
    let changed = after
        .iter()
        .filter(|(key, row)| before.get(*key) != Some(row));
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    changed.count() + gone.count()
}

/// Writes what format 2 had: rules under their places, without an order; targets that are functions and whose
/// subscriptions have no name; no last numbers.
fn as_format_2(store: &RedbStore) {
    let write_target = |out: &mut Vec<u8>, target: &TargetConfig| {
        out.bytes(target.to.name().as_str().as_bytes());
        out.u32(target.retry.attempts_max);
        out.u64(target.retry.backoff.initial_ms);
        out.u64(target.retry.backoff.factor.to_bits());
        out.u64(target.retry.backoff.ms_max);
        out.flag(target.retry.backoff.jitter);
        out.u64(target.retry.age_ms_max);
        out.u64(target.dead_letter_ms);
        out.flag(false);
    };
    let catalog = store.catalog().unwrap();
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let numbered = |kind: u8, number: u32| [&[kind], &number.to_be_bytes()[..]].concat();
    let mut head = Vec::new();
    head.u64(catalog.version);
    head.bytes(catalog.manifest.as_bytes());
    rows.push((b"m".to_vec(), head));
    for (place, rule) in (0..).zip(&catalog.rules) {
        let mut out = Vec::new();
        out.bytes(rule.name.as_str().as_bytes());
        out.bytes(rule.bus.as_str().as_bytes());
        out.option(rule.pattern.as_ref(), |out, text| {
            out.bytes(text.as_bytes())
        });
        out.list(rule.filters.iter(), |out, text| out.bytes(text.as_bytes()));
        out.list(rule.targets.iter(), write_target);
        rows.push((numbered(b'r', place), out));
    }
    for own in &catalog.subscriptions {
        let mut out = Vec::new();
        out.bytes(own.rule.as_str().as_bytes());
        out.u32(own.bus.0);
        write_target(&mut out, &own.target);
        out.flag(own.active);
        rows.push((numbered(b's', own.id.0), out));
    }
    let transaction = store.database().begin_write().unwrap();
    {
        let mut table = transaction
            .open_table(super::super::tables::definition(Table::Catalog))
            .unwrap();
        table
            .retain(|key, _| !matches!(key[0], b'm' | b'r' | b's' | b'o'))
            .unwrap();
        for (key, content) in rows {
            let mut record = Vec::new();
            codec::seal_as(2, &mut record, Table::Catalog, &key, |out| {
                out.extend_from_slice(&content);
            });
            table.insert(key.as_slice(), record.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// A catalog of format 2 is read as it was meant, and the next change converts its rows.
#[test]
fn a_catalog_of_format_2_is_read_and_converted() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("store");
    let rules: Vec<_> = ["b", "a", "c"].map(rule).to_vec();
    let store = new_store(&home);
    store.commit(&[manifest(rules.clone())]).unwrap();
    // One that left, with the highest number.
    let with_last = [rules.clone(), vec![rule("gone")]].concat();
    store.commit(&[manifest(with_last)]).unwrap();
    store.commit(&[manifest(rules.clone())]).unwrap();
    let before = store.catalog().unwrap();
    as_format_2(&store);
    drop(store);
    let store = RedbStore::open(&home, Settings::default()).unwrap();
    let same = Catalog {
        epoch: before.epoch,
        clean: before.clean,
        ..store.catalog().unwrap()
    };
    assert_eq!(same, before);
    // The same manifest is no change, and yet it brings the order.
    let outcomes = store.commit(&[manifest(rules.clone())]).unwrap();
    let version = before.version;
    assert_eq!(outcomes, [StepOutcome::Applied { version }]);
    assert!(rows(&store).contains_key(&b"o"[..]));
    // What it leaves to the next process is enough to go on from.
    drop(store);
    let store = RedbStore::open(&home, Settings::default()).unwrap();
    let mut next = rules.clone();
    next.insert(0, rule("new"));
    store.commit(&[manifest(next.clone())]).unwrap();
    store.commit(&[Step::MarkClean(true)]).unwrap();
    drop(store);
    let store = RedbStore::open(&home, Settings::default()).unwrap();
    let catalog = store.catalog().unwrap();
    assert_eq!(catalog.rules, next);
    let numbers: Vec<_> = catalog
        .subscriptions
        .iter()
        .map(|own| (own.id.0, own.name().as_str(), own.active))
        .collect();
    let expected = [
        (1, "b/f", true),
        (2, "a/f", true),
        (3, "c/f", true),
        (4, "gone/f", false),
        (5, "new/f", true),
    ];
    assert_eq!(numbers, expected);
}

/// An order that is gone, or that names other rules, is corruption: a bus with half its rules would lose events.
#[test]
fn an_order_that_does_not_fit_is_corruption() {
    for corruption in ["gone", "another"] {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("store");
        let store = new_store(&home);
        store
            .commit(&[manifest(vec![rule("a"), rule("b")])])
            .unwrap();
        let transaction = store.database().begin_write().unwrap();
        {
            let mut table = transaction
                .open_table(super::super::tables::definition(Table::Catalog))
                .unwrap();
            let mut record = Vec::new();
            codec::seal_as(3, &mut record, Table::Catalog, b"o", |out| {
                out.list([1, 3].iter(), |out, number| out.u32(*number));
            });
            match corruption {
                "gone" => drop(table.remove(&b"o"[..]).unwrap()),
                _ => drop(table.insert(&b"o"[..], record.as_slice()).unwrap()),
            }
        }
        transaction.commit().unwrap();
        drop(store);
        let error = RedbStore::open(&home, Settings::default()).unwrap_err();
        assert_eq!(error.kind, Kind::Corrupt, "{corruption}: {error}");
    }
}

/// A subscription that is retired leaves no row in the catalog and none in the counters.
#[test]
fn a_retired_subscription_leaves_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store(&folder.path().join("store"));
    store.commit(&[manifest(vec![rule("a")])]).unwrap();
    store
        .commit(&[append(vec![event("1", Vec::new())], 1)])
        .unwrap();
    store
        .commit(&[settle(1, 0, SettleEnd::Done(Effects::default()))])
        .unwrap();
    store.commit(&[manifest(Vec::new())]).unwrap();
    let counters = || store.snapshot().unwrap().count(Table::Counters).unwrap();
    let before = counters();
    let outcomes = store
        .commit(&[Step::Retire(vec![SubscriptionId(1)])])
        .unwrap();
    assert!(matches!(outcomes[0], StepOutcome::Applied { .. }));
    assert_eq!(counters(), before - 1);
    assert!(!rows(&store).keys().any(|key| key[0] == b's'));
    assert_eq!(verified(&store), Vec::<String>::new());
}
