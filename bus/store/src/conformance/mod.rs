//! What every store must do, as tests that each implementation runs.
//!
//! The suite sees a store only through its door, and a way to stop and start it.

mod catalog;
mod deliver;
mod erase;
mod jobs;
mod life;
mod log;
mod pages;
pub(super) mod random;
mod retention;
mod shadow;

pub(super) use life::two_leaders;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::memory::MemoryStore;
use super::redb::{RedbStore, Settings};
use super::*;
use edgebus_model::reading::Gap;
use edgebus_model::{
    Attempt, Attribute, Backoff, Data, Differing, EventRef, InputConfig, Outcome, RetryPolicy,
    SubscriptionName, Target, TargetConfig, TargetKind,
};

/// A store under test.
pub(super) struct Subject {
    pub(super) store: Arc<dyn Store>,
    restart: Box<dyn FnMut() -> Arc<dyn Store>>,
}

impl Subject {
    pub(super) fn memory() -> Self {
        let mut last = Arc::new(MemoryStore::new());
        Self {
            store: last.clone(),
            restart: Box::new(move || {
                last = Arc::new(last.reopen());
                last.clone()
            }),
        }
    }

    pub(super) fn redb() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::create(folder.path(), small()).unwrap();
        Self {
            store: Arc::new(store),
            restart: Box::new(move || Arc::new(RedbStore::open(folder.path(), small()).unwrap())),
        }
    }

    /// Both implementations.
    pub(super) fn all() -> [Self; 2] {
        [Self::memory(), Self::redb()]
    }

    /// Stops the store and starts it again.
    pub(super) fn reopen(&mut self) {
        // The old handle goes first: one process, one handle.
        self.store = Arc::new(MemoryStore::new());
        self.store = (self.restart)();
    }

    pub(super) fn one(&self, step: Step) -> StepOutcome {
        let mut outcomes = self.store.commit(&[step]).unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// A store with the rules `r1` and `r2` on the default bus, to the functions `f` and `g`, and
    /// bus `side` (number 2) with rule `r3` to `f`.
    pub(super) fn with_rules(self) -> Self {
        let rules = vec![
            rule("r1", "default", &["f"]),
            rule("r2", "default", &["g"]),
            rule("r3", "side", &["f"]),
        ];
        let outcome = self.one(Step::ApplyManifest(Box::new(manifest(
            &["side"],
            &["f", "g"],
            rules,
        ))));
        assert_eq!(outcome, StepOutcome::Applied { version: 1 });
        self
    }
}

pub(super) fn small() -> Settings {
    Settings {
        cache_bytes: 4 << 20,
        // As in a large file.
        recorded_from_bytes: 0,
        ..Settings::default()
    }
}

pub(super) const BUS: BusId = BusId(1);
pub(super) const SIDE: BusId = BusId(2);
pub(super) const S1: SubscriptionId = SubscriptionId(1);
pub(super) const S2: SubscriptionId = SubscriptionId(2);
pub(super) const S3: SubscriptionId = SubscriptionId(3);
/// Later than any window in the tests, so that subtraction is safe.
pub(super) const NOW: Timestamp = Timestamp(1_000_000_000);
pub(super) const WINDOW_MS: u64 = 24 * 3_600_000;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn rule(rule: &str, bus: &str, functions: &[&str]) -> RuleConfig {
    RuleConfig {
        enabled: true,
        description: None,
        name: name(rule),
        bus: name(bus),
        pattern: Some(r#"{"type":["t"]}"#.into()),
        filters: vec!["$.data[?@.a]".into()],
        targets: functions
            .iter()
            .map(|function| TargetConfig {
                input: Some(InputConfig::EventBridge {
                    paths: vec![("n".to_owned(), "$.data.n".to_owned())],
                    template: format!("<n> for {function}"),
                }),
                name: SubscriptionName::new(&format!("{rule}/{function}")).unwrap(),
                to: Target::Function(name(function)),
                retry: RetryPolicy {
                    attempts_max: 3,
                    backoff: Backoff {
                        initial_ms: 10,
                        factor: 1.5,
                        ms_max: 100,
                        jitter: true,
                    },
                    age_ms_max: 1_000,
                },
                dead_letter_ms: 77,
                dead_letter_bus: None,
            })
            .collect(),
    }
}

pub(super) fn component(function: &str) -> (Digest, Bytes) {
    let bytes = Bytes::from(format!("component of {function}"));
    (Digest::of(&bytes), bytes)
}

pub(super) fn manifest(
    buses: &[&str],
    functions: &[&str],
    rules: Vec<RuleConfig>,
) -> ApplyManifest {
    ApplyManifest {
        source: format!("version: 1 # {buses:?} {functions:?} {}", rules.len()),
        buses: buses
            .iter()
            .map(|bus| BusConfig::with_defaults(name(bus)))
            .collect(),
        functions: functions
            .iter()
            .map(|function| {
                let config = FunctionConfig {
                    config: BTreeMap::from([("K".into(), "V".into())]),
                    secrets: vec!["TOKEN".into()],
                    allow_http: vec!["https://example.com".into()],
                    ..FunctionConfig::default()
                };
                (name(function), component(function).0, config)
            })
            .collect(),
        components: functions
            .iter()
            .map(|function| component(function))
            .collect(),
        rules,
        expected: None,
        now: NOW,
    }
}

pub(super) fn event(id: &str) -> Event {
    Event {
        id: id.into(),
        source: "/s".into(),
        kind: "t".into(),
        subject: None,
        time: None,
        data_content_type: Some("application/json".into()),
        data_schema: None,
        extensions: Vec::new(),
        data: Data::Json(Bytes::from(format!("{{\"id\": \"{id}\"}}"))),
    }
}

pub(super) fn new_event(id: &str, subscriptions: &[SubscriptionId]) -> NewEvent {
    NewEvent {
        event: Arc::new(event(id)),
        lineage: Lineage::default(),
        subscriptions: subscriptions.to_vec(),
        rules_version: 1,
    }
}

pub(super) fn append(ids: &[&str], subscriptions: &[SubscriptionId], now: Timestamp) -> Step {
    Step::Append(Append {
        bus: BUS,
        events: ids.iter().map(|id| new_event(id, subscriptions)).collect(),
        now,
    })
}

pub(super) fn key(subscription: SubscriptionId, position: u64) -> DeliveryKey {
    DeliveryKey {
        subscription,
        replay: 0,
        position: Position(position),
    }
}

pub(super) fn attempt(number: u32, outcome: Outcome) -> Attempt {
    Attempt {
        number,
        started_at: NOW,
        duration_us: 12,
        outcome,
        output: "said".into(),
    }
}

pub(super) fn settle(key: DeliveryKey, fence: u32, number: u32, end: SettleEnd) -> Step {
    settle_seen(key, fence, number, seen(&[]), end)
}

/// State of `f` that an attempt saw: keys with their versions.
pub(super) fn seen(reads: &[(&str, u64)]) -> Seen {
    let reads = reads.iter();
    Seen {
        function: Some(name("f")),
        reads: reads
            .map(|(key, version)| (key.as_bytes().to_vec(), *version))
            .collect(),
        listings: Vec::new(),
    }
}

/// A state version above all others that tests have given.
pub(crate) fn next_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::SeqCst) + 1
}

