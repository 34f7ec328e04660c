//! What a store knows of buses, functions, rules and subscriptions, and how a change turns it into
//! what it knows next.
//!
//! Pure and shared by every implementation: a change is decided here on small data, and an engine
//! only writes the rows that differ. Never here: input, output, a clock, an event.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{ApplyManifest, Catalog, Deploy, Step};
use edgebus_model::{
    BusConfig, BusId, Digest, FunctionConfig, Name, Position, Revision, RuleConfig, Subscription,
    SubscriptionId, SubscriptionName, Target, Timestamp, rule::DEFAULT_BUS,
};

/// Names, numbers and configuration active. A copy shares the rules and the subscriptions.
#[derive(Clone, Debug, Default)]
pub(super) struct CatalogState {
    /// Raised by each change; 0 before the first.
    pub(super) version: u64,
    /// The manifest's text; empty before the first.
    pub(super) manifest: Arc<str>,
    /// Every bus ever declared; they never leave, so a number is never used again.
    pub(super) buses: BTreeMap<BusId, BusConfig>,
    /// The active revision of each deployed function.
    pub(super) functions: BTreeMap<Name, Revision>,
    /// The active rules, each under a number that it keeps for as long as it is active.
    pub(super) rules: BTreeMap<u32, Arc<RuleConfig>>,
    /// The numbers of the rules, in the manifest's order.
    pub(super) order: Vec<u32>,
    /// False where the store has no row for the order yet: before format 3 a rule's number was its place.
    pub(super) order_stored: bool,
    /// The last number that a rule was given.
    pub(super) rule_last: u32,
    /// Every subscription that was made and not retired, so that a name finds its number again.
    pub(super) subscriptions: BTreeMap<SubscriptionId, Arc<Subscription>>,
    /// The last number that a subscription was given; none is given twice.
    pub(super) subscription_last: u32,
}

impl CatalogState {
    /// What a new store knows: the bus `default`, as number 1.
    pub(super) fn genesis() -> Self {
        let name = Name::new(DEFAULT_BUS).expect("the default bus has a valid name");
        Self {
            buses: BTreeMap::from([(BusId(1), BusConfig::with_defaults(name))]),
            order_stored: true,
            ..Self::default()
        }
    }

    /// What is known after `step`, or why it can't be, for a change of any kind; `has` as for
    /// [`CatalogState::apply`].
    pub(super) fn after(&self, step: &Step, has: impl Fn(Digest) -> bool) -> Result<Self, String> {
        match step {
            Step::ApplyManifest(apply) => self.apply(apply, has),
            Step::Deploy(deploy) => self.deploy(deploy, Digest::of(&deploy.component)),
            Step::Remove { function, expected } => self.remove(function, *expected),
            Step::Retire(subscriptions) => self.retire(subscriptions),
            Step::Change(change) => Ok((**change.next()).clone()),
            Step::Append(_)
            | Step::Settle(_)
            | Step::Claim { .. }
            | Step::StartJob(_)
            | Step::Advance(_)
            | Step::ControlJob { .. }
            | Step::Clock(_)
            | Step::Quarantine { .. }
            | Step::NoteCheck { .. }
            | Step::Trim(_)
            | Step::Expire(_)
            | Step::MarkClean(_) => Ok(self.clone()),
        }
    }

    /// Denies a step that was made from another version than the active one.
    fn check(&self, expected: Option<u64>) -> Result<(), String> {
        match expected.filter(|expected| *expected != self.version) {
            None => Ok(()),
            Some(expected) => Err(format!(
                "the change was made from rule-set version {expected}, and {} is active",
                self.version
            )),
        }
    }

    /// What is known after `step`, or why it can't be; `has` says whether the store holds a component.
    pub(super) fn apply(
        &self,
        step: &ApplyManifest,
        has: impl Fn(Digest) -> bool,
    ) -> Result<Self, String> {
        self.check(step.expected)?;
        let mut next = Self {
            manifest: step.source.as_str().into(),
            ..self.clone()
        };
        let mut brought = BTreeSet::new();
        for (digest, bytes) in &step.components {
            if Digest::of(bytes) != *digest {
                return Err(format!("the component sent as {digest} has another digest"));
            }
            brought.insert(*digest);
        }
        let numbers = next.declare_buses(&step.buses)?;
        let mut named = BTreeSet::new();
        for (name, digest, config) in &step.functions {
            if !named.insert(name) {
                return Err(format!("function `{name}` is declared twice"));
            }
            if !brought.contains(digest) && !has(*digest) {
                return Err(format!(
                    "function `{name}` needs component {digest}, which the store does not have"
                ));
            }
            next.revise(name, *digest, config.clone(), step.now);
        }
        next.take_rules(&step.rules)?;
        next.subscribe(&numbers)?;
        Ok(self.raised(next))
    }

