//! What is in force at one moment: buses, compiled rules, subscriptions, functions. Immutable; readers
//! hold an `Arc` of it while a newer one takes its place.
//!
//! A snapshot is made from the one before: a rule that stayed as it was is shared, and a bus's patterns
//! are changed in a copy of its index, which costs nothing to make. So a change of one rule parses one
//! pattern, whatever number of rules there are; what remains of their number is one pass that compares
//! them. Never here: a change to a snapshot that somebody may hold.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rules::{Filter, ParseOptions, Pattern, RuleIndex, Transform};

use crate::error::Fault;
use crate::model::{BusConfig, BusId, Name, Revision, RuleConfig, Subscription, SubscriptionId};
use crate::runtime::Function;
use crate::store::Catalog;
use crate::view;

/// A deployed function that can be called.
pub struct Deployed {
    /// What the store says of it.
    pub revision: Revision,
    /// The compiled component.
    pub function: Arc<dyn Function>,
    /// The values of the secrets that the manifest lets it read.
    pub secrets: BTreeMap<String, String>,
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

/// Everything in force.
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
    /// Subscriptions, the inactive ones that still owe something included.
    pub subscriptions: HashMap<SubscriptionId, Arc<Subscription>>,
    /// How inputs are made for the subscriptions that don't take the event's own data.
    pub inputs: HashMap<SubscriptionId, Arc<Transform>>,
    /// Functions by name.
    pub functions: BTreeMap<Name, Arc<Deployed>>,
    /// What had to be compiled for it.
    pub compiled: Compiled,
}

impl BusRules {
    /// The place in `rules` of the rule whose pattern has this key.
    #[must_use]
    pub fn place(&self, number: usize) -> usize {
        self.places[number]
    }
}

impl Snapshot {
    /// Compiles what of a catalog's rules differs from `last`; `functions` are compiled already.
    ///
    /// # Errors
    /// A stored pattern that no longer parses, which the manifest's checks rule out.
    pub fn compile(
        catalog: &Catalog,
        functions: BTreeMap<Name, Arc<Deployed>>,
        last: Option<&Self>,
    ) -> Result<Self, Fault> {
        let mut compiled = Compiled::default();
        let (subscriptions, mut differing) = subscribe(catalog, last);
        let mut making: HashMap<&Name, Making<'_>> = HashMap::with_capacity(catalog.buses.len());
        for (id, config, _) in &catalog.buses {
            let before = last.and_then(|last| last.bus(*id));
            making.insert(&config.name, Making::after(before, *id, config));
        }
        let mut rules = Vec::with_capacity(catalog.rules.len());
        for rule in &catalog.rules {
            // The store refuses a rule of a bus that is not declared.
            let Some(bus) = making.get_mut(&rule.bus) else {
                continue;
            };
            let subscriptions = differing.remove(&(bus.id, &rule.name));
            rules.push(bus.add(rule, subscriptions, &mut compiled)?);
        }
        let buses: BTreeMap<Name, Arc<BusRules>> = making
            .into_iter()
            .map(|(name, bus)| (name.clone(), Arc::new(bus.finish())))
            .collect();
        let inputs = compile_inputs(catalog, last, &mut compiled)?;
        Ok(Self {
            version: catalog.version,
            manifest: Arc::from(catalog.manifest.as_str()),
            by_id: buses.values().map(|bus| (bus.id, bus.clone())).collect(),
            buses,
            rules,
            subscriptions,
            inputs,
            functions,
            compiled,
        })
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
                differing.entry((own.bus, &own.rule)).or_default();
                Arc::new(own.clone())
            }
        };
        all.insert(own.id, shared);
    }
    // The store need not tell of one that left and owes nothing.
    for left in last.iter().flat_map(|last| last.subscriptions.values()) {
        if !all.contains_key(&left.id) {
            differing.entry((left.bus, &left.rule)).or_default();
        }
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

fn compile_inputs(
    catalog: &Catalog,
    last: Option<&Snapshot>,
    compiled: &mut Compiled,
) -> Result<HashMap<SubscriptionId, Arc<Transform>>, Fault> {
    let mut inputs = HashMap::new();
    for subscription in &catalog.subscriptions {
        let Some(input) = &subscription.target.input else {
            continue;
        };
        let id = subscription.id;
        let known = last.and_then(|last| last.inputs.get(&id).zip(last.subscriptions.get(&id)));
        let transform = match known {
            Some((known, own)) if own.target.input.as_ref() == Some(input) => known.clone(),
            _ => {
                compiled.inputs += 1;
                let made = view::compile_input(input).map_err(|faults| Fault {
                    pointer: format!("/rules/{}/to", subscription.rule),
                    place: None,
                    reason: faults.first().map_or_else(String::new, ToString::to_string),
                    remedy: String::new(),
                })?;
                Arc::new(made)
            }
        };
        inputs.insert(id, transform);
    }
    Ok(inputs)
}

/// A bus whose rules are being gone through.
struct Making<'l> {
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

impl<'l> Making<'l> {
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
    ) -> Result<Arc<RuleConfig>, Fault> {
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
        if rule.pattern.is_none() {
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
    ) -> Result<CompiledRule, Fault> {
        let fault = |reason: String| Fault {
            pointer: format!("/rules/{}", rule.name),
            place: None,
            reason,
            remedy: String::new(),
        };
        let number = match (last, self.vacant.pop_if(|_| last.is_none())) {
            (Some(last), _) => last.number,
            (None, Some(vacant)) => vacant,
            (None, None) => {
                self.places.push(VACANT);
                self.places.len() - 1
            }
        };
        let before = last.and_then(|last| last.config.pattern.as_ref());
        match &rule.pattern {
            None => {
                self.patterns.remove(&number);
            }
            Some(text) if before == Some(text) => {}
            Some(text) => {
                compiled.patterns += 1;
                let pattern = Pattern::parse(text.as_bytes(), &ParseOptions::default());
                let pattern = pattern.map_err(|faults| {
                    let reasons: Vec<_> = faults.iter().map(ToString::to_string).collect();
                    fault(reasons.join("; "))
                })?;
                self.patterns.insert(number, &pattern);
            }
        }
        let filters = match last {
            Some(last) if last.config.filters == rule.filters => last.filters.clone(),
            _ => {
                compiled.filters += rule.filters.len();
                let parsed = rule.filters.iter().map(|text| Filter::parse(text));
                let filters: Result<Arc<[Filter]>, _> = parsed.collect();
                filters.map_err(|found| fault(found.to_string()))?
            }
        };
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