pub(super) fn settle_seen(
    key: DeliveryKey,
    fence: u32,
    number: u32,
    seen: Seen,
    mut end: SettleEnd,
) -> Step {
    if let SettleEnd::Done(effects) = &mut end
        && effects.version == 0
    {
        effects.version = next_version();
    }
    let outcome = match &end {
        SettleEnd::Done(_) => Outcome::Success,
        _ => Outcome::Trap {
            message: "unreachable".into(),
        },
    };
    Step::Settle(Box::new(Settle {
        key,
        fence,
        attempt: attempt(number, outcome),
        spared: false,
        seen,
        end,
        now: NOW.plus_ms(5),
    }))
}

pub(super) fn done(key: DeliveryKey, fence: u32) -> Step {
    settle(key, fence, 1, SettleEnd::Done(Effects::default()))
}

pub(super) fn emitted(id: &str, from: DeliveryKey, hops: u8, to: &[SubscriptionId]) -> NewEvent {
    NewEvent {
        lineage: Lineage {
            root: Some(EventRef {
                bus: BUS,
                position: from.position,
            }),
            parent: Some(from),
            hops,
        },
        ..new_event(id, to)
    }
}

pub(super) fn places(list: &[(u64, bool)]) -> Vec<Appended> {
    list.iter()
        .map(|(position, duplicate)| Appended {
            position: Position(*position),
            duplicate: *duplicate,
        })
        .collect()
}

pub(super) fn appended(list: &[(u64, bool)]) -> StepOutcome {
    StepOutcome::Appended(places(list))
}

#[test]
fn a_new_store_has_the_default_bus() {
    for mut subject in Subject::all() {
        let catalog = subject.store.catalog().unwrap();
        assert_eq!(catalog.version, 0);
        assert_eq!(catalog.buses.len(), 1);
        assert_eq!(catalog.buses[0].0, BUS);
        assert_eq!(catalog.buses[0].1.name.as_str(), "default");
        assert!(catalog.subscriptions.is_empty() && catalog.manifest.is_empty());
        let (id, secret, epoch) = (catalog.store_id, catalog.secret, catalog.epoch);

        subject.reopen();
        let catalog = subject.store.catalog().unwrap();
        assert_eq!((catalog.store_id, catalog.secret), (id, secret));
        assert!(catalog.epoch > epoch);
        assert!(!catalog.clean, "nobody marked the stop");

        assert_eq!(subject.one(Step::MarkClean(true)), StepOutcome::Marked);
        assert!(
            !subject.store.catalog().unwrap().clean,
            "it is of the last process"
        );
        subject.reopen();
        assert!(subject.store.catalog().unwrap().clean);
        subject.reopen();
        assert!(
            !subject.store.catalog().unwrap().clean,
            "an open marks it unclean"
        );
    }
}

#[test]
fn every_step_is_tested() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let mut tests = String::new();
    for folder in ["conformance", "redb/tests"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            tests.push_str(&read(&entry.unwrap().path()));
        }
    }
    let door = read(&root.join("lib.rs"));
    let steps = door.split("pub enum Step {\n").nth(1).unwrap();
    let steps = steps.split("\n}\n").next().unwrap();
    let names = steps.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.split(['(', ' ', ',']).next()?;
        name.starts_with(char::is_uppercase).then_some(name)
    });
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(
            tests.contains(&format!("Step::{name}")),
            "no test of conformance/ or redb/tests/ makes a Step::{name}"
        );
    }
}
