//! What is in force at one moment: buses, compiled rules, subscriptions, functions. Immutable; readers
//! hold an `Arc` of it while a newer one takes its place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rules::{Dialect, Filter, ParseOptions, Pattern, RuleIndex, Transform};

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
    /// JSONPath filters, evaluated after the pattern.
    pub filters: Vec<Filter>,
    /// Who gets what it matches.
    pub subscriptions: Vec<SubscriptionId>,
}

/// One bus with its compiled rules.
pub struct BusRules {
    /// The bus's number.
    pub id: BusId,
    /// Its configuration.
    pub config: BusConfig,
    /// Its name, for telling.
    pub name: Arc<str>,
    /// Patterns, keyed by the place in `rules`.
    pub patterns: RuleIndex<usize>,
    /// Rules that take every event, by their place in `rules`.
    pub unconditional: Vec<usize>,
    /// The rules of this bus.
    pub rules: Vec<CompiledRule>,
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
    pub rules: Vec<RuleConfig>,
    /// Subscriptions, the inactive ones that still owe something included.
    pub subscriptions: HashMap<SubscriptionId, Arc<Subscription>>,
    /// How inputs are made for the subscriptions that don't take the event's own data.
    pub inputs: HashMap<SubscriptionId, Arc<Transform>>,
    /// Functions by name.
    pub functions: BTreeMap<Name, Arc<Deployed>>,
}

impl Snapshot {
    /// Compiles a catalog's rules; `functions` are compiled already.
    ///
    /// # Errors
    /// A stored pattern that no longer parses, which the manifest's checks rule out.
    pub fn compile(
        catalog: &Catalog,
        functions: BTreeMap<Name, Arc<Deployed>>,
    ) -> Result<Self, Fault> {
        let mut buses = BTreeMap::new();
        for (id, config, _) in &catalog.buses {
            buses.insert(
                config.name.clone(),
                Arc::new(compile_bus(catalog, *id, config)?),
            );
        }
        Ok(Self {
            version: catalog.version,
            manifest: Arc::from(catalog.manifest.as_str()),
            by_id: buses
                .values()
                .map(|bus: &Arc<BusRules>| (bus.id, bus.clone()))
                .collect(),
            buses,
            rules: catalog.rules.clone(),
            subscriptions: catalog
                .subscriptions
                .iter()
                .map(|subscription| (subscription.id, Arc::new(subscription.clone())))
                .collect(),
            inputs: compile_inputs(catalog)?,
            functions,
        })
    }

    /// The bus with this number.
    #[must_use]
    pub fn bus(&self, id: BusId) -> Option<&Arc<BusRules>> {
        self.by_id.get(&id)
    }
}

fn compile_inputs(catalog: &Catalog) -> Result<HashMap<SubscriptionId, Arc<Transform>>, Fault> {
    let mut inputs = HashMap::new();
    for subscription in &catalog.subscriptions {
        if let Some(input) = &subscription.target.input {
            let transform = view::compile_input(input).map_err(|faults| Fault {
                pointer: format!("/rules/{}/to", subscription.rule),
                place: None,
                reason: faults.first().map_or_else(String::new, ToString::to_string),
                remedy: String::new(),
            })?;
            inputs.insert(subscription.id, Arc::new(transform));
        }
    }
    Ok(inputs)
}

fn compile_bus(catalog: &Catalog, id: BusId, config: &BusConfig) -> Result<BusRules, Fault> {
    let options = ParseOptions {
        dialect: Dialect::Edgebus,
        aliases: &[],
    };
    let mut compiled = Vec::new();
    let mut patterns = RuleIndex::new();
    let mut unconditional = Vec::new();
    for rule in catalog.rules.iter().filter(|rule| rule.bus == config.name) {
        let fault = |reason: String| Fault {
            pointer: format!("/rules/{}", rule.name),
            place: None,
            reason,
            remedy: String::new(),
        };
        let place = compiled.len();
        match &rule.pattern {
            None => unconditional.push(place),
            Some(text) => {
                let pattern = Pattern::parse(text.as_bytes(), &options).map_err(|faults| {
                    fault(
                        faults
                            .iter()
                            .map(ToString::to_string)
                            .collect::<Vec<_>>()
                            .join("; "),
                    )
                })?;
                patterns.insert(place, &pattern);
            }
        }
        let filters = rule
            .filters
            .iter()
            .map(|text| Filter::parse(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|found| fault(found.to_string()))?;
        let subscriptions = catalog
            .subscriptions
            .iter()
            .filter(|subscription| {
                subscription.active && subscription.rule == rule.name && subscription.bus == id
            })
            .map(|subscription| subscription.id)
            .collect();
        compiled.push(CompiledRule {
            filters,
            subscriptions,
        });
    }
    Ok(BusRules {
        id,
        config: config.clone(),
        name: Arc::from(config.name.as_str()),
        patterns,
        unconditional,
        rules: compiled,
    })
}
