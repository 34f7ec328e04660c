//! Warnings: what is valid in a manifest but probably not meant, each with its place.
//!
//! Never here: files, and reasons to refuse.

mod literals;
mod loops;
mod names;
mod patterns;

pub use names::{Lint, Warning};

use std::collections::BTreeSet;

use crate::view::{compile_input, parse_filter};
use edgebus_model::error::InputError;
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{Backoff, Name, RuleConfig};

use super::document::{Document, Side};
use super::errors::{join, shown};
use super::scalar::duration_text;

/// Every warning of a manifest without errors, in the order of the text. `is_set` says whether a
/// secret has a value where the question is asked.
#[must_use]
pub fn warnings(document: &Document, is_set: &dyn Fn(&str) -> bool) -> Vec<Warning> {
    let mut found: Vec<Warning> = Vec::new();
    found.extend(Lint::NotApplied.each(|found| not_applied(document, found)));
    found.extend(Lint::SecretUnset.each(|found| secrets(document, is_set, found)));
    found.extend(Lint::UnusedFunction.each(|found| unused_functions(document, found)));
    for rule in &document.manifest.rules {
        found.extend(Lint::SlowRetry.each(|found| slow_retries(document, rule, found)));
        found.extend(Lint::UnusedPath.each(|found| unused_paths(document, rule, found)));
        found.extend(Lint::CostlyQuery.each(|found| costly_queries(document, rule, found)));
        found.extend(Lint::AttributeIsText.each(|found| typed_attributes(document, rule, found)));
        let literals = literals::check(document, rule);
        found.extend(Lint::NearAttribute.each(|found| found.extend(literals.near)));
        found.extend(Lint::StarInValue.each(|found| found.extend(literals.stars)));
    }
    found.extend(Lint::DeadLetterLoop.each(|found| loops::check(document, found)));
    found.extend(Lint::UntestedRule.each(|found| untested_rules(document, found)));
    let mut twice = Vec::new();
    found.extend(Lint::NeverMatches.each(|found| patterns::check(document, found, &mut twice)));
    found.extend(Lint::SentTwice.each(|found| found.append(&mut twice)));
    found.sort_by_key(|warning| warning.error.place);
    found
}

/// Keys that are read and stored but have no effect yet. The warning keeps users from relying on them.
fn not_applied(document: &Document, found: &mut Vec<InputError>) {
    for function in &document.manifest.functions {
        if !function.config.allow_http.is_empty() {
            found.push(document.note(
                &format!("/functions/{}/allow_http", function.name),
                Side::Key,
                "`allow_http` allows nothing yet: there is no outgoing HTTP",
                "leave it out until there is",
            ));
        }
    }
}

fn secrets(document: &Document, is_set: &dyn Fn(&str) -> bool, found: &mut Vec<InputError>) {
    for function in &document.manifest.functions {
        for (index, secret) in function.config.secrets.iter().enumerate() {
            if !is_set(secret) {
                found.push(document.note(
                    &format!("/functions/{}/secrets/{index}", function.name),
                    Side::Value,
                    format!("the secret `{secret}` is not set here"),
                    format!(
                        "set EDGEBUS_SECRET_{secret} in the environment of the bus, or put it into a file {secret} in the folder that EDGEBUS_SECRETS_DIR names"
                    ),
                ));
            }
        }
    }
}

fn unused_functions(document: &Document, found: &mut Vec<InputError>) {
    let targets = document
        .manifest
        .rules
        .iter()
        .flat_map(|rule| &rule.targets);
    let named: BTreeSet<&Name> = targets.filter_map(|target| target.to.function()).collect();
    for function in &document.manifest.functions {
        if !named.contains(&function.name) {
            found.push(document.note(
                &join("/functions", function.name.as_str()),
                Side::Key,
                format!("no rule sends events to function `{}`", function.name),
                "name it in `to` of a rule, or leave it out",
            ));
        }
    }
}

