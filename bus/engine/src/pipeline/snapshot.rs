//! The active buses, compiled rules, subscriptions and functions. Immutable; readers hold an `Arc` of it while
//! a newer one replaces it.
//!
//! A snapshot is made from the one before: a rule that stayed as it was is shared, and a bus's patterns
//! are changed in a copy of its index, which costs nothing to make. So a change of one rule parses one
//! pattern, whatever number of rules there are; what remains of their number is one pass that compares
//! them. Never here: a change to a snapshot that somebody may hold.

/// The pattern that events are matched with; none of a rule that is off.
fn asked(rule: &RuleConfig) -> Option<&String> {
    rule.pattern.as_ref().filter(|_| rule.enabled)
}

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use edgebus_rules::{Filter, Pattern, RuleIndex, Transform};

use super::functions::{Availability, Compilation};
use edgebus_manifest::view;
use edgebus_model::error::InputError;
use edgebus_model::{
    BusConfig, BusId, Name, Revision, RuleConfig, SkipReason, Subscription, SubscriptionId,
};
use edgebus_runtime::Function;
use edgebus_runtime::capabilities::Kept;
use edgebus_store::Catalog;

/// A deployed function.
pub struct Deployed {
    /// What the store says of it.
    pub revision: Revision,
    /// Its component's compiled form, shared by all functions of that component.
    pub(super) compilation: Arc<Compilation>,
    /// The values of the secrets that the manifest lets it read; another map takes its place when the
    /// secrets are read anew.
    secrets: ArcSwap<BTreeMap<String, String>>,
    /// What capabilities keep of it between its attempts; another configuration for the same component shares it.
    pub(super) kept: Arc<Kept>,
}

impl Deployed {
    /// A function with the secrets that it has now.
    pub(super) fn new(
        revision: Revision,
        compilation: Arc<Compilation>,
        secrets: BTreeMap<String, String>,
        kept: Arc<Kept>,
    ) -> Self {
        Self {
            revision,
            compilation,
            secrets: ArcSwap::from_pointee(secrets),
            kept,
        }
    }

    /// True if it can be called. Once true, it stays true; until then its deliveries wait.
    #[must_use]
    pub fn available(&self) -> bool {
        self.function().is_some()
    }

    /// The compiled component, if there is one.
    #[must_use]
    pub fn function(&self) -> Option<&Arc<dyn Function>> {
        self.compilation.function()
    }

    /// Whether it can be called, or why not.
    #[must_use]
    pub fn availability(&self) -> Availability {
        self.compilation.availability()
    }

    /// The values of the secrets that it may read.
    #[must_use]
    pub fn secrets(&self) -> Arc<BTreeMap<String, String>> {
        self.secrets.load_full()
    }

    /// Gives it other values; true if they differ from those that it had.
    pub(super) fn replace_secrets(&self, secrets: BTreeMap<String, String>) -> bool {
        let last = self.secrets.swap(Arc::new(secrets));
        *last != **self.secrets.load()
    }
}

/// A stored rule, or the input of one of its targets, that this release can't read. Possible only after
/// another release wrote it: a change with such a rule is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inactive {
    /// The rule.
    pub rule: Name,
    /// What of it can't be read.
    pub reason: String,
    bus: BusId,
    config: Arc<RuleConfig>,
}

/// A rule as matching needs it.
pub struct CompiledRule {
    /// The rule as the manifest has it.
    pub config: Arc<RuleConfig>,
    /// JSONPath filters, evaluated after the pattern.
    pub filters: Arc<[Filter]>,
    /// Who gets what it matches.
    pub subscriptions: Vec<SubscriptionId>,
    /// The key of its pattern: it stays as long as the bus has a rule of this name.
    number: usize,
}