    /// What is known after a deployment of the component `digest`, or why it can't be.
    pub(super) fn deploy(&self, step: &Deploy, digest: Digest) -> Result<Self, String> {
        self.check(step.expected)?;
        let mut next = self.clone();
        let config = step.config.clone().unwrap_or_else(|| {
            self.functions
                .get(&step.function)
                .map(|revision| revision.config.clone())
                .unwrap_or_default()
        });
        next.revise(&step.function, digest, config, step.now);
        Ok(self.raised(next))
    }

    /// What is known after `function` is taken away, or why it can't be.
    pub(super) fn remove(&self, function: &Name, expected: Option<u64>) -> Result<Self, String> {
        self.check(expected)?;
        if let Some(rule) = self.rules_in_order().find(|rule| {
            rule.targets
                .iter()
                .any(|target| target.to.function() == Some(function))
        }) {
            return Err(format!(
                "function `{function}` is a target of rule `{}`; take it out of the manifest first",
                rule.name
            ));
        }
        let mut next = self.clone();
        if next.functions.remove(function).is_none() {
            return Err(format!("there is no function `{function}`"));
        }
        Ok(self.raised(next))
    }

    /// What the catalog tells of it; `head` is the last position of a bus. The rest is for the store to say.
    pub(super) fn catalog(&self, head: impl Fn(BusId) -> Position) -> Catalog {
        let buses = self.buses.iter();
        Catalog {
            version: self.version,
            manifest: self.manifest.to_string(),
            buses: buses
                .map(|(id, config)| (*id, config.clone(), head(*id)))
                .collect(),
            functions: self.functions.values().cloned().collect(),
            rules: self.rules_in_order().map(|rule| (**rule).clone()).collect(),
            subscriptions: self
                .subscriptions
                .values()
                .map(|own| (**own).clone())
                .collect(),
            ..Catalog::default()
        }
    }

    /// The active rules, in the manifest's order.
    pub(super) fn rules_in_order(&self) -> impl Iterator<Item = &Arc<RuleConfig>> {
        self.order
            .iter()
            .filter_map(|number| self.rules.get(number))
    }

    /// What stands in one row.
    pub(super) fn head(&self) -> (u64, &str, u32, u32) {
        let (rule, subscription) = (self.rule_last, self.subscription_last);
        (self.version, &self.manifest, rule, subscription)
    }

    /// True if it is what `other` is, however it is stored.
    fn says_what(&self, other: &Self) -> bool {
        self.head() == other.head()
            && self.buses == other.buses
            && self.functions == other.functions
            && self.order == other.order
            && self.rules == other.rules
            && self.subscriptions == other.subscriptions
    }

    /// What is known after subscriptions went that have left the manifest, or why they can't go. Whether they
    /// have something pending is the engine's to check.
    pub(super) fn retire(&self, subscriptions: &[SubscriptionId]) -> Result<Self, String> {
        let mut next = self.clone();
        for id in subscriptions {
            match next.subscriptions.get(id) {
                Some(own) if !own.active => next.subscriptions.remove(id),
                Some(own) => return Err(format!("the subscription `{}` is active", own.name())),
                None => return Err(format!("there is no subscription number {}", id.0)),
            };
        }
        next.order_stored = true;
        Ok(next)
    }

    /// The components that some active function needs.
    pub(super) fn digests(&self) -> BTreeSet<Digest> {
        self.functions.values().map(|known| known.digest).collect()
    }

    /// True if another version than this one is active.
    pub(super) fn is_other(&self, expected: Option<u64>) -> bool {
        expected.is_some_and(|expected| expected != self.version)
    }

    /// Why `subscriptions` on `bus` can't be written, if they can't: a caller's mistake, not a user's.
    pub(super) fn check_targets(
        &self,
        bus: BusId,
        subscriptions: &[SubscriptionId],
    ) -> Result<(), String> {
        if !self.buses.contains_key(&bus) {
            return Err(format!("there is no bus number {}", bus.0));
        }
        for id in subscriptions {
            match self.subscriptions.get(id) {
                Some(known) if known.bus == bus => {}
                _ => {
                    return Err(format!(
                        "bus number {} has no subscription number {}",
                        bus.0, id.0
                    ));
                }
            }
        }
        Ok(())
    }

    /// `next` under the next version, or `self`'s if nothing differs; the first manifest always counts.
    fn raised(&self, mut next: Self) -> Self {
        next.order_stored = true;
        if !next.says_what(self) || self.version == 0 {
            next.version = self.version + 1;
        }
        next
    }

