//! What it costs to apply a change of the rules: a snapshot made afresh, and one made from the one
//! before where one rule of so many differs.

use std::collections::BTreeMap;

use divan::Bencher;
use edgebus_engine::pipeline::Snapshot;
use edgebus_model::*;
use edgebus_store::Catalog;

fn main() {
    divan::main();
}

const RULES: [usize; 3] = [1_000, 10_000, 100_000];

fn catalog(count: usize) -> Catalog {
    let name = |text: &str| Name::new(text).expect("a name");
    let bus = BusConfig::with_defaults(name("default"));
    let mut catalog = Catalog {
        buses: vec![(BusId(1), bus, Position(0))],
        ..Catalog::default()
    };
    for number in 0..count {
        let rule = RuleConfig {
            enabled: true,
            description: None,
            name: name(&format!("rule-{number}")),
            bus: name("default"),
            pattern: Some(pattern(number)),
            filters: Vec::new(),
            targets: vec![TargetConfig::with_defaults(
                &name(&format!("rule-{number}")),
                Target::Function(name("f")),
            )],
        };
        catalog.subscriptions.push(Subscription {
            id: SubscriptionId(number as u32 + 1),
            rule: rule.name.clone(),
            bus: BusId(1),
            target: rule.targets[0].clone(),
            active: true,
        });
        catalog.rules.push(rule);
    }
    catalog
}

fn pattern(number: usize) -> String {
    format!(r#"{{"type":["t{number}"],"data":{{"n":[{{"numeric":[">",{number}]}}]}}}}"#)
}

fn compile(catalog: &Catalog, last: Option<&Snapshot>) -> Snapshot {
    Snapshot::compile(catalog, BTreeMap::new(), last).expect("the rules compile")
}

/// The active rules, and those of a manifest that changes the one in the middle.
fn changed(count: usize) -> (Snapshot, Catalog) {
    let before = catalog(count);
    let mut after = before.clone();
    after.rules[count / 2].pattern = Some(pattern(count + 1));
    (compile(&before, None), after)
}

#[divan::bench(args = RULES, sample_count = 5)]
fn afresh(bencher: Bencher, count: usize) {
    let catalog = catalog(count);
    bencher.bench_local(|| compile(&catalog, None));
}

#[divan::bench(args = RULES)]
fn one_changed(bencher: Bencher, count: usize) {
    let (last, catalog) = changed(count);
    bencher.bench_local(|| compile(&catalog, Some(&last)));
}

/// What the last of its readers pays for letting a snapshot go.
#[divan::bench(args = RULES)]
fn drop_in_background(bencher: Bencher, count: usize) {
    let (last, catalog) = changed(count);
    bencher
        .with_inputs(|| compile(&catalog, Some(&last)))
        .bench_local_values(drop);
}