/// One bus with its compiled rules.
pub struct BusRules {
    /// The bus's number.
    pub id: BusId,
    /// Its configuration.
    pub config: BusConfig,
    /// Its name, for telling.
    pub name: Arc<str>,
    /// Patterns, keyed by the rule's number; [`BusRules::place`] leads to the rule.
    pub patterns: RuleIndex<usize>,
    /// Rules that take every event, by their place in `rules`.
    pub unconditional: Vec<usize>,
    /// The rules of this bus, in the manifest's order.
    pub rules: Vec<Arc<CompiledRule>>,
    /// Where the rule of each number stands in `rules`; [`VACANT`] where no rule has the number.
    places: Vec<usize>,
}

/// The place of no rule.
const VACANT: usize = usize::MAX;

/// What had to be compiled for a snapshot; the rest is shared with the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compiled {
    /// Patterns that were parsed.
    pub patterns: usize,
    /// JSONPath filters that were parsed.
    pub filters: usize,
    /// Inputs of targets that were compiled.
    pub inputs: usize,
}

/// Everything active.
pub struct Snapshot {
    /// The rule-set version, recorded with each event that it decides.
    pub version: u64,
    /// The manifest's text.
    pub manifest: Arc<str>,
    /// Buses by name.
    pub buses: BTreeMap<Name, Arc<BusRules>>,
    /// The same by number.
    by_id: HashMap<BusId, Arc<BusRules>>,
    /// The rules as the manifest has them.
    pub rules: Vec<Arc<RuleConfig>>,
    /// Subscriptions, the inactive ones that still have something pending included.
    pub subscriptions: HashMap<SubscriptionId, Arc<Subscription>>,
    /// How inputs are made for the subscriptions that don't take the event's own data.
    pub inputs: HashMap<SubscriptionId, Arc<Transform>>,
    /// Functions by name.
    pub functions: BTreeMap<Name, Arc<Deployed>>,
    /// Rules that this release can't read; they match nothing.
    pub inactive: Vec<Inactive>,
    /// Subscriptions whose `input` this release can't read; their deliveries wait in the store.
    pub waiting: HashSet<SubscriptionId>,
    /// What had to be compiled for it.
    pub compiled: Compiled,
}

impl Snapshot {
    /// Why no delivery of a subscription can run, if none can, as the store decides it.
    #[must_use]
    pub fn cannot_run(&self, id: SubscriptionId) -> Option<SkipReason> {
        let own = self.subscriptions.get(&id).filter(|own| own.active);
        let Some(own) = own else {
            return Some(SkipReason::SubscriptionEnded);
        };
        let function = own.target.to.function()?;
        let deployed = self.functions.contains_key(function);
        (!deployed).then_some(SkipReason::FunctionMissing)
    }
}

impl BusRules {
    /// The place in `rules` of the rule whose pattern has this key.
    #[must_use]
    pub fn place(&self, number: usize) -> usize {
        self.places[number]
    }
}

impl Snapshot {
    /// Compiles what of a catalog's rules differs from `last`; `functions` may still be compiling.
    ///
    /// # Errors
    /// A pattern, filter or input that can't be read, which the manifest's checks rule out. One that
    /// was inactive in `last` and did not change stays inactive.
    pub fn compile(
        catalog: &Catalog,
        functions: BTreeMap<Name, Arc<Deployed>>,
        last: Option<&Self>,
    ) -> Result<Self, InputError> {
        let (made, errors) = Self::make(catalog, functions, last);
        let known = last.map_or(&[][..], |last| &last.inactive);
        for (own, error) in made.inactive.iter().zip(errors) {
            if !known.iter().any(|known| known.config == own.config) {
                return Err(error);
            }
        }
        Ok(made)
    }

    /// The first snapshot of a process: what can't be read any more is inactive, and not the bus.
    #[must_use]
    pub fn at_start(catalog: &Catalog, functions: BTreeMap<Name, Arc<Deployed>>) -> Self {
        let (made, _) = Self::make(catalog, functions, None);
        for own in &made.inactive {
            tracing::error!(
                rule = %own.rule, reason = %own.reason,
                "the rule is inactive: this release can't read it; write it anew and apply the manifest (EB0210)"
            );
        }
        made
    }

