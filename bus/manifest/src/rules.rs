//! The section `rules`: which events go to which functions, and how failures are retried.
//!
//! The pattern and the filters are checked by the `rules` crate; its faults get places in the manifest
//! here. Never here: what a pattern means.

use std::collections::{BTreeSet, HashSet};

use ::rules as engine;

use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{
    Backoff, Name, RetryPolicy, RuleConfig, SubscriptionName, Target, TargetConfig, TargetKind,
};

pub use edgebus_model::target::DEAD_LETTER_MS_DEFAULT;

use super::Section;
use super::cursor::{Cursor, Fields};
use super::faults::{Faults, shown};
use super::input;
use super::nearest::nearest;
use super::pattern::{locate, pattern_json};
use super::scalar::{duration_text, name_of, subscription_name_of};
use super::shape::rules::{EXAMPLE, RULE, TARGET};
use super::shape::{Count, Words};
use super::tree::Value;
use crate::view::{PATTERNS, parse_filter};

/// How many declared names a misspelled one is compared with.
const NEAREST_AMONG: usize = 1_000;

/// What a rule may name.
pub(super) struct Known<'n> {
    pub(super) buses: &'n BTreeSet<String>,
    pub(super) functions: &'n BTreeSet<String>,
}

/// Reads the section.
pub(super) fn read(
    section: Option<&Cursor<'_>>,
    known: &Known<'_>,
    faults: &mut Faults,
) -> Section<RuleConfig> {
    let mut rules = Section {
        items: Vec::new(),
        names: BTreeSet::new(),
    };
    let mut names = HashSet::new();
    let entries = section.and_then(|at| at.entries("`rules`", EXAMPLE, faults));
    for named in entries.unwrap_or_default() {
        rules.names.insert(named.key.to_owned());
        let name = name_of(named.key, &named.key_spot, faults);
        let rule = rule(&named.value, name, known, &mut names, faults);
        rules.items.extend(rule);
    }
    rules
}

fn rule(
    at: &Cursor<'_>,
    name: Option<Name>,
    known: &Known<'_>,
    names: &mut HashSet<SubscriptionName>,
    faults: &mut Faults,
) -> Option<RuleConfig> {
    let fields = at.fields(&RULE, faults)?;
    let bus = match fields.get("bus") {
        Some(at) => known_name(at, "bus", known.buses, faults),
        None => Name::new(DEFAULT_BUS).ok(),
    };
    let pattern = fields.get("match").map(|at| pattern(at, faults));
    let filters = fields.get("where").map(|at| {
        let (count, words) = (fields.bounds_of_list("where"), fields.words("where"));
        filters(at, count, words, faults)
    });
    let targets = fields.require("to", faults).and_then(|at| {
        let reading = Reading {
            rule: name.as_ref(),
            known,
            names,
        };
        targets(at, fields.bounds_of_list("to"), reading, faults)
    });
    let enabled = fields.flag("enabled", faults);
    let description = fields.get("description");
    let description =
        description.and_then(|at| at.filled_text(fields.words("description"), faults));
    Some(RuleConfig {
        enabled: enabled.unwrap_or(true),
        description: description.map(str::to_owned),
        name: name?,
        bus: bus?,
        pattern: match pattern {
            Some(pattern) => Some(pattern?),
            None => None,
        },
        filters: filters.unwrap_or_default(),
        targets: targets?,
    })
}

/// A name that must be one of `known`.
pub(super) fn known_name(
    at: &Cursor<'_>,
    noun: &str,
    known: &BTreeSet<String>,
    faults: &mut Faults,
) -> Option<Name> {
    let name = at.name(&format!("`{noun}`"), faults)?;
    if known.contains(name.as_str()) {
        return Some(name);
    }
    let remedy = if faults.is_full() {
        String::new()
    } else {
        undeclared_remedy(&name, noun, known)
    };
    faults.add(
        &at.spot(),
        format!("{noun} `{name}` is not declared"),
        remedy,
    );
    None
}

fn undeclared_remedy(name: &Name, noun: &str, known: &BTreeSet<String>) -> String {
    let words = known.iter().take(NEAREST_AMONG).map(String::as_str);
    match (nearest(name.as_str(), words), noun) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, "function") => format!(
            "declare it under `functions`; `{name}: {{}}` takes the component that is deployed under that name"
        ),
        (None, "bus") => "declare it under `buses`".to_owned(),
        (None, _) => format!("declare it under `{noun}s`"),
    }
}

fn pattern(at: &Cursor<'_>, faults: &mut Faults) -> Option<String> {
    let empty = match &at.node.value {
        Value::Map(entries) => entries.is_empty(),
        _ => at.node.is_null(),
    };
    if empty {
        faults.add(
            &at.spot(),
            "an empty `match` would match nothing that can be named",
            "leave `match` out to get every event of the bus",
        );
        return None;
    }
    if !matches!(at.node.value, Value::Map(_)) {
        faults.add(
            &at.spot(),
            format!("`match` must be a mapping, not {}", at.node.kind()),
            "write it as in `match: { type: [com.github.issues] }`",
        );
        return None;
    }
    let json = pattern_json(at, faults)?;
    match engine::Pattern::parse(json.as_bytes(), &PATTERNS) {
        Ok(_) => Some(json),
        Err(found) => {
            for fault in found {
                faults.add(&locate(at, &fault.pointer), fault.reason, fault.remedy);
            }
            None
        }
    }
}

