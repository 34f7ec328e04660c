//! Rules: the active ones, and trying one on an event.

mod trial;

use edgebus_api as api;
use edgebus_rules::Pattern;

use super::call::{Answer, Call, raw, raw_text};
use super::page;
use super::problem::Problem;
use super::subscriptions::{limit, retry};
use super::target::named;
use edgebus_manifest::view::parse_pattern;
use edgebus_model::error::InputError;
use edgebus_model::{Code, InputConfig, RuleConfig, TargetConfig};

pub(super) use trial::test;

/// `GET /v1/rules`.
pub(super) async fn list(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let rules = call.app.bus.rules();
    let list = api::RuleList {
        rules: rules.iter().map(|rule| shown(rule)).collect(),
    };
    page::held(&call.app, &list)
}

fn shown(rule: &RuleConfig) -> api::Rule {
    api::Rule {
        name: rule.name.to_string(),
        bus: rule.bus.to_string(),
        enabled: rule.enabled,
        description: rule.description.clone(),
        // The pattern is JSON already.
        pattern: rule.pattern.as_deref().map(raw_text),
        filters: rule.filters.clone(),
        to: rule.targets.iter().map(target).collect(),
    }
}

/// A target, with its input as the manifest writes it.
fn target(target: &TargetConfig) -> api::Target {
    let (input, input_paths, input_template) = match &target.input {
        None => (None, None, None),
        Some(InputConfig::Path(path)) => (Some(raw(path)), None, None),
        // The template is JSON already.
        Some(InputConfig::Template(json)) => (Some(raw_text(json)), None, None),
        Some(InputConfig::EventBridge { paths, template }) => {
            let paths = paths.iter().cloned().collect();
            (None, Some(paths), Some(template.clone()))
        }
    };
    api::Target {
        target: named(&target.to),
        name: target.name.to_string(),
        input,
        input_paths,
        input_template,
        retry: retry(&target.retry),
        dead_letter_ms: limit(target.dead_letter_ms),
        dead_letter_bus: target.dead_letter_bus.as_ref().map(ToString::to_string),
    }
}

/// A pattern as in the manifest. Its errors point below `/match`.
pub(super) fn parsed(pattern: &str) -> Result<Pattern, Problem> {
    parse_pattern(pattern).map_err(|all| errors_of("the pattern can't be read", "/match", all))
}

fn errors_of(detail: &str, base: &str, all: Vec<edgebus_rules::ParseError>) -> Problem {
    let errors = all
        .into_iter()
        .map(|error| InputError {
            pointer: format!("{base}{}", error.pointer),
            place: None,
            reason: error.reason,
            remedy: error.remedy,
        })
        .collect();
    Problem::invalid(detail, errors).coded(Code::PatternInvalid)
}
