//! The section `buses`: each bus with its retention and its dedupe window.

use std::collections::BTreeSet;

use crate::model::rule::DEFAULT_BUS;
use crate::model::{BusConfig, Name};

use super::Section;
use super::cursor::{Cursor, Shape};
use super::faults::Faults;
use super::scalar::{Bounds, name_of};

const EXAMPLE: &str = "default: { retention: { age: 7d, size: 10GiB }, dedupe: 24h }";

const BUS: Shape = Shape {
    what: "a bus",
    known: &["retention", "dedupe"],
    later: &[],
    example: EXAMPLE,
};

const RETENTION: Shape = Shape {
    what: "`retention` of a bus",
    known: &["age", "size"],
    later: &[],
    example: "retention: { age: 7d, size: 10GiB }",
};

const AGE: Bounds = Bounds {
    what: "`retention.age`",
    least: 60_000,
    most: 3_650 * 86_400_000,
};
const SIZE: Bounds = Bounds {
    what: "`retention.size`",
    least: 1 << 20,
    most: 16 << 40,
};
const DEDUPE: Bounds = Bounds {
    what: "`dedupe`",
    least: 1_000,
    most: 30 * 86_400_000,
};

/// Reads the section; the default bus is added where it is not declared.
pub(super) fn read(section: Option<&Cursor<'_>>, faults: &mut Faults) -> Section<BusConfig> {
    let mut buses = Section {
        items: Vec::new(),
        names: BTreeSet::new(),
    };
    let entries = section.and_then(|at| at.entries("`buses`", EXAMPLE, faults));
    for named in entries.unwrap_or_default() {
        buses.names.insert(named.key.to_owned());
        let name = name_of(named.key, &named.key_spot, faults);
        let bus = bus(&named.value, name, faults);
        buses.items.extend(bus);
    }
    if !buses.names.contains(DEFAULT_BUS) {
        buses.names.insert(DEFAULT_BUS.to_owned());
        let name = Name::new(DEFAULT_BUS).expect("the default bus has a good name");
        buses.items.push(BusConfig::with_defaults(name));
    }
    buses
}

fn bus(at: &Cursor<'_>, name: Option<Name>, faults: &mut Faults) -> Option<BusConfig> {
    let fields = at.fields(&BUS, faults)?;
    let age = fields
        .get("retention")
        .and_then(|retention| retention.fields(&RETENTION, faults));
    let (age, size) = match &age {
        Some(retention) => (
            retention.get("age").map(|at| at.duration_ms(AGE, faults)),
            retention.get("size").map(|at| at.size_bytes(SIZE, faults)),
        ),
        None => (None, None),
    };
    let dedupe = fields
        .get("dedupe")
        .map(|at| at.duration_ms(DEDUPE, faults));
    let mut bus = BusConfig::with_defaults(name?);
    bus.retention_age_ms = age.unwrap_or(Some(bus.retention_age_ms))?;
    bus.retention_bytes = size.unwrap_or(Some(bus.retention_bytes))?;
    bus.dedupe_ms = dedupe.unwrap_or(Some(bus.dedupe_ms))?;
    Some(bus)
}
