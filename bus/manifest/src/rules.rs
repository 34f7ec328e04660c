//! The section `rules`: which events go to which functions, and how failures are retried.
//!
//! The pattern and the filters are checked by the `rules` crate; its errors get places in the manifest
//! here. Never here: what a pattern means.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use edgebus_rules as engine;

use edgebus_model::rule::{DEFAULT_BUS, SYSTEM_BUS};
use edgebus_model::{
    Backoff, Name, RetryPolicy, RuleConfig, StartPosition, SubscriptionName, Target, TargetConfig,
    TargetKind, Timestamp,
};

pub use edgebus_model::target::DEAD_LETTER_MS_DEFAULT;

use super::Section;
use super::cursor::{Cursor, Fields};
use super::errors::{Errors, shown};
use super::input;
use super::nearest::nearest;
use super::pattern::{locate, pattern_json};
use super::scalar::{duration_text, name_of, subscription_name_of};
use super::shape::rules::{EXAMPLE, RULE, TARGET};
use super::shape::{Count, Words};
use super::tree::Value;
use crate::view::{PATTERNS, parse_filter, without_line_end};

/// How many declared names a misspelled one is compared with.
const NEAREST_AMONG: usize = 1_000;

/// What a rule may name.
pub(super) struct Declared<'n> {
    pub(super) buses: &'n BTreeSet<String>,
    pub(super) functions: &'n BTreeSet<String>,
}

/// Reads the section.
pub(super) fn read(
    section: Option<&Cursor<'_>>,
    known: &Declared<'_>,
    starts: &mut BTreeMap<Name, StartPosition>,
    errors: &mut Errors,
) -> Section<RuleConfig> {
    let mut rules = Section {
        items: Vec::new(),
        names: BTreeSet::new(),
    };
    let mut names = HashSet::new();
    let entries = section.and_then(|at| at.entries("`rules`", EXAMPLE, errors));
    for named in entries.unwrap_or_default() {
        rules.names.insert(named.key.to_owned());
        let name = name_of(named.key, &named.key_spot, errors);
        let rule = rule(&named.value, name, known, &mut names, errors);
        if let Some((rule, start)) = rule {
            if start != StartPosition::Now {
                starts.insert(rule.name.clone(), start);
            }
            rules.items.push(rule);
        }
    }
    rules
}

fn rule(
    at: &Cursor<'_>,
    name: Option<Name>,
    known: &Declared<'_>,
    names: &mut HashSet<SubscriptionName>,
    errors: &mut Errors,
) -> Option<(RuleConfig, StartPosition)> {
    let fields = at.fields(&RULE, errors)?;
    let bus = match fields.get("bus") {
        Some(at) => known_name(at, "bus", known.buses, errors),
        None => Name::new(DEFAULT_BUS).ok(),
    };
    let pattern = fields.get("match").map(|at| pattern(at, errors));
    let filters = fields.get("where").map(|at| {
        let (count, words) = (fields.bounds_of_list("where"), fields.words("where"));
        filters(at, count, words, errors)
    });
    let targets = fields.require("to", errors).and_then(|at| {
        let reading = Reading {
            rule: name.as_ref(),
            known,
            names,
        };
        targets(at, fields.bounds_of_list("to"), reading, errors)
    });
    let enabled = fields.flag("enabled", errors);
    let description = fields.get("description");
    let description =
        description.and_then(|at| at.filled_text(fields.words("description"), errors));
    let start = fields.get("from");
    let start = start.and_then(|at| start_position(at, fields.words("from"), errors));
    let rule = RuleConfig {
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
    };
    Some((rule, start.unwrap_or_default()))
}

fn start_position(at: &Cursor<'_>, words: Words, errors: &mut Errors) -> Option<StartPosition> {
    let text = at.filled_text(words, errors)?;
    let start = match text {
        "now" => Some(StartPosition::Now),
        "earliest" => Some(StartPosition::Earliest),
        time => Timestamp::of_rfc_3339(time).map(StartPosition::Time),
    };
    if start.is_none() {
        errors.add(
            &at.spot(),
            format!("`from` can't be `{}`", shown(text)),
            "write `now`, `earliest`, or a time in RFC 3339, as in 2026-11-21T06:30:16Z",
        );
    }
    start
}

