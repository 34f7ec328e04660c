//! The section `buses`: each bus with its retention and its dedupe window.

use std::collections::BTreeSet;

use edgebus_model::rule::{DEFAULT_BUS, SYSTEM_BUS};
use edgebus_model::{BusConfig, Differing, Name, RuleConfig};

use super::Section;
use super::cursor::Cursor;
use super::errors::Errors;
use super::scalar::name_of;
use super::shape::buses::{BUS, EXAMPLE};

/// Reads the section; the default bus is added where it is not declared.
pub(super) fn read(section: Option<&Cursor<'_>>, errors: &mut Errors) -> Section<BusConfig> {
    let mut buses = Section {
        items: Vec::new(),
        names: BTreeSet::new(),
    };
    let entries = section.and_then(|at| at.entries("`buses`", EXAMPLE, errors));
    for named in entries.unwrap_or_default() {
        buses.names.insert(named.key.to_owned());
        let name = name_of(named.key, &named.key_spot, errors);
        let bus = bus(&named.value, name, errors);
        buses.items.extend(bus);
    }
    if !buses.names.contains(DEFAULT_BUS) {
        buses.names.insert(DEFAULT_BUS.to_owned());
        let name = Name::new(DEFAULT_BUS).expect("the default bus has a good name");
        buses.items.push(BusConfig::with_defaults(name));
    }
    // It needs no declaration.
    buses.names.insert(SYSTEM_BUS.to_owned());
    buses
}

/// Adds the bus of the bus's own events where a rule looks at it and it is not declared.
pub(super) fn name_system_bus(buses: &mut Section<BusConfig>, rules: &[RuleConfig]) {
    let is_it = |name: &Name| name.as_str() == SYSTEM_BUS;
    let declared = buses.items.iter().any(|bus| is_it(&bus.name));
    if let Some(rule) = rules.iter().find(|rule| is_it(&rule.bus))
        && !declared
    {
        buses.items.push(BusConfig::with_defaults(rule.bus.clone()));
    }
}

fn bus(at: &Cursor<'_>, name: Option<Name>, errors: &mut Errors) -> Option<BusConfig> {
    let fields = at.fields(&BUS, errors)?;
    let retention = fields.map("retention", errors);
    let retention = retention.as_ref();
    let age = retention.and_then(|fields| fields.duration_ms("age", errors));
    let size = retention.and_then(|fields| fields.size_bytes("size", errors));
    let dedupe = fields.duration_ms("dedupe", errors);
    let differing = fields.choice("differing", errors);
    // An invalid value is replaced by the default, because the manifest is refused anyway.
    let mut bus = BusConfig::with_defaults(name?);
    bus.retention_age_ms = age.unwrap_or(bus.retention_age_ms);
    bus.retention_bytes = size.unwrap_or(bus.retention_bytes);
    bus.dedupe_ms = dedupe.unwrap_or(bus.dedupe_ms);
    bus.differing = match differing {
        Some(1) => Differing::Duplicate,
        _ => Differing::Refuse,
    };
    Some(bus)
}
