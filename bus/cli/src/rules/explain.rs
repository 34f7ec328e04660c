//! `edgebus rules explain`: what one rule makes of an event from a file. The rule is an active one, one of
//! a manifest, or a pattern and filters that are typed; the last two need no bus.
//!
//! Never here: another idea of matching. The verdict is `view`'s, as the bus's own are.

use std::path::PathBuf;

use edgebus_api::Rule;

use crate::connection::Connection;
use crate::events::pattern_text;
use crate::output::{self, JSON_COLUMNS, json, plain};
use crate::story::Explained;
use crate::validate::{Checked, Format};
use crate::{Failure, OK, event_file, moment};
use edgebus_http::verdict::{of_rule, of_trial};
use edgebus_manifest::view::{self, Unjudged, Verdict, View, parse_filter, parse_pattern};
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{Code, InputConfig, Name, RuleConfig, SubscriptionName, Target, TargetConfig};

/// Rules of a manifest that are named where the wanted one is not there.
const NAMED_MAX: usize = 20;

#[derive(clap::Args, Debug)]
#[command(
    group = clap::ArgGroup::new("which").required(true).multiple(true).args(["name", "pattern", "filters"]),
    after_help = "Examples:
  edgebus rules explain orders --event event.json
  edgebus rules explain orders --event event.json --manifest edgebus.yaml
  edgebus rules explain --event event.json --match '{\"data\": {\"total\": [{\"numeric\": [\">\", 100]}]}}'
  edgebus events export --after 41 --limit 1 | edgebus rules explain orders --event -

NO stands at the first condition that was missed, no at the others.
With --manifest, --match or --where no bus is needed. The exit code is 0 whether it matched or not."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// An active rule, or of --manifest.
    #[arg(value_name = "NAME", conflicts_with_all = ["pattern", "filters"])]
    name: Option<String>,
    /// A CloudEvent in JSON; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    event: String,
    /// Try this pattern instead of a rule: JSON, or @FILE.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
    /// Try this filter instead of a rule's, or beside --match; may be given again.
    #[arg(long = "where", value_name = "JSONPATH")]
    filters: Vec<String>,
    /// Take the rule from this manifest, without a bus.
    #[arg(long, value_name = "FILE", requires = "name")]
    manifest: Option<PathBuf>,
    /// How to print the verdict.
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let bytes = event_file::read(&arguments.event)?;
    let hint = "It needs specversion, id, source and type; rules look at the rest";
    let event = event_file::structured(&arguments.event, &bytes, hint)?;
    let rule = match (&arguments.name, &arguments.manifest) {
        (None, _) => typed(&arguments)?,
        (Some(name), Some(file)) => of_manifest(name, file)?,
        (Some(name), None) => active(name, &arguments.connection).await?,
    };
    let seen = View::new(&event);
    let mut verdict = view::check_keys(&rule, &seen)
        .and_then(|()| view::judge(&rule, &seen, moment::now()))
        .map_err(|error| match error {
            Unjudged::Event(input_error) => {
                Failure::new(format!("a bus would refuse the event: {input_error}"))
                    .coded(Code::EventInvalid)
            }
            Unjudged::Rule(reason) => Failure::new(format!("the rule can't be read: {reason}"))
                .coded(Code::PatternInvalid),
        })?;
    if arguments.output == Format::Json {
        let document = document(verdict, arguments.name.is_some())?;
        return output::write(&format!("{}\n", json::indented(&document, JSON_COLUMNS)))
            .map(|()| OK);
    }
    if arguments.name.is_none() {
        verdict.rule.clear();
    }
    let story = Explained {
        kind: &event.kind,
        id: &event.id,
        source: &event.source,
        stored: None,
        verdicts: vec![verdict],
        all: true,
        paint: output::paint(),
    };
    output::write(&story.tell())?;
    Ok(OK)
}

fn document(verdict: Verdict, named: bool) -> Result<String, Failure> {
    let document = match named {
        true => serde_json::to_string(&of_rule(verdict)),
        false => serde_json::to_string(&of_trial(verdict, false)),
    };
    document.map_err(|error| Failure::new(format!("the verdict can't be printed: {error}")))
}

/// The rule that is typed as a pattern and filters; its name is shown nowhere.
fn typed(arguments: &Arguments) -> Result<RuleConfig, Failure> {
    let pattern = arguments
        .pattern
        .as_deref()
        .map(pattern_text)
        .transpose()?
        .map(|text| text.trim().to_owned());
    if let Some(text) = &pattern {
        parse_pattern(text).map_err(|errors| refused("--match can't be read", &errors))?;
    }
    for text in &arguments.filters {
        parse_filter(text).map_err(|error| {
            refused(
                &format!("--where `{}` can't be read", plain(text)),
                &[error],
            )
        })?;
    }
    let (name, bus) = (name("typed")?, name(DEFAULT_BUS)?);
    Ok(RuleConfig {
        enabled: true,
        description: None,
        name,
        bus,
        pattern,
        filters: arguments.filters.clone(),
        targets: Vec::new(),
    })
}