    /// A snapshot without the rules that can't be read, and the error of each that is inactive.
    fn make(
        catalog: &Catalog,
        functions: BTreeMap<Name, Arc<Deployed>>,
        last: Option<&Self>,
    ) -> (Self, Vec<InputError>) {
        let mut compiled = Compiled::default();
        let (mut inactive, mut errors) = (Vec::new(), Vec::new());
        let (subscriptions, mut differing) = subscribe(catalog, last);
        let mut builder: HashMap<&Name, BusRulesBuilder<'_>> =
            HashMap::with_capacity(catalog.buses.len());
        for (id, config, _) in &catalog.buses {
            let before = last.and_then(|last| last.bus(*id));
            builder.insert(&config.name, BusRulesBuilder::after(before, *id, config));
        }
        let mut rules = Vec::with_capacity(catalog.rules.len());
        for rule in &catalog.rules {
            // The store refuses a rule of a bus that is not declared.
            let Some(bus) = builder.get_mut(&rule.bus) else {
                continue;
            };
            let subscriptions = differing.remove(&(bus.id, &rule.name));
            let config = match bus.add(rule, subscriptions, &mut compiled) {
                Ok(config) => config,
                Err(error) => {
                    let config = Arc::new(rule.clone());
                    inactive.push(Inactive::of(&error, bus.id, config.clone()));
                    errors.push(error);
                    config
                }
            };
            rules.push(config);
        }
        let buses: BTreeMap<Name, Arc<BusRules>> = builder
            .into_iter()
            .map(|(name, bus)| (name.clone(), Arc::new(bus.finish())))
            .collect();
        let (inputs, unreadable) = compile_inputs(catalog, last, &mut compiled);
        let mut waiting = HashSet::new();
        for (own, error) in unreadable {
            waiting.insert(own.id);
            // A rule that left has left its deliveries behind, and they wait like the others.
            if let Some(rule) = rules.iter().find(|rule| rule.name == own.rule) {
                inactive.push(Inactive::of(&error, own.bus, rule.clone()));
                errors.push(error);
            }
        }
        let made = Self {
            version: catalog.version,
            manifest: Arc::from(catalog.manifest.as_str()),
            by_id: buses.values().map(|bus| (bus.id, bus.clone())).collect(),
            buses,
            rules,
            subscriptions,
            inputs,
            functions,
            inactive,
            waiting,
            compiled,
        };
        (made, errors)
    }

    /// The bus with this number.
    #[must_use]
    pub fn bus(&self, id: BusId) -> Option<&Arc<BusRules>> {
        self.by_id.get(&id)
    }
}

/// The active subscriptions of rules, by bus and name.
type Subscribed<'c> = HashMap<(BusId, &'c Name), Vec<SubscriptionId>>;

/// All subscriptions, and who gets what a rule matches where that is not what it was in `last`.
fn subscribe<'c>(
    catalog: &'c Catalog,
    last: Option<&'c Snapshot>,
) -> (HashMap<SubscriptionId, Arc<Subscription>>, Subscribed<'c>) {
    let mut all = HashMap::with_capacity(catalog.subscriptions.len());
    let mut differing = Subscribed::new();
    for own in &catalog.subscriptions {
        let known = last.and_then(|last| last.subscriptions.get(&own.id));
        let shared = match known.filter(|known| ***known == *own) {
            Some(known) => known.clone(),
            None => {
                // It may have come from another rule, which has one less then.
                for own in known.map(AsRef::as_ref).into_iter().chain([own]) {
                    differing.entry((own.bus, &own.rule)).or_default();
                }
                Arc::new(own.clone())
            }
        };
        all.insert(own.id, shared);
    }
    // The store need not tell of one that left and has nothing pending.
    for left in last.iter().flat_map(|last| last.subscriptions.values()) {
        if !all.contains_key(&left.id) {
            differing.entry((left.bus, &left.rule)).or_default();
        }
    }
    // One that is active from now on has no subscribers to keep.
    for own in last.iter().flat_map(|last| &last.inactive) {
        differing.entry((own.bus, &own.rule)).or_default();
    }
    if !differing.is_empty() {
        for own in catalog.subscriptions.iter().filter(|own| own.active) {
            if let Some(subscribed) = differing.get_mut(&(own.bus, &own.rule)) {
                subscribed.push(own.id);
            }
        }
    }
    (all, differing)
}