/// A delivery that is too old before its next attempt is never tried as often as is written.
fn slow_retries(document: &Document, rule: &RuleConfig, found: &mut Vec<InputError>) {
    for (index, target) in rule.targets.iter().enumerate() {
        let retry = &target.retry;
        let unjittered = Backoff {
            jitter: false,
            ..retry.backoff
        };
        // The longest delay is the one before the last attempt.
        let failures = retry.attempts_max.saturating_sub(1);
        let delay = unjittered.delay_ms(failures, 0);
        if failures == 0 || delay <= retry.age_ms_max {
            continue;
        }
        let key = if retry.backoff.initial_ms > retry.age_ms_max {
            "initial"
        } else {
            "max"
        };
        let written = format!("/rules/{}/to/{index}/retry", rule.name);
        found.push(document.note(
            &format!("{written}/backoff/{key}"),
            Side::Value,
            format!(
                "a delay of {} is longer than `max_age` ({}): such an attempt is never made",
                duration_text(delay),
                duration_text(retry.age_ms_max)
            ),
            format!("write a longer `max_age`, or a shorter `{key}`"),
        ));
    }
}

/// A path that the template does not use is a slip of its name, or left over.
fn unused_paths(document: &Document, rule: &RuleConfig, found: &mut Vec<InputError>) {
    for (index, target) in rule.targets.iter().enumerate() {
        let Some(transform) = target
            .input
            .as_ref()
            .and_then(|input| compile_input(input).ok())
        else {
            continue;
        };
        for name in transform.unused_names() {
            let paths = format!("/rules/{}/to/{index}/input_paths", rule.name);
            found.push(document.note(
                &join(&paths, name),
                Side::Key,
                format!("`input_template` has no <{name}>"),
                "put it into the template, or leave the path out",
            ));
        }
    }
}

/// A query that may take more steps than a large event leaves it doesn't hold for that event.
fn costly_queries(document: &Document, rule: &RuleConfig, found: &mut Vec<InputError>) {
    const REMEDY: &str = "name the fields on the way; past the limit of steps for an event a filter does not hold, and an input can't be made";
    let mut tell = |pointer: String, reason: &str| {
        let reason = format!("the query may take far more steps than the event is long: {reason}");
        found.push(document.note(&pointer, Side::Value, reason, REMEDY));
    };
    for (index, text) in rule.filters.iter().enumerate() {
        let filter = parse_filter(text).ok();
        if let Some(reason) = filter.and_then(|filter| filter.may_outgrow()) {
            // One query may be written without a list, and then it has the place of the list.
            let rule = join("/rules", rule.name.as_str());
            tell(format!("{rule}/where/{index}"), reason);
        }
    }
    for (index, target) in rule.targets.iter().enumerate() {
        let input = target.input.as_ref();
        let transform = input.and_then(|input| compile_input(input).ok());
        if let Some(reason) = transform.and_then(|transform| transform.may_outgrow()) {
            let target = format!("{}/to/{index}", join("/rules", rule.name.as_str()));
            tell(target, reason);
        }
    }
}

/// An attribute is a text, so a number or a boolean is never equal to it, larger or smaller.
fn typed_attributes(document: &Document, rule: &RuleConfig, found: &mut Vec<InputError>) {
    for (index, text) in rule.filters.iter().enumerate() {
        let Ok(filter) = parse_filter(text) else {
            continue;
        };
        for (name, literal) in filter.typed_members().filter(|(name, _)| *name != "data") {
            let what = match literal.is_boolean() {
                true => "boolean",
                false => "number",
            };
            found.push(document.note(
                &format!("{}/where/{index}", join("/rules", rule.name.as_str())),
                Side::Value,
                format!(
                    "the attribute `{}` is a text, which is never equal to the {what} {literal}, larger or smaller",
                    shown(name)
                ),
                format!("write '{literal}' for the text; what numbers are compared with has to be in the data"),
            ));
        }
    }
}

/// If the manifest has tests, a rule in none of them is probably forgotten. Without tests it is a choice.
fn untested_rules(document: &Document, found: &mut Vec<InputError>) {
    let manifest = &document.manifest;
    if manifest.tests.is_empty() {
        return;
    }
    let expected: BTreeSet<&Name> = manifest
        .tests
        .iter()
        .flat_map(|test| &test.expect)
        .collect();
    for rule in manifest.rules.iter().filter(|rule| rule.enabled) {
        if !expected.contains(&rule.name) {
            let bus = match rule.bus.as_str() {
                DEFAULT_BUS => String::new(),
                bus => format!(", bus: {bus}"),
            };
            found.push(document.note(
                &join("/rules", rule.name.as_str()),
                Side::Key,
                format!("no test expects rule `{}`", rule.name),
                format!(
                    "add one to `tests`: - {{ name: {0}{bus}, event: events/{0}.json, expect: [{0}] }}",
                    rule.name
                ),
            ));
        }
    }
}
