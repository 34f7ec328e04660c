//! Rules without a bus: what a manifest's rules make of an event, by the matcher that a running bus uses.
//!
//! Never here: a store, a function, or another idea of matching.

use std::collections::BTreeMap;

use crate::pipeline::{Snapshot, subscriptions};
use edgebus_manifest::Manifest;
use edgebus_manifest::view::{self, Verdict, View};
use edgebus_model::error::{Error, Kind};
use edgebus_model::{
    BusId, Event, Name, Position, RuleConfig, Subscription, SubscriptionId, SubscriptionName,
    Timestamp,
};
use edgebus_store::Catalog;

/// The compiled rules of a manifest.
pub struct Rulebook {
    snapshot: Snapshot,
}

impl Rulebook {
    /// Compiles the rules of `manifest`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a pattern that can't be compiled, which the manifest's checks rule out.
    pub fn new(manifest: &Manifest) -> Result<Self, Error> {
        let mut catalog = Catalog {
            rules: manifest.rules.clone(),
            ..Catalog::default()
        };
        let numbers: BTreeMap<&Name, BusId> = (1..)
            .zip(&manifest.buses)
            .map(|(number, bus)| (&bus.name, BusId(number)))
            .collect();
        for bus in &manifest.buses {
            let id = numbers[&bus.name];
            catalog.buses.push((id, bus.clone(), Position(0)));
        }
        for rule in &manifest.rules {
            let Some(bus) = numbers.get(&rule.bus) else {
                continue;
            };
            for target in &rule.targets {
                let number = u32::try_from(catalog.subscriptions.len()).unwrap_or(u32::MAX);
                catalog.subscriptions.push(Subscription {
                    id: SubscriptionId(number),
                    rule: rule.name.clone(),
                    bus: *bus,
                    target: target.clone(),
                    active: true,
                });
            }
        }
        let snapshot = Snapshot::compile(&catalog, BTreeMap::new(), None)
            .map_err(|error| Error::invalid("a rule can't be compiled", vec![error]))?;
        Ok(Self { snapshot })
    }

    /// The rules that `event` matches on `bus`, in the manifest's order, each once.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus; [`Kind::Invalid`] for data that claim to be JSON and can't be
    /// read, as publishing would answer.
    pub fn matched(&self, bus: &Name, event: &Event) -> Result<Vec<Name>, Error> {
        let Some(bus) = self.snapshot.buses.get(bus) else {
            return Err(Error::new(
                Kind::NotFound,
                format!("there is no bus `{bus}`"),
            ));
        };
        let found = subscriptions(bus, event)
            .map_err(|error| Error::new(Kind::Invalid, error.to_string()))?;
        let mut matched: Vec<Name> = Vec::new();
        for id in found.subscriptions {
            if let Some(subscription) = self.snapshot.subscriptions.get(&id)
                && matched.last() != Some(&subscription.rule)
            {
                matched.push(subscription.rule.clone());
            }
        }
        Ok(matched)
    }

    /// One of the rules.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&RuleConfig> {
        let mut rules = self.snapshot.rules.iter().map(AsRef::as_ref);
        rules.find(|rule: &&RuleConfig| rule.name.as_str() == name)
    }

    /// The subscription of this name, with its rule.
    #[must_use]
    pub fn subscription(&self, name: &str) -> Option<(&RuleConfig, &SubscriptionName)> {
        let rules = self.snapshot.rules.iter();
        let mut all =
            rules.flat_map(|rule| rule.targets.iter().map(move |own| (&**rule, &own.name)));
        all.find(|(_, own)| own.as_str() == name)
    }

    /// What `rule` makes of `event`, as if that were on the rule's bus; `None` if there is no such rule
    /// or no way to tell.
    #[must_use]
    pub fn verdict(&self, rule: &Name, event: &Event) -> Option<Verdict> {
        let rule = self.snapshot.rules.iter().find(|own| own.name == *rule)?;
        view::judge(rule, &View::new(event), Timestamp(0)).ok()
    }
}
