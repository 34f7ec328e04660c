//! What a commit costs: 1 KiB events with one delivery each, appended and settled in batches.
//!
//! The file is on the machine's own disk, flushes included. `TMPDIR` chooses the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edgebus_model::*;
use edgebus_store::redb::{RedbStore, Settings};
use edgebus_store::{
    Append, ApplyManifest, Effects, NewEvent, Settle, SettleEnd, Step, StepOutcome, Store,
};

fn main() {
    divan::main();
}

const BATCHES: [usize; 4] = [1, 32, 320, 1_000];

struct Bench {
    store: RedbStore,
    next: AtomicU64,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings {
            cache_bytes: 256 << 20,
            ..Settings::default()
        };
        let store = RedbStore::create(folder.path(), settings).expect("a store");
        let function = Name::new("f").expect("a name");
        let component = bytes::Bytes::from_static(b"component");
        let digest = Digest::of(&component);
        let rule = RuleConfig {
            enabled: true,
            description: None,
            name: Name::new("r").expect("a name"),
            bus: Name::new("default").expect("a name"),
            pattern: None,
            filters: Vec::new(),
            targets: vec![TargetConfig::with_defaults(
                &Name::new("r").expect("a name"),
                Target::Function(function.clone()),
            )],
        };
        let step = Step::ApplyManifest(Box::new(ApplyManifest {
            source: String::new(),
            buses: Vec::new(),
            functions: vec![(function, digest, FunctionConfig::default())],
            components: vec![(digest, component)],
            rules: vec![rule],
            expected: None,
            now: Timestamp(0),
        }));
        store.commit(&[step]).expect("a manifest");
        Self {
            store,
            next: AtomicU64::new(0),
            _folder: folder,
        }
    }

    /// As the writer gets them: each publish a step of its own.
    fn appends(&self, count: usize) -> Vec<Step> {
        let step = |_| {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let event = Event {
                id: format!("event-{id:020}"),
                source: "/bench/publisher".to_owned(),
                kind: "com.example.bench".to_owned(),
                subject: None,
                time: None,
                data_content_type: Some("application/json".to_owned()),
                data_schema: None,
                extensions: Vec::new(),
                data: Data::Json(vec![b'x'; 1_024].into()),
            };
            Step::Append(Append {
                bus: BusId(1),
                events: vec![NewEvent {
                    event: Arc::new(event),
                    lineage: Lineage::default(),
                    subscriptions: vec![SubscriptionId(1)],
                    rules_version: 1,
                }],
                now: Timestamp(1_000),
            })
        };
        (0..count).map(step).collect()
    }

    fn settlements(&self, steps: &[Step]) -> Vec<Step> {
        let outcomes = self.store.commit(steps).expect("a commit");
        let settle = |outcome: StepOutcome| {
            let StepOutcome::Appended(places) = outcome else {
                unreachable!("only appends were committed")
            };
            let key = DeliveryKey {
                subscription: SubscriptionId(1),
                replay: 0,
                position: places[0].position,
            };
            Step::Settle(Box::new(Settle {
                key,
                fence: 0,
                attempt: Attempt {
                    number: 1,
                    started_at: Timestamp(1_001),
                    duration_us: 30,
                    outcome: Outcome::Success,
                    output: String::new(),
                },
                spared: false,
                seen: edgebus_store::Seen::default(),
                end: SettleEnd::Done(Effects::default()),
                now: Timestamp(1_002),
            }))
        };
        outcomes.into_iter().map(settle).collect()
    }
}

#[divan::bench(args = BATCHES, sample_size = 1, max_time = 3)]
fn append(bencher: divan::Bencher<'_, '_>, count: usize) {
    let bench = Bench::new();
    bencher
        .counter(divan::counter::ItemsCount::new(count))
        .with_inputs(|| bench.appends(count))
        .bench_local_values(|steps| bench.store.commit(&steps).expect("a commit"));
}

#[divan::bench(args = BATCHES, sample_size = 1, max_time = 3)]
fn settle(bencher: divan::Bencher<'_, '_>, count: usize) {
    let bench = Bench::new();
    bencher
        .counter(divan::counter::ItemsCount::new(count))
        .with_inputs(|| bench.settlements(&bench.appends(count)))
        .bench_local_values(|steps| bench.store.commit(&steps).expect("a commit"));
}

#[divan::bench(args = BATCHES, sample_size = 1, max_time = 3)]
fn append_and_settle_the_last(bencher: divan::Bencher<'_, '_>, count: usize) {
    let bench = Bench::new();
    let mut settlements = bench.settlements(&bench.appends(count));
    bencher
        .counter(divan::counter::ItemsCount::new(count))
        .with_inputs(|| bench.appends(count))
        .bench_local_values(|mut steps| {
            steps.append(&mut settlements);
            let mut outcomes = bench.store.commit(&steps).expect("a commit");
            outcomes.truncate(count);
            outcomes.len()
        });
}

/// What the writer does for one rule that comes to the top of so many: the commit of a planned change.
#[divan::bench(args = [100, 10_000, 100_000], sample_count = 10, sample_size = 1)]
fn one_more_rule(bencher: divan::Bencher, count: usize) {
    let bench = Bench::new();
    let name = |text: &str| Name::new(text).expect("a name");
    let rule = |number: usize| RuleConfig {
        enabled: true,
        description: None,
        name: name(&format!("rule-{number}")),
        bus: name("default"),
        pattern: None,
        filters: Vec::new(),
        targets: vec![TargetConfig::with_defaults(
            &name(&format!("rule-{number}")),
            Target::Function(name("f")),
        )],
    };
    let digest = Digest::of(b"component");
    let apply = |rules: Vec<RuleConfig>| {
        Step::ApplyManifest(Box::new(ApplyManifest {
            source: String::new(),
            buses: Vec::new(),
            functions: vec![(name("f"), digest, FunctionConfig::default())],
            components: Vec::new(),
            rules,
            expected: None,
            now: Timestamp(0),
        }))
    };
    let mut rules: Vec<RuleConfig> = (0..count).map(rule).collect();
    bench
        .store
        .commit(&[apply(rules.clone())])
        .expect("a manifest");
    bencher
        .with_inputs(|| {
            rules.insert(0, rule(rules.len()));
            let plan = bench.store.plan(&apply(rules.clone())).expect("a plan");
            plan.expect("it is not denied").1
        })
        .bench_local_refs(|step| bench.store.commit(std::slice::from_ref(step)));
}
