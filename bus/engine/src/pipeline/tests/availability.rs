//! Starts and changes beside functions that compile slowly, or not at all.

use std::collections::BTreeSet;

use super::*;
use edgebus_model::Digest;
use edgebus_runtime::{self as runtime, Call, Function};
use edgebus_store::NewEvent;

/// Scripts, and on demand a component that compiles slowly or not at all.
#[derive(Default)]
struct Picky {
    /// Components that don't compile, with the kind of their error.
    bad: Mutex<BTreeMap<Digest, runtime::error::Kind>>,
    /// Components that wait until they are taken out of here.
    slow: Mutex<BTreeSet<Digest>>,
    /// Told when `slow` has changed.
    changed: tokio::sync::Notify,
    /// Every component that was to be compiled.
    asked: Mutex<Vec<Digest>>,
}

fn digest(script: &str) -> Digest {
    Digest::of(script.as_bytes())
}

impl Picky {
    fn asked(&self, script: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|own| **own == digest(script)).count()
    }

    fn slow_down(&self, script: &str) {
        self.slow.lock().unwrap().insert(digest(script));
    }

    fn drop_in_background(&self, script: &str) {
        self.slow.lock().unwrap().remove(&digest(script));
        self.changed.notify_waiters();
    }

    fn spoil(&self, script: &str, kind: runtime::error::Kind) {
        self.bad.lock().unwrap().insert(digest(script), kind);
    }

    fn repair(&self, script: &str) {
        self.bad.lock().unwrap().remove(&digest(script));
    }
}

impl Runtime for Picky {
    fn prepare(
        &self,
        digest: Digest,
        component: Bytes,
    ) -> Call<'_, Result<Arc<dyn Function>, runtime::Error>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(digest);
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if !self.slow.lock().unwrap().contains(&digest) {
                    break;
                }
                changed.await;
            }
            let bad = self.bad.lock().unwrap().get(&digest).copied();
            match bad {
                Some(kind) => Err(runtime::Error::new(kind, "injected")),
                None => FakeRuntime.prepare(digest, component).await,
            }
        })
    }
}

/// Waits until it is so.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    waited.expect(what);
}

/// A store with these rules, each with a function of its own and an event that is pending.
async fn pending_store(rules: &[(&str, &str)]) -> MemoryStore {
    let store = Arc::new(MemoryStore::new());
    let runtime = Arc::new(Picky::default());
    let pipeline = start_on(store.clone(), runtime, true).await;
    apply(&pipeline, rules, 3).await;
    // Held, it attempts nothing.
    for (kind, _) in rules {
        let new = NewEvent {
            event: Arc::new(event(kind, kind, "{}")),
            lineage: edgebus_model::Lineage::default(),
            subscriptions: subscriptions_of(&pipeline, kind),
            rules_version: 1,
        };
        let append = edgebus_store::Append {
            bus: BusId(1),
            events: vec![new],
            now: Timestamp(1),
        };
        pipeline.writer.apply(Step::Append(append)).await.unwrap();
    }
    pipeline.stop().await;
    store.reopen()
}

fn subscriptions_of(pipeline: &Pipeline, kind: &str) -> Vec<SubscriptionId> {
    let snapshot = pipeline.snapshot();
    let all = snapshot.subscriptions.values();
    all.filter(|own| own.rule.as_str() == kind)
        .map(|own| own.id)
        .collect()
}

/// How many deliveries of the rule of this event type are still pending.
fn pending(pipeline: &Pipeline, kind: &str) -> usize {
    let ids = subscriptions_of(pipeline, kind);
    let pages = ids
        .iter()
        .map(|id| pipeline.store().deliveries(*id, None, 10));
    pages.map(|page| page.unwrap().len()).sum()
}

