//! Snapshots that were made one after the other, beside ones that were made afresh and beside the plain
//! reading of what a snapshot is; and how little is compiled for a small change.

use bytes::Bytes;
use edgebus_rules::{Duplicates, EventDocument, RuleSet, Steps};
use proptest::prelude::*;

use super::*;
use crate::pipeline::subscriptions;
use edgebus_manifest::view::View;
use edgebus_model::{
    Data, Digest, Event, FunctionConfig, InputConfig, SubscriptionName, Target, TargetConfig,
    Timestamp,
};
use edgebus_store::memory::MemoryStore;
use edgebus_store::{ApplyManifest, Step, StepOutcome, Store};

/// What rules are made of: few things, so that they come back.
const BUSES: [&str; 2] = ["default", "other"];
const FUNCTIONS: [&str; 3] = ["f", "g", "h"];
const PATTERNS: [Option<&str>; 8] = [
    None,
    Some(r#"{"type":["a"]}"#),
    Some(r#"{"type":["a","b"]}"#),
    Some(r#"{"type":["b"]}"#),
    Some(r#"{"data":{"n":[{"numeric":[">",3]}]}}"#),
    Some(r#"{"type":["a"],"data":{"n":[5]}}"#),
    Some(r#"{"data":{"s":[{"exists":false}]}}"#),
    Some(r#"{"data":{"s":[{"prefix":"x"}]}}"#),
];
const FILTERS: [&[&str]; 3] = [&[], &["$.data.s"], &["$.data.s", "$.data[?@ > 4]"]];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A rule by the places of its parts in the lists above; the bits of `targets` are functions.
fn rule(text: &str, bus: usize, pattern: usize, filters: usize, targets: usize) -> RuleConfig {
    let target = |function: &str, input: bool| TargetConfig {
        input: input.then(|| InputConfig::Path("$.data.n".to_owned())),
        ..TargetConfig::with_defaults(&name(text), Target::Function(name(function)))
    };
    let all = FUNCTIONS.iter().enumerate();
    let named = all.filter(|(place, _)| targets & 1 << place != 0);
    RuleConfig {
        enabled: true,
        description: None,
        name: name(text),
        bus: name(BUSES[bus]),
        pattern: PATTERNS[pattern].map(str::to_owned),
        filters: FILTERS[filters].iter().map(ToString::to_string).collect(),
        targets: named
            .map(|(_, function)| target(function, targets & 8 != 0))
            .collect(),
    }
}

/// A store that applies manifests, and the snapshot that is active.
struct Chain {
    store: MemoryStore,
    last: Option<Snapshot>,
}

impl Chain {
    fn new() -> Self {
        let store = MemoryStore::new();
        Self { store, last: None }
    }

    fn catalog(&self, rules: &[RuleConfig]) -> Catalog {
        let component = Bytes::from_static(b"ok");
        let digest = Digest::of(&component);
        let buses = BUSES.iter().map(|bus| BusConfig::with_defaults(name(bus)));
        let functions = FUNCTIONS.iter();
        let step = Step::ApplyManifest(Box::new(ApplyManifest {
            source: String::new(),
            buses: buses.collect(),
            functions: functions
                .map(|function| (name(function), digest, FunctionConfig::default()))
                .collect(),
            components: vec![(digest, component)],
            rules: rules.to_vec(),
            expected: None,
            now: Timestamp(0),
        }));
        let outcomes = self.store.commit(&[step]).unwrap();
        assert!(
            matches!(outcomes[0], StepOutcome::Applied { .. }),
            "{outcomes:?}"
        );
        self.store.catalog().unwrap()
    }

    /// Applies a manifest of these rules on top of the one before.
    fn apply(&mut self, rules: &[RuleConfig]) -> Compiled {
        let catalog = self.catalog(rules);
        let next = Snapshot::compile(&catalog, BTreeMap::new(), self.last.as_ref()).unwrap();
        self.last.insert(next).compiled
    }

    fn last(&self) -> &Snapshot {
        self.last.as_ref().unwrap()
    }
}

fn events() -> Vec<Event> {
    let all = [
        ("a", r#"{"n":5}"#),
        ("a", r#"{"n":2,"s":"xy"}"#),
        ("b", r#"{"n":7,"s":"y"}"#),
        ("b", r#"{"s":"x"}"#),
        ("c", r#"{"n":9,"s":"xx"}"#),
        ("c", "{}"),
    ];
    let event = |(kind, data): (&str, &str)| Event {
        id: "id".to_owned(),
        source: "/test".to_owned(),
        kind: kind.to_owned(),
        data: Data::Json(Bytes::copy_from_slice(data.as_bytes())),
        ..Event::unreadable()
    };
    all.into_iter().map(event).collect()
}

/// Who gets `event`, rule by rule, each tried alone.
fn naive(catalog: &Catalog, bus: &BusRules, event: &Event) -> Vec<SubscriptionId> {
    let view = View::new(event);
    let matches = |text: &String| {
        let pattern = Pattern::parse(text.as_bytes(), &view::PATTERNS).unwrap();
        let alone = RuleSet::new([((), pattern)]);
        let found = alone.matches(&view.parts(), Duplicates::Refuse).unwrap();
        !found.is_empty()
    };
    let parts = view.parts();
    let document = EventDocument::new(&parts);
    let tree = document.tree().unwrap();
    let mut found = Vec::new();
    let own = |rule: &&RuleConfig| rule.bus == bus.config.name;
    for rule in catalog.rules.iter().filter(own) {
        let filters = rule.filters.iter();
        let mut filters = filters.map(|text| Filter::parse(text).unwrap());
        if rule.pattern.as_ref().is_none_or(matches)
            && filters.all(|own| own.holds(tree, &mut Steps::of_event()) == Ok(true))
        {
            let all = catalog.subscriptions.iter();
            let own = all.filter(|own| own.active && own.rule == rule.name && own.bus == bus.id);
            found.extend(own.map(|own| own.id));
        }
    }
    found
}

/// How many of the new patterns no rule of the same bus and name had.
fn new_patterns(old: &[RuleConfig], new: &[RuleConfig]) -> usize {
    let had = |rule: &RuleConfig| {
        old.iter().any(|old| {
            (&old.bus, &old.name, &old.pattern) == (&rule.bus, &rule.name, &rule.pattern)
        })
    };
    let with_pattern = new.iter().filter(|rule| rule.pattern.is_some());
    with_pattern.filter(|rule| !had(rule)).count()
}

/// A change of a list of rules; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Change {
    Put(usize, RuleConfig),
    Remove(usize),
    Move(usize, usize),
    Pattern(usize, usize),
    Bus(usize, usize),
    Targets(usize, usize),
    /// Another name for a rule, whose subscriptions keep theirs.
    Rename(usize, usize),
    /// A subscription that comes to another rule.
    Take(usize, usize),
    Clear,
}

fn change() -> impl Strategy<Value = Change> {
    let put = (0..20_usize, 0..12_usize, 0..2_usize, 0..8_usize).prop_flat_map(
        |(place, number, bus, pattern)| {
            (0..3_usize, 1..8_usize, any::<bool>()).prop_map(move |(filters, targets, input)| {
                let targets = targets | usize::from(input) << 3;
                let rule = rule(&format!("r{number}"), bus, pattern, filters, targets);
                Change::Put(place, rule)
            })
        },
    );
    prop_oneof![
        6 => put,
        2 => (0..20_usize).prop_map(Change::Remove),
        2 => (0..20_usize, 0..20_usize).prop_map(|(from, to)| Change::Move(from, to)),
        2 => (0..20_usize, 0..8_usize).prop_map(|(place, pattern)| Change::Pattern(place, pattern)),
        1 => (0..20_usize, 0..2_usize).prop_map(|(place, bus)| Change::Bus(place, bus)),
        1 => (0..20_usize, 1..8_usize).prop_map(|(place, targets)| Change::Targets(place, targets)),
        1 => (0..20_usize, 0..12_usize).prop_map(|(place, to)| Change::Rename(place, to)),
        1 => (0..20_usize, 0..20_usize).prop_map(|(from, to)| Change::Take(from, to)),
        1 => Just(Change::Clear),
    ]
}

fn make(rules: &mut Vec<RuleConfig>, change: Change) {
    let count = rules.len().max(1);
    let at = |place: usize| place % count;
    match change {
        Change::Put(place, rule) => {
            let known = rules.iter().position(|own| own.name == rule.name);
            match known {
                Some(known) => rules[known] = rule,
                None => rules.insert(place.min(rules.len()), rule),
            }
        }
        Change::Clear => rules.clear(),
        _ if rules.is_empty() => {}
        Change::Remove(place) => {
            rules.remove(at(place));
        }
        Change::Move(from, to) => {
            let moved = rules.remove(at(from));
            rules.insert(to.min(rules.len()), moved);
        }
        Change::Pattern(place, pattern) => {
            rules[at(place)].pattern = PATTERNS[pattern].map(str::to_owned);
        }
        Change::Bus(place, bus) => rules[at(place)].bus = name(BUSES[bus]),
        Change::Targets(place, targets) => {
            let own = rules[at(place)].name.to_string();
            rules[at(place)].targets = rule(&own, 0, 0, 0, targets).targets;
        }
        Change::Rename(place, to) => {
            let to = name(&format!("r{to}"));
            if rules.iter().all(|own| own.name != to) {
                rules[at(place)].name = to;
            }
        }
        Change::Take(from, to) => {
            if rules[at(from)].targets.len() > 1 {
                let taken = rules[at(from)].targets.remove(0);
                rules[at(to)].targets.push(taken);
            }
        }
    }
    name_apart(rules);
}

/// Gives another name to a subscription that shares one.
fn name_apart(rules: &mut [RuleConfig]) {
    let mut seen = HashSet::new();
    for rule in rules {
        for target in &mut rule.targets {
            let mut number = 0;
            while !seen.insert(target.name.clone()) {
                number += 1;
                target.name = SubscriptionName::new(&format!("{}/{number}", rule.name)).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn one_after_the_other_is_as_afresh(
        manifests in proptest::collection::vec(proptest::collection::vec(change(), 1..5), 1..12)
    ) {
        let events = events();
        let mut chain = Chain::new();
        let mut rules = Vec::new();
        for changes in manifests {
            let before = rules.clone();
            for change in changes {
                make(&mut rules, change);
            }
            let compiled = chain.apply(&rules);
            prop_assert_eq!(compiled.patterns, new_patterns(&before, &rules));
            let catalog = chain.store.catalog().unwrap();
            let fresh = Snapshot::compile(&catalog, BTreeMap::new(), None).unwrap();
            let last = chain.last();
            prop_assert!(last.rules.iter().map(|rule| &**rule).eq(&catalog.rules));
            prop_assert_eq!(&last.subscriptions, &fresh.subscriptions);
            let inputs = |own: &Snapshot| own.inputs.keys().copied().collect::<std::collections::BTreeSet<_>>();
            prop_assert_eq!(inputs(last), inputs(&fresh));
            for (bus, afresh) in last.buses.values().zip(fresh.buses.values()) {
                for event in &events {
                    let expected = naive(&catalog, bus, event);
                    prop_assert_eq!(&subscriptions(bus, event).unwrap().subscriptions, &expected);
                    prop_assert_eq!(&subscriptions(afresh, event).unwrap().subscriptions, &expected);
                }
            }
        }
    }
}

fn numbered(count: usize) -> Vec<RuleConfig> {
    let numbers = 0..count;
    numbers
        .map(|number| RuleConfig {
            enabled: true,
            description: None,
            pattern: Some(format!(r#"{{"type":["t{number}"]}}"#)),
            ..rule(&format!("r{number}"), 0, 0, 1, 8 | 1)
        })
        .collect()
}

#[test]
fn a_change_of_one_rule_compiles_that_rule() {
    const COUNT: usize = 1_000;
    type Edit = fn(&mut Vec<RuleConfig>);
    let cases: [(&str, Edit, [usize; 3]); 8] = [
        ("nothing", |_| {}, [0, 0, 0]),
        (
            "a pattern",
            |rules| rules[500].pattern = PATTERNS[1].map(str::to_owned),
            [1, 0, 0],
        ),
        ("a filter", |rules| rules[500].filters.clear(), [0, 0, 0]),
        (
            "a new rule in front",
            |rules| rules.insert(0, rule("new", 0, 2, 2, 8 | 3)),
            [1, 2, 2],
        ),
        ("a rule less", |rules| drop(rules.remove(500)), [0, 0, 0]),
        ("another order", |rules| rules.reverse(), [0, 0, 0]),
        (
            "a retry policy",
            |rules| rules[500].targets[0].retry.attempts_max = 77,
            [0, 0, 0],
        ),
        (
            "another bus",
            |rules| rules[500].bus = name("other"),
            [1, 1, 1],
        ),
    ];
    for (what, edit, [patterns, filters, inputs]) in cases {
        let mut chain = Chain::new();
        let mut rules = numbered(COUNT);
        let all = chain.apply(&rules);
        assert_eq!([all.patterns, all.filters, all.inputs], [COUNT; 3]);
        let before = chain.last.take().unwrap();
        let catalog = {
            edit(&mut rules);
            chain.catalog(&rules)
        };
        let after = Snapshot::compile(&catalog, BTreeMap::new(), Some(&before)).unwrap();
        let expected = Compiled {
            patterns,
            filters,
            inputs,
        };
        assert_eq!(after.compiled, expected, "{what}");
        // What stayed is the same thing, not one like it.
        let shared = |own: &&Arc<RuleConfig>| before.rules.iter().any(|old| Arc::ptr_eq(old, own));
        assert!(
            after.rules.iter().filter(shared).count() >= COUNT - 1,
            "{what}"
        );
    }
}

#[test]
fn numbers_of_rules_that_left_are_given_again() {
    let mut chain = Chain::new();
    for round in 0..10 {
        let number = |count: usize| rule(&format!("r{round}-{count}"), 0, 1, 0, 1);
        let rules: Vec<RuleConfig> = (0..20).map(number).collect();
        assert_eq!(chain.apply(&rules).patterns, 20);
        let bus = &chain.last().buses["default"];
        assert_eq!(bus.patterns.len(), 20);
        assert!(bus.places.len() <= 40, "{}", bus.places.len());
    }
}

/// Earlier releases kept the line end of a YAML block with a query, and took queries that are none.
#[test]
fn queries_that_an_earlier_release_stored_are_read_at_a_start() {
    let of = |input: InputConfig, filter: &str, text: &str| {
        let mut own = rule(text, 0, 0, 0, 1);
        own.filters = vec![filter.to_owned()];
        own.targets[0].input = Some(input);
        own
    };
    let path = |path: &str| InputConfig::Path(path.to_owned());
    let named = InputConfig::EventBridge {
        paths: vec![("s".to_owned(), "$.detail.s\n".to_owned())],
        template: "<s>".to_owned(),
    };
    let rules = [
        of(path("$.data"), "$.data.s", "plain"),
        of(path("$.data.s\n"), "$.data.s\n", "block"),
        of(named, "$.data[?@ == 'xy']\r\n", "windows"),
        of(path("$.data"), "$.data[?@.n in [1]]", "dialect"),
    ];
    let catalog = Chain::new().catalog(&rules);
    let snapshot = Snapshot::at_start(&catalog, BTreeMap::new());
    let inactive: Vec<_> = snapshot
        .inactive
        .iter()
        .map(|own| own.rule.as_str())
        .collect();
    assert_eq!(inactive, ["dialect"], "{:?}", snapshot.inactive);
    assert!(snapshot.waiting.is_empty());
    let event = &events()[1];
    let found = subscriptions(&snapshot.buses["default"], event).unwrap();
    assert_eq!(found.subscriptions.len(), 3);
    let verdict = view::judge(&rules[2], &View::new(event), Timestamp(0)).unwrap();
    assert!(verdict.matched);
    assert_eq!(verdict.inputs[0].input.as_ref().unwrap().get(), "\"xy\"");
}