type Inputs = HashMap<SubscriptionId, Arc<Transform>>;

/// The inputs, and the subscriptions whose input can't be read.
fn compile_inputs<'c>(
    catalog: &'c Catalog,
    last: Option<&Snapshot>,
    compiled: &mut Compiled,
) -> (Inputs, Vec<(&'c Subscription, InputError)>) {
    let (mut inputs, mut invalid) = (Inputs::new(), Vec::new());
    for subscription in &catalog.subscriptions {
        let Some(input) = &subscription.target.input else {
            continue;
        };
        let id = subscription.id;
        let known = last.and_then(|last| last.inputs.get(&id).zip(last.subscriptions.get(&id)));
        if let Some((known, own)) = known
            && own.target.input.as_ref() == Some(input)
        {
            inputs.insert(id, known.clone());
            continue;
        }
        compiled.inputs += 1;
        match view::compile_input(input) {
            Ok(made) => {
                inputs.insert(id, Arc::new(made));
            }
            Err(errors) => {
                let error = InputError {
                    pointer: format!("/rules/{}/to", subscription.rule),
                    place: None,
                    reason: errors.first().map_or_else(String::new, ToString::to_string),
                    remedy: String::new(),
                };
                invalid.push((subscription, error));
            }
        }
    }
    (inputs, invalid)
}

impl Inactive {
    fn of(error: &InputError, bus: BusId, config: Arc<RuleConfig>) -> Self {
        Self {
            rule: config.name.clone(),
            reason: error.reason.clone(),
            bus,
            config,
        }
    }
}

/// A bus whose rules are being gone through.
struct BusRulesBuilder<'l> {
    id: BusId,
    config: &'l BusConfig,
    /// Those of the bus before, and what changed so far.
    patterns: RuleIndex<usize>,
    /// The rules of the bus before.
    last: &'l [Arc<CompiledRule>],
    /// Where the next rule stands among them unless something was added, removed or moved.
    next: usize,
    /// Where each of them stands, by name; made when it is needed.
    by_name: Option<HashMap<&'l Name, usize>>,
    /// Numbers that no rule of the bus before has; those of rules that leave now are free next time.
    vacant: Vec<usize>,
    unconditional: Vec<usize>,
    rules: Vec<Arc<CompiledRule>>,
    places: Vec<usize>,
}

impl<'l> BusRulesBuilder<'l> {
    fn after(last: Option<&'l Arc<BusRules>>, id: BusId, config: &'l BusConfig) -> Self {
        let numbers = last.map_or(&[][..], |last| &last.places);
        let vacant = (0..numbers.len()).filter(|number| numbers[*number] == VACANT);
        let rules = last.map_or(&[][..], |last| &last.rules);
        Self {
            id,
            config,
            patterns: last.map_or_else(RuleIndex::new, |last| last.patterns.clone()),
            last: rules,
            next: 0,
            by_name: None,
            vacant: vacant.collect(),
            unconditional: Vec::new(),
            rules: Vec::with_capacity(rules.len()),
            places: vec![VACANT; numbers.len()],
        }
    }