fn filters(at: &Cursor<'_>, count: Count, words: Words, faults: &mut Faults) -> Vec<String> {
    let items = match &at.node.value {
        Value::List(_) => at
            .items("`where`", "where: [\"$.data.x\"]", faults)
            .unwrap_or_default(),
        _ => vec![at.clone()],
    };
    if items.len() < count.least || items.len() > count.most {
        faults.add(
            &at.spot(),
            format!("`where` has {} filters", items.len()),
            format!(
                "write {} to {}, or leave `where` out",
                count.least, count.most
            ),
        );
        return Vec::new();
    }
    items
        .iter()
        .filter_map(|at| filter(at, words, faults))
        .collect()
}

fn filter(at: &Cursor<'_>, words: Words, faults: &mut Faults) -> Option<String> {
    // A block of YAML (`where: |`) ends with a line end, which is no part of the query.
    let text = at
        .filled_text(words, faults)?
        .trim_end_matches(['\r', '\n']);
    match parse_filter(text) {
        Ok(_) => Some(text.to_owned()),
        Err(fault) => {
            faults.add(
                &at.spot(),
                format!("`{}`: {}", shown(text), fault.reason),
                fault.remedy,
            );
            None
        }
    }
}

/// What the targets of a rule are read with.
struct Reading<'r> {
    /// The rule's name, if that is one.
    rule: Option<&'r Name>,
    known: &'r Known<'r>,
    /// The subscriptions of the manifest so far.
    names: &'r mut HashSet<SubscriptionName>,
}

fn targets(
    at: &Cursor<'_>,
    count: Count,
    mut reading: Reading<'_>,
    faults: &mut Faults,
) -> Option<Vec<TargetConfig>> {
    let items = at.items("`to`", TARGET.example, faults)?;
    if items.len() < count.least || items.len() > count.most {
        faults.add(
            &at.spot(),
            format!("`to` has {} targets", items.len()),
            format!(
                "write {} to {}, as in `{}`",
                count.least, count.most, TARGET.example
            ),
        );
        return None;
    }
    let read = |item| target(item, &mut reading, faults);
    Some(items.iter().filter_map(read).collect())
}

fn target(at: &Cursor<'_>, reading: &mut Reading<'_>, faults: &mut Faults) -> Option<TargetConfig> {
    let fields = at.fields(&TARGET, faults)?;
    let to = to(&fields, reading.known, faults);
    let named = fields.get("name");
    let name = match (named, reading.rule, &to) {
        (Some(at), ..) => at
            .filled_text(fields.words("name"), faults)
            .and_then(|text| subscription_name_of(text, &at.spot(), faults)),
        (None, Some(rule), Some(to)) => Some(SubscriptionName::of(rule, to)),
        (None, ..) => None,
    };
    if let Some(name) = &name
        && !reading.names.insert(name.clone())
    {
        let at = named.unwrap_or(at).spot();
        faults.add(
            &at,
            format!("another target of this manifest has the name `{name}`"),
            "give each target a `name` of its own; without one it is RULE/FUNCTION",
        );
    }
    let before = faults.count();
    let input = input::read(at, &fields, faults);
    // An input at fault is no input, and the manifest is refused anyway.
    let input = input.filter(|_| faults.count() == before);
    let retry = fields.map("retry", faults);
    let retry = retry.map(|fields| retry_policy(&fields, faults));
    let dead_letter = fields
        .map("dead_letter", faults)
        .and_then(|fields| fields.duration_ms("retention", faults));
    Some(TargetConfig {
        name: name?,
        to: to?,
        input,
        retry: retry.unwrap_or_default(),
        dead_letter_ms: dead_letter.unwrap_or(DEAD_LETTER_MS_DEFAULT),
    })
}

/// Who gets the event. The kinds that are not built yet were refused by name with the fields.
fn to(fields: &Fields<'_>, known: &Known<'_>, faults: &mut Faults) -> Option<Target> {
    let other = TargetKind::ALL.into_iter().filter(|kind| !kind.is_built());
    let elsewhere = other
        .map(TargetKind::word)
        .any(|word| fields.get(word).is_some());
    let function = if elsewhere {
        fields.get("function")
    } else {
        fields.require("function", faults)
    };
    let name = function.and_then(|at| known_name(at, "function", known.functions, faults))?;
    Some(Target::Function(name))
}

/// The policy; a value at fault keeps its default, for the manifest is refused anyway.
fn retry_policy(fields: &Fields<'_>, faults: &mut Faults) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    let attempts = fields.count("attempts", faults);
    policy.attempts_max = attempts.unwrap_or(policy.attempts_max);
    let age = fields.duration_ms("max_age", faults);
    policy.age_ms_max = age.unwrap_or(policy.age_ms_max);
    if let Some(fields) = fields.map("backoff", faults) {
        policy.backoff = backoff(&fields, faults);
    }
    policy
}

fn backoff(fields: &Fields<'_>, faults: &mut Faults) -> Backoff {
    let mut backoff = RetryPolicy::default().backoff;
    let initial = fields.duration_ms("initial", faults);
    let most = fields.duration_ms("max", faults);
    let factor = fields.number("factor", faults);
    let jitter = fields.flag("jitter", faults);
    backoff.initial_ms = initial.unwrap_or(backoff.initial_ms);
    // A longer first delay raises a limit that is not written down.
    backoff.ms_max = most.unwrap_or(backoff.ms_max.max(backoff.initial_ms));
    backoff.factor = factor.unwrap_or(backoff.factor);
    backoff.jitter = jitter.unwrap_or(backoff.jitter);
    if let Some(most) = most
        && most < backoff.initial_ms
    {
        let initial = duration_text(backoff.initial_ms);
        faults.add(
            fields.spot(),
            format!(
                "`max` ({}) is shorter than `initial` ({initial})",
                duration_text(most)
            ),
            format!("write a `max` of {initial} or more"),
        );
    }
    backoff
}
