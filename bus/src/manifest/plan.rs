//! What applying a manifest would change, as lines for people.
//!
//! A pure comparison. Never here: versions and numbers of the store, and reading of components.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::rule::DEFAULT_BUS;
use crate::model::{BusConfig, Name, RuleConfig, TargetConfig};

use super::Manifest;
use super::functions::{ComponentSource, FunctionDeclaration};

/// One line for each change from `old` to `new`: buses, functions, rules and, under a changed rule,
/// its subscriptions. Empty if nothing would change. `replaced` are functions of both whose
/// component has other bytes than the deployed one: only who reads the files knows them.
#[must_use]
pub fn plan(old: &Manifest, new: &Manifest, replaced: &BTreeSet<Name>) -> Vec<String> {
    let mut lines = Vec::new();
    buses(old, new, &mut lines);
    functions(old, new, replaced, &mut lines);
    rules(old, new, &mut lines);
    lines
}

/// The items of both sides by name.
fn paired<'m, T>(
    old: &'m [T],
    new: &'m [T],
    name: impl Fn(&T) -> &Name,
) -> BTreeMap<&'m Name, (Option<&'m T>, Option<&'m T>)>
where
    T: 'm,
{
    let mut pairs: BTreeMap<&Name, (Option<&T>, Option<&T>)> = BTreeMap::new();
    for item in old {
        pairs.entry(name(item)).or_default().0 = Some(item);
    }
    for item in new {
        pairs.entry(name(item)).or_default().1 = Some(item);
    }
    pairs
}

/// The words of what differs.
fn changed<const N: usize>(aspects: [(&'static str, bool); N]) -> Vec<&'static str> {
    let differing = aspects.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(word, _)| word).collect()
}

fn buses(old: &Manifest, new: &Manifest, lines: &mut Vec<String>) {
    let usual = Name::new(DEFAULT_BUS).ok().map(BusConfig::with_defaults);
    for (name, (before, after)) in paired(&old.buses, &new.buses, |bus| &bus.name) {
        // The default bus is there on both sides, declared or not.
        let usual = usual.as_ref().filter(|usual| usual.name == *name);
        match (before.or(usual), after.or(usual)) {
            (None, _) => lines.push(format!("+ bus {name}")),
            (_, None) => lines.push(format!("- bus {name} (its log stays)")),
            (Some(before), Some(after)) => {
                let differing = changed([
                    (
                        "retention.age",
                        before.retention_age_ms != after.retention_age_ms,
                    ),
                    (
                        "retention.size",
                        before.retention_bytes != after.retention_bytes,
                    ),
                    ("dedupe", before.dedupe_ms != after.dedupe_ms),
                ]);
                push_changed(lines, &format!("bus {name}"), &differing);
            }
        }
    }
}

fn functions(old: &Manifest, new: &Manifest, replaced: &BTreeSet<Name>, lines: &mut Vec<String>) {
    for (name, (before, after)) in paired(&old.functions, &new.functions, |function| &function.name)
    {
        match (before, after) {
            (None, _) => lines.push(format!("+ function {name}")),
            (_, None) => lines.push(format!("- function {name}")),
            (Some(before), Some(after)) => {
                let component = replaced.contains(name) || other_digest(before, after);
                let (before, after) = (&before.config, &after.config);
                let differing = changed([
                    ("component", component),
                    ("limits", before.limits != after.limits),
                    ("config", before.config != after.config),
                    ("secrets", before.secrets != after.secrets),
                    ("allow_http", before.allow_http != after.allow_http),
                ]);
                push_changed(lines, &format!("function {name}"), &differing);
            }
        }
    }
}

/// True where both name a component by digest and the digests differ. Another path is no change.
fn other_digest(before: &FunctionDeclaration, after: &FunctionDeclaration) -> bool {
    match (&before.component, &after.component) {
        (Some(ComponentSource::Digest(before)), Some(ComponentSource::Digest(after))) => {
            before != after
        }
        _ => false,
    }
}

fn rules(old: &Manifest, new: &Manifest, lines: &mut Vec<String>) {
    for (name, (before, after)) in paired(&old.rules, &new.rules, |rule| &rule.name) {
        match (before, after) {
            (None, _) => lines.push(format!("+ rule {name}")),
            (Some(before), None) => {
                let owed = match before.targets.len() {
                    1 => "1 subscription keeps what it owes".to_owned(),
                    count => format!("{count} subscriptions keep what they owe"),
                };
                lines.push(format!("- rule {name} ({owed})"));
            }
            (Some(before), Some(after)) => {
                let differing = changed([
                    ("bus", before.bus != after.bus),
                    ("match", before.pattern != after.pattern),
                    ("where", before.filters != after.filters),
                ]);
                push_changed(lines, &format!("rule {name}"), &differing);
                subscriptions(before, after, lines);
            }
        }
    }
}

fn subscriptions(before: &RuleConfig, after: &RuleConfig, lines: &mut Vec<String>) {
    let of = |target: &TargetConfig| format!("subscription {}/{}", after.name, target.function);
    let pairs = paired(&before.targets, &after.targets, |target| &target.function);
    for (before, after) in pairs.into_values() {
        match (before, after) {
            (None, None) => {}
            (None, Some(after)) => lines.push(format!("+ {}", of(after))),
            (Some(before), None) => {
                lines.push(format!("- {} (keeps what it owes)", of(before)));
            }
            (Some(before), Some(after)) => {
                let differing = changed([
                    ("retry", before.retry != after.retry),
                    ("dead_letter", before.dead_letter_ms != after.dead_letter_ms),
                ]);
                push_changed(lines, &of(after), &differing);
            }
        }
    }
}

fn push_changed(lines: &mut Vec<String>, what: &str, differing: &[&str]) {
    if !differing.is_empty() {
        lines.push(format!("~ {what} ({})", differing.join(", ")));
    }
}
