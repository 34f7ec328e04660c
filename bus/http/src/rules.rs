//! Rules: the active ones, and trying one on an event.

mod trial;

use edgebus_rules::Pattern;

use super::call::{Answer, Call};
use super::json::{Object, string};
use super::problem::Problem;
use super::{page, subscriptions, target};
use edgebus_manifest::view::parse_pattern;
use edgebus_model::error::InputError;
use edgebus_model::{Code, InputConfig, RuleConfig, TargetConfig};

pub(super) use trial::test;

/// Filters of one test.
pub(super) const FILTERS_MAX: usize = 32;

/// `GET /v1/rules`.
pub(super) async fn list(call: Call) -> Answer {
    call.query(&[])?;
    page::whole(&call.app, "rules", call.app.bus.rules(), |out, rule| {
        write(out, &rule);
    })
}

fn write(out: &mut Vec<u8>, rule: &RuleConfig) {
    let mut object = Object::new(out);
    object.text("name", rule.name.as_str());
    object.text("bus", rule.bus.as_str());
    object.boolean("enabled", rule.enabled);
    if let Some(description) = &rule.description {
        object.text("description", description);
    }
    // The pattern is JSON already.
    let pattern = rule.pattern.as_deref().unwrap_or("null");
    object.member("match").extend_from_slice(pattern.as_bytes());
    object.array("where", &rule.filters, |out, filter| string(out, filter));
    object.array("to", &rule.targets, |out, target| {
        let mut object = Object::new(out);
        target::write(&mut object, &target.to);
        object.text("name", target.name.as_str());
        write_input(&mut object, target);
        subscriptions::write_policy(&mut object, target);
        object.end();
    });
    object.end();
}

/// How the target's input is made, as the manifest writes it.
fn write_input(object: &mut Object<'_>, target: &TargetConfig) {
    match &target.input {
        None => {}
        Some(InputConfig::Path(path)) => object.text("input", path),
        // The template is JSON already.
        Some(InputConfig::Template(json)) => {
            object.member("input").extend_from_slice(json.as_bytes());
        }
        Some(InputConfig::EventBridge { paths, template }) => {
            let mut own = Object::new(object.member("input_paths"));
            for (name, path) in paths {
                own.text(name, path);
            }
            own.end();
            object.text("input_template", template);
        }
    }
}

/// A pattern as the manifest takes it; its errors are told below `/match`.
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