fn availability(pipeline: &Pipeline, function: &str) -> Availability {
    pipeline.snapshot().functions[function].availability()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_compiles_each_component_once_and_those_with_work_first() {
    let rules: Vec<(String, &str)> = (0..50).map(|index| (format!("t{index}"), "ok")).collect();
    let rules: Vec<(&str, &str)> = rules
        .iter()
        .map(|(kind, own)| (kind.as_str(), *own))
        .collect();
    let store = pending_store(&rules).await;
    let runtime = Arc::new(Picky::default());
    let pipeline = start_on(Arc::new(store), runtime.clone(), false).await;
    settled(&pipeline).await;
    assert_eq!(runtime.asked("ok"), 1);
    assert_eq!(functions::count(&pipeline.snapshot()), [50, 0, 0]);
    // One function has work: whatever its name, it comes first.
    let idle: Vec<(String, String)> = (0..20)
        .map(|index| (format!("a{index}"), format!("log {index}")))
        .collect();
    let mut rules: Vec<(&str, &str)> = idle
        .iter()
        .map(|(kind, own)| (kind.as_str(), own.as_str()))
        .collect();
    rules.push(("z", "log z"));
    let store = Arc::new(MemoryStore::new());
    let first = start_on(store.clone(), Arc::new(Picky::default()), true).await;
    apply(&first, &rules, 3).await;
    let new = NewEvent {
        event: Arc::new(event("e", "z", "{}")),
        lineage: edgebus_model::Lineage::default(),
        subscriptions: subscriptions_of(&first, "z"),
        rules_version: 1,
    };
    let append = edgebus_store::Append {
        bus: BusId(1),
        events: vec![new],
        now: Timestamp(1),
    };
    first.writer.apply(Step::Append(append)).await.unwrap();
    first.stop().await;
    let runtime = Arc::new(Picky::default());
    // The first ones that are asked for stay on their places, however slow a thread is to begin.
    for (_, own) in &idle {
        runtime.slow_down(own);
    }
    let pipeline = start_on(Arc::new(store.reopen()), runtime.clone(), false).await;
    until("the one with work", || runtime.asked("log z") == 1).await;
    let asked = runtime.asked.lock().unwrap().clone();
    let place = asked.iter().position(|own| *own == digest("log z"));
    for (_, own) in &idle {
        runtime.drop_in_background(own);
    }
    settled(&pipeline).await;
    assert!(place.is_some_and(|place| place < 4), "{place:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_is_ready_while_functions_compile() {
    let store = pending_store(&[("slow", "log slow"), ("quick", "ok")]).await;
    let runtime = Arc::new(Picky::default());
    runtime.slow_down("log slow");
    let pipeline = start_on(Arc::new(store), runtime.clone(), false).await;
    assert!(pipeline.ready().is_ok());
    until("the quick one's delivery", || {
        pending(&pipeline, "quick") == 0
    })
    .await;
    assert_eq!(pending(&pipeline, "slow"), 1);
    assert_eq!(availability(&pipeline, "slow"), Availability::Compiling);
    let trial = pipeline
        .try_function("slow", "default", event("e", "x", "{}"))
        .await;
    assert_eq!(trial.unwrap_err().kind, Kind::Unavailable);
    // What comes meanwhile waits too.
    let events = vec![event("more", "slow", "{}")];
    pipeline.publish("default", events).await.unwrap();
    runtime.drop_in_background("log slow");
    settled(&pipeline).await;
    assert_eq!(availability(&pipeline, "slow"), Availability::Ready);
    let told = stories(&**pipeline.store(), &pipeline);
    assert!(
        told.values().all(|own| *own == ("succeeded", 1, "success")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_does_not_compile_is_unavailable_and_not_the_bus() {
    let store = pending_store(&[("bad", "log bad"), ("good", "ok")]).await;
    let runtime = Arc::new(Picky::default());
    runtime.spoil("log bad", runtime::error::Kind::Invalid);
    let pipeline = start_on(Arc::new(store), runtime.clone(), false).await;
    until("the good one's delivery", || {
        pending(&pipeline, "good") == 0
    })
    .await;
    let unavailable = |pipeline: &Pipeline| matches!(availability(pipeline, "bad"), Availability::Unavailable { reason } if reason == "injected");
    until("the bad one's state", || unavailable(&pipeline)).await;
    assert_eq!(functions::count(&pipeline.snapshot()), [1, 0, 1]);
    // A change of something else is not held up by it, and it stays as it is.
    let rules = [("bad", "log bad"), ("good", "ok"), ("new", "ok")];
    apply(&pipeline, &rules, 3).await;
    pipeline
        .publish("default", vec![event("n", "new", "{}")])
        .await
        .unwrap();
    until("the new one's delivery", || pending(&pipeline, "new") == 0).await;
    until("the bad one's state", || unavailable(&pipeline)).await;
    assert_eq!(pending(&pipeline, "bad"), 1);
    // The same component again is compiled again, and its delivery has lost no attempt.
    let name = Name::new("bad").unwrap();
    let component = Bytes::from_static(b"log bad");
    let refused = pipeline.deploy(name.clone(), component.clone()).await;
    assert_eq!(refused.unwrap_err().kind, Kind::Invalid);
    runtime.repair("log bad");
    pipeline.deploy(name, component).await.unwrap();
    settled(&pipeline).await;
    let told = stories(&**pipeline.store(), &pipeline);
    assert!(
        told.values().all(|own| *own == ("succeeded", 1, "success")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_could_not_be_compiled_once_is_tried_again() {
    let store = pending_store(&[("bad", "log bad")]).await;
    let runtime = Arc::new(Picky::default());
    runtime.spoil("log bad", runtime::error::Kind::Host);
    let pipeline = start_on(Arc::new(store), runtime.clone(), false).await;
    until("the first try", || {
        matches!(
            availability(&pipeline, "bad"),
            Availability::Unavailable { .. }
        )
    })
    .await;
    runtime.repair("log bad");
    // The manifest again is as good as the end of its rest.
    apply(&pipeline, &[("bad", "log bad")], 3).await;
    settled(&pipeline).await;
    assert_eq!(availability(&pipeline, "bad"), Availability::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_start_attempts_nothing_before_its_manifest() {
    let store = pending_store(&[("t", "reject old")]).await;
    let pipeline = start_on(Arc::new(store), Arc::new(Picky::default()), true).await;
    assert!(pipeline.ready().is_err());
    apply(&pipeline, &[("t", "ok")], 3).await;
    assert_eq!(pending(&pipeline, "t"), 1);
    pipeline.begin();
    assert!(pipeline.ready().is_ok());
    settled(&pipeline).await;
    let told = stories(&**pipeline.store(), &pipeline);
    assert_eq!(told[&1], ("succeeded", 1, "success"));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_go_on_beside_deployments_which_are_bounded() {
    let runtime = Arc::new(Picky::default());
    let pipeline = start_on(Arc::new(MemoryStore::new()), runtime.clone(), false).await;
    let deploy = |name: &'static str, script: &'static str| {
        let pipeline = pipeline.clone();
        tokio::spawn(async move {
            let name = Name::new(name).unwrap();
            pipeline
                .deploy(name, Bytes::from_static(script.as_bytes()))
                .await
        })
    };
    let slow = ["log one", "log two"];
    slow.iter().for_each(|script| runtime.slow_down(script));
    let waiting = [deploy("one", slow[0]), deploy("two", slow[1])];
    until("both to compile", || {
        slow.iter().all(|own| runtime.asked(own) == 1)
    })
    .await;
    let third = deploy("three", "log three").await.unwrap();
    assert!(matches!(third.unwrap_err().kind, Kind::Busy { .. }));
    // A manifest whose components are known takes no place and waits for nobody.
    let rules = active_rules(&pipeline);
    let buses = vec![BusConfig::with_defaults(Name::new("default").unwrap())];
    let version = pipeline
        .apply_manifest("new".to_owned(), buses, Vec::new(), rules, None)
        .await;
    assert_eq!(version.unwrap(), 1);
    slow.iter()
        .for_each(|script| runtime.drop_in_background(script));
    for deployed in waiting {
        deployed.await.unwrap().unwrap();
    }
    deploy("three", "log three").await.unwrap().unwrap();
    assert_eq!(pipeline.snapshot().version, 4);
}

/// A rule that only another release can have written: the store doesn't look into patterns.
fn strange(name: &str, pattern: &str, input: Option<InputConfig>) -> RuleConfig {
    RuleConfig {
        enabled: true,
        description: None,
        name: Name::new(name).unwrap(),
        bus: Name::new("default").unwrap(),
        pattern: Some(pattern.to_owned()),
        filters: Vec::new(),
        targets: vec![TargetConfig {
            input,
            ..TargetConfig::with_defaults(
                &Name::new(name).unwrap(),
                Target::Function(Name::new("f").unwrap()),
            )
        }],
    }
}

async fn apply_rules(pipeline: &Pipeline, rules: Vec<RuleConfig>) -> Result<u64, Error> {
    let buses = vec![BusConfig::with_defaults(Name::new("default").unwrap())];
    let function = (
        Name::new("f").unwrap(),
        FunctionSource::Component(Bytes::from_static(b"ok")),
        FunctionConfig::default(),
    );
    pipeline
        .apply_manifest("rules".to_owned(), buses, vec![function], rules, None)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_can_not_be_read_is_inactive_and_not_the_bus() {
    let store = MemoryStore::new();
    let good = || strange("good", r#"{"type":["t"]}"#, None);
    let bad = || strange("bad", r#"{"type":[{"of-tomorrow":1}]}"#, None);
    let broken = InputConfig::Path("$.data[".to_owned());
    let input = || strange("input", r#"{"type":["i"]}"#, Some(broken.clone()));
    let component = Bytes::from_static(b"ok");
    let step = Step::ApplyManifest(Box::new(edgebus_store::ApplyManifest {
        source: "of another release".to_owned(),
        buses: vec![BusConfig::with_defaults(Name::new("default").unwrap())],
        functions: vec![(
            Name::new("f").unwrap(),
            Digest::of(&component),
            FunctionConfig::default(),
        )],
        components: vec![(Digest::of(&component), component)],
        rules: vec![bad(), good(), input()],
        expected: None,
        now: Timestamp(1),
    }));
    store.commit(&[step]).unwrap();
    let pipeline = start(Arc::new(store)).await;
    let inactive = |pipeline: &Pipeline| -> Vec<String> {
        let snapshot = pipeline.snapshot();
        let names = snapshot.inactive.iter().map(|own| own.rule.to_string());
        names.collect()
    };
    assert_eq!(inactive(&pipeline), ["bad", "input"]);
    let events = vec![event("1", "t", "{}"), event("2", "i", "{}")];
    pipeline.publish("default", events).await.unwrap();
    until("the good rule's delivery", || {
        pending(&pipeline, "good") == 0
    })
    .await;
    assert_eq!(pending(&pipeline, "input"), 1);
    // A change of another rule takes place; one that brings a rule like that does not.
    let more = strange("more", r#"{"type":["m"]}"#, None);
    let all = || vec![bad(), good(), input(), more.clone()];
    assert_eq!(apply_rules(&pipeline, all()).await.unwrap(), 2);
    assert_eq!(inactive(&pipeline), ["bad", "input"]);
    let mut worse = all();
    worse.push(strange("worse", r#"{"type":[{"of-tomorrow":2}]}"#, None));
    let refused = apply_rules(&pipeline, worse).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Invalid);
    assert!(
        pipeline.live(),
        "a change that fails leaves everything as it was"
    );
    assert_eq!(pipeline.store().catalog().unwrap().version, 2);
    // Written anew, they are active, and what waited goes on.
    let repaired = vec![
        strange("bad", r#"{"type":["t"]}"#, None),
        good(),
        strange("input", r#"{"type":["i"]}"#, None),
    ];
    assert_eq!(apply_rules(&pipeline, repaired).await.unwrap(), 3);
    assert_eq!(inactive(&pipeline), Vec::<String>::new());
    pipeline
        .publish("default", vec![event("3", "t", "{}")])
        .await
        .unwrap();
    settled(&pipeline).await;
    let told = stories(&**pipeline.store(), &pipeline);
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    let of_bad = subscriptions_of(&pipeline, "bad")[0];
    assert_eq!(pipeline.store().settled(of_bad, None, 10).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_read_anew_on_demand() {
    let value = Arc::new(Mutex::new("old"));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let given = value.clone();
    let pipeline = Pipeline::start(Parts {
        catalog: store.catalog().unwrap(),
        store,
        runtime: Arc::new(FakeRuntime),
        clock: Clock::system(Timestamp(0)),
        telemetry: Telemetry::new(),
        limits: Limits::of(64 << 30, usize::MAX),
        space: Box::new(|| u64::MAX),
        secrets: Arc::new(move |_| Some((*given.lock().unwrap()).to_owned())),
        hold: false,
    })
    .await
    .unwrap();
    let config = FunctionConfig {
        secrets: vec!["KEY".to_owned()],
        ..FunctionConfig::default()
    };
    let name = |name: &str| Name::new(name).unwrap();
    let script = Bytes::from_static(b"secret KEY");
    let functions = vec![
        (name("f"), FunctionSource::Component(script.clone()), config),
        (
            name("g"),
            FunctionSource::Component(script),
            FunctionConfig::default(),
        ),
    ];
    let buses = vec![BusConfig::with_defaults(name("default"))];
    pipeline
        .apply_manifest("s".to_owned(), buses, functions, Vec::new(), None)
        .await
        .unwrap();
    let shown = async |expected: &str| {
        let trial = pipeline
            .try_function("f", "default", event("e", "t", "{}"))
            .await;
        let output = trial.unwrap().output;
        assert!(output.contains(expected), "{output}");
    };
    shown("old").await;
    assert_eq!(pipeline.reload_secrets().await, Vec::<Name>::new());
    *value.lock().unwrap() = "new";
    shown("old").await;
    assert_eq!(pipeline.reload_secrets().await, [name("f")]);
    shown("new").await;
}