    /// Takes in the buses; returns the numbers of all that ever were, by name.
    fn declare_buses(&mut self, buses: &[BusConfig]) -> Result<BTreeMap<Name, BusId>, String> {
        let known = self.buses.iter();
        let mut numbers: BTreeMap<Name, BusId> =
            known.map(|(id, bus)| (bus.name.clone(), *id)).collect();
        let mut last = self.buses.last_key_value().map_or(0, |(id, _)| id.0);
        let mut named = BTreeSet::new();
        for config in buses {
            if !named.insert(&config.name) {
                return Err(format!("bus `{}` is declared twice", config.name));
            }
            let id = *numbers.entry(config.name.clone()).or_insert_with(|| {
                last += 1;
                BusId(last)
            });
            self.buses.insert(id, config.clone());
        }
        Ok(numbers)
    }

    fn revise(&mut self, name: &Name, digest: Digest, config: FunctionConfig, now: Timestamp) {
        let last = self.functions.get(name);
        if last.is_some_and(|last| last.digest == digest && last.config == config) {
            return;
        }
        let revision = Revision {
            name: name.clone(),
            digest,
            number: last.map_or(0, |last| last.number) + 1,
            deployed_at: now,
            config,
        };
        self.functions.insert(name.clone(), revision);
    }

    /// Makes the subscriptions follow the rules: one for each target, numbers kept by bus and name. A name
    /// that comes to another bus gets another number: a number's positions are those of one bus.
    fn subscribe(&mut self, buses: &BTreeMap<Name, BusId>) -> Result<(), String> {
        let mut numbers: HashMap<(BusId, SubscriptionName), SubscriptionId> =
            HashMap::with_capacity(self.subscriptions.len());
        for (id, known) in &self.subscriptions {
            numbers.insert((known.bus, known.name().clone()), *id);
        }
        let mut last = self.subscription_last;
        let mut names = HashSet::with_capacity(self.rules.len());
        let mut active = BTreeMap::new();
        for rule in self.rules_in_order() {
            let Some(bus) = buses.get(&rule.bus).copied() else {
                return Err(format!(
                    "rule `{}` looks at bus `{}`, which is not declared",
                    rule.name, rule.bus
                ));
            };
            for target in &rule.targets {
                self.check_target(&rule.name, &target.to)?;
                if !names.insert(&target.name) {
                    return Err(format!(
                        "rule `{}` names a subscription `{}`, and there is another of that name",
                        rule.name, target.name
                    ));
                }
                let identity = (bus, target.name.clone());
                let id = *numbers.entry(identity).or_insert_with(|| {
                    last += 1;
                    SubscriptionId(last)
                });
                let subscription = Subscription {
                    id,
                    rule: rule.name.clone(),
                    bus,
                    target: target.clone(),
                    active: true,
                };
                active.insert(id, subscription);
            }
        }
        // What stays as it is stays shared.
        for (id, own) in &mut self.subscriptions {
            match active.remove(id) {
                Some(now) if **own == now => {}
                Some(now) => *own = Arc::new(now),
                None if own.active => Arc::make_mut(own).active = false,
                None => {}
            }
        }
        let new = active.into_iter();
        self.subscriptions
            .extend(new.map(|(id, own)| (id, Arc::new(own))));
        self.subscription_last = last;
        Ok(())
    }

    /// Takes in the rules; one that is there keeps its number, and what it shares if it is the same.
    fn take_rules(&mut self, rules: &[RuleConfig]) -> Result<(), String> {
        let numbers = self.rules.iter();
        let numbers: HashMap<Name, u32> = numbers
            .map(|(number, rule)| (rule.name.clone(), *number))
            .collect();
        let mut named = HashSet::with_capacity(rules.len());
        let mut next = BTreeMap::new();
        self.order = Vec::with_capacity(rules.len());
        self.order_stored = true;
        for rule in rules {
            if !named.insert(&rule.name) {
                return Err(format!("rule `{}` is declared twice", rule.name));
            }
            let number = match numbers.get(&rule.name) {
                Some(number) => *number,
                None => {
                    self.rule_last += 1;
                    self.rule_last
                }
            };
            let same = self.rules.get(&number).filter(|own| ***own == *rule);
            let shared = same.cloned().unwrap_or_else(|| Arc::new(rule.clone()));
            next.insert(number, shared);
            self.order.push(number);
        }
        self.rules = next;
        Ok(())
    }

    /// Why a rule can't send to a target, if it can't.
    fn check_target(&self, rule: &Name, target: &Target) -> Result<(), String> {
        if !target.kind().is_built() {
            return Err(format!(
                "rule `{rule}` sends to {target}, and this release delivers to functions only"
            ));
        }
        match target.function() {
            Some(function) if !self.functions.contains_key(function) => Err(format!(
                "rule `{rule}` names function `{function}`, which is neither declared nor deployed"
            )),
            _ => Ok(()),
        }
    }
}