fn refused(what: &str, errors: &[edgebus_rules::ParseError]) -> Failure {
    let errors: Vec<String> = errors
        .iter()
        .map(|error| format!("\n  {}", plain(&error.to_string())))
        .collect();
    Failure::usage(format!("{what}:{}", errors.concat())).coded(Code::PatternInvalid)
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|error| Failure::new(format!("`{}`: {error}", plain(text))))
}

fn of_manifest(name: &str, file: &std::path::Path) -> Result<RuleConfig, Failure> {
    let rules = Checked::text_alone(file)?.rules;
    let names: Vec<&str> = rules
        .iter()
        .take(NAMED_MAX)
        .map(|rule| rule.name.as_str())
        .collect();
    let there = match names.as_slice() {
        [] => "it has no rules".to_owned(),
        names => format!("it has {}", names.join(", ")),
    };
    let more = match rules.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let none = Failure::new(format!(
        "{} has no rule `{}`; {there}{more}",
        file.display(),
        plain(name)
    ));
    let mut rules = rules.into_iter();
    rules.find(|rule| rule.name.as_str() == name).ok_or(none)
}

async fn active(name: &str, connection: &Connection) -> Result<RuleConfig, Failure> {
    let client = connection.client()?;
    let mut rules = client.rules().await?.rules.into_iter();
    let listed = rules.find(|rule: &Rule| rule.name == name);
    let listed = listed.ok_or_else(|| {
        Failure::new(format!(
            "there is no active rule `{}`; edgebus rules ls lists them, and --manifest takes one from a file",
            plain(name)
        ))
    })?;
    rule_of(listed)
}

fn rule_of(listed: Rule) -> Result<RuleConfig, Failure> {
    let unread = |error: &dyn std::error::Error| {
        Failure::new(format!("the bus's rule can't be read: {error}"))
    };
    let rule = name(&listed.name)?;
    let target = |target: edgebus_api::Target| {
        let input = match (target.input, target.input_template) {
            (Some(input), _) => Some(view::input_config(input.get())),
            (None, Some(template)) => Some(InputConfig::EventBridge {
                paths: target.input_paths.unwrap_or_default().into_iter().collect(),
                template,
            }),
            (None, None) => None,
        };
        let to = Target::Function(name(&target.target.function.unwrap_or_default())?);
        Ok(TargetConfig {
            name: SubscriptionName::new(&target.name).map_err(|error| unread(&error))?,
            input,
            ..TargetConfig::with_defaults(&rule, to)
        })
    };
    Ok(RuleConfig {
        enabled: true,
        description: None,
        name: rule.clone(),
        bus: name(&listed.bus)?,
        pattern: listed.pattern.map(|pattern| pattern.get().to_owned()),
        filters: listed.filters,
        targets: listed
            .to
            .into_iter()
            .map(target)
            .collect::<Result<_, Failure>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: &str = r#"{"attempts":3,"initial_ms":200,"factor":2.0,"max_ms":1000,"jitter":true,"max_age_ms":86400000}"#;

    #[test]
    fn a_rule_is_read_back_as_the_bus_lists_it() {
        let check = |target: &str| {
            let listed = format!(
                r#"{{"name":"r","bus":"b","enabled":true,"match":{{"n":[1.0]}},"where":["$.x"],"to":[{{"function":"f","name":"n"{target},"retry":{RETRY},"dead_letter_ms":1}}]}}"#
            );
            let rule = rule_of(serde_json::from_str(&listed).unwrap()).unwrap();
            assert_eq!(rule.pattern.as_deref(), Some(r#"{"n":[1.0]}"#));
            assert_eq!(rule.filters, ["$.x"]);
            rule.targets[0].input.clone()
        };
        let template = |text: &str| Some(InputConfig::Template(text.to_owned()));
        assert_eq!(check(""), None);
        assert_eq!(
            check(r#","input":"$.data.x""#),
            Some(InputConfig::Path("$.data.x".to_owned()))
        );
        assert_eq!(check(r#","input":"$5 {$.x}""#), template(r#""$5 {$.x}""#));
        assert_eq!(check(r#","input":{"a": 1.0}"#), template(r#"{"a": 1.0}"#));
        assert_eq!(
            check(r#","input_paths":{"x":"$.x"},"input_template":"<x>""#),
            Some(InputConfig::EventBridge {
                paths: vec![("x".to_owned(), "$.x".to_owned())],
                template: "<x>".to_owned(),
            })
        );
    }
}