/// A name that must be one of `catalog_state`.
pub(super) fn known_name(
    at: &Cursor<'_>,
    noun: &str,
    known: &BTreeSet<String>,
    errors: &mut Errors,
) -> Option<Name> {
    let name = at.name(&format!("`{noun}`"), errors)?;
    if known.contains(name.as_str()) {
        return Some(name);
    }
    let remedy = if errors.is_full() {
        String::new()
    } else {
        undeclared_remedy(&name, noun, known)
    };
    errors.add(
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

fn pattern(at: &Cursor<'_>, errors: &mut Errors) -> Option<String> {
    let empty = match &at.node.value {
        Value::Map(entries) => entries.is_empty(),
        _ => at.node.is_null(),
    };
    if empty {
        errors.add(
            &at.spot(),
            "an empty `match` would match nothing that can be named",
            "leave `match` out to get every event of the bus",
        );
        return None;
    }
    if !matches!(at.node.value, Value::Map(_)) {
        errors.add(
            &at.spot(),
            format!("`match` must be a mapping, not {}", at.node.kind()),
            "write it as in `match: { type: [com.github.issues] }`",
        );
        return None;
    }
    let json = pattern_json(at, errors)?;
    match engine::Pattern::parse(json.as_bytes(), &PATTERNS) {
        Ok(_) => Some(json),
        Err(found) => {
            for error in found {
                errors.add(&locate(at, &error.pointer), error.reason, error.remedy);
            }
            None
        }
    }
}

fn filters(at: &Cursor<'_>, count: Count, words: Words, errors: &mut Errors) -> Vec<String> {
    let items = match &at.node.value {
        Value::List(_) => at
            .items("`where`", "where: [\"$.data.x\"]", errors)
            .unwrap_or_default(),
        _ => vec![at.clone()],
    };
    if items.len() < count.least || items.len() > count.most {
        errors.add(
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
        .filter_map(|at| filter(at, words, errors))
        .collect()
}

fn filter(at: &Cursor<'_>, words: Words, errors: &mut Errors) -> Option<String> {
    let text = without_line_end(at.filled_text(words, errors)?);
    match parse_filter(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            errors.add(
                &at.spot(),
                format!("`{}`: {}", shown(text), error.reason),
                error.remedy,
            );
            None
        }
    }
}

/// What the targets of a rule are read with.
struct Reading<'r> {
    /// The rule's name, if that is one.
    rule: Option<&'r Name>,
    known: &'r Declared<'r>,
    /// The subscriptions of the manifest so far.
    names: &'r mut HashSet<SubscriptionName>,
}

fn targets(
    at: &Cursor<'_>,
    count: Count,
    mut reading: Reading<'_>,
    errors: &mut Errors,
) -> Option<Vec<TargetConfig>> {
    let items = at.items("`to`", TARGET.example, errors)?;
    if items.len() < count.least || items.len() > count.most {
        errors.add(
            &at.spot(),
            format!("`to` has {} targets", items.len()),
            format!(
                "write {} to {}, as in `{}`",
                count.least, count.most, TARGET.example
            ),
        );
        return None;
    }
    let read = |item| target(item, &mut reading, errors);
    Some(items.iter().filter_map(read).collect())
}

fn target(at: &Cursor<'_>, reading: &mut Reading<'_>, errors: &mut Errors) -> Option<TargetConfig> {
    let fields = at.fields(&TARGET, errors)?;
    let to = to(&fields, reading.known, errors);
    let named = fields.get("name");
    let name = match (named, reading.rule, &to) {
        (Some(at), ..) => at
            .filled_text(fields.words("name"), errors)
            .and_then(|text| subscription_name_of(text, &at.spot(), errors)),
        (None, Some(rule), Some(to)) => Some(SubscriptionName::of(rule, to)),
        (None, ..) => None,
    };
    if let Some(name) = &name
        && !reading.names.insert(name.clone())
    {
        let at = named.unwrap_or(at).spot();
        errors.add(
            &at,
            format!("another target of this manifest has the name `{name}`"),
            "give each target a `name` of its own; without one it is RULE/FUNCTION",
        );
    }
    let before = errors.count();
    let input = input::read(at, &fields, errors);
    // An invalid input counts as none, because the manifest is refused anyway.
    let input = input.filter(|_| errors.count() == before);
    let retry = fields.map("retry", errors);
    let retry = retry.map(|fields| retry_policy(&fields, errors));
    let dead_letter = fields.map("dead_letter", errors);
    let dead_letter_ms = dead_letter
        .as_ref()
        .and_then(|fields| fields.duration_ms("retention", errors));
    let dead_letter_bus = dead_letter
        .as_ref()
        .and_then(|fields| fields.get("bus"))
        .and_then(|at| {
            let name = known_name(at, "bus", reading.known.buses, errors)?;
            if name.as_str() != SYSTEM_BUS {
                return Some(name);
            }
            errors.add(
                &at.spot(),
                format!("the bus `{SYSTEM_BUS}` takes the bus's own events alone"),
                format!(
                    "name another bus; a rule of bus `{SYSTEM_BUS}` hears of dead letters anyway"
                ),
            );
            None
        });
    Some(TargetConfig {
        name: name?,
        to: to?,
        input,
        retry: retry.unwrap_or_default(),
        dead_letter_ms: dead_letter_ms.unwrap_or(DEAD_LETTER_MS_DEFAULT),
        dead_letter_bus,
    })
}

/// Who gets the event. The kinds that are not built yet were refused by name with the fields.
fn to(fields: &Fields<'_>, known: &Declared<'_>, errors: &mut Errors) -> Option<Target> {
    let mut kinds = TargetKind::ALL.iter().copied();
    let kind = kinds.find(|kind| fields.get(kind.word()).is_some());
    let kind = kind.unwrap_or(TargetKind::Function);
    if !kind.is_built() {
        return None;
    }
    let at = fields.require(kind.word(), errors)?;
    let name = match kind {
        TargetKind::Function => known_name(at, kind.word(), known.functions, errors)?,
        // No section declares the others.
        _ => at.name(&format!("`{}`", kind.word()), errors)?,
    };
    Some(kind.named(name))
}

/// The policy. An invalid value is replaced by its default, because the manifest is refused anyway.
fn retry_policy(fields: &Fields<'_>, errors: &mut Errors) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    let attempts = fields.count("attempts", errors);
    policy.attempts_max = attempts.unwrap_or(policy.attempts_max);
    let age = fields.duration_ms("max_age", errors);
    policy.age_ms_max = age.unwrap_or(policy.age_ms_max);
    if let Some(fields) = fields.map("backoff", errors) {
        policy.backoff = backoff(&fields, errors);
    }
    policy
}

fn backoff(fields: &Fields<'_>, errors: &mut Errors) -> Backoff {
    let mut backoff = RetryPolicy::default().backoff;
    let initial = fields.duration_ms("initial", errors);
    let most = fields.duration_ms("max", errors);
    let factor = fields.number("factor", errors);
    let jitter = fields.flag("jitter", errors);
    backoff.initial_ms = initial.unwrap_or(backoff.initial_ms);
    // A longer first delay raises a limit that is not written down.
    backoff.ms_max = most.unwrap_or(backoff.ms_max.max(backoff.initial_ms));
    backoff.factor = factor.unwrap_or(backoff.factor);
    backoff.jitter = jitter.unwrap_or(backoff.jitter);
    if let Some(most) = most
        && most < backoff.initial_ms
    {
        let initial = duration_text(backoff.initial_ms);
        errors.add(
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