    /// The rule of this name that the bus had.
    fn known(&mut self, name: &Name) -> Option<&'l Arc<CompiledRule>> {
        let last = self.last;
        let expected = last.get(self.next).filter(|own| own.config.name == *name);
        let place = match expected {
            Some(_) => self.next,
            None => {
                let by_name = self.by_name.get_or_insert_with(|| {
                    let all = last.iter().enumerate();
                    all.map(|(place, own)| (&own.config.name, place)).collect()
                });
                *by_name.get(name)?
            }
        };
        self.next = place + 1;
        last.get(place)
    }

    /// Takes the manifest's next rule of this bus; `subscribed` get what it matches, or who got it before.
    fn add(
        &mut self,
        rule: &RuleConfig,
        subscribed: Option<Vec<SubscriptionId>>,
        compiled: &mut Compiled,
    ) -> Result<Arc<RuleConfig>, InputError> {
        let last = self.known(&rule.name);
        let made = match (last, subscribed) {
            (Some(last), None) if *last.config == *rule => last.clone(),
            (last, subscribed) => {
                let before = || last.map_or_else(Vec::new, |last| last.subscriptions.clone());
                let subscriptions = subscribed.unwrap_or_else(before);
                Arc::new(self.compile(rule, subscriptions, last, compiled)?)
            }
        };
        let place = self.rules.len();
        self.places[made.number] = place;
        if rule.pattern.is_none() && rule.enabled {
            self.unconditional.push(place);
        }
        let config = made.config.clone();
        self.rules.push(made);
        Ok(config)
    }

    /// Compiles what of `rule` differs from what it was.
    fn compile(
        &mut self,
        rule: &RuleConfig,
        subscriptions: Vec<SubscriptionId>,
        last: Option<&Arc<CompiledRule>>,
        compiled: &mut Compiled,
    ) -> Result<CompiledRule, InputError> {
        let error = |reason: String| InputError {
            pointer: format!("/rules/{}", rule.name),
            place: None,
            reason,
            remedy: String::new(),
        };
        // All that can fail comes first: a rule invalid leaves nothing behind in the index.
        let before = last.and_then(|last| asked(&last.config));
        let wanted = asked(rule);
        let pattern = match wanted {
            Some(text) if before != Some(text) => {
                compiled.patterns += 1;
                let pattern = Pattern::parse(text.as_bytes(), &view::PATTERNS);
                Some(pattern.map_err(|errors| {
                    let reasons: Vec<_> = errors.iter().map(ToString::to_string).collect();
                    error(reasons.join("; "))
                })?)
            }
            _ => None,
        };
        let filters = match last {
            Some(last) if last.config.filters == rule.filters => last.filters.clone(),
            _ => {
                compiled.filters += rule.filters.len();
                let parsed = rule.filters.iter().map(|text| view::stored_filter(text));
                let filters: Result<Arc<[Filter]>, _> = parsed.collect();
                filters.map_err(|found| error(found.to_string()))?
            }
        };
        let number = match (last, self.vacant.pop_if(|_| last.is_none())) {
            (Some(last), _) => last.number,
            (None, Some(vacant)) => vacant,
            (None, None) => {
                self.places.push(VACANT);
                self.places.len() - 1
            }
        };
        match &pattern {
            Some(pattern) => {
                self.patterns.insert(number, pattern);
            }
            None if wanted.is_none() => {
                self.patterns.remove(&number);
            }
            None => {}
        }
        Ok(CompiledRule {
            config: Arc::new(rule.clone()),
            filters,
            subscriptions,
            number,
        })
    }

    fn finish(mut self) -> BusRules {
        for left in self.last {
            if self.places[left.number] == VACANT {
                self.patterns.remove(&left.number);
            }
        }
        BusRules {
            id: self.id,
            config: self.config.clone(),
            name: Arc::from(self.config.name.as_str()),
            patterns: self.patterns,
            unconditional: self.unconditional,
            rules: self.rules,
            places: self.places,
        }
    }
}
